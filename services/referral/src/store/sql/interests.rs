//! Interests and holds: how the writer loads and persists them, and how they are read.

use std::collections::{BTreeSet, HashMap, HashSet};

use portreeve_core::Timestamp;
use portreeve_core::id::Uuid;
use portreeve_core::interest::Tag;
use portreeve_core::name::InterestName;
use sqlx::Pool;

use super::address_rules::{self, RulesRow};
use super::drafts::{DraftRow, column, drafts};
use super::{Db, Insert, Lookup, Script};
use crate::domain::{AddressRules, Draft, Hold, HoldStanding, Interest};
use crate::rpc::interests::convert::{decode_hold, decode_interest, encode_hold, encode_interest};

/// Interests by their identifiers.
pub(super) static BY_ID: Lookup =
    Lookup::new("SELECT created_seq, updated_seq, body FROM interest WHERE interest_id IN");
/// Interests by what finds their target, of those that have not ended.
pub(super) static BY_TAG: Lookup =
    Lookup::new("SELECT created_seq, updated_seq, body FROM interest WHERE ended = 0 AND tag IN");
/// The rules of addresses of platforms under which there are interests that have not ended.
pub(super) static RULES: Lookup = Lookup::new(
    "SELECT v.updated_us, v.updated_seq, CAST(0 AS BIGINT), v.body FROM address_rules_version v \
     WHERE EXISTS (SELECT 1 FROM interest i WHERE i.platform = v.platform AND i.rules = v.version AND i.ended = 0) \
     AND v.platform IN",
);
/// How many interests of agencies have not ended.
pub(super) static LIVE: Lookup = Lookup::new("SELECT agency, live FROM interest_count WHERE agency IN");
/// Holds by their identifiers.
pub(super) static HOLDS: Lookup = Lookup::new("SELECT created_seq, updated_seq, body FROM hold WHERE hold_id IN");
/// The holds of drafts.
pub(super) static OF_DRAFTS: Lookup = Lookup::new("SELECT created_seq, updated_seq, body FROM hold WHERE draft_id IN");
/// The holds of interests.
pub(super) static OF_INTERESTS: Lookup =
    Lookup::new("SELECT created_seq, updated_seq, body FROM hold WHERE state = 1 AND interest_id IN");
static UPSERT: Insert = Insert::new(
    "interest",
    &[
        "interest_id BYTEA",
        "agency TEXT",
        "platform TEXT",
        "tag BYTEA",
        "rules BIGINT",
        "expires_us BIGINT",
        "ended BIGINT",
        "created_seq BIGINT",
        "updated_seq BIGINT",
        "body BYTEA",
    ],
    "ON CONFLICT (interest_id) DO UPDATE SET expires_us = excluded.expires_us, ended = excluded.ended, \
     updated_seq = excluded.updated_seq, body = excluded.body",
);
static COUNT: Insert = Insert::new(
    "interest_count",
    &["agency TEXT", "live BIGINT"],
    "ON CONFLICT (agency) DO UPDATE SET live = interest_count.live + excluded.live",
);
static UPSERT_HOLD: Insert = Insert::new(
    "hold",
    &[
        "hold_id BYTEA",
        "draft_id BYTEA",
        "agency TEXT",
        "holder TEXT",
        "interest_id BYTEA",
        "state BIGINT",
        "ends_us BIGINT",
        "created_seq BIGINT",
        "updated_seq BIGINT",
        "body BYTEA",
    ],
    "ON CONFLICT (hold_id) DO UPDATE SET state = excluded.state, ends_us = excluded.ends_us, \
     updated_seq = excluded.updated_seq, body = excluded.body",
);
const PAGE: &str = "SELECT created_seq, updated_seq, body FROM interest WHERE agency = $1 AND created_seq > $2 \
     ORDER BY created_seq LIMIT $3";
