//! Interests of agencies in what others might refer: an investigation that a closure would disturb (TCO art. 14(1)).

use std::cmp::Reverse;

use portreeve_core::canonical::RuleSet;
use portreeve_core::interest::{MatchingKey, Tag};
use portreeve_core::location::Location;
use portreeve_core::name::{InterestName, OrganisationKind};
use portreeve_core::vocabulary::InterestPriority;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::address::AddressRules;
use super::ledger::{Event, State};
use super::referral::Said;

/// Where an interest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterestState {
    /// Whoever refers its target hits it.
    Active,
    /// Its time is over.
    Expired,
    /// Its agency ended it.
    Ended,
}

impl InterestState {
    /// Its name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Expired => "EXPIRED",
            Self::Ended => "ENDED",
        }
    }
}

/// An interest that an agency has registered. What it is in is not kept: only what finds it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Its name.
    pub name: InterestName,
    /// The platform on which its target is.
    pub platform: String,
    /// What finds the target.
    pub tag: Tag,
    /// The version of the platform's rules of addresses under which the tag was made; 0 for none.
    pub rules: u32,
    /// Whom others are told to speak to.
    pub contact: String,
    /// How much depends on it.
    pub priority: InterestPriority,
    /// What the agency itself knows it by.
    pub reference: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended before that, if it was.
    pub ended_at: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// The position of the event that recorded it.
    pub created: i64,
    /// The position of the last event that changed it. Its etag.
    pub updated: i64,
}

impl Interest {
    /// Whether it counts at a moment.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.state(now) == InterestState::Active
    }

    /// Where it stands at a moment.
    pub fn state(&self, now: Timestamp) -> InterestState {
        match self.ended_at {
            Some(at) if at < self.expires_at => InterestState::Ended,
            // Looked at since its time was over, or not yet.
            Some(_) => InterestState::Expired,
            None if now >= self.expires_at => InterestState::Expired,
            None => InterestState::Active,
        }
    }

    /// Whether it holds a referral: what tells of an imminent threat to somebody's life waits for nothing but another life.
    pub(super) fn holds(&self, said: &Said) -> bool {
        let threat = said.priority.as_ref().is_some_and(|priority| priority.threat_to_life);
        self.name.agency != said.name.agency && (!threat || self.priority == InterestPriority::Critical)
    }
}

/// An interest that is to be registered.
#[derive(Clone, Debug)]
pub struct NewInterest {
    /// Its name, minted for it.
    pub name: InterestName,
    /// The platform on which its target is.
    pub platform: String,
    /// Where its target is. Known while it is registered alone.
    pub location: Location,
    /// Whom others are told to speak to.
    pub contact: String,
    /// How much depends on it.
    pub priority: InterestPriority,
    /// What the agency itself knows it by.
    pub reference: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// The refusal of a name that is no interest's.
pub fn no_interest(name: &InterestName) -> Error {
    Error::new(Reason::InterestNotFound, format!("there is no {name}")).with("name", name)
}

/// The refusal where targets cannot be matched.
pub fn no_key() -> Error {
    Error::new(
        Reason::MatchingKeyMissing,
        "this server has no key to match targets with; its operator names a key file with matching_key",
    )
}

/// Why an interest cannot last until a moment.
pub fn check_expiry(expires_at: Timestamp, now: Timestamp) -> Result<(), String> {
    let latest = now.plus_micros(limits::INTEREST_MICROS_MAX);
    if expires_at <= now || expires_at > latest {
        return Err(format!("must be after {now}, by 366 days at most"));
    }
    Ok(())
}

impl State {
    /// The tags under which interests in a target may lie: by the platform's rules of now, and by each earlier version under which
    /// there are some.
    pub(crate) fn tags(&self, key: &MatchingKey, platform: &str, location: &Location) -> Vec<Tag> {
        let earlier = self.matched_rules.get(platform).into_iter().flatten();
        tags(key, platform, location, self.rules.get(platform).into_iter().chain(earlier))
    }

