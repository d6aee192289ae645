//! Keys that an issuer publishes: fetched, changed, late, gone, and everything that is none.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portreeve_core::time::ManualClock;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// An issuer's server, which answers every request with the same bytes.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn answering(answer: Vec<u8>, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}/keys", listener.local_addr().unwrap().port());
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (answers, count) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, count, tls) = (Arc::clone(&answers), Arc::clone(&count), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answers, &count).await,
                        Some(tls) => serve(tls.accept(stream).await?, &answers, &count).await,
                    }
                });
            }
        });
        Self { url, answer, asked }
    }

    async fn say(&self, answer: Vec<u8>) {
        *self.answer.lock().await = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    answer: &Mutex<Vec<u8>>,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    assert!(request.starts_with(b"GET /keys HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&request));
    count.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().await.clone();
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A set with one key of that name.
fn set(kid: &str) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]}).to_string()
}

async fn open(url: &str, ca: Option<PathBuf>, clock: &Arc<ManualClock>) -> Result<KeyRing, IdentityError> {
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    KeyRing::open(KeySettings::Url { uri: fetch::check(url).unwrap(), ca }, &clock).await
}

fn knows(keys: &Keys, kid: &str) -> bool {
    matches!(keys.find(Some(kid), Algorithm::EdDSA), Found::Key(_))
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_in_a_while() {
    let issuer = Issuer::answering(http("200 OK", &set("one")), None).await;
    let clock = Arc::new(ManualClock::at(NOW));
    let ring = open(&issuer.url, None, &clock).await.unwrap();
    let first = ring.current().unwrap();
    assert!(knows(&first, "one") && !knows(&first, "two"));

    issuer.say(http("200 OK", &set("two"))).await;
    let askers = (0..20).map(|_| ring.newer(Some(&first)));
    let answers = futures_util::future::join_all(askers).await;
    assert!(answers.iter().all(|keys| keys.as_ref().is_some_and(|keys| knows(keys, "two") && !knows(keys, "one"))));
    assert_eq!(issuer.asked(), 2, "twenty callers had the keys fetched more than once");

    let second = ring.current().unwrap();
    let waits = NOW.plus_micros(limits::TOKEN_KEYS_ASK_MICROS - 1);
    clock.set(waits);
    for _ in 0..1_000 {
        assert!(ring.newer(Some(&second)).await.is_none());
    }
    assert_eq!(issuer.asked(), 2, "tokens with made-up keys had the issuer asked again and again");
    clock.set(waits.plus_micros(1));
    assert!(ring.newer(Some(&second)).await.is_some());
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn the_last_keys_count_for_a_while_when_their_issuer_is_gone() {
    let issuer = Issuer::answering(http("200 OK", &set("one")), None).await;
    let clock = Arc::new(ManualClock::at(NOW));
    let ring = open(&issuer.url, None, &clock).await.unwrap();
    for answer in
        [http("503 Service Unavailable", ""), http("200 OK", "{}"), http("404 Not Found", ""), b"SSH-2.0\r\n".to_vec()]
    {
        issuer.say(answer).await;
        let KeyRing::Published(published) = &ring else { panic!("not from a file") };
        assert!(published.fetch().await.is_err());
        assert!(knows(&ring.current().unwrap(), "one"));
    }
    let end = NOW.plus_micros(limits::TOKEN_KEYS_AGE_MICROS_MAX);
    clock.set(Timestamp::from_micros(end.micros() - 1));
    assert!(ring.current().is_ok());
    clock.set(end);
    let error = ring.current().unwrap_err();
    assert_eq!((error.reason(), error.retry_delay()), (Reason::TokenKeysUnavailable, Some(RETRY)));
    issuer.say(http("200 OK", &set("two"))).await;
    assert!(knows(&ring.newer(None).await.unwrap(), "two") && ring.current().is_ok());
}

#[tokio::test]
async fn what_is_no_set_of_keys_stops_the_start_and_an_issuer_who_is_down_does_not() {
    let clock = Arc::new(ManualClock::at(NOW));
    let padded = |size: usize| format!("{}{}", set("one"), " ".repeat(size - set("one").len()));
    let full = http("200 OK", &padded(limits::TOKEN_KEYS_BYTES_MAX));
    for answer in [
        http("200 OK", "<html>"),
        http("200 OK", "{\"keys\": []}"),
        http("200 OK", "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"one\", \"k\": \"aHVudGVyMg\"}]}"),
        http("302 Found", &set("one")),
        http("307 Temporary Redirect", ""),
        http("401 Unauthorized", ""),
        http("404 Not Found", &set("one")),
        http("200 OK", &padded(limits::TOKEN_KEYS_BYTES_MAX + 1)),
    ] {
        let issuer = Issuer::answering(answer.clone(), None).await;
        let refused = open(&issuer.url, None, &clock).await;
        let refused = refused.err().map(|error| error.to_string());
        let start = String::from_utf8_lossy(&answer).chars().take(80).collect::<String>();
        assert!(refused.as_ref().is_some_and(|told| told.starts_with(&issuer.url)), "{start}: {refused:?}");
        assert_eq!(issuer.asked(), 1, "{start}");
    }
    let issuer = Issuer::answering(full, None).await;
    assert!(open(&issuer.url, None, &clock).await.unwrap().current().is_ok());

    for answer in [http("500 Internal Server Error", ""), http("429 Too Many Requests", ""), b"nonsense".to_vec()] {
        let issuer = Issuer::answering(answer, None).await;
        let ring = open(&issuer.url, None, &clock).await.unwrap();
        assert_eq!(ring.current().unwrap_err().reason(), Reason::TokenKeysUnavailable);
        issuer.say(http("200 OK", &set("one"))).await;
        assert!(knows(&ring.newer(None).await.unwrap(), "one"));
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(open(&format!("http://{nobody}/keys"), None, &clock).await.unwrap().current().is_err());
}

#[tokio::test]
async fn only_a_server_of_a_known_authority_is_the_issuers() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = [("ca.pem", &key), ("other.pem", &other)].map(|(name, certified)| {
        let path = folder.path().join(name);
        std::fs::write(&path, certified.cert.pem()).unwrap();
        path
    });
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(super::super::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let issuer = Issuer::answering(http("200 OK", &set("one")), Some(Arc::new(server).into())).await;
    let clock = Arc::new(ManualClock::at(NOW));
    let [ca, other] = files;
    assert!(open(&issuer.url, Some(ca), &clock).await.unwrap().current().is_ok());
    assert!(open(&issuer.url, Some(other), &clock).await.unwrap().current().is_err());
    assert_eq!(issuer.asked(), 1);
}
