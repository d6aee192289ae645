//! The calls: what they do, and what they refuse.

use portreeve_api::decision::v1 as wire;
use portreeve_storage::Database;
use tonic::Code;
use wire::acknowledge_result::Result as Acknowledged;
use wire::batch_decision_result::Result as Recorded;

use crate::support::{
    Running, acknowledge, again, at, case, catalogue, closed, item_reason, on_both_engines, permitted, record,
    referred, refusal, request_id, wire_at, withdrawn,
};

on_both_engines!(
    a_case_from_its_receipt_to_its_second_decision,
    a_batch_gives_a_result_for_each_item,
    wrong_requests_are_refused_with_their_reasons,
    permission_comes_before_existence,
    pages_belong_to_their_query,
    the_catalogue_is_everybodys_to_read,
);

async fn a_case_from_its_receipt_to_its_second_decision(database: Database) {
    let running = Running::open(&database, 100).await;
    let mut decisions = running.decisions("platforms/hb");
    catalogue(&running).await;
    running.told(0, vec![referred(1, 1), referred(2, 2)]).await;

    let receipts = decisions.acknowledge_cases(acknowledge(&[1, 3, 2], 1)).await.unwrap().into_inner();
    let [first, missing, second] = receipts.results.as_slice() else { unreachable!("{receipts:?}") };
    let receipt = wire::CaseReceipt { acknowledged_at: wire_at(100), recorded_at: wire_at(100) };
    assert_eq!((&first.name, &first.result), (&case(1), &Some(Acknowledged::Receipt(receipt))));
    assert_eq!(second.result, Some(Acknowledged::Receipt(receipt)));
    let Some(Acknowledged::Error(error)) = &missing.result else { unreachable!("{missing:?}") };
    assert_eq!(item_reason(error), "CASE_NOT_FOUND");
    assert!(!receipts.replayed);

    // The same request again, and another one for what is acknowledged already, both give the first receipt.
    running.clock.set(at(150));
    let replay = decisions.acknowledge_cases(acknowledge(&[1, 3, 2], 1)).await.unwrap().into_inner();
    assert_eq!((replay.results, replay.replayed, replay.revision), (receipts.results.clone(), true, receipts.revision));
    let more = decisions.acknowledge_cases(acknowledge(&[1, 3, 2], 2)).await.unwrap().into_inner();
    assert_eq!((more.results, more.replayed), (receipts.results, false));

    running.clock.set(at(200));
    let recorded = decisions.record_decision(record(1, permitted(1), 10)).await.unwrap().into_inner();
    let decision = recorded.decision.unwrap();
    assert_eq!((decision.name.as_str(), decision.version), (format!("{}/decisions/1", case(1)).as_str(), 1));
    assert_eq!((decision.decided_at, decision.recorded_at), (wire_at(200), wire_at(200)));

    running.clock.set(at(300));
    let amended = again(wire::DecisionKind::Reversed, closed());
    let stale = wire::RecordDecisionRequest { expected_version: Some(0), ..record(1, amended.clone(), 11) };
    assert_eq!(refusal(&decisions.record_decision(stale).await.unwrap_err()).0, "STALE_VERSION");
    let current = wire::RecordDecisionRequest { expected_version: Some(1), ..record(1, amended.clone(), 11) };
    let second = decisions.record_decision(current).await.unwrap().into_inner();
    assert_eq!(second.decision.as_ref().unwrap().version, 2);

    // The first stays, and is what repeating its request gives.
    let replay = decisions.record_decision(record(1, permitted(1), 10)).await.unwrap().into_inner();
    assert_eq!((replay.decision, replay.replayed), (Some(decision.clone()), true));
    let repeated = decisions.record_decision(record(1, amended.clone(), 12)).await.unwrap().into_inner();
    assert_eq!((&repeated.decision, repeated.replayed), (&second.decision, false));
    // What changed nothing is remembered too: its reply stays the same whatever follows.
    running.clock.set(at(310));
    let third = again(wire::DecisionKind::Corrected, wire::DecisionDraft { law: "s. 25A".into(), ..closed() });
    let third = decisions.record_decision(record(1, third, 14)).await.unwrap().into_inner();
    let replay = decisions.record_decision(record(1, amended, 12)).await.unwrap().into_inner();
    assert_eq!((&replay.decision, &replay.revision, replay.replayed), (&second.decision, &repeated.revision, true));

    let get = wire::GetCaseRequest { name: case(1), at_least: vec![third.revision.clone()] };
    let found = running.decisions("agencies/nca").get_case(get).await.unwrap().into_inner().case.unwrap();
    assert_eq!((found.status(), found.decision_version), (wire::CaseStatus::Decided, 3));
    assert_eq!((found.first_decided_at, found.revision.as_str()), (wire_at(200), third.revision.as_str()));
    assert_eq!(found.latest_decision, third.decision);
    assert_eq!((found.submitted_at, found.submitted_recorded_at), (wire_at(1), wire_at(2)));
    let versions = wire::ListDecisionsRequest { parent: case(1), ..wire::ListDecisionsRequest::default() };
    let versions = decisions.list_decisions(versions).await.unwrap().into_inner().decisions;
    assert_eq!(versions, [decision, second.decision.unwrap(), third.decision.unwrap()]);

    running.told(2, vec![withdrawn(referred(1, 1), 3)]).await;
    let late = again(wire::DecisionKind::Amended, closed());
    assert_eq!(refusal(&decisions.record_decision(record(1, late, 13)).await.unwrap_err()).0, "CASE_WITHDRAWN");
    drop(decisions);
    running.stop().await;
}

