//! What platforms say of how long they take to decide. No law sets a time for what is no order.

use std::collections::BTreeMap;

use portreeve_core::vocabulary::Nature;
use portreeve_core::{Error, Reason, Result, Timestamp, Violations, limits};

use super::{Event, State};

/// How long a platform takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTimes {
    /// The platform.
    pub platform: String,
    /// The number of times that it said so.
    pub version: u32,
    /// For each nature, by its number in the contract, in microseconds.
    pub times: BTreeMap<i32, i64>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl ResponseTimes {
    /// How long it takes for a nature, in microseconds, if it says so.
    pub fn of(&self, nature: i32) -> Option<i64> {
        self.times.get(&nature).copied()
    }
}

/// The same with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTimesRecord {
    /// What it says.
    pub times: ResponseTimes,
    /// The position of the event that said so.
    pub updated: i64,
}

impl State {
    /// Says how long a platform takes, for what it receives from then on.
    pub(super) fn set_response_times(
        &self,
        platform: &str,
        times: &BTreeMap<i32, i64>,
        expected_version: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let known = self.response_times.get(platform).map(|record| &record.times);
        let version = known.map_or(0, |known| known.version);
        if known.is_some_and(|known| known.times == *times) {
            return Ok(Vec::new());
        }
        if let Some(expected) = expected_version.filter(|expected| *expected != version) {
            let name = format!("platforms/{platform}/responseTimes");
            let message = format!("{name} has version {version}, not {expected}; read it and set it again");
            return Err(Error::new(Reason::StaleVersion, message)
                .with("name", name)
                .with("expected", expected)
                .with("actual", version));
        }
        let mut violations = Violations::new();
        for (nature, time) in times {
            if *nature == Nature::Order.code() {
                violations.add("times", "must not name ORDER: the order or the law says it");
            }
            if !(limits::RESPONSE_MICROS_MIN..=limits::RESPONSE_MICROS_MAX).contains(time) {
                violations.add("times", "must each be a minute to 365 days");
            }
        }
        violations.into_result()?;
        let said = ResponseTimes {
            platform: platform.to_owned(),
            version: version + 1,
            times: times.clone(),
            recorded_at: now,
        };
        Ok(vec![Event::ResponseTimesSet(said)])
    }
}
