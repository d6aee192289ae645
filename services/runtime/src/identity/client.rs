//! The client's end of a secured connection.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use portreeve_core::Clock;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::IdentityError;
use super::tls::{Time, authorities, certificates, key, provider};

/// How a client secures its connections, asked anew for each of them.
#[derive(Clone)]
pub struct ClientTls(Arc<dyn Fn() -> Option<Arc<ClientConfig>> + Send + Sync>);

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    pub(super) fn new(config: impl Fn() -> Option<Arc<ClientConfig>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(config))
    }

    /// Believes servers of these authorities, and shows them a certificate if one is given with its key.
    pub fn from_files(
        ca: &PathBuf,
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

    fn connector(
        &self,
    ) -> impl tower::Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = io::Error, Future: Send>
    + Clone
    + Send
    + 'static {
        let tls = self.clone();
        tower::service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move { tls.open(&uri).await.map(TokioIo::new) }
        })
    }

    async fn open(&self, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = (self.0)().ok_or_else(|| io::Error::other("there is no certificate to connect with"))?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
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
        told = Some(error.to_string()).filter(|text| text.contains(ALERT) || text.contains(PEER)).or(told);
        next = error.source();
    }
    let told = told?;
    if told.contains(PEER) {
        return Some(format!("this side does not trust the server's certificate ({told})"));
    }
    let (_, meaning) = ALERTS.iter().find(|(alert, _)| told.contains(alert)).unwrap_or(&("", "it is refused"));
    Some(format!("the server does not trust this side's certificate: {meaning} ({told})"))
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
