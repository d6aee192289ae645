//! Clients that never give up: they repeat every write, often several times at once, until it is answered, and keep
//! what they were answered.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use portreeve_api::clients::{self, Acting, DecisionClient, OrganisationClient, ReferralClient, ReportingClient};
use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind, WatchStart, watch_start};
use portreeve_api::decision::v1::{
    AcknowledgeCasesRequest, AcknowledgeCasesResponse, Case, CaseChange, DecisionDraft, DecisionKind, DecisionSource,
    Outcome, RecordDecisionRequest, RecordDecisionResponse, WatchCasesRequest, acknowledge_result, case_change,
};
use portreeve_api::referral::v1::{
    BatchCreateReferralsRequest, BatchCreateReferralsResponse, CreateOrganisationRequest, CreateReferralRequest,
    CreateReferralResponse, ImportItem, ImportReferralsRequest, LegalBasis, Organisation, OrganisationKind, Referral,
    ReferralChange, ReferralDraft, Target, WatchReferralsRequest, import_result,
};
use portreeve_api::reporting::v1::{Counts, WatchReportRequest, watch_report_request, watch_report_response};
use portreeve_api::watch::{self, Backoff};
use tokio::sync::watch as signal;
use tonic::transport::Channel;
use tonic::{Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::truth::everything;

/// How long a call may go unanswered before it is made again.
const CALL: Duration = Duration::from_secs(5);
/// How long a write may take with all its repetitions: longer means that the server does not come back.
const PATIENCE: Duration = Duration::from_mins(1);
/// The wait between attempts.
const PAUSE: Duration = Duration::from_millis(4);
/// Referrals in one atomic batch.
pub(crate) const BATCH: usize = 20;
/// Items that an import has under way.
const IMPORT: usize = 60;
/// Of so many acknowledged cases one is decided.
const DECIDED: usize = 3;

pub(crate) const AGENCY: &str = "agencies/nca";
pub(crate) const PLATFORM: &str = "platforms/harbourbook";
pub(crate) const ANALYST: &str = "oversightBodies/hac";

/// How streams are opened again: at once, for the server is soon back.
pub(crate) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(50), give_up_after: None, seed: 0 };

/// What was sent and what was answered.
pub(crate) type Answered<Q, A> = Mutex<Vec<(Q, A)>>;

/// The clients with what they were told.
#[derive(Debug)]
pub(crate) struct Storm {
    /// To the referral, the decision and the reporting service.
    channels: [Channel; 3],
    over: AtomicBool,
    /// Attempts that were not answered.
    pub(crate) broken: AtomicUsize,
    pub(crate) created: Answered<CreateReferralRequest, CreateReferralResponse>,
    pub(crate) batches: Answered<BatchCreateReferralsRequest, BatchCreateReferralsResponse>,
    pub(crate) imported: Mutex<HashMap<String, (ImportItem, String)>>,
    pub(crate) acknowledged: Answered<AcknowledgeCasesRequest, AcknowledgeCasesResponse>,
    pub(crate) decided: Answered<RecordDecisionRequest, RecordDecisionResponse>,
    /// What the watchers were told, in order.
    pub(crate) referral_changes: Mutex<Vec<ReferralChange>>,
    pub(crate) case_changes: Mutex<Vec<CaseChange>>,
    /// The last position that each watcher was told of, and the figures that the report's watcher arrived at.
    pub(crate) referral_position: signal::Sender<u64>,
    pub(crate) case_position: signal::Sender<u64>,
    pub(crate) counts: signal::Sender<Counts>,
    /// How many cases there will be, once that is known.
    pub(crate) expected: signal::Sender<Option<usize>>,
}

impl Storm {
    /// Clients of the referral, the decision and the reporting service at their URLs.
    pub(crate) fn new(urls: &[String; 3]) -> Arc<Self> {
        Arc::new(Self {
            channels: urls.each_ref().map(|url| clients::endpoint(url).unwrap().connect_lazy()),
            over: AtomicBool::new(false),
            broken: AtomicUsize::new(0),
            created: Mutex::default(),
            batches: Mutex::default(),
            imported: Mutex::default(),
            acknowledged: Mutex::default(),
            decided: Mutex::default(),
            referral_changes: Mutex::default(),
            case_changes: Mutex::default(),
            referral_position: signal::Sender::new(0),
            case_position: signal::Sender::new(0),
            counts: signal::Sender::new(Counts::default()),
            expected: signal::Sender::new(None),
        })
    }

