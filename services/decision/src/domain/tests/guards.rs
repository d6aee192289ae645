//! Each guard, from both sides.

use portreeve_core::{Error, Reason};

use super::*;
use crate::domain::ledger::{Step, TRANSITIONS, transition};

/// A case that was referred at 10 and acknowledged at 20, and a clause whose versions begin at 5 and 50.
fn received() -> Book {
    let mut book = Book::default();
    for (command, now) in [
        (Command::CreateClause { name: clause_name("he-7"), title: "Human exploitation".into() }, 1),
        (Command::AddClauseVersion { clause: clause_name("he-7"), draft: version(5, None) }, 2),
        (Command::AddClauseVersion { clause: clause_name("he-7"), draft: version(50, None) }, 3),
        (Command::FollowReferrals { told: vec![told(1, 7, 10, 11)], agreements: vec![], observed: vec![] }, 12),
        (acknowledge(1, Some(20)), 21),
    ] {
        assert_eq!(book.tell(&command, now).unwrap().len(), 1);
    }
    book
}

fn reason(result: Result<Vec<Event>>) -> Reason {
    result.unwrap_err().reason()
}

fn field(result: Result<Vec<Event>>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.reason(), Reason::RequestInvalid);
    error.violations().iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>().join(" ")
}

fn metadata(error: &Error, key: &str) -> String {
    error.metadata().iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn what_the_table_does_not_hold_cannot_be_done() {
    let steps = [
        Step::Acknowledge,
        Step::Decide,
        Step::DecideAgain,
        Step::Withdraw,
        Step::Ask,
        Step::Answer,
        Step::Impede,
        Step::Cease,
        Step::Review,
    ];
    let possible = Status::ALL.iter().flat_map(|from| steps.map(|step| (*from, step)));
    assert_eq!(possible.filter(|(from, step)| transition(*from, *step).is_some()).count(), TRANSITIONS.len());
    assert!(steps.iter().all(|step| transition(Status::Withdrawn, *step).is_none()), "WITHDRAWN is final");
}

#[test]
fn a_receipt_is_neither_before_the_referral_nor_in_the_future() {
    let mut book = Book::default();
    book.tell(&Command::FollowReferrals { told: vec![told(1, 1, 10, 11)], agreements: vec![], observed: vec![] }, 12)
        .unwrap();
    assert_eq!(field(book.tell(&acknowledge(1, Some(9)), 20)), "occurred_at");
    assert_eq!(field(book.tell(&acknowledge(1, Some(21)), 20)), "occurred_at");
    assert_eq!(reason(book.tell(&acknowledge(2, None), 20)), Reason::CaseNotFound);
    let elsewhere = CaseName { platform: "chirrup".into(), ..case_name(1) };
    let elsewhere = Command::Acknowledge { case: elsewhere, occurred_at: None };
    assert_eq!(reason(book.tell(&elsewhere, 20)), Reason::CaseNotFound);
    book.tell(&acknowledge(1, Some(10)), 20).unwrap();
    assert_eq!(book.case(1).receipt(), Some(Receipt { occurred_at: at(10), recorded_at: at(20) }));
}

#[test]
fn the_first_receipt_counts() {
    let mut book = received();
    assert_eq!(book.tell(&acknowledge(1, Some(15)), 30).unwrap(), []);
    assert_eq!(book.case(1).receipt(), Some(Receipt { occurred_at: at(20), recorded_at: at(21) }));
}

#[test]
fn a_clock_behind_the_referral_service_puts_nothing_before_the_referral() {
    let mut book = Book::default();
    book.tell(&Command::FollowReferrals { told: vec![told(1, 1, 10, 11)], agreements: vec![], observed: vec![] }, 8)
        .unwrap();
    book.tell(&acknowledge(1, None), 9).unwrap();
    assert_eq!(book.case(1).receipt(), Some(Receipt { occurred_at: at(10), recorded_at: at(11) }));
    book.tell(&record(1, draft(Kind::Initial, illegal(), None)), 9).unwrap();
    let decision = book.case(1).decision().unwrap();
    assert_eq!((decision.decided_at, decision.recorded_at), (at(10), at(11)));
}

#[test]
fn a_case_is_acknowledged_before_it_is_decided() {
    let mut book = Book::default();
    book.tell(&Command::FollowReferrals { told: vec![told(1, 1, 10, 11)], agreements: vec![], observed: vec![] }, 12)
        .unwrap();
    let error = book.tell(&record(1, draft(Kind::Initial, illegal(), None)), 20).unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidTransition);
    assert_eq!((metadata(&error, "from"), metadata(&error, "to")), ("SUBMITTED".into(), "INITIAL".into()));
}

