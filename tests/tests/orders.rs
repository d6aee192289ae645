//! Orders and clocks through the public API and the command line: one hour, what stops it, what breaks it, and that no restart and no
//! second server loses or doubles a warning.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_core::limits;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Options, Part, Server, on_both_engines, process, refusal, sample, within,
};
use prost_types::Duration;
use tonic::{Code, Status};
use wire::{ClockKind as Kind, ClockState as State, ClockStepKind as Step};

on_both_engines!(
    an_order_is_stopped_carried_out_scrutinised_and_gone_back_on,
    warnings_and_breaches_are_told_once_whatever_happens,
    a_question_waits_for_its_answer_or_is_decided,
    a_platform_is_held_to_what_it_says,
    who_may_see_and_do_what,
    words_are_erased_and_facts_stay,
    what_is_wrong_is_told_at_once,
);

struct World {
    server: Server,
    client: Client,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, clock) = Server::suite_at(database, "2023-06-01T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        Self { server, client, clock }
    }

    /// A world in which the platform was told 12 hours ago that orders may come.
    async fn told(database: &Database) -> Self {
        let (server, clock) = Server::suite_at(database, "2023-05-31T21:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        let notice = referral::GivePreNoticeRequest {
            parent: "agencies/nca".into(),
            pre_notice: Some(referral::PreNoticeDraft {
                platform: "platforms/chirrup".into(),
                contact: "Contact point, tco@nca.example".into(),
                procedures: "Orders are carried out within one hour of their receipt.".into(),
                given_at: None,
            }),
            request_id: sample::request_id("notice"),
        };
        client.acting("agencies/nca").pre_notices().give_pre_notice(notice).await.unwrap();
        clock.set("2023-06-01T09:00:00Z".parse().unwrap());
        Self { server, client, clock }
    }

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca")
    }

    fn chirrup(&self) -> Client {
        self.client.acting("platforms/chirrup")
    }

    fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
    }

    /// Sends and has it received; gives the referral and the case.
    async fn receive(&self, draft: referral::ReferralDraft, tag: &str) -> (referral::Referral, String) {
        let request = sample::create("nca", draft, tag);
        let sent = self.nca().referrals().create_referral(request).await.unwrap().into_inner();
        let (sent, revision) = (sent.referral.unwrap(), sent.revision);
        let case = sample::case_of(&sent);
        let get = wire::GetCaseRequest { name: case.clone(), at_least: vec![revision] };
        let mut decisions = self.chirrup().decisions();
        decisions.get_case(get).await.unwrap();
        let cases = [case.clone()];
        decisions.acknowledge_cases(sample::acknowledge("chirrup", &cases, &format!("ack {tag}"))).await.unwrap();
        (sent, case)
    }

    async fn case(&self, name: &str) -> wire::Case {
        let get = wire::GetCaseRequest { name: name.to_owned(), at_least: Vec::new() };
        self.chirrup().decisions().get_case(get).await.unwrap().into_inner().case.unwrap()
    }

    async fn clock_of(&self, case: &str, kind: Kind) -> wire::Clock {
        let case = self.case(case).await;
        case.clocks.into_iter().find(|clock| clock.kind() == kind).unwrap()
    }

    async fn ask(&self, case: &str, answer_by: Option<&str>) -> wire::Stay {
        let request = wire::RequestInformationRequest {
            parent: case.to_owned(),
            ground: wire::StayGround::InsufficientInformation.into(),
            questions: vec![wire::QuestionCode::Part.into()],
            explanation: "Which of the posts?".into(),
            answer_by: answer_by.map(sample::time),
            request_id: sample::request_id(&format!("ask {case}")),
        };
        let asked = self.chirrup().stays().request_information(request.clone()).await.unwrap().into_inner();
        let again = self.chirrup().stays().request_information(request).await.unwrap().into_inner();
        assert!(again.replayed && again.stay == asked.stay, "{again:?}");
        asked.stay.unwrap()
    }

    /// What happened to clocks, told by the stream, until it has told a step.
    async fn told_until(&self, step: Step) -> Vec<(String, Step, String)> {
        let request = wire::WatchClocksRequest {
            parent: "platforms/chirrup".into(),
            start: Some(sample::start(Start::Earliest(true))),
            ..wire::WatchClocksRequest::default()
        };
        let mut stream = self.chirrup().clocks().watch_clocks(request).await.unwrap().into_inner();
        let mut told = Vec::new();
        while !told.iter().any(|(_, of, _)| *of == step) {
            let message = within(30, "what happens to a clock", stream.message()).await.unwrap().unwrap();
            told.extend(message.changes.iter().flat_map(|change| &change.steps).map(said));
        }
        told
    }
}

