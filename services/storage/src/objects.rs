//! Where bytes are kept that are too large for a log: objects in a folder, or with whatever speaks S3.
//!
//! An object is first written beside the others, under `.uploads/`, and placed under its key when it is whole. What is left
//! behind by a process that died is found by [`Objects::sweep`]: nothing is an object for ever but what somebody keeps.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path as File, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use portreeve_core::id::Uuid;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};
use tokio::runtime::Handle;
use tokio::sync::RwLock;

use crate::Database;

/// The folder of what is being written. No key begins so: an agency's name begins with a letter.
const UPLOADS: &str = ".uploads";
/// The folder beside SQLite's files.
const BESIDE: &str = "evidence";
/// Parts of one upload that are on their way to the store at once.
const PARTS_UNDER_WAY: usize = 2;

/// Where objects are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder; made if it does not exist.
    Folder(PathBuf),
    /// In a bucket, below a prefix. Where it is, and who asks, is said by the environment's AWS variables.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all keys begin with; may be empty.
        prefix: String,
    },
}

impl Place {
    /// Where the configuration says, or else beside SQLite's files; nowhere if a database elsewhere says nothing of it.
    pub fn of(configured: Option<&str>, database: &Database) -> Result<Option<Self>> {
        match (configured, database) {
            (Some(configured), _) => configured.parse().map(Some),
            (None, Database::Sqlite { folder }) => Ok(Some(Self::Folder(folder.join(BESIDE)))),
            (None, Database::Postgres { .. }) => Ok(None),
        }
    }
}

impl FromStr for Place {
    type Err = Error;

