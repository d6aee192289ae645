//! How the writer loads and persists the ledger's state, and how rows become cases.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portreeve_core::Timestamp;
use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::id::Uuid;
use portreeve_core::name::ClauseName;
use portreeve_core::vocabulary::FieldGroup;
use portreeve_runtime::agreements::{decode, encode};

use super::agreements::{self, Kept};
use super::{Binds, Conn, Insert, Lookup, Reads, Script, followed};
use crate::domain::{
    Case, CaseRecord, Challenge, Citation, Clause, ClauseRecord, ClauseVersion, Command, Event, Ledger, Notification,
    State,
};
use crate::rpc::challenges::convert::encode as encode_challenge;
use crate::rpc::clocks::convert::{encode_course, encode_times};
use crate::rpc::convert::{Log, encode_check, encode_erasures, encode_exhibits, encode_observation};
use crate::store::sql_row::{
    CASE_COLUMNS, CLAUSE_COLUMNS, CLAUSE_VERSION_COLUMNS, CaseRow, ChallengeRow, CitationRow, ClauseRow,
    ClauseVersionRow, DECISION_COLUMNS, DecisionRow, ResponseTimesRow, join, join_numbers,
};
use crate::store::{DecisionRecord, FOLLOWS};

pub(super) static CASES_BY_ID: Lookup = Lookup::new(CASE_COLUMNS!("c.case_id IN"));
static DECISIONS: Lookup = Lookup::new(DECISION_COLUMNS!("d.seq IN"));
static CITATIONS: Lookup =
    Lookup::new("SELECT decision_seq, place, clause, version FROM citation WHERE decision_seq IN");
pub(super) static CHALLENGES: Lookup =
    Lookup::new("SELECT ch.seq, ch.case_id, ch.body FROM challenge ch WHERE ch.case_id IN");
static RESPONSE_TIMES: Lookup = Lookup::new("SELECT t.updated_seq, t.body FROM response_times t WHERE t.platform IN");
static CLAUSES: Lookup = Lookup::new(CLAUSE_COLUMNS!("c.name IN"));
pub(super) static CLAUSE_VERSIONS: Lookup = Lookup::new(CLAUSE_VERSION_COLUMNS!("v.clause IN"));

