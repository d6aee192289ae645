//! Evidence between the wire and the domain.

use std::collections::HashMap;
use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_api::signing;
use portreeve_core::access::View;
use portreeve_core::id::Uuid;
use portreeve_core::name::EvidenceName;
use portreeve_core::vocabulary::{CaptureMethod, EvidenceGrade, FieldGroup, GraphicSeverity, RedactionLevel};
use portreeve_core::{Timestamp, Violations, limits};
use portreeve_runtime::wire::{read_time, told_time, write_time};
use portreeve_storage::Personal;
use prost::Message as _;
use wire::referral_change::Change;

use crate::domain::evidence::{is_taken, taken};
use crate::domain::{Evidence, Exhibit};

/// What whoever is served evidence may know of it, for the wire.
pub fn write_exhibit(exhibit: &Exhibit) -> wire::Evidence {
    wire::Evidence {
        name: exhibit.name.to_string(),
        sha256: exhibit.digest.clone(),
        size_bytes: exhibit.bytes,
        media_type: exhibit.media_type.clone(),
        captured_at: Some(write_time(exhibit.captured_at)),
        capture_method: exhibit.method.code(),
        redaction_level: exhibit.redaction.code(),
        grade: exhibit.grade.code(),
        graphic_severity: exhibit.severity.map(GraphicSeverity::code).unwrap_or_default(),
        description: exhibit.description.clone(),
        ..wire::Evidence::default()
    }
}

/// All that is known of evidence, for the wire.
pub fn write_evidence(evidence: &Evidence) -> wire::Evidence {
    wire::Evidence {
        lawful_authority: evidence.lawful_authority.clone(),
        capturer: evidence.capturer.clone(),
        uploaded_by: evidence.uploaded_by.clone(),
        create_time: Some(write_time(evidence.created_at)),
        erase_time: evidence.erased_at.map(write_time),
        ..write_exhibit(&evidence.exhibit)
    }
}

/// The same from the wire; `None` for what this release did not write.
pub fn read_exhibit(message: &wire::Evidence) -> Option<Exhibit> {
    Some(Exhibit {
        name: message.name.parse().ok()?,
        digest: message.sha256.clone(),
        bytes: message.size_bytes,
        media_type: message.media_type.clone(),
        captured_at: read_time(message.captured_at.as_ref()?).ok()?,
        method: CaptureMethod::from_code(message.capture_method)?,
        redaction: RedactionLevel::from_code(message.redaction_level)?,
        grade: EvidenceGrade::from_code(message.grade)?,
        severity: GraphicSeverity::from_code(message.graphic_severity),
        description: message.description.clone(),
    })
}

/// Evidence from the wire; `None` for what this release did not write.
pub fn read_evidence(message: &wire::Evidence) -> Option<Evidence> {
    Some(Evidence {
        exhibit: Arc::new(read_exhibit(message)?),
        lawful_authority: message.lawful_authority.clone(),
        capturer: message.capturer.clone(),
        uploaded_by: message.uploaded_by.clone(),
        created_at: read_time(message.create_time.as_ref()?).ok()?,
        erased_at: match &message.erase_time {
            None => None,
            Some(at) => Some(read_time(at).ok()?),
        },
        created: 0,
        updated: 0,
    })
}

/// What is said of bytes that are to come: evidence without a digest and a size. Wrong fields are noted under `evidence`; the
/// contract's own rules have been checked.
pub(super) fn read_draft(
    violations: &mut Violations,
    name: EvidenceName,
    uploaded_by: &str,
    draft: &wire::EvidenceDraft,
    now: Timestamp,
) -> Option<Evidence> {
    if !is_taken(&draft.media_type) {
        let taken = taken().collect::<Vec<_>>().join(", ");
        violations.add("evidence.media_type", format!("must be one of {taken}"));
    }
    let captured_at = told_time(violations, "evidence.captured_at", draft.captured_at.as_ref(), now);
    let exhibit = Exhibit {
        name,
        digest: draft.sha256.clone(),
        bytes: 0,
        media_type: draft.media_type.clone(),
        captured_at: captured_at?,
        method: CaptureMethod::from_code(draft.capture_method)?,
        redaction: RedactionLevel::from_code(draft.redaction_level)?,
        grade: EvidenceGrade::from_code(draft.grade).unwrap_or(EvidenceGrade::AgencyOnly),
        severity: GraphicSeverity::from_code(draft.graphic_severity),
        description: draft.description.clone(),
    };
    Some(Evidence {
        exhibit: Arc::new(exhibit),
        lawful_authority: draft.lawful_authority.clone(),
        capturer: draft.capturer.clone(),
        uploaded_by: uploaded_by.to_owned(),
        created_at: now,
        erased_at: None,
        created: 0,
        updated: 0,
    })
}

