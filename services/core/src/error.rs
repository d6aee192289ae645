//! The one error type of the suite. Every failure that a caller can see has a [`Reason`], which is documented in
//! `portreeve.common.v1.ErrorReason` and never changes its meaning.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $class:ident),* $(,)?) => {
        /// Why a call failed: the values of `portreeve.common.v1.ErrorReason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant),* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The reason as `google.rpc.ErrorInfo` carries it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// What the caller can make of it.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),* }
            }
        }
    };
}

/// Classes of failure; each is one gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// The request asks for something beyond the valid range.
    OutOfRange,
    /// Who calls is not known.
    Unauthenticated,
    /// Who calls may not do this.
    PermissionDenied,
    /// What the request names does not exist.
    NotFound,
    /// What the request would make exists.
    AlreadyExists,
    /// The state does not allow it.
    FailedPrecondition,
    /// Somebody else was first: read again and decide again.
    Aborted,
    /// Too much at once.
    ResourceExhausted,
    /// Not now; the same call may succeed later.
    Unavailable,
    /// The caller's deadline passed.
    DeadlineExceeded,
    /// What was kept is lost or damaged.
    DataLoss,
    /// A fault of ours.
    Internal,
}

reasons! {
    /// One or more fields are wrong; each is named.
    RequestInvalid = "REQUEST_INVALID" => InvalidArgument,
    /// The request id was used before with another content.
    RequestIdReused = "REQUEST_ID_REUSED" => InvalidArgument,
    /// The page token is not one of ours, or belongs to another query.
    PageTokenInvalid = "PAGE_TOKEN_INVALID" => InvalidArgument,
    /// The resume token cannot be read.
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID" => InvalidArgument,
    /// The resume token is of another log or another server.
    ResumeTokenForeign = "RESUME_TOKEN_FOREIGN" => InvalidArgument,
    /// The resume token is ahead of the log.
    ResumeTokenFuture = "RESUME_TOKEN_FUTURE" => OutOfRange,
    /// The resume token is below the oldest position kept.
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED" => OutOfRange,
    /// The resume token was issued for another filter.
    ResumeFilterChanged = "RESUME_FILTER_CHANGED" => InvalidArgument,
    /// A revision in `at_least` cannot be read, or is of a log that this service does not follow.
    RevisionInvalid = "REVISION_INVALID" => InvalidArgument,
    /// The service has not caught up with `at_least` in time.
    NotCaughtUp = "NOT_CAUGHT_UP" => Unavailable,
    /// The acting organisation is missing or unreadable.
    Unauthenticated = "UNAUTHENTICATED" => Unauthenticated,
    /// The certificate or token does not say, in the documented form, who acts; or it is not one that this server trusts.
    CredentialInvalid = "CREDENTIAL_INVALID" => Unauthenticated,
    /// The certificate or token is past its end.
    CredentialExpired = "CREDENTIAL_EXPIRED" => Unauthenticated,
    /// The acting organisation may not do this.
    PermissionDenied = "PERMISSION_DENIED" => PermissionDenied,
    /// No such organisation.
    OrganisationNotFound = "ORGANISATION_NOT_FOUND" => NotFound,
    /// No such registered interest.
    InterestNotFound = "INTEREST_NOT_FOUND" => NotFound,
    /// No such hold.
    HoldNotFound = "HOLD_NOT_FOUND" => NotFound,
    /// The server has no key to match targets with.
    MatchingKeyMissing = "MATCHING_KEY_MISSING" => FailedPrecondition,
    /// No such referral.
    ReferralNotFound = "REFERRAL_NOT_FOUND" => NotFound,
    /// No such case.
    CaseNotFound = "CASE_NOT_FOUND" => NotFound,
    /// No such clause, or no such version of it.
    ClauseNotFound = "CLAUSE_NOT_FOUND" => NotFound,
    /// No such decision.
    DecisionNotFound = "DECISION_NOT_FOUND" => NotFound,
    /// The organisation exists.
    OrganisationExists = "ORGANISATION_EXISTS" => AlreadyExists,
    /// The clause, or that version of it, exists.
    ClauseExists = "CLAUSE_EXISTS" => AlreadyExists,
    /// A host routes to another platform already.
    HostTaken = "HOST_TAKEN" => AlreadyExists,
    /// The target's host does not route to the platform that the referral names.
    UrlOfAnotherPlatform = "URL_OF_ANOTHER_PLATFORM" => InvalidArgument,
    /// The state machine has no such transition.
    InvalidTransition = "INVALID_TRANSITION" => FailedPrecondition,
    /// The referral was withdrawn, so that its case takes no decision.
    CaseWithdrawn = "CASE_WITHDRAWN" => FailedPrecondition,
    /// The resource has moved on from the version that the caller knew.
    StaleVersion = "STALE_VERSION" => Aborted,
    /// The cited clause version was not in force when the decision was made.
    ClauseNotInForce = "CLAUSE_NOT_IN_FORCE" => FailedPrecondition,
    /// `occurred_at` is older than allowed without the import role.
    BackdatingNotPermitted = "BACKDATING_NOT_PERMITTED" => PermissionDenied,
    /// More work is waiting than the server holds.
    Overloaded = "OVERLOADED" => ResourceExhausted,
    /// A documented limit was exceeded.
    LimitExceeded = "LIMIT_EXCEEDED" => ResourceExhausted,
    /// The server is shutting down.
    ServerDraining = "SERVER_DRAINING" => Unavailable,
    /// The caller's deadline passed before the work began.
    DeadlineExceeded = "DEADLINE_EXCEEDED" => DeadlineExceeded,
    /// The database did not answer; whether the write happened is unknown.
    StorageUnavailable = "STORAGE_UNAVAILABLE" => Unavailable,
    /// The server does not keep that log.
    LogNotFound = "LOG_NOT_FOUND" => NotFound,
    /// The position or size lies beyond the log.
    PositionOutOfRange = "POSITION_OUT_OF_RANGE" => OutOfRange,
    /// The server has no key to sign checkpoints with.
    AuditKeyMissing = "AUDIT_KEY_MISSING" => FailedPrecondition,
    /// The server demands to be told why data is read.
    JustificationRequired = "JUSTIFICATION_REQUIRED" => FailedPrecondition,
    /// Who reads an access log must say who that is.
    AuditorUnnamed = "AUDITOR_UNNAMED" => PermissionDenied,
    /// The agency's key did not make the referral's signature over what the referral says.
    SignatureInvalid = "SIGNATURE_INVALID" => InvalidArgument,
    /// The agency has no signing key of that id.
    SignatureKeyUnknown = "SIGNATURE_KEY_UNKNOWN" => NotFound,
    /// The signing key is not in force: not yet, no more, or revoked.
    SignatureKeyExpired = "SIGNATURE_KEY_EXPIRED" => FailedPrecondition,
    /// The agency demands that its referrals are signed, and this one is not.
    SignatureRequired = "SIGNATURE_REQUIRED" => FailedPrecondition,
    /// The agency has another signing key of that id.
    SigningKeyExists = "SIGNING_KEY_EXISTS" => AlreadyExists,
    /// The server's list of revoked certificates is past its end, so that it takes no certificate.
    RevocationListExpired = "REVOCATION_LIST_EXPIRED" => Unavailable,
    /// The keys of the tokens' issuer could not be had for too long, so that no token is taken.
    TokenKeysUnavailable = "TOKEN_KEYS_UNAVAILABLE" => Unavailable,
    /// The agreement under which data was shared is no longer in force.
    AgreementLapsed = "AGREEMENT_LAPSED" => PermissionDenied,
    /// No such agreement, or none that the caller may see.
    AgreementNotFound = "AGREEMENT_NOT_FOUND" => NotFound,
    /// A partner's data is read for no purpose that the agreement allows.
    PurposeRequired = "PURPOSE_REQUIRED" => PermissionDenied,
    /// The content is classified above what this exchange takes.
    MarkingRefused = "MARKING_REFUSED" => FailedPrecondition,
    /// A protected-context check is missing where one is demanded, or found that the law protects the content.
    ProtectedContextNotCleared = "PROTECTED_CONTEXT_NOT_CLEARED" => FailedPrecondition,
    /// The agency demands that a second person authorises such a referral.
    AuthorisationRequired = "AUTHORISATION_REQUIRED" => FailedPrecondition,
    /// No such draft, or none of the caller's.
    DraftNotFound = "DRAFT_NOT_FOUND" => NotFound,
    /// No such grant.
    GrantNotFound = "GRANT_NOT_FOUND" => NotFound,
    /// No such published report, or no such version of it.
    PublicationNotFound = "PUBLICATION_NOT_FOUND" => NotFound,
    /// The grant is not in force: not yet, no more, or revoked.
    GrantLapsed = "GRANT_LAPSED" => PermissionDenied,
    /// The report asks for more than the grant covers.
    GrantExceeded = "GRANT_EXCEEDED" => PermissionDenied,
    /// A report asks for more of partners' figures than the agreements share.
    AgreementExceeded = "AGREEMENT_EXCEEDED" => PermissionDenied,
    /// Every query that the grant allows has been answered.
    QueryBudgetSpent = "QUERY_BUDGET_SPENT" => ResourceExhausted,
    /// The agency, or the member who acts for it, is suspended from referring.
    ReferringSuspended = "REFERRING_SUSPENDED" => PermissionDenied,
    /// No such measure against misuse.
    MeasureNotFound = "MEASURE_NOT_FOUND" => NotFound,
    /// A suspension needs an earlier warning.
    WarningRequired = "WARNING_REQUIRED" => FailedPrecondition,
    /// Who imposed a measure decides on no appeal against it, and who wrote a draft does not authorise it.
    DeciderNotImpartial = "DECIDER_NOT_IMPARTIAL" => PermissionDenied,
    /// No such flag for review.
    ReviewFlagNotFound = "REVIEW_FLAG_NOT_FOUND" => NotFound,
    /// Who acts must say which member of the organisation that is.
    MemberUnnamed = "MEMBER_UNNAMED" => PermissionDenied,
    /// What can be erased of the referral lies unencrypted in the log.
    NotSealed = "NOT_SEALED" => FailedPrecondition,
    /// No such challenge, or none that the caller may see.
    ChallengeNotFound = "CHALLENGE_NOT_FOUND" => NotFound,
    /// No such stay of a case.
    StayNotFound = "STAY_NOT_FOUND" => NotFound,
    /// Another reviewer holds the case.
    CaseLeased = "CASE_LEASED" => FailedPrecondition,
    /// The agency's first removal order to the platform may not be sent yet.
    PreNoticeRequired = "PRE_NOTICE_REQUIRED" => FailedPrecondition,
    /// The non-disclosure of the order was extended before.
    NonDisclosureExtended = "NON_DISCLOSURE_EXTENDED" => FailedPrecondition,
    /// A challenge of that version of the decision is open already.
    ChallengeOpen = "CHALLENGE_OPEN" => FailedPrecondition,
    /// The decision is too old to be challenged.
    ChallengeWindowClosed = "CHALLENGE_WINDOW_CLOSED" => FailedPrecondition,
    /// No such evidence, or it was erased.
    EvidenceNotFound = "EVIDENCE_NOT_FOUND" => NotFound,
    /// The server has no store for the bytes of evidence.
    EvidenceStoreMissing = "EVIDENCE_STORE_MISSING" => FailedPrecondition,
    /// The first bytes are not of the media type that was said.
    EvidenceTypeMismatch = "EVIDENCE_TYPE_MISMATCH" => InvalidArgument,
    /// The bytes do not have the digest that was said.
    EvidenceDigestMismatch = "EVIDENCE_DIGEST_MISMATCH" => InvalidArgument,
    /// A referral carries the evidence.
    EvidenceAttached = "EVIDENCE_ATTACHED" => FailedPrecondition,
    /// The bytes of the evidence are not those that were uploaded.
    EvidenceDamaged = "EVIDENCE_DAMAGED" => DataLoss,
    /// A platform's rules of addresses never had that version.
    AddressRulesNotFound = "ADDRESS_RULES_NOT_FOUND" => NotFound,
    /// No such operation, or none of the agency's.
    OperationNotFound = "OPERATION_NOT_FOUND" => NotFound,
    /// The agency was invited to the operation and does not take part in it.
    OperationNotJoined = "OPERATION_NOT_JOINED" => FailedPrecondition,
    /// The operation is not open: not yet, or no more.
    OperationNotOpen = "OPERATION_NOT_OPEN" => FailedPrecondition,
    /// A fault of ours.
    Internal = "INTERNAL" => Internal,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, as `target.url` or `items[3].request_id`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
}

