//! docker-compose.yml, run without a container engine: the file is read, its roles and schemas are made by its own
//! script, its three services are started by its own commands and variables, and the demo is played through them. Only
//! where Postgres is, and ports that others may hold, are replaced.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use portreeve_api::clients::{self, Acting};
use portreeve_api::reporting::v1::{QueryReportRequest, Report, ReportDefinition};
use portreeve_storage::conformance::fixture::POSTGRES;
use portreeve_tests::process::{Process, free_address, root};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// The services with a schema and a role each, in the order in which they need each other.
const SERVICES: [&str; 3] = ["referral", "decision", "reporting"];
/// The database that the test makes anew.
const DATABASE: &str = "portreeve_compose";
/// Where the containers find Postgres and their database.
const POSTGRES_OF_THE_FILE: &str = "127.0.0.1:5432/portreeve";
/// How long a service may take until its health check succeeds.
const HEALTHY: Duration = Duration::from_mins(1);
/// What Postgres calls a refusal for want of privilege.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    configs: BTreeMap<String, Config>,
    volumes: BTreeMap<String, Option<BTreeMap<String, String>>>,
}

#[derive(Debug, Deserialize)]
struct Service {
    image: String,
    build: Option<Build>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    network_mode: Option<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: HealthCheck,
    #[serde(default)]
    configs: Vec<Mount>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Build {
    context: String,
    dockerfile: String,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Debug, Deserialize)]
struct HealthCheck {
    test: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Mount {
    source: String,
    target: String,
}

#[derive(Debug, Deserialize)]
struct Config {
    content: String,
}

/// The file as compose reads it where none of its variables is set.
fn read() -> Compose {
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let mut interpolated = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').unwrap();
        let (_, default) = variable.split_once(":-").expect("a variable with a default");
        interpolated.push_str(before);
        interpolated.push_str(default);
        rest = after;
    }
    interpolated.push_str(rest);
    let mut said = interpolated.lines().filter(|line| !line.trim_start().starts_with('#'));
    assert!(!said.any(|line| line.contains('$')), "the test reads ${{NAME:-default}} only");
    serde_saphyr::from_str(&interpolated).unwrap()
}

