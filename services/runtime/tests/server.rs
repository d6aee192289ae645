//! A server on a real port, with a service that does what the test asks of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use portreeve_api::reporting::v1::reporting_service_client::ReportingServiceClient;
use portreeve_api::reporting::v1::reporting_service_server::{ReportingService, ReportingServiceServer};
use portreeve_api::reporting::v1::{
    ExportReportRequest, ExportReportResponse, ListMeasuresRequest, ListMeasuresResponse, QueryFlowRequest,
    QueryFlowResponse, QueryRecurrenceRequest, QueryRecurrenceResponse, QueryReportRequest, QueryReportResponse,
    QuerySurvivalRequest, QuerySurvivalResponse, WatchReportRequest, WatchReportResponse,
};
use portreeve_core::id::CountingIds;
use portreeve_core::time::ManualClock;
use portreeve_core::{Principal, limits};
use portreeve_runtime::channel;
use portreeve_runtime::layers::admission::Limits;
use portreeve_runtime::lifecycle::{Ended, Lifecycle};
use portreeve_runtime::server::{Builder, Running, StartError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

/// Answers as the metadata `pig` says.
struct GuineaPig {
    gate: Arc<Semaphore>,
    entered: mpsc::UnboundedSender<()>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn asked<T>(request: &Request<T>) -> &str {
    request.metadata().get("pig").map_or("", |value| value.to_str().unwrap())
}

#[tonic::async_trait]
impl ReportingService for GuineaPig {
    async fn query_report(
        &self,
        request: Request<QueryReportRequest>,
    ) -> Result<Response<QueryReportResponse>, Status> {
        match asked(&request) {
            "panic" => panic!("password=hunter2"),
            "bare" => Err(Status::internal("password=hunter2")),
            "who" => Err(Status::not_found(request.extensions().get::<Principal>().unwrap().to_string())),
            _ => Ok(Response::new(QueryReportResponse::default())),
        }
    }

    /// Waits at the gate.
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
        self.entered.send(()).unwrap();
        let _through = self.gate.acquire().await.unwrap();
        Ok(Response::new(ListMeasuresResponse::default()))
    }

    type WatchReportStream = Replies<WatchReportResponse>;

    /// Sends one message and stays open.
    async fn watch_report(&self, _: Request<WatchReportRequest>) -> Result<Response<Self::WatchReportStream>, Status> {
        let first = stream::iter([Ok(WatchReportResponse::default())]);
        Ok(Response::new(first.chain(stream::pending()).boxed()))
    }

    type ExportReportStream = Replies<ExportReportResponse>;

    /// Sends one message and fails.
    async fn export_report(
        &self,
        request: Request<ExportReportRequest>,
    ) -> Result<Response<Self::ExportReportStream>, Status> {
        let panics = asked(&request) == "panic";
        let rest = stream::poll_fn(move |_| {
            assert!(!panics, "password=hunter2");
            std::task::Poll::Ready(Some(Err(Status::unknown("password=hunter2"))))
        });
        Ok(Response::new(stream::iter([Ok(ExportReportResponse::default())]).chain(rest).boxed()))
    }
}

struct Served {
    life: Lifecycle,
    running: Running,
    local: Channel,
    gate: Arc<Semaphore>,
    entered: mpsc::UnboundedReceiver<()>,
}

async fn serve(limits: Limits) -> Served {
    let life = Lifecycle::new();
    let gate = Arc::new(Semaphore::new(0));
    let (entering, entered) = mpsc::unbounded_channel();
    let clock = Arc::new(ManualClock::default());
    let mut builder = Builder::new(life.clone(), clock, Arc::new(CountingIds::default())).limits(limits);
    let pig = GuineaPig { gate: Arc::clone(&gate), entered: entering };
    builder.add(ReportingServiceServer::new(pig).max_decoding_message_size(limits::MESSAGE_BYTES_MAX));
    let local = builder.local_channel();
    let running = builder.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    Served { life, running, local, gate, entered }
}

impl Served {
    fn channel(&self) -> Channel {
        channel::connect(&format!("http://{}", self.running.local_addr()), None).unwrap()
    }

    fn client(&self) -> ReportingServiceClient<Channel> {
        ReportingServiceClient::new(self.channel())
    }
}

/// A request of an officer, for the guinea pig to do something.
fn ask<T: Default>(what: &'static str) -> Request<T> {
    let mut request = Request::new(T::default());
    request.metadata_mut().insert("portreeve-organisation", "agencies/nca".parse().unwrap());
    request.metadata_mut().insert("pig", what.parse().unwrap());
    request
}

fn reason(status: &Status) -> (Code, String) {
    assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
    let reason = status.get_error_details().error_info().map_or_else(String::new, |info| info.reason.clone());
    (status.code(), reason)
}

/// Sends bytes and reads until the server closes.
async fn plain_http(served: &Served, request: &[u8]) -> String {
    let mut connection = tokio::net::TcpStream::connect(served.running.local_addr()).await.unwrap();
    connection.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn one_port_speaks_grpc_web_plain_http_health_and_reflection() {
    let served = serve(Limits::default()).await;
    served.client().query_report(ask::<QueryReportRequest>("")).await.unwrap();

    let greeting = plain_http(&served, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(greeting.starts_with("HTTP/1.1 200 OK") && greeting.contains("Portreeve"), "{greeting}");
    let nothing = plain_http(&served, b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");

    let web = |origin: &str| {
        let path = "/portreeve.reporting.v1.ReportingService/QueryReport";
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{origin}content-type: application/grpc-web+proto\r\n\
             portreeve-organisation: agencies/nca\r\nconnection: close\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
        )
    };
    for origin in
        ["", "origin: http://localhost:5173\r\n", "origin: http://[::1]:80\r\n", "origin: http://127.0.0.1\r\n"]
    {
        let answer = plain_http(&served, web(origin).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("grpc-status:0"), "{origin}: {answer}");
        assert_eq!(answer.contains("access-control-allow-origin"), !origin.is_empty(), "{answer}");
    }
    for origin in ["https://elsewhere.example", "http://localhost.elsewhere.example", "null"] {
        let answer = plain_http(&served, web(&format!("origin: {origin}\r\n")).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{origin}: {answer}");
    }

    let mut health = HealthClient::new(served.channel());
    for service in ["", "portreeve.reporting.v1.ReportingService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status().as_str_name(), "SERVING", "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nobody".into() }).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "REQUEST_INVALID".into()));

    {
        use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
        let request = tonic_reflection::pb::v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(served.channel());
        let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) =
            answers.message().await.unwrap().unwrap().message_response
        else {
            panic!("not a list")
        };
        let mut names = list.service.into_iter().map(|service| service.name).collect::<Vec<_>>();
        names.sort();
        let expected =
            ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "portreeve.reporting.v1.ReportingService"];
        assert_eq!(names, expected);
    }
    {
        use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
        let request = tonic_reflection::pb::v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(
                "portreeve.reporting.v1.ReportingService".into(),
            )),
        };
        let mut client = ServerReflectionClient::new(served.channel());
        let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn every_call_has_an_id_that_is_echoed() {
    let served = serve(Limits::default()).await;
    let echoed = |answer: Response<QueryReportResponse>| {
        answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned()
    };
    let minted = echoed(served.client().query_report(ask::<QueryReportRequest>("")).await.unwrap());
    assert_eq!(minted.len(), 36);

    let with_id = |id: &str| {
        let mut request = ask::<QueryReportRequest>("");
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        request
    };
    assert_eq!(echoed(served.client().query_report(with_id("ticket-17")).await.unwrap()), "ticket-17");
    assert_eq!(echoed(served.client().query_report(with_id("two words")).await.unwrap()).len(), 36);
    let mut refused = with_id("ticket-18");
    refused.metadata_mut().insert("pig", "bare".parse().unwrap());
    let status = served.client().query_report(refused).await.unwrap_err();
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "ticket-18");
}

#[tokio::test]
async fn the_caller_is_known_before_the_service_is_asked() {
    let served = serve(Limits::default()).await;
    let status = served.client().query_report(ask::<QueryReportRequest>("who")).await.unwrap_err();
    assert_eq!(status.message(), "agencies/nca");
    let stranger = served.client().query_report(QueryReportRequest::default()).await.unwrap_err();
    assert_eq!(reason(&stranger), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
}

#[tokio::test]
async fn nothing_fails_without_a_reason_and_nothing_leaks() {
    let served = serve(Limits::default()).await;
    for what in ["panic", "bare"] {
        let status = served.client().query_report(ask::<QueryReportRequest>(what)).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Internal, "INTERNAL".into()), "{what}");
        let mut replies = served.client().export_report(ask::<ExportReportRequest>(what)).await.unwrap().into_inner();
        // The message before it may still have been in the library's buffer.
        let status = match replies.message().await {
            Ok(_) => replies.message().await.unwrap_err(),
            Err(status) => status,
        };
        assert_eq!(reason(&status), (Code::Internal, "INTERNAL".into()), "{what}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_a_reason() {
    let served = serve(Limits::default()).await;
    let send = async |method: &'static str, field_1: Vec<u8>| {
        let mut client = tonic::client::Grpc::new(served.channel());
        client.ready().await.unwrap();
        let request = ask::<Vec<u8>>("").map(|_| field_1);
        let path =
            http::uri::PathAndQuery::try_from(format!("/portreeve.reporting.v1.ReportingService/{method}")).unwrap();
        let codec = tonic_prost::ProstCodec::<Vec<u8>, QueryReportResponse>::default();
        client.unary(request, path, codec).await.map(Response::into_inner)
    };
    // A key without its value; a string that is not UTF-8.
    for field_1 in [vec![0x0a], vec![0x0a, 0x01, 0xff]] {
        let status = send("QueryReport", field_1).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "REQUEST_INVALID".into()), "{status:?}");
    }
    // The string's own key and length take a few bytes.
    let padded = |bytes: usize| {
        let mut text = vec![0x0a];
        prost::encode_length_delimiter(bytes, &mut text).unwrap();
        text.resize(text.len() + bytes, b'x');
        text
    };
    send("QueryReport", padded(limits::MESSAGE_BYTES_MAX - 16)).await.unwrap();
    for bytes in [limits::MESSAGE_BYTES_MAX, 10_000_000] {
        let status = send("QueryReport", padded(bytes)).await.unwrap_err();
        assert_eq!(reason(&status), (Code::ResourceExhausted, "LIMIT_EXCEEDED".into()), "{status:?}");
        let metadata = status.get_error_details().error_info().unwrap().metadata.clone();
        assert_eq!(metadata["limit"], "MESSAGE_BYTES_MAX");
        assert_eq!(metadata["maximum"], limits::MESSAGE_BYTES_MAX.to_string());
    }
    let status = send("Nothing", vec![]).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unimplemented, "REQUEST_INVALID".into()));
}

