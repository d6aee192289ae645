//! A whole log against a checkpoint: is it the one that was signed, and if not, what was done to it?
//!
//! The root alone tells *that* something was done. Each event comes with the leaf that the server keeps of it, which tells
//! *what*: an event whose content makes another leaf was changed, unless that leaf is the event's at another position;
//! then it was moved, by itself or because one before it was taken out or put in. Leaves cannot be made up together with
//! the events without the root coming out wrong.

use std::collections::BTreeMap;
use std::fmt;

use super::{Checkpoint, Entry, Hash, Tree};
use crate::Timestamp;

/// What is reported at most; one finding is enough to know that the log is not the one that was signed.
const FINDINGS_MAX: usize = 20;
/// Events kept whose content does not make their leaf: where an event was taken out, all that follow it.
const STRAYS_MAX: usize = 64;

/// Something was done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The event at this position has another content than the one that was recorded.
    Changed {
        /// Its position.
        position: i64,
    },
    /// The event that was recorded at this position is gone.
    Removed {
        /// Its position.
        position: i64,
    },
    /// The event at this position was not recorded.
    Inserted {
        /// Its position.
        position: i64,
    },
    /// The event at this position was recorded at another one.
    Reordered {
        /// Where it is.
        position: i64,
        /// Where it was recorded.
        recorded_at: i64,
    },
    /// Events and leaves fit each other, but not the signed root: both were made anew. Which ones, the log does not tell.
    OtherTree,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { position } => write!(f, "event {position} was changed"),
            Self::Removed { position } => write!(f, "event {position} was removed"),
            Self::Inserted { position } => write!(f, "event {position} was inserted"),
            Self::Reordered { position, recorded_at } => {
                write!(f, "events were reordered: the one at {position} was recorded at {recorded_at}")
            }
            Self::OtherTree => f.write_str("the events are not those that were signed: their tree has another root"),
        }
    }
}

/// An event whose content does not make the leaf that is kept of it.
struct Stray {
    leaf: Hash,
    recorded_at: Timestamp,
    agency: String,
    platform: String,
    actor: String,
    body: Vec<u8>,
}

impl Stray {
    fn leaf_at(&self, position: i64) -> Hash {
        let Self { recorded_at, agency, platform, actor, body, .. } = self;
        Entry { position, recorded_at: *recorded_at, agency, platform, actor, body }.leaf()
    }
}

/// The check of a log, one event after another.
#[derive(Default)]
pub struct Check {
    /// Positions and leaves, in the order in which they came.
    seen: Vec<(i64, Hash)>,
    strays: BTreeMap<i64, Stray>,
    contents: i64,
}

impl Check {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event: where it is, the leaf that is kept of it, and its content if the reader may see it.
    pub fn take(&mut self, position: i64, leaf: Hash, content: Option<Entry<'_>>) {
        self.seen.push((position, leaf));
        let Some(entry) = content else { return };
        self.contents += 1;
        if entry.leaf_at(position) != leaf && self.strays.len() < STRAYS_MAX {
            let Entry { recorded_at, agency, platform, actor, body, .. } = entry;
            let (agency, platform, actor) = (agency.to_owned(), platform.to_owned(), actor.to_owned());
            self.strays.insert(position, Stray { leaf, recorded_at, agency, platform, actor, body: body.to_vec() });
        }
    }

    /// How many events were taken.
    pub fn events(&self) -> usize {
        self.seen.len()
    }

    /// How many of them came with their content.
    pub const fn contents(&self) -> i64 {
        self.contents
    }

    /// The tree over the first leaves, for holding it against an earlier checkpoint.
    pub fn tree(&self, size: i64) -> Tree {
        let mut leaves = self.seen.clone();
        leaves.sort_by_key(|(position, _)| *position);
        leaves.dedup_by_key(|(position, _)| *position);
        let mut tree = Tree::default();
        for (_, leaf) in leaves.iter().take_while(|(position, _)| *position <= size) {
            tree.push(*leaf, &mut Vec::new());
        }
        tree
    }

    /// What was done to the log since the checkpoint was signed; nothing, if it is the same.
    pub fn against(&self, checkpoint: &Checkpoint) -> Vec<Finding> {
        let mut findings = self.in_positions(checkpoint.size);
        findings.extend(self.in_contents());
        let tree = self.tree(checkpoint.size);
        if findings.is_empty() && (tree.size(), tree.root()) != (checkpoint.size, checkpoint.root) {
            findings.push(Finding::OtherTree);
        }
        findings.truncate(FINDINGS_MAX);
        findings
    }

