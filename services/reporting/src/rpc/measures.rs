//! What the figures mean, so that they can be published with it.

use portreeve_api::reporting::v1::Measure;

const REFERRALS: &str = "referrals";
const DAYS: &str = "days";
const TARGETS: &str = "targets";
const ENTRIES: &str = "entries";

/// Identifier, unit, denominator and definition.
const MEASURES: [(&str, &str, &str, &str); 41] = [
    (
        "counts.closed",
        REFERRALS,
        "counts.referred",
        "Referrals whose latest decision as of the as-of date closed the content: removed in whole or in part, suspended, \
         account terminated, or restricted by country or in interaction.",
    ),
    (
        "counts.detail",
        REFERRALS,
        "counts.referred",
        "Referrals by disposition as of the as-of date. Every referral is in exactly one, so they add up to \
         counts.referred.",
    ),
    (
        "counts.not_in_breach",
        REFERRALS,
        "counts.referred",
        "Referrals that the platform looked at and left, as not violating the clauses considered or as permitted by a \
         named version of a named clause. Says what was decided, not whether the content is still there. Share of \
         counts.referred.",
    ),
    (
        "counts.other",
        REFERRALS,
        "counts.referred",
        "Every other referral of the cohort: left under a label, an age limit or with less reach; not decidable on what was \
         given; not accessible to the platform; already gone; a duplicate; not on the platform's service; from an authority \
         not recognised; protected; impossible to act on; withdrawn by the agency. Already gone and duplicate are no \
         refusals, which is why they are here.",
    ),
    (
        "counts.referred",
        REFERRALS,
        "",
        "Referrals, each of one target to one platform by one agency, whose date by the agency's account is in the cohort \
         window and which had been recorded by the known-at date. The denominator of all counts: closed, not in breach, \
         undecided and other always add up to it. Counts referrals, neither accounts nor posts.",
    ),
    (
        "counts.targets",
        TARGETS,
        "",
        "Targets, as operations count them: within one operation, what several referrals to one platform point at by its canonical \
         address counts once, with the first of them that was recorded, whatever became of it; a referral of no operation \
         counts as a target of its own, each time. So it adds up over any rows, and is never more than counts.referred, \
         which counts referrals: every agency's, each. Whether a target is a page, an account or a post is its kind's to say.",
    ),
    (
        "counts.undecided",
        REFERRALS,
        "counts.referred",
        "Referrals on which no decision had been made by the as-of date, acknowledged or not.",
    ),
    (
        "decision_times.censored_median_days",
        DAYS,
        "decision_times.n",
        "The number of days within which half of the referrals are estimated to be decided, with the undecided counted as \
         censored at their age (product-limit estimate of Kaplan and Meier). Absent when the estimate does not reach one \
         half: longer than observed.",
    ),
    (
        "decision_times.censored_p90_days",
        DAYS,
        "decision_times.n",
        "As decision_times.censored_median_days, for nine tenths of the referrals.",
    ),
    (
        "decision_times.decided",
        REFERRALS,
        "decision_times.n",
        "Referrals on which a first decision had been made by the as-of date, whatever became of it later.",
    ),
    (
        "decision_times.decided_only_median_days",
        DAYS,
        "decision_times.decided",
        "Median of the whole days from the referral to the first decision, over the decided alone. Leaves the undecided out \
         and so flatters whoever leaves the hard ones open: never to be published without \
         decision_times.censored_median_days.",
    ),
    (
        "decision_times.decided_only_p90_days",
        DAYS,
        "decision_times.decided",
        "As decision_times.decided_only_median_days, for the 90th percentile.",
    ),
    (
        "decision_times.n",
        REFERRALS,
        "counts.referred",
        "Referrals that waited for a first decision: decided, undecided, and withdrawn ones, which count as undecided up to \
         their withdrawal. Equal to counts.referred.",
    ),
    (
        "undecided_ages.buckets",
        REFERRALS,
        "counts.undecided",
        "Undecided referrals by age: 0 to 6, 7 to 29, 30 to 89, 90 to 179, and 180 or more whole days from the day of the \
         referral to the as-of date, both by UTC. Adds up to counts.undecided.",
    ),
    ("undecided_ages.max_days", DAYS, "counts.undecided", "The age of the oldest undecided referral."),
    (
        "undecided_ages.p50_days",
        DAYS,
        "counts.undecided",
        "The lowest age that at least half of the undecided referrals do not exceed.",
    ),
    (
        "undecided_ages.p90_days",
        DAYS,
        "counts.undecided",
        "The lowest age that at least nine tenths of the undecided referrals do not exceed.",
    ),
    (
        "report.as_of_date",
        "date",
        "",
        "The day, by UTC, at whose end the referrals are looked at: only what had become true by then counts. A withdrawal \
         that was told after the platform had acted counts from the day of that act.",
    ),
    (
        "report.known_at_date",
        "date",
        "",
        "The day, by UTC, at whose end the knowledge is looked at: only what had been recorded by then counts. The same \
         definition at two such days shows what was restated between them.",
    ),
    (
        "survival.at_risk",
        REFERRALS,
        "decision_times.n",
        "Referrals that had waited so many whole days for a first decision and were neither decided nor censored earlier.",
    ),
    (
        "survival.undecided",
        "millionths",
        "decision_times.n",
        "The estimated share of referrals still undecided after so many days, with the undecided and the withdrawn counted as censored \
         (product-limit estimate of Kaplan and Meier), rounded up. At most one half from decision_times.censored_median_days on.",
    ),
    (
        "recurrence.accounts",
        "accounts",
        "recurrence.targets",
        "Targets of the networks that are accounts, each counted once however often it was referred. Neither pages, nor groups, nor \
         posts.",
    ),
    (
        "recurrence.closed",
        REFERRALS,
        "recurrence.referrals",
        "Referrals of the networks that are in counts.closed of a report as of the same date.",
    ),
    (
        "recurrence.reappeared",
        REFERRALS,
        "recurrence.referrals",
        "Referrals of the networks whose content was seen again as another target by the as-of date (an observation REAPPEARED), \
         whether or not the first was closed.",
    ),
    (
        "recurrence.referrals",
        REFERRALS,
        "",
        "Referrals of an agency that are in a network: connected by its links of the kind SAME_NETWORK, by observations REAPPEARED \
         that name the referral of the new target, or by being of the same target as one that is.",
    ),
    (
        "recurrence.targets",
        TARGETS,
        "",
        "Targets of those referrals: referrals of which one follows, supersedes or escalates another are of one target. Two \
         referrals of one target that are not linked so count as two.",
    ),
    (
        "recurrence.times.censored_median_days",
        DAYS,
        "recurrence.times.n",
        "The number of days within which half of the closed targets are estimated to be seen again, with those not seen again \
         counted as censored (product-limit estimate of Kaplan and Meier): at the as-of date, or on the day on which they were \
         closed no more. Absent when the estimate does not reach one half: longer than observed.",
    ),
    (
        "recurrence.times.censored_p90_days",
        DAYS,
        "recurrence.times.n",
        "As recurrence.times.censored_median_days, for nine tenths.",
    ),
    (
        "recurrence.times.n",
        REFERRALS,
        "recurrence.referrals",
        "Referrals of the networks whose first closure had taken effect by the as-of date: when the platform says that it did, or \
         when it was decided where it does not say.",
    ),
    (
        "recurrence.times.reappeared_only_median_days",
        DAYS,
        "recurrence.times.reappeared",
        "Median of the whole days from the day on which the first closure took effect to the day on which the content was seen \
         again, over those seen again alone. Says of everything that comes back that it comes back soon: never to be published \
         without recurrence.times.censored_median_days.",
    ),
    (
        "recurrence.times.reappeared",
        REFERRALS,
        "recurrence.times.n",
        "Of these, seen again on or after that day while they were closed.",
    ),
    (
        "entered.closed",
        ENTRIES,
        "",
        "How often a referral came into counts.closed in the period: first decided so, or decided anew from another bucket. Not a \
         share of what was referred in the period.",
    ),
    (
        "entered.detail",
        ENTRIES,
        "entered.referred",
        "Entries by the disposition with which the referral came into its bucket. They add up to entered.referred.",
    ),
    ("entered.not_in_breach", ENTRIES, "", "As entered.closed, for counts.not_in_breach."),
    ("entered.other", ENTRIES, "", "As entered.closed, for counts.other; withdrawals are among them."),
    (
        "entered.referred",
        ENTRIES,
        "",
        "How often any referral came into any bucket in the period: the sum of the four. No number of referrals: one that was \
         referred and closed in the period counts twice.",
    ),
    ("entered.targets", TARGETS, "", "Of entered.referred, the entries of those referrals that counts.targets counts."),
    ("entered.undecided", ENTRIES, "", "Referrals that were referred in the period, by the agency's account."),
    ("recurrence.networks", "networks", "", "Networks of the agency, each of two referrals or more."),
    ("recurrence.platforms", "platforms", "", "Platforms to which the referrals of the networks are addressed."),
    (
        "report.event_dates",
        "date",
        "",
        "The first and the last day of a flow's period, by UTC: what became true on these days or between them counts.",
    ),
];

