//! The sample on SQLite.

use crate::sqlite as engine;

#[path = "sql/mod.rs"]
pub mod sql;

fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("migrations/conformance/sqlite")
}