#[tokio::test]
async fn unary_calls_are_taken_up_to_the_limit_and_not_beyond() {
    let mut served = serve(Limits { unary_calls: 2, streams: 1, ..Limits::default() }).await;
    let calls = stream::iter(0..2).map(|_| {
        let mut client = served.client();
        async move { client.list_measures(ask::<ListMeasuresRequest>("")).await }
    });
    let waiting = tokio::spawn(calls.collect::<stream::FuturesUnordered<_>>().await.collect::<Vec<_>>());
    for _ in 0..2 {
        served.entered.recv().await.unwrap();
    }
    let status = served.client().query_report(ask::<QueryReportRequest>("")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "OVERLOADED".into()));
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    // Streams have their own limit.
    served.client().watch_report(ask::<WatchReportRequest>("")).await.unwrap();

    served.gate.add_permits(2);
    assert!(waiting.await.unwrap().iter().all(Result::is_ok));
    served.client().query_report(ask::<QueryReportRequest>("")).await.unwrap();
}

#[tokio::test]
async fn a_stream_holds_its_place_until_its_reader_is_gone() {
    let served = serve(Limits { unary_calls: 1, streams: 1, ..Limits::default() }).await;
    let mut open = served.client().watch_report(ask::<WatchReportRequest>("")).await.unwrap().into_inner();
    open.message().await.unwrap();
    let status = served.client().watch_report(ask::<WatchReportRequest>("")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "OVERLOADED".into()));
    served.client().query_report(ask::<QueryReportRequest>("")).await.unwrap();

    drop(open);
    // The server hears of it by the reset of the stream; until then it answers as before.
    let mut client = served.client();
    loop {
        match client.watch_report(ask::<WatchReportRequest>("")).await {
            Ok(_) => break,
            Err(status) => assert_eq!(reason(&status).1, "OVERLOADED"),
        }
    }
}

