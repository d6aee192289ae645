//! Connections over TLS 1.3, on which a client's certificate says who it is.
//!
//! A session is never resumed: a resumed one would skip the look at the certificate. A connection whose certificate is no
//! longer trusted, because its time is over or the authority revoked it, is closed, with every call and stream on it.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portreeve_core::{Clock, Error, Principal, Reason, Result, identity};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client::ClientTls;
use super::files::{Reloading, read};
use super::revocation::{self, State, Validity};
use super::{IdentityError, Peer};
use crate::lifecycle::Lifecycle;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other end of a connection that is refused has to read why, and how many bytes it may still send.
const REFUSAL: (Duration, u64) = (Duration::from_secs(1), 64 * 1024);
/// How often connections are asked whether their certificates are still trusted, besides whenever a file changes.
const RECHECK: Duration = Duration::from_secs(10);

/// Where certificates, keys and authorities are, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and its authority. A service of the suite shows it to others too.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose clients are let in; without them no client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Their lists of revoked certificates.
    pub crl: Option<PathBuf>,
    /// The authorities of the suite's other services.
    pub server_ca: Option<PathBuf>,
}

/// What the files say.
#[derive(Debug)]
pub struct Loaded {
    server: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    revoked: Option<Validity>,
    client: Option<Arc<ClientConfig>>,
}

/// What a server's connections are secured with.
pub struct Tls {
    files: Arc<Reloading<Loaded>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles, clock: Arc<dyn Clock>) -> Result<Self, IdentityError> {
        let paths = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref(), files.crl.as_ref()];
        let paths = paths.into_iter().chain([files.server_ca.as_ref()]).flatten().cloned().collect();
        let time = Arc::clone(&clock);
        let files = Reloading::new(paths, move || load(&files, &time))?;
        Ok(Self { files: Arc::new(files), clock })
    }

    pub(super) const fn files(&self) -> &Arc<Reloading<Loaded>> {
        &self.files
    }

    /// How this server calls others: with its own certificate. `None` if no authority of theirs is known.
    pub fn client(&self) -> Option<ClientTls> {
        self.files.current().client.as_ref()?;
        let files = Arc::clone(&self.files);
        Some(ClientTls::new(move || files.current().client.clone()))
    }

    /// Takes up a connection: the secured one, and the certificates that the client showed.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Shown)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.files.current().server));
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream).into_fallible());
        match handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
                Ok((stream, Shown(chain)))
            }
            Err((error, mut stream)) => {
                // The alert that says why is on its way. Closing now, with bytes unread, would overtake it.
                let rest = async {
                    let _ = stream.shutdown().await;
                    let _ = tokio::io::copy(&mut stream.take(REFUSAL.1), &mut tokio::io::sink()).await;
                };
                let _ = tokio::time::timeout(REFUSAL.0, rest).await;
                Err(error)
            }
        }
    }

    /// Waits until a certificate that was shown is no longer trusted.
    pub(crate) async fn distrusts(&self, shown: &Shown) {
        let Some((leaf, rest)) = shown.0.split_first() else { return std::future::pending().await };
        let mut changes = self.files.changes();
        let mut knew = false;
        loop {
            let verified = self.files.current().verifier.verify_client_cert(leaf, rest, unix(self.clock.as_ref()));
            let knows = self.knows_who_was_revoked().is_ok();
            // One that is made while the list is past its end stays, so that its calls are told why they are refused.
            if verified.is_err() || (knew && !knows) {
                return;
            }
            knew = knows;
            let _ = tokio::time::timeout(RECHECK, changes.changed()).await;
        }
    }

    /// Refuses once the list of revoked certificates is past its end.
    pub(super) fn knows_who_was_revoked(&self) -> Result<()> {
        self.files.current().revoked.map_or(Ok(()), |lists| lists.check(self.clock.now()))
    }

    /// Tells the operator in time that a new list is due: by a metric, and in the log.
    pub(super) fn watch_revocation_lists(&self, life: &Lifecycle) {
        let (files, clock, soft) = (Arc::clone(&self.files), Arc::clone(&self.clock), life.soft());
        life.spawn("the age of the revocation lists", async move {
            let left = metrics::gauge!("portreeve_revocation_list_seconds_left");
            let mut told = State::Fresh;
            loop {
                if let Some(lists) = files.current().revoked {
                    let now = clock.now();
                    let seconds = i32::try_from(lists.left(now).div_euclid(1_000_000)).unwrap_or(i32::MAX);
                    left.set(f64::from(seconds));
                    let state = lists.state(now);
                    if state != told {
                        told = state;
                        tell(state, &lists);
                    }
                }
                tokio::select! {
                    () = soft.cancelled() => return Ok::<_, Infallible>(()),
                    () = tokio::time::sleep(RECHECK) => {}
                }
            }
        });
    }
}

