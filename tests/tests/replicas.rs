//! Two replicas of each service on one Postgres: the same single log, the same order, the same streams as one; and one of
//! them killed loses nothing that was answered.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1::ReportDefinition;
use portreeve_core::token::Revision;
use portreeve_tests::history::{Tap, Trace};
use portreeve_tests::{Client, Database, Fixture, ManualClock, Options, Part, Server, refusal, sample, within};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;

/// Two replicas of each service, each in a server of its own; those that follow, follow the replica of their number.
struct Replicas {
    referral: [Server; 2],
    decision: [Server; 2],
    reporting: [Server; 2],
}

impl Replicas {
    async fn start(database: &Database, clock: &Arc<ManualClock>) -> Self {
        let start = async |options: [Options; 2]| {
            let [one, other] = options.map(|options| options.clock(clock));
            // At the same moment, on a database that is empty.
            let (one, other) = tokio::join!(Server::start(database, one), Server::start(database, other));
            [one, other]
        };
        let referral = start([Options::only(Part::Referral), Options::only(Part::Referral)]).await;
        let urls = referral.each_ref().map(Server::url);
        let following = |part: Part, decisions: &[String; 2]| {
            [0, 1].map(|number| Options {
                referral_url: urls[number].clone(),
                decision_url: decisions[number].clone(),
                ..Options::only(part)
            })
        };
        let decision = start(following(Part::Decision, &[String::new(), String::new()])).await;
        let reporting = start(following(Part::Reporting, &decision.each_ref().map(Server::url))).await;
        Self { referral, decision, reporting }
    }
}

async fn replicas() -> (Fixture, Arc<ManualClock>, Replicas) {
    let fixture = Fixture::postgres().await;
    let clock = Arc::new(ManualClock::at("2020-09-03T09:00:00Z".parse().unwrap()));
    let replicas = Replicas::start(&fixture.database, &clock).await;
    (fixture, clock, replicas)
}

fn position(revision: &str) -> i64 {
    Revision::decode(revision).unwrap().position
}

/// Everything that a replica's stream tells, up to a position.
async fn all(server: &Server, tap: &Tap, through: i64) -> Trace {
    let mut trace = Trace::new("replica", tap, true);
    trace.begin_at_the_first();
    let mut stream = tap.open(&server.url(), Start::Earliest(true)).await.unwrap();
    while trace.reached() < through {
        let message = within(20, "the next message", futures_util::StreamExt::next(&mut stream)).await;
        trace.take(message.unwrap().unwrap());
    }
    trace
}

