//! Recurrence: what is closed comes back, as another target of the same people. A pure function of trails.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::vocabulary::TargetKind;
use portreeve_core::{Date, Uuid};

use super::times::{Histogram, Times};
use super::trail::{Tie, Trail, Turn, TurnKind};

/// The networks of an agency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recurrence {
    /// Each network, those of the most referrals first, then by [`Network::first`].
    pub networks: Vec<Network>,
    /// All of them together.
    pub total: Returns,
}

/// Referrals that the agency holds to be of one network of people: whatever SAME_NETWORK links and reappearances connect, with
/// what was referred again of the same targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The identifier of its first referral, by the day and then by the identifier.
    pub first: Uuid,
    /// The day of its first referral.
    pub first_referred_on: Date,
    /// The day of its last.
    pub last_referred_on: Date,
    /// What became of it.
    pub returns: Returns,
}

/// How much was closed, and came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// Referrals.
    pub referrals: u64,
    /// Targets: referrals of one target, by their links, are one.
    pub targets: u64,
    /// Of the targets, accounts.
    pub accounts: u64,
    /// Platforms.
    pub platforms: u64,
    /// Referrals that are closed.
    pub closed: u64,
    /// Referrals whose content was seen again.
    pub reappeared: u64,
    /// From the day on which the first closure took effect to that on which the content was seen again.
    pub times: Times,
}

/// The networks of some trails, as of a day and as known at a day (`None`: all that is known).
pub fn recurrence(trails: &[(Uuid, Trail)], as_of: Date, known_at: Option<Date>) -> Recurrence {
    let seen = |occurred_on: Date, recorded_on: Date| {
        occurred_on <= as_of && known_at.is_none_or(|known_at| recorded_on <= known_at)
    };
    let there: BTreeMap<Uuid, usize> = trails
        .iter()
        .filter(|(_, Trail { origin, .. })| seen(origin.referred_on, origin.recorded_on))
        .enumerate()
        .map(|(place, (id, _))| (*id, place))
        .collect();
    let members: Vec<Member<'_>> = trails
        .iter()
        .filter(|(id, _)| there.contains_key(id))
        .map(|(id, trail)| Member {
            id: *id,
            trail,
            seen: trail.turns.iter().filter(|t| seen(t.occurred_on, t.recorded_on)).collect(),
        })
        .collect();

    let (mut networks, mut targets) = (Sets::new(members.len()), Sets::new(members.len()));
    let mut recurring = BTreeSet::new();
    for (place, member) in members.iter().enumerate() {
        for turn in &member.seen {
            let Some(other) = turn.kind.other().and_then(|other| there.get(&other)) else { continue };
            networks.join(place, *other);
            if matches!(turn.kind, TurnKind::Linked(Tie::Target, _)) {
                targets.join(place, *other);
            } else if place != *other {
                recurring.insert(place);
            }
        }
    }
    // What was merely referred again is no network.
    let recurring: BTreeSet<usize> = recurring.into_iter().map(|place| networks.of(place)).collect();
    let mut sums = BTreeMap::<usize, Sums<'_>>::new();
    let mut all = Sums::default();
    for (place, member) in members.iter().enumerate() {
        let network = networks.of(place);
        if recurring.contains(&network) {
            let target = targets.of(place);
            sums.entry(network).or_default().add(member, target, as_of);
            all.add(member, target, as_of);
        }
    }
    let mut networks: Vec<Network> = sums.into_values().filter_map(Sums::network).collect();
    networks.sort_by(|a, b| (b.returns.referrals, a.first).cmp(&(a.returns.referrals, b.first)));
    Recurrence { networks, total: all.returns() }
}

/// A referral that counts, with what had happened to it.
struct Member<'t> {
    id: Uuid,
    trail: &'t Trail,
    seen: Vec<&'t Turn>,
}

/// How long a closed target stayed away.
enum Away {
    /// So many days, and then it was seen again.
    Until(i64),
    /// So many days, and it has not been seen again; or it was closed no more.
    Still(i64),
}

