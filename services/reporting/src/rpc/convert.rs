//! Between the contract's messages and the domain, and how the cube's changes lie in the log.

use std::collections::BTreeMap;

use portreeve_api::common::v1 as common;
use portreeve_api::common::v1::Progress;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::audit::hex;
use portreeve_core::name::{OperationName, OrganisationKind, parse_owner};
use portreeve_core::{Date, Error, Reason, Result, Violations, limits};
use portreeve_runtime::agreements::{read_agreement, write_agreement};
use portreeve_runtime::wire::read_time;
use portreeve_storage::{Codec, Encoded};
use prost::Message;
use sha2::{Digest, Sha256};

use super::Computed;
use super::grant_convert::{read_grant, write_kept};
use super::measures::measures_of_a_report;
use super::publication_convert::{self, PublicationBody};
use super::trail_convert::{self, FootprintBody};
use crate::domain::report::AGES_FROM;
use crate::domain::step::Place;
use crate::domain::{
    Bucket, Cell, Citation, Clock, Command, Counts, CubeChanged, Definition, Dimension, Disposition, Event, Figure,
    Filter, Grant, GrantName, Joint, Key, Learnt, Row, Source, Standing, Step, Subject, Tally, Value, withheld,
};

// --- what the other logs tell ---------------------------------------------------------------------------------------

/// What this release cannot read it cannot count, and must not pass over: following waits for a release that can.
fn unreadable(log: Source, position: u64) -> Error {
    tracing::error!(
        log = log.name(),
        position,
        "a change cannot be read by this release; reports stand still before it"
    );
    Error::internal(format!("change {position} of the {} log cannot be read", log.name()))
}

pub(super) fn day(time: Option<&prost_types::Timestamp>) -> Option<Date> {
    time.and_then(|time| read_time(time).ok()).map(portreeve_core::Timestamp::date)
}

/// A BCP 47 tag in the form that RFC 5646 (2.1.1) recommends, so that one language is one language in the figures.
fn language(tag: &str) -> String {
    let mut parts = Vec::new();
    for (index, part) in tag.split('-').enumerate() {
        let lower = part.to_ascii_lowercase();
        parts.push(match lower.len() {
            2 if index > 0 => lower.to_ascii_uppercase(),
            4 if index > 0 => {
                let (first, rest) = lower.split_at(1);
                format!("{}{rest}", first.to_ascii_uppercase())
            }
            _ => lower,
        });
    }
    parts.join("-")
}

/// What a stretch of the referral log tells.
pub fn read_referral_changes(changes: &[referral::ReferralChange]) -> Result<Command> {
    use referral::referral_change::Change;
    let (mut steps, mut footprints) = (Vec::new(), Vec::new());
    let (mut agreements, mut operations) = (Vec::new(), Vec::new());
    for change in changes {
        let unreadable = || unreadable(Source::Referral, change.position);
        match &change.change {
            Some(Change::Created(referral)) => {
                let step = read_referred(referral).ok_or_else(unreadable)?;
                footprints.extend(trail_convert::read_begun(referral, &step).ok_or_else(unreadable)?);
                steps.push(step);
            }
            Some(Change::Linked(referral)) => {
                footprints.extend(trail_convert::read_links(referral, change).ok_or_else(unreadable)?);
            }
            Some(Change::Observed(observation)) => {
                footprints.extend(trail_convert::read_observed(observation).ok_or_else(unreadable)?);
            }
            Some(Change::AgreementChanged(agreement)) => {
                agreements.push(read_agreement(agreement).ok_or_else(unreadable)?);
            }
            Some(Change::OperationChanged(operation)) => {
                operations.push(read_joint(operation).ok_or_else(unreadable)?);
            }
            // A withdrawal is counted when the decision log tells it, from where the case stood.
            Some(
                Change::Withdrawn(_)
                | Change::Erased(_)
                | Change::RetentionPolicyChanged(_)
                | Change::OrganisationCreated(_)
                | Change::OrganisationUpdated(_)
                | Change::SigningProfileChanged(_)
                | Change::MeasureChanged(_)
                | Change::ReviewFlagChanged(_)
                | Change::DraftChanged(_)
                | Change::EvidenceUploaded(_)
                | Change::EvidenceErased(_)
                | Change::AuthorisationPolicyChanged(_)
                | Change::AddressRulesChanged(_)
                | Change::Readdressed(_)
                | Change::AddressesSwept(_)
                | Change::InterestChanged(_)
                | Change::HoldChanged(_)
                | Change::Prioritised(_)
                | Change::NonDisclosureChanged(_)
                | Change::PreNoticeGiven(_)
                | Change::PreNoticeSnapshot(_),
            ) => {}
            Some(
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
                | Change::OperationSnapshot(_),
            )
            | None => return Err(unreadable()),
        }
    }
    let heard_on = changes.iter().map(|change| day(change.recorded_at.as_ref())).max().flatten();
    Ok(Command::Learn(Learnt { source: Source::Referral, heard_on, steps, footprints, agreements, operations }))
}

/// Who takes part in an operation. Who was invited and has not joined consents to nothing.
fn read_joint(message: &referral::Operation) -> Option<Joint> {
    let lead = message.name.parse::<OperationName>().ok()?.agency;
    let joined = message.joint_agencies.iter().filter(|of| of.joined_at.is_some()).map(|of| {
        let id = parse_owner(&of.agency, OrganisationKind::Agency).ok()?.to_owned();
        Some((id, of.state() == referral::JointAgencyState::Joined))
    });
    let agencies = std::iter::once(Some((lead, true))).chain(joined).collect::<Option<_>>()?;
    Some(Joint { operation: message.name.clone(), agencies })
}

