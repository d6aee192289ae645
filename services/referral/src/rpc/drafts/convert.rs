//! Drafts between the wire and the domain.

use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_core::id::Uuid;
use portreeve_core::name::{DraftName, EvidenceName, OrganisationKind, parse_owner};
use portreeve_core::vocabulary::{FieldGroup, Ground, Nature};
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::erasures::take_place;
use portreeve_runtime::wire::{read_time, take_emergency, take_explanation, write_time};
use portreeve_storage::Personal;
use prost::Message as _;
use wire::referral_change::Change;

use super::super::convert::{
    read_handling, read_recorded_signature, take_grade, write_handling, write_legal_basis, write_signature,
};
use super::super::links::{read_recorded as read_links, write_links};
use super::super::order::{self, write_order};
use super::super::priority::{self, write_priority};
use super::super::protected_context::{read_recorded, write_check};
use super::super::target::{self, write_target};
use crate::domain::draft::Authorisation;
use crate::domain::{Draft, DraftStanding, Handling, LegalBasis, Said};

/// The state's number in the contract and in the database.
pub fn state_code(standing: &DraftStanding) -> i32 {
    match standing {
        DraftStanding::Draft { .. } => wire::DraftState::Draft as i32,
        DraftStanding::Held { .. } => wire::DraftState::Held as i32,
        DraftStanding::Authorised { .. } => wire::DraftState::Authorised as i32,
        DraftStanding::Discarded { .. } => wire::DraftState::Discarded as i32,
    }
}