    /// Reads `file:FOLDER` or `s3://BUCKET/PREFIX`.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(folder) = text.strip_prefix("file:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Folder(folder.into()));
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            // Whoever writes credentials here would see them in the process list.
            if !bucket.is_empty() && bucket.chars().all(fits) && Path::parse(prefix.trim_end_matches('/')).is_ok() {
                let prefix = prefix.trim_end_matches('/').to_owned();
                return Ok(Self::S3 { bucket: bucket.to_owned(), prefix });
            }
        }
        Err(Error::new(Reason::RequestInvalid, "the store of evidence must be file:FOLDER or s3://BUCKET/PREFIX"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file:{}", folder.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The store's error as a caller may see it: the text is logged here and goes no further.
fn failed(error: &object_store::Error) -> Error {
    tracing::error!(%error, "the store of evidence failed");
    Error::new(
        Reason::StorageUnavailable,
        "the store of evidence did not answer; whether a write happened is unknown: repeat it with the same request_id",
    )
    .retry_after(std::time::Duration::from_millis(500))
}

/// An open store of objects.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    /// Held together by those who place objects, and alone by who takes away what nobody keeps: an object that is placed while
    /// somebody looks whether it is kept must not go with the old one.
    placing: Arc<RwLock<()>>,
}

impl Objects {
    /// Opens a store.
    pub fn open(place: &Place) -> Result<Self> {
        let refused = |error: &dyn fmt::Display| {
            Error::new(Reason::StorageUnavailable, format!("the store of evidence {place} cannot be used: {error}"))
        };
        let (store, folder): (Arc<dyn ObjectStore>, _) = match place {
            Place::Folder(folder) => {
                make(folder).map_err(|error| refused(&error))?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| refused(&error))?;
                (Arc::new(store.with_fsync(true)), Some(folder.clone()))
            }
            Place::S3 { bucket, prefix } => {
                // The client asks for the process's own cryptography, which is the workspace's: an error says that it is there.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
                let store = store.map_err(|error| refused(&error))?;
                let prefix = Path::parse(prefix).map_err(|error| refused(&error))?;
                (Arc::new(PrefixStore::new(store, prefix)), None)
            }
        };
        Ok(Self { store, folder, placing: Arc::default() })
    }

    /// Begins to write an object that has no key yet.
    pub async fn upload(&self, id: Uuid) -> Result<Upload> {
        let path = Path::from_iter([UPLOADS, &id.to_string()]);
        let upload = self.store.put_multipart(&path).await.map_err(|error| failed(&error))?;
        Ok(Upload { store: Arc::clone(&self.store), path, parts: Some(WriteMultipart::new(upload)) })
    }

    /// Places a whole object under a key, over the same bytes if they are there, and then makes the commit that keeps it.
    pub async fn place<T>(&self, staged: &Staged, key: &str, keep: impl Future<Output = Result<T>>) -> Result<T> {
        let _placing = self.placing.read().await;
        let key = Path::from(key);
        let copy = || async { self.store.copy(&staged.path, &key).await.map_err(|error| failed(&error)) };
        copy().await?;
        let kept = keep.await?;
        // Another replica may have taken it away for the old one, before it could see that it is kept.
        if !self.is_there(&key).await? {
            copy().await?;
        }
        Ok(kept)
    }

    async fn is_there(&self, key: &Path) -> Result<bool> {
        match self.store.head(key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(&error)),
        }
    }

    /// An object's bytes; `None` if there is no such object.
    pub async fn read(&self, key: &str) -> Result<Option<impl Stream<Item = Result<Bytes>> + Send + use<>>> {
        match self.store.get(&Path::from(key)).await {
            Ok(found) => Ok(Some(found.into_stream().map_err(|error| failed(&error)))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Takes objects away, but for those that somebody keeps.
    pub async fn remove<K: Future<Output = Result<HashSet<String>>>>(
        &self,
        keys: Vec<String>,
        kept: impl FnOnce(Vec<String>) -> K,
    ) -> Result<usize> {
        self.remove_older(keys, None, kept).await
    }

    /// Takes away whatever was written before a moment and is kept by nobody. `kept` says which of some keys are. Gives the number
    /// of objects.
    pub async fn sweep<K: Future<Output = Result<HashSet<String>>>>(
        &self,
        before: Timestamp,
        kept: impl Fn(Vec<String>) -> K,
    ) -> Result<usize> {
        let old = |object: &object_store::ObjectMeta| object.last_modified.timestamp_micros() < before.micros();
        let objects = self.store.list(None).map_err(|error| failed(&error));
        let old = objects.try_filter(|object| std::future::ready(old(object)));
        let mut some =
            std::pin::pin!(old.map_ok(|object| object.location.to_string()).chunks(limits::SWEEP_OBJECTS_MAX));
        let mut removed = 0;
        while let Some(keys) = some.next().await {
            let keys = keys.into_iter().collect::<Result<Vec<_>>>()?;
            removed += self.remove_older(keys, Some(before), &kept).await?;
        }
        if let Some(folder) = self.folder.clone() {
            let swept = tokio::task::spawn_blocking(move || sweep_unfinished(&folder, before)).await;
            let swept = swept.map_err(|error| Error::internal(error.to_string()))?;
            removed += swept
                .map_err(|error| failed(&object_store::Error::Generic { store: "folder", source: error.into() }))?;
        }
        Ok(removed)
    }

    async fn remove_older<K: Future<Output = Result<HashSet<String>>>>(
        &self,
        keys: Vec<String>,
        before: Option<Timestamp>,
        kept: impl FnOnce(Vec<String>) -> K,
    ) -> Result<usize> {
        let _alone = self.placing.write().await;
        let kept = kept(keys.clone()).await?;
        let mut removed = 0;
        for key in keys.iter().filter(|key| !kept.contains(*key)).map(|key| Path::from(key.as_str())) {
            match self.store.head(&key).await {
                // Written anew since it was found.
                Ok(is) if before.is_some_and(|before| is.last_modified.timestamp_micros() >= before.micros()) => {
                    continue;
                }
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(failed(&error)),
            }
            match self.store.delete(&key).await {
                Ok(()) => removed += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(removed)
    }
}

/// Makes the folder, for its owner's eyes only.
fn make(folder: &File) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes away what a process that died had begun to write in a folder, which no list shows: its names hold a `#`.
fn sweep_unfinished(folder: &File, before: Timestamp) -> io::Result<usize> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut removed = 0;
    for of in std::fs::read_dir(folder)? {
        let of = of?;
        if !of.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(of.path())? {
            let file = file?;
            if !file.file_name().as_encoded_bytes().contains(&b'#') {
                continue;
            }
            let modified = match file.metadata() {
                Ok(metadata) => metadata.modified()?,
                Err(error) if gone(&error) => continue,
                Err(error) => return Err(error),
            };
            let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            if i64::try_from(age).unwrap_or(i64::MAX) < before.micros() {
                match std::fs::remove_file(file.path()) {
                    Ok(()) => removed += 1,
                    Err(error) if gone(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(removed)
}

/// An object that is being written. Given up before its end, it leaves nothing.
pub struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts: Option<WriteMultipart>,
}

impl Upload {
    /// Writes the next bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let parts = self.parts.as_mut().ok_or_else(|| Error::internal("an upload has ended"))?;
        parts.wait_for_capacity(PARTS_UNDER_WAY).await.map_err(|error| failed(&error))?;
        parts.put(bytes);
        Ok(())
    }

    /// Ends it: the bytes are durable, and wait to be placed.
    pub async fn finish(mut self) -> Result<Staged> {
        let parts = self.parts.take().ok_or_else(|| Error::internal("an upload has ended"))?;
        parts.finish().await.map_err(|error| failed(&error))?;
        Ok(Staged { store: Arc::clone(&self.store), path: self.path.clone() })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(parts), Ok(runtime)) = (self.parts.take(), Handle::try_current()) else { return };
        runtime.spawn(async move {
            if let Err(error) = parts.abort().await {
                tracing::warn!(%error, "an upload that was given up is left to the sweep");
            }
        });
    }
}

/// A whole object without a key. Dropped, it goes: placed under a key, it is there under that.
pub struct Staged {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        runtime.spawn(async move {
            if let Err(error) = store.delete(&path).await {
                tracing::warn!(%error, "an object that was staged is left to the sweep");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<String> {
        text.parse::<Place>().map(|place| place.to_string())
    }

    #[test]
    fn a_store_is_a_folder_or_a_bucket() {
        for text in ["file:/var/lib/portreeve/evidence", "file:evidence", "s3://evidence/", "s3://evidence/nca/1"] {
            assert_eq!(place(text).unwrap(), text);
        }
        assert_eq!(place("s3://evidence").unwrap(), "s3://evidence/");
        for text in ["", "evidence", "file:", "s3://", "s3:///x", "s3://key:secret@evidence", "s3://a/../b", "gs://a"] {
            assert!(place(text).is_err(), "{text}");
        }
        let sqlite = Database::Sqlite { folder: "data".into() };
        let postgres = Database::Postgres { url: String::new() };
        assert_eq!(Place::of(None, &sqlite).unwrap(), Some(Place::Folder("data/evidence".into())));
        assert_eq!(Place::of(None, &postgres).unwrap(), None);
        assert!(Place::of(Some("s3://a"), &postgres).unwrap().is_some());
    }

    /// What the client needs beside the network: the process's own cryptography and the authorities that the system trusts.
    #[tokio::test]
    async fn a_bucket_opens_without_another_tls() {
        let bucket = Place::S3 { bucket: "evidence".into(), prefix: "portreeve".into() };
        assert!(Objects::open(&bucket).is_ok());
    }

    /// The files of a folder, hidden ones too.
    fn files(folder: &File) -> Vec<String> {
        let mut files = Vec::new();
        for of in std::fs::read_dir(folder).unwrap() {
            let of = of.unwrap().path();
            let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            files.extend(std::fs::read_dir(&of).unwrap().map(|file| name(file.unwrap().path())));
        }
        files.sort();
        files
    }

    async fn staged(objects: &Objects, id: u128, bytes: &'static [u8]) -> Staged {
        let mut upload = objects.upload(Uuid::from_u128(id)).await.unwrap();
        upload.write(Bytes::from_static(bytes)).await.unwrap();
        upload.finish().await.unwrap()
    }

    /// Waits for what is done beside the test.
    async fn until(what: impl Fn() -> bool) {
        while !what() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_object_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&Place::Folder(folder.path().join("evidence"))).unwrap();
        let root = folder.path().join("evidence");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&root).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700, "nobody else reads it");

        let mut upload = objects.upload(Uuid::from_u128(1)).await.unwrap();
        upload.write(Bytes::from(vec![7; 6 * 1024 * 1024])).await.unwrap();
        assert_eq!(files(&root).len(), 1, "it is being written");
        drop(upload);
        until(|| files(&root).is_empty()).await;

        let whole = staged(&objects, 2, b"whole").await;
        objects.place(&whole, "nca/a", async { Ok(()) }).await.unwrap();
        drop(whole);
        until(|| files(&root) == ["nca/a"]).await;
        let read = objects.read("nca/a").await.unwrap().unwrap().try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(read, b"whole"[..]);
        assert!(objects.read("nca/b").await.unwrap().is_none());

        // What nobody keeps in the end is not taken away by who failed: another may keep it.
        let again = staged(&objects, 3, b"whole").await;
        let refused = objects.place::<()>(&again, "nca/a", async { Err(Error::internal("refused")) }).await;
        assert!(refused.is_err());
        drop(again);
        until(|| files(&root) == ["nca/a"]).await;
        let keep = |keys: Vec<String>| async { Ok(keys.into_iter().collect()) };
        assert_eq!(objects.remove(vec!["nca/a".into()], keep).await.unwrap(), 0);
        let none = |_| async { Ok(HashSet::new()) };
        assert_eq!(objects.remove(vec!["nca/a".into(), "nca/b".into()], none).await.unwrap(), 1);
        assert!(files(&root).is_empty());
    }

    #[tokio::test]
    async fn what_is_taken_away_meanwhile_is_placed_again() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&Place::Folder(folder.path().into())).unwrap();
        let whole = staged(&objects, 1, b"whole").await;
        let taken = folder.path().join("nca/a");
        let keep = async {
            std::fs::remove_file(&taken).unwrap();
            Ok(())
        };
        objects.place(&whole, "nca/a", keep).await.unwrap();
        assert!(taken.exists());
    }

    #[tokio::test]
    async fn the_sweep_takes_what_is_old_and_kept_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let objects = Objects::open(&Place::Folder(root.clone())).unwrap();
        for file in ["nca/kept", "nca/orphan", "nca/half#1", ".uploads/left", ".uploads/begun#1"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), "x").unwrap();
        }
        let written = std::fs::metadata(root.join("nca/orphan")).unwrap().modified().unwrap();
        let written = i64::try_from(written.duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
        let kept = |keys: Vec<String>| async move { Ok(keys.into_iter().filter(|key| key == "nca/kept").collect()) };
        let before = Timestamp::from_micros(written - 10_000_000);
        assert_eq!(objects.sweep(before, kept).await.unwrap(), 0);
        assert_eq!(files(&root).len(), 5);
        let before = Timestamp::from_micros(written + 10_000_000);
        assert_eq!(objects.sweep(before, kept).await.unwrap(), 4);
        assert_eq!(files(&root), ["nca/kept"]);
    }
}