static UPSERT_CASE: Insert = Insert::new(
    "cases",
    &[
        "seq BIGINT",
        "updated_seq BIGINT",
        "decided_seq BIGINT",
        "case_id BYTEA",
        "agency TEXT",
        "platform TEXT",
        "target_kind BIGINT",
        "url TEXT",
        "canonical_url TEXT",
        "native_id TEXT",
        "nature BIGINT",
        "ground BIGINT",
        "legal_code TEXT",
        "legal_statute TEXT",
        "legal_section TEXT",
        "statement TEXT",
        "statement_language TEXT",
        "content_language TEXT",
        "submitted_us BIGINT",
        "submitted_recorded_us BIGINT",
        "status BIGINT",
        "acknowledged_us BIGINT",
        "acknowledged_recorded_us BIGINT",
        "first_decided_us BIGINT",
        "withdrawn_us BIGINT",
        "withdrawal_recorded_us BIGINT",
        "withdrawal_reason TEXT",
        "signature TEXT",
        "signed_occurred_us BIGINT",
        "tlp BIGINT",
        "conditional BIGINT",
        "erasures BYTEA",
        "replay_clause TEXT",
        "replay_version BIGINT",
        "replay_since_us BIGINT",
        "challenges BIGINT",
        "observation BYTEA",
        "sighting BYTEA",
        "discrepancy BIGINT",
        "context_check BYTEA",
        "course BYTEA",
        "next_mark_us BIGINT",
        "clocks_open BIGINT",
        "clocks_due_us BIGINT",
        "urgency BIGINT",
        "leased_until_us BIGINT",
        "exhibits BYTEA",
        "operation TEXT",
        "same_target TEXT",
    ],
    "ON CONFLICT (seq) DO UPDATE SET updated_seq = excluded.updated_seq, decided_seq = excluded.decided_seq, \
     status = excluded.status, acknowledged_us = excluded.acknowledged_us, \
     acknowledged_recorded_us = excluded.acknowledged_recorded_us, first_decided_us = excluded.first_decided_us, \
     withdrawn_us = excluded.withdrawn_us, withdrawal_recorded_us = excluded.withdrawal_recorded_us, \
     withdrawal_reason = excluded.withdrawal_reason, url = excluded.url, canonical_url = excluded.canonical_url, \
     native_id = excluded.native_id, statement = excluded.statement, signature = excluded.signature, \
     signed_occurred_us = excluded.signed_occurred_us, erasures = excluded.erasures, \
     replay_clause = excluded.replay_clause, replay_version = excluded.replay_version, \
     replay_since_us = excluded.replay_since_us, challenges = excluded.challenges, \
     observation = excluded.observation, sighting = excluded.sighting, discrepancy = excluded.discrepancy, \
     context_check = excluded.context_check, course = excluded.course, next_mark_us = excluded.next_mark_us, \
     clocks_open = excluded.clocks_open, clocks_due_us = excluded.clocks_due_us, urgency = excluded.urgency, \
     leased_until_us = excluded.leased_until_us, exhibits = excluded.exhibits",
);
static UPSERT_CHALLENGE: Insert = Insert::new(
    "challenge",
    &[
        "seq BIGINT",
        "case_id BYTEA",
        "agency TEXT",
        "platform TEXT",
        "number BIGINT",
        "filed_by TEXT",
        "kind BIGINT",
        "stage BIGINT",
        "open BIGINT",
        "due_us BIGINT",
        "body BYTEA",
    ],
    // It was filed by the event that the row has already.
    "ON CONFLICT (case_id, number) DO UPDATE SET stage = excluded.stage, open = excluded.open, due_us = excluded.due_us, \
     body = excluded.body",
);
static INSERT_DECISION: Insert = Insert::new(
    "decision",
    &[
        "seq BIGINT",
        "case_id BYTEA",
        "version BIGINT",
        "agency TEXT",
        "platform TEXT",
        "kind BIGINT",
        "outcome BIGINT",
        "restriction BIGINT",
        "cannot_access BIGINT",
        "gone_by BIGINT",
        "protected_context BIGINT",
        "items_closed BIGINT",
        "items_total BIGINT",
        "suspended_until_us BIGINT",
        "duplicate_of TEXT",
        "law TEXT",
        "decided_by BIGINT",
        "cause_kind BIGINT",
        "cause_reference TEXT",
        "decided_us BIGINT",
        "effective_us BIGINT",
        "recorded_us BIGINT",
        "territorial_scope TEXT",
        "explanation TEXT",
        "language_reviewed TEXT",
        "redress TEXT",
        "notification BIGINT",
        "notification_exemption BIGINT",
        "suppressed_until_us BIGINT",
    ],
    "",
);
static INSERT_CITATION: Insert =
    Insert::new("citation", &["decision_seq BIGINT", "place BIGINT", "clause TEXT", "version BIGINT"], "");
