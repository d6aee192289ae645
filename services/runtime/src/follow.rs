//! How a service learns of another: through its public stream, as commands through its own writer, so that what it
//! learnt and how far it has read are committed together. What is read twice takes effect once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _};
use portreeve_api::common::v1::{WatchStart, watch_start};
use portreeve_core::token::{Resume, Revision};
use portreeve_core::{Error, Ledger, Principal, Reason, Result};
use portreeve_storage::{Envelope, EventLog, Guard, Writer};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How long to wait before a broken stream is opened again: doubled up to the second value.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Another service's stream.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// The ledger that takes in what is learnt.
    type Ledger: Ledger;
    /// A message of the stream.
    type Message: Send;
    /// The messages as they come.
    type Messages: Stream<Item = Result<Self::Message, Status>> + Send + Unpin;

    /// The name of the log that is followed.
    fn source(&self) -> &'static str;

    /// The hash of the filter that the stream is opened with, as [`crate::watch::filter_hash`] gives it.
    fn filter(&self) -> u64;

    /// Opens the stream.
    async fn open(&self, start: WatchStart) -> Result<Self::Messages, Status>;

    /// The message's resume token, and the revisions that it says the source reflects.
    fn place<'m>(&self, message: &'m Self::Message) -> (&'m str, &'m [String]);

    /// What the message makes the ledger do.
    fn command(&self, message: Self::Message) -> Result<<Self::Ledger as Ledger>::Command>;
}

/// Follows until stopped. A stream that breaks is opened again where the service's own cursor says.
pub async fn follow<U: Upstream>(
    upstream: U,
    writer: Writer<U::Ledger>,
    log: Arc<dyn EventLog>,
    principal: Principal,
    stop: CancellationToken,
) {
    let mut delay = BACKOFF.0;
    loop {
        let mut progressed = false;
        let run = follow_once(&upstream, &writer, log.as_ref(), &principal, &mut progressed);
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = run => ended,
        };
        if progressed {
            delay = BACKOFF.0;
        }
        if let Err(error) = ended {
            tracing::debug!(source = upstream.source(), %error, "following broke off; it goes on where it was");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(BACKOFF.1),
        }
    }
}

async fn follow_once<U: Upstream>(
    upstream: &U,
    writer: &Writer<U::Ledger>,
    log: &dyn EventLog,
    principal: &Principal,
    progressed: &mut bool,
) -> Result<()> {
    let (_, followed) = log.standing().await?;
    let mut cursor = followed.iter().find(|revision| revision.log == upstream.source()).cloned();
    let start = match &cursor {
        None => watch_start::Start::Earliest(true),
        Some(revision) => {
            let resume = Resume { revision: revision.clone(), filter: upstream.filter(), snapshot_after: None };
            watch_start::Start::ResumeToken(resume.encode())
        }
    };
    let opened = upstream.open(WatchStart { start: Some(start) }).await;
    let mut messages = opened.map_err(|status| broken(&status))?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|status| broken(&status))?;
        let (token, revisions) = upstream.place(&message);
        let reached = Resume::decode(token)?.revision;
        let carries = carried(upstream.source(), revisions)?;
        let guard = Guard::Follow {
            source: upstream.source(),
            epoch: reached.epoch,
            after: cursor.as_ref().map_or(0, |revision| revision.position),
            through: reached.position,
            carries,
        };
        let command = upstream.command(message)?;
        // Waits for room: a follower is slowed by a busy writer, never refused.
        let results = writer.submit_all(vec![Envelope { principal: principal.clone(), guard, command }]).await?;
        results.into_iter().collect::<Result<Vec<_>>>()?;
        *progressed = true;
        cursor = Some(reached);
    }
    Ok(())
}

/// What the source itself had followed, kept as `log@source`.
fn carried(source: &str, revisions: &[String]) -> Result<Vec<Revision>> {
    let mut carried = Vec::new();
    for text in revisions {
        let revision = Revision::decode(text)?;
        if revision.log != source {
            carried.push(Revision { log: format!("{}@{source}", revision.log), ..revision });
        }
    }
    Ok(carried)
}

fn broken(status: &Status) -> Error {
    Error::new(Reason::StorageUnavailable, format!("the stream broke: {}", status.message()))
}