async fn a_batch_gives_a_result_for_each_item(database: Database) {
    let running = Running::open(&database, 100).await;
    let mut decisions = running.decisions("platforms/hb");
    catalogue(&running).await;
    running.told(0, (1_u128..=4).zip(1..).map(|(number, position)| referred(number, position)).collect()).await;
    decisions.acknowledge_cases(acknowledge(&[1, 2, 3], 1)).await.unwrap();
    let item = |number: u128, draft, request| wire::BatchDecisionItem {
        case: case(number),
        decision: Some(draft),
        expected_version: None,
        request_id: request_id(request),
    };
    let no_reason = wire::DecisionDraft { law: String::new(), ..closed() };
    let batch = wire::BatchRecordDecisionsRequest {
        parent: "platforms/hb".into(),
        items: vec![
            item(1, closed(), 10),
            item(2, no_reason, 11),
            item(4, closed(), 12),
            item(3, permitted(2), 13),
            item(3, permitted(1), 14),
            item(1, permitted(1), 10),
            wire::BatchDecisionItem {
                case: "platforms/chirrup/cases/x".into(),
                request_id: "x".into(),
                ..item(1, closed(), 1)
            },
        ],
    };
    let reply = decisions.batch_record_decisions(batch.clone()).await.unwrap().into_inner();
    let told = |reply: &wire::BatchRecordDecisionsResponse| {
        let told = reply.results.iter().map(|result| match result.result.as_ref().unwrap() {
            Recorded::Recorded(recorded) => format!("{} {}", recorded.version, recorded.replayed),
            Recorded::Error(error) => item_reason(error),
        });
        told.collect::<Vec<_>>()
    };
    let refusals = ["INVALID_TRANSITION", "CLAUSE_NOT_IN_FORCE"];
    assert_eq!(
        told(&reply),
        ["1 false", "REQUEST_INVALID", refusals[0], refusals[1], "1 false", "REQUEST_ID_REUSED", "REQUEST_INVALID"]
    );
    assert!(!reply.replayed && !reply.revision.is_empty());
    let again = decisions.batch_record_decisions(batch).await.unwrap().into_inner();
    // What was refused is decided anew, as the case now stands.
    assert_eq!(told(&again)[..5], ["1 true", "REQUEST_INVALID", refusals[0], refusals[0], "1 true"]);
    assert!(again.replayed);
    // An item may be repeated alone.
    let alone = decisions.record_decision(record(1, closed(), 10)).await.unwrap().into_inner();
    assert!(alone.replayed);

    let empty = wire::BatchRecordDecisionsRequest { parent: "hb".into(), items: Vec::new() };
    let (reason, fields) = refusal(&decisions.batch_record_decisions(empty).await.unwrap_err());
    assert_eq!((reason.as_str(), fields), ("REQUEST_INVALID", vec!["parent".into(), "items".into()]));
    drop(decisions);
    running.stop().await;
}

