//! Published reports between the contract's messages and the domain. A version lies in the log and in its table as the contract writes it.

use std::collections::BTreeMap;

use portreeve_api::reporting::v1 as wire;
use portreeve_core::audit::hex;
use portreeve_core::token::Revision;
use portreeve_runtime::wire::{read_time, write_time};
use prost::Message;

use crate::domain::{Publication, PublicationName};

/// A version in the log, and without its rows in the database.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PublicationBody {
    #[prost(message, optional, tag = "1")]
    publication: Option<wire::Publication>,
    #[prost(bytes = "vec", tag = "2")]
    question: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    figures: Vec<u8>,
    #[prost(int64, tag = "4")]
    counted_at: i64,
    #[prost(message, repeated, tag = "5")]
    followed: Vec<FollowedBody>,
}

#[derive(Clone, PartialEq, Message)]
struct FollowedBody {
    #[prost(string, tag = "1")]
    log: String,
    #[prost(bytes = "vec", tag = "2")]
    epoch: Vec<u8>,
    #[prost(int64, tag = "3")]
    position: i64,
}

/// A version for the log.
pub(super) fn write_body(version: &Publication) -> PublicationBody {
    let followed = version.followed.iter().map(|Revision { log, epoch, position }| FollowedBody {
        log: log.clone(),
        epoch: epoch.to_vec(),
        position: *position,
    });
    PublicationBody {
        publication: Some(write_whole(version)),
        question: version.question.to_vec(),
        figures: version.figures.to_vec(),
        counted_at: version.counted_at,
        followed: followed.collect(),
    }
}

/// A version from the log. `None` for what this release did not write.
pub(super) fn read_body(body: PublicationBody) -> Option<Publication> {
    let message = body.publication?;
    let name = message.name.parse::<PublicationName>().ok()?;
    let followed = body
        .followed
        .into_iter()
        .map(|of| Some(Revision { log: of.log, epoch: of.epoch.try_into().ok()?, position: of.position }));
    Some(Publication {
        id: name.id,
        version: name.version?,
        publisher: message.publisher.parse().ok()?,
        title: message.title,
        minimum: message.small_cell_minimum,
        reason: message.reason,
        question: body.question.try_into().ok()?,
        figures: body.figures.try_into().ok()?,
        counted_at: body.counted_at,
        followed: followed.collect::<Option<_>>()?,
        published_at: message.create_time.as_ref().and_then(|time| read_time(time).ok())?,
        report: message.report?.encode_to_vec(),
    })
}

/// A version without its rows, as its table has it, and the report in full beside it.
pub(crate) fn encode(version: &Publication) -> Vec<u8> {
    write_body(&Publication { report: without_rows(&version.report), ..version.clone() }).encode_to_vec()
}

/// The version behind such a body.
pub(crate) fn decode(body: &[u8]) -> Option<Publication> {
    read_body(PublicationBody::decode(body).ok()?)
}

fn without_rows(report: &[u8]) -> Vec<u8> {
    let report = wire::Report::decode(report).unwrap_or_default();
    wire::Report { rows: Vec::new(), definitions: Vec::new(), ..report }.encode_to_vec()
}

/// A version alone, as it was published.
pub(super) fn write_whole(version: &Publication) -> wire::Publication {
    let positions = version.followed.iter().map(|Revision { log, epoch, position }| wire::LogPosition {
        log: log.clone(),
        epoch: hex(epoch),
        position: *position,
    });
    wire::Publication {
        name: version.name().to_string(),
        version: version.version,
        latest_version: version.version,
        publisher: version.publisher.to_string(),
        title: version.title.clone(),
        small_cell_minimum: version.minimum,
        reason: version.reason.clone(),
        create_time: Some(write_time(version.published_at)),
        positions: positions.collect(),
        report: wire::Report::decode(version.report.as_slice()).ok(),
        difference: Vec::new(),
    }
}

