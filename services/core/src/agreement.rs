//! An agreement between agencies to share what they refer: its terms, its facts, and where it stands at a moment.
//!
//! Facts are told by the parties; time alone does the rest. Nothing here changes anything: what may happen to an agreement is
//! the referral service's ledger.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::name::{NameError, canonical};
use crate::vocabulary::{AfterEnd, FieldGroup, Ground, Purpose, Tlp};
use crate::{Date, Timestamp};

/// `agreements/{uuid}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgreementName(pub Uuid);

impl fmt::Display for AgreementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agreements/{}", self.0)
    }
}

impl FromStr for AgreementName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.strip_prefix("agreements/").and_then(canonical).map(Self).ok_or(NameError("agreements/{uuid}"))
    }
}

/// What the parties agree on. It never changes but by an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What people call it.
    pub title: String,
    /// The agencies, each once.
    pub parties: Vec<String>,
    /// For what partners may read.
    pub purposes: Vec<Purpose>,
    /// The grounds shared; empty for every one.
    pub grounds: Vec<Ground>,
    /// What is shared beyond what always is.
    pub field_groups: Vec<FieldGroup>,
    /// The highest marking shared.
    pub tlp_ceiling: Tlp,
    /// Whether referrals that are shared with conditions are shared.
    pub accepts_conditions: bool,
    /// Whether what a party receives may be shared one step further.
    pub onward_permitted: bool,
    /// Only referrals recorded at or after this are shared.
    pub shared_since: Option<Timestamp>,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends, as first agreed.
    pub end: Timestamp,
    /// How far it may be extended.
    pub extendable_until: Option<Timestamp>,
    /// How many days after a notice it ends.
    pub notice_days: u32,
    /// By when the parties mean to review it.
    pub review_on: Option<Date>,
    /// What becomes of data shared under it.
    pub after_end: AfterEnd,
}

/// A party's consent, and when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The agency.
    pub party: String,
    /// When.
    pub at: Timestamp,
}

/// A later end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The new end.
    pub end: Timestamp,
    /// Who has consented; the first proposed it.
    pub consents: Vec<Consent>,
    /// When the last party consented.
    pub in_force_at: Option<Timestamp>,
}

/// A suspension by one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The agency.
    pub party: String,
    /// Why.
    pub reason: String,
    /// From when.
    pub from: Timestamp,
    /// When this party resumed.
    pub until: Option<Timestamp>,
}

/// A notice of termination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The agency.
    pub party: String,
    /// Why.
    pub reason: String,
    /// When it was given.
    pub given_at: Timestamp,
    /// When the agreement ends by it.
    pub ends_at: Timestamp,
}

/// Where an agreement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not all have accepted, or its start is still to come.
    Proposed,
    /// In force.
    Active,
    /// In force, with a later end than the first.
    Extended,
    /// A party has suspended it.
    Suspended,
    /// In force until the end that a notice brought about.
    NoticeGiven,
    /// Ended with its time.
    Lapsed,
    /// Ended by notice, or declined.
    Terminated,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Proposed,
        Self::Active,
        Self::Extended,
        Self::Suspended,
        Self::NoticeGiven,
        Self::Lapsed,
        Self::Terminated,
    ];

    /// The state's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposed => "PROPOSED",
            Self::Active => "ACTIVE",
            Self::Extended => "EXTENDED",
            Self::Suspended => "SUSPENDED",
            Self::NoticeGiven => "NOTICE_GIVEN",
            Self::Lapsed => "LAPSED",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Whether it shares what is recorded now.
    pub const fn in_force(self) -> bool {
        matches!(self, Self::Active | Self::Extended | Self::NoticeGiven)
    }

    /// Whether nothing can move it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Lapsed | Self::Terminated)
    }
}

/// An agreement with all that was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Its name.
    pub name: AgreementName,
    /// What was agreed.
    pub terms: Terms,
    /// Who has accepted it; the first proposed it.
    pub acceptances: Vec<Consent>,
    /// Later ends, proposed or in force.
    pub extensions: Vec<Extension>,
    /// Its suspensions.
    pub suspensions: Vec<Suspension>,
    /// The notice of termination.
    pub notice: Option<Notice>,
    /// When it was proposed.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The position of the event that proposed it in the referral log.
    pub created: i64,
    /// The position of the event that last changed it in the referral log. Its etag.
    pub updated: i64,
}