static UPSERT_CLAUSE: Insert = Insert::new(
    "clause",
    &["name TEXT", "platform TEXT", "title TEXT", "latest_version BIGINT", "created_us BIGINT", "updated_seq BIGINT"],
    "ON CONFLICT (name) DO UPDATE SET latest_version = excluded.latest_version, updated_seq = excluded.updated_seq",
);
static UPSERT_RESPONSE_TIMES: Insert = Insert::new(
    "response_times",
    &["platform TEXT", "updated_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (platform) DO UPDATE SET updated_seq = excluded.updated_seq, body = excluded.body",
);
static INSERT_CLAUSE_VERSION: Insert = Insert::new(
    "clause_version",
    &[
        "clause TEXT",
        "version BIGINT",
        "title TEXT",
        "text_digest TEXT",
        "effective_from_us BIGINT",
        "effective_until_us BIGINT",
        "jurisdictions TEXT",
        "permits TEXT",
        "public_url TEXT",
        "recorded_us BIGINT",
        "ends_permission_of TEXT",
    ],
    "",
);

/// What the platform explained, in every version of its decision.
const ERASE_EXPLANATIONS: &str = "UPDATE decision SET explanation = '' WHERE case_id = $1";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("erase_explanations", ERASE_EXPLANATIONS.to_owned())];
    for (name, texts) in [
        ("load_cases", CASES_BY_ID.texts()),
        ("load_decisions", DECISIONS.texts()),
        ("load_citations", CITATIONS.texts()),
        ("load_challenges", CHALLENGES.texts()),
        ("upsert_challenge", UPSERT_CHALLENGE.texts()),
        ("load_response_times", RESPONSE_TIMES.texts()),
        ("upsert_response_times", UPSERT_RESPONSE_TIMES.texts()),
        ("load_clauses", CLAUSES.texts()),
        ("load_clause_versions", CLAUSE_VERSIONS.texts()),
        ("upsert_case", UPSERT_CASE.texts()),
        ("insert_decision", INSERT_DECISION.texts()),
        ("insert_citation", INSERT_CITATION.texts()),
        ("upsert_clause", UPSERT_CLAUSE.texts()),
        ("insert_clause_version", INSERT_CLAUSE_VERSION.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all.extend(agreements::statements());
    all
}

/// What a batch touches.
#[derive(Default)]
pub struct Keys {
    cases: BTreeSet<Uuid>,
    clauses: BTreeSet<ClauseName>,
    /// Platforms whose response times count.
    platforms: BTreeSet<String>,
    agreements: BTreeSet<AgreementName>,
}

/// The service's tables.
pub struct Tables;

impl super::super::engine::sql::Tables<Ledger> for Tables {
    type Keys = Keys;
    type Codec = Log;
    const STATE_TABLES: &'static [&'static str] = &[
        "citation",
        "decision",
        "challenge",
        "cases",
        "clause_version",
        "clause",
        "response_times",
        "agreement_party",
        "agreement",
    ];

    fn command_keys(command: &Command, keys: &mut Keys) {
        match command {
            Command::FollowReferrals { told, agreements, observed } => {
                keys.cases.extend(observed.iter().map(|seen| seen.referral));
                keys.cases.extend(told.iter().map(|told| told.referred.name.id));
                let orders = told.iter().filter_map(|told| told.referred.order.as_ref());
                keys.cases.extend(orders.filter_map(|order| order.escalates.as_ref()).map(|name| name.id));
                keys.agreements.extend(agreements.iter().map(|agreement| agreement.name));
            }
            Command::Acknowledge { case, .. } => {
                keys.cases.insert(case.id);
                keys.platforms.insert(case.platform.clone());
            }
            Command::FileChallenge { case, .. } | Command::BeginStay { case, .. } => {
                keys.cases.insert(case.id);
            }
            Command::Answer { stay, .. } | Command::Cease { stay } => {
                keys.cases.insert(stay.case.id);
            }
            Command::SetResponseTimes { platform, .. } => {
                keys.platforms.insert(platform.clone());
            }
            Command::Tick { cases } => keys.cases.extend(cases),
            Command::Lease { wanted, .. } => keys.cases.extend(wanted.cases().iter().map(|case| case.id)),
            Command::Release { cases, .. } => keys.cases.extend(cases.iter().map(|case| case.id)),
            Command::Record { case, draft, .. } => {
                keys.cases.insert(case.id);
                keys.clauses.extend(draft.content.clauses().map(|citation| citation.clause.clone()));
            }
            Command::Pursue { challenge, pursuit } => {
                keys.cases.insert(challenge.case.id);
                let cited = pursuit.decision.iter().flat_map(|decision| decision.content.clauses());
                keys.clauses.extend(cited.map(|citation| citation.clause.clone()));
            }
            Command::CreateClause { name: clause, .. } | Command::AddClauseVersion { clause, .. } => {
                keys.clauses.insert(clause.clone());
            }
            Command::Replay { clause, cases } => {
                keys.clauses.insert(clause.clone());
                keys.cases.extend(cases);
            }
        }
    }

    fn event_keys(event: &Event, keys: &mut Keys) {
        match event {
            Event::CaseOpened(changed)
            | Event::CaseAcknowledged(changed)
            | Event::CaseDecided(changed)
            | Event::CaseWithdrawn(changed)
            | Event::CaseErased(changed)
            | Event::ReplayChanged(changed)
            | Event::ChallengeChanged(changed, _)
            | Event::StayChanged(changed, _)
            | Event::ClockMarked(changed)
            | Event::ReviewChanged(changed)
            | Event::CaseEscalated(changed)
            | Event::CasePrioritised(changed)
            | Event::NonDisclosureChanged(changed)
            | Event::CaseObserved(changed) => {
                keys.cases.insert(changed.case.referred.name.id);
            }
            Event::ClauseCreated(clause) => {
                keys.clauses.insert(clause.name.clone());
            }
            Event::ClauseVersionAdded(version) => {
                keys.clauses.insert(version.citation.clause.clone());
            }
            Event::ResponseTimesSet(times) => {
                keys.platforms.insert(times.platform.clone());
            }
            Event::AgreementLearnt(agreement) => {
                keys.agreements.insert(agreement.name);
            }
        }
    }

    async fn load(conn: &mut Conn, keys: Keys) -> sqlx::Result<State> {
        let mut state = State::default();
        let ids = keys.cases.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
        let names = keys.clauses.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut reads = Reads::new();
        let followed = followed::all(&mut reads);
        let cases = reads.find(&CASES_BY_ID, &ids);
        let clauses = reads.find(&CLAUSES, &names);
        let versions = reads.find(&CLAUSE_VERSIONS, &names);
        let said = reads.find(&RESPONSE_TIMES, &keys.platforms.into_iter().collect::<Vec<_>>());
        let known = keys.agreements.iter().map(|name| name.0.as_bytes().to_vec()).collect::<Vec<_>>();
        let known = agreements::find(&mut reads, &known);
        let mut found = reads.run(conn).await?;

        let followed = followed::found(&mut found, followed)?;
        state.referral_position = followed.iter().find(|log| log.log == FOLLOWS).map_or(0, |log| log.position);
        for kept in agreements::found(&mut found, known)? {
            let agreement = kept_agreement(&kept)?;
            state.agreements.insert(agreement.name, (agreement, kept.created));
        }
        for record in case_records(conn, found.take(cases)?).await? {
            state.cases.insert(record.case.referred.name.id, record);
        }
        let rows: Vec<ResponseTimesRow> = found.take(said)?;
        for row in rows {
            let record = row.read()?;
            state.response_times.insert(record.times.platform.clone(), record);
        }
        let rows: Vec<ClauseRow> = found.take(clauses)?;
        for row in rows {
            let updated = row.updated_seq;
            let clause = row.read()?;
            state.clauses.insert(clause.name.clone(), ClauseRecord { clause, versions: Vec::new(), updated });
        }
        let rows: Vec<ClauseVersionRow> = found.take(versions)?;
        for row in rows {
            let version = row.read()?;
            if let Some(record) = state.clauses.get_mut(&version.citation.clause) {
                record.versions.push(version);
            }
        }
        for record in state.clauses.values_mut() {
            record.versions.sort_by_key(|version| version.citation.version);
            // A lookup may give a row twice.
            record.versions.dedup_by_key(|version| version.citation.version);
        }
        Ok(state)
    }

    async fn persist(script: &mut Script<'_>, state: State) -> sqlx::Result<()> {
        let State { cases, clauses, response_times, agreements: known, changes, .. } = state;
        let learnt = changes.agreements.iter().filter_map(|(name, position)| {
            let (agreement, first) = known.get(name)?;
            let kept =
                Kept { id: name.0.as_bytes().to_vec(), created: *first, updated: *position, body: encode(agreement) };
            Some((kept, agreement.terms.parties.clone()))
        });
        agreements::keep(script, &learnt.collect::<Vec<_>>()).await?;
        let changed = changes.opened.iter().chain(&changes.updated).filter_map(|id| cases.get(id));
        let mut changed = changed.collect::<Vec<_>>();
        changed.sort_by_key(|record| record.opened);
        UPSERT_CASE.run(script, &changed, |record, binds| bind_case(record, binds)).await?;
        INSERT_DECISION.run(script, &changes.decided, |(seq, case), binds| bind_decision(*seq, case, binds)).await?;
        for record in changes.erased.iter().filter_map(|id| cases.get(id)) {
            if record.case.is_erased(FieldGroup::Reasons) {
                let id = record.case.referred.name.id.as_bytes().to_vec();
                script
                    .execute(ERASE_EXPLANATIONS, |binds| {
                        binds.add(id);
                    })
                    .await?;
            }
        }
        let challenged = changes.challenges.iter().filter_map(|((id, number), seq)| {
            let case = &cases.get(id)?.case;
            Some((*seq, case, case.challenges.iter().find(|challenge| challenge.number == *number)?))
        });
        UPSERT_CHALLENGE.run(script, &challenged.collect::<Vec<_>>(), bind_challenge).await?;
        let citations = changes.decided.iter().flat_map(|(seq, case)| {
            let clauses = case.decision().into_iter().flat_map(|decision| decision.content.clauses());
            (0_i64..).zip(clauses).map(|(place, citation)| (*seq, place, citation))
        });
        INSERT_CITATION
            .run(script, &citations.collect::<Vec<_>>(), |(seq, place, citation): &(i64, i64, &Citation), binds| {
                binds.add(*seq).add(*place).add(citation.clause.to_string()).add(i64::from(citation.version));
            })
            .await?;

        let said = changes.response_times.iter().filter_map(|platform| response_times.get(platform));
        UPSERT_RESPONSE_TIMES
            .run(script, &said.collect::<Vec<_>>(), |record, binds| {
                binds.add(record.times.platform.as_str()).add(record.updated).add(encode_times(&record.times));
            })
            .await?;
        let changed = changes.clauses.iter().filter_map(|name| clauses.get(name)).collect::<Vec<_>>();
        UPSERT_CLAUSE
            .run(script, &changed, |record, binds| {
                let Clause { name, title, latest_version, created_at } = &record.clause;
                binds
                    .add(name.to_string())
                    .add(name.platform.as_str())
                    .add(title.as_str())
                    .add(i64::from(*latest_version))
                    .add(created_at.micros())
                    .add(record.updated);
            })
            .await?;
        INSERT_CLAUSE_VERSION.run(script, &changes.versions, bind_clause_version).await
    }
}

