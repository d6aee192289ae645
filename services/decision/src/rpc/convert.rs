//! Between the contract's messages and the domain. The log's bodies are the contract's `CaseChange` messages, without
//! what the log's own columns hold.

use std::sync::Arc;

use portreeve_api::common::v1::{Disposition as WireDisposition, HandlingCode};
use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_core::access::View;
use portreeve_core::agreement::Agreement;
use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, ClauseName, ObservationName, OrganisationKind, ReferralName, parse_owner};
use portreeve_core::principal::Scope;
use portreeve_core::token::Epoch;
use portreeve_core::vocabulary::{Disposition, FieldGroup, ObservationFinding, ObservationMethod, Tlp};
use portreeve_core::{Error, Principal, Result, Timestamp, Violations};
use portreeve_runtime::agreements::{read_agreement, write_agreement};
use portreeve_runtime::erasures::{read_erasures, take_place, write_erasures};
use portreeve_runtime::wire::{
    optional_time, read_time, take_emergency, take_explanation, told_time, write_span, write_time,
};
use portreeve_storage::{Codec, Encoded, Personal, StoredEvent};
use prost::Message;
use prost_types::Timestamp as WireTime;
use wire::case_change::Change;

use super::challenges::convert::{put_words, read_challenge, take_words, write_challenge};
use super::clocks::convert::{
    read_course, read_order, read_priority, read_step, read_times, write_clock, write_lease, write_order,
    write_priority, write_step, write_times,
};
use super::stays::convert::{put_words as put_stay_words, take_words as take_stay_words, write_stay};
use crate::domain::{
    Case, CaseChanged, CaseRecord, Cause, CauseKind, Citation, Clause, ClauseVersion, ClauseVersionDraft, Content,
    ContextFound, Decision, DecisionDraft, Discrepancy, Event, Exhibit, Flat, FlatNotification, Kind, Later,
    LegalBasis, Notification, Observation, OutcomeKind, Progress, Receipt, Redress, Referred, Replay, Seen, Signature,
    Source, Status, Target, Told, Withdrawal,
};
use crate::store::{CaseFilter, DecisionFilter, DecisionRecord, SERVICE, Shown};

fn time(time: Option<&WireTime>) -> Option<Timestamp> {
    time.and_then(|time| read_time(time).ok())
}

fn write_citation(citation: &Citation) -> wire::ClauseCitation {
    wire::ClauseCitation { clause: citation.clause.to_string(), version: citation.version }
}

fn read_citation(message: &wire::ClauseCitation) -> Option<Citation> {
    Some(Citation { clause: message.clause.parse().ok()?, version: message.version })
}

fn write_cause(cause: &Cause) -> wire::DecisionCause {
    wire::DecisionCause { kind: cause.kind.code(), reference: cause.reference.clone() }
}

fn read_cause(message: &wire::DecisionCause) -> Option<Cause> {
    Some(Cause { kind: CauseKind::from_code(message.kind)?, reference: message.reference.clone() })
}

/// A decision for the wire.
pub fn write_decision(case: &CaseName, decision: &Decision) -> wire::Decision {
    let content = &decision.content;
    let flat = content.outcome.flatten(&content.also);
    wire::Decision {
        name: format!("{case}/decisions/{}", decision.version),
        version: decision.version,
        kind: content.kind.code(),
        outcome: flat.outcome,
        restriction: flat.restriction,
        cannot_access: flat.cannot_access,
        gone_by: flat.gone_by,
        protected_context: flat.protected_context,
        clauses: flat.clauses.iter().map(write_citation).collect(),
        law: flat.law,
        decided_by: content.decided_by.code(),
        decided_at: Some(write_time(decision.decided_at)),
        effective_at: content.effective_at.map(write_time),
        territorial_scope: content.territorial_scope.clone(),
        explanation: content.explanation.clone(),
        language_reviewed: content.language_reviewed.clone(),
        cause: content.kind.cause().map(write_cause),
        items_closed: flat.items_closed,
        items_total: flat.items_total,
        suspended_until: flat.suspended_until.map(write_time),
        duplicate_of: flat.duplicate_of.as_ref().map(ToString::to_string).unwrap_or_default(),
        recorded_at: Some(write_time(decision.recorded_at)),
        redress: content.redress.iter().map(|redress| redress.code()).collect(),
        user_notification: content.notification.map(write_notification),
    }
}

fn write_notification(notification: Notification) -> wire::UserNotification {
    let FlatNotification { status, suppressed_until, exemption } = notification.flat();
    wire::UserNotification { status, suppressed_until: suppressed_until.map(write_time), exemption }
}

/// What is missing or out of place is noted after `prefix`; a time that is none has been noted already.
fn read_notification(
    message: Option<&wire::UserNotification>,
    prefix: &str,
    violations: &mut Violations,
) -> Option<Notification> {
    let message = message?;
    let wrong = message.suppressed_until.as_ref().is_some_and(|at| read_time(at).is_err());
    let flat = FlatNotification {
        status: message.status,
        suppressed_until: time(message.suppressed_until.as_ref()).or(wrong.then(Timestamp::default)),
        exemption: message.exemption,
    };
    flat.assemble(prefix, violations)
}

fn read_decision(message: &wire::Decision) -> Option<Decision> {
    let flat = Flat {
        outcome: message.outcome,
        restriction: message.restriction,
        cannot_access: message.cannot_access,
        gone_by: message.gone_by,
        protected_context: message.protected_context,
        items_closed: message.items_closed,
        items_total: message.items_total,
        suspended_until: time(message.suspended_until.as_ref()),
        duplicate_of: message.duplicate_of.parse().ok(),
        clauses: message.clauses.iter().map(read_citation).collect::<Option<_>>()?,
        law: message.law.clone(),
    };
    let mut violations = Violations::new();
    let (outcome, also) = flat.assemble("", &mut violations)?;
    let kind = Kind::assemble(message.kind, message.cause.as_ref().and_then(read_cause), "", &mut violations)?;
    let notification = read_notification(message.user_notification.as_ref(), "", &mut violations);
    violations.into_result().ok()?;
    Some(Decision {
        version: message.version,
        content: Content {
            kind,
            outcome,
            also,
            decided_by: Source::from_code(message.decided_by)?,
            effective_at: time(message.effective_at.as_ref()),
            territorial_scope: message.territorial_scope.clone(),
            explanation: message.explanation.clone(),
            language_reviewed: message.language_reviewed.clone(),
            redress: message.redress.iter().map(|code| Redress::from_code(*code)).collect::<Option<_>>()?,
            notification,
        },
        decided_at: time(message.decided_at.as_ref())?,
        recorded_at: time(message.recorded_at.as_ref())?,
    })
}

