//! The keys with which an agency signs, and whether a referral's signature is one of theirs.

use portreeve_core::name::OrganisationKind;
use portreeve_core::signature::{Distrust, Jws, Lapse, PublicKey, Revocation, verify};
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::ledger::{Event, State};
use super::referral::NewReferral;

/// A draft's signature, of the right form, with the bytes that it is to cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signature.
    pub jws: Jws,
    /// The canonical bytes of what is sent.
    pub canonical: Vec<u8>,
}

/// A referral's signature, which was verified when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// As the agency gave it.
    pub jws: String,
    /// When the referral occurred, as it was signed; `None` if nothing was signed of that.
    pub occurred_at: Option<Timestamp>,
}

/// An agency's keys, and whether it demands signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningProfile {
    /// The agency.
    pub agency: String,
    /// Whether its referrals must be signed.
    pub required: bool,
    /// Its keys, in the order of their ids.
    pub keys: Vec<PublicKey>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The position of the last event that changed it; 0 while there is none. Its etag.
    pub updated: i64,
}

impl State {
    /// Refuses a draft whose signature is not the agency's, and one without a signature where the agency demands it.
    pub(super) fn check_signature(
        &self,
        draft: &NewReferral,
        field: &impl Fn() -> String,
        now: Timestamp,
    ) -> Result<()> {
        let agency = draft.said.name.agency.as_str();
        let profile = self.signing.get(agency);
        let Some(Signed { jws, canonical }) = draft.signed.as_deref() else {
            if profile.is_some_and(|profile| profile.required) {
                let message = format!("agencies/{agency} demands that its referrals are signed");
                return Err(Error::new(Reason::SignatureRequired, message)
                    .with("agency", format!("agencies/{agency}"))
                    .at(format!("{}.signature", field()), "must be set"));
            }
            return Ok(());
        };
        let refusal = |reason: Reason, what: &str| {
            Error::new(reason, format!("the key {} of agencies/{agency} {what}", jws.kid()))
                .with("agency", format!("agencies/{agency}"))
                .with("kid", jws.kid())
        };
        let lapsed = |lapse: Lapse| {
            refusal(Reason::SignatureKeyExpired, &lapse.to_string())
                .with("state", lapse.name())
                .with("at", lapse.at())
                .with("signed_at", jws.signed_at())
        };
        let keys = profile.map(|profile| profile.keys.as_slice()).unwrap_or_default();
        let key = verify(jws, canonical, keys).map_err(|distrust| match distrust {
            Distrust::Unknown => refusal(Reason::SignatureKeyUnknown, "is not registered"),
            Distrust::Invalid => refusal(Reason::SignatureInvalid, "did not make the signature over what is sent")
                .at(format!("{}.signature.jws", field()), "must be made over the canonical bytes of the referral"),
            Distrust::NotInForce(lapse) => lapsed(lapse),
        })?;
        // A signature tells its own time: with a key that was lost it could be made today and say last year.
        if let Some(revoked) = &key.revoked {
            return Err(lapsed(Lapse::Revoked(revoked.at)));
        }
        key.in_force_at(now).map_err(lapsed)
    }

    fn profile(&self, agency: &str) -> Result<SigningProfile> {
        self.organisation(OrganisationKind::Agency, agency)?;
        let new = || SigningProfile { agency: agency.to_owned(), ..SigningProfile::default() };
        Ok(self.signing.get(agency).cloned().unwrap_or_else(new))
    }

    pub(super) fn add_signing_key(
        &self,
        agency: &str,
        key: &PublicKey,
        from_now: bool,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let mut profile = self.profile(agency)?;
        if let Some(known) = profile.keys.iter().find(|known| known.kid == key.kid) {
            let same = known.key == key.key
                && known.valid_until == key.valid_until
                && (from_now || known.valid_from == key.valid_from);
            return if same {
                Ok(Vec::new())
            } else {
                Err(Error::new(Reason::SigningKeyExists, format!("agencies/{agency} has another key {}", key.kid))
                    .with("agency", format!("agencies/{agency}"))
                    .with("kid", &key.kid))
            };
        }
        if profile.keys.len() >= limits::SIGNING_KEYS_MAX {
            let maximum = limits::SIGNING_KEYS_MAX;
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("agencies/{agency} has {maximum} signing keys already, and no more can be registered"),
            )
            .with("limit", "signing_keys")
            .with("maximum", maximum)
            .with("actual", profile.keys.len() + 1));
        }
        profile.keys.push(key.clone());
        profile.keys.sort_by(|one, other| one.kid.cmp(&other.kid));
        Ok(vec![Event::SigningChanged(SigningProfile { updated_at: now, ..profile })])
    }

    pub(super) fn revoke_signing_key(
        &self,
        agency: &str,
        kid: &str,
        revocation: &Revocation,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let mut profile = self.profile(agency)?;
        let key = profile.keys.iter_mut().find(|key| key.kid == kid).ok_or_else(|| {
            Error::new(Reason::SignatureKeyUnknown, format!("agencies/{agency} has no signing key {kid}"))
                .with("agency", format!("agencies/{agency}"))
                .with("kid", kid)
        })?;
        if let Some(known) = &key.revoked {
            return if known.reason == revocation.reason {
                Ok(Vec::new())
            } else {
                let message = format!("the key {kid} was revoked before, for another reason");
                Err(Error::new(Reason::InvalidTransition, message)
                    .with("name", format!("agencies/{agency}/signingKeys/{kid}"))
                    .with("from", "REVOKED")
                    .with("to", "REVOKED"))
            };
        }
        key.revoked = Some(revocation.clone());
        Ok(vec![Event::SigningChanged(SigningProfile { updated_at: now, ..profile })])
    }

    pub(super) fn set_signing_policy(
        &self,
        agency: &str,
        required: bool,
        etag: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let profile = self.profile(agency)?;
        if let Some(etag) = etag.filter(|etag| *etag != profile.updated) {
            let name = format!("agencies/{agency}/signingProfile");
            return Err(Error::new(
                Reason::StaleVersion,
                format!("{name} has changed since it was read; read it again"),
            )
            .with("name", name)
            .with("expected", etag)
            .with("actual", profile.updated));
        }
        if profile.required == required {
            return Ok(Vec::new());
        }
        Ok(vec![Event::SigningChanged(SigningProfile { required, updated_at: now, ..profile })])
    }
}
