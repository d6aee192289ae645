//! What the service learns from the other two, over gRPC, from servers that say what the test tells them to.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[macro_use]
#[path = "support/engines.rs"]
mod engines;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, stream};
use portreeve_api::clients::{self, Acting};
use portreeve_api::common::v1::{Disposition, Ground, Progress, ReferralNature, TargetKind, WatchStart, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::id::CountingIds;
use portreeve_core::time::ManualClock;
use portreeve_core::token::{Resume, Revision};
use portreeve_core::{Principal, Timestamp};
use portreeve_reporting::{Service, Settings};
use portreeve_runtime::lifecycle::Lifecycle;
use portreeve_runtime::server::Builder;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::write_time;
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A log that a test writes and a stream reads.
struct Script<C> {
    name: &'static str,
    filter: u64,
    changes: watch::Sender<Vec<C>>,
    /// Where each stream was opened.
    opened: Arc<Mutex<Vec<i64>>>,
}

impl<C: Clone + Send + Sync + 'static> Script<C> {
    fn new(name: &'static str, filter: u64) -> Self {
        Self { name, filter, changes: watch::Sender::new(Vec::new()), opened: Arc::default() }
    }

    fn tell(&self, change: C) {
        self.changes.send_modify(|changes| changes.push(change));
    }

    /// Messages of three changes at most, from where the reader asks; a checkpoint first, as a real server may send.
    fn stream<M: Send + 'static>(
        &self,
        principal: &Principal,
        start: Option<WatchStart>,
        message: impl Fn(Vec<C>, String, Vec<String>) -> M + Send + Sync + 'static,
    ) -> Replies<M> {
        assert_eq!(principal.to_string(), "services/reporting");
        let after = match start.and_then(|start| start.start) {
            Some(watch_start::Start::Earliest(true)) => 0,
            Some(watch_start::Start::ResumeToken(token)) => {
                let resume = Resume::decode(&token).unwrap();
                assert_eq!((resume.revision.log.as_str(), resume.filter), (self.name, self.filter));
                resume.revision.position
            }
            other => panic!("{other:?}"),
        };
        self.opened.lock().unwrap().push(after);
        let (name, filter) = (self.name, self.filter);
        let state = (after, true, self.changes.subscribe(), message);
        Box::pin(stream::unfold(state, move |(after, first, mut changes, message)| async move {
            let from = usize::try_from(after).unwrap();
            let told = if first {
                Vec::new()
            } else {
                let told = changes.wait_for(|changes| changes.len() > from).await.ok()?;
                told.iter().skip(from).take(3).cloned().collect()
            };
            let after = after + i64::try_from(told.len()).unwrap();
            let revision = Revision { log: name.into(), epoch: [7; 8], position: after };
            let resume = Resume { revision: revision.clone(), filter, snapshot_after: None };
            let reply = message(told, resume.encode(), vec![revision.encode()]);
            Some((Ok(reply), (after, false, changes, message)))
        }))
    }
}

/// Both upstream services.
struct Upstreams {
    referrals: Script<referral::ReferralChange>,
    cases: Script<decision::CaseChange>,
}

/// Methods that the test does not need, as `async_trait` would write them: it does not look into macros.
macro_rules! unimplemented_methods {
    ($package:ident: $($method:ident($request:ident) -> $response:ident),* $(,)?) => {
        $(fn $method<'s, 'f>(
            &'s self,
            _: Request<$package::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$package::$response>, Status>> + Send + 'f>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(Status::unimplemented("not needed")) })
        })*
    };
}

struct Fake(Arc<Upstreams>);

fn caller<T>(request: &Request<T>) -> Principal {
    request.extensions().get::<Principal>().cloned().unwrap()
}

#[tonic::async_trait]
impl referral::referral_service_server::ReferralService for Fake {
    type ImportReferralsStream = Replies<referral::ImportReferralsResponse>;
    type WatchReferralsStream = Replies<referral::WatchReferralsResponse>;

    async fn watch_referrals(
        &self,
        request: Request<referral::WatchReferralsRequest>,
    ) -> Result<Response<Self::WatchReferralsStream>, Status> {
        let caller = caller(&request);
        let message = request.into_inner();
        assert_eq!((message.parent.as_str(), &message.filter), ("agencies/-", &None));
        let reply = |changes: Vec<_>, resume_token, revisions| referral::WatchReferralsResponse {
            checkpoint: changes.is_empty(),
            changes,
            resume_token,
            progress: Some(Progress { revisions }),
            snapshot_complete: false,
        };
        Ok(Response::new(self.0.referrals.stream(&caller, message.start, reply)))
    }