/// What is done to an order to make it wrong.
type Change = fn(&mut referral::OrderTerms);

/// A step, in words.
fn said(step: &wire::ClockStep) -> (String, Step, String) {
    let kind = step.kind();
    let at = portreeve_core::Timestamp::from_micros(sample::micros(step.at.as_ref()));
    let clock = step.clock.rsplit('/').next().unwrap().to_owned();
    (clock, kind, at.to_rfc3339_micros().replace(".000000Z", "Z"))
}

fn impede(case: &str) -> wire::ReportImpedimentRequest {
    wire::ReportImpedimentRequest {
        parent: case.to_owned(),
        ground: wire::StayGround::ForceMajeure.into(),
        explanation: "A flood has put the data centre out of service.".into(),
        request_id: sample::request_id(&format!("impede {case}")),
    }
}

fn effective(draft: wire::DecisionDraft, at: &str) -> wire::DecisionDraft {
    wire::DecisionDraft { effective_at: Some(sample::time(at)), ..draft }
}

/// Golden scenario four (DOMAIN 8): a removal order with its hour, what keeps the platform from it (annex III), the removal in
/// time, and the scrutiny of the home authority within 72 hours with the content put back.
async fn an_order_is_stopped_carried_out_scrutinised_and_gone_back_on(database: &Database) {
    let world = World::told(database).await;
    // The first one, which could wait for the pre-notice.
    let mut order = sample::order("chirrup", "an account");
    order.order.as_mut().unwrap().emergency.clear();
    let (sent, case) = world.receive(order, "order").await;
    assert_eq!(sent.order.as_ref().unwrap().issuing_authority, "Bundeskriminalamt");
    let hour = world.clock_of(&case, Kind::Order).await;
    assert_eq!(hour.name, format!("{case}/clocks/order"));
    assert_eq!((hour.state(), hour.time), (State::Running, Some(Duration { seconds: 3_600, nanos: 0 })));
    assert_eq!(hour.due_at, Some(sample::time("2023-06-01T10:00:00Z")));

    // Twenty minutes on, a flood: the clock stands still for as long as that lasts, and then the hour begins anew.
    world.at("2023-06-01T09:20:00Z");
    let stay = world.chirrup().stays().report_impediment(impede(&case)).await.unwrap().into_inner().stay.unwrap();
    let stopped = world.clock_of(&case, Kind::Order).await;
    assert_eq!((stopped.state(), stopped.due_at), (State::Stopped, None));
    assert_eq!(stopped.left, Some(Duration { seconds: 3_600, nanos: 0 }));
    world.at("2023-06-01T12:00:00Z");
    let end = wire::EndImpedimentRequest { name: stay.name, request_id: sample::request_id("the flood is over") };
    world.chirrup().stays().end_impediment(end).await.unwrap();
    assert_eq!(world.clock_of(&case, Kind::Order).await.due_at, Some(sample::time("2023-06-01T13:00:00Z")));
    let received = world.case(&case).await;
    assert_eq!(received.acknowledged_at, Some(sample::time("2023-06-01T09:00:00Z")), "the receipt stays what it is");

    // The content is removed at ten to one.
    world.at("2023-06-01T12:51:00Z");
    let removed = effective(sample::closed(), "2023-06-01T12:50:00Z");
    world.chirrup().decisions().record_decision(sample::record(&case, removed, "remove")).await.unwrap();
    assert_eq!(world.clock_of(&case, Kind::Order).await.state(), State::Met);
    let kept = world.clock_of(&case, Kind::Preservation).await;
    assert_eq!((kept.state(), kept.started_at), (State::Running, Some(sample::time("2023-06-01T12:50:00Z"))));

    // Two days on the home authority scrutinises, and finds an infringement: the order ceases, the content is put back at once.
    world.at("2023-06-03T09:00:00Z");
    let authority = world.client.acting("oversightBodies/hac").roles(&["supervisor"]);
    let mut scrutiny = sample::challenge(&case, 1, "scrutiny");
    scrutiny.challenge.as_mut().unwrap().kind = wire::ChallengeKind::HomeAuthorityScrutiny.into();
    let filed = authority.challenges().file_challenge(scrutiny).await.unwrap().into_inner().challenge.unwrap();
    let due = world.clock_of(&case, Kind::Challenge).await;
    assert_eq!((due.state(), due.due_at), (State::Running, Some(sample::time("2023-06-06T09:00:00Z"))));
    let mut challenges = world.chirrup().challenges();
    let acknowledge = wire::AcknowledgeChallengeRequest {
        name: filed.name.clone(),
        occurred_at: None,
        request_id: sample::request_id("scrutiny acknowledged"),
    };
    challenges.acknowledge_challenge(acknowledge).await.unwrap();
    world.at("2023-06-03T09:05:00Z");
    let back = wire::DecisionDraft {
        cause: Some(wire::DecisionCause { kind: wire::CauseKind::Scrutiny.into(), reference: String::new() }),
        ..sample::later(
            wire::DecisionKind::Reinstated,
            wire::DecisionDraft {
                protected_context: wire::ProtectedContext::Journalism.into(),
                ..sample::decided(wire::Outcome::NoActionProtected)
            },
        )
    };
    let decide = wire::DecideChallengeRequest {
        name: filed.name,
        outcome: wire::ChallengeOutcome::Reversed.into(),
        explanation: "A reporter documents the journey.".into(),
        decision: Some(back),
        request_id: sample::request_id("reinstate"),
        ..wire::DecideChallengeRequest::default()
    };
    challenges.decide_challenge(decide).await.unwrap();
    let case_now = world.case(&case).await;
    let state = |kind: Kind| case_now.clocks.iter().find(|clock| clock.kind() == kind).map(wire::Clock::state);
    // The order was carried out in time, whatever became of it; nothing is preserved of what is back.
    assert_eq!((state(Kind::Order), state(Kind::Challenge)), (Some(State::Met), Some(State::Met)));
    assert_eq!(state(Kind::Preservation), None);
    let decision = case_now.latest_decision.unwrap();
    assert_eq!((decision.version, decision.kind()), (2, wire::DecisionKind::Reinstated));

    // The stream tells it all, once, in order.
    let told = world.told_until(Step::Resumed).await;
    let of_order = told.iter().filter(|(clock, ..)| clock == "order");
    let told_of_order = of_order.map(|(_, step, at)| (*step, at.as_str())).collect::<Vec<_>>();
    let expected = [
        (Step::Started, "2023-06-01T09:00:00Z"),
        (Step::Stopped, "2023-06-01T09:20:00Z"),
        (Step::Resumed, "2023-06-01T12:00:00Z"),
    ];
    assert_eq!(told_of_order[..3], expected);
    let page = wire::ListClockChangesRequest {
        parent: "platforms/chirrup".into(),
        start: Some(wire::list_clock_changes_request::Start::Earliest(true)),
        filter: Some(wire::ClockFilter { kinds: vec![Kind::Order.into()], ..wire::ClockFilter::default() }),
        page_size: 1_000,
        at_least: Vec::new(),
    };
    let page = world.nca().clocks().list_clock_changes(page).await.unwrap().into_inner();
    let steps = page.changes.iter().flat_map(|change| &change.steps).map(said);
    let steps = steps.map(|(_, step, at)| (step, at)).collect::<Vec<_>>();
    let rest = [
        (Step::Half, "2023-06-01T12:30:00Z".to_owned()),
        (Step::FourFifths, "2023-06-01T12:48:00Z".to_owned()),
        (Step::Ended, "2023-06-01T12:50:00Z".to_owned()),
    ];
    assert_eq!(steps[3..], rest);
    assert_eq!(world.server.rebuild(Part::Decision).await, world.server.head(Part::Decision).await);
}