/// Collects every wrong field of a request before it is refused.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    /// Among these so many that time alone brought about.
    late: usize,
}

impl Violations {
    /// Nothing wrong yet.
    pub const fn new() -> Self {
        Self { found: Vec::new(), late: 0 }
    }

    /// Notes a wrong field.
    pub fn add(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        self.found.push(Violation { field: field.into(), description: description.to_string() });
    }

    /// Notes a field that was right once, and became wrong with time alone.
    pub fn add_late(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        self.add(field, description);
        self.late += 1;
    }

    /// Keeps a good value; notes a bad one against its field.
    pub fn check<T, E: fmt::Display>(&mut self, field: &str, value: std::result::Result<T, E>) -> Option<T> {
        value.map_err(|e| self.add(field, e)).ok()
    }

    /// How much was noted.
    pub const fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was noted.
    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The refusal, if anything was noted.
    pub fn into_result(self) -> Result<()> {
        if self.found.is_empty() { Ok(()) } else { Err(Error::invalid(self.found)) }
    }

    /// As [`Violations::finish`], but for what time alone brought about: if nothing else is wrong, that comes beside the value.
    /// Only a request that is no repeat is to be refused for it.
    pub fn finish_in_time<T>(self, value: Option<T>) -> Result<(T, Result<()>)> {
        if self.found.len() > self.late {
            return self.finish(None);
        }
        let value = value.ok_or_else(failed)?;
        Ok((value, self.into_result()))
    }

