//! Statements of reasons for the DSA Transparency Database, through the public API and the command line. What becomes what is held
//! against the database's own lists by the tests of `decision/src/domain/statement.rs`; here, that it comes whole, once and to its platform alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use portreeve_api::common::v1::ReferralNature;
use portreeve_api::consultation::v1 as consultation;
use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_tests::{Client, Database, Server, on_both_engines, process, refusal, sample};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use wire::StatementExclusion as Exclusion;
use wire::export_statements_response::Part;

on_both_engines!(
    a_decision_becomes_a_statement,
    batches_hold_a_hundred_and_nothing_is_told_twice,
    a_statement_is_its_platforms_alone,
    what_is_wrong_is_told_at_once,
);

struct World {
    server: Server,
    client: Client,
}

/// An export as it came.
#[derive(Debug, Default)]
struct Export {
    /// The bodies of the calls.
    batches: Vec<String>,
    statements: Vec<Value>,
    excluded: Vec<(String, Vec<Exclusion>)>,
    summary: wire::StatementsSummary,
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, _) = Server::suite_at(database, "2026-03-01T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        Self { server, client }
    }

    fn chirrup(&self) -> Client {
        self.client.acting("platforms/chirrup").member("t.safety")
    }

    /// Refers and decides; gives the case.
    async fn decided(&self, tag: &str, nature: ReferralNature, draft: wire::DecisionDraft) -> String {
        let sent = referral::ReferralDraft { nature: nature.into(), ..sample::draft("chirrup", tag) };
        let mut officer = self.client.acting("agencies/nca").referrals();
        let reply = officer.create_referral(sample::create("nca", sent, tag)).await.unwrap().into_inner();
        let case = sample::case_of(&reply.referral.unwrap());
        let mut decisions = self.chirrup().decisions();
        let get = wire::GetCaseRequest { name: case.clone(), at_least: vec![reply.revision] };
        decisions.get_case(get).await.unwrap();
        let acknowledge = sample::acknowledge("chirrup", std::slice::from_ref(&case), &format!("ack {tag}"));
        decisions.acknowledge_cases(acknowledge).await.unwrap();
        decisions.record_decision(sample::record(&case, draft, &format!("decide {tag}"))).await.unwrap();
        case
    }
}

async fn export(client: &Client, request: wire::ExportStatementsRequest) -> Result<Export, Status> {
    let mut parts = client.decisions().export_statements(request).await?.into_inner();
    let mut export = Export::default();
    let mut hasher = Sha256::new();
    let mut ended = false;
    while let Some(message) = parts.message().await? {
        assert!(!ended, "something comes after the end");
        match message.part.unwrap() {
            Part::Batch(batch) => {
                hasher.update(&batch.json);
                let body = serde_json::from_str::<Value>(&batch.json).unwrap();
                let statements = body["statements"].as_array().unwrap().clone();
                assert_eq!((statements.len(), body.as_object().unwrap().len()), (batch.statement_count as usize, 1));
                export.statements.extend(statements);
                export.batches.push(batch.json);
            }
            Part::Excluded(excluded) => {
                let excluded = excluded.decisions.into_iter();
                export.excluded.extend(excluded.map(|of| (of.decision.clone(), of.reasons().collect())));
            }
            Part::Summary(summary) => (export.summary, ended) = (summary, true),
        }
    }
    assert!(ended, "without its end");
    let counted = (export.statements.len(), export.batches.len(), export.excluded.len());
    let of = &export.summary;
    assert_eq!(
        (of.statement_count, of.batch_count, of.excluded_count),
        (counted.0 as u64, counted.1 as u64, counted.2 as u64)
    );
    assert_eq!(of.sha256, portreeve_core::audit::hex(&hasher.finalize()));
    Ok(export)
}

fn request() -> wire::ExportStatementsRequest {
    wire::ExportStatementsRequest { parent: "platforms/chirrup".into(), ..wire::ExportStatementsRequest::default() }
}

fn facts(case: &str) -> wire::StatementFacts {
    wire::StatementFacts { case: case.into(), content_date: "2026-01-15".into(), ..wire::StatementFacts::default() }
}

