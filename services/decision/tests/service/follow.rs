//! Following the referral service: a stand-in for it serves a log that grows, and breaks off when told to.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, stream};
use portreeve_api::clients;
use portreeve_api::common::v1::{Progress, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as wire;
use portreeve_core::token::{Resume, Revision};
use portreeve_runtime::watch::filter_hash;
use portreeve_storage::Database;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wire::referral_change::Change;
use wire::referral_service_server::{ReferralService, ReferralServiceServer};

use crate::support::{Running, acknowledge, case, on_both_engines, referred, wire_at};

on_both_engines!(referrals_become_cases_once);

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves the log from where the caller says, two changes a message, and then breaks off.
#[derive(Clone, Default)]
struct StandIn(Arc<Mutex<(Vec<wire::ReferralChange>, usize)>>);

fn revision(position: i64) -> Revision {
    Revision { log: "referral".into(), epoch: [7; 8], position }
}

#[tonic::async_trait]
impl ReferralService for StandIn {
    type ImportReferralsStream = Replies<wire::ImportReferralsResponse>;
    type WatchReferralsStream = Replies<wire::WatchReferralsResponse>;

    async fn watch_referrals(
        &self,
        request: Request<wire::WatchReferralsRequest>,
    ) -> Result<Response<Self::WatchReferralsStream>, Status> {
        assert_eq!(request.metadata().get("portreeve-organisation").unwrap(), "services/decision");
        let filter = filter_hash("WatchReferrals", "agencies/-", &wire::ReferralFilter::default());
        let after = match request.into_inner().start.unwrap().start.unwrap() {
            watch_start::Start::Earliest(true) => 0,
            watch_start::Start::ResumeToken(token) => {
                let resume = Resume::decode(&token).unwrap();
                assert_eq!(resume.filter, filter);
                resume.revision.position
            }
            other => return Err(Status::invalid_argument(format!("{other:?}"))),
        };
        let mut log = self.0.lock().unwrap();
        log.1 += 1;
        let rest = log.0.iter().skip(usize::try_from(after).unwrap()).cloned().collect::<Vec<_>>();
        let messages = rest.chunks(2).map(|changes| {
            let reached = i64::try_from(changes.last().unwrap().position).unwrap();
            let resume = Resume { revision: revision(reached), filter, snapshot_after: None };
            Ok(wire::WatchReferralsResponse {
                changes: changes.to_vec(),
                resume_token: resume.encode(),
                progress: Some(Progress { revisions: vec![revision(reached).encode()] }),
                ..wire::WatchReferralsResponse::default()
            })
        });
        let messages = messages.chain([Err(Status::unavailable("broken"))]).collect::<Vec<_>>();
        Ok(Response::new(Box::pin(stream::iter(messages))))
    }

    async fn create_referral(
        &self,
        _: Request<wire::CreateReferralRequest>,
    ) -> Result<Response<wire::CreateReferralResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn batch_create_referrals(
        &self,
        _: Request<wire::BatchCreateReferralsRequest>,
    ) -> Result<Response<wire::BatchCreateReferralsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn import_referrals(
        &self,
        _: Request<Streaming<wire::ImportReferralsRequest>>,
    ) -> Result<Response<Self::ImportReferralsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_referral(
        &self,
        _: Request<wire::GetReferralRequest>,
    ) -> Result<Response<wire::GetReferralResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_referrals(
        &self,
        _: Request<wire::ListReferralsRequest>,
    ) -> Result<Response<wire::ListReferralsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn withdraw_referral(
        &self,
        _: Request<wire::WithdrawReferralRequest>,
    ) -> Result<Response<wire::WithdrawReferralResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn prioritise_referral(
        &self,
        _: Request<wire::PrioritiseReferralRequest>,
    ) -> Result<Response<wire::PrioritiseReferralResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn extend_non_disclosure(
        &self,
        _: Request<wire::ExtendNonDisclosureRequest>,
    ) -> Result<Response<wire::ExtendNonDisclosureResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn lift_non_disclosure(
        &self,
        _: Request<wire::LiftNonDisclosureRequest>,
    ) -> Result<Response<wire::LiftNonDisclosureResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn link_referrals(
        &self,
        _: Request<wire::LinkReferralsRequest>,
    ) -> Result<Response<wire::LinkReferralsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_referral_changes(
        &self,
        _: Request<wire::ListReferralChangesRequest>,
    ) -> Result<Response<wire::ListReferralChangesResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn change(position: u64, change: Change) -> wire::ReferralChange {
    wire::ReferralChange { position, change: Some(change), ..wire::ReferralChange::default() }
}

fn referral(number: u128) -> wire::Referral {
    let told = referred(number, 1).referred;
    wire::Referral {
        name: told.name.to_string(),
        agency: "agencies/nca".into(),
        platform: "platforms/hb".into(),
        target: Some(wire::Target { kind: 1, url: told.target.url, ..wire::Target::default() }),
        // A ground that this release does not know is passed on.
        ground: 77,
        legal_basis: Some(wire::LegalBasis { statute: told.legal_basis.statute, ..wire::LegalBasis::default() }),
        occurred_at: wire_at(1),
        recorded_at: wire_at(2),
        state: wire::ReferralState::Submitted.into(),
        ..wire::Referral::default()
    }
}

async fn referrals_become_cases_once(database: Database) {
    let stand_in = StandIn::default();
    let taken_back = wire::Referral {
        withdrawn_at: wire_at(3),
        withdrawal_recorded_at: wire_at(4),
        withdrawal_reason: "an error".into(),
        ..referral(2)
    };
    stand_in.0.lock().unwrap().0 = vec![
        change(1, Change::OrganisationCreated(wire::Organisation::default())),
        change(2, Change::Created(referral(1))),
        change(3, Change::Created(referral(2))),
        change(4, Change::Withdrawn(taken_back)),
        change(5, Change::Created(referral(3))),
    ];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Server::builder()
        .add_service(ReferralServiceServer::new(stand_in.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let upstream = tokio::spawn(serve);
    let channel = clients::endpoint(&format!("http://{address}")).unwrap().connect_lazy();

    let running = Running::open(&database, 100).await;
    let stop = CancellationToken::new();
    let follow = running.service.follow(channel.clone(), stop.clone());
    let check = async {
        let mut decisions = running.decisions("platforms/hb");
        // The read waits for the follower: who has just referred finds the case.
        let get = |number, position| decision::GetCaseRequest {
            name: case(number),
            at_least: vec![revision(position).encode()],
        };
        let third = decisions.get_case(get(3, 5)).await.unwrap().into_inner();
        assert_eq!(third.case.unwrap().ground, 77);
        let second = decisions.get_case(get(2, 5)).await.unwrap().into_inner().case.unwrap();
        assert_eq!((second.status(), second.withdrawn_at), (decision::CaseStatus::Withdrawn, wire_at(3)));
        decisions.acknowledge_cases(acknowledge(&[1], 1)).await.unwrap();

        // It goes on where it was, however often the stream breaks.
        stand_in.0.lock().unwrap().0.push(change(6, Change::Created(referral(4))));
        decisions.get_case(get(4, 6)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(stand_in.0.lock().unwrap().1 > 2, "it was opened again");
        let (state, followed) = running.service.log().standing().await.unwrap();
        assert_eq!((state.head, followed), (4 + 1 + 1, vec![revision(6)]));
        stop.cancel();
    };
    let (followed, ()) = tokio::join!(follow, check);
    followed.unwrap();
    upstream.abort();
    running.stop().await;
}
