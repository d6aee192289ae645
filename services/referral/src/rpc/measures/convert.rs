//! Measures between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::MeasureName;
use portreeve_core::vocabulary::{AppealOutcome, MeasureKind, MisuseGravity, MisuseIntent};
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::wire::{must_say, optional_time, read_time, write_time};
use prost::Message as _;

use crate::domain::measure::{Appeal, Grounds, Lift, Measure, NewMeasure, State, Verdict};

/// The state's number in the contract.
const fn state_code(state: State) -> i32 {
    match state {
        State::Scheduled => wire::MeasureState::Scheduled as i32,
        State::InForce => wire::MeasureState::InForce as i32,
        State::Ended => wire::MeasureState::Ended as i32,
        State::Lifted => wire::MeasureState::Lifted as i32,
    }
}

/// A measure for the wire, as it stands at a moment.
pub fn write_measure(measure: &Measure, now: Timestamp) -> wire::Measure {
    let grounds = &measure.grounds;
    let lift = measure.lift.as_ref();
    let of_agency = |id| MeasureName { agency: measure.name.agency.clone(), id }.to_string();
    wire::Measure {
        name: measure.name.to_string(),
        kind: measure.kind.code(),
        member: measure.member.clone().unwrap_or_default(),
        start_time: Some(write_time(measure.start)),
        end_time: Some(write_time(measure.end)),
        statement_of_reasons: measure.reasons.clone(),
        grounds: Some(wire::MisuseGrounds {
            unfounded_count: grounds.unfounded,
            referred_count: grounds.referred,
            period_from: Some(write_time(grounds.from)),
            period_until: Some(write_time(grounds.until)),
            gravity: grounds.gravity.code(),
            intent: grounds.intent.map(MisuseIntent::code).unwrap_or_default(),
        }),
        warning: measure.warning.map(of_agency).unwrap_or_default(),
        imposed_by: measure.imposed_by().to_owned(),
        appeal: measure.appeal.as_ref().map(write_appeal),
        appealable_until: Some(write_time(measure.appealable_until())),
        lifted_at: lift.map(|lift| write_time(lift.at)),
        lift_reasons: lift.map(|lift| lift.reasons.clone()).unwrap_or_default(),
        lifted_by: lift.map(|lift| lift.by.clone()).unwrap_or_default(),
        state: state_code(measure.state(now)),
        ends_at: Some(write_time(measure.ends_at())),
        create_time: Some(write_time(measure.created_at)),
        update_time: Some(write_time(measure.updated_at)),
    }
}

fn write_appeal(appeal: &Appeal) -> wire::MeasureAppeal {
    let verdict = appeal.verdict.as_ref();
    wire::MeasureAppeal {
        reasons: appeal.reasons.clone(),
        appealed_at: Some(write_time(appeal.at)),
        outcome: verdict.map(|verdict| verdict.outcome.code()).unwrap_or_default(),
        shortened_until: verdict.and_then(|verdict| verdict.shortened).map(write_time),
        decision_reasons: verdict.map(|verdict| verdict.reasons.clone()).unwrap_or_default(),
        decided_by: verdict.map(|verdict| verdict.by.clone()).unwrap_or_default(),
        decided_at: verdict.map(|verdict| write_time(verdict.at)),
    }
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    read_time(time?).ok()
}

fn read_grounds(message: &wire::MisuseGrounds) -> Option<Grounds> {
    Some(Grounds {
        unfounded: message.unfounded_count,
        referred: message.referred_count,
        from: time(message.period_from.as_ref())?,
        until: time(message.period_until.as_ref())?,
        gravity: MisuseGravity::from_code(message.gravity)?,
        intent: MisuseIntent::from_code(message.intent),
    })
}

fn read_appeal(message: &wire::MeasureAppeal) -> Option<Appeal> {
    let verdict = match AppealOutcome::from_code(message.outcome) {
        None => None,
        Some(outcome) => Some(Verdict {
            outcome,
            shortened: time(message.shortened_until.as_ref()),
            reasons: message.decision_reasons.clone(),
            by: message.decided_by.clone(),
            at: time(message.decided_at.as_ref())?,
        }),
    };
    Some(Appeal { reasons: message.reasons.clone(), at: time(message.appealed_at.as_ref())?, verdict })
}

