//! The service's reads. Their texts do not depend on what is asked for, so that each is prepared once, and on both
//! engines in a test. A list of values travels as one text (`,1,3,`), since the engines bind arrays differently.

use async_trait::async_trait;
use portreeve_core::name::{CaseName, ClauseName};
use portreeve_core::principal::Scope;
use portreeve_core::{Principal, Result, Timestamp};
use portreeve_storage::unavailable;
use sqlx::SqlStr;

use super::tables::{Tables, case_records, decision_records};
use super::{Db, Store};
use crate::domain::{CaseRecord, Clause, ClauseVersion, Ledger, Status};
use crate::store::sql_row::{
    CASE_COLUMNS, CLAUSE_COLUMNS, CLAUSE_VERSION_COLUMNS, CaseRow, ClauseRow, ClauseVersionRow, DECISION_COLUMNS,
    DecisionRow,
};
use crate::store::{CaseFilter, DecisionFilter, DecisionRecord, Stretch};

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
             AND c.submitted_us >= $10 AND c.submitted_us < $11 ORDER BY c.seq LIMIT $12"
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
const CASES_WAITING: &str = cases_of!("c.platform = $1 AND c.status < 3 AND ($2 = '' OR c.agency = $2)");
const DECISIONS: &str = decisions_of!("($1 = '' OR d.platform = $1) AND ($2 = '' OR d.agency = $2)");
const DECISIONS_OF_AGENCY: &str = decisions_of!("d.agency = $2 AND ($1 = '' OR d.platform = $1)");
const DECISIONS_OF_PLATFORM: &str = decisions_of!("d.platform = $1 AND ($2 = '' OR d.agency = $2)");
const DECISIONS_OF_CASE: &str =
    decisions_of!("d.case_id = $13 AND ($1 = '' OR d.platform = $1) AND ($2 = '' OR d.agency = $2)");
const CLAUSE: &str = CLAUSE_COLUMNS!("c.name = $1");
const CLAUSES: &str = CLAUSE_COLUMNS!("c.name > $1 ORDER BY c.name LIMIT $2");
const CLAUSES_OF_PLATFORM: &str = CLAUSE_COLUMNS!("c.name > $1 AND c.platform = $3 ORDER BY c.name LIMIT $2");
const CLAUSE_VERSIONS: &str = CLAUSE_VERSION_COLUMNS!("v.clause = $1 AND v.version > $2 ORDER BY v.version LIMIT $3");

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("case", CASE),
    ("cases", CASES),
    ("cases_of_agency", CASES_OF_AGENCY),
    ("cases_of_platform", CASES_OF_PLATFORM),
    ("cases_waiting", CASES_WAITING),
    ("decisions", DECISIONS),
    ("decisions_of_agency", DECISIONS_OF_AGENCY),
    ("decisions_of_platform", DECISIONS_OF_PLATFORM),
    ("decisions_of_case", DECISIONS_OF_CASE),
    ("clause", CLAUSE),
    ("clauses", CLAUSES),
    ("clauses_of_platform", CLAUSES_OF_PLATFORM),
    ("clause_versions", CLAUSE_VERSIONS),
];

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
        let waiting = [Status::Submitted, Status::Received];
        let only_waiting = !filter.statuses.is_empty() && filter.statuses.iter().all(|status| waiting.contains(status));
        let text = match (platform.is_empty(), agency.is_empty()) {
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
    async fn case(&self, principal: &Principal, name: &CaseName) -> Result<Option<CaseRecord>> {
        let found = self.try_case(name).await.map_err(|e| unavailable(&e))?;
        let scope = principal.scope();
        Ok(found.filter(|record| {
            let referred = &record.case.referred;
            referred.platform == name.platform && scope.allows(&referred.name.agency, &referred.platform)
        }))
    }

    async fn cases(&self, principal: &Principal, filter: &CaseFilter, stretch: Stretch) -> Result<Vec<CaseRecord>> {
        self.try_cases(principal.scope(), filter, stretch).await.map_err(|e| unavailable(&e))
    }

    async fn decisions(
        &self,
        principal: &Principal,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> Result<Vec<DecisionRecord>> {
        self.try_decisions(principal.scope(), filter, stretch, false).await.map_err(|e| unavailable(&e))
    }

    async fn latest_decisions(
        &self,
        principal: &Principal,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> Result<Vec<DecisionRecord>> {
        self.try_decisions(principal.scope(), filter, stretch, true).await.map_err(|e| unavailable(&e))
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