#[test]
fn the_file_keeps_its_promises() {
    let compose = read();
    let postgres = &compose.services["postgres"];
    assert_eq!(postgres.image, "postgres:17");
    let volume = postgres.volumes.iter().find_map(|volume| volume.strip_suffix(":/var/lib/postgresql/data")).unwrap();
    assert!(compose.volumes.contains_key(volume));
    assert!(postgres.configs.iter().all(|mount| mount.target.starts_with("/docker-entrypoint-initdb.d/")));
    // Without this the image trusts whoever comes over loopback, and that is everybody here.
    assert_eq!(postgres.environment["POSTGRES_INITDB_ARGS"], "--auth-host=scram-sha-256");
    // The bytes of evidence outlive the container, and so does the key under which interests are matched.
    let referral = &compose.services["referral"];
    assert_eq!(referral.environment["PORTREEVE_EVIDENCE"], "file:evidence");
    assert_eq!(referral.environment["PORTREEVE_MATCHING_KEY"], "keys/matching.key");
    for kept in ["evidence", "keys"] {
        let mut mounted = referral.volumes.iter().filter_map(|volume| volume.split_once(':'));
        let volume = mounted.find(|(_, folder)| *folder == format!("/var/lib/portreeve/{kept}")).unwrap().0;
        assert!(compose.volumes.contains_key(volume));
    }
    let script = script(&compose);
    assert_eq!(compose.services.len(), 1 + SERVICES.len());
    for name in SERVICES {
        let service = &compose.services[name];
        assert_eq!(service.command, ["portreeve", "serve", name]);
        assert_eq!(service.network_mode.as_deref(), Some("service:postgres"));
        assert!(service.ports.is_empty(), "{name} publishes a port that leads nowhere");
        assert_eq!(service.depends_on["postgres"].condition, "service_healthy");
        let url = &service.environment["PORTREEVE_DATABASE"];
        let credentials = url.strip_prefix("postgres://").and_then(|url| url.strip_suffix(POSTGRES_OF_THE_FILE));
        let (role, password) = credentials.and_then(|text| text.strip_suffix('@')).unwrap().split_once(':').unwrap();
        assert_eq!(role, name);
        assert!(script.contains(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}';")), "{name}");
        for schema in [name.to_owned(), format!("\"{name}-access\"")] {
            assert!(script.contains(&format!("CREATE SCHEMA {schema} AUTHORIZATION {role};")), "{schema}");
        }
        let build = service.build.as_ref().unwrap();
        let dockerfile = root().join(&build.context).join(&build.dockerfile);
        let text = std::fs::read_to_string(dockerfile).unwrap();
        assert!(text.matches("\nFROM ").count() == 2 && text.contains("\nUSER portreeve\n"), "{text}");
        assert!(
            text.contains("\nWORKDIR /var/lib/portreeve\n") && text.contains("\nRUN mkdir evidence keys\n"),
            "{text}"
        );
    }
}

/// What Postgres runs when its data folder is new.
fn script(compose: &Compose) -> String {
    let mounts = &compose.services["postgres"].configs;
    mounts.iter().map(|mount| compose.configs[&mount.source].content.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_plays_through_the_services_of_the_file() {
    let compose = read();
    let (server, mut admin) = fresh_database(&script(&compose)).await;
    let here = Here::new(&compose, &server);
    let folder = tempfile::tempdir().unwrap();
    let mut running = BTreeMap::new();
    for name in SERVICES {
        running.insert(name, here.start(&compose.services[name], folder.path()));
    }
    for name in SERVICES {
        here.healthy(&compose.services[name], running.get(name).unwrap(), folder.path()).await;
    }

    // As the file tells to do it with `docker compose exec referral`, and once more: that changes nothing.
    let exec = here.environment(&compose.services["referral"]);
    let mut digest = None;
    for _ in 0..2 {
        let demo =
            Process::start(["demo", "--server", &exec["PORTREEVE_SERVER"]], exec.clone(), folder.path()).unwrap();
        let said = demo.succeeds().await.unwrap();
        for total in ["1,218", "578", "485", "155"] {
            assert!(said.contains(total), "{total}: {said}");
        }
        let report = committee(&here.at(&compose.services["reporting"])).await;
        let counts = report.total.unwrap().counts.unwrap();
        let totals = (counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other);
        assert_eq!(totals, (1_218, 578, 485, 155, 0));
        assert_eq!(*digest.get_or_insert(report.digest.clone()), report.digest);
    }

    for name in SERVICES {
        only_its_own_schema(name, &here.environment(&compose.services[name])["PORTREEVE_DATABASE"]).await;
    }
    // All at once, as compose does it.
    for process in running.values() {
        process.terminate().unwrap();
    }
    for (name, process) in &mut running {
        let status = process.ended().await.unwrap();
        assert!(status.success(), "{name}: {status}\n{}", process.said());
    }
    admin.execute("SELECT pg_advisory_unlock_all()").await.unwrap();
}

/// A database without anything in it but what the script made. Roles belong to the whole server, so one test at a time.
async fn fresh_database(script: &str) -> (String, PgConnection) {
    let server =
        std::env::var(POSTGRES).expect("PORTREEVE_TEST_POSTGRES names a Postgres server; tests/run starts one");
    let mut admin = PgConnection::connect(&server).await.unwrap();
    admin.execute("SELECT pg_advisory_lock(hashtext('portreeve compose test'))").await.unwrap();
    admin.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))).await.unwrap();
    for role in SERVICES {
        admin.execute(AssertSqlSafe(format!("DROP ROLE IF EXISTS {role}"))).await.unwrap();
    }
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}"))).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    let mut superuser = PgConnection::connect(&format!("{base}/{DATABASE}")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut superuser).await.unwrap();
    (base.to_owned(), admin)
}

