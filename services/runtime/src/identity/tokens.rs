//! Bearer tokens: JSON Web Tokens (RFC 7519) of one issuer for one audience, whose public keys are in a file or
//! published (RFC 7517).
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
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Header, Validation};
use portreeve_core::{Clock, Error, Principal, Reason, Result, Timestamp, identity, limits};
use serde::Deserialize;

use super::keys::{Found, KeyRing, KeySettings};
use super::{IdentityError, jwt};
use crate::lifecycle::Lifecycle;

/// Whose tokens count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Where the issuer's public keys are: a JSON Web Key Set.
    pub keys: KeySettings,
    /// The issuer, as `iss` has it.
    pub issuer: String,
    /// For whom tokens must be meant, as `aud` has it.
    pub audience: String,
}

/// Reads tokens.
pub struct Tokens {
    keys: KeyRing,
    issuer: String,
    audience: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.keys).field("issuer", &self.issuer).finish_non_exhaustive()
    }
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
    pub async fn load(settings: TokenSettings, clock: &Arc<dyn Clock>) -> Result<Self, IdentityError> {
        jwt::install();
        let TokenSettings { keys, issuer, audience } = settings;
        Ok(Self { keys: KeyRing::open(keys, clock).await?, issuer, audience })
    }

    /// Takes up changed keys for as long as the process takes new work.
    pub(super) fn keep_fresh(&self, life: &Lifecycle) {
        self.keys.keep_fresh(life);
    }

    /// Who a token names, and until when that holds.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<(Principal, Timestamp)> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(refused("it is too long").with("maximum", limits::TOKEN_BYTES_MAX));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| told(error.kind()))?;
        let mut keys = match self.keys.current() {
            Ok(keys) => keys,
            Err(error) => self.keys.newer(None).await.ok_or(error)?,
        };
        if matches!(keys.find(header.kid.as_deref(), header.alg), Found::Unknown)
            && let Some(newer) = self.keys.newer(Some(&keys)).await
        {
            keys = newer;
        }
        match keys.find(header.kid.as_deref(), header.alg) {
            Found::Key(key) => self.check(token, &header, key, now),
            Found::OtherAlgorithm => Err(refused("its algorithm is not that of its key")),
            Found::Unknown => Err(refused("it is not signed with a key of the issuer")),
        }
    }

    fn check(&self, token: &str, header: &Header, key: &DecodingKey, now: Timestamp) -> Result<(Principal, Timestamp)> {
        let mut rules = Validation::new(header.alg);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        // The library would look at a clock of its own.
        (rules.validate_exp, rules.validate_nbf) = (false, false);
        let claims = jsonwebtoken::decode::<Claims>(token, key, &rules);
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

/// Whom a token names by its own account, for those who send it. Proves nothing.
pub fn claimed(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        organisation: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Claimed>(token).ok().map(|claimed| claimed.organisation)
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
mod tests;
