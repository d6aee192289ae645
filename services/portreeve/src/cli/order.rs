//! What an order says: the options that `refer` and `draft` share.

use std::time::Duration;

use clap::Args;
use portreeve_api::referral::v1::{OrderRegime, OrderTerms};
use portreeve_core::name::ReferralName;
use prost_types::Timestamp;

use super::words::{self, words_of};

/// What an order says: options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Order")]
pub(crate) struct Order {
    /// The law under which it is issued, with --nature order; the options below go with it
    #[arg(long = "order", value_name = "REGIME", value_parser = words_of::<OrderRegime>(), ignore_case = true,
        requires_all = ["issuing_authority", "redress"])]
    regime: Option<OrderRegime>,
    /// The authority that issued it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "regime")]
    issuing_authority: String,
    /// How it can be contested, before whom and until when
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "regime")]
    redress: String,
    /// Within what time of its receipt it is to be carried out, such as 24h; one hour under TCO
    #[arg(long, value_name = "TIME", value_parser = span, requires = "regime")]
    act_within: Option<Duration>,
    /// The countries in which it has effect, not under TCO
    #[arg(long = "order-scope", value_name = "COUNTRY", value_delimiter = ',', requires = "regime")]
    territory: Vec<String>,
    /// Who is to be told of its effect, if not the agency
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "regime")]
    feedback_to: String,
    /// Why it cannot wait for the 12 hours after a pre-notice, under TCO
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "regime")]
    emergency: String,
    /// Until when whoever posted the content must not be told
    #[arg(long, value_name = "TIME", value_parser = words::time, requires = "regime")]
    not_disclosed_until: Option<Timestamp>,
    /// The referral that is escalated with it
    #[arg(long, value_name = "REFERRAL", requires = "regime")]
    escalates: Option<ReferralName>,
}

impl Order {
    /// What it says, if it is one.
    pub(crate) fn terms(self) -> Option<OrderTerms> {
        Some(OrderTerms {
            regime: self.regime?.into(),
            issuing_authority: self.issuing_authority,
            act_within: self.act_within.map(wire_span),
            redress: self.redress,
            territorial_scope: self.territory,
            feedback_to: self.feedback_to,
            emergency: self.emergency,
            non_disclosure_until: self.not_disclosed_until,
            escalates: self.escalates.map(|name| name.to_string()).unwrap_or_default(),
            non_disclosure: None,
        })
    }
}

/// A time as people type it: a whole number of minutes, hours or days.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "must be minutes, hours or days, such as 45m, 24h or 14d".to_owned();
    let number = text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u32>().ok());
    let seconds = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(u64::from(number.ok_or_else(wrong)?) * seconds))
}

/// A time for the wire.
pub(crate) fn wire_span(time: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

/// A time as people read it: its two largest parts.
pub(crate) fn shown_span(time: Option<&prost_types::Duration>) -> String {
    let Some(time) = time else { return String::new() };
    let (days, hours, minutes) = (time.seconds / 86_400, time.seconds / 3_600 % 24, time.seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, hours) => format!("{hours}h {minutes}m"),
        (days, hours) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_typed_in_one_unit_and_read_in_two() {
        for (text, seconds) in [("45m", 2_700), ("24h", 86_400), ("14d", 1_209_600)] {
            assert_eq!(span(text).unwrap().as_secs(), seconds, "{text}");
        }
        for wrong in ["", "m", "1", "-1h", "1.5h", "h1", "1\u{fc}"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        let shown = |seconds| shown_span(Some(&prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!([shown(59), shown(3_600), shown(90_061)], ["0m", "1h 0m", "1d 1h"]);
    }
}
