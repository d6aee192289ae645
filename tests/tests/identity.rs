//! Who calls, end to end: the real binary with certificates of its own authority and with tokens, and everything that it
//! must not believe.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portreeve_tests::process::Process;
use portreeve_tests::{Database, within};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519, SanType, SigningKey as _};
use serde_json::{Value, json};

const REFER: [&str; 12] = [
    "refer",
    "https://harbourbook.example/pages/1",
    "--platform",
    "platforms/harbourbook",
    "--nature",
    "voluntary-referral",
    "--ground",
    "solicitation-of-service",
    "--statute",
    "Immigration Act 1971",
    "--reasons",
    "Asks",
];

/// A folder with authorities, certificates and data.
struct World(tempfile::TempDir);

/// What a command ended with.
#[derive(Debug)]
struct Said {
    success: bool,
    text: String,
}

impl World {
    /// A folder with an authority in `pki`, and whoever acts in the tests.
    async fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.done(&["pki", "init", "pki"]).await;
        for (organisation, member, roles) in [
            ("operators/op", "root", "operator"),
            ("agencies/nca", "j.doe", "officer"),
            ("platforms/harbourbook", "r.roe", "reviewer,policy-editor"),
        ] {
            world.issue("pki", organisation, member, roles).await;
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn run_with(&self, arguments: &[&str], environment: &[(&str, String)]) -> Said {
        let mut process = Process::start(arguments, environment.iter().cloned(), self.0.path()).unwrap();
        let success = within(60, arguments[0], process.ended()).await.unwrap().success();
        let text = within(60, arguments[0], process.all_said()).await;
        Said { success, text }
    }

    /// A command that must succeed.
    async fn done(&self, arguments: &[&str]) -> String {
        let said = self.run_with(arguments, &[]).await;
        assert!(said.success, "{arguments:?}: {}", said.text);
        said.text
    }

    async fn issue(&self, pki: &str, organisation: &str, member: &str, roles: &str) {
        let who = ["--organisation", organisation, "--member", member, "--roles", roles];
        self.done(&[&["pki", "issue", pki][..], &who].concat()).await;
    }

    /// A certificate of the authority that no command would make; gives its name.
    fn forge(&self, name: &str, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> String {
        let read = |file: &str| fs::read_to_string(self.path(file)).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("pki/ca.pem"), KeyPair::from_pem(&read("pki/ca.key")).unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        fs::write(self.path(&format!("pki/{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("pki/{name}.pem")), params.signed_by(&key, &issuer.unwrap()).unwrap().pem())
            .unwrap();
        name.to_owned()
    }

    async fn serve(&self, arguments: &[&str], cert: &str, more: &[(&str, String)]) -> (Process, SocketAddr) {
        let environment = [
            ("PORTREEVE_LISTEN", "127.0.0.1:0".to_owned()),
            ("PORTREEVE_LOG", "info".to_owned()),
            ("PORTREEVE_TLS_CERT", format!("{cert}.pem")),
            ("PORTREEVE_TLS_KEY", format!("{cert}.key")),
            ("PORTREEVE_TLS_CLIENT_CA", "pki/ca.pem".to_owned()),
            ("PORTREEVE_TLS_CRL", "pki/crl.pem".to_owned()),
        ];
        let environment = environment.into_iter().chain(more.iter().cloned());
        let mut process = Process::start(arguments, environment, self.0.path()).unwrap();
        let address = process.listens().await.unwrap();
        assert!(process.said().contains("https://"), "{}", process.said());
        (process, address)
    }

    /// A client command with a certificate, by its name.
    async fn call(&self, server: &str, cert: Option<&str>, arguments: &[&str]) -> Said {
        let mut environment = vec![("PORTREEVE_SERVER", server.to_owned()), ("PORTREEVE_CA", "pki/ca.pem".to_owned())];
        if let Some(cert) = cert {
            environment.push(("PORTREEVE_CERT", format!("{cert}.pem")));
            environment.push(("PORTREEVE_KEY", format!("{cert}.key")));
        }
        self.run_with(arguments, &environment).await
    }

    async fn called(&self, server: &str, cert: &str, arguments: &[&str]) -> String {
        let said = self.call(server, Some(cert), arguments).await;
        assert!(said.success, "{arguments:?}: {}", said.text);
        said.text
    }

    /// A call that must be refused, with all of these words.
    async fn refused(&self, server: &str, cert: Option<&str>, arguments: &[&str], words: &[&str]) {
        let said = self.call(server, cert, arguments).await;
        assert!(
            !said.success && words.iter().all(|word| said.text.contains(word)),
            "{cert:?} {words:?}: {}",
            said.text
        );
    }

    /// The organisations of the tests, made by the operator.
    async fn organisations(&self, server: &str) {
        let create = ["organisation", "create"];
        let (nca, harbourbook) =
            (["agencies/nca", "--name", "NCA"], ["platforms/harbourbook", "--name", "Harbourbook"]);
        self.called(server, "pki/operators-op-root", &[&create[..], &nca].concat()).await;
        let host = ["--host", "harbourbook.example"];
        self.called(server, "pki/operators-op-root", &[&create[..], &harbourbook, &host].concat()).await;
    }

    /// Asks again until the answer is as it should be: changed files are taken up within moments.
    async fn soon(&self, what: &str, mut ask: impl AsyncFnMut() -> bool) {
        within(30, what, async {
            while !ask().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).unwrap().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_who_calls_and_nothing_else_does() {
    let world = World::new().await;
    let (mut server, address) = world.serve(&["serve"], "pki/server", &[]).await;
    let url = format!("https://{address}");
    world.organisations(&url).await;
    let nca = "pki/agencies-nca-j.doe";
    assert!(world.called(&url, nca, &REFER).await.contains("agencies/nca/referrals/"));

    // Nobody, by whatever name; and over a plain connection.
    let claims = [&REFER[..], &["--as", "agencies/nca", "--roles", "officer"]].concat();
    world.refused(&url, None, &claims, &["UNAUTHENTICATED", "--cert"]).await;
    assert!(world.call(&url, None, &["health"]).await.success, "health is everybody's");
    world.refused(&format!("http://{address}"), Some(nca), &REFER, &[]).await;
    let other = ["--as", "agencies/bka"];
    world.refused(&url, Some(nca), &[&REFER[..], &other].concat(), &["agencies/nca"]).await;

    // Another authority, on either side.
    world.done(&["pki", "init", "other"]).await;
    world.issue("other", "agencies/nca", "j.doe", "officer").await;
    world.refused(&url, Some("other/agencies-nca-j.doe"), &REFER, &["UnknownCA", "authority"]).await;
    let distrusting = [&REFER[..], &["--tls-ca", "other/ca.pem"]].concat();
    world.refused(&url, Some(nca), &distrusting, &["does not trust the server's certificate"]).await;

    // Its time is over, or it is a server's.
    let officer = "portreeve://agencies/nca/members/j.doe?roles=officer";
    let past = world.forge("past", &[officer], |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1));
    world.refused(&url, Some(&format!("pki/{past}")), &REFER, &["CertificateExpired", "past its end"]).await;
    let server_only = world.forge("server-only", &[officer], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    world.refused(&url, Some(&format!("pki/{server_only}")), &REFER, &["does not trust"]).await;

    // A role too few.
    let platform = Some("pki/platforms-harbourbook-r.roe");
    world.refused(&url, platform, &REFER, &["PERMISSION_DENIED", "officer"]).await;
    world.issue("pki", "agencies/nca", "a.udit", "auditor").await;
    world.refused(&url, Some("pki/agencies-nca-a.udit"), &REFER, &["PERMISSION_DENIED", "officer"]).await;

    // Revoked: what is open is closed, and nothing new is opened. The others stay.
    world.issue("pki", "agencies/nca", "m.ole", "officer").await;
    let mole = "pki/agencies-nca-m.ole";
    let watch = ["watch", "referrals", "--from", "earliest"];
    let secured = [
        ("PORTREEVE_SERVER", url.clone()),
        ("PORTREEVE_CA", "pki/ca.pem".to_owned()),
        ("PORTREEVE_CERT", format!("{mole}.pem")),
        ("PORTREEVE_KEY", format!("{mole}.key")),
    ];
    let mut watching = Process::start(watch, secured, world.0.path()).unwrap();
    within(30, "the first event", watching.says("agencies/nca/referrals/")).await.unwrap();
    world.done(&["pki", "revoke", "pki", &format!("{mole}.pem")]).await;
    within(30, "the end of the connection", server.says("its certificate is no longer trusted")).await.unwrap();
    let stopped = within(30, "the end of the watch", watching.ended()).await.unwrap();
    let said = watching.all_said().await;
    assert!(!stopped.success() && said.contains("CertificateRevoked") && said.contains("it was revoked"), "{said}");
    world.refused(&url, Some(mole), &REFER, &["CertificateRevoked", "it was revoked"]).await;
    world.called(&url, nca, &REFER).await;

    // The server's own certificate is replaced, by one of another authority.
    for file in ["server.key", "server.pem"] {
        fs::copy(world.path(&format!("other/{file}")), world.path(&format!("pki/{file}"))).unwrap();
    }
    let renewed = [&REFER[..], &["--tls-ca", "other/ca.pem"]].concat();
    world.soon("the new certificate", async || world.call(&url, Some(nca), &renewed).await.success).await;

    for key in ["ca.key", "server.key", "agencies-nca-j.doe.key"] {
        assert_eq!(mode(&world.path(&format!("other/{key}"))), 0o600, "{key}");
    }
    server.terminate().unwrap();
    assert!(server.ended().await.unwrap().success(), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_say_it_properly_names_nobody() {
    let world = World::new().await;
    let (_server, address) = world.serve(&["serve"], "pki/server", &[]).await;
    let url = format!("https://{address}");
    let officer = "portreeve://agencies/nca?roles=officer";
    for (position, uris) in [
        &[][..],
        &["https://agencies/nca?roles=officer"],
        &["portreeve://agencies/nca"],
        &["portreeve://agencies/nca?roles=operator"],
        &["portreeve://agencies/nca/members/../../operators/op?roles=operator"],
        &["portreeve://agencies/nca?roles=officer&roles=operator"],
        &["portreeve://agencies/nca\0.operators/op?roles=officer"],
        &[officer, "portreeve://operators/op?roles=operator"],
        &[officer, officer],
    ]
    .iter()
    .enumerate()
    {
        // The command reads its own certificate first; the server must not rely on that.
        let hostile = world.forge(&format!("hostile-{position}"), uris, |_| {});
        let status = list(&world, address, &format!("pki/{hostile}")).await;
        assert_eq!(status, (tonic::Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()), "{uris:?}");
        world.refused(&url, Some(&format!("pki/{hostile}")), &REFER, &["certificate"]).await;
    }
}

/// Lists organisations with a certificate of whatever kind, and says in metadata who would like to.
async fn list(world: &World, address: SocketAddr, cert: &str) -> (tonic::Code, String) {
    use portreeve_api::clients::{self, Acting};
    use portreeve_api::referral::v1::ListOrganisationsRequest;
    use portreeve_core::time::{Clock, SystemClock};
    use portreeve_runtime::identity::client::ClientTls;

    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(SystemClock);
    let own = (world.path(&format!("{cert}.pem")), world.path(&format!("{cert}.key")));
    let tls = ClientTls::from_files(&world.path("pki/ca.pem"), Some((&own.0, &own.1)), &clock).unwrap();
    let channel = tls.connect_lazy(&clients::endpoint(&format!("https://{address}")).unwrap());
    let mut organisations = clients::organisation(channel, Acting::new("operators/op").unwrap());
    let status = organisations.list_organisations(ListOrganisationsRequest::default()).await.unwrap_err();
    (status.code(), portreeve_tests::refusal(&status).reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_says_who_calls() {
    let world = World::new().await;
    let (key, stranger) =
        (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let keys = |key: &KeyPair| {
        let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]}).to_string()
    };
    fs::write(world.path("jwks.json"), keys(&key)).unwrap();
    let tokens = [
        ("PORTREEVE_TOKEN_JWKS", "jwks.json".to_owned()),
        ("PORTREEVE_TOKEN_ISSUER", "https://login.example".to_owned()),
        ("PORTREEVE_TOKEN_AUDIENCE", "portreeve".to_owned()),
    ];
    let (_server, address) = world.serve(&["serve"], "pki/server", &tokens).await;
    let url = format!("https://{address}");
    world.organisations(&url).await;

    let claims = json!({
        "iss": "https://login.example", "aud": "portreeve", "exp": 4_000_000_000_u64,
        "organisation": "agencies/nca", "member": "j.doe", "roles": ["officer"],
    });
    let with = |key: &str, value: Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        claims
    };
    let good = token(&key, &claims);
    let refer = async |cert: Option<&str>, token: &str| {
        world.call(&url, cert, &[&REFER[..], &["--token", token]].concat()).await
    };
    let said = refer(None, &good).await;
    assert!(said.success && said.text.contains("agencies/nca/referrals/"), "{}", said.text);
    for (cert, token, reason) in [
        (None, token(&stranger, &claims), "CREDENTIAL_INVALID"),
        (None, token(&key, &with("aud", json!("another"))), "CREDENTIAL_INVALID"),
        (None, token(&key, &with("iss", json!("https://login.test"))), "CREDENTIAL_INVALID"),
        (None, token(&key, &with("exp", json!(1_700_000_000))), "CREDENTIAL_EXPIRED"),
        (None, token(&key, &with("roles", json!(["approver"]))), "PERMISSION_DENIED"),
        (Some("pki/platforms-harbourbook-r.roe"), good.clone(), "CREDENTIAL_INVALID"),
    ] {
        let said = refer(cert, &token).await;
        assert!(!said.success && said.text.contains(reason), "{reason}: {}", said.text);
    }
    // The issuer changes its keys.
    fs::write(world.path("jwks.json"), keys(&stranger)).unwrap();
    let renewed = token(&stranger, &claims);
    world.soon("the new keys", async || refer(None, &renewed).await.success).await;
    assert!(!refer(None, &good).await.success);
}

fn token(key: &KeyPair, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": "one"})), part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()))
}

portreeve_tests::on_both_engines!(three_secured_services_play_a_referral_through);

async fn three_secured_services_play_a_referral_through(database: &Database) {
    let world = World::new().await;
    let url = match database {
        Database::Sqlite { .. } => database.to_string(),
        // As it is shown it leaves the user out.
        Database::Postgres { url } => url.clone(),
    };
    let database = ("PORTREEVE_DATABASE", url);
    for service in ["decision", "reporting"] {
        let organisation = format!("services/{service}");
        world.done(&["pki", "issue", "pki", "--organisation", &organisation, "--roles", "service"]).await;
    }
    let (_referral, address) = world.serve(&["serve", "referral"], "pki/server", std::slice::from_ref(&database)).await;
    let referral = format!("https://{address}");
    let referral_url = ("PORTREEVE_REFERRAL_URL", referral.clone());
    let (_decision, address) =
        world.serve(&["serve", "decision"], "pki/services-decision", &[database.clone(), referral_url.clone()]).await;
    let decision = format!("https://{address}");
    let decision_url = ("PORTREEVE_DECISION_URL", decision.clone());
    let (_reporting, address) =
        world.serve(&["serve", "reporting"], "pki/services-reporting", &[database, referral_url, decision_url]).await;
    let servers = format!("referral={referral},decision={decision},reporting=https://{address}");

    world.organisations(&servers).await;
    let (nca, platform) = ("pki/agencies-nca-j.doe", "pki/platforms-harbourbook-r.roe");
    let referred = world.called(&servers, nca, &REFER).await;
    let uuid = referred.lines().next().unwrap().rsplit('/').next().unwrap().to_owned();
    let changes = world.called(&servers, platform, &["watch", "cases", "--from", "earliest", "--count", "1"]).await;
    assert!(changes.contains(&uuid), "{changes}");
    let digest = "0".repeat(64);
    let clause = ["clause", "add", "requests", "--title", "Requests", "--text-digest", &digest];
    let since = ["--effective-from", "2019-01-01", "--permits", "Asking"];
    world.called(&servers, platform, &[&clause[..], &since].concat()).await;
    world.called(&servers, platform, &["inbox", "--status", "submitted", "--acknowledge"]).await;
    let decide = ["decide", &uuid, "--outcome", "no-action-permitted-by-policy", "--clauses", "requests@1"];
    let decided = world.called(&servers, platform, &decide).await;
    let revision = decided.lines().find_map(|line| line.strip_prefix("revision: ")).unwrap().to_owned();
    let inbox = world.called(&servers, nca, &["inbox", "--format", "json"]).await;
    let day = inbox.split("\"submittedAt\":\"").nth(1).unwrap().get(..10).unwrap().to_owned();
    let report = world.called(&servers, nca, &["report", "--cohort", &day, "--at-least", &revision]).await;
    assert!(report.contains("1 referred  =  0 closed  +  1 not in breach  +  0 undecided  +  0 other"), "{report}");
    // The services are callers like others: their certificates do not make them agencies.
    world.refused(&servers, Some("pki/services-decision"), &REFER, &["PERMISSION_DENIED"]).await;
}
