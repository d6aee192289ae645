//! The event log: append under the head row's lock, read in the order of its numbers.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::audit::{Claim, Entry, Hash, Tree};
use portreeve_core::id::IdSource;
use portreeve_core::token::{Epoch, Revision};
use portreeve_core::{Error, Recorded, Result, Timestamp};
use sqlx::Pool;
use tokio::sync::watch;

use super::super::LOCK_HEAD;
use super::script::{Found, Ticket};
use super::seal::{self, Sealer};
use super::tree::Growing;
use super::{Conn, Db, Insert, Reads, Script, followed, tree};
use crate::{Codec, Encoded, EventLog, LogPage, LogState, LoggedEvent, StoredEvent};

pub(super) const HEAD: &str = "SELECT epoch, last, compacted, recorded_us, tree FROM event_head WHERE id = 1";
pub(super) const MAKE_HEAD: &str = "INSERT INTO event_head (id, epoch, last, compacted, recorded_us) VALUES (1, $1, 0, 0, 0) ON CONFLICT (id) DO NOTHING";
pub(super) const MOVE_HEAD: &str = "UPDATE event_head SET last = $1, recorded_us = $2, tree = $3 WHERE id = 1";
pub(super) const STANDING: &str = "SELECT h.epoch, h.last, h.compacted, f.source, f.epoch, f.seq \
     FROM event_head h LEFT JOIN followed f ON h.id = 1 WHERE h.id = 1 ORDER BY f.source";
pub(super) const WHOLE: &str = "SELECT seq, recorded_us, agency, platform, actor, body FROM event_archive WHERE seq > $1 \
     UNION ALL SELECT seq, recorded_us, agency, platform, actor, body FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";
pub(super) const COLUMNS: &[&str] =
    &["seq BIGINT", "recorded_us BIGINT", "agency TEXT", "platform TEXT", "actor TEXT", "body BYTEA", "leaf BYTEA"];
pub(super) static INSERT: Insert = Insert::new("event", COLUMNS, "");

pub(super) type EventRow = (i64, i64, String, String, String, Vec<u8>);
type HeadRow = (Vec<u8>, i64, i64, i64, Vec<u8>);
type StandingRow = (Vec<u8>, i64, i64, Option<String>, Option<Vec<u8>>, Option<i64>);

/// The head of the log while it is held.
#[derive(Clone, Debug)]
pub struct Head {
    /// Where the log stands.
    pub state: LogState,
    /// When the newest event was recorded.
    pub recorded_at: Timestamp,
    /// The tree over the events. It may lack the newest ones, if another release appended them.
    pub tree: Tree,
}

fn epoch(bytes: Vec<u8>) -> sqlx::Result<Epoch> {
    Epoch::try_from(bytes).map_err(|_| sqlx::Error::Decode("an epoch has 8 bytes".into()))
}

fn head((of, last, compacted, recorded_us, tree): HeadRow) -> sqlx::Result<Head> {
    let tree = Tree::decode(&tree).ok_or_else(|| sqlx::Error::Decode("the head's tree is none".into()))?;
    let state = LogState { epoch: epoch(of)?, head: last, compacted };
    Ok(Head { state, recorded_at: Timestamp::from_micros(recorded_us), tree })
}

/// Asks for the head, which is then held until the transaction ends.
pub fn lock(reads: &mut Reads) -> Ticket {
    reads.select(LOCK_HEAD)
}

/// The head that was locked.
pub fn locked(found: &mut Found, ticket: Ticket) -> sqlx::Result<Head> {
    head(found.take(ticket)?.pop().ok_or(sqlx::Error::RowNotFound)?)
}

/// Reads the head alone and holds it until the transaction ends.
pub async fn lock_alone(conn: &mut Conn) -> sqlx::Result<Head> {
    head(sqlx::query_as(LOCK_HEAD).fetch_one(conn).await?)
}

/// Makes the head of a new log; an existing one stays.
pub async fn make_head(pool: &Pool<Db>, epoch: Epoch) -> sqlx::Result<()> {
    sqlx::query(MAKE_HEAD).bind(epoch.to_vec()).execute(pool).await.map(|_| ())
}

/// Events as the log takes them: encoded, and sealed as far as that takes no key that has to be looked up.
pub struct Prepared<'i> {
    encoded: Vec<Encoded>,
    sealer: Sealer<'i>,
}

/// Events that are prepared between two looks at whether the database waits for its next statement.
const PREPARED_AT_ONCE: usize = 16;

/// Prepares events for the log. It takes no connection, so that the database can work meanwhile.
pub async fn prepare<'i, E: Send + Sync, C: Codec<E>>(
    events: &[Recorded<E>],
    ids: &'i dyn IdSource,
) -> Result<Prepared<'i>> {
    let (mut encoded, mut sealer) = (Vec::with_capacity(events.len()), Sealer::new(ids, events.len()));
    for (index, some) in events.chunks(PREPARED_AT_ONCE).enumerate() {
        if index > 0 {
            tokio::task::yield_now().await;
        }
        for recorded in some {
            let mut event = C::encode(&recorded.event);
            sealer.seal_fresh(&mut event, recorded.position)?;
            encoded.push(event);
        }
    }
    Ok(Prepared { encoded, sealer })
}