/// An order that nobody carries out: its warnings and its breach come when they are due, once, though the server is killed in between,
/// and though two are up.
async fn warnings_and_breaches_are_told_once_whatever_happens(database: &Database) {
    let mut world = World::new(database).await;
    let (_, case) = world.receive(sample::order("chirrup", "an account"), "order").await;
    world.at("2023-06-01T09:30:00Z");
    assert_eq!(world.told_until(Step::Half).await.len(), 2);
    world.server.kill().await;
    world.clock.set("2023-06-01T11:00:00Z".parse().unwrap());
    let lone = Server::start(database, Options::default().clock(&world.clock)).await;
    let other = match database {
        // A second process may not write where one does.
        Database::Sqlite { .. } => None,
        Database::Postgres { .. } => Some(Server::start(database, Options::default().clock(&world.clock)).await),
    };
    world.client = lone.client("operators/op");
    world.server = lone;
    let told = world.told_until(Step::Whole).await;
    let expected = [
        (Step::Started, "2023-06-01T09:00:00Z"),
        (Step::Half, "2023-06-01T09:30:00Z"),
        (Step::FourFifths, "2023-06-01T09:48:00Z"),
        (Step::Whole, "2023-06-01T10:00:00Z"),
    ];
    let told = told.iter().map(|(_, step, at)| (*step, at.as_str())).collect::<Vec<_>>();
    assert_eq!(told, expected);
    let list = wire::ListClocksRequest {
        parent: "platforms/-".into(),
        filter: Some(wire::ClockFilter { states: vec![State::Overdue.into()], ..wire::ClockFilter::default() }),
        ..wire::ListClocksRequest::default()
    };
    let overdue = world.nca().clocks().list_clocks(list.clone()).await.unwrap().into_inner().clocks;
    assert_eq!(overdue.iter().map(|clock| clock.name.as_str()).collect::<Vec<_>>(), [format!("{case}/clocks/order")]);
    // A snapshot has what is open, and then says so.
    let request = wire::WatchClocksRequest {
        parent: "platforms/chirrup".into(),
        start: Some(sample::start(Start::Snapshot(true))),
        ..wire::WatchClocksRequest::default()
    };
    let mut stream = world.chirrup().clocks().watch_clocks(request).await.unwrap().into_inner();
    let (mut open, mut first) = (Vec::new(), wire::WatchClocksResponse::default());
    while !first.snapshot_complete {
        first = within(30, "what happens to a clock", stream.message()).await.unwrap().unwrap();
        assert!(first.changes.iter().all(|change| change.snapshot), "{first:?}");
        open.extend(first.changes.drain(..).flat_map(|change| change.clocks));
    }
    assert_eq!(open, overdue);
    // Refused too late: missed. From the token on, that is all.
    let refuse = sample::decided(wire::Outcome::NoActionInvalidAuthority);
    world.chirrup().decisions().record_decision(sample::record(&case, refuse, "refuse")).await.unwrap();
    let request = wire::WatchClocksRequest {
        parent: "platforms/chirrup".into(),
        start: Some(sample::after(&first.resume_token)),
        ..wire::WatchClocksRequest::default()
    };
    let mut stream = world.chirrup().clocks().watch_clocks(request).await.unwrap().into_inner();
    let next = loop {
        let message = within(30, "what happens to a clock", stream.message()).await.unwrap().unwrap();
        if !message.changes.is_empty() {
            break message;
        }
    };
    assert_eq!(next.changes[0].clocks[0].state(), State::Missed);
    assert_eq!(next.changes[0].steps.len(), 1);
    assert!(world.nca().clocks().list_clocks(list).await.unwrap().into_inner().clocks.is_empty());
    if let Some(other) = other {
        other.stop().await;
    }
}

