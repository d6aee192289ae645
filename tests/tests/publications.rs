//! Published reports through the public API: frozen, restated with a difference and a reason, and counted again from the logs by the
//! command that does so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::limits;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Options, Part, Refused, Server, on_both_engines, process, refusal, sample,
};
use prost::Message as _;
use reporting::{Dimension, Figure, Publication};
use sqlx::Connection as _;
use tonic::{Code, Status};

on_both_engines!(
    what_was_published_stays_and_what_changed_is_another_version,
    each_publishes_what_is_its_own,
    what_is_wrong_is_told_at_once,
    small_counts_are_withheld_and_their_changes_too,
    published_reports_are_everybodys,
    whoever_sees_every_row_counts_them_again,
);

const NOW: &str = "2026-02-01T12:00:00Z";

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    client: Client,
    at_least: Vec<String>,
}

impl World {
    /// Two agencies' referrals to two platforms on one day; some of them closed the day after.
    async fn new(database: &Database) -> Self {
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let server = Server::start(database, Options::default().clock(&clock)).await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        let mut world = Self { server, clock, client, at_least: Vec::new() };
        for (agency, platform, count) in [("nca", "harbourbook", 20), ("nca", "chirrup", 12), ("bka", "harbourbook", 9)]
        {
            world.refer(agency, platform, count).await;
        }
        world.close("nca", "harbourbook", 0..11).await;
        world.close("bka", "harbourbook", 0..9).await;
        world.clock.set("2026-02-03T09:00:00Z".parse().unwrap());
        world
    }

    async fn refer(&mut self, agency: &str, platform: &str, count: usize) {
        let drafts = (0..count).map(|number| sample::draft(platform, &format!("{agency}-{number}")));
        let request = referral::BatchCreateReferralsRequest {
            parent: format!("agencies/{agency}"),
            drafts: drafts.collect(),
            request_id: sample::request_id(&format!("{agency} {platform}")),
        };
        let mut referrals = self.client.acting(&format!("agencies/{agency}")).referrals();
        self.at_least = vec![referrals.batch_create_referrals(request).await.unwrap().into_inner().revision];
        let cases = self.cases(agency, platform).await;
        let mut decisions = self.client.acting(&format!("platforms/{platform}")).decisions();
        let request = sample::acknowledge(platform, &cases, &format!("{agency} {platform} received"));
        self.at_least.push(decisions.acknowledge_cases(request).await.unwrap().into_inner().revision);
    }

    async fn cases(&self, agency: &str, platform: &str) -> Vec<String> {
        let request = decision::ListCasesRequest {
            parent: format!("platforms/{platform}"),
            page_size: 1_000,
            at_least: self.at_least.clone(),
            ..decision::ListCasesRequest::default()
        };
        let mut decisions = self.client.acting(&format!("platforms/{platform}")).decisions();
        let cases = decisions.list_cases(request).await.unwrap().into_inner().cases;
        cases.into_iter().filter(|case| case.agency == format!("agencies/{agency}")).map(|case| case.name).collect()
    }

    async fn close(&mut self, agency: &str, platform: &str, which: std::ops::Range<usize>) {
        let cases = self.cases(agency, platform).await;
        let platform = self.client.acting(&format!("platforms/{platform}"));
        let mut decisions = platform.roles(&["reviewer", "import"]).decisions();
        for case in &cases[which] {
            let draft = decision::DecisionDraft { decided_at: Some(sample::time(NOW)), ..sample::closed() };
            let reply = decisions.record_decision(sample::record(case, draft, case)).await.unwrap();
            self.at_least.truncate(1);
            self.at_least.push(reply.into_inner().revision);
        }
    }

    /// A platform corrects decisions, as of the day on which it made them.
    async fn reverse(&mut self, which: std::ops::Range<usize>) {
        let (by, _) = sample::clause(&self.client, "harbourbook", "solicitation").await;
        let cases = self.cases("nca", "harbourbook").await;
        let mut decisions = self.client.acting("platforms/harbourbook").roles(&["reviewer", "import"]).decisions();
        for case in &cases[which] {
            let draft = sample::later(decision::DecisionKind::Reversed, sample::permitted(&by));
            let draft = decision::DecisionDraft { decided_at: Some(sample::time(NOW)), ..draft };
            let request = decision::RecordDecisionRequest {
                expected_version: Some(1),
                ..sample::record(case, draft, &format!("reverse {case}"))
            };
            let reply = decisions.record_decision(request).await.unwrap();
            self.at_least.truncate(1);
            self.at_least.push(reply.into_inner().revision);
        }
    }

