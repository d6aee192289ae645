//! Holds: a referral that hits another agency's interest waits until that agency releases it, the hold runs out, or a second
//! approver overrides it for a reason. No interest is a veto for ever.

use std::sync::Arc;

use portreeve_core::interest::MatchingKey;
use portreeve_core::name::{DraftName, HoldName, InterestName};
use portreeve_core::{Error, Reason, Result, Timestamp, Uuid, limits};

use super::draft::{Authorisation, Draft, DraftStanding, no_draft};
use super::interest::foremost;
use super::ledger::{Event, State};
use super::referral::{NewReferral, Said};

/// Where a hold stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldStanding {
    /// The referral waits.
    Held,
    /// The agency whose interest it was let it go.
    Released {
        /// When.
        at: Timestamp,
    },
    /// Its time was over.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The referring agency sent it all the same.
    Overridden {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// The referring agency gave its referral up.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
}

impl HoldStanding {
    /// The state's name in the contract.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Released { .. } => "RELEASED",
            Self::Expired { .. } => "EXPIRED",
            Self::Overridden { .. } => "OVERRIDDEN",
            Self::Withdrawn { .. } => "WITHDRAWN",
        }
    }
}

/// That a referral is held by an interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name: of the referring agency's draft.
    pub name: HoldName,
    /// The interest that it hit.
    pub interest: InterestName,
    /// Whom the referring agency is told to speak to.
    pub contact: String,
    /// Since when.
    pub held_at: Timestamp,
    /// When it is over by itself.
    pub ends_at: Timestamp,
    /// How often it was renewed.
    pub renewals: u32,
    /// Where it stands.
    pub standing: HoldStanding,
    /// The position of the event that recorded it.
    pub created: i64,
    /// The position of the last event that changed it. Its etag.
    pub updated: i64,
}

impl Hold {
    /// Whether the referral waits for it at a moment.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.standing == HoldStanding::Held && now < self.ends_at
    }

    /// When it came to be as it is; when it began, if it was only renewed.
    pub fn changed_at(&self) -> Timestamp {
        match &self.standing {
            HoldStanding::Held => self.held_at,
            HoldStanding::Released { at }
            | HoldStanding::Expired { at }
            | HoldStanding::Overridden { at, .. }
            | HoldStanding::Withdrawn { at } => *at,
        }
    }

    fn impossible(&self, to: &str, now: Timestamp) -> Error {
        let from =
            if self.standing == HoldStanding::Held && now >= self.ends_at { "EXPIRED" } else { self.standing.name() };
        Error::new(Reason::InvalidTransition, format!("{} is {from}, and cannot become {to}", self.name))
            .with("name", &self.name)
            .with("from", from)
            .with("to", to)
    }
}

/// The refusal of a name that is no hold's.
pub fn no_hold(name: &HoldName) -> Error {
    Error::new(Reason::HoldNotFound, format!("there is no {name}")).with("name", name)
}

/// What is held and is to be looked at: with what was found in it, from which follows what else has to be known.
#[derive(Clone, Debug)]
pub struct Clearing {
    /// The draft.
    pub name: DraftName,
    /// What was found there; `None` if nothing was.
    pub found: Option<Arc<Said>>,
}

/// That a held referral is sent all the same.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which.
    pub of: Clearing,
    /// Who decides so.
    pub approver: String,
    /// Why.
    pub reason: String,
}

