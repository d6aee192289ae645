//! Takes away the bytes of evidence that nobody keeps any more.

use std::sync::Arc;

use portreeve_core::{Result, Timestamp, limits};
use portreeve_storage::Objects;

use crate::store::Reads;

/// Takes away the bytes under some keys, but for those that the ledger keeps. What cannot be taken away now is left to the
/// sweep.
pub(crate) async fn purge(objects: Option<&Objects>, reads: &Arc<dyn Reads>, keys: Vec<String>) {
    let Some(objects) = objects.filter(|_| !keys.is_empty()) else { return };
    let removed = objects.remove(keys, |keys| async move { reads.kept_objects(&keys).await }).await;
    if let Err(error) = removed {
        tracing::warn!(%error, "bytes of erased evidence are left to the sweep");
    }
}

/// Takes away whatever lies in the store for longer than an upload can take, and is no evidence: what uploads left that broke off
/// with the process, and what it did not come to take away. Gives the number of objects.
pub(crate) async fn sweep(objects: &Objects, reads: &Arc<dyn Reads>, now: Timestamp) -> Result<usize> {
    let before = now.plus_micros(-limits::OBJECT_GRACE_MICROS);
    objects.sweep(before, |keys| async move { reads.kept_objects(&keys).await }).await
}