    async fn import_referrals(
        &self,
        _: Request<Streaming<referral::ImportReferralsRequest>>,
    ) -> Result<Response<Self::ImportReferralsStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    unimplemented_methods!(referral:
        create_referral(CreateReferralRequest) -> CreateReferralResponse,
        batch_create_referrals(BatchCreateReferralsRequest) -> BatchCreateReferralsResponse,
        get_referral(GetReferralRequest) -> GetReferralResponse,
        list_referrals(ListReferralsRequest) -> ListReferralsResponse,
        withdraw_referral(WithdrawReferralRequest) -> WithdrawReferralResponse,
        link_referrals(LinkReferralsRequest) -> LinkReferralsResponse,
        prioritise_referral(PrioritiseReferralRequest) -> PrioritiseReferralResponse,
        extend_non_disclosure(ExtendNonDisclosureRequest) -> ExtendNonDisclosureResponse,
        lift_non_disclosure(LiftNonDisclosureRequest) -> LiftNonDisclosureResponse,
        list_referral_changes(ListReferralChangesRequest) -> ListReferralChangesResponse,
    );
}

#[tonic::async_trait]
impl decision::decision_service_server::DecisionService for Fake {
    type WatchCasesStream = Replies<decision::WatchCasesResponse>;
    type WatchDecisionsStream = Replies<decision::WatchDecisionsResponse>;
    type ExportStatementsStream = Replies<decision::ExportStatementsResponse>;

    async fn watch_cases(
        &self,
        request: Request<decision::WatchCasesRequest>,
    ) -> Result<Response<Self::WatchCasesStream>, Status> {
        let caller = caller(&request);
        let message = request.into_inner();
        assert_eq!((message.parent.as_str(), &message.filter), ("platforms/-", &None));
        // How far the decision service has followed the referral log itself.
        let reply = |changes: Vec<decision::CaseChange>, resume_token, mut revisions: Vec<String>| {
            let followed = changes.iter().map(|change| change.referral_position).max().unwrap_or_default();
            let position = i64::try_from(followed).unwrap();
            revisions.push(Revision { log: "referral".into(), epoch: [7; 8], position }.encode());
            decision::WatchCasesResponse {
                checkpoint: changes.is_empty(),
                changes,
                resume_token,
                progress: Some(Progress { revisions }),
                snapshot_complete: false,
            }
        };
        Ok(Response::new(self.0.cases.stream(&caller, message.start, reply)))
    }

    async fn watch_decisions(
        &self,
        _: Request<decision::WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn export_statements(
        &self,
        _: Request<decision::ExportStatementsRequest>,
    ) -> Result<Response<Self::ExportStatementsStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    unimplemented_methods!(decision:
        list_cases(ListCasesRequest) -> ListCasesResponse,
        get_case(GetCaseRequest) -> GetCaseResponse,
        list_case_changes(ListCaseChangesRequest) -> ListCaseChangesResponse,
        acknowledge_cases(AcknowledgeCasesRequest) -> AcknowledgeCasesResponse,
        record_decision(RecordDecisionRequest) -> RecordDecisionResponse,
        batch_record_decisions(BatchRecordDecisionsRequest) -> BatchRecordDecisionsResponse,
        list_decisions(ListDecisionsRequest) -> ListDecisionsResponse,
        list_decision_changes(ListDecisionChangesRequest) -> ListDecisionChangesResponse,
    );
}

struct Suite {
    upstreams: Arc<Upstreams>,
    service: Service,
    channel: Channel,
    _life: Lifecycle,
}

impl Suite {
    async fn start(database: &Database) -> Self {
        let clock = Arc::new(ManualClock::at("2020-09-03T12:00:00Z".parse().unwrap()));
        let ids = Arc::new(CountingIds::default());
        let life = Lifecycle::new();
        let service = Service::open(database, Settings::default(), Arc::clone(&clock) as _, Arc::clone(&ids) as _);
        let service = service.await.unwrap();
        let referrals = filter_hash("WatchReferrals", "agencies/-", &referral::ReferralFilter::default());
        let cases = filter_hash("WatchCases", "platforms/-", &decision::CaseFilter::default());
        let upstreams = Arc::new(Upstreams {
            referrals: Script::new("referral", referrals),
            cases: Script::new("decision", cases),
        });
        let mut server = Builder::new(life.clone(), clock, ids);
        server
            .add(service.reports())
            .add(referral::referral_service_server::ReferralServiceServer::new(Fake(Arc::clone(&upstreams))))
            .add(decision::decision_service_server::DecisionServiceServer::new(Fake(Arc::clone(&upstreams))));
        let channel = server.local_channel();
        server.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { upstreams, service, channel, _life: life }
    }

