//! What an access log keeps, on either engine.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::{Clock, IdSource, Recorded, Result};
use portreeve_storage::{Database, Parts};
use tokio::task::JoinHandle;

use crate::domain::{Asked, Entry, Ledger};

pub mod postgres;
pub mod sqlite;

/// The reads of an access log, and what an operator does to its store.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// The entries asked for after a position, in order, without those withheld from the asker.
    async fn entries(&self, asked: &Asked, after: i64, limit: usize) -> Result<Vec<Recorded<Entry>>>;

    /// How many entries are withheld from the asker after one position and up to another.
    async fn withheld(&self, asked: &Asked, after: i64, through: i64) -> Result<i64>;

    /// Empties the state tables and fills them again from the log. Gives the number of events read.
    async fn rebuild(&self) -> Result<i64>;

    /// Every row of the state tables as text.
    async fn dump(&self) -> Result<Vec<String>>;
}

/// An open store, and the task of its writer.
pub type Opened = (Parts<Ledger, dyn Reads>, JoinHandle<()>);

/// Opens the store of an access log by its name.
pub async fn open(
    database: &Database,
    name: &'static str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
) -> Result<Opened> {
    match database {
        Database::Sqlite { folder } => {
            let engine = portreeve_storage::sqlite::open(folder, name).await?;
            sqlite::sql::open(engine, name, clock, ids).await
        }
        Database::Postgres { url } => {
            let engine = portreeve_storage::postgres::open(url, name).await?;
            postgres::sql::open(engine, name, clock, ids).await
        }
    }
}