async fn a_question_waits_for_its_answer_or_is_decided(database: &Database) {
    let world = World::new(database).await;
    let (_, answered) = world.receive(sample::draft("chirrup", "one"), "one").await;
    let (_, left) = world.receive(sample::draft("chirrup", "two"), "two").await;
    let stay = world.ask(&answered, Some("2023-06-02T09:00:00Z")).await;
    assert_eq!(stay.name, format!("{answered}/stays/1"));
    world.ask(&left, Some("2023-06-02T09:00:00Z")).await;
    let list = |status: wire::CaseStatus| wire::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        filter: Some(wire::CaseFilter { statuses: vec![status.into()], ..wire::CaseFilter::default() }),
        ..wire::ListCasesRequest::default()
    };
    let mut decisions = world.nca().decisions();
    let waiting = decisions.list_cases(list(wire::CaseStatus::InfoRequested)).await.unwrap().into_inner().cases;
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0].stays[0].explanation, "Which of the posts?");
    // What is asked takes no other question, and is not said to be decided otherwise than it is.
    let no = world.chirrup().stays().report_impediment(impede(&answered)).await.unwrap_err();
    let no = refusal(&no);
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "INFO_REQUESTED"));

    let answer = wire::AnswerInformationRequest {
        name: stay.name.clone(),
        answer: "The second from above.".into(),
        request_id: sample::request_id("answer"),
    };
    let said = world.nca().stays().answer_information(answer.clone()).await.unwrap().into_inner();
    assert_eq!(said.stay.as_ref().unwrap().end(), wire::StayEnd::Answered);
    let again = world.nca().stays().answer_information(answer.clone()).await.unwrap().into_inner();
    assert!(again.replayed && again.stay == said.stay);
    // Said again by another request, it is done already.
    let other = wire::AnswerInformationRequest { request_id: sample::request_id("answer again"), ..answer };
    assert_eq!(world.nca().stays().answer_information(other).await.unwrap().into_inner().stay, said.stay);
    let reviewed = decisions.list_cases(list(wire::CaseStatus::UnderReview)).await.unwrap().into_inner().cases;
    assert_eq!(reviewed.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), [answered.as_str()]);

    // The other waits in vain: it is decided at its hour, automatically, as the platform said when it asked.
    world.at("2023-06-05T00:00:00Z");
    let request = wire::WatchCasesRequest {
        parent: "platforms/chirrup".into(),
        start: Some(sample::start(Start::Earliest(true))),
        ..wire::WatchCasesRequest::default()
    };
    let mut stream = decisions.watch_cases(request).await.unwrap().into_inner();
    let lapsed = loop {
        let message = within(30, "what happens to a clock", stream.message()).await.unwrap().unwrap();
        let mut changes = message.changes.into_iter();
        if let Some(change) =
            changes.find(|change| matches!(change.change, Some(wire::case_change::Change::Decided(_))))
        {
            break change;
        }
    };
    assert_eq!(lapsed.actor, "services/decision");
    assert_eq!(lapsed.occurred_at, Some(sample::time("2023-06-02T09:00:00Z")));
    let case = world.case(&left).await;
    let decision = case.latest_decision.unwrap();
    assert_eq!(decision.outcome(), wire::Outcome::NoActionInsufficientInfo);
    assert_eq!(decision.decided_by(), wire::DecisionSource::Automated);
    assert_eq!(case.stays[0].end(), wire::StayEnd::Lapsed);
    let late = wire::AnswerInformationRequest {
        name: format!("{left}/stays/1"),
        answer: "The first.".into(),
        request_id: sample::request_id("late"),
    };
    let no = refusal(&world.nca().stays().answer_information(late).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "LAPSED"));
    // In the figures it is a rejection for want of information.
    world.server.rebuild(Part::Decision).await;
    assert_eq!(world.case(&left).await.stays[0].end(), wire::StayEnd::Lapsed);
}