    /// What the numbers alone tell.
    fn in_positions(&self, size: i64) -> Vec<Finding> {
        let mut sorted = self.seen.iter().map(|(position, _)| *position).collect::<Vec<_>>();
        sorted.sort_unstable();
        let mut findings = Vec::new();
        let mut next = 1;
        for position in sorted {
            while next < position.min(size + 1) && findings.len() < FINDINGS_MAX {
                findings.push(Finding::Removed { position: next });
                next += 1;
            }
            if position < next || position > size {
                findings.push(Finding::Inserted { position });
            }
            next = next.max(position + 1);
        }
        while next <= size && findings.len() < FINDINGS_MAX {
            findings.push(Finding::Removed { position: next });
            next += 1;
        }
        if findings.is_empty() {
            let moved = (1..).zip(&self.seen).find(|(place, (position, _))| place != position);
            findings.extend(
                moved.map(|(place, (position, _))| Finding::Reordered { position: place, recorded_at: *position }),
            );
        }
        findings
    }

    /// What the contents tell.
    fn in_contents(&self) -> Vec<Finding> {
        let leaves = self.seen.iter().copied().collect::<BTreeMap<_, _>>();
        let origins = self.strays.iter().map(|(at, stray)| (*at, origin(*at, stray, &leaves))).collect::<Vec<_>>();
        let whence = |position: i64| origins.iter().find(|(at, _)| *at == position).and_then(|(_, origin)| *origin);
        let Some((first, origin)) = origins.first().copied() else { return Vec::new() };
        match origin {
            // What followed it has moved up, and it has not gone elsewhere.
            Some(origin) if origin == first + 1 && origins.iter().all(|(_, origin)| *origin != Some(first)) => {
                return vec![Finding::Removed { position: first }];
            }
            // What stood there, and all after it, has moved down.
            Some(origin) if origin == first - 1 => return vec![Finding::Inserted { position: origin }],
            // Something made up, or a copy of what stands before it still.
            origin if origin.is_none_or(|origin| origin < first) && whence(first + 1) == Some(first) => {
                return vec![Finding::Inserted { position: first }];
            }
            _ => {}
        }
        let found = origins.iter().map(|(position, origin)| match origin {
            Some(recorded_at) => Finding::Reordered { position: *position, recorded_at: *recorded_at },
            None => Finding::Changed { position: *position },
        });
        found.collect()
    }
}

