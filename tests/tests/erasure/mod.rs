//! Retention and erasure through the public API: what is erased is gone from every service, from every answer and from the
//! database; the logs still prove themselves and every report gives what it gave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kill;

use std::collections::{BTreeSet, VecDeque};

use portreeve_api::common::v1::{self as common, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1::ReportDefinition;
use portreeve_core::audit::Checkpoint;
use portreeve_tests::logs::{check, entries, signed};
use portreeve_tests::process::Process;
use portreeve_tests::{Client, Database, Fixture, Part, Server, Timestamp, on_both_engines, refusal, sample, within};
use referral::FieldGroup::{Grade, Reasons, Target};
use sqlx::{Connection as _, Row as _};

on_both_engines!(
    what_is_erased_is_gone_and_the_logs_prove_themselves,
    time_alone_erases,
    what_is_erased_does_not_come_back,
    only_the_agencys_approvers_erase,
    a_draft_that_is_given_up_is_nowhere,
);

const START: &str = "2026-03-01T09:00:00Z";
/// What must be nowhere once it was erased.
const SECRETS: [&str; 6] =
    ["secret-page", "secret-id", "secret-reasons", "secret-answer", "secret-terms", "secret-why"];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn groups(groups: &[referral::FieldGroup]) -> Vec<i32> {
    groups.iter().map(|group| (*group).into()).collect()
}

fn draft(tag: &str, words: [&str; 6]) -> referral::ReferralDraft {
    let [page, id, reasons, _, conditions, _] = words;
    let mut draft = sample::draft("harbourbook", tag);
    let target = draft.target.as_mut().unwrap();
    target.url = format!("https://harbourbook.example/pages/{page}");
    target.native_id = id.into();
    referral::ReferralDraft {
        statement_of_reasons: reasons.into(),
        protected_context: Some(referral::ProtectedContextCheck {
            answers: (1..=6)
                .map(|context| referral::ProtectedContextAnswer {
                    context,
                    finding: referral::DefenceFinding::Uncertain.into(),
                    reasons: reasons.into(),
                })
                .collect(),
        }),
        handling: Some(referral::Handling {
            tlp: common::Tlp::Amber.into(),
            source_grade: common::SourceGrade::Reliable.into(),
            assessment: common::InformationAssessment::KnownDirectly.into(),
            code: common::HandlingCode::SharingWithConditions.into(),
            conditions: conditions.into(),
            ..referral::Handling::default()
        }),
        ..draft
    }
}

fn erase(name: &str, of: &[referral::FieldGroup], id: &str) -> referral::EraseReferralRequest {
    referral::EraseReferralRequest {
        name: name.into(),
        field_groups: groups(of),
        reason: "The person asked for it.".into(),
        request_id: sample::request_id(id),
    }
}

fn policy(rules: &[(referral::FieldGroup, referral::RetentionClass)], id: &str) -> referral::SetRetentionPolicyRequest {
    let rule = |(group, class): &(referral::FieldGroup, referral::RetentionClass)| referral::RetentionRule {
        field_group: (*group).into(),
        retention_class: (*class).into(),
    };
    referral::SetRetentionPolicyRequest {
        name: "agencies/nca/retentionPolicy".into(),
        rules: rules.iter().map(rule).collect(),
        etag: String::new(),
        request_id: sample::request_id(id),
    }
}

/// Refers, decides with an explanation and withdraws; gives the referral and the revisions.
async fn life(client: &Client, tag: &str, words: [&str; 6]) -> (referral::Referral, Vec<String>) {
    let mut nca = client.acting("agencies/nca").referrals();
    let reply = nca.create_referral(sample::create("nca", draft(tag, words), tag)).await.unwrap().into_inner();
    let sent = reply.referral.unwrap();
    let case = sample::case_of(&sent);
    let mut harbourbook = client.acting("platforms/harbourbook").decisions();
    let request = decision::GetCaseRequest { name: case.clone(), at_least: vec![reply.revision] };
    harbourbook.get_case(request).await.unwrap();
    let cases = [case.clone()];
    harbourbook.acknowledge_cases(sample::acknowledge("harbourbook", &cases, &format!("ack {tag}"))).await.unwrap();
    let explained = decision::DecisionDraft { explanation: words[3].into(), ..sample::closed() };
    let request = sample::record(&case, explained, &format!("decide {tag}"));
    let decided = harbourbook.record_decision(request).await.unwrap().into_inner();
    let withdrawal = referral::WithdrawReferralRequest {
        reason: words[5].into(),
        ..sample::withdraw(&sent.name, &format!("w {tag}"))
    };
    let withdrawn = nca.withdraw_referral(withdrawal).await.unwrap().into_inner();
    (sent, vec![decided.revision, withdrawn.revision])
}

async fn case(client: &Client, name: &str, at_least: &[String]) -> decision::Case {
    let request = decision::GetCaseRequest { name: name.into(), at_least: at_least.to_vec() };
    client.acting("platforms/harbourbook").decisions().get_case(request).await.unwrap().into_inner().case.unwrap()
}

async fn get(client: &Client, name: &str) -> referral::Referral {
    let request = referral::GetReferralRequest { name: name.into(), at_least: vec![] };
    client.acting("agencies/nca").referrals().get_referral(request).await.unwrap().into_inner().referral.unwrap()
}

/// Every change of both logs from the beginning, as text.
async fn changes(client: &Client) -> String {
    use referral::list_referral_changes_request::Start;
    let request = referral::ListReferralChangesRequest {
        parent: "agencies/-".into(),
        start: Some(Start::Earliest(true)),
        page_size: 1_000,
        ..referral::ListReferralChangesRequest::default()
    };
    let referrals = client.acting("agencies/nca").referrals().list_referral_changes(request).await.unwrap();
    let request = decision::ListCaseChangesRequest {
        parent: "platforms/harbourbook".into(),
        start: Some(decision::list_case_changes_request::Start::Earliest(true)),
        page_size: 1_000,
        ..decision::ListCaseChangesRequest::default()
    };
    let cases = client.acting("platforms/harbourbook").decisions().list_case_changes(request).await.unwrap();
    format!("{:?} {:?}", referrals.into_inner().changes, cases.into_inner().changes)
}

async fn root(client: &Client, log: &str) -> Checkpoint {
    signed(&client.acting("services/auditor"), log, &[]).await.0
}

/// What is wrong with a log as it is now, held against a checkpoint of its first events; and the bytes of these.
async fn verified(client: &Client, log: &str, against: &Checkpoint) -> (Vec<String>, Vec<u8>) {
    let mut first = entries(&client.acting("services/auditor"), log).await;
    first.retain(|entry| entry.position <= against.size);
    let bytes = first.iter().flat_map(|entry| entry.content.as_ref().unwrap().body.to_vec()).collect();
    (check(&first).against(against).iter().map(ToString::to_string).collect(), bytes)
}

fn found(bytes: &[u8], words: &[&'static str]) -> BTreeSet<&'static str> {
    words.iter().copied().filter(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes())).collect()
}

/// Every byte that the database keeps: of SQLite its files, of Postgres the rows of its tables.
async fn stored(database: &Database) -> Vec<u8> {
    let mut bytes = Vec::new();
    match database {
        Database::Sqlite { folder } => {
            for file in
                std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| !path.is_dir())
            {
                match std::fs::read(file) {
                    // SQLite takes its helping files away when the last connection closes: nothing is kept in one that is gone.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    read => bytes.extend(read.unwrap()),
                }
            }
        }
        Database::Postgres { url } => {
            let mut admin = sqlx::PgConnection::connect(url).await.unwrap();
            let tables = "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables \
                          WHERE table_schema NOT IN ('pg_catalog', 'information_schema')";
            let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut admin).await.unwrap();
            for table in tables {
                let rows =
                    format!("SELECT convert_to(encode(convert_to(t::text, 'UTF8'), 'escape'), 'UTF8') FROM {table} t");
                for row in sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(&mut admin).await.unwrap() {
                    bytes.extend(row.get::<Vec<u8>, _>(0));
                }
            }
            // What lies in a row as bytes is written there as digits.
            let columns = "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name), quote_ident(column_name) \
                           FROM information_schema.columns WHERE data_type = 'bytea' \
                           AND table_schema NOT IN ('pg_catalog', 'information_schema')";
            let columns: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(&mut admin).await.unwrap();
            for (table, column) in columns {
                let values = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
                for row in sqlx::query(sqlx::AssertSqlSafe(values)).fetch_all(&mut admin).await.unwrap() {
                    bytes.extend(row.get::<Vec<u8>, _>(0));
                }
            }
        }
    }
    bytes
}

