//! Between the contract's messages and the domain. The log's bodies are the contract's change messages, without what
//! the log's own columns hold.

use std::sync::Arc;

use portreeve_api::common::v1::HandlingCode;
use portreeve_api::referral::v1 as wire;
use portreeve_core::access::View;
use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::location;
use portreeve_core::name::{OrganisationKind, OrganisationName, ReferralName, parse_owner};
use portreeve_core::principal::Scope;
use portreeve_core::signature::{Jws, PublicKey, Revocation};
use portreeve_core::token::Epoch;
use portreeve_core::vocabulary::{
    Assessment, Classification, FieldGroup, Ground, Nature, RetentionClass, SourceGrade, TargetKind, Tlp,
};
use portreeve_core::{Error, Principal, Reason, Result, Timestamp, Violations, limits};
use portreeve_runtime::agreements::{read_agreement, write_agreement};
use portreeve_runtime::erasures::{read_erasures, take_place, write_erasures};
use portreeve_runtime::wire::{optional_time, read_time, take_emergency, take_explanation, told_time, write_time};
use portreeve_storage::{Codec, Encoded, Personal, StoredEvent};
use prost::Message;
use wire::referral_change::Change;

use super::address_rules::{read_rules, read_sweep, write_rules, write_sweep};
use super::authorisation::{read_policy, write_policy};
use super::drafts::convert::{read_draft as read_recorded_draft, seal as seal_draft};
use super::evidence;
use super::evidence::convert::{Digests, canonical, read_evidence, read_exhibits, read_names, write_exhibit};
use super::interests::convert::{read_hold, read_interest, record_interest, write_hold};
use super::links::{self, read_links, write_links};
use super::measures::convert::{read_measure, write_measure};
use super::observations;
use super::observations::convert::read_observation;
use super::operations::convert::{read_operation, write_operation};
use super::order::{self, write_order};
use super::pre_notices::convert::{read_pre_notice, write_pre_notice};
use super::priority::{self, write_priority};
use super::protected_context::{read_check, read_recorded, write_check};
use super::review_flags::convert::{read_flag, write_flag};
use super::target::{self, read_target, write_target};
use crate::domain::{
    Draft, DraftStanding, Event, Handling, LegalBasis, NewReferral, Order, Organisation, Referral, RetentionPolicy,
    Rule, Said, Signature, Signed, SigningProfile, Standing, legal_basis,
};
use crate::store::Filter;

/// The state's number in the contract and in the database.
pub fn state_code(standing: &Standing) -> i32 {
    match standing {
        Standing::Submitted => wire::ReferralState::Submitted as i32,
        Standing::Withdrawn { .. } => wire::ReferralState::Withdrawn as i32,
    }
}

/// Takes the signature out of a draft. It is no part of what a repeated request must repeat: whoever signs the same content
/// again says nothing else.
pub fn take_jws(draft: &mut wire::ReferralDraft) -> Option<String> {
    draft.signature.as_mut().map(|signature| std::mem::take(&mut signature.jws))
}

/// Puts it back.
pub fn with_jws(draft: wire::ReferralDraft, jws: Option<String>) -> wire::ReferralDraft {
    let signature = jws.map(|jws| wire::ReferralSignature { jws, occurred_at: None });
    wire::ReferralDraft { signature, ..draft }
}

/// Reads a signature whose referral is `draft`. What is wrong is noted against `field`.
pub(super) fn read_signature(
    violations: &mut Violations,
    field: &str,
    agency: &str,
    draft: &wire::ReferralDraft,
    digests: &Digests,
    now: Timestamp,
) -> Option<Signed> {
    let jws = draft.signature.as_ref().map(|signature| signature.jws.as_str()).filter(|jws| jws.contains(".."))?;
    let jws = violations.check(field, Jws::parse(jws))?;
    if jws.signed_at() > now.plus_micros(limits::CLOCK_SKEW_MICROS) {
        violations.add(field, "must not be signed in the future of the server's clock");
    }
    Some(Signed { jws, canonical: canonical(agency, draft, digests) })
}

/// A signature for the wire.
pub(super) fn write_signature(signature: &Signature) -> wire::ReferralSignature {
    wire::ReferralSignature { jws: signature.jws.clone(), occurred_at: signature.occurred_at.map(write_time) }
}

/// A signature as it was recorded.
pub(super) fn read_recorded_signature(message: &wire::ReferralSignature) -> Signature {
    let occurred_at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok());
    Signature { jws: message.jws.clone(), occurred_at }
}