/// A version for the wire: with the newest that there is, and with what it changes in the one before it.
pub(super) fn write_publication(version: &Publication, latest: u32, before: Option<&Publication>) -> wire::Publication {
    let message = write_whole(version);
    let report = |of: &Publication| wire::Report::decode(of.report.as_slice()).unwrap_or_default();
    let difference = before.map(|before| difference(&report(before), &report(version))).unwrap_or_default();
    wire::Publication { latest_version: latest.max(version.version), difference, ..message }
}

/// The rows of which two reports of one question show different things, by their keys, and then the total.
fn difference(before: &wire::Report, after: &wire::Report) -> Vec<wire::RestatedRow> {
    // The values as they are written, in the order of either report, which is that of their keys.
    let key = |row: &wire::ReportRow| row.key.iter().map(|value| value.value.clone()).collect::<Vec<_>>();
    let mut rows = BTreeMap::<Vec<String>, (Option<&wire::ReportRow>, Option<&wire::ReportRow>)>::new();
    for row in &before.rows {
        rows.entry(key(row)).or_default().0 = Some(row);
    }
    for row in &after.rows {
        rows.entry(key(row)).or_default().1 = Some(row);
    }
    let total = (before.total.as_ref(), after.total.as_ref());
    rows.into_values().chain([total]).filter(|(before, after)| before != after).map(restated).collect()
}

fn restated((before, after): (Option<&wire::ReportRow>, Option<&wire::ReportRow>)) -> wire::RestatedRow {
    let key = after.or(before).map(|row| row.key.clone()).unwrap_or_default();
    wire::RestatedRow { key, change: Some(change(before, after)), before: before.cloned(), after: after.cloned() }
}

/// The counts after less those before; nought where either withholds one.
fn change(before: Option<&wire::ReportRow>, after: Option<&wire::ReportRow>) -> wire::Counts {
    use wire::Figure;
    let counts = |row: Option<&wire::ReportRow>| row.and_then(|row| row.counts.clone()).unwrap_or_default();
    let (old, new) = (counts(before), counts(after));
    let hidden = |figure: Figure| {
        let hides = |row: &wire::ReportRow| row.withheld.as_ref().is_some_and(|of| of.figures.contains(&figure.into()));
        before.into_iter().chain(after).any(hides)
    };
    let less = |figure, new: i64, old: i64| if hidden(figure) { 0 } else { new - old };
    let mut detail = BTreeMap::<i32, i64>::new();
    if !hidden(Figure::Dispositions) {
        for (of, sign) in [(&new, 1), (&old, -1)] {
            for count in &of.detail {
                *detail.entry(count.disposition).or_default() += sign * count.count;
            }
        }
    }
    let detail = detail.into_iter().filter(|(_, count)| *count != 0);
    wire::Counts {
        referred: less(Figure::Referred, new.referred, old.referred),
        closed: less(Figure::Closed, new.closed, old.closed),
        not_in_breach: less(Figure::NotInBreach, new.not_in_breach, old.not_in_breach),
        undecided: less(Figure::Undecided, new.undecided, old.undecided),
        other: less(Figure::Other, new.other, old.other),
        detail: detail.map(|(disposition, count)| wire::DispositionCount { disposition, count }).collect(),
        targets: less(Figure::Targets, new.targets, old.targets),
    }
}

#[cfg(test)]
mod tests {
    use portreeve_api::common::v1::Disposition;
    use portreeve_core::Uuid;
    use portreeve_storage::Codec as _;
    use wire::{Counts, DimensionValue, DispositionCount, Figure, ReportRow, Withheld};

    use super::super::convert::Log;
    use super::*;
    use crate::domain::Event;

