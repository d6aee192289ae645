//! The part of `DecisionService` that is about cases: the inbox, its streams and the receipts.

use std::str::FromStr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use portreeve_api::common::v1::{Progress, WatchStart};
use portreeve_api::decision::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, OrganisationKind, parse_owner, parse_parent};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Reason, Result, Violations};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::watch::{self, Start, filter_hash};
use portreeve_runtime::wire::{
    check_backdating, guard, item_status, page_size, position_key, principal, read_position, told_time, violations,
    write_time,
};
use tonic::Request;
use wire::acknowledge_result;

use super::convert::{read_case_filter, show_case};
use super::feed::{CaseFeed, agency_of_case};
use super::{Replies, Rpc, envelope, one_more, only, page, unknown_outcome};
use crate::domain::challenge::unseen;
use crate::domain::ledger::not_found;
use crate::domain::{Command, Event, Receipt};
use crate::store::{CaseFilter, SERVICE, Shown, Stretch, may_read};

impl Rpc {
    pub(super) async fn list_of_cases(
        &self,
        request: Request<wire::ListCasesRequest>,
    ) -> Result<wire::ListCasesResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        let selected = Selected::read("ListCases", asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let after = read_position(Page::decode(&message.page_token, selected.hash)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let stretch = Stretch { after, limit: one_more(limit), unchanged_since: None };
        let reader = self.reader(&asker).await?;
        let found = self.parts.reads.cases(&reader, &selected.filter, stretch).await?;
        self.still(&asker, &reader).await?;
        let rows = found.iter().map(|shown| {
            let revision = self.revision_at(shown.record.updated);
            (position_key(shown.record.opened), show_case(shown, asker.principal(), revision))
        });
        let (cases, next_page_token) = page(selected.hash, limit, rows);
        let shown = found.iter().take(cases.len()).map(|shown| &shown.record.case.referred.name);
        asking.rows(shown.map(|referral| (referral.agency.as_str(), referral.id))).await?;
        Ok(wire::ListCasesResponse { cases, next_page_token, revisions })
    }

    pub(super) async fn one_case(&self, request: Request<wire::GetCaseRequest>) -> Result<wire::GetCaseResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = case_name(&mut violations, "name", &message.name);
        let name = violations.finish(name)?;
        may_read(asker.principal(), Some(&name.platform))?;
        let revisions = self.caught_up(&message.at_least).await?;
        let shown = self.shown_case(&asker, &name).await?;
        let case = show_case(&shown, asker.principal(), self.revision_at(shown.record.updated));
        let owner = shown.record.case.referred.name.agency.as_str();
        asking.rows([(owner, name.id)]).await?;
        Ok(wire::GetCaseResponse { case: Some(case), revisions })
    }

    /// A case as the caller sees it. An agency that sees nothing of it does not learn whether it exists, unless it saw it
    /// under an agreement: a case's name does not say whose it is.
    pub(super) async fn shown_case(&self, asker: &Asker, name: &CaseName) -> Result<Shown> {
        let agency = matches!(asker.principal().scope(), Scope::Agency(_));
        let owner = if agency { self.parts.reads.owner(name).await? } else { None };
        if agency && owner.is_none() {
            return Err(unseen(asker.principal().organisation()));
        }
        let asker = asker.clone().asking(owner.as_deref());
        let reader = match self.reader(&asker).await {
            Err(error) if error.reason() == Reason::PermissionDenied => {
                return Err(unseen(asker.principal().organisation()));
            }
            reader => reader?,
        };
        let found = self.parts.reads.case(&reader, name).await?;
        self.still(&asker, &reader).await?;
        found.ok_or_else(|| if agency { unseen(asker.principal().organisation()) } else { not_found(name) })
    }

