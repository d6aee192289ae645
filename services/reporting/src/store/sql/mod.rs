//! The service's statements, written once and compiled for each engine.

mod grants;
mod publications;
pub mod reads;
mod refill;
pub mod tables;
mod trails;

use std::sync::Arc;

use portreeve_core::{Clock, IdSource, Result};
use portreeve_storage::Parts;

use super::engine::sql::{self, Insert, Lookup, Script, Store, agreements, followed};
use super::engine::{Conn, Db, Engine, begin_read};
use crate::domain::Ledger;
use crate::store::{Opened, SERVICE};

/// Opens the store on this engine.
pub async fn open(engine: Engine, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Result<Opened> {
    let store = Store::<Ledger, tables::Tables>::open(engine, SERVICE, super::migrations(), clock, ids).await?;
    let (writer, task) = store.writer();
    Ok((Parts { writer, log: store.log(), reads: Arc::new(reads::Reads::new(store)) }, task))
}

/// Every statement with its name, for preparing them in a test.
pub fn statements() -> Vec<(&'static str, String)> {
    let mut all = tables::statements();
    all.extend(reads::statements());
    all.extend(grants::statements());
    all.extend(publications::statements());
    all.extend(trails::statements());
    all.extend(refill::statements());
    all.extend(agreements::statements());
    all
}