/// Reads a draft. Wrong fields are noted under `path`; the contract's own rules have been checked already.
pub(super) fn read_draft(
    violations: &mut Violations,
    path: &str,
    agency: &str,
    id: Uuid,
    draft: wire::ReferralDraft,
    digests: &Digests,
    now: Timestamp,
) -> Option<NewReferral> {
    // What the contract's rules refuse gives None here and needs no second word.
    let platform = parse_owner(&draft.platform, OrganisationKind::Platform).ok().map(str::to_owned);
    let signed = read_signature(violations, &format!("{path}.signature.jws"), agency, &draft, digests, now);
    let signature = signed.as_ref().map(|signed| Signature {
        jws: signed.jws.as_str().to_owned(),
        // As it was signed: what clocks disagree about is taken from the referral's own.
        occurred_at: draft.occurred_at.as_ref().and_then(|at| read_time(at).ok()),
    });
    let evidence = read_names(violations, path, agency, &draft.evidence);
    let shown = !evidence.is_empty();
    let target = draft.target;
    let target = target.and_then(|target| read_target(violations, &format!("{path}.target"), target, shown, now));
    let told = draft.occurred_at.as_ref();
    let occurred_at = told.and_then(|_| told_time(violations, &format!("{path}.occurred_at"), told, now));
    let handling = read_handling(violations, &format!("{path}.handling"), draft.handling.unwrap_or_default());
    let check = draft.protected_context.as_ref();
    let protected_context = check.map(|check| read_check(check, &format!("{path}.protected_context"), violations));
    let urgency = draft.priority.as_ref();
    let priority = urgency.map(|said| priority::read_priority(said, &format!("{path}.priority"), violations));
    let terms = draft.order.as_ref();
    let order = terms.map(|terms| order::read_order(terms, &format!("{path}.order"), violations));
    if let (Some(Some(order)), Some(nature)) = (&order, Nature::from_code(draft.nature)) {
        order.check(nature, occurred_at.unwrap_or(now), &format!("{path}.order"), violations);
        check_escalated(order, agency, &format!("{path}.order.escalates"), violations);
    }
    let links = read_links(violations, &format!("{path}.links"), agency, &draft.links);
    let wire::LegalBasis { code, statute, section } = draft.legal_basis?;
    let legal_basis = LegalBasis { code, statute, section };
    legal_basis::check(&legal_basis, &format!("{path}.legal_basis"), violations);
    let said = Said {
        name: ReferralName { agency: agency.to_owned(), id },
        platform: platform?,
        target: target?,
        nature: Nature::from_code(draft.nature)?,
        ground: Ground::from_code(draft.ground)?,
        legal_basis,
        statement: draft.statement_of_reasons,
        statement_language: draft.statement_language,
        content_language: draft.content_language,
        signature,
        handling: handling?,
        protected_context: match protected_context {
            None => None,
            Some(read) => Some(read?),
        },
        order: match order {
            None => None,
            Some(read) => Some(read?),
        },
        priority: match priority {
            None => None,
            Some(read) => Some(read?),
        },
        evidence,
        links: links?,
        operation: draft.operation.parse().ok(),
    };
    Some(NewReferral { said: Arc::new(said), occurred_at, signed: signed.map(Box::new) })
}

/// What is escalated is the agency's own.
fn check_escalated(order: &Order, agency: &str, field: &str, violations: &mut Violations) {
    if order.escalates.as_ref().is_some_and(|name| name.agency != agency) {
        violations.add(field, format_args!("must be a referral of agencies/{agency}"));
    }
}

/// Refuses what is classified above what this exchange takes, before anything of it is kept.
pub fn refuse_classified<'d>(drafts: impl IntoIterator<Item = &'d wire::ReferralDraft>) -> Result<()> {
    for draft in drafts {
        let handling = draft.handling.as_ref();
        let classification = handling.and_then(|handling| Classification::from_code(handling.classification));
        let name = match classification {
            Some(Classification::Secret) => "SECRET",
            Some(Classification::TopSecret) => "TOP_SECRET",
            Some(Classification::Official | Classification::OfficialSensitive) | None => continue,
        };
        return Err(Error::new(
            Reason::MarkingRefused,
            format!("this exchange takes nothing that is classified {name}; nothing of it was kept"),
        )
        .with("classification", name));
    }
    Ok(())
}

pub(super) fn read_handling(violations: &mut Violations, path: &str, message: wire::Handling) -> Option<Handling> {
    let conditional = message.code == HandlingCode::SharingWithConditions as i32;
    let conditions = message.conditions;
    if conditional && conditions.trim().is_empty() {
        violations.add(format!("{path}.conditions"), "must be set with the code SHARING_WITH_CONDITIONS");
    }
    if !conditional && !conditions.is_empty() {
        violations.add(format!("{path}.conditions"), "must be empty without the code SHARING_WITH_CONDITIONS");
    }
    let unset = Handling::default();
    Some(Handling {
        tlp: if message.tlp == 0 { unset.tlp } else { Tlp::from_code(message.tlp)? },
        classification: match message.classification {
            0 => unset.classification,
            code => Classification::from_code(code)?,
        },
        source_grade: SourceGrade::from_code(message.source_grade),
        assessment: Assessment::from_code(message.assessment),
        conditions: conditional.then_some(conditions),
    })
}

pub(super) fn write_handling(handling: &Handling) -> wire::Handling {
    let code = match handling.conditions {
        Some(_) => HandlingCode::SharingWithConditions,
        None => HandlingCode::SharingPermitted,
    };
    wire::Handling {
        tlp: handling.tlp.code(),
        classification: handling.classification.code(),
        source_grade: handling.source_grade.map(SourceGrade::code).unwrap_or_default(),
        assessment: handling.assessment.map(Assessment::code).unwrap_or_default(),
        code: code as i32,
        conditions: handling.conditions.clone().unwrap_or_default(),
    }
}

