//! Observations through the public API and the command line: what is seen of a target is one fact and what was decided another,
//! and where the two do not agree the case says so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::common::v1::TargetKind;
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as wire;
use portreeve_core::Clock as _;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Part, Server, on_both_engines, process, refusal, sample,
};
use tonic::{Code, Status};
use wire::ObservationFinding as Finding;

on_both_engines!(
    closed_by_decision_and_live_to_see_then_there_again,
    gone_although_nothing_was_done,
    who_may_see_and_do_what,
    whoever_watches_learns_of_it,
    where_it_is_again_is_erased_with_the_target,
    what_is_wrong_is_told_at_once,
);

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    client: Client,
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, clock) = Server::suite_at(database, "2020-09-03T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        Self { server, clock, client }
    }

    fn pass(&self, seconds: i64) {
        self.clock.set(self.clock.now().plus_micros(seconds * 1_000_000));
    }

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca")
    }

    fn chirrup(&self) -> Client {
        self.client.acting("platforms/chirrup")
    }

    /// A referral that the platform decided.
    async fn decided(&self, tag: &str, draft: decision::DecisionDraft) -> (wire::Referral, String) {
        let (sent, revision) = sample::refer(&self.client, "nca", "chirrup", tag).await;
        let case = sample::case_of(&sent);
        let mut decisions = self.chirrup().decisions();
        let get = decision::GetCaseRequest { name: case.clone(), at_least: vec![revision] };
        decisions.get_case(get).await.unwrap();
        let cases = [case.clone()];
        decisions.acknowledge_cases(sample::acknowledge("chirrup", &cases, &format!("ack {tag}"))).await.unwrap();
        decisions.record_decision(sample::record(&case, draft, &format!("decide {tag}"))).await.unwrap();
        (sent, case)
    }

    async fn observe(&self, request: wire::RecordObservationRequest) -> (wire::Observation, String) {
        let reply = self.nca().observations().record_observation(request).await.unwrap().into_inner();
        (reply.observation.unwrap(), reply.revision)
    }

    async fn case(&self, name: &str, revision: &str) -> decision::Case {
        let request = decision::GetCaseRequest { name: name.into(), at_least: vec![revision.into()] };
        self.chirrup().decisions().get_case(request).await.unwrap().into_inner().case.unwrap()
    }

    /// The names of the platform's cases with a discrepancy.
    async fn discrepant(&self, of: decision::Discrepancy) -> Vec<String> {
        let filter = decision::CaseFilter { discrepancies: vec![of.into()], ..decision::CaseFilter::default() };
        let request = decision::ListCasesRequest {
            parent: "platforms/chirrup".into(),
            filter: Some(filter),
            ..decision::ListCasesRequest::default()
        };
        let cases = self.chirrup().decisions().list_cases(request).await.unwrap().into_inner().cases;
        cases.into_iter().map(|case| case.name).collect()
    }
}

/// What is left of a target whose place is not told.
fn bare() -> wire::Target {
    wire::Target { kind: TargetKind::Page.into(), ..wire::Target::default() }
}

/// The content at another place.
fn again(referral: &str, id: &str) -> wire::RecordObservationRequest {
    let mut request = sample::observation(referral, Finding::Reappeared, id);
    let draft = request.observation.as_mut().unwrap();
    draft.reappeared_as = Some(wire::Target {
        kind: TargetKind::Page.into(),
        url: "https://chirrup.example/pages/the-same-again".into(),
        native_id: "the-same-again".into(),
        ..wire::Target::default()
    });
    request
}

async fn list(client: &Client, parent: &str) -> Result<Vec<wire::Observation>, Status> {
    let mut request = wire::ListObservationsRequest {
        parent: parent.into(),
        page_size: 2,
        ..wire::ListObservationsRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let reply = client.observations().list_observations(request.clone()).await?.into_inner();
        assert!(reply.observations.len() == 2 || reply.next_page_token.is_empty());
        found.extend(reply.observations);
        if reply.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = reply.next_page_token;
    }
}

