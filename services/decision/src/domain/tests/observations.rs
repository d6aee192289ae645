//! What was seen last, and where that does not agree with what was decided: against a model that is written differently.

use portreeve_core::vocabulary::{ObservationFinding, ObservationMethod};
use proptest::prelude::*;

use super::*;
use crate::domain::{Discrepancy, Observation};

const DAY: i64 = 8_640;

fn seen(position: i64, finding: ObservationFinding, country: &str, observed: i64) -> Seen {
    Seen {
        position,
        referral: Uuid::from_u128(1),
        observation: Observation {
            name: format!("agencies/nca/referrals/{}/observations/{}", Uuid::from_u128(1), Uuid::nil()),
            finding,
            method: ObservationMethod::Automated,
            country: country.into(),
            observed_at: at(observed),
            recorded_at: at(observed),
            evidence: String::new(),
        },
    }
}

fn observe(seen: Seen) -> Command {
    Command::FollowReferrals { told: vec![], agreements: vec![], observed: vec![seen] }
}

fn received() -> Book {
    let mut book = Book::default();
    let told = vec![told(1, 1, 10, 11)];
    book.tell(&Command::FollowReferrals { told, agreements: vec![], observed: vec![] }, 12).unwrap();
    book.tell(&acknowledge(1, Some(12)), 12).unwrap();
    book
}

#[test]
fn what_was_seen_last_counts_whenever_it_is_told() {
    let mut book = received();
    assert_eq!(book.tell(&observe(seen(2, ObservationFinding::Live, "GB", 30)), 31).unwrap().len(), 1);
    assert_eq!(book.tell(&observe(seen(3, ObservationFinding::Gone, "GB", 20)), 32).unwrap(), [], "of earlier");
    assert_eq!(book.tell(&observe(seen(2, ObservationFinding::Live, "GB", 30)), 33).unwrap(), [], "told twice");
    assert_eq!(book.case(1).observation.as_ref().map(|seen| seen.finding), Some(ObservationFinding::Live));
    assert_eq!(book.case(1).status(), Status::Received, "what is seen decides nothing");
    // Of a case that is not there nothing is said.
    let nobody = Seen { referral: Uuid::from_u128(9), ..seen(4, ObservationFinding::Live, "", 40) };
    assert_eq!(book.tell(&observe(nobody), 41).unwrap(), []);
    // It is told with the referral, in one stretch of the log.
    let mut fresh = Book::default();
    let both = Command::FollowReferrals {
        told: vec![told(1, 1, 10, 11)],
        agreements: vec![],
        observed: vec![seen(2, ObservationFinding::Live, "", 20)],
    };
    let events = fresh.tell(&both, 21).unwrap();
    assert!(matches!(events.as_slice(), [Event::CaseOpened(_), Event::CaseObserved(_)]), "{events:?}");
}

#[test]
fn what_tells_nothing_of_the_target_itself_takes_no_discrepancy_away() {
    let mut book = received();
    book.tell(&record(1, draft(Kind::Initial, illegal(), Some(20))), 20).unwrap();
    book.tell(&observe(seen(2, ObservationFinding::Live, "GB", 20 + DAY)), 21 + DAY).unwrap();
    for (later, finding) in (1..).zip(ObservationFinding::ALL.iter().filter(|of| **of != ObservationFinding::Live)) {
        let mut then = Book { state: State::default(), log: Vec::new() };
        for recorded in &book.log {
            Ledger::evolve(&mut then.state, recorded);
        }
        then.tell(&observe(seen(3, *finding, "GB", 20 + DAY + later)), 30 + DAY).unwrap();
        let expected = (*finding != ObservationFinding::Gone).then_some(Discrepancy::ClosedButLive);
        assert_eq!(then.case(1).discrepancy(), expected, "{finding:?}");
        assert_eq!(then.case(1).observation.as_ref().map(|seen| seen.finding), Some(*finding));
    }
}

/// The outcomes with what each says of the target as a whole.
fn menu() -> Vec<(Flat, &'static str)> {
    vec![
        (illegal(), "closed"),
        (flat(OutcomeKind::TerminatedAccount), "closed"),
        (Flat { suspended_until: Some(at(100 + 5 * DAY)), ..flat(OutcomeKind::SuspendedUntil) }, "suspended"),
        (Flat { restriction: Restriction::Age.code(), ..flat(OutcomeKind::Restricted) }, "restricted"),
        (Flat { items_closed: 1, items_total: 2, ..flat(OutcomeKind::PartiallyClosed) }, "restricted"),
        (flat(OutcomeKind::InsufficientInfo), "up"),
        (Flat { gone_by: 1, ..flat(OutcomeKind::AlreadyGone) }, "gone"),
        (flat(OutcomeKind::NotOurService), "not theirs"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_discrepancy_is_the_models(
        outcome in 0..8_usize,
        finding in prop::sample::select(ObservationFinding::ALL),
        after in -20..(8 * DAY),
        effective in prop::option::of(100..(100 + 3 * DAY)),
        scope in prop::sample::select(&[None, Some("GB"), Some("FR")][..]),
        withdrawn_too in prop::bool::weighted(0.1),
        seen_first in any::<bool>(),
    ) {
        let mut book = received();
        let (flat, says) = menu().swap_remove(outcome);
        let acts = !["up", "gone", "not theirs"].contains(&says);
        let mut draft = draft(Kind::Initial, flat, Some(100));
        draft.content.effective_at = effective.filter(|_| acts).map(at);
        draft.content.territorial_scope = scope.map(str::to_owned).into_iter().collect();
        let looked = 100 + after;
        let steps = [record(1, draft), observe(seen(2, finding, "GB", looked))];
        let order = if seen_first { [1, 0] } else { [0, 1] };
        for step in order {
            let before = book.state.cases[&Uuid::from_u128(1)].case.discrepancy();
            let events = book.tell(&steps[step], 100 + 9 * DAY).unwrap();
            prop_assert_eq!(events[0].case_changed().unwrap().discrepancy_before, before);
        }
        if withdrawn_too {
            let gone = withdrawn(told(1, 3, 10, 11), 3, 100 + 9 * DAY, 100 + 9 * DAY);
            book.tell(&Command::FollowReferrals { told: vec![gone], agreements: vec![], observed: vec![] }, 101 + 9 * DAY).unwrap();
        }
        let from = effective.filter(|_| acts).unwrap_or(100) + DAY;
        let down = says == "closed" || (says == "suspended" && looked < 100 + 5 * DAY);
        let expected = match finding {
            _ if withdrawn_too => None,
            ObservationFinding::Live if down && looked >= from && scope != Some("FR") => Some(Discrepancy::ClosedButLive),
            ObservationFinding::Gone if says == "up" && looked >= 100 => Some(Discrepancy::NoActionButGone),
            _ => None,
        };
        prop_assert_eq!(book.case(1).discrepancy(), expected);
    }
}
