//! The page through the public port: it shows what the API reports, to whom the API reports it, and no other site.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod signed_in;

use portreeve_api::common::v1::ReferralNature;
use portreeve_api::consultation::v1 as consultation;
use portreeve_api::decision::v1 as decision;
use portreeve_api::reporting::v1 as reporting;
use portreeve_tests::{Client, Database, Part, Server, on_both_engines, refusal, sample, within};
use reporting::Dimension;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

on_both_engines!(
    the_page_shows_what_the_api_reports,
    who_may_not_see_is_told_why,
    nothing_that_is_given_becomes_markup,
    what_is_shown_is_recorded,
    a_change_comes_to_who_looks,
    clocks_and_time_lines_are_for_who_sees_the_case,
);

struct World {
    server: Server,
    client: Client,
    /// What the figures are to reflect.
    at_least: Vec<String>,
    /// A case that is not decided.
    open: String,
}

/// An answer to a browser.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A header by its name in lower case.
    fn head_line(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The figure that the page marks by a name.
    fn figure(&self, name: &str) -> &str {
        let (_, rest) = self.body.split_once(&format!("data-figure=\"{name}\">")).unwrap();
        rest.split('<').next().unwrap()
    }
}

impl World {
    /// Four referrals: one closed, one permitted by a clause, one acknowledged, one not even that.
    async fn new(database: &Database) -> Self {
        let (server, clock) = Server::suite_at(database, "2020-03-02T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        let (clause, _) = sample::clause(&client, "harbourbook", "requests").await;
        let fortnight = decision::ResponseTime {
            nature: ReferralNature::VoluntaryReferral.into(),
            time: Some(prost_types::Duration { seconds: 14 * 86_400, nanos: 0 }),
        };
        let promised = decision::SetResponseTimesRequest {
            name: "platforms/harbourbook/responseTimes".into(),
            times: vec![fortnight],
            request_id: sample::request_id("promised"),
            ..decision::SetResponseTimesRequest::default()
        };
        client.acting("platforms/harbourbook").clocks().set_response_times(promised).await.unwrap();
        let mut cases = Vec::new();
        let mut referred = String::new();
        for tag in ["one", "two", "three", "four"] {
            let (referral, revision) = sample::refer(&client, "nca", "harbourbook", tag).await;
            cases.push(sample::case_of(&referral));
            referred = revision;
        }
        clock.set("2020-03-12T09:00:00Z".parse().unwrap());
        let mut decisions = client.acting("platforms/harbourbook").decisions();
        let seen = decision::GetCaseRequest { name: cases[3].clone(), at_least: vec![referred.clone()] };
        decisions.get_case(seen).await.unwrap();
        decisions.acknowledge_cases(sample::acknowledge("harbourbook", &cases[..3], "ack")).await.unwrap();
        decisions.record_decision(sample::record(&cases[0], sample::closed(), "closed")).await.unwrap();
        let permitted = sample::record(&cases[1], sample::permitted(&clause), "permitted");
        let decided = decisions.record_decision(permitted).await.unwrap().into_inner().revision;
        let world = Self { server, client, at_least: vec![referred, decided], open: cases[2].clone() };
        world.reported("oversightBodies/hac", &[]).await;
        world
    }

    /// The report of the API, once all of it is known.
    async fn reported(&self, organisation: &str, dimensions: &[Dimension]) -> reporting::Report {
        let definition = reporting::ReportDefinition {
            cohort_from_date: "2020-01-01".into(),
            cohort_until_date: "2020-05-31".into(),
            as_of_date: "2020-03-12".into(),
            dimensions: dimensions.iter().map(|dimension| (*dimension).into()).collect(),
            ..reporting::ReportDefinition::default()
        };
        self.client.acting(organisation).report(definition, &self.at_least).await.unwrap()
    }

    async fn ask(&self, line: &str, headers: &str) -> TcpStream {
        let address = self.server.url().trim_start_matches("http://").to_owned();
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let host = if headers.to_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
        connection.write_all(format!("{line} HTTP/1.0\r\n{host}{headers}\r\n").as_bytes()).await.unwrap();
        connection
    }

    async fn get_with(&self, path: &str, headers: &str) -> Answer {
        let mut connection = self.ask(&format!("GET {path}"), headers).await;
        let mut bytes = Vec::new();
        within(20, path, connection.read_to_end(&mut bytes)).await.unwrap();
        Answer::parse(&String::from_utf8(bytes).unwrap())
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "").await
    }
}

