//! Challenges between the wire and the domain.

use portreeve_api::decision::v1 as wire;
use portreeve_core::Timestamp;
use portreeve_core::name::{CaseName, ChallengeName};
use portreeve_runtime::wire::{read_time, write_time};
use prost::Message as _;
use prost_types::Timestamp as WireTime;

use crate::domain::{Challenge, ChallengeKind, ChallengeOutcome, Fact, Forum, Move, Stage};

/// A challenge for the wire.
pub fn write_challenge(case: &CaseName, challenge: &Challenge) -> wire::Challenge {
    let Challenge { number, kind, version, by, reasons, occurred_at, recorded_at, facts } = challenge;
    wire::Challenge {
        name: ChallengeName { case: case.clone(), number: *number }.to_string(),
        number: *number,
        kind: kind.code(),
        decision_version: *version,
        filed_by: by.to_string(),
        reasons: reasons.clone(),
        filed_at: Some(write_time(*occurred_at)),
        filed_recorded_at: Some(write_time(*recorded_at)),
        stage: challenge.stage().code(),
        open: challenge.is_open(),
        due_at: challenge.due_at().map(write_time),
        facts: facts.iter().map(write_fact).collect(),
    }
}

fn write_fact(fact: &Fact) -> wire::ChallengeFact {
    let mut message = wire::ChallengeFact {
        stage: fact.moved.stage().code(),
        occurred_at: Some(write_time(fact.occurred_at)),
        recorded_at: Some(write_time(fact.recorded_at)),
        ..wire::ChallengeFact::default()
    };
    match &fact.moved {
        Move::Decide { explanation, version, .. } => {
            message.explanation.clone_from(explanation);
            message.decision_version = *version;
        }
        Move::Refer { forum, body, reference } => {
            message.forum = forum.code();
            message.body.clone_from(body);
            message.reference.clone_from(reference);
        }
        Move::DecidedOutside { outcome, procedural } => {
            message.outcome = outcome.code();
            message.procedural = *procedural;
        }
        Move::Implement { version } => message.decision_version = *version,
        Move::Acknowledge | Move::BeginReview | Move::LeaveUndone | Move::Close => {}
    }
    message
}

fn time(time: Option<&WireTime>) -> Option<Timestamp> {
    read_time(time?).ok()
}

/// A challenge from the wire; `None` for one that this release did not write.
pub fn read_challenge(message: &wire::Challenge) -> Option<Challenge> {
    Some(Challenge {
        number: message.number,
        kind: ChallengeKind::from_code(message.kind)?,
        version: message.decision_version,
        by: message.filed_by.parse().ok()?,
        reasons: message.reasons.clone(),
        occurred_at: time(message.filed_at.as_ref())?,
        recorded_at: time(message.filed_recorded_at.as_ref())?,
        facts: message.facts.iter().map(read_fact).collect::<Option<_>>()?,
    })
}

fn read_fact(message: &wire::ChallengeFact) -> Option<Fact> {
    let decided =
        |outcome| Move::Decide { outcome, explanation: message.explanation.clone(), version: message.decision_version };
    let moved = match Stage::from_code(message.stage)? {
        Stage::Filed => return None,
        Stage::Acknowledged => Move::Acknowledge,
        Stage::InReview => Move::BeginReview,
        Stage::Upheld => decided(ChallengeOutcome::Upheld),
        Stage::Reversed => decided(ChallengeOutcome::Reversed),
        Stage::PartiallyReversed => decided(ChallengeOutcome::PartiallyReversed),
        Stage::Omitted => decided(ChallengeOutcome::Omitted),
        Stage::External => Move::Refer {
            forum: Forum::from_code(message.forum)?,
            body: message.body.clone(),
            reference: message.reference.clone(),
        },
        Stage::ExternallyDecided => Move::DecidedOutside {
            outcome: ChallengeOutcome::from_code(message.outcome)?,
            procedural: message.procedural,
        },
        Stage::Implemented => Move::Implement { version: message.decision_version },
        Stage::NotImplemented => Move::LeaveUndone,
        Stage::Closed => Move::Close,
    };
    Some(Fact {
        moved,
        occurred_at: time(message.occurred_at.as_ref())?,
        recorded_at: time(message.recorded_at.as_ref())?,
    })
}

/// A challenge as the database keeps it: as the contract writes it.
pub fn encode(case: &CaseName, challenge: &Challenge) -> Vec<u8> {
    write_challenge(case, challenge).encode_to_vec()
}

/// The challenge behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<Challenge> {
    read_challenge(&wire::Challenge::decode(body).ok()?)
}

/// The fact in which the platform explains itself.
fn explained(challenge: &mut wire::Challenge) -> Option<&mut wire::ChallengeFact> {
    let decided = [Stage::Upheld, Stage::Reversed, Stage::PartiallyReversed, Stage::Omitted].map(Stage::code);
    challenge.facts.iter_mut().find(|fact| decided.contains(&fact.stage))
}

/// Takes what is written in words out of a case's challenges. `None` if there is nothing.
pub fn take_words(case: &mut wire::Case) -> Option<wire::ChallengeWords> {
    let mut words = wire::ChallengeWords::default();
    for challenge in &mut case.challenges {
        words.reasons.push(std::mem::take(&mut challenge.reasons));
        let explanation = explained(challenge).map(|fact| std::mem::take(&mut fact.explanation));
        words.explanations.push(explanation.unwrap_or_default());
    }
    (!case.challenges.is_empty()).then_some(words)
}

/// Puts the words back where they were taken from.
pub fn put_words(case: &mut wire::Case) {
    let Some(words) = case.challenge_words.take() else { return };
    let words = words.reasons.into_iter().zip(words.explanations);
    for (challenge, (reasons, explanation)) in case.challenges.iter_mut().zip(words) {
        challenge.reasons = reasons;
        if let Some(fact) = explained(challenge) {
            fact.explanation = explanation;
        }
    }
}
