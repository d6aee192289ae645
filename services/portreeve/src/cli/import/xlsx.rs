//! Spreadsheets as Excel writes them (.xlsx): what their cells say becomes the text that a CSV file would have, and what a spreadsheet has
//! made of what was typed into it (a date of an identifier, a rounded number, an error) is refused with its cell.

use std::collections::HashMap;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use calamine::{DataRef, Dimensions, ExcelDateTime, Reader as _, SheetType, SheetVisible, Xlsx};
use csv::ByteRecord;
use portreeve_core::limits;

use super::foreign::harmless;
use crate::cli::failure::{Failure, Result};
use crate::cli::sheet::{Column, Header, Refusal};
use crate::cli::words;

/// From here on a spreadsheet does not keep every digit of a number.
const DIGITS_KEPT_BELOW: f64 = 1e15;
/// The days on which the calendar of spreadsheets begins to be right: they count a 29 February 1900.
const FIRST_RIGHT_DAY_OF_1900: f64 = 61.0;

/// A row: what its cells say, why it is refused if it is, and which row of the spreadsheet it is.
pub(super) type Row = (ByteRecord, Option<Refusal>, u32);

/// A sheet that was read whole.
#[derive(Debug)]
pub(super) struct Workbook {
    /// The header.
    pub(super) header: Header,
    /// The rows below it that say anything.
    pub(super) rows: std::vec::IntoIter<Row>,
    /// For each place of the header, its column of the spreadsheet.
    letters: Vec<u32>,
}

impl Workbook {
    /// Reads a sheet of a file: the one that is named, or the only one that is not hidden. Cells in the columns `dates` may be dates.
    pub(super) fn open(path: &Path, sheet: Option<&str>, columns: &'static [Column], dates: &[&str]) -> Result<Self> {
        let wrong = |message: String| Failure::Usage(format!("{}: {message}", path.display()));
        let bytes = std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
        let most = limits::SPREADSHEET_BYTES_MAX;
        if bytes > most {
            return Err(wrong(format!("has {bytes} bytes, and {most} are allowed; part it")));
        }
        let bytes = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
        read(&bytes, sheet, columns, dates).map_err(wrong)
    }

    /// A refusal that also says in which cells.
    pub(super) fn located(header: &Header, letters: &[u32], row: u32, refusal: Refusal) -> Refusal {
        let places = refusal.field.split("; ").filter_map(|field| header.place(field));
        let cells =
            places.filter_map(|place| letters.get(place)).map(|column| address(row, *column)).collect::<Vec<_>>();
        let place = if cells.is_empty() { format!("row {}", u64::from(row) + 1) } else { cells.join(", ") };
        Refusal { message: format!("{place}: {}", refusal.message), ..refusal }
    }

    /// For each place of the header, its column of the spreadsheet.
    pub(super) fn letters(&self) -> Vec<u32> {
        self.letters.clone()
    }
}

fn read(bytes: &[u8], sheet: Option<&str>, columns: &'static [Column], dates: &[&str]) -> Result<Workbook, String> {
    unpacks(bytes)?;
    let damaged = |error: calamine::XlsxError| format!("is damaged, or is no .xlsx: {error}");
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(damaged)?;
    let name = choose(&workbook, sheet)?;
    let merged = workbook.merge_cells_by_sheet_name(&name).map_err(damaged)?;
    let mut table = Table::new(columns, dates, &merged);
    let mut cells = workbook.worksheet_cells_reader(&name).map_err(damaged)?;
    while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(damaged)? {
        let content = if cell.value == DataRef::Empty && cell.formula.is_some() {
            Cell::Wrong("holds a formula whose result was not saved: open the file and save it".to_owned())
        } else {
            Cell::from(cell.value)
        };
        table.take(cell.pos, content)?;
    }
    table.finish().map_err(|error| format!("the sheet {name:?}: {error}"))
}

