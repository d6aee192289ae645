//! Sends held referrals that wait for nothing any more, and ends interests that are past their time.

use portreeve_core::name::DraftName;
use portreeve_core::{Principal, Result, Timestamp, limits};
use portreeve_storage::Parts;

use crate::domain::{Clearing, Command, Draft, Event, Ledger};
use crate::store::{Reads, SERVICE};
use crate::sweeper::submit;

/// Sends a held referral if it waits for nothing any more. Gives whether it was sent.
///
/// A replica that does the same at the same time finds nothing left to do: whether it waits is decided in the commit.
pub(crate) async fn clear(parts: &Parts<Ledger, dyn Reads>, name: &DraftName) -> Result<bool> {
    let found = parts.reads.draft(&Principal::service(SERVICE)?, name).await?;
    let Some(draft) = found.filter(Draft::is_held) else { return Ok(false) };
    let of = Clearing { name: name.clone(), found: draft.content().cloned() };
    let outcome = submit(parts, Command::ClearHeld(Box::new(of))).await?;
    Ok(outcome.events.iter().any(|recorded| matches!(recorded.event, Event::Created(_))))
}

/// Looks at all that is held, and at interests that are past their time. Gives the number of referrals sent.
pub(crate) async fn sweep(parts: &Parts<Ledger, dyn Reads>, now: Timestamp) -> Result<usize> {
    let limit = limits::SWEEP_HOLDS_MAX;
    let (mut sent, mut after) = (0, 0);
    loop {
        let found = parts.reads.held_clear(after, now, limit).await?;
        for draft in &found {
            after = draft.created;
            // One that cannot be sent, such as of an agency that is suspended, keeps no other back.
            match clear(parts, &draft.name).await {
                Ok(cleared) => sent += usize::from(cleared),
                Err(error) => tracing::warn!(%error, "what is held could not be sent"),
            }
        }
        if found.len() < limit {
            break;
        }
    }
    loop {
        let names = parts.reads.interests_over(now, limit).await?;
        let (count, command) = (names.len(), Command::ExpireInterests { names });
        if count > 0 {
            submit(parts, command).await?;
        }
        if count < limit {
            return Ok(sent);
        }
    }
}
