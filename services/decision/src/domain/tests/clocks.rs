//! Clocks and stays: random histories, lived with a ticker that looks all the time and with one that hardly looks, against a model that
//! counts one unit of time after the other.

use std::collections::BTreeMap;

use portreeve_core::Reason;
use portreeve_core::name::StayName;
use proptest::prelude::*;

use super::*;
use crate::domain::clock::Step;
use crate::domain::{ChallengeDraft, ChallengeKind, ChallengeOutcome, ClockKind, Forum, Move, Pursuit};

/// An hour, in the units of the tests.
const HOUR: i64 = 360;
/// How long the platform says that it takes for what is no order.
const RESPONSE: i64 = 250;

fn order(act_within: Option<i64>) -> Order {
    Order {
        non_disclosure: None,
        regime: Order::TCO,
        issuing_authority: "Bundeskriminalamt".into(),
        act_within: act_within.map(|units| units * UNIT),
        redress: "Within two weeks, before the court of the issuing state.".into(),
        ..Order::default()
    }
}

fn ordered(number: u128, referred: i64) -> Told {
    let mut told = told(number, 1, referred, referred);
    told.referred.nature = 3;
    told.referred.order = Some(order(None));
    told
}

fn follow(told: Told) -> Command {
    Command::FollowReferrals { told: vec![told], agreements: vec![], observed: vec![] }
}

fn stay_name(number: u32) -> StayName {
    StayName { case: case_name(1), number }
}

fn ask(answer_by: Option<i64>) -> Command {
    let content = StayContent {
        ground: StayGround::InsufficientInformation,
        questions: vec![QuestionCode::Location],
        explanation: "Which of the posts?".into(),
    };
    Command::BeginStay { case: case_name(1), content, answer_by: answer_by.map(at), by: String::new() }
}

fn impede() -> Command {
    let explanation = "The data centre is down.".into();
    let content = StayContent { ground: StayGround::ForceMajeure, questions: vec![], explanation };
    Command::BeginStay { case: case_name(1), content, answer_by: None, by: String::new() }
}

fn answer(number: u32) -> Command {
    Command::Answer { stay: stay_name(number), answer: "The second.".into(), by: "agencies/nca".parse().unwrap() }
}

fn tick() -> Command {
    Command::Tick { cases: vec![Uuid::from_u128(1)] }
}

fn promise(units: i64) -> Command {
    Command::SetResponseTimes {
        platform: "hb".into(),
        times: BTreeMap::from([(1, units * UNIT)]),
        expected_version: None,
    }
}

fn acts(effective: Option<i64>) -> DecisionDraft {
    let mut draft = draft(Kind::Initial, illegal(), None);
    draft.content.effective_at = effective.map(at);
    draft
}

fn steps(events: &[Event]) -> Vec<Step> {
    events.iter().filter_map(Event::case_changed).flat_map(|changed| changed.clock_steps.clone()).collect()
}

fn clock(book: &Book, kind: ClockKind) -> Clock {
    book.case(1).clocks().into_iter().find(|clock| clock.key.kind == kind).unwrap()
}

fn reason(result: Result<Vec<Event>>) -> Reason {
    result.unwrap_err().reason()
}

/// What a random history does.
#[derive(Clone, Copy, Debug)]
enum Play {
    Ask(i64),
    Answer,
    Impede,
    Cease,
    Refuse,
    Act { effective: bool },
    Complete,
    Withdraw,
}

fn plays() -> impl Strategy<Value = Play> {
    prop_oneof![
        4 => (0..3_i64).prop_map(|hours| Play::Ask(HOUR + hours * 100)),
        4 => Just(Play::Answer),
        3 => Just(Play::Impede),
        3 => Just(Play::Cease),
        1 => Just(Play::Refuse),
        1 => any::<bool>().prop_map(|effective| Play::Act { effective }),
        1 => Just(Play::Complete),
        1 => Just(Play::Withdraw),
    ]
}

