//! SIGKILL at any moment: whatever a client received is in the access log.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::referral::v1 as referral;
use portreeve_storage::conformance::Fixture;
use portreeve_tests::process::{Process, free_address};
use portreeve_tests::{Client, Database, sample, within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{WHY, get, id, list, request};

const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_recorded_on_sqlite() {
    let fixture = Fixture::sqlite();
    let Database::Sqlite { folder } = &fixture.database else { panic!("a folder") };
    killed(&format!("sqlite:{}", folder.display()), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_recorded_on_postgres() {
    let fixture = Fixture::postgres().await;
    let Database::Postgres { url } = &fixture.database else { panic!("a URL") };
    killed(url, 2).await;
}

/// What clients received: rows by their identifiers, and positions of a stream.
#[derive(Default)]
struct Received {
    rows: Vec<String>,
    positions: Vec<i64>,
}

async fn killed(database: &str, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_address().unwrap().to_string();
    let url = format!("http://{listen}");
    let serve = || {
        let arguments = ["serve", "referral", "--listen", &listen, "--database", database, "--log", "error"];
        Process::start(arguments, [("", ""); 0], folder.path()).unwrap()
    };
    let mut server = serve();
    server.listens().await.unwrap();
    let client = Client::new(&url, "operators/op");
    sample::register(&client).await;
    let mut referrals = Vec::new();
    for number in 0..20 {
        referrals.push(sample::refer(&client, "nca", "harbourbook", &format!("r{number}")).await.0);
    }
    let referrals = Arc::new(referrals);
    let received = Arc::new(Mutex::new(Received::default()));
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let readers = [0, 1, 2].map(|who| {
            tokio::spawn(read(Client::new(&url, "agencies/nca").member(&format!("reader.{who}")).because(WHY), {
                let (referrals, received) = (Arc::clone(&referrals), Arc::clone(&received));
                (referrals, received)
            }))
        });
        let watcher = tokio::spawn(watch(Client::new(&url, "agencies/nca").member("watcher"), Arc::clone(&received)));
        let writer = tokio::spawn(write(client.clone(), round));
        // The moment is random: there is nothing to wait for.
        tokio::time::sleep(Duration::from_micros(random.random_range(20_000..400_000))).await;
        server.kill().await.unwrap();
        for reader in readers {
            within(30, "a reader", reader).await.unwrap();
        }
        within(30, "the watcher", watcher).await.unwrap();
        writer.abort();
        server = serve();
        server.listens().await.unwrap();
    }
    let overseer = Client::new(&url, "oversightBodies/hac").member("c.lerk");
    let mut entries = Vec::new();
    let mut page = request("referral-access", "agencies/nca");
    loop {
        let reply = overseer.consultations().list_consultations(page.clone()).await.unwrap().into_inner();
        entries.extend(reply.consultations);
        page.page_token = reply.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    let received = std::mem::take(&mut *received.lock().unwrap());
    assert!(received.rows.len() > 20 && received.positions.len() > 20, "hardly anything was read");
    // Each answer has an entry of its own, by its call.
    let recorded = entries.iter().map(call_of).collect::<HashSet<_>>();
    for row in &received.rows {
        assert!(recorded.contains(row), "{row} was shown unrecorded");
    }
    let stretches = entries.iter().filter(|entry| entry.member == "watcher").filter_map(|entry| entry.stretch.as_ref());
    let stretches = stretches.collect::<Vec<_>>();
    for position in &received.positions {
        let covers = stretches
            .iter()
            .filter(|stretch| (stretch.after_position + 1..=stretch.through_position).contains(position));
        assert!(covers.count() > 0, "{position} was shown unrecorded");
    }
    let rows = received.positions.len();
    assert!(stretches.iter().map(|stretch| stretch.rows).sum::<i64>() >= i64::try_from(rows).unwrap());
    // And the log is whole.
    assert!(!list(&overseer, "referral-access", "agencies/nca").await.consultations.is_empty());
    server.kill().await.unwrap();
}

/// A row with the call that showed it.
fn call_of(entry: &portreeve_api::consultation::v1::Consultation) -> String {
    format!("{} {}", entry.request_id, entry.rows.first().map_or("", String::as_str))
}

/// Reads one referral after another until the server is gone.
async fn read(client: Client, (referrals, received): (Arc<Vec<referral::Referral>>, Arc<Mutex<Received>>)) {
    for referral in referrals.iter().cycle() {
        let Ok(reply) = client.referrals().get_referral(get(referral)).await else { return };
        let call = reply.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
        let shown = reply.into_inner().referral.unwrap();
        received.lock().unwrap().rows.push(format!("{call} {}", id(&shown)));
    }
}

/// Watches from the beginning until the server is gone.
async fn watch(client: Client, received: Arc<Mutex<Received>>) {
    let request = referral::WatchReferralsRequest {
        parent: "agencies/nca".into(),
        start: Some(sample::start(Start::Earliest(true))),
        ..Default::default()
    };
    let Ok(stream) = client.referrals().watch_referrals(request).await else { return };
    let mut stream = stream.into_inner();
    while let Ok(Some(message)) = stream.message().await {
        let of_rows = message
            .changes
            .iter()
            .filter(|change| matches!(&change.change, Some(referral::referral_change::Change::Created(_))));
        let positions = of_rows.map(|change| i64::try_from(change.position).unwrap());
        received.lock().unwrap().positions.extend(positions);
    }
}

/// Refers without end.
async fn write(client: Client, round: usize) {
    let mut referrals = client.acting("agencies/nca").referrals();
    for number in 0.. {
        let tag = format!("round {round} {number}");
        let request = sample::create("nca", sample::draft("harbourbook", &tag), &tag);
        if referrals.create_referral(request).await.is_err() {
            return;
        }
    }
}
