//! Challenges: each guard from both sides, and random lives against a model that is written differently.

use std::collections::BTreeMap;

use portreeve_core::name::{ChallengeName, OrganisationName};
use portreeve_core::{Error, Reason, limits};
use proptest::prelude::*;

use super::*;
use crate::domain::challenge::reached_from;
use crate::domain::{ChallengeDraft, ChallengeKind, ChallengeOutcome, Forum, Move, Pursuit, Stage};

const DAY: i64 = 8_640;

fn org(name: &str) -> OrganisationName {
    name.parse().unwrap()
}

fn file(kind: ChallengeKind, version: u32, by: &str, occurred: Option<i64>) -> Command {
    let reasons = if kind == ChallengeKind::ContentOwnerComplaint { "" } else { "The clause does not permit it." };
    let draft = ChallengeDraft { kind, version, reasons: reasons.into(), occurred_at: occurred.map(at) };
    Command::FileChallenge { case: case_name(1), draft, by: org(by) }
}

fn by_agency(version: u32) -> Command {
    file(ChallengeKind::ReferrerChallenge, version, "agencies/nca", None)
}

fn pursue(number: u32, moved: Move, decision: Option<DecisionDraft>) -> Command {
    let challenge = ChallengeName { case: case_name(1), number };
    Command::Pursue { challenge, pursuit: Box::new(Pursuit { by: None, moved, decision, occurred_at: None }) }
}

fn decide(outcome: ChallengeOutcome) -> Move {
    Move::Decide { outcome, explanation: "We looked again.".into(), version: 0 }
}

fn reversal(cause: CauseKind) -> DecisionDraft {
    draft(Kind::Later(Later::Reversed, Cause { kind: cause, reference: String::new() }), illegal(), None)
}

