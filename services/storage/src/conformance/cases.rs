//! What every engine must do.

#![expect(clippy::panic, clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

use std::sync::Arc;

use portreeve_core::id::{IdSource, RandomIds};
use portreeve_core::token::Revision;
use portreeve_core::{Error, Principal, Reason, Recorded, Timestamp};
use uuid::Uuid;

use super::ledger::{Appended, Command};
use super::{Opened, open};
use crate::{Database, Envelope, Guard, Outcome};

fn caller() -> Principal {
    Principal::new("agencies/nca".parse().unwrap(), "j.doe", &[]).unwrap()
}

pub(super) fn fresh() -> Uuid {
    RandomIds.uuid(Timestamp::from_micros(1))
}

pub(super) fn request(id: Uuid, content: u8, command: Command) -> Envelope<Command> {
    Envelope {
        principal: caller(),
        guard: Guard::Request { request_id: id, hash: [content; 32], too_late: None },
        command,
    }
}

pub(super) fn append(key: &str, text: &str) -> Envelope<Command> {
    request(fresh(), 0, Command::Append { key: key.into(), texts: vec![text.into()] })
}

fn texts(events: &[Recorded<Appended>]) -> Vec<&str> {
    events.iter().map(|recorded| recorded.event.text.as_str()).collect()
}

async fn log_texts(opened: &Opened) -> Vec<String> {
    let page = opened.log.page(0, 100_000).await.unwrap();
    page.events.iter().map(|event| String::from_utf8_lossy(&event.body).replace('\n', "=")).collect()
}

/// Every statement can be prepared.
pub async fn every_statement_prepares(database: &Database) {
    open(database).await.unwrap().sample.prepare().await.unwrap();
}

/// What was answered is in the log, in order, numbered from one without a gap, and in the state.
pub async fn a_write_is_durable_and_numbered(database: &Database) {
    let opened = open(database).await.unwrap();
    for (index, text) in (1..).zip(["a", "b", "c"]) {
        let outcome = opened.writer.submit(append("k", text)).await.unwrap();
        assert_eq!((outcome.position, outcome.replayed), (index, false));
        assert_eq!(texts(&outcome.events), [text]);
    }
    assert_eq!(log_texts(&opened).await, ["k=a", "k=b", "k=c"]);
    let dump = opened.sample.dump().await.unwrap();
    assert_eq!(dump.len(), 1);
    assert!(dump[0].starts_with("note k|abc|616263|"), "{dump:?}");
    let page = opened.log.page(1, 1).await.unwrap();
    assert_eq!((page.events.len(), page.events[0].position, page.state.head), (1, 2, 3));
    assert_eq!(page.events[0].actor, "agencies/nca:j.doe");
}

/// A repeated request gets the first answer, now and later; another content under its identifier is refused.
pub async fn a_request_takes_effect_once(database: &Database) {
    let opened = open(database).await.unwrap();
    let id = fresh();
    let command = || Command::Append { key: "k".into(), texts: vec!["x".into(), "y".into()] };
    let first = opened.writer.submit(request(id, 1, command())).await.unwrap();
    opened.writer.submit(append("k", "z")).await.unwrap();
    let again = opened.writer.submit(request(id, 1, command())).await.unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!((again.position, &again.events), (first.position, &first.events));
    let other = opened.writer.submit(request(id, 2, command())).await.unwrap_err();
    assert_eq!(other.reason(), Reason::RequestIdReused);
    // The twin of a request may come in the very same batch.
    let id = fresh();
    let twins = vec![request(id, 1, command()), request(id, 1, command()), request(id, 3, command())];
    let twins = opened.writer.submit_all(twins).await.unwrap();
    let twins = twins.into_iter().map(|outcome| outcome.map(|o| (o.position, o.replayed)).map_err(|e| e.reason()));
    assert_eq!(twins.collect::<Vec<_>>(), [Ok((5, false)), Ok((5, true)), Err(Reason::RequestIdReused)]);
    assert_eq!(log_texts(&opened).await, ["k=x", "k=y", "k=z", "k=x", "k=y"]);
    // Another organisation's requests are its own.
    let mut foreign = request(id, 9, command());
    foreign.principal = Principal::new("agencies/bka".parse().unwrap(), "", &[]).unwrap();
    assert!(!opened.writer.submit(foreign).await.unwrap().replayed);
}

