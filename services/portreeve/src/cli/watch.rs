//! `portreeve watch`: changes as they happen, as JSON lines.

use std::io::Write as _;

use clap::{Args, Subcommand};
use portreeve_api::common::v1::{Ground, ReferralNature, WatchStart, watch_start};
use portreeve_api::decision::v1::{
    CaseFilter, ClockFilter, ClockKind, ClockState, DecisionFilter, WatchCasesRequest, WatchCasesResponse,
    WatchClocksRequest, WatchClocksResponse, WatchDecisionsRequest, WatchDecisionsResponse,
};
use portreeve_api::referral::v1::{ReferralFilter, WatchReferralsRequest, WatchReferralsResponse};
use portreeve_api::reporting::v1::{
    WatchReportRequest, WatchReportResponse, watch_report_request, watch_report_response,
};
use portreeve_api::watch::{self, Backoff};
use portreeve_core::name::OrganisationName;
use prost::Message;
use tonic::Status;

use super::connection::{Reading, Session};
use super::failure::{Failure, Result};
use super::json;
use super::report::Cohort;
use super::words::words_of;

/// A person watches: never give up, but for a refusal.
pub(crate) const BACKOFF: Backoff = Backoff {
    first: std::time::Duration::from_millis(100),
    longest: std::time::Duration::from_secs(10),
    give_up_after: None,
    seed: 0,
};

/// Print changes as they happen
///
/// One line for each message of the stream, in the canonical JSON form of protobuf. `resumeToken` in a line is where to
/// go on after it (--from TOKEN). A stream that breaks is taken up again by itself; no change is lost and none comes
/// twice.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve watch cases --from snapshot --parent platforms/harbourbook --as platforms/harbourbook"
)]
pub(crate) struct Watch {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Referrals as agencies send and withdraw them, and organisations
    #[command(after_help = "Example:\n  portreeve watch referrals --from now --as agencies/nca")]
    Referrals {
        /// The agency; agencies/- for all that the caller may see
        #[arg(long, default_value = "agencies/-", value_name = "AGENCY")]
        parent: String,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        stream: Stream,
    },
    /// Cases as they come in, are acknowledged and decided
    #[command(after_help = "Example:\n  portreeve watch cases --from earliest --as platforms/harbourbook")]
    Cases {
        /// The platform; platforms/- for all that the caller may see
        #[arg(long, default_value = "platforms/-", value_name = "PLATFORM")]
        parent: String,
        #[command(flatten)]
        agencies: Agencies,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        stream: Stream,
    },
    /// Decisions as they are recorded
    #[command(after_help = "Example:\n  portreeve watch decisions --from snapshot --as agencies/nca")]
    Decisions {
        /// The platform; platforms/- for all that the caller may see
        #[arg(long, default_value = "platforms/-", value_name = "PLATFORM")]
        parent: String,
        #[command(flatten)]
        agencies: Agencies,
        #[command(flatten)]
        stream: Stream,
    },
    /// What happens to clocks: started, stopped, warnings, breaches, ended
    #[command(after_help = "Example:\n  portreeve watch clocks --state overdue --from now --as platforms/harbourbook")]
    Clocks {
        /// The platform; platforms/- for all that the caller may see
        #[arg(long, default_value = "platforms/-", value_name = "PLATFORM")]
        parent: String,
        /// Only of these kinds
        #[arg(long, value_parser = words_of::<ClockKind>(), ignore_case = true, value_delimiter = ',')]
        kind: Vec<ClockKind>,
        /// Only those that are in these states after what happened
        #[arg(long, value_parser = words_of::<ClockState>(), ignore_case = true, value_delimiter = ',')]
        state: Vec<ClockState>,
        #[command(flatten)]
        agencies: Agencies,
        #[command(flatten)]
        stream: Stream,
    },
    /// A report as its figures change; begins with a snapshot or a token
    #[command(after_help = "Example:\n  portreeve watch report --cohort 2020-01..2020-05 --by platform \\\n    \
        --from snapshot --as oversightBodies/home-affairs")]
    Report {
        #[command(flatten)]
        cohort: Cohort,
        #[command(flatten)]
        stream: Stream,
    },
}

/// Whose cases.
#[derive(Args, Debug)]
struct Agencies {
    /// Only of these agencies; of all that the caller may see needs --purpose where partners share
    #[arg(long, value_name = "AGENCY")]
    agency: Vec<OrganisationName>,
}

impl Agencies {
    fn names(&self) -> Vec<String> {
        self.agency.iter().map(ToString::to_string).collect()
    }
}

/// Which referrals or cases.
#[derive(Args, Debug)]
struct Filter {
    /// Only these grounds
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true, hide_possible_values = true)]
    ground: Vec<Ground>,
    /// Only these legal natures
    #[arg(long, value_name = "NATURE", value_parser = words_of::<ReferralNature>(), ignore_case = true)]
    nature: Vec<ReferralNature>,
}

/// Where the stream begins and ends.
#[derive(Args, Debug)]
struct Stream {
    /// Where to begin: earliest, now, snapshot, or the resume token of an earlier line
    #[arg(long = "from", value_name = "START", default_value = "snapshot")]
    start: String,
    /// End after this many changes; without it, never
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    reading: Reading,
}

/// A message of a stream.
trait Line: Message {
    /// Its full name in the contract.
    const NAME: &'static str;

    /// How many changes it carries.
    fn changes(&self) -> usize;
}

