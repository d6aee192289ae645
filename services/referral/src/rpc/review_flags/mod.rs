//! `ReviewFlagService`.

pub mod convert;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, ReferralName, ReviewFlagName, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::vocabulary::ReviewOutcome;
use portreeve_core::{Error, Result, Violations};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{guard, must_say, page_size, position_key, principal, read_position, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::review_flag_service_server::ReviewFlagService;

use super::{Rpc, next_page, of_agency_or_all};
use crate::domain::review_flag::{Answer, no_flag};
use crate::domain::{Command, Event};
use convert::write_flag;

#[tonic::async_trait]
impl ReviewFlagService for Rpc {
    async fn flag_referral(
        &self,
        request: Request<wire::FlagReferralRequest>,
    ) -> Result<Response<wire::FlagReferralResponse>, Status> {
        self.flag(request).await.map(Response::new).or_status()
    }

    async fn answer_review_flag(
        &self,
        request: Request<wire::AnswerReviewFlagRequest>,
    ) -> Result<Response<wire::AnswerReviewFlagResponse>, Status> {
        self.answer(request).await.map(Response::new).or_status()
    }

    async fn get_review_flag(
        &self,
        request: Request<wire::GetReviewFlagRequest>,
    ) -> Result<Response<wire::GetReviewFlagResponse>, Status> {
        self.review_flag(request).await.map(Response::new).or_status()
    }

    async fn list_review_flags(
        &self,
        request: Request<wire::ListReviewFlagsRequest>,
    ) -> Result<Response<wire::ListReviewFlagsResponse>, Status> {
        self.review_flags(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn flag(&self, request: Request<wire::FlagReferralRequest>) -> Result<wire::FlagReferralResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        must_say(&mut violations, "reasons", &message.reasons);
        let referral = violations.check("referral", message.referral.parse::<ReferralName>());
        let referral = violations.finish(referral)?;
        if caller.kind() != OrganisationKind::Oversight {
            return Err(caller.denied());
        }
        let content = wire::FlagReferralRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("FlagReferral", &message.request_id, &content);
        let name = ReviewFlagName { referral, id: self.ids.uuid(self.clock.now()) };
        let by = caller.organisation().to_string();
        let command = Command::Flag { name, reasons: message.reasons, by };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let flag = changed(&outcome).ok_or_else(|| Error::internal("a command caused no event"))?;
        Ok(wire::FlagReferralResponse {
            flag: Some(flag),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn answer(&self, request: Request<wire::AnswerReviewFlagRequest>) -> Result<wire::AnswerReviewFlagResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        must_say(&mut violations, "answer", &message.answer);
        let name = violations.check("name", message.name.parse::<ReviewFlagName>());
        let answer = name.as_ref().and_then(|name| read_answer(&mut violations, name, &message));
        let (name, answer) = violations.finish(name.zip(answer))?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &name.referral.agency)?;
        let content = wire::AnswerReviewFlagRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("AnswerReviewFlag", &message.request_id, &content);
        let command = Command::AnswerFlag { name: name.clone(), answer };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let flag = if let Some(flag) = changed(&outcome) {
            flag
        } else {
            // It had been answered so already: the flag as it is.
            let found = self.parts.reads.review_flag(&caller, &name).await?.ok_or_else(|| no_flag(&name))?;
            write_flag(&found)
        };
        Ok(wire::AnswerReviewFlagResponse {
            flag: Some(flag),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn review_flag(&self, request: Request<wire::GetReviewFlagRequest>) -> Result<wire::GetReviewFlagResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<ReviewFlagName>());
        let name = violations.finish(name)?;
        of_agency_or_all(asking.caller(), Some(&name.referral.agency))?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.review_flag(asking.caller(), &name).await?.ok_or_else(|| no_flag(&name))?;
        asking.rows([(found.name.referral.agency.as_str(), found.name.id)]).await?;
        Ok(wire::GetReviewFlagResponse { flag: Some(write_flag(&found)), revisions })
    }

    async fn review_flags(
        &self,
        request: Request<wire::ListReviewFlagsRequest>,
    ) -> Result<wire::ListReviewFlagsResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_parent(&message.parent, OrganisationKind::Agency));
        let agency = of_agency_or_all(asking.caller(), violations.finish(agency)?)?;
        let (parent, state) = (message.parent.clone(), message.state);
        let content = wire::ListReviewFlagsRequest { parent, state, ..Default::default() };
        let query = filter_hash("ListReviewFlags", &asking.caller().organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let reads = &self.parts.reads;
        let found = reads.review_flags(asking.caller(), agency.as_deref(), state, after, None, limit).await?;
        asking.rows(found.iter().map(|flag| (flag.name.referral.agency.as_str(), flag.name.id))).await?;
        let last = found.last().map(|flag| position_key(flag.created));
        Ok(wire::ListReviewFlagsResponse {
            next_page_token: next_page(query, found.len() == limit, last),
            flags: found.iter().map(write_flag).collect(),
            revisions,
        })
    }
}

fn read_answer(
    violations: &mut Violations,
    name: &ReviewFlagName,
    message: &wire::AnswerReviewFlagRequest,
) -> Option<Answer> {
    let replacement = match message.replacement.as_str() {
        "" => None,
        text => Some(violations.check("replacement", text.parse::<ReferralName>())?),
    };
    let outcome = ReviewOutcome::from_code(message.outcome)?;
    match &replacement {
        None if outcome == ReviewOutcome::Corrected => {
            violations.add("replacement", "must be set with the outcome CORRECTED");
        }
        Some(_) if outcome != ReviewOutcome::Corrected => {
            violations.add("replacement", "must be empty without the outcome CORRECTED");
        }
        Some(replacement) if *replacement == name.referral || replacement.agency != name.referral.agency => {
            violations.add("replacement", "must be another referral of the same agency");
        }
        _ => {}
    }
    Some(Answer { outcome, text: message.answer.clone(), replacement })
}

/// The flag as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::ReviewFlag> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::FlagChanged(flag) => Some(write_flag(flag)),
        _ => None,
    })
}
