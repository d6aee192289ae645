//! Recurrence against a model that looks at every pair of referrals and counts one at a time.

use std::collections::BTreeSet;

use portreeve_core::{Ledger as _, Recorded, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::domain::model::modelled_times;
use crate::domain::{Command, Footprint, Learnt, Ledger, Origin, Source, State};

fn day(days: i32) -> Date {
    Date::from_days(days)
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

/// A referral with all that is told of it, in the order of the log.
type History = (Origin, Vec<Turn>);

fn turned(kind: TurnKind, occurred_on: i32, recorded_on: i32) -> Turn {
    Turn { kind, occurred_on: day(occurred_on), recorded_on: day(recorded_on) }
}

fn histories() -> impl Strategy<Value = Vec<History>> {
    (0..14_usize).prop_flat_map(|size| {
        let other = move || 0..size.max(1);
        let link = prop_oneof![2 => Just(Tie::Network), 1 => Just(Tie::Target)];
        let delay = || prop_oneof![Just(0), 0..30_i32];
        // Decisions one after another: closed, with effect on the day or before or after it, or not.
        let decision = (prop::option::weighted(0.7, prop_oneof![Just(0), -5..20_i32]), delay(), delay());
        let history = (
            (prop::sample::select(vec!["hb", "ch", "lg"]), 1..4_i64, 0..40_i32, 0..10_i32),
            prop::collection::vec((link, other(), delay(), delay()), 0..3),
            prop::collection::vec(decision, 0..4),
            prop::collection::vec((prop::option::of(other()), delay(), delay()), 0..3),
        )
            .prop_map(|((platform, target_kind, referred, late), links, decisions, looks)| {
                let origin = Origin {
                    agency: "nca".into(),
                    platform: platform.into(),
                    target_kind,
                    referred_on: day(referred),
                    recorded_on: day(referred + late),
                };
                let mut turns = vec![];
                for (tie, to, on, told) in links {
                    turns.push(turned(TurnKind::Linked(tie, id(to)), referred + on, referred + late + on + told));
                }
                let (mut on, mut told) = (referred, referred + late);
                let mut closed = false;
                for (closes, later, lag) in decisions {
                    on += later;
                    told = told.max(on + lag);
                    match closes {
                        Some(effect) => turns.push(turned(TurnKind::Closed(day(on + effect)), on, told)),
                        // What was not closed is not let go.
                        None if closed => turns.push(turned(TurnKind::Released, on, told)),
                        None => {}
                    }
                    closed = closes.is_some();
                }
                for (again, on, told) in looks {
                    turns.push(turned(TurnKind::Reappeared(again.map(id)), referred + on, referred + late + on + told));
                }
                (origin, turns)
            });
        prop::collection::vec(history, size)
    })
}

/// Which pairs are connected by edges, however far around.
fn connected(size: usize, edges: &[(usize, usize)]) -> Vec<Vec<bool>> {
    let mut reach: Vec<Vec<bool>> = (0..size).map(|a| (0..size).map(|b| a == b).collect()).collect();
    for (a, b) in edges {
        reach[*a][*b] = true;
        reach[*b][*a] = true;
    }
    for via in 0..size {
        for a in 0..size {
            for b in 0..size {
                reach[a][b] |= reach[a][via] && reach[via][b];
            }
        }
    }
    reach
}

/// Days away after the first closure that took effect, and whether it was seen again.
fn modelled_away(origin: &Origin, seen: &[&Turn], as_of: i32) -> Option<(i64, bool)> {
    let decided: Vec<_> =
        seen.iter().filter(|turn| matches!(turn.kind, TurnKind::Closed(_) | TurnKind::Released)).collect();
    // One closure after another, each up to the day on which it was let go.
    for closure in decided.split_inclusive(|turn| turn.kind == TurnKind::Released) {
        let effects = closure.iter().filter_map(|turn| match turn.kind {
            TurnKind::Closed(effect) => Some(effect.max(origin.referred_on).days()),
            _ => None,
        });
        let released =
            closure.last().filter(|turn| turn.kind == TurnKind::Released).map(|turn| turn.occurred_on.days());
        let Some(effect) = effects.into_iter().find(|effect| *effect <= as_of) else { continue };
        let end = released.unwrap_or(as_of);
        if end < effect {
            continue;
        }
        let again = (effect..=end).find(|date| {
            seen.iter().any(|turn| matches!(turn.kind, TurnKind::Reappeared(_)) && turn.occurred_on == day(*date))
        });
        return Some((i64::from(again.unwrap_or(end) - effect), again.is_some()));
    }
    None
}

fn modelled_returns(
    members: &[usize],
    histories: &[History],
    targets: &[Vec<bool>],
    as_of: i32,
    known_at: i32,
) -> Returns {
    let mut returns = Returns::default();
    let mut platforms = BTreeSet::new();
    let (mut again, mut away) = (vec![], vec![]);
    for member in members {
        let (origin, turns) = &histories[*member];
        let seen = turns
            .iter()
            .filter(|turn| turn.occurred_on <= day(as_of) && turn.recorded_on <= day(known_at))
            .collect::<Vec<_>>();
        let same = |other: &&usize| targets[*member][**other];
        returns.referrals += 1;
        // A target counts with the first of its referrals.
        if members.iter().find(same) == Some(member) {
            returns.targets += 1;
            returns.accounts +=
                u64::from(members.iter().filter(same).any(|other| histories[*other].0.target_kind == 2));
        }
        platforms.insert(origin.platform.clone());
        let last = seen.iter().rfind(|turn| matches!(turn.kind, TurnKind::Closed(_) | TurnKind::Released));
        returns.closed += u64::from(last.is_some_and(|turn| turn.kind != TurnKind::Released));
        returns.reappeared += u64::from(seen.iter().any(|turn| matches!(turn.kind, TurnKind::Reappeared(_))));
        match modelled_away(origin, &seen, as_of) {
            Some((days, true)) => again.push(days),
            Some((days, false)) => away.push(days),
            None => {}
        }
    }
    returns.platforms = platforms.len() as u64;
    again.sort_unstable();
    away.sort_unstable();
    returns.times = modelled_times(&again, &away);
    returns
}

fn modelled(histories: &[History], as_of: i32, known_at: i32) -> Recurrence {
    let visible = |number: &usize| {
        let origin = &histories[*number].0;
        origin.referred_on <= day(as_of) && origin.recorded_on <= day(known_at)
    };
    let (mut any, mut same, mut network) = (vec![], vec![], vec![]);
    for (from, (_, turns)) in histories.iter().enumerate() {
        for turn in turns.iter().filter(|turn| turn.occurred_on <= day(as_of) && turn.recorded_on <= day(known_at)) {
            let Some(to) = (0..histories.len()).find(|number| turn.kind.other() == Some(id(*number))) else { continue };
            if from == to || !visible(&from) || !visible(&to) {
                continue;
            }
            any.push((from, to));
            match turn.kind {
                TurnKind::Linked(Tie::Target, _) => same.push((from, to)),
                _ => network.push((from, to)),
            }
        }
    }
    let (together, targets) = (connected(histories.len(), &any), connected(histories.len(), &same));
    let mut found = Recurrence::default();
    let (mut placed, mut all) = (BTreeSet::new(), vec![]);
    for first in (0..histories.len()).filter(visible) {
        let members: Vec<_> = (0..histories.len()).filter(|other| visible(other) && together[first][*other]).collect();
        let recurs = network.iter().any(|(from, _)| members.contains(from));
        if !recurs || !placed.insert(members.clone()) {
            continue;
        }
        let days = members.iter().map(|member| (histories[*member].0.referred_on, id(*member)));
        let (first_referred_on, first) = days.clone().min().unwrap();
        found.networks.push(Network {
            first,
            first_referred_on,
            last_referred_on: days.max().unwrap().0,
            returns: modelled_returns(&members, histories, &targets, as_of, known_at),
        });
        all.extend(members);
    }
    found.networks.sort_by_key(|network| (-i64::try_from(network.returns.referrals).unwrap(), network.first));
    all.sort_unstable();
    found.total = modelled_returns(&all, histories, &targets, as_of, known_at);
    found
}

/// The log: every referral before what names it, and else in any order that keeps each referral's own.
fn told(histories: &[History]) -> Vec<(Uuid, Footprint)> {
    let begun =
        histories.iter().enumerate().map(|(number, (origin, _))| (id(number), Footprint::Begun(origin.clone())));
    let turns = histories
        .iter()
        .enumerate()
        .flat_map(|(number, (_, turns))| turns.iter().map(move |turn| (id(number), Footprint::Turned(turn.clone()))));
    begun.chain(turns).collect()
}

/// The trails after stretches of the logs were followed.
fn followed<'s>(stretches: impl IntoIterator<Item = &'s [(Uuid, Footprint)]>) -> State {
    let mut state = State::default();
    for (position, footprints) in (1..).zip(stretches) {
        let learnt = Learnt {
            source: Source::Referral,
            heard_on: None,
            steps: vec![],
            footprints: footprints.to_vec(),
            agreements: vec![],
            operations: vec![],
        };
        for event in Ledger::decide(&state, &Command::Learn(learnt), Timestamp::default()).unwrap() {
            let recorded = Recorded { position, recorded_at: Timestamp::default(), actor: String::new(), event };
            Ledger::evolve(&mut state, &recorded);
        }
    }
    state
}

fn reported(state: &State, as_of: i32, known_at: i32) -> Recurrence {
    // The store gives the linked ones alone.
    let linked = state.trails.iter().filter(|(_, trail)| trail.linked).map(|(id, trail)| (*id, trail.clone()));
    recurrence(&linked.collect::<Vec<_>>(), day(as_of), Some(day(known_at)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_figure_is_what_looking_at_every_pair_gives(
        histories in histories(),
        (as_of, known_at) in (0..120_i32, 0..160_i32),
        stretch in 1..7_usize,
    ) {
        let told = told(&histories);
        // Links are told again whenever another is added.
        let links = told.iter().filter(|(_, it)| matches!(it, Footprint::Turned(Turn { kind: TurnKind::Linked(..), .. })));
        let links = links.cloned().collect::<Vec<_>>();
        let state = followed(told.chunks(stretch).chain(links.chunks(stretch)));
        let expected = modelled(&histories, as_of, known_at);
        let found = reported(&state, as_of, known_at);
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(found.networks.iter().map(|network| network.returns.referrals).sum::<u64>(), found.total.referrals);
        prop_assert_eq!(found.networks.iter().map(|network| network.returns.times.n).sum::<u64>(), found.total.times.n);
    }

    #[test]
    fn what_is_learnt_later_never_changes_what_was_known(histories in histories(), as_of in 0..120_i32, known_at in 0..100_i32) {
        let all = told(&histories);
        let then = all.iter().filter(|(_, footprint)| match footprint {
            Footprint::Begun(_) => true,
            Footprint::Turned(turn) => turn.recorded_on <= day(known_at),
        });
        let then = then.cloned().collect::<Vec<_>>();
        prop_assert_eq!(
            reported(&followed([all.as_slice()]), as_of, known_at),
            reported(&followed([then.as_slice()]), as_of, known_at)
        );
    }
}

#[test]
fn a_referral_goes_on_after_it_was_told_of() {
    let footprint = (id(1), Footprint::Turned(turned(TurnKind::Released, 0, 0)));
    let learnt = Learnt {
        source: Source::Decision,
        heard_on: None,
        steps: vec![],
        footprints: vec![footprint],
        agreements: vec![],
        operations: vec![],
    };
    assert!(Ledger::decide(&State::default(), &Command::Learn(learnt), Timestamp::default()).is_err());
}
