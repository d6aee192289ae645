//! How a platform takes its work in: what is sent until it is acknowledged, in which order, and who holds which case.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Part, Server, on_both_engines, process, refusal, sample, within,
};
use prost_types::Duration;
use referral::PriorityLevel as Level;
use tonic::Status;
use tonic::codec::Streaming;

on_both_engines!(
    what_is_not_acknowledged_comes_again_and_the_most_urgent_first,
    two_reviewers_never_hold_one_case,
    who_reviews_is_the_platforms_own_business,
    an_order_escalates_and_the_referral_stands,
    words_are_erased_and_the_score_stays,
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

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca")
    }

    fn reviewer(&self, member: &str) -> Client {
        self.client.acting("platforms/chirrup").member(member)
    }

    fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
    }

    /// Sends; gives the case and the revision.
    async fn send(&self, draft: referral::ReferralDraft, tag: &str) -> (String, String) {
        let request = sample::create("nca", draft, tag);
        let sent = self.nca().referrals().create_referral(request).await.unwrap().into_inner();
        (sample::case_of(&sent.referral.unwrap()), sent.revision)
    }

    /// Four that wait, from the least to the most urgent; gives their cases in that order and the last revision.
    async fn four(&self) -> ([String; 4], String) {
        let (plain, _) = self.send(sample::draft("chirrup", "plain"), "plain").await;
        let (scored, _) = self.send(urgent("scored", false), "scored").await;
        let (order, _) = self.send(sample::order("chirrup", "order"), "order").await;
        let (threat, revision) = self.send(urgent("threat", true), "threat").await;
        ([plain, scored, order, threat], revision)
    }

    async fn acknowledge(&self, cases: &[String], tag: &str) {
        let request = sample::acknowledge("chirrup", cases, tag);
        self.reviewer("r.one").decisions().acknowledge_cases(request).await.unwrap();
    }

    async fn inbox(&self, most: u32, revision: &str) -> Streaming<wire::WatchInboxResponse> {
        let request = wire::WatchInboxRequest {
            parent: "platforms/chirrup".into(),
            max_outstanding: most,
            redeliver_after: Some(Duration { seconds: 60, nanos: 0 }),
            at_least: (!revision.is_empty()).then(|| revision.to_owned()).into_iter().collect(),
        };
        self.reviewer("").inbox().watch_inbox(request).await.unwrap().into_inner()
    }

    async fn case(&self, caller: &Client, name: &str) -> wire::Case {
        let get = wire::GetCaseRequest { name: name.to_owned(), at_least: Vec::new() };
        caller.decisions().get_case(get).await.unwrap().into_inner().case.unwrap()
    }
}

fn urgent(tag: &str, threat: bool) -> referral::ReferralDraft {
    let priority = referral::Priority {
        harm: Level::Severe.into(),
        likelihood: Level::Substantial.into(),
        confidence: Level::Moderate.into(),
        explanation: "A boat leaves tonight, and is overloaded.".into(),
        imminent_threat_to_life: threat,
        ..referral::Priority::default()
    };
    referral::ReferralDraft { priority: Some(priority), ..sample::draft("chirrup", tag) }
}

fn lease(names: &[&String], count: u32, id: &str) -> wire::LeaseCasesRequest {
    wire::LeaseCasesRequest {
        parent: "platforms/chirrup".into(),
        names: names.iter().map(|name| (*name).clone()).collect(),
        count,
        time: None,
        request_id: sample::request_id(&format!("lease {id}")),
    }
}

fn names(cases: &[wire::Case]) -> Vec<&str> {
    cases.iter().map(|case| case.name.as_str()).collect()
}

fn leased(cases: &[wire::LeasedCase]) -> Vec<&str> {
    cases.iter().map(|case| case.name.as_str()).collect()
}

/// The next message that brings cases.
async fn next(stream: &mut Streaming<wire::WatchInboxResponse>) -> Vec<wire::Case> {
    loop {
        let message = within(30, "what waits", stream.message()).await.unwrap().unwrap();
        if !message.cases.is_empty() {
            return message.cases;
        }
    }
}

/// The next message that brings nothing: what waits was sent.
async fn quiet(stream: &mut Streaming<wire::WatchInboxResponse>) {
    let message = within(30, "that nothing waits", stream.message()).await.unwrap().unwrap();
    assert_eq!(names(&message.cases), Vec::<&str>::new());
}

