//! The statements of every service, written once and compiled for each engine.

pub mod agreements;
pub mod bulk;
pub mod commit;
pub mod event_log;
pub mod followed;
pub mod maintenance;
pub mod request_log;
pub mod script;
pub mod seal;
pub mod tree;

pub use bulk::{Binds, Insert, Lookup};
pub use commit::{Store, Tables};
pub use script::{Reads, Script};

use super::{Conn, Db};
