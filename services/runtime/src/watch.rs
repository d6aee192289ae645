//! Streams of changes: one pull loop per stream over the log.
//!
//! Nothing is queued for a reader. The loop reads a page, sends what the reader may see of it, and reads on when the
//! reader has taken it; a slow reader falls behind and catches up, and costs no memory meanwhile. The head wakes the
//! loop when it has reached the end. A checkpoint comes out of the same loop, after everything before it was examined,
//! so that it can never run ahead of the events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use portreeve_api::common::v1::{WatchStart, watch_start};
use portreeve_core::time::SystemClock;
use portreeve_core::token::{Resume, Revision, fingerprint};
use portreeve_core::{Clock, Error, Reason, Result, Timestamp, Violations, access, limits};
use portreeve_storage::{EventLog, LogPage, LogState, StoredEvent};
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::barrier::reflected;
use crate::status::status;

/// As many rows of a snapshot as one message of a stream carries: one at least. Those that are left out come with the next.
pub fn fitting<T: Message>(rows: impl Iterator<Item = (Vec<u8>, T)>) -> Vec<(Vec<u8>, T)> {
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

/// What a stream shows, and to whom: the part that differs from service to service.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// A change as the contract writes it.
    type Change: Send;

    /// Who reads, and what is shared with them at this moment. Asked after each page was read and before it is shown, so
    /// that nothing is shown under an agreement that has ended meanwhile.
    async fn reader(&self, now: Timestamp) -> Result<Arc<access::Reader>>;

    /// The change behind an event, if the filter selects it and the reader sees anything of it.
    fn change(&self, reader: &access::Reader, event: &StoredEvent, state: &LogState) -> Result<Option<Self::Change>>;

    /// Whether the reader begins at the first event ever and not at the compaction floor: a service of the suite that
    /// follows this one, which must not miss any.
    fn whole(&self) -> bool {
        false
    }

    /// Up to `limit` rows of the state after a key, with their keys, in key order; none if there are no more.
    ///
    /// Only rows that have not changed since the position `at`: the changes after it bring the others whole.
    async fn snapshot(
        &self,
        reader: &Arc<access::Reader>,
        at: i64,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Self::Change)>>;
}

/// What one message of a stream carries.
#[derive(Debug)]
pub struct Batch<C> {
    /// The changes, in the order of the log.
    pub changes: Vec<C>,
    /// Where to go on after this message.
    pub resume_token: String,
    /// Whether this message only says how far everything was examined.
    pub checkpoint: bool,
    /// Whether this message ends the snapshot.
    pub snapshot_complete: bool,
    /// The revisions that the reader has now been told of.
    pub revisions: Vec<String>,
    /// Whether the end of the log was reached.
    pub caught_up: bool,
    /// The positions that were examined for it: after the first, through the second. The same twice in a snapshot, whose
    /// rows are those of the state there.
    pub examined: (i64, i64),
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event kept.
    Earliest,
    /// With the first event after this moment.
    Now,
    /// With the present state, then the changes after it.
    Snapshot,
    /// After the message that carried this token.
    Token(String),
}

impl Start {
    /// Reads the contract's message.
    pub fn read(start: Option<&WatchStart>) -> Result<Self> {
        use watch_start::Start as Wire;
        let mut violations = Violations::new();
        match start.and_then(|start| start.start.as_ref()) {
            Some(Wire::Earliest(true)) => return Ok(Self::Earliest),
            Some(Wire::Now(true)) => return Ok(Self::Now),
            Some(Wire::Snapshot(true)) => return Ok(Self::Snapshot),
            Some(Wire::ResumeToken(token)) => return Ok(Self::Token(token.clone())),
            Some(Wire::Earliest(false)) => violations.add("start.earliest", "must be true where it is chosen"),
            Some(Wire::Now(false)) => violations.add("start.now", "must be true where it is chosen"),
            Some(Wire::Snapshot(false)) => violations.add("start.snapshot", "must be true where it is chosen"),
            None => violations.add("start", "must name one of earliest, now, snapshot and resume_token"),
        }
        violations.finish(None)
    }
}

