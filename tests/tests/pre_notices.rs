//! A platform is told before the first removal order (TCO art. 3(2)), through the public API and the command line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::referral::v1 as wire;
use portreeve_core::limits;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Options, Part, Refused, Server, on_both_engines, process, refusal, sample,
    within,
};
use tonic::Status;
use wire::referral_change::Change;

on_both_engines!(
    the_first_order_comes_twelve_hours_after_a_notice,
    history_counts_by_its_own_time,
    who_gives_and_who_sees,
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

    fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
    }

    async fn give(&self, client: &Client, request: wire::GivePreNoticeRequest) -> Result<wire::PreNotice, Status> {
        Ok(client.pre_notices().give_pre_notice(request).await?.into_inner().pre_notice.unwrap())
    }

    async fn send(&self, agency: &str, draft: wire::ReferralDraft, id: &str) -> Result<wire::Referral, Status> {
        let client = self.client.acting(&format!("agencies/{agency}"));
        let sent = client.referrals().create_referral(sample::create(agency, draft, id)).await?;
        Ok(sent.into_inner().referral.unwrap())
    }
}

fn notice(agency: &str, platform: &str, id: &str) -> wire::GivePreNoticeRequest {
    wire::GivePreNoticeRequest {
        parent: format!("agencies/{agency}"),
        pre_notice: Some(wire::PreNoticeDraft {
            platform: format!("platforms/{platform}"),
            contact: "Contact point, tco@bka.example".into(),
            procedures: "Orders come through this exchange and are carried out within one hour of their receipt."
                .into(),
            given_at: None,
        }),
        request_id: sample::request_id(&format!("notice {agency} {platform} {id}")),
    }
}

/// A removal order that can wait.
fn order(platform: &str, tag: &str) -> wire::ReferralDraft {
    let mut draft = sample::order(platform, tag);
    draft.order.as_mut().unwrap().emergency = String::new();
    draft
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> Refused {
    refusal(&result.unwrap_err())
}

async fn the_first_order_comes_twelve_hours_after_a_notice(database: &Database) {
    let world = World::new(database).await;
    let nca = world.client.acting("agencies/nca");
    let no = refused(world.send("nca", order("chirrup", "one"), "one").await);
    assert_eq!((no.reason.as_str(), no.metadata["possible_at"].as_str()), ("PRE_NOTICE_REQUIRED", ""));
    assert_eq!((no.fields, no.metadata["platform"].as_str()), (vec!["referral.order".into()], "platforms/chirrup"));
    let given = world.give(&nca, notice("nca", "chirrup", "first")).await.unwrap();
    assert_eq!(given.given_at, Some(sample::time("2023-06-01T09:00:00Z")));
    // A microsecond early is early; the refusal says when.
    world.at("2023-06-01T20:59:59.999999Z");
    let no = refused(world.send("nca", order("chirrup", "one"), "one").await);
    assert_eq!(no.metadata["possible_at"], "2023-06-01T21:00:00Z");
    // In a batch all are refused, and a draft when it is authorised: nothing goes around it.
    let batch = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![sample::draft("chirrup", "with it"), order("chirrup", "one")],
        request_id: sample::request_id("batch"),
    };
    let no = refused(nca.referrals().batch_create_referrals(batch).await);
    assert_eq!((no.reason.as_str(), no.fields.join(" ").as_str()), ("PRE_NOTICE_REQUIRED", "drafts[1].order"));
    let mut written = sample::write("nca", "chirrup", "a draft");
    let checked = written.referral.as_ref().unwrap().protected_context.clone();
    written.referral = Some(wire::ReferralDraft { protected_context: checked, ..order("chirrup", "a draft") });
    let author = nca.member("a.uthor");
    let draft = author.drafts().create_draft(written).await.unwrap().into_inner().draft.unwrap();
    let approver = nca.member("a.pprover").roles(&["approver"]);
    let no = refused(approver.drafts().authorise_draft(sample::authorise(&draft, "early")).await);
    assert_eq!(no.reason, "PRE_NOTICE_REQUIRED");
    // Other regimes have no such gate, nor has an emergency; and the one that was sent opens it.
    let mut other = order("chirrup", "of a state");
    other.order.as_mut().unwrap().regime = wire::OrderRegime::National.into();
    other.order.as_mut().unwrap().territorial_scope = vec!["DE".into()];
    world.send("nca", other, "of a state").await.unwrap();
    world.at("2023-06-01T21:00:00Z");
    world.send("nca", order("chirrup", "one"), "one").await.unwrap();
    world.send("nca", order("chirrup", "two"), "two").await.unwrap();
    approver.drafts().authorise_draft(sample::authorise(&draft, "in time")).await.unwrap();
    // Neither for another agency nor to another platform.
    for (agency, platform) in [("bka", "chirrup"), ("nca", "lensgram")] {
        let no = refused(world.send(agency, order(platform, "theirs"), "theirs").await);
        assert_eq!(no.reason, "PRE_NOTICE_REQUIRED", "{agency} {platform}");
    }
    let mut urgent = order("lensgram", "urgent");
    urgent.order.as_mut().unwrap().emergency = "A boat leaves tonight.".into();
    world.send("nca", urgent, "urgent").await.unwrap();
    world.send("nca", order("lensgram", "after"), "after").await.unwrap();
    // Another server of the same database knows it, and what is rebuilt.
    for part in [Part::Referral, Part::Decision] {
        let before = world.server.dump(part).await;
        world.server.rebuild(part).await;
        assert_eq!(world.server.dump(part).await, before);
    }
    if matches!(database, Database::Sqlite { .. }) {
        return;
    }
    let other = Server::start(database, Options::default().clock(&world.clock)).await;
    let bka = other.client("agencies/bka");
    let no = refused(bka.referrals().create_referral(sample::create("bka", order("chirrup", "b"), "b")).await);
    assert_eq!(no.reason, "PRE_NOTICE_REQUIRED");
    let again = sample::create("nca", order("chirrup", "three"), "three");
    other.client("agencies/nca").referrals().create_referral(again).await.unwrap();
}

