//! The golden scenarios: what Portreeve is for, told as a story over the public API.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use portreeve_api::common::v1::{Ground, TargetKind, WatchStart, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::Timestamp;
use portreeve_tests::{Client, Database, ManualClock, Part, Server, on_both_engines, refusal, sample};
use referral::import_result::Result as Imported;
use tokio::task::JoinSet;
use tonic::Code;

on_both_engines!(
    one_the_cohort_of_the_written_evidence,
    two_a_clause_changes_and_the_rejections_that_rested_on_it_are_found,
    five_an_agreement_ends_with_open_streams_and_155_undecided,
    seven_a_retry_storm_returns_the_same_referral,
    eight_an_amended_decision_restates_the_report,
    each_sees_its_own_and_no_more,
    what_is_written_is_read_across_services,
    facts_may_be_told_late_and_never_early,
);

/// The published figures, by period.
fn published(period: &str) -> [i64; 4] {
    let text = include_str!("../data/nca_oic_published_figures.csv");
    let mut rows = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let row = rows.records().map(Result::unwrap).find(|row| row[0].starts_with(period)).unwrap();
    [1, 2, 3, 4].map(|column| row[column].parse().unwrap())
}

/// An invented spread of the published totals over platforms, days and clauses.
struct Spread {
    closed: i64,
    not_in_breach: i64,
    undecided: i64,
}

const NOON: i64 = 12 * 3_600_000_000;

fn day(date: &str, plus: i64) -> Timestamp {
    let start: Timestamp = date.parse().unwrap();
    start.plus_micros(plus * 86_400_000_000 + NOON)
}

/// The committee's cohort is referred and decided; gives the cases that were closed, with the platform of each, and the
/// revisions of the last writes.
async fn play(client: &Client, spread: &Spread) -> (Vec<String>, Vec<String>) {
    sample::register(client).await;
    let mut citations = Vec::new();
    for (platform, _) in sample::PLATFORMS {
        citations.push(sample::clause(client, platform, "solicitation").await.0);
    }

    // The agency refers 1,218 pages from January to May 2020, by a stream.
    let total = spread.closed + spread.not_in_breach + spread.undecided;
    let items = (0..total).map(|number| {
        let (platform, _) = sample::PLATFORMS[usize::try_from(number % 3).unwrap()];
        let ground = if number % 2 == 0 { Ground::OfferTransportSea } else { Ground::SolicitationOfService };
        let draft = referral::ReferralDraft {
            ground: ground.into(),
            occurred_at: Some(sample::wire_time(day("2020-01-01", number % 152))),
            ..sample::draft(platform, &number.to_string())
        };
        referral::ImportItem { request_id: sample::request_id(&format!("page {number}")), draft: Some(draft) }
    });
    let items = items.collect::<Vec<_>>();
    let messages = items
        .chunks(200)
        .map(|items| referral::ImportReferralsRequest { parent: "agencies/nca".into(), items: items.to_vec() });
    let messages = messages.collect::<Vec<_>>();
    let mut nca = client.acting("agencies/nca").roles(&["officer", "import"]).referrals();
    let mut replies = nca.import_referrals(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let (mut names, mut referred) = (Vec::new(), String::new());
    while let Some(reply) = replies.message().await.unwrap() {
        for result in reply.results {
            match result.result.unwrap() {
                Imported::Imported(imported) => names.push(imported.name),
                Imported::Error(error) => panic!("{error:?}"),
            }
        }
        referred = reply.revision;
    }
    assert_eq!(names.len(), usize::try_from(total).unwrap());

    // Each platform acknowledges what it received, and decides most of it.
    let (mut closed, mut revisions) = (Vec::new(), vec![referred.clone()]);
    for (number, (platform, _)) in sample::PLATFORMS.into_iter().enumerate() {
        let mut decisions = client.acting(&format!("platforms/{platform}")).roles(&["reviewer", "import"]).decisions();
        let own = names.iter().enumerate().skip(number).step_by(3);
        let own = own.map(|(number, name)| {
            let (_, id) = name.rsplit_once('/').unwrap();
            (i64::try_from(number).unwrap(), format!("platforms/{platform}/cases/{id}"))
        });
        let own = own.collect::<Vec<_>>();
        // It waits until its inbox holds all of it.
        let request = decision::ListCasesRequest {
            parent: format!("platforms/{platform}"),
            page_size: 1_000,
            at_least: vec![referred.clone()],
            ..decision::ListCasesRequest::default()
        };
        let inbox = decisions.list_cases(request).await.unwrap().into_inner().cases;
        assert_eq!(
            inbox.iter().map(|case| &case.name).collect::<BTreeSet<_>>(),
            own.iter().map(|(_, case)| case).collect()
        );
        for (number, chunk) in own.chunks(500).enumerate() {
            let cases = chunk.iter().map(|(_, case)| case.clone()).collect::<Vec<_>>();
            let request = decision::AcknowledgeCasesRequest {
                occurred_at: Some(sample::wire_time(day("2020-06-01", 0))),
                ..sample::acknowledge(platform, &cases, &format!("acknowledge {platform} {number}"))
            };
            let reply = decisions.acknowledge_cases(request).await.unwrap().into_inner();
            for result in reply.results {
                assert!(matches!(result.result, Some(decision::acknowledge_result::Result::Receipt(_))), "{result:?}");
            }
        }
        let mut items = Vec::new();
        for (page, case) in own {
            let draft = if page < spread.closed {
                closed.push(case.clone());
                sample::closed()
            } else if page < spread.closed + spread.not_in_breach {
                sample::permitted(&citations[number])
            } else {
                continue;
            };
            items.push(decision::BatchDecisionItem {
                case,
                decision: Some(decision::DecisionDraft {
                    decided_at: Some(sample::wire_time(day("2020-06-02", page % 60))),
                    ..draft
                }),
                expected_version: Some(0),
                request_id: sample::request_id(&format!("decide {page}")),
            });
        }
        for chunk in items.chunks(500) {
            let request = decision::BatchRecordDecisionsRequest {
                parent: format!("platforms/{platform}"),
                items: chunk.to_vec(),
            };
            let reply = decisions.batch_record_decisions(request).await.unwrap().into_inner();
            for result in reply.results {
                assert!(
                    matches!(result.result, Some(decision::batch_decision_result::Result::Recorded(_))),
                    "{result:?}"
                );
            }
            revisions.push(reply.revision);
        }
    }
    (closed, revisions)
}

fn cohort() -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2020-05-31".into(),
        as_of_date: "2020-09-03".into(),
        ..reporting::ReportDefinition::default()
    }
}

