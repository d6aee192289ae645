//! What the logs tell, as signed counts in cells.

use std::collections::BTreeMap;

use portreeve_core::Date;

use super::{Bucket, Cell, Citation, Clock, Disposition, Standing, Subject};

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
    /// Adds the step's signed counts.
    ///
    /// The days of one referral's steps never run backwards, so that at any two days the steps that count are the first
    /// few, and every place holds it once or not at all. Two facts could break that, and are taken so that they do not:
    /// an agency may tell late that it withdrew before the platform acted (the withdrawal then counts from the day of
    /// the act, which nobody can undo), and the two services' clocks may differ.
    pub fn count(&self, deltas: &mut BTreeMap<Cell, i64>) {
        match self {
            Self::Referred { subject, recorded_on } => {
                let cell = Cell {
                    event_day: subject.cohort_day,
                    recorded_day: *recorded_on,
                    subject: subject.clone(),
                    standing: Standing::submitted(),
                };
                *deltas.entry(cell).or_default() += 1;
            }
            Self::Moved {
                subject,
                before,
                after,
                first_decided_on,
                occurred_on,
                previous_on,
                recorded_on,
                referral_recorded_on,
            } => {
                let event_day = *occurred_on.max(previous_on).max(&subject.cohort_day);
                let recorded_day = *recorded_on.max(referral_recorded_on);
                let days_to = |day: Date| i64::from(day.days()) - i64::from(subject.cohort_day.days());
                let decided = Clock::Decided(days_to(first_decided_on.unwrap_or(event_day)));
                let was_decided = before.disposition.bucket() != Bucket::Undecided;
                let clock_before = if was_decided { decided } else { Clock::Running };
                let clock_after = match after.disposition {
                    Disposition::Submitted | Disposition::Received => Clock::Running,
                    Disposition::Withdrawn if !was_decided => Clock::Withdrawn(days_to(event_day)),
                    _ => decided,
                };
                for (place, clock, sign) in [(before, clock_before, -1), (after, clock_after, 1)] {
                    let Place { disposition, clause } = place.clone();
                    let standing = Standing { disposition, clause, clock };
                    let cell = Cell { subject: subject.clone(), standing, event_day, recorded_day };
                    *deltas.entry(cell).or_default() += sign;
                }
            }
        }
    }
}
