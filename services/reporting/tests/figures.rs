//! Figures of partners, shared by an agreement: over gRPC, on both engines.
#![expect(clippy::unwrap_used, reason = "tests")]

#[macro_use]
#[path = "support/engines.rs"]
mod engines;
mod support;

use portreeve_api::clients::Acting;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::agreement::{Agreement, AgreementName, Consent, Suspension, Terms};
use portreeve_core::vocabulary::{AfterEnd, FieldGroup, Ground, Purpose, Tlp};
use portreeve_core::{Timestamp, Uuid};
use portreeve_reporting::domain::{Learnt, Source, Subject};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use support::{Server, buckets, cohort, key, present, reason, referred, subject};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::watch_report_request::Start;

on_both_engines!(
    partners_are_counted_where_they_are_named,
    only_what_is_shared_is_counted,
    a_stream_ends_with_the_agreement,
    what_is_kept_is_counted_as_it_was_known,
    what_is_deleted_stays_out_of_reach,
    an_agreement_told_twice_is_learnt_once,
);

const END: &str = "2020-12-31T23:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Two agencies share figures for investigations until the end of 2020.
fn agreement(id: u128, parties: [&str; 2]) -> Agreement {
    let parties = parties.map(str::to_owned).to_vec();
    let agreed = at("2020-01-01T00:00:00Z");
    Agreement {
        name: AgreementName(Uuid::from_u128(id)),
        acceptances: parties.iter().map(|party| Consent { party: party.clone(), at: agreed }).collect(),
        terms: Terms {
            title: "Figures".into(),
            parties,
            purposes: vec![Purpose::Investigation],
            grounds: vec![],
            field_groups: vec![FieldGroup::Figures],
            tlp_ceiling: Tlp::Clear,
            accepts_conditions: false,
            onward_permitted: false,
            shared_since: None,
            start: agreed,
            end: at(END),
            extendable_until: None,
            notice_days: 0,
            review_on: None,
            after_end: AfterEnd::Freeze,
        },
        extensions: vec![],
        suspensions: vec![],
        notice: None,
        created_at: agreed,
        updated_at: agreed,
        created: 0,
        updated: 1,
    }
}

/// On 3 September 2020: three pages of one agency, two of another, one of a third; one of the first for another ground.
async fn with_pages(database: &Database) -> Server {
    let server = Server::start(database).await;
    let mut pages = vec![];
    for (agency, day, count) in
        [("nca", "2020-02-10", 1), ("nca", "2020-03-02", 1), ("bka", "2020-03-02", 2), ("fra", "2020-03-02", 1)]
    {
        pages.extend((0..count).map(|_| referred(&subject(agency, "harbourbook", day))));
    }
    let ground = Ground::ForgedDocuments.code().into();
    pages.push(referred(&Subject { ground, ..subject("nca", "harbourbook", "2020-03-02") }));
    server.follow(Source::Referral, "2020-03-02", pages).await;
    server
}

/// The referral log tells of an agreement.
async fn agree(server: &Server, agreement: &Agreement) {
    let (heard_on, agreements) = (Some(agreement.updated_at.date()), vec![agreement.clone()]);
    server
        .learn(Learnt {
            source: Source::Referral,
            heard_on,
            steps: vec![],
            footprints: vec![],
            agreements,
            operations: vec![],
        })
        .await;
}

fn of(agencies: &[&str], definition: wire::ReportDefinition) -> wire::ReportDefinition {
    let agencies = agencies.iter().map(|agency| format!("agencies/{agency}")).collect();
    let filter = wire::ReportFilter { agencies, ..wire::ReportFilter::default() };
    wire::ReportDefinition { filter: Some(filter), ..definition }
}

fn for_grounds(grounds: &[Ground], definition: wire::ReportDefinition) -> wire::ReportDefinition {
    let grounds = grounds.iter().map(|ground| ground.code()).collect();
    let filter = wire::ReportFilter { grounds, ..definition.filter.clone().unwrap_or_default() };
    wire::ReportDefinition { filter: Some(filter), ..definition }
}

