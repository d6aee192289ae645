//! A secured server: handshakes, certificates and tokens that are none.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portreeve_api::clients;
use portreeve_core::time::{Clock, SystemClock};
use portreeve_runtime::identity::client::ClientTls;
use portreeve_tests::process::Process;
use portreeve_tests::raw;
use portreeve_tests::within;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::victim::Victim;
use super::{LIST, many, wire};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secured_server_endures() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let operator = ["--organisation", "operators/op", "--member", "root", "--roles", "operator"];
    for arguments in [&["pki", "init", "pki"][..], &[&["pki", "issue", "pki"][..], &operator].concat()] {
        let process = Process::start(arguments, [("PATH", "")], folder.path()).unwrap();
        within(60, "pki", process.succeeds()).await.unwrap();
    }
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]});
    fs::write(file("jwks.json"), keys.to_string()).unwrap();
    let settings = [
        ("PORTREEVE_TLS_CERT", "pki/server.pem"),
        ("PORTREEVE_TLS_KEY", "pki/server.key"),
        ("PORTREEVE_TLS_CLIENT_CA", "pki/ca.pem"),
        ("PORTREEVE_TLS_CRL", "pki/crl.pem"),
        ("PORTREEVE_TOKEN_JWKS", "jwks.json"),
        ("PORTREEVE_TOKEN_ISSUER", "https://login.example"),
        ("PORTREEVE_TOKEN_AUDIENCE", "portreeve"),
    ];
    let mut victim = Victim::start(&settings.map(|(key, value)| (key, value.to_owned())), folder.path()).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let own = (file("pki/operators-op-root.pem"), file("pki/operators-op-root.key"));
    let tls = ClientTls::from_files(&file("pki/ca.pem"), Some((&own.0, &own.1)), &clock).unwrap();
    let endpoint = clients::endpoint(&format!("https://{}", victim.address)).unwrap();
    victim.keep_calling(tls.connect(&endpoint).await.unwrap());
    let pki = file("pki");
    victim
        .endure(async |address, seed| {
            handshakes(address, seed).await;
            certificates(address, &pki, seed).await;
            tokens(&pki, address, &key, seed).await;
        })
        .await;
}

/// Bytes in place of a handshake, and handshakes that are never finished.
async fn handshakes(address: SocketAddr, seed: u64) {
    many(500, async |time| {
        let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(time));
        let content = wire::noise(&mut random, 512);
        let mut length = u16::try_from(content.len()).unwrap();
        if random.random_ratio(1, 4) {
            length = random.random();
        }
        let kind = if random.random_ratio(3, 4) { 22 } else { random.random() };
        let record = [&[kind, 3, random.random_range(0..5)], length.to_be_bytes().as_slice(), &content].concat();
        wire::send(address, &record).await
    })
    .await;
    let stalling = (0..40).map(|time| wire::stall(address, [&b""[..], b"\x16\x03\x01\x02\x00\x01"][time % 2]));
    let closed = futures_util::future::join_all(stalling).await;
    assert!(closed.iter().all(|closed| *closed), "handshakes that are never finished are kept");
}

/// Shows a certificate of whatever kind.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A good certificate with some of its bytes changed, and things that are none.
async fn certificates(address: SocketAddr, pki: &Path, seed: u64) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("ca.pem")).unwrap()).unwrap();
    let good = CertificateDer::from_pem_file(pki.join("operators-op-root.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.join("operators-op-root.key")).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let believed = many(500, async |time| {
        let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(time));
        let mut bytes = good.to_vec();
        match time % 4 {
            0 => bytes = wire::noise(&mut random, 2_048),
            1 => bytes.truncate(random.random_range(0..bytes.len())),
            _ => {
                for _ in 0..random.random_range(1..4) {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] ^= random.random_range(1..=255);
                }
            }
        }
        let chain = (0..random.random_range(1..4)).map(|_| CertificateDer::from(bytes.clone())).collect();
        let shows = Shows(Arc::new(CertifiedKey::new(chain, Arc::clone(&key))));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_cert_resolver(Arc::new(shows));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let Ok(stream) = TcpStream::connect(address).await else { return false };
        let name = ServerName::try_from("localhost").unwrap();
        let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, stream).await else { return false };
        answered(&mut stream).await
    })
    .await;
    assert_eq!(believed, 0, "certificates that were changed are believed");
}

/// Whether the other end of a connection speaks HTTP/2 on it.
async fn answered(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut first = [0; 9];
    stream.write_all(&wire::opening(&[])).await.is_ok()
        && within(30, "an answer or the end", stream.read_exact(&mut first)).await.is_ok()
}

/// A good token with some of its bytes changed, headers and claims of every kind, and things that are none.
async fn tokens(pki: &Path, address: SocketAddr, key: &KeyPair, seed: u64) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tls = ClientTls::from_files(&pki.join("ca.pem"), None, &clock).unwrap();
    let endpoint = clients::endpoint(&format!("https://{address}")).unwrap();
    let channel = tls.connect(&endpoint).await.unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = |header: &Value, claims: &Value| {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let header = json!({"alg": "EdDSA", "kid": "one"});
    let claims = json!({
        "iss": "https://login.example", "aud": "portreeve", "exp": 4_000_000_000_u64,
        "organisation": "operators/op", "member": "root", "roles": ["operator"],
    });
    let good = signed(&header, &claims);
    assert!(raw::call_with(&channel, &format!("Bearer {good}"), LIST, bytes::Bytes::new()).await.is_ok());
    let believed = many(1_000, async |time| {
        let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(time));
        let token = match time % 5 {
            0 => URL_SAFE_NO_PAD.encode(wire::noise(&mut random, 300)),
            1 => format!("{}.{}.{}", part(&whatever(&mut random, 3)), part(&whatever(&mut random, 3)), "AA"),
            2 => {
                let mut header = header.clone();
                header[["alg", "kid", "typ", "crit", "jwk", "jku", "x5u", "b64"][random.random_range(0..8)]] =
                    whatever(&mut random, 2);
                // Without a key's name the only key is meant, and other members change nothing of who is.
                let means_it = header["alg"] == "EdDSA" && (header["kid"] == "one" || header["kid"].is_null());
                if means_it { String::new() } else { signed(&header, &claims) }
            }
            3 => {
                let mut claims = claims.clone();
                claims[["iss", "aud", "exp", "organisation", "member", "roles"][random.random_range(0..6)]] =
                    json!([whatever(&mut random, 2), 1]);
                signed(&header, &claims)
            }
            _ => {
                let mut bytes = good.clone().into_bytes();
                let at = random.random_range(0..bytes.len() - 2);
                bytes[at] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."[random.random_range(0..39)];
                let changed = String::from_utf8(bytes).unwrap();
                if changed == good { String::new() } else { changed }
            }
        };
        let called = raw::call_with(&channel, &format!("Bearer {token}"), LIST, bytes::Bytes::new()).await;
        called.is_ok_and(|_| {
            eprintln!("believed: {token}");
            true
        })
    })
    .await;
    assert_eq!(believed, 0, "tokens that are none are believed");
}

/// Any value of JSON.
fn whatever(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.next_u64()),
        3 => json!(random.random::<f64>() * 1e300),
        4 => json!(String::from_utf8_lossy(&wire::noise(random, 40))),
        5 => (0..random.random_range(0..4)).map(|_| whatever(random, depth - 1)).collect(),
        _ => {
            let names = ["alg", "kid", "iss", "aud", "exp", "organisation", "roles"];
            (0..4).map(|_| (names[random.random_range(0..7)].to_owned(), whatever(random, depth - 1))).collect()
        }
    }
}
