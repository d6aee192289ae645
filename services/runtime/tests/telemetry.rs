//! Traces and metrics, as a collector and Prometheus see them. One test: both are set up for the whole process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use portreeve_core::id::CountingIds;
use portreeve_core::time::ManualClock;
use portreeve_runtime::channel;
use portreeve_runtime::config::Config;
use portreeve_runtime::lifecycle::{Ended, Lifecycle};
use portreeve_runtime::server::Builder;
use portreeve_runtime::telemetry::Telemetry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// The trace that the caller says it belongs to.
const TRACE: [u8; 16] = *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_seen_by_prometheus_and_by_a_collector_under_the_callers_trace() {
    let (exported, mut received) = mpsc::unbounded_channel();
    let collector = axum::Router::new().fallback(move |path: http::Uri, body: axum::body::Body| async move {
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        exported.send((path.path().to_owned(), body)).unwrap();
        [("content-type", "application/grpc"), ("grpc-status", "0")]
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        otlp_endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Config::default()
    };
    tokio::spawn(async move { axum::serve(listener, collector).await });

    let telemetry = Telemetry::start(&config, "portreeve").unwrap();
    let life = Lifecycle::new();
    let metrics = telemetry.serve_metrics(&config, &life).await.unwrap().unwrap();
    let builder = Builder::new(life.clone(), Arc::new(ManualClock::default()), Arc::new(CountingIds::default()));
    let running = builder.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut client = HealthClient::new(channel::connect(&format!("http://{}", running.local_addr()), None).unwrap());
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    client.check(request).await.unwrap();

    let mut scrape = TcpStream::connect(metrics).await.unwrap();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut figures = String::new();
    scrape.read_to_string(&mut figures).await.unwrap();
    let counted = r#"portreeve_calls_total{service="grpc.health.v1.Health",method="Check",code="OK"} 1"#;
    assert!(figures.contains(counted), "{figures}");
    assert!(figures.contains("portreeve_call_seconds_bucket"), "{figures}");

    life.drain();
    assert_eq!(life.run(stream::pending(), Duration::from_secs(5)).await, Ended::Orderly);
    // What is left leaves when telemetry ends.
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();
    let (path, spans) = received.recv().await.unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let holds = |needle: &[u8]| spans.windows(needle.len()).any(|window| window == needle);
    assert!(holds(&TRACE) && holds(b"grpc.health.v1.Health/Check"));
}
