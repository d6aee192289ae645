//! What an agency says of a referral after it was sent: how urgent it is now, and for how long whoever posted the content is not told. The
//! case follows, and with it the queue and the clock.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_core::limits;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Part, Refused, Server, on_both_engines, process, refusal, sample,
};
use referral::PriorityLevel as Level;
use referral::referral_change::Change;
use tonic::Status;

on_both_engines!(
    a_priority_that_changes_moves_the_queue_and_stays_in_the_log,
    a_priority_is_changed_by_its_agency_while_there_is_something_to_decide,
    non_disclosure_is_extended_once_and_its_clock_follows,
    non_disclosure_ends_when_it_is_lifted,
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

    fn reviewer(&self) -> Client {
        self.client.acting("platforms/chirrup").member("r.one")
    }

    fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
    }

    /// Sends a referral; gives it, and the revision.
    async fn send(&self, draft: referral::ReferralDraft, tag: &str) -> (referral::Referral, String) {
        let sent =
            self.nca().referrals().create_referral(sample::create("nca", draft, tag)).await.unwrap().into_inner();
        (sent.referral.unwrap(), sent.revision)
    }

    async fn case(&self, of: &referral::Referral, revision: &str) -> wire::Case {
        let get = wire::GetCaseRequest { name: sample::case_of(of), at_least: vec![revision.to_owned()] };
        self.reviewer().decisions().get_case(get).await.unwrap().into_inner().case.unwrap()
    }

    async fn prioritise(
        &self,
        request: referral::PrioritiseReferralRequest,
    ) -> Result<(referral::Referral, String), Status> {
        let reply = self.nca().referrals().prioritise_referral(request).await?.into_inner();
        Ok((reply.referral.unwrap(), reply.revision))
    }

    async fn extend(
        &self,
        of: &referral::Referral,
        until: &str,
        id: &str,
    ) -> Result<(referral::Referral, String), Status> {
        let request = referral::ExtendNonDisclosureRequest {
            name: of.name.clone(),
            until: Some(sample::time(until)),
            reason: "The boatmen are still observed.".into(),
            request_id: sample::request_id(&format!("extend {id}")),
        };
        let reply = self.nca().referrals().extend_non_disclosure(request).await?.into_inner();
        Ok((reply.referral.unwrap(), reply.revision))
    }

    async fn lift(&self, of: &referral::Referral, id: &str) -> Result<(referral::Referral, String), Status> {
        let request = referral::LiftNonDisclosureRequest {
            name: of.name.clone(),
            reason: "The boatmen are arrested.".into(),
            request_id: sample::request_id(&format!("lift {id}")),
        };
        let reply = self.nca().referrals().lift_non_disclosure(request).await?.into_inner();
        Ok((reply.referral.unwrap(), reply.revision))
    }

    /// The changes of the referral log as somebody sees them.
    async fn changes(&self, client: &Client) -> Vec<referral::ReferralChange> {
        let request = referral::ListReferralChangesRequest {
            parent: "agencies/nca".into(),
            start: Some(referral::list_referral_changes_request::Start::Earliest(true)),
            page_size: 1_000,
            ..referral::ListReferralChangesRequest::default()
        };
        client.referrals().list_referral_changes(request).await.unwrap().into_inner().changes
    }

    async fn erase(&self, of: &referral::Referral) -> String {
        let erase = referral::EraseReferralRequest {
            name: of.name.clone(),
            field_groups: vec![referral::FieldGroup::Reasons.into()],
            reason: "The retention period is over.".into(),
            request_id: sample::request_id(&format!("erase {}", of.name)),
        };
        self.nca().roles(&["approver"]).retention().erase_referral(erase).await.unwrap().into_inner().revision
    }

    async fn withdraw(&self, of: &referral::Referral) -> String {
        let request = sample::withdraw(&of.name, &of.name);
        self.nca().referrals().withdraw_referral(request).await.unwrap().into_inner().revision
    }

    /// Rebuilds both services from their logs, and finds no row changed.
    async fn rebuilds(&self) {
        self.server.rebuilds(&[Part::Referral, Part::Decision]).await;
    }
}

