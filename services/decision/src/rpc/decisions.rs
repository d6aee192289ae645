//! `DecisionService`: its methods, and the part that is about decisions.

use std::sync::Arc;

use futures_util::StreamExt as _;
use portreeve_api::common::v1::{Progress, WatchStart};
use portreeve_api::decision::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::name::{CaseName, OrganisationKind, parse_owner, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Result, Timestamp, Violations};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::{self, Start, filter_hash};
use portreeve_runtime::wire::{
    check_backdating, guard, item_status, page_size, position_key, principal, read_position, violations,
};
use portreeve_storage::{Envelope, Outcome};
use tonic::{Request, Response, Status};
use wire::batch_decision_result;
use wire::decision_service_server::DecisionService;

use super::cases::{case_name, read_parent};
use super::convert::{read_decision_filter, read_draft, write_decision};
use super::feed::{DecisionFeed, agency_of_decision};
use super::{Replies, Rpc, envelope, one_more, only, page, unknown_outcome};
use crate::domain::{Command, Decision, DecisionDraft, Event};
use crate::store::{DecisionFilter, SERVICE, Stretch, may_read};

#[tonic::async_trait]
impl DecisionService for Rpc {
    type WatchCasesStream = Replies<wire::WatchCasesResponse>;
    type WatchDecisionsStream = Replies<wire::WatchDecisionsResponse>;
    type ExportStatementsStream = Replies<wire::ExportStatementsResponse>;

    async fn list_cases(
        &self,
        request: Request<wire::ListCasesRequest>,
    ) -> Result<Response<wire::ListCasesResponse>, Status> {
        self.list_of_cases(request).await.map(Response::new).or_status()
    }

    async fn get_case(
        &self,
        request: Request<wire::GetCaseRequest>,
    ) -> Result<Response<wire::GetCaseResponse>, Status> {
        self.one_case(request).await.map(Response::new).or_status()
    }

    async fn watch_cases(
        &self,
        request: Request<wire::WatchCasesRequest>,
    ) -> Result<Response<Self::WatchCasesStream>, Status> {
        self.watch_of_cases(request).await.map(Response::new).or_status()
    }

    async fn list_case_changes(
        &self,
        request: Request<wire::ListCaseChangesRequest>,
    ) -> Result<Response<wire::ListCaseChangesResponse>, Status> {
        self.list_of_case_changes(request).await.map(Response::new).or_status()
    }

    async fn acknowledge_cases(
        &self,
        request: Request<wire::AcknowledgeCasesRequest>,
    ) -> Result<Response<wire::AcknowledgeCasesResponse>, Status> {
        self.acknowledge(request).await.map(Response::new).or_status()
    }

    async fn record_decision(
        &self,
        request: Request<wire::RecordDecisionRequest>,
    ) -> Result<Response<wire::RecordDecisionResponse>, Status> {
        self.record(request).await.map(Response::new).or_status()
    }

    async fn batch_record_decisions(
        &self,
        request: Request<wire::BatchRecordDecisionsRequest>,
    ) -> Result<Response<wire::BatchRecordDecisionsResponse>, Status> {
        self.batch_record(request).await.map(Response::new).or_status()
    }

    async fn list_decisions(
        &self,
        request: Request<wire::ListDecisionsRequest>,
    ) -> Result<Response<wire::ListDecisionsResponse>, Status> {
        self.list_of_decisions(request).await.map(Response::new).or_status()
    }

    async fn watch_decisions(
        &self,
        request: Request<wire::WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        self.watch_of_decisions(request).await.map(Response::new).or_status()
    }

    async fn list_decision_changes(
        &self,
        request: Request<wire::ListDecisionChangesRequest>,
    ) -> Result<Response<wire::ListDecisionChangesResponse>, Status> {
        self.list_of_decision_changes(request).await.map(Response::new).or_status()
    }