/// The code of the provision on which a referral rests; empty where it is told in words alone.
fn provision(basis: Option<&referral::LegalBasis>) -> String {
    basis.map(|basis| basis.code.clone()).unwrap_or_default()
}

fn read_referred(message: &referral::Referral) -> Option<Step> {
    let subject = Subject {
        cohort_day: day(message.occurred_at.as_ref())?,
        agency: parse_owner(&message.agency, OrganisationKind::Agency).ok()?.to_owned(),
        platform: parse_owner(&message.platform, OrganisationKind::Platform).ok()?.to_owned(),
        ground: message.ground.into(),
        target_kind: message.target.as_ref()?.kind.into(),
        nature: message.nature.into(),
        content_language: language(&message.content_language),
        operation: message.operation.clone(),
        same_target: message.links.iter().any(|link| link.kind() == referral::ReferralLinkKind::SameTarget),
        legal_basis: provision(message.legal_basis.as_ref()),
    };
    Some(Step::Referred { subject, recorded_on: day(message.recorded_at.as_ref())? })
}

/// What a stretch of the decision log tells.
pub fn read_case_changes(changes: &[decision::CaseChange]) -> Result<Command> {
    use decision::case_change::Change;
    let (mut steps, mut footprints) = (Vec::new(), Vec::new());
    for change in changes {
        let (case, step) = match &change.change {
            // The referral log has told of it.
            Some(
                Change::Opened(_)
                | Change::Erased(_)
                | Change::ReplayChanged(_)
                | Change::ChallengeChanged(_)
                | Change::Observed(_)
                | Change::StayChanged(_)
                | Change::ClockMarked(_)
                | Change::ReviewChanged(_)
                | Change::Escalated(_)
                | Change::Prioritised(_)
                | Change::NonDisclosureChanged(_)
                | Change::ResponseTimesSet(_)
                | Change::ClauseCreated(_)
                | Change::ClauseVersionAdded(_)
                | Change::AgreementLearnt(_),
            ) => continue,
            Some(Change::Acknowledged(case)) => (case, read_moved(change, case, case.submitted_at.as_ref())),
            Some(Change::Decided(case)) => {
                (case, read_moved(change, case, case.acknowledged_at.as_ref().or(case.submitted_at.as_ref())))
            }
            Some(Change::Withdrawn(case)) => {
                let decided = case.latest_decision.as_ref().and_then(|decision| decision.decided_at.as_ref());
                let previous = decided.or(case.acknowledged_at.as_ref()).or(case.submitted_at.as_ref());
                (case, read_moved(change, case, previous))
            }
            Some(Change::Snapshot(_)) | None => return Err(unreadable(Source::Decision, change.position)),
        };
        let step = step.ok_or_else(|| unreadable(Source::Decision, change.position))?;
        let turn =
            trail_convert::read_turn(case, &step).ok_or_else(|| unreadable(Source::Decision, change.position))?;
        footprints.extend(turn);
        steps.push(step);
    }
    let heard_on = changes.iter().map(|change| day(change.recorded_at.as_ref())).max().flatten();
    Ok(Command::Learn(Learnt {
        source: Source::Decision,
        heard_on,
        steps,
        footprints,
        agreements: Vec::new(),
        operations: Vec::new(),
    }))
}

fn read_moved(
    change: &decision::CaseChange,
    case: &decision::Case,
    previous_at: Option<&prost_types::Timestamp>,
) -> Option<Step> {
    let subject = Subject {
        cohort_day: day(case.submitted_at.as_ref())?,
        agency: parse_owner(&case.agency, OrganisationKind::Agency).ok()?.to_owned(),
        platform: parse_owner(&case.platform, OrganisationKind::Platform).ok()?.to_owned(),
        ground: case.ground.into(),
        target_kind: case.target.as_ref()?.kind.into(),
        nature: case.nature.into(),
        content_language: language(&case.content_language),
        operation: case.operation.clone(),
        same_target: !case.same_target.is_empty(),
        legal_basis: provision(case.legal_basis.as_ref()),
    };
    let cited = case.latest_decision.as_ref().and_then(|decision| decision.clauses.first());
    let clause_after = cited.map_or_else(Citation::default, |cited| Citation {
        clause: cited.clause.clone(),
        version: cited.version.into(),
    });
    let clause_before = match &change.change {
        // A withdrawal leaves the decision as it was.
        Some(decision::case_change::Change::Withdrawn(_)) => clause_after.clone(),
        _ => read_citation(&change.clause_before)?,
    };
    Some(Step::Moved {
        subject,
        before: Place { disposition: Disposition::from_code(change.before)?, clause: clause_before },
        after: Place { disposition: Disposition::from_code(change.after)?, clause: clause_after },
        first_decided_on: day(case.first_decided_at.as_ref()),
        occurred_on: day(change.occurred_at.as_ref())?,
        previous_on: day(previous_at)?,
        recorded_on: day(change.recorded_at.as_ref())?,
        referral_recorded_on: day(case.submitted_recorded_at.as_ref())?,
    })
}

/// Reads `platforms/{platform}/clauses/{clause}@{version}`; empty for none.
fn read_citation(text: &str) -> Option<Citation> {
    if text.is_empty() {
        return Some(Citation::default());
    }
    let (clause, version) = text.split_once('@')?;
    Some(Citation { clause: clause.to_owned(), version: version.parse().ok()? })
}

fn write_citation(citation: &Citation) -> String {
    if citation.clause.is_empty() { String::new() } else { format!("{}@{}", citation.clause, citation.version) }
}

// --- the log --------------------------------------------------------------------------------------------------------

