//! Gives every call an id under which it can be found in the logs.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, Response};
use portreeve_core::{Clock, IdSource};
use tonic::body::Body;

use super::{Around, Inner, Next};

/// The metadata key of the id: accepted from the caller, echoed in the reply.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of an id that a caller chose.
const CHARS_MAX: usize = 128;

/// The layer.
#[derive(Clone)]
pub struct RequestId {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl RequestId {
    /// Draws ids that callers did not bring from the given source.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { clock, ids }
    }
}

/// Whether an id can stand in a log line as it is.
fn is_plain(id: &HeaderValue) -> bool {
    (1..=CHARS_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

impl Around for RequestId {
    async fn around<S: Inner>(&self, mut request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let brought = request.headers().get(&REQUEST_ID).filter(|id| is_plain(id)).cloned();
        let id = brought.or_else(|| HeaderValue::try_from(self.ids.uuid(self.clock.now()).to_string()).ok());
        let Some(id) = id else { return next.run(request).await };
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let mut response = next.run(request).await;
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
}
