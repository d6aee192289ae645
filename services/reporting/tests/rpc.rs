//! The service over gRPC, on both engines: what clients ask and what they are told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[macro_use]
#[path = "support/engines.rs"]
mod engines;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use parquet::basic::LogicalType;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use portreeve_api::clients::{self, Acting, ReportingClient};
use portreeve_api::common::v1::Disposition as WireDisposition;
use portreeve_api::reporting::v1 as wire;
use portreeve_reporting::domain::step::Place;
use portreeve_reporting::domain::{Citation, Disposition, Source, Step, Subject};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use support::{EPOCH, Server, buckets, cohort, date, key, present, reason, referred, subject};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::watch_report_request::Start;
use wire::watch_report_response::Change;

fn client(server: &Server, organisation: &str) -> ReportingClient {
    clients::reporting(server.channel.clone(), Acting::new(organisation).unwrap())
}

fn place(disposition: Disposition, clause: &str) -> Place {
    let clause = match clause {
        "" => Citation::default(),
        clause => Citation { clause: format!("platforms/harbourbook/clauses/{clause}"), version: 1 },
    };
    Place { disposition, clause }
}

fn moved(subject: &Subject, before: Place, after: Place, on: &str) -> Step {
    Step::Moved {
        subject: subject.clone(),
        first_decided_on: Some(date(on)),
        occurred_on: date(on),
        previous_on: subject.cohort_day,
        recorded_on: date(on),
        referral_recorded_on: subject.cohort_day,
        before,
        after,
    }
}

/// The committee's cohort, spread over two agencies and two platforms.
async fn with_cohort(database: &Database) -> Server {
    let server = Server::start(database).await;
    let parts = [
        ("nca", "harbourbook", Disposition::Closed, 500),
        ("nca", "chirrup", Disposition::Closed, 78),
        ("nca", "harbourbook", Disposition::PermittedByPolicy, 400),
        ("bka", "chirrup", Disposition::NotViolating, 85),
        ("nca", "harbourbook", Disposition::Submitted, 100),
        ("bka", "harbourbook", Disposition::Received, 55),
    ];
    let (mut sent, mut decided) = (vec![], vec![]);
    for (agency, platform, disposition, count) in parts {
        let subject = subject(agency, platform, "2020-03-02");
        for _ in 0..count {
            sent.push(referred(&subject));
            if disposition != Disposition::Submitted {
                let clause = if disposition == Disposition::PermittedByPolicy { "he-7" } else { "" };
                let before = place(Disposition::Submitted, "");
                decided.push(moved(&subject, before, place(disposition, clause), "2020-03-12"));
            }
        }
    }
    server.follow(Source::Referral, "2020-03-02", sent).await;
    server.follow(Source::Decision, "2020-03-12", decided).await;
    server
}

on_both_engines!(
    the_published_cohort,
    a_report_settles_and_stays,
    each_sees_its_own_figures,
    everything_wrong_is_told_at_once,
    a_stream_adds_up_to_the_report,
    a_stream_goes_on_where_it_was,
    streams_opened_under_writing_miss_nothing,
    files_hold_the_report,
    reads_wait_for_what_the_caller_wrote,
    what_came_into_which_bucket,
);

