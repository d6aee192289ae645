//! The flow from referred to outcome: platforms, what they decided, and in which words.

use maud::{Markup, html};
use portreeve_core::figure::{grouped, share};
use portreeve_core::vocabulary::Bucket;

use super::{along, fill, tenths};
use crate::page::figures::{BUCKETS, Parts, class, name};

/// Height of all referrals together.
const HEIGHT: i64 = 3_000;
/// What a node's label needs.
const SLOT: i64 = 260;
const GAP: i64 = 80;
const THICK: i64 = 140;
const WIDTH: i64 = 9_500;
const LEFT: i64 = 1_500;
const RIGHT: i64 = 7_300;

/// Who has a place in the picture.
struct Node {
    label: String,
    count: i64,
    bucket: Option<Bucket>,
    /// Where it begins.
    at: i64,
    /// How high it is.
    height: i64,
    /// How much of it has been joined, on its left and on its right.
    joined: (i64, i64),
}

/// Nodes one below the other, each with room for its label.
fn place(nodes: Vec<(String, i64, Option<Bucket>)>, all: i64) -> (Vec<Node>, i64) {
    let mut at = 0;
    let placed = nodes.into_iter().map(|(label, count, bucket)| {
        let height = along(count, all, HEIGHT).max(10);
        let slot = height.max(SLOT);
        let node = Node { label, count, bucket, at: at + (slot - height) / 2, height, joined: (0, 0) };
        at += slot + GAP;
        node
    });
    let placed = placed.collect();
    (placed, at - GAP)
}

/// A stream from one node to another.
struct Stream {
    path: String,
    bucket: Bucket,
}

/// Joins two nodes by so many referrals.
fn join(from: &mut Node, to: &mut Node, count: i64, (x1, x2): (i64, i64), bucket: Bucket) -> Stream {
    let end = |node: &Node, joined: i64| node.at + along(joined, node.count, node.height);
    let (top1, top2) = (end(from, from.joined.1), end(to, to.joined.0));
    from.joined.1 += count;
    to.joined.0 += count;
    let (low1, low2) = (end(from, from.joined.1), end(to, to.joined.0));
    let middle = tenths(i64::midpoint(x1, x2));
    let [x1, x2, top1, top2, low1, low2] = [x1, x2, top1, top2, low1, low2].map(tenths);
    let path = format!(
        "M{x1} {top1}C{middle} {top1} {middle} {top2} {x2} {top2}V{low2}C{middle} {low2} {middle} {low1} {x1} {low1}Z"
    );
    Stream { path, bucket }
}

/// The picture. Platforms come as they should be shown; outcomes in the order of the buckets.
pub(in crate::page) fn sankey(platforms: &[(String, Parts)], outcomes: &[(String, Bucket, i64)]) -> Markup {
    let all = platforms.iter().map(|(_, parts)| parts.referred()).sum::<i64>();
    let sums = BUCKETS.map(|bucket| (bucket, platforms.iter().map(|(_, parts)| parts.part(bucket)).sum::<i64>()));
    let (mut left, left_height) =
        place(platforms.iter().map(|(label, parts)| (label.clone(), parts.referred(), None)).collect(), all);
    let buckets = sums.into_iter().filter(|(_, count)| *count > 0);
    let (mut middle, middle_height) =
        place(buckets.map(|(bucket, count)| (name(bucket).to_owned(), count, Some(bucket))).collect(), all);
    let (mut right, right_height) =
        place(outcomes.iter().map(|(label, bucket, count)| (label.clone(), *count, Some(*bucket))).collect(), all);
    let height = left_height.max(middle_height).max(right_height);
    let columns = [(LEFT, left_height), (i64::midpoint(LEFT, RIGHT), middle_height), (RIGHT, right_height)];
    for (nodes, (_, own)) in [&mut left, &mut middle, &mut right].into_iter().zip(columns) {
        for node in nodes {
            node.at += (height - own) / 2;
        }
    }
    let [x1, x2, x3] = columns.map(|(x, _)| x);
    let mut streams = Vec::new();
    for (from, (_, parts)) in left.iter_mut().zip(platforms) {
        for to in &mut middle {
            let Some(bucket) = to.bucket else { continue };
            let count = parts.part(bucket);
            if count > 0 {
                streams.push(join(from, to, count, (x1 + THICK, x2), bucket));
            }
        }
    }
    for to in &mut right {
        let from = middle.iter_mut().find(|node| node.bucket == to.bucket);
        if let (Some(from), Some(bucket)) = (from, to.bucket) {
            let count = to.count;
            streams.push(join(from, to, count, (x2 + THICK, x3), bucket));
        }
    }
    let view = format!("0 0 {} {}", tenths(WIDTH), tenths(height + 60));
    html! {
        svg.chart.sankey viewBox=(view) width=(tenths(WIDTH)) role="img" aria-label="The flow from referred, by platform, to what was decided; the table below says the same" {
            @for stream in &streams {
                path.stream.(class(stream.bucket)) d=(stream.path) {}
            }
            @for (nodes, x) in [(&left, x1), (&middle, x2), (&right, x3)] {
                @for node in nodes {
                    @let y = node.at + node.height / 2;
                    @match node.bucket {
                        Some(bucket) => rect x=(tenths(x)) y=(tenths(node.at)) width=(tenths(THICK)) height=(tenths(node.height)) fill=(fill(bucket)) {},
                        None => rect.node x=(tenths(x)) y=(tenths(node.at)) width=(tenths(THICK)) height=(tenths(node.height)) {},
                    }
                    @let (at, anchor) = if x == x1 { (x - 80, "end") } else { (x + THICK + 80, "start") };
                    text.label x=(tenths(at)) y=(tenths(y)) dy="-1" text-anchor=(anchor) { (node.label) }
                    text.value x=(tenths(at)) y=(tenths(y)) dy="12" text-anchor=(anchor) { (grouped(node.count)) " · " (share(node.count, all)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_joined_by_all_of_it() {
        let (mut nodes, height) = place(vec![("a".into(), 75, None), ("b".into(), 25, None)], 100);
        assert_eq!((nodes[0].height, nodes[1].height), (2_250, 750));
        assert_eq!(height, 3_000 + GAP);
        let (mut ends, _) = place(vec![("c".into(), 100, Some(Bucket::Closed))], 100);
        for node in &mut nodes {
            let count = node.count;
            join(node, &mut ends[0], count, (0, 100), Bucket::Closed);
            assert_eq!(node.joined, (0, count));
        }
        assert_eq!(ends[0].joined, (100, 0));
    }
}