/// Reads a draft. Wrong fields are noted under `decision`; the contract's own rules have been checked already.
pub fn read_draft(
    violations: &mut Violations,
    platform: &str,
    draft: &wire::DecisionDraft,
    now: Timestamp,
) -> Option<DecisionDraft> {
    let prefix = "decision.";
    let decided_at = told_time(violations, "decision.decided_at", draft.decided_at.as_ref(), now);
    let effective_at = told_time(violations, "decision.effective_at", draft.effective_at.as_ref(), now);
    let suspended_until = optional_time(violations, "decision.suspended_until", draft.suspended_until.as_ref());
    // What the contract's rules have refused already needs no second word: it stands in for itself, or gives None.
    let duplicate_of = (!draft.duplicate_of.is_empty()).then(|| {
        let refused = ReferralName { agency: String::new(), id: Uuid::nil() };
        draft.duplicate_of.parse().unwrap_or(refused)
    });
    let clauses = draft.clauses.iter().map(|citation| {
        let refused = Citation {
            clause: ClauseName { platform: platform.to_owned(), clause: String::new() },
            version: citation.version,
        };
        read_citation(citation).unwrap_or(refused)
    });
    let flat = Flat {
        outcome: draft.outcome,
        restriction: draft.restriction,
        cannot_access: draft.cannot_access,
        gone_by: draft.gone_by,
        protected_context: draft.protected_context,
        items_closed: draft.items_closed,
        items_total: draft.items_total,
        suspended_until,
        duplicate_of,
        clauses: clauses.collect(),
        law: draft.law.clone(),
    };
    let outcome = OutcomeKind::from_code(draft.outcome).and_then(|_| flat.assemble(prefix, violations));
    let known = draft.kind == Kind::INITIAL || Later::from_code(draft.kind).is_some();
    let cause_known = draft.cause.as_ref().is_none_or(|cause| CauseKind::from_code(cause.kind).is_some());
    let cause = draft.cause.as_ref().and_then(read_cause);
    let kind = (known && cause_known).then(|| Kind::assemble(draft.kind, cause, prefix, violations)).flatten();
    let field = "decision.user_notification.suppressed_until";
    let told = draft.user_notification.as_ref();
    optional_time(violations, field, told.and_then(|told| told.suppressed_until.as_ref()));
    let notification = read_notification(told, "decision.user_notification.", violations);
    let (outcome, also) = outcome?;
    let content = Content {
        kind: kind.clone().unwrap_or(Kind::Initial),
        outcome,
        also,
        decided_by: Source::from_code(draft.decided_by).unwrap_or(Source::Human),
        effective_at,
        territorial_scope: draft.territorial_scope.clone(),
        explanation: draft.explanation.clone(),
        language_reviewed: draft.language_reviewed.clone(),
        redress: draft.redress.iter().filter_map(|code| Redress::from_code(*code)).collect(),
        notification,
    };
    content.check(platform, prefix, violations);
    kind.map(|_| DecisionDraft { content, decided_at })
}

fn write_target(target: &Target) -> referral::Target {
    referral::Target {
        kind: target.kind,
        url: target.url.clone(),
        native_id: target.native_id.clone(),
        canonical_url: target.canonical_url.clone(),
        ..referral::Target::default()
    }
}

/// A case for the wire. `revision` is that of its last change.
pub fn write_case(case: &Case, revision: String) -> wire::Case {
    let referred = &case.referred;
    let name = case.name();
    let receipt = case.receipt();
    let decision = case.decision();
    let withdrawal = case.withdrawal.as_ref();
    wire::Case {
        name: name.to_string(),
        referral: referred.name.to_string(),
        agency: format!("agencies/{}", referred.name.agency),
        platform: format!("platforms/{}", referred.platform),
        target: Some(write_target(&referred.target)),
        nature: referred.nature,
        ground: referred.ground,
        legal_basis: Some(referral::LegalBasis {
            code: referred.legal_basis.code.clone(),
            statute: referred.legal_basis.statute.clone(),
            section: referred.legal_basis.section.clone(),
        }),
        statement_of_reasons: referred.statement_of_reasons.clone(),
        statement_language: referred.statement_language.clone(),
        content_language: referred.content_language.clone(),
        submitted_at: Some(write_time(referred.occurred_at)),
        submitted_recorded_at: Some(write_time(referred.recorded_at)),
        status: case.status().code(),
        acknowledged_at: receipt.map(|receipt| write_time(receipt.occurred_at)),
        acknowledged_recorded_at: receipt.map(|receipt| write_time(receipt.recorded_at)),
        decision_version: decision.map_or(0, |decision| decision.version),
        latest_decision: decision.map(|decision| write_decision(&name, decision)),
        withdrawn_at: withdrawal.map(|withdrawal| write_time(withdrawal.occurred_at)),
        withdrawal_recorded_at: withdrawal.map(|withdrawal| write_time(withdrawal.recorded_at)),
        withdrawal_reason: withdrawal.map(|withdrawal| withdrawal.reason.clone()).unwrap_or_default(),
        disposition: case.disposition().code(),
        revision,
        first_decided_at: case.first_decided_at().map(write_time),
        erasures: write_erasures(&case.erasures),
        replay_candidate: case.replay.as_ref().map(write_replay),
        challenges: case.challenges.iter().map(|challenge| write_challenge(&name, challenge)).collect(),
        challenge_words: None,
        latest_observation: case.observation.as_ref().map(write_observation),
        latest_sighting: case.sighting.as_ref().map(write_observation),
        discrepancy: case.discrepancy().map(Discrepancy::code).unwrap_or_default(),
        clocks: case.clocks().iter().map(|clock| write_clock(&name, clock)).collect(),
        stays: case.stays.iter().map(|stay| write_stay(&name, stay)).collect(),
        stay_words: None,
        response_time: case.response_time.map(write_span),
        order_answered_at: case.order_answered_at.map(write_time),
        order: referred.order.as_ref().map(write_order),
        priority: referred.priority.as_ref().map(write_priority),
        escalated_to: case.escalated_to.as_ref().map(ToString::to_string).unwrap_or_default(),
        lease: case.lease.as_ref().map(write_lease),
        review_began_at: case.review_began_at.map(write_time),
        operation: referred.operation.clone(),
        same_target: referred.same_target.as_ref().map(ToString::to_string).unwrap_or_default(),
        protected_context: write_check(&referred.protected_context),
        evidence: write_exhibits(&referred.evidence),
        signature: referred.signature.as_ref().map(|signature| referral::ReferralSignature {
            jws: signature.jws.clone(),
            occurred_at: signature.occurred_at.map(write_time),
        }),
        handling: Some(referral::Handling {
            tlp: referred.tlp.code(),
            code: if referred.conditional {
                HandlingCode::SharingWithConditions as i32
            } else {
                HandlingCode::SharingPermitted as i32
            },
            ..referral::Handling::default()
        }),
    }
}

fn write_observation(seen: &Observation) -> referral::Observation {
    let observed_by = seen.name.split_once("/referrals/").map(|(agency, _)| agency.to_owned()).unwrap_or_default();
    referral::Observation {
        name: seen.name.clone(),
        observed_by,
        finding: seen.finding.code(),
        method: seen.method.code(),
        vantage_country: seen.country.clone(),
        observed_at: Some(write_time(seen.observed_at)),
        recorded_at: Some(write_time(seen.recorded_at)),
        evidence_digest: seen.evidence.clone(),
        ..referral::Observation::default()
    }
}

fn read_observation(message: &referral::Observation) -> Option<Observation> {
    Some(Observation {
        name: message.name.clone(),
        finding: ObservationFinding::from_code(message.finding)?,
        method: ObservationMethod::from_code(message.method)?,
        country: message.vantage_country.clone(),
        observed_at: time(message.observed_at.as_ref())?,
        recorded_at: time(message.recorded_at.as_ref())?,
        evidence: message.evidence_digest.clone(),
    })
}

/// What was seen last, if anything was; `None` for what this release did not write.
#[expect(clippy::option_option, reason = "nothing seen, and nothing that can be read, are two things")]
fn read_seen_last(message: Option<&referral::Observation>) -> Option<Option<Observation>> {
    match message {
        None => Some(None),
        Some(seen) => read_observation(seen).map(Some),
    }
}

/// An observation as the database keeps it: as the contract writes it; empty for none.
pub fn encode_observation(seen: Option<&Observation>) -> Vec<u8> {
    seen.map(|seen| write_observation(seen).encode_to_vec()).unwrap_or_default()
}

/// The observation behind what a database keeps; `None` for what this release did not write.
pub fn decode_observation(bytes: &[u8]) -> Option<Option<Observation>> {
    if bytes.is_empty() {
        return Some(None);
    }
    read_observation(&referral::Observation::decode(bytes).ok()?).map(Some)
}

fn write_check(found: &[ContextFound]) -> Option<referral::ProtectedContextCheck> {
    let answer = |found: &ContextFound| referral::ProtectedContextAnswer {
        context: found.context,
        finding: found.finding,
        reasons: found.reasons.clone(),
    };
    let answers = found.iter().map(answer).collect::<Vec<_>>();
    (!answers.is_empty()).then_some(referral::ProtectedContextCheck { answers })
}