/// Decisions of rows, with their citations.
pub(super) async fn decision_records(conn: &mut Conn, rows: Vec<DecisionRow>) -> sqlx::Result<Vec<DecisionRecord>> {
    let seqs = rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let mut cited: Vec<CitationRow> = CITATIONS.run(conn, &seqs).await?;
    cited.sort_by_key(|row| (row.decision_seq, row.place));
    cited.dedup_by_key(|row| (row.decision_seq, row.place));
    let mut clauses = HashMap::<i64, Vec<Citation>>::new();
    for row in &cited {
        clauses.entry(row.decision_seq).or_default().push(row.read()?);
    }
    rows.into_iter()
        .map(|row| {
            let cited = clauses.get(&row.seq).cloned().unwrap_or_default();
            row.read(cited)
        })
        .collect()
}

/// Cases of rows, with their latest decisions and their challenges.
pub(super) async fn case_records(conn: &mut Conn, rows: Vec<CaseRow>) -> sqlx::Result<Vec<CaseRecord>> {
    let decided = rows.iter().map(|row| row.decided_seq).filter(|seq| *seq > 0).collect::<BTreeSet<_>>();
    let found = DECISIONS.run(conn, &decided.into_iter().collect::<Vec<_>>()).await?;
    let found = decision_records(conn, found).await?;
    let decisions = found.into_iter().map(|record| (record.seq, record.decision)).collect::<HashMap<_, _>>();
    let challenged = rows.iter().filter(|row| row.challenges > 0).map(|row| row.id().to_vec()).collect::<BTreeSet<_>>();
    let mut filed: Vec<ChallengeRow> = CHALLENGES.run(conn, &challenged.into_iter().collect::<Vec<_>>()).await?;
    filed.sort_by_key(|row| row.seq);
    filed.dedup_by_key(|row| row.seq);
    let mut challenges = HashMap::<Vec<u8>, Vec<Challenge>>::new();
    for row in filed {
        challenges.entry(row.case_id.clone()).or_default().push(row.read()?);
    }
    rows.into_iter()
        .map(|row| {
            let (opened, updated, decided) = (row.seq, row.updated_seq, row.decided_seq);
            let challenges = challenges.get(row.id()).cloned().unwrap_or_default();
            let case = Arc::new(row.read(decisions.get(&decided).cloned(), challenges)?);
            Ok(CaseRecord { case, opened, updated, decided })
        })
        .collect()
}

