//! What the page shows of the figures, section by section. Each chart has its table.

use maud::{Markup, html};
use portreeve_api::reporting::v1::{DecisionTimes, Measure, Report, ReportRow, SurvivalStep, UndecidedAges};
use portreeve_core::figure::{grouped, share};
use portreeve_core::vocabulary::Bucket;

use super::chart::columns::columns;
use super::chart::sankey::sankey;
use super::chart::survival::survival;
use super::chart::{bar, legend, swatch};
use super::client::Figures;
use super::figures::{BUCKETS, Parts, Place, by, clause, largest, months, name, outcomes, platform};
use super::question::Question;

/// Platforms that have a place of their own in the picture of the flow; the tables have all.
const PLATFORMS_SHOWN: usize = 12;

/// All figures: what a change replaces.
pub(super) fn figures(question: &Question, figures: &Figures) -> Markup {
    let Figures { report, curve } = figures;
    let total = report.total.clone().unwrap_or_default();
    let all = total.counts.as_ref().map(Parts::of).unwrap_or_default();
    let times = total.decision_times.unwrap_or_default();
    html! {
        (cohort(report, &total, all, &times))
        @if all.referred() > 0 {
            (flow(&report.rows))
            (by_platform(&report.rows, all))
            (by_clause(&report.rows, all))
            (over_time(&report.rows, all))
            (undecided(&total.undecided_ages.clone().unwrap_or_default(), all, &curve.steps, &times))
        }
        (about(question, report))
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A day as people write it: `2020-09-03` as `3 September 2020`.
pub(super) fn day(text: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let read = || {
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(format!("{} {month} {year}", day.trim_start_matches('0')))
    };
    read().unwrap_or_else(|| text.to_owned())
}

fn dated(text: &str) -> Markup {
    html! { time datetime=(text) { (day(text)) } }
}

fn days(days: Option<u32>, otherwise: &'static str) -> String {
    match days {
        Some(1) => "1 day".to_owned(),
        Some(days) => format!("{} days", grouped(days.into())),
        None => otherwise.to_owned(),
    }
}

fn cohort(report: &Report, total: &ReportRow, all: Parts, times: &DecisionTimes) -> Markup {
    let definition = report.definition.clone().unwrap_or_default();
    let referred = all.referred();
    let targets = total.counts.as_ref().map_or(referred, |counts| counts.targets);
    html! {
        section aria-labelledby="cohort" {
            h2 #cohort { "The cohort as it stands" }
            p.lede {
                "Referrals of " (dated(&definition.cohort_from_date)) " to " (dated(&definition.cohort_until_date))
                ", as of the end of " (dated(&definition.as_of_date)) "."
            }
            @if referred == 0 {
                p.nothing { "Nothing was referred in this period that you may see and that these filters let through." }
            } @else {
                div.wide #cohort-table-box role="group" aria-label="The cohort in figures" tabindex="0" {
                    table.figures.headline {
                        caption { "What became of them: the four parts always add up to the referred" }
                        thead { tr { th scope="col" { "Part" } th.n scope="col" { "Referrals" } th.n scope="col" { "Of referred" } th.chart-cell scope="col" { "Share" } } }
                        tbody {
                            @for (bucket, count) in all.each() {
                                tr {
                                    th scope="row" { (swatch(bucket)) " " (name(bucket)) }
                                    td.n data-figure=(super::figures::class(bucket)) { (grouped(count)) }
                                    td.n { (share(count, referred)) }
                                    td.chart-cell { (bar(all.only(bucket), referred)) }
                                }
                            }
                        }
                        tfoot { tr { th scope="row" { "Referred" } td.n data-figure="referred" { (grouped(referred)) } td.n { (share(referred, referred)) } td.chart-cell { (bar(all, referred)) } } }
                    }
                }
                @if targets < referred {
                    p { "Of " (grouped(targets)) " targets: what was referred in one operation more than once counts once." }
                }
                (medians(times))
            }
        }
    }
}

fn medians(times: &DecisionTimes) -> Markup {
    let longer = "longer than observed";
    html! {
        div.pair {
            div.card {
                h3 { "Median to the first decision, with the undecided" }
                p.big data-figure="censored-median" { (days(times.censored_median_days, longer)) }
                p {
                    "Over all " (grouped(whole(times.n))) " referrals; those not decided count as censored at their age (Kaplan-Meier). Nine tenths: "
                    span data-figure="censored-p90" { (days(times.censored_p90_days, longer)) } "."
                }
            }
            div.card.naive {
                h3 { "Median of the decided alone (naive)" }
                p.big data-figure="naive-median" { (days(times.decided_only_median_days, "none decided")) }
                p {
                    "Over the " (grouped(whole(times.decided))) " decided. It leaves the undecided out, and so flatters whoever leaves the hard ones open. Nine tenths: "
                    span data-figure="naive-p90" { (days(times.decided_only_p90_days, "none decided")) } "."
                }
            }
        }
    }
}

fn flow(rows: &[ReportRow]) -> Markup {
    let platforms = largest(rows, Place::Platform);
    let outcomes = outcomes(rows);
    let all = platforms.iter().map(|(_, parts)| parts.referred()).sum::<i64>();
    let (shown, rest) = platforms.split_at(platforms.len().min(PLATFORMS_SHOWN));
    let mut named = shown.iter().map(|(name, parts)| (platform(name).to_owned(), *parts)).collect::<Vec<_>>();
    if !rest.is_empty() {
        named.push((format!("{} others", rest.len()), rest.iter().map(|(_, parts)| *parts).sum()));
    }
    html! {
        section aria-labelledby="flow" {
            h2 #flow { "From referred to outcome" }
            p { "Who was asked, what was decided, and in which words. The width of a stream is a number of referrals." }
            (legend())
            div.wide #flow-box role="group" aria-label="The flow as a picture" tabindex="0" { (sankey(&named, &outcomes)) }
            details #flow-table {
                summary #flow-summary { "The flow as a table" }
                div.wide #flow-table-box role="group" aria-label="The flow as a table" tabindex="0" {
                    table.figures {
                        caption { "Outcomes; by platform see below" }
                        thead { tr { th scope="col" { "Outcome" } th scope="col" { "Part" } th.n scope="col" { "Referrals" } th.n scope="col" { "Of referred" } } }
                        tbody {
                            @for (outcome, bucket, count) in &outcomes {
                                tr { th scope="row" { (outcome) } td { (swatch(*bucket)) " " (name(*bucket)) } td.n { (grouped(*count)) } td.n { (share(*count, all)) } }
                            }
                        }
                        tfoot { tr { th scope="row" { "Referred" } td {} td.n { (grouped(all)) } td.n { (share(all, all)) } } }
                    }
                }
            }
        }
    }
}

