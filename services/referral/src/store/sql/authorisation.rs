//! What agencies demand before a referral is sent: how the writer loads and persists it, and how it is read.

use portreeve_core::Timestamp;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::AuthorisationPolicy;
use crate::rpc::authorisation::{decode, encode};

pub(super) static POLICIES: Lookup =
    Lookup::new("SELECT updated_us, updated_seq, body FROM authorisation_policy WHERE agency IN");
static UPSERT: Insert = Insert::new(
    "authorisation_policy",
    &["agency TEXT", "updated_us BIGINT", "updated_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (agency) DO UPDATE SET updated_us = excluded.updated_us, updated_seq = excluded.updated_seq, \
     body = excluded.body",
);

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let all = [("authorisation_policies", POLICIES.texts()), ("upsert_authorisation_policy", UPSERT.texts())];
    all.into_iter().flat_map(|(name, texts)| texts.into_iter().map(move |text| (name, text))).collect()
}

/// A row with the policy as the contract writes it.
pub(super) type PolicyRow = (i64, i64, Vec<u8>);

/// The policies of their rows.
pub(super) fn policies(rows: Vec<PolicyRow>) -> sqlx::Result<Vec<AuthorisationPolicy>> {
    let policy = |(updated_us, updated, body): PolicyRow| {
        let policy = decode(&body, Timestamp::from_micros(updated_us));
        let policy = policy.ok_or_else(|| sqlx::Error::Decode("an authorisation policy cannot be read".into()))?;
        Ok(AuthorisationPolicy { updated, ..policy })
    };
    rows.into_iter().map(policy).collect()
}

/// Writes policies that have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&AuthorisationPolicy]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |policy, binds| {
            binds.add(policy.agency.as_str()).add(policy.updated_at.micros()).add(policy.updated).add(encode(policy));
        })
        .await
}

/// An agency's policy.
pub(super) async fn policy(pool: &Pool<Db>, agency: &str) -> sqlx::Result<Option<AuthorisationPolicy>> {
    let mut conn = pool.acquire().await?;
    Ok(policies(POLICIES.run(&mut conn, &[agency.to_owned()]).await?)?.pop())
}
