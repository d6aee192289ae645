//! Puts who calls into the request's extensions, where every service finds it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use portreeve_core::{Clock, Result, Timestamp};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use super::errors::trailers;
use super::methods::Methods;
use super::{Around, Inner, Next};
use crate::caller::{principal, statement};
use crate::identity::tokens::expired;
use crate::identity::{Identity, Known, Peer};
use crate::status::status;

/// The layer. Health and reflection need no caller.
#[derive(Clone)]
pub struct Caller {
    methods: Methods,
    identity: Option<Identity>,
    clock: Arc<dyn Clock>,
}

impl Caller {
    /// Knows from the contract which methods need no caller. Without an identity the server is open.
    pub fn new(methods: Methods, identity: Option<Identity>, clock: Arc<dyn Clock>) -> Self {
        Self { methods, identity, clock }
    }

    async fn known(&self, request: &mut Request<Body>) -> Result<Known> {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer::Unnamed);
        match (&self.identity, peer) {
            (None, _) | (_, Peer::Local) => {
                let metadata = MetadataMap::from_headers(std::mem::take(request.headers_mut()));
                let read = principal(&metadata);
                *request.headers_mut() = metadata.into_headers();
                Ok(Known { principal: read?, until: None })
            }
            (Some(identity), peer) => identity.caller(&peer, request.headers()).await,
        }
    }

    /// Who calls, and why: the latter by the caller's own account on a secured server too.
    async fn read(&self, request: &mut Request<Body>) -> Result<Option<Timestamp>> {
        let Known { principal, until } = self.known(request).await?;
        let metadata = MetadataMap::from_headers(std::mem::take(request.headers_mut()));
        let why = statement(&metadata);
        *request.headers_mut() = metadata.into_headers();
        tracing::Span::current().record("principal", tracing::field::display(&principal));
        request.extensions_mut().insert(why?);
        request.extensions_mut().insert(principal);
        Ok(until)
    }

    /// How long from now until an instant of the server's clock.
    fn rest(&self, until: Timestamp) -> Duration {
        let micros = until.micros().saturating_sub(self.clock.now().micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    }
}

impl Around for Caller {
    async fn around<S: Inner>(&self, mut request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let method = Arc::clone(self.methods.at(request.uri().path()));
        if method.infrastructure {
            return next.run(request).await;
        }
        match self.read(&mut request).await {
            Ok(until) => {
                request.extensions_mut().insert(Arc::clone(&method));
                let response = next.run(request).await;
                match until.filter(|_| method.streaming) {
                    Some(until) => {
                        let end = Box::pin(tokio::time::sleep(self.rest(until)));
                        response.map(|inner| Body::new(Until { inner, end, over: false }))
                    }
                    None => response,
                }
            }
            Err(error) => status(&error).into_http(),
        }
    }
}

/// A stream that ends with what its caller was believed for.
struct Until {
    inner: Body,
    end: Pin<Box<Sleep>>,
    over: bool,
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.end.as_mut().poll(cx).is_ready() {
            self.over = true;
            return Poll::Ready(Some(Ok(trailers(&status(&expired())))));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_callers_token_does() {
        let inner = http_body_util::StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Status>>());
        let end = Box::pin(tokio::time::sleep(Duration::from_mins(1)));
        let mut stream = Body::new(Until { inner: Body::new(inner), end, over: false });
        let begun = tokio::time::Instant::now();
        let trailers = stream.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(begun.elapsed(), Duration::from_mins(1));
        assert_eq!(Status::from_header_map(&trailers).unwrap().code(), tonic::Code::Unauthenticated);
        assert!(stream.frame().await.is_none());
    }
}
