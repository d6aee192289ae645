//! `ReferralService`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use portreeve_api::common::v1::Progress;
use portreeve_api::referral::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::name::{OrganisationKind, ReferralName, parse_owner, parse_parent};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Recorded, Result};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::{self, Start, filter_hash};
use portreeve_runtime::wire::{
    check_backdating, guard, page_size, position_key, principal, read_position, told_time, violations,
};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status, Streaming};
use wire::referral_service_server::ReferralService;

use super::convert::{
    read_draft, read_filter, refuse_classified, show_referral, take_jws, with_jws, write_held, write_referral,
};
use super::drafts::add_authorisations;
use super::evidence::digests;
use super::feed::{ReferralFeed, agency};
use super::{Rpc, fit};
use crate::domain::ledger::{DraftField, no_referral};
use crate::domain::{Command, Event};
use crate::store::{Filter, Query, SERVICE};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ReferralService for Rpc {
    type ImportReferralsStream = Replies<wire::ImportReferralsResponse>;
    type WatchReferralsStream = Replies<wire::WatchReferralsResponse>;

    async fn create_referral(
        &self,
        request: Request<wire::CreateReferralRequest>,
    ) -> Result<Response<wire::CreateReferralResponse>, Status> {
        self.create(request).await.map(Response::new).or_status()
    }

    async fn batch_create_referrals(
        &self,
        request: Request<wire::BatchCreateReferralsRequest>,
    ) -> Result<Response<wire::BatchCreateReferralsResponse>, Status> {
        self.batch_create(request).await.map(Response::new).or_status()
    }

    async fn import_referrals(
        &self,
        request: Request<Streaming<wire::ImportReferralsRequest>>,
    ) -> Result<Response<Self::ImportReferralsStream>, Status> {
        self.import(request).or_status().map(Response::new)
    }

    async fn get_referral(
        &self,
        request: Request<wire::GetReferralRequest>,
    ) -> Result<Response<wire::GetReferralResponse>, Status> {
        self.get(request).await.map(Response::new).or_status()
    }

    async fn list_referrals(
        &self,
        request: Request<wire::ListReferralsRequest>,
    ) -> Result<Response<wire::ListReferralsResponse>, Status> {
        self.list(request).await.map(Response::new).or_status()
    }

    async fn withdraw_referral(
        &self,
        request: Request<wire::WithdrawReferralRequest>,
    ) -> Result<Response<wire::WithdrawReferralResponse>, Status> {
        self.withdraw(request).await.map(Response::new).or_status()
    }

    async fn link_referrals(
        &self,
        request: Request<wire::LinkReferralsRequest>,
    ) -> Result<Response<wire::LinkReferralsResponse>, Status> {
        self.link(request).await.map(Response::new).or_status()
    }

    async fn prioritise_referral(
        &self,
        request: Request<wire::PrioritiseReferralRequest>,
    ) -> Result<Response<wire::PrioritiseReferralResponse>, Status> {
        self.prioritise(request).await.map(Response::new).or_status()
    }

    async fn extend_non_disclosure(
        &self,
        request: Request<wire::ExtendNonDisclosureRequest>,
    ) -> Result<Response<wire::ExtendNonDisclosureResponse>, Status> {
        Self::extend_non_disclosure(self, request).await.map(Response::new).or_status()
    }

    async fn lift_non_disclosure(
        &self,
        request: Request<wire::LiftNonDisclosureRequest>,
    ) -> Result<Response<wire::LiftNonDisclosureResponse>, Status> {
        Self::lift_non_disclosure(self, request).await.map(Response::new).or_status()
    }

    async fn watch_referrals(
        &self,
        request: Request<wire::WatchReferralsRequest>,
    ) -> Result<Response<Self::WatchReferralsStream>, Status> {
        self.watch(request).await.map(Response::new).or_status()
    }

    async fn list_referral_changes(
        &self,
        request: Request<wire::ListReferralChangesRequest>,
    ) -> Result<Response<wire::ListReferralChangesResponse>, Status> {
        self.list_changes(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn create(&self, request: Request<wire::CreateReferralRequest>) -> Result<wire::CreateReferralResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        refuse_classified(&message.referral)?;
        let now = self.clock.now();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let id = self.ids.uuid(now);
        let request_id = std::mem::take(&mut message.request_id);
        // Hashed before it is taken apart.
        let jws = message.referral.as_mut().and_then(take_jws);
        let guard = guard("CreateReferral", &request_id, &message);
        let draft = message.referral.take().map(|draft| with_jws(draft, jws));
        let digests = digests(self.parts.reads.as_ref(), &caller, &agency, draft.as_ref()).await?;
        let draft = draft.and_then(|draft| read_draft(&mut violations, "referral", &agency, id, draft, &digests, now));
        violations.into_result()?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &agency)?;
        let told = draft.as_ref().and_then(|draft| draft.occurred_at);
        let in_time = check_backdating(&caller, told, now, self.settings.backdating_days_max);
        let guard = guard.map(|guard| guard.unless_too_late(in_time));
        let (member, history) = (caller.member().to_owned(), caller.has(Role::Import));
        let field = DraftField::Referral;
        let key = self.settings.matching_key;
        let command = draft.map(|draft| Command::Create { drafts: vec![draft], field, member, history, key });
        let outcome = self.submit(&caller, guard, command).await?;
        let mut referrals = self.referred(&caller, &outcome).await?;
        Ok(wire::CreateReferralResponse {
            referral: referrals.pop(),
            duplicate: !outcome.cited.is_empty(),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn batch_create(
        &self,
        request: Request<wire::BatchCreateReferralsRequest>,
    ) -> Result<wire::BatchCreateReferralsResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        refuse_classified(&message.drafts)?;
        let now = self.clock.now();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let request_id = std::mem::take(&mut message.request_id);
        let signatures = message.drafts.iter_mut().map(take_jws).collect::<Vec<_>>();
        let guard = guard("BatchCreateReferrals", &request_id, &message);
        let mut drafts = Vec::with_capacity(message.drafts.len());
        let digests = digests(self.parts.reads.as_ref(), &caller, &agency, &message.drafts).await?;
        let signed = message.drafts.into_iter().zip(signatures).map(|(draft, jws)| with_jws(draft, jws));
        for (index, draft) in signed.enumerate() {
            let path = format!("drafts[{index}]");
            drafts.extend(read_draft(&mut violations, &path, &agency, self.ids.uuid(now), draft, &digests, now));
        }
        violations.into_result()?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &agency)?;
        let days = self.settings.backdating_days_max;
        let in_time = drafts.iter().try_for_each(|draft| check_backdating(&caller, draft.occurred_at, now, days));
        let guard = guard.map(|guard| guard.unless_too_late(in_time));
        let (member, history) = (caller.member().to_owned(), caller.has(Role::Import));
        let key = self.settings.matching_key;
        let command = Command::Create { drafts, field: DraftField::Drafts, member, history, key };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::BatchCreateReferralsResponse {
            referrals: self.referred(&caller, &outcome).await?,
            duplicates: outcome.cited.iter().filter_map(|(place, _)| u32::try_from(*place).ok()).collect(),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// What was referred, each in its place: what the command recorded, from the events alone, and what was there already, as
    /// it is.
    async fn referred(&self, caller: &Principal, outcome: &Outcome<Event>) -> Result<Vec<wire::Referral>> {
        let positions = outcome.cited.iter().map(|(_, position)| *position).collect::<Vec<_>>();
        let reader = Reader::own(caller.clone());
        let known = self.parts.reads.referrals_at(&reader, &positions).await?;
        let known =
            known.iter().map(|(referral, view)| (referral.created, show_referral(referral, *view, reader.scope())));
        let mut known = known.collect::<HashMap<_, _>>();
        // What it repeats may be held by the same command.
        let own = |recorded: &Recorded<Event>| Some((recorded.position, sent(&recorded.event)?));
        known.extend(outcome.events.iter().filter_map(own));
        let mut referrals = Vec::with_capacity(outcome.events.len() + positions.len());
        let mut new = outcome.events.iter().filter_map(|recorded| sent(&recorded.event));
        for (place, position) in &outcome.cited {
            referrals.extend(new.by_ref().take(place - referrals.len()));
            let known = known.get(position).cloned();
            let known = known.ok_or_else(|| Error::internal("a referral that was there is not"))?;
            referrals.push(known);
        }
        referrals.extend(new);
        if !positions.is_empty() {
            add_authorisations(self.parts.reads.as_ref(), caller, &mut referrals).await?;
        }
        Ok(referrals)
    }

    async fn withdraw(
        &self,
        request: Request<wire::WithdrawReferralRequest>,
    ) -> Result<wire::WithdrawReferralResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<ReferralName>());
        let occurred_at = told_time(&mut violations, "occurred_at", message.occurred_at.as_ref(), now);
        let name = violations.finish(name)?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let in_time = check_backdating(&caller, occurred_at, now, self.settings.backdating_days_max);
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("WithdrawReferral", &request_id, &message);
        let guard = guard.map(|guard| guard.unless_too_late(in_time));
        let command = Command::Withdraw { name: name.clone(), reason: message.reason, occurred_at };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let referral = self.left_of(&caller, &name, &outcome).await?;
        Ok(wire::WithdrawReferralResponse {
            referral: Some(referral),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// The referral as a command left it, from the event alone; as it is, if there was nothing to do.
    pub(super) async fn left_of(
        &self,
        caller: &Principal,
        name: &ReferralName,
        outcome: &Outcome<Event>,
    ) -> Result<wire::Referral> {
        let Some(left) = written(outcome).next() else {
            return self.own_referral(caller, name).await?.ok_or_else(|| no_referral(name));
        };
        // Who answers for it never changes.
        let mut left = [left];
        add_authorisations(self.parts.reads.as_ref(), caller, &mut left).await?;
        let [left] = left;
        Ok(left)
    }

    async fn get(&self, request: Request<wire::GetReferralRequest>) -> Result<wire::GetReferralResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<ReferralName>());
        let name = violations.finish(name)?;
        let asker = asker.asking(Some(&name.agency));
        let revisions = self.caught_up(&message.at_least).await?;
        let reader = self.reader(&asker).await?;
        let found = self.parts.reads.referral(&reader, &name).await?;
        self.still(&asker, &reader).await?;
        let (found, view) = found.ok_or_else(|| match reader.scope() {
            Scope::All => no_referral(&name),
            Scope::Agency(own) if *own == name.agency => no_referral(&name),
            // Nobody learns which referrals of others exist.
            _ => asker.principal().denied(),
        })?;
        let mut shown = [show_referral(&found, view, reader.scope())];
        add_authorisations(self.parts.reads.as_ref(), asker.principal(), &mut shown).await?;
        asking.rows([(found.name.agency.as_str(), found.name.id)]).await?;
        let [shown] = shown;
        Ok(wire::GetReferralResponse { referral: Some(shown), revisions })
    }

    async fn list(&self, request: Request<wire::ListReferralsRequest>) -> Result<wire::ListReferralsResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let selected = Selected::read("ListReferrals", &message.parent, message.filter.as_ref(), violations(&message))?;
        let asker = asker.asking(selected.filter.agency.as_deref());
        let after = read_position(Page::decode(&message.page_token, selected.hash)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let reader = self.reader(&asker).await?;
        let query = Query { filter: selected.filter, reader: Arc::clone(&reader), after, limit, unchanged_since: None };
        let found = self.parts.reads.referrals(&query).await?;
        self.still(&asker, &reader).await?;
        let rows = found
            .iter()
            .map(|(referral, view)| (position_key(referral.created), show_referral(referral, *view, reader.scope())));
        let (mut referrals, next_page_token) = fit(selected.hash, found.len() == limit, rows);
        add_authorisations(self.parts.reads.as_ref(), asker.principal(), &mut referrals).await?;
        let shown = found.iter().take(referrals.len());
        asking.rows(shown.map(|(referral, _)| (referral.name.agency.as_str(), referral.name.id))).await?;
        Ok(wire::ListReferralsResponse { next_page_token, referrals, revisions })
    }

    async fn watch(
        &self,
        request: Request<wire::WatchReferralsRequest>,
    ) -> Result<Replies<wire::WatchReferralsResponse>> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let selected =
            Selected::read("WatchReferrals", &message.parent, message.filter.as_ref(), violations(&message))?;
        let asker = asker.asking(selected.filter.agency.as_deref());
        let start = Start::read(message.start.as_ref())?;
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = ReferralFeed::new(Arc::clone(&self.parts.reads), asker, selected.filter);
        let batches = watch::open(log, feed, selected.hash, start, self.settings.watch.clone()).await?;
        let batches = asking.stream(SERVICE, batches, agency);
        Ok(Box::pin(batches.map(|batch| {
            batch.map(|batch| wire::WatchReferralsResponse {
                changes: batch.changes,
                resume_token: batch.resume_token,
                checkpoint: batch.checkpoint,
                progress: Some(Progress { revisions: batch.revisions }),
                snapshot_complete: batch.snapshot_complete,
            })
        })))
    }

    async fn list_changes(
        &self,
        request: Request<wire::ListReferralChangesRequest>,
    ) -> Result<wire::ListReferralChangesResponse> {
        use wire::list_referral_changes_request::Start as From;
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let start = match &message.start {
            Some(From::Earliest(true)) => Start::Earliest,
            Some(From::ResumeToken(token)) => Start::Token(token.clone()),
            Some(From::Earliest(false)) | None => {
                violations.add("start", "must be earliest (true) or a resume_token");
                Start::Earliest
            }
        };
        // The twin shares its tokens with the stream.
        let selected = Selected::read("WatchReferrals", &message.parent, message.filter.as_ref(), violations)?;
        let asker = asker.asking(selected.filter.agency.as_deref());
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = ReferralFeed::new(Arc::clone(&self.parts.reads), asker, selected.filter);
        let limit = page_size(message.page_size);
        let batch = watch::list(log, feed, selected.hash, start, limit, self.clock.as_ref()).await?;
        asking.batch(SERVICE, &batch, agency).await?;
        Ok(wire::ListReferralChangesResponse {
            changes: batch.changes,
            resume_token: batch.resume_token,
            caught_up: batch.caught_up,
            progress: Some(Progress { revisions: batch.revisions }),
        })
    }
}

/// What a list or a stream selects, and the hash that binds its tokens to it.
struct Selected {
    filter: Filter,
    hash: u64,
}

impl Selected {
    fn read(
        method: &str,
        parent: &str,
        filter: Option<&wire::ReferralFilter>,
        mut violations: portreeve_core::Violations,
    ) -> Result<Self> {
        let agency = violations.check("parent", parse_parent(parent, OrganisationKind::Agency));
        let read = read_filter(&mut violations, filter);
        let agency = violations.finish(agency)?;
        let hash = filter_hash(method, parent, &filter.cloned().unwrap_or_default());
        Ok(Self { filter: Filter { agency: agency.map(str::to_owned), ..read }, hash })
    }
}

/// What a command sent, or was to send and holds.
fn sent(event: &Event) -> Option<wire::Referral> {
    match event {
        Event::Created(referral) => Some(write_referral(referral)),
        Event::DraftChanged(draft) => write_held(draft),
        _ => None,
    }
}

/// The referrals of a command's events, from the events alone, so that a replay gives the same.
pub(super) fn written(outcome: &Outcome<Event>) -> impl Iterator<Item = wire::Referral> {
    outcome.events.iter().filter_map(|recorded| match &recorded.event {
        Event::Created(referral)
        | Event::Withdrawn(referral)
        | Event::Erased(referral)
        | Event::Readdressed { referral, .. }
        | Event::Linked { referral, .. }
        | Event::Prioritised { referral, .. }
        | Event::NonDisclosureChanged { referral, .. } => Some(write_referral(referral)),
        Event::RetentionChanged(_)
        | Event::OrganisationCreated(_)
        | Event::OrganisationUpdated(_)
        | Event::SigningChanged(_)
        | Event::AgreementChanged(_)
        | Event::PreNoticeGiven(_)
        | Event::MeasureChanged(_)
        | Event::OperationChanged(_)
        | Event::FlagChanged(_)
        | Event::EvidenceUploaded(_)
        | Event::EvidenceErased(_)
        | Event::Observed(_)
        | Event::DraftChanged(_)
        | Event::AuthorisationChanged(_)
        | Event::AddressRulesChanged(_)
        | Event::InterestChanged(_)
        | Event::HoldChanged(_)
        | Event::AddressesSwept(_) => None,
    })
}