fn read_check(check: Option<&referral::ProtectedContextCheck>) -> Vec<ContextFound> {
    let found = |answer: &referral::ProtectedContextAnswer| ContextFound {
        context: answer.context,
        finding: answer.finding,
        reasons: answer.reasons.clone(),
    };
    check.into_iter().flat_map(|check| &check.answers).map(found).collect()
}

/// A protected-context check as the database keeps it: as the contract writes it; nothing for none.
pub fn encode_check(found: &[ContextFound]) -> Vec<u8> {
    write_check(found).map(|check| check.encode_to_vec()).unwrap_or_default()
}

/// The check behind what a database keeps; `None` for what this release did not write.
pub fn decode_check(bytes: &[u8]) -> Option<Vec<ContextFound>> {
    Some(read_check(Some(&referral::ProtectedContextCheck::decode(bytes).ok()?)))
}

fn write_exhibits(exhibits: &[Exhibit]) -> Vec<referral::Evidence> {
    let exhibit = |exhibit: &Exhibit| referral::Evidence {
        name: exhibit.name.clone(),
        sha256: exhibit.digest.clone(),
        size_bytes: exhibit.bytes,
        media_type: exhibit.media_type.clone(),
        captured_at: exhibit.captured_at.map(write_time),
        capture_method: exhibit.method,
        redaction_level: exhibit.redaction,
        grade: exhibit.grade,
        graphic_severity: exhibit.severity,
        description: exhibit.description.clone(),
        ..referral::Evidence::default()
    };
    exhibits.iter().map(exhibit).collect()
}

/// What of a referral's evidence the platform is served.
fn read_exhibits(evidence: &[referral::Evidence]) -> Vec<Exhibit> {
    let served = evidence.iter().filter(|of| of.grade == referral::EvidenceGrade::Platform as i32);
    let exhibit = |of: &referral::Evidence| Exhibit {
        name: of.name.clone(),
        digest: of.sha256.clone(),
        bytes: of.size_bytes,
        media_type: of.media_type.clone(),
        captured_at: time(of.captured_at.as_ref()),
        method: of.capture_method,
        redaction: of.redaction_level,
        grade: of.grade,
        severity: of.graphic_severity,
        description: of.description.clone(),
    };
    served.map(exhibit).collect()
}

/// What is known of a case's evidence, as the database keeps it: as the contract writes it; nothing for none.
pub fn encode_exhibits(exhibits: &[Exhibit]) -> Vec<u8> {
    wire::Case { evidence: write_exhibits(exhibits), ..wire::Case::default() }.encode_to_vec()
}

/// The same behind what a database keeps; `None` for what this release did not write.
pub fn decode_exhibits(bytes: &[u8]) -> Option<Vec<Exhibit>> {
    Some(read_exhibits(&wire::Case::decode(bytes).ok()?.evidence))
}

/// Erasures as the database keeps them: as the contract writes them.
pub fn encode_erasures(erasures: &[Erasure]) -> Vec<u8> {
    wire::Case { erasures: write_erasures(erasures), ..wire::Case::default() }.encode_to_vec()
}

/// The erasures behind what a database keeps; `None` for what this release did not write.
pub fn decode_erasures(bytes: &[u8]) -> Option<Vec<Erasure>> {
    read_erasures(&wire::Case::decode(bytes).ok()?.erasures)
}

/// Takes what can be erased out of a case: each group in a case of its own, which holds nothing else.
fn take_personal(case: &mut wire::Case) -> Vec<(FieldGroup, wire::Case)> {
    let target = case.target.as_mut().map(take_place);
    let decision = case.latest_decision.as_mut().map(|decision| wire::Decision {
        explanation: std::mem::take(&mut decision.explanation),
        ..wire::Decision::default()
    });
    let reasons = wire::Case {
        statement_of_reasons: std::mem::take(&mut case.statement_of_reasons),
        withdrawal_reason: std::mem::take(&mut case.withdrawal_reason),
        latest_decision: decision,
        challenge_words: take_words(case),
        stay_words: take_stay_words(case),
        order: take_emergency(case.order.as_mut()),
        priority: take_explanation(case.priority.as_mut()),
        protected_context: case.protected_context.take(),
        ..wire::Case::default()
    };
    vec![
        (
            FieldGroup::Target,
            wire::Case {
                target,
                signature: case.signature.take(),
                evidence: std::mem::take(&mut case.evidence),
                ..wire::Case::default()
            },
        ),
        (FieldGroup::Reasons, reasons),
    ]
}

/// What can be erased of a change of a case, taken out of it.
fn seal(message: &mut wire::CaseChange, changed: &CaseChanged, begins: bool) -> Option<Personal> {
    let change = message.change.as_mut()?;
    let again: fn(wire::Case) -> Change = match change {
        Change::Opened(_) => Change::Opened,
        Change::Acknowledged(_) => Change::Acknowledged,
        Change::Decided(_) => Change::Decided,
        Change::Withdrawn(_) => Change::Withdrawn,
        Change::Erased(_) => Change::Erased,
        Change::ReplayChanged(_) => Change::ReplayChanged,
        Change::ChallengeChanged(_) => Change::ChallengeChanged,
        Change::Observed(_) => Change::Observed,
        Change::StayChanged(_) => Change::StayChanged,
        Change::ClockMarked(_) => Change::ClockMarked,
        Change::ReviewChanged(_) => Change::ReviewChanged,
        Change::Escalated(_) => Change::Escalated,
        Change::Prioritised(_) => Change::Prioritised,
        Change::NonDisclosureChanged(_) => Change::NonDisclosureChanged,
        _ => return None,
    };
    let half = |part| wire::CaseChange { change: Some(again(part)), ..wire::CaseChange::default() };
    let parts = take_personal(case_in(change)?).into_iter().map(|(group, part)| (group, half(part).encode_to_vec()));
    Some(Personal {
        subject: changed.case.referred.name.id,
        begins,
        parts: parts.collect(),
        erases: changed.case.erasures.iter().map(|erasure| erasure.group).collect(),
    })
}

/// Takes out of a case what its reader does not see.
pub fn conceal(case: &mut wire::Case, view: View) {
    if view.evidence.is_none() || !view.groups.has(FieldGroup::Target) {
        case.evidence.clear();
    }
    if !view.groups.has(FieldGroup::Target)
        && let Some(target) = &mut case.target
    {
        take_place(target);
    }
    if !view.groups.has(FieldGroup::Reasons) {
        case.statement_of_reasons.clear();
        case.withdrawal_reason.clear();
        take_words(case);
        take_stay_words(case);
        take_emergency(case.order.as_mut());
        take_explanation(case.priority.as_mut());
        case.protected_context = None;
    }
    if !view.groups.has(FieldGroup::LegalBasis) {
        case.legal_basis = None;
        case.order = None;
    }
    if !view.groups.has(FieldGroup::Grade)
        && let Some(handling) = &mut case.handling
    {
        *handling = referral::Handling { tlp: handling.tlp, ..referral::Handling::default() };
    }
}

/// Who reviews is the platform's own business.
/// And an order with which a referral is escalated is its agency's to share, as is the operation to which it belongs.
pub fn hide_lease(case: &mut wire::Case, reader: &Principal) {
    if let Scope::Agency(own) = reader.scope() {
        case.lease = None;
        if case.agency.strip_prefix("agencies/") != Some(own.as_str()) {
            case.escalated_to.clear();
            case.operation.clear();
            case.same_target.clear();
        }
    }
}

/// A case as its reader sees it. `revision` is that of its last change.
pub fn show_case(shown: &Shown, reader: &Principal, revision: String) -> wire::Case {
    let mut case = write_case(&shown.record.case, revision);
    conceal(&mut case, shown.view);
    hide_lease(&mut case, reader);
    case
}

