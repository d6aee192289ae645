//! `ClockService`.

pub mod convert;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use portreeve_api::common::v1::{Progress, WatchStart};
use portreeve_api::decision::v1 as wire;
use portreeve_core::name::{OrganisationKind, parse_parent};
use portreeve_core::principal::Role;
use portreeve_core::token::Page;
use portreeve_core::{Principal, Result, Violations, token};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::{self, Start, filter_hash};
use portreeve_runtime::wire::{guard, optional_time, page_size, principal, read_position, read_span, violations};
use tonic::{Request, Response, Status};
use wire::clock_service_server::ClockService;

use super::convert::agency;
use super::feed::{ClockFeed, agency_of_clock};
use super::{Replies, Rpc, only};
use crate::domain::{Clock, ClockKind, ClockState, Command, Event};
use crate::store::{ClockFilter, SERVICE, Stretch, may_read};
use convert::{write_clock, write_times};

#[tonic::async_trait]
impl ClockService for Rpc {
    type WatchClocksStream = Replies<wire::WatchClocksResponse>;

    async fn list_clocks(
        &self,
        request: Request<wire::ListClocksRequest>,
    ) -> Result<Response<wire::ListClocksResponse>, Status> {
        self.list_of_clocks(request).await.map(Response::new).or_status()
    }

    async fn watch_clocks(
        &self,
        request: Request<wire::WatchClocksRequest>,
    ) -> Result<Response<Self::WatchClocksStream>, Status> {
        self.watch_of_clocks(request).await.map(Response::new).or_status()
    }

    async fn list_clock_changes(
        &self,
        request: Request<wire::ListClockChangesRequest>,
    ) -> Result<Response<wire::ListClockChangesResponse>, Status> {
        self.list_of_clock_changes(request).await.map(Response::new).or_status()
    }

    async fn set_response_times(
        &self,
        request: Request<wire::SetResponseTimesRequest>,
    ) -> Result<Response<wire::SetResponseTimesResponse>, Status> {
        self.say_response_times(request).await.map(Response::new).or_status()
    }