fn counts(row: &reporting::ReportRow) -> [i64; 5] {
    let counts = row.counts.as_ref().unwrap();
    let buckets = [counts.closed, counts.not_in_breach, counts.undecided, counts.other];
    assert_eq!(counts.referred, buckets.iter().sum::<i64>(), "the buckets always add up to referred");
    assert_eq!(counts.referred, counts.detail.iter().map(|detail| detail.count).sum::<i64>());
    [counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other]
}

fn of_the_evidence() -> (Spread, [i64; 5]) {
    let [referred, closed, not_in_breach, undecided] = published("2020-01..2020-05 (as of 2020-09-03)");
    (Spread { closed, not_in_breach, undecided }, [referred, closed, not_in_breach, undecided, 0])
}

async fn suite(database: &Database) -> (Server, std::sync::Arc<ManualClock>, Client) {
    let (server, clock) = Server::suite_at(database, "2020-09-03T09:00:00Z").await;
    let client = server.client("operators/op");
    (server, clock, client)
}

/// (1) Of the pages that the agency referred from January to May 2020, how many were closed, left open as not in breach, and
/// undecided on 3 September; by platform; how old the undecided are; and what the median hides.
async fn one_the_cohort_of_the_written_evidence(database: &Database) {
    let (_server, _clock, client) = suite(database).await;
    let (spread, expected) = of_the_evidence();
    assert_eq!(expected, [1_218, 578, 485, 155, 0]);
    let (_, revisions) = play(&client, &spread).await;

    // The committee asks.
    let committee = client.acting("oversightBodies/hac");
    let by_platform =
        reporting::ReportDefinition { dimensions: vec![reporting::Dimension::Platform.into()], ..cohort() };
    let report = committee.report(by_platform, &revisions).await.unwrap();
    let total = report.total.as_ref().unwrap();
    assert_eq!(counts(total), expected);
    assert_eq!(report.rows.len(), 3);
    let sums = report.rows.iter().map(counts).fold([0; 5], |sums, row| std::array::from_fn(|n| sums[n] + row[n]));
    assert_eq!(sums, expected, "the rows add up to the total");

    // Every undecided page is more than 90 days old, and counted in one age.
    let ages = total.undecided_ages.as_ref().unwrap();
    assert_eq!(ages.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 155);
    assert_eq!(ages.buckets.iter().filter(|age| age.from_days < 90).map(|age| age.count).sum::<u64>(), 0);
    // The median of the decided alone is not the median of all.
    let times = total.decision_times.as_ref().unwrap();
    assert_eq!((times.n, times.decided), (1_218, 1_063));
    assert!(times.censored_median_days > times.decided_only_median_days);

    // Why were 485 left open? Each names the clause that permits it.
    let by_clause = reporting::ReportDefinition {
        dimensions: vec![reporting::Dimension::Disposition.into(), reporting::Dimension::Clause.into()],
        ..cohort()
    };
    let report = committee.report(by_clause, &[]).await.unwrap();
    let left_open = report.rows.iter().filter(|row| row.key[0].value == "PERMITTED_BY_POLICY");
    let (mut pages, mut clauses) = (0, BTreeSet::new());
    for row in left_open {
        pages += counts(row)[2];
        clauses.insert(row.key[1].value.clone());
    }
    assert_eq!(pages, 485);
    let expected_clauses = sample::PLATFORMS.map(|(id, _)| format!("platforms/{id}/clauses/solicitation@1"));
    assert_eq!(clauses, BTreeSet::from(expected_clauses));

    // At the end of May, nothing had been decided; before the year, nothing referred.
    let early = reporting::ReportDefinition { as_of_date: "2020-05-31".into(), ..cohort() };
    assert_eq!(counts(&committee.report(early, &[]).await.unwrap().total.unwrap()), [1_218, 0, 0, 1_218, 0]);
    let before = reporting::ReportDefinition { as_of_date: "2019-12-31".into(), ..cohort() };
    assert_eq!(counts(&committee.report(before, &[]).await.unwrap().total.unwrap()), [0; 5]);

    // The same question gives the same bytes.
    let known = reporting::ReportDefinition { known_at_date: "2020-09-03".into(), ..cohort() };
    let once = committee.report(known.clone(), &[]).await.unwrap();
    let again = committee.report(known, &[]).await.unwrap();
    assert_eq!((&once.digest, &once.total), (&again.digest, &again.total));
}

/// What a partner's streams of referrals, cases and decisions have sent.
struct Streams {
    referrals: tonic::Streaming<referral::WatchReferralsResponse>,
    cases: tonic::Streaming<decision::WatchCasesResponse>,
    decisions: tonic::Streaming<decision::WatchDecisionsResponse>,
}

impl Streams {
    /// Opens the three with a snapshot of what an agency referred.
    async fn open(client: &Client, at_least: &[String]) -> Self {
        let of = vec!["agencies/nca".to_owned()];
        let start = Some(WatchStart { start: Some(watch_start::Start::Snapshot(true)) });
        let parent = "platforms/-".to_owned();
        let request = referral::WatchReferralsRequest {
            parent: of[0].clone(),
            start: start.clone(),
            at_least: at_least[..1].to_vec(),
            filter: None,
        };
        let referrals = client.referrals().watch_referrals(request).await.unwrap().into_inner();
        let filter = Some(decision::CaseFilter { agencies: of.clone(), ..decision::CaseFilter::default() });
        let at_least = at_least.to_vec();
        let (parent_of_cases, start_of_cases) = (parent.clone(), start.clone());
        let request = decision::WatchCasesRequest {
            parent: parent_of_cases,
            start: start_of_cases,
            filter,
            at_least: at_least.clone(),
        };
        let cases = client.decisions().watch_cases(request).await.unwrap().into_inner();
        let filter = Some(decision::DecisionFilter { agencies: of, ..decision::DecisionFilter::default() });
        let request = decision::WatchDecisionsRequest { parent, start, filter, at_least };
        let decisions = client.decisions().watch_decisions(request).await.unwrap().into_inner();
        Self { referrals, cases, decisions }
    }

