//! Measures against misuse through the public API and the command line: who is suspended refers nothing, everything else
//! goes on, time alone ends it, and an appeal is decided by somebody else.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::referral::v1 as wire;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Part, Server, on_both_engines, process, refusal, sample,
};
use tonic::{Code, Status};
use wire::{Measure, MeasureAppealOutcome as Outcome, MeasureState as State, MisuseGravity as Gravity};

on_both_engines!(
    who_is_suspended_refers_nothing_and_the_rest_goes_on,
    a_member_alone_is_suspended,
    a_suspension_follows_a_warning,
    an_appeal_is_decided_by_another,
    who_may_see_and_do_what,
    whoever_watches_learns_of_measures,
    what_is_wrong_in_a_measure_is_told_at_once,
);

const START: &str = "2020-09-03T09:00:00Z";

async fn suite(database: &Database) -> (Server, Arc<ManualClock>, Client) {
    let (server, clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    (server, clock, client)
}

/// A supervisor of the oversight body.
fn supervisor(client: &Client, name: &str) -> Client {
    client.acting("oversightBodies/hac").roles(&["supervisor"]).member(name)
}

async fn impose(client: &Client, request: wire::ImposeMeasureRequest) -> Result<Measure, Status> {
    let hac = supervisor(client, "s.one");
    Ok(hac.measures().impose_measure(request).await?.into_inner().measure.unwrap())
}

fn exceptional(mut request: wire::ImposeMeasureRequest) -> wire::ImposeMeasureRequest {
    let grounds = request.measure.as_mut().unwrap().grounds.as_mut().unwrap();
    grounds.gravity = Gravity::Exceptional.into();
    request
}

/// Refers as a client; gives why it was refused.
async fn refer(client: &Client, tag: &str) -> Result<wire::Referral, portreeve_tests::Refused> {
    let request = sample::create("nca", sample::draft("chirrup", tag), tag);
    match client.referrals().create_referral(request).await {
        Ok(reply) => Ok(reply.into_inner().referral.unwrap()),
        Err(status) => Err(refusal(&status)),
    }
}

async fn refused(client: &Client, tag: &str) -> String {
    refer(client, tag).await.map_or_else(|no| no.reason, |_| String::new())
}

fn appeal(name: &str, reasons: &str, id: &str) -> wire::AppealMeasureRequest {
    wire::AppealMeasureRequest {
        name: name.into(),
        reasons: reasons.into(),
        request_id: sample::request_id(&format!("appeal {id}")),
    }
}

fn decide(name: &str, outcome: Outcome, until: Option<&str>, id: &str) -> wire::DecideAppealRequest {
    wire::DecideAppealRequest {
        name: name.into(),
        outcome: outcome.into(),
        shortened_until: until.map(sample::time),
        reasons: "As the appeal shows.".into(),
        request_id: sample::request_id(&format!("decide {id}")),
    }
}

fn lift(name: &str, id: &str) -> wire::LiftMeasureRequest {
    wire::LiftMeasureRequest {
        name: name.into(),
        reasons: "Another member had referred them.".into(),
        request_id: sample::request_id(&format!("lift {id}")),
    }
}

async fn get(client: &Client, name: &str) -> Result<Measure, Status> {
    let request = wire::GetMeasureRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.measures().get_measure(request).await?.into_inner().measure.unwrap())
}

async fn list(client: &Client, parent: &str) -> Result<Vec<Measure>, Status> {
    let mut request = wire::ListMeasuresRequest { parent: parent.into(), page_size: 2, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let reply = client.measures().list_measures(request.clone()).await?.into_inner();
        assert!(reply.measures.len() == 2 || reply.next_page_token.is_empty());
        found.extend(reply.measures);
        if reply.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = reply.next_page_token;
    }
}

