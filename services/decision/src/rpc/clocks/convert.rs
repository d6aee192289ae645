//! Clocks, orders and response times between the wire and the domain.

use std::collections::BTreeMap;

use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_core::Timestamp;
use portreeve_core::name::CaseName;
use portreeve_runtime::wire::{read_span, read_time, write_span, write_time};
use prost::Message as _;
use prost_types::Timestamp as WireTime;

use crate::domain::clock::Step;
use crate::domain::{Case, Clock, ClockKey, Lease, Mark, NonDisclosure, Order, Priority, ResponseTimes, StepKind};
use crate::rpc::stays::convert::{read_stay, write_stay};

fn time(time: Option<&WireTime>) -> Option<Timestamp> {
    read_time(time?).ok()
}

/// A clock for the wire.
pub fn write_clock(case: &CaseName, clock: &Clock) -> wire::Clock {
    wire::Clock {
        name: clock_name(case, clock.key),
        kind: clock.key.kind.code(),
        state: clock.state().code(),
        started_at: Some(write_time(clock.started_at)),
        time: Some(write_span(clock.time)),
        due_at: clock.due_at().map(write_time),
        left: clock.left().map(write_span),
        ended_at: clock.end.map(|end| write_time(end.at())),
        marks: clock.marks.iter().map(write_mark).collect(),
    }
}

fn clock_name(case: &CaseName, clock: ClockKey) -> String {
    format!("{case}/clocks/{clock}")
}

fn read_clock_name(name: &str) -> Option<ClockKey> {
    name.rsplit_once("/clocks/")?.1.parse().ok()
}

fn write_mark(mark: &Mark) -> wire::ClockMark {
    wire::ClockMark { percent: mark.percent, recorded_at: Some(write_time(mark.recorded_at)) }
}

/// The marks of clocks; the rest of a clock follows from its case. `None` for what this release did not write.
pub fn read_marks(clocks: &[wire::Clock]) -> Option<Vec<Mark>> {
    let marks = clocks.iter().flat_map(|clock| clock.marks.iter().map(move |mark| (clock, mark)));
    let read = |(clock, mark): (&wire::Clock, &wire::ClockMark)| {
        Some(Mark {
            clock: read_clock_name(&clock.name)?,
            percent: mark.percent,
            recorded_at: time(mark.recorded_at.as_ref())?,
        })
    };
    marks.map(read).collect()
}

/// What happened to a clock, for the wire.
pub fn write_step(case: &CaseName, step: &Step) -> wire::ClockStep {
    wire::ClockStep { clock: clock_name(case, step.clock), kind: step.kind.code(), at: Some(write_time(step.at)) }
}

/// What happened to a clock; `None` for what this release did not write.
pub fn read_step(step: &wire::ClockStep) -> Option<Step> {
    Some(Step {
        clock: read_clock_name(&step.clock)?,
        kind: StepKind::from_code(step.kind)?,
        at: time(step.at.as_ref())?,
    })
}

/// What an order says, for the wire.
pub fn write_order(order: &Order) -> referral::OrderTerms {
    referral::OrderTerms {
        regime: order.regime,
        issuing_authority: order.issuing_authority.clone(),
        act_within: order.act_within.map(write_span),
        redress: order.redress.clone(),
        territorial_scope: order.territorial_scope.clone(),
        feedback_to: order.feedback_to.clone(),
        emergency: order.emergency.clone(),
        non_disclosure_until: order.non_disclosure_until.map(write_time),
        escalates: order.escalates.as_ref().map(ToString::to_string).unwrap_or_default(),
        non_disclosure: order.non_disclosure.as_ref().map(|course| write_non_disclosure(order, course)),
    }
}

fn write_non_disclosure(order: &Order, course: &NonDisclosure) -> referral::NonDisclosureCourse {
    let (extended, lifted) = (course.extended.as_ref(), course.lifted.as_ref());
    referral::NonDisclosureCourse {
        until: order.disclosed_at().or(order.not_disclosed_until()).map(write_time),
        renewals: u32::from(extended.is_some()),
        extended_until: extended.map(|(until, ..)| write_time(*until)),
        extended_at: extended.map(|(_, at, _)| write_time(*at)),
        extension_reason: extended.map(|(.., reason)| reason.clone()).unwrap_or_default(),
        lifted_at: lifted.map(|(at, _)| write_time(*at)),
        lift_reason: lifted.map(|(_, reason)| reason.clone()).unwrap_or_default(),
    }
}

fn read_non_disclosure(course: &referral::NonDisclosureCourse) -> NonDisclosure {
    let until = time(course.extended_until.as_ref()).zip(time(course.extended_at.as_ref()));
    NonDisclosure {
        extended: until.map(|(until, at)| (until, at, course.extension_reason.clone())),
        lifted: time(course.lifted_at.as_ref()).map(|at| (at, course.lift_reason.clone())),
    }
}

/// What an order says.
pub fn read_order(order: &referral::OrderTerms) -> Order {
    Order {
        regime: order.regime,
        issuing_authority: order.issuing_authority.clone(),
        act_within: order.act_within.as_ref().map(read_span),
        redress: order.redress.clone(),
        territorial_scope: order.territorial_scope.clone(),
        feedback_to: order.feedback_to.clone(),
        emergency: order.emergency.clone(),
        non_disclosure_until: time(order.non_disclosure_until.as_ref()),
        escalates: order.escalates.parse().ok(),
        non_disclosure: order.non_disclosure.as_ref().map(read_non_disclosure),
    }
}

