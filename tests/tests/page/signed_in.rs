//! Who looks at a secured server's page: whom a certificate names, or the token with which a browser signed in.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portreeve_tests::process::Process;
use portreeve_tests::within;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Answer;

/// A browser with the operator's certificate, or with none.
struct Browser {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Browser {
    fn new(address: SocketAddr, pki: &Path, certified: bool) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = if certified {
            let file = |kind: &str| pki.join(format!("operators-op-root.{kind}"));
            let chain = CertificateDer::pem_file_iter(file("pem")).unwrap().map(Result::unwrap).collect();
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file("key")).unwrap()).unwrap()
        } else {
            config.with_no_client_auth()
        };
        Self { address, tls: TlsConnector::from(Arc::new(config)) }
    }

    async fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.tls.connect(name, stream).await.unwrap();
        let length = body.len();
        let request = format!("{line} HTTP/1.0\r\n{headers}content-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // Some servers end without TLS's own word; what came before is what counts.
        _ = within(20, line, stream.read_to_end(&mut bytes)).await;
        Answer::parse(&String::from_utf8(bytes).unwrap())
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        let host = format!("host: localhost:{}\r\n", self.address.port());
        self.ask(&format!("GET {path}"), &format!("{host}{headers}"), "").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_is_known_by_certificate_or_by_token() {
    let folder = tempfile::tempdir().unwrap();
    let operator = ["--organisation", "operators/op", "--member", "root", "--roles", "operator"];
    for arguments in [&["pki", "init", "pki"][..], &[&["pki", "issue", "pki"][..], &operator].concat()] {
        let process = Process::start(arguments, [("PATH", "")], folder.path()).unwrap();
        within(60, "pki", process.succeeds()).await.unwrap();
    }
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]});
    fs::write(folder.path().join("jwks.json"), keys.to_string()).unwrap();
    let settings = [
        ("PORTREEVE_LISTEN", "127.0.0.1:0"),
        ("PORTREEVE_TLS_CERT", "pki/server.pem"),
        ("PORTREEVE_TLS_KEY", "pki/server.key"),
        ("PORTREEVE_TLS_CLIENT_CA", "pki/ca.pem"),
        ("PORTREEVE_TLS_CRL", "pki/crl.pem"),
        ("PORTREEVE_TOKEN_JWKS", "jwks.json"),
        ("PORTREEVE_TOKEN_ISSUER", "https://login.example"),
        ("PORTREEVE_TOKEN_AUDIENCE", "portreeve"),
    ];
    let mut server = Process::start(["serve"], settings, folder.path()).unwrap();
    let address = server.listens().await.unwrap();
    let pki = folder.path().join("pki");
    let (known, unknown) = (Browser::new(address, &pki, true), Browser::new(address, &pki, false));

    let page = known.get("/report", "").await;
    assert!(page.status == 200 && page.body.contains("Looking as <strong>operators/op:root"), "{}", page.body);
    // A secured server has a name of its own.
    assert_eq!(known.ask("GET /report", "host: portreeve.example\r\n", "").await.status, 200);
    // What a visitor says of himself is not believed.
    let nobody = unknown.get("/report?as=oversightBodies/hac", "").await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.body.contains("By certificate") && nobody.body.contains("By token"), "{}", nobody.body);
    assert!(!nobody.body.contains("Look as") && !nobody.body.contains("data-figure"), "{}", nobody.body);

    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": "https://login.example", "aud": "portreeve", "exp": 4_000_000_000_u64,
        "organisation": "operators/op", "member": "root", "roles": ["operator"],
    });
    let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": "one"})), part(&claims));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()));
    let own = format!("host: localhost:{0}\r\norigin: https://localhost:{0}\r\n", address.port());
    let sign_in = async |headers: &str, token: &str| {
        unknown.ask("POST /report/sign-in", headers, &format!("token={token}")).await
    };
    let signed_in = sign_in(&own, &token).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.head);
    let cookie = signed_in.head_line("set-cookie");
    for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(unknown.get("/report", &cookie).await.status, 200);
    let forged = unknown.get("/report", &format!("{}x\r\n", cookie.trim_end())).await;
    assert!(forged.status == 401 && forged.body.contains("CREDENTIAL_INVALID"), "{}", forged.body);
    // Served under its name, its form is its own; another site's is not, nor is what is no token.
    let named = "host: portreeve.example\r\norigin: https://portreeve.example\r\n";
    assert_eq!(sign_in(named, &token).await.status, 303);
    for origin in ["https://evil.example", "http://portreeve.example", "https://portreeve.example.evil.example"] {
        assert_eq!(sign_in(&format!("host: portreeve.example\r\norigin: {origin}\r\n"), &token).await.status, 403);
    }
    assert_eq!(sign_in(&own, "a;b").await.status, 400);
    let out = unknown.ask("POST /report/sign-out", &own, "").await;
    assert!(out.status == 303 && out.head_line("set-cookie").contains("Max-Age=0"), "{}", out.head);
    server.kill().await.unwrap();
}