    /// How many rows each has sent, once its snapshot is whole; and the last token of the cases.
    async fn snapshot(&mut self) -> ([usize; 3], String) {
        let (mut rows, mut token) = ([0; 3], String::new());
        loop {
            let message = self.referrals.message().await.unwrap().unwrap();
            rows[0] += message.changes.len();
            if message.snapshot_complete {
                break;
            }
        }
        loop {
            let message = self.cases.message().await.unwrap().unwrap();
            rows[1] += message.changes.len();
            token.clone_from(&message.resume_token);
            if message.snapshot_complete {
                break;
            }
        }
        loop {
            let message = self.decisions.message().await.unwrap().unwrap();
            rows[2] += message.changes.len();
            if message.snapshot_complete {
                return (rows, token);
            }
        }
    }

    /// How each ends. Nothing more is sent before it.
    async fn ends(mut self) -> [tonic::Status; 3] {
        let first = loop {
            match self.referrals.message().await {
                Ok(message) => assert!(message.unwrap().changes.is_empty()),
                Err(status) => break status,
            }
        };
        let second = loop {
            match self.cases.message().await {
                Ok(message) => assert!(message.unwrap().changes.is_empty()),
                Err(status) => break status,
            }
        };
        let third = loop {
            match self.decisions.message().await {
                Ok(message) => assert!(message.unwrap().changes.is_empty()),
                Err(status) => break status,
            }
        };
        [first, second, third]
    }
}

/// The agency's candidates for replay.
fn marked_of_nca() -> decision::CaseFilter {
    let agencies = vec!["agencies/nca".to_owned()];
    decision::CaseFilter { agencies, replay_candidates: true, ..decision::CaseFilter::default() }
}

