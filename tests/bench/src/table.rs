//! The table of results.

use std::fmt;
use std::time::Duration;

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// It must be at least this.
    AtLeast(f64),
    /// It must be at most this.
    AtMost(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// The results, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
    missed: bool,
}

impl Table {
    /// Adds a result: what was measured, the figures behind it, the value and its unit, and the limit on the value.
    pub(crate) fn add(&mut self, what: &str, figures: String, value: f64, unit: &str, limit: Limit) {
        let holds = limit.holds(value);
        self.missed |= !holds;
        let (sign, bound) = match limit {
            Limit::AtLeast(bound) => (">=", bound),
            Limit::AtMost(bound) => ("<=", bound),
        };
        let verdict = if holds { "PASS" } else { "MISS" };
        eprintln!("{what}: {figures}: {value:.2}{unit} ({sign} {bound}{unit}) {verdict}");
        self.rows.push([
            what.to_owned(),
            figures,
            format!("{value:.2}{unit}"),
            format!("{sign} {bound}{unit}"),
            verdict.to_owned(),
        ]);
    }

    /// Adds a line for what was not measured, with the reason.
    pub(crate) fn skip(&mut self, what: &str, why: String) {
        eprintln!("{what}: not measured: {why}");
        self.rows.push([what.to_owned(), why, "-".to_owned(), "-".to_owned(), "not measured".to_owned()]);
    }

    /// Whether a limit was missed.
    pub(crate) const fn missed(&self) -> bool {
        self.missed
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["what", "figures (medians)", "value", "limit", "verdict"]);
        table.add_rows(&self.rows);
        write!(f, "{table}")
    }
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, *upper),
        (Some(upper), _) => *upper,
        (None, _) => f64::NAN,
    }
}

/// The middle of the rounds' ratios: what disturbs a machine for a while disturbs both sides of a round.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(&ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
}

/// How many there were a second.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Microseconds of a number of nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

/// The processor time that this process has used, all of its threads together, in microseconds; to be told beside the
/// figures, since it does not depend on what else the machine does. 0 where the system does not tell.
pub(crate) fn processor() -> f64 {
    // Clock ticks are hundredths of a second on every Linux that matters here.
    let read = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(11).map_while(|field| field.parse::<f64>().ok());
        Some((fields.next()? + fields.next()?) * 10_000.0)
    };
    read().unwrap_or_default()
}
