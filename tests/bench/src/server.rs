//! The two servers: the suite's, as it is in production, and a bare one. Both over TCP on loopback, in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portreeve_api::clients::{self, Acting, ReferralClient};
use portreeve_api::referral::v1::referral_service_server::{ReferralService, ReferralServiceServer};
use portreeve_api::referral::v1::{self as wire, Organisation, OrganisationKind};
use portreeve_core::id::RandomIds;
use portreeve_core::interest::MatchingKey;
use portreeve_core::time::SystemClock;
use portreeve_core::{Clock, IdSource};
use portreeve_runtime::layers::admission::Limits;
use portreeve_runtime::lifecycle::Lifecycle;
use portreeve_runtime::server::Builder;
use portreeve_storage::{Database, EventLog};
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::drafts::{self, AGENCY, PLATFORMS};

/// How long a server may take to end.
const END: Duration = Duration::from_secs(10);

/// A server of the suite.
pub(crate) struct Suite {
    address: SocketAddr,
    life: Lifecycle,
    referral: portreeve_referral::Service,
    reporting: Option<portreeve_reporting::Service>,
}

impl Suite {
    /// The referral service alone.
    pub(crate) async fn referral(database: &Database) -> Result<Self> {
        Self::start(database, false).await
    }

    /// The referral service, and the reporting service that follows it.
    pub(crate) async fn with_reporting(database: &Database) -> Result<Self> {
        Self::start(database, true).await
    }

    async fn start(database: &Database, with_reporting: bool) -> Result<Self> {
        let life = Lifecycle::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
        let matching_key = Some(MatchingKey::new([7; 32]));
        let settings = portreeve_referral::Settings { matching_key, ..portreeve_referral::Settings::default() };
        let referral =
            portreeve_referral::Service::open(database, settings, Arc::clone(&clock), Arc::clone(&ids)).await?;
        // The load comes from one agency, far faster than one is let call in earnest.
        let limits =
            Limits { organisation_calls_per_second: u32::MAX, organisation_calls_burst: u32::MAX, ..Limits::default() };
        let mut builder = Builder::new(life.clone(), Arc::clone(&clock), Arc::clone(&ids)).limits(limits);
        referral.routes(&mut builder);
        let mut reporting = None;
        if with_reporting {
            let settings = portreeve_reporting::Settings::default();
            let service = portreeve_reporting::Service::open(database, settings, clock, ids).await?;
            builder.add(service.reports());
            let channel = builder.local_channel();
            tokio::spawn(service.follow(channel.clone(), channel, life.soft())?);
            reporting = Some(service);
        }
        let running = builder.start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let suite = Self { address: running.local_addr(), life, referral, reporting };
        register(&suite.channel().await?).await?;
        Ok(suite)
    }

    /// A connection to it.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        connect(self.address).await
    }

    /// The referral service's log.
    pub(crate) fn log(&self) -> &dyn EventLog {
        self.referral.log().as_ref()
    }

    /// Ends it, with everything written.
    pub(crate) async fn stop(self) {
        self.life.drain();
        let _ = self.life.run(futures_util::stream::pending(), END).await;
        self.referral.stop().await;
        if let Some(reporting) = self.reporting {
            reporting.stop().await;
        }
    }
}

/// Registers the agency and the platforms that the drafts name.
pub(crate) async fn register(channel: &Channel) -> Result<()> {
    let mut organisations = clients::organisation(channel.clone(), Acting::new("operators/portreeve")?);
    let agency = (AGENCY, OrganisationKind::Agency, Vec::new());
    let platforms = PLATFORMS.map(|(id, host)| (id, OrganisationKind::Platform, vec![host.to_owned()]));
    for (number, (name, kind, hosts)) in (1..).zip(std::iter::once(agency).chain(platforms)) {
        let id = name.rsplit('/').next().unwrap_or_default();
        let organisation =
            Organisation { display_name: id.to_owned(), kind: kind as i32, hosts, ..Organisation::default() };
        let request = wire::CreateOrganisationRequest {
            organisation_id: id.to_owned(),
            organisation: Some(organisation),
            request_id: drafts::request_id(number),
        };
        organisations.create_organisation(request).await.context("cannot register an organisation")?;
    }
    Ok(())
}