async fn ask(server: &Server, who: &str, definition: wire::ReportDefinition) -> Result<wire::Report, Status> {
    ask_for(server, who, "investigation", definition).await
}

async fn ask_for(
    server: &Server,
    who: &str,
    purpose: &str,
    definition: wire::ReportDefinition,
) -> Result<wire::Report, Status> {
    let acting = Acting::new(&format!("agencies/{who}")).unwrap().purpose(purpose).unwrap();
    server.query_as(acting, definition).await
}

async fn counted(server: &Server, who: &str, definition: wire::ReportDefinition) -> i64 {
    let report = ask(server, who, definition).await.unwrap();
    buckets(&report.total.unwrap())[0]
}

/// With what a stream ends.
async fn end(stream: &mut tonic::Streaming<wire::WatchReportResponse>) -> Status {
    loop {
        if let Err(status) = stream.message().await {
            return status;
        }
    }
}

fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

async fn refused(server: &Server, who: &str, definition: wire::ReportDefinition) -> (String, Vec<String>) {
    let status = ask(server, who, definition).await.unwrap_err();
    (reason(&status), fields(&status))
}

async fn partners_are_counted_where_they_are_named(database: &Database) {
    let server = with_pages(database).await;
    assert_eq!(refused(&server, "bka", of(&["nca"], cohort(&[]))).await.0, "PERMISSION_DENIED");
    let mut rows_alone = agreement(2, ["nca", "fra"]);
    rows_alone.terms.field_groups = vec![FieldGroup::Target, FieldGroup::Decision];
    agree(&server, &rows_alone).await;
    agree(&server, &agreement(1, ["nca", "bka"])).await;

    assert_eq!(counted(&server, "bka", of(&["nca"], cohort(&[]))).await, 3);
    assert_eq!(counted(&server, "nca", of(&["bka"], cohort(&[]))).await, 2);
    let both = of(&["nca", "bka"], cohort(&[wire::Dimension::Agency]));
    let report = ask(&server, "bka", both).await.unwrap();
    let rows = report.rows.iter().map(|row| (key(row), buckets(row)[0])).collect::<Vec<_>>();
    assert_eq!(rows, [(vec!["agencies/bka"], 2), (vec!["agencies/nca"], 3)]);
    // What a report counts is what its definition says: whoever names nobody counts their own, whatever is agreed.
    assert_eq!(counted(&server, "bka", cohort(&[])).await, 2);

    // For no purpose, or another, there are no figures of partners; one's own need none.
    let partners = of(&["nca"], cohort(&[]));
    let unnamed = server.query("agencies/bka", partners.clone()).await.unwrap_err();
    assert_eq!(reason(&unnamed), "PURPOSE_REQUIRED");
    let stream = server.watch("agencies/bka", of(&["nca"], present(&[])), Start::Snapshot(true)).await.unwrap_err();
    assert_eq!(reason(&stream), "PURPOSE_REQUIRED");
    let other = ask_for(&server, "bka", "prosecution", partners).await.unwrap_err();
    assert_eq!(reason(&other), "PURPOSE_REQUIRED");
    assert!(server.query("agencies/bka", of(&["bka"], cohort(&[]))).await.is_ok());
    // Neither who shares rows alone, nor who has agreed with a partner of the partner's.
    for (who, whose) in [("fra", "nca"), ("fra", "bka"), ("bka", "fra")] {
        assert_eq!(refused(&server, who, of(&[whose], cohort(&[]))).await.0, "PERMISSION_DENIED", "{who} of {whose}");
    }
    let status = server.query("platforms/chirrup", of(&["nca"], cohort(&[]))).await.unwrap();
    assert_eq!(buckets(&status.total.unwrap())[0], 0, "a platform counts what was submitted to it");
}

