//! `portreeve flow`: what happened in a period.

use clap::Args;
use portreeve_api::reporting::v1::{Flow as Figures, FlowRow, QueryFlowRequest, ReportDefinition};
use portreeve_core::time::Date;

use super::page::{short, title};
use super::{Cohort, period};
use crate::cli::connection::{Reading, call};
use crate::cli::failure::{Failure, Result};
use crate::cli::json;
use crate::cli::table::{Lines, heading};
use crate::cli::words::grouped;

/// Print what came into which bucket in a period, whenever it had been referred
///
/// A report says what became of those that were referred in a period; a flow, what happened in one. Neither is a share of the other.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve flow --in 2020-03..2020-05 --cohort 2020-01..2020-05 --by event-month \\\n    \
    --as agencies/nca"
)]
pub(crate) struct Flow {
    /// The period: FROM..UNTIL, both included, as days or months (UTC)
    #[arg(long = "in", value_name = "PERIOD", value_parser = period)]
    entered: (Date, Date),
    #[command(flatten)]
    cohort: Cohort,
    /// Count only what was recorded by the end of this day; without it, all that is known now
    #[arg(long, value_name = "DATE")]
    known_at: Option<Date>,
    /// Print the answer as a line of JSON
    #[arg(long)]
    json: bool,
    /// A revision that the answer must reflect, as writes give it
    #[arg(long, value_name = "REVISION")]
    at_least: Vec<String>,
    #[command(flatten)]
    reading: Reading,
}

impl Flow {
    pub(crate) async fn run(self) -> Result<()> {
        let known_at_date = self.known_at.map(|date| date.to_string()).unwrap_or_default();
        let request = QueryFlowRequest {
            definition: Some(ReportDefinition { known_at_date, ..self.cohort.definition() }),
            event_from_date: self.entered.0.to_string(),
            event_until_date: self.entered.1.to_string(),
            at_least: self.at_least,
        };
        let session = self.reading.open().await?;
        let reply = call!(session, reports, query_flow, &request)?;
        let flow = reply.flow.ok_or_else(|| Failure::Failed("the server gave no flow".to_owned()))?;
        if self.json { say!("{}", json::line(&flow, "portreeve.reporting.v1.Flow")?) } else { say!("{}", page(&flow)) }
    }
}

fn page(flow: &Figures) -> String {
    let definition = flow.definition.clone().unwrap_or_default();
    let names: Vec<String> = definition.dimensions.iter().map(|number| title(*number)).collect();
    let numbers = ["Referred#", "Closed#", "Not in breach#", "Other#"];
    let headings = names.iter().map(String::as_str).chain(names.is_empty().then_some(""));
    let mut table = Lines::new(headings.chain(numbers));
    for row in flow.rows.iter().filter(|_| !names.is_empty()) {
        table.row(row.key.iter().map(|value| short(value.dimension, &value.value)).chain(figures(row)));
    }
    let blank = names.len().saturating_sub(1);
    let total = flow.total.clone().unwrap_or_default();
    table.row(
        std::iter::once("Total".to_owned()).chain(std::iter::repeat_n(String::new(), blank)).chain(figures(&total)),
    );
    let (from, until) = (&flow.event_from_date, &flow.event_until_date);
    format!("{}\n\n{table}", heading(&format!("What came in {from} to {until}")))
}

/// What is undecided came there when it was referred.
fn figures(row: &FlowRow) -> [String; 4] {
    let entered = row.entered.clone().unwrap_or_default();
    [entered.undecided, entered.closed, entered.not_in_breach, entered.other].map(grouped)
}