#[tokio::test]
async fn a_deadline_ends_a_unary_call() {
    let served = serve(Limits::default()).await;
    // Over plain HTTP, so that the server's answer is seen and not a client's own timer.
    let call = "POST /portreeve.reporting.v1.ReportingService/ListMeasures HTTP/1.1\r\nhost: x\r\n\
        content-type: application/grpc-web+proto\r\nportreeve-organisation: agencies/nca\r\ngrpc-timeout: 20m\r\n\
        connection: close\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
    let answer = plain_http(&served, call.as_bytes()).await;
    assert!(answer.contains("grpc-status: 4\r\n") && answer.contains("grpc-status-details-bin: "), "{answer}");
}

#[tokio::test]
async fn a_channel_within_the_process_goes_through_the_same_layers() {
    let served = serve(Limits::default()).await;
    let mut client = ReportingServiceClient::new(served.local.clone());
    client.query_report(ask::<QueryReportRequest>("")).await.unwrap();
    let stranger = client.query_report(QueryReportRequest::default()).await.unwrap_err();
    assert_eq!(reason(&stranger), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
    assert!(stranger.metadata().contains_key("x-request-id"));
}

#[tokio::test]
async fn an_open_server_listens_on_loopback_only() {
    let start = async |listen: &str| {
        let life = Lifecycle::new();
        let builder = Builder::new(life, Arc::new(ManualClock::default()), Arc::new(CountingIds::default()));
        builder.start(listen.parse().unwrap()).await
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7400"] {
        assert!(matches!(start(listen).await, Err(StartError::Open(_))), "{listen}");
    }
    let first = start("127.0.0.1:0").await.unwrap();
    assert_ne!(first.local_addr().port(), 0);
    assert!(matches!(start(&first.local_addr().to_string()).await, Err(StartError::Bind(..))));
}

#[tokio::test]
async fn a_drain_ends_within_its_deadline_though_a_stream_is_open() {
    let served = serve(Limits::default()).await;
    let mut open = served.client().watch_report(ask::<WatchReportRequest>("")).await.unwrap().into_inner();
    open.message().await.unwrap();
    let mut client = ReportingServiceClient::new(served.local.clone());
    let mut within = client.watch_report(ask::<WatchReportRequest>("")).await.unwrap().into_inner();
    within.message().await.unwrap();

    served.life.drain();
    let begun = tokio::time::Instant::now();
    assert_eq!(served.life.run(stream::pending(), Duration::from_millis(50)).await, Ended::Cut);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for stream in [&mut open, &mut within] {
        let status = stream.message().await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unavailable, "SERVER_DRAINING".into()));
        assert!(status.get_error_details().retry_info().is_some());
    }
    assert!(tokio::net::TcpStream::connect(served.running.local_addr()).await.is_err());
}