/// A case of which the first decision, at 30, left the content up.
fn decided(nature: i32) -> Book {
    let mut book = Book::default();
    let mut told = told(1, 7, 10, 11);
    told.referred.nature = nature;
    for (command, now) in [
        (Command::FollowReferrals { told: vec![told], agreements: vec![], observed: vec![] }, 12),
        (acknowledge(1, None), 20),
        (record(1, draft(Kind::Initial, flat(OutcomeKind::InsufficientInfo), None)), 30),
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
    assert_eq!(error.reason(), Reason::RequestInvalid, "{error}");
    error.violations().iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>().join(" ")
}

fn stages(error: &Error) -> (String, String) {
    let of = |key: &str| error.metadata().iter().find(|(known, _)| *known == key).unwrap().1.clone();
    (of("from"), of("to"))
}

#[test]
fn who_files_what() {
    use ChallengeKind::{ContentOwnerComplaint, HomeAuthorityScrutiny, OversightReview, ReferrerChallenge};
    let (agency, platform, body) = ("agencies/nca", "platforms/hb", "oversightBodies/coordinator");
    for (kind, by, nature, expected) in [
        (ReferrerChallenge, agency, 1, ""),
        (ReferrerChallenge, platform, 1, "challenge.kind"),
        (ReferrerChallenge, body, 1, "challenge.kind"),
        (ContentOwnerComplaint, platform, 1, ""),
        (ContentOwnerComplaint, agency, 1, "challenge.kind"),
        (OversightReview, body, 1, ""),
        (OversightReview, agency, 1, "challenge.kind"),
        (HomeAuthorityScrutiny, body, 3, ""),
        (HomeAuthorityScrutiny, body, 1, "challenge.kind"),
        (HomeAuthorityScrutiny, platform, 3, "challenge.kind"),
    ] {
        let told = decided(nature).tell(&file(kind, 1, by, None), 40);
        match expected {
            "" => assert_eq!(told.unwrap().len(), 1, "{kind:?} by {by}"),
            wrong => assert_eq!(field(told), wrong, "{kind:?} by {by}"),
        }
    }
    // Another agency does not learn whether there is a case.
    let other = file(ReferrerChallenge, 1, "agencies/bka", None);
    let (there, not) = (decided(1).tell(&other, 40).unwrap_err(), Book::default().tell(&other, 40).unwrap_err());
    assert_eq!((there.reason(), there.to_string()), (Reason::PermissionDenied, not.to_string()));
    assert_eq!(reason(Book::default().tell(&file(OversightReview, 1, body, None), 40)), Reason::CaseNotFound);
}

#[test]
fn a_complaint_says_nothing_of_the_person_and_every_other_challenge_says_why() {
    let with = |kind, by: &str, reasons: &str| {
        let draft = ChallengeDraft { kind, version: 1, reasons: reasons.into(), occurred_at: None };
        decided(1).tell(&Command::FileChallenge { case: case_name(1), draft, by: org(by) }, 40)
    };
    assert_eq!(
        field(with(ChallengeKind::ContentOwnerComplaint, "platforms/hb", "I am A. N. Other")),
        "challenge.reasons"
    );
    assert_eq!(field(with(ChallengeKind::ReferrerChallenge, "agencies/nca", "")), "challenge.reasons");
    assert_eq!(field(with(ChallengeKind::ReferrerChallenge, "platforms/hb", "")), "challenge.kind challenge.reasons");
}

#[test]
fn the_decision_in_force_is_challenged_within_half_a_year() {
    let mut book = decided(1);
    assert_eq!(reason(book.tell(&by_agency(2), 40)), Reason::DecisionNotFound);
    let window = 30 + limits::CHALLENGE_DAYS * DAY;
    assert_eq!(reason(decided(1).tell(&by_agency(1), window + 1)), Reason::ChallengeWindowClosed);
    // It counts from when the decision could be known.
    let mut late = Book::default();
    late.tell(&Command::FollowReferrals { told: vec![told(1, 7, 10, 11)], agreements: vec![], observed: vec![] }, 12)
        .unwrap();
    late.tell(&acknowledge(1, Some(20)), 20).unwrap();
    let first = draft(Kind::Initial, flat(OutcomeKind::InsufficientInfo), Some(30));
    late.tell(&record(1, first), 30 + 10 * DAY).unwrap();
    assert_eq!(late.tell(&by_agency(1), window + 10 * DAY).unwrap().len(), 1);
    assert_eq!(decided(1).tell(&by_agency(1), window).unwrap().len(), 1);
    let early = file(ChallengeKind::ReferrerChallenge, 1, "agencies/nca", Some(29));
    assert_eq!(field(book.tell(&early, 40)), "challenge.occurred_at");
    let future = file(ChallengeKind::ReferrerChallenge, 1, "agencies/nca", Some(41));
    assert_eq!(field(book.tell(&future, 40)), "challenge.occurred_at");
    book.tell(&record(1, draft(later(Later::Amended), illegal(), None)), 50).unwrap();
    assert_eq!(reason(book.tell(&by_agency(1), 60)), Reason::StaleVersion);
    assert_eq!(book.tell(&by_agency(2), 60).unwrap().len(), 1);
    let gone = withdrawn(told(1, 7, 10, 11), 8, 61, 61);
    book.tell(&Command::FollowReferrals { told: vec![gone], agreements: vec![], observed: vec![] }, 62).unwrap();
    assert_eq!(reason(book.tell(&by_agency(2), 63)), Reason::CaseWithdrawn);
    // What was filed takes its way all the same.
    book.tell(&pursue(1, Move::Acknowledge, None), 64).unwrap();
    book.tell(&pursue(1, decide(ChallengeOutcome::Upheld), None), 65).unwrap();
    let mut undecided = Book::default();
    undecided
        .tell(&Command::FollowReferrals { told: vec![told(1, 7, 10, 11)], agreements: vec![], observed: vec![] }, 12)
        .unwrap();
    assert_eq!(reason(undecided.tell(&by_agency(1), 20)), Reason::DecisionNotFound);
}

#[test]
fn one_challenge_of_a_version_is_open_and_the_same_again_is_filed_already() {
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    assert_eq!(book.tell(&by_agency(1), 41).unwrap(), []);
    let another = ChallengeDraft {
        kind: ChallengeKind::ReferrerChallenge,
        version: 1,
        reasons: "Something else.".into(),
        occurred_at: None,
    };
    let another = Command::FileChallenge { case: case_name(1), draft: another, by: org("agencies/nca") };
    let refused = book.tell(&another, 42).unwrap_err();
    assert_eq!(refused.reason(), Reason::ChallengeOpen);
    assert!(refused.metadata().contains(&("challenge", format!("{}/challenges/1", case_name(1)))));
    // Nobody is kept from challenging by another's challenge.
    let complaint = file(ChallengeKind::ContentOwnerComplaint, 1, "platforms/hb", None);
    assert_eq!(book.tell(&complaint, 43).unwrap().len(), 1);
    // One that is settled is opened again by taking it outside, but not beside another.
    book.tell(&pursue(1, Move::Acknowledge, None), 44).unwrap();
    book.tell(&pursue(1, decide(ChallengeOutcome::Upheld), None), 45).unwrap();
    book.tell(&another, 46).unwrap();
    let court = Move::Refer { forum: Forum::Court, body: "High Court".into(), reference: String::new() };
    assert_eq!(reason(book.tell(&pursue(1, court.clone(), None), 47)), Reason::ChallengeOpen);
    book.tell(&pursue(3, Move::Close, None), 48).unwrap();
    assert_eq!(book.tell(&pursue(1, court, None), 49).unwrap().len(), 1);
    // A later version is another decision.
    book.tell(&record(1, draft(later(Later::Amended), illegal(), None)), 50).unwrap();
    assert_eq!(book.tell(&by_agency(2), 51).unwrap().len(), 1);
    assert_eq!(
        book.case(1).challenges.iter().map(|of| (of.number, of.version)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1), (4, 2)]
    );
}