/// Appends events that follow the head to the log and to its tree, sealed, and moves the head to the last of them. Gives
/// whether a key was destroyed.
pub async fn append<E: Send + Sync>(
    script: &mut Script<'_>,
    tree: Tree,
    events: &[Recorded<E>],
    prepared: Prepared<'_>,
) -> sqlx::Result<Result<bool>> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(Ok(false)) };
    let Prepared { mut encoded, sealer } = prepared;
    let erased = match sealer.end(script, first.position - 1, &mut encoded).await? {
        Ok(erased) => erased,
        Err(error) => return Ok(Err(error)),
    };
    let rows = events.iter().zip(&encoded).collect::<Vec<_>>();
    let growing = Growing::new(tree);
    INSERT
        .run(script, &rows, |(recorded, encoded), binds| {
            let Recorded { position, recorded_at, actor, event: _ } = recorded;
            let Encoded { agency, platform, body, personal: _ } = encoded;
            let entry = Entry { position: *position, recorded_at: *recorded_at, agency, platform, actor, body };
            let leaf = entry.leaf();
            growing.push(leaf);
            binds
                .add(*position)
                .add(recorded_at.micros())
                .add(agency.as_str())
                .add(platform.as_str())
                .add(actor.as_str())
                .add(body.clone())
                .add(leaf.to_vec());
        })
        .await?;
    let tree = growing.end(script).await?.encode();
    script
        .execute(MOVE_HEAD, |binds| {
            binds.add(last.position).add(last.recorded_at.micros()).add(tree);
        })
        .await?;
    Ok(Ok(erased))
}

/// Events after a position as they lie in the log, those below the compaction floor included.
pub async fn whole(conn: &mut Conn, after: i64, limit: i64) -> sqlx::Result<Vec<StoredEvent>> {
    let rows: Vec<EventRow> = sqlx::query_as(WHOLE).bind(after).bind(limit).fetch_all(conn).await?;
    Ok(rows.into_iter().map(stored).collect())
}

pub(super) fn stored((position, recorded_us, agency, platform, actor, body): EventRow) -> StoredEvent {
    let recorded_at = Timestamp::from_micros(recorded_us);
    StoredEvent { position, recorded_at, agency, platform, actor, body: body.into() }
}

/// A service's log on this engine.
pub struct Log {
    name: &'static str,
    readers: Pool<Db>,
    changed: watch::Receiver<i64>,
}

impl Log {
    pub(super) fn new(name: &'static str, readers: Pool<Db>, changed: watch::Receiver<i64>) -> Arc<Self> {
        Arc::new(Self { name, readers, changed })
    }

    /// The events first, where the log stands afterwards: what has come in between shows as a head further on, and is
    /// read next. Two statements and no transaction, for every wake of every stream.
    async fn read(&self, after: i64, limit: i64) -> sqlx::Result<Result<LogPage>> {
        let mut conn = self.readers.acquire().await?;
        let mut events = Vec::new();
        if limit > 0 {
            let rows: Vec<EventRow> = sqlx::query_as(WHOLE).bind(after).bind(limit).fetch_all(&mut *conn).await?;
            events = rows.into_iter().map(stored).collect();
            if let Err(error) = seal::open(&mut conn, &mut events).await? {
                return Ok(Err(error));
            }
        }
        let rows: Vec<StandingRow> = sqlx::query_as(STANDING).fetch_all(&mut *conn).await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let state = LogState { epoch: epoch(first.0.clone())?, head: first.1, compacted: first.2 };
        let followed =
            rows.into_iter().filter_map(|(.., source, epoch, seq)| followed::revision(source?, epoch?, seq?));
        Ok(Ok(LogPage { events, state, followed: followed.collect() }))
    }

    async fn read_tree(&self) -> sqlx::Result<(Epoch, Tree)> {
        let mut conn = self.readers.acquire().await?;
        let head = head(sqlx::query_as(HEAD).fetch_one(&mut *conn).await?)?;
        Ok((head.state.epoch, head.tree))
    }

    async fn read_proof(&self, claim: Claim) -> sqlx::Result<Result<Vec<Hash>>> {
        let mut conn = self.readers.acquire().await?;
        Ok(tree::nodes(&mut conn, claim).await?.and_then(|nodes| claim.prove(&nodes)))
    }

    async fn read_entries(&self, after: i64, limit: i64) -> sqlx::Result<Vec<LoggedEvent>> {
        let mut conn = self.readers.acquire().await?;
        tree::entries(&mut conn, after, limit).await
    }
}

#[async_trait]
impl EventLog for Log {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn page(&self, after: i64, limit: usize) -> Result<LogPage> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = self.read(after, limit).await.map_err(|e| crate::unavailable(&e))??;
        // The promise that everything rests on is checked where it is relied on.
        if page.events.iter().zip(after + 1..).any(|(event, expected)| event.position != expected) {
            return Err(Error::internal(format!("the {} log has a gap after {after}", self.name)));
        }
        Ok(page)
    }

    async fn standing(&self) -> Result<(LogState, Vec<Revision>)> {
        let page = self.read(0, 0).await.map_err(|e| crate::unavailable(&e))??;
        Ok((page.state, page.followed))
    }

    async fn tree(&self) -> Result<(Epoch, Tree)> {
        self.read_tree().await.map_err(|e| crate::unavailable(&e))
    }

    async fn proof(&self, claim: Claim) -> Result<Vec<Hash>> {
        self.read_proof(claim).await.map_err(|e| crate::unavailable(&e))?
    }

    async fn entries(&self, after: i64, limit: usize) -> Result<Vec<LoggedEvent>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read_entries(after, limit).await.map_err(|e| crate::unavailable(&e))
    }

    fn changed(&self) -> watch::Receiver<i64> {
        self.changed.clone()
    }
}