/// The evidence that a draft of a referral names: each the agency's own, once.
pub(in super::super) fn read_names(
    violations: &mut Violations,
    path: &str,
    agency: &str,
    names: &[String],
) -> Vec<Uuid> {
    let maximum = limits::REFERRAL_EVIDENCE_MAX;
    if names.len() > maximum {
        violations.add(format!("{path}.evidence"), format!("must hold at most {maximum} names"));
    }
    let mut ids = Vec::with_capacity(names.len().min(maximum));
    for (index, name) in names.iter().enumerate().take(maximum) {
        // A name of another form has been noted by the contract's rules.
        let Ok(name) = name.parse::<EvidenceName>() else { continue };
        if name.agency != agency {
            violations.add(format!("{path}.evidence[{index}]"), "must be evidence of the agency itself");
        } else if ids.contains(&name.id) {
            violations.add(format!("{path}.evidence[{index}]"), "must not be named twice");
        }
        ids.push(name.id);
    }
    ids
}

/// The digests of evidence that is served to platforms, by its identifier.
pub(in super::super) type Digests = HashMap<Uuid, String>;

/// The bytes that an agency signs when it sends a draft. A platform verifies what it is served: the digests of what it is not are
/// no part of them.
pub(in super::super) fn canonical(agency: &str, draft: &wire::ReferralDraft, digests: &Digests) -> Vec<u8> {
    let named = draft.evidence.iter().filter_map(|name| digests.get(&name.parse::<EvidenceName>().ok()?.id));
    signing::with_evidence(&format!("agencies/{agency}"), draft, named.map(String::as_str))
}

/// Takes out of a referral's evidence what its reader does not see.
pub(in super::super) fn conceal(evidence: &mut Vec<wire::Evidence>, view: View) {
    let lowest = view.evidence.filter(|_| view.groups.has(FieldGroup::Target));
    evidence.retain(|of| lowest.is_some_and(|lowest| of.grade >= lowest.code()));
}

/// Evidence in the log: without what can be erased, and that by itself, under keys of its own.
pub(in super::super) fn seal(evidence: &Evidence, change: fn(wire::Evidence) -> Change) -> (Change, Personal) {
    let mut message = write_evidence(evidence);
    let words = wire::Evidence {
        sha256: std::mem::take(&mut message.sha256),
        lawful_authority: std::mem::take(&mut message.lawful_authority),
        capturer: std::mem::take(&mut message.capturer),
        description: std::mem::take(&mut message.description),
        ..wire::Evidence::default()
    };
    let half = wire::ReferralChange { change: Some(change(words)), ..wire::ReferralChange::default() };
    let erased = evidence.erased_at.is_some();
    let personal = Personal {
        subject: evidence.name().id,
        begins: !erased,
        parts: if erased { Vec::new() } else { vec![(FieldGroup::Target, half.encode_to_vec())] },
        erases: if erased { FieldGroup::ERASABLE.to_vec() } else { Vec::new() },
    };
    (change(message), personal)
}

/// Evidence as the database keeps it: as the contract writes it.
pub fn encode(evidence: &Evidence) -> Vec<u8> {
    write_evidence(evidence).encode_to_vec()
}

/// The evidence behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<Evidence> {
    read_evidence(&wire::Evidence::decode(body).ok()?)
}

/// What is known of a referral's evidence, as the database keeps it: as the contract writes it; nothing for none.
pub fn encode_exhibits(exhibits: &[Arc<Exhibit>]) -> Vec<u8> {
    let evidence = exhibits.iter().map(|exhibit| write_exhibit(exhibit)).collect();
    wire::Referral { evidence, ..wire::Referral::default() }.encode_to_vec()
}

/// The same behind what the database keeps.
pub fn decode_exhibits(bytes: &[u8]) -> Option<Vec<Arc<Exhibit>>> {
    read_exhibits(&wire::Referral::decode(bytes).ok()?.evidence)
}

/// What is known of a referral's evidence, from the wire.
pub(in super::super) fn read_exhibits(evidence: &[wire::Evidence]) -> Option<Vec<Arc<Exhibit>>> {
    evidence.iter().map(|message| read_exhibit(message).map(Arc::new)).collect()
}
