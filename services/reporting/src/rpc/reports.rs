//! `ReportingService`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt as _, stream};
use portreeve_api::common::v1::Progress;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::Result;
use portreeve_core::consultation::Stretch;
use portreeve_runtime::agreements::Asker as Who;
use portreeve_runtime::status::IntoStatus;
use portreeve_runtime::watch::{self, Batch, Start, filter_hash};
use portreeve_runtime::wire::{principal, violations};
use tonic::{Request, Response, Status};
use wire::reporting_service_server::ReportingService;

use super::asking::{named, told};
use super::convert::{Moment, definition_digest, read_definition, write_definition, write_deltas};
use super::feed::{Change, ReportFeed};
use super::measures::measures;
use super::{Rpc, export};
use crate::domain::{Counts, Key, Permitted};
use crate::store::SERVICE;

type Replies<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl ReportingService for Rpc {
    type WatchReportStream = Replies<wire::WatchReportResponse>;
    type ExportReportStream = Replies<wire::ExportReportResponse>;

    async fn query_report(
        &self,
        request: Request<wire::QueryReportRequest>,
    ) -> Result<Response<wire::QueryReportResponse>, Status> {
        self.query(request).await.map(Response::new).or_status()
    }

    async fn watch_report(
        &self,
        request: Request<wire::WatchReportRequest>,
    ) -> Result<Response<Self::WatchReportStream>, Status> {
        self.watch(request).await.map(Response::new).or_status()
    }

    async fn export_report(
        &self,
        request: Request<wire::ExportReportRequest>,
    ) -> Result<Response<Self::ExportReportStream>, Status> {
        self.export(request).await.map(Response::new).or_status()
    }

    async fn query_flow(
        &self,
        request: Request<wire::QueryFlowRequest>,
    ) -> Result<Response<wire::QueryFlowResponse>, Status> {
        self.flow(request).await.map(Response::new).or_status()
    }

    async fn query_recurrence(
        &self,
        request: Request<wire::QueryRecurrenceRequest>,
    ) -> Result<Response<wire::QueryRecurrenceResponse>, Status> {
        self.recurrence(request).await.map(Response::new).or_status()
    }

    async fn query_survival(
        &self,
        request: Request<wire::QuerySurvivalRequest>,
    ) -> Result<Response<wire::QuerySurvivalResponse>, Status> {
        self.survival(request).await.map(Response::new).or_status()
    }

    async fn list_measures(
        &self,
        request: Request<wire::ListMeasuresRequest>,
    ) -> Result<Response<wire::ListMeasuresResponse>, Status> {
        // What the figures mean is everybody's to know who takes part.
        principal(&request).or_status()?;
        Ok(Response::new(wire::ListMeasuresResponse { measures: measures() }))
    }
}

