//! What streams of cases and of decisions show, and to whom.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::decision::v1 as wire;
use portreeve_core::access::{Reader, View};
use portreeve_core::principal::Scope;
use portreeve_core::token::Epoch;
use portreeve_core::vocabulary::FieldGroup;
use portreeve_core::{Error, Reason, Result, Timestamp};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::watch::{Feed, fitting};
use portreeve_runtime::wire::position_key;
use portreeve_storage::{LogState, StoredEvent};

use super::clocks::convert::{read_step, write_clock};
use super::convert::{
    case_in, case_of, case_snapshot, changed_case, conceal, decision_change, decision_snapshot, hide_lease,
    write_change,
};
use crate::domain::Case;
use crate::store::{CaseFilter, ClockFilter, DecisionFilter, Reads, SERVICE, Stretch};

/// Whose a change of a case is; the catalogues are everybody's to know.
pub(super) fn agency_of_case(change: &wire::CaseChange) -> Option<&str> {
    change.change.as_ref().and_then(case_of).map(|case| case.agency.as_str())
}

/// Whose a decision is.
#[expect(clippy::unnecessary_wraps, reason = "other streams hold what is nobody's")]
pub(super) fn agency_of_decision(change: &wire::DecisionChange) -> Option<&str> {
    Some(change.referral.as_str())
}

/// The stream of cases of one reader.
pub(super) struct CaseFeed {
    /// Where the snapshot is read.
    pub reads: Arc<dyn Reads>,
    /// Who asks.
    pub asker: Asker,
    /// What is selected.
    pub filter: CaseFilter,
    /// The log's life.
    pub epoch: Epoch,
}

/// What the reader sees of the case in a change, and the case; `None` if nothing.
fn seen(reader: &Reader, event: &StoredEvent, message: &wire::CaseChange) -> Result<Option<(Case, View)>> {
    let Some(case) = changed_case(message)? else { return Ok(None) };
    let view = reader.view(&case.marks());
    // What was recorded after an end does not show, whatever it is about.
    let view = view.filter(|view| view.before.is_none_or(|before| event.recorded_at < before));
    Ok(view.map(|view| (case, view)))
}

/// Whether anything of an agency's events is seen at all: asked before they are decoded.
fn may_show(reader: &Reader, event: &StoredEvent) -> bool {
    !event.platform.is_empty()
        && (reader.scope().allows(&event.agency, &event.platform)
            || reader.shares().iter().any(|share| share.owner == event.agency))
}

#[async_trait]
impl Feed for CaseFeed {
    type Change = wire::CaseChange;

    async fn reader(&self, now: Timestamp) -> Result<Arc<Reader>> {
        self.asker.reader_of_stream(|own| async move { self.reads.agreements_concerning(&own).await }, now).await
    }

    fn change(&self, reader: &Reader, event: &StoredEvent, state: &LogState) -> Result<Option<wire::CaseChange>> {
        let whole = *reader.scope() == Scope::All;
        if self.filter.platform.as_ref().is_some_and(|platform| *platform != event.platform) {
            return Ok(None);
        }
        if event.agency.is_empty() {
            // The catalogues are everybody's to know; whoever filters cases asks for cases alone.
            let shown = self.filter.is_whole();
            return if shown { write_change(event, state.epoch, reader.principal()).map(Some) } else { Ok(None) };
        }
        if event.platform.is_empty() {
            // What this service learnt of agreements is the suite's own to follow.
            let shown = whole && self.filter.is_whole();
            return if shown { write_change(event, state.epoch, reader.principal()).map(Some) } else { Ok(None) };
        }
        if !may_show(reader, event) {
            return Ok(None);
        }
        let mut message = write_change(event, state.epoch, reader.principal())?;
        if whole && self.filter.is_whole() {
            return Ok(Some(message));
        }
        let Some((mut case, view)) = seen(reader, event, &message)? else { return Ok(None) };
        if view.before.is_some() {
            // Of what is kept, nobody is told when the mark comes off.
            if matches!(message.change, Some(wire::case_change::Change::ReplayChanged(_))) {
                return Ok(None);
            }
            (case.replay, message.replay_candidate_before) = (None, false);
            message.change.as_mut().and_then(case_in).into_iter().for_each(|case| case.replay_candidate = None);
        }
        let selected = self.filter.shows(&case, reader.scope())
            && self.filter.selects_change(&case, message.replay_candidate_before, message.discrepancy_before);
        if !self.filter.is_whole() && !selected {
            return Ok(None);
        }
        // Who reviews is the platform's own business; that somebody does is the agency's too.
        let hidden = match (&message.change, reader.scope()) {
            (Some(wire::case_change::Change::ReviewChanged(_)), Scope::Agency(_)) => {
                message.status_before() != wire::CaseStatus::Received
            }
            // An order is its agency's to share.
            (Some(wire::case_change::Change::Escalated(_)), Scope::Agency(own)) => *own != event.agency,
            // And it comes with the legal basis.
            (Some(wire::case_change::Change::NonDisclosureChanged(_)), _) => !view.groups.has(FieldGroup::LegalBasis),
            _ => false,
        };
        if hidden {
            return Ok(None);
        }
        if let Some(case) = message.change.as_mut().and_then(case_in) {
            conceal(case, view);
            hide_lease(case, reader.principal());
        }
        Ok(Some(message))
    }

