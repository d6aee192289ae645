//! The store on Postgres.

use portreeve_storage::postgres as engine;

#[path = "sql/mod.rs"]
pub mod sql;

fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("migrations/postgres")
}