async fn the_published_cohort(database: &Database) {
    use wire::Dimension::{Agency, Clause, CohortDay, CohortMonth, CohortWeek, Disposition, Ground, Nature, Platform};
    let server = with_cohort(database).await;
    let report = server.query("oversightBodies/hac", cohort(&[Platform])).await.unwrap();
    let total = report.total.unwrap();
    assert_eq!(buckets(&total), [1_218, 578, 485, 155, 0]);
    let rows = report.rows.iter().map(|row| (key(row), buckets(row))).collect::<Vec<_>>();
    let expected =
        [(vec!["platforms/chirrup"], [163, 78, 85, 0, 0]), (vec!["platforms/harbourbook"], [1_055, 500, 400, 155, 0])];
    assert_eq!(rows, expected);
    let ages = total.undecided_ages.unwrap();
    assert_eq!(ages.buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [0, 0, 0, 0, 155]);
    assert_eq!((ages.buckets[0].to_days, ages.buckets[4].from_days, ages.buckets[4].to_days), (Some(6), 180, None));
    assert_eq!((ages.p50_days, ages.p90_days, ages.max_days), (Some(185), Some(185), Some(185)));
    let times = total.decision_times.unwrap();
    assert_eq!((times.n, times.decided), (1_218, 1_063));
    assert_eq!((times.decided_only_median_days, times.censored_median_days), (Some(10), Some(10)));
    assert_eq!((times.decided_only_p90_days, times.censored_p90_days), (Some(10), None));
    assert!(!report.definitions.is_empty());

    let report = server.query("operators/op", cohort(&[Disposition, Clause, Agency, Ground])).await.unwrap();
    let keys = report.rows.iter().map(key).collect::<Vec<_>>();
    assert!(keys.is_sorted_by_key(|key| WireDisposition::from_str_name(&format!("DISPOSITION_{}", key[0])).unwrap()));
    let sea = "OFFER_TRANSPORT_SEA";
    let permitted = vec!["PERMITTED_BY_POLICY", "platforms/harbourbook/clauses/he-7@1", "agencies/nca", sea];
    assert!(keys.contains(&permitted) && keys.contains(&vec!["SUBMITTED", "", "agencies/nca", sea]), "{keys:?}");
    let report = server.query("operators/op", cohort(&[CohortDay, CohortWeek, CohortMonth, Nature])).await.unwrap();
    assert_eq!(key(&report.rows[0]), ["2020-03-02", "2020-W10", "2020-03", "VOLUNTARY_REFERRAL"]);

    // As of a day before the decisions, everything is undecided; before the cohort, there is nothing.
    let early = wire::ReportDefinition { as_of_date: "2020-03-11".into(), ..cohort(&[]) };
    assert_eq!(buckets(&server.query("operators/op", early).await.unwrap().total.unwrap()), [1_218, 0, 0, 1_218, 0]);
    let before = wire::ReportDefinition { as_of_date: "2020-03-01".into(), ..cohort(&[Platform]) };
    let before = server.query("operators/op", before).await.unwrap();
    assert_eq!((buckets(&before.total.unwrap()), before.rows.len()), ([0; 5], 0));
}

async fn a_report_settles_and_stays(database: &Database) {
    let server = with_cohort(database).await;
    let definition = wire::ReportDefinition { known_at_date: "2020-09-03".into(), ..cohort(&[]) };
    let today = server.query("operators/op", definition.clone()).await.unwrap();
    // All that is known now is what is known at the end of today.
    let open = server.query("operators/op", cohort(&[])).await.unwrap();
    assert_eq!((&today.digest, today.settled), (&open.digest, false));
    assert_eq!(open.definition.unwrap().known_at_date, "2020-09-03");
    // The next day has come, but the logs have not told of it yet.
    server.clock.set("2020-09-04T08:00:00Z".parse().unwrap());
    assert!(!server.query("operators/op", definition.clone()).await.unwrap().settled);
    let late = subject("nca", "harbourbook", "2020-05-01");
    let told = Step::Referred { subject: late.clone(), recorded_on: date("2020-09-04") };
    server.follow(Source::Referral, "2020-09-04", vec![told]).await;
    assert!(!server.query("operators/op", definition.clone()).await.unwrap().settled);
    server.follow(Source::Decision, "2020-09-04", vec![]).await;
    let settled = server.query("operators/op", definition.clone()).await.unwrap();
    assert!(settled.settled);
    assert_eq!((settled.digest, settled.total), (today.digest, today.total));
    // What was told late is there as of then, once it is known.
    let restated = wire::ReportDefinition { known_at_date: "2020-09-04".into(), ..definition };
    let restated = server.query("operators/op", restated).await.unwrap();
    assert_eq!(buckets(&restated.total.unwrap()), [1_219, 578, 485, 156, 0]);
    assert!(!restated.settled);
}

