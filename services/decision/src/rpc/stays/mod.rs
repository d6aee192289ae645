//! `StayService`.

pub mod convert;

use portreeve_api::decision::v1 as wire;
use portreeve_core::name::{CaseName, OrganisationKind, StayName};
use portreeve_core::principal::Role;
use portreeve_core::{Error, Principal, Result, Timestamp};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::wire::{guard, must_say, optional_time, principal, violations};
use portreeve_storage::{Guard, Outcome};
use tonic::{Request, Response, Status};
use wire::stay_service_server::StayService;

use super::Rpc;
use super::cases::{case_name, named};
use crate::domain::{Command, Event, Stay, StayContent};
use convert::{read_content, write_stay};

/// What a stay's name must be.
const STAY: &str = "a stay's name: platforms/{platform}/cases/{uuid}/stays/{number}";

#[tonic::async_trait]
impl StayService for Rpc {
    async fn request_information(
        &self,
        request: Request<wire::RequestInformationRequest>,
    ) -> Result<Response<wire::RequestInformationResponse>, Status> {
        let Said { stay, revision, replayed } = self.ask_agency(request).await.or_status()?;
        Ok(Response::new(wire::RequestInformationResponse { stay: Some(stay), revision, replayed }))
    }

    async fn answer_information(
        &self,
        request: Request<wire::AnswerInformationRequest>,
    ) -> Result<Response<wire::AnswerInformationResponse>, Status> {
        let Said { stay, revision, replayed } = self.answer(request).await.or_status()?;
        Ok(Response::new(wire::AnswerInformationResponse { stay: Some(stay), revision, replayed }))
    }

    async fn report_impediment(
        &self,
        request: Request<wire::ReportImpedimentRequest>,
    ) -> Result<Response<wire::ReportImpedimentResponse>, Status> {
        let Said { stay, revision, replayed } = self.impede(request).await.or_status()?;
        Ok(Response::new(wire::ReportImpedimentResponse { stay: Some(stay), revision, replayed }))
    }

    async fn end_impediment(
        &self,
        request: Request<wire::EndImpedimentRequest>,
    ) -> Result<Response<wire::EndImpedimentResponse>, Status> {
        let Said { stay, revision, replayed } = self.cease(request).await.or_status()?;
        Ok(Response::new(wire::EndImpedimentResponse { stay: Some(stay), revision, replayed }))
    }
}

/// What a reply says of a stay.
struct Said {
    stay: wire::Stay,
    revision: String,
    replayed: bool,
}

impl Rpc {
    async fn ask_agency(&self, request: Request<wire::RequestInformationRequest>) -> Result<Said> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let case = case_name(&mut violations, "parent", &message.parent);
        must_say(&mut violations, "explanation", &message.explanation);
        let answer_by = optional_time(&mut violations, "answer_by", message.answer_by.as_ref());
        let content = read_content(message.ground, &message.questions, &message.explanation);
        let (case, content) = violations.finish(case.zip(content))?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, &case.platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("RequestInformation", &request_id, &message);
        self.begin(&caller, guard, case, content, answer_by).await
    }

    async fn impede(&self, request: Request<wire::ReportImpedimentRequest>) -> Result<Said> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let case = case_name(&mut violations, "parent", &message.parent);
        must_say(&mut violations, "explanation", &message.explanation);
        let content = read_content(message.ground, &[], &message.explanation);
        let (case, content) = violations.finish(case.zip(content))?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, &case.platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("ReportImpediment", &request_id, &message);
        self.begin(&caller, guard, case, content, None).await
    }

    async fn begin(
        &self,
        caller: &Principal,
        guard: Option<Guard>,
        case: CaseName,
        content: StayContent,
        answer_by: Option<Timestamp>,
    ) -> Result<Said> {
        // What was said in words may have been erased since.
        let (ground, questions) = (content.ground, content.questions.clone());
        let command = Command::BeginStay { case: case.clone(), content, answer_by, by: caller.member().to_owned() };
        let outcome = self.submit(caller, guard, command).await?;
        let stay = if let Some(stay) = changed(&outcome) {
            stay
        } else {
            // It lasts already: as it began.
            let same = |stay: &Stay| {
                stay.content.ground == ground && stay.content.questions == questions && stay.answer_by == answer_by
            };
            let mut lasts = self.stays(&case).await?.into_iter().rev().find(same).ok_or_else(missing)?;
            lasts.end = None;
            lasts.answer.clear();
            write_stay(&case, &lasts)
        };
        Ok(Self::said(stay, &outcome))
    }

    async fn answer(&self, request: Request<wire::AnswerInformationRequest>) -> Result<Said> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let stay: Option<StayName> = named(&mut violations, "name", &message.name, STAY);
        must_say(&mut violations, "answer", &message.answer);
        let stay = violations.finish(stay)?;
        let by = caller.organisation().clone();
        caller.require_as(Role::Officer, OrganisationKind::Agency, by.id())?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("AnswerInformation", &request_id, &message);
        let command = Command::Answer { stay: stay.clone(), answer: message.answer, by };
        let outcome = self.submit(&caller, guard, command).await?;
        self.ended(&stay, &outcome).await
    }

    async fn cease(&self, request: Request<wire::EndImpedimentRequest>) -> Result<Said> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let stay: Option<StayName> = named(&mut violations, "name", &message.name, STAY);
        let stay = violations.finish(stay)?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, &stay.case.platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("EndImpediment", &request_id, &message);
        let outcome = self.submit(&caller, guard, Command::Cease { stay: stay.clone() }).await?;
        self.ended(&stay, &outcome).await
    }

    /// The stay as a command ended it, or as one before it had.
    async fn ended(&self, name: &StayName, outcome: &Outcome<Event>) -> Result<Said> {
        let stay = if let Some(stay) = changed(outcome) {
            stay
        } else {
            let found = self.stays(&name.case).await?.into_iter().find(|stay| stay.number == name.number);
            write_stay(&name.case, &found.ok_or_else(missing)?)
        };
        Ok(Self::said(stay, outcome))
    }

    fn said(stay: wire::Stay, outcome: &Outcome<Event>) -> Said {
        Said { stay, revision: Self::revision(outcome), replayed: outcome.replayed }
    }

    async fn stays(&self, case: &CaseName) -> Result<Vec<Stay>> {
        self.parts.reads.stays_of(case).await
    }
}

fn missing() -> Error {
    Error::internal("a stay that was recorded is missing")
}

/// The stay as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::Stay> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::StayChanged(changed, number) => {
            let stay = changed.case.stays.iter().find(|stay| stay.number == *number)?;
            Some(write_stay(&changed.case.name(), stay))
        }
        _ => None,
    })
}
