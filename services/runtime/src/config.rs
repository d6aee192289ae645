//! The configuration: one typed table, filled from flags over `PORTREEVE_*` variables over one TOML file over defaults.
//!
//! An unknown key, a value that does not fit and a combination that is not safe stop the start. All of them are told at
//! once, each with its key, where it came from, and what would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use figment::providers::{Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use portreeve_core::consultation::Policy;
use portreeve_storage::{Database, Place};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{channel, identity};

/// What the names of the environment's variables begin with.
const ENVIRONMENT_PREFIX: &str = "PORTREEVE_";
/// The variable that names the file.
const FILE_VARIABLE: &str = "PORTREEVE_CONFIG";
/// Variables of the client commands: where the server is, and who acts. No keys of a server.
const CLIENT_VARIABLES: [&str; 9] = ["server", "as", "organisation", "member", "roles", "ca", "cert", "key", "token"];
/// The file that is read if none is named and it exists.
const FILE: &str = "portreeve.toml";

/// The configuration of a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the data is: `sqlite:FOLDER` (a file per service in that folder, made if it does not exist) or
    /// `postgres://USER:PASSWORD@HOST/NAME` (a schema per service in that database).
    pub database: String,
    /// The address and port of the server. Without `tls_cert` it must be a loopback address: such a server is open (it
    /// believes callers who they are), or takes tokens that others could read. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the referral service is, such as `http://127.0.0.1:7401`. For `serve decision` and `serve reporting`.
    pub referral_url: Option<String>,
    /// Where the decision service is, such as `http://127.0.0.1:7402`. For `serve reporting`.
    pub decision_url: Option<String>,
    /// The file with the Ed25519 key that checkpoints of the logs are signed with (PKCS#8 in PEM); made if it does not
    /// exist. If unset: `audit.key` in the data folder; on Postgres none, and no checkpoints. Replicas need the same one.
    pub audit_key: Option<String>,
    /// The file with the key under which targets are matched that agencies have an interest in (32 bytes in base64); made if it does
    /// not exist. If unset: `matching.key` in the data folder; on Postgres none, and no interests are taken. Replicas need the same
    /// one. For the referral service.
    pub matching_key: Option<String>,
    /// Where the bytes of evidence are kept, apart from the data: `file:FOLDER` (made if it does not exist) or
    /// `s3://BUCKET/PREFIX` (whatever speaks S3; where it is, and with which keys, is said by the AWS variables of the
    /// environment: `AWS_ENDPOINT`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`). If unset: the folder `evidence` in
    /// the data folder; on Postgres none, and no evidence is taken. Replicas need the same one. For the referral service.
    pub evidence: Option<String>,
    /// The address and port of the Prometheus metrics (`/metrics`). Not served if unset.
    pub metrics_listen: Option<SocketAddr>,
    /// How log lines are written: `text` or `json`.
    pub log_format: LogFormat,
    /// What is logged: a level, or levels per module such as `info,portreeve_storage=debug`.
    pub log: String,
    /// Where traces are sent, by OTLP over gRPC, such as `http://127.0.0.1:4317`. Not sent if unset.
    pub otlp_endpoint: Option<String>,
    /// The file with the server's certificate and those between it and its authority, as PEM; with it and `tls_key`,
    /// connections are secured (TLS 1.3) and callers must say who they are by a certificate or a token. A service of the
    /// suite that runs alone shows the same certificate to the others. Changed files are taken up while the server runs.
    pub tls_cert: Option<String>,
    /// The file with the certificate's private key, as PEM.
    pub tls_key: Option<String>,
    /// The file with the authorities whose certificates name callers, as PEM.
    pub tls_client_ca: Option<String>,
    /// The file with those authorities' lists of revoked certificates, as PEM: one of each authority.
    pub tls_crl: Option<String>,
    /// The file with the authorities of the suite's other services, as PEM; `tls_client_ca` if unset.
    pub tls_server_ca: Option<String>,
    /// The public keys of the issuer of bearer tokens, a JSON Web Key Set: a file, or the https:// URL where the issuer
    /// publishes it (http:// on this machine only). Changes are taken up: a file's at once, published ones every five
    /// minutes and, at most twice a minute, when a token names an unknown key. While the issuer does not answer, the last
    /// keys count for six hours.
    pub token_jwks: Option<String>,
    /// The file with the authorities whose servers are believed to be the issuer's, as PEM; those that the system trusts if
    /// unset.
    pub token_jwks_ca: Option<String>,
    /// The issuer of tokens, as their `iss` has it.
    pub token_issuer: Option<String>,
    /// For whom tokens must be meant, as their `aud` has it.
    pub token_audience: Option<String>,
    /// How long calls under way may take once the server has been told to stop, in seconds: 1 to 3600.
    #[schemars(range(min = 1, max = 3600))]
    pub drain_seconds: u32,
    /// How many days ago a fact may have occurred to be told without the import role.
    pub max_backdating_days: u32,
    /// Whether callers must say why they read, in the metadata `portreeve-justification`: `optional` or `required`. What
    /// they say is kept in the access logs.
    pub justification: Justification,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: "sqlite:portreeve-data".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            referral_url: None,
            decision_url: None,
            audit_key: None,
            matching_key: None,
            evidence: None,
            metrics_listen: None,
            log_format: LogFormat::Text,
            log: "info".into(),
            otlp_endpoint: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            tls_crl: None,
            tls_server_ca: None,
            token_jwks: None,
            token_jwks_ca: None,
            token_issuer: None,
            token_audience: None,
            drain_seconds: 20,
            max_backdating_days: 30,
            justification: Justification::Optional,
        }
    }
}

