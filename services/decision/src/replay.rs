//! Marks candidates for replay when a version of a clause comes into force or ends: by the clock and the catalogue alone, with
//! nobody asking.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use portreeve_core::id::Uuid;
use portreeve_core::name::ClauseName;
use portreeve_core::{Clock, Principal, Result, Timestamp, limits};
use portreeve_storage::{Envelope, Guard, Parts};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::policy::{last_change, next_change};
use crate::domain::replay::ended;
use crate::domain::{Citation, Command, Ledger};
use crate::store::{Reads, SERVICE};

/// For each version of a clause, the one in force that ends its permission; 0 for none.
type Endings = BTreeMap<u32, u32>;

pub(crate) struct Sweeper {
    pub(crate) parts: Parts<Ledger, dyn Reads>,
    pub(crate) clock: Arc<dyn Clock>,
    /// By what every case that rests on a clause was marked when nothing was left to do. A decision that is recorded later
    /// carries its mark from the beginning, so that there is nothing to look for until something else is in force.
    pub(crate) settled: HashMap<ClauseName, Endings>,
}

impl Sweeper {
    /// Marks whatever has become a candidate, and takes the mark off what has ceased to be one. Gives how many that were, and
    /// when time alone next changes what is in force.
    ///
    /// A replica that does the same at the same time finds nothing left to do: what is marked is decided in the commit.
    async fn sweep(&mut self) -> Result<(usize, Option<Timestamp>)> {
        let now = self.clock.now();
        let versions = self.parts.reads.clauses_ending_permissions().await?;
        let (mut moved, mut next) = (0, None::<Timestamp>);
        for versions in versions.chunk_by(|one, other| one.citation.clause == other.citation.clause) {
            let Some(Citation { clause, .. }) = versions.first().map(|first| &first.citation) else { continue };
            next = next.into_iter().chain(next_change(versions, now)).min();
            let under = |version| ended(versions, version, now).map_or(0, |replay| replay.under.version);
            let endings = versions.iter().map(|of| (of.citation.version, under(of.citation.version))).collect();
            if self.settled.get(clause) == Some(&endings) {
                continue;
            }
            // A replica whose clock is behind decides a little longer by what was in force before.
            let certain = last_change(versions, now).map(|at| at.plus_micros(limits::CLOCK_SKEW_MICROS));
            let mut settled = certain.is_none_or(|at| at <= now);
            next = next.into_iter().chain(certain.filter(|at| *at > now)).min();
            // What was decided before now and is still being committed is there once this comes back.
            self.mark(clause, Vec::new()).await?;
            for (version, under) in &endings {
                let permitting = Citation { clause: clause.clone(), version: *version };
                loop {
                    let cases = self.parts.reads.to_replay(&permitting, *under, limits::SWEEP_READ_MAX).await?;
                    if cases.is_empty() {
                        break;
                    }
                    let mut marked = 0;
                    for some in cases.chunks(limits::SWEEP_CASES_MAX) {
                        marked += self.mark(clause, some.to_vec()).await?;
                    }
                    moved += marked;
                    if marked == 0 {
                        // All of them have moved on meanwhile: the next sweep looks again.
                        settled = false;
                        break;
                    }
                }
            }
            if settled {
                self.settled.insert(clause.clone(), endings);
            }
        }
        Ok((moved, next))
    }

    async fn mark(&self, clause: &ClauseName, cases: Vec<Uuid>) -> Result<usize> {
        let command = Command::Replay { clause: clause.clone(), cases };
        let principal = Principal::service(SERVICE)?;
        let outcome = self.parts.writer.submit(Envelope { principal, guard: Guard::None, command }).await?;
        Ok(outcome.events.len())
    }

    /// Sweeps when a version comes into force or ends, when one was `added`, and now and then, until it is told to stop.
    pub(crate) async fn run(mut self, every: Duration, added: Arc<Notify>, stop: CancellationToken) {
        loop {
            // Given up in the middle, it has marked what it has; the next life goes on from there.
            let swept = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                swept = self.sweep() => swept,
            };
            let wait = match swept {
                Ok((moved, next)) => {
                    if moved > 0 {
                        tracing::info!(cases = moved, "candidates for replay changed with the clauses in force");
                    }
                    let left = next.map(|at| at.micros().saturating_sub(self.clock.now().micros()));
                    left.map_or(every, |left| every.min(Duration::from_micros(u64::try_from(left).unwrap_or_default())))
                }
                // The next one tries again.
                Err(error) => {
                    tracing::warn!(%error, "candidates for replay could not be marked");
                    every
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = added.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
