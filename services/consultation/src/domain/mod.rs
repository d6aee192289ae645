//! An access log: entries that are appended and never changed. No IO.

mod entry;
mod filter;
mod ledger;

#[cfg(test)]
pub(crate) use entry::tests;
pub use entry::{Entry, Kind};
pub use filter::{Asked, Filter};
pub use ledger::{Command, Ledger, State};