/// The marking that a message carries, and whether it is shared with conditions. What was written before there were
/// markings has the strictest that is shared.
fn read_marking(handling: Option<&referral::Handling>) -> Option<(Tlp, bool)> {
    let Some(handling) = handling else { return Some((Tlp::AmberStrict, false)) };
    Some((Tlp::from_code(handling.tlp)?, handling.code == HandlingCode::SharingWithConditions as i32))
}

fn read_case(message: &wire::Case) -> Option<Case> {
    let (tlp, conditional) = read_marking(message.handling.as_ref())?;
    let target = message.target.as_ref()?;
    let legal_basis = message.legal_basis.as_ref()?;
    let receipt = match (time(message.acknowledged_at.as_ref()), time(message.acknowledged_recorded_at.as_ref())) {
        (Some(occurred_at), Some(recorded_at)) => Some(Receipt { occurred_at, recorded_at }),
        _ => None,
    };
    let progress = match (receipt, time(message.first_decided_at.as_ref()), &message.latest_decision) {
        (None, None, None) => Progress::Submitted,
        (Some(receipt), None, None) => Progress::Received(receipt),
        (Some(receipt), Some(first_decided_at), Some(latest)) => {
            Progress::Decided { receipt, first_decided_at, latest: Box::new(read_decision(latest)?) }
        }
        _ => return None,
    };
    let withdrawal = match time(message.withdrawn_at.as_ref()) {
        None => None,
        Some(occurred_at) => Some(Withdrawal {
            occurred_at,
            recorded_at: time(message.withdrawal_recorded_at.as_ref())?,
            reason: message.withdrawal_reason.clone(),
        }),
    };
    let mut case = Case {
        referred: Referred {
            name: message.referral.parse().ok()?,
            platform: parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(),
            target: read_target(target),
            nature: message.nature,
            ground: message.ground,
            legal_basis: read_legal_basis(legal_basis),
            statement_of_reasons: message.statement_of_reasons.clone(),
            statement_language: message.statement_language.clone(),
            content_language: message.content_language.clone(),
            occurred_at: time(message.submitted_at.as_ref())?,
            recorded_at: time(message.submitted_recorded_at.as_ref())?,
            signature: message.signature.as_ref().map(read_signature),
            tlp,
            conditional,
            protected_context: read_check(message.protected_context.as_ref()),
            order: None,
            priority: None,
            evidence: read_exhibits(&message.evidence),
            operation: message.operation.clone(),
            same_target: match message.same_target.as_str() {
                "" => None,
                name => Some(name.parse().ok()?),
            },
        },
        progress,
        withdrawal,
        erasures: read_erasures(&message.erasures)?,
        replay: match &message.replay_candidate {
            None => None,
            Some(candidate) => Some(read_replay(candidate)?),
        },
        challenges: message.challenges.iter().map(read_challenge).collect::<Option<_>>()?,
        observation: read_seen_last(message.latest_observation.as_ref())?,
        sighting: read_seen_last(message.latest_sighting.as_ref())?,
        stays: Vec::new(),
        response_time: None,
        order_answered_at: None,
        marks: Vec::new(),
        escalated_to: None,
        lease: None,
        review_began_at: None,
    };
    read_course(message, &mut case)?;
    Some(case)
}

fn write_replay(replay: &Replay) -> wire::ReplayCandidate {
    let Citation { clause, version } = &replay.under;
    wire::ReplayCandidate {
        under: Some(wire::ClauseCitation { clause: clause.to_string(), version: *version }),
        since: Some(write_time(replay.since)),
    }
}

fn read_replay(candidate: &wire::ReplayCandidate) -> Option<Replay> {
    let under = candidate.under.as_ref()?;
    Some(Replay {
        under: Citation { clause: under.clause.parse().ok()?, version: under.version },
        since: time(candidate.since.as_ref())?,
    })
}

fn read_signature(signature: &referral::ReferralSignature) -> Signature {
    Signature { jws: signature.jws.clone(), occurred_at: time(signature.occurred_at.as_ref()) }
}

fn read_target(target: &referral::Target) -> Target {
    Target {
        kind: target.kind,
        url: target.url.clone(),
        native_id: target.native_id.clone(),
        canonical_url: target.canonical_url.clone(),
    }
}

fn read_legal_basis(basis: &referral::LegalBasis) -> LegalBasis {
    LegalBasis { code: basis.code.clone(), statute: basis.statute.clone(), section: basis.section.clone() }
}

/// The first referral of the operation with the same target, if this is not it; `None` for a name that is none.
#[expect(clippy::option_option, reason = "no such referral, and one that cannot be read, are two things")]
fn read_same_target(links: &[referral::ReferralLink]) -> Option<Option<ReferralName>> {
    match links.iter().find(|link| link.kind() == referral::ReferralLinkKind::SameTarget) {
        None => Some(None),
        Some(link) => Some(Some(link.referral.parse().ok()?)),
    }
}

/// What a change of the referral log told; `None` if it is not about a referral.
pub fn read_told(change: &referral::ReferralChange) -> Result<Option<Told>> {
    use referral::referral_change::Change;
    let message = match &change.change {
        Some(
            Change::Created(message)
            | Change::Withdrawn(message)
            | Change::Erased(message)
            | Change::Prioritised(message)
            | Change::NonDisclosureChanged(message)
            | Change::Snapshot(message),
        ) => message,
        Some(
            Change::RetentionPolicyChanged(_)
            | Change::OrganisationCreated(_)
            | Change::OrganisationUpdated(_)
            | Change::OrganisationSnapshot(_)
            | Change::SigningProfileChanged(_)
            | Change::SigningProfileSnapshot(_)
            | Change::AgreementChanged(_)
            | Change::AgreementSnapshot(_)
            | Change::MeasureChanged(_)
            | Change::MeasureSnapshot(_)
            | Change::ReviewFlagChanged(_)
            | Change::ReviewFlagSnapshot(_)
            | Change::Observed(_)
            | Change::ObservationSnapshot(_)
            | Change::DraftChanged(_)
            | Change::DraftSnapshot(_)
            | Change::EvidenceUploaded(_)
            | Change::EvidenceErased(_)
            | Change::EvidenceSnapshot(_)
            | Change::AuthorisationPolicyChanged(_)
            // A case keeps the form that its referral had when it was sent.
            | Change::Readdressed(_)
            | Change::AddressRulesChanged(_)
            | Change::AddressRulesSnapshot(_)
            | Change::AddressesSwept(_)
            // What is held has not been sent.
            | Change::InterestChanged(_)
            | Change::HoldChanged(_)
            | Change::HoldSnapshot(_)
            | Change::Linked(_)
            | Change::OperationChanged(_)
            | Change::OperationSnapshot(_)
            | Change::PreNoticeGiven(_)
            | Change::PreNoticeSnapshot(_),
        )
        | None => {
            return Ok(None);
        }
    };
    let read = || {
        let withdrawal = match time(message.withdrawn_at.as_ref()) {
            None => None,
            Some(occurred_at) => Some(Withdrawal {
                occurred_at,
                recorded_at: time(message.withdrawal_recorded_at.as_ref())?,
                reason: message.withdrawal_reason.clone(),
            }),
        };
        let (tlp, conditional) = read_marking(message.handling.as_ref())?;
        Some(Told {
            position: i64::try_from(change.position).ok()?,
            referred: Referred {
                name: message.name.parse().ok()?,
                platform: parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(),
                target: read_target(message.target.as_ref()?),
                nature: message.nature,
                ground: message.ground,
                legal_basis: read_legal_basis(message.legal_basis.as_ref()?),
                statement_of_reasons: message.statement_of_reasons.clone(),
                statement_language: message.statement_language.clone(),
                content_language: message.content_language.clone(),
                occurred_at: time(message.occurred_at.as_ref())?,
                recorded_at: time(message.recorded_at.as_ref())?,
                signature: message.signature.as_ref().map(read_signature),
                tlp,
                conditional,
                protected_context: read_check(message.protected_context.as_ref()),
                order: message.order.as_ref().map(read_order),
                priority: message.priority.as_ref().map(read_priority),
                evidence: read_exhibits(&message.evidence),
                operation: message.operation.clone(),
                same_target: read_same_target(&message.links)?,
            },
            withdrawal,
            erasures: read_erasures(&message.erasures)?,
        })
    };
    read()
        .map(Some)
        .ok_or_else(|| Error::internal(format!("change {} of the referral log cannot be read", change.position)))
}