/// (2) In 2020 the platforms left 485 pages open because a clause permitted asking to be smuggled. From 12 December 2022 on the
/// clause of one of them bans it: on that day, and with nobody asking, its rejections are found again, by the agency, the
/// platform and a stream; nobody else's.
async fn two_a_clause_changes_and_the_rejections_that_rested_on_it_are_found(database: &Database) {
    let (_server, clock, client) = suite(database).await;
    let (spread, _) = of_the_evidence();
    let (_, mut revisions) = play(&client, &spread).await;
    let (platform, _) = sample::PLATFORMS[0];
    // A partner may keep what was shared until a week after.
    let terms = referral::Agreement {
        after_end: referral::AfterEnd::Keep.into(),
        ..sample::agreement(["nca", "bka"], "2022-12-20")
    };
    revisions[0] = sample::agree(&client, terms, "keep").await.1;
    let partner = client.acting("agencies/bka").purpose("investigation");
    let nca = client.acting("agencies/nca");
    let candidates = async |of: &Client, parent: &str| {
        let request = decision::ListCasesRequest {
            parent: parent.into(),
            filter: Some(marked_of_nca()),
            page_size: 1_000,
            at_least: revisions.clone(),
            ..decision::ListCasesRequest::default()
        };
        of.decisions().list_cases(request).await.unwrap().into_inner().cases
    };
    let request = decision::WatchCasesRequest {
        parent: "platforms/-".into(),
        start: Some(sample::start(watch_start::Start::Snapshot(true))),
        filter: Some(marked_of_nca()),
        at_least: revisions.clone(),
    };
    let mut stream = nca.decisions().watch_cases(request).await.unwrap().into_inner();
    let mut next = async |wanted: usize| {
        let told = async {
            let mut told = Vec::new();
            while told.len() < wanted {
                let message = stream.message().await.unwrap().unwrap();
                told.extend(message.changes.into_iter().map(|change| match change.change {
                    Some(decision::case_change::Change::ReplayChanged(case)) => (case, "replay"),
                    Some(decision::case_change::Change::Decided(case)) => (case, "decided"),
                    other => panic!("{other:?}"),
                }));
            }
            told
        };
        portreeve_tests::within(60, "the candidates", told).await
    };

    // The platform says so beforehand. Until the day comes, the clause permits what it did.
    let clause = format!("platforms/{platform}/clauses/solicitation");
    let change = "2022-12-12T00:00:00Z";
    clock.set("2022-12-01T00:00:00Z".parse().unwrap());
    let mut editor = client.acting(&format!("platforms/{platform}")).policies();
    let version = decision::ClauseVersion {
        title: "Human exploitation".into(),
        text_digest: "1".repeat(64),
        effective_from: Some(sample::time(change)),
        ends_permission_of: vec![1],
        ..decision::ClauseVersion::default()
    };
    let request = decision::AddClauseVersionRequest {
        parent: clause.clone(),
        clause_version: Some(version),
        request_id: sample::request_id("asking is banned"),
    };
    editor.add_clause_version(request).await.unwrap();
    clock.set("2022-12-11T23:59:59.999999Z".parse().unwrap());
    assert_eq!(candidates(&nca, "platforms/-").await, []);

    clock.set(change.parse().unwrap());
    let left_open = (spread.closed..spread.closed + spread.not_in_breach).filter(|page| page % 3 == 0).count();
    let told = next(left_open).await;
    let under = Some(decision::ReplayCandidate {
        under: Some(decision::ClauseCitation { clause: clause.clone(), version: 2 }),
        since: Some(sample::time(change)),
    });
    assert!(told.iter().all(|(case, what)| *what == "replay" && case.replay_candidate == under), "{told:?}");
    let names = told.iter().map(|(case, _)| case.name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), left_open, "each is told once");
    let reviewer = client.acting(&format!("platforms/{platform}"));
    for of in [&nca, &reviewer, &partner] {
        let listed = candidates(of, "platforms/-").await;
        assert_eq!(listed.iter().map(|case| case.name.clone()).collect::<BTreeSet<_>>(), names);
    }
    let (other, _) = sample::PLATFORMS[1];
    assert_eq!(candidates(&client.acting(&format!("platforms/{other}")), "platforms/-").await, []);

    // The platform looks at one of them again. It is no candidate any more, and its first decision stays what it was.
    let case = names.first().unwrap();
    let cause = decision::DecisionCause { kind: decision::CauseKind::ClauseChange.into(), reference: String::new() };
    let draft = decision::DecisionDraft {
        cause: Some(cause),
        ..sample::later(decision::DecisionKind::Amended, sample::closed())
    };
    reviewer.decisions().record_decision(sample::record(case, draft, "again")).await.unwrap();
    let told = next(1).await;
    assert!(
        told.iter().all(|(told, what)| told.name == *case && *what == "decided" && told.replay_candidate.is_none())
    );
    assert_eq!(candidates(&nca, "platforms/-").await.len(), left_open - 1);
    let report = nca.report(cohort(), &revisions).await.unwrap();
    assert_eq!(counts(&report.total.unwrap()), [1_218, 578, 485, 155, 0], "as of 2020 nothing has changed");

    // A third version permits it again.
    let version = decision::ClauseVersion {
        title: "Human exploitation".into(),
        text_digest: "2".repeat(64),
        effective_from: Some(sample::time("2023-01-01")),
        ..decision::ClauseVersion::default()
    };
    let request = decision::AddClauseVersionRequest {
        parent: clause,
        clause_version: Some(version),
        request_id: sample::request_id("asking is permitted"),
    };
    clock.set("2023-01-01".parse().unwrap());
    editor.add_clause_version(request).await.unwrap();
    let told = next(left_open - 1).await;
    assert!(told.iter().all(|(told, what)| *what == "replay" && told.replay_candidate.is_none()));
    assert_eq!(candidates(&nca, "platforms/-").await, []);

    // Of what is kept nothing says that it was a candidate, as nobody would be told when it ceases to be one.
    assert_eq!(candidates(&partner, "platforms/-").await, []);
    let kept = async |filter: decision::CaseFilter| {
        use decision::list_case_changes_request::Start;
        let (mut start, mut changes) = (Start::Earliest(true), Vec::new());
        loop {
            let request = decision::ListCaseChangesRequest {
                parent: "platforms/-".into(),
                filter: Some(filter.clone()),
                start: Some(start),
                page_size: 1_000,
                at_least: revisions.clone(),
            };
            let reply = partner.decisions().list_case_changes(request).await.unwrap().into_inner();
            changes.extend(reply.changes);
            if reply.caught_up {
                return changes;
            }
            start = Start::ResumeToken(reply.resume_token);
        }
    };
    let all = kept(decision::CaseFilter { agencies: vec!["agencies/nca".into()], ..Default::default() }).await;
    let of = |change: &decision::CaseChange, kind: fn(&decision::case_change::Change) -> bool| {
        change.change.as_ref().is_some_and(kind)
    };
    let decided =
        |change: &&decision::CaseChange| of(change, |it| matches!(it, decision::case_change::Change::Decided(_)));
    let marked =
        |change: &decision::CaseChange| of(change, |it| matches!(it, decision::case_change::Change::ReplayChanged(_)));
    assert_eq!(i64::try_from(all.iter().filter(decided).count()), Ok(spread.closed + spread.not_in_breach + 1));
    assert!(!all.iter().any(marked), "before or after the end");
    assert_eq!(kept(marked_of_nca()).await, []);
}

