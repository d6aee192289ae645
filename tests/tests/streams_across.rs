//! The streams of what follows: cases, which follow referrals, and reports, which follow both. Under concurrent writers,
//! restarts, crashes and compaction, they keep the same promises; and what they say of the logs that they follow is never
//! ahead of what they delivered.
//!
//! `TEST_SEED=7 cargo nextest run -E 'binary(streams_across)'` repeats a history.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::token::Revision;
use portreeve_tests::history::{Expiry, First, Reader, Style, Tap, Trace, World, as_shown_to};
use portreeve_tests::{Client, Database, Options, Part, Server, on_both_engines, refusal, sample, within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

on_both_engines!(a_history_of_cases_and_reports, a_report_that_is_watched_expires_and_begins_anew);

fn seeds() -> Vec<u64> {
    match std::env::var("TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![3, 4],
    }
}

async fn a_history_of_cases_and_reports(database: &Database) {
    for seed in seeds() {
        eprintln!("TEST_SEED={seed}");
        let fixture = portreeve_tests::another(database).await;
        within(100, &format!("the history of seed {seed}"), Box::pin(history(&fixture.database, seed))).await;
    }
}

/// What became of one referral, as it was answered.
struct Life {
    case: String,
    decisions: u32,
    withdrawn: bool,
}

fn client(url: &str, organisation: &str) -> Client {
    Client::new(url, organisation)
}

/// Referrals are sent, received, decided, decided again, withdrawn.
async fn live(world: World, steps: Arc<watch::Sender<u64>>, writer: usize, seed: u64) -> (Vec<Life>, Vec<String>) {
    let mut random = StdRng::seed_from_u64(seed * 1_000 + writer as u64);
    let (mut lives, mut revisions) = (Vec::new(), Vec::new());
    let agency = sample::AGENCIES[writer % 2];
    for step in 0..22 {
        let platform = sample::PLATFORMS[random.random_range(0..2)].0;
        let tag = format!("{writer}-{step}");
        let request = sample::create(agency, sample::draft(platform, &tag), &tag);
        let of_agency = format!("agencies/{agency}");
        let of_platform = format!("platforms/{platform}");
        let reply = world
            .insist(|url| {
                let (request, client) = (request.clone(), client(&url, &of_agency));
                async move { Ok(client.referrals().create_referral(request).await?.into_inner()) }
            })
            .await;
        let sent = reply.referral.unwrap();
        let mut life = Life { case: sample::case_of(&sent), decisions: 0, withdrawn: false };
        revisions.push(reply.revision.clone());
        steps.send_modify(|steps| *steps += 1);
        let fate = random.random_range(0..10);
        if fate > 1 {
            let request = decision::GetCaseRequest { name: life.case.clone(), at_least: vec![reply.revision] };
            world
                .insist(|url| {
                    let (request, client) = (request.clone(), client(&url, &of_platform));
                    async move { client.decisions().get_case(request).await }
                })
                .await;
            let request = sample::acknowledge(platform, std::slice::from_ref(&life.case), &format!("a{tag}"));
            let reply = world
                .insist(|url| {
                    let (request, client) = (request.clone(), client(&url, &of_platform));
                    async move { Ok(client.decisions().acknowledge_cases(request).await?.into_inner()) }
                })
                .await;
            revisions.push(reply.revision);
            steps.send_modify(|steps| *steps += 1);
        }
        for version in 0..i32::max(0, fate - 5) {
            let by = decision::ClauseCitation { clause: format!("{of_platform}/clauses/fees"), version: 1 };
            let draft = if random.random_bool(0.5) { sample::closed() } else { sample::permitted(&by) };
            let draft = decision::DecisionDraft { explanation: format!("Version {version}."), ..draft };
            let draft = if version == 0 { draft } else { sample::later(decision::DecisionKind::Amended, draft) };
            let request = sample::record(&life.case, draft, &format!("d{version}-{tag}"));
            let reply = world
                .insist(|url| {
                    let (request, client) = (request.clone(), client(&url, &of_platform));
                    async move { Ok(client.decisions().record_decision(request).await?.into_inner()) }
                })
                .await;
            life.decisions = reply.decision.unwrap().version;
            revisions.push(reply.revision);
            steps.send_modify(|steps| *steps += 1);
        }
        if random.random_bool(0.25) {
            let request = sample::withdraw(&sent.name, &format!("w{tag}"));
            let reply = world
                .insist(|url| {
                    let (request, client) = (request.clone(), client(&url, &of_agency));
                    async move { Ok(client.referrals().withdraw_referral(request).await?.into_inner()) }
                })
                .await;
            life.withdrawn = true;
            revisions.push(reply.revision);
        }
        lives.push(life);
    }
    (lives, revisions)
}

/// The newest revision of each log.
fn newest(revisions: &[String]) -> Vec<Revision> {
    let mut newest = BTreeMap::<String, Revision>::new();
    for revision in revisions.iter().map(|text| Revision::decode(text).unwrap()) {
        let known = newest.entry(revision.log.clone()).or_insert_with(|| revision.clone());
        if known.position < revision.position {
            *known = revision;
        }
    }
    newest.into_values().collect()
}

fn today() -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        cohort_from_date: "2020-09-03".into(),
        cohort_until_date: "2020-09-03".into(),
        dimensions: vec![
            reporting::Dimension::Platform.into(),
            reporting::Dimension::Disposition.into(),
            reporting::Dimension::Clause.into(),
        ],
        ..reporting::ReportDefinition::default()
    }
}

