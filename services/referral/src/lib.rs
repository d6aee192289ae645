//! The referral service: organisations, and what agencies refer to platforms.

mod addresses;
mod clearing;
pub mod domain;
mod evidence;
mod retention;
pub mod rpc;
pub mod store;
mod sweeper;

use std::sync::Arc;
use std::time::Duration;

use portreeve_api::referral::v1::address_rule_service_server::AddressRuleServiceServer;
use portreeve_api::referral::v1::agreement_service_server::AgreementServiceServer;
use portreeve_api::referral::v1::authorisation_service_server::AuthorisationServiceServer;
use portreeve_api::referral::v1::deconfliction_service_server::DeconflictionServiceServer;
use portreeve_api::referral::v1::draft_service_server::DraftServiceServer;
use portreeve_api::referral::v1::evidence_service_server::EvidenceServiceServer;
use portreeve_api::referral::v1::legal_basis_service_server::LegalBasisServiceServer;
use portreeve_api::referral::v1::measure_service_server::MeasureServiceServer;
use portreeve_api::referral::v1::observation_service_server::ObservationServiceServer;
use portreeve_api::referral::v1::operation_service_server::OperationServiceServer;
use portreeve_api::referral::v1::organisation_service_server::OrganisationServiceServer;
use portreeve_api::referral::v1::pre_notice_service_server::PreNoticeServiceServer;
use portreeve_api::referral::v1::referral_service_server::ReferralServiceServer;
use portreeve_api::referral::v1::retention_service_server::RetentionServiceServer;
use portreeve_api::referral::v1::review_flag_service_server::ReviewFlagServiceServer;
use portreeve_api::referral::v1::signing_service_server::SigningServiceServer;
use portreeve_consultation as consultation;
use portreeve_core::consultation::Policy;
use portreeve_core::interest::MatchingKey;
use portreeve_core::{Clock, IdSource, Result, limits};
use portreeve_runtime::watch;
use portreeve_storage::{Database, EventLog, Objects, Parts, Place, Writer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use domain::Ledger;
use rpc::Rpc;
use store::Reads;

/// How the service behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Facts older than this many days are taken from the import role only.
    pub backdating_days_max: u32,
    /// How streams behave.
    pub watch: watch::Settings,
    /// Whether callers must say why they read.
    pub justification: Policy,
    /// How often what is past its time is erased, and what is addressed by older rules looked at; `None` for never, as where the data is opened without serving it.
    pub sweep_every: Option<Duration>,
    /// Where the bytes of evidence are kept; `None` to take none.
    pub evidence: Option<Place>,
    /// With what targets are matched that agencies have an interest in; `None` to take no interests.
    pub matching_key: Option<MatchingKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backdating_days_max: 30,
            watch: watch::Settings::default(),
            justification: Policy::default(),
            sweep_every: Some(Duration::from_mins(1)),
            evidence: None,
            matching_key: None,
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
    sweeper: Option<JoinHandle<()>>,
}

impl Service {
    /// Opens the store and starts the writer.
    pub async fn open(
        database: &Database,
        settings: Settings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Result<Self> {
        let objects = settings.evidence.as_ref().map(Objects::open).transpose()?;
        let (parts, writer_task) = store::open(database, Arc::clone(&clock), Arc::clone(&ids)).await?;
        let policy = settings.justification;
        let access =
            consultation::Service::open(database, store::ACCESS, policy, Arc::clone(&clock), Arc::clone(&ids)).await?;
        let sweeping = CancellationToken::new();
        let sweep = |every| {
            tokio::spawn(sweeper::run(parts.clone(), objects.clone(), Arc::clone(&clock), every, sweeping.clone()))
        };
        let sweeper = settings.sweep_every.map(sweep);
        let rpc = Arc::new(Rpc {
            parts: parts.clone(),
            access: Arc::clone(access.access()),
            settings,
            clock,
            ids,
            objects,
            uploads: rpc::evidence::Uploads::default(),
        });
        Ok(Self { parts, rpc, access, writer_task, sweeping, sweeper })
    }

    /// Adds the service's servers to one that is being built.
    pub fn routes(&self, server: &mut portreeve_runtime::server::Builder) {
        server.add(self.referrals());
        server.add(self.organisations());
        server.add(self.signing());
        server.add(self.agreements());
        server.add(self.measures());
        server.add(self.review_flags());
        server.add(self.observations());
        server.add(self.pre_notices());
        server.add(self.retention());
        server.add(self.authorisation());
        server.add(self.drafts());
        server.add(self.legal_bases());
        server.add(self.evidence());
        server.add(self.address_rules());
        server.add(self.deconfliction());
        server.add(self.operations());
    }

    /// The server of `ReferralService`.
    pub fn referrals(&self) -> ReferralServiceServer<Rpc> {
        ReferralServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `OrganisationService`.
    pub fn organisations(&self) -> OrganisationServiceServer<Rpc> {
        OrganisationServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `SigningService`.
    pub fn signing(&self) -> SigningServiceServer<Rpc> {
        SigningServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `AgreementService`.
    pub fn agreements(&self) -> AgreementServiceServer<Rpc> {
        AgreementServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `RetentionService`.
    pub fn retention(&self) -> RetentionServiceServer<Rpc> {
        RetentionServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `OperationService`.
    pub fn operations(&self) -> OperationServiceServer<Rpc> {
        OperationServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `MeasureService`.
    pub fn measures(&self) -> MeasureServiceServer<Rpc> {
        MeasureServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `ReviewFlagService`.
    pub fn review_flags(&self) -> ReviewFlagServiceServer<Rpc> {
        ReviewFlagServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `ObservationService`.
    pub fn observations(&self) -> ObservationServiceServer<Rpc> {
        ObservationServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `PreNoticeService`.
    pub fn pre_notices(&self) -> PreNoticeServiceServer<Rpc> {
        PreNoticeServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `AuthorisationService`.
    pub fn authorisation(&self) -> AuthorisationServiceServer<Rpc> {
        AuthorisationServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `DraftService`.
    pub fn drafts(&self) -> DraftServiceServer<Rpc> {
        DraftServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `EvidenceService`.
    pub fn evidence(&self) -> EvidenceServiceServer<Rpc> {
        EvidenceServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `LegalBasisService`.
    pub fn legal_bases(&self) -> LegalBasisServiceServer<Rpc> {
        LegalBasisServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `AddressRuleService`.
    pub fn address_rules(&self) -> AddressRuleServiceServer<Rpc> {
        AddressRuleServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    /// The server of `DeconflictionService`.
    pub fn deconfliction(&self) -> DeconflictionServiceServer<Rpc> {
        DeconflictionServiceServer::from_arc(Arc::clone(&self.rpc))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
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
        // It holds the store open.
        if let Some(sweeper) = self.sweeper
            && sweeper.await.is_err()
        {
            tracing::error!("the sweeper ended abnormally");
        }
        self.parts.writer.stop();
        if self.writer_task.await.is_err() {
            tracing::error!("the referral writer ended abnormally");
        }
        self.access.stop().await;
    }
}
