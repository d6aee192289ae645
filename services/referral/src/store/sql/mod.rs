//! The service's statements, written once and compiled for each engine.

mod address_rules;
mod authorisation;
mod drafts;
mod evidence;
mod interests;
mod measures;
mod observations;
mod operations;
mod pre_notices;
pub mod reads;
mod retention;
mod review_flags;
mod signing;
pub mod tables;

use std::sync::Arc;

use portreeve_core::{Clock, IdSource, Result};
use portreeve_storage::Parts;

use super::engine::sql::{Binds, Insert, Lookup, Reads, Script, Store, agreements, seal};
use super::engine::{Conn, Db, Engine};
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
    all.extend(signing::statements());
    all.extend(measures::statements());
    all.extend(review_flags::statements());
    all.extend(observations::statements());
    all.extend(operations::statements());
    all.extend(pre_notices::statements());
    all.extend(retention::statements());
    all.extend(drafts::statements());
    all.extend(evidence::statements());
    all.extend(authorisation::statements());
    all.extend(address_rules::statements());
    all.extend(interests::statements());
    all.extend(reads::AT.texts().into_iter().map(|text| ("referrals_at", text)));
    all.extend(reads::STATEMENTS.iter().map(|(name, text)| (*name, (*text).to_owned())));
    all
}
