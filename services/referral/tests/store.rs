//! The service's store on both engines: what the writer persists is what the reads give and what the log says.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use portreeve_core::id::IdSource as _;
use portreeve_core::id::Uuid;
use portreeve_core::name::{OrganisationKind, ReferralName};
use portreeve_core::vocabulary::{Ground, Nature, TargetKind};
use portreeve_core::{Reason, Timestamp};
use portreeve_referral::domain::ledger::DraftField;
use portreeve_referral::domain::{Command, Standing};
use portreeve_referral::store::{self, Filter, Query};
use portreeve_storage::Database;
use portreeve_storage::conformance::{Fixture, cases::portable_type};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use support::{Store, on_both_engines, principal, query};

on_both_engines!(
    what_is_referred_is_read_back,
    tenants_see_their_own,
    a_host_routes_to_one_platform,
    an_organisation_is_changed_whole,
    a_batch_is_taken_whole_or_not_at_all,
    withdrawal_is_final,
    filters_agree,
);

async fn what_is_referred_is_read_back(database: &Database) {
    let store = Store::with_organisations(database).await;
    let draft = store.draft("nca", "hb", "https://M.hb.example:443/groups/1#x");
    let outcome = store.refer(draft.clone()).await.unwrap();
    let name = draft.said.name.clone();
    let read = store.row("agencies/nca", &name).await.unwrap();
    assert_eq!(read.target.location.raw(), "https://M.hb.example:443/groups/1#x");
    assert_eq!(read.target.location.canonical(), "https://m.hb.example/groups/1");
    assert_eq!((read.created, read.updated), (outcome.position, outcome.position));
    assert_eq!(read.statement, draft.said.statement);
    assert_eq!(read.occurred_at, "2026-01-01".parse().unwrap());
    assert_eq!(read.recorded_at, "2026-01-02".parse().unwrap());
    let wrong_agency = ReferralName { agency: "bka".into(), id: draft.said.name.id };
    assert!(store.row("services/decision", &wrong_agency).await.is_none());
}

async fn tenants_see_their_own(database: &Database) {
    let store = Store::with_organisations(database).await;
    for (agency, platform, url) in [
        ("nca", "hb", "https://hb.example/1"),
        ("bka", "hb", "https://hb.example/2"),
        ("nca", "ch", "https://chirrup.test/3"),
    ] {
        store.refer(store.draft(agency, platform, url)).await.unwrap();
    }
    for (reader, expected) in [
        ("agencies/nca", vec!["/1", "/3"]),
        ("agencies/bka", vec!["/2"]),
        ("platforms/hb", vec!["/1", "/2"]),
        ("platforms/ch", vec!["/3"]),
        ("oversightBodies/hac", vec![]),
        ("operators/op", vec![]),
        ("services/decision", vec!["/1", "/2", "/3"]),
    ] {
        let found = store.rows(&query(reader, Filter::default())).await;
        let paths =
            found.iter().map(|r| &r.target.location.raw()[r.target.location.raw().len() - 2..]).collect::<Vec<_>>();
        assert_eq!(paths, expected, "{reader}");
        for referral in store.rows(&query("services/x1", Filter::default())).await {
            let seen = store.row(reader, &referral.name).await.is_some();
            assert_eq!(seen, found.iter().any(|r| r.name == referral.name), "{reader}");
        }
    }
}

async fn a_host_routes_to_one_platform(database: &Database) {
    let store = Store::with_organisations(database).await;
    let taken = store.organisation("platforms/other", &["other.example", "hb.example"]).await.unwrap_err();
    assert_eq!((taken.reason(), taken.violations()[0].field.as_str()), (Reason::HostTaken, "organisation.hosts[1]"));
    let foreign = store.refer(store.draft("nca", "hb", "https://ch.example/1")).await.unwrap_err();
    assert_eq!(
        (foreign.reason(), foreign.violations()[0].field.as_str()),
        (Reason::UrlOfAnotherPlatform, "referral.target.url")
    );
    let unknown = store.refer(store.draft("nca", "hb", "https://elsewhere.example/1")).await.unwrap_err();
    assert_eq!(unknown.reason(), Reason::UrlOfAnotherPlatform);
    // A platform's subdomain may be another platform of its own.
    store.organisation("platforms/videos", &["videos.hb.example"]).await.unwrap();
    assert!(store.refer(store.draft("nca", "hb", "https://videos.hb.example/1")).await.is_err());
    store.refer(store.draft("nca", "videos", "https://m.videos.hb.example/1")).await.unwrap();
    for (agency, platform) in [("nobody", "hb"), ("nca", "nobody")] {
        let missing = store.refer(store.draft(agency, platform, "https://hb.example/1")).await.unwrap_err();
        assert_eq!(missing.reason(), Reason::OrganisationNotFound);
    }
}

