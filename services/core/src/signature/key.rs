//! Keys: who signs, who verifies, and when a signature counts.

use std::fmt;

use ed25519_dalek::VerifyingKey;

use super::Jws;
use crate::Timestamp;

/// An agency's private key.
#[derive(Clone)]
pub struct PrivateKey {
    kid: String,
    key: ed25519_dalek::SigningKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// The key that these random bytes make.
    pub fn from_seed(kid: &str, seed: [u8; 32]) -> Self {
        Self { kid: kid.to_owned(), key: ed25519_dalek::SigningKey::from_bytes(&seed) }
    }

    /// Its id among the agency's keys.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The private half.
    pub(super) fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs canonical bytes, as of a moment.
    pub fn sign(&self, canonical: &[u8], at: Timestamp) -> String {
        Jws::sign(canonical, &self.kid, at, &self.key)
    }
}

/// A public key that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Signatures made at this moment or later do not count. A whole second.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// An agency's public key. Its times are whole seconds, as a signature's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id among the agency's keys.
    pub kid: String,
    /// The key.
    pub key: [u8; 32],
    /// Signatures count from this moment on.
    pub valid_from: Timestamp,
    /// Signatures made at this moment or later do not count.
    pub valid_until: Timestamp,
    /// Set once the agency has taken it back.
    pub revoked: Option<Revocation>,
}

/// Why a key is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Not yet; from when.
    NotYetValid(Timestamp),
    /// No more; since when.
    Expired(Timestamp),
    /// Taken back; since when.
    Revoked(Timestamp),
}

impl Lapse {
    /// The state's name, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotYetValid(_) => "NOT_YET_VALID",
            Self::Expired(_) => "EXPIRED",
            Self::Revoked(_) => "REVOKED",
        }
    }

    /// From or since when.
    pub const fn at(self) -> Timestamp {
        match self {
            Self::NotYetValid(at) | Self::Expired(at) | Self::Revoked(at) => at,
        }
    }
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYetValid(at) => write!(f, "is valid only from {at}"),
            Self::Expired(at) => write!(f, "expired at {at}"),
            Self::Revoked(at) => write!(f, "was revoked as of {at}"),
        }
    }
}

impl PublicKey {
    /// Whether a signature made at this moment counts.
    pub fn in_force_at(&self, at: Timestamp) -> Result<(), Lapse> {
        match &self.revoked {
            Some(revoked) if at >= revoked.at => Err(Lapse::Revoked(revoked.at)),
            _ if at < self.valid_from => Err(Lapse::NotYetValid(self.valid_from)),
            _ if at >= self.valid_until => Err(Lapse::Expired(self.valid_until)),
            _ => Ok(()),
        }
    }
}

/// Whether these bytes are an Ed25519 public key, and none of the few that sign anything.
pub fn is_public_key(bytes: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak())
}

/// Why a signature is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The agency has no key of that id.
    Unknown,
    /// The key of that id did not make it over these bytes.
    Invalid,
    /// It did, at a moment at which it was not in force.
    NotInForce(Lapse),
}

/// Whether one of the keys made the signature over these bytes while it was in force. Gives the key.
pub fn verify<'k>(
    jws: &Jws,
    canonical: &[u8],
    keys: impl IntoIterator<Item = &'k PublicKey>,
) -> Result<&'k PublicKey, Distrust> {
    let key = keys.into_iter().find(|key| key.kid == jws.kid()).ok_or(Distrust::Unknown)?;
    // What the signature says of its time is to be believed only once it is known to be the key's.
    let public = VerifyingKey::from_bytes(&key.key).map_err(|_| Distrust::Invalid)?;
    if !jws.is_of(canonical, &public) {
        return Err(Distrust::Invalid);
    }
    key.in_force_at(jws.signed_at()).map_err(Distrust::NotInForce)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn pair() -> (PrivateKey, PublicKey) {
        let private = PrivateKey::from_seed("nca-2026", [3; 32]);
        let key = PublicKey {
            kid: "nca-2026".into(),
            key: private.public(),
            valid_from: at(100),
            valid_until: at(200),
            revoked: None,
        };
        (private, key)
    }

    fn said(private: &PrivateKey, key: &PublicKey, second: i64) -> Result<(), Distrust> {
        let jws = Jws::parse(&private.sign(b"what is said", at(second))).unwrap();
        verify(&jws, b"what is said", [key]).map(|_| ())
    }

    #[test]
    fn a_signature_counts_while_its_key_is_in_force() {
        let (private, key) = pair();
        assert_eq!(said(&private, &key, 99), Err(Distrust::NotInForce(Lapse::NotYetValid(at(100)))));
        assert_eq!(said(&private, &key, 100), Ok(()));
        assert_eq!(said(&private, &key, 199), Ok(()));
        assert_eq!(said(&private, &key, 200), Err(Distrust::NotInForce(Lapse::Expired(at(200)))));
        let revoked = Some(Revocation { at: at(150), reason: "lost".into() });
        let key = PublicKey { revoked, ..key };
        assert_eq!(said(&private, &key, 149), Ok(()));
        assert_eq!(said(&private, &key, 150), Err(Distrust::NotInForce(Lapse::Revoked(at(150)))));
    }

    #[test]
    fn another_key_and_a_key_that_signs_anything_are_no_key() {
        let (private, key) = pair();
        let other = PrivateKey::from_seed("nca-2026", [4; 32]);
        assert_eq!(said(&other, &key, 150), Err(Distrust::Invalid));
        let stranger = PublicKey { kid: "nca-2027".into(), ..key.clone() };
        assert_eq!(said(&private, &stranger, 150), Err(Distrust::Unknown));
        assert!(is_public_key(&key.key));
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(!is_public_key(&neutral) && !is_public_key(&[0; 32]));
    }

    proptest! {
        /// One changed byte, of what was signed or of the signature, is found.
        #[test]
        fn one_changed_byte_is_found(content in prop::collection::vec(any::<u8>(), 1..200), place in any::<prop::sample::Index>(), flip in 1_u8..) {
            let (private, key) = pair();
            let text = private.sign(&content, at(150));
            let jws = Jws::parse(&text).unwrap();
            prop_assert_eq!(verify(&jws, &content, [&key]), Ok(&key));
            let mut changed = content.clone();
            changed[place.index(content.len())] ^= flip;
            prop_assert_eq!(verify(&jws, &changed, [&key]), Err(Distrust::Invalid));
            let mut bytes = text.into_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            if let Some(jws) = String::from_utf8(bytes).ok().and_then(|text| Jws::parse(&text).ok()) {
                prop_assert!(verify(&jws, &content, [&key]).is_err());
            }
        }
    }
}
