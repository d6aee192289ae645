//! What agencies share of the platforms' answers: the store against the rule for one row, and streams that end with an
//! agreement.

use std::sync::Arc;

use crate::support::{
    Running, acknowledge, again, at, case, closed, on_both_engines, record, referred, refusal, withdrawn,
};
use portreeve_api::common::v1::{WatchStart, watch_start};
use portreeve_api::decision::v1 as wire;
use portreeve_core::Principal;
use portreeve_core::access::Reader;
use portreeve_core::agreement::{Agreement, AgreementName, Consent, Suspension, Terms};
use portreeve_core::id::Uuid;
use portreeve_core::vocabulary::{AfterEnd, FieldGroup, Ground, Purpose, Tlp};
use portreeve_decision::domain::{Case, Told};
use portreeve_decision::store::{CaseFilter, DecisionFilter, Shown, Stretch};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use tonic::Request;

on_both_engines!(a_stream_ends_with_its_agreement_and_goes_on_without, what_is_not_shared_is_not_told_of,);

/// An agreement of `bka` and `nca` that all have accepted, in force from 50 to 500 seconds.
fn agreement(number: u128, after_end: AfterEnd) -> Agreement {
    let parties = vec!["bka".to_owned(), "nca".to_owned()];
    Agreement {
        name: AgreementName(Uuid::from_u128(number)),
        acceptances: parties.iter().map(|party| Consent { party: party.clone(), at: at(0) }).collect(),
        terms: Terms {
            title: "Channel".into(),
            parties,
            purposes: vec![Purpose::Investigation],
            grounds: vec![],
            field_groups: vec![FieldGroup::Target, FieldGroup::Decision],
            tlp_ceiling: Tlp::Amber,
            accepts_conditions: false,
            onward_permitted: false,
            shared_since: None,
            start: at(50),
            end: at(500),
            extendable_until: None,
            notice_days: 0,
            review_on: None,
            after_end,
        },
        extensions: vec![],
        suspensions: vec![],
        notice: None,
        created_at: at(0),
        updated_at: at(0),
        created: 1,
        updated: 1,
    }
}

/// Nine cases of both agencies with different marks; 1 to 6 acknowledged, 1 to 4 decided, 1 and 2 decided again late.
async fn lives(running: &Running, agreements: Vec<Agreement>) {
    let told = (1..=9).map(|number: u128| {
        let mut told = referred(number, i64::try_from(number).unwrap());
        let agency = if number.is_multiple_of(3) { "nca" } else { "bka" };
        agency.clone_into(&mut told.referred.name.agency);
        told.referred.tlp = if number.is_multiple_of(5) { Tlp::AmberStrict } else { Tlp::Green };
        told.referred.conditional = number == 7;
        told.referred.ground = if number == 8 { Ground::ShamMarriage.code() } else { 1 };
        told
    });
    let told = told.collect::<Vec<Told>>();
    running.followed(0, 9, told.clone(), agreements).await;
    let mut decisions = running.decisions("platforms/hb");
    running.clock.set(at(100));
    decisions.acknowledge_cases(acknowledge(&[1, 2, 3, 4, 5, 6], 1)).await.unwrap();
    running.clock.set(at(200));
    for number in 1..=4 {
        decisions.record_decision(record(number, closed(), 10 + number)).await.unwrap();
    }
    running.clock.set(at(600));
    for number in 1..=2 {
        let later = again(wire::DecisionKind::Amended, wire::DecisionDraft { explanation: "anew".into(), ..closed() });
        decisions.record_decision(record(number, later, 20 + number)).await.unwrap();
    }
    running.followed(9, 10, vec![withdrawn(told[3].clone(), 650)], vec![]).await;
}

async fn reader(running: &Running, agency: &str, now: i64) -> Reader {
    let agreements = running.service.reads().agreements_concerning(agency).await.unwrap();
    let principal = Principal::new(format!("agencies/{agency}").parse().unwrap(), "", &[]).unwrap();
    Reader::new(principal, None, Some(Purpose::Investigation), &agreements, at(now)).unwrap()
}

/// The sets of agreements that are tried, each in a life of its own.
fn worlds() -> Vec<Vec<Agreement>> {
    let mut narrow = agreement(2, AfterEnd::Freeze);
    narrow.terms.grounds = vec![Ground::ShamMarriage];
    narrow.terms.tlp_ceiling = Tlp::AmberStrict;
    let mut conditional = agreement(3, AfterEnd::Keep);
    (conditional.terms.accepts_conditions, conditional.terms.end) = (true, at(300));
    vec![
        vec![],
        vec![agreement(1, AfterEnd::Keep)],
        vec![agreement(1, AfterEnd::Freeze), narrow.clone()],
        vec![agreement(1, AfterEnd::Delete), conditional.clone()],
        vec![agreement(1, AfterEnd::Keep), narrow, conditional],
    ]
}

