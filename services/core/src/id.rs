//! Identifiers that the server mints.

use std::sync::Mutex;

use crate::{Error, Result, Timestamp};
pub use uuid::Uuid;

/// Where identifiers come from. Passed in, so that tests are repeatable.
pub trait IdSource: Send + Sync + 'static {
    /// A UUIDv7 (RFC 9562) that carries the given instant, so that keys grow with time.
    fn uuid(&self, now: Timestamp) -> Uuid;

    /// So many times bytes that nobody can guess, for keys. Asking once for many costs about as much as asking for one. Fails if
    /// the system has none.
    fn secrets(&self, count: usize) -> Result<Vec<[u8; 32]>>;
}

/// Identifiers from the operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "the one place that mints random identifiers")]
    fn uuid(&self, now: Timestamp) -> Uuid {
        let random = *Uuid::new_v4().as_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        v7(now, tail)
    }

    fn secrets(&self, count: usize) -> Result<Vec<[u8; 32]>> {
        let mut secrets = vec![[0; 32]; count];
        getrandom::fill(secrets.as_flattened_mut())
            .map_err(|error| Error::internal(format!("the system gave no randomness: {error}")))?;
        Ok(secrets)
    }
}

/// Identifiers that count, for tests.
#[derive(Debug, Default)]
pub struct CountingIds(Mutex<u64>);

impl IdSource for CountingIds {
    fn uuid(&self, now: Timestamp) -> Uuid {
        let mut count = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *count += 1;
        let mut tail = [0; 10];
        tail[2..].copy_from_slice(&count.to_be_bytes());
        v7(now, tail)
    }

    fn secrets(&self, count: usize) -> Result<Vec<[u8; 32]>> {
        let secret = |_| {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(self.uuid(Timestamp::default()).as_bytes());
            bytes
        };
        Ok((0..count).map(secret).collect())
    }
}

fn v7(now: Timestamp, tail: [u8; 10]) -> Uuid {
    let millis = u64::try_from(now.micros() / 1_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_identifiers_are_version_7_and_grow() {
        let early = RandomIds.uuid(Timestamp::from_micros(1_000_000));
        let late = RandomIds.uuid(Timestamp::from_micros(2_000_000));
        assert_eq!(early.get_version_num(), 7);
        assert!(early < late);
        let counting = CountingIds::default();
        assert!(counting.uuid(Timestamp::default()) < counting.uuid(Timestamp::default()));
        for ids in [&RandomIds as &dyn IdSource, &counting] {
            let (one, other) = (ids.secrets(100).unwrap(), ids.secrets(100).unwrap());
            assert_eq!(one.iter().chain(&other).collect::<std::collections::BTreeSet<_>>().len(), 200);
        }
    }
}
