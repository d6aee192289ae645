//! Times and spans as the page writes them.

use maud::{Markup, html};
use portreeve_core::Timestamp;
use portreeve_runtime::wire::read_time;

/// An instant by UTC, to the minute: seconds decide no deadline that a person keeps.
pub(super) fn at(time: Option<&prost_types::Timestamp>) -> Markup {
    let Some(time) = time.and_then(|time| read_time(time).ok()) else { return html! { "–" } };
    html! { time datetime=(time.to_rfc3339_micros()) { (minute(time)) } }
}

/// `2026-11-28 19:50`.
pub(super) fn minute(time: Timestamp) -> String {
    time.to_rfc3339_micros().chars().take(16).map(|letter| if letter == 'T' { ' ' } else { letter }).collect()
}

/// Microseconds of a time of the wire; what is missing or wrong comes last.
pub(super) fn micros(time: Option<&prost_types::Timestamp>) -> i64 {
    time.and_then(|time| read_time(time).ok()).map_or(i64::MAX, Timestamp::micros)
}

/// So many seconds in two units at most.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {minutes} min"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_and_instants_a_minute() {
        assert_eq!([59, 3_600, 90_061, -90_061].map(span), ["0 min", "1 h 0 min", "1 d 1 h", "1 d 1 h"]);
        assert_eq!(minute("2026-11-28T19:50:31Z".parse().unwrap()), "2026-11-28 19:50");
    }
}