    fn whole(&self) -> bool {
        self.asker.principal().scope() == Scope::All
    }

    async fn snapshot(
        &self,
        reader: &Arc<Reader>,
        at: i64,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, wire::CaseChange)>> {
        let stretch = Stretch { after: place(after)?, limit, unchanged_since: Some(at) };
        let found = self.reads.cases(reader, &self.filter, stretch).await?;
        let snapshot = |shown| case_snapshot(shown, self.asker.principal(), at, self.epoch);
        let rows = found.iter().map(|shown| (position_key(shown.record.opened), snapshot(shown)));
        Ok(fitting(rows))
    }
}

/// The stream of decisions of one reader.
pub(super) struct DecisionFeed {
    /// Where the snapshot is read.
    pub reads: Arc<dyn Reads>,
    /// Who asks.
    pub asker: Asker,
    /// What is selected.
    pub filter: DecisionFilter,
    /// The log's life.
    pub epoch: Epoch,
}

#[async_trait]
impl Feed for DecisionFeed {
    type Change = wire::DecisionChange;

    async fn reader(&self, now: Timestamp) -> Result<Arc<Reader>> {
        self.asker.reader_of_stream(|own| async move { self.reads.agreements_concerning(&own).await }, now).await
    }

    fn change(&self, reader: &Reader, event: &StoredEvent, state: &LogState) -> Result<Option<wire::DecisionChange>> {
        let other = self.filter.platform.as_ref().is_some_and(|platform| *platform != event.platform);
        if other || event.agency.is_empty() || !may_show(reader, event) {
            return Ok(None);
        }
        let message = write_change(event, state.epoch, reader.principal())?;
        if !matches!(message.change, Some(wire::case_change::Change::Decided(_))) {
            return Ok(None);
        }
        let selected = seen(reader, event, &message)?.is_some_and(|(case, _)| self.filter.selects(&case));
        Ok(if selected { decision_change(message) } else { None })
    }

    async fn snapshot(
        &self,
        reader: &Arc<Reader>,
        at: i64,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, wire::DecisionChange)>> {
        let stretch = Stretch { after: place(after)?, limit, unchanged_since: Some(at) };
        let found = self.reads.latest_decisions(reader, &self.filter, stretch).await?;
        Ok(fitting(found.iter().map(|record| (position_key(record.seq), decision_snapshot(record, at, self.epoch)))))
    }
}

/// Whose a clock is.
#[expect(clippy::unnecessary_wraps, reason = "other streams hold what is nobody's")]
pub(super) fn agency_of_clock(change: &wire::ClockChange) -> Option<&str> {
    Some(change.referral.as_str())
}