    fn committee(&self) -> Client {
        self.client.acting("oversightBodies/hac").roles(&["supervisor"])
    }

    fn request(&self, id: &str) -> reporting::PublishReportRequest {
        reporting::PublishReportRequest {
            title: "February".into(),
            definition: Some(by_platform()),
            at_least: self.at_least.clone(),
            request_id: sample::request_id(id),
            ..reporting::PublishReportRequest::default()
        }
    }
}

fn by_platform() -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        cohort_from_date: "2026-02-01".into(),
        cohort_until_date: "2026-02-28".into(),
        as_of_date: "2026-02-02".into(),
        dimensions: vec![Dimension::Platform.into()],
        ..reporting::ReportDefinition::default()
    }
}

async fn publish(client: &Client, request: &reporting::PublishReportRequest) -> Result<Publication, Status> {
    Ok(client.publications().publish_report(request.clone()).await?.into_inner().publication.unwrap())
}

async fn get(client: &Client, name: &str) -> Result<Publication, Status> {
    let request = reporting::GetPublicationRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.publications().get_publication(request).await?.into_inner().publication.unwrap())
}

fn counts(row: Option<&reporting::ReportRow>) -> [i64; 5] {
    let counts = row.unwrap().counts.clone().unwrap();
    [counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other]
}

fn total(of: &Publication) -> [i64; 5] {
    counts(of.report.as_ref().unwrap().total.as_ref())
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str) -> Refused {
    let refused = refusal(&answer.unwrap_err());
    assert_eq!(refused.reason, reason, "{refused:?}");
    refused
}

/// The version alone: `publications/{uuid}/versions/1` is of `publications/{uuid}`.
fn series(name: &str) -> &str {
    name.split("/versions/").next().unwrap()
}

async fn what_was_published_stays_and_what_changed_is_another_version(database: &Database) {
    let mut world = World::new(database).await;
    let committee = world.committee();
    let first = publish(&committee, &world.request("first")).await.unwrap();
    assert_eq!((first.version, first.latest_version, first.publisher.as_str()), (1, 1, "oversightBodies/hac"));
    assert_eq!(total(&first), [41, 20, 0, 21, 0]);
    assert_eq!(first.positions.iter().map(|of| of.log.as_str()).collect::<Vec<_>>(), ["referral", "decision"]);
    // It is the report that was there to be read.
    let analyst = committee.roles(&["analyst"]);
    let shown = analyst.report(by_platform(), &world.at_least).await.unwrap();
    let whole = reporting::PublishReportRequest { small_cell_minimum: 1, ..world.request("whole") };
    let whole = publish(&committee, &whole).await.unwrap().report.unwrap();
    assert_eq!((&whole.digest, &whole.rows, &whole.total), (&shown.digest, &shown.rows, &shown.total));

    // A repeat is the same; what has not changed is not published again, on whichever day, with whatever title.
    let again = committee.publications().publish_report(world.request("first")).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.publication.as_ref(), Some(&first));
    world.clock.set("2026-02-10T09:00:00Z".parse().unwrap());
    let head = world.server.head(Part::Reporting).await;
    let renamed = reporting::PublishReportRequest { title: "Another".into(), ..world.request("renamed") };
    assert_eq!(publish(&committee, &renamed).await.unwrap(), first);
    assert_eq!(world.server.head(Part::Reporting).await, head, "nothing was written");

    // A platform goes back on six decisions.
    world.reverse(0..6).await;
    let silent = refused(publish(&committee, &world.request("silent")).await, "REQUEST_INVALID");
    assert_eq!((silent.fields.as_slice(), &silent.metadata["name"]), (["reason".to_owned()].as_slice(), &first.name));
    let request = reporting::PublishReportRequest { reason: "Six were corrected".into(), ..world.request("second") };
    let second = publish(&committee, &request).await.unwrap();
    assert_eq!((second.version, series(&second.name)), (2, series(&first.name)));
    assert_eq!((total(&second), second.reason.as_str()), ([41, 14, 6, 21, 0], "Six were corrected"));
    let rows = second.difference.iter().map(|row| {
        let key = row.key.first().map_or("total", |value| value.value.as_str());
        let change = row.change.as_ref().unwrap();
        (key, counts(row.before.as_ref()), counts(row.after.as_ref()), [change.closed, change.not_in_breach])
    });
    let (before, after, change) = ([29, 20, 0, 9, 0], [29, 14, 6, 9, 0], [-6, 6]);
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [("platforms/harbourbook", before, after, change), ("total", [41, 20, 0, 21, 0], [41, 14, 6, 21, 0], change)]
    );

    // The first is what it was, and says that there is a newer one; without a version the newest is given.
    let kept = get(&committee, &first.name).await.unwrap();
    assert_eq!(kept, Publication { latest_version: 2, ..first.clone() });
    assert_eq!(get(&committee, series(&first.name)).await.unwrap(), second);
    for missing in ["versions/3", "versions/99999999"] {
        let missing = format!("{}/{missing}", series(&first.name));
        assert_eq!(refused(get(&committee, &missing).await, "PUBLICATION_NOT_FOUND").metadata["name"], missing);
    }
    // Built again from the log, all versions are there.
    world.server.rebuilds(&[Part::Reporting]).await;
    assert_eq!(get(&committee, &first.name).await.unwrap(), kept);
    assert_eq!(get(&committee, &second.name).await.unwrap(), second);
}