/// Takes out of a referral what its reader does not see.
pub fn conceal(referral: &mut wire::Referral, view: View, scope: &Scope) {
    evidence::convert::conceal(&mut referral.evidence, view);
    let owner = parse_owner(&referral.agency, OrganisationKind::Agency).unwrap_or_default();
    referral.links.retain(|link| {
        let read = links::read_recorded(std::slice::from_ref(link));
        read.is_some_and(|link| link.iter().all(|link| link.is_seen(scope, owner)))
    });
    if matches!(scope, Scope::Agency(own) if own != owner) {
        referral.operation.clear();
    }
    if !view.groups.has(FieldGroup::Target)
        && let Some(target) = &mut referral.target
    {
        take_place(target);
    }
    if !view.groups.has(FieldGroup::Reasons) {
        referral.statement_of_reasons.clear();
        referral.withdrawal_reason.clear();
        referral.protected_context = None;
        take_emergency(referral.order.as_mut());
        take_explanation(referral.priority.as_mut());
    }
    if !view.groups.has(FieldGroup::LegalBasis) {
        referral.legal_basis = None;
        referral.order = None;
    }
    if !view.groups.has(FieldGroup::Grade)
        && let Some(handling) = &mut referral.handling
    {
        let (tlp, classification) = (handling.tlp, handling.classification);
        *handling = wire::Handling { tlp, classification, ..wire::Handling::default() };
    }
}

/// What was to be sent and is held, as an answer shows it to whoever sends it. There is none before it is sent.
pub fn write_held(draft: &Draft) -> Option<wire::Referral> {
    let DraftStanding::Held { content, since, .. } = &draft.standing else { return None };
    let unsent = Referral {
        said: Arc::clone(content),
        exhibits: Vec::new(),
        occurred_at: *since,
        recorded_at: *since,
        standing: Standing::Submitted,
        erasures: Vec::new(),
        created: 0,
        updated: 0,
    };
    let state = wire::ReferralState::Held as i32;
    Some(wire::Referral { state, occurred_at: None, recorded_at: None, ..write_referral(&unsent) })
}

/// Erasures as the database keeps them: as the contract writes them.
pub fn encode_erasures(erasures: &[Erasure]) -> Vec<u8> {
    wire::Referral { erasures: write_erasures(erasures), ..wire::Referral::default() }.encode_to_vec()
}

/// The erasures behind what a database keeps; `None` for what this release did not write.
pub fn decode_erasures(bytes: &[u8]) -> Option<Vec<Erasure>> {
    read_erasures(&wire::Referral::decode(bytes).ok()?.erasures)
}

/// Takes what can be erased out of a referral: each group in a referral of its own, which holds nothing else.
fn take_personal(referral: &mut wire::Referral) -> Vec<(FieldGroup, wire::Referral)> {
    let target = referral.target.as_mut().map(take_place);
    let handling = referral.handling.as_mut().map(take_grade);
    let empty = wire::Referral::default;
    let reasons = wire::Referral {
        statement_of_reasons: std::mem::take(&mut referral.statement_of_reasons),
        withdrawal_reason: std::mem::take(&mut referral.withdrawal_reason),
        protected_context: referral.protected_context.take(),
        order: take_emergency(referral.order.as_mut()),
        priority: take_explanation(referral.priority.as_mut()),
        ..empty()
    };
    vec![
        (
            FieldGroup::Target,
            wire::Referral {
                target,
                signature: referral.signature.take(),
                evidence: std::mem::take(&mut referral.evidence),
                ..empty()
            },
        ),
        (FieldGroup::Reasons, reasons),
        (FieldGroup::Grade, wire::Referral { handling, ..empty() }),
    ]
}

/// Takes grades and conditions out of a handling.
pub(super) fn take_grade(handling: &mut wire::Handling) -> wire::Handling {
    wire::Handling {
        source_grade: std::mem::take(&mut handling.source_grade),
        assessment: std::mem::take(&mut handling.assessment),
        conditions: std::mem::take(&mut handling.conditions),
        ..wire::Handling::default()
    }
}

/// A referral in the log: without what can be erased, and that by itself.
fn seal(referral: &Referral, begins: bool, change: fn(wire::Referral) -> Change) -> (Change, Personal) {
    let mut message = write_referral(referral);
    let half = |part| wire::ReferralChange { change: Some(change(part)), ..wire::ReferralChange::default() };
    let parts = take_personal(&mut message).into_iter().map(|(group, part)| (group, half(part).encode_to_vec()));
    let personal = Personal {
        subject: referral.name.id,
        begins,
        parts: parts.collect(),
        erases: referral.erasures.iter().map(|erasure| erasure.group).collect(),
    };
    (change(message), personal)
}

