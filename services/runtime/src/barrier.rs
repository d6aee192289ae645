//! `at_least`: a read that waits until it would see what its caller has written, in whichever service.

use std::time::Duration;

use portreeve_core::token::Revision;
use portreeve_core::{Error, Reason, Result, limits};
use portreeve_storage::{EventLog, LogState};

/// What a service reflects of the logs it follows: the least of each, where one reaches it by more than one way (a row
/// `log@via` says how far `via` had followed `log` when we followed it).
pub fn reflected(followed: &[Revision]) -> Vec<Revision> {
    let mut least: Vec<Revision> = Vec::new();
    for revision in followed {
        let log = revision.log.split('@').next().unwrap_or_default();
        match least.iter_mut().find(|known| known.log == log) {
            Some(known) => known.position = known.position.min(revision.position),
            None => least.push(Revision { log: log.to_owned(), ..revision.clone() }),
        }
    }
    least
}

/// Waits, for a bounded time, until the service reflects every revision; gives the revisions that it reflects then.
///
/// `follows` are the logs that the service follows. A revision of another log, or of another life of one, is refused.
pub async fn caught_up(log: &dyn EventLog, follows: &[&str], at_least: &[String]) -> Result<Vec<String>> {
    let wanted = at_least.iter().map(|text| Revision::decode(text)).collect::<Result<Vec<_>>>()?;
    let mut changed = log.changed();
    let mut lacking = None;
    let wait = async {
        loop {
            changed.borrow_and_update();
            let (state, followed) = log.standing().await?;
            let followed = reflected(&followed);
            lacking = None;
            for revision in &wanted {
                if let Some(reached) = lacks(log.name(), follows, &state, &followed, revision)? {
                    lacking = Some((revision.clone(), reached));
                }
            }
            if lacking.is_none() {
                let own = Revision { log: log.name().to_owned(), epoch: state.epoch, position: state.head };
                return Ok(std::iter::once(&own).chain(&followed).map(Revision::encode).collect());
            }
            if changed.changed().await.is_err() {
                return Ok(Vec::new());
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_millis(limits::CATCH_UP_WAIT_MS), wait).await;
    match (ended, lacking) {
        (Ok(Err(error)), _) => Err(error),
        (Ok(Ok(revisions)), None) => Ok(revisions),
        (_, lacking) => Err(late(lacking)),
    }
}

/// The position that the service reflects of the revision's log, if that is not enough.
fn lacks(
    own: &str,
    follows: &[&str],
    state: &LogState,
    followed: &[Revision],
    wanted: &Revision,
) -> Result<Option<i64>> {
    let reached = reaches(own, follows, state, followed, wanted)?;
    Ok((wanted.position > reached).then_some(reached))
}

fn reaches(own: &str, follows: &[&str], state: &LogState, followed: &[Revision], wanted: &Revision) -> Result<i64> {
    let foreign = || {
        Err(Error::new(
            Reason::RevisionInvalid,
            "a revision in at_least is of a log that this service does not follow, or of another life of it",
        )
        .with("log", &wanted.log))
    };
    if wanted.log == own {
        return if wanted.epoch == state.epoch { Ok(state.head) } else { foreign() };
    }
    if !follows.contains(&wanted.log.as_str()) {
        return foreign();
    }
    match followed.iter().find(|revision| revision.log == wanted.log) {
        Some(revision) if revision.epoch != wanted.epoch => foreign(),
        Some(revision) => Ok(revision.position),
        None => Ok(0),
    }
}

fn late(lacking: Option<(Revision, i64)>) -> Error {
    let late = Error::new(Reason::NotCaughtUp, "the service has not caught up with at_least yet; repeat the call")
        .retry_after(Duration::from_millis(500));
    match lacking {
        Some((Revision { log, position, .. }, reached)) => {
            late.with("log", log).with("position", position).with("reached", reached)
        }
        None => late,
    }
}
