//! The check whether the law protects content, which an agency makes before it refers it.

use portreeve_core::vocabulary::{Defence, Finding};
use portreeve_core::{Error, Reason, Result, Violations};

/// What was found of one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The context.
    pub context: Defence,
    /// What was found.
    pub finding: Finding,
    /// Why; may be empty where it does not apply.
    pub reasons: String,
}

/// A check: an answer for each context, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check(Vec<Answer>);

impl Check {
    /// A check of its answers, in whatever order. What is wrong with them is noted under `path`, all of it. An answer that is
    /// none has been noted already.
    pub fn new(answers: Vec<Option<Answer>>, path: &str, violations: &mut Violations) -> Option<Self> {
        let mut wrong = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let Some(answer) = answer else { continue };
            let field = |field: &str| format!("{path}.answers[{index}].{field}");
            if answers.iter().take(index).flatten().any(|other| other.context == answer.context) {
                wrong.push((field("context"), format!("must not be {} again", answer.context.word())));
            }
            if answer.finding != Finding::DoesNotApply && answer.reasons.trim().is_empty() {
                wrong.push((field("reasons"), "must say why, unless the finding is DOES_NOT_APPLY".into()));
            }
        }
        let unanswered = |context: &&Defence| !answers.iter().flatten().any(|answer| answer.context == **context);
        let missing = Defence::ALL.iter().filter(unanswered).map(|context| context.word()).collect::<Vec<_>>();
        // Which context an answer was meant for that is none, nobody knows.
        let whole = answers.into_iter().collect::<Option<Vec<_>>>();
        if whole.is_some() && !missing.is_empty() {
            wrong.push((format!("{path}.answers"), format!("must answer {} too", missing.join(", "))));
        }
        let right = wrong.is_empty();
        for (field, description) in wrong {
            violations.add(field, description);
        }
        let mut answers = whole.filter(|_| right)?;
        answers.sort_by_key(|answer| answer.context);
        Some(Self(answers))
    }

    /// A check as it was recorded, when there may have been fewer contexts.
    pub const fn recorded(answers: Vec<Answer>) -> Self {
        Self(answers)
    }

    /// The answers, in the order of their contexts.
    pub fn answers(&self) -> &[Answer] {
        &self.0
    }

    /// Refuses content that the law protects.
    pub fn clear(&self, field: &str) -> Result<()> {
        let applies = self.0.iter().filter(|answer| answer.finding == Finding::Applies);
        let contexts = applies.map(|answer| answer.context.word()).collect::<Vec<_>>().join(",");
        if contexts.is_empty() {
            return Ok(());
        }
        let message = format!("the content is protected: {contexts}; the law exempts it, and it is not referred");
        Err(not_cleared(message, "APPLIES", &contexts).at(field, "must find nothing that applies"))
    }
}

/// The refusal of what nobody has looked at.
pub fn not_checked(field: &str) -> Error {
    let message = "nobody has looked whether the law protects the content; answer the protected-context check";
    not_cleared(message.into(), "NOT_CHECKED", "").at(field, "must be set")
}

fn not_cleared(message: String, finding: &str, contexts: &str) -> Error {
    Error::new(Reason::ProtectedContextNotCleared, message).with("finding", finding).with("contexts", contexts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(context: Defence, finding: Finding, reasons: &str) -> Answer {
        Answer { context, finding, reasons: reasons.into() }
    }

    fn whole(finding: Finding) -> Vec<Answer> {
        Defence::ALL.iter().rev().map(|context| answer(*context, finding, "Because.")).collect()
    }

    fn fields(answers: Vec<Answer>) -> Vec<String> {
        let mut violations = Violations::new();
        assert!(Check::new(answers.into_iter().map(Some).collect(), "check", &mut violations).is_none());
        let refused = violations.into_result().unwrap_err();
        refused.violations().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn every_context_is_answered_once_and_what_is_wrong_is_told_at_once() {
        let mut violations = Violations::new();
        let answers = whole(Finding::DoesNotApply).into_iter().map(Some).collect();
        let check = Check::new(answers, "check", &mut violations).unwrap();
        let contexts = check.answers().iter().map(|answer| answer.context).collect::<Vec<_>>();
        assert_eq!(contexts, Defence::ALL);
        assert_eq!(fields(Vec::new()), ["check.answers"]);
        let mut wrong = whole(Finding::Uncertain);
        wrong[2] = answer(Defence::NonChargingAsylumOrganisation, Finding::Applies, " ");
        wrong[3].reasons.clear();
        assert_eq!(
            fields(wrong),
            ["check.answers[2].context", "check.answers[2].reasons", "check.answers[3].reasons", "check.answers"]
        );
    }

    #[test]
    fn what_applies_is_not_sent_and_what_is_uncertain_is() {
        let check = |answers: Vec<Answer>| {
            Check::new(answers.into_iter().map(Some).collect(), "check", &mut Violations::new()).unwrap()
        };
        assert!(check(whole(Finding::DoesNotApply)).clear("check").is_ok());
        assert!(check(whole(Finding::Uncertain)).clear("check").is_ok());
        let mut answers = whole(Finding::Uncertain);
        answers[0].finding = Finding::Applies;
        answers[4].finding = Finding::Applies;
        let refused = check(answers).clear("check").unwrap_err();
        assert_eq!(refused.reason(), Reason::ProtectedContextNotCleared);
        let said = |key: &str| refused.metadata().iter().find(|(of, _)| *of == key).unwrap().1.clone();
        assert_eq!(
            (said("finding"), said("contexts")),
            ("APPLIES".into(), "JOURNALISM,NON_CHARGING_ASYLUM_ORGANISATION".into())
        );
    }
}
