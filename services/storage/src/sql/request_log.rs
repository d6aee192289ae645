//! The requests that were answered, for ever: what makes a retry safe.

use std::collections::HashMap;

use uuid::Uuid;

use super::script::{Found, Ticket};
use super::{Insert, Lookup, Reads, Script};

/// What is remembered of a request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// SHA-256 of the method and of what was asked.
    pub hash: Vec<u8>,
    /// The first event that it caused.
    pub first: i64,
    /// How many it caused.
    pub events: i64,
}

type Row = (Vec<u8>, String, Vec<u8>, i64, i64);

/// A request's key: its identifier and the organisation that called.
pub type Key = (Uuid, String);

pub(super) static FIND: Lookup =
    Lookup::new("SELECT request_id, principal, request_hash, first_seq, events FROM request_log WHERE request_id IN");
pub(super) static INSERT: Insert = Insert::new(
    "request_log",
    &["request_id BYTEA", "principal TEXT", "request_hash BYTEA", "first_seq BIGINT", "events BIGINT"],
    "",
);

/// Asks for those of the requests that were answered before.
pub fn find(reads: &mut Reads, ids: &[Uuid]) -> Ticket {
    reads.find(&FIND, &ids.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>())
}

/// Those that were found.
pub fn found(found: &mut Found, ticket: Ticket) -> sqlx::Result<HashMap<Key, Answered>> {
    let rows: Vec<Row> = found.take(ticket)?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, principal, hash, first, events)| {
            Some(((Uuid::from_slice(&id).ok()?, principal), Answered { hash, first, events }))
        })
        .collect())
}

/// Remembers requests.
pub async fn insert(script: &mut Script<'_>, answered: &[(Key, Answered)]) -> sqlx::Result<()> {
    INSERT
        .run(script, answered, |((id, principal), answered), binds| {
            binds
                .add(id.as_bytes().to_vec())
                .add(principal.as_str())
                .add(answered.hash.clone())
                .add(answered.first)
                .add(answered.events);
        })
        .await
}
