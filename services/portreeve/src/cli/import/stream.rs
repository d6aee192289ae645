//! The import stream: sent in a bounded window, and taken up again where it broke off.

use std::collections::VecDeque;

use portreeve_api::referral::v1::{ImportItem, ImportReferralsRequest, ImportResult};
use portreeve_api::watch::is_retryable;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::cli::connection::{Backoff, Session};
use crate::cli::failure::{Failure, Result};

/// Items that are on their way at most: what is kept in memory, and sent again when the connection breaks.
const WINDOW: usize = 8_000;
/// Bytes of items in one message, far below what a server accepts.
const MESSAGE_BYTES: usize = 1 << 20;
/// Connections that bring no result, one after another, before the import gives up.
const FRUITLESS: u32 = 8;

/// How one connection ended early.
enum Broken {
    /// On the wire, or by the server.
    Stream(Status),
    /// In what the caller gave.
    Caller(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Caller(failure)
    }
}

/// What is under way: each item with the caller's note on it, until its result is there.
struct Window<T> {
    items: VecDeque<(T, ImportItem)>,
    exhausted: bool,
    revision: Option<String>,
    results: u64,
}

/// Imports what `next` gives, up to `chunk` items in a message, and hands each result to `done` in the order of the
/// items. A connection that breaks is made again and everything without a result sent again under its request id.
/// Gives the revision after which everything can be read.
pub(crate) async fn import<T>(
    session: &Session,
    parent: &str,
    chunk: usize,
    mut next: impl FnMut() -> Result<Option<(T, ImportItem)>>,
    mut done: impl FnMut(T, ImportItem, ImportResult) -> Result<()>,
) -> Result<Option<String>> {
    let mut window = Window { items: VecDeque::new(), exhausted: false, revision: None, results: 0 };
    let mut backoff = Backoff::default();
    let mut fruitless = 0;
    loop {
        let before = window.results;
        let broken = match connection(session, parent, chunk, &mut window, &mut next, &mut done).await {
            Ok(()) if window.exhausted && window.items.is_empty() => return Ok(window.revision),
            Ok(()) => Status::unavailable("the stream ended before every item had its result"),
            Err(Broken::Stream(status)) if is_retryable(&status) => status,
            Err(Broken::Stream(status)) => return Err(session.failure(status)),
            Err(Broken::Caller(failure)) => return Err(failure),
        };
        if window.results > before {
            backoff.reset();
            fruitless = 0;
        }
        fruitless += 1;
        if fruitless >= FRUITLESS {
            return Err(session.failure(broken));
        }
        backoff.wait().await;
    }
}

async fn connection<T>(
    session: &Session,
    parent: &str,
    chunk: usize,
    window: &mut Window<T>,
    next: &mut impl FnMut() -> Result<Option<(T, ImportItem)>>,
    done: &mut impl FnMut(T, ImportItem, ImportResult) -> Result<()>,
) -> Result<(), Broken> {
    let (sender, receiver) = mpsc::channel(2);
    let mut sender = Some(sender);
    let mut client = session.referrals();
    // A server may wait for the first message before it answers at all, so that both are awaited together.
    let mut opening = std::pin::pin!(client.import_referrals(ReceiverStream::new(receiver)));
    let mut results = None;
    let mut sent = 0;
    let mut answered = 0;
    loop {
        while !window.exhausted && window.items.len() < (sent + chunk).min(WINDOW) {
            match next()? {
                Some(item) => window.items.push_back(item),
                None => window.exhausted = true,
            }
        }
        let ready = window.items.len() > sent;
        if window.exhausted && !ready {
            sender = None;
        }
        let room = async {
            match &sender {
                Some(sender) => sender.clone().reserve_owned().await.ok(),
                None => std::future::pending().await,
            }
        };
        let answer = async {
            match &mut results {
                Some(stream) => tonic::Streaming::message(stream).await.map(Answer::Results),
                None => opening.as_mut().await.map(|response| Answer::Open(response.into_inner())),
            }
        };
        tokio::select! {
            permit = room, if ready => match permit {
                Some(permit) => {
                    let items = message(window.items.iter().skip(sent).map(|(_, item)| item), chunk);
                    sent += items.len();
                    permit.send(ImportReferralsRequest { parent: parent.to_owned(), items });
                }
                // Nobody takes items any more; the answer says why.
                None => sender = None,
            },
            answer = answer => match answer.map_err(Broken::Stream)? {
                Answer::Open(stream) => results = Some(stream),
                Answer::Results(None) => return Ok(()),
                Answer::Results(Some(message)) => {
                    for result in message.results {
                        let (note, item) = window.items.pop_front().filter(|_| result.index == answered && sent > 0)
                            .ok_or_else(|| Failure::Failed("the server's results are out of order".to_owned()))?;
                        (sent, answered, window.results) = (sent - 1, answered + 1, window.results + 1);
                        done(note, item, result)?;
                    }
                    if !message.revision.is_empty() {
                        window.revision = Some(message.revision);
                    }
                }
            },
        }
    }
}

/// What the server sends.
enum Answer<S> {
    /// The stream of results is open.
    Open(S),
    /// The next results; none at the end.
    Results(Option<portreeve_api::referral::v1::ImportReferralsResponse>),
}

/// As many items as one message carries, and at least one.
fn message<'i>(items: impl Iterator<Item = &'i ImportItem>, chunk: usize) -> Vec<ImportItem> {
    let mut bytes = 0;
    let fits = |item: &&ImportItem| {
        let first = bytes == 0;
        bytes += item.encoded_len();
        first || bytes <= MESSAGE_BYTES
    };
    items.take(chunk).take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_by_items_and_by_bytes() {
        let item = |bytes: usize| ImportItem { request_id: "x".repeat(bytes), draft: None };
        let many = vec![item(10); 700];
        assert_eq!(message(many.iter(), 500).len(), 500);
        let large = vec![item(400_000); 5];
        assert_eq!(message(large.iter(), 500).len(), 2);
        let giant = vec![item(MESSAGE_BYTES * 2); 2];
        assert_eq!(message(giant.iter(), 500).len(), 1);
    }
}
