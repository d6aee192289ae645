//! Candidates for replay, against a model in plain numbers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Move {
    /// A version comes into force after so long, until so long after that, and ends the permissions of some before it.
    AddVersion {
        after: i64,
        lasts: Option<i64>,
        ends: Vec<u32>,
    },
    /// A case is decided, or was so long ago and is told of now: permitted by what was in force then, or closed by it.
    Decide {
        case: u128,
        permitted: bool,
        ago: i64,
    },
    Withdraw {
        case: u128,
    },
    Sweep,
}

#[derive(Default)]
struct Model {
    /// From, until, and whose permissions it ends.
    versions: Vec<(i64, Option<i64>, Vec<u32>)>,
    /// The version that permits it, if one does, when it was decided, and whether the referral was withdrawn.
    cases: BTreeMap<u128, (Option<u32>, i64, bool)>,
}

impl Model {
    fn in_force(&self, now: i64) -> Option<u32> {
        let number = self.versions.iter().filter(|(from, ..)| *from <= now).count();
        let (_, until, _) = self.versions.get(number.checked_sub(1)?)?;
        until.is_none_or(|until| now < until).then_some(u32::try_from(number).unwrap())
    }

    /// Under which version a case is a candidate.
    fn candidate(&self, case: u128, now: i64) -> Option<u32> {
        let (permitting, _, withdrawn) = self.cases.get(&case)?;
        let (permitting, under) = ((*permitting)?, self.in_force(now)?);
        let ends = self.versions[under as usize - 1].2.contains(&permitting);
        (ends && !withdrawn).then_some(under)
    }
}

fn moves() -> impl Strategy<Value = Vec<(Move, i64)>> {
    let ends = prop::collection::btree_set(1..5_u32, 0..4).prop_map(|ends| ends.into_iter().collect());
    let add = (0..6_i64, prop::option::weighted(0.3, 1..8_i64), ends)
        .prop_map(|(after, lasts, ends)| Move::AddVersion { after, lasts, ends });
    let one = prop_oneof![
        3 => add,
        5 => (1..6_u128, prop::bool::weighted(0.8), prop_oneof![Just(0), 0..20_i64])
            .prop_map(|(case, permitted, ago)| Move::Decide { case, permitted, ago }),
        1 => (1..6_u128).prop_map(|case| Move::Withdraw { case }),
        3 => Just(Move::Sweep),
    ];
    prop::collection::vec((one, 0..4_i64), 1..40)
}

fn marked(book: &Book, case: u128) -> Option<u32> {
    book.state
        .cases
        .get(&Uuid::from_u128(case))
        .and_then(|record| record.case.replay.as_ref())
        .map(|it| it.under.version)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_swept_is_marked_as_the_clause_in_force_has_it(moves in moves()) {
        let (mut book, mut model) = (Book::default(), Model::default());
        let mut now = 10;
        book.tell(&Command::CreateClause { name: clause_name("he-7"), title: "t".into() }, now).unwrap();
        for (step, (one, passes)) in moves.into_iter().enumerate() {
            now += passes;
            match one {
                Move::AddVersion { after, lasts, mut ends } => {
                    let from = (now + after).max(model.versions.last().map_or(0, |(from, ..)| from + 1));
                    ends.retain(|ended| *ended as usize <= model.versions.len());
                    let until = lasts.map(|lasts| from + lasts);
                    let draft = ClauseVersionDraft { ends_permission_of: ends.clone(), ..version(from, until) };
                    book.tell(&Command::AddClauseVersion { clause: clause_name("he-7"), draft }, now).unwrap();
                    model.versions.push((from, until, ends));
                }
                Move::Decide { case, permitted, ago } => {
                    let latest = model.cases.get(&case).copied();
                    let on = (now - ago).max(latest.map_or(1, |(_, on, _)| on));
                    let Some(version) = model.in_force(on) else { continue };
                    if latest.is_some_and(|(_, _, withdrawn)| withdrawn) {
                        continue;
                    }
                    let position = i64::try_from(step).unwrap() + 1;
                    let follow = Command::FollowReferrals { told: vec![told(case, position, 1, 1)], agreements: vec![], observed: vec![] };
                    book.tell(&follow, now).unwrap();
                    book.tell(&acknowledge(case, Some(1)), now).unwrap();
                    let kind = if permitted { OutcomeKind::PermittedByPolicy } else { OutcomeKind::ClosedTerms };
                    let kinds = if book.case(case).decision().is_none() { Kind::Initial } else { later(Later::Amended) };
                    let events = book.tell(&record(case, draft(kinds, cites(kind, "he-7", version), Some(on))), now);
                    model.cases.insert(case, (permitted.then_some(version), on, false));
                    if !events.unwrap().is_empty() {
                        let said = "a decision is marked from the beginning";
                        prop_assert_eq!(marked(&book, case), model.candidate(case, now), "{}", said);
                    }
                }
                Move::Withdraw { case } => {
                    let Some((permitting, on, _)) = model.cases.get(&case).copied() else { continue };
                    let gone = withdrawn(told(case, 1_000, 1, 1), 1_000, 2, 2);
                    book.tell(&Command::FollowReferrals { told: vec![gone], agreements: vec![], observed: vec![] }, now).unwrap();
                    model.cases.insert(case, (permitting, on, true));
                    prop_assert_eq!(marked(&book, case), None);
                }
                Move::Sweep => {
                    let before = model.cases.keys().map(|case| (*case, marked(&book, *case))).collect::<BTreeMap<_, _>>();
                    let sweep =
                        Command::Replay { clause: clause_name("he-7"), cases: (1..6).map(Uuid::from_u128).collect() };
                    let events = book.tell(&sweep, now).unwrap();
                    let mut moved = 0;
                    for case in model.cases.keys() {
                        prop_assert_eq!(marked(&book, *case), model.candidate(*case, now), "case {}", case);
                        moved += usize::from(before[case] != marked(&book, *case));
                    }
                    prop_assert_eq!(events.len(), moved, "nothing is said of what stays");
                    prop_assert_eq!(book.tell(&sweep, now).unwrap(), [], "said once");
                }
            }
        }
    }
}

