//! What the figures mean, so that they can be published with it.

use portreeve_api::reporting::v1::Measure;

const REFERRALS: &str = "referrals";
const DAYS: &str = "days";
const TARGETS: &str = "targets";

/// Identifier, unit and definition, in the order of the identifiers.
const MEASURES: [(&str, &str, &str); 19] = [
    (
        "counts.closed",
        REFERRALS,
        "Referrals whose latest decision as of the as-of date closed the content: removed in whole or in part, suspended, \
         account terminated, or restricted by country or in interaction. Share of counts.referred.",
    ),
    (
        "counts.detail",
        REFERRALS,
        "Referrals by disposition as of the as-of date. Every referral is in exactly one, so they add up to \
         counts.referred.",
    ),
    (
        "counts.not_in_breach",
        REFERRALS,
        "Referrals that the platform looked at and left, as not violating the clauses considered or as permitted by a \
         named version of a named clause. Says what was decided, not whether the content is still there. Share of \
         counts.referred.",
    ),
    (
        "counts.other",
        REFERRALS,
        "Every other referral of the cohort: left under a label, an age limit or with less reach; not decidable on what was \
         given; not accessible to the platform; already gone; a duplicate; not on the platform's service; from an authority \
         not recognised; protected; impossible to act on; withdrawn by the agency. Already gone and duplicate are no \
         refusals, which is why they are here. Share of counts.referred.",
    ),
    (
        "counts.referred",
        REFERRALS,
        "Referrals, each of one target to one platform by one agency, whose date by the agency's account is in the cohort \
         window and which had been recorded by the known-at date. The denominator of all counts: closed, not in breach, \
         undecided and other always add up to it. Counts referrals, neither accounts nor posts.",
    ),
    (
        "counts.targets",
        TARGETS,
        "Targets, as operations count them: within one operation, what several referrals to one platform point at by its canonical \
         address counts once, with the first of them that was recorded, whatever became of it; a referral of no operation \
         counts as a target of its own, each time. So it adds up over any rows, and is never more than counts.referred, \
         which counts referrals: every agency's, each. Whether a target is a page, an account or a post is its kind's to say.",
    ),
    (
        "counts.undecided",
        REFERRALS,
        "Referrals on which no decision had been made by the as-of date, acknowledged or not. Share of counts.referred.",
    ),
    (
        "decision_times.censored_median_days",
        DAYS,
        "The number of days within which half of the referrals are estimated to be decided, with the undecided counted as \
         censored at their age (product-limit estimate of Kaplan and Meier). Absent when the estimate does not reach one \
         half: longer than observed. Denominator: decision_times.n.",
    ),
    (
        "decision_times.censored_p90_days",
        DAYS,
        "As decision_times.censored_median_days, for nine tenths of the referrals.",
    ),
    (
        "decision_times.decided",
        REFERRALS,
        "Referrals on which a first decision had been made by the as-of date, whatever became of it later.",
    ),
    (
        "decision_times.decided_only_median_days",
        DAYS,
        "Median of the whole days from the referral to the first decision, over the decided alone. Leaves the undecided out \
         and so flatters whoever leaves the hard ones open: never to be published without \
         decision_times.censored_median_days. Denominator: decision_times.decided.",
    ),
    (
        "decision_times.decided_only_p90_days",
        DAYS,
        "As decision_times.decided_only_median_days, for the 90th percentile.",
    ),
    (
        "decision_times.n",
        REFERRALS,
        "Referrals that waited for a first decision: decided, undecided, and withdrawn ones, which count as undecided up to \
         their withdrawal. Equal to counts.referred.",
    ),
    (
        "undecided_ages.buckets",
        REFERRALS,
        "Undecided referrals by age: 0 to 6, 7 to 29, 30 to 89, 90 to 179, and 180 or more whole days from the day of the \
         referral to the as-of date, both by UTC. Adds up to counts.undecided.",
    ),
    ("undecided_ages.max_days", DAYS, "The age of the oldest undecided referral. Denominator: counts.undecided."),
    (
        "undecided_ages.p50_days",
        DAYS,
        "The lowest age that at least half of the undecided referrals do not exceed. Denominator: counts.undecided.",
    ),
    (
        "undecided_ages.p90_days",
        DAYS,
        "The lowest age that at least nine tenths of the undecided referrals do not exceed. Denominator: counts.undecided.",
    ),
    (
        "report.as_of_date",
        "date",
        "The day, by UTC, at whose end the referrals are looked at: only what had become true by then counts. A withdrawal \
         that was told after the platform had acted counts from the day of that act.",
    ),
    (
        "report.known_at_date",
        "date",
        "The day, by UTC, at whose end the knowledge is looked at: only what had been recorded by then counts. The same \
         definition at two such days shows what was restated between them.",
    ),
];

/// Every measure, by its identifier.
pub(super) fn measures() -> Vec<Measure> {
    let mut all = MEASURES
        .into_iter()
        .map(|(id, unit, definition)| Measure {
            id: id.to_owned(),
            unit: unit.to_owned(),
            definition: definition.to_owned(),
        })
        .collect::<Vec<_>>();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_distinct_and_in_order() {
        let ids = measures().into_iter().map(|measure| measure.id).collect::<Vec<_>>();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }
}