/// A measure from the wire; `None` for one that this release did not write. Who imposed it is known by its organisation.
pub fn read_measure(message: &wire::Measure) -> Option<Measure> {
    let appeal = match &message.appeal {
        None => None,
        Some(appeal) => Some(read_appeal(appeal)?),
    };
    let lift = message.lifted_at.as_ref().map(|at| {
        let (reasons, by) = (message.lift_reasons.clone(), message.lifted_by.clone());
        Some(Lift { reasons, by, at: read_time(at).ok()? })
    });
    let warning = match message.warning.as_str() {
        "" => None,
        name => Some(name.parse::<MeasureName>().ok()?.id),
    };
    Some(Measure {
        name: message.name.parse().ok()?,
        kind: MeasureKind::from_code(message.kind)?,
        member: Some(message.member.clone()).filter(|member| !member.is_empty()),
        start: time(message.start_time.as_ref())?,
        end: time(message.end_time.as_ref())?,
        reasons: message.statement_of_reasons.clone(),
        grounds: read_grounds(message.grounds.as_ref()?)?,
        warning,
        imposer: message.imposed_by.clone(),
        appeal,
        lift: match lift {
            None => None,
            Some(lift) => Some(lift?),
        },
        created_at: time(message.create_time.as_ref())?,
        updated_at: time(message.update_time.as_ref())?,
        created: 0,
        updated: 0,
    })
}

/// A measure as the database keeps it: as the contract writes it.
pub fn encode(measure: &Measure) -> Vec<u8> {
    write_measure(measure, measure.updated_at).encode_to_vec()
}

/// The measure behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<Measure> {
    read_measure(&wire::Measure::decode(body).ok()?)
}

/// A measure that is to be imposed. Wrong fields are noted; the contract's own rules have been checked already, and what
/// depends on the time is the ledger's to say, so that a repeated request gets its first answer.
pub fn read_draft(violations: &mut Violations, name: MeasureName, message: &wire::Measure) -> Option<NewMeasure> {
    let kind = MeasureKind::from_code(message.kind);
    let start = optional_time(violations, "measure.start_time", message.start_time.as_ref());
    let end = optional_time(violations, "measure.end_time", message.end_time.as_ref());
    if kind == Some(MeasureKind::Warning) {
        for (field, set) in [("start_time", message.start_time.is_some()), ("end_time", message.end_time.is_some())] {
            if set {
                violations.add(format!("measure.{field}"), "must be unset: a warning has no times of its own");
            }
        }
    }
    if kind == Some(MeasureKind::Suspension) && message.end_time.is_none() {
        violations.add("measure.end_time", "must be set: a suspension has an end");
    }
    let member = message.member.as_str();
    if member.chars().any(char::is_control) || member.trim() != member {
        violations.add("measure.member", "must be a member's name as the certificate or token has it");
    }
    must_say(violations, "measure.statement_of_reasons", &message.statement_of_reasons);
    let grounds = message.grounds.as_ref()?;
    if grounds.referred_count > 0 && grounds.unfounded_count > grounds.referred_count {
        violations.add("measure.grounds.referred_count", "must not be less than unfounded_count");
    }
    let from = optional_time(violations, "measure.grounds.period_from", grounds.period_from.as_ref());
    let until = optional_time(violations, "measure.grounds.period_until", grounds.period_until.as_ref());
    if from.zip(until).is_some_and(|(from, until)| until <= from) {
        violations.add("measure.grounds.period_until", "must be after period_from");
    }
    Some(NewMeasure {
        name,
        kind: kind?,
        member: Some(member.to_owned()).filter(|member| !member.is_empty()),
        start,
        end,
        reasons: message.statement_of_reasons.clone(),
        grounds: read_grounds(grounds)?,
    })
}