/// The agreement that a change of the referral log told of, if it did.
pub fn read_told_agreement(change: &referral::ReferralChange) -> Result<Option<Agreement>> {
    let Some(referral::referral_change::Change::AgreementChanged(message)) = &change.change else { return Ok(None) };
    read_agreement(message)
        .map(Some)
        .ok_or_else(|| Error::internal(format!("change {} of the referral log cannot be read", change.position)))
}

/// What a change of the referral log tells of an observation; `None` if it is another change.
pub fn read_seen(change: &referral::ReferralChange) -> Result<Option<Seen>> {
    let Some(referral::referral_change::Change::Observed(message)) = &change.change else { return Ok(None) };
    let read = || {
        let position = i64::try_from(change.position).ok()?;
        let name = message.name.parse::<ObservationName>().ok()?;
        Some(Seen { position, referral: name.referral.id, observation: read_observation(message)? })
    };
    read()
        .map(Some)
        .ok_or_else(|| Error::internal(format!("change {} of the referral log cannot be read", change.position)))
}

/// A clause for the wire.
pub fn write_clause(clause: &Clause) -> wire::Clause {
    wire::Clause {
        name: clause.name.to_string(),
        title: clause.title.clone(),
        latest_version: clause.latest_version,
        create_time: Some(write_time(clause.created_at)),
    }
}

fn read_clause(message: &wire::Clause) -> Option<Clause> {
    Some(Clause {
        name: message.name.parse().ok()?,
        title: message.title.clone(),
        latest_version: message.latest_version,
        created_at: time(message.create_time.as_ref())?,
    })
}

/// A version of a clause for the wire.
pub fn write_clause_version(version: &ClauseVersion) -> wire::ClauseVersion {
    let content = &version.content;
    wire::ClauseVersion {
        name: version.citation.to_string(),
        version: version.citation.version,
        title: content.title.clone(),
        text_digest: content.text_digest.clone(),
        effective_from: Some(write_time(content.effective_from)),
        effective_until: content.effective_until.map(write_time),
        jurisdictions: content.jurisdictions.clone(),
        permits: content.permits.clone(),
        public_url: content.public_url.clone(),
        ends_permission_of: content.ends_permission_of.clone(),
        recorded_at: Some(write_time(version.recorded_at)),
    }
}

fn read_clause_version(message: &wire::ClauseVersion) -> Option<ClauseVersion> {
    let (clause, _) = message.name.split_once("/versions/")?;
    Some(ClauseVersion {
        citation: Citation { clause: clause.parse().ok()?, version: message.version },
        content: read_clause_content(
            message,
            time(message.effective_from.as_ref())?,
            time(message.effective_until.as_ref()),
        ),
        recorded_at: time(message.recorded_at.as_ref())?,
    })
}

fn read_clause_content(
    message: &wire::ClauseVersion,
    effective_from: Timestamp,
    effective_until: Option<Timestamp>,
) -> ClauseVersionDraft {
    ClauseVersionDraft {
        title: message.title.clone(),
        text_digest: message.text_digest.clone(),
        effective_from,
        effective_until,
        jurisdictions: message.jurisdictions.clone(),
        permits: message.permits.clone(),
        public_url: message.public_url.clone(),
        ends_permission_of: message.ends_permission_of.clone(),
    }
}

/// Reads a version of a clause that a platform adds. Wrong fields are noted under `clause_version`.
pub fn read_clause_version_draft(
    violations: &mut Violations,
    message: Option<&wire::ClauseVersion>,
) -> Option<ClauseVersionDraft> {
    let message = message?;
    let from = optional_time(violations, "clause_version.effective_from", message.effective_from.as_ref());
    let until = optional_time(violations, "clause_version.effective_until", message.effective_until.as_ref());
    Some(read_clause_content(message, from?, until))
}

/// The agency of a name, if it is one's.
pub(super) fn agency(name: &str) -> Option<String> {
    parse_owner(name, OrganisationKind::Agency).ok().map(str::to_owned)
}

/// Reads a filter. The parent's platform is set by the caller.
pub fn read_case_filter(violations: &mut Violations, filter: Option<&wire::CaseFilter>) -> CaseFilter {
    let Some(filter) = filter else { return CaseFilter::default() };
    CaseFilter {
        platform: None,
        statuses: filter.statuses.iter().filter_map(|code| Status::from_code(*code)).collect(),
        agencies: filter.agencies.iter().filter_map(|name| agency(name)).collect(),
        grounds: filter.grounds.clone(),
        natures: filter.natures.clone(),
        target_kinds: filter.target_kinds.clone(),
        submitted_from: optional_time(violations, "filter.submitted_from", filter.submitted_from.as_ref()),
        submitted_until: optional_time(violations, "filter.submitted_until", filter.submitted_until.as_ref()),
        replay_candidates: filter.replay_candidates,
        discrepancies: filter.discrepancies.iter().filter_map(|code| Discrepancy::from_code(*code)).collect(),
        operations: filter.operations.clone(),
    }
}

/// Reads a filter. What the parent selects is set by the caller.
pub fn read_decision_filter(violations: &mut Violations, filter: Option<&wire::DecisionFilter>) -> DecisionFilter {
    let Some(filter) = filter else { return DecisionFilter::default() };
    DecisionFilter {
        platform: None,
        case: None,
        outcomes: filter.outcomes.clone(),
        kinds: filter.kinds.clone(),
        agencies: filter.agencies.iter().filter_map(|name| agency(name)).collect(),
        clauses: filter.clauses.iter().filter_map(|name| name.parse().ok()).collect(),
        decided_from: optional_time(violations, "filter.decided_from", filter.decided_from.as_ref()),
        decided_until: optional_time(violations, "filter.decided_until", filter.decided_until.as_ref()),
    }
}

/// How events are written into the log and read back.
pub struct Log;

impl Codec<Event> for Log {
    fn encode(event: &Event) -> Encoded {
        let (agency, platform) = match event {
            Event::CaseOpened(changed)
            | Event::CaseAcknowledged(changed)
            | Event::CaseDecided(changed)
            | Event::CaseWithdrawn(changed)
            | Event::CaseErased(changed)
            | Event::ReplayChanged(changed)
            | Event::ChallengeChanged(changed, _)
            | Event::StayChanged(changed, _)
            | Event::ClockMarked(changed)
            | Event::ReviewChanged(changed)
            | Event::CaseEscalated(changed)
            | Event::CasePrioritised(changed)
            | Event::NonDisclosureChanged(changed)
            | Event::CaseObserved(changed) => {
                (changed.case.referred.name.agency.clone(), changed.case.referred.platform.clone())
            }
            // The catalogue is no agency's; that is how streams know it.
            Event::ClauseCreated(clause) => (String::new(), clause.name.platform.clone()),
            Event::ClauseVersionAdded(version) => (String::new(), version.citation.clause.platform.clone()),
            Event::ResponseTimesSet(times) => (String::new(), times.platform.clone()),
            // Under the proposer's name, so that it is nobody's but the parties'.
            Event::AgreementLearnt(agreement) => (agreement.proposer().to_owned(), String::new()),
        };
        let mut message = write_event(event);
        let begins = matches!(event, Event::CaseOpened(_));
        let personal = event.case_changed().and_then(|changed| seal(&mut message, changed, begins));
        Encoded { agency, platform, body: message.encode_to_vec(), personal }
    }

    fn decode(body: &[u8]) -> Result<Event> {
        let message = open_change(body)?;
        read_event(&message).ok_or_else(unreadable)
    }
}

