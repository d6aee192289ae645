//! The service's RPCs: between the wire and the ledger, and nothing else.

mod cases;
pub mod challenges;
pub mod clocks;
pub mod convert;
mod decisions;
mod feed;
pub mod follow;
mod inbox;
mod policies;
mod statements;
pub mod stays;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use portreeve_consultation::Access;
use portreeve_core::access::Reader;
use portreeve_core::{Clock, Error, Principal, Reason, Result, limits, token};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::barrier;
use portreeve_storage::{Envelope, Guard, Outcome, Parts};
use prost::Message;
use tokio::sync::Notify;
use tonic::Status;

use crate::Settings;
use crate::domain::{Command, Event, Ledger};
use crate::store::{FOLLOWS, Reads, SERVICE};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The servers of `DecisionService`, `PolicyService`, `ChallengeService`, `StayService`, `ClockService` and `InboxService`.
pub struct Rpc {
    pub(crate) parts: Parts<Ledger, dyn Reads>,
    pub(crate) access: Arc<Access>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) epoch: token::Epoch,
    /// Told that a version of a clause was added, which may end permissions at once.
    pub(crate) version_added: Arc<Notify>,
}

impl Rpc {
    /// Submits a command under its request's guard.
    async fn submit(&self, principal: &Principal, guard: Option<Guard>, command: Command) -> Result<Outcome<Event>> {
        self.parts.writer.submit(envelope(principal, guard, command)?).await
    }

    /// Waits until the service reflects what the caller has seen; gives the revisions that it reflects.
    async fn caught_up(&self, at_least: &[String]) -> Result<Vec<String>> {
        barrier::caught_up(self.parts.log.as_ref(), &[FOLLOWS], at_least).await
    }

    /// Who asks, with what is shared with them now.
    async fn reader(&self, asker: &Asker) -> Result<Arc<Reader>> {
        let concerning = |own: String| async move { self.parts.reads.agreements_concerning(&own).await };
        asker.reader(concerning, self.clock.now()).await
    }

    /// Refuses what was read under an agreement that has ended meanwhile.
    async fn still(&self, asker: &Asker, reader: &Reader) -> Result<()> {
        if reader.shares().is_empty() { Ok(()) } else { self.reader(asker).await?.still(reader) }
    }

    fn revision(outcome: &Outcome<Event>) -> String {
        portreeve_runtime::wire::revision(SERVICE, outcome)
    }
}

/// The one agency that a filter selects, if it is one: who asks for their own alone needs no purpose.
fn only(agencies: &[String]) -> Option<&str> {
    match agencies {
        [one] => Some(one),
        _ => None,
    }
}

fn envelope(principal: &Principal, guard: Option<Guard>, command: Command) -> Result<Envelope<Command>> {
    let guard = guard.ok_or_else(|| Error::internal("a request id passed its check but cannot be read"))?;
    Ok(portreeve_runtime::wire::envelope(principal, guard, command))
}

/// Whether an item's error says that nobody knows what became of it: the whole call then fails, and the client repeats it.
fn unknown_outcome(error: &Error) -> bool {
    matches!(error.reason(), Reason::StorageUnavailable | Reason::ServerDraining)
}

/// A row more than the page holds: its presence tells that there is a next page.
const fn one_more(limit: usize) -> usize {
    limit.saturating_add(1)
}

/// The rows that fit a page, and the token of the next page if there is one. `rows` holds one row more than the page if
/// there are as many; each comes with its key.
fn page<T: Message>(query: u64, limit: usize, rows: impl IntoIterator<Item = (Vec<u8>, T)>) -> (Vec<T>, String) {
    let mut items = Vec::new();
    let (mut bytes, mut last) = (0, Vec::new());
    for (key, item) in rows {
        bytes += item.encoded_len();
        if items.len() == limit || (bytes > limits::REPLY_BYTES_MAX / 2 && !items.is_empty()) {
            return (items, token::Page { query, after: last }.encode());
        }
        items.push(item);
        last = key;
    }
    (items, String::new())
}

fn foreign_page() -> Error {
    Error::new(Reason::PageTokenInvalid, "the page token does not belong to this query; start again without one")
}
