//! The decision service: the cases that referrals open with platforms, what platforms decide, and the clauses on which
//! they rest it.

pub mod domain;
mod replay;
pub mod rpc;
pub mod store;
mod ticking;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portreeve_api::decision::v1::challenge_service_server::ChallengeServiceServer;
use portreeve_api::decision::v1::clock_service_server::ClockServiceServer;
use portreeve_api::decision::v1::decision_service_server::DecisionServiceServer;
use portreeve_api::decision::v1::inbox_service_server::InboxServiceServer;
use portreeve_api::decision::v1::policy_service_server::PolicyServiceServer;
use portreeve_api::decision::v1::stay_service_server::StayServiceServer;
use portreeve_consultation as consultation;
use portreeve_core::consultation::Policy;
use portreeve_core::{Clock, IdSource, Principal, Result, limits};
use portreeve_runtime::{follow, watch};
use portreeve_storage::{Database, EventLog, Parts, Writer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use domain::Ledger;
use rpc::Rpc;
use rpc::follow::{Channel, Referrals};
use store::{Reads, SERVICE};

/// Every statement of the service with its name, as the database's engine has it, for preparing them in a test.
pub fn statements(database: &Database) -> Vec<(&'static str, String)> {
    match database {
        Database::Sqlite { .. } => store::sqlite::sql::statements(),
        Database::Postgres { .. } => store::postgres::sql::statements(),
    }
}

/// How the service behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Facts older than this many days are taken from the import role only.
    pub backdating_days_max: u32,
    /// How streams behave.
    pub watch: watch::Settings,
    /// Whether callers must say why they read.
    pub justification: Policy,
    /// How often the service looks for candidates for replay and for clocks that are due, though nothing has happened that it knows of;
    /// `None` for never, as where its data is opened without serving it.
    pub sweep_every: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backdating_days_max: 30,
            watch: watch::Settings::default(),
            justification: Policy::default(),
            sweep_every: Some(Duration::from_mins(1)),
        }
    }
}

/// The service with its store open.
pub struct Service {
    parts: Parts<Ledger, dyn Reads>,
    rpc: Arc<Rpc>,
    access: consultation::Service,
    writer_task: JoinHandle<()>,
    sweeping: CancellationToken,
    sweepers: Vec<JoinHandle<()>>,
}

impl Service {
    /// Opens the store and starts the writer.
    pub async fn open(
        database: &Database,
        settings: Settings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Result<Self> {
        let (parts, writer_task) = store::open(database, Arc::clone(&clock), Arc::clone(&ids)).await?;
        let policy = settings.justification;
        let access =
            consultation::Service::open(database, store::ACCESS, policy, Arc::clone(&clock), Arc::clone(&ids)).await?;
        let (state, _) = parts.log.standing().await?;
        let sweeping = CancellationToken::new();
        let version_added = Arc::new(Notify::new());
        let sweeper = replay::Sweeper { parts: parts.clone(), clock: Arc::clone(&clock), settled: HashMap::new() };
        let ticker = ticking::Ticker { parts: parts.clone(), clock: Arc::clone(&clock) };
        let sweepers = settings.sweep_every.map(|every| {
            let swept = sweeper.run(every, Arc::clone(&version_added), sweeping.clone());
            vec![tokio::spawn(swept), tokio::spawn(ticker.run(every, sweeping.clone()))]
        });
        let rpc = Arc::new(Rpc {
            parts: parts.clone(),
            access: Arc::clone(access.access()),
            settings,
            clock,
            epoch: state.epoch,
            version_added,
        });
        Ok(Self { parts, rpc, access, writer_task, sweeping, sweepers: sweepers.unwrap_or_default() })
    }

    /// The server of `DecisionService`.
    pub fn decisions(&self) -> DecisionServiceServer<Rpc> {
        DecisionServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `PolicyService`.
    pub fn policies(&self) -> PolicyServiceServer<Rpc> {
        PolicyServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `ChallengeService`.
    pub fn challenges(&self) -> ChallengeServiceServer<Rpc> {
        ChallengeServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `StayService`.
    pub fn stays(&self) -> StayServiceServer<Rpc> {
        StayServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `ClockService`.
    pub fn clocks(&self) -> ClockServiceServer<Rpc> {
        ClockServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `InboxService`.
    pub fn inbox(&self) -> InboxServiceServer<Rpc> {
        InboxServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// Follows the referral service behind a connection until stopped. What it told becomes cases here.
    pub async fn follow(&self, referrals: Channel, stop: CancellationToken) -> Result<()> {
        let (writer, log) = (self.parts.writer.clone(), Arc::clone(&self.parts.log));
        follow::follow(Referrals::new(referrals)?, writer, log, Principal::service(SERVICE)?, stop).await;
        Ok(())
    }

    /// The writer.
    pub fn writer(&self) -> &Writer<Ledger> {
        &self.parts.writer
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.parts.log
    }

    /// The access log.
    pub fn access(&self) -> &Arc<consultation::Access> {
        self.access.access()
    }

    /// The reads, and what an operator does to the store.
    pub fn reads(&self) -> &Arc<dyn Reads> {
        &self.parts.reads
    }

    /// Takes no more writes, and returns when all that had queued is committed and answered.
    pub async fn stop(self) {
        self.sweeping.cancel();
        // They hold the store open.
        for sweeper in self.sweepers {
            if sweeper.await.is_err() {
                tracing::error!("a sweeper of cases ended abnormally");
            }
        }
        self.parts.writer.stop();
        if self.writer_task.await.is_err() {
            tracing::error!("the decision writer ended abnormally");
        }
        self.access.stop().await;
    }
}
