//! `portreeve report`: figures.

pub(crate) mod flow;
pub(crate) mod page;
pub(crate) mod publication;
pub(crate) mod recurrence;
pub(crate) mod survival;

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind};
use portreeve_api::reporting::v1::{
    Dimension, ExportFormat, ExportReportRequest, QueryReportRequest, ReportDefinition, ReportFilter,
};
use portreeve_core::name::OperationName;
use portreeve_core::time::Date;

use super::connection::{Reading, call, now};
use super::failure::{Failure, Result};
use super::words::words_of;

/// How figures are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Tables for people
    Table,
    /// Comma-separated values, the rows and then the total
    Csv,
    /// The report in the canonical JSON form of protobuf
    Json,
    /// Apache Parquet, for a file: its metadata has the definition and the digest
    Parquet,
}

/// Print how many referrals were closed, left up, not decided, and why
///
/// Counts the referrals of a period (the cohort), as they stood at the end of a day. The parts always add up to the
/// referrals. The same dates give the same report for ever; with --known-at, also when facts are told late.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve report --cohort 2020-01-01..2020-05-31 --as-of 2020-09-03 \\\n    \
    --by platform,disposition --as oversightBodies/home-affairs")]
pub(crate) struct Report {
    #[command(flatten)]
    cohort: Cohort,
    /// The day at whose end the referrals are looked at; without it, today (UTC)
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// Count only what was recorded by the end of this day; without it, all that is known now
    #[arg(long, value_name = "DATE")]
    known_at: Option<Date>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The grant under which researchers ask; the report costs one of its queries
    #[arg(long, value_name = "GRANT")]
    grant: Option<String>,
    /// A revision that the answer must reflect, as writes give it
    #[arg(long, value_name = "REVISION")]
    at_least: Vec<String>,
    #[command(flatten)]
    reading: Reading,
}

/// Which referrals a report counts and how it divides them.
#[derive(Args, Debug)]
#[command(next_help_heading = "What to count")]
pub(crate) struct Cohort {
    /// When they were referred: FROM..UNTIL, both included, as days or months (UTC), such as 2020-01..2020-05
    #[arg(long = "cohort", value_name = "PERIOD", value_parser = period)]
    period: (Date, Date),
    /// Divide by these, at most four
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',', value_parser = words_of::<Dimension>(), ignore_case = true)]
    by: Vec<Dimension>,
    /// Only referrals of this agency
    #[arg(long, value_name = "AGENCY")]
    agency: Vec<String>,
    /// Only referrals to this platform
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Only referrals for this ground
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true, hide_possible_values = true)]
    ground: Vec<Ground>,
    /// Only referrals of this legal nature
    #[arg(long, value_name = "NATURE", value_parser = words_of::<ReferralNature>(), ignore_case = true)]
    nature: Vec<ReferralNature>,
    /// Only referrals of this kind of target
    #[arg(long, value_name = "KIND", value_parser = words_of::<TargetKind>(), ignore_case = true, hide_possible_values = true)]
    target_kind: Vec<TargetKind>,
    /// Only referrals with a decision under this clause, such as platforms/harbourbook/clauses/requests
    #[arg(long, value_name = "CLAUSE")]
    clause: Vec<String>,
    /// Only referrals that rest on this provision, such as IA1971_S25
    #[arg(long, value_name = "CODE")]
    legal_basis: Vec<String>,
    /// Only referrals of content in this language, such as ku
    #[arg(long, value_name = "LANGUAGE")]
    language: Vec<String>,
    /// Only referrals that belong to this operation
    #[arg(long, value_name = "OPERATION")]
    operation: Vec<OperationName>,
}

/// Reads `2020-01-15`, `2020-01`, `2020-01..2020-05` or `2020-01-01..2020-05-31`: the first and the last day.
pub(super) fn period(text: &str) -> Result<(Date, Date), String> {
    let (from, until) = text.split_once("..").unwrap_or((text, text));
    let ends = |text: &str| match format!("{text}-01").parse::<Date>() {
        Ok(first) => {
            // The first of a month and 31 days are always in the next one.
            let next = Date::from_days(first.days() + 31).month();
            Ok((first, Date::from_days(next.days() - 1)))
        }
        Err(_) => text.parse::<Date>().map(|day| (day, day)),
    };
    Ok((ends(from)?.0, ends(until)?.1))
}

impl Cohort {
    /// The definition of a report of the present.
    pub(crate) fn definition(self) -> ReportDefinition {
        fn numbers<W: Into<i32>>(words: Vec<W>) -> Vec<i32> {
            words.into_iter().map(Into::into).collect()
        }
        ReportDefinition {
            cohort_from_date: self.period.0.to_string(),
            cohort_until_date: self.period.1.to_string(),
            as_of_date: String::new(),
            known_at_date: String::new(),
            dimensions: numbers(self.by),
            filter: Some(ReportFilter {
                agencies: self.agency,
                platforms: self.platform,
                grounds: numbers(self.ground),
                natures: numbers(self.nature),
                target_kinds: numbers(self.target_kind),
                clauses: self.clause,
                content_languages: self.language,
                operations: self.operation.iter().map(ToString::to_string).collect(),
                legal_bases: self.legal_basis,
            }),
        }
    }
}

impl Report {
    pub(crate) async fn run(self) -> Result<()> {
        let definition = Some(ReportDefinition {
            as_of_date: self.as_of.unwrap_or_else(|| now().date()).to_string(),
            known_at_date: self.known_at.map(|date| date.to_string()).unwrap_or_default(),
            ..self.cohort.definition()
        });
        let at_least = self.at_least;
        let session = self.reading.open().await?.under(self.grant.as_deref())?;
        let format = match self.format {
            Format::Csv => ExportFormat::Csv,
            Format::Json => ExportFormat::Json,
            Format::Parquet if std::io::stdout().is_terminal() => {
                return Err(Failure::Usage(
                    "--format parquet is not for a terminal: write it to a file with >".to_owned(),
                ));
            }
            Format::Parquet => ExportFormat::Parquet,
            Format::Table => {
                let request = QueryReportRequest { definition, at_least };
                let reply = call!(session, reports, query_report, request)?;
                let report = reply.report.ok_or_else(|| Failure::Failed("the server gave no report".to_owned()))?;
                print!("{}", page::page(&report));
                return Ok(());
            }
        };
        let request = ExportReportRequest { definition, format: format.into(), at_least };
        let mut stream = call!(session, reports, export_report, request)?;
        let mut out = std::io::stdout().lock();
        let mut last = None;
        while let Some(piece) = stream.message().await.map_err(|status| session.failure(status))? {
            out.write_all(&piece.data)?;
            last = piece.data.last().copied().or(last);
        }
        if format != ExportFormat::Parquet && last.is_some_and(|byte| byte != b'\n') {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_days_or_months() {
        let shown = |text| period(text).map(|(from, until)| format!("{from} {until}"));
        assert_eq!(shown("2020-01..2020-05"), Ok("2020-01-01 2020-05-31".to_owned()));
        assert_eq!(shown("2020-01-01..2020-05-31"), Ok("2020-01-01 2020-05-31".to_owned()));
        assert_eq!(shown("2020-02"), Ok("2020-02-01 2020-02-29".to_owned()));
        assert_eq!(shown("2020-12"), Ok("2020-12-01 2020-12-31".to_owned()));
        assert_eq!(shown("2020-01-15"), Ok("2020-01-15 2020-01-15".to_owned()));
        assert!(shown("January").is_err() && shown("2020-01..").is_err());
    }
}