/// The body of an event of the reporting log. The log is read by this service alone: others see reports, and grants. A
/// change of the cube has the first three, another event one of the others.
#[derive(Clone, PartialEq, prost::Message)]
struct EventBody {
    #[prost(string, tag = "1")]
    source: String,
    #[prost(sint32, tag = "2")]
    heard_on: i32,
    #[prost(message, repeated, tag = "3")]
    deltas: Vec<DeltaBody>,
    #[prost(message, optional, tag = "4")]
    grant: Option<wire::Grant>,
    #[prost(message, optional, tag = "5")]
    counted: Option<CountedBody>,
    #[prost(message, optional, tag = "6")]
    agreement: Option<referral::Agreement>,
    #[prost(message, optional, tag = "30")]
    operation: Option<JointBody>,
    #[prost(message, repeated, tag = "7")]
    footprints: Vec<FootprintBody>,
    #[prost(bool, tag = "8")]
    begun_anew: bool,
    #[prost(message, optional, tag = "9")]
    publication: Option<PublicationBody>,
}

/// Who takes part in an operation, in the log and in the database.
#[derive(Clone, PartialEq, prost::Message)]
struct JointBody {
    #[prost(string, tag = "1")]
    operation: String,
    #[prost(message, repeated, tag = "2")]
    agencies: Vec<PartBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartBody {
    #[prost(string, tag = "1")]
    agency: String,
    #[prost(bool, tag = "2")]
    takes_part: bool,
}

fn write_joint(joint: &Joint) -> JointBody {
    let part = |(agency, takes_part): &(String, bool)| PartBody { agency: agency.clone(), takes_part: *takes_part };
    JointBody { operation: joint.operation.clone(), agencies: joint.agencies.iter().map(part).collect() }
}

fn read_joint_body(body: JointBody) -> Joint {
    let agencies = body.agencies.into_iter().map(|part| (part.agency, part.takes_part)).collect();
    Joint { operation: body.operation, agencies }
}

/// Who takes part in an operation, as the database keeps it.
pub fn encode_joint(joint: &Joint) -> Vec<u8> {
    write_joint(joint).encode_to_vec()
}

/// The same behind what the database keeps.
pub fn decode_joint(body: &[u8]) -> Option<Joint> {
    JointBody::decode(body).ok().map(read_joint_body)
}

#[derive(Clone, PartialEq, prost::Message)]
struct CountedBody {
    #[prost(string, tag = "1")]
    grant: String,
    #[prost(uint32, tag = "2")]
    spent: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeltaBody {
    #[prost(sint32, tag = "1")]
    cohort_day: i32,
    #[prost(sint32, tag = "2")]
    event_day: i32,
    #[prost(sint32, tag = "3")]
    recorded_day: i32,
    #[prost(string, tag = "4")]
    agency: String,
    #[prost(string, tag = "5")]
    platform: String,
    #[prost(int64, tag = "6")]
    ground: i64,
    #[prost(int64, tag = "7")]
    target_kind: i64,
    #[prost(int64, tag = "8")]
    nature: i64,
    #[prost(string, tag = "9")]
    content_language: String,
    #[prost(string, tag = "10")]
    clause: String,
    #[prost(int64, tag = "11")]
    clause_version: i64,
    #[prost(int32, tag = "12")]
    disposition: i32,
    #[prost(int64, tag = "13")]
    clock: i64,
    #[prost(int64, tag = "14")]
    clock_days: i64,
    #[prost(sint64, tag = "15")]
    count: i64,
    #[prost(string, tag = "30")]
    operation: String,
    #[prost(bool, tag = "31")]
    same_target: bool,
    #[prost(string, tag = "20")]
    legal_basis: String,
    #[prost(sint64, tag = "21")]
    entered: i64,
}

/// How events are written into the log and read back.
pub struct Log;

impl Codec<Event> for Log {
    fn encode(event: &Event) -> Encoded {
        let body = match event {
            Event::CubeChanged(changed) => EventBody {
                source: changed.source.name().to_owned(),
                heard_on: changed.heard_on.days(),
                deltas: changed.deltas.iter().map(|(cell, tally)| write_delta(cell, *tally)).collect(),
                ..EventBody::default()
            },
            Event::TrailsChanged(footprints) => EventBody {
                footprints: footprints.iter().map(trail_convert::write_footprint).collect(),
                ..EventBody::default()
            },
            Event::BegunAnew => EventBody { begun_anew: true, ..EventBody::default() },
            Event::AgreementLearnt(agreement) => {
                let learnt = write_agreement(agreement, agreement.updated_at);
                EventBody { agreement: Some(learnt), ..EventBody::default() }
            }
            Event::OperationLearnt(joint) => EventBody { operation: Some(write_joint(joint)), ..EventBody::default() },
            Event::GrantChanged(grant) => EventBody { grant: Some(write_kept(grant)), ..EventBody::default() },
            Event::QueryCounted { grant, spent } => {
                let counted = CountedBody { grant: grant.to_string(), spent: *spent };
                EventBody { counted: Some(counted), ..EventBody::default() }
            }
            Event::ReportPublished(version) => {
                EventBody { publication: Some(publication_convert::write_body(version)), ..EventBody::default() }
            }
        };
        Encoded { agency: String::new(), platform: String::new(), body: body.encode_to_vec(), personal: None }
    }