impl State {
    /// The interests that a referral hits. What occurred before an interest was registered, and is told as history, disturbs
    /// nothing any more.
    pub(super) fn hits(
        &self,
        said: &Said,
        key: Option<&MatchingKey>,
        happened: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<&super::Interest> {
        let Some(key) = key else { return Vec::new() };
        let tags = self.tags(key, &said.platform, &said.target.location);
        // Whoever takes part in an operation has agreed to what is referred in it.
        let operation = said.operation.as_ref().and_then(|name| self.operations.get(&name.id));
        let agreed = |agency: &str| operation.is_some_and(|operation| operation.has_part(agency));
        let mut hits = tags
            .iter()
            .filter_map(|tag| self.interests_in.get(tag))
            .flatten()
            .filter_map(|id| self.interests.get(id))
            .filter(|known| known.platform == said.platform && known.counts(now) && known.holds(said))
            .filter(|known| !agreed(&known.name.agency))
            .filter(|known| happened.is_none_or(|at| at >= known.created_at))
            .collect::<Vec<_>>();
        foremost(&mut hits);
        hits
    }

    /// What is recorded instead of sending: the draft that waits, and each hold.
    pub(super) fn hold(draft: Draft, hits: &[&super::Interest], now: Timestamp) -> (Event, Vec<Event>) {
        let holds = hits.iter().map(|hit| {
            let longest = now.plus_micros(limits::HOLD_MICROS);
            Event::HoldChanged(Box::new(Hold {
                name: HoldName { draft: draft.name.clone(), id: hold_id(&draft.name, hit.name.id) },
                interest: hit.name.clone(),
                contact: hit.contact.clone(),
                held_at: now,
                ends_at: longest.min(hit.expires_at),
                renewals: 0,
                standing: HoldStanding::Held,
                created: 0,
                updated: 0,
            }))
        });
        let holds = holds.collect();
        (Event::DraftChanged(Box::new(draft)), holds)
    }

    /// A hold that an agency may do something about: of its own interest.
    fn hold_of(&self, name: &HoldName, holder: &str) -> Result<&Hold> {
        let known = self.holds.get(&name.id).filter(|hold| hold.name == *name && hold.interest.agency == holder);
        known.ok_or_else(|| no_hold(name))
    }

    pub(super) fn release(&self, name: &HoldName, holder: &str, now: Timestamp) -> Result<Vec<Event>> {
        let hold = self.hold_of(name, holder)?;
        if matches!(hold.standing, HoldStanding::Released { .. }) {
            return Ok(Vec::new());
        }
        if !hold.is_open(now) {
            return Err(hold.impossible("RELEASED", now));
        }
        Ok(self.release_all(&[name.id], now))
    }

    pub(super) fn renew(&self, name: &HoldName, holder: &str, renewals: u32, now: Timestamp) -> Result<Vec<Event>> {
        let hold = self.hold_of(name, holder)?;
        // Said again, it is done already: a renewal says which one it is.
        if hold.renewals >= renewals {
            return Ok(Vec::new());
        }
        if !hold.is_open(now) {
            return Err(hold.impossible("HELD", now));
        }
        if hold.renewals >= limits::HOLD_RENEWALS_MAX {
            let message = format!("{name} was renewed {} times, which is as often as it can be", hold.renewals);
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "hold_renewals")
                .with("maximum", limits::HOLD_RENEWALS_MAX)
                .with("actual", hold.renewals + 1));
        }
        let interest = self.interests.get(&hold.interest.id).filter(|known| known.counts(now));
        let interest = interest.ok_or_else(|| hold.impossible("HELD", now))?;
        let ends_at = hold.ends_at.plus_micros(limits::HOLD_MICROS).min(interest.expires_at);
        Ok(vec![Event::HoldChanged(Box::new(Hold { ends_at, renewals: hold.renewals + 1, ..hold.clone() }))])
    }

    /// Releases holds. What waits for no other is sent by the sweeper, or by whoever asks first: whether it can be sent is no
    /// business of the agency that lets it go.
    pub(super) fn release_all(&self, ids: &[Uuid], now: Timestamp) -> Vec<Event> {
        let known = ids.iter().filter_map(|id| self.holds.get(id));
        settled(known, |_| HoldStanding::Released { at: now })
    }

    fn held(&self, name: &DraftName) -> impl Iterator<Item = &Hold> {
        let mut held = self.holds.values().filter(|hold| hold.name.draft == *name).collect::<Vec<_>>();
        held.sort_unstable_by_key(|hold| hold.created);
        held.into_iter()
    }

    /// The holds of a draft that nothing has become of.
    fn unsettled(&self, name: &DraftName) -> impl Iterator<Item = &Hold> {
        self.held(name).filter(|hold| hold.standing == HoldStanding::Held)
    }

    /// Sends what waits for nothing any more.
    pub(super) fn clear(&self, of: &Clearing, now: Timestamp) -> Result<Vec<Event>> {
        let Some(draft) = self.drafts.get(&of.name.id).filter(|draft| draft.is_held()) else { return Ok(Vec::new()) };
        if self.held(&of.name).any(|hold| hold.is_open(now)) {
            return Ok(Vec::new());
        }
        let over = settled(self.unsettled(&of.name), |hold| HoldStanding::Expired { at: hold.ends_at });
        Ok([self.send(draft, of.found.as_ref(), now)?, over].concat())
    }

    /// Sends what waits, for a reason of its agency.
    pub(super) fn override_holds(&self, act: &Override, now: Timestamp) -> Result<Vec<Event>> {
        let name = &act.of.name;
        let draft = self.drafts.get(&name.id).filter(|draft| draft.name == *name).ok_or_else(|| no_draft(name))?;
        if !draft.is_held() {
            // Said again with the same reason, it is done already.
            let said = |hold: &Hold| matches!(&hold.standing, HoldStanding::Overridden { reason, .. } if *reason == act.reason);
            return if self.held(name).any(said) { Ok(Vec::new()) } else { Err(draft.impossible("AUTHORISED")) };
        }
        if draft.answers(&act.approver) {
            let message = format!("{} has written or sent {name}, and does not override what holds it", act.approver);
            return Err(Error::new(Reason::DeciderNotImpartial, message).with("measure", name));
        }
        let over = settled(self.unsettled(name), |hold| {
            if hold.is_open(now) {
                HoldStanding::Overridden { at: now, reason: act.reason.clone() }
            } else {
                HoldStanding::Expired { at: hold.ends_at }
            }
        });
        Ok([self.send(draft, act.of.found.as_ref(), now)?, over].concat())
    }

    /// Withdraws the holds of a draft that is given up.
    pub(super) fn withdraw_holds(&self, name: &DraftName, now: Timestamp) -> Vec<Event> {
        settled(self.unsettled(name), |_| HoldStanding::Withdrawn { at: now })
    }

    /// Sends a held referral. What was checked when it came to wait is not checked again, but whether its agency may still refer.
    fn send(&self, draft: &Draft, found: Option<&Arc<Said>>, now: Timestamp) -> Result<Vec<Event>> {
        let DraftStanding::Held { content, authorised, .. } = &draft.standing else { return Ok(Vec::new()) };
        if found != Some(content) {
            return Err(Error::internal(format!("{} changed and kept its version", draft.name)));
        }
        let (approver, sender) = match authorised {
            Some(of) => (of.approver.clone(), of.approver.as_str()),
            None => (String::new(), draft.authors.first().map(String::as_str).unwrap_or_default()),
        };
        for member in draft.authors.iter().map(String::as_str).chain([sender]) {
            self.check_may_refer(&draft.name.agency, member, now)?;
        }
        if let Some(known) = self.referred(&self.addressed(content)) {
            let standing = DraftStanding::Discarded { at: now, duplicate_of: Some(known.name.clone()) };
            return Ok(vec![Event::DraftChanged(Box::new(Draft { standing, updated_at: now, ..draft.clone() }))]);
        }
        let new = NewReferral { said: Arc::clone(content), occurred_at: None, signed: None };
        let created = self.made(&new, &|| "referral".into(), now)?;
        let standing = DraftStanding::Authorised { approver, at: now };
        let sent = Draft { standing, updated_at: now, ..draft.clone() };
        self.placed(vec![Event::DraftChanged(Box::new(sent)), created])
    }
}

