//! The service's RPCs: between the wire and the cube, and nothing else.

mod asking;
pub mod convert;
mod export;
mod feed;
mod flow;
pub mod follow;
pub(crate) mod grant_convert;
mod grants;
mod measures;
pub(crate) mod publication_convert;
pub(crate) mod publications;
mod recurrence;
mod reports;
mod survival;
pub(crate) mod trail_convert;

use std::sync::Arc;

use portreeve_consultation::Access;
use portreeve_core::token::Revision;
use portreeve_core::{Clock, Date, IdSource, Result};
use portreeve_runtime::barrier;
use portreeve_storage::Parts;

use crate::Settings;
use crate::domain::{Definition, Ledger, Permitted, Report, Source, report};
use crate::store::{Reads, Selected};

/// The logs that the service follows.
const FOLLOWS: [&str; 2] = [Source::Referral.name(), Source::Decision.name()];

/// The servers of `ReportingService`, `GrantService` and `PublicationService`.
pub struct Rpc {
    pub(crate) parts: Parts<Ledger, dyn Reads>,
    pub(crate) access: Arc<Access>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

/// A report with all that is told of it.
pub(crate) struct Computed {
    /// The definition with every default filled in.
    definition: Definition,
    figures: Report,
    revisions: Vec<String>,
    settled: bool,
}

impl Computed {
    /// Figures that were counted from no store, so that they reflect no revision.
    pub(crate) const fn new(definition: Definition, figures: Report) -> Self {
        Self { definition, figures, revisions: Vec::new(), settled: false }
    }
}

/// The report of what was selected.
pub(crate) fn compute(permitted: &Permitted, selected: &Selected, today: Date) -> Computed {
    let asked = permitted.definition();
    let as_of = asked.as_of.unwrap_or(today);
    let (known_at, settled) = knowledge(selected, asked.known_at, today);
    Computed {
        figures: report(asked, as_of, &selected.slices),
        revisions: revisions(&selected.own, &selected.followed),
        settled,
        definition: Definition { as_of: Some(as_of), known_at: Some(known_at), ..asked.clone() },
    }
}

/// The day at whose end the knowledge is looked at, and whether nothing that is recorded later can change what was known then.
fn knowledge<R>(selected: &Selected<R>, asked: Option<Date>, today: Date) -> (Date, bool) {
    // A change may have been recorded on tomorrow's day already, by a service whose clock is ahead of ours.
    let newest = selected.heard.values().copied().fold(today, Date::max);
    let known_at = asked.unwrap_or(newest);
    let heard_past = |source| selected.heard.get(source).is_some_and(|day| *day > known_at);
    // Recorded days never run backwards in a log, so a log that was read past the day has no more to say of it.
    (known_at, known_at < today && Source::ALL.iter().all(heard_past))
}

/// What the cells reflect: the service's own log, and those it follows.
fn revisions(own: &Revision, followed: &[Revision]) -> Vec<String> {
    std::iter::once(own).chain(&barrier::reflected(followed)).map(Revision::encode).collect()
}

impl Rpc {
    /// Waits until the service reflects what the caller has seen; gives the revisions that it reflects.
    async fn caught_up(&self, at_least: &[String]) -> Result<Vec<String>> {
        barrier::caught_up(self.parts.log.as_ref(), &FOLLOWS, at_least).await
    }

    async fn compute(&self, permitted: &Permitted) -> Result<Computed> {
        let selected = self.parts.reads.select(permitted).await?;
        Ok(compute(permitted, &selected, self.clock.now().date()))
    }
}
