//! Blind matching of targets: who registered an interest is found by a keyed hash, and what it is in cannot be read from what
//! is kept.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What is kept of a target that somebody has an interest in.
pub type Tag = [u8; 16];

/// The key of the exchange under which targets are matched. It lies apart from the data: whoever has the data alone can neither
/// read which targets agencies have registered nor try out which they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MatchingKey([u8; 32]);

impl MatchingKey {
    /// The key of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The tag of a target on a platform, by its canonical address: HMAC-SHA-256 (RFC 2104), its first 128 bits.
    pub fn tag(&self, platform: &str, canonical: &str) -> Tag {
        self.mac(&["target", platform, canonical])
    }

    /// What stands for an address where the address itself must not be kept.
    pub fn blind(&self, address: &str) -> Tag {
        self.mac(&["address", address])
    }

    fn mac(&self, parts: &[&str]) -> Tag {
        // A key of any length is one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return Tag::default() };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let whole = mac.finalize().into_bytes();
        let mut tag = Tag::default();
        tag.copy_from_slice(&whole[..16]);
        tag
    }
}

impl fmt::Debug for MatchingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MatchingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_the_key_the_platform_and_the_place() {
        let (one, other) = (MatchingKey::new([1; 32]), MatchingKey::new([2; 32]));
        let tag = one.tag("hb", "https://hb.example/1");
        assert_eq!(tag, one.tag("hb", "https://hb.example/1"));
        assert_ne!(tag, other.tag("hb", "https://hb.example/1"));
        assert_ne!(tag, one.tag("hbh", "ttps://hb.example/1"), "parts do not run into each other");
        assert_ne!(tag, one.tag("hb", "https://hb.example/2"));
        assert_ne!(one.blind("x"), one.tag("", "x"));
        assert_eq!(format!("{one:?}"), "MatchingKey(..)", "it is never written into a log of the server");
    }
}
