//! Who may read an access log, and what of it.

use portreeve_api::audit::v1 as audit;
use portreeve_api::consultation::v1 as consultation;
use portreeve_core::audit::{Check, Entry, Hash, checkpoint};
use portreeve_tests::{Client, Database, Fixture, Options, Part, Server, Timestamp, on_both_engines, refusal, sample};
use tonic::Code;

use super::reads::definition;
use super::{WHY, World, get, list, request};

on_both_engines!(nobody_audits_himself, who_may_not, an_access_log_proves_itself);

async fn nobody_audits_himself(database: &Database) {
    let world = World::new(database, Options::default()).await;
    for member in ["j.doe", "a.uditor", "a.uditor", "other"] {
        let reader = world.member("agencies/nca", member);
        reader.referrals().get_referral(get(&world.decided)).await.unwrap();
    }
    let members = |reply: &consultation::ListConsultationsResponse| {
        reply.consultations.iter().map(|entry| entry.member.clone()).collect::<Vec<_>>()
    };
    let auditor = world.auditor("agencies/nca");
    let own = list(&auditor, "referral-access", "agencies/nca").await;
    assert_eq!((members(&own), own.withheld), (vec!["j.doe".to_owned(), "other".to_owned()], 2));
    // That he looked is an entry too: withheld from him, seen by the second auditor and by oversight.
    let again = list(&auditor, "referral-access", "agencies/nca").await;
    assert_eq!((members(&again), again.withheld), (members(&own), 3));
    let second = world.member("agencies/nca", "b.second").roles(&["auditor"]);
    let seen = list(&second, "referral-access", "agencies/nca").await;
    assert_eq!((seen.consultations.len(), seen.withheld), (6, 0));
    let looked = seen.consultations.last().unwrap();
    assert!(looked.method.ends_with("/ListConsultations") && looked.member == "a.uditor", "{looked:?}");
    assert_eq!(looked.stretch.as_ref().unwrap().rows, 2);
    let overseen = world.entries("referral-access", "agencies/nca").await;
    assert_eq!(overseen.len(), 7);

    // Pages are full although entries between are withheld, and each is counted once.
    let mut paged = request("referral-access", "agencies/nca");
    paged.page_size = 1;
    let mut pages = Vec::new();
    for _ in 0..2 {
        let page = auditor.consultations().list_consultations(paged.clone()).await.unwrap().into_inner();
        pages.push((page.consultations, page.withheld));
        paged.page_token = page.next_page_token;
    }
    let one_each = own.consultations.iter().map(|entry| vec![entry.clone()]).zip([0, 2]).collect::<Vec<_>>();
    assert_eq!(pages, one_each);
    world.server.stop().await;
}