const COHORT: &str = "/report?from=2020-01-01&until=2020-05-31&as=oversightBodies/hac";

async fn the_page_shows_what_the_api_reports(database: &Database) {
    let world = World::new(database).await;
    let dimensions = [Dimension::Platform, Dimension::Disposition, Dimension::Clause, Dimension::CohortMonth];
    let report = world.reported("oversightBodies/hac", &dimensions).await;
    let total = report.total.clone().unwrap();
    let (counts, times) = (total.counts.unwrap(), total.decision_times.unwrap());
    let page = world.get(COHORT).await;
    assert_eq!(page.status, 200, "{}", page.body);
    for (name, count) in [
        ("referred", counts.referred),
        ("closed", counts.closed),
        ("not-in-breach", counts.not_in_breach),
        ("undecided", counts.undecided),
        ("other", counts.other),
    ] {
        assert_eq!(page.figure(name), count.to_string(), "{name}");
    }
    assert_eq!((counts.referred, counts.closed, counts.not_in_breach, counts.undecided), (4, 1, 1, 2));
    assert_eq!(page.figure("naive-median"), format!("{} days", times.decided_only_median_days.unwrap()));
    assert_eq!(page.figure("censored-median"), format!("{} days", times.censored_median_days.unwrap()));
    assert_eq!(page.figure("digest"), report.digest, "it is the very report, which anybody can ask for");
    assert!(
        page.body.contains("harbourbook: requests@1") && page.body.contains("Permitted by policy"),
        "{}",
        page.body
    );
    // The curve of the API, which is the report's.
    let request =
        reporting::QuerySurvivalRequest { definition: report.definition.clone(), at_least: world.at_least.clone() };
    let reply =
        world.client.acting("oversightBodies/hac").reports().query_survival(request).await.unwrap().into_inner();
    assert_eq!(reply.report.unwrap().digest, report.digest);
    let steps = reply.curve.unwrap().steps;
    let step = reporting::SurvivalStep { days: 10, at_risk: 4, decided: 2, censored: 2, undecided_millionths: 500_000 };
    assert_eq!(steps, [step]);
    // What goes with it.
    for (path, kind) in [("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")] {
        let file = world.get(&format!("/report/{path}")).await;
        assert!(file.status == 200 && file.head.contains(&format!("content-type: {kind}")), "{}", file.head);
    }
    let none = world.get(&format!("{COHORT}&platform=chirrup")).await;
    assert!(none.status == 200 && none.body.contains("Nothing was referred"), "{}", none.body);
    // An agency sees its own.
    let own = world.get(&COHORT.replace("oversightBodies/hac", "agencies/bka")).await;
    assert!(own.status == 200 && own.body.contains("Nothing was referred"), "{}", own.body);
    world.server.stop().await;
}

