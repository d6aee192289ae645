//! The process that is attacked, and what is looked at meanwhile and afterwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use portreeve_api::clients::{self, Acting};
use portreeve_api::referral::v1::ListOrganisationsRequest;
use portreeve_tests::process::{Process, free_address};
use portreeve_tests::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// What a second round of the same attack may add to the process's memory. Its allocator gives memory back to the system
/// late and in pieces, which moves the figure by some MiB from one look to the next; what one connection of the thousands
/// leaves behind, if it leaves as little as 16 KiB, adds twice this.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The streams within the suite: the decision service follows one other, the reporting service two.
const FOLLOWERS: f64 = 3.0;

pub(crate) struct Victim {
    process: Process,
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
    honest: Option<(JoinHandle<()>, Arc<AtomicBool>, Arc<AtomicUsize>)>,
}

impl Victim {
    /// Starts the binary with these settings.
    pub(crate) async fn start(environment: &[(&str, String)], folder: &std::path::Path) -> Self {
        let metrics = free_address().unwrap();
        let own = [
            ("PORTREEVE_LISTEN", "127.0.0.1:0".to_owned()),
            ("PORTREEVE_METRICS_LISTEN", metrics.to_string()),
            ("PORTREEVE_LOG", "warn".to_owned()),
            ("RUST_BACKTRACE", "1".to_owned()),
        ];
        let environment = own.into_iter().chain(environment.iter().cloned());
        let mut process = Process::start(["serve"], environment, folder).unwrap();
        let address = process.listens().await.unwrap();
        let victim = Self { process, address, metrics, honest: None };
        victim.rests().await;
        victim
    }

    /// Waits until no call is under way but those of the services to each other.
    async fn rests(&self) {
        within(60, "rest", async {
            while (self.metric("portreeve_calls_under_way").await - FOLLOWERS).abs() > 0.5 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }

    /// Has an honest caller call all the time, who must be answered each time.
    pub(crate) fn keep_calling(&mut self, channel: Channel) {
        let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, count) = (Arc::clone(&over), Arc::clone(&calls));
        let caller = tokio::spawn(async move {
            let mut organisations = clients::organisation(channel, Acting::new("operators/op").unwrap());
            while !until.load(Ordering::SeqCst) {
                let asked = organisations.list_organisations(ListOrganisationsRequest::default());
                let answer = within(20, "an honest call", asked).await;
                assert!(answer.is_ok(), "an honest caller was refused: {answer:?}");
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        self.honest = Some((caller, over, calls));
    }

    /// The metrics, each with its labels.
    pub(crate) async fn metrics(&self) -> Vec<(String, f64)> {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with("portreeve_"));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.into(), value.parse().unwrap()))
            .collect()
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let of = |full: &str| full.split('{').next() == Some(name);
        self.metrics().await.iter().filter(|(full, _)| of(full)).map(|(_, value)| value).sum()
    }

    /// Bytes of memory that the process holds.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Attacks twice, in the same way: what the first round leaves behind is what a working server needs, what the second
    /// adds is a leak. Connections and places must be given back after each.
    pub(crate) async fn endure(&mut self, mut round: impl AsyncFnMut(SocketAddr, u64)) {
        let mut held = Vec::new();
        for seed in 0..2 {
            round(self.address, seed).await;
            // Nothing is left but the connection of the honest caller.
            within(60, "the end of every hostile connection", async {
                while self.metric("portreeve_connections").await > 1.0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
            .await;
            held.push(self.memory());
        }
        let (first, second) = (held[0], held[1]);
        eprintln!("memory after each round: {} and {} KiB", first / 1024, second / 1024);
        assert!(second < first + GROWTH_BYTES_MAX, "memory grew from {first} to {second} bytes");

        let (caller, over, calls) = self.honest.take().unwrap();
        assert!(!caller.is_finished(), "the honest caller gave up: {:?}", caller.await);
        over.store(true, Ordering::SeqCst);
        caller.await.unwrap();
        let calls = calls.load(Ordering::SeqCst);
        assert!(calls > 20, "an honest caller was answered only {calls} times meanwhile");
        self.rests().await;
        let said = self.process.said();
        let faults = self.metrics().await.into_iter().filter(|(name, _)| name.contains("code=\"INTERNAL\""));
        let told = said.lines().filter(|line| line.contains("fault")).take(5).collect::<Vec<_>>();
        assert_eq!(faults.collect::<Vec<_>>(), [], "calls ended with a fault of the server's: {told:#?}");
        assert!(!said.contains("panicked") && !said.contains("a panic"), "{said}");
        self.process.terminate().unwrap();
        assert!(within(60, "its end", self.process.ended()).await.unwrap().success());
    }
}