impl Rpc {
    async fn query(&self, request: Request<wire::QueryReportRequest>) -> Result<wire::QueryReportResponse> {
        let (asking, who) = (self.access.ask(&request)?, Who::new(&request)?);
        let grant = named(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let definition = read_definition(&mut violations, message.definition.as_ref(), Moment::Told);
        let asker = self.may_ask(asking, who, grant, violations.finish(definition)?, &message.at_least).await?;
        let report = self.report_for(&asker).await?;
        export::check_size(&report)?;
        self.give(&asker, &report).await?;
        Ok(wire::QueryReportResponse { report: Some(report) })
    }

    async fn watch(&self, request: Request<wire::WatchReportRequest>) -> Result<Replies<wire::WatchReportResponse>> {
        use wire::watch_report_request::Start as From;
        let (asking, who) = (self.access.ask(&request)?, Who::new(&request)?);
        let message = request.into_inner();
        let mut violations = violations(&message);
        let definition = read_definition(&mut violations, message.definition.as_ref(), Moment::Present);
        let start = match message.start {
            Some(From::Snapshot(true)) => Some(Start::Snapshot),
            Some(From::ResumeToken(token)) => Some(Start::Token(token)),
            Some(From::Snapshot(false)) => {
                violations.add("snapshot", "must be true where it is chosen");
                None
            }
            None => None,
        };
        let (definition, start) = violations.finish(definition.zip(start))?;
        self.caught_up(&message.at_least).await?;
        let (relied, joint) = self.reader(&who, &definition, None).await?;
        let permitted = Permitted::new(&relied, &joint, definition)?;
        // What the caller may see is part of what was asked for: a token does not pass from one organisation to another.
        let hash = filter_hash("WatchReport", "", &write_definition(permitted.definition()));
        let log = Arc::clone(&self.parts.log);
        let feed = ReportFeed {
            log: Arc::clone(&log),
            reads: Arc::clone(&self.parts.reads),
            clock: Arc::clone(&self.clock),
            permitted: permitted.clone(),
            who,
            relied,
        };
        let batches = watch::open(log, feed, hash, start, self.settings.watch.clone()).await?;
        let definition = definition_digest(Some(&write_definition(permitted.definition())));
        let recorded = Arc::new((asking, permitted.clone(), definition));
        let replies = batches.try_filter_map(move |batch| {
            let examined = batch.examined;
            std::future::ready(Ok(reply(&permitted, batch).map(|reply| (examined, reply))))
        });
        // A message that only says how far the log was read shows nothing.
        Ok(Box::pin(replies.and_then(move |((after, through), reply)| {
            let recorded = Arc::clone(&recorded);
            async move {
                if reply.change.is_some() {
                    let log = SERVICE.to_owned();
                    let stretch = Stretch { log, after, through, rows: rows(&reply), snapshot: after == through };
                    told(&recorded.0, &recorded.1, &recorded.2, Some(stretch)).await.or_status()?;
                }
                Ok(reply)
            }
        })))
    }

    async fn export(&self, request: Request<wire::ExportReportRequest>) -> Result<Replies<wire::ExportReportResponse>> {
        let (asking, who) = (self.access.ask(&request)?, Who::new(&request)?);
        let grant = named(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let definition = read_definition(&mut violations, message.definition.as_ref(), Moment::Told);
        let asker = self.may_ask(asking, who, grant, violations.finish(definition)?, &message.at_least).await?;
        let report = Arc::new(self.report_for(&asker).await?);
        let file: Box<dyn Iterator<Item = Result<Vec<u8>>> + Send> = match message.format() {
            wire::ExportFormat::Json => Box::new(std::iter::once(Ok(export::json(&report)?))),
            wire::ExportFormat::Csv | wire::ExportFormat::Unspecified => {
                Box::new(std::iter::once(Ok(export::csv(&report))))
            }
            wire::ExportFormat::Parquet => Box::new(export::parquet(Arc::clone(&report))?),
        };
        self.give(&asker, &report).await?;
        let pieces = export::pieces(file).map(|data| data.map(|data| wire::ExportReportResponse { data }));
        Ok(Box::pin(stream::iter(pieces.map(IntoStatus::or_status))))
    }
}

/// How many rows of figures a message of a stream shows.
fn rows(reply: &wire::WatchReportResponse) -> i64 {
    use wire::watch_report_response::Change as Told;
    let rows = match &reply.change {
        Some(Told::Snapshot(report)) => report.rows.len(),
        Some(Told::Delta(delta)) => delta.rows.len(),
        None => 0,
    };
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The message for a batch. None for the empty one that ends a snapshot: the report before it was the whole of it.
fn reply(permitted: &Permitted, batch: Batch<Change>) -> Option<wire::WatchReportResponse> {
    use wire::watch_report_response::Change as Told;
    let mut revisions = batch.revisions;
    let mut rows = BTreeMap::<Key, Counts>::new();
    let mut change = None;
    for told in batch.changes {
        match told {
            Change::Snapshot(report) => {
                revisions = report.progress.clone().unwrap_or_default().revisions;
                change = Some(Told::Snapshot(*report));
            }
            Change::Delta(delta) => {
                for (key, counts) in delta {
                    rows.entry(key).or_default().merge(&counts);
                }
            }
        }
    }
    rows.retain(|_, counts| !counts.is_zero());
    if !rows.is_empty() {
        change = Some(Told::Delta(write_deltas(permitted.definition(), &rows)));
    }
    if change.is_none() && batch.snapshot_complete {
        return None;
    }
    Some(wire::WatchReportResponse {
        // What cancels out within a batch leaves nothing to tell but how far the log was read.
        checkpoint: change.is_none(),
        change,
        resume_token: batch.resume_token,
        progress: Some(Progress { revisions }),
    })
}
