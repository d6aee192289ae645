//! Trails: how the writer loads and persists them, and how the networks of an agency are read.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::Uuid;

use super::{Conn, Insert, Lookup, Script};
use crate::domain::Trail;
use crate::rpc::trail_convert::{decode, encode};

static BY_ID: Lookup = Lookup::new("SELECT referral_id, linked, body FROM trail WHERE referral_id IN");
static UPSERT: Insert = Insert::new(
    "trail",
    &["referral_id BYTEA", "agency TEXT", "linked BIGINT", "body BYTEA"],
    "ON CONFLICT (referral_id) DO UPDATE SET linked = excluded.linked, body = excluded.body",
);
/// Those of an agency that are linked, so many of them.
pub(super) const LINKED: &str =
    "SELECT referral_id, linked, body FROM trail WHERE agency = $1 AND linked = 1 ORDER BY referral_id LIMIT $2";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("trails_linked", LINKED.to_owned())];
    for (name, texts) in [("trails_by_id", BY_ID.texts()), ("upsert_trail", UPSERT.texts())] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row of `trail`.
pub(super) type Row = (Vec<u8>, i64, Vec<u8>);

/// The trail of a row.
pub(super) fn trail((id, linked, body): Row) -> sqlx::Result<(Uuid, Trail)> {
    let id = Uuid::from_slice(&id).unwrap_or_default();
    let trail = decode(linked == 1, &body).map(|trail| (id, trail));
    trail.ok_or_else(|| sqlx::Error::Decode(format!("the trail of referral {id} cannot be read").into()))
}

/// The trails of these referrals.
pub(super) async fn load(conn: &mut Conn, ids: &BTreeSet<Uuid>) -> sqlx::Result<BTreeMap<Uuid, Trail>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = ids.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
    let rows: Vec<Row> = BY_ID.run(conn, &ids).await?;
    rows.into_iter().map(trail).collect()
}

/// Writes trails that began or went on.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[(Uuid, &Trail)]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |(id, trail), binds| {
            binds
                .add(id.as_bytes().to_vec())
                .add(trail.origin.agency.as_str())
                .add(i64::from(trail.linked))
                .add(encode(trail));
        })
        .await
}
