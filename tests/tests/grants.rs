//! Research grants through the public API: what they cover, until when, how often, and what is withheld from whoever asks
//! under one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use futures_util::future::join_all;
use portreeve_api::consultation::v1 as consultation;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::consultation::Policy;
use portreeve_core::id::{IdSource as _, RandomIds};
use portreeve_core::limits;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Options, Part, Refused, Server, Timestamp, on_both_engines, refusal, sample,
};
use reporting::{Dimension, Figure};
use tonic::{Code, Status};

on_both_engines!(
    the_budget_is_spent_to_the_last_query_and_no_further,
    a_grant_begins_and_ends_by_time_alone,
    what_a_grant_does_not_cover_is_refused,
    terms_have_limits,
    small_counts_are_withheld_from_researchers_alone,
    a_grant_is_its_grantees_and_oversights_to_see,
    a_revoked_grant_gives_nothing_and_says_why,
    rebuilding_keeps_what_was_spent,
    every_report_is_on_record_with_its_grant,
);

const NOW: &str = "2026-02-01T12:00:00Z";
const DAY: &str = "2026-02-01";

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    client: Client,
    at_least: Vec<String>,
}

impl World {
    /// Two agencies' referrals to three platforms, of one day; some of them closed.
    async fn new(database: &Database) -> Self {
        Self::with(database, Options::default()).await
    }

    async fn with(database: &Database, options: Options) -> Self {
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let server = Server::start(database, options.clock(&clock)).await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        let mut at_least = Vec::new();
        for (agency, platform, count, closed) in [
            ("nca", "harbourbook", 40, 20),
            ("nca", "chirrup", 12, 2),
            ("bka", "harbourbook", 20, 8),
            ("bka", "lensgram", 3, 0),
        ] {
            let drafts = (0..count).map(|number| sample::draft(platform, &format!("{agency}-{number}")));
            let request = referral::BatchCreateReferralsRequest {
                parent: format!("agencies/{agency}"),
                drafts: drafts.collect(),
                request_id: sample::request_id(&format!("{agency} {platform}")),
            };
            let mut referrals = client.acting(&format!("agencies/{agency}")).referrals();
            let sent = referrals.batch_create_referrals(request).await.unwrap().into_inner();
            let cases = sent.referrals.iter().map(sample::case_of).collect::<Vec<_>>();
            let mut decisions = client.acting(&format!("platforms/{platform}")).because("queue").decisions();
            let seen = decision::GetCaseRequest { name: cases[0].clone(), at_least: vec![sent.revision.clone()] };
            decisions.get_case(seen).await.unwrap();
            let words = format!("{agency} {platform}");
            let reply = decisions.acknowledge_cases(sample::acknowledge(platform, &cases, &words)).await.unwrap();
            at_least = vec![sent.revision, reply.into_inner().revision];
            for case in &cases[..closed] {
                let reply = decisions.record_decision(sample::record(case, sample::closed(), case)).await.unwrap();
                at_least[1] = reply.into_inner().revision;
            }
        }
        Self { server, clock, client, at_least }
    }

    fn lab(&self) -> Client {
        self.client.acting("researchers/lab").because("Chapter 3")
    }

    fn supervisor(&self) -> Client {
        self.client.acting("oversightBodies/hac").roles(&["supervisor"])
    }

    /// Issues a grant; gives its name.
    async fn issue(&self, change: impl FnOnce(&mut reporting::Grant)) -> String {
        let mut terms = terms();
        change(&mut terms);
        issue(&self.supervisor(), terms).await.unwrap().name
    }

    async fn ask(&self, client: &Client, definition: reporting::ReportDefinition) -> Result<reporting::Report, Status> {
        client.report(definition, &self.at_least).await
    }

    async fn export(
        &self,
        client: &Client,
        definition: reporting::ReportDefinition,
        format: reporting::ExportFormat,
    ) -> Result<String, Status> {
        let request = reporting::ExportReportRequest {
            definition: Some(definition),
            format: format.into(),
            at_least: self.at_least.clone(),
        };
        let mut pieces = client.reports().export_report(request).await?.into_inner();
        let mut file = Vec::new();
        while let Some(piece) = pieces.message().await? {
            file.extend_from_slice(&piece.data);
        }
        Ok(String::from_utf8(file).unwrap())
    }

    async fn spent(&self, grant: &str) -> u32 {
        get(&self.lab(), grant).await.unwrap().queries_spent
    }
}

