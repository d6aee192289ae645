//! A resuming watch against real connections that break in the middle of a stream.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use portreeve_api::clients::{self, Acting, ORGANISATION_KEY};
use portreeve_api::reporting::v1::reporting_service_server::{ReportingService, ReportingServiceServer};
use portreeve_api::reporting::v1::{
    ExportReportRequest, ExportReportResponse, ListMeasuresRequest, ListMeasuresResponse, QueryFlowRequest,
    QueryFlowResponse, QueryRecurrenceRequest, QueryRecurrenceResponse, QueryReportRequest, QueryReportResponse,
    QuerySurvivalRequest, QuerySurvivalResponse, WatchReportRequest, WatchReportResponse, watch_report_request::Start,
};
use portreeve_api::watch::{self, Backoff};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

/// What a client sees.
type Watch = BoxStream<'static, Result<WatchReportResponse, Status>>;

/// Who opened the stream, and from where.
type Asked = (String, Option<Start>);

/// Sends one message after each opening and then nothing; refuses the third opening. Notes what it was asked.
#[derive(Clone, Default)]
struct Scripted {
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[tonic::async_trait]
impl ReportingService for Scripted {
    type WatchReportStream = BoxStream<'static, Result<WatchReportResponse, Status>>;
    type ExportReportStream = BoxStream<'static, Result<ExportReportResponse, Status>>;

    async fn watch_report(
        &self,
        request: Request<WatchReportRequest>,
    ) -> Result<Response<Self::WatchReportStream>, Status> {
        let organisation = request.metadata().get(ORGANISATION_KEY).unwrap().to_str().unwrap().to_owned();
        let mut asked = self.asked.lock().unwrap();
        asked.push((organisation, request.into_inner().start));
        if asked.len() > 2 {
            return Err(Status::invalid_argument("no more"));
        }
        let message = WatchReportResponse { resume_token: asked.len().to_string(), ..WatchReportResponse::default() };
        Ok(Response::new(stream::iter([Ok(message)]).chain(stream::pending()).boxed()))
    }

    async fn query_report(&self, _: Request<QueryReportRequest>) -> Result<Response<QueryReportResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn export_report(
        &self,
        _: Request<ExportReportRequest>,
    ) -> Result<Response<Self::ExportReportStream>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn query_flow(&self, _: Request<QueryFlowRequest>) -> Result<Response<QueryFlowResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn query_recurrence(
        &self,
        _: Request<QueryRecurrenceRequest>,
    ) -> Result<Response<QueryRecurrenceResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn query_survival(
        &self,
        _: Request<QuerySurvivalRequest>,
    ) -> Result<Response<QuerySurvivalResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn list_measures(&self, _: Request<ListMeasuresRequest>) -> Result<Response<ListMeasuresResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server in a runtime of its own, so that dropping it cuts its connections as a killed process does.
struct Process(Option<tokio::runtime::Runtime>);

impl Process {
    fn start(address: SocketAddr, service: Scripted) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let incoming = runtime.block_on(async { TcpIncoming::bind(address) }).unwrap();
        let router = Server::builder().add_service(ReportingServiceServer::new(service));
        runtime.spawn(router.serve_with_incoming(incoming));
        Self(Some(runtime))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

#[test]
fn a_watch_outlives_servers_that_are_killed() {
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Outside the client's runtime, because the servers' runtimes are started and stopped here.
    let next =
        |watch: &mut Watch| client.block_on(async { tokio::time::timeout(PATIENCE, watch.next()).await }).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);

    let service = Scripted::default();
    let guard = client.enter();
    let channel = clients::endpoint(&format!("http://{address}")).unwrap().connect_lazy();
    let reporting = clients::reporting(channel, Acting::new("oversightBodies/committee").unwrap());
    let request = WatchReportRequest { start: Some(Start::Snapshot(true)), ..WatchReportRequest::default() };
    let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
    let mut watch: Watch = watch::report(reporting, request, backoff).boxed();
    drop(guard);

    // Not even the first server is there at first.
    client.block_on(async { assert!(watch.next().now_or_never().is_none()) });
    let server = Process::start(address, service.clone());
    assert_eq!(next(&mut watch).unwrap().unwrap().resume_token, "1");
    drop(server);
    let _server = {
        let again = Process::start(address, service.clone());
        assert_eq!(next(&mut watch).unwrap().unwrap().resume_token, "2");
        drop(again);
        Process::start(address, service.clone())
    };
    assert_eq!(next(&mut watch).unwrap().unwrap_err().code(), Code::InvalidArgument);
    assert!(next(&mut watch).is_none());

    let committee = "oversightBodies/committee".to_owned();
    assert_eq!(
        *service.asked.lock().unwrap(),
        [
            (committee.clone(), Some(Start::Snapshot(true))),
            (committee.clone(), Some(Start::ResumeToken("1".to_owned()))),
            (committee, Some(Start::ResumeToken("2".to_owned()))),
        ]
    );
}
