//! Drafts: how the writer loads and persists them, and how they are read.

use portreeve_core::id::Uuid;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::Draft;
use crate::rpc::drafts::convert::{decode, encode, state_code};

/// Drafts by their identifiers.
pub(super) static BY_ID: Lookup = Lookup::new("SELECT created_seq, updated_seq, body FROM draft WHERE draft_id IN");
/// For each draft that waits to be authorised, its agency. 1: DRAFT.
pub(super) static OPEN: Lookup = Lookup::new("SELECT agency FROM draft WHERE state = 1 AND agency IN");
static UPSERT: Insert = Insert::new(
    "draft",
    &["draft_id BYTEA", "agency TEXT", "state BIGINT", "created_seq BIGINT", "updated_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (draft_id) DO UPDATE SET state = excluded.state, updated_seq = excluded.updated_seq, \
     body = excluded.body",
);
const PAGE: &str = "SELECT created_seq, updated_seq, body FROM draft WHERE agency = $1 AND created_seq > $2 \
     AND updated_seq <= $3 AND ($4 = 0 OR state = $4) ORDER BY created_seq LIMIT $5";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("drafts_page", PAGE.to_owned())];
    for (name, texts) in
        [("drafts_by_id", BY_ID.texts()), ("drafts_open", OPEN.texts()), ("upsert_draft", UPSERT.texts())]
    {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with the draft as the contract writes it.
pub(super) type DraftRow = (i64, i64, Vec<u8>);

/// Identifiers as the column has them.
pub(super) fn column(ids: impl IntoIterator<Item = Uuid>) -> Vec<Vec<u8>> {
    ids.into_iter().map(|id| id.as_bytes().to_vec()).collect()
}

/// The drafts of their rows.
pub(super) fn drafts(rows: Vec<DraftRow>) -> sqlx::Result<Vec<Draft>> {
    let draft = |(created, updated, body): DraftRow| {
        let draft = decode(&body).ok_or_else(|| sqlx::Error::Decode("a draft cannot be read".into()))?;
        Ok(Draft { created, updated, ..draft })
    };
    rows.into_iter().map(draft).collect()
}

/// Writes drafts that are new or have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&Draft]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |draft, binds| {
            binds
                .add(draft.name.id.as_bytes().to_vec())
                .add(draft.name.agency.as_str())
                .add(i64::from(state_code(&draft.standing)))
                .add(draft.created)
                .add(draft.updated)
                .add(encode(draft));
        })
        .await
}

/// The drafts with these identifiers that there are.
pub(super) async fn by_id(readers: &Pool<Db>, ids: &[Uuid]) -> sqlx::Result<Vec<Draft>> {
    let mut conn = readers.acquire().await?;
    drafts(BY_ID.run(&mut conn, &column(ids.iter().copied())).await?)
}

/// Drafts of an agency in a state (in any, for 0) after a position, in the order in which they were written.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: &str,
    state: i32,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<Draft>> {
    let rows = sqlx::query_as(PAGE)
        .bind(agency.to_owned())
        .bind(after)
        .bind(unchanged_since)
        .bind(i64::from(state))
        .bind(limit)
        .fetch_all(readers)
        .await?;
    drafts(rows)
}
