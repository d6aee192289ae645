//! Fuzz targets: certificates, tokens, and what authorities and issuers publish.
//!
//! Ordinary tests; for longer, `cargo bolero test --package portreeve-runtime identity::fuzz::NAME`.

#[path = "../../../core/tests/fuzz/texts.rs"]
mod texts;

use std::panic::AssertUnwindSafe;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bolero::{check, produce};
use futures_util::FutureExt as _;
use portreeve_core::identity;
use portreeve_core::time::SystemClock;
use rcgen::{CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, SanType, SerialNumber};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use texts::{Edits, INPUTS, edited, edits, texts};

use super::keys::{KeySettings, Keys};
use super::tokens::{TokenSettings, Tokens};
use super::*;

fn edited_text(text: &str, edits: &Edits) -> String {
    String::from_utf8_lossy(&edited(text.as_bytes(), edits)).into_owned()
}

/// A certificate with these among its subject's alternative names.
fn certificate(key: &KeyPair, names: Vec<SanType>) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = names;
    params.self_signed(key).unwrap().der().clone()
}

#[test]
fn certificates() {
    const PIECES: &[&str] = &[
        "portreeve://",
        "agencies/nca",
        "operators/op",
        "/members/",
        "j.doe",
        "?roles=",
        "officer",
        "operator",
        ",",
        "/",
        "%00",
        "\0",
        "portreeve://agencies/nca?roles=officer",
    ];
    let key = AssertUnwindSafe(KeyPair::generate().unwrap());
    let names = produce::<Vec<String>>().with().values(texts(PIECES)).len(0_usize..3);
    let parts = (produce::<bool>(), names, edits());
    check!().with_iterations(INPUTS / 4).with_generator(parts).for_each(|(host, names, edits)| {
        let ascii = names.iter().map(|name| name.chars().filter(char::is_ascii).collect::<String>());
        let ascii = ascii.collect::<Vec<_>>();
        let uris = ascii.iter().map(|name| SanType::URI(name.as_str().try_into().unwrap()));
        let host = host.then(|| SanType::DnsName("nca.example".try_into().unwrap()));
        let whole = certificate(&key, host.into_iter().chain(uris).collect());
        let named = tls::named(&whole);
        match ascii.as_slice() {
            [only] => assert_eq!(named.as_ref().ok(), identity::parse(only).as_ref().ok()),
            _ => assert!(named.is_err(), "{} names", ascii.len()),
        }
        for certificate in [&whole, &CertificateDer::from(edited(&whole, edits))] {
            match tls::named(certificate) {
                Ok(principal) => {
                    let uri = identity::uri(&principal).into_bytes();
                    assert!(certificate.windows(uri.len()).any(|bytes| bytes == uri), "{principal} is not in it");
                }
                Err(error) => assert_eq!(error.reason(), Reason::CredentialInvalid),
            }
        }
    });
}

const NOW: i64 = 1_800_000_000;

fn claims() -> Value {
    json!({
        "iss": "https://login.nca.example", "aud": "portreeve", "exp": NOW + 60, "organisation": "agencies/nca",
        "member": "j.doe", "roles": ["officer"],
    })
}

#[test]
fn bearer_tokens() {
    const HEADER: &[&str] = &[
        "{",
        "}",
        ",",
        "\"alg\":\"EdDSA\"",
        "\"alg\":\"none\"",
        "\"alg\":\"HS256\"",
        "\"kid\":\"one\"",
        "\"kid\":null",
        "\"crit\":[\"exp\"]",
        "\"typ\":\"JWT\"",
        "\"jwk\":{}",
        "\"x5c\":[\"AA\"]",
    ];
    const CLAIMS: &[&str] = &[
        ",\"organisation\":\"operators/op\"",
        ",\"roles\":[\"operator\"]",
        ",\"roles\":[]",
        ",\"member\":\"\"",
        ",\"member\":\"a:b\"",
        ",\"exp\":1e30",
        ",\"exp\":-1",
        ",\"exp\":9223372036854775807",
        ",\"nbf\":1",
        ",\"nbf\":9223372036854775807",
        ",\"aud\":[\"other\"]",
        ",\"iss\":[]",
        ",\"x\":{}",
        ",\"iat\":[[[[",
    ];
    let folder = tempfile::tempdir().unwrap();
    let key = AssertUnwindSafe(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap());
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "alg": "EdDSA", "x": x}]}).to_string();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, &set).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = TokenSettings {
        keys: KeySettings::File(path),
        issuer: "https://login.nca.example".into(),
        audience: "portreeve".into(),
    };
    let tokens = AssertUnwindSafe(Tokens::load(settings, &clock).now_or_never().unwrap().unwrap());
    let parts = (texts(HEADER), texts(CLAIMS), edits(), edits());
    check!().with_iterations(INPUTS).with_generator(parts).for_each(|(header, more, in_claims, in_token)| {
        let sign = |header: &str, claims: &str| {
            let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).as_ref()))
        };
        let verify =
            |token: &str| tokens.verify(token, Timestamp::from_micros(NOW * 1_000_000)).now_or_never().unwrap();
        // What the issuer signed counts as it says, whatever it says.
        let good = claims().to_string();
        let claims = edited_text(&format!("{}{more}}}", good.trim_end_matches('}')), in_claims);
        for header in [header.as_str(), r#"{"alg":"EdDSA"}"#] {
            match verify(&sign(header, &claims)) {
                Ok((principal, until)) => {
                    let said = serde_json::from_str::<Value>(&claims).unwrap();
                    assert_eq!(said["organisation"], principal.organisation().to_string());
                    assert_eq!(said["member"].as_str().unwrap_or_default(), principal.member());
                    let roles = principal.roles().iter().map(|role| role.name()).collect::<Vec<_>>();
                    assert_eq!(said["roles"], json!(roles));
                    assert!(until > Timestamp::from_micros(NOW * 1_000_000));
                }
                Err(error) => {
                    assert!(matches!(error.reason(), Reason::CredentialInvalid | Reason::CredentialExpired), "{error}");
                }
            }
        }
        // What anybody made of it does not count.
        let signed = sign(r#"{"alg":"EdDSA","kid":"one"}"#, &good);
        let changed = edited_text(&signed, in_token);
        assert_eq!(verify(&changed).is_ok(), changed == signed);
        // Nor does a changed set of keys bring anything down.
        let _ = Keys::parse(&edited(set.as_bytes(), in_token));
    });
}

#[test]
fn revocation_lists() {
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2030, 1, 1),
        next_update: rcgen::date_time_ymd(2030, 2, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::new(CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
    let list = params.signed_by(&issuer).unwrap().der().to_vec();
    let whole = revocation::validity(&list).unwrap();
    check!().with_iterations(INPUTS).with_generator(edits()).for_each(|edits| {
        let changed = edited(&list, edits);
        if changed == list {
            assert_eq!(revocation::validity(&changed), Ok(whole));
        }
        let _ = revocation::validity(&changed);
    });
}