/// (5) The access of two partners ends with the year, at 23:00 UTC, while their streams are open and 155 pages are
/// undecided. No job runs: each stream ends with the time at which the agreement did. What was shared stays as it stood for
/// the partner who may keep it, and is out of reach for the other, until the agencies agree anew.
async fn five_an_agreement_ends_with_open_streams_and_155_undecided(database: &Database) {
    let (_server, clock, client) = suite(database).await;
    let (spread, _) = of_the_evidence();
    let (_, mut revisions) = play(&client, &spread).await;
    client.organisations().create_organisation(sample::organisation("agencies/fra", &[])).await.unwrap();
    let terms = |partner: &str, after_end: referral::AfterEnd, until: &str| referral::Agreement {
        after_end: after_end.into(),
        ..sample::agreement(["nca", partner], until)
    };
    let end = "2020-12-31T23:00:00Z";
    let (kept, _) = sample::agree(&client, terms("bka", referral::AfterEnd::Keep, end), "bka").await;
    let (frozen, agreed) = sample::agree(&client, terms("fra", referral::AfterEnd::Freeze, end), "fra").await;
    revisions[0] = agreed;
    let partner = |name: &str| client.acting(&format!("agencies/{name}")).purpose("investigation");
    let undecided = async |of: Client, at_least: &[String]| {
        let request = decision::ListCasesRequest {
            parent: "platforms/-".into(),
            filter: Some(decision::CaseFilter {
                agencies: vec!["agencies/nca".into()],
                statuses: vec![decision::CaseStatus::Received.into()],
                ..decision::CaseFilter::default()
            }),
            page_size: 1_000,
            at_least: at_least.to_vec(),
            ..decision::ListCasesRequest::default()
        };
        of.decisions().list_cases(request).await.map(|reply| reply.into_inner().cases)
    };

    let figures = |known_at: &str| reporting::ReportDefinition {
        known_at_date: known_at.into(),
        filter: Some(reporting::ReportFilter {
            agencies: vec!["agencies/nca".into()],
            ..reporting::ReportFilter::default()
        }),
        ..cohort()
    };

    // A second before the end, everybody still receives, and knows of 155 that nobody has answered.
    clock.set("2020-12-31T22:59:59Z".parse().unwrap());
    let mut open = Vec::new();
    for name in ["bka", "fra"] {
        assert_eq!(undecided(partner(name), &revisions).await.unwrap().len(), 155);
        let report = partner(name).report(figures(""), &revisions).await.unwrap();
        assert_eq!(counts(&report.total.unwrap()), [1_218, 578, 485, 155, 0]);
        let mut streams = Streams::open(&partner(name), &revisions).await;
        let (rows, token) = portreeve_tests::within(60, "the snapshots", streams.snapshot()).await;
        assert_eq!(rows, [1_218, 1_218, 1_063]);
        open.push((name, streams, token));
    }
    let mut own = Streams::open(&client.acting("agencies/nca"), &revisions).await;
    own.snapshot().await;

    clock.set(end.parse().unwrap());
    let mut tokens = Vec::new();
    for ((name, streams, token), agreement) in open.into_iter().zip([&kept, &frozen]) {
        for status in portreeve_tests::within(20, "the end of the streams", streams.ends()).await {
            let refused = refusal(&status);
            assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "AGREEMENT_LAPSED"), "{name}");
            assert_eq!((&refused.metadata["agreement"], refused.metadata["ended_at"].as_str()), (agreement, end));
            assert_eq!(refused.metadata["state"], "LAPSED");
        }
        tokens.push(token);
    }

    // The agency's own streams go on: a platform answers one of the 155, and the agency refers another page.
    clock.set("2021-01-04T10:00:00Z".parse().unwrap());
    let late = undecided(client.acting("agencies/nca"), &[]).await.unwrap();
    assert_eq!(late.len(), 155);
    let case = &late[0];
    let mut platform = client.acting(&case.platform).decisions();
    let answered = platform.record_decision(sample::record(&case.name, sample::closed(), "late")).await.unwrap();
    let (after, referred) = sample::refer(&client, "nca", "chirrup", "after the end").await;
    let later = [referred, answered.into_inner().revision];
    let decided = portreeve_tests::within(20, "the owner's stream", async {
        loop {
            let message = own.decisions.message().await.unwrap().unwrap();
            if let Some(change) = message.changes.first() {
                return change.clone();
            }
        }
    });
    assert!(format!("{:?}", decided.await).contains(&case.name));
    assert_eq!(undecided(client.acting("agencies/nca"), &later).await.unwrap().len(), 154);

    // Who may keep it reads it as it stood; nothing that was learnt later shows, not even of a row that was shared.
    let stood = undecided(partner("bka"), &later).await.unwrap();
    assert_eq!(stood.len(), 155);
    assert!(stood.iter().any(|shown| shown.name == case.name && shown.latest_decision.is_none()));
    let get = referral::GetReferralRequest { name: after.name.clone(), at_least: Vec::new() };
    let status = partner("bka").referrals().get_referral(get.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let changes = decision::ListCaseChangesRequest {
        parent: "platforms/-".into(),
        filter: Some(decision::CaseFilter { agencies: vec!["agencies/nca".into()], ..decision::CaseFilter::default() }),
        start: Some(decision::list_case_changes_request::Start::ResumeToken(tokens[0].clone())),
        page_size: 1_000,
        at_least: later.to_vec(),
    };
    let reply = partner("bka").decisions().list_case_changes(changes).await.unwrap().into_inner();
    assert_eq!((reply.changes.len(), reply.caught_up), (0, true));

    // For whom it is frozen it is out of reach, and so it stays until there is another agreement.
    let refused = refusal(&undecided(partner("fra"), &[]).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), &refused.metadata["agreement"]), ("AGREEMENT_LAPSED", &frozen));
    let refused = refusal(&partner("fra").report(figures("2020-12-30"), &[]).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), &refused.metadata["agreement"]), ("AGREEMENT_LAPSED", &frozen));
    let anew = terms("fra", referral::AfterEnd::Freeze, "2021-12-31T23:00:00Z");
    let (_, agreed) = sample::agree(&client, anew, "anew").await;
    assert_eq!(undecided(partner("fra"), std::slice::from_ref(&agreed)).await.unwrap().len(), 154);
    assert!(partner("fra").referrals().get_referral(get).await.is_ok());

    // Figures are shared as rows are: as they were known, for who keeps them, and anew; and they are what they were.
    let kept = partner("bka").report(figures("2020-12-30"), &later).await.unwrap();
    assert_eq!(counts(&kept.total.unwrap()), [1_218, 578, 485, 155, 0]);
    let refused = refusal(&partner("bka").report(figures(""), &later).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "AGREEMENT_EXCEEDED"));
    let shared = partner("fra").report(figures(""), &[&later[..], &[agreed]].concat()).await.unwrap();
    assert_eq!(counts(&shared.total.unwrap()), [1_218, 578, 485, 155, 0]);
    let report = client.acting("agencies/nca").report(cohort(), &later).await.unwrap();
    assert_eq!(counts(&report.total.unwrap()), [1_218, 578, 485, 155, 0]);
}

/// (7) An officer's client sends a referral, hears nothing, and sends it again; fifty times at once, over many connections.
/// There is one referral, and each answer names it.
async fn seven_a_retry_storm_returns_the_same_referral(database: &Database) {
    let (server, _clock, client) = suite(database).await;
    sample::register(&client).await;
    let before = server.head(Part::Referral).await;
    let request = sample::create("nca", sample::draft("chirrup", "storm"), "storm");
    let mut storm = JoinSet::new();
    for connection in 0..50 {
        let officer = if connection % 5 == 0 { server.client("agencies/nca") } else { client.acting("agencies/nca") };
        let request = request.clone();
        storm.spawn(async move { officer.referrals().create_referral(request).await.unwrap().into_inner() });
    }
    let answers = storm.join_all().await;
    let referrals = answers.iter().map(|answer| format!("{:?}", answer.referral)).collect::<BTreeSet<_>>();
    let revisions = answers.iter().map(|answer| &answer.revision).collect::<BTreeSet<_>>();
    assert_eq!((referrals.len(), revisions.len()), (1, 1), "every answer is the first one's");
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!(server.head(Part::Referral).await, before + 1);

    // The server falls over and comes back: the next retry is still the same referral.
    server.kill().await;
    let server = Server::start(database, portreeve_tests::Options::default()).await;
    let answer = server.client("agencies/nca").referrals().create_referral(request.clone()).await.unwrap().into_inner();
    assert!(answer.replayed);
    assert_eq!(referrals, BTreeSet::from([format!("{:?}", answer.referral)]));

    // The same id for something else is refused, and the first stands.
    let other = referral::CreateReferralRequest { referral: Some(sample::draft("chirrup", "other")), ..request };
    let status = server.client("agencies/nca").referrals().create_referral(other).await.unwrap_err();
    let refused = refusal(&status);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(server.head(Part::Referral).await, before + 1);
}