/// A repeated request is answered after its events were compacted too.
pub async fn a_request_is_remembered_past_compaction(database: &Database) {
    let opened = open(database).await.unwrap();
    let id = fresh();
    let command = || Command::Append { key: "k".into(), texts: vec!["x".into()] };
    let first = opened.writer.submit(request(id, 1, command())).await.unwrap();
    opened.writer.submit(append("k", "z")).await.unwrap();
    assert_eq!(opened.sample.compact(1).await.unwrap(), 1);
    let again = opened.writer.submit(request(id, 1, command())).await.unwrap();
    assert_eq!((again.replayed, &again.events), (true, &first.events));
}

/// What is said without a guard happens each time, and leaves no memory of a request.
pub async fn without_a_guard_each_counts(database: &Database) {
    let opened = open(database).await.unwrap();
    let each = || Envelope {
        principal: caller(),
        guard: Guard::None,
        command: Command::Append { key: "k".into(), texts: vec!["x".into()] },
    };
    let first = opened.writer.submit(each()).await.unwrap();
    let results = opened.writer.submit_all(vec![each(), append("k", "y"), each()]).await.unwrap();
    let positions = results.iter().map(|result| result.as_ref().unwrap().position).collect::<Vec<_>>();
    assert_eq!((first.position, first.replayed, positions), (1, false, vec![2, 3, 4]));
    assert_eq!(log_texts(&opened).await, ["k=x", "k=x", "k=y", "k=x"]);
}

/// A refused command fails alone, leaves nothing behind and may be repeated; one that has nothing to do succeeds.
pub async fn one_failure_fails_alone(database: &Database) {
    let opened = open(database).await.unwrap();
    let refused = fresh();
    let batch = vec![
        append("k", "a"),
        request(refused, 1, Command::Refuse),
        request(fresh(), 1, Command::Nothing),
        append("k", "b"),
    ];
    let results = opened.writer.submit_all(batch).await.unwrap();
    let results = results.iter().map(|r| r.as_ref().map(|o| o.position).map_err(Error::reason)).collect::<Vec<_>>();
    assert_eq!(results, [Ok(1), Err(Reason::InvalidTransition), Ok(1), Ok(2)]);
    let retried = request(refused, 2, Command::Append { key: "k".into(), texts: vec!["c".into()] });
    assert_eq!(opened.writer.submit(retried).await.unwrap().position, 3);
}

/// A command that the database refuses fails alone too.
pub async fn one_poison_fails_alone(database: &Database) {
    let opened = open(database).await.unwrap();
    let batch = vec![append("a", "1"), append("b", "poison"), append("c", "2")];
    let results = opened.writer.submit_all(batch).await.unwrap();
    let results = results.iter().map(|r| r.as_ref().map(|o| o.position).map_err(Error::reason)).collect::<Vec<_>>();
    assert_eq!(results, [Ok(1), Err(Reason::StorageUnavailable), Ok(2)]);
    assert_eq!(log_texts(&opened).await, ["a=1", "c=2"]);
}

/// A fault of ours fails the commands that met it, and the writer goes on.
pub async fn a_panic_does_not_stop_the_writer(database: &Database) {
    let opened = open(database).await.unwrap();
    opened.writer.submit(append("k", "a")).await.unwrap();
    let fault = opened.writer.submit(request(fresh(), 1, Command::Panic)).await.unwrap_err();
    assert_eq!(fault.reason(), Reason::Internal);
    assert_eq!(opened.writer.submit(append("k", "b")).await.unwrap().position, 2);
}

/// Time never runs backwards in a log, whatever the clock does.
pub async fn time_never_runs_backwards(database: &Database) {
    let opened = open(database).await.unwrap();
    opened.clock.set(Timestamp::from_micros(5_000_000));
    opened.writer.submit(append("k", "a")).await.unwrap();
    opened.clock.set(Timestamp::from_micros(3_000_000));
    opened.writer.submit(append("k", "b")).await.unwrap();
    let times = opened.log.page(0, 10).await.unwrap().events.iter().map(|e| e.recorded_at.micros()).collect::<Vec<_>>();
    assert_eq!(times, [5_000_000, 5_000_000]);
}

/// Many writers at once: every answer is in the log once, in the order that the positions say.
pub async fn many_writers_make_one_log(database: &Database) {
    let opened = open(database).await.unwrap();
    many_writers(&[opened]).await;
}