#[test]
fn a_decision_is_neither_before_the_receipt_nor_in_the_future() {
    let mut book = received();
    let decide = |decided| record(1, draft(Kind::Initial, illegal(), Some(decided)));
    assert_eq!(field(book.tell(&decide(19), 40)), "decision.decided_at");
    assert_eq!(field(book.tell(&decide(41), 40)), "decision.decided_at");
    book.tell(&decide(20), 40).unwrap();
    let again = |decided| record(1, draft(later(Later::Amended), flat(OutcomeKind::TerminatedAccount), Some(decided)));
    assert_eq!(field(book.tell(&again(19), 41)), "decision.decided_at");
    book.tell(&again(20), 41).unwrap();
    assert_eq!(book.case(1).first_decided_at(), Some(at(20)));
}

#[test]
fn every_wrong_time_and_reference_is_named_at_once() {
    let mut book = received();
    let mut draft =
        draft(Kind::Initial, Flat { suspended_until: Some(at(30)), ..flat(OutcomeKind::SuspendedUntil) }, Some(30));
    draft.content.effective_at = Some(at(99));
    let foreign = ClauseName { platform: "chirrup".into(), clause: "he-7".into() };
    draft.content.also.clauses.push(Citation { clause: foreign, version: 1 });
    let fields = "decision.clauses[0].clause decision.effective_at decision.suspended_until";
    assert_eq!(field(book.tell(&record(1, draft), 40)), fields);
    let own = Flat { duplicate_of: Some(told(1, 1, 1, 1).referred.name), ..flat(OutcomeKind::Duplicate) };
    assert_eq!(field(book.tell(&record(1, super::draft(Kind::Initial, own, None)), 40)), "decision.duplicate_of");
    let mut nothing_done = super::draft(Kind::Initial, flat(OutcomeKind::InsufficientInfo), None);
    nothing_done.content.effective_at = Some(at(30));
    assert_eq!(field(book.tell(&record(1, nothing_done), 40)), "decision.effective_at");
    let geo = Flat { restriction: Restriction::Geo.code(), ..flat(OutcomeKind::Restricted) };
    assert_eq!(field(book.tell(&record(1, super::draft(Kind::Initial, geo, None)), 40)), "decision.territorial_scope");
}

#[test]
fn whoever_posted_it_is_kept_in_the_dark_until_later_and_exempt_by_an_order_only_where_there_is_one() {
    let said = |nature: i32, notification| {
        let mut book = Book::default();
        let mut told = told(1, 1, 10, 11);
        told.referred.nature = nature;
        book.tell(&Command::FollowReferrals { told: vec![told], agreements: vec![], observed: vec![] }, 12).unwrap();
        book.tell(&acknowledge(1, None), 20).unwrap();
        let mut draft = draft(Kind::Initial, illegal(), Some(30));
        draft.content.notification = Some(notification);
        let recorded = book.tell(&record(1, draft), 40);
        recorded.map_or_else(|error| error.violations()[0].field.clone(), |_| String::new())
    };
    assert_eq!(said(1, Notification::Suppressed(at(30))), "decision.user_notification.suppressed_until");
    assert_eq!(said(1, Notification::Suppressed(at(31))), "");
    let order = Notification::Exempt(Exemption::Order);
    assert_eq!((said(1, order).as_str(), said(3, order).as_str()), ("decision.user_notification.exemption", ""));
    assert_eq!(said(1, Notification::Exempt(Exemption::ContactUnknown)), "");
}