/// Golden scenario ten: the decision says CLOSED while the observation stays LIVE; then the content is there again elsewhere.
async fn closed_by_decision_and_live_to_see_then_there_again(database: &Database) {
    use decision::Discrepancy::ClosedButLive;
    let world = World::new(database).await;
    let (sent, case) = world.decided("a page", sample::closed()).await;
    // Within the day in which it takes effect, nothing is amiss.
    world.pass(23 * 3_600);
    let (_, revision) = world.observe(sample::observation(&sent.name, Finding::Live, "soon")).await;
    assert_eq!(world.case(&case, &revision).await.discrepancy(), decision::Discrepancy::Unspecified);
    assert!(world.discrepant(ClosedButLive).await.is_empty());
    world.pass(2 * 3_600);
    let (live, revision) = world.observe(sample::observation(&sent.name, Finding::Live, "later")).await;
    let shown = world.case(&case, &revision).await;
    // The decision stands, and so does what is seen.
    assert_eq!(shown.status(), decision::CaseStatus::Decided);
    assert_eq!(shown.latest_decision.as_ref().unwrap().outcome(), decision::Outcome::ClosedIllegal);
    assert_eq!((shown.latest_observation.as_ref(), shown.discrepancy()), (Some(&live), ClosedButLive));
    assert_eq!(world.discrepant(ClosedButLive).await, std::slice::from_ref(&case));

    // A look at an earlier time, told now, does not take its place.
    let mut earlier = sample::observation(&sent.name, Finding::Gone, "of before");
    earlier.observation.as_mut().unwrap().observed_at = Some(sample::time("2020-09-03T10:00:00Z"));
    let (_, revision) = world.observe(earlier).await;
    assert_eq!(world.case(&case, &revision).await.latest_observation.as_ref(), Some(&live));

    world.pass(3_600);
    let (_, revision) = world.observe(sample::observation(&sent.name, Finding::Gone, "gone")).await;
    assert_eq!(world.case(&case, &revision).await.discrepancy(), decision::Discrepancy::Unspecified);
    // There again as another page, which the agency refers.
    world.pass(3_600);
    let (next, _) = sample::refer(&world.client, "nca", "chirrup", "the same again").await;
    let mut request = again(&sent.name, "again");
    request.observation.as_mut().unwrap().reappeared_referral.clone_from(&next.name);
    let (reappeared, revision) = world.observe(request).await;
    assert_eq!((reappeared.finding(), &reappeared.reappeared_referral), (Finding::Reappeared, &next.name));
    // Where that is, its own referral says.
    assert_eq!(reappeared.reappeared_as, Some(bare()));
    let shown = world.case(&case, &revision).await;
    let seen = shown.latest_observation.unwrap();
    assert_eq!((seen.finding(), shown.decision_version), (Finding::Reappeared, 1));
    // It is another target, which others may see than those who see this case.
    assert_eq!((seen.reappeared_as, seen.reappeared_referral.as_str()), (None, ""));
    assert_eq!(shown.latest_sighting.unwrap().finding(), Finding::Gone, "the page itself is gone all the same");
    assert_eq!(list(&world.nca(), &sent.name).await.unwrap().len(), 5);

    // A stream of what does not agree tells when it began, and when it ceased.
    let filter = decision::CaseFilter { discrepancies: vec![ClosedButLive.into()], ..Default::default() };
    let request = decision::ListCaseChangesRequest {
        parent: "platforms/chirrup".into(),
        start: Some(decision::list_case_changes_request::Start::Earliest(true)),
        filter: Some(filter),
        ..decision::ListCaseChangesRequest::default()
    };
    let changes = world.chirrup().decisions().list_case_changes(request).await.unwrap().into_inner().changes;
    let told = changes.iter().map(|change| match change.change.as_ref().unwrap() {
        decision::case_change::Change::Observed(case) => (change.discrepancy_before(), case.discrepancy()),
        other => panic!("{other:?}"),
    });
    let none = decision::Discrepancy::Unspecified;
    assert_eq!(told.collect::<Vec<_>>(), [(none, ClosedButLive), (ClosedButLive, none)]);
    assert!(changes.iter().all(|change| change.actor == "agencies/nca"));
    world.server.rebuilds(&[Part::Referral, Part::Decision]).await;
}

