//! `PreNoticeService`.

pub mod convert;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, PreNoticeName, parse_owner};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::{Error, Result};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    check_backdating, guard, must_say, page_size, position_key, principal, read_position, told_time, violations,
};
use tonic::{Request, Response, Status};
use wire::pre_notice_service_server::PreNoticeService;

use super::{Rpc, fit};
use crate::domain::{Command, Event, PreNotice};
use convert::write_pre_notice;

#[tonic::async_trait]
impl PreNoticeService for Rpc {
    async fn give_pre_notice(
        &self,
        request: Request<wire::GivePreNoticeRequest>,
    ) -> Result<Response<wire::GivePreNoticeResponse>, Status> {
        self.give(request).await.map(Response::new).or_status()
    }

    async fn list_pre_notices(
        &self,
        request: Request<wire::ListPreNoticesRequest>,
    ) -> Result<Response<wire::ListPreNoticesResponse>, Status> {
        self.pre_notices(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn give(&self, request: Request<wire::GivePreNoticeRequest>) -> Result<wire::GivePreNoticeResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        // What is wrong with either name was noted by the contract's rules, which say the same.
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).ok().map(str::to_owned);
        let draft = message.pre_notice.clone().unwrap_or_default();
        let platform = parse_owner(&draft.platform, OrganisationKind::Platform).ok().map(str::to_owned);
        must_say(&mut violations, "pre_notice.contact", &draft.contact);
        must_say(&mut violations, "pre_notice.procedures", &draft.procedures);
        let told = told_time(&mut violations, "pre_notice.given_at", draft.given_at.as_ref(), now);
        let (agency, platform) = violations.finish(agency.zip(platform))?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &agency)?;
        // The order waits for it: only who may tell history says that it was given before.
        let in_time = check_backdating(&caller, told, now, 0);
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("GivePreNotice", &request_id, &message).map(|guard| guard.unless_too_late(in_time));
        let notice = PreNotice {
            name: PreNoticeName { agency, id: self.ids.uuid(now) },
            platform,
            contact: draft.contact,
            procedures: draft.procedures,
            given_at: told.unwrap_or(now),
            recorded_at: now,
            created: 0,
        };
        let outcome = self.submit(&caller, guard, Some(Command::GivePreNotice(Box::new(notice)))).await?;
        let given = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::PreNoticeGiven(notice) => Some(write_pre_notice(notice)),
            _ => None,
        });
        Ok(wire::GivePreNoticeResponse {
            pre_notice: Some(given.ok_or_else(|| Error::internal("a command caused no event"))?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn pre_notices(&self, request: Request<wire::ListPreNoticesRequest>) -> Result<wire::ListPreNoticesResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let asked = parse_owner(&message.parent, OrganisationKind::Agency).ok().map(str::to_owned);
        let (agency, platform) = match asking.caller().scope() {
            Scope::All => (asked, None),
            Scope::Agency(own) if asked.as_ref().is_none_or(|asked| *asked == own) => (Some(own), None),
            Scope::Platform(own) => (asked, Some(own)),
            Scope::Agency(_) | Scope::Nothing => return Err(asking.caller().denied()),
        };
        let content = wire::ListPreNoticesRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListPreNotices", &asking.caller().organisation().to_string(), &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let (agency, platform) = (agency.as_deref(), platform.as_deref());
        let found = self.parts.reads.pre_notices(asking.caller(), agency, platform, after, None, limit).await?;
        let rows = found.iter().map(|notice| (position_key(notice.created), write_pre_notice(notice)));
        let (pre_notices, next_page_token) = fit(query, found.len() == limit, rows);
        let shown = found.iter().take(pre_notices.len());
        asking.rows(shown.map(|notice| (notice.name.agency.as_str(), notice.name.id))).await?;
        Ok(wire::ListPreNoticesResponse { next_page_token, pre_notices, revisions })
    }
}
