//! What an operator does to a store: bring its schema up to date, rebuild its state from the log, compact the log.

use portreeve_core::audit::{Check, Checkpoint};
use portreeve_core::{Error, Ledger, Reason, Result};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Pool, Row as _};

use super::super::{COLUMNS, LOCK_HEAD, begin_write};
use super::commit::{Store, Tables};
use super::{Conn, Db, Script, event_log, followed, request_log, seal, tree};
use crate::{Codec, LogState};

/// Events that a rebuild or a compaction takes up at a time.
const CHUNK: i64 = 1_000;

const ARCHIVE: &str = "INSERT INTO event_archive (seq, recorded_us, agency, platform, actor, body, leaf) \
     SELECT seq, recorded_us, agency, platform, actor, body, leaf FROM event WHERE seq <= $1";
const FORGET: &str = "DELETE FROM event WHERE seq <= $1";
const RAISE_FLOOR: &str = "UPDATE event_head SET compacted = $1 WHERE id = 1";

/// Brings the schema up to date. A database that a newer release has migrated is refused.
pub(super) async fn migrate(pool: &Pool<Db>, service: Migrator) -> Result<()> {
    let mut log = own_migrations();
    log.dangerous_set_table_name("_log_migrations");
    for migrations in [log, service] {
        migrations.run(pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) => Error::new(
                Reason::StorageUnavailable,
                format!("the data was written by a newer release (its schema has version {version}); upgrade this one"),
            ),
            other => {
                Error::new(Reason::StorageUnavailable, format!("the schema could not be brought up to date: {other}"))
            }
        })?;
    }
    Ok(())
}

/// Brings the events of a log from before there was a tree into it, some in each transaction. Gives where the log stands.
pub(crate) async fn catch_up(pool: &Pool<Db>) -> sqlx::Result<LogState> {
    loop {
        let mut tx = begin_write(pool).await?;
        let mut head = event_log::lock_alone(&mut tx).await?;
        if head.tree.size() == head.state.head {
            return Ok(head.state);
        }
        tree::catch_up(&mut tx, &mut head, 10 * CHUNK).await?;
        tx.commit().await?;
        tracing::info!(
            events = head.tree.size(),
            of = head.state.head,
            "the log is being brought into its Merkle tree"
        );
    }
}

fn own_migrations() -> Migrator {
    super::super::migrations()
}

