//! What every read path goes through: it asks, reads, tells what it is about to show, and shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{Stream, TryStreamExt as _};
use portreeve_core::consultation::{Policy, Reading, Shown, Stretch, What};
use portreeve_core::id::Uuid;
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::{Error, Principal, Reason, Result};
use portreeve_runtime::reading::{AccessLog, reading};
use portreeve_runtime::status::status;
use portreeve_runtime::watch::Batch;
use portreeve_storage::{Envelope, EventLog, Guard, Parts, Writer};
use tonic::{Request, Status};

use crate::domain::{Entry, Ledger};
use crate::store::Reads;

/// The access log of a service.
pub struct Access {
    parts: Parts<Ledger, dyn Reads>,
    policy: Policy,
}

impl Access {
    pub(crate) fn new(parts: Parts<Ledger, dyn Reads>, policy: Policy) -> Self {
        Self { parts, policy }
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.parts.log
    }

    /// The reads, and what an operator does to the store.
    pub fn reads(&self) -> &Arc<dyn Reads> {
        &self.parts.reads
    }

    /// The writer.
    pub fn writer(&self) -> &Writer<Ledger> {
        &self.parts.writer
    }

    /// Begins a call that reads. Refuses one without a justification where the policy demands it, before anything is read.
    pub fn ask<T>(self: &Arc<Self>, request: &Request<T>) -> Result<Asking> {
        let reading = reading(request)?;
        self.policy.check(&reading)?;
        Ok(Asking { access: Arc::clone(self), reading: Arc::new(reading) })
    }
}

#[async_trait]
impl AccessLog for Access {
    fn check(&self, reading: &Reading) -> Result<()> {
        self.policy.check(reading)
    }

    async fn record(&self, reading: &Reading, shown: Vec<Shown>) -> Result<()> {
        // The suite's own services follow each other; what they pass on is recorded where it is shown.
        if shown.is_empty() || reading.principal.kind() == OrganisationKind::Service {
            return Ok(());
        }
        let command = shown.into_iter().map(|shown| Entry::of(reading, shown)).collect();
        let envelope = Envelope { principal: reading.principal.clone(), guard: Guard::None, command };
        self.parts.writer.submit(envelope).await.map(drop).map_err(|error| match error.reason() {
            Reason::StorageUnavailable => {
                let failed = Error::new(
                    Reason::StorageUnavailable,
                    "the read could not be recorded, so that nothing is shown; repeat it",
                );
                match error.retry_delay() {
                    Some(delay) => failed.retry_after(delay),
                    None => failed,
                }
            }
            _ => error,
        })
    }
}

/// A call that reads. Whoever has what it asks for in hand tells it, by one of these methods, before it goes out.
#[must_use = "what is shown must be recorded first"]
#[derive(Clone)]
pub struct Asking {
    access: Arc<Access>,
    reading: Arc<Reading>,
}

impl Asking {
    /// Who reads.
    pub fn caller(&self) -> &Principal {
        &self.reading.principal
    }

    /// The same call for this purpose, whatever it named itself.
    pub fn under(self, purpose: &str) -> Self {
        let mut reading = (*self.reading).clone();
        purpose.clone_into(&mut reading.statement.purpose);
        Self { reading: Arc::new(reading), ..self }
    }

    /// Rows, each with the agency whose it is.
    pub async fn rows<'a>(&self, rows: impl IntoIterator<Item = (&'a str, Uuid)> + Send) -> Result<()> {
        let mut of = BTreeMap::<&str, Vec<Uuid>>::new();
        for (agency, row) in rows {
            of.entry(agency).or_default().push(row);
        }
        let shown = of.into_iter().map(|(agency, rows)| Ok(Shown { owner: owner(agency)?, what: What::Rows(rows) }));
        self.access.record(&self.reading, shown.collect::<Result<_>>()?).await
    }

    /// A batch of a stream or of its twin: what was examined, and how many of the rows are whose. `agency` gives the
    /// agency's name (`agencies/nca`, or that of something of it) of a change; none if it is public.
    pub async fn batch<C>(&self, log: &str, batch: &Batch<C>, agency: impl Fn(&C) -> Option<&str>) -> Result<()> {
        let mut of = BTreeMap::<&str, i64>::new();
        for name in batch.changes.iter().filter_map(agency) {
            let mut parts = name.split('/');
            let (Some("agencies"), Some(id)) = (parts.next(), parts.next()) else {
                return Err(Error::internal(format!("{name} is no agency's")));
            };
            *of.entry(id).or_default() += 1;
        }
        let (after, through) = batch.examined;
        let shown = of.into_iter().map(|(agency, rows)| {
            let snapshot = after == through;
            let what = What::Stretch(Stretch { log: log.to_owned(), after, through, rows, snapshot });
            Ok(Shown { owner: owner(agency)?, what })
        });
        let shown = shown.collect::<Result<_>>()?;
        self.access.record(&self.reading, shown).await
    }

    /// A stream of which each batch is recorded before it goes out. One that cannot be recorded ends the stream, and is
    /// not shown.
    pub fn stream<C: Send + Sync + 'static>(
        self,
        log: &'static str,
        batches: impl Stream<Item = Result<Batch<C>, Status>> + Send + 'static,
        agency: fn(&C) -> Option<&str>,
    ) -> impl Stream<Item = Result<Batch<C>, Status>> + Send + 'static {
        batches.and_then(move |batch| {
            let asking = self.clone();
            async move {
                asking.batch(log, &batch, agency).await.map_err(|error| status(&error))?;
                Ok(batch)
            }
        })
    }

    /// The figures of a report: of these owners, or of everybody together if none is named.
    pub async fn figures(
        &self,
        owners: Vec<OrganisationName>,
        definition: &str,
        stretch: Option<Stretch>,
    ) -> Result<()> {
        let what = What::Figures { definition: definition.to_owned(), stretch };
        let mut shown: Vec<Shown> =
            owners.into_iter().map(|owner| Shown { owner: Some(owner), what: what.clone() }).collect();
        if shown.is_empty() {
            shown.push(Shown { owner: None, what });
        }
        self.access.record(&self.reading, shown).await
    }

    /// A stretch of a log, of one owner or of everybody.
    pub async fn stretch(&self, owner: Option<OrganisationName>, stretch: Stretch) -> Result<()> {
        self.access.record(&self.reading, vec![Shown { owner, what: What::Stretch(stretch) }]).await
    }
}

fn owner(agency: &str) -> Result<Option<OrganisationName>> {
    let name = OrganisationName::new(OrganisationKind::Agency, agency);
    name.map(Some).map_err(|error| Error::internal(format!("{agency}: {error}")))
}
