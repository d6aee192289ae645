//! The service's reads. Their texts do not depend on what is asked for, so that each is prepared once, and on both
//! engines in a test. A list of values travels as one text (`,1,3,`), since the engines bind arrays differently.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::access::Reader;
use portreeve_core::agreement::Agreement;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, ChallengeName, ClauseName};
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::FieldGroup;
use portreeve_core::{Principal, Result, Timestamp};
use portreeve_storage::unavailable;
use sqlx::{QueryBuilder, SqlStr};

use super::tables::{
    CASES_BY_ID, CLAUSE_VERSIONS as VERSIONS_OF_CLAUSES, Tables, case_records, decision_records, kept_agreement,
};
use super::{Db, Store, agreements};
use crate::domain::{
    CaseRecord, Challenge, Citation, Clause, ClauseVersion, Ledger, OutcomeKind, ResponseTimes, Status, Stay,
};
use crate::store::sql_row::{
    CASE_COLUMNS, CLAUSE_COLUMNS, CLAUSE_VERSION_COLUMNS, CaseRow, ChallengeRow, ClauseRow, ClauseVersionRow,
    DECISION_COLUMNS, DecisionRow, ResponseTimesRow,
};
use crate::store::{
    CaseFilter, ChallengeFilter, ClockFilter, DecisionFilter, DecisionRecord, Reasoned, Shown, ShownChallenge, Stretch,
};

/// Cases of an owner. [`CaseFilter::selects`] is the same rule for streams; a test holds them together.
macro_rules! cases_of {
    ($owner:literal) => {
        concat!(
            CASE_COLUMNS!($owner),
            " AND c.seq > $3 AND c.updated_seq <= $4 \
             AND ($5 = '' OR $5 LIKE '%,' || c.status || ',%') \
             AND ($6 = '' OR $6 LIKE '%,' || c.agency || ',%') \
             AND ($7 = '' OR $7 LIKE '%,' || c.ground || ',%') \
             AND ($8 = '' OR $8 LIKE '%,' || c.nature || ',%') \
             AND ($9 = '' OR $9 LIKE '%,' || c.target_kind || ',%') \
             AND c.submitted_us >= $10 AND c.submitted_us < $11 \
             AND ($13 = '' OR $13 LIKE '%,' || c.discrepancy || ',%') \
             AND ($14 = '' OR $14 LIKE '%,' || c.operation || ',%') ORDER BY c.seq LIMIT $12"
        )
    };
}

/// Decisions of an owner. [`DecisionFilter::selects`] is the same rule for streams; a test holds them together.
macro_rules! decisions_of {
    ($owner:literal) => {
        concat!(
            DECISION_COLUMNS!($owner),
            " AND d.seq > $3 AND d.seq <= $4 \
             AND ($5 = '' OR $5 LIKE '%,' || d.outcome || ',%') \
             AND ($6 = '' OR $6 LIKE '%,' || d.kind || ',%') \
             AND ($7 = '' OR $7 LIKE '%,' || d.agency || ',%') \
             AND ($8 = '' OR EXISTS (SELECT 1 FROM citation x \
                                     WHERE x.decision_seq = d.seq AND $8 LIKE '%,' || x.clause || ',%')) \
             AND d.decided_us >= $9 AND d.decided_us < $10 \
             AND ($11 = 0 OR d.seq = (SELECT c.decided_seq FROM cases c WHERE c.case_id = d.case_id)) \
             ORDER BY d.seq LIMIT $12"
        )
    };
}

const CASE: &str = CASE_COLUMNS!("c.case_id = $1");
const CASES: &str = cases_of!("($1 = '' OR c.platform = $1) AND ($2 = '' OR c.agency = $2)");
const CASES_OF_AGENCY: &str = cases_of!("c.agency = $2 AND ($1 = '' OR c.platform = $1)");
const CASES_OF_PLATFORM: &str = cases_of!("c.platform = $1 AND ($2 = '' OR c.agency = $2)");
// The status is written out so that the engines see that the index of the inbox holds every such row.
const CASES_WAITING: &str =
    cases_of!("c.platform = $1 AND c.status <> 3 AND c.status <> 4 AND ($2 = '' OR c.agency = $2)");
// So is the mark.
const CASES_TO_REPLAY: &str =
    cases_of!("c.replay_version > 0 AND ($1 = '' OR c.platform = $1) AND ($2 = '' OR c.agency = $2)");
// So is that there is a discrepancy.
const CASES_DISCREPANT: &str =
    cases_of!("c.discrepancy > 0 AND ($1 = '' OR c.platform = $1) AND ($2 = '' OR c.agency = $2)");
// So is that it belongs to an operation.
const CASES_OF_OPERATIONS: &str =
    cases_of!("c.operation <> '' AND ($1 = '' OR c.platform = $1) AND ($2 = '' OR c.agency = $2)");
