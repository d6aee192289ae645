//! The words in which the contract's values are typed and printed: enum values without their prefix, times and dates.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use portreeve_api::common::v1::{
    Classification, Disposition, Ground, InformationAssessment, ReferralNature, SourceGrade, TargetKind, Tlp,
};
use portreeve_api::consultation::v1::ConsultationKind;
use portreeve_api::decision::v1::{
    AccessObstacle, CaseStatus, CauseKind, ChallengeKind, ChallengeOutcome, ChallengeStage, ClockKind, ClockState,
    DecisionKind, DecisionSource, Discrepancy, ExternalForum, GoneBy, NotificationExemption, NotificationStatus,
    Outcome, ProtectedContext, QuestionCode, Redress, Restriction, StatementAccountType, StatementContentType,
    StatementExclusion, StayEnd, StayGround,
};
use portreeve_api::referral::v1::{
    AfterEnd, AgreementState, CaptureMethod, Defence, DefenceFinding, DraftState, EvidenceGrade, FieldGroup,
    GraphicSeverity, HoldState, InterestPriority, InterestState, JointAgencyState, MatchResult, MeasureAppealOutcome,
    MeasureKind, MeasureState, MisuseGravity, MisuseIntent, ObservationFinding, ObservationMethod, OperationState,
    OrderRegime, OrganisationKind, PriorityLevel, Purpose, RedactionLevel, ReferralState, RetentionClass,
    ReviewFlagState, ReviewOutcome,
};
use portreeve_api::reporting::v1::{Dimension, Figure, GrantState};
pub(crate) use portreeve_core::figure::{grouped, sentence, share};
use portreeve_core::time::{Date, Timestamp};

/// An enum of the contract whose values people type: `OFFER_TRANSPORT_SEA`, or `offer-transport-sea`.
pub(crate) trait Word: Copy + Sized {
    /// The part that every value's name in the contract begins with.
    const PREFIX: &'static str;

    /// The name in the contract.
    fn full(self) -> &'static str;

    /// The value with a name in the contract.
    fn from_full(name: &str) -> Option<Self>;

    /// The value with a number.
    fn from_number(number: i32) -> Option<Self>;

    /// The name without its prefix.
    fn word(self) -> &'static str {
        self.full().trim_start_matches(Self::PREFIX)
    }

    /// Reads a word; the error lists those that exist.
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_uppercase().replace(['-', ' '], "_");
        let name = name.trim_start_matches(Self::PREFIX);
        Self::from_full(&format!("{}{name}", Self::PREFIX)).filter(|value| value.word() != "UNSPECIFIED").ok_or_else(
            || {
                let known = Self::words().join(", ");
                format!("{text:?} is none of {known}")
            },
        )
    }

    /// Every word, in the order of the contract.
    fn words() -> Vec<&'static str> {
        (1..200).map_while(Self::from_number).map(Self::word).collect()
    }
}

macro_rules! words {
    ($($type:ident = $prefix:literal),* $(,)?) => {$(
        impl Word for $type {
            const PREFIX: &'static str = $prefix;

            fn full(self) -> &'static str {
                self.as_str_name()
            }

            fn from_full(name: &str) -> Option<Self> {
                Self::from_str_name(name)
            }

            fn from_number(number: i32) -> Option<Self> {
                Self::try_from(number).ok()
            }
        }
    )*};
}

