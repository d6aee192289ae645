//! The logs' Merkle trees through the public API and the command line: a checkpoint kept today proves tomorrow that nothing
//! was touched, and whatever was touched in the database is found and named.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;

use portreeve_api::audit::v1 as audit;
use portreeve_api::common::v1::ErrorReason;
use portreeve_core::audit::{Hash, SigningKey, checkpoint, tree};
use portreeve_tests::logs::{check, content, entries, hash, signed};
use portreeve_tests::{Database, Fixture, Options, Part, Server, on_both_engines, process, refusal, sample};
use sqlx::Connection as _;
use tonic::Code;

on_both_engines!(a_log_proves_itself, everybody_sees_their_own, what_cannot_be_proved_is_refused);

const REFERRALS: i64 = 40;

/// A suite with some referrals of two agencies to one platform; gives the last write's revision.
async fn filled(server: &Server) -> Vec<String> {
    let client = server.client("operators/op");
    sample::register(&client).await;
    let mut revision = String::new();
    for number in 0..REFERRALS {
        let agency = if number % 2 == 0 { "nca" } else { "bka" };
        revision = sample::refer(&client, agency, "harbourbook", &format!("r{number}")).await.1;
    }
    vec![revision]
}

fn hashes(bytes: &[bytes::Bytes]) -> Vec<Hash> {
    bytes.iter().map(|bytes| hash(bytes)).collect()
}

async fn a_log_proves_itself(database: &Database) {
    let server = Server::suite(database).await;
    let client = server.client("services/auditor");
    let (empty, _) = signed(&client, "logs/decision", &[]).await;
    assert_eq!((empty.size, empty.root), (0, tree::Tree::default().root()));
    let at_least = filled(&server).await;
    let (first, header) = signed(&client, "logs/referral", &at_least).await;
    assert!(first.origin.starts_with("portreeve/referral/") && first.size > REFERRALS, "{first:?}");
    assert_eq!(header.verifier_key, SigningKey::from_seed([7; 32]).verifier(&first.origin));
    let all = entries(&client, "logs/referral").await;
    let whole = check(&all);
    assert_eq!((whole.contents(), whole.against(&first)), (first.size, vec![]));

    // Later there is more of it, and it begins as it did.
    let (_, revision) = sample::refer(&server.client("operators/op"), "nca", "harbourbook", "later").await;
    server.compact(Part::Referral, first.size - 3).await;
    let (last, _) = signed(&client, "logs/referral", &[revision]).await;
    assert_eq!(last.size, first.size + 1);
    let request = audit::GetConsistencyProofRequest {
        log: "logs/referral".into(),
        from_size: first.size,
        ..audit::GetConsistencyProofRequest::default()
    };
    let proof = client.audits().get_consistency_proof(request).await.unwrap().into_inner();
    assert_eq!(checkpoint::open(&proof.checkpoint, &header.verifier_key).unwrap(), last);
    assert!(tree::extends((last.size, last.root), (first.size, first.root), &hashes(&proof.hashes)));
    assert!(!tree::extends((last.size, last.root), (first.size, last.root), &hashes(&proof.hashes)));

    // An event is in the log as it is, and as it was under the first checkpoint.
    for (size, under) in [(0, &last), (first.size, &first)] {
        for position in [1, first.size / 2, first.size] {
            let request = audit::GetInclusionProofRequest {
                log: "logs/referral".into(),
                position,
                size,
                ..audit::GetInclusionProofRequest::default()
            };
            let proof = client.audits().get_inclusion_proof(request).await.unwrap().into_inner();
            assert_eq!(checkpoint::open(&proof.checkpoint, &header.verifier_key).as_ref(), Ok(under));
            let entry = proof.entry.unwrap();
            let leaf = content(&entry).unwrap().leaf();
            assert_eq!(leaf, hash(&entry.leaf_hash));
            assert!(tree::includes(under.size, under.root, position, leaf, &hashes(&proof.hashes)), "{position}");
        }
    }
    // Each service has a log of its own.
    for log in ["logs/decision", "logs/reporting"] {
        let (other, _) = signed(&client, log, &[]).await;
        assert_eq!(check(&entries(&client, log).await).tree(other.size).root(), other.root);
    }
    server.stop().await;
}

