//! The file with the key that checkpoints are signed with.
//!
//! On SQLite it lies beside the data unless another place is named. On Postgres it must be named: kept in the database, it
//! would be at hand for exactly the one who is able to rewrite the log there.

use std::io;
use std::path::{Path, PathBuf};

use portreeve_core::audit::SigningKey;
use portreeve_core::{Error, Reason, Result};
use portreeve_storage::Database;
use rand::TryRngCore as _;

use crate::secret;

/// The file's name in a data folder.
const FILE: &str = "audit.key";

/// Where the key is: where the configuration says, or else in the data folder.
pub fn path(configured: Option<&str>, database: &Database) -> Option<PathBuf> {
    secret::path(configured, FILE, database)
}

/// The key in the file. One that does not exist is made, for its owner's eyes only.
pub fn open(path: &Path) -> Result<SigningKey> {
    let failed = |error: io::Error| {
        Error::new(Reason::StorageUnavailable, format!("the audit key {} cannot be used: {error}", path.display()))
    };
    let text = secret::read(path, "audit key", new).map_err(failed)?;
    SigningKey::from_pem(&text).ok_or_else(|| {
        let hint = "it is no Ed25519 key as `openssl genpkey -algorithm ed25519` makes it";
        failed(io::Error::new(io::ErrorKind::InvalidData, hint))
    })
}

fn new() -> io::Result<String> {
    let mut seed = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    SigningKey::from_seed(seed).to_pem().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join(FILE);
        let made = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
        assert_eq!(open(&path).unwrap().verifier("x"), made.verifier("x"));
        secret::make(&path, &new().unwrap()).unwrap();
        assert_eq!(open(&path).unwrap().verifier("x"), made.verifier("x"), "an existing key stays");
        let other = open(&folder.path().join("other")).unwrap();
        assert_ne!(other.verifier("x"), made.verifier("x"));
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.pem");
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.message().contains("wrong.pem") && error.message().contains("openssl"), "{}", error.message());
        assert!(open(folder.path()).unwrap_err().message().contains("cannot be used"));
    }

    #[test]
    fn on_postgres_the_key_has_a_place_of_its_own() {
        let sqlite = Database::Sqlite { folder: "data".into() };
        let postgres = Database::Postgres { url: "postgres://db.example/x".into() };
        assert_eq!(path(None, &sqlite), Some("data/audit.key".into()));
        assert_eq!(path(None, &postgres), None);
        assert_eq!(path(Some("/k"), &sqlite), Some("/k".into()));
        assert_eq!(path(Some("/k"), &postgres), Some("/k".into()));
    }
}