async fn who_is_suspended_refers_nothing_and_the_rest_goes_on(database: &Database) {
    let (server, clock, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let before = refer(&nca, "before").await.unwrap();
    let warned = impose(&client, sample::warning("nca", "", "warning")).await.unwrap();
    assert_eq!((warned.state(), warned.imposed_by.as_str()), (State::InForce, "oversightBodies/hac"));
    assert_eq!(refused(&nca, "after the warning").await, "", "a warning takes nothing away");
    clock.set("2020-09-10T09:00:00Z".parse().unwrap());
    let suspended = impose(&client, sample::suspension("nca", "", "2020-09-20T23:00:00Z", "s")).await.unwrap();
    assert_eq!((suspended.state(), suspended.warning.as_str()), (State::InForce, warned.name.as_str()));

    // One, a batch, an import: whoever acts, for all that is new.
    let head = server.head(Part::Referral).await;
    for caller in [nca.clone(), nca.member("j.doe"), nca.roles(&["officer", "import"])] {
        let no = refer(&caller, "during").await.unwrap_err();
        assert_eq!((no.code, no.reason.as_str()), (Code::PermissionDenied, "REFERRING_SUSPENDED"));
        assert_eq!(no.metadata["measure"], suspended.name);
        assert_eq!(no.metadata["until"], "2020-09-20T23:00:00Z");
    }
    let batch = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![sample::draft("chirrup", "one"), sample::draft("chirrup", "two")],
        request_id: sample::request_id("batch"),
    };
    let no = refusal(&nca.referrals().batch_create_referrals(batch.clone()).await.unwrap_err());
    assert_eq!(no.reason, "REFERRING_SUSPENDED");
    let items = ["before", "new"].map(|tag| wire::ImportItem {
        request_id: sample::request_id(&format!("item {tag}")),
        draft: Some(sample::draft("chirrup", tag)),
    });
    let message = wire::ImportReferralsRequest { parent: "agencies/nca".into(), items: items.to_vec() };
    let import = async |message| {
        let mut replies = nca.referrals().import_referrals(tokio_stream::once(message)).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap();
        let told = reply.results.into_iter().map(|result| match result.result.unwrap() {
            wire::import_result::Result::Imported(imported) => imported.replayed.to_string(),
            wire::import_result::Result::Error(status) => status.message,
        });
        told.collect::<Vec<_>>()
    };
    assert!(import(message.clone()).await.iter().all(|told| told.contains("is suspended from referring until")));
    assert_eq!(server.head(Part::Referral).await, head, "nothing was recorded");

    // What was answered before is answered again.
    let request = sample::create("nca", sample::draft("chirrup", "before"), "before");
    let again = nca.referrals().create_referral(request).await.unwrap().into_inner();
    assert!(again.replayed && again.referral.as_ref() == Some(&before));
    // Others refer, reads and withdrawals go on.
    sample::refer(&client, "bka", "chirrup", "another agency").await;
    nca.referrals().withdraw_referral(sample::withdraw(&before.name, "w")).await.unwrap();
    let request = wire::ListReferralsRequest { parent: "agencies/nca".into(), ..Default::default() };
    assert_eq!(nca.referrals().list_referrals(request).await.unwrap().into_inner().referrals.len(), 2);

    // To the microsecond, by time alone.
    clock.set("2020-09-20T22:59:59.999999Z".parse().unwrap());
    assert_eq!(refused(&nca, "at last").await, "REFERRING_SUSPENDED");
    clock.set("2020-09-20T23:00:00Z".parse().unwrap());
    assert_eq!(refused(&nca, "at last").await, "");
    nca.referrals().batch_create_referrals(batch).await.unwrap();
    assert_eq!(import(message).await, ["false", "false"]);
    assert_eq!(get(&nca, &suspended.name).await.unwrap().state(), State::Ended);

    let dump = server.dump(Part::Referral).await;
    assert!(dump.iter().any(|row| row.starts_with("measure ")), "{dump:?}");
    server.rebuilds(&[Part::Referral]).await;
    // The platform has every case, and the others followed on past the measures.
    let (_, revision) = sample::refer(&client, "nca", "chirrup", "the last").await;
    let at_least = vec![revision];
    let request = portreeve_api::decision::v1::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        at_least: at_least.clone(),
        ..Default::default()
    };
    let cases = client.acting("platforms/chirrup").decisions().list_cases(request).await.unwrap().into_inner().cases;
    assert_eq!(cases.len(), 9);
    let definition = portreeve_api::reporting::v1::ReportDefinition {
        as_of_date: "2020-09-20".into(),
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2020-09-20".into(),
        ..Default::default()
    };
    assert!(client.acting("oversightBodies/hac").report(definition, &at_least).await.is_ok());
}

