//! What each changes: only in the role that may, and only what is their own.

use OrganisationKind::{Agency, Platform};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::name::OrganisationKind;
use portreeve_core::principal::Role;
use portreeve_tests::{Client, Database, Part, on_both_engines, refusal, sample};
use prost::Message as _;
use tonic::{Response, Status};

use super::{Row, World, bytes_of, grant, methods, readers};

on_both_engines!(every_write_is_for_its_role_and_its_owner, nothing_tells_a_stranger_what_there_is_to_change);

/// Each write with the roles of which it takes one, and of which kind the owner is whom it takes besides.
const WRITES: &[(&str, &[Role], Option<OrganisationKind>)] = &[
    ("CreateReferral", &[Role::Officer], Some(Agency)),
    ("BatchCreateReferrals", &[Role::Officer], Some(Agency)),
    ("ImportReferrals", &[Role::Officer, Role::Import], Some(Agency)),
    ("WithdrawReferral", &[Role::Officer], Some(Agency)),
    ("LinkReferrals", &[Role::Officer], Some(Agency)),
    ("PrioritiseReferral", &[Role::Officer], Some(Agency)),
    ("ExtendNonDisclosure", &[Role::Officer], Some(Agency)),
    ("LiftNonDisclosure", &[Role::Officer], Some(Agency)),
    ("CreateAgreement", &[Role::Approver], Some(Agency)),
    ("AcceptAgreement", &[Role::Approver], Some(Agency)),
    ("ExtendAgreement", &[Role::Approver], Some(Agency)),
    ("SuspendAgreement", &[Role::Approver], Some(Agency)),
    ("ResumeAgreement", &[Role::Approver], Some(Agency)),
    ("GiveNotice", &[Role::Approver], Some(Agency)),
    ("AddSigningKey", &[Role::Approver], Some(Agency)),
    ("RevokeSigningKey", &[Role::Approver], Some(Agency)),
    ("SetSigningPolicy", &[Role::Approver], Some(Agency)),
    ("CreateDraft", &[Role::Officer], Some(Agency)),
    ("UpdateDraft", &[Role::Officer], Some(Agency)),
    ("AuthoriseDraft", &[Role::Approver], Some(Agency)),
    ("DiscardDraft", &[Role::Officer], Some(Agency)),
    ("SetAuthorisationPolicy", &[Role::Approver], Some(Agency)),
    ("AcknowledgeCases", &[Role::Reviewer], Some(Platform)),
    ("RecordDecision", &[Role::Reviewer], Some(Platform)),
    ("BatchRecordDecisions", &[Role::Reviewer], Some(Platform)),
    ("CreateClause", &[Role::PolicyEditor], Some(Platform)),
    ("AddClauseVersion", &[Role::PolicyEditor], Some(Platform)),
    ("IssueGrant", &[Role::Supervisor], None),
    ("RevokeGrant", &[Role::Supervisor], None),
    ("CreateOrganisation", &[Role::Operator], None),
    ("UpdateOrganisation", &[Role::Operator], None),
    ("SetAddressRules", &[Role::Operator], None),
];

fn done<T>(response: Result<Response<T>, Status>) -> Result<(), Status> {
    response.map(drop)
}

