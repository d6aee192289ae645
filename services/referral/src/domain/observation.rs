//! Observations: is the target of a referral still there? Facts of the agency's own, which say nothing of what the platform
//! decided.

use std::sync::Arc;

use portreeve_core::erasure::Erasure;
use portreeve_core::name::{ObservationName, ReferralName};
use portreeve_core::vocabulary::{FieldGroup, ObservationFinding, ObservationMethod};
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::ledger::{Event, State, no_referral};
use super::target::Target;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What.
    pub finding: ObservationFinding,
    /// How it was looked at.
    pub method: ObservationMethod,
    /// The country from which it was looked at (ISO 3166-1 alpha-2); empty when not known.
    pub country: String,
    /// The SHA-256 of what was kept of it, in hexadecimal digits; empty when nothing was.
    pub evidence: String,
    /// As what the content is there again.
    pub reappeared: Option<Reappearance>,
}

/// The content as another target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reappearance {
    /// The target.
    pub target: Target,
    /// The agency's referral of it, if there is one.
    pub referral: Option<ReferralName>,
}

/// A look at the target of a referral. Never changes, but by an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its name, which begins with the referral's.
    pub name: ObservationName,
    /// What was found.
    pub observed: Arc<Observed>,
    /// When it was looked at, by the agency's account.
    pub observed_at: Timestamp,
    /// When the server recorded it.
    pub recorded_at: Timestamp,
    /// The position of the event that recorded it.
    pub created: i64,
}

impl Observation {
    /// What is left of it once groups of its referral's fields were erased.
    #[must_use]
    pub fn without(&self, erasures: &[Erasure]) -> Self {
        let mut left = self.clone();
        if erasures.iter().any(|erasure| erasure.group == FieldGroup::Target)
            && let Some(Reappearance { target, referral }) = &self.observed.reappeared
        {
            let reappeared = Some(Reappearance { target: target.placeless(), referral: referral.clone() });
            left.observed = Arc::new(Observed { reappeared, ..(*self.observed).clone() });
        }
        left
    }
}

impl State {
    /// Records an observation of a referral, whether or not the agency has taken that back: the content may still be there.
    pub(super) fn observe(
        &self,
        name: &ObservationName,
        observed: &Arc<Observed>,
        observed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let referral = self.referral(&name.referral).ok_or_else(|| no_referral(&name.referral))?;
        let count = self.observed.get(&name.referral.id).copied().unwrap_or_default();
        if count >= limits::REFERRAL_OBSERVATIONS_MAX {
            let message = format!("{} has {count} observations, which is the most that it can have", name.referral);
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "observations")
                .with("maximum", limits::REFERRAL_OBSERVATIONS_MAX)
                .with("actual", count + 1));
        }
        let observed_at = observed_at.unwrap_or(now).min(now);
        if observed_at < referral.occurred_at {
            return Err(Error::new(Reason::RequestInvalid, "what is observed of a referral comes after it").at(
                "observation.observed_at",
                format!("must not be before the referral's own {}", referral.occurred_at),
            ));
        }
        let again = observed.reappeared.as_ref().and_then(|reappeared| reappeared.referral.as_ref());
        if let Some(again) = again.filter(|again| self.referral(again).is_none()) {
            return Err(no_referral(again).at("observation.reappeared_referral", "must be a referral of the agency"));
        }
        // Where a target is that was referred, its own referral says, and its erasure takes away.
        let mut observed = Arc::clone(observed);
        if again.is_some()
            && let Some(reappeared) = &mut Arc::make_mut(&mut observed).reappeared
        {
            reappeared.target.erase();
        }
        let observation = Observation { name: name.clone(), observed, observed_at, recorded_at: now, created: 0 };
        // What was erased of the referral does not come back with what it became.
        Ok(vec![Event::Observed(Box::new(observation.without(&referral.erasures)))])
    }
}
