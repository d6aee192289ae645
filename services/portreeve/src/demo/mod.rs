//! `portreeve demo`: the committee's cohort, played through the public API of a suite in this process.

mod catalogue;
mod page;
mod plan;
mod play;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use portreeve_api::reporting::v1::{Counts, Dimension, QueryReportRequest, Report, ReportDefinition, ReportFilter};
use portreeve_runtime::config::{Config, Part};
use portreeve_runtime::lifecycle::{self, Ended, Lifecycle};
use portreeve_runtime::telemetry::Telemetry;
use tokio_stream::StreamExt as _;

use crate::cli::connection::{Session, call};
use crate::cli::failure::{Failure, Result};
use crate::cli::say;
use crate::cli::words::grouped;
use crate::suite;
use catalogue::{AGENCY, OVERSIGHT};
use plan::{PERIOD, Plan};

/// Play the committee's cohort of 2020 and print the report
///
/// Starts the whole suite in this process, plays 1,218 referrals of January to May 2020 and what three platforms did with
/// them through the public gRPC API, and prints the figures as of 3 September 2020. The four totals are published ones;
/// how they are spread over platforms, clauses and days is synthetic.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  portreeve demo\n  portreeve demo --serve --data ./demo-data")]
pub(crate) struct Demo {
    /// Leave the suite running afterwards, and print how to call it
    #[arg(long)]
    serve: bool,
    /// Where to keep the data; without it, a temporary folder that is removed at the end
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Play through a suite that runs already, and start none: its URL, or referral=URL,decision=URL,reporting=URL
    #[arg(long, value_name = "URL", conflicts_with_all = ["serve", "data", "listen"])]
    server: Option<String>,
    /// Where to listen; without it, 127.0.0.1:7400 with --serve, else a free port
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let plan = Arc::new(Plan::read()?);
        if let Some(server) = &self.server {
            return show(server, plan).await.map(|()| ExitCode::SUCCESS);
        }
        let temporary = match &self.data {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("portreeve-demo-").tempdir()?),
        };
        let folder = temporary.as_ref().map(tempfile::TempDir::path).or(self.data.as_deref()).unwrap_or(Path::new("."));
        let port = if self.serve { 7400 } else { 0 };
        let config = Config {
            database: format!("sqlite:{}", folder.display()),
            listen: self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], port))),
            log: "error".to_owned(),
            drain_seconds: 5,
            ..Config::default()
        };
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let _telemetry = Telemetry::start(&config, "portreeve-demo").map_err(|error| failed(&error))?;
        let mut signals = Box::pin(lifecycle::signals()?);
        let life = Lifecycle::new();
        let running = suite::start(Part::Suite, &config, &life).await.map_err(|error| failed(&error))?;
        let address = running.local_addr();
        say!("The suite runs in this process: three services on {address}, SQLite in {}.", folder.display())?;

        let server = format!("http://{address}");
        let shown = tokio::select! {
            shown = show(&server, plan) => shown,
            Some(signal) = signals.next() => Err(Failure::Failed(format!("stopped by {signal}"))),
        };
        if self.serve && shown.is_ok() {
            say!("{}", page::how_to_call(&address.to_string()))?;
        } else {
            life.drain();
        }
        match (shown, life.run(signals, config.drain()).await) {
            (Err(failure), _) => Err(failure),
            (Ok(()), Ended::Failed(what)) => Err(Failure::Failed(what)),
            (Ok(()), ended) => Ok(ended.exit_code()),
        }
    }
}

/// Plays the cohort and prints what the committee would be shown.
async fn show(server: &str, plan: Arc<Plan>) -> Result<()> {
    let played = play::play(server, Arc::clone(&plan)).await?;
    say!("Played through the public gRPC API:")?;
    for line in &played.lines {
        say!("  {line}")?;
    }
    say!()?;
    let committee = play::connect(server, OVERSIGHT.0, &[]).await?;
    let by_platform = query(&committee, &played.revisions, vec![Dimension::Platform]).await?;
    let by_reason = query(&committee, &played.revisions, vec![Dimension::Disposition, Dimension::Clause]).await?;
    say!("{}", page::page(&by_platform, &by_reason))?;
    compare(&plan, &by_platform)
}

/// The report on the cohort, as of the committee's day, with all of it read: what was written is known by its revisions.
async fn query(session: &Session, revisions: &[String], dimensions: Vec<Dimension>) -> Result<Report> {
    let definition = ReportDefinition {
        cohort_from_date: PERIOD.0.to_owned(),
        cohort_until_date: PERIOD.1.to_owned(),
        as_of_date: PERIOD.2.to_owned(),
        known_at_date: String::new(),
        dimensions: dimensions.into_iter().map(Into::into).collect(),
        filter: Some(ReportFilter { agencies: vec![AGENCY.0.to_owned()], ..ReportFilter::default() }),
    };
    let request = QueryReportRequest { definition: Some(definition), at_least: revisions.to_vec() };
    let reply = call!(session, reports, query_report, request)?;
    reply.report.ok_or_else(|| Failure::Failed("the server gave no report".to_owned()))
}

/// Holds what was counted against what was planned, so that a demo that lost a page does not pass for one that did not.
fn compare(plan: &Plan, report: &Report) -> Result<()> {
    let counted = report.total.as_ref().and_then(|total| total.counts.clone()).unwrap_or_default();
    let planned = plan.counts();
    let four = |counts: &Counts| [counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other];
    if four(&counted) == four(&planned) {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the figures are not those that were played: {:?} and not {:?}",
        four(&counted).map(grouped),
        four(&planned).map(grouped)
    )))
}
