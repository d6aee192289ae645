//! The sample on Postgres.

use crate::postgres as engine;

#[path = "sql/mod.rs"]
pub mod sql;

fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("migrations/conformance/postgres")
}
