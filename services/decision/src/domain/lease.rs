//! Who looks at a case: a lease, so that no two reviewers hold one case. What is leased comes to be under review, and stays so when the
//! lease is over.

use std::sync::Arc;

use portreeve_core::name::CaseName;
use portreeve_core::{Error, Reason, Result, Timestamp};

use super::ledger::{Step, changed, step};
use super::{Case, Event, State};

/// A reviewer's hold of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The member of the platform who holds it.
    pub holder: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if it is not given back before.
    pub until: Timestamp,
}

/// What is to be leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of these cases, or none.
    These(Vec<CaseName>),
    /// The first so many of these that are free.
    FirstOf(Vec<CaseName>, usize),
}

impl Wanted {
    /// The cases that come into question.
    pub fn cases(&self) -> &[CaseName] {
        match self {
            Self::These(cases) | Self::FirstOf(cases, _) => cases,
        }
    }
}

impl Case {
    /// The lease that is in force at an instant.
    pub fn leased(&self, now: Timestamp) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| now < lease.until && self.decision().is_none() && self.withdrawal.is_none())
    }

    /// Refuses a reviewer whom somebody else's lease keeps out. Nobody's name is somebody else.
    pub(super) fn held_by(&self, member: &str, now: Timestamp) -> Result<()> {
        match self.leased(now) {
            Some(lease) if lease.holder != member => Err(held(&self.name(), lease)),
            _ => Ok(()),
        }
    }
}

fn held(name: &CaseName, lease: &Lease) -> Error {
    let (holder, until) = (&lease.holder, lease.until);
    Error::new(Reason::CaseLeased, format!("{holder} holds {name} until {until}"))
        .with("name", name)
        .with("holder", holder)
        .with("until", until)
}

impl State {
    /// A reviewer takes cases, or keeps those that they hold for longer.
    pub(super) fn lease(&self, wanted: &Wanted, holder: &str, time: i64, now: Timestamp) -> Result<Vec<Event>> {
        let until = now.plus_micros(time);
        let mut events = Vec::new();
        match wanted {
            Wanted::These(names) => {
                let mut refused = None::<Error>;
                for (index, name) in names.iter().enumerate() {
                    match self.take(name, holder, until, now) {
                        Ok(event) => events.push(event),
                        // The first says why, and each is named.
                        Err(error) => {
                            let field = format!("names[{index}]");
                            let why = error.message().to_owned();
                            refused = Some(refused.unwrap_or(error).at(field, why));
                        }
                    }
                }
                if let Some(refused) = refused {
                    return Err(refused);
                }
            }
            Wanted::FirstOf(names, count) => {
                let free = |name: &&CaseName| self.case(name).is_ok_and(|case| case.leased(now).is_none());
                let taken = names.iter().filter(free).filter_map(|name| self.take(name, holder, until, now).ok());
                events.extend(taken.take(*count));
            }
        }
        Ok(events)
    }

    fn take(&self, name: &CaseName, holder: &str, until: Timestamp, now: Timestamp) -> Result<Event> {
        let case = self.case(name)?;
        step(case, Step::Review, "UNDER_REVIEW")?;
        case.held_by(holder, now)?;
        let since = case.leased(now).map_or(now, |lease| lease.since);
        let mut after = (**case).clone();
        after.lease = Some(Lease { holder: holder.to_owned(), since, until });
        after.review_began_at = case.review_began_at.or(Some(now.max(case.latest_record())));
        Ok(self.review_changed(case, after, now))
    }

    /// A reviewer gives cases back. What they do not hold is not theirs to give.
    pub(super) fn release(&self, names: &[CaseName], holder: &str, now: Timestamp) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for name in names {
            let case = self.case(name)?;
            if case.leased(now).is_some_and(|lease| lease.holder == holder) {
                let after = Case { lease: None, ..(**case).clone() };
                events.push(self.review_changed(case, after, now));
            }
        }
        Ok(events)
    }

    fn review_changed(&self, before: &Arc<Case>, after: Case, now: Timestamp) -> Event {
        Event::ReviewChanged(changed(before, after, now, self.referral_position, now))
    }
}
