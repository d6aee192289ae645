//! Flags for review between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::vocabulary::ReviewOutcome;
use portreeve_runtime::wire::{read_time, write_time};
use prost::Message as _;

use crate::domain::review_flag::{Answer, ReviewFlag};

/// The state's number in the contract and in the database.
pub fn state_code(flag: &ReviewFlag) -> i32 {
    match flag.answer {
        None => wire::ReviewFlagState::Open as i32,
        Some(_) => wire::ReviewFlagState::Answered as i32,
    }
}

/// A flag for the wire.
pub fn write_flag(flag: &ReviewFlag) -> wire::ReviewFlag {
    let answer = flag.answer.as_ref().map(|(answer, _)| answer);
    let replacement = answer.and_then(|answer| answer.replacement.as_ref());
    wire::ReviewFlag {
        name: flag.name.to_string(),
        reasons: flag.reasons.clone(),
        flagged_by: flag.flagged_by.clone(),
        state: state_code(flag),
        outcome: answer.map(|answer| answer.outcome.code()).unwrap_or_default(),
        answer: answer.map(|answer| answer.text.clone()).unwrap_or_default(),
        replacement: replacement.map(ToString::to_string).unwrap_or_default(),
        create_time: Some(write_time(flag.created_at)),
        answered_at: flag.answer.as_ref().map(|(_, at)| write_time(*at)),
    }
}

/// A flag from the wire; `None` for one that this release did not write.
pub fn read_flag(message: &wire::ReviewFlag) -> Option<ReviewFlag> {
    let answer = match &message.answered_at {
        None => None,
        Some(at) => {
            let replacement = match message.replacement.as_str() {
                "" => None,
                name => Some(name.parse().ok()?),
            };
            let outcome = ReviewOutcome::from_code(message.outcome)?;
            let answer = Answer { outcome, text: message.answer.clone(), replacement };
            Some((answer, read_time(at).ok()?))
        }
    };
    Some(ReviewFlag {
        name: message.name.parse().ok()?,
        reasons: message.reasons.clone(),
        flagged_by: message.flagged_by.clone(),
        answer,
        created_at: read_time(message.create_time.as_ref()?).ok()?,
        created: 0,
        updated: 0,
    })
}

/// A flag as the database keeps it: as the contract writes it.
pub fn encode(flag: &ReviewFlag) -> Vec<u8> {
    write_flag(flag).encode_to_vec()
}

/// The flag behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<ReviewFlag> {
    read_flag(&wire::ReviewFlag::decode(body).ok()?)
}
