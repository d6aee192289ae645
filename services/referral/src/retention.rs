//! Erases what is past its time: by the clock and the agencies' policies alone, with nobody asking.

use portreeve_core::{Result, Timestamp, limits};
use portreeve_storage::{Objects, Parts};

use crate::domain::{Command, Event, Ledger, RetentionPolicy};
use crate::evidence::purge;
use crate::store::Reads;
use crate::sweeper::submit;

/// Erases whatever is past its time at a moment. Gives the number of referrals of which something was erased.
///
/// A replica that does the same at the same time finds nothing left to do: what is erased is decided in the commit.
pub(crate) async fn sweep(
    parts: &Parts<Ledger, dyn Reads>,
    objects: Option<&Objects>,
    now: Timestamp,
) -> Result<usize> {
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
                let outcome = submit(parts, command).await?;
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
