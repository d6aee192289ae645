//! The page around the figures: the head, the form and what is said instead of figures.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};
use portreeve_core::figure::sentence;
use portreeve_runtime::server::calls::{Calls, Credentials};

use super::client::Figures;
use super::question::{Question, grounds};
use super::refusal::Refusal;
use super::{CLOCKS, Html, PATH, chart, sections};

/// The fields that the form has an input for; whatever else is in the address goes with it.
const WHO: [&str; 3] = ["as", "member", "roles"];

pub(super) fn document(title: &str, head: &Markup, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/report/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/report/page.css";
                script src="/report/page.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the figures" }
                (chart::patterns())
                header.site {
                    div.inner {
                        a.brand href=(PATH) { "Portreeve" }
                        (head)
                    }
                }
                main #main tabindex="-1" { (main) }
                footer.site { div.inner { p { "Referrals of online content, and what became of them. Every view of figures is recorded in the access log." } } }
            }
        }
    }
}

/// The page with its figures.
pub(super) fn page(calls: &Calls, question: &Question, figures: &Figures) -> Html {
    let live = question.is_live();
    let digest = figures.report.digest.as_str();
    let main = html! {
        h1 { "What became of what was referred" }
        (form(question))
        p.live #live role="status" { @if live { noscript { "These figures are of the moment at which the page was loaded; load it again for newer ones." } } }
        @if live {
            div #figures data-live=(question.address("/report/live", &["seen"], &[("seen", digest)])) { (sections::figures(question, figures)) }
        } @else {
            div #figures { (sections::figures(question, figures)) }
        }
    };
    let definition = question.definition();
    let title = format!("Referrals {} to {} – Portreeve", definition.cohort_from_date, definition.cohort_until_date);
    Html(StatusCode::OK, document(&title, &head(calls, question), &main))
}

/// The other pages, as whom the visitor looks, and how to change that.
pub(super) fn head(calls: &Calls, question: &Question) -> Markup {
    let credentials = calls.credentials();
    html! {
        (pages(question))
        div.who {
            @if credentials.are_not_asked_for() { (looking(question)) }
            @else if let Some(principal) = calls.certified() { span { "Looking as " strong { (principal) } } }
            @if credentials.tokens {
                form method="post" action="/report/sign-out" { button.quiet type="submit" { "Sign out" } }
            }
        }
    }
}

/// The pages, as the same visitor.
fn pages(question: &Question) -> Markup {
    html! {
        nav aria-label="Pages" {
            @for (path, name) in [(PATH, "Figures"), (CLOCKS, "Clocks")] { a href=(question.address(path, &["name"], &[])) { (name) } }
        }
    }
}

/// Who looks at an open server.
fn looking(question: &Question) -> Markup {
    html! {
        span { "Looking as " strong { (question.line("as")) } }
        a href=(question.address(PATH, &WHO, &[])) { "Change" }
    }
}

/// An input with its label; `kind` is that of HTML.
fn input(question: &Question, name: &str, label: &str, kind: &str, given: &str, hint: &str) -> Markup {
    let id = format!("field-{name}");
    let described = (!hint.is_empty()).then(|| format!("{id}-hint"));
    let said = question.line(name);
    let value = if said.is_empty() { given } else { &said };
    html! {
        div.field {
            label for=(id) { (label) }
            input id=(id) name=(name) type=(kind) value=(value) aria-describedby=[described.as_ref()];
            @if let Some(described) = &described { span.hint id=(described) { (hint) } }
        }
    }
}