    fn decode(body: &[u8]) -> Result<Event> {
        let read = || {
            let body = EventBody::decode(body).ok()?;
            if let Some(operation) = body.operation {
                return Some(Event::OperationLearnt(read_joint_body(operation)));
            }
            if body.begun_anew {
                return Some(Event::BegunAnew);
            }
            if let Some(publication) = body.publication {
                return publication_convert::read_body(publication).map(|of| Event::ReportPublished(Box::new(of)));
            }
            if !body.footprints.is_empty() {
                let footprints = body.footprints.into_iter().map(trail_convert::read_footprint);
                return footprints.collect::<Option<_>>().map(Event::TrailsChanged);
            }
            Some(match (body.agreement, body.grant, body.counted) {
                (Some(agreement), ..) => Event::AgreementLearnt(Box::new(read_agreement(&agreement)?)),
                (None, Some(grant), _) => Event::GrantChanged(Box::new(read_grant(&grant)?)),
                (None, None, Some(counted)) => {
                    Event::QueryCounted { grant: counted.grant.parse::<GrantName>().ok()?, spent: counted.spent }
                }
                (None, None, None) => Event::CubeChanged(CubeChanged {
                    source: Source::from_name(&body.source)?,
                    heard_on: Date::from_days(body.heard_on),
                    deltas: body.deltas.into_iter().map(read_delta).collect::<Option<_>>()?,
                }),
            })
        };
        read().ok_or_else(|| Error::internal("an event of the reporting log cannot be read"))
    }
}

fn write_delta(cell: &Cell, tally: Tally) -> DeltaBody {
    let Cell { subject, standing, event_day, recorded_day } = cell;
    let (clock, clock_days) = standing.clock.parts();
    DeltaBody {
        cohort_day: subject.cohort_day.days(),
        event_day: event_day.days(),
        recorded_day: recorded_day.days(),
        agency: subject.agency.clone(),
        platform: subject.platform.clone(),
        ground: subject.ground,
        target_kind: subject.target_kind,
        nature: subject.nature,
        content_language: subject.content_language.clone(),
        clause: standing.clause.clause.clone(),
        clause_version: standing.clause.version,
        disposition: standing.disposition.code(),
        clock,
        clock_days,
        count: tally.net,
        operation: subject.operation.clone(),
        same_target: subject.same_target,
        legal_basis: subject.legal_basis.clone(),
        entered: tally.entered,
    }
}

fn read_delta(delta: DeltaBody) -> Option<(Cell, Tally)> {
    let cell = Cell {
        subject: Subject {
            cohort_day: Date::from_days(delta.cohort_day),
            agency: delta.agency,
            platform: delta.platform,
            ground: delta.ground,
            target_kind: delta.target_kind,
            nature: delta.nature,
            content_language: delta.content_language,
            operation: delta.operation,
            same_target: delta.same_target,
            legal_basis: delta.legal_basis,
        },
        standing: Standing {
            disposition: Disposition::from_code(delta.disposition)?,
            clause: Citation { clause: delta.clause, version: delta.clause_version },
            clock: Clock::from_parts(delta.clock, delta.clock_days)?,
        },
        event_day: Date::from_days(delta.event_day),
        recorded_day: Date::from_days(delta.recorded_day),
    };
    Some((cell, Tally { net: delta.count, entered: delta.entered }))
}

// --- definitions ----------------------------------------------------------------------------------------------------

/// As of when a definition may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// As of a day that it tells.
    Told,
    /// As of the present, so that it tells no day.
    Present,
    /// Of a period that is told beside it: a flow.
    Period,
}

/// Reads a date that passes the contract's rule or is empty.
pub(super) fn read_date(violations: &mut Violations, field: impl Into<String>, text: &str) -> Option<Date> {
    // A day that the calendar lacks has the form of a date and passes the contract's rule.
    let looks_right = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let read = text.parse::<Date>();
    if let Err(error) = &read
        && looks_right
    {
        violations.add(field, error);
    }
    read.ok()
}

/// Reads a definition. The contract's own rules have been checked already; what they refuse gives `None` here and needs
/// no second word.
pub fn read_definition(
    violations: &mut Violations,
    definition: Option<&wire::ReportDefinition>,
    moment: Moment,
) -> Option<Definition> {
    let definition = definition?;
    let mut date = |field: &str, text: &str| read_date(violations, format!("definition.{field}"), text);
    let cohort_from = date("cohort_from_date", &definition.cohort_from_date);
    let cohort_until = date("cohort_until_date", &definition.cohort_until_date);
    let as_of = date("as_of_date", &definition.as_of_date);
    let known_at = date("known_at_date", &definition.known_at_date);
    if cohort_from.zip(cohort_until).is_some_and(|(from, until)| until < from) {
        violations.add("definition.cohort_until_date", "must not be before cohort_from_date");
    }
    match moment {
        Moment::Told if definition.as_of_date.is_empty() => violations.add("definition.as_of_date", "is required"),
        Moment::Period if !definition.as_of_date.is_empty() => {
            violations.add("definition.as_of_date", "must be empty: a flow ends with its last day");
        }
        Moment::Told | Moment::Period => {}
        Moment::Present => {
            for (field, text) in [("as_of_date", &definition.as_of_date), ("known_at_date", &definition.known_at_date)]
            {
                if !text.is_empty() {
                    violations.add(format!("definition.{field}"), "must be empty: the stream shows the present");
                }
            }
        }
    }
    let dimensions = definition.dimensions.iter().map(|code| read_dimension(*code)).collect::<Option<Vec<_>>>();
    if moment != Moment::Period && dimensions.iter().flatten().copied().any(Dimension::is_event) {
        violations.add("definition.dimensions", "must not be of events: a cohort stands, and does not flow");
    }
    let filter = definition.filter.clone().unwrap_or_default();
    let ids = |names: &[String], kind| {
        names.iter().filter_map(|name| parse_owner(name, kind).ok().map(str::to_owned)).collect()
    };
    let codes = |codes: &[i32]| codes.iter().map(|code| i64::from(*code)).collect();
    Some(Definition {
        cohort_from: cohort_from?,
        cohort_until: cohort_until?,
        entered_from: None,
        as_of,
        known_at,
        dimensions: dimensions?,
        filter: Filter {
            agencies: ids(&filter.agencies, OrganisationKind::Agency),
            platforms: ids(&filter.platforms, OrganisationKind::Platform),
            grounds: codes(&filter.grounds),
            natures: codes(&filter.natures),
            target_kinds: codes(&filter.target_kinds),
            clauses: filter.clauses,
            content_languages: filter.content_languages.iter().map(|tag| language(tag)).collect(),
            operations: filter.operations,
            legal_bases: filter.legal_bases,
        },
    })
}

pub(super) fn read_dimension(code: i32) -> Option<Dimension> {
    Dimension::ALL.into_iter().find(|dimension| write_dimension(*dimension) == code)
}

pub(super) const fn write_dimension(dimension: Dimension) -> i32 {
    let dimension = match dimension {
        Dimension::Agency => wire::Dimension::Agency,
        Dimension::Platform => wire::Dimension::Platform,
        Dimension::Ground => wire::Dimension::Ground,
        Dimension::TargetKind => wire::Dimension::TargetKind,
        Dimension::Nature => wire::Dimension::Nature,
        Dimension::ContentLanguage => wire::Dimension::ContentLanguage,
        Dimension::Clause => wire::Dimension::Clause,
        Dimension::Disposition => wire::Dimension::Disposition,
        Dimension::CohortDay => wire::Dimension::CohortDay,
        Dimension::CohortWeek => wire::Dimension::CohortWeek,
        Dimension::CohortMonth => wire::Dimension::CohortMonth,
        Dimension::Operation => wire::Dimension::Operation,
        Dimension::LegalBasis => wire::Dimension::LegalBasis,
        Dimension::CohortQuarter => wire::Dimension::CohortQuarter,
        Dimension::EventDay => wire::Dimension::EventDay,
        Dimension::EventWeek => wire::Dimension::EventWeek,
        Dimension::EventMonth => wire::Dimension::EventMonth,
        Dimension::EventQuarter => wire::Dimension::EventQuarter,
    };
    dimension as i32
}

/// The dimension's name in the contract, without its prefix.
pub fn dimension_name(dimension: Dimension) -> String {
    enum_name::<wire::Dimension>(write_dimension(dimension).into(), "DIMENSION_", wire::Dimension::as_str_name)
}

/// A definition for the wire.
pub fn write_definition(definition: &Definition) -> wire::ReportDefinition {
    let date = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
    let names =
        |kind: OrganisationKind, ids: &[String]| ids.iter().map(|id| format!("{}/{id}", kind.collection())).collect();
    let codes = |codes: &[i64]| codes.iter().filter_map(|code| i32::try_from(*code).ok()).collect();
    let filter = &definition.filter;
    wire::ReportDefinition {
        cohort_from_date: definition.cohort_from.to_string(),
        cohort_until_date: definition.cohort_until.to_string(),
        as_of_date: date(definition.as_of),
        known_at_date: date(definition.known_at),
        dimensions: definition.dimensions.iter().map(|dimension| write_dimension(*dimension)).collect(),
        filter: (*filter != Filter::default()).then(|| wire::ReportFilter {
            agencies: names(OrganisationKind::Agency, &filter.agencies),
            platforms: names(OrganisationKind::Platform, &filter.platforms),
            grounds: codes(&filter.grounds),
            natures: codes(&filter.natures),
            target_kinds: codes(&filter.target_kinds),
            clauses: filter.clauses.clone(),
            content_languages: filter.content_languages.clone(),
            operations: filter.operations.clone(),
            legal_bases: filter.legal_bases.clone(),
        }),
    }
}

// --- reports --------------------------------------------------------------------------------------------------------

/// The name of an enum's value without its prefix; the number, if this release does not know it.
fn enum_name<E: TryFrom<i32>>(code: i64, prefix: &str, name: impl Fn(&E) -> &'static str) -> String {
    let known = i32::try_from(code).ok().and_then(|code| E::try_from(code).ok());
    known.map_or_else(|| code.to_string(), |value| name(&value).trim_start_matches(prefix).to_owned())
}

/// The disposition's name in the contract, without its prefix.
pub fn write_disposition(disposition: Disposition) -> String {
    enum_name::<common::Disposition>(disposition.code().into(), "DISPOSITION_", common::Disposition::as_str_name)
}

fn write_value(dimension: Dimension, value: &Value) -> String {
    match (dimension, value) {
        (Dimension::Agency, Value::Text(id)) => format!("agencies/{id}"),
        (Dimension::Platform, Value::Text(id)) => format!("platforms/{id}"),
        (Dimension::Ground, Value::Code(code)) => {
            enum_name::<common::Ground>(*code, "GROUND_", common::Ground::as_str_name)
        }
        (Dimension::TargetKind, Value::Code(code)) => {
            enum_name::<common::TargetKind>(*code, "TARGET_KIND_", common::TargetKind::as_str_name)
        }
        (Dimension::Nature, Value::Code(code)) => {
            enum_name::<common::ReferralNature>(*code, "REFERRAL_NATURE_", common::ReferralNature::as_str_name)
        }
        (Dimension::Disposition, Value::Code(code)) => {
            enum_name::<common::Disposition>(*code, "DISPOSITION_", common::Disposition::as_str_name)
        }
        (Dimension::CohortWeek | Dimension::EventWeek, Value::Day(monday)) => week(*monday),
        (Dimension::CohortMonth | Dimension::EventMonth, Value::Day(first)) => {
            first.to_string().chars().take(7).collect()
        }
        (Dimension::CohortQuarter | Dimension::EventQuarter, Value::Day(first)) => quarter(*first),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::Code(code)) => code.to_string(),
        (_, Value::Day(day)) => day.to_string(),
        (_, Value::Clause(citation)) => write_citation(citation),
    }
}

