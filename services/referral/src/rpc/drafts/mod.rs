//! `DraftService`.

pub mod convert;

use std::collections::HashMap;
use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::id::Uuid;
use portreeve_core::name::{DraftName, OrganisationKind, ReferralName, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Result, Timestamp, Violations};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{guard, page_size, position_key, principal, read_etag, read_position, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::draft_service_server::DraftService;

use super::convert::{read_draft, read_signature, refuse_classified, show_referral, write_referral};
use super::evidence::convert::Digests;
use super::evidence::digests;
use super::{Rpc, fit, is_own};
use crate::domain::draft::no_draft;
use crate::domain::{Authorise, Command, Draft, DraftStanding, Event, Said};
use crate::store::Reads;
use convert::{write_authorisation, write_content, write_draft};

#[tonic::async_trait]
impl DraftService for Rpc {
    async fn create_draft(
        &self,
        request: Request<wire::CreateDraftRequest>,
    ) -> Result<Response<wire::CreateDraftResponse>, Status> {
        self.draft_created(request).await.map(Response::new).or_status()
    }

    async fn update_draft(
        &self,
        request: Request<wire::UpdateDraftRequest>,
    ) -> Result<Response<wire::UpdateDraftResponse>, Status> {
        self.draft_updated(request).await.map(Response::new).or_status()
    }

    async fn authorise_draft(
        &self,
        request: Request<wire::AuthoriseDraftRequest>,
    ) -> Result<Response<wire::AuthoriseDraftResponse>, Status> {
        self.draft_authorised(request).await.map(Response::new).or_status()
    }

    async fn discard_draft(
        &self,
        request: Request<wire::DiscardDraftRequest>,
    ) -> Result<Response<wire::DiscardDraftResponse>, Status> {
        self.draft_discarded(request).await.map(Response::new).or_status()
    }

    async fn get_draft(
        &self,
        request: Request<wire::GetDraftRequest>,
    ) -> Result<Response<wire::GetDraftResponse>, Status> {
        self.draft(request).await.map(Response::new).or_status()
    }

    async fn list_drafts(
        &self,
        request: Request<wire::ListDraftsRequest>,
    ) -> Result<Response<wire::ListDraftsResponse>, Status> {
        self.drafts(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn draft_created(&self, request: Request<wire::CreateDraftRequest>) -> Result<wire::CreateDraftResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        refuse_classified(&message.referral)?;
        let now = self.clock.now();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let name = DraftName { agency, id: self.ids.uuid(now) };
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("CreateDraft", &request_id, &message);
        let content = message.referral.and_then(|content| read_content(&mut violations, &name, content, now));
        let content = violations.finish(content)?;
        may_write(&caller, &name)?;
        let author = caller.member().to_owned();
        let command = Command::CreateDraft { name, content, author };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let draft = changed(&outcome).ok_or_else(|| Error::internal("a command caused no event"))?;
        Ok(wire::CreateDraftResponse {
            draft: Some(write_draft(&draft)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn draft_updated(&self, request: Request<wire::UpdateDraftRequest>) -> Result<wire::UpdateDraftResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        refuse_classified(&message.referral)?;
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<DraftName>());
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("UpdateDraft", &request_id, &message);
        // A name that is none is noted; the rest is read all the same, so that all is told at once.
        let of = name.clone().unwrap_or_else(|| DraftName { agency: String::new(), id: Uuid::nil() });
        let now = self.clock.now();
        let content = message.referral.and_then(|content| read_content(&mut violations, &of, content, now));
        let (name, content) = violations.finish(name.zip(content))?;
        may_write(&caller, &name)?;
        let author = caller.member().to_owned();
        let command = Command::UpdateDraft { name: name.clone(), content, author, etag };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::UpdateDraftResponse {
            draft: Some(write_draft(&self.left(&caller, &name, &outcome).await?)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn draft_authorised(
        &self,
        request: Request<wire::AuthoriseDraftRequest>,
    ) -> Result<wire::AuthoriseDraftResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<DraftName>());
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let request_id = std::mem::take(&mut message.request_id);
        // As where a referral is created: whoever signs the same again says nothing else.
        let jws = message.signature.as_mut().map(|signature| std::mem::take(&mut signature.jws));
        let guard = guard("AuthoriseDraft", &request_id, &message);
        let allowed = name.as_ref().is_some_and(|name| may_authorise(&caller, name).is_ok());
        // Nothing is looked for by who may not.
        let found = match name.as_ref().filter(|_| allowed) {
            Some(name) => self.parts.reads.draft(&caller, name).await?,
            None => None,
        };
        let found = found.as_ref().and_then(Draft::content).cloned();
        let signature = jws.map(|jws| wire::ReferralSignature { jws, occurred_at: None });
        let content = found.as_deref().map(write_content).unwrap_or_default();
        let content = wire::ReferralDraft { signature, ..content };
        let agency = name.as_ref().map(|name| name.agency.as_str()).unwrap_or_default();
        let digests = digests(self.parts.reads.as_ref(), &caller, agency, [&content]).await?;
        let signed = read_signature(&mut violations, "signature.jws", agency, &content, &digests, self.clock.now());
        let (name, etag) = violations.finish(name.zip(etag))?;
        may_authorise(&caller, &name)?;
        let approver = caller.member().to_owned();
        let key = self.settings.matching_key;
        let act = Authorise { name: name.clone(), etag, approver, found, signed: signed.map(Box::new), key };
        let outcome = self.submit(&caller, guard, Some(Command::AuthoriseDraft(Box::new(act)))).await?;
        let draft = self.left(&caller, &name, &outcome).await?;
        let referral = self.became(&caller, &draft, &outcome).await?;
        let duplicate = matches!(draft.standing, DraftStanding::Discarded { duplicate_of: Some(_), .. });
        Ok(wire::AuthoriseDraftResponse {
            draft: Some(write_draft(&draft)),
            referral,
            duplicate,
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn draft_discarded(&self, request: Request<wire::DiscardDraftRequest>) -> Result<wire::DiscardDraftResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<DraftName>());
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let name = violations.finish(name)?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("DiscardDraft", &request_id, &message);
        let command = Command::DiscardDraft { name: name.clone(), etag };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::DiscardDraftResponse {
            draft: Some(write_draft(&self.left(&caller, &name, &outcome).await?)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn draft(&self, request: Request<wire::GetDraftRequest>) -> Result<wire::GetDraftResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<DraftName>());
        let name = violations.finish(name)?;
        is_own(asking.caller(), &name.agency)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let found = self.parts.reads.draft(asking.caller(), &name).await?.ok_or_else(|| no_draft(&name))?;
        asking.rows([(found.name.agency.as_str(), found.name.id)]).await?;
        Ok(wire::GetDraftResponse { draft: Some(write_draft(&found)), revisions })
    }

    async fn drafts(&self, request: Request<wire::ListDraftsRequest>) -> Result<wire::ListDraftsResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_owner(&message.parent, OrganisationKind::Agency));
        let agency = violations.finish(agency)?;
        is_own(asking.caller(), agency)?;
        let state = message.state;
        let content = wire::ListDraftsRequest { parent: message.parent.clone(), state, ..Default::default() };
        let query = filter_hash("ListDrafts", &message.parent, &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.drafts(asking.caller(), agency, state, after, None, limit).await?;
        let rows = found.iter().map(|draft| (position_key(draft.created), write_draft(draft)));
        let (drafts, next_page_token) = fit(query, found.len() == limit, rows);
        asking.rows(found.iter().take(drafts.len()).map(|draft| (draft.name.agency.as_str(), draft.name.id))).await?;
        Ok(wire::ListDraftsResponse { next_page_token, drafts, revisions })
    }

    /// The referral that a draft became by a command; as it is, if it was referred meanwhile or had been sent already. None while
    /// it is not sent.
    pub(super) async fn became(
        &self,
        caller: &Principal,
        draft: &Draft,
        outcome: &Outcome<Event>,
    ) -> Result<Option<wire::Referral>> {
        let created = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::Created(referral) => Some(write_referral(referral)),
            _ => None,
        });
        match (created, &draft.standing) {
            (Some(referral), _) => Ok(Some(wire::Referral { authorisation: write_authorisation(draft), ..referral })),
            (None, DraftStanding::Discarded { duplicate_of: Some(known), .. }) => {
                self.own_referral(caller, known).await
            }
            (None, _) => self.own_referral(caller, &draft.name.referral()).await,
        }
    }

    /// The draft as a command left it, from the event alone; as it is, if there was nothing to do.
    pub(super) async fn left(&self, caller: &Principal, name: &DraftName, outcome: &Outcome<Event>) -> Result<Draft> {
        if let Some(draft) = changed(outcome) {
            return Ok(draft);
        }
        self.parts.reads.draft(caller, name).await?.ok_or_else(|| no_draft(name))
    }

    /// An own referral as it is, with who answers for it.
    pub(super) async fn own_referral(&self, caller: &Principal, name: &ReferralName) -> Result<Option<wire::Referral>> {
        let reader = Reader::own(caller.clone());
        let found = self.parts.reads.referral(&reader, name).await?;
        let Some((found, view)) = found else { return Ok(None) };
        let mut shown = [show_referral(&found, view, reader.scope())];
        add_authorisations(self.parts.reads.as_ref(), caller, &mut shown).await?;
        Ok(shown.into_iter().next())
    }
}

/// Tells the members of an agency who answers for its referrals that went out as drafts.
pub(super) async fn add_authorisations(
    reads: &dyn Reads,
    reader: &Principal,
    referrals: &mut [wire::Referral],
) -> Result<()> {
    if reader.kind() != OrganisationKind::Agency {
        return Ok(());
    }
    let own = reader.organisation().to_string();
    let id = |referral: &wire::Referral| referral.name.parse::<ReferralName>().ok().map(|name| name.id);
    let ids = referrals.iter().filter(|referral| referral.agency == own).filter_map(id).collect::<Vec<_>>();
    if ids.is_empty() {
        return Ok(());
    }
    let drafts = reads.drafts_of(reader, &ids).await?;
    let drafts = drafts.iter().map(|draft| (draft.name.referral().to_string(), draft)).collect::<HashMap<_, _>>();
    for referral in referrals {
        referral.authorisation = drafts.get(&referral.name).and_then(|draft| write_authorisation(draft));
    }
    Ok(())
}

fn may_write(caller: &Principal, name: &DraftName) -> Result<()> {
    caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
    caller.require_named()
}

fn may_authorise(caller: &Principal, name: &DraftName) -> Result<()> {
    caller.require_as(Role::Approver, OrganisationKind::Agency, &name.agency)?;
    caller.require_named()
}

/// What is to be referred. Wrong fields are noted under `referral`.
fn read_content(
    violations: &mut Violations,
    name: &DraftName,
    content: wire::ReferralDraft,
    now: Timestamp,
) -> Option<Arc<Said>> {
    if content.occurred_at.is_some() {
        violations.add("referral.occurred_at", "must be unset: a draft occurs when it is authorised");
    }
    if content.signature.is_some() {
        violations.add("referral.signature", "must be unset: whoever authorises a draft signs it");
    }
    let content = wire::ReferralDraft { occurred_at: None, signature: None, ..content };
    read_draft(violations, "referral", &name.agency, name.id, content, &Digests::new(), now).map(|read| read.said)
}

/// The draft as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<Draft> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::DraftChanged(draft) => Some(Draft { updated: recorded.position, ..(**draft).clone() }),
        _ => None,
    })
}
