//! `portreeve statements`: a platform's decisions as files for the DSA Transparency Database.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use portreeve_api::decision::v1::{
    DecisionFilter, ExcludedDecisions, ExportStatementsRequest, StatementAccountType, StatementContentType,
    StatementExclusion, StatementFacts, StatementsSummary, export_statements_response::Part,
};
use portreeve_core::audit::hex;
use portreeve_core::name::OrganisationName;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};

use super::connection::{Connection, call};
use super::failure::{Failure, Result};
use super::sheet::{Column, Sheet};
use super::words::{self, Word, shown};

/// Write a platform's decisions as statements of reasons for the DSA Transparency Database
///
/// Writes files of at most 100 statements into a folder, each the body of one call of the database's API
/// (POST /api/v1/statements), and excluded.csv with the decisions that make no statement and why: no action, without effect in the EEA
/// and so on. The database demands to know when the content was created, which the exchange does not: cases of which nobody said it
/// are in facts.csv, to be filled in and given with --facts.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  portreeve statements platforms/harbourbook --out statements --as platforms/harbourbook\n  \
    portreeve statements platforms/harbourbook --facts statements/facts.csv --out filed --as platforms/harbourbook\n  \
    curl --fail --header \"Authorization: Bearer $TOKEN\" --json @filed/statements-00001.json \\\n    \
    https://transparency.dsa.ec.europa.eu/api/v1/statements"
)]
pub(crate) struct Statements {
    /// The platform
    platform: OrganisationName,
    /// The folder to write into; it must be empty, or not be there
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// What the exchange does not know of the content: a CSV file with the columns case and content_date (YYYY-MM-DD), and, as
    /// far as wanted, content_types (such as text|image) and account_type (business or private)
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// An agency that is a trusted flagger (DSA art. 22)
    #[arg(long, value_name = "AGENCY")]
    trusted_flagger: Vec<OrganisationName>,
    /// Only what was recorded since an earlier export, as it said at its end
    #[arg(long, value_name = "TOKEN", default_value = "")]
    after: String,
    /// Only what was decided then or later
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    decided_from: Option<Timestamp>,
    /// Only what was decided before
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    decided_until: Option<Timestamp>,
    #[command(flatten)]
    connection: Connection,
}

const FACTS: &[Column] = &[
    Column { name: "case", required: true },
    Column { name: "content_date", required: true },
    Column { name: "content_types", required: false },
    Column { name: "account_type", required: false },
];

impl Statements {
    pub(crate) async fn run(self) -> Result<()> {
        let facts = self.facts.as_deref().map(read_facts).transpose()?.unwrap_or_default();
        let mut files = Files::new(self.out)?;
        let session = self.connection.open(None).await?;
        let filter = DecisionFilter {
            decided_from: self.decided_from,
            decided_until: self.decided_until,
            ..DecisionFilter::default()
        };
        let request = ExportStatementsRequest {
            parent: self.platform.to_string(),
            filter: Some(filter),
            after: self.after,
            facts,
            trusted_flaggers: self.trusted_flagger.iter().map(ToString::to_string).collect(),
            at_least: Vec::new(),
        };
        let mut parts = call!(session, decisions, export_statements, &request)?;
        let mut summary = None;
        while let Some(reply) = session.next(&mut parts).await? {
            match reply.part {
                Some(Part::Batch(batch)) => files.batch(&batch.json)?,
                Some(Part::Excluded(excluded)) => files.excluded(&excluded)?,
                Some(Part::Summary(told)) => summary = Some(told),
                None => {}
            }
        }
        let summary = summary.ok_or_else(|| Failure::Failed("the export broke off before its end".to_owned()))?;
        files.finish(&summary)
    }
}

/// Reads what the platform knows of its content. Everything that is wrong is told at once.
fn read_facts(path: &Path) -> Result<Vec<StatementFacts>> {
    let mut sheet = Sheet::open(path, b',', FACTS)?;
    let (mut facts, mut wrong) = (Vec::new(), Vec::new());
    // The header is the first line.
    let mut line = 1_usize;
    while let Some(row) = sheet.next()? {
        line += 1;
        let header = sheet.header();
        match header.cells(&row) {
            // What nobody has filled in yet says nothing.
            Ok(cells) if cells.get("content_date").is_empty() => {}
            Ok(cells) => {
                let types = cells.get("content_types").split('|').filter(|of| !of.trim().is_empty());
                let types = types.map(StatementContentType::parse).collect::<Result<Vec<_>, _>>();
                let account = Some(cells.get("account_type")).filter(|of| !of.is_empty());
                let account = account.map(StatementAccountType::parse).transpose();
                match (types, account, words::day(cells.get("content_date"))) {
                    (Ok(types), Ok(account), Ok(content_date)) => facts.push(StatementFacts {
                        case: cells.get("case").to_owned(),
                        content_date,
                        content_types: types.into_iter().map(Into::into).collect(),
                        account_type: account.unwrap_or_default().into(),
                    }),
                    (types, account, date) => {
                        let errors = [types.err(), account.err(), date.err()];
                        wrong.extend(errors.into_iter().flatten().map(|error| format!("line {line}: {error}")));
                    }
                }
            }
            Err(refusal) => wrong.push(format!("line {line}: {}", refusal.message)),
        }
    }
    if wrong.is_empty() { Ok(facts) } else { Err(Failure::Usage(format!("{}: {}", path.display(), wrong.join("; ")))) }
}