async fn wrong_requests_are_refused_with_their_reasons(database: Database) {
    let running = Running::open(&database, 100).await;
    let mut decisions = running.decisions("platforms/hb");
    running.told(0, vec![referred(1, 1)]).await;

    let nothing = wire::RecordDecisionRequest { parent: case(1), ..wire::RecordDecisionRequest::default() };
    let (reason, fields) = refusal(&decisions.record_decision(nothing).await.unwrap_err());
    assert_eq!((reason.as_str(), fields), ("REQUEST_INVALID", vec!["decision".into(), "request_id".into()]));

    let foreign = wire::ClauseCitation { clause: "platforms/chirrup/clauses/he-7".into(), version: 1 };
    let wrong = wire::DecisionDraft {
        kind: wire::DecisionKind::Amended.into(),
        outcome: wire::Outcome::NoActionCannotAccess.into(),
        gone_by: wire::GoneBy::User.into(),
        clauses: vec![foreign],
        decided_at: wire_at(500),
        effective_at: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        territorial_scope: vec!["uk".into()],
        ..closed()
    };
    let (_, mut fields) = refusal(&decisions.record_decision(record(1, wrong, 1)).await.unwrap_err());
    fields.sort();
    let named = ["cannot_access", "cause", "decided_at", "effective_at", "gone_by", "territorial_scope[0]"];
    assert_eq!(fields, named.map(|field| format!("decision.{field}")));
    let unknown = wire::DecisionDraft { outcome: 99, duplicate_of: "x".into(), ..closed() };
    let (_, fields) = refusal(&decisions.record_decision(record(1, unknown, 1)).await.unwrap_err());
    assert_eq!(fields, ["decision.outcome", "decision.duplicate_of"]);

    let elsewhere = wire::AcknowledgeCasesRequest {
        names: vec![case(1), case(1).replace("hb", "chirrup"), "x".into()],
        occurred_at: wire_at(103),
        ..acknowledge(&[], 1)
    };
    let (_, mut fields) = refusal(&decisions.acknowledge_cases(elsewhere).await.unwrap_err());
    fields.sort();
    assert_eq!(fields, ["names[1]", "names[2]", "occurred_at"]);
    let many = wire::AcknowledgeCasesRequest { names: (1..=501).map(case).collect(), ..acknowledge(&[], 1) };
    assert_eq!(refusal(&decisions.acknowledge_cases(many).await.unwrap_err()).1, ["names"]);

    // What is told late is told by those who may.
    running.clock.set(at(100 + 31 * 86_400));
    let late = |request| wire::AcknowledgeCasesRequest { occurred_at: wire_at(50), ..acknowledge(&[1], request) };
    let refused = decisions.acknowledge_cases(late(2)).await.unwrap_err();
    assert_eq!((refused.code(), refusal(&refused).0.as_str()), (Code::PermissionDenied, "BACKDATING_NOT_PERMITTED"));
    running.decisions("platforms/hb import,reviewer").acknowledge_cases(late(2)).await.unwrap();
    let late = |draft| wire::DecisionDraft { decided_at: wire_at(60), ..draft };
    let refused = decisions.record_decision(record(1, late(closed()), 3)).await.unwrap_err();
    assert_eq!(refusal(&refused).0, "BACKDATING_NOT_PERMITTED");
    let importer = || running.decisions("platforms/hb import,reviewer");
    importer().record_decision(record(1, late(closed()), 3)).await.unwrap();

    let twice =
        decisions.record_decision(record(1, again(wire::DecisionKind::Amended, closed()), 3)).await.unwrap_err();
    assert_eq!(refusal(&twice).0, "REQUEST_ID_REUSED");
    let at_least = wire::GetCaseRequest { name: case(1), at_least: vec!["x".into()] };
    assert_eq!(refusal(&decisions.get_case(at_least).await.unwrap_err()).0, "REVISION_INVALID");
    drop(decisions);
    running.stop().await;
}