async fn each_publishes_what_is_its_own(database: &Database) {
    let world = World::new(database).await;
    let nca = world.client.acting("agencies/nca").roles(&["approver"]);
    let own = publish(&nca, &world.request("own")).await.unwrap();
    assert_eq!((total(&own), own.publisher.as_str()), ([32, 11, 0, 21, 0], "agencies/nca"));
    let platform = world.client.acting("platforms/harbourbook").roles(&["reviewer"]);
    assert_eq!(total(&publish(&platform, &world.request("own, too")).await.unwrap()), [29, 20, 0, 9, 0]);
    // One question of three publishers is three reports.
    let all = publish(&world.committee(), &world.request("all")).await.unwrap();
    assert_eq!((all.version, total(&all)), (1, [41, 20, 0, 21, 0]));

    let named = |agency: &str| {
        let filter = reporting::ReportFilter { agencies: vec![agency.into()], ..Default::default() };
        let definition = Some(reporting::ReportDefinition { filter: Some(filter), ..by_platform() });
        reporting::PublishReportRequest { definition, ..world.request(agency) }
    };
    // What a partner shares is shared with the agency alone.
    let (id, _) = sample::agree(&world.client, sample::agreement(["nca", "bka"], "2026-12-31"), "partners").await;
    assert!(!id.is_empty());
    for (client, request) in [
        (nca.purpose("prevention"), named("agencies/bka")),
        (nca.clone(), named("agencies/bka")),
        (nca.roles(&["officer"]), world.request("no approver")),
        (platform.roles(&["policy-editor"]), world.request("no reviewer")),
        (world.client.acting("oversightBodies/hac").roles(&["analyst"]), world.request("no supervisor")),
        (world.client.acting("researchers/lab"), world.request("a researcher")),
        (world.client.clone(), world.request("an operator")),
    ] {
        refused(publish(&client, &request).await, "PERMISSION_DENIED");
    }
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let wrong = reporting::PublishReportRequest {
        title: " ".into(),
        reason: "\t".into(),
        small_cell_minimum: 3,
        definition: Some(reporting::ReportDefinition {
            known_at_date: "2026-02-02".into(),
            dimensions: vec![Dimension::EventMonth.into()],
            ..by_platform()
        }),
        ..world.request("wrong")
    };
    let said = refused(publish(&world.committee(), &wrong).await, "REQUEST_INVALID");
    assert_eq!(said.code, Code::InvalidArgument);
    let mut fields = said.fields.clone();
    fields.sort();
    assert_eq!(
        fields,
        ["definition.dimensions", "definition.known_at_date", "reason", "small_cell_minimum", "title"],
        "{said:?}"
    );
    // A day that is not over; the same request can be made when it is.
    let early = reporting::ReportDefinition { as_of_date: "2026-02-03".into(), ..by_platform() };
    let early = reporting::PublishReportRequest { definition: Some(early), ..world.request("early") };
    let said = refused(publish(&world.committee(), &early).await, "REQUEST_INVALID");
    assert_eq!(said.fields, ["definition.as_of_date"]);
    world.clock.set("2026-02-04T00:00:00Z".parse().unwrap());
    assert_eq!(publish(&world.committee(), &early).await.unwrap().version, 1);
    for (minimum, good) in [(1, true), (2, false), (4, false), (5, true), (limits::GRANT_SMALL_CELL_MAX, true)] {
        let request = world.request(&format!("minimum {minimum}"));
        let request = reporting::PublishReportRequest { small_cell_minimum: minimum, ..request };
        assert_eq!(publish(&world.committee(), &request).await.is_ok(), good, "{minimum}");
    }
    for name in ["publications/x", "publications/019b2a5d-ac96-774b-bcce-b302099a8057/versions/0", ""] {
        assert_eq!(refused(get(&world.client, name).await, "REQUEST_INVALID").fields, ["name"]);
    }
}

