//! The figures as they change: server-sent events, fed by the stream that every subscriber has.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, Stream, stream};
use http::{HeaderMap, StatusCode};
use portreeve_api::reporting::v1::WatchReportResponse;
use portreeve_core::limits::PAGE_UPDATE_MILLIS_MIN;
use portreeve_runtime::server::calls::{Calls, Refused};
use tokio::time::Instant;
use tonic::Streaming;

use super::client::{changes, figures};
use super::question::Question;
use super::refusal::Refusal;
use super::{Shared, Visit, sections};

/// The name of an event that carries the figures.
const FIGURES: &str = "figures";
/// How soon a browser comes back after its connection broke.
const RETRY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(PAGE_UPDATE_MILLIS_MIN);

pub(super) async fn live(
    State(clock): State<Shared>,
    calls: Result<Calls, Refused>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let opened = async {
        let visit = Visit::new(calls, query, &headers)?;
        let (question, read) = Question::read(&visit.query, clock.now().date());
        read?;
        if !question.is_live() {
            return Ok(None);
        }
        let changes = changes(&visit.calls, &question).await?;
        // Which figures the browser has: those of the page, or of the last event before its connection broke.
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or_else(|| question.field("seen"));
        let seen = last.unwrap_or_default().to_owned();
        Ok::<_, Refusal>(Some(Updates { calls: visit.calls, query: visit.query, clock, changes, seen, last: None }))
    };
    match opened.await {
        Ok(Some(updates)) => {
            let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
            Sse::new(events(updates)).keep_alive(keep_alive).into_response()
        }
        // A browser does not come back for what does not change.
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => (refusal.status, format!("{}: {}\n", refusal.reason, refusal.message)).into_response(),
    }
}

struct Updates {
    calls: Calls,
    query: String,
    clock: Shared,
    changes: Streaming<WatchReportResponse>,
    /// The digest of the figures that the browser has.
    seen: String,
    /// When it was last sent any.
    last: Option<Instant>,
}

fn events(updates: Updates) -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    stream::unfold(updates, |mut updates| async move {
        let event = updates.next().await?;
        Some((Ok(event), updates))
    })
}

impl Updates {
    /// The figures once they are others than those that the browser has. `None` when the stream has ended: a browser comes back, and is told
    /// why if it may not.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let mut revisions = self.change().await?;
            if let Some(last) = self.last {
                tokio::time::sleep_until(last + PAUSE).await;
            }
            // Whatever came meanwhile is told at once.
            while let Some(more) = self.changes.message().now_or_never() {
                let message = more.ok().flatten()?;
                revisions = progress(message);
            }
            // The day may be another by now.
            let (question, read) = Question::read(&self.query, self.clock.now().date());
            read.ok()?;
            let figures = figures(&self.calls, &question, &revisions).await.ok()?;
            self.last = Some(Instant::now());
            if figures.report.digest != self.seen {
                self.seen.clone_from(&figures.report.digest);
                // A line ends an event's field; no figure holds one.
                let markup = sections::figures(&question, &figures).into_string().replace('\r', "");
                return Some(Event::default().event(FIGURES).id(self.seen.clone()).retry(RETRY).data(markup));
            }
        }
    }

    /// Waits for a change; gives the revisions that include it.
    async fn change(&mut self) -> Option<Vec<String>> {
        loop {
            let message = self.changes.message().await.ok()??;
            if !message.checkpoint {
                return Some(progress(message));
            }
        }
    }
}

fn progress(message: WatchReportResponse) -> Vec<String> {
    message.progress.unwrap_or_default().revisions
}
