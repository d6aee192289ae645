//! `portreeve import`: a file of referrals, ours or of another tool.

mod foreign;
mod misp;
mod row;
mod stream;
mod xarf;
mod xlsx;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use portreeve_api::referral::v1::import_result;
use portreeve_core::limits;
use portreeve_core::name::{OrganisationKind, OrganisationName};

use foreign::{Foreign, Format, Usual};
pub(crate) use row::request_id;
pub(crate) use stream::import;

use super::connection::Connection;
use super::failure::{Failure, Result};
use super::sheet::{self, Header, Refusal, Rejects, Sheet};
use super::sign;
use super::words::grouped;
use xlsx::Workbook;

/// The columns whose cells may be dates.
const DATES: &[&str] = &["occurred_at"];

/// Import referrals from a file: CSV, a spreadsheet, MISP or XARF
///
/// A CSV file has a header with the columns platform, kind, url, native_id, nature, ground, legal_basis_code, statute,
/// section, reasons, reasons_language, content_language, occurred_at and, if wanted, tlp, classification, source_grade,
/// assessment, conditions, contexts (the protected-context check: what `refer --context` takes, with a | between the answers) and
/// request_id, in any order.
///
/// Rows that are refused are written to FILE.rejects.csv with the reason, the message and the field; the others are
/// imported. Running the same file again changes nothing: a row's request id is derived from the agency and the row,
/// unless the file gives one. (Two rows that say exactly the same are therefore one referral.) A connection that breaks
/// is taken up again.
///
/// A spreadsheet (--format xlsx) has the same header in its first row that says anything, and is then read as CSV is. Dates are taken as UTC; a
/// formula is its result; what a merged cell says counts for each of its rows. What a spreadsheet has made of what was typed (an error, a date
/// in place of an identifier, a number of more than 15 digits) is refused with its cell.
///
/// Of a MISP file the objects facebook-page, facebook-group, facebook-post, social-media-group and instant-message-group are referred, each
/// with its TLP; of an XARF file the reports of the category content, with their own date. What such a file does not say is
/// given on the command line. Each object or report has an identifier, so that running the file again changes nothing; what is refused is
/// written as rows of a CSV file, which can be corrected and imported.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve import pages.csv --agency agencies/nca --roles import\n  \
    portreeve import 2020.xlsx --format xlsx --sheet 'Jan-May' --agency agencies/nca --roles import\n  \
    portreeve import event.json --format misp --agency agencies/nca --platform platforms/harbourbook \\\n    \
    --nature voluntary-referral --ground offer-transport-sea --statute 'Immigration Act 1971'\n\n\
    Facts from long ago (occurred_at) need --roles import. Ends with code 1 if a row was refused.")]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
    /// What the file is
    #[arg(long, value_enum, default_value = "csv", value_name = "FORMAT")]
    format: Format,
    /// The sheet of a spreadsheet; without it, the only one that is not hidden
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The agency that refers; without it, the organisation that acts
    #[arg(long, value_name = "AGENCY")]
    agency: Option<OrganisationName>,
    /// What parts the fields
    #[arg(long, default_value = ",", value_name = "CHARACTER", value_parser = sheet::delimiter)]
    delimiter: u8,
    /// Sign each referral with the agency's private key, as `sign init` makes it
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    usual: Usual,
    #[command(flatten)]
    connection: Connection,
}

/// Where rows come from.
enum Rows {
    /// A CSV file.
    Csv(Box<Sheet>),
    /// A sheet of a spreadsheet.
    Xlsx(Workbook),
    /// A file of another tool.
    Foreign(Foreign),
}

impl Rows {
    fn header(&self) -> &Header {
        match self {
            Self::Csv(sheet) => sheet.header(),
            Self::Xlsx(workbook) => &workbook.header,
            Self::Foreign(foreign) => &foreign.header,
        }
    }

    /// The next row, with why it is refused if that is known already, and which row of a spreadsheet it is.
    fn next(&mut self) -> Result<Option<(csv::ByteRecord, Option<Refusal>, u32)>> {
        match self {
            Self::Csv(sheet) => Ok(sheet.next()?.map(|row| (row, None, 0))),
            Self::Xlsx(workbook) => Ok(workbook.rows.next()),
            Self::Foreign(foreign) => Ok(foreign.rows.next().map(|(row, refusal)| (row, refusal, 0))),
        }
    }

    /// How much of the file was read.
    fn bytes_read(&self, whole: u64) -> u64 {
        match self {
            Self::Csv(sheet) => sheet.bytes_read(),
            Self::Xlsx(_) | Self::Foreign(_) => whole,
        }
    }

