//! Connections: how many, from whom, for how long, and what they may ask of the server.
//!
//! Whoever can reach the port can open one, so that everything here is bounded before anybody is known: connections in all
//! and of one address, the time until a connection says what it wants (the handshake of TLS, the first bytes of HTTP/2,
//! the headers of HTTP/1), what it may have the server keep (headers, windows), and how often it may break the protocol.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use portreeve_core::limits;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Sleep;

use super::Front;
use crate::identity::Peer;
use crate::identity::tls::Tls;
use crate::lifecycle::Lifecycle;

/// Calls under way on one connection. Above what the whole server takes on: a client's library queues what is more in
/// silence, and a refusal tells more.
const CONNECTION_CALLS_MAX: u32 = 8_192;
/// Bytes that a caller may send on one call, and on one connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of a call's metadata.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Calls that one connection may reset before they were taken up, and that it may have the server reset by breaking the
/// protocol. Well above what an honest client does; a connection beyond them is closed (CVE-2023-44487, CVE-2025-8671).
const PENDING_RESETS_MAX: usize = 1_024;
const ERROR_RESETS_MAX: usize = 1_024;
/// How often a connection is asked whether its peer is still there, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a plain HTTP request's headers may take, and the first bytes of any connection. Handshakes of TLS have the same.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// What an HTTP/2 connection begins with (RFC 9113 section 3.4), in bytes; no request of HTTP/1 is much shorter.
const FIRST_BYTES: usize = 24;
/// How long a connection has to send its last words once time is up.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long to wait before accepting again when the system has no connection to give.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