fn bind_case(record: &CaseRecord, binds: &mut Binds) {
    let Case { referred, withdrawal, erasures, replay, challenges, observation, sighting, .. } = &*record.case;
    let micros = |time: Option<Timestamp>| time.map(Timestamp::micros);
    let receipt = record.case.receipt();
    binds
        .add(record.opened)
        .add(record.updated)
        .add(record.decided)
        .add(referred.name.id.as_bytes().to_vec())
        .add(referred.name.agency.as_str())
        .add(referred.platform.as_str())
        .add(i64::from(referred.target.kind))
        .add(referred.target.url.as_str())
        .add(referred.target.canonical_url.as_str())
        .add(referred.target.native_id.as_str())
        .add(i64::from(referred.nature))
        .add(i64::from(referred.ground))
        .add(referred.legal_basis.code.as_str())
        .add(referred.legal_basis.statute.as_str())
        .add(referred.legal_basis.section.as_str())
        .add(referred.statement_of_reasons.as_str())
        .add(referred.statement_language.as_str())
        .add(referred.content_language.as_str())
        .add(referred.occurred_at.micros())
        .add(referred.recorded_at.micros())
        .add(i64::from(record.case.status().code()))
        .add(micros(receipt.map(|receipt| receipt.occurred_at)))
        .add(micros(receipt.map(|receipt| receipt.recorded_at)))
        .add(micros(record.case.first_decided_at()))
        .add(micros(withdrawal.as_ref().map(|withdrawal| withdrawal.occurred_at)))
        .add(micros(withdrawal.as_ref().map(|withdrawal| withdrawal.recorded_at)))
        .add(withdrawal.as_ref().map(|withdrawal| withdrawal.reason.as_str()))
        .add(referred.signature.as_ref().map_or("", |signature| signature.jws.as_str()))
        .add(micros(referred.signature.as_ref().and_then(|signature| signature.occurred_at)))
        .add(i64::from(referred.tlp.code()))
        .add(i64::from(referred.conditional))
        .add(encode_erasures(erasures))
        .add(replay.as_ref().map_or_else(String::new, |replay| replay.under.clause.to_string()))
        .add(replay.as_ref().map_or(0, |replay| i64::from(replay.under.version)))
        .add(micros(replay.as_ref().map(|replay| replay.since)))
        .add(i64::try_from(challenges.len()).unwrap_or(i64::MAX))
        .add(encode_observation(observation.as_ref()))
        .add(encode_observation(sighting.as_ref()))
        .add(record.case.discrepancy().map_or(0, |of| i64::from(of.code())))
        .add(encode_check(&referred.protected_context))
        .add(encode_course(&record.case))
        .add(micros(record.case.next_mark()))
        .add(i64::try_from(record.case.clocks_open()).unwrap_or(i64::MAX))
        .add(micros(record.case.clocks_due()))
        .add(i64::from(record.case.urgency()))
        .add(record.case.lease.as_ref().map_or(0, |lease| lease.until.micros()))
        .add(encode_exhibits(&referred.evidence))
        .add(referred.operation.as_str())
        .add(referred.same_target.as_ref().map(ToString::to_string).unwrap_or_default());
}

