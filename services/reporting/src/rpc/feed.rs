//! What a stream of a report shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::common::v1::Progress;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::token::Revision;
use portreeve_core::{Clock, Error, Reason, Result, Timestamp, limits};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::watch::Feed;
use portreeve_storage::{Codec as _, EventLog, LogState, StoredEvent};

use super::convert::{Log, write_report};
use super::{compute, export};
use crate::domain::{Counts, Definition, Event, Key, Permitted};
use crate::store::Reads;

/// The stream of one report. The cube's cells carry whose they are, and the permitted definition selects among them.
pub(super) struct ReportFeed {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) reads: Arc<dyn Reads>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) permitted: Permitted,
    /// Who reads. What they may count is in the definition, while what partners share of it lasts.
    pub(super) who: Asker,
    /// What partners shared when the stream was opened.
    pub(super) relied: Arc<Reader>,
}

/// What the stream tells.
pub(super) enum Change {
    /// The report as it stands.
    Snapshot(Box<wire::Report>),
    /// The rows that change.
    Delta(BTreeMap<Key, Counts>),
}

/// The changes of a report's rows that an event makes; rows that stay as they are left out.
fn deltas(definition: &Definition, event: &Event) -> BTreeMap<Key, Counts> {
    let mut rows = BTreeMap::<Key, Counts>::new();
    for (cell, tally) in event.deltas().iter().filter(|(cell, _)| definition.selects(cell)) {
        let key = definition.key(&cell.subject, &cell.standing, cell.event_day);
        let targets = if cell.subject.same_target { 0 } else { tally.net };
        rows.entry(key).or_default().add(cell.standing.disposition, tally.net, targets);
    }
    rows.retain(|_, counts| !counts.is_zero());
    rows
}

/// An event; the end of the stream where the figures were begun anew.
fn known(stored: &StoredEvent) -> Result<Event> {
    let event = Log::decode(&stored.body)?;
    if event == Event::BegunAnew {
        let message = "another release reads the logs from their beginning; begin again with a snapshot";
        return Err(Error::new(Reason::ResumeTokenExpired, message).with("oldest_position", stored.position));
    }
    Ok(event)
}

impl ReportFeed {
    /// The report as it stood at a position of the log: the cells as they are now, less what came after.
    async fn at(&self, position: i64) -> Result<wire::Report> {
        let mut selected = self.reads.select(&self.permitted).await?;
        let definition = self.permitted.definition();
        let now = selected.own.position;
        let mut reached = position;
        while reached < now {
            let page = self.log.page(reached, limits::STREAM_BATCH_EVENTS_MAX).await?;
            if page.state.compacted > reached || page.events.is_empty() {
                return Err(Error::new(
                    Reason::ResumeTokenExpired,
                    "the log was compacted while the report was being made; begin again with a snapshot",
                )
                .with("oldest_position", page.state.compacted));
            }
            for stored in page.events.iter().filter(|stored| stored.position <= now) {
                let event = known(stored)?;
                selected.slices.extend(definition.slices(event.deltas().iter().map(|(cell, tally)| (cell, -*tally))));
                reached = stored.position;
            }
        }
        if now != position {
            // How far other logs had been followed then is not known any more.
            selected.followed.clear();
            selected.own = Revision { position, ..selected.own };
        }
        let report = write_report(&compute(&self.permitted, &selected, self.clock.now().date()))?;
        export::check_size(&report)?;
        Ok(wire::Report {
            progress: Some(Progress { revisions: super::revisions(&selected.own, &selected.followed) }),
            ..report
        })
    }
}

/// The key of the one row of which a snapshot consists.
const WHOLE: [u8; 1] = [1];

#[async_trait]
impl Feed for ReportFeed {
    type Change = Change;

    async fn reader(&self, now: Timestamp) -> Result<Arc<Reader>> {
        // Whoever has left an operation is refused what the others refer in it.
        let definition = self.permitted.definition();
        let (reader, _) =
            super::asking::reader(self.reads.as_ref(), &self.who, definition, Some(&self.relied), now).await?;
        Ok(reader)
    }

    fn change(&self, _: &Reader, event: &StoredEvent, _state: &LogState) -> Result<Option<Change>> {
        let rows = deltas(self.permitted.definition(), &known(event)?);
        Ok(Some(rows).filter(|rows| !rows.is_empty()).map(Change::Delta))
    }

    async fn snapshot(&self, _: &Arc<Reader>, at: i64, after: &[u8], _limit: usize) -> Result<Vec<(Vec<u8>, Change)>> {
        if !after.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![(WHOLE.to_vec(), Change::Snapshot(Box::new(self.at(at).await?)))])
    }
}