/// Whether callers must say why they read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Justification {
    /// It is recorded where it is given.
    #[default]
    Optional,
    /// Nothing is read without one.
    Required,
}

impl From<Justification> for Policy {
    fn from(justification: Justification) -> Self {
        match justification {
            Justification::Optional => Self::Optional,
            Justification::Required => Self::Required,
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The configuration as flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, clap::Args)]
#[command(next_help_heading = "Configuration (also as PORTREEVE_* variables or in a TOML file)")]
pub struct Options {
    /// The TOML file; portreeve.toml if that exists [env: PORTREEVE_CONFIG]
    #[arg(long = "config", value_name = "FILE")]
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where the data is: sqlite:FOLDER or postgres://USER@HOST/NAME [default: sqlite:portreeve-data]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The address and port of the server [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where the referral service is
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_url: Option<String>,
    /// Where the decision service is
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_url: Option<String>,
    /// The file with the key that checkpoints are signed with [default: audit.key in the data folder]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_key: Option<String>,
    /// The file with the key under which targets are matched [default: matching.key in the data folder]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matching_key: Option<String>,
    /// Where the bytes of evidence are kept: file:FOLDER or s3://BUCKET/PREFIX [default: evidence in the data folder]
    #[arg(long, value_name = "PLACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// The address and port of the Prometheus metrics
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// What is logged: a level, or levels per module [default: info]
    #[arg(long, value_name = "LEVELS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Where traces are sent, by OTLP over gRPC
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// The server's certificate, as PEM; secures connections
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<String>,
    /// Its private key, as PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<String>,
    /// The authorities whose certificates name callers, as PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<String>,
    /// Their lists of revoked certificates, as PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_crl: Option<String>,
    /// The authorities of the suite's other services [default: those of --tls-client-ca]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_ca: Option<String>,
    /// The public keys of the issuer of bearer tokens: a JSON Web Key Set, as a file or where the issuer publishes it
    #[arg(long, value_name = "FILE|URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_jwks: Option<String>,
    /// The authorities of the issuer's server [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_jwks_ca: Option<String>,
    /// The issuer of bearer tokens
    #[arg(long, value_name = "ISSUER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_issuer: Option<String>,
    /// For whom bearer tokens must be meant
    #[arg(long, value_name = "AUDIENCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_audience: Option<String>,
    /// How long calls may still take once the server has been told to stop [default: 20]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u32>,
    /// How many days ago a fact may have occurred without the import role [default: 30]
    #[arg(long, value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backdating_days: Option<u32>,
    /// Whether callers must say why they read [default: optional]
    #[arg(long, value_name = "WHETHER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub justification: Option<Justification>,
}

/// What a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All three services, on one port.
    #[value(skip)]
    Suite,
    /// The referral service alone.
    Referral,
    /// The decision service alone.
    Decision,
    /// The reporting service alone.
    Reporting,
}

/// Why the configuration was refused: a line for each thing that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Where the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The flags.
    pub options: Options,
    /// The environment's variables; those without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// The folder in which `portreeve.toml` is looked for.
    pub folder: PathBuf,
}