/// The ISO 8601 week of a Monday, as `YYYY-Www`: the week belongs to the year of its Thursday.
fn week(monday: Date) -> String {
    let thursday = Date::from_days(monday.days() + 3);
    let year = thursday.to_string().chars().take_while(|c| *c != '-').collect::<String>();
    let first = format!("{year}-01-01").parse::<Date>().unwrap_or(thursday);
    format!("{year}-W{:02}", (thursday.days() - first.days()) / 7 + 1)
}

/// The quarter of its first day, as `YYYY-Qq`.
fn quarter(first: Date) -> String {
    let text = first.to_string();
    let mut parts = text.split('-');
    let year = parts.next().unwrap_or_default();
    let month = parts.next().and_then(|month| month.parse::<u32>().ok()).unwrap_or(1);
    format!("{year}-Q{}", month.div_ceil(3))
}

pub(super) fn write_key(definition: &Definition, key: &Key) -> Vec<wire::DimensionValue> {
    let values = definition.dimensions.iter().zip(key);
    values
        .map(|(dimension, value)| wire::DimensionValue {
            dimension: write_dimension(*dimension),
            value: write_value(*dimension, value),
        })
        .collect()
}

pub(super) fn write_counts(counts: &Counts) -> wire::Counts {
    wire::Counts {
        referred: counts.referred(),
        closed: counts.bucket(Bucket::Closed),
        not_in_breach: counts.bucket(Bucket::NotInBreach),
        undecided: counts.bucket(Bucket::Undecided),
        other: counts.bucket(Bucket::Other),
        detail: counts
            .detail()
            .filter(|(_, count)| *count != 0)
            .map(|(disposition, count)| wire::DispositionCount { disposition: disposition.code(), count })
            .collect(),
        targets: counts.targets,
    }
}