async fn who_may_not_see_is_told_why(database: &Database) {
    let world = World::new(database).await;
    let refused = async |path: &str, headers: &str, status: u16, words: &[&str]| {
        let answer = world.get_with(path, headers).await;
        assert_eq!(answer.status, status, "{path} {headers}: {}", answer.body);
        for word in words {
            assert!(answer.body.contains(word), "{word} is missing for {path} in {}", answer.body);
        }
        assert!(!answer.body.contains("data-figure"), "{path} {headers}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: same-origin",
        ] {
            assert!(answer.head.contains(header), "{header} is missing for {path} in {}", answer.head);
        }
        answer
    };
    let nobody = refused("/report", "", 401, &["UNAUTHENTICATED", "Say as whom to look"]).await;
    assert!(nobody.head.contains("www-authenticate: Bearer"), "{}", nobody.head);
    refused("/report?as=nobody", "", 401, &["UNAUTHENTICATED"]).await;
    let other = COHORT.replace("oversightBodies/hac", "agencies/bka") + "&agency=nca";
    refused(&other, "", 403, &["PERMISSION_DENIED"]).await;
    refused("/report?as=researchers/lab", "", 403, &["PERMISSION_DENIED"]).await;
    let wrong = "/report?as=oversightBodies/hac&from=soon&until=late&ground=fun&platform=HB";
    refused(
        wrong,
        "",
        400,
        &["REQUEST_INVALID", "<strong>From</strong>", "<strong>Until</strong>", "<strong>Ground</strong>"],
    )
    .await;
    refused(&format!("/report?as={}", "x".repeat(9_000)), "", 400, &["LIMIT_EXCEEDED"]).await;
    // Another site that has its name lead to this machine, or has a browser load the page in the background.
    refused(COHORT, "host: evil.example\r\n", 403, &["PERMISSION_DENIED"]).await;
    refused(COHORT, "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n", 403, &[])
        .await;
    let live = COHORT.replace("/report", "/report/live");
    refused(&live.replace("oversightBodies/hac", "researchers/lab"), "", 403, &["PERMISSION_DENIED"]).await;
    refused(&live, "host: evil.example\r\n", 403, &["PERMISSION_DENIED"]).await;
    refused(&format!("{live}&as-of=2020-03-01"), "", 204, &[]).await;
    // A link on another site leads here.
    let followed = "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    assert_eq!(world.get_with(COHORT, followed).await.status, 200);
    world.server.stop().await;
}

async fn nothing_that_is_given_becomes_markup(database: &Database) {
    let world = World::new(database).await;
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%3Cimg%20src=x%20onerror=y%3E";
    for field in
        ["platform", "agency", "ground", "from", "as", "member", "purpose", "because", "known-at", "seen", "other"]
    {
        let path = if field == "as" { format!("/report?as={hostile}") } else { format!("{COHORT}&{field}={hostile}") };
        let page = world.get(&path).await;
        assert!(!page.body.contains("<script>") && !page.body.contains("<img"), "{field}: {}", page.body);
    }
    world.server.stop().await;
}

async fn what_is_shown_is_recorded(database: &Database) {
    let world = World::new(database).await;
    let because = "&member=c.lerk&because=Evidence%20session%20f%C3%BCr%207";
    assert_eq!(world.get(&format!("{COHORT}{because}&agency=nca")).await.status, 200);
    let request = consultation::ListConsultationsRequest {
        log: "logs/reporting-access".into(),
        parent: "agencies/nca".into(),
        page_size: 1_000,
        ..consultation::ListConsultationsRequest::default()
    };
    let auditor = world.client.acting("oversightBodies/hac").member("a.uditor");
    let found = auditor.consultations().list_consultations(request).await.unwrap().into_inner().consultations;
    let found = found.iter().find(|entry| entry.member == "c.lerk").unwrap();
    assert_eq!(found.reader, "oversightBodies/hac");
    assert_eq!(found.justification, "Evidence session für 7");
    assert!(found.method.ends_with("QuerySurvival"), "{}", found.method);
    // Who is refused was shown nothing.
    let before = world.server.store(Part::Reporting).access.log().standing().await.unwrap().0.head;
    assert_eq!(world.get("/report?as=researchers/lab").await.status, 403);
    let after = world.server.store(Part::Reporting).access.log().standing().await.unwrap().0.head;
    assert_eq!(before, after);
    world.server.stop().await;
}

