//! What went wrong, said so that the reader knows what to do, and the exit code that goes with it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use portreeve_api::common::v1::ErrorReason;
use portreeve_runtime::identity::client::distrust;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server, or a rule of the command itself, refused. Exit code 1.
    Refused(Box<Status>),
    /// Part of the work was refused, or it failed on this machine; the sentence says it all. Exit code 1.
    Failed(String),
    /// The command line or an input file is wrong. Exit code 2.
    Usage(String),
    /// What was verified is not so. The exit code tells in which way.
    Disproved {
        /// The exit code.
        code: u8,
        /// What was found.
        text: String,
    },
    /// Certificates kept the connection from being made. Exit code 1.
    Distrusted {
        /// The address that was tried.
        server: String,
        /// Which side does not trust the other, and why.
        why: String,
    },
    /// No server answered. Exit code 3.
    Unreachable {
        /// The address that was tried.
        server: String,
        /// What the transport said.
        cause: String,
    },
    /// The connection broke before the answer came. Exit code 1.
    Broken {
        /// The address that was called.
        server: String,
        /// What the transport said.
        cause: String,
    },
}

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A file that cannot be used.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::Usage(format!("{}: {error}", path.display()))
    }

    /// What a call to `server` ended with.
    pub(crate) fn call(server: &str, status: Status) -> Self {
        if reason(&status.get_error_details()).is_none()
            && let Some(why) = distrust(&status)
        {
            return Self::Distrusted { server: server.to_owned(), why };
        }
        // The transport makes statuses of its own when nobody answers; a server of ours always gives a reason.
        match status.code() {
            Code::Unavailable if reason(&status.get_error_details()).is_none() => {
                Self::Unreachable { server: server.to_owned(), cause: causes(&status) }
            }
            Code::Unknown if reason(&status.get_error_details()).is_none() => {
                Self::Broken { server: server.to_owned(), cause: causes(&status) }
            }
            _ => Self::Refused(Box::new(status)),
        }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Failed(_) | Self::Distrusted { .. } | Self::Broken { .. } => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Disproved { code, .. } => *code,
        })
    }
}

/// Printing to a pipe that nobody reads any more is an ordinary end, which [`super::main`] looks for by this text.
pub(crate) const CLOSED_PIPE: &str = "the output was closed";

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Failed(CLOSED_PIPE.to_owned());
        }
        Self::Failed(error.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(status) => f.write_str(&explain(status)),
            Self::Failed(text) => f.write_str(text),
            Self::Disproved { text, .. } => write!(f, "not proved:\n  {text}"),
            Self::Usage(text) => write!(f, "{text}\n  what to do: see `portreeve help`"),
            Self::Distrusted { server, why } => write!(
                f,
                "no connection with {server}: {why}\n  what to do: use a certificate of the authority that the other side \
                 trusts (--cert, --key), and trust the server's own (--tls-ca)"
            ),
            Self::Broken { server, cause } => write!(
                f,
                "the connection with {server} broke before the answer came: {cause}\n  what to do: repeat the command; of a \
                 write look first whether it was done, or name a --request-id each time, under which it is done once"
            ),
            Self::Unreachable { server, cause } => write!(
                f,
                "no server answers at {server}: {cause}\n  what to do: start one with `portreeve serve`, or name another \
                 with --server or PORTREEVE_SERVER"
            ),
        }
    }
}

/// A status as a person reads it: reason and sentence, every wrong field, and what to do.
pub(crate) fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let name = reason(&details).map_or_else(|| format!("{:?}", status.code()), str::to_owned);
    let mut text = format!("{name}: {}", status.message());
    for (field, description) in fields(&details) {
        let _ = write!(text, "\n  {field}: {description}");
    }
    let _ = write!(text, "\n  what to do: {}", advice(&name, status.code()));
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        let _ = write!(text, " (after {} ms)", delay.as_millis());
    }
    text
}

/// The reason that a server of ours gives with every error.
pub(crate) fn reason(details: &ErrorDetails) -> Option<&str> {
    details.error_info().map(|info| info.reason.as_str()).filter(|reason| !reason.is_empty())
}

/// Every field that is wrong, with what is wrong with it.
pub(crate) fn fields(details: &ErrorDetails) -> impl Iterator<Item = (&str, &str)> {
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    violations.iter().map(|violation| (violation.field.as_str(), violation.description.as_str()))
}

