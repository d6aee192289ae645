//! What of a report is withheld from researchers, so that no small count can be read or computed from what is shown.
//!
//! The counts of a report are a table: its rows and their total, each with four buckets and their sum, `referred`. Counts
//! from 1 to below the minimum are withheld; alone they could be computed from the sums, so that others are withheld with
//! them. A table is good if each withheld count lies on a cycle of withheld ones that can be moved around it by the minimum
//! less one, up here and down there, without a sum changing and without one falling below 1: then a small one could as well
//! be at or above the minimum, and none is known exactly. Of the tables that are good the first of these is taken:
//!
//! 1. the small counts, each with the least count of its row that can balance it;
//! 2. these, and the same columns of the smallest row in which all of them can give;
//! 3. if rows are withheld whole: these, the smallest row with enough in one column, and the columns in the total;
//! 4. these, and all columns concerned in the total, which can always give. Then the withheld sums bind nothing any more.
//!
//! What the figures do that are no counts of this table is in the contract, with `GrantUse`.

use super::Bucket;
use super::report::{Report, Row};

/// A figure of a row, or figures that come together: the values of `portreeve.reporting.v1.Figure`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// All referrals.
    Referred,
    /// Those closed.
    Closed,
    /// Those not in breach.
    NotInBreach,
    /// Those undecided.
    Undecided,
    /// All others.
    Other,
    /// The counts by disposition.
    Dispositions,
    /// The undecided by age.
    UndecidedAges,
    /// The median age.
    UndecidedAgeP50Days,
    /// The 90th percentile of ages.
    UndecidedAgeP90Days,
    /// The highest age.
    UndecidedAgeMaxDays,
    /// All that waited for a decision.
    DecisionTimesN,
    /// Those decided.
    DecisionTimesDecided,
    /// The median of the decided alone.
    DecidedOnlyMedianDays,
    /// The 90th percentile of the decided alone.
    DecidedOnlyP90Days,
    /// The median with the undecided.
    CensoredMedianDays,
    /// The 90th percentile with the undecided.
    CensoredP90Days,
    /// The targets.
    Targets,
}

impl Figure {
    /// Every figure, in the order of the contract.
    pub const ALL: [Self; 17] = [
        Self::Referred,
        Self::Closed,
        Self::NotInBreach,
        Self::Undecided,
        Self::Other,
        Self::Dispositions,
        Self::UndecidedAges,
        Self::UndecidedAgeP50Days,
        Self::UndecidedAgeP90Days,
        Self::UndecidedAgeMaxDays,
        Self::DecisionTimesN,
        Self::DecisionTimesDecided,
        Self::DecidedOnlyMedianDays,
        Self::DecidedOnlyP90Days,
        Self::CensoredMedianDays,
        Self::CensoredP90Days,
        Self::Targets,
    ];
}

/// What is withheld of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Of each row, in their order.
    pub rows: Vec<Vec<Figure>>,
    /// Of the total.
    pub total: Vec<Figure>,
}

/// What is withheld of a report whose counts below the minimum are not shown. `by_cohort` says whether its rows are spans of
/// days: the ages follow from these.
pub fn withheld(report: &Report, minimum: u32, by_cohort: bool) -> Withheld {
    let minimum = i64::from(minimum);
    let table = Table::withholding(report, minimum);
    let nothing = table.rows.iter().chain([&table.total]).all(|line| line.hidden.is_empty());
    let ages = report.total.ages.buckets.iter().all(|count| !is_small(signed(*count), minimum));
    let rows = table.rows.iter().map(|line| line.figures(minimum, false));
    Withheld { rows: rows.collect(), total: table.total.figures(minimum, nothing && ages && !by_cohort) }
}

/// Whether a count is withheld for what it is.
const fn is_small(count: i64, minimum: i64) -> bool {
    count != 0 && count < minimum
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The columns: the buckets and their sum, which has the other sign.
const COLUMNS: usize = 5;
const SUM: usize = 4;

/// Some of the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Columns(u8);

impl Columns {
    const fn of(column: usize) -> Self {
        Self(1 << column)
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn has(self, column: usize) -> bool {
        self.0 >> column & 1 == 1
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..COLUMNS).filter(move |column| self.has(*column))
    }
}

/// A row of the table, or its total.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    counts: [i64; COLUMNS],
    hidden: Columns,
}

