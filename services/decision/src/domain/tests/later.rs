//! What an agency says of a referral after it was sent takes effect once, however often and in whatever order it is told.

use proptest::prelude::*;

use super::*;
use crate::domain::{NonDisclosure, Order, Priority};

/// The referral as its log tells it after so many priorities, and so many steps of its non-disclosure.
fn later(version: u32, steps: u32) -> Told {
    let mut told = told(1, 1, 1, 1);
    let changed_at = (version > 0).then(|| at(i64::from(version)));
    told.referred.priority = Some(Priority { score: version + 1, version, changed_at, ..Priority::default() });
    let extended = (steps > 0).then(|| (at(900), at(3), String::new()));
    let lifted = (steps > 1).then(|| (at(4), String::new()));
    told.referred.order = Some(Order {
        regime: Order::TCO,
        non_disclosure_until: Some(at(500)),
        non_disclosure: (steps > 0).then_some(NonDisclosure { extended, lifted }),
        ..Order::default()
    });
    told
}

proptest! {
    #[test]
    fn what_is_said_later_takes_effect_once(told in prop::collection::vec((0..5_u32, 0..3_u32), 1..12)) {
        let mut book = Book::default();
        let (mut version, mut steps) = told[0];
        let (mut prioritised, mut disclosed) = (0, 0);
        for (of, to) in told {
            prioritised += usize::from(of > version);
            disclosed += usize::from(to > steps);
            (version, steps) = (version.max(of), steps.max(to));
            let told = vec![later(of, to)];
            book.tell(&Command::FollowReferrals { told, agreements: vec![], observed: vec![] }, 10).unwrap();
        }
        let case = book.case(1);
        let expected = later(version, steps).referred;
        prop_assert_eq!((&case.referred.priority, &case.referred.order), (&expected.priority, &expected.order));
        prop_assert_eq!(case.urgency(), version + 1);
        let count = |of: fn(&Event) -> bool| book.log.iter().filter(|recorded| of(&recorded.event)).count();
        prop_assert_eq!(count(|event| matches!(event, Event::CasePrioritised(_))), prioritised);
        prop_assert_eq!(count(|event| matches!(event, Event::NonDisclosureChanged(_))), disclosed);
        let clock = case.clocks().into_iter().find(|clock| clock.key.kind == ClockKind::NonDisclosure).unwrap();
        prop_assert_eq!(clock.due_at(), Some(at(if steps > 0 { 900 } else { 500 })));
        prop_assert_eq!(clock.state() == ClockState::Cancelled, steps > 1);
    }
}
