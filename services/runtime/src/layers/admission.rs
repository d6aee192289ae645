//! How much the server takes on at once, and that it takes on nothing more once it is draining.
//!
//! Each organisation has its share ([`super::share`]), and the server has limits for all of them together. Unary calls and
//! streams have a limit each, so that many watchers cannot keep a write out, and so have health and reflection, which
//! anybody may call. A call holds its place until its answer is gone: limits that end with the response's headers bound
//! neither streams nor the memory of answers that nobody reads.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use portreeve_core::{Clock, Error, Principal, Reason, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

use super::errors::trailers;
use super::methods::Methods;
use super::share::Shares;
use super::{Around, Inner, Next};
use crate::lifecycle::Lifecycle;
use crate::status::status;

/// How much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Unary calls under way.
    pub unary_calls: usize,
    /// Streams open.
    pub streams: usize,
    /// Unary calls a second that one organisation may make in the long run.
    pub organisation_calls_per_second: u32,
    /// Unary calls that one organisation may make at once after a pause.
    pub organisation_calls_burst: u32,
    /// Unary calls of one organisation under way.
    pub organisation_unary_calls: usize,
    /// Streams that one organisation has open.
    pub organisation_streams: usize,
    /// Calls for health and reflection under way.
    pub infrastructure_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unary_calls: limits::UNARY_CALLS_MAX,
            streams: limits::STREAMS_MAX,
            organisation_calls_per_second: limits::ORGANISATION_CALLS_PER_SECOND_MAX,
            organisation_calls_burst: limits::ORGANISATION_CALLS_BURST_MAX,
            organisation_unary_calls: limits::ORGANISATION_UNARY_CALLS_MAX,
            organisation_streams: limits::ORGANISATION_STREAMS_MAX,
            infrastructure_calls: limits::INFRASTRUCTURE_CALLS_MAX,
        }
    }
}

/// The layer.
#[derive(Debug)]
pub struct Admission {
    methods: Methods,
    limits: Limits,
    unary_calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    infrastructure: Arc<Semaphore>,
    shares: Shares,
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Admission {
    /// Follows the process's life: drains with it, and cuts what is left at its hard deadline.
    pub fn new(methods: Methods, limits: Limits, lifecycle: &Lifecycle, clock: Arc<dyn Clock>) -> Self {
        Self {
            methods,
            limits,
            unary_calls: Arc::new(Semaphore::new(limits.unary_calls)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            infrastructure: Arc::new(Semaphore::new(limits.infrastructure_calls)),
            shares: Shares::new(limits, clock),
            soft: lifecycle.soft(),
            hard: lifecycle.hard(),
        }
    }
}

impl Around for Admission {
    async fn around<S: Inner>(&self, request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let method = Arc::clone(self.methods.at(request.uri().path()));
        // While the server drains, health still answers: it says that the server is not serving.
        let asks_for_health = method.infrastructure && !method.streaming;
        if self.soft.is_cancelled() && !asks_for_health {
            return status(&draining()).into_http();
        }
        // Health and reflection have no caller.
        let share = match request.extensions().get::<Principal>() {
            Some(caller) if method.streaming => self.shares.stream(caller),
            Some(caller) => self.shares.call(caller),
            None => Ok(None),
        };
        let share = match share {
            Ok(share) => share,
            Err(error) => return status(&error).into_http(),
        };
        let (places, limit, resource, what) = if method.infrastructure {
            let what = "calls for health and reflection are under way";
            (&self.infrastructure, self.limits.infrastructure_calls, "infrastructure_calls", what)
        } else if method.streaming {
            (&self.streams, self.limits.streams, "streams", "streams are open")
        } else {
            (&self.unary_calls, self.limits.unary_calls, "unary_calls", "calls are under way")
        };
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            let full = Error::new(Reason::Overloaded, format!("{limit} {what}; repeat the call after the retry delay"))
                .with("resource", resource)
                .with("limit", limit)
                .retry_after(Duration::from_millis(100));
            return status(&full).into_http();
        };
        let response = tokio::select! {
            biased;
            response = next.run(request) => response,
            () = self.hard.cancelled() => return status(&draining()).into_http(),
        };
        if !method.streaming {
            // Until it has been taken, an answer is memory that the caller holds.
            return response.map(|inner| Body::new(Held { inner, place: Some((permit, share)) }));
        }
        // A stream of ours hears of the drain by itself and ends with where to resume; the others are ended here.
        let cut = if method.infrastructure { &self.soft } else { &self.hard };
        let cut = Box::pin(cut.clone().cancelled_owned());
        response.map(|inner| Body::new(Admitted { inner, place: Some((permit, share)), cut }))
    }
}

/// What a caller is told who comes, or still is here, when the server goes.
pub fn draining() -> Error {
    Error::new(
        Reason::ServerDraining,
        "this server is shutting down; repeat the call with the same request_id, or resume the stream from its last token",
    )
    .retry_after(Duration::from_millis(500))
}

/// The answer to a unary call, which has its place until it has been taken.
struct Held {
    inner: Body,
    place: Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.place = None;
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

struct Admitted {
    inner: Body,
    place: Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl http_body::Body for Admitted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.place.is_none() {
            return Poll::Ready(None);
        }
        let frame = if self.cut.as_mut().poll(cx).is_ready() {
            Some(Ok(trailers(&status(&draining()))))
        } else {
            ready!(Pin::new(&mut self.inner).poll_frame(cx))
        };
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.place = None;
            self.inner = Body::empty();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.place.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use portreeve_core::time::SystemClock;
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::layers::Wrap;