impl Member<'_> {
    fn is_closed(&self) -> bool {
        let decided = self.seen.iter().rev().map(|turn| turn.kind);
        decided
            .filter(|kind| matches!(kind, TurnKind::Closed(_) | TurnKind::Released))
            .map(|kind| matches!(kind, TurnKind::Closed(_)))
            .next()
            .unwrap_or_default()
    }

    fn reappearances(&self) -> impl Iterator<Item = Date> {
        self.seen.iter().filter(|turn| matches!(turn.kind, TurnKind::Reappeared(_))).map(|turn| turn.occurred_on)
    }

    /// How long its target stayed away after the first closure that took effect.
    fn away(&self, as_of: Date) -> Option<Away> {
        let (mut effect, mut released) = (None, None);
        for turn in &self.seen {
            match turn.kind {
                TurnKind::Closed(effective_on) if released.is_none() => {
                    let began = effective_on.max(self.trail.origin.referred_on);
                    effect = effect.or(Some(began).filter(|day| *day <= as_of));
                }
                TurnKind::Released if released.is_none() => {
                    // What was let go before it took effect had none.
                    effect = effect.filter(|day| *day <= turn.occurred_on);
                    released = effect.and(Some(turn.occurred_on));
                }
                _ => {}
            }
        }
        let effect = effect?;
        let end = released.unwrap_or(as_of).max(effect);
        let again = self.reappearances().filter(|day| (effect..=end).contains(day)).min();
        let days = |until: Date| i64::from(until.days()) - i64::from(effect.days());
        Some(again.map_or_else(|| Away::Still(days(end)), |again| Away::Until(days(again))))
    }
}

/// A network while it is added up.
#[derive(Default)]
struct Sums<'t> {
    first: Option<(Date, Uuid)>,
    last: Option<Date>,
    referrals: u64,
    targets: BTreeSet<usize>,
    accounts: BTreeSet<usize>,
    platforms: BTreeSet<&'t str>,
    closed: u64,
    reappeared: u64,
    again: Histogram,
    away: Histogram,
}

impl<'t> Sums<'t> {
    fn add(&mut self, member: &Member<'t>, target: usize, as_of: Date) {
        let origin = &member.trail.origin;
        let begun = (origin.referred_on, member.id);
        self.first = Some(self.first.map_or(begun, |first| first.min(begun)));
        self.last = self.last.max(Some(origin.referred_on));
        self.referrals += 1;
        self.targets.insert(target);
        if origin.target_kind == i64::from(TargetKind::Account.code()) {
            self.accounts.insert(target);
        }
        self.platforms.insert(&origin.platform);
        self.closed += u64::from(member.is_closed());
        self.reappeared += u64::from(member.reappearances().next().is_some());
        match member.away(as_of) {
            Some(Away::Until(days)) => *self.again.entry(days).or_default() += 1,
            Some(Away::Still(days)) => *self.away.entry(days).or_default() += 1,
            None => {}
        }
    }

    fn network(self) -> Option<Network> {
        let ((first_referred_on, first), last_referred_on) = self.first.zip(self.last)?;
        Some(Network { first, first_referred_on, last_referred_on, returns: self.returns() })
    }

    fn returns(self) -> Returns {
        let count = |set: usize| u64::try_from(set).unwrap_or(u64::MAX);
        Returns {
            referrals: self.referrals,
            targets: count(self.targets.len()),
            accounts: count(self.accounts.len()),
            platforms: count(self.platforms.len()),
            closed: self.closed,
            reappeared: self.reappeared,
            times: Times::of(&self.again, &self.away),
        }
    }
}

/// Disjoint sets of the numbers below a bound.
struct Sets(Vec<usize>);

impl Sets {
    fn new(size: usize) -> Self {
        Self((0..size).collect())
    }

    /// The number that stands for the set of a number: its least.
    fn of(&mut self, mut number: usize) -> usize {
        while let Some(above) = self.0.get(number).copied().filter(|above| *above != number) {
            // Each step halves the way for whoever comes next.
            let next = self.0.get(above).copied().unwrap_or(above);
            if let Some(place) = self.0.get_mut(number) {
                *place = next;
            }
            number = next;
        }
        number
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(place) = self.0.get_mut(one.max(other)) {
            *place = one.min(other);
        }
    }
}

#[cfg(test)]
mod tests;