const DECISIONS: &str = decisions_of!("($1 = '' OR d.platform = $1) AND ($2 = '' OR d.agency = $2)");
const DECISIONS_OF_AGENCY: &str = decisions_of!("d.agency = $2 AND ($1 = '' OR d.platform = $1)");
const DECISIONS_OF_PLATFORM: &str = decisions_of!("d.platform = $1 AND ($2 = '' OR d.agency = $2)");
const DECISIONS_OF_CASE: &str =
    decisions_of!("d.case_id = $13 AND ($1 = '' OR d.platform = $1) AND ($2 = '' OR d.agency = $2)");
const LATEST_BEFORE: &str = DECISION_COLUMNS!("d.case_id = $1 AND d.recorded_us < $2 ORDER BY d.version DESC LIMIT 1");
const CLAUSE: &str = CLAUSE_COLUMNS!("c.name = $1");
const CLAUSES: &str = CLAUSE_COLUMNS!("c.name > $1 ORDER BY c.name LIMIT $2");
const CLAUSES_OF_PLATFORM: &str = CLAUSE_COLUMNS!("c.name > $1 AND c.platform = $3 ORDER BY c.name LIMIT $2");
const ENDING_PERMISSIONS: &str = CLAUSE_VERSION_COLUMNS!(
    "v.clause IN (SELECT e.clause FROM clause_version e WHERE e.ends_permission_of <> '') ORDER BY v.clause, v.version"
);
const TO_REPLAY: &str = "SELECT c.case_id FROM citation x JOIN decision d ON d.seq = x.decision_seq \
     JOIN cases c ON c.case_id = d.case_id \
     WHERE x.clause = $1 AND x.version = $2 AND x.place = 0 AND d.outcome = $3 AND c.decided_seq = d.seq AND c.status = $4 \
       AND c.replay_version <> $5 ORDER BY c.seq LIMIT $6";
const NEXT_MARKS: &str = "SELECT c.case_id, c.next_mark_us FROM cases c WHERE c.next_mark_us IS NOT NULL \
     ORDER BY c.next_mark_us LIMIT $1";
// The statuses are written out so that the engines see which index is whole.
const QUEUE: &str = "SELECT c.case_id FROM cases c WHERE c.platform = $1 AND (c.status = 2 OR c.status = 5) \
     AND c.leased_until_us <= $2 ORDER BY c.urgency DESC, c.seq LIMIT $3";
const UNACKNOWLEDGED: &str = CASE_COLUMNS!("c.platform = $1 AND c.status = 1 ORDER BY c.urgency DESC, c.seq LIMIT $2");
const RESPONSE_TIMES: &str = "SELECT t.updated_seq, t.body FROM response_times t WHERE t.platform = $1";
const CLAUSE_VERSIONS: &str = CLAUSE_VERSION_COLUMNS!("v.clause = $1 AND v.version > $2 ORDER BY v.version LIMIT $3");

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("case", CASE),
    ("cases", CASES),
    ("cases_of_agency", CASES_OF_AGENCY),
    ("cases_of_platform", CASES_OF_PLATFORM),
    ("cases_waiting", CASES_WAITING),
    ("cases_to_replay", CASES_TO_REPLAY),
    ("cases_discrepant", CASES_DISCREPANT),
    ("cases_of_operations", CASES_OF_OPERATIONS),
    ("ending_permissions", ENDING_PERMISSIONS),
    ("to_replay", TO_REPLAY),
    ("decisions", DECISIONS),
    ("decisions_of_agency", DECISIONS_OF_AGENCY),
    ("decisions_of_platform", DECISIONS_OF_PLATFORM),
    ("decisions_of_case", DECISIONS_OF_CASE),
    ("latest_before", LATEST_BEFORE),
    ("clause", CLAUSE),
    ("clauses", CLAUSES),
    ("clauses_of_platform", CLAUSES_OF_PLATFORM),
    ("clause_versions", CLAUSE_VERSIONS),
    ("next_marks", NEXT_MARKS),
    ("response_times", RESPONSE_TIMES),
    ("queue", QUEUE),
    ("unacknowledged", UNACKNOWLEDGED),
];

/// Cases with open clocks that are looked at together at least.
const CLOCKED_ROWS_MIN: usize = 200;

/// The reads on this engine.
pub struct Reads(Store<Ledger, Tables>);

/// Whose rows are read: a platform and an agency, empty for any. `None` for nobody's.
fn owners(scope: Scope, platform: Option<&String>) -> Option<(String, String)> {
    let platform = platform.cloned().unwrap_or_default();
    match scope {
        Scope::All => Some((platform, String::new())),
        Scope::Agency(agency) => Some((platform, agency)),
        Scope::Platform(own) => (platform.is_empty() || platform == own).then_some((own, String::new())),
        Scope::Nothing => None,
    }
}

/// Values as a condition takes them: `,a,b,`, or empty for no condition.
fn listed<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for value in values {
        if text.is_empty() {
            text.push(',');
        }
        text.push_str(&value.to_string());
        text.push(',');
    }
    text
}

fn from(time: Option<Timestamp>) -> i64 {
    time.map_or(i64::MIN, Timestamp::micros)
}

