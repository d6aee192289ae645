//! The store on both engines: the same answers from the same facts, and a state that the log alone can make again.

use crate::support::{
    self, Running, acknowledge, again, at, case, catalogue, closed, on_both_engines, permitted, record, referred,
    withdrawn,
};
use portreeve_api::decision::v1 as wire;
use portreeve_core::Principal;
use portreeve_core::access::Reader;
use portreeve_decision::domain::{Notification, Redress, Status};
use portreeve_decision::store::{CaseFilter, DecisionFilter, Stretch};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;

const WHOLE: Stretch = Stretch { after: 0, limit: usize::MAX, unchanged_since: None };

on_both_engines!(a_life_is_rebuilt_from_the_log, lists_and_streams_select_alike, every_statement_is_accepted);

/// Cases in every status, decided in several ways; time passes from 100 on.
async fn lives(running: &Running) {
    let mut decisions = running.decisions("platforms/hb");
    catalogue(running).await;
    let told = (1_i64..).zip(1_u128..=8).map(|(position, number)| {
        let mut told = referred(number, position);
        told.referred.ground = 1 + i32::from(number % 2 == 0);
        told.referred.nature = 1 + i32::from(number % 3 == 0);
        told.referred.target.kind = 1 + i32::from(number > 4);
        if number == 6 {
            told.referred.name.agency = "bka".into();
        }
        told
    });
    running.told(0, told.collect()).await;
    decisions.acknowledge_cases(acknowledge(&[1, 2, 3, 4, 5, 6], 1)).await.unwrap();
    running.clock.set(at(200));
    for (number, draft) in [(1, closed()), (2, permitted(1)), (3, closed()), (6, permitted(1))] {
        decisions.record_decision(record(number, draft, 10 + number)).await.unwrap();
    }
    running.clock.set(at(300));
    let mut partly = again(wire::DecisionKind::Amended, closed());
    partly.outcome = wire::Outcome::PartiallyClosed.into();
    (partly.items_closed, partly.items_total) = (1, 3);
    partly.clauses = permitted(1).clauses;
    partly.territorial_scope = vec!["FR".into(), "GB".into()];
    partly.redress = vec![wire::Redress::Judicial.into(), wire::Redress::InternalComplaint.into()];
    let until = Some(portreeve_runtime::wire::write_time(at(900)));
    let status = wire::NotificationStatus::Suppressed.into();
    partly.user_notification = Some(wire::UserNotification { status, suppressed_until: until, exemption: 0 });
    decisions.record_decision(record(1, partly, 20)).await.unwrap();
    decisions.record_decision(record(2, again(wire::DecisionKind::Reversed, closed()), 21)).await.unwrap();
    running.told(8, vec![withdrawn(referred(3, 3), 9), withdrawn(referred(7, 7), 10)]).await;
}

async fn a_life_is_rebuilt_from_the_log(database: Database) {
    let running = Running::open(&database, 100).await;
    lives(&running).await;
    let reads = running.service.reads();
    let before = reads.dump().await.unwrap();
    assert_eq!(before.len(), 8 + 6 + 3 + 1 + 2, "cases, decisions, citations, clauses, versions: {before:#?}");
    let events = reads.rebuild().await.unwrap();
    assert_eq!(events, 3 + 8 + 6 + 6 + 2);
    assert_eq!(reads.dump().await.unwrap(), before);

    // What is below the floor of the streams is still what the state is made from.
    assert_eq!(reads.compact(20).await.unwrap(), 20);
    reads.rebuild().await.unwrap();
    assert_eq!(reads.dump().await.unwrap(), before);
    running.stop().await;

    let running = Running::open(&database, 400).await;
    assert_eq!(running.service.reads().dump().await.unwrap(), before);
    let services = Reader::own(Principal::service("reporting").unwrap());
    let found = running.service.reads().case(&services, &case(1).parse().unwrap()).await.unwrap().unwrap();
    let found = found.record.case;
    let decision = found.decision().unwrap();
    assert_eq!((decision.version, found.first_decided_at()), (2, Some(at(200))));
    assert_eq!(decision.content.territorial_scope, ["FR", "GB"]);
    assert_eq!(decision.content.redress, [Redress::Judicial, Redress::InternalComplaint]);
    assert_eq!(decision.content.notification, Some(Notification::Suppressed(at(900))));
    running.stop().await;
}