async fn each_sees_its_own_figures(database: &Database) {
    let server = with_cohort(database).await;
    for (reader, referred) in [
        ("agencies/nca", 1_078),
        ("agencies/bka", 140),
        ("agencies/other", 0),
        ("platforms/harbourbook", 1_055),
        ("platforms/chirrup", 163),
        ("oversightBodies/hac", 1_218),
        ("operators/op", 1_218),
        ("services/decision", 1_218),
    ] {
        let report = server.query(reader, cohort(&[wire::Dimension::Agency])).await.unwrap();
        assert_eq!(buckets(report.total.as_ref().unwrap())[0], referred, "{reader}");
        // Whose figures they are is said.
        let filter = report.definition.unwrap().filter.unwrap_or_default();
        let named = filter.agencies.iter().chain(&filter.platforms).collect::<Vec<_>>();
        let limited = reader.starts_with("agencies/") || reader.starts_with("platforms/");
        assert_eq!(named, if limited { vec![reader] } else { vec![] });
        let mut stream = server.watch(reader, present(&[]), Start::Snapshot(true)).await.unwrap();
        let Some(Change::Snapshot(report)) = stream.next().await.unwrap().unwrap().change else { panic!() };
        assert_eq!(buckets(&report.total.unwrap())[0], referred, "{reader}");
    }
    for (reader, agencies, platforms) in
        [("agencies/nca", vec!["agencies/bka"], vec![]), ("platforms/chirrup", vec![], vec!["platforms/harbourbook"])]
    {
        let filter = wire::ReportFilter {
            agencies: agencies.into_iter().map(str::to_owned).collect(),
            platforms: platforms.into_iter().map(str::to_owned).collect(),
            ..wire::ReportFilter::default()
        };
        let definition = wire::ReportDefinition { filter: Some(filter), ..cohort(&[]) };
        let refused = server.query(reader, definition).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
    }
    let nobody = clients::reporting(server.channel.clone(), Acting::new("nobody").unwrap());
    let refused = { nobody }.list_measures(wire::ListMeasuresRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let measures = client(&server, "agencies/nca").list_measures(wire::ListMeasuresRequest {}).await.unwrap();
    let ids = measures.into_inner().measures.into_iter().map(|measure| measure.id).collect::<Vec<_>>();
    assert!(ids.is_sorted() && ids.contains(&"counts.referred".to_owned()));
}

async fn everything_wrong_is_told_at_once(database: &Database) {
    let server = Server::start(database).await;
    let fields = |status: Status| {
        assert_eq!(reason(&status), "REQUEST_INVALID");
        let details = status.get_error_details();
        let mut fields =
            details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect::<Vec<_>>();
        fields.sort();
        fields
    };
    let wrong = wire::ReportDefinition {
        cohort_from_date: "2020-02-30".into(),
        cohort_until_date: "yesterday".into(),
        as_of_date: String::new(),
        known_at_date: "2020-13-01".into(),
        dimensions: vec![1, 1, 99],
        filter: Some(wire::ReportFilter { agencies: vec!["nca".into()], ..wire::ReportFilter::default() }),
    };
    let found = fields(server.query("operators/op", wrong.clone()).await.unwrap_err());
    for field in [
        "definition.as_of_date",
        "definition.cohort_from_date",
        "definition.cohort_until_date",
        "definition.dimensions",
        "definition.dimensions[2]",
        "definition.filter.agencies[0]",
        "definition.known_at_date",
    ] {
        assert!(found.contains(&field.to_owned()), "{field} is not among {found:?}");
    }
    let backwards = wire::ReportDefinition { cohort_until_date: "2019-12-31".into(), ..cohort(&[]) };
    let found = fields(server.query("operators/op", backwards).await.unwrap_err());
    assert_eq!(found, ["definition.cohort_until_date"]);
    let told = wire::ReportDefinition { known_at_date: "2020-09-03".into(), ..cohort(&[]) };
    let found = fields(server.watch("operators/op", told, Start::Snapshot(false)).await.unwrap_err());
    assert_eq!(found, ["definition.as_of_date", "definition.known_at_date", "snapshot"]);
    let bare = client(&server, "operators/op").export_report(wire::ExportReportRequest::default()).await.unwrap_err();
    assert_eq!(fields(bare), ["definition", "format"]);
    let many = cohort(&wire_dimensions()[..5]);
    assert_eq!(fields(server.query("operators/op", many).await.unwrap_err()), ["definition.dimensions"]);
    assert!(server.query("operators/op", cohort(&wire_dimensions()[..4])).await.is_ok());
}

fn wire_dimensions() -> Vec<wire::Dimension> {
    (1..=11).map(|code| wire::Dimension::try_from(code).unwrap()).collect()
}

/// A report that a reader keeps up to date from a stream: the counts by disposition of each row.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept(BTreeMap<Vec<String>, BTreeMap<i32, i64>>);

impl Kept {
    fn add(&mut self, key: &[wire::DimensionValue], counts: &wire::Counts) {
        let key = key.iter().map(|value| value.value.clone()).collect::<Vec<_>>();
        let row = self.0.entry(key).or_default();
        assert_eq!(counts.referred, counts.closed + counts.not_in_breach + counts.undecided + counts.other);
        assert_eq!(counts.referred, counts.detail.iter().map(|detail| detail.count).sum::<i64>());
        for detail in &counts.detail {
            *row.entry(detail.disposition).or_default() += detail.count;
        }
        assert!(row.values().all(|count| *count >= 0), "{row:?}");
        row.retain(|_, count| *count != 0);
        self.0.retain(|_, row| !row.is_empty());
    }

    fn of(report: &wire::Report) -> Self {
        let mut kept = Self::default();
        for row in &report.rows {
            kept.add(&row.key, row.counts.as_ref().unwrap());
        }
        kept
    }

    fn take(&mut self, message: &wire::WatchReportResponse) {
        assert_eq!(message.checkpoint, message.change.is_none());
        match &message.change {
            Some(Change::Snapshot(report)) => *self = Self::of(report),
            Some(Change::Delta(delta)) => {
                assert!(!delta.rows.is_empty());
                for row in &delta.rows {
                    self.add(&row.key, row.counts.as_ref().unwrap());
                }
            }
            None => {}
        }
    }
}

async fn a_stream_adds_up_to_the_report(database: &Database) {
    use wire::Dimension::{Clause, Disposition as ByDisposition, Platform};
    let server = with_cohort(database).await;
    let filter =
        wire::ReportFilter { platforms: vec!["platforms/harbourbook".into()], ..wire::ReportFilter::default() };
    let definition = wire::ReportDefinition { filter: Some(filter), ..present(&[Platform, Clause, ByDisposition]) };
    let mut stream = server.watch("agencies/nca", definition.clone(), Start::Snapshot(true)).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    let mut kept = Kept::default();
    kept.take(&first);
    assert!(
        matches!(&first.change, Some(Change::Snapshot(report)) if buckets(report.total.as_ref().unwrap())[0] == 1_000)
    );

    // Another agency's, another platform's and another cohort's referrals are nothing to this reader.
    let others =
        [("bka", "harbourbook", "2020-03-02"), ("nca", "chirrup", "2020-03-02"), ("nca", "harbourbook", "2020-06-01")];
    let others = others.map(|(agency, platform, day)| referred(&subject(agency, platform, day)));
    server.follow(Source::Referral, "2020-06-01", others.to_vec()).await;
    let own = subject("nca", "harbourbook", "2020-03-02");
    server
        .follow(
            Source::Decision,
            "2020-06-02",
            vec![moved(
                &own,
                place(Disposition::PermittedByPolicy, "he-7"),
                place(Disposition::Closed, "he-8"),
                "2020-06-02",
            )],
        )
        .await;
    let expected = Kept::of(
        &server
            .query("agencies/nca", wire::ReportDefinition { as_of_date: "2020-09-03".into(), ..definition })
            .await
            .unwrap(),
    );
    let mut deltas = 0;
    let mut idle = 0;
    // To the end, and then some: what is nothing to this reader makes no delta.
    while idle < 3 {
        let message = stream.next().await.unwrap().unwrap();
        kept.take(&message);
        deltas += usize::from(matches!(message.change, Some(Change::Delta(_))));
        idle += usize::from(kept == expected && message.checkpoint);
        assert!(!message.resume_token.is_empty() && !message.progress.unwrap().revisions.is_empty());
    }
    assert_eq!((kept, deltas), (expected, 1));
}

async fn a_stream_goes_on_where_it_was(database: &Database) {
    let server = with_cohort(database).await;
    let mut kept = Kept::default();
    let definition = present(&[wire::Dimension::Agency]);
    let mut token = String::new();
    for number in 0..5 {
        let start = if token.is_empty() { Start::Snapshot(true) } else { Start::ResumeToken(token.clone()) };
        let mut stream = server.watch("operators/op", definition.clone(), start).await.unwrap();
        let from = subject(if number % 2 == 0 { "nca" } else { "bka" }, "chirrup", "2020-04-01");
        server.follow(Source::Referral, "2020-04-01", vec![referred(&from)]).await;
        // One message a connection: the rest comes to the next.
        let message = stream.next().await.unwrap().unwrap();
        kept.take(&message);
        token = message.resume_token;
    }
    let mut stream = server.watch("operators/op", definition.clone(), Start::ResumeToken(token.clone())).await.unwrap();
    let expected = Kept::of(&server.query("operators/op", cohort(&[wire::Dimension::Agency])).await.unwrap());
    while kept != expected {
        kept.take(&stream.next().await.unwrap().unwrap());
    }
    let refused = |status: Status| (status.code(), reason(&status));
    let changed = (Code::InvalidArgument, "RESUME_FILTER_CHANGED".to_owned());
    let other = present(&[wire::Dimension::Platform]);
    let resume = |token: &str| Start::ResumeToken(token.to_owned());
    assert_eq!(refused(server.watch("operators/op", other, resume(&token)).await.unwrap_err()), changed);
    // A token does not carry one organisation's figures to another.
    assert_eq!(refused(server.watch("agencies/nca", definition.clone(), resume(&token)).await.unwrap_err()), changed);
    let garbage = server.watch("operators/op", definition.clone(), resume("garbage")).await.unwrap_err();
    assert_eq!(refused(garbage), (Code::InvalidArgument, "RESUME_TOKEN_INVALID".to_owned()));
    // Compaction takes the events that a stream would need, never the figures.
    let (state, _) = server.service.log().standing().await.unwrap();
    server.service.reads().compact(state.head).await.unwrap();
    assert!(server.watch("operators/op", definition.clone(), Start::Snapshot(true)).await.is_ok());
    assert_eq!(Kept::of(&server.query("operators/op", cohort(&[wire::Dimension::Agency])).await.unwrap()), expected);
}

async fn streams_opened_under_writing_miss_nothing(database: &Database) {
    let server = Arc::new(Server::start(database).await);
    let definition = present(&[wire::Dimension::Platform, wire::Dimension::Disposition]);
    let writing = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            for number in 0..150 {
                let subject = subject("nca", ["harbourbook", "chirrup"][number % 2], "2020-03-02");
                server.follow(Source::Referral, "2020-03-02", vec![referred(&subject)]).await;
                let (before, after) = (place(Disposition::Submitted, ""), place(Disposition::Closed, ""));
                server.follow(Source::Decision, "2020-03-03", vec![moved(&subject, before, after, "2020-03-03")]).await;
            }
        }
    });
    let mut readers = Vec::new();
    for number in 0..12 {
        let (server, definition) = (Arc::clone(&server), definition.clone());
        readers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 15)).await;
            let mut stream = server.watch("operators/op", definition, Start::Snapshot(true)).await.unwrap();
            let mut kept = Kept::default();
            while kept.0.values().flat_map(BTreeMap::values).sum::<i64>() < 150
                || kept.0.keys().any(|key| key[1] != "CLOSED")
            {
                kept.take(&stream.next().await.unwrap().unwrap());
            }
            kept
        }));
    }
    writing.await.unwrap();
    let definition = cohort(&[wire::Dimension::Platform, wire::Dimension::Disposition]);
    let expected = Kept::of(&server.query("operators/op", definition).await.unwrap());
    for reader in readers {
        let kept = tokio::time::timeout(Duration::from_secs(20), reader).await.unwrap().unwrap();
        assert_eq!(kept, expected);
    }
}

