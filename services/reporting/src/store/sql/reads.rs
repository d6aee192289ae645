//! The service's reads.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portreeve_core::agreement::Agreement;
use portreeve_core::token::{Epoch, Revision};
use portreeve_core::{Date, Principal, Result, Uuid};
use portreeve_storage::unavailable;
use sqlx::QueryBuilder;

use super::tables::{OPERATIONS, Tables, heard, joint, kept_agreement};
use super::{Conn, Db, SERVICE, Store, agreements, begin_read, followed, grants, publications, refill, sql, trails};
use crate::domain::publication::Digest;
use crate::domain::{
    Citation, Clock, Definition, Dimension, Disposition, Filter, Grant, GrantName, Joint, Ledger, Permitted,
    Publication, PublicationName, Slice, Source, Standing, Subject, Trail, grants_seen, networks_seen,
};
use crate::store::Selected;

const OWN: &str = "SELECT epoch, last FROM event_head WHERE id = 1";

/// The columns by which a report may divide, with what stands in their place where it does not.
const DIVIDING: [(&str, &str, Dimension); 9] = [
    ("agency", "''", Dimension::Agency),
    ("platform", "''", Dimension::Platform),
    ("ground", "CAST(0 AS BIGINT)", Dimension::Ground),
    ("target_kind", "CAST(0 AS BIGINT)", Dimension::TargetKind),
    ("nature", "CAST(0 AS BIGINT)", Dimension::Nature),
    ("content_language", "''", Dimension::ContentLanguage),
    ("clause", "''", Dimension::Clause),
    ("operation", "''", Dimension::Operation),
    ("legal_basis", "''", Dimension::LegalBasis),
];

/// The select of a report. The engine adds the cells up over everything that the report does not tell apart, so that
/// what comes out grows with the report. [`Definition::selects`] is the same rule; a test holds them together.
fn select(definition: &Definition) -> QueryBuilder<Db> {
    let divides = |dimension: Dimension| definition.dimensions.contains(&dimension);
    let mut columns = Vec::new();
    for (column, nothing, dimension) in DIVIDING {
        let kept = divides(dimension);
        columns.push((column, if kept { column } else { nothing }, kept));
    }
    let version = divides(Dimension::Clause);
    columns.push(("clause_version", if version { "clause_version" } else { "CAST(0 AS BIGINT)" }, version));
    // Ages need the cohort day of those whose clock runs, and of no others.
    let flows = definition.entered_from.is_some();
    let by_cohort = definition.dimensions.iter().any(|dimension| dimension.is_cohort());
    let of_running = "CASE WHEN clock = 0 THEN cohort_day ELSE 0 END";
    columns.push(match (by_cohort, flows) {
        (true, _) => ("cohort", "cohort_day", true),
        (false, false) => ("cohort", of_running, true),
        (false, true) => ("cohort", "CAST(0 AS BIGINT)", false),
    });
    columns.push(("disposition", "disposition", true));
    // A flow tells what came, not how long it waits.
    let (waits, summed) = if flows { (false, "entered") } else { (true, "signed_count") };
    let targets = format!("CASE WHEN same_target = 0 THEN {summed} ELSE 0 END");
    for column in ["clock", "clock_days"] {
        columns.push((column, if waits { column } else { "CAST(0 AS BIGINT)" }, waits));
    }
    let by_event = definition.dimensions.iter().any(|dimension| dimension.is_event());
    columns.push(("event", if by_event { "event_day" } else { "CAST(0 AS BIGINT)" }, by_event));

    let mut statement = QueryBuilder::<Db>::new("SELECT ");
    for (name, expression, _) in &columns {
        statement.push(expression).push(" AS ").push(name).push(", ");
    }
    statement.push("CAST(SUM(").push(&targets).push(") AS BIGINT) AS targets, ");
    statement.push("CAST(SUM(").push(summed).push(") AS BIGINT) AS referrals FROM cell WHERE cohort_day >= ");
    statement.push_bind(i64::from(definition.cohort_from.days()));
    statement.push(" AND cohort_day <= ").push_bind(i64::from(definition.cohort_until.days()));
    for (condition, day) in [
        (" AND event_day >= ", definition.entered_from),
        (" AND event_day <= ", definition.as_of),
        (" AND recorded_day <= ", definition.known_at),
    ] {
        if let Some(day) = day {
            statement.push(condition).push_bind(i64::from(day.days()));
        }
    }
    let filter = &definition.filter;
    let Filter {
        agencies,
        platforms,
        grounds,
        natures,
        target_kinds,
        clauses,
        content_languages,
        operations,
        legal_bases,
    } = filter;
    for (condition, values) in [
        (" AND agency IN (", agencies),
        (" AND platform IN (", platforms),
        (" AND clause IN (", clauses),
        (" AND content_language IN (", content_languages),
        (" AND operation IN (", operations),
        (" AND legal_basis IN (", legal_bases),
    ] {
        among(&mut statement, condition, values);
    }
    for (condition, values) in
        [(" AND ground IN (", grounds), (" AND nature IN (", natures), (" AND target_kind IN (", target_kinds)]
    {
        among(&mut statement, condition, values);
    }
    statement.push(" GROUP BY ");
    let mut list = statement.separated(", ");
    for (_, expression, _) in columns.iter().filter(|(.., kept)| *kept) {
        list.push(expression);
    }
    statement.push(" HAVING SUM(").push(summed).push(") <> 0 OR SUM(").push(&targets).push(") <> 0");
    statement
}