async fn small_counts_are_withheld_and_their_changes_too(database: &Database) {
    let mut world = World::new(database).await;
    world.close("nca", "chirrup", 0..3).await;
    let committee = world.committee();
    let hidden = publish(&committee, &world.request("hidden")).await.unwrap();
    assert_eq!(hidden.small_cell_minimum, 5);
    let report = hidden.report.clone().unwrap();
    let chirrup = report.rows.iter().find(|row| row.key[0].value == "platforms/chirrup").unwrap();
    assert!(chirrup.withheld.as_ref().unwrap().figures.contains(&Figure::Closed.into()), "{chirrup:?}");
    let whole = reporting::PublishReportRequest { small_cell_minimum: 1, ..world.request("whole") };
    let whole = publish(&committee, &whole).await.unwrap();
    assert!(series(&whole.name) != series(&hidden.name), "another minimum is another question");
    let rows = &whole.report.as_ref().unwrap().rows;
    assert!(rows.iter().all(|row| row.withheld.is_none()));
    assert_eq!(counts(rows.iter().find(|row| row.key[0].value == "platforms/chirrup")), [12, 3, 0, 9, 0]);

    // One more of the withheld: the version withholds how many came.
    world.clock.set("2026-02-04T09:00:00Z".parse().unwrap());
    let cases = world.cases("nca", "chirrup").await;
    let mut decisions = world.client.acting("platforms/chirrup").roles(&["reviewer", "import"]).decisions();
    let draft = decision::DecisionDraft { decided_at: Some(sample::time("2026-02-02T10:00:00Z")), ..sample::closed() };
    let reply = decisions.record_decision(sample::record(&cases[5], draft, "one more")).await.unwrap();
    world.at_least.truncate(1);
    world.at_least.push(reply.into_inner().revision);
    let request = reporting::PublishReportRequest { reason: "One more".into(), ..world.request("hidden again") };
    let again = publish(&committee, &request).await.unwrap();
    assert_eq!(series(&again.name), series(&hidden.name));
    for row in again.difference.iter().filter(|row| !row.key.is_empty()) {
        let change = row.change.clone().unwrap();
        assert_eq!((change.closed, change.detail.len(), change.targets), (0, 0, 0), "{row:?}");
    }
}