async fn files_hold_the_report(database: &Database) {
    let server = with_cohort(database).await;
    let definition = cohort(&[wire::Dimension::Platform, wire::Dimension::Disposition]);
    let report = server.query("operators/op", definition.clone()).await.unwrap();
    let export = async |format: wire::ExportFormat| {
        let request = wire::ExportReportRequest {
            definition: Some(definition.clone()),
            format: format as i32,
            at_least: Vec::new(),
        };
        let mut pieces = client(&server, "operators/op").export_report(request).await.unwrap().into_inner();
        let mut file = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.unwrap().data;
            assert!(!piece.is_empty() && piece.len() <= 64 * 1024);
            file.extend_from_slice(&piece);
        }
        file
    };
    let text = async |format| String::from_utf8(export(format).await).unwrap();
    let csv = text(wire::ExportFormat::Csv).await;
    let lines = csv.split_terminator("\r\n").map(|line| line.split(',').collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(lines.len(), 1 + report.rows.len() + 1);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    assert_eq!(
        lines[0][..9],
        [
            "line",
            "cohort_from_date",
            "cohort_until_date",
            "as_of_date",
            "known_at_date",
            "platform",
            "disposition",
            "referred",
            "closed",
        ]
    );
    assert_eq!(
        lines[1][..9],
        ["row", "2020-01-01", "2020-05-31", "2020-09-03", "2020-09-03", "platforms/chirrup", "CLOSED", "78", "78",]
    );
    let total = lines.last().unwrap();
    assert_eq!((total[0], &total[5..12]), ("total", &["", "", "1218", "578", "485", "155", "0"][..]));
    let median = lines[0].iter().position(|name| *name == "censored_p90_days").unwrap();
    assert_eq!(total[median], "");

    let json: serde_json::Value = serde_json::from_str(&text(wire::ExportFormat::Json).await).unwrap();
    assert_eq!(json["digest"], report.digest);
    assert_eq!(json["total"]["counts"]["referred"], "1218");
    assert_eq!(json["total"]["counts"]["other"], "0");
    assert_eq!(json["rows"][0]["key"][0]["dimension"], "DIMENSION_PLATFORM");
    assert_eq!(json["total"]["decisionTimes"].get("censoredP90Days"), None);
    assert_eq!(json["rows"].as_array().unwrap().len(), report.rows.len());

    let file = Bytes::from(export(wire::ExportFormat::Parquet).await);
    let file = SerializedFileReader::new(file).unwrap();
    let metadata = file.metadata().file_metadata();
    let told = metadata.key_value_metadata().unwrap().iter();
    let told = told.map(|of| (of.key.as_str(), of.value.clone().unwrap())).collect::<BTreeMap<_, _>>();
    let kept = serde_json::from_str::<serde_json::Value>(&told["portreeve.definition"]).unwrap();
    assert_eq!((told["portreeve.digest"].as_str(), &kept), (report.digest.as_str(), &json["definition"]));
    let types = metadata
        .schema()
        .get_fields()
        .iter()
        .map(|field| (field.name(), field.get_basic_info().logical_type_ref().cloned()));
    let types = types.collect::<BTreeMap<_, _>>();
    assert_eq!(types["as_of_date"], Some(LogicalType::Date));
    assert_eq!((&types["platform"], &types["closed"]), (&Some(LogicalType::String), &None));
    // Line by line and column by column what the comma-separated values say.
    let rows = file.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let cells = row.get_column_iter().map(|(_, field)| match field {
            Field::Null => String::new(),
            Field::Str(text) => text.clone(),
            Field::Date(days) => portreeve_core::Date::from_days(*days).to_string(),
            Field::Long(number) => number.to_string(),
            other => panic!("{other:?}"),
        });
        cells.collect::<Vec<_>>()
    });
    assert_eq!(rows.collect::<Vec<_>>(), lines[1..]);
    assert_eq!(metadata.schema().get_fields().iter().map(|field| field.name()).collect::<Vec<_>>(), lines[0]);
}