fn form(question: &Question) -> Markup {
    let definition = question.definition();
    let chosen = question.line("ground");
    html! {
        form.filters method="get" action=(PATH) aria-label="What to count" {
            // Who looks goes with the question where the server believes it.
            @for name in WHO { @if let Some(value) = question.field(name) { input type="hidden" name=(name) value=(value); } }
            (input(question, "from", "From", "date", &definition.cohort_from_date, ""))
            (input(question, "until", "Until", "date", &definition.cohort_until_date, ""))
            (input(question, "as-of", "As of", "date", "", "empty: today, live"))
            (input(question, "platform", "Platform", "text", "", "such as harbourbook"))
            (input(question, "agency", "Agency", "text", "", "such as nca"))
            div.field {
                label for="field-ground" { "Ground" }
                select id="field-ground" name="ground" {
                    option value="" { "All" }
                    @for (word, _) in grounds() { option value=(word) selected[word == chosen] { (sentence(&word.replace('-', "_"))) } }
                }
            }
            details.more #more open[question.field("purpose").or(question.field("because")).or(question.field("known-at")).is_some()] {
                summary #more-summary { "More" }
                div.fields {
                    (input(question, "known-at", "Known at", "date", "", "empty: all that is known now"))
                    (input(question, "purpose", "Purpose", "text", "", "needed for partners' figures"))
                    (input(question, "because", "Reason for reading", "text", "", "kept in the access log"))
                }
            }
            div.actions {
                button type="submit" { "Show" }
                a href=(question.address(PATH, &["from", "until", "as-of", "known-at", "platform", "agency", "ground", "purpose", "because"], &[])) { "Clear" }
            }
        }
    }
}

/// A form for one platform or agency alone; whatever else is in the address goes with it.
pub(super) fn narrow(question: &Question, path: &str) -> Markup {
    html! {
        form.filters method="get" action=(path) aria-label="What to show" {
            @for (name, value) in question.others(&["platform", "agency"]) { input type="hidden" name=(name) value=(value); }
            (input(question, "platform", "Platform", "text", "", "such as harbourbook"))
            (input(question, "agency", "Agency", "text", "", "such as nca"))
            div.actions { button type="submit" { "Show" } }
        }
    }
}

/// A page that says why there are no figures, and what to do.
pub(super) fn refused(
    credentials: Option<Credentials>,
    question: &Question,
    refusal: &Refusal,
) -> impl axum::response::IntoResponse {
    let nobody = refusal.status == StatusCode::UNAUTHORIZED;
    let title = if nobody { "Who is looking?" } else { "No figures" };
    let main = html! {
        h1 { (title) }
        div.refusal role="alert" {
            p.message { (sentence_of(&refusal.message)) }
            @if !refusal.wrong.is_empty() {
                ul { @for (field, wrong) in &refusal.wrong { li { strong { (field) } " " (wrong) } } }
            }
            p { (refusal.next()) }
            @if let Some(delay) = refusal.retry { p { "In " (delay.as_millis().div_ceil(1_000)) " s at the earliest." } }
            p.reason { "Reason: " code { (refusal.reason) } }
        }
        @if nobody { @if let Some(credentials) = credentials { (introduce(credentials, question)) } }
        @else if credentials.is_some() { (form(question)) }
    };
    let head = html! {
        @if !nobody {
            (pages(question))
            @if credentials.is_some_and(Credentials::are_not_asked_for) { div.who { (looking(question)) } }
        }
    };
    let page = Html(refusal.status, document(&format!("{title} – Portreeve"), &head, &main));
    // How a client that is no browser says who it is (RFC 9110, 11.6.1).
    let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portreeve\""));
    (nobody.then_some(challenge).into_iter().collect::<HeaderMap>(), page)
}

/// A message with a capital letter and a full stop.
fn sentence_of(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// How to say who one is.
fn introduce(credentials: Credentials, question: &Question) -> Markup {
    html! {
        @if credentials.are_not_asked_for() {
            p { "This server is open: it believes callers who they are, and can be reached from this machine only. Say as whom to look." }
            form.filters.who-looks method="get" action=(PATH) aria-label="Who is looking" {
                @for (name, value) in question.others(&WHO) { input type="hidden" name=(name) value=(value); }
                (input(question, "as", "Look as", "text", "", "such as oversightBodies/committee, agencies/nca or platforms/harbourbook"))
                (input(question, "member", "Member", "text", "", "the person who looks; may stay empty"))
                div.actions { button type="submit" { "Look" } }
            }
        }
        @if credentials.certificates {
            h2 { "By certificate" }
            p { "Install the certificate that your organisation was issued, with its key, in the browser or the system, and load this page again: the browser then offers it." }
        }
        @if credentials.tokens {
            h2 { "By token" }
            p { "Paste the bearer token (JWT) that your organisation's identity provider gives you. It stays in this browser, until you sign out or close it." }
            form.filters method="post" action="/report/sign-in" aria-label="Sign in" {
                div.field.long { label for="field-token" { "Token" } input id="field-token" name="token" type="password" autocomplete="off" required; }
                div.actions { button type="submit" { "Sign in" } }
            }
        }
    }
}