/// An agency's retention policy for the wire.
pub fn write_retention_policy(policy: &RetentionPolicy) -> wire::RetentionPolicy {
    let rule = |(group, class): (FieldGroup, RetentionClass)| wire::RetentionRule {
        field_group: group.code(),
        retention_class: class.code(),
    };
    wire::RetentionPolicy {
        name: format!("agencies/{}/retentionPolicy", policy.agency),
        rules: policy.classes().map(rule).collect(),
        update_time: (policy.updated > 0).then(|| write_time(policy.updated_at)),
        etag: policy.updated.to_string(),
    }
}

fn read_retention_policy(message: &wire::RetentionPolicy, at: Timestamp) -> Option<RetentionPolicy> {
    let rule = |rule: &wire::RetentionRule| {
        let class = Some(RetentionClass::from_code(rule.retention_class)?);
        Some((FieldGroup::from_code(rule.field_group)?, Rule { class, swept: 0 }))
    };
    let agency = message.name.strip_suffix("/retentionPolicy")?;
    Some(RetentionPolicy {
        agency: parse_owner(agency, OrganisationKind::Agency).ok()?.to_owned(),
        rules: message.rules.iter().map(rule).collect::<Option<_>>()?,
        updated_at: at,
        updated: message.etag.parse().ok()?,
    })
}

/// A referral as its reader sees it.
pub fn show_referral(referral: &Referral, view: View, scope: &Scope) -> wire::Referral {
    let mut message = match view.before {
        Some(moment) => write_referral(&referral.as_before(moment)),
        None => write_referral(referral),
    };
    conceal(&mut message, view, scope);
    message
}

/// Reads a filter. The parent's agency is set by the caller.
pub fn read_filter(violations: &mut Violations, filter: Option<&wire::ReferralFilter>) -> Filter {
    let Some(filter) = filter else { return Filter::default() };
    let platform = |name: &String| parse_owner(name, OrganisationKind::Platform).ok().map(str::to_owned);
    let mut time = |field: &str, time| optional_time(violations, &format!("filter.{field}"), time);
    Filter {
        agency: None,
        recorded_from: time("recorded_from", filter.recorded_from.as_ref()),
        recorded_until: time("recorded_until", filter.recorded_until.as_ref()),
        occurred_from: time("occurred_from", filter.occurred_from.as_ref()),
        occurred_until: time("occurred_until", filter.occurred_until.as_ref()),
        platforms: filter.platforms.iter().filter_map(platform).collect(),
        grounds: filter.grounds.iter().filter_map(|code| Ground::from_code(*code)).collect(),
        natures: filter.natures.iter().filter_map(|code| Nature::from_code(*code)).collect(),
        states: filter.states.clone(),
        target_kinds: filter.target_kinds.iter().filter_map(|code| TargetKind::from_code(*code)).collect(),
        linked_to: filter.linked_to.parse().ok(),
        operations: filter.operations.iter().filter_map(|name| name.parse().ok()).collect(),
        canonical_url: (!filter.canonical_url.is_empty()).then(|| filter.canonical_url.clone()),
    }
}

/// Reads the hosts of an organisation; only a platform has any.
pub fn read_hosts(violations: &mut Violations, kind: OrganisationKind, hosts: &[String]) -> Vec<String> {
    if kind != OrganisationKind::Platform && !hosts.is_empty() {
        violations.add("organisation.hosts", "must be empty: only a platform has hosts");
    }
    for (index, host) in hosts.iter().enumerate() {
        violations.check(&format!("organisation.hosts[{index}]"), location::parse_host(host));
    }
    hosts.to_vec()
}

/// The kind of organisation behind a number of the contract.
pub fn read_kind(code: i32) -> Option<OrganisationKind> {
    Some(match wire::OrganisationKind::try_from(code).ok()? {
        wire::OrganisationKind::Unspecified => return None,
        wire::OrganisationKind::Agency => OrganisationKind::Agency,
        wire::OrganisationKind::Platform => OrganisationKind::Platform,
        wire::OrganisationKind::OversightBody => OrganisationKind::Oversight,
        wire::OrganisationKind::Operator => OrganisationKind::Operator,
        wire::OrganisationKind::Researcher => OrganisationKind::Researcher,
    })
}

fn write_kind(kind: OrganisationKind) -> i32 {
    match kind {
        OrganisationKind::Agency => wire::OrganisationKind::Agency as i32,
        OrganisationKind::Platform => wire::OrganisationKind::Platform as i32,
        OrganisationKind::Oversight => wire::OrganisationKind::OversightBody as i32,
        OrganisationKind::Operator => wire::OrganisationKind::Operator as i32,
        OrganisationKind::Researcher => wire::OrganisationKind::Researcher as i32,
        OrganisationKind::Service => wire::OrganisationKind::Unspecified as i32,
    }
}

/// A legal basis for the wire.
pub(super) fn write_legal_basis(basis: &LegalBasis) -> wire::LegalBasis {
    wire::LegalBasis { code: basis.code.clone(), statute: basis.statute.clone(), section: basis.section.clone() }
}

