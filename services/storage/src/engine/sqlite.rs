//! SQLite: a folder with one file per service, one writing connection, N reading ones, write-ahead log.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portreeve_core::{Error, Reason, Result};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Arguments as _, Pool, Transaction};

use sql::bulk::Value;

/// The engine.
pub type Db = sqlx::Sqlite;
/// A connection to it.
pub type Conn = sqlx::SqliteConnection;

#[path = "../sql/mod.rs"]
pub mod sql;

/// Identifies our files (`file` and SQLite's own tools show it): "PRTV".
const APPLICATION_ID: &str = "1347572822";
const READERS: u32 = 4;

/// Reads and locks the head. SQLite's write transaction is the lock.
pub const LOCK_HEAD: &str = "SELECT epoch, last, compacted, recorded_us, tree FROM event_head WHERE id = 1";
/// The columns of every table, for comparing the engines' schemas.
pub const COLUMNS: &str = "SELECT m.name, c.name, c.type, c.\"notnull\" <> 0 FROM sqlite_master m, pragma_table_info(m.name) c \
     WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid";

/// An open file.
pub struct Engine {
    /// The one writing connection.
    pub writers: Pool<Db>,
    /// The reading connections.
    pub readers: Pool<Db>,
    // Held for as long as the file is open: two processes on one file would each believe that they are the only writer.
    _lock: File,
}

/// Opens a service's file, making it if it does not exist.
pub async fn open(folder: &Path, service: &'static str) -> Result<Engine> {
    let lock = lock(folder, service)?;
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("{service}.db")))
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(STATEMENTS_KEPT)
        .pragma("temp_store", "MEMORY");
    // A large checkpoint interval lets pages that many commits touch be written back once.
    let writing = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .optimize_on_close(true, None)
        .pragma("application_id", APPLICATION_ID)
        // What is overwritten or deleted is zeroes from then on: a key that was destroyed is nowhere in the file.
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-40960")
        .pragma("wal_autocheckpoint", "64000")
        .pragma("journal_size_limit", "268435456");
    let reading = options.read_only(true).pragma("cache_size", "-4096");
    let writers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(writing)
        .await
        .map_err(|e| crate::unavailable(&e))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(reading);
    Ok(Engine { writers, readers, _lock: lock })
}

fn lock(folder: &Path, service: &str) -> Result<File> {
    let failed = |what: &str, error: &std::io::Error| {
        Error::new(
            Reason::StorageUnavailable,
            format!("cannot {what} in the data folder {}: {error}", folder.display()),
        )
    };
    std::fs::create_dir_all(folder).map_err(|e| failed("write", &e))?;
    let path = folder.join(format!("{service}.lock"));
    let file = File::options().create(true).append(true).open(path).map_err(|e| failed("write", &e))?;
    file.try_lock().map_err(|_| {
        Error::new(
            Reason::StorageUnavailable,
            format!("another process has {service}'s data in {} open; stop it first", folder.display()),
        )
    })?;
    Ok(file)
}

/// Begins the write transaction. Taken as a write from the start: one that turned from reading to writing could fail.
pub async fn begin_write(pool: &Pool<Db>) -> sqlx::Result<Transaction<'static, Db>> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

/// Leaves nothing of what a commit overwrote in the write-ahead log. Gives whether that was done: readers who are at it
/// keep their part of it for a while.
pub async fn scrub(pool: &Pool<Db>) -> sqlx::Result<bool> {
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(pool).await?;
    Ok(busy == 0)
}

/// Begins a read of one snapshot.
pub async fn begin_read(pool: &Pool<Db>) -> sqlx::Result<Transaction<'static, Db>> {
    pool.begin().await
}

/// Other processes cannot write to the file, so there is nobody to hear from.
pub async fn hear_of_commits(_pool: Pool<Db>, _service: &'static str, _changed: tokio::sync::watch::Sender<i64>) {}

/// Nobody else to tell.
pub async fn tell_of_commit(_pool: &Pool<Db>, _service: &'static str) {}

/// The log's own migrations.
pub fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("migrations/sqlite")
}

/// A column's value as text: bytes in hexadecimal, truth as 1 and 0.
pub fn as_text(column: &str) -> String {
    format!("CASE typeof({column}) WHEN 'blob' THEN lower(hex({column})) ELSE CAST({column} AS TEXT) END")
}

/// How many rows or keys one statement takes: each size is prepared once, the largest that fits is used. Doubling, so that
/// any number of rows takes few statements: each is a way to the connection's thread and back.
pub const SIZES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];
/// Statements that a connection keeps prepared: every size of every statement of a service.
const STATEMENTS_KEPT: usize = 400;

/// An insert of so many rows. The parameters have no numbers: SQLite finds a numbered one by walking a list, so that
/// binding a thousand of them would cost a million steps.
pub fn insert_text(table: &str, columns: &[&str], on_conflict: &str, size: usize) -> String {
    let names = columns.iter().filter_map(|column| column.split(' ').next()).collect::<Vec<_>>().join(", ");
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    format!("INSERT INTO {table} ({names}) VALUES {} {on_conflict}", vec![row.as_str(); size].join(", "))
}

/// A lookup of so many keys.
pub fn lookup_text(select: &str, size: usize) -> String {
    format!("{select} ({})", vec!["?"; size].join(", "))
}

/// Lookups of up to so many keys are joined into one text with their neighbours. Each combination of sizes is a text that
/// is prepared once and kept, so they must stay few.
pub const JOINED_KEYS_MAX: Option<usize> = Some(8);

/// A statement as it stands among others in one text: a number would count from the first of them.
pub fn joined(text: &str) -> String {
    let mut parts = text.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |joined, part| joined + "?" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A text among the values of a statement: one allocation, where a `String` would be two.
pub type Text = Arc<str>;

/// The values of a statement, or of several that are joined: one after another.
#[derive(Default)]
pub struct Values {
    arguments: SqliteArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Values {
    /// For so many rows of so many columns.
    pub fn of_rows(columns: usize, rows: usize) -> Self {
        let mut values = Self::default();
        values.arguments.reserve(columns * rows, 0);
        values
    }

    /// Adds the next value.
    pub fn push(&mut self, value: Value) {
        let added = match value {
            Value::Int(value) => self.arguments.add(value),
            Value::Text(value) => self.arguments.add(value),
            Value::Bytes(value) => self.arguments.add(value),
            Value::Truth(value) => self.arguments.add(value),
        };
        self.failed = self.failed.take().or(added.err());
    }

    /// The values as the driver takes them.
    pub fn into_arguments(self) -> sqlx::Result<SqliteArguments> {
        self.failed.map_or(Ok(self.arguments), |error| Err(sqlx::Error::Encode(error)))
    }
}

impl Extend<Value> for Values {
    fn extend<I: IntoIterator<Item = Value>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn parameters_of_a_joined_statement_have_no_numbers() {
        assert_eq!(joined("UPDATE t SET a = $1, b = $2 WHERE c = $10"), "UPDATE t SET a = ?, b = ? WHERE c = ?");
        assert_eq!(joined("INSERT INTO t (a) VALUES (?)"), "INSERT INTO t (a) VALUES (?)");
    }
}
