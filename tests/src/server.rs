//! Servers of the suite, put together as the binary does it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portreeve_consultation::{Access, Consultations};
use portreeve_core::audit::SigningKey;
use portreeve_core::consultation::Policy;
use portreeve_core::id::RandomIds;
use portreeve_core::interest::MatchingKey;
use portreeve_core::time::SystemClock;
use portreeve_core::{Clock, IdSource};
use portreeve_runtime::audit::{Audit, Subject};
use portreeve_runtime::lifecycle::{Ended, Lifecycle};
use portreeve_runtime::server::Builder;
use portreeve_runtime::{channel, watch};
use portreeve_storage::{Database, EventLog, LogState, Place};
use tokio::runtime::Runtime;

use crate::Client;

/// A service of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Organisations and referrals.
    Referral,
    /// Cases, decisions and policies.
    Decision,
    /// Reports.
    Reporting,
}

impl Part {
    /// All of them, each after those that it follows.
    pub const ALL: [Self; 3] = [Self::Referral, Self::Decision, Self::Reporting];
}

/// How a server is started.
#[derive(Clone)]
pub struct Options {
    /// The services that it offers.
    pub parts: Vec<Part>,
    /// Where the referral service is, if it is not one of the parts.
    pub referral_url: String,
    /// Where the decision service is, if it is not one of the parts.
    pub decision_url: String,
    /// The server's clock.
    pub clock: Arc<dyn Clock>,
    /// How long an idle stream waits before it sends a checkpoint.
    pub checkpoint_interval: Duration,
    /// Facts older than this many days are taken from the import role only.
    pub backdating_days_max: u32,
    /// What the key that signs checkpoints is made from, if there is one.
    pub audit_seed: Option<[u8; 32]>,
    /// Whether callers must say why they read.
    pub justification: Policy,
    /// Whether there is a store for the bytes of evidence.
    pub evidence: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parts: Part::ALL.to_vec(),
            referral_url: String::new(),
            decision_url: String::new(),
            clock: Arc::new(SystemClock),
            checkpoint_interval: Duration::from_millis(50),
            backdating_days_max: 30,
            audit_seed: Some([7; 32]),
            justification: Policy::Optional,
            evidence: true,
        }
    }
}

impl Options {
    /// One service alone.
    pub fn only(part: Part) -> Self {
        Self { parts: vec![part], ..Self::default() }
    }

    /// The same with a clock of the test's.
    #[must_use]
    pub fn clock(self, clock: &Arc<crate::ManualClock>) -> Self {
        Self { clock: Arc::clone(clock) as _, ..self }
    }
}

/// What a test may ask of an open store behind the server's back.
#[derive(Clone)]
pub struct Store {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The access log.
    pub access: Arc<Access>,
    upkeep: Arc<dyn Upkeep>,
}

#[async_trait::async_trait]
trait Upkeep: Send + Sync {
    async fn rebuild(&self) -> portreeve_core::Result<i64>;
    async fn compact(&self, through: i64) -> portreeve_core::Result<i64>;
    async fn dump(&self) -> portreeve_core::Result<Vec<String>>;
}

macro_rules! upkeep {
    ($($name:ident of $krate:ident),*) => {$(
        struct $name(Arc<dyn $krate::store::Reads>);

        #[async_trait::async_trait]
        impl Upkeep for $name {
            async fn rebuild(&self) -> portreeve_core::Result<i64> {
                self.0.rebuild().await
            }
            async fn compact(&self, through: i64) -> portreeve_core::Result<i64> {
                self.0.compact(through).await
            }
            async fn dump(&self) -> portreeve_core::Result<Vec<String>> {
                self.0.dump().await
            }
        }
    )*};
}

upkeep!(OfReferral of portreeve_referral, OfDecision of portreeve_decision, OfReporting of portreeve_reporting);

/// The folder with the bytes of evidence: beside SQLite's files, as the binary has it; of Postgres one that goes with the
/// fixture.
pub fn evidence_of(database: &Database) -> PathBuf {
    match database {
        Database::Sqlite { folder } => folder.join("evidence"),
        Database::Postgres { url } => std::env::temp_dir().join(url.rsplit('/').next().unwrap()).join("evidence"),
    }
}

/// A server that is up.
pub struct Server {
    address: SocketAddr,
    life: Lifecycle,
    stores: Vec<(Part, Store)>,
    runtime: Option<Runtime>,
}

