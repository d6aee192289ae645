//! A span, a log line and metrics for every call.
//!
//! The status of a stream is in its trailers: it is read there, so that a stream that fails counts as a failure.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use metrics::{Counter, Gauge, Histogram, Label, SharedString};
use opentelemetry::propagation::Extractor;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::methods::{Method, Methods};
use super::request_id::REQUEST_ID;
use super::{Around, Inner, Next};

/// gRPC's codes, as metrics and log lines have them; the position is the code.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The layer.
#[derive(Clone)]
pub struct Observe {
    methods: Methods,
    meters: Arc<std::collections::HashMap<String, Arc<Meters>>>,
}

impl Observe {
    /// Counts each method of the contract by itself, and all others together.
    pub fn new(methods: Methods) -> Self {
        let meters = methods.iter().map(|(path, method)| (path.to_owned(), Arc::new(Meters::new(method)))).collect();
        Self { methods, meters: Arc::new(meters) }
    }
}

/// The metrics of one method. A counter is made when its code is first seen.
struct Meters {
    method: Arc<Method>,
    labels: Vec<Label>,
    codes: [OnceLock<Counter>; CODES.len()],
    seconds: Histogram,
    under_way: Gauge,
}

impl Meters {
    fn new(method: &Arc<Method>) -> Self {
        let labels = vec![
            Label::new("service", SharedString::from(Arc::clone(&method.service))),
            Label::new("method", SharedString::from(Arc::clone(&method.name))),
        ];
        // How long a stream stays open says nothing of how fast the server is, so the two are kept apart.
        let seconds = if method.streaming { "portreeve_stream_seconds" } else { "portreeve_call_seconds" };
        Self {
            method: Arc::clone(method),
            codes: [const { OnceLock::new() }; CODES.len()],
            seconds: metrics::histogram!(seconds, labels.clone()),
            under_way: metrics::gauge!("portreeve_calls_under_way", labels.clone()),
            labels,
        }
    }

    fn count(&self, code: Code) {
        let position = usize::try_from(i32::from(code)).unwrap_or_default();
        if let (Some(counter), Some(name)) = (self.codes.get(position), CODES.get(position)) {
            let counter = counter.get_or_init(|| {
                let mut labels = self.labels.clone();
                labels.push(Label::new("code", *name));
                metrics::counter!("portreeve_calls_total", labels)
            });
            counter.increment(1);
        }
    }
}

/// A call under way. Dropping it before its end was seen means that the caller went away.
struct Call {
    meters: Arc<Meters>,
    span: Span,
    begun: Instant,
    ended: bool,
}

impl Call {
    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let taken = self.begun.elapsed();
        self.meters.count(code);
        self.meters.seconds.record(taken);
        self.meters.under_way.decrement(1);
        let name = usize::try_from(i32::from(code)).ok().and_then(|position| CODES.get(position)).copied();
        let name = name.unwrap_or("UNKNOWN");
        self.span.record("code", name);
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        let _inside = self.span.enter();
        match code {
            Code::Internal | Code::Unknown | Code::DataLoss => {
                self.span.record("otel.status_code", "ERROR");
                tracing::error!(code = name, micros, "a call failed");
            }
            _ if self.meters.method.infrastructure => tracing::trace!(code = name, micros, "a call ended"),
            // Refusals too: a line for each, when the server is overloaded, would make it more so. The metrics count them.
            _ => tracing::debug!(code = name, micros, "a call ended"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

impl Around for Observe {
    async fn around<S: Inner>(&self, request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let path = request.uri().path();
        let Some(meters) = self.meters.get(path).or_else(|| self.meters.get("")).map(Arc::clone) else {
            return next.run(request).await;
        };
        let method = self.methods.at(path);
        let span = tracing::info_span!(
            "call",
            otel.name = format_args!("{}/{}", method.service, method.name),
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            service = &*method.service,
            method = &*method.name,
            request_id = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default(),
            principal = tracing::field::Empty,
            code = tracing::field::Empty,
        );
        if request.headers().contains_key("traceparent") {
            let parent = opentelemetry::global::get_text_map_propagator(|p| p.extract(&Headers(request.headers())));
            // Refused when no exporter is set up: then nobody asks for the parent either.
            let _ = span.set_parent(parent);
        }
        meters.under_way.increment(1);
        let mut call = Call { meters, span: span.clone(), begun: Instant::now(), ended: false };
        let response = next.run(request).instrument(span).await;
        if let Some(code) = code(response.headers()) {
            call.end(code);
            return response;
        }
        response.map(|inner| Body::new(Observed { inner, call }))
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

struct Observed {
    inner: Body,
    call: Call,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let span = self.call.span.clone();
        let frame = ready!(span.in_scope(|| Pin::new(&mut self.inner).poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    self.call.end(code);
                }
            }
            Some(Err(status)) => self.call.end(status.code()),
            None => self.call.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads the W3C trace context of a request.
struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_grpcs() {
        for (position, name) in (0..).zip(CODES) {
            let spelt = format!("{:?}", Code::from_i32(position)).to_uppercase();
            assert_eq!(name.replace('_', ""), spelt);
        }
    }
}
