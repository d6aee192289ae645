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
    /// What else its reply is made of: the place in the reply, and the position of the event.
    pub cited: Vec<(usize, i64)>,
}

/// Twelve bytes for each: the place, and the position.
fn encode(cited: &[(usize, i64)]) -> Vec<u8> {
    let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes();
    cited.iter().flat_map(|(at, position)| place(*at).into_iter().chain(position.to_be_bytes())).collect()
}

fn decode(bytes: &[u8]) -> Vec<(usize, i64)> {
    let read = |pair: &[u8; 12]| {
        let (place, position) = pair.split_first_chunk::<4>()?;
        let place = usize::try_from(u32::from_be_bytes(*place)).ok()?;
        Some((place, i64::from_be_bytes(position.try_into().ok()?)))
    };
    bytes.as_chunks::<12>().0.iter().filter_map(read).collect()
}

type Row = (Vec<u8>, String, Vec<u8>, i64, i64, Vec<u8>);

/// A request's key: its identifier and the organisation that called.
pub type Key = (Uuid, String);

pub(super) static FIND: Lookup = Lookup::new(
    "SELECT request_id, principal, request_hash, first_seq, events, cited FROM request_log WHERE request_id IN",
);
pub(super) static INSERT: Insert = Insert::new(
    "request_log",
    &["request_id BYTEA", "principal TEXT", "request_hash BYTEA", "first_seq BIGINT", "events BIGINT", "cited BYTEA"],
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
        .filter_map(|(id, principal, hash, first, events, cited)| {
            let cited = decode(&cited);
            Some(((Uuid::from_slice(&id).ok()?, principal), Answered { hash, first, events, cited }))
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
                .add(answered.events)
                .add(encode(&answered.cited));
        })
        .await
}