async fn what_is_not_acknowledged_comes_again_and_the_most_urgent_first(database: &Database) {
    let world = World::new(database).await;
    let ([plain, scored, order, threat], revision) = world.four().await;
    let mut stream = world.inbox(2, &revision).await;
    let first = next(&mut stream).await;
    assert_eq!(names(&first), [&threat, &order]);
    assert_eq!(first[0].priority.as_ref().unwrap().score, 4 * 3 * 2);
    // What was sent is in the access log, before it was sent.
    let auditor = world.nca().roles(&["auditor"]).member("a.uditor");
    let sent = portreeve_api::consultation::v1::ListConsultationsRequest {
        log: "logs/decision-access".into(),
        parent: "agencies/nca".into(),
        page_size: 1_000,
        ..Default::default()
    };
    let sent = auditor.consultations().list_consultations(sent).await.unwrap().into_inner().consultations;
    let sent = sent.into_iter().filter(|entry| entry.method.ends_with("/WatchInbox")).collect::<Vec<_>>();
    let ids =
        |cases: &[&String]| cases.iter().map(|case| case.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>();
    let mut recorded = sent[0].rows.clone();
    let mut expected = ids(&[&threat, &order]);
    recorded.sort();
    expected.sort();
    assert_eq!((sent.len(), recorded), (1, expected));
    // No more than two are outstanding; what is acknowledged makes room.
    quiet(&mut stream).await;
    world.acknowledge(std::slice::from_ref(&order), "order").await;
    assert_eq!(names(&next(&mut stream).await), [&scored]);
    // A new one that is more urgent than what was sent goes before what was not.
    let (another, _) = world.send(urgent("another", true), "another").await;
    assert_eq!(names(&next(&mut stream).await), [&another]);
    // What is not acknowledged comes again, and comes to a reader who begins anew; the rest waits behind it.
    world.at("2023-06-01T09:01:00Z");
    assert_eq!(names(&next(&mut stream).await), [&threat, &another]);
    let mut anew = world.inbox(0, "").await;
    assert_eq!(names(&next(&mut anew).await), [&threat, &another, &scored, &plain]);
    // What was withdrawn is not waited for.
    let (_, id) = threat.rsplit_once('/').unwrap();
    let withdraw = sample::withdraw(&format!("agencies/nca/referrals/{id}"), "threat is gone");
    world.nca().referrals().withdraw_referral(withdraw).await.unwrap();
    world.acknowledge(&[another, scored], "two").await;
    assert_eq!(names(&next(&mut stream).await), [&plain]);
    world.acknowledge(&[plain], "plain").await;
    quiet(&mut stream).await;
}

async fn two_reviewers_never_hold_one_case(database: &Database) {
    let world = World::new(database).await;
    let ([plain, scored, order, threat], revision) = world.four().await;
    let wait = wire::GetCaseRequest { name: threat.clone(), at_least: vec![revision] };
    world.reviewer("r.one").decisions().get_case(wait).await.unwrap();
    let all = [plain.clone(), scored.clone(), order.clone(), threat.clone()];
    let (one, two) = (world.reviewer("r.one"), world.reviewer("r.two"));
    // What is not acknowledged is not in the queue, and cannot be taken by name.
    assert!(one.inbox().lease_cases(lease(&[], 5, "too early")).await.unwrap().into_inner().cases.is_empty());
    let no = one.inbox().lease_cases(lease(&[&plain], 0, "too early by name")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "INVALID_TRANSITION");
    world.acknowledge(&all, "all").await;
    let taken = one.inbox().lease_cases(lease(&[], 2, "two")).await.unwrap().into_inner();
    assert_eq!(leased(&taken.cases), [&threat, &order]);
    let held = taken.cases[0].lease.as_ref().unwrap();
    assert_eq!((held.holder.as_str(), held.until), ("r.one", Some(sample::time("2023-06-01T09:30:00Z"))));
    assert_eq!(world.case(&one, &threat).await.status(), wire::CaseStatus::UnderReview);
    // Asked again, the same are those that were taken.
    let again = one.inbox().lease_cases(lease(&[], 2, "two")).await.unwrap().into_inner();
    assert!(again.replayed && again.cases == taken.cases);
    assert_eq!(
        leased(&two.inbox().lease_cases(lease(&[], 9, "rest")).await.unwrap().into_inner().cases),
        [&scored, &plain]
    );
    assert!(one.inbox().lease_cases(lease(&[], 9, "nothing left")).await.unwrap().into_inner().cases.is_empty());

    // Nobody else takes it, decides or asks; a decision without a name is somebody else's.
    let refused = two.inbox().lease_cases(lease(&[&threat, &scored], 0, "theirs")).await.unwrap_err();
    let refused = refusal(&refused);
    assert_eq!((refused.reason.as_str(), refused.metadata["holder"].as_str()), ("CASE_LEASED", "r.one"));
    assert_eq!(refused.fields, ["names[0]"]);
    let decide = |tag: &str| sample::record(&threat, sample::closed(), tag);
    for other in [two.clone(), world.reviewer("")] {
        let no = other.decisions().record_decision(decide("not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "CASE_LEASED");
    }
    let ask = wire::RequestInformationRequest {
        parent: scored.clone(),
        ground: wire::StayGround::InsufficientInformation.into(),
        questions: vec![wire::QuestionCode::Part.into()],
        explanation: "Which?".into(),
        answer_by: Some(sample::time("2023-06-02T09:00:00Z")),
        request_id: sample::request_id("ask"),
    };
    assert_eq!(refusal(&one.stays().request_information(ask).await.unwrap_err()).reason, "CASE_LEASED");
    // Its holder extends it, decides, gives back; time ends the rest.
    world.at("2023-06-01T09:20:00Z");
    let longer = one.inbox().lease_cases(lease(&[&order], 0, "longer")).await.unwrap().into_inner();
    let lease_now = longer.cases[0].lease.as_ref().unwrap();
    assert_eq!(lease_now.since, Some(sample::time("2023-06-01T09:00:00Z")));
    assert_eq!(lease_now.until, Some(sample::time("2023-06-01T09:50:00Z")));
    one.decisions().record_decision(decide("theirs")).await.unwrap();
    assert_eq!(world.case(&one, &threat).await.lease, None);
    let release = |member: &Client, id: &str| {
        let request = wire::ReleaseCasesRequest {
            parent: "platforms/chirrup".into(),
            names: vec![plain.clone(), order.clone()],
            request_id: sample::request_id(id),
        };
        let mut inbox = member.inbox();
        async move { inbox.release_cases(request).await.unwrap().into_inner().names }
    };
    assert_eq!(release(&two, "release").await, [plain.as_str()]);
    assert_eq!(
        leased(&one.inbox().lease_cases(lease(&[], 9, "given back")).await.unwrap().into_inner().cases),
        [&plain]
    );
    world.at("2023-06-01T09:30:00Z");
    assert_eq!(leased(&one.inbox().lease_cases(lease(&[], 9, "over")).await.unwrap().into_inner().cases), [&scored]);
    // What was looked at once stays under review.
    assert_eq!(world.case(&one, &scored).await.status(), wire::CaseStatus::UnderReview);
    world.server.rebuild(Part::Decision).await;
    assert_eq!(world.case(&one, &scored).await.lease.unwrap().holder, "r.one");
    // A hundred at once take what there is once.
    let (_, revision) = world.send(sample::draft("chirrup", "last"), "last").await;
    let mut tasks = tokio::task::JoinSet::new();
    let wait = wire::GetCaseRequest { name: plain.clone(), at_least: vec![revision] };
    one.decisions().get_case(wait).await.unwrap();
    let list = wire::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        filter: Some(wire::CaseFilter { statuses: vec![1], ..wire::CaseFilter::default() }),
        ..wire::ListCasesRequest::default()
    };
    let waiting = one.decisions().list_cases(list).await.unwrap().into_inner().cases;
    world.acknowledge(&[waiting[0].name.clone()], "last").await;
    for number in 0..100 {
        let mut inbox = world.reviewer(&format!("r.{number}")).inbox();
        tasks.spawn(async move {
            inbox.lease_cases(lease(&[], 1, &format!("of many {number}"))).await.unwrap().into_inner().cases.len()
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 1);
}

async fn who_reviews_is_the_platforms_own_business(database: &Database) {
    let world = World::new(database).await;
    let ([plain, ..], revision) = world.four().await;
    let wait = wire::GetCaseRequest { name: plain.clone(), at_least: vec![revision] };
    world.reviewer("").decisions().get_case(wait).await.unwrap();
    world.acknowledge(std::slice::from_ref(&plain), "plain").await;
    let one = world.reviewer("r.one");
    one.inbox().lease_cases(lease(&[&plain], 0, "first")).await.unwrap();
    one.inbox().lease_cases(lease(&[&plain], 0, "second")).await.unwrap();
    let seen = world.case(&world.nca(), &plain).await;
    assert_eq!((seen.status(), seen.lease), (wire::CaseStatus::UnderReview, None));
    let changes = async |client: &Client| {
        let request = wire::ListCaseChangesRequest {
            parent: "platforms/chirrup".into(),
            start: Some(wire::list_case_changes_request::Start::Earliest(true)),
            page_size: 1_000,
            ..wire::ListCaseChangesRequest::default()
        };
        let page = client.decisions().list_case_changes(request).await.unwrap().into_inner();
        let reviews = page.changes.into_iter().filter_map(|change| match change.change {
            Some(wire::case_change::Change::ReviewChanged(case)) => Some((case.lease.is_some(), change.member)),
            _ => None,
        });
        reviews.collect::<Vec<_>>()
    };
    // That the review began is the agency's to know; by whom, and what came after, is not.
    assert_eq!(changes(&world.nca()).await, [(false, String::new())]);
    assert_eq!(changes(&one).await, [(true, "r.one".to_owned()), (true, "r.one".to_owned())]);

    for (caller, reason) in [
        (world.reviewer(""), "MEMBER_UNNAMED"),
        (world.reviewer("r.one").roles(&["policy-editor"]), "PERMISSION_DENIED"),
        (world.client.acting("platforms/lensgram").member("r.one"), "PERMISSION_DENIED"),
        (world.nca().member("r.one"), "PERMISSION_DENIED"),
    ] {
        let no = caller.inbox().lease_cases(lease(&[], 1, "not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, reason);
        let release = wire::ReleaseCasesRequest {
            parent: "platforms/chirrup".into(),
            names: vec![plain.clone()],
            request_id: sample::request_id("not theirs"),
        };
        assert_eq!(refusal(&caller.inbox().release_cases(release).await.unwrap_err()).reason, reason);
    }
    let watch = wire::WatchInboxRequest { parent: "platforms/chirrup".into(), ..wire::WatchInboxRequest::default() };
    for caller in [world.nca(), world.client.acting("platforms/lensgram"), world.client.acting("oversightBodies/hac")] {
        let no = caller.inbox().watch_inbox(watch.clone()).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
}

async fn an_order_escalates_and_the_referral_stands(database: &Database) {
    let world = World::new(database).await;
    let (old, revision) = world.send(sample::draft("chirrup", "page"), "page").await;
    let wait = wire::GetCaseRequest { name: old.clone(), at_least: vec![revision] };
    world.reviewer("").decisions().get_case(wait).await.unwrap();
    world.acknowledge(std::slice::from_ref(&old), "page").await;
    let left = sample::decided(wire::Outcome::NoActionImpossible);
    world.reviewer("").decisions().record_decision(sample::record(&old, left, "left")).await.unwrap();
    let (_, id) = old.rsplit_once('/').unwrap();
    let referral_name = format!("agencies/nca/referrals/{id}");
    let mut order = sample::order("chirrup", "page again");
    order.order.as_mut().unwrap().escalates.clone_from(&referral_name);
    let (new, revision) = world.send(order, "order").await;
    let wait = wire::GetCaseRequest { name: new.clone(), at_least: vec![revision] };
    let new_case = world.nca().decisions().get_case(wait).await.unwrap().into_inner().case.unwrap();
    assert_eq!(new_case.order.unwrap().escalates, referral_name);
    let stands = world.case(&world.nca(), &old).await;
    assert_eq!(stands.escalated_to, new_case.referral);
    assert_eq!((stands.status(), stands.decision_version), (wire::CaseStatus::Decided, 1));
    let request = wire::WatchCasesRequest {
        parent: "platforms/chirrup".into(),
        start: Some(sample::start(Start::Earliest(true))),
        ..wire::WatchCasesRequest::default()
    };
    let mut stream = world.reviewer("").decisions().watch_cases(request).await.unwrap().into_inner();
    let told = loop {
        let message = within(30, "the escalation", stream.message()).await.unwrap().unwrap();
        let mut changes = message.changes.into_iter();
        let escalated =
            |change: &wire::CaseChange| matches!(change.change, Some(wire::case_change::Change::Escalated(_)));
        if let Some(change) = changes.find(escalated) {
            break change;
        }
    };
    assert_eq!(
        (told.actor.as_str(), told.before(), told.status_before()),
        ("agencies/nca", told.after(), stands.status())
    );
    world.server.rebuild(Part::Decision).await;
    assert_eq!(world.case(&world.nca(), &old).await.escalated_to, new_case.referral);
}

async fn words_are_erased_and_the_score_stays(database: &Database) {
    let world = World::new(database).await;
    let (case, _) = world.send(urgent("threat", true), "threat").await;
    let (_, id) = case.rsplit_once('/').unwrap();
    let erase = referral::EraseReferralRequest {
        name: format!("agencies/nca/referrals/{id}"),
        field_groups: vec![referral::FieldGroup::Reasons.into()],
        reason: "The retention period is over.".into(),
        request_id: sample::request_id("erase"),
    };
    let approver = world.nca().roles(&["approver"]);
    let revision = approver.retention().erase_referral(erase).await.unwrap().into_inner().revision;
    let get = wire::GetCaseRequest { name: case.clone(), at_least: vec![revision] };
    let erased = world.nca().decisions().get_case(get).await.unwrap().into_inner().case.unwrap();
    let priority = erased.priority.unwrap();
    assert_eq!((priority.explanation.as_str(), priority.score), ("", 24));
    assert!(priority.imminent_threat_to_life);
    for part in [Part::Referral, Part::Decision] {
        world.server.rebuild(part).await;
        assert!(!world.server.dump(part).await.concat().contains("overloaded"));
    }
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let fields = |status: Status| {
        let said = refusal(&status);
        assert_eq!(said.reason, "REQUEST_INVALID", "{said:?}");
        said.fields.join(" ")
    };
    let mut inbox = world.reviewer("r.one").inbox();
    let bare = wire::WatchInboxRequest {
        parent: "x".into(),
        max_outstanding: 501,
        redeliver_after: Some(Duration { seconds: 9, nanos: 0 }),
        at_least: Vec::new(),
    };
    assert_eq!(fields(inbox.watch_inbox(bare.clone()).await.unwrap_err()), "parent max_outstanding redeliver_after");
    let most = wire::WatchInboxRequest {
        parent: "platforms/chirrup".into(),
        max_outstanding: 500,
        redeliver_after: Some(Duration { seconds: 86_400, nanos: 0 }),
        ..bare.clone()
    };
    inbox.watch_inbox(most.clone()).await.unwrap();
    let longer = wire::WatchInboxRequest { redeliver_after: Some(Duration { seconds: 86_401, nanos: 0 }), ..most };
    assert_eq!(fields(inbox.watch_inbox(longer).await.unwrap_err()), "redeliver_after");
    let foreign = "platforms/lensgram/cases/01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    let bare = wire::LeaseCasesRequest {
        parent: "platforms/chirrup".into(),
        names: vec![foreign.clone()],
        count: 1,
        time: Some(Duration { seconds: 59, nanos: 0 }),
        request_id: sample::request_id("wrong"),
    };
    assert_eq!(fields(inbox.lease_cases(bare).await.unwrap_err()), "names[0] count time");
    let bare = wire::LeaseCasesRequest { count: 101, ..wire::LeaseCasesRequest::default() };
    assert_eq!(fields(inbox.lease_cases(bare).await.unwrap_err()), "parent count request_id");
    let bare = wire::ReleaseCasesRequest::default();
    assert_eq!(fields(inbox.release_cases(bare).await.unwrap_err()), "parent names request_id");
    let unknown = "platforms/chirrup/cases/01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    let no = inbox.lease_cases(lease(&[&unknown], 0, "unknown")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "CASE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_and_gives_back() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let url = world.server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let refer = [
        "refer",
        "https://chirrup.example/urgent",
        "--platform",
        "platforms/chirrup",
        "--nature",
        "voluntary-referral",
        "--ground",
        "offer-transport-sea",
        "--statute",
        "Immigration Act 1971",
        "--reasons",
        "Offers places on a boat",
        "--urgency",
        "severe,severe,low",
        "--because",
        "It leaves tonight",
        "--life-at-risk",
    ];
    let (code, said) = run("agencies/nca", &refer);
    assert!(code == 0, "{said}");
    let (code, said) = run("platforms/chirrup", &["inbox", "--acknowledge", "--format", "json"]);
    assert!(code == 0 && said.contains("\"imminentThreatToLife\":true") && said.contains("\"score\":16"), "{said}");
    let (code, said) = run("platforms/chirrup", &["lease", "next", "--member", "r.one"]);
    assert!(code == 0 && said.contains("r.one until"), "{said}");
    let case = said.split_whitespace().find(|word| word.contains("/cases/")).unwrap().trim_end_matches(':').to_owned();
    let (code, said) = run("platforms/chirrup", &["lease", "take", &case, "--member", "r.two"]);
    assert!(code == 1 && said.contains("CASE_LEASED"), "{said}");
    let (code, said) = run("platforms/chirrup", &["lease", "release", &case, "--member", "r.one"]);
    assert!(code == 0 && said.contains("given back"), "{said}");
    let (code, said) = run("platforms/chirrup", &["lease", "take", &case, "--for", "2h", "--member", "r.two"]);
    assert!(code == 0 && said.contains("r.two until"), "{said}");
}
