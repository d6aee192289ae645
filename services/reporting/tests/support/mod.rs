//! A server of the service alone, which learns of the other logs what a test tells it.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::sync::Arc;
use std::time::Duration;

use portreeve_api::clients::{self, Acting};
use portreeve_api::common::v1::Ground;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::id::CountingIds;
use portreeve_core::time::ManualClock;
use portreeve_core::{Date, Principal};
use portreeve_reporting::domain::{Command, Learnt, Source, Step, Subject};
use portreeve_reporting::{Service, Settings};
use portreeve_runtime::lifecycle::Lifecycle;
use portreeve_runtime::server::Builder;
use portreeve_runtime::watch;
use portreeve_storage::{Database, Envelope, Guard};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use wire::watch_report_request::Start;

pub(crate) const EPOCH: [u8; 8] = [7; 8];

pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) channel: Channel,
    pub(crate) clock: Arc<ManualClock>,
    _life: Lifecycle,
}

impl Server {
    pub(crate) async fn start(database: &Database) -> Self {
        let clock = Arc::new(ManualClock::at("2020-09-03T12:00:00Z".parse().unwrap()));
        let ids = Arc::new(CountingIds::default());
        let life = Lifecycle::new();
        let checkpoint_interval = Duration::from_millis(50);
        let watch = watch::Settings { checkpoint_interval, drain: life.soft(), clock: Arc::clone(&clock) as _ };
        let service = Service::open(
            database,
            Settings { watch, ..Settings::default() },
            Arc::clone(&clock) as _,
            Arc::clone(&ids) as _,
        )
        .await
        .unwrap();
        let mut server = Builder::new(life.clone(), Arc::clone(&clock) as _, ids);
        server.add(service.reports());
        let channel = server.local_channel();
        server.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { service, channel, clock, _life: life }
    }

    /// Takes in the next stretch of a log.
    pub(crate) async fn follow(&self, source: Source, heard_on: &str, steps: Vec<Step>) {
        self.learn(Learnt {
            source,
            heard_on: Some(date(heard_on)),
            steps,
            footprints: vec![],
            agreements: vec![],
            operations: vec![],
        })
        .await;
    }

    /// Takes in a stretch of a log, with all that it tells.
    pub(crate) async fn learn(&self, learnt: Learnt) {
        let (_, followed) = self.service.log().standing().await.unwrap();
        let source = learnt.source.name();
        let after = followed.iter().find(|at| at.log == source).map_or(0, |at| at.position);
        let guard = Guard::Follow { source, epoch: EPOCH, after, through: after + 1, carries: Vec::new() };
        let principal = Principal::service("reporting").unwrap();
        self.service.writer().submit(Envelope { principal, guard, command: Command::Learn(learnt) }).await.unwrap();
    }

    pub(crate) async fn query(
        &self,
        organisation: &str,
        definition: wire::ReportDefinition,
    ) -> Result<wire::Report, Status> {
        self.query_as(Acting::new(organisation).unwrap(), definition).await
    }

    pub(crate) async fn query_as(
        &self,
        acting: Acting,
        definition: wire::ReportDefinition,
    ) -> Result<wire::Report, Status> {
        let request = wire::QueryReportRequest { definition: Some(definition), at_least: Vec::new() };
        let mut client = clients::reporting(self.channel.clone(), acting);
        client.query_report(request).await.map(|reply| reply.into_inner().report.unwrap())
    }

    pub(crate) async fn watch(
        &self,
        organisation: &str,
        definition: wire::ReportDefinition,
        start: Start,
    ) -> Result<tonic::Streaming<wire::WatchReportResponse>, Status> {
        self.watch_as(Acting::new(organisation).unwrap(), definition, start).await
    }

    pub(crate) async fn watch_as(
        &self,
        acting: Acting,
        definition: wire::ReportDefinition,
        start: Start,
    ) -> Result<tonic::Streaming<wire::WatchReportResponse>, Status> {
        let request =
            wire::WatchReportRequest { start: Some(start), definition: Some(definition), at_least: Vec::new() };
        clients::reporting(self.channel.clone(), acting).watch_report(request).await.map(tonic::Response::into_inner)
    }
}

pub(crate) fn date(text: &str) -> Date {
    text.parse().unwrap()
}

pub(crate) fn subject(agency: &str, platform: &str, day: &str) -> Subject {
    Subject {
        cohort_day: date(day),
        agency: agency.into(),
        platform: platform.into(),
        ground: Ground::OfferTransportSea as i64,
        target_kind: 1,
        nature: 1,
        content_language: "sq".into(),
        legal_basis: "IA1971_S25".into(),
        ..Subject::default()
    }
}

pub(crate) fn referred(subject: &Subject) -> Step {
    Step::Referred { subject: subject.clone(), recorded_on: subject.cohort_day }
}

pub(crate) fn cohort(dimensions: &[wire::Dimension]) -> wire::ReportDefinition {
    wire::ReportDefinition {
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2020-05-31".into(),
        as_of_date: "2020-09-03".into(),
        dimensions: dimensions.iter().map(|dimension| *dimension as i32).collect(),
        ..wire::ReportDefinition::default()
    }
}

pub(crate) fn present(dimensions: &[wire::Dimension]) -> wire::ReportDefinition {
    wire::ReportDefinition { as_of_date: String::new(), ..cohort(dimensions) }
}

pub(crate) fn buckets(row: &wire::ReportRow) -> [i64; 5] {
    let counts = row.counts.as_ref().unwrap();
    [counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other]
}

pub(crate) fn key(row: &wire::ReportRow) -> Vec<&str> {
    row.key.iter().map(|value| value.value.as_str()).collect()
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}
