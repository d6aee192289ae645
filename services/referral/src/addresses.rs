//! Puts referrals in the form of their platform's rules of addresses, which were set after them.

use portreeve_core::{Result, Timestamp, limits};
use portreeve_storage::Parts;

use crate::domain::{AddressSweep, Command, Event, Ledger};
use crate::store::Reads;
use crate::sweeper::submit;

/// Looks at whatever was referred before the rules of its platform. Gives the number of referrals whose address has another
/// canonical form since.
///
/// How far it has come is in the log: whoever begins anew goes on from there, and a replica that does the same at the same time
/// finds nothing left to do.
pub(crate) async fn sweep(parts: &Parts<Ledger, dyn Reads>, now: Timestamp) -> Result<usize> {
    let mut changed = 0;
    for rules in parts.reads.unswept_address_rules().await? {
        let mut after = rules.swept;
        while after < rules.updated {
            let limit = limits::SWEEP_ADDRESSES_MAX;
            let found = parts.reads.referred(&rules.platform, after, rules.updated, limit).await?;
            // Whatever came later has the form of the rules.
            after =
                if found.len() < limit { rules.updated } else { found.last().map_or(rules.updated, |(last, _)| *last) };
            let (platform, version) = (rules.platform.clone(), rules.version);
            let sweep = AddressSweep { platform, version, through: after, at: now };
            let command = Command::Readdress { sweep, ids: found.into_iter().map(|(_, id)| id).collect() };
            let outcome = submit(parts, command).await?;
            let readdressed = |event: &Event| matches!(event, Event::Readdressed { .. });
            changed += outcome.events.iter().filter(|recorded| readdressed(&recorded.event)).count();
        }
    }
    Ok(changed)
}
