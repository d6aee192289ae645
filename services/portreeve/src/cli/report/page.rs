//! A report as tables in a terminal.

use std::fmt::Write as _;

use portreeve_api::reporting::v1::{Counts, DecisionTimes, Dimension, Figure, Report, ReportRow, UndecidedAges};

use crate::cli::table::{Lines, heading};
use crate::cli::words::{Word, grouped, sentence, share, shown};

/// The whole report: what it counts, the rows with their total, the undecided and the times.
pub(super) fn page(report: &Report) -> String {
    let mut text = String::new();
    let definition = report.definition.clone().unwrap_or_default();
    let _ = writeln!(
        text,
        "{}",
        heading(&format!(
            "Referred {} to {}, as of {}",
            definition.cohort_from_date, definition.cohort_until_date, definition.as_of_date
        ))
    );
    if !definition.known_at_date.is_empty() {
        let _ = writeln!(text, "Counting only what was recorded by the end of {}.", definition.known_at_date);
    }
    let total = report.total.clone().unwrap_or_default();
    if let Some(grant_use) = &report.grant_use {
        let (grant, minimum) = (&grant_use.grant, grant_use.small_cell_minimum);
        let _ = writeln!(text, "Under {grant}: {WITHHELD} is withheld, so that no count below {minimum} is known.");
    }
    let _ = writeln!(text, "\n{}\n", equation_of(&total));
    let counts = total.counts.clone().unwrap_or_default();
    if counts.targets < counts.referred && !withholds(&total, Figure::Targets) {
        let targets = grouped(counts.targets);
        let _ =
            writeln!(text, "Of {targets} targets: what was referred in one operation more than once counts once.\n");
    }

    let names: Vec<String> = definition.dimensions.iter().map(|number| title(*number)).collect();
    let _ = writeln!(text, "{}\n", rows(&names, &report.rows, &total));
    let withheld = |figure| withholds(&total, figure);
    let by_age = if withheld(Figure::UndecidedAges) { format!("  {WITHHELD}") } else { ages_of(&total) };
    let _ = writeln!(text, "{}\n{by_age}\n", heading("The undecided, by age"));
    let _ = writeln!(text, "{}\n{}\n", heading("Time to the first decision"), times_of(&total));
    let _ = writeln!(
        text,
        "{} Digest {}.",
        if report.settled {
            "Settled: nothing that is recorded later can change this report."
        } else {
            "Not settled: the last day whose records count is not over, so that what is recorded today can change it."
        },
        report.digest
    );
    text
}

/// `1,218 referred = 578 closed + 485 not in breach + 155 undecided + 0 other`, with shares below.
pub(crate) fn equation(counts: &Counts) -> String {
    equation_of(&ReportRow { counts: Some(counts.clone()), ..ReportRow::default() })
}

fn equation_of(row: &ReportRow) -> String {
    let counts = row.counts.clone().unwrap_or_default();
    let parts = [
        (Figure::Referred, counts.referred, "referred", "="),
        (Figure::Closed, counts.closed, "closed", "+"),
        (Figure::NotInBreach, counts.not_in_breach, "not in breach", "+"),
        (Figure::Undecided, counts.undecided, "undecided", "+"),
        (Figure::Other, counts.other, "other", ""),
    ];
    let (mut above, mut below) = (String::new(), String::new());
    for (place, (figure, count, name, sign)) in parts.into_iter().enumerate() {
        let term = format!("{} {name}", unless_withheld(row, &[figure], grouped(count)));
        let percent = match place {
            0 => String::new(),
            _ => unless_withheld(row, &[figure, Figure::Referred], share(count, counts.referred)),
        };
        let width = term.chars().count();
        let _ = write!(above, "{term}  {sign}  ");
        let _ = write!(below, "{percent:<width$}  {:width_of_sign$}  ", "", width_of_sign = sign.chars().count());
    }
    format!("{}\n{}", above.trim_end(), below.trim_end())
}

/// The rows of a report with one column for each dimension, and its total.
pub(crate) fn rows(dimensions: &[String], rows: &[ReportRow], total: &ReportRow) -> String {
    let numbers = [
        "Referred#",
        "Closed#",
        "Not in breach#",
        "Undecided#",
        "Other#",
        "Closed %#",
        "Median days,\ndecided only#",
        "with the\nundecided#",
    ];
    let headings = dimensions.iter().map(String::as_str).chain(dimensions.is_empty().then_some(""));
    let mut table = Lines::new(headings.chain(numbers));
    for row in rows.iter().filter(|_| !dimensions.is_empty()) {
        table.row(row.key.iter().map(|value| short(value.dimension, &value.value)).chain(figures(row)));
    }
    let blank = dimensions.len().saturating_sub(1);
    table.row(
        std::iter::once("Total".to_owned()).chain(std::iter::repeat_n(String::new(), blank)).chain(figures(total)),
    );
    table.to_string()
}

