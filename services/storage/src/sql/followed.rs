//! How far the service has followed other logs.

use portreeve_core::token::{Epoch, Revision};

use super::script::{Found, Ticket};
use super::{Insert, Reads, Script};

pub(super) const ALL: &str = "SELECT source, epoch, seq FROM followed ORDER BY source";
pub(super) static UPSERT: Insert = Insert::new(
    "followed",
    &["source TEXT", "epoch BYTEA", "seq BIGINT"],
    "ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq",
);

/// Asks for every log followed and the newest event of it that is reflected.
pub fn all(reads: &mut Reads) -> Ticket {
    reads.select(ALL)
}

/// What was found.
pub fn found(found: &mut Found, ticket: Ticket) -> sqlx::Result<Vec<Revision>> {
    let rows: Vec<(String, Vec<u8>, i64)> = found.take(ticket)?;
    Ok(rows.into_iter().filter_map(|(log, epoch, position)| revision(log, epoch, position)).collect())
}

/// The revision of a row.
pub(super) fn revision(log: String, epoch: Vec<u8>, position: i64) -> Option<Revision> {
    Some(Revision { log, epoch: Epoch::try_from(epoch).ok()?, position })
}

/// Notes how far logs were followed.
pub async fn upsert(script: &mut Script<'_>, followed: &[Revision]) -> sqlx::Result<()> {
    UPSERT
        .run(script, followed, |revision, binds| {
            binds.add(revision.log.as_str()).add(revision.epoch.to_vec()).add(revision.position);
        })
        .await
}