macro_rules! lines {
    ($($type:ident: $name:literal),*) => {$(
        impl Line for $type {
            const NAME: &'static str = $name;

            fn changes(&self) -> usize {
                self.changes.len()
            }
        }
    )*};
}

lines! {
    WatchReferralsResponse: "portreeve.referral.v1.WatchReferralsResponse",
    WatchCasesResponse: "portreeve.decision.v1.WatchCasesResponse",
    WatchDecisionsResponse: "portreeve.decision.v1.WatchDecisionsResponse",
    WatchClocksResponse: "portreeve.decision.v1.WatchClocksResponse"
}

impl Line for WatchReportResponse {
    const NAME: &'static str = "portreeve.reporting.v1.WatchReportResponse";

    fn changes(&self) -> usize {
        usize::from(matches!(
            self.change,
            Some(watch_report_response::Change::Delta(_) | watch_report_response::Change::Snapshot(_))
        ))
    }
}

/// The start that a word names; anything else is a resume token.
pub(crate) fn start(text: &str) -> watch_start::Start {
    match text {
        "earliest" => watch_start::Start::Earliest(true),
        "now" => watch_start::Start::Now(true),
        "snapshot" => watch_start::Start::Snapshot(true),
        token => watch_start::Start::ResumeToken(token.to_owned()),
    }
}

fn wire(from: &str) -> WatchStart {
    WatchStart { start: Some(start(from)) }
}

impl Watch {
    pub(crate) async fn run(self) -> Result<()> {
        match self.what {
            What::Referrals { parent, filter, stream } => {
                let session = stream.reading.open().await?;
                let filter = (!filter.is_empty()).then(|| ReferralFilter {
                    grounds: filter.ground.iter().map(|ground| (*ground).into()).collect(),
                    natures: filter.nature.iter().map(|nature| (*nature).into()).collect(),
                    ..ReferralFilter::default()
                });
                let request =
                    WatchReferralsRequest { parent, start: Some(wire(&stream.start)), filter, at_least: Vec::new() };
                print(&session, watch::referrals(session.referrals(), request, BACKOFF), stream.count).await
            }
            What::Cases { parent, agencies, filter, stream } => {
                let session = stream.reading.open().await?;
                let filter = (!filter.is_empty() || !agencies.agency.is_empty()).then(|| CaseFilter {
                    agencies: agencies.names(),
                    grounds: filter.ground.iter().map(|ground| (*ground).into()).collect(),
                    natures: filter.nature.iter().map(|nature| (*nature).into()).collect(),
                    ..CaseFilter::default()
                });
                let request =
                    WatchCasesRequest { parent, start: Some(wire(&stream.start)), filter, at_least: Vec::new() };
                print(&session, watch::cases(session.decisions(), request, BACKOFF), stream.count).await
            }
            What::Decisions { parent, agencies, stream } => {
                let session = stream.reading.open().await?;
                let request = WatchDecisionsRequest {
                    parent,
                    start: Some(wire(&stream.start)),
                    filter: (!agencies.agency.is_empty())
                        .then(|| DecisionFilter { agencies: agencies.names(), ..DecisionFilter::default() }),
                    at_least: Vec::new(),
                };
                print(&session, watch::decisions(session.decisions(), request, BACKOFF), stream.count).await
            }
            What::Clocks { parent, kind, state, agencies, stream } => {
                let session = stream.reading.open().await?;
                let filter = ClockFilter {
                    kinds: kind.into_iter().map(Into::into).collect(),
                    states: state.into_iter().map(Into::into).collect(),
                    agencies: agencies.names(),
                    due_before: None,
                };
                let filter = (filter != ClockFilter::default()).then_some(filter);
                let request =
                    WatchClocksRequest { parent, start: Some(wire(&stream.start)), filter, at_least: Vec::new() };
                print(&session, watch::clocks(session.clocks(), request, BACKOFF), stream.count).await
            }
            What::Report { cohort, stream } => {
                let start = match start(&stream.start) {
                    watch_start::Start::ResumeToken(token) => watch_report_request::Start::ResumeToken(token),
                    watch_start::Start::Snapshot(_) => watch_report_request::Start::Snapshot(true),
                    _ => return Err(Failure::Usage("a report begins with --from snapshot or --from TOKEN".to_owned())),
                };
                let session = stream.reading.open().await?;
                let definition = Some(cohort.definition());
                let request = WatchReportRequest { start: Some(start), definition, at_least: Vec::new() };
                print(&session, watch::report(session.reports(), request, BACKOFF), stream.count).await
            }
        }
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.ground.is_empty() && self.nature.is_empty()
    }
}

/// Prints the messages of a stream, until it has printed `count` changes if that is set.
async fn print<M: Line>(
    session: &Session,
    messages: impl tokio_stream::Stream<Item = Result<M, Status>>,
    count: Option<u64>,
) -> Result<()> {
    let mut messages = std::pin::pin!(messages);
    let mut left = count;
    while let Some(message) = session.next(&mut messages).await? {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", json::line(&message, M::NAME)?)?;
        out.flush()?;
        let seen = u64::try_from(message.changes()).unwrap_or(u64::MAX);
        left = left.map(|left| left.saturating_sub(seen));
        if left == Some(0) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_is_no_word_is_a_token() {
        assert_eq!(start("now"), watch_start::Start::Now(true));
        assert_eq!(start("AbC"), watch_start::Start::ResumeToken("AbC".to_owned()));
    }
}
