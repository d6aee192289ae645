//! What streams of cases and of decisions show, and to whom.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::decision::v1 as wire;
use portreeve_core::token::Epoch;
use portreeve_core::{Error, Principal, Reason, Result, limits};
use portreeve_runtime::watch::Feed;
use portreeve_runtime::wire::position_key;
use portreeve_storage::{LogState, StoredEvent};
use prost::Message;

use super::convert::{case_snapshot, changed_case, decision_change, decision_snapshot, write_change};
use crate::store::{CaseFilter, DecisionFilter, Reads, Stretch};

/// Whose a change of a case is; the catalogues are everybody's to know.
pub(super) fn agency_of_case(change: &wire::CaseChange) -> Option<&str> {
    use wire::case_change::Change;
    match change.change.as_ref()? {
        Change::Opened(case)
        | Change::Acknowledged(case)
        | Change::Decided(case)
        | Change::Withdrawn(case)
        | Change::Snapshot(case) => Some(case.agency.as_str()),
        Change::ClauseCreated(_) | Change::ClauseVersionAdded(_) => None,
    }
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
    /// Who reads.
    pub reader: Principal,
    /// What is selected.
    pub filter: CaseFilter,
    /// The log's life.
    pub epoch: Epoch,
}

#[async_trait]
impl Feed for CaseFeed {
    type Change = wire::CaseChange;

    fn change(&self, event: &StoredEvent, state: &LogState) -> Result<Option<wire::CaseChange>> {
        if self.filter.platform.as_ref().is_some_and(|platform| *platform != event.platform) {
            return Ok(None);
        }
        if event.agency.is_empty() {
            // The catalogues are everybody's to know; whoever filters cases asks for cases alone.
            let shown = self.filter.is_whole();
            return if shown { write_change(event, state.epoch, &self.reader).map(Some) } else { Ok(None) };
        }
        if !self.reader.scope().allows(&event.agency, &event.platform) {
            return Ok(None);
        }
        let message = write_change(event, state.epoch, &self.reader)?;
        let selected = self.filter.is_whole() || changed_case(&message)?.is_some_and(|case| self.filter.selects(&case));
        Ok(selected.then_some(message))
    }

    fn whole(&self) -> bool {
        self.reader.scope() == portreeve_core::principal::Scope::All
    }

    async fn snapshot(&self, at: i64, after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, wire::CaseChange)>> {
        let stretch = Stretch { after: place(after)?, limit, unchanged_since: Some(at) };
        let found = self.reads.cases(&self.reader, &self.filter, stretch).await?;
        let rows = found
            .iter()
            .map(|record| (position_key(record.opened), case_snapshot(&record.case, record.updated, at, self.epoch)));
        Ok(fitting(rows))
    }
}

/// The stream of decisions of one reader.
pub(super) struct DecisionFeed {
    /// Where the snapshot is read.
    pub reads: Arc<dyn Reads>,
    /// Who reads.
    pub reader: Principal,
    /// What is selected.
    pub filter: DecisionFilter,
    /// The log's life.
    pub epoch: Epoch,
}

#[async_trait]
impl Feed for DecisionFeed {
    type Change = wire::DecisionChange;

    fn change(&self, event: &StoredEvent, state: &LogState) -> Result<Option<wire::DecisionChange>> {
        let other = self.filter.platform.as_ref().is_some_and(|platform| *platform != event.platform);
        if other || event.agency.is_empty() || !self.reader.scope().allows(&event.agency, &event.platform) {
            return Ok(None);
        }
        let message = write_change(event, state.epoch, &self.reader)?;
        if !matches!(message.change, Some(wire::case_change::Change::Decided(_))) {
            return Ok(None);
        }
        let selected = changed_case(&message)?.is_some_and(|case| self.filter.selects(&case));
        Ok(if selected { decision_change(message) } else { None })
    }

    async fn snapshot(&self, at: i64, after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, wire::DecisionChange)>> {
        let stretch = Stretch { after: place(after)?, limit, unchanged_since: Some(at) };
        let found = self.reads.latest_decisions(&self.reader, &self.filter, stretch).await?;
        Ok(fitting(found.iter().map(|record| (position_key(record.seq), decision_snapshot(record, at, self.epoch)))))
    }
}

/// As many rows as one message of a stream carries: one at least.
fn fitting<T: Message>(rows: impl Iterator<Item = (Vec<u8>, T)>) -> Vec<(Vec<u8>, T)> {
    let mut fitting = Vec::new();
    let mut bytes = 0;
    for (key, row) in rows {
        bytes += row.encoded_len();
        if bytes > limits::STREAM_BATCH_BYTES_MAX && !fitting.is_empty() {
            break;
        }
        fitting.push((key, row));
    }
    fitting
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
