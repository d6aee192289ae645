//! Protected-context checks between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::Violations;
use portreeve_core::vocabulary::{Defence, Finding};
use prost::Message as _;

use crate::domain::{Answer, Check};

/// A check from the wire. What is wrong is noted under `path`; what the contract's rules refuse has been noted already.
pub(super) fn read_check(
    message: &wire::ProtectedContextCheck,
    path: &str,
    violations: &mut Violations,
) -> Option<Check> {
    Check::new(message.answers.iter().map(read_answer).collect(), path, violations)
}

/// A check as it was recorded; `None` for one that this release did not write.
pub(super) fn read_recorded(message: &wire::ProtectedContextCheck) -> Option<Check> {
    message.answers.iter().map(read_answer).collect::<Option<_>>().map(Check::recorded)
}

fn read_answer(answer: &wire::ProtectedContextAnswer) -> Option<Answer> {
    Some(Answer {
        context: Defence::from_code(answer.context)?,
        finding: Finding::from_code(answer.finding)?,
        reasons: answer.reasons.clone(),
    })
}

/// A check for the wire.
pub(super) fn write_check(check: &Check) -> wire::ProtectedContextCheck {
    let answer = |answer: &Answer| wire::ProtectedContextAnswer {
        context: answer.context.code(),
        finding: answer.finding.code(),
        reasons: answer.reasons.clone(),
    };
    wire::ProtectedContextCheck { answers: check.answers().iter().map(answer).collect() }
}

/// A check as the database keeps it: as the contract writes it; nothing for none.
pub fn encode(check: Option<&Check>) -> Vec<u8> {
    check.map(|check| write_check(check).encode_to_vec()).unwrap_or_default()
}

/// The check behind what the database keeps; `None` for what this release did not write.
pub fn decode(bytes: &[u8]) -> Option<Check> {
    read_recorded(&wire::ProtectedContextCheck::decode(bytes).ok()?)
}
