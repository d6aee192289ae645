//! Erases what is past its time: by the clock and the agencies' policies alone, with nobody asking.

use std::sync::Arc;
use std::time::Duration;

use portreeve_core::{Clock, Principal, Result, Timestamp, limits};
use portreeve_storage::{Envelope, Guard, Objects, Parts};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::{Command, Event, Ledger, RetentionPolicy};
use crate::evidence::{self, purge};
use crate::store::{Reads, SERVICE};

/// Sweeps after which the objects are looked through, too: a large store takes its time, and what it holds in vain can wait.
const OBJECTS_EVERY: u64 = 60;

/// Erases whatever is past its time at a moment. Gives the number of referrals of which something was erased.
///
/// A replica that does the same at the same time finds nothing left to do: what is erased is decided in the commit.
async fn sweep(parts: &Parts<Ledger, dyn Reads>, objects: Option<&Objects>, now: Timestamp) -> Result<usize> {
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
                let ids = found.iter().map(|(_, id)| *id).collect::<Vec<_>>();
                let keys = parts.reads.objects_of(&ids).await?;
                let command = Command::Expire { agency: policy.agency.clone(), ids };
                let principal = Principal::service(SERVICE)?;
                let outcome = parts.writer.submit(Envelope { principal, guard: Guard::None, command }).await?;
                erased += outcome.events.iter().filter(|recorded| matches!(recorded.event, Event::Erased(_))).count();
                if outcome.events.iter().any(|recorded| matches!(recorded.event, Event::EvidenceErased(_))) {
                    purge(objects, &parts.reads, keys).await;
                }
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
    objects: Option<Objects>,
    clock: Arc<dyn Clock>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        // Given up in the middle, it has erased what it has; the next life goes on from there.
        let swept = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = async {
                ticks.tick().await;
                let swept = sweep(&parts, objects.as_ref(), clock.now()).await;
                if let Some(objects) = objects.as_ref().filter(|_| tick % OBJECTS_EVERY == 0) {
                    match evidence::sweep(objects, &parts.reads, clock.now()).await {
                        Ok(0) => {}
                        Ok(removed) => tracing::info!(removed, "took away bytes that are no evidence"),
                        Err(error) => tracing::warn!(%error, "bytes that are no evidence could not be taken away"),
                    }
                }
                swept
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