fn urgent(harm: Level, explanation: &str, threat: bool) -> referral::Priority {
    referral::Priority {
        harm: harm.into(),
        likelihood: Level::Substantial.into(),
        confidence: Level::Moderate.into(),
        explanation: explanation.into(),
        imminent_threat_to_life: threat,
        ..referral::Priority::default()
    }
}

fn prioritise(of: &referral::Referral, priority: referral::Priority, id: &str) -> referral::PrioritiseReferralRequest {
    referral::PrioritiseReferralRequest {
        name: of.name.clone(),
        priority: Some(priority),
        expected_version: None,
        request_id: sample::request_id(&format!("prioritise {id}")),
    }
}

/// A removal order of which nobody is told until then.
fn hushed(tag: &str, until: &str) -> referral::ReferralDraft {
    let mut draft = sample::order("chirrup", tag);
    draft.order.as_mut().unwrap().non_disclosure_until = Some(sample::time(until));
    draft
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> Refused {
    refusal(&result.unwrap_err())
}

fn non_disclosure(case: &wire::Case) -> wire::Clock {
    let of = |clock: &&wire::Clock| clock.kind() == wire::ClockKind::NonDisclosure;
    case.clocks.iter().find(of).unwrap().clone()
}

async fn a_priority_that_changes_moves_the_queue_and_stays_in_the_log(database: &Database) {
    let world = World::new(database).await;
    let draft = |tag: &str| sample::draft("chirrup", tag);
    let first = referral::ReferralDraft {
        priority: Some(referral::Priority { version: 7, ..urgent(Level::Low, "Seen by a patrol.", false) }),
        ..draft("first")
    };
    let (first, _) = world.send(first, "first").await;
    assert_eq!((first.priority.as_ref().unwrap().version, first.priority.as_ref().unwrap().changed_at), (0, None));
    let (second, revision) = world.send(draft("second"), "second").await;
    world.case(&second, &revision).await;
    let cases = [sample::case_of(&first), sample::case_of(&second)];
    world.reviewer().decisions().acknowledge_cases(sample::acknowledge("chirrup", &cases, "both")).await.unwrap();

    world.at("2023-06-01T10:00:00Z");
    let said = prioritise(&second, urgent(Level::Severe, "A boat leaves tonight.", true), "second");
    let request = said.clone();
    let reply = world.nca().member("o.fficer").referrals().prioritise_referral(request).await.unwrap().into_inner();
    let after = reply.referral.unwrap();
    let now = after.priority.clone().unwrap();
    assert_eq!((now.version, now.score, now.changed_at), (1, 24, Some(sample::time("2023-06-01T10:00:00Z"))));
    let case = world.case(&second, &reply.revision).await;
    assert_eq!(case.priority, Some(now.clone()));
    // The same again changes nothing, under another request too.
    let again =
        world.nca().member("o.fficer").referrals().prioritise_referral(said.clone()).await.unwrap().into_inner();
    assert!(again.replayed && again.referral.as_ref() == Some(&after), "{again:?}");
    let head = world.server.head(Part::Referral).await;
    let same = referral::PrioritiseReferralRequest { request_id: sample::request_id("same"), ..said };
    assert_eq!(world.prioritise(same).await.unwrap().0, after);
    assert_eq!(world.server.head(Part::Referral).await, head);
    // The queue is in another order.
    let lease = wire::LeaseCasesRequest {
        parent: "platforms/chirrup".into(),
        names: Vec::new(),
        count: 1,
        time: None,
        request_id: sample::request_id("lease"),
    };
    let leased = world.reviewer().inbox().lease_cases(lease).await.unwrap().into_inner().cases;
    assert_eq!(leased[0].name, cases[1]);
    // Streams tell of both; who did it is the agency's own to know.
    for (client, member) in [(world.nca(), "o.fficer"), (world.reviewer(), "")] {
        let mut changes = world.changes(&client).await;
        let change = changes.pop().unwrap();
        let Some(Change::Prioritised(referral)) = change.change else { panic!("{change:?}") };
        assert_eq!((referral.priority.as_ref(), change.member.as_str()), (Some(&now), member));
        let Some(Change::Created(was)) = &changes[0].change else { panic!("{changes:?}") };
        assert_eq!(was.priority.as_ref().unwrap().explanation, "Seen by a patrol.");
    }
    let request = wire::ListCaseChangesRequest {
        parent: "platforms/chirrup".into(),
        start: Some(wire::list_case_changes_request::Start::Earliest(true)),
        page_size: 1_000,
        ..wire::ListCaseChangesRequest::default()
    };
    let changes = world.reviewer().decisions().list_case_changes(request).await.unwrap().into_inner().changes;
    let told = changes.iter().filter(|change| matches!(change.change, Some(wire::case_change::Change::Prioritised(_))));
    assert_eq!(told.count(), 1);

    // The earlier explanation goes with the reasons, as the present one does.
    let (_, _) = world
        .prioritise(prioritise(&first, urgent(Level::Severe, "Seen in the harbour.", false), "first"))
        .await
        .unwrap();
    let revision = world.erase(&first).await;
    let case = world.case(&first, &revision).await;
    assert_eq!(case.priority.map(|left| (left.explanation, left.score)), Some((String::new(), 24)));
    world.rebuilds().await;
    for change in world.changes(&world.nca()).await {
        let text = format!("{change:?}");
        assert!(!text.contains("by a patrol") && !text.contains("in the harbour"), "{text}");
    }
    for part in [Part::Referral, Part::Decision] {
        let rows = world.server.dump(part).await.concat();
        assert!(!rows.contains("by a patrol") && !rows.contains("in the harbour"), "{rows}");
    }
    let no = refused(world.prioritise(prioritise(&first, urgent(Level::Low, "Again.", false), "erased")).await);
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "ERASED"));
}

