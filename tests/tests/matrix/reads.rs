//! What each reads.

use std::fmt::{Debug, Write as _};

use OrganisationKind::{Agency, Operator, Oversight, Platform, Researcher, Service};
use Seen::{Nothing, Refused, Shown};
use portreeve_api::audit::v1 as audit;
use portreeve_api::common::v1::WatchStart;
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::consultation::v1 as consultation;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::name::OrganisationKind;
use portreeve_core::principal::Role;
use portreeve_tests::{Client, Database, on_both_engines, refusal, sample, within};
use tonic::{Response, Status, Streaming};

use super::{CONDITIONS, Row, World, bytes_of, methods, readers};

on_both_engines!(every_read_shows_what_the_table_says, nothing_tells_whether_others_have_it);

/// What comes of asking for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The row, or what the method has of it.
    Shown,
    /// An answer without it.
    Nothing,
    /// A refusal.
    Refused(&'static str),
}

const DENIED: Seen = Refused("PERMISSION_DENIED");
const LAPSED: Seen = Refused("AGREEMENT_LAPSED");

/// For readers of a kind, and in a role if one is named: what comes of asking for the row that is their own, that is shared,
/// that was shared until its agreement lapsed, and that is foreign. The first entry that fits counts.
type Table = &'static [(OrganisationKind, Option<Role>, [Seen; 4])];

/// Rows, asked for one by one or by the platform that has them.
const ROWS: Table = &[
    (Agency, None, [Shown, Shown, LAPSED, DENIED]),
    (Platform, None, [Shown, DENIED, DENIED, DENIED]),
    (Oversight, None, [DENIED; 4]),
    (Operator, None, [DENIED; 4]),
    (Researcher, None, [DENIED; 4]),
    (Service, None, [Shown; 4]),
];
/// What a platform files of its own decisions.
const STATEMENTS: Table = &[
    (Agency, None, [DENIED; 4]),
    (Platform, None, [Shown, DENIED, DENIED, DENIED]),
    (Oversight, None, [DENIED; 4]),
    (Operator, None, [DENIED; 4]),
    (Researcher, None, [DENIED; 4]),
    (Service, None, [DENIED; 4]),
];
/// Rows of an agency: of each, a platform gets those that were sent to it.
const OF_AGENCY: Table = &[(Platform, None, [Shown, Nothing, Nothing, Nothing])];
/// Figures of agencies that are named; those of all are for who analyses and who runs the exchange.
const FIGURES: Table = &[
    (Agency, None, [Shown, Shown, LAPSED, DENIED]),
    (Platform, None, [Shown, Nothing, Nothing, Nothing]),
    (Oversight, Some(Role::Analyst), [Shown; 4]),
    (Operator, Some(Role::Operator), [Shown; 4]),
    (Service, Some(Role::Service), [Shown; 4]),
    (Oversight, None, [DENIED; 4]),
    (Operator, None, [DENIED; 4]),
    // Without a grant.
    (Researcher, None, [DENIED; 4]),
    (Service, None, [DENIED; 4]),
];
/// The networks of a row's agency: its own, whatever is shared, and for who analyses and who runs the exchange.
const NETWORKS: Table = &[(Agency, None, [Shown, DENIED, DENIED, DENIED]), (Platform, None, [DENIED; 4])];
/// The agreement of a row: for its parties, as long as there is a trace of it, and for oversight.
const AGREEMENTS: Table = &[
    (Agency, None, [Shown, Shown, Shown, DENIED]),
    (Platform, None, [DENIED; 4]),
    (Oversight, None, [Shown; 4]),
    (Operator, None, [DENIED; 4]),
    (Researcher, None, [DENIED; 4]),
    (Service, None, [Shown; 4]),
];
/// The agreements of a row's agency.
const AGREEMENTS_OF: Table = &[(Agency, None, [Shown, DENIED, DENIED, DENIED])];
/// Leaves of the log are for everybody, what they are made of for whose it is. What says grades or conditions is not for
/// platforms.
const LOG: Table = &[
    (Agency, None, [Shown, Nothing, Nothing, Nothing]),
    (Platform, None, [Nothing; 4]),
    (Oversight, None, [Nothing; 4]),
    (Operator, None, [Nothing; 4]),
    (Researcher, None, [Nothing; 4]),
    (Service, None, [Shown; 4]),
];
const PROOF: Table =
    &[(Agency, None, [Shown, DENIED, DENIED, DENIED]), (Platform, None, [DENIED; 4]), (Researcher, None, [DENIED; 4])];
