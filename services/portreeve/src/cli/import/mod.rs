//! `portreeve import`: a CSV file of referrals.

mod row;
mod stream;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use portreeve_api::referral::v1::import_result;
use portreeve_core::limits;
use portreeve_core::name::{OrganisationKind, OrganisationName};

pub(crate) use row::request_id;
pub(crate) use stream::import;

use super::connection::Connection;
use super::failure::{Failure, Result};
use super::sheet::{self, Refusal, Rejects, Sheet};
use super::sign;
use super::words::grouped;

/// Import referrals from a CSV file
///
/// The file has a header with the columns platform, kind, url, native_id, nature, ground, legal_basis_code, statute,
/// section, reasons, reasons_language, content_language, occurred_at and, if wanted, tlp, classification, source_grade,
/// assessment, conditions, contexts (the protected-context check: what `refer --context` takes, with a | between the answers) and
/// request_id, in any order.
///
/// Rows that are refused are written to FILE.rejects.csv with the reason, the message and the field; the others are
/// imported. Running the same file again changes nothing: a row's request id is derived from the agency and the row,
/// unless the file gives one. (Two rows that say exactly the same are therefore one referral.) A connection that breaks
/// is taken up again.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve import pages.csv --agency agencies/nca --roles import\n\n\
    Facts from long ago (occurred_at) need --roles import. Ends with code 1 if a row was refused.")]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
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
    connection: Connection,
}

impl Import {
    pub(crate) async fn run(self) -> Result<()> {
        let agency = self.agency.as_ref().or(self.connection.acting.as_ref()).cloned();
        let agency = agency.filter(|agency| agency.kind() == OrganisationKind::Agency).ok_or_else(|| {
            Failure::Usage("which agency refers is missing: give --agency, such as --agency agencies/nca".to_owned())
        })?;
        let key = self.sign_key.as_deref().map(sign::read_key).transpose()?;
        let mut sheet = Sheet::open(&self.file, self.delimiter, row::COLUMNS)?;
        let header = sheet.header().clone();
        let session = self.connection.open(Some(&agency)).await?;
        // Both sides of the stream write rejects: rows that cannot be sent, and rows that the server refuses.
        let rejects = std::cell::RefCell::new(Rejects::beside(&self.file, &header, self.delimiter)?);
        let (mut imported, mut replayed) = (0_u64, 0_u64);
        let bar = bar(std::fs::metadata(&self.file).map_or(0, |file| file.len()));

        let next = || {
            while let Some(row) = sheet.next()? {
                match row::item(&agency, &header, &row) {
                    Ok(mut item) => {
                        if let (Some(key), Some(draft)) = (&key, &mut item.draft) {
                            sign::sign(key, &agency, draft);
                        }
                        return Ok(Some(((row, sheet.bytes_read()), item)));
                    }
                    Err(refusal) => rejects.borrow_mut().write(&row, &refusal)?,
                }
            }
            Ok(None)
        };
        let done = |(row, read): (csv::ByteRecord, u64), _, result: portreeve_api::referral::v1::ImportResult| {
            match result.result {
                Some(import_result::Result::Imported(was)) if was.replayed => replayed += 1,
                Some(import_result::Result::Imported(_)) => imported += 1,
                Some(import_result::Result::Error(error)) => {
                    rejects.borrow_mut().write(&row, &Refusal::answered(&error, row::column))?;
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