/// Unpacks everything once and keeps nothing of it: what a file says of its own size is not to be believed.
fn unpacks(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err("is an old spreadsheet, or one with a password: save it as .xlsx, without a password".to_owned());
    }
    let damaged = |error: &dyn std::fmt::Display| format!("is damaged, or is no .xlsx: {error}");
    let mut container = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    let mut left = limits::SPREADSHEET_UNPACKED_BYTES_MAX;
    for at in 0..container.len() {
        let file = container.by_index(at).map_err(|error| damaged(&error))?;
        left -= std::io::copy(&mut file.take(left), &mut std::io::sink()).map_err(|error| damaged(&error))?;
        if left == 0 {
            return Err(too_large());
        }
    }
    Ok(())
}

fn too_large() -> String {
    format!("has {} bytes or more when it is unpacked; part it", limits::SPREADSHEET_UNPACKED_BYTES_MAX)
}

/// The sheet that is meant.
fn choose<R: Read + Seek>(workbook: &Xlsx<R>, wanted: Option<&str>) -> Result<String, String> {
    let sheets = workbook.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    let listed = |names: &[String]| names.join(", ");
    if let Some(wanted) = wanted {
        let names = sheets.map(|sheet| sheet.name.clone()).collect::<Vec<_>>();
        return match names.iter().find(|name| *name == wanted) {
            Some(name) => Ok(name.clone()),
            None => Err(format!("has no sheet {wanted:?}; its sheets are {}", listed(&names))),
        };
    }
    let shown = sheets.filter(|sheet| sheet.visible == SheetVisible::Visible);
    match &shown.map(|sheet| sheet.name.clone()).collect::<Vec<_>>()[..] {
        [name] => Ok(name.clone()),
        [] => Err("has no sheet that is not hidden: name one with --sheet".to_owned()),
        names => Err(format!("has several sheets: name one of {} with --sheet", listed(names))),
    }
}

/// What a cell says.
#[derive(Clone, Debug)]
enum Cell {
    /// Text, possibly none.
    Text(String),
    /// A date without a zone: it is read as UTC.
    Date(String),
    /// Nothing that can be used, and why.
    Wrong(String),
}

impl From<DataRef<'_>> for Cell {
    fn from(value: DataRef<'_>) -> Self {
        match value {
            DataRef::Empty => Self::Text(String::new()),
            DataRef::Int(number) => Self::Text(number.to_string()),
            DataRef::Float(number) if number.abs() < DIGITS_KEPT_BELOW => Self::Text(number.to_string()),
            DataRef::Float(_) => Self::Wrong(
                "is a number of more than 15 digits, of which a spreadsheet keeps no more: enter it as text".to_owned(),
            ),
            DataRef::String(text) => Self::Text(text),
            DataRef::SharedString(text) => Self::Text(text.to_owned()),
            DataRef::Bool(truth) => Self::Text(truth.to_string().to_uppercase()),
            DataRef::DateTime(date) => Self::date(date),
            DataRef::DateTimeIso(text) if words::time(&text).is_err() => Self::Date(format!("{text}Z")),
            DataRef::DateTimeIso(text) => Self::Date(text),
            DataRef::DurationIso(text) => Self::Wrong(format!("is the length of time {text}, and not a date")),
            DataRef::Error(error) => Self::Wrong(format!("is the error {error}")),
        }
    }
}

impl Cell {
    fn date(date: ExcelDateTime) -> Self {
        let days = date.as_f64();
        // Both calendars as one: the day 1 is in 1900 in the one, and in 1904 in the other.
        let (year, month, day, hour, minute, second, millis) = date.to_ymd_hms_milli();
        if date.is_duration() || days < 1.0 {
            return Self::Wrong("is a time without a day".to_owned());
        }
        if year == 1900 && days < FIRST_RIGHT_DAY_OF_1900 {
            return Self::Wrong("is a day before March 1900, where spreadsheets do not agree".to_owned());
        }
        Self::Date(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
    }

    fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }

