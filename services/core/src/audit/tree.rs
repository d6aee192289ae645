//! The tree of a log: what of it is kept, how it grows, and what it proves.
//!
//! Growing takes the *peaks* alone: the roots of the complete subtrees that the leaves fall into, from the left, one for
//! each bit of the number of leaves. For proofs, the leaves are kept and every complete node whose level is a multiple of
//! [`KEPT_LEVELS`]; a node in between is made of the at most 128 kept ones below it. What is kept never changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use tlog_tiles::tlog;

use super::Hash;
use crate::{Error, Result};

/// Every so many levels the complete nodes are kept.
pub const KEPT_LEVELS: u8 = 8;

/// A complete subtree: `2^level` leaves, of which the first is `index * 2^level`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId {
    /// Its height; 0 is a leaf.
    pub level: u8,
    /// Its number among the nodes of its level, from 0.
    pub index: i64,
}

impl NodeId {
    /// The kept level that the node is made from, and the kept nodes there that it is made of, by index.
    pub fn kept(self) -> (u8, Range<i64>) {
        let above = self.level % KEPT_LEVELS;
        (self.level - above, self.index << above..(self.index + 1) << above)
    }
}

fn combine(left: Hash, right: Hash) -> Hash {
    tlog::node_hash(tlog::Hash(left), tlog::Hash(right)).0
}

/// A tree as far as it takes to grow it and to tell its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: i64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// The number of leaves.
    pub const fn size(&self) -> i64 {
        self.size
    }

    /// Adds a leaf. What became complete and is to be kept is added to `kept`.
    pub fn push(&mut self, leaf: Hash, kept: &mut Vec<(NodeId, Hash)>) {
        let (mut node, mut id) = (leaf, NodeId { level: 0, index: self.size });
        // A node with an odd number completes its parent, with the peak to its left.
        while id.index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            node = combine(left, node);
            id = NodeId { level: id.level + 1, index: id.index >> 1 };
            if id.level.is_multiple_of(KEPT_LEVELS) {
                kept.push((id, node));
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root (RFC 6962's Merkle Tree Hash).
    pub fn root(&self) -> Hash {
        let peaks = self.peaks.iter().rev().copied();
        peaks.reduce(|right, left| combine(left, right)).unwrap_or(tlog::EMPTY_HASH.0)
    }

    /// The root over nodes of one level, such as those that a node is made of.
    pub fn root_of(nodes: &[Hash]) -> Hash {
        let mut tree = Self::default();
        for node in nodes {
            tree.push(*node, &mut Vec::new());
        }
        tree.root()
    }

    /// The tree as it is stored: the number of leaves in 8 bytes, big-endian, then the peaks. Nothing, if it is empty.
    pub fn encode(&self) -> Vec<u8> {
        if self.size == 0 {
            return Vec::new();
        }
        [self.size.to_be_bytes().as_slice(), self.peaks.as_flattened()].concat()
    }

    /// A stored tree; `None` if that is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (size, peaks) = bytes.split_first_chunk::<8>()?;
        let size = i64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let fits = size > 0 && rest.is_empty() && u32::try_from(peaks.len()) == Ok(size.count_ones());
        fits.then(|| Self { size, peaks: peaks.to_vec() })
    }
}

/// What a proof is wanted of. Positions count from 1, as in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The root of the tree of so many leaves: the "proof" is the root alone.
    Root {
        /// The number of leaves.
        size: i64,
    },
    /// That an event is in the tree of so many leaves.
    Inclusion {
        /// The number of leaves.
        size: i64,
        /// The event's position.
        position: i64,
    },
    /// That the tree of `to` leaves begins with the tree of `from` leaves.
    Consistency {
        /// The number of leaves of the earlier tree.
        from: i64,
        /// The number of leaves of the later one.
        to: i64,
    },
}

fn unsigned(size: i64) -> Result<u64> {
    u64::try_from(size).map_err(|_| impossible())
}

fn impossible() -> Error {
    Error::internal("a proof was asked for that no tree has")
}

impl Claim {
    /// The nodes that it takes to prove it.
    pub fn nodes(self) -> Result<Vec<NodeId>> {
        let asked = Asked(RefCell::default());
        self.run(&asked)?;
        asked.0.into_inner().into_iter().map(node_id).collect()
    }

