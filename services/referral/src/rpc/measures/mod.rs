//! `MeasureService`.

pub mod convert;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{MeasureName, OrganisationKind, parse_owner, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::vocabulary::AppealOutcome;
use portreeve_core::{Error, Principal, Result, Violations};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    guard, must_say, optional_time, page_size, position_key, principal, read_position, violations,
};
use portreeve_storage::{Guard, Outcome};
use tonic::{Request, Response, Status};
use wire::measure_service_server::MeasureService;

use super::{Rpc, next_page, of_agency_or_all};
use crate::domain::measure::{Act, no_measure};
use crate::domain::{Command, Event};
use convert::{read_draft, write_measure};

/// The methods by which something is done about a measure: who may, what each says, and what it answers with.
macro_rules! acts {
    ($($method:ident, $request:ident -> $response:ident, $name:literal, $role:expr,
       |$message:ident, $violations:ident| $act:expr;)*) => {
        #[tonic::async_trait]
        impl MeasureService for Rpc {
            async fn impose_measure(
                &self,
                request: Request<wire::ImposeMeasureRequest>,
            ) -> Result<Response<wire::ImposeMeasureResponse>, Status> {
                self.impose(request).await.map(Response::new).or_status()
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
                        must_say(&mut $violations, "reasons", &$message.reasons);
                        let act: Option<Act> = $act;
                        let name = $violations.check("name", $message.name.parse::<MeasureName>());
                        let (name, act) = $violations.finish(name.zip(act))?;
                        let content = wire::$request { request_id: String::new(), ..$message.clone() };
                        let guard = guard($name, &$message.request_id, &content);
                        let (measure, outcome) = self.act_on(&caller, $role, guard, name, act).await?;
                        Ok(wire::$response {
                            measure: Some(measure),
                            revision: Self::revision(&outcome),
                            replayed: outcome.replayed,
                        })
                    };
                    act().await.map(Response::new).or_status()
                }
            )*

            async fn get_measure(
                &self,
                request: Request<wire::GetMeasureRequest>,
            ) -> Result<Response<wire::GetMeasureResponse>, Status> {
                self.measure(request).await.map(Response::new).or_status()
            }

            async fn list_measures(
                &self,
                request: Request<wire::ListMeasuresRequest>,
            ) -> Result<Response<wire::ListMeasuresResponse>, Status> {
                self.measures(request).await.map(Response::new).or_status()
            }
        }
    };
}

acts! {
    appeal_measure, AppealMeasureRequest -> AppealMeasureResponse, "AppealMeasure", Role::Approver,
        |message, violations| Some(Act::Appeal(message.reasons.clone()));
    decide_appeal, DecideAppealRequest -> DecideAppealResponse, "DecideAppeal", Role::Supervisor,
        |message, violations| read_decision(&mut violations, &message);
    lift_measure, LiftMeasureRequest -> LiftMeasureResponse, "LiftMeasure", Role::Supervisor,
        |message, violations| Some(Act::Lift(message.reasons.clone()));
}

fn read_decision(violations: &mut Violations, message: &wire::DecideAppealRequest) -> Option<Act> {
    let shortened = optional_time(violations, "shortened_until", message.shortened_until.as_ref());
    let outcome = AppealOutcome::from_code(message.outcome)?;
    match (outcome == AppealOutcome::Shortened, message.shortened_until.is_some()) {
        (true, false) => violations.add("shortened_until", "must be set with the outcome SHORTENED"),
        (false, true) => violations.add("shortened_until", "must be unset without the outcome SHORTENED"),
        _ => {}
    }
    Some(Act::Decide { outcome, shortened, reasons: message.reasons.clone() })
}

impl Rpc {
    async fn impose(&self, request: Request<wire::ImposeMeasureRequest>) -> Result<wire::ImposeMeasureResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let name = MeasureName { agency, id: self.ids.uuid(self.clock.now()) };
        let draft = message.measure.as_ref().and_then(|draft| read_draft(&mut violations, name, draft));
        let measure = violations.finish(draft)?;
        caller.require(Role::Supervisor)?;
        caller.require_named()?;
        let content = wire::ImposeMeasureRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("ImposeMeasure", &message.request_id, &content);
        let command = Command::Impose { measure, by: caller.to_string() };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let imposed = changed(&outcome).ok_or_else(|| Error::internal("a command caused no event"))?;
        Ok(wire::ImposeMeasureResponse {
            measure: Some(imposed),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn act_on(
        &self,
        caller: &Principal,
        role: Role,
        guard: Option<Guard>,
        name: MeasureName,
        act: Act,
    ) -> Result<(wire::Measure, Outcome<Event>)> {
        if role == Role::Approver {
            caller.require_as(role, OrganisationKind::Agency, &name.agency)?;
        } else {
            caller.require(role)?;
            caller.require_named()?;
        }
        let command = Command::ActOnMeasure { name: name.clone(), act, by: caller.to_string() };
        let outcome = self.submit(caller, guard, Some(command)).await?;
        let measure = if let Some(measure) = changed(&outcome) {
            measure
        } else {
            // It had been done already: the measure as it is.
            let found = self.parts.reads.measure(caller, &name).await?.ok_or_else(|| no_measure(&name))?;
            write_measure(&found, self.clock.now())
        };
        Ok((measure, outcome))
    }

    async fn measure(&self, request: Request<wire::GetMeasureRequest>) -> Result<wire::GetMeasureResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<MeasureName>());
        let name = violations.finish(name)?;
        // Before it is looked for, so that nobody learns which measures there are against others.
        of_agency_or_all(asking.caller(), Some(&name.agency))?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.measure(asking.caller(), &name).await?.ok_or_else(|| no_measure(&name))?;
        asking.rows([(found.name.agency.as_str(), found.name.id)]).await?;
        Ok(wire::GetMeasureResponse { measure: Some(write_measure(&found, self.clock.now())), revisions })
    }

    async fn measures(&self, request: Request<wire::ListMeasuresRequest>) -> Result<wire::ListMeasuresResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_parent(&message.parent, OrganisationKind::Agency));
        let agency = of_agency_or_all(asking.caller(), violations.finish(agency)?)?;
        let content = wire::ListMeasuresRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListMeasures", &asking.caller().organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.measures(asking.caller(), agency.as_deref(), after, None, limit).await?;
        asking.rows(found.iter().map(|measure| (measure.name.agency.as_str(), measure.name.id))).await?;
        let (now, last) = (self.clock.now(), found.last().map(|measure| position_key(measure.created)));
        Ok(wire::ListMeasuresResponse {
            next_page_token: next_page(query, found.len() == limit, last),
            measures: found.iter().map(|measure| write_measure(measure, now)).collect(),
            revisions,
        })
    }
}

/// The measure as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::Measure> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::MeasureChanged(measure) => Some(write_measure(measure, recorded.recorded_at)),
        _ => None,
    })
}