    /// Lets the agency's clients finish what they have begun.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn organisations(&self, acting: &str) -> OrganisationClient {
        clients::organisation(self.channels[0].clone(), Acting::new(acting).unwrap())
    }

    pub(crate) fn referrals(&self, acting: &str) -> ReferralClient {
        clients::referral(self.channels[0].clone(), Acting::new(acting).unwrap())
    }

    pub(crate) fn decisions(&self, acting: &str) -> DecisionClient {
        clients::decision(self.channels[1].clone(), Acting::new(acting).unwrap())
    }

    pub(crate) fn reports(&self, acting: &str) -> ReportingClient {
        clients::reporting(self.channels[2].clone(), Acting::new(acting).unwrap())
    }

    /// Makes a call until it is answered. A refusal that repeating cannot cure is an error of the server here: nothing
    /// that these clients send is wrong.
    pub(crate) async fn answered<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        loop {
            match tokio::time::timeout(CALL, call()).await {
                Ok(Ok(response)) => return response.into_inner(),
                Ok(Err(status)) => self.broke(what, &status),
                Err(_) => {
                    self.broken.fetch_add(1, Ordering::Relaxed);
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: no answer");
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn broke(&self, what: &str, status: &Status) {
        // The server says of every error of its own what it is; without that, the connection broke.
        let of_server = status.get_details_error_info();
        assert!(of_server.is_none() || watch::is_retryable(status), "{what} was refused: {status:?} {of_server:?}");
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// The organisations that the others need.
    pub(crate) async fn register(&self) {
        for (name, kind, hosts) in [
            (AGENCY, OrganisationKind::Agency, vec![]),
            (PLATFORM, OrganisationKind::Platform, vec!["harbourbook.example".to_owned()]),
            (ANALYST, OrganisationKind::OversightBody, vec![]),
        ] {
            let organisation =
                Organisation { display_name: name.to_owned(), kind: kind.into(), hosts, ..Organisation::default() };
            let request = CreateOrganisationRequest {
                organisation_id: name.rsplit('/').next().unwrap().to_owned(),
                organisation: Some(organisation),
                request_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string(),
            };
            let client = self.organisations("operators/local");
            let call = || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.create_organisation(request).await }
            };
            self.answered("CreateOrganisation", call).await;
        }
    }

    /// An officer who sends one referral after the other, each up to three times at once.
    pub(crate) async fn create(self: Arc<Self>, who: usize) {
        let client = self.referrals(AGENCY);
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let path = format!("create/{who}/{number}");
            let request = CreateReferralRequest {
                parent: AGENCY.to_owned(),
                referral: Some(draft(&path)),
                request_id: request_id(&path),
            };
            let call = || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.create_referral(request).await }
            };
            let answers = join_all((0..=number % 3).map(|_| self.answered("CreateReferral", call))).await;
            let news = answers.iter().filter(|answer| !answer.replayed).count();
            assert!(news <= 1, "{path}: one request did it {news} times");
            let first = answers[0].clone();
            for answer in answers {
                same_answer(&first, &answer);
            }
            self.created.lock().unwrap().push((request, first));
        }
    }

    /// A system that sends batches.
    pub(crate) async fn batch(self: Arc<Self>) {
        let client = self.referrals(AGENCY);
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let path = format!("batch/{number}");
            let request = BatchCreateReferralsRequest {
                parent: AGENCY.to_owned(),
                drafts: (0..BATCH).map(|item| draft(&format!("{path}/{item}"))).collect(),
                request_id: request_id(&path),
            };
            let call = || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.batch_create_referrals(request).await }
            };
            let answer = self.answered("BatchCreateReferrals", call).await;
            assert_eq!(answer.referrals.len(), BATCH);
            self.batches.lock().unwrap().push((request, answer));
        }
    }

    /// An import that goes on where it broke off, and sends a little of what it was answered again.
    pub(crate) async fn import(self: Arc<Self>) {
        let mut client = self.referrals(AGENCY);
        let (mut next, mut begun) = (0, Instant::now());
        let mut open: Vec<ImportItem> = Vec::new();
        while self.goes_on() || !open.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "the import gets no answer");
            while self.goes_on() && open.len() < IMPORT {
                let path = format!("import/{next}");
                next += 1;
                open.push(ImportItem { request_id: request_id(&path), draft: Some(draft(&path)) });
            }
            let mut items: Vec<_> =
                self.imported.lock().unwrap().values().take(10).map(|(item, _)| item.clone()).collect();
            items.append(&mut open.clone());
            let messages: Vec<_> = items
                .chunks(10)
                .map(|items| ImportReferralsRequest { parent: AGENCY.to_owned(), items: items.to_vec() })
                .collect();
            let mut results = match client.import_referrals(stream::iter(messages)).await {
                Ok(results) => results.into_inner(),
                Err(status) => {
                    self.broke("ImportReferrals", &status);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let mut index = 0;
            while let Ok(Some(message)) = tokio::time::timeout(CALL, results.next()).await {
                let message = match message {
                    Ok(message) => message,
                    Err(status) => {
                        self.broke("ImportReferrals", &status);
                        break;
                    }
                };
                for result in message.results {
                    let item = &items[index];
                    assert_eq!((result.index, &result.request_id), (index as u64, &item.request_id));
                    index += 1;
                    let Some(import_result::Result::Imported(imported)) = result.result else {
                        panic!("an item was refused: {result:?}")
                    };
                    let mut known = self.imported.lock().unwrap();
                    if let Some((_, first)) = known.get(&item.request_id) {
                        assert!(imported.replayed && imported.name == *first, "{imported:?} after {first}");
                    } else {
                        known.insert(item.request_id.clone(), (item.clone(), imported.name));
                    }
                }
                begun = Instant::now();
            }
            let known = self.imported.lock().unwrap();
            open.retain(|item| !known.contains_key(&item.request_id));
        }
    }

    /// A platform at work: it acknowledges what comes into its inbox, and decides a part of it, each decision twice at
    /// once. It ends when it has dealt with as many cases as there are.
    pub(crate) async fn decide(self: Arc<Self>) {
        let request = WatchCasesRequest {
            parent: PLATFORM.to_owned(),
            start: Some(WatchStart { start: Some(watch_start::Start::Earliest(true)) }),
            ..WatchCasesRequest::default()
        };
        let mut inbox = pin!(watch::cases(self.decisions(PLATFORM), request, BACKOFF));
        let (mut seen, mut batches) = (0, 0);
        let mut expected = self.expected.subscribe();
        while *expected.borrow_and_update() != Some(seen) {
            let message = tokio::select! {
                message = inbox.next() => message.unwrap().unwrap(),
                _ = expected.changed() => continue,
            };
            let opened = |change: CaseChange| match change.change {
                Some(case_change::Change::Opened(case)) => Some(case),
                _ => None,
            };
            let cases: Vec<_> = message.changes.into_iter().filter_map(opened).collect();
            for cases in cases.chunks(100) {
                seen += cases.len();
                batches += 1;
                self.acknowledge(batches, cases).await;
                stream::iter(cases.iter().step_by(DECIDED)).for_each_concurrent(8, |case| self.decide_one(case)).await;
            }
        }
    }

    async fn acknowledge(&self, batch: usize, cases: &[Case]) {
        let request = AcknowledgeCasesRequest {
            parent: PLATFORM.to_owned(),
            names: cases.iter().map(|case| case.name.clone()).collect(),
            occurred_at: None,
            request_id: request_id(&format!("acknowledge/{batch}")),
        };
        let client = self.decisions(PLATFORM);
        let call = || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.acknowledge_cases(request).await }
        };
        let answer = self.answered("AcknowledgeCases", call).await;
        for result in &answer.results {
            assert!(matches!(result.result, Some(acknowledge_result::Result::Receipt(_))), "{result:?}");
        }
        self.acknowledged.lock().unwrap().push((request, answer));
    }

    async fn decide_one(&self, case: &Case) {
        let closed = case.name.as_bytes().last().unwrap().is_multiple_of(2);
        let request = RecordDecisionRequest {
            parent: case.name.clone(),
            decision: Some(DecisionDraft {
                kind: DecisionKind::Initial.into(),
                outcome: if closed { Outcome::ClosedIllegal } else { Outcome::NoActionInsufficientInfo }.into(),
                law: if closed { "Immigration Act 1971, s. 25".to_owned() } else { String::new() },
                decided_by: DecisionSource::Human.into(),
                ..DecisionDraft::default()
            }),
            expected_version: Some(0),
            request_id: request_id(&format!("decide/{}", case.name)),
        };
        let client = self.decisions(PLATFORM);
        let call = || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.record_decision(request).await }
        };
        let answers = join_all((0..2).map(|_| self.answered("RecordDecision", call))).await;
        assert!(answers.iter().filter(|answer| !answer.replayed).count() <= 1);
        assert_eq!(answers[0].decision, answers[1].decision);
        self.decided.lock().unwrap().push((request, answers[0].clone()));
    }

    /// Watches the agency's referrals, for as long as it is let.
    pub(crate) async fn watch_referrals(self: Arc<Self>) {
        let request = WatchReferralsRequest {
            parent: AGENCY.to_owned(),
            start: Some(WatchStart { start: Some(watch_start::Start::Earliest(true)) }),
            ..WatchReferralsRequest::default()
        };
        let mut messages = pin!(watch::referrals(self.referrals(AGENCY), request, BACKOFF));
        while let Some(message) = messages.next().await {
            let changes = message.unwrap().changes;
            let Some(last) = changes.last().map(|change| change.position) else { continue };
            self.referral_changes.lock().unwrap().extend(changes);
            self.referral_position.send_replace(last);
        }
    }

    /// Watches the agency's cases.
    pub(crate) async fn watch_cases(self: Arc<Self>) {
        let request = WatchCasesRequest {
            parent: "platforms/-".to_owned(),
            start: Some(WatchStart { start: Some(watch_start::Start::Earliest(true)) }),
            ..WatchCasesRequest::default()
        };
        let mut messages = pin!(watch::cases(self.decisions(AGENCY), request, BACKOFF));
        while let Some(message) = messages.next().await {
            let changes = message.unwrap().changes;
            let Some(last) = changes.last().map(|change| change.position) else { continue };
            self.case_changes.lock().unwrap().extend(changes);
            self.case_position.send_replace(last);
        }
    }

    /// Watches the figures and adds up what it is told.
    pub(crate) async fn watch_report(self: Arc<Self>) {
        let mut definition = everything();
        definition.as_of_date.clear();
        let request = WatchReportRequest {
            start: Some(watch_report_request::Start::Snapshot(true)),
            definition: Some(definition),
            at_least: Vec::new(),
        };
        let mut messages = pin!(watch::report(self.reports(ANALYST), request, BACKOFF));
        while let Some(message) = messages.next().await {
            match message.unwrap().change {
                Some(watch_report_response::Change::Snapshot(report)) => {
                    self.counts.send_replace(report.total.unwrap().counts.unwrap());
                }
                Some(watch_report_response::Change::Delta(delta)) => self.counts.send_modify(|counts| {
                    for change in delta.rows.into_iter().filter_map(|row| row.counts) {
                        counts.referred += change.referred;
                        counts.closed += change.closed;
                        counts.not_in_breach += change.not_in_breach;
                        counts.undecided += change.undecided;
                        counts.other += change.other;
                    }
                }),
                None => {}
            }
        }
    }

    /// The referrals that were answered, each once, by its address: what the log must hold and nothing else.
    pub(crate) fn referred(&self) -> HashMap<String, String> {
        let mut referred = HashMap::new();
        let mut add = |url: String, name: String| {
            let before = referred.insert(url, name);
            assert_eq!(before, None);
        };
        let of = |referral: &Referral| (referral.target.clone().unwrap().url, referral.name.clone());
        for (_, answer) in self.created.lock().unwrap().iter() {
            let (url, name) = of(answer.referral.as_ref().unwrap());
            add(url, name);
        }
        for (_, answer) in self.batches.lock().unwrap().iter() {
            for (url, name) in answer.referrals.iter().map(of) {
                add(url, name);
            }
        }
        for (item, name) in self.imported.lock().unwrap().values() {
            add(item.draft.clone().unwrap().target.unwrap().url, name.clone());
        }
        referred
    }
}

/// Two answers to one request say the same, but for which of them came first.
pub(crate) fn same_answer(first: &CreateReferralResponse, other: &CreateReferralResponse) {
    assert_eq!((&first.referral, &first.revision), (&other.referral, &other.revision));
}

fn request_id(path: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_bytes()).to_string()
}

pub(crate) fn draft(path: &str) -> ReferralDraft {
    ReferralDraft {
        platform: PLATFORM.to_owned(),
        target: Some(Target {
            kind: TargetKind::Page.into(),
            url: format!("https://www.harbourbook.example/{path}"),
            ..Target::default()
        }),
        nature: ReferralNature::VoluntaryReferral.into(),
        ground: Ground::OfferTransportSea.into(),
        legal_basis: Some(LegalBasis {
            code: "IA1971_S25".to_owned(),
            statute: "Immigration Act 1971".to_owned(),
            section: "s. 25".to_owned(),
        }),
        statement_of_reasons: "Offers passage across the Channel in a small boat.".to_owned(),
        statement_language: "en".to_owned(),
        ..ReferralDraft::default()
    }
}