async fn only_what_is_shared_is_counted(database: &Database) {
    let server = with_pages(database).await;
    let mut narrow = agreement(1, ["nca", "bka"]);
    narrow.terms.grounds = vec![Ground::OfferTransportSea];
    narrow.terms.shared_since = Some(at("2020-02-15T00:00:00.000001Z"));
    agree(&server, &narrow).await;
    let sea = |from: &str| {
        let definition = wire::ReportDefinition { cohort_from_date: from.into(), ..cohort(&[]) };
        for_grounds(&[Ground::OfferTransportSea], of(&["nca"], definition))
    };
    // A day of which a part is not shared is not counted.
    assert_eq!(counted(&server, "bka", sea("2020-02-16")).await, 1);
    let beyond =
        |fields: &[&str]| ("AGREEMENT_EXCEEDED".to_owned(), fields.iter().map(|it| (*it).to_owned()).collect());
    assert_eq!(refused(&server, "bka", sea("2020-02-15")).await, beyond(&["definition.cohort_from_date"]));
    let all = for_grounds(&[Ground::OfferTransportSea, Ground::ForgedDocuments], sea("2020-02-01"));
    let both = beyond(&["definition.cohort_from_date", "definition.filter.grounds"]);
    assert_eq!(refused(&server, "bka", all).await, both, "all at once");
    let every = for_grounds(&[], sea("2020-02-15"));
    let both = beyond(&["definition.cohort_from_date", "definition.filter.grounds"]);
    assert_eq!(refused(&server, "bka", every).await, both, "of one agreement, too");
    let every = for_grounds(&[], sea("2020-02-16"));
    assert_eq!(refused(&server, "bka", every.clone()).await, beyond(&["definition.filter.grounds"]));

    // Two agreements together cover what neither does.
    let mut forged = agreement(2, ["nca", "bka"]);
    forged.terms.grounds = vec![Ground::ForgedDocuments];
    agree(&server, &forged).await;
    let two = for_grounds(&[Ground::OfferTransportSea, Ground::ForgedDocuments], sea("2020-02-16"));
    assert_eq!(counted(&server, "bka", two).await, 2);
    assert_eq!(refused(&server, "bka", every).await.0, "AGREEMENT_EXCEEDED");
}

async fn a_stream_ends_with_the_agreement(database: &Database) {
    let server = with_pages(database).await;
    for (case, after_end) in [AfterEnd::Freeze, AfterEnd::Keep].into_iter().enumerate() {
        let mut agreed = agreement(case as u128, ["nca", "bka"]);
        agreed.terms.after_end = after_end;
        agreed.terms.end = at(["2020-10-01T00:00:00Z", END][case]);
        agree(&server, &agreed).await;
        let acting = Acting::new("agencies/bka").unwrap().purpose("investigation").unwrap();
        let open = |start| server.watch_as(acting.clone(), of(&["nca"], present(&[])), start);
        let mut stream = open(Start::Snapshot(true)).await.unwrap();
        let first = stream.message().await.unwrap().unwrap();
        // What is referred while it lasts is told.
        server.follow(Source::Referral, "2020-09-03", vec![referred(&subject("nca", "chirrup", "2020-04-02"))]).await;
        let told = loop {
            if let Some(wire::watch_report_response::Change::Delta(delta)) =
                stream.message().await.unwrap().unwrap().change
            {
                break delta;
            }
        };
        assert_eq!(told.rows.iter().map(|row| row.counts.as_ref().unwrap().referred).sum::<i64>(), 1);

        server.clock.set(agreed.terms.end);
        let status = end(&mut stream).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "AGREEMENT_LAPSED"));
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.metadata["agreement"], agreed.name.to_string());
        assert_eq!(info.metadata["ended_at"], agreed.terms.end.to_string());
        assert!(open(Start::ResumeToken(first.resume_token)).await.is_err(), "nor does the token bring it back");
        let refused = ask(&server, "bka", of(&["nca"], present(&[]))).await;
        assert!(refused.is_err());
    }
    // A party suspends it: at once.
    let mut suspended = agreement(9, ["nca", "bka"]);
    suspended.terms.end = at("2021-12-31T00:00:00Z");
    agree(&server, &suspended).await;
    let acting = Acting::new("agencies/bka").unwrap().purpose("investigation").unwrap();
    let mut stream = server.watch_as(acting, of(&["nca"], present(&[])), Start::Snapshot(true)).await.unwrap();
    stream.message().await.unwrap().unwrap();
    let from = at("2021-01-01T00:00:00Z");
    suspended.suspensions.push(Suspension { party: "nca".into(), reason: "review".into(), from, until: None });
    suspended.updated = 2;
    server.clock.set(from);
    agree(&server, &suspended).await;
    let status = end(&mut stream).await;
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["state"], "SUSPENDED");
}

