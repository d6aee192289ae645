//! The Merkle tree over the log: grown in the commit that appends, read for proofs.
//!
//! A leaf lies beside its event, the tree's growing edge in the head row, and one node for every 256 of those below it in a
//! table of its own: a commit writes nothing more than it did but for one row in 256 events.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use portreeve_core::audit::{Claim, Hash, NodeId, Tree};
use portreeve_core::{Error, Result};

use super::event_log::{self, EventRow, Head};
use super::{Conn, Insert, Script};
use crate::LoggedEvent;

/// Events that are brought into the tree at a time.
const CHUNK: i64 = 1_000;

pub(super) const LEAVES: &str = "SELECT seq, leaf FROM event_archive WHERE seq > $1 AND seq <= $2 \
     UNION ALL SELECT seq, leaf FROM event WHERE seq > $1 AND seq <= $2 ORDER BY seq";
pub(super) const NODES: &str =
    "SELECT idx, hash FROM tree_node WHERE level = $1 AND idx >= $2 AND idx < $3 ORDER BY idx";
pub(super) const ENTRIES: &str = "SELECT seq, recorded_us, agency, platform, actor, body, leaf FROM event_archive WHERE seq > $1 \
     UNION ALL SELECT seq, recorded_us, agency, platform, actor, body, leaf FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";
pub(super) const SET_TREE: &str = "UPDATE event_head SET tree = $1 WHERE id = 1";
pub(super) static INSERT_NODES: Insert = Insert::new("tree_node", &["level BIGINT", "idx BIGINT", "hash BYTEA"], "");
/// Leaves of events from before there was a tree.
pub(super) static FILL_EVENTS: Insert = Insert::new("event", event_log::COLUMNS, SET_LEAF);
pub(super) static FILL_ARCHIVE: Insert = Insert::new("event_archive", event_log::COLUMNS, SET_LEAF);
const SET_LEAF: &str = "ON CONFLICT (seq) DO UPDATE SET leaf = excluded.leaf";

/// A tree that grows while rows are bound, one after another.
pub struct Growing(Mutex<(Tree, Vec<(NodeId, Hash)>)>);

impl Growing {
    /// Goes on from where the tree was.
    pub fn new(tree: Tree) -> Self {
        Self(Mutex::new((tree, Vec::new())))
    }

    /// Adds the next leaf.
    pub fn push(&self, leaf: Hash) {
        let mut growing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tree, kept) = &mut *growing;
        tree.push(leaf, kept);
    }

    /// Writes the nodes that became complete. Gives the tree.
    pub async fn end(self, script: &mut Script<'_>) -> sqlx::Result<Tree> {
        let (tree, kept) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        INSERT_NODES
            .run(script, &kept, |(id, hash), binds| {
                binds.add(i64::from(id.level)).add(id.index).add(hash.to_vec());
            })
            .await?;
        Ok(tree)
    }
}

/// Brings events into the tree that were appended without: before there was one, or by a release that knows of none.
/// At most `limit`, while the head is held.
pub async fn catch_up(conn: &mut Conn, head: &mut Head, limit: i64) -> sqlx::Result<()> {
    let until = head.state.head.min(head.tree.size().saturating_add(limit));
    while head.tree.size() < until {
        let after = head.tree.size();
        let events = event_log::whole(conn, after, CHUNK.min(until - after)).await?;
        if events.is_empty() {
            return Err(sqlx::Error::Decode(format!("the log ends at {after}, before its head").into()));
        }
        let growing = Growing::new(std::mem::take(&mut head.tree));
        let rows = events.iter().map(|event| (event, event.entry().leaf())).collect::<Vec<_>>();
        for (_, leaf) in &rows {
            growing.push(*leaf);
        }
        let archived = rows.partition_point(|(event, _)| event.position <= head.state.compacted);
        let (archived, others) = rows.split_at(archived);
        let mut script = Script::new(&mut *conn);
        for (insert, rows) in [(&FILL_ARCHIVE, archived), (&FILL_EVENTS, others)] {
            insert
                .run(&mut script, rows, |(event, leaf), binds| {
                    binds
                        .add(event.position)
                        .add(event.recorded_at.micros())
                        .add(event.agency.as_str())
                        .add(event.platform.as_str())
                        .add(event.actor.as_str())
                        .add(event.body.to_vec())
                        .add(leaf.to_vec());
                })
                .await?;
        }
        head.tree = growing.end(&mut script).await?;
        let tree = head.tree.encode();
        script
            .execute(SET_TREE, |binds| {
                binds.add(tree);
            })
            .await?;
        script.end().await?;
    }
    Ok(())
}

type LeafRow = (i64, Option<Vec<u8>>);
type EntryRow = (i64, i64, String, String, String, Vec<u8>, Option<Vec<u8>>);

fn hash(bytes: Option<Vec<u8>>) -> Option<Hash> {
    bytes?.try_into().ok()
}

/// The nodes of a claim. Without a transaction: what is kept of a tree never changes.
pub async fn nodes(conn: &mut Conn, claim: Claim) -> sqlx::Result<Result<BTreeMap<NodeId, Hash>>> {
    let ids = match claim.nodes() {
        Ok(ids) => ids,
        Err(error) => return Ok(Err(error)),
    };
    let mut found = BTreeMap::new();
    for id in ids {
        let (level, range) = id.kept();
        let query = if level == 0 { sqlx::query_as(LEAVES) } else { sqlx::query_as(NODES).bind(i64::from(level)) };
        let rows: Vec<LeafRow> = query.bind(range.start).bind(range.end).fetch_all(&mut *conn).await?;
        let hashes = rows.into_iter().filter_map(|(_, bytes)| hash(bytes)).collect::<Vec<_>>();
        if i64::try_from(hashes.len()) != Ok(range.end - range.start) {
            return Ok(Err(Error::internal(format!(
                "the log has lost events of {range:?}, or nodes of level {level}"
            ))));
        }
        found.insert(id, Tree::root_of(&hashes));
    }
    Ok(Ok(found))
}

/// Events after a position with the leaves that are kept of them.
pub async fn entries(conn: &mut Conn, after: i64, limit: i64) -> sqlx::Result<Vec<LoggedEvent>> {
    let rows: Vec<EntryRow> = sqlx::query_as(ENTRIES).bind(after).bind(limit).fetch_all(conn).await?;
    let logged = |(seq, recorded_us, agency, platform, actor, body, leaf): EntryRow| {
        let row: EventRow = (seq, recorded_us, agency, platform, actor, body);
        LoggedEvent { event: event_log::stored(row), leaf: hash(leaf) }
    };
    Ok(rows.into_iter().map(logged).collect())
}