fn command(play: Play, of_order: bool, stay: u32, now: i64) -> Command {
    match play {
        Play::Ask(time) => ask((!of_order).then_some(now + time)),
        Play::Answer => answer(stay),
        Play::Impede => impede(),
        Play::Cease => Command::Cease { stay: stay_name(stay) },
        Play::Refuse => record(1, draft(Kind::Initial, flat(OutcomeKind::Impossible), None)),
        Play::Act { effective } => record(1, acts(effective.then_some(now))),
        Play::Complete => {
            let mut said = draft(later(Later::Corrected), illegal(), None);
            said.content.effective_at = Some(at(now));
            record(1, said)
        }
        Play::Withdraw => {
            let told = if of_order { ordered(1, 1) } else { told(1, 1, 1, 1) };
            follow(withdrawn(told, 2, now, now))
        }
    }
}

/// Lives a history, looking all the time or only where nobody answered; gives its log and how it ends.
fn live(history: &[(i64, Play)], of_order: bool, eager: bool, end: i64) -> (Vec<Step>, Book) {
    let mut book = Book::default();
    let mut told_steps = Vec::new();
    let first = if of_order { ordered(1, 1) } else { told(1, 1, 1, 1) };
    for (command, now) in [(promise(RESPONSE), 0), (follow(first), 1), (acknowledge(1, None), 2)] {
        told_steps.extend(steps(&book.tell(&command, now).unwrap()));
    }
    let (mut now, mut played) = (2, history.iter().peekable());
    while now < end {
        now += 1;
        let unanswered = book.case(1).stay().and_then(|stay| stay.answer_by).is_some_and(|by| by <= at(now));
        if eager || unanswered {
            told_steps.extend(steps(&book.tell(&tick(), now).unwrap()));
        }
        while let Some((_, play)) = played.next_if(|(when, _)| *when <= now) {
            let stay = book.case(1).stays.last().map_or(1, |stay| stay.number);
            // What cannot be done now is not done; the guards have tests of their own.
            if let Ok(events) = book.tell(&command(*play, of_order, stay, now), now) {
                told_steps.extend(steps(&events));
            }
        }
    }
    // Whatever is due at one instant may take two looks: nobody answered, and then the marks.
    for _ in 0..2 {
        told_steps.extend(steps(&book.tell(&tick(), end).unwrap()));
    }
    told_steps.sort_by_key(|step| (step.at, step.clock, step.kind));
    (told_steps, book)
}

