//! One port for everything: gRPC, gRPC-Web, health, reflection and plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method as HttpMethod, Request, Response, StatusCode, header};
use portreeve_core::{Clock, IdSource};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::identity::{Identity, Peer};
use crate::layers::Wrap;
use crate::layers::admission::{Admission, Limits};
use crate::layers::caller::Caller;
use crate::layers::deadline::Deadline;
use crate::layers::errors::Errors;
use crate::layers::methods::Methods;
use crate::layers::observe::Observe;
use crate::layers::permit::Permit;
use crate::layers::request_id::{REQUEST_ID, RequestId};
use crate::lifecycle::Lifecycle;
use crate::{caller, channel};
use calls::{Calls, Credentials};

pub mod calls;
mod connections;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would be reachable from elsewhere although its connections are not secured.
    #[error(
        "{0} can be reached from other machines, but this server's connections are not secured. \
         Listen on a loopback address, such as 127.0.0.1:{port}", port = .0.port()
    )]
    Open(SocketAddr),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// The contract's descriptors cannot be read.
    #[error("the contract's descriptors cannot be read: {0}")]
    Contract(String),
}

/// Collects what a server offers.
pub struct Builder {
    lifecycle: Lifecycle,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    limits: Limits,
    identity: Option<Identity>,
    routes: Routes,
    names: Vec<&'static str>,
    http: axum::Router,
    local: (Channel, mpsc::Receiver<DuplexStream>),
}

/// A server that is up. It lives as long as its [`Lifecycle`].
#[derive(Clone, Debug)]
pub struct Running {
    local_addr: SocketAddr,
    health: Health,
}

impl Running {
    /// Where it listens; tells the port that the system chose for port 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it says of its health.
    pub const fn health(&self) -> &Health {
        &self.health
    }
}

/// What a server says of its health, as a whole and per service.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    names: Arc<[&'static str]>,
}

impl Health {
    /// Says whether the whole server, with each of its services, takes calls.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.names.iter().copied().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

impl Builder {
    /// A server that offers nothing yet but health, reflection and a word of greeting.
    pub fn new(lifecycle: Lifecycle, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self {
            lifecycle,
            clock,
            ids,
            limits: Limits::default(),
            identity: None,
            routes: Routes::default(),
            names: Vec::new(),
            http: axum::Router::new(),
            local: channel::local(),
        }
    }

    /// Other limits than the documented ones.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Asks callers for these credentials. Without them the server is open: it believes callers who they are.
    #[must_use]
    pub fn identity(mut self, identity: Option<Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// Adds a service of the contract: its routes, its health, its place in reflection.
    pub fn add<S>(&mut self, service: S) -> &mut Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes = std::mem::take(&mut self.routes).add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Adds pages for plain HTTP.
    pub fn http(&mut self, pages: axum::Router) -> &mut Self {
        self.http = std::mem::take(&mut self.http).merge(pages);
        self
    }

    /// A channel to this very server, through all of its layers. Calls wait until the server has started.
    pub fn local_channel(&self) -> Channel {
        self.local.0.clone()
    }

    /// Listens and serves, until the process's life ends. Refuses an address that other machines can reach if connections
    /// are not secured.
    pub async fn start(self, listen: SocketAddr) -> Result<Running, StartError> {
        let tls = self.identity.as_ref().and_then(Identity::tls).cloned();
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(StartError::Open(listen));
        }
        let contract = |error: &dyn std::fmt::Display| StartError::Contract(error.to_string());
        let methods = Methods::read(&[
            portreeve_api::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ])
        .map_err(|error| contract(&error))?;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let reflection = || {
            let builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(portreeve_api::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name("grpc.health.v1.Health");
            self.names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
        };
        let v1 = reflection().with_service_name("grpc.reflection.v1.ServerReflection").build_v1();
        let v1alpha = reflection().with_service_name("grpc.reflection.v1alpha.ServerReflection").build_v1alpha();
        let routes = self
            .routes
            .add_service(health_service)
            .add_service(v1.map_err(|error| contract(&error))?)
            .add_service(v1alpha.map_err(|error| contract(&error))?)
            .prepare()
            .into_axum_router();
        let layers = ServiceBuilder::new()
            .layer(Wrap::new(RequestId::new(Arc::clone(&self.clock), self.ids)))
            .layer(Wrap::new(Observe::new(methods.clone())))
            .layer(Wrap::new(Errors))
            .layer(Wrap::new(Caller::new(methods.clone(), self.identity.clone(), Arc::clone(&self.clock))))
            .layer(Wrap::new(Permit::new(methods.clone())))
            .layer(Wrap::new(Admission::new(methods.clone(), self.limits, &self.lifecycle, self.clock)))
            .layer(Wrap::new(Deadline::new(methods)))
            .map_response(|response: Response<axum::body::Body>| response.map(Body::new));
        let grpc = layers.service(routes);
        // Only browsers need it; other clients' calls go past it.
        let web = ServiceBuilder::new().layer(cors()).layer(tonic_web::GrpcWebLayer::new()).service(grpc.clone());
        let front = Front {
            grpc: BoxCloneSyncService::new(grpc),
            web: BoxCloneSyncService::new(web),
            pages: pages(self.http),
            peer: Peer::Unnamed,
            credentials: Credentials::of(self.identity.as_ref()),
        };

        let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Bind(listen, error))?;
        let local_addr = listener.local_addr().map_err(|error| StartError::Bind(listen, error))?;
        let health = Health { reporter, names: self.names.into() };
        health.set_serving(true).await;
        let (life, tasks) = (self.lifecycle.clone(), self.lifecycle.connections().clone());
        if let Some(identity) = &self.identity {
            identity.keep_fresh(&life);
            tracing::info!(address = %local_addr, tls = tls.is_some(), "listening; callers must say who they are");
        } else {
            tracing::warn!(
                address = %local_addr,
                "listening; this server is open: it believes callers who they are, so it is reachable from this machine \
                 only"
            );
        }
        tasks.spawn(connections::accept(listener, tls, front.clone(), life.clone()));
        tasks.spawn(connections::accept_local(self.local.1, front, life.clone()));
        life.spawn("the health of the server", {
            let (soft, health) = (life.soft(), health.clone());
            async move {
                soft.cancelled().await;
                health.set_serving(false).await;
                Ok::<_, Infallible>(())
            }
        });
        Ok(Running { local_addr, health })
    }
}

/// What a request meets first: gRPC goes one way, plain HTTP another.
#[derive(Clone)]
struct Front {
    grpc: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    web: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    pages: axum::Router,
    /// Who is at the other end of the connection.
    peer: Peer,
    credentials: Credentials,
}

impl<B> Service<Request<B>> for Front
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Both ways are always open: who is too many is told so, not kept waiting.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer.clone());
        let headers = request.headers();
        // A page elsewhere must not act through a visitor's browser, on a server that believes whoever calls or with the
        // visitor's certificate; not even if it has its own name lead to this machine.
        let own = |origin: &HeaderValue| self.credentials.certificates && is_own_origin(origin, &request);
        if headers.get(header::ORIGIN).is_some_and(|origin| !is_loopback_origin(origin) && !own(origin)) {
            let refused = (StatusCode::FORBIDDEN, "this server takes no calls from pages of other sites\n");
            return Box::pin(async move { Ok(refused.into_response().map(Body::new)) });
        }
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let preflight =
            request.method() == HttpMethod::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let browser = kind.starts_with(b"application/grpc-web") || headers.contains_key(header::ORIGIN);
        let is_grpc = kind.starts_with(b"application/grpc");
        if preflight || (is_grpc && browser) {
            Box::pin(self.web.clone().oneshot(request))
        } else if is_grpc {
            Box::pin(self.grpc.clone().oneshot(request))
        } else {
            request.extensions_mut().insert(Calls::new(self.grpc.clone(), self.peer.clone(), self.credentials));
            let answer = self.pages.clone().oneshot(request);
            Box::pin(async move { answer.await.map(|response| response.map(Body::new)) })
        }
    }
}

