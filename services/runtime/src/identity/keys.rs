//! The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517), from a file or from where the issuer publishes it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use portreeve_core::{Clock, Error, Reason, Result, Timestamp, limits};
use tokio::sync::{Mutex, Semaphore};

use super::IdentityError;
use super::fetch::{self, FetchError, Source};
use super::files::{self, Reloading, read};
use crate::lifecycle::Lifecycle;

/// How often published keys are fetched, and how soon again when that failed.
const REFRESH: (Duration, Duration) = (Duration::from_mins(5), Duration::from_secs(30));
/// Calls that wait while keys are fetched for them; more are refused at once.
const WAITING_MAX: usize = 64;
/// When a caller may come back whose token cannot be checked now.
const RETRY: Duration = Duration::from_secs(1);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySettings {
    /// In a file.
    File(PathBuf),
    /// Where the issuer publishes them.
    Url {
        /// There.
        uri: Uri,
        /// The authorities whose servers are believed to be the issuer's; those that the system trusts if unset.
        ca: Option<PathBuf>,
    },
}

/// An issuer's public keys.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// What a set of keys says to a token.
pub(super) enum Found<'k> {
    /// This is the one.
    Key(&'k DecodingKey),
    /// The one that it names is for another algorithm.
    OtherAlgorithm,
    /// There is none of that name.
    Unknown,
}

impl Keys {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let set = serde_json::from_slice::<JwkSet>(bytes).map_err(|error| format!("no JWKS: {error}"))?;
        let mut keys = Vec::<Key>::new();
        for jwk in &set.keys {
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                return Err("holds a shared secret; only public keys can stand in it".into());
            }
            let algorithms = algorithms(jwk);
            let signs = jwk.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
            if algorithms.is_empty() || !signs {
                continue;
            }
            let id = jwk.common.key_id.clone();
            if keys.iter().any(|key| key.id == id) {
                return Err(format!("holds two keys with the kid {:?}", id.unwrap_or_default()));
            }
            let decoding = DecodingKey::from_jwk(jwk).map_err(|error| format!("a key is unreadable: {error}"))?;
            keys.push(Key { id, algorithms, decoding });
        }
        if keys.is_empty() { Err("holds no key for RS*, PS*, ES256, ES384 or EdDSA".into()) } else { Ok(Self(keys)) }
    }

    fn read(path: &Path) -> Result<Self, IdentityError> {
        Self::parse(&read(path)?).map_err(|what| IdentityError::Content(path.to_owned(), what))
    }

    /// The key that a token names; the only one if it names none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let found = match (id, self.0.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        };
        match found {
            None => Found::Unknown,
            Some(key) if key.algorithms.contains(&algorithm) => Found::Key(&key.decoding),
            Some(_) => Found::OtherAlgorithm,
        }
    }
}

/// The algorithms that a key can be used for.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    };
    let said = jwk.common.key_algorithm.map(|said| said.to_string());
    let fits = |algorithm: &&Algorithm| said.as_ref().is_none_or(|said| *said == format!("{algorithm:?}"));
    possible.iter().filter(fits).copied().collect()
}

/// The keys as they stand.
#[derive(Clone, Debug)]
pub(super) enum KeyRing {
    File(Arc<Reloading<Keys>>),
    Published(Arc<Published>),
}

impl KeyRing {
    /// Reads the keys for the first time. An issuer who does not answer does not stop the start: who has a certificate can
    /// be served meanwhile. One whose answer is no set of keys does.
    pub(super) async fn open(settings: KeySettings, clock: &Arc<dyn Clock>) -> Result<Self, IdentityError> {
        match settings {
            KeySettings::File(path) => {
                let keys = Reloading::new(vec![path.clone()], move || Keys::read(&path))?;
                Ok(Self::File(Arc::new(keys)))
            }
            KeySettings::Url { uri, ca } => {
                let source = Source::new(uri, ca.as_deref(), clock)?;
                let published = Published::new(source, Arc::clone(clock));
                match published.fetch().await {
                    Err(FetchError::Content(what)) => {
                        Err(IdentityError::Published(format!("{:?}", published.source), what))
                    }
                    Ok(()) | Err(FetchError::Unreachable(_)) => Ok(Self::Published(Arc::new(published))),
                }
            }
        }
    }

    /// The keys to check a token with.
    pub(super) fn current(&self) -> Result<Arc<Keys>> {
        match self {
            Self::File(keys) => Ok(keys.current()),
            Self::Published(published) => published.current(),
        }
    }