/// A change as the log keeps it, opened: what was sealed apart stands behind the rest, and goes back to its place.
fn open_change(body: impl prost::bytes::Buf) -> Result<wire::CaseChange> {
    let mut message = wire::CaseChange::decode(body).map_err(|_| unreadable())?;
    if let Some(case) = message.change.as_mut().and_then(case_in) {
        put_words(case);
        put_stay_words(case);
    }
    Ok(message)
}

fn write_event(event: &Event) -> wire::CaseChange {
    let case = |changed: &CaseChanged, change: fn(wire::Case) -> Change| wire::CaseChange {
        occurred_at: Some(write_time(changed.occurred_at)),
        referral_position: u64::try_from(changed.referral_position).unwrap_or_default(),
        before: changed.before.map_or(WireDisposition::Unspecified as i32, Disposition::code),
        after: changed.case.disposition().code(),
        clause_before: changed.clause_before.as_ref().map(write_cited).unwrap_or_default(),
        replay_candidate_before: changed.replay_before,
        discrepancy_before: changed.discrepancy_before.map(Discrepancy::code).unwrap_or_default(),
        status_before: changed.status_before.map(Status::code).unwrap_or_default(),
        clock_steps: changed.clock_steps.iter().map(|step| write_step(&changed.case.name(), step)).collect(),
        change: Some(change(write_case(&changed.case, String::new()))),
        ..wire::CaseChange::default()
    };
    let catalogue = |at: Timestamp, change: Change| wire::CaseChange {
        occurred_at: Some(write_time(at)),
        change: Some(change),
        ..wire::CaseChange::default()
    };
    match event {
        Event::CaseOpened(changed) => case(changed, Change::Opened),
        Event::CaseAcknowledged(changed) => case(changed, Change::Acknowledged),
        Event::CaseDecided(changed) => case(changed, Change::Decided),
        Event::CaseWithdrawn(changed) => case(changed, Change::Withdrawn),
        Event::CaseErased(changed) => case(changed, Change::Erased),
        Event::CaseObserved(changed) => case(changed, Change::Observed),
        Event::ReplayChanged(changed) => case(changed, Change::ReplayChanged),
        Event::ChallengeChanged(changed, number) => {
            wire::CaseChange { challenge: *number, ..case(changed, Change::ChallengeChanged) }
        }
        Event::StayChanged(changed, number) => wire::CaseChange { stay: *number, ..case(changed, Change::StayChanged) },
        Event::ClockMarked(changed) => case(changed, Change::ClockMarked),
        Event::ReviewChanged(changed) => case(changed, Change::ReviewChanged),
        Event::CaseEscalated(changed) => case(changed, Change::Escalated),
        Event::CasePrioritised(changed) => case(changed, Change::Prioritised),
        Event::NonDisclosureChanged(changed) => case(changed, Change::NonDisclosureChanged),
        Event::ResponseTimesSet(times) => catalogue(times.recorded_at, Change::ResponseTimesSet(write_times(times))),
        Event::ClauseCreated(clause) => catalogue(clause.created_at, Change::ClauseCreated(write_clause(clause))),
        Event::ClauseVersionAdded(version) => {
            catalogue(version.recorded_at, Change::ClauseVersionAdded(write_clause_version(version)))
        }
        Event::AgreementLearnt(agreement) => {
            let at = agreement.updated_at;
            catalogue(at, Change::AgreementLearnt(write_agreement(agreement, at)))
        }
    }
}

/// Whether an event says what never reaches a platform: that the referral is shared with conditions only.
pub fn is_graded(body: &[u8]) -> bool {
    match wire::CaseChange::decode(body).ok().and_then(|message| message.change) {
        Some(change) => case_of(&change)
            .is_some_and(|case| read_marking(case.handling.as_ref()).is_none_or(|(_, conditional)| conditional)),
        None => true,
    }
}

/// A clause at a version, in one text: `platforms/{platform}/clauses/{clause}@{version}`.
fn write_cited(citation: &Citation) -> String {
    format!("{}@{}", citation.clause, citation.version)
}

fn read_cited(text: &str) -> Option<Citation> {
    let (clause, version) = text.split_once('@')?;
    Some(Citation { clause: clause.parse().ok()?, version: version.parse().ok()? })
}

fn read_event(message: &wire::CaseChange) -> Option<Event> {
    let case = |case: &wire::Case| {
        Some(CaseChanged {
            occurred_at: time(message.occurred_at.as_ref())?,
            referral_position: i64::try_from(message.referral_position).ok()?,
            before: match message.before {
                0 => None,
                code => Some(Disposition::from_code(code)?),
            },
            clause_before: match message.clause_before.as_str() {
                "" => None,
                text => Some(read_cited(text)?),
            },
            replay_before: message.replay_candidate_before,
            discrepancy_before: Discrepancy::from_code(message.discrepancy_before),
            status_before: Status::from_code(message.status_before),
            clock_steps: message.clock_steps.iter().map(read_step).collect::<Option<_>>()?,
            case: Arc::new(read_case(case)?),
        })
    };
    match message.change.as_ref()? {
        Change::Opened(message) => case(message).map(Event::CaseOpened),
        Change::Acknowledged(message) => case(message).map(Event::CaseAcknowledged),
        Change::Decided(message) => case(message).map(Event::CaseDecided),
        Change::Withdrawn(message) => case(message).map(Event::CaseWithdrawn),
        Change::Erased(message) => case(message).map(Event::CaseErased),
        Change::Observed(message) => case(message).map(Event::CaseObserved),
        Change::ReplayChanged(message) => case(message).map(Event::ReplayChanged),
        Change::ChallengeChanged(it) => case(it).map(|changed| Event::ChallengeChanged(changed, message.challenge)),
        Change::StayChanged(it) => case(it).map(|changed| Event::StayChanged(changed, message.stay)),
        Change::ClockMarked(message) => case(message).map(Event::ClockMarked),
        Change::ReviewChanged(message) => case(message).map(Event::ReviewChanged),
        Change::Escalated(message) => case(message).map(Event::CaseEscalated),
        Change::Prioritised(message) => case(message).map(Event::CasePrioritised),
        Change::NonDisclosureChanged(message) => case(message).map(Event::NonDisclosureChanged),
        Change::ResponseTimesSet(message) => read_times(message).map(Event::ResponseTimesSet),
        Change::ClauseCreated(message) => read_clause(message).map(Event::ClauseCreated),
        Change::ClauseVersionAdded(message) => read_clause_version(message).map(Event::ClauseVersionAdded),
        Change::AgreementLearnt(message) => read_agreement(message).map(|of| Event::AgreementLearnt(Box::new(of))),
        Change::Snapshot(_) => None,
    }
}

fn unreadable() -> Error {
    Error::internal("an event of the decision log cannot be read")
}

/// The case in a change, if it is a change of a case.
pub fn case_of(change: &Change) -> Option<&wire::Case> {
    match change {
        Change::Opened(case)
        | Change::Acknowledged(case)
        | Change::Decided(case)
        | Change::Withdrawn(case)
        | Change::Erased(case)
        | Change::ReplayChanged(case)
        | Change::ChallengeChanged(case)
        | Change::Observed(case)
        | Change::StayChanged(case)
        | Change::ClockMarked(case)
        | Change::ReviewChanged(case)
        | Change::Escalated(case)
        | Change::Prioritised(case)
        | Change::NonDisclosureChanged(case)
        | Change::Snapshot(case) => Some(case),
        Change::ClauseCreated(_)
        | Change::ClauseVersionAdded(_)
        | Change::ResponseTimesSet(_)
        | Change::AgreementLearnt(_) => None,
    }
}

