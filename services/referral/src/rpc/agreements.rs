//! `AgreementService`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::name::{OrganisationKind, parse_owner, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Reason, Result, Violations};
use portreeve_runtime::agreements::{read_terms, write_agreement};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    guard, optional_time, page_size, position_key, principal, read_etag, read_position, violations,
};
use portreeve_storage::{Guard, Outcome};
use tonic::{Request, Response, Status};
use wire::agreement_service_server::AgreementService;

use super::{Rpc, next_page, of_agency_or_all};
use crate::domain::agreement::Act;
use crate::domain::ledger::no_party;
use crate::domain::{Command, Event};

/// The methods by which a party acts: what each says, and what it answers with.
macro_rules! acts {
    ($($method:ident, $request:ident -> $response:ident, $name:literal, |$message:ident, $violations:ident| $act:expr;)*) => {
        #[tonic::async_trait]
        impl AgreementService for Rpc {
            async fn create_agreement(
                &self,
                request: Request<wire::CreateAgreementRequest>,
            ) -> Result<Response<wire::CreateAgreementResponse>, Status> {
                self.propose(request).await.map(Response::new).or_status()
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
                        let act: Option<Act> = $act;
                        let said = Said::read(&mut $violations, &$message.name, &$message.party, &$message.etag);
                        let (act, said) = $violations.finish(act.zip(said))?;
                        let content = wire::$request { request_id: String::new(), ..$message.clone() };
                        let guard = guard($name, &$message.request_id, &content);
                        let (agreement, outcome) = self.act(&caller, guard, said, act).await?;
                        Ok(wire::$response {
                            agreement: Some(agreement),
                            revision: Self::revision(&outcome),
                            replayed: outcome.replayed,
                        })
                    };
                    act().await.map(Response::new).or_status()
                }
            )*

            async fn get_agreement(
                &self,
                request: Request<wire::GetAgreementRequest>,
            ) -> Result<Response<wire::GetAgreementResponse>, Status> {
                self.get_one(request).await.map(Response::new).or_status()
            }

            async fn list_agreements(
                &self,
                request: Request<wire::ListAgreementsRequest>,
            ) -> Result<Response<wire::ListAgreementsResponse>, Status> {
                self.list_all(request).await.map(Response::new).or_status()
            }
        }
    };
}

acts! {
    accept_agreement, AcceptAgreementRequest -> AcceptAgreementResponse, "AcceptAgreement",
        |message, violations| Some(Act::Accept);
    extend_agreement, ExtendAgreementRequest -> ExtendAgreementResponse, "ExtendAgreement",
        |message, violations| optional_time(&mut violations, "end_time", message.end_time.as_ref()).map(Act::Extend);
    suspend_agreement, SuspendAgreementRequest -> SuspendAgreementResponse, "SuspendAgreement",
        |message, violations| Some(Act::Suspend(message.reason.clone()));
    resume_agreement, ResumeAgreementRequest -> ResumeAgreementResponse, "ResumeAgreement",
        |message, violations| Some(Act::Resume);
    give_notice, GiveNoticeRequest -> GiveNoticeResponse, "GiveNotice",
        |message, violations| Some(Act::GiveNotice(message.reason.clone()));
}

/// What every act says besides what it is.
struct Said {
    name: AgreementName,
    party: String,
    etag: Option<i64>,
}

impl Said {
    fn read(violations: &mut Violations, name: &str, party: &str, etag: &str) -> Option<Self> {
        let name = violations.check("name", name.parse::<AgreementName>());
        let etag = read_etag(violations, "etag", etag);
        // The contract's rules have said what is wrong with any other.
        let party = parse_owner(party, OrganisationKind::Agency).ok()?.to_owned();
        Some(Self { name: name?, party, etag })
    }
}

impl Rpc {
    async fn propose(&self, request: Request<wire::CreateAgreementRequest>) -> Result<wire::CreateAgreementResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let proposer = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default();
        let draft = message.agreement.as_ref();
        let terms = draft.and_then(|draft| read_terms(&mut violations, draft, proposer, now));
        let (terms, in_time) = violations.finish_in_time(terms)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, proposer)?;
        let content = wire::CreateAgreementRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("CreateAgreement", &message.request_id, &content);
        let guard = guard.map(|guard| guard.unless_too_late(in_time));
        let name = AgreementName(self.ids.uuid(now));
        let command = Command::Propose { name, terms, proposer: proposer.to_owned() };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let proposed = changed(&outcome).ok_or_else(|| Error::internal("a command caused no event"))?;
        Ok(wire::CreateAgreementResponse {
            agreement: Some(proposed),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn act(
        &self,
        caller: &Principal,
        guard: Option<Guard>,
        said: Said,
        act: Act,
    ) -> Result<(wire::Agreement, Outcome<Event>)> {
        let Said { name, party, etag } = said;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &party)?;
        let outcome = self.submit(caller, guard, Some(Command::Act { name, party, act, etag })).await?;
        let agreement = if let Some(agreement) = changed(&outcome) {
            agreement
        } else {
            // It had been done already: the agreement as it is.
            let found = self.parts.reads.agreement(caller, name).await?.ok_or_else(|| no_party(caller.id()))?;
            write_agreement(&found, self.clock.now())
        };
        Ok((agreement, outcome))
    }

    async fn get_one(&self, request: Request<wire::GetAgreementRequest>) -> Result<wire::GetAgreementResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<AgreementName>());
        let name = violations.finish(name)?;
        let own = of_agency_or_all(&caller, None)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.agreement(&caller, name).await?;
        let found = found.filter(|agreement| own.as_ref().is_none_or(|own| agreement.has_party(own)));
        let found = found.ok_or_else(|| match &own {
            Some(own) => no_party(own),
            None => Error::new(Reason::AgreementNotFound, format!("there is no {name}")).with("name", name),
        })?;
        Ok(wire::GetAgreementResponse { agreement: Some(write_agreement(&found, self.clock.now())), revisions })
    }

    async fn list_all(&self, request: Request<wire::ListAgreementsRequest>) -> Result<wire::ListAgreementsResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_parent(&message.parent, OrganisationKind::Agency));
        let agency = of_agency_or_all(&caller, violations.finish(agency)?)?;
        let content = wire::ListAgreementsRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListAgreements", &caller.organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.agreements(&caller, agency.as_deref(), after, None, limit).await?;
        let (now, last) = (self.clock.now(), found.last().map(|agreement| position_key(agreement.created)));
        Ok(wire::ListAgreementsResponse {
            next_page_token: next_page(query, found.len() == limit, last),
            agreements: found.iter().map(|agreement| write_agreement(agreement, now)).collect(),
            revisions,
        })
    }
}

/// The agreement as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::Agreement> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::AgreementChanged(agreement) => {
            let agreement = Agreement { updated: recorded.position, ..(**agreement).clone() };
            Some(write_agreement(&agreement, recorded.recorded_at))
        }
        _ => None,
    })
}
