//! One small document over HTTP, with every limit: nothing is followed, nothing is kept, nothing takes long.

use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portreeve_core::{Clock, limits};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::IdentityError;
use super::tls::{Time, authorities, provider};
use crate::channel;

/// How long the whole of it may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the answer's headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers, or not now.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// What is there is not what was looked for.
    #[error("{0}")]
    Content(String),
}

/// Where a document is, and how the way there is secured.
pub(super) struct Source {
    uri: Uri,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uri)
    }
}

/// The address of a document: https, or http on this machine; without user. Says what is wrong without repeating it.
pub(crate) fn check(url: &str) -> Result<Uri, &'static str> {
    let form = "must be a file, or a URL such as https://login.example/keys, without user";
    let uri = url.parse::<Uri>().map_err(|_| form)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(form)?;
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(form);
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if channel::is_loopback(host) => Ok(uri),
        Some("http") => Err("whoever is on the way could put keys of their own there; use https://"),
        _ => Err(form),
    }
}

impl Source {
    /// A document at an address. Servers of the authorities in the file are believed, else those that the system trusts.
    pub(super) fn new(uri: Uri, ca: Option<&Path>, clock: &Arc<dyn Clock>) -> Result<Self, IdentityError> {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Self { uri, tls: None });
        }
        let roots = ca.map_or_else(system, authorities)?;
        let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| IdentityError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { uri, tls: Some(Arc::new(config)) })
    }

    /// The document.
    pub(super) async fn get(&self) -> Result<Bytes, FetchError> {
        match tokio::time::timeout(TIMEOUT, self.connect()).await {
            Ok(got) => got,
            Err(_) => Err(FetchError::Unreachable(format!("no answer within {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn connect(&self) -> Result<Bytes, FetchError> {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        match &self.tls {
            None => self.exchange(stream).await,
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(unreachable)?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
                self.exchange(stream.map_err(unreachable)?).await
            }
        }
    }

    async fn exchange<I>(&self, io: I) -> Result<Bytes, FetchError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::Builder::new().max_buf_size(HEADER_BYTES_MAX).handshake(TokioIo::new(io));
        let (mut sender, mut connection) = handshake.await.map_err(unreachable)?;
        let host = self.uri.authority().map_or("", http::uri::Authority::as_str);
        let request = Request::get(self.uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, host)
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .header(header::USER_AGENT, HeaderValue::from_static("portreeve"))
            .body(Empty::<Bytes>::new())
            .map_err(unreachable)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(unreachable)?;
            match response.status() {
                StatusCode::OK => {}
                busy if busy.is_server_error() || busy == StatusCode::TOO_MANY_REQUESTS => {
                    return Err(FetchError::Unreachable(format!("it answers with status {busy}")));
                }
                other => return Err(FetchError::Content(format!("it answers with status {other}"))),
            }
            match Limited::new(response.into_body(), limits::TOKEN_KEYS_BYTES_MAX).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(FetchError::Content(format!(
                    "its answer is larger than {} bytes",
                    limits::TOKEN_KEYS_BYTES_MAX
                ))),
                Err(error) => Err(unreachable(error)),
            }
        };
        let mut answer = std::pin::pin!(answer);
        // The connection has to be driven, and ends before the answer has been read only if it fails.
        let driven = poll_fn(|cx| match std::future::Future::poll(answer.as_mut(), cx) {
            std::task::Poll::Ready(answer) => std::task::Poll::Ready(Some(answer)),
            std::task::Poll::Pending => {
                std::future::Future::poll(std::pin::Pin::new(&mut connection), cx).map(|_| None)
            }
        });
        match driven.await {
            Some(answer) => answer,
            None => answer.await,
        }
    }
}

/// The authorities that the system trusts.
fn system() -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    // Some of a system's authorities are always too old to be read.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let what = "this system names no authorities whose servers could be believed; set token_jwks_ca";
        return Err(IdentityError::Tls(what.to_owned()));
    }
    Ok(Arc::new(roots))
}

fn unreachable(error: impl fmt::Display) -> FetchError {
    FetchError::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_secured_ways_only() {
        for url in [
            "https://login.example/keys",
            "https://login.example",
            "https://192.0.2.1:8443/a?b=c",
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys",
            "http://[::1]:1/",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "login.example",
            "http://login.example/keys",
            "http://localhost.example/keys",
            "http://127.0.0.1@login.example/",
            "https://user:hunter2@login.example/keys",
            "https:///keys",
            "ftp://login.example/keys",
            "file:///etc/keys",
        ] {
            let wrong = check(url);
            assert!(wrong.is_err_and(|wrong| !wrong.contains("hunter2")), "{url}");
        }
    }
}
