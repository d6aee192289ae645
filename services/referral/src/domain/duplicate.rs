//! What an agency has referred already.

use std::collections::HashMap;

use portreeve_core::Cited;
use portreeve_core::canonical::key;
use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::{Ground, Nature};

use super::ledger::State;
use super::referral::{NewReferral, Referral, Said, Standing};

/// What makes two referrals of an agency the same: the place, and what is asked for there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matter {
    /// The agency.
    pub agency: String,
    /// The platform.
    pub platform: String,
    /// The key of the target's canonical address.
    pub target: [u8; 16],
    /// Why.
    pub ground: Ground,
    /// What it is in law.
    pub nature: Nature,
}

impl Matter {
    /// What a referral is about; `None` once its target was erased.
    pub fn of(said: &Said) -> Option<Self> {
        let canonical = said.target.location.canonical();
        (!canonical.is_empty()).then(|| Self {
            agency: said.name.agency.clone(),
            platform: said.platform.clone(),
            target: key(canonical),
            ground: said.ground,
            nature: said.nature,
        })
    }
}

/// A referral that is about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: ReferralName,
    /// The position of the event that created it.
    pub created: i64,
}

impl State {
    /// The newest referral that is about the same and was not taken back.
    pub(super) fn referred(&self, said: &Said) -> Option<&Known> {
        let matter = Matter::of(said)?;
        // What the batch has changed since it was found counts.
        let still = |known: &&Known| {
            let stands = |referral: &Referral| {
                referral.standing == Standing::Submitted && Matter::of(referral).as_ref() == Some(&matter)
            };
            self.referral(&known.name).is_none_or(stands)
        };
        let known = || self.known.get(&matter).into_iter().flatten().filter(still);
        // Whoever names one of them means to refer it once more.
        if known().any(|known| self.goes_on(said, &known.name)) {
            return None;
        }
        known().max_by_key(|known| known.created)
    }

    /// For each draft what it repeats, if it does: something that was referred before, or what stands before it.
    pub(super) fn repeated(&self, drafts: &[NewReferral]) -> Vec<Option<Cited>> {
        let (mut own, mut fresh) = (HashMap::new(), 0);
        let repeats = |draft: &NewReferral| {
            let said = self.addressed(&draft.said);
            if let Some(known) = self.referred(&said) {
                return Some(Cited::At(known.created));
            }
            if said.links.iter().any(|link| link.kind.goes_on()) {
                // What it goes on with is no draft of the same command: that has no name yet.
                fresh += 1;
                return None;
            }
            match own.entry(Matter::of(&said)?) {
                std::collections::hash_map::Entry::Occupied(before) => Some(Cited::Own(*before.get())),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(fresh);
                    fresh += 1;
                    None
                }
            }
        };
        drafts.iter().map(repeats).collect()
    }

    /// Takes in what a referral is about.
    pub(super) fn know(&mut self, referral: &Referral) {
        if let Some(matter) = Matter::of(referral) {
            let known = Known { name: referral.name.clone(), created: referral.created };
            self.known.entry(matter).or_default().push(known);
        }
    }
}
