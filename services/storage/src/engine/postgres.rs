//! Postgres: one database, a schema per service, as many replicas of a service as wanted.

use std::str::FromStr;
use std::time::Duration;

use portreeve_core::{Error, Reason, Result};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Arguments as _, Pool, Transaction};
use tokio::sync::watch;

use sql::bulk::Value;

/// The engine.
pub type Db = sqlx::Postgres;
/// A connection to it.
pub type Conn = sqlx::PgConnection;

#[path = "../sql/mod.rs"]
pub mod sql;

const READERS: u32 = 8;
/// How often a replica looks for commits of others that it was not told of.
const POLL: Duration = Duration::from_millis(100);

/// Reads and locks the head: replicas take turns, so that what one loads cannot change before it commits.
pub const LOCK_HEAD: &str = "SELECT epoch, last, compacted, recorded_us, tree FROM event_head WHERE id = 1 FOR UPDATE";
/// The columns of every table, for comparing the engines' schemas.
pub const COLUMNS: &str = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'NO' \
     FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_%' \
     ORDER BY table_name COLLATE \"C\", ordinal_position";

/// An open schema.
pub struct Engine {
    /// The writing connection: the writer is one task.
    pub writers: Pool<Db>,
    /// The reading connections.
    pub readers: Pool<Db>,
}

/// Opens a service's schema, making it if it does not exist and the role may.
pub async fn open(url: &str, service: &'static str) -> Result<Engine> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| Error::new(Reason::RequestInvalid, "the database URL cannot be read"))?
        .application_name(&format!("portreeve-{service}"))
        .options([
            // Quoted, since the name of an access log has a hyphen.
            ("search_path", format!("\"{service}\"").as_str()),
            ("synchronous_commit", "on"),
            ("statement_timeout", "60000"),
            ("lock_timeout", "30000"),
            ("idle_in_transaction_session_timeout", "30000"),
        ]);
    let pool = |connections| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(true)
    };
    // The writer looks rows up by key and by nothing else. A plan made while a table was small, and kept, would read all of
    // it for every batch once it has grown.
    let writing = options.clone().options([("enable_seqscan", "off")]);
    let writers = pool(2).connect_with(writing).await.map_err(|e| crate::unavailable(&e))?;
    let readers = pool(READERS).connect_lazy_with(options);
    make_schema(&writers, service).await.map_err(|e| crate::unavailable(&e))?;
    Ok(Engine { writers, readers })
}

async fn make_schema(pool: &Pool<Db>, service: &'static str) -> sqlx::Result<()> {
    let exists = "SELECT EXISTS (SELECT FROM information_schema.schemata WHERE schema_name = $1)";
    if sqlx::query_scalar::<_, bool>(exists).bind(service).fetch_one(pool).await? {
        return Ok(());
    }
    let create = format!("CREATE SCHEMA IF NOT EXISTS \"{service}\"");
    match sqlx::query(sqlx::AssertSqlSafe(create)).execute(pool).await {
        // A replica that started at the same moment was first.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Begins the write transaction.
pub async fn begin_write(pool: &Pool<Db>) -> sqlx::Result<Transaction<'static, Db>> {
    pool.begin().await
}

/// What a commit overwrote is dead rows until the database vacuums them, which it does by itself.
pub async fn scrub(_pool: &Pool<Db>) -> sqlx::Result<bool> {
    Ok(true)
}

/// Begins a read of one snapshot.
pub async fn begin_read(pool: &Pool<Db>) -> sqlx::Result<Transaction<'static, Db>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// Marks the log as changed whenever another replica committed. Notifications make it prompt; the poll makes it certain.
/// Ends when nobody watches any more.
pub async fn hear_of_commits(pool: Pool<Db>, service: &'static str, changed: watch::Sender<i64>) {
    let mut listener = None;
    let mut known = (-1, -1);
    while !changed.is_closed() {
        if listener.is_none()
            && let Ok(mut fresh) = PgListener::connect_with(&pool).await
            && fresh.listen(&channel(service)).await.is_ok()
        {
            listener = Some(fresh);
        }
        match &mut listener {
            Some(open) => {
                if let Ok(Err(_)) = tokio::time::timeout(POLL, open.recv()).await {
                    listener = None;
                }
            }
            None => tokio::time::sleep(POLL).await,
        }
        let standing =
            "SELECT last, (SELECT CAST(COALESCE(SUM(seq), 0) AS BIGINT) FROM followed) FROM event_head WHERE id = 1";
        if let Ok(now) = sqlx::query_as::<_, (i64, i64)>(standing).fetch_one(&pool).await
            && now != known
        {
            known = now;
            changed.send_replace(now.0);
        }
    }
}

/// Tells other replicas of a commit. Outside the transaction: NOTIFY inside one takes a lock of the whole database.
pub async fn tell_of_commit(pool: &Pool<Db>, service: &'static str) {
    let told = sqlx::query("SELECT pg_notify($1, '')").bind(channel(service)).execute(pool).await;
    if let Err(error) = told {
        tracing::debug!(%error, "other replicas were not told of a commit; they poll");
    }
}

fn channel(service: &str) -> String {
    format!("portreeve_{service}")
}

/// The log's own migrations.
pub fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("migrations/postgres")
}

