//! Random histories against a model that is written differently: plain numbers, and one rule after another.

use std::collections::HashMap;

use portreeve_core::Reason;
use proptest::prelude::*;

use super::*;

/// What a random history does.
#[derive(Clone, Debug)]
enum Move {
    Refer,
    Withdraw,
    Acknowledge(Option<i64>),
    Decide { kind: usize, outcome: usize, decided: Option<i64>, expected: Option<u32> },
}

/// Outcomes with the disposition that each leads to, whether it acts, and the version of the clause that it cites.
fn menu() -> [(Flat, &'static str, bool, u32); 10] {
    let restricted = |by: Restriction| Flat { restriction: by.code(), ..flat(OutcomeKind::Restricted) };
    [
        (illegal(), "Closed", true, 0),
        (cites(OutcomeKind::ClosedTerms, "he-7", 1), "Closed", true, 1),
        (cites(OutcomeKind::PermittedByPolicy, "he-7", 1), "PermittedByPolicy", false, 1),
        (cites(OutcomeKind::PermittedByPolicy, "he-7", 2), "PermittedByPolicy", false, 2),
        (cites(OutcomeKind::PermittedByPolicy, "he-7", 3), "PermittedByPolicy", false, 3),
        (cites(OutcomeKind::NotViolating, "he-7", 2), "NotViolating", false, 2),
        (restricted(Restriction::Age), "Restricted", true, 0),
        (restricted(Restriction::Interaction), "Closed", true, 0),
        (Flat { cannot_access: 1, ..flat(OutcomeKind::CannotAccess) }, "CannotAccess", false, 0),
        (flat(OutcomeKind::Impossible), "Impossible", false, 0),
    ]
}

fn kinds() -> [Kind; 5] {
    [Kind::Initial, later(Later::Amended), later(Later::Reversed), later(Later::Corrected), later(Later::Reinstated)]
}

/// When the versions of the clause are in force: [10, 30) and from 30 on.
fn in_force(version: u32, decided: i64) -> bool {
    match version {
        0 => true,
        1 => (10..30).contains(&decided),
        2 => decided >= 30,
        _ => false,
    }
}

#[derive(Clone, Debug, Default)]
struct ModelCase {
    referred: i64,
    withdrawn: bool,
    acknowledged: Option<i64>,
    /// Kind, outcome and time of each version.
    decisions: Vec<(usize, usize, i64)>,
}

impl ModelCase {
    fn disposition(&self) -> &'static str {
        if self.withdrawn {
            "Withdrawn"
        } else if let Some((_, outcome, _)) = self.decisions.last() {
            menu()[*outcome].1
        } else if self.acknowledged.is_some() {
            "Received"
        } else {
            "Submitted"
        }
    }
}

#[derive(Default)]
struct Model(HashMap<u128, ModelCase>);

impl Model {
    /// How many events the move makes, or why it may not be made.
    fn play(&mut self, number: u128, play: &Move, now: i64) -> Result<usize, Reason> {
        match play {
            Move::Refer => {
                let new = ModelCase { referred: now, ..ModelCase::default() };
                Ok(usize::from(self.0.insert(number, self.0.get(&number).cloned().unwrap_or(new)).is_none()))
            }
            Move::Withdraw => {
                let opened = self.play(number, &Move::Refer, now)?;
                let case = self.0.get_mut(&number).unwrap();
                let withdraws = !std::mem::replace(&mut case.withdrawn, true);
                Ok(opened + usize::from(withdraws))
            }
            Move::Acknowledge(told) => {
                let case = self.0.get_mut(&number).ok_or(Reason::CaseNotFound)?;
                if case.acknowledged.is_some() {
                    return Ok(0);
                }
                if case.withdrawn {
                    return Err(Reason::CaseWithdrawn);
                }
                let occurred = told.unwrap_or(now);
                if occurred > now || occurred < case.referred {
                    return Err(Reason::RequestInvalid);
                }
                case.acknowledged = Some(occurred);
                Ok(1)
            }
            Move::Decide { kind, outcome, decided, expected } => {
                let case = self.0.get_mut(&number).ok_or(Reason::CaseNotFound)?;
                if let Some((latest_kind, latest_outcome, latest_at)) = case.decisions.last()
                    && (latest_kind, latest_outcome) == (kind, outcome)
                    && decided.is_none_or(|at| at == *latest_at)
                {
                    return Ok(0);
                }
                if case.withdrawn {
                    return Err(Reason::CaseWithdrawn);
                }
                if expected.is_some_and(|expected| expected as usize != case.decisions.len()) {
                    return Err(Reason::StaleVersion);
                }
                let Some(acknowledged) = case.acknowledged else { return Err(Reason::InvalidTransition) };
                let first = case.decisions.is_empty();
                if first != (*kind == 0) {
                    return Err(Reason::InvalidTransition);
                }
                let (_, _, acts, version) = &menu()[*outcome];
                let acted = case.decisions.last().is_some_and(|(_, outcome, _)| menu()[*outcome].2);
                if *kind == 4 && (!acted || *acts) {
                    return Err(Reason::InvalidTransition);
                }
                let not_before = case.decisions.last().map_or(acknowledged, |(.., at)| *at);
                let at = decided.unwrap_or(now);
                if at > now || at < not_before {
                    return Err(Reason::RequestInvalid);
                }
                if *version > 2 {
                    return Err(Reason::ClauseNotFound);
                }
                if !in_force(*version, at) {
                    return Err(Reason::ClauseNotInForce);
                }
                case.decisions.push((*kind, *outcome, at));
                Ok(1)
            }
        }
    }
}

