//! Priorities between the wire and the domain, and `PrioritiseReferral`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, ReferralName};
use portreeve_core::principal::Role;
use portreeve_core::vocabulary::PriorityLevel;
use portreeve_core::{Result, Violations};
use portreeve_runtime::wire::{guard, must_say, principal, read_time, violations, write_time};
use prost::Message as _;
use tonic::Request;

use super::Rpc;
use crate::domain::{Command, Priority};

impl Rpc {
    pub(super) async fn prioritise(
        &self,
        request: Request<wire::PrioritiseReferralRequest>,
    ) -> Result<wire::PrioritiseReferralResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        // A wrong name has been noted by the contract's rules, which say the same.
        let name = message.name.parse::<ReferralName>().ok();
        let said = message.priority.as_ref();
        let priority = said.and_then(|said| read_priority(said, "priority", &mut violations));
        let (name, priority) = violations.finish(name.zip(priority))?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("PrioritiseReferral", &request_id, &message);
        let expected_version = message.expected_version;
        let command = Command::Prioritise { name: name.clone(), priority, expected_version };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::PrioritiseReferralResponse {
            referral: Some(self.left_of(&caller, &name, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }
}

/// A priority from the wire. What is wrong is noted under `path`; what the contract's rules refuse has been noted already.
pub(super) fn read_priority(message: &wire::Priority, path: &str, violations: &mut Violations) -> Option<Priority> {
    must_say(violations, &format!("{path}.explanation"), &message.explanation);
    // What became of it is not the caller's to say.
    Some(Priority { version: 0, changed_at: None, ..read_recorded(message)? })
}

/// A priority as it was recorded; `None` for one that this release did not write.
pub(super) fn read_recorded(message: &wire::Priority) -> Option<Priority> {
    Some(Priority {
        harm: PriorityLevel::from_code(message.harm)?,
        likelihood: PriorityLevel::from_code(message.likelihood)?,
        confidence: PriorityLevel::from_code(message.confidence)?,
        explanation: message.explanation.clone(),
        threat_to_life: message.imminent_threat_to_life,
        version: message.version,
        changed_at: match &message.changed_at {
            Some(at) => Some(read_time(at).ok()?),
            None => None,
        },
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
        version: priority.version,
        changed_at: priority.changed_at.map(write_time),
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
