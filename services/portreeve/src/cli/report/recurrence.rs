//! `portreeve recurrence`: what is closed comes back.

use clap::Args;
use portreeve_api::reporting::v1::{NetworkFigures, QueryRecurrenceRequest, QueryRecurrenceResponse};
use portreeve_core::name::OrganisationName;
use portreeve_core::time::Date;

use super::page::{days, signed};
use crate::cli::connection::{Reading, call, now};
use crate::cli::failure::Result;
use crate::cli::json;
use crate::cli::table::{Lines, heading};
use crate::cli::words::grouped;

/// Print an agency's networks: how much of each was closed, and how soon it came back
///
/// A network is what links of the kind same-network connect (`portreeve link`), and observations that name the referral of the
/// target as which the content reappeared (`portreeve observe`). The same dates give the same figures for ever.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve recurrence agencies/nca --as-of 2020-09-03 --as agencies/nca")]
pub(crate) struct Recurrence {
    /// The agency
    agency: OrganisationName,
    /// The day at whose end the referrals are looked at; without it, today (UTC)
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// Count only what was recorded by the end of this day; without it, all that is known now
    #[arg(long, value_name = "DATE")]
    known_at: Option<Date>,
    /// Print so many networks; those of the most referrals come first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    limit: i32,
    /// Print the answer as a line of JSON
    #[arg(long)]
    json: bool,
    /// A revision that the answer must reflect, as writes give it
    #[arg(long, value_name = "REVISION")]
    at_least: Vec<String>,
    #[command(flatten)]
    reading: Reading,
}

impl Recurrence {
    pub(crate) async fn run(self) -> Result<()> {
        let request = QueryRecurrenceRequest {
            parent: self.agency.to_string(),
            as_of_date: self.as_of.unwrap_or_else(|| now().date()).to_string(),
            known_at_date: self.known_at.map(|date| date.to_string()).unwrap_or_default(),
            page_size: self.limit,
            page_token: String::new(),
            at_least: self.at_least,
        };
        let session = self.reading.open().await?;
        let reply = call!(session, reports, query_recurrence, &request)?;
        if self.json {
            say!("{}", json::line(&reply, "portreeve.reporting.v1.QueryRecurrenceResponse")?)
        } else {
            say!("{}", page(&request.parent, &reply))
        }
    }
}

/// The networks, all of them together, and what the times are.
fn page(agency: &str, reply: &QueryRecurrenceResponse) -> String {
    let mut table = Lines::new([
        "First referral",
        "First",
        "Last",
        "Referrals#",
        "Targets#",
        "Accounts#",
        "Platforms#",
        "Closed#",
        "Reappeared#",
        "Median days,\nreappeared only#",
        "with those that\nstayed away#",
    ]);
    for network in &reply.networks {
        let dates =
            [&network.first_referral, &network.first_referred_date, &network.last_referred_date].map(Clone::clone);
        table.row(dates.into_iter().chain(figures(network.figures.as_ref())));
    }
    let count = reply.network_count;
    let all = [format!("All {} networks", grouped(signed(count))), String::new(), String::new()];
    table.row(all.into_iter().chain(figures(reply.total.as_ref())));
    let title = heading(&format!("Networks of {agency}, as of {}", reply.as_of_date));
    let shown = u64::try_from(reply.networks.len()).unwrap_or(u64::MAX);
    let more = if shown < count {
        format!("\n  {} more networks are not shown; see --limit.", count - shown)
    } else {
        String::new()
    };
    format!("{title}\n\n{table}{more}\n  Days are counted from the day on which the first closure took effect.")
}

fn figures(figures: Option<&NetworkFigures>) -> [String; 8] {
    let figures = figures.copied().unwrap_or_default();
    let times = figures.times.unwrap_or_default();
    let longer = if times.n == 0 { "–" } else { "not reached" };
    let counts =
        [figures.referrals, figures.targets, figures.accounts, figures.platforms, figures.closed, figures.reappeared];
    let [referrals, targets, accounts, platforms, closed, reappeared] = counts.map(|count| grouped(signed(count)));
    let medians = [days(times.reappeared_only_median_days, "–"), days(times.censored_median_days, longer)];
    let [only, censored] = medians;
    [referrals, targets, accounts, platforms, closed, reappeared, only, censored]
}