pub(super) async fn accept(listener: TcpListener, tls: Option<Arc<Tls>>, front: Front, life: Lifecycle) {
    let soft = life.soft();
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let addresses = Addresses::default();
    let open = metrics::gauge!("portreeve_connections");
    let refused = metrics::counter!("portreeve_connections_refused_total");
    loop {
        let accepted = tokio::select! {
            biased;
            () = soft.cancelled() => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                listener.accept().await.map(|(stream, peer)| (stream, peer.ip(), place))
            } => accepted,
        };
        match accepted {
            Ok((stream, address, place)) => {
                let Some(of_address) = addresses.admit(address) else {
                    // Closed at once: whoever holds so many does not need to be told.
                    refused.increment(1);
                    continue;
                };
                // Without it, small replies wait for the peer's acknowledgements.
                let _ = stream.set_nodelay(true);
                let open = open.clone();
                let connection = welcome(stream, tls.clone(), front.clone(), life.clone());
                life.connections().spawn(async move {
                    open.increment(1);
                    connection.await;
                    open.decrement(1);
                    drop((place, of_address));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Secures a connection if connections are to be secured, and serves it for as long as its other end is trusted.
async fn welcome(stream: TcpStream, tls: Option<Arc<Tls>>, front: Front, life: Lifecycle) {
    let Some(tls) = tls else { return serve(stream, front, life).await };
    match tls.accept(stream).await {
        Ok((stream, shown)) => {
            let front = Front { peer: shown.peer(), ..front };
            tokio::select! {
                () = serve(stream, front, life) => {}
                () = tls.distrusts(&shown) => {
                    tracing::info!("a connection was closed: its certificate is no longer trusted");
                }
            }
        }
        Err(error) => {
            metrics::counter!("portreeve_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "a connection could not be secured");
        }
    }
}

pub(super) async fn accept_local(mut pipes: mpsc::Receiver<DuplexStream>, front: Front, life: Lifecycle) {
    let soft = life.soft();
    let front = Front { peer: Peer::Local, ..front };
    loop {
        let pipe = tokio::select! {
            biased;
            () = soft.cancelled() => return,
            pipe = pipes.recv() => pipe,
        };
        let Some(pipe) = pipe else { return };
        life.connections().spawn(serve(pipe, front.clone(), life.clone()));
    }
}

/// Serves one connection to its end, or to the server's.
async fn serve<I>(io: I, front: Front, life: Lifecycle)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(CONNECTION_CALLS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let (soft, hard) = (life.soft(), life.hard());
    let connection = builder.serve_connection(TokioIo::new(Impatient::new(io)), TowerToHyperService::new(front));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = soft.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = hard.cancelled() => match tokio::time::timeout(LAST_WORDS, connection).await {
                    Ok(ended) => ended,
                    Err(_) => Ok(()),
                },
            }
        }
    };
    if let Err(error) = ended {
        // Peers vanish; that is no fault of the server.
        tracing::debug!(error, "a connection ended early");
    }
}

/// How many connections each address has open.
#[derive(Clone, Debug, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place among those of its address.
#[derive(Debug)]
struct OfAddress(Addresses, IpAddr);

impl Addresses {
    /// A place for one more, unless its address has all that it may have.
    fn admit(&self, address: IpAddr) -> Option<OfAddress> {
        // Whoever has IPv6 has at least so many addresses.
        let address = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.entry(address).or_default();
        if *open >= limits::CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *open += 1;
        Some(OfAddress(self.clone(), address))
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(self.1) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// A connection that fails if its first bytes do not come in time: until they have, the library that takes it up waits to
/// see which protocol it speaks, for ever.
struct Impatient<I> {
    io: I,
    missing: usize,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<I> Impatient<I> {
    fn new(io: I) -> Self {
        Self { io, missing: FIRST_BYTES, patience: Some(Box::pin(tokio::time::sleep(HEADERS_TIMEOUT))) }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Impatient<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.patience.is_none() {
            return read;
        }
        self.missing = self.missing.saturating_sub(buf.filled().len().saturating_sub(before));
        if self.missing == 0 || read.is_ready() {
            if self.missing == 0 {
                self.patience = None;
            }
            return read;
        }
        match self.patience.as_mut().map(|patience| patience.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => read,
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Impatient<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn one_address_does_not_take_every_place() {
        let addresses = Addresses::default();
        let admit = |address: &str| addresses.admit(address.parse().unwrap());
        let mut held =
            (0..limits::CONNECTIONS_PER_ADDRESS_MAX).map(|_| admit("192.0.2.1").unwrap()).collect::<Vec<_>>();
        assert!(admit("192.0.2.1").is_none() && admit("::ffff:192.0.2.1").is_none());
        assert!(admit("192.0.2.2").is_some());
        held.pop();
        assert!(admit("192.0.2.1").is_some());
        drop(held);
        // Of IPv6 a whole network counts as one.
        let held = (0..limits::CONNECTIONS_PER_ADDRESS_MAX).map(|n| admit(&format!("2001:db8::{n:x}")).unwrap());
        let held = held.collect::<Vec<_>>();
        assert!(admit("2001:db8::ffff:1").is_none() && admit("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(addresses.0.lock().unwrap().is_empty(), "addresses that are gone are remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn first_bytes_that_do_not_come_end_the_connection_and_later_ones_may_take_their_time() {
        for sent in [0, 1, FIRST_BYTES - 1] {
            let (near, mut far) = tokio::io::duplex(64);
            far.write_all(&vec![b'P'; sent]).await.unwrap();
            let mut read = Vec::new();
            let begun = tokio::time::Instant::now();
            let error = Impatient::new(near).read_to_end(&mut read).await.unwrap_err();
            assert_eq!((error.kind(), read.len(), begun.elapsed()), (io::ErrorKind::TimedOut, sent, HEADERS_TIMEOUT));
        }
        let (near, mut far) = tokio::io::duplex(64);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            Impatient::new(near).read_to_end(&mut read).await.map(|_| read.len())
        });
        far.write_all(&[b'P'; FIRST_BYTES]).await.unwrap();
        tokio::time::sleep(10 * HEADERS_TIMEOUT).await;
        far.write_all(b"more").await.unwrap();
        drop(far);
        assert_eq!(reading.await.unwrap().unwrap(), FIRST_BYTES + 4);
    }
}
