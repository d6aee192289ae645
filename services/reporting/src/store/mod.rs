//! What the reporting service keeps, on either engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::agreement::Agreement;
use portreeve_core::token::Revision;
use portreeve_core::{Clock, Date, IdSource, Principal, Result, Uuid};
use portreeve_storage::{Database, Parts};
use tokio::task::JoinHandle;

use crate::domain::publication::Digest;
use crate::domain::{Grant, GrantName, Joint, Ledger, Permitted, Publication, PublicationName, Slice, Source, Trail};

pub mod postgres;
pub mod sqlite;

/// The service's name, its log's and its schema's.
pub const SERVICE: &str = "reporting";
/// The name of its access log.
pub const ACCESS: &str = "reporting-access";

/// What was read for figures, with where everything stood at that very moment.
#[derive(Clone, Debug)]
pub struct Selected<R = Slice> {
    /// What was read: of the cube, cells added up.
    pub slices: Vec<R>,
    /// The service's own log: the cells reflect it up to here.
    pub own: Revision,
    /// How far the service had followed other logs.
    pub followed: Vec<Revision>,
    /// For each log followed, the day of its newest change that was taken in.
    pub heard: BTreeMap<Source, Date>,
}

/// The service's reads, and what an operator does to its store.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// The cells that a definition selects, added up over what it does not tell apart, in one snapshot.
    async fn select(&self, permitted: &Permitted) -> Result<Selected>;

    /// The trails of an agency's linked referrals, so many of them, in one snapshot. Refuses whoever does not see its networks.
    async fn trails(&self, principal: &Principal, agency: &str, limit: usize) -> Result<Selected<(Uuid, Trail)>>;

    /// The agreements of an agency and of its partners.
    async fn agreements_concerning(&self, agency: &str) -> Result<Vec<Agreement>>;

    /// The operations of these names that there are, in no order.
    async fn operations(&self, names: &[String]) -> Result<Vec<Joint>>;

    /// One grant, if the principal may see it. Refuses who sees none.
    async fn grant(&self, principal: &Principal, name: GrantName) -> Result<Option<Grant>>;

    /// Grants of one grantee, or of all that the principal may see, after a position, in the order in which they were issued.
    async fn grants(
        &self,
        principal: &Principal,
        grantee: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Grant>>;

    /// A version of a published report, with the number of the newest. Everybody's who takes part.
    async fn publication(&self, name: PublicationName) -> Result<Option<(Publication, u32)>>;

    /// The newest version of the published report that answers a question.
    async fn answer(&self, question: Digest) -> Result<Option<Publication>>;

    /// Versions of one publisher (of all, for the empty text) after a position, in the order in which they were published, without rows: each
    /// with its position and the number of the newest of it.
    async fn publications(&self, publisher: &str, after: i64, limit: usize) -> Result<Vec<(i64, Publication, u32)>>;

    /// Empties the state tables and fills them again from the log. Gives the number of events read.
    async fn rebuild(&self) -> Result<i64>;

    /// Raises the compaction floor. Gives it.
    async fn compact(&self, through: i64) -> Result<i64>;

    /// Every row of the state tables as text.
    async fn dump(&self) -> Result<Vec<String>>;
}

/// An open store, and the task of its writer.
pub type Opened = (Parts<Ledger, dyn Reads>, JoinHandle<()>);

/// Opens the store.
pub async fn open(database: &Database, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Result<Opened> {
    match database {
        Database::Sqlite { folder } => {
            let engine = portreeve_storage::sqlite::open(folder, SERVICE).await?;
            sqlite::sql::open(engine, clock, ids).await
        }
        Database::Postgres { url } => {
            let engine = portreeve_storage::postgres::open(url, SERVICE).await?;
            postgres::sql::open(engine, clock, ids).await
        }
    }
}
