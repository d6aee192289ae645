//! A request may be repeated for ever: what time has made wrong with it since does not keep it from its first answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::signature::PrivateKey;
use portreeve_tests::{Database, Server, on_both_engines, refusal, sample};
use referral::import_result::Result::{Error, Imported};

on_both_engines!(a_repeat_gets_its_first_answer_years_later);

/// The request once more, and the same as a request of its own: only the first is answered.
macro_rules! repeated {
    ($client:ident, $call:ident, $request:expr, $first:expr, $refused:literal) => {{
        let again = $client.$call($request.clone()).await.unwrap().into_inner();
        assert!(again.replayed, stringify!($call));
        assert_eq!(again.revision, $first.revision, stringify!($call));
        let mut own = $request.clone();
        own.request_id = sample::request_id(concat!("another ", stringify!($call)));
        let status = $client.$call(own).await.unwrap_err();
        assert_eq!(refusal(&status).reason, $refused, stringify!($call));
        again
    }};
}

async fn a_repeat_gets_its_first_answer_years_later(database: &Database) {
    let (server, clock) = Server::suite_at(database, "2026-01-10T09:00:00Z").await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    for name in ["oversightBodies/hac", "researchers/lab"] {
        client.organisations().create_organisation(sample::organisation(name, &[])).await.unwrap();
    }
    let nca = client.acting("agencies/nca");
    let (mut referrals, mut agreements, mut signing) = (nca.referrals(), nca.agreements(), nca.signing());
    let mut decisions = client.acting("platforms/chirrup").decisions();
    let mut grants = client.acting("oversightBodies/hac").member("c.lerk").roles(&["supervisor"]).grants();
    let told = Some(sample::time("2026-01-02"));

    let draft = referral::ReferralDraft { occurred_at: told, ..sample::draft("chirrup", "1") };
    let create = sample::create("nca", draft.clone(), "create");
    let created = referrals.create_referral(create.clone()).await.unwrap().into_inner();
    let batch = referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![
            sample::draft("chirrup", "2"),
            referral::ReferralDraft { occurred_at: told, ..sample::draft("chirrup", "3") },
        ],
        request_id: sample::request_id("batch"),
    };
    let batched = referrals.batch_create_referrals(batch.clone()).await.unwrap().into_inner();
    let item = |id: &str| referral::ImportItem { request_id: sample::request_id(id), draft: Some(draft.clone()) };
    let import = async |items: Vec<referral::ImportItem>| {
        let message = referral::ImportReferralsRequest { parent: "agencies/nca".into(), items };
        let mut referrals = nca.referrals();
        let mut replies = referrals.import_referrals(tokio_stream::iter([message])).await.unwrap().into_inner();
        replies.message().await.unwrap().unwrap().results
    };
    let imported = import(vec![item("imported")]).await;
    let case = sample::case_of(created.referral.as_ref().unwrap());
    let inbox =
        portreeve_api::decision::v1::GetCaseRequest { name: case.clone(), at_least: vec![created.revision.clone()] };
    decisions.get_case(inbox).await.unwrap();
    let mut receipt = sample::acknowledge("chirrup", std::slice::from_ref(&case), "acknowledge");
    receipt.occurred_at = told;
    let received = decisions.acknowledge_cases(receipt.clone()).await.unwrap().into_inner();
    let mut closed = sample::record(&case, sample::closed(), "record");
    closed.decision.as_mut().unwrap().decided_at = told;
    let recorded = decisions.record_decision(closed.clone()).await.unwrap().into_inner();
    let mut withdraw = sample::withdraw(&batched.referrals[1].name, "withdraw");
    withdraw.occurred_at = told;
    let withdrawn = referrals.withdraw_referral(withdraw.clone()).await.unwrap().into_inner();
    let propose = sample::propose(sample::agreement(["nca", "bka"], "2026-02-01"), "propose");
    let proposed = agreements.create_agreement(propose.clone()).await.unwrap().into_inner();
    // From now on, which is not said.
    let key = referral::SigningKey {
        public_key: PrivateKey::from_seed("nca-2026", [7; 32]).public().to_vec().into(),
        valid_until: Some(sample::time("2026-02-01")),
        ..referral::SigningKey::default()
    };
    let add = referral::AddSigningKeyRequest {
        parent: "agencies/nca".into(),
        kid: "nca-2026".into(),
        signing_key: Some(key),
        request_id: sample::request_id("add"),
    };
    let added = signing.add_signing_key(add.clone()).await.unwrap().into_inner();
    let terms = reporting::Grant {
        grantee: "researchers/lab".into(),
        purpose: "How long decisions take".into(),
        end_time: Some(sample::time("2026-02-01")),
        cohort_from_date: "2026-01-01".into(),
        cohort_until_date: "2026-01-31".into(),
        small_cell_minimum: 5,
        query_budget: 10,
        ..reporting::Grant::default()
    };
    let issue = reporting::IssueGrantRequest { grant: Some(terms), request_id: sample::request_id("issue") };
    let issued = grants.issue_grant(issue.clone()).await.unwrap().into_inner();

    clock.set("2029-01-10T09:00:00Z".parse().unwrap());
    let again = repeated!(referrals, create_referral, create, created, "BACKDATING_NOT_PERMITTED");
    assert_eq!(again.referral, created.referral);
    let again = repeated!(referrals, batch_create_referrals, batch, batched, "BACKDATING_NOT_PERMITTED");
    assert_eq!(again.referrals, batched.referrals);
    repeated!(decisions, acknowledge_cases, receipt, received, "BACKDATING_NOT_PERMITTED");
    let again = repeated!(decisions, record_decision, closed, recorded, "BACKDATING_NOT_PERMITTED");
    assert_eq!(again.decision, recorded.decision);
    repeated!(referrals, withdraw_referral, withdraw, withdrawn, "BACKDATING_NOT_PERMITTED");
    let again = repeated!(agreements, create_agreement, propose, proposed, "REQUEST_INVALID");
    assert_eq!(again.agreement, proposed.agreement);
    repeated!(signing, add_signing_key, add, added, "REQUEST_INVALID");
    let again = repeated!(grants, issue_grant, issue, issued, "REQUEST_INVALID");
    assert_eq!(again.grant, issued.grant);

    let Some(Imported(first)) = &imported[0].result else { unreachable!("{imported:?}") };
    let later = import(vec![item("imported"), item("another import")]).await;
    let Some(Imported(again)) = &later[0].result else { unreachable!("{later:?}") };
    assert_eq!((&again.name, again.replayed), (&first.name, true));
    assert!(matches!(&later[1].result, Some(Error(error)) if error.message.contains("occurred_at")), "{later:?}");
}