/// Whoever takes part can make the root of the whole log, and read of it what is theirs.
async fn everybody_sees_their_own(database: &Database) {
    let server = Server::suite(database).await;
    let at_least = filled(&server).await;
    let everything = entries(&server.client("services/auditor"), "logs/referral").await;
    let shown_to = |all: &[audit::LogEntry]| {
        let own = all.iter().filter_map(|entry| entry.content.as_ref()).filter(|content| !content.agency.is_empty());
        let mut agencies = own.map(|content| content.agency.clone()).collect::<Vec<_>>();
        agencies.sort();
        agencies.dedup();
        agencies
    };
    for (reader, sees) in [
        ("agencies/nca", vec!["nca"]),
        ("agencies/bka", vec!["bka"]),
        ("platforms/harbourbook", vec!["bka", "nca"]),
        ("platforms/chirrup", vec![]),
        ("oversightBodies/hasc", vec![]),
        ("operators/op", vec![]),
    ] {
        let client = server.client(reader);
        let (now, _) = signed(&client, "logs/referral", &at_least).await;
        let all = entries(&client, "logs/referral").await;
        assert_eq!(check(&all).against(&now), [], "{reader}");
        assert_eq!(shown_to(&all), sees, "{reader}");
        let own = everything.iter().rev().find(|entry| entry.content.as_ref().unwrap().agency == "nca").unwrap();
        let request = audit::GetInclusionProofRequest {
            log: "logs/referral".into(),
            position: own.position,
            ..audit::GetInclusionProofRequest::default()
        };
        match (client.audits().get_inclusion_proof(request).await, reader) {
            (Ok(proof), "agencies/nca" | "platforms/harbourbook") => {
                assert_eq!(proof.into_inner().entry.as_ref(), Some(own));
            }
            (Ok(proof), "oversightBodies/hasc" | "operators/op") => {
                let entry = proof.into_inner().entry.unwrap();
                assert_eq!((entry.content, &entry.leaf_hash), (None, &own.leaf_hash));
            }
            (Err(status), "agencies/bka" | "platforms/chirrup") => {
                assert_eq!(refusal(&status).reason, "PERMISSION_DENIED");
            }
            (other, _) => panic!("{reader}: {other:?}"),
        }
    }
    server.stop().await;
}

async fn what_cannot_be_proved_is_refused(database: &Database) {
    let options = Options { audit_seed: None, ..Options::only(Part::Referral) };
    let server = Server::start(database, options).await;
    let client = server.client("agencies/nca");
    let request = |log: &str| audit::GetCheckpointRequest { log: log.into(), at_least: Vec::new() };
    let refused = |status: tonic::Status| {
        let refused = refusal(&status);
        (refused.code, refused.reason)
    };
    let unsigned = client.audits().get_checkpoint(request("logs/referral")).await.unwrap_err();
    assert_eq!(refused(unsigned), (Code::FailedPrecondition, "AUDIT_KEY_MISSING".into()));
    let elsewhere = client.audits().get_checkpoint(request("logs/decision")).await.unwrap_err();
    assert_eq!(refused(elsewhere), (Code::NotFound, "LOG_NOT_FOUND".into()));
    let unknown = client.audits().get_checkpoint(request("logs/other")).await.unwrap_err();
    assert_eq!(refusal(&unknown).fields, ["log"]);
    let page = audit::ListLogEntriesRequest {
        parent: "logs/referral".into(),
        page_token: "x".into(),
        ..audit::ListLogEntriesRequest::default()
    };
    let page = client.audits().list_log_entries(page).await.unwrap_err();
    assert_eq!(refused(page), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()));
    server.stop().await;

    let server = Server::start(database, Options::only(Part::Referral)).await;
    let client = server.client("agencies/nca");
    let inclusion = |position, size| audit::GetInclusionProofRequest {
        log: "logs/referral".into(),
        position,
        size,
        at_least: Vec::new(),
    };
    let consistency = |from_size, to_size| audit::GetConsistencyProofRequest {
        log: "logs/referral".into(),
        from_size,
        to_size,
        at_least: Vec::new(),
    };
    let beyond = (Code::OutOfRange, ErrorReason::PositionOutOfRange.as_str_name().replace("ERROR_REASON_", ""));
    for (position, size) in [(1, 0), (1, 1), (i64::MAX, 0)] {
        let status = client.audits().get_inclusion_proof(inclusion(position, size)).await.unwrap_err();
        assert_eq!(refused(status), beyond, "{position} of {size}");
    }
    for (from, to) in [(1, 0), (0, 1), (i64::MAX, i64::MAX)] {
        let status = client.audits().get_consistency_proof(consistency(from, to)).await.unwrap_err();
        assert_eq!(refused(status), beyond, "{from} to {to}");
    }
    let wrong = client.audits().get_inclusion_proof(inclusion(0, -1)).await.unwrap_err();
    assert_eq!(refusal(&wrong).fields, ["position", "size"]);
    let nothing = client.audits().get_consistency_proof(consistency(0, 0)).await.unwrap().into_inner();
    assert!(nothing.hashes.is_empty());
    server.stop().await;
}

/// The exit code, and what was said.
fn verify(folder: &Path, arguments: &[&str]) -> (i32, String) {
    process::run(folder, &[&["verify", "log"], arguments].concat())
}

