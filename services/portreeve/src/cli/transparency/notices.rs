//! Table 4: notices.

use portreeve_api::common::v1::ReferralNature;
use portreeve_api::decision::v1::{Case, Outcome};

use super::Scope;
use super::category::Divided;
use super::outcomes::acts;
use super::table::{Cell, HOUR, Table, between, median};

/// The headings of the template, without those for contextual information.
pub(super) const HEADINGS: [&str; 16] = [
    "Applicability",
    "Service",
    "Reporting period",
    "Category label",
    "Category of illegal content",
    "Description of the sub-category \"Other\"",
    "Number of notices received",
    "Number of notices received from Trusted flaggers",
    "Number of specific items of information included in the total number of notices",
    "Number of specific items of information included in the total number of notices by Trusted Flaggers (Trusted Flagger notices)",
    "Median time to take action",
    "Median time to take action (Trusted Flagger notices)",
    "Number of actions taken on the basis of the law",
    "Number of actions taken on the basis of the law (Trusted Flagger notices)",
    "Number of actions taken on the basis of the terms and conditions of the service",
    "Number of actions taken on the basis of the terms and conditions of the service (Trusted Flagger notices)",
];

#[derive(Debug, Default)]
struct Part {
    received: usize,
    times: Vec<i64>,
    law: usize,
    terms: usize,
}

/// On what a decision that acts rests: the law, or the terms. A clause comes before the law, unless the content was closed as illegal and nothing
/// else: as in a statement of reasons.
fn rests_on_law(case: &Case) -> Option<bool> {
    let decision = case.latest_decision.as_ref().filter(|_| acts(case))?;
    match decision.outcome() {
        Outcome::ClosedIllegal => Some(true),
        _ if !decision.clauses.is_empty() => Some(false),
        _ => (!decision.law.is_empty()).then_some(true),
    }
}

/// The notices received in the period.
#[derive(Debug, Default)]
pub(super) struct Notices(Divided<[Part; 2]>);

impl Notices {
    pub(super) fn take(&mut self, case: &Case, trusted: bool) {
        if case.nature() != ReferralNature::StatutoryNotice {
            return;
        }
        let decision = case.latest_decision.as_ref().filter(|_| acts(case));
        let acted = decision.and_then(|of| of.effective_at.as_ref().or(of.decided_at.as_ref()));
        let (time, law) = (between(case.acknowledged_at.as_ref(), acted), rests_on_law(case));
        self.0.count(case, |parts| {
            // All of them, and those of trusted flaggers.
            for part in parts.iter_mut().take(1 + usize::from(trusted)) {
                part.received += 1;
                part.times.extend(time);
                part.law += usize::from(law == Some(true));
                part.terms += usize::from(law == Some(false));
            }
        });
    }

    pub(super) fn table(&self, scope: &Scope) -> Table {
        let none = Default::default();
        let rows = self.0.rows(&none).map(|(category, [all, trusted])| {
            let mut row = scope.begins().map(Cell::Is).to_vec();
            row.extend(category);
            row.extend([
                all.received.into(),
                trusted.received.into(),
                // Each is of one.
                all.received.into(),
                trusted.received.into(),
                median(&all.times, HOUR),
                median(&trusted.times, HOUR),
                all.law.into(),
                trusted.law.into(),
                all.terms.into(),
                trusted.terms.into(),
            ]);
            row
        });
        Table { file: "4_notices.csv", headings: HEADINGS.to_vec(), rows: rows.collect() }
    }
}