/// Closed, and in effect.
fn closed(scope: &[&str]) -> wire::DecisionDraft {
    wire::DecisionDraft {
        effective_at: Some(sample::time("2026-03-01T09:00:00Z")),
        territorial_scope: scope.iter().map(|code| (*code).to_owned()).collect(),
        explanation: "It was posted by a.smuggler, +44 20 7946 0000.".into(),
        ..sample::closed()
    }
}

async fn a_decision_becomes_a_statement(database: &Database) {
    let world = World::new(database).await;
    let (cited, _) = sample::clause(&world.client, "chirrup", "he-7").await;
    let mut terms = wire::DecisionDraft { law: String::new(), clauses: vec![cited.clone()], ..closed(&["FR", "GB"]) };
    terms.outcome = wire::Outcome::ClosedTerms.into();
    let case = world.decided("one", ReferralNature::StatutoryNotice, terms.clone()).await;
    let left = world.decided("two", ReferralNature::VoluntaryReferral, sample::permitted(&cited)).await;
    let british = world.decided("three", ReferralNature::VoluntaryReferral, closed(&["GB"])).await;
    let pending = wire::DecisionDraft { effective_at: None, ..closed(&[]) };
    let pending = world.decided("four", ReferralNature::VoluntaryReferral, pending).await;

    let told = wire::ExportStatementsRequest {
        facts: vec![wire::StatementFacts {
            content_types: vec![wire::StatementContentType::Text.into()],
            account_type: wire::StatementAccountType::Private.into(),
            ..facts(&case)
        }],
        trusted_flaggers: vec!["agencies/nca".into()],
        ..request()
    };
    let first = export(&world.chirrup(), told.clone()).await.unwrap();
    let id = case.rsplit('/').next().unwrap();
    let expected = serde_json::json!({
        "puid": format!("{id}-1"),
        "decision_visibility": ["DECISION_VISIBILITY_CONTENT_DISABLED"],
        "account_type": "ACCOUNT_TYPE_PRIVATE",
        "decision_ground": "DECISION_GROUND_INCOMPATIBLE_CONTENT",
        "incompatible_content_ground": first.statements[0]["incompatible_content_ground"],
        "incompatible_content_explanation": first.statements[0]["incompatible_content_explanation"],
        "content_type": ["CONTENT_TYPE_TEXT"],
        "category": "STATEMENT_CATEGORY_VIOLENCE",
        "category_specification": ["KEYWORD_OTHER"],
        "category_specification_other": "migrant smuggling - offer of transport",
        "territorial_scope": ["FR"],
        "content_language": "SQ",
        "content_date": "2026-01-15",
        "application_date": "2026-03-01",
        "decision_facts": "A public authority brought a page to the platform's attention by a notice of a trusted flagger (DSA art. 22). \
                           The platform reviewed it; it was closed. This was decided by a person.",
        "source_type": "SOURCE_TRUSTED_FLAGGER",
        "automated_detection": "No",
        "automated_decision": "AUTOMATED_DECISION_NOT_AUTOMATED",
    });
    assert_eq!(first.statements, [expected]);
    assert!(first.statements[0]["incompatible_content_ground"].as_str().unwrap().ends_with("(he-7, version 1)"));
    assert!(!first.batches.concat().contains("smuggler,"));
    let decision = |case: &str| format!("{case}/decisions/1");
    let expected = [
        (decision(&left), vec![Exclusion::NoAction]),
        (decision(&british), vec![Exclusion::OutsideEea, Exclusion::ContentDateMissing]),
        (decision(&pending), vec![Exclusion::NotInEffect, Exclusion::ContentDateMissing]),
    ];
    assert_eq!(first.excluded, expected);

    // The same again, whatever was recorded of the case meanwhile but for what is new.
    let amended =
        sample::later(wire::DecisionKind::Amended, wire::DecisionDraft { territorial_scope: Vec::new(), ..terms });
    world.chirrup().decisions().record_decision(sample::record(&case, amended, "amended")).await.unwrap();
    let again = export(&world.chirrup(), told.clone()).await.unwrap();
    assert_eq!((&again.statements[0], again.statements.len()), (&first.statements[0], 2));
    let since = wire::ExportStatementsRequest { after: first.summary.next_after, ..told.clone() };
    let since = export(&world.chirrup(), since).await.unwrap();
    assert_eq!((since.statements.as_slice(), since.excluded.len()), (&again.statements[1..], 0));
    assert_eq!(since.statements[0]["puid"], format!("{id}-2"));
    assert_eq!(since.statements[0]["territorial_scope"].as_array().unwrap().len(), 30);
    let nothing = wire::ExportStatementsRequest { after: since.summary.next_after, ..told };
    let nothing = export(&world.chirrup(), nothing).await.unwrap();
    assert_eq!((nothing.statements.len(), nothing.excluded.len()), (0, 0));

    by_the_command_line(&world, &case);
    world.server.stop().await;
}

