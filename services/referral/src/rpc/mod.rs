//! The service's RPCs: between the wire and the ledger, and nothing else.

pub mod address_rules;
mod agreements;
pub mod authorisation;
pub mod convert;
pub mod drafts;
pub mod evidence;
mod feed;
mod import;
pub mod interests;
mod legal_bases;
pub mod links;
pub mod measures;
mod non_disclosure;
pub mod observations;
pub mod operations;
pub mod order;
mod organisations;
pub mod pre_notices;
pub mod priority;
pub mod protected_context;
mod referrals;
mod retention;
pub mod review_flags;
mod signing;
pub mod target;

use std::sync::Arc;

use portreeve_consultation::Access;
use portreeve_core::access::Reader;
use portreeve_core::name::{OrganisationKind, parse_owner};
use portreeve_core::{Clock, IdSource, Principal, Result};
use portreeve_core::{Error, limits, token};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::barrier;
use portreeve_storage::{Envelope, Guard, Objects, Outcome, Parts};
use prost::Message;

use crate::Settings;
use crate::domain::{Command, Event, Ledger};
use crate::store::{Reads, SERVICE};

/// The servers of the service: one type for all of them.
pub struct Rpc {
    pub(crate) parts: Parts<Ledger, dyn Reads>,
    pub(crate) access: Arc<Access>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) objects: Option<Objects>,
    pub(crate) uploads: evidence::Uploads,
}

impl Rpc {
    /// Submits a command under its request's guard.
    async fn submit(
        &self,
        principal: &Principal,
        guard: Option<Guard>,
        command: Option<Command>,
    ) -> Result<Outcome<Event>> {
        let (Some(guard), Some(command)) = (guard, command) else {
            return Err(Error::internal("a request passed its checks but could not be read"));
        };
        self.parts.writer.submit(Envelope { principal: principal.clone(), guard, command }).await
    }

    /// Waits until the service reflects what the caller has seen; gives the revisions that it reflects.
    async fn caught_up(&self, at_least: &[String]) -> Result<Vec<String>> {
        barrier::caught_up(self.parts.log.as_ref(), &[], at_least).await
    }

    /// Who asks, with what is shared with them now.
    async fn reader(&self, asker: &Asker) -> Result<Arc<Reader>> {
        let concerning = |own: String| async move { self.parts.reads.agreements_concerning(&own).await };
        asker.reader(concerning, self.clock.now()).await
    }

    /// Refuses what was read under an agreement that has ended meanwhile.
    async fn still(&self, asker: &Asker, reader: &Reader) -> Result<()> {
        if reader.shares().is_empty() { Ok(()) } else { self.reader(asker).await?.still(reader) }
    }

    fn revision(outcome: &Outcome<Event>) -> String {
        portreeve_runtime::wire::revision(SERVICE, outcome)
    }
}

/// The agency whose resource a name is that ends so.
fn agency_of(name: &str, end: &str) -> Option<String> {
    let owner = name.strip_suffix(end)?.strip_suffix('/')?;
    parse_owner(owner, OrganisationKind::Agency).ok().map(str::to_owned)
}

/// Refuses everybody but the agency's own, before anything is looked for.
fn is_own(caller: &Principal, agency: &str) -> Result<()> {
    let own = caller.kind() == OrganisationKind::Agency && caller.id() == agency;
    if own { Ok(()) } else { Err(caller.denied()) }
}

/// Refuses who may not know what an agency has set for its own referrals: itself, and those who watch or run the exchange, may.
fn may_read_policy(caller: &Principal, agency: &str) -> Result<()> {
    let may = match caller.kind() {
        OrganisationKind::Agency => caller.id() == agency,
        OrganisationKind::Oversight | OrganisationKind::Operator | OrganisationKind::Service => true,
        OrganisationKind::Platform | OrganisationKind::Researcher => false,
    };
    if may { Ok(()) } else { Err(caller.denied()) }
}

/// Whose rows the caller gets who asks for those about an agency, or for every one that it may see: of one agency, or of
/// all (`None`). Refuses who is neither that agency nor oversight, before anything is looked for.
fn of_agency_or_all(caller: &Principal, agency: Option<&str>) -> Result<Option<String>> {
    match caller.kind() {
        OrganisationKind::Agency if agency.is_none_or(|agency| agency == caller.id()) => {
            Ok(Some(caller.id().to_owned()))
        }
        OrganisationKind::Oversight | OrganisationKind::Service => Ok(agency.map(str::to_owned)),
        _ => Err(caller.denied()),
    }
}

/// As many rows as an answer carries, one at least, each with its key; and the token of the next page, if there may be one.
fn fit<T: Message>(query: u64, full: bool, rows: impl Iterator<Item = (Vec<u8>, T)>) -> (Vec<T>, String) {
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    for (key, item) in rows {
        bytes += item.encoded_len();
        if bytes > limits::REPLY_BYTES_MAX / 2 && !items.is_empty() {
            return (items, next_page(query, true, last));
        }
        items.push(item);
        last = Some(key);
    }
    (items, next_page(query, full, last))
}

/// The token of the next page, if the last one was full.
fn next_page(query: u64, full: bool, last: Option<Vec<u8>>) -> String {
    match last.filter(|_| full) {
        Some(after) => token::Page { query, after }.encode(),
        None => String::new(),
    }
}
