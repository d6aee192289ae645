//! Flags for review: how the writer loads and persists them, and how they are read.

use portreeve_core::id::Uuid;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::ReviewFlag;
use crate::rpc::review_flags::convert::{decode, encode, state_code};

/// Flags by their identifiers.
pub(super) static BY_ID: Lookup =
    Lookup::new("SELECT created_seq, updated_seq, body FROM review_flag WHERE flag_id IN");
/// For each flag that is open, the agency whose referral it flags. 1: OPEN.
pub(super) static OPEN: Lookup = Lookup::new("SELECT agency FROM review_flag WHERE state = 1 AND agency IN");
static UPSERT: Insert = Insert::new(
    "review_flag",
    &[
        "flag_id BYTEA",
        "agency TEXT",
        "referral_id BYTEA",
        "state BIGINT",
        "created_seq BIGINT",
        "updated_seq BIGINT",
        "body BYTEA",
    ],
    "ON CONFLICT (flag_id) DO UPDATE SET state = excluded.state, updated_seq = excluded.updated_seq, \
     body = excluded.body",
);
const ONE: &str = "SELECT created_seq, updated_seq, body FROM review_flag WHERE flag_id = $1";
const PAGE: &str = "SELECT created_seq, updated_seq, body FROM review_flag WHERE created_seq > $1 AND updated_seq <= $2 \
     AND ($3 = '' OR agency = $3) AND ($4 = 0 OR state = $4) ORDER BY created_seq LIMIT $5";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("review_flag_one", ONE.to_owned()), ("review_flags_page", PAGE.to_owned())];
    for (name, texts) in [
        ("review_flags_by_id", BY_ID.texts()),
        ("review_flags_open", OPEN.texts()),
        ("upsert_review_flag", UPSERT.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with the flag as the contract writes it.
pub(super) type FlagRow = (i64, i64, Vec<u8>);

fn flag((created, updated, body): FlagRow) -> sqlx::Result<ReviewFlag> {
    let flag = decode(&body).ok_or_else(|| sqlx::Error::Decode("a flag cannot be read".into()))?;
    Ok(ReviewFlag { created, updated, ..flag })
}

/// The flags of their rows.
pub(super) fn flags(rows: Vec<FlagRow>) -> sqlx::Result<Vec<ReviewFlag>> {
    rows.into_iter().map(flag).collect()
}

/// Writes flags that are new or have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&ReviewFlag]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |flag, binds| {
            binds
                .add(flag.name.id.as_bytes().to_vec())
                .add(flag.name.referral.agency.as_str())
                .add(flag.name.referral.id.as_bytes().to_vec())
                .add(i64::from(state_code(flag)))
                .add(flag.created)
                .add(flag.updated)
                .add(encode(flag));
        })
        .await
}

/// One flag.
pub(super) async fn one(readers: &Pool<Db>, id: Uuid) -> sqlx::Result<Option<ReviewFlag>> {
    let row: Option<FlagRow> = sqlx::query_as(ONE).bind(id.as_bytes().to_vec()).fetch_optional(readers).await?;
    row.map(flag).transpose()
}

/// Flags of one agency's referrals (of all, if none is named) in a state (in any, for 0) after a position, in the order in
/// which they were recorded.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: Option<&str>,
    state: i32,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<ReviewFlag>> {
    let rows = sqlx::query_as(PAGE)
        .bind(after)
        .bind(unchanged_since)
        .bind(agency.unwrap_or_default().to_owned())
        .bind(i64::from(state))
        .bind(limit)
        .fetch_all(readers)
        .await?;
    flags(rows)
}
