//! What reporting knows and computes. Pure: no database, no transport, no clock.

pub mod access;
pub mod cell;
pub mod definition;
pub mod grant;
pub mod joint;
pub mod ledger;
pub mod report;
pub mod step;
pub mod suppression;
pub mod times;

#[cfg(test)]
mod model;

pub use access::{Permitted, grants_seen};
pub use cell::{Cell, Citation, Clock, Standing, Subject};
pub use definition::{Definition, Dimension, Filter, Key, Value};
pub use grant::{Grant, GrantName, Terms};
pub use joint::{Joint, partners};
pub use ledger::{Command, CubeChanged, Event, Learnt, Ledger, Source, State};
pub use portreeve_core::vocabulary::{Bucket, Disposition};
pub use report::{Counts, Report, Row, Slice, report};
pub use step::Step;
pub use suppression::{Figure, withheld};
