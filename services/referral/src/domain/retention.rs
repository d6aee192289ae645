//! For how long what is about people is kept, and its erasure.

use std::collections::BTreeMap;
use std::sync::Arc;

use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::name::{OrganisationKind, ReferralName};
use portreeve_core::time::DAY_MICROS;
use portreeve_core::vocabulary::{EraseCause, FieldGroup, RetentionClass};
use portreeve_core::{Error, Reason, Result, Timestamp};

use super::NonDisclosure;
use super::ledger::{Event, State, no_referral};
use super::referral::{Referral, Standing};

/// For how long a group is kept, and how far what is past its time was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// For how long; `None` to keep it until it is erased by request.
    pub class: Option<RetentionClass>,
    /// The position of the last referral that was erased since its time was over: what came before it needs no second look.
    pub swept: i64,
}

/// For how long an agency's referrals are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The agency.
    pub agency: String,
    /// A rule for each group that has one, or had one.
    pub rules: BTreeMap<FieldGroup, Rule>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The position of the last event that changed it; 0 while there is none. Its etag.
    pub updated: i64,
}

impl RetentionPolicy {
    /// The groups that have a rule, with it.
    pub fn classes(&self) -> impl Iterator<Item = (FieldGroup, RetentionClass)> {
        self.rules.iter().filter_map(|(group, rule)| Some((*group, rule.class?)))
    }

    /// Up to when a referral must have been recorded for the group's time to be over.
    pub fn over_until(class: RetentionClass, now: Timestamp) -> Timestamp {
        now.plus_micros(-class.days() * DAY_MICROS)
    }
}

impl Referral {
    /// Whether the group was erased.
    pub fn is_erased(&self, group: FieldGroup) -> bool {
        self.erasures.iter().any(|erasure| erasure.group == group)
    }

    /// The referral without some groups of fields.
    #[must_use]
    pub fn without(&self, erasures: Vec<Erasure>) -> Self {
        let mut left = self.clone();
        let said = Arc::make_mut(&mut left.said);
        for erasure in &erasures {
            match erasure.group {
                FieldGroup::Target => {
                    said.target.erase();
                    said.signature = None;
                    said.evidence.clear();
                    left.exhibits.clear();
                }
                FieldGroup::Reasons => {
                    said.statement.clear();
                    said.protected_context = None;
                    said.priority.iter_mut().for_each(|priority| priority.explanation.clear());
                    if let Some(order) = &mut said.order {
                        order.emergency.clear();
                        order.feedback_to.clear();
                        order.non_disclosure.iter_mut().for_each(NonDisclosure::clear_words);
                    }
                    if let Standing::Withdrawn { reason, .. } = &mut left.standing {
                        reason.clear();
                    }
                }
                FieldGroup::Grade => {
                    said.handling.source_grade = None;
                    said.handling.assessment = None;
                    // That there are conditions still counts; what they are is gone.
                    said.handling.conditions.iter_mut().for_each(String::clear);
                }
                FieldGroup::LegalBasis | FieldGroup::Decision | FieldGroup::Figures => {}
            }
        }
        left.erasures.extend(erasures);
        left.erasures.sort_by_key(|erasure| erasure.group);
        left
    }
}

impl State {
    pub(super) fn set_retention(
        &self,
        agency: &str,
        classes: &BTreeMap<FieldGroup, RetentionClass>,
        etag: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        self.organisation(OrganisationKind::Agency, agency)?;
        let new = || RetentionPolicy { agency: agency.to_owned(), ..RetentionPolicy::default() };
        let mut policy = self.retention.get(agency).cloned().unwrap_or_else(new);
        if let Some(etag) = etag.filter(|etag| *etag != policy.updated) {
            let message = format!("the retention policy of agencies/{agency} has changed since it was read");
            return Err(Error::new(Reason::StaleVersion, message)
                .with("name", format!("agencies/{agency}/retentionPolicy"))
                .with("expected", etag)
                .with("actual", policy.updated));
        }
        if policy.classes().eq(classes.iter().map(|(group, class)| (*group, *class))) {
            return Ok(Vec::new());
        }
        policy.rules.values_mut().for_each(|rule| rule.class = None);
        for (group, class) in classes {
            policy.rules.entry(*group).or_default().class = Some(*class);
        }
        Ok(vec![Event::RetentionChanged(RetentionPolicy { updated_at: now, ..policy })])
    }

    pub(super) fn erase(
        &self,
        name: &ReferralName,
        groups: &[FieldGroup],
        reason: &str,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let referral = self.referral(name).ok_or_else(|| no_referral(name))?;
        let left = groups.iter().copied().filter(|group| !referral.is_erased(*group));
        let erasure = |group| Erasure { group, at: now, cause: EraseCause::Request.code(), reason: reason.to_owned() };
        let erasures = left.map(erasure).collect::<Vec<_>>();
        if erasures.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_sealed(name.id) {
            let message = format!(
                "{name} was recorded by a release that did not encrypt what can be erased; it would stay in the log"
            );
            return Err(Error::new(Reason::NotSealed, message).with("name", name));
        }
        Ok(self.with_evidence(vec![referral.without(erasures)], now))
    }

    /// Erases what is past its time, by the agency's policy as it is now.
    pub(super) fn expire(&self, agency: &str, ids: &[Uuid], now: Timestamp) -> Vec<Event> {
        let Some(policy) = self.retention.get(agency) else { return Vec::new() };
        let known = ids.iter().filter_map(|id| self.referrals.get(id));
        let own = known.filter(|referral| referral.name.agency == agency && self.is_sealed(referral.name.id));
        let erased = own.filter_map(|referral| {
            let over = policy.classes().filter(|(group, class)| {
                !referral.is_erased(*group) && referral.recorded_at <= RetentionPolicy::over_until(*class, now)
            });
            let erasure =
                |(group, _)| Erasure { group, at: now, cause: EraseCause::Retention.code(), reason: String::new() };
            let erasures = over.map(erasure).collect::<Vec<_>>();
            (!erasures.is_empty()).then(|| referral.without(erasures))
        });
        self.with_evidence(erased.collect(), now)
    }

    /// Whether what can be erased of a referral lies encrypted in the log.
    fn is_sealed(&self, id: Uuid) -> bool {
        self.sealed.contains(&id) || self.changes.created.iter().any(|fresh| fresh.name.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_over_to_the_microsecond() {
        let recorded = Timestamp::from_micros(1_772_355_600_000_000);
        for (class, days) in [(RetentionClass::OneDay, 1), (RetentionClass::OneYear, 365)] {
            let end = recorded.plus_micros(days * DAY_MICROS);
            assert!(recorded <= RetentionPolicy::over_until(class, end));
            assert!(recorded > RetentionPolicy::over_until(class, end.plus_micros(-1)));
        }
    }
}
