//! Bearer tokens: JSON Web Tokens (RFC 7519) of one issuer for one audience, whose public keys are in a file (RFC 7517).
//!
//! Beside `iss`, `aud` and `exp`, and `nbf` if it is there, a token says who acts:
//!
//! ```json
//! { "organisation": "agencies/nca", "member": "j.doe", "roles": ["officer"] }
//! ```
//!
//! Only signatures of a private key count (RS*, PS*, ES256, ES384, EdDSA): with a shared secret, whoever checks a token
//! could make one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use portreeve_core::{Error, Principal, Reason, Result, Timestamp, identity, limits};
use serde::Deserialize;

use super::files::{Reloading, read};
use super::{IdentityError, jwt};

/// Whose tokens count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The file with the issuer's public keys: a JSON Web Key Set.
    pub jwks: PathBuf,
    /// The issuer, as `iss` has it.
    pub issuer: String,
    /// For whom tokens must be meant, as `aud` has it.
    pub audience: String,
}

/// Reads tokens.
pub struct Tokens {
    keys: Arc<Reloading<Keys>>,
    issuer: String,
    audience: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.keys).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// An issuer's public keys.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// What a token says, besides whose and for whom it is.
#[derive(Debug, Deserialize)]
struct Claims {
    organisation: String,
    member: Option<String>,
    roles: Vec<String>,
    exp: i64,
    nbf: Option<i64>,
}

impl Tokens {
    /// Reads the issuer's keys.
    pub fn load(settings: TokenSettings) -> Result<Self, IdentityError> {
        jwt::install();
        let TokenSettings { jwks, issuer, audience } = settings;
        let keys = Reloading::new(vec![jwks.clone()], move || Keys::read(&jwks))?;
        Ok(Self { keys: Arc::new(keys), issuer, audience })
    }

    pub(super) const fn keys(&self) -> &Arc<Reloading<Keys>> {
        &self.keys
    }

    /// Who a token names, and until when that holds.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<(Principal, Timestamp)> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(refused("it is too long").with("maximum", limits::TOKEN_BYTES_MAX));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| told(error.kind()))?;
        let keys = self.keys.current();
        let key = keys.find(header.kid.as_deref(), header.alg)?;
        let mut rules = Validation::new(header.alg);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        // The library would look at a clock of its own.
        (rules.validate_exp, rules.validate_nbf) = (false, false);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &rules);
        let claims = claims.map_err(|error| told(error.kind()))?.claims;
        let instant = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        let until = instant(claims.exp).plus_micros(limits::TOKEN_SKEW_MICROS);
        if now >= until {
            return Err(expired());
        }
        if claims.nbf.is_some_and(|begin| instant(begin) > now.plus_micros(limits::TOKEN_SKEW_MICROS)) {
            return Err(refused("its time has not begun"));
        }
        let roles = claims.roles.iter().map(String::as_str).collect::<Vec<_>>();
        let principal = identity::principal(&claims.organisation, claims.member.as_deref(), &roles)
            .map_err(|error| refused(error.message()))?;
        Ok((principal, until))
    }
}

impl Keys {
    fn read(path: &Path) -> Result<Self, IdentityError> {
        let wrong = |what: String| IdentityError::Content(path.to_owned(), what);
        let set = serde_json::from_slice::<JwkSet>(&read(path)?).map_err(|error| wrong(format!("no JWKS: {error}")))?;
        let mut keys = Vec::<Key>::new();
        for jwk in &set.keys {
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                return Err(wrong("holds a shared secret; only public keys can stand in it".into()));
            }
            let algorithms = algorithms(jwk);
            let signs = jwk.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
            if algorithms.is_empty() || !signs {
                continue;
            }
            let id = jwk.common.key_id.clone();
            if keys.iter().any(|key| key.id == id) {
                return Err(wrong(format!("holds two keys with the kid {:?}", id.unwrap_or_default())));
            }
            let decoding =
                DecodingKey::from_jwk(jwk).map_err(|error| wrong(format!("a key is unreadable: {error}")))?;
            keys.push(Key { id, algorithms, decoding });
        }
        if keys.is_empty() {
            Err(wrong("holds no key for RS*, PS*, ES256, ES384 or EdDSA".into()))
        } else {
            Ok(Self(keys))
        }
    }

    /// The key that a token names; the only one if it names none.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key> {
        let found = match (id, self.0.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        };
        let key = found.ok_or_else(|| refused("it is not signed with a key of the issuer"))?;
        if key.algorithms.contains(&algorithm) { Ok(key) } else { Err(refused("its algorithm is not that of its key")) }
    }
}

/// Whom a token names by its own account, for those who send it. Proves nothing.
pub fn claimed(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        organisation: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Claimed>(token).ok().map(|claimed| claimed.organisation)
}

/// The algorithms that a key can be used for.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    };
    let said = jwk.common.key_algorithm.map(|said| said.to_string());
    let fits = |algorithm: &&Algorithm| said.as_ref().is_none_or(|said| *said == format!("{algorithm:?}"));
    possible.iter().filter(fits).copied().collect()
}

fn told(kind: &ErrorKind) -> Error {
    refused(match kind {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is meant for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of iss, aud and exp",
        ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) => {
            "it lacks one of organisation, roles and exp, or has another kind of value there"
        }
        _ => "it is no token that this server can read",
    })
}

fn refused(what: &str) -> Error {
    Error::new(Reason::CredentialInvalid, format!("the token is refused: {what}")).with("credential", "token")
}

