//! What agencies see of the target after a decision, and where that does not agree with what was decided.

use portreeve_core::vocabulary::{ObservationFinding, ObservationMethod};
use portreeve_core::{Timestamp, limits};

use super::{Case, Outcome, Progress};

/// A look at the target of a case, as the referral log told it. Where the content is again is another target, which others than
/// those who see this case may see: it stays with the agency.
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
}

impl Observation {
    /// Whether it tells if the target itself is there. What was behind a wall, or is there again elsewhere, does not.
    pub const fn is_conclusive(&self) -> bool {
        matches!(self.finding, ObservationFinding::Live | ObservationFinding::Gone)
    }
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
    /// Where what was seen last of the target itself does not agree with the decision in force. An observation from before the
    /// decision, or from the day in which it takes effect, says nothing of it.
    pub fn discrepancy(&self) -> Option<Discrepancy> {
        let (Progress::Decided { latest, .. }, None) = (&self.progress, &self.withdrawal) else { return None };
        let seen = self.sighting.as_ref()?;
        let content = &latest.content;
        let scope = &content.territorial_scope;
        match (&content.outcome, seen.finding) {
            (outcome, ObservationFinding::Live) if closes(outcome, seen.observed_at) => {
                let from = content.effective_at.unwrap_or(latest.decided_at);
                let over = seen.observed_at >= from.plus_micros(limits::OBSERVATION_GRACE_MICROS);
                let covered = scope.is_empty() || scope.contains(&seen.country);
                (over && covered).then_some(Discrepancy::ClosedButLive)
            }
            (outcome, ObservationFinding::Gone) if leaves_up(outcome) => {
                (seen.observed_at >= latest.decided_at).then_some(Discrepancy::NoActionButGone)
            }
            _ => None,
        }
    }
}

/// Whether an outcome leaves the content up by the platform's choice.
fn leaves_up(outcome: &Outcome) -> bool {
    !outcome.acts() && !matches!(outcome, Outcome::AlreadyGone(_) | Outcome::Duplicate(_) | Outcome::NotOurService)
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
