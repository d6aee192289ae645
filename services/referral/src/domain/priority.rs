//! How urgent an agency holds a referral to be, and why.

use std::sync::Arc;

use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::{FieldGroup, PriorityLevel};
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::ledger::{Event, no_referral};
use super::{Standing, State};

/// How urgent a referral is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priority {
    /// What harm the content does.
    pub harm: PriorityLevel,
    /// How likely that is.
    pub likelihood: PriorityLevel,
    /// How sure the agency is of both.
    pub confidence: PriorityLevel,
    /// Why. Erased with the agency's reasons.
    pub explanation: String,
    /// Whether somebody's life is in imminent danger.
    pub threat_to_life: bool,
    /// How often it was changed since the referral was sent.
    pub version: u32,
    /// When it was last changed; `None` while it is as it was sent.
    pub changed_at: Option<Timestamp>,
}

impl Priority {
    /// Harm times likelihood times confidence: 1 to 64.
    pub fn score(&self) -> u32 {
        [self.harm, self.likelihood, self.confidence].map(PriorityLevel::weight).into_iter().product()
    }
}

impl State {
    /// Says anew how urgent a referral is.
    pub(super) fn prioritise(
        &self,
        name: &ReferralName,
        priority: &Priority,
        expected_version: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let referral = self.referral(name).ok_or_else(|| no_referral(name))?;
        let version = referral.priority.as_ref().map_or(0, |known| known.version);
        let changed_at = referral.priority.as_ref().and_then(|known| known.changed_at);
        let same = Priority { version, changed_at, ..priority.clone() };
        if referral.priority.as_ref() == Some(&same) {
            return Ok(Vec::new());
        }
        let from = match &referral.standing {
            Standing::Withdrawn { .. } => Some("WITHDRAWN"),
            // Reasons that were erased do not come back with another.
            Standing::Submitted if referral.is_erased(FieldGroup::Reasons) => Some("ERASED"),
            Standing::Submitted => None,
        };
        if let Some(from) = from {
            return Err(Error::new(
                Reason::InvalidTransition,
                format!("{name} is {from}, and has no other priority any more"),
            )
            .with("name", name)
            .with("from", from)
            .with("to", "PRIORITISED"));
        }
        if let Some(expected) = expected_version.filter(|expected| *expected != version) {
            let message = format!("the priority of {name} has the version {version} and not {expected}; read it again");
            return Err(Error::new(Reason::StaleVersion, message)
                .with("name", name)
                .with("expected", expected)
                .with("actual", version));
        }
        if version >= limits::REFERRAL_PRIORITIES_MAX {
            let message = format!("the priority of {name} was changed {version} times, which is the most");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "priorities")
                .with("maximum", limits::REFERRAL_PRIORITIES_MAX)
                .with("actual", version + 1));
        }
        let mut referral = referral.clone();
        Arc::make_mut(&mut referral.said).priority =
            Some(Priority { version: version + 1, changed_at: Some(now), ..priority.clone() });
        Ok(vec![Event::Prioritised { referral: Box::new(referral), at: now }])
    }
}
