//! Whoever asks for a report: by what he may count, or by a grant, of which each report costs a query.

use std::str::FromStr as _;

use std::sync::Arc;

use portreeve_api::reporting::v1 as wire;
use portreeve_consultation::Asking;
use portreeve_core::access::{Count, Reader};
use portreeve_core::consultation::Stretch;
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::{Error, Reason, Result, Timestamp};
use portreeve_runtime::agreements::Asker as Who;
use portreeve_runtime::caller::GRANT;
use portreeve_storage::Guard;
use tonic::Request;

use super::Rpc;
use super::convert::{definition_digest, write_report_under};
use crate::domain::{Command, Definition, Filter, Grant, GrantName, Permitted, partners};
use crate::store::Reads;

/// A call for a report, with what it may count.
pub(super) struct Asker {
    asking: Asking,
    permitted: Permitted,
    who: Who,
    /// What partners shared when it was asked.
    reader: Arc<Reader>,
    /// The grant under which researchers ask.
    grant: Option<Grant>,
}

impl Asker {
    /// What may be counted.
    pub(super) const fn permitted(&self) -> &Permitted {
        &self.permitted
    }
}

/// The grant that a call names.
pub(super) fn named<T>(request: &Request<T>) -> Result<Option<GrantName>> {
    let Some(value) = request.metadata().get(GRANT) else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| GrantName::from_str(text.trim()).ok());
    let wrong = || {
        Error::new(Reason::RequestInvalid, format!("the metadata {GRANT} is wrong"))
            .at(GRANT, "must be a grant's name: grants/{uuid}")
    };
    read.ok_or_else(wrong).map(Some)
}

impl Rpc {
    /// Finds out what the call may count. Refuses what it may not.
    pub(super) async fn may_ask(
        &self,
        asking: Asking,
        who: Who,
        grant: Option<GrantName>,
        definition: Definition,
        at_least: &[String],
    ) -> Result<Asker> {
        // What was agreed is learnt from the log that is waited for.
        self.caught_up(at_least).await?;
        let caller = asking.caller().clone();
        let (reader, joint) = self.reader(&who, &definition, None).await?;
        let Some(name) = grant else {
            let permitted = Permitted::new(&reader, &joint, definition)?;
            return Ok(Asker { asking, permitted, who, reader, grant: None });
        };
        caller.require(Role::Researcher)?;
        let grant = self.parts.reads.grant(&caller, name).await?;
        let permitted = Permitted::under(grant.as_ref(), name, caller.organisation(), definition, self.clock.now())?;
        // The grant is why they read.
        Ok(Asker { asking: asking.under(&name.to_string()), permitted, who, reader, grant })
    }

    /// Who asks, with what partners share of their figures now, and with the agencies whose figures of operations are known to it for having joined.
    pub(super) async fn reader(
        &self,
        who: &Who,
        definition: &Definition,
        relied: Option<&Reader>,
    ) -> Result<(Arc<Reader>, Vec<String>)> {
        reader(self.parts.reads.as_ref(), who, definition, relied, self.clock.now()).await
    }

    /// The report that is to be given.
    pub(super) async fn report_for(&self, asker: &Asker) -> Result<wire::Report> {
        write_report_under(&self.compute(&asker.permitted).await?, asker.grant.as_ref())
    }

    /// Counts the report, if it is given under a grant, and records that it is about to be shown. Only then may it be.
    ///
    /// What was allowed when the call began is asked once more in the commit that counts: however many calls there are, on
    /// whichever replica, no more are given than the grant allows.
    pub(super) async fn give(&self, asker: &Asker, report: &wire::Report) -> Result<()> {
        let Asker { asking, permitted, who, reader, grant } = asker;
        if !reader.shares().is_empty() {
            // An agreement may have ended while the report was made.
            self.reader(who, permitted.definition(), Some(reader)).await?;
        }
        if let Some(grant) = grant {
            let caller = asking.caller();
            let (by, definition) = (caller.organisation().clone(), Box::new(permitted.definition().clone()));
            let command = Command::Count { grant: grant.name, by, definition };
            self.submit(caller, Guard::None, command).await?;
        }
        told(asking, permitted, &definition_digest(report.definition.as_ref()), None).await
    }
}

/// See [`Rpc::reader`].
pub(super) async fn reader(
    reads: &dyn Reads,
    who: &Who,
    definition: &Definition,
    relied: Option<&Reader>,
    now: Timestamp,
) -> Result<(Arc<Reader>, Vec<String>)> {
    let filter = &definition.filter;
    let joint = match who.principal().scope() {
        Scope::Agency(own) if filter.agencies.iter().any(|agency| *agency != own) => {
            partners(&own, filter, &reads.operations(&filter.operations).await?)
        }
        _ => Vec::new(),
    };
    let others = filter.agencies.iter().filter(|agency| !joint.contains(agency)).cloned().collect::<Vec<_>>();
    let count = Count { agencies: &others, ..definition.count() };
    let concerning = |own: String| async move { reads.agreements_concerning(&own).await };
    Ok((who.reader_of_figures(count, relied, concerning, now).await?, joint))
}

/// Records that figures are about to be shown: of whom they are, and by which definition (its digest).
pub(super) async fn told(
    asking: &Asking,
    permitted: &Permitted,
    definition: &str,
    stretch: Option<Stretch>,
) -> Result<()> {
    let Filter { agencies, platforms, .. } = &permitted.definition().filter;
    let (kind, ids) = match agencies.as_slice() {
        [] => (OrganisationKind::Platform, platforms),
        _ => (OrganisationKind::Agency, agencies),
    };
    let owners = ids.iter().filter_map(|id| OrganisationName::new(kind, id).ok()).collect();
    asking.figures(owners, definition, stretch).await
}
