//! Operations between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OperationName, OrganisationKind, parse_owner};
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::wire::{must_say, optional_time, read_time, write_time};
use prost::Message as _;

use crate::domain::Operation;
use crate::domain::operation::{JointAgency, NewOperation, Part, State, Tally};

const fn state_code(state: State) -> i32 {
    match state {
        State::Planned => wire::OperationState::Planned as i32,
        State::Open => wire::OperationState::Open as i32,
        State::Closed => wire::OperationState::Closed as i32,
    }
}

fn write_invited(of: &JointAgency) -> wire::JointAgency {
    let (state, joined_at, left_at) = match of.part {
        Part::Invited => (wire::JointAgencyState::Invited, None, None),
        Part::Joined { at } => (wire::JointAgencyState::Joined, Some(at), None),
        Part::Left { joined_at, at } => (wire::JointAgencyState::Left, Some(joined_at), Some(at)),
    };
    wire::JointAgency {
        agency: format!("agencies/{}", of.agency),
        state: state as i32,
        joined_at: joined_at.map(write_time),
        left_at: left_at.map(write_time),
    }
}

/// An operation for the wire, as it stands at a moment, without what belongs to it. Its etag is the position of its last change.
pub fn write_operation(operation: &Operation, now: Timestamp) -> wire::Operation {
    wire::Operation {
        name: operation.name.to_string(),
        title: operation.title.clone(),
        joint_agencies: operation.invited.iter().map(write_invited).collect(),
        start_time: Some(write_time(operation.start)),
        end_time: Some(write_time(operation.end)),
        closed_at: operation.closed_at.map(write_time),
        state: state_code(operation.state(now)),
        create_time: Some(write_time(operation.created_at)),
        update_time: Some(write_time(operation.updated_at)),
        etag: operation.updated.to_string(),
        referral_count: 0,
        target_count: 0,
    }
}

/// The same as an agency reads it: with what belongs to it, if the agency takes part.
pub fn show_operation(operation: &Operation, agency: &str, now: Timestamp) -> wire::Operation {
    let Tally { referrals, targets } = if operation.has_part(agency) { operation.tally } else { Tally::default() };
    wire::Operation { referral_count: referrals, target_count: targets, ..write_operation(operation, now) }
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    read_time(time?).ok()
}

fn read_agency(name: &str) -> Option<String> {
    parse_owner(name, OrganisationKind::Agency).ok().map(str::to_owned)
}

fn read_invited(message: &wire::JointAgency) -> Option<JointAgency> {
    let part = match wire::JointAgencyState::try_from(message.state).ok()? {
        wire::JointAgencyState::Unspecified => return None,
        wire::JointAgencyState::Invited => Part::Invited,
        wire::JointAgencyState::Joined => Part::Joined { at: time(message.joined_at.as_ref())? },
        wire::JointAgencyState::Left => {
            Part::Left { joined_at: time(message.joined_at.as_ref())?, at: time(message.left_at.as_ref())? }
        }
    };
    Some(JointAgency { agency: read_agency(&message.agency)?, part })
}

/// An operation from the wire; `None` for one that this release did not write.
pub fn read_operation(message: &wire::Operation) -> Option<Operation> {
    Some(Operation {
        name: message.name.parse().ok()?,
        title: message.title.clone(),
        invited: message.joint_agencies.iter().map(read_invited).collect::<Option<_>>()?,
        start: time(message.start_time.as_ref())?,
        end: time(message.end_time.as_ref())?,
        closed_at: match &message.closed_at {
            None => None,
            Some(at) => Some(read_time(at).ok()?),
        },
        created_at: time(message.create_time.as_ref())?,
        updated_at: time(message.update_time.as_ref())?,
        created: 0,
        updated: message.etag.parse().ok()?,
        tally: Tally::default(),
    })
}

/// An operation as the database keeps it: as the contract writes it.
pub fn encode(operation: &Operation) -> Vec<u8> {
    write_operation(operation, operation.updated_at).encode_to_vec()
}

/// The operation behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<Operation> {
    read_operation(&wire::Operation::decode(body).ok()?)
}

/// An operation that is to be planned. Wrong fields are noted; the contract's own rules have been checked already, and what depends on the
/// time is the ledger's to say.
pub fn read_new(violations: &mut Violations, name: OperationName, message: &wire::Operation) -> Option<NewOperation> {
    must_say(violations, "operation.title", &message.title);
    let start = optional_time(violations, "operation.start_time", message.start_time.as_ref());
    let end = optional_time(violations, "operation.end_time", message.end_time.as_ref());
    if message.end_time.is_none() {
        violations.add("operation.end_time", "must be set: an operation has an end");
    }
    let mut invited = Vec::new();
    for (index, of) in message.joint_agencies.iter().enumerate() {
        let Some(agency) = read_agency(&of.agency) else { continue };
        let field = format!("operation.joint_agencies[{index}].agency");
        if agency == name.agency {
            violations.add(field, "must not be the lead, which takes part anyway");
        } else if invited.contains(&agency) {
            violations.add(field, "must be given once");
        }
        invited.push(agency);
    }
    Some(NewOperation { name, title: message.title.clone(), invited, start, end: end? })
}
