//! Set-based statements: many rows an insert, many keys a lookup.
//!
//! A statement is made for a few fixed sizes, so that each is prepared once and found again in the driver's cache.

use std::sync::{Arc, OnceLock};

use sqlx::{Arguments as _, Database, Encode, Type};

use super::super::placeholder;
use super::{Conn, Db};

/// The sizes for which a statement is prepared, largest first.
const SIZES: [usize; 3] = [64, 8, 1];

type Arguments = <Db as Database>::Arguments;
type Row = <Db as Database>::Row;

/// The values of one statement.
#[derive(Default)]
pub struct Binds {
    arguments: Arguments,
    error: Option<sqlx::error::BoxDynError>,
}

impl Binds {
    /// Adds a value. Values are of the types that both engines store alike: `i64`, `bool`, text and bytes, or `None`.
    pub fn add<'t, T: Encode<'t, Db> + Type<Db>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(error);
        }
        self
    }

    fn finish(self) -> sqlx::Result<Arguments> {
        match self.error {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(self.arguments),
        }
    }
}

/// An insert of many rows.
pub struct Insert {
    table: &'static str,
    columns: &'static [&'static str],
    on_conflict: &'static str,
    texts: [OnceLock<Arc<str>>; SIZES.len()],
}

impl Insert {
    /// An insert into a table's columns, with what to do on a conflict (empty: fail).
    pub const fn new(table: &'static str, columns: &'static [&'static str], on_conflict: &'static str) -> Self {
        Self { table, columns, on_conflict, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// Inserts the rows, in order. `bind` adds one row's values in the order of the columns.
    pub async fn run<R: Sync>(
        &self,
        conn: &mut Conn,
        rows: &[R],
        bind: impl Fn(&R, &mut Binds) + Send,
    ) -> sqlx::Result<()> {
        let mut rest = rows;
        for (index, size) in SIZES.into_iter().enumerate() {
            while let Some((chunk, after)) = rest.split_at_checked(size) {
                let mut binds = Binds::default();
                for row in chunk {
                    bind(row, &mut binds);
                }
                let text = Arc::clone(self.text(index, size));
                sqlx::query_with(sqlx::AssertSqlSafe(text), binds.finish()?).execute(&mut *conn).await?;
                rest = after;
            }
        }
        Ok(())
    }

    /// Every text of the statement, for preparing them in a test.
    pub fn texts(&self) -> Vec<String> {
        SIZES.into_iter().enumerate().map(|(index, size)| self.text(index, size).to_string()).collect()
    }

    fn text(&self, index: usize, size: usize) -> &Arc<str> {
        static NOTHING: OnceLock<Arc<str>> = OnceLock::new();
        let text = self.texts.get(index).unwrap_or(&NOTHING);
        text.get_or_init(|| {
            let width = self.columns.len();
            let rows =
                (0..size).map(|row| format!("({})", placeholders(row * width, width))).collect::<Vec<_>>().join(", ");
            let columns = self.columns.join(", ");
            format!("INSERT INTO {} ({columns}) VALUES {rows} {}", self.table, self.on_conflict).into()
        })
    }
}

/// A lookup of many keys.
pub struct Lookup {
    select: &'static str,
    texts: [OnceLock<Arc<str>>; SIZES.len()],
}

impl Lookup {
    /// A select that ends where the list of keys follows: `SELECT … WHERE key IN`.
    pub const fn new(select: &'static str) -> Self {
        Self { select, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The rows of the keys, in no order. A key asked for twice gives its row once or twice.
    pub async fn run<K, O>(&self, conn: &mut Conn, keys: &[K]) -> sqlx::Result<Vec<O>>
    where
        K: Clone + Sync + Send + for<'q> Encode<'q, Db> + Type<Db>,
        O: for<'r> sqlx::FromRow<'r, Row> + Send + Unpin,
    {
        let mut found = Vec::new();
        let mut rest = keys;
        while let Some(last) = rest.last() {
            // The smallest size that holds what is left, filled up with a key that is asked for anyway.
            let index = SIZES.iter().rposition(|size| *size >= rest.len()).unwrap_or(0);
            let size = SIZES.get(index).copied().unwrap_or(1);
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            let mut binds = Binds::default();
            for key in chunk.iter().chain(std::iter::repeat_n(last, size - chunk.len())) {
                binds.add(key.clone());
            }
            let text = Arc::clone(self.text(index, size));
            found.extend(sqlx::query_as_with(sqlx::AssertSqlSafe(text), binds.finish()?).fetch_all(&mut *conn).await?);
            rest = after;
        }
        Ok(found)
    }

    /// Every text of the statement, for preparing them in a test.
    pub fn texts(&self) -> Vec<String> {
        SIZES.into_iter().enumerate().map(|(index, size)| self.text(index, size).to_string()).collect()
    }

    fn text(&self, index: usize, size: usize) -> &Arc<str> {
        static NOTHING: OnceLock<Arc<str>> = OnceLock::new();
        let text = self.texts.get(index).unwrap_or(&NOTHING);
        text.get_or_init(|| format!("{} ({})", self.select, placeholders(0, size)).into())
    }
}

fn placeholders(after: usize, count: usize) -> String {
    (after + 1..=after + count).map(placeholder).collect::<Vec<_>>().join(", ")
}
