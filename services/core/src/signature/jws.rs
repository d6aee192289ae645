//! A JWS with detached payload: `BASE64URL(header)..BASE64URL(signature)`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::name::is_slug;
use crate::{Timestamp, limits};

/// The protected header. Members that are not here are passed over, but for those that change what the signature means.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    iat: i64,
    #[serde(default)]
    crit: Option<serde_json::Value>,
    #[serde(default)]
    b64: Option<serde_json::Value>,
}

/// The header as this suite writes it.
#[derive(Serialize)]
struct OwnHeader<'a> {
    alg: &'a str,
    iat: i64,
    kid: &'a str,
}

/// A signature whose form is right. Whether it is anybody's is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jws {
    text: String,
    kid: String,
    signed_at: Timestamp,
    signature: Signature,
}

impl Jws {
    /// Reads a signature. The error says what is wrong with its form, for the field that held it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > limits::SIGNATURE_CHARS_MAX {
            return Err("must have at most 1024 characters");
        }
        let (header, signature) =
            text.split_once("..").ok_or("must be a JWS with detached payload: HEADER..SIGNATURE")?;
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "must be in base64url without padding");
        let signature = Signature::from_slice(&bytes(signature)?).map_err(|_| "must hold an Ed25519 signature")?;
        let header: Header = serde_json::from_slice(&bytes(header)?)
            .map_err(|_| "must have a header with alg, kid and iat (a whole number of seconds)")?;
        if header.alg != "EdDSA" {
            return Err("must be signed by EdDSA with Ed25519");
        }
        if header.crit.is_some() || header.b64.is_some() {
            return Err("must not use the extensions crit and b64");
        }
        if !is_slug(&header.kid) {
            return Err("must name in kid the id of a registered key");
        }
        let signed_at = Timestamp::from_parts(header.iat, 0).ok_or("must have in iat a time before the year 10000")?;
        Ok(Self { text: text.to_owned(), kid: header.kid, signed_at, signature })
    }

    /// The signature as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id of the key that is said to have made it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it was made, by the account of who made it.
    pub const fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// Whether this key made it over these bytes.
    pub(super) fn is_of(&self, payload: &[u8], key: &VerifyingKey) -> bool {
        let header = self.text.split_once("..").map_or("", |(header, _)| header);
        key.verify_strict(&signing_input(header, payload), &self.signature).is_ok()
    }

    /// Signs bytes.
    pub(super) fn sign(payload: &[u8], kid: &str, at: Timestamp, key: &ed25519_dalek::SigningKey) -> String {
        let (iat, _) = at.to_parts();
        let header = serde_json::to_vec(&OwnHeader { alg: "EdDSA", iat, kid }).unwrap_or_default();
        let header = URL_SAFE_NO_PAD.encode(header);
        let signature = key.sign(&signing_input(&header, payload));
        format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

/// The bytes under the signature (RFC 7515, section 5.1): the payload is encoded, though it does not travel.
fn signing_input(header: &str, payload: &[u8]) -> Vec<u8> {
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jws(header: &str) -> String {
        format!("{}..{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode([7; 64]))
    }

    #[test]
    fn the_form_is_read_strictly() {
        let good = Jws::parse(&jws(r#"{"alg":"EdDSA","typ":"JOSE","kid":"nca-2026","iat":1580000000}"#)).unwrap();
        assert_eq!((good.kid(), good.signed_at().to_string().as_str()), ("nca-2026", "2020-01-26T00:53:20Z"));
        let long = jws(&format!(
            r#"{{"alg":"EdDSA","kid":"nca-2026","iat":1,"x":"{}"}}"#,
            "x".repeat(limits::SIGNATURE_CHARS_MAX)
        ));
        for wrong in [
            "",
            "..",
            "a.b.c",
            &jws(""),
            &jws("{}"),
            &jws(r#"{"alg":"none","kid":"nca-2026","iat":1}"#),
            &jws(r#"{"alg":"ES256","kid":"nca-2026","iat":1}"#),
            &jws(r#"{"alg":"EdDSA","kid":"NCA 2026","iat":1}"#),
            &jws(r#"{"alg":"EdDSA","kid":"nca-2026","iat":1.5}"#),
            &jws(r#"{"alg":"EdDSA","kid":"nca-2026","iat":9223372036854775807}"#),
            &jws(r#"{"alg":"EdDSA","alg":"EdDSA","kid":"nca-2026","iat":1}"#),
            &jws(r#"{"alg":"EdDSA","kid":"nca-2026","iat":1,"crit":["exp"]}"#),
            &jws(r#"{"alg":"EdDSA","kid":"nca-2026","iat":1,"b64":false}"#),
            &format!("{}=", jws(r#"{"alg":"EdDSA","kid":"nca-2026","iat":1}"#)),
            &format!("{}..{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"nca-2026","iat":1}"#), "AAAA"),
            &long,
        ] {
            assert!(Jws::parse(wrong).is_err(), "{wrong}");
        }
        let header =
            |fill: usize| jws(&format!(r#"{{"alg":"EdDSA","kid":"nca-2026","iat":1,"x":"{}"}}"#, "x".repeat(fill)));
        let fill = (0..1_000).take_while(|fill| header(*fill).len() <= limits::SIGNATURE_CHARS_MAX).last().unwrap();
        assert!(Jws::parse(&header(fill)).is_ok() && Jws::parse(&header(fill + 1)).is_err());
    }
}