#[tokio::test]
async fn statements_show_what_the_rule_lets_through_on_sqlite() {
    for agreements in worlds() {
        agree(&Fixture::sqlite().database, agreements).await;
    }
}

#[tokio::test]
async fn statements_show_what_the_rule_lets_through_on_postgres() {
    for agreements in worlds() {
        agree(&Fixture::postgres().await.database, agreements).await;
    }
}

async fn agree(database: &Database, agreements: Vec<Agreement>) {
    let whole = Stretch { after: 0, limit: usize::MAX, unchanged_since: None };
    let running = Running::open(database, 1).await;
    lives(&running, agreements).await;
    let reads = running.service.reads();
    let services = Reader::own(Principal::service("reporting").unwrap());
    let all = reads.cases(&services, &CaseFilter::default(), whole).await.unwrap();
    let versions = reads.decisions(&services, &DecisionFilter::default(), whole).await.unwrap();
    for agency in ["bka", "nca", "fra"] {
        for now in [40, 150, 350, 550, 700] {
            let reader = reader(&running, agency, now).await;
            let as_seen = |Shown { record, .. }: &Shown| -> Option<Arc<Case>> {
                let view = reader.view(&record.case.marks())?;
                let Some(moment) = view.before else { return Some(Arc::clone(&record.case)) };
                let own = versions.iter().filter(|version| version.referral == record.case.referred.name);
                let then = own.filter(|version| version.decision.recorded_at < moment);
                let latest = then.max_by_key(|version| version.decision.version);
                Some(Arc::new(record.case.as_before(moment, latest.map(|version| version.decision.clone()))))
            };
            let expected = all.iter().filter_map(as_seen).collect::<Vec<_>>();
            let found = reads.cases(&reader, &CaseFilter::default(), whole).await.unwrap();
            assert_eq!(
                found.iter().map(|shown| Arc::clone(&shown.record.case)).collect::<Vec<_>>(),
                expected,
                "{agency} at {now}"
            );
            let mut paged = Vec::new();
            loop {
                let after = paged.last().map_or(0, |shown: &Shown| shown.record.opened);
                let stretch = Stretch { after, limit: 2, unchanged_since: None };
                let page = reads.cases(&reader, &CaseFilter::default(), stretch).await.unwrap();
                let full = page.len() == 2;
                paged.extend(page);
                if !full {
                    break;
                }
            }
            assert_eq!(paged, found, "{agency} at {now}");
            let decided = reads.decisions(&reader, &DecisionFilter::default(), whole).await.unwrap();
            let seen = versions.iter().filter(|version| {
                let case = all.iter().find(|shown| shown.record.case.referred.name == version.referral).unwrap();
                let view = reader.view(&case.record.case.marks());
                view.is_some_and(|view| view.before.is_none_or(|moment| version.decision.recorded_at < moment))
            });
            assert_eq!(decided, seen.cloned().collect::<Vec<_>>(), "{agency} at {now}");
            let latest = reads.latest_decisions(&reader, &DecisionFilter::default(), whole).await.unwrap();
            let mut expected = expected.iter().filter_map(|case| case.decision().cloned()).collect::<Vec<_>>();
            expected.sort_by_key(|decision| decision.recorded_at);
            let mut latest = latest.into_iter().map(|record| record.decision).collect::<Vec<_>>();
            latest.sort_by_key(|decision| decision.recorded_at);
            assert_eq!(latest, expected, "{agency} at {now}");
        }
    }
    let before = reads.dump().await.unwrap();
    reads.rebuild().await.unwrap();
    assert_eq!(reads.dump().await.unwrap(), before);
    running.stop().await;
}

/// A request with the purpose of the call.
fn for_investigation<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("portreeve-purpose", "investigation".parse().unwrap());
    request
}

fn watch() -> wire::WatchCasesRequest {
    let start = WatchStart { start: Some(watch_start::Start::Earliest(true)) };
    wire::WatchCasesRequest { parent: "platforms/-".into(), start: Some(start), ..wire::WatchCasesRequest::default() }
}