#[test]
fn an_organisation_files_so_many_challenges_and_no_more() {
    let mut book = decided(1);
    let most = u32::try_from(limits::FILER_CHALLENGES_MAX).unwrap();
    for number in 1..=most {
        book.tell(&by_agency(1), 40).unwrap();
        book.tell(&pursue(number, Move::Close, None), 41).unwrap();
    }
    assert_eq!(reason(book.tell(&by_agency(1), 42)), Reason::LimitExceeded);
    // It is the organisation's own.
    assert_eq!(book.tell(&file(ChallengeKind::ContentOwnerComplaint, 1, "platforms/hb", None), 43).unwrap().len(), 1);
}

#[test]
fn a_reversal_and_its_decision_are_recorded_together_or_neither_is() {
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    book.tell(&pursue(1, Move::Acknowledge, None), 41).unwrap();
    let reversed = || decide(ChallengeOutcome::Reversed);
    assert_eq!(field(book.tell(&pursue(1, reversed(), None), 42)), "decision");
    let upheld = pursue(1, decide(ChallengeOutcome::Upheld), Some(reversal(CauseKind::Challenge)));
    assert_eq!(field(book.tell(&upheld, 42)), "decision");
    let motion = pursue(1, reversed(), Some(reversal(CauseKind::OwnMotion)));
    assert_eq!(field(book.tell(&motion, 42)), "decision.cause");
    let initial = pursue(1, reversed(), Some(draft(Kind::Initial, illegal(), None)));
    assert_eq!(field(book.tell(&initial, 42)), "decision.kind");
    let mut amended = reversal(CauseKind::Challenge);
    amended.content.kind = Kind::Later(Later::Amended, amended.content.kind.cause().unwrap().clone());
    assert_eq!(field(book.tell(&pursue(1, reversed(), Some(amended)), 42)), "decision.kind");
    let early = DecisionDraft { decided_at: Some(at(39)), ..reversal(CauseKind::Challenge) };
    assert_eq!(field(book.tell(&pursue(1, reversed(), Some(early)), 42)), "decision.decided_at");
    // What the decision lacks refuses the verdict.
    let mut uncited = reversal(CauseKind::Challenge);
    uncited.content.also.clauses.push(Citation { clause: clause_name("he-9"), version: 1 });
    assert_eq!(reason(book.tell(&pursue(1, reversed(), Some(uncited)), 42)), Reason::ClauseNotFound);
    assert_eq!(book.case(1).challenges[0].stage(), Stage::Acknowledged);

    let verdict = pursue(1, reversed(), Some(reversal(CauseKind::Challenge)));
    let events = book.tell(&verdict, 42).unwrap();
    let [Event::CaseDecided(first), Event::ChallengeChanged(second, 1)] = events.as_slice() else {
        unreachable!("{events:?}")
    };
    assert_eq!((first.before, second.before), (Some(Disposition::InsufficientInfo), Some(Disposition::Closed)));
    let case = book.case(1);
    assert_eq!(case.decision().map(|latest| latest.version), Some(2));
    assert_eq!(
        case.decision().unwrap().content.kind.cause().unwrap().reference,
        format!("{}/challenges/1", case_name(1))
    );
    let facts = &case.challenges[0].facts;
    assert!(matches!(facts.last().unwrap().moved, Move::Decide { version: 2, .. }), "{facts:?}");
    assert_eq!(book.tell(&verdict, 43).unwrap(), [], "said again");
    // A complaint names its own cause.
    let mut book = decided(1);
    book.tell(&file(ChallengeKind::ContentOwnerComplaint, 1, "platforms/hb", None), 40).unwrap();
    book.tell(&pursue(1, Move::Acknowledge, None), 41).unwrap();
    assert_eq!(field(book.tell(&pursue(1, reversed(), Some(reversal(CauseKind::Challenge))), 42)), "decision.cause");
    assert_eq!(book.tell(&pursue(1, reversed(), Some(reversal(CauseKind::OwnerComplaint))), 42).unwrap().len(), 2);
}

