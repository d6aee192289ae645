//! Keys as files (RFC 7517, RFC 8037). What says when a key counts has the names of OpenID Federation's historical keys:
//! `nbf`, `exp` and `revoked`; `iss` names the agency.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::key::{PrivateKey, PublicKey, Revocation};
use crate::Timestamp;
use crate::name::is_slug;

/// One key. With `d` it is private. Members that are not here are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The kind of key: `OKP`.
    pub kty: String,
    /// The curve: `Ed25519`.
    pub crv: String,
    /// The public key, in base64url.
    pub x: String,
    /// The private key, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<String>,
    /// Its id among the agency's keys.
    pub kid: String,
    /// How it signs: `EdDSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What it is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// The agency whose it is: `agencies/{agency}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Signatures count from this second on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Signatures of this second or later do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Set once the agency has taken it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

/// Since when a key is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Signatures of this second or later do not count.
    pub revoked_at: i64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A set of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

fn seconds(time: Timestamp) -> i64 {
    time.to_parts().0
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl Jwk {
    fn bare(kid: &str, public: [u8; 32]) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(public),
            kid: kid.to_owned(),
            alg: Some("EdDSA".into()),
            usage: Some("sig".into()),
            ..Self::default()
        }
    }

    /// A private key.
    pub fn private(key: &PrivateKey) -> Self {
        Self { d: Some(URL_SAFE_NO_PAD.encode(key.seed())), ..Self::bare(key.kid(), key.public()) }
    }

    /// An agency's public key.
    pub fn public(agency: &str, key: &PublicKey) -> Self {
        let revoked = key.revoked.as_ref();
        Self {
            iss: Some(agency.to_owned()),
            nbf: Some(seconds(key.valid_from)),
            exp: Some(seconds(key.valid_until)),
            revoked: revoked.map(|revoked| Revoked { revoked_at: seconds(revoked.at), reason: revoked.reason.clone() }),
            ..Self::bare(&key.kid, key.key)
        }
    }

    fn is_ed25519(&self) -> bool {
        self.kty == "OKP" && self.crv == "Ed25519" && is_slug(&self.kid)
    }

    /// The private key in it; `None` if there is none of ours.
    pub fn to_private(&self) -> Option<PrivateKey> {
        let key = PrivateKey::from_seed(&self.kid, bytes(self.d.as_deref()?)?);
        (self.is_ed25519() && bytes(&self.x)? == key.public()).then_some(key)
    }

    /// The public key in it; `None` if it is none of ours. Without `nbf` and `exp` it counts at any time.
    pub fn to_public(&self) -> Option<PublicKey> {
        let time = |seconds: i64| Timestamp::from_parts(seconds, 0);
        Some(PublicKey {
            kid: self.is_ed25519().then(|| self.kid.clone())?,
            key: bytes(&self.x)?,
            valid_from: self.nbf.map_or(Some(Timestamp::from_micros(i64::MIN)), time)?,
            valid_until: self.exp.map_or(Some(Timestamp::from_micros(i64::MAX)), time)?,
            revoked: match &self.revoked {
                None => None,
                Some(revoked) => Some(Revocation { at: time(revoked.revoked_at)?, reason: revoked.reason.clone() }),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_files_as_they_were() {
        let private = PrivateKey::from_seed("nca-2026", [3; 32]);
        let text = serde_json::to_string(&Jwk::private(&private)).unwrap();
        let read = serde_json::from_str::<Jwk>(&text).unwrap().to_private().unwrap();
        assert_eq!((read.kid(), read.public()), (private.kid(), private.public()));
        let time = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let mut key = PublicKey {
            kid: "nca-2026".into(),
            key: private.public(),
            valid_from: time(1),
            valid_until: time(2),
            revoked: None,
        };
        for revoked in [None, Some(Revocation { at: time(2), reason: "lost".into() })] {
            key.revoked = revoked;
            let text = serde_json::to_string(&Jwk::public("agencies/nca", &key)).unwrap();
            assert!(!text.contains("\"d\""), "{text}");
            let read = serde_json::from_str::<Jwk>(&text).unwrap();
            assert_eq!((read.to_public().as_ref(), read.iss.as_deref()), (Some(&key), Some("agencies/nca")));
        }
        let other = Jwk { x: URL_SAFE_NO_PAD.encode([9; 32]), ..Jwk::private(&private) };
        assert!(other.to_private().is_none(), "the halves must belong together");
        for wrong in [
            Jwk { kty: "RSA".into(), ..Jwk::private(&private) },
            Jwk { crv: "X25519".into(), ..Jwk::private(&private) },
            Jwk { kid: "../x".into(), ..Jwk::private(&private) },
            Jwk { x: "AAAA".into(), ..Jwk::private(&private) },
        ] {
            assert!(wrong.to_public().is_none() && wrong.to_private().is_none(), "{wrong:?}");
        }
    }
}