/// When the parts of a clock's time are over, counted one unit after the other.
fn counted(clock: &Clock, end: i64) -> Vec<(u32, i64)> {
    let until = clock.end.map_or(end, |ended| (ended.at().micros() / UNIT).min(end));
    let (mut ran, mut over) = (0, Vec::new());
    for unit in clock.started_at.micros() / UNIT..until {
        let stopped = |(from, until): &(Timestamp, Option<Timestamp>)| {
            *from <= at(unit) && until.is_none_or(|until| at(unit) < until)
        };
        let over_now = clock.stops.iter().any(|(_, until)| *until == Some(at(unit)));
        ran = if clock.restarts && over_now { 0 } else { ran } + i64::from(!clock.stops.iter().any(stopped));
        for percent in [50, 80, 100] {
            let due = ran * UNIT * 100 >= clock.time * i64::from(percent);
            if due && !over.iter().any(|(known, _)| *known == percent) {
                over.push((percent, unit + 1));
            }
        }
    }
    over
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_depends_on_when_somebody_looks(
        mut history in proptest::collection::vec((3_i64..1_200, plays()), 0..14),
        of_order in any::<bool>(),
    ) {
        history.sort_by_key(|(when, _)| *when);
        let end = 1_300;
        let (eager, book) = live(&history, of_order, true, end);
        let (lazy, other) = live(&history, of_order, false, end);
        prop_assert_eq!(&eager, &lazy);
        for (clock, same) in book.case(1).clocks().iter().zip(other.case(1).clocks()) {
            prop_assert_eq!(clock.state(), same.state());
            // Each part was told once, when it was over, and no other was.
            let marked = clock.marks.iter().map(|mark| (mark.percent, clock.reaches(mark.percent).unwrap()));
            let expected = counted(clock, end).into_iter().map(|(percent, unit)| (percent, at(unit)));
            prop_assert_eq!(marked.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{:?}", clock);
        }
        // Every step is told once.
        for pair in eager.windows(2) {
            prop_assert_ne!(pair[0], pair[1]);
        }
        // The state is a view of the log.
        let mut rebuilt = State::default();
        for recorded in &book.log {
            Ledger::evolve(&mut rebuilt, recorded);
        }
        prop_assert_eq!(&rebuilt.cases, &book.state.cases);
        prop_assert_eq!(&rebuilt.response_times, &book.state.response_times);
    }
}

/// A case of an order that came in at 1 and was received at 2.
fn received() -> Book {
    let mut book = Book::default();
    book.tell(&follow(ordered(1, 1)), 1).unwrap();
    book.tell(&acknowledge(1, None), 2).unwrap();
    book
}

#[test]
fn an_order_has_one_hour_from_its_receipt() {
    let mut book = received();
    assert_eq!(clock(&book, ClockKind::Order).due_at(), Some(at(2 + HOUR)));
    for (now, state) in [(2 + HOUR - 1, ClockState::Running), (2 + HOUR, ClockState::Overdue)] {
        book.tell(&tick(), now).unwrap();
        assert_eq!(clock(&book, ClockKind::Order).state(), state, "{now}");
    }
    // Told late, it was in time all the same; that nobody knew then stays told.
    book.tell(&record(1, acts(Some(100))), 500).unwrap();
    let met = clock(&book, ClockKind::Order);
    assert_eq!((met.state(), met.marks.len()), (ClockState::Met, 3));
    let mut book = received();
    book.tell(&record(1, acts(Some(2 + HOUR + 1))), 500).unwrap();
    assert_eq!(clock(&book, ClockKind::Order).state(), ClockState::Missed);
}

#[test]
fn an_order_that_is_carried_out_at_an_unknown_time_still_runs() {
    let mut book = received();
    book.tell(&record(1, acts(None)), 10).unwrap();
    assert_eq!(clock(&book, ClockKind::Order).state(), ClockState::Running);
    let mut told = draft(later(Later::Corrected), illegal(), None);
    told.content.effective_at = Some(at(9));
    book.tell(&record(1, told), 20).unwrap();
    assert_eq!(clock(&book, ClockKind::Order).end, Some(End::Done(at(9))));
    // What is put back later leaves the order answered when it was.
    let put_back = draft(later(Later::Reinstated), flat(OutcomeKind::InvalidAuthority), None);
    let events = book.tell(&record(1, put_back), 900).unwrap();
    assert_eq!(clock(&book, ClockKind::Order).state(), ClockState::Met);
    let gone = steps(&events).into_iter().find(|step| step.clock.kind == ClockKind::Preservation).unwrap();
    assert_eq!((gone.kind, gone.at), (StepKind::Ended, at(900)));
}

#[test]
fn a_question_stops_the_clock_and_with_the_answer_the_hour_begins_anew() {
    let mut book = received();
    book.tell(&ask(None), 102).unwrap();
    let stopped = clock(&book, ClockKind::Order);
    assert_eq!((stopped.state(), stopped.left()), (ClockState::Stopped, Some(HOUR * UNIT)));
    assert_eq!(book.case(1).status(), Status::InfoRequested);
    assert_eq!(book.case(1).disposition(), Disposition::Received);
    // However long it takes.
    assert_eq!(book.tell(&tick(), 100_000).unwrap(), []);
    book.tell(&answer(1), 100_002).unwrap();
    assert_eq!(clock(&book, ClockKind::Order).due_at(), Some(at(100_002 + HOUR)));
    assert_eq!(book.case(1).status(), Status::UnderReview);
    assert_eq!(book.case(1).receipt().unwrap().occurred_at, at(2));
    // Said again it is done already; with other words it is refused.
    assert_eq!(book.tell(&answer(1), 100_003).unwrap(), []);
    let other = Command::Answer { stay: stay_name(1), answer: "No.".into(), by: "agencies/nca".parse().unwrap() };
    assert_eq!(reason(book.tell(&other, 100_003)), Reason::InvalidTransition);
}

#[test]
fn what_nobody_answers_is_decided_as_the_platform_said() {
    let mut book = Book::default();
    book.tell(&follow(told(1, 1, 1, 1)), 1).unwrap();
    book.tell(&acknowledge(1, None), 2).unwrap();
    book.tell(&ask(Some(10 + HOUR)), 10).unwrap();
    assert_eq!(reason(book.tell(&answer(1), 10 + HOUR)), Reason::InvalidTransition);
    let events = book.tell(&tick(), 10_000).unwrap();
    assert!(matches!(&*events, [Event::CaseDecided(_)]), "{events:?}");
    let case = book.case(1);
    let decision = case.decision().unwrap();
    assert_eq!(decision.content.outcome, Outcome::InsufficientInfo);
    assert_eq!((decision.content.decided_by, decision.decided_at), (Source::Automated, at(10 + HOUR)));
    assert_eq!(case.stays[0].end, Some((StayEnd::Lapsed, at(10 + HOUR))));
    assert_eq!(clock(&book, ClockKind::Information).state(), ClockState::Missed);
    assert_eq!(book.tell(&tick(), 10_001).unwrap(), []);
}

#[test]
fn the_guards_of_stays() {
    let mut book = received();
    let fields = |result: Result<Vec<Event>>| {
        let error = result.unwrap_err();
        assert_eq!(error.reason(), Reason::RequestInvalid);
        error.violations().iter().map(|violation| violation.field.clone()).collect::<Vec<_>>()
    };
    // An order waits for its clarification; anything else says for how long.
    assert_eq!(fields(book.tell(&ask(Some(10 + HOUR)), 10)), ["answer_by"]);
    let mut other = Book::default();
    other.tell(&follow(told(1, 1, 1, 1)), 1).unwrap();
    assert_eq!(reason(other.tell(&ask(Some(10 + HOUR)), 10)), Reason::InvalidTransition);
    other.tell(&acknowledge(1, None), 2).unwrap();
    assert_eq!(fields(other.tell(&ask(None), 10)), ["answer_by"]);
    let skew = portreeve_core::limits::CLOCK_SKEW_MICROS / UNIT;
    assert_eq!(fields(other.tell(&ask(Some(10 + HOUR - skew - 1)), 10)), ["answer_by"]);
    let latest = 90 * 24 * HOUR;
    assert_eq!(fields(other.tell(&ask(Some(10 + latest + skew + 1)), 10)), ["answer_by"]);
    assert_eq!(fields(other.tell(&impede(), 10)), ["parent"]);
    other.tell(&ask(Some(10 + latest)), 10).unwrap();
    // Another agency learns nothing, and neither the platform nor an impediment ends a question.
    let by = Command::Answer { stay: stay_name(1), answer: "?".into(), by: "agencies/bka".parse().unwrap() };
    assert_eq!(reason(other.tell(&by, 11)), Reason::PermissionDenied);
    assert_eq!(reason(other.tell(&Command::Cease { stay: stay_name(1) }, 11)), Reason::StayNotFound);
    assert_eq!(reason(other.tell(&answer(2), 11)), Reason::StayNotFound);

    // One at a time; the same once more is the one that lasts.
    book.tell(&impede(), 20).unwrap();
    assert_eq!(book.case(1).status(), Status::UnderReview);
    assert_eq!(book.tell(&impede(), 21).unwrap(), []);
    assert_eq!(reason(book.tell(&ask(None), 22)), Reason::InvalidTransition);
    book.tell(&Command::Cease { stay: stay_name(1) }, 23).unwrap();
    assert_eq!(book.case(1).stays[0].end, Some((StayEnd::Ceased, at(23))));
    // Eight and no more.
    for number in 2..=8 {
        book.tell(&ask(None), 20 + 10 * i64::from(number)).unwrap();
        book.tell(&answer(number), 25 + 10 * i64::from(number)).unwrap();
    }
    assert_eq!(reason(book.tell(&ask(None), 200)), Reason::LimitExceeded);
    // The platform need not wait, and a withdrawal ends what waits.
    other.tell(&record(1, draft(Kind::Initial, flat(OutcomeKind::NotOurService), None)), 30).unwrap();
    assert_eq!(other.case(1).stays[0].end, Some((StayEnd::Decided, at(30))));
    let mut gone = received();
    gone.tell(&ask(None), 5).unwrap();
    gone.tell(&follow(withdrawn(ordered(1, 1), 2, 8, 8)), 9).unwrap();
    assert_eq!(gone.case(1).stays[0].end, Some((StayEnd::Withdrawn, at(9))));
    assert_eq!(clock(&gone, ClockKind::Order).state(), ClockState::Cancelled);
}

#[test]
fn a_platform_is_held_to_what_it_said_when_it_received() {
    let mut book = Book::default();
    book.tell(&promise(RESPONSE), 0).unwrap();
    book.tell(&follow(told(1, 1, 1, 1)), 1).unwrap();
    assert_eq!(book.case(1).clocks(), []);
    book.tell(&acknowledge(1, Some(1)), 5).unwrap();
    book.tell(&promise(6), 6).unwrap();
    assert_eq!(clock(&book, ClockKind::Response).due_at(), Some(at(1 + RESPONSE)));
    assert_eq!(book.tell(&promise(6), 7).unwrap(), []);
    let stale = Command::SetResponseTimes { platform: "hb".into(), times: BTreeMap::new(), expected_version: Some(1) };
    assert_eq!(reason(book.tell(&stale, 8)), Reason::StaleVersion);
    for (wrong, units) in [(3, 60), (1, 5), (1, 365 * 24 * HOUR + 1)] {
        let times = BTreeMap::from([(wrong, units * UNIT)]);
        let wrong = Command::SetResponseTimes { platform: "hb".into(), times, expected_version: None };
        assert_eq!(reason(book.tell(&wrong, 9)), Reason::RequestInvalid);
    }
    book.tell(&promise(365 * 24 * HOUR), 10).unwrap();
}

#[test]
fn challenges_and_suspensions_have_clocks() {
    let mut book = Book::default();
    book.tell(&follow(told(1, 1, 1, 1)), 1).unwrap();
    book.tell(&acknowledge(1, None), 2).unwrap();
    let until = Flat { suspended_until: Some(at(1_010)), ..flat(OutcomeKind::SuspendedUntil) };
    let mut suspended = draft(Kind::Initial, until, None);
    suspended.content.notification = Some(Notification::Suppressed(at(510)));
    book.tell(&record(1, suspended), 10).unwrap();
    book.tell(&tick(), 510).unwrap();
    assert_eq!(clock(&book, ClockKind::NonDisclosure).state(), ClockState::Expired);
    assert_eq!(clock(&book, ClockKind::Suspension).marks.len(), 1);
    let challenge = Command::FileChallenge {
        case: case_name(1),
        draft: ChallengeDraft {
            kind: ChallengeKind::ReferrerChallenge,
            version: 1,
            reasons: "Longer.".into(),
            occurred_at: None,
        },
        by: "agencies/nca".parse().unwrap(),
    };
    book.tell(&challenge, 600).unwrap();
    let weeks = 14 * 24 * HOUR;
    assert_eq!(clock(&book, ClockKind::Challenge).due_at(), Some(at(600 + weeks)));
    let name = portreeve_core::name::ChallengeName { case: case_name(1), number: 1 };
    let mut pursue = |moved, now| {
        let pursuit = Box::new(Pursuit { by: None, moved, decision: None, occurred_at: None });
        book.tell(&Command::Pursue { challenge: name.clone(), pursuit }, now).unwrap()
    };
    pursue(Move::Acknowledge, 700);
    let refer = Move::Refer { forum: Forum::OutOfCourt, body: "Appeals Centre".into(), reference: String::new() };
    let told = steps(&pursue(refer, 800));
    let told = told.iter().map(|step| (step.clock.kind, step.kind)).collect::<Vec<_>>();
    assert!(told.contains(&(ClockKind::Challenge, StepKind::Ended)), "{told:?}");
    assert!(told.contains(&(ClockKind::External, StepKind::Started)), "{told:?}");
    pursue(Move::DecidedOutside { outcome: ChallengeOutcome::Upheld, procedural: false }, 900);
    assert_eq!(clock(&book, ClockKind::External).state(), ClockState::Met);
    assert_eq!(clock(&book, ClockKind::Challenge).state(), ClockState::Cancelled);
}

#[test]
fn names_of_clocks_have_one_spelling() {
    for kind in ClockKind::ALL {
        for number in [0, 1, 17] {
            let key = ClockKey { kind: *kind, number };
            let read: ClockKey = key.to_string().parse().unwrap();
            assert_eq!(read.to_string(), key.to_string());
            assert_eq!(read.kind, *kind);
        }
    }
    for wrong in ["", "order-1", "challenge", "non-disclosure", "challenge-x", "boat-1"] {
        assert!(wrong.parse::<ClockKey>().is_err(), "{wrong}");
    }
}
