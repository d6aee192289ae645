//! Pre-notices between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, parse_owner};
use portreeve_runtime::wire::{read_time, write_time};
use prost::Message as _;

use crate::domain::PreNotice;

/// A pre-notice for the wire.
pub fn write_pre_notice(notice: &PreNotice) -> wire::PreNotice {
    wire::PreNotice {
        name: notice.name.to_string(),
        platform: format!("platforms/{}", notice.platform),
        contact: notice.contact.clone(),
        procedures: notice.procedures.clone(),
        given_at: Some(write_time(notice.given_at)),
        recorded_at: Some(write_time(notice.recorded_at)),
    }
}

/// A pre-notice as it was recorded; `None` for one that this release did not write.
pub fn read_pre_notice(message: &wire::PreNotice) -> Option<PreNotice> {
    Some(PreNotice {
        name: message.name.parse().ok()?,
        platform: parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(),
        contact: message.contact.clone(),
        procedures: message.procedures.clone(),
        given_at: read_time(message.given_at.as_ref()?).ok()?,
        recorded_at: read_time(message.recorded_at.as_ref()?).ok()?,
        created: 0,
    })
}

/// A pre-notice as the database keeps it: as the contract writes it.
pub fn encode(notice: &PreNotice) -> Vec<u8> {
    write_pre_notice(notice).encode_to_vec()
}

/// The pre-notice behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<PreNotice> {
    read_pre_notice(&wire::PreNotice::decode(body).ok()?)
}