/// Every statement of the log with its name, for preparing them in a test.
pub fn statements() -> Vec<(&'static str, String)> {
    let mut all = [
        ("lock_head", LOCK_HEAD),
        ("head", event_log::HEAD),
        ("make_head", event_log::MAKE_HEAD),
        ("move_head", event_log::MOVE_HEAD),
        ("standing", event_log::STANDING),
        ("event_whole", event_log::WHOLE),
        ("event_entries", tree::ENTRIES),
        ("event_leaves", tree::LEAVES),
        ("tree_nodes", tree::NODES),
        ("set_tree", tree::SET_TREE),
        ("followed", followed::ALL),
        ("archive", ARCHIVE),
        ("forget", FORGET),
        ("raise_floor", RAISE_FLOOR),
        ("columns", COLUMNS),
    ]
    .map(|(name, text)| (name, text.to_owned()))
    .to_vec();
    for (name, texts) in [
        ("event_insert", event_log::INSERT.texts()),
        ("tree_node_insert", tree::INSERT_NODES.texts()),
        ("event_fill", tree::FILL_EVENTS.texts()),
        ("event_archive_fill", tree::FILL_ARCHIVE.texts()),
        ("request_insert", request_log::INSERT.texts()),
        ("request_find", request_log::FIND.texts()),
        ("followed_upsert", followed::UPSERT.texts()),
        ("seal_key_find", seal::FIND.texts()),
        ("seal_key_upsert", seal::UPSERT.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// Prepares statements without running them. The error names the first that the engine does not accept.
pub async fn prepare(pool: &Pool<Db>, statements: &[(&'static str, String)]) -> Result<(), String> {
    use sqlx::Executor as _;
    let mut conn = pool.acquire().await.map_err(|e| e.to_string())?;
    for (name, text) in statements {
        let text = sqlx::AssertSqlSafe(text.clone());
        conn.prepare(sqlx::SqlSafeStr::into_sql_str(text)).await.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// A column of a table: table, column, type as the engine names it, whether it must have a value.
pub type Column = (String, String, String, bool);

/// The columns of every table, in order.
pub async fn columns(pool: &Pool<Db>) -> sqlx::Result<Vec<Column>> {
    sqlx::query_as(COLUMNS).fetch_all(pool).await
}

impl<L: Ledger, T: Tables<L>> Store<L, T> {
    /// Empties the state tables and fills them again from the log, in one transaction. Gives the number of events read.
    ///
    /// Refuses a log that is not the one of its Merkle tree: what was built from it would not be what happened.
    pub async fn rebuild(&self) -> Result<i64> {
        self.try_rebuild().await.map_err(|error| crate::unavailable(&error))?
    }

    async fn try_rebuild(&self) -> sqlx::Result<Result<i64>> {
        let mut tx = begin_write(self.writers()).await?;
        let conn: &mut Conn = &mut tx;
        let mut head = event_log::lock_alone(conn).await?;
        tree::catch_up(conn, &mut head, i64::MAX).await?;
        let (head, tree) = (head.state.head, head.tree);
        let mut check = Check::new();
        for table in T::STATE_TABLES {
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *conn).await?;
        }
        let mut after = 0;
        while after < head {
            let stored = tree::entries(conn, after, CHUNK).await?;
            let Some(last) = stored.last().map(|logged| logged.event.position) else {
                return Ok(Err(Error::internal(format!("the log ends at {after} but its head says {head}"))));
            };
            for logged in &stored {
                let entry = logged.event.entry();
                check.take(entry.position, logged.leaf.unwrap_or_default(), Some(entry));
            }
            let mut opened = stored.into_iter().map(|logged| logged.event).collect::<Vec<_>>();
            if let Err(error) = seal::open(conn, &mut opened).await? {
                return Ok(Err(error));
            }
            let events = match opened.iter().map(T::Codec::read).collect::<Result<Vec<_>>>() {
                Ok(events) => events,
                Err(error) => return Ok(Err(error)),
            };
            let mut keys = T::Keys::default();
            for recorded in &events {
                T::event_keys(&recorded.event, &mut keys);
            }
            let mut state = T::load(conn, keys).await?;
            for recorded in &events {
                L::evolve(&mut state, recorded);
            }
            let mut script = Script::new(conn);
            T::persist(&mut script, state).await?;
            script.end().await?;
            after = last;
        }
        let recorded = Checkpoint { origin: String::new(), size: tree.size(), root: tree.root() };
        if let Some(finding) = check.against(&recorded).first() {
            return Ok(Err(Error::internal(format!("the log is not the one that was recorded: {finding}"))));
        }
        tx.commit().await?;
        Ok(Ok(head))
    }

    /// Raises the floor below which streams no longer start, and moves the events below it out of their way. They are
    /// kept: rebuilding, replies to repeated requests and proofs read them. Gives the floor.
    pub async fn compact(&self, through: i64) -> Result<i64> {
        self.try_compact(through).await.map_err(|error| crate::unavailable(&error))
    }

    async fn try_compact(&self, through: i64) -> sqlx::Result<i64> {
        loop {
            let mut tx = begin_write(self.writers()).await?;
            let conn: &mut Conn = &mut tx;
            let state = event_log::lock_alone(conn).await?.state;
            let through = through.min(state.head);
            if through <= state.compacted {
                return Ok(state.compacted);
            }
            let floor = through.min(state.compacted + CHUNK);
            for statement in [ARCHIVE, FORGET, RAISE_FLOOR] {
                sqlx::query(statement).bind(floor).execute(&mut *conn).await?;
            }
            tx.commit().await?;
        }
    }

    /// Every row of the state tables as text, in the order of their columns, for comparing two states.
    pub async fn dump(&self) -> Result<Vec<String>> {
        let mut rows = Vec::new();
        let columns = columns(self.readers()).await.map_err(|error| crate::unavailable(&error))?;
        for table in T::STATE_TABLES {
            let of_table = columns.iter().filter(|(name, ..)| name == table).map(|(_, column, ..)| column.as_str());
            let parts = of_table.map(|column| format!("COALESCE({}, '-')", super::super::as_text(column)));
            let line = parts.collect::<Vec<_>>().join(" || '|' || ");
            let text = format!("SELECT '{table} ' || {line} FROM {table} ORDER BY 1");
            let found = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(self.readers()).await;
            for row in found.map_err(|error| crate::unavailable(&error))? {
                rows.push(row.try_get(0).map_err(|error| crate::unavailable(&error))?);
            }
        }
        Ok(rows)
    }
}