fn figures(row: &ReportRow) -> Vec<String> {
    let counts = row.counts.clone().unwrap_or_default();
    let times = row.decision_times.unwrap_or_default();
    let mut cells = Vec::new();
    for (figures, text) in [
        (&[Figure::Referred][..], grouped(counts.referred)),
        (&[Figure::Closed], grouped(counts.closed)),
        (&[Figure::NotInBreach], grouped(counts.not_in_breach)),
        (&[Figure::Undecided], grouped(counts.undecided)),
        (&[Figure::Other], grouped(counts.other)),
        (&[Figure::Closed, Figure::Referred], share(counts.closed, counts.referred)),
        (&[Figure::DecidedOnlyMedianDays], days(times.decided_only_median_days, "–")),
        (&[Figure::CensoredMedianDays], days(times.censored_median_days, longer(&times))),
    ] {
        cells.push(unless_withheld(row, figures, text));
    }
    cells
}

/// What stands for a figure that is withheld.
const WITHHELD: &str = "×";

fn withholds(row: &ReportRow, figure: Figure) -> bool {
    row.withheld.as_ref().is_some_and(|withheld| withheld.figures().any(|one| one == figure))
}

/// The text, unless it would show one of the figures that are withheld.
fn unless_withheld(row: &ReportRow, figures: &[Figure], text: String) -> String {
    if figures.iter().any(|figure| withholds(row, *figure)) { WITHHELD.to_owned() } else { text }
}

/// How the undecided are spread over ages.
pub(crate) fn ages(ages: &UndecidedAges) -> String {
    ages_of(&ReportRow { undecided_ages: Some(ages.clone()), ..ReportRow::default() })
}

fn ages_of(row: &ReportRow) -> String {
    let ages = row.undecided_ages.clone().unwrap_or_default();
    let of = |figure, age| unless_withheld(row, &[figure], days(age, "–"));
    let mut table = Lines::new(["Age in days", "Undecided#", "Share#"]);
    let all: u64 = ages.buckets.iter().map(|bucket| bucket.count).sum();
    for bucket in &ages.buckets {
        let span = match bucket.to_days {
            Some(to) => format!("{} to {to}", bucket.from_days),
            None => format!("{} and more", bucket.from_days),
        };
        table.row([span, grouped(signed(bucket.count)), share(signed(bucket.count), signed(all))]);
    }
    if ages.p50_days.is_none() {
        return table.to_string();
    }
    format!(
        "{table}\n  Half of them are at most {} days old, nine tenths at most {}; the oldest is {}.",
        of(Figure::UndecidedAgeP50Days, ages.p50_days),
        of(Figure::UndecidedAgeP90Days, ages.p90_days),
        of(Figure::UndecidedAgeMaxDays, ages.max_days)
    )
}

/// How long decisions took, without and with the undecided.
pub(crate) fn times(times: &DecisionTimes) -> String {
    times_of(&ReportRow { decision_times: Some(*times), ..ReportRow::default() })
}

fn times_of(row: &ReportRow) -> String {
    let times = row.decision_times.unwrap_or_default();
    let mut table = Lines::new(["Days", "Referrals#", "Median#", "90th percentile#"]);
    let none = "–";
    let of = |figure, text| unless_withheld(row, &[figure], text);
    table.row([
        "Decided only".to_owned(),
        of(Figure::DecisionTimesDecided, grouped(signed(times.decided))),
        of(Figure::DecidedOnlyMedianDays, days(times.decided_only_median_days, none)),
        of(Figure::DecidedOnlyP90Days, days(times.decided_only_p90_days, none)),
    ]);
    table.row([
        "With the undecided (Kaplan-Meier)".to_owned(),
        of(Figure::DecisionTimesN, grouped(signed(times.n))),
        of(Figure::CensoredMedianDays, days(times.censored_median_days, longer(&times))),
        of(Figure::CensoredP90Days, days(times.censored_p90_days, longer(&times))),
    ]);
    let mut text = table.to_string();
    if text.contains(NOT_REACHED) {
        text += "\n  Not reached: too few had been decided for it by then, however long one had waited.";
    }
    text
}

/// What stands for a quantile that was not reached.
const NOT_REACHED: &str = "not reached";

/// What stands for a quantile that is unset.
fn longer(times: &DecisionTimes) -> &'static str {
    if times.n == 0 { "–" } else { NOT_REACHED }
}