/// Registers another agency.
pub(crate) async fn register_agency(channel: &Channel, name: &str) -> Result<()> {
    let mut organisations = clients::organisation(channel.clone(), Acting::new("operators/portreeve")?);
    let id = name.rsplit('/').next().unwrap_or_default().to_owned();
    let kind = OrganisationKind::Agency as i32;
    let request = wire::CreateOrganisationRequest {
        organisation: Some(Organisation { display_name: id.clone(), kind, ..Organisation::default() }),
        organisation_id: id,
        request_id: drafts::request_id(999_999),
    };
    organisations.create_organisation(request).await.context("cannot register an organisation")?;
    Ok(())
}

/// A connection.
pub(crate) async fn connect(address: SocketAddr) -> Result<Channel> {
    clients::endpoint(&format!("http://{address}"))?.connect().await.context("cannot connect")
}

/// A client that acts for the agency.
pub(crate) fn agency(channel: Channel) -> Result<ReferralClient> {
    Ok(clients::referral(channel, Acting::new(AGENCY)?.member("j.doe")?.roles(&["officer", "import"])?))
}

/// A bare server, without any layer, that answers every call at once with the same reply.
pub(crate) struct Echo {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    /// Answers with this reply.
    pub(crate) async fn start(reply: wire::CreateReferralResponse) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let service = ReferralServiceServer::new(Answer(reply));
        let serving = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        let task = tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the echo ended: {error}");
            }
        });
        Ok(Self { address, task })
    }

    /// A connection to it.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        connect(self.address).await
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Answer(wire::CreateReferralResponse);

type Replies<T> = futures_util::stream::Pending<Result<T, Status>>;

#[tonic::async_trait]
impl ReferralService for Answer {
    type ImportReferralsStream = Replies<wire::ImportReferralsResponse>;
    type WatchReferralsStream = Replies<wire::WatchReferralsResponse>;

    async fn create_referral(
        &self,
        _: Request<wire::CreateReferralRequest>,
    ) -> Result<Response<wire::CreateReferralResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_create_referrals(
        &self,
        _: Request<wire::BatchCreateReferralsRequest>,
    ) -> Result<Response<wire::BatchCreateReferralsResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn import_referrals(
        &self,
        _: Request<Streaming<wire::ImportReferralsRequest>>,
    ) -> Result<Response<Self::ImportReferralsStream>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn get_referral(
        &self,
        _: Request<wire::GetReferralRequest>,
    ) -> Result<Response<wire::GetReferralResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn list_referrals(
        &self,
        _: Request<wire::ListReferralsRequest>,
    ) -> Result<Response<wire::ListReferralsResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn withdraw_referral(
        &self,
        _: Request<wire::WithdrawReferralRequest>,
    ) -> Result<Response<wire::WithdrawReferralResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn prioritise_referral(
        &self,
        _: Request<wire::PrioritiseReferralRequest>,
    ) -> Result<Response<wire::PrioritiseReferralResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn extend_non_disclosure(
        &self,
        _: Request<wire::ExtendNonDisclosureRequest>,
    ) -> Result<Response<wire::ExtendNonDisclosureResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn lift_non_disclosure(
        &self,
        _: Request<wire::LiftNonDisclosureRequest>,
    ) -> Result<Response<wire::LiftNonDisclosureResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn link_referrals(
        &self,
        _: Request<wire::LinkReferralsRequest>,
    ) -> Result<Response<wire::LinkReferralsResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn watch_referrals(
        &self,
        _: Request<wire::WatchReferralsRequest>,
    ) -> Result<Response<Self::WatchReferralsStream>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn list_referral_changes(
        &self,
        _: Request<wire::ListReferralChangesRequest>,
    ) -> Result<Response<wire::ListReferralChangesResponse>, Status> {
        Err(Status::unimplemented("an echo"))
    }
}
