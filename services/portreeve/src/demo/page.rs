//! What the committee is shown.

use std::fmt::Write as _;

use portreeve_api::common::v1::Disposition;
use portreeve_api::reporting::v1::{Report, ReportRow};

use crate::cli::report::page::{ages, equation, rows, short, times};
use crate::cli::table::{Lines, heading};
use crate::cli::words::{Word as _, grouped, share};
use crate::demo::catalogue::OVERSIGHT;
use crate::demo::plan::PERIOD;

/// The committee's page: the sum, by platform, by reason, the undecided and the times. `by_reason` is divided by
/// disposition and clause.
pub(super) fn page(by_platform: &Report, by_reason: &Report) -> String {
    let total = by_platform.total.clone().unwrap_or_default();
    let counts = total.counts.clone().unwrap_or_default();
    let parts = [
        "Pages referred from January to May 2020, as of 3 September 2020".to_owned(),
        indented(&equation(&counts)),
        String::new(),
        heading("By platform"),
        rows(&["Platform".to_owned()], &by_platform.rows, &total),
        String::new(),
        heading("By reason: what was decided, under which clause at which version"),
        reasons(&by_reason.rows, counts.referred),
        String::new(),
        heading("The undecided, by age"),
        ages(&total.undecided_ages.unwrap_or_default()),
        String::new(),
        heading("Days to the first decision, without and with the undecided"),
        times(&total.decision_times.unwrap_or_default()),
        String::new(),
        "The four totals are the published ones (National Crime Agency, supplementary written evidence CHA0051 to the Home\n\
         Affairs Committee). The spread over platforms, grounds, clauses and days is synthetic, and so are the platforms,\n\
         their policies and the pages. All figures above were counted from what was played through the API."
            .to_owned(),
    ];
    let mut text = String::new();
    for (place, part) in parts.iter().enumerate() {
        let part = if place == 0 { &heading(part) } else { part };
        let _ = writeln!(text, "{part}{}", if place == 0 { "\n" } else { "" });
    }
    text
}

/// The rows by disposition and clause, in the order of the four parts of the sum and the larger first.
fn reasons(rows: &[ReportRow], referred: i64) -> String {
    let part = |row: &ReportRow| {
        let counts = row.counts.clone().unwrap_or_default();
        let parts =
            [(counts.closed, "Closed"), (counts.not_in_breach, "Not in breach"), (counts.undecided, "Undecided")];
        let place = parts.iter().position(|(count, _)| *count > 0);
        (place.unwrap_or(parts.len()), place.and_then(|place| parts.get(place)).map_or("Other", |(_, name)| *name))
    };
    let count = |row: &ReportRow| row.counts.as_ref().map_or(0, |counts| counts.referred);
    let mut rows: Vec<&ReportRow> = rows.iter().collect();
    rows.sort_by_key(|row| (part(row).0, disposition(row), -count(row)));
    let mut table = Lines::new(["Reason", "Clause@version", "Pages#", "Of referred#"]);
    for row in rows {
        let reason = match (part(row).1, Disposition::parse(&disposition(row))) {
            ("Closed", Ok(Disposition::Closed)) => "Closed".to_owned(),
            (name, Ok(Disposition::Submitted)) => format!("{name}: not acknowledged"),
            (name, Ok(Disposition::Received)) => format!("{name}: acknowledged"),
            (name, _) => format!("{name}: {}", disposition(row).to_lowercase().replace('_', " ")),
        };
        let clause = match row.key.get(1) {
            Some(value) if value.value.is_empty() && part(row).0 == 0 => "(under the law alone)".to_owned(),
            Some(value) => short(value.dimension, &value.value),
            None => String::new(),
        };
        table.row([reason, clause, grouped(count(row)), share(count(row), referred)]);
    }
    table.to_string()
}

fn disposition(row: &ReportRow) -> String {
    row.key.first().map_or_else(String::new, |value| value.value.clone())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// How to call the suite that is left running.
pub(super) fn how_to_call(address: &str) -> String {
    format!(
        "{heading}\n\n  \
           export PORTREEVE_SERVER=http://{address}\n  \
           portreeve report --cohort 2020-01..2020-05 --as-of 2020-09-03 --by platform,ground --as oversightBodies/home-affairs\n  \
           portreeve inbox --status received --as platforms/harbourbook\n  \
           portreeve watch decisions --from now --as agencies/nca\n  \
           portreeve refer https://harbourbook.example/pages/new --platform platforms/harbourbook \\\n    \
             --ground offer-transport-sea --nature voluntary-referral --statute 'Immigration Act 1971' \\\n    \
             --section 's. 25' --reasons 'Offers crossings, with prices' --as agencies/nca\n\n  \
           grpcurl -plaintext -H 'portreeve-organisation: platforms/harbourbook' \\\n    \
             -d '{{\"parent\": \"platforms/harbourbook\", \"page_size\": 2}}' \\\n    \
             {address} portreeve.decision.v1.DecisionService/ListCases\n\n\
         In a browser: {page}\n\n\
         The server is open: it believes callers who they are, and listens on loopback only. Ctrl-C stops it.",
        heading = heading(&format!("Listening at {address}. How to call it")),
        page = format_args!(
            "http://{address}{}?from={}&until={}&as-of={}&as={}",
            portreeve_reporting::page::PATH,
            PERIOD.0,
            PERIOD.1,
            PERIOD.2,
            OVERSIGHT.0
        ),
    )
}

#[cfg(test)]
mod tests {
    use portreeve_api::reporting::v1::{Counts, Dimension, DimensionValue};

    use super::*;

    #[test]
    fn the_page_has_the_sum_the_reasons_and_what_is_synthetic() {
        let row = |disposition: &str, clause: &str, counts: Counts| ReportRow {
            key: vec![
                DimensionValue { dimension: Dimension::Disposition.into(), value: disposition.to_owned() },
                DimensionValue { dimension: Dimension::Clause.into(), value: clause.to_owned() },
            ],
            counts: Some(counts),
            ..ReportRow::default()
        };
        let by_reason = Report {
            rows: vec![
                row("SUBMITTED", "", Counts { referred: 27, undecided: 27, ..Counts::default() }),
                row(
                    "PERMITTED_BY_POLICY",
                    "platforms/harbourbook/clauses/requests@1",
                    Counts { referred: 171, not_in_breach: 171, ..Counts::default() },
                ),
                row(
                    "CLOSED",
                    "platforms/harbourbook/clauses/smuggling-offers@1",
                    Counts { referred: 270, closed: 270, ..Counts::default() },
                ),
            ],
            ..Report::default()
        };
        let page = page(&crate::cli::report::page::tests::report(), &by_reason);
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text:?} is missing in\n{page}"));
        place("  1,218 referred  =  578 closed  +  485 not in breach  +  155 undecided  +  0 other\n");
        assert!(place("harbourbook: smuggling-offers@1") < place("harbourbook: requests@1"));
        assert!(place("harbourbook: requests@1") < place("not acknowledged"));
        place("  Not in breach: permitted by policy   harbourbook: requests@1             171        14.0 %");
        place("CHA0051");
        place("is synthetic");
    }
}
