//! What the tests of this crate share: a database of each engine, a service on a port, and facts to tell it.

use std::sync::Arc;

use portreeve_api::clients::{self, Acting, DecisionClient, PolicyClient};
use portreeve_api::decision::v1 as wire;
use portreeve_core::agreement::Agreement;
use portreeve_core::id::{CountingIds, Uuid};
use portreeve_core::name::ReferralName;
use portreeve_core::time::ManualClock;
use portreeve_core::vocabulary::Tlp;
use portreeve_core::{Principal, Timestamp};
use portreeve_decision::domain::{Command, LegalBasis, Referred, Signature, Target, Told, Withdrawal};
use portreeve_decision::{Service, Settings};
use portreeve_runtime::caller;
use portreeve_runtime::status::status;
use portreeve_runtime::watch;
use portreeve_storage::{Database, Envelope, Guard};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status};

/// A test on both engines.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let fixture = portreeve_storage::conformance::Fixture::sqlite();
                super::$name(fixture.database.clone()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let fixture = portreeve_storage::conformance::Fixture::postgres().await;
                super::$name(fixture.database.clone()).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// Seconds after the beginning of 2020 UTC.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_577_836_800 + seconds) * 1_000_000)
}

/// The same for the wire.
#[expect(clippy::unnecessary_wraps, reason = "as messages want it")]
pub(crate) fn wire_at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: 1_577_836_800 + seconds, nanos: 0 })
}

/// A service on a port, at a time that stands still.
pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) channel: Channel,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) async fn open(database: &Database, now: i64) -> Self {
        let clock = Arc::new(ManualClock::at(at(now)));
        let ids = Arc::new(CountingIds::default());
        let watch = watch::Settings { clock: clock.clone(), ..watch::Settings::default() };
        let settings = Settings { watch, ..Settings::default() };
        let service = Service::open(database, settings, clock.clone(), ids).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Server::builder()
            .add_service(InterceptedService::new(service.decisions(), called))
            .add_service(InterceptedService::new(service.policies(), called));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            routes.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await.unwrap();
        });
        let channel = clients::endpoint(&format!("http://{address}")).unwrap().connect_lazy();
        Self { service, clock, channel, stop, server }
    }

    pub(crate) fn decisions(&self, acting: &str) -> DecisionClient {
        clients::decision(self.channel.clone(), as_organisation(acting))
    }

    pub(crate) fn policies(&self, acting: &str) -> PolicyClient {
        clients::policy(self.channel.clone(), as_organisation(acting))
    }

    /// Tells what the referral log told, as the follower does.
    pub(crate) async fn told(&self, after: i64, told: Vec<Told>) {
        let through = told.last().map_or(after, |told| told.position);
        self.followed(after, through, told, vec![]).await;
    }

    /// The same, with agreements among it.
    pub(crate) async fn followed(&self, after: i64, through: i64, told: Vec<Told>, agreements: Vec<Agreement>) {
        let guard = Guard::Follow { source: "referral", epoch: [1; 8], after, through, carries: Vec::new() };
        let principal = Principal::service("decision").unwrap();
        let envelope =
            Envelope { principal, guard, command: Command::FollowReferrals { told, agreements, observed: Vec::new() } };
        self.service.writer().submit(envelope).await.unwrap();
    }

    /// Ends the server and the service, so that the data can be opened again. The clients must be gone.
    pub(crate) async fn stop(self) {
        drop(self.channel);
        self.stop.cancel();
        self.server.await.unwrap();
        self.service.stop().await;
    }
}

/// What the port's layer does: who calls is read once, from the metadata.
fn called(mut request: Request<()>) -> Result<Request<()>, Status> {
    let principal = caller::principal(request.metadata()).map_err(|error| status(&error))?;
    request.extensions_mut().insert(principal);
    Ok(request)
}

/// `platforms/hb`, or with roles: `platforms/hb import,reviewer`.
fn as_organisation(acting: &str) -> Acting {
    let (organisation, roles) = acting.split_once(' ').unwrap_or((acting, ""));
    let acting = Acting::new(organisation).unwrap().member("j.doe").unwrap();
    if roles.is_empty() { acting } else { acting.roles(&roles.split(',').collect::<Vec<_>>()).unwrap() }
}

pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x7000_8000_0000_0000_0000 + number)
}

pub(crate) fn case(number: u128) -> String {
    format!("platforms/hb/cases/{}", id(number))
}

pub(crate) fn request_id(number: u128) -> String {
    Uuid::from_u128(0x4000_8000_0000_0000_0001_0000 + number).to_string()
}

