//! An access log's store on both engines: what was told is there, found as it is asked for, and withheld from the one it
//! is about.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::sync::Arc;

use portreeve_consultation::Service;
use portreeve_consultation::domain::{Asked, Entry, Filter, Kind};
use portreeve_consultation::store::{postgres, sqlite};
use portreeve_core::consultation::{Policy, Reading, Shown, Statement, Stretch, What};
use portreeve_core::id::{CountingIds, Uuid};
use portreeve_core::time::ManualClock;
use portreeve_core::{Principal, Recorded, Timestamp};
use portreeve_runtime::reading::AccessLog as _;
use portreeve_storage::conformance::{Fixture, cases::portable_type};
use portreeve_storage::{Codec as _, Database};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

const NAME: &str = "referral-access";

macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite_engine {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$case(&super::Fixture::sqlite().database).await })*
        }
        mod postgres_engine {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$case(&super::Fixture::postgres().await.database).await })*
        }
    };
}

on_both_engines!(what_is_asked_is_found_and_what_is_ones_own_is_withheld, rebuilding_changes_no_row);

async fn open(database: &Database) -> (Service, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at("2026-01-02".parse().unwrap()));
    (
        Service::open(database, NAME, Policy::Optional, Arc::clone(&clock) as _, Arc::new(CountingIds::default()))
            .await
            .unwrap(),
        clock,
    )
}

const READERS: [(&str, &str); 6] = [
    ("agencies/nca", "j.doe"),
    ("agencies/nca", "a.uditor"),
    ("agencies/bka", "j.doe"),
    ("platforms/hb", "t.s"),
    ("oversightBodies/hac", "an"),
    ("agencies/nca", ""),
];
const OWNERS: [&str; 4] = ["agencies/nca", "agencies/bka", "platforms/hb", ""];
const METHODS: [&str; 2] = ["S/GetReferral", "S/ListReferrals"];