async fn an_organisation_is_changed_whole(database: &Database) {
    let store = Store::with_organisations(database).await;
    let reads = &store.opened.0.reads;
    let name = "platforms/ch".parse().unwrap();
    let update = |hosts: &[&str], etag| Command::UpdateOrganisation {
        name: "platforms/ch".parse().unwrap(),
        display_name: Some("Chirrup".into()),
        hosts: Some(hosts.iter().map(|host| (*host).to_owned()).collect()),
        etag,
    };
    store.clock.set("2026-01-03".parse().unwrap());
    let known = reads.organisation(&principal("agencies/nca"), &name).await.unwrap().unwrap();
    assert_eq!(known.hosts, ["ch.example", "chirrup.test"]);
    store.submit(update(&["chirrup.test", "new.example"], Some(known.updated))).await.unwrap();
    let stale = store.submit(update(&["x.example"], Some(known.updated))).await.unwrap_err();
    assert_eq!(stale.reason(), Reason::StaleVersion);
    let changed = reads.organisation(&principal("agencies/nca"), &name).await.unwrap().unwrap();
    assert_eq!(
        (changed.display_name.as_str(), changed.hosts.as_slice()),
        ("Chirrup", &["chirrup.test".to_owned(), "new.example".into()][..])
    );
    assert_eq!((changed.created_at, changed.updated_at.date().to_string()), (known.created_at, "2026-01-03".into()));
    assert_eq!(changed.created, known.created);
    assert!(
        store.refer(store.draft("nca", "ch", "https://ch.example/1")).await.is_err(),
        "the old host routes no more"
    );
    assert!(store.submit(update(&["chirrup.test", "new.example"], None)).await.unwrap().events.is_empty());
    let kinds = [OrganisationKind::Agency];
    let agencies = reads.organisations(&principal("agencies/nca"), &kinds, "agencies/bka", None, 10).await.unwrap();
    assert_eq!(agencies.iter().map(|o| o.name.to_string()).collect::<Vec<_>>(), ["agencies/nca"]);
}

async fn a_batch_is_taken_whole_or_not_at_all(database: &Database) {
    let store = Store::with_organisations(database).await;
    let good = || store.draft("nca", "hb", &store.page());
    let drafts = vec![good(), store.draft("nca", "hb", "https://ch.example/1"), good()];
    let refused = store
        .submit(Command::Create { drafts, field: DraftField::Drafts, member: String::new(), history: false, key: None })
        .await
        .unwrap_err();
    assert_eq!(refused.violations()[0].field, "drafts[1].target.url");
    assert!(store.rows(&query("services/x1", Filter::default())).await.is_empty());
    let taken = store
        .submit(Command::Create {
            drafts: vec![good(), good()],
            field: DraftField::Drafts,
            member: String::new(),
            history: false,
            key: None,
        })
        .await
        .unwrap();
    assert_eq!(taken.events.len(), 2);
}

async fn withdrawal_is_final(database: &Database) {
    let store = Store::with_organisations(database).await;
    let draft = store.draft("nca", "hb", "https://hb.example/1");
    let name = draft.said.name.clone();
    let withdraw = |reason: &str, at: Option<&str>| Command::Withdraw {
        name: name.clone(),
        reason: reason.into(),
        occurred_at: at.map(|at| at.parse().unwrap()),
    };
    assert_eq!(store.submit(withdraw("x", None)).await.unwrap_err().reason(), Reason::ReferralNotFound);
    store.refer(draft).await.unwrap();
    let early = store.submit(withdraw("sent by mistake", Some("2025-12-31"))).await.unwrap_err();
    assert_eq!(early.violations()[0].field, "occurred_at");
    let done = store.submit(withdraw("sent by mistake", None)).await.unwrap();
    assert!(store.submit(withdraw("sent by mistake", None)).await.unwrap().events.is_empty());
    assert_eq!(store.submit(withdraw("another", None)).await.unwrap_err().reason(), Reason::InvalidTransition);
    let read = store.row("platforms/hb", &name).await.unwrap();
    assert!(matches!(&read.standing, Standing::Withdrawn { reason, .. } if reason == "sent by mistake"));
    assert_eq!(read.updated, done.position);
    assert!(read.created < read.updated);
}

