//! Set-based statements: many rows an insert, many keys a lookup.
//!
//! Each engine has its own best form of them (`engine/`): SQLite a list of values in a few fixed sizes, each prepared
//! once; Postgres an array for each column, in one statement for any number of rows.

use std::sync::{Arc, OnceLock};

use futures_util::future::join;
use sqlx::Database;

use super::super::{SIZES, arguments, insert_text, lookup_text};
use super::{Conn, Db};

type Arguments = <Db as Database>::Arguments;
type Row = <Db as Database>::Row;

/// A value of a type that both engines store alike.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole number.
    Int(Option<i64>),
    /// Text.
    Text(Option<String>),
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

values!(i64 => Int, String => Text, Vec<u8> => Bytes, bool => Truth);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

/// The values of the rows of one insert.
#[derive(Default)]
pub struct Binds(Vec<Value>);

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
        let mut binds = Binds(Vec::with_capacity(chunk.len() * self.columns.len()));
        for row in chunk {
            bind(row, &mut binds);
        }
        Ok(Some((self.text(index), arguments(binds.0, self.columns.len())?)))
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
        K: Clone + Into<Value> + Sync + Send,
        O: for<'r> sqlx::FromRow<'r, Row> + Send + Unpin,
    {
        let mut found = Vec::new();
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
            let text = sqlx::AssertSqlSafe(self.text(index));
            found.extend(sqlx::query_as_with(text, arguments(values, 1)?).fetch_all(&mut *conn).await?);
            rest = after;
        }
        Ok(found)
    }

    /// Every text of the statement, for preparing them in a test.
    pub fn texts(&self) -> Vec<String> {
        (0..SIZES.len()).map(|index| self.text(index).to_string()).collect()
    }

    fn text(&self, index: usize) -> Arc<str> {
        text(&self.texts, index, |size| lookup_text(self.select, size))
    }
}