fn by_the_command_line(world: &World, case: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (url, read) = (world.server.url(), |file: &str| std::fs::read_to_string(folder.path().join(file)));
    let run = |more: &[&str]| {
        let arguments = ["statements", "platforms/chirrup", "--as", "platforms/chirrup", "--server", &url];
        process::run(folder.path(), &[arguments.as_slice(), more].concat())
    };
    let (code, said) = run(&["--out", "first"]);
    assert!(code == 0 && said.contains("statements: 0 in 0 files") && said.contains("excluded: 5"), "{said}");
    assert!(said.contains("undated: 3 cases"), "{said}");
    assert!(read("first/excluded.csv").unwrap().contains("/decisions/1,OUTSIDE_EEA CONTENT_DATE_MISSING\n"));
    let undated = read("first/facts.csv").unwrap();
    let filled = undated.replace(&format!("{case},,,"), &format!("{case},2026-01-15,text|image,business"));
    assert_ne!(undated, filled);
    std::fs::write(folder.path().join("facts.csv"), filled).unwrap();
    let (code, said) = run(&["--out", "second", "--facts", "facts.csv"]);
    assert!(code == 0 && said.contains("statements: 2 in 1 files") && said.contains("undated: 2 cases"), "{said}");
    let body = serde_json::from_str::<Value>(&read("second/statements-00001.json").unwrap()).unwrap();
    assert_eq!(body["statements"][0]["account_type"], "ACCOUNT_TYPE_BUSINESS");
    assert_eq!(body["statements"][1]["source_type"], "SOURCE_ARTICLE_16");
    // Nothing is mixed with what is there.
    let (code, said) = run(&["--out", "second"]);
    assert!(code == 2 && said.contains("is not empty"), "{said}");
}

async fn batches_hold_a_hundred_and_nothing_is_told_twice(database: &Database) {
    let world = World::new(database).await;
    let drafts = (0..205).map(|number| sample::draft("chirrup", &format!("of many {number}")));
    let create = referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: drafts.collect(),
        request_id: sample::request_id("many"),
    };
    let reply =
        world.client.acting("agencies/nca").referrals().batch_create_referrals(create).await.unwrap().into_inner();
    let mut decisions = world.chirrup().decisions();
    let list = wire::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        page_size: 1_000,
        at_least: vec![reply.revision],
        ..wire::ListCasesRequest::default()
    };
    let cases = decisions.list_cases(list).await.unwrap().into_inner().cases;
    let cases = cases.into_iter().map(|case| case.name).collect::<Vec<_>>();
    assert_eq!(cases.len(), 205);
    decisions.acknowledge_cases(sample::acknowledge("chirrup", &cases, "many received")).await.unwrap();
    let items = cases.iter().map(|case| wire::BatchDecisionItem {
        case: case.clone(),
        decision: Some(closed(&[])),
        expected_version: None,
        request_id: sample::request_id(case),
    });
    let record = wire::BatchRecordDecisionsRequest { parent: "platforms/chirrup".into(), items: items.collect() };
    decisions.batch_record_decisions(record).await.unwrap();

    // Of the last three nobody said when they were created.
    let known =
        wire::ExportStatementsRequest { facts: cases[..202].iter().map(|case| facts(case)).collect(), ..request() };
    let all = export(&world.chirrup(), known).await.unwrap();
    let sizes = all
        .batches
        .iter()
        .map(|json| serde_json::from_str::<Value>(json).unwrap()["statements"].as_array().unwrap().len());
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 100, 2]);
    let puids = all.statements.iter().map(|of| of["puid"].as_str().unwrap()).collect::<BTreeSet<_>>();
    assert_eq!((puids.len(), all.excluded.len()), (202, 3));
    assert!(all.excluded.iter().all(|(_, reasons)| *reasons == [Exclusion::ContentDateMissing]), "{:?}", all.excluded);
    world.server.stop().await;
}

