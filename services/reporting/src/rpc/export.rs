//! Reports as files.

use std::sync::OnceLock;

use bytes::Bytes;
use portreeve_api::FILE_DESCRIPTOR_SET;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::{Error, Reason, Result, limits};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::convert::write_disposition;
use crate::domain::Disposition;
use crate::domain::report::AGES_FROM;

/// Bytes of one message of an export.
const PIECE_BYTES: usize = 64 * 1024;

/// A file in pieces of a size that every client takes.
pub(super) fn pieces(file: Vec<u8>) -> impl Iterator<Item = Bytes> + Send {
    let mut rest = Bytes::from(file);
    std::iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE_BYTES))))
}

/// Refuses a report that does not fit into one message.
pub(super) fn check_size(report: &wire::Report) -> Result<()> {
    // What goes around it: the tag, the length, and in a stream the token and the progress.
    const AROUND: usize = 4 * 1024;
    let actual = report.encoded_len() + AROUND;
    if actual <= limits::REPLY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(
        Reason::LimitExceeded,
        "the report does not fit into one message; divide it by less, filter it, or export it as a file",
    )
    .with("limit", "REPLY_BYTES_MAX")
    .with("maximum", limits::REPLY_BYTES_MAX)
    .with("actual", actual))
}

/// The report in the canonical JSON form of protobuf, zeros shown: a figure that is nought is still a figure.
pub(super) fn json(report: &wire::Report) -> Result<Vec<u8>> {
    static DESCRIPTOR: OnceLock<Option<MessageDescriptor>> = OnceLock::new();
    let descriptor = DESCRIPTOR.get_or_init(|| {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok()?;
        pool.get_message_by_name("portreeve.reporting.v1.Report")
    });
    let descriptor = descriptor.clone().ok_or_else(|| Error::internal("the contract has no report"))?;
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("the report cannot be written: {error}"));
    let message = DynamicMessage::decode(descriptor, report.encode_to_vec().as_slice()).map_err(|e| failed(&e))?;
    let mut file = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut file);
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(&mut writer, &options).map_err(|e| failed(&e))?;
    Ok(file)
}

/// The columns between those of the dimensions and those of the dispositions.
const BUCKETS: [&str; 5] = ["referred", "closed", "not_in_breach", "undecided", "other"];
const AGES: [&str; 8] = [
    "undecided_0_to_6_days",
    "undecided_7_to_29_days",
    "undecided_30_to_89_days",
    "undecided_90_to_179_days",
    "undecided_180_or_more_days",
    "undecided_age_p50_days",
    "undecided_age_p90_days",
    "undecided_age_max_days",
];
const TIMES: [&str; 6] = [
    "decision_times_n",
    "decision_times_decided",
    "decided_only_median_days",
    "decided_only_p90_days",
    "censored_median_days",
    "censored_p90_days",
];

/// The report as comma-separated values (RFC 4180): the rows, then the total. Each line repeats what it counts and as of
/// when, so that no figure can be cut loose from it; a figure that does not exist is left empty. Under a grant what is
/// withheld is left empty, too, and named in a last column.
pub(super) fn csv(report: &wire::Report) -> Vec<u8> {
    let definition = report.definition.clone().unwrap_or_default();
    let dimensions = definition.dimensions.iter().filter_map(|code| super::convert::read_dimension(*code));
    let mut header =
        ["line", "cohort_from_date", "cohort_until_date", "as_of_date", "known_at_date"].map(str::to_owned).to_vec();
    header.extend(dimensions.map(|dimension| super::convert::dimension_name(dimension).to_lowercase()));
    header.extend(BUCKETS.map(str::to_owned));
    header.extend(
        Disposition::ALL
            .iter()
            .map(|disposition| format!("disposition_{}", write_disposition(*disposition).to_lowercase())),
    );
    header.extend(AGES.into_iter().chain(TIMES).map(str::to_owned));
    header.push("targets".to_owned());
    header.extend(report.grant_use.iter().map(|_| "withheld".to_owned()));
    let mut file = line(&header);
    let rows = report.rows.iter().map(|row| ("row", row));
    for (kind, row) in rows.chain(report.total.iter().map(|row| ("total", row))) {
        let mut fields = vec![kind.to_owned()];
        let dates = [
            &definition.cohort_from_date,
            &definition.cohort_until_date,
            &definition.as_of_date,
            &definition.known_at_date,
        ];
        fields.extend(dates.map(Clone::clone));
        let values = row.key.iter().map(|value| value.value.clone());
        fields.extend(values.chain(std::iter::repeat(String::new())).take(definition.dimensions.len()));
        fields.extend(figures(row));
        if report.grant_use.is_some() {
            fields.push(withheld(row).iter().map(|figure| column(*figure)).collect::<Vec<_>>().join(" "));
        }
        file.push_str(&line(&fields));
    }
    file.into_bytes()
}

