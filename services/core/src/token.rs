//! The opaque strings that callers carry: revisions, page tokens and resume tokens.
//!
//! A token says where, never who: it authorises nothing, so it needs no secret (AIP-158).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{Error, Reason, Result};

/// Distinguishes one life of a log from another: drawn at random when the log is made, and again when it is restored.
pub type Epoch = [u8; 8];

/// A position in a log: "everything up to here".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The log's name: `referral`, `decision` or `reporting`.
    pub log: String,
    /// The log's life.
    pub epoch: Epoch,
    /// The number of the last event included; 0 before the first.
    pub position: i64,
}

/// Where a stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The position reached.
    pub revision: Revision,
    /// The hash of the filter that the stream was opened with.
    pub filter: u64,
    /// While the snapshot is being sent: the key of the last row sent. `None` once changes are being sent.
    pub snapshot_after: Option<Vec<u8>>,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The hash of the query that the token belongs to.
    pub query: u64,
    /// The key of the last row sent.
    pub after: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(enumeration = "Kind", tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    log: String,
    #[prost(bytes = "vec", tag = "3")]
    epoch: Vec<u8>,
    #[prost(int64, tag = "4")]
    position: i64,
    #[prost(fixed64, tag = "5")]
    hash: u64,
    #[prost(bytes = "vec", optional, tag = "6")]
    after: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Unspecified = 0,
    RevisionV1 = 1,
    ResumeV1 = 2,
    PageV1 = 3,
}

fn encode(wire: &Wire) -> String {
    URL_SAFE_NO_PAD.encode(wire.encode_to_vec())
}

fn decode(text: &str, kind: Kind) -> Option<Wire> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let wire = Wire::decode(bytes.as_slice()).ok()?;
    (wire.kind == kind as i32 && wire.position >= 0).then_some(wire)
}

impl Revision {
    /// The token.
    pub fn encode(&self) -> String {
        encode(&self.wire(Kind::RevisionV1))
    }

    /// Reads a token that a caller sent back.
    pub fn decode(text: &str) -> Result<Self> {
        let read = decode(text, Kind::RevisionV1).and_then(Self::from_wire);
        // Only what we would have written ourselves: another kind's fields and other spellings are not ours.
        read.filter(|read| read.encode() == text).ok_or_else(|| {
            Error::new(Reason::RevisionInvalid, "a revision in at_least is not one that this suite issued")
        })
    }

    fn wire(&self, kind: Kind) -> Wire {
        Wire {
            kind: kind as i32,
            log: self.log.clone(),
            epoch: self.epoch.to_vec(),
            position: self.position,
            ..Wire::default()
        }
    }

    fn from_wire(wire: Wire) -> Option<Self> {
        Some(Self { log: wire.log, epoch: wire.epoch.try_into().ok()?, position: wire.position })
    }
}

impl Resume {
    /// The token.
    pub fn encode(&self) -> String {
        encode(&Wire { hash: self.filter, after: self.snapshot_after.clone(), ..self.revision.wire(Kind::ResumeV1) })
    }

    /// Reads a token that a caller sent back. Whether it fits the log and the filter is the watch's question.
    pub fn decode(text: &str) -> Result<Self> {
        let read = || {
            let mut wire = decode(text, Kind::ResumeV1)?;
            let (filter, snapshot_after) = (wire.hash, wire.after.take());
            Some(Self { revision: Revision::from_wire(wire)?, filter, snapshot_after })
        };
        read().filter(|read| read.encode() == text).ok_or_else(|| {
            Error::new(
                Reason::ResumeTokenInvalid,
                "the resume token cannot be read; send back a token exactly as it was received",
            )
        })
    }
}

impl Page {
    /// The token.
    pub fn encode(&self) -> String {
        encode(&Wire {
            kind: Kind::PageV1 as i32,
            hash: self.query,
            after: Some(self.after.clone()),
            ..Wire::default()
        })
    }

    /// Reads the token of a page after the first; an empty token is the first page.
    pub fn decode(text: &str, query: u64) -> Result<Option<Vec<u8>>> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = decode(text, Kind::PageV1).and_then(|wire| Some(Self { query: wire.hash, after: wire.after? }));
        read.filter(|read| read.query == query && read.encode() == text).map(|read| Some(read.after)).ok_or_else(|| {
            Error::new(
                Reason::PageTokenInvalid,
                "the page token does not belong to this query; start again without one",
            )
        })
    }
}

/// A hash of whatever defines a query or a filter, the same on every machine and in every release.
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision() -> Revision {
        Revision { log: "referral".into(), epoch: [7; 8], position: 42 }
    }

    #[test]
    fn tokens_round_trip() {
        assert_eq!(Revision::decode(&revision().encode()).unwrap(), revision());
        for snapshot_after in [None, Some(vec![]), Some(vec![1, 2])] {
            let resume = Resume { revision: revision(), filter: 9, snapshot_after };
            assert_eq!(Resume::decode(&resume.encode()).unwrap(), resume);
        }
        let page = Page { query: 3, after: vec![1] };
        assert_eq!(Page::decode(&page.encode(), 3).unwrap(), Some(vec![1]));
        assert_eq!(Page::decode("", 3).unwrap(), None);
    }

    #[test]
    fn a_token_of_another_kind_query_or_spelling_is_refused() {
        let revision = revision().encode();
        assert_eq!(Resume::decode(&revision).unwrap_err().reason(), Reason::ResumeTokenInvalid);
        let page = Page { query: 3, after: vec![1] }.encode();
        assert_eq!(Page::decode(&page, 4).unwrap_err().reason(), Reason::PageTokenInvalid);
        for text in ["", "x", "====", "%%%", "\u{1f600}", &format!("{revision}A"), &revision[..revision.len() - 2]] {
            assert!(Revision::decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fingerprints_tell_field_boundaries() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_eq!(fingerprint(&[b"ab"]), fingerprint(&[b"ab"]));
    }
}
