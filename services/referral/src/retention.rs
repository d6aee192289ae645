//! Erases what is past its time: by the clock and the agencies' policies alone, with nobody asking.

use std::sync::Arc;
use std::time::Duration;

use portreeve_core::{Clock, Principal, Result, Timestamp, limits};
use portreeve_storage::{Envelope, Guard, Parts};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::{Command, Ledger, RetentionPolicy};
use crate::store::{Reads, SERVICE};

/// Erases whatever is past its time at a moment. Gives the number of referrals of which something was erased.
///
/// A replica that does the same at the same time finds nothing left to do: what is erased is decided in the commit.
async fn sweep(parts: &Parts<Ledger, dyn Reads>, now: Timestamp) -> Result<usize> {
    let mut erased = 0;
    for policy in parts.reads.retention_policies().await? {
        for (group, class) in policy.classes() {
            let by = RetentionPolicy::over_until(class, now);
            let mut after = policy.rules.get(&group).map_or(0, |rule| rule.swept);
            loop {
                let limit = limits::SWEEP_REFERRALS_MAX;
                let found = parts.reads.recorded_by(&policy.agency, after, by, limit).await?;
                let Some((last, _)) = found.last() else { break };
                after = *last;
                let ids = found.iter().map(|(_, id)| *id).collect();
                let command = Command::Expire { agency: policy.agency.clone(), ids };
                let principal = Principal::service(SERVICE)?;
                let outcome = parts.writer.submit(Envelope { principal, guard: Guard::None, command }).await?;
                erased += outcome.events.len();
                if found.len() < limit {
                    break;
                }
            }
        }
    }
    Ok(erased)
}

/// Sweeps now and then until it is told to stop.
pub(crate) async fn run(
    parts: Parts<Ledger, dyn Reads>,
    clock: Arc<dyn Clock>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Given up in the middle, it has erased what it has; the next life goes on from there.
        let swept = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = async {
                ticks.tick().await;
                sweep(&parts, clock.now()).await
            } => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(referrals) => tracing::info!(referrals, "erased what was past its time"),
            // The next one tries again.
            Err(error) => tracing::warn!(%error, "what is past its time could not be erased"),
        }
    }
}