/// (8) After the figures were published a platform goes back on eight of its decisions. The published report, asked for
/// again as it was known, has not changed by a byte; asked for as known today, it says 570.
async fn eight_an_amended_decision_restates_the_report(database: &Database) {
    let (server, clock, client) = suite(database).await;
    let (spread, expected) = of_the_evidence();
    let (closed, revisions) = play(&client, &spread).await;
    let committee = client.acting("oversightBodies/hac");
    let published = reporting::ReportDefinition { known_at_date: "2020-09-03".into(), ..cohort() };
    let first = committee.report(published.clone(), &revisions).await.unwrap();
    assert_eq!(counts(first.total.as_ref().unwrap()), expected);
    assert!(!first.settled, "the day is not over");

    // The day after, the committee publishes what it was told.
    clock.set("2020-09-04T10:00:00Z".parse().unwrap());
    let mut publish = committee.roles(&["supervisor"]).publications();
    let mut request = reporting::PublishReportRequest {
        title: "Referrals of January to May 2020".into(),
        definition: Some(cohort()),
        small_cell_minimum: 1,
        request_id: sample::request_id("publish"),
        ..reporting::PublishReportRequest::default()
    };
    let given_out = publish.publish_report(request.clone()).await.unwrap().into_inner().publication.unwrap();
    assert_eq!(given_out.version, 1);
    assert_eq!(counts(given_out.report.as_ref().unwrap().total.as_ref().unwrap()), expected);

    // A month later.
    clock.set("2020-10-05T10:00:00Z".parse().unwrap());
    let mut platform = String::new();
    let mut revision = String::new();
    let citation = |platform: &str| decision::ClauseCitation {
        clause: format!("platforms/{platform}/clauses/solicitation"),
        version: 1,
    };
    for case in closed.iter().filter(|case| case.starts_with("platforms/harbourbook")).take(8) {
        platform = case.split('/').nth(1).unwrap().to_owned();
        let draft = sample::later(decision::DecisionKind::Reversed, sample::permitted(&citation(&platform)));
        // They say that it had been so before the committee asked.
        let draft = decision::DecisionDraft { decided_at: Some(sample::time("2020-08-30T00:00:00Z")), ..draft };
        let request = decision::RecordDecisionRequest {
            expected_version: Some(1),
            ..sample::record(case, draft, &format!("reverse {case}"))
        };
        let mut reviewer = client.acting(&format!("platforms/{platform}")).roles(&["reviewer", "import"]).decisions();
        let reply = reviewer.record_decision(request).await.unwrap().into_inner();
        assert_eq!(reply.decision.unwrap().version, 2);
        revision = reply.revision;
        // The first decision stays.
        let request =
            decision::ListDecisionsRequest { parent: case.clone(), ..decision::ListDecisionsRequest::default() };
        let versions = reviewer.list_decisions(request).await.unwrap().into_inner().decisions;
        let kinds = versions.iter().map(decision::Decision::kind).collect::<Vec<_>>();
        assert_eq!(kinds, [decision::DecisionKind::Initial, decision::DecisionKind::Reversed]);
    }
    assert_eq!(platform, "harbourbook");

    // Known in September: unchanged. Known now: restated, with the eight in the other bucket.
    let again = committee.report(published, &[revision.clone()]).await.unwrap();
    assert_eq!((&again.digest, &again.rows, &again.total), (&first.digest, &first.rows, &first.total));
    let restated = committee.report(cohort(), std::slice::from_ref(&revision)).await.unwrap();
    assert_eq!(counts(restated.total.as_ref().unwrap()), [1_218, 570, 493, 155, 0]);
    assert_eq!(restated.definition.unwrap().known_at_date, "2020-10-05");
    assert_ne!(restated.digest, first.digest);

    // What was published stays as it was given out. Published again it is another version, which says what changed, and why.
    request.request_id = sample::request_id("publish again");
    let silent = refusal(&publish.publish_report(request.clone()).await.unwrap_err());
    assert_eq!(
        (silent.reason.as_str(), silent.fields.as_slice()),
        ("REQUEST_INVALID", ["reason".to_owned()].as_slice())
    );
    request.reason = "Harbourbook went back on eight decisions".into();
    let second = publish.publish_report(request).await.unwrap().into_inner().publication.unwrap();
    assert_eq!(counts(second.report.as_ref().unwrap().total.as_ref().unwrap()), [1_218, 570, 493, 155, 0]);
    let changed = second.difference.last().unwrap().change.clone().unwrap();
    assert_eq!([changed.referred, changed.closed, changed.not_in_breach, changed.undecided], [0, -8, 8, 0]);
    let request = reporting::GetPublicationRequest { name: given_out.name.clone(), at_least: Vec::new() };
    let kept = publish.get_publication(request).await.unwrap().into_inner().publication.unwrap();
    assert_eq!(kept, reporting::Publication { latest_version: 2, ..given_out });

    // The whole server is rebuilt from its logs; the figures are the same.
    for part in Part::ALL {
        server.rebuild(part).await;
    }
    let restated_again = committee.report(cohort(), &[revision]).await.unwrap();
    assert_eq!(restated_again.digest, restated.digest);
}