/// That holds have come to stand so.
fn settled<'h>(holds: impl Iterator<Item = &'h Hold>, so: impl Fn(&Hold) -> HoldStanding) -> Vec<Event> {
    holds.map(|hold| Event::HoldChanged(Box::new(Hold { standing: so(hold), ..hold.clone() }))).collect()
}

/// The identifier of a hold: the same whoever makes it, so that nothing random is needed in a commit.
fn hold_id(draft: &DraftName, interest: Uuid) -> Uuid {
    Uuid::new_v5(&draft.id, interest.as_bytes())
}

impl Draft {
    /// A referral that was to be sent, and waits.
    pub(super) fn waiting(said: &Arc<Said>, sender: &str, now: Timestamp) -> Self {
        Self {
            name: DraftName { agency: said.name.agency.clone(), id: said.name.id },
            standing: DraftStanding::Held { content: Arc::clone(said), authorised: None, since: now },
            authors: Some(sender.to_owned()).filter(|sender| !sender.is_empty()).into_iter().collect(),
            created_at: now,
            updated_at: now,
            created: 0,
            updated: 0,
        }
    }

    /// The draft as it waits, authorised.
    pub(super) fn waiting_authorised(&self, content: &Arc<Said>, approver: &str, now: Timestamp) -> Self {
        let authorised = Some(Authorisation { approver: approver.to_owned(), at: now });
        let standing = DraftStanding::Held { content: Arc::clone(content), authorised, since: now };
        Self { standing, updated_at: now, ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
