//! Plays the plan through the public API: an operator registers everybody, platforms publish their policies, an agency
//! refers, and each platform watches its inbox, confirms receipts and decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use portreeve_api::common::v1::{WatchStart, watch_start};
use portreeve_api::decision::v1::{
    AcknowledgeCasesRequest, AddClauseVersionRequest, BatchDecisionItem, BatchRecordDecisionsRequest, Clause,
    ClauseVersion, CreateClauseRequest, DecisionDraft, WatchCasesRequest, acknowledge_result, batch_decision_result,
    case_change,
};
use portreeve_api::referral::v1::{
    CreateOrganisationRequest, ImportItem, Organisation, OrganisationKind, import_result,
};
use portreeve_api::watch;
use portreeve_core::id::Uuid;
use portreeve_core::name::OrganisationName;
use portreeve_core::time::Timestamp;
use tokio_stream::StreamExt as _;
use tonic_types::pb;

use super::catalogue::{AGENCY, OPERATOR, OVERSIGHT, PLATFORMS, Platform};
use super::plan::{Course, Page, Plan};
use crate::cli::clause::digest;
use crate::cli::connection::{Caller, Session, call};
use crate::cli::failure::{Failure, Result};
use crate::cli::import;
use crate::cli::watch::BACKOFF;
use crate::cli::words::{grouped, to_proto};

/// How many pages the agency sends at a time.
const IMPORT_CHUNK: usize = 20;
/// How long an inbox may stay quiet before the demo gives up.
const QUIET: Duration = Duration::from_secs(30);

/// What was played.
#[derive(Debug)]
pub(super) struct Played {
    /// The revisions after which all of it can be read.
    pub(super) revisions: Vec<String>,
    /// A line for each who took part: what they did.
    pub(super) lines: Vec<String>,
}

/// Connects as an organisation, with the roles that telling of 2020 takes.
pub(super) async fn connect(server: &str, organisation: &str, roles: &[&str]) -> Result<Session> {
    let name: OrganisationName =
        organisation.parse().map_err(|error| Failure::Failed(format!("{organisation} {error}")))?;
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let caller = Caller::new(&name, Some("demo"), &roles)?.because("The demo of Portreeve");
    Session::connect(server, caller, None).await
}

/// The request id for a step of the demo: the same each time, so that playing it again into the same data changes
/// nothing.
fn step(parts: &[&str]) -> String {
    let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"https://portreeve.org/requests/demo/v1");
    Uuid::new_v5(&space, parts.join("\n").as_bytes()).to_string()
}

/// Plays it all.
pub(super) async fn play(server: &str, plan: Arc<Plan>) -> Result<Played> {
    register(server).await?;
    let bars = MultiProgress::new();
    let mut platforms = tokio::task::JoinSet::new();
    for platform in PLATFORMS {
        let pages = plan.of(&platform.name());
        let bar = bar(&bars, &platform.name(), pages.len());
        let server = server.to_owned();
        platforms.spawn(async move { Inbox::open(&server, platform, pages, bar).await?.work().await });
    }
    // The agency comes first in the figures and on the screen.
    let first = ProgressBar::new(plan.pages.len() as u64);
    let agency = refer(server, &plan, styled(bars.insert(0, first), AGENCY.0));
    let (mut lines, mut revisions) = (Vec::new(), Vec::new());
    let (line, revision) = agency.await?;
    lines.push(line);
    revisions.extend(revision);
    while let Some(ended) = platforms.join_next().await {
        let (line, revision) = ended.map_err(|error| Failure::Failed(format!("a platform of the demo: {error}")))??;
        lines.push(line);
        revisions.extend(revision);
    }
    let _ = bars.clear();
    lines[1..].sort();
    Ok(Played { revisions, lines })
}

fn bar(bars: &MultiProgress, name: &str, length: usize) -> ProgressBar {
    styled(bars.add(ProgressBar::new(length as u64)), name)
}