    fn row(platform: &str, referred: i64, closed: i64, withheld: &[Figure]) -> ReportRow {
        let detail = [(Disposition::Closed, closed), (Disposition::Submitted, referred - closed)];
        ReportRow {
            key: vec![DimensionValue { dimension: wire::Dimension::Platform.into(), value: platform.into() }],
            counts: Some(Counts {
                referred,
                closed,
                undecided: referred - closed,
                detail: detail.map(|(of, count)| DispositionCount { disposition: of.into(), count }).to_vec(),
                ..Counts::default()
            }),
            withheld: (!withheld.is_empty())
                .then(|| Withheld { figures: withheld.iter().map(|figure| (*figure).into()).collect() }),
            ..ReportRow::default()
        }
    }

    fn report(rows: Vec<ReportRow>) -> wire::Report {
        let sum = |of: fn(&Counts) -> i64| rows.iter().filter_map(|row| row.counts.as_ref()).map(of).sum();
        let total = ReportRow { key: vec![], ..row("", sum(|c| c.referred), sum(|c| c.closed), &[]) };
        wire::Report { total: Some(total), rows, ..wire::Report::default() }
    }

    #[test]
    fn a_version_comes_back_from_the_log_and_from_its_table() {
        let version = Publication {
            id: Uuid::from_u128(9),
            version: 2,
            publisher: "oversightBodies/hac".parse().unwrap(),
            title: "Cohort of 2020".into(),
            minimum: 5,
            reason: "Two platforms corrected what they told".into(),
            question: [1; 32],
            figures: [2; 32],
            counted_at: 70,
            followed: vec![Revision { log: "referral".into(), epoch: [3; 8], position: 40 }],
            published_at: "2026-01-02T03:04:05.000006Z".parse().unwrap(),
            report: report(vec![row("a", 10, 4, &[])]).encode_to_vec(),
        };
        let event = Event::ReportPublished(Box::new(version.clone()));
        assert_eq!(Log::decode(&Log::encode(&event).body), Ok(event));
        let kept = decode(&encode(&version)).unwrap();
        assert_eq!(Publication { report: version.report.clone(), ..kept.clone() }, version);
        let message = write_publication(&kept, 3, None);
        assert_eq!((message.latest_version, message.report.unwrap().rows.len()), (3, 0), "a list shows no rows");
        assert_eq!(decode(b"nonsense"), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn the_difference_tells_rows_that_changed_came_or_went_and_the_total() {
        let before = report(vec![row("a", 10, 4, &[]), row("b", 6, 6, &[]), row("c", 1, 0, &[])]);
        let after = report(vec![row("a", 10, 3, &[]), row("b", 6, 6, &[]), row("d", 2, 2, &[])]);
        let told = difference(&before, &after);
        let keys = told.iter().map(|row| row.key.first().map_or("", |value| value.value.as_str())).collect::<Vec<_>>();
        assert_eq!(keys, ["a", "c", "d", ""]);
        let change = |at: usize| {
            let Counts { referred, closed, undecided, .. } = told[at].change.clone().unwrap();
            [referred, closed, undecided]
        };
        assert_eq!([change(0), change(1), change(2), change(3)], [[0, -1, 1], [-1, 0, -1], [2, 2, 0], [1, 1, 0]]);
        let detail = told[0].change.as_ref().unwrap().detail.iter().map(|of| of.count).collect::<Vec<_>>();
        assert_eq!(detail, [1, -1]);
        assert!(told[1].after.is_none() && told[2].before.is_none());
        // Rows and the total add up in the difference as they do in either report.
        let sum = (0..3).fold([0; 3], |sum, at| std::array::from_fn(|i| sum[i] + change(at)[i]));
        assert_eq!(sum, change(3));
        assert_eq!(difference(&before, &before), []);
    }

    #[test]
    fn what_either_version_withholds_the_difference_does_not_tell() {
        let before = report(vec![row("a", 10, 4, &[])]);
        let after = report(vec![row("a", 11, 3, &[Figure::Closed, Figure::Dispositions])]);
        for told in [difference(&before, &after), difference(&after, &before)] {
            let change = told[0].change.clone().unwrap();
            assert_eq!((change.closed, change.detail.len(), change.referred.abs()), (0, 0, 1));
        }
    }
}
