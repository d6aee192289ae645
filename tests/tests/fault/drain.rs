//! SIGTERM: the end in order.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use portreeve_api::common::v1::{WatchStart, watch_start};
use portreeve_api::decision::v1::{WatchCasesRequest, WatchCasesResponse};
use portreeve_api::referral::v1::{
    CreateReferralRequest, ImportItem, ImportReferralsRequest, WatchReferralsRequest, WatchReferralsResponse,
    import_result, referral_change,
};
use portreeve_api::reporting::v1::{WatchReportRequest, WatchReportResponse, watch_report_request};
use portreeve_storage::conformance::Fixture;
use portreeve_tests::process::{Process, free_address};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::storm::{AGENCY, ANALYST, Storm, draft};
use super::truth::everything;
use super::url;

/// What the server is told: calls may take so long once it ends.
const DRAIN_SECONDS: u64 = 3;
/// How much longer the process may take: for last words, and on a busy machine.
const GRACE: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_on_sqlite() {
    ends_in_order(&Fixture::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_on_postgres() {
    ends_in_order(&Fixture::postgres().await).await;
}

async fn ends_in_order(fixture: &Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let (listen, drain, database) =
        (free_address().unwrap().to_string(), DRAIN_SECONDS.to_string(), url(&fixture.database));
    let arguments = ["serve", "--database", &database, "--listen", &listen, "--drain-seconds", &drain];
    let start = || Process::start(arguments, [("", ""); 0], folder.path()).unwrap();
    let mut server = start();
    server.listens().await.unwrap();
    let storm = Storm::new(&[(); 3].map(|()| format!("http://{listen}")));
    storm.register().await;

    // Streams that are open, and an import whose client neither ends it nor goes away.
    let mut referrals = storm.referrals(AGENCY).watch_referrals(watch_referrals(None)).await.unwrap().into_inner();
    let mut cases = storm.decisions(AGENCY).watch_cases(watch_cases(None)).await.unwrap().into_inner();
    let mut report = storm.reports(ANALYST).watch_report(watch_report(None)).await.unwrap().into_inner();
    let (items, messages) = tokio::sync::mpsc::channel(1);
    items.send(import(1)).await.unwrap();
    let mut results =
        storm.referrals(AGENCY).import_referrals(ReceiverStream::new(messages)).await.unwrap().into_inner();
    let answered = results.next().await.unwrap().unwrap();
    let Some(import_result::Result::Imported(imported)) = &answered.results[0].result else {
        panic!("{answered:?}");
    };
    let (mut seen, mut reached) = (Vec::new(), String::new());
    while seen.is_empty() {
        let message = referrals.next().await.unwrap().unwrap();
        seen = created(&message);
        reached = message.resume_token;
    }
    assert_eq!(seen, std::slice::from_ref(&imported.name));

    let told = Instant::now();
    server.terminate().unwrap();
    // Each ends with the reason, and has left a token.
    let (referrals, cases, report) = tokio::join!(
        last(&mut referrals, reached, |message: &WatchReferralsResponse| message.resume_token.clone()),
        last(&mut cases, String::new(), |message: &WatchCasesResponse| message.resume_token.clone()),
        last(&mut report, String::new(), |message: &WatchReportResponse| message.resume_token.clone()),
    );
    let streams_ended = told.elapsed();
    assert!(streams_ended < Duration::from_secs(DRAIN_SECONDS), "streams ended only after {streams_ended:?}");
    for (_, status) in [&referrals, &cases, &report] {
        is_draining(status);
    }
    // The import could still be answered; it is cut at the deadline, with the same reason.
    let cut = results.next().await.unwrap().unwrap_err();
    is_draining(&cut);
    drop(items);
    let status = server.ended().await.unwrap();
    assert!(status.success(), "{status}: {}", server.said());
    let took = told.elapsed();
    assert!(took < Duration::from_secs(DRAIN_SECONDS) + GRACE, "the end took {took:?}");

    // Another server goes on where the tokens say: what comes now comes once, what came does not come again.
    let mut server = start();
    server.listens().await.unwrap();
    let request = CreateReferralRequest {
        parent: AGENCY.to_owned(),
        referral: Some(draft("drain/2")),
        request_id: Uuid::from_u128(2).to_string(),
    };
    let client = storm.referrals(AGENCY);
    let create = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.create_referral(request).await }
    };
    let second = storm.answered("CreateReferral", create).await.referral.unwrap();
    let mut resumed =
        storm.referrals(AGENCY).watch_referrals(watch_referrals(Some(token(referrals)))).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = created(&resumed.next().await.unwrap().unwrap());
    }
    assert_eq!(seen, [second.name]);
    storm.decisions(AGENCY).watch_cases(watch_cases(Some(token(cases)))).await.unwrap();
    storm.reports(ANALYST).watch_report(watch_report(Some(token(report)))).await.unwrap();

    // With nothing under way it does not wait for the deadline.
    drop(resumed);
    let told = Instant::now();
    server.terminate().unwrap();
    assert!(server.ended().await.unwrap().success(), "{}", server.said());
    assert!(told.elapsed() < Duration::from_secs(DRAIN_SECONDS), "an idle server took {:?} to end", told.elapsed());
}

/// The last token of a stream and how it ended.
async fn last<M>(stream: &mut Streaming<M>, mut newest: String, token: impl Fn(&M) -> String) -> (String, Status) {
    loop {
        match stream.next().await.expect("a status at the end") {
            Ok(message) => newest = token(&message),
            Err(status) => return (newest, status),
        }
    }
}

fn is_draining(status: &Status) {
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, "SERVER_DRAINING", "{status:?}");
    assert!(details.retry_info().is_some(), "{status:?}");
}

fn token((token, _): (String, Status)) -> String {
    assert!(!token.is_empty(), "the stream left no token");
    token
}

fn created(message: &WatchReferralsResponse) -> Vec<String> {
    let name = |change: &Option<referral_change::Change>| match change {
        Some(referral_change::Change::Created(referral)) => Some(referral.name.clone()),
        _ => None,
    };
    message.changes.iter().filter_map(|change| name(&change.change)).collect()
}

fn import(number: u128) -> ImportReferralsRequest {
    let item =
        ImportItem { request_id: Uuid::from_u128(number).to_string(), draft: Some(draft(&format!("drain/{number}"))) };
    ImportReferralsRequest { parent: AGENCY.to_owned(), items: vec![item] }
}

fn start(token: Option<String>) -> WatchStart {
    let start = token.map_or(watch_start::Start::Earliest(true), watch_start::Start::ResumeToken);
    WatchStart { start: Some(start) }
}

fn watch_referrals(token: Option<String>) -> WatchReferralsRequest {
    WatchReferralsRequest { parent: AGENCY.to_owned(), start: Some(start(token)), ..WatchReferralsRequest::default() }
}

fn watch_cases(token: Option<String>) -> WatchCasesRequest {
    WatchCasesRequest { parent: "platforms/-".to_owned(), start: Some(start(token)), ..WatchCasesRequest::default() }
}

fn watch_report(token: Option<String>) -> WatchReportRequest {
    let mut definition = everything();
    definition.as_of_date.clear();
    let start = token.map_or(watch_report_request::Start::Snapshot(true), watch_report_request::Start::ResumeToken);
    WatchReportRequest { start: Some(start), definition: Some(definition), at_least: Vec::new() }
}
