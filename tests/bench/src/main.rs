//! The benchmark: what the suite does, against the barest thing that could do the same, on the same machine in the same
//! run. Absolute figures differ from machine to machine; the ratios are what is promised.
//!
//! `cargo run --release -p portreeve-bench` measures everything and ends with 1 if a limit is missed.

mod bare;
mod cluster;
mod create;
mod delivery;
mod drafts;
mod import;
mod matching;
mod memory;
mod proof;
mod read;
mod report;
mod server;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use portreeve_runtime::config::Config;
use portreeve_runtime::telemetry::Telemetry;

use table::Table;

/// The `portreeve` program's own allocator, for both sides of every comparison.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Portreeve against the barest thing that could do the same.
#[derive(Debug, Parser)]
#[command(
    name = "portreeve-bench",
    version,
    after_help = "Example: cargo run --release -p portreeve-bench -- --only create"
)]
pub(crate) struct Options {
    /// Measure only this (may be repeated)
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Part>,
    /// Smaller sizes: a minute or two instead of a quarter of an hour; the ratios are rougher
    #[arg(long)]
    quick: bool,
    /// A Postgres server to measure on, by a role that may create databases; without it a private one is started
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Leave out what needs Postgres
    #[arg(long)]
    no_postgres: bool,
    /// Where to keep the data meanwhile: on the kind of disk that is of interest [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The program whose memory is measured [default: the one in the folder of this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Rows of an import
    #[arg(long, value_name = "COUNT")]
    rows: Option<usize>,
    /// How often the two sides take turns
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// End with 0 even if a limit is missed
    #[arg(long)]
    report_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// `CreateReferral`, 256 in flight, against a bare echo
    Create,
    /// `CreateReferral`, 1 in flight, against a bare echo and a bare fdatasync
    Latency,
    /// `ImportReferrals` on SQLite, against a bare loop over SQLite's C interface
    ImportSqlite,
    /// `ImportReferrals` on Postgres, against COPY
    ImportPostgres,
    /// `GetReferral` with its record, against one without and a write
    Read,
    /// What the Merkle tree costs a write
    Tree,
    /// `ImportReferrals` of signed referrals, against unsigned ones and verifying
    Signatures,
    /// From commit to delivery on a watch
    Delivery,
    /// `QueryReport` with one referral and with many
    Report,
    /// `CheckTargets` against a million registered interests
    Matching,
    /// Resident memory of `portreeve serve`
    Memory,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How often the two sides take turns.
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    /// How often two imports take turns: they are long.
    fn import_rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 2 }).max(1)
    }

    /// Rows of an import.
    fn rows(&self) -> usize {
        self.rows.unwrap_or(if self.quick { 100_000 } else { 1_000_000 }).max(1)
    }

    /// A new folder for data, removed when it is dropped.
    fn scratch(&self) -> Result<tempfile::TempDir> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("portreeve-bench.");
        match &self.folder {
            Some(folder) => builder.tempdir_in(folder),
            None => builder.tempdir(),
        }
        .context("cannot make a folder for the data")
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> Result<ExitCode> {
    // As a server has it, so that what spans and log filters cost is in the figures.
    let config = Config { log: "warn,portreeve=info,portreeve_runtime::server=error".into(), ..Config::default() };
    let _telemetry = Telemetry::start(&config, "portreeve-bench")?;
    let mut table = Table::default();
    // What waits for the disk first: an import leaves work to it for a long time.
    if options.wants(Part::Delivery) {
        delivery::measure(&options, &mut table).await?;
    }
    if options.wants(Part::Latency) {
        create::alone(&options, &mut table).await?;
    }
    if options.wants(Part::Read) {
        read::measure(&options, &mut table).await?;
    }
    if options.wants(Part::Create) {
        create::in_flight(&options, &mut table).await?;
    }
    if options.wants(Part::Report) {
        report::measure(&options, &mut table).await?;
    }
    if options.wants(Part::Matching) {
        matching::measure(&options, &mut table).await?;
    }
    if options.wants(Part::Tree) {
        proof::tree(&options, &mut table).await?;
    }
    if options.wants(Part::Signatures) {
        proof::signatures(&options, &mut table).await?;
    }
    if options.wants(Part::ImportSqlite) {
        import::on_sqlite(&options, &mut table).await?;
    }
    if options.wants(Part::ImportPostgres) {
        import::on_postgres(&options, &mut table).await?;
    }
    if options.wants(Part::Memory) {
        memory::measure(&options, &mut table).await?;
    }
    println!("{table}");
    Ok(if table.missed() && !options.report_only { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
