//! The event log as it is read.

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_core::audit::{Claim, Entry, Hash, Tree};
use portreeve_core::token::{Epoch, Revision};
use portreeve_core::{Recorded, Result, Timestamp};
use tokio::sync::watch;

use crate::Personal;

/// An event as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number: gap-free from 1.
    pub position: i64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The agency whose event it is; empty where it is nobody's.
    pub agency: String,
    /// The platform whose event it is; empty where it is nobody's.
    pub platform: String,
    /// Who made it happen.
    pub actor: String,
    /// The event as the public contract writes it; sealed as it lies in the log, or opened.
    pub body: Bytes,
}

impl StoredEvent {
    /// The event as its leaf covers it.
    pub fn entry(&self) -> Entry<'_> {
        let Self { position, recorded_at, agency, platform, actor, body } = self;
        Entry { position: *position, recorded_at: *recorded_at, agency, platform, actor, body }
    }
}

/// An event with what the tree keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The event.
    pub event: StoredEvent,
    /// The leaf that was made of it when it was appended. `None` where the tree has not grown over it yet.
    pub leaf: Option<Hash>,
}

/// What a service's codec makes of an event before it is stored.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The agency whose event it is; empty where it is nobody's.
    pub agency: String,
    /// The platform whose event it is; empty where it is nobody's.
    pub platform: String,
    /// The event as the public contract writes it, without what is personal.
    pub body: Vec<u8>,
    /// What of it is about a person.
    pub personal: Option<Personal>,
}

/// How a service's events are written into the log and read back.
pub trait Codec<E>: Send + Sync + 'static {
    /// The event's bytes and whose it is.
    fn encode(event: &E) -> Encoded;

    /// The event behind a body. Fails only if the log holds what this release did not write.
    fn decode(body: &[u8]) -> Result<E>;

    /// A stored event with its place in the log.
    fn read(stored: &StoredEvent) -> Result<Recorded<E>> {
        Ok(Recorded {
            position: stored.position,
            recorded_at: stored.recorded_at,
            actor: stored.actor.clone(),
            event: Self::decode(&stored.body)?,
        })
    }
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The life of the log.
    pub epoch: Epoch,
    /// The number of the newest event; 0 if there is none.
    pub head: i64,
    /// The number of the newest event that streams no longer start before.
    pub compacted: i64,
}

/// A stretch of the log, and where the log stood after it was read.
#[derive(Clone, Debug)]
pub struct LogPage {
    /// The events after the position asked for, without a gap.
    pub events: Vec<StoredEvent>,
    /// Where the log stood then: further on than the events if more came meanwhile.
    pub state: LogState,
    /// How far the service had followed other logs then. What it had learnt of them is in the events only if these reach
    /// the head.
    pub followed: Vec<Revision>,
}

/// A service's log, whatever engine holds it.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// The log's name: the service's.
    fn name(&self) -> &'static str;

    /// Up to `limit` events after a position, opened. Below the compaction floor too: whether a reader may begin there is the
    /// stream's question.
    async fn page(&self, after: i64, limit: usize) -> Result<LogPage>;

    /// Where the log stands, and how far other logs have been followed.
    async fn standing(&self) -> Result<(LogState, Vec<Revision>)>;

    /// The log's life and the Merkle tree over its events, as of now.
    async fn tree(&self) -> Result<(Epoch, Tree)>;

    /// A proof from the tree. What is asked for must lie within the tree as it is.
    async fn proof(&self, claim: Claim) -> Result<Vec<Hash>>;

    /// Up to `limit` events after a position, each with its leaf, as they lie in the log: whether anything is missing or
    /// was changed is for the reader to find out.
    async fn entries(&self, after: i64, limit: usize) -> Result<Vec<LoggedEvent>>;

    /// Changes whenever the log may have grown or another log was followed further. The value is a hint, never data.
    fn changed(&self) -> watch::Receiver<i64>;
}

/// The revision of a position in a log.
pub fn revision(log: &str, epoch: Epoch, position: i64) -> Revision {
    Revision { log: log.to_owned(), epoch, position }
}