async fn lists_and_streams_select_alike(database: Database) {
    let running = Running::open(&database, 100).await;
    lives(&running).await;
    let reads = running.service.reads();
    let services = Reader::own(Principal::service("reporting").unwrap());
    let platform = || Some("hb".to_owned());
    let all = reads.cases(&services, &CaseFilter::default(), WHOLE).await.unwrap();
    assert_eq!(all.len(), 8);
    for (filter, count) in [
        (CaseFilter { platform: platform(), ..CaseFilter::default() }, 8),
        (CaseFilter { platform: Some("chirrup".into()), ..CaseFilter::default() }, 0),
        (CaseFilter { statuses: vec![Status::Submitted], platform: platform(), ..CaseFilter::default() }, 1),
        (
            CaseFilter {
                statuses: vec![Status::Submitted, Status::Received],
                platform: platform(),
                ..CaseFilter::default()
            },
            3,
        ),
        (CaseFilter { statuses: vec![Status::Received, Status::Withdrawn], ..CaseFilter::default() }, 4),
        (CaseFilter { agencies: vec!["bka".into(), "x-y".into()], ..CaseFilter::default() }, 1),
        (CaseFilter { grounds: vec![2], natures: vec![1], ..CaseFilter::default() }, 3),
        (CaseFilter { grounds: vec![12], ..CaseFilter::default() }, 0),
        (CaseFilter { target_kinds: vec![2], submitted_from: Some(at(6)), ..CaseFilter::default() }, 3),
        (CaseFilter { submitted_from: Some(at(2)), submitted_until: Some(at(4)), ..CaseFilter::default() }, 2),
    ] {
        let listed = reads.cases(&services, &filter, WHOLE).await.unwrap();
        let selected = all.iter().filter(|shown| filter.selects(&shown.record.case)).cloned().collect::<Vec<_>>();
        assert_eq!(listed, selected, "{filter:?}");
        assert_eq!(listed.len(), count, "{filter:?}");
    }

    let all = reads.decisions(&services, &DecisionFilter::default(), WHOLE).await.unwrap();
    assert_eq!(all.len(), 6);
    let clause = |name: &str| name.parse().unwrap();
    for (filter, count) in [
        (DecisionFilter { platform: platform(), ..DecisionFilter::default() }, 4),
        (DecisionFilter { platform: Some("chirrup".into()), ..DecisionFilter::default() }, 0),
        (DecisionFilter { case: Some(support::id(1)), ..DecisionFilter::default() }, 1),
        (DecisionFilter { outcomes: vec![1, 9], ..DecisionFilter::default() }, 3),
        (DecisionFilter { kinds: vec![3], ..DecisionFilter::default() }, 1),
        (DecisionFilter { agencies: vec!["bka".into()], ..DecisionFilter::default() }, 1),
        (DecisionFilter { clauses: vec![clause("platforms/hb/clauses/he-7")], ..DecisionFilter::default() }, 2),
        (DecisionFilter { clauses: vec![clause("platforms/hb/clauses/he")], ..DecisionFilter::default() }, 0),
        (DecisionFilter { decided_from: Some(at(300)), ..DecisionFilter::default() }, 2),
        (DecisionFilter { decided_until: Some(at(300)), ..DecisionFilter::default() }, 2),
    ] {
        let latest = reads.latest_decisions(&services, &filter, WHOLE).await.unwrap();
        let cases = reads.cases(&services, &CaseFilter::default(), WHOLE).await.unwrap();
        let mut selected = cases.iter().filter(|shown| filter.selects(&shown.record.case)).collect::<Vec<_>>();
        selected.sort_by_key(|shown| shown.record.decided);
        let expected = selected.iter().map(|shown| shown.record.case.decision().unwrap()).collect::<Vec<_>>();
        assert_eq!(latest.iter().map(|record| &record.decision).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(latest.len(), count, "{filter:?}");
    }

    // Who reads narrows what is read, whatever is asked for.
    for (reader, filter, count) in [
        ("agencies/nca", CaseFilter::default(), 7),
        ("agencies/bka", CaseFilter { platform: platform(), ..CaseFilter::default() }, 1),
        (
            "agencies/bka",
            CaseFilter { statuses: vec![Status::Received], platform: platform(), ..CaseFilter::default() },
            0,
        ),
        ("agencies/x-y", CaseFilter::default(), 0),
        ("platforms/hb", CaseFilter::default(), 8),
        ("platforms/chirrup", CaseFilter::default(), 0),
        ("platforms/chirrup", CaseFilter { platform: platform(), ..CaseFilter::default() }, 0),
        ("operators/op", CaseFilter::default(), 0),
    ] {
        let reader = Reader::own(Principal::new(reader.parse().unwrap(), "", &[]).unwrap());
        let found = reads.cases(&reader, &filter, WHOLE).await.unwrap();
        let principal = reader.principal();
        assert_eq!(found.len(), count, "{principal}");
        let own = reads.case(&reader, &case(6).parse().unwrap()).await.unwrap();
        assert_eq!(own.is_some(), matches!(principal.id(), "bka" | "hb"), "{principal}");
        let decided = reads.decisions(&reader, &DecisionFilter::default(), WHOLE).await.unwrap();
        let owned = all.iter().filter(|record| reader.scope().allows(&record.referral.agency, &record.case.platform));
        assert_eq!(decided, owned.cloned().collect::<Vec<_>>(), "{principal}");
    }

    // Pages follow one another without a gap.
    let mut after = 0;
    let mut paged = Vec::new();
    loop {
        let stretch = Stretch { after, limit: 3, unchanged_since: None };
        let page = reads.cases(&services, &CaseFilter::default(), stretch).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.record.opened;
        paged.extend(page.into_iter().map(|shown| shown.record.case.referred.name.id));
    }
    assert_eq!(paged, (1..=8).map(support::id).collect::<Vec<_>>());
    running.stop().await;
}

async fn every_statement_is_accepted(database: Database) {
    // Opening brings the schema up to date.
    Running::open(&database, 100).await.stop().await;
    let statements = portreeve_decision::statements(&database);
    assert!(statements.len() > 20);
    match &database {
        Database::Sqlite { folder } => {
            let engine = portreeve_storage::sqlite::open(folder, "decision").await.unwrap();
            portreeve_storage::sqlite::sql::maintenance::prepare(&engine.writers, &statements).await.unwrap();
        }
        Database::Postgres { url } => {
            let engine = portreeve_storage::postgres::open(url, "decision").await.unwrap();
            portreeve_storage::postgres::sql::maintenance::prepare(&engine.writers, &statements).await.unwrap();
            let own = portreeve_storage::postgres::sql::maintenance::columns(&engine.readers).await.unwrap();

            let fixture = Fixture::sqlite();
            let Database::Sqlite { folder } = &fixture.database else { unreachable!("it is SQLite") };
            Running::open(&fixture.database, 100).await.stop().await;
            let engine = portreeve_storage::sqlite::open(folder, "decision").await.unwrap();
            let twin = portreeve_storage::sqlite::sql::maintenance::columns(&engine.readers).await.unwrap();
            let twin = twin.into_iter().map(|(table, column, kind, required)| {
                let kind = match kind.as_str() {
                    "INTEGER" | "BIGINT" => "bigint",
                    "TEXT" => "text",
                    "BLOB" => "bytea",
                    other => other,
                };
                (table, column, kind.to_owned(), required)
            });
            assert_eq!(own, twin.collect::<Vec<_>>());
        }
    }
}