impl Sources {
    /// The flags given, this process's environment and its working folder.
    pub fn of_process(options: Options) -> Self {
        // A variable of ours that is not UTF-8 is kept, as far as it can be read, and then refused by its key.
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(key, value)| (text(key), text(value))).collect();
        Self { options, environment, folder: PathBuf::new() }
    }
}

/// The configuration with where each value came from.
#[derive(Clone, Debug)]
pub struct Settings {
    config: Config,
    origins: BTreeMap<String, String>,
}

impl Settings {
    /// Reads all the sources. What is wrong in itself is refused here, what is wrong for what is to be run in
    /// [`Settings::for_part`].
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let layers = Layer::all(sources)?;
        let known = known_keys();
        let mut wrong = Vec::new();
        for layer in &layers {
            for key in layer.values.keys().filter(|key| !known.contains(*key)) {
                wrong.push(format!("{}: there is no such key; the keys are {}", layer.name(key), known.join(", ")));
            }
        }
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        let mut origins = BTreeMap::new();
        for mut layer in layers {
            layer.values.retain(|key, _| known.contains(key));
            origins.extend(layer.values.keys().map(|key| (key.clone(), layer.name(key))));
            figment = figment.merge(layer);
        }
        let config = figment.extract::<Config>().map_err(|errors| {
            for error in errors {
                let key = error.path.join(".");
                let name = origins.get(&key).cloned().unwrap_or(key);
                wrong.push(format!("{name}: {}", error.kind));
            }
        });
        let Ok(config) = config else { return Err(ConfigError(wrong)) };
        let settings = Self { config, origins };
        settings.check_values(&mut wrong);
        if wrong.is_empty() { Ok(settings) } else { Err(ConfigError(wrong)) }
    }

    /// A configuration that comes from nowhere, checked like any other.
    #[cfg(test)]
    pub(crate) fn of(config: Config) -> Result<Self, ConfigError> {
        let settings = Self { config, origins: BTreeMap::new() };
        let mut wrong = Vec::new();
        settings.check_values(&mut wrong);
        if wrong.is_empty() { Ok(settings) } else { Err(ConfigError(wrong)) }
    }

    /// The configuration, whatever is to be run with it; for showing it.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration for running a part. Refuses what that part cannot do, or cannot do safely.
    pub fn for_part(self, part: Part) -> Result<Config, ConfigError> {
        let mut wrong = Vec::new();
        let config = &self.config;
        identity::settings::check(config, part, &|key| self.name(key), &mut wrong);
        let addresses = [
            ("referral_url", &config.referral_url, matches!(part, Part::Decision | Part::Reporting)),
            ("decision_url", &config.decision_url, part == Part::Reporting),
        ];
        for (key, url, needed) in addresses {
            let service = key.trim_end_matches("_url");
            match url {
                None if needed => wrong.push(format!(
                    "{}: missing; without the suite beside it, this service must be told where the {service} service is, \
                     such as {ENVIRONMENT_PREFIX}{}=http://127.0.0.1:7401",
                    self.name(key),
                    key.to_uppercase()
                )),
                // It would follow the one and serve the other.
                Some(_) if part == Part::Suite => wrong.push(format!(
                    "{}: this process runs the {service} service itself; unset it, or run the services apart",
                    self.name(key)
                )),
                _ => {}
            }
        }
        if wrong.is_empty() { Ok(self.config) } else { Err(ConfigError(wrong)) }
    }

    fn check_values(&self, wrong: &mut Vec<String>) {
        let config = &self.config;
        if let Err(error) = config.database.parse::<Database>() {
            wrong.push(format!("{}: {}", self.name("database"), error.message()));
        }
        if let Some(Err(error)) = config.evidence.as_deref().map(str::parse::<Place>) {
            wrong.push(format!("{}: {}", self.name("evidence"), error.message()));
        }
        let urls = [
            ("referral_url", &config.referral_url),
            ("decision_url", &config.decision_url),
            ("otlp_endpoint", &config.otlp_endpoint),
        ];
        for (key, url) in urls {
            if let Some(Err(error)) = url.as_deref().map(channel::check) {
                wrong.push(format!("{}: {error}", self.name(key)));
            }
        }
        let published = config.token_jwks.as_deref().filter(|place| identity::keys::is_url(place));
        if let Some(Err(what)) = published.map(identity::fetch::check) {
            wrong.push(format!("{}: {what}", self.name("token_jwks")));
        }
        if config.otlp_endpoint.as_deref().is_some_and(|url| url.starts_with("https:")) {
            wrong.push(format!("{}: traces are sent over plain connections, http://", self.name("otlp_endpoint")));
        }
        if config.metrics_listen.is_some_and(|address| address == config.listen && address.port() != 0) {
            wrong.push(format!(
                "{}: {} is the server's own address; metrics have a port of their own",
                self.name("metrics_listen"),
                config.listen
            ));
        }
        if !(1..=3_600).contains(&config.drain_seconds) {
            wrong.push(format!("{}: must be 1 to 3600 seconds", self.name("drain_seconds")));
        }
        if let Err(error) = config.log.parse::<tracing_subscriber::filter::Targets>() {
            wrong.push(format!("{}: {error}; use a level or levels per module, such as info", self.name("log")));
        }
    }

    /// A key with where its value came from.
    fn name(&self, key: &str) -> String {
        self.origins.get(key).cloned().unwrap_or_else(|| key.to_owned())
    }
}