/// Changes something of a row, in the name of its owner.
async fn change(client: &Client, method: &str, row: &Row) -> Result<(), Status> {
    let id = format!("{method} {} {}", row.agency, row.id);
    let request_id = sample::request_id(&id);
    let (agency, platform) = (row.agency.clone(), row.platform.clone());
    let draft = || sample::draft(platform.trim_start_matches("platforms/"), &id.replace(['/', '.'], "-"));
    let (name, party, etag, reason) = (row.agreement.clone(), agency.clone(), String::new(), "It must be".to_owned());
    match method {
        "CreateReferral" => {
            let request = referral::CreateReferralRequest { parent: agency, referral: Some(draft()), request_id };
            done(client.referrals().create_referral(request).await)
        }
        "BatchCreateReferrals" => {
            let request = referral::BatchCreateReferralsRequest { parent: agency, drafts: vec![draft()], request_id };
            done(client.referrals().batch_create_referrals(request).await)
        }
        "ImportReferrals" => {
            let items = vec![referral::ImportItem { request_id, draft: Some(draft()) }];
            let request = referral::ImportReferralsRequest { parent: agency, items };
            let mut replies = client.referrals().import_referrals(tokio_stream::iter([request])).await?.into_inner();
            while let Some(reply) = replies.message().await? {
                for result in reply.results {
                    if let Some(referral::import_result::Result::Error(error)) = result.result {
                        let details = error.encode_to_vec().into();
                        return Err(Status::with_details(error.code.into(), error.message, details));
                    }
                }
            }
            Ok(())
        }
        "WithdrawReferral" => {
            let request =
                referral::WithdrawReferralRequest { name: row.referral(), reason, request_id, occurred_at: None };
            done(client.referrals().withdraw_referral(request).await)
        }
        "PrioritiseReferral" => {
            let priority = referral::Priority {
                harm: 1,
                likelihood: 1,
                confidence: 1,
                explanation: "x".into(),
                ..referral::Priority::default()
            };
            let (name, priority, expected_version) = (row.referral(), Some(priority), None);
            let request = referral::PrioritiseReferralRequest { name, priority, expected_version, request_id };
            done(client.referrals().prioritise_referral(request).await)
        }
        "ExtendNonDisclosure" => {
            let (name, until, reason) = (row.referral(), Some(sample::time("2999-01-01")), "x".into());
            let request = referral::ExtendNonDisclosureRequest { name, until, reason, request_id };
            done(client.referrals().extend_non_disclosure(request).await)
        }
        "LiftNonDisclosure" => {
            let request = referral::LiftNonDisclosureRequest { name: row.referral(), reason: "x".into(), request_id };
            done(client.referrals().lift_non_disclosure(request).await)
        }
        "LinkReferrals" => {
            let same_network = vec![format!("{agency}/referrals/{}", uuid::Uuid::from_u128(9))];
            let request = referral::LinkReferralsRequest { name: row.referral(), same_network, request_id };
            done(client.referrals().link_referrals(request).await)
        }
        "CreateAgreement" => {
            let other = if agency == "agencies/nca" { "bka" } else { "nca" };
            let parties = [agency.trim_start_matches("agencies/"), other];
            let agreement = Some(sample::agreement(parties, "2027-01-01"));
            let request = referral::CreateAgreementRequest { parent: agency.clone(), agreement, request_id };
            done(client.agreements().create_agreement(request).await)
        }
        "AcceptAgreement" => {
            let request = referral::AcceptAgreementRequest { name, party, request_id, etag };
            done(client.agreements().accept_agreement(request).await)
        }
        "ExtendAgreement" => {
            let end_time = Some(sample::time("2027-06-01"));
            let request = referral::ExtendAgreementRequest { name, party, request_id, etag, end_time };
            done(client.agreements().extend_agreement(request).await)
        }
        "SuspendAgreement" => {
            let request = referral::SuspendAgreementRequest { name, party, request_id, etag, reason };
            done(client.agreements().suspend_agreement(request).await)
        }
        "ResumeAgreement" => {
            let request = referral::ResumeAgreementRequest { name, party, request_id, etag };
            done(client.agreements().resume_agreement(request).await)
        }
        "GiveNotice" => {
            let request = referral::GiveNoticeRequest { name, party, request_id, etag, reason };
            done(client.agreements().give_notice(request).await)
        }
        "AddSigningKey" => {
            let key = portreeve_core::signature::PrivateKey::from_seed("bka-2026", [3; 32]);
            let signing_key = Some(referral::SigningKey {
                public_key: key.public().to_vec().into(),
                valid_until: Some(sample::time("2026-12-31")),
                ..Default::default()
            });
            let request =
                referral::AddSigningKeyRequest { parent: agency, kid: "bka-2026".into(), signing_key, request_id };
            done(client.signing().add_signing_key(request).await)
        }
        "RevokeSigningKey" => {
            let name = format!("{agency}/signingKeys/bka-2026");
            let request = referral::RevokeSigningKeyRequest { name, reason, request_id, revoked_at: None };
            done(client.signing().revoke_signing_key(request).await)
        }
        "SetSigningPolicy" => {
            let name = format!("{agency}/signingProfile");
            let request = referral::SetSigningPolicyRequest { name, request_id, ..Default::default() };
            done(client.signing().set_signing_policy(request).await)
        }
        "CreateDraft" => {
            let request = referral::CreateDraftRequest { parent: agency, referral: Some(draft()), request_id };
            done(client.drafts().create_draft(request).await)
        }
        "UpdateDraft" => {
            let (name, referral) = (row.draft.0.clone(), Some(draft()));
            done(client.drafts().update_draft(referral::UpdateDraftRequest { name, referral, etag, request_id }).await)
        }
        "AuthoriseDraft" => {
            let ((name, etag), signature) = (row.draft.clone(), None);
            let request = referral::AuthoriseDraftRequest { name, etag, signature, request_id };
            done(client.drafts().authorise_draft(request).await)
        }
        "DiscardDraft" => {
            let name = row.draft.0.clone();
            done(client.drafts().discard_draft(referral::DiscardDraftRequest { name, etag, request_id }).await)
        }
        "SetAuthorisationPolicy" => {
            let name = format!("{agency}/authorisationPolicy");
            let request = referral::SetAuthorisationPolicyRequest { name, request_id, ..Default::default() };
            done(client.authorisation().set_authorisation_policy(request).await)
        }
        "AcknowledgeCases" => {
            let (names, occurred_at) = (vec![row.case()], None);
            let request = decision::AcknowledgeCasesRequest { parent: platform, names, occurred_at, request_id };
            done(client.decisions().acknowledge_cases(request).await)
        }
        "RecordDecision" => {
            let decision = Some(sample::later(decision::DecisionKind::Amended, sample::closed()));
            let request =
                decision::RecordDecisionRequest { parent: row.case(), decision, expected_version: None, request_id };
            done(client.decisions().record_decision(request).await)
        }
        "BatchRecordDecisions" => {
            let decision = Some(sample::later(decision::DecisionKind::Amended, sample::closed()));
            let item = decision::BatchDecisionItem { case: row.case(), decision, expected_version: None, request_id };
            let request = decision::BatchRecordDecisionsRequest { parent: platform, items: vec![item] };
            done(client.decisions().batch_record_decisions(request).await)
        }
        "CreateClause" => {
            let clause = Some(decision::Clause { title: "Human exploitation".into(), ..Default::default() });
            let request =
                decision::CreateClauseRequest { parent: platform, clause_id: "he-7".into(), clause, request_id };
            done(client.policies().create_clause(request).await)
        }
        "AddClauseVersion" => {
            let clause_version = Some(decision::ClauseVersion {
                title: "Human exploitation".into(),
                text_digest: "ab".repeat(32),
                effective_from: Some(sample::time("2019-01-01")),
                ..Default::default()
            });
            let parent = format!("{platform}/clauses/he-7");
            let request = decision::AddClauseVersionRequest { parent, clause_version, request_id };
            done(client.policies().add_clause_version(request).await)
        }
        "IssueGrant" => done(client.grants().issue_grant(grant(row.researchers, &id)).await),
        "RevokeGrant" => {
            let request = reporting::RevokeGrantRequest { name: row.grant.clone(), reason, request_id };
            done(client.grants().revoke_grant(request).await)
        }
        "CreateOrganisation" => {
            let request = sample::organisation("agencies/garda", &[]);
            done(client.organisations().create_organisation(request).await)
        }
        "UpdateOrganisation" => {
            let organisation = Some(referral::Organisation {
                name: agency,
                display_name: "Another name".into(),
                ..Default::default()
            });
            let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".into()] });
            let request = referral::UpdateOrganisationRequest { organisation, update_mask, request_id };
            done(client.organisations().update_organisation(request).await)
        }
        "SetAddressRules" => {
            let rules = Some(referral::AddressRuleSet { ignore_path_case: true, ..Default::default() });
            let name = format!("{platform}/addressRules");
            let request = referral::SetAddressRulesRequest { name, rules, etag, request_id };
            done(client.address_rules().set_address_rules(request).await)
        }
        other => panic!("{other} writes: it is to be in the table, and to be called here"),
    }
}