async fn permission_comes_before_existence(database: Database) {
    let running = Running::open(&database, 100).await;
    running.told(0, vec![referred(1, 1)]).await;
    for (acting, there, not_there) in [
        ("platforms/hb", None, Some("CASE_NOT_FOUND")),
        // A case's name does not say whose it is: an agency learns nothing of those that are not its own.
        ("agencies/nca", None, Some("PERMISSION_DENIED")),
        ("agencies/bka", Some("PERMISSION_DENIED"), Some("PERMISSION_DENIED")),
        ("services/reporting", None, Some("CASE_NOT_FOUND")),
        ("platforms/chirrup", Some("PERMISSION_DENIED"), Some("PERMISSION_DENIED")),
        ("operators/op", Some("PERMISSION_DENIED"), Some("PERMISSION_DENIED")),
        ("oversightBodies/hac", Some("PERMISSION_DENIED"), Some("PERMISSION_DENIED")),
    ] {
        let mut decisions = running.decisions(acting);
        for (number, expected) in [(1, there), (2, not_there)] {
            let get = wire::GetCaseRequest { name: case(number), at_least: Vec::new() };
            let found = decisions.get_case(get).await.map_err(|status| refusal(&status).0);
            assert_eq!(found.err().as_deref(), expected, "{acting} gets {number}");
            let versions = wire::ListDecisionsRequest { parent: case(number), ..wire::ListDecisionsRequest::default() };
            let found = decisions.list_decisions(versions).await.map_err(|status| refusal(&status).0);
            assert_eq!(found.err().as_deref(), expected, "{acting} lists {number}");
        }
        let whole = wire::ListCasesRequest { parent: "platforms/-".into(), ..wire::ListCasesRequest::default() };
        let listed = decisions.list_cases(whole).await.map(|reply| reply.into_inner().cases.len());
        let expected = match acting {
            "operators/op" | "oversightBodies/hac" => Err(Code::PermissionDenied),
            "agencies/bka" | "platforms/chirrup" => Ok(0),
            _ => Ok(1),
        };
        assert_eq!(listed.map_err(|status| status.code()), expected, "{acting}");
        if acting != "platforms/hb" {
            for refused in [
                decisions.acknowledge_cases(acknowledge(&[1], 1)).await.map(|_| ()),
                decisions.record_decision(record(2, closed(), 2)).await.map(|_| ()),
            ] {
                assert_eq!(refusal(&refused.unwrap_err()).0, "PERMISSION_DENIED", "{acting}");
            }
        }
    }
    let nobody = wire::ListCasesRequest { parent: "platforms/-".into(), ..wire::ListCasesRequest::default() };
    let mut decisions = running.decisions("platforms/hb import");
    decisions.list_cases(nobody).await.unwrap();
    assert_eq!(refusal(&decisions.acknowledge_cases(acknowledge(&[1], 1)).await.unwrap_err()).0, "PERMISSION_DENIED");
    drop(decisions);
    running.stop().await;
}

async fn pages_belong_to_their_query(database: Database) {
    let running = Running::open(&database, 100).await;
    let mut decisions = running.decisions("platforms/hb");
    running.told(0, (1_u128..=5).zip(1..).map(|(number, position)| referred(number, position)).collect()).await;
    let ask = |page_size, page_token: &str| wire::ListCasesRequest {
        parent: "platforms/hb".into(),
        page_size,
        page_token: page_token.into(),
        ..wire::ListCasesRequest::default()
    };
    let first = decisions.list_cases(ask(3, "")).await.unwrap().into_inner();
    let second = decisions.list_cases(ask(2, &first.next_page_token)).await.unwrap().into_inner();
    let names = first.cases.iter().chain(&second.cases).map(|found| found.name.clone()).collect::<Vec<_>>();
    assert_eq!(names, (1..=5).map(case).collect::<Vec<_>>());
    assert_eq!(second.next_page_token, "", "the last page is full, and is the last");
    let other = wire::ListCasesRequest { parent: "platforms/-".into(), ..ask(3, &first.next_page_token) };
    assert_eq!(refusal(&decisions.list_cases(other).await.unwrap_err()).0, "PAGE_TOKEN_INVALID");
    assert_eq!(refusal(&decisions.list_cases(ask(3, "x")).await.unwrap_err()).0, "PAGE_TOKEN_INVALID");
    assert_eq!(refusal(&decisions.list_cases(ask(-1, "")).await.unwrap_err()).1, ["page_size"]);
    drop(decisions);
    running.stop().await;
}

