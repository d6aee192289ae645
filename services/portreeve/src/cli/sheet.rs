//! CSV files with a header: rows by column name, and the rows that were refused, written out with their reasons.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use tonic_types::RpcStatusExt as _;

use super::failure::{self, Failure, Result};

/// With which an archive begins, as which a spreadsheet is written.
const ARCHIVE: &[u8] = b"PK\x03\x04";
/// The columns that a file of refused rows has more than the file that they came from.
const REASONS: [&str; 3] = ["reason", "message", "field"];

/// A column that a file may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its name in the header.
    pub(crate) name: &'static str,
    /// Whether a file without it is refused as a whole.
    pub(crate) required: bool,
}

/// A CSV file with a header, read row by row.
#[derive(Debug)]
pub(crate) struct Sheet {
    reader: csv::Reader<BufReader<File>>,
    header: Header,
}

/// Which column is where.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    columns: &'static [Column],
    names: ByteRecord,
    /// For each of `columns`, its place in the file.
    places: Vec<Option<usize>>,
}

impl Header {
    /// Reads the header. Columns that are not known are refused: a misspelt one would lose its data in silence.
    pub(crate) fn read(names: &ByteRecord, columns: &'static [Column]) -> Result<Self, String> {
        let clean = |name: &[u8]| {
            let name = name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name);
            String::from_utf8_lossy(name).trim().to_lowercase()
        };
        let names: Vec<String> = names.iter().map(clean).collect();
        let place = |column: &str| names.iter().position(|name| name == column);
        let places = columns.iter().map(|column| place(column.name)).collect::<Vec<_>>();

        let mut wrong = Vec::new();
        for (column, place) in columns.iter().zip(&places) {
            if column.required && place.is_none() {
                wrong.push(format!("the column {} is missing", column.name));
            }
        }
        for (at, name) in names.iter().enumerate() {
            let known = columns.iter().any(|column| column.name == name) || REASONS.contains(&name.as_str());
            if !known {
                wrong.push(format!("the column {name:?} is not known"));
            } else if names.iter().take(at).any(|before| before == name) {
                wrong.push(format!("the column {name} is there twice"));
            }
        }
        if wrong.is_empty() {
            return Ok(Self { columns, names: names.into_iter().collect::<Vec<_>>().into(), places });
        }
        let known = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",");
        Err(format!("{}; the header may have {known}", wrong.join("; ")))
    }

    /// A header with every column that there may be, in their order.
    pub(crate) fn full(columns: &'static [Column]) -> Self {
        let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().into();
        Self { columns, names, places: (0..columns.len()).map(Some).collect() }
    }

    /// Which place of a row a column has, if the file has it.
    pub(crate) fn place(&self, column: &str) -> Option<usize> {
        let at = self.columns.iter().position(|known| known.name == column)?;
        self.places.get(at).copied().flatten()
    }

    /// The row's cells as text, without the white space around them.
    pub(crate) fn cells<'r>(&self, row: &'r ByteRecord) -> Result<Cells<'_, 'r>, Refusal> {
        if row.len() != self.names.len() {
            let message = format!("the row has {} fields and the header {}", row.len(), self.names.len());
            return Err(Refusal::invalid(vec![(String::new(), message)]));
        }
        let mut wrong = Vec::new();
        let mut texts = Vec::with_capacity(self.columns.len());
        for (column, place) in self.columns.iter().zip(&self.places) {
            let bytes = place.and_then(|place| row.get(place)).unwrap_or_default();
            match std::str::from_utf8(bytes) {
                Ok(text) => texts.push(text.trim()),
                Err(error) => {
                    let message = format!("is not UTF-8 (at byte {} of the field)", error.valid_up_to());
                    wrong.push((column.name.to_owned(), message));
                }
            }
        }
        if wrong.is_empty() { Ok(Cells { columns: self.columns, texts }) } else { Err(Refusal::invalid(wrong)) }
    }
}

/// The cells of one row.
#[derive(Debug)]
pub(crate) struct Cells<'h, 'r> {
    columns: &'h [Column],
    texts: Vec<&'r str>,
}

impl<'r> Cells<'_, 'r> {
    /// The cell in a column; empty if the file has no such column.
    pub(crate) fn get(&self, column: &str) -> &'r str {
        let place = self.columns.iter().position(|known| known.name == column);
        place.and_then(|place| self.texts.get(place)).copied().unwrap_or_default()
    }
}

impl Sheet {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path, delimiter: u8, columns: &'static [Column]) -> Result<Self> {
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        // Its bytes as columns would say nothing to anybody.
        if file.fill_buf().map_err(|error| Failure::file(path, &error))?.starts_with(ARCHIVE) {
            let name = path.display();
            return Err(Failure::Usage(format!(
                "{name}: a spreadsheet, and no comma-separated values: give --format xlsx"
            )));
        }
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(file);
        let names = reader.byte_headers().map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        let header =
            Header::read(names, columns).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        Ok(Self { reader, header })
    }

    /// The header.
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// How many bytes of the file have been read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next row, in its own bytes.
    pub(crate) fn next(&mut self) -> Result<Option<ByteRecord>> {
        let mut row = ByteRecord::new();
        match self.reader.read_byte_record(&mut row) {
            Ok(true) => Ok(Some(row)),
            Ok(false) => Ok(None),
            Err(error) => Err(Failure::Failed(format!("the file cannot be read further: {error}"))),
        }
    }
}

