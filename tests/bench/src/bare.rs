//! The barest writer of the same rows: a loop over SQLite's C interface, with each statement prepared once.
//!
//! The rows come from memory, in the order in which they arrived; they are bound where they lie, without a copy.
#![expect(unsafe_code, reason = "SQLite's C interface, without anything between, is what the import is held against")]

use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libsqlite3_sys as c;

/// The tables that an import fills, with the order in which their rows arrived.
pub(crate) const TABLES: [(&str, &str); 4] =
    [("referral", "seq"), ("event", "seq"), ("seal_key", "subject"), ("request_log", "first_seq")];
/// What the tree adds to them: a leaf in each event's row, and a row for every 256 events.
const EVENT_WITHOUT_LEAF: &str = "seq, recorded_us, agency, platform, actor, body";
const NODES: (&str, &str) = ("tree_node", "level, idx");
/// As the suite's own writing connection has them.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; \
     PRAGMA cache_size = -40960; PRAGMA wal_autocheckpoint = 64000; PRAGMA journal_size_limit = 268435456; \
     PRAGMA secure_delete = ON";

/// What an import left: the tables' definitions and their rows.
pub(crate) struct Image {
    schema: Vec<String>,
    tables: Vec<Rows>,
}

/// The rows of a table: cell after cell, each with its type and length before it.
struct Rows {
    name: &'static str,
    insert: String,
    columns: usize,
    count: usize,
    cells: Vec<u8>,
}

impl Image {
    /// Reads it out of a database.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::of(path, TABLES.map(|(table, order)| (table, "*", order)).to_vec())
    }

    /// The same rows with all that is kept of the tree over them, and without.
    pub(crate) fn with_tree_and_without(path: &Path) -> Result<[Self; 2]> {
        let with = TABLES.into_iter().chain([NODES]).map(|(table, order)| (table, "*", order));
        let columns = |table| if table == "event" { EVENT_WITHOUT_LEAF } else { "*" };
        let without = TABLES.into_iter().map(|(table, order)| (table, columns(table), order));
        Ok([Self::of(path, with.collect())?, Self::of(path, without.collect())?])
    }

    fn of(path: &Path, tables: Vec<(&'static str, &str, &str)>) -> Result<Self> {
        let database = Connection::open(path)?;
        let mut image = Self { schema: Vec::new(), tables: Vec::new() };
        for (table, columns, order) in tables {
            let mut definitions = database.prepare(&format!(
                "SELECT sql FROM sqlite_master WHERE tbl_name = '{table}' AND sql IS NOT NULL ORDER BY type DESC"
            ))?;
            while definitions.step()? {
                image.schema.push(String::from_utf8(definitions.bytes(0)?.to_vec())?);
            }
            let mut select = database.prepare(&format!("SELECT {columns} FROM {table} ORDER BY {order}"))?;
            let into = if columns == "*" { String::new() } else { format!(" ({columns})") };
            let columns = select.columns();
            let places = (1..=columns).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ");
            let insert = format!("INSERT INTO {table}{into} VALUES ({places})");
            let mut rows = Rows { name: table, insert, columns, count: 0, cells: Vec::new() };
            while select.step()? {
                for column in 0..columns {
                    select.copy(column, &mut rows.cells)?;
                }
                rows.count += 1;
            }
            image.tables.push(rows);
        }
        Ok(image)
    }

    /// Writes it into a new database, so many rows of each table in a transaction. Gives how long that took.
    pub(crate) fn write(&self, path: &Path, batch: usize) -> Result<Duration> {
        let database = Connection::open(path)?;
        database.run(PRAGMAS)?;
        for definition in &self.schema {
            database.run(definition)?;
        }
        let begun = Instant::now();
        let (mut begin, mut commit) = (database.prepare("BEGIN IMMEDIATE")?, database.prepare("COMMIT")?);
        let mut tables = Vec::new();
        for table in &self.tables {
            tables.push((database.prepare(&table.insert)?, table, table.cells.as_slice(), table.count));
        }
        while tables.iter().any(|(.., left)| *left > 0) {
            begin.once()?;
            for (insert, table, cells, left) in &mut tables {
                for _ in 0..batch.min(*left) {
                    for place in 1..=table.columns {
                        *cells = insert.bind(place, cells)?;
                    }
                    insert.once()?;
                }
                *left -= batch.min(*left);
            }
            commit.once()?;
        }
        let took = begun.elapsed();
        drop(tables);
        for Rows { name, count: rows, .. } in &self.tables {
            let mut count = database.prepare(&format!("SELECT count(*) FROM {name}"))?;
            ensure!(count.step()? && count.integer(0) == i64::try_from(*rows)?, "{name} lacks rows");
        }
        Ok(took)
    }
}

struct Connection(*mut c::sqlite3);

impl Connection {
    fn open(path: &Path) -> Result<Self> {
        let name = CString::new(path.as_os_str().as_encoded_bytes())?;
        let flags = c::SQLITE_OPEN_READWRITE | c::SQLITE_OPEN_CREATE | c::SQLITE_OPEN_NOMUTEX;
        let mut handle = ptr::null_mut();
        // SAFETY: the name is a C string; the handle is closed in `drop`, also when opening failed.
        let code = unsafe { c::sqlite3_open_v2(name.as_ptr(), &raw mut handle, flags, ptr::null()) };
        let database = Self(handle);
        database.check(code)?;
        // Whoever had the file open last may still be closing it.
        // SAFETY: the handle is open.
        database.check(unsafe { c::sqlite3_busy_timeout(handle, 60_000) })?;
        Ok(database)
    }

