//! `ObservationService`.

pub mod convert;

use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{ObservationName, OrganisationKind, ReferralName, parse_owner};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::{Error, Result};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    check_backdating, guard, page_size, position_key, principal, read_position, told_time, violations,
};
use tonic::{Request, Response, Status};
use wire::observation_service_server::ObservationService;

use super::{Rpc, next_page};
use crate::domain::{Command, Event};
use convert::{read_draft, write_observation};

#[tonic::async_trait]
impl ObservationService for Rpc {
    async fn record_observation(
        &self,
        request: Request<wire::RecordObservationRequest>,
    ) -> Result<Response<wire::RecordObservationResponse>, Status> {
        self.observe(request).await.map(Response::new).or_status()
    }

    async fn list_observations(
        &self,
        request: Request<wire::ListObservationsRequest>,
    ) -> Result<Response<wire::ListObservationsResponse>, Status> {
        self.observations(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn observe(
        &self,
        request: Request<wire::RecordObservationRequest>,
    ) -> Result<wire::RecordObservationResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        // A wrong name has been noted by the contract's rules, which say the same.
        let referral = message.parent.parse::<ReferralName>().ok();
        let agency = referral.as_ref().map(|name| name.agency.clone()).unwrap_or_default();
        let draft = message.observation.as_ref();
        let told = draft.and_then(|draft| draft.observed_at.as_ref());
        let observed_at = told_time(&mut violations, "observation.observed_at", told, now);
        let observed = draft.and_then(|draft| read_draft(&mut violations, &agency, draft, now));
        let (referral, observed) = violations.finish(referral.zip(observed))?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &referral.agency)?;
        let in_time = check_backdating(&caller, observed_at, now, self.settings.backdating_days_max);
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("RecordObservation", &request_id, &message).map(|guard| guard.unless_too_late(in_time));
        let name = ObservationName { referral, id: self.ids.uuid(now) };
        let command = Command::Observe { name, observed: Arc::new(observed), observed_at };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let recorded = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::Observed(observation) => Some(write_observation(observation)),
            _ => None,
        });
        Ok(wire::RecordObservationResponse {
            observation: Some(recorded.ok_or_else(|| Error::internal("a command caused no event"))?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn observations(
        &self,
        request: Request<wire::ListObservationsRequest>,
    ) -> Result<wire::ListObservationsResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        // The contract's rules leave two forms: one referral, all of an agency.
        let referral = message.parent.parse::<ReferralName>().ok();
        let owner = message.parent.strip_suffix("/referrals/-").unwrap_or(&message.parent);
        let agency = match &referral {
            Some(referral) => referral.agency.clone(),
            None => parse_owner(owner, OrganisationKind::Agency).unwrap_or_default().to_owned(),
        };
        match asking.caller().scope() {
            Scope::All => {}
            Scope::Agency(own) if own == agency => {}
            _ => return Err(asking.caller().denied()),
        }
        let content = wire::ListObservationsRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListObservations", &asking.caller().organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let id = referral.map(|referral| referral.id);
        let found = self.parts.reads.observations(asking.caller(), Some(&agency), id, after, None, limit).await?;
        asking.rows(found.iter().map(|of| (of.name.referral.agency.as_str(), of.name.referral.id))).await?;
        let last = found.last().map(|observation| position_key(observation.created));
        Ok(wire::ListObservationsResponse {
            next_page_token: next_page(query, found.len() == limit, last),
            observations: found.iter().map(write_observation).collect(),
            revisions,
        })
    }
}