pub(super) fn days(days: Option<u32>, unset: &str) -> String {
    days.map_or_else(|| unset.to_owned(), |days| grouped(days.into()))
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The heading for a dimension: `TARGET_KIND` as `Target kind`.
pub(super) fn title(dimension: i32) -> String {
    sentence(&shown::<Dimension>(dimension))
}

/// A value of a dimension, as short as it stays clear.
pub(crate) fn short(dimension: i32, value: &str) -> String {
    use Dimension as D;
    match D::from_number(dimension).unwrap_or(D::Unspecified) {
        _ if value.is_empty() => "–".to_owned(),
        D::Agency | D::Platform => value.split_once('/').map_or(value, |(_, id)| id).to_owned(),
        D::Clause => clause(value),
        D::Ground | D::TargetKind | D::Nature | D::Disposition => sentence(value),
        _ => value.to_owned(),
    }
}

/// `platforms/harbourbook/clauses/requests@1` as `harbourbook: requests, version 1`.
fn clause(value: &str) -> String {
    let read = || {
        let (platform, rest) = value.strip_prefix("platforms/")?.split_once("/clauses/")?;
        let (clause, version) = rest.split_once('@')?;
        Some(format!("{platform}: {clause}@{version}"))
    };
    read().unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use portreeve_api::reporting::v1::{AgeBucket, DimensionValue, GrantUse, ReportDefinition, Withheld};

    use super::*;

    /// The committee's cohort by platform, with figures made up for the test.
    pub(crate) fn report() -> Report {
        let counts = |referred, closed, not_in_breach, undecided| Counts {
            referred,
            closed,
            not_in_breach,
            undecided,
            other: 0,
            targets: referred,
            detail: Vec::new(),
        };
        let row = |platform: &str, counts: Counts, censored: Option<u32>| ReportRow {
            key: vec![DimensionValue { dimension: Dimension::Platform.into(), value: format!("platforms/{platform}") }],
            counts: Some(counts),
            undecided_ages: None,
            decision_times: Some(DecisionTimes {
                n: 1,
                decided: 1,
                decided_only_median_days: Some(9),
                censored_median_days: censored,
                ..DecisionTimes::default()
            }),
            withheld: None,
        };
        let bucket = |from_days, to_days, count| AgeBucket { from_days, to_days, count };
        Report {
            definition: Some(ReportDefinition {
                cohort_from_date: "2020-01-01".into(),
                cohort_until_date: "2020-05-31".into(),
                as_of_date: "2020-09-03".into(),
                dimensions: vec![Dimension::Platform.into()],
                ..ReportDefinition::default()
            }),
            rows: vec![
                row("harbourbook", counts(1_003, 480, 400, 123), Some(12)),
                row("lensgram", counts(215, 98, 85, 32), None),
            ],
            total: Some(ReportRow {
                key: Vec::new(),
                undecided_ages: Some(UndecidedAges {
                    buckets: vec![
                        bucket(0, Some(6), 0),
                        bucket(7, Some(29), 0),
                        bucket(30, Some(89), 0),
                        bucket(90, Some(179), 100),
                        bucket(180, None, 55),
                    ],
                    p50_days: Some(160),
                    p90_days: Some(230),
                    max_days: Some(245),
                }),
                ..row("", counts(1_218, 578, 485, 155), Some(14))
            }),
            digest: "d1".repeat(32),
            ..Report::default()
        }
    }

    #[test]
    fn a_report_is_laid_out_with_its_sum_its_ages_and_both_medians() {
        let page = page(&report());
        let expected = [
            "Referred 2020-01-01 to 2020-05-31, as of 2020-09-03",
            "1,218 referred  =  578 closed  +  485 not in breach  +  155 undecided  +  0 other",
            "                   47.5 %         39.8 %                12.7 %            0.0 %",
            "harbourbook      1,003      480             400         123       0     47.9 %              9            12",
            "lensgram           215       98              85          32       0     45.6 %              9   not reached",
            "Total            1,218      578             485         155       0     47.5 %              9            14",
            "90 to 179            100   64.5 %",
            "180 and more          55   35.5 %",
            "Half of them are at most 160 days old, nine tenths at most 230; the oldest is 245.",
            "With the undecided (Kaplan-Meier)           1       14       not reached",
            "Not settled",
        ];
        for line in expected {
            assert!(page.contains(line), "{line:?} is missing in\n{page}");
        }
    }

    #[test]
    fn what_is_withheld_is_no_nought() {
        let mut report = report();
        let figures = [Figure::Undecided, Figure::Other, Figure::DecidedOnlyMedianDays].map(Into::into).to_vec();
        report.rows[1].withheld = Some(Withheld { figures });
        let figures = [Figure::Undecided, Figure::UndecidedAges, Figure::DecisionTimesDecided].map(Into::into).to_vec();
        report.total.as_mut().unwrap().withheld = Some(Withheld { figures });
        report.grant_use = Some(GrantUse { grant: "grants/g".into(), small_cell_minimum: 10 });
        let page = page(&report);
        for line in [
            "Under grants/g: × is withheld, so that no count below 10 is known.",
            "1,218 referred  =  578 closed  +  485 not in breach  +  × undecided  +  0 other",
            "lensgram           215       98              85           ×       ×     45.6 %              ×   not reached",
            "The undecided, by age\n  ×\n",
            "Decided only                                ×        9",
        ] {
            assert!(page.contains(line), "{line:?} is missing in\n{page}");
        }
    }

    #[test]
    fn values_are_shown_short() {
        assert_eq!(short(Dimension::Clause.into(), "platforms/hb/clauses/requests@1"), "hb: requests@1");
        assert_eq!(short(Dimension::Disposition.into(), "NOT_VIOLATING"), "Not violating");
        assert_eq!(short(Dimension::CohortMonth.into(), "2020-01"), "2020-01");
        assert_eq!(short(Dimension::Clause.into(), ""), "–");
        assert_eq!(title(Dimension::TargetKind.into()), "Target kind");
    }
}