/// Holds that concern an agency: of its own drafts, or by its own interests.
const HOLDS_PAGE: &str = "SELECT created_seq, updated_seq, body FROM hold WHERE created_seq > $2 AND updated_seq <= $3 \
     AND (agency = $1 OR holder = $1) AND ($4 = 0 OR state = $4) ORDER BY created_seq LIMIT $5";
/// Interests that are past their time and were not ended.
const OVER: &str = "SELECT created_seq, updated_seq, body FROM interest WHERE ended = 0 AND expires_us <= $1 ORDER BY expires_us LIMIT $2";
/// Drafts that wait for nothing any more, after one. 4: HELD.
const CLEAR: &str = "SELECT d.created_seq, d.updated_seq, d.body FROM draft d WHERE d.state = 4 AND d.created_seq > $1 AND NOT EXISTS \
     (SELECT 1 FROM hold h WHERE h.draft_id = d.draft_id AND h.state = 1 AND h.ends_us > $2) ORDER BY d.created_seq LIMIT $3";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all =
        [("interests_page", PAGE), ("holds_page", HOLDS_PAGE), ("interests_over", OVER), ("held_clear", CLEAR)]
            .map(|(name, text)| (name, text.to_owned()))
            .to_vec();
    for (name, texts) in [
        ("interests_by_id", BY_ID.texts()),
        ("interests_by_tag", BY_TAG.texts()),
        ("interest_rules", RULES.texts()),
        ("interests_live", LIVE.texts()),
        ("holds_by_id", HOLDS.texts()),
        ("holds_of_drafts", OF_DRAFTS.texts()),
        ("holds_of_interests", OF_INTERESTS.texts()),
        ("upsert_interest", UPSERT.texts()),
        ("count_interests", COUNT.texts()),
        ("upsert_hold", UPSERT_HOLD.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with an interest, or a hold, as the log writes it.
pub(super) type Row = (i64, i64, Vec<u8>);

pub(super) fn interest((created, updated, body): Row) -> sqlx::Result<Interest> {
    let interest = decode_interest(&body).ok_or_else(|| sqlx::Error::Decode("an interest cannot be read".into()))?;
    Ok(Interest { created, updated, ..interest })
}

pub(super) fn hold((created, updated, body): Row) -> sqlx::Result<Hold> {
    let hold = decode_hold(&body).ok_or_else(|| sqlx::Error::Decode("a hold cannot be read".into()))?;
    Ok(Hold { created, updated, ..hold })
}

/// Tags as the column has them.
pub(super) fn tags(tags: impl IntoIterator<Item = Tag>) -> Vec<Vec<u8>> {
    tags.into_iter().collect::<BTreeSet<_>>().into_iter().map(|tag| tag.to_vec()).collect()
}

/// Rules by platform.
pub(super) fn rules(rows: Vec<RulesRow>) -> sqlx::Result<HashMap<String, Vec<AddressRules>>> {
    let mut by_platform = HashMap::<String, Vec<AddressRules>>::new();
    for of in address_rules::rules(rows)? {
        by_platform.entry(of.platform.clone()).or_default().push(of);
    }
    Ok(by_platform)
}

/// Writes interests that are new or have changed, and by how many those that have not ended are more or fewer.
pub(super) async fn persist(
    script: &mut Script<'_>,
    changed: &[&Interest],
    more: &HashMap<String, i64>,
) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |interest, binds| {
            binds
                .add(interest.name.id.as_bytes().to_vec())
                .add(interest.name.agency.as_str())
                .add(interest.platform.as_str())
                .add(interest.tag.to_vec())
                .add(i64::from(interest.rules))
                .add(interest.expires_at.micros())
                .add(i64::from(interest.ended_at.is_some()))
                .add(interest.created)
                .add(interest.updated)
                .add(encode_interest(interest));
        })
        .await?;
    let more = more.iter().collect::<Vec<_>>();
    COUNT
        .run(script, &more, |(agency, more), binds| {
            binds.add(agency.as_str()).add(**more);
        })
        .await
}

