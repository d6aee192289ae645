//! `OperationService`.

pub mod convert;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OperationName, OrganisationKind, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Result, Violations};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    guard, must_say, optional_time, page_size, position_key, principal, read_etag, read_position, violations,
};
use portreeve_storage::{Guard, Outcome};
use tonic::{Request, Response, Status};
use wire::operation_service_server::OperationService;

use super::{Rpc, next_page};
use crate::domain::operation::{Act, no_operation};
use crate::domain::{Command, Event, Operation};
use convert::{read_new, show_operation, write_operation};

/// The methods by which an agency does something about an operation: in whose name, what each says, and what it answers with.
macro_rules! acts {
    ($($method:ident, $request:ident -> $response:ident, $title:literal,
       |$message:ident, $name:ident, $violations:ident| $agency:expr, $act:expr;)*) => {
        #[tonic::async_trait]
        impl OperationService for Rpc {
            async fn create_operation(
                &self,
                request: Request<wire::CreateOperationRequest>,
            ) -> Result<Response<wire::CreateOperationResponse>, Status> {
                self.plan(request).await.map(Response::new).or_status()
            }

            $(
                async fn $method(
                    &self,
                    request: Request<wire::$request>,
                ) -> Result<Response<wire::$response>, Status> {
                    let act = || async {
                        let caller = principal(&request)?;
                        let $message = request.into_inner();
                        let mut $violations = violations(&$message);
                        let $name = $violations.check("name", $message.name.parse::<OperationName>());
                        let agency: Option<String> = $agency;
                        let act: Option<Act> = $act;
                        let ((name, agency), act) = $violations.finish($name.zip(agency).zip(act))?;
                        let content = wire::$request { request_id: String::new(), ..$message.clone() };
                        let guard = guard($title, &$message.request_id, &content);
                        let (operation, outcome) = self.act_in(&caller, guard, name, &agency, act).await?;
                        Ok(wire::$response {
                            operation: Some(operation),
                            revision: Self::revision(&outcome),
                            replayed: outcome.replayed,
                        })
                    };
                    act().await.map(Response::new).or_status()
                }
            )*

            async fn get_operation(
                &self,
                request: Request<wire::GetOperationRequest>,
            ) -> Result<Response<wire::GetOperationResponse>, Status> {
                self.operation(request).await.map(Response::new).or_status()
            }

            async fn list_operations(
                &self,
                request: Request<wire::ListOperationsRequest>,
            ) -> Result<Response<wire::ListOperationsResponse>, Status> {
                self.operations(request).await.map(Response::new).or_status()
            }
        }
    };
}

acts! {
    update_operation, UpdateOperationRequest -> UpdateOperationResponse, "UpdateOperation",
        |message, name, violations| name.as_ref().map(|name| name.agency.clone()), read_update(&mut violations, &message);
    join_operation, JoinOperationRequest -> JoinOperationResponse, "JoinOperation",
        |message, name, violations| agency(&message.agency), agency(&message.agency).map(Act::Join);
    leave_operation, LeaveOperationRequest -> LeaveOperationResponse, "LeaveOperation",
        |message, name, violations| agency(&message.agency), agency(&message.agency).map(Act::Leave);
    close_operation, CloseOperationRequest -> CloseOperationResponse, "CloseOperation",
        |message, name, violations| name.as_ref().map(|name| name.agency.clone()), Some(Act::Close);
}

/// The contract's rules have said what is wrong with a name that is no agency's.
fn agency(name: &str) -> Option<String> {
    parse_owner(name, OrganisationKind::Agency).ok().map(str::to_owned)
}

fn read_update(violations: &mut Violations, message: &wire::UpdateOperationRequest) -> Option<Act> {
    if !message.title.is_empty() {
        must_say(violations, "title", &message.title);
    }
    Some(Act::Update {
        title: (!message.title.is_empty()).then(|| message.title.clone()),
        start: optional_time(violations, "start_time", message.start_time.as_ref()),
        end: optional_time(violations, "end_time", message.end_time.as_ref()),
        etag: read_etag(violations, "etag", &message.etag),
        invite: message.invite.iter().map(|name| agency(name)).collect::<Option<_>>()?,
    })
}

impl Rpc {
    async fn plan(&self, request: Request<wire::CreateOperationRequest>) -> Result<wire::CreateOperationResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let lead = agency(&message.parent).unwrap_or_default();
        let name = OperationName { agency: lead.clone(), id: self.ids.uuid(self.clock.now()) };
        let draft = message.operation.as_ref().and_then(|draft| read_new(&mut violations, name, draft));
        let new = violations.finish(draft)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &lead)?;
        let content = wire::CreateOperationRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("CreateOperation", &message.request_id, &content);
        let outcome = self.submit(&caller, guard, Some(Command::CreateOperation(Box::new(new)))).await?;
        let planned = changed(&outcome).ok_or_else(|| Error::internal("a command caused no event"))?;
        Ok(wire::CreateOperationResponse {
            operation: Some(planned),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn act_in(
        &self,
        caller: &Principal,
        guard: Option<Guard>,
        name: OperationName,
        agency: &str,
        act: Act,
    ) -> Result<(wire::Operation, Outcome<Event>)> {
        caller.require_as(Role::Approver, OrganisationKind::Agency, agency)?;
        let command = Command::ActOnOperation { name: name.clone(), act };
        let outcome = self.submit(caller, guard, Some(command)).await?;
        let operation = if let Some(operation) = changed(&outcome) {
            operation
        } else {
            // It had been done already: the operation as it is.
            let found = self.parts.reads.operation(caller, &name).await?.ok_or_else(|| no_operation(&name))?;
            write_operation(&found, self.clock.now())
        };
        Ok((operation, outcome))
    }

    async fn operation(&self, request: Request<wire::GetOperationRequest>) -> Result<wire::GetOperationResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<OperationName>());
        let name = violations.finish(name)?;
        let own = one_of_them(&caller)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.operation(&caller, &name).await?;
        let found = found.filter(|operation| operation.names(own)).ok_or_else(|| no_operation(&name))?;
        Ok(wire::GetOperationResponse { operation: Some(show_operation(&found, own, self.clock.now())), revisions })
    }

    async fn operations(&self, request: Request<wire::ListOperationsRequest>) -> Result<wire::ListOperationsResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let own = one_of_them(&caller)?;
        if agency(&message.parent).as_deref() != Some(own) {
            return Err(caller.denied());
        }
        let content = wire::ListOperationsRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListOperations", &caller.organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.operations(&caller, Some(own), after, None, limit).await?;
        let (now, last) = (self.clock.now(), found.last().map(|operation| position_key(operation.created)));
        Ok(wire::ListOperationsResponse {
            next_page_token: next_page(query, found.len() == limit, last),
            operations: found.iter().map(|operation| show_operation(operation, own, now)).collect(),
            revisions,
        })
    }
}

/// The agency that reads. Platforms and oversight see no operations, but what belongs to one.
fn one_of_them(caller: &Principal) -> Result<&str> {
    if caller.kind() == OrganisationKind::Agency { Ok(caller.id()) } else { Err(caller.denied()) }
}

/// The operation as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::Operation> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::OperationChanged(operation) => {
            let operation = Operation { updated: recorded.position, ..(**operation).clone() };
            Some(write_operation(&operation, recorded.recorded_at))
        }
        _ => None,
    })
}