/// A referral for the wire.
pub fn write_referral(referral: &Referral) -> wire::Referral {
    let mut message = wire::Referral {
        name: referral.name.to_string(),
        agency: format!("agencies/{}", referral.name.agency),
        platform: format!("platforms/{}", referral.platform),
        target: Some(write_target(&referral.target)),
        nature: referral.nature.code(),
        ground: referral.ground.code(),
        legal_basis: Some(write_legal_basis(&referral.legal_basis)),
        statement_of_reasons: referral.statement.clone(),
        statement_language: referral.statement_language.clone(),
        content_language: referral.content_language.clone(),
        occurred_at: Some(write_time(referral.occurred_at)),
        recorded_at: Some(write_time(referral.recorded_at)),
        state: state_code(&referral.standing),
        signature: referral.signature.as_ref().map(write_signature),
        handling: Some(write_handling(&referral.handling)),
        erasures: write_erasures(&referral.erasures),
        protected_context: referral.protected_context.as_ref().map(write_check),
        order: referral.order.as_ref().map(write_order),
        priority: referral.priority.as_ref().map(write_priority),
        evidence: referral.exhibits.iter().map(|exhibit| write_exhibit(exhibit)).collect(),
        links: write_links(&referral.links),
        operation: referral.operation.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..wire::Referral::default()
    };
    if let Standing::Withdrawn { at, recorded_at, reason } = &referral.standing {
        message.withdrawn_at = Some(write_time(*at));
        message.withdrawal_recorded_at = Some(write_time(*recorded_at));
        message.withdrawal_reason.clone_from(reason);
    }
    message
}

fn read_referral(message: &wire::Referral) -> Option<Referral> {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(|time| read_time(time).ok());
    let legal_basis = message.legal_basis.as_ref()?;
    let exhibits = read_exhibits(&message.evidence)?;
    let standing = match time(&message.withdrawn_at) {
        None => Standing::Submitted,
        Some(at) => Standing::Withdrawn {
            at,
            recorded_at: time(&message.withdrawal_recorded_at)?,
            reason: message.withdrawal_reason.clone(),
        },
    };
    let said = Said {
        name: message.name.parse::<ReferralName>().ok()?,
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
        signature: message.signature.as_ref().map(read_recorded_signature),
        handling: match &message.handling {
            Some(handling) => read_handling(&mut Violations::new(), "", handling.clone())?,
            // Written before there were any.
            None => Handling::default(),
        },
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
        evidence: exhibits.iter().map(|exhibit| exhibit.name.id).collect(),
        links: links::read_recorded(&message.links)?,
        operation: match message.operation.as_str() {
            "" => None,
            name => Some(name.parse().ok()?),
        },
    };
    Some(Referral {
        said: Arc::new(said),
        exhibits,
        occurred_at: time(&message.occurred_at)?,
        recorded_at: time(&message.recorded_at)?,
        standing,
        erasures: read_erasures(&message.erasures)?,
        created: 0,
        updated: 0,
    })
}

/// An organisation for the wire. Its etag is the position of its last change.
pub fn write_organisation(organisation: &Organisation) -> wire::Organisation {
    wire::Organisation {
        name: organisation.name.to_string(),
        display_name: organisation.display_name.clone(),
        kind: write_kind(organisation.name.kind()),
        hosts: organisation.hosts.clone(),
        create_time: Some(write_time(organisation.created_at)),
        update_time: Some(write_time(organisation.updated_at)),
        etag: organisation.updated.to_string(),
    }
}

fn read_organisation(message: &wire::Organisation) -> Option<Organisation> {
    Some(Organisation {
        name: message.name.parse::<OrganisationName>().ok()?,
        display_name: message.display_name.clone(),
        hosts: message.hosts.clone(),
        created_at: read_time(message.create_time.as_ref()?).ok()?,
        updated_at: read_time(message.update_time.as_ref()?).ok()?,
        created: 0,
        updated: message.etag.parse().ok()?,
    })
}

/// An agency's signing keys for the wire.
pub fn write_signing_profile(profile: &SigningProfile) -> wire::SigningProfile {
    let key = |key: &PublicKey| wire::SigningKey {
        name: format!("agencies/{}/signingKeys/{}", profile.agency, key.kid),
        public_key: key.key.to_vec().into(),
        valid_from: Some(write_time(key.valid_from)),
        valid_until: Some(write_time(key.valid_until)),
        revoked_at: key.revoked.as_ref().map(|revoked| write_time(revoked.at)),
        revocation_reason: key.revoked.as_ref().map(|revoked| revoked.reason.clone()).unwrap_or_default(),
    };
    wire::SigningProfile {
        name: format!("agencies/{}/signingProfile", profile.agency),
        signatures_required: profile.required,
        keys: profile.keys.iter().map(key).collect(),
        update_time: (profile.updated > 0).then(|| write_time(profile.updated_at)),
        etag: profile.updated.to_string(),
    }
}

