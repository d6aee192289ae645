//! Interests and holds between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::interest::MatchingKey;
use portreeve_core::location::Location;
use portreeve_core::name::{InterestName, OrganisationKind, parse_owner};
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::{InterestPriority, TargetKind};
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::wire::{must_say, optional_time, read_time, write_time};
use prost::Message as _;

use crate::domain::interest::{InterestState, NewInterest, check_expiry};
use crate::domain::{Hold, HoldStanding, Interest, Target};

/// Where something is on a platform. Wrong fields are noted under `path`.
pub(super) fn read_match(
    violations: &mut Violations,
    path: &str,
    message: &wire::MatchTarget,
) -> Option<(String, Location)> {
    let target = message.target.as_ref()?;
    if !target.handles.is_empty() {
        violations.add(format!("{path}.target.handles"), "must be empty: an interest is in an address or a number");
    }
    let kind = TargetKind::from_code(target.kind)?;
    let location = Target::locate(kind, &target.url, &target.native_id, false, &format!("{path}.target"), violations)?;
    Some((parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(), location))
}

/// Reads an interest that is to be registered. Wrong fields are noted under `path`.
pub(super) fn read_new(
    violations: &mut Violations,
    path: &str,
    name: InterestName,
    draft: &wire::InterestDraft,
    now: Timestamp,
) -> Option<NewInterest> {
    let found = draft.target.as_ref().and_then(|target| read_match(violations, &format!("{path}.target"), target));
    must_say(violations, &format!("{path}.contact"), &draft.contact);
    let field = format!("{path}.expires_at");
    let expires_at = read_expiry(violations, &field, draft.expires_at.as_ref(), now);
    let (platform, location) = found?;
    Some(NewInterest {
        name,
        platform,
        location,
        contact: draft.contact.clone(),
        priority: InterestPriority::from_code(draft.priority)?,
        reference: draft.reference.clone(),
        expires_at: expires_at?,
    })
}

/// When an interest is to end. What it cannot be is noted against `field`.
pub(super) fn read_expiry(
    violations: &mut Violations,
    field: &str,
    at: Option<&prost_types::Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let at = optional_time(violations, field, at)?;
    if let Err(wrong) = check_expiry(at, now) {
        violations.add(field, wrong);
    }
    Some(at)
}

/// Takes what an interest is in out of a request, so that what is remembered of the request does not tell it: what stands for it
/// is known to the holder of the key alone.
pub(super) fn blind(message: &mut wire::RegisterInterestsRequest, key: &MatchingKey) {
    let targets = message.interests.iter_mut().filter_map(|of| of.target.as_mut()).filter_map(|of| of.target.as_mut());
    for target in targets {
        let blinded = key.blind(&format!("{}\n{}", target.url, target.native_id));
        *target = wire::Target {
            url: format!("{:032x}", u128::from_be_bytes(blinded)),
            kind: target.kind,
            ..wire::Target::default()
        };
    }
}

/// An interest as its agency sees it at a moment.
pub fn write_interest(interest: &Interest, now: Timestamp) -> wire::Interest {
    let state = match interest.state(now) {
        InterestState::Active => wire::InterestState::Active,
        InterestState::Expired => wire::InterestState::Expired,
        InterestState::Ended => wire::InterestState::Ended,
    };
    wire::Interest {
        name: interest.name.to_string(),
        platform: format!("platforms/{}", interest.platform),
        contact: interest.contact.clone(),
        priority: interest.priority.code(),
        reference: interest.reference.clone(),
        expires_at: Some(write_time(interest.expires_at)),
        state: state as i32,
        ended_at: interest.ended_at.filter(|at| *at < interest.expires_at).map(write_time),
        create_time: Some(write_time(interest.created_at)),
        rules_version: interest.rules,
        tag: Vec::new().into(),
    }
}

/// An interest in the log.
pub(in super::super) fn record_interest(interest: &Interest) -> wire::Interest {
    wire::Interest {
        state: 0,
        ended_at: interest.ended_at.map(write_time),
        tag: interest.tag.to_vec().into(),
        ..write_interest(interest, interest.created_at)
    }
}

