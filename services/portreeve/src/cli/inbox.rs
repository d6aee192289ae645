//! `portreeve inbox`: a platform's cases.

use clap::{Args, ValueEnum};
use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind, WatchStart};
use portreeve_api::decision::v1::{
    AcknowledgeCasesRequest, Case, CaseFilter, CaseStatus, Discrepancy, ListCasesRequest, WatchCasesRequest,
    acknowledge_result, case_change,
};
use portreeve_api::watch;
use portreeve_core::id::Uuid;
use portreeve_core::limits;
use portreeve_core::name::{OperationName, OrganisationKind};
use tonic_types::RpcStatusExt as _;

use super::connection::{Reading, Session, call, now, request_id};
use super::content::place;
use super::failure::{self, Failure, Result};
use super::json;
use super::table::Lines;
use super::watch::{BACKOFF, start};
use super::words::{from_proto, grouped, shown, words_of};

/// How cases are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One case per line in the canonical JSON form of protobuf
    Json,
}

/// Show a platform's cases, acknowledge them, and wait for new ones
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  portreeve inbox --status submitted --acknowledge --as platforms/harbourbook\n  \
    portreeve inbox --watch --format json --as platforms/harbourbook\n  \
    portreeve inbox --replay --as agencies/nca")]
pub(crate) struct Inbox {
    /// Only cases that stand so
    #[arg(long, value_name = "STATUS", value_parser = words_of::<CaseStatus>(), ignore_case = true)]
    status: Vec<CaseStatus>,
    /// Only cases for this ground
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true, hide_possible_values = true)]
    ground: Vec<Ground>,
    /// Only cases of referrals that belong to this operation
    #[arg(long, value_name = "OPERATION")]
    operation: Vec<OperationName>,
    /// Only candidates for replay: left up because a clause permitted it that does so no more
    #[arg(long)]
    replay: bool,
    /// Only cases where what was seen does not agree with what was decided
    #[arg(long, value_name = "WHICH", value_parser = words_of::<Discrepancy>(), ignore_case = true)]
    discrepancy: Vec<Discrepancy>,
    /// Show this many at most
    #[arg(long, default_value_t = 100, value_name = "N", conflicts_with = "watch")]
    limit: usize,
    /// Confirm the receipt of every case that is shown and not yet acknowledged
    #[arg(long)]
    acknowledge: bool,
    /// Show the cases that are there, and then each as it comes in or changes, until stopped
    #[arg(long)]
    watch: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    reading: Reading,
}