    pub(super) async fn watch_of_cases(
        &self,
        request: Request<wire::WatchCasesRequest>,
    ) -> Result<Replies<wire::WatchCasesResponse>> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        let selected = Selected::read("WatchCases", asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let start = Start::read(message.start.as_ref())?;
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = self.case_feed(asker, selected.filter);
        let batches = watch::open(log, feed, selected.hash, start, self.settings.watch.clone()).await?;
        let batches = asking.stream(SERVICE, batches, agency_of_case);
        Ok(Box::pin(batches.map(|batch| {
            batch.map(|batch| wire::WatchCasesResponse {
                changes: batch.changes,
                resume_token: batch.resume_token,
                checkpoint: batch.checkpoint,
                progress: Some(Progress { revisions: batch.revisions }),
                snapshot_complete: batch.snapshot_complete,
            })
        })))
    }

    pub(super) async fn list_of_case_changes(
        &self,
        request: Request<wire::ListCaseChangesRequest>,
    ) -> Result<wire::ListCaseChangesResponse> {
        use portreeve_api::common::v1::watch_start::Start as Wire;
        use wire::list_case_changes_request::Start as From;
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        // The twin shares its tokens with the stream.
        let selected = Selected::read("WatchCases", asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let start = match message.start {
            Some(From::Earliest(chosen)) => Some(Wire::Earliest(chosen)),
            Some(From::ResumeToken(token)) => Some(Wire::ResumeToken(token)),
            None => None,
        };
        let start = Start::read(Some(&WatchStart { start }))?;
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = self.case_feed(asker, selected.filter);
        let batch =
            watch::list(log, feed, selected.hash, start, page_size(message.page_size), self.clock.as_ref()).await?;
        asking.batch(SERVICE, &batch, agency_of_case).await?;
        Ok(wire::ListCaseChangesResponse {
            changes: batch.changes,
            resume_token: batch.resume_token,
            caught_up: batch.caught_up,
            progress: Some(Progress { revisions: batch.revisions }),
        })
    }

    pub(super) async fn acknowledge(
        &self,
        request: Request<wire::AcknowledgeCasesRequest>,
    ) -> Result<wire::AcknowledgeCasesResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).unwrap_or_default().to_owned();
        let mut names = Vec::with_capacity(message.names.len());
        for (index, name) in message.names.iter().enumerate() {
            let field = format!("names[{index}]");
            let name = case_name(&mut violations, &field, name);
            if name.as_ref().is_some_and(|name| name.platform != platform) {
                violations.add(field, format_args!("must be a case of {}", message.parent));
            }
            names.extend(name);
        }
        let occurred_at = told_time(&mut violations, "occurred_at", message.occurred_at.as_ref(), now);
        violations.into_result()?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, &platform)?;
        let in_time = check_backdating(&caller, occurred_at, now, self.settings.backdating_days_max);

        let request_id = std::mem::take(&mut message.request_id);
        let request_id = Uuid::try_parse(&request_id).map_err(|_| Error::internal("a request id cannot be read"))?;
        let envelopes = names.iter().map(|name| {
            // Each receipt is a command of its own, whose identifier follows from the request's and the case.
            let own = Uuid::new_v5(&request_id, name.to_string().as_bytes());
            let guard = guard("AcknowledgeCases", &own.to_string(), &message);
            let guard = guard.map(|guard| guard.unless_too_late(in_time.clone()));
            envelope(&caller, guard, Command::Acknowledge { case: name.clone(), occurred_at })
        });
        let envelopes = envelopes.collect::<Result<Vec<_>>>()?;
        let outcomes = self.parts.writer.submit_all(envelopes).await?;
        // Too late for each of them: then the call as a whole was. What became of others nobody may know.
        let late = |error: &Error| error.reason() == Reason::BackdatingNotPermitted;
        if outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(late)) {
            in_time?;
        }

        let mut results = Vec::with_capacity(names.len());
        let (mut newest, mut replayed) = (None, true);
        for (name, outcome) in names.iter().zip(outcomes) {
            let result = match outcome {
                Ok(outcome) => {
                    replayed &= outcome.replayed;
                    let receipt = self.receipt(&caller, name, &outcome).await?;
                    if newest
                        .as_ref()
                        .is_none_or(|newest: &portreeve_storage::Outcome<Event>| newest.position < outcome.position)
                    {
                        newest = Some(outcome);
                    }
                    acknowledge_result::Result::Receipt(wire::CaseReceipt {
                        acknowledged_at: Some(write_time(receipt.occurred_at)),
                        recorded_at: Some(write_time(receipt.recorded_at)),
                    })
                }
                Err(error) if unknown_outcome(&error) => return Err(error),
                Err(error) => acknowledge_result::Result::Error(item_status(&error)),
            };
            results.push(wire::AcknowledgeResult { name: name.to_string(), result: Some(result) });
        }
        Ok(wire::AcknowledgeCasesResponse {
            results,
            replayed: replayed && newest.is_some(),
            revision: newest.as_ref().map(Self::revision).unwrap_or_default(),
        })
    }

    /// The receipt that a command made, or that was there before it. The first counts and never changes.
    async fn receipt(
        &self,
        caller: &Principal,
        name: &CaseName,
        outcome: &portreeve_storage::Outcome<Event>,
    ) -> Result<Receipt> {
        let made = outcome.events.iter().find_map(|recorded| recorded.event.case_changed()?.case.receipt());
        if let Some(receipt) = made {
            return Ok(receipt);
        }
        let found = self.parts.reads.case(&Reader::own(caller.clone()), name).await?;
        found.and_then(|shown| shown.record.case.receipt()).ok_or_else(|| Error::internal("a receipt is missing"))
    }

    fn case_feed(&self, asker: Asker, filter: CaseFilter) -> CaseFeed {
        CaseFeed { reads: Arc::clone(&self.parts.reads), asker, filter, epoch: self.epoch }
    }

    fn revision_at(&self, position: i64) -> String {
        portreeve_storage::event::revision(crate::store::SERVICE, self.epoch, position).encode()
    }
}