async fn gone_although_nothing_was_done(database: &Database) {
    use decision::Discrepancy::NoActionButGone;
    let world = World::new(database).await;
    let draft = sample::decided(decision::Outcome::NoActionInsufficientInfo);
    let (sent, case) = world.decided("a page", draft).await;
    world.pass(60);
    let (_, revision) = world.observe(sample::observation(&sent.name, Finding::Gone, "gone")).await;
    assert_eq!(world.case(&case, &revision).await.discrepancy(), NoActionButGone);
    assert_eq!(world.discrepant(NoActionButGone).await, std::slice::from_ref(&case));
    // The platform says that it was gone: now both say the same.
    let mut found = sample::decided(decision::Outcome::NoActionAlreadyGone);
    found.gone_by = decision::GoneBy::User.into();
    let amended = sample::later(decision::DecisionKind::Amended, found);
    let request = sample::record(&case, amended, "amended");
    let reply = world.chirrup().decisions().record_decision(request).await.unwrap().into_inner();
    assert_eq!(world.case(&case, &reply.revision).await.discrepancy(), decision::Discrepancy::Unspecified);
    assert!(world.discrepant(NoActionButGone).await.is_empty());
}

async fn who_may_see_and_do_what(database: &Database) {
    let world = World::new(database).await;
    let (sent, _) = world.decided("a page", sample::closed()).await;
    let (first, _) = world.observe(sample::observation(&sent.name, Finding::Live, "first")).await;
    for (caller, reason) in [
        (world.client.acting("agencies/bka"), "PERMISSION_DENIED"),
        (world.nca().roles(&["approver"]), "PERMISSION_DENIED"),
        (world.chirrup(), "PERMISSION_DENIED"),
        (world.client.acting("oversightBodies/hac"), "PERMISSION_DENIED"),
        (world.client.clone(), "PERMISSION_DENIED"),
    ] {
        let request = sample::observation(&sent.name, Finding::Live, "not theirs");
        let no = caller.observations().record_observation(request).await.unwrap_err();
        assert_eq!(refusal(&no).reason, reason);
    }
    let all = "agencies/nca/referrals/-";
    for reader in [world.nca(), world.nca().roles(&["auditor"]), world.client.acting("services/reporting")] {
        assert_eq!(list(&reader, all).await.unwrap(), std::slice::from_ref(&first));
        assert_eq!(list(&reader, &sent.name).await.unwrap(), std::slice::from_ref(&first));
    }
    for stranger in [
        world.client.acting("agencies/bka"),
        world.chirrup(),
        world.client.acting("oversightBodies/hac"),
        world.client.clone(),
    ] {
        for parent in [all, &sent.name] {
            assert_eq!(refusal(&list(&stranger, parent).await.unwrap_err()).reason, "PERMISSION_DENIED");
        }
    }
    // A partner sees with the case what the agreement shows of it.
    let mut agreement = sample::agreement(["nca", "bka"], "2021-01-01");
    agreement.field_groups.retain(|group| *group != i32::from(wire::FieldGroup::Target));
    let (_, revision) = sample::agree(&world.client, agreement, "without targets").await;
    world.pass(1);
    world.observe(again(&sent.name, "again")).await;
    let partner = world.client.acting("agencies/bka").purpose("investigation");
    let request = decision::ListCasesRequest {
        parent: "platforms/-".into(),
        at_least: vec![revision],
        ..decision::ListCasesRequest::default()
    };
    partner.decisions().list_cases(request.clone()).await.unwrap();
    let caught_up = wire::ListObservationsRequest { parent: all.into(), ..Default::default() };
    let revisions = world.nca().observations().list_observations(caught_up).await.unwrap().into_inner().revisions;
    let request = decision::ListCasesRequest { at_least: revisions, ..request };
    let cases = partner.decisions().list_cases(request).await.unwrap().into_inner().cases;
    let seen = cases[0].latest_observation.as_ref().unwrap();
    assert_eq!(seen.finding(), Finding::Reappeared);
    assert_eq!(seen.reappeared_as, None);
}

