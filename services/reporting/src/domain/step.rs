//! What the logs tell, as signed counts in cells.

use std::collections::BTreeMap;

use portreeve_core::Date;

use super::{Bucket, Cell, Citation, Clock, Disposition, Standing, Subject, Tally, Turn, TurnKind};

/// Where a case stood in the figures, as the decision log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The disposition.
    pub disposition: Disposition,
    /// The decisive clause of the decision that was the latest.
    pub clause: Citation,
}

/// One change that the figures take in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A referral was sent (the referral log).
    Referred {
        /// What it is.
        subject: Subject,
        /// When the referral service recorded it.
        recorded_on: Date,
    },
    /// A case moved (the decision log).
    Moved {
        /// What the referral is.
        subject: Subject,
        /// Where it stood.
        before: Place,
        /// Where it stands.
        after: Place,
        /// When the first decision was made, if one was.
        first_decided_on: Option<Date>,
        /// When the step became true, by the account of whoever made it.
        occurred_on: Date,
        /// When the step before it became true.
        previous_on: Date,
        /// When the decision service recorded the step.
        recorded_on: Date,
        /// When the referral service recorded the referral.
        referral_recorded_on: Date,
    },
}

impl Step {
    /// What recurrence takes of the step: that it closes the target, from the day on which that takes effect, or lets it go.
    pub fn turn(&self, effective_on: Date) -> Option<Turn> {
        let Self::Moved { before, after, .. } = self else { return None };
        let kind = match (before.disposition, after.disposition) {
            (_, Disposition::Closed) => TurnKind::Closed(effective_on),
            (Disposition::Closed, _) => TurnKind::Released,
            _ => return None,
        };
        let (occurred_on, recorded_on) = self.days();
        Some(Turn { kind, occurred_on, recorded_on })
    }

    /// The days on which the step became true and on which it was recorded, as the figures take them.
    ///
    /// The days of one referral's steps never run backwards, so that at any two days the steps that count are the first
    /// few, and every place holds it once or not at all. Two facts could break that, and are taken so that they do not:
    /// an agency may tell late that it withdrew before the platform acted (the withdrawal then counts from the day of
    /// the act, which nobody can undo), and the two services' clocks may differ.
    fn days(&self) -> (Date, Date) {
        match self {
            Self::Referred { subject, recorded_on } => (subject.cohort_day, *recorded_on),
            Self::Moved { subject, occurred_on, previous_on, recorded_on, referral_recorded_on, .. } => {
                (*occurred_on.max(previous_on).max(&subject.cohort_day), *recorded_on.max(referral_recorded_on))
            }
        }
    }

    /// Adds the step's signed counts.
    pub fn count(&self, deltas: &mut BTreeMap<Cell, Tally>) {
        let (event_day, recorded_day) = self.days();
        match self {
            Self::Referred { subject, .. } => {
                let cell = Cell { event_day, recorded_day, subject: subject.clone(), standing: Standing::submitted() };
                *deltas.entry(cell).or_default() += Tally { net: 1, entered: 1 };
            }
            Self::Moved { subject, before, after, first_decided_on, .. } => {
                let days_to = |day: Date| i64::from(day.days()) - i64::from(subject.cohort_day.days());
                let decided = Clock::Decided(days_to(first_decided_on.unwrap_or(event_day)));
                let was_decided = before.disposition.bucket() != Bucket::Undecided;
                let clock_before = if was_decided { decided } else { Clock::Running };
                let clock_after = match after.disposition {
                    Disposition::Submitted | Disposition::Received => Clock::Running,
                    Disposition::Withdrawn if !was_decided => Clock::Withdrawn(days_to(event_day)),
                    _ => decided,
                };
                let entered = i64::from(before.disposition.bucket() != after.disposition.bucket());
                let (left, came) = (Tally { net: -1, entered: 0 }, Tally { net: 1, entered });
                for (place, clock, tally) in [(before, clock_before, left), (after, clock_after, came)] {
                    let Place { disposition, clause } = place.clone();
                    let standing = Standing { disposition, clause, clock };
                    let cell = Cell { subject: subject.clone(), standing, event_day, recorded_day };
                    *deltas.entry(cell).or_default() += tally;
                }
            }
        }
    }
}