async fn every_write_is_for_its_role_and_its_owner(database: &Database) {
    let world = World::new(database).await;
    let all = methods(true);
    let mut wrong = Vec::new();
    // In the order of the table, in which each finds what it needs.
    for method in &all {
        assert!(WRITES.iter().any(|(name, ..)| name == method), "{method} is in no table");
    }
    assert_eq!(all.len(), WRITES.len());
    for (method, needs, owner) in WRITES {
        for (kind, role) in readers() {
            let client = world.reader(kind, role);
            for (number, row) in world.rows.iter().enumerate() {
                let owns = owner.is_none_or(|owner| owner == kind && number == 0);
                let may = needs.contains(&role) && owns;
                let heads = [world.server.head(Part::Referral).await, world.server.head(Part::Decision).await];
                let outcome = change(&client, method, row).await.map_err(|status| refusal(&status).reason);
                let reason = outcome.as_ref().err().map(String::as_str);
                let fits = if may {
                    !matches!(reason, Some("PERMISSION_DENIED" | "REQUEST_INVALID"))
                } else {
                    reason == Some("PERMISSION_DENIED")
                };
                if !fits {
                    let who = format!("{kind:?} as {}", role.name());
                    wrong.push(format!("{method} by {who} of what is {}: {outcome:?}", row.what));
                }
                if !may {
                    let after = [world.server.head(Part::Referral).await, world.server.head(Part::Decision).await];
                    // The decision service still learns of agreements that were changed in the referral service.
                    // As it looks at addresses anew, by itself, once an operator has set rules.
                    assert!(after[0] == heads[0] || *method == "SetAddressRules", "{method} wrote");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.server.stop().await;
}

/// Whoever names what is not theirs to change gets the same bytes whether there is such a thing or not.
async fn nothing_tells_a_stranger_what_there_is_to_change(database: &Database) {
    let world = World::new(database).await;
    let foreign = &world.rows[3];
    for (method, roles, owner) in WRITES.iter().filter(|(.., owner)| owner.is_some()) {
        for (kind, role) in readers().filter(|(kind, role)| roles.contains(role) && Some(*kind) == *owner) {
            let client = world.reader(kind, role);
            let there = change(&client, method, foreign).await.unwrap_err();
            let not_there = change(&client, method, &foreign.ghost()).await.unwrap_err();
            assert_eq!(bytes_of(&there), bytes_of(&not_there), "{method}");
            assert_eq!(refusal(&there).reason, "PERMISSION_DENIED", "{method}");
        }
    }
    // An agreement of others, acted on in one's own name.
    let own = |row: &Row| Row { agency: "agencies/bka".into(), ..row.clone() };
    for method in ["AcceptAgreement", "ExtendAgreement", "SuspendAgreement", "ResumeAgreement", "GiveNotice"] {
        let approver = world.reader(Agency, Role::Approver);
        let there = change(&approver, method, &own(foreign)).await.unwrap_err();
        let not_there = change(&approver, method, &own(&foreign.ghost())).await.unwrap_err();
        assert_eq!(bytes_of(&there), bytes_of(&not_there), "{method}");
        assert_eq!(refusal(&there).reason, "PERMISSION_DENIED", "{method}");
    }
    world.server.stop().await;
}
