//! A report is a pure function of cells.

use std::collections::BTreeMap;

use portreeve_core::Date;

use super::times::{CurveStep, HALF, Histogram, NINE_TENTHS, Times, curve, quantile};
use super::{Bucket, Clock, Definition, Disposition, Key, Standing, Subject};

/// Cells added up over what a report does not tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// What the referrals are. What the report neither divides by nor needs for ages is left empty.
    pub subject: Subject,
    /// Where they stand; the clause is left empty if the report does not divide by it.
    pub standing: Standing,
    /// Of a flow that divides by it, the day on which they came there; of anything else it says nothing.
    pub event_day: Date,
    /// How many there are, or came there; signed while it is a change.
    pub count: i64,
    /// How many of them count a target; likewise.
    pub targets: i64,
}

/// Referrals by disposition, and the targets among them; signed while they are a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    referrals: [i64; Disposition::ALL.len()],
    /// Referrals without those whose target had been referred in their operation before.
    pub targets: i64,
}

impl Counts {
    /// Adds referrals to one disposition, and the targets that they count.
    pub fn add(&mut self, disposition: Disposition, count: i64, targets: i64) {
        for (of, sum) in Disposition::ALL.iter().zip(&mut self.referrals) {
            if *of == disposition {
                *sum += count;
            }
        }
        self.targets += targets;
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.referrals.iter_mut().zip(other.referrals).for_each(|(sum, count)| *sum += count);
        self.targets += other.targets;
    }

    /// Every disposition with its count, in the order of the contract.
    pub fn detail(&self) -> impl Iterator<Item = (Disposition, i64)> {
        Disposition::ALL.iter().copied().zip(self.referrals)
    }

    /// The count of one bucket.
    pub fn bucket(&self, bucket: Bucket) -> i64 {
        self.detail().filter(|(disposition, _)| disposition.bucket() == bucket).map(|(_, count)| count).sum()
    }

    /// All referrals: the denominator.
    pub fn referred(&self) -> i64 {
        self.referrals.iter().sum()
    }

    /// Whether nothing is counted anywhere.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// The lowest age of each bucket of ages, in days.
pub const AGES_FROM: [i64; 5] = [0, 7, 30, 90, 180];

/// The ages of the undecided, in whole days from the referral to the as-of day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// How many are in each bucket of [`AGES_FROM`].
    pub buckets: [u64; AGES_FROM.len()],
    /// The median.
    pub p50: Option<i64>,
    /// The 90th percentile.
    pub p90: Option<i64>,
    /// The highest.
    pub max: Option<i64>,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The value of each dimension; empty in the total.
    pub key: Key,
    /// The referrals.
    pub counts: Counts,
    /// The ages of the undecided.
    pub ages: Ages,
    /// How long first decisions took.
    pub times: Times,
}

/// The figures of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The rows, ordered by their keys; those without referrals are left out.
    pub rows: Vec<Row>,
    /// All rows together.
    pub total: Row,
}

/// The report of some slices, with ages as of a day.
pub fn report(definition: &Definition, as_of: Date, slices: &[Slice]) -> Report {
    let mut rows = BTreeMap::<Key, Sums>::new();
    let mut all = Sums::default();
    for slice in slices.iter().filter(|slice| slice.count != 0 || slice.targets != 0) {
        rows.entry(definition.key(&slice.subject, &slice.standing, slice.event_day)).or_default().add(slice, as_of);
        all.add(slice, as_of);
    }
    let rows = rows.into_iter().map(|(key, sums)| sums.row(key)).filter(|row| row.counts.referred() != 0);
    Report { rows: rows.collect(), total: all.row(Key::new()) }
}

/// How long the referrals of some slices wait for their first decision, with ages as of a day: the curve of a report's total.
pub fn survival(as_of: Date, slices: &[Slice]) -> Vec<CurveStep> {
    let mut all = Sums::default();
    for slice in slices {
        all.add(slice, as_of);
    }
    let (decided, censored) = all.waited();
    curve(&decided, &censored)
}

/// What came into which bucket: by rows, ordered by their keys, and in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The rows; those into which nothing came are left out.
    pub rows: Vec<(Key, Counts)>,
    /// All rows together.
    pub total: Counts,
}

/// The flow of some slices.
pub fn flow(definition: &Definition, slices: &[Slice]) -> Flow {
    let mut rows = BTreeMap::<Key, Counts>::new();
    let mut total = Counts::default();
    for slice in slices.iter().filter(|slice| slice.count != 0 || slice.targets != 0) {
        let key = definition.key(&slice.subject, &slice.standing, slice.event_day);
        rows.entry(key).or_default().add(slice.standing.disposition, slice.count, slice.targets);
        total.add(slice.standing.disposition, slice.count, slice.targets);
    }
    Flow { rows: rows.into_iter().filter(|(_, counts)| !counts.is_zero()).collect(), total }
}

/// A row while it is added up.
#[derive(Default)]
struct Sums {
    counts: Counts,
    undecided: BTreeMap<i64, i64>,
    decided: BTreeMap<i64, i64>,
    withdrawn: BTreeMap<i64, i64>,
}

impl Sums {
    fn add(&mut self, slice: &Slice, as_of: Date) {
        self.counts.add(slice.standing.disposition, slice.count, slice.targets);
        let (histogram, days) = match slice.standing.clock {
            Clock::Running => {
                let age = i64::from(as_of.days()) - i64::from(slice.subject.cohort_day.days());
                (&mut self.undecided, age.max(0))
            }
            Clock::Decided(days) => (&mut self.decided, days),
            Clock::Withdrawn(days) => (&mut self.withdrawn, days),
        };
        *histogram.entry(days).or_default() += slice.count;
    }

    fn row(self, key: Key) -> Row {
        let counts = self.counts;
        let undecided = positive(self.undecided.clone());
        let mut buckets = [0; AGES_FROM.len()];
        for (age, count) in &undecided {
            let last = AGES_FROM.iter().rposition(|from| from <= age).unwrap_or_default();
            buckets.iter_mut().skip(last).take(1).for_each(|sum| *sum += count);
        }
        let ages = Ages {
            buckets,
            p50: quantile(&undecided, HALF),
            p90: quantile(&undecided, NINE_TENTHS),
            max: undecided.last_key_value().map(|(age, _)| *age),
        };
        let (decided, censored) = self.waited();
        Row { key, counts, ages, times: Times::of(&decided, &censored) }
    }

    /// How long the decided waited, and the others: up to the as-of date, or to their withdrawal.
    fn waited(self) -> (Histogram, Histogram) {
        let [mut censored, decided, withdrawn] = [self.undecided, self.decided, self.withdrawn].map(positive);
        for (days, count) in withdrawn {
            *censored.entry(days).or_default() += count;
        }
        (decided, censored)
    }
}

fn positive(counts: BTreeMap<i64, i64>) -> Histogram {
    counts
        .into_iter()
        .filter_map(|(days, count)| Some((days, u64::try_from(count).ok()?)))
        .filter(|(_, n)| *n > 0)
        .collect()
}
