//! A decision: versioned, and never changed once recorded.

use portreeve_core::{Timestamp, Violations};

use super::{Basis, Citation, Notification, Outcome, Redress, Restriction};

coded! {
    /// What a later version is to the one before it.
    Later {
        /// Changes the outcome or its reasons, without going back on it.
        Amended = 2 "AMENDED",
        /// Goes back on the decision before it.
        Reversed = 3 "REVERSED",
        /// Corrects a clerical mistake.
        Corrected = 4 "CORRECTED",
        /// Puts content back that was acted on (TCO art. 4(7)).
        Reinstated = 5 "REINSTATED",
    }
}

coded! {
    /// What brought a later version about.
    CauseKind {
        /// The agency challenged the decision.
        Challenge = 1 "CHALLENGE",
        /// The owner of the content complained.
        OwnerComplaint = 2 "OWNER_COMPLAINT",
        /// A court decided.
        Court = 3 "COURT",
        /// The authority of the home state scrutinised the order.
        Scrutiny = 4 "SCRUTINY",
        /// The platform thought again on its own motion.
        OwnMotion = 5 "OWN_MOTION",
        /// The clause changed.
        ClauseChange = 6 "CLAUSE_CHANGE",
        /// A clerical mistake was found.
        ClericalError = 7 "CLERICAL_ERROR",
    }
}

coded! {
    /// Who or what decided (DSA art. 17(3)(c)).
    Source {
        /// A person.
        Human = 1 "HUMAN",
        /// A person and an automated process together.
        PartiallyAutomated = 2 "PARTIALLY_AUTOMATED",
        /// An automated process alone.
        Automated = 3 "AUTOMATED",
    }
}

/// What brought a later version about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Which kind of thing.
    pub kind: CauseKind,
    /// Its reference, such as a court's file number; empty when it has none.
    pub reference: String,
}

/// What a version is to the one before. Only a later version has a cause, and none is without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first.
    Initial,
    /// A later one.
    Later(Later, Cause),
}

impl Kind {
    /// The number of INITIAL in the contract; the others are [`Later`]'s.
    pub const INITIAL: i32 = 1;

    /// The number in the contract and in storage.
    pub const fn code(&self) -> i32 {
        match self {
            Self::Initial => Self::INITIAL,
            Self::Later(later, _) => later.code(),
        }
    }

    /// The name in the contract.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Initial => "INITIAL",
            Self::Later(later, _) => later.as_str(),
        }
    }

    /// What brought it about.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Initial => None,
            Self::Later(_, cause) => Some(cause),
        }
    }

    /// The kind with its cause. Notes a cause that is missing or out of place, against its field after `prefix`.
    pub fn assemble(code: i32, cause: Option<Cause>, prefix: &str, violations: &mut Violations) -> Option<Self> {
        match (code, Later::from_code(code), cause) {
            (Self::INITIAL, _, None) => Some(Self::Initial),
            (Self::INITIAL, _, Some(_)) => {
                violations.add(format!("{prefix}cause"), "goes with later versions only");
                None
            }
            (_, Some(later), Some(cause)) => Some(Self::Later(later, cause)),
            (_, Some(later), None) => {
                violations.add(format!("{prefix}cause"), format_args!("is required with {}", later.as_str()));
                None
            }
            (_, None, _) => {
                violations.add(format!("{prefix}kind"), "must be a known kind");
                None
            }
        }
    }
}

/// What a decision says, apart from its number and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What it is to the version before.
    pub kind: Kind,
    /// What was decided, with its reasons.
    pub outcome: Outcome,
    /// On what it rests besides.
    pub also: Basis,
    /// Who or what decided.
    pub decided_by: Source,
    /// When it took effect on the content (TCO art. 3(6)).
    pub effective_at: Option<Timestamp>,
    /// The countries in which it has effect, as ISO 3166-1 alpha-2 codes; empty: everywhere.
    pub territorial_scope: Vec<String>,
    /// The reasons in words.
    pub explanation: String,
    /// The language in which the content was reviewed; empty when not known.
    pub language_reviewed: String,
    /// What whoever posted the content can do against it; empty when not said.
    pub redress: Vec<Redress>,
    /// Whether they are told; `None` when not said.
    pub notification: Option<Notification>,
}

impl Content {
    /// Notes what does not fit the outcome or the platform that decides, against its field after `prefix`.
    pub fn check(&self, platform: &str, prefix: &str, violations: &mut Violations) {
        if self.effective_at.is_some() && !self.outcome.acts() {
            violations.add(format!("{prefix}effective_at"), "goes with an outcome that acts only");
        }
        if self.outcome == Outcome::Restricted(Restriction::Geo) && self.territorial_scope.is_empty() {
            violations.add(format!("{prefix}territorial_scope"), "is required with a restriction by country");
        }
        for (index, citation) in self.clauses().enumerate() {
            if citation.clause.platform != platform {
                let field = format!("{prefix}clauses[{index}].clause");
                violations.add(field, format_args!("must be a clause of platforms/{platform}"));
            }
        }
    }

    /// Every clause cited, the decisive one first.
    pub fn clauses(&self) -> impl Iterator<Item = &Citation> {
        let cited = match &self.outcome {
            Outcome::ClosedTerms(cited)
            | Outcome::ClosedTermsAlsoIllegal(cited, _)
            | Outcome::NotViolating(cited)
            | Outcome::PermittedByPolicy(cited) => Some(cited.iter()),
            _ => None,
        };
        cited.into_iter().flatten().chain(&self.also.clauses)
    }
}

/// A decision as a platform sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionDraft {
    /// What it says.
    pub content: Content,
    /// When it was decided; `None` means now.
    pub decided_at: Option<Timestamp>,
}

impl DecisionDraft {
    /// Whether recording this would say again what a decision says.
    pub fn repeats(&self, decision: &Decision) -> bool {
        self.content == decision.content && self.decided_at.is_none_or(|at| at == decision.decided_at)
    }
}

/// One version of the decision on a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its number, from 1.
    pub version: u32,
    /// What it says.
    pub content: Content,
    /// When it was decided, by the platform's account.
    pub decided_at: Timestamp,
    /// When this service recorded it.
    pub recorded_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_version_has_a_cause_and_none_is_without() {
        let cause = || Some(Cause { kind: CauseKind::Court, reference: "EWHC 1".into() });
        let fields = |code, cause| {
            let mut violations = Violations::new();
            let kind = Kind::assemble(code, cause, "", &mut violations);
            let error = violations.into_result().err();
            (
                kind.map(|kind| kind.code()),
                error.map(|e| e.violations().iter().map(|v| v.field.clone()).collect::<Vec<_>>()),
            )
        };
        assert_eq!(fields(1, None), (Some(1), None));
        assert_eq!(fields(1, cause()), (None, Some(vec!["cause".into()])));
        for later in Later::ALL {
            assert_eq!(fields(later.code(), cause()), (Some(later.code()), None));
            assert_eq!(fields(later.code(), None), (None, Some(vec!["cause".into()])));
        }
        assert_eq!(fields(0, None), (None, Some(vec!["kind".into()])));
        assert_eq!(fields(9, cause()), (None, Some(vec!["kind".into()])));
    }
}
