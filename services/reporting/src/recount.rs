//! Counts a published report again from the logs of the other services, without any state: what whoever doubts it does.

use std::collections::BTreeMap;

use portreeve_api::decision::v1::CaseChange;
use portreeve_api::referral::v1::ReferralChange;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::{Result, Violations};

use crate::domain::{Cell, Command, Tally, report};
use crate::rpc::Computed;
use crate::rpc::convert::{Moment, read_case_changes, read_definition, read_referral_changes, write_report_with};
use crate::rpc::publications::withholding;

/// The cells of what was read so far.
#[derive(Debug, Default)]
pub struct Recount {
    cells: BTreeMap<Cell, Tally>,
}

impl Recount {
    /// Takes in changes of the referral log, each once, in any order.
    pub fn referrals(&mut self, changes: &[ReferralChange]) -> Result<()> {
        self.take(read_referral_changes(changes)?);
        Ok(())
    }

    /// Takes in changes of the decision log, each once, in any order.
    pub fn cases(&mut self, changes: &[CaseChange]) -> Result<()> {
        self.take(read_case_changes(changes)?);
        Ok(())
    }

    fn take(&mut self, command: Command) {
        let Command::Learn(learnt) = command else { return };
        for step in &learnt.steps {
            step.count(&mut self.cells);
        }
    }

    /// What comes out of them for the question of a published report, with its digest. `None` if it has no question that this release can
    /// read.
    pub fn report(&self, publication: &wire::Publication) -> Result<Option<wire::Report>> {
        let published = publication.report.as_ref();
        let mut violations = Violations::default();
        let asked = published.and_then(|report| report.definition.as_ref());
        let Some(definition) = read_definition(&mut violations, asked, Moment::Told) else { return Ok(None) };
        violations.into_result()?;
        let Some(as_of) = definition.as_of else { return Ok(None) };
        let slices = definition.slices(self.cells.iter().map(|(cell, tally)| (cell, *tally)));
        let figures = report(&definition, as_of, &slices);
        let computed = Computed::new(definition, figures);
        write_report_with(&computed, withholding(publication.small_cell_minimum)).map(Some)
    }
}
