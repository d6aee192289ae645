//! The store on SQLite.

use portreeve_storage::sqlite as engine;

#[path = "sql/mod.rs"]
pub mod sql;

fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("migrations/sqlite")
}
