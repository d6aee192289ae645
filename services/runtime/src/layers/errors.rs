//! No call ends without a documented reason: a panic becomes `INTERNAL`, and a status that the RPC library made by
//! itself (a message too large, bytes that are no message, a method that does not exist) gets its `ErrorInfo`.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use portreeve_core::{Error, Reason, limits};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Around, Inner, Next};
use crate::status::{ERROR_DOMAIN, MESSAGE_BYTES, status, within};

/// The layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors;

impl Around for Errors {
    async fn around<S: Inner>(&self, request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let action = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => return panicked(panic.as_ref()).into_http(),
        };
        explain(response.headers_mut(), &action);
        response.map(|inner| Body::new(Explained { inner, action, over: false }))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    status(&Error::internal(format!("a panic: {}", text.unwrap_or("of an unknown kind"))))
}

/// Gives the status in headers or trailers a reason, if it is a failure without one; and one that forbids says what.
fn explain(headers: &mut HeaderMap, action: &str) {
    let Some(code) = headers.get("grpc-status").filter(|code| *code != "0") else { return };
    let forbids = code == "7";
    let bare = !headers.contains_key("grpc-status-details-bin");
    let explained = match Status::from_header_map(headers) {
        Some(status) if bare => explained(&status),
        Some(status) if forbids => forbidding(&status, action),
        _ => None,
    };
    let Some(explained) = explained else { return };
    headers.remove("grpc-message");
    headers.remove("grpc-status-details-bin");
    // Fails only if a message could not be written as a header; those here are plain text.
    let _ = explained.add_header(headers);
}

/// The same refusal with what was refused, which only this layer knows of every call.
fn forbidding(status: &Status, action: &str) -> Option<Status> {
    let mut details = status.get_error_details();
    let info = details.error_info().filter(|info| info.reason == Reason::PermissionDenied.as_str())?.clone();
    let mut metadata = info.metadata;
    metadata.insert("action".to_owned(), within(action, ACTION_BYTES).to_owned());
    details.set_error_info(info.reason, info.domain, metadata);
    Some(Status::with_error_details(status.code(), status.message(), details))
}

/// Bytes of a method's name, should a stranger make one up.
const ACTION_BYTES: usize = 64;

/// The same failure with its reason; `None` if it says all there is to say.
fn explained(bare: &Status) -> Option<Status> {
    // Of bytes that are no message, the library tells every level down to where it gave up.
    let message = within(bare.message(), MESSAGE_BYTES);
    if GONE.iter().any(|sign| message.contains(sign)) {
        return Some(Status::cancelled("the caller went away in the middle of its request"));
    }
    let invalid = |code: Code, message: &str| {
        let info = ErrorDetails::with_error_info(Reason::RequestInvalid.as_str(), ERROR_DOMAIN, HashMap::new());
        Status::with_error_details(code, message, info)
    };
    let error = match bare.code() {
        // The caller went away: nobody reads it.
        Code::Ok | Code::Cancelled => return None,
        Code::OutOfRange | Code::ResourceExhausted if message.contains("decoded message length too large") => {
            Error::new(Reason::LimitExceeded, "the message is larger than the server takes; split it or stream it")
                .with("limit", "MESSAGE_BYTES_MAX")
                .with("maximum", limits::MESSAGE_BYTES_MAX)
                .with("actual", found(message))
        }
        Code::OutOfRange | Code::ResourceExhausted if message.contains("encoded message length too large") => {
            Error::new(Reason::LimitExceeded, "the reply is larger than the server sends; ask for fewer rows at once")
                .with("limit", "REPLY_BYTES_MAX")
                .with("maximum", limits::REPLY_BYTES_MAX)
                .with("actual", found(message))
        }
        Code::Internal if UNREADABLE.iter().any(|sign| message.contains(sign)) => {
            return Some(invalid(Code::InvalidArgument, &format!("the request cannot be read: {message}")));
        }
        Code::Unimplemented if message.is_empty() => {
            return Some(invalid(
                Code::Unimplemented,
                "this server has no such method; reflection lists those that it has",
            ));
        }
        code @ (Code::Unimplemented
        | Code::InvalidArgument
        | Code::NotFound
        | Code::OutOfRange
        | Code::FailedPrecondition) => return Some(invalid(code, message)),
        Code::ResourceExhausted => Error::new(Reason::Overloaded, message.to_owned()),
        Code::DeadlineExceeded => Error::new(Reason::DeadlineExceeded, message.to_owned()),
        _ => Error::internal(format!("a status without a reason: {bare}")),
    };
    Some(status(&error))
}

/// The number in "… found 5 bytes, the limit is: 4 bytes", as the RPC library says it.
fn found(message: &str) -> &str {
    let number = message.split_once("found ").and_then(|(_, rest)| rest.split(' ').next());
    number.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or("unknown")
}

/// How the RPC library says that a caller's bytes are no message.
const UNREADABLE: [&str; 6] = [
    "failed to decode Protobuf message",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "invalid compression flag",
    "compressed-flag but no grpc-encoding",
    "Error decompressing",
];
/// How it says that the caller's connection broke, or broke the protocol, in the middle of a request.
const GONE: [&str; 2] = ["h2 protocol error", "error reading a body from connection"];

struct Explained {
    inner: Body,
    action: String,
    over: bool,
}

impl http_body::Body for Explained {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.inner).poll_frame(cx)));
        let frame = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => {
                self.over = true;
                return Poll::Ready(Some(Ok(trailers(&panicked(panic.as_ref())))));
            }
        };
        let action = &self.action;
        let frame = frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    explain(&mut trailers, action);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            })
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The frame that ends a stream with a status.
pub(super) fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // As above: our messages are plain text.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}
