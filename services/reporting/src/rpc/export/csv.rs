//! Comma-separated values (RFC 4180).

use portreeve_api::reporting::v1 as wire;

use super::table::{Cell, cells, columns};

/// The report as comma-separated values; what is absent is empty.
pub(in crate::rpc) fn csv(report: &wire::Report) -> Vec<u8> {
    let mut file = line(columns(report).into_iter().map(|column| column.name));
    for row in cells(report, 0) {
        file.push_str(&line(row.into_iter().map(|cell| match cell {
            Cell::Text(text) => text,
            Cell::Date(date) => date.to_string(),
            Cell::Whole(number) => number.to_string(),
            Cell::Absent => String::new(),
        })));
    }
    file.into_bytes()
}

fn line(fields: impl Iterator<Item = String>) -> String {
    let quoted = fields.map(|field| {
        if field.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    });
    let mut line = quoted.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let fields = ["a", "b,c", "d\"e", "f\ng", ""].map(str::to_owned);
        assert_eq!(line(fields.into_iter()), "a,\"b,c\",\"d\"\"e\",\"f\ng\",\r\n");
    }
}
