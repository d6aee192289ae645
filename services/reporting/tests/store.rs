//! The cube on both engines: what the engine adds up is what adding up the cells one by one gives.
#![expect(clippy::unwrap_used, reason = "tests")]

#[macro_use]
#[path = "support/engines.rs"]
mod engines;

use std::collections::BTreeMap;
use std::sync::Arc;

use portreeve_core::access::Reader;
use portreeve_core::id::RandomIds;
use portreeve_core::time::ManualClock;
use portreeve_core::{Date, Principal, Reason, Timestamp, Uuid};
use portreeve_reporting::domain::step::Place;
use portreeve_reporting::domain::{
    Cell, Citation, Command, Definition, Dimension, Disposition, Filter, Flow, GrantName, Learnt, Permitted, Report,
    Source, Step, Subject, Tally, Terms, flow, report,
};
use portreeve_reporting::store;
use portreeve_storage::conformance::{Fixture, cases::portable_type};
use portreeve_storage::{Database, Envelope, Guard};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

const EPOCH: [u8; 8] = [7; 8];

struct Store {
    opened: store::Opened,
}

fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap(), "", &[]).unwrap()
}

impl Store {
    async fn open(database: &Database) -> Self {
        let clock = Arc::new(ManualClock::at("2026-01-02".parse().unwrap()));
        Self { opened: store::open(database, clock, Arc::new(RandomIds)).await.unwrap() }
    }

    async fn follow(&self, after: i64, steps: &[Step]) -> portreeve_core::Result<usize> {
        let guard = Guard::Follow { source: "decision", epoch: EPOCH, after, through: after + 1, carries: Vec::new() };
        let (heard_on, steps) = (Some(Date::from_days(100)), steps.to_vec());
        let learnt = Learnt {
            source: Source::Decision,
            heard_on,
            steps,
            footprints: vec![],
            agreements: vec![],
            operations: vec![],
        };
        let command = Command::Learn(learnt);
        let principal = principal("services/reporting");
        let outcome = self.opened.0.writer.submit(Envelope { principal, guard, command }).await?;
        Ok(outcome.events.len())
    }

    async fn flow(&self, definition: &Definition) -> Flow {
        let permitted = Permitted::new(&Reader::own(principal("operators/op")), &[], definition.clone()).unwrap();
        let selected = self.opened.0.reads.select(&permitted).await.unwrap();
        flow(definition, &selected.slices)
    }

    async fn report(&self, definition: &Definition) -> Report {
        let permitted = Permitted::new(&Reader::own(principal("operators/op")), &[], definition.clone()).unwrap();
        let selected = self.opened.0.reads.select(&permitted).await.unwrap();
        report(definition, Date::from_days(50), &selected.slices)
    }
}

fn subjects() -> impl Strategy<Value = Subject> {
    let words = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    let joint = prop::sample::select(vec![("", false), ("a", false), ("a", true), ("b", false)]);
    let rest = (words(&["", "IA1971_S25"]), joint);
    let texts = (words(&["nca", "bka"]), words(&["hb", "ch"]), words(&["", "ar", "sq"]), rest);
    (-3..40_i32, texts, 1..4_i64, 1..3_i64, 1..3_i64).prop_map(
        |(cohort, (agency, platform, content_language, (legal_basis, joint)), ground, target_kind, nature)| Subject {
            cohort_day: Date::from_days(cohort),
            agency,
            platform,
            ground,
            target_kind,
            nature,
            content_language,
            operation: joint.0.to_owned(),
            same_target: joint.1,
            legal_basis,
        },
    )
}

/// Any step from anywhere to anywhere: the store adds up whatever it is told.
fn steps() -> impl Strategy<Value = Step> {
    let clause = || {
        (0..3_i64, 1..3_i64).prop_map(|(clause, version)| match clause {
            0 => Citation::default(),
            clause => Citation { clause: format!("platforms/hb/clauses/he-{clause}"), version },
        })
    };
    let place = || {
        (1..16_i32, clause())
            .prop_map(|(code, clause)| Place { disposition: Disposition::from_code(code).unwrap(), clause })
    };
    let referred = (subjects(), 0..20_i32).prop_map(|(subject, late)| Step::Referred {
        recorded_on: Date::from_days(subject.cohort_day.days() + late),
        subject,
    });
    let moved = (subjects(), place(), place(), 0..30_i32, 0..30_i32, 0..20_i32).prop_map(
        |(subject, before, after, first, later, late)| {
            let cohort = subject.cohort_day.days();
            Step::Moved {
                before,
                after,
                first_decided_on: Some(Date::from_days(cohort + first)),
                occurred_on: Date::from_days(cohort + first + later),
                previous_on: subject.cohort_day,
                recorded_on: Date::from_days(cohort + first + later + late),
                referral_recorded_on: Date::from_days(cohort + late),
                subject,
            }
        },
    );
    prop_oneof![referred, moved]
}

