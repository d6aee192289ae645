//! Operations: how the writer loads and persists them, and how they are read.

use portreeve_core::id::Uuid;
use portreeve_core::name::{OperationName, ReferralName};
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::Operation;
use crate::domain::operation::{Place, Tally};
use crate::rpc::operations::convert::{decode, encode};

/// Whole operations by their identifiers.
pub(super) static BY_ID: Lookup =
    Lookup::new("SELECT created_seq, updated_seq, referrals, targets, body FROM operation WHERE operation_id IN");
/// How many operations agencies lead.
pub(super) static LED: Lookup = Lookup::new("SELECT lead FROM operation WHERE lead IN");
/// The first referrals of operations with a target.
pub(super) static FIRSTS: Lookup = Lookup::new(
    "SELECT seq, referral_id, agency, platform, operation, target_key FROM referral \
     WHERE first_of_target = 1 AND target_key IN",
);
static UPSERT: Insert = Insert::new(
    "operation",
    &[
        "operation_id BYTEA",
        "lead TEXT",
        "created_seq BIGINT",
        "updated_seq BIGINT",
        "referrals BIGINT",
        "targets BIGINT",
        "body BYTEA",
    ],
    "ON CONFLICT (operation_id) DO UPDATE SET updated_seq = excluded.updated_seq, referrals = excluded.referrals, \
     targets = excluded.targets, body = excluded.body",
);
static INSERT_AGENCY: Insert = Insert::new(
    "operation_agency",
    &["agency TEXT", "operation_id BYTEA"],
    "ON CONFLICT (agency, operation_id) DO NOTHING",
);
const ONE: &str = "SELECT created_seq, updated_seq, referrals, targets, body FROM operation WHERE operation_id = $1";
const PAGE: &str = "SELECT o.created_seq, o.updated_seq, o.referrals, o.targets, o.body FROM operation o \
     WHERE o.created_seq > $1 AND o.updated_seq <= $2 AND ($3 = '' OR o.operation_id IN \
       (SELECT a.operation_id FROM operation_agency a WHERE a.agency = $3)) ORDER BY o.created_seq LIMIT $4";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("operation_one", ONE.to_owned()), ("operations_page", PAGE.to_owned())];
    for (name, texts) in [
        ("operations_by_id", BY_ID.texts()),
        ("operations_led", LED.texts()),
        ("firsts_of_operations", FIRSTS.texts()),
        ("upsert_operation", UPSERT.texts()),
        ("insert_operation_agency", INSERT_AGENCY.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with the operation as the contract writes it.
pub(super) type OperationRow = (i64, i64, i64, i64, Vec<u8>);
/// A row with where the first of an operation points.
pub(super) type FirstRow = (i64, Vec<u8>, String, String, String, Vec<u8>);

fn operation((created, updated, referrals, targets, body): OperationRow) -> sqlx::Result<Operation> {
    let read = || {
        let tally = Tally { referrals: u32::try_from(referrals).ok()?, targets: u32::try_from(targets).ok()? };
        Some(Operation { created, updated, tally, ..decode(&body)? })
    };
    read().ok_or_else(|| sqlx::Error::Decode("an operation cannot be read".into()))
}

/// The operations of their rows.
pub(super) fn operations(rows: Vec<OperationRow>) -> sqlx::Result<Vec<Operation>> {
    rows.into_iter().map(operation).collect()
}

/// Where the firsts of operations point, in the order in which they were recorded.
pub(super) fn firsts(mut rows: Vec<FirstRow>) -> sqlx::Result<Vec<(Place, ReferralName)>> {
    rows.sort_unstable_by_key(|row| row.0);
    let first = |(_, id, agency, platform, operation, target): FirstRow| {
        let operation = operation.parse::<OperationName>().ok()?.id;
        let place = Place { operation, platform, target: target.as_slice().try_into().ok()? };
        Some((place, ReferralName { agency, id: Uuid::from_slice(&id).ok()? }))
    };
    let read = rows.into_iter().map(first).collect::<Option<_>>();
    read.ok_or_else(|| sqlx::Error::Decode("the first of an operation cannot be read".into()))
}

/// Writes operations that are new or have changed, or in which something was referred.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&Operation]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |operation, binds| {
            binds
                .add(operation.name.id.as_bytes().to_vec())
                .add(operation.name.agency.as_str())
                .add(operation.created)
                .add(operation.updated)
                .add(i64::from(operation.tally.referrals))
                .add(i64::from(operation.tally.targets))
                .add(encode(operation));
        })
        .await?;
    let agencies = changed.iter().flat_map(|operation| {
        let invited = operation.invited.iter().map(|of| &of.agency);
        std::iter::once(&operation.name.agency).chain(invited).map(move |agency| (agency, operation.name.id))
    });
    INSERT_AGENCY
        .run(script, &agencies.collect::<Vec<_>>(), |(agency, id): &(&String, Uuid), binds| {
            binds.add(agency.as_str()).add(id.as_bytes().to_vec());
        })
        .await
}

/// One operation.
pub(super) async fn one(readers: &Pool<Db>, id: Uuid) -> sqlx::Result<Option<Operation>> {
    let row: Option<OperationRow> = sqlx::query_as(ONE).bind(id.as_bytes().to_vec()).fetch_optional(readers).await?;
    row.map(operation).transpose()
}

/// Operations of one agency (of all, if none is named) after a position, in the order in which they were planned.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: Option<&str>,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<Operation>> {
    let rows = sqlx::query_as(PAGE)
        .bind(after)
        .bind(unchanged_since)
        .bind(agency.unwrap_or_default().to_owned())
        .bind(limit)
        .fetch_all(readers)
        .await?;
    operations(rows)
}
