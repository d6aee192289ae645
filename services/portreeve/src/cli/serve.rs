//! `portreeve serve`: the suite, or one service of it.

use std::process::ExitCode;

use clap::Args;
use portreeve_runtime::config::{Config, Options, Part, Settings, Sources};
use portreeve_runtime::lifecycle::{self, Ended, Lifecycle};
use portreeve_runtime::telemetry::Telemetry;

use super::failure::{Failure, Result};
use crate::suite;

/// Run the server: all three services on one port, or one of them
///
/// Without an argument, the referral, decision and reporting services run in this process on embedded SQLite and call
/// each other over gRPC. With one, that service runs alone and finds the others by their URLs.
///
/// With --tls-cert and --tls-key, connections are secured and callers say who they are by a certificate or a token;
/// `portreeve pki` makes certificates for a trial. Without, the server is open: it believes callers who they are, and
/// therefore listens on loopback only. SIGTERM or Ctrl-C ends it in order: no new work, streams are told to resume
/// elsewhere, calls under way finish.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  portreeve serve --database sqlite:/var/lib/portreeve\n  \
    portreeve serve decision --database postgres://portreeve_decision@db/portreeve \\\n    \
    --listen 127.0.0.1:7402 --referral-url http://127.0.0.1:7401\n  \
    portreeve serve --listen 0.0.0.0:7400 --tls-cert pki/server.pem --tls-key pki/server.key \\\n    \
    --tls-client-ca pki/ca.pem --tls-crl pki/crl.pem")]
pub(crate) struct Serve {
    /// The service to run alone
    #[arg(value_enum)]
    service: Option<Part>,
    #[command(flatten)]
    options: Options,
}

/// The settings from flags, the environment and the file.
pub(crate) fn settings(options: Options) -> Result<Settings> {
    let mut sources = Sources::of_process(options);
    // It says who acts in the client commands, and may well be set where a server is started.
    sources.environment.retain(|(key, _)| key != "PORTREEVE_AS");
    Settings::load(sources).map_err(|error| Failure::Usage(error.to_string()))
}

impl Serve {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let part = self.service.unwrap_or(Part::Suite);
        let config = settings(self.options)?.for_part(part).map_err(|error| Failure::Usage(error.to_string()))?;
        run(part, &config).await
    }
}

async fn run(part: Part, config: &Config) -> Result<ExitCode> {
    let name = match part {
        Part::Suite => "portreeve",
        Part::Referral => "portreeve-referral",
        Part::Decision => "portreeve-decision",
        Part::Reporting => "portreeve-reporting",
    };
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let telemetry = Telemetry::start(config, name).map_err(|error| failed(&error))?;
    let signals = lifecycle::signals()?;
    let life = Lifecycle::new();
    if let Some(address) = telemetry.serve_metrics(config, &life).await.map_err(|error| failed(&error))? {
        say!("metrics at http://{address}/metrics")?;
    }
    let running = suite::start(part, config, &life).await.map_err(|error| failed(&error))?;
    let (scheme, how) = match (&config.tls_cert, &config.token_jwks) {
        (Some(_), _) => ("https", "secured: callers say who they are by a certificate or a token"),
        (None, Some(_)) => ("http", "callers say who they are by a token; it is reachable from this machine only"),
        (None, None) => ("http", "open: it believes callers who they are, and is reachable from this machine only"),
    };
    say!("{name} listens at {scheme}://{} ({how})", running.local_addr())?;
    if matches!(part, Part::Suite | Part::Reporting) {
        // Whoever waited for the first line may read no more; that ends no server.
        _ = say!("the figures, for a browser: {scheme}://{}{}", running.local_addr(), portreeve_reporting::page::PATH);
    }
    match life.run(signals, config.drain()).await {
        Ended::Failed(what) => Err(Failure::Failed(what)),
        ended => Ok(ended.exit_code()),
    }
}
