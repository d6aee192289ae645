//! The survival curve of the undecided: a step downwards where referrals were decided, and below it how many were at risk.

use std::fmt::Write as _;

use maud::{Markup, html};
use portreeve_api::reporting::v1::SurvivalStep;
use portreeve_core::figure::grouped;

use super::{along, tenths};

const MILLION: i64 = 1_000_000;
const LEFT: i64 = 900;
const TOP: i64 = 150;
const WIDTH: i64 = 7_600;
const HEIGHT: i64 = 2_600;

/// The curve, with the days up to which half are decided where it comes down so far.
pub(in crate::page) fn survival(steps: &[SurvivalStep], median: Option<u32>) -> Markup {
    let last = steps.last().map_or(0, |step| i64::from(step.days));
    let (every, end) = ticks(last);
    let x = |days: i64| tenths(LEFT + along(days, end, WIDTH));
    let y = |millionths: i64| tenths(TOP + HEIGHT - along(millionths, MILLION, HEIGHT));
    let at_risk = |days: i64| steps.iter().find(|step| i64::from(step.days) >= days).map_or(0, |step| step.at_risk);
    let mut curve = format!("M{} {}", x(0), y(MILLION));
    for step in steps.iter().filter(|step| step.decided > 0) {
        let _ = write!(curve, "H{}V{}", x(step.days.into()), y(step.undecided_millionths.into()));
    }
    let _ = write!(curve, "H{}", x(last));
    let bottom = TOP + HEIGHT;
    let view = format!("0 0 {} {}", tenths(LEFT + WIDTH + 300), tenths(bottom + 900));
    html! {
        svg.chart.survival viewBox=(view) width=(tenths(LEFT + WIDTH + 300)) role="img" aria-label="Share of referrals still undecided by days since they were referred; the table below says the same" {
            @for quarter in 0..=4 {
                @let level = MILLION * quarter / 4;
                line.grid x1=(tenths(LEFT)) x2=(tenths(LEFT + WIDTH)) y1=(y(level)) y2=(y(level)) {}
                text.axis x=(tenths(LEFT - 80)) y=(y(level)) dy="4" text-anchor="end" { (25 * quarter) " %" }
            }
            @if let Some(days) = median.map(i64::from) {
                path.median d={ "M" (tenths(LEFT)) " " (y(MILLION / 2)) "H" (x(days)) "V" (tenths(bottom)) } {}
                text.value x=(x(days)) y=(y(MILLION / 2)) dx="6" dy="-6" { "half within " (days) " days" }
            }
            path.curve d=(curve) {}
            @for step in steps.iter().filter(|step| step.censored > 0 && i64::from(step.days) <= last) {
                @let (x, y) = (x(step.days.into()), y(step.undecided_millionths.into()));
                path.censored d={ "M" (x) " " (y) "m0 -4v8" } {}
            }
            text.axis x="0" y=(tenths(bottom + 620)) { "At risk" }
            @for days in (0..).map(|tick| tick * every).take_while(|days| *days <= end) {
                line.tick x1=(x(days)) x2=(x(days)) y1=(tenths(bottom)) y2=(tenths(bottom + 60)) {}
                text.axis x=(x(days)) y=(tenths(bottom + 220)) text-anchor="middle" { (days) }
                text.value x=(x(days)) y=(tenths(bottom + 620)) text-anchor="middle" { (grouped(i64::try_from(at_risk(days)).unwrap_or(i64::MAX))) }
            }
            text.axis x=(tenths(LEFT + WIDTH / 2)) y=(tenths(bottom + 400)) text-anchor="middle" { "Days since the referral" }
        }
    }
}

/// Between which days the axis has ticks, and where it ends: in weeks, which people count in.
fn ticks(last: i64) -> (i64, i64) {
    let every =
        [1, 7, 14, 28, 56, 91, 182, 364].into_iter().find(|every| last <= every * 10).unwrap_or((last + 9) / 10);
    let every = every.max(1);
    (every, (last.max(1) + every - 1) / every * every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_counts_in_weeks_and_holds_the_last_day() {
        assert_eq!(
            [0, 1, 8, 9, 56, 57, 246, 10_000].map(ticks),
            [(1, 1), (1, 1), (1, 8), (1, 9), (7, 56), (7, 63), (28, 252), (1_000, 10_000)]
        );
    }
}