/// The numbers of a row: referred, the four buckets, and each disposition.
type Numbers = BTreeMap<i32, i64>;

fn numbers(counts: &reporting::Counts) -> Numbers {
    let buckets = [counts.closed, counts.not_in_breach, counts.undecided, counts.other];
    assert_eq!(counts.referred, buckets.iter().sum::<i64>(), "the buckets add up to referred");
    assert_eq!(counts.referred, counts.detail.iter().map(|it| it.count).sum::<i64>());
    let buckets = (-5..).zip([counts.referred].into_iter().chain(buckets));
    let detail = counts.detail.iter().map(|it| (it.disposition, it.count));
    buckets.chain(detail).filter(|(_, count)| *count != 0).collect()
}

fn key(key: &[reporting::DimensionValue]) -> Vec<String> {
    key.iter().map(|it| it.value.clone()).collect()
}

/// A report as its rows say, without rows of zeros.
fn rows(report: &reporting::Report) -> BTreeMap<Vec<String>, Numbers> {
    report.rows.iter().map(|row| (key(&row.key), numbers(row.counts.as_ref().unwrap()))).collect()
}

/// What a reader of a report makes of what it sees.
#[derive(Default)]
struct Figures {
    rows: BTreeMap<Vec<String>, Numbers>,
    token: Option<String>,
    /// For each message: how far it said the logs were read, and how many referrals the figures held.
    told: Vec<(Vec<Revision>, i64)>,
    own: i64,
}

impl Figures {
    fn take(&mut self, message: reporting::WatchReportResponse) {
        use reporting::watch_report_response::Change;
        assert_eq!(message.checkpoint, message.change.is_none());
        match message.change {
            Some(Change::Snapshot(report)) => {
                assert_eq!(self.token, None, "a snapshot that was not asked for");
                self.rows = rows(&report);
            }
            Some(Change::Delta(delta)) => {
                assert!(!delta.rows.is_empty(), "a change of nothing");
                for row in delta.rows {
                    let known = self.rows.entry(key(&row.key)).or_default();
                    for (number, count) in numbers(row.counts.as_ref().unwrap()) {
                        *known.entry(number).or_default() += count;
                    }
                    known.retain(|_, count| *count != 0);
                    assert!(known.values().all(|count| *count > 0), "fewer than none: {known:?}");
                }
                self.rows.retain(|_, numbers| !numbers.is_empty());
            }
            None => {}
        }
        let progress = message.progress.unwrap_or_default().revisions;
        let progress = progress.iter().map(|text| Revision::decode(text).unwrap()).collect::<Vec<_>>();
        let own = progress.iter().find(|it| it.log == "reporting").map_or(self.own, |it| it.position);
        assert!(own >= self.own, "the stream went back");
        self.own = own;
        let referred = self.rows.values().filter_map(|numbers| numbers.get(&-5)).sum();
        self.told.push((progress, referred));
        self.token = Some(message.resume_token);
    }

    fn reached(&self, targets: &[Revision]) -> bool {
        self.told.last().is_some_and(|(progress, _)| {
            targets
                .iter()
                .all(|target| progress.iter().any(|it| it.log == target.log && it.position >= target.position))
        })
    }
}