/// What is to be referred, for the wire.
pub(super) fn write_content(said: &Said) -> wire::ReferralDraft {
    wire::ReferralDraft {
        platform: format!("platforms/{}", said.platform),
        target: Some(write_target(&said.target)),
        nature: said.nature.code(),
        ground: said.ground.code(),
        legal_basis: Some(write_legal_basis(&said.legal_basis)),
        statement_of_reasons: said.statement.clone(),
        statement_language: said.statement_language.clone(),
        content_language: said.content_language.clone(),
        occurred_at: None,
        handling: Some(write_handling(&said.handling)),
        // Of what is held: a draft that waits to be authorised has none.
        signature: said.signature.as_ref().map(write_signature),
        protected_context: said.protected_context.as_ref().map(write_check),
        order: said.order.as_ref().map(write_order),
        priority: said.priority.as_ref().map(write_priority),
        evidence: said.evidence.iter().map(|id| evidence_name(said, *id)).collect(),
        links: write_links(&said.links),
        operation: said.operation.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn evidence_name(said: &Said, id: Uuid) -> String {
    EvidenceName { agency: said.name.agency.clone(), id }.to_string()
}

/// What was to be referred, as it was recorded: what was erased is empty.
fn read_content(name: &DraftName, message: &wire::ReferralDraft) -> Option<Said> {
    let legal_basis = message.legal_basis.as_ref()?;
    Some(Said {
        name: name.referral(),
        platform: parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(),
        target: target::read_recorded(message.target.as_ref()?)?,
        nature: Nature::from_code(message.nature)?,
        ground: Ground::from_code(message.ground)?,
        legal_basis: LegalBasis {
            code: legal_basis.code.clone(),
            statute: legal_basis.statute.clone(),
            section: legal_basis.section.clone(),
        },
        statement: message.statement_of_reasons.clone(),
        statement_language: message.statement_language.clone(),
        content_language: message.content_language.clone(),
        handling: match &message.handling {
            Some(handling) => read_handling(&mut Violations::new(), "", handling.clone())?,
            None => Handling::default(),
        },
        signature: message.signature.as_ref().map(read_recorded_signature),
        protected_context: match &message.protected_context {
            Some(check) => Some(read_recorded(check)?),
            None => None,
        },
        order: match &message.order {
            Some(order) => Some(order::read_recorded(order)?),
            None => None,
        },
        priority: match &message.priority {
            Some(priority) => Some(priority::read_recorded(priority)?),
            None => None,
        },
        evidence: message
            .evidence
            .iter()
            .map(|name| name.parse::<EvidenceName>().map(|name| name.id))
            .collect::<Result<_, _>>()
            .ok()?,
        links: read_links(&message.links)?,
        operation: match message.operation.as_str() {
            "" => None,
            name => Some(name.parse().ok()?),
        },
    })
}

/// A draft for the wire. Its etag is the position of its last change.
pub fn write_draft(draft: &Draft) -> wire::Draft {
    let mut message = wire::Draft {
        name: draft.name.to_string(),
        state: state_code(&draft.standing),
        authors: draft.authors.clone(),
        create_time: Some(write_time(draft.created_at)),
        update_time: Some(write_time(draft.updated_at)),
        etag: draft.updated.to_string(),
        ..wire::Draft::default()
    };
    match &draft.standing {
        DraftStanding::Draft { content } => message.referral = Some(write_content(content)),
        DraftStanding::Held { content, authorised, since } => {
            message.referral = Some(write_content(content));
            message.held_at = Some(write_time(*since));
            if let Some(of) = authorised {
                message.approver.clone_from(&of.approver);
                message.authorised_at = Some(write_time(of.at));
            }
        }
        DraftStanding::Authorised { approver, at } => {
            message.approver.clone_from(approver);
            message.authorised_at = Some(write_time(*at));
            message.sent_referral = draft.name.referral().to_string();
        }
        DraftStanding::Discarded { at, duplicate_of } => {
            message.discarded_at = Some(write_time(*at));
            message.duplicate_of = duplicate_of.as_ref().map(ToString::to_string).unwrap_or_default();
        }
    }
    message
}

/// A draft from the wire; `None` for one that this release did not write.
pub fn read_draft(message: &wire::Draft) -> Option<Draft> {
    let time = |time: &Option<prost_types::Timestamp>| -> Option<Timestamp> { read_time(time.as_ref()?).ok() };
    let name = message.name.parse::<DraftName>().ok()?;
    let standing = match wire::DraftState::try_from(message.state).ok()? {
        wire::DraftState::Unspecified => return None,
        wire::DraftState::Draft => {
            DraftStanding::Draft { content: Arc::new(read_content(&name, message.referral.as_ref()?)?) }
        }
        wire::DraftState::Held => DraftStanding::Held {
            content: Arc::new(read_content(&name, message.referral.as_ref()?)?),
            authorised: match &message.authorised_at {
                Some(at) => Some(Authorisation { approver: message.approver.clone(), at: read_time(at).ok()? }),
                None => None,
            },
            since: time(&message.held_at)?,
        },
        wire::DraftState::Authorised => {
            DraftStanding::Authorised { approver: message.approver.clone(), at: time(&message.authorised_at)? }
        }
        wire::DraftState::Discarded => DraftStanding::Discarded {
            at: time(&message.discarded_at)?,
            duplicate_of: match message.duplicate_of.as_str() {
                "" => None,
                name => Some(name.parse().ok()?),
            },
        },
    };
    Some(Draft {
        name,
        standing,
        authors: message.authors.clone(),
        created_at: time(&message.create_time)?,
        updated_at: time(&message.update_time)?,
        created: 0,
        updated: 0,
    })
}

/// Who answers for the referral that a draft became.
pub fn write_authorisation(draft: &Draft) -> Option<wire::ReferralAuthorisation> {
    match &draft.standing {
        // What was sent without a draft was held as one, and nobody has authorised it.
        DraftStanding::Authorised { approver, at } if !approver.is_empty() => Some(wire::ReferralAuthorisation {
            authors: draft.authors.clone(),
            approver: approver.clone(),
            authorised_at: Some(write_time(*at)),
        }),
        _ => None,
    }
}

/// A draft in the log: without what can be erased, and that by itself, under the keys of the referral that it becomes.
pub(in super::super) fn seal(draft: &Draft) -> (Change, Personal) {
    let mut message = wire::Draft { etag: String::new(), ..write_draft(draft) };
    let half = |part: wire::ReferralDraft| {
        let half = wire::Draft { referral: Some(part), ..wire::Draft::default() };
        wire::ReferralChange { change: Some(Change::DraftChanged(half)), ..wire::ReferralChange::default() }
    };
    let parts = message.referral.as_mut().map(take_personal).unwrap_or_default().into_iter();
    let personal = Personal {
        subject: draft.name.id,
        begins: draft.created == 0,
        parts: parts.map(|(group, part)| (group, half(part).encode_to_vec())).collect(),
        // What is given up leaves nothing.
        erases: match &draft.standing {
            DraftStanding::Discarded { .. } => FieldGroup::ERASABLE.to_vec(),
            DraftStanding::Draft { .. } | DraftStanding::Held { .. } | DraftStanding::Authorised { .. } => Vec::new(),
        },
    };
    (Change::DraftChanged(message), personal)
}

/// Takes what can be erased out of a draft: each group in one of its own, which holds nothing else.
fn take_personal(draft: &mut wire::ReferralDraft) -> Vec<(FieldGroup, wire::ReferralDraft)> {
    let empty = wire::ReferralDraft::default;
    let target = draft.target.as_mut().map(take_place);
    let handling = draft.handling.as_mut().map(take_grade);
    let reasons = wire::ReferralDraft {
        statement_of_reasons: std::mem::take(&mut draft.statement_of_reasons),
        protected_context: draft.protected_context.take(),
        order: take_emergency(draft.order.as_mut()),
        priority: take_explanation(draft.priority.as_mut()),
        ..empty()
    };
    vec![
        (
            FieldGroup::Target,
            wire::ReferralDraft {
                target,
                evidence: std::mem::take(&mut draft.evidence),
                signature: draft.signature.take(),
                ..empty()
            },
        ),
        (FieldGroup::Reasons, reasons),
        (FieldGroup::Grade, wire::ReferralDraft { handling, ..empty() }),
    ]
}

/// A draft as the database keeps it: as the contract writes it.
pub fn encode(draft: &Draft) -> Vec<u8> {
    wire::Draft { etag: String::new(), ..write_draft(draft) }.encode_to_vec()
}

/// The draft behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<Draft> {
    read_draft(&wire::Draft::decode(body).ok()?)
}
