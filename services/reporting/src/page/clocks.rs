//! The clocks about to break: what a duty officer looks at.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use portreeve_api::decision::v1::{Clock, ClockKind, ClockState};
use portreeve_core::Timestamp;
use portreeve_core::figure::sentence;
use portreeve_runtime::server::calls::{Calls, Refused};

use super::client::{Due, due};
use super::question::Question;
use super::span::{at, micros, minute, span};
use super::{CASE, CLOCKS, Html, Shared, Visit, layout};

pub(super) async fn clocks(
    State(clock): State<Shared>,
    calls: Result<Calls, Refused>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let visit = match Visit::new(calls, query, &headers) {
        Ok(visit) => visit,
        Err(refusal) => return layout::refused(None, &Question::none(), &refusal).into_response(),
    };
    let now = clock.now();
    let (question, read) = Question::read(&visit.query, now.date());
    let found = async {
        read?;
        due(&visit.calls, &question).await
    };
    match found.await {
        Ok(due) => {
            let main = page(&question, due, now);
            Html(StatusCode::OK, layout::document("Clocks – Portreeve", &layout::head(&visit.calls, &question), &main))
                .into_response()
        }
        Err(refusal) => layout::refused(Some(visit.calls.credentials()), &question, &refusal).into_response(),
    }
}

fn page(question: &Question, due: Due, now: Timestamp) -> Markup {
    let Due { mut clocks, more } = due;
    clocks.sort_by_key(|clock| (micros(clock.due_at.as_ref()), clock.name.clone()));
    html! {
        h1 { "Clocks about to break" }
        p.lede { "Every clock that runs, is stopped or is overdue, the next to break first, as of " span.instant { (minute(now)) } " UTC. Load the page again for newer ones." }
        (layout::narrow(question, CLOCKS))
        section aria-labelledby="clocks" {
            h2 #clocks { (clocks.len()) @if more { " and more" } @if clocks.len() == 1 { " clock" } @else { " clocks" } }
            @if more { p { "There are more than can be shown: these are not all, and not the next ones of all. Ask for one platform or agency." } }
            @if clocks.is_empty() { p.nothing { "No clock runs that you may see and that these filters let through." } }
            @else {
                div.wide #clocks-box role="group" aria-label="Clocks" tabindex="0" {
                    table.figures {
                        caption { "Times are UTC; a stopped clock has no end until it runs again" }
                        thead { tr { th scope="col" { "Case" } th scope="col" { "Clock" } th scope="col" { "State" } th scope="col" { "Due" } th.n scope="col" { "Left" } } }
                        tbody { @for clock in &clocks { (row(question, clock, now)) } }
                    }
                }
            }
        }
    }
}

fn row(question: &Question, clock: &Clock, now: Timestamp) -> Markup {
    let case = clock.name.split_once("/clocks/").map_or(clock.name.as_str(), |(case, _)| case);
    let kind = sentence(clock.kind().as_str_name().trim_start_matches("CLOCK_KIND_"));
    let state = sentence(clock.state().as_str_name().trim_start_matches("CLOCK_STATE_"));
    html! {
        tr {
            th scope="row" { a href=(question.address(CASE, &["name"], &[("name", case)])) { (short(case)) } }
            td { (if clock.kind() == ClockKind::Unspecified { "–".to_owned() } else { kind }) }
            td.(if clock.state() == ClockState::Overdue { "overdue" } else { "state" }) { (state) }
            td { (at(clock.due_at.as_ref())) }
            td.n { (left(clock, now)) }
        }
    }
}

/// How long until it is due, or since.
pub(super) fn left(clock: &Clock, now: Timestamp) -> String {
    if let Some(left) = &clock.left {
        return format!("{} when resumed", span(left.seconds));
    }
    let due = micros(clock.due_at.as_ref());
    if due == i64::MAX {
        return "–".to_owned();
    }
    let seconds = due.saturating_sub(now.micros()) / 1_000_000;
    if seconds < 0 { format!("{} over", span(seconds)) } else { span(seconds) }
}

/// A case by its platform and the beginning of its identifier.
fn short(case: &str) -> String {
    let read = || {
        let (platform, id) = case.strip_prefix("platforms/")?.split_once("/cases/")?;
        Some(format!("{platform} {}…", id.get(..8)?))
    };
    read().unwrap_or_else(|| case.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_of_each_kind_of_clock() {
        let now = Timestamp::from_micros(1_000_000_000_000);
        let at =
            |seconds: i64| Clock { due_at: Some(prost_types::Timestamp { seconds, nanos: 0 }), ..Clock::default() };
        assert_eq!([left(&at(1_003_600), now), left(&at(996_400), now)], ["1 h 0 min", "1 h 0 min over"]);
        let stopped = Clock { left: Some(prost_types::Duration { seconds: 90_000, nanos: 0 }), ..Clock::default() };
        assert_eq!([left(&stopped, now), left(&Clock::default(), now)], ["1 d 1 h when resumed", "–"]);
        assert_eq!(short("platforms/hb/cases/0190b2f0-0000-7000-8000-000000000001"), "hb 0190b2f0…");
    }
}
