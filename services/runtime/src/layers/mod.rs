//! What surrounds every gRPC call, from the outside in:
//!
//! `CORS` and gRPC-Web (a library's) → [`request_id`] → [`observe`] (span, log line, metrics) → [`errors`] (a panic and
//! a bare status become a documented error) → [`caller`] → [`admission`] → [`deadline`] → the service.
//!
//! Two choices in that order matter. Observation is outside everything that can refuse a call, so that a refusal is
//! counted; and panics are caught inside it, so that a panic is counted and logged under its request's id.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

pub mod admission;
pub mod caller;
pub mod deadline;
pub mod errors;
pub mod methods;
pub mod observe;
pub mod request_id;

/// A gRPC service with everything inside it: what a layer wraps.
pub trait Inner:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Inner for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What a layer does with a call: anything around `next.run(request)`.
pub trait Around: Clone + Send + Sync + 'static {
    /// Answers the call.
    fn around<S: Inner>(self, request: Request<Body>, next: Next<S>) -> impl Future<Output = Response<Body>> + Send;
}

/// The rest of the way.
pub struct Next<S>(S);

impl<S: Inner> Next<S> {
    /// Goes on inwards.
    pub async fn run(mut self, request: Request<Body>) -> Response<Body> {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Makes a tower layer of an [`Around`].
#[derive(Clone, Debug)]
pub struct Wrap<A>(pub A);

impl<A: Around, S> Layer<S> for Wrap<A> {
    type Service = Wrapped<A, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Wrapped { around: self.0.clone(), inner }
    }
}

/// A service inside a layer.
#[derive(Clone, Debug)]
pub struct Wrapped<A, S> {
    around: A,
    inner: S,
}

impl<A: Around, S: Inner> Service<Request<Body>> for Wrapped<A, S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready takes the call; its clone takes its place.
        let clone = self.inner.clone();
        let next = Next(std::mem::replace(&mut self.inner, clone));
        let around = self.around.clone();
        Box::pin(async move { Ok(around.around(request, next).await) })
    }
}