    /// The proof, from the nodes that it takes.
    pub fn prove(self, nodes: &BTreeMap<NodeId, Hash>) -> Result<Vec<Hash>> {
        self.run(&Known(nodes))
    }

    fn run(self, reader: &impl tlog::HashReader) -> Result<Vec<Hash>> {
        let proof = match self {
            Self::Root { size } => tlog::tree_hash(unsigned(size)?, reader).map(|root| vec![root]),
            Self::Inclusion { size, position } => tlog::prove_record(unsigned(size)?, unsigned(position - 1)?, reader),
            // Every tree begins with the empty one.
            Self::Consistency { from: 0, .. } => Ok(Vec::new()),
            Self::Consistency { from, to } => tlog::prove_tree(unsigned(to)?, unsigned(from)?, reader),
        };
        let proof = proof.map_err(|error| Error::internal(format!("no proof: {error}")))?;
        Ok(proof.into_iter().map(|hash| hash.0).collect())
    }
}

fn node_id(stored: u64) -> Result<NodeId> {
    let (level, index) = tlog::split_stored_hash_index(stored);
    Ok(NodeId { level, index: i64::try_from(index).map_err(|_| impossible())? })
}

/// Notes which nodes are asked for.
struct Asked(RefCell<Vec<u64>>);

impl tlog::HashReader for Asked {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        self.0.borrow_mut().extend(indexes);
        Ok(vec![tlog::Hash::default(); indexes.len()])
    }
}

/// Knows the nodes.
struct Known<'n>(&'n BTreeMap<NodeId, Hash>);

impl tlog::HashReader for Known<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        let find = |stored: &u64| node_id(*stored).ok().and_then(|id| self.0.get(&id)).map(|hash| tlog::Hash(*hash));
        indexes.iter().map(|stored| find(stored).ok_or(tlog::Error::IndexesNotInTree)).collect()
    }
}

/// Whether a proof shows that the leaf is at the position, in the tree of this size and root.
pub fn includes(size: i64, root: Hash, position: i64, leaf: Hash, proof: &[Hash]) -> bool {
    let (Ok(size), Ok(index)) = (unsigned(size), unsigned(position.saturating_sub(1))) else { return false };
    position > 0 && tlog::check_record(&wrap(proof), size, tlog::Hash(root), index, tlog::Hash(leaf)).is_ok()
}

/// Whether a proof shows that the tree `to` (size and root) begins with the tree `from`.
pub fn extends(to: (i64, Hash), from: (i64, Hash), proof: &[Hash]) -> bool {
    let (Ok(to_size), Ok(from_size)) = (unsigned(to.0), unsigned(from.0)) else { return false };
    if from_size == 0 {
        return proof.is_empty() && from.1 == tlog::EMPTY_HASH.0;
    }
    tlog::check_tree(&wrap(proof), to_size, tlog::Hash(to.1), from_size, tlog::Hash(from.1)).is_ok()
}

