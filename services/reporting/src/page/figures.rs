//! What the page adds up from the one report that it shows. Pure: nothing here asks anybody.

use std::collections::BTreeMap;

use portreeve_api::reporting::v1::{Counts, ReportRow};
use portreeve_core::figure::sentence;
use portreeve_core::{Date, vocabulary::Bucket};

/// The buckets in the order in which the page shows them.
pub(super) const BUCKETS: [Bucket; 4] = [Bucket::Closed, Bucket::NotInBreach, Bucket::Undecided, Bucket::Other];

/// What a bucket is called.
pub(super) const fn name(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Closed => "Closed",
        Bucket::NotInBreach => "Not in breach",
        Bucket::Undecided => "Undecided",
        Bucket::Other => "Other",
    }
}

/// The word by which style and patterns know a bucket.
pub(super) const fn class(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Closed => "closed",
        Bucket::NotInBreach => "not-in-breach",
        Bucket::Undecided => "undecided",
        Bucket::Other => "other",
    }
}

/// Referrals by bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts([i64; 4]);

impl Parts {
    pub(super) fn of(counts: &Counts) -> Self {
        Self([counts.closed, counts.not_in_breach, counts.undecided, counts.other])
    }

    /// So many of one bucket, and none of another.
    pub(super) fn one(bucket: Bucket, count: i64) -> Self {
        Self(BUCKETS.map(|of| if of == bucket { count } else { 0 }))
    }

    /// Those of one bucket, without the others.
    pub(super) fn only(self, bucket: Bucket) -> Self {
        Self::one(bucket, self.part(bucket))
    }

    fn of_row(row: &ReportRow) -> Self {
        row.counts.as_ref().map(Self::of).unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// Each bucket with its referrals.
    pub(super) fn each(self) -> impl Iterator<Item = (Bucket, i64)> + Clone {
        BUCKETS.into_iter().zip(self.0)
    }

    /// Those of one bucket.
    pub(super) fn part(self, bucket: Bucket) -> i64 {
        self.each().find(|(of, _)| *of == bucket).map_or(0, |(_, count)| count)
    }

    /// All of them: the denominator.
    pub(super) fn referred(self) -> i64 {
        self.0.iter().sum()
    }
}

impl std::iter::Sum for Parts {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |mut sum, parts| {
            sum.add(parts);
            sum
        })
    }
}

/// The place of each dimension in a row's key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Platform = 0,
    Disposition = 1,
    Clause = 2,
    Month = 3,
}

fn value(row: &ReportRow, place: Place) -> &str {
    row.key.get(place as usize).map_or("", |value| value.value.as_str())
}

/// The rows added up by one dimension.
pub(super) fn by(rows: &[ReportRow], place: Place) -> BTreeMap<&str, Parts> {
    let mut sums = BTreeMap::<&str, Parts>::new();
    for row in rows {
        sums.entry(value(row, place)).or_default().add(Parts::of_row(row));
    }
    sums
}

/// The same, those of the most referrals first.
pub(super) fn largest(rows: &[ReportRow], place: Place) -> Vec<(&str, Parts)> {
    let mut sums = by(rows, place).into_iter().collect::<Vec<_>>();
    sums.sort_by_key(|(value, parts)| (-parts.referred(), *value));
    sums
}

/// Each month from the first with referrals to the last, those without included: a gap is told, not closed.
pub(super) fn months(rows: &[ReportRow]) -> Vec<(String, Parts)> {
    let found = by(rows, Place::Month);
    let first = |month: &str| format!("{month}-01").parse::<Date>().ok();
    let (Some((from, _)), Some((until, _))) = (found.first_key_value(), found.last_key_value()) else {
        return Vec::new();
    };
    let mut months = Vec::new();
    let mut next = first(from);
    while let Some(month) = next.filter(|month| first(until).is_some_and(|last| *month <= last)) {
        let name = month.to_string().chars().take(7).collect::<String>();
        let parts = found.get(name.as_str()).copied().unwrap_or_default();
        months.push((name, parts));
        next = Some(Date::from_days(month.days() + 31).month());
    }
    months
}

/// What became of referrals, in a word for each disposition: its bucket and how many.
pub(super) fn outcomes(rows: &[ReportRow]) -> Vec<(String, Bucket, i64)> {
    let mut found = Vec::new();
    for (disposition, parts) in by(rows, Place::Disposition) {
        found.extend(
            parts.each().filter(|(_, count)| *count > 0).map(|(bucket, count)| (outcome(disposition), bucket, count)),
        );
    }
    found.sort_by_key(|(name, bucket, count)| (BUCKETS.iter().position(|of| of == bucket), -count, name.clone()));
    found
}

/// A disposition as prose.
fn outcome(disposition: &str) -> String {
    match disposition {
        "SUBMITTED" => "Not acknowledged".to_owned(),
        "RECEIVED" => "Acknowledged, not decided".to_owned(),
        "NOT_VIOLATING" => "Not violating".to_owned(),
        other => sentence(other),
    }
}

/// A platform without what every platform's name begins with.
pub(super) fn platform(name: &str) -> &str {
    name.strip_prefix("platforms/").unwrap_or(name)
}

/// A clause at its version: `harbourbook: requests@1`.
pub(super) fn clause(name: &str) -> String {
    let read = || {
        let (platform, clause) = name.strip_prefix("platforms/")?.split_once("/clauses/")?;
        Some(format!("{platform}: {clause}"))
    };
    read().unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use portreeve_api::reporting::v1::DimensionValue;

    use super::*;

    fn row(key: [&str; 4], counts: [i64; 4]) -> ReportRow {
        let [closed, not_in_breach, undecided, other] = counts;
        let referred = counts.iter().sum();
        ReportRow {
            key: key.map(|value| DimensionValue { dimension: 0, value: value.into() }).to_vec(),
            counts: Some(Counts { referred, closed, not_in_breach, undecided, other, ..Counts::default() }),
            ..ReportRow::default()
        }
    }

    #[test]
    fn whatever_is_added_up_adds_up_to_the_same() {
        let rows = [
            row(["platforms/a", "CLOSED", "platforms/a/clauses/x@1", "2019-12"], [5, 0, 0, 0]),
            row(["platforms/a", "PERMITTED_BY_POLICY", "platforms/a/clauses/y@2", "2020-02"], [0, 3, 0, 0]),
            row(["platforms/b", "SUBMITTED", "", "2020-02"], [0, 0, 20, 0]),
        ];
        for place in [Place::Platform, Place::Disposition, Place::Clause, Place::Month] {
            let all = by(&rows, place).values().map(|parts| parts.referred()).sum::<i64>();
            assert_eq!(all, 28, "{place:?}");
        }
        assert_eq!(
            largest(&rows, Place::Platform).iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["platforms/b", "platforms/a"]
        );
        let months = months(&rows);
        let told = months.iter().map(|(month, parts)| (month.as_str(), parts.referred())).collect::<Vec<_>>();
        assert_eq!(told, [("2019-12", 5), ("2020-01", 0), ("2020-02", 23)]);
        let outcomes = outcomes(&rows);
        let told = outcomes.iter().map(|(name, bucket, count)| (name.as_str(), *bucket, *count)).collect::<Vec<_>>();
        let expected = [
            ("Closed", Bucket::Closed, 5),
            ("Permitted by policy", Bucket::NotInBreach, 3),
            ("Not acknowledged", Bucket::Undecided, 20),
        ];
        assert_eq!(told, expected);
        assert_eq!(clause("platforms/a/clauses/x@1"), "a: x@1");
        assert!(super::months(&[]).is_empty());
    }
}