impl Line {
    fn new(row: &Row) -> Self {
        let of = |bucket| row.counts.bucket(bucket);
        let counts = [Bucket::Closed, Bucket::NotInBreach, Bucket::Undecided, Bucket::Other].map(of);
        let [closed, not_in_breach, undecided, other] = counts;
        Self { counts: [closed, not_in_breach, undecided, other, row.counts.referred()], hidden: Columns::default() }
    }

    fn count(&self, column: usize) -> i64 {
        self.counts.get(column).copied().unwrap_or_default()
    }

    fn columns(&self, chosen: impl Fn(usize, i64) -> bool) -> Columns {
        let chosen = (0..COLUMNS).filter(|column| chosen(*column, self.count(*column)));
        chosen.fold(Columns::default(), |all, column| all.and(Columns::of(column)))
    }

    /// The same with these columns hidden, too. A nought is never hidden.
    fn hide(self, columns: Columns) -> Self {
        let hidden = self.columns(|column, count| columns.has(column) && count != 0);
        Self { hidden: self.hidden.and(hidden), ..self }
    }

    /// The bucket with the least count that can give, or with the greatest.
    fn bucket(&self, minimum: i64, least: bool) -> Option<usize> {
        let giving = (0..SUM).filter(|column| self.count(*column) >= minimum);
        if least {
            giving.min_by_key(|column| self.count(*column))
        } else {
            giving.max_by_key(|column| self.count(*column))
        }
    }

    /// With its small counts hidden, and what can balance them: the least bucket that can give, or else the sum.
    fn with_small_hidden(self, minimum: i64) -> Self {
        let hidden = self.columns(|_, count| is_small(count, minimum));
        if hidden.is_empty() || hidden.has(SUM) {
            return Self { hidden, ..self };
        }
        let balance = self.bucket(minimum, true).unwrap_or(SUM);
        Self { hidden: hidden.and(Columns::of(balance)), ..self }
    }

    /// The hidden columns in which the line's part of the column's sum can be less, and those in which it can be more. The
    /// sum of a row has the other sign; so has the total in each column.
    fn moves(&self, minimum: i64, is_total: bool) -> (Columns, Columns) {
        let hidden = |sign: bool| {
            self.columns(|column, count| self.hidden.has(column) && ((column == SUM) == sign || count >= minimum))
        };
        let (less, more) = (hidden(true), hidden(false));
        if is_total { (more, less) } else { (less, more) }
    }

    /// What is not shown.
    fn figures(&self, minimum: i64, ages: bool) -> Vec<Figure> {
        let whole = self.hidden.is_empty();
        let [closed, not_in_breach, undecided, _, referred] = self.counts;
        // As many as it takes for the minimum to lie on either side of a median, and beyond a 90th percentile.
        let quantile = |of: i64, parts: i64| whole && of >= minimum.saturating_mul(parts);
        let shown = |figure: &Figure| match figure {
            Figure::Closed => !self.hidden.has(0),
            Figure::NotInBreach => !self.hidden.has(1),
            Figure::Undecided => !self.hidden.has(2),
            Figure::Other => !self.hidden.has(3),
            Figure::Referred | Figure::DecisionTimesN => !self.hidden.has(SUM),
            Figure::Dispositions | Figure::UndecidedAgeMaxDays | Figure::DecisionTimesDecided | Figure::Targets => {
                false
            }
            Figure::UndecidedAges => ages,
            Figure::UndecidedAgeP50Days => quantile(undecided, 2),
            Figure::UndecidedAgeP90Days => quantile(undecided, 10),
            Figure::DecidedOnlyMedianDays => quantile(closed + not_in_breach, 2),
            Figure::DecidedOnlyP90Days => quantile(closed + not_in_breach, 10),
            Figure::CensoredMedianDays => quantile(referred, 2),
            Figure::CensoredP90Days => quantile(referred, 10),
        };
        Figure::ALL.into_iter().filter(|figure| !shown(figure)).collect()
    }
}

/// The counts of a report, and which of them are hidden.
#[derive(Clone, Debug)]
struct Table {
    rows: Vec<Line>,
    total: Line,
    minimum: i64,
}

impl Table {
    /// The table in which no small count can be computed.
    fn withholding(report: &Report, minimum: i64) -> Self {
        let rows = report.rows.iter().map(|row| Line::new(row).with_small_hidden(minimum)).collect::<Vec<_>>();
        let total = Line::new(&report.total);
        let total = Line { hidden: total.columns(|_, count| is_small(count, minimum)), ..total };
        let small = Self { rows, total, minimum };
        if small.is_good() {
            return small;
        }
        let with_a_row = small.smallest(|line, columns| columns.iter().all(|column| line.count(column) >= minimum));
        let with_a_row = with_a_row.map(|row| small.clone().hide_in(row, small.concerned()));
        let whole_rows = small.concerned().has(SUM).then(|| small.with_a_sum()).flatten();
        let good = [with_a_row, whole_rows].into_iter().flatten().find(Self::is_good);
        good.unwrap_or_else(|| small.clone().hide_in_total(small.concerned()))
    }

