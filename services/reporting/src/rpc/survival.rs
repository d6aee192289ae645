//! `QuerySurvival`: a report, and how long what it counts waits for a decision.

use portreeve_api::reporting::v1 as wire;
use portreeve_core::{Error, Reason, Result};
use portreeve_runtime::agreements::Asker as Who;
use portreeve_runtime::wire::violations;
use tonic::Request;

use super::asking::named;
use super::convert::{Moment, check_rows, read_definition, write_report};
use super::{Rpc, compute, export};
use crate::domain::{CurveStep, survival};

impl Rpc {
    pub(super) async fn survival(
        &self,
        request: Request<wire::QuerySurvivalRequest>,
    ) -> Result<wire::QuerySurvivalResponse> {
        let (asking, who) = (self.access.ask(&request)?, Who::new(&request)?);
        if named(&request)?.is_some() {
            return Err(not_granted());
        }
        let message = request.into_inner();
        let mut violations = violations(&message);
        let definition = read_definition(&mut violations, message.definition.as_ref(), Moment::Told);
        let asker = self.may_ask(asking, who, None, violations.finish(definition)?, &message.at_least).await?;
        let today = self.clock.now().date();
        // One reading for both: a curve of another moment than the counts beside it would not go with them.
        let selected = self.parts.reads.select(asker.permitted()).await?;
        let report = write_report(&compute(asker.permitted(), &selected, today))?;
        let as_of = asker.permitted().definition().as_of.unwrap_or(today);
        let steps = survival(as_of, &selected.slices);
        check_rows(steps.len())?;
        let curve = wire::SurvivalCurve { steps: steps.iter().map(write_step).collect() };
        export::check_size(&report)?;
        self.give(&asker, &report).await?;
        Ok(wire::QuerySurvivalResponse { report: Some(report), curve: Some(curve) })
    }
}

fn write_step(step: &CurveStep) -> wire::SurvivalStep {
    wire::SurvivalStep {
        days: u32::try_from(step.days).unwrap_or_default(),
        at_risk: step.at_risk,
        decided: step.decided,
        censored: step.censored,
        undecided_millionths: step.undecided_millionths,
    }
}

/// A step of a curve may be of one referral.
fn not_granted() -> Error {
    Error::new(Reason::PermissionDenied, "curves are not for researchers; ask for a report, which has the quantiles")
}
