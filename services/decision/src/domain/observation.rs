//! What agencies see of the target after a decision, and where that does not agree with what was decided.

use portreeve_core::vocabulary::{ObservationFinding, ObservationMethod};
use portreeve_core::{Timestamp, limits};

use super::{Case, Outcome, Progress, Target};

/// The latest look at the target of a case, as the referral log told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its name, which begins with the referral's.
    pub name: String,
    /// What was found.
    pub finding: ObservationFinding,
    /// How it was looked at.
    pub method: ObservationMethod,
    /// The country from which it was looked at; empty when not known.
    pub country: String,
    /// When it was looked at, by the agency's account.
    pub observed_at: Timestamp,
    /// When the referral service recorded it.
    pub recorded_at: Timestamp,
    /// The SHA-256 of what was kept of it; empty when nothing was.
    pub evidence: String,
    /// As what the content is there again.
    pub reappeared: Option<Reappearance>,
}

/// The content as another target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reappearance {
    /// The target.
    pub target: Target,
    /// The agency's referral of it; empty when there is none.
    pub referral: String,
}

coded! {
    /// Where what is seen does not agree with what was decided.
    Discrepancy {
        /// The decision says that the content is closed, and it is there a day after that took effect.
        ClosedButLive = 1 "CLOSED_BUT_LIVE",
        /// The decision leaves the content up, and it is gone: whoever posted it may have removed it.
        NoActionButGone = 2 "NO_ACTION_BUT_GONE",
    }
}

impl Case {
    /// Where what was seen last does not agree with the decision in force. An observation from before the decision, or from the
    /// day in which it takes effect, says nothing of it.
    pub fn discrepancy(&self) -> Option<Discrepancy> {
        let (Progress::Decided { latest, .. }, None) = (&self.progress, &self.withdrawal) else { return None };
        let seen = self.observation.as_ref()?;
        let content = &latest.content;
        let scope = &content.territorial_scope;
        match (&content.outcome, seen.finding) {
            (outcome, ObservationFinding::Live) if closes(outcome, seen.observed_at) => {
                let from = content.effective_at.unwrap_or(latest.decided_at);
                let over = seen.observed_at >= from.plus_micros(limits::OBSERVATION_GRACE_MICROS);
                let covered = scope.is_empty() || scope.contains(&seen.country);
                (over && covered).then_some(Discrepancy::ClosedButLive)
            }
            (outcome, ObservationFinding::Gone) if !outcome.acts() && !matches!(outcome, Outcome::AlreadyGone(_)) => {
                (seen.observed_at >= latest.decided_at).then_some(Discrepancy::NoActionButGone)
            }
            _ => None,
        }
    }
}

/// Whether an outcome takes the target as a whole down at an instant. What it leaves up in part, or to some, may be seen.
fn closes(outcome: &Outcome, at: Timestamp) -> bool {
    match outcome {
        Outcome::ClosedIllegal(_)
        | Outcome::ClosedTerms(_)
        | Outcome::ClosedTermsAlsoIllegal(..)
        | Outcome::TerminatedAccount => true,
        Outcome::SuspendedUntil(until) => at < *until,
        _ => false,
    }
}
