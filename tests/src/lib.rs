//! What the workspace's tests share: servers of the suite on a loopback socket, clients that act for anybody, and things
//! to send.
//!
//! Each [`Server`] has a runtime of its own, so that a test can end it as a signal would ([`Server::stop`]) or as a crash
//! would ([`Server::kill`]): everything under way is dropped where it stands.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::missing_panics_doc, reason = "everything here panics when a test has failed")]

pub mod client;
pub mod history;
pub mod logs;
pub mod process;
pub mod raw;
pub mod sample;
pub mod server;

pub use client::{Client, Refused, refusal};
pub use portreeve_core::Timestamp;
pub use portreeve_core::time::ManualClock;
pub use portreeve_storage::Database;
pub use portreeve_storage::conformance::Fixture;
pub use server::{Options, Part, Server, evidence_of};

/// Runs each case on both engines: `mod sqlite` and `mod postgres`. A case takes the database.
#[macro_export]
macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = $crate::Fixture::sqlite();
                Box::pin(super::$case(&fixture.database)).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = $crate::Fixture::postgres().await;
                Box::pin(super::$case(&fixture.database)).await;
            })*
        }
    };
}

/// Fails a test that hangs, with what it was doing.
pub async fn within<T>(seconds: u64, what: &str, work: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(seconds);
    let Ok(done) = tokio::time::timeout(limit, work).await else { panic!("{what} took more than {seconds} s") };
    done
}

/// Another fresh database on the same engine.
pub async fn another(database: &Database) -> Fixture {
    match database {
        Database::Sqlite { .. } => Fixture::sqlite(),
        Database::Postgres { .. } => Fixture::postgres().await,
    }
}
