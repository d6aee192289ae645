//! A referral's time line, for those who may see its case: what happened, when it was true, and when it was learnt.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use portreeve_api::decision::v1::{Case, Clock, Decision, Stay};
use portreeve_api::referral::v1::Observation;
use portreeve_core::Timestamp;
use portreeve_core::figure::sentence;
use portreeve_runtime::server::calls::{Calls, Refused};
use prost_types::Timestamp as WireTime;

use super::client::{History, history};
use super::clocks::left;
use super::question::Question;
use super::span::{at, micros, span};
use super::{Html, Shared, Visit, layout};

pub(super) async fn case(
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
    let (question, _) = Question::read(&visit.query, now.date());
    match history(&visit.calls, &question).await {
        Ok(history) => {
            let main = page(&history, now);
            Html(
                StatusCode::OK,
                layout::document("A referral – Portreeve", &layout::head(&visit.calls, &question), &main),
            )
            .into_response()
        }
        Err(refusal) => layout::refused(Some(visit.calls.credentials()), &question, &refusal).into_response(),
    }
}

/// Something that happened.
struct Moment {
    /// When it was true, by whoever told it.
    occurred: WireTime,
    /// When the server learnt it, where that is known.
    recorded: Option<WireTime>,
    what: String,
    more: Vec<String>,
}

/// The name of a value of the contract as prose, without what all names of its kind begin with.
fn word(name: &str, prefix: &str) -> String {
    sentence(name.strip_prefix(prefix).unwrap_or(name))
}

fn moments(history: &History) -> Vec<Moment> {
    let History { case, decisions, observations } = history;
    let mut all = Vec::new();
    let mut add = |occurred: Option<&WireTime>, recorded: Option<&WireTime>, what: String, more: Vec<String>| {
        if let Some(occurred) = occurred {
            all.push(Moment { occurred: *occurred, recorded: recorded.copied(), what, more });
        }
    };
    let referred =
        vec![word(case.nature().as_str_name(), "REFERRAL_NATURE_"), word(case.ground().as_str_name(), "GROUND_")];
    add(
        case.submitted_at.as_ref(),
        case.submitted_recorded_at.as_ref(),
        format!("Referred by {} to {}", case.agency, case.platform),
        referred,
    );
    add(
        case.acknowledged_at.as_ref(),
        case.acknowledged_recorded_at.as_ref(),
        "Receipt acknowledged".to_owned(),
        Vec::new(),
    );
    for decision in decisions {
        let what = format!(
            "Decided, version {}: {}",
            decision.version,
            word(decision.outcome().as_str_name(), "OUTCOME_").to_lowercase()
        );
        add(decision.decided_at.as_ref(), decision.recorded_at.as_ref(), what, said(decision));
        add(decision.effective_at.as_ref(), None, format!("Version {} took effect", decision.version), Vec::new());
    }
    for stay in &case.stays {
        let ground = word(stay.ground().as_str_name(), "STAY_GROUND_").to_lowercase();
        add(stay.began_at.as_ref(), None, format!("The clock was stopped: {ground}"), asked(stay));
        let end = word(stay.end().as_str_name(), "STAY_END_").to_lowercase();
        add(stay.ended_at.as_ref(), None, format!("The clock runs again: {end}"), texts(&[&stay.answer]));
    }
    for challenge in &case.challenges {
        let what = format!(
            "Challenge {} of version {} filed by {}",
            challenge.number, challenge.decision_version, challenge.filed_by
        );
        add(challenge.filed_at.as_ref(), challenge.filed_recorded_at.as_ref(), what, texts(&[&challenge.reasons]));
        for fact in &challenge.facts {
            let stage = word(fact.stage().as_str_name(), "CHALLENGE_STAGE_").to_lowercase();
            add(
                fact.occurred_at.as_ref(),
                fact.recorded_at.as_ref(),
                format!("Challenge {}: {stage}", challenge.number),
                texts(&[&fact.explanation]),
            );
        }
    }
    for observation in observations {
        let finding = word(observation.finding().as_str_name(), "OBSERVATION_FINDING_").to_lowercase();
        add(
            observation.observed_at.as_ref(),
            observation.recorded_at.as_ref(),
            format!("Observed by {}: {finding}", observation.observed_by),
            Vec::new(),
        );
    }
    add(
        case.withdrawn_at.as_ref(),
        case.withdrawal_recorded_at.as_ref(),
        "Withdrawn by the agency".to_owned(),
        texts(&[&case.withdrawal_reason]),
    );
    all.sort_by_key(|moment| {
        (micros(Some(&moment.occurred)), moment.recorded.as_ref().map(|recorded| micros(Some(recorded))))
    });
    all
}

