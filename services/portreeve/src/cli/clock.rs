//! `portreeve clock`: what is due, what is overdue, and how long a platform takes.

use clap::{Args, Subcommand};
use portreeve_api::common::v1::ReferralNature;
use portreeve_api::decision::v1::{
    ClockFilter, ClockKind, ClockState, GetResponseTimesRequest, ListClocksRequest, ResponseTime, ResponseTimes,
    SetResponseTimesRequest,
};
use portreeve_core::name::{OrganisationKind, OrganisationName};
use prost_types::Timestamp;

use super::connection::{Reading, call, request_id};
use super::failure::Result;
use super::json;
use super::order::{shown_span, span, wire_span};
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, Word as _, shown, when, words_of};

/// See what is due and overdue, and say how long a platform takes
///
/// A clock starts, stops and ends by what happens to its case. `portreeve watch clocks` tells it as it happens, and each
/// warning: at half of the time, at four fifths and at the end.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve clock list --state overdue --as platforms/harbourbook\n  \
        portreeve clock promise voluntary-referral=14d statutory-notice=48h --as platforms/harbourbook")]
pub(crate) struct Clock {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List clocks that have not ended
    #[command(after_help = "Example:\n  portreeve clock list --kind order --due-before 2026-12-01T00:00:00Z \\\n    \
        --as platforms/harbourbook")]
    List {
        /// Only of these kinds
        #[arg(long, value_parser = words_of::<ClockKind>(), ignore_case = true, value_delimiter = ',')]
        kind: Vec<ClockKind>,
        /// Only in these states
        #[arg(long, value_parser = words_of::<ClockState>(), ignore_case = true, value_delimiter = ',')]
        state: Vec<ClockState>,
        /// Only those whose time is over before
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        due_before: Option<Timestamp>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: Reading,
    },
    /// Say how long the platform takes, for what it receives from now on; for a policy editor of it
    #[command(after_help = "Example:\n  portreeve clock promise voluntary-referral=14d statutory-notice=48h \\\n    \
        --as platforms/harbourbook")]
    Promise {
        /// For each nature; none to say nothing any more
        #[arg(value_name = "NATURE=TIME", value_parser = promise)]
        times: Vec<(ReferralNature, std::time::Duration)>,
        /// Only if this is the version in force
        #[arg(long, value_name = "N")]
        expect: Option<u32>,
        #[command(flatten)]
        write: Write,
    },
    /// Show how long a platform says that it takes
    #[command(after_help = "Example:\n  portreeve clock promised platforms/harbourbook --as agencies/nca")]
    Promised {
        /// The platform
        platform: OrganisationName,
        /// Print it as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: Reading,
    },
}

fn promise(text: &str) -> Result<(ReferralNature, std::time::Duration), String> {
    let (nature, time) = text.split_once('=').ok_or("must be NATURE=TIME, such as voluntary-referral=14d")?;
    Ok((ReferralNature::parse(nature)?, span(time)?))
}

impl Clock {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::List { kind, state, due_before, json, reading } => {
                let session = reading.open().await?;
                let filter = ClockFilter {
                    kinds: kind.into_iter().map(Into::into).collect(),
                    states: state.into_iter().map(Into::into).collect(),
                    agencies: reading.agencies(&session),
                    due_before,
                };
                let own = session.organisation();
                let parent =
                    if own.kind() == OrganisationKind::Platform { own.to_string() } else { "platforms/-".to_owned() };
                let mut request =
                    ListClocksRequest { parent, filter: Some(filter), page_size: 1_000, ..Default::default() };
                let mut table = Lines::new(["Clock", "State", "Started", "Time", "Due"]);
                loop {
                    let reply = call!(session, clocks, list_clocks, &request)?;
                    for clock in reply.clocks {
                        if json {
                            say!("{}", json::line(&clock, "portreeve.decision.v1.Clock")?)?;
                        } else {
                            let left = clock.left.as_ref().map(|left| format!("{} left", shown_span(Some(left))));
                            table.row([
                                clock.name.clone(),
                                shown::<ClockState>(clock.state),
                                when(clock.started_at.as_ref()),
                                shown_span(clock.time.as_ref()),
                                left.unwrap_or_else(|| when(clock.due_at.as_ref())),
                            ]);
                        }
                    }
                    if reply.next_page_token.is_empty() {
                        break;
                    }
                    request.page_token = reply.next_page_token;
                }
                if json { Ok(()) } else { say!("{table}") }
            }
            Action::Promise { times, expect, write } => {
                let session = write.connection.open(None).await?;
                let times = times.into_iter();
                let request = SetResponseTimesRequest {
                    name: format!("{}/responseTimes", session.organisation()),
                    times: times
                        .map(|(nature, time)| ResponseTime { nature: nature.into(), time: Some(wire_span(time)) })
                        .collect(),
                    expected_version: expect,
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, clocks, set_response_times, request)?;
                tell(&reply.response_times.unwrap_or_default(), write.json)?;
                if write.json { Ok(()) } else { written(&reply.revision, reply.replayed) }
            }
            Action::Promised { platform, json, reading } => {
                let session = reading.open().await?;
                let name = format!("{platform}/responseTimes");
                let request = GetResponseTimesRequest { name, at_least: Vec::new() };
                let reply = call!(session, clocks, get_response_times, request)?;
                tell(&reply.response_times.unwrap_or_default(), json)
            }
        }
    }
}

fn tell(times: &ResponseTimes, as_json: bool) -> Result<()> {
    if as_json {
        return say!("{}", json::line(times, "portreeve.decision.v1.ResponseTimes")?);
    }
    say!("{}, version {}", times.name, times.version)?;
    let mut table = Lines::new(["Nature", "Time"]);
    for said in &times.times {
        table.row([shown::<ReferralNature>(said.nature), shown_span(said.time.as_ref())]);
    }
    say!("{table}")
}