#[test]
fn a_decision_that_is_in_force_already_counts_as_it_stands() {
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    book.tell(&pursue(1, Move::Acknowledge, None), 41).unwrap();
    let mut told = reversal(CauseKind::Challenge);
    if let Kind::Later(_, cause) = &mut told.content.kind {
        cause.reference = "letter of the fifth".into();
    }
    book.tell(&record(1, told.clone()), 42).unwrap();
    let events = book.tell(&pursue(1, decide(ChallengeOutcome::Reversed), Some(told)), 43).unwrap();
    assert_eq!(events.len(), 1);
    assert!(matches!(book.case(1).challenges[0].facts.last().unwrap().moved, Move::Decide { version: 2, .. }));
}

#[test]
fn a_challenge_is_not_reversed_by_the_decision_that_it_challenges() {
    let mut book = decided(1);
    let mut second = reversal(CauseKind::Challenge);
    if let Kind::Later(_, cause) = &mut second.content.kind {
        cause.reference = "ticket 7".into();
    }
    book.tell(&record(1, second.clone()), 40).unwrap();
    book.tell(&by_agency(2), 41).unwrap();
    book.tell(&pursue(1, Move::Acknowledge, None), 42).unwrap();
    assert_eq!(field(book.tell(&pursue(1, decide(ChallengeOutcome::Reversed), Some(second)), 43)), "decision");
}

#[test]
fn what_has_happened_is_done_however_far_it_has_come_since() {
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    book.tell(&pursue(1, Move::Acknowledge, None), 41).unwrap();
    book.tell(&pursue(1, Move::BeginReview, None), 42).unwrap();
    assert_eq!(book.tell(&pursue(1, Move::Acknowledge, None), 43).unwrap(), []);
    let reversed = || pursue(1, decide(ChallengeOutcome::Reversed), Some(reversal(CauseKind::Challenge)));
    book.tell(&reversed(), 44).unwrap();
    let third = draft(later(Later::Reinstated), flat(OutcomeKind::InsufficientInfo), None);
    book.tell(&record(1, third), 45).unwrap();
    assert_eq!(book.tell(&reversed(), 46).unwrap(), []);
    assert_eq!(book.case(1).decision().unwrap().decided_at, at(45));
}