async fn who_may_not(database: &Database) {
    let world = World::new(database, Options::default()).await;
    let denied = (Code::PermissionDenied, "PERMISSION_DENIED");
    let unnamed = (Code::PermissionDenied, "AUDITOR_UNNAMED");
    let without = |organisation: &str, roles: &[&str]| world.client.acting(organisation).roles(roles);
    for (who, client, parent, expected) in [
        ("an officer", world.member("agencies/nca", "j.doe"), "agencies/nca", denied),
        ("an operator", world.member("operators/op", "o"), "agencies/nca", denied),
        ("a reviewer", world.member("platforms/harbourbook", "t.s"), "platforms/harbourbook", denied),
        ("another's auditor", world.auditor("agencies/bka"), "agencies/nca", denied),
        ("an auditor of all", world.auditor("agencies/nca"), "-", denied),
        ("an auditor without a name", without("agencies/nca", &["auditor"]), "agencies/nca", unnamed),
        ("an analyst without a name", without("oversightBodies/hac", &["analyst"]), "-", unnamed),
    ] {
        let refused = client.consultations().list_consultations(request("referral-access", parent)).await.unwrap_err();
        let refused = refusal(&refused);
        assert_eq!((refused.code, refused.reason.as_str()), expected, "{who}");
    }
    for organisation in ["platforms/harbourbook", "oversightBodies/hac"] {
        list(&world.auditor(organisation), "referral-access", organisation).await;
    }
    let wrong = consultation::ListConsultationsRequest {
        log: "logs/referral".into(),
        parent: "agencies/-".into(),
        page_size: -1,
        filter: Some(consultation::ConsultationFilter {
            readers: vec!["services/decision".into()],
            members: vec![String::new()],
            kind: 9,
            row: "7".into(),
            recorded_from: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let overseer = world.member("oversightBodies/hac", "c.lerk");
    let refused = refusal(&overseer.consultations().list_consultations(wrong).await.unwrap_err());
    let mut fields = refused.fields.clone();
    fields.sort();
    assert_eq!(
        fields,
        [
            "filter.kind",
            "filter.members[0]",
            "filter.readers[0]",
            "filter.recorded_from",
            "filter.row",
            "log",
            "page_size",
            "parent"
        ]
    );
    world.server.stop().await;
    let alone = Server::start(database, Options::only(Part::Referral)).await;
    let overseer = alone.client("oversightBodies/hac").member("c.lerk");
    let elsewhere = overseer.consultations().list_consultations(request("decision-access", "-")).await.unwrap_err();
    assert_eq!(refusal(&elsewhere).reason, "LOG_NOT_FOUND");
    let foreign = consultation::ListConsultationsRequest { page_token: "x".into(), ..request("referral-access", "-") };
    let foreign = overseer.consultations().list_consultations(foreign).await.unwrap_err();
    assert_eq!(refusal(&foreign).reason, "PAGE_TOKEN_INVALID");
    alone.stop().await;
}

/// What the tree of an access log covers is what auditors are shown; what they may not see they get as leaves.
async fn an_access_log_proves_itself(database: &Database) {
    let world = World::new(database, Options::default()).await;
    for agency in ["nca", "bka", "nca"] {
        let of = if agency == "nca" { &world.decided } else { &world.other };
        world.member(&format!("agencies/{agency}"), "j.doe").referrals().get_referral(get(of)).await.unwrap();
    }
    let auditor = world.auditor("agencies/nca");
    let log = "logs/referral-access".to_owned();
    let signed = audit::GetCheckpointRequest { log: log.clone(), at_least: Vec::new() };
    let signed = auditor.audits().get_checkpoint(signed).await.unwrap().into_inner();
    let root = checkpoint::open(&signed.checkpoint, &signed.verifier_key).unwrap();
    assert_eq!(root.size, 3);
    let all = audit::ListLogEntriesRequest { parent: log, ..Default::default() };
    let mut contents = Vec::new();
    for client in [&auditor, &world.member("agencies/nca", "j.doe"), &world.member("agencies/bka", "j.doe")] {
        let reply = client.audits().list_log_entries(all.clone()).await.unwrap().into_inner();
        let mut check = Check::new();
        for entry in reply.entries.iter().take(3) {
            let leaf: Hash = entry.leaf_hash.as_ref().try_into().unwrap();
            let content = entry.content.as_ref().map(|content| Entry {
                position: entry.position,
                recorded_at: Timestamp::from_micros(sample::micros(content.recorded_at.as_ref())),
                agency: &content.agency,
                platform: &content.platform,
                actor: &content.actor,
                body: &content.body,
            });
            check.take(entry.position, leaf, content);
        }
        assert_eq!(check.against(&root), vec![]);
        contents.push(check.contents());
    }
    // The auditor sees what was read of his agency; an officer, though it is of his own agency, nothing.
    assert_eq!(contents, [2, 0, 0]);
    // And that he was shown it is recorded.
    let entries = world.entries("referral-access", "agencies/nca").await;
    let looked = entries.iter().filter(|entry| entry.method.ends_with("/ListLogEntries")).collect::<Vec<_>>();
    let [looked] = looked.as_slice() else { panic!("{entries:?}") };
    let stretch = looked.stretch.as_ref().unwrap();
    assert_eq!((stretch.log.as_str(), stretch.rows, stretch.after_position), ("logs/referral-access", 2, 0));
    // Figures of everybody are in the reporting log, which is nobody's to read but through reports.
    let caught_up = definition("2026-01-01");
    world.member("agencies/nca", "j.doe").report(caught_up, &world.at_least).await.unwrap();
    let all = audit::ListLogEntriesRequest { parent: "logs/reporting".into(), ..Default::default() };
    let reply = auditor.audits().list_log_entries(all).await.unwrap().into_inner();
    assert!(!reply.entries.is_empty() && reply.entries.iter().all(|entry| entry.content.is_none()), "{reply:?}");
    world.server.stop().await;
}

/// Replicas write one access log: auditors find in either what was read by way of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_keep_one_access_log() {
    let fixture = Fixture::postgres().await;
    let one = Server::start(&fixture.database, Options::only(Part::Referral)).await;
    let other = Server::start(&fixture.database, Options::only(Part::Referral)).await;
    let client = one.client("operators/op");
    sample::register(&client).await;
    let (referral, _) = sample::refer(&client, "nca", "harbourbook", "one").await;
    let read = async |server: &Server, member: &str| {
        let client: Client = server.client("agencies/nca").member(member).because(WHY);
        for _ in 0..20 {
            client.referrals().get_referral(get(&referral)).await.unwrap();
        }
    };
    tokio::join!(read(&one, "by.one"), read(&other, "by.other"), read(&one, "by.one"), read(&other, "by.other"));
    for server in [&one, &other] {
        let overseer = server.client("oversightBodies/hac").member("c.lerk");
        let seen = list(&overseer, "referral-access", "agencies/nca").await.consultations;
        for member in ["by.one", "by.other"] {
            assert_eq!(seen.iter().filter(|entry| entry.member == member).count(), 40, "{member}");
        }
        let names = (1..).zip(&seen).filter(|(_, entry)| entry.member.starts_with("by."));
        for (position, entry) in names {
            assert_eq!(entry.name, format!("logs/referral-access/consultations/{position}"), "without a gap");
        }
    }
    one.stop().await;
    other.stop().await;
}