impl Server {
    /// The whole suite, with the machine's clock.
    pub async fn suite(database: &Database) -> Self {
        Self::start(database, Options::default()).await
    }

    /// The whole suite, with a clock that stands at an instant.
    pub async fn suite_at(database: &Database, now: &str) -> (Self, Arc<crate::ManualClock>) {
        let clock = Arc::new(crate::ManualClock::at(now.parse().expect("a time")));
        (Self::start(database, Options::default().clock(&clock)).await, clock)
    }

    /// A server on a port of the system's choice.
    pub async fn start(database: &Database, options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let database = database.clone();
        let started = runtime.spawn(async move { start(&database, options).await }).await;
        let (address, life, stores) = started.expect("the server starts");
        Self { address, life, stores, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that acts for an organisation over a connection of its own.
    pub fn client(&self, organisation: &str) -> Client {
        Client::new(&self.url(), organisation)
    }

    /// The store of a service.
    pub fn store(&self, part: Part) -> &Store {
        let (_, store) = self.stores.iter().find(|(of, _)| *of == part).expect("the server has that service");
        store
    }

    /// Runs something on the server's own runtime.
    pub async fn on<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().spawn(work).await.unwrap()
    }

    /// Where a service's log stands.
    pub async fn standing(&self, part: Part) -> LogState {
        let log = Arc::clone(&self.store(part).log);
        self.on(async move { log.standing().await.unwrap().0 }).await
    }

    /// The number of the newest event of a service.
    pub async fn head(&self, part: Part) -> i64 {
        self.standing(part).await.head
    }

    /// Every row of a service's state, as text.
    pub async fn dump(&self, part: Part) -> Vec<String> {
        let store = self.store(part).clone();
        self.on(async move { store.upkeep.dump().await.unwrap() }).await
    }

    /// Rebuilds a service's state from its log; gives the number of events.
    pub async fn rebuild(&self, part: Part) -> i64 {
        let store = self.store(part).clone();
        self.on(async move { store.upkeep.rebuild().await.unwrap() }).await
    }

    /// Builds the state of services again from their logs, and finds every row as it was. What the service commits of itself meanwhile
    /// begins it anew: that changes rows, too.
    pub async fn rebuilds(&self, parts: &[Part]) {
        for part in parts.iter().copied() {
            loop {
                let (head, before) = (self.head(part).await, self.dump(part).await);
                self.rebuild(part).await;
                let after = self.dump(part).await;
                if self.head(part).await == head {
                    assert_eq!(after, before, "{part:?}: built again from the log, nothing changes");
                    break;
                }
            }
        }
    }

    /// Raises a service's compaction floor; gives it.
    pub async fn compact(&self, part: Part, through: i64) -> i64 {
        let store = self.store(part).clone();
        self.on(async move { store.upkeep.compact(through).await.unwrap() }).await
    }

    /// Ends as after a signal: nothing new is taken, what is under way finishes. The data can be opened again after it.
    pub async fn stop(self) {
        assert_eq!(self.stop_within(Duration::from_secs(10)).await, Ended::Orderly);
    }

    /// The same, but what is still under way after this time is cut, such as the stream of a reader that does not read.
    pub async fn stop_within(mut self, patience: Duration) -> Ended {
        let life = self.life.clone();
        life.drain();
        let ended = self.on(async move { life.run(futures_util::stream::pending(), patience).await }).await;
        self.end(Duration::from_secs(10)).await;
        assert!(matches!(ended, Ended::Orderly | Ended::Cut), "the server ended with {ended:?}");
        ended
    }

    /// Ends as after a crash: everything under way is dropped where it stands. The data can be opened again after it.
    pub async fn kill(mut self) {
        self.end(Duration::from_secs(10)).await;
    }

    async fn end(&mut self, patience: Duration) {
        let runtime = self.runtime.take().unwrap();
        self.stores.clear();
        // Waits until the runtime's threads have dropped every task.
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(patience)).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.stores.clear();
            runtime.shutdown_background();
        }
    }
}

