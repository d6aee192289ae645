//! Ways to call a service: over the network, or within the process.
//!
//! In `serve` the three services call each other as everybody else does, over gRPC; only the wire is a pipe in memory.

use std::net::IpAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::identity::client::ClientTls;

/// Bytes that a pipe in memory holds before its writer waits.
const PIPE_BYTES: usize = 256 * 1024;
/// Connections in memory that wait to be taken up.
const PIPES_WAITING: usize = 16;
/// Bytes that a server may send on one call, and on one connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers of the suite take pings as often as this. Without them, a peer that vanished would be waited for for ever.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why an address cannot be called. Does not repeat the address: it might hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the address of a server, such as http://127.0.0.1:7400, without user and path")]
pub struct AddressError;

/// Refuses what is not the address of a server: http or https, a host, nothing else.
pub fn check(url: &str) -> Result<(), AddressError> {
    endpoint(url).map(drop)
}

/// Whether a host, as it stands in an address, is this machine itself.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn endpoint(url: &str) -> Result<Endpoint, AddressError> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| AddressError)?;
    let uri = endpoint.uri();
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none();
    if plain { Ok(endpoint) } else { Err(AddressError) }
}

/// A channel to a server elsewhere: over secured connections if it has an https address. Connects at the first call, and
/// again whenever the connection is lost.
pub fn connect(url: &str, tls: Option<&ClientTls>) -> Result<Channel, AddressError> {
    let endpoint = endpoint(url)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    match (endpoint.uri().scheme_str(), tls) {
        (Some("https"), Some(tls)) => Ok(tls.connect_lazy(&endpoint)),
        (Some("https"), None) => Err(AddressError),
        _ => Ok(endpoint.connect_lazy()),
    }
}

/// A channel within the process, and where its server takes the connections up. Calls made before the server has
/// started wait for it.
pub(crate) fn local() -> (Channel, mpsc::Receiver<DuplexStream>) {
    let (pipes, waiting) = mpsc::channel(PIPES_WAITING);
    let connector = tower::service_fn(move |_: Uri| {
        let pipes = pipes.clone();
        async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let gone = |_| {
                std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "the server in this process has stopped")
            };
            pipes.send(far).await.map_err(gone)?;
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    });
    // The name is never looked up.
    let endpoint = Endpoint::from_static("http://portreeve.local")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let channel = endpoint.connect_with_connector_lazy(connector);
    (channel, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_bare_addresses_are_services() {
        assert!(connect("http://127.0.0.1:7400", None).is_ok());
        assert!(check("https://referral.example").is_ok());
        for url in [
            "",
            "127.0.0.1:7400",
            "https://referral.example",
            "ftp://x.example",
            "http://",
            "http://u:p@x.example",
            "http://x.example/path",
            "http://x.example/?q",
        ] {
            assert!(connect(url, None).is_err(), "{url}");
        }
    }
}
