//! The reporting service: figures that can be defended, from one bitemporal cube.

pub mod domain;
pub mod page;
pub mod recount;
pub mod rpc;
pub mod store;

use std::sync::Arc;

use portreeve_api::reporting::v1::grant_service_server::GrantServiceServer;
use portreeve_api::reporting::v1::publication_service_server::PublicationServiceServer;
use portreeve_api::reporting::v1::reporting_service_server::ReportingServiceServer;
use portreeve_consultation as consultation;
use portreeve_core::consultation::Policy;
use portreeve_core::{Clock, IdSource, Principal, Result, limits};
use portreeve_runtime::{follow, watch};
use portreeve_storage::{Database, EventLog, Parts, Writer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use domain::Ledger;
use rpc::Rpc;
use rpc::follow::{Cases, Referrals};
use store::{Reads, SERVICE};

/// How the service behaves.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How streams behave.
    pub watch: watch::Settings,
    /// Whether callers must say why they read.
    pub justification: Policy,
}

/// The service with its store open.
pub struct Service {
    parts: Parts<Ledger, dyn Reads>,
    rpc: Arc<Rpc>,
    access: consultation::Service,
    writer_task: JoinHandle<()>,
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
        let rpc = Arc::new(Rpc { parts: parts.clone(), access: Arc::clone(access.access()), settings, clock, ids });
        Ok(Self { parts, rpc, access, writer_task })
    }

    /// The server of `ReportingService`.
    pub fn reports(&self) -> ReportingServiceServer<Rpc> {
        ReportingServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `GrantService`.
    pub fn grants(&self) -> GrantServiceServer<Rpc> {
        GrantServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `PublicationService`.
    pub fn publications(&self) -> PublicationServiceServer<Rpc> {
        PublicationServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The page, for plain HTTP on the server's port.
    pub fn page(&self) -> axum::Router {
        page::routes(Arc::clone(&self.rpc.clock))
    }

    /// Follows the referral and the decision log, over their public streams, until stopped.
    ///
    /// The future owns what it needs, so that it can be spawned. Fails only if the service cannot name itself.
    pub fn follow(
        &self,
        referral: Channel,
        decision: Channel,
        stop: CancellationToken,
    ) -> Result<impl Future<Output = ()> + Send + 'static> {
        let principal = Principal::service(SERVICE)?;
        let Parts { writer, log, .. } = self.parts.clone();
        let referrals = Referrals::new(referral);
        let cases = Cases::new(decision, Arc::clone(&log));
        Ok(async move {
            tokio::join!(
                follow::follow(referrals, writer.clone(), Arc::clone(&log), principal.clone(), stop.clone()),
                follow::follow(cases, writer.clone(), Arc::clone(&log), principal.clone(), stop.clone()),
            );
        })
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

    /// Takes no more of other logs in, and returns when all that had queued is committed.
    pub async fn stop(self) {
        self.parts.writer.stop();
        if self.writer_task.await.is_err() {
            tracing::error!("the reporting writer ended abnormally");
        }
        self.access.stop().await;
    }
}