/// Watches a report; drops the stream at random and opens it again where it was.
async fn watch_report(
    world: World,
    organisation: &'static str,
    mut targets: watch::Receiver<Option<Vec<Revision>>>,
    seed: u64,
) -> Figures {
    use reporting::watch_report_request::Start;
    let mut random = StdRng::seed_from_u64(seed);
    let mut figures = Figures::default();
    loop {
        let (number, url) = world.server();
        let start = figures.token.clone().map_or(Start::Snapshot(true), Start::ResumeToken);
        let request =
            reporting::WatchReportRequest { start: Some(start), definition: Some(today()), at_least: Vec::new() };
        let patience = random.random_range(1..20);
        let followed = async || {
            let mut stream = client(&url, organisation).reports().watch_report(request).await?.into_inner();
            for _ in 0..patience {
                if targets.borrow().as_ref().is_some_and(|targets| figures.reached(targets)) {
                    return Ok(true);
                }
                tokio::select! {
                    message = stream.message() => figures.take(message?.unwrap_or_else(|| panic!("a stream ended in silence"))),
                    _ = targets.changed(), if targets.borrow().is_none() => {}
                }
            }
            Ok::<_, tonic::Status>(false)
        };
        match followed().await {
            Ok(true) => return figures,
            Ok(false) => {}
            Err(status) if portreeve_api::watch::is_retryable(&status) => world.after(number).await,
            Err(status) => panic!("{organisation}: {status:?}"),
        }
    }
}

async fn history(database: &Database, seed: u64) {
    let clock = Arc::new(portreeve_tests::ManualClock::at("2020-09-03T09:00:00Z".parse().unwrap()));
    let options = Options::default().clock(&clock);
    let mut server = Server::start(database, options.clone()).await;
    let operator = server.client("operators/op");
    sample::register(&operator).await;
    for platform in ["harbourbook", "chirrup"] {
        sample::clause(&operator, platform, "fees").await;
    }
    let (place, where_it_is) = watch::channel((0, server.url()));
    let (steps, made) = watch::channel(0);
    let (end, ends) = watch::channel(None);
    let (targets, target) = watch::channel(None);
    let world = World { server: where_it_is, steps: made, end: ends };
    let steps = Arc::new(steps);

    let all = Tap::cases("services/reporting", "platforms/-");
    let inbox = Tap::cases("platforms/chirrup", "platforms/chirrup");
    let readers = [
        Reader::new(all.clone(), Style::Steady).dense(),
        Reader::new(all.clone(), Style::Restless).dense(),
        Reader::new(all.clone(), Style::Slow).dense(),
        Reader::new(all.clone(), Style::Paging).dense(),
        Reader::new(inbox.clone(), Style::Restless),
        Reader::new(Tap::cases("agencies/nca", "platforms/-"), Style::Slow),
        Reader::new(all, Style::Restless).dense().begins(First::Snapshot, Expiry::Snapshot),
        Reader::new(inbox.clone(), Style::Absent).begins(First::Snapshot, Expiry::Snapshot),
        Reader::new(inbox, Style::Absent).begins(First::Earliest, Expiry::Oldest),
        Reader::new(Tap::decisions("services/reporting", "platforms/-"), Style::Restless),
        Reader::new(Tap::decisions("platforms/chirrup", "platforms/chirrup"), Style::Paging),
        Reader::new(Tap::decisions("agencies/nca", "platforms/-"), Style::Slow),
    ];
    let mut reading = Vec::new();
    for (number, reader) in (0_u64..).zip(readers.clone()) {
        reading.push(tokio::spawn(reader.read(world.clone(), seed * 100 + number)));
    }
    let mut watching = Vec::new();
    for (number, organisation) in (50_u64..).zip(["oversightBodies/hac", "agencies/nca", "platforms/chirrup"]) {
        watching.push((
            organisation,
            tokio::spawn(watch_report(world.clone(), organisation, target.clone(), seed * 100 + number)),
        ));
    }
    let mut writing = JoinSet::new();
    for writer in 0..4 {
        writing.spawn(live(world.clone(), Arc::clone(&steps), writer, seed));
    }

    let mut random = StdRng::seed_from_u64(seed);
    let mut made = steps.subscribe();
    for (turn, until) in [30_u64, 70, 110, 150].into_iter().enumerate() {
        let _ = made.wait_for(|made| *made >= until).await.unwrap();
        let strict = readers.iter().filter(|reader| reader.expiry == Expiry::Never);
        let floor = strict.map(|reader| reader.reached.load(Ordering::SeqCst)).min().unwrap();
        server.compact(Part::Decision, floor).await;
        // What is compacted is still there for those that follow.
        let head = server.head(Part::Referral).await;
        server.compact(Part::Referral, random.random_range(0..=head)).await;
        if turn % 2 == 0 {
            server.kill().await;
        } else {
            server.stop_within(Duration::from_secs(1)).await;
        }
        server = Server::start(database, options.clone()).await;
        place.send_modify(|(number, url)| (*number, *url) = (*number + 1, server.url()));
    }
    let (lives, revisions): (Vec<_>, Vec<_>) = writing.join_all().await.into_iter().unzip();
    let (lives, revisions) = (lives.concat_all(), revisions.concat());
    let last = newest(&revisions);
    let at_least = last.iter().map(Revision::encode).collect::<Vec<_>>();

    // The decision service has followed to the end of the referral log: its own log ends where it ends now.
    let request = decision::ListCasesRequest {
        parent: "platforms/-".into(),
        page_size: 1_000,
        at_least: at_least.clone(),
        ..Default::default()
    };
    let there = server.client("services/reporting").decisions().list_cases(request).await.unwrap().into_inner();
    let head = server.head(Part::Decision).await;
    end.send_replace(Some(head));
    targets.send_replace(Some(last));
    let mut traces = Vec::new();
    for reading in reading {
        traces.push(reading.await.unwrap());
    }
    let sent = referrals(&server).await;
    judge(head, &lives, &there.cases, &readers, &traces, &sent);
    assert!(traces.iter().any(|trace| trace.expired > 0), "no reader's token ever expired");

    // Each watched report is the report.
    for (organisation, watching) in watching {
        let figures = watching.await.unwrap();
        let definition = reporting::ReportDefinition { as_of_date: "2020-09-03".into(), ..today() };
        let report = server.client(organisation).report(definition, &at_least).await.unwrap();
        assert_eq!(figures.rows, rows(&report), "{organisation}");
        if organisation != "oversightBodies/hac" {
            continue;
        }
        assert_eq!(report.total.unwrap().counts.unwrap().referred, i64::try_from(lives.len()).unwrap());
        for (progress, referred) in &figures.told {
            let through = progress.iter().find(|it| it.log == "referral").map_or(0, |it| it.position);
            let known = sent.values().filter(|position| **position <= through).count();
            assert!(*referred >= i64::try_from(known).unwrap(), "{referred} referred, although read to {through}");
        }
    }
}