async fn whoever_watches_learns_of_it(database: &Database) {
    use wire::referral_change::Change;
    let world = World::new(database).await;
    let (sent, _) = world.decided("a page", sample::closed()).await;
    let mut recorded = Vec::new();
    for id in ["first", "second", "third"] {
        world.pass(60);
        recorded.push(world.observe(sample::observation(&sent.name, Finding::Live, id)).await.0);
    }
    let filter = wire::ReferralFilter { platforms: vec!["platforms/chirrup".into()], ..Default::default() };
    for (reader, parent, filter, all) in [
        ("agencies/nca", "agencies/nca", None, true),
        ("agencies/nca", "agencies/nca", Some(filter), false),
        ("agencies/bka", "agencies/-", None, false),
        ("platforms/chirrup", "agencies/-", None, false),
        ("services/decision", "agencies/-", None, true),
    ] {
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            let changes = start == Start::Earliest(true);
            let mut found = Vec::new();
            for change in world.client.acting(reader).changes(parent, start, filter.clone()).await {
                match change.change.unwrap() {
                    Change::Observed(seen) if changes => found.push(seen),
                    Change::ObservationSnapshot(seen) if !changes => found.push(seen),
                    Change::Observed(_) | Change::ObservationSnapshot(_) => panic!("the wrong one"),
                    _ => {}
                }
            }
            assert_eq!(found, if all { recorded.clone() } else { Vec::new() }, "{reader} {parent}");
        }
    }
}

