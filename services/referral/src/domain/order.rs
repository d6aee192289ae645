//! What an order says beyond what every referral says (TCO art. 3(4); DSA art. 9(2)).

use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::{Nature, OrderRegime};
use portreeve_core::{Error, Reason, Result, Timestamp, Violations, limits};

use super::ledger::no_referral;
use super::{NewReferral, NonDisclosure, State};

/// The terms of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Under which law it is issued.
    pub regime: OrderRegime,
    /// The authority that issued it.
    pub issuing_authority: String,
    /// Within what time of its receipt it is to be carried out, in microseconds; `None` if it does not say.
    pub act_within: Option<i64>,
    /// How it can be contested.
    pub redress: String,
    /// The countries in which it has effect; empty: in all of the Union.
    pub territorial_scope: Vec<String>,
    /// Who is to be told of its effect; empty for the agency.
    pub feedback_to: String,
    /// Why it cannot wait for the pre-notice; empty if it can. Erased with the agency's reasons.
    pub emergency: String,
    /// Until when whoever posted the content must not be told.
    pub non_disclosure_until: Option<Timestamp>,
    /// The referral that is escalated with it.
    pub escalates: Option<ReferralName>,
    /// What became of the non-disclosure after it was sent.
    pub non_disclosure: Option<NonDisclosure>,
}

impl Order {
    /// Notes under `path` what the law does not allow; `sent_at` is when it is sent.
    pub fn check(&self, nature: Nature, sent_at: Timestamp, path: &str, violations: &mut Violations) {
        if nature != Nature::Order {
            violations.add(path, "goes with the nature ORDER only");
        }
        let of_tco = self.regime == OrderRegime::Tco;
        match self.act_within {
            Some(time) if of_tco && time != limits::TCO_ORDER_MICROS => {
                violations.add(format!("{path}.act_within"), "must be one hour, or unset (TCO art. 3(3))");
            }
            Some(time) if !(limits::RESPONSE_MICROS_MIN..=limits::RESPONSE_MICROS_MAX).contains(&time) => {
                violations.add(format!("{path}.act_within"), "must be a minute to 365 days");
            }
            _ => {}
        }
        match (of_tco, self.territorial_scope.is_empty()) {
            (true, false) => {
                violations.add(
                    format!("{path}.territorial_scope"),
                    "must be empty: a TCO order has effect in all of the Union",
                );
            }
            (false, true) => {
                violations.add(format!("{path}.territorial_scope"), "must name the countries in which it has effect");
            }
            _ => {}
        }
        if !of_tco && !self.emergency.is_empty() {
            violations.add(format!("{path}.emergency"), "goes with TCO orders only: no other has a pre-notice");
        }
        let latest = sent_at.plus_micros(limits::NON_DISCLOSURE_MICROS + limits::CLOCK_SKEW_MICROS);
        if self.non_disclosure_until.is_some_and(|until| until <= sent_at || until > latest) {
            let field = format!("{path}.non_disclosure_until");
            violations.add(field, format_args!("must be after {sent_at}, by six weeks at most (TCO art. 11(3))"));
        }
    }
}

impl State {
    /// Refuses an order that the law does not allow when it is sent, which a draft may not have been when it was written, or that
    /// escalates what is not there or was referred elsewhere.
    pub(super) fn check_order(&self, draft: &NewReferral, field: &impl Fn() -> String, now: Timestamp) -> Result<()> {
        let said = &draft.said;
        let Some(order) = &said.order else { return Ok(()) };
        let path = format!("{}.order", field());
        let mut violations = Violations::new();
        order.check(said.nature, draft.occurred_at.unwrap_or(now), &path, &mut violations);
        violations.into_result()?;
        let Some(name) = &order.escalates else { return Ok(()) };
        let old =
            self.referral(name).ok_or_else(|| no_referral(name).at(format!("{path}.escalates"), "is not there"))?;
        if old.platform != said.platform {
            let message = format!("{name} was referred to platforms/{}, and is not escalated elsewhere", old.platform);
            return Err(Error::new(Reason::RequestInvalid, message)
                .at(format!("{path}.escalates"), "must be a referral to the same platform"));
        }
        Ok(())
    }
}