#[test]
fn whether_it_was_done_is_told_and_not_closed_over() {
    let mut book = decided(1);
    book.tell(&file(ChallengeKind::ContentOwnerComplaint, 1, "platforms/hb", None), 40).unwrap();
    let refer = Move::Refer { forum: Forum::Court, body: "High Court".into(), reference: String::new() };
    book.tell(&pursue(1, refer, None), 41).unwrap();
    let outcome = Move::DecidedOutside { outcome: ChallengeOutcome::Reversed, procedural: false };
    book.tell(&pursue(1, outcome, None), 42).unwrap();
    assert_eq!(reason(book.tell(&pursue(1, Move::Close, None), 43)), Reason::InvalidTransition);
    book.tell(&pursue(1, Move::LeaveUndone, None), 43).unwrap();
    book.tell(&pursue(1, Move::Close, None), 44).unwrap();
}

#[test]
fn what_is_decided_outside_is_implemented_or_not_if_it_asks_for_anything() {
    let outside = |outcome| {
        let mut book = decided(1);
        book.tell(&by_agency(1), 40).unwrap();
        let refer = Move::Refer { forum: Forum::OutOfCourt, body: "Appeals Centre".into(), reference: "1/20".into() };
        book.tell(&pursue(1, refer, None), 41).unwrap();
        assert_eq!(book.case(1).challenges[0].due_at(), Some(at(41 + 90 * DAY)));
        book.tell(&pursue(1, Move::DecidedOutside { outcome, procedural: false }, None), 42).unwrap();
        book
    };
    let mut upheld = outside(ChallengeOutcome::Upheld);
    assert!(!upheld.case(1).challenges[0].is_open());
    assert_eq!(reason(upheld.tell(&pursue(1, Move::Implement { version: 0 }, None), 43)), Reason::InvalidTransition);
    let mut reversed = outside(ChallengeOutcome::Reversed);
    assert!(reversed.case(1).challenges[0].is_open());
    let undone = pursue(1, Move::LeaveUndone, Some(reversal(CauseKind::Court)));
    assert_eq!(field(reversed.tell(&undone, 43)), "decision");
    reversed.tell(&pursue(1, Move::LeaveUndone, None), 43).unwrap();
    assert!(!reversed.case(1).challenges[0].is_open());
    let done = pursue(1, Move::Implement { version: 0 }, Some(reversal(CauseKind::Court)));
    assert_eq!(reversed.tell(&done, 44).unwrap().len(), 2, "late, but done");
    let procedural = Move::DecidedOutside { outcome: ChallengeOutcome::Upheld, procedural: true };
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    let refer = Move::Refer { forum: Forum::Court, body: "High Court".into(), reference: String::new() };
    book.tell(&pursue(1, refer, None), 41).unwrap();
    assert_eq!(book.case(1).challenges[0].due_at(), None);
    assert_eq!(field(book.tell(&pursue(1, procedural, None), 42)), "procedural");
}

#[test]
fn an_answer_is_due_in_two_weeks_and_on_an_order_under_scrutiny_in_three_days() {
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    assert_eq!(book.case(1).challenges[0].due_at(), Some(at(40 + 14 * DAY)));
    let mut order = decided(3);
    order.tell(&file(ChallengeKind::HomeAuthorityScrutiny, 1, "oversightBodies/coordinator", None), 40).unwrap();
    assert_eq!(order.case(1).challenges[0].due_at(), Some(at(40 + 3 * DAY)));
    order.tell(&pursue(1, Move::Acknowledge, None), 41).unwrap();
    order.tell(&pursue(1, decide(ChallengeOutcome::Upheld), None), 42).unwrap();
    assert_eq!(order.case(1).challenges[0].due_at(), None);
}

