//! `ConsultationService`: the access logs of this process, for auditors and for oversight.

use std::sync::Arc;

use portreeve_api::consultation::v1 as wire;
use portreeve_core::consultation::{Stretch, require_named};
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Reason, Result, limits};
use portreeve_runtime::barrier;
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{page_size, position_key, principal, read_position, violations};
use prost::Message as _;
use tonic::{Request, Response, Status};
use wire::consultation_service_server::{ConsultationService, ConsultationServiceServer};

use super::Access;
use super::convert::{read_filter, write_consultation};
use crate::domain::Asked;

/// The server of `ConsultationService`.
#[derive(Clone, Default)]
pub struct Consultations {
    logs: Vec<Arc<Access>>,
}

impl Consultations {
    /// Adds an access log.
    pub fn add(&mut self, access: Arc<Access>) {
        self.logs.push(access);
    }

    /// The server.
    pub fn server(self) -> ConsultationServiceServer<Self> {
        ConsultationServiceServer::new(self)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    async fn list(&self, request: Request<wire::ListConsultationsRequest>) -> Result<wire::ListConsultationsResponse> {
        let caller = principal(&request)?;
        let log = request.get_ref().log.strip_prefix("logs/").unwrap_or_default();
        let access = self.logs.iter().find(|access| access.log().name() == log);
        let asking = access.map(|access| access.ask(&request)).transpose()?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let filter = read_filter(&mut violations, message.filter.as_ref());
        violations.into_result()?;
        let parent = message.parent.parse::<OrganisationName>().ok();
        may_audit(&caller, parent.as_ref())?;
        let (Some(access), Some(asking)) = (access, asking) else {
            return Err(Error::new(Reason::LogNotFound, format!("this server does not keep {}", message.log))
                .with("log", &message.log));
        };
        let content = wire::ListConsultationsRequest {
            log: message.log.clone(),
            filter: message.filter.clone(),
            ..wire::ListConsultationsRequest::default()
        };
        let query = filter_hash("ListConsultations", &message.parent, &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = barrier::caught_up(access.log().as_ref(), &[], &message.at_least).await?;
        let asked = Asked::new(&caller, parent.as_ref().map(ToString::to_string), filter);
        let limit = page_size(message.page_size);
        let mut found = access.reads().entries(&asked, after, limit.saturating_add(1)).await?;
        let mut more = found.len() > limit;
        found.truncate(limit);
        let mut consultations = Vec::with_capacity(found.len());
        let (mut bytes, mut last) = (0, after);
        for recorded in &found {
            let consultation = write_consultation(access.log().name(), recorded);
            bytes += consultation.encoded_len();
            if bytes > limits::REPLY_BYTES_MAX / 2 && !consultations.is_empty() {
                more = true;
                break;
            }
            consultations.push(consultation);
            last = recorded.position;
        }
        let withheld = access.reads().withheld(&asked, after, if more { last } else { i64::MAX }).await?;
        if !consultations.is_empty() {
            let rows = i64::try_from(consultations.len()).unwrap_or(i64::MAX);
            let log = access.log().name().to_owned();
            asking.stretch(parent, Stretch { log, after, through: last, rows, snapshot: false }).await?;
        }
        let next = more.then(|| Page { query, after: position_key(last) }.encode());
        Ok(wire::ListConsultationsResponse {
            consultations,
            next_page_token: next.unwrap_or_default(),
            withheld,
            revisions,
        })
    }
}

/// Refuses whoever is neither an auditor of the organisation nor an analyst of an oversight body, and who does not say
/// who he is.
fn may_audit(caller: &Principal, parent: Option<&OrganisationName>) -> Result<()> {
    let oversees = caller.kind() == OrganisationKind::Oversight && caller.has(Role::Analyst);
    let audits = caller.has(Role::Auditor) && parent == Some(caller.organisation());
    if !oversees && !audits {
        return Err(caller.denied());
    }
    require_named(caller)
}

#[tonic::async_trait]
impl ConsultationService for Consultations {
    async fn list_consultations(
        &self,
        request: Request<wire::ListConsultationsRequest>,
    ) -> Result<Response<wire::ListConsultationsResponse>, Status> {
        self.list(request).await.map(Response::new).or_status()
    }
}