/// Everything that a person does with it: keep a checkpoint, verify with and without the server, and find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_in_the_database_file_is_found_and_named() {
    let fixture = Fixture::sqlite();
    let Database::Sqlite { folder } = &fixture.database else { panic!("a folder") };
    let work = tempfile::tempdir().unwrap();
    let run = |url: &str, arguments: &[&str]| {
        verify(work.path(), &[arguments, &["--server", url, "--as", "services/auditor"]].concat())
    };
    let server = Server::suite(&fixture.database).await;
    let at_least = filled(&server).await;
    let (now, header) = signed(&server.client("agencies/nca"), "logs/referral", &at_least).await;
    let key = header.verifier_key.as_str();
    let url = server.url();
    let (code, said) = run(&url, &["--verifier", key, "--save", "log.jsonl", "--save-checkpoint", "kept"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("{} events are those that were signed", now.size)), "{said}");
    let (code, said) = run(&url, &["--position", "42", "--save", "proof.jsonl", "--since", "kept"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("event 42 is in") && said.contains("only grew") && said.contains(key), "{said}");
    for file in ["log.jsonl", "proof.jsonl"] {
        let (code, said) = verify(work.path(), &[file, "--verifier", key]);
        assert_eq!(code, 0, "{said}");
    }
    assert_eq!(verify(work.path(), &["log.jsonl"]).0, 2, "a file cannot vouch for itself");
    let stranger = SigningKey::from_seed([9; 32]).verifier(&now.origin);
    assert_eq!(verify(work.path(), &["log.jsonl", "--verifier", &stranger]).0, 15);
    // The files are as good as what they hold.
    let text = std::fs::read_to_string(work.path().join("log.jsonl")).unwrap();
    let lines = text.lines().collect::<Vec<_>>();
    let edited = |name: &str, edit: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        edit(&mut lines);
        std::fs::write(work.path().join(name), lines.join("\n")).unwrap();
        verify(work.path(), &[name, "--verifier", key])
    };
    let (code, said) = edited("changed", &|lines| lines[20] = lines[20].replace("agencies/", "agencies/x"));
    assert!(code == 10 && said.contains("event 20 was changed"), "{code} {said}");
    let (code, said) = edited("removed", &|lines| _ = lines.remove(20));
    assert!(code == 11 && said.contains("event 20 was removed"), "{code} {said}");
    let (code, said) = edited("inserted", &|lines| lines.insert(20, lines[5].clone()));
    assert!(code == 12 && said.contains("inserted"), "{code} {said}");
    let (code, said) = edited("swapped", &|lines| lines.swap(20, 21));
    assert!(code == 13 && said.contains("the one at 20 was recorded at 21"), "{code} {said}");
    server.stop().await;

    let file = folder.join("referral.db");
    let kept = work.path().join("referral.db");
    let url = format!("sqlite:{}", file.display());
    let edit = async |statements: &str| {
        let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut database).await.unwrap();
        database.close().await.unwrap();
    };
    // Everything into the one file, which is then all there is to put back.
    edit("PRAGMA wal_checkpoint(TRUNCATE)").await;
    std::fs::copy(&file, &kept).unwrap();
    let shift = "UPDATE event SET seq = -seq WHERE seq >= 20; UPDATE event SET seq = -seq + 1 WHERE seq < 0;";
    let last = now.size;
    let cases = [
        ("UPDATE event SET body = x'00' || body WHERE seq = 20".to_owned(), 10, "event 20 was changed"),
        ("DELETE FROM event WHERE seq = 20".to_owned(), 11, "event 20 was removed"),
        (
            format!(
                "{shift} INSERT INTO event SELECT 20, recorded_us, agency, platform, actor, body, leaf FROM event WHERE seq = 5;
                 UPDATE event_head SET last = {last} + 1"
            ),
            12,
            "event 20 was inserted",
        ),
        (
            "UPDATE event SET seq = -1 WHERE seq = 20; UPDATE event SET seq = 20 WHERE seq = 30;
             UPDATE event SET seq = 30 WHERE seq = -1"
                .to_owned(),
            13,
            "the one at 20 was recorded at 30",
        ),
    ];
    for (statements, expected, named) in cases {
        for of_the_last in ["referral.db-wal", "referral.db-shm"] {
            let _ = std::fs::remove_file(folder.join(of_the_last));
        }
        std::fs::copy(&kept, &file).unwrap();
        edit(&statements).await;
        // The referral service alone: what follows it would stumble over what is no event.
        let server = Server::start(&fixture.database, Options::only(Part::Referral)).await;
        let (code, said) = run(&server.url(), &["--verifier", key, "--since", "kept"]);
        assert!(code == expected && said.contains(named), "{statements}: {code} {said}");
        server.stop().await;
    }
}
