//! What becomes of an order's non-disclosure (TCO art. 11(3)): extended once, by six weeks at most, or lifted.

use std::sync::Arc;

use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::FieldGroup;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::ledger::{Event, no_referral};
use super::{Standing, State};

/// What was done, when, and why. The reason is erased with the agency's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What became of the non-disclosure of an order after it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NonDisclosure {
    /// That it was extended, and until when.
    pub extended: Option<(Timestamp, Act)>,
    /// That it was lifted.
    pub lifted: Option<Act>,
}

impl NonDisclosure {
    /// Until when whoever posted the content must not be told, of an order that said `said`.
    pub fn until(&self, said: Timestamp) -> Timestamp {
        let extended = self.extended.as_ref().map(|(until, _)| *until);
        self.lifted.as_ref().map(|act| act.at).or(extended).unwrap_or(said)
    }

    /// What had become of it before a moment; `None` for nothing.
    pub fn as_before(&self, moment: Timestamp) -> Option<Self> {
        let then = Self {
            extended: self.extended.clone().filter(|(_, act)| act.at < moment),
            lifted: self.lifted.clone().filter(|act| act.at < moment),
        };
        (then != Self::default()).then_some(then)
    }

    /// Takes out why it was changed.
    pub fn clear_words(&mut self) {
        let extended = self.extended.iter_mut().map(|(_, act)| act);
        extended.chain(&mut self.lifted).for_each(|act| act.reason.clear());
    }
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ends later.
    Extend {
        /// When.
        until: Timestamp,
    },
    /// It ends now.
    Lift,
}

impl State {
    /// Extends or lifts the non-disclosure of an order.
    pub(super) fn change_non_disclosure(
        &self,
        name: &ReferralName,
        change: &Change,
        reason: &str,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let referral = self.referral(name).ok_or_else(|| no_referral(name))?;
        let to = match change {
            Change::Extend { .. } => "EXTENDED",
            Change::Lift => "LIFTED",
        };
        let impossible = |from: &str, what: &str| {
            Error::new(Reason::InvalidTransition, format!("{name} {what}"))
                .with("name", name)
                .with("from", from)
                .with("to", to)
        };
        let order = referral.order.as_ref();
        let said = order.and_then(|order| order.non_disclosure_until);
        let said = said.ok_or_else(|| impossible("NONE", "is no order with non-disclosure"))?;
        let known = order.and_then(|order| order.non_disclosure.clone()).unwrap_or_default();
        let ends = known.until(said);
        let erased = referral.is_erased(FieldGroup::Reasons);
        let repeats = |act: &Act| erased || act.reason == reason;
        // Said again with the same content, it is done already.
        let done = match change {
            Change::Extend { until } => {
                known.extended.as_ref().is_some_and(|(before, act)| repeats(act) && before == until)
            }
            Change::Lift => known.lifted.as_ref().is_some_and(repeats),
        };
        if done {
            return Ok(Vec::new());
        }
        if matches!(referral.standing, Standing::Withdrawn { .. }) {
            return Err(impossible("WITHDRAWN", "was withdrawn, and its non-disclosure with it"));
        }
        if known.lifted.is_some() {
            return Err(impossible("LIFTED", "has no non-disclosure any more: it was lifted"));
        }
        if ends <= now {
            return Err(impossible("ENDED", &format!("had non-disclosure until {ends}")));
        }
        let reason = if erased { String::new() } else { reason.to_owned() };
        let act = Act { at: now, reason };
        let changed = match change {
            Change::Extend { .. } if known.extended.is_some() => {
                let message = format!("the non-disclosure of {name} was extended before, and ends at {ends}");
                return Err(Error::new(Reason::NonDisclosureExtended, message).with("name", name).with("until", ends));
            }
            Change::Extend { until } => {
                let latest = ends.plus_micros(limits::NON_DISCLOSURE_MICROS);
                if *until <= ends || *until > latest {
                    let what = format!("must be after its present end, {ends}, by six weeks at most (TCO art. 11(3))");
                    return Err(Error::new(Reason::RequestInvalid, "the non-disclosure cannot be extended so")
                        .at("until", what));
                }
                NonDisclosure { extended: Some((*until, act)), ..known }
            }
            Change::Lift => NonDisclosure { lifted: Some(act), ..known },
        };
        let mut referral = referral.clone();
        if let Some(order) = &mut Arc::make_mut(&mut referral.said).order {
            order.non_disclosure = Some(changed);
        }
        Ok(vec![Event::NonDisclosureChanged { referral: Box::new(referral), at: now }])
    }
}
