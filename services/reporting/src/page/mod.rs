//! The page: what a committee member or a duty officer would rather look at than read.
//!
//! It is a client of the service like any other (`client.rs`): what it shows is one report with its curve, asked for as the visitor, and
//! everything on it is added up from that report. It is written on the server and needs no script; with one it changes with the figures.

mod case;
mod chart;
mod client;
mod clocks;
mod figures;
mod layout;
mod live;
mod question;
mod refusal;
mod sections;
mod sign_in;
mod span;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use maud::Markup;
use portreeve_core::Clock;
use portreeve_runtime::server::calls::{Calls, Refused};

use question::Question;
use refusal::Refusal;

/// Where the page is.
pub const PATH: &str = "/report";
/// Where the clocks are.
const CLOCKS: &str = "/report/clocks";
/// Where a referral's time line is.
const CASE: &str = "/report/case";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

type Shared = Arc<dyn Clock>;

/// The page and what goes with it.
pub fn routes(clock: Arc<dyn Clock>) -> Router {
    let file = |kind: &'static str, content: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], content) })
    };
    Router::new()
        .route(PATH, get(report))
        .route("/report/live", get(live::live))
        .route(CLOCKS, get(clocks::clocks))
        .route(CASE, get(case::case))
        .route("/report/sign-in", post(sign_in::sign_in))
        .route("/report/sign-out", post(sign_in::sign_out))
        .route("/report/page.css", file("text/css; charset=utf-8", STYLE))
        .route("/report/page.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/report/icon.svg", file("image/svg+xml", ICON))
        .route_layer(axum::middleware::from_fn(guard))
        .with_state(clock)
}

/// Nothing is loaded from elsewhere, shown elsewhere, told elsewhere or kept.
const HEADERS: [(header::HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Of no address is told elsewhere; but without any, browsers do not say of a form whose it is.
    (header::REFERRER_POLICY, "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who calls, and what of its calls can be made.
struct Visit {
    calls: Calls,
    query: String,
}

impl Visit {
    /// Takes up a credential that the visitor signed in with.
    fn new(calls: Result<Calls, Refused>, query: Option<String>, headers: &http::HeaderMap) -> Result<Self, Refusal> {
        let calls = calls.map_err(|Refused(error)| Refusal::of(&error))?;
        let calls = match sign_in::authorization(headers) {
            Some(authorization) if calls.credentials().tokens => calls.authorized(authorization),
            _ => calls,
        };
        Ok(Self { calls, query: query.unwrap_or_default() })
    }
}

async fn report(
    State(clock): State<Shared>,
    calls: Result<Calls, Refused>,
    RawQuery(query): RawQuery,
    headers: http::HeaderMap,
) -> Response {
    let visit = match Visit::new(calls, query, &headers) {
        Ok(visit) => visit,
        Err(refusal) => return layout::refused(None, &Question::none(), &refusal).into_response(),
    };
    let credentials = Some(visit.calls.credentials());
    let (question, read) = Question::read(&visit.query, clock.now().date());
    let shown = async {
        read?;
        client::figures(&visit.calls, &question, &[]).await
    };
    match shown.await {
        Ok(figures) => layout::page(&visit.calls, &question, &figures).into_response(),
        Err(refusal) => layout::refused(credentials, &question, &refusal).into_response(),
    }
}

/// A page as an answer.
struct Html(StatusCode, Markup);

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        (self.0, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], self.1.into_string()).into_response()
    }
}
