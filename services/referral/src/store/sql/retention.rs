//! For how long agencies' referrals are kept: how the writer loads and persists it, and how it is read.

use std::collections::{BTreeMap, HashMap};

use portreeve_core::Timestamp;
use portreeve_core::id::Uuid;
use portreeve_core::vocabulary::{FieldGroup, RetentionClass};
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::{RetentionPolicy, Rule};

pub(super) static POLICIES: Lookup =
    Lookup::new("SELECT agency, updated_us, updated_seq FROM retention_policy WHERE agency IN");
pub(super) static RULES: Lookup =
    Lookup::new("SELECT agency, field_group, retention_class, swept_seq FROM retention_rule WHERE agency IN");
static UPSERT_POLICY: Insert = Insert::new(
    "retention_policy",
    &["agency TEXT", "updated_us BIGINT", "updated_seq BIGINT"],
    "ON CONFLICT (agency) DO UPDATE SET updated_us = excluded.updated_us, updated_seq = excluded.updated_seq",
);
static UPSERT_RULE: Insert = Insert::new(
    "retention_rule",
    &["agency TEXT", "field_group BIGINT", "retention_class BIGINT", "swept_seq BIGINT"],
    "ON CONFLICT (agency, field_group) DO UPDATE SET retention_class = excluded.retention_class, \
     swept_seq = excluded.swept_seq",
);
/// The agencies that have a policy.
const AGENCIES: &str = "SELECT agency FROM retention_policy ORDER BY agency";
/// An agency's referrals after one that were recorded by a time, and lie encrypted in the log.
const RECORDED_BY: &str = "SELECT r.seq, r.referral_id FROM referral r WHERE r.agency = $1 AND r.seq > $2 \
     AND r.recorded_us <= $3 AND EXISTS (SELECT 1 FROM seal_key s WHERE s.subject = r.referral_id) \
     ORDER BY r.seq LIMIT $4";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("retention_agencies", AGENCIES.to_owned()), ("retention_recorded_by", RECORDED_BY.to_owned())];
    for (name, texts) in [
        ("retention_policies", POLICIES.texts()),
        ("retention_rules", RULES.texts()),
        ("upsert_retention_policy", UPSERT_POLICY.texts()),
        ("upsert_retention_rule", UPSERT_RULE.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row of `retention_policy`.
pub(super) type PolicyRow = (String, i64, i64);
/// A row of `retention_rule`.
pub(super) type RuleRow = (String, i64, i64, i64);

/// Policies of their rows and their rules', by agency.
pub(super) fn policies(rows: Vec<PolicyRow>, rules: Vec<RuleRow>) -> sqlx::Result<HashMap<String, RetentionPolicy>> {
    let mut policies = HashMap::new();
    for (agency, updated_us, updated) in rows {
        let updated_at = Timestamp::from_micros(updated_us);
        let policy = RetentionPolicy { agency: agency.clone(), rules: BTreeMap::new(), updated_at, updated };
        policies.insert(agency, policy);
    }
    for (agency, group, class, swept) in rules {
        let code = |number: i64| i32::try_from(number).ok();
        let group = code(group).and_then(FieldGroup::from_code);
        let group = group.ok_or_else(|| sqlx::Error::Decode("a retention rule cannot be read".into()))?;
        let rule = Rule { class: code(class).and_then(RetentionClass::from_code), swept };
        if let Some(policy) = policies.get_mut(&agency) {
            policy.rules.insert(group, rule);
        }
    }
    Ok(policies)
}

/// Writes policies that have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&RetentionPolicy]) -> sqlx::Result<()> {
    UPSERT_POLICY
        .run(script, changed, |policy, binds| {
            binds.add(policy.agency.as_str()).add(policy.updated_at.micros()).add(policy.updated);
        })
        .await?;
    let rules =
        changed.iter().flat_map(|policy| policy.rules.iter().map(|(group, rule)| (&policy.agency, group, rule)));
    UPSERT_RULE
        .run(script, &rules.collect::<Vec<_>>(), |(agency, group, rule): &(&String, &FieldGroup, &Rule), binds| {
            binds
                .add(agency.as_str())
                .add(i64::from(group.code()))
                .add(rule.class.map_or(0, |class| i64::from(class.code())))
                .add(rule.swept);
        })
        .await
}

async fn read(pool: &Pool<Db>, agencies: &[String]) -> sqlx::Result<HashMap<String, RetentionPolicy>> {
    let mut conn = pool.acquire().await?;
    let rows = POLICIES.run(&mut conn, agencies).await?;
    let rules = RULES.run(&mut conn, agencies).await?;
    policies(rows, rules)
}

/// An agency's policy.
pub(super) async fn policy(pool: &Pool<Db>, agency: &str) -> sqlx::Result<Option<RetentionPolicy>> {
    Ok(read(pool, &[agency.to_owned()]).await?.remove(agency))
}

/// Every agency's policy, in the order of their names.
pub(super) async fn all(pool: &Pool<Db>) -> sqlx::Result<Vec<RetentionPolicy>> {
    let agencies: Vec<String> = sqlx::query_scalar(AGENCIES).fetch_all(pool).await?;
    let mut policies = read(pool, &agencies).await?;
    Ok(agencies.iter().filter_map(|agency| policies.remove(agency)).collect())
}

/// An agency's referrals after one that were recorded by a time and can be erased, with the position of each.
pub(super) async fn recorded_by(
    pool: &Pool<Db>,
    agency: &str,
    after: i64,
    by: Timestamp,
    limit: i64,
) -> sqlx::Result<Vec<(i64, Uuid)>> {
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(RECORDED_BY)
        .bind(agency.to_owned())
        .bind(after)
        .bind(by.micros())
        .bind(limit)
        .fetch_all(pool)
        .await?;
    let read = |(seq, id): (i64, Vec<u8>)| {
        let id = Uuid::from_slice(&id).map_err(|_| sqlx::Error::Decode("a referral's identifier is none".into()))?;
        Ok((seq, id))
    };
    rows.into_iter().map(read).collect()
}