async fn history_counts_by_its_own_time(database: &Database) {
    let world = World::new(database).await;
    let importer = world.client.acting("agencies/nca").roles(&["import", "officer"]);
    let officer = world.client.acting("agencies/nca");
    let told = |at: &str| {
        let mut request = notice("nca", "chirrup", at);
        request.pre_notice.as_mut().unwrap().given_at = Some(sample::time(at));
        request
    };
    let sent = |at: &str| {
        let draft = wire::ReferralDraft { occurred_at: Some(sample::time(at)), ..order("chirrup", at) };
        sample::create("nca", draft, at)
    };
    // Who may not tell history gives it now, and sends now.
    let no = refused(world.give(&officer, told("2023-05-31T09:00:00Z")).await);
    assert_eq!(no.reason, "BACKDATING_NOT_PERMITTED");
    let importing = async |at: &str| importer.referrals().create_referral(sent(at)).await;
    assert_eq!(refused(importing("2021-03-01T12:00:00Z").await).reason, "PRE_NOTICE_REQUIRED");
    world.give(&importer, told("2021-03-01T00:00:00Z")).await.unwrap();
    assert_eq!(refused(importing("2021-03-01T11:59:59Z").await).reason, "PRE_NOTICE_REQUIRED");
    importing("2021-03-01T12:00:00Z").await.unwrap();
    importing("2021-03-02T12:00:00Z").await.unwrap();
    assert_eq!(refused(importing("2021-02-28T12:00:00Z").await).reason, "PRE_NOTICE_REQUIRED");
    officer.referrals().create_referral(sample::create("nca", order("chirrup", "now"), "now")).await.unwrap();
}

