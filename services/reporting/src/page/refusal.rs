//! Why the page shows no figures, and what to do.

use std::time::Duration;

use http::StatusCode;
use portreeve_core::{Error, Reason};
use portreeve_runtime::status::status;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A refusal as a page tells it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The status of the page.
    pub(super) status: StatusCode,
    /// The documented reason.
    pub(super) reason: String,
    /// The sentence.
    pub(super) message: String,
    /// What is wrong, by the fields of the form.
    pub(super) wrong: Vec<(String, String)>,
    /// When to ask again.
    pub(super) retry: Option<Duration>,
}

impl Refusal {
    /// Of one of our own errors.
    pub(super) fn of(error: &Error) -> Self {
        Self::from(status(error))
    }

    /// What to do next.
    pub(super) fn next(&self) -> &'static str {
        match self.reason.as_str() {
            "UNAUTHENTICATED" | "CREDENTIAL_INVALID" => "Say who you are, in one of the ways below.",
            "PERMISSION_DENIED" => {
                "These figures are not for whom you look as. An agency sees what it referred and a platform what was sent to it: leave \
                 out the agencies or platforms that are not yours, or look as an analyst of an oversight body."
            }
            "REQUEST_INVALID" => "Correct what is named, and show the report again.",
            "PURPOSE_REQUIRED" => {
                "Say for which purpose you read a partner's figures, in the field Purpose, under More."
            }
            "JUSTIFICATION_REQUIRED" => "Say why you read them, in the field Reason for reading, under More.",
            "AGREEMENT_LAPSED" | "AGREEMENT_EXCEEDED" => {
                "Leave out the agencies whose figures no agreement in force shares with yours, or ask for less."
            }
            "LIMIT_EXCEEDED" => "Ask for less: a shorter cohort, one platform, or one ground.",
            _ if self.status == StatusCode::NOT_IMPLEMENTED => {
                "This server runs without the service that knows it: clocks and time lines are where the decision service is, too."
            }
            _ if self.passes() => "Nothing is wrong with what you asked: load the page again in a moment.",
            _ => "Load the page again; if it stays so, tell whoever operates the server when it happened.",
        }
    }

    /// Whether asking again may well succeed.
    fn passes(&self) -> bool {
        [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS, StatusCode::GATEWAY_TIMEOUT]
            .contains(&self.status)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let wrong = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let reason = details.error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason.clone());
        // It is what is asked that is too much, whenever it is asked.
        let too_much = reason == Reason::LimitExceeded.as_str();
        Self {
            status: if too_much { StatusCode::BAD_REQUEST } else { http_status(status.code()) },
            reason,
            message: status.message().to_owned(),
            wrong: wrong.iter().map(|wrong| (field(&wrong.field), wrong.description.clone())).collect(),
            retry: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

/// The field of the form behind one of the contract's, without its place in a list.
fn field(path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let name = name.split('[').next().unwrap_or(name);
    let label = match name {
        "cohort_from_date" => "From",
        "cohort_until_date" => "Until",
        "as_of_date" => "As of",
        "known_at_date" => "Known at",
        "agencies" => "Agency",
        "platforms" => "Platform",
        "grounds" | "ground" => "Ground",
        "name" => "Case",
        "portreeve-purpose" => "Purpose",
        "portreeve-justification" | "portreeve-justification-bin" => "Reason for reading",
        _ => path,
    };
    label.to_owned()
}

const fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