#[test]
fn a_cited_clause_exists_and_was_in_force_when_the_decision_was_made() {
    let permitted = |clause: &str, version, decided| {
        record(1, draft(Kind::Initial, cites(OutcomeKind::PermittedByPolicy, clause, version), Some(decided)))
    };
    for (clause, version, decided, expected) in [
        ("he-8", 1, 40, Err(Reason::ClauseNotFound)),
        ("he-7", 3, 40, Err(Reason::ClauseNotFound)),
        ("he-7", 2, 40, Err(Reason::ClauseNotInForce)),
        ("he-7", 1, 50, Err(Reason::ClauseNotInForce)),
        ("he-7", 1, 49, Ok(1)),
        ("he-7", 2, 50, Ok(1)),
    ] {
        let told = received().tell(&permitted(clause, version, decided), 60);
        assert_eq!(
            told.map(|events| events.len()).map_err(|e| e.reason()),
            expected,
            "{clause}@{version} at {decided}"
        );
    }
    // A clause that is cited besides is held to the same.
    let besides = Flat { clauses: cites(OutcomeKind::Impossible, "he-8", 1).clauses, ..illegal() };
    let besides = record(1, draft(Kind::Initial, besides, None));
    assert_eq!(reason(received().tell(&besides, 60)), Reason::ClauseNotFound);
}

