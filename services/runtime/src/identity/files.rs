//! Files that may change while the server runs.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use portreeve_core::limits;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::IdentityError;
use crate::lifecycle::Lifecycle;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one state of a file from another: its place, size and the time of its last change. `None` if it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A value that is read from files, and read again when they change. A change that cannot be read changes nothing.
pub struct Reloading<T> {
    paths: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T, IdentityError> + Send + Sync>,
    current: ArcSwap<T>,
    seen: Mutex<Vec<Stamp>>,
    changes: watch::Sender<()>,
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl<T> Reloading<T> {
    /// Reads the files for the first time.
    pub fn new(
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, IdentityError> + Send + Sync + 'static,
    ) -> Result<Self, IdentityError> {
        // Before they are read: what changes meanwhile is then seen as a change.
        let seen = Mutex::new(stamps(&paths));
        let current = ArcSwap::from_pointee(load()?);
        Ok(Self { paths, load: Box::new(load), current, seen, changes: watch::Sender::new(()) })
    }

    /// What the files say.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Reads the files again if they changed; says whether what they say was taken up.
    pub fn refresh(&self) -> Result<bool, IdentityError> {
        let now = stamps(&self.paths);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            *seen = now;
        }
        self.current.store(Arc::new((self.load)()?));
        self.changes.send_replace(());
        Ok(true)
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| std::fs::metadata(path).ok().map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
    paths.iter().map(stamp).collect()
}

/// Looks at the files again and again.
pub(super) fn keep_fresh<T: Send + Sync + 'static>(name: &'static str, life: &Lifecycle, files: Arc<Reloading<T>>) {
    life.spawn(name, renew(name, life.soft(), files));
}

async fn renew<T: Send + Sync + 'static>(
    name: &'static str,
    soft: CancellationToken,
    files: Arc<Reloading<T>>,
) -> Result<(), JoinError> {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = soft.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let files = Arc::clone(&files);
        match tokio::task::spawn_blocking(move || files.refresh()).await? {
            Ok(false) => {}
            Ok(true) => tracing::info!("{name}: changed files were taken up"),
            Err(error) => tracing::error!(%error, "{name}: changed files cannot be used; what was before stays"),
        }
    }
}

/// A file's bytes, if it is not larger than such a file can be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |error| IdentityError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    let most = u64::try_from(limits::CREDENTIAL_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    std::fs::File::open(path).map_err(failed)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limits::CREDENTIAL_FILE_BYTES_MAX {
        return Err(IdentityError::Content(path.to_owned(), format!("larger than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_up_once_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let load = {
            let path = path.clone();
            move || {
                let text = String::from_utf8(read(&path)?).unwrap();
                text.parse::<u32>().map_err(|error| IdentityError::Content(path.clone(), error.to_string()))
            }
        };
        let number = Reloading::new(vec![path.clone()], load).unwrap();
        let changes = number.changes();
        assert!(!number.refresh().unwrap());
        assert_eq!((*number.current(), changes.has_changed().unwrap()), (1, false));
        std::fs::write(&path, "22").unwrap();
        assert!(number.refresh().unwrap() && !number.refresh().unwrap());
        assert_eq!((*number.current(), changes.has_changed().unwrap()), (22, true));
        std::fs::write(&path, "many").unwrap();
        assert!(number.refresh().is_err());
        assert!(!number.refresh().unwrap(), "the same bad file is told of once");
        std::fs::remove_file(&path).unwrap();
        assert!(number.refresh().is_err());
        assert_eq!(*number.current(), 22);
    }

    #[test]
    fn a_file_has_a_largest_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![b'x'; limits::CREDENTIAL_FILE_BYTES_MAX]).unwrap();
        assert_eq!(read(&path).unwrap().len(), limits::CREDENTIAL_FILE_BYTES_MAX);
        std::fs::write(&path, vec![b'x'; limits::CREDENTIAL_FILE_BYTES_MAX + 1]).unwrap();
        assert!(read(&path).is_err());
    }
}