fn bind_challenge((seq, case, challenge): &(i64, &Arc<Case>, &Challenge), binds: &mut Binds) {
    binds
        .add(*seq)
        .add(case.referred.name.id.as_bytes().to_vec())
        .add(case.referred.name.agency.as_str())
        .add(case.referred.platform.as_str())
        .add(i64::from(challenge.number))
        .add(challenge.by.to_string())
        .add(i64::from(challenge.kind.code()))
        .add(i64::from(challenge.stage().code()))
        .add(i64::from(challenge.is_open()))
        .add(challenge.due_at().map(Timestamp::micros))
        .add(encode_challenge(&case.name(), challenge));
}

/// The agreement behind a row.
pub(super) fn kept_agreement(kept: &Kept) -> sqlx::Result<Agreement> {
    decode(&kept.body).ok_or_else(|| sqlx::Error::Decode("an agreement cannot be read".into()))
}

fn bind_decision(seq: i64, decided: &Case, binds: &mut Binds) {
    let Some(decision) = decided.decision() else { return };
    let content = &decision.content;
    let flat = content.outcome.flatten(&content.also);
    let cause = content.kind.cause();
    let notification = content.notification.map(Notification::flat).unwrap_or_default();
    binds
        .add(seq)
        .add(decided.referred.name.id.as_bytes().to_vec())
        .add(i64::from(decision.version))
        .add(decided.referred.name.agency.as_str())
        .add(decided.referred.platform.as_str())
        .add(i64::from(content.kind.code()))
        .add(i64::from(flat.outcome))
        .add(i64::from(flat.restriction))
        .add(i64::from(flat.cannot_access))
        .add(i64::from(flat.gone_by))
        .add(i64::from(flat.protected_context))
        .add(i64::from(flat.items_closed))
        .add(i64::from(flat.items_total))
        .add(flat.suspended_until.map(Timestamp::micros))
        .add(flat.duplicate_of.as_ref().map(ToString::to_string).unwrap_or_default())
        .add(flat.law)
        .add(i64::from(content.decided_by.code()))
        .add(cause.map_or(0, |cause| i64::from(cause.kind.code())))
        .add(cause.map(|cause| cause.reference.clone()).unwrap_or_default())
        .add(decision.decided_at.micros())
        .add(content.effective_at.map(Timestamp::micros))
        .add(decision.recorded_at.micros())
        .add(join(&content.territorial_scope))
        .add(content.explanation.as_str())
        .add(content.language_reviewed.as_str())
        .add(join_numbers(content.redress.iter().map(|redress| redress.code())))
        .add(i64::from(notification.status))
        .add(i64::from(notification.exemption))
        .add(notification.suppressed_until.map(Timestamp::micros));
}

fn bind_clause_version(version: &ClauseVersion, binds: &mut Binds) {
    let content = &version.content;
    binds
        .add(version.citation.clause.to_string())
        .add(i64::from(version.citation.version))
        .add(content.title.as_str())
        .add(content.text_digest.as_str())
        .add(content.effective_from.micros())
        .add(content.effective_until.map(Timestamp::micros))
        .add(join(&content.jurisdictions))
        .add(content.permits.as_str())
        .add(content.public_url.as_str())
        .add(version.recorded_at.micros())
        .add(join_numbers(&content.ends_permission_of));
}