/// The hash that binds a resume token to what was asked for.
pub fn filter_hash<M: Message>(method: &str, parent: &str, filter: &M) -> u64 {
    fingerprint(&[method.as_bytes(), parent.as_bytes(), &filter.encode_to_vec()])
}

/// How streams behave on this server.
#[derive(Clone)]
pub struct Settings {
    /// How long an idle stream waits before it sends a checkpoint.
    pub checkpoint_interval: Duration,
    /// Cancelled when the server drains: streams then end and tell their readers to go elsewhere.
    pub drain: CancellationToken,
    /// The clock by which agreements end.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("checkpoint_interval", &self.checkpoint_interval).finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_millis(limits::CHECKPOINT_INTERVAL_MS),
            drain: CancellationToken::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Where a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    revision: Revision,
    /// The key of the last row sent, while the snapshot is being sent.
    snapshot_after: Option<Vec<u8>>,
}

/// A log with where to read it and what to show of it.
struct Reader<F> {
    log: Arc<dyn EventLog>,
    feed: F,
    filter: u64,
}

impl<F: Feed> Reader<F> {
    async fn begin(&self, start: &Start) -> Result<Place> {
        let (state, _) = self.log.standing().await?;
        let at = |position| Revision { log: self.log.name().to_owned(), epoch: state.epoch, position };
        Ok(match start {
            Start::Earliest if self.feed.whole() => Place { revision: at(0), snapshot_after: None },
            Start::Earliest => Place { revision: at(state.compacted), snapshot_after: None },
            Start::Now => Place { revision: at(state.head), snapshot_after: None },
            Start::Snapshot => Place { revision: at(state.head), snapshot_after: Some(Vec::new()) },
            Start::Token(token) => {
                let resume = Resume::decode(token)?;
                self.check(&resume, &state)?;
                Place { revision: resume.revision, snapshot_after: resume.snapshot_after }
            }
        })
    }

    fn check(&self, resume: &Resume, state: &LogState) -> Result<()> {
        let at = &resume.revision;
        if at.log != self.log.name() || at.epoch != state.epoch {
            return Err(Error::new(
                Reason::ResumeTokenForeign,
                "the resume token is of another stream or of another life of this server; begin with a snapshot",
            )
            .with("log", &at.log));
        }
        if resume.filter != self.filter {
            return Err(Error::new(
                Reason::ResumeFilterChanged,
                "the resume token was issued for another filter; begin with a snapshot for the new one",
            ));
        }
        if at.position > state.head {
            return Err(Error::new(Reason::ResumeTokenFuture, "the resume token is ahead of the log")
                .with("position", at.position)
                .with("head", state.head));
        }
        self.check_kept(at.position, state)
    }

    fn check_kept(&self, position: i64, state: &LogState) -> Result<()> {
        if position >= state.compacted || self.feed.whole() {
            return Ok(());
        }
        let oldest = Place {
            revision: Revision { log: self.log.name().to_owned(), epoch: state.epoch, position: state.compacted },
            snapshot_after: None,
        };
        Err(Error::new(
            Reason::ResumeTokenExpired,
            "the events after this token are no longer kept for streams; begin with a snapshot, or at the oldest token",
        )
        .with("oldest", self.token(&oldest))
        .with("oldest_position", state.compacted))
    }

    fn token(&self, place: &Place) -> String {
        let Place { revision, snapshot_after } = place.clone();
        Resume { revision, filter: self.filter, snapshot_after }.encode()
    }

    /// The next rows of the snapshot, or its end.
    async fn rows(&self, clock: &dyn Clock, place: &mut Place, after: &[u8], limit: usize) -> Result<Batch<F::Change>> {
        let reader = self.feed.reader(clock.now()).await?;
        let rows = self.feed.snapshot(&reader, place.revision.position, after, limit).await?;
        if !reader.shares().is_empty() {
            // An agreement may have ended between the one and the other.
            self.feed.reader(clock.now()).await?.still(&reader)?;
        }
        place.snapshot_after = rows.last().map(|(key, _)| key.clone());
        Ok(Batch {
            snapshot_complete: place.snapshot_after.is_none(),
            resume_token: self.token(place),
            changes: rows.into_iter().map(|(_, row)| row).collect(),
            checkpoint: false,
            revisions: Vec::new(),
            caught_up: false,
            examined: (place.revision.position, place.revision.position),
        })
    }