async fn a_priority_is_changed_by_its_agency_while_there_is_something_to_decide(database: &Database) {
    let world = World::new(database).await;
    let (sent, _) = world.send(sample::draft("chirrup", "page"), "page").await;
    let urgency = |words: &str| urgent(Level::Severe, words, false);
    let expecting = |version: u32, words: &str| referral::PrioritiseReferralRequest {
        expected_version: Some(version),
        ..prioritise(&sent, urgency(words), words)
    };
    let no = refused(world.prioritise(expecting(1, "one")).await);
    assert_eq!((no.reason.as_str(), no.metadata["actual"].as_str()), ("STALE_VERSION", "0"));
    assert_eq!(world.prioritise(expecting(0, "two")).await.unwrap().0.priority.unwrap().version, 1);
    assert_eq!(refused(world.prioritise(expecting(0, "three")).await).reason, "STALE_VERSION");
    for other in ["agencies/bka", "platforms/chirrup", "oversightBodies/hac"] {
        let request = prioritise(&sent, urgency("theirs"), other);
        let no = world.client.acting(other).referrals().prioritise_referral(request).await;
        assert_eq!(refused(no).reason, "PERMISSION_DENIED", "{other}");
    }
    let wrong = referral::PrioritiseReferralRequest {
        priority: Some(referral::Priority { harm: 9, explanation: " ".into(), ..referral::Priority::default() }),
        ..prioritise(&sent, urgency("x"), "wrong")
    };
    let fields = ["priority.harm", "priority.likelihood", "priority.confidence", "priority.explanation"];
    assert_eq!(refused(world.prioritise(wrong).await).fields, fields);
    let nobodys = "agencies/nca/referrals/00000000-0000-0000-0000-000000000009".to_owned();
    let nobodys = referral::Referral { name: nobodys, ..sent.clone() };
    let no = refused(world.prioritise(prioritise(&nobodys, urgency("x"), "nobody's")).await);
    assert_eq!(no.reason, "REFERRAL_NOT_FOUND");
    // As often as is allowed, and no more.
    for number in 2..=limits::REFERRAL_PRIORITIES_MAX {
        let (after, _) =
            world.prioritise(prioritise(&sent, urgency(&number.to_string()), &number.to_string())).await.unwrap();
        assert_eq!(after.priority.unwrap().version, number);
    }
    let no = refused(world.prioritise(prioritise(&sent, urgency("more"), "more")).await);
    assert_eq!((no.reason.as_str(), no.metadata["limit"].as_str()), ("LIMIT_EXCEEDED", "priorities"));
    // What is taken back has no urgency; what was said already still succeeds.
    let revision = world.withdraw(&sent).await;
    let no = refused(world.prioritise(prioritise(&sent, urgency("late"), "late")).await);
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "WITHDRAWN"));
    let last = limits::REFERRAL_PRIORITIES_MAX.to_string();
    world.prioritise(prioritise(&sent, urgency(&last), "said already")).await.unwrap();
    assert_eq!(world.case(&sent, &revision).await.priority.unwrap().version, limits::REFERRAL_PRIORITIES_MAX);
    world.rebuilds().await;
}