/// The innermost sentence of an error's chain, which is where transports say what happened.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The next step for a reason; for one that this version does not know, by the gRPC code alone.
fn advice(reason: &str, code: Code) -> &'static str {
    use ErrorReason as R;
    match R::from_str_name(&format!("ERROR_REASON_{reason}")).unwrap_or(R::Unspecified) {
        R::RequestInvalid => "correct the fields; the same request cannot succeed unchanged",
        R::RequestIdReused => "use a new request id for new content; the first request stands",
        R::PageTokenInvalid => "begin again without a page token",
        R::ResumeTokenInvalid | R::ResumeTokenForeign => "start with --from earliest or --from snapshot",
        R::ResumeTokenFuture | R::ResumeTokenExpired => "start with --from snapshot",
        R::ResumeFilterChanged => "use the filter that the token came with, or start with --from snapshot",
        R::RevisionInvalid => "leave the revision out, or use one that this server gave",
        R::NotCaughtUp => "run the command again in a moment",
        R::Unauthenticated => {
            "say who acts: to a secured server by --cert and --key or --token, to an open one by --as agencies/ID, \
             platforms/ID, oversightBodies/ID, operators/ID or researchers/ID"
        }
        R::CredentialInvalid => "have a new certificate or token issued; this server refuses the one that was used",
        R::CredentialExpired => "get a new token, and give it with --token or PORTREEVE_TOKEN",
        R::PermissionDenied => "act as the organisation that owns it (--as), with a role that may do it (--roles)",
        R::OrganisationNotFound => "check the name with `portreeve organisation list`, or create it",
        R::ReferralNotFound | R::DecisionNotFound => "check the name",
        R::CaseNotFound => "check the name with `portreeve inbox`; a new referral takes a moment to arrive",
        R::ClauseNotFound => "check clause and version with `portreeve clause list`, or add them",
        R::OrganisationExists | R::ClauseExists => "choose another id",
        R::HostTaken => "take the host from the other platform first",
        R::InvalidTransition => "read it again and take a possible step: a case is acknowledged before it is decided",
        R::CaseWithdrawn => "nothing; the agency took the referral back",
        R::StaleVersion => "read it again and decide anew",
        R::ClauseNotInForce => "cite the version that was in force when the decision was made",
        R::BackdatingNotPermitted => "ask for the role with --roles import",
        R::Overloaded | R::ServerDraining | R::StorageUnavailable | R::DeadlineExceeded => {
            "run it again; with the same request id nothing is done twice"
        }
        R::LimitExceeded => "split the request",
        R::UrlOfAnotherPlatform => "address the platform that the host belongs to",
        R::LogNotFound => "ask the server of the service whose log it is",
        R::PositionOutOfRange => "ask for a position or size within the log",
        R::AuditKeyMissing => "name a key file for the server with audit_key, where its database is not a folder",
        R::MatchingKeyMissing => "name a key file for the server with matching_key, where its database is not a folder",
        R::InterestNotFound => "check the name with `portreeve interest list`",
        R::HoldNotFound => "check the name with `portreeve hold list`",
        R::JustificationRequired => "say why you read, with --justification",
        R::AuditorUnnamed | R::MemberUnnamed => "say who you are, with --member or a certificate that names you",
        R::SignatureInvalid => "sign what is sent, unchanged, with --sign-key",
        R::SignatureKeyUnknown => "register the key with `portreeve sign register`, as an approver of the agency",
        R::SignatureKeyExpired => {
            "make and register a new key with `portreeve sign init` and `portreeve sign register`"
        }
        R::SignatureRequired => "sign with --sign-key; the agency demands it",
        R::SigningKeyExists => "choose another id for the key",
        R::RevocationListExpired => {
            "run it again later; the server's operator must give it the authority's new revocation list"
        }
        R::TokenKeysUnavailable => "run it again later, or use a certificate (--cert, --key)",
        R::AgreementLapsed => "go on with what is your own, or agree anew with the partner",
        R::AgreementNotFound => "correct the agreement's name; `portreeve agreement list` shows yours",
        R::PurposeRequired => "name the purpose with --purpose, or ask for your own agency alone",
        R::ReferringSuspended => {
            "read why with `portreeve measure list`; appeal with `portreeve measure appeal`, or refer again once it has ended"
        }
        R::MeasureNotFound => "check the name with `portreeve measure list`",
        R::PreNoticeRequired => {
            "give the platform a pre-notice (`portreeve pre-notice give`) and wait 12 hours, or say with --emergency why it cannot wait"
        }
        R::NonDisclosureExtended => "let it end; whoever posted the content may be told then",
        R::CaseLeased => "wait until the lease is over, or have its holder give the case back",
        R::StayNotFound => "check the name with `portreeve inbox`",
        R::ChallengeNotFound => "check the name with `portreeve challenge list`",
        R::ChallengeOpen => "wait for its outcome, or have whoever filed it close it: `portreeve challenge close`",
        R::ChallengeWindowClosed => "refer the content anew",
        R::ReviewFlagNotFound => "check the name with `portreeve flag list`",
        R::WarningRequired => "give a warning first: `portreeve measure impose warning`",
        R::DeciderNotImpartial => "let another supervisor, or another approver, decide",
        R::ProtectedContextNotCleared => {
            "answer the protected-context check with --context; what is protected is not referred"
        }
        R::AuthorisationRequired => {
            "write it with `portreeve draft create`, and let an approver `portreeve draft authorise` it"
        }
        R::DraftNotFound => "check the name with `portreeve draft list`",
        R::MarkingRefused => "send nothing that is classified above OFFICIAL-SENSITIVE here",
        R::GrantNotFound => "correct the grant's name; `portreeve grant list` shows yours",
        R::PublicationNotFound => "correct the name; `portreeve publication list` shows what was published",
        R::GrantLapsed => "wait for the grant's begin, or ask the oversight body for a new one",
        R::GrantExceeded => "ask for what the grant covers; `portreeve grant show` says what that is",
        R::AgreementExceeded => {
            "ask for what the agreement that it names shares; `portreeve agreement show` says what that is"
        }
        R::QueryBudgetSpent => "ask the oversight body for a new grant",
        R::EvidenceNotFound => "check the name with `portreeve evidence list`, or upload it anew",
        R::EvidenceStoreMissing => "name a store for the server with evidence, where its database is not a folder",
        R::EvidenceTypeMismatch => "say what the file is with --media-type, or convert it",
        R::EvidenceDigestMismatch => "upload it again; if it has changed since, capture it again",
        R::EvidenceAttached => "erase the target of the referrals that carry it: `portreeve retention erase`",
        R::EvidenceDamaged => "have the server's operator restore the store of evidence",
        R::OperationNotFound => "check the name with `portreeve operation list`, or have its lead invite the agency",
        R::OperationNotJoined => "have an approver of the agency join it: `portreeve operation join`",
        R::OperationNotOpen => "see its window with `portreeve operation show`; what is closed takes nothing more",
        R::AddressRulesNotFound => "leave the version out for the newest",
        R::NotSealed => "ask the server's operator: it was recorded before what can be erased was encrypted",
        R::Internal => "report it with the time of the call",
        R::Unspecified => match code {
            Code::InvalidArgument | Code::OutOfRange => "correct the request",
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted => "run it again",
            Code::Unimplemented => "check that the server is a Portreeve of this version and runs this service",
            _ => "report it with the time of the call",
        },
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn a_refusal_names_reason_fields_and_next_step() {
        let mut details =
            ErrorDetails::with_error_info("REQUEST_INVALID", "portreeve", std::collections::HashMap::new());
        details.add_bad_request_violation("referral.target.url", "must be an http or https URL");
        details.add_bad_request_violation("request_id", "must be a UUID");
        let status = Status::with_error_details(Code::InvalidArgument, "2 fields are wrong", details);
        let failure = Failure::call("http://127.0.0.1:1", status);
        assert_eq!(
            failure.to_string(),
            "REQUEST_INVALID: 2 fields are wrong\n  referral.target.url: must be an http or https URL\n  \
             request_id: must be a UUID\n  what to do: correct the fields; the same request cannot succeed unchanged"
        );
        assert_eq!(failure.exit_code(), ExitCode::from(1));
    }

    #[test]
    fn a_server_that_does_not_answer_is_no_refusal() {
        let failure = Failure::call("http://127.0.0.1:1", Status::unavailable("tcp connect error"));
        assert_eq!(failure.exit_code(), ExitCode::from(3));
        assert!(failure.to_string().contains("portreeve serve"));
    }

    #[test]
    fn a_connection_that_breaks_says_what_may_have_been_done() {
        let failure = Failure::call("http://127.0.0.1:1", Status::unknown("transport error"));
        assert_eq!(failure.exit_code(), ExitCode::from(1));
        assert!(
            failure.to_string().contains("broke before the answer came")
                && failure.to_string().contains("--request-id")
        );
    }

    #[test]
    fn every_reason_has_its_own_advice() {
        for value in 1..100 {
            let Ok(known) = ErrorReason::try_from(value) else { continue };
            let name = known.as_str_name().trim_start_matches("ERROR_REASON_");
            assert!(!advice(name, Code::Ok).starts_with("report it") || name == "INTERNAL", "{name} has no advice");
        }
    }
}
