//! Tables in a terminal.

use std::io::IsTerminal as _;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent};

/// A table with a rule under its header and no other lines.
#[derive(Debug)]
pub(crate) struct Lines {
    table: Table,
    numbers: Vec<bool>,
}

impl Lines {
    /// A table with these columns; those whose heading ends with `#` hold numbers and are set to the right.
    pub(crate) fn new<'h>(headings: impl IntoIterator<Item = &'h str>) -> Self {
        let headings: Vec<&str> = headings.into_iter().collect();
        let numbers: Vec<bool> = headings.iter().map(|heading| heading.ends_with('#')).collect();
        let mut table = Table::new();
        table.load_preset(NOTHING);
        for part in [
            TableComponent::HeaderLines,
            TableComponent::LeftHeaderIntersection,
            TableComponent::MiddleHeaderIntersections,
            TableComponent::RightHeaderIntersection,
        ] {
            table.set_style(part, '─');
        }
        if std::io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let mut lines = Self { table, numbers };
        let cells = lines.cells(headings.iter().map(|heading| heading.trim_end_matches('#').to_owned()));
        lines.table.set_header(cells);
        lines
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, values: impl IntoIterator<Item = String>) {
        let cells = self.cells(values);
        self.table.add_row(cells);
    }

    fn cells(&self, values: impl IntoIterator<Item = String>) -> Vec<Cell> {
        let numbers = self.numbers.iter().copied().chain(std::iter::repeat(false));
        let aligned = |(value, number): (String, bool)| {
            Cell::new(value).set_alignment(if number { CellAlignment::Right } else { CellAlignment::Left })
        };
        values.into_iter().zip(numbers).map(aligned).collect()
    }
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.table.to_string();
        // The rule begins and ends where the cells do.
        let line = |line: &str| match line.strip_prefix("──").and_then(|line| line.strip_suffix('─')) {
            Some(rule) => format!("  {rule}"),
            None => line.trim_end().to_owned(),
        };
        f.write_str(&text.lines().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// A heading: bold where the terminal can show it and the user has not asked for plain text (no-color.org).
pub(crate) fn heading(text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !std::io::stdout().is_terminal();
    if plain { text.to_owned() } else { format!("\u{1b}[1m{text}\u{1b}[0m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Lines::new(["Platform", "Referred#"]);
        table.row(["harbourbook".to_owned(), "702".to_owned()]);
        table.row(["Total".to_owned(), "1,218".to_owned()]);
        let shown: Vec<String> = table.to_string().lines().map(str::to_owned).collect();
        assert_eq!(shown[0], "  Platform      Referred");
        assert_eq!(shown[1], "  ───────────────────────");
        assert_eq!(&shown[2..], ["  harbourbook        702", "  Total            1,218"]);
    }
}
