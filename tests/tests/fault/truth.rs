//! All that a server knows, read through its public API.

use portreeve_api::common::v1::Progress;
use portreeve_api::decision::v1::{
    Case, CaseChange, Decision, ListCaseChangesRequest, ListCasesRequest, ListDecisionsRequest,
    list_case_changes_request,
};
use portreeve_api::referral::v1::{
    ListOrganisationsRequest, ListReferralChangesRequest, ListReferralsRequest, Organisation, Referral, ReferralChange,
    list_referral_changes_request,
};
use portreeve_api::reporting::v1::{Dimension, QueryReportRequest, Report, ReportDefinition};

use super::storm::{ANALYST, Storm};

/// Who sees all of it.
const SERVICE: &str = "services/audit";
/// Rows of a page.
const PAGE: i32 = 1_000;

/// What a server knows.
#[derive(Debug, PartialEq)]
pub(crate) struct Truth {
    pub(crate) organisations: Vec<Organisation>,
    pub(crate) referrals: Vec<Referral>,
    pub(crate) referral_changes: Vec<ReferralChange>,
    pub(crate) cases: Vec<Case>,
    pub(crate) case_changes: Vec<CaseChange>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) report: Report,
}

/// The report that counts every referral.
pub(crate) fn everything() -> ReportDefinition {
    ReportDefinition {
        cohort_from_date: "2020-01-01".to_owned(),
        cohort_until_date: "2199-12-31".to_owned(),
        as_of_date: "2199-12-31".to_owned(),
        dimensions: vec![Dimension::Disposition.into()],
        ..ReportDefinition::default()
    }
}

/// Reads a list to its end, page by page.
macro_rules! pages {
    ($storm:expr, $client:ident.$method:ident($request:expr), $field:ident) => {{
        let (mut request, mut all) = ($request, Vec::new());
        loop {
            let client = $storm.$client(SERVICE);
            let call = || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.$method(request).await }
            };
            let page = $storm.answered(stringify!($method), call).await;
            all.extend(page.$field);
            if page.next_page_token.is_empty() {
                break all;
            }
            request.page_token = page.next_page_token;
        }
    }};
}

/// Reads a log to its end; gives the changes and how far it had been read.
macro_rules! log {
    ($storm:expr, $client:ident.$method:ident($request:expr), $start:path) => {{
        let (mut request, mut all) = ($request, Vec::new());
        loop {
            let client = $storm.$client(SERVICE);
            let call = || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.$method(request).await }
            };
            let page = $storm.answered(stringify!($method), call).await;
            all.extend(page.changes);
            if page.caught_up {
                break (all, page.progress.unwrap_or_default());
            }
            request.start = Some($start(page.resume_token));
        }
    }};
}

/// Reads everything. Each service has caught up with those that it follows.
pub(crate) async fn read(storm: &Storm) -> Truth {
    let (referral_changes, Progress { revisions: referral }) = log!(
        storm,
        referrals.list_referral_changes(ListReferralChangesRequest {
            parent: "agencies/-".to_owned(),
            start: Some(list_referral_changes_request::Start::Earliest(true)),
            page_size: PAGE,
            ..ListReferralChangesRequest::default()
        }),
        list_referral_changes_request::Start::ResumeToken
    );
    let (case_changes, Progress { revisions: decision }) = log!(
        storm,
        decisions.list_case_changes(ListCaseChangesRequest {
            parent: "platforms/-".to_owned(),
            start: Some(list_case_changes_request::Start::Earliest(true)),
            page_size: PAGE,
            at_least: referral.clone(),
            ..ListCaseChangesRequest::default()
        }),
        list_case_changes_request::Start::ResumeToken
    );
    let organisations = pages!(
        storm,
        organisations.list_organisations(ListOrganisationsRequest { page_size: PAGE, ..Default::default() }),
        organisations
    );
    let referrals = pages!(
        storm,
        referrals.list_referrals(ListReferralsRequest {
            parent: "agencies/-".to_owned(),
            page_size: PAGE,
            ..Default::default()
        }),
        referrals
    );
    let cases = pages!(
        storm,
        decisions.list_cases(ListCasesRequest {
            parent: "platforms/-".to_owned(),
            page_size: PAGE,
            ..Default::default()
        }),
        cases
    );
    let decisions = pages!(
        storm,
        decisions.list_decisions(ListDecisionsRequest {
            parent: "platforms/-/cases/-".to_owned(),
            page_size: PAGE,
            ..Default::default()
        }),
        decisions
    );
    let request =
        QueryReportRequest { definition: Some(everything()), at_least: referral.into_iter().chain(decision).collect() };
    let client = storm.reports(ANALYST);
    let call = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.query_report(request).await }
    };
    let report = storm.answered("QueryReport", call).await.report.unwrap();
    Truth { organisations, referrals, referral_changes, cases, case_changes, decisions, report }
}