async fn who_gives_and_who_sees(database: &Database) {
    let world = World::new(database).await;
    let acting = |name: &str| world.client.acting(name);
    let first = world.give(&acting("agencies/nca"), notice("nca", "chirrup", "one")).await.unwrap();
    let second = world.give(&acting("agencies/nca"), notice("nca", "lensgram", "two")).await.unwrap();
    let third = world.give(&acting("agencies/bka"), notice("bka", "chirrup", "three")).await.unwrap();
    for other in ["agencies/bka", "platforms/chirrup", "oversightBodies/hac", "operators/op"] {
        let no = refused(world.give(&acting(other), notice("nca", "chirrup", other)).await);
        assert_eq!(no.reason, "PERMISSION_DENIED", "{other}");
    }
    let auditor = acting("agencies/nca").roles(&["auditor"]).member("a.uditor");
    assert_eq!(refused(world.give(&auditor, notice("nca", "chirrup", "x")).await).reason, "PERMISSION_DENIED");
    let all = [&first, &second, &third].map(|notice| notice.name.as_str());
    let seen: [(&str, &str, &[&str]); 6] = [
        ("agencies/nca", "agencies/-", &all[..2]),
        ("agencies/nca", "agencies/nca", &all[..2]),
        ("agencies/bka", "agencies/-", &all[2..]),
        ("platforms/chirrup", "agencies/-", &[all[0], all[2]]),
        ("platforms/chirrup", "agencies/nca", &all[..1]),
        ("platforms/harbourbook", "agencies/-", &[]),
    ];
    for (who, parent, expected) in seen {
        let mut names = Vec::new();
        let mut request = wire::ListPreNoticesRequest {
            parent: parent.into(),
            page_size: 1,
            ..wire::ListPreNoticesRequest::default()
        };
        loop {
            let page = acting(who).pre_notices().list_pre_notices(request.clone()).await.unwrap().into_inner();
            names.extend(page.pre_notices.into_iter().map(|notice| notice.name));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(names, expected, "{who} {parent}");
        // Its stream has the same, as they come and in a snapshot.
        if expected.is_empty() {
            continue;
        }
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            let request = wire::WatchReferralsRequest {
                parent: parent.into(),
                start: Some(sample::start(start)),
                ..wire::WatchReferralsRequest::default()
            };
            let mut stream = acting(who).referrals().watch_referrals(request).await.unwrap().into_inner();
            let mut told = Vec::new();
            while told.len() < expected.len() {
                let message = within(30, "pre-notices", stream.message()).await.unwrap().unwrap();
                told.extend(message.changes.into_iter().filter_map(|change| match change.change {
                    Some(Change::PreNoticeGiven(notice) | Change::PreNoticeSnapshot(notice)) => Some(notice.name),
                    _ => None,
                }));
            }
            assert_eq!(told, expected, "{who} {parent}");
        }
    }
    for other in ["agencies/bka", "oversightBodies/hac"] {
        let others = wire::ListPreNoticesRequest { parent: "agencies/nca".into(), ..Default::default() };
        let no = acting(other).pre_notices().list_pre_notices(others).await;
        assert_eq!(refused(no).reason, "PERMISSION_DENIED", "{other}");
    }
    // Asked again, it is the one that was given.
    let request = notice("nca", "chirrup", "one");
    let again = acting("agencies/nca").pre_notices().give_pre_notice(request).await.unwrap().into_inner();
    assert!(again.replayed && again.pre_notice == Some(first), "{again:?}");
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let nca = world.client.acting("agencies/nca");
    let bare = wire::GivePreNoticeRequest::default();
    assert_eq!(refused(world.give(&nca, bare).await).fields, ["parent", "pre_notice", "request_id"]);
    let mut wrong = notice("nca", "chirrup", "wrong");
    *wrong.pre_notice.as_mut().unwrap() = wire::PreNoticeDraft {
        platform: "chirrup".into(),
        contact: "c".repeat(201),
        procedures: " ".into(),
        given_at: Some(sample::time("2023-06-02T09:00:00Z")),
    };
    let fields = ["pre_notice.platform", "pre_notice.contact", "pre_notice.procedures", "pre_notice.given_at"];
    assert_eq!(refused(world.give(&nca, wrong).await).fields, fields);
    let no = refused(world.give(&nca, notice("nca", "nobody", "nobody")).await);
    assert_eq!(no.reason, "ORGANISATION_NOT_FOUND");
    for number in 0..limits::PRE_NOTICES_MAX {
        world.give(&nca, notice("nca", "chirrup", &number.to_string())).await.unwrap();
    }
    let no = refused(world.give(&nca, notice("nca", "chirrup", "more")).await);
    assert_eq!((no.reason.as_str(), no.metadata["limit"].as_str()), ("LIMIT_EXCEEDED", "pre_notices"));
    world.give(&nca, notice("nca", "lensgram", "more")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_gives_and_lists() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let url = world.server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let give = ["pre-notice", "give", "platforms/chirrup", "--contact", "tco@bka.example", "--procedures", "One hour."];
    let (code, said) = run("agencies/bka", &give);
    assert!(code == 0 && said.starts_with("given: agencies/bka/preNotices/"), "{said}");
    let (code, said) = run("platforms/chirrup", &["pre-notice", "list"]);
    assert!(code == 0 && said.contains("tco@bka.example"), "{said}");
    let (code, said) = run("platforms/chirrup", &["pre-notice", "list", "--agency", "agencies/nca", "--json"]);
    assert!(code == 0 && said.is_empty(), "{said}");
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
        "tco",
        "--issuing-authority",
        "Bundeskriminalamt",
        "--redress",
        "Before the court",
    ];
    let (code, said) = run("agencies/bka", &order);
    assert!(code == 1 && said.contains("PRE_NOTICE_REQUIRED") && said.contains("portreeve pre-notice give"), "{said}");
}
