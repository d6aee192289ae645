//! `GrantService`.

use portreeve_api::reporting::v1 as wire;
use portreeve_core::name::{OrganisationKind, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Result};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    guard, must_say, page_size, position_key, principal, read_position, revision, violations,
};
use portreeve_storage::{Envelope, Guard, Outcome};
use tonic::{Request, Response, Status};
use wire::grant_service_server::GrantService;

use super::Rpc;
use super::grant_convert::{read_draft, write_grant};
use crate::domain::grant::{no_grant, not_theirs};
use crate::domain::{Command, Event, GrantName, grants_seen};
use crate::store::SERVICE;

#[tonic::async_trait]
impl GrantService for Rpc {
    async fn issue_grant(
        &self,
        request: Request<wire::IssueGrantRequest>,
    ) -> Result<Response<wire::IssueGrantResponse>, Status> {
        self.issue(request).await.map(Response::new).or_status()
    }

    async fn revoke_grant(
        &self,
        request: Request<wire::RevokeGrantRequest>,
    ) -> Result<Response<wire::RevokeGrantResponse>, Status> {
        self.revoke(request).await.map(Response::new).or_status()
    }

    async fn get_grant(
        &self,
        request: Request<wire::GetGrantRequest>,
    ) -> Result<Response<wire::GetGrantResponse>, Status> {
        self.get_one(request).await.map(Response::new).or_status()
    }

    async fn list_grants(
        &self,
        request: Request<wire::ListGrantsRequest>,
    ) -> Result<Response<wire::ListGrantsResponse>, Status> {
        self.list_all(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn issue(&self, request: Request<wire::IssueGrantRequest>) -> Result<wire::IssueGrantResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let terms = message.grant.as_ref().and_then(|draft| read_draft(&mut violations, draft, now));
        let content = wire::IssueGrantRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("IssueGrant", &message.request_id, &content);
        let ((terms, guard), in_time) = violations.finish_in_time(terms.zip(guard))?;
        let guard = guard.unless_too_late(in_time);
        caller.require(Role::Supervisor)?;
        let name = GrantName(self.ids.uuid(now));
        let command = Command::Issue { name, terms: Box::new(terms), issuer: caller.organisation().clone() };
        let outcome = self.submit(&caller, guard, command).await?;
        let issued = changed(&outcome).ok_or_else(|| Error::internal("a command caused no event"))?;
        let revision = revision(SERVICE, &outcome);
        Ok(wire::IssueGrantResponse { grant: Some(issued), revision, replayed: outcome.replayed })
    }

    async fn revoke(&self, request: Request<wire::RevokeGrantRequest>) -> Result<wire::RevokeGrantResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<GrantName>());
        must_say(&mut violations, "reason", &message.reason);
        let content = wire::RevokeGrantRequest { request_id: String::new(), ..message.clone() };
        let guard = guard("RevokeGrant", &message.request_id, &content);
        let (name, guard) = violations.finish(name.zip(guard))?;
        caller.require(Role::Supervisor)?;
        let command = Command::Revoke { name, by: caller.organisation().clone(), reason: message.reason };
        let outcome = self.submit(&caller, guard, command).await?;
        let grant = if let Some(revoked) = changed(&outcome) {
            revoked
        } else {
            // It had been revoked already: the grant as it is.
            let found = self.parts.reads.grant(&caller, name).await?.ok_or_else(|| no_grant(name))?;
            write_grant(&found, self.clock.now())
        };
        let revision = revision(SERVICE, &outcome);
        Ok(wire::RevokeGrantResponse { grant: Some(grant), revision, replayed: outcome.replayed })
    }

    async fn get_one(&self, request: Request<wire::GetGrantRequest>) -> Result<wire::GetGrantResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<GrantName>());
        let name = violations.finish(name)?;
        grants_seen(&caller, None)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.grant(&caller, name).await?.ok_or_else(|| match caller.kind() {
            OrganisationKind::Researcher => not_theirs(name, caller.organisation()),
            _ => no_grant(name),
        })?;
        Ok(wire::GetGrantResponse { grant: Some(write_grant(&found, self.clock.now())), revisions })
    }

    async fn list_all(&self, request: Request<wire::ListGrantsRequest>) -> Result<wire::ListGrantsResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let grantee = violations.check("parent", parse_parent(&message.parent, OrganisationKind::Researcher));
        let grantee = violations.finish(grantee)?;
        grants_seen(&caller, grantee)?;
        let content = wire::ListGrantsRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListGrants", &caller.organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.grants(&caller, grantee, after, limit).await?;
        let last = found.last().filter(|_| found.len() == limit).map(|grant| position_key(grant.issued));
        let now = self.clock.now();
        Ok(wire::ListGrantsResponse {
            next_page_token: last.map(|after| Page { query, after }.encode()).unwrap_or_default(),
            grants: found.iter().map(|grant| write_grant(grant, now)).collect(),
            revisions,
        })
    }

    pub(super) async fn submit(&self, caller: &Principal, guard: Guard, command: Command) -> Result<Outcome<Event>> {
        self.parts.writer.submit(Envelope { principal: caller.clone(), guard, command }).await
    }
}

/// The grant as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::Grant> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::GrantChanged(grant) => Some(write_grant(grant, recorded.recorded_at)),
        _ => None,
    })
}
