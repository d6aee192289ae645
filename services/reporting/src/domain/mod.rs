//! What reporting knows and computes. Pure: no database, no transport, no clock.

pub mod access;
pub mod cell;
pub mod definition;
pub mod ledger;
pub mod report;
pub mod step;
pub mod times;

#[cfg(test)]
mod model;

pub use access::Permitted;
pub use cell::{Cell, Citation, Clock, Standing, Subject};
pub use definition::{Definition, Dimension, Filter, Key, Value};
pub use ledger::{Command, CubeChanged, Ledger, Source, State};
pub use portreeve_core::vocabulary::{Bucket, Disposition};
pub use report::{Counts, Report, Row, Slice, report};
pub use step::Step;