fn read_signing_profile(message: &wire::SigningProfile, at: Timestamp) -> Option<SigningProfile> {
    let key = |key: &wire::SigningKey| {
        Some(PublicKey {
            kid: key.name.rsplit('/').next()?.to_owned(),
            key: key.public_key.as_ref().try_into().ok()?,
            valid_from: read_time(key.valid_from.as_ref()?).ok()?,
            valid_until: read_time(key.valid_until.as_ref()?).ok()?,
            revoked: match &key.revoked_at {
                None => None,
                Some(at) => Some(Revocation { at: read_time(at).ok()?, reason: key.revocation_reason.clone() }),
            },
        })
    };
    let agency = message.name.strip_suffix("/signingProfile")?;
    Some(SigningProfile {
        agency: parse_owner(agency, OrganisationKind::Agency).ok()?.to_owned(),
        required: message.signatures_required,
        keys: message.keys.iter().map(key).collect::<Option<_>>()?,
        updated_at: at,
        updated: message.etag.parse().ok()?,
    })
}

/// How events are written into the log and read back.
pub struct Log;

impl Codec<Event> for Log {
    fn encode(event: &Event) -> Encoded {
        let mut personal = None;
        let mut sealed = |referral, begins, change| {
            let (change, of) = seal(referral, begins, change);
            personal = Some(of);
            change
        };
        let (agency, platform, at, change) = match event {
            Event::Created(referral) => (
                referral.name.agency.as_str(),
                referral.platform.as_str(),
                referral.occurred_at,
                sealed(referral, true, Change::Created),
            ),
            Event::Withdrawn(referral) => {
                let at = match &referral.standing {
                    Standing::Withdrawn { at, .. } => *at,
                    Standing::Submitted => referral.occurred_at,
                };
                let change = sealed(referral, false, Change::Withdrawn);
                (referral.name.agency.as_str(), referral.platform.as_str(), at, change)
            }
            Event::Erased(referral) => {
                let at = referral.erasures.iter().map(|erasure| erasure.at).max().unwrap_or(referral.recorded_at);
                let change = sealed(referral, false, Change::Erased);
                (referral.name.agency.as_str(), referral.platform.as_str(), at, change)
            }
            Event::RetentionChanged(policy) => (
                policy.agency.as_str(),
                "",
                policy.updated_at,
                Change::RetentionPolicyChanged(write_retention_policy(policy)),
            ),
            Event::OrganisationCreated(organisation) => {
                ("", "", organisation.created_at, Change::OrganisationCreated(write_organisation(organisation)))
            }
            Event::OrganisationUpdated(organisation) => {
                ("", "", organisation.updated_at, Change::OrganisationUpdated(write_organisation(organisation)))
            }
            Event::SigningChanged(profile) => {
                ("", "", profile.updated_at, Change::SigningProfileChanged(write_signing_profile(profile)))
            }
            // Under the proposer's name, so that it is nobody's but the parties'.
            Event::AgreementChanged(agreement) => (
                agreement.proposer(),
                "",
                agreement.updated_at,
                Change::AgreementChanged(write_agreement(agreement, agreement.updated_at)),
            ),
            Event::MeasureChanged(measure) => (
                measure.name.agency.as_str(),
                "",
                measure.updated_at,
                Change::MeasureChanged(write_measure(measure, measure.updated_at)),
            ),
            // Under the lead's name, so that it is nobody's but its agencies'.
            Event::OperationChanged(operation) => (
                operation.name.agency.as_str(),
                "",
                operation.updated_at,
                Change::OperationChanged(write_operation(operation, operation.updated_at)),
            ),
            Event::FlagChanged(flag) => (
                flag.name.referral.agency.as_str(),
                "",
                flag.answer.as_ref().map_or(flag.created_at, |(_, at)| *at),
                Change::ReviewFlagChanged(write_flag(flag)),
            ),
            Event::Observed(observation) => {
                let (change, of) = observations::convert::seal(observation);
                personal = of;
                (observation.name.referral.agency.as_str(), "", observation.observed_at, change)
            }
            Event::DraftChanged(draft) => {
                let (change, of) = seal_draft(draft);
                personal = Some(of);
                (draft.name.agency.as_str(), "", draft.updated_at, change)
            }
            Event::EvidenceUploaded(evidence) => {
                let (change, of) = evidence::convert::seal(evidence, Change::EvidenceUploaded);
                personal = Some(of);
                (evidence.name().agency.as_str(), "", evidence.created_at, change)
            }
            Event::EvidenceErased(evidence) => {
                let (change, of) = evidence::convert::seal(evidence, Change::EvidenceErased);
                personal = Some(of);
                (evidence.name().agency.as_str(), "", evidence.erased_at.unwrap_or(evidence.created_at), change)
            }
            Event::AuthorisationChanged(policy) => (
                policy.agency.as_str(),
                "",
                policy.updated_at,
                Change::AuthorisationPolicyChanged(write_policy(policy)),
            ),
            Event::AddressRulesChanged(rules) => {
                ("", "", rules.updated_at, Change::AddressRulesChanged(write_rules(rules)))
            }
            Event::Readdressed { referral, at } => {
                let change = sealed(referral, false, Change::Readdressed);
                (referral.name.agency.as_str(), referral.platform.as_str(), *at, change)
            }
            Event::Linked { referral, at } => {
                let change = sealed(referral, false, Change::Linked);
                (referral.name.agency.as_str(), referral.platform.as_str(), *at, change)
            }
            Event::InterestChanged(interest) => (
                interest.name.agency.as_str(),
                "",
                interest.ended_at.unwrap_or(interest.created_at),
                Change::InterestChanged(record_interest(interest)),
            ),
            // Under the name of whoever has the interest: the agency that refers is not told whose it is.
            Event::HoldChanged(hold) => {
                (hold.interest.agency.as_str(), "", hold.changed_at(), Change::HoldChanged(write_hold(hold)))
            }
            Event::PreNoticeGiven(notice) => (
                notice.name.agency.as_str(),
                notice.platform.as_str(),
                notice.given_at,
                Change::PreNoticeGiven(write_pre_notice(notice)),
            ),
            Event::Prioritised { referral, at } => {
                let change = sealed(referral, false, Change::Prioritised);
                (referral.name.agency.as_str(), referral.platform.as_str(), *at, change)
            }
            Event::NonDisclosureChanged { referral, at } => {
                let change = sealed(referral, false, Change::NonDisclosureChanged);
                (referral.name.agency.as_str(), referral.platform.as_str(), *at, change)
            }
            Event::AddressesSwept(sweep) => ("", "", sweep.at, Change::AddressesSwept(write_sweep(sweep))),
        };
        let body = wire::ReferralChange {
            occurred_at: Some(write_time(at)),
            change: Some(change),
            ..wire::ReferralChange::default()
        };
        Encoded { agency: agency.to_owned(), platform: platform.to_owned(), body: body.encode_to_vec(), personal }
    }