/// What of the file is replaced, and by what.
struct Here(Vec<(String, String)>);

impl Here {
    fn new(compose: &Compose, server: &str) -> Self {
        let host = server.rsplit_once(['@', '/']).unwrap().1;
        let mut replaced = vec![(POSTGRES_OF_THE_FILE.to_owned(), format!("{host}/{DATABASE}"))];
        for service in SERVICES.map(|name| &compose.services[name]) {
            for address in ["PORTREEVE_LISTEN", "PORTREEVE_METRICS_LISTEN"].map(|key| &service.environment[key]) {
                replaced.push((address.clone(), free_address().unwrap().to_string()));
            }
        }
        Self(replaced)
    }

    fn replace(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn environment(&self, service: &Service) -> BTreeMap<String, String> {
        service.environment.iter().map(|(key, value)| (key.clone(), self.replace(value))).collect()
    }

    fn at(&self, service: &Service) -> String {
        format!("http://{}", self.environment(service)["PORTREEVE_LISTEN"])
    }

    /// Runs a command of the file, whose first word is the binary in the image.
    fn run(&self, command: &[String], service: &Service, folder: &Path) -> Process {
        let (program, arguments) = command.split_first().unwrap();
        assert_eq!(program, "portreeve");
        let arguments = arguments.iter().map(|argument| self.replace(argument));
        Process::start(arguments, self.environment(service), folder).unwrap()
    }

    fn start(&self, service: &Service, folder: &Path) -> Process {
        self.run(&service.command, service, folder)
    }

    /// Asks as compose asks, only more often.
    async fn healthy(&self, service: &Service, process: &Process, folder: &Path) {
        let (how, command) = service.healthcheck.test.split_first().unwrap();
        assert_eq!(how, "CMD");
        let healthy = async {
            while self.run(command, service, folder).succeeds().await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(HEALTHY, healthy).await.unwrap_or_else(|_| panic!("not healthy: {}", process.said()));
    }
}

/// The committee's report, asked of the reporting service.
async fn committee(url: &str) -> Report {
    let channel = clients::endpoint(url).unwrap().connect().await.unwrap();
    let mut reports = clients::reporting(channel, Acting::new("oversightBodies/home-affairs").unwrap());
    let definition = ReportDefinition {
        cohort_from_date: "2020-01-01".to_owned(),
        cohort_until_date: "2020-05-31".to_owned(),
        as_of_date: "2020-09-03".to_owned(),
        ..ReportDefinition::default()
    };
    let request = QueryReportRequest { definition: Some(definition), at_least: Vec::new() };
    reports.query_report(request).await.unwrap().into_inner().report.unwrap()
}

/// A role reads and writes its own tables, and nobody else's.
async fn only_its_own_schema(role: &str, url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let own = AssertSqlSafe(format!("SELECT count(*) FROM {role}.event"));
    let events: i64 = sqlx::query_scalar(own).fetch_one(&mut connection).await.unwrap();
    assert!(events > 0, "{role}");
    let mut attempts = vec![
        "CREATE TABLE public.another (id BIGINT)".to_owned(),
        "CREATE SCHEMA another".to_owned(),
        "CREATE ROLE another".to_owned(),
    ];
    for other in SERVICES.into_iter().filter(|other| *other != role) {
        attempts.extend([
            format!("SELECT count(*) FROM {other}.event"),
            format!("UPDATE {other}.event_head SET last = last + 1"),
            format!("DELETE FROM {other}.event"),
            format!("DROP TABLE {other}.event"),
            format!("CREATE TABLE {other}.another (id BIGINT)"),
            format!("SELECT count(*) FROM \"{other}-access\".event"),
            format!("DELETE FROM \"{other}-access\".event"),
            format!("SET ROLE {other}"),
        ]);
    }
    for attempt in attempts {
        let refused = sqlx::raw_sql(AssertSqlSafe(attempt.clone())).execute(&mut connection).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
        assert_eq!(code.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{role}: {attempt}: {refused}");
    }
}
