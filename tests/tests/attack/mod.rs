//! The real binary under attack, on loopback and in bounded numbers: malformed frames, tokens and certificates by the
//! thousand, floods of what is cheap to send, and connections that hold what they have. It must not panic, must answer an
//! honest caller all the while, must not grow, and must give back every connection and every place.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod secured;
mod victim;
mod wire;

use std::io::Write as _;
use std::net::SocketAddr;

use futures_util::{StreamExt as _, stream};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use wire::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RESET, SETTINGS};

use victim::Victim;

/// Hostile connections at once.
const AT_ONCE: usize = 32;
const GET: &str = "/portreeve.referral.v1.ReferralService/GetReferral";
const LIST: &str = "/portreeve.referral.v1.OrganisationService/ListOrganisations";
const WATCH: &str = "/portreeve.referral.v1.ReferralService/WatchReferrals";

/// Does something so many times, some of them at once; says how often the answer was yes.
pub(crate) async fn many(times: u32, act: impl AsyncFn(u32) -> bool) -> usize {
    let all = stream::iter(0..times).map(|time| act(time)).buffer_unordered(AT_ONCE);
    all.filter(|yes| std::future::ready(*yes)).count().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_server_endures() {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(&[], folder.path()).await;
    let endpoint = portreeve_api::clients::endpoint(&format!("http://{}", victim.address)).unwrap();
    victim.keep_calling(endpoint.connect().await.unwrap());
    victim
        .endure(async |address, seed| {
            malformed(address, seed).await;
            floods(address).await;
            hoarders(address).await;
        })
        .await;
}

/// Bytes, frames and messages that mean nothing, by the thousand.
async fn malformed(address: SocketAddr, seed: u64) {
    many(500, async |time| {
        let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(time));
        let start: &[u8] =
            [b"", wire::PREFACE, b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"][usize::try_from(time % 4).unwrap()];
        wire::send(address, &[start, &wire::noise(&mut random, 512)].concat()).await
    })
    .await;
    many(500, async |time| {
        let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(time) | 1 << 31);
        wire::send(address, &wire::frames(&mut random)).await
    })
    .await;
    many(50, async |time| {
        let mut random = StdRng::seed_from_u64(seed << 32 | u64::from(time) | 1 << 30);
        let mut bytes = wire::opening(&[]);
        for call in 0..20 {
            let path = [GET, LIST, WATCH, "/x.Y/Z", "//", ""][usize::try_from(call % 6).unwrap()];
            let more = [("grpc-timeout", ["1S", "x", "99999999H", ""][usize::try_from(call % 4).unwrap()])];
            let stream = 1 + 2 * call;
            bytes.extend(wire::call(stream, path, &more));
            bytes.extend(wire::frame(DATA, END_STREAM, stream, &wire::messages(&mut random)));
        }
        wire::send(address, &bytes).await
    })
    .await;
}

/// What is cheap to send and dear to answer.
async fn floods(address: SocketAddr) {
    // Calls that are taken back at once (CVE-2023-44487).
    many(2, async |_| {
        let mut bytes = wire::opening(&[]);
        for call in 0..2_000 {
            bytes.extend(wire::call(1 + 2 * call, GET, &[]));
            bytes.extend(wire::frame(RESET, 0, 1 + 2 * call, &8_u32.to_be_bytes()));
        }
        wire::send(address, &bytes).await
    })
    .await;
    // Calls that the server has to reset, since they break the protocol (CVE-2025-8671).
    many(2, async |_| {
        let mut bytes = wire::opening(&[]);
        for call in 0..2_000 {
            bytes.extend(wire::call(1 + 2 * call, GET, &[]));
            bytes.extend(wire::frame(8, 0, 1 + 2 * call, &0_u32.to_be_bytes()));
        }
        wire::send(address, &bytes).await
    })
    .await;
    // Headers without an end (CVE-2024-27316).
    let closed = many(2, async |_| {
        let mut bytes = [wire::opening(&[]), wire::frame(HEADERS, 0, 1, &wire::fields(&[("a", "b")]))].concat();
        let more = wire::frame(CONTINUATION, 0, 1, &wire::fields(&[("x", &"y".repeat(120))]).repeat(8));
        bytes.extend(more.repeat(2_000));
        wire::closes(address, &bytes).await
    })
    .await;
    assert_eq!(closed, 2, "headers without an end are read for ever");
    // Headers that are too large, and too many of them.
    many(20, async |_| {
        let large = wire::fields(&[("x", &"y".repeat(120))]).repeat(120);
        let block = [wire::fields(&[(":method", "POST"), (":scheme", "http"), (":path", GET)]), large].concat();
        let mut bytes = wire::opening(&[]);
        for call in 0..20 {
            bytes.extend(wire::frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * call, &block));
        }
        wire::send(address, &bytes).await
    })
    .await;
    // Settings and pings, each of which must be answered, to somebody who does not read.
    for one in [wire::frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0]), wire::frame(PING, 0, 0, &[7; 8])] {
        many(2, async |_| {
            wire::send_blindly(address, &[wire::opening(&[]), one.repeat(10_000)].concat()).await;
            true
        })
        .await;
    }
    // Sixteen MiB in sixteen KiB.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 16 * 1024 * 1024]).unwrap();
    let bomb = bomb.finish().unwrap();
    let message = [&[1], u32::try_from(bomb.len()).unwrap().to_be_bytes().as_slice(), &bomb].concat();
    many(20, async |_| {
        let mut bytes = [wire::opening(&[]), wire::call(1, LIST, &[("grpc-encoding", "gzip")])].concat();
        let mut parts = message.chunks(16 * 1024).peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_STREAM } else { 0 };
            bytes.extend(wire::frame(DATA, flags, 1, part));
        }
        wire::send(address, &bytes).await
    })
    .await;
}

/// Those who take a place and keep it.
async fn hoarders(address: SocketAddr) {
    // Windows that never open: watches and answers that nobody takes.
    many(4, async |_| {
        let mut bytes = wire::opening(&[(4, 0)]);
        for call in 0..100 {
            let path = if call % 2 == 0 { WATCH } else { LIST };
            bytes.extend(wire::call(1 + 2 * call, path, &[]));
            bytes.extend(wire::frame(DATA, END_STREAM, 1 + 2 * call, &[0; 5]));
        }
        wire::send(address, &bytes).await
    })
    .await;
    // Connections that do not say what they want.
    let beginnings: [&[u8]; 4] = [b"", &wire::PREFACE[..20], b"G", b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: "];
    let stalling = (0..60).map(|time| wire::stall(address, beginnings[time % 4]));
    let closed = futures_util::future::join_all(stalling).await;
    let open = closed.iter().enumerate().filter(|(_, closed)| !**closed).map(|(time, _)| time % 4);
    let open = open.collect::<std::collections::BTreeSet<_>>();
    assert!(open.is_empty(), "connections that began like {open:?} and said no more were kept");
}
