//! `OrganisationService`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Reason, Result};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{guard, page_size, principal, read_etag, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::organisation_service_server::OrganisationService;

use super::convert::{read_hosts, read_kind, write_organisation};
use super::{Rpc, next_page};
use crate::domain::{Command, Event, Organisation};

#[tonic::async_trait]
impl OrganisationService for Rpc {
    async fn create_organisation(
        &self,
        request: Request<wire::CreateOrganisationRequest>,
    ) -> Result<Response<wire::CreateOrganisationResponse>, Status> {
        self.create_organisation(request).await.map(Response::new).or_status()
    }

    async fn update_organisation(
        &self,
        request: Request<wire::UpdateOrganisationRequest>,
    ) -> Result<Response<wire::UpdateOrganisationResponse>, Status> {
        self.update_organisation(request).await.map(Response::new).or_status()
    }

    async fn get_organisation(
        &self,
        request: Request<wire::GetOrganisationRequest>,
    ) -> Result<Response<wire::GetOrganisationResponse>, Status> {
        self.get_organisation(request).await.map(Response::new).or_status()
    }

    async fn list_organisations(
        &self,
        request: Request<wire::ListOrganisationsRequest>,
    ) -> Result<Response<wire::ListOrganisationsResponse>, Status> {
        self.list_organisations(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn create_organisation(
        &self,
        request: Request<wire::CreateOrganisationRequest>,
    ) -> Result<wire::CreateOrganisationResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let draft = message.organisation.clone().unwrap_or_default();
        let kind = read_kind(draft.kind);
        if kind.is_none() {
            violations.add("organisation.kind", "must be agency, platform, oversight body or operator");
        }
        let name = kind.and_then(|kind| OrganisationName::new(kind, &message.organisation_id).ok());
        if name.as_ref().is_some_and(|name| !draft.name.is_empty() && draft.name != name.to_string()) {
            violations.add("organisation.name", "must be empty or agree with kind and organisation_id");
        }
        if draft.display_name.trim().is_empty() {
            violations.add("organisation.display_name", "must be set");
        }
        let hosts = kind.map(|kind| read_hosts(&mut violations, kind, &draft.hosts)).unwrap_or_default();
        violations.into_result()?;
        caller.require(Role::Operator)?;
        let guard = guard("CreateOrganisation", &message.request_id, &without_id(&message));
        let command = name.map(|name| Command::CreateOrganisation { name, display_name: draft.display_name, hosts });
        let outcome = self.submit(&caller, guard, command).await?;
        Ok(wire::CreateOrganisationResponse {
            organisation: Some(write_organisation(&changed(&outcome)?)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn update_organisation(
        &self,
        request: Request<wire::UpdateOrganisationRequest>,
    ) -> Result<wire::UpdateOrganisationResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let draft = message.organisation.clone().unwrap_or_default();
        let name = violations.check("organisation.name", draft.name.parse::<OrganisationName>());
        let paths = message.update_mask.as_ref().map(|mask| mask.paths.clone()).unwrap_or_default();
        let whole = paths.iter().any(|path| path == "*");
        // Without a mask, what is set is changed (AIP-134).
        let masked =
            |path: &str, set: bool| whole || if paths.is_empty() { set } else { paths.iter().any(|p| p == path) };
        let display_name = masked("display_name", !draft.display_name.is_empty()).then(|| draft.display_name.clone());
        if display_name.as_ref().is_some_and(|text| text.trim().is_empty()) {
            violations.add("organisation.display_name", "must be set");
        }
        let kind = name.as_ref().map_or(OrganisationKind::Platform, OrganisationName::kind);
        let hosts = masked("hosts", !draft.hosts.is_empty()).then(|| read_hosts(&mut violations, kind, &draft.hosts));
        let etag = read_etag(&mut violations, "organisation.etag", &draft.etag);
        violations.into_result()?;
        caller.require(Role::Operator)?;
        let content = wire::UpdateOrganisationRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("UpdateOrganisation", &message.request_id, &content);
        let command = name.clone().map(|name| Command::UpdateOrganisation { name, display_name, hosts, etag });
        let outcome = self.submit(&caller, guard, command).await?;
        let organisation = match changed(&outcome) {
            Ok(organisation) => Some(organisation),
            // Nothing had to change: the organisation as it is.
            Err(_) => match &name {
                Some(name) => self.parts.reads.organisation(&caller, name).await?,
                None => None,
            },
        };
        Ok(wire::UpdateOrganisationResponse {
            organisation: organisation.as_ref().map(write_organisation),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn get_organisation(
        &self,
        request: Request<wire::GetOrganisationRequest>,
    ) -> Result<wire::GetOrganisationResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<OrganisationName>());
        let name = violations.finish(name)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.registered(&caller, &name).await?;
        Ok(wire::GetOrganisationResponse { organisation: Some(write_organisation(&found)), revisions })
    }

    async fn list_organisations(
        &self,
        request: Request<wire::ListOrganisationsRequest>,
    ) -> Result<wire::ListOrganisationsResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let kinds = message.kinds.iter().filter_map(|code| read_kind(*code)).collect::<Vec<_>>();
        let content = wire::ListOrganisationsRequest { kinds: message.kinds.clone(), ..Default::default() };
        let query = filter_hash("ListOrganisations", &caller.organisation().to_string(), &content);
        let after = Page::decode(&message.page_token, query)?.unwrap_or_default();
        let after = String::from_utf8(after)
            .map_err(|_| Error::new(Reason::PageTokenInvalid, "the page token is of another list"))?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.organisations(&caller, &kinds, &after, None, limit).await?;
        let last = found.last().map(|organisation| organisation.name.to_string().into_bytes());
        Ok(wire::ListOrganisationsResponse {
            next_page_token: next_page(query, found.len() == limit, last),
            organisations: found.iter().map(write_organisation).collect(),
            revisions,
        })
    }
}

fn without_id(message: &wire::CreateOrganisationRequest) -> wire::CreateOrganisationRequest {
    wire::CreateOrganisationRequest { request_id: String::new(), ..message.clone() }
}

impl Rpc {
    /// Refuses an agency that is not registered.
    pub(super) async fn registered_agency(&self, caller: &Principal, id: &str) -> Result<()> {
        let name = OrganisationName::new(OrganisationKind::Agency, id);
        let name = name.map_err(|error| Error::internal(error.to_string()))?;
        self.registered(caller, &name).await.map(drop)
    }

    /// An organisation that is registered.
    pub(super) async fn registered(&self, caller: &Principal, name: &OrganisationName) -> Result<Organisation> {
        let found = self.parts.reads.organisation(caller, name).await?;
        found.ok_or_else(|| Error::new(Reason::OrganisationNotFound, format!("there is no {name}")).with("name", name))
    }
}

/// The organisation as the command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Result<Organisation> {
    let recorded = outcome.events.first().ok_or_else(|| Error::internal("a command caused no event"))?;
    match &recorded.event {
        Event::OrganisationCreated(organisation) | Event::OrganisationUpdated(organisation) => {
            Ok(Organisation { updated: recorded.position, ..organisation.clone() })
        }
        _ => Err(Error::internal("a command caused another's event")),
    }
}
