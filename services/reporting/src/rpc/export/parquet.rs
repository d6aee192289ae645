//! Apache Parquet.

use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, Type as Physical};
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::Result;

use super::table::{Cell, Column, Kind, cells, columns, lines};
use super::{canonical, failed};

/// Lines that are written, and lie in memory, together.
const ROW_GROUP_LINES: usize = 4_096;

/// The report as Parquet, in the parts in which it is written: a row group each, and at the end the footer with the definition and the digest. Words
/// are UTF-8, days DATE, and numbers INT64; what is absent is null.
pub(in crate::rpc) fn parquet(report: Arc<wire::Report>) -> Result<impl Iterator<Item = Result<Vec<u8>>> + Send> {
    let columns = columns(&report);
    let mut writer = Some(writer(&report, &columns)?);
    let mut line = 0;
    Ok(std::iter::from_fn(move || {
        let open = writer.as_mut()?;
        if line < lines(&report) {
            let group = cells(&report, line).take(ROW_GROUP_LINES).collect::<Vec<_>>();
            line += group.len();
            let written = row_group(open, &columns, &group);
            return Some(written.map(|()| std::mem::take(open.inner_mut())).map_err(|error| failed(&error)));
        }
        let end = writer.take().map(SerializedFileWriter::into_inner)?;
        Some(end.map_err(|error| failed(&error)))
    }))
}

fn writer(report: &wire::Report, columns: &[Column]) -> Result<SerializedFileWriter<Vec<u8>>> {
    let definition = report.definition.clone().unwrap_or_default();
    let definition = canonical(&definition, "portreeve.reporting.v1.ReportDefinition")?;
    let definition = String::from_utf8(definition).map_err(|error| failed(&error))?;
    let told = [
        ("portreeve.definition", definition),
        ("portreeve.digest", report.digest.clone()),
        ("portreeve.settled", report.settled.to_string()),
    ];
    let properties = WriterProperties::builder()
        .set_created_by(concat!("portreeve ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(told.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec()))
        .build();
    let schema = schema(columns).map_err(|error| failed(&error))?;
    SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties)).map_err(|error| failed(&error))
}

fn schema(columns: &[Column]) -> Result<Type, ParquetError> {
    let fields = columns.iter().map(|column| {
        let (physical, logical) = match column.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
            Kind::Whole => (Physical::INT64, None),
        };
        let field = Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL);
        field.with_logical_type(logical).build().map(Arc::new)
    });
    Type::group_type_builder("report").with_fields(fields.collect::<Result<_, _>>()?).build()
}

fn row_group(
    writer: &mut SerializedFileWriter<Vec<u8>>,
    columns: &[Column],
    lines: &[Vec<Cell>],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for place in 0..columns.len() {
        let column = group.next_column()?.ok_or_else(|| ParquetError::General("a column is missing".to_owned()))?;
        write(column, lines.iter().filter_map(|line| line.get(place)))?;
    }
    group.close().map(drop)
}

fn write<'c>(
    mut column: SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'c Cell> + Clone,
) -> Result<(), ParquetError> {
    let there = cells.clone().map(|cell| i16::from(*cell != Cell::Absent)).collect::<Vec<_>>();
    match column.untyped() {
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let values = cells.filter_map(|cell| match cell {
                Cell::Text(text) => Some(ByteArray::from(text.as_str())),
                Cell::Date(_) | Cell::Whole(_) | Cell::Absent => None,
            });
            writer.write_batch(&values.collect::<Vec<_>>(), Some(&there), None)?;
        }
        ColumnWriter::Int32ColumnWriter(writer) => {
            let values = cells.filter_map(|cell| match cell {
                Cell::Date(date) => Some(date.days()),
                Cell::Text(_) | Cell::Whole(_) | Cell::Absent => None,
            });
            writer.write_batch(&values.collect::<Vec<_>>(), Some(&there), None)?;
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let values = cells.filter_map(|cell| match cell {
                Cell::Whole(number) => Some(*number),
                Cell::Text(_) | Cell::Date(_) | Cell::Absent => None,
            });
            writer.write_batch(&values.collect::<Vec<_>>(), Some(&there), None)?;
        }
        _ => return Err(ParquetError::General("a column is of no kind".to_owned())),
    }
    column.close()
}

#[cfg(test)]
mod tests {
    use ::parquet::file::metadata::RowGroupMetaData;
    use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_large_report_is_written_a_row_group_at_a_time() {
        let key = |line: usize| wire::DimensionValue { dimension: 9, value: format!("2026-01-{:02}", line % 28 + 1) };
        let counts = |line: usize| wire::Counts { referred: i64::try_from(line).unwrap(), ..wire::Counts::default() };
        let rows = (0..2 * ROW_GROUP_LINES).map(|line| wire::ReportRow {
            key: vec![key(line)],
            counts: Some(counts(line)),
            ..wire::ReportRow::default()
        });
        let definition = wire::ReportDefinition { dimensions: vec![9], ..wire::ReportDefinition::default() };
        let report = wire::Report {
            definition: Some(definition),
            rows: rows.collect(),
            total: Some(wire::ReportRow::default()),
            ..wire::Report::default()
        };
        let parts = parquet(Arc::new(report)).unwrap().collect::<Result<Vec<_>>>().unwrap();
        // Two whole groups, the total, and the footer; none of them is the file.
        assert_eq!(parts.len(), 4);
        let (longest, all) = (parts.iter().map(Vec::len).max().unwrap(), parts.concat());
        assert!(longest < all.len() * 6 / 10, "{longest} of {}", all.len());
        let file = SerializedFileReader::new(Bytes::from(all)).unwrap();
        let groups = file.metadata().row_groups().iter().map(RowGroupMetaData::num_rows);
        assert_eq!(groups.collect::<Vec<_>>(), [4_096, 4_096, 1]);
        let last = file.get_row_iter(None).unwrap().last().unwrap().unwrap();
        let shown = last.get_column_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert!(
            shown.contains(&"line=\"total\"".to_owned()) && shown.contains(&"cohort_day=null".to_owned()),
            "{shown:?}"
        );
    }
}
