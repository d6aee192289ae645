//! SIGKILL while agencies agree, suspend, resume and give notice, and their partners read: afterwards every change that was
//! answered is there, none is half there, and nobody has seen or sees what no agreement in force shares.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_storage::conformance::Fixture;
use portreeve_tests::process::{Process, free_address};
use portreeve_tests::{Client, Database, refusal, sample, within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tonic::Status;
use tonic_types::StatusExt as _;

const ROUNDS: usize = 10;
/// Partners of the agency, each with agreements of its own, one after the other.
const PARTNERS: usize = 3;
/// What the agency has referred.
const REFERRALS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agreements_survive_on_sqlite() {
    let fixture = Fixture::sqlite();
    let Database::Sqlite { folder } = &fixture.database else { panic!("a folder") };
    killed(&format!("sqlite:{}", folder.display()), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agreements_survive_on_postgres() {
    let fixture = Fixture::postgres().await;
    let Database::Postgres { url } = &fixture.database else { panic!("a URL") };
    killed(url, 2).await;
}

/// What happens to each agreement: it is proposed and accepted, ten times suspended and resumed, and ended by notice. Then
/// comes the next one.
const CYCLE: usize = 23;

/// What the step is that comes after so many.
fn step(taken: usize) -> &'static str {
    match taken % CYCLE {
        0 => "propose",
        1 => "accept",
        22 => "notice",
        within if within % 2 == 0 => "suspend",
        _ => "resume",
    }
}

/// Whether something is shared after so many steps.
fn shares(steps: usize) -> bool {
    steps > 0 && matches!(step(steps - 1), "accept" | "resume")
}

/// One partner's agreements.
#[derive(Default)]
struct History {
    /// Steps that were sent; all but the last were answered.
    sent: usize,
    /// Steps that were answered.
    answered: usize,
    /// What the last answer said, and its revision.
    last: referral::Agreement,
    revision: String,
    /// Reads that had to show everything, and reads that had to show nothing.
    reads: [usize; 2],
}

/// Steps sent, steps answered, the last answer and its revision.
type Known = (usize, usize, referral::Agreement, String);

impl History {
    fn known(&self) -> Known {
        (self.sent, self.answered, self.last.clone(), self.revision.clone())
    }
}

type Shared = Arc<Mutex<History>>;

fn partner(number: usize) -> String {
    format!("agencies/partner-{number}")
}

async fn killed(database: &str, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_address().unwrap().to_string();
    let url = format!("http://{listen}");
    let serve = || {
        let arguments = ["serve", "--listen", &listen, "--database", database, "--log", "error"];
        Process::start(arguments, [("", ""); 0], folder.path()).unwrap()
    };
    let mut server = serve();
    server.listens().await.unwrap();
    let client = Client::new(&url, "operators/op");
    sample::register(&client).await;
    for number in 0..PARTNERS {
        let request = sample::organisation(&partner(number), &[]);
        client.organisations().create_organisation(request).await.unwrap();
    }
    for number in 0..REFERRALS {
        sample::refer(&client, "nca", "harbourbook", &format!("r{number}")).await;
    }
    let histories = [(); PARTNERS].map(|()| Shared::default());
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..ROUNDS {
        let mut tasks = Vec::new();
        for (number, history) in histories.iter().enumerate() {
            tasks.push(tokio::spawn(move_on(Client::new(&url, "agencies/nca"), number, Arc::clone(history))));
            tasks.push(tokio::spawn(read(Client::new(&url, &partner(number)), Arc::clone(history))));
        }
        // The moment is random: there is nothing to wait for.
        tokio::time::sleep(Duration::from_micros(random.random_range(30_000..400_000))).await;
        server.kill().await.unwrap();
        for task in tasks {
            within(30, "a client", task).await.unwrap();
        }
        server = serve();
        server.listens().await.unwrap();
        for (number, history) in histories.iter().enumerate() {
            let known = history.lock().unwrap().known();
            check(&Client::new(&url, &partner(number)), known).await;
        }
    }
    for history in histories {
        let history = history.lock().unwrap();
        assert!(history.answered > ROUNDS && history.reads.iter().all(|reads| *reads > 0), "hardly anything was tried");
    }
    server.kill().await.unwrap();
}

/// Whether the server said no; one that is gone says nothing.
fn answered(status: &Status) -> bool {
    status.get_error_details().error_info().is_some()
}

/// Takes one step after the other until the server is gone; the one that was not answered first.
async fn move_on(nca: Client, number: usize, history: Shared) {
    loop {
        let (step, name) = {
            let mut history = history.lock().unwrap();
            history.sent = history.answered + 1;
            (history.answered, history.last.name.clone())
        };
        match take(&nca, number, step, &name).await {
            Ok((agreement, revision)) => {
                let mut history = history.lock().unwrap();
                (history.answered, history.last, history.revision) = (step + 1, agreement, revision);
            }
            Err(status) if answered(&status) => panic!("{}: {status:?}", self::step(step)),
            Err(_) => return,
        }
    }
}

async fn take(nca: &Client, number: usize, step: usize, name: &str) -> Result<(referral::Agreement, String), Status> {
    let id = format!("{number} {step}");
    let (name, request_id, etag, reason) = (name.to_owned(), sample::request_id(&id), String::new(), id.clone());
    let party = "agencies/nca".to_owned();
    let mut agreements = nca.agreements();
    let done = |agreement: Option<referral::Agreement>, revision: String| Ok((agreement.unwrap(), revision));
    match self::step(step) {
        "propose" => {
            let other = partner(number);
            let terms = sample::agreement(["nca", other.trim_start_matches("agencies/")], "2099-01-01");
            let reply = agreements.create_agreement(sample::propose(terms, &id)).await?.into_inner();
            done(reply.agreement, reply.revision)
        }
        "accept" => {
            let party = partner(number);
            let mut agreements = nca.acting(&party).agreements();
            let reply = agreements.accept_agreement(sample::accept(&name, &party, &id)).await?.into_inner();
            done(reply.agreement, reply.revision)
        }
        "suspend" => {
            let request = referral::SuspendAgreementRequest { name, party, request_id, etag, reason };
            let reply = agreements.suspend_agreement(request).await?.into_inner();
            done(reply.agreement, reply.revision)
        }
        "resume" => {
            let request = referral::ResumeAgreementRequest { name, party, request_id, etag };
            let reply = agreements.resume_agreement(request).await?.into_inner();
            done(reply.agreement, reply.revision)
        }
        _ => {
            let request = referral::GiveNoticeRequest { name, party, request_id, etag, reason };
            let reply = agreements.give_notice(request).await?.into_inner();
            done(reply.agreement, reply.revision)
        }
    }
}

async fn list(partner: &Client) -> Result<usize, Status> {
    let request = referral::ListReferralsRequest { parent: "agencies/nca".into(), ..Default::default() };
    let reply = partner.purpose("investigation").referrals().list_referrals(request).await?;
    Ok(reply.into_inner().referrals.len())
}

/// Reads until the server is gone: what could be in force from before the question to after the answer decides what it is.
async fn read(partner: Client, history: Shared) {
    loop {
        let before = history.lock().unwrap().answered;
        let seen = list(&partner).await;
        let mut history = history.lock().unwrap();
        let possible = (before..=history.sent).map(shares).collect::<Vec<_>>();
        match seen {
            Ok(rows) => {
                assert_eq!(rows, REFERRALS);
                assert!(possible.contains(&true), "{rows} rows are shown after {before} to {} steps", history.sent);
                history.reads[0] += 1;
            }
            Err(status) if answered(&status) => {
                assert!(
                    possible.contains(&false),
                    "{} after {before} to {} steps",
                    refusal(&status).reason,
                    history.sent
                );
                history.reads[1] += 1;
            }
            Err(_) => return,
        }
    }
}

/// After a restart: what was answered is there, and what was sent last is there whole or not at all.
async fn check(partner: &Client, (sent, answered, last, revision): Known) {
    if answered == 0 {
        return;
    }
    let request = referral::GetAgreementRequest { name: last.name.clone(), at_least: vec![revision.clone()] };
    let found = partner.agreements().get_agreement(request).await.unwrap().into_inner().agreement.unwrap();
    let facts = |of: &referral::Agreement| {
        let told = [of.acceptances.len(), of.suspensions.len(), usize::from(of.notice.is_some())];
        (told, of.suspensions.iter().filter(|suspension| suspension.resumed_at.is_some()).count())
    };
    let after = |steps: usize| {
        let within = (steps - 1) % CYCLE;
        let [accepted, suspended, ended] = [1 + within.min(1), (within / 2).min(10), usize::from(within == 22)];
        ([accepted, suspended, ended], (within.saturating_sub(1) / 2).min(10))
    };
    assert_eq!(facts(&last), after(answered));
    // A step that begins the next agreement leaves this one as it is.
    let next = if answered.is_multiple_of(CYCLE) { answered } else { sent };
    let steps = if facts(&found) == after(answered) { answered } else { next };
    assert_eq!(facts(&found), after(steps), "{found:?}");
    if steps == answered {
        assert_eq!(&referral::Agreement { state: last.state, ..found }, &last);
    }
    // Both services share what is in force, and nothing else.
    assert_eq!(list(partner).await.is_ok(), shares(steps));
    let request = decision::ListCasesRequest {
        parent: "platforms/-".into(),
        filter: Some(decision::CaseFilter { agencies: vec!["agencies/nca".into()], ..Default::default() }),
        at_least: vec![revision.clone()],
        ..Default::default()
    };
    let cases = partner.purpose("investigation").decisions().list_cases(request).await;
    if steps == answered {
        assert_eq!(cases.map(|reply| reply.into_inner().cases.len()).ok(), shares(steps).then_some(REFERRALS));
    }
}
