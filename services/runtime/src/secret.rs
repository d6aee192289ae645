//! Files with secrets: made whole or not at all, for their owner's eyes only.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use portreeve_storage::Database;

/// Where a secret is: where the configuration says, or else in the data folder. On Postgres its place must be named: kept in the
/// database, it would be at hand for exactly the one from whom it is kept.
pub fn path(configured: Option<&str>, file: &str, database: &Database) -> Option<PathBuf> {
    match (configured, database) {
        (Some(configured), _) => Some(configured.into()),
        (None, Database::Sqlite { folder }) => Some(folder.join(file)),
        (None, Database::Postgres { .. }) => None,
    }
}

/// The text of the file; `what` it is, for a warning. One that does not exist is made of `new`.
pub fn read(path: &Path, what: &str, new: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path, &new()?)?;
            fs::read_to_string(path)?
        }
        read => read?,
    };
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o007 != 0 {
        tracing::warn!(file = %path.display(), "everybody on this machine can read the {what}");
    }
    Ok(text)
}

/// Makes the file whole or not at all; another process may be at it, too, and then the first one's stays.
pub(crate) fn make(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
