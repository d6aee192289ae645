//! SIGKILL at random moments, many times, on both engines: nothing that was answered is lost, nothing is half done and
//! nothing is done twice, whatever the clients repeat. SIGTERM ends in order, with every stream told where to go on.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod agreements;
mod drain;
mod storm;
mod truth;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portreeve_api::decision::v1::{CaseChange, CaseStatus, Outcome, case_change};
use portreeve_api::referral::v1::{ReferralChange, referral_change};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use portreeve_tests::process::{Process, free_address};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use storm::{AGENCY, BATCH, Storm, same_answer};
use tempfile::TempDir;
use tokio::task::JoinSet;
use truth::Truth;

/// How often the server is killed.
const ROUNDS: usize = 20;
/// How long what was written may take to reach a watcher.
const DELIVERY: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_on_sqlite() {
    let fixture = Fixture::sqlite();
    kill_many_times(Deployment::together(&fixture.database), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_on_postgres() {
    let fixture = Fixture::postgres().await;
    kill_many_times(Deployment::together(&fixture.database), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_service_or_another_killed_at_any_moment() {
    let fixture = Fixture::postgres().await;
    kill_many_times(Deployment::apart(&fixture.database), 3).await;
}

/// A suite of processes of the real binary, each of which can be killed and comes back at its address.
struct Deployment {
    database: String,
    folder: TempDir,
    /// Where the referral, the decision and the reporting service are.
    urls: [String; 3],
    /// The arguments of each process, and the process while it runs.
    processes: Vec<(Vec<String>, Option<Process>)>,
}

impl Deployment {
    /// All services in one process.
    fn together(database: &Database) -> Self {
        let listen = free_address().unwrap().to_string();
        let url = format!("http://{listen}");
        Self::new(database, [url.clone(), url.clone(), url], &[&["serve", "--listen", &listen]])
    }

    /// A process for each service.
    fn apart(database: &Database) -> Self {
        let addresses = [(); 3].map(|()| free_address().unwrap().to_string());
        let [referral, decision, reporting] = addresses.each_ref().map(String::as_str);
        let urls = addresses.each_ref().map(|address| format!("http://{address}"));
        let [referral_url, decision_url, _] = urls.each_ref().map(String::as_str);
        let processes: [&[&str]; 3] = [
            &["serve", "referral", "--listen", referral],
            &["serve", "decision", "--listen", decision, "--referral-url", referral_url],
            &[
                ["serve", "reporting", "--listen", reporting].as_slice(),
                &["--referral-url", referral_url, "--decision-url", decision_url],
            ]
            .concat(),
        ];
        Self::new(database, urls.clone(), &processes)
    }

    fn new(database: &Database, urls: [String; 3], processes: &[&[&str]]) -> Self {
        let database = url(database);
        let of = |arguments: &&[&str]| {
            let arguments = [*arguments, &["--database", &database]].concat();
            (arguments.into_iter().map(str::to_owned).collect(), None)
        };
        let processes = processes.iter().map(of).collect();
        Self { folder: tempfile::tempdir().unwrap(), urls, processes, database }
    }

    /// Runs a command to its end.
    async fn run(&self, arguments: &[&str]) {
        let process = Process::start(arguments, [("", ""); 0], self.folder.path()).unwrap();
        process.succeeds().await.unwrap();
    }

    fn start(&mut self, process: usize) -> &mut Process {
        let (arguments, running) = &mut self.processes[process];
        running.insert(Process::start(arguments, [("", ""); 0], self.folder.path()).unwrap())
    }

    /// Starts what does not run, and waits until all of it listens.
    async fn all_listen(&mut self) {
        for process in 0..self.processes.len() {
            if self.processes[process].1.is_none() {
                self.start(process);
            }
        }
        for process in self.processes.iter_mut().filter_map(|(_, process)| process.as_mut()) {
            process.listens().await.unwrap();
        }
    }

    async fn kill(&mut self, process: usize) {
        self.processes[process].1.take().unwrap().kill().await.unwrap();
    }

    /// Ends all of it in order.
    async fn end(&mut self) {
        let mut running: Vec<_> = self.processes.iter_mut().filter_map(|(_, process)| process.take()).collect();
        for process in &running {
            process.terminate().unwrap();
        }
        for process in &mut running {
            let status = process.ended().await.unwrap();
            assert!(status.success(), "{status}: {}", process.said());
        }
    }
}

/// The database as the binary's flag names it.
fn url(database: &Database) -> String {
    match database {
        Database::Sqlite { folder } => format!("sqlite:{}", folder.display()),
        Database::Postgres { url } => url.clone(),
    }
}

async fn kill_many_times(mut suite: Deployment, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    suite.all_listen().await;
    let storm = Storm::new(&suite.urls);
    storm.register().await;
    let (mut writers, mut watchers) = (JoinSet::new(), JoinSet::new());
    for who in 0..3 {
        writers.spawn(Arc::clone(&storm).create(who));
    }
    writers.spawn(Arc::clone(&storm).batch());
    writers.spawn(Arc::clone(&storm).import());
    writers.spawn(Arc::clone(&storm).decide());
    watchers.spawn(Arc::clone(&storm).watch_referrals());
    watchers.spawn(Arc::clone(&storm).watch_cases());
    watchers.spawn(Arc::clone(&storm).watch_report());

    for round in 0..ROUNDS {
        // The moment is random: there is nothing to wait for.
        tokio::time::sleep(Duration::from_micros(random.random_range(1_000..600_000))).await;
        let victim = random.random_range(0..suite.processes.len());
        suite.kill(victim).await;
        let server = suite.start(victim);
        // Now and then it dies while it starts.
        if round % 5 != 0 {
            server.listens().await.unwrap();
        }
        still_well(&mut writers);
        still_well(&mut watchers);
    }

    suite.all_listen().await;
    storm.end();
    // The platform is the last of them: it waits for as many cases as there are referrals.
    while writers.len() > 1 {
        writers.join_next().await.unwrap().unwrap();
    }
    let referred = storm.referred();
    storm.expected.send_replace(Some(referred.len()));
    writers.join_next().await.unwrap().unwrap();

    let truth = truth::read(&storm).await;
    every_answer_is_there_once(&storm, &referred, &truth);
    logs_have_no_gap_and_batches_are_whole(&storm, &truth);
    figures_add_up(&storm, &truth);
    watchers_saw_everything_once(&storm, &truth).await;
    repeating_gives_the_first_answer(&storm).await;
    assert_eq!(truth::read(&storm).await, truth, "repeating requests changed something");
    let broken = storm.broken.load(Ordering::Relaxed);
    assert!(broken >= ROUNDS, "the server was hardly ever killed at work: {broken} attempts broke");
    println!(
        "{ROUNDS} kills broke {broken} attempts; {} referrals, {} decisions",
        referred.len(),
        truth.decisions.len()
    );

    // An orderly end, a rebuild, and everything is as it was.
    suite.end().await;
    suite.run(&["rebuild", "--database", &suite.database]).await;
    suite.all_listen().await;
    let rebuilt = truth::read(&storm).await;
    assert!(rebuilt == truth, "the rebuild changed something");
}

/// A client that found a mistake has panicked: its message is the test's.
fn still_well(clients: &mut JoinSet<()>) {
    if let Some(ended) = clients.try_join_next() {
        ended.unwrap();
        panic!("a client ended before its time");
    }
}

fn every_answer_is_there_once(storm: &Storm, referred: &HashMap<String, String>, truth: &Truth) {
    let mut found = HashMap::new();
    for referral in &truth.referrals {
        let url = referral.target.clone().unwrap().url;
        assert_eq!(found.insert(url.clone(), referral.name.clone()), None, "{url} is there twice");
    }
    assert_eq!(found.len(), referred.len());
    for (url, name) in referred {
        assert_eq!(found.get(url), Some(name), "{url}");
    }
    // A case for each, with its receipt, and the decisions that were answered.
    let cases: BTreeMap<_, _> = truth.cases.iter().map(|case| (case.name.clone(), case)).collect();
    assert_eq!((cases.len(), truth.cases.len()), (referred.len(), referred.len()));
    for case in &truth.cases {
        assert!(case.acknowledged_at.is_some(), "{case:?}");
    }
    let decided = storm.decided.lock().unwrap();
    assert_eq!(truth.decisions.len(), decided.len());
    for (request, answer) in decided.iter() {
        let case = cases[&request.parent];
        assert_eq!((case.decision_version, case.status()), (1, CaseStatus::Decided));
        assert_eq!(case.latest_decision, answer.decision);
    }
}

fn logs_have_no_gap_and_batches_are_whole(storm: &Storm, truth: &Truth) {
    let referral: Vec<_> = truth.referral_changes.iter().map(|change| change.position).collect();
    assert_eq!(referral, (1..=referral.len() as u64).collect::<Vec<_>>());
    let decision: Vec<_> = truth.case_changes.iter().map(|change| change.position).collect();
    assert_eq!(decision, (1..=decision.len() as u64).collect::<Vec<_>>());
    let mut positions = HashMap::new();
    for change in &truth.referral_changes {
        if let Some(referral_change::Change::Created(referral)) = &change.change {
            let first = positions.insert(referral.name.clone(), (change.position, change.recorded_at));
            assert_eq!(first, None, "{} was created twice", referral.name);
        }
    }
    for (_, answer) in storm.batches.lock().unwrap().iter() {
        let places: Vec<_> = answer.referrals.iter().map(|referral| positions[&referral.name]).collect();
        assert_eq!(places.len(), BATCH);
        for (offset, place) in (0..).zip(&places) {
            assert_eq!(*place, (places[0].0 + offset, places[0].1), "a batch was not written in one piece");
        }
    }
    let mut opened = HashMap::new();
    for change in &truth.case_changes {
        if let Some(case_change::Change::Opened(case)) = &change.change {
            assert_eq!(opened.insert(case.name.clone(), change.position), None, "{} was opened twice", case.name);
        }
    }
}

fn figures_add_up(storm: &Storm, truth: &Truth) {
    let counts = truth.report.total.clone().unwrap().counts.unwrap();
    let decided = storm.decided.lock().unwrap();
    let closed =
        decided.iter().filter(|(request, _)| request.decision.clone().unwrap().outcome() == Outcome::ClosedIllegal);
    let (closed, decided, referred) = (closed.count(), decided.len(), truth.referrals.len());
    let number = |count: i64| usize::try_from(count).unwrap();
    assert_eq!(number(counts.referred), referred);
    assert_eq!(number(counts.closed), closed);
    assert_eq!(number(counts.other), decided - closed);
    assert_eq!(number(counts.not_in_breach), 0);
    assert_eq!(number(counts.undecided), referred - decided);
}

async fn watchers_saw_everything_once(storm: &Storm, truth: &Truth) {
    // The agency's own changes: all but those of organisations.
    let own = |change: &&ReferralChange| {
        !matches!(
            change.change,
            Some(referral_change::Change::OrganisationCreated(_) | referral_change::Change::OrganisationUpdated(_))
        )
    };
    let expected: Vec<_> = truth.referral_changes.iter().filter(own).map(of_referral).collect();
    let last = expected.last().unwrap().0;
    let mut position = storm.referral_position.subscribe();
    tokio::time::timeout(DELIVERY, position.wait_for(|position| *position >= last)).await.expect("delivery").unwrap();
    let seen: Vec<_> = storm.referral_changes.lock().unwrap().iter().map(of_referral).collect();
    assert!(seen == expected, "the watcher of referrals saw {} changes of {}", seen.len(), expected.len());

    let expected: Vec<_> = truth.case_changes.iter().map(of_case).collect();
    let last = expected.last().unwrap().0;
    let mut position = storm.case_position.subscribe();
    tokio::time::timeout(DELIVERY, position.wait_for(|position| *position >= last)).await.expect("delivery").unwrap();
    let seen: Vec<_> = storm.case_changes.lock().unwrap().iter().map(of_case).collect();
    assert!(seen == expected, "the watcher of cases saw {} changes of {}", seen.len(), expected.len());

    let expected = truth.report.total.clone().unwrap().counts.unwrap();
    let mut counts = storm.counts.subscribe();
    let arrived = tokio::time::timeout(
        DELIVERY,
        counts.wait_for(|counts| {
            (counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other)
                == (expected.referred, expected.closed, expected.not_in_breach, expected.undecided, expected.other)
        }),
    );
    let arrived = arrived.await.is_ok();
    assert!(arrived, "the watcher of the report arrived at {:?}, not at {expected:?}", *storm.counts.borrow());
}

/// What two readers of a change must agree on. The member who acted is its own organisation's to know.
fn of_referral(change: &ReferralChange) -> (u64, String, Option<referral_change::Change>) {
    (change.position, change.revision.clone(), change.change.clone())
}

fn of_case(change: &CaseChange) -> (u64, String, Option<case_change::Change>) {
    (change.position, change.revision.clone(), change.change.clone())
}

async fn repeating_gives_the_first_answer(storm: &Storm) {
    let created: Vec<_> = storm.created.lock().unwrap().iter().rev().step_by(7).take(100).cloned().collect();
    for (request, first) in created {
        let again = storm.referrals(AGENCY).create_referral(request).await.unwrap().into_inner();
        assert!(again.replayed);
        same_answer(&first, &again);
    }
    let batches: Vec<_> = storm.batches.lock().unwrap().iter().rev().take(5).cloned().collect();
    for (request, first) in batches {
        let again = storm.referrals(AGENCY).batch_create_referrals(request).await.unwrap().into_inner();
        assert_eq!((again.referrals, again.revision, again.replayed), (first.referrals, first.revision, true));
    }
    let acknowledged: Vec<_> = storm.acknowledged.lock().unwrap().iter().rev().take(20).cloned().collect();
    for (request, first) in acknowledged {
        let again = storm.decisions(storm::PLATFORM).acknowledge_cases(request).await.unwrap().into_inner();
        assert_eq!((again.results, again.revision, again.replayed), (first.results, first.revision, true));
    }
    let decided: Vec<_> = storm.decided.lock().unwrap().iter().rev().step_by(7).take(50).cloned().collect();
    for (request, first) in decided {
        let again = storm.decisions(storm::PLATFORM).record_decision(request).await.unwrap().into_inner();
        assert_eq!((again.decision, again.revision, again.replayed), (first.decision, first.revision, true));
    }
}
