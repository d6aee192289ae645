//! Statements that go to the database together.
//!
//! On SQLite each statement is a way to the connection's thread and back, which for a single write costs more than the
//! statement itself: small ones are joined into one text there. Postgres prepares one statement at a time and gets them
//! one by one.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::{Database, Either, Executor as _, FromRow};

use super::super::{JOINED_KEYS_MAX as JOINED, Values, joined};
use super::bulk::{Binds, Lookup, Value};
use super::{Conn, Db};

type Row = <Db as Database>::Row;

/// Writes that run in order, each at the latest when the script ends.
pub struct Script<'c> {
    conn: &'c mut Conn,
    text: String,
    values: Binds,
}

impl<'c> Script<'c> {
    /// An empty one.
    pub fn new(conn: &'c mut Conn) -> Self {
        Self { conn, text: String::new(), values: Binds::default() }
    }

    /// Adds a statement. `bind` adds the values of its parameters in order.
    pub async fn execute(&mut self, text: &'static str, bind: impl FnOnce(&mut Binds)) -> sqlx::Result<()> {
        let mut values = if JOINED.is_some() { std::mem::take(&mut self.values) } else { Binds::default() };
        bind(&mut values);
        self.add(&joined(text), values).await
    }

    /// Where to put the values of a row that is then added.
    pub(super) fn binds(&mut self, columns: usize) -> Binds {
        if JOINED.is_some() { std::mem::take(&mut self.values) } else { Binds(Values::of_rows(columns, 1)) }
    }

    /// Adds a statement with its values, which on an engine that joins statements follow those of the ones before it.
    pub(super) async fn add(&mut self, text: &str, values: Binds) -> sqlx::Result<()> {
        self.text.push_str(text);
        self.text.push_str(";\n");
        self.values = values;
        if JOINED.is_none() { self.flush().await } else { Ok(()) }
    }

    /// The connection, with all that was added so far run.
    pub(super) async fn conn(&mut self) -> sqlx::Result<&mut Conn> {
        self.flush().await?;
        Ok(&mut *self.conn)
    }

    async fn flush(&mut self) -> sqlx::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let (text, values) = (std::mem::take(&mut self.text), std::mem::take(&mut self.values));
        sqlx::query_with(sqlx::AssertSqlSafe(text), values.0.into_arguments()?)
            .execute(&mut *self.conn)
            .await
            .map(|_| ())
    }

    /// Runs what is left.
    pub async fn end(mut self) -> sqlx::Result<()> {
        self.flush().await
    }
}

/// Reads that do not depend on each other.
#[derive(Default)]
pub struct Reads {
    statements: Vec<(usize, Arc<str>, Vec<Value>)>,
    tickets: usize,
}

/// Which read's rows.
#[must_use]
pub struct Ticket(usize);

impl Reads {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the rows of the keys, in no order. A key asked for twice gives its row once or twice.
    pub fn find<K: Clone + Into<Value>>(&mut self, lookup: &Lookup, keys: &[K]) -> Ticket {
        self.ask(lookup.statements(keys))
    }

    /// Asks for the rows of a statement without parameters.
    pub fn select(&mut self, text: &'static str) -> Ticket {
        self.ask(vec![(text.into(), Vec::new())])
    }

    fn ask(&mut self, statements: Vec<(Arc<str>, Vec<Value>)>) -> Ticket {
        let ticket = self.tickets;
        self.tickets += 1;
        self.statements.extend(statements.into_iter().map(|(text, values)| (ticket, text, values)));
        Ticket(ticket)
    }

    /// Reads.
    pub async fn run(self, conn: &mut Conn) -> sqlx::Result<Found> {
        let mut rows = Vec::new();
        rows.resize_with(self.tickets, Vec::new);
        let mut found = Found(rows);
        let joins = |most| self.statements.iter().all(|(_, _, values)| values.len() <= most);
        if JOINED.is_some_and(joins) && self.statements.len() > 1 {
            let (mut text, mut values, mut tickets) = (String::new(), Values::default(), Vec::new());
            for (ticket, one, of) in self.statements {
                text.push_str(&one);
                text.push_str(";\n");
                values.extend(of);
                tickets.push(ticket);
            }
            let query = sqlx::query_with(sqlx::AssertSqlSafe(text), values.into_arguments()?);
            let mut answers = conn.fetch_many(query);
            let mut tickets = tickets.into_iter();
            let mut ticket = tickets.next();
            while let Some(answer) = answers.try_next().await? {
                match answer {
                    // The end of one statement's rows.
                    Either::Left(_) => ticket = tickets.next(),
                    Either::Right(row) => found.add(ticket, [row]),
                }
            }
            return Ok(found);
        }
        for (ticket, text, values) in self.statements {
            let mut keys = if values.is_empty() { Values::default() } else { Values::of_rows(1, values.len()) };
            keys.extend(values);
            let query = sqlx::query_with(sqlx::AssertSqlSafe(text), keys.into_arguments()?);
            found.add(Some(ticket), query.fetch_all(&mut *conn).await?);
        }
        Ok(found)
    }
}

/// What was read.
pub struct Found(Vec<Vec<Row>>);

impl Found {
    fn add(&mut self, ticket: Option<usize>, rows: impl IntoIterator<Item = Row>) {
        if let Some(of) = ticket.and_then(|ticket| self.0.get_mut(ticket)) {
            of.extend(rows);
        }
    }

    /// The rows of one read.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good for one taking")]
    pub fn take<O>(&mut self, ticket: Ticket) -> sqlx::Result<Vec<O>>
    where
        O: for<'r> FromRow<'r, Row>,
    {
        self.0.get_mut(ticket.0).map(std::mem::take).unwrap_or_default().iter().map(O::from_row).collect()
    }
}