/// The refusal of a token that is past its end.
pub(crate) fn expired() -> Error {
    Error::new(Reason::CredentialExpired, "the token is past its end; get a new one").with("credential", "token")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const SKEW: i64 = limits::TOKEN_SKEW_MICROS / 1_000_000;

    struct Issuer(Ed25519KeyPair);

    impl Issuer {
        fn new(seed: u8) -> Self {
            Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn jwk(&self, kid: &str) -> Value {
            let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()).as_ref()))
        }
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "one"})
    }

    fn claims() -> Value {
        json!({
            "iss": "https://login.nca.example", "aud": "portreeve", "exp": NOW + 60, "sub": "1",
            "organisation": "agencies/nca", "member": "j.doe", "roles": ["officer"],
        })
    }

    fn with(mut value: Value, key: &str, new: Value) -> Value {
        value[key] = new;
        value
    }

    fn without(mut value: Value, key: &str) -> Value {
        value.as_object_mut().unwrap().remove(key);
        value
    }

    fn tokens(jwks: &Value) -> Result<Tokens, IdentityError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        std::fs::write(&path, jwks.to_string()).unwrap();
        let (issuer, audience) = ("https://login.nca.example".to_owned(), "portreeve".to_owned());
        Tokens::load(TokenSettings { jwks: path, issuer, audience })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_token_says_who_acts_until_its_end() {
        let issuer = Issuer::new(1);
        let tokens = tokens(&json!({"keys": [issuer.jwk("one")]})).unwrap();
        let token = issuer.sign(&header(), &with(claims(), "nbf", json!(NOW + SKEW)));
        let (principal, until) = tokens.verify(&token, at(NOW)).unwrap();
        assert_eq!((principal.to_string().as_str(), until), ("agencies/nca:j.doe", at(NOW + 60 + SKEW)));
        let token = issuer.sign(&header(), &with(claims(), "aud", json!(["other", "portreeve"])));
        assert!(tokens.verify(&token, Timestamp::from_micros(until.micros() - 1)).is_ok());
        assert_eq!(tokens.verify(&token, until).unwrap_err().reason(), Reason::CredentialExpired);
        let token = issuer.sign(&without(header(), "kid"), &without(claims(), "member"));
        assert_eq!(tokens.verify(&token, at(NOW)).unwrap().0.to_string(), "agencies/nca");
    }

    #[test]
    fn any_other_token_is_refused() {
        let (issuer, other) = (Issuer::new(1), Issuer::new(2));
        let tokens = tokens(&json!({"keys": [issuer.jwk("one"), other.jwk("two")]})).unwrap();
        let good = issuer.sign(&header(), &claims());
        assert!(tokens.verify(&good, at(NOW)).is_ok());
        let mut refused = vec![
            (String::new(), "empty"),
            ("a.b.c".into(), "no token"),
            (good.rsplit_once('.').unwrap().0.to_owned() + ".", "no signature"),
            (good.clone() + "AA", "a longer signature"),
            (other.sign(&header(), &claims()), "the key of another kid"),
            (Issuer::new(3).sign(&header(), &claims()), "another key"),
            (good.clone() + &"x".repeat(limits::TOKEN_BYTES_MAX), "too long"),
        ];
        for (key, value) in
            [("alg", json!("none")), ("alg", json!("HS256")), ("alg", json!("ES256")), ("kid", json!("x"))]
        {
            refused.push((issuer.sign(&with(header(), key, value), &claims()), key));
        }
        refused.push((issuer.sign(&without(header(), "kid"), &claims()), "which of the keys?"));
        for (key, value) in [
            ("iss", json!("https://login.bka.example")),
            ("aud", json!("another")),
            ("aud", json!([])),
            ("exp", json!("soon")),
            ("nbf", json!(NOW + SKEW + 1)),
            ("organisation", json!("nca")),
            ("organisation", json!(["agencies/nca"])),
            ("member", json!("j:doe")),
            ("member", json!("")),
            ("roles", json!([])),
            ("roles", json!("officer")),
            ("roles", json!(["operator"])),
            ("roles", json!(["officer", "officer"])),
        ] {
            refused.push((issuer.sign(&header(), &with(claims(), key, value)), key));
        }
        for key in ["iss", "aud", "exp", "organisation", "roles"] {
            refused.push((issuer.sign(&header(), &without(claims(), key)), key));
        }
        for (token, why) in refused {
            let error = tokens.verify(&token, at(NOW)).unwrap_err();
            assert_eq!(error.reason(), Reason::CredentialInvalid, "{why}: {error}");
            assert!(error.metadata().contains(&("credential", "token".to_owned())), "{why}");
        }
    }

    #[test]
    fn keys_that_are_no_public_keys_for_signing_are_refused() {
        let key = Issuer::new(1).jwk("one");
        for keys in [
            json!([]),
            json!([key, key]),
            json!([key, {"kty": "oct", "kid": "secret", "k": "aHVudGVyMg"}]),
            json!([with(key.clone(), "use", json!("enc"))]),
            json!([with(key.clone(), "alg", json!("ES256"))]),
            json!([with(key.clone(), "crv", json!("X25519"))]),
            json!([with(key.clone(), "x", json!("?"))]),
        ] {
            let refused = tokens(&json!({ "keys": keys }));
            assert!(refused.is_err(), "{keys}");
        }
        assert!(tokens(&json!("keys")).is_err());
    }
}