async fn the_catalogue_is_everybodys_to_read(database: Database) {
    let running = Running::open(&database, 100).await;
    catalogue(&running).await;
    let mut policies = running.policies("platforms/hb");
    let create = |platform: &str, clause: &str, request| wire::CreateClauseRequest {
        parent: platform.into(),
        clause_id: clause.into(),
        clause: Some(wire::Clause { title: "Spam".into(), ..wire::Clause::default() }),
        request_id: request_id(request),
    };
    let again = policies.create_clause(create("platforms/hb", "he-7", 1)).await.unwrap_err();
    assert_eq!(refusal(&again).0, "CLAUSE_EXISTS");
    let other = policies.create_clause(create("platforms/chirrup", "he-7", 2)).await.unwrap_err();
    assert_eq!(refusal(&other).0, "PERMISSION_DENIED");
    let first = policies.create_clause(create("platforms/hb", "aa", 3)).await.unwrap().into_inner();
    let replay = policies.create_clause(create("platforms/hb", "aa", 3)).await.unwrap().into_inner();
    assert_eq!((first.clause, first.revision, true), (replay.clause, replay.revision, replay.replayed));
    let nothing = wire::AddClauseVersionRequest { parent: "x".into(), ..wire::AddClauseVersionRequest::default() };
    let (_, fields) = refusal(&policies.add_clause_version(nothing).await.unwrap_err());
    assert_eq!(fields, ["parent", "clause_version", "request_id"]);

    let mut policies = running.policies("oversightBodies/hac");
    let ask = |page_token: &str| wire::ListClausesRequest {
        parent: "platforms/-".into(),
        page_size: 1,
        page_token: page_token.into(),
        at_least: Vec::new(),
    };
    let one = policies.list_clauses(ask("")).await.unwrap().into_inner();
    let two = policies.list_clauses(ask(&one.next_page_token)).await.unwrap().into_inner();
    assert_eq!(
        (one.clauses[0].name.as_str(), two.clauses[0].name.as_str()),
        ("platforms/hb/clauses/aa", "platforms/hb/clauses/he-7")
    );
    assert_eq!((two.clauses[0].latest_version, two.next_page_token.as_str()), (2, ""));
    let none = wire::ListClausesRequest { parent: "platforms/chirrup".into(), ..ask("") };
    assert_eq!(policies.list_clauses(none).await.unwrap().into_inner().clauses, []);
    let versions = |parent: &str| wire::ListClauseVersionsRequest {
        parent: parent.into(),
        ..wire::ListClauseVersionsRequest::default()
    };
    let found = policies.list_clause_versions(versions("platforms/hb/clauses/he-7")).await.unwrap().into_inner();
    assert_eq!(found.clause_versions.iter().map(|found| found.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(found.clause_versions[0].jurisdictions, ["FR", "GB"]);
    let missing = policies.list_clause_versions(versions("platforms/hb/clauses/he-8")).await.unwrap_err();
    assert_eq!(refusal(&missing).0, "CLAUSE_NOT_FOUND");
    let get = |name: &str| wire::GetClauseRequest { name: name.into(), at_least: Vec::new() };
    assert_eq!(
        refusal(&policies.get_clause(get("platforms/hb/clauses/he-8")).await.unwrap_err()).0,
        "CLAUSE_NOT_FOUND"
    );
    policies.get_clause(get("platforms/hb/clauses/he-7")).await.unwrap();
    drop(policies);
    running.stop().await;
}