impl Config {
    /// Where the data is.
    pub fn database(&self) -> portreeve_core::Result<Database> {
        self.database.parse()
    }

    /// Where the bytes of evidence are kept, if they are.
    pub fn evidence(&self) -> portreeve_core::Result<Option<Place>> {
        Place::of(self.evidence.as_deref(), &self.database()?)
    }

    /// How long calls under way may take once the server has been told to stop.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }

    /// The same, for showing: without passwords.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let database = self.database.parse::<Database>();
        let database = database.map_or_else(|_| "…".into(), |database| database.to_string());
        Self { database, ..self.clone() }
    }

    /// The JSON schema of the configuration.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = serde_json::to_string(&self.redacted()).map_err(|_| fmt::Error)?;
        f.write_str(&shown)
    }
}

/// The names of the keys, in alphabetical order.
fn known_keys() -> Vec<String> {
    let schema = Config::schema();
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    let mut keys = properties.into_iter().flat_map(|keys| keys.keys().cloned()).collect::<Vec<_>>();
    keys.sort();
    keys
}

/// One source with its values.
struct Layer {
    source: Source,
    values: Dict,
}

enum Source {
    File(PathBuf),
    Environment,
    Flags,
}

impl Layer {
    /// The sources in the order in which later ones win.
    fn all(sources: Sources) -> Result<Vec<Self>, ConfigError> {
        let Sources { options, environment, folder } = sources;
        // An empty variable is an unset one: that is how compose files and unit files leave one out.
        let environment = environment.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
        let named = options.file.clone().or_else(|| {
            let variable = environment.iter().find(|(key, _)| key == FILE_VARIABLE);
            variable.map(|(_, value)| PathBuf::from(value))
        });
        let path = named.clone().or_else(|| Some(folder.join(FILE)).filter(|path| path.exists()));
        let mut layers = Vec::new();
        if let Some(path) = path {
            let values = read(&path).map_err(|line| ConfigError(vec![line]))?;
            layers.push(Self { source: Source::File(path), values });
        }
        let values = environment.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix(ENVIRONMENT_PREFIX).filter(|_| key != FILE_VARIABLE)?.to_lowercase();
            (!CLIENT_VARIABLES.contains(&key.as_str())).then(|| (key.clone(), typed(&key, value)))
        });
        layers.push(Self { source: Source::Environment, values: values.collect() });
        let values = Value::serialize(&options).ok().and_then(Value::into_dict).unwrap_or_default();
        layers.push(Self { source: Source::Flags, values });
        Ok(layers)
    }

    /// A key as the person who set it knows it.
    fn name(&self, key: &str) -> String {
        match &self.source {
            Source::File(path) => format!("{key} in {}", path.display()),
            Source::Environment => format!("{ENVIRONMENT_PREFIX}{} in the environment", key.to_uppercase()),
            Source::Flags => format!("--{}", key.replace('_', "-")),
        }
    }
}

/// A variable's value: a number where the key wants one, else the text as it is.
fn typed(key: &str, value: &str) -> Value {
    let wants_number = matches!(key, "drain_seconds" | "max_backdating_days");
    match value.parse::<u64>() {
        Ok(number) if wants_number => Value::from(number),
        _ => Value::from(value),
    }
}