/// The certificates that a client showed, its own first.
#[derive(Clone, Debug)]
pub(crate) struct Shown(Vec<CertificateDer<'static>>);

impl Shown {
    #[cfg(test)]
    pub(crate) fn of(leaf: CertificateDer<'static>) -> Self {
        Self(vec![leaf])
    }

    /// Whom they name.
    pub(crate) fn peer(&self) -> Peer {
        self.0.first().map_or(Peer::Unnamed, |leaf| Peer::Certified(Arc::new(named(leaf))))
    }
}

/// Whom a certificate names.
pub fn named(certificate: &CertificateDer<'_>) -> Result<Principal> {
    let read = || {
        let invalid = |what: &'static str| Error::new(Reason::CredentialInvalid, what);
        let leaf = webpki::EndEntityCert::try_from(certificate).map_err(|_| invalid("it cannot be read"))?;
        let mut names = leaf.valid_uri_names();
        let name = names.next().ok_or_else(|| invalid("it has no URI that names who holds it"))?;
        if names.next().is_some() {
            return Err(invalid("it has more than one URI; which of them is meant?"));
        }
        identity::parse(name)
    };
    read().map_err(|error: Error| {
        Error::new(Reason::CredentialInvalid, format!("the certificate is refused: {}", error.message()))
            .with("credential", "certificate")
    })
}

/// Whom the certificate in a file names; the first one, if there are more.
pub fn named_in(path: &Path) -> Result<Principal, IdentityError> {
    let chain = certificates(path)?;
    let named = chain.first().map_or_else(|| Err(Error::internal("no certificate")), named);
    named.map_err(|error| IdentityError::Content(path.to_owned(), error.message().to_owned()))
}

/// The serial number of the certificate in a file, by which its authority revokes it.
pub fn serial_in(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let wrong = || IdentityError::Content(path.to_owned(), "it holds no certificate that can be read".to_owned());
    let chain = certificates(path)?;
    let leaf = webpki::EndEntityCert::try_from(chain.first().ok_or_else(wrong)?).map_err(|_| wrong())?;
    Ok(leaf.serial().to_vec())
}

/// The cryptography of all of it.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| IdentityError::Content(path.to_owned(), error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

/// The certificates in a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    some(path, CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>(), "certificate")
}

/// The private key in a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| IdentityError::Content(path.to_owned(), format!("no private key as PEM: {error}")))
}

fn tell(state: State, lists: &Validity) {
    let ends = lists.ends();
    match state {
        State::Fresh => tracing::info!(%ends, "there is a new list of revoked certificates"),
        State::Ageing => tracing::warn!(
            %ends,
            "the list of revoked certificates ends soon, and then no certificate is taken; get the authority's new list"
        ),
        State::Over => tracing::error!(
            %ends,
            "the list of revoked certificates is past its end: no certificate is taken until there is a new one"
        ),
    }
}

pub(super) fn some<T>(
    path: &Path,
    found: Result<Vec<T>, rustls::pki_types::pem::Error>,
    what: &str,
) -> Result<Vec<T>, IdentityError> {
    let found = found.map_err(|error| IdentityError::Content(path.to_owned(), format!("not PEM: {error}")))?;
    if found.is_empty() { Err(IdentityError::Content(path.to_owned(), format!("holds no {what}"))) } else { Ok(found) }
}

fn load(files: &TlsFiles, clock: &Arc<dyn Clock>) -> Result<Loaded, IdentityError> {
    let wrong = |error: &dyn fmt::Display| IdentityError::Tls(error.to_string());
    let (provider, chain) = (provider(), certificates(&files.cert)?);
    let mut revoked = None;
    let verifier = match &files.client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(path) => {
            let mut builder = WebPkiClientVerifier::builder_with_provider(authorities(path)?, Arc::clone(&provider));
            if let Some(path) = &files.crl {
                let (lists, validity) = revocation::lists(path, clock.now())?;
                builder = builder.with_crls(lists);
                revoked = Some(validity);
            }
            // Who shows no certificate may send a token, or ask for the server's health.
            builder.allow_unauthenticated().build().map_err(|error| wrong(&error))?
        }
    };
    let mut server = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| wrong(&error))?
        .with_client_cert_verifier(Arc::clone(&verifier))
        .with_single_cert(chain.clone(), key(&files.key)?)
        .map_err(|error| wrong(&error))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let client =
        files.server_ca.as_ref().or(files.client_ca.as_ref()).map(|path| {
            super::client::config(authorities(path)?, Some((chain, key(&files.key)?)), clock).map(Arc::new)
        });
    Ok(Loaded { server: Arc::new(server), verifier, revoked, client: client.transpose()? })
}

fn unix(clock: &dyn Clock) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(clock.now().micros()).unwrap_or_default()))
}

/// The clock that was passed in, as the library asks for the time.
pub(super) struct Time(pub(super) Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0.as_ref()))
    }
}
