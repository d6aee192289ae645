//! Where the suite keeps what it knows: two engines, one event log per service, one writer.
//!
//! Every statement is written once, in `sql/`, and compiled for each engine ([`sqlite`] and [`postgres`]); a service's
//! `store/sql` does the same against the engine module that it is compiled under. Outside those modules nothing names
//! an engine: a service holds a [`Writer`], an [`EventLog`] and a trait object of its own for reads.
//!
//! Architecture invariant: only the writer opens a write transaction.

pub mod database;
pub mod event;
pub mod objects;
pub mod seal;
pub mod writer;

#[path = "engine/postgres.rs"]
pub mod postgres;
#[path = "engine/sqlite.rs"]
pub mod sqlite;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use database::{Database, Parts};
pub use event::{Codec, Encoded, EventLog, LogPage, LogState, LoggedEvent, StoredEvent};
pub use objects::{Objects, Place, Staged, Upload};
pub use seal::Personal;
pub use writer::{Envelope, Guard, Outcome, Writer};

use std::time::Duration;

use portreeve_core::{Error, Reason};

/// The driver's error as a caller may see it: the text is logged here and goes no further.
pub fn unavailable(error: &sqlx::Error) -> Error {
    tracing::error!(error = %error, "the database failed");
    Error::new(
        Reason::StorageUnavailable,
        "the database did not answer; whether a write happened is unknown: repeat it with the same request_id",
    )
    .retry_after(Duration::from_millis(200))
}