/// The name of a case.
pub(super) fn case_name(violations: &mut Violations, field: &str, name: &str) -> Option<CaseName> {
    named(violations, field, name, "a case's name: platforms/{platform}/cases/{uuid}")
}

/// A name, which must be what is said. A wrong one has been noted by the contract's rules, which say the same.
pub(super) fn named<T: FromStr>(violations: &mut Violations, field: &str, name: &str, what: &str) -> Option<T> {
    let read = name.parse().ok();
    if read.is_none() && violations.is_empty() {
        violations.add(field, format_args!("must be {what}"));
    }
    read
}

/// What is listed of cases: of one, and of which platform. The contract's rules leave three forms: one case, one platform's,
/// everybody's.
pub(super) fn read_parent(parent: &str) -> (Option<CaseName>, Option<String>) {
    if let Ok(case) = parent.parse::<CaseName>() {
        let platform = case.platform.clone();
        return (Some(case), Some(platform));
    }
    let owner = parent.strip_suffix("/cases/-").unwrap_or(parent);
    (None, parse_parent(owner, OrganisationKind::Platform).ok().flatten().map(str::to_owned))
}

/// What a list or a stream of cases selects, and the hash that binds its tokens to it.
struct Selected {
    filter: CaseFilter,
    hash: u64,
}

impl Selected {
    fn read(
        method: &str,
        caller: &Principal,
        parent: &str,
        filter: Option<&wire::CaseFilter>,
        mut violations: Violations,
    ) -> Result<Self> {
        let platform = parse_parent(parent, OrganisationKind::Platform).ok().flatten();
        let read = read_case_filter(&mut violations, filter);
        violations.into_result()?;
        may_read(caller, platform)?;
        let hash = filter_hash(method, parent, &filter.cloned().unwrap_or_default());
        Ok(Self { filter: CaseFilter { platform: platform.map(str::to_owned), ..read }, hash })
    }
}