    fn follow(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(self.service.follow(self.channel.clone(), self.channel.clone(), stop.clone()).unwrap());
        stop
    }

    async fn report(&self, dimensions: &[wire::Dimension], at_least: Vec<String>) -> wire::Report {
        let definition = wire::ReportDefinition {
            cohort_from_date: "2020-01-01".into(),
            cohort_until_date: "2020-12-31".into(),
            as_of_date: "2020-09-03".into(),
            dimensions: dimensions.iter().map(|dimension| *dimension as i32).collect(),
            ..wire::ReportDefinition::default()
        };
        let mut client = clients::reporting(self.channel.clone(), Acting::new("operators/op").unwrap());
        let request = wire::QueryReportRequest { definition: Some(definition), at_least };
        client.query_report(request).await.unwrap().into_inner().report.unwrap()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "message fields are optional")]
fn time(text: &str) -> Option<prost_types::Timestamp> {
    Some(write_time(text.parse::<Timestamp>().unwrap()))
}

fn at(log: &str, position: usize) -> String {
    Revision { log: log.into(), epoch: [7; 8], position: i64::try_from(position).unwrap() }.encode()
}

/// The figures tell referrals apart by what they are alone.
const REFERRAL: &str = "agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057";

fn created(on: &str) -> referral::ReferralChange {
    let sent = referral::Referral {
        name: REFERRAL.into(),
        agency: "agencies/nca".into(),
        platform: "platforms/harbourbook".into(),
        target: Some(referral::Target { kind: TargetKind::Page.into(), ..referral::Target::default() }),
        nature: ReferralNature::VoluntaryReferral.into(),
        ground: Ground::OfferTransportSea.into(),
        content_language: "CKB-iq".into(),
        occurred_at: time(on),
        recorded_at: time(on),
        ..referral::Referral::default()
    };
    referral::ReferralChange {
        recorded_at: time(on),
        change: Some(referral::referral_change::Change::Created(sent)),
        ..referral::ReferralChange::default()
    }
}

fn case(submitted: &str) -> decision::Case {
    decision::Case {
        referral: REFERRAL.into(),
        agency: "agencies/nca".into(),
        platform: "platforms/harbourbook".into(),
        target: Some(referral::Target { kind: TargetKind::Page.into(), ..referral::Target::default() }),
        nature: ReferralNature::VoluntaryReferral.into(),
        ground: Ground::OfferTransportSea.into(),
        content_language: "ckb-IQ".into(),
        submitted_at: time(submitted),
        submitted_recorded_at: time(submitted),
        ..decision::Case::default()
    }
}

fn decided(case: &decision::Case, on: &str, clause: &str) -> decision::Case {
    let citation = decision::ClauseCitation { clause: format!("platforms/harbourbook/clauses/{clause}"), version: 2 };
    decision::Case {
        first_decided_at: case.first_decided_at.or(time(on)),
        latest_decision: Some(decision::Decision {
            clauses: vec![citation],
            decided_at: time(on),
            ..decision::Decision::default()
        }),
        ..case.clone()
    }
}

fn change(
    on: &str,
    referral_position: u64,
    before: Disposition,
    after: Disposition,
    change: decision::case_change::Change,
) -> decision::CaseChange {
    decision::CaseChange {
        occurred_at: time(on),
        recorded_at: time(on),
        referral_position,
        before: before.into(),
        after: after.into(),
        change: Some(change),
        ..decision::CaseChange::default()
    }
}

on_both_engines!(what_becomes_of_a_referral_is_counted, referrals_come_first_and_nothing_counts_twice);

async fn what_becomes_of_a_referral_is_counted(database: &Database) {
    use decision::case_change::Change;
    use wire::Dimension::{Clause, ContentLanguage, Disposition as By};
    let suite = Suite::start(database).await;
    let _running = suite.follow();
    let Upstreams { referrals, cases } = suite.upstreams.as_ref();
    let sent = "2020-02-01T10:00:00Z";
    for on in [sent, sent, "2020-02-02T23:59:59Z"] {
        referrals.tell(created(on));
    }
    let open = case(sent);
    let received = decision::Case { acknowledged_at: time("2020-02-03"), ..open.clone() };
    let first = decided(&received, "2020-02-11", "he-7");
    let second = decided(&first, "2020-03-01", "he-8");
    let none = Disposition::Unspecified;
    let (submitted, acknowledged) = (Disposition::Submitted, Disposition::Received);
    cases.tell(change(sent, 1, none, submitted, Change::Opened(open.clone())));
    cases.tell(change("2020-02-03", 3, submitted, acknowledged, Change::Acknowledged(received)));
    cases.tell(change("2020-02-11", 3, acknowledged, Disposition::PermittedByPolicy, Change::Decided(first)));
    let amended = change("2020-03-01", 3, Disposition::PermittedByPolicy, Disposition::Closed, Change::Decided(second));
    cases.tell(decision::CaseChange { clause_before: "platforms/harbourbook/clauses/he-7@2".into(), ..amended });
    // The second was withdrawn. The referral log tells it too, and it counts once.
    let withdrawn = decision::Case { withdrawn_at: time("2020-02-21"), ..open };
    cases.tell(change("2020-02-21", 4, submitted, Disposition::Withdrawn, Change::Withdrawn(withdrawn.clone())));
    let told = referral::referral_change::Change::Withdrawn(referral::Referral::default());
    referrals.tell(referral::ReferralChange { recorded_at: time("2020-02-21"), change: Some(told), ..created(sent) });

    let report = suite.report(&[By, Clause, ContentLanguage], vec![at("decision", 5), at("referral", 4)]).await;
    let row = |row: &wire::ReportRow| {
        let counts = row.counts.as_ref().unwrap();
        assert_eq!(counts.referred, 1);
        row.key.iter().map(|value| value.value.clone()).collect::<Vec<_>>().join(" ")
    };
    let expected = ["SUBMITTED  ckb-IQ", "CLOSED platforms/harbourbook/clauses/he-8@2 ckb-IQ", "WITHDRAWN  ckb-IQ"];
    assert_eq!(report.rows.iter().map(row).collect::<Vec<_>>(), expected);
    // Time to decision is to the first one, and the withdrawn one waited until its withdrawal.
    let times = report.total.unwrap().decision_times.unwrap();
    assert_eq!((times.n, times.decided, times.decided_only_median_days), (3, 1, Some(10)));
    assert_eq!(times.censored_median_days, None);
    let before = suite.service.reads().dump().await.unwrap();
    suite.service.reads().rebuild().await.unwrap();
    assert_eq!(suite.service.reads().dump().await.unwrap(), before);
}

async fn referrals_come_first_and_nothing_counts_twice(database: &Database) {
    use decision::case_change::Change;
    let suite = Suite::start(database).await;
    let Upstreams { referrals, cases } = suite.upstreams.as_ref();
    let sent = "2020-02-01";
    let mut running = suite.follow();
    let mut told = 0_usize;
    for round in 0..5 {
        // The decision log is ahead: it tells of referrals that were not counted yet.
        for _ in 0..7 {
            told += 1;
            let known = u64::try_from(told).unwrap();
            let closed = decided(&case(sent), "2020-02-02", "he-7");
            let step =
                change("2020-02-02", known, Disposition::Submitted, Disposition::Closed, Change::Decided(closed));
            cases.tell(step);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        let report = suite.report(&[], vec![]).await;
        let counts = report.total.unwrap().counts.unwrap();
        assert_eq!((counts.referred, counts.closed, counts.undecided), (round * 7, round * 7, 0));
        for _ in 0..7 {
            referrals.tell(created(sent));
        }
        let report = suite.report(&[], vec![at("decision", told)]).await;
        let counts = report.total.unwrap().counts.unwrap();
        assert_eq!((counts.referred, counts.closed), (round * 7 + 7, round * 7 + 7));
        // Stopped and started again, it goes on where it was.
        running.cancel();
        running = suite.follow();
    }
    let opened = cases.opened.lock().unwrap().clone();
    assert!(opened.is_sorted() && opened.first() == Some(&0), "{opened:?}");
    running.cancel();
}