async fn a_platform_is_held_to_what_it_says(database: &Database) {
    let world = World::new(database).await;
    let nature = portreeve_api::common::v1::ReferralNature::VoluntaryReferral;
    let set = |hours: i64, expected: Option<u32>, id: &str| wire::SetResponseTimesRequest {
        name: "platforms/chirrup/responseTimes".into(),
        times: vec![wire::ResponseTime {
            nature: nature.into(),
            time: Some(Duration { seconds: hours * 3_600, nanos: 0 }),
        }],
        expected_version: expected,
        request_id: sample::request_id(id),
    };
    let get = || wire::GetResponseTimesRequest { name: "platforms/chirrup/responseTimes".into(), at_least: Vec::new() };
    let mut clocks = world.chirrup().clocks();
    let nothing = clocks.get_response_times(get()).await.unwrap().into_inner().response_times.unwrap();
    assert_eq!((nothing.version, nothing.times.len()), (0, 0));
    let (_, before) = world.receive(sample::draft("chirrup", "before"), "before").await;
    let said = clocks.set_response_times(set(48, Some(0), "two days")).await.unwrap().into_inner();
    assert_eq!(said.response_times.as_ref().unwrap().version, 1);
    // What was received before is held to nothing, and an order to what it says itself.
    assert!(world.case(&before).await.clocks.is_empty());
    let (_, case) = world.receive(sample::draft("chirrup", "after"), "after").await;
    let clock = world.clock_of(&case, Kind::Response).await;
    assert_eq!(clock.due_at, Some(sample::time("2023-06-03T09:00:00Z")));
    let again = clocks.set_response_times(set(48, None, "again")).await.unwrap().into_inner();
    assert_eq!(again.response_times, said.response_times);
    let no = refusal(&clocks.set_response_times(set(24, Some(0), "stale")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::Aborted, "STALE_VERSION"));
    clocks.set_response_times(set(24, Some(1), "one day")).await.unwrap();
    assert_eq!(world.clock_of(&case, Kind::Response).await.due_at, clock.due_at, "as it was said then");
    assert_eq!(
        world.nca().clocks().get_response_times(get()).await.unwrap().into_inner().response_times.unwrap().version,
        2
    );
    let due = |time: &str| wire::ListClocksRequest {
        parent: "platforms/chirrup".into(),
        filter: Some(wire::ClockFilter { due_before: Some(sample::time(time)), ..wire::ClockFilter::default() }),
        ..wire::ListClocksRequest::default()
    };
    let count = async |time: &str| world.nca().clocks().list_clocks(due(time)).await.unwrap().into_inner().clocks.len();
    assert_eq!((count("2023-06-03T09:00:00Z").await, count("2023-06-03T09:00:01Z").await), (0, 1));
}