async fn a_statement_is_its_platforms_alone(database: &Database) {
    let world = World::new(database).await;
    let case = world.decided("one", ReferralNature::VoluntaryReferral, closed(&[])).await;
    for other in [
        "platforms/harbourbook",
        "agencies/nca",
        "oversightBodies/hac",
        "operators/op",
        "researchers/lab",
        "services/reporting",
    ] {
        let refused = export(&world.client.acting(other), request()).await.unwrap_err();
        assert_eq!(refusal(&refused).reason, "PERMISSION_DENIED", "{other}");
    }
    // It is a reading, which the agency's auditors find.
    let platform = world.chirrup().because("for the database");
    export(&platform, wire::ExportStatementsRequest { facts: vec![facts(&case)], ..request() }).await.unwrap();
    let auditor = world.client.acting("agencies/nca").roles(&["auditor"]).member("a.uditor");
    let list = consultation::ListConsultationsRequest {
        log: "logs/decision-access".into(),
        parent: "agencies/nca".into(),
        ..consultation::ListConsultationsRequest::default()
    };
    let found = auditor.consultations().list_consultations(list).await.unwrap().into_inner().consultations;
    let found = found.into_iter().filter(|of| of.method.ends_with("/ExportStatements")).collect::<Vec<_>>();
    let [entry] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((entry.reader.as_str(), entry.justification.as_str()), ("platforms/chirrup", "for the database"));
    assert_eq!(entry.rows, [case.rsplit('/').next().unwrap()]);
    world.server.stop().await;
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let case = "platforms/chirrup/cases/00000000-0000-4000-8000-000000000001";
    let wrong = wire::ExportStatementsRequest {
        facts: vec![
            facts(case),
            wire::StatementFacts { content_date: "2026-02-30".into(), ..facts(&case.replace("01", "02")) },
            facts(&case.replace("chirrup", "harbourbook")),
            facts(case),
            wire::StatementFacts { content_types: vec![99], account_type: 99, ..facts(&case.replace("01", "03")) },
        ],
        trusted_flaggers: vec!["platforms/chirrup".into()],
        ..request()
    };
    let refused = refusal(&export(&world.chirrup(), wrong).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REQUEST_INVALID"));
    let fields = refused.fields.iter().map(String::as_str).collect::<BTreeSet<_>>();
    let expected = [
        "facts[1].content_date",
        "facts[2].case",
        "facts[3].case",
        "facts[4].account_type",
        "facts[4].content_types[0]",
        "trusted_flaggers[0]",
    ];
    assert_eq!(fields, expected.into_iter().collect());
    let mut many = request();
    many.facts =
        (0..10_001_u128).map(|id| facts(&format!("platforms/chirrup/cases/{}", uuid::Uuid::from_u128(id)))).collect();
    assert_eq!(refusal(&export(&world.chirrup(), many.clone()).await.unwrap_err()).fields, ["facts"]);
    many.facts.pop();
    assert!(export(&world.chirrup(), many).await.is_ok());
    // A place in one export is none in another.
    let end = export(&world.chirrup(), request()).await.unwrap().summary.next_after;
    let filter = wire::DecisionFilter { agencies: vec!["agencies/nca".into()], ..wire::DecisionFilter::default() };
    for (after, filter) in [(end.as_str(), Some(filter)), ("nowhere", None)] {
        let request = wire::ExportStatementsRequest { after: after.into(), filter, ..request() };
        assert_eq!(refusal(&export(&world.chirrup(), request).await.unwrap_err()).reason, "PAGE_TOKEN_INVALID");
    }
    world.server.stop().await;
}