fn same(one: &Trace, other: &Trace) {
    assert_eq!(one.positions(), other.positions());
    for (one, other) in one.items.iter().zip(&other.items) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_each_make_one_log() {
    let (_fixture, _clock, replicas) = replicas().await;
    sample::register(&replicas.referral[0].client("operators/op")).await;
    let (citation, _) = sample::clause(&replicas.decision[1].client("platforms/chirrup"), "chirrup", "fees").await;

    // Each write goes to one replica, the next read to another, of this service and the next.
    let mut writers = JoinSet::new();
    for writer in 0..6_usize {
        let referrals = replicas.referral.each_ref().map(|server| server.client("agencies/nca"));
        let decisions = replicas.decision.each_ref().map(|server| server.client("platforms/chirrup"));
        let citation = citation.clone();
        writers.spawn(async move {
            let mut last = String::new();
            for step in 0..15 {
                let (here, there) = ((writer + step) % 2, (writer + step + 1) % 2);
                let tag = format!("{writer}-{step}");
                let (sent, revision) = sample::refer(&referrals[here], "nca", "chirrup", &tag).await;
                // The other replica waits until it has heard of it.
                let request =
                    referral::GetReferralRequest { name: sent.name.clone(), at_least: vec![revision.clone()] };
                let read = referrals[there].referrals().get_referral(request).await.unwrap().into_inner();
                assert_eq!(read.referral.as_ref(), Some(&sent));
                let case = sample::case_of(&sent);
                let request = decision::GetCaseRequest { name: case.clone(), at_least: vec![revision] };
                decisions[there].decisions().get_case(request).await.unwrap();
                let request = sample::acknowledge("chirrup", std::slice::from_ref(&case), &format!("a{tag}"));
                decisions[here].decisions().acknowledge_cases(request).await.unwrap();
                let draft = if step % 2 == 0 { sample::closed() } else { sample::permitted(&citation) };
                let request = sample::record(&case, draft, &format!("d{tag}"));
                // Both replicas are told at once; it is recorded once.
                let (mut one, mut other) = (decisions[here].decisions(), decisions[there].decisions());
                let (one, other) = tokio::join!(one.record_decision(request.clone()), other.record_decision(request));
                let (one, other) = (one.unwrap().into_inner(), other.unwrap().into_inner());
                assert_eq!((&one.decision, &one.revision), (&other.decision, &other.revision));
                assert!(one.replayed != other.replayed, "one of two was first");
                last = one.revision;
            }
            last
        });
    }
    let last = writers.join_all().await;
    let last = last.into_iter().max_by_key(|revision| position(revision)).unwrap();

    for (servers, part, tap) in [
        (&replicas.referral, Part::Referral, Tap::referrals("services/reporting", "agencies/-")),
        (&replicas.decision, Part::Decision, Tap::cases("services/reporting", "platforms/-")),
    ] {
        let head = servers[0].head(part).await;
        assert_eq!(head, servers[1].head(part).await);
        let (one, other) = tokio::join!(all(&servers[0], &tap, head), all(&servers[1], &tap, head));
        assert_eq!(one.positions(), (1..=head).collect::<Vec<_>>(), "one log without a gap");
        same(&one, &other);
        // A token of one replica resumes on the other.
        let (page, _) = tap.page(&servers[0].url(), None, 50).await.unwrap();
        let (next, _) = tap.page(&servers[1].url(), Some(page.token), 50).await.unwrap();
        assert_eq!(next.items[0].position, 51);
        // What was kept on both is the same.
        assert_eq!(servers[0].dump(part).await, servers[1].dump(part).await);
    }

    // Each referral opened one case, although two followed.
    let tap = Tap::cases("services/reporting", "platforms/-");
    let cases = all(&replicas.decision[0], &tap, position(&last)).await;
    let opened = cases.items.iter().filter(|item| item.what == "opened").map(|item| &item.name).collect::<Vec<_>>();
    assert_eq!((opened.len(), opened.iter().collect::<BTreeSet<_>>().len()), (90, 90));

    // Both say the same of it, to the byte.
    let mut digests = BTreeSet::new();
    for server in &replicas.reporting {
        let report = server.client("oversightBodies/hac").report(today(), std::slice::from_ref(&last)).await.unwrap();
        let counts = report.total.unwrap().counts.unwrap();
        assert_eq!((counts.referred, counts.closed, counts.not_in_breach), (90, 48, 42));
        digests.insert(report.digest);
    }
    assert_eq!(digests.len(), 1);
    assert_eq!(replicas.reporting[0].dump(Part::Reporting).await, replicas.reporting[1].dump(Part::Reporting).await);
}

fn today() -> ReportDefinition {
    ReportDefinition {
        cohort_from_date: "2020-09-03".into(),
        cohort_until_date: "2020-09-03".into(),
        as_of_date: "2020-09-03".into(),
        ..ReportDefinition::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_loses_nothing_that_was_answered() {
    let (fixture, clock, replicas) = replicas().await;
    let Replicas { referral: [first, second], decision, reporting } = replicas;
    sample::register(&first.client("operators/op")).await;
    let (place, urls) = watch::channel([first.url(), second.url()]);
    let (answers, mut answered_so_far) = watch::channel(0_u64);
    let answers = Arc::new(answers);
    let (done, ended) = watch::channel(false);
    let mut writers = JoinSet::new();
    for writer in 0..8_usize {
        let (urls, answers, ended) = (urls.clone(), Arc::clone(&answers), ended.clone());
        writers.spawn(async move {
            let mut answered = BTreeMap::new();
            let mut clients = BTreeMap::<String, Client>::new();
            let mut turn = writer;
            for step in 0.. {
                if *ended.borrow() {
                    break;
                }
                let tag = format!("{writer}-{step}");
                // Until there is an answer: to whichever replica is up, with the same id.
                let reply = loop {
                    let url = urls.borrow()[turn % 2].clone();
                    let client = clients.entry(url.clone()).or_insert_with(|| Client::new(&url, "agencies/nca"));
                    let request = sample::create("nca", sample::draft("chirrup", &tag), &tag);
                    match client.referrals().create_referral(request).await {
                        Ok(reply) => break reply.into_inner(),
                        Err(status) => {
                            assert!(portreeve_api::watch::is_retryable(&status), "{status:?}");
                            turn += 1;
                        }
                    }
                };
                answers.send_modify(|answers| *answers += 1);
                answered.insert(reply.referral.unwrap().name, (tag, position(&reply.revision)));
                turn += usize::from(step % 7 == 0);
            }
            answered
        });
    }
    // Three times under load, one replica is killed, and another one started in its place.
    let mut alive = [Some(first), Some(second)];
    for round in 0..3_usize {
        let enough = *answers.borrow() + 150;
        let _ = answered_so_far.wait_for(|answers| *answers >= enough).await.unwrap();
        alive[round % 2].take().unwrap().kill().await;
        let next = Server::start(&fixture.database, Options::only(Part::Referral).clock(&clock)).await;
        place.send_modify(|urls| urls[round % 2] = next.url());
        alive[round % 2] = Some(next);
    }
    let enough = *answers.borrow() + 100;
    let _ = answered_so_far.wait_for(|answers| *answers >= enough).await.unwrap();
    done.send_replace(true);
    let answered = writers.join_all().await;

    let server = alive[0].as_ref().unwrap();
    let head = server.head(Part::Referral).await;
    let tap = Tap::referrals("services/reporting", "agencies/-");
    let (one, other) = tokio::join!(all(server, &tap, head), all(alive[1].as_ref().unwrap(), &tap, head));
    assert_eq!(one.positions(), (1..=head).collect::<Vec<_>>());
    same(&one, &other);
    let created = one.items.iter().filter(|item| item.what == "created");
    let created = created.map(|item| (item.name.as_str(), item)).collect::<BTreeMap<_, _>>();
    let mut count = 0;
    for (name, (tag, revision)) in answered.iter().flatten() {
        let item = created.get(name.as_str()).unwrap_or_else(|| panic!("{name} was answered and is lost"));
        assert!(item.position <= *revision && item.state.contains(&format!("native_id: \"{tag}\"")));
        count += 1;
    }
    // Nothing half done, nothing twice: each tag was sent until it was answered.
    assert_eq!(created.len(), count);
    assert!(count > 500, "{count}");

    // The followers of the killed replicas were not touched; they follow on from where they are if their upstream is back.
    drop(decision);
    drop(reporting);
    let url = server.url();
    let options = Options { referral_url: url, ..Options::only(Part::Decision).clock(&clock) };
    let follower = Server::start(&fixture.database, options).await;
    let state = server.standing(Part::Referral).await;
    let revision = Revision { log: "referral".into(), epoch: state.epoch, position: head }.encode();
    let request = decision::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        page_size: 1,
        at_least: vec![revision],
        ..decision::ListCasesRequest::default()
    };
    follower.client("platforms/chirrup").decisions().list_cases(request).await.unwrap();
    let tap = Tap::cases("services/reporting", "platforms/-");
    let cases = all(&follower, &tap, follower.head(Part::Decision).await).await;
    let opened = cases.items.iter().filter(|item| item.what == "opened").map(|item| item.name.clone());
    assert_eq!(opened.collect::<BTreeSet<_>>().len(), count);
    assert_eq!(cases.items.len(), count, "no case twice");
}

/// SQLite is one process's: a second server on the same folder is refused, and the first does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_has_one_server() {
    let fixture = Fixture::sqlite();
    let server = Server::suite(&fixture.database).await;
    sample::register(&server.client("operators/op")).await;
    let database = fixture.database.clone();
    let second = tokio::spawn(async move { Server::suite(&database).await }).await;
    assert!(second.is_err(), "a second server opened the same folder");
    sample::refer(&server.client("agencies/nca"), "nca", "chirrup", "still").await;
    let missing = referral::GetOrganisationRequest { name: "agencies/none".into(), at_least: Vec::new() };
    let status = server.client("agencies/nca").organisations().get_organisation(missing).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::NotFound, "ORGANISATION_NOT_FOUND"));
    server.stop().await;
}

