//! Orders between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::vocabulary::OrderRegime;
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::wire::{must_say, optional_time, read_span, read_time, write_span, write_time};
use prost::Message as _;

use crate::domain::non_disclosure::Act;
use crate::domain::{NonDisclosure, Order};

/// An order from the wire. What is wrong is noted under `path`; what the contract's rules refuse has been noted already.
pub(super) fn read_order(message: &wire::OrderTerms, path: &str, violations: &mut Violations) -> Option<Order> {
    must_say(violations, &format!("{path}.issuing_authority"), &message.issuing_authority);
    must_say(violations, &format!("{path}.redress"), &message.redress);
    must_say(violations, &format!("{path}.emergency"), &message.emergency);
    optional_time(violations, &format!("{path}.non_disclosure_until"), message.non_disclosure_until.as_ref());
    // What became of it is not the caller's to say.
    Some(Order { non_disclosure: None, ..read_recorded(message)? })
}

/// An order as it was recorded; `None` for one that this release did not write.
pub(super) fn read_recorded(message: &wire::OrderTerms) -> Option<Order> {
    let time = |at: &prost_types::Timestamp| -> Option<Timestamp> { read_time(at).ok() };
    Some(Order {
        regime: OrderRegime::from_code(message.regime)?,
        issuing_authority: message.issuing_authority.clone(),
        act_within: message.act_within.as_ref().map(read_span),
        redress: message.redress.clone(),
        territorial_scope: message.territorial_scope.clone(),
        feedback_to: message.feedback_to.clone(),
        emergency: message.emergency.clone(),
        non_disclosure_until: message.non_disclosure_until.as_ref().and_then(time),
        escalates: match message.escalates.as_str() {
            "" => None,
            name => Some(name.parse().ok()?),
        },
        non_disclosure: match &message.non_disclosure {
            Some(course) => Some(read_course(course)?),
            None => None,
        },
    })
}

/// An order for the wire.
pub(super) fn write_order(order: &Order) -> wire::OrderTerms {
    wire::OrderTerms {
        regime: order.regime.code(),
        issuing_authority: order.issuing_authority.clone(),
        act_within: order.act_within.map(write_span),
        redress: order.redress.clone(),
        territorial_scope: order.territorial_scope.clone(),
        feedback_to: order.feedback_to.clone(),
        emergency: order.emergency.clone(),
        non_disclosure_until: order.non_disclosure_until.map(write_time),
        escalates: order.escalates.as_ref().map(ToString::to_string).unwrap_or_default(),
        non_disclosure: order.non_disclosure.as_ref().map(|course| write_course(course, order.non_disclosure_until)),
    }
}

fn read_course(course: &wire::NonDisclosureCourse) -> Option<NonDisclosure> {
    let act =
        |at: &prost_types::Timestamp, reason: &str| Some(Act { at: read_time(at).ok()?, reason: reason.to_owned() });
    Some(NonDisclosure {
        extended: match (&course.extended_until, &course.extended_at) {
            (Some(until), Some(at)) => Some((read_time(until).ok()?, act(at, &course.extension_reason)?)),
            _ => None,
        },
        lifted: match &course.lifted_at {
            Some(at) => Some(act(at, &course.lift_reason)?),
            None => None,
        },
    })
}

fn write_course(course: &NonDisclosure, said: Option<Timestamp>) -> wire::NonDisclosureCourse {
    let extended = course.extended.as_ref();
    wire::NonDisclosureCourse {
        until: said.map(|said| write_time(course.until(said))),
        renewals: u32::from(extended.is_some()),
        extended_until: extended.map(|(until, _)| write_time(*until)),
        extended_at: extended.map(|(_, act)| write_time(act.at)),
        extension_reason: extended.map(|(_, act)| act.reason.clone()).unwrap_or_default(),
        lifted_at: course.lifted.as_ref().map(|act| write_time(act.at)),
        lift_reason: course.lifted.as_ref().map(|act| act.reason.clone()).unwrap_or_default(),
    }
}

/// An order as the database keeps it: as the contract writes it; nothing for none.
pub fn encode(order: Option<&Order>) -> Vec<u8> {
    order.map(|order| write_order(order).encode_to_vec()).unwrap_or_default()
}

/// The order behind what the database keeps; `None` for what this release did not write.
pub fn decode(bytes: &[u8]) -> Option<Order> {
    read_recorded(&wire::OrderTerms::decode(bytes).ok()?)
}
