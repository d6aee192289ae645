//! `DeconflictionService`.

pub mod convert;

use std::collections::{BTreeSet, HashMap, HashSet};

use portreeve_api::referral::v1 as wire;
use portreeve_core::interest::Tag;
use portreeve_core::location::Location;
use portreeve_core::name::{DraftName, HoldName, InterestName, OrganisationKind, parse_owner};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::{Principal, Result};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{guard, must_say, page_size, position_key, principal, read_position, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::deconfliction_service_server::DeconflictionService;

use super::drafts::convert::write_draft;
use super::{Rpc, fit, is_own};
use crate::clearing;
use crate::domain::hold::no_hold;
use crate::domain::interest::{foremost, no_interest, no_key, tags};
use crate::domain::{AddressRules, Clearing, Command, Draft, Event, Hold, Interest, Override};
use convert::{blind, conceal, may_see, read_expiry, read_match, read_new, write_hold, write_interest};

#[tonic::async_trait]
impl DeconflictionService for Rpc {
    async fn register_interests(
        &self,
        request: Request<wire::RegisterInterestsRequest>,
    ) -> Result<Response<wire::RegisterInterestsResponse>, Status> {
        self.interests_registered(request).await.map(Response::new).or_status()
    }

    async fn renew_interest(
        &self,
        request: Request<wire::RenewInterestRequest>,
    ) -> Result<Response<wire::RenewInterestResponse>, Status> {
        self.interest_renewed(request).await.map(Response::new).or_status()
    }

    async fn end_interest(
        &self,
        request: Request<wire::EndInterestRequest>,
    ) -> Result<Response<wire::EndInterestResponse>, Status> {
        self.interest_ended(request).await.map(Response::new).or_status()
    }

    async fn get_interest(
        &self,
        request: Request<wire::GetInterestRequest>,
    ) -> Result<Response<wire::GetInterestResponse>, Status> {
        self.interest(request).await.map(Response::new).or_status()
    }

    async fn list_interests(
        &self,
        request: Request<wire::ListInterestsRequest>,
    ) -> Result<Response<wire::ListInterestsResponse>, Status> {
        self.interests(request).await.map(Response::new).or_status()
    }

    async fn check_targets(
        &self,
        request: Request<wire::CheckTargetsRequest>,
    ) -> Result<Response<wire::CheckTargetsResponse>, Status> {
        self.targets_checked(request).await.map(Response::new).or_status()
    }

    async fn release_hold(
        &self,
        request: Request<wire::ReleaseHoldRequest>,
    ) -> Result<Response<wire::ReleaseHoldResponse>, Status> {
        self.hold_released(request).await.map(Response::new).or_status()
    }

    async fn renew_hold(
        &self,
        request: Request<wire::RenewHoldRequest>,
    ) -> Result<Response<wire::RenewHoldResponse>, Status> {
        self.hold_renewed(request).await.map(Response::new).or_status()
    }

    async fn override_holds(
        &self,
        request: Request<wire::OverrideHoldsRequest>,
    ) -> Result<Response<wire::OverrideHoldsResponse>, Status> {
        self.holds_overridden(request).await.map(Response::new).or_status()
    }

    async fn list_holds(
        &self,
        request: Request<wire::ListHoldsRequest>,
    ) -> Result<Response<wire::ListHoldsResponse>, Status> {
        self.holds(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn interests_registered(
        &self,
        request: Request<wire::RegisterInterestsRequest>,
    ) -> Result<wire::RegisterInterestsResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let mut interests = Vec::with_capacity(message.interests.len());
        for (index, draft) in message.interests.iter().enumerate() {
            let name = InterestName { agency: agency.clone(), id: self.ids.uuid(now) };
            interests.extend(read_new(&mut violations, &format!("interests[{index}]"), name, draft, now));
        }
        violations.into_result()?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &agency)?;
        let key = self.settings.matching_key.ok_or_else(no_key)?;
        let request_id = std::mem::take(&mut message.request_id);
        blind(&mut message, &key);
        let guard = guard("RegisterInterests", &request_id, &message);
        let command = Command::RegisterInterests { agency, interests, key };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::RegisterInterestsResponse {
            interests: interests_of(&outcome).map(|interest| write_interest(&interest, interest.created_at)).collect(),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn interest_renewed(
        &self,
        request: Request<wire::RenewInterestRequest>,
    ) -> Result<wire::RenewInterestResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<InterestName>());
        let expires_at = read_expiry(&mut violations, "expires_at", message.expires_at.as_ref(), self.clock.now());
        let (name, expires_at) = violations.finish(name.zip(expires_at))?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("RenewInterest", &request_id, &message);
        let command = Command::RenewInterest { name: name.clone(), expires_at };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::RenewInterestResponse {
            interest: Some(self.interest_left(&caller, &name, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn interest_ended(&self, request: Request<wire::EndInterestRequest>) -> Result<wire::EndInterestResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<InterestName>());
        let name = violations.finish(name)?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("EndInterest", &request_id, &message);
        let outcome = self.submit(&caller, guard, Some(Command::EndInterest { name: name.clone() })).await?;
        let drafts = holds_of(&outcome).map(|hold| hold.name.draft).collect::<BTreeSet<_>>();
        for draft in drafts {
            self.clear(&draft).await;
        }
        Ok(wire::EndInterestResponse {
            interest: Some(self.interest_left(&caller, &name, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// The interest as a command left it, from the event alone; as it is, if there was nothing to do.
    async fn interest_left(
        &self,
        caller: &Principal,
        name: &InterestName,
        outcome: &Outcome<Event>,
    ) -> Result<wire::Interest> {
        let left = match interests_of(outcome).next() {
            Some(left) => left,
            None => self.parts.reads.interest(caller, name).await?.ok_or_else(|| no_interest(name))?,
        };
        Ok(write_interest(&left, self.clock.now()))
    }

    async fn interest(&self, request: Request<wire::GetInterestRequest>) -> Result<wire::GetInterestResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<InterestName>());
        let name = violations.finish(name)?;
        is_own(asking.caller(), &name.agency)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.interest(asking.caller(), &name).await?.ok_or_else(|| no_interest(&name))?;
        asking.rows([(found.name.agency.as_str(), found.name.id)]).await?;
        Ok(wire::GetInterestResponse { interest: Some(write_interest(&found, self.clock.now())), revisions })
    }

    async fn interests(&self, request: Request<wire::ListInterestsRequest>) -> Result<wire::ListInterestsResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_owner(&message.parent, OrganisationKind::Agency));
        let agency = violations.finish(agency)?;
        is_own(asking.caller(), agency)?;
        let content = wire::ListInterestsRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListInterests", &message.parent, &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let (limit, now) = (page_size(message.page_size), self.clock.now());
        let found = self.parts.reads.interests(asking.caller(), agency, after, limit).await?;
        let rows = found.iter().map(|interest| (position_key(interest.created), write_interest(interest, now)));
        let (interests, next_page_token) = fit(query, found.len() == limit, rows);
        let shown = found.iter().take(interests.len());
        asking.rows(shown.map(|interest| (interest.name.agency.as_str(), interest.name.id))).await?;
        Ok(wire::ListInterestsResponse { next_page_token, interests, revisions })
    }

    async fn targets_checked(&self, request: Request<wire::CheckTargetsRequest>) -> Result<wire::CheckTargetsResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default();
        let read = |(index, target)| read_match(&mut violations, &format!("targets[{index}]"), target);
        let targets = message.targets.iter().enumerate().map(read).collect::<Vec<_>>();
        let targets = violations.finish(targets.into_iter().collect::<Option<Vec<_>>>())?;
        asking.caller().require_as(Role::Officer, OrganisationKind::Agency, agency)?;
        let key = self.settings.matching_key.ok_or_else(no_key)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let now = self.clock.now();
        let platforms = targets.iter().map(|(platform, _)| platform.clone()).collect::<BTreeSet<_>>();
        let platforms = platforms.into_iter().collect::<Vec<_>>();
        let mut rules = HashMap::<String, Vec<AddressRules>>::new();
        for of in self.parts.reads.matched_rules(&platforms).await? {
            rules.entry(of.platform.clone()).or_default().push(of);
        }
        let tags = |(platform, location): &(String, Location)| {
            tags(&key, platform, location, rules.get(platform).into_iter().flatten())
        };
        let tags = targets.iter().map(tags).collect::<Vec<_>>();
        let sought = tags.iter().flatten().copied().collect::<HashSet<_>>();
        let mut known = HashMap::<Tag, Vec<Interest>>::new();
        for interest in self.parts.reads.interests_in(sought).await? {
            if interest.counts(now) && interest.name.agency != agency {
                known.entry(interest.tag).or_default().push(interest);
            }
        }
        let (mut matches, mut hit) = (Vec::with_capacity(targets.len()), BTreeSet::new());
        for ((platform, _), tags) in targets.iter().zip(tags) {
            let mut found = tags.iter().filter_map(|tag| known.get(tag)).flatten().collect::<Vec<_>>();
            found.retain(|interest| interest.platform == *platform);
            foremost(&mut found);
            hit.extend(found.iter().map(|interest| interest.name.clone()));
            let result = if found.is_empty() { wire::MatchResult::NoHit } else { wire::MatchResult::Hit };
            let contacts = found.iter().map(|interest| interest.contact.clone()).collect();
            matches.push(wire::TargetMatch { result: result as i32, contacts });
        }
        asking.rows(hit.iter().map(|name| (name.agency.as_str(), name.id))).await?;
        Ok(wire::CheckTargetsResponse { matches, revisions })
    }

    async fn hold_released(&self, request: Request<wire::ReleaseHoldRequest>) -> Result<wire::ReleaseHoldResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<HoldName>());
        let name = violations.finish(name)?;
        let holder = holder(&caller)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("ReleaseHold", &request_id, &message);
        let command = Command::ReleaseHold { name: name.clone(), holder };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let hold = self.hold_left(&caller, &name, &outcome).await?;
        self.clear(&name.draft).await;
        Ok(wire::ReleaseHoldResponse {
            hold: Some(hold),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn hold_renewed(&self, request: Request<wire::RenewHoldRequest>) -> Result<wire::RenewHoldResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<HoldName>());
        let name = violations.finish(name)?;
        let holder = holder(&caller)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("RenewHold", &request_id, &message);
        // Which interest it is never changes, and how long that lasts decides how long the hold does.
        let found = self.parts.reads.hold(&caller, &name).await?.filter(|hold| hold.interest.agency == holder);
        let interest = found.ok_or_else(|| no_hold(&name))?.interest;
        let command = Command::RenewHold { name: name.clone(), holder, renewal: message.renewal, interest };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::RenewHoldResponse {
            hold: Some(self.hold_left(&caller, &name, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// The hold as a command left it, from the event alone; as it is, if there was nothing to do.
    async fn hold_left(&self, caller: &Principal, name: &HoldName, outcome: &Outcome<Event>) -> Result<wire::Hold> {
        let left = match holds_of(outcome).find(|hold| hold.name == *name) {
            Some(left) => left,
            None => self.parts.reads.hold(caller, name).await?.ok_or_else(|| no_hold(name))?,
        };
        Ok(shown(&left, &caller.scope()))
    }

    async fn holds_overridden(
        &self,
        request: Request<wire::OverrideHoldsRequest>,
    ) -> Result<wire::OverrideHoldsResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        must_say(&mut violations, "reason", &message.reason);
        let name = violations.check("name", message.name.parse::<DraftName>());
        let name = violations.finish(name)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &name.agency)?;
        caller.require_named()?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("OverrideHolds", &request_id, &message);
        let found = self.parts.reads.draft(&caller, &name).await?;
        let found = found.as_ref().filter(|draft| draft.is_held()).and_then(Draft::content).cloned();
        let of = Clearing { name: name.clone(), found };
        let act = Override { of, approver: caller.member().to_owned(), reason: message.reason };
        let outcome = self.submit(&caller, guard, Some(Command::OverrideHolds(Box::new(act)))).await?;
        let draft = self.left(&caller, &name, &outcome).await?;
        let referral = self.became(&caller, &draft, &outcome).await?;
        Ok(wire::OverrideHoldsResponse {
            draft: Some(write_draft(&draft)),
            referral,
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn holds(&self, request: Request<wire::ListHoldsRequest>) -> Result<wire::ListHoldsResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_owner(&message.parent, OrganisationKind::Agency));
        let agency = violations.finish(agency)?;
        is_own(asking.caller(), agency)?;
        let unsettled = message.unsettled;
        let content = wire::ListHoldsRequest { parent: message.parent.clone(), unsettled, ..Default::default() };
        let query = filter_hash("ListHolds", &message.parent, &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.holds(asking.caller(), agency, unsettled, after, None, limit).await?;
        let scope = asking.caller().scope();
        let rows = found.iter().map(|hold| (position_key(hold.created), shown(hold, &scope)));
        let (holds, next_page_token) = fit(query, found.len() == limit, rows);
        let listed = found.iter().take(holds.len());
        asking.rows(listed.map(|hold| (hold.name.draft.agency.as_str(), hold.name.id))).await?;
        Ok(wire::ListHoldsResponse { next_page_token, holds, revisions })
    }

    /// Sends a held referral if it waits for nothing any more. Where that fails the sweeper tries again.
    async fn clear(&self, draft: &DraftName) {
        if let Err(error) = clearing::clear(&self.parts, draft).await {
            tracing::warn!(%error, "what is held could not be sent");
        }
    }
}

/// The agency that may have an interest: the caller's.
fn holder(caller: &Principal) -> Result<String> {
    let own = caller.id().to_owned();
    caller.require_as(Role::Officer, OrganisationKind::Agency, &own)?;
    Ok(own)
}

/// A hold as a reader sees it who may.
fn shown(hold: &Hold, scope: &Scope) -> wire::Hold {
    debug_assert!(may_see(scope, hold));
    let mut message = write_hold(hold);
    conceal(&mut message, hold, scope);
    message
}

fn interests_of(outcome: &Outcome<Event>) -> impl Iterator<Item = Interest> {
    outcome.events.iter().filter_map(|recorded| match &recorded.event {
        Event::InterestChanged(interest) => Some((**interest).clone()),
        _ => None,
    })
}

fn holds_of(outcome: &Outcome<Event>) -> impl Iterator<Item = Hold> {
    outcome.events.iter().filter_map(|recorded| match &recorded.event {
        Event::HoldChanged(hold) => Some((**hold).clone()),
        _ => None,
    })
}