/// The files of an export.
struct Files {
    folder: PathBuf,
    batches: u64,
    hasher: Sha256,
    excluded: Option<csv::Writer<File>>,
    facts: Option<csv::Writer<File>>,
    /// Cases without a date, of which there may be several versions.
    undated: BTreeSet<String>,
}

impl Files {
    fn new(folder: PathBuf) -> Result<Self> {
        let failed = |error| Failure::file(&folder, &error);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        if std::fs::read_dir(&folder).map_err(failed)?.next().is_some() {
            return Err(Failure::Usage(format!("{}: is not empty", folder.display())));
        }
        let undated = BTreeSet::new();
        Ok(Self { folder, batches: 0, hasher: Sha256::new(), excluded: None, facts: None, undated })
    }

    fn batch(&mut self, json: &str) -> Result<()> {
        self.batches += 1;
        self.hasher.update(json);
        let path = self.folder.join(format!("statements-{:05}.json", self.batches));
        let written = File::create_new(&path).and_then(|mut file| file.write_all(json.as_bytes()));
        written.map_err(|error| Failure::file(&path, &error))
    }

    fn excluded(&mut self, told: &ExcludedDecisions) -> Result<()> {
        for of in &told.decisions {
            let reasons = of.reasons.iter().map(|code| shown::<StatementExclusion>(*code)).collect::<Vec<_>>();
            let row = [of.decision.as_str(), &reasons.join(" ")];
            write_row(&self.folder.join("excluded.csv"), &mut self.excluded, &["decision", "reasons"], &row)?;
            let case = of.decision.split_once("/decisions/").map_or("", |(case, _)| case);
            let undated = of.reasons.contains(&StatementExclusion::ContentDateMissing.into());
            if undated && self.undated.insert(case.to_owned()) {
                let header = FACTS.iter().map(|column| column.name).collect::<Vec<_>>();
                write_row(&self.folder.join("facts.csv"), &mut self.facts, &header, &[case, "", "", ""])?;
            }
        }
        Ok(())
    }

    fn finish(self, summary: &StatementsSummary) -> Result<()> {
        for file in [self.excluded, self.facts].iter_mut().flatten() {
            file.flush().map_err(|error| Failure::file(&self.folder, &error))?;
        }
        let digest = hex(&self.hasher.finalize());
        if digest != summary.sha256 || self.batches != summary.batch_count {
            return Err(Failure::Failed(format!("what came does not have the digest {}", summary.sha256)));
        }
        say!("statements: {} in {} files", summary.statement_count, summary.batch_count)?;
        say!("excluded: {}", summary.excluded_count)?;
        if !self.undated.is_empty() {
            say!("undated: {} cases in {}", self.undated.len(), self.folder.join("facts.csv").display())?;
        }
        say!("sha256: {digest}\nafter: {}", summary.next_after)
    }
}

/// Writes a row, and the header before the first.
fn write_row(path: &Path, writer: &mut Option<csv::Writer<File>>, header: &[&str], row: &[&str]) -> Result<()> {
    let failed = |error: csv::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let writer = match writer {
        Some(writer) => writer,
        none => {
            let mut new = csv::Writer::from_path(path).map_err(failed)?;
            new.write_record(header).map_err(failed)?;
            none.insert(new)
        }
    };
    writer.write_record(row).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_say_everything_that_is_wrong_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_facts(&path).map_err(|error| error.to_string())
        };
        let good = "case,content_date,content_types,account_type\nc/1,2026-02-28,text|image,private\nc/2,,,\n";
        let expected = StatementFacts {
            case: "c/1".into(),
            content_date: "2026-02-28".into(),
            content_types: vec![StatementContentType::Text.into(), StatementContentType::Image.into()],
            account_type: StatementAccountType::Private.into(),
        };
        assert_eq!(read(good), Ok(vec![expected]));
        let wrong =
            read("case,content_date,account_type\nc/1,2026-02-30,public\nc/2,2026-02-28,\nc/3,2026\n").unwrap_err();
        assert!(wrong.contains("line 2") && wrong.contains("BUSINESS, PRIVATE") && wrong.contains("line 4"), "{wrong}");
        assert_eq!(wrong.matches("line 2").count(), 2, "{wrong}");
        assert!(read("case,date\n").unwrap_err().contains("content_date is missing"));
    }
}