async fn published_reports_are_everybodys(database: &Database) {
    let mut world = World::new(database).await;
    let first = publish(&world.committee(), &world.request("first")).await.unwrap();
    let nca = world.client.acting("agencies/nca").roles(&["approver"]);
    let own = publish(&nca, &world.request("own")).await.unwrap();
    world.reverse(0..2).await;
    let request = reporting::PublishReportRequest { reason: "Corrected".into(), ..world.request("second") };
    let second = publish(&world.committee(), &request).await.unwrap();
    let readers = ["researchers/lab", "agencies/bka", "platforms/lensgram", "operators/op", "oversightBodies/hac"];
    for reader in readers.map(|reader| world.client.acting(reader)) {
        assert_eq!(get(&reader, &second.name).await.unwrap(), second);
        let mut request = reporting::ListPublicationsRequest { page_size: 2, ..Default::default() };
        let mut listed = Vec::new();
        loop {
            let page = reader.publications().list_publications(request.clone()).await.unwrap().into_inner();
            listed.extend(page.publications);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let seen = listed.iter().map(|of| (of.name.as_str(), of.latest_version)).collect::<Vec<_>>();
        assert_eq!(seen, [(first.name.as_str(), 2), (own.name.as_str(), 1), (second.name.as_str(), 2)]);
        assert!(listed.iter().all(|of| of.report.as_ref().unwrap().rows.is_empty() && of.difference.is_empty()));
        assert_eq!(listed.iter().map(total).collect::<Vec<_>>(), [&first, &own, &second].map(total));
    }
    let request = reporting::ListPublicationsRequest { publisher: "agencies/nca".into(), ..Default::default() };
    let listed = world.client.publications().list_publications(request).await.unwrap().into_inner().publications;
    assert_eq!(listed.iter().map(|of| &of.name).collect::<Vec<_>>(), [&own.name]);
}

async fn whoever_sees_every_row_counts_them_again(database: &Database) {
    let mut world = World::new(database).await;
    let work = tempfile::tempdir().unwrap();
    let url = world.server.url();
    let verify = |name: &str, reader: &str| {
        process::run(work.path(), &["verify", "report", name, "--server", url.as_str(), "--as", reader])
    };
    let first = publish(&world.committee(), &world.request("first")).await.unwrap();
    let nca = world.client.acting("agencies/nca").roles(&["approver"]);
    let own = publish(&nca, &world.request("own")).await.unwrap();
    let platform = world.client.acting("platforms/harbourbook").roles(&["reviewer"]);
    let theirs = publish(&platform, &world.request("theirs")).await.unwrap();
    world.reverse(0..4).await;
    // Whoever is erased stays counted.
    let cases = world.cases("nca", "chirrup").await;
    let name = format!("agencies/nca/referrals/{}", cases[0].rsplit_once('/').unwrap().1);
    let erase = referral::EraseReferralRequest {
        name,
        field_groups: vec![referral::FieldGroup::Target.into()],
        reason: "By order of a court".into(),
        request_id: sample::request_id("erase"),
    };
    let mut retention = nca.member("a.pprover").retention();
    retention.erase_referral(erase).await.unwrap();
    let request = reporting::PublishReportRequest { reason: "Corrected".into(), ..world.request("second") };
    let second = publish(&world.committee(), &request).await.unwrap();

    // From the same events, whatever was learnt since. To its services the exchange shows what was compacted, too.
    let (code, said) = verify(&own.name, "agencies/nca");
    assert!(code == 0 && said.contains("as published"), "{code} {said}");
    let (code, said) = verify(&theirs.name, "platforms/harbourbook");
    assert!(code == 0 && said.contains("as published"), "{code} {said}");
    for part in [Part::Referral, Part::Decision] {
        let head = world.server.head(part).await;
        world.server.compact(part, head / 2).await;
    }
    for (name, reader) in [
        (&first.name, "services/auditor"),
        (&second.name, "services/auditor"),
        (&own.name, "services/auditor"),
        (&theirs.name, "services/auditor"),
    ] {
        let (code, said) = verify(name, reader);
        assert_eq!(code, 0, "{reader}: {said}");
        assert!(said.contains("as published") && said.contains(name.as_str()), "{said}");
    }
    // Oversight sees figures, and no rows.
    for reader in ["agencies/nca", "oversightBodies/hac", "researchers/lab"] {
        let (code, said) = verify(&first.name, reader);
        assert!(code == 2 && said.contains("does not see every row"), "{code} {said}");
    }
    assert_eq!(verify("publications/none", "services/auditor").0, 1);
}

/// Figures that were changed behind the server's back are found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_figures_than_the_logs_give_are_found() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let work = tempfile::tempdir().unwrap();
    let published = publish(&world.committee(), &world.request("first")).await.unwrap();
    let Database::Sqlite { folder } = &fixture.database else { panic!("a folder") };
    let mut database =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", folder.join("reporting.db").display())).await.unwrap();
    let url = world.server.url();
    let original = published.report.clone().unwrap();
    let mut rows = original.clone();
    rows.rows[0].counts.as_mut().unwrap().closed += 1;
    let mut digest = original.clone();
    digest.digest.replace_range(0..1, if digest.digest.starts_with('0') { "1" } else { "0" });
    for (report, says) in [(rows, "rows beside it are not"), (digest, "published"), (original, "as published")] {
        let statement = sqlx::query("UPDATE publication SET report = $1").bind(report.encode_to_vec());
        statement.execute(&mut database).await.unwrap();
        let arguments =
            ["verify", "report", published.name.as_str(), "--server", url.as_str(), "--as", "services/auditor"];
        let (code, said) = process::run(work.path(), &arguments);
        let expected = if says == "as published" { 0 } else { 17 };
        assert!(code == expected && said.contains(says), "{code} {said}");
    }
}
