//! Leases: random takings and givings back of a few cases by a few reviewers, against a model that keeps a table of holders.

use std::collections::HashMap;

use portreeve_core::Reason;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Play {
    Take { cases: Vec<u128>, holder: usize, time: i64 },
    First { count: usize, holder: usize, time: i64 },
    Release { cases: Vec<u128>, holder: usize },
    Decide { case: u128, by: usize },
}

/// Who holds which case until when, which are decided, and which were taken at all.
#[derive(Default)]
struct Model {
    held: HashMap<u128, (usize, i64)>,
    decided: Vec<u128>,
    looked_at: Vec<u128>,
}

impl Model {
    fn holder(&self, case: u128, now: i64) -> Option<usize> {
        let held = self.held.get(&case).filter(|(_, until)| now < *until);
        held.filter(|_| !self.decided.contains(&case)).map(|(holder, _)| *holder)
    }

    fn take(&mut self, case: u128, holder: usize, until: i64) {
        self.held.insert(case, (holder, until));
        self.looked_at.push(case);
    }

    /// The cases that change.
    fn play(&mut self, play: &Play, now: i64) -> Result<Vec<u128>, Reason> {
        match play {
            Play::Take { cases, holder, time } => {
                for case in cases {
                    if self.decided.contains(case) {
                        return Err(Reason::InvalidTransition);
                    }
                    if self.holder(*case, now).is_some_and(|other| other != *holder) {
                        return Err(Reason::CaseLeased);
                    }
                }
                for case in cases {
                    self.take(*case, *holder, now + time);
                }
                Ok(cases.clone())
            }
            Play::First { count, holder, time } => {
                let free = (1..=4).filter(|case| !self.decided.contains(case) && self.holder(*case, now).is_none());
                let taken = free.take(*count).collect::<Vec<_>>();
                for case in &taken {
                    self.take(*case, *holder, now + time);
                }
                Ok(taken)
            }
            Play::Release { cases, holder } => {
                let own = cases.iter().copied().filter(|case| self.holder(*case, now) == Some(*holder));
                let own = own.collect::<Vec<_>>();
                self.held.retain(|case, _| !own.contains(case));
                Ok(own)
            }
            Play::Decide { case, by } => {
                if self.holder(*case, now).is_some_and(|other| other != *by) {
                    return Err(Reason::CaseLeased);
                }
                if self.decided.contains(case) {
                    return Ok(Vec::new());
                }
                self.decided.push(*case);
                self.held.remove(case);
                Ok(vec![*case])
            }
        }
    }
}

fn plays() -> impl Strategy<Value = Play> {
    let cases = || proptest::sample::subsequence(vec![1_u128, 2, 3, 4], 1..=3);
    prop_oneof![
        4 => (cases(), 0_usize..3, 1_i64..30).prop_map(|(cases, holder, time)| Play::Take { cases, holder, time }),
        3 => (1_usize..4, 0_usize..3, 1_i64..30).prop_map(|(count, holder, time)| Play::First { count, holder, time }),
        2 => (cases(), 0_usize..3).prop_map(|(cases, holder)| Play::Release { cases, holder }),
        2 => (1_u128..5, 0_usize..3).prop_map(|(case, by)| Play::Decide { case, by }),
    ]
}

fn command(play: &Play) -> Command {
    let member = |holder: &usize| format!("r.{holder}");
    let names = |cases: &[u128]| cases.iter().map(|case| case_name(*case)).collect::<Vec<_>>();
    match play {
        Play::Take { cases, holder, time } => {
            Command::Lease { wanted: Wanted::These(names(cases)), holder: member(holder), time: time * UNIT }
        }
        Play::First { count, holder, time } => Command::Lease {
            wanted: Wanted::FirstOf(names(&[1, 2, 3, 4]), *count),
            holder: member(holder),
            time: time * UNIT,
        },
        Play::Release { cases, holder } => Command::Release { cases: names(cases), holder: member(holder) },
        Play::Decide { case, by } => Command::Record {
            case: case_name(*case),
            draft: Box::new(draft(Kind::Initial, illegal(), None)),
            expected_version: None,
            by: member(by),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_two_reviewers_ever_hold_one_case(history in proptest::collection::vec((plays(), 0_i64..8), 1..60)) {
        let (mut book, mut model) = (Book::default(), Model::default());
        for case in 1..=4 {
            let told = vec![told(case, 1, 1, 1)];
            book.tell(&Command::FollowReferrals { told, agreements: vec![], observed: vec![] }, 1).unwrap();
            book.tell(&acknowledge(case, None), 1).unwrap();
        }
        let mut now = 2;
        for (play, passes) in history {
            now += passes;
            let expected = model.play(&play, now);
            let told = book.tell(&command(&play), now).map_err(|error| error.reason()).map(|events| {
                let ids = events.iter().filter_map(Event::case_changed).map(|changed| changed.case.referred.name.id);
                ids.map(|id| id.as_u128()).collect::<Vec<_>>()
            });
            prop_assert_eq!(told, expected, "{:?} at {}", play, now);
            for case in 1..=4 {
                let known = book.case(case);
                let holder = known.leased(at(now)).map(|lease| lease.holder.clone());
                prop_assert_eq!(holder, model.holder(case, now).map(|holder| format!("r.{holder}")));
                let status = match (model.decided.contains(&case), model.looked_at.contains(&case)) {
                    (true, _) => Status::Decided,
                    (false, true) => Status::UnderReview,
                    (false, false) => Status::Received,
                };
                prop_assert_eq!(known.status(), status);
            }
        }
    }
}
