//! What every service shares and nothing performs: time, names, identifiers, tokens, errors and their reasons, limits,
//! the shape of a ledger, and what makes its log prove itself.
//!
//! Architecture invariant: this crate does no IO and names neither a runtime, nor a transport, nor a database.

pub mod access;
pub mod agreement;
pub mod audit;
pub mod canonical;
pub mod consultation;
pub mod erasure;
pub mod error;
pub mod figure;
pub mod id;
pub mod identity;
pub mod interest;
pub mod ledger;
pub mod limits;
pub mod location;
pub mod name;
pub mod principal;
pub mod signature;
pub mod time;
pub mod token;
pub mod vocabulary;

pub use error::{Error, Reason, Result, Violations};
pub use id::{IdSource, Uuid};
pub use ledger::{Cited, Ledger, Recorded};
pub use principal::Principal;
pub use time::{Clock, Date, Timestamp};