    fn decode(body: &[u8]) -> Result<Event> {
        read_event(&wire::ReferralChange::decode(body).map_err(|_| unreadable())?)
    }
}

fn read_event(message: &wire::ReferralChange) -> Result<Event> {
    let event = match message.change.as_ref().ok_or_else(unreadable)? {
        Change::Created(referral) => read_referral(referral).map(|referral| Event::Created(Box::new(referral))),
        Change::Withdrawn(referral) => read_referral(referral).map(|referral| Event::Withdrawn(Box::new(referral))),
        Change::Erased(referral) => read_referral(referral).map(|referral| Event::Erased(Box::new(referral))),
        Change::RetentionPolicyChanged(policy) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_retention_policy(policy, at).map(Event::RetentionChanged)
        }
        Change::OrganisationCreated(organisation) => read_organisation(organisation).map(Event::OrganisationCreated),
        Change::OrganisationUpdated(organisation) => read_organisation(organisation).map(Event::OrganisationUpdated),
        Change::SigningProfileChanged(profile) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_signing_profile(profile, at).map(Event::SigningChanged)
        }
        Change::AgreementChanged(agreement) => {
            read_agreement(agreement).map(|agreement| Event::AgreementChanged(Box::new(agreement)))
        }
        Change::MeasureChanged(measure) => {
            read_measure(measure).map(|measure| Event::MeasureChanged(Box::new(measure)))
        }
        Change::Observed(observation) => {
            read_observation(observation).map(|observation| Event::Observed(Box::new(observation)))
        }
        Change::OperationChanged(operation) => {
            read_operation(operation).map(|operation| Event::OperationChanged(Box::new(operation)))
        }
        Change::ReviewFlagChanged(flag) => read_flag(flag).map(|flag| Event::FlagChanged(Box::new(flag))),
        Change::DraftChanged(draft) => read_recorded_draft(draft).map(|draft| Event::DraftChanged(Box::new(draft))),
        Change::EvidenceUploaded(evidence) => {
            read_evidence(evidence).map(|evidence| Event::EvidenceUploaded(Box::new(evidence)))
        }
        Change::EvidenceErased(evidence) => {
            read_evidence(evidence).map(|evidence| Event::EvidenceErased(Box::new(evidence)))
        }
        Change::AuthorisationPolicyChanged(policy) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_policy(policy, at).map(|policy| Event::AuthorisationChanged(Box::new(policy)))
        }
        Change::AddressRulesChanged(rules) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_rules(rules, at).map(|rules| Event::AddressRulesChanged(Box::new(rules)))
        }
        Change::Readdressed(referral) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_referral(referral).map(|referral| Event::Readdressed { referral: Box::new(referral), at })
        }
        Change::Linked(referral) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_referral(referral).map(|referral| Event::Linked { referral: Box::new(referral), at })
        }
        Change::InterestChanged(interest) => {
            read_interest(interest).map(|interest| Event::InterestChanged(Box::new(interest)))
        }
        Change::HoldChanged(hold) => read_hold(hold).map(|hold| Event::HoldChanged(Box::new(hold))),
        Change::PreNoticeGiven(notice) => read_pre_notice(notice).map(|notice| Event::PreNoticeGiven(Box::new(notice))),
        Change::Prioritised(referral) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_referral(referral).map(|referral| Event::Prioritised { referral: Box::new(referral), at })
        }
        Change::NonDisclosureChanged(referral) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_referral(referral).map(|referral| Event::NonDisclosureChanged { referral: Box::new(referral), at })
        }
        Change::AddressesSwept(sweep) => {
            let at = message.occurred_at.as_ref().and_then(|at| read_time(at).ok()).ok_or_else(unreadable)?;
            read_sweep(sweep, at).map(Event::AddressesSwept)
        }
        Change::Snapshot(_)
        | Change::OrganisationSnapshot(_)
        | Change::SigningProfileSnapshot(_)
        | Change::AgreementSnapshot(_)
        | Change::MeasureSnapshot(_)
        | Change::ReviewFlagSnapshot(_)
        | Change::ObservationSnapshot(_)
        | Change::DraftSnapshot(_)
        | Change::EvidenceSnapshot(_)
        | Change::AddressRulesSnapshot(_)
        | Change::HoldSnapshot(_)
        | Change::OperationSnapshot(_)
        | Change::PreNoticeSnapshot(_) => None,
    };
    event.ok_or_else(unreadable)
}

