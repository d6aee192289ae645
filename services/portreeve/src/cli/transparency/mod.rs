//! `portreeve transparency`: the tables that the law asks for.
//!
//! They are counted from the cases that the caller sees, since several of their figures (a median in hours, on what a decision rests, what
//! became of a complaint) are none of the reports'. What no case tells is left empty and named, never 0.

mod category;
mod complaints;
mod flagger;
mod notices;
mod orders;
mod outcomes;
mod table;
mod tco;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;
use portreeve_api::decision::v1::{Case, CaseFilter, Decision, ListCasesRequest, ListDecisionsRequest};
use portreeve_core::limits;
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::time::Date;
use prost_types::Timestamp;

use super::connection::{Connection, Session, call};
use super::failure::{Failure, Result};
use super::report::period;
use super::words::{from_proto, to_proto};
use table::Table;

/// Write the tables of a transparency report as CSV files
///
/// For a platform: orders, notices and complaints by the templates of Implementing Regulation (EU) 2024/2835 (tables 3, 4 and 7), the outcomes that
/// they lack, and the figures of TCO article 7. For an agency: the figures of TCO article 8, the outcomes, and the report of a trusted flagger
/// (DSA art. 22(3)). The figures are of what was referred in the period, or complained of, as the cases stand now. A figure that the exchange does not
/// know is left empty, and the last column names it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  portreeve transparency platforms/harbourbook --period 2026-01..2026-06 --out tables \\\n    \
    --trusted-flagger agencies/nca --as platforms/harbourbook\n  \
    portreeve transparency agencies/nca --period 2026-01..2026-12 --out tables --as agencies/nca"
)]
pub(crate) struct Transparency {
    /// Whose report: a platform, or an agency
    of: OrganisationName,
    /// The period: FROM..UNTIL, both included, as days or months (UTC)
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    period: (Date, Date),
    /// The folder to write into; files of an earlier run are written anew
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// An agency that is a trusted flagger (DSA art. 22)
    #[arg(long, value_name = "AGENCY")]
    trusted_flagger: Vec<OrganisationName>,
    #[command(flatten)]
    connection: Connection,
}

/// Of what the tables are.
#[derive(Clone, Debug)]
struct Scope {
    /// Whose they are.
    service: String,
    period: (Date, Date),
    /// The agencies that are trusted flaggers.
    trusted: Vec<String>,
}

impl Scope {
    /// Whether an instant is in the period.
    fn holds(&self, at: Option<&Timestamp>) -> bool {
        from_proto(at).is_some_and(|at| (self.period.0..=self.period.1).contains(&at.date()))
    }

    fn is_trusted(&self, case: &Case) -> bool {
        self.trusted.contains(&case.agency)
    }

    /// What every row begins with.
    fn begins(&self) -> [String; 3] {
        let (from, until) = self.period;
        ["All".to_owned(), self.service.clone(), format!("{from}/{until}")]
    }
}

/// The tables under way.
#[derive(Debug, Default)]
struct Tables {
    orders: orders::Orders,
    notices: notices::Notices,
    complaints: complaints::Complaints,
    outcomes: outcomes::Outcomes,
    removals: tco::Removals,
    flagged: flagger::Flagged,
}

impl Tables {
    /// Counts a case; `decisions` are all versions of its decision, where something was complained of.
    fn take(&mut self, scope: &Scope, case: &Case, decisions: &[Decision]) {
        self.complaints.take(scope, case, decisions);
        self.removals.take(scope, case);
        if scope.holds(case.submitted_at.as_ref()) {
            self.orders.take(case);
            self.notices.take(case, scope.is_trusted(case));
            self.outcomes.take(case);
            self.flagged.take(case);
        }
    }

    fn of(&self, scope: &Scope, kind: OrganisationKind) -> Vec<Table> {
        if kind == OrganisationKind::Platform {
            vec![
                self.orders.table(scope),
                self.notices.table(scope),
                self.complaints.table(scope),
                self.outcomes.table(scope),
                self.removals.of_the_provider(scope),
            ]
        } else {
            vec![self.removals.of_the_authority(scope), self.outcomes.table(scope), self.flagged.table(scope)]
        }
    }
}

impl Transparency {
    pub(crate) async fn run(self) -> Result<()> {
        let kind = self.of.kind();
        let (parent, agencies) = match kind {
            OrganisationKind::Platform => (self.of.to_string(), Vec::new()),
            OrganisationKind::Agency => ("platforms/-".to_owned(), vec![self.of.to_string()]),
            _ => return Err(Failure::Usage(format!("{}: must be a platform or an agency", self.of))),
        };
        let scope = Scope {
            service: self.of.to_string(),
            period: self.period,
            trusted: self.trusted_flagger.iter().map(ToString::to_string).collect(),
        };
        let session = self.connection.open(None).await?;
        let mut tables = Tables::default();
        // What was complained of in the period may have been referred before.
        let filter = CaseFilter {
            agencies,
            submitted_until: Some(to_proto(self.period.1.end().plus_micros(1))),
            ..CaseFilter::default()
        };
        let page_size = i32::try_from(limits::PAGE_ROWS_MAX).unwrap_or(i32::MAX);
        let mut request = ListCasesRequest { parent, filter: Some(filter), page_size, ..ListCasesRequest::default() };
        loop {
            let reply = call!(session, decisions, list_cases, &request)?;
            for case in &reply.cases {
                let complained = !case.challenges.is_empty();
                let decisions = if complained { versions(&session, &case.name).await? } else { Vec::new() };
                tables.take(&scope, case, &decisions);
            }
            request.page_token = reply.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::file(&self.out, &error))?;
        for table in tables.of(&scope, kind) {
            say!("{}", table.write(&self.out)?.display())?;
        }
        Ok(())
    }
}

/// Every version of the decision on a case.
async fn versions(session: &Session, case: &str) -> Result<Vec<Decision>> {
    let mut request =
        ListDecisionsRequest { parent: case.to_owned(), page_size: 1_000, ..ListDecisionsRequest::default() };
    let mut decisions = Vec::new();
    loop {
        let reply = call!(session, decisions, list_decisions, &request)?;
        decisions.extend(reply.decisions);
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            return Ok(decisions);
        }
    }
}
