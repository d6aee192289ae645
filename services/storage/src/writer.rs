//! The one way to write: commands queue here and are committed in groups.
//!
//! No timer gathers a batch: it is what queued while the last commit ran, so that an idle service answers at once and a
//! busy one shares each commit among many.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use portreeve_core::token::{Epoch, Revision};
use portreeve_core::{Error, Ledger, Principal, Reason, Recorded, Result, limits};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What keeps a command from taking effect twice.
#[derive(Clone, Debug)]
pub enum Guard {
    /// A caller's request, remembered for ever.
    Request {
        /// The caller's identifier of the request (AIP-155).
        request_id: Uuid,
        /// SHA-256 of the method and of what was asked.
        hash: [u8; 32],
        /// What time alone has made wrong with it. A repeat is not refused for that: it gets its first answer.
        too_late: Option<Error>,
    },
    /// A stretch of another service's log, taken in once and in order.
    Follow {
        /// The log that is followed.
        source: &'static str,
        /// Its life.
        epoch: Epoch,
        /// The position before the stretch.
        after: i64,
        /// The last position of the stretch.
        through: i64,
        /// How far the source had itself followed other logs at that position, as `log@source`.
        carries: Vec<Revision>,
    },
    /// Nothing: what is said twice happened twice. For what a server records of its own accord.
    None,
}

impl Guard {
    /// Refuses the request for what time alone has made wrong with it, unless it is a repeat.
    #[must_use]
    pub fn unless_too_late(self, in_time: Result<()>) -> Self {
        match self {
            Self::Request { request_id, hash, .. } => Self::Request { request_id, hash, too_late: in_time.err() },
            other => other,
        }
    }
}

/// A command with who sent it and what guards it.
#[derive(Clone, Debug)]
pub struct Envelope<C> {
    /// Who acts.
    pub principal: Principal,
    /// What keeps it from taking effect twice.
    pub guard: Guard,
    /// What is to be done.
    pub command: C,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Outcome<E> {
    /// The events that it caused; those of the first time if it is a replay.
    pub events: Vec<Recorded<E>>,
    /// What was there already and is asked for once more: the place in the reply, and the position of the event.
    pub cited: Vec<(usize, i64)>,
    /// The log's life.
    pub epoch: Epoch,
    /// Everything up to this position includes what the command did.
    pub position: i64,
    /// Whether the request had been answered before.
    pub replayed: bool,
}

/// What commits a batch: one per engine and service.
#[async_trait]
pub trait Committer<L: Ledger>: Send + Sync + 'static {
    /// Decides and persists a batch in one transaction; a result per envelope, in order. A failed command fails alone.
    async fn commit(&self, batch: &[Envelope<L::Command>]) -> Vec<Result<Outcome<L::Event>>>;
}

struct Submission<L: Ledger> {
    envelopes: Vec<Envelope<L::Command>>,
    answer: oneshot::Sender<Vec<Result<Outcome<L::Event>>>>,
}

/// The handle of a service's writer.
pub struct Writer<L: Ledger> {
    queue: mpsc::Sender<Submission<L>>,
    stop: CancellationToken,
}

impl<L: Ledger> Clone for Writer<L> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), stop: self.stop.clone() }
    }
}

impl<L: Ledger> Writer<L> {
    /// Starts the writer's task. It ends, with all that had queued committed, once [`Writer::stop`] was called or the
    /// last handle is gone.
    pub fn start(service: &'static str, committer: impl Committer<L>) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(limits::WRITER_QUEUE_MAX);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(service, waiting, Arc::new(committer), stop.clone()));
        (Self { queue, stop }, task)
    }

    /// Takes no more work. What has queued is still committed and answered.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Submits one command. Answers `OVERLOADED` at once if the queue is full.
    pub async fn submit(&self, envelope: Envelope<L::Command>) -> Result<Outcome<L::Event>> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { envelopes: vec![envelope], answer };
        self.queue.try_send(submission).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Reason::Overloaded, "too many writes are waiting; repeat the call after the retry delay")
                    .with("resource", "writes")
                    .retry_after(Duration::from_millis(100))
            }
            mpsc::error::TrySendError::Closed(_) => draining(),
        })?;
        let mut results = answered.await.map_err(|_| draining())?;
        results.pop().unwrap_or_else(|| Err(Error::internal("the writer gave no result")))
    }

    /// Submits commands that share nothing but the call: a result each, in order. Waits while the queue is full, so that
    /// a stream is slowed and not refused.
    pub async fn submit_all(&self, envelopes: Vec<Envelope<L::Command>>) -> Result<Vec<Result<Outcome<L::Event>>>> {
        if envelopes.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        self.queue.send(Submission { envelopes, answer }).await.map_err(|_| draining())?;
        answered.await.map_err(|_| draining())
    }
}

fn draining() -> Error {
    Error::new(Reason::ServerDraining, "this server is shutting down; repeat the call with the same request_id")
        .retry_after(Duration::from_millis(500))
}

async fn run<L: Ledger>(
    service: &'static str,
    mut waiting: mpsc::Receiver<Submission<L>>,
    committer: Arc<impl Committer<L>>,
    stop: CancellationToken,
) {
    let commands = metrics::histogram!("portreeve_commit_commands", "service" => service);
    let seconds = metrics::histogram!("portreeve_commit_seconds", "service" => service);
    let queued = metrics::gauge!("portreeve_writer_queue", "service" => service);
    loop {
        let first = tokio::select! {
            biased;
            () = stop.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
            first = waiting.recv() => match first {
                Some(first) => first,
                None => return,
            },
        };
        // Calls that are ready to write, but have not had their turn yet, come along: their own commit would cost them and
        // the others more. An idle service loses one turn, which is nothing.
        let mut queued_before = 0;
        while queued_before < waiting.len().min(limits::COMMIT_SUBMISSIONS_MAX) || queued_before == 0 {
            queued_before = waiting.len().max(1);
            tokio::task::yield_now().await;
        }
        let mut batch = first.envelopes;
        let mut answers = vec![(batch.len(), first.answer)];
        while answers.len() < limits::COMMIT_SUBMISSIONS_MAX
            && batch.len() < limits::COMMIT_COMMANDS_MAX
            && let Ok(next) = waiting.try_recv()
        {
            answers.push((next.envelopes.len(), next.answer));
            batch.extend(next.envelopes);
        }
        #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point")]
        {
            commands.record(batch.len() as f64);
            queued.set(waiting.len() as f64);
        }
        let begun = tokio::time::Instant::now();
        // A fault in deciding is ours, and fails the batch that met it; the transaction is undone as it is dropped. The
        // writer itself goes on: a service whose writer had died would refuse everybody for ever.
        let done = AssertUnwindSafe(committer.commit(&batch)).catch_unwind().await;
        let results =
            done.unwrap_or_else(|_| batch.iter().map(|_| Err(Error::internal("a commit panicked"))).collect());
        let mut results = results.into_iter();
        seconds.record(begun.elapsed());
        for (count, answer) in answers {
            // A caller that has gone away still had its command committed; it may ask again with the same request_id.
            let _ = answer.send(results.by_ref().take(count).collect());
        }
    }
}