async fn a_member_alone_is_suspended(database: &Database) {
    let (_server, _clock, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let request = exceptional(sample::suspension("nca", "j.doe", "2020-09-20", "member"));
    let suspended = impose(&client, request).await.unwrap();
    assert_eq!((suspended.member.as_str(), suspended.warning.as_str()), ("j.doe", ""));
    let no = refer(&nca.member("j.doe"), "own").await.unwrap_err();
    assert_eq!((no.reason.as_str(), &no.metadata["measure"]), ("REFERRING_SUSPENDED", &suspended.name));
    assert_eq!(refused(&nca.member("a.nother"), "another").await, "");
    // Whoever keeps silent about his name could be anybody.
    let no = refer(&nca, "nobody").await.unwrap_err();
    assert_eq!((no.code, no.reason.as_str()), (Code::PermissionDenied, "MEMBER_UNNAMED"));
    assert_eq!(no.metadata["organisation"], "agencies/nca");
    // The same name at another agency is another person's.
    let bka = client.acting("agencies/bka");
    for caller in [bka.clone(), bka.member("j.doe")] {
        let request = sample::create("bka", sample::draft("chirrup", "bka"), "bka");
        caller.referrals().create_referral(request).await.unwrap();
    }
    // The agency as a whole besides: then it is the longer one that is told.
    let request = exceptional(sample::suspension("nca", "", "2020-09-10", "agency"));
    let agency = impose(&client, request).await.unwrap();
    for (caller, measure) in [(nca.member("j.doe"), &suspended), (nca.member("a.nother"), &agency), (nca, &agency)] {
        assert_eq!(refer(&caller, "both").await.unwrap_err().metadata["measure"], measure.name);
    }
}

async fn a_suspension_follows_a_warning(database: &Database) {
    let (_server, clock, client) = suite(database).await;
    let suspend = |member: &str, id: &str| sample::suspension("nca", member, "2020-12-01", id);
    let no = refusal(&impose(&client, suspend("j.doe", "none")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::FailedPrecondition, "WARNING_REQUIRED"));
    assert_eq!((no.metadata["agency"].as_str(), no.metadata["member"].as_str()), ("agencies/nca", "j.doe"));
    // Neither the agency's nor another member's is a warning of this one; nor is one of the same instant.
    for (member, id) in [("", "agency"), ("a.nother", "other"), ("j.doe", "own")] {
        impose(&client, sample::warning("nca", member, id)).await.unwrap();
    }
    impose(&client, sample::warning("bka", "j.doe", "another agency")).await.unwrap();
    assert_eq!(refusal(&impose(&client, suspend("j.doe", "same time")).await.unwrap_err()).reason, "WARNING_REQUIRED");
    clock.set("2020-09-03T09:00:00.000001Z".parse().unwrap());
    let first = impose(&client, suspend("j.doe", "after")).await.unwrap();
    // One at a time; of somebody else, yes.
    let no = refusal(&impose(&client, suspend("j.doe", "twice")).await.unwrap_err());
    assert_eq!((no.reason.as_str(), &no.metadata["name"]), ("INVALID_TRANSITION", &first.name));
    assert_eq!(no.metadata["from"], "IN_FORCE");
    let other = impose(&client, suspend("a.nother", "other suspension")).await.unwrap();
    let hac = supervisor(&client, "s.one");
    hac.measures().lift_measure(lift(&first.name, "first")).await.unwrap();
    let again = impose(&client, suspend("j.doe", "again")).await.unwrap();
    assert_ne!(again.name, first.name);
    // A warning that was taken back is none, and neither is one of more than a year ago.
    hac.measures().lift_measure(lift(&again.name, "again")).await.unwrap();
    let own = list(&client.acting("agencies/nca"), "agencies/nca").await.unwrap();
    let own = own.iter().find(|measure| measure.member == "j.doe").unwrap();
    assert_eq!(again.warning, own.name);
    hac.measures().lift_measure(lift(&own.name, "own")).await.unwrap();
    assert_eq!(refusal(&impose(&client, suspend("j.doe", "lifted")).await.unwrap_err()).reason, "WARNING_REQUIRED");
    hac.measures().lift_measure(lift(&other.name, "other")).await.unwrap();
    clock.set("2021-09-03T09:00:00Z".parse().unwrap());
    let late = |id: &str| sample::suspension("nca", "a.nother", "2021-12-01", id);
    assert_eq!(refusal(&impose(&client, late("late")).await.unwrap_err()).reason, "WARNING_REQUIRED");
    // What is exceptionally grave waits for none.
    assert_eq!(impose(&client, exceptional(late("grave"))).await.unwrap().warning, "");
}

async fn an_appeal_is_decided_by_another(database: &Database) {
    let (_server, clock, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let request = exceptional(sample::suspension("nca", "", "2020-10-03", "s"));
    let measure = impose(&client, request.clone()).await.unwrap();
    let one = supervisor(&client, "s.one");
    let other = supervisor(&client, "s.other");
    let no = other.measures().decide_appeal(decide(&measure.name, Outcome::Lifted, None, "early")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "INVALID_TRANSITION");

    let appealed = nca.measures().appeal_measure(appeal(&measure.name, "Founded.", "1")).await.unwrap().into_inner();
    let told = appealed.measure.unwrap().appeal.unwrap();
    assert_eq!((told.reasons.as_str(), told.outcome()), ("Founded.", Outcome::Unspecified));
    assert_eq!(refused(&nca, "while it is pending").await, "REFERRING_SUSPENDED");
    let again = nca.measures().appeal_measure(appeal(&measure.name, "Founded.", "2")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.measure.unwrap().appeal), (false, Some(told)));
    let twice = nca.measures().appeal_measure(appeal(&measure.name, "Another.", "3")).await.unwrap_err();
    assert_eq!(refusal(&twice).reason, "INVALID_TRANSITION");

    // Not by who imposed it, not by nobody in particular; a namesake of another body is somebody else.
    let until = Some("2020-09-13");
    let decision = |id: &str| decide(&measure.name, Outcome::Shortened, until, id);
    let no = refusal(&one.measures().decide_appeal(decision("own")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::PermissionDenied, "DECIDER_NOT_IMPARTIAL"));
    assert_eq!(no.metadata["measure"], measure.name);
    let unnamed = client.acting("oversightBodies/hac").roles(&["supervisor"]);
    let no = refusal(&unnamed.measures().decide_appeal(decision("unnamed")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::PermissionDenied, "MEMBER_UNNAMED"));
    for (outcome, until) in [
        (Outcome::Shortened, None),
        (Outcome::Upheld, Some("2020-09-13")),
        (Outcome::Shortened, Some(START)),
        (Outcome::Shortened, Some("2020-10-03")),
    ] {
        let request = decide(&measure.name, outcome, until, &format!("{outcome:?} {until:?}"));
        let no = refusal(&other.measures().decide_appeal(request).await.unwrap_err());
        assert_eq!((no.reason.as_str(), no.fields), ("REQUEST_INVALID", vec!["shortened_until".to_owned()]));
    }
    let decided = other.measures().decide_appeal(decision("once")).await.unwrap().into_inner();
    let changed = decided.measure.unwrap();
    assert_eq!(changed.ends_at, Some(sample::time("2020-09-13")));
    assert_eq!(changed.appeal.as_ref().unwrap().decided_by, "oversightBodies/hac");
    let again = other.measures().decide_appeal(decision("once")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.measure.as_ref()), (true, Some(&changed)));
    let no = other.measures().decide_appeal(decide(&measure.name, Outcome::Lifted, None, "anew")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "INVALID_TRANSITION");
    clock.set("2020-09-12T23:59:59Z".parse().unwrap());
    assert_eq!(refused(&nca, "shortened").await, "REFERRING_SUSPENDED");
    // The request that imposed it still gets its first answer.
    let replayed = one.measures().impose_measure(request).await.unwrap().into_inner();
    assert!(replayed.replayed && replayed.measure == Some(measure));
    clock.set("2020-09-13T00:00:00Z".parse().unwrap());
    assert_eq!(refused(&nca, "shortened").await, "");

    // Lifted: at once, and for good. Upheld: nothing changes.
    for (outcome, state, reason) in
        [(Outcome::Upheld, State::InForce, "REFERRING_SUSPENDED"), (Outcome::Lifted, State::Lifted, "")]
    {
        let id = format!("{outcome:?}");
        let measure =
            impose(&client, exceptional(sample::suspension("nca", "j.doe", "2020-10-03", &id))).await.unwrap();
        nca.measures().appeal_measure(appeal(&measure.name, "Founded.", &id)).await.unwrap();
        let request = decide(&measure.name, outcome, None, &id);
        let decided = other.measures().decide_appeal(request).await.unwrap().into_inner().measure.unwrap();
        assert_eq!(decided.state(), state);
        assert_eq!(refused(&nca.member("j.doe"), &id).await, reason);
        let lifted = one.measures().lift_measure(lift(&measure.name, &id)).await.map(tonic::Response::into_inner);
        match outcome {
            Outcome::Lifted => assert_eq!(refusal(&lifted.unwrap_err()).reason, "INVALID_TRANSITION"),
            _ => assert_eq!(lifted.unwrap().measure.unwrap().lifted_by, "oversightBodies/hac"),
        }
    }
    // A warning is not shortened, and can be appealed against too.
    let warning = impose(&client, sample::warning("nca", "", "warning")).await.unwrap();
    nca.measures().appeal_measure(appeal(&warning.name, "Founded.", "warning")).await.unwrap();
    let request = decide(&warning.name, Outcome::Shortened, Some("2020-10-01"), "warning");
    assert_eq!(refusal(&other.measures().decide_appeal(request).await.unwrap_err()).reason, "INVALID_TRANSITION");
    let namesake = client.acting("oversightBodies/second").roles(&["supervisor"]).member("s.one");
    let request = decide(&warning.name, Outcome::Lifted, None, "warning lifted");
    let decided = namesake.measures().decide_appeal(request).await.unwrap().into_inner().measure.unwrap();
    assert_eq!(decided.appeal.unwrap().decided_by, "oversightBodies/second");
}

