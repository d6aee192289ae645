//! `portreeve survival`: how long referrals wait for a decision.

use clap::Args;
use portreeve_api::reporting::v1::{QuerySurvivalRequest, QuerySurvivalResponse, ReportDefinition};
use portreeve_core::time::Date;

use super::Cohort;
use super::page::times;
use crate::cli::connection::{Reading, call, now};
use crate::cli::failure::Result;
use crate::cli::json;
use crate::cli::table::{Lines, heading};
use crate::cli::words::{grouped, share};

/// Print how many are still undecided after so many days, the undecided counted as censored
///
/// The survival curve of a cohort, by the product-limit estimate of Kaplan and Meier, with the number at risk on each day.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve survival --cohort 2020-01..2020-05 --as-of 2020-09-03 --platform platforms/harbourbook \\\n    \
        --as oversightBodies/home-affairs"
)]
pub(crate) struct Survival {
    #[command(flatten)]
    cohort: Cohort,
    /// The day at whose end the referrals are looked at; without it, today (UTC)
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
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

impl Survival {
    pub(crate) async fn run(self) -> Result<()> {
        let definition = ReportDefinition {
            as_of_date: self.as_of.unwrap_or_else(|| now().date()).to_string(),
            known_at_date: self.known_at.map(|date| date.to_string()).unwrap_or_default(),
            ..self.cohort.definition()
        };
        let request = QuerySurvivalRequest { definition: Some(definition), at_least: self.at_least };
        let session = self.reading.open().await?;
        let reply = call!(session, reports, query_survival, &request)?;
        if self.json {
            return say!("{}", json::line(&reply, "portreeve.reporting.v1.QuerySurvivalResponse")?);
        }
        say!("{}", page(&reply))
    }
}

fn page(reply: &QuerySurvivalResponse) -> String {
    let report = reply.report.clone().unwrap_or_default();
    let definition = report.definition.unwrap_or_default();
    let mut table = Lines::new(["Days#", "At risk#", "Decided#", "Censored#", "Still undecided#"]);
    for step in reply.curve.iter().flat_map(|curve| &curve.steps) {
        let count = |count: u64| grouped(i64::try_from(count).unwrap_or(i64::MAX));
        table.row([
            step.days.to_string(),
            count(step.at_risk),
            count(step.decided),
            count(step.censored),
            share(step.undecided_millionths.into(), 1_000_000),
        ]);
    }
    let title = heading(&format!(
        "Days to the first decision: referred {} to {}, as of {}",
        definition.cohort_from_date, definition.cohort_until_date, definition.as_of_date
    ));
    let times = times(&report.total.and_then(|total| total.decision_times).unwrap_or_default());
    format!("{title}\n\n{table}\n\n{times}")
}
