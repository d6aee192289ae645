//! The canonical bytes of an event: what a leaf is the hash of.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of this encoding: 1 |
//! | 8 | the position, big-endian |
//! | 8 | when it was recorded, in microseconds since 1970, big-endian two's complement |
//! | 8 + n | the agency's identifier: its length in bytes, big-endian, then UTF-8 |
//! | 8 + n | the platform's identifier, likewise |
//! | 8 + n | who made it happen, likewise |
//! | 8 + n | the event's body as it is stored, likewise |
//!
//! Every length stands before what it is the length of, so that no two events have the same bytes.

use tlog_tiles::tlog;

use super::Hash;
use crate::Timestamp;

/// The version of the encoding.
const VERSION: u8 = 1;

/// An event with everything that is covered by its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'e> {
    /// Its number in the log, from 1.
    pub position: i64,
    /// When the server learnt it.
    pub recorded_at: Timestamp,
    /// The agency whose event it is; empty where it is nobody's.
    pub agency: &'e str,
    /// The platform whose event it is; empty where it is nobody's.
    pub platform: &'e str,
    /// Who made it happen.
    pub actor: &'e str,
    /// The event as it is stored.
    pub body: &'e [u8],
}

impl Entry<'_> {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let parts = [self.agency.as_bytes(), self.platform.as_bytes(), self.actor.as_bytes(), self.body];
        let length = 17 + parts.iter().map(|part| 8 + part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(length);
        bytes.push(VERSION);
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.recorded_at.micros().to_be_bytes());
        for part in parts {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// The leaf.
    pub fn leaf(&self) -> Hash {
        tlog::record_hash(&self.encode()).0
    }

    /// The leaf that the same event would have at another position.
    pub fn leaf_at(&self, position: i64) -> Hash {
        Self { position, ..*self }.leaf()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::hex;

    const ENTRY: Entry<'static> = Entry {
        position: 7,
        recorded_at: Timestamp::from_micros(-2),
        agency: "nca",
        platform: "",
        actor: "agencies/nca:j.doe",
        body: b"\x00\xff",
    };

    #[test]
    fn the_encoding_is_the_documented_one() {
        let expected = [
            "01",
            "0000000000000007",
            "fffffffffffffffe",
            "00000000000000036e6361",
            "0000000000000000",
            "00000000000000126167656e636965732f6e63613a6a2e646f65",
            "000000000000000200ff",
        ];
        assert_eq!(hex(&ENTRY.encode()), expected.concat());
    }

    #[test]
    fn every_field_and_every_boundary_counts() {
        let others = [
            Entry { position: 8, ..ENTRY },
            Entry { recorded_at: Timestamp::from_micros(-1), ..ENTRY },
            Entry { agency: "nc", platform: "a", ..ENTRY },
            Entry { platform: "x", ..ENTRY },
            Entry { actor: "agencies/nca:j.do", body: b"e\x00\xff", ..ENTRY },
            Entry { body: b"\x00\xfe", ..ENTRY },
        ];
        for other in others {
            assert_ne!(other.leaf(), ENTRY.leaf(), "{other:?}");
        }
        assert_eq!(ENTRY.leaf_at(7), ENTRY.leaf());
        assert_eq!(ENTRY.leaf_at(8), others[0].leaf());
    }
}
