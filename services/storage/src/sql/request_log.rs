//! The requests that were answered, for ever: what makes a retry safe.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Conn, Insert, Lookup};

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

/// Those of the requests that were answered before.
pub async fn find(conn: &mut Conn, ids: &[Uuid]) -> sqlx::Result<HashMap<Key, Answered>> {
    let keys = ids.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
    let rows: Vec<Row> = FIND.run(conn, &keys).await?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, principal, hash, first, events)| {
            Some(((Uuid::from_slice(&id).ok()?, principal), Answered { hash, first, events }))
        })
        .collect())
}

/// Remembers requests.
pub async fn insert(conn: &mut Conn, answered: &[(Key, Answered)]) -> sqlx::Result<()> {
    INSERT
        .run(conn, answered, |((id, principal), answered), binds| {
            binds
                .add(id.as_bytes().to_vec())
                .add(principal.clone())
                .add(answered.hash.clone())
                .add(answered.first)
                .add(answered.events);
        })
        .await
}
