//! `portreeve rebuild` and `portreeve compact`: what an operator does to a store while no server runs on it.

use clap::Args;
use portreeve_runtime::config::{Options, Part};

use super::failure::{Failure, Result};
use super::serve::settings;
use super::words::grouped;
use crate::suite::{self, Service};

/// Empty the state tables and build them again from the event log
///
/// The log is the truth and the tables are a view of it, so that nothing changes by this; it is there to prove that, and
/// for repair. No server may run on the data meanwhile.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve rebuild decision --database sqlite:/var/lib/portreeve")]
pub(crate) struct Rebuild {
    /// The service; without it, all three
    #[arg(value_enum)]
    service: Option<Part>,
    #[command(flatten)]
    options: Options,
}

/// Let streams no longer start at the oldest events
///
/// A resume token from before is then refused, and its holder starts with a snapshot. Facts and figures stay.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve compact --keep 1000000 --database sqlite:/var/lib/portreeve")]
pub(crate) struct Compact {
    /// The service; without it, all three
    #[arg(value_enum)]
    service: Option<Part>,
    /// How many of the newest events streams can still start before
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(i64).range(0..))]
    keep: i64,
    #[command(flatten)]
    options: Options,
}

/// The services of a part.
fn services(part: Option<Part>) -> &'static [Service] {
    match part {
        None | Some(Part::Suite) => &Service::ALL,
        Some(Part::Referral) => &[Service::Referral],
        Some(Part::Decision) => &[Service::Decision],
        Some(Part::Reporting) => &[Service::Reporting],
    }
}

impl Rebuild {
    pub(crate) async fn run(self) -> Result<()> {
        let settings = settings(self.options)?;
        for service in services(self.service) {
            let events = suite::rebuild(*service, settings.config())
                .await
                .map_err(|error| Failure::Failed(error.to_string()))?;
            say!("{service}: rebuilt from {} events", grouped(events))?;
        }
        Ok(())
    }
}

impl Compact {
    pub(crate) async fn run(self) -> Result<()> {
        let settings = settings(self.options)?;
        for service in services(self.service) {
            let (head, floor) = suite::compact(*service, settings.config(), self.keep)
                .await
                .map_err(|error| Failure::Failed(error.to_string()))?;
            say!("{service}: {} events, streams start after {}", grouped(head), grouped(floor))?;
        }
        Ok(())
    }
}
