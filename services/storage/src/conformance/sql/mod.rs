//! The sample's statements, compiled for each engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::id::RandomIds;
use portreeve_core::time::ManualClock;
use portreeve_core::{Clock, Result};

use super::engine::sql::{Insert, Lookup, Reads, Script, Store, maintenance};
use super::engine::{Conn, Engine};
use crate::conformance::ledger::{Appended, Command, Lines, Notes, State};
use crate::conformance::{Opened, Sample};
use crate::unavailable;

static FIND: Lookup = Lookup::new("SELECT note_key, content, seq FROM note WHERE note_key IN");
static UPSERT: Insert = Insert::new(
    "note",
    &["note_key TEXT", "content TEXT", "payload BYTEA", "flagged BOOLEAN", "counted BIGINT", "seq BIGINT"],
    "ON CONFLICT (note_key) DO UPDATE SET content = excluded.content, payload = excluded.payload, \
     flagged = excluded.flagged, counted = excluded.counted, seq = excluded.seq",
);

/// The sample's tables.
pub struct Tables;

impl super::engine::sql::Tables<Notes> for Tables {
    type Keys = BTreeSet<String>;
    type Codec = Lines;
    const STATE_TABLES: &'static [&'static str] = &["note"];

    fn command_keys(command: &Command, keys: &mut BTreeSet<String>) {
        if let Command::Append { key, .. } = command {
            keys.insert(key.clone());
        }
    }

    fn event_keys(event: &Appended, keys: &mut BTreeSet<String>) {
        keys.insert(event.key.clone());
    }

    async fn load(conn: &mut Conn, keys: BTreeSet<String>) -> sqlx::Result<State> {
        let mut reads = Reads::new();
        let notes = reads.find(&FIND, &keys.into_iter().collect::<Vec<_>>());
        let rows: Vec<(String, String, i64)> = reads.run(conn).await?.take(notes)?;
        let notes = rows.into_iter().map(|(key, content, seq)| (key, (content, seq))).collect();
        Ok(State { notes, changed: BTreeSet::new() })
    }

    async fn persist(script: &mut Script<'_>, state: State) -> sqlx::Result<()> {
        let changed = state.changed.iter().filter_map(|key| state.notes.get_key_value(key)).collect::<Vec<_>>();
        UPSERT
            .run(script, &changed, |(key, (content, seq)), binds| {
                let length = i64::try_from(content.len()).unwrap_or_default();
                binds
                    .add((*key).clone())
                    .add(content.clone())
                    .add(content.clone().into_bytes())
                    .add(length > 3)
                    .add((length > 3).then_some(length))
                    .add(*seq);
            })
            .await
    }
}

struct OnEngine(Store<Notes, Tables>);

/// Opens the sample on this engine.
pub async fn open(engine: Engine, clock: Arc<ManualClock>) -> Result<Opened> {
    let migrations = super::migrations();
    let shared = Arc::clone(&clock) as Arc<dyn Clock>;
    let store = Store::<Notes, Tables>::open(engine, "notes", migrations, shared, Arc::new(RandomIds)).await?;
    let (writer, _task) = store.writer();
    Ok(Opened { writer, log: store.log(), sample: Arc::new(OnEngine(store)), clock })
}

#[async_trait]
impl Sample for OnEngine {
    async fn dump(&self) -> Result<Vec<String>> {
        self.0.dump().await
    }

    async fn rebuild(&self) -> Result<i64> {
        self.0.rebuild().await
    }

    async fn compact(&self, through: i64) -> Result<i64> {
        self.0.compact(through).await
    }

    async fn damage(&self) -> Result<()> {
        let mut tx = super::engine::begin_write(self.0.writers()).await.map_err(|e| unavailable(&e))?;
        sqlx::query("DELETE FROM note").execute(&mut *tx).await.map_err(|e| unavailable(&e))?;
        tx.commit().await.map_err(|e| unavailable(&e))
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        let mut tx = super::engine::begin_write(self.0.writers()).await.map_err(|e| unavailable(&e))?;
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&mut *tx).await.map_err(|e| unavailable(&e))?;
        tx.commit().await.map_err(|e| unavailable(&e))
    }

    async fn catch_up(&self) -> Result<()> {
        maintenance::catch_up(self.0.writers()).await.map(drop).map_err(|e| unavailable(&e))
    }

    async fn prepare(&self) -> Result<(), String> {
        let mut statements = maintenance::statements();
        for (name, texts) in [("note_find", FIND.texts()), ("note_upsert", UPSERT.texts())] {
            statements.extend(texts.into_iter().map(|text| (name, text)));
        }
        maintenance::prepare(self.0.readers(), &statements).await
    }

    async fn columns(&self) -> Vec<(String, String, String, bool)> {
        maintenance::columns(self.0.readers()).await.unwrap_or_default()
    }
}
