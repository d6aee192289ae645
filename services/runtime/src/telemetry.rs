//! Logs, traces and metrics.

use std::future::IntoFuture as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::net::TcpListener;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{Config, LogFormat};
use crate::lifecycle::Lifecycle;

/// Seconds: from what a single commit takes to what a caller waits for at most.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// How many at once: commands of a commit, events of a message.
const COUNTS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 512.0, 1_024.0, 4_096.0];
/// How often the metrics' own buffers are emptied when nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long the last traces may take to leave.
const FLUSH: Duration = Duration::from_secs(3);

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logs go somewhere already.
    #[error("logs are set up already: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    /// Traces cannot be exported.
    #[error("otlp_endpoint: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Metrics cannot be collected.
    #[error("metrics_listen: {0}")]
    Metrics(String),
}

/// Keeps telemetry going; sends what is left when it is dropped.
#[must_use = "telemetry ends when this is dropped"]
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<PrometheusHandle>,
}

impl Telemetry {
    /// Sets up logs (to standard error), traces and metrics for the whole process. To be called once, within the
    /// runtime. `service` names the process in traces.
    pub fn start(config: &Config, service: &'static str) -> Result<Self, TelemetryError> {
        let traces = config.otlp_endpoint.as_deref().map(|endpoint| traces(endpoint, service)).transpose()?;
        let layer = traces.as_ref().map(|traces| {
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
            // Ours alone: the exporter's own calls must not make traces of their own.
            let ours = Targets::new().with_target("portreeve", Level::INFO);
            tracing_opentelemetry::layer().with_tracer(traces.tracer("portreeve")).with_filter(ours)
        });
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match config.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let filter = config.log.parse::<Targets>()?;
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(layer).try_init()?;
        // A panic goes where everything else goes, in the format that is read there.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, panic = panic.payload_as_str(), "a panic");
        }));
        let metrics = config.metrics_listen.map(|_| metrics()).transpose()?;
        Ok(Self { traces, metrics })
    }

    /// Serves the metrics for Prometheus, if they are collected; says where.
    pub async fn serve_metrics(&self, config: &Config, life: &Lifecycle) -> Result<Option<SocketAddr>, TelemetryError> {
        let (Some(address), Some(handle)) = (config.metrics_listen, self.metrics.clone()) else { return Ok(None) };
        let failed = |error: std::io::Error| TelemetryError::Metrics(format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let pages = axum::Router::new().route(
            "/metrics",
            get({
                let handle = handle.clone();
                || async move { handle.render() }
            }),
        );
        // The last figures are read while the calls end.
        let quiet = life.quiet();
        life.spawn("the metrics", async move {
            let mut upkeep = tokio::time::interval(UPKEEP);
            let server = axum::serve(listener, pages);
            let mut server = std::pin::pin!(server.into_future());
            loop {
                tokio::select! {
                    ended = &mut server => return ended,
                    () = quiet.cancelled() => return Ok(()),
                    _ = upkeep.tick() => handle.run_upkeep(),
                }
            }
        });
        tracing::info!(address = %local_addr, "metrics are at /metrics");
        Ok(Some(local_addr))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            // Nobody is left to tell.
            let _ = traces.shutdown_with_timeout(FLUSH);
        }
    }
}

fn traces(endpoint: &str, service: &'static str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn metrics() -> Result<PrometheusHandle, TelemetryError> {
    let failed = |error: &dyn std::fmt::Display| TelemetryError::Metrics(error.to_string());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| builder.set_buckets(&COUNTS))
        .map_err(|error| failed(&error))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    Ok(handle)
}
