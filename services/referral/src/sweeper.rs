//! What the service does of itself, by the clock alone: erasing what is past its time, putting addresses in the form of rules that
//! have changed, sending what was held, and taking away bytes that are no evidence.

use std::sync::Arc;
use std::time::Duration;

use portreeve_core::{Clock, Principal, Result};
use portreeve_storage::{Envelope, Guard, Objects, Outcome, Parts};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::{Command, Event, Ledger};
use crate::store::{Reads, SERVICE};
use crate::{addresses, clearing, evidence, retention};

/// Sweeps after which the objects are looked through, too: a large store takes its time, and what it holds in vain can wait.
const OBJECTS_EVERY: u64 = 60;

/// Sweeps now and then until it is told to stop.
pub(crate) async fn run(
    parts: Parts<Ledger, dyn Reads>,
    objects: Option<Objects>,
    clock: Arc<dyn Clock>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        let sweep = async {
            ticks.tick().await;
            let erased = retention::sweep(&parts, objects.as_ref(), clock.now()).await;
            told(erased, "erased what was past its time", "what is past its time could not be erased");
            let readdressed = addresses::sweep(&parts, clock.now()).await;
            let done = "put addresses in the form of changed rules";
            told(readdressed, done, "addresses could not be put in the form of changed rules");
            let cleared = clearing::sweep(&parts, clock.now()).await;
            told(cleared, "sent what was held", "what was held could not be looked at");
            if let Some(objects) = objects.as_ref().filter(|_| tick % OBJECTS_EVERY == 0) {
                let removed = evidence::sweep(objects, &parts.reads, clock.now()).await;
                let done = "took away bytes that are no evidence";
                told(removed, done, "bytes that are no evidence could not be taken away");
            }
        };
        // Given up in the middle, it has done what it has; the next life goes on from there.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sweep => {}
        }
    }
}

/// Does of the service's own accord what a sweep finds to do.
pub(crate) async fn submit(parts: &Parts<Ledger, dyn Reads>, command: Command) -> Result<Outcome<Event>> {
    let principal = Principal::service(SERVICE)?;
    parts.writer.submit(Envelope { principal, guard: Guard::None, command }).await
}

/// Tells what a sweep did. What failed the next one tries again.
fn told(swept: Result<usize>, done: &'static str, failed: &'static str) {
    match swept {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "{done}"),
        Err(error) => tracing::warn!(%error, "{failed}"),
    }
}
