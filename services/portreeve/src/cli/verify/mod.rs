//! `portreeve verify`: what can be proved without believing the server.

mod evidence;
mod log;
mod referral;
mod report;
mod verdict;

use clap::{Args, Subcommand};

use super::failure::Result;

/// Verify what was signed, with a key and without believing the server
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve verify log --as operators/exchange --verifier portreeve/referral/…+…+… --since last.checkpoint"
)]
pub(crate) struct Verify {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Log(Box<log::Log>),
    Referral(referral::Referral),
    Report(Box<report::Report>),
}

impl Verify {
    pub(crate) async fn run(self) -> Result<()> {
        match self.what {
            What::Log(command) => command.run().await,
            What::Referral(command) => command.run(),
            What::Report(command) => command.run().await,
        }
    }
}