async fn where_it_is_again_is_erased_with_the_target(database: &Database) {
    let world = World::new(database).await;
    let (sent, case) = world.decided("a page", sample::closed()).await;
    world.pass(60);
    world.observe(again(&sent.name, "before")).await;
    let erase = wire::EraseReferralRequest {
        name: sent.name.clone(),
        field_groups: vec![wire::FieldGroup::Target.into()],
        reason: "Asked for.".into(),
        request_id: sample::request_id("erase"),
    };
    world.nca().retention().erase_referral(erase).await.unwrap();
    world.pass(60);
    let (after, revision) = world.observe(again(&sent.name, "after")).await;
    assert_eq!(after.reappeared_as, Some(bare()), "what was erased does not come back");
    let seen = list(&world.nca(), &sent.name).await.unwrap();
    assert!(seen.iter().all(|seen| seen.reappeared_as == Some(bare())), "{seen:?}");
    let shown = world.case(&case, &revision).await;
    assert_eq!(shown.latest_observation, Some(wire::Observation { reappeared_as: None, ..after }));
    let hex = portreeve_core::audit::hex(b"the-same-again");
    for part in [Part::Referral, Part::Decision] {
        let dump = world.server.dump(part).await;
        assert!(
            !dump.iter().any(|row| row.contains("the-same-again") || row.to_lowercase().contains(&hex)),
            "{dump:?}"
        );
        world.server.rebuilds(&[part]).await;
    }
    let told = format!("{:?}", world.nca().changes("agencies/nca", Start::Earliest(true), None).await);
    assert!(!told.contains("the-same-again"), "{told}");
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let (sent, _) = world.decided("a page", sample::closed()).await;
    let head = world.server.head(Part::Referral).await;
    let mut nca = world.nca().observations();
    let fields = |status: Status| {
        let no = refusal(&status);
        assert_eq!(no.reason, "REQUEST_INVALID", "{status:?}");
        no.fields.join(" ")
    };
    let bare = wire::RecordObservationRequest { parent: "x".into(), ..wire::RecordObservationRequest::default() };
    assert_eq!(fields(nca.record_observation(bare).await.unwrap_err()), "parent observation request_id");
    let with = |change: &dyn Fn(&mut wire::ObservationDraft)| {
        let mut request = sample::observation(&sent.name, Finding::Live, "wrong");
        change(request.observation.as_mut().unwrap());
        request
    };
    let place = again(&sent.name, "").observation.unwrap().reappeared_as;
    let foreign = sent.name.replace("agencies/nca", "agencies/bka");
    for (request, expected) in [
        (with(&|draft| draft.finding = 0), "observation.finding"),
        (with(&|draft| draft.finding = 99), "observation.finding"),
        (with(&|draft| draft.method = 0), "observation.method"),
        (with(&|draft| draft.vantage_country = "gb".into()), "observation.vantage_country"),
        (with(&|draft| draft.evidence_digest = "abc".into()), "observation.evidence_digest"),
        (with(&|draft| draft.observed_at = Some(sample::time("2020-09-04"))), "observation.observed_at"),
        (with(&|draft| draft.observed_at = Some(sample::time("2020-09-02"))), "observation.observed_at"),
        (with(&|draft| draft.reappeared_as.clone_from(&place)), "observation.reappeared_as"),
        (with(&|draft| draft.reappeared_referral.clone_from(&sent.name)), "observation.reappeared_referral"),
        (with(&|draft| draft.finding = Finding::Reappeared.into()), "observation.reappeared_as"),
        (
            with(&|draft| {
                draft.finding = Finding::GeoBlocked.into();
                draft.vantage_country.clear();
            }),
            "observation.vantage_country",
        ),
        (
            with(&|draft| {
                draft.finding = Finding::Reappeared.into();
                draft.reappeared_as.clone_from(&place);
                draft.reappeared_as.as_mut().unwrap().url = "ftp://chirrup.example/".into();
                draft.reappeared_referral.clone_from(&foreign);
            }),
            "observation.reappeared_referral observation.reappeared_as.url",
        ),
    ] {
        assert_eq!(fields(nca.record_observation(request).await.unwrap_err()), expected);
    }
    let (owner, _) = sent.name.rsplit_once('/').unwrap();
    let nobody = sample::observation(&format!("{owner}/{}", uuid::Uuid::nil()), Finding::Live, "nobody");
    let no = refusal(&nca.record_observation(nobody.clone()).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::NotFound, "REFERRAL_NOT_FOUND"));
    let mut unknown = again(&sent.name, "unknown");
    unknown.observation.as_mut().unwrap().reappeared_referral = nobody.parent;
    let no = refusal(&nca.record_observation(unknown).await.unwrap_err());
    assert_eq!(
        (no.reason.as_str(), no.fields.join(" ").as_str()),
        ("REFERRAL_NOT_FOUND", "observation.reappeared_referral")
    );
    assert_eq!(world.server.head(Part::Referral).await, head, "nothing was recorded");

    // The same request is the same observation; a referral has a thousand of them.
    let request = sample::observation(&sent.name, Finding::Live, "once");
    let (once, _) = world.observe(request.clone()).await;
    let again = nca.record_observation(request).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.observation), (true, Some(once)));
    for number in 1..1_000 {
        nca.record_observation(sample::observation(&sent.name, Finding::Live, &number.to_string())).await.unwrap();
    }
    let no = nca.record_observation(sample::observation(&sent.name, Finding::Live, "too many")).await.unwrap_err();
    let no = refusal(&no);
    assert_eq!((no.reason.as_str(), no.metadata["maximum"].as_str()), ("LIMIT_EXCEEDED", "1000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_observes_and_lists() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let (sent, _) = world.decided("a page", sample::closed()).await;
    let url = world.server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let (code, said) = run("agencies/nca", &["observe", &sent.name, "live", "--country", "GB"]);
    assert!(code == 0 && said.starts_with("observed: "), "{said}");
    let place = "https://chirrup.example/pages/again";
    let (code, said) = run("agencies/nca", &["observe", &sent.name, "reappeared", "--url", place, "--kind", "page"]);
    assert!(code == 0, "{said}");
    let (code, said) = run("agencies/nca", &["observe", &sent.name, "geo-blocked"]);
    assert!(code == 1 && said.contains("vantage_country"), "{said}");
    let (code, said) = run("agencies/nca", &["observations", &sent.name]);
    assert!(code == 0 && said.contains("LIVE") && said.contains(place), "{said}");
    let (code, said) = run("agencies/nca", &["observations", "--json"]);
    assert!(code == 0 && said.lines().count() == 2, "{said}");
}
