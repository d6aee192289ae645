//! A report as a table: the rows, then the total, in the same columns whatever the form of the file. Each line repeats what it counts and as
//! of when, so that no figure can be cut loose from it; a figure that does not exist is absent. Under a grant what is withheld is absent,
//! too, and named in a last column.

use portreeve_api::reporting::v1 as wire;
use portreeve_core::Date;

use crate::domain::report::AGES_FROM;
use crate::domain::{Dimension, Disposition};
use crate::rpc::convert::{dimension_name, read_dimension, write_disposition};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words.
    Text,
    /// Days.
    Date,
    /// Whole numbers.
    Whole,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name.
    pub(super) name: String,
    /// What it holds.
    pub(super) kind: Kind,
}

/// What is in a column of a line, by the column's kind; nothing where it does not exist or is withheld.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// In a column of words.
    Text(String),
    /// In a column of days.
    Date(Date),
    /// In a column of whole numbers.
    Whole(i64),
    /// In any.
    Absent,
}

const DATES: [&str; 4] = ["cohort_from_date", "cohort_until_date", "as_of_date", "known_at_date"];
const BUCKETS: [&str; 5] = ["referred", "closed", "not_in_breach", "undecided", "other"];
const AGES: [&str; 8] = [
    "undecided_0_to_6_days",
    "undecided_7_to_29_days",
    "undecided_30_to_89_days",
    "undecided_90_to_179_days",
    "undecided_180_or_more_days",
    "undecided_age_p50_days",
    "undecided_age_p90_days",
    "undecided_age_max_days",
];
const TIMES: [&str; 6] = [
    "decision_times_n",
    "decision_times_decided",
    "decided_only_median_days",
    "decided_only_p90_days",
    "censored_median_days",
    "censored_p90_days",
];

/// The columns of a report.
pub(super) fn columns(report: &wire::Report) -> Vec<Column> {
    let column = |kind| move |name: &str| Column { name: name.to_owned(), kind };
    let dimensions = dimensions(report).map(|dimension| {
        let kind = if is_day(dimension) { Kind::Date } else { Kind::Text };
        Column { name: dimension_name(dimension).to_lowercase(), kind }
    });
    let dispositions = Disposition::ALL.iter().map(|disposition| Column {
        name: format!("disposition_{}", write_disposition(*disposition).to_lowercase()),
        kind: Kind::Whole,
    });
    let mut columns = vec![column(Kind::Text)("line")];
    columns.extend(DATES.map(column(Kind::Date)));
    columns.extend(dimensions);
    columns.extend(BUCKETS.map(column(Kind::Whole)));
    columns.extend(dispositions);
    columns.extend(AGES.into_iter().chain(TIMES).chain(["targets"]).map(column(Kind::Whole)));
    columns.extend(report.grant_use.iter().map(|_| column(Kind::Text)("withheld")));
    columns
}

/// How many lines there are.
pub(super) fn lines(report: &wire::Report) -> usize {
    report.rows.len() + usize::from(report.total.is_some())
}

/// The lines from one on, in the order of the columns.
pub(super) fn cells(report: &wire::Report, from: usize) -> impl Iterator<Item = Vec<Cell>> {
    let rows = report.rows.iter().map(|row| ("row", row)).chain(report.total.iter().map(|row| ("total", row)));
    rows.skip(from).map(move |(line, row)| cells_of(report, line, row))
}

fn dimensions(report: &wire::Report) -> impl Iterator<Item = Dimension> {
    let definition = report.definition.as_ref();
    definition.into_iter().flat_map(|of| &of.dimensions).filter_map(|code| read_dimension(*code))
}

const fn is_day(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::CohortDay | Dimension::EventDay)
}

fn day(text: &str) -> Cell {
    text.parse().map_or(Cell::Absent, Cell::Date)
}

fn cells_of(report: &wire::Report, line: &str, row: &wire::ReportRow) -> Vec<Cell> {
    let definition = report.definition.clone().unwrap_or_default();
    let mut cells = vec![Cell::Text(line.to_owned())];
    let dates = [
        &definition.cohort_from_date,
        &definition.cohort_until_date,
        &definition.as_of_date,
        &definition.known_at_date,
    ];
    cells.extend(dates.map(|date| day(date)));
    // The total has none.
    let values = row.key.iter().map(Some).chain(std::iter::repeat(None));
    cells.extend(dimensions(report).zip(values).map(|(dimension, value)| match value {
        Some(value) if is_day(dimension) => day(&value.value),
        Some(value) => Cell::Text(value.value.clone()),
        None => Cell::Absent,
    }));
    cells.extend(figures(row));
    if report.grant_use.is_some() {
        let withheld = withheld(row).into_iter().map(name);
        cells.push(Cell::Text(withheld.collect::<Vec<_>>().join(" ")));
    }
    cells
}

/// What is withheld of a row.
fn withheld(row: &wire::ReportRow) -> Vec<wire::Figure> {
    row.withheld.iter().flat_map(wire::Withheld::figures).collect()
}

/// The figure's column, or what its columns begin with.
fn name(figure: wire::Figure) -> String {
    figure.as_str_name().trim_start_matches("FIGURE_").to_lowercase()
}

fn whole(number: impl TryInto<i64>) -> Cell {
    number.try_into().map_or(Cell::Absent, Cell::Whole)
}

fn figures(row: &wire::ReportRow) -> Vec<Cell> {
    use wire::Figure;
    let withheld = withheld(row);
    let shown = |figure, cell: Cell| if withheld.contains(&figure) { Cell::Absent } else { cell };
    let counts = row.counts.clone().unwrap_or_default();
    let ages = row.undecided_ages.clone().unwrap_or_default();
    let times = row.decision_times.unwrap_or_default();
    let days = |days: Option<u32>| days.map_or(Cell::Absent, whole);
    let mut cells = [
        (Figure::Referred, counts.referred),
        (Figure::Closed, counts.closed),
        (Figure::NotInBreach, counts.not_in_breach),
        (Figure::Undecided, counts.undecided),
        (Figure::Other, counts.other),
    ]
    .map(|(figure, count)| shown(figure, whole(count)))
    .to_vec();
    cells.extend(Disposition::ALL.iter().map(|disposition| {
        let found = counts.detail.iter().find(|detail| detail.disposition == disposition.code());
        shown(Figure::Dispositions, whole(found.map_or(0, |detail| detail.count)))
    }));
    cells.extend(AGES_FROM.iter().enumerate().map(|(index, _)| {
        shown(Figure::UndecidedAges, whole(ages.buckets.get(index).map_or(0, |bucket| bucket.count)))
    }));
    cells.extend([ages.p50_days, ages.p90_days, ages.max_days].map(days));
    cells.extend(
        [(Figure::DecisionTimesN, times.n), (Figure::DecisionTimesDecided, times.decided)]
            .map(|(figure, count)| shown(figure, whole(count))),
    );
    cells.extend(
        [
            times.decided_only_median_days,
            times.decided_only_p90_days,
            times.censored_median_days,
            times.censored_p90_days,
        ]
        .map(days),
    );
    cells.push(shown(Figure::Targets, whole(counts.targets)));
    cells
}