/// An agency sees its own referrals only, a platform its own cases only; who may not know whether something exists is told
/// so, whether it exists or not.
async fn each_sees_its_own_and_no_more(database: &Database) {
    let (server, _clock, client) = suite(database).await;
    sample::register(&client).await;
    let mut referred = Vec::new();
    let mut revision = String::new();
    for (agency, platform) in [("nca", "chirrup"), ("nca", "lensgram"), ("bka", "chirrup")] {
        let (referral, at) = sample::refer(&client, agency, platform, &format!("{agency}-{platform}")).await;
        referred.push(referral);
        revision = at;
    }
    let at_least = vec![revision];
    let names = |indexes: &[usize]| indexes.iter().map(|index| referred[*index].name.clone()).collect::<Vec<_>>();
    let cases = |indexes: &[usize]| indexes.iter().map(|index| sample::case_of(&referred[*index])).collect::<Vec<_>>();

    for (reader, visible) in [
        ("agencies/nca", vec![0, 1]),
        ("agencies/bka", vec![2]),
        ("platforms/chirrup", vec![0, 2]),
        ("platforms/lensgram", vec![1]),
        ("platforms/harbourbook", vec![]),
    ] {
        let reader = client.acting(reader);
        let request = referral::ListReferralsRequest {
            parent: "agencies/-".into(),
            at_least: at_least.clone(),
            ..referral::ListReferralsRequest::default()
        };
        let listed = reader.referrals().list_referrals(request).await.unwrap().into_inner().referrals;
        assert_eq!(listed.iter().map(|it| it.name.clone()).collect::<Vec<_>>(), names(&visible));
        let request = decision::ListCasesRequest {
            parent: "platforms/-".into(),
            at_least: at_least.clone(),
            ..decision::ListCasesRequest::default()
        };
        let listed = reader.decisions().list_cases(request).await.unwrap().into_inner().cases;
        assert_eq!(listed.iter().map(|it| it.name.clone()).collect::<Vec<_>>(), cases(&visible));
        // The same by the twins of the streams.
        let request = referral::ListReferralChangesRequest {
            parent: "agencies/-".into(),
            start: Some(referral::list_referral_changes_request::Start::Earliest(true)),
            ..referral::ListReferralChangesRequest::default()
        };
        let changes = reader.referrals().list_referral_changes(request).await.unwrap().into_inner().changes;
        let seen = changes.into_iter().filter_map(|change| match change.change {
            Some(referral::referral_change::Change::Created(referral)) => Some(referral.name),
            _ => None,
        });
        assert_eq!(seen.collect::<Vec<_>>(), names(&visible));
        // And by figures.
        let definition = reporting::ReportDefinition {
            cohort_from_date: "2020-09-03".into(),
            cohort_until_date: "2020-09-03".into(),
            ..cohort()
        };
        let report = reader.report(definition, &at_least).await.unwrap();
        assert_eq!(counts(&report.total.unwrap())[0], i64::try_from(visible.len()).unwrap());
    }

    // One by one: what is another's is PERMISSION_DENIED, and so is what does not exist at another's.
    let missing = "00000000-0000-7000-8000-000000000000";
    let denied = |status: tonic::Status| {
        let refused = refusal(&status);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
        (status.message().to_owned(), refused.metadata)
    };
    let get_referral = |who: &str, name: &str| {
        let mut reader = client.acting(who).referrals();
        let request = referral::GetReferralRequest { name: name.into(), at_least: at_least.clone() };
        async move { reader.get_referral(request).await }
    };
    let get_case = |who: &str, name: &str| {
        let mut reader = client.acting(who).decisions();
        let request = decision::GetCaseRequest { name: name.into(), at_least: at_least.clone() };
        async move { reader.get_case(request).await }
    };
    let theirs = denied(get_referral("agencies/bka", &referred[0].name).await.unwrap_err());
    let nothing = denied(get_referral("agencies/bka", &format!("agencies/nca/referrals/{missing}")).await.unwrap_err());
    assert_eq!(theirs, nothing, "the refusal does not tell what exists");
    let theirs = denied(get_referral("platforms/lensgram", &referred[0].name).await.unwrap_err());
    let nothing =
        denied(get_referral("platforms/lensgram", &format!("agencies/nca/referrals/{missing}")).await.unwrap_err());
    assert_eq!(theirs, nothing);
    let theirs = denied(get_case("platforms/lensgram", &sample::case_of(&referred[0])).await.unwrap_err());
    let nothing =
        denied(get_case("platforms/lensgram", &format!("platforms/chirrup/cases/{missing}")).await.unwrap_err());
    assert_eq!(theirs, nothing);
    let theirs = denied(get_case("agencies/bka", &sample::case_of(&referred[0])).await.unwrap_err());
    let nothing = denied(get_case("agencies/bka", &format!("platforms/chirrup/cases/{missing}")).await.unwrap_err());
    assert_eq!(theirs, nothing);
    // At home, what does not exist is not found.
    let status = get_referral("agencies/nca", &format!("agencies/nca/referrals/{missing}")).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::NotFound, "REFERRAL_NOT_FOUND"));
    let status = get_case("platforms/chirrup", &format!("platforms/chirrup/cases/{missing}")).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::NotFound, "CASE_NOT_FOUND"));
    // Its own each may read.
    assert!(get_referral("agencies/nca", &referred[0].name).await.is_ok());
    assert!(get_case("platforms/chirrup", &sample::case_of(&referred[0])).await.is_ok());

    // Nobody acts for another.
    let heads = [server.head(Part::Referral).await, server.head(Part::Decision).await];
    let request = sample::create("nca", sample::draft("chirrup", "forged"), "forged");
    for who in ["agencies/bka", "platforms/chirrup", "oversightBodies/hac", "operators/op"] {
        denied(client.acting(who).referrals().create_referral(request.clone()).await.unwrap_err());
    }
    denied(
        client
            .acting("agencies/bka")
            .referrals()
            .withdraw_referral(sample::withdraw(&referred[0].name, "w"))
            .await
            .unwrap_err(),
    );
    let request = sample::record(&sample::case_of(&referred[0]), sample::closed(), "forged decision");
    for who in ["platforms/lensgram", "agencies/nca", "operators/op"] {
        denied(client.acting(who).decisions().record_decision(request.clone()).await.unwrap_err());
    }
    denied(
        client
            .acting("agencies/nca")
            .organisations()
            .create_organisation(sample::organisation("agencies/zz", &[]))
            .await
            .unwrap_err(),
    );
    // Oversight and operators see figures and organisations, no referral and no case.
    for who in ["oversightBodies/hac", "operators/op"] {
        denied(get_referral(who, &referred[0].name).await.unwrap_err());
        denied(get_case(who, &sample::case_of(&referred[0])).await.unwrap_err());
        let start = Some(WatchStart { start: Some(watch_start::Start::Earliest(true)) });
        let request = referral::WatchReferralsRequest {
            parent: "agencies/-".into(),
            start: start.clone(),
            ..referral::WatchReferralsRequest::default()
        };
        denied(client.acting(who).referrals().watch_referrals(request).await.unwrap_err());
        let request = decision::WatchCasesRequest {
            parent: "platforms/-".into(),
            start,
            ..decision::WatchCasesRequest::default()
        };
        denied(client.acting(who).decisions().watch_cases(request).await.unwrap_err());
    }
    assert_eq!(heads, [server.head(Part::Referral).await, server.head(Part::Decision).await]);
    // Who does not say who they are is nobody.
    let status =
        client.acting("nca").referrals().get_referral(referral::GetReferralRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

/// What a client wrote in one service it reads in the others at once, by naming the revision that it was given.
async fn what_is_written_is_read_across_services(database: &Database) {
    let (_server, _clock, client) = suite(database).await;
    sample::register(&client).await;
    let (citation, cited) = sample::clause(&client, "chirrup", "fees").await;
    let chirrup = client.acting("platforms/chirrup");
    for tag in 0..25 {
        let (referral, referred) = sample::refer(&client, "nca", "chirrup", &tag.to_string()).await;
        let case = sample::case_of(&referral);
        // Agency -> decision service.
        let request = decision::GetCaseRequest { name: case.clone(), at_least: vec![referred.clone()] };
        let opened = chirrup.decisions().get_case(request).await.unwrap().into_inner();
        assert_eq!(opened.case.unwrap().status(), decision::CaseStatus::Submitted);
        let request = sample::acknowledge("chirrup", std::slice::from_ref(&case), &format!("a{tag}"));
        chirrup.decisions().acknowledge_cases(request).await.unwrap();
        let draft = if tag % 2 == 0 { sample::closed() } else { sample::permitted(&citation) };
        let request = sample::record(&case, draft, &format!("d{tag}"));
        let decided = chirrup.decisions().record_decision(request).await.unwrap().into_inner();
        assert!(decided.decision.is_some());
        // Platform -> reporting service, for the agency; each with the revisions of both.
        let today = reporting::ReportDefinition {
            cohort_from_date: "2020-09-03".into(),
            cohort_until_date: "2020-09-03".into(),
            ..cohort()
        };
        let at_least = [referred, decided.revision, cited.clone()];
        let report = client.acting("agencies/nca").report(today, &at_least).await.unwrap();
        let decided = tag + 1;
        assert_eq!(counts(&report.total.unwrap()), [decided, (decided + 1) / 2, decided / 2, 0, 0]);
        // The report names revisions that reads of every service take.
        let revisions = report.progress.unwrap().revisions;
        assert!(!revisions.is_empty());
    }
    // A withdrawal reaches the platform and the figures.
    let (referral, _) = sample::refer(&client, "nca", "chirrup", "withdrawn").await;
    let mut nca = client.acting("agencies/nca").referrals();
    let revision = nca.withdraw_referral(sample::withdraw(&referral.name, "w")).await.unwrap().into_inner().revision;
    let request = decision::GetCaseRequest { name: sample::case_of(&referral), at_least: vec![revision] };
    let case = chirrup.decisions().get_case(request).await.unwrap().into_inner().case.unwrap();
    assert_eq!(case.status(), decision::CaseStatus::Withdrawn);
}

/// A fact may be told late, by whoever may; the server's own time is its own. Nothing is told before it happened.
async fn facts_may_be_told_late_and_never_early(database: &Database) {
    let (server, _clock, client) = suite(database).await;
    sample::register(&client).await;
    let at = |text: &str, id: &str| {
        let draft = referral::ReferralDraft {
            occurred_at: Some(sample::time(text)),
            target: Some(referral::Target {
                kind: TargetKind::Account.into(),
                ..sample::draft("chirrup", id).target.unwrap()
            }),
            ..sample::draft("chirrup", id)
        };
        sample::create("nca", draft, id)
    };
    let officer = client.acting("agencies/nca");
    let reply = officer.referrals().create_referral(at("2020-08-20T08:00:00Z", "late")).await.unwrap().into_inner();
    let sent = reply.referral.unwrap();
    assert_eq!(sent.occurred_at, Some(sample::time("2020-08-20T08:00:00Z")));
    assert_eq!(sent.recorded_at, Some(sample::time("2020-09-03T09:00:00Z")));
    let head = server.head(Part::Referral).await;
    let status = officer.referrals().create_referral(at("2020-02-01T08:00:00Z", "old")).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::PermissionDenied, "BACKDATING_NOT_PERMITTED"));
    let status = officer.referrals().create_referral(at("2020-09-03T09:00:03Z", "early")).await.unwrap_err();
    assert_eq!(refusal(&status).fields, ["referral.occurred_at"]);
    assert_eq!(server.head(Part::Referral).await, head);
    let importer = officer.roles(&["officer", "import"]);
    assert!(importer.referrals().create_referral(at("2020-02-01T08:00:00Z", "old")).await.is_ok());
    // Within what clocks disagree about, a time is taken as now.
    let reply = officer.referrals().create_referral(at("2020-09-03T09:00:01Z", "skew")).await.unwrap().into_inner();
    assert_eq!(reply.referral.unwrap().occurred_at, Some(sample::time("2020-09-03T09:00:00Z")));
}