/// Those that follow are killed while they follow, one after another: each case is opened once, and counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_follower_takes_nothing_in_twice_and_leaves_nothing_out() {
    let (fixture, clock, replicas) = replicas().await;
    let Replicas { referral: referrals, decision: [first, second], reporting: [third, fourth] } = replicas;
    sample::register(&referrals[0].client("operators/op")).await;
    let mut nca = referrals[1].client("agencies/nca").referrals();
    let (mut decisions, mut reports) = ([Some(first), Some(second)], [Some(third), Some(fourth)]);
    let mut last = String::new();
    let mut sent = 0;
    for round in 0..6_usize {
        let drafts = (0..200).map(|item| sample::draft("chirrup", &format!("{round}-{item}")));
        let request = referral::BatchCreateReferralsRequest {
            parent: "agencies/nca".into(),
            drafts: drafts.collect(),
            request_id: sample::request_id(&format!("round {round}")),
        };
        last = nca.batch_create_referrals(request).await.unwrap().into_inner().revision;
        sent += 200;
        // Killed as they take it in, and replaced.
        let number = round % 2;
        decisions[number].take().unwrap().kill().await;
        reports[number].take().unwrap().kill().await;
        let upstream = referrals[number].url();
        let options = Options { referral_url: upstream.clone(), ..Options::only(Part::Decision).clock(&clock) };
        let decision = Server::start(&fixture.database, options).await;
        let options = Options {
            referral_url: upstream,
            decision_url: decision.url(),
            ..Options::only(Part::Reporting).clock(&clock)
        };
        reports[number] = Some(Server::start(&fixture.database, options).await);
        // The other report server followed the decision server that is still up, or one that is gone: then it is replaced
        // in the next round.
        decisions[number] = Some(decision);
    }
    let [decision, _] = &decisions;
    let decision = decision.as_ref().unwrap();
    let request = decision::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        page_size: 1,
        at_least: vec![last.clone()],
        ..decision::ListCasesRequest::default()
    };
    let reached =
        decision.client("platforms/chirrup").decisions().list_cases(request).await.unwrap().into_inner().revisions;
    let head = decision.head(Part::Decision).await;
    let cases = all(decision, &Tap::cases("services/reporting", "platforms/-"), head).await;
    let opened = cases.items.iter().map(|item| item.name.as_str()).collect::<BTreeSet<_>>();
    assert_eq!((cases.items.len(), opened.len()), (sent, sent), "each case once");
    let [_, report] = &reports;
    for server in [report, &reports[0]] {
        let report = server.as_ref().unwrap().client("oversightBodies/hac").report(today(), &reached).await.unwrap();
        let counts = report.total.unwrap().counts.unwrap();
        assert_eq!((counts.referred, counts.undecided), (1_200, 1_200), "each referral counted once");
    }
}