async fn filters_agree(database: &Database) {
    let store = Store::with_organisations(database).await;
    for number in 0..24_i64 {
        let platform = if number % 3 == 0 { "ch" } else { "hb" };
        let url = format!("https://{platform}.example/{number}");
        let mut draft = store.draft(if number % 2 == 0 { "nca" } else { "bka" }, platform, &url);
        Arc::make_mut(&mut draft.said).ground = Ground::ALL[usize::try_from(number).unwrap() % 4];
        Arc::make_mut(&mut draft.said).target.kind = TargetKind::ALL[usize::try_from(number).unwrap() % 5];
        Arc::make_mut(&mut draft.said).nature = Nature::ALL[usize::try_from(number).unwrap() % 3];
        draft.occurred_at = Some("2026-01-01".parse::<Timestamp>().unwrap().plus_micros(number * 1_000_000));
        let name = draft.said.name.clone();
        store.refer(draft).await.unwrap();
        if number % 5 == 0 {
            store.submit(Command::Withdraw { name, reason: "mistake".into(), occurred_at: None }).await.unwrap();
        }
    }
    let all = store.rows(&query("services/x1", Filter::default())).await;
    assert_eq!(all.len(), 24);
    let midnight: Timestamp = "2026-01-01".parse().unwrap();
    let filters = [
        Filter { agency: Some("nca".into()), ..Filter::default() },
        Filter { platforms: vec!["ch".into(), "nobody".into()], ..Filter::default() },
        Filter { grounds: vec![Ground::ALL[0], Ground::ALL[2]], ..Filter::default() },
        Filter {
            natures: vec![Nature::Order],
            target_kinds: vec![TargetKind::Page, TargetKind::Group],
            ..Filter::default()
        },
        Filter { states: vec![2], ..Filter::default() },
        Filter {
            occurred_from: Some(midnight.plus_micros(5_000_000)),
            occurred_until: Some(midnight.plus_micros(9_000_000)),
            ..Filter::default()
        },
        Filter { recorded_until: Some("2026-01-02".parse().unwrap()), ..Filter::default() },
    ];
    for filter in filters {
        let found = store.rows(&query("services/x1", filter.clone())).await;
        let expected = all.iter().filter(|referral| filter.selects(referral)).cloned().collect::<Vec<_>>();
        assert_eq!(found, expected, "{filter:?}");
        assert!(expected.len() < 24, "{filter:?} selects something less than everything");
    }
    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let page = Query { after, limit: 7, ..query("services/x1", Filter::default()) };
        let rows = store.rows(&page).await;
        let Some(last) = rows.last() else { break };
        after = last.created;
        paged.extend(rows);
    }
    assert_eq!(paged, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_prepares_and_the_schemas_agree() {
    use portreeve_storage::{postgres, sqlite};
    let fixtures = (Fixture::sqlite(), Fixture::postgres().await);
    let (Database::Sqlite { folder }, Database::Postgres { url }) = (&fixtures.0.database, &fixtures.1.database) else {
        panic!("fixtures of both engines");
    };
    // Opened once for the migrations.
    let _held = (Store::open(&fixtures.1.database).await, Store::open(&fixtures.0.database).await);
    let pg = postgres::open(url, store::SERVICE).await.unwrap();
    postgres::sql::maintenance::prepare(&pg.readers, &store::postgres::sql::statements()).await.unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("referral.db")).read_only(true);
    let lite = sqlx::Pool::<sqlx::Sqlite>::connect_with(file).await.unwrap();
    sqlite::sql::maintenance::prepare(&lite, &store::sqlite::sql::statements()).await.unwrap();
    let portable = |columns: Vec<(String, String, String, bool)>| {
        columns
            .into_iter()
            .map(|(table, column, kind, required)| (table, column, portable_type(&kind), required))
            .collect::<Vec<_>>()
    };
    let of_sqlite = portable(sqlite::sql::maintenance::columns(&lite).await.unwrap());
    assert_eq!(of_sqlite, portable(postgres::sql::maintenance::columns(&pg.readers).await.unwrap()));
    assert!(of_sqlite.iter().any(|(table, ..)| table == "referral"));
}

/// What a random history does: refer, withdraw, rename, give hosts to and fro.
#[derive(Clone, Debug)]
enum Step {
    Refer { agency: bool, platform: bool, page: u8 },
    Withdraw { nth: usize, reason: bool },
    Hosts { platform: bool, hosts: Vec<bool> },
    Rename { platform: bool, name: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), 0..5_u8).prop_map(|(agency, platform, page)| Step::Refer { agency, platform, page }),
        2 => (0..40_usize, any::<bool>()).prop_map(|(nth, reason)| Step::Withdraw { nth, reason }),
        1 => (any::<bool>(), prop::collection::vec(any::<bool>(), 2)).prop_map(|(platform, hosts)| Step::Hosts { platform, hosts }),
        1 => (any::<bool>(), 0..3_u8).prop_map(|(platform, name)| Step::Rename { platform, name }),
    ]
}