#[test]
fn words_go_with_the_reasons_and_do_not_come_back() {
    let mut book = decided(1);
    book.tell(&by_agency(1), 40).unwrap();
    book.tell(&pursue(1, Move::Acknowledge, None), 41).unwrap();
    let erasure = portreeve_core::erasure::Erasure {
        group: portreeve_core::vocabulary::FieldGroup::Reasons,
        at: at(45),
        cause: portreeve_core::vocabulary::EraseCause::Request.code(),
        reason: "asked for".into(),
    };
    let erased = Told { erasures: vec![erasure], ..told(1, 9, 10, 11) };
    book.tell(&Command::FollowReferrals { told: vec![erased], agreements: vec![], observed: vec![] }, 46).unwrap();
    assert_eq!(book.case(1).challenges[0].reasons, "");
    book.tell(&pursue(1, decide(ChallengeOutcome::Upheld), None), 47).unwrap();
    let said = book.case(1).challenges[0].facts.iter().find_map(|fact| match &fact.moved {
        Move::Decide { explanation, .. } => Some(explanation.clone()),
        _ => None,
    });
    assert_eq!(said.as_deref(), Some(""));
    assert_eq!(book.tell(&pursue(1, decide(ChallengeOutcome::Upheld), None), 48).unwrap(), [], "said again");
}

/// What the machine of DOMAIN 6.4 permits, written as paths.
const PATHS: &str = "FILED>ACKNOWLEDGED FILED>EXTERNAL FILED>CLOSED \
    ACKNOWLEDGED>IN_REVIEW ACKNOWLEDGED>UPHELD ACKNOWLEDGED>REVERSED ACKNOWLEDGED>PARTIALLY_REVERSED \
    ACKNOWLEDGED>OMITTED ACKNOWLEDGED>EXTERNAL ACKNOWLEDGED>CLOSED \
    IN_REVIEW>UPHELD IN_REVIEW>REVERSED IN_REVIEW>PARTIALLY_REVERSED IN_REVIEW>OMITTED IN_REVIEW>EXTERNAL IN_REVIEW>CLOSED \
    UPHELD>EXTERNAL UPHELD>CLOSED REVERSED>CLOSED PARTIALLY_REVERSED>EXTERNAL PARTIALLY_REVERSED>CLOSED \
    OMITTED>EXTERNAL OMITTED>CLOSED EXTERNAL>EXTERNALLY_DECIDED EXTERNAL>CLOSED \
    EXTERNALLY_DECIDED>IMPLEMENTED EXTERNALLY_DECIDED>NOT_IMPLEMENTED EXTERNALLY_DECIDED>CLOSED \
    NOT_IMPLEMENTED>IMPLEMENTED NOT_IMPLEMENTED>CLOSED IMPLEMENTED>CLOSED";

#[test]
fn what_the_machine_does_not_permit_cannot_be_done() {
    let permitted = PATHS.split_whitespace().collect::<std::collections::BTreeSet<_>>();
    for from in Stage::ALL {
        for to in Stage::ALL {
            let path = format!("{}>{}", from.as_str(), to.as_str());
            assert_eq!(reached_from(*to).contains(from), permitted.contains(path.as_str()), "{path}");
        }
    }
}