fn row(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

/// A reading of somebody, with what was shown of one or two owners.
fn readings() -> impl Strategy<Value = (Reading, Vec<Shown>)> {
    let what = prop_oneof![
        proptest::collection::vec(0..6_usize, 1..4).prop_map(|rows| What::Rows(rows.into_iter().map(row).collect())),
        (0..9_i64).prop_map(|after| What::Stretch(Stretch {
            log: "referral".into(),
            after,
            through: after + 3,
            rows: 2,
            snapshot: false
        })),
        Just(What::Figures { definition: "ab".repeat(32), stretch: None }),
    ];
    let shown =
        (proptest::sample::select(&OWNERS), what).prop_map(|(owner, what)| Shown { owner: owner.parse().ok(), what });
    let reading = (proptest::sample::select(&READERS), proptest::sample::select(&METHODS)).prop_map(
        |((organisation, member), method)| Reading {
            principal: Principal::new(organisation.parse().unwrap(), member, &[]).unwrap(),
            method: method.into(),
            request_id: "call".into(),
            statement: Statement { purpose: String::new(), justification: "für Heron".into() },
        },
    );
    (reading, proptest::collection::vec(shown, 1..3))
}

fn filters() -> impl Strategy<Value = Filter> {
    let day = |days: i64| "2026-01-02".parse::<Timestamp>().unwrap().plus_micros(days * 86_400_000_000);
    let some = |list: &'static [&'static str]| {
        proptest::option::of(proptest::sample::select(list))
            .prop_map(|one| one.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    (
        proptest::option::of(0..60_i64),
        proptest::option::of(0..60_i64),
        some(&["agencies/nca", "platforms/hb", "agencies/bka"]),
        some(&["j.doe", "a.uditor"]),
        some(&METHODS),
        proptest::option::of(proptest::sample::select(&[Kind::Consultation, Kind::Disclosure])),
        proptest::option::weighted(0.3, 0..6_usize),
    )
        .prop_map(move |(from, until, readers, members, methods, kind, named)| Filter {
            recorded_from: from.map(day),
            recorded_until: until.map(day),
            readers,
            members,
            methods,
            kind,
            row: named.map(row),
        })
}

async fn filled(
    service: &Service,
    clock: &ManualClock,
    random: &mut proptest::test_runner::TestRunner,
) -> Vec<Recorded<Entry>> {
    for step in 0..60_i64 {
        clock.set("2026-01-02".parse::<Timestamp>().unwrap().plus_micros(step * 86_400_000_000));
        let (reading, shown) = readings().new_tree(random).unwrap().current();
        service.access().record(&reading, shown).await.unwrap();
    }
    let stored = service.access().log().page(0, 1_000).await.unwrap().events;
    stored.iter().map(|stored| portreeve_consultation::rpc::convert::Log::read(stored).unwrap()).collect()
}

async fn what_is_asked_is_found_and_what_is_ones_own_is_withheld(database: &Database) {
    let mut random = proptest::test_runner::TestRunner::deterministic();
    let (service, clock) = open(database).await;
    let all = filled(&service, &clock, &mut random).await;
    assert!(all.len() >= 60 && all.iter().any(|recorded| recorded.event.kind == Kind::Consultation));
    let parties = [None, Some("agencies/nca"), Some("agencies/bka"), Some("platforms/hb"), Some("operators/op")];
    let (mut found_some, mut withheld_some) = (0, 0);
    for index in 0..150 {
        let filter = if index < 5 { Filter::default() } else { filters().new_tree(&mut random).unwrap().current() };
        let (organisation, member) = READERS[index % READERS.len()];
        let caller = Principal::new(organisation.parse().unwrap(), member, &[]).unwrap();
        let asked = Asked::new(&caller, parties[index % parties.len()].map(str::to_owned), filter);
        let selected =
            all.iter().filter(|recorded| asked.selects(&recorded.event, recorded.recorded_at)).collect::<Vec<_>>();
        let (own, expected): (Vec<_>, Vec<_>) =
            selected.into_iter().partition(|recorded| asked.withholds(&recorded.event));
        let mut paged = Vec::new();
        let (mut after, mut withheld) = (0, 0);
        loop {
            // Pages are full however much is withheld.
            let page = service.access().reads().entries(&asked, after, 3).await.unwrap();
            assert!(page.len() == 3 || paged.len() + page.len() == expected.len(), "{asked:?}");
            let last = page.last().filter(|_| page.len() == 3).map(|last| last.position);
            let through = last.unwrap_or(i64::MAX);
            withheld += service.access().reads().withheld(&asked, after, through).await.unwrap();
            paged.extend(page);
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        assert_eq!(paged.iter().collect::<Vec<_>>(), expected, "{asked:?}");
        assert_eq!(withheld, i64::try_from(own.len()).unwrap(), "{asked:?}");
        found_some += usize::from(!expected.is_empty());
        withheld_some += usize::from(!own.is_empty());
    }
    assert!(found_some > 40 && withheld_some > 10, "{found_some} {withheld_some}");
    service.stop().await;
}

async fn rebuilding_changes_no_row(database: &Database) {
    let mut random = proptest::test_runner::TestRunner::deterministic();
    let (service, clock) = open(database).await;
    let all = filled(&service, &clock, &mut random).await;
    let before = service.access().reads().dump().await.unwrap();
    assert!(before.len() > 60);
    let events = service.access().reads().rebuild().await.unwrap();
    assert_eq!(events, i64::try_from(all.len()).unwrap());
    assert_eq!(service.access().reads().dump().await.unwrap(), before);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_prepares_and_the_schemas_agree() {
    let fixtures = (Fixture::sqlite(), Fixture::postgres().await);
    let (Database::Sqlite { folder }, Database::Postgres { url }) = (&fixtures.0.database, &fixtures.1.database) else {
        panic!("fixtures of both engines");
    };
    // Opened once for the migrations.
    let _held = (open(&fixtures.1.database).await, open(&fixtures.0.database).await);
    let pg = portreeve_storage::postgres::open(url, NAME).await.unwrap();
    portreeve_storage::postgres::sql::maintenance::prepare(&pg.readers, &postgres::sql::statements()).await.unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join(format!("{NAME}.db"))).read_only(true);
    let lite = sqlx::Pool::<sqlx::Sqlite>::connect_with(file).await.unwrap();
    portreeve_storage::sqlite::sql::maintenance::prepare(&lite, &sqlite::sql::statements()).await.unwrap();
    let portable = |columns: Vec<(String, String, String, bool)>| {
        columns
            .into_iter()
            .map(|(table, column, kind, required)| (table, column, portable_type(&kind), required))
            .collect::<Vec<_>>()
    };
    let of_sqlite = portable(portreeve_storage::sqlite::sql::maintenance::columns(&lite).await.unwrap());
    let of_postgres = portreeve_storage::postgres::sql::maintenance::columns(&pg.readers).await.unwrap();
    assert_eq!(of_sqlite, portable(of_postgres));
    assert!(of_sqlite.iter().any(|(table, ..)| table == "consultation_row"));
}