/// The same, for changing it.
pub fn case_in(change: &mut Change) -> Option<&mut wire::Case> {
    match change {
        Change::Opened(case)
        | Change::Acknowledged(case)
        | Change::Decided(case)
        | Change::Withdrawn(case)
        | Change::Erased(case)
        | Change::ReplayChanged(case)
        | Change::ChallengeChanged(case)
        | Change::Observed(case)
        | Change::StayChanged(case)
        | Change::ClockMarked(case)
        | Change::ReviewChanged(case)
        | Change::Escalated(case)
        | Change::Prioritised(case)
        | Change::NonDisclosureChanged(case)
        | Change::Snapshot(case) => Some(case),
        Change::ClauseCreated(_)
        | Change::ClauseVersionAdded(_)
        | Change::ResponseTimesSet(_)
        | Change::AgreementLearnt(_) => None,
    }
}

/// A stored event as a stream shows it to a reader.
pub fn write_change(stored: &StoredEvent, epoch: Epoch, reader: &Principal) -> Result<wire::CaseChange> {
    let mut message = open_change(stored.body.clone())?;
    let revision = portreeve_storage::event::revision(SERVICE, epoch, stored.position).encode();
    let (actor, member) = stored.actor.split_once(':').unwrap_or((&stored.actor, ""));
    // What the referral log told is the agency's doing, not that of the service which read it.
    message.actor = match &message.change {
        Some(
            Change::Opened(case)
            | Change::Withdrawn(case)
            | Change::Erased(case)
            | Change::Escalated(case)
            | Change::Prioritised(case)
            | Change::NonDisclosureChanged(case)
            | Change::Observed(case),
        ) => case.agency.clone(),
        _ => actor.to_owned(),
    };
    // Who in an organisation did it is that organisation's own business.
    if message.actor == actor && reader.organisation().to_string() == actor {
        member.clone_into(&mut message.member);
    }
    message.position = u64::try_from(stored.position).unwrap_or_default();
    message.recorded_at = Some(write_time(stored.recorded_at));
    if let Some(case) = message.change.as_mut().and_then(case_in) {
        case.revision.clone_from(&revision);
    }
    message.revision = revision;
    Ok(message)
}

/// The case in a change as the domain knows it, for filtering.
pub fn changed_case(message: &wire::CaseChange) -> Result<Option<Case>> {
    let case = message.change.as_ref().and_then(case_of);
    case.map(|case| read_case(case).ok_or_else(unreadable)).transpose()
}

/// A change that records a decision, as a stream of decisions shows it. `None` if it is another change.
pub fn decision_change(change: wire::CaseChange) -> Option<wire::DecisionChange> {
    let Some(Change::Decided(case)) = change.change else { return None };
    Some(wire::DecisionChange {
        position: change.position,
        revision: change.revision,
        occurred_at: change.occurred_at,
        recorded_at: change.recorded_at,
        actor: change.actor,
        member: change.member,
        case: case.name,
        referral: case.referral,
        change: case.latest_decision.map(wire::decision_change::Change::Recorded),
    })
}

/// A case of a snapshot that was taken at a position.
pub fn case_snapshot(shown: &Shown, reader: &Principal, at: i64, epoch: Epoch) -> wire::CaseChange {
    let CaseRecord { case, updated, .. } = &shown.record;
    let revision = |position| portreeve_storage::event::revision(SERVICE, epoch, position).encode();
    wire::CaseChange {
        position: u64::try_from(at).unwrap_or_default(),
        revision: revision(at),
        occurred_at: Some(write_time(case.latest_occurrence())),
        recorded_at: Some(write_time(case.latest_record())),
        after: case.disposition().code(),
        change: Some(Change::Snapshot(show_case(shown, reader, revision(*updated)))),
        ..wire::CaseChange::default()
    }
}

