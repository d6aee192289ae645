//! Orders between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::vocabulary::OrderRegime;
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::wire::{must_say, optional_time, read_span, read_time, write_span, write_time};
use prost::Message as _;

use crate::domain::Order;

/// An order from the wire. What is wrong is noted under `path`; what the contract's rules refuse has been noted already.
pub(super) fn read_order(message: &wire::OrderTerms, path: &str, violations: &mut Violations) -> Option<Order> {
    must_say(violations, &format!("{path}.issuing_authority"), &message.issuing_authority);
    must_say(violations, &format!("{path}.redress"), &message.redress);
    must_say(violations, &format!("{path}.emergency"), &message.emergency);
    optional_time(violations, &format!("{path}.non_disclosure_until"), message.non_disclosure_until.as_ref());
    read_recorded(message)
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