fn read(path: &Path) -> Result<Dict, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the file {} cannot be read: {error}", path.display()))?;
    Toml::from_str(&text).map_err(|error| format!("the file {} is not TOML: {error}", path.display()))
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn load(toml: &str, variables: &[(&str, &str)], options: Options) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), toml).unwrap();
        Settings::load(Sources { options, environment: environment(variables), folder: folder.path().to_owned() })
    }

    /// The one line of the refusal.
    fn refusal<T: fmt::Debug>(result: Result<T, ConfigError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.lines().len(), 1, "{error}");
        error.lines()[0].clone()
    }

    fn none() -> Options {
        Options::default()
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_defaults() {
        let file = "drain_seconds = 1\nlog = 'warn'\nlisten = '127.0.0.1:1'\n";
        let variables = [("PORTREEVE_LOG", "debug"), ("PORTREEVE_LISTEN", "127.0.0.1:2"), ("PATH", "/bin")];
        let options = Options { listen: Some("127.0.0.1:3".into()), ..none() };
        let config = load(file, &variables, options).unwrap().for_part(Part::Suite).unwrap();
        assert_eq!((config.max_backdating_days, config.drain_seconds), (30, 1));
        assert_eq!((config.log.as_str(), config.listen.port()), ("debug", 3));
        assert_eq!(load("", &[], none()).unwrap().config(), &Config::default());
    }

    #[test]
    fn every_key_can_be_set_from_every_source() {
        let values = [
            ("database", "sqlite:elsewhere"),
            ("listen", "127.0.0.1:7"),
            ("referral_url", "http://127.0.0.1:8"),
            ("decision_url", "http://127.0.0.1:9"),
            ("audit_key", "elsewhere.pem"),
            ("matching_key", "matching.key"),
            ("evidence", "s3://evidence/here"),
            ("metrics_listen", "127.0.0.1:10"),
            ("log_format", "json"),
            ("log", "info,portreeve_storage=debug"),
            ("otlp_endpoint", "http://127.0.0.1:11"),
            ("tls_cert", "cert.pem"),
            ("tls_key", "key.pem"),
            ("tls_client_ca", "ca.pem"),
            ("tls_crl", "crl.pem"),
            ("tls_server_ca", "servers.pem"),
            ("token_jwks", "jwks.json"),
            ("token_jwks_ca", "issuer.pem"),
            ("token_issuer", "https://login.nca.example"),
            ("token_audience", "portreeve"),
            ("drain_seconds", "12"),
            ("max_backdating_days", "13"),
            ("justification", "required"),
        ];
        assert_eq!(values.len(), known_keys().len());
        let upper = values.map(|(key, value)| (format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase()), value));
        let variables = upper.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>();
        let by_environment = load("", &variables, none()).unwrap().config().clone();
        let toml = toml_of(&values);
        let by_file = load(&toml, &[], none()).unwrap().config().clone();
        let by_flags = {
            use clap::{Args as _, FromArgMatches as _};
            let command = Options::augment_args(clap::Command::new("serve"));
            let flags = values.iter().map(|(key, value)| format!("--{}={value}", key.replace('_', "-")));
            let matches = command.get_matches_from(std::iter::once("serve".to_owned()).chain(flags));
            load("", &[], Options::from_arg_matches(&matches).unwrap()).unwrap().config().clone()
        };
        assert_eq!(by_environment, by_file);
        assert_eq!(by_environment, by_flags);
        assert_eq!(by_environment.otlp_endpoint.as_deref(), Some("http://127.0.0.1:11"));
    }

    fn toml_of(values: &[(&str, &str)]) -> String {
        let line = |(key, value): &(&str, &str)| match value.parse::<u32>() {
            Ok(number) => format!("{key} = {number}\n"),
            Err(_) => format!("{key} = '{value}'\n"),
        };
        values.iter().map(line).collect()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_source() {
        let line = refusal(load("listne = 1", &[], none()));
        assert!(
            line.starts_with("listne in ") && line.contains("portreeve.toml") && line.contains("listen,"),
            "{line}"
        );
        let line = refusal(load("", &[("PORTREEVE_LISTNE", "1")], none()));
        assert!(line.starts_with("PORTREEVE_LISTNE in the environment: there is no such key"), "{line}");
        // The client commands' own variables and an unset one are nothing to the server.
        load("", &[("PORTREEVE_SERVER", "http://x.example"), ("PORTREEVE_LISTNE", ""), ("OTHER", "1")], none())
            .unwrap();
    }

    #[test]
    fn values_that_do_not_fit_are_all_named() {
        let variables =
            [("PORTREEVE_LISTEN", "localhost"), ("PORTREEVE_DRAIN_SECONDS", "soon"), ("PORTREEVE_LOG_FORMAT", "xml")];
        for variable in variables {
            let line = refusal(load("", &[variable], none()));
            assert!(line.starts_with(&format!("{} in the environment: ", variable.0)), "{line}");
        }
        let variables = [
            ("PORTREEVE_DATABASE", "mysql://user:hunter2@db.example/x"),
            ("PORTREEVE_REFERRAL_URL", "https://user:hunter2@referral.example"),
            ("PORTREEVE_EVIDENCE", "s3://user:hunter2@evidence"),
            ("PORTREEVE_OTLP_ENDPOINT", "localhost"),
            ("PORTREEVE_DRAIN_SECONDS", "0"),
            ("PORTREEVE_LOG", "a=b=c"),
            ("PORTREEVE_METRICS_LISTEN", "127.0.0.1:7400"),
        ];
        let error = load("", &variables, none()).unwrap_err();
        assert_eq!(error.lines().len(), variables.len(), "{error}");
        for (key, _) in variables {
            assert!(error.lines().iter().any(|line| line.starts_with(key)), "{key}: {error}");
        }
        assert!(!error.to_string().contains("hunter2"), "{error}");
        for seconds in ["1", "3600"] {
            load("", &[("PORTREEVE_DRAIN_SECONDS", seconds)], none()).unwrap();
        }
        let line = refusal(load("", &[("PORTREEVE_DRAIN_SECONDS", "3601")], none()));
        assert!(line.contains("1 to 3600"), "{line}");
    }

    #[test]
    fn a_file_that_is_named_must_be_there_and_be_toml() {
        let missing = Options { file: Some("/nowhere/portreeve.toml".into()), ..none() };
        assert!(refusal(load("", &[], missing)).contains("/nowhere/portreeve.toml cannot be read"));
        assert!(refusal(load("", &[("PORTREEVE_CONFIG", "/nowhere/x.toml")], none())).contains("/nowhere/x.toml"));
        assert!(refusal(load("listen = ", &[], none())).contains("is not TOML"));
    }

    #[test]
    fn unsafe_combinations_stop_the_start() {
        let part = |part, variables: &[(&str, &str)]| load("", variables, none()).unwrap().for_part(part);
        for address in ["0.0.0.0:7400", "[::]:7400", "192.0.2.1:7400"] {
            let line = refusal(part(Part::Suite, &[("PORTREEVE_LISTEN", address)]));
            assert!(line.starts_with("PORTREEVE_LISTEN in the environment: ") && line.contains("open"), "{line}");
        }
        part(Part::Suite, &[("PORTREEVE_LISTEN", "[::1]:7400")]).unwrap();

        let referral = ("PORTREEVE_REFERRAL_URL", "http://127.0.0.1:7401");
        let decision = ("PORTREEVE_DECISION_URL", "http://127.0.0.1:7402");
        assert!(refusal(part(Part::Decision, &[])).contains("PORTREEVE_REFERRAL_URL=http"));
        assert!(refusal(part(Part::Reporting, &[referral])).contains("PORTREEVE_DECISION_URL=http"));
        assert!(refusal(part(Part::Suite, &[referral])).contains("unset it"));
        part(Part::Referral, &[]).unwrap();
        part(Part::Decision, &[referral]).unwrap();
        part(Part::Reporting, &[referral, decision]).unwrap();
    }

    #[test]
    fn what_is_shown_holds_no_password() {
        let secret = [("PORTREEVE_DATABASE", "postgres://portreeve:hunter2@db.example/portreeve")];
        let settings = load("", &secret, none()).unwrap();
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings.config().redacted()).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("db.example/portreeve"), "{shown}");
        assert!(settings.config().database.contains("hunter2"));
    }

    #[test]
    fn the_schema_describes_every_key_and_takes_no_other() {
        let schema = Config::schema();
        assert_eq!(schema["additionalProperties"], false);
        for (key, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{key}");
        }
    }
}
