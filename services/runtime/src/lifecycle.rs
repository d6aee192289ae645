//! The life of the process: tasks that must not end by themselves, and an orderly end.
//!
//! The end has three steps. *Soft*: no new work; streams tell their readers where to go on, loops stop, calls finish.
//! *Quiet*: no call is left, so that what serves calls may stop: the writers commit what has queued. *Hard*: time is up;
//! whatever is left is cut. A server of the RPC library waits for its open streams for ever; this one does not.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long cut calls have to send their last words, and tasks to end after the calls.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The handle of the process's life; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    soft: CancellationToken,
    quiet: CancellationToken,
    hard: CancellationToken,
    connections: TaskTracker,
    tasks: TaskTracker,
    failure: Mutex<Option<String>>,
}

/// How the process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything finished in time.
    Orderly,
    /// Something was cut at the deadline.
    Cut,
    /// A second signal came while it was ending.
    Aborted,
    /// A task that should have lasted did not.
    Failed(String),
}

impl Ended {
    /// The exit code for the shell: failure if something failed or was aborted.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Orderly | Self::Cut => ExitCode::SUCCESS,
            Self::Aborted | Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl Lifecycle {
    /// A new life.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process takes no more work.
    pub fn soft(&self) -> CancellationToken {
        self.0.soft.clone()
    }

    /// Cancelled when no call is left; writers stop then.
    pub fn quiet(&self) -> CancellationToken {
        self.0.quiet.clone()
    }

    /// Cancelled when time is up.
    pub fn hard(&self) -> CancellationToken {
        self.0.hard.clone()
    }

    /// Begins the end.
    pub fn drain(&self) {
        self.0.soft.cancel();
    }

    /// Begins the end because something failed; the first failure is the one that counts.
    pub fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::error!(failure = what, "the process ends because a part of it failed");
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
        self.drain();
    }

    /// Runs a task for as long as the process. Should it end, fail or panic before the drain, the process ends with a
    /// failure. It stops by itself once [`Lifecycle::soft`] (or [`Lifecycle::quiet`]) is cancelled.
    pub fn spawn<E: Display>(&self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        let life = self.clone();
        self.0.tasks.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            let draining = life.0.soft.is_cancelled();
            match outcome {
                Ok(Ok(())) if draining => {}
                Ok(Ok(())) => life.fail(format!("{name} ended by itself")),
                Ok(Err(error)) if draining => tracing::warn!(task = name, %error, "a task failed while it was ending"),
                Ok(Err(error)) => life.fail(format!("{name} failed: {error}")),
                Err(_) => life.fail(format!("{name} panicked")),
            }
        });
    }

    /// Watches over a writer: it is told to stop once no call is left, and the process waits until it has.
    pub fn keep_until_quiet(
        &self,
        name: &'static str,
        task: tokio::task::JoinHandle<()>,
        stop: impl FnOnce() + Send + 'static,
    ) {
        let quiet = self.quiet();
        self.spawn(name, async move {
            let mut task = task;
            tokio::select! {
                ended = &mut task => return ended,
                () = quiet.cancelled() => stop(),
            }
            task.await
        });
    }

    /// What the connections run in; the drain waits for them first.
    pub(crate) fn connections(&self) -> &TaskTracker {
        &self.0.connections
    }

    /// Lives until the first signal, a failure or [`Lifecycle::drain`]; then ends within the deadline, and a little more
    /// in which what was cut says so. A second signal ends it at once.
    pub async fn run(&self, signals: impl Stream<Item = &'static str>, deadline: Duration) -> Ended {
        let mut signals = std::pin::pin!(signals);
        tokio::select! {
            Some(signal) = signals.next() => tracing::info!(signal, "draining: no new work is taken"),
            () = self.0.soft.cancelled() => {}
        }
        self.drain();
        let cut = tokio::select! {
            cut = self.end(deadline) => cut,
            Some(signal) = signals.next() => {
                tracing::warn!(signal, "a second signal: ending at once");
                self.0.hard.cancel();
                return Ended::Aborted;
            }
        };
        let failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            Some(what) => Ended::Failed(what),
            None if cut => Ended::Cut,
            None => Ended::Orderly,
        }
    }

    /// Ends; says whether something was cut.
    async fn end(&self, deadline: Duration) -> bool {
        let Inner { quiet, hard, connections, tasks, .. } = &*self.0;
        connections.close();
        tasks.close();
        let begun = tokio::time::Instant::now();
        let mut cut = false;
        if tokio::time::timeout(deadline, connections.wait()).await.is_err() {
            cut = true;
            tracing::warn!(seconds = deadline.as_secs(), "calls were still under way at the deadline; cutting them");
            hard.cancel();
            let _ = tokio::time::timeout(LAST_WORDS, connections.wait()).await;
        }
        quiet.cancel();
        let rest = deadline.saturating_sub(begun.elapsed()).max(LAST_WORDS);
        if tokio::time::timeout(rest, tasks.wait()).await.is_err() {
            cut = true;
            tracing::warn!("tasks were still running at the deadline; leaving them");
        }
        hard.cancel();
        cut
    }
}

