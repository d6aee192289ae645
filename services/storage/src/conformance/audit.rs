//! What every engine must do with the tree over its log.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

use portreeve_core::Reason;
use portreeve_core::audit::{Check, Checkpoint, Claim, Finding, Hash, tree};
use sha2::{Digest as _, Sha256};

use super::cases::{append, fresh, request};
use super::ledger::Command;
use super::{Opened, open};
use crate::{Database, LoggedEvent, StoredEvent};

/// RFC 6962, section 2.1, over the events as the log gives them to its readers: with no regard to cost, and without a line
/// of what the service does.
fn root_of(events: &[StoredEvent]) -> Hash {
    match events {
        [] => Sha256::digest([]).into(),
        [event] => {
            let mut hasher = Sha256::new();
            hasher.update([0, 1]);
            hasher.update(event.position.to_be_bytes());
            hasher.update(event.recorded_at.micros().to_be_bytes());
            for part in [event.agency.as_bytes(), event.platform.as_bytes(), event.actor.as_bytes(), &event.body] {
                hasher.update(u64::try_from(part.len()).unwrap().to_be_bytes());
                hasher.update(part);
            }
            hasher.finalize().into()
        }
        events => {
            let (left, right) = events.split_at(events.len().next_power_of_two() / 2);
            Sha256::digest([[1].as_slice(), &root_of(left), &root_of(right)].concat()).into()
        }
    }
}

async fn events(opened: &Opened) -> Vec<StoredEvent> {
    opened.log.page(0, 100_000).await.unwrap().events
}

/// The tree, once it was found to be that of the events.
async fn checked(opened: &Opened) -> Checkpoint {
    let (_, tree) = opened.log.tree().await.unwrap();
    let events = events(opened).await;
    assert_eq!((tree.size(), tree.root()), (i64::try_from(events.len()).unwrap(), root_of(&events)));
    Checkpoint { origin: "notes".into(), size: tree.size(), root: tree.root() }
}

async fn prove(opened: &Opened, claim: Claim) -> Vec<Hash> {
    opened.log.proof(claim).await.unwrap()
}

/// Whatever happens to a log, its tree is that of its events, and proves each of them and its own past.
pub async fn the_tree_is_that_of_the_log(database: &Database) {
    let opened = open(database).await.unwrap();
    let mut past = vec![checked(&opened).await];
    // The same numbers on every run; which ones does not matter.
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut repeated = Vec::new();
    for step in 0..60 {
        let batch = (0..=next(12)).map(|number| {
            let command = |texts| Command::Append { key: format!("k{}", number % 3), texts };
            match next(10) {
                0 => request(fresh(), 1, Command::Refuse),
                1 => request(fresh(), 1, Command::Nothing),
                2 if step % 7 == 0 => append("k", "poison"),
                3..=6 => request(fresh(), 1, command((0..next(9)).map(|part| format!("{step}.{part}")).collect())),
                _ => request(fresh(), 1, command(vec![format!("{step}")])),
            }
        });
        let mut batch = batch.collect::<Vec<_>>();
        repeated.extend(batch.first().cloned());
        let again = usize::try_from(next(u64::try_from(repeated.len()).unwrap())).unwrap();
        batch.extend(repeated.get(again).cloned());
        opened.writer.submit_all(batch).await.unwrap();
        if step % 20 == 19 {
            let head = opened.log.standing().await.unwrap().0.head;
            opened.sample.compact(head / 2).await.unwrap();
        }
        past.push(checked(&opened).await);
    }
    let last = past.last().unwrap().clone();
    assert!(last.size > 512, "{} events are too few for a kept node and more", last.size);
    let (size, root) = (last.size, last.root);
    for LoggedEvent { event, leaf } in opened.log.entries(0, 100_000).await.unwrap() {
        let position = event.position;
        let proof = prove(&opened, Claim::Inclusion { size, position }).await;
        assert!(tree::includes(size, root, position, leaf.unwrap(), &proof), "{position}");
    }
    for earlier in past {
        assert_eq!(prove(&opened, Claim::Root { size: earlier.size }).await, [earlier.root]);
        let proof = prove(&opened, Claim::Consistency { from: earlier.size, to: size }).await;
        assert!(tree::extends((size, root), (earlier.size, earlier.root), &proof), "{}", earlier.size);
    }
    assert_eq!(opened.sample.rebuild().await.unwrap(), size);
    assert_eq!(checked(&opened).await, last);
}

async fn fill(opened: &Opened, count: i64) {
    let texts = (0..count).map(|index| format!("{index},")).collect();
    opened.writer.submit(request(fresh(), 0, Command::Append { key: "k".into(), texts })).await.unwrap();
}

async fn run(opened: &Opened, statements: &[&str]) {
    for statement in statements {
        opened.sample.execute(statement).await.unwrap();
    }
}

