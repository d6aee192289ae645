//! The suite that every engine must pass, and the sample ledger that it runs on: notes under keys.

pub mod audit;
pub mod cases;
pub mod fixture;
pub mod ledger;
pub mod postgres;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::time::ManualClock;
use portreeve_core::{Result, Timestamp};

use crate::{Database, EventLog, Writer};
use ledger::Notes;

pub use fixture::Fixture;

/// The sample's store: what the suite asks of any.
#[async_trait]
pub trait Sample: Send + Sync {
    /// Every row of the state, as text.
    async fn dump(&self) -> Result<Vec<String>>;
    /// Rebuilds the state from the log.
    async fn rebuild(&self) -> Result<i64>;
    /// Raises the compaction floor.
    async fn compact(&self, through: i64) -> Result<i64>;
    /// Empties the state behind the ledger's back, so that a rebuild has something to do.
    async fn damage(&self) -> Result<()>;
    /// Runs a statement on the tables of the log behind the ledger's back.
    async fn execute(&self, statement: &str) -> Result<()>;
    /// Brings the log into its tree as opening it does.
    async fn catch_up(&self) -> Result<()>;
    /// Prepares every statement of the log on this engine.
    async fn prepare(&self) -> Result<(), String>;
    /// The columns of every table.
    async fn columns(&self) -> Vec<(String, String, String, bool)>;
}

/// An open sample.
#[derive(Clone)]
pub struct Opened {
    /// The writer.
    pub writer: Writer<Notes>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The store.
    pub sample: Arc<dyn Sample>,
    /// The clock that it was opened with.
    pub clock: Arc<ManualClock>,
}

/// Opens the sample in a database, as one replica.
pub async fn open(database: &Database) -> Result<Opened> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000)));
    match database {
        Database::Sqlite { folder } => sqlite::sql::open(crate::sqlite::open(folder, "notes").await?, clock).await,
        Database::Postgres { url } => postgres::sql::open(crate::postgres::open(url, "notes").await?, clock).await,
    }
}