/// What is withheld of a row.
fn withheld(row: &wire::ReportRow) -> Vec<wire::Figure> {
    row.withheld.iter().flat_map(wire::Withheld::figures).collect()
}

/// The figure's column, or what its columns begin with.
fn column(figure: wire::Figure) -> String {
    figure.as_str_name().trim_start_matches("FIGURE_").to_lowercase()
}

fn figures(row: &wire::ReportRow) -> Vec<String> {
    use wire::Figure;
    let withheld = withheld(row);
    let shown = |figure, text: String| if withheld.contains(&figure) { String::new() } else { text };
    let counts = row.counts.clone().unwrap_or_default();
    let ages = row.undecided_ages.clone().unwrap_or_default();
    let times = row.decision_times.unwrap_or_default();
    let days = |days: Option<u32>| days.map(|days| days.to_string()).unwrap_or_default();
    let mut fields = [
        (Figure::Referred, counts.referred),
        (Figure::Closed, counts.closed),
        (Figure::NotInBreach, counts.not_in_breach),
        (Figure::Undecided, counts.undecided),
        (Figure::Other, counts.other),
    ]
    .map(|(figure, count)| shown(figure, count.to_string()))
    .to_vec();
    fields.extend(Disposition::ALL.iter().map(|disposition| {
        let found = counts.detail.iter().find(|detail| detail.disposition == disposition.code());
        shown(Figure::Dispositions, found.map_or(0, |detail| detail.count).to_string())
    }));
    fields.extend(AGES_FROM.iter().enumerate().map(|(index, _)| {
        shown(Figure::UndecidedAges, ages.buckets.get(index).map_or(0, |bucket| bucket.count).to_string())
    }));
    fields.extend([ages.p50_days, ages.p90_days, ages.max_days].map(days));
    fields.extend(
        [(Figure::DecisionTimesN, times.n), (Figure::DecisionTimesDecided, times.decided)]
            .map(|(figure, count)| shown(figure, count.to_string())),
    );
    fields.extend(
        [
            times.decided_only_median_days,
            times.decided_only_p90_days,
            times.censored_median_days,
            times.censored_p90_days,
        ]
        .map(days),
    );
    fields.push(shown(Figure::Targets, counts.targets.to_string()));
    fields
}

fn line(fields: &[String]) -> String {
    let quoted = fields.iter().map(|field| {
        if field.contains(['"', ',', '\r', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    });
    let mut line = quoted.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_file() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let file = vec![7; length];
            let pieces = pieces(file.clone()).collect::<Vec<_>>();
            assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
            assert_eq!((pieces.len(), pieces.concat()), (length.div_ceil(PIECE_BYTES), file));
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let fields = ["a", "b,c", "d\"e", "f\ng", ""].map(str::to_owned);
        assert_eq!(line(&fields), "a,\"b,c\",\"d\"\"e\",\"f\ng\",\r\n");
    }

    #[test]
    fn a_report_that_does_not_fit_into_a_message_is_refused() {
        let of = |bytes: usize| wire::Report { digest: "x".repeat(bytes), ..wire::Report::default() };
        assert!(check_size(&of(limits::REPLY_BYTES_MAX - 8 * 1024)).is_ok());
        let refused = check_size(&of(limits::REPLY_BYTES_MAX)).map_err(|error| error.reason());
        assert_eq!(refused, Err(Reason::LimitExceeded));
    }
}