/// Reads until an event with figures is whole; gives its identifier and the markup.
async fn event(connection: &mut TcpStream) -> (String, String) {
    let mut text = String::new();
    let mut bytes = vec![0; 16 * 1_024];
    loop {
        let count = connection.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        let events = text.split("\n\n").collect::<Vec<_>>();
        let whole = &events[..events.len() - 1];
        if let Some(event) = whole.iter().find(|event| event.contains("event: figures")) {
            let field =
                |name: &str| event.lines().filter_map(|line| line.strip_prefix(name)).collect::<Vec<_>>().join("\n");
            return (field("id: "), field("data: "));
        }
    }
}

async fn a_change_comes_to_who_looks(database: &Database) {
    let world = World::new(database).await;
    let page = world.get(COHORT).await;
    let seen = page.figure("digest");
    let live = COHORT.replace("/report", "/report/live");
    let mut looking = world.ask(&format!("GET {live}&seen={seen}"), "").await;
    // Whoever has not seen the figures gets them at once.
    let mut new = world.ask(&format!("GET {live}"), "").await;
    let (id, markup) = within(20, "the figures", event(&mut new)).await;
    assert_eq!(id, seen);
    assert!(markup.contains("data-figure=\"undecided\">2<"), "{markup}");
    let mut decisions = world.client.acting("platforms/harbourbook").decisions();
    decisions.record_decision(sample::record(&world.open, sample::closed(), "later")).await.unwrap();
    for looking in [&mut looking, &mut new] {
        let (id, markup) = within(20, "the change", event(looking)).await;
        assert!(id.len() == 64 && id != seen, "{id}");
        assert!(
            markup.contains("data-figure=\"undecided\">1<") && markup.contains("data-figure=\"closed\">2<"),
            "{markup}"
        );
        assert!(markup.contains(&id), "the event is known by the digest that it shows");
    }
    drop((looking, new));
    world.server.stop().await;
}

async fn clocks_and_time_lines_are_for_who_sees_the_case(database: &Database) {
    let world = World::new(database).await;
    let agency = world.get("/report/clocks?as=agencies/nca").await;
    assert_eq!(agency.status, 200, "{}", agency.body);
    for word in ["Response", "Running", "14 d 0 h", "2020-03-26 09:00"] {
        assert!(agency.body.contains(word), "{word} is missing in {}", agency.body);
    }
    let (_, link) = agency.body.split_once("<a href=\"/report/case?").unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    let line = world.get(&format!("/report/case?{link}")).await;
    assert_eq!(line.status, 200, "{}", line.body);
    for word in ["Referred by agencies/nca to platforms/harbourbook", "Receipt acknowledged", "2020-03-12 09:00"] {
        assert!(line.body.contains(word), "{word} is missing in {}", line.body);
    }
    assert!(line.body.contains(&world.open) && !line.body.contains("Decided, version"), "{}", line.body);
    let mut decisions = world.client.acting("platforms/harbourbook").decisions();
    decisions.record_decision(sample::record(&world.open, sample::closed(), "later")).await.unwrap();
    let line = world.get(&format!("/report/case?as=platforms/harbourbook&name={}", world.open)).await;
    assert!(line.status == 200 && line.body.contains("Decided, version 1"), "{}", line.body);
    // Another agency is shown neither.
    let other = world.get("/report/clocks?as=agencies/bka").await;
    assert!(other.status == 200 && other.body.contains("No clock runs"), "{}", other.body);
    let other = world.get(&format!("/report/case?as=agencies/bka&name={}", world.open)).await;
    let get = decision::GetCaseRequest { name: world.open.clone(), at_least: Vec::new() };
    let refused = world.client.acting("agencies/bka").decisions().get_case(get).await.unwrap_err();
    assert!(other.body.contains(&refusal(&refused).reason), "{}", other.body);
    assert!([403, 404].contains(&other.status) && !other.body.contains("harbourbook.example"), "{}", other.body);
    world.server.stop().await;
}