    fn bytes(&self) -> u64 {
        let (Self::Text(text) | Self::Date(text) | Self::Wrong(text)) = self;
        text.len() as u64
    }
}

/// A header with where its columns are in the spreadsheet.
struct Top {
    header: Header,
    /// For each column of the spreadsheet, its place in the header and its name there.
    names: HashMap<u32, (usize, String)>,
    /// For each place of the header, its column of the spreadsheet.
    letters: Vec<u32>,
}

/// What was read of a sheet: a header, which is the first row that says anything, and the rows below it.
struct Table<'a> {
    columns: &'static [Column],
    dates: &'a [&'a str],
    /// The regions of merged cells, by where they begin.
    merged: HashMap<(u32, u32), (u32, u32)>,
    /// What a merged cell says to the rows below its first: by column, until which row.
    carried: HashMap<u32, (u32, Cell)>,
    header: Option<Top>,
    rows: Vec<Row>,
    /// The cells of the row that is being read, and which it is.
    row: Vec<(u32, Cell)>,
    at: u32,
    bytes: u64,
}

impl<'a> Table<'a> {
    fn new(columns: &'static [Column], dates: &'a [&'a str], merged: &[Dimensions]) -> Self {
        let merged = merged.iter().map(|region| (region.start, region.end)).collect();
        let (carried, rows, row) = (HashMap::new(), Vec::new(), Vec::new());
        Self { columns, dates, merged, carried, header: None, rows, row, at: 0, bytes: 0 }
    }

    /// Takes the next cell.
    fn take(&mut self, (row, column): (u32, u32), content: Cell) -> Result<(), String> {
        let before = self.row.last().is_some_and(|(last, _)| *last >= column);
        if row < self.at || (row == self.at && before) {
            return Err(format!("is damaged: the cell {} comes twice, or too late", address(row, column)));
        }
        if row > self.at {
            self.end_row()?;
            self.at = row;
        }
        self.bytes += content.bytes();
        if self.bytes >= limits::SPREADSHEET_UNPACKED_BYTES_MAX {
            return Err(too_large());
        }
        let content = match self.merged.get(&(row, column)) {
            Some((_, last)) if *last > column => Cell::Wrong("is merged with cells beside it: part them".to_owned()),
            _ => content,
        };
        if let Some((last, _)) = self.merged.get(&(row, column)).filter(|(last, _)| *last > row) {
            self.carried.insert(column, (*last, content.clone()));
        }
        if !content.is_blank() {
            self.row.push((column, content));
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), String> {
        let cells = std::mem::take(&mut self.row);
        if cells.is_empty() {
            return Ok(());
        }
        let Some(Top { names, letters, .. }) = &self.header else {
            self.header = Some(self.read_header(&cells)?);
            return Ok(());
        };
        if self.rows.len() >= limits::SPREADSHEET_ROWS_MAX {
            return Err(format!("has more than {} rows; part it", limits::SPREADSHEET_ROWS_MAX));
        }
        let mut texts = vec![String::new(); letters.len()];
        let mut wrong = Vec::new();
        let carried = |column: &u32| self.carried.get(column).filter(|(last, _)| *last >= self.at);
        let own = cells.iter().map(|(column, _)| *column).collect::<std::collections::HashSet<_>>();
        let more = letters.iter().filter(|column| !own.contains(*column));
        let more = more.filter_map(|column| carried(column).map(|(_, cell)| (*column, cell.clone())));
        for (column, cell) in cells.into_iter().chain(more.collect::<Vec<_>>()) {
            let Some((place, name)) = names.get(&column) else {
                wrong.push((String::new(), format!("the cell {} stands under no column", address(self.at, column))));
                continue;
            };
            match cell {
                Cell::Date(_) if !self.dates.contains(&name.as_str()) => {
                    wrong.push((name.clone(), "is a date: format the column as text, and enter it again".to_owned()));
                }
                Cell::Text(text) | Cell::Date(text) => texts[*place] = harmless(text),
                Cell::Wrong(why) => wrong.push((name.clone(), why)),
            }
        }
        let refusal = (!wrong.is_empty()).then(|| Refusal::invalid(wrong));
        self.rows.push((ByteRecord::from(texts), refusal, self.at));
        Ok(())
    }

    fn read_header(&self, cells: &[(u32, Cell)]) -> Result<Top, String> {
        let mut texts = Vec::new();
        for (column, cell) in cells {
            match cell {
                Cell::Text(text) | Cell::Date(text) => texts.push(text.as_str()),
                Cell::Wrong(why) => return Err(format!("the cell {} of the header {why}", address(self.at, *column))),
            }
        }
        let row = u64::from(self.at) + 1;
        let header = Header::read(&ByteRecord::from(texts.clone()), self.columns)
            .map_err(|error| format!("the header, which is row {row}: {error}"))?;
        let name = |text: &str| text.trim().to_lowercase();
        let named = cells.iter().zip(texts).enumerate();
        let names = named.map(|(place, ((column, _), text))| (*column, (place, name(text)))).collect();
        Ok(Top { header, names, letters: cells.iter().map(|(column, _)| *column).collect() })
    }

    fn finish(mut self) -> Result<Workbook, String> {
        self.end_row()?;
        let Top { header, letters, .. } = self.header.ok_or("is empty")?;
        Ok(Workbook { header, rows: self.rows.into_iter(), letters })
    }
}

/// The address of a cell, such as B7.
fn address(row: u32, column: u32) -> String {
    let (mut letters, mut left) = (Vec::new(), u64::from(column) + 1);
    while left > 0 {
        left -= 1;
        letters.push(char::from(b'A' + u8::try_from(left % 26).unwrap_or_default()));
        left /= 26;
    }
    letters.iter().rev().collect::<String>() + &(u64::from(row) + 1).to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bolero::{check, one_value_of};
    use rust_xlsxwriter::{Format, Formula, Workbook as Book, Worksheet};
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::cli::fuzz::{INPUTS, edited, edits, texts};

    const COLUMNS: &[Column] = &[
        Column { name: "url", required: true },
        Column { name: "native_id", required: false },
        Column { name: "occurred_at", required: false },
    ];
    const DATES: &[&str] = &["occurred_at"];

    /// A file whose one sheet has a header in the second row, from column B on.
    fn file(fill: impl FnOnce(&mut Worksheet)) -> Vec<u8> {
        let mut book = Book::new();
        let sheet = book.add_worksheet();
        for (column, name) in [(1, "url"), (2, "native_id"), (4, "Occurred_at ")] {
            sheet.write(1, column, name).unwrap();
        }
        fill(sheet);
        book.save_to_buffer().unwrap()
    }

    /// The file with one of its parts written anew.
    fn repacked(bytes: &[u8], part: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        let mut from = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut to = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for at in 0..from.len() {
            let mut file = from.by_index(at).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let name = file.name().unwrap().into_owned();
            to.start_file(&name, SimpleFileOptions::default()).unwrap();
            to.write_all(&if name == part { change(bytes) } else { bytes }).unwrap();
        }
        to.finish().unwrap().into_inner()
    }

    fn replaced(from: &'static str, to: &'static str) -> impl Fn(Vec<u8>) -> Vec<u8> {
        move |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            text.replace(from, to).into_bytes()
        }
    }

    fn opened(bytes: &[u8]) -> Result<Workbook, String> {
        read(bytes, None, COLUMNS, DATES)
    }

    /// What each row says, and what is wrong with it.
    fn said(bytes: &[u8]) -> Vec<(Vec<String>, String)> {
        let mut workbook = opened(bytes).unwrap();
        let (header, letters) = (workbook.header.clone(), workbook.letters());
        let row = |(row, refusal, at): Row| {
            let text = |cell: &[u8]| String::from_utf8(cell.to_vec()).unwrap();
            let refusal = refusal.map(|refusal| Workbook::located(&header, &letters, at, refusal).message);
            (row.iter().map(text).collect(), refusal.unwrap_or_default())
        };
        workbook.rows.by_ref().map(row).collect()
    }

    fn date() -> Format {
        Format::new().set_num_format("dd/mm/yyyy hh:mm:ss")
    }

    #[test]
    fn cells_say_what_was_typed_and_blank_rows_say_nothing() {
        let bytes = file(|sheet| {
            sheet.write(2, 1, "https://a.example/1").unwrap();
            sheet.write(2, 2, 123_456_789_012_345_i64).unwrap();
            // 6 January 2020, 09:15:07.
            sheet.write_number_with_format(2, 4, 43_836.385_497_685_19, &date()).unwrap();
            sheet.write(3, 1, "   ").unwrap();
            sheet.write(5, 1, "=cmd").unwrap();
            sheet.write(5, 2, 12_345.0).unwrap();
            sheet.write(5, 4, "2020-01-06T09:15:07+01:00").unwrap();
            sheet.write(6, 1, Formula::new("=B3").set_result("https://a.example/1")).unwrap();
            sheet.write(6, 2, true).unwrap();
        });
        let rows = said(&bytes);
        let expected = [
            ["https://a.example/1", "123456789012345", "2020-01-06T09:15:07.000Z"],
            [" =cmd", "12345", "2020-01-06T09:15:07+01:00"],
            ["https://a.example/1", "TRUE", ""],
        ];
        assert_eq!(rows, expected.map(|row| (row.map(str::to_owned).to_vec(), String::new())));
    }

    #[test]
    fn both_calendars_are_read_and_days_that_never_were_are_refused() {
        let at = |days: f64| {
            file(|sheet| {
                sheet.write_number_with_format(2, 4, days, &date()).unwrap();
            })
        };
        let since_1904 =
            |days: f64| repacked(&at(days), "xl/workbook.xml", replaced("<workbookPr ", "<workbookPr date1904=\"1\" "));
        assert_eq!(said(&at(43_836.0))[0].0[2], "2020-01-06T00:00:00.000Z");
        assert_eq!(said(&since_1904(42_374.5))[0].0[2], "2020-01-06T12:00:00.000Z");
        assert_eq!(said(&at(61.0))[0].0[2], "1900-03-01T00:00:00.000Z");
        for never in [60.0, 1.0] {
            assert!(said(&at(never))[0].1.contains("E3: occurred_at is a day before March 1900"));
        }
        for bytes in [at(0.5), at(-3.0), since_1904(0.5)] {
            assert_eq!(said(&bytes)[0].1, "E3: occurred_at is a time without a day");
        }
    }

    #[test]
    fn what_a_spreadsheet_made_of_it_is_refused_with_its_cell() {
        let bytes = file(|sheet| {
            sheet.write(2, 1, Formula::new("=#REF!").set_result("#REF!")).unwrap();
            sheet.write(2, 2, 12_345_678_901_234_567_i64).unwrap();
            sheet.write_number_with_format(3, 2, 43_836.0, &date()).unwrap();
            sheet.write(3, 3, "beside").unwrap();
            sheet.write(4, 4, 43_836.0).unwrap();
        });
        let rows = said(&bytes);
        assert_eq!(
            rows[0].1,
            "B3, C3: url is the error #REF!; native_id is a number of more than 15 digits, of which a spreadsheet keeps no \
             more: enter it as text"
        );
        assert_eq!(
            rows[1].1,
            "C4: native_id is a date: format the column as text, and enter it again; the cell D4 stands under no column"
        );
        // A number that is not shown as a date stays a number, which is no time.
        assert_eq!((rows[2].0[2].as_str(), rows[2].1.as_str()), ("43836", ""));
        let unsaved = file(|sheet| {
            sheet.write(2, 1, Formula::new("=A1").set_result("saved")).unwrap();
        });
        let unsaved = repacked(&unsaved, "xl/worksheets/sheet1.xml", replaced("<v>saved</v>", ""));
        assert!(said(&unsaved)[0].1.starts_with("B3: url holds a formula whose result was not saved"));
    }

    #[test]
    fn merged_cells_count_for_each_of_their_rows_and_beside_each_other_for_none() {
        let bytes = file(|sheet| {
            sheet.merge_range(2, 1, 4, 1, "https://a.example/1", &Format::new()).unwrap();
            for row in 2..6 {
                sheet.write(row, 2, row).unwrap();
            }
            sheet.merge_range(6, 1, 6, 2, "February", &Format::new()).unwrap();
        });
        let rows = said(&bytes);
        let urls = rows.iter().map(|(cells, _)| cells[0].as_str()).collect::<Vec<_>>();
        assert_eq!(urls, ["https://a.example/1", "https://a.example/1", "https://a.example/1", "", ""]);
        assert_eq!(rows[4].1, "B7: url is merged with cells beside it: part them");
    }

    #[test]
    fn a_sheet_is_chosen_by_name_where_there_are_several() {
        let mut book = Book::new();
        for (name, url) in [("Old", "https://a.example/old"), ("New", "https://a.example/new"), ("Hidden", "x")] {
            let sheet = book.add_worksheet().set_name(name).unwrap();
            sheet.write(0, 0, "url").unwrap().write(1, 0, url).unwrap();
            sheet.set_hidden(name == "Hidden");
        }
        let bytes = book.save_to_buffer().unwrap();
        assert_eq!(opened(&bytes).unwrap_err(), "has several sheets: name one of Old, New with --sheet");
        let of = |name| read(&bytes, Some(name), COLUMNS, DATES);
        assert_eq!(of("New").unwrap().rows.next().unwrap().0, ByteRecord::from(vec!["https://a.example/new"]));
        assert_eq!(of("Hidden").unwrap().rows.len(), 1);
        assert_eq!(of("new").unwrap_err(), "has no sheet \"new\"; its sheets are Old, New, Hidden");
    }

    #[test]
    fn a_file_that_is_none_says_why() {
        let whole = file(|sheet| {
            sheet.write(2, 1, "https://a.example/1").unwrap();
        });
        for (bytes, why) in [
            (&whole[..whole.len() / 2], "is damaged, or is no .xlsx"),
            (b"url,native_id\n", "is damaged, or is no .xlsx"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old spreadsheet, or one with a password"),
        ] {
            let said = opened(bytes).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        let empty = Book::new().add_worksheet().name();
        let mut book = Book::new();
        book.add_worksheet();
        assert_eq!(opened(&book.save_to_buffer().unwrap()).unwrap_err(), format!("the sheet {empty:?}: is empty"));
        let wrong = opened(&file(|sheet| {
            sheet.write(1, 1, "link").unwrap();
        }))
        .unwrap_err();
        assert!(
            wrong.starts_with("the sheet \"Sheet1\": the header, which is row 2: the column url is missing"),
            "{wrong}"
        );
        let missing = repacked(&whole, "xl/sharedStrings.xml", |_| b"<sst/>".to_vec());
        assert!(opened(&missing).unwrap_err().contains("damaged"));
        let twice = repacked(&whole, "xl/worksheets/sheet1.xml", replaced("r=\"B3\"", "r=\"B2\""));
        assert!(opened(&twice).unwrap_err().contains("the cell B2 comes twice, or too late"));
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_is_kept() {
        // As many bytes as are allowed are in a file of some hundred kilobytes.
        let padded = |more: usize| {
            let whole = file(|sheet| {
                sheet.write(2, 1, "https://a.example/1").unwrap();
            });
            let mut container = zip::ZipWriter::new_append(Cursor::new(whole.clone())).unwrap();
            let mut all = zip::ZipArchive::new(Cursor::new(&whole)).unwrap();
            let own = (0..all.len()).map(|at| all.by_index(at).unwrap().size()).sum::<u64>();
            container.start_file("padding", SimpleFileOptions::default()).unwrap();
            let padding = usize::try_from(limits::SPREADSHEET_UNPACKED_BYTES_MAX - own).unwrap() - 1 + more;
            container.write_all(&vec![0; padding]).unwrap();
            container.finish().unwrap().into_inner()
        };
        let (most, more) = (padded(0), padded(1));
        assert!(more.len() < 1 << 20 && opened(&most).is_ok());
        assert!(opened(&more).unwrap_err().ends_with("when it is unpacked; part it"));
        let rows = |rows: usize| {
            let sheet = |sheet: &mut Worksheet| {
                for row in 0..u32::try_from(rows).unwrap() {
                    sheet.write(row + 2, 1, 1).unwrap();
                }
            };
            opened(&file(sheet)).map(|workbook| workbook.rows.len())
        };
        assert_eq!(rows(limits::SPREADSHEET_ROWS_MAX), Ok(limits::SPREADSHEET_ROWS_MAX));
        assert!(rows(limits::SPREADSHEET_ROWS_MAX + 1).unwrap_err().contains("has more than 100000 rows"));
        // A cell far away costs nothing.
        assert_eq!(
            said(&file(|sheet| {
                sheet.write(1_048_575, 16_383, "far").unwrap();
            }))
            .len(),
            1
        );
    }

    #[test]
    fn addresses_are_those_of_spreadsheets() {
        for (row, column, name) in [(0, 0, "A1"), (6, 1, "B7"), (9, 25, "Z10"), (0, 26, "AA1"), (0, 16_383, "XFD1")] {
            assert_eq!(address(row, column), name);
        }
    }

    /// Whatever is in a sheet: it is refused with the reason, or every row has the header's width and every refusal says where.
    #[test]
    fn fuzz_workbooks() {
        const PIECES: &[&str] = &[
            "<row r=\"3\">",
            "<row>",
            "</row>",
            "<c r=\"B3\" t=\"s\">",
            "<c r=\"C3\" s=\"1\">",
            "<c t=\"e\">",
            "<c t=\"str\">",
            "<c r=\"E4\" t=\"d\">",
            "<c t=\"inlineStr\">",
            "</c>",
            "<v>",
            "</v>",
            "<v>1e300</v>",
            "<v>-1</v>",
            "<v>NaN</v>",
            "<v>#REF!</v>",
            "<f>A1</f>",
            "<is><t>x</t></is>",
            "</sheetData>",
            "<mergeCell ref=\"B3:C9\"/>",
            "&amp;",
            "43836.5",
        ];
        let whole = file(|sheet| {
            sheet.write(2, 1, "https://a.example/1").unwrap();
            sheet.write_number_with_format(2, 4, 43_836.5, &date()).unwrap();
            sheet.merge_range(3, 1, 5, 1, "https://a.example/2", &Format::new()).unwrap();
        });
        let part =
            one_value_of(["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml", ""]);
        check!().with_iterations(INPUTS / 8).with_generator((part, texts(PIECES), edits())).for_each(
            |(part, text, edits)| {
                let changed = |bytes: Vec<u8>| {
                    let xml = String::from_utf8(bytes).unwrap();
                    edited(xml.replacen("</row>", &format!("</row>{text}"), 1).as_bytes(), edits)
                };
                let bytes = if part.is_empty() { edited(&whole, edits) } else { repacked(&whole, part, changed) };
                let Ok(mut workbook) = opened(&bytes) else { return };
                let (header, letters) = (workbook.header.clone(), workbook.letters());
                for (row, refusal, at) in workbook.rows.by_ref() {
                    assert!(header.cells(&row).is_ok());
                    if let Some(refusal) = refusal {
                        let place = (u64::from(at) + 1).to_string();
                        let message = Workbook::located(&header, &letters, at, refusal).message;
                        assert!(message.split(':').next().unwrap().ends_with(&place), "{message}");
                    }
                }
            },
        );
    }
}
