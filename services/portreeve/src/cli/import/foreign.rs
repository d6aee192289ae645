//! Files of other tools as rows of our own: what they say goes into the columns that a file of referrals has, what they do not say comes
//! from the command line, and both then go the way of any row.

use std::path::Path;

use clap::{Args, ValueEnum};
use csv::ByteRecord;
use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind};
use portreeve_core::id::Uuid;
use portreeve_core::name::OrganisationName;
use serde_json::Value;

use super::row::COLUMNS;
use super::{misp, xarf};
use crate::cli::failure::{Failure, Result};
use crate::cli::sheet::{Header, Refusal};
use crate::cli::words::{typed, words_of};

/// The most that a file of another tool may have: it is read whole.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values, with a header.
    Csv,
    /// A spreadsheet as Excel writes it, with the same header.
    Xlsx,
    /// MISP: an event, a list of events, or an object, in JSON.
    Misp,
    /// XARF version 4: a report, or a list of reports, in JSON.
    Xarf,
}

/// What files of other tools do not say: options.
#[derive(Args, Debug)]
#[command(next_help_heading = "For misp and xarf, which do not say it")]
pub(crate) struct Usual {
    /// The platform that is addressed
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<OrganisationName>,
    /// The legal nature
    #[arg(long, value_name = "NATURE", value_parser = words_of::<ReferralNature>(), ignore_case = true)]
    nature: Option<ReferralNature>,
    /// What the content is referred for
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true)]
    ground: Option<Ground>,
    /// What kind of thing the target is, where the file does not say that either
    #[arg(long, value_name = "KIND", value_parser = words_of::<TargetKind>(), ignore_case = true, default_value = "page")]
    kind: TargetKind,
    /// A code for the provision
    #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
    legal_basis_code: String,
    /// The statute on which it rests
    #[arg(long, value_name = "TEXT")]
    statute: Option<String>,
    /// The provision within the statute
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    section: String,
    /// Why it is referred; without it, what the file says of the content
    #[arg(long, value_name = "TEXT")]
    reasons: Option<String>,
    /// The language of the reasons
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    reasons_language: String,
}

/// What a thing of another tool says, by our columns, and why it cannot be referred, if it cannot.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The identifier that its tool gave it: the same thing is the same request.
    pub(super) id: String,
    /// Our columns with what it says of them.
    pub(super) says: Vec<(&'static str, String)>,
    /// What is wrong, each with the column.
    pub(super) wrong: Vec<(String, String)>,
}

impl Found {
    /// Notes what it says, if that is anything.
    pub(super) fn say(&mut self, column: &'static str, text: impl Into<String>) {
        let text = text.into();
        if !text.trim().is_empty() {
            self.says.push((column, text));
        }
    }

    /// Notes what is wrong.
    pub(super) fn refuse(&mut self, column: &str, message: impl Into<String>) {
        self.wrong.push((column.to_owned(), message.into()));
    }

    fn said(&self, column: &str) -> Option<&str> {
        self.says.iter().find(|(known, _)| *known == column).map(|(_, text)| text.as_str())
    }
}

/// The rows of a file of another tool, each with why it is refused, if it is.
pub(super) struct Foreign {
    /// The header of the rows: every column that there is.
    pub(super) header: Header,
    /// The rows.
    pub(super) rows: std::vec::IntoIter<(ByteRecord, Option<Refusal>)>,
}

impl Foreign {
    /// Reads a file.
    pub(super) fn open(path: &Path, format: Format, agency: &OrganisationName, usual: &Usual) -> Result<Self> {
        let wrong = |message: String| Failure::Usage(format!("{}: {message}", path.display()));
        let bytes = std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(wrong(format!("has {bytes} bytes, and {FILE_BYTES_MAX} are allowed; part it")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        let found = match format {
            Format::Misp => misp::read(&value),
            Format::Xarf => xarf::read(&value),
            Format::Csv | Format::Xlsx => Err("is read as a table".to_owned()),
        };
        let rows = found.map_err(wrong)?.into_iter().map(|found| usual.row(agency, found)).collect::<Vec<_>>();
        Ok(Self { header: Header::full(COLUMNS), rows: rows.into_iter() })
    }
}

impl Usual {
    /// What must be said on the command line, and is not.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let said = [
            ("--platform", self.platform.is_some()),
            ("--nature", self.nature.is_some()),
            ("--ground", self.ground.is_some()),
            ("--statute", self.statute.is_some()),
        ];
        said.into_iter().filter(|(_, said)| !said).map(|(name, _)| name).collect()
    }

    fn row(&self, agency: &OrganisationName, mut found: Found) -> (ByteRecord, Option<Refusal>) {
        let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("https://portreeve.org/requests/{agency}").as_bytes());
        if found.id.is_empty() {
            found.refuse("request_id", "the file gives it no identifier");
        }
        let reasons = self.reasons.clone().or_else(|| found.said("reasons").map(str::to_owned)).unwrap_or_default();
        if reasons.is_empty() {
            found.refuse("reasons", "the file says nothing of the content: give --reasons");
        }
        // What was refused stays empty, so that nothing of it is taken for corrected.
        let wrong = |column: &str| found.wrong.iter().any(|(of, _)| of == column || (of.is_empty() && column == "url"));
        let cell = |column: &str| match column {
            column if wrong(column) => String::new(),
            "platform" => self.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
            "nature" => self.nature.map(typed).unwrap_or_default(),
            "ground" => self.ground.map(typed).unwrap_or_default(),
            "kind" => found.said("kind").map_or_else(|| typed(self.kind), str::to_owned),
            "legal_basis_code" => self.legal_basis_code.clone(),
            "statute" => self.statute.clone().unwrap_or_default(),
            "section" => self.section.clone(),
            "reasons" => reasons.clone(),
            "reasons_language" => self.reasons_language.clone(),
            "request_id" => Uuid::new_v5(&space, found.id.as_bytes()).to_string(),
            column => found.said(column).unwrap_or_default().to_owned(),
        };
        let row = COLUMNS.iter().map(|column| harmless(cell(column.name))).collect::<Vec<_>>();
        let refusal = (!found.wrong.is_empty()).then(|| Refusal::invalid(found.wrong));
        (ByteRecord::from(row), refusal)
    }
}

/// A cell that no spreadsheet takes for a formula: what is in it may be the words of whoever is referred. The white space is taken off
/// again when the file is read.
pub(super) fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t']) { format!(" {cell}") } else { cell }
}

/// Every thing of a value: itself, or those of a list.
pub(super) fn each(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |list| list.iter().collect())
}

/// A text of an object; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