fn moves() -> impl Strategy<Value = (Option<Move>, u32)> {
    let outcome = prop::sample::select(ChallengeOutcome::ALL);
    let one = prop_oneof![
        3 => Just(None),
        3 => Just(Some(Move::Acknowledge)),
        1 => Just(Some(Move::BeginReview)),
        3 => outcome.clone().prop_map(|outcome| Some(decide(outcome))),
        2 => prop::sample::select(Forum::ALL)
            .prop_map(|forum| Some(Move::Refer { forum, body: "Appeals Centre".into(), reference: String::new() })),
        2 => outcome.prop_map(|outcome| Some(Move::DecidedOutside { outcome, procedural: false })),
        2 => Just(Some(Move::Implement { version: 0 })),
        1 => Just(Some(Move::LeaveUndone)),
        1 => Just(Some(Move::Close)),
    ];
    (one, 1..5_u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_random_life_is_the_models(moves in prop::collection::vec(moves(), 1..60)) {
        let mut book = decided(1);
        let permitted = PATHS.split_whitespace().collect::<std::collections::BTreeSet<_>>();
        // The stage of each, the version that it challenges, and what was decided outside.
        let mut model = BTreeMap::<u32, (&'static str, u32, Option<bool>)>::new();
        let mut version = 1;
        let open = |(stage, _, outside): &(&str, u32, Option<bool>)| {
            ["FILED", "ACKNOWLEDGED", "IN_REVIEW", "EXTERNAL"].contains(stage)
                || (*stage == "EXTERNALLY_DECIDED" && *outside == Some(true))
        };
        for (step, (moved, number)) in (0..).zip(moves) {
            let now = 40 + step;
            let before = book.case(1).clone();
            let Some(moved) = moved else {
                let told = book.tell(&by_agency(version), now);
                if model.values().any(|of| of.1 == version && open(of)) {
                    prop_assert_eq!(told.unwrap(), [], "the same is filed already");
                } else if model.len() == limits::FILER_CHALLENGES_MAX {
                    prop_assert_eq!(reason(told), Reason::LimitExceeded);
                } else {
                    prop_assert_eq!(told.unwrap().len(), 1);
                    model.insert(u32::try_from(model.len()).unwrap() + 1, ("FILED", version, None));
                }
                continue;
            };
            let to = moved.stage().as_str();
            let reverses = matches!(&moved, Move::Decide { outcome, .. } if outcome.reverses());
            // Each reversal says something else, so that it is a version of its own.
            let decision = reverses.then(|| {
                let mut decision = reversal(CauseKind::Challenge);
                decision.content.explanation = format!("step {step}");
                decision
            });
            let told = book.tell(&pursue(number, moved.clone(), decision), now);
            let Some((from, _, outside)) = model.get(&number).copied() else {
                prop_assert_eq!(reason(told), Reason::ChallengeNotFound);
                continue;
            };
            let facts = &before.challenges[number as usize - 1].facts;
            let said = facts.iter().any(|fact| match (&fact.moved, &moved) {
                (Move::Decide { outcome, version, .. }, Move::Decide { outcome: again, .. }) => {
                    outcome == again && (!reverses || before.decision().unwrap().version > *version)
                }
                (Move::Implement { .. }, Move::Implement { .. }) => true,
                (known, again) => known == again,
            });
            if said {
                prop_assert_eq!(told.unwrap(), []);
                continue;
            }
            let beside = to == "EXTERNAL" && {
                let (of, version) = (number, model[&number].1);
                model.iter().any(|(number, other)| *number != of && other.1 == version && open(other))
            };
            let idle = ["IMPLEMENTED", "NOT_IMPLEMENTED"].contains(&to) && outside == Some(false);
            if !permitted.contains(format!("{from}>{to}").as_str()) || idle {
                let refused = told.unwrap_err();
                prop_assert_eq!(refused.reason(), Reason::InvalidTransition);
                prop_assert_eq!(stages(&refused), (from.to_owned(), to.to_owned()));
                prop_assert_eq!(book.case(1), &before);
                continue;
            }
            if beside {
                prop_assert_eq!(reason(told), Reason::ChallengeOpen);
                continue;
            }
            prop_assert_eq!(told.unwrap().len(), 1 + usize::from(reverses));
            version += u32::from(reverses);
            let of = model.get_mut(&number).unwrap();
            if let Move::DecidedOutside { outcome, .. } = &moved {
                of.2 = Some(outcome.reverses());
            }
            of.0 = to;
            for (number, of) in &model {
                let challenge = &book.case(1).challenges[*number as usize - 1];
                prop_assert_eq!((challenge.stage().as_str(), challenge.is_open()), (of.0, open(of)));
            }
            prop_assert_eq!(book.case(1).decision().unwrap().version, version);
        }
    }
}