/// The measures of a report, by their identifiers.
pub(super) fn measures_of_a_report() -> Vec<Measure> {
    of(&["counts.", "decision_times.", "undecided_ages.", "report.as_of_date", "report.known_at_date"])
}

/// The measures of a flow, by their identifiers.
pub(super) fn measures_of_a_flow() -> Vec<Measure> {
    of(&["entered.", "report.event_dates", "report.known_at_date"])
}

fn of(beginnings: &[&str]) -> Vec<Measure> {
    let begins = |measure: &Measure| beginnings.iter().any(|beginning| measure.id.starts_with(beginning));
    measures().into_iter().filter(begins).collect()
}

/// Every measure, by its identifier.
pub(super) fn measures() -> Vec<Measure> {
    let mut all = MEASURES
        .into_iter()
        .map(|(id, unit, denominator, definition)| Measure {
            id: id.to_owned(),
            unit: unit.to_owned(),
            definition: definition.to_owned(),
            denominator: denominator.to_owned(),
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

    #[test]
    fn a_denominator_is_a_measure_that_counts() {
        let all = measures();
        for measure in all.iter().filter(|measure| !measure.denominator.is_empty()) {
            let over = all.iter().find(|over| over.id == measure.denominator);
            assert!(over.is_some_and(|over| over.unit != DAYS && over.unit != "date"), "{measure:?}");
        }
        for measure in all.iter().filter(|measure| measure.unit == DAYS) {
            assert!(!measure.denominator.is_empty(), "{measure:?}");
        }
    }
}
