//! The yearly report of a trusted flagger (DSA art. 22(3)): notices by provider, by kind of content and by what the provider did.

use std::collections::BTreeMap;

use portreeve_api::common::v1::{Disposition, ReferralNature};
use portreeve_api::decision::v1::Case;

use super::table::{Cell, Table};
use super::{Scope, category};
use crate::cli::words::shown;

/// The notices submitted in the period.
#[derive(Debug, Default)]
pub(super) struct Flagged(BTreeMap<(String, &'static str, &'static str, i32), usize>);

impl Flagged {
    pub(super) fn take(&mut self, case: &Case) {
        if case.nature() == ReferralNature::StatutoryNotice {
            let (category, keyword, words) = category::of(case);
            let specified = if keyword == "KEYWORD_OTHER" { words } else { keyword };
            *self.0.entry((case.platform.clone(), category, specified, case.disposition)).or_default() += 1;
        }
    }

    pub(super) fn table(&self, scope: &Scope) -> Table {
        let [_, service, period] = scope.begins();
        let row = |parts: [&str; 4], count: usize| {
            let mut row = vec![Cell::Is(service.clone()), Cell::Is(period.clone())];
            row.extend(parts.map(Cell::from));
            row.push(count.into());
            // Qualitative, and the flagger's own to write.
            row.push(Cell::Unknown);
            row
        };
        let mut rows = vec![row(["TOTAL", "TOTAL", "", "TOTAL"], self.0.values().sum())];
        rows.extend(self.0.iter().map(|((provider, category, specified, disposition), count)| {
            row([provider.as_str(), *category, *specified, &shown::<Disposition>(*disposition)], *count)
        }));
        let headings = [
            "Trusted flagger",
            "Reporting period",
            "Provider of hosting services",
            "Type of allegedly illegal content",
            "Specification",
            "Action taken by the provider",
            "Number of notices",
            "Procedures in place to ensure independence",
        ];
        Table { file: "trusted_flagger_annual_report.csv", headings: headings.to_vec(), rows }
    }
}