/// Why a row was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reason, a value of `ErrorReason`.
    pub(crate) reason: String,
    /// What is wrong, for a person.
    pub(crate) message: String,
    /// The columns that are wrong; empty when it is none in particular.
    pub(crate) field: String,
}

impl Refusal {
    /// Columns that cannot be read, each with what is wrong with it.
    pub(crate) fn invalid(wrong: Vec<(String, String)>) -> Self {
        let sentence = |(field, message): &(String, String)| {
            if field.is_empty() { message.clone() } else { format!("{field} {message}") }
        };
        Self {
            reason: "REQUEST_INVALID".to_owned(),
            message: wrong.iter().map(sentence).collect::<Vec<_>>().join("; "),
            field: distinct(wrong.into_iter().map(|(field, _)| field)),
        }
    }

    /// What a server answered for one item. `column` gives the column for a field's path.
    pub(crate) fn answered(error: &tonic_types::pb::Status, column: impl Fn(&str) -> String) -> Self {
        Self::new(&error.get_error_details(), &error.message, column)
    }

    fn new(details: &tonic_types::ErrorDetails, message: &str, column: impl Fn(&str) -> String) -> Self {
        let reason = failure::reason(details).unwrap_or("UNKNOWN").to_owned();
        let wrong: Vec<(String, String)> =
            failure::fields(details).map(|(field, description)| (column(field), description.to_owned())).collect();
        if wrong.is_empty() {
            return Self { reason, message: message.to_owned(), field: String::new() };
        }
        Self { reason, ..Self::invalid(wrong) }
    }
}

fn distinct(fields: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for field in fields.filter(|field| !field.is_empty()) {
        if !seen.contains(&field) {
            seen.push(field);
        }
    }
    seen.join("; ")
}

/// Writes the refused rows of a file beside it: `FILE.rejects.csv`, with the columns of the file and then the reason, the
/// message and the field. Corrected, that file can be given to the same command.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    header: Header,
    delimiter: u8,
    writer: Option<csv::Writer<File>>,
    count: u64,
}

impl Rejects {
    /// For the rows of a file. Those of an earlier run are taken away, so that they do not seem to be of this one.
    pub(crate) fn beside(file: &Path, header: &Header, delimiter: u8) -> Result<Self> {
        let path = rejects_path(file);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file(&path, &error)),
            _ => Ok(Self { path, header: header.clone(), delimiter, writer: None, count: 0 }),
        }
    }

    /// Where they are written.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Writes one row with its reason.
    pub(crate) fn write(&mut self, row: &ByteRecord, refusal: &Refusal) -> Result<()> {
        let failed = |error: csv::Error| Failure::Failed(format!("{}: {error}", self.path.display()));
        let own =
            |at: &usize| !self.header.names.get(*at).is_some_and(|name| REASONS.iter().any(|r| r.as_bytes() == name));
        let width = self.header.names.len();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut builder = csv::WriterBuilder::new();
                let file = File::create(&self.path).map_err(|error| Failure::file(&self.path, &error))?;
                let mut writer = builder.delimiter(self.delimiter).flexible(true).from_writer(file);
                let names = (0..width).filter(own).filter_map(|at| self.header.names.get(at));
                writer.write_record(names.chain(REASONS.iter().map(|name| name.as_bytes()))).map_err(failed)?;
                none.insert(writer)
            }
        };
        let cells = (0..width).filter(own).map(|at| row.get(at).unwrap_or_default());
        let reasons = [&refusal.reason, &refusal.message, &refusal.field].map(String::as_bytes);
        // Fields beyond the header have no column of their own; they are kept behind the reasons.
        let beyond = (width..row.len()).filter_map(|at| row.get(at));
        // Nobody knows which fields a short row lacks: filled up with empty ones, it would be taken for a whole one.
        let short = (row.len() < width).then_some(&b""[..]);
        writer.write_record(cells.chain(reasons).chain(beyond).chain(short)).map_err(failed)?;
        self.count += 1;
        Ok(())
    }

    /// Makes sure that everything is in the file.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.writer.as_mut().map_or(Ok(()), csv::Writer::flush).map_err(|error| Failure::file(&self.path, &error))
    }
}

fn rejects_path(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or(file.as_os_str()).to_os_string();
    let mut name = stem;
    name.push(".rejects.csv");
    file.with_file_name(name)
}