#[test]
fn a_version_ends_permissions_of_versions_before_it_alone() {
    let mut book = Book::default();
    book.tell(&Command::CreateClause { name: clause_name("he-7"), title: "t".into() }, 1).unwrap();
    let mut add = |ends: Vec<u32>, from| {
        let draft = ClauseVersionDraft { ends_permission_of: ends, ..version(from, None) };
        let refused = book.tell(&Command::AddClauseVersion { clause: clause_name("he-7"), draft }, 1);
        refused.map(drop).map_err(|e| e.violations().iter().map(|at| at.field.clone()).collect::<Vec<_>>())
    };
    assert_eq!(add(vec![1], 1), Err(vec!["clause_version.ends_permission_of[0]".to_owned()]));
    assert_eq!(add(vec![], 1), Ok(()));
    let both = [1, 3].map(|index| format!("clause_version.ends_permission_of[{index}]"));
    assert_eq!(add(vec![1, 2, 1, 9], 2).unwrap_err()[..], both);
    assert_eq!(add(vec![1], 2), Ok(()));
}

#[test]
fn a_case_that_rests_on_another_clause_meanwhile_keeps_its_mark() {
    let mut book = Book::default();
    for clause in ["he-7", "he-8"] {
        book.tell(&Command::CreateClause { name: clause_name(clause), title: "t".into() }, 1).unwrap();
        for (from, ends) in [(1, vec![]), (20, vec![1])] {
            let draft = ClauseVersionDraft { ends_permission_of: ends, ..version(from, None) };
            book.tell(&Command::AddClauseVersion { clause: clause_name(clause), draft }, 1).unwrap();
        }
    }
    book.tell(&Command::FollowReferrals { told: vec![told(1, 1, 1, 1)], agreements: vec![], observed: vec![] }, 2)
        .unwrap();
    book.tell(&acknowledge(1, None), 3).unwrap();
    let permitted = |kind, clause| record(1, draft(kind, cites(OutcomeKind::PermittedByPolicy, clause, 1), Some(10)));
    book.tell(&permitted(Kind::Initial, "he-7"), 10).unwrap();
    // The sweeper has read the case for the one clause; before it marks, the platform rests it on the other.
    book.tell(&permitted(later(Later::Amended), "he-8"), 30).unwrap();
    assert_eq!(marked(&book, 1), Some(2));
    book.state.clauses.remove(&clause_name("he-8"));
    let sweep = Command::Replay { clause: clause_name("he-7"), cases: vec![Uuid::from_u128(1)] };
    assert_eq!(book.tell(&sweep, 31).unwrap(), []);
    assert_eq!(marked(&book, 1), Some(2));
}