/// The model: who has which host, and each referral's reason of withdrawal.
#[derive(Default)]
struct Model {
    hosts: BTreeMap<String, &'static str>,
    referrals: Vec<(ReferralName, Option<&'static str>)>,
}

async fn play(database: &Database, steps: Vec<Step>) {
    let store = Store::with_organisations(database).await;
    let mut model = Model::default();
    for (host, platform) in [("hb.example", "hb"), ("ch.example", "ch"), ("chirrup.test", "ch")] {
        model.hosts.insert(host.into(), platform);
    }
    let platform_of = |first: bool| if first { "hb" } else { "ch" };
    for step in steps {
        match step {
            Step::Refer { agency, platform, page } => {
                let agency = if agency { "nca" } else { "bka" };
                let host = if page % 2 == 0 { "hb.example" } else { "chirrup.test" };
                let draft = store.draft(
                    agency,
                    platform_of(platform),
                    &format!("https://{host}/{page}/{}", store.ids.uuid(Timestamp::default())),
                );
                let name = ReferralName { agency: agency.into(), id: draft.said.name.id };
                let outcome = store.refer(draft).await;
                assert_eq!(outcome.is_ok(), model.hosts.get(host) == Some(&platform_of(platform)));
                if outcome.is_ok() {
                    model.referrals.push((name, None));
                }
            }
            Step::Withdraw { nth, reason } => {
                let reason = if reason { "mistake" } else { "duplicate" };
                let known = (!model.referrals.is_empty()).then(|| nth % model.referrals.len());
                let name = known
                    .map_or(ReferralName { agency: "nca".into(), id: Uuid::nil() }, |i| model.referrals[i].0.clone());
                let outcome = store.submit(Command::Withdraw { name, reason: reason.into(), occurred_at: None }).await;
                let outcome = outcome.map(|o| o.events.len()).map_err(|e| e.reason());
                let expected = match known.map(|i| &mut model.referrals[i].1) {
                    None => Err(Reason::ReferralNotFound),
                    Some(Some(given)) if *given == reason => Ok(0),
                    Some(Some(_)) => Err(Reason::InvalidTransition),
                    Some(open) => {
                        *open = Some(reason);
                        Ok(1)
                    }
                };
                assert_eq!(outcome, expected);
            }
            Step::Hosts { platform, hosts } => {
                let platform = platform_of(platform);
                let all = ["hb.example", "chirrup.test"];
                let wanted = all
                    .iter()
                    .zip(hosts)
                    .filter(|(_, wanted)| *wanted)
                    .map(|(host, _)| (*host).to_owned())
                    .collect::<Vec<_>>();
                let free = wanted.iter().all(|host| model.hosts.get(host).is_none_or(|owner| *owner == platform));
                let name = format!("platforms/{platform}").parse().unwrap();
                let command =
                    Command::UpdateOrganisation { name, display_name: None, hosts: Some(wanted.clone()), etag: None };
                assert_eq!(store.submit(command).await.is_ok(), free);
                if free {
                    model.hosts.retain(|_, owner| *owner != platform);
                    model.hosts.extend(wanted.into_iter().map(|host| (host, platform)));
                }
            }
            Step::Rename { platform, name } => {
                let command = Command::UpdateOrganisation {
                    name: format!("platforms/{}", platform_of(platform)).parse().unwrap(),
                    display_name: Some(format!("Name {name}")),
                    hosts: None,
                    etag: None,
                };
                store.submit(command).await.unwrap();
            }
        }
    }
    let reads = &store.opened.0.reads;
    let found = store.rows(&query("services/x1", Filter::default())).await;
    let found = found.into_iter().map(|referral| {
        let reason = match referral.standing {
            Standing::Submitted => None,
            Standing::Withdrawn { ref reason, .. } => Some(reason.clone()),
        };
        (referral.name.clone(), reason)
    });
    let expected = model.referrals.iter().map(|(name, reason)| (name.clone(), reason.map(str::to_owned)));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let before = reads.dump().await.unwrap();
    reads.rebuild().await.unwrap();
    assert_eq!(reads.dump().await.unwrap(), before, "rebuilt from the log, nothing changes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_match_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            play(&Fixture::sqlite().database, steps.clone()).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_matches_the_model_on_postgres() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 150..160).new_tree(&mut runner).unwrap().current();
    play(&Fixture::postgres().await.database, steps).await;
}
