//! The file with the key under which targets are matched that agencies have an interest in.
//!
//! Whoever has the database alone cannot try out in what an agency has an interest. Lost, the interests are: they find nothing any
//! more, and agencies register them anew.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portreeve_core::interest::MatchingKey;
use portreeve_core::{Error, Reason, Result};
use portreeve_storage::Database;
use rand::TryRngCore as _;

use crate::secret;

/// The file's name in a data folder.
const FILE: &str = "matching.key";

/// Where the key is: where the configuration says, or else in the data folder.
pub fn path(configured: Option<&str>, database: &Database) -> Option<PathBuf> {
    secret::path(configured, FILE, database)
}

/// The key in the file. One that does not exist is made, for its owner's eyes only.
pub fn open(path: &Path) -> Result<MatchingKey> {
    let failed = |error: io::Error| {
        Error::new(Reason::StorageUnavailable, format!("the matching key {} cannot be used: {error}", path.display()))
    };
    let text = secret::read(path, "matching key", new).map_err(failed)?;
    let bytes = BASE64_STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(MatchingKey::new).ok_or_else(|| {
        let hint = "it is no 32 bytes as `openssl rand -base64 32` writes them";
        failed(io::Error::new(io::ErrorKind::InvalidData, hint))
    })
}

fn new() -> io::Result<String> {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_STANDARD.encode(bytes) + "\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let made = open(&path).unwrap();
        assert_eq!(open(&path).unwrap(), made);
        assert_ne!(open(&folder.path().join("other")).unwrap(), made);
        fs::write(&path, "c2hvcnQ=").unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.message().contains("matching.key") && error.message().contains("openssl"), "{}", error.message());
    }
}
