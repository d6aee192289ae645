//! Resident memory of `portreeve serve`, the whole suite in one process on SQLite.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portreeve_api::clients::{self, Acting};
use portreeve_api::reporting::v1::{QueryReportRequest, ReportDefinition};
use portreeve_core::Clock as _;
use portreeve_core::time::SystemClock;
use tonic::transport::Channel;

use crate::Options;
use crate::drafts::Drafts;
use crate::import::import;
use crate::server::{agency, connect, register};
use crate::table::{Limit, Table};

/// How long the server may take to start, and to settle once it is up.
const START: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(3);
/// How long the other services may take to catch up with an import.
const CATCH_UP: Duration = Duration::from_mins(15);

/// Measures it.
pub(crate) async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let rows = options.rows();
    let idle_what = "resident memory, idle suite";
    let after_what = format!("resident memory after an import of {rows} rows");
    let program = match &options.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("portreeve"),
    };
    if !program.exists() {
        let why = format!("{} is missing: cargo build --release", program.display());
        table.skip(idle_what, why.clone());
        table.skip(&after_what, why);
        return Ok(());
    }
    let folder = options.scratch()?;
    let (server, channel) = Server::start(&program, folder.path().join("suite")).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = server.resident()?;
    table.add(idle_what, format!("VmRSS {idle:.0} MB"), idle, " MB", Limit::AtMost(60.0));

    register(&channel).await?;
    let took = import(&mut agency(channel.clone())?, Drafts::varied().import(rows)).await?;
    let imported = server.resident()?;
    let begun = Instant::now();
    let mut most = imported;
    while referred(&channel).await? < i64::try_from(rows)? {
        ensure!(begun.elapsed() < CATCH_UP, "the reporting service did not catch up");
        tokio::time::sleep(Duration::from_millis(500)).await;
        most = most.max(server.resident()?);
    }
    tokio::time::sleep(SETTLE).await;
    let after = server.resident()?;
    let figures = format!(
        "VmRSS {after:.0} MB when all had caught up; {imported:.0} MB at the last answer ({:.0} s), {most:.0} MB at most while \
         the others caught up ({:.0} s), peak {:.0} MB",
        took.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        server.peak()?
    );
    table.add(&after_what, figures, after.max(imported), " MB", Limit::AtMost(250.0));
    Ok(())
}

/// How many referrals the reports know of.
async fn referred(channel: &Channel) -> Result<i64> {
    let mut client = clients::reporting(channel.clone(), Acting::new("oversightBodies/committee")?);
    let definition = ReportDefinition {
        cohort_from_date: "2020-01-01".to_owned(),
        cohort_until_date: SystemClock.now().date().to_string(),
        as_of_date: SystemClock.now().date().to_string(),
        ..ReportDefinition::default()
    };
    let request = QueryReportRequest { definition: Some(definition), at_least: Vec::new() };
    let report = client.query_report(request).await?.into_inner().report;
    Ok(report.and_then(|report| report.total?.counts).map(|counts| counts.referred).unwrap_or_default())
}

struct Server(Child);

impl Server {
    async fn start(program: &PathBuf, folder: PathBuf) -> Result<(Self, Channel)> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = Command::new(program)
            .arg("serve")
            .arg(format!("--database=sqlite:{}", folder.display()))
            .arg(format!("--listen={address}"))
            .arg("--log=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self(child);
        let begun = Instant::now();
        loop {
            match connect(address).await {
                Ok(channel) => return Ok((server, channel)),
                Err(error) => ensure!(begun.elapsed() < START, "the server does not answer: {error:#}"),
            }
            ensure!(server.0.try_wait()?.is_none(), "the server ended at once");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Resident megabytes.
    fn resident(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most that it ever was.
    fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).context("the system does not tell")?;
        let kibibytes = line.trim().trim_end_matches("kB").trim().parse::<f64>()?;
        Ok(kibibytes * 1024.0 / 1_000_000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