    /// The value, if nothing was noted and the value could be made.
    pub fn finish<T>(self, value: Option<T>) -> Result<T> {
        self.into_result()?;
        value.ok_or_else(failed)
    }
}

fn failed() -> Error {
    Error::internal("a conversion failed without naming a field")
}

/// A failure: its reason, a sentence for a person, and its details for a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    message: Cow<'static, str>,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
}

impl Error {
    /// A failure with a sentence that tells the caller what happened and what to do next.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            retry_after: None,
        }))
    }

    /// A request with wrong fields.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let named = violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>().join(", ");
        let mut error = Self::new(Reason::RequestInvalid, format!("the request has wrong fields: {named}"));
        error.0.violations = violations;
        error
    }

    /// A fault of ours. The text is logged where the fault is mapped to a status and never leaves the process.
    pub fn internal(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Internal, detail)
    }

    /// Adds a value that the message depends on (AIP-193: dynamic parts are in the metadata too).
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.metadata.push((key, value.to_string()));
        self
    }

    /// Names a field that the failure is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>, description: impl fmt::Display) -> Self {
        self.0.violations.push(Violation { field: field.into(), description: description.to_string() });
        self
    }

    /// Tells the caller when the same call is worth repeating.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The documented reason.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The values that the message depends on.
    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.0.metadata
    }

    /// The wrong fields.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// When the same call is worth repeating.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason().as_str(), self.message())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_come_all_at_once() {
        let mut violations = Violations::new();
        assert_eq!(violations.check("a", Ok::<_, String>(1)), Some(1));
        assert_eq!(violations.check::<u8, _>("b", Err("must be set")), None);
        violations.add("c.d", "must be positive");
        let error = violations.into_result().err();
        let fields = error.iter().flat_map(Error::violations).map(|v| v.field.as_str()).collect::<Vec<_>>();
        assert_eq!(fields, ["b", "c.d"]);
    }

    #[test]
    fn reasons_are_well_formed_and_distinct() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            let text = reason.as_str();
            assert!(text.len() <= 63 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{text}");
            assert!(seen.insert(text), "{text} twice");
        }
    }
}
