//! Priorities between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::Violations;
use portreeve_core::vocabulary::PriorityLevel;
use portreeve_runtime::wire::must_say;
use prost::Message as _;

use crate::domain::Priority;

/// A priority from the wire. What is wrong is noted under `path`; what the contract's rules refuse has been noted already.
pub(super) fn read_priority(message: &wire::Priority, path: &str, violations: &mut Violations) -> Option<Priority> {
    must_say(violations, &format!("{path}.explanation"), &message.explanation);
    read_recorded(message)
}

/// A priority as it was recorded; `None` for one that this release did not write.
pub(super) fn read_recorded(message: &wire::Priority) -> Option<Priority> {
    Some(Priority {
        harm: PriorityLevel::from_code(message.harm)?,
        likelihood: PriorityLevel::from_code(message.likelihood)?,
        confidence: PriorityLevel::from_code(message.confidence)?,
        explanation: message.explanation.clone(),
        threat_to_life: message.imminent_threat_to_life,
    })
}

/// A priority for the wire.
pub(super) fn write_priority(priority: &Priority) -> wire::Priority {
    wire::Priority {
        harm: priority.harm.code(),
        likelihood: priority.likelihood.code(),
        confidence: priority.confidence.code(),
        explanation: priority.explanation.clone(),
        imminent_threat_to_life: priority.threat_to_life,
        score: priority.score(),
    }
}

/// A priority as the database keeps it: as the contract writes it; nothing for none.
pub fn encode(priority: Option<&Priority>) -> Vec<u8> {
    priority.map(|priority| write_priority(priority).encode_to_vec()).unwrap_or_default()
}

/// The priority behind what the database keeps; `None` for what this release did not write.
pub fn decode(bytes: &[u8]) -> Option<Priority> {
    read_recorded(&wire::Priority::decode(bytes).ok()?)
}
