//! Set-based statements: many rows an insert, many keys a lookup.
//!
//! Each engine has its own best form of them (`engine/`): SQLite a list of values in a few fixed sizes, each prepared
//! once; Postgres an array for each column, in one statement for any number of rows. What is small goes to the database
//! together with its neighbours (`script`).

use std::sync::{Arc, OnceLock};

use futures_util::future::join;
use sqlx::Database;

use super::super::{SIZES, Text, Values, insert_text, lookup_text};
use super::{Conn, Db, Reads, Script};

type Arguments = <Db as Database>::Arguments;

/// A value of a type that both engines store alike.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole number.
    Int(Option<i64>),
    /// Text.
    Text(Option<Text>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
    /// Truth.
    Truth(Option<bool>),
}

macro_rules! values {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(Some(value))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

values!(i64 => Int, Vec<u8> => Bytes, bool => Truth);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        value.as_str().into()
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(Into::into))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        value.as_deref().into()
    }
}

/// The values of the rows of one insert, or of one statement.
#[derive(Default)]
pub struct Binds(pub(super) Values);

impl Binds {
    /// Adds the next value.
    pub fn add(&mut self, value: impl Into<Value>) -> &mut Self {
        self.0.push(value.into());
        self
    }
}

/// The texts of a statement by size, each made once.
type Texts = [OnceLock<Arc<str>>; SIZES.len()];

fn text(texts: &Texts, index: usize, make: impl FnOnce(usize) -> String) -> Arc<str> {
    let size = SIZES.get(index).copied().unwrap_or(1);
    match texts.get(index) {
        Some(text) => Arc::clone(text.get_or_init(|| make(size).into())),
        None => make(size).into(),
    }
}

/// An insert of many rows.
pub struct Insert {
    table: &'static str,
    columns: &'static [&'static str],
    on_conflict: &'static str,
    texts: Texts,
}

impl Insert {
    /// An insert into a table's columns, each with its type as `name TYPE` (BIGINT, TEXT, BYTEA or BOOLEAN), with what to
    /// do on a conflict (empty: fail).
    pub const fn new(table: &'static str, columns: &'static [&'static str], on_conflict: &'static str) -> Self {
        Self { table, columns, on_conflict, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// Inserts the rows, in order. `bind` adds one row's values in the order of the columns.
    pub async fn run<R: Sync>(
        &self,
        script: &mut Script<'_>,
        rows: &[R],
        bind: impl Fn(&R, &mut Binds) + Send + Sync,
    ) -> sqlx::Result<()> {
        match rows {
            [] => Ok(()),
            [row] => {
                let mut binds = script.binds(self.columns.len());
                bind(row, &mut binds);
                script.add(&self.text(SIZES.len() - 1), binds).await
            }
            rows => self.run_many(script.conn().await?, rows, bind).await,
        }
    }

    async fn run_many<R: Sync>(
        &self,
        conn: &mut Conn,
        rows: &[R],
        bind: impl Fn(&R, &mut Binds) + Send + Sync,
    ) -> sqlx::Result<()> {
        let mut rest = rows;
        let mut statement = self.next(&mut rest, &bind)?;
        while let Some((text, arguments)) = statement {
            let executed = sqlx::query_with(sqlx::AssertSqlSafe(text), arguments).execute(&mut *conn);
            // The database runs one statement while the values of the next are put together.
            let (executed, next) = join(executed, async { self.next(&mut rest, &bind) }).await;
            executed?;
            statement = next?;
        }
        Ok(())
    }

    /// The statement for the first of the rows, as many as it takes; the rest is left.
    fn next<R>(&self, rest: &mut &[R], bind: impl Fn(&R, &mut Binds)) -> sqlx::Result<Option<(Arc<str>, Arguments)>> {
        if rest.is_empty() {
            return Ok(None);
        }
        // The largest size that is filled, or the smallest.
        let index = SIZES.iter().position(|size| *size <= rest.len()).unwrap_or(SIZES.len() - 1);
        let size = SIZES.get(index).copied().unwrap_or(1);
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        *rest = after;
        let mut binds = Binds(Values::of_rows(self.columns.len(), chunk.len()));
        for row in chunk {
            bind(row, &mut binds);
        }
        Ok(Some((self.text(index), binds.0.into_arguments()?)))
    }

    /// Every text of the statement, for preparing them in a test.
    pub fn texts(&self) -> Vec<String> {
        (0..SIZES.len()).map(|index| self.text(index).to_string()).collect()
    }

    fn text(&self, index: usize) -> Arc<str> {
        text(&self.texts, index, |size| insert_text(self.table, self.columns, self.on_conflict, size))
    }
}

/// A lookup of many keys.
pub struct Lookup {
    select: &'static str,
    texts: Texts,
}

impl Lookup {
    /// A select that ends where the list of keys follows: `SELECT … WHERE key IN`.
    pub const fn new(select: &'static str) -> Self {
        Self { select, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The rows of the keys, in no order. A key asked for twice gives its row once or twice.
    pub async fn run<K, O>(&self, conn: &mut Conn, keys: &[K]) -> sqlx::Result<Vec<O>>
    where
        K: Clone + Into<Value>,
        O: for<'r> sqlx::FromRow<'r, <Db as Database>::Row>,
    {
        let mut reads = Reads::new();
        let rows = reads.find(self, keys);
        reads.run(conn).await?.take(rows)
    }

    /// The statements for the keys, each with its values.
    pub(super) fn statements<K: Clone + Into<Value>>(&self, keys: &[K]) -> Vec<(Arc<str>, Vec<Value>)> {
        let mut statements = Vec::new();
        let mut rest = keys;
        while let Some(last) = rest.last() {
            // The smallest size that holds what is left, filled up with a key that is asked for anyway.
            let index = SIZES.iter().rposition(|size| *size >= rest.len()).unwrap_or(0);
            let size = SIZES.get(index).copied().unwrap_or(1);
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            let mut values = chunk.iter().cloned().map(Into::into).collect::<Vec<Value>>();
            if SIZES.len() > 1 {
                values.resize_with(size, || last.clone().into());
            }
            statements.push((self.text(index), values));
            rest = after;
        }
        statements
    }

    /// Every text of the statement, for preparing them in a test.
    pub fn texts(&self) -> Vec<String> {
        (0..SIZES.len()).map(|index| self.text(index).to_string()).collect()
    }

    fn text(&self, index: usize) -> Arc<str> {
        text(&self.texts, index, |size| lookup_text(self.select, size))
    }
}
