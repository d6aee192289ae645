//! The page's calls, as its visitor.

use portreeve_api::clients::{JUSTIFICATION_BIN_KEY, MEMBER_KEY, ORGANISATION_KEY, PURPOSE_KEY, ROLES_KEY};
use portreeve_api::decision::v1::clock_service_client::ClockServiceClient;
use portreeve_api::decision::v1::decision_service_client::DecisionServiceClient;
use portreeve_api::decision::v1::{
    Case, Clock, ClockFilter, Decision, GetCaseRequest, ListClocksRequest, ListDecisionsRequest,
};
use portreeve_api::referral::v1::observation_service_client::ObservationServiceClient;
use portreeve_api::referral::v1::{ListObservationsRequest, Observation};
use portreeve_api::reporting::v1::reporting_service_client::ReportingServiceClient;
use portreeve_api::reporting::v1::{Report, SurvivalCurve, WatchReportResponse};
use portreeve_core::{Error, Reason, limits};
use portreeve_runtime::server::calls::Calls;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Streaming};

use super::question::Question;
use super::refusal::Refusal;

/// What the page shows: a report and its curve, of one moment.
pub(super) struct Figures {
    pub(super) report: Report,
    pub(super) curve: SurvivalCurve,
}

/// The figures, once they reflect some revisions.
pub(super) async fn figures(calls: &Calls, question: &Question, at_least: &[String]) -> Result<Figures, Refusal> {
    let request = asked(calls, question, question.request(at_least))?;
    let reply = reports(calls).query_survival(request).await?.into_inner();
    Ok(Figures { report: reply.report.unwrap_or_default(), curve: reply.curve.unwrap_or_default() })
}

/// The changes of the figures.
pub(super) async fn changes(calls: &Calls, question: &Question) -> Result<Streaming<WatchReportResponse>, Refusal> {
    let request = asked(calls, question, question.watch())?;
    Ok(reports(calls).watch_report(request).await?.into_inner())
}

/// Clocks that have not ended.
pub(super) struct Due {
    pub(super) clocks: Vec<Clock>,
    /// Whether there are more than could be shown.
    pub(super) more: bool,
}

/// The clocks that the visitor may see.
pub(super) async fn due(calls: &Calls, question: &Question) -> Result<Due, Refusal> {
    let filter = question.definition().filter.clone().unwrap_or_default();
    let mut request = ListClocksRequest {
        // Of one platform, or of all of them.
        parent: <[String; 1]>::try_from(filter.platforms).map_or_else(|_| "platforms/-".to_owned(), |[one]| one),
        filter: Some(ClockFilter { agencies: filter.agencies, ..ClockFilter::default() }),
        page_size: i32::try_from(limits::PAGE_CLOCKS_MAX).unwrap_or(i32::MAX),
        ..ListClocksRequest::default()
    };
    let mut due = Due { clocks: Vec::new(), more: false };
    let mut client = ClockServiceClient::new(calls.clone()).max_decoding_message_size(limits::REPLY_BYTES_MAX);
    loop {
        let reply = client.list_clocks(asked(calls, question, request.clone())?).await?.into_inner();
        due.clocks.extend(reply.clocks);
        due.more = !reply.next_page_token.is_empty();
        if !due.more || due.clocks.len() >= limits::PAGE_CLOCKS_MAX {
            return Ok(due);
        }
        request.page_token = reply.next_page_token;
    }
}

/// What happened to a referral, as far as its case tells it.
pub(super) struct History {
    pub(super) case: Case,
    pub(super) decisions: Vec<Decision>,
    pub(super) observations: Vec<Observation>,
}

/// What happened to the case that the address names.
pub(super) async fn history(calls: &Calls, question: &Question) -> Result<History, Refusal> {
    let name = question.field("name").unwrap_or_default().to_owned();
    let mut client = DecisionServiceClient::new(calls.clone()).max_decoding_message_size(limits::REPLY_BYTES_MAX);
    let get = GetCaseRequest { name: name.clone(), at_least: Vec::new() };
    let case = client.get_case(asked(calls, question, get)?).await?.into_inner().case.unwrap_or_default();
    let list = ListDecisionsRequest { parent: name, page_size: ALL, ..ListDecisionsRequest::default() };
    let decisions = client.list_decisions(asked(calls, question, list)?).await?.into_inner().decisions;
    let list =
        ListObservationsRequest { parent: case.referral.clone(), page_size: ALL, ..ListObservationsRequest::default() };
    let mut client = ObservationServiceClient::new(calls.clone()).max_decoding_message_size(limits::REPLY_BYTES_MAX);
    let observations = match client.list_observations(asked(calls, question, list)?).await {
        Ok(reply) => reply.into_inner().observations,
        Err(status) if status.code() == Code::PermissionDenied => super::case::known(&case),
        Err(status) => return Err(status.into()),
    };
    Ok(History { case, decisions, observations })
}

/// The most that a list gives at once; no case has more.
const ALL: i32 = 1_000;

fn reports(calls: &Calls) -> ReportingServiceClient<Calls> {
    ReportingServiceClient::new(calls.clone()).max_decoding_message_size(limits::REPLY_BYTES_MAX)
}

/// A call with what its visitor says: who he is, which a server that asks for credentials does not read, and why he reads.
fn asked<M>(calls: &Calls, question: &Question, message: M) -> Result<Request<M>, Refusal> {
    let who = calls.credentials().are_not_asked_for();
    if who && question.field("as").is_none() {
        return Err(Refusal::of(&Error::new(Reason::Unauthenticated, "nobody is named as who looks")));
    }
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    let fields = [
        ("as", ORGANISATION_KEY, who),
        ("member", MEMBER_KEY, who),
        ("roles", ROLES_KEY, who),
        ("purpose", PURPOSE_KEY, true),
    ];
    for (field, key, _) in fields.into_iter().filter(|(.., told)| *told) {
        if let Some(value) = question.field(field) {
            metadata.insert(key, value.parse::<MetadataValue<Ascii>>().map_err(|_| unreadable(field))?);
        }
    }
    if let Some(why) = question.field("because") {
        metadata.insert_bin(JUSTIFICATION_BIN_KEY, MetadataValue::from_bytes(why.as_bytes()));
    }
    Ok(request)
}

fn unreadable(field: &str) -> Refusal {
    let error = Error::new(Reason::RequestInvalid, "the address cannot be read");
    Refusal::of(&error.at(field, "must be plain text"))
}