async fn issue(client: &Client, terms: reporting::Grant) -> Result<reporting::Grant, Status> {
    // Each is another request.
    let request_id = RandomIds.uuid(Timestamp::default()).to_string();
    let request = reporting::IssueGrantRequest { grant: Some(terms), request_id };
    Ok(client.grants().issue_grant(request).await?.into_inner().grant.unwrap())
}

async fn get(client: &Client, name: &str) -> Result<reporting::Grant, Status> {
    let request = reporting::GetGrantRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.grants().get_grant(request).await?.into_inner().grant.unwrap())
}

fn revoke(name: &str, reason: &str, id: &str) -> reporting::RevokeGrantRequest {
    reporting::RevokeGrantRequest { name: name.into(), reason: reason.into(), request_id: sample::request_id(id) }
}

fn terms() -> reporting::Grant {
    reporting::Grant {
        grantee: "researchers/lab".into(),
        purpose: "How long decisions take".into(),
        end_time: Some(sample::time("2026-03-01T23:00:00Z")),
        cohort_from_date: "2026-01-01".into(),
        cohort_until_date: "2026-02-28".into(),
        dimensions: vec![Dimension::Platform.into(), Dimension::CohortMonth.into()],
        small_cell_minimum: 5,
        query_budget: 10,
        ..reporting::Grant::default()
    }
}