words! {
    AccessObstacle = "ACCESS_OBSTACLE_",
    NotificationExemption = "NOTIFICATION_EXEMPTION_",
    NotificationStatus = "NOTIFICATION_STATUS_",
    Redress = "REDRESS_",
    AfterEnd = "AFTER_END_",
    AgreementState = "AGREEMENT_STATE_",
    CaptureMethod = "CAPTURE_METHOD_",
    CaseStatus = "CASE_STATUS_",
    CauseKind = "CAUSE_KIND_",
    Classification = "CLASSIFICATION_",
    ChallengeKind = "CHALLENGE_KIND_",
    ChallengeOutcome = "CHALLENGE_OUTCOME_",
    ChallengeStage = "CHALLENGE_STAGE_",
    ClockKind = "CLOCK_KIND_",
    ClockState = "CLOCK_STATE_",
    ConsultationKind = "CONSULTATION_KIND_",
    JointAgencyState = "JOINT_AGENCY_STATE_",
    OperationState = "OPERATION_STATE_",
    OrderRegime = "ORDER_REGIME_",
    PriorityLevel = "PRIORITY_LEVEL_",
    QuestionCode = "QUESTION_CODE_",
    StatementAccountType = "STATEMENT_ACCOUNT_TYPE_",
    StatementContentType = "STATEMENT_CONTENT_TYPE_",
    StatementExclusion = "STATEMENT_EXCLUSION_",
    StayEnd = "STAY_END_",
    StayGround = "STAY_GROUND_",
    DecisionKind = "DECISION_KIND_",
    DecisionSource = "DECISION_SOURCE_",
    Defence = "DEFENCE_",
    DefenceFinding = "DEFENCE_FINDING_",
    Dimension = "DIMENSION_",
    Disposition = "DISPOSITION_",
    ExternalForum = "EXTERNAL_FORUM_",
    DraftState = "DRAFT_STATE_",
    EvidenceGrade = "EVIDENCE_GRADE_",
    FieldGroup = "FIELD_GROUP_",
    HoldState = "HOLD_STATE_",
    InterestPriority = "INTEREST_PRIORITY_",
    InterestState = "INTEREST_STATE_",
    MatchResult = "MATCH_RESULT_",
    GraphicSeverity = "GRAPHIC_SEVERITY_",
    Figure = "FIGURE_",
    GoneBy = "GONE_BY_",
    GrantState = "GRANT_STATE_",
    Ground = "GROUND_",
    InformationAssessment = "INFORMATION_ASSESSMENT_",
    MeasureAppealOutcome = "MEASURE_APPEAL_OUTCOME_",
    MeasureKind = "MEASURE_KIND_",
    MeasureState = "MEASURE_STATE_",
    MisuseGravity = "MISUSE_GRAVITY_",
    MisuseIntent = "MISUSE_INTENT_",
    Discrepancy = "DISCREPANCY_",
    ObservationFinding = "OBSERVATION_FINDING_",
    ObservationMethod = "OBSERVATION_METHOD_",
    OrganisationKind = "ORGANISATION_KIND_",
    Outcome = "OUTCOME_",
    ProtectedContext = "PROTECTED_CONTEXT_",
    Purpose = "PURPOSE_",
    RedactionLevel = "REDACTION_LEVEL_",
    ReferralNature = "REFERRAL_NATURE_",
    ReferralState = "REFERRAL_STATE_",
    Restriction = "RESTRICTION_",
    ReviewFlagState = "REVIEW_FLAG_STATE_",
    ReviewOutcome = "REVIEW_OUTCOME_",
    RetentionClass = "RETENTION_CLASS_",
    SourceGrade = "SOURCE_GRADE_",
    TargetKind = "TARGET_KIND_",
    Tlp = "TLP_",
}

/// The words of an enum as an option takes them: in lower case with hyphens, and as the contract writes them.
pub(crate) fn words_of<W: Word + Send + Sync + 'static>() -> impl TypedValueParser<Value = W> {
    let value = |word: &'static str| PossibleValue::new(as_typed(word)).alias(word);
    PossibleValuesParser::new(W::words().into_iter().map(value)).try_map(|text| W::parse(&text))
}

/// A value as it is typed: in lower case with hyphens.
pub(crate) fn typed<W: Word>(value: W) -> String {
    as_typed(value.word())
}

fn as_typed(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

/// The word of a number as a message carries it; the number itself where this version has no word for it.
pub(crate) fn shown<W: Word>(number: i32) -> String {
    W::from_number(number).map_or_else(|| number.to_string(), |value| value.word().to_owned())
}

/// Reads an RFC 3339 time, or a date as the start of its day in UTC.
pub(crate) fn time(text: &str) -> Result<prost_types::Timestamp, String> {
    let (seconds, nanos) = text.trim().parse::<Timestamp>()?.to_parts();
    let carried = Timestamp::from_parts(seconds, nanos).map(to_proto);
    carried.ok_or_else(|| format!("{text:?} is not in the years 1 to 9999"))
}

/// Reads a day, and gives it as it is written.
pub(crate) fn day(text: &str) -> Result<String, String> {
    text.trim().parse::<Date>().map(|day| day.to_string())
}

/// An instant of a message, in words; nothing where it has none.
pub(crate) fn when(instant: Option<&prost_types::Timestamp>) -> String {
    from_proto(instant).map(|instant| instant.to_string()).unwrap_or_default()
}

/// An instant as messages carry it.
pub(crate) fn to_proto(instant: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = instant.to_parts();
    prost_types::Timestamp { seconds, nanos }
}

/// The instant in a message.
pub(crate) fn from_proto(instant: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    instant.and_then(|instant| Timestamp::from_parts(instant.seconds, instant.nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_spelling_and_listed_when_wrong() {
        for text in
            ["OFFER_TRANSPORT_SEA", "offer-transport-sea", "GROUND_OFFER_TRANSPORT_SEA", " offer transport sea "]
        {
            assert_eq!(Ground::parse(text), Ok(Ground::OfferTransportSea), "{text}");
        }
        let wrong = TargetKind::parse("submarine").unwrap_err();
        assert!(
            wrong.starts_with("\"submarine\" is none of PAGE, ACCOUNT,") && wrong.ends_with("PHONE_NUMBER"),
            "{wrong}"
        );
        assert!(Outcome::parse("UNSPECIFIED").is_err() && Outcome::parse("").is_err());
        assert!(time("2020-01-06").is_ok() && time("-009999-01-06T00:00:00Z").is_err() && time("soon").is_err());
        assert_eq!(typed(Tlp::AmberStrict), "amber-strict");
        assert_eq!(shown::<Outcome>(9), "NO_ACTION_PERMITTED_BY_POLICY");
        assert_eq!(shown::<Outcome>(4711), "4711");
    }
}