impl Inbox {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.reading.open().await?;
        let parent = match session.organisation().kind() {
            OrganisationKind::Platform => session.organisation().to_string(),
            _ if self.acknowledge => {
                return Err(Failure::Usage(
                    "only a platform acknowledges: act as one, such as --as platforms/harbourbook".to_owned(),
                ));
            }
            _ => "platforms/-".to_owned(),
        };
        let filter = Some(CaseFilter {
            statuses: self.status.iter().map(|status| (*status).into()).collect(),
            grounds: self.ground.iter().map(|ground| (*ground).into()).collect(),
            agencies: self.reading.agencies(&session),
            replay_candidates: self.replay,
            operations: self.operation.iter().map(ToString::to_string).collect(),
            discrepancies: self.discrepancy.iter().map(|which| (*which).into()).collect(),
            ..CaseFilter::default()
        });
        if self.watch { self.follow(&session, parent, filter).await } else { self.list(&session, parent, filter).await }
    }

    async fn list(&self, session: &Session, parent: String, filter: Option<CaseFilter>) -> Result<()> {
        let mut request = ListCasesRequest { parent: parent.clone(), filter, ..ListCasesRequest::default() };
        let mut cases = Vec::new();
        while cases.len() < self.limit {
            request.page_size =
                i32::try_from((self.limit - cases.len()).min(limits::PAGE_ROWS_MAX)).unwrap_or(i32::MAX);
            let reply = call!(session, decisions, list_cases, &request)?;
            cases.extend(reply.cases);
            request.page_token = reply.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        if self.format == Format::Json {
            for case in &cases {
                say!("{}", json::line(case, "portreeve.decision.v1.Case")?)?;
            }
        } else {
            let mut table =
                Lines::new(["Case", "Status", "Referred", "Days#", "Nature", "Ground", "Target", "Decision"]);
            for case in &cases {
                table.row(cells(case));
            }
            say!("{table}")?;
            if !request.page_token.is_empty() {
                say!("There are more; --limit shows them.")?;
            }
        }
        if self.acknowledge {
            let names =
                cases.iter().filter(|case| case.status() == CaseStatus::Submitted).map(|case| case.name.clone());
            let names: Vec<String> = names.collect();
            let done = acknowledge(session, &parent, &names).await?;
            eprintln!("{} acknowledged", grouped(i64::try_from(done).unwrap_or(i64::MAX)));
        }
        Ok(())
    }

    async fn follow(&self, session: &Session, parent: String, filter: Option<CaseFilter>) -> Result<()> {
        // A case that leaves the filter would not be shown on its way out, so that the statuses are looked at here.
        let filter = filter.map(|filter| CaseFilter { statuses: Vec::new(), ..filter });
        let start = Some(WatchStart { start: Some(start("snapshot")) });
        let request = WatchCasesRequest { parent: parent.clone(), start, filter, at_least: Vec::new() };
        let messages = watch::cases(session.decisions(), request, BACKOFF);
        let mut messages = std::pin::pin!(messages);
        while let Some(message) = session.next(&mut messages).await? {
            let mut received = Vec::new();
            for change in message.changes {
                let (what, case) = match change.change {
                    Some(case_change::Change::Snapshot(case)) => ("there", case),
                    Some(case_change::Change::Opened(case)) => ("new", case),
                    Some(case_change::Change::Acknowledged(case)) => ("acknowledged", case),
                    Some(case_change::Change::Decided(case)) => ("decided", case),
                    Some(case_change::Change::Withdrawn(case)) => ("withdrawn", case),
                    Some(case_change::Change::Erased(case)) => ("erased", case),
                    Some(case_change::Change::ReplayChanged(case)) if case.replay_candidate.is_some() => {
                        ("replay", case)
                    }
                    Some(case_change::Change::ReplayChanged(case)) => ("no replay", case),
                    Some(case_change::Change::ChallengeChanged(case)) => ("challenge", case),
                    Some(case_change::Change::Observed(case)) => ("observed", case),
                    Some(case_change::Change::StayChanged(case)) if case.status() == CaseStatus::InfoRequested => {
                        ("asked", case)
                    }
                    Some(case_change::Change::StayChanged(case)) => ("goes on", case),
                    Some(case_change::Change::ClockMarked(case)) => ("clock", case),
                    Some(case_change::Change::ReviewChanged(case)) => ("review", case),
                    Some(case_change::Change::Escalated(case)) => ("escalated", case),
                    Some(case_change::Change::Prioritised(case)) => ("prioritised", case),
                    Some(case_change::Change::NonDisclosureChanged(case)) => ("non-disclosure", case),
                    _ => continue,
                };
                if !self.status.is_empty() && !self.status.contains(&case.status()) {
                    continue;
                }
                if self.format == Format::Json {
                    say!("{}", json::line(&case, "portreeve.decision.v1.Case")?)?;
                } else {
                    say!("{what:<12} {}", cells(&case).join("  "))?;
                }
                if case.status() == CaseStatus::Submitted {
                    received.push(case.name);
                }
            }
            if self.acknowledge && !received.is_empty() {
                acknowledge(session, &parent, &received).await?;
            }
        }
        Ok(())
    }
}

/// Confirms receipts; gives how many were confirmed. What a case was refused for is printed.
async fn acknowledge(session: &Session, parent: &str, names: &[String]) -> Result<usize> {
    let mut done = 0;
    for names in names.chunks(limits::BATCH_DECISIONS_MAX) {
        let request = AcknowledgeCasesRequest {
            parent: parent.to_owned(),
            names: names.to_vec(),
            occurred_at: None,
            request_id: request_id(None::<Uuid>),
        };
        for result in call!(session, decisions, acknowledge_cases, request)?.results {
            match result.result {
                Some(acknowledge_result::Result::Error(error)) => {
                    let details = error.get_error_details();
                    eprintln!("{}: {}: {}", result.name, failure::reason(&details).unwrap_or("UNKNOWN"), error.message);
                }
                _ => done += 1,
            }
        }
    }
    Ok(done)
}

fn cells(case: &Case) -> Vec<String> {
    let submitted = from_proto(case.submitted_at.as_ref());
    let target = case.target.clone().unwrap_or_default();
    let decision = case.latest_decision.as_ref();
    vec![
        case.name.rsplit('/').next().unwrap_or_default().to_owned(),
        shown::<CaseStatus>(case.status),
        submitted.map_or_else(String::new, |at| at.date().to_string()),
        submitted.map_or_else(String::new, |at| (now().date().days() - at.date().days()).to_string()),
        shown::<ReferralNature>(case.nature),
        shown::<Ground>(case.ground),
        format!("{} {}", shown::<TargetKind>(target.kind), place(&target)),
        decision.map_or_else(String::new, |decision| shown::<portreeve_api::decision::v1::Outcome>(decision.outcome)),
    ]
}