/// A decision of a snapshot that was taken at a position.
pub fn decision_snapshot(record: &DecisionRecord, at: i64, epoch: Epoch) -> wire::DecisionChange {
    wire::DecisionChange {
        position: u64::try_from(at).unwrap_or_default(),
        revision: portreeve_storage::event::revision(SERVICE, epoch, at).encode(),
        occurred_at: Some(write_time(record.decision.decided_at)),
        recorded_at: Some(write_time(record.decision.recorded_at)),
        case: record.case.to_string(),
        referral: record.referral.to_string(),
        change: Some(wire::decision_change::Change::Snapshot(write_decision(&record.case, &record.decision))),
        ..wire::DecisionChange::default()
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::Recorded;

    use super::*;
    use crate::domain::outcome::tests::complete;
    use crate::domain::tests::{Book, acknowledge, at, clause_name, draft, later, record, told, version, withdrawn};
    use crate::domain::{AccessObstacle, Command, GoneBy, ProtectedContext, Restriction};

    /// Every event that a life can have, with every outcome.
    fn events() -> Vec<Recorded<Event>> {
        let mut book = Book::default();
        let name = clause_name("he-7");
        book.tell(&Command::CreateClause { name: name.clone(), title: "Human exploitation".into() }, 1).unwrap();
        book.tell(&Command::AddClauseVersion { clause: name, draft: version(5, Some(500)) }, 2).unwrap();
        for (number, kind) in (1..).zip(OutcomeKind::ALL) {
            let mut flat = complete(*kind);
            flat.suspended_until = flat.suspended_until.map(|_| at(900));
            let mut first = draft(Kind::Initial, flat.clone(), None);
            first.content.effective_at = first.content.outcome.acts().then(|| at(8));
            first.content.territorial_scope = vec!["FR".into(), "GB".into()];
            first.content.explanation = "because".into();
            first.content.language_reviewed = "sq".into();
            first.content.redress = vec![Redress::InternalComplaint, Redress::Judicial];
            first.content.notification = Some(Notification::Suppressed(at(90)));
            let mut second = draft(later(Later::Amended), flat, None);
            second.content.explanation = "on second thoughts".into();
            for (command, now) in [
                (
                    Command::FollowReferrals {
                        told: vec![told(number, 1, 6, 7)],
                        agreements: vec![],
                        observed: vec![],
                    },
                    8,
                ),
                (acknowledge(number, None), 9),
                (record(number, first), 10),
                (record(number, second), 11),
                (
                    Command::FollowReferrals {
                        told: vec![withdrawn(told(number, 1, 6, 7), 2, 12, 13)],
                        agreements: vec![],
                        observed: vec![],
                    },
                    14,
                ),
            ] {
                assert_eq!(book.tell(&command, now).unwrap().len(), 1, "{kind:?}");
            }
        }
        challenge(&mut book);
        stay(&mut book);
        book.log
    }

    /// A look at a target, or at what it has become.
    fn seen(number: u128, again: bool) -> Command {
        let finding = if again { ObservationFinding::Reappeared } else { ObservationFinding::GeoBlocked };
        let observation = Observation {
            name: format!("agencies/nca/referrals/{0}/observations/{0}", Uuid::from_u128(number)),
            finding,
            method: ObservationMethod::Manual,
            country: "GB".into(),
            observed_at: at(40 + i64::from(again)),
            recorded_at: at(50),
            evidence: "ab".repeat(32),
        };
        let observed = vec![Seen { position: 9, referral: Uuid::from_u128(number), observation }];
        Command::FollowReferrals { told: vec![], agreements: vec![], observed }
    }

    /// An order with a question and an impediment, whose time is over, and what a platform says of how long it takes.
    fn stay(book: &mut Book) {
        use crate::domain::{Order, Priority, QuestionCode, StayContent, StayGround, Wanted};
        use portreeve_core::name::StayName;
        let number = u128::try_from(OutcomeKind::ALL.len()).unwrap() + 2;
        let case = || crate::domain::tests::case_name(number);
        let mut ordered = told(number, 1, 6, 7);
        ordered.referred.nature = 3;
        ordered.referred.order = Some(Order {
            regime: Order::TCO,
            issuing_authority: "Bundeskriminalamt".into(),
            act_within: Some(3_600_000_000),
            redress: "Before the court.".into(),
            non_disclosure: Some(crate::domain::NonDisclosure {
                extended: Some((crate::domain::tests::at(90), crate::domain::tests::at(7), "Observed.".into())),
                lifted: None,
            }),
            territorial_scope: vec!["DE".into()],
            feedback_to: "Wiesbaden".into(),
            emergency: "A boat leaves.".into(),
            non_disclosure_until: Some(at(1_000)),
            escalates: Some(told(number - 1, 1, 6, 7).referred.name),
        });
        ordered.referred.priority = Some(Priority {
            harm: 4,
            likelihood: 3,
            confidence: 2,
            explanation: "It leaves tonight.".into(),
            threat_to_life: true,
            score: 24,
            version: 2,
            changed_at: Some(crate::domain::tests::at(7)),
        });
        let content = |ground, questions| StayContent { ground, questions, explanation: "Which?".into() };
        let begin = |content| Command::BeginStay { case: case(), content, answer_by: None, by: String::new() };
        let name = |number| StayName { case: case(), number };
        let commands = [
            Command::SetResponseTimes {
                platform: "hb".into(),
                times: [(1, 60_000_000)].into(),
                expected_version: None,
            },
            Command::FollowReferrals { told: vec![ordered], agreements: vec![], observed: vec![] },
            acknowledge(number, None),
            begin(content(StayGround::ManifestErrors, vec![QuestionCode::Part, QuestionCode::Context])),
            Command::Answer { stay: name(1), answer: "This.".into(), by: "agencies/nca".parse().unwrap() },
            begin(content(StayGround::DeFactoImpossibility, vec![])),
            Command::Cease { stay: name(2) },
            Command::Lease { wanted: Wanted::These(vec![case()]), holder: "r.one".into(), time: 60_000_000 },
            Command::Release { cases: vec![case()], holder: "r.one".into() },
            Command::Tick { cases: vec![Uuid::from_u128(number)] },
        ];
        for (now, command) in [60, 61, 62, 63, 64, 65, 66, 67, 68, 5_000].into_iter().zip(commands) {
            // The order escalates another case.
            let events = 1 + usize::from(now == 61);
            assert_eq!(book.tell(&command, now).unwrap().len(), events, "{command:?}");
        }
    }

    /// A case with two challenges that go every way that there is.
    fn challenge(book: &mut Book) {
        use crate::domain::{ChallengeDraft, ChallengeKind, ChallengeOutcome, Forum, Move, Pursuit};
        let number = u128::try_from(OutcomeKind::ALL.len()).unwrap() + 1;
        let case = || crate::domain::tests::case_name(number);
        let file = |kind, by: &str, reasons: &str| Command::FileChallenge {
            case: case(),
            draft: ChallengeDraft { kind, version: 1, reasons: reasons.into(), occurred_at: None },
            by: by.parse().unwrap(),
        };
        let pursue = |number, moved, decision| Command::Pursue {
            challenge: portreeve_core::name::ChallengeName { case: case(), number },
            pursuit: Box::new(Pursuit { by: None, moved, decision, occurred_at: None }),
        };
        let decide = |outcome| Move::Decide { outcome, explanation: "again".into(), version: 0 };
        let court = Kind::Later(Later::Reversed, Cause { kind: CauseKind::Court, reference: String::new() });
        let commands = [
            Command::FollowReferrals { told: vec![told(number, 1, 6, 7)], agreements: vec![], observed: vec![] },
            acknowledge(number, None),
            record(number, draft(Kind::Initial, complete(OutcomeKind::Impossible), None)),
            file(ChallengeKind::ReferrerChallenge, "agencies/nca", "It can be done."),
            pursue(1, Move::Acknowledge, None),
            pursue(1, Move::BeginReview, None),
            pursue(1, decide(ChallengeOutcome::Upheld), None),
            file(ChallengeKind::ContentOwnerComplaint, "platforms/hb", ""),
            pursue(1, Move::Refer { forum: Forum::Court, body: "High Court".into(), reference: "1/20".into() }, None),
            pursue(1, Move::DecidedOutside { outcome: ChallengeOutcome::Reversed, procedural: true }, None),
            pursue(1, Move::LeaveUndone, None),
            pursue(1, Move::Implement { version: 0 }, Some(draft(court, complete(OutcomeKind::ClosedIllegal), None))),
            pursue(2, Move::Acknowledge, None),
            pursue(2, decide(ChallengeOutcome::Omitted), None),
            pursue(2, Move::Close, None),
            seen(number, false),
            seen(number, true),
        ];
        for (now, command) in (20..).zip(commands) {
            assert!(!book.tell(&command, now).unwrap().is_empty(), "{command:?}");
        }
    }

    #[test]
    fn what_is_written_into_the_log_is_read_back_as_it_was() {
        let events = events();
        assert_eq!(events.len(), 2 + 5 * OutcomeKind::ALL.len() + 18 + 11);
        for recorded in events {
            let encoded = Log::encode(&recorded.event);
            assert_eq!(encoded.platform, "hb");
            assert_eq!(encoded.agency.is_empty(), recorded.event.case_changed().is_none());
            // What was taken out for sealing comes behind it when it is opened.
            let personal = encoded.personal.unwrap_or_default();
            let parts = personal.parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().concat();
            assert_eq!(Log::decode(&[encoded.body, parts].concat()).unwrap(), recorded.event);
        }
        assert!(Log::decode(b"").is_err());
        assert!(Log::decode(&[0xff]).is_err());
    }

    #[test]
    fn the_domain_uses_the_numbers_and_names_of_the_contract() {
        macro_rules! same {
            ($domain:ty, $contract:ty, $prefix:literal) => {
                let mut numbers = vec![0];
                for value in <$domain>::ALL {
                    let wire = <$contract>::try_from(value.code()).unwrap();
                    assert_eq!(wire.as_str_name(), format!("{}{}", $prefix, value.as_str()));
                    numbers.push(value.code());
                }
                // The contract has no other value.
                for number in (0..100).filter(|number| !numbers.contains(number)) {
                    assert!(<$contract>::try_from(number).is_err(), "{number}");
                }
            };
        }
        same!(Status, wire::CaseStatus, "CASE_STATUS_");
        same!(OutcomeKind, wire::Outcome, "OUTCOME_");
        same!(Restriction, wire::Restriction, "RESTRICTION_");
        same!(AccessObstacle, wire::AccessObstacle, "ACCESS_OBSTACLE_");
        same!(GoneBy, wire::GoneBy, "GONE_BY_");
        same!(ProtectedContext, wire::ProtectedContext, "PROTECTED_CONTEXT_");
        same!(CauseKind, wire::CauseKind, "CAUSE_KIND_");
        same!(Source, wire::DecisionSource, "DECISION_SOURCE_");
        same!(crate::domain::ChallengeKind, wire::ChallengeKind, "CHALLENGE_KIND_");
        same!(Discrepancy, wire::Discrepancy, "DISCREPANCY_");
        same!(crate::domain::Stage, wire::ChallengeStage, "CHALLENGE_STAGE_");
        same!(crate::domain::ChallengeOutcome, wire::ChallengeOutcome, "CHALLENGE_OUTCOME_");
        same!(crate::domain::ClockKind, wire::ClockKind, "CLOCK_KIND_");
        same!(crate::domain::ClockState, wire::ClockState, "CLOCK_STATE_");
        same!(crate::domain::StepKind, wire::ClockStepKind, "CLOCK_STEP_KIND_");
        same!(crate::domain::StayGround, wire::StayGround, "STAY_GROUND_");
        same!(crate::domain::StayEnd, wire::StayEnd, "STAY_END_");
        same!(crate::domain::QuestionCode, wire::QuestionCode, "QUESTION_CODE_");
        same!(crate::domain::Forum, wire::ExternalForum, "EXTERNAL_FORUM_");
        for kind in Later::ALL {
            let wire = wire::DecisionKind::try_from(kind.code()).unwrap();
            assert_eq!(wire.as_str_name(), format!("DECISION_KIND_{}", kind.as_str()));
        }
        assert_eq!(wire::DecisionKind::Initial as i32, Kind::INITIAL);
        for disposition in Disposition::ALL {
            assert!(WireDisposition::try_from(disposition.code()).is_ok());
        }
    }
}
