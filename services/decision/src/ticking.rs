//! Records what the time alone brings to cases: the marks of their clocks, and that nobody answered a question. By the server's clock,
//! with nobody asking.

use std::sync::Arc;
use std::time::Duration;

use portreeve_core::{Clock, Principal, Result, Timestamp, limits};
use portreeve_storage::{Envelope, Guard, Parts};
use tokio_util::sync::CancellationToken;

use crate::domain::{Command, Ledger};
use crate::store::{Reads, SERVICE};

pub(crate) struct Ticker {
    pub(crate) parts: Parts<Ledger, dyn Reads>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Ticker {
    /// Records whatever is due. Gives when something is due next, as far as that is known now.
    ///
    /// A replica that does the same at the same time finds nothing left to do: what is due is decided in the commit.
    async fn tick(&self) -> Result<Option<Timestamp>> {
        loop {
            let now = self.clock.now();
            let marks = self.parts.reads.next_marks(limits::TICK_CASES_MAX).await?;
            let next = marks.iter().map(|(_, at)| *at).find(|at| *at > now);
            let cases = marks.iter().filter(|(_, at)| *at <= now).map(|(case, _)| *case).collect::<Vec<_>>();
            if cases.is_empty() {
                return Ok(next);
            }
            let principal = Principal::service(SERVICE)?;
            let envelope = Envelope { principal, guard: Guard::None, command: Command::Tick { cases } };
            let outcome = self.parts.writer.submit(envelope).await?;
            // The log's time never runs backwards and never ahead: what a clock here has reached it may have yet to reach.
            if outcome.events.is_empty() {
                return Ok(Some(now.plus_micros(limits::CLOCK_SKEW_MICROS)));
            }
        }
    }

    /// Records what is due when it is due, and looks now and then for what has become due sooner, until it is told to stop.
    pub(crate) async fn run(self, every: Duration, stop: CancellationToken) {
        loop {
            // Given up in the middle, it has recorded what it has; the next life goes on from there.
            let ticked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ticked = self.tick() => ticked,
            };
            let wait = match ticked {
                Ok(next) => {
                    let left = next.map(|at| at.micros().saturating_sub(self.clock.now().micros()));
                    left.map_or(every, |left| every.min(Duration::from_micros(u64::try_from(left).unwrap_or_default())))
                }
                // The next one tries again.
                Err(error) => {
                    tracing::warn!(%error, "the marks of clocks could not be recorded");
                    every
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
