//! The client's end of a secured connection.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use portreeve_core::Clock;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::IdentityError;
use super::tls::{Time, authorities, certificates, key, provider};

/// How a client secures its connections, asked anew for each of them.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<dyn Fn() -> Option<Arc<ClientConfig>> + Send + Sync>,
    /// How the newest connection was refused, by either side.
    refused: Arc<watch::Sender<Option<String>>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    pub(super) fn new(config: impl Fn() -> Option<Arc<ClientConfig>> + Send + Sync + 'static) -> Self {
        Self { config: Arc::new(config), refused: Arc::default() }
    }

    /// Believes servers of these authorities, and shows them a certificate if one is given with its key.
    pub fn from_files(
        ca: &Path,
        own: Option<(&PathBuf, &PathBuf)>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let own = own.map(|(cert, private)| Ok((certificates(cert)?, key(private)?))).transpose()?;
        let config = Arc::new(config(authorities(ca)?, own, clock)?);
        Ok(Self::new(move || Some(Arc::clone(&config))))
    }

    /// A channel over secured connections, which are made when they are needed.
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(self.connector())
    }

    /// A channel over a secured connection.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        endpoint.connect_with_connector(self.connector()).await
    }

    /// Why the server refused this side's certificate on the newest connection, if it did. It says so only after the
    /// connection was made, and the HTTP/2 library then tells of calls that were cancelled, not why.
    pub fn refusal(&self) -> Option<String> {
        self.refused.borrow().as_deref().map(explain)
    }

    /// Waits until one side refuses the other's certificate; why. Connecting again would not help.
    pub async fn distrusted(&self) -> String {
        let mut refused = self.refused.subscribe();
        match refused.wait_for(|told| told.as_deref().is_some_and(is_about_certificates)).await {
            Ok(told) => explain(told.as_deref().unwrap_or_default()),
            // Its sender is in this very value.
            Err(_) => std::future::pending().await,
        }
    }

    fn connector(
        &self,
    ) -> impl tower::Service<Uri, Response = TokioIo<Attentive>, Error = io::Error, Future: Send> + Clone + Send + 'static
    {
        let tls = self.clone();
        tower::service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move { tls.open(&uri).await.map(TokioIo::new) }
        })
    }

    async fn open(&self, uri: &Uri) -> io::Result<Attentive> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = (self.config)().ok_or_else(|| io::Error::other("there is no certificate to connect with"))?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(config).connect(name, stream).await.inspect_err(|error| {
            self.refused.send_replace(Some(error.to_string()).filter(|told| is_refusal(told)));
        })?;
        Ok(Attentive { stream, refused: Arc::clone(&self.refused) })
    }
}

/// A connection that keeps what its other end refused it with.
struct Attentive {
    stream: TlsStream<TcpStream>,
    refused: Arc<watch::Sender<Option<String>>>,
}

impl AsyncRead for Attentive {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let told = read.as_ref().err().map(ToString::to_string).filter(|told| is_refusal(told));
        if told.is_some() || read.is_ok() {
            self.refused.send_if_modified(|before| std::mem::replace(before, told.clone()) != told);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Attentive {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

pub(super) fn config(
    roots: Arc<RootCertStore>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, IdentityError> {
    let wrong = |error: rustls::Error| IdentityError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_root_certificates(roots);
    let mut config = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(wrong)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Why certificates kept a connection from being made, as a person reads it; `None` if it failed for another reason.
pub fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    // The HTTP/2 library keeps of an error no more than its text.
    let (mut next, mut told) = (Some(error), None);
    while let Some(error) = next {
        told = Some(error.to_string()).filter(|text| is_refusal(text)).or(told);
        next = error.source();
    }
    told.as_deref().map(explain)
}

/// Whether the TLS library says that one of both sides refused the other.
fn is_refusal(told: &str) -> bool {
    told.contains(ALERT) || told.contains(PEER)
}

/// Whether it was for the certificates.
fn is_about_certificates(told: &str) -> bool {
    told.contains(PEER) || ALERTS.iter().any(|(alert, _)| told.contains(alert))
}

/// What a refusal means.
fn explain(told: &str) -> String {
    if told.contains(PEER) {
        return format!("this side does not trust the server's certificate ({told})");
    }
    let (_, meaning) = ALERTS.iter().find(|(alert, _)| told.contains(alert)).unwrap_or(&("", "it is refused"));
    format!("the server does not trust this side's certificate: {meaning} ({told})")
}

/// How the TLS library says that the other end refused.
const ALERT: &str = "received fatal alert";
/// How the TLS library says that this end refused.
const PEER: &str = "invalid peer certificate";
/// What an alert of TLS means for a certificate.
const ALERTS: [(&str, &str); 4] = [
    ("CertificateRevoked", "it was revoked"),
    ("CertificateExpired", "it is past its end"),
    ("UnknownCA", "its authority is not one of those that the server trusts"),
    ("BadCertificate", "it is not a certificate for this"),
];