    /// The next page of the log, checked against where the stream is.
    async fn page(&self, place: &Place) -> Result<LogPage> {
        let page = self.log.page(place.revision.position, limits::STREAM_BATCH_EVENTS_MAX).await?;
        if page.state.epoch != place.revision.epoch {
            return Err(Error::new(
                Reason::ResumeTokenForeign,
                "the log was restored and began a new life; begin with a snapshot",
            )
            .with("log", self.log.name()));
        }
        self.check_kept(place.revision.position, &page.state)?;
        Ok(page)
    }

    /// Takes changes from a page until `limit` or the byte limit is reached, and moves the place to the last event
    /// examined.
    fn examine(
        &self,
        reader: &access::Reader,
        page: &LogPage,
        place: &mut Place,
        changes: &mut Vec<F::Change>,
        limit: usize,
    ) -> Result<()> {
        let mut bytes = 0;
        for event in &page.events {
            bytes += event.body.len();
            if changes.len() >= limit || (bytes > limits::STREAM_BATCH_BYTES_MAX && !changes.is_empty()) {
                break;
            }
            changes.extend(self.feed.change(reader, event, &page.state)?);
            place.revision.position = event.position;
        }
        Ok(())
    }

    /// What the reader has been told of, once it has been sent everything up to its place.
    fn revisions(place: &Place, page: &LogPage) -> Vec<String> {
        let mut revisions = vec![place.revision.encode()];
        if place.revision.position == page.state.head {
            revisions.extend(reflected(&page.followed).iter().map(Revision::encode));
        }
        revisions
    }
}

/// Opens a stream. An error in where to begin is the call's; one that comes later ends the stream.
pub async fn open<F: Feed>(
    log: Arc<dyn EventLog>,
    feed: F,
    filter: u64,
    start: Start,
    settings: Settings,
) -> Result<impl Stream<Item = Result<Batch<F::Change>, Status>> + Send + 'static> {
    let changed = log.changed();
    let reader = Reader { log, feed, filter };
    let place = reader.begin(&start).await?;
    let relied = reader.feed.reader(settings.clock.now()).await?;
    let due = Instant::now() + settings.checkpoint_interval;
    // Nothing told yet: the first message, with a token, leaves at once, so that a break before it leaves no gap.
    let told = (-1, Vec::new());
    let state = Watch { reader, place, told, changed, settings, due, relied };
    Ok(stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(batch) => Some((Ok(batch), Some(state))),
            Err(error) => Some((Err(status(&error)), None)),
        }
    }))
}

struct Watch<F> {
    reader: Reader<F>,
    place: Place,
    /// The position and the followed revisions of the last message.
    told: (i64, Vec<Revision>),
    changed: watch::Receiver<i64>,
    settings: Settings,
    due: Instant,
    /// What the stream has been shown under: it ends with any of it.
    relied: Arc<access::Reader>,
}

impl<F: Feed> Watch<F> {
    /// Who reads at this moment. Refuses to go on once something that the stream rested on is over.
    async fn reader(&mut self) -> Result<Arc<access::Reader>> {
        let reader = self.reader.feed.reader(self.settings.clock.now()).await?;
        reader.still(&self.relied)?;
        self.relied = Arc::clone(&reader);
        Ok(reader)
    }

    /// When to look again though nothing has happened: when a checkpoint is due, or time alone changes what the reader sees.
    fn wake(&self) -> Instant {
        let Some(at) = self.relied.next_change() else { return self.due };
        let micros = at.micros().saturating_sub(self.settings.clock.now().micros());
        self.due.min(Instant::now() + Duration::from_micros(u64::try_from(micros).unwrap_or_default()))
    }

