//! `PolicyService`.

use portreeve_api::decision::v1 as wire;
use portreeve_core::name::{ClauseName, OrganisationKind, is_slug, parse_owner, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::{Page, fingerprint};
use portreeve_core::{Error, Reason, Result};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::wire::{guard, page_size, principal, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::policy_service_server::PolicyService;

use super::convert::{read_clause_version_draft, write_clause, write_clause_version};
use super::{Rpc, foreign_page, one_more, page};
use crate::domain::{Command, Event};

#[tonic::async_trait]
impl PolicyService for Rpc {
    async fn create_clause(
        &self,
        request: Request<wire::CreateClauseRequest>,
    ) -> Result<Response<wire::CreateClauseResponse>, Status> {
        self.create(request).await.map(Response::new).or_status()
    }

    async fn add_clause_version(
        &self,
        request: Request<wire::AddClauseVersionRequest>,
    ) -> Result<Response<wire::AddClauseVersionResponse>, Status> {
        self.add_version(request).await.map(Response::new).or_status()
    }

    async fn get_clause(
        &self,
        request: Request<wire::GetClauseRequest>,
    ) -> Result<Response<wire::GetClauseResponse>, Status> {
        self.one_clause(request).await.map(Response::new).or_status()
    }

    async fn list_clauses(
        &self,
        request: Request<wire::ListClausesRequest>,
    ) -> Result<Response<wire::ListClausesResponse>, Status> {
        self.list_of_clauses(request).await.map(Response::new).or_status()
    }

    async fn list_clause_versions(
        &self,
        request: Request<wire::ListClauseVersionsRequest>,
    ) -> Result<Response<wire::ListClauseVersionsResponse>, Status> {
        self.list_of_versions(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn create(&self, request: Request<wire::CreateClauseRequest>) -> Result<wire::CreateClauseResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let violations = violations(&message);
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).ok();
        let name = platform
            .filter(|_| is_slug(&message.clause_id))
            .map(|platform| ClauseName { platform: platform.to_owned(), clause: message.clause_id.clone() });
        let title = message.clause.as_ref().map(|clause| clause.title.clone());
        let (name, title) = violations.finish(name.zip(title))?;
        caller.require_as(Role::PolicyEditor, OrganisationKind::Platform, &name.platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("CreateClause", &request_id, &message);
        let outcome = self.submit(&caller, guard, Command::CreateClause { name, title }).await?;
        let clause = first(&outcome, |event| match event {
            Event::ClauseCreated(clause) => Some(write_clause(clause)),
            _ => None,
        });
        Ok(wire::CreateClauseResponse { clause, revision: Self::revision(&outcome), replayed: outcome.replayed })
    }

    async fn add_version(
        &self,
        request: Request<wire::AddClauseVersionRequest>,
    ) -> Result<wire::AddClauseVersionResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let clause = message.parent.parse::<ClauseName>().ok();
        let draft = read_clause_version_draft(&mut violations, message.clause_version.as_ref());
        let (clause, draft) = violations.finish(clause.zip(draft))?;
        caller.require_as(Role::PolicyEditor, OrganisationKind::Platform, &clause.platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("AddClauseVersion", &request_id, &message);
        let outcome = self.submit(&caller, guard, Command::AddClauseVersion { clause, draft }).await?;
        self.version_added.notify_one();
        let clause_version = first(&outcome, |event| match event {
            Event::ClauseVersionAdded(version) => Some(write_clause_version(version)),
            _ => None,
        });
        Ok(wire::AddClauseVersionResponse {
            clause_version,
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn one_clause(&self, request: Request<wire::GetClauseRequest>) -> Result<wire::GetClauseResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let violations = violations(&message);
        let name = violations.finish(message.name.parse::<ClauseName>().ok())?;
        let revisions = self.caught_up(&message.at_least).await?;
        let clause = self.parts.reads.clause(&caller, &name).await?.ok_or_else(|| not_found(&name))?;
        Ok(wire::GetClauseResponse { clause: Some(write_clause(&clause)), revisions })
    }

    async fn list_of_clauses(&self, request: Request<wire::ListClausesRequest>) -> Result<wire::ListClausesResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let platform = parse_parent(&message.parent, OrganisationKind::Platform).ok().flatten();
        let hash = fingerprint(&[b"ListClauses", message.parent.as_bytes()]);
        let after = Page::decode(&message.page_token, hash)?.unwrap_or_default();
        let after = String::from_utf8(after).map_err(|_| foreign_page())?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.clauses(&caller, platform, &after, one_more(limit)).await?;
        let rows = found.iter().map(|clause| (clause.name.to_string().into_bytes(), write_clause(clause)));
        let (clauses, next_page_token) = page(hash, limit, rows);
        Ok(wire::ListClausesResponse { clauses, next_page_token, revisions })
    }

    async fn list_of_versions(
        &self,
        request: Request<wire::ListClauseVersionsRequest>,
    ) -> Result<wire::ListClauseVersionsResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let violations = violations(&message);
        let clause = violations.finish(message.parent.parse::<ClauseName>().ok())?;
        let hash = fingerprint(&[b"ListClauseVersions", message.parent.as_bytes()]);
        let after = match Page::decode(&message.page_token, hash)? {
            None => 0,
            Some(key) => u32::from_be_bytes(key.try_into().map_err(|_| foreign_page())?),
        };
        let revisions = self.caught_up(&message.at_least).await?;
        if self.parts.reads.clause(&caller, &clause).await?.is_none() {
            return Err(not_found(&clause));
        }
        let limit = page_size(message.page_size);
        let found = self.parts.reads.clause_versions(&caller, &clause, after, one_more(limit)).await?;
        let rows = found
            .iter()
            .map(|version| (version.citation.version.to_be_bytes().to_vec(), write_clause_version(version)));
        let (clause_versions, next_page_token) = page(hash, limit, rows);
        Ok(wire::ListClauseVersionsResponse { clause_versions, next_page_token, revisions })
    }
}

fn first<T>(outcome: &Outcome<Event>, read: impl Fn(&Event) -> Option<T>) -> Option<T> {
    outcome.events.iter().find_map(|recorded| read(&recorded.event))
}

fn not_found(name: &ClauseName) -> Error {
    Error::new(Reason::ClauseNotFound, format!("there is no {name}")).with("name", name)
}