/// The whole window of the terms, by platform.
fn by_platform() -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        cohort_from_date: "2026-01-01".into(),
        cohort_until_date: "2026-02-28".into(),
        as_of_date: DAY.into(),
        dimensions: vec![Dimension::Platform.into()],
        ..reporting::ReportDefinition::default()
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> Refused {
    let refused = refusal(&answer.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{refused:?}");
    refused
}

async fn the_budget_is_spent_to_the_last_query_and_no_further(database: &Database) {
    let world = World::new(database).await;
    let name = world.issue(|terms| terms.query_budget = 20).await;
    // Once all has been counted that there is to count.
    world.ask(&world.client.acting("oversightBodies/hac"), by_platform()).await.unwrap();
    let before = world.server.head(Part::Reporting).await;
    let calls = (0..50).map(|number| {
        let (world, lab) = (&world, world.lab().under(&name));
        async move {
            match number % 2 {
                0 => world.ask(&lab, by_platform()).await.map(drop),
                _ => world.export(&lab, by_platform(), reporting::ExportFormat::Csv).await.map(drop),
            }
        }
    });
    let (given, refusals): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((given.len(), refusals.len()), (20, 30));
    for answer in refusals {
        let refused = refused(answer, Code::ResourceExhausted, "QUERY_BUDGET_SPENT");
        let said = ["grant", "budget", "spent"].map(|key| refused.metadata[key].as_str());
        assert_eq!(said, [name.as_str(), "20", "20"]);
    }
    assert_eq!(world.spent(&name).await, 20);
    assert_eq!(world.server.head(Part::Reporting).await, before + 20, "each that was given is an event, and no other");
    // Another grant is another budget.
    let other = world.issue(|_| {}).await;
    assert!(world.ask(&world.lab().under(&other), by_platform()).await.is_ok());
    world.server.stop().await;
}

/// Two replicas of the reporting service on one database give no more together than the grant allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_do_not_overspend() {
    let fixture = Fixture::postgres().await;
    let world = World::new(&fixture.database).await;
    let (referral_url, decision_url) = (world.server.url(), world.server.url());
    let options = Options { referral_url, decision_url, ..Options::only(Part::Reporting) }.clock(&world.clock);
    let replica = Server::start(&fixture.database, options).await;
    let name = world.issue(|terms| terms.query_budget = 15).await;
    let calls = (0..50).map(|number| {
        let there = if number % 2 == 0 { world.client.clone() } else { replica.client("operators/op") };
        let lab = there.acting("researchers/lab").under(&name);
        async move { lab.report(by_platform(), &[]).await.map(drop) }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 15, "{answers:?}");
    assert_eq!(get(&replica.client("researchers/lab"), &name).await.unwrap().queries_spent, 15);
    assert_eq!(world.server.dump(Part::Reporting).await, replica.dump(Part::Reporting).await);
}

async fn a_grant_begins_and_ends_by_time_alone(database: &Database) {
    let world = World::new(database).await;
    let name = world.issue(|terms| terms.start_time = Some(sample::time("2026-02-10"))).await;
    let lab = world.lab().under(&name);
    let end = "2026-03-01T23:00:00Z".parse::<Timestamp>().unwrap();
    for (now, state, at) in [
        ("2026-02-09T23:59:59.999999Z".parse().unwrap(), "NOT_BEGUN", "2026-02-10T00:00:00Z"),
        ("2026-02-10".parse().unwrap(), "IN_FORCE", ""),
        (end.plus_micros(-1), "IN_FORCE", ""),
        (end, "EXPIRED", "2026-03-01T23:00:00Z"),
    ] {
        world.clock.set(now);
        let answer = world.ask(&lab, by_platform()).await;
        if state == "IN_FORCE" {
            answer.unwrap();
        } else {
            let refused = refused(answer, Code::PermissionDenied, "GRANT_LAPSED");
            let said = ["grant", "state", "at"].map(|key| refused.metadata[key].as_str());
            assert_eq!(said, [name.as_str(), state, at]);
        }
        let shown = get(&lab, &name).await.unwrap();
        assert_eq!(shown.state().as_str_name(), format!("GRANT_STATE_{state}"));
    }
    assert_eq!(world.spent(&name).await, 2);
    world.server.stop().await;
}

async fn what_a_grant_does_not_cover_is_refused(database: &Database) {
    let world = World::new(database).await;
    let name = world.issue(|terms| terms.agencies = vec!["agencies/nca".into()]).await;
    let lab = world.lab().under(&name);

    // Everything that goes beyond it, at once.
    let beyond = reporting::ReportDefinition {
        cohort_from_date: "2025-12-31".into(),
        cohort_until_date: "2026-02-27".into(),
        dimensions: vec![Dimension::Platform.into(), Dimension::Agency.into(), Dimension::CohortDay.into()],
        filter: Some(reporting::ReportFilter {
            agencies: vec!["agencies/bka".into()],
            platforms: vec!["platforms/chirrup".into()],
            grounds: vec![1],
            content_languages: vec!["sq".into()],
            ..reporting::ReportFilter::default()
        }),
        ..by_platform()
    };
    let wrong = [
        "cohort_from_date",
        "cohort_until_date",
        "dimensions[1]",
        "dimensions[2]",
        "filter.agencies",
        "filter.grounds",
        "filter.content_languages",
    ];
    for answer in [
        world.ask(&lab, beyond.clone()).await.map(drop),
        world.export(&lab, beyond, reporting::ExportFormat::Json).await.map(drop),
    ] {
        let refused = refused(answer, Code::PermissionDenied, "GRANT_EXCEEDED");
        assert_eq!(refused.fields, wrong.map(|field| format!("definition.{field}")));
        assert_eq!(refused.metadata["grant"], name);
    }

    // Who may not, whatever he asks for.
    let nobodys = format!("grants/{}", uuid::Uuid::nil());
    let other = world.client.acting("researchers/other");
    for (client, code, reason) in [
        (world.lab(), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.lab().under(&nobodys), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.lab().under("grants/mine"), Code::InvalidArgument, "REQUEST_INVALID"),
        (other.under(&name), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.lab().roles(&["auditor"]).under(&name), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.client.acting("agencies/nca").under(&name), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.client.acting("platforms/chirrup").under(&name), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.client.acting("oversightBodies/hac").under(&name), Code::PermissionDenied, "PERMISSION_DENIED"),
        (world.client.acting("operators/op").under(&name), Code::PermissionDenied, "PERMISSION_DENIED"),
    ] {
        let said = refused(world.ask(&client, by_platform()).await, code, reason);
        if reason == "REQUEST_INVALID" {
            assert_eq!(said.fields, ["portreeve-grant"]);
        }
        refused(world.export(&client, by_platform(), reporting::ExportFormat::Csv).await, code, reason);
    }
    // A live report is for no researcher, and rows are for none.
    for client in [world.lab(), lab.clone()] {
        let request = reporting::WatchReportRequest {
            start: Some(reporting::watch_report_request::Start::Snapshot(true)),
            definition: Some(reporting::ReportDefinition { as_of_date: String::new(), ..by_platform() }),
            at_least: Vec::new(),
        };
        refused(client.reports().watch_report(request).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let rows = referral::ListReferralsRequest { parent: "agencies/nca".into(), ..Default::default() };
        refused(client.referrals().list_referrals(rows).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let rows = decision::ListCasesRequest { parent: "platforms/-".into(), ..Default::default() };
        refused(client.decisions().list_cases(rows).await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    assert_eq!(world.spent(&name).await, 0, "what was refused cost nothing");

    // What it covers counts what it is limited to, and says so.
    let report = world.ask(&lab, by_platform()).await.unwrap();
    assert_eq!(report.definition.unwrap().filter.unwrap().agencies, ["agencies/nca"]);
    assert_eq!(report.total.unwrap().counts.unwrap().referred, 52);
    let january = reporting::ReportDefinition { cohort_until_date: "2026-01-31".into(), ..by_platform() };
    assert_eq!(world.ask(&lab, january).await.unwrap().total.unwrap().counts.unwrap().referred, 0);
    let one = reporting::ReportFilter { platforms: vec!["platforms/harbourbook".into()], ..Default::default() };
    let one = reporting::ReportDefinition { filter: Some(one), ..by_platform() };
    assert_eq!(world.ask(&lab, one).await.unwrap().total.unwrap().counts.unwrap().referred, 40);
    assert_eq!(world.spent(&name).await, 3);
    // What cannot be read, or is not known yet, is refused before it is counted.
    let wrong = reporting::ReportDefinition { as_of_date: String::new(), ..by_platform() };
    refused(world.ask(&lab, wrong).await, Code::InvalidArgument, "REQUEST_INVALID");
    refused(lab.report(by_platform(), &["x".into()]).await, Code::InvalidArgument, "REVISION_INVALID");
    assert_eq!(world.spent(&name).await, 3);
    world.server.stop().await;
}

/// What makes terms of others.
type Change<'c> = Box<dyn Fn(&mut reporting::Grant) + 'c>;

async fn terms_have_limits(database: &Database) {
    let world = World::new(database).await;
    let supervisor = world.supervisor();
    let micros = |days: i64| NOW.parse::<Timestamp>().unwrap().plus_micros(days * 86_400_000_000);
    let ends = |at: Timestamp| Some(sample::wire_time(at));
    let longest = micros(limits::GRANT_DAYS_MAX);
    let cases: Vec<(&str, Change<'_>, Change<'_>)> = vec![
        (
            "small_cell_minimum",
            Box::new(|it| it.small_cell_minimum = limits::GRANT_SMALL_CELL_FLOOR),
            Box::new(|it| it.small_cell_minimum = limits::GRANT_SMALL_CELL_FLOOR - 1),
        ),
        (
            "small_cell_minimum",
            Box::new(|it| it.small_cell_minimum = limits::GRANT_SMALL_CELL_MAX),
            Box::new(|it| it.small_cell_minimum = limits::GRANT_SMALL_CELL_MAX + 1),
        ),
        ("query_budget", Box::new(|it| it.query_budget = 1), Box::new(|it| it.query_budget = 0)),
        (
            "query_budget",
            Box::new(|it| it.query_budget = limits::GRANT_QUERIES_MAX),
            Box::new(|it| it.query_budget = limits::GRANT_QUERIES_MAX + 1),
        ),
        (
            "end_time",
            Box::new(|it| it.end_time = ends(longest)),
            Box::new(|it| it.end_time = ends(longest.plus_micros(1))),
        ),
        (
            "end_time",
            Box::new(|it| it.end_time = ends(micros(0).plus_micros(1))),
            Box::new(|it| it.end_time = ends(micros(0))),
        ),
        (
            "end_time",
            Box::new(|it| (it.start_time, it.end_time) = (ends(micros(-9)), ends(micros(1)))),
            Box::new(|it| (it.start_time, it.end_time) = (ends(micros(-9)), ends(micros(-1)))),
        ),
        (
            "end_time",
            Box::new(|it| (it.start_time, it.end_time) = (ends(micros(5)), ends(micros(6)))),
            Box::new(|it| (it.start_time, it.end_time) = (ends(micros(5)), ends(micros(5)))),
        ),
        ("purpose", Box::new(|it| it.purpose = "ü".repeat(1_000)), Box::new(|it| it.purpose = "ü".repeat(1_001))),
        ("purpose", Box::new(|it| it.purpose = "x".into()), Box::new(|it| it.purpose = " ".into())),
        (
            "cohort_until_date",
            Box::new(|it| it.cohort_until_date = "2026-01-01".into()),
            Box::new(|it| it.cohort_until_date = "2025-12-31".into()),
        ),
        (
            "cohort_from_date",
            Box::new(|it| it.cohort_from_date = "2024-02-29".into()),
            Box::new(|it| it.cohort_from_date = "2025-02-29".into()),
        ),
        ("dimensions", Box::new(|it| it.dimensions = (1..=11).collect()), Box::new(|it| it.dimensions = vec![1, 1])),
        (
            "grantee",
            Box::new(|it| it.grantee = "researchers/another-lab".into()),
            Box::new(|it| it.grantee = "agencies/nca".into()),
        ),
    ];
    for (field, good, wrong) in cases {
        let with = |change: &Change<'_>| {
            let mut terms = terms();
            change(&mut terms);
            terms
        };
        let kept = issue(&supervisor, with(&good)).await.unwrap_or_else(|status| panic!("{field}: {status:?}"));
        assert_eq!(kept.issuer, "oversightBodies/hac");
        let refused = refused(issue(&supervisor, with(&wrong)).await, Code::InvalidArgument, "REQUEST_INVALID");
        assert_eq!(refused.fields, [format!("grant.{field}")]);
    }
    // Who is no supervisor issues and revokes nothing: nobody is one unasked.
    let name = world.issue(|_| {}).await;
    for who in ["oversightBodies/hac", "researchers/lab", "agencies/nca", "operators/op"] {
        let client = world.client.acting(who);
        refused(issue(&client, terms()).await, Code::PermissionDenied, "PERMISSION_DENIED");
        let answer = client.grants().revoke_grant(revoke(&name, "no", who)).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    world.server.stop().await;
}

fn withheld(row: &reporting::ReportRow) -> Vec<Figure> {
    row.withheld.iter().flat_map(reporting::Withheld::figures).collect()
}

async fn small_counts_are_withheld_from_researchers_alone(database: &Database) {
    let world = World::new(database).await;
    let name = world.issue(|_| {}).await;
    let lab = world.lab().under(&name);
    let report = world.ask(&lab, by_platform()).await.unwrap();
    let grant_use = report.grant_use.clone().unwrap();
    assert_eq!((grant_use.grant.as_str(), grant_use.small_cell_minimum), (name.as_str(), 5));
    let shown = report.rows.iter().chain(&report.total).map(|row| {
        let (counts, withheld) = (row.counts.clone().unwrap(), withheld(row));
        let count = |figure, count: i64| {
            if withheld.contains(&figure) {
                assert_eq!(count, 0);
                None
            } else {
                Some(count)
            }
        };
        assert!(counts.detail.is_empty() && withheld.contains(&Figure::Dispositions));
        [
            count(Figure::Referred, counts.referred),
            count(Figure::Closed, counts.closed),
            count(Figure::NotInBreach, counts.not_in_breach),
            count(Figure::Undecided, counts.undecided),
        ]
    });
    let expected = [
        // Of 12, 2 are closed: both parts are withheld.
        [Some(12), None, Some(0), None],
        // 60 with 28 closed: withheld, for they would tell the others from the total.
        [None, None, Some(0), None],
        // 3 undecided.
        [None, Some(0), Some(0), None],
        [Some(75), Some(30), Some(0), Some(45)],
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let times = report.total.as_ref().unwrap().decision_times.unwrap();
    assert_eq!((times.n, times.decided, times.decided_only_median_days), (75, 0, Some(0)));
    let ages = report.total.as_ref().unwrap().undecided_ages.clone().unwrap();
    assert_eq!((ages.buckets.len(), ages.p50_days, ages.max_days), (0, Some(0), None));

    // The file shows no more, and says what is not shown; a nought is a nought.
    let csv = world.export(&lab, by_platform(), reporting::ExportFormat::Csv).await.unwrap();
    let lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>()).collect::<Vec<_>>();
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let column = |name: &str| lines[0].iter().position(|column| *column == name).unwrap();
    assert_eq!(column("withheld"), lines[0].len() - 1);
    let cells =
        |line: &[&str]| ["referred", "closed", "not_in_breach", "undecided"].map(|name| line[column(name)].to_owned());
    assert_eq!(cells(&lines[1]), ["12", "", "0", ""]);
    assert_eq!(cells(&lines[3]), ["", "0", "0", ""]);
    assert_eq!(cells(&lines[4]), ["75", "30", "0", "45"]);
    assert!(lines[1].last().unwrap().starts_with("closed undecided dispositions "), "{:?}", lines[1].last());
    let json = world.export(&lab, by_platform(), reporting::ExportFormat::Json).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["digest"], report.digest);
    assert_eq!(json["rows"][0]["withheld"]["figures"][0], "FIGURE_CLOSED");
    assert_eq!(json["grantUse"]["smallCellMinimum"], 5);

    // With nothing small there is nothing to hide, and the ages come too.
    let one = reporting::ReportFilter { platforms: vec!["platforms/harbourbook".into()], ..Default::default() };
    let one = reporting::ReportDefinition { filter: Some(one), dimensions: Vec::new(), ..by_platform() };
    let report = world.ask(&lab, one).await.unwrap();
    let total = report.total.unwrap();
    assert_eq!(
        withheld(&total),
        [
            Figure::Dispositions,
            Figure::UndecidedAgeP90Days,
            Figure::UndecidedAgeMaxDays,
            Figure::DecisionTimesDecided,
            Figure::DecidedOnlyP90Days,
            Figure::Targets
        ]
    );
    assert_eq!(total.undecided_ages.unwrap().buckets[0].count, 32);

    // Oversight is shown everything, in the bytes in which it always was.
    let analyst = world.client.acting("oversightBodies/hac");
    let report = world.ask(&analyst, by_platform()).await.unwrap();
    assert!(report.grant_use.is_none() && report.rows.iter().chain(&report.total).all(|row| row.withheld.is_none()));
    assert_eq!(report.rows[2].counts.as_ref().unwrap().undecided, 3);
    for format in [reporting::ExportFormat::Csv, reporting::ExportFormat::Json] {
        let file = world.export(&analyst, by_platform(), format).await.unwrap();
        assert!(!file.contains("withheld") && !file.to_lowercase().contains("grant"), "{file}");
    }
    assert_eq!(world.spent(&name).await, 4);
    world.server.stop().await;
}

async fn a_grant_is_its_grantees_and_oversights_to_see(database: &Database) {
    let world = World::new(database).await;
    let mut names = Vec::new();
    for number in 0..7 {
        let of = if number % 3 == 2 { "researchers/other" } else { "researchers/lab" };
        names.push((of, world.issue(|terms| terms.grantee = of.into()).await));
    }
    let of =
        |grantee: &str| names.iter().filter(|(of, _)| *of == grantee).map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let all = names.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let list = async |who: &str, parent: &str, page_size| {
        let mut grants = world.client.acting(who).grants();
        let mut request = reporting::ListGrantsRequest { parent: parent.into(), page_size, ..Default::default() };
        let mut found = Vec::new();
        loop {
            let page = grants.list_grants(request.clone()).await?.into_inner();
            assert!(page_size == 0 || i32::try_from(page.grants.len()).unwrap() <= page_size);
            found.extend(page.grants.into_iter().map(|grant| grant.name));
            if page.next_page_token.is_empty() {
                return Ok::<_, Status>(found);
            }
            request.page_token = page.next_page_token;
        }
    };
    for page_size in [0, 1, 2, 1_000] {
        assert_eq!(list("oversightBodies/hac", "researchers/-", page_size).await.unwrap(), all);
        assert_eq!(list("oversightBodies/hac", "researchers/other", page_size).await.unwrap(), of("researchers/other"));
        assert_eq!(list("researchers/lab", "researchers/-", page_size).await.unwrap(), of("researchers/lab"));
        assert_eq!(list("researchers/lab", "researchers/lab", page_size).await.unwrap(), of("researchers/lab"));
    }
    let mut lab = world.lab().grants();
    let request = reporting::ListGrantsRequest { parent: "researchers/-".into(), page_size: 1, ..Default::default() };
    let token = lab.list_grants(request.clone()).await.unwrap().into_inner().next_page_token;
    let elsewhere = reporting::ListGrantsRequest { parent: "researchers/lab".into(), page_token: token, ..request };
    refused(lab.list_grants(elsewhere).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");

    refused(list("researchers/lab", "researchers/other", 0).await, Code::PermissionDenied, "PERMISSION_DENIED");
    // The same whether others have it or nobody.
    let nobodys = format!("grants/{}", uuid::Uuid::nil());
    for name in [&names[0].1, &nobodys] {
        refused(
            get(&world.client.acting("researchers/other"), name).await,
            Code::PermissionDenied,
            "PERMISSION_DENIED",
        );
    }
    let overseer = world.client.acting("oversightBodies/hac");
    refused(get(&overseer, &nobodys).await, Code::NotFound, "GRANT_NOT_FOUND");
    assert!(get(&world.client.acting("oversightBodies/hac"), &names[0].1).await.is_ok());
    for who in ["agencies/nca", "platforms/chirrup", "operators/op"] {
        refused(list(who, "researchers/-", 0).await, Code::PermissionDenied, "PERMISSION_DENIED");
        refused(get(&world.client.acting(who), &names[0].1).await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    // What is in the log is the suite's own, as all of that log is.
    let request = portreeve_api::audit::v1::ListLogEntriesRequest {
        parent: "logs/reporting".into(),
        page_size: 1_000,
        ..Default::default()
    };
    for who in ["researchers/lab", "oversightBodies/hac"] {
        let entries = world.client.acting(who).audits().list_log_entries(request.clone()).await.unwrap().into_inner();
        assert!(entries.entries.iter().all(|entry| entry.content.is_none() && !entry.leaf_hash.is_empty()), "{who}");
    }
    world.server.stop().await;
}

async fn a_revoked_grant_gives_nothing_and_says_why(database: &Database) {
    let world = World::new(database).await;
    let mut supervisor = world.supervisor().grants();
    let request = reporting::IssueGrantRequest { grant: Some(terms()), request_id: sample::request_id("g") };
    let first = supervisor.issue_grant(request.clone()).await.unwrap().into_inner();
    let name = first.grant.clone().unwrap().name;
    let lab = world.lab().under(&name);
    world.ask(&lab, by_platform()).await.unwrap();
    let revoked = supervisor.revoke_grant(revoke(&name, "Given up", "r")).await.unwrap().into_inner();
    let grant = revoked.grant.clone().unwrap();
    assert_eq!((grant.state(), grant.queries_spent), (reporting::GrantState::Revoked, 1));
    let revocation = grant.revocation.clone().unwrap();
    assert_eq!((revocation.revoker.as_str(), revocation.reason.as_str()), ("oversightBodies/hac", "Given up"));
    for _ in 0..2 {
        let refused = refused(world.ask(&lab, by_platform()).await, Code::PermissionDenied, "GRANT_LAPSED");
        assert_eq!((refused.metadata["state"].as_str(), refused.metadata["at"].as_str()), ("REVOKED", NOW));
        world.clock.set("2026-02-01T12:00:01Z".parse().unwrap());
    }
    // A repeated request gets its first answer, whatever has become of the grant.
    let again = supervisor.issue_grant(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.grant, again.revision, again.replayed), (first.grant, first.revision, true));
    let again = supervisor.revoke_grant(revoke(&name, "Given up", "r")).await.unwrap().into_inner();
    assert_eq!((again.grant, again.replayed), (revoked.grant, true));
    let reused =
        reporting::IssueGrantRequest { grant: Some(reporting::Grant { query_budget: 11, ..terms() }), ..request };
    refused(supervisor.issue_grant(reused).await, Code::InvalidArgument, "REQUEST_ID_REUSED");
    // For the same reason once more is nothing new; for another, or after the end, it is too late.
    let same = supervisor.revoke_grant(revoke(&name, "Given up", "r2")).await.unwrap().into_inner();
    assert_eq!((same.grant.unwrap(), same.replayed), (grant, false));
    let late = refused(
        supervisor.revoke_grant(revoke(&name, "Misused", "r3")).await,
        Code::FailedPrecondition,
        "INVALID_TRANSITION",
    );
    assert_eq!(["name", "from", "to"].map(|key| late.metadata[key].as_str()), [name.as_str(), "REVOKED", "REVOKED"]);
    let ended = world.issue(|_| {}).await;
    world.clock.set("2026-03-02".parse().unwrap());
    refused(
        supervisor.revoke_grant(revoke(&ended, "Late", "r4")).await,
        Code::FailedPrecondition,
        "INVALID_TRANSITION",
    );
    let nobodys = format!("grants/{}", uuid::Uuid::nil());
    refused(supervisor.revoke_grant(revoke(&nobodys, "None", "r5")).await, Code::NotFound, "GRANT_NOT_FOUND");
    world.server.stop().await;
}

async fn rebuilding_keeps_what_was_spent(database: &Database) {
    let world = World::new(database).await;
    let mut names = Vec::new();
    for spend in [0, 2, 3] {
        let name = world.issue(|terms| terms.query_budget = 3).await;
        for _ in 0..spend {
            world.ask(&world.lab().under(&name), by_platform()).await.unwrap();
        }
        names.push((name, spend));
    }
    world.supervisor().grants().revoke_grant(revoke(&names[1].0, "Given up", "r")).await.unwrap();
    for compacted in [false, true] {
        let head = world.server.head(Part::Reporting).await;
        if compacted {
            assert_eq!(world.server.compact(Part::Reporting, head).await, head);
        }
        let before = world.server.dump(Part::Reporting).await;
        assert_eq!(before.iter().filter(|row| row.starts_with("research_grant ")).count(), 3);
        assert_eq!(world.server.rebuild(Part::Reporting).await, head);
        assert_eq!(world.server.dump(Part::Reporting).await, before);
    }
    for (name, spent) in &names {
        assert_eq!(world.spent(name).await, *spent);
    }
    refused(
        world.ask(&world.lab().under(&names[2].0), by_platform()).await,
        Code::ResourceExhausted,
        "QUERY_BUDGET_SPENT",
    );
    refused(world.ask(&world.lab().under(&names[1].0), by_platform()).await, Code::PermissionDenied, "GRANT_LAPSED");
    assert!(world.ask(&world.lab().under(&names[0].0), by_platform()).await.is_ok());
    // A stream of the report goes on past grants and queries.
    let request = reporting::WatchReportRequest {
        start: Some(reporting::watch_report_request::Start::Snapshot(true)),
        definition: Some(reporting::ReportDefinition { as_of_date: String::new(), ..by_platform() }),
        at_least: Vec::new(),
    };
    let mut stream =
        world.client.acting("oversightBodies/hac").reports().watch_report(request).await.unwrap().into_inner();
    let first = portreeve_tests::within(20, "the snapshot", stream.message()).await.unwrap().unwrap();
    assert!(matches!(first.change, Some(reporting::watch_report_response::Change::Snapshot(_))), "{first:?}");
    assert!(world.ask(&world.lab().under(&names[0].0), by_platform()).await.is_ok());
    sample::refer(&world.client, "nca", "chirrup", "one more").await;
    let delta = loop {
        let message = portreeve_tests::within(20, "the delta", stream.message()).await.unwrap().unwrap();
        match message.change {
            Some(reporting::watch_report_response::Change::Delta(delta)) => break delta,
            _ => assert!(message.checkpoint, "{message:?}"),
        }
    };
    assert_eq!(delta.rows[0].counts.as_ref().unwrap().referred, 1);
    drop(stream);
    world.server.stop().await;
}

async fn every_report_is_on_record_with_its_grant(database: &Database) {
    let world = World::with(database, Options { justification: Policy::Required, ..Options::default() }).await;
    let name = world.issue(|terms| terms.agencies = vec!["agencies/nca".into(), "agencies/bka".into()]).await;
    let silent = world.client.acting("researchers/lab").member("r.esearcher").under(&name);
    refused(world.ask(&silent, by_platform()).await, Code::FailedPrecondition, "JUSTIFICATION_REQUIRED");
    let lab = silent.because("Chapter 3");
    let report = world.ask(&lab, by_platform()).await.unwrap();
    world.export(&lab, by_platform(), reporting::ExportFormat::Csv).await.unwrap();
    refused(
        world.ask(&lab.under(&format!("grants/{}", uuid::Uuid::nil())), by_platform()).await,
        Code::PermissionDenied,
        "PERMISSION_DENIED",
    );

    let overseer = world.client.acting("oversightBodies/hac").member("c.lerk").because("review");
    let request = consultation::ListConsultationsRequest {
        log: "logs/reporting-access".into(),
        parent: "researchers/lab".into(),
        ..Default::default()
    };
    let found = overseer.consultations().list_consultations(request.clone()).await.unwrap().into_inner().consultations;
    // Two reports, each of the figures of two agencies.
    assert_eq!(found.len(), 4, "{found:?}");
    for entry in &found {
        assert_eq!((entry.reader.as_str(), entry.member.as_str()), ("researchers/lab", "r.esearcher"));
        assert_eq!((entry.purpose.as_str(), entry.justification.as_str()), (name.as_str(), "Chapter 3"));
        assert_eq!(entry.roles, ["researcher"]);
        assert_eq!(entry.kind(), consultation::ConsultationKind::Disclosure);
        let encoded = prost::Message::encode_to_vec(report.definition.as_ref().unwrap());
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&encoded);
        assert_eq!(entry.definition_digest, portreeve_core::audit::hex(&digest));
    }
    let owners = found.iter().map(|entry| entry.owner.as_str()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(owners.into_iter().collect::<Vec<_>>(), ["agencies/bka", "agencies/nca"]);
    // The agency's auditor finds who was shown its figures, and under which grant; the researchers' own does too.
    for (auditor, parent) in [("agencies/nca", "agencies/nca"), ("researchers/lab", "researchers/lab")] {
        let client = world.client.acting(auditor).member("a.uditor").roles(&["auditor"]).because("review");
        let request = consultation::ListConsultationsRequest { parent: parent.into(), ..request.clone() };
        let found = client.consultations().list_consultations(request).await.unwrap().into_inner().consultations;
        assert!(found.iter().any(|entry| entry.purpose == name), "{auditor}: {found:?}");
    }
    world.server.stop().await;
}