    async fn next(&mut self) -> Result<Batch<F::Change>> {
        let after = self.place.revision.position;
        loop {
            if self.settings.drain.is_cancelled() {
                return Err(draining());
            }
            if let Some(row) = self.place.snapshot_after.take() {
                self.reader().await?;
                let clock = Arc::clone(&self.settings.clock);
                return self.reader.rows(clock.as_ref(), &mut self.place, &row, limits::STREAM_BATCH_EVENTS_MAX).await;
            }
            // Seen before the page is read: a commit after this wakes the loop again.
            self.changed.borrow_and_update();
            let page = self.reader.page(&self.place).await?;
            let reader = self.reader().await?;
            let mut changes = Vec::new();
            self.reader.examine(&reader, &page, &mut self.place, &mut changes, usize::MAX)?;
            let caught_up = self.place.revision.position == page.state.head;
            let news = caught_up && self.told != (self.place.revision.position, page.followed.clone());
            if !changes.is_empty() || news || (caught_up && Instant::now() >= self.due) {
                return Ok(self.send(changes, &page, caught_up, after));
            }
            if !caught_up {
                continue;
            }
            let wake = self.wake();
            tokio::select! {
                woken = self.changed.changed() => if woken.is_err() { return Err(draining()) },
                // A checkpoint too is sent by the way around, past the question who may see what.
                () = tokio::time::sleep_until(wake) => {}
                () = self.settings.drain.cancelled() => {}
            }
        }
    }

    fn send(&mut self, changes: Vec<F::Change>, page: &LogPage, caught_up: bool, after: i64) -> Batch<F::Change> {
        if caught_up {
            self.told = (self.place.revision.position, page.followed.clone());
        }
        // Spread over a tenth of the interval by position, so that streams opened together do not all wake together.
        let spread = u32::try_from(self.place.revision.position.rem_euclid(10)).unwrap_or_default();
        self.due =
            Instant::now() + self.settings.checkpoint_interval + self.settings.checkpoint_interval * spread / 100;
        Batch {
            checkpoint: changes.is_empty(),
            resume_token: self.reader.token(&self.place),
            revisions: Reader::<F>::revisions(&self.place, page),
            changes,
            snapshot_complete: false,
            caught_up,
            examined: (after, self.place.revision.position),
        }
    }
}

/// How a stream ends when the server drains.
pub fn draining() -> Error {
    Error::new(Reason::ServerDraining, "this server is shutting down; go on elsewhere with the last resume token")
        .retry_after(Duration::from_millis(500))
}

/// Pages that one call of the unary twin reads at most: a filter that selects little must not make a call endless.
const LIST_PAGES_MAX: usize = 20;

/// The unary twin of a stream: the changes after a place, up to `limit`, and where to go on. It never waits.
pub async fn list<F: Feed>(
    log: Arc<dyn EventLog>,
    feed: F,
    filter: u64,
    start: Start,
    limit: usize,
    clock: &dyn Clock,
) -> Result<Batch<F::Change>> {
    let reader = Reader { log, feed, filter };
    let mut place = reader.begin(&start).await?;
    if let Some(after) = place.snapshot_after.take() {
        return reader.rows(clock, &mut place, &after, limit).await;
    }
    let after = place.revision.position;
    let mut changes = Vec::new();
    let mut pages = 0;
    loop {
        let page = reader.page(&place).await?;
        let who = reader.feed.reader(clock.now()).await?;
        reader.examine(&who, &page, &mut place, &mut changes, limit)?;
        pages += 1;
        let caught_up = place.revision.position == page.state.head;
        if caught_up || changes.len() >= limit || pages >= LIST_PAGES_MAX {
            return Ok(Batch {
                checkpoint: changes.is_empty(),
                resume_token: reader.token(&place),
                revisions: Reader::<F>::revisions(&place, &page),
                changes,
                snapshot_complete: false,
                caught_up,
                examined: (after, place.revision.position),
            });
        }
    }
}