#[test]
fn versions_follow_one_another_and_the_first_stays() {
    let mut book = received();
    let second_first = record(1, draft(later(Later::Amended), illegal(), None));
    assert_eq!(reason(book.tell(&second_first, 30)), Reason::InvalidTransition);
    book.tell(&record(1, draft(Kind::Initial, illegal(), None)), 30).unwrap();
    let again = record(1, draft(Kind::Initial, flat(OutcomeKind::Impossible), None));
    let error = book.tell(&again, 31).unwrap_err();
    assert_eq!((metadata(&error, "from"), metadata(&error, "to")), ("DECIDED".into(), "INITIAL".into()));

    let reinstated = || draft(later(Later::Reinstated), cites(OutcomeKind::NotViolating, "he-7", 1), None);
    book.tell(&record(1, reinstated()), 32).unwrap();
    assert_eq!(book.case(1).decision().unwrap().version, 2);
    assert_eq!(book.case(1).first_decided_at(), Some(at(30)));
    // What is up cannot be put back.
    let insufficient = draft(later(Later::Reinstated), flat(OutcomeKind::InsufficientInfo), None);
    assert_eq!(reason(book.tell(&record(1, insufficient), 33)), Reason::InvalidTransition);
    let versions = book.state.changes.decided.iter().map(|(_, case)| case.decision().unwrap().version);
    assert_eq!(versions.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_same_decision_again_is_done_already() {
    let mut book = received();
    let first = || draft(Kind::Initial, illegal(), Some(25));
    book.tell(&record(1, first()), 30).unwrap();
    assert_eq!(book.tell(&record(1, first()), 31).unwrap(), []);
    let without_time = DecisionDraft { decided_at: None, ..first() };
    assert_eq!(book.tell(&record(1, without_time), 31).unwrap(), []);
    let at_another_time = DecisionDraft { decided_at: Some(at(26)), ..first() };
    assert_eq!(reason(book.tell(&record(1, at_another_time), 31)), Reason::InvalidTransition);
}

#[test]
fn a_stale_version_is_refused() {
    let mut book = received();
    let decide = |expected_version, kind| Command::Record {
        case: case_name(1),
        draft: Box::new(draft(kind, illegal(), None)),
        by: String::new(),
        expected_version,
    };
    let error = book.tell(&decide(Some(1), Kind::Initial), 30).unwrap_err();
    assert_eq!(error.reason(), Reason::StaleVersion);
    assert_eq!((metadata(&error, "expected"), metadata(&error, "actual")), ("1".into(), "0".into()));
    book.tell(&decide(Some(0), Kind::Initial), 30).unwrap();
    assert_eq!(reason(book.tell(&decide(Some(0), later(Later::Corrected)), 31)), Reason::StaleVersion);
    book.tell(&decide(Some(1), later(Later::Corrected)), 31).unwrap();
}

#[test]
fn a_withdrawn_case_takes_nothing_more_and_keeps_what_was_done() {
    let mut book = received();
    book.tell(&record(1, draft(Kind::Initial, illegal(), None)), 30).unwrap();
    let gone = withdrawn(told(1, 7, 10, 11), 8, 31, 32);
    let events = book
        .tell(&Command::FollowReferrals { told: vec![gone.clone()], agreements: vec![], observed: vec![] }, 33)
        .unwrap();
    let [Event::CaseWithdrawn(changed)] = events.as_slice() else { unreachable!("{events:?}") };
    assert_eq!((changed.before, changed.referral_position), (Some(Disposition::Closed), 8));
    assert_eq!(book.case(1).disposition(), Disposition::Withdrawn);
    assert_eq!(book.case(1).decision().unwrap().version, 1);
    // Told twice, it is done once.
    assert_eq!(
        book.tell(&Command::FollowReferrals { told: vec![gone], agreements: vec![], observed: vec![] }, 34).unwrap(),
        []
    );
    let amended = record(1, draft(later(Later::Amended), illegal(), None));
    assert_eq!(reason(book.tell(&amended, 35)), Reason::CaseWithdrawn);
    assert_eq!(book.tell(&acknowledge(1, None), 35).unwrap(), []);

    let mut book = Book::default();
    let both = vec![told(2, 1, 10, 11), withdrawn(told(2, 1, 10, 11), 2, 12, 13)];
    assert_eq!(
        book.tell(&Command::FollowReferrals { told: both, agreements: vec![], observed: vec![] }, 14).unwrap().len(),
        2
    );
    assert_eq!(reason(book.tell(&acknowledge(2, None), 20)), Reason::CaseWithdrawn);
    // A withdrawal of which the beginning was not told is both.
    assert_eq!(
        book.tell(
            &Command::FollowReferrals {
                told: vec![withdrawn(told(3, 3, 1, 1), 4, 2, 2)],
                agreements: vec![],
                observed: vec![]
            },
            20
        )
        .unwrap()
        .len(),
        2
    );
}

#[test]
fn changes_say_how_far_the_referral_log_was_followed_and_which_clause_held_before() {
    let mut book = received();
    let events =
        book.tell(&record(1, draft(Kind::Initial, cites(OutcomeKind::PermittedByPolicy, "he-7", 1), None)), 30);
    let changed = events.unwrap().pop().unwrap();
    let changed = changed.case_changed().unwrap();
    assert_eq!((changed.referral_position, changed.before), (7, Some(Disposition::Received)));
    assert_eq!(changed.clause_before, None);
    let events = book.tell(&record(1, draft(later(Later::Reversed), illegal(), None)), 31);
    let changed = events.unwrap().pop().unwrap();
    let before = changed.case_changed().unwrap().clause_before.clone();
    assert_eq!(before, Some(Citation { clause: clause_name("he-7"), version: 1 }));
}

#[test]
fn the_catalogue_only_grows_forwards() {
    let mut book = received();
    let add = |draft| Command::AddClauseVersion { clause: clause_name("he-7"), draft };
    assert_eq!(field(book.tell(&add(version(50, None)), 60)), "clause_version.effective_from");
    assert_eq!(field(book.tell(&add(version(51, Some(51))), 60)), "clause_version.effective_until");
    assert_eq!(
        field(book.tell(&add(version(5, Some(5))), 60)),
        "clause_version.effective_from clause_version.effective_until"
    );
    let again = Command::CreateClause { name: clause_name("he-7"), title: "x".into() };
    assert_eq!(reason(book.tell(&again, 60)), Reason::ClauseExists);
    let unknown = Command::AddClauseVersion { clause: clause_name("he-8"), draft: version(1, None) };
    assert_eq!(reason(book.tell(&unknown, 60)), Reason::ClauseNotFound);
    let events = book.tell(&add(version(51, Some(52))), 60).unwrap();
    assert!(matches!(events.as_slice(), [Event::ClauseVersionAdded(added)] if added.citation.version == 3));
}