/// The stream of clocks of one reader.
pub(super) struct ClockFeed {
    /// Where the snapshot is read.
    pub reads: Arc<dyn Reads>,
    /// Who asks.
    pub asker: Asker,
    /// What is selected.
    pub filter: ClockFilter,
    /// The log's life.
    pub epoch: Epoch,
}

impl ClockFeed {
    /// What is selected of what happened to the clocks of a case: a clock that is no more is selected by its kind alone.
    fn selected(&self, case: &Case, steps: &[wire::ClockStep]) -> (Vec<wire::ClockStep>, Vec<wire::Clock>) {
        let name = case.name();
        let clocks = case.clocks();
        let chosen = |step: &&wire::ClockStep| {
            let Some(step) = read_step(step) else { return false };
            if let Some(clock) = clocks.iter().find(|clock| clock.key == step.clock) {
                return self.filter.selects(clock);
            }
            let of_kind = self.filter.kinds.is_empty() || self.filter.kinds.contains(&step.clock.kind);
            of_kind && self.filter.states.is_empty() && self.filter.due_before.is_none()
        };
        let steps = steps.iter().filter(chosen).cloned().collect::<Vec<_>>();
        let clocks = clocks.iter().map(|clock| write_clock(&name, clock));
        let clocks = clocks.filter(|clock| steps.iter().any(|step| step.clock == clock.name)).collect();
        (steps, clocks)
    }
}

#[async_trait]
impl Feed for ClockFeed {
    type Change = wire::ClockChange;

    async fn reader(&self, now: Timestamp) -> Result<Arc<Reader>> {
        self.asker.reader_of_stream(|own| async move { self.reads.agreements_concerning(&own).await }, now).await
    }

    fn change(&self, reader: &Reader, event: &StoredEvent, state: &LogState) -> Result<Option<wire::ClockChange>> {
        let other = self.filter.platform.as_ref().is_some_and(|platform| *platform != event.platform);
        let other = other || !(self.filter.agencies.is_empty() || self.filter.agencies.contains(&event.agency));
        if other || event.agency.is_empty() || !may_show(reader, event) {
            return Ok(None);
        }
        let message = write_change(event, state.epoch, reader.principal())?;
        if message.clock_steps.is_empty() {
            return Ok(None);
        }
        let Some((case, _)) = seen(reader, event, &message)? else { return Ok(None) };
        let (steps, clocks) = self.selected(&case, &message.clock_steps);
        Ok((!steps.is_empty()).then(|| wire::ClockChange {
            position: message.position,
            revision: message.revision,
            recorded_at: message.recorded_at,
            case: case.name().to_string(),
            referral: case.referred.name.to_string(),
            steps,
            clocks,
            snapshot: false,
        }))
    }

    async fn snapshot(
        &self,
        reader: &Arc<Reader>,
        at: i64,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, wire::ClockChange)>> {
        // A later change brings the clocks alone to which something happened, so that what has changed since is not left out: it
        // comes as it is, and then again.
        let stretch = Stretch { after: place(after)?, limit, unchanged_since: None };
        let found = self.reads.clocked(reader, &self.filter, stretch).await?;
        Ok(fitting(found.iter().map(|shown| {
            let case = &shown.record.case;
            let name = case.name();
            let open = case.clocks().into_iter().filter(|clock| clock.is_open() && self.filter.selects(clock));
            let change = wire::ClockChange {
                position: u64::try_from(at).unwrap_or_default(),
                revision: portreeve_storage::event::revision(SERVICE, self.epoch, at).encode(),
                recorded_at: None,
                case: name.to_string(),
                referral: case.referred.name.to_string(),
                steps: Vec::new(),
                clocks: open.map(|clock| write_clock(&name, &clock)).collect(),
                snapshot: true,
            };
            (position_key(shown.record.opened), change)
        })))
    }
}

/// The place that a snapshot goes on after; its beginning has no key.
fn place(key: &[u8]) -> Result<i64> {
    if key.is_empty() {
        return Ok(0);
    }
    let bytes = key
        .try_into()
        .map_err(|_| Error::new(Reason::ResumeTokenInvalid, "the resume token is of another snapshot; begin again"))?;
    Ok(i64::from_be_bytes(bytes))
}