async fn who_may_see_and_do_what(database: &Database) {
    let (_server, _clock, client) = suite(database).await;
    let measure = impose(&client, sample::warning("nca", "", "nca")).await.unwrap();
    let other = impose(&client, sample::warning("bka", "j.doe", "bka")).await.unwrap();
    let third = impose(&client, sample::warning("nca", "j.doe", "third")).await.unwrap();
    let hac = client.acting("oversightBodies/hac");
    for (reader, parent, seen) in [
        (client.acting("agencies/nca"), "agencies/nca", vec![&measure, &third]),
        (client.acting("agencies/nca").roles(&["officer"]), "agencies/-", vec![&measure, &third]),
        (client.acting("agencies/bka"), "agencies/-", vec![&other]),
        (hac.clone(), "agencies/-", vec![&measure, &other, &third]),
        (supervisor(&client, "s.one"), "agencies/bka", vec![&other]),
    ] {
        assert_eq!(list(&reader, parent).await.unwrap().iter().collect::<Vec<_>>(), seen, "{parent}");
        for measure in seen {
            assert_eq!(&get(&reader, &measure.name).await.unwrap(), measure);
        }
    }
    // Before it is looked for: whether there is one is not told either.
    let none = format!("agencies/nca/measures/{}", uuid::Uuid::nil());
    for stranger in [client.acting("agencies/bka"), client.acting("platforms/chirrup"), client.acting("operators/op")] {
        for name in [&measure.name, &none] {
            assert_eq!(refusal(&get(&stranger, name).await.unwrap_err()).reason, "PERMISSION_DENIED");
        }
        assert_eq!(refusal(&list(&stranger, "agencies/nca").await.unwrap_err()).reason, "PERMISSION_DENIED");
    }
    for knowing in [client.acting("agencies/nca"), hac.clone()] {
        let no = refusal(&get(&knowing, &none).await.unwrap_err());
        assert_eq!((no.code, no.reason.as_str()), (Code::NotFound, "MEASURE_NOT_FOUND"));
    }
    let unknown = impose(&client, sample::warning("nobody", "", "nobody")).await.unwrap_err();
    assert_eq!(refusal(&unknown).reason, "ORGANISATION_NOT_FOUND");

    // Only supervisors impose, decide and lift, and only by name; only the agency's approvers appeal.
    for caller in [hac.clone(), hac.roles(&["auditor"]), client.acting("agencies/nca"), client.clone()] {
        let caller = caller.member("x.y");
        let imposed = caller.measures().impose_measure(sample::warning("nca", "", "not theirs")).await.unwrap_err();
        let lifted = caller.measures().lift_measure(lift(&measure.name, "not theirs")).await.unwrap_err();
        let decided = decide(&measure.name, Outcome::Upheld, None, "not theirs");
        let decided = caller.measures().decide_appeal(decided).await.unwrap_err();
        for no in [imposed, lifted, decided] {
            assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
        }
    }
    let unnamed = hac.roles(&["supervisor"]);
    let no = unnamed.measures().impose_measure(sample::warning("nca", "", "unnamed")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "MEMBER_UNNAMED");
    let no = unnamed.measures().lift_measure(lift(&measure.name, "unnamed")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "MEMBER_UNNAMED");
    for caller in [
        client.acting("agencies/nca").roles(&["officer"]),
        client.acting("agencies/bka"),
        supervisor(&client, "s.one"),
        client.acting("platforms/chirrup"),
    ] {
        let no = caller.measures().appeal_measure(appeal(&measure.name, "Founded.", "foreign")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
}

async fn whoever_watches_learns_of_measures(database: &Database) {
    use wire::referral_change::Change;
    let (_server, _clock, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let first = impose(&client, sample::warning("nca", "", "first")).await.unwrap();
    let appealed = nca.measures().appeal_measure(appeal(&first.name, "Founded.", "1")).await.unwrap().into_inner();
    let appealed = appealed.measure.unwrap();
    let mut seen = vec![first, appealed.clone()];
    // More than one message of a snapshot holds.
    let mut standing = vec![appealed];
    for number in 0..600 {
        let request = sample::warning("nca", &format!("m{number}"), &number.to_string());
        let imposed = impose(&client, request).await.unwrap();
        seen.push(imposed.clone());
        standing.push(imposed);
    }
    impose(&client, sample::warning("bka", "", "of another")).await.unwrap();
    let filter = wire::ReferralFilter { platforms: vec!["platforms/chirrup".into()], ..Default::default() };
    for (reader, parent, filter, all) in [
        ("agencies/nca", "agencies/nca", None, true),
        ("agencies/nca", "agencies/-", None, true),
        ("agencies/nca", "agencies/nca", Some(filter), false),
        ("agencies/bka", "agencies/-", None, false),
        ("platforms/chirrup", "agencies/-", None, false),
        ("services/decision", "agencies/-", None, true),
        ("services/decision", "agencies/nca", None, true),
    ] {
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            let changes = start == Start::Earliest(true);
            let mut found = Vec::new();
            for change in client.acting(reader).changes(parent, start, filter.clone()).await {
                match change.change.unwrap() {
                    Change::MeasureChanged(measure) if changes => {
                        assert!(change.member.is_empty(), "who in the oversight body it was is that body's to know");
                        found.push(measure);
                    }
                    Change::MeasureSnapshot(measure) if !changes => found.push(measure),
                    Change::MeasureChanged(_) | Change::MeasureSnapshot(_) => panic!("the wrong one"),
                    _ => {}
                }
            }
            let own = found.iter().filter(|measure| measure.name.starts_with("agencies/nca/")).cloned();
            let expected = if changes { &seen } else { &standing };
            assert_eq!(own.collect::<Vec<_>>(), if all { expected.clone() } else { Vec::new() }, "{reader} {parent}");
            let others = found.iter().filter(|measure| !measure.name.starts_with("agencies/nca/")).count();
            let expected =
                usize::from(parent == "agencies/-" && matches!(reader, "agencies/bka" | "services/decision"));
            assert_eq!(others, expected, "{reader} {parent}");
        }
    }
}

async fn what_is_wrong_in_a_measure_is_told_at_once(database: &Database) {
    let (server, _clock, client) = suite(database).await;
    let head = server.head(Part::Referral).await;
    let fields = async |request| {
        let no = refusal(&impose(&client, request).await.unwrap_err());
        assert_eq!((no.code, no.reason.as_str()), (Code::InvalidArgument, "REQUEST_INVALID"), "{no:?}");
        no.fields
    };
    let warning = || sample::warning("nca", "", "wrong");
    let with = |change: &dyn Fn(&mut Measure)| {
        let mut request = warning();
        change(request.measure.as_mut().unwrap());
        request
    };
    let bare = wire::ImposeMeasureRequest { measure: None, parent: "nca".into(), request_id: "again".into() };
    assert_eq!(fields(bare).await, ["parent", "measure", "request_id"]);
    let mut wrong = fields(with(&|measure| {
        *measure = Measure {
            kind: 9,
            member: "m".repeat(65),
            statement_of_reasons: "x".repeat(5_001),
            grounds: Some(wire::MisuseGrounds { gravity: 0, intent: 9, ..Default::default() }),
            ..Measure::default()
        };
    }))
    .await;
    wrong.sort();
    let all = [
        "grounds.gravity",
        "grounds.intent",
        "grounds.period_from",
        "grounds.period_until",
        "grounds.referred_count",
        "grounds.unfounded_count",
        "kind",
        "member",
        "statement_of_reasons",
    ];
    assert_eq!(wrong, all.map(|field| format!("measure.{field}")));
    for (change, field) in [
        (
            (&|measure: &mut Measure| measure.end_time = Some(sample::time("2020-10-01"))) as &dyn Fn(&mut Measure),
            "end_time",
        ),
        (&|measure| measure.start_time = Some(sample::time("2020-10-01")), "start_time"),
        (&|measure| measure.kind = wire::MeasureKind::Suspension.into(), "end_time"),
        (&|measure| measure.member = " j.doe".into(), "member"),
        (&|measure| measure.member = "j\u{7}doe".into(), "member"),
        (&|measure| measure.statement_of_reasons = "  ".into(), "statement_of_reasons"),
        (&|measure| measure.statement_of_reasons.clear(), "statement_of_reasons"),
        (&|measure| measure.grounds = None, "grounds"),
        (&|measure| measure.grounds.as_mut().unwrap().referred_count = 39, "grounds.referred_count"),
        (
            &|measure| measure.grounds.as_mut().unwrap().period_until = Some(sample::time("2019-01-01")),
            "grounds.period_until",
        ),
        (
            &|measure| measure.grounds.as_mut().unwrap().period_until = Some(sample::time("2021-01-01")),
            "grounds.period_until",
        ),
    ] {
        assert_eq!(fields(with(change)).await, [format!("measure.{field}")]);
    }
    assert_eq!(server.head(Part::Referral).await, head, "nothing was recorded");
    // And what just fits is taken.
    let most = with(&|measure| {
        measure.member = "m".repeat(64);
        measure.statement_of_reasons = "x".repeat(5_000);
        measure.grounds.as_mut().unwrap().referred_count = 40;
        measure.grounds.as_mut().unwrap().intent = 0;
    });
    let name = impose(&client, most).await.unwrap().name;
    let nca = client.acting("agencies/nca");
    for (reasons, fits) in
        [(String::new(), false), (" ".into(), false), ("x".repeat(5_001), false), ("x".repeat(5_000), true)]
    {
        let appealed = nca.measures().appeal_measure(appeal(&name, &reasons, &reasons.len().to_string())).await;
        match appealed {
            Ok(_) => assert!(fits),
            Err(status) => assert_eq!((refusal(&status).fields, fits), (vec!["reasons".to_owned()], false)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_imposes_appeals_decides_and_lists() {
    let fixture = Fixture::sqlite();
    let server = Server::suite(&fixture.database).await;
    sample::register(&server.client("operators/op")).await;
    let url = server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let supervise = |member: &str, arguments: &[&str]| {
        run("oversightBodies/hac", &[arguments, &["--roles", "supervisor", "--member", member]].concat())
    };
    let common = [
        "--unfounded",
        "40",
        "--referred",
        "120",
        "--period-from",
        "2020-01-01",
        "--period-until",
        "2020-03-01",
        "--intent",
        "negligent",
        "--reasons",
        "News reports were referred",
    ];
    let impose = |first: &[&str]| supervise("s.one", &[&["measure", "impose"], first, &common].concat());
    let until =
        (portreeve_core::Clock::now(&portreeve_core::time::SystemClock).plus_micros(86_400_000_000)).to_string();
    let (code, said) = impose(&["suspension", "agencies/nca", "--until", &until, "--gravity", "serious"]);
    assert!(code == 1 && said.contains("WARNING_REQUIRED"), "{said}");
    let (code, said) = impose(&["warning", "agencies/nca", "--gravity", "serious"]);
    assert!(code == 0 && said.starts_with("imposed: agencies/nca/measures/"), "{said}");
    let (code, said) = impose(&["suspension", "agencies/nca", "--until", &until, "--gravity", "serious"]);
    assert_eq!(code, 0, "{said}");
    let name = said.split_whitespace().nth(1).unwrap().trim_end_matches(',').to_owned();
    let (code, said) = run("agencies/nca", &["measure", "appeal", &name, "--reasons", "They were founded"]);
    assert!(code == 0 && said.contains("IN_FORCE"), "{said}");
    let decision = ["measure", "decide", &name, "lifted", "--reasons", "They were"];
    let (code, said) = supervise("s.one", &decision);
    assert!(code == 1 && said.contains("DECIDER_NOT_IMPARTIAL"), "{said}");
    let (code, said) = supervise("s.other", &decision);
    assert!(code == 0 && said.contains("LIFTED"), "{said}");
    let (code, said) = run("agencies/nca", &["measure", "list", "agencies/nca"]);
    assert!(
        code == 0 && said.contains("40 of 120") && said.contains("WARNING") && said.contains("SUSPENSION"),
        "{said}"
    );
    let (code, said) = run("oversightBodies/hac", &["measure", "list", "--json"]);
    assert!(code == 0 && said.lines().count() == 2, "{said}");
    let warning = serde_json::from_str::<serde_json::Value>(said.lines().next().unwrap()).unwrap();
    let lifted = supervise("s.one", &["measure", "lift", warning["name"].as_str().unwrap(), "--reasons", "Settled"]);
    assert_eq!(lifted.0, 0, "{}", lifted.1);
}
