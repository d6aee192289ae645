//! Grants: how the writer loads and persists them, and how they are read.

use std::collections::BTreeMap;

use portreeve_core::Uuid;

use super::{Conn, Insert, Lookup, Script};
use crate::domain::{Grant, GrantName};
use crate::rpc::grant_convert::{decode, encode};

static BY_ID: Lookup = Lookup::new("SELECT grant_id, issued_seq, body FROM research_grant WHERE grant_id IN");
static UPSERT: Insert = Insert::new(
    "research_grant",
    &["grant_id BYTEA", "issued_seq BIGINT", "grantee TEXT", "body BYTEA"],
    "ON CONFLICT (grant_id) DO UPDATE SET body = excluded.body",
);
/// Grants of one grantee (of all, if none is named) after a position, in the order in which they were issued.
pub(super) const PAGE: &str = "SELECT grant_id, issued_seq, body FROM research_grant \
     WHERE issued_seq > $1 AND ($2 = '' OR grantee = $2) ORDER BY issued_seq LIMIT $3";
pub(super) const ONE: &str = "SELECT grant_id, issued_seq, body FROM research_grant WHERE grant_id = $1";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("grants_page", PAGE.to_owned()), ("grant_one", ONE.to_owned())];
    for (name, texts) in [("grants_by_id", BY_ID.texts()), ("upsert_grant", UPSERT.texts())] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row of `research_grant`.
pub(super) type Row = (Vec<u8>, i64, Vec<u8>);

/// The grant of a row.
pub(super) fn grant((id, issued, body): Row) -> sqlx::Result<Grant> {
    let id = Uuid::from_slice(&id).unwrap_or_default();
    let grant = decode(&body).filter(|grant| grant.name == GrantName(id));
    let grant = grant.ok_or_else(|| sqlx::Error::Decode(format!("grant {id} cannot be read").into()))?;
    Ok(Grant { issued, ..grant })
}

/// The grants of these names.
pub(super) async fn load(conn: &mut Conn, names: &[GrantName]) -> sqlx::Result<BTreeMap<GrantName, Grant>> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = names.iter().map(|name| name.0.as_bytes().to_vec()).collect::<Vec<_>>();
    let rows: Vec<Row> = BY_ID.run(conn, &ids).await?;
    rows.into_iter().map(|row| grant(row).map(|grant| (grant.name, grant))).collect()
}

/// Writes grants that have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&Grant]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |grant, binds| {
            binds
                .add(grant.name.0.as_bytes().to_vec())
                .add(grant.issued)
                .add(grant.terms.grantee.id())
                .add(encode(grant));
        })
        .await
}