    async fn get_response_times(
        &self,
        request: Request<wire::GetResponseTimesRequest>,
    ) -> Result<Response<wire::GetResponseTimesResponse>, Status> {
        self.said_response_times(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn list_of_clocks(&self, request: Request<wire::ListClocksRequest>) -> Result<wire::ListClocksResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        let selected = Selected::read("ListClocks", asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let after = read_position(Page::decode(&message.page_token, selected.hash)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let reader = self.reader(&asker).await?;
        // A case has a few clocks, and a page holds whole cases; it may hold a little more than was asked for.
        let stretch = Stretch { after, limit, unchanged_since: None };
        let found = self.parts.reads.clocked(&reader, &selected.filter, stretch).await?;
        self.still(&asker, &reader).await?;
        let (mut clocks, mut shown, mut last) = (Vec::new(), Vec::new(), None);
        for record in found.iter().map(|shown| &shown.record) {
            let name = record.case.name();
            let open = record.case.clocks().into_iter().filter(Clock::is_open);
            clocks.extend(open.filter(|clock| selected.filter.selects(clock)).map(|clock| write_clock(&name, &clock)));
            shown.push(&record.case.referred.name);
            last = Some(record.opened);
            if clocks.len() >= limit {
                break;
            }
        }
        let more = found.len() == limit || shown.len() < found.len();
        let next = last.filter(|_| more).map(|last| {
            let after = portreeve_runtime::wire::position_key(last);
            token::Page { query: selected.hash, after }.encode()
        });
        asking.rows(shown.into_iter().map(|referral| (referral.agency.as_str(), referral.id))).await?;
        Ok(wire::ListClocksResponse { clocks, next_page_token: next.unwrap_or_default(), revisions })
    }

    async fn watch_of_clocks(
        &self,
        request: Request<wire::WatchClocksRequest>,
    ) -> Result<Replies<wire::WatchClocksResponse>> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        let selected =
            Selected::read("WatchClocks", asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let start = Start::read(message.start.as_ref())?;
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = self.clock_feed(asker, selected.filter);
        let batches = watch::open(log, feed, selected.hash, start, self.settings.watch.clone()).await?;
        let batches = asking.stream(SERVICE, batches, agency_of_clock);
        Ok(Box::pin(batches.map(|batch| {
            batch.map(|batch| wire::WatchClocksResponse {
                changes: batch.changes,
                resume_token: batch.resume_token,
                checkpoint: batch.checkpoint,
                progress: Some(Progress { revisions: batch.revisions }),
                snapshot_complete: batch.snapshot_complete,
            })
        })))
    }

    async fn list_of_clock_changes(
        &self,
        request: Request<wire::ListClockChangesRequest>,
    ) -> Result<wire::ListClockChangesResponse> {
        use portreeve_api::common::v1::watch_start::Start as Wire;
        use wire::list_clock_changes_request::Start as From;
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let read = violations(&message);
        // The twin shares its tokens with the stream.
        let selected =
            Selected::read("WatchClocks", asker.principal(), &message.parent, message.filter.as_ref(), read)?;
        let asker = asker.asking(only(&selected.filter.agencies));
        let start = match message.start {
            Some(From::Earliest(chosen)) => Some(Wire::Earliest(chosen)),
            Some(From::ResumeToken(token)) => Some(Wire::ResumeToken(token)),
            None => None,
        };
        let start = Start::read(Some(&WatchStart { start }))?;
        self.caught_up(&message.at_least).await?;
        self.reader(&asker).await?;
        let log = Arc::clone(&self.parts.log);
        let feed = self.clock_feed(asker, selected.filter);
        let batch =
            watch::list(log, feed, selected.hash, start, page_size(message.page_size), self.clock.as_ref()).await?;
        asking.batch(SERVICE, &batch, agency_of_clock).await?;
        Ok(wire::ListClockChangesResponse {
            changes: batch.changes,
            resume_token: batch.resume_token,
            caught_up: batch.caught_up,
            progress: Some(Progress { revisions: batch.revisions }),
        })
    }

    fn clock_feed(&self, asker: Asker, filter: ClockFilter) -> ClockFeed {
        ClockFeed { reads: Arc::clone(&self.parts.reads), asker, filter, epoch: self.epoch }
    }

    async fn say_response_times(
        &self,
        request: Request<wire::SetResponseTimesRequest>,
    ) -> Result<wire::SetResponseTimesResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let mut times = BTreeMap::new();
        for (index, said) in message.times.iter().enumerate() {
            let Some(time) = &said.time else { continue };
            if times.insert(said.nature, read_span(time)).is_some() {
                violations.add(format!("times[{index}].nature"), "must not be there twice");
            }
        }
        let platform = platform_of(&message.name);
        let platform = violations.finish(platform)?.to_owned();
        caller.require_as(Role::PolicyEditor, OrganisationKind::Platform, &platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("SetResponseTimes", &request_id, &message);
        let command =
            Command::SetResponseTimes { platform: platform.clone(), times, expected_version: message.expected_version };
        let outcome = self.submit(&caller, guard, command).await?;
        let made = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::ResponseTimesSet(times) => Some(write_times(times)),
            _ => None,
        });
        let response_times = match made {
            Some(made) => made,
            // It says so already.
            None => self.response_times(&platform).await?,
        };
        Ok(wire::SetResponseTimesResponse {
            response_times: Some(response_times),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn said_response_times(
        &self,
        request: Request<wire::GetResponseTimesRequest>,
    ) -> Result<wire::GetResponseTimesResponse> {
        principal(&request)?;
        let message = request.into_inner();
        let platform = violations(&message).finish(platform_of(&message.name))?.to_owned();
        let revisions = self.caught_up(&message.at_least).await?;
        Ok(wire::GetResponseTimesResponse { response_times: Some(self.response_times(&platform).await?), revisions })
    }

    async fn response_times(&self, platform: &str) -> Result<wire::ResponseTimes> {
        let said = self.parts.reads.response_times(platform).await?;
        let nothing =
            || wire::ResponseTimes { name: format!("platforms/{platform}/responseTimes"), ..Default::default() };
        Ok(said.as_ref().map_or_else(nothing, write_times))
    }
}

/// The platform whose response times a name is of. A wrong one has been noted by the contract's rules.
fn platform_of(name: &str) -> Option<&str> {
    parse_parent(name.strip_suffix("/responseTimes")?, OrganisationKind::Platform).ok().flatten()
}

/// What a list or a stream of clocks selects, and the hash that binds its tokens to it.
struct Selected {
    filter: ClockFilter,
    hash: u64,
}

impl Selected {
    fn read(
        method: &str,
        caller: &Principal,
        parent: &str,
        filter: Option<&wire::ClockFilter>,
        mut violations: Violations,
    ) -> Result<Self> {
        let platform = parse_parent(parent, OrganisationKind::Platform).ok().flatten();
        let mut read = read_filter(&mut violations, filter);
        violations.into_result()?;
        may_read(caller, platform)?;
        let hash = filter_hash(method, parent, &filter.cloned().unwrap_or_default());
        read.platform = platform.map(str::to_owned);
        Ok(Self { filter: read, hash })
    }
}

fn read_filter(violations: &mut Violations, filter: Option<&wire::ClockFilter>) -> ClockFilter {
    let Some(filter) = filter else { return ClockFilter::default() };
    ClockFilter {
        platform: None,
        kinds: filter.kinds.iter().filter_map(|code| ClockKind::from_code(*code)).collect(),
        states: filter.states.iter().filter_map(|code| ClockState::from_code(*code)).collect(),
        agencies: filter.agencies.iter().filter_map(|name| agency(name)).collect(),
        due_before: optional_time(violations, "filter.due_before", filter.due_before.as_ref()),
    }
}