/// Where an event was recorded, if anywhere: the leaf that is kept beside it is its own there, or the one kept there is.
fn origin(at: i64, stray: &Stray, leaves: &BTreeMap<i64, Hash>) -> Option<i64> {
    let near = [at + 1, at - 1];
    let all = leaves.keys().copied();
    near.into_iter().chain(all).filter(|position| *position > 0 && *position != at).find(|position| {
        let leaf = stray.leaf_at(*position);
        leaf == stray.leaf || leaves.get(position) == Some(&leaf)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event as it lies in a log: its position, its leaf as kept, and the number that its content is.
    #[derive(Clone, Copy, Debug)]
    struct Row(i64, Hash, i64);

    fn entry(position: i64, body: &[u8]) -> Entry<'_> {
        Entry { position, recorded_at: Timestamp::from_micros(5), agency: "a", platform: "p", actor: "x", body }
    }

    const SIZE: i64 = 300;

    fn log() -> Vec<Row> {
        (1..=SIZE).map(|n| Row(n, entry(n, &n.to_be_bytes()).leaf(), n)).collect()
    }

    fn check(rows: &[Row], shown: impl Fn(i64) -> bool) -> Check {
        let mut check = Check::new();
        for Row(position, leaf, content) in rows {
            let body = content.to_be_bytes();
            check.take(*position, *leaf, shown(*position).then(|| entry(*position, &body)));
        }
        check
    }

    fn checkpoint() -> Checkpoint {
        let tree = check(&log(), |_| true).tree(SIZE);
        Checkpoint { origin: "o".into(), size: tree.size(), root: tree.root() }
    }

    fn findings(rows: &[Row]) -> Vec<Finding> {
        check(rows, |_| true).against(&checkpoint())
    }

    fn renumbered(mut rows: Vec<Row>) -> Vec<Row> {
        for (number, row) in (1..).zip(&mut rows) {
            row.0 = number;
        }
        rows
    }

    fn with_own_leaves(mut rows: Vec<Row>) -> Vec<Row> {
        for row in &mut rows {
            row.1 = entry(row.0, &row.2.to_be_bytes()).leaf();
        }
        rows
    }

    #[test]
    fn an_untouched_log_is_the_signed_one() {
        assert_eq!(findings(&log()), []);
        let half = check(&log(), |position| position % 2 == 0);
        assert_eq!((half.events(), half.contents(), half.against(&checkpoint())), (300, 150, vec![]));
        let empty = Checkpoint { origin: "o".into(), size: 0, root: Tree::default().root() };
        assert_eq!(Check::new().against(&empty), []);
    }

    #[test]
    fn a_changed_event_is_found() {
        for position in [1, 42, SIZE] {
            let mut rows = log();
            rows[usize::try_from(position).unwrap() - 1].2 = 1_000;
            assert_eq!(findings(&rows), [Finding::Changed { position }]);
        }
        // Also if only its leaf was.
        let mut rows = log();
        rows[41].1 = [0; 32];
        assert_eq!(findings(&rows), [Finding::Changed { position: 42 }]);
    }

    #[test]
    fn a_removed_event_is_found_renumbered_or_not() {
        for position in [1, 42, SIZE - 1, SIZE] {
            let mut rows = log();
            rows.remove(usize::try_from(position).unwrap() - 1);
            assert_eq!(findings(&rows), [Finding::Removed { position }]);
            // The log is then one shorter than it was signed, too.
            let found = findings(&renumbered(rows));
            assert!(found.contains(&Finding::Removed { position }), "{position}: {found:?}");
        }
    }

    #[test]
    fn an_inserted_event_is_found() {
        for position in [1, 42, SIZE] {
            let index = usize::try_from(position).unwrap() - 1;
            for leaf in [[0; 32], entry(position, &1_000_i64.to_be_bytes()).leaf()] {
                let mut rows = log();
                rows.insert(index, Row(position, leaf, 1_000));
                let found = findings(&renumbered(rows.clone()));
                assert!(found.contains(&Finding::Inserted { position }), "{position}: {found:?}");
                assert!(findings(&rows).contains(&Finding::Inserted { position }));
            }
        }
        // A copy of an earlier event, with the leaf that it had there.
        let mut rows = log();
        rows.insert(41, rows[4]);
        assert!(findings(&renumbered(rows)).contains(&Finding::Inserted { position: 42 }));
        let mut rows = log();
        rows.push(Row(SIZE + 1, [0; 32], 1_000));
        assert!(findings(&rows).contains(&Finding::Inserted { position: SIZE + 1 }));
    }

    #[test]
    fn reordered_events_are_found() {
        for (one, other) in [(1, 2), (41, 42), (7, 290), (SIZE - 1, SIZE)] {
            let (i, j) = (usize::try_from(one).unwrap() - 1, usize::try_from(other).unwrap() - 1);
            let both = [
                Finding::Reordered { position: one, recorded_at: other },
                Finding::Reordered { position: other, recorded_at: one },
            ];
            // The rows change their numbers; or their contents; or their places alone.
            let mut rows = log();
            rows.swap(i, j);
            assert_eq!(findings(&rows), [Finding::Reordered { position: one, recorded_at: other }]);
            assert_eq!(findings(&renumbered(rows)), both);
            let mut rows = log();
            (rows[i].2, rows[j].2) = (rows[j].2, rows[i].2);
            assert_eq!(findings(&rows), both);
        }
        // One event taken to another place, the others moved up.
        let mut rows = log();
        let row = rows.remove(9);
        rows.insert(19, row);
        assert_eq!(findings(&renumbered(rows))[0], Finding::Reordered { position: 10, recorded_at: 11 });
    }

    #[test]
    fn leaves_made_anew_do_not_give_the_signed_root() {
        let mut rows = log();
        rows[41].2 = 1_000;
        assert_eq!(findings(&with_own_leaves(rows)), [Finding::OtherTree]);
        let mut rows = log();
        rows.swap(3, 4);
        assert_eq!(findings(&with_own_leaves(renumbered(rows))), [Finding::OtherTree]);
        // What the reader may not see is held by its leaf.
        let mut rows = log();
        rows[41].1 = [0; 32];
        assert_eq!(check(&rows, |_| false).against(&checkpoint()), [Finding::OtherTree]);
    }
}
