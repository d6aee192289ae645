//! What surrounds every gRPC call, from the outside in:
//!
//! `CORS` and gRPC-Web (a library's) → [`request_id`] → [`observe`] (span, log line, metrics) → [`errors`] (a panic and
//! a bare status become a documented error) → [`caller`] → [`permit`] → [`admission`] → [`deadline`] → the service.
//!
//! Two choices in that order matter. Observation is outside everything that can refuse a call, so that a refusal is
//! counted; and panics are caught inside it, so that a panic is counted and logged under its request's id.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
pub mod permit;
pub mod request_id;
pub mod share;

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
pub trait Around: Send + Sync + 'static {
    /// Answers the call.
    fn around<S: Inner>(
        &self,
        request: Request<Body>,
        next: Next<'_, S>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// The rest of the way.
pub struct Next<'s, S>(&'s S);

impl<S: Inner> Next<'_, S> {
    /// Goes on inwards.
    pub async fn run(self, request: Request<Body>) -> Response<Body> {
        match self.0.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Makes a tower layer of an [`Around`].
#[derive(Debug)]
pub struct Wrap<A>(Arc<A>);

impl<A> Wrap<A> {
    /// Wraps what is inside in it.
    pub fn new(around: A) -> Self {
        Self(Arc::new(around))
    }
}

impl<A: Around, S> Layer<S> for Wrap<A> {
    type Service = Wrapped<A, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Wrapped { around: Arc::clone(&self.0), inner: Arc::new(inner) }
    }
}

/// A service inside a layer. Each call has a clone of every layer around it, so that a clone must cost next to nothing.
#[derive(Debug)]
pub struct Wrapped<A, S> {
    around: Arc<A>,
    inner: Arc<S>,
}

impl<A, S> Clone for Wrapped<A, S> {
    fn clone(&self) -> Self {
        Self { around: Arc::clone(&self.around), inner: Arc::clone(&self.inner) }
    }
}

impl<A: Around, S: Inner> Service<Request<Body>> for Wrapped<A, S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Every service inside is always ready: who is too many is told so, not kept waiting.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { around, inner } = self.clone();
        Box::pin(async move { Ok(around.around(request, Next(&*inner)).await) })
    }
}