/// What the referral log tells of a referral of `nca` to `hb`.
pub(crate) fn referred(number: u128, position: i64) -> Told {
    Told {
        position,
        referred: Referred {
            name: ReferralName { agency: "nca".into(), id: id(number) },
            platform: "hb".into(),
            target: Target {
                kind: 1,
                url: format!("https://hb.example/{number}#x"),
                native_id: number.to_string(),
                canonical_url: format!("https://hb.example/{number}"),
            },
            nature: 1,
            ground: 1,
            legal_basis: LegalBasis {
                code: "IA1971_S25".into(),
                statute: "Immigration Act 1971".into(),
                section: "s. 25".into(),
            },
            statement_of_reasons: "Offers crossings by boat.".into(),
            statement_language: "en".into(),
            content_language: "sq".into(),
            occurred_at: at(position),
            recorded_at: at(position + 1),
            signature: Some(Signature { jws: "e30..AA".into(), occurred_at: None }),
            tlp: Tlp::Amber,
            conditional: false,
            protected_context: Vec::new(),
            order: None,
            priority: None,
            evidence: Vec::new(),
            operation: String::new(),
            same_target: None,
        },
        withdrawal: None,
        erasures: Vec::new(),
    }
}

pub(crate) fn withdrawn(told: Told, position: i64) -> Told {
    let withdrawal = Withdrawal { occurred_at: at(position), recorded_at: at(position + 1), reason: "an error".into() };
    Told { position, withdrawal: Some(withdrawal), ..told }
}

/// A first decision that closes as illegal.
pub(crate) fn closed() -> wire::DecisionDraft {
    wire::DecisionDraft {
        kind: wire::DecisionKind::Initial.into(),
        outcome: wire::Outcome::ClosedIllegal.into(),
        law: "Immigration Act 1971, s. 25".into(),
        decided_by: wire::DecisionSource::Human.into(),
        ..wire::DecisionDraft::default()
    }
}

/// A first decision that a clause permits it.
pub(crate) fn permitted(version: u32) -> wire::DecisionDraft {
    wire::DecisionDraft {
        outcome: wire::Outcome::NoActionPermittedByPolicy.into(),
        clauses: vec![wire::ClauseCitation { clause: "platforms/hb/clauses/he-7".into(), version }],
        law: String::new(),
        ..closed()
    }
}

/// A draft as a later version.
pub(crate) fn again(kind: wire::DecisionKind, draft: wire::DecisionDraft) -> wire::DecisionDraft {
    let cause = wire::DecisionCause { kind: wire::CauseKind::OwnMotion.into(), reference: "R-1".into() };
    wire::DecisionDraft { kind: kind.into(), cause: Some(cause), ..draft }
}

pub(crate) fn acknowledge(numbers: &[u128], request: u128) -> wire::AcknowledgeCasesRequest {
    wire::AcknowledgeCasesRequest {
        parent: "platforms/hb".into(),
        names: numbers.iter().map(|number| case(*number)).collect(),
        occurred_at: None,
        request_id: request_id(request),
    }
}

pub(crate) fn record(number: u128, decision: wire::DecisionDraft, request: u128) -> wire::RecordDecisionRequest {
    wire::RecordDecisionRequest {
        parent: case(number),
        decision: Some(decision),
        expected_version: None,
        request_id: request_id(request),
    }
}

/// The catalogue of `hb`: the clause `he-7`, with versions in force from 0 and from 1,000.
pub(crate) async fn catalogue(running: &Running) {
    let mut policies = running.policies("platforms/hb");
    let clause = wire::CreateClauseRequest {
        parent: "platforms/hb".into(),
        clause_id: "he-7".into(),
        clause: Some(wire::Clause { title: "Human exploitation".into(), ..wire::Clause::default() }),
        request_id: request_id(9_000),
    };
    policies.create_clause(clause).await.unwrap();
    for (number, from) in [(1, 0), (2, 1_000)] {
        let version = wire::ClauseVersion {
            title: "Human exploitation".into(),
            text_digest: "0".repeat(64),
            effective_from: wire_at(from),
            jurisdictions: vec!["FR".into(), "GB".into()],
            permits: "Requests for smuggling services".into(),
            public_url: "https://hb.example/policy".into(),
            ..wire::ClauseVersion::default()
        };
        let added = policies
            .add_clause_version(wire::AddClauseVersionRequest {
                parent: "platforms/hb/clauses/he-7".into(),
                clause_version: Some(version),
                request_id: request_id(9_000 + number),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(u128::from(added.clause_version.unwrap().version), number);
    }
}

/// The reason of a refusal, and the fields that it names.
pub(crate) fn refusal(status: &Status) -> (String, Vec<String>) {
    use tonic_types::StatusExt as _;
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let fields = details.bad_request().map(|bad| bad.field_violations.iter().map(|v| v.field.clone()).collect());
    (reason, fields.unwrap_or_default())
}

/// The reason of an item's refusal.
pub(crate) fn item_reason(status: &tonic_types::pb::Status) -> String {
    use prost::Message as _;
    use tonic_types::pb::ErrorInfo;
    let info = status.details.iter().find(|any| any.type_url.ends_with("ErrorInfo"));
    info.and_then(|any| ErrorInfo::decode(any.value.as_slice()).ok()).map(|info| info.reason).unwrap_or_default()
}