fn definitions() -> impl Strategy<Value = Definition> {
    let words = |words: &'static [&'static str]| {
        prop_oneof![3 => Just(vec![]), 1 => prop::sample::subsequence(words.to_vec(), 1..=words.len())]
            .prop_map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let codes = || prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(1..4_i64, 1..3)];
    let day = |days: std::ops::Range<i32>| prop::option::of(days.prop_map(Date::from_days));
    let filter = (
        words(&["nca", "bka", "x"]),
        words(&["hb", "ch"]),
        (codes(), codes(), codes()),
        words(&["platforms/hb/clauses/he-1", "platforms/hb/clauses/he-2"]),
        (words(&["ar", "fa"]), words(&["a", "c"]), words(&["IA1971_S25"])),
    );
    let dimensions = prop::option::weighted(0.4, 0..60_i32).prop_flat_map(|flows| {
        // Of events only what flows.
        let dimensions = Dimension::ALL.into_iter().filter(|dimension| flows.is_some() || !dimension.is_event());
        let dimensions = prop::sample::subsequence(dimensions.collect::<Vec<_>>(), 0..=4).prop_shuffle();
        (Just(flows.map(Date::from_days)), dimensions)
    });
    (-5..30_i32, 0..45_i32, day(0..90), day(0..110), dimensions, filter).prop_map(
        |(
            from,
            length,
            as_of,
            known_at,
            (entered_from, dimensions),
            (agencies, platforms, codes, clauses, (content_languages, operations, legal_bases)),
        )| {
            let (grounds, natures, target_kinds) = codes;
            Definition {
                cohort_from: Date::from_days(from),
                cohort_until: Date::from_days(from + length),
                entered_from,
                as_of,
                known_at,
                dimensions,
                filter: Filter {
                    agencies,
                    platforms,
                    grounds,
                    natures,
                    target_kinds,
                    clauses,
                    content_languages,
                    operations,
                    legal_bases,
                },
            }
        },
    )
}

on_both_engines!(
    the_engine_adds_up_as_the_domain_does,
    a_stretch_counts_once,
    a_million_cost_as_one,
    what_is_read_is_of_one_moment,
    what_was_spent_is_rebuilt_from_however_far_back,
);

async fn the_engine_adds_up_as_the_domain_does(database: &Database) {
    let store = Store::open(database).await;
    let mut runner = TestRunner::deterministic();
    let mut cells = BTreeMap::<Cell, Tally>::new();
    for stretch in 0..12 {
        let steps = prop::collection::vec(steps(), 0..60).new_tree(&mut runner).unwrap().current();
        store.follow(stretch, &steps).await.unwrap();
        for step in &steps {
            step.count(&mut cells);
        }
    }
    for _ in 0..300 {
        let definition = definitions().new_tree(&mut runner).unwrap().current();
        let slices = definition.slices(cells.iter().map(|(cell, tally)| (cell, *tally)));
        if definition.entered_from.is_some() {
            assert_eq!(store.flow(&definition).await, flow(&definition, &slices), "{definition:?}");
            continue;
        }
        let expected = report(&definition, Date::from_days(50), &slices);
        assert_eq!(store.report(&definition).await, expected, "{definition:?}");
    }
    let before = store.opened.0.reads.dump().await.unwrap();
    assert!(before.len() > 300);
    store.opened.0.reads.rebuild().await.unwrap();
    assert_eq!(store.opened.0.reads.dump().await.unwrap(), before, "rebuilt from the log, nothing changes");
}

fn everything() -> Definition {
    Definition {
        cohort_from: Date::from_days(-100),
        cohort_until: Date::from_days(1_000),
        entered_from: None,
        as_of: None,
        known_at: None,
        dimensions: vec![],
        filter: Filter::default(),
    }
}

fn one_referral() -> Step {
    let subject = Subject { agency: "nca".into(), platform: "hb".into(), ..Subject::default() };
    Step::Referred { subject, recorded_on: Date::default() }
}

