//! Bytes of HTTP/2 as no honest client sends them, and connections that send them.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// How long a hostile connection waits for the server to take or say something.
const PATIENCE: Duration = Duration::from_secs(2);

/// One frame (RFC 9113 section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection, with settings.
pub(crate) fn opening(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload = settings.iter().flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()));
    [PREFACE, &frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>())].concat()
}

/// A list of headers, each spelt out (RFC 7541 section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The headers of a call.
pub(crate) fn call(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("portreeve-organisation", "operators/op"),
    ];
    all.extend_from_slice(more);
    frame(HEADERS, END_HEADERS, stream, &fields(&all))
}

/// Sends everything, reads whatever comes, and goes; says whether the server closed the connection before that.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> bool {
    match TcpStream::connect(address).await {
        Ok(stream) => send_on(stream, bytes).await,
        Err(_) => true,
    }
}

/// The same on a connection that is there.
pub(crate) async fn send_on(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> bool {
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = async {
        let sent = to.write_all(bytes).await.is_ok() && to.flush().await.is_ok();
        // Whether the server closes by itself shows only while this side has not.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = to.shutdown().await;
        sent
    };
    let reading = async {
        let mut sink = vec![0; 16 * 1024];
        while matches!(from.read(&mut sink).await, Ok(read) if read > 0) {}
    };
    let mut reading = std::pin::pin!(reading);
    let closed = tokio::select! {
        biased;
        () = &mut reading => true,
        sent = tokio::time::timeout(PATIENCE, sending) => sent != Ok(true),
    };
    if !closed {
        let _ = tokio::time::timeout(PATIENCE, reading).await;
    }
    closed
}

/// Sends everything, says nothing more, and stays; says whether the server closes the connection, however late it comes to
/// read what was sent.
pub(crate) async fn closes(address: SocketAddr, bytes: &[u8]) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return true };
    let (mut from, mut to) = stream.into_split();
    let reading = async {
        let mut sink = vec![0; 16 * 1024];
        while matches!(from.read(&mut sink).await, Ok(read) if read > 0) {}
    };
    let sending = async {
        let _ = to.write_all(bytes).await;
    };
    tokio::time::timeout(Duration::from_secs(15), async { tokio::join!(reading, sending) }).await.is_ok()
}

/// Sends without ever reading, and goes.
pub(crate) async fn send_blindly(address: SocketAddr, bytes: &[u8]) {
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await;
    }
}

/// Sends a little and then nothing; says whether the server closes the connection.
pub(crate) async fn stall(address: SocketAddr, bytes: &[u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return true };
    let _ = stream.write_all(bytes).await;
    let mut sink = Vec::new();
    tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut sink)).await.is_ok()
}

/// Bytes that mean nothing.
pub(crate) fn noise(random: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..=most)];
    random.fill_bytes(&mut bytes);
    bytes
}

/// Frames of every kind with whatever in them; some lie about their length.
pub(crate) fn frames(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = opening(&[]);
    for _ in 0..random.random_range(1..20) {
        let payload = noise(random, 200);
        let (kind, flags) = (random.random_range(0..12), random.random());
        let stream = if random.random() { random.random_range(0..9) } else { random.random() };
        let mut frame = frame(kind, flags, stream, &payload);
        if random.random_ratio(1, 8) {
            frame[random.random_range(0..3)] = random.random();
        }
        bytes.extend(frame);
    }
    bytes
}

/// What a call sends in place of a message: lengths that lie, flags that mean nothing, no message, two of them.
pub(crate) fn messages(random: &mut StdRng) -> Vec<u8> {
    let content = noise(random, 64);
    let claimed = match random.random_range(0..5) {
        0 => u32::MAX,
        1 => 4 * 1024 * 1024 + 1,
        2 => random.random_range(0..256),
        _ => u32::try_from(content.len()).unwrap(),
    };
    let one = [&[random.random_range(0..4)], claimed.to_be_bytes().as_slice(), &content].concat();
    match random.random_range(0..4) {
        0 => one[..random.random_range(0..one.len())].to_vec(),
        1 => one.repeat(2),
        _ => one,
    }
}
