//! Platforms' rules of addresses: how the writer loads and persists them, and how they are read.

use portreeve_core::Timestamp;
use portreeve_core::id::Uuid;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::AddressRules;
use crate::rpc::address_rules::{decode, encode};

/// The newest rules of platforms.
pub(super) static NEWEST: Lookup =
    Lookup::new("SELECT updated_us, updated_seq, swept_seq, body FROM address_rules WHERE platform IN");
static UPSERT: Insert = Insert::new(
    "address_rules",
    &["platform TEXT", "updated_us BIGINT", "updated_seq BIGINT", "swept_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (platform) DO UPDATE SET updated_us = excluded.updated_us, updated_seq = excluded.updated_seq, \
     swept_seq = excluded.swept_seq, body = excluded.body",
);
static KEEP: Insert = Insert::new(
    "address_rules_version",
    &["platform TEXT", "version BIGINT", "updated_us BIGINT", "updated_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (platform, version) DO NOTHING",
);
const VERSION: &str = "SELECT updated_us, updated_seq, CAST(0 AS BIGINT), body FROM address_rules_version \
     WHERE platform = $1 AND version = $2";
const AFTER: &str = "SELECT updated_us, updated_seq, swept_seq, body FROM address_rules \
     WHERE platform > $1 AND updated_seq <= $2 ORDER BY platform LIMIT $3";
const UNSWEPT: &str = "SELECT updated_us, updated_seq, swept_seq, body FROM address_rules \
     WHERE swept_seq < updated_seq ORDER BY platform";
const REFERRED: &str =
    "SELECT seq, referral_id FROM referral WHERE platform = $1 AND seq > $2 AND seq < $3 ORDER BY seq LIMIT $4";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("address_rules_version", VERSION.to_owned()),
        ("address_rules_after", AFTER.to_owned()),
        ("address_rules_unswept", UNSWEPT.to_owned()),
        ("referred_to", REFERRED.to_owned()),
    ];
    for (name, texts) in [
        ("address_rules_newest", NEWEST.texts()),
        ("upsert_address_rules", UPSERT.texts()),
        ("keep_address_rules", KEEP.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with the rules as the contract writes them.
pub(super) type RulesRow = (i64, i64, i64, Vec<u8>);

/// The rules of their rows.
pub(super) fn rules(rows: Vec<RulesRow>) -> sqlx::Result<Vec<AddressRules>> {
    let rules = |(updated_us, updated, swept, body): RulesRow| {
        let rules = decode(&body, Timestamp::from_micros(updated_us));
        let rules = rules.ok_or_else(|| sqlx::Error::Decode("rules of addresses cannot be read".into()))?;
        Ok(AddressRules { updated, swept, ..rules })
    };
    rows.into_iter().map(rules).collect()
}

/// Writes rules that are new or were swept further.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&AddressRules]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |of, binds| {
            binds.add(of.platform.as_str()).add(of.updated_at.micros()).add(of.updated).add(of.swept).add(encode(of));
        })
        .await
}

/// Keeps new versions, besides what is newest.
pub(super) async fn keep(script: &mut Script<'_>, versions: &[AddressRules]) -> sqlx::Result<()> {
    KEEP.run(script, versions, |of, binds| {
        binds
            .add(of.platform.as_str())
            .add(i64::from(of.version))
            .add(of.updated_at.micros())
            .add(of.updated)
            .add(encode(of));
    })
    .await
}

/// A platform's rules, as a version had them; the newest for 0.
pub(super) async fn of(pool: &Pool<Db>, platform: &str, version: u32) -> sqlx::Result<Option<AddressRules>> {
    let rows = if version == 0 {
        let mut conn = pool.acquire().await?;
        NEWEST.run(&mut conn, &[platform.to_owned()]).await?
    } else {
        sqlx::query_as(VERSION).bind(platform.to_owned()).bind(i64::from(version)).fetch_all(pool).await?
    };
    Ok(rules(rows)?.pop())
}

/// The newest rules of platforms after one, by name, that no event after a position has changed.
pub(super) async fn after(pool: &Pool<Db>, after: &str, since: i64, limit: i64) -> sqlx::Result<Vec<AddressRules>> {
    rules(sqlx::query_as(AFTER).bind(after.to_owned()).bind(since).bind(limit).fetch_all(pool).await?)
}

/// Rules in whose form not all referrals were put that were there before them.
pub(super) async fn unswept(pool: &Pool<Db>) -> sqlx::Result<Vec<AddressRules>> {
    rules(sqlx::query_as(UNSWEPT).fetch_all(pool).await?)
}

/// Referrals to a platform between two positions, with the position of each.
pub(super) async fn referred(
    pool: &Pool<Db>,
    platform: &str,
    after: i64,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, Uuid)>> {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(REFERRED).bind(platform.to_owned()).bind(after).bind(before).bind(limit).fetch_all(pool).await?;
    let read = |(seq, id): (i64, Vec<u8>)| {
        let id = Uuid::from_slice(&id).map_err(|_| sqlx::Error::Decode("a referral's identifier is none".into()))?;
        Ok((seq, id))
    };
    rows.into_iter().map(read).collect()
}
