//! The reads of an access log.

use async_trait::async_trait;
use portreeve_core::id::Uuid;
use portreeve_core::{Recorded, Result, Timestamp};
use portreeve_storage::{Codec as _, StoredEvent, unavailable};
use sqlx::QueryBuilder;

use super::tables::Tables;
use super::{Db, Store};
use crate::domain::{Asked, Entry, Filter, Kind, Ledger};
use crate::rpc::convert::Log;

/// What an entry says is in the log, which is never compacted: nobody streams it.
const ENTRIES: &str = "SELECT e.seq, e.recorded_us, e.agency, e.platform, e.actor, e.body \
     FROM consultation c JOIN event e ON e.seq = c.seq WHERE c.seq > ";
const WITHHELD: &str = "SELECT COUNT(*) FROM consultation c WHERE c.seq > ";

type Row = (i64, i64, String, String, String, Vec<u8>);

fn entries(asked: &Asked, after: i64, limit: i64) -> QueryBuilder<Db> {
    let mut statement = QueryBuilder::new(ENTRIES);
    statement.push_bind(after);
    select(&mut statement, asked);
    let (organisation, member) = asked.by.clone();
    statement.push(" AND NOT (c.reader = ").push_bind(organisation);
    statement.push(" AND c.member = ").push_bind(member);
    statement.push(") ORDER BY c.seq LIMIT ").push_bind(limit);
    statement
}

fn withheld(asked: &Asked, after: i64, through: i64) -> QueryBuilder<Db> {
    let mut statement = QueryBuilder::new(WITHHELD);
    statement.push_bind(after).push(" AND c.seq <= ").push_bind(through);
    select(&mut statement, asked);
    let (organisation, member) = asked.by.clone();
    statement.push(" AND c.reader = ").push_bind(organisation);
    statement.push(" AND c.member = ").push_bind(member);
    statement
}

/// What is asked as conditions. [`Asked::selects`] is the same rule; a test holds them together.
fn select(statement: &mut QueryBuilder<Db>, asked: &Asked) {
    match &asked.party {
        Some(party) => statement.push(" AND c.party = ").push_bind(party.clone()),
        // Each entry has one row of its reader.
        None => statement.push(" AND c.party = c.reader"),
    };
    let Filter { recorded_from, recorded_until, readers, members, methods, kind, row } = &asked.filter;
    for (condition, time) in [(" AND c.recorded_us >= ", recorded_from), (" AND c.recorded_us < ", recorded_until)] {
        if let Some(time) = time {
            statement.push(condition).push_bind(time.micros());
        }
    }
    for (condition, values) in
        [(" AND c.reader IN (", readers), (" AND c.member IN (", members), (" AND c.method IN (", methods)]
    {
        if !values.is_empty() {
            statement.push(condition);
            let mut list = statement.separated(", ");
            for value in values {
                list.push_bind(value.clone());
            }
            statement.push(")");
        }
    }
    if let Some(kind) = kind {
        statement.push(" AND c.kind = ").push_bind(i64::from(kind.code()));
    }
    if let Some(row) = row {
        statement.push(" AND c.seq IN (SELECT r.seq FROM consultation_row r WHERE r.row_id = ");
        statement.push_bind(row.as_bytes().to_vec()).push(")");
    }
}

/// The selects without and with every condition.
pub(super) fn statements() -> Vec<(&'static str, String)> {
    let bare = Asked { party: None, filter: Filter::default(), by: (String::new(), String::new()) };
    let filter = Filter {
        recorded_from: Some(Timestamp::default()),
        recorded_until: Some(Timestamp::default()),
        readers: vec![String::new()],
        members: vec![String::new()],
        methods: vec![String::new()],
        kind: Some(Kind::Disclosure),
        row: Some(Uuid::nil()),
    };
    let full = Asked { party: Some(String::new()), filter, by: bare.by.clone() };
    let text = |statement: QueryBuilder<Db>| statement.sql().as_str().to_owned();
    [&bare, &full]
        .into_iter()
        .flat_map(|asked| [("entries", text(entries(asked, 0, 0))), ("withheld", text(withheld(asked, 0, 0)))])
        .collect()
}

/// The reads on this engine.
pub struct Reads(Store<Ledger, Tables>);

impl Reads {
    pub(super) fn new(store: Store<Ledger, Tables>) -> Self {
        Self(store)
    }
}

fn recorded((position, recorded_us, agency, platform, actor, body): Row) -> Result<Recorded<Entry>> {
    let recorded_at = Timestamp::from_micros(recorded_us);
    Log::read(&StoredEvent { position, recorded_at, agency, platform, actor, body: body.into() })
}

#[async_trait]
impl crate::store::Reads for Reads {
    async fn entries(&self, asked: &Asked, after: i64, limit: usize) -> Result<Vec<Recorded<Entry>>> {
        let mut statement = entries(asked, after, i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<Row> =
            statement.build_query_as().fetch_all(self.0.readers()).await.map_err(|e| unavailable(&e))?;
        rows.into_iter().map(recorded).collect()
    }

    async fn withheld(&self, asked: &Asked, after: i64, through: i64) -> Result<i64> {
        let mut statement = withheld(asked, after, through);
        statement.build_query_scalar().fetch_one(self.0.readers()).await.map_err(|e| unavailable(&e))
    }

    async fn rebuild(&self) -> Result<i64> {
        self.0.rebuild().await
    }

    async fn dump(&self) -> Result<Vec<String>> {
        self.0.dump().await
    }
}