/// Those that say something.
fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().filter(|text| !text.is_empty()).map(|text| (*text).to_owned()).collect()
}

fn said(decision: &Decision) -> Vec<String> {
    let clauses = decision.clauses.iter().map(|cited| format!("Under {}@{}", cited.clause, cited.version));
    clauses.chain(texts(&[&decision.law, &decision.explanation])).collect()
}

fn asked(stay: &Stay) -> Vec<String> {
    let questions = stay.questions().map(|code| word(code.as_str_name(), "QUESTION_CODE_"));
    questions.chain(texts(&[&stay.explanation])).collect()
}

fn page(history: &History, now: Timestamp) -> Markup {
    let case = &history.case;
    html! {
        h1 { "A referral, from its beginning" }
        section aria-labelledby="case" {
            h2 #case { "What was referred" }
            dl.facts {
                dt { "Referral" } dd { code { (case.referral) } }
                dt { "Case" } dd { code { (case.name) } }
                @if let Some(target) = &case.target {
                    dt { "Target" }
                    // Not a link: nobody should come there by a slip of the hand.
                    dd { (word(target.kind().as_str_name(), "TARGET_KIND_")) @if target.url.is_empty() { ", erased or not said" } @else { ": " code { (target.url) } } }
                }
                dt { "Stands" } dd { (word(case.disposition().as_str_name(), "DISPOSITION_")) }
                @if !case.statement_of_reasons.is_empty() { dt { "Reasons" } dd { (case.statement_of_reasons) } }
            }
        }
        @if !case.clocks.is_empty() { (clocks(&case.clocks, now)) }
        section aria-labelledby="line" {
            h2 #line { "Time line" }
            p { "When each thing became true by whoever told it and, where the server learnt it later, by how much. Times are UTC." }
            ol.line { @for moment in moments(history) { (told(&moment)) } }
        }
    }
}

fn told(moment: &Moment) -> Markup {
    let late = moment.recorded.as_ref().map_or(0, |recorded| recorded.seconds.saturating_sub(moment.occurred.seconds));
    html! {
        li {
            (at(Some(&moment.occurred)))
            div {
                p.what { (moment.what) }
                @for more in &moment.more { p.more { (more) } }
                @if late >= 60 { p.late { "Told " (span(late)) " later" } }
            }
        }
    }
}

fn clocks(clocks: &[Clock], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="clocks" {
            h2 #clocks { "Clocks" }
            div.wide #clocks-box role="group" aria-label="Clocks" tabindex="0" {
                table.figures {
                    caption { "What runs, or ran, and until when" }
                    thead { tr { th scope="col" { "Clock" } th scope="col" { "State" } th scope="col" { "Started" } th scope="col" { "Due" } th.n scope="col" { "Left" } } }
                    tbody {
                        @for clock in clocks {
                            tr {
                                th scope="row" { (word(clock.kind().as_str_name(), "CLOCK_KIND_")) }
                                td { (word(clock.state().as_str_name(), "CLOCK_STATE_")) }
                                td { (at(clock.started_at.as_ref())) }
                                td { (at(clock.due_at.as_ref())) }
                                td.n { @if let Some(ended) = &clock.ended_at { "ended " (at(Some(ended))) } @else { (left(clock, now)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is known of a referral's content where the observations themselves are not the visitor's to list.
pub(super) fn known(case: &Case) -> Vec<Observation> {
    let mut known = case.latest_observation.iter().chain(&case.latest_sighting).cloned().collect::<Vec<_>>();
    known.dedup_by(|one, other| one.name == other.name);
    known
}