fn write_row(definition: &Definition, row: &Row) -> wire::ReportRow {
    let days = |days: i64| u32::try_from(days).unwrap_or_default();
    let (ages, times) = (&row.ages, &row.times);
    let lasts = AGES_FROM.iter().skip(1).map(|from| Some(days(from - 1))).chain([None]);
    let buckets = AGES_FROM.iter().zip(lasts).zip(ages.buckets);
    wire::ReportRow {
        key: write_key(definition, &row.key),
        counts: Some(write_counts(&row.counts)),
        undecided_ages: Some(wire::UndecidedAges {
            buckets: buckets
                .map(|((from, to_days), count)| wire::AgeBucket { from_days: days(*from), to_days, count })
                .collect(),
            p50_days: ages.p50.map(days),
            p90_days: ages.p90.map(days),
            max_days: ages.max.map(days),
        }),
        decision_times: Some(wire::DecisionTimes {
            n: times.n,
            decided: times.happened,
            decided_only_median_days: times.happened_median.map(days),
            decided_only_p90_days: times.happened_p90.map(days),
            censored_median_days: times.censored_median.map(days),
            censored_p90_days: times.censored_p90.map(days),
        }),
        withheld: None,
    }
}

/// A report for the wire. Refuses one with too many rows.
pub(crate) fn write_report(computed: &Computed) -> Result<wire::Report> {
    write_report_with(computed, None)
}

/// A report for the wire, under a grant without what that withholds.
pub(crate) fn write_report_under(computed: &Computed, grant: Option<&Grant>) -> Result<wire::Report> {
    let minimum = grant.map(|grant| grant.terms.small_cell_minimum);
    let grant_use = grant
        .zip(minimum)
        .map(|(grant, small_cell_minimum)| wire::GrantUse { grant: grant.name.to_string(), small_cell_minimum });
    Ok(wire::Report { grant_use, ..write_report_with(computed, minimum)? })
}

/// A report for the wire, without the counts below a minimum and what tells them.
pub(crate) fn write_report_with(computed: &Computed, minimum: Option<u32>) -> Result<wire::Report> {
    let Computed { definition, figures, revisions, settled } = computed;
    check_rows(figures.rows.len())?;
    let mut report = wire::Report {
        definition: Some(write_definition(definition)),
        rows: figures.rows.iter().map(|row| write_row(definition, row)).collect(),
        total: Some(write_row(definition, &figures.total)),
        ..wire::Report::default()
    };
    if let Some(minimum) = minimum {
        let by_cohort = definition.dimensions.iter().copied().any(Dimension::is_cohort);
        let hidden = withheld(figures, minimum, by_cohort);
        let rows = report.rows.iter_mut().zip(&hidden.rows);
        rows.chain(report.total.as_mut().map(|total| (total, &hidden.total)))
            .for_each(|(row, figures)| withhold(row, figures));
    }
    // The canonical form is the protobuf encoding of the definition, the rows and the total, in the order of their numbers,
    // without what is withheld: who knows the digest must not be able to try what it was.
    // Targets are part of it only where they differ, so that what was published before they were counted keeps its digest.
    let same = counted(&mut report).map(|counts| counts.targets == counts.referred).collect::<Vec<_>>();
    counted(&mut report).zip(&same).filter(|(_, same)| **same).for_each(|(counts, _)| counts.targets = 0);
    report.digest = hex(&Sha256::digest(report.encode_to_vec()));
    counted(&mut report).zip(&same).filter(|(_, same)| **same).for_each(|(counts, _)| counts.targets = counts.referred);
    report.progress = Some(Progress { revisions: revisions.clone() });
    report.settled = *settled;
    report.definitions = measures_of_a_report();
    Ok(report)
}