async fn many_writers(replicas: &[Opened]) {
    const WRITERS: usize = 16;
    const EACH: usize = 40;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        let writer = replicas[number % replicas.len()].writer.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for index in 0..EACH {
                let text = format!("{number}.{index}");
                let outcome = writer.submit(append(&format!("k{}", number % 3), &text)).await.unwrap();
                answers.push((outcome.position, text));
            }
            answers
        });
    }
    let mut answers = tasks.join_all().await.concat();
    answers.sort();
    for replica in replicas {
        let page = replica.log.page(0, WRITERS * EACH + 1).await.unwrap();
        let logged = page.events.iter().map(|event| {
            let body = String::from_utf8_lossy(&event.body);
            (event.position, body.split_once('\n').map_or(String::new(), |(_, text)| text.to_owned()))
        });
        assert_eq!(logged.collect::<Vec<_>>(), answers);
        let positions = answers.iter().map(|(position, _)| *position).collect::<Vec<_>>();
        assert_eq!(positions, (1..).take(WRITERS * EACH).collect::<Vec<_>>());
    }
}

/// Two replicas on one database make the same single log. For engines that take several.
pub async fn replicas_make_one_log(database: &Database) {
    let replicas = [open(database).await.unwrap(), open(database).await.unwrap()];
    many_writers(&replicas).await;
    // A request that went to one replica is answered by the other.
    let id = fresh();
    let command = || Command::Append { key: "k".into(), texts: vec!["once".into()] };
    let first = replicas[0].writer.submit(request(id, 1, command())).await.unwrap();
    let second = replicas[1].writer.submit(request(id, 1, command())).await.unwrap();
    assert_eq!((second.replayed, second.position, &second.events), (true, first.position, &first.events));
    // The same request to both at once takes effect once.
    let id = fresh();
    let (one, two) = tokio::join!(
        replicas[0].writer.submit(request(id, 1, command())),
        replicas[1].writer.submit(request(id, 1, command()))
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.position, two.position);
    assert!(one.replayed != two.replayed);
}

/// A commit wakes whoever watches, on every replica.
pub async fn a_commit_wakes_the_watchers(database: &Database) {
    let writing = open(database).await.unwrap();
    let mut watching = vec![writing.log.clone()];
    if matches!(database, Database::Postgres { .. }) {
        watching.push(open(database).await.unwrap().log);
    }
    let mut woken = watching.iter().map(|log| log.changed()).collect::<Vec<_>>();
    writing.writer.submit(append("k", "a")).await.unwrap();
    for (log, changed) in watching.iter().zip(&mut woken) {
        while log.page(0, 1).await.unwrap().state.head == 0 {
            changed.changed().await.unwrap();
        }
        // The value is only a hint: what was seen before the wake may be all there is.
        assert_eq!(log.page(0, 1).await.unwrap().events.len(), 1);
    }
}

/// The state is a view of the log: rebuilt from it, nothing changes, compaction or not.
pub async fn rebuilding_changes_nothing(database: &Database) {
    let opened = open(database).await.unwrap();
    for index in 0..2_500 {
        // In groups, so that a rebuild crosses its chunks in the middle of a key's life.
        let texts = vec![format!("{index},")];
        let command = Command::Append { key: format!("k{}", index % 7), texts };
        opened.writer.submit_all(vec![request(fresh(), 0, command)]).await.unwrap();
    }
    let before = opened.sample.dump().await.unwrap();
    assert_eq!(before.len(), 7);
    opened.sample.damage().await.unwrap();
    assert!(opened.sample.dump().await.unwrap().is_empty());
    assert_eq!(opened.sample.rebuild().await.unwrap(), 2_500);
    assert_eq!(opened.sample.dump().await.unwrap(), before);
    assert_eq!(opened.sample.compact(1_700).await.unwrap(), 1_700);
    opened.sample.damage().await.unwrap();
    assert_eq!(opened.sample.rebuild().await.unwrap(), 2_500);
    assert_eq!(opened.sample.dump().await.unwrap(), before);
}

/// Compaction raises the floor, keeps numbers, never passes the head, and never goes back.
pub async fn compaction_keeps_the_numbers(database: &Database) {
    let opened = open(database).await.unwrap();
    for text in ["a", "b", "c"] {
        opened.writer.submit(append("k", text)).await.unwrap();
    }
    assert_eq!(opened.sample.compact(2).await.unwrap(), 2);
    assert_eq!(opened.sample.compact(1).await.unwrap(), 2);
    let page = opened.log.page(2, 10).await.unwrap();
    assert_eq!((page.state.compacted, page.events.len(), page.events[0].position), (2, 1, 3));
    let whole = opened.log.page(0, 10).await.unwrap().events;
    assert_eq!(whole.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2, 3], "what is archived is kept");
    assert_eq!(opened.sample.compact(99).await.unwrap(), 3);
    assert_eq!(opened.writer.submit(append("k", "d")).await.unwrap().position, 4);
}

