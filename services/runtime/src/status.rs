//! The one place where an error becomes a gRPC status.

use std::collections::HashMap;

use portreeve_core::Error;
use portreeve_core::error::{Class, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The domain under which the reasons are documented.
pub const ERROR_DOMAIN: &str = "portreeve";

/// Bytes of the sentence for a person. A status travels as headers, and clients refuse long ones (16 KiB in all is common).
pub const MESSAGE_BYTES: usize = 1_024;
/// Bytes of the wrong fields that a status names, for the same reason: a batch can have more of them than headers hold.
const VIOLATION_BYTES: usize = 6 * 1_024;

/// The beginning of a text, cut between characters.
pub fn within(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// The status for an error, with its reason, its wrong fields and when to repeat the call.
///
/// What went wrong inside is logged here and never leaves the process.
pub fn status(error: &Error) -> Status {
    let message = if error.reason() == Reason::Internal {
        tracing::error!(error = error.message(), "an internal fault");
        "an internal fault; it has been logged under the request's id"
    } else {
        error.message()
    };
    let metadata = error.metadata().iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let mut details =
        ErrorDetails::with_error_info(error.reason().as_str(), ERROR_DOMAIN, metadata.collect::<HashMap<_, _>>());
    if !error.violations().is_empty() {
        let mut room = VIOLATION_BYTES;
        let fitting = error.violations().iter().map_while(|violation| {
            room = room.checked_sub(violation.field.len() + violation.description.len())?;
            Some(FieldViolation::new(violation.field.as_str(), violation.description.as_str()))
        });
        let mut fitting = fitting.collect::<Vec<_>>();
        let more = error.violations().len() - fitting.len();
        if more > 0 {
            fitting.push(FieldViolation::new("", format!("and {more} more")));
        }
        details.set_bad_request(fitting);
    }
    if let Some(delay) = error.retry_delay() {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code(error.reason().class()), within(message, MESSAGE_BYTES), details)
}

fn code(class: Class) -> Code {
    match class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::OutOfRange => Code::OutOfRange,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::Aborted => Code::Aborted,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::DeadlineExceeded => Code::DeadlineExceeded,
        Class::DataLoss => Code::DataLoss,
        Class::Internal => Code::Internal,
    }
}

/// `Result<T, Error>` to `Result<T, Status>`, for the end of an RPC method.
pub trait IntoStatus<T> {
    /// The value, or the status of the error.
    fn or_status(self) -> Result<T, Status>;
}

impl<T> IntoStatus<T> for Result<T, Error> {
    fn or_status(self) -> Result<T, Status> {
        self.map_err(|error| status(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portreeve_core::Violations;

    use super::*;

    #[test]
    fn every_error_carries_its_reason_and_details() {
        let mut violations = Violations::new();
        violations.add("referral.target.url", "must be a URL");
        violations.add("request_id", "must be a UUID");
        let invalid = violations.into_result().map_err(|e| status(&e)).unwrap_err();
        let details = invalid.get_error_details();
        assert_eq!(invalid.code(), Code::InvalidArgument);
        assert_eq!(details.error_info().map(|i| i.reason.as_str()), Some("REQUEST_INVALID"));
        assert_eq!(details.bad_request().map(|b| b.field_violations.len()), Some(2));

        let later = status(&Error::new(Reason::Overloaded, "full").retry_after(Duration::from_millis(100)));
        let delay = later.get_error_details().retry_info().and_then(|r| r.retry_delay);
        assert_eq!((later.code(), delay), (Code::ResourceExhausted, Some(Duration::from_millis(100))));
    }

    #[test]
    fn a_status_fits_into_headers_however_much_is_wrong() {
        let mut violations = Violations::new();
        for index in 0..10_000 {
            violations.add(format!("drafts[{index}].target.url"), "must be an absolute http or https URL");
        }
        let invalid = violations.into_result().map_err(|e| status(&e)).unwrap_err();
        assert!(invalid.message().len() <= MESSAGE_BYTES && invalid.details().len() < 10 * 1_024);
        let named = invalid.get_error_details().bad_request().unwrap().field_violations.clone();
        let (last, named) = named.split_last().unwrap();
        assert_eq!(named[0].field, "drafts[0].target.url");
        assert_eq!(
            (last.field.as_str(), last.description.as_str()),
            ("", format!("and {} more", 10_000 - named.len()).as_str())
        );
        assert_eq!(within("a\u{e9}b", 2), "a");
    }

    #[test]
    fn an_internal_fault_says_nothing_of_itself() {
        let status = status(&Error::internal("password=hunter2"));
        assert!(!format!("{status:?}").contains("hunter2"));
        assert_eq!(status.code(), Code::Internal);
    }
}