fn among<T>(statement: &mut QueryBuilder<Db>, condition: &str, values: &[T])
where
    T: Clone + for<'q> sqlx::Encode<'q, Db> + sqlx::Type<Db>,
{
    if values.is_empty() {
        return;
    }
    statement.push(condition);
    let mut list = statement.separated(", ");
    for value in values {
        list.push_bind(value.clone());
    }
    statement.push(")");
}

/// The select of every set of dimensions, without and with each condition.
pub(super) fn statements() -> Vec<(&'static str, String)> {
    let day = Date::default();
    let bare = Definition {
        cohort_from: day,
        cohort_until: day,
        entered_from: None,
        as_of: None,
        known_at: None,
        dimensions: Vec::new(),
        filter: Filter::default(),
    };
    let filter = Filter {
        agencies: vec![String::new()],
        platforms: vec![String::new()],
        grounds: vec![0],
        natures: vec![0],
        target_kinds: vec![0],
        clauses: vec![String::new()],
        content_languages: vec![String::new()],
        operations: vec![String::new()],
        legal_bases: vec![String::new()],
    };
    let full = Definition { as_of: Some(day), known_at: Some(day), filter, ..bare.clone() };
    let flow = Definition { entered_from: Some(day), ..full.clone() };
    let dividing =
        DIVIDING.map(|(.., dimension)| dimension).into_iter().chain([Dimension::CohortDay]).collect::<Vec<_>>();
    let mut all = vec![("own", OWN.to_owned())];
    for set in 0..1_u32 << dividing.len() {
        let chosen = dividing.iter().enumerate().filter(|(index, _)| set >> index & 1 == 1);
        let dimensions = chosen.map(|(_, dimension)| *dimension).collect::<Vec<_>>();
        let by_event = dimensions.iter().copied().chain([Dimension::EventDay]).collect::<Vec<_>>();
        for (definition, dimensions) in
            [(&bare, &dimensions), (&full, &dimensions), (&flow, &dimensions), (&flow, &by_event)]
        {
            let definition = Definition { dimensions: dimensions.clone(), ..definition.clone() };
            all.push(("select", select(&definition).sql().as_str().to_owned()));
        }
    }
    all
}

/// The reads on this engine.
pub struct Reads(Store<Ledger, Tables>);

