//! Measures against misuse: how the writer loads and persists them, and how they are read.

use portreeve_core::Timestamp;
use portreeve_core::id::Uuid;
use portreeve_core::vocabulary::MeasureKind;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::Measure;
use crate::domain::measure::Reach;
use crate::rpc::measures::convert::{decode, encode};

/// Whole measures by their identifiers.
pub(super) static BY_ID: Lookup =
    Lookup::new("SELECT imposer, created_seq, updated_seq, body FROM measure WHERE measure_id IN");
/// What of an agency's measures decides who may refer: no bodies, since every referral asks for it.
pub(super) static REACHES: Lookup =
    Lookup::new("SELECT measure_id, agency, member, kind, start_us, ends_us FROM measure WHERE agency IN");
static UPSERT: Insert = Insert::new(
    "measure",
    &[
        "measure_id BYTEA",
        "agency TEXT",
        "member TEXT",
        "kind BIGINT",
        "start_us BIGINT",
        "ends_us BIGINT",
        "imposer TEXT",
        "created_seq BIGINT",
        "updated_seq BIGINT",
        "body BYTEA",
    ],
    "ON CONFLICT (measure_id) DO UPDATE SET ends_us = excluded.ends_us, updated_seq = excluded.updated_seq, \
     body = excluded.body",
);
const ONE: &str = "SELECT imposer, created_seq, updated_seq, body FROM measure WHERE measure_id = $1";
const PAGE: &str = "SELECT imposer, created_seq, updated_seq, body FROM measure \
     WHERE created_seq > $1 AND updated_seq <= $2 AND ($3 = '' OR agency = $3) ORDER BY created_seq LIMIT $4";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("measure_one", ONE.to_owned()), ("measures_page", PAGE.to_owned())];
    for (name, texts) in
        [("measures_by_id", BY_ID.texts()), ("measure_reaches", REACHES.texts()), ("upsert_measure", UPSERT.texts())]
    {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with the measure as the contract writes it.
pub(super) type MeasureRow = (String, i64, i64, Vec<u8>);
/// A row with what it reaches.
pub(super) type ReachRow = (Vec<u8>, String, String, i64, i64, i64);

fn unreadable() -> sqlx::Error {
    sqlx::Error::Decode("a measure cannot be read".into())
}

fn measure((imposer, created, updated, body): MeasureRow) -> sqlx::Result<Measure> {
    Ok(Measure { imposer, created, updated, ..decode(&body).ok_or_else(unreadable)? })
}

/// The measures of their rows.
pub(super) fn measures(rows: Vec<MeasureRow>) -> sqlx::Result<Vec<Measure>> {
    rows.into_iter().map(measure).collect()
}

/// What measures reach, each with its agency.
pub(super) fn reaches(rows: Vec<ReachRow>) -> sqlx::Result<Vec<(String, Reach)>> {
    let reach = |(id, agency, member, kind, start, ends): ReachRow| {
        let kind = i32::try_from(kind).ok().and_then(MeasureKind::from_code);
        let reach = Reach {
            id: Uuid::from_slice(&id).map_err(|_| unreadable())?,
            kind: kind.ok_or_else(unreadable)?,
            member: Some(member).filter(|member| !member.is_empty()),
            start: Timestamp::from_micros(start),
            ends: Timestamp::from_micros(ends),
        };
        Ok((agency, reach))
    };
    rows.into_iter().map(reach).collect()
}

/// Writes measures that are new or have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&Measure]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |measure, binds| {
            binds
                .add(measure.name.id.as_bytes().to_vec())
                .add(measure.name.agency.as_str())
                .add(measure.member.as_deref().unwrap_or_default())
                .add(i64::from(measure.kind.code()))
                .add(measure.start.micros())
                .add(measure.ends_at().micros())
                .add(measure.imposer.as_str())
                .add(measure.created)
                .add(measure.updated)
                .add(encode(measure));
        })
        .await
}

/// One measure.
pub(super) async fn one(readers: &Pool<Db>, id: Uuid) -> sqlx::Result<Option<Measure>> {
    let row: Option<MeasureRow> = sqlx::query_as(ONE).bind(id.as_bytes().to_vec()).fetch_optional(readers).await?;
    row.map(measure).transpose()
}

/// Measures against one agency (against all, if none is named) after a position, in the order in which they were imposed.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: Option<&str>,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<Measure>> {
    let rows = sqlx::query_as(PAGE)
        .bind(after)
        .bind(unchanged_since)
        .bind(agency.unwrap_or_default().to_owned())
        .bind(limit)
        .fetch_all(readers)
        .await?;
    measures(rows)
}
