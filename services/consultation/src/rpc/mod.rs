//! Between the services' reads, the contract and the log.

mod access;
pub mod convert;
mod service;

pub use access::{Access, Asking};
pub use service::Consultations;