/// The signals that end the process: SIGTERM and SIGINT. To be called before the server says that it is up.
pub fn signals() -> std::io::Result<impl Stream<Item = &'static str>> {
    let listen = |kind, name: &'static str| {
        signal(kind).map(|source| {
            futures_util::stream::unfold(source, move |mut source| async move {
                source.recv().await.map(|()| (name, source))
            })
            .boxed()
        })
    };
    Ok(futures_util::stream::select(
        listen(SignalKind::terminate(), "SIGTERM")?,
        listen(SignalKind::interrupt(), "SIGINT")?,
    ))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Error;

    use futures_util::stream;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_task_that_ends_unasked_ends_the_process_with_failure() {
        let life = Lifecycle::new();
        life.spawn("the follower", async { Err(Error::other("lost its way")) });
        let ended = life.run(stream::pending(), SOON).await;
        assert_eq!(ended, Ended::Failed("the follower failed: lost its way".into()));

        let life = Lifecycle::new();
        life.spawn("the follower", async { Ok::<_, Infallible>(()) });
        assert_eq!(life.run(stream::pending(), SOON).await, Ended::Failed("the follower ended by itself".into()));

        let life = Lifecycle::new();
        life.spawn::<Infallible>("the follower", async { panic!("of its own") });
        assert_eq!(life.run(stream::pending(), SOON).await, Ended::Failed("the follower panicked".into()));
    }

    #[tokio::test]
    async fn a_signal_ends_it_in_order_soft_then_quiet() {
        let life = Lifecycle::new();
        let (soft, quiet) = (life.soft(), life.quiet());
        let (stopped, stopping) = tokio::sync::oneshot::channel();
        let call = life.connections().spawn({
            let quiet = quiet.clone();
            async move {
                soft.cancelled().await;
                quiet.is_cancelled()
            }
        });
        let writer = tokio::spawn(async { drop(stopping.await) });
        life.keep_until_quiet("the writer", writer, move || {
            let _ = stopped.send(());
        });
        assert_eq!(life.run(stream::iter(["SIGTERM"]).chain(stream::pending()), SOON).await, Ended::Orderly);
        assert!(quiet.is_cancelled());
        assert_eq!(call.await.ok(), Some(false), "the writers were stopped while a call was under way");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_and_a_second_signal_does_not_wait() {
        let life = Lifecycle::new();
        life.connections().spawn(std::future::pending::<()>());
        assert_eq!(life.run(stream::iter(["SIGTERM"]).chain(stream::pending()), SOON).await, Ended::Cut);
        assert!(life.hard().is_cancelled());

        let life = Lifecycle::new();
        life.connections().spawn(std::future::pending::<()>());
        assert_eq!(life.run(stream::iter(["SIGTERM", "SIGINT"]).chain(stream::pending()), SOON).await, Ended::Aborted);
    }
}