fn pages(more: axum::Router) -> axum::Router {
    const GREETING: &str = "Portreeve: an exchange for referrals of online content between public authorities and platforms.\n\
        \n\
        This port speaks gRPC and gRPC-Web. Health and reflection are on: a client that reads reflection can list the\n\
        services. Callers say who they are by a client certificate or a bearer token; where the server is open, by the\n\
        metadata portreeve-organisation. The reporting service shows its figures to browsers at /report.\n";
    let nothing = (StatusCode::NOT_FOUND, "nothing here; gRPC calls come with content-type application/grpc\n");
    axum::Router::new()
        .route("/", axum::routing::get(|| async { GREETING }))
        .merge(more)
        .fallback(move || async move { nothing })
}

/// Whether a browser's page was loaded from this machine.
fn is_loopback_origin(origin: &HeaderValue) -> bool {
    let host = || {
        let (scheme, authority) = origin.to_str().ok()?.split_once("://")?;
        let authority = authority.parse::<http::uri::Authority>().ok()?;
        matches!(scheme, "http" | "https").then(|| authority.host().to_owned())
    };
    host().is_some_and(|host| channel::is_loopback(&host))
}

/// Whether a browser's page was loaded from this server, whose certificate the browser checked against that very name.
fn is_own_origin<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| request.headers().get(header::HOST).map(HeaderValue::as_bytes));
    origin.as_bytes().strip_prefix(b"https://").is_some_and(|name| Some(name) == host)
}

fn cors() -> CorsLayer {
    const DAY: Duration = Duration::from_hours(24);
    let accepted = [
        header::CONTENT_TYPE,
        REQUEST_ID,
        header::AUTHORIZATION,
        HeaderName::from_static("grpc-timeout"),
        HeaderName::from_static("x-grpc-web"),
        HeaderName::from_static("x-user-agent"),
        HeaderName::from_static(caller::ORGANISATION),
        HeaderName::from_static(caller::MEMBER),
        HeaderName::from_static(caller::ROLES),
        HeaderName::from_static(caller::PURPOSE),
        HeaderName::from_static(caller::JUSTIFICATION),
        HeaderName::from_static(caller::JUSTIFICATION_BIN),
    ];
    let exposed = [
        REQUEST_ID,
        HeaderName::from_static("grpc-status"),
        HeaderName::from_static("grpc-message"),
        HeaderName::from_static("grpc-status-details-bin"),
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|origin, _| is_loopback_origin(origin)))
        .allow_methods([HttpMethod::POST])
        .allow_headers(accepted)
        .expose_headers(exposed)
        .max_age(DAY)
}