/// Reads the one byte that parts the fields.
pub(crate) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        b"\\t" => Ok(b'\t'),
        _ => Err("must be one ASCII character, or \\t".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use bolero::{check, one_value_of};

    use super::*;
    use crate::cli::fuzz::{INPUTS, edited, edits, texts};

    const COLUMNS: &[Column] = &[Column { name: "url", required: true }, Column { name: "note", required: false }];

    fn header(names: &[&str]) -> Result<Header, String> {
        Header::read(&ByteRecord::from(names.to_vec()), COLUMNS)
    }

    #[test]
    fn a_spreadsheet_is_named_and_not_read_as_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("2020.xlsx");
        std::fs::write(&path, b"PK\x03\x04\x14\x00\x00\x00").unwrap();
        let refused = Sheet::open(&path, b',', COLUMNS).unwrap_err();
        assert!(refused.to_string().contains("2020.xlsx: a spreadsheet"), "{refused}");
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_spelling() {
        let header = header(&["\u{feff}Note ", "URL"]).unwrap();
        let row = ByteRecord::from(vec![" b ", "a"]);
        let cells = header.cells(&row).unwrap();
        assert_eq!((cells.get("url"), cells.get("note"), cells.get("other")), ("a", "b", ""));
    }

    #[test]
    fn a_header_says_everything_that_is_wrong_with_it() {
        let wrong = header(&["notes", "note", "note"]).unwrap_err();
        assert_eq!(
            wrong,
            "the column url is missing; the column \"notes\" is not known; the column note is there twice; the header may \
             have url,note"
        );
        assert!(header(&["url", "reason", "message", "field"]).is_ok());
    }

    #[test]
    fn bytes_that_are_not_text_and_rows_of_another_width_are_refused() {
        let header = header(&["url", "note"]).unwrap();
        let refusal = header.cells(&ByteRecord::from(vec![b"a".to_vec(), b"caf\xe9".to_vec()])).unwrap_err();
        assert_eq!((refusal.field.as_str(), refusal.reason.as_str()), ("note", "REQUEST_INVALID"));
        assert_eq!(refusal.message, "note is not UTF-8 (at byte 3 of the field)");
        let refusal = header.cells(&ByteRecord::from(vec!["a"])).unwrap_err();
        assert_eq!(refusal.message, "the row has 1 fields and the header 2");
    }

    #[test]
    fn refused_rows_keep_their_bytes_and_can_be_given_in_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pages.csv");
        let header = header(&["url", "reason", "note"]).unwrap();
        let mut rejects = Rejects::beside(&file, &header, b',').unwrap();
        let refusal = Refusal { reason: "R".into(), message: "M, really".into(), field: "url".into() };
        rejects.write(&ByteRecord::from(vec![b"a".to_vec(), b"old".to_vec(), b"caf\xe9".to_vec()]), &refusal).unwrap();
        rejects.write(&ByteRecord::from(vec!["b", "old", "c", "more"]), &refusal).unwrap();
        rejects.finish().unwrap();
        let bytes = std::fs::read(folder.path().join("pages.rejects.csv")).unwrap();
        assert_eq!(
            bytes,
            b"url,note,reason,message,field\na,caf\xe9,R,\"M, really\",url\nb,c,R,\"M, really\",url,more\n"
        );
        assert_eq!(rejects.count(), 2);
        drop(Rejects::beside(&file, &header, b',').unwrap());
        assert!(!rejects.path().exists());
    }

    /// Whatever is in a file: its refused rows can be given in again, and say the same.
    #[test]
    fn fuzz_sheets() {
        const PIECES: &[&str] =
            &["url", "note", "reason", ",", ",", ";", "\"", "\"\"", "\n", "\r\n", "\u{feff}", " ", "a"];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pages.csv");
        let refusal = Refusal { reason: "R".into(), message: "M, \"really\"".into(), field: "url".into() };
        let header = one_value_of(["url,note\n", "\u{feff}Note ,URL,reason\r\n", "url\n", ""]);
        check!().with_iterations(INPUTS / 4).with_generator((header, texts(PIECES), edits())).for_each(
            |(header, text, edits)| {
                std::fs::write(&path, edited(format!("{header}{text}").as_bytes(), edits)).unwrap();
                let Ok(mut sheet) = Sheet::open(&path, b',', COLUMNS) else { return };
                let header = sheet.header().clone();
                let mut rejects = Rejects::beside(&path, &header, b',').unwrap();
                let mut rows = Vec::new();
                while let Some(row) = sheet.next().unwrap() {
                    rejects.write(&row, &refusal).unwrap();
                    rows.push(row);
                }
                rejects.finish().unwrap();
                assert_eq!(rejects.path().exists(), !rows.is_empty());
                if rows.is_empty() {
                    return;
                }
                let mut again = Sheet::open(rejects.path(), b',', COLUMNS).unwrap();
                for row in rows {
                    let read = again.next().unwrap().unwrap();
                    match (header.cells(&row), again.header().cells(&read)) {
                        (Ok(first), Ok(second)) => assert_eq!(first.texts, second.texts),
                        // A row that is too short or too long stays so, and is not taken for a whole one.
                        (Err(first), Err(second)) => assert_eq!(first.field, second.field),
                        (first, second) => panic!("{row:?} gave {first:?}, and given in again {second:?}"),
                    }
                }
                assert!(again.next().unwrap().is_none());
            },
        );
    }
}