#[derive(sqlx::FromRow)]
struct Row {
    agency: String,
    platform: String,
    ground: i64,
    target_kind: i64,
    nature: i64,
    content_language: String,
    clause: String,
    legal_basis: String,
    clause_version: i64,
    cohort: i64,
    disposition: i64,
    clock: i64,
    clock_days: i64,
    operation: String,
    event: i64,
    referrals: i64,
    targets: i64,
}

impl Row {
    fn slice(self) -> Option<Slice> {
        Some(Slice {
            subject: Subject {
                cohort_day: Date::from_days(i32::try_from(self.cohort).ok()?),
                agency: self.agency,
                platform: self.platform,
                ground: self.ground,
                target_kind: self.target_kind,
                nature: self.nature,
                content_language: self.content_language,
                operation: self.operation,
                same_target: false,
                legal_basis: self.legal_basis,
            },
            standing: Standing {
                disposition: Disposition::from_code(i32::try_from(self.disposition).ok()?)?,
                clause: Citation { clause: self.clause, version: self.clause_version },
                clock: Clock::from_parts(self.clock, self.clock_days)?,
            },
            event_day: Date::from_days(i32::try_from(self.event).ok()?),
            count: self.referrals,
            targets: self.targets,
        })
    }
}

impl Reads {
    pub(super) fn new(store: Store<Ledger, Tables>) -> Self {
        Self(store)
    }

    async fn try_select(&self, definition: &Definition) -> sqlx::Result<Result<Selected>> {
        let mut snapshot = begin_read(self.0.readers()).await?;
        let conn: &mut Conn = &mut snapshot;
        let stand = match standing(conn).await? {
            Ok(stand) => stand,
            Err(behind) => return Ok(Err(behind)),
        };
        let rows: Vec<Row> = select(definition).build_query_as().fetch_all(&mut *conn).await?;
        snapshot.commit().await?;
        let slices = rows.into_iter().map(Row::slice).collect::<Option<_>>();
        let slices = slices.ok_or_else(|| sqlx::Error::Decode("a cell cannot be read".into()))?;
        Ok(Ok(stand.with(slices)))
    }

    async fn try_trails(&self, agency: &str, limit: i64) -> sqlx::Result<Result<Selected<(Uuid, Trail)>>> {
        let mut snapshot = begin_read(self.0.readers()).await?;
        let conn: &mut Conn = &mut snapshot;
        let stand = match standing(conn).await? {
            Ok(stand) => stand,
            Err(behind) => return Ok(Err(behind)),
        };
        let query = sqlx::query_as(trails::LINKED).bind(agency).bind(limit);
        let rows: Vec<trails::Row> = query.fetch_all(&mut *conn).await?;
        snapshot.commit().await?;
        Ok(Ok(stand.with(rows.into_iter().map(trails::trail).collect::<sqlx::Result<_>>()?)))
    }
}

/// Where everything stands in a snapshot.
struct Stand {
    own: Revision,
    followed: Vec<Revision>,
    heard: BTreeMap<Source, Date>,
}

impl Stand {
    fn with<R>(self, slices: Vec<R>) -> Selected<R> {
        let Self { own, followed, heard } = self;
        Selected { slices, own, followed, heard }
    }
}

/// Where everything stands; the refusal while the logs are being read again.
async fn standing(conn: &mut Conn) -> sqlx::Result<Result<Stand>> {
    let (epoch, position): (Vec<u8>, i64) = sqlx::query_as(OWN).fetch_one(&mut *conn).await?;
    let epoch = Epoch::try_from(epoch).map_err(|_| sqlx::Error::Decode("an epoch has 8 bytes".into()))?;
    let mut reads = sql::Reads::new();
    let cursors = followed::all(&mut reads);
    let followed = followed::found(&mut reads.run(conn).await?, cursors)?;
    if let Some(behind) = refill::behind(conn, &followed).await? {
        return Ok(Err(behind));
    }
    let heard = heard(conn).await?;
    Ok(Ok(Stand { own: Revision { log: SERVICE.to_owned(), epoch, position }, followed, heard }))
}

