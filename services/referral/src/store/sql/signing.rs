//! The signing keys of agencies: how the writer loads and persists them, and how they are read.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::Timestamp;
use portreeve_core::signature::{PublicKey, Revocation};

use super::{Insert, Lookup, Script};
use crate::domain::SigningProfile;

pub(super) static PROFILES: Lookup =
    Lookup::new("SELECT agency, signatures_required, updated_us, updated_seq FROM signing_profile WHERE agency IN");
pub(super) static KEYS: Lookup = Lookup::new(
    "SELECT agency, kid, public_key, valid_from_us, valid_until_us, revoked_us, revocation_reason FROM signing_key \
     WHERE agency IN",
);
static UPSERT_PROFILE: Insert = Insert::new(
    "signing_profile",
    &["agency TEXT", "signatures_required BOOLEAN", "updated_us BIGINT", "updated_seq BIGINT"],
    "ON CONFLICT (agency) DO UPDATE SET signatures_required = excluded.signatures_required, \
     updated_us = excluded.updated_us, updated_seq = excluded.updated_seq",
);
static UPSERT_KEY: Insert = Insert::new(
    "signing_key",
    &[
        "agency TEXT",
        "kid TEXT",
        "public_key BYTEA",
        "valid_from_us BIGINT",
        "valid_until_us BIGINT",
        "revoked_us BIGINT",
        "revocation_reason TEXT",
    ],
    "ON CONFLICT (agency, kid) DO UPDATE SET revoked_us = excluded.revoked_us, \
     revocation_reason = excluded.revocation_reason",
);
/// Profiles of agencies after one, by name.
pub(super) const AFTER: &str = "SELECT agency, signatures_required, updated_us, updated_seq FROM signing_profile \
     WHERE agency > $1 AND updated_seq <= $2 ORDER BY agency LIMIT $3";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("signing_profiles_after", AFTER.to_owned())];
    for (name, texts) in [
        ("signing_profiles", PROFILES.texts()),
        ("signing_keys", KEYS.texts()),
        ("upsert_signing_profile", UPSERT_PROFILE.texts()),
        ("upsert_signing_key", UPSERT_KEY.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row of `signing_profile`.
pub(super) type ProfileRow = (String, bool, i64, i64);
/// A row of `signing_key`.
pub(super) type KeyRow = (String, String, Vec<u8>, i64, i64, Option<i64>, Option<String>);

/// Profiles of their rows and their keys', in the order of the profiles' rows.
pub(super) fn profiles(rows: Vec<ProfileRow>, keys: Vec<KeyRow>) -> sqlx::Result<Vec<SigningProfile>> {
    let mut of = BTreeMap::<String, BTreeMap<String, PublicKey>>::new();
    for (agency, kid, key, from, until, revoked, reason) in keys {
        let unreadable = |_| sqlx::Error::Decode(format!("the signing key {kid} of {agency} cannot be read").into());
        let revoked = revoked.zip(reason);
        let key = PublicKey {
            key: key.try_into().map_err(unreadable)?,
            kid: kid.clone(),
            valid_from: Timestamp::from_micros(from),
            valid_until: Timestamp::from_micros(until),
            revoked: revoked.map(|(at, reason)| Revocation { at: Timestamp::from_micros(at), reason }),
        };
        of.entry(agency).or_default().insert(kid, key);
    }
    let profile = |(agency, required, updated_us, updated): ProfileRow| SigningProfile {
        keys: of.remove(&agency).unwrap_or_default().into_values().collect(),
        agency,
        required,
        updated_at: Timestamp::from_micros(updated_us),
        updated,
    };
    Ok(rows.into_iter().map(profile).collect())
}

/// Writes profiles that have changed.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&SigningProfile]) -> sqlx::Result<()> {
    UPSERT_PROFILE
        .run(script, changed, |profile, binds| {
            binds
                .add(profile.agency.as_str())
                .add(profile.required)
                .add(profile.updated_at.micros())
                .add(profile.updated);
        })
        .await?;
    let keys = changed.iter().flat_map(|profile| profile.keys.iter().map(|key| (profile.agency.as_str(), key)));
    UPSERT_KEY
        .run(script, &keys.collect::<Vec<_>>(), |(agency, key): &(&str, &PublicKey), binds| {
            binds
                .add(*agency)
                .add(key.kid.as_str())
                .add(key.key.to_vec())
                .add(key.valid_from.micros())
                .add(key.valid_until.micros())
                .add(key.revoked.as_ref().map(|revoked| revoked.at.micros()))
                .add(key.revoked.as_ref().map(|revoked| revoked.reason.as_str()));
        })
        .await
}

/// The agencies whose profiles are needed.
pub(super) type Agencies = BTreeSet<String>;
