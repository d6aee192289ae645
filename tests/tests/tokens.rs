//! Tokens whose issuer publishes its keys: the real binary against an issuer's server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portreeve_tests::process::{Process, free_address};
use portreeve_tests::within;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the issuer publishes, and how often it was asked.
type Published = Arc<Mutex<(String, usize)>>;

/// An issuer's server at an address.
async fn publish(address: SocketAddr) -> (JoinHandle<()>, Published) {
    let listener = TcpListener::bind(address).await.unwrap();
    let published = Published::default();
    let answers = Arc::clone(&published);
    let publisher = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await?);
                }
                let body = {
                    let mut answers = answers.lock().unwrap();
                    answers.1 += 1;
                    answers.0.clone()
                };
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await
            });
        }
    });
    (publisher, published)
}

fn set(kid: &str, key: &KeyPair) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]}).to_string()
}

fn token(kid: &str, key: &KeyPair) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": "https://login.example", "aud": "portreeve", "exp": 4_000_000_000_u64,
        "organisation": "operators/op", "member": "root", "roles": ["operator"],
    });
    let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": kid})), part(&claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()))
}

/// A server whose tokens' issuer publishes its keys at an address.
fn start(issuer: SocketAddr, folder: &Path) -> Process {
    let environment = [
        ("PORTREEVE_LISTEN", "127.0.0.1:0".to_owned()),
        ("PORTREEVE_TOKEN_JWKS", format!("http://{issuer}/keys")),
        ("PORTREEVE_TOKEN_ISSUER", "https://login.example".to_owned()),
        ("PORTREEVE_TOKEN_AUDIENCE", "portreeve".to_owned()),
    ];
    Process::start(["serve"], environment, folder).unwrap()
}

/// Whether a call with a token succeeds, and what is said of it.
async fn list(server: SocketAddr, token: &str, folder: &Path) -> (bool, String) {
    let environment = [("PORTREEVE_SERVER", format!("http://{server}")), ("PORTREEVE_TOKEN", token.to_owned())];
    let mut process = Process::start(["organisation", "list"], environment, folder).unwrap();
    let success = within(60, "the list", process.ended()).await.unwrap().success();
    (success, process.all_said().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_changes_its_keys_and_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = free_address().unwrap();
    let [one, two] = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap());

    // Nobody publishes keys. The server runs, and says why it takes no token.
    let mut server = start(issuer, folder.path());
    let address = server.listens().await.unwrap();
    assert!(server.said().contains("cannot be reached"), "{}", server.said());
    let (done, said) = list(address, &token("one", &one), folder.path()).await;
    assert!(!done && said.contains("TOKEN_KEYS_UNAVAILABLE"), "{said}");
    server.kill().await.unwrap();

    // What is published is no set of keys. The server does not start.
    let (publisher, published) = publish(issuer).await;
    published.lock().unwrap().0 = "<html>".to_owned();
    let mut server = start(issuer, folder.path());
    assert!(!within(60, "the refusal", server.ended()).await.unwrap().success());
    let said = server.all_said().await;
    assert!(said.contains(&issuer.to_string()) && said.contains("no JWKS"), "{said}");

    published.lock().unwrap().0 = set("one", &one);
    let mut server = start(issuer, folder.path());
    let address = server.listens().await.unwrap();
    let call = async |kid: &str, key: &KeyPair| list(address, &token(kid, key), folder.path()).await;
    assert!(call("one", &one).await.0);
    let before = published.lock().unwrap().1;

    // The issuer changes its keys: the first token with the new one has them fetched, and the old one counts no more.
    published.lock().unwrap().0 = set("two", &two);
    let (done, said) = call("two", &two).await;
    assert!(done, "{said}");
    let (done, said) = call("one", &one).await;
    assert!(!done && said.contains("CREDENTIAL_INVALID"), "{said}");
    assert!(!call("three", &two).await.0);
    assert_eq!(published.lock().unwrap().1, before + 1, "made-up keys had the issuer asked more than once");

    // The issuer goes away: what it said last counts.
    publisher.abort();
    assert!(call("two", &two).await.0);
}