#[tokio::test]
async fn a_drain_waits_for_calls_and_not_for_those_who_watch_health() {
    let mut served = serve(Limits::default()).await;
    let mut health = HealthClient::new(served.channel());
    let mut watched = health.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status().as_str_name(), "SERVING");
    let mut client = served.client();
    let call = tokio::spawn(async move { client.list_measures(ask::<ListMeasuresRequest>("")).await });
    served.entered.recv().await.unwrap();

    served.life.drain();
    let ending = tokio::spawn({
        let life = served.life.clone();
        async move { life.run(stream::pending(), Duration::from_secs(20)).await }
    });
    // Told, or ended, or both: never left waiting.
    while let Ok(Some(said)) = watched.message().await {
        assert_eq!(said.status().as_str_name(), "NOT_SERVING");
    }
    served.gate.add_permits(1);
    call.await.unwrap().unwrap();
    assert_eq!(ending.await.unwrap(), Ended::Orderly);
}

#[tokio::test]
async fn a_failure_in_the_trailers_is_counted_as_one() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let served = serve(Limits::default()).await;
    let mut replies = served.client().export_report(ask::<ExportReportRequest>("")).await.unwrap().into_inner();
    while replies.message().await.is_ok_and(|reply| reply.is_some()) {}
    served.client().query_report(ask::<QueryReportRequest>("")).await.unwrap();
    served.client().query_report(ask::<QueryReportRequest>("panic")).await.unwrap_err();
    served.client().query_report(QueryReportRequest::default()).await.unwrap_err();

    let text = figures.render();
    for (method, code, count) in [
        ("ExportReport", "INTERNAL", 1),
        ("QueryReport", "OK", 1),
        ("QueryReport", "INTERNAL", 1),
        ("QueryReport", "UNAUTHENTICATED", 1),
    ] {
        let labels = format!(r#"service="portreeve.reporting.v1.ReportingService",method="{method}",code="{code}""#);
        let line = format!("portreeve_calls_total{{{labels}}} {count}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("portreeve_call_seconds") && text.contains("portreeve_stream_seconds"), "{text}");
}
