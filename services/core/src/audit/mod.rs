//! A log that proves itself: every event is a leaf of a Merkle tree (RFC 6962, RFC 9162 section 2.1), whose root the
//! service signs.
//!
//! - [`entry`]: what exactly of an event is hashed.
//! - [`tree`]: the tree as it grows, which of its nodes are kept, and its proofs.
//! - [`checkpoint`]: a signed root, as a C2SP checkpoint (c2sp.org/tlog-checkpoint) in a signed note
//!   (c2sp.org/signed-note).
//! - [`check`]: a whole log against a checkpoint: which event was changed, removed, inserted or moved.
//!
//! Hashes, proofs, checkpoints and notes are those of `tlog_tiles` and `signed_note`, with which Cloudflare runs its
//! Certificate Transparency logs: what any other tool for such logs makes of ours is the same.

pub mod check;
pub mod checkpoint;
pub mod entry;
pub mod tree;

pub use check::{Check, Finding};
pub use checkpoint::{Checkpoint, Distrust, SigningKey};
pub use entry::Entry;
pub use tree::{Claim, NodeId, Tree};

/// A SHA-256 of the tree: of a leaf, of a node or of the root.
pub type Hash = [u8; 32];

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