#[async_trait]
impl crate::store::Reads for Reads {
    async fn grant(&self, principal: &Principal, name: GrantName) -> Result<Option<Grant>> {
        let own = grants_seen(principal, None)?;
        let id = name.0.as_bytes().to_vec();
        let found: Option<grants::Row> =
            sqlx::query_as(grants::ONE).bind(id).fetch_optional(self.0.readers()).await.map_err(|e| unavailable(&e))?;
        let found = found.map(grants::grant).transpose().map_err(|e| unavailable(&e))?;
        Ok(found.filter(|grant| own.is_none_or(|own| grant.terms.grantee.id() == own)))
    }

    async fn grants(
        &self,
        principal: &Principal,
        grantee: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Grant>> {
        let grantee = grants_seen(principal, grantee)?.unwrap_or_default();
        let page =
            sqlx::query_as(grants::PAGE).bind(after).bind(grantee).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<grants::Row> = page.fetch_all(self.0.readers()).await.map_err(|e| unavailable(&e))?;
        rows.into_iter().map(grants::grant).collect::<sqlx::Result<_>>().map_err(|e| unavailable(&e))
    }

    async fn publication(&self, name: PublicationName) -> Result<Option<(Publication, u32)>> {
        let (id, version) = (name.id.as_bytes().to_vec(), i64::from(name.version.unwrap_or_default()));
        let one = sqlx::query_as(publications::ONE).bind(id).bind(version);
        let found: Option<publications::Row> =
            one.fetch_optional(self.0.readers()).await.map_err(|e| unavailable(&e))?;
        found.map(publications::publication).transpose().map_err(|e| unavailable(&e))
    }

    async fn answer(&self, question: Digest) -> Result<Option<Publication>> {
        let newest = sqlx::query_as(publications::ANSWER).bind(question.to_vec());
        let found: Option<publications::Row> =
            newest.fetch_optional(self.0.readers()).await.map_err(|e| unavailable(&e))?;
        let found = found.map(publications::publication).transpose().map_err(|e| unavailable(&e))?;
        Ok(found.map(|(version, _)| version))
    }

    async fn publications(&self, publisher: &str, after: i64, limit: usize) -> Result<Vec<(i64, Publication, u32)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = sqlx::query_as(publications::PAGE).bind(after).bind(publisher.to_owned()).bind(limit);
        let rows: Vec<(i64, Vec<u8>, i64)> = page.fetch_all(self.0.readers()).await.map_err(|e| unavailable(&e))?;
        rows.into_iter().map(publications::listed).collect::<sqlx::Result<_>>().map_err(|e| unavailable(&e))
    }

    async fn select(&self, permitted: &Permitted) -> Result<Selected> {
        self.try_select(permitted.definition()).await.map_err(|e| unavailable(&e))?
    }

    async fn trails(&self, principal: &Principal, agency: &str, limit: usize) -> Result<Selected<(Uuid, Trail)>> {
        networks_seen(principal, agency)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.try_trails(agency, limit).await.map_err(|e| unavailable(&e))?
    }

    async fn agreements_concerning(&self, agency: &str) -> Result<Vec<Agreement>> {
        let kept = agreements::concerning(self.0.readers(), agency).await.map_err(|e| unavailable(&e))?;
        kept.iter().map(kept_agreement).collect::<sqlx::Result<_>>().map_err(|e| unavailable(&e))
    }

    async fn operations(&self, names: &[String]) -> Result<Vec<Joint>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.0.readers().acquire().await.map_err(|e| unavailable(&e))?;
        let rows: Vec<(Vec<u8>,)> = OPERATIONS.run(&mut conn, names).await.map_err(|e| unavailable(&e))?;
        joint(&rows).map_err(|e| unavailable(&e))
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
