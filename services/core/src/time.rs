//! Instants and days. Storage, logs and arithmetic use whole microseconds UTC; days are counted from 1970-01-01.

use std::fmt;
use std::str::FromStr;

/// Microseconds in a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// An instant: microseconds since 1970-01-01T00:00:00Z, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant this many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From seconds and nanoseconds as protobuf's `Timestamp` has them. Digits below a microsecond are dropped.
    /// `None` outside the years 0001 to 9999.
    pub fn from_parts(seconds: i64, nanos: i32) -> Option<Self> {
        let valid = (-62_135_596_800..=253_402_300_799).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
        valid.then(|| Self(seconds * 1_000_000 + i64::from(nanos) / 1_000))
    }

    /// Seconds and nanoseconds, as protobuf's `Timestamp` wants them.
    pub fn to_parts(self) -> (i64, i32) {
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        (self.0.div_euclid(1_000_000), nanos)
    }

    /// RFC 3339 in UTC with six digits of a second, always: the one spelling of an instant that is signed.
    pub fn to_rfc3339_micros(self) -> String {
        self.civil().map(|civil| format!("{civil:.6}Z")).unwrap_or_default()
    }

    /// In the calendar. A `jiff::Timestamp` would leave out the last day of the year 9999, which protobuf's has.
    fn civil(self) -> Option<jiff::civil::DateTime> {
        let within = jiff::SignedDuration::from_micros(self.0.rem_euclid(DAY_MICROS));
        self.date().civil()?.at(0, 0, 0, 0).checked_add(within).ok()
    }

    /// The UTC day in which the instant lies.
    pub fn date(self) -> Date {
        Date(i32::try_from(self.0.div_euclid(DAY_MICROS)).unwrap_or_default())
    }

    /// This instant moved by a number of microseconds, clamped to the representable range.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil() {
            Some(civil) => write!(f, "{civil}Z"),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = String;

    /// Reads RFC 3339, or a bare date as that day's start in UTC.
    fn from_str(text: &str) -> Result<Self, String> {
        let date = text.parse::<Date>().map(|date| date.start().0);
        let micros = date.ok().or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond));
        micros.map(Self).ok_or_else(|| format!("{text:?} is neither an RFC 3339 time nor a date"))
    }
}

/// A UTC calendar day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// The day this many days after 1970-01-01.
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn days(self) -> i32 {
        self.0
    }

    /// The first instant of the day.
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * DAY_MICROS)
    }

    /// The last instant of the day.
    pub fn end(self) -> Timestamp {
        Timestamp((i64::from(self.0) + 1) * DAY_MICROS - 1)
    }

    /// The Monday of the day's ISO 8601 week.
    #[must_use]
    pub fn week(self) -> Self {
        // 1970-01-01 was a Thursday, three days after a Monday.
        Self(self.0 - (self.0 + 3).rem_euclid(7))
    }

    /// The first day of the day's month.
    #[must_use]
    pub fn month(self) -> Self {
        self.civil().and_then(|date| from_civil(date.first_of_month())).unwrap_or(self)
    }

    /// The first day of the day's quarter.
    #[must_use]
    pub fn quarter(self) -> Self {
        let first = |date: jiff::civil::Date| {
            let months = jiff::Span::new().months((date.month() - 1) % 3);
            date.first_of_month().checked_sub(months).ok()
        };
        self.civil().and_then(first).and_then(from_civil).unwrap_or(self)
    }

    fn civil(self) -> Option<jiff::civil::Date> {
        jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(i64::from(self.0)).ok()?).ok()
    }
}

fn from_civil(date: jiff::civil::Date) -> Option<Date> {
    let span = jiff::civil::date(1970, 1, 1).until((jiff::Unit::Day, date)).ok()?;
    Some(Date(span.get_days()))
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil() {
            Some(date) => date.fmt(f),
            None => write!(f, "{} days", self.0),
        }
    }
}

impl FromStr for Date {
    type Err = String;

    /// Reads `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.len() == 10;
        text.parse::<jiff::civil::Date>()
            .ok()
            .filter(|_| plain)
            .and_then(from_civil)
            .ok_or_else(|| format!("{text:?} is not a date of the form YYYY-MM-DD"))
    }
}

/// Where the time comes from. Passed in, so that every rule about time can be tested.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

/// A clock that moves only when told to, for tests.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that stands at an instant.
    pub fn at(now: Timestamp) -> Self {
        Self(now.micros().into())
    }

    /// Moves the clock to an instant.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_weeks_and_months() {
        let day: Date = "2020-09-03".parse().unwrap();
        assert_eq!(day.to_string(), "2020-09-03");
        assert_eq!(day.week().to_string(), "2020-08-31");
        assert_eq!(day.month().to_string(), "2020-09-01");
        assert_eq!(day.start().date(), day);
        assert_eq!(day.end().date(), day);
        assert_eq!(day.end().plus_micros(1).date().to_string(), "2020-09-04");
        let early: Date = "1969-12-31".parse().unwrap();
        assert_eq!((early.days(), early.week().to_string()), (-1, "1969-12-29".into()));
        assert!("2020-9-3".parse::<Date>().is_err());
        assert!("2020-02-30".parse::<Date>().is_err());
    }

    #[test]
    fn every_time_of_the_contract_can_be_written() {
        for (seconds, text) in [
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (1_580_000_000, "2020-01-26T00:53:20Z"),
            (253_402_207_200, "9999-12-30T22:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let time = Timestamp::from_parts(seconds, 0).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(time.to_rfc3339_micros(), text.replace('Z', ".000000Z"));
        }
        assert_eq!(Timestamp::from_parts(0, 1_500_000).unwrap().to_string(), "1970-01-01T00:00:00.0015Z");
        assert_eq!("9999-12-31".parse(), Ok(Timestamp::from_parts(253_402_214_400, 0).unwrap()));
    }

    #[test]
    fn parts_round_trip_below_the_epoch() {
        let t = Timestamp::from_micros(-1);
        assert_eq!(t.to_parts(), (-1, 999_999_000));
        assert_eq!(Timestamp::from_parts(-1, 999_999_000), Some(t));
        assert_eq!(Timestamp::from_parts(0, 1_000_000_000), None);
        assert_eq!(Timestamp::from_parts(i64::MAX, 0), None);
    }
}