/// Whether an event says what never reaches a platform: a grade, conditions of sharing, evidence that it is not served, or what was
/// referred elsewhere.
pub fn is_graded(body: &[u8]) -> bool {
    match wire::ReferralChange::decode(body).ok().and_then(|message| message.change) {
        Some(
            Change::Created(referral)
            | Change::Withdrawn(referral)
            | Change::Erased(referral)
            | Change::Readdressed(referral)
            | Change::Linked(referral)
            | Change::Prioritised(referral)
            | Change::NonDisclosureChanged(referral),
        ) => {
            let graded = referral.handling.is_some_and(|handling| {
                let shown =
                    wire::Handling { tlp: handling.tlp, classification: handling.classification, ..Default::default() };
                let code = HandlingCode::SharingPermitted as i32;
                handling != wire::Handling { code, ..shown.clone() } && handling != shown
            });
            let kept = |of: &wire::Evidence| of.grade != wire::EvidenceGrade::Platform as i32;
            graded
                || referral.evidence.iter().any(kept)
                || referral.links.iter().any(|link| link.platform != referral.platform)
        }
        Some(_) => false,
        None => true,
    }
}

/// Whether an event is its agency's alone, and not even the suite's own services': what has not been sent is nobody else's, and
/// neither is how evidence was come by, in what an agency has an interest, or what an operation is called and who was invited to it.
pub fn is_private(body: &[u8]) -> bool {
    // What cannot be read is no draft that was written here: whoever verifies the log must find it.
    let message = wire::ReferralChange::decode(body).ok();
    let change = message.and_then(|message| message.change);
    matches!(
        change,
        Some(
            Change::DraftChanged(_)
                | Change::EvidenceUploaded(_)
                | Change::EvidenceErased(_)
                | Change::InterestChanged(_)
                | Change::HoldChanged(_)
                | Change::OperationChanged(_)
        )
    )
}

fn unreadable() -> Error {
    Error::internal("an event of the referral log cannot be read")
}

/// A stored event as a stream shows it to a reader, and the domain's view of it for filtering.
pub fn write_change(stored: &StoredEvent, epoch: Epoch, reader: &Principal) -> Result<(wire::ReferralChange, Event)> {
    let mut message = wire::ReferralChange::decode(stored.body.clone()).map_err(|_| unreadable())?;
    let event = read_event(&message)?;
    message.position = u64::try_from(stored.position).unwrap_or_default();
    message.revision = portreeve_storage::event::revision(crate::store::SERVICE, epoch, stored.position).encode();
    message.recorded_at = Some(write_time(stored.recorded_at));
    let (actor, member) = stored.actor.split_once(':').unwrap_or((&stored.actor, ""));
    // Who in an organisation did it is that organisation's own business.
    if reader.organisation().to_string() == actor {
        member.clone_into(&mut message.member);
    }
    actor.clone_into(&mut message.actor);
    if let Some(Change::OrganisationCreated(organisation) | Change::OrganisationUpdated(organisation)) =
        &mut message.change
    {
        organisation.etag = stored.position.to_string();
    }
    if let Some(Change::SigningProfileChanged(profile)) = &mut message.change {
        profile.etag = stored.position.to_string();
        profile.update_time = message.recorded_at;
    }
    if let Some(Change::RetentionPolicyChanged(policy)) = &mut message.change {
        policy.etag = stored.position.to_string();
        policy.update_time = message.recorded_at;
    }
    if let Some(Change::AgreementChanged(agreement)) = &mut message.change {
        agreement.etag = stored.position.to_string();
    }
    if let Some(Change::OperationChanged(operation)) = &mut message.change {
        operation.etag = stored.position.to_string();
    }
    if let Some(Change::DraftChanged(draft)) = &mut message.change {
        draft.etag = stored.position.to_string();
    }
    if let Some(Change::AddressRulesChanged(rules)) = &mut message.change {
        rules.etag = stored.position.to_string();
        rules.update_time = message.recorded_at;
    }
    if let Some(Change::AuthorisationPolicyChanged(policy)) = &mut message.change {
        policy.etag = stored.position.to_string();
        policy.update_time = message.recorded_at;
    }
    Ok((message, event))
}