async fn what_is_erased_is_gone_and_the_logs_prove_themselves(database: &Database) {
    let (server, _clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let (sent, _) = life(&client, "erased", SECRETS).await;
    let kept = ["kept-page", "kept-id", "kept-reasons", "kept-answer", "kept-terms", "kept-why"];
    let (other, at_least) = life(&client, "kept", kept).await;
    let name = sample::case_of(&sent);
    let whole = case(&client, &name, &at_least).await;
    assert_eq!(whole.latest_decision.as_ref().unwrap().explanation, "secret-answer");
    assert_eq!(found(changes(&client).await.as_bytes(), &SECRETS).len(), SECRETS.len());
    let mut harbourbook = client.acting("platforms/harbourbook").decisions();
    let explained = decision::DecisionDraft { explanation: SECRETS[3].into(), ..sample::closed() };
    let repeat = sample::record(&name, explained, "said again");
    harbourbook.record_decision(repeat.clone()).await.unwrap();
    let definition = ReportDefinition {
        cohort_from_date: "2026-03-01".into(),
        cohort_until_date: "2026-03-31".into(),
        as_of_date: "2026-03-01".into(),
        known_at_date: "2026-03-01".into(),
        ..ReportDefinition::default()
    };
    let report = client.report(definition.clone(), &at_least).await.unwrap();
    let before = (root(&client, "logs/referral").await, root(&client, "logs/decision").await);
    // The log itself never held it in the clear.
    assert_eq!(found(&verified(&client, "logs/referral", &before.0).await.1, &SECRETS), BTreeSet::new());
    assert_eq!(found(&verified(&client, "logs/decision", &before.1).await.1, &SECRETS), BTreeSet::new());

    let mut retention = client.acting("agencies/nca").retention();
    let request = erase(&sent.name, &[Target, Reasons, Grade], "erase");
    let reply = retention.erase_referral(request.clone()).await.unwrap().into_inner();
    let left = reply.referral.unwrap();
    assert_eq!(left.erasures.iter().map(|one| one.field_group).collect::<Vec<_>>(), groups(&[Target, Reasons, Grade]));
    assert!(left.erasures.iter().all(|one| one.erased_at == Some(sample::time(START)) && !one.reason.is_empty()));
    assert_eq!(get(&client, &sent.name).await, left);
    let target = left.target.unwrap();
    assert_eq!((target.kind, target.url.as_str()), (sent.target.as_ref().unwrap().kind, ""));
    let handling = left.handling.unwrap();
    assert_eq!((handling.source_grade, handling.code), (0, common::HandlingCode::SharingWithConditions.into()));

    let shown = case(&client, &name, std::slice::from_ref(&reply.revision)).await;
    assert_eq!(found(format!("{shown:?}").as_bytes(), &SECRETS), BTreeSet::new());
    assert_eq!((shown.status, shown.disposition), (whole.status, whole.disposition));
    assert_eq!(shown.erasures, left.erasures);
    let all = changes(&client).await;
    assert_eq!(found(all.as_bytes(), &SECRETS), BTreeSet::new());
    // What of the other was never asked to go is all there.
    assert_eq!(found(all.as_bytes(), &kept).len(), kept.len());
    assert_eq!(get(&client, &other.name).await.statement_of_reasons, "kept-reasons");

    // Said again it is done already, and the first request of all gets what is left of its answer.
    assert!(retention.erase_referral(request).await.unwrap().into_inner().replayed);
    let again = retention.erase_referral(erase(&sent.name, &[Reasons], "again")).await.unwrap().into_inner();
    assert_eq!(again.referral.unwrap().erasures, left.erasures);
    let decided = harbourbook.record_decision(repeat).await.unwrap().into_inner();
    assert_eq!((decided.replayed, decided.decision.unwrap().explanation.as_str()), (true, ""));
    let mut nca = client.acting("agencies/nca").referrals();
    let first =
        nca.create_referral(sample::create("nca", draft("erased", SECRETS), "erased")).await.unwrap().into_inner();
    assert!(first.replayed && first.referral.unwrap().target.unwrap().url.is_empty());

    // The logs are the ones that were signed, and prove it; the figures are the same, digest and all.
    for (log, before) in [("logs/referral", &before.0), ("logs/decision", &before.1)] {
        let now = root(&client, log).await;
        assert!(now.size > before.size);
        assert_eq!(verified(&client, log, before).await.0, Vec::<String>::new(), "{log}");
        assert_eq!(verified(&client, log, &now).await.0, Vec::<String>::new(), "{log}");
    }
    let after = client.report(definition.clone(), &[reply.revision]).await.unwrap();
    assert_eq!(after.digest, report.digest);
    server.rebuilds(&Part::ALL).await;
    assert_eq!(client.report(definition, &[]).await.unwrap().digest, report.digest);

    server.stop().await;
    let bytes = stored(database).await;
    assert_eq!(found(&bytes, &SECRETS), BTreeSet::new());
    assert!(found(&bytes, &kept).len() >= 4, "{:?}", found(&bytes, &kept));
}

async fn time_alone_erases(database: &Database) {
    use referral::RetentionClass::{OneDay, SevenDays};
    let (server, clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let mut retention = client.acting("agencies/nca").retention();
    let set =
        retention.set_retention_policy(policy(&[(Target, SevenDays), (Reasons, OneDay)], "policy")).await.unwrap();
    let set = set.into_inner().policy.unwrap();
    assert_eq!((set.rules.len(), set.update_time), (2, Some(sample::time(START))));
    let read = referral::GetRetentionPolicyRequest { name: set.name.clone(), at_least: vec![] };
    assert_eq!(retention.get_retention_policy(read.clone()).await.unwrap().into_inner().policy.unwrap(), set);

    let (first, _) = sample::refer(&client, "nca", "harbourbook", "first").await;
    let (foreign, _) = sample::refer(&client, "bka", "harbourbook", "foreign").await;
    clock.set(at("2026-03-01T21:00:00Z"));
    let (second, _) = sample::refer(&client, "nca", "harbourbook", "second").await;
    let request = referral::WatchReferralsRequest {
        parent: "agencies/-".into(),
        start: Some(sample::start(watch_start::Start::Now(true))),
        ..referral::WatchReferralsRequest::default()
    };
    let mut watch = client.acting("services/decision").referrals().watch_referrals(request).await.unwrap().into_inner();
    let mut told = VecDeque::new();
    let mut next = async || loop {
        if let Some(erased) = told.pop_front() {
            return erased;
        }
        let message = within(60, "an erasure", watch.message()).await.unwrap().unwrap();
        for change in message.changes {
            if let Some(referral::referral_change::Change::Erased(it)) = change.change {
                let last = it.erasures.iter().max_by_key(|one| sample::micros(one.erased_at.as_ref())).unwrap();
                assert_eq!(last.cause, i32::from(referral::EraseCause::Retention));
                told.push_back((it.name, last.field_group, sample::micros(last.erased_at.as_ref())));
            }
        }
    };
    // To the microsecond, and each in its own time.
    let day = |text: &str| at(text).micros();
    clock.set(Timestamp::from_micros(day("2026-03-02T09:00:00Z") - 1));
    clock.set(at("2026-03-02T09:00:00Z"));
    assert_eq!(next().await, (first.name.clone(), Reasons.into(), day("2026-03-02T09:00:00Z")));
    assert!(!get(&client, &second.name).await.statement_of_reasons.is_empty());
    clock.set(at("2026-03-02T21:00:00Z"));
    assert_eq!(next().await, (second.name.clone(), Reasons.into(), day("2026-03-02T21:00:00Z")));
    clock.set(at("2026-03-08T21:00:00Z"));
    assert_eq!(next().await.0, first.name);
    assert_eq!(next().await.0, second.name);
    let request = referral::GetReferralRequest { name: foreign.name, at_least: vec![] };
    let bka = client.acting("agencies/bka").referrals().get_referral(request).await.unwrap().into_inner();
    assert!(bka.referral.unwrap().erasures.is_empty());

    // Without rules everything is kept; a policy that is set later takes up what is past its time already.
    retention.set_retention_policy(policy(&[], "none")).await.unwrap();
    let (third, _) = sample::refer(&client, "nca", "harbourbook", "third").await;
    clock.set(at("2026-06-01T00:00:00Z"));
    let stale = referral::SetRetentionPolicyRequest { etag: set.etag, ..policy(&[(Grade, OneDay)], "stale") };
    assert_eq!(refusal(&retention.set_retention_policy(stale).await.unwrap_err()).reason, "STALE_VERSION");
    assert!(get(&client, &third.name).await.erasures.is_empty());
    retention.set_retention_policy(policy(&[(Reasons, OneDay)], "again")).await.unwrap();
    assert_eq!(next().await.0, third.name);
    server.rebuilds(&[Part::Referral]).await;
}

async fn what_is_erased_does_not_come_back(database: &Database) {
    let (server, _clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let (sent, _) = sample::refer(&client, "nca", "harbourbook", "one").await;
    let mut retention = client.acting("agencies/nca").retention();
    let erased = retention.erase_referral(erase(&sent.name, &[Reasons], "erase")).await.unwrap().into_inner();
    let name = sample::case_of(&sent);
    let shown = case(&client, &name, &[erased.revision]).await;
    let (shown_target, sent_target) = (shown.target.unwrap(), sent.target.clone().unwrap());
    assert_eq!((shown.statement_of_reasons.as_str(), shown_target.url), ("", sent_target.url));
    assert_eq!(
        (shown_target.native_id, shown_target.canonical_url),
        (sent_target.native_id, sent_target.canonical_url)
    );

    // The platform's explanation and the agency's reason for taking it back are reasons too.
    let mut harbourbook = client.acting("platforms/harbourbook").decisions();
    harbourbook
        .acknowledge_cases(sample::acknowledge("harbourbook", std::slice::from_ref(&name), "ack"))
        .await
        .unwrap();
    let explained = decision::DecisionDraft { explanation: "secret-answer".into(), ..sample::closed() };
    let decided =
        harbourbook.record_decision(sample::record(&name, explained.clone(), "decide")).await.unwrap().into_inner();
    assert_eq!(decided.decision.unwrap().explanation, "");
    // Said again in the same words it is the same decision.
    let again =
        harbourbook.record_decision(sample::record(&name, explained, "decide again")).await.unwrap().into_inner();
    assert_eq!(again.decision.unwrap().version, 1);
    let mut nca = client.acting("agencies/nca").referrals();
    let withdrawn = nca.withdraw_referral(sample::withdraw(&sent.name, "withdraw")).await.unwrap().into_inner();
    assert_eq!(withdrawn.referral.unwrap().withdrawal_reason, "");
    let again = nca.withdraw_referral(sample::withdraw(&sent.name, "withdraw again")).await.unwrap().into_inner();
    assert_eq!(again.referral.unwrap().state, i32::from(referral::ReferralState::Withdrawn));
    let shown = case(&client, &name, &[withdrawn.revision]).await;
    assert_eq!((shown.withdrawal_reason.as_str(), shown.status), ("", decision::CaseStatus::Withdrawn.into()));
    server.rebuilds(&[Part::Referral, Part::Decision]).await;
}

async fn only_the_agencys_approvers_erase(database: &Database) {
    let (server, _clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let (sent, _) = sample::refer(&client, "nca", "harbourbook", "one").await;
    let nobody = "agencies/nca/referrals/0190b2f0-0000-7000-8000-00000000000a";
    let officer = client.acting("agencies/nca").roles(&["officer"]);
    for caller in [client.acting("agencies/bka"), client.acting("platforms/harbourbook"), officer] {
        // Whether there is such a referral is told to nobody else.
        let no = caller.retention().erase_referral(erase(&sent.name, &[Target], "no")).await.unwrap_err();
        let none = caller.retention().erase_referral(erase(nobody, &[Target], "no")).await.unwrap_err();
        assert_eq!([refusal(&no).reason, refusal(&none).reason], ["PERMISSION_DENIED"; 2]);
        assert_eq!((no.message(), refusal(&no).metadata), (none.message(), refusal(&none).metadata));
        let no = refusal(&caller.retention().set_retention_policy(policy(&[], "no")).await.unwrap_err());
        assert_eq!(no.reason, "PERMISSION_DENIED");
    }
    let read = referral::GetRetentionPolicyRequest { name: "agencies/nca/retentionPolicy".into(), at_least: vec![] };
    for (caller, may) in [
        ("agencies/nca", true),
        ("oversightBodies/hac", true),
        ("operators/op", true),
        ("agencies/bka", false),
        ("platforms/harbourbook", false),
    ] {
        let read = client.acting(caller).retention().get_retention_policy(read.clone()).await;
        assert_eq!(read.is_ok(), may, "{caller}: {read:?}");
    }
    let mut retention = client.acting("agencies/nca").retention();
    let none = refusal(&retention.erase_referral(erase(nobody, &[Target], "none")).await.unwrap_err());
    assert_eq!(none.reason, "REFERRAL_NOT_FOUND");
    let twice =
        policy(&[(Target, referral::RetentionClass::OneDay), (Target, referral::RetentionClass::OneYear)], "twice");
    let no = refusal(&retention.set_retention_policy(twice).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.fields), ("REQUEST_INVALID", vec!["rules[1].field_group".to_owned()]));
    let other = referral::EraseReferralRequest {
        field_groups: vec![referral::FieldGroup::LegalBasis.into()],
        reason: "x".repeat(501),
        ..erase(&sent.name, &[], "other")
    };
    let no = refusal(&retention.erase_referral(other).await.unwrap_err());
    assert_eq!(no.fields, ["field_groups[0]", "reason"]);
    let fits = referral::EraseReferralRequest { reason: "x".repeat(500), ..erase(&sent.name, &[Grade], "fits") };
    assert_eq!(retention.erase_referral(fits).await.unwrap().into_inner().referral.unwrap().erasures.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approver_erases_from_the_command_line() {
    let fixture = Fixture::sqlite();
    let server = Server::suite(&fixture.database).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let (sent, _) = sample::refer(&client, "nca", "harbourbook", "one").await;
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let run = async |more: &[&str]| {
        let caller = ["retention", more[0], "--server", &url, "--as", "agencies/nca"];
        let arguments = caller.iter().chain(&more[1..]).copied();
        Process::start(arguments, [("", ""); 0], folder.path()).unwrap().succeeds().await
    };
    assert!(run(&["show", "agencies/nca"]).await.unwrap().contains("keeps everything"));
    run(&["set", "target=one-year", "reasons=three-months"]).await.unwrap();
    let shown = run(&["show", "agencies/nca"]).await.unwrap();
    assert!(shown.contains("TARGET") && shown.contains("ONE_YEAR") && shown.contains("THREE_MONTHS"), "{shown}");
    let erased = run(&["erase", &sent.name, "--group", "target,grade", "--reason", "Asked for."]).await.unwrap();
    assert!(erased.contains("TARGET, GRADE"), "{erased}");
    assert_eq!(get(&client, &sent.name).await.erasures.len(), 2);
    for wrong in [&["set", "legal-basis=one-year"][..], &["set", "target=for-ever"], &["set", "target"]] {
        assert!(run(wrong).await.is_err(), "{wrong:?}");
    }
}

/// What is written and given up again is in no byte of the database.
async fn a_draft_that_is_given_up_is_nowhere(database: &Database) {
    let (server, _clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    // A draft tells neither what a platform answers nor why it was withdrawn.
    let written = [SECRETS[0], SECRETS[1], SECRETS[2], SECRETS[4]];
    let mut drafts = client.acting("agencies/nca").member("j.doe").drafts();
    let request = |tag: &str, words| referral::CreateDraftRequest {
        parent: "agencies/nca".into(),
        referral: Some(draft(tag, words)),
        request_id: sample::request_id(tag),
    };
    let given_up = drafts.create_draft(request("given up", SECRETS)).await.unwrap().into_inner().draft.unwrap();
    assert_eq!(found(&stored(database).await, &written).len(), written.len(), "the test would find it");
    let other = ["kept-page", "kept-id", "kept-reasons", "", "kept-terms", ""];
    let update = referral::UpdateDraftRequest {
        name: given_up.name.clone(),
        referral: Some(draft("given up", other)),
        etag: String::new(),
        request_id: sample::request_id("otherwise"),
    };
    drafts.update_draft(update).await.unwrap();
    let discard = referral::DiscardDraftRequest {
        name: given_up.name,
        etag: String::new(),
        request_id: sample::request_id("discard"),
    };
    drafts.discard_draft(discard).await.unwrap();
    server.stop().await;
    let left = stored(database).await;
    assert_eq!((found(&left, &SECRETS), found(&left, &["kept-page", "kept-reasons"])), Default::default());
}
