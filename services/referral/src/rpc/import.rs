//! `ImportReferrals`: many referrals over one stream, a result for each, in order.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use portreeve_api::referral::v1 as wire;
use portreeve_core::interest::MatchingKey;
use portreeve_core::name::{OrganisationKind, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::token::Revision;
use portreeve_core::{Clock, Error, IdSource, Principal, Reason, Result, Violations, limits};
use portreeve_runtime::status::status;
use portreeve_runtime::wire::{check_backdating, guard, item_status, principal, violations};
use portreeve_storage::{Envelope, Outcome, Writer};
use tonic::{Request, Status, Streaming};
use wire::import_result;

use super::Rpc;
use super::convert::{read_draft, refuse_classified, take_jws, with_jws};
use super::evidence::convert::Digests;
use super::evidence::digests;
use crate::domain::ledger::DraftField;
use crate::domain::{Command, Event, Ledger};
use crate::store::Reads;

/// Messages of one stream that are under way at once: while one is committed the next is read and checked.
const MESSAGES_UNDER_WAY: usize = 16;

type Replies = Pin<Box<dyn Stream<Item = Result<wire::ImportReferralsResponse, Status>> + Send>>;

/// What every message of one stream needs.
#[derive(Clone)]
struct Import {
    writer: Writer<Ledger>,
    reads: Arc<dyn Reads>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    caller: Principal,
    backdating_days_max: u32,
    matching_key: Option<MatchingKey>,
}

/// A message with what the ones before it have settled.
struct Numbered {
    message: wire::ImportReferralsRequest,
    agency: String,
    first: u64,
}

impl Rpc {
    pub(super) fn import(&self, request: Request<Streaming<wire::ImportReferralsRequest>>) -> Result<Replies> {
        let import = Import {
            writer: self.parts.writer.clone(),
            reads: Arc::clone(&self.parts.reads),
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
            caller: principal(&request)?,
            backdating_days_max: self.settings.backdating_days_max,
            matching_key: self.settings.matching_key,
        };
        let incoming = (request.into_inner(), None::<String>, 0, import.clone());
        let numbered = stream::unfold(Some(incoming), |state| async move {
            let (mut messages, agency, first, import) = state?;
            match messages.next().await? {
                Err(status) => Some((Err(status), None)),
                Ok(message) => match import.number(message, agency, first) {
                    Err(error) => Some((Err(status(&error)), None)),
                    Ok(numbered) => {
                        let next = first + numbered.message.items.len() as u64;
                        let agency = Some(numbered.agency.clone());
                        Some((Ok(numbered), Some((messages, agency, next, import))))
                    }
                },
            }
        });
        let replies = numbered.map(move |numbered| {
            let import = import.clone();
            async move { import.take(numbered?).await.map_err(|error| status(&error)) }
        });
        // Ordered: answers leave in the order in which the messages came. After the first error nothing more is taken.
        let replies = replies.buffered(MESSAGES_UNDER_WAY).scan((false, 0, String::new()), |state, mut reply| {
            let (ended, position, revision) = state;
            let last = std::mem::replace(ended, *ended || reply.is_err());
            if let Ok(reply) = &mut reply {
                // All results so far, and not this message's alone: those may be refusals, or repeat what is long there.
                match Revision::decode(&reply.revision) {
                    Ok(newest) if newest.position >= *position => {
                        (*position, *revision) = (newest.position, reply.revision.clone());
                    }
                    _ => reply.revision.clone_from(revision),
                }
            }
            std::future::ready((!last).then_some(reply))
        });
        Ok(Box::pin(replies))
    }
}

impl Import {
    /// Settles whose import it is (the first message tells) and the number of the message's first item.
    fn number(&self, message: wire::ImportReferralsRequest, agency: Option<String>, first: u64) -> Result<Numbered> {
        let mut violations = Violations::new();
        if message.items.len() > limits::IMPORT_ITEMS_MAX {
            violations.add("items", format!("must hold at most {} items", limits::IMPORT_ITEMS_MAX));
        }
        let named = match message.parent.as_str() {
            "" => None,
            parent => violations.check("parent", parse_owner(parent, OrganisationKind::Agency)),
        };
        let agency = match (agency, named) {
            (Some(agency), Some(named)) if agency != named => {
                violations.add("parent", "must be the same in every message of an import");
                None
            }
            (Some(agency), _) => Some(agency),
            (None, Some(named)) => Some(named.to_owned()),
            (None, None) => {
                violations.add("parent", "must be set in the first message of an import");
                None
            }
        };
        let agency = violations.finish(agency)?;
        if !self.caller.has(Role::Import)
            || self.caller.kind() != OrganisationKind::Agency
            || self.caller.id() != agency
        {
            self.caller.require_as(Role::Officer, OrganisationKind::Agency, &agency)?;
        }
        Ok(Numbered { message, agency, first })
    }

    async fn take(&self, numbered: Numbered) -> Result<wire::ImportReferralsResponse> {
        let Numbered { mut message, agency, first } = numbered;
        let mut envelopes = Vec::with_capacity(message.items.len());
        let mut refused = Vec::with_capacity(message.items.len());
        let drafts = message.items.iter().filter_map(|item| item.draft.as_ref());
        let digests = digests(self.reads.as_ref(), &self.caller, &agency, drafts).await?;
        for item in &mut message.items {
            match self.read(&agency, item, &digests) {
                Ok(envelope) => {
                    envelopes.push(envelope);
                    refused.push(None);
                }
                Err(error) => refused.push(Some(error)),
            }
        }
        let mut outcomes = self.writer.submit_all(envelopes).await?.into_iter();
        let mut newest: Option<Outcome<Event>> = None;
        let mut results = Vec::with_capacity(message.items.len());
        for ((index, item), refused) in (first..).zip(message.items).zip(refused) {
            let outcome = match refused {
                Some(error) => Err(error),
                None => outcomes.next().unwrap_or_else(|| Err(Error::internal("the writer gave too few results"))),
            };
            // Whether it happened is unknown: the stream breaks off, and the client repeats what has no result.
            if let Err(error) = &outcome
                && matches!(error.reason(), Reason::StorageUnavailable | Reason::ServerDraining)
            {
                return Err(error.clone());
            }
            let result = match outcome {
                Ok(outcome) => {
                    let (name, held) = match outcome.events.first().map(|recorded| &recorded.event) {
                        Some(Event::Created(referral)) => (referral.name.to_string(), false),
                        Some(Event::DraftChanged(draft)) => (draft.name.referral().to_string(), true),
                        _ => (String::new(), false),
                    };
                    let replayed = outcome.replayed;
                    if newest.as_ref().is_none_or(|newest| newest.position < outcome.position) {
                        newest = Some(outcome);
                    }
                    import_result::Result::Imported(wire::ImportedReferral { name, replayed, held })
                }
                Err(error) => import_result::Result::Error(item_status(&error)),
            };
            results.push(wire::ImportResult { index, request_id: item.request_id, result: Some(result) });
        }
        let revision = newest.as_ref().map(Rpc::revision).unwrap_or_default();
        Ok(wire::ImportReferralsResponse { results, revision })
    }

    fn read(&self, agency: &str, item: &mut wire::ImportItem, digests: &Digests) -> Result<Envelope<Command>> {
        refuse_classified(&item.draft)?;
        let now = self.clock.now();
        let mut violations = violations(&*item);
        let mut draft = item.draft.take();
        let jws = draft.as_mut().and_then(take_jws);
        // The agency need not be hashed: a request id belongs to the organisation that sent it.
        let guard = draft.as_ref().and_then(|draft| guard("ImportReferrals", &item.request_id, draft));
        let draft = draft.map(|draft| with_jws(draft, jws));
        let read = draft
            .and_then(|draft| read_draft(&mut violations, "draft", agency, self.ids.uuid(now), draft, digests, now));
        let read = violations.finish(read)?;
        let in_time = check_backdating(&self.caller, read.occurred_at, now, self.backdating_days_max);
        let guard = guard.ok_or_else(|| Error::internal("a request id passed its check but cannot be read"))?;
        let guard = guard.unless_too_late(in_time);
        let (member, history) = (self.caller.member().to_owned(), self.caller.has(Role::Import));
        let (field, key) = (DraftField::Draft, self.matching_key);
        let command = Command::Create { drafts: vec![read], field, member, history, key };
        Ok(Envelope { principal: self.caller.clone(), guard, command })
    }
}