/// A log from before there was a tree, compacted or not, is brought into it: by the next write, and by opening it.
pub async fn a_log_from_before_gets_its_tree(database: &Database) {
    const FORGET: [&str; 4] = [
        "UPDATE event SET leaf = NULL",
        "UPDATE event_archive SET leaf = NULL",
        "DELETE FROM tree_node",
        "UPDATE event_head SET tree = ''",
    ];
    let opened = open(database).await.unwrap();
    fill(&opened, 1_300).await;
    opened.sample.compact(700).await.unwrap();
    let before = checked(&opened).await;
    run(&opened, &FORGET).await;
    assert_eq!(opened.log.tree().await.unwrap().1.size(), 0);
    opened.writer.submit(append("k", "x")).await.unwrap();
    let after = checked(&opened).await;
    let proof = prove(&opened, Claim::Consistency { from: before.size, to: after.size }).await;
    assert!(tree::extends((after.size, after.root), (before.size, before.root), &proof));
    assert_eq!(found(&opened, &after).await, []);

    run(&opened, &FORGET).await;
    opened.sample.catch_up().await.unwrap();
    assert_eq!(checked(&opened).await, after);
    // A release that knows of no tree appends to the log, but not to the tree.
    run(
        &opened,
        &[
            "INSERT INTO event (seq, recorded_us, agency, platform, actor, body) \
             SELECT seq + 1, recorded_us, agency, platform, actor, body FROM event WHERE seq = 1301",
            "UPDATE event_head SET last = 1302",
        ],
    )
    .await;
    opened.writer.submit(append("k", "y")).await.unwrap();
    assert_eq!(checked(&opened).await.size, 1_303);
}

/// What a check of the log against a checkpoint finds.
async fn found(opened: &Opened, checkpoint: &Checkpoint) -> Vec<Finding> {
    let mut check = Check::new();
    for LoggedEvent { event, leaf } in opened.log.entries(0, 100_000).await.unwrap() {
        check.take(event.position, leaf.unwrap_or_default(), Some(event.entry()));
    }
    check.against(checkpoint)
}

/// What was done to the log behind the service's back is found and named; and nothing is built from such a log.
pub async fn tampering_is_found(database: &Database) {
    let opened = open(database).await.unwrap();
    fill(&opened, 400).await;
    let signed = checked(&opened).await;
    assert_eq!(found(&opened, &signed).await, []);
    let dump = opened.sample.dump().await.unwrap();
    run(&opened, &["CREATE TABLE _kept AS SELECT * FROM event", "CREATE TABLE _head AS SELECT * FROM event_head"])
        .await;
    let own = |position| Finding::Changed { position };
    let cases: [(&[&str], Finding); 7] = [
        (&["UPDATE event SET agency = 'other' WHERE seq = 42"], own(42)),
        (&["UPDATE event SET recorded_us = recorded_us + 1 WHERE seq = 400"], own(400)),
        (&["UPDATE event SET actor = 'agencies/bka' WHERE seq = 1"], own(1)),
        (&["DELETE FROM event WHERE seq = 42"], Finding::Removed { position: 42 }),
        (
            &[
                "DELETE FROM event WHERE seq = 42",
                "UPDATE event SET seq = -seq WHERE seq > 42",
                "UPDATE event SET seq = -seq - 1 WHERE seq < 0",
                "UPDATE event_head SET last = 399",
            ],
            Finding::Removed { position: 42 },
        ),
        (
            &[
                "UPDATE event SET seq = -seq WHERE seq >= 42",
                "UPDATE event SET seq = -seq + 1 WHERE seq < 0",
                "INSERT INTO event (seq, recorded_us, agency, platform, actor, body, leaf) \
                 SELECT 42, recorded_us, 'x', platform, actor, body, leaf FROM event WHERE seq = 7",
                "UPDATE event_head SET last = 401",
            ],
            Finding::Inserted { position: 42 },
        ),
        (
            &[
                "UPDATE event SET seq = -7 WHERE seq = 7",
                "UPDATE event SET seq = 7 WHERE seq = 300",
                "UPDATE event SET seq = 300 WHERE seq = -7",
            ],
            Finding::Reordered { position: 7, recorded_at: 300 },
        ),
    ];
    for (statements, finding) in cases {
        run(&opened, statements).await;
        let findings = found(&opened, &signed).await;
        assert!(findings.contains(&finding), "{statements:?}: {findings:?}");
        let refused = opened.sample.rebuild().await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Internal);
        assert_eq!(opened.sample.dump().await.unwrap(), dump, "nothing was built from it");
        run(
            &opened,
            &[
                "DELETE FROM event",
                "INSERT INTO event SELECT * FROM _kept",
                "DELETE FROM event_head",
                "INSERT INTO event_head SELECT * FROM _head",
            ],
        )
        .await;
        assert_eq!(checked(&opened).await, signed);
    }
    // A leaf that is made anew with its event, by somebody who knows how: the root tells.
    let mut changed = events(&opened).await[41].clone();
    changed.agency = "other".into();
    let leaf = portreeve_core::audit::hex(&changed.entry().leaf());
    let literal =
        if matches!(database, Database::Postgres { .. }) { format!("'\\x{leaf}'") } else { format!("x'{leaf}'") };
    run(&opened, &[&format!("UPDATE event SET agency = 'other', leaf = {literal} WHERE seq = 42")]).await;
    assert_eq!(found(&opened, &signed).await, [Finding::OtherTree]);
    assert!(opened.sample.rebuild().await.is_err());
}

/// Two replicas on one database grow one tree. For engines that take several.
pub async fn replicas_grow_one_tree(database: &Database) {
    let replicas = [open(database).await.unwrap(), open(database).await.unwrap()];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let writer = replicas[number % 2].writer.clone();
        tasks.spawn(async move {
            for index in 0..30 {
                writer.submit(append(&format!("k{number}"), &format!("{index}"))).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let [one, other] = &replicas;
    assert_eq!(checked(one).await.size, 360);
    assert_eq!(checked(one).await, checked(other).await);
    assert_eq!(found(other, &checked(one).await).await, []);
}
