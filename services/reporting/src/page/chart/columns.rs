//! Columns over months, each made of its parts.

use maud::{Markup, html};
use portreeve_core::figure::grouped;

use super::{along, fill, tenths};
use crate::page::figures::Parts;

const HEIGHT: i64 = 2_200;
const TOP: i64 = 220;
const LEFT: i64 = 480;

/// The columns; the width grows with the months.
pub(in crate::page) fn columns(months: &[(String, Parts)]) -> Markup {
    let count = i64::try_from(months.len()).unwrap_or(i64::MAX).max(1);
    let step = (7_200 / count).clamp(220, 1_200);
    let thick = step * 7 / 10;
    let width = LEFT + step * count + 100;
    let most = top(months.iter().map(|(_, parts)| parts.referred()).max().unwrap_or_default());
    let bottom = TOP + HEIGHT;
    // Names stand where there is room for them.
    let every = (600 + step - 1) / step;
    let view = format!("0 0 {} {}", tenths(width), tenths(bottom + 320));
    html! {
        svg.chart viewBox=(view) width=(tenths(width)) role="img" aria-label="Referrals by the month in which they were referred, and what became of them; the table below says the same" {
            @for quarter in 0..=4 {
                @let y = tenths(bottom - HEIGHT * quarter / 4);
                line.grid x1=(tenths(LEFT - 40)) x2=(tenths(width)) y1=(y) y2=(y) {}
                @if most % 4 == 0 || quarter % 4 == 0 {
                    text.axis x=(tenths(LEFT - 80)) y=(y) dy="4" text-anchor="end" { (grouped(most * quarter / 4)) }
                }
            }
            @for (place, (month, parts)) in (0..).zip(months) {
                @let x = LEFT + step * place + (step - thick) / 2;
                @for (bucket, from, length) in stack(*parts, most) {
                    rect x=(tenths(x)) y=(tenths(bottom - from - length)) width=(tenths(thick)) height=(tenths(length)) fill=(fill(bucket)) {}
                }
                @if parts.referred() > 0 && step >= 360 {
                    text.value x=(tenths(x + thick / 2)) y=(tenths(bottom - along(parts.referred(), most, HEIGHT) - 60)) text-anchor="middle" { (grouped(parts.referred())) }
                }
                @if place % every == 0 {
                    text.axis x=(tenths(x + thick / 2)) y=(tenths(bottom + 200)) text-anchor="middle" { (month) }
                }
            }
        }
    }
}

/// Each part with where it begins and how high it is, with a gap above it.
fn stack(parts: Parts, most: i64) -> Vec<(portreeve_core::vocabulary::Bucket, i64, i64)> {
    const GAP: i64 = 10;
    let (mut sum, mut at) = (0, 0);
    let mut shapes = Vec::new();
    for (bucket, count) in parts.each().filter(|(_, count)| *count > 0) {
        sum += count;
        let until = along(sum, most, HEIGHT);
        shapes.push((bucket, at, (until - at - GAP).max(5)));
        at = until;
    }
    shapes
}

/// A round number not below another: 1, 2, 4 or 8 times a power of ten.
fn top(most: i64) -> i64 {
    let mut power = 1_i64;
    loop {
        if let Some(found) =
            [1, 2, 4, 8].into_iter().map(|one| power.saturating_mul(one)).find(|round| *round >= most.max(4))
        {
            return found;
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([0, 4, 5, 9, 21, 81, 100, 450].map(top), [4, 4, 8, 10, 40, 100, 100, 800]);
        assert_eq!(top(i64::MAX), i64::MAX);
    }
}
