//! What became of what was referred: the table that the templates lack.

use std::collections::BTreeMap;

use portreeve_api::common::v1::ReferralNature;
use portreeve_api::decision::v1::{Case, Decision, Outcome};
use portreeve_core::vocabulary::{Bucket, Disposition};

use super::Scope;
use super::category::Divided;
use super::table::{Cell, Table};
use crate::cli::words::shown;

/// The outcome with which a case is decided, if it acts.
pub(super) fn acts(case: &Case) -> bool {
    let outcome = case.latest_decision.as_ref().map_or(Outcome::Unspecified, Decision::outcome);
    outcome != Outcome::Unspecified && outcome as i32 <= Outcome::TerminatedAccount as i32
}

/// What was received in the period, by its nature.
#[derive(Debug, Default)]
pub(super) struct Outcomes(BTreeMap<i32, Divided<[usize; 5]>>);

impl Outcomes {
    pub(super) fn take(&mut self, case: &Case) {
        let bucket = Disposition::from_code(case.disposition).map(Disposition::bucket);
        let place = match bucket {
            Some(Bucket::Closed) => 1,
            Some(Bucket::NotInBreach) => 2,
            Some(Bucket::Undecided) => 3,
            Some(Bucket::Other) | None => 4,
        };
        self.0.entry(case.nature).or_default().count(case, |counts| {
            let [received, ..] = counts;
            *received += 1;
            counts.iter_mut().skip(place).take(1).for_each(|count| *count += 1);
        });
    }

    /// The parts always add up to what was received.
    pub(super) fn table(&self, scope: &Scope) -> Table {
        let none = [0; 5];
        let rows = self.0.iter().flat_map(|(nature, divided)| {
            divided.rows(&none).map(|(category, counts)| {
                let mut row = scope.begins().map(Cell::Is).to_vec();
                row.push(shown::<ReferralNature>(*nature).into());
                row.extend(category);
                row.extend(counts.map(Cell::from));
                row
            })
        });
        let headings = [
            "Applicability",
            "Service",
            "Reporting period",
            "Legal nature",
            "Category label",
            "Category of illegal content",
            "Description of the sub-category \"Other\"",
            "Received",
            "Closed",
            "Left up as not in breach",
            "Undecided",
            "Other",
        ];
        Table { file: "outcomes.csv", headings: headings.to_vec(), rows: rows.collect() }
    }
}