/// Grants: for the researchers and for who oversees them.
const GRANTS: Table = &[
    (Agency, None, [DENIED; 4]),
    (Platform, None, [DENIED; 4]),
    (Oversight, None, [Shown; 4]),
    (Operator, None, [DENIED; 4]),
    (Researcher, None, [Shown, DENIED, DENIED, DENIED]),
    (Service, None, [Shown; 4]),
];
const GRANTS_OF: Table = &[(Researcher, None, [Shown, DENIED, DENIED, DENIED])];
/// Who read a row: for the auditors of whose it is, and for oversight.
const READINGS: Table = &[
    (Agency, Some(Role::Auditor), [Shown, DENIED, DENIED, DENIED]),
    (Oversight, Some(Role::Analyst), [Shown; 4]),
    (Agency, None, [DENIED; 4]),
    (Platform, None, [DENIED; 4]),
    (Oversight, None, [DENIED; 4]),
    (Operator, None, [DENIED; 4]),
    (Researcher, None, [DENIED; 4]),
    (Service, None, [DENIED; 4]),
];
/// What has not been sent: its agency's own, and not even the suite's.
const DRAFTS: Table = &[
    (Agency, None, [Shown, DENIED, DENIED, DENIED]),
    (Platform, None, [DENIED; 4]),
    (Oversight, None, [DENIED; 4]),
    (Operator, None, [DENIED; 4]),
    (Researcher, None, [DENIED; 4]),
    (Service, None, [DENIED; 4]),
];
/// What an agency demands of its own referrals.
const DEMANDS: Table = &[
    (Agency, None, [Shown, DENIED, DENIED, DENIED]),
    (Platform, None, [DENIED; 4]),
    (Oversight, None, [Shown; 4]),
    (Operator, None, [Shown; 4]),
    (Researcher, None, [DENIED; 4]),
    (Service, None, [Shown; 4]),
];
const PUBLIC: Table = &[
    (Agency, None, [Shown; 4]),
    (Platform, None, [Shown; 4]),
    (Oversight, None, [Shown; 4]),
    (Operator, None, [Shown; 4]),
    (Researcher, None, [Shown; 4]),
    (Service, None, [Shown; 4]),
];

/// Each read with its tables; where one says nothing of a reader, the next one does.
const READS: &[(&str, &[Table])] = &[
    ("GetReferral", &[ROWS]),
    ("ListReferrals", &[OF_AGENCY, ROWS]),
    ("WatchReferrals", &[OF_AGENCY, ROWS]),
    ("ListReferralChanges", &[OF_AGENCY, ROWS]),
    ("GetCase", &[ROWS]),
    ("ListCases", &[ROWS]),
    ("WatchCases", &[ROWS]),
    ("ListCaseChanges", &[ROWS]),
    ("ListDecisions", &[ROWS]),
    ("WatchDecisions", &[ROWS]),
    ("ListDecisionChanges", &[ROWS]),
    ("ExportStatements", &[STATEMENTS]),
    ("QueryReport", &[FIGURES]),
    ("WatchReport", &[FIGURES]),
    ("ExportReport", &[FIGURES]),
    ("QueryFlow", &[FIGURES]),
    ("QueryRecurrence", &[NETWORKS, FIGURES]),
    ("QuerySurvival", &[FIGURES]),
    ("GetAgreement", &[AGREEMENTS]),
    ("ListAgreements", &[AGREEMENTS_OF, AGREEMENTS]),
    ("GetGrant", &[GRANTS]),
    ("ListGrants", &[GRANTS_OF, GRANTS]),
    ("ListLogEntries", &[LOG]),
    ("GetInclusionProof", &[PROOF, LOG]),
    ("ListConsultations", &[READINGS]),
    ("GetDraft", &[DRAFTS]),
    ("ListDrafts", &[DRAFTS]),
    ("GetAuthorisationPolicy", &[DEMANDS]),
    ("ListLegalBases", &[PUBLIC]),
    ("GetAddressRules", &[PUBLIC]),
    ("GetOrganisation", &[PUBLIC]),
    ("ListOrganisations", &[PUBLIC]),
    ("GetSigningProfile", &[PUBLIC]),
    ("GetClause", &[PUBLIC]),
    ("ListClauses", &[PUBLIC]),
    ("ListClauseVersions", &[PUBLIC]),
    ("ListMeasures", &[PUBLIC]),
    ("GetCheckpoint", &[PUBLIC]),
    ("GetConsistencyProof", &[PUBLIC]),
];

