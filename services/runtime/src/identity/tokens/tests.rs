//! Tokens of every algorithm, and those that must not count.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use portreeve_core::time::SystemClock;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
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
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = TokenSettings { keys: KeySettings::File(path), issuer, audience };
    Tokens::load(settings, &clock).now_or_never().expect("a file is there at once")
}

fn verify(tokens: &Tokens, token: &str, now: Timestamp) -> Result<(Principal, Timestamp)> {
    tokens.verify(token, now).now_or_never().expect("keys from a file are there at once")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[test]
fn a_token_says_who_acts_until_its_end() {
    let issuer = Issuer::new(1);
    let tokens = tokens(&json!({"keys": [issuer.jwk("one")]})).unwrap();
    let token = issuer.sign(&header(), &with(claims(), "nbf", json!(NOW + SKEW)));
    let (principal, until) = verify(&tokens, &token, at(NOW)).unwrap();
    assert_eq!((principal.to_string().as_str(), until), ("agencies/nca:j.doe", at(NOW + 60 + SKEW)));
    let token = issuer.sign(&header(), &with(claims(), "aud", json!(["other", "portreeve"])));
    assert!(verify(&tokens, &token, Timestamp::from_micros(until.micros() - 1)).is_ok());
    assert_eq!(verify(&tokens, &token, until).unwrap_err().reason(), Reason::CredentialExpired);
    let token = issuer.sign(&without(header(), "kid"), &without(claims(), "member"));
    assert_eq!(verify(&tokens, &token, at(NOW)).unwrap().0.to_string(), "agencies/nca");
}

#[test]
fn any_other_token_is_refused() {
    let (issuer, other) = (Issuer::new(1), Issuer::new(2));
    let tokens = tokens(&json!({"keys": [issuer.jwk("one"), other.jwk("two")]})).unwrap();
    let good = issuer.sign(&header(), &claims());
    assert!(verify(&tokens, &good, at(NOW)).is_ok());
    let mut refused = vec![
        (String::new(), "empty"),
        ("a.b.c".into(), "no token"),
        (good.rsplit_once('.').unwrap().0.to_owned() + ".", "no signature"),
        (good.clone() + "AA", "a longer signature"),
        (other.sign(&header(), &claims()), "the key of another kid"),
        (Issuer::new(3).sign(&header(), &claims()), "another key"),
        (good.clone() + &"x".repeat(limits::TOKEN_BYTES_MAX), "too long"),
    ];
    for (key, value) in [("alg", json!("none")), ("alg", json!("HS256")), ("alg", json!("ES256")), ("kid", json!("x"))]
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
        let error = verify(&tokens, &token, at(NOW)).unwrap_err();
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

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Signs as one algorithm does.
struct Signer {
    algorithm: &'static str,
    jwk: Value,
    sign: Sign,
}

impl Signer {
    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode((self.sign)(signed.as_bytes())))
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Of each algorithm that counts, one that signs; RSA's share a key that is nothing but these tests'.
fn signers() -> Vec<Signer> {
    let rsa = base64::engine::general_purpose::STANDARD.decode(include_str!("rsa_for_tests.b64").trim()).unwrap();
    let rsa = Arc::new(RsaKeyPair::from_pkcs8(&rsa).unwrap());
    let public = PublicKeyComponents::<Vec<u8>>::from(rsa.public());
    let mut signers = Vec::new();
    let paddings: [(&'static str, &'static dyn ring::signature::RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (algorithm, padding) in paddings {
        let key = Arc::clone(&rsa);
        let jwk = json!({"kty": "RSA", "kid": algorithm, "n": text(&public.n), "e": text(&public.e)});
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        signers.push(Signer { algorithm, jwk, sign: Box::new(sign) });
    }
    for (algorithm, curve, how) in
        [("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING), ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)]
    {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(how, key.as_ref(), &random).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at((key.public_key().as_ref().len() - 1) / 2);
        let jwk = json!({"kty": "EC", "crv": curve, "kid": algorithm, "x": text(x), "y": text(y)});
        let sign = move |message: &[u8]| key.sign(&random, message).unwrap().as_ref().to_vec();
        signers.push(Signer { algorithm, jwk, sign: Box::new(sign) });
    }
    let issuer = Issuer::new(1);
    let jwk = with(without(issuer.jwk("EdDSA"), "alg"), "use", json!("sig"));
    signers.push(Signer { algorithm: "EdDSA", jwk, sign: Box::new(move |m| issuer.0.sign(m).as_ref().to_vec()) });
    signers
}

#[test]
fn each_algorithm_counts_with_a_key_of_its_kind_and_with_no_other() {
    let signers = signers();
    let keys = signers.iter().map(|signer| signer.jwk.clone()).collect::<Vec<_>>();
    let tokens = tokens(&json!({ "keys": keys })).unwrap();
    let said = ["none", "HS256", "HS384", "HS512", "ES256K", "ES512", "RSA-OAEP", ""];
    for signer in &signers {
        let header = json!({"alg": signer.algorithm, "kid": signer.algorithm});
        let good = signer.token(&header, &claims());
        assert!(verify(&tokens, &good, at(NOW)).is_ok(), "{}", signer.algorithm);
        // The same signature under another algorithm's name, or under another key's.
        let others = signers.iter().map(|other| other.algorithm).filter(|other| *other != signer.algorithm);
        for other in others.clone().chain(said) {
            let confused = signer.token(&with(header.clone(), "alg", json!(other)), &claims());
            let error = verify(&tokens, &confused, at(NOW)).expect_err(other);
            assert_eq!(error.reason(), Reason::CredentialInvalid, "{} as {other}", signer.algorithm);
        }
        for other in others.filter(|other| other[..2] != signer.algorithm[..2] && !both_rsa(other, signer.algorithm)) {
            let foreign = signer.token(&with(header.clone(), "kid", json!(other)), &claims());
            assert!(verify(&tokens, &foreign, at(NOW)).is_err(), "{} by the key of {other}", signer.algorithm);
        }
        // One bit of each part.
        for place in [1, good.find('.').unwrap() + 2, good.len() - 9] {
            let mut changed = good.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(verify(&tokens, &changed, at(NOW)).is_err(), "{} changed at {place}", signer.algorithm);
        }
    }
}

fn both_rsa(one: &str, other: &str) -> bool {
    [one, other].iter().all(|algorithm| algorithm[1..].starts_with('S') && ["R", "P"].contains(&&algorithm[..1]))
}

/// The oldest trick: a token that is signed with the public key, as if it were a secret that both sides know.
#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    for signer in signers() {
        let tokens = tokens(&json!({"keys": [signer.jwk]})).unwrap();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(signer.jwk[name].as_str().unwrap_or_default()).unwrap();
        for secret in [bytes("n"), bytes("x"), [bytes("x"), bytes("y")].concat(), signer.jwk.to_string().into_bytes()] {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            let sign = move |message: &[u8]| ring::hmac::sign(&key, message).as_ref().to_vec();
            let forger = Signer { algorithm: "HS256", jwk: Value::Null, sign: Box::new(sign) };
            for algorithm in ["HS256", signer.algorithm] {
                let forged = forger.token(&json!({"alg": algorithm, "kid": signer.algorithm}), &claims());
                assert!(verify(&tokens, &forged, at(NOW)).is_err(), "{algorithm} for {}", signer.algorithm);
            }
        }
        let unsigned = Signer { algorithm: "none", jwk: Value::Null, sign: Box::new(|_| Vec::new()) };
        for algorithm in ["none", "None", "NONE", signer.algorithm] {
            let forged = unsigned.token(&json!({"alg": algorithm, "kid": signer.algorithm}), &claims());
            assert!(verify(&tokens, &forged, at(NOW)).is_err(), "{algorithm} for {}", signer.algorithm);
        }
    }
}
