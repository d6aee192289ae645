//! SIGKILL at any moment: what was answered as erased is nowhere once the server is up again, and nothing is half erased.

use std::time::Duration;

use portreeve_api::referral::v1 as referral;
use portreeve_tests::process::{Process, free_address};
use portreeve_tests::{Client, Database, Fixture, sample, within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use referral::FieldGroup::{Reasons, Target};

use super::{case, erase, found, stored};

const ROUNDS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_as_erased_is_nowhere_after_a_crash() {
    let fixture = Fixture::sqlite();
    let Database::Sqlite { folder } = &fixture.database else { panic!("a folder") };
    let home = tempfile::tempdir().unwrap();
    let listen = free_address().unwrap().to_string();
    let database = format!("sqlite:{}", folder.display());
    let serve = || {
        let arguments = ["serve", "--listen", &listen, "--database", &database, "--log", "error"];
        Process::start(arguments, [("", ""); 0], home.path()).unwrap()
    };
    let mut server = serve();
    server.listens().await.unwrap();
    let client = Client::new(&format!("http://{listen}"), "operators/op");
    sample::register(&client).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut answered = 0;
    for round in 0..ROUNDS {
        let mut sent = Vec::new();
        for number in 0..12 {
            let word = secret(round, number);
            let mut draft = sample::draft("harbourbook", word);
            draft.statement_of_reasons = word.into();
            let mut nca = client.acting("agencies/nca").referrals();
            sent.push(nca.create_referral(sample::create("nca", draft, word)).await.unwrap().into_inner());
        }
        let name = sample::case_of(sent[11].referral.as_ref().unwrap());
        case(&client, &name, std::slice::from_ref(&sent[11].revision)).await;
        let eraser = tokio::spawn(erase_all(client.clone(), round, sent.clone()));
        // The moment is random: there is nothing to wait for.
        tokio::time::sleep(Duration::from_micros(random.random_range(1_000..60_000))).await;
        server.kill().await.unwrap();
        let erased = within(30, "the eraser", eraser).await.unwrap();
        answered += erased.len();
        server = serve();
        server.listens().await.unwrap();
        for (number, of) in (0..).zip(&sent) {
            let of = of.referral.as_ref().unwrap();
            let left = super::get(&client, &of.name).await;
            let gone = [left.target.unwrap().url.is_empty(), left.statement_of_reasons.is_empty()];
            assert!(gone == [left.erasures.len() == 2; 2], "half of {} is erased", of.name);
            assert!(gone[0] || !erased.contains(&number), "{} was answered as erased and is there", of.name);
            if gone[0] {
                // The other service follows.
                let name = sample::case_of(of);
                let read = || case(&client, &name, &[]);
                within(30, "the case's erasure", async { while !read().await.statement_of_reasons.is_empty() {} })
                    .await;
            }
        }
        // Nothing in the files of either service, though the first server never came to an end.
        let words = erased.iter().map(|number| secret(round, *number)).collect::<Vec<_>>();
        let none = async { while !found(&stored(&fixture.database).await, &words).is_empty() {} };
        within(30, "the clearing of the files", none).await;
    }
    assert!(answered > 5, "hardly anything was erased: {answered}");
    server.kill().await.unwrap();
}

/// A word that is nowhere else.
fn secret(round: u64, number: usize) -> &'static str {
    Box::leak(format!("hidden-{round}-{number}-word").into_boxed_str())
}

/// Erases one referral after another until the server is gone; gives those of which it said that they were.
async fn erase_all(client: Client, round: u64, sent: Vec<referral::CreateReferralResponse>) -> Vec<usize> {
    let mut retention = client.acting("agencies/nca").retention();
    let mut erased = Vec::new();
    for (number, of) in (0..).zip(&sent) {
        let name = &of.referral.as_ref().unwrap().name;
        let request = erase(name, &[Target, Reasons], &format!("erase {round} {number}"));
        match retention.erase_referral(request).await {
            Ok(_) => erased.push(number),
            Err(_) => break,
        }
    }
    erased
}
