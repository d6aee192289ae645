//! Quantiles of ages, and of the times until something happened. Integers only: the same on every machine, and exact.

use std::collections::{BTreeMap, BTreeSet};

/// A share such as one half: numerator and denominator.
pub type Share = (u64, u64);

/// One half.
pub const HALF: Share = (1, 2);
/// Nine tenths.
pub const NINE_TENTHS: Share = (9, 10);

/// How many of each number of days. Only positive counts are kept.
pub type Histogram = BTreeMap<i64, u64>;

/// How many there are in all.
pub fn total(days: &Histogram) -> u64 {
    days.values().sum()
}

/// The lowest number of days that at least this share of all do not exceed. `None` if there are none.
pub fn quantile(days: &Histogram, (numerator, denominator): Share) -> Option<i64> {
    let all = u128::from(total(days)) * u128::from(numerator);
    let mut seen = 0;
    days.iter().find_map(|(day, count)| {
        seen += u128::from(*count) * u128::from(denominator);
        (seen >= all).then_some(*day)
    })
}

/// The quantiles of the time to decision by the product-limit estimate (Kaplan and Meier 1958): the lowest number of days
/// at which the estimated share still undecided is at most one minus the share asked for. `None` where the curve does not
/// come down so far. Who is censored on a day was still waiting when others were decided on that day.
pub fn censored_quantiles<const N: usize>(
    decided: &Histogram,
    censored: &Histogram,
    shares: [Share; N],
) -> [Option<i64>; N] {
    let mut found = [None; N];
    let mut estimate = Estimate::of(total(decided) + total(censored));
    let mut leaving = censored.iter().peekable();
    for (day, count) in decided {
        while let Some((_, gone)) = leaving.next_if(|(earlier, _)| *earlier < day) {
            estimate.censor(*gone);
        }
        estimate.decide(*count);
        for (quantile, (numerator, denominator)) in found.iter_mut().zip(shares) {
            if quantile.is_none() && estimate.is_at_most((denominator - numerator, denominator)) {
                *quantile = Some(*day);
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

/// What happened after so many days of waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurveStep {
    /// Days of waiting.
    pub days: i64,
    /// How many had waited so long: the number at risk.
    pub at_risk: u64,
    /// Of these, decided then.
    pub decided: u64,
    /// Of these, not observed for longer.
    pub censored: u64,
    /// The estimated share still undecided after that, in millionths, rounded up: so that it is at most a half exactly where the median is.
    pub undecided_millionths: u32,
}

/// The product-limit estimate at each number of days on which anybody was decided or censored, in order.
pub fn curve(decided: &Histogram, censored: &Histogram) -> Vec<CurveStep> {
    let mut estimate = Estimate::of(total(decided) + total(censored));
    let mut undecided_millionths = MILLION;
    let days = decided.keys().chain(censored.keys()).copied().collect::<BTreeSet<_>>();
    let step = |days| {
        let of = |histogram: &Histogram| histogram.get(&days).copied().unwrap_or_default();
        let (decided, censored) = (of(decided), of(censored));
        let at_risk = estimate.waiting;
        if decided > 0 {
            estimate.decide(decided);
            undecided_millionths = estimate.millionths(undecided_millionths);
        }
        estimate.censor(censored);
        CurveStep { days, at_risk, decided, censored, undecided_millionths }
    };
    days.into_iter().map(step).collect()
}

const MILLION: u32 = 1_000_000;

/// The product-limit estimate of the share still undecided, followed day by day: (left / of) * (waiting / begun). While nobody is
/// censored the factors telescope; `begun` is how many waited after somebody last was.
struct Estimate {
    left: Natural,
    of: Natural,
    waiting: u64,
    begun: u64,
}

impl Estimate {
    fn of(waiting: u64) -> Self {
        Self { left: Natural::one(), of: Natural::one(), waiting, begun: waiting }
    }

    fn decide(&mut self, count: u64) {
        self.waiting -= count;
    }

    fn censor(&mut self, count: u64) {
        // Who is censored when nobody waits any longer changes nothing.
        if count > 0 && self.begun > 0 {
            self.left.multiply(self.waiting);
            self.of.multiply(self.begun);
            self.waiting -= count;
            self.begun = self.waiting;
        }
    }

    fn is_at_most(&self, (numerator, denominator): Share) -> bool {
        self.left.times([self.waiting, denominator]) <= self.of.times([self.begun, numerator])
    }

    /// In millionths, rounded up, where it is known to be no more than some.
    fn millionths(&self, most: u32) -> u32 {
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.is_at_most((middle.into(), MILLION.into())) { high = middle } else { low = middle + 1 }
        }
        high
    }
}

/// How long it took until something happened, in whole days: over those alone to whom it happened, and with those to whom
/// it has not happened yet as censored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// All to whom it could happen.
    pub n: u64,
    /// Of these, to whom it happened.
    pub happened: u64,
    /// The median of these alone.
    pub happened_median: Option<i64>,
    /// The 90th percentile of these alone.
    pub happened_p90: Option<i64>,
    /// The median with the others as censored.
    pub censored_median: Option<i64>,
    /// The 90th percentile with the others as censored.
    pub censored_p90: Option<i64>,
}

impl Times {
    /// The times of those to whom it happened, and of those to whom it had not by then.
    pub fn of(happened: &Histogram, censored: &Histogram) -> Self {
        let [censored_median, censored_p90] = censored_quantiles(happened, censored, [HALF, NINE_TENTHS]);
        Self {
            n: total(happened) + total(censored),
            happened: total(happened),
            happened_median: quantile(happened, HALF),
            happened_p90: quantile(happened, NINE_TENTHS),
            censored_median,
            censored_p90,
        }
    }
}

/// A natural number of any size: base 2^64, least significant digit first, no zeros at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Natural(Vec<u64>);

impl Natural {
    fn one() -> Self {
        Self(vec![1])
    }

    fn multiply(&mut self, by: u64) {
        let mut carry = 0;
        for digit in &mut self.0 {
            let product = u128::from(*digit) * u128::from(by) + carry;
            *digit = low(product);
            carry = product >> 64;
        }
        if carry > 0 {
            self.0.push(low(carry));
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn times(&self, factors: [u64; 2]) -> Self {
        let mut product = self.clone();
        for factor in factors {
            product.multiply(factor);
        }
        product
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
const fn low(number: u128) -> u64 {
    number as u64
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days(days: &[(i64, u64)]) -> Histogram {
        days.iter().copied().collect()
    }

    #[test]
    fn a_quantile_is_a_value_that_occurs() {
        assert_eq!(quantile(&days(&[]), HALF), None);
        assert_eq!(quantile(&days(&[(3, 1)]), HALF), Some(3));
        assert_eq!(quantile(&days(&[(1, 1), (5, 1)]), HALF), Some(1));
        assert_eq!(quantile(&days(&[(1, 9), (5, 1)]), NINE_TENTHS), Some(1));
        assert_eq!(quantile(&days(&[(1, 8), (5, 2)]), NINE_TENTHS), Some(5));
    }

    #[test]
    fn the_undecided_are_not_forgotten() {
        // Freireich's leukaemia trial, 6-MP arm, as in every textbook: remissions in weeks, + censored:
        // 6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+. Median 23.
        let relapsed = days(&[(6, 3), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1)]);
        let censored =
            days(&[(6, 1), (9, 1), (10, 1), (11, 1), (17, 1), (19, 1), (20, 1), (25, 1), (32, 2), (34, 1), (35, 1)]);
        assert_eq!(censored_quantiles(&relapsed, &censored, [HALF, NINE_TENTHS]), [Some(23), None]);
        assert_eq!(quantile(&relapsed, HALF), Some(10));
    }

    #[test]
    fn the_curve_has_everybody_at_risk_until_they_leave() {
        // Freireich's leukaemia trial again, with the published estimates: .857 .807 .753 .690 .627 .538 .448.
        let relapsed = days(&[(6, 3), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1)]);
        let censored =
            days(&[(6, 1), (9, 1), (10, 1), (11, 1), (17, 1), (19, 1), (20, 1), (25, 1), (32, 2), (34, 1), (35, 1)]);
        let steps = curve(&relapsed, &censored);
        let told = steps.iter().filter(|step| step.decided > 0);
        let told = told.map(|step| (step.days, step.at_risk, step.undecided_millionths.div_ceil(1_000)));
        let published =
            [(6, 21, 858), (7, 17, 807), (10, 15, 753), (13, 12, 691), (16, 11, 628), (22, 7, 538), (23, 6, 449)];
        assert_eq!(told.collect::<Vec<_>>(), published);
        assert_eq!(steps.last().map(|step| (step.days, step.at_risk, step.censored)), Some((35, 1, 1)));
        assert_eq!(curve(&days(&[]), &days(&[])), []);
        let all = curve(&days(&[(0, 2)]), &days(&[(0, 1)]));
        assert_eq!(all.iter().map(|step| step.undecided_millionths).collect::<Vec<_>>(), [333_334]);
        let none = curve(&days(&[(1, 2)]), &days(&[]));
        assert_eq!(none.iter().map(|step| step.undecided_millionths).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_curve_that_ends_above_one_half_has_no_median() {
        assert_eq!(censored_quantiles(&days(&[(1, 49)]), &days(&[(100, 51)]), [HALF]), [None]);
        assert_eq!(censored_quantiles(&days(&[(1, 50)]), &days(&[(100, 50)]), [HALF]), [Some(1)]);
        assert_eq!(censored_quantiles(&days(&[]), &days(&[(1, 1)]), [HALF]), [None]);
        // Censored on the day of a decision: still at risk on it.
        assert_eq!(censored_quantiles(&days(&[(1, 1)]), &days(&[(1, 1)]), [HALF]), [Some(1)]);
    }

    proptest! {
        #[test]
        fn without_censoring_the_two_medians_agree(times in prop::collection::btree_map(0_i64..50, 1_u64..1_000, 1..20)) {
            let shares = [HALF, NINE_TENTHS];
            let plain = shares.map(|share| quantile(&times, share));
            prop_assert_eq!(censored_quantiles(&times, &Histogram::new(), shares), plain);
        }

        #[test]
        fn products_are_exact(factors in prop::collection::vec(1_u64..1 << 20, 0..6), a in any::<u64>(), b in any::<u64>()) {
            let mut natural = Natural::one();
            for factor in &factors {
                natural.multiply(*factor);
            }
            let product = factors.iter().map(|factor| u128::from(*factor)).product::<u128>();
            let digits = [low(product), low(product >> 64)];
            let used = if digits[1] == 0 { 1 } else { 2 };
            prop_assert_eq!(&natural.0, &digits[..used].to_vec());
            let (left, right) = (Natural::one().times([a, b]), Natural::one().times([b, a]));
            prop_assert_eq!(left, right);
            prop_assert_eq!(Natural::one().times([a, 3]).cmp(&Natural::one().times([b, 3])), a.cmp(&b));
        }
    }
}
