//! `DecisionService.ExportStatements`: a platform's decisions for the DSA Transparency Database.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use futures_util::stream;
use portreeve_api::decision::v1 as wire;
use portreeve_consultation::Asking;
use portreeve_core::access::Reader;
use portreeve_core::audit::hex;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, OrganisationKind, parse_owner};
use portreeve_core::principal::Scope;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Result, Violations, limits};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{position_key, read_position, violations};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tonic::Request;
use wire::export_statements_response::Part;

use super::cases::case_name;
use super::convert::{agency, read_decision_filter};
use super::{Replies, Rpc};
use crate::domain::statement::{AccountType, ContentType, Exclusion, Facts, Statement, statement};
use crate::store::{DecisionFilter, Reads, Stretch};

impl Rpc {
    pub(super) async fn export_of_statements(
        &self,
        request: Request<wire::ExportStatementsRequest>,
    ) -> Result<Replies<wire::ExportStatementsResponse>> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).unwrap_or_default().to_owned();
        let mut filter = read_decision_filter(&mut violations, message.filter.as_ref());
        let facts = read_facts(&mut violations, &platform, &message.facts);
        violations.into_result()?;
        only_its_own(asking.caller(), &platform)?;
        filter.platform = Some(platform);
        let query = filter_hash("ExportStatements", &message.parent, &message.filter.unwrap_or_default());
        let after = read_position(Page::decode(&message.after, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let (state, _) = self.parts.log.standing().await?;
        let export = Export {
            reads: Arc::clone(&self.parts.reads),
            reader: Reader::own(asking.caller().clone()),
            asking,
            filter,
            facts,
            trusted: message.trusted_flaggers.iter().filter_map(|name| agency(name)).collect(),
            after,
            through: state.head,
            query,
            waiting: Vec::new(),
            ready: VecDeque::new(),
            hasher: Sha256::new(),
            summary: wire::StatementsSummary { revisions, ..wire::StatementsSummary::default() },
            over: false,
        };
        Ok(Box::pin(stream::try_unfold(export, |mut export| async {
            let part = export.next().await.or_status()?;
            Ok(part.map(|part| (wire::ExportStatementsResponse { part: Some(part) }, export)))
        })))
    }
}

/// A statement is its platform's to file, and nobody else's.
fn only_its_own(caller: &Principal, platform: &str) -> Result<()> {
    if caller.scope() == Scope::Platform(platform.to_owned()) { Ok(()) } else { Err(caller.denied()) }
}

fn read_facts(violations: &mut Violations, platform: &str, told: &[wire::StatementFacts]) -> HashMap<Uuid, Facts> {
    let mut facts = HashMap::with_capacity(told.len());
    for (index, of) in told.iter().enumerate() {
        let field = format!("facts[{index}]");
        let case = case_name(violations, &format!("{field}.case"), &of.case);
        if case.as_ref().is_some_and(|case| case.platform != platform) {
            violations.add(format!("{field}.case"), format_args!("must be a case of platforms/{platform}"));
        }
        let content_date = violations.check(&format!("{field}.content_date"), of.content_date.parse());
        let Some((case, content_date)) = case.zip(content_date) else { continue };
        let known = Facts {
            content_date,
            content_types: of.content_types.iter().filter_map(|code| ContentType::from_code(*code)).collect(),
            account_type: AccountType::from_code(of.account_type),
        };
        if facts.insert(case.id, known).is_some() {
            violations.add(format!("{field}.case"), "is there twice");
        }
    }
    facts
}

/// An export under way: it holds a page of decisions and a batch of statements, however many there are.
struct Export {
    reads: Arc<dyn Reads>,
    reader: Reader,
    asking: Asking,
    filter: DecisionFilter,
    facts: HashMap<Uuid, Facts>,
    trusted: BTreeSet<String>,
    after: i64,
    /// Where the log stood when it began. What is recorded later is the next export's.
    through: i64,
    query: u64,
    /// Statements that are no whole batch yet.
    waiting: Vec<Statement>,
    ready: VecDeque<Part>,
    hasher: Sha256,
    summary: wire::StatementsSummary,
    over: bool,
}

impl Export {
    async fn next(&mut self) -> Result<Option<Part>> {
        while self.ready.is_empty() && !self.over {
            self.page().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads on, and records what it is about to show.
    async fn page(&mut self) -> Result<()> {
        let limit = limits::PAGE_ROWS_MAX;
        let stretch = Stretch { after: self.after, limit, unchanged_since: Some(self.through) };
        let found = self.reads.reasoned(&self.reader, &self.filter, stretch).await?;
        let shown = found.iter().map(|of| &of.record.referral);
        self.asking.rows(shown.map(|referral| (referral.agency.as_str(), referral.id))).await?;
        let mut excluded = Vec::new();
        for of in &found {
            self.after = of.record.seq;
            let (case, decision) = (&of.case, &of.record.decision);
            let facts = self.facts.get(&of.record.case.id);
            let trusted = self.trusted.contains(&of.record.referral.agency);
            match statement(case, decision, of.clause.as_ref(), facts, trusted) {
                Ok(statement) => {
                    self.waiting.push(statement);
                    if self.waiting.len() == limits::BATCH_STATEMENTS_MAX {
                        self.batch()?;
                    }
                }
                Err(reasons) => excluded.push(write_excluded(&of.record.case, decision.version, &reasons)),
            }
        }
        if !excluded.is_empty() {
            self.summary.excluded_count += excluded.len() as u64;
            self.ready.push_back(Part::Excluded(wire::ExcludedDecisions { decisions: excluded }));
        }
        if found.len() < limit {
            self.batch()?;
            self.end();
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'s> {
            statements: &'s [Statement],
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let json = serde_json::to_string(&Body { statements: &self.waiting })
            .map_err(|error| Error::internal(format!("statements cannot be written: {error}")))?;
        self.hasher.update(&json);
        let statement_count = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.summary.statement_count += u64::from(statement_count);
        self.summary.batch_count += 1;
        self.waiting.clear();
        self.ready.push_back(Part::Batch(wire::StatementBatch { json, statement_count }));
        Ok(())
    }

    fn end(&mut self) {
        let digest = std::mem::take(&mut self.hasher).finalize();
        let summary = wire::StatementsSummary {
            sha256: hex(&digest),
            next_after: Page { query: self.query, after: position_key(self.through) }.encode(),
            ..std::mem::take(&mut self.summary)
        };
        self.ready.push_back(Part::Summary(summary));
        self.over = true;
    }
}

fn write_excluded(case: &CaseName, version: u32, reasons: &[Exclusion]) -> wire::ExcludedDecision {
    wire::ExcludedDecision {
        decision: format!("{case}/decisions/{version}"),
        reasons: reasons.iter().map(|reason| reason.code()).collect(),
    }
}
