//! Table 3: the orders of authorities.

use portreeve_api::common::v1::ReferralNature;
use portreeve_api::decision::v1::Case;

use super::Scope;
use super::category::Divided;
use super::outcomes::acts;
use super::table::{Cell, HOUR, Table, between, median};

/// The headings of the template, without those for contextual information.
pub(super) const HEADINGS: [&str; 14] = [
    "Applicability",
    "Service",
    "Reporting period",
    "Category label",
    "Category of illegal content",
    "Description of the sub-category \"Other\"",
    "Scope",
    "Number of orders to act against illegal content received",
    "Number of specific items of information included in the total number of orders to act against illegal content",
    "Median time to inform the authority of the receipt of the order to act against illegal content",
    "Median time to give effect to the order to act against illegal content",
    "Number of orders to provide information",
    "Median time to inform the authority of the receipt of the order to provide information",
    "Median time to give effect to the order to provide information",
];

#[derive(Debug, Default)]
struct Part {
    received: usize,
    informed: Vec<i64>,
    effected: Vec<i64>,
}

/// The orders received in the period.
#[derive(Debug, Default)]
pub(super) struct Orders(Divided<Part>);

impl Orders {
    pub(super) fn take(&mut self, case: &Case) {
        if case.nature() != ReferralNature::Order {
            return;
        }
        let informed = between(case.submitted_at.as_ref(), case.acknowledged_at.as_ref());
        // Orders that were not carried out have no such time: the table of outcomes says how many these are.
        let effected = between(case.acknowledged_at.as_ref(), case.order_answered_at.as_ref()).filter(|_| acts(case));
        self.0.count(case, |part| {
            part.received += 1;
            part.informed.extend(informed);
            part.effected.extend(effected);
        });
    }

    pub(super) fn table(&self, scope: &Scope) -> Table {
        let none = Part::default();
        let rows = self.0.rows(&none).map(|(category, part)| {
            let mut row = scope.begins().map(Cell::Is).to_vec();
            row.extend(category);
            row.extend([
                // By member state the exchange cannot divide: it does not know of which an authority is.
                "TOTAL".into(),
                part.received.into(),
                // Each is of one.
                part.received.into(),
                median(&part.informed, HOUR),
                median(&part.effected, HOUR),
                // These do not go through the exchange (DSA art. 10).
                Cell::Unknown,
                Cell::Unknown,
                Cell::Unknown,
            ]);
            row
        });
        Table { file: "3_member_states_orders.csv", headings: HEADINGS.to_vec(), rows: rows.collect() }
    }
}