async fn a_stretch_counts_once(database: &Database) {
    let store = Store::open(database).await;
    assert_eq!(store.follow(0, &[one_referral()]).await, Ok(1));
    assert_eq!(store.follow(0, &[one_referral()]).await.map_err(|e| e.reason()), Err(Reason::StaleVersion));
    assert_eq!(store.report(&everything()).await.total.counts.referred(), 1);
    // Nothing new, no event; but the place in the log moves on.
    assert_eq!(store.follow(1, &[]).await, Ok(0));
    let (_, followed) = store.opened.0.log.standing().await.unwrap();
    assert_eq!(followed.iter().map(|at| at.position).collect::<Vec<_>>(), [2]);
}

async fn a_million_cost_as_one(database: &Database) {
    let store = Store::open(database).await;
    store.follow(0, &[one_referral()]).await.unwrap();
    let one = store.opened.0.reads.dump().await.unwrap().len();
    for stretch in 1..=100 {
        store.follow(stretch, &vec![one_referral(); 10_000]).await.unwrap();
    }
    assert_eq!(store.report(&everything()).await.total.counts.referred(), 1_000_001);
    assert_eq!(store.opened.0.reads.dump().await.unwrap().len(), one, "not a row more");
}

async fn what_is_read_is_of_one_moment(database: &Database) {
    let store = Arc::new(Store::open(database).await);
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for stretch in 0..60 {
                store.follow(stretch, &[one_referral()]).await.unwrap();
            }
        }
    });
    let permitted = Permitted::new(&Reader::own(principal("operators/op")), &[], everything()).unwrap();
    let mut last = 0;
    while last < 60 {
        let selected = store.opened.0.reads.select(&permitted).await.unwrap();
        let count = selected.slices.iter().map(|slice| slice.count).sum::<i64>();
        assert_eq!(count, selected.own.position);
        assert_eq!(count, selected.followed.first().map_or(0, |at| at.position));
        assert!(count >= last);
        last = count;
    }
    writing.await.unwrap();
}

/// A rebuild reads the log some events at a time: what was spent long after a grant was issued is still its.
async fn what_was_spent_is_rebuilt_from_however_far_back(database: &Database) {
    let store = Store::open(database).await;
    let writer = &store.opened.0.writer;
    let (name, other) = (GrantName(Uuid::from_u128(1)), GrantName(Uuid::from_u128(2)));
    let issuer = principal("oversightBodies/hac");
    let envelope =
        |principal: &Principal, command| Envelope { principal: principal.clone(), guard: Guard::None, command };
    for name in [name, other] {
        let terms = Terms {
            grantee: "researchers/lab".parse().unwrap(),
            purpose: "p".into(),
            start: Timestamp::default(),
            end: "2027-01-01".parse().unwrap(),
            cohort_from: everything().cohort_from,
            cohort_until: everything().cohort_until,
            dimensions: vec![],
            agencies: vec![],
            platforms: vec![],
            grounds: vec![],
            small_cell_minimum: 5,
            query_budget: 2_100,
        };
        let command = Command::Issue { name, terms: Box::new(terms), issuer: issuer.organisation().clone() };
        writer.submit(envelope(&issuer, command)).await.unwrap();
    }
    let lab = principal("researchers/lab");
    let count = |grant| Command::Count { grant, by: lab.organisation().clone(), definition: Box::new(everything()) };
    let counts = std::iter::repeat_with(|| envelope(&lab, count(name))).take(2_200).collect();
    let counted = writer.submit_all(counts).await.unwrap();
    assert_eq!(counted.iter().filter(|result| result.is_ok()).count(), 2_100);
    assert!(counted.iter().filter_map(|result| result.as_ref().err()).all(|e| e.reason() == Reason::QueryBudgetSpent));
    writer.submit(envelope(&lab, count(other))).await.unwrap();
    let before = store.opened.0.reads.dump().await.unwrap();
    assert_eq!(store.opened.0.reads.rebuild().await, Ok(2_103));
    assert_eq!(store.opened.0.reads.dump().await.unwrap(), before);
    for (name, spent) in [(name, 2_100), (other, 1)] {
        assert_eq!(store.opened.0.reads.grant(&lab, name).await.unwrap().unwrap().spent, spent);
    }
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
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("reporting.db")).read_only(true);
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
    assert!(of_sqlite.iter().any(|(table, ..)| table == "cell"));
}