    async fn export_statements(
        &self,
        request: Request<wire::ExportStatementsRequest>,
    ) -> Result<Response<Self::ExportStatementsStream>, Status> {
        self.export_of_statements(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn record(&self, request: Request<wire::RecordDecisionRequest>) -> Result<wire::RecordDecisionResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let name = case_name(&mut violations, "parent", &message.parent);
        let platform = name.as_ref().map(|name| name.platform.as_str()).unwrap_or_default();
        let draft = message.decision.as_ref().and_then(|draft| read_draft(&mut violations, platform, draft, now));
        let (name, draft) = violations.finish(name.zip(draft))?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, &name.platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("RecordDecision", &request_id, &message);
        let guard = guard.map(|guard| guard.unless_too_late(self.in_time(&caller, &draft, now)));
        let command = Command::Record {
            case: name.clone(),
            draft: Box::new(draft.clone()),
            expected_version: message.expected_version,
            by: caller.member().to_owned(),
        };
        let outcome = self.submit(&caller, guard, command).await?;
        let decision = self.recorded(&caller, &name, &draft, &outcome).await?;
        Ok(wire::RecordDecisionResponse {
            decision: Some(write_decision(&name, &decision)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn batch_record(
        &self,
        request: Request<wire::BatchRecordDecisionsRequest>,
    ) -> Result<wire::BatchRecordDecisionsResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let now = self.clock.now();
        // A violation in an item is that item's result.
        let mut violations = Violations::new();
        for (field, description) in portreeve_api::validate::violations(&message) {
            if !field.starts_with("items[") {
                violations.add(field, description);
            }
        }
        violations.into_result()?;
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).unwrap_or_default();
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, platform)?;

        let mut envelopes = Vec::with_capacity(message.items.len());
        let mut reads = Vec::with_capacity(message.items.len());
        for item in &message.items {
            match self.read_item(&caller, platform, item, now) {
                Ok((name, draft, envelope)) => {
                    envelopes.push(envelope);
                    reads.push(Ok((name, draft)));
                }
                Err(error) => reads.push(Err(error)),
            }
        }
        let mut outcomes = self.parts.writer.submit_all(envelopes).await?.into_iter();

        let mut results = Vec::with_capacity(message.items.len());
        let (mut newest, mut replayed) = (None::<Outcome<Event>>, true);
        for (item, read) in message.items.into_iter().zip(reads) {
            let recorded = match read {
                Err(error) => Err(error),
                Ok((name, draft)) => match outcomes.next() {
                    None => Err(Error::internal("the writer gave too few results")),
                    Some(Err(error)) => Err(error),
                    Some(Ok(outcome)) => {
                        let decision = self.recorded(&caller, &name, &draft, &outcome).await?;
                        replayed &= outcome.replayed;
                        let recorded = wire::RecordedDecision {
                            name: format!("{name}/decisions/{}", decision.version),
                            version: decision.version,
                            replayed: outcome.replayed,
                        };
                        if newest.as_ref().is_none_or(|newest| newest.position < outcome.position) {
                            newest = Some(outcome);
                        }
                        Ok(recorded)
                    }
                },
            };
            let result = match recorded {
                Ok(recorded) => batch_decision_result::Result::Recorded(recorded),
                Err(error) if unknown_outcome(&error) => return Err(error),
                Err(error) => batch_decision_result::Result::Error(item_status(&error)),
            };
            results.push(wire::BatchDecisionResult {
                case: item.case,
                request_id: item.request_id,
                result: Some(result),
            });
        }
        Ok(wire::BatchRecordDecisionsResponse {
            results,
            replayed: replayed && newest.is_some(),
            revision: newest.as_ref().map(Self::revision).unwrap_or_default(),
        })
    }

    fn read_item(
        &self,
        caller: &Principal,
        platform: &str,
        item: &wire::BatchDecisionItem,
        now: Timestamp,
    ) -> Result<(CaseName, DecisionDraft, Envelope<Command>)> {
        let mut violations = violations(item);
        let name = case_name(&mut violations, "case", &item.case);
        if name.as_ref().is_some_and(|name| name.platform != platform) {
            violations.add("case", format_args!("must be a case of platforms/{platform}"));
        }
        let draft = item.decision.as_ref().and_then(|draft| read_draft(&mut violations, platform, draft, now));
        let (name, draft) = violations.finish(name.zip(draft))?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, &name.platform)?;
        // Hashed as the single call hashes it, so that an item may be repeated alone and a call in a batch.
        let content = wire::RecordDecisionRequest {
            parent: item.case.clone(),
            decision: item.decision.clone(),
            expected_version: item.expected_version,
            request_id: String::new(),
        };
        let guard = guard("RecordDecision", &item.request_id, &content);
        let guard = guard.map(|guard| guard.unless_too_late(self.in_time(caller, &draft, now)));
        let command = Command::Record {
            case: name.clone(),
            draft: Box::new(draft.clone()),
            expected_version: item.expected_version,
            by: caller.member().to_owned(),
        };
        Ok((name, draft, envelope(caller, guard, command)?))
    }

    fn in_time(&self, caller: &Principal, draft: &DecisionDraft, now: Timestamp) -> Result<()> {
        check_backdating(caller, draft.decided_at, now, self.settings.backdating_days_max)
    }

    /// The decision that a command recorded or, if it said again what was recorded before, that one.
    async fn recorded(
        &self,
        caller: &Principal,
        name: &CaseName,
        draft: &DecisionDraft,
        outcome: &Outcome<Event>,
    ) -> Result<Decision> {
        let made = outcome.events.iter().find_map(|recorded| recorded.event.case_changed()?.case.decision().cloned());
        if let Some(decision) = made {
            return Ok(decision);
        }
        // As the log stood when the command was decided, so that a replay gives the same.
        let filter = DecisionFilter { case: Some(name.id), ..DecisionFilter::default() };
        let stretch = Stretch { after: 0, limit: usize::MAX, unchanged_since: Some(outcome.position) };
        let own = Reader::own(caller.clone());
        let versions = self.parts.reads.decisions(&own, &filter, stretch).await?;
        // What was explained may have been erased since.
        let mut unexplained = draft.clone();
        unexplained.content.explanation.clear();
        let latest = |said: &DecisionDraft| versions.iter().rev().find(|record| said.repeats(&record.decision));
        let repeated = latest(draft).or_else(|| latest(&unexplained)).map(|record| record.decision.clone());
        repeated.ok_or_else(|| Error::internal("a decision that was repeated is missing"))
    }

    async fn list_of_decisions(
        &self,
        request: Request<wire::ListDecisionsRequest>,
    ) -> Result<wire::ListDecisionsResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let mut filter = read_decision_filter(&mut violations, message.filter.as_ref());
        violations.into_result()?;
        let (case, platform) = read_parent(&message.parent);
        filter.platform = platform;
        filter.case = case.as_ref().map(|case| case.id);
        may_read(asker.principal(), filter.platform.as_deref())?;
        let hash = filter_hash("ListDecisions", &message.parent, &message.filter.clone().unwrap_or_default());
        let after = read_position(Page::decode(&message.page_token, hash)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let asker = match &case {
            // One case is of one agency, which need not be named.
            Some(case) => {
                let shown = self.shown_case(&asker, case).await?;
                asker.asking(Some(&shown.record.case.referred.name.agency))
            }
            None => asker.asking(only(&filter.agencies)),
        };
        let reader = self.reader(&asker).await?;
        let limit = page_size(message.page_size);
        let stretch = Stretch { after, limit: one_more(limit), unchanged_since: None };
        let found = self.parts.reads.decisions(&reader, &filter, stretch).await?;
        self.still(&asker, &reader).await?;
        let rows =
            found.iter().map(|record| (position_key(record.seq), write_decision(&record.case, &record.decision)));
        let (decisions, next_page_token) = page(hash, limit, rows);
        let shown = found.iter().take(decisions.len()).map(|record| &record.referral);
        asking.rows(shown.map(|referral| (referral.agency.as_str(), referral.id))).await?;
        Ok(wire::ListDecisionsResponse { decisions, next_page_token, revisions })
    }

    async fn watch_of_decisions(
        &self,
        request: Request<wire::WatchDecisionsRequest>,
    ) -> Result<Replies<wire::WatchDecisionsResponse>> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        let selected = Selected::read(asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let start = Start::read(message.start.as_ref())?;
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = self.decision_feed(asker, selected.filter);
        let batches = watch::open(log, feed, selected.hash, start, self.settings.watch.clone()).await?;
        let batches = asking.stream(SERVICE, batches, agency_of_decision);
        Ok(Box::pin(batches.map(|batch| {
            batch.map(|batch| wire::WatchDecisionsResponse {
                changes: batch.changes,
                resume_token: batch.resume_token,
                checkpoint: batch.checkpoint,
                progress: Some(Progress { revisions: batch.revisions }),
                snapshot_complete: batch.snapshot_complete,
            })
        })))
    }

    async fn list_of_decision_changes(
        &self,
        request: Request<wire::ListDecisionChangesRequest>,
    ) -> Result<wire::ListDecisionChangesResponse> {
        use portreeve_api::common::v1::watch_start::Start as Wire;
        use wire::list_decision_changes_request::Start as From;
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        let selected = Selected::read(asker.principal(), &message.parent, message.filter.as_ref(), read)?;
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
        let feed = self.decision_feed(asker, selected.filter);
        let batch =
            watch::list(log, feed, selected.hash, start, page_size(message.page_size), self.clock.as_ref()).await?;
        asking.batch(SERVICE, &batch, agency_of_decision).await?;
        Ok(wire::ListDecisionChangesResponse {
            changes: batch.changes,
            resume_token: batch.resume_token,
            caught_up: batch.caught_up,
            progress: Some(Progress { revisions: batch.revisions }),
        })
    }

    fn decision_feed(&self, asker: Asker, filter: DecisionFilter) -> DecisionFeed {
        DecisionFeed { reads: Arc::clone(&self.parts.reads), asker, filter, epoch: self.epoch }
    }
}

/// What a stream of decisions selects, and the hash that binds its tokens to it.
struct Selected {
    filter: DecisionFilter,
    hash: u64,
}

impl Selected {
    fn read(
        caller: &Principal,
        parent: &str,
        filter: Option<&wire::DecisionFilter>,
        mut violations: Violations,
    ) -> Result<Self> {
        let platform = parse_parent(parent, OrganisationKind::Platform).ok().flatten();
        let read = read_decision_filter(&mut violations, filter);
        violations.into_result()?;
        may_read(caller, platform)?;
        // The twin shares its tokens with the stream.
        let hash = filter_hash("WatchDecisions", parent, &filter.cloned().unwrap_or_default());
        Ok(Self { filter: DecisionFilter { platform: platform.map(str::to_owned), ..read }, hash })
    }
}