async fn reads_wait_for_what_the_caller_wrote(database: &Database) {
    use portreeve_core::token::Revision;
    let server = Arc::new(Server::start(database).await);
    let revision = |log: &str, position| Revision { log: log.into(), epoch: EPOCH, position }.encode();
    let query = |at_least: Vec<String>| {
        let mut client = client(&server, "operators/op");
        async move {
            let request = wire::QueryReportRequest { definition: Some(cohort(&[])), at_least };
            client.query_report(request).await.map(|reply| reply.into_inner().report.unwrap())
        }
    };
    let waiting = tokio::spawn(query(vec![revision("referral", 1)]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    server.follow(Source::Referral, "2020-03-02", vec![referred(&subject("nca", "chirrup", "2020-03-02"))]).await;
    let report = waiting.await.unwrap().unwrap();
    assert_eq!(buckets(report.total.as_ref().unwrap())[0], 1);
    // What the report says that it reflects may be asked for.
    let revisions = report.progress.unwrap().revisions;
    assert_eq!(revisions.len(), 2);
    query(revisions).await.unwrap();
    let foreign = query(vec![revision("elsewhere", 1)]).await.unwrap_err();
    assert_eq!(reason(&foreign), "REVISION_INVALID");
}

/// A cohort says what became of what was referred; a flow, what happened in a period. One referral that was referred, permitted and
/// then closed comes into three buckets, whether or not it stayed.
async fn what_came_into_which_bucket(database: &Database) {
    use wire::Dimension::{EventMonth, LegalBasis};
    let server = Server::start(database).await;
    let subject = subject("nca", "harbourbook", "2020-03-31");
    server.follow(Source::Referral, "2020-03-31", vec![referred(&subject)]).await;
    let step = |before, after, on| moved(&subject, place(before, ""), place(after, ""), on);
    let steps = vec![
        step(Disposition::Submitted, Disposition::Received, "2020-03-31"),
        step(Disposition::Received, Disposition::PermittedByPolicy, "2020-04-01"),
        step(Disposition::PermittedByPolicy, Disposition::Closed, "2020-05-20"),
        // Amended, it did not come there again.
        step(Disposition::Closed, Disposition::Closed, "2020-05-21"),
    ];
    server.follow(Source::Decision, "2020-05-21", steps).await;
    let ask = async |definition: wire::ReportDefinition, from: &str, until: &str| {
        let mut reports = client(&server, "agencies/nca");
        let request = wire::QueryFlowRequest {
            definition: Some(definition),
            event_from_date: from.into(),
            event_until_date: until.into(),
            at_least: vec![],
        };
        reports.query_flow(request).await.map(|reply| reply.into_inner().flow.unwrap())
    };
    let row = |row: &wire::FlowRow| {
        let it = row.entered.clone().unwrap();
        let key = row.key.iter().map(|value| value.value.as_str()).collect::<Vec<_>>().join(" ");
        (key, [it.referred, it.closed, it.not_in_breach, it.undecided, it.other])
    };
    let flow = ask(present(&[EventMonth, LegalBasis]), "2020-03-01", "2020-05-31").await.unwrap();
    let rows = flow.rows.iter().map(row).collect::<Vec<_>>();
    let at = |month: &str, counts| (format!("{month} IA1971_S25"), counts);
    assert_eq!(rows, [at("2020-03", [1, 0, 0, 1, 0]), at("2020-04", [1, 0, 1, 0, 0]), at("2020-05", [1, 1, 0, 0, 0])]);
    assert_eq!(row(flow.total.as_ref().unwrap()).1, [3, 1, 1, 1, 0]);
    assert!(flow.definitions.iter().any(|measure| measure.id == "entered.closed"));
    // Of one day, and as known before the last.
    let day = ask(present(&[]), "2020-05-21", "2020-05-21").await.unwrap();
    assert_eq!(row(day.total.as_ref().unwrap()).1, [0; 5]);
    let known = wire::ReportDefinition { known_at_date: "2020-05-19".into(), ..present(&[]) };
    let known = ask(known, "2020-03-01", "2020-05-31").await.unwrap();
    assert_eq!(row(known.total.as_ref().unwrap()).1, [2, 0, 1, 1, 0]);
    // The cohort stands in one bucket, and does not flow.
    let report = server.query("agencies/nca", cohort(&[LegalBasis])).await.unwrap();
    assert_eq!((key(&report.rows[0]), buckets(report.total.as_ref().unwrap())), (vec!["IA1971_S25"], [1, 1, 0, 0, 0]));
    let other = wire::ReportFilter { legal_bases: vec!["MSA2015_S2".into()], ..wire::ReportFilter::default() };
    let report = server.query("agencies/nca", wire::ReportDefinition { filter: Some(other), ..cohort(&[]) }).await;
    assert_eq!(buckets(&report.unwrap().total.unwrap())[0], 0);
    let fields = |status: &Status| {
        let details = status.get_error_details();
        let mut fields =
            details.bad_request().unwrap().field_violations.iter().map(|it| it.field.clone()).collect::<Vec<_>>();
        fields.sort();
        fields
    };
    let refused = server.query("agencies/nca", cohort(&[EventMonth])).await.unwrap_err();
    assert_eq!(fields(&refused), ["definition.dimensions"]);
    let refused = ask(cohort(&[]), "2020-05-02", "2020-05-01").await.unwrap_err();
    assert_eq!(fields(&refused), ["definition.as_of_date", "event_until_date"]);
    let mut lab = client(&server, "researchers/lab");
    let request = wire::QueryFlowRequest {
        definition: Some(present(&[])),
        event_from_date: "2020-03-01".into(),
        event_until_date: "2020-03-31".into(),
        at_least: vec![],
    };
    assert_eq!(reason(&lab.query_flow(request).await.unwrap_err()), "PERMISSION_DENIED");
}