    /// The columns in which something is hidden in a row.
    fn concerned(&self) -> Columns {
        self.rows.iter().fold(Columns::default(), |all, line| all.and(line.hidden))
    }

    /// The smallest row of which nothing is hidden and that will do for the columns concerned.
    fn smallest(&self, will_do: impl Fn(&Line, Columns) -> bool) -> Option<usize> {
        let concerned = self.concerned();
        let rows = self.rows.iter().enumerate().filter(|(_, line)| line.hidden.is_empty() && will_do(line, concerned));
        rows.min_by_key(|(_, line)| line.count(SUM)).map(|(row, _)| row)
    }

    /// With a row that gives in one column and in its sum, and the buckets concerned hidden in the total: its sum stays.
    fn with_a_sum(&self) -> Option<Self> {
        let giving = |line: &Line| line.bucket(self.minimum, false);
        let row = self.smallest(|line, _| giving(line).is_some())?;
        let column = self.rows.get(row).and_then(giving)?;
        let hidden = Columns::of(column).and(Columns::of(SUM));
        let buckets = self.concerned().and(hidden).0 & !Columns::of(SUM).0;
        Some(self.clone().hide_in(row, hidden).hide_in_total(Columns(buckets)))
    }

    fn hide_in(mut self, row: usize, columns: Columns) -> Self {
        if let Some(line) = self.rows.get_mut(row) {
            *line = line.hide(columns);
        }
        self
    }

    fn hide_in_total(mut self, columns: Columns) -> Self {
        self.total = self.total.hide(columns);
        self
    }

    /// Whether each hidden count lies on a cycle of hidden ones that can be moved by the minimum less one.
    ///
    /// A line moves from a column to another if it can be less in the one and more in the other. A cycle leads through the
    /// columns, from each to the next by a line, and at a count's own column from its line to another.
    fn is_good(&self) -> bool {
        let lines = self.rows.iter().map(|line| (line, false)).chain([(&self.total, true)]);
        let lines = lines.filter(|(line, _)| !line.hidden.is_empty());
        let lines = lines.map(|(line, is_total)| (line.hidden, line.moves(self.minimum, is_total))).collect::<Vec<_>>();
        let mut ways = [[0_usize; COLUMNS]; COLUMNS];
        for (_, moves) in &lines {
            step(&mut ways, *moves, |ways| ways + 1);
        }
        lines.iter().all(|(hidden, (less, more))| {
            let mut others = ways;
            step(&mut others, (*less, *more), |ways| ways.saturating_sub(1));
            let reaches = closure(&others);
            let leads = |from: usize, to: usize| reaches.get(from).is_some_and(|reached| reached.has(to));
            hidden.iter().all(|column| {
                let gives = less.has(column) && more.iter().any(|to| to != column && leads(to, column));
                let takes = more.has(column) && less.iter().any(|from| from != column && leads(column, from));
                gives || takes
            })
        })
    }
}

/// Changes the number of ways from each column that can be less to each that can be more.
fn step(ways: &mut [[usize; COLUMNS]; COLUMNS], (less, more): (Columns, Columns), change: impl Fn(usize) -> usize) {
    for (from, to) in ways.iter_mut().enumerate().filter(|(from, _)| less.has(*from)) {
        for (_, ways) in to.iter_mut().enumerate().filter(|(to, _)| *to != from && more.has(*to)) {
            *ways = change(*ways);
        }
    }
}

/// The columns that can be reached from each.
fn closure(ways: &[[usize; COLUMNS]; COLUMNS]) -> [Columns; COLUMNS] {
    let mut reached = ways.map(|to| {
        let to = to.iter().enumerate().filter(|(_, ways)| **ways > 0);
        to.fold(Columns::default(), |all, (column, _)| all.and(Columns::of(column)))
    });
    for _ in 0..COLUMNS {
        let before = reached;
        for all in &mut reached {
            *all = all.iter().filter_map(|column| before.get(column)).fold(*all, |all, more| all.and(*more));
        }
    }
    reached
}

#[cfg(test)]
mod tests;
