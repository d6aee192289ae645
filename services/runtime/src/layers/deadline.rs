//! Gives up on a unary call once its caller has.
//!
//! A stream's deadline is its caller's to keep: the caller resets the stream, and its loop ends with it. But no call waits
//! for ever to begin: whoever opens one and never sends its message is given up on, too.

use std::time::Duration;

use http::{HeaderMap, Request, Response};
use portreeve_core::{Error, Reason, limits};
use tonic::body::Body;

use super::methods::Methods;
use super::{Around, Inner, Next};
use crate::status::status;

const GRPC_TIMEOUT: &str = "grpc-timeout";
/// How long a call may take until the answer begins.
const LONGEST: Duration = Duration::from_secs(limits::CALL_SECONDS_MAX);
/// The same for an upload, whose answer begins when all of it has come in.
const LONGEST_UPLOAD: Duration = Duration::from_secs(limits::UPLOAD_SECONDS_MAX);

/// The layer.
#[derive(Clone, Debug)]
pub struct Deadline {
    methods: Methods,
}

impl Deadline {
    /// Knows from the contract which methods are unary.
    pub fn new(methods: Methods) -> Self {
        Self { methods }
    }
}

impl Around for Deadline {
    async fn around<S: Inner>(&self, request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let method = self.methods.at(request.uri().path());
        let asked = patience(request.headers()).filter(|_| !method.streaming);
        let longest = if method.upload { LONGEST_UPLOAD } else { LONGEST };
        let patience = asked.unwrap_or(longest).min(longest);
        tokio::time::timeout(patience, next.run(request)).await.unwrap_or_else(|_| {
            let error = Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed before the answer was ready; a write may still have happened: repeat it with the \
                 same request_id",
            );
            status(&error).into_http()
        })
    }
}

/// How long the caller waits: up to eight digits and a unit. What does not read as that is no deadline.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(count)),
        "M" => Some(Duration::from_mins(count)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_call_waits_for_ever_to_begin() {
        use std::convert::Infallible;

        use http::Response;
        use tower::{Layer as _, ServiceExt as _};

        let methods = Methods::read(&[portreeve_api::FILE_DESCRIPTOR_SET]).unwrap();
        let never = tower::service_fn(|_| std::future::pending::<Result<Response<Body>, Infallible>>());
        let patient = crate::layers::Wrap::new(Deadline::new(methods)).layer(never);
        for (method, timeout, seconds) in [
            ("ReferralService/GetReferral", None, LONGEST.as_secs()),
            ("ReferralService/GetReferral", Some("5S"), 5),
            ("ReferralService/GetReferral", Some("9H"), LONGEST.as_secs()),
            ("ReferralService/WatchReferrals", None, LONGEST.as_secs()),
            ("ReferralService/WatchReferrals", Some("5S"), LONGEST.as_secs()),
            ("EvidenceService/UploadEvidence", None, LONGEST_UPLOAD.as_secs()),
            ("EvidenceService/DownloadEvidence", None, LONGEST.as_secs()),
        ] {
            let mut request = Request::builder().uri(format!("/portreeve.referral.v1.{method}"));
            if let Some(timeout) = timeout {
                request = request.header(GRPC_TIMEOUT, timeout);
            }
            let begun = tokio::time::Instant::now();
            let answer = patient.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let status = tonic::Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
            assert_eq!(begun.elapsed().as_secs(), seconds, "{method} {timeout:?}");
        }
    }

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        let read = |text: &str| {
            patience(&HeaderMap::from_iter([(http::HeaderName::from_static(GRPC_TIMEOUT), text.parse().unwrap())]))
        };
        assert_eq!(read("1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for text in ["", "S", "1", "1x", "-1S", "+1S", "999999999S", "1.5S"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