fn styled(bar: ProgressBar, name: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template("{prefix:<24} {bar:32} {pos:>5} of {len:<5} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// The operator registers everybody.
async fn register(server: &str) -> Result<()> {
    let operator = connect(server, OPERATOR, &[]).await?;
    let mut everybody = vec![
        (AGENCY.0.to_owned(), AGENCY.1, OrganisationKind::Agency, Vec::new()),
        (OVERSIGHT.0.to_owned(), OVERSIGHT.1, OrganisationKind::OversightBody, Vec::new()),
    ];
    for platform in PLATFORMS {
        let hosts = vec![platform.host.to_owned()];
        everybody.push((platform.name(), platform.display_name, OrganisationKind::Platform, hosts));
    }
    for (name, display_name, kind, hosts) in everybody {
        let request = CreateOrganisationRequest {
            organisation_id: name.rsplit('/').next().unwrap_or_default().to_owned(),
            organisation: Some(Organisation {
                display_name: display_name.to_owned(),
                kind: kind.into(),
                hosts,
                ..Organisation::default()
            }),
            request_id: step(&["register", &name]),
        };
        call!(operator, organisations, create_organisation, request)?;
    }
    Ok(())
}

/// The agency refers every page, in the order of the days.
async fn refer(server: &str, plan: &Plan, bar: ProgressBar) -> Result<(String, Option<String>)> {
    let session = connect(server, AGENCY.0, &["import"]).await?;
    let agency = session.organisation().clone();
    let mut pages = plan.pages.iter();
    let next = || {
        Ok(pages.next().map(|page| {
            let request_id = import::request_id(&agency, &page.draft).to_string();
            (page.referred, ImportItem { request_id, draft: Some(page.draft.clone()) })
        }))
    };
    let done = |referred: Timestamp, _, result: portreeve_api::referral::v1::ImportResult| {
        if let Some(import_result::Result::Error(error)) = result.result {
            return Err(refused("a referral", &error));
        }
        bar.inc(1);
        bar.set_message(format!("referred, to {}", referred.date()));
        Ok(())
    };
    let revision = import::import(&session, AGENCY.0, IMPORT_CHUNK, next, done).await?;
    bar.finish();
    Ok((
        format!("{} referred {} pages", AGENCY.0, shown(usize::try_from(bar.position()).unwrap_or_default())),
        revision,
    ))
}

/// A case whose receipt is confirmed, and what is decided on it, if anything is.
type Received = (String, Option<Box<DecisionDraft>>);

/// A platform at work: its inbox and what it does with it.
struct Inbox {
    session: Session,
    name: String,
    pages: BTreeMap<String, Page>,
    bar: ProgressBar,
    revision: Option<String>,
    acknowledged: usize,
    decided: usize,
}

impl Inbox {
    /// Publishes the platform's policy and makes ready.
    async fn open(
        server: &str,
        platform: &'static Platform,
        pages: BTreeMap<String, Page>,
        bar: ProgressBar,
    ) -> Result<Self> {
        let session = connect(server, &platform.name(), &["import"]).await?;
        publish(&session, platform).await?;
        Ok(Self { session, name: platform.name(), pages, bar, revision: None, acknowledged: 0, decided: 0 })
    }

    /// Watches the inbox until every page that is planned has come in, and deals with each as it comes.
    async fn work(mut self) -> Result<(String, Option<String>)> {
        let request = WatchCasesRequest {
            parent: self.name.clone(),
            start: Some(WatchStart { start: Some(watch_start::Start::Earliest(true)) }),
            filter: None,
            at_least: Vec::new(),
        };
        let messages = watch::cases(self.session.decisions(), request, BACKOFF);
        let mut messages = std::pin::pin!(messages);
        let mut left = self.pages.clone();
        while !left.is_empty() {
            let quiet = |_| Failure::Failed(format!("{}: {} pages did not arrive", self.name, left.len()));
            let message = tokio::time::timeout(QUIET, messages.next()).await.map_err(quiet)?;
            let Some(message) = message else { break };
            let message = message.map_err(|status| self.session.failure(status))?;
            let mut cases = Vec::new();
            for change in message.changes {
                let Some(case_change::Change::Opened(case)) = change.change else { continue };
                // Whoever plays with the demo afterwards may refer other pages; they are theirs to decide.
                if let Some(page) = left.remove(&case.target.unwrap_or_default().url) {
                    cases.push((case.name, page.course));
                }
            }
            self.deal_with(cases).await?;
        }
        self.bar.finish();
        let line = format!(
            "{} received {} of them, acknowledged {} and decided {}",
            self.name,
            shown(self.pages.len()),
            shown(self.acknowledged),
            shown(self.decided)
        );
        Ok((line, self.revision))
    }

    /// Morning by morning, confirms the receipts and decides what will be decided.
    async fn deal_with(&mut self, cases: Vec<(String, Course)>) -> Result<()> {
        let mut mornings: BTreeMap<Timestamp, Vec<Received>> = BTreeMap::new();
        for (case, course) in cases {
            match course {
                Course::Ignored => self.bar.inc(1),
                Course::Received { at } => mornings.entry(at).or_default().push((case, None)),
                Course::Decided { received, decision } => {
                    mornings.entry(received).or_default().push((case, Some(decision)));
                }
            }
        }
        for (morning, cases) in mornings {
            self.bar.inc(cases.len() as u64);
            self.acknowledge(morning, cases.iter().map(|(case, _)| case.clone()).collect()).await?;
            let items = cases.into_iter().filter_map(|(case, decision)| {
                let request_id = step(&["decide", &case]);
                Some(BatchDecisionItem { case, decision: Some(*decision?), expected_version: Some(0), request_id })
            });
            self.decide(items.collect()).await?;
            self.bar.set_message(format!("received, {} decided, to {}", shown(self.decided), morning.date()));
        }
        Ok(())
    }

    async fn acknowledge(&mut self, morning: Timestamp, names: Vec<String>) -> Result<()> {
        let request = AcknowledgeCasesRequest {
            parent: self.name.clone(),
            request_id: step(&["acknowledge", &morning.to_string(), &names.join(" ")]),
            names,
            occurred_at: Some(to_proto(morning)),
        };
        let reply = call!(self.session, decisions, acknowledge_cases, request)?;
        for result in reply.results {
            if let Some(acknowledge_result::Result::Error(error)) = result.result {
                return Err(refused(&result.name, &error));
            }
            self.acknowledged += 1;
        }
        self.note(reply.revision);
        Ok(())
    }

    async fn decide(&mut self, items: Vec<BatchDecisionItem>) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let request = BatchRecordDecisionsRequest { parent: self.name.clone(), items };
        let reply = call!(self.session, decisions, batch_record_decisions, request)?;
        for result in reply.results {
            if let Some(batch_decision_result::Result::Error(error)) = result.result {
                return Err(refused(&result.case, &error));
            }
            self.decided += 1;
        }
        self.note(reply.revision);
        Ok(())
    }

    /// Keeps the newest revision.
    fn note(&mut self, revision: String) {
        if !revision.is_empty() {
            self.revision = Some(revision);
        }
    }
}

/// A platform publishes its policy, version by version.
async fn publish(session: &Session, platform: &Platform) -> Result<()> {
    for clause in platform.clauses {
        let request = CreateClauseRequest {
            parent: platform.name(),
            clause_id: clause.id.to_owned(),
            clause: Some(Clause { title: clause.title.to_owned(), ..Clause::default() }),
            request_id: step(&["clause", platform.id, clause.id]),
        };
        call!(session, policies, create_clause, request)?;
        for version in clause.versions {
            let from: Timestamp = version.from.parse().map_err(Failure::Failed)?;
            let request = AddClauseVersionRequest {
                parent: format!("{}/clauses/{}", platform.name(), clause.id),
                clause_version: Some(ClauseVersion {
                    title: clause.title.to_owned(),
                    text_digest: digest(version.text.as_bytes()),
                    effective_from: Some(to_proto(from)),
                    permits: version.permits.to_owned(),
                    ..ClauseVersion::default()
                }),
                request_id: step(&["clause version", platform.id, clause.id, version.from]),
            };
            call!(session, policies, add_clause_version, request)?;
        }
    }
    Ok(())
}

fn refused(what: &str, error: &pb::Status) -> Failure {
    Failure::Failed(format!("{what} was refused: {}", error.message))
}

fn shown(count: usize) -> String {
    grouped(i64::try_from(count).unwrap_or(i64::MAX))
}