/// As the binary's `serve` does it, with a clock of the caller's.
async fn start(database: &Database, options: Options) -> (SocketAddr, Lifecycle, Vec<(Part, Store)>) {
    let life = Lifecycle::new();
    let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
    let clock = &options.clock;
    let watch = watch::Settings {
        checkpoint_interval: options.checkpoint_interval,
        drain: life.soft(),
        clock: Arc::clone(clock),
    };
    let (backdating_days_max, justification) = (options.backdating_days_max, options.justification);
    let mut server = Builder::new(life.clone(), Arc::clone(clock), Arc::clone(&ids));
    let offers = |part| options.parts.contains(&part);
    let local = server.local_channel();
    let to = |part, url: &str| if offers(part) { local.clone() } else { channel::connect(url, None).unwrap() };
    let mut stores = Vec::new();
    let mut audit = Audit::new(options.audit_seed.map(SigningKey::from_seed));
    if offers(Part::Referral) {
        let sweep_every = Some(Duration::from_millis(100));
        let evidence = options.evidence.then(|| Place::Folder(evidence_of(database)));
        let watch = watch.clone();
        let settings = portreeve_referral::Settings {
            backdating_days_max,
            watch,
            justification,
            sweep_every,
            evidence,
            matching_key: Some(MatchingKey::new([7; 32])),
        };
        let service =
            portreeve_referral::Service::open(database, settings, Arc::clone(clock), Arc::clone(&ids)).await.unwrap();
        service.routes(&mut server);
        let upkeep = Arc::new(OfReferral(Arc::clone(service.reads())));
        stores.push((
            Part::Referral,
            Store { log: Arc::clone(service.log()), access: Arc::clone(service.access()), upkeep },
        ));
        stop_when_quiet(&life, "the referral writer", async move { service.stop().await });
    }
    if offers(Part::Decision) {
        let sweep_every = Some(Duration::from_millis(100));
        let settings =
            portreeve_decision::Settings { backdating_days_max, watch: watch.clone(), justification, sweep_every };
        let service =
            portreeve_decision::Service::open(database, settings, Arc::clone(clock), Arc::clone(&ids)).await.unwrap();
        server.add(service.decisions()).add(service.policies()).add(service.challenges());
        server.add(service.stays()).add(service.clocks()).add(service.inbox());
        let upkeep = Arc::new(OfDecision(Arc::clone(service.reads())));
        stores.push((
            Part::Decision,
            Store { log: Arc::clone(service.log()), access: Arc::clone(service.access()), upkeep },
        ));
        let referral = to(Part::Referral, &options.referral_url);
        let (soft, quiet) = (life.soft(), life.quiet());
        life.spawn("the decision follower", async move {
            service.follow(referral, soft).await?;
            quiet.cancelled().await;
            service.stop().await;
            Ok::<_, portreeve_core::Error>(())
        });
    }
    if offers(Part::Reporting) {
        let settings = portreeve_reporting::Settings { watch, justification };
        let service = portreeve_reporting::Service::open(database, settings, Arc::clone(clock), ids).await.unwrap();
        server.add(service.reports()).add(service.grants()).add(service.publications()).http(service.page());
        let upkeep = Arc::new(OfReporting(Arc::clone(service.reads())));
        stores.push((
            Part::Reporting,
            Store { log: Arc::clone(service.log()), access: Arc::clone(service.access()), upkeep },
        ));
        let (referral, decision) =
            (to(Part::Referral, &options.referral_url), to(Part::Decision, &options.decision_url));
        let follow = service.follow(referral, decision, life.soft()).unwrap();
        spawn(&life, "the reporting follower", follow);
        stop_when_quiet(&life, "the reporting writer", async move { service.stop().await });
    }
    let mut consultations = Consultations::default();
    for (part, store) in &stores {
        let subject = match part {
            Part::Referral => Subject::Dealings {
                graded: portreeve_referral::rpc::convert::is_graded,
                private: portreeve_referral::rpc::convert::is_private,
            },
            Part::Decision => {
                Subject::Dealings { graded: portreeve_decision::rpc::convert::is_graded, private: |_| false }
            }
            Part::Reporting => Subject::Figures,
        };
        audit.add(subject, &store.log, Arc::clone(&store.access) as _);
        audit.add(Subject::Readings, store.access.log(), Arc::clone(&store.access) as _);
        consultations.add(Arc::clone(&store.access));
    }
    server.add(audit.server()).add(consultations.server());
    let running = server.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    (running.local_addr(), life, stores)
}

fn spawn(life: &Lifecycle, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    life.spawn(name, async move {
        task.await;
        Ok::<_, Infallible>(())
    });
}

fn stop_when_quiet(life: &Lifecycle, name: &'static str, stop: impl Future<Output = ()> + Send + 'static) {
    let quiet = life.quiet();
    spawn(life, name, async move {
        quiet.cancelled().await;
        stop.await;
    });
}
