//! Databases for tests: fresh, and gone afterwards.

use std::path::PathBuf;

use portreeve_core::Timestamp;
use portreeve_core::id::{IdSource as _, RandomIds};
use sqlx::Connection as _;

use crate::Database;

/// The variable that names a Postgres server on which databases may be created. `tests/run` sets it.
pub const POSTGRES: &str = "PORTREEVE_TEST_POSTGRES";

/// A database that exists as long as this does.
pub struct Fixture {
    /// The database.
    pub database: Database,
    folder: Option<PathBuf>,
}

impl Fixture {
    /// A folder for SQLite.
    ///
    /// # Panics
    /// If the folder cannot be made: there is no test without it.
    #[expect(clippy::expect_used, reason = "a test without its database has failed")]
    pub fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(name());
        std::fs::create_dir_all(&folder).expect("the folder for a test database");
        Self { database: Database::Sqlite { folder: folder.clone() }, folder: Some(folder) }
    }

    /// A database on the server that the environment names.
    ///
    /// # Panics
    /// If there is no server: the tests of both engines are not optional.
    #[expect(clippy::expect_used, reason = "a test without its database has failed")]
    pub async fn postgres() -> Self {
        let server =
            std::env::var(POSTGRES).expect("PORTREEVE_TEST_POSTGRES names a Postgres server; tests/run starts one");
        let name = name();
        let mut admin = sqlx::PgConnection::connect(&server).await.expect("the Postgres server of the tests");
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.expect("a database for a test");
        let (base, _) = server.rsplit_once('/').expect("a URL with a database");
        // What a test keeps outside the database.
        let folder = Some(std::env::temp_dir().join(&name));
        Self { database: Database::Postgres { url: format!("{base}/{name}") }, folder }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // A Postgres database goes with the tests' private server.
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn name() -> String {
    format!("portreeve_{}", RandomIds.uuid(Timestamp::default()).simple())
}