/// Writes holds that are new or have changed.
pub(super) async fn persist_holds(script: &mut Script<'_>, changed: &[&Hold]) -> sqlx::Result<()> {
    UPSERT_HOLD
        .run(script, changed, |hold, binds| {
            binds
                .add(hold.name.id.as_bytes().to_vec())
                .add(hold.name.draft.id.as_bytes().to_vec())
                .add(hold.name.draft.agency.as_str())
                .add(hold.interest.agency.as_str())
                .add(hold.interest.id.as_bytes().to_vec())
                .add(if hold.standing == HoldStanding::Held { 1_i64 } else { 2 })
                .add(hold.ends_at.micros())
                .add(hold.created)
                .add(hold.updated)
                .add(encode_hold(hold));
        })
        .await
}

pub(super) async fn by_id(readers: &Pool<Db>, ids: &[Uuid]) -> sqlx::Result<Vec<Interest>> {
    let mut conn = readers.acquire().await?;
    let rows: Vec<Row> = BY_ID.run(&mut conn, &column(ids.iter().copied())).await?;
    rows.into_iter().map(interest).collect()
}

/// Interests that have not ended, by what finds their target.
pub(super) async fn by_tag(readers: &Pool<Db>, sought: HashSet<Tag>) -> sqlx::Result<Vec<Interest>> {
    let mut conn = readers.acquire().await?;
    let rows: Vec<Row> = BY_TAG.run(&mut conn, &tags(sought)).await?;
    rows.into_iter().map(interest).collect()
}

/// The newest rules of platforms, and those under which there are interests.
pub(super) async fn rules_of(readers: &Pool<Db>, platforms: &[String]) -> sqlx::Result<Vec<AddressRules>> {
    let mut conn = readers.acquire().await?;
    let newest: Vec<RulesRow> = address_rules::NEWEST.run(&mut conn, platforms).await?;
    let matched: Vec<RulesRow> = RULES.run(&mut conn, platforms).await?;
    address_rules::rules([newest, matched].concat())
}

pub(super) async fn page(readers: &Pool<Db>, agency: &str, after: i64, limit: i64) -> sqlx::Result<Vec<Interest>> {
    let rows: Vec<Row> =
        sqlx::query_as(PAGE).bind(agency.to_owned()).bind(after).bind(limit).fetch_all(readers).await?;
    rows.into_iter().map(interest).collect()
}

pub(super) async fn holds(readers: &Pool<Db>, ids: &[Uuid]) -> sqlx::Result<Vec<Hold>> {
    let mut conn = readers.acquire().await?;
    let rows: Vec<Row> = HOLDS.run(&mut conn, &column(ids.iter().copied())).await?;
    rows.into_iter().map(hold).collect()
}

/// Holds that concern an agency, after a position, in the order in which they began.
pub(super) async fn holds_page(
    readers: &Pool<Db>,
    agency: &str,
    open: bool,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<Hold>> {
    let rows: Vec<Row> = sqlx::query_as(HOLDS_PAGE)
        .bind(agency.to_owned())
        .bind(after)
        .bind(unchanged_since)
        .bind(i64::from(open))
        .bind(limit)
        .fetch_all(readers)
        .await?;
    rows.into_iter().map(hold).collect()
}

/// Interests that are past their time and were not ended.
pub(super) async fn over(readers: &Pool<Db>, now: Timestamp, limit: i64) -> sqlx::Result<Vec<InterestName>> {
    let rows: Vec<Row> = sqlx::query_as(OVER).bind(now.micros()).bind(limit).fetch_all(readers).await?;
    rows.into_iter().map(|row| interest(row).map(|over| over.name)).collect()
}

/// Drafts that wait for nothing any more, after a position.
pub(super) async fn clear(readers: &Pool<Db>, after: i64, now: Timestamp, limit: i64) -> sqlx::Result<Vec<Draft>> {
    let rows: Vec<DraftRow> =
        sqlx::query_as(CLEAR).bind(after).bind(now.micros()).bind(limit).fetch_all(readers).await?;
    drafts(rows)
}