trait ConcatAll<T> {
    fn concat_all(self) -> Vec<T>;
}

impl<T> ConcatAll<T> for Vec<Vec<T>> {
    fn concat_all(self) -> Vec<T> {
        self.into_iter().flatten().collect()
    }
}

/// The case of every referral with the referral's place in its log.
async fn referrals(server: &Server) -> BTreeMap<String, i64> {
    let mut sent = BTreeMap::new();
    let mut token = None;
    loop {
        use referral::list_referral_changes_request::Start;
        let request = referral::ListReferralChangesRequest {
            parent: "agencies/-".into(),
            start: Some(token.map_or(Start::Earliest(true), Start::ResumeToken)),
            page_size: 1_000,
            ..Default::default()
        };
        let mut client = server.client("services/reporting").referrals();
        let page = client.list_referral_changes(request).await.unwrap().into_inner();
        for change in page.changes {
            if let Some(referral::referral_change::Change::Created(referral)) = change.change {
                sent.insert(sample::case_of(&referral), i64::try_from(change.position).unwrap());
            }
        }
        if page.caught_up {
            return sent;
        }
        token = Some(page.resume_token);
    }
}

fn judge(
    head: i64,
    lives: &[Life],
    there: &[decision::Case],
    readers: &[Reader],
    traces: &[Trace],
    sent: &BTreeMap<String, i64>,
) {
    let truth = &traces[0];
    assert_eq!(truth.positions(), (1..=head).collect::<Vec<_>>());
    // Each referral opened one case, and what was answered happened to it, once and in order.
    assert_eq!((sent.len(), there.len()), (lives.len(), lives.len()));
    for life in lives {
        let happened =
            truth.items.iter().filter(|item| item.name == life.case).map(|item| item.what).collect::<Vec<_>>();
        let count = |what| happened.iter().filter(|it| **it == what).count();
        assert_eq!(happened[0], "opened", "{happened:?}");
        assert_eq!((count("opened"), count("withdrawn")), (1, usize::from(life.withdrawn)), "{happened:?}");
        assert_eq!(count("decided"), life.decisions as usize, "{happened:?}");
        assert!(count("acknowledged") <= 1 && (life.decisions == 0 || happened[1] == "acknowledged"), "{happened:?}");
        assert!(!life.withdrawn || happened.last() == Some(&"withdrawn"), "{happened:?}");
    }

    let there = there.iter().map(|case| (case.name.as_str(), format!("{case:?}"))).collect::<BTreeMap<_, _>>();
    for (reader, trace) in readers.iter().zip(traces) {
        let label = &reader.label;
        let (organisation, parent, all) = match &reader.tap {
            Tap::Cases { organisation, parent, .. } => (organisation, parent, true),
            Tap::Decisions { organisation, parent } => (organisation, parent, false),
            Tap::Referrals { .. } => continue,
        };
        let own = |name: &str, state: &str| {
            let platform = parent == "platforms/-" || name.starts_with(parent.as_str());
            let case = name.contains("/cases/");
            platform
                && (!case
                    || !organisation.starts_with("agencies/")
                    || state.contains(&format!("agency: \"{organisation}\"")))
        };
        let missed =
            |position: i64| trace.missed.iter().any(|(after, through)| (after + 1..=*through).contains(&position));
        let seen = trace.positions();
        let first = if reader.first == First::Earliest { 0 } else { seen.first().copied().unwrap_or(i64::MAX) };
        let expected = truth.items.iter().filter(|item| item.position >= first && own(&item.name, &item.state));
        let expected = expected.filter(|item| all || item.what == "decided");
        let expected = expected.map(|item| item.position).filter(|position| !missed(*position));
        assert_eq!(seen, expected.collect::<Vec<_>>(), "{label}");
        if all && (trace.expired == 0 || reader.expiry == Expiry::Snapshot) {
            let expected = there.iter().filter(|(name, state)| own(name, state));
            let expected =
                expected.map(|(name, state)| (*name, as_shown_to(organisation, state))).collect::<BTreeMap<_, _>>();
            let view = trace.view_of("/cases/");
            assert_eq!(view.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{label}");
            for (name, state) in expected {
                assert_eq!(*view[name], state, "{label}");
            }
        }
        // What it was told of the referral log had come to it as cases.
        if reader.dense && reader.first == First::Earliest {
            let mut opened = BTreeSet::new();
            let mut items = trace.items.iter();
            let mut taken = 0;
            for (others, delivered) in &trace.progress {
                for item in items.by_ref().take(delivered - taken) {
                    opened.insert(item.name.as_str());
                }
                taken = *delivered;
                let through = others.iter().find(|it| it.log == "referral").map_or(0, |it| it.position);
                for (case, _) in sent.iter().filter(|(_, position)| **position <= through) {
                    assert!(opened.contains(case.as_str()), "{label}: read to {through}, yet {case} did not come");
                }
            }
        }
    }
}

/// A report's token expires as others do; and the figures begin anew.
async fn a_report_that_is_watched_expires_and_begins_anew(database: &Database) {
    use reporting::watch_report_request::Start;
    let (server, _clock) = Server::suite_at(database, "2020-09-03T09:00:00Z").await;
    let operator = server.client("operators/op");
    sample::register(&operator).await;
    let nca = server.client("agencies/nca");
    let open = |start: Start| {
        let mut reports = nca.reports();
        let request =
            reporting::WatchReportRequest { start: Some(start), definition: Some(today()), at_least: Vec::new() };
        async move { Ok::<_, tonic::Status>(reports.watch_report(request).await?.into_inner()) }
    };
    let mut figures = Figures::default();
    let mut stream = open(Start::Snapshot(true)).await.unwrap();
    figures.take(stream.message().await.unwrap().unwrap());
    let early = figures.token.clone().unwrap();
    let mut last = String::new();
    for tag in 0..10 {
        last = sample::refer(&nca, "nca", "chirrup", &tag.to_string()).await.1;
    }
    let target = vec![Revision::decode(&last).unwrap()];
    while !figures.reached(&target) {
        figures.take(within(10, "the next figures", stream.message()).await.unwrap().unwrap());
    }
    assert_eq!(figures.rows.values().map(|numbers| numbers[&-5]).sum::<i64>(), 10);
    // Followed by the decision service, too; then nothing more comes, and everything is compacted.
    let request = decision::ListCasesRequest {
        parent: "platforms/-".into(),
        at_least: vec![last.clone()],
        ..decision::ListCasesRequest::default()
    };
    let reached = nca.decisions().list_cases(request).await.unwrap().into_inner().revisions;
    let definition = reporting::ReportDefinition { as_of_date: "2020-09-03".into(), ..today() };
    let report = nca.report(definition.clone(), &reached).await.unwrap();
    assert_eq!(rows(&report), figures.rows);
    let head = server.head(Part::Reporting).await;
    server.compact(Part::Reporting, head).await;
    let expired = refusal(&open(Start::ResumeToken(early)).await.unwrap_err());
    assert_eq!(expired.reason, "RESUME_TOKEN_EXPIRED");
    assert!(open(Start::ResumeToken(expired.metadata["oldest"].clone())).await.is_ok());
    let mut again = Figures::default();
    let mut stream = open(Start::Snapshot(true)).await.unwrap();
    again.take(stream.message().await.unwrap().unwrap());
    assert_eq!(again.rows, figures.rows);
}