async fn non_disclosure_is_extended_once_and_its_clock_follows(database: &Database) {
    let world = World::new(database).await;
    let (order, revision) = world.send(hushed("boats", "2023-07-01"), "boats").await;
    let clock = non_disclosure(&world.case(&order, &revision).await);
    assert_eq!((clock.state(), clock.due_at), (wire::ClockState::Running, Some(sample::time("2023-07-01"))));
    // A mark of the shorter time that is none of the longer one.
    world.at("2023-06-26T09:00:00Z");
    for wrong in ["2023-07-01", "2023-08-12T00:00:01Z"] {
        let no = refused(world.extend(&order, wrong, wrong).await);
        assert_eq!((no.reason.as_str(), no.fields.join(" ").as_str()), ("REQUEST_INVALID", "until"), "{wrong}");
    }
    let (after, revision) = world.extend(&order, "2023-08-12", "boats").await.unwrap();
    let terms = after.order.clone().unwrap();
    let course = terms.non_disclosure.clone().unwrap();
    assert_eq!((course.renewals, course.until), (1, Some(sample::time("2023-08-12"))));
    assert_eq!(course.extended_at, Some(sample::time("2023-06-26T09:00:00Z")));
    // What was signed stays.
    assert_eq!(terms.non_disclosure_until, Some(sample::time("2023-07-01")));
    let case = world.case(&order, &revision).await;
    assert_eq!(case.order.as_ref(), Some(&terms));
    let clock = non_disclosure(&case);
    assert_eq!((clock.state(), clock.due_at), (wire::ClockState::Running, Some(sample::time("2023-08-12"))));
    // Said again it is done; another is one too many.
    assert_eq!(world.extend(&order, "2023-08-12", "again").await.unwrap().0, after);
    let no = refused(world.extend(&order, "2023-08-20", "twice").await);
    assert_eq!(
        (no.reason.as_str(), no.metadata["until"].as_str()),
        ("NON_DISCLOSURE_EXTENDED", "2023-08-12T00:00:00Z")
    );
    // While nothing is due, so that only a rebuild could change a row.
    world.rebuilds().await;
    // It ends with its time, and then nothing is left to extend or to lift.
    world.at("2023-08-12T00:00:01Z");
    let no = refused(world.lift(&order, "late").await);
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "ENDED"));
    let (plain, _) = world.send(sample::draft("chirrup", "plain"), "plain").await;
    let (silent, _) = world.send(sample::order("chirrup", "silent"), "silent").await;
    for none in [&plain, &silent] {
        let no = refused(world.extend(none, "2023-09-01", &none.name).await);
        assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "NONE"));
    }
    let theirs = referral::ExtendNonDisclosureRequest {
        name: order.name.clone(),
        until: Some(sample::time("2023-09-01")),
        reason: "x".into(),
        request_id: sample::request_id("theirs"),
    };
    let no = world.client.acting("agencies/bka").referrals().extend_non_disclosure(theirs).await;
    assert_eq!(refused(no).reason, "PERMISSION_DENIED");
    let bare = referral::ExtendNonDisclosureRequest { reason: " ".into(), ..Default::default() };
    let no = world.nca().referrals().extend_non_disclosure(bare).await;
    assert_eq!(refused(no).fields, ["name", "until", "request_id", "reason"]);
}

