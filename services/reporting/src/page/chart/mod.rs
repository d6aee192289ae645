//! Charts as SVG: a few shapes, written by small functions of numbers. Each stands beside a table that says the same, and tells parts
//! apart by pattern and label as well as by colour.

pub(super) mod columns;
pub(super) mod sankey;
pub(super) mod survival;

use maud::{Markup, html};
use portreeve_core::vocabulary::Bucket;

use super::figures::{BUCKETS, Parts, class, name};

/// A length along an axis, in tenths of a unit of the picture: whole numbers, so that the same figures are the same bytes.
fn along(part: i64, whole: i64, length: i64) -> i64 {
    if whole <= 0 { 0 } else { (part.max(0).saturating_mul(length) + whole / 2) / whole }
}

/// Tenths as a number of SVG.
fn tenths(value: i64) -> String {
    if value % 10 == 0 {
        (value / 10).to_string()
    } else {
        format!("{}{}.{}", if value < 0 { "-" } else { "" }, value.abs() / 10, value.abs() % 10)
    }
}

/// The pattern with which a bucket's shapes are filled.
fn fill(bucket: Bucket) -> String {
    format!("url(#fill-{})", class(bucket))
}

/// The patterns, once for a page. Each is its colour with lines or dots of the paper's in it.
pub(super) fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                @for bucket in BUCKETS {
                    pattern id={ "fill-" (class(bucket)) } width="8" height="8" patternUnits="userSpaceOnUse" {
                        rect.(class(bucket)) width="8" height="8" {}
                        @match bucket {
                            Bucket::Closed => {}
                            Bucket::NotInBreach => path.mark d="M-2 2L2 -2M0 8L8 0M6 10L10 6" {}
                            Bucket::Undecided => { circle.mark-dot cx="2" cy="2" r="1" {} circle.mark-dot cx="6" cy="6" r="1" {} }
                            Bucket::Other => path.mark d="M0 2H8M0 6H8" {}
                        }
                    }
                }
            }
        }
    }
}

/// A small square of a bucket.
pub(super) fn swatch(bucket: Bucket) -> Markup {
    html! {
        svg.swatch viewBox="0 0 14 14" width="14" height="14" aria-hidden="true" focusable="false" {
            rect width="14" height="14" rx="2" fill=(fill(bucket)) {}
        }
    }
}

/// What the patterns mean.
pub(super) fn legend() -> Markup {
    html! {
        ul.legend {
            @for bucket in BUCKETS { li { (swatch(bucket)) " " (name(bucket)) } }
        }
    }
}

/// A bar of parts, as long as their share of `whole`. It says nothing that does not stand beside it in figures.
pub(super) fn bar(parts: Parts, whole: i64) -> Markup {
    const WIDTH: i64 = 3_000;
    const GAP: i64 = 10;
    let mut at = 0;
    let mut sum = 0;
    let shapes = parts.each().filter(|(_, count)| *count > 0).map(|(bucket, count)| {
        sum += count;
        let (from, until) = (at, along(sum, whole, WIDTH));
        at = until;
        (bucket, from, (until - from - GAP).max(5))
    });
    html! {
        svg.bar viewBox="0 0 300 14" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (bucket, from, length) in shapes {
                rect x=(tenths(from)) y="0" width=(tenths(length)) height="14" fill=(fill(bucket)) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_whole_tenths() {
        assert_eq!([0, 5, 10, 15, -5, -12].map(tenths), ["0", "0.5", "1", "1.5", "-0.5", "-1.2"]);
        assert_eq!((along(1, 3, 3_000), along(5, 0, 100), along(-1, 2, 100)), (1_000, 0, 0));
    }
}