fn moves() -> impl Strategy<Value = Move> {
    let time = || proptest::option::weighted(0.5, 1_i64..60);
    prop_oneof![
        2 => Just(Move::Refer),
        1 => Just(Move::Withdraw),
        4 => time().prop_map(Move::Acknowledge),
        9 => (prop_oneof![Just(0_usize), 0_usize..5], 0_usize..10, time(), proptest::option::weighted(0.2, 0_u32..3))
            .prop_map(|(kind, outcome, decided, expected)| Move::Decide { kind, outcome, decided, expected }),
    ]
}

fn command(number: u128, play: &Move, position: i64, referred: i64, now: i64) -> Command {
    match play {
        Move::Refer => Command::FollowReferrals {
            told: vec![told(number, position, referred, referred)],
            agreements: vec![],
            observed: vec![],
        },
        Move::Withdraw => Command::FollowReferrals {
            told: vec![withdrawn(told(number, position, referred, referred), position, now, now)],
            agreements: vec![],
            observed: vec![],
        },
        Move::Acknowledge(occurred) => acknowledge(number, *occurred),
        Move::Decide { kind, outcome, decided, expected } => Command::Record {
            case: case_name(number),
            draft: Box::new(draft(kinds()[*kind].clone(), menu()[*outcome].0.clone(), *decided)),
            expected_version: *expected,
            by: String::new(),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_does_what_the_model_does(history in proptest::collection::vec((1_u128..4, moves(), 0_i64..3), 1..80)) {
        let (mut book, mut model) = (Book::default(), Model::default());
        for (command, now) in [
            (Command::CreateClause { name: clause_name("he-7"), title: "Human exploitation".into() }, 0),
            (Command::AddClauseVersion { clause: clause_name("he-7"), draft: version(10, None) }, 0),
            (Command::AddClauseVersion { clause: clause_name("he-7"), draft: version(30, None) }, 0),
        ] {
            book.tell(&command, now).unwrap();
        }
        let mut now = 1;
        for (position, (number, play, passes)) in (1..).zip(history) {
            now += passes;
            let before = model.0.get(&number).map(ModelCase::disposition);
            let referred = model.0.get(&number).map_or(now, |case| case.referred);
            let expected = model.play(number, &play, now);
            let told = book.tell(&command(number, &play, position, referred, now), now);
            let told = match told {
                Err(error) => Err(error.reason()),
                Ok(events) => {
                    // Each change leaves the disposition that the one before it entered.
                    let mut standing = before.map(str::to_owned);
                    for event in &events {
                        let changed = event.case_changed().unwrap();
                        prop_assert_eq!(changed.before.map(|before| format!("{before:?}")), standing);
                        standing = Some(format!("{:?}", changed.case.disposition()));
                    }
                    Ok(events.len())
                }
            };
            prop_assert_eq!(told, expected, "{:?} at {}", play, now);

            if let Some(modelled) = model.0.get(&number) {
                let case = book.case(number);
                prop_assert_eq!(format!("{:?}", case.disposition()), modelled.disposition());
                let version = case.decision().map_or(0, |decision| decision.version as usize);
                prop_assert_eq!(version, modelled.decisions.len());
                prop_assert_eq!(case.receipt().map(|receipt| receipt.occurred_at), modelled.acknowledged.map(at));
                let first = modelled.decisions.first().map(|(.., decided)| at(*decided));
                prop_assert_eq!(case.first_decided_at(), first);
            }
        }

        // The state is a view of the log.
        let mut rebuilt = State::default();
        for recorded in &book.log {
            Ledger::evolve(&mut rebuilt, recorded);
        }
        prop_assert_eq!(&rebuilt.cases, &book.state.cases);
        prop_assert_eq!(&rebuilt.clauses, &book.state.clauses);
    }
}