    /// The columns of a spreadsheet: refusals name its cells.
    fn letters(&self) -> Option<Vec<u32>> {
        match self {
            Self::Xlsx(workbook) => Some(workbook.letters()),
            Self::Csv(_) | Self::Foreign(_) => None,
        }
    }
}

impl Import {
    pub(crate) async fn run(self) -> Result<()> {
        let agency = self.agency.as_ref().or(self.connection.acting.as_ref()).cloned();
        let agency = agency.filter(|agency| agency.kind() == OrganisationKind::Agency).ok_or_else(|| {
            Failure::Usage("which agency refers is missing: give --agency, such as --agency agencies/nca".to_owned())
        })?;
        let key = self.sign_key.as_deref().map(sign::read_key).transpose()?;
        if self.sheet.is_some() && self.format != Format::Xlsx {
            return Err(Failure::Usage("only a spreadsheet has sheets: give --format xlsx".to_owned()));
        }
        let mut rows = match self.format {
            Format::Csv => Rows::Csv(Box::new(Sheet::open(&self.file, self.delimiter, row::COLUMNS)?)),
            Format::Xlsx => Rows::Xlsx(Workbook::open(&self.file, self.sheet.as_deref(), row::COLUMNS, DATES)?),
            format => match self.usual.missing()[..] {
                [] => Rows::Foreign(Foreign::open(&self.file, format, &agency, &self.usual)?),
                ref missing => {
                    return Err(Failure::Usage(format!(
                        "such a file does not say everything: give {}",
                        missing.join(", ")
                    )));
                }
            },
        };
        let (header, letters) = (rows.header().clone(), rows.letters());
        let located = |refusal: Refusal, at: u32| match &letters {
            Some(letters) => Workbook::located(&header, letters, at, refusal),
            None => refusal,
        };
        let whole = std::fs::metadata(&self.file).map_or(0, |file| file.len());
        let session = self.connection.open(Some(&agency)).await?;
        // Both sides of the stream write rejects: rows that cannot be sent, and rows that the server refuses.
        let rejects = std::cell::RefCell::new(Rejects::beside(&self.file, &header, self.delimiter)?);
        let (mut imported, mut replayed) = (0_u64, 0_u64);
        let bar = bar(whole);

        let next = || {
            while let Some((row, refusal, at)) = rows.next()? {
                match refusal.map_or_else(|| row::item(&agency, &header, &row), Err) {
                    Ok(mut item) => {
                        if let (Some(key), Some(draft)) = (&key, &mut item.draft) {
                            sign::sign(key, &agency, draft, &[]);
                        }
                        return Ok(Some(((row, at, rows.bytes_read(whole)), item)));
                    }
                    Err(refusal) => rejects.borrow_mut().write(&row, &located(refusal, at))?,
                }
            }
            Ok(None)
        };
        let done =
            |(row, at, read): (csv::ByteRecord, u32, u64), _, result: portreeve_api::referral::v1::ImportResult| {
                match result.result {
                    Some(import_result::Result::Imported(was)) if was.replayed => replayed += 1,
                    Some(import_result::Result::Imported(_)) => imported += 1,
                    Some(import_result::Result::Error(error)) => {
                        let refusal = located(Refusal::answered(&error, row::column), at);
                        rejects.borrow_mut().write(&row, &refusal)?;
                    }
                    None => return Err(Failure::Failed("the server gave a result without an outcome".to_owned())),
                }
                bar.set_position(read);
                bar.set_message(format!(
                    "{} imported, {} already there, {} refused",
                    grouped_u(imported),
                    grouped_u(replayed),
                    grouped_u(rejects.borrow().count())
                ));
                Ok(())
            };
        let ended = import(&session, &agency.to_string(), limits::IMPORT_ITEMS_MAX, next, done).await;
        bar.finish_and_clear();
        let mut rejects = rejects.into_inner();
        rejects.finish()?;
        ended?;

        let refused = rejects.count();
        say!(
            "{} rows: {} imported, {} already there, {} refused",
            grouped_u(imported + replayed + refused),
            grouped_u(imported),
            grouped_u(replayed),
            grouped_u(refused)
        )?;
        if refused > 0 {
            return Err(Failure::Failed(format!(
                "{} rows were refused\n  what to do: {} says why for each; correct them there and import that file",
                grouped_u(refused),
                rejects.path().display()
            )));
        }
        Ok(())
    }
}

fn grouped_u(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  ({elapsed}, about {eta} to go)") {
        bar.set_style(style);
    }
    bar
}