/// The head of a table of parts.
fn head(first: &str, chart: bool) -> Markup {
    html! {
        thead {
            tr {
                th scope="col" { (first) }
                th.n scope="col" { "Referred" }
                @for bucket in BUCKETS { th.n scope="col" { (name(bucket)) } }
                th.n scope="col" { "Closed, of referred" }
                @if chart { th.chart-cell scope="col" { "Shares" } }
            }
        }
    }
}

/// The cells of a row of parts behind its heading; the bar is of the row's own referrals.
fn cells(parts: Parts, chart: bool) -> Markup {
    html! {
        td.n { (grouped(parts.referred())) }
        @for (_, count) in parts.each() { td.n { (grouped(count)) } }
        td.n { (share(parts.part(Bucket::Closed), parts.referred())) }
        @if chart { td.chart-cell { (bar(parts, parts.referred())) } }
    }
}

fn by_platform(rows: &[ReportRow], all: Parts) -> Markup {
    html! {
        section aria-labelledby="platforms" {
            h2 #platforms { "By platform" }
            (legend())
            div.wide #platforms-box role="group" aria-label="Attrition by platform" tabindex="0" {
                table.figures {
                    caption { "Attrition by platform: shares are of what was referred to each" }
                    (head("Platform", true))
                    tbody { @for (name, parts) in largest(rows, Place::Platform) { tr { th scope="row" { (platform(name)) } (cells(parts, true)) } } }
                    tfoot { tr { th scope="row" { "All" } (cells(all, true)) } }
                }
            }
        }
    }
}

fn by_clause(rows: &[ReportRow], all: Parts) -> Markup {
    let mut clauses = by(rows, Place::Clause).into_iter().collect::<Vec<_>>();
    // What a clause let stay is what the agency wants to know; what cites none comes last.
    clauses.sort_by_key(|(clause, parts)| {
        (clause.is_empty(), -parts.part(Bucket::NotInBreach), -parts.referred(), *clause)
    });
    html! {
        section aria-labelledby="clauses" {
            h2 #clauses { "By clause" }
            p { "The decisive clause of the decision in force, at its version: under which words something was closed, and which words let it stay." }
            (legend())
            div.wide #clauses-box role="group" aria-label="Attrition by clause" tabindex="0" {
                table.figures {
                    caption { "Attrition by clause and version: those let stay by most first" }
                    (head("Clause@version", true))
                    tbody {
                        @for (name, parts) in clauses {
                            tr { th scope="row" { @if name.is_empty() { "No clause cited" } @else { (clause(name)) } } (cells(parts, true)) }
                        }
                    }
                    tfoot { tr { th scope="row" { "All" } (cells(all, true)) } }
                }
            }
        }
    }
}

fn over_time(rows: &[ReportRow], all: Parts) -> Markup {
    let months = months(rows);
    html! {
        section aria-labelledby="months" {
            h2 #months { "Over time" }
            p { "By the month in which they were referred. Later months had less time to be decided: their undecided are younger, not slower." }
            (legend())
            div.wide #months-box role="group" aria-label="Cohort months as a picture" tabindex="0" { (columns(&months)) }
            details #months-table {
                summary #months-summary { "The months as a table" }
                div.wide #months-table-box role="group" aria-label="Cohort months as a table" tabindex="0" {
                    table.figures {
                        caption { "Attrition by cohort month" }
                        (head("Month", false))
                        tbody { @for (month, parts) in &months { tr { th scope="row" { (month) } (cells(*parts, false)) } } }
                        tfoot { tr { th scope="row" { "All" } (cells(all, false)) } }
                    }
                }
            }
        }
    }
}