    const CALL: &str = "/portreeve.referral.v1.ReferralService/GetReferral";
    const STREAM: &str = "/portreeve.referral.v1.ReferralService/WatchReferrals";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    const HEALTH_STREAM: &str = "/grpc.health.v1.Health/Watch";

    /// Calls a method whose service never answers, or answers at once.
    async fn call(life: &Lifecycle, path: &'static str, answers: bool) -> Option<(Code, String)> {
        let methods =
            Methods::read(&[portreeve_api::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        let service = tower::service_fn(move |_| async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let admitted =
            Wrap::new(Admission::new(methods, Limits::default(), life, Arc::new(SystemClock))).layer(service);
        let response = admitted.oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = Status::from_header_map(response.headers())?;
        let details = status.get_error_details();
        assert!(details.retry_info().is_some(), "{status:?}");
        Some((status.code(), details.error_info().unwrap().reason.clone()))
    }

    #[tokio::test]
    async fn a_draining_server_takes_nothing_more_but_says_how_it_is() {
        let life = Lifecycle::new();
        for path in [CALL, STREAM, HEALTH, HEALTH_STREAM] {
            assert_eq!(call(&life, path, true).await, None, "{path}");
        }
        life.drain();
        for path in [CALL, STREAM, HEALTH_STREAM] {
            let refused = Some((Code::Unavailable, "SERVER_DRAINING".into()));
            assert_eq!(call(&life, path, true).await, refused, "{path}");
        }
        assert_eq!(call(&life, HEALTH, true).await, None);
    }

    #[tokio::test]
    async fn strangers_who_ask_for_health_take_nobodys_place() {
        let methods =
            Methods::read(&[portreeve_api::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        let limits = Limits { unary_calls: 2, streams: 2, infrastructure_calls: 3, ..Limits::default() };
        let service = tower::service_fn(|_| async {
            let endless =
                http_body_util::StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Status>>());
            Ok::<_, Infallible>(Response::new(Body::new(endless)))
        });
        let admission = Admission::new(methods, limits, &Lifecycle::new(), Arc::new(SystemClock));
        let admitted = Wrap::new(admission).layer(service);
        let call = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = admitted.clone().oneshot(request).await.unwrap();
            Status::from_header_map(response.headers()).is_none().then_some(response)
        };
        let mut held = Vec::new();
        for path in [HEALTH_STREAM, HEALTH, HEALTH_STREAM] {
            held.push(call(path).await.expect(path));
        }
        assert!(call(HEALTH).await.is_none() && call(HEALTH_STREAM).await.is_none());
        // Answers that are not taken keep their places.
        for path in [CALL, CALL, STREAM, STREAM] {
            held.push(call(path).await.expect(path));
        }
        assert!(call(CALL).await.is_none() && call(STREAM).await.is_none());
        held.clear();
        for path in [CALL, STREAM, HEALTH] {
            assert!(call(path).await.is_some(), "{path}");
        }
    }

    #[tokio::test]
    async fn a_call_that_does_not_end_is_cut_at_the_hard_deadline() {
        let life = Lifecycle::new();
        let (answer, ()) = tokio::join!(call(&life, CALL, false), async {
            tokio::task::yield_now().await;
            life.hard().cancel();
        });
        assert_eq!(answer, Some((Code::Unavailable, "SERVER_DRAINING".into())));
    }
}
