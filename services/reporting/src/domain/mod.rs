//! What reporting knows and computes. Pure: no database, no transport, no clock.

pub mod access;
pub mod cell;
pub mod definition;
pub mod grant;
pub mod joint;
pub mod ledger;
pub mod publication;
pub mod recurrence;
pub mod report;
pub mod step;
pub mod suppression;
pub mod times;
pub mod trail;

#[cfg(test)]
mod model;

pub use access::{Permitted, grants_seen, networks_seen};
pub use cell::{Cell, Citation, Clock, Standing, Subject, Tally};
pub use definition::{Definition, Dimension, Filter, Key, Value};
pub use grant::{Grant, GrantName, Terms};
pub use joint::{Joint, partners};
pub use ledger::{Command, CubeChanged, Event, Learnt, Ledger, Source, State};
pub use portreeve_core::vocabulary::{Bucket, Disposition};
pub use publication::{Edition, Publication, PublicationName};
pub use recurrence::{Network, Recurrence, Returns, recurrence};
pub use report::{Counts, Flow, Report, Row, Slice, flow, report, survival};
pub use step::Step;
pub use suppression::{Figure, withheld};
pub use times::CurveStep;
pub use trail::{Footprint, Origin, Tie, Trail, Turn, TurnKind};