    fn run(&self, statements: &str) -> Result<()> {
        let text = CString::new(statements)?;
        // SAFETY: the handle is open and the text a C string; there is no callback.
        let code = unsafe { c::sqlite3_exec(self.0, text.as_ptr(), None, ptr::null_mut(), ptr::null_mut()) };
        self.check(code)
    }

    fn prepare(&self, text: &str) -> Result<Statement<'_>> {
        let mut handle = ptr::null_mut();
        let bytes = c_int::try_from(text.len())?;
        let flags = c::SQLITE_PREPARE_PERSISTENT;
        // SAFETY: the handle is open and the text has so many bytes.
        let code = unsafe {
            c::sqlite3_prepare_v3(self.0, text.as_ptr().cast(), bytes, flags, &raw mut handle, ptr::null_mut())
        };
        self.check(code)?;
        Ok(Statement { handle, database: self })
    }

    fn check(&self, code: c_int) -> Result<()> {
        if code == c::SQLITE_OK {
            return Ok(());
        }
        // SAFETY: the message is a C string that lives until the next call on this connection.
        let message = unsafe { CStr::from_ptr(c::sqlite3_errmsg(self.0)) };
        bail!("SQLite: {}", message.to_string_lossy())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: statements borrow the connection, so none is left.
        unsafe { c::sqlite3_close(self.0) };
    }
}

struct Statement<'d> {
    handle: *mut c::sqlite3_stmt,
    database: &'d Connection,
}

impl Statement<'_> {
    /// Whether there is a row.
    fn step(&mut self) -> Result<bool> {
        // SAFETY: the statement lives until `drop`.
        match unsafe { c::sqlite3_step(self.handle) } {
            c::SQLITE_ROW => Ok(true),
            c::SQLITE_DONE => Ok(false),
            code => self.database.check(code).map(|()| false),
        }
    }

    /// Runs a statement that gives no rows.
    fn once(&mut self) -> Result<()> {
        self.step()?;
        // SAFETY: the statement lives until `drop`.
        let code = unsafe { c::sqlite3_reset(self.handle) };
        self.database.check(code)
    }

    fn columns(&self) -> usize {
        // SAFETY: the statement lives until `drop`.
        usize::try_from(unsafe { c::sqlite3_column_count(self.handle) }).unwrap_or_default()
    }

    fn integer(&self, column: c_int) -> i64 {
        // SAFETY: the statement is on a row; a column that does not exist reads as null.
        unsafe { c::sqlite3_column_int64(self.handle, column) }
    }

    fn bytes(&self, column: c_int) -> Result<&[u8]> {
        // SAFETY: the statement is on a row; pointer before length, as SQLite asks. They hold until the next step, for
        // which the borrow must have ended.
        unsafe {
            let start = c::sqlite3_column_blob(self.handle, column);
            let length = usize::try_from(c::sqlite3_column_bytes(self.handle, column))?;
            Ok(if start.is_null() { &[] } else { std::slice::from_raw_parts(start.cast(), length) })
        }
    }

    /// Appends a cell of the present row.
    fn copy(&self, column: usize, cells: &mut Vec<u8>) -> Result<()> {
        let column = c_int::try_from(column)?;
        // SAFETY: the statement is on a row.
        let kind = unsafe { c::sqlite3_column_type(self.handle, column) };
        cells.push(u8::try_from(kind)?);
        match kind {
            c::SQLITE_NULL => {}
            c::SQLITE_INTEGER => cells.extend(self.integer(column).to_ne_bytes()),
            _ => {
                let bytes = self.bytes(column)?;
                cells.extend(u32::try_from(bytes.len())?.to_ne_bytes());
                cells.extend(bytes);
            }
        }
        Ok(())
    }

    /// Binds the first of the cells; gives the others.
    fn bind<'r>(&mut self, place: usize, cells: &'r [u8]) -> Result<&'r [u8]> {
        let place = c_int::try_from(place)?;
        let (kind, rest) = cells.split_first().context("a row is cut short")?;
        let kind = c_int::from(*kind);
        if kind == c::SQLITE_NULL {
            // SAFETY: the statement lives until `drop`.
            let code = unsafe { c::sqlite3_bind_null(self.handle, place) };
            return self.database.check(code).map(|()| rest);
        }
        if kind == c::SQLITE_INTEGER {
            let (value, rest) = rest.split_first_chunk().context("a row is cut short")?;
            // SAFETY: the statement lives until `drop`.
            let code = unsafe { c::sqlite3_bind_int64(self.handle, place, i64::from_ne_bytes(*value)) };
            return self.database.check(code).map(|()| rest);
        }
        let (length, rest) = rest.split_first_chunk().context("a row is cut short")?;
        let length = u32::from_ne_bytes(*length);
        let (value, rest) = rest.split_at_checked(usize::try_from(length)?).context("a row is cut short")?;
        let (start, length) = (value.as_ptr(), c_int::try_from(length)?);
        // SAFETY: the cells lie still in the image, which outlives the statement, so SQLite needs no copy of them.
        let code = unsafe {
            if kind == c::SQLITE_TEXT {
                c::sqlite3_bind_text(self.handle, place, start.cast(), length, c::SQLITE_STATIC())
            } else {
                c::sqlite3_bind_blob(self.handle, place, start.cast(), length, c::SQLITE_STATIC())
            }
        };
        self.database.check(code).map(|()| rest)
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: prepared by us, and gone after this.
        unsafe { c::sqlite3_finalize(self.handle) };
    }
}