async fn non_disclosure_ends_when_it_is_lifted(database: &Database) {
    let world = World::new(database).await;
    let (order, _) = world.send(hushed("boats", "2023-07-01"), "boats").await;
    world.at("2023-06-10T09:00:00Z");
    world.extend(&order, "2023-08-01", "boats").await.unwrap();
    world.at("2023-06-20T09:00:00Z");
    let (after, revision) = world.lift(&order, "boats").await.unwrap();
    let course = after.order.clone().unwrap().non_disclosure.unwrap();
    let now = Some(sample::time("2023-06-20T09:00:00Z"));
    assert_eq!((course.renewals, course.until, course.lifted_at), (1, now, now));
    let case = world.case(&order, &revision).await;
    assert_eq!(case.order, after.order);
    let clock = non_disclosure(&case);
    assert_eq!((clock.state(), clock.ended_at), (wire::ClockState::Cancelled, now));
    assert_eq!(world.lift(&order, "again").await.unwrap().0, after);
    let no = refused(world.extend(&order, "2023-08-02", "lifted").await);
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "LIFTED"));
    // Both are in the log, and in the stream of the platform.
    let of = |change: &referral::ReferralChange| matches!(change.change, Some(Change::NonDisclosureChanged(_)));
    for client in [world.nca(), world.reviewer()] {
        assert_eq!(world.changes(&client).await.iter().filter(|change| of(change)).count(), 2);
    }
    // Why goes with the reasons.
    let revision = world.erase(&order).await;
    let left = world.case(&order, &revision).await.order.unwrap().non_disclosure.unwrap();
    assert_eq!((left.extension_reason.as_str(), left.lift_reason.as_str(), left.lifted_at), ("", "", now));
    world.rebuilds().await;
    for part in [Part::Referral, Part::Decision] {
        let rows = world.server.dump(part).await.concat();
        assert!(!rows.contains("boatmen"), "{rows}");
    }
    assert!(!format!("{:?}", world.changes(&world.nca()).await).contains("boatmen"));
    // What is withdrawn takes its non-disclosure with it.
    let (gone, _) = world.send(hushed("gone", "2023-07-01"), "gone").await;
    world.withdraw(&gone).await;
    for no in [world.lift(&gone, "gone").await, world.extend(&gone, "2023-07-02", "gone").await] {
        let no = refused(no);
        assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "WITHDRAWN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_later_words() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let url = world.server.url();
    let run = |arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", "agencies/nca"]].concat())
    };
    let (order, _) = world.send(hushed("boats", "2023-07-01"), "boats").await;
    let because = ["--because", "A boat leaves tonight."];
    let urgent =
        [&["prioritise", &order.name, "--urgency", "severe,severe,severe", "--life-at-risk"][..], &because].concat();
    let (code, said) = run(&urgent);
    assert!(code == 0 && said.contains("64 of 64"), "{said}");
    let stale = [&urgent[..2], &["--urgency", "low,low,low", "--expected-version", "0"], &because].concat();
    let (code, said) = run(&stale);
    assert!(code == 1 && said.contains("STALE_VERSION"), "{said}");
    let (code, said) = run(&["prioritise", &order.name]);
    assert!(code == 2 && said.contains("--urgency"), "{said}");
    let extend = ["non-disclosure", "extend", &order.name, "--until", "2023-08-01", "--reason", "It goes on."];
    let (code, said) = run(&extend);
    assert!(code == 0 && said.contains("not disclosed until 2023-08-01T00:00:00Z"), "{said}");
    let again = ["non-disclosure", "extend", &order.name, "--until", "2023-08-02", "--reason", "It goes on."];
    let (code, said) = run(&again);
    assert!(code == 1 && said.contains("NON_DISCLOSURE_EXTENDED") && said.contains("let it end"), "{said}");
    let (code, said) = run(&["non-disclosure", "lift", &order.name, "--reason", "It is over."]);
    assert!(code == 0 && said.contains("lifted: "), "{said}");
}