async fn who_may_see_and_do_what(database: &Database) {
    let world = World::new(database).await;
    let (_, case) = world.receive(sample::order("chirrup", "an account"), "order").await;
    let stay = world.ask(&case, None).await;
    let list = || wire::ListClocksRequest { parent: "platforms/-".into(), ..wire::ListClocksRequest::default() };
    for (caller, seen) in [
        (world.nca(), 1),
        (world.chirrup(), 1),
        (world.client.acting("agencies/bka"), 0),
        (world.client.acting("platforms/lensgram"), 0),
    ] {
        assert_eq!(caller.clocks().list_clocks(list()).await.unwrap().into_inner().clocks.len(), seen);
    }
    let no = world.client.acting("oversightBodies/hac").clocks().list_clocks(list()).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    let foreign = wire::ListClocksRequest { parent: "platforms/chirrup".into(), ..list() };
    let no = world.client.acting("platforms/lensgram").clocks().list_clocks(foreign).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    // A partner sees what the agreement shows, and the words only with the reasons.
    let mut agreement = sample::agreement(["nca", "bka"], "2024-01-01");
    agreement.field_groups.retain(|group| *group != i32::from(referral::FieldGroup::Reasons));
    let (_, revision) = sample::agree(&world.client, agreement, "without reasons").await;
    let partner = world.client.acting("agencies/bka").purpose("investigation");
    let shared = wire::ListClocksRequest { at_least: vec![revision], ..list() };
    assert_eq!(partner.clocks().list_clocks(shared).await.unwrap().into_inner().clocks.len(), 1);
    let get = wire::GetCaseRequest { name: case.clone(), at_least: Vec::new() };
    let shown = partner.decisions().get_case(get).await.unwrap().into_inner().case.unwrap();
    assert_eq!((shown.stays[0].explanation.as_str(), shown.stays[0].number), ("", 1));

    // The agency whose referral it is answers, nobody else; and a question is not for the platform to end.
    let answer = |id: &str| wire::AnswerInformationRequest {
        name: stay.name.clone(),
        answer: "The second.".into(),
        request_id: sample::request_id(id),
    };
    for caller in [partner, world.chirrup(), world.client.clone(), world.nca().roles(&["approver"])] {
        let no = caller.stays().answer_information(answer("not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
    let end = wire::EndImpedimentRequest { name: stay.name.clone(), request_id: sample::request_id("not so") };
    for (caller, reason) in [
        (world.chirrup(), "STAY_NOT_FOUND"),
        (world.client.acting("platforms/lensgram"), "PERMISSION_DENIED"),
        (world.nca(), "PERMISSION_DENIED"),
    ] {
        assert_eq!(refusal(&caller.stays().end_impediment(end.clone()).await.unwrap_err()).reason, reason);
    }
    let ask = wire::RequestInformationRequest {
        parent: case.clone(),
        ground: wire::StayGround::ManifestErrors.into(),
        questions: vec![wire::QuestionCode::LegalBasis.into()],
        explanation: "Which section?".into(),
        answer_by: None,
        request_id: sample::request_id("not theirs"),
    };
    for caller in [world.nca(), world.client.acting("platforms/lensgram"), world.chirrup().roles(&["policy-editor"])] {
        let no = caller.stays().request_information(ask.clone()).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
    world.nca().stays().answer_information(answer("theirs")).await.unwrap();
}

async fn words_are_erased_and_facts_stay(database: &Database) {
    let world = World::new(database).await;
    let mut draft = sample::order("chirrup", "an account");
    draft.order.as_mut().unwrap().emergency = "A boat leaves tonight.".into();
    let (sent, case) = world.receive(draft, "order").await;
    let stay = world.ask(&case, None).await;
    let answer = wire::AnswerInformationRequest {
        name: stay.name,
        answer: "The post with the boat.".into(),
        request_id: sample::request_id("answer"),
    };
    world.nca().stays().answer_information(answer).await.unwrap();
    let shown = world.case(&case).await;
    assert_eq!(shown.order.as_ref().unwrap().emergency, "A boat leaves tonight.");
    let erase = referral::EraseReferralRequest {
        name: sent.name.clone(),
        field_groups: vec![referral::FieldGroup::Reasons.into()],
        reason: "The retention period is over.".into(),
        request_id: sample::request_id("erase"),
    };
    let approver = world.nca().roles(&["approver"]);
    let revision = approver.retention().erase_referral(erase).await.unwrap().into_inner().revision;
    let get = wire::GetCaseRequest { name: case.clone(), at_least: vec![revision] };
    let erased = world.nca().decisions().get_case(get).await.unwrap().into_inner().case.unwrap();
    let words = [&erased.stays[0].explanation, &erased.stays[0].answer, &erased.order.as_ref().unwrap().emergency];
    assert_eq!(words, ["", "", ""]);
    assert_eq!((erased.clocks.clone(), erased.stays[0].end()), (shown.clocks, wire::StayEnd::Answered));
    // Not in the log either, nor in what is rebuilt from it.
    world.server.rebuild(Part::Decision).await;
    assert_eq!(world.case(&case).await.stays, erased.stays);
    for part in [Part::Referral, Part::Decision] {
        let rows = world.server.dump(part).await.concat();
        assert!(!rows.contains("boat"), "{rows}");
    }
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let (_, case) = world.receive(sample::draft("chirrup", "one"), "one").await;
    let fields = |status: Status| {
        let said = refusal(&status);
        assert_eq!(said.reason, "REQUEST_INVALID", "{said:?}");
        said.fields.join(" ")
    };
    let head = world.server.head(Part::Decision).await;
    let (mut platform, mut agency) = (world.chirrup().stays(), world.nca().stays());
    let bare = wire::RequestInformationRequest {
        explanation: "x".repeat(limits::QUESTION_CHARS_MAX + 1),
        ..wire::RequestInformationRequest::default()
    };
    let wrong = "parent ground questions explanation request_id";
    assert_eq!(fields(platform.request_information(bare).await.unwrap_err()), wrong);
    let bare = wire::RequestInformationRequest {
        parent: case.clone(),
        ground: wire::StayGround::ForceMajeure.into(),
        questions: vec![1, 1, 99],
        explanation: " ".into(),
        answer_by: None,
        request_id: sample::request_id("wrong"),
    };
    let wrong = "ground questions questions[2] explanation";
    assert_eq!(fields(platform.request_information(bare.clone()).await.unwrap_err()), wrong);
    // An hour at least, ninety days at most.
    let ask = |answer_by: Option<&str>| wire::RequestInformationRequest {
        ground: wire::StayGround::ManifestErrors.into(),
        questions: vec![wire::QuestionCode::Other.into()],
        explanation: "What is meant?".into(),
        answer_by: answer_by.map(sample::time),
        ..bare.clone()
    };
    for wrong in [None, Some("2023-06-01T09:50:00Z"), Some("2023-08-30T10:00:00Z")] {
        assert_eq!(fields(platform.request_information(ask(wrong)).await.unwrap_err()), "answer_by", "{wrong:?}");
    }
    let bare = wire::ReportImpedimentRequest { ground: 1, ..wire::ReportImpedimentRequest::default() };
    assert_eq!(fields(platform.report_impediment(bare).await.unwrap_err()), "parent ground explanation request_id");
    assert_eq!(fields(platform.report_impediment(impede(&case)).await.unwrap_err()), "parent");
    let bare = wire::AnswerInformationRequest {
        name: "x".into(),
        answer: "x".repeat(limits::ANSWER_CHARS_MAX + 1),
        request_id: String::new(),
    };
    assert_eq!(fields(agency.answer_information(bare).await.unwrap_err()), "name answer request_id");
    let bare = wire::EndImpedimentRequest::default();
    assert_eq!(fields(platform.end_impediment(bare).await.unwrap_err()), "name request_id");
    let mut clocks = world.chirrup().clocks();
    let time = |nature: i32, seconds: i64| wire::ResponseTime { nature, time: Some(Duration { seconds, nanos: 0 }) };
    let set = |times: Vec<wire::ResponseTime>| wire::SetResponseTimesRequest {
        name: "platforms/chirrup/responseTimes".into(),
        times,
        expected_version: None,
        request_id: sample::request_id("set"),
    };
    let bare = set(vec![time(0, 60), wire::ResponseTime { nature: 1, time: None }]);
    assert_eq!(fields(clocks.set_response_times(bare).await.unwrap_err()), "times[0].nature times[1].time");
    let orders = clocks.set_response_times(set(vec![time(3, 60), time(1, 59)])).await.unwrap_err();
    assert_eq!(fields(orders.clone()), "times times");
    assert!(orders.message().contains("wrong fields"), "{orders}");
    let twice = set(vec![time(1, 60), time(1, 61)]);
    assert_eq!(fields(clocks.set_response_times(twice).await.unwrap_err()), "times[1].nature");
    for (seconds, taken) in [(59, false), (60, true), (31_536_000, true), (31_536_001, false), (i64::MAX, false)] {
        let request = wire::SetResponseTimesRequest {
            request_id: sample::request_id(&format!("set {seconds}")),
            ..set(vec![time(1, seconds)])
        };
        let said = clocks.set_response_times(request).await;
        assert_eq!(said.is_ok(), taken, "{seconds}");
    }
    let head = head + 2;
    // What an order may say.
    let order = |change: fn(&mut referral::OrderTerms)| {
        let mut draft = sample::order("chirrup", "wrong");
        change(draft.order.as_mut().unwrap());
        sample::create("nca", draft, "wrong")
    };
    let mut referrals = world.nca().referrals();
    let wrong: [(Change, &str); 5] = [
        (|terms| terms.act_within = Some(Duration { seconds: 7_200, nanos: 0 }), "referral.order.act_within"),
        (|terms| terms.territorial_scope = vec!["DE".into()], "referral.order.territorial_scope"),
        (
            |terms| {
                terms.regime = referral::OrderRegime::Dsa.into();
                terms.emergency = "Now.".into();
                terms.act_within = Some(Duration { seconds: 59, nanos: 0 });
            },
            "referral.order.act_within referral.order.territorial_scope referral.order.emergency",
        ),
        (
            |terms| terms.non_disclosure_until = Some(sample::time("2023-07-13T09:02:00Z")),
            "referral.order.non_disclosure_until",
        ),
        (
            |terms| terms.escalates = "agencies/bka/referrals/01890a5d-ac96-774b-bcce-b302099a8057".into(),
            "referral.order.escalates",
        ),
    ];
    for (change, expected) in wrong {
        assert_eq!(fields(referrals.create_referral(order(change)).await.unwrap_err()), expected);
    }
    let mut long = sample::order("chirrup", "wrong");
    long.order.as_mut().unwrap().emergency = "e".repeat(2_001);
    let request = sample::create("nca", long, "wrong");
    assert_eq!(fields(referrals.create_referral(request).await.unwrap_err()), "referral.order.emergency");
    let mut voluntary = sample::order("chirrup", "wrong");
    voluntary.nature = 1;
    let request = sample::create("nca", voluntary, "wrong");
    assert_eq!(fields(referrals.create_referral(request).await.unwrap_err()), "referral.order");
    assert_eq!(world.server.head(Part::Decision).await, head, "nothing else was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_orders_asks_and_lists() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let url = world.server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let order = [
        "refer",
        "https://chirrup.example/ordered",
        "--platform",
        "platforms/chirrup",
        "--nature",
        "order",
        "--ground",
        "offer-transport-sea",
        "--statute",
        "Regulation (EU) 2021/784",
        "--reasons",
        "Offers places on a boat",
        "--order",
        "national",
        "--issuing-authority",
        "Bundeskriminalamt",
        "--redress",
        "Before the court",
        "--act-within",
        "24h",
        "--order-scope",
        "DE",
    ];
    let (code, said) = run("agencies/nca", &order);
    assert!(code == 0, "{said}");
    let (code, said) = run("platforms/chirrup", &["inbox", "--acknowledge", "--format", "json"]);
    assert!(code == 0 && said.contains("Bundeskriminalamt"), "{said}");
    let case = said
        .split("\"name\":\"")
        .find_map(|part| part.split_once('"').map(|(name, _)| name.to_owned()).filter(|name| name.contains("/cases/")))
        .unwrap();
    let (code, said) = run("platforms/chirrup", &["stay", "ask", &case, "part,context", "Which of the posts?"]);
    assert!(code == 0 && said.starts_with("INSUFFICIENT_INFORMATION, lasts: "), "{said}");
    let (code, said) = run("platforms/chirrup", &["clock", "list"]);
    assert!(code == 0 && said.contains("STOPPED") && said.contains("left"), "{said}");
    let stay = format!("{case}/stays/1");
    let (code, said) = run("platforms/chirrup", &["stay", "cease", &stay]);
    assert!(code == 1 && said.contains("STAY_NOT_FOUND"), "{said}");
    let (code, said) = run("agencies/nca", &["stay", "answer", &stay, "The second"]);
    assert!(code == 0 && said.contains("answered"), "{said}");
    let (code, said) = run("platforms/chirrup", &["stay", "impede", &case, "manifest-errors", "x"]);
    assert!(code == 2 && said.contains("force-majeure"), "{said}");
    let (code, said) = run("platforms/chirrup", &["clock", "promise", "voluntary-referral=14d"]);
    assert!(code == 0 && said.contains("version 1") && said.contains("14d 0h"), "{said}");
    let (code, said) = run("agencies/nca", &["clock", "promised", "platforms/chirrup", "--json"]);
    assert!(code == 0 && said.contains("\"1209600s\""), "{said}");
    let (code, said) = run("agencies/nca", &["watch", "clocks", "--from", "snapshot", "--count", "1"]);
    assert!(code == 0 && said.contains("/clocks/order"), "{said}");
}