fn until(time: Option<Timestamp>) -> i64 {
    time.map_or(i64::MAX, Timestamp::micros)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What the reader sees of its own, of a table with an agency and a platform.
fn own(statement: &mut QueryBuilder<Db>, reader: &Reader, table: &str) {
    match reader.scope() {
        Scope::All => statement.push("1 = 1"),
        Scope::Nothing => statement.push("1 = 0"),
        Scope::Agency(agency) => statement.push(table).push(".agency = ").push_bind(agency.clone()),
        Scope::Platform(platform) => statement.push(table).push(".platform = ").push_bind(platform.clone()),
    };
}

/// What the reader sees of anything, as conditions on what never changes about a case: [`Reader::view`] is the same rule
/// for one; a test holds them together. `and` adds to each part, which is told before when it shows.
fn visible(statement: &mut QueryBuilder<Db>, reader: &Reader, and: impl Fn(&mut QueryBuilder<Db>, Option<Timestamp>)) {
    own(statement, reader, "c");
    and(statement, None);
    for share in reader.shares() {
        statement.push(" OR c.agency = ").push_bind(share.owner.clone());
        statement.push(" AND c.tlp <= ").push_bind(i64::from(share.tlp_ceiling.code()));
        if !share.accepts_conditions {
            statement.push(" AND c.conditional = 0");
        }
        if !share.grounds.is_empty() {
            statement.push(" AND c.ground IN (");
            let mut list = statement.separated(", ");
            for ground in &share.grounds {
                list.push_bind(i64::from(ground.code()));
            }
            statement.push(")");
        }
        if let Some(since) = share.since {
            statement.push(" AND c.submitted_recorded_us >= ").push_bind(since.micros());
        }
        if let Some(before) = share.before {
            statement.push(" AND c.submitted_recorded_us < ").push_bind(before.micros());
        }
        and(statement, share.before);
    }
}

fn case_id(id: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(id).map_err(|_| unavailable(&sqlx::Error::Decode("a case's id has 16 bytes".into())))
}

impl Reads {
    pub(super) fn new(store: Store<Ledger, Tables>) -> Self {
        Self(store)
    }

    async fn try_case(&self, name: &CaseName) -> sqlx::Result<Option<CaseRecord>> {
        let mut conn = self.0.readers().acquire().await?;
        let id = name.id.as_bytes().to_vec();
        let rows: Vec<CaseRow> = sqlx::query_as(CASE).bind(id).fetch_all(&mut *conn).await?;
        Ok(case_records(&mut conn, rows).await?.pop())
    }

    async fn try_cases(&self, scope: Scope, filter: &CaseFilter, stretch: Stretch) -> sqlx::Result<Vec<CaseRecord>> {
        let Some((platform, agency)) = owners(scope, filter.platform.as_ref()) else { return Ok(Vec::new()) };
        let waiting = [Status::Submitted, Status::Received, Status::UnderReview, Status::InfoRequested];
        let only_waiting = !filter.statuses.is_empty() && filter.statuses.iter().all(|status| waiting.contains(status));
        let text = match (platform.is_empty(), agency.is_empty()) {
            _ if filter.replay_candidates => CASES_TO_REPLAY,
            _ if !filter.discrepancies.is_empty() => CASES_DISCREPANT,
            _ if !filter.operations.is_empty() => CASES_OF_OPERATIONS,
            (false, _) if only_waiting => CASES_WAITING,
            (false, true) => CASES_OF_PLATFORM,
            (_, false) => CASES_OF_AGENCY,
            (true, true) => CASES,
        };
        let mut conn = self.0.readers().acquire().await?;
        let rows: Vec<CaseRow> = sqlx::query_as(text)
            .bind(platform)
            .bind(agency)
            .bind(stretch.after)
            .bind(stretch.unchanged_since.unwrap_or(i64::MAX))
            .bind(listed(filter.statuses.iter().map(|status| status.code())))
            .bind(listed(&filter.agencies))
            .bind(listed(&filter.grounds))
            .bind(listed(&filter.natures))
            .bind(listed(&filter.target_kinds))
            .bind(from(filter.submitted_from))
            .bind(until(filter.submitted_until))
            .bind(rows(stretch.limit))
            .bind(listed(filter.discrepancies.iter().map(|of| of.code())))
            .bind(listed(&filter.operations))
            .fetch_all(&mut *conn)
            .await?;
        case_records(&mut conn, rows).await
    }

    async fn try_decisions(
        &self,
        scope: Scope,
        filter: &DecisionFilter,
        stretch: Stretch,
        latest_only: bool,
    ) -> sqlx::Result<Vec<DecisionRecord>> {
        let Some((platform, agency)) = owners(scope, filter.platform.as_ref()) else { return Ok(Vec::new()) };
        let text = match (filter.case, platform.is_empty(), agency.is_empty()) {
            (Some(_), ..) => DECISIONS_OF_CASE,
            (None, false, true) => DECISIONS_OF_PLATFORM,
            (None, _, false) => DECISIONS_OF_AGENCY,
            (None, true, true) => DECISIONS,
        };
        let mut query = sqlx::query_as(SqlStr::from_static(text))
            .bind(platform)
            .bind(agency)
            .bind(stretch.after)
            .bind(stretch.unchanged_since.unwrap_or(i64::MAX))
            .bind(listed(&filter.outcomes))
            .bind(listed(&filter.kinds))
            .bind(listed(&filter.agencies))
            .bind(listed(&filter.clauses))
            .bind(from(filter.decided_from))
            .bind(until(filter.decided_until))
            .bind(i64::from(latest_only))
            .bind(rows(stretch.limit));
        if let Some(case) = filter.case {
            query = query.bind(case.as_bytes().to_vec());
        }
        let mut conn = self.0.readers().acquire().await?;
        let rows: Vec<DecisionRow> = query.fetch_all(&mut *conn).await?;
        decision_records(&mut conn, rows).await
    }

    async fn own_cases(&self, reader: &Reader, filter: &CaseFilter, stretch: Stretch) -> sqlx::Result<Vec<Shown>> {
        let found = self.try_cases(reader.scope().clone(), filter, stretch).await?;
        let shown = found.into_iter().filter_map(|record| {
            let view = reader.view(&record.case.marks())?;
            Some(Shown { record, view })
        });
        Ok(shown.collect())
    }

    /// The case as the reader sees it.
    async fn shown(&self, reader: &Reader, record: CaseRecord) -> sqlx::Result<Option<Shown>> {
        let Some(view) = reader.view(&record.case.marks()) else { return Ok(None) };
        let Some(moment) = view.before.filter(|moment| record.case.changed_since(*moment)) else {
            return Ok(Some(Shown { record, view }));
        };
        let mut conn = self.0.readers().acquire().await?;
        let id = record.case.referred.name.id.as_bytes().to_vec();
        let rows: Vec<DecisionRow> =
            sqlx::query_as(LATEST_BEFORE).bind(id).bind(moment.micros()).fetch_all(&mut *conn).await?;
        let latest = decision_records(&mut conn, rows).await?.pop();
        let decided = latest.as_ref().map_or(0, |latest| latest.seq);
        let case = Arc::new(record.case.as_before(moment, latest.map(|latest| latest.decision)));
        Ok(Some(Shown { record: CaseRecord { case, decided, ..record }, view }))
    }

    /// What agreements show besides the reader's own: what never changes about a case is selected by the statement, what
    /// does by the case as it is shown. A page is filled with the next ones.
    async fn shared_cases(&self, reader: &Reader, filter: &CaseFilter, stretch: Stretch) -> sqlx::Result<Vec<Shown>> {
        let mut found = Vec::new();
        let mut after = stretch.after;
        loop {
            let wanted = stretch.limit - found.len();
            let mut statement = QueryBuilder::<Db>::new(CASE_COLUMNS!("c.seq > "));
            statement.push_bind(after).push(" AND (");
            visible(&mut statement, reader, |_, _| {});
            statement.push(")");
            if let Some(platform) = &filter.platform {
                statement.push(" AND c.platform = ").push_bind(platform.clone());
            }
            if filter.replay_candidates {
                statement.push(" AND c.replay_version > 0");
            }
            statement.push(" ORDER BY c.seq LIMIT ").push_bind(rows(wanted));
            let mut conn = self.0.readers().acquire().await?;
            let batch: Vec<CaseRow> = statement.build_query_as().fetch_all(&mut *conn).await?;
            let batch = case_records(&mut conn, batch).await?;
            drop(conn);
            let count = batch.len();
            for record in batch {
                after = record.opened;
                let (opened, updated) = (record.opened, record.updated);
                let Some(shown) = self.shown(reader, record).await? else { continue };
                // What changed after an end does not show, so that nothing brings a kept case again.
                let last = if shown.view.before.is_some() { opened } else { updated };
                let unchanged = stretch.unchanged_since.is_none_or(|position| last <= position);
                if unchanged && filter.selects(&shown.record.case) {
                    found.push(shown);
                }
            }
            if count < wanted || found.len() == stretch.limit {
                return Ok(found);
            }
        }
    }

    /// Cases with open clocks as they are shown. A page is filled with the next ones.
    async fn try_clocked(&self, reader: &Reader, filter: &ClockFilter, stretch: Stretch) -> sqlx::Result<Vec<Shown>> {
        // Of what is kept, a clock may have been open that is not any more.
        let kept = reader.shares().iter().any(|share| share.before.is_some());
        let mut found = Vec::new();
        let mut after = stretch.after;
        loop {
            // Not one by one, where few of those that are open are what is asked for.
            let wanted = (stretch.limit - found.len()).max(CLOCKED_ROWS_MIN);
            let mut statement = QueryBuilder::<Db>::new(CASE_COLUMNS!("c.seq > "));
            statement.push_bind(after);
            if !kept {
                statement.push(" AND c.clocks_open > 0");
                if let Some(before) = filter.due_before {
                    statement.push(" AND c.clocks_due_us < ").push_bind(before.micros());
                }
            }
            statement.push(" AND (");
            visible(&mut statement, reader, |_, _| {});
            statement.push(")");
            if let Some(platform) = &filter.platform {
                statement.push(" AND c.platform = ").push_bind(platform.clone());
            }
            if !filter.agencies.is_empty() {
                statement.push(" AND c.agency IN (");
                let mut list = statement.separated(", ");
                for agency in &filter.agencies {
                    list.push_bind(agency.clone());
                }
                statement.push(")");
            }
            statement.push(" ORDER BY c.seq LIMIT ").push_bind(rows(wanted));
            let mut conn = self.0.readers().acquire().await?;
            let batch: Vec<CaseRow> = statement.build_query_as().fetch_all(&mut *conn).await?;
            let batch = case_records(&mut conn, batch).await?;
            drop(conn);
            let count = batch.len();
            for record in batch {
                after = record.opened;
                let (opened, updated) = (record.opened, record.updated);
                let Some(shown) = self.shown(reader, record).await? else { continue };
                let last = if shown.view.before.is_some() { opened } else { updated };
                let unchanged = stretch.unchanged_since.is_none_or(|position| last <= position);
                let mut clocks = shown.record.case.clocks().into_iter();
                if unchanged && clocks.any(|clock| clock.is_open() && filter.selects(&clock)) {
                    found.push(shown);
                }
                if found.len() == stretch.limit {
                    break;
                }
            }
            if count < wanted || found.len() == stretch.limit {
                return Ok(found);
            }
        }
    }

    /// Challenges as they are shown: what never changes about a case is selected by the statement, what does by the challenge
    /// as it is shown. A page is filled with the next ones.
    async fn try_challenges(
        &self,
        reader: &Reader,
        filter: &ChallengeFilter,
        stretch: Stretch,
    ) -> sqlx::Result<Vec<ShownChallenge>> {
        let mut found = Vec::new();
        let mut after = stretch.after;
        loop {
            let wanted = stretch.limit - found.len();
            let mut statement = QueryBuilder::<Db>::new(
                "SELECT ch.seq, ch.case_id, ch.body FROM challenge ch JOIN cases c ON c.case_id = ch.case_id WHERE ch.seq > ",
            );
            statement.push_bind(after).push(" AND (");
            match &filter.filed_by {
                Some(own) => {
                    statement.push("ch.filed_by = ").push_bind(own.to_string());
                }
                // Of the table that is read in order, so that the engines see which index is whole.
                None if reader.shares().is_empty() => own(&mut statement, reader, "ch"),
                None => visible(&mut statement, reader, |_, _| {}),
            }
            statement.push(")");
            for (column, codes) in [
                ("kind", filter.kinds.iter().map(|kind| kind.code()).collect::<Vec<_>>()),
                // What never changes is selected by the statement in any case; the stage if it is shown as it is.
                (
                    "stage",
                    filter.stages.iter().map(|stage| stage.code()).filter(|_| reader.shares().is_empty()).collect(),
                ),
            ] {
                if !codes.is_empty() {
                    statement.push(" AND ch.").push(column).push(" IN (");
                    let mut list = statement.separated(", ");
                    for code in codes {
                        list.push_bind(i64::from(code));
                    }
                    statement.push(")");
                }
            }
            if !filter.agencies.is_empty() {
                statement.push(" AND ch.agency IN (");
                let mut list = statement.separated(", ");
                for agency in &filter.agencies {
                    list.push_bind(agency.clone());
                }
                statement.push(")");
            }
            if let Some(platform) = &filter.platform {
                statement.push(" AND ch.platform = ").push_bind(platform.clone());
            }
            if let Some(case) = filter.case {
                statement.push(" AND ch.case_id = ").push_bind(case.as_bytes().to_vec());
            }
            // What is open now was open whenever else it is shown.
            if filter.open && reader.shares().is_empty() {
                statement.push(" AND ch.open = 1");
            }
            statement.push(" ORDER BY ch.seq LIMIT ").push_bind(rows(wanted));
            let mut conn = self.0.readers().acquire().await?;
            let batch: Vec<ChallengeRow> = statement.build_query_as().fetch_all(&mut *conn).await?;
            let ids = batch.iter().map(|row| row.case_id.clone()).collect::<BTreeSet<_>>();
            let cases: Vec<CaseRow> = CASES_BY_ID.run(&mut conn, &ids.into_iter().collect::<Vec<_>>()).await?;
            let cases = case_records(&mut conn, cases).await?;
            drop(conn);
            let mut shown = HashMap::new();
            for record in cases {
                let id = record.case.referred.name.id;
                let own = filter.filed_by.is_some().then(|| Arc::clone(&record.case));
                let seen = match own {
                    Some(case) => Some(case),
                    None => self.shown(reader, record).await?.map(|shown| {
                        let mut case = (*shown.record.case).clone();
                        if !shown.view.groups.has(FieldGroup::Reasons) {
                            case.challenges.iter_mut().for_each(Challenge::clear_words);
                        }
                        Arc::new(case)
                    }),
                };
                shown.extend(seen.map(|case| (id.as_bytes().to_vec(), case)));
            }
            let count = batch.len();
            for row in batch {
                after = row.seq;
                let number = row.read()?.number;
                let Some(case) = shown.get(&row.case_id) else { continue };
                let Some(challenge) = case.challenges.iter().find(|of| of.number == number) else { continue };
                if filter.selects(challenge) {
                    found.push(ShownChallenge {
                        filed: row.seq,
                        case: case.name(),
                        agency: case.referred.name.agency.clone(),
                        challenge: challenge.clone(),
                    });
                }
            }
            if count < wanted || found.len() == stretch.limit {
                return Ok(found);
            }
        }
    }

    async fn any_decisions(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
        latest_only: bool,
    ) -> sqlx::Result<Vec<DecisionRecord>> {
        if reader.shares().is_empty() {
            return self.try_decisions(reader.scope().clone(), filter, stretch, latest_only).await;
        }
        let mut found = Vec::new();
        let mut after = stretch.after;
        loop {
            let next = Stretch { after, limit: stretch.limit - found.len(), ..stretch };
            let batch = self.shared_decisions(reader, filter, next, latest_only).await?;
            let (count, last) = (batch.len(), batch.last().map(|record| record.seq));
            found.extend(if latest_only { self.latest_as_shown(reader, batch).await? } else { batch });
            match last {
                Some(last) if count == next.limit && found.len() < stretch.limit => after = last,
                _ => return Ok(found),
            }
        }
    }

    async fn try_reasoned(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> sqlx::Result<Vec<Reasoned>> {
        let found = self.try_decisions(reader.scope().clone(), filter, stretch, false).await?;
        let decisive = |record: &DecisionRecord| record.decision.content.clauses().next().cloned();
        let ids = found.iter().map(|record| record.case.id.as_bytes().to_vec()).collect::<BTreeSet<_>>();
        let names = found.iter().filter_map(decisive).map(|of| of.clause.to_string()).collect::<BTreeSet<_>>();
        let mut conn = self.0.readers().acquire().await?;
        let cases = CASES_BY_ID.run(&mut conn, &ids.into_iter().collect::<Vec<_>>()).await?;
        let cases = case_records(&mut conn, cases).await?.into_iter();
        let cases = cases.map(|record| (record.case.referred.name.id, record.case)).collect::<HashMap<_, _>>();
        let versions: Vec<ClauseVersionRow> =
            VERSIONS_OF_CLAUSES.run(&mut conn, &names.into_iter().collect::<Vec<_>>()).await?;
        let versions = versions.into_iter().map(ClauseVersionRow::read).collect::<sqlx::Result<Vec<_>>>()?;
        let versions = versions.into_iter().map(|of| (of.citation.clone(), of)).collect::<HashMap<_, _>>();
        let reasoned = found.into_iter().filter_map(|record| {
            let clause = decisive(&record).and_then(|citation| versions.get(&citation).cloned());
            Some(Reasoned { case: cases.get(&record.case.id).cloned()?, clause, record })
        });
        Ok(reasoned.collect())
    }

    /// Where several agreements show a case, each as it stood at another moment, only one of these is as it is shown.
    async fn latest_as_shown(&self, reader: &Reader, batch: Vec<DecisionRecord>) -> sqlx::Result<Vec<DecisionRecord>> {
        let ids = batch.iter().map(|record| record.case.id.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut conn = self.0.readers().acquire().await?;
        let cases = CASES_BY_ID.run(&mut conn, &ids).await?;
        let cases = case_records(&mut conn, cases).await?;
        drop(conn);
        let mut latest = HashSet::new();
        for record in cases {
            latest.extend(self.shown(reader, record).await?.map(|shown| shown.record.decided));
        }
        Ok(batch.into_iter().filter(|record| latest.contains(&record.seq)).collect())
    }

    async fn shared_decisions(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
        latest_only: bool,
    ) -> sqlx::Result<Vec<DecisionRecord>> {
        let mut statement = QueryBuilder::<Db>::new(DECISION_COLUMNS!("d.seq > "));
        statement.push_bind(stretch.after);
        statement.push(" AND d.seq <= ").push_bind(stretch.unchanged_since.unwrap_or(i64::MAX));
        statement.push(" AND EXISTS (SELECT 1 FROM cases c WHERE c.case_id = d.case_id AND (");
        visible(&mut statement, reader, |statement, before| match before {
            None if latest_only => {
                statement.push(" AND d.seq = c.decided_seq");
            }
            None => {}
            Some(before) => {
                statement.push(" AND d.recorded_us < ").push_bind(before.micros());
                if latest_only {
                    statement
                        .push(" AND d.version = (SELECT MAX(x.version) FROM decision x WHERE x.case_id = d.case_id");
                    statement.push(" AND x.recorded_us < ").push_bind(before.micros()).push(")");
                }
            }
        });
        statement.push("))");
        if let Some(platform) = &filter.platform {
            statement.push(" AND d.platform = ").push_bind(platform.clone());
        }
        if let Some(case) = filter.case {
            statement.push(" AND d.case_id = ").push_bind(case.as_bytes().to_vec());
        }
        for (text, values) in [
            (" LIKE '%,' || d.outcome || ',%'", listed(&filter.outcomes)),
            (" LIKE '%,' || d.kind || ',%'", listed(&filter.kinds)),
            (" LIKE '%,' || d.agency || ',%'", listed(&filter.agencies)),
        ] {
            if !values.is_empty() {
                statement.push(" AND ").push_bind(values).push(text);
            }
        }
        let clauses = listed(&filter.clauses);
        if !clauses.is_empty() {
            statement.push(" AND EXISTS (SELECT 1 FROM citation x WHERE x.decision_seq = d.seq AND ");
            statement.push_bind(clauses).push(" LIKE '%,' || x.clause || ',%')");
        }
        statement.push(" AND d.decided_us >= ").push_bind(from(filter.decided_from));
        statement.push(" AND d.decided_us < ").push_bind(until(filter.decided_until));
        statement.push(" ORDER BY d.seq LIMIT ").push_bind(rows(stretch.limit));
        let mut conn = self.0.readers().acquire().await?;
        let found: Vec<DecisionRow> = statement.build_query_as().fetch_all(&mut *conn).await?;
        decision_records(&mut conn, found).await
    }

    async fn try_clause(&self, name: &ClauseName) -> sqlx::Result<Option<Clause>> {
        let row: Option<ClauseRow> =
            sqlx::query_as(CLAUSE).bind(name.to_string()).fetch_optional(self.0.readers()).await?;
        row.map(ClauseRow::read).transpose()
    }

    async fn try_clauses(&self, platform: Option<&str>, after: &str, limit: usize) -> sqlx::Result<Vec<Clause>> {
        let text = if platform.is_some() { CLAUSES_OF_PLATFORM } else { CLAUSES };
        let mut query = sqlx::query_as::<Db, ClauseRow>(text).bind(after.to_owned()).bind(rows(limit));
        if let Some(platform) = platform {
            query = query.bind(platform.to_owned());
        }
        query.fetch_all(self.0.readers()).await?.into_iter().map(ClauseRow::read).collect()
    }

    async fn try_clause_versions(
        &self,
        clause: &ClauseName,
        after: u32,
        limit: usize,
    ) -> sqlx::Result<Vec<ClauseVersion>> {
        let found: Vec<ClauseVersionRow> = sqlx::query_as(CLAUSE_VERSIONS)
            .bind(clause.to_string())
            .bind(i64::from(after))
            .bind(rows(limit))
            .fetch_all(self.0.readers())
            .await?;
        found.into_iter().map(ClauseVersionRow::read).collect()
    }
}

#[async_trait]
impl crate::store::Reads for Reads {
    async fn case(&self, reader: &Reader, name: &CaseName) -> Result<Option<Shown>> {
        let found = self.try_case(name).await.map_err(|e| unavailable(&e))?;
        let Some(record) = found.filter(|record| record.case.referred.platform == name.platform) else {
            return Ok(None);
        };
        self.shown(reader, record).await.map_err(|e| unavailable(&e))
    }

    async fn owner(&self, name: &CaseName) -> Result<Option<String>> {
        let found = self.try_case(name).await.map_err(|e| unavailable(&e))?;
        let found = found.filter(|record| record.case.referred.platform == name.platform);
        Ok(found.map(|record| record.case.referred.name.agency.clone()))
    }

    async fn cases(&self, reader: &Reader, filter: &CaseFilter, stretch: Stretch) -> Result<Vec<Shown>> {
        // Partners show nothing of operations.
        let found = if reader.shares().is_empty() || !filter.operations.is_empty() {
            self.own_cases(reader, filter, stretch).await
        } else {
            self.shared_cases(reader, filter, stretch).await
        };
        found.map_err(|e| unavailable(&e))
    }

    async fn agreements_concerning(&self, agency: &str) -> Result<Vec<Agreement>> {
        let kept = agreements::concerning(self.0.readers(), agency).await.map_err(|e| unavailable(&e))?;
        let all = kept.iter().map(kept_agreement).collect::<sqlx::Result<Vec<_>>>().map_err(|e| unavailable(&e))?;
        Ok(all.into_iter().filter(|of| of.terms.field_groups.contains(&FieldGroup::Decision)).collect())
    }

    async fn clauses_ending_permissions(&self) -> Result<Vec<ClauseVersion>> {
        let found = sqlx::query_as::<Db, ClauseVersionRow>(ENDING_PERMISSIONS).fetch_all(self.0.readers()).await;
        let found = found.map_err(|e| unavailable(&e))?.into_iter().map(ClauseVersionRow::read);
        found.collect::<sqlx::Result<_>>().map_err(|e| unavailable(&e))
    }

    async fn to_replay(&self, permitting: &Citation, under: u32, limit: usize) -> Result<Vec<Uuid>> {
        let found = sqlx::query_scalar::<Db, Vec<u8>>(TO_REPLAY)
            .bind(permitting.clause.to_string())
            .bind(i64::from(permitting.version))
            .bind(i64::from(OutcomeKind::PermittedByPolicy.code()))
            .bind(i64::from(Status::Decided.code()))
            .bind(i64::from(under))
            .bind(rows(limit))
            .fetch_all(self.0.readers())
            .await
            .map_err(|e| unavailable(&e))?;
        found.iter().map(|id| case_id(id)).collect()
    }

    async fn decisions(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> Result<Vec<DecisionRecord>> {
        self.any_decisions(reader, filter, stretch, false).await.map_err(|e| unavailable(&e))
    }

    async fn reasoned(&self, reader: &Reader, filter: &DecisionFilter, stretch: Stretch) -> Result<Vec<Reasoned>> {
        self.try_reasoned(reader, filter, stretch).await.map_err(|e| unavailable(&e))
    }

    async fn latest_decisions(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> Result<Vec<DecisionRecord>> {
        self.any_decisions(reader, filter, stretch, true).await.map_err(|e| unavailable(&e))
    }

    async fn challenge(&self, name: &ChallengeName) -> Result<Option<Challenge>> {
        let found = self.challenges_of(&name.case).await?;
        Ok(found.into_iter().find(|challenge| challenge.number == name.number))
    }

    async fn challenges_of(&self, case: &CaseName) -> Result<Vec<Challenge>> {
        let found = self.try_case(case).await.map_err(|e| unavailable(&e))?;
        let found = found.filter(|record| record.case.referred.platform == case.platform);
        Ok(found.map(|record| record.case.challenges.clone()).unwrap_or_default())
    }

    async fn stays_of(&self, case: &CaseName) -> Result<Vec<Stay>> {
        let found = self.try_case(case).await.map_err(|e| unavailable(&e))?;
        let found = found.filter(|record| record.case.referred.platform == case.platform);
        Ok(found.map(|record| record.case.stays.clone()).unwrap_or_default())
    }

    async fn clocked(&self, reader: &Reader, filter: &ClockFilter, stretch: Stretch) -> Result<Vec<Shown>> {
        self.try_clocked(reader, filter, stretch).await.map_err(|e| unavailable(&e))
    }

    async fn next_marks(&self, limit: usize) -> Result<Vec<(Uuid, Timestamp)>> {
        let found: Vec<(Vec<u8>, i64)> = sqlx::query_as(NEXT_MARKS)
            .bind(rows(limit))
            .fetch_all(self.0.readers())
            .await
            .map_err(|e| unavailable(&e))?;
        found.into_iter().map(|(id, at)| Ok((case_id(&id)?, Timestamp::from_micros(at)))).collect()
    }

    async fn queue(&self, platform: &str, now: Timestamp, limit: usize) -> Result<Vec<CaseName>> {
        let found = sqlx::query_scalar::<Db, Vec<u8>>(QUEUE)
            .bind(platform.to_owned())
            .bind(now.micros())
            .bind(rows(limit))
            .fetch_all(self.0.readers())
            .await
            .map_err(|e| unavailable(&e))?;
        found.iter().map(|id| Ok(CaseName { platform: platform.to_owned(), id: case_id(id)? })).collect()
    }

    async fn unacknowledged(&self, reader: &Reader, platform: &str, limit: usize) -> Result<Vec<Shown>> {
        let read = async {
            let mut conn = self.0.readers().acquire().await?;
            let found: Vec<CaseRow> = sqlx::query_as(UNACKNOWLEDGED)
                .bind(platform.to_owned())
                .bind(rows(limit))
                .fetch_all(&mut *conn)
                .await?;
            case_records(&mut conn, found).await
        };
        let found = read.await.map_err(|e: sqlx::Error| unavailable(&e))?;
        let shown = found.into_iter().filter_map(|record| {
            let view = reader.view(&record.case.marks())?;
            Some(Shown { record, view })
        });
        Ok(shown.collect())
    }

    async fn response_times(&self, platform: &str) -> Result<Option<ResponseTimes>> {
        let found: Option<ResponseTimesRow> = sqlx::query_as(RESPONSE_TIMES)
            .bind(platform.to_owned())
            .fetch_optional(self.0.readers())
            .await
            .map_err(|e| unavailable(&e))?;
        found.map(|row| row.read().map(|record| record.times)).transpose().map_err(|e| unavailable(&e))
    }

    async fn challenges(
        &self,
        reader: &Reader,
        filter: &ChallengeFilter,
        stretch: Stretch,
    ) -> Result<Vec<ShownChallenge>> {
        self.try_challenges(reader, filter, stretch).await.map_err(|e| unavailable(&e))
    }

    async fn clause(&self, _principal: &Principal, name: &ClauseName) -> Result<Option<Clause>> {
        self.try_clause(name).await.map_err(|e| unavailable(&e))
    }

    async fn clauses(
        &self,
        _principal: &Principal,
        platform: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Clause>> {
        self.try_clauses(platform, after, limit).await.map_err(|e| unavailable(&e))
    }

    async fn clause_versions(
        &self,
        _principal: &Principal,
        clause: &ClauseName,
        after: u32,
        limit: usize,
    ) -> Result<Vec<ClauseVersion>> {
        self.try_clause_versions(clause, after, limit).await.map_err(|e| unavailable(&e))
    }

    async fn rebuild(&self) -> Result<i64> {
        self.0.rebuild().await
    }

    async fn compact(&self, through: i64) -> Result<i64> {
        self.0.compact(through).await
    }

    async fn dump(&self) -> Result<Vec<String>> {
        self.0.dump().await
    }
}
