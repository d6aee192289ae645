//! `portreeve lease`: which reviewer holds which case.

use std::time::Duration;

use clap::{Args, Subcommand};
use portreeve_api::decision::v1::{LeaseCasesRequest, LeasedCase, ReleaseCasesRequest};
use portreeve_core::name::CaseName;

use super::connection::{call, request_id};
use super::failure::Result;
use super::json;
use super::order::{span, wire_span};
use super::refer::{Write, written};
use super::words::when;

/// Take cases to review, so that nobody else does
///
/// For a reviewer of the platform, who says who they are with --member. While they hold a case, nobody else of the platform decides on
/// it, asks about it or takes it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve lease next --count 5 --as platforms/harbourbook --member r.eviewer")]
pub(crate) struct Lease {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take the most urgent ones that nobody holds
    #[command(after_help = "Example:\n  portreeve lease next --count 5 --for 2h --as platforms/harbourbook \\\n    \
        --member r.eviewer")]
    Next {
        /// How many
        #[arg(long, value_name = "N", default_value = "1")]
        count: u32,
        /// For how long [default: 30m]
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        time: Option<Duration>,
        #[command(flatten)]
        write: Write,
    },
    /// Take cases by name, all or none; or keep those that one holds for longer
    #[command(after_help = "Example:\n  portreeve lease take \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 --as platforms/harbourbook --member r.eviewer")]
    Take {
        /// The cases
        #[arg(required = true)]
        cases: Vec<CaseName>,
        /// For how long [default: 30m]
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        time: Option<Duration>,
        #[command(flatten)]
        write: Write,
    },
    /// Give cases back
    #[command(after_help = "Example:\n  portreeve lease release \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 --as platforms/harbourbook --member r.eviewer")]
    Release {
        /// The cases
        #[arg(required = true)]
        cases: Vec<CaseName>,
        #[command(flatten)]
        write: Write,
    },
}

impl Lease {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Next { count, time, write } => take(Vec::new(), count, time, write).await,
            Action::Take { cases, time, write } => take(cases, 0, time, write).await,
            Action::Release { cases, write } => {
                let session = write.connection.open(None).await?;
                let request = ReleaseCasesRequest {
                    parent: session.organisation().to_string(),
                    names: cases.iter().map(ToString::to_string).collect(),
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, inboxes, release_cases, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.decision.v1.ReleaseCasesResponse")?);
                }
                for name in &reply.names {
                    say!("given back: {name}")?;
                }
                written(&reply.revision, reply.replayed)
            }
        }
    }
}

async fn take(cases: Vec<CaseName>, count: u32, time: Option<Duration>, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = LeaseCasesRequest {
        parent: session.organisation().to_string(),
        names: cases.iter().map(ToString::to_string).collect(),
        count,
        time: time.map(wire_span),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, inboxes, lease_cases, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.decision.v1.LeaseCasesResponse")?);
    }
    if reply.cases.is_empty() {
        say!("nothing waits that nobody holds")?;
    }
    for LeasedCase { name, lease } in &reply.cases {
        let lease = lease.clone().unwrap_or_default();
        say!("{name}: {} until {}", lease.holder, when(lease.until.as_ref()))?;
    }
    written(&reply.revision, reply.replayed)
}
