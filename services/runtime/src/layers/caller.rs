//! Puts who calls into the request's extensions, where every service finds it.

use http::{Request, Response};
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use super::methods::Methods;
use super::{Around, Inner, Next};
use crate::caller::principal;
use crate::status::status;

/// The layer. Health and reflection need no caller.
#[derive(Clone, Debug)]
pub struct Caller {
    methods: Methods,
}

impl Caller {
    /// Knows from the contract which methods need no caller.
    pub fn new(methods: Methods) -> Self {
        Self { methods }
    }
}

impl Around for Caller {
    async fn around<S: Inner>(&self, mut request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        if self.methods.at(request.uri().path()).infrastructure {
            return next.run(request).await;
        }
        let metadata = MetadataMap::from_headers(std::mem::take(request.headers_mut()));
        let read = principal(&metadata);
        *request.headers_mut() = metadata.into_headers();
        match read {
            Ok(principal) => {
                tracing::Span::current().record("principal", tracing::field::display(&principal));
                request.extensions_mut().insert(principal);
                next.run(request).await
            }
            Err(error) => status(&error).into_http(),
        }
    }
}