/// A column's value as text: bytes in hexadecimal, truth as 1 and 0.
pub fn as_text(column: &str) -> String {
    format!(
        "CASE pg_typeof({column})::text WHEN 'bytea' THEN substr({column}::text, 3) \
         WHEN 'boolean' THEN CASE {column}::text WHEN 'true' THEN '1' WHEN 'false' THEN '0' END ELSE {column}::text END"
    )
}

/// How many rows or keys one statement takes at most: an array for each column, whatever its length. Few enough that the
/// next statement's values are put together while the server runs this one.
pub const SIZES: [usize; 1] = [512];

/// An insert of any number of rows.
pub fn insert_text(table: &str, columns: &[&str], on_conflict: &str, _size: usize) -> String {
    let names = columns.iter().filter_map(|column| column.split(' ').next()).collect::<Vec<_>>().join(", ");
    let types = columns.iter().filter_map(|column| column.split(' ').nth(1));
    let arrays = types.zip(1..).map(|(of, n)| format!("${n}::{of}[]")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {table} ({names}) SELECT * FROM UNNEST({arrays}) {on_conflict}")
}

/// A lookup of any number of keys.
pub fn lookup_text(select: &str, _size: usize) -> String {
    format!("{} = ANY($1)", select.trim_end_matches("IN"))
}

/// The protocol prepares one statement at a time: none are joined.
pub const JOINED_KEYS_MAX: Option<usize> = None;

/// A statement as it stands.
pub fn joined(text: &str) -> String {
    text.to_owned()
}

/// A text among the values of a statement.
pub type Text = String;

/// The values of a statement: an array for each column of a bulk statement, or one after another.
#[derive(Default)]
pub struct Values {
    columns: Vec<Array>,
    plain: PgArguments,
    width: Option<usize>,
    added: usize,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Values {
    /// For so many rows of so many columns.
    pub fn of_rows(columns: usize, _rows: usize) -> Self {
        Self { columns: Vec::with_capacity(columns), width: Some(columns.max(1)), ..Self::default() }
    }

    /// Adds the next value.
    pub fn push(&mut self, value: Value) {
        let added = match self.width {
            Some(width) if self.added < width => {
                self.columns.push(Array::of(value));
                Ok(())
            }
            Some(width) => match self.columns.get_mut(self.added % width) {
                Some(column) => column.push(value),
                None => Err("a row has more values than columns".into()),
            },
            None => match value {
                Value::Int(value) => self.plain.add(value),
                Value::Text(value) => self.plain.add(value),
                Value::Bytes(value) => self.plain.add(value),
                Value::Truth(value) => self.plain.add(value),
            },
        };
        self.added += 1;
        self.failed = self.failed.take().or(added.err());
    }

    /// The values as the driver takes them.
    pub fn into_arguments(self) -> sqlx::Result<PgArguments> {
        if let Some(error) = self.failed {
            return Err(sqlx::Error::Encode(error));
        }
        let mut arguments = self.plain;
        for column in self.columns {
            match column {
                Array::Int(values) => arguments.add(values),
                Array::Text(values) => arguments.add(values),
                Array::Bytes(values) => arguments.add(values),
                Array::Truth(values) => arguments.add(values),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

impl Extend<Value> for Values {
    fn extend<I: IntoIterator<Item = Value>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}

/// A column's values.
enum Array {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Truth(Vec<Option<bool>>),
}

impl Array {
    fn of(value: Value) -> Self {
        match value {
            Value::Int(value) => Self::Int(vec![value]),
            Value::Text(value) => Self::Text(vec![value]),
            Value::Bytes(value) => Self::Bytes(vec![value]),
            Value::Truth(value) => Self::Truth(vec![value]),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), sqlx::error::BoxDynError> {
        match (self, value) {
            (Self::Int(values), Value::Int(value)) => values.push(value),
            (Self::Text(values), Value::Text(value)) => values.push(value),
            (Self::Bytes(values), Value::Bytes(value)) => values.push(value),
            (Self::Truth(values), Value::Truth(value)) => values.push(value),
            _ => return Err("a column's values must be of one type".into()),
        }
        Ok(())
    }
}
