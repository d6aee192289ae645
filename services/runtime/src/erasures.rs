//! Erasures between the wire and the domain: the same for every service that keeps what can be erased.

use portreeve_api::referral::v1 as wire;
use portreeve_core::erasure::Erasure;
use portreeve_core::vocabulary::FieldGroup;

use crate::wire::{read_time, write_time};

/// Erasures for the wire.
pub fn write_erasures(erasures: &[Erasure]) -> Vec<wire::Erasure> {
    let write = |erasure: &Erasure| wire::Erasure {
        field_group: erasure.group.code(),
        erased_at: Some(write_time(erasure.at)),
        cause: erasure.cause,
        reason: erasure.reason.clone(),
    };
    erasures.iter().map(write).collect()
}

/// Erasures from the wire; `None` for what cannot be read.
pub fn read_erasures(erasures: &[wire::Erasure]) -> Option<Vec<Erasure>> {
    let read = |erasure: &wire::Erasure| {
        Some(Erasure {
            group: FieldGroup::from_code(erasure.field_group)?,
            at: read_time(erasure.erased_at.as_ref()?).ok()?,
            cause: erasure.cause,
            reason: erasure.reason.clone(),
        })
    };
    erasures.iter().map(read).collect()
}

/// Takes what can be erased out of a target: what is left says of what kind it is.
pub fn take_place(target: &mut wire::Target) -> wire::Target {
    let left = wire::Target { kind: target.kind, ..wire::Target::default() };
    wire::Target { kind: 0, ..std::mem::replace(target, left) }
}
