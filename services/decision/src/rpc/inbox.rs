//! `InboxService`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use portreeve_api::decision::v1 as wire;
use portreeve_consultation::Asking;
use portreeve_core::access::Reader;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, OrganisationKind, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::{Clock, Error, Principal, Reason, Result, Timestamp, Violations, limits};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::{self, draining};
use portreeve_runtime::wire::{guard, principal, read_span, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::inbox_service_server::InboxService;

use super::cases::case_name;
use super::clocks::convert::write_lease;
use super::convert::show_case;
use super::{Replies, Rpc};
use crate::domain::{Command, Event, Wanted};
use crate::store::{Reads, SERVICE};

const MINUTE: i64 = 60_000_000;

#[tonic::async_trait]
impl InboxService for Rpc {
    type WatchInboxStream = Replies<wire::WatchInboxResponse>;

    async fn watch_inbox(
        &self,
        request: Request<wire::WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        self.watch_of_inbox(request).await.map(Response::new).or_status()
    }

    async fn lease_cases(
        &self,
        request: Request<wire::LeaseCasesRequest>,
    ) -> Result<Response<wire::LeaseCasesResponse>, Status> {
        self.lease(request).await.map(Response::new).or_status()
    }

    async fn release_cases(
        &self,
        request: Request<wire::ReleaseCasesRequest>,
    ) -> Result<Response<wire::ReleaseCasesResponse>, Status> {
        self.release(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn watch_of_inbox(
        &self,
        request: Request<wire::WatchInboxRequest>,
    ) -> Result<Replies<wire::WatchInboxResponse>> {
        let asking = self.access.ask(&request)?;
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let again = message.redeliver_after.as_ref();
        let again = span(&mut violations, "redeliver_after", again, 5 * MINUTE, MINUTE / 6);
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).ok();
        let (platform, redeliver_after) = violations.finish(platform.zip(again))?;
        caller.require_as(Role::Reviewer, OrganisationKind::Platform, platform)?;
        self.caught_up(&message.at_least).await?;
        let most =
            if message.max_outstanding == 0 { limits::INBOX_OUTSTANDING_DEFAULT } else { message.max_outstanding };
        let inbox = Inbox {
            reads: Arc::clone(&self.parts.reads),
            changed: self.parts.log.changed(),
            clock: Arc::clone(&self.clock),
            settings: self.settings.watch.clone(),
            asking,
            platform: platform.to_owned(),
            reader: caller,
            most: usize::try_from(most).unwrap_or(usize::MAX),
            redeliver_after,
            sent: HashMap::new(),
            epoch: self.epoch,
            over: false,
        };
        Ok(Box::pin(stream::unfold(inbox, |mut inbox| async move {
            if inbox.over {
                return None;
            }
            let next = inbox.next().await.or_status();
            inbox.over = next.is_err();
            Some((next, inbox))
        })))
    }

    async fn lease(&self, request: Request<wire::LeaseCasesRequest>) -> Result<wire::LeaseCasesResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).unwrap_or_default().to_owned();
        let names = names(&mut violations, &platform, &message.names);
        if !names.is_empty() && message.count != 0 {
            violations.add("count", "must be 0 where cases are named");
        }
        let time = span(&mut violations, "time", message.time.as_ref(), 30 * MINUTE, MINUTE);
        let time = violations.finish(time)?;
        let holder = reviewer(&caller, &platform)?;
        let wanted = if names.is_empty() {
            let count = usize::try_from(message.count.max(1)).unwrap_or(usize::MAX);
            // More than are wanted, for others take some at the same time.
            let more = limits::INBOX_CANDIDATES_MORE;
            let queue = self.parts.reads.queue(&platform, self.clock.now(), count * 2 + more).await?;
            Wanted::FirstOf(queue, count)
        } else {
            Wanted::These(names)
        };
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("LeaseCases", &request_id, &message);
        let outcome = self.submit(&caller, guard, Command::Lease { wanted, holder, time }).await?;
        let cases = changed(&outcome).map(|case| wire::LeasedCase {
            name: case.name().to_string(),
            lease: case.lease.as_ref().map(write_lease),
        });
        Ok(wire::LeaseCasesResponse {
            cases: cases.collect(),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn release(&self, request: Request<wire::ReleaseCasesRequest>) -> Result<wire::ReleaseCasesResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let platform = parse_owner(&message.parent, OrganisationKind::Platform).unwrap_or_default().to_owned();
        let cases = names(&mut violations, &platform, &message.names);
        violations.into_result()?;
        let holder = reviewer(&caller, &platform)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("ReleaseCases", &request_id, &message);
        let outcome = self.submit(&caller, guard, Command::Release { cases, holder }).await?;
        Ok(wire::ReleaseCasesResponse {
            names: changed(&outcome).map(|case| case.name().to_string()).collect(),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }
}

/// The member who reviews, who must be named: a lease is somebody's.
fn reviewer(caller: &Principal, platform: &str) -> Result<String> {
    caller.require_as(Role::Reviewer, OrganisationKind::Platform, platform)?;
    if caller.member().is_empty() {
        let organisation = caller.organisation();
        let message = format!("{organisation} must say which of its members takes cases: a lease is somebody's");
        return Err(Error::new(Reason::MemberUnnamed, message).with("organisation", organisation));
    }
    Ok(caller.member().to_owned())
}

fn names(violations: &mut Violations, platform: &str, names: &[String]) -> Vec<CaseName> {
    let mut read = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let field = format!("names[{index}]");
        let name = case_name(violations, &field, name);
        if name.as_ref().is_some_and(|name| name.platform != platform) {
            violations.add(field, format_args!("must be a case of platforms/{platform}"));
        }
        read.extend(name);
    }
    read
}

/// A time up to 24 hours, in microseconds.
fn span(
    violations: &mut Violations,
    field: &str,
    told: Option<&prost_types::Duration>,
    usual: i64,
    least: i64,
) -> Option<i64> {
    let span = told.map_or(usual, read_span);
    if (least..=limits::LEASE_MICROS_MAX).contains(&span) {
        return Some(span);
    }
    violations.add(field, format_args!("must be {} seconds to 24 hours", least / 1_000_000));
    None
}

/// The cases that a command changed.
fn changed(outcome: &Outcome<Event>) -> impl Iterator<Item = &crate::domain::Case> {
    outcome.events.iter().filter_map(|recorded| recorded.event.case_changed()).map(|changed| &*changed.case)
}

/// The stream of what a platform has not acknowledged. What was sent is remembered only while it is outstanding.
struct Inbox {
    reads: Arc<dyn Reads>,
    changed: tokio::sync::watch::Receiver<i64>,
    clock: Arc<dyn Clock>,
    settings: watch::Settings,
    asking: Asking,
    platform: String,
    reader: Principal,
    most: usize,
    redeliver_after: i64,
    /// When each of those that are outstanding was sent last.
    sent: HashMap<Uuid, Timestamp>,
    epoch: portreeve_core::token::Epoch,
    over: bool,
}

impl Inbox {
    /// The next message: cases that were not sent or are to be sent again; none where nothing is after a while.
    async fn next(&mut self) -> Result<wire::WatchInboxResponse> {
        let silence = tokio::time::Instant::now() + self.settings.checkpoint_interval;
        loop {
            if self.settings.drain.is_cancelled() {
                return Err(draining());
            }
            // Seen before it is read: a commit after this wakes the loop again.
            self.changed.borrow_and_update();
            let now = self.clock.now();
            let reader = Reader::own(self.reader.clone());
            let waiting = self.reads.unacknowledged(&reader, &self.platform, self.most).await?;
            let ids = waiting.iter().map(|shown| shown.record.case.referred.name.id);
            let outstanding = ids.collect::<std::collections::HashSet<_>>();
            self.sent.retain(|id, _| outstanding.contains(id));
            let due = |sent: &Timestamp| sent.plus_micros(self.redeliver_after) <= now;
            let next =
                waiting.iter().filter(|shown| self.sent.get(&shown.record.case.referred.name.id).is_none_or(due));
            let mut bytes = 0;
            let mut cases = Vec::new();
            let mut rows = Vec::new();
            for shown in next {
                let name = &shown.record.case.referred.name;
                let revision = portreeve_storage::event::revision(SERVICE, self.epoch, shown.record.updated).encode();
                let case = show_case(shown, &self.reader, revision);
                bytes += prost::Message::encoded_len(&case);
                if bytes > limits::STREAM_BATCH_BYTES_MAX && !cases.is_empty() {
                    break;
                }
                rows.push((name.agency.clone(), name.id));
                cases.push(case);
            }
            let woken = tokio::time::Instant::now() >= silence;
            if !cases.is_empty() || woken {
                self.asking.rows(rows.iter().map(|(agency, id)| (agency.as_str(), *id))).await?;
                self.sent.extend(rows.into_iter().map(|(_, id)| (id, now)));
                return Ok(wire::WatchInboxResponse { cases });
            }
            let again =
                self.sent.values().map(|sent| sent.plus_micros(self.redeliver_after).micros() - now.micros()).min();
            let again = again.map(|left| Duration::from_micros(u64::try_from(left).unwrap_or_default()));
            let wake = again.map_or(silence, |again| silence.min(tokio::time::Instant::now() + again));
            tokio::select! {
                woken = self.changed.changed() => {
                    if woken.is_err() {
                        return Err(draining());
                    }
                    // Most commits bring nothing here: what comes close together is looked at together.
                    tokio::time::sleep(Duration::from_millis(limits::INBOX_PACE_MS)).await;
                }
                () = tokio::time::sleep_until(wake) => {}
                () = self.settings.drain.cancelled() => {}
            }
        }
    }
}