/// An interest as it was recorded; `None` for one that this release did not write.
pub(in super::super) fn read_interest(message: &wire::Interest) -> Option<Interest> {
    Some(Interest {
        name: message.name.parse().ok()?,
        platform: parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(),
        tag: message.tag.as_ref().try_into().ok()?,
        rules: message.rules_version,
        contact: message.contact.clone(),
        priority: InterestPriority::from_code(message.priority)?,
        reference: message.reference.clone(),
        expires_at: read_time(message.expires_at.as_ref()?).ok()?,
        ended_at: match &message.ended_at {
            None => None,
            Some(at) => Some(read_time(at).ok()?),
        },
        created_at: read_time(message.create_time.as_ref()?).ok()?,
        created: 0,
        updated: 0,
    })
}

/// An interest as the database keeps it: as the log writes it.
pub fn encode_interest(interest: &Interest) -> Vec<u8> {
    record_interest(interest).encode_to_vec()
}

/// The interest behind what the database keeps.
pub fn decode_interest(body: &[u8]) -> Option<Interest> {
    read_interest(&wire::Interest::decode(body).ok()?)
}

/// A hold for the wire, with all that either agency sees of it.
pub fn write_hold(hold: &Hold) -> wire::Hold {
    let (state, settled_at) = match &hold.standing {
        HoldStanding::Held => (wire::HoldState::Held, None),
        HoldStanding::Released { at } => (wire::HoldState::Released, Some(*at)),
        HoldStanding::Expired { at } => (wire::HoldState::Expired, Some(*at)),
        HoldStanding::Overridden { at, .. } => (wire::HoldState::Overridden, Some(*at)),
        HoldStanding::Withdrawn { at } => (wire::HoldState::Withdrawn, Some(*at)),
    };
    wire::Hold {
        name: hold.name.to_string(),
        interest: hold.interest.to_string(),
        contact: hold.contact.clone(),
        held_at: Some(write_time(hold.held_at)),
        ends_at: Some(write_time(hold.ends_at)),
        renewals: hold.renewals,
        state: state as i32,
        settled_at: settled_at.map(write_time),
        override_reason: match &hold.standing {
            HoldStanding::Overridden { reason, .. } => reason.clone(),
            _ => String::new(),
        },
    }
}

/// Takes out of a hold what the agency that refers is not told: whose interest it is.
pub(in super::super) fn conceal(message: &mut wire::Hold, hold: &Hold, scope: &Scope) {
    if !matches!(scope, Scope::Agency(own) if *own == hold.interest.agency) {
        message.interest.clear();
    }
}

/// Whether a hold is an agency's to know: of its referral, or by its interest.
pub(in super::super) fn may_see(scope: &Scope, hold: &Hold) -> bool {
    matches!(scope, Scope::Agency(own) if *own == hold.interest.agency || *own == hold.name.draft.agency)
}

/// A hold as it was recorded; `None` for one that this release did not write.
pub(in super::super) fn read_hold(message: &wire::Hold) -> Option<Hold> {
    let time = |time: &Option<prost_types::Timestamp>| -> Option<Timestamp> { read_time(time.as_ref()?).ok() };
    let settled = || time(&message.settled_at);
    Some(Hold {
        name: message.name.parse().ok()?,
        interest: message.interest.parse().ok()?,
        contact: message.contact.clone(),
        held_at: time(&message.held_at)?,
        ends_at: time(&message.ends_at)?,
        renewals: message.renewals,
        standing: match wire::HoldState::try_from(message.state).ok()? {
            wire::HoldState::Unspecified => return None,
            wire::HoldState::Held => HoldStanding::Held,
            wire::HoldState::Released => HoldStanding::Released { at: settled()? },
            wire::HoldState::Expired => HoldStanding::Expired { at: settled()? },
            wire::HoldState::Overridden => {
                HoldStanding::Overridden { at: settled()?, reason: message.override_reason.clone() }
            }
            wire::HoldState::Withdrawn => HoldStanding::Withdrawn { at: settled()? },
        },
        created: 0,
        updated: 0,
    })
}

/// A hold as the database keeps it: as the log writes it.
pub fn encode_hold(hold: &Hold) -> Vec<u8> {
    write_hold(hold).encode_to_vec()
}

/// The hold behind what the database keeps.
pub fn decode_hold(body: &[u8]) -> Option<Hold> {
    read_hold(&wire::Hold::decode(body).ok()?)
}