/// Refuses so many rows, if they are too many.
pub(super) fn check_rows(rows: usize) -> Result<()> {
    if rows <= limits::REPORT_ROWS_MAX {
        return Ok(());
    }
    let message = format!("the report has more than {} rows; divide it by less, or filter it", limits::REPORT_ROWS_MAX);
    Err(Error::new(Reason::LimitExceeded, message)
        .with("limit", "REPORT_ROWS_MAX")
        .with("maximum", limits::REPORT_ROWS_MAX)
        .with("actual", rows))
}

/// The counts of every row and of the total.
fn counted(report: &mut wire::Report) -> impl Iterator<Item = &mut wire::Counts> {
    report.rows.iter_mut().chain(report.total.as_mut()).filter_map(|row| row.counts.as_mut())
}

/// Takes figures out of a row, and says so.
fn withhold(row: &mut wire::ReportRow, figures: &[Figure]) {
    let counts = row.counts.get_or_insert_default();
    let ages = row.undecided_ages.get_or_insert_default();
    let times = row.decision_times.get_or_insert_default();
    for figure in figures {
        match figure {
            Figure::Referred => counts.referred = 0,
            Figure::Closed => counts.closed = 0,
            Figure::NotInBreach => counts.not_in_breach = 0,
            Figure::Undecided => counts.undecided = 0,
            Figure::Other => counts.other = 0,
            Figure::Dispositions => counts.detail.clear(),
            Figure::UndecidedAges => ages.buckets.clear(),
            Figure::UndecidedAgeP50Days => ages.p50_days = None,
            Figure::UndecidedAgeP90Days => ages.p90_days = None,
            Figure::UndecidedAgeMaxDays => ages.max_days = None,
            Figure::DecisionTimesN => times.n = 0,
            Figure::DecisionTimesDecided => times.decided = 0,
            Figure::DecidedOnlyMedianDays => times.decided_only_median_days = None,
            Figure::DecidedOnlyP90Days => times.decided_only_p90_days = None,
            Figure::CensoredMedianDays => times.censored_median_days = None,
            Figure::CensoredP90Days => times.censored_p90_days = None,
            Figure::Targets => counts.targets = 0,
        }
    }
    let figures = figures.iter().map(|figure| write_figure(*figure) as i32).collect();
    row.withheld = Some(wire::Withheld { figures });
}

const fn write_figure(figure: Figure) -> wire::Figure {
    match figure {
        Figure::Referred => wire::Figure::Referred,
        Figure::Closed => wire::Figure::Closed,
        Figure::NotInBreach => wire::Figure::NotInBreach,
        Figure::Undecided => wire::Figure::Undecided,
        Figure::Other => wire::Figure::Other,
        Figure::Dispositions => wire::Figure::Dispositions,
        Figure::UndecidedAges => wire::Figure::UndecidedAges,
        Figure::UndecidedAgeP50Days => wire::Figure::UndecidedAgeP50Days,
        Figure::UndecidedAgeP90Days => wire::Figure::UndecidedAgeP90Days,
        Figure::UndecidedAgeMaxDays => wire::Figure::UndecidedAgeMaxDays,
        Figure::DecisionTimesN => wire::Figure::DecisionTimesN,
        Figure::DecisionTimesDecided => wire::Figure::DecisionTimesDecided,
        Figure::DecidedOnlyMedianDays => wire::Figure::DecidedOnlyMedianDays,
        Figure::DecidedOnlyP90Days => wire::Figure::DecidedOnlyP90Days,
        Figure::CensoredMedianDays => wire::Figure::CensoredMedianDays,
        Figure::CensoredP90Days => wire::Figure::CensoredP90Days,
        Figure::Targets => wire::Figure::Targets,
    }
}

/// The SHA-256 of a definition's protobuf encoding, in hexadecimal: by which the access log tells reports apart.
pub(super) fn definition_digest(definition: Option<&wire::ReportDefinition>) -> String {
    hex(&Sha256::digest(definition.map(Message::encode_to_vec).unwrap_or_default()))
}