fn expected(method: &str, kind: OrganisationKind, role: Role) -> [Seen; 4] {
    let (_, tables) =
        READS.iter().find(|(name, _)| *name == method).unwrap_or_else(|| panic!("{method} is in no table"));
    let fits =
        |(of, in_role, _): &&(OrganisationKind, Option<Role>, _)| *of == kind && in_role.is_none_or(|of| of == role);
    tables
        .iter()
        .find_map(|table| table.iter().find(fits))
        .unwrap_or_else(|| panic!("{method} says nothing of {kind:?}"))
        .2
}

fn text<M: Debug>(response: Response<M>) -> String {
    format!("{:?}", response.into_inner())
}

/// All that a stream sends until it says that there is no more.
async fn sent<M: Debug>(
    stream: Result<Response<Streaming<M>>, Status>,
    ends: impl Fn(&M) -> bool,
) -> Result<String, Status> {
    let mut stream = stream?.into_inner();
    let mut sent = String::new();
    while let Some(message) = within(20, "a stream", stream.message()).await? {
        write!(sent, "{message:?}").unwrap();
        if ends(&message) {
            break;
        }
    }
    Ok(sent)
}

/// Asks for a row by a method. Gives all that came.
async fn ask(world: &World, client: &Client, method: &str, row: &Row) -> Result<String, Status> {
    let (agency, platform, at_least) = (row.agency.clone(), row.platform.clone(), world.at_least.clone());
    let referrals = at_least[..1].to_vec();
    let earliest = || Some(WatchStart { start: Some(Start::Earliest(true)) });
    let of_agency = vec![agency.clone()];
    let definition = reporting::ReportDefinition {
        cohort_from_date: "2026-01-01".into(),
        cohort_until_date: "2026-01-31".into(),
        as_of_date: if method == "WatchReport" { String::new() } else { "2026-03-01".into() },
        dimensions: vec![reporting::Dimension::Agency.into()],
        filter: Some(reporting::ReportFilter { agencies: of_agency.clone(), ..Default::default() }),
        ..Default::default()
    };
    let log = "logs/referral".to_owned();
    match method {
        "GetReferral" => {
            let request = referral::GetReferralRequest { name: row.referral(), at_least: referrals };
            client.referrals().get_referral(request).await.map(text)
        }
        "ListReferrals" => {
            let request = referral::ListReferralsRequest { parent: agency, at_least: referrals, ..Default::default() };
            client.referrals().list_referrals(request).await.map(text)
        }
        "WatchReferrals" => {
            let request = referral::WatchReferralsRequest {
                parent: agency,
                start: earliest(),
                at_least: referrals,
                filter: None,
            };
            sent(client.referrals().watch_referrals(request).await, |message| message.checkpoint).await
        }
        "ListReferralChanges" => {
            let start = Some(referral::list_referral_changes_request::Start::Earliest(true));
            let request =
                referral::ListReferralChangesRequest { parent: agency, start, page_size: 1_000, ..Default::default() };
            client.referrals().list_referral_changes(request).await.map(text)
        }
        "GetCase" => {
            client.decisions().get_case(decision::GetCaseRequest { name: row.case(), at_least }).await.map(text)
        }
        "ListCases" => {
            let filter = Some(decision::CaseFilter { agencies: of_agency, ..Default::default() });
            let request = decision::ListCasesRequest { parent: platform, filter, at_least, ..Default::default() };
            client.decisions().list_cases(request).await.map(text)
        }
        "WatchCases" => {
            let filter = Some(decision::CaseFilter { agencies: of_agency, ..Default::default() });
            let request = decision::WatchCasesRequest { parent: platform, filter, start: earliest(), at_least };
            sent(client.decisions().watch_cases(request).await, |message| message.checkpoint).await
        }
        "ListCaseChanges" => {
            let filter = Some(decision::CaseFilter { agencies: of_agency, ..Default::default() });
            let start = Some(decision::list_case_changes_request::Start::Earliest(true));
            let request =
                decision::ListCaseChangesRequest { parent: platform, filter, start, at_least, page_size: 1_000 };
            client.decisions().list_case_changes(request).await.map(text)
        }
        "ListDecisions" => {
            let request = decision::ListDecisionsRequest { parent: row.case(), at_least, ..Default::default() };
            client.decisions().list_decisions(request).await.map(text)
        }
        "WatchDecisions" => {
            let filter = Some(decision::DecisionFilter { agencies: of_agency, ..Default::default() });
            let request = decision::WatchDecisionsRequest { parent: platform, filter, start: earliest(), at_least };
            sent(client.decisions().watch_decisions(request).await, |message| message.checkpoint).await
        }
        "ListDecisionChanges" => {
            let filter = Some(decision::DecisionFilter { agencies: of_agency, ..Default::default() });
            let start = Some(decision::list_decision_changes_request::Start::Earliest(true));
            let request =
                decision::ListDecisionChangesRequest { parent: platform, filter, start, at_least, page_size: 1_000 };
            client.decisions().list_decision_changes(request).await.map(text)
        }
        "ExportStatements" => {
            let request = decision::ExportStatementsRequest { parent: platform, at_least, ..Default::default() };
            sent(client.decisions().export_statements(request).await, |_| false).await
        }
        "QueryReport" => {
            let request = reporting::QueryReportRequest { definition: Some(definition), at_least };
            let report = client.reports().query_report(request).await?.into_inner().report.unwrap();
            Ok(format!("{:?}", report.rows))
        }
        "WatchReport" => {
            let start = Some(reporting::watch_report_request::Start::Snapshot(true));
            let request = reporting::WatchReportRequest { definition: Some(definition), start, at_least };
            let mut stream = client.reports().watch_report(request).await?.into_inner();
            let first = within(20, "a report", stream.message()).await?.unwrap();
            match first.change {
                Some(reporting::watch_report_response::Change::Snapshot(report)) => Ok(format!("{:?}", report.rows)),
                other => panic!("{other:?}"),
            }
        }
        "ExportReport" => {
            let format = reporting::ExportFormat::Csv.into();
            let request = reporting::ExportReportRequest { definition: Some(definition), at_least, format };
            sent(client.reports().export_report(request).await, |_| false).await
        }
        "QueryFlow" => {
            let request = reporting::QueryFlowRequest {
                definition: Some(reporting::ReportDefinition { as_of_date: String::new(), ..definition }),
                event_from_date: "2026-01-01".into(),
                event_until_date: "2026-01-31".into(),
                at_least,
            };
            let flow = client.reports().query_flow(request).await?.into_inner().flow.unwrap();
            Ok(format!("{:?}", flow.rows))
        }
        "QueryRecurrence" => {
            let as_of_date = "2026-03-01".into();
            let request =
                reporting::QueryRecurrenceRequest { parent: agency, as_of_date, at_least, ..Default::default() };
            client.reports().query_recurrence(request).await.map(text)
        }
        "QuerySurvival" => {
            let request = reporting::QuerySurvivalRequest { definition: Some(definition), at_least };
            let reply = client.reports().query_survival(request).await?.into_inner();
            Ok(format!("{:?} {:?}", reply.report.unwrap().rows, reply.curve))
        }
        "GetAgreement" => {
            let request = referral::GetAgreementRequest { name: row.agreement.clone(), at_least: referrals };
            client.agreements().get_agreement(request).await.map(text)
        }
        "ListAgreements" => {
            let request = referral::ListAgreementsRequest { parent: agency, at_least: referrals, ..Default::default() };
            client.agreements().list_agreements(request).await.map(text)
        }
        "GetGrant" => {
            let request = reporting::GetGrantRequest { name: row.grant.clone(), ..Default::default() };
            client.grants().get_grant(request).await.map(text)
        }
        "ListGrants" => {
            let request = reporting::ListGrantsRequest { parent: row.researchers.into(), ..Default::default() };
            client.grants().list_grants(request).await.map(text)
        }
        "ListLogEntries" => {
            let request = audit::ListLogEntriesRequest {
                parent: log,
                at_least: referrals,
                page_size: 1_000,
                ..Default::default()
            };
            client.audits().list_log_entries(request).await.map(text)
        }
        "GetInclusionProof" => {
            let (position, at_least) = (row.position, referrals);
            let request = audit::GetInclusionProofRequest { log, position, at_least, ..Default::default() };
            client.audits().get_inclusion_proof(request).await.map(text)
        }
        "GetCheckpoint" => {
            client.audits().get_checkpoint(audit::GetCheckpointRequest { log, at_least: referrals }).await.map(text)
        }
        "GetConsistencyProof" => {
            let request = audit::GetConsistencyProofRequest { log, at_least: referrals, ..Default::default() };
            client.audits().get_consistency_proof(request).await.map(text)
        }
        "ListConsultations" => {
            let request = consultation::ListConsultationsRequest {
                log: "logs/decision-access".into(),
                parent: agency,
                page_size: 1_000,
                ..Default::default()
            };
            client.consultations().list_consultations(request).await.map(text)
        }
        "GetDraft" => {
            let request = referral::GetDraftRequest { name: row.draft.0.clone(), at_least: referrals };
            client.drafts().get_draft(request).await.map(text)
        }
        "ListDrafts" => {
            let request = referral::ListDraftsRequest { parent: agency, at_least: referrals, ..Default::default() };
            client.drafts().list_drafts(request).await.map(text)
        }
        "GetAuthorisationPolicy" => {
            let name = format!("{agency}/authorisationPolicy");
            let request = referral::GetAuthorisationPolicyRequest { name, at_least: referrals };
            client.authorisation().get_authorisation_policy(request).await.map(text)
        }
        "GetAddressRules" => {
            let name = format!("{}/addressRules", row.platform);
            let request = referral::GetAddressRulesRequest { name, version: 0, at_least: referrals };
            client.address_rules().get_address_rules(request).await.map(text)
        }
        "ListLegalBases" => client.legal_bases().list_legal_bases(referral::ListLegalBasesRequest {}).await.map(text),
        "GetOrganisation" => {
            let request = referral::GetOrganisationRequest { name: agency, at_least: referrals };
            client.organisations().get_organisation(request).await.map(text)
        }
        "ListOrganisations" => {
            let request = referral::ListOrganisationsRequest { at_least: referrals, ..Default::default() };
            client.organisations().list_organisations(request).await.map(text)
        }
        "GetSigningProfile" => {
            let name = format!("{agency}/signingProfile");
            client
                .signing()
                .get_signing_profile(referral::GetSigningProfileRequest { name, ..Default::default() })
                .await
                .map(text)
        }
        "GetClause" => {
            let request = decision::GetClauseRequest { name: format!("{platform}/clauses/he-7"), ..Default::default() };
            client.policies().get_clause(request).await.map(text)
        }
        "ListClauses" => {
            let request = decision::ListClausesRequest { parent: platform, ..Default::default() };
            client.policies().list_clauses(request).await.map(text)
        }
        "ListClauseVersions" => {
            let parent = format!("{platform}/clauses/he-7");
            let request = decision::ListClauseVersionsRequest { parent, ..Default::default() };
            client.policies().list_clause_versions(request).await.map(text)
        }
        "ListMeasures" => client.reports().list_measures(reporting::ListMeasuresRequest {}).await.map(text),
        other => panic!("{other} reads: it is to be in the tables, and to be asked here"),
    }
}

