//! The consultation service: who read or received what, when, on whose behalf and why.
//!
//! Each service of the suite keeps an access log of its own ([`Service`]) and tells it what it is about to show
//! ([`Access`]). It is a log like the others: committed in groups, in order without a gap, with a Merkle tree.

pub mod domain;
pub mod rpc;
pub mod store;

use std::sync::Arc;

use portreeve_core::consultation::Policy;
use portreeve_core::{Clock, IdSource, Result};
use portreeve_storage::Database;
use tokio::task::JoinHandle;

pub use rpc::{Access, Asking, Consultations};

/// Every statement of the service with its name, as the database's engine has it, for preparing them in a test.
pub fn statements(database: &Database) -> Vec<(&'static str, String)> {
    match database {
        Database::Sqlite { .. } => store::sqlite::sql::statements(),
        Database::Postgres { .. } => store::postgres::sql::statements(),
    }
}

/// The access log of one service, with its store open.
pub struct Service {
    access: Arc<Access>,
    writer_task: JoinHandle<()>,
}

impl Service {
    /// Opens the store and starts the writer. The name is the log's, its file's or schema's: `referral-access`.
    pub async fn open(
        database: &Database,
        name: &'static str,
        policy: Policy,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Result<Self> {
        let (parts, writer_task) = store::open(database, name, clock, ids).await?;
        Ok(Self { access: Arc::new(Access::new(parts, policy)), writer_task })
    }

    /// What is told of every read.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Takes no more readings, and returns when all that had queued is committed and answered.
    pub async fn stop(self) {
        self.access.writer().stop();
        if self.writer_task.await.is_err() {
            tracing::error!("the writer of an access log ended abnormally");
        }
    }
}