async fn what_is_kept_is_counted_as_it_was_known(database: &Database) {
    let server = with_pages(database).await;
    let mut kept = agreement(1, ["nca", "bka"]);
    kept.terms.after_end = AfterEnd::Keep;
    agree(&server, &kept).await;
    server.clock.set(at(END));
    let known = |day: &str| of(&["nca"], wire::ReportDefinition { known_at_date: day.into(), ..cohort(&[]) });
    assert_eq!(counted(&server, "bka", known("2020-12-30")).await, 3);
    // A day is not over before its last moment is.
    let mut to_the_last = agreement(2, ["nca", "fra"]);
    to_the_last.terms.after_end = AfterEnd::Keep;
    to_the_last.terms.end = at("2020-12-30T23:59:59.999999Z");
    agree(&server, &to_the_last).await;
    assert_eq!(refused(&server, "fra", known("2020-12-30")).await.0, "AGREEMENT_EXCEEDED");
    assert_eq!(counted(&server, "fra", known("2020-12-29")).await, 3);
    let beyond = ("AGREEMENT_EXCEEDED".to_owned(), vec!["definition.known_at_date".to_owned()]);
    for day in ["2020-12-31", ""] {
        assert_eq!(refused(&server, "bka", known(day)).await, beyond, "{day}");
    }
}

async fn what_is_deleted_stays_out_of_reach(database: &Database) {
    let server = with_pages(database).await;
    let mut deleted = agreement(1, ["nca", "bka"]);
    deleted.terms.after_end = AfterEnd::Delete;
    deleted.terms.end = at("2020-03-01T00:00:00Z");
    agree(&server, &deleted).await;
    let lapsed = refused(&server, "bka", of(&["nca"], cohort(&[]))).await;
    assert_eq!(lapsed.0, "AGREEMENT_LAPSED");
    // Agreed anew: from the end of the first on, but not what was before it.
    agree(&server, &agreement(2, ["nca", "bka"])).await;
    let from = |day: &str| of(&["nca"], wire::ReportDefinition { cohort_from_date: day.into(), ..cohort(&[]) });
    assert_eq!(counted(&server, "bka", from("2020-03-01")).await, 2);
    let beyond = ("AGREEMENT_EXCEEDED".to_owned(), vec!["definition.cohort_from_date".to_owned()]);
    assert_eq!(refused(&server, "bka", from("2020-02-29")).await, beyond);
}

async fn an_agreement_told_twice_is_learnt_once(database: &Database) {
    let server = with_pages(database).await;
    let head = async || server.service.log().standing().await.unwrap().0.head;
    let before = head().await;
    let mut agreed = agreement(1, ["nca", "bka"]);
    agree(&server, &agreed).await;
    let learnt = head().await;
    assert!(learnt > before);
    agree(&server, &agreed).await;
    assert_eq!(head().await, learnt);
    agreed.updated = 2;
    agreed.terms.end = at("2020-03-01T00:00:00Z");
    agree(&server, &agreed).await;
    assert_eq!(refused(&server, "bka", of(&["nca"], cohort(&[]))).await.0, "AGREEMENT_LAPSED");

    let reads = server.service.reads();
    let rows = reads.dump().await.unwrap();
    assert!(rows.iter().any(|row| row.contains("agreement")), "{rows:?}");
    reads.rebuild().await.unwrap();
    assert_eq!(reads.dump().await.unwrap(), rows);
}