/// What in an answer tells of a row.
fn trace(method: &str, row: &Row) -> String {
    match method {
        "QueryReport"
        | "WatchReport"
        | "ExportReport"
        | "QueryFlow"
        | "QuerySurvival"
        | "GetOrganisation"
        | "ListOrganisations"
        | "GetSigningProfile"
        | "GetAuthorisationPolicy" => row.agency.clone(),
        "GetDraft" | "ListDrafts" => row.draft.0.clone(),
        "ListLegalBases" => "IA1971_S25".into(),
        "GetAddressRules" => format!("{}/addressRules", row.platform),
        "GetAgreement" | "ListAgreements" => row.agreement.clone(),
        "GetGrant" | "ListGrants" => row.grant.clone(),
        "GetClause" | "ListClauses" | "ListClauseVersions" => format!("{}/clauses/he-7", row.platform),
        "ListMeasures" => "referred".into(),
        "QueryRecurrence" => "2026-03-01".into(),
        "GetCheckpoint" | "GetConsistencyProof" => "portreeve/referral/".into(),
        _ => row.id.to_string(),
    }
}

async fn clauses(world: &World) {
    for platform in ["harbourbook", "chirrup"] {
        sample::clause(&world.client, platform, "he-7").await;
    }
}

async fn every_read_shows_what_the_table_says(database: &Database) {
    let world = World::new(database).await;
    clauses(&world).await;
    let mut wrong = Vec::new();
    for method in methods(false) {
        for (kind, role) in readers() {
            let client = world.reader(kind, role);
            for (row, expected) in world.rows.iter().zip(expected(&method, kind, role)) {
                let answer = ask(&world, &client, &method, row).await;
                let seen = match &answer {
                    Ok(text) if text.contains(&trace(&method, row)) => "Shown".to_owned(),
                    Ok(_) => "Nothing".to_owned(),
                    Err(status) => format!("Refused({:?})", refusal(status).reason),
                };
                if seen != format!("{expected:?}") {
                    wrong.push(format!("{method} by {kind:?} as {}: {} gave {seen}", role.name(), row.what));
                }
                let own = method.ends_with("Draft") || method.ends_with("Drafts") || row.what == "own";
                if !(kind == Agency && own) && answer.as_ref().is_ok_and(|text| text.contains(&row.draft.0)) {
                    wrong.push(format!("{method} by {kind:?} as {} shows a draft of {}", role.name(), row.what));
                }
                if kind == Platform && answer.is_ok_and(|text| text.contains(CONDITIONS)) {
                    wrong.push(format!("{method} shows a platform the conditions of sharing"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.server.stop().await;
}

/// Whoever may not see a row gets the same bytes whether there is one or not: permission is asked first.
async fn nothing_tells_whether_others_have_it(database: &Database) {
    let world = World::new(database).await;
    let mut compared = 0;
    for method in ["GetReferral", "GetCase", "ListDecisions", "GetAgreement", "GetDraft"] {
        for (kind, role) in readers() {
            let client = world.reader(kind, role);
            for (row, expected) in world.rows.iter().zip(expected(method, kind, role)) {
                if expected != DENIED {
                    continue;
                }
                let there = ask(&world, &client, method, row).await.unwrap_err();
                let not_there = ask(&world, &client, method, &row.ghost()).await.unwrap_err();
                assert_eq!(
                    bytes_of(&there),
                    bytes_of(&not_there),
                    "{method} by {kind:?} as {}: {}",
                    role.name(),
                    row.what
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
    // Whose it is, and whoever sees everything, learns that there is none.
    for (kind, role, method) in [
        (Agency, Role::Officer, "GetReferral"),
        (Agency, Role::Officer, "GetDraft"),
        (Platform, Role::Reviewer, "GetCase"),
        (Platform, Role::Reviewer, "ListDecisions"),
        (Service, Role::Service, "GetCase"),
        (Oversight, Role::Analyst, "GetAgreement"),
    ] {
        let status = ask(&world, &world.reader(kind, role), method, &world.rows[0].ghost()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound, "{method}: {status:?}");
    }
    world.server.stop().await;
}