fn follow(after: i64, through: i64, text: &str) -> Envelope<Command> {
    let carries = vec![Revision { log: "far@other".into(), epoch: [2; 8], position: after }];
    let guard = Guard::Follow { source: "other", epoch: [1; 8], after, through, carries };
    Envelope { principal: caller(), guard, command: Command::Append { key: "f".into(), texts: vec![text.into()] } }
}

/// A stretch of another log is taken in once and in order, its cursor in the same commit.
pub async fn a_stretch_is_followed_once(database: &Database) {
    let opened = open(database).await.unwrap();
    let taken =
        |outcome: portreeve_core::Result<Outcome<Appended>>| outcome.map(|o| o.position).map_err(|e| e.reason());
    assert_eq!(taken(opened.writer.submit(follow(0, 10, "a")).await), Ok(1));
    assert_eq!(taken(opened.writer.submit(follow(0, 10, "a")).await), Err(Reason::StaleVersion));
    assert_eq!(taken(opened.writer.submit(follow(20, 30, "c")).await), Err(Reason::StaleVersion));
    let both = opened.writer.submit_all(vec![follow(10, 20, "b"), follow(20, 30, "c")]).await.unwrap();
    assert_eq!(both.into_iter().map(taken).collect::<Vec<_>>(), [Ok(2), Ok(3)]);
    let (_, followed) = opened.log.standing().await.unwrap();
    let followed = followed.iter().map(|r| (r.log.as_str(), r.position)).collect::<Vec<_>>();
    assert_eq!(followed, [("far@other", 20), ("other", 30)]);
    assert_eq!(log_texts(&opened).await, ["f=a", "f=b", "f=c"]);
}

/// A writer that was stopped commits what had queued and refuses what comes after.
pub async fn a_stopped_writer_finishes(database: &Database) {
    let opened = open(database).await.unwrap();
    let pending = (0..50).map(|index| {
        let writer = opened.writer.clone();
        tokio::spawn(async move { writer.submit(append("k", &format!("{index},"))).await })
    });
    let pending = pending.collect::<Vec<_>>();
    opened.writer.submit(append("k", "x")).await.unwrap();
    opened.writer.stop();
    let mut done = 1;
    for task in pending {
        match task.await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.reason(), Reason::ServerDraining),
        }
    }
    assert_eq!(opened.log.page(0, 100).await.unwrap().state.head, done);
    let late = opened.writer.submit(append("k", "late")).await;
    assert_eq!(late.unwrap_err().reason(), Reason::ServerDraining);
}

/// What is said in the state table's rows is the same on both engines.
pub async fn engines_agree(one: &Database, other: &Database) {
    let (one, other) = (open(one).await.unwrap(), open(other).await.unwrap());
    for opened in [&one, &other] {
        for (key, text) in [("k", "\u{e9}\u{1f600}'\"\\"), ("K", "upper"), ("\u{e9}", "last"), ("a", "")] {
            opened.writer.submit(append(key, text)).await.unwrap();
        }
    }
    assert_eq!(one.sample.dump().await.unwrap(), other.sample.dump().await.unwrap());
    let portable = |columns: Vec<(String, String, String, bool)>| {
        columns.into_iter().map(|(table, column, kind, required)| (table, column, portable_type(&kind), required))
    };
    let columns = portable(one.sample.columns().await).collect::<Vec<_>>();
    assert!(columns.len() > 20);
    assert_eq!(columns, portable(other.sample.columns().await).collect::<Vec<_>>());
}

/// One name for what the engines call differently.
pub fn portable_type(kind: &str) -> &'static str {
    match kind.to_ascii_uppercase().as_str() {
        "BIGINT" | "INTEGER" => "whole number",
        "TEXT" => "text",
        "BLOB" | "BYTEA" => "bytes",
        "BOOLEAN" => "truth",
        other => panic!("a column of type {other} is not one that both engines store alike"),
    }
}

/// A log's handle that outlives its store still reads.
pub async fn a_log_is_shared(database: &Database) {
    let opened = open(database).await.unwrap();
    opened.writer.submit(append("k", "a")).await.unwrap();
    let log = Arc::clone(&opened.log);
    drop(opened);
    assert_eq!(log.page(0, 10).await.unwrap().events.len(), 1);
}