async fn a_stream_ends_with_its_agreement_and_goes_on_without(database: Database) {
    let running = Running::open(&database, 100).await;
    let told = [("bka", 1), ("nca", 2)].map(|(agency, number)| {
        let mut told = referred(number, i64::try_from(number).unwrap());
        agency.clone_into(&mut told.referred.name.agency);
        told
    });
    running.followed(0, 2, told.to_vec(), vec![agreement(1, AfterEnd::Freeze)]).await;
    let mut nca = running.decisions("agencies/nca");
    assert_eq!(refusal(&nca.watch_cases(watch()).await.unwrap_err()).0, "PURPOSE_REQUIRED");
    let mut stream = nca.watch_cases(for_investigation(watch())).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let names = |changes: &[wire::CaseChange]| {
        let case = |change: &wire::CaseChange| match &change.change {
            Some(wire::case_change::Change::Opened(case)) => Some(case.clone()),
            _ => None,
        };
        changes.iter().filter_map(case).collect::<Vec<_>>()
    };
    let opened = names(&first.changes);
    assert_eq!(opened.iter().map(|case| case.agency.as_str()).collect::<Vec<_>>(), ["agencies/bka", "agencies/nca"]);
    assert!(!opened[0].target.as_ref().unwrap().url.is_empty() && opened[0].statement_of_reasons.is_empty());
    assert!(!opened[1].statement_of_reasons.is_empty());

    // Suspended by the partner, with a case after it: the stream ends, and nothing after it was sent.
    let mut suspended = agreement(1, AfterEnd::Freeze);
    let of = Suspension { party: "bka".into(), reason: "r".into(), from: at(100), until: None };
    (suspended.updated, suspended.suspensions) = (2, vec![of]);
    let mut late = referred(3, 4);
    late.referred.name.agency = "bka".into();
    running.followed(2, 4, vec![late], vec![suspended]).await;
    let ended = loop {
        match stream.message().await {
            // A stream never ends without a word.
            Ok(message) => assert_eq!(names(&message.unwrap().changes), []),
            Err(status) => break status,
        }
    };
    assert_eq!(refusal(&ended).0, "AGREEMENT_LAPSED");

    let start = WatchStart { start: Some(watch_start::Start::ResumeToken(first.resume_token)) };
    let again = wire::WatchCasesRequest { start: Some(start), ..watch() };
    let mut stream = nca.watch_cases(for_investigation(again)).await.unwrap().into_inner();
    let mut own = referred(4, 5);
    own.referred.name.agency = "nca".into();
    running.followed(4, 5, vec![own], vec![]).await;
    loop {
        let opened = names(&stream.message().await.unwrap().unwrap().changes);
        if !opened.is_empty() {
            assert_eq!(opened.iter().map(|case| case.agency.as_str()).collect::<Vec<_>>(), ["agencies/nca"]);
            break;
        }
    }
    drop((stream, nca));
    running.stop().await;
}

async fn what_is_not_shared_is_not_told_of(database: Database) {
    let running = Running::open(&database, 100).await;
    let mut told = referred(1, 1);
    told.referred.name.agency = "bka".into();
    running.followed(0, 1, vec![told], vec![agreement(1, AfterEnd::Freeze)]).await;
    let get = |number| wire::GetCaseRequest { name: case(number), at_least: vec![] };
    let reason =
        |result: Result<tonic::Response<wire::GetCaseResponse>, tonic::Status>| refusal(&result.unwrap_err()).0;
    let mut stranger = running.decisions("agencies/fra");
    for number in [1, 2] {
        assert_eq!(reason(stranger.get_case(for_investigation(get(number))).await), "PERMISSION_DENIED", "{number}");
    }
    let mut partner = running.decisions("agencies/nca");
    assert_eq!(reason(partner.get_case(get(1)).await), "PURPOSE_REQUIRED");
    assert_eq!(reason(partner.get_case(get(2)).await), "PERMISSION_DENIED");
    let shown = partner.get_case(for_investigation(get(1))).await.unwrap().into_inner().case.unwrap();
    assert_eq!((shown.agency.as_str(), shown.legal_basis), ("agencies/bka", None));
    running.clock.set(at(500));
    assert_eq!(reason(partner.get_case(for_investigation(get(1))).await), "AGREEMENT_LAPSED");
    let mut owner = running.decisions("agencies/bka");
    assert!(owner.get_case(get(1)).await.unwrap().into_inner().case.unwrap().legal_basis.is_some());
    drop((stranger, partner, owner));
    running.stop().await;
}