impl Agreement {
    /// Whether it tells more than is known of it. Told twice, it is learnt once.
    pub fn is_news(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| known.updated < self.updated)
    }

    /// Whether an agency is a party.
    pub fn has_party(&self, agency: &str) -> bool {
        self.terms.parties.iter().any(|party| party == agency)
    }

    /// Who proposed it.
    pub fn proposer(&self) -> &str {
        self.acceptances.first().map_or("", |consent| consent.party.as_str())
    }

    /// When it begins, if every party has accepted it.
    pub fn begins_at(&self) -> Option<Timestamp> {
        let accepted = self.acceptances.len() == self.terms.parties.len();
        let last = self.acceptances.iter().map(|consent| consent.at).max()?;
        accepted.then(|| last.max(self.terms.start))
    }

    /// The agreed end, with the extensions in force.
    pub fn agreed_end(&self) -> Timestamp {
        let later = self.extensions.iter().filter(|extension| extension.in_force_at.is_some());
        later.map(|extension| extension.end).fold(self.terms.end, Timestamp::max)
    }

    /// When it ends as things stand: the first moment at which it is over.
    pub fn ends_at(&self) -> Timestamp {
        let agreed = self.agreed_end();
        self.notice.as_ref().map_or(agreed, |notice| notice.ends_at.min(agreed))
    }

    /// Since when it is suspended without a break: when the first of those who have not resumed suspended it.
    pub fn suspended_from(&self) -> Option<Timestamp> {
        self.suspensions.iter().filter(|suspension| suspension.until.is_none()).map(|suspension| suspension.from).min()
    }

    /// Where it stands at a moment that no fact comes after.
    pub fn state(&self, now: Timestamp) -> State {
        let by_notice = self.notice.as_ref().is_some_and(|notice| notice.ends_at <= self.agreed_end());
        if now >= self.ends_at() {
            return if by_notice { State::Terminated } else { State::Lapsed };
        }
        if self.begins_at().is_none_or(|begins| now < begins) {
            State::Proposed
        } else if self.suspended_from().is_some() {
            State::Suspended
        } else if self.notice.is_some() {
            State::NoticeGiven
        } else if self.agreed_end() > self.terms.end {
            State::Extended
        } else {
            State::Active
        }
    }

    /// When it stopped sharing what is recorded: when it ended or was suspended, whichever came first. `None` while it
    /// shares, and for one that never did.
    pub fn stopped_at(&self, now: Timestamp) -> Option<Timestamp> {
        let began = self.begins_at().filter(|begins| *begins < self.ends_at())?;
        let ended = Some(self.ends_at()).filter(|end| *end <= now);
        let stopped = [self.suspended_from(), ended].into_iter().flatten().min()?;
        (began <= now).then(|| stopped.max(began))
    }

    /// When time alone next changes what it shares.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        [self.begins_at(), Some(self.ends_at())].into_iter().flatten().filter(|at| *at > now).min()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// An agreement that all have accepted at 0, in force from 10 to 100 seconds, and open to 200.
    pub(crate) fn agreement(id: u128, parties: &[&str]) -> Agreement {
        let parties = parties.iter().map(|party| (*party).to_owned()).collect::<Vec<_>>();
        Agreement {
            name: AgreementName(Uuid::from_u128(id)),
            acceptances: parties.iter().map(|party| Consent { party: party.clone(), at: at(0) }).collect(),
            terms: Terms {
                title: "Channel".into(),
                parties,
                purposes: vec![Purpose::Investigation],
                grounds: vec![],
                field_groups: vec![FieldGroup::Target],
                tlp_ceiling: Tlp::AmberStrict,
                accepts_conditions: false,
                onward_permitted: false,
                shared_since: None,
                start: at(10),
                end: at(100),
                extendable_until: Some(at(200)),
                notice_days: 0,
                review_on: None,
                after_end: AfterEnd::Freeze,
            },
            extensions: vec![],
            suspensions: vec![],
            notice: None,
            created_at: at(0),
            updated_at: at(0),
            created: 1,
            updated: 1,
        }
    }

    #[test]
    fn time_alone_begins_and_ends_it() {
        let of = agreement(1, &["bka", "nca"]);
        for (seconds, state) in
            [(0, State::Proposed), (9, State::Proposed), (10, State::Active), (99, State::Active), (100, State::Lapsed)]
        {
            assert_eq!(of.state(at(seconds)), state, "{seconds}");
        }
        assert_eq!((of.next_change(at(0)), of.next_change(at(10))), (Some(at(10)), Some(at(100))));
        assert_eq!(of.next_change(at(100)), None);
        assert_eq!((of.stopped_at(at(99)), of.stopped_at(at(100))), (None, Some(at(100))));
        // The last acceptance comes after the start.
        let mut late = of.clone();
        late.acceptances[1].at = at(50);
        assert_eq!((late.state(at(49)), late.state(at(50))), (State::Proposed, State::Active));
        // One that is never accepted lapses with its time, and never shared.
        late.acceptances.pop();
        assert_eq!((late.state(at(99)), late.state(at(100))), (State::Proposed, State::Lapsed));
        assert_eq!(late.stopped_at(at(100)), None);
    }

    #[test]
    fn facts_move_it_too() {
        let mut of = agreement(1, &["bka", "nca"]);
        of.extensions.push(Extension { end: at(150), consents: vec![], in_force_at: None });
        assert_eq!(of.state(at(120)), State::Lapsed);
        of.extensions[0].in_force_at = Some(at(50));
        assert_eq!(
            (of.state(at(60)), of.state(at(149)), of.state(at(150))),
            (State::Extended, State::Extended, State::Lapsed)
        );
        of.suspensions.push(Suspension { party: "nca".into(), reason: "r".into(), from: at(70), until: None });
        assert_eq!((of.state(at(70)), of.stopped_at(at(80))), (State::Suspended, Some(at(70))));
        assert_eq!((of.state(at(150)), of.stopped_at(at(160))), (State::Lapsed, Some(at(70))));
        of.suspensions[0].until = Some(at(80));
        assert_eq!((of.state(at(80)), of.stopped_at(at(80))), (State::Extended, None));
        let notice =
            |ends| Some(Notice { party: "bka".into(), reason: "r".into(), given_at: at(90), ends_at: at(ends) });
        of.notice = notice(120);
        assert_eq!((of.state(at(119)), of.state(at(120))), (State::NoticeGiven, State::Terminated));
        // A notice that would end it after its time does not prolong it.
        of.notice = notice(900);
        assert_eq!((of.state(at(149)), of.state(at(150)), of.ends_at()), (State::NoticeGiven, State::Lapsed, at(150)));
    }

    #[test]
    fn only_the_canonical_name_is_one() {
        let name = "agreements/0190b2f0-0000-7000-8000-00000000000a";
        assert_eq!(name.parse::<AgreementName>().unwrap().to_string(), name);
        for wrong in
            ["agreements/", "agreements/0190B2F0-0000-7000-8000-00000000000A", "0190b2f0-0000-7000-8000-00000000000a"]
        {
            assert!(wrong.parse::<AgreementName>().is_err(), "{wrong}");
        }
    }
}
