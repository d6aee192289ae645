//! A table as it is written.

use std::path::{Path, PathBuf};

use prost_types::Timestamp;

use crate::cli::failure::{Failure, Result};
use crate::cli::words::from_proto;

/// What the last column of each table says: it is in no template.
const LEFT_EMPTY: &str = "Not known to the exchange";

/// What is in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// A figure or words.
    Is(String),
    /// Nothing, as there is nothing of which to tell.
    Nothing,
    /// Nothing, as the exchange does not know.
    Unknown,
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Is(count.to_string())
    }
}

impl From<&str> for Cell {
    fn from(words: &str) -> Self {
        if words.is_empty() { Self::Nothing } else { Self::Is(words.to_owned()) }
    }
}

impl From<String> for Cell {
    fn from(words: String) -> Self {
        words.as_str().into()
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The file's name, as the published reports have it.
    pub(super) file: &'static str,
    /// The headings, as the template has them.
    pub(super) headings: Vec<&'static str>,
    /// The rows.
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The table as comma-separated values, with a column more: it names what was left empty as it is not known.
    pub(super) fn csv(&self) -> Result<Vec<u8>> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", self.file));
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.headings.iter().chain([&LEFT_EMPTY])).map_err(|error| failed(&error))?;
        for row in &self.rows {
            let unknown = self.headings.iter().zip(row).filter(|(_, cell)| **cell == Cell::Unknown);
            let unknown = unknown.map(|(heading, _)| *heading).collect::<Vec<_>>().join("; ");
            let cells = row.iter().map(|cell| match cell {
                Cell::Is(words) => words.as_str(),
                Cell::Nothing | Cell::Unknown => "",
            });
            writer.write_record(cells.chain([unknown.as_str()])).map_err(|error| failed(&error))?;
        }
        writer.into_inner().map_err(|error| failed(&error))
    }

    /// Writes it into a folder; gives the file.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(self.file);
        std::fs::write(&path, self.csv()?).map_err(|error| Failure::file(&path, &error))?;
        Ok(path)
    }
}

/// The median of times in microseconds, in a unit of so many; nothing of none.
pub(super) fn median(times: &[i64], unit: i64) -> Cell {
    let mut times = times.to_vec();
    times.sort_unstable();
    let Some(upper) = times.get(times.len() / 2) else { return Cell::Nothing };
    let lower = times.get((times.len() - 1) / 2).unwrap_or(upper);
    // In hundredths of the unit, rounded.
    let hundredths = i64::midpoint(*lower, *upper).saturating_mul(100).saturating_add(unit / 2) / unit;
    Cell::Is(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

/// From one instant to another, in microseconds, if both are known and in this order.
pub(super) fn between(from: Option<&Timestamp>, until: Option<&Timestamp>) -> Option<i64> {
    let (from, until) = from_proto(from).zip(from_proto(until))?;
    Some(until.micros() - from.micros()).filter(|time| *time >= 0)
}

/// An hour, and a day, in microseconds.
pub(super) const HOUR: i64 = 3_600 * 1_000_000;
pub(super) const DAY: i64 = 24 * HOUR;