    pub(super) fn register_interests(
        &self,
        agency: &str,
        new: &[NewInterest],
        key: &MatchingKey,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        self.organisation(OrganisationKind::Agency, agency)?;
        let live = self.live_interests.get(agency).copied().unwrap_or_default();
        if live + new.len() > limits::AGENCY_INTERESTS_MAX {
            let message = format!("agencies/{agency} has {live} interests, and cannot register {} more", new.len());
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "interests")
                .with("maximum", limits::AGENCY_INTERESTS_MAX)
                .with("actual", live + new.len()));
        }
        let (mut events, mut refused) = (Vec::with_capacity(new.len()), None::<Error>);
        for (index, of) in new.iter().enumerate() {
            self.organisation(OrganisationKind::Platform, &of.platform)?;
            if let Err(error) = self.check_host(&of.platform, &of.location, &format!("interests[{index}].target.url")) {
                // All that is wrong is told at once.
                refused = Some(match refused {
                    None => error,
                    Some(first) => {
                        error.violations().iter().fold(first, |first, of| first.at(of.field.clone(), &of.description))
                    }
                });
                continue;
            }
            let (location, rules) = match self.rules.get(&of.platform) {
                Some(known) => (of.location.under(&known.rules, known.version), known.version),
                None => (of.location.under(&RuleSet::default(), 0), 0),
            };
            events.push(Event::InterestChanged(Box::new(Interest {
                name: of.name.clone(),
                platform: of.platform.clone(),
                tag: key.tag(&of.platform, location.canonical()),
                rules,
                contact: of.contact.clone(),
                priority: of.priority,
                reference: of.reference.clone(),
                expires_at: of.expires_at,
                ended_at: None,
                created_at: now,
                created: 0,
                updated: 0,
            })));
        }
        refused.map_or(Ok(events), Err)
    }

    fn interest(&self, name: &InterestName) -> Result<&Interest> {
        self.interests.get(&name.id).filter(|known| known.name == *name).ok_or_else(|| no_interest(name))
    }

    /// Lets an interest last longer, or end sooner. One that is over is registered anew: its target is not known here.
    pub(super) fn renew_interest(
        &self,
        name: &InterestName,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let known = self.interest(name)?;
        if !known.counts(now) {
            return Err(impossible(known, "ACTIVE", now));
        }
        if known.expires_at == expires_at {
            return Ok(Vec::new());
        }
        Ok(vec![Event::InterestChanged(Box::new(Interest { expires_at, ..known.clone() }))])
    }

    /// Ends an interest, and releases what is held by it.
    pub(super) fn end_interest(&self, name: &InterestName, now: Timestamp) -> Result<Vec<Event>> {
        let known = self.interest(name)?;
        if known.ended_at.is_some() {
            return Ok(Vec::new());
        }
        let ended = Event::InterestChanged(Box::new(Interest { ended_at: Some(now), ..known.clone() }));
        let held = self.holds.values().filter(|hold| hold.interest == *name && hold.is_open(now));
        let mut ids = held.map(|hold| (hold.created, hold.name.id)).collect::<Vec<_>>();
        ids.sort_unstable();
        let released = self.release_all(&ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), now);
        Ok([vec![ended], released].concat())
    }

    /// Ends interests that are past their time, so that they count towards no limit.
    pub(super) fn expire_interests(&self, names: &[InterestName], now: Timestamp) -> Vec<Event> {
        let over = names.iter().filter_map(|name| self.interests.get(&name.id));
        let over = over.filter(|known| known.ended_at.is_none() && now >= known.expires_at);
        over.map(|known| {
            Event::InterestChanged(Box::new(Interest { ended_at: Some(known.expires_at), ..known.clone() }))
        })
        .collect()
    }
}

/// The tags of a target under rules of its platform, and under none.
pub(crate) fn tags<'r>(
    key: &MatchingKey,
    platform: &str,
    location: &Location,
    rules: impl Iterator<Item = &'r AddressRules>,
) -> Vec<Tag> {
    let none = RuleSet::default();
    let versions = rules.map(|of| (&*of.rules, of.version)).chain([(&none, 0)]);
    let mut tags = versions
        .map(|(rules, version)| location.under(rules, version))
        .filter(|location| !location.canonical().is_empty())
        .map(|location| key.tag(platform, location.canonical()))
        .collect::<Vec<_>>();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Of the interests that are hit those that are told: the ones on which most depends, each once.
pub(crate) fn foremost(hits: &mut Vec<&Interest>) {
    hits.sort_unstable_by_key(|hit| (Reverse(hit.priority), hit.created, hit.name.id));
    hits.dedup_by_key(|hit| hit.name.id);
    hits.truncate(limits::REFERRAL_HOLDS_MAX);
}

fn impossible(known: &Interest, to: &str, now: Timestamp) -> Error {
    let from = known.state(now).name();
    let message = format!("{} is {from}, and does not become {to}; register it anew", known.name);
    Error::new(Reason::InvalidTransition, message).with("name", &known.name).with("from", from).with("to", to)
}