fn wrap(proof: &[Hash]) -> Vec<tlog::Hash> {
    proof.iter().map(|hash| tlog::Hash(*hash)).collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::audit::hex;

    /// RFC 6962, section 2.1, word for word and with no regard to cost.
    fn mth(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => Sha256::digest([&[0], leaf.as_slice()].concat()).into(),
            leaves => {
                let k = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(k);
                Sha256::digest([[1].as_slice(), &mth(left), &mth(right)].concat()).into()
            }
        }
    }

    fn leaves(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|index| index.to_be_bytes()[8 - index % 9..].to_vec()).collect()
    }

    /// A tree with everything that is kept of it.
    fn grown(leaves: &[Vec<u8>]) -> (Tree, BTreeMap<NodeId, Hash>) {
        let (mut tree, mut kept) = (Tree::default(), Vec::new());
        for (index, leaf) in (0..).zip(leaves) {
            let hash = tlog::record_hash(leaf).0;
            kept.push((NodeId { level: 0, index }, hash));
            tree.push(hash, &mut kept);
        }
        (tree, kept.into_iter().collect())
    }

    /// The nodes of a claim, made of what is kept.
    fn nodes(claim: Claim, kept: &BTreeMap<NodeId, Hash>) -> BTreeMap<NodeId, Hash> {
        let made = |id: NodeId| {
            let (level, range) = id.kept();
            Tree::root_of(&range.map(|index| kept[&NodeId { level, index }]).collect::<Vec<_>>())
        };
        claim.nodes().unwrap().into_iter().map(|id| (id, made(id))).collect()
    }

    /// The vectors with which implementations of Certificate Transparency test each other.
    #[test]
    fn the_published_vectors_hold() {
        let vectors =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        let leaves = vectors.map(|text| text.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>());
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, root) in roots.iter().enumerate() {
            let (tree, _) = grown(&leaves[..size]);
            assert_eq!(hex(&tree.root()), *root, "{size}");
            assert_eq!(mth(&leaves[..size]), tree.root(), "{size}");
        }
        // PATH(5, D[8]) and PROOF(6, D[8]).
        let (tree, kept) = grown(&leaves);
        let proof = |claim: Claim| {
            let proof = claim.prove(&nodes(claim, &kept)).unwrap();
            proof.iter().map(|hash| hex(hash)).collect::<Vec<_>>()
        };
        assert_eq!(
            proof(Claim::Inclusion { size: 8, position: 6 }),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            proof(Claim::Consistency { from: 6, to: 8 }),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(tree.size(), 8);
    }

    #[test]
    fn every_proof_of_a_tree_holds_and_no_other_does() {
        const SIZE: i64 = 600;
        let leaves = leaves(600);
        let (tree, kept) = grown(&leaves);
        let root = tree.root();
        let prove = |claim: Claim| claim.prove(&nodes(claim, &kept)).unwrap();
        for (position, leaf) in (1..).zip(&leaves).step_by(7) {
            let leaf = tlog::record_hash(leaf).0;
            let proof = prove(Claim::Inclusion { size: SIZE, position });
            assert!(includes(SIZE, root, position, leaf, &proof), "{position}");
            assert!(!includes(SIZE, root, position + 1, leaf, &proof));
            assert!(!includes(SIZE, root, position, root, &proof));
            assert!(!includes(SIZE, leaf, position, leaf, &proof));
            assert!(!includes(SIZE, root, position, leaf, &proof[1..]));
        }
        for (from, count) in (0..=SIZE).zip(0usize..).step_by(13) {
            let earlier = mth(&leaves[..count]);
            assert_eq!(prove(Claim::Root { size: from }), [earlier]);
            let proof = prove(Claim::Consistency { from, to: SIZE });
            assert!(extends((SIZE, root), (from, earlier), &proof), "{from}");
            assert!(!extends((SIZE, root), (from, root), &proof) || from == SIZE);
            assert!(from == 0 || !extends((SIZE, earlier), (from, earlier), &proof) || from == SIZE);
        }
        assert!(!includes(SIZE, root, 0, root, &[]) && !includes(SIZE, root, SIZE + 1, root, &[]));
        assert!(!includes(-1, root, 1, root, &[]) && !extends((1, root), (2, root), &[]));
        assert!(Claim::Inclusion { size: 3, position: 0 }.nodes().is_err());
        assert!(Claim::Inclusion { size: 3, position: 4 }.nodes().is_err());
        assert!(Claim::Consistency { from: 4, to: 3 }.nodes().is_err());
        assert!(Claim::Root { size: 3 }.prove(&BTreeMap::new()).is_err());
    }

    #[test]
    fn a_stored_tree_grows_on() {
        let leaves = leaves(300);
        let mut stored = Tree::default().encode();
        assert!(stored.is_empty());
        for leaf in &leaves {
            let mut tree = Tree::decode(&stored).unwrap();
            tree.push(tlog::record_hash(leaf).0, &mut Vec::new());
            stored = tree.encode();
        }
        assert_eq!(Tree::decode(&stored).unwrap().root(), mth(&leaves));
        assert_eq!(stored.len(), 8 + 32 * 4);
        for wrong in [&stored[1..], &stored[..stored.len() - 32], b"x", &[0; 8], &[255; 8]] {
            assert_eq!(Tree::decode(wrong), None);
        }
    }
}