/// The changes of a report's rows for the wire.
pub fn write_deltas(definition: &Definition, rows: &BTreeMap<Key, Counts>) -> wire::ReportDelta {
    let rows = rows.iter().map(|(key, counts)| wire::ReportRowDelta {
        key: write_key(definition, key),
        counts: Some(write_counts(counts)),
    });
    wire::ReportDelta { rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_language_has_one_spelling() {
        for (given, kept) in [
            ("", ""),
            ("EN", "en"),
            ("CKB-iq", "ckb-IQ"),
            ("uz-cyrl-uz", "uz-Cyrl-UZ"),
            ("sl-ROZAJ-biske", "sl-rozaj-biske"),
        ] {
            assert_eq!(language(given), kept);
            assert_eq!(language(kept), kept);
        }
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        for (day, name) in [
            ("2020-01-01", "2020-W01"),
            ("2020-12-31", "2020-W53"),
            ("2021-01-03", "2020-W53"),
            ("2021-01-04", "2021-W01"),
            ("2018-12-31", "2019-W01"),
            ("2017-01-01", "2016-W52"),
        ] {
            assert_eq!(week(day.parse::<Date>().unwrap().week()), name, "{day}");
        }
    }

    #[test]
    fn quarters_are_those_of_the_year() {
        for (day, name) in [
            ("2020-01-01", "2020-Q1"),
            ("2020-03-31", "2020-Q1"),
            ("2020-05-31", "2020-Q2"),
            ("2020-09-01", "2020-Q3"),
            ("2020-12-31", "2020-Q4"),
        ] {
            assert_eq!(quarter(day.parse::<Date>().unwrap().quarter()), name, "{day}");
        }
    }

    #[test]
    fn citations_round_trip() {
        for text in ["", "platforms/hb/clauses/he-7@12"] {
            assert_eq!(write_citation(&read_citation(text).unwrap()), text);
        }
        assert_eq!(read_citation("platforms/hb/clauses/he-7"), None);
        assert_eq!(read_citation("platforms/hb/clauses/he-7@x"), None);
    }

    #[test]
    fn what_the_log_holds_is_read_back() {
        let subject = Subject {
            cohort_day: Date::from_days(-1),
            agency: "nca".into(),
            platform: "hb".into(),
            ground: 1,
            target_kind: 2,
            nature: 3,
            content_language: "sq".into(),
            operation: "agencies/nca/operations/0190b2f0-0000-7000-8000-000000000001".into(),
            same_target: true,
            legal_basis: "IA1971_S25".into(),
        };
        let clause = Citation { clause: "platforms/hb/clauses/he-7".into(), version: 2 };
        let clocks = [Clock::Running, Clock::Decided(4), Clock::Withdrawn(0)];
        let deltas = clocks.map(|clock| {
            let standing = Standing { disposition: Disposition::Closed, clause: clause.clone(), clock };
            let cell = Cell {
                subject: subject.clone(),
                standing,
                event_day: Date::from_days(3),
                recorded_day: Date::from_days(5),
            };
            (cell, Tally { net: -7, entered: 3 })
        });
        let changed = CubeChanged { source: Source::Decision, heard_on: Date::from_days(6), deltas: deltas.to_vec() };
        let event = Event::CubeChanged(changed);
        let encoded = Log::encode(&event);
        assert_eq!(Log::decode(&encoded.body), Ok(event));
        assert_eq!((encoded.agency.as_str(), encoded.platform.as_str()), ("", ""), "not for any one organisation");
        assert!(Log::decode(b"nonsense").is_err());
    }

    fn computed(rows: usize) -> Computed {
        let day = Date::default();
        let definition = Definition {
            cohort_from: day,
            cohort_until: day,
            entered_from: None,
            as_of: Some(day),
            known_at: Some(day),
            dimensions: vec![Dimension::Agency],
            filter: Filter::default(),
        };
        let row = Row { key: vec![Value::Text("nca".into())], ..Row::default() };
        let figures = crate::domain::Report { rows: vec![row; rows], ..crate::domain::Report::default() };
        Computed { definition, figures, revisions: Vec::new(), settled: false }
    }

    #[test]
    fn a_report_has_so_many_rows_and_no_more() {
        let fits = write_report(&computed(limits::REPORT_ROWS_MAX)).unwrap();
        assert_eq!(fits.rows.len(), limits::REPORT_ROWS_MAX);
        let refused = write_report(&computed(limits::REPORT_ROWS_MAX + 1)).unwrap_err();
        assert_eq!(refused.reason(), Reason::LimitExceeded);
        assert!(refused.metadata().contains(&("limit", "REPORT_ROWS_MAX".into())));
    }

    #[test]
    fn what_is_withheld_is_gone() {
        let full = wire::ReportRow {
            key: vec![wire::DimensionValue { dimension: 1, value: "agencies/nca".into() }],
            counts: Some(wire::Counts {
                referred: 1,
                closed: 2,
                not_in_breach: 3,
                undecided: 4,
                other: 5,
                detail: vec![wire::DispositionCount { disposition: 1, count: 6 }],
                targets: 17,
            }),
            undecided_ages: Some(wire::UndecidedAges {
                buckets: vec![wire::AgeBucket { from_days: 0, to_days: Some(6), count: 7 }],
                p50_days: Some(8),
                p90_days: Some(9),
                max_days: Some(10),
            }),
            decision_times: Some(wire::DecisionTimes {
                n: 11,
                decided: 12,
                decided_only_median_days: Some(13),
                decided_only_p90_days: Some(14),
                censored_median_days: Some(15),
                censored_p90_days: Some(16),
            }),
            withheld: None,
        };
        let mut gone = full.clone();
        withhold(&mut gone, &Figure::ALL);
        let nothing = wire::ReportRow {
            key: full.key.clone(),
            counts: Some(wire::Counts::default()),
            undecided_ages: Some(wire::UndecidedAges::default()),
            decision_times: Some(wire::DecisionTimes::default()),
            withheld: Some(wire::Withheld { figures: (1..=17).collect() }),
        };
        assert_eq!(gone, nothing);
        for figure in Figure::ALL {
            let mut without = full.clone();
            withhold(&mut without, &[figure]);
            // One figure, and what says so.
            let (before, after) =
                (full.encoded_len(), wire::ReportRow { withheld: None, ..without.clone() }.encoded_len());
            assert!(after < before, "{figure:?}");
            assert_eq!(without.withheld, Some(wire::Withheld { figures: vec![write_figure(figure) as i32] }));
        }
    }

    #[test]
    fn a_digest_is_of_the_figures_alone() {
        let digest = |computed: &Computed| write_report(computed).unwrap().digest;
        let one = computed(1);
        assert_eq!(digest(&one).len(), 64);
        assert_eq!(digest(&one), digest(&Computed { settled: true, revisions: vec!["x".into()], ..computed(1) }));
        assert_ne!(digest(&one), digest(&computed(2)));
        // Made by a release that counted no targets; and what differs in them alone differs.
        assert_eq!(digest(&one), "105f10417f9c391f5213d17dc5f8f7ab5aefb19c953362780cd8f06aab344ca2");
        let mut again = computed(1);
        again.figures.rows[0].counts.targets = 1;
        assert_ne!(digest(&one), digest(&again));
        let mut other = computed(1);
        other.definition.as_of = Some(Date::from_days(1));
        assert_ne!(digest(&one), digest(&other));
    }
}