fn undecided(ages: &UndecidedAges, all: Parts, steps: &[SurvivalStep], times: &DecisionTimes) -> Markup {
    let count = all.part(Bucket::Undecided);
    html! {
        section aria-labelledby="waiting" {
            h2 #waiting { "How long they wait" }
            p {
                "The share of referrals still undecided after so many days, estimated with those not decided yet as censored at their age, and the withdrawn "
                "up to their withdrawal (Kaplan-Meier). A small upright stroke marks days on which some were censored."
            }
            div.wide #survival-box role="group" aria-label="The survival curve of the undecided" tabindex="0" { (survival(steps, times.censored_median_days)) }
            details #survival-table {
                summary #survival-summary { "The curve as a table" }
                div.wide #survival-table-box role="group" aria-label="The survival curve as a table" tabindex="0" {
                    table.figures {
                        caption { "Days on which referrals were decided or censored" }
                        thead { tr { th.n scope="col" { "Days" } th.n scope="col" { "At risk" } th.n scope="col" { "Decided" } th.n scope="col" { "Censored" } th.n scope="col" { "Still undecided" } } }
                        tbody {
                            @for step in steps {
                                tr {
                                    th.n scope="row" { (grouped(step.days.into())) }
                                    td.n { (grouped(whole(step.at_risk))) } td.n { (grouped(whole(step.decided))) } td.n { (grouped(whole(step.censored))) }
                                    td.n { (share(step.undecided_millionths.into(), 1_000_000)) }
                                }
                            }
                        }
                    }
                }
            }
            h3 { "The undecided, by age" }
            div.wide #ages-box role="group" aria-label="Ages of the undecided" tabindex="0" {
                table.figures.narrow {
                    caption { "Whole days from the referral to the as-of date" }
                    thead { tr { th scope="col" { "Age" } th.n scope="col" { "Undecided" } th.n scope="col" { "Of undecided" } th.chart-cell scope="col" { "Share" } } }
                    tbody {
                        @for bucket in &ages.buckets {
                            @let part = whole(bucket.count);
                            tr {
                                th scope="row" {
                                    @match bucket.to_days { Some(to) => { (bucket.from_days) " to " (to) " days" }, None => { (bucket.from_days) " days or more" } }
                                }
                                td.n { (grouped(part)) } td.n { (share(part, count)) }
                                td.chart-cell { (bar(Parts::one(Bucket::Undecided, part), count)) }
                            }
                        }
                    }
                    tfoot { tr { th scope="row" { "Undecided" } td.n { (grouped(count)) } td.n { (share(count, count)) } td.chart-cell {} } }
                }
            }
            @if count > 0 {
                p {
                    "Half of them are at most " (days(ages.p50_days, "–")) " old, nine tenths at most " (days(ages.p90_days, "–"))
                    "; the oldest is " (days(ages.max_days, "–")) "."
                }
            }
        }
    }
}

/// How to check it: what every figure means, and where it comes from.
fn about(question: &Question, report: &Report) -> Markup {
    let definition = report.definition.clone().unwrap_or_default();
    html! {
        section aria-labelledby="about" {
            h2 #about { "How to check these figures" }
            dl.facts {
                dt { "Unit" } dd { "Referrals: each of one target to one platform by one agency. Neither accounts nor posts." }
                dt { "As of" } dd { "The end of " (dated(&definition.as_of_date)) " (UTC): only what had become true by then counts." }
                dt { "Known at" } dd { "The end of " (dated(&definition.known_at_date)) " (UTC): only what this server had recorded by then counts." }
                dt { "Settled" }
                dd {
                    @if report.settled { "Yes: nothing that is recorded later can change them." }
                    @else { "No: the last day whose records count is not over, so that what is recorded today can change them." }
                }
                dt { "Digest" } dd { code.digest data-figure="digest" { (report.digest) } }
                dt { "The same report" } dd { code { (question.command()) } }
            }
            (definitions(&report.definitions))
        }
    }
}

fn definitions(measures: &[Measure]) -> Markup {
    html! {
        details #definitions {
            summary #definitions-summary { "What every figure means" }
            div.wide #definitions-box role="group" aria-label="Definitions" tabindex="0" {
                table.words {
                    caption { "Measures, as the API defines them" }
                    thead { tr { th scope="col" { "Measure" } th scope="col" { "Unit" } th scope="col" { "Share of" } th scope="col" { "Definition" } } }
                    tbody {
                        @for measure in measures {
                            tr { th scope="row" { code { (measure.id) } } td { (measure.unit) } td { code { (measure.denominator) } } td { (measure.definition) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_people_write_them() {
        assert_eq!(day("2020-09-03"), "3 September 2020");
        assert_eq!([day(""), day("2020-13-01")], ["", "2020-13-01"]);
        assert_eq!([days(Some(1), "x"), days(Some(1_234), "x"), days(None, "x")], ["1 day", "1,234 days", "x"]);
    }
}