/// How urgent a referral is, for the wire.
pub fn write_priority(priority: &Priority) -> referral::Priority {
    referral::Priority {
        harm: priority.harm,
        likelihood: priority.likelihood,
        confidence: priority.confidence,
        explanation: priority.explanation.clone(),
        imminent_threat_to_life: priority.threat_to_life,
        score: priority.score,
        version: priority.version,
        changed_at: priority.changed_at.map(write_time),
    }
}

/// How urgent a referral is.
pub fn read_priority(priority: &referral::Priority) -> Priority {
    Priority {
        harm: priority.harm,
        likelihood: priority.likelihood,
        confidence: priority.confidence,
        explanation: priority.explanation.clone(),
        threat_to_life: priority.imminent_threat_to_life,
        score: priority.score,
        version: priority.version,
        changed_at: time(priority.changed_at.as_ref()),
    }
}

/// Who holds a case, for the wire.
pub fn write_lease(lease: &Lease) -> wire::CaseLease {
    let (since, until) = (write_time(lease.since), write_time(lease.until));
    wire::CaseLease { holder: lease.holder.clone(), since: Some(since), until: Some(until) }
}

fn read_lease(lease: &wire::CaseLease) -> Option<Lease> {
    let (since, until) = (time(lease.since.as_ref())?, time(lease.until.as_ref())?);
    Some(Lease { holder: lease.holder.clone(), since, until })
}

/// What a platform says of how long it takes, for the wire.
pub fn write_times(times: &ResponseTimes) -> wire::ResponseTimes {
    let said = times.times.iter();
    wire::ResponseTimes {
        name: format!("platforms/{}/responseTimes", times.platform),
        version: times.version,
        times: said
            .map(|(nature, time)| wire::ResponseTime { nature: *nature, time: Some(write_span(*time)) })
            .collect(),
        recorded_at: Some(write_time(times.recorded_at)),
    }
}

/// What a platform says of how long it takes; `None` for what this release did not write.
pub fn read_times(message: &wire::ResponseTimes) -> Option<ResponseTimes> {
    let said = message.times.iter().map(|said| Some((said.nature, read_span(said.time.as_ref()?))));
    Some(ResponseTimes {
        platform: message.name.strip_prefix("platforms/")?.strip_suffix("/responseTimes")?.to_owned(),
        version: message.version,
        times: said.collect::<Option<BTreeMap<_, _>>>()?,
        recorded_at: time(message.recorded_at.as_ref())?,
    })
}

/// The same as the database keeps it: as the contract writes it.
pub fn encode_times(times: &ResponseTimes) -> Vec<u8> {
    write_times(times).encode_to_vec()
}

/// What is behind what a database keeps.
pub fn decode_times(bytes: &[u8]) -> Option<ResponseTimes> {
    read_times(&wire::ResponseTimes::decode(bytes).ok()?)
}

/// The course of a case as the database keeps it: its stays, the marks of its clocks and what else they rest on, as the contract
/// writes it.
pub fn encode_course(case: &Case) -> Vec<u8> {
    let name = case.name();
    let mut clocks = case.clocks();
    clocks.retain(|clock| !clock.marks.is_empty());
    let course = wire::Case {
        clocks: clocks.iter().map(|clock| write_clock(&name, clock)).collect(),
        stays: case.stays.iter().map(|stay| write_stay(&name, stay)).collect(),
        response_time: case.response_time.map(write_span),
        order_answered_at: case.order_answered_at.map(write_time),
        order: case.referred.order.as_ref().map(write_order),
        priority: case.referred.priority.as_ref().map(write_priority),
        escalated_to: case.escalated_to.as_ref().map(ToString::to_string).unwrap_or_default(),
        lease: case.lease.as_ref().map(write_lease),
        review_began_at: case.review_began_at.map(write_time),
        ..wire::Case::default()
    };
    course.encode_to_vec()
}

/// Puts the course behind what a database keeps into a case; `None` for what this release did not write.
pub fn decode_course(bytes: &[u8], case: &mut Case) -> Option<()> {
    read_course(&wire::Case::decode(bytes).ok()?, case)
}

/// Puts the course that a message tells into a case; `None` for what this release did not write.
pub fn read_course(message: &wire::Case, case: &mut Case) -> Option<()> {
    case.marks = read_marks(&message.clocks)?;
    case.stays = message.stays.iter().map(read_stay).collect::<Option<_>>()?;
    case.response_time = message.response_time.as_ref().map(read_span);
    case.order_answered_at = time(message.order_answered_at.as_ref());
    case.referred.order = message.order.as_ref().map(read_order);
    case.referred.priority = message.priority.as_ref().map(read_priority);
    case.escalated_to = match message.escalated_to.as_str() {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    case.lease = match &message.lease {
        None => None,
        Some(lease) => Some(read_lease(lease)?),
    };
    case.review_began_at = time(message.review_began_at.as_ref());
    Some(())
}