    /// Newer keys than these, for a token whose key is not among them: the issuer may have changed them since.
    pub(super) async fn newer(&self, than: Option<&Arc<Keys>>) -> Option<Arc<Keys>> {
        match self {
            Self::File(_) => None,
            Self::Published(published) => published.newer(than).await,
        }
    }

    /// Takes up changed keys for as long as the process takes new work.
    pub(super) fn keep_fresh(&self, life: &Lifecycle) {
        const NAME: &str = "the renewal of the tokens' keys";
        match self {
            Self::File(keys) => files::keep_fresh(NAME, life, Arc::clone(keys)),
            Self::Published(published) => {
                let (published, soft) = (Arc::clone(published), life.soft());
                life.spawn(NAME, async move {
                    let mut wait = if published.current().is_ok() { REFRESH.0 } else { REFRESH.1 };
                    loop {
                        tokio::select! {
                            () = soft.cancelled() => return Ok::<_, std::convert::Infallible>(()),
                            () = tokio::time::sleep(wait) => {}
                        }
                        wait = if published.fetch().await.is_ok() { REFRESH.0 } else { REFRESH.1 };
                    }
                });
            }
        }
    }
}

/// Keys that are fetched from where the issuer publishes them. The last good ones count while the issuer does not answer,
/// for [`limits::TOKEN_KEYS_AGE_MICROS_MAX`]: a key that the issuer took back must not count for ever because the way there
/// is cut.
pub(super) struct Published {
    source: Source,
    clock: Arc<dyn Clock>,
    last: ArcSwapOption<(Arc<Keys>, Timestamp)>,
    /// When they were last fetched because a token named an unknown key.
    asked: Mutex<Option<Timestamp>>,
    waiting: Semaphore,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Published {
    fn new(source: Source, clock: Arc<dyn Clock>) -> Self {
        let (asked, waiting) = (Mutex::new(None), Semaphore::new(WAITING_MAX));
        Self { source, clock, last: ArcSwapOption::empty(), asked, waiting }
    }

    fn current(&self) -> Result<Arc<Keys>> {
        let now = self.clock.now();
        let last = self.last.load_full();
        let fresh =
            last.filter(|last| now.micros().saturating_sub(last.1.micros()) < limits::TOKEN_KEYS_AGE_MICROS_MAX);
        fresh.map(|last| Arc::clone(&last.0)).ok_or_else(|| {
            Error::new(
                Reason::TokenKeysUnavailable,
                "no token can be checked: this server has not had the keys of their issuer for too long; come back later, \
                 or use a certificate",
            )
            .retry_after(RETRY)
        })
    }

    /// Fetches the keys; what is there before stays if that fails.
    async fn fetch(&self) -> Result<(), FetchError> {
        let fetched = match self.source.get().await {
            Ok(bytes) => Keys::parse(&bytes).map_err(FetchError::Content),
            Err(error) => Err(error),
        };
        let outcome = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!("portreeve_token_keys_fetches_total", "outcome" => outcome).increment(1);
        match fetched {
            Ok(keys) => {
                self.last.store(Some(Arc::new((Arc::new(keys), self.clock.now()))));
                Ok(())
            }
            Err(error) => {
                let source = &self.source;
                tracing::error!(?source, %error, "the keys of the tokens' issuer cannot be fetched; the last ones stay");
                Err(error)
            }
        }
    }

    async fn newer(&self, than: Option<&Arc<Keys>>) -> Option<Arc<Keys>> {
        let _place = self.waiting.try_acquire().ok()?;
        let mut asked = self.asked.lock().await;
        // Somebody else's token may have had them fetched while this one waited.
        let current = self.current().ok();
        if let Some(current) = current.filter(|current| than.is_none_or(|than| !Arc::ptr_eq(than, current))) {
            return Some(current);
        }
        let now = self.clock.now();
        let since = asked.map(|at| now.micros().saturating_sub(at.micros()));
        if since.is_some_and(|since| (0..limits::TOKEN_KEYS_ASK_MICROS).contains(&since)) {
            return None;
        }
        *asked = Some(now);
        self.fetch().await.ok()?;
        self.current().ok()
    }
}

/// The keys' settings for where a configuration says that they are.
pub(super) fn settings(place: &str, ca: Option<&str>) -> KeySettings {
    match fetch::check(place) {
        Ok(uri) if is_url(place) => KeySettings::Url { uri, ca: ca.map(PathBuf::from) },
        _ => KeySettings::File(PathBuf::from(place)),
    }
}

/// Whether a text means a URL, not a file.
pub(crate) fn is_url(place: &str) -> bool {
    place.contains("://")
}

#[cfg(test)]
mod tests;
