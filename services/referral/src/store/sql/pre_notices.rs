//! Pre-notices, and what decides whether a first removal order may be sent: how the writer loads and persists it, and how it is read.

use portreeve_core::Timestamp;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::PreNotice;
use crate::domain::pre_notice::{Gate, Pair};
use crate::rpc::pre_notices::convert::{decode, encode};

pub(super) static GATES: Lookup =
    Lookup::new("SELECT pair, first_order_us, first_notice_us, notices FROM order_gate WHERE pair IN");
static UPSERT: Insert = Insert::new(
    "order_gate",
    &["pair TEXT", "first_order_us BIGINT", "first_notice_us BIGINT", "notices BIGINT"],
    "ON CONFLICT (pair) DO UPDATE SET first_order_us = excluded.first_order_us, \
     first_notice_us = excluded.first_notice_us, notices = excluded.notices",
);
static INSERT: Insert = Insert::new(
    "pre_notice",
    &["created_seq BIGINT", "pre_notice_id BYTEA", "agency TEXT", "platform TEXT", "body BYTEA"],
    "",
);
/// Pre-notices between two positions, which a condition narrows.
macro_rules! pre_notices {
    ($condition:literal) => {
        concat!(
            "SELECT created_seq, body FROM pre_notice WHERE created_seq > $1 AND created_seq <= $2",
            $condition,
            " ORDER BY created_seq LIMIT $3"
        )
    };
}
const PAGE: &str = pre_notices!("");
const PAGE_OF_AGENCY: &str = pre_notices!(" AND agency = $4");
const PAGE_OF_PLATFORM: &str = pre_notices!(" AND platform = $4");
const PAGE_OF_BOTH: &str = pre_notices!(" AND platform = $4 AND agency = $5");

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("pre_notices_page", PAGE.to_owned()),
        ("pre_notices_of_agency", PAGE_OF_AGENCY.to_owned()),
        ("pre_notices_of_platform", PAGE_OF_PLATFORM.to_owned()),
        ("pre_notices_of_both", PAGE_OF_BOTH.to_owned()),
    ];
    for (name, texts) in
        [("order_gates", GATES.texts()), ("upsert_order_gate", UPSERT.texts()), ("insert_pre_notice", INSERT.texts())]
    {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// The key of a pair: identifiers have no slash.
pub(super) fn key((agency, platform): &Pair) -> String {
    format!("{agency}/{platform}")
}

/// A row of `order_gate`.
pub(super) type GateRow = (String, Option<i64>, Option<i64>, i64);

/// The gate of a row.
pub(super) fn gate((pair, first_order, first_notice, notices): GateRow) -> sqlx::Result<(Pair, Gate)> {
    let pair = pair.split_once('/').map(|(agency, platform)| (agency.to_owned(), platform.to_owned()));
    let pair = pair.ok_or_else(|| sqlx::Error::Decode("an agency and a platform cannot be read".into()))?;
    let (first_order, first_notice) =
        (first_order.map(Timestamp::from_micros), first_notice.map(Timestamp::from_micros));
    Ok((pair, Gate { first_order, first_notice, notices }))
}

/// Writes gates that have changed.
pub(super) async fn keep_gates(script: &mut Script<'_>, changed: &[(&Pair, &Gate)]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |(pair, gate), binds| {
            binds
                .add(key(pair))
                .add(gate.first_order.map(Timestamp::micros))
                .add(gate.first_notice.map(Timestamp::micros))
                .add(gate.notices);
        })
        .await
}

/// Writes pre-notices that are new, in the order of the log.
pub(super) async fn persist(script: &mut Script<'_>, new: &[PreNotice]) -> sqlx::Result<()> {
    INSERT
        .run(script, new, |notice, binds| {
            binds
                .add(notice.created)
                .add(notice.name.id.as_bytes().to_vec())
                .add(notice.name.agency.as_str())
                .add(notice.platform.as_str())
                .add(encode(notice));
        })
        .await
}

/// Pre-notices of an agency, to a platform, or both, after a position, in the order in which they were recorded.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: Option<&str>,
    platform: Option<&str>,
    after: i64,
    until: i64,
    limit: i64,
) -> sqlx::Result<Vec<PreNotice>> {
    let text = match (agency, platform) {
        (None, None) => PAGE,
        (Some(_), None) => PAGE_OF_AGENCY,
        (None, Some(_)) => PAGE_OF_PLATFORM,
        (Some(_), Some(_)) => PAGE_OF_BOTH,
    };
    let mut query = sqlx::query_as(text).bind(after).bind(until).bind(limit);
    for of in platform.into_iter().chain(agency) {
        query = query.bind(of.to_owned());
    }
    let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(readers).await?;
    let notice = |(created, body): (i64, Vec<u8>)| {
        let notice = decode(&body).ok_or_else(|| sqlx::Error::Decode("a pre-notice cannot be read".into()))?;
        Ok(PreNotice { created, ..notice })
    };
    rows.into_iter().map(notice).collect()
}
