//! Stays between the wire and the domain.

use portreeve_api::decision::v1 as wire;
use portreeve_core::Timestamp;
use portreeve_core::name::{CaseName, StayName};
use portreeve_runtime::wire::{read_time, write_time};
use prost_types::Timestamp as WireTime;

use crate::domain::{QuestionCode, Stay, StayContent, StayEnd, StayGround};

/// A stay for the wire.
pub fn write_stay(case: &CaseName, stay: &Stay) -> wire::Stay {
    let Stay { number, content, began_at, answer_by, end, answer } = stay;
    wire::Stay {
        name: StayName { case: case.clone(), number: *number }.to_string(),
        number: *number,
        ground: content.ground.code(),
        questions: content.questions.iter().map(|question| question.code()).collect(),
        explanation: content.explanation.clone(),
        began_at: Some(write_time(*began_at)),
        answer_by: answer_by.map(write_time),
        end: end.map_or(0, |(end, _)| end.code()),
        ended_at: end.map(|(_, at)| write_time(at)),
        answer: answer.clone(),
    }
}

fn time(time: Option<&WireTime>) -> Option<Timestamp> {
    read_time(time?).ok()
}

/// A stay from the wire; `None` for one that this release did not write.
pub fn read_stay(message: &wire::Stay) -> Option<Stay> {
    let end = match message.end {
        0 => None,
        code => Some((StayEnd::from_code(code)?, time(message.ended_at.as_ref())?)),
    };
    Some(Stay {
        number: message.number,
        content: read_content(message.ground, &message.questions, &message.explanation)?,
        began_at: time(message.began_at.as_ref())?,
        answer_by: time(message.answer_by.as_ref()),
        end,
        answer: message.answer.clone(),
    })
}

/// What a stay is about; `None` for what this release does not know.
pub fn read_content(ground: i32, questions: &[i32], explanation: &str) -> Option<StayContent> {
    Some(StayContent {
        ground: StayGround::from_code(ground)?,
        questions: questions.iter().map(|code| QuestionCode::from_code(*code)).collect::<Option<_>>()?,
        explanation: explanation.to_owned(),
    })
}

/// Takes what is written in words out of a case's stays. `None` if there is nothing.
pub fn take_words(case: &mut wire::Case) -> Option<wire::StayWords> {
    let mut words = wire::StayWords::default();
    for stay in &mut case.stays {
        words.explanations.push(std::mem::take(&mut stay.explanation));
        words.answers.push(std::mem::take(&mut stay.answer));
    }
    (!case.stays.is_empty()).then_some(words)
}

/// Puts the words back where they were taken from.
pub fn put_words(case: &mut wire::Case) {
    let Some(words) = case.stay_words.take() else { return };
    let words = words.explanations.into_iter().zip(words.answers);
    for (stay, (explanation, answer)) in case.stays.iter_mut().zip(words) {
        stay.explanation = explanation;
        stay.answer = answer;
    }
}
