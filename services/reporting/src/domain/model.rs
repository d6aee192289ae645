//! The cube against a model that knows nothing of cells and counts one referral at a time.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::{Date, Ledger as _, Recorded, Timestamp};
use proptest::prelude::*;

use super::report::AGES_FROM;
use super::step::Place;
use super::*;

const BUCKETS: [Bucket; 4] = [Bucket::Closed, Bucket::NotInBreach, Bucket::Undecided, Bucket::Other];

/// What somebody did to a referral.
#[derive(Clone, Debug)]
enum Act {
    Acknowledge,
    Decide(Disposition, Citation),
    Withdraw,
}

/// One referral with all that ever happened to it: what, on which day, and when it was recorded.
#[derive(Clone, Debug)]
struct History {
    subject: Subject,
    recorded: i32,
    acts: Vec<(Act, i32, i32)>,
}

fn day(days: i32) -> Date {
    Date::from_days(days)
}

impl History {
    /// What the two logs tell of it, with the day on which each step was recorded.
    fn steps(&self) -> Vec<(i32, Step)> {
        let mut steps =
            vec![(self.recorded, Step::Referred { subject: self.subject.clone(), recorded_on: day(self.recorded) })];
        let mut place = Place { disposition: Disposition::Submitted, clause: Citation::default() };
        let mut previous = self.subject.cohort_day;
        let mut first_decided = None;
        for (act, on, recorded) in &self.acts {
            let before = place.clone();
            match act {
                Act::Acknowledge => place.disposition = Disposition::Received,
                Act::Decide(disposition, clause) => {
                    place = Place { disposition: *disposition, clause: clause.clone() };
                    first_decided = first_decided.or(Some(day(*on)));
                }
                Act::Withdraw => place.disposition = Disposition::Withdrawn,
            }
            let step = Step::Moved {
                subject: self.subject.clone(),
                before,
                after: place.clone(),
                first_decided_on: first_decided,
                occurred_on: day(*on),
                previous_on: previous,
                recorded_on: day(*recorded),
                referral_recorded_on: day(self.recorded),
            };
            steps.push(((*recorded).max(self.recorded), step));
            previous = previous.max(day(*on));
        }
        steps
    }

    /// Where it stands, and after how many days its waiting ended: with a decision or without.
    fn standing(&self, as_of: i32, known_at: i32) -> Option<(Disposition, Citation, Option<i32>, Option<i32>)> {
        let cohort = self.subject.cohort_day.days();
        if cohort > as_of || self.recorded > known_at {
            return None;
        }
        let mut now = (Disposition::Submitted, Citation::default(), None, None);
        let mut latest = cohort;
        for (act, on, recorded) in &self.acts {
            let on = (*on).max(latest);
            latest = on;
            if on > as_of || *recorded > known_at {
                continue;
            }
            match act {
                Act::Acknowledge => now.0 = Disposition::Received,
                Act::Decide(disposition, clause) => {
                    now.0 = *disposition;
                    now.1 = clause.clone();
                    now.2 = now.2.or(Some(on - cohort));
                }
                Act::Withdraw => {
                    now.0 = Disposition::Withdrawn;
                    now.3 = Some(on - cohort);
                }
            }
        }
        Some(now)
    }
}

fn nearest_rank(sorted: &[i64], tenths: usize) -> Option<i64> {
    let rank = (sorted.len() * tenths).div_ceil(10);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Kaplan and Meier as they wrote it, in fractions: fewer than 34 referrals cannot overflow them.
fn kaplan_meier(decided: &[i64], censored: &[i64], tenths: u128) -> Option<i64> {
    let (mut left, mut of) = (1_u128, 1_u128);
    for time in decided.iter().copied().collect::<BTreeSet<_>>() {
        let at_risk = decided.iter().chain(censored).filter(|other| **other >= time).count() as u128;
        let events = decided.iter().filter(|other| **other == time).count() as u128;
        left *= at_risk - events;
        of *= at_risk;
        if left * 10 <= of * (10 - tenths) {
            return Some(time);
        }
    }
    None
}

/// Where a referral stands, after how many days it was decided or withdrawn, how old it is, and whether it counts a target.
type Member = (Disposition, Option<i32>, Option<i32>, i64, bool);

/// Both in order.
pub(super) fn modelled_times(happened: &[i64], censored: &[i64]) -> times::Times {
    times::Times {
        n: (happened.len() + censored.len()) as u64,
        happened: happened.len() as u64,
        happened_median: nearest_rank(happened, 5),
        happened_p90: nearest_rank(happened, 9),
        censored_median: kaplan_meier(happened, censored, 5),
        censored_p90: kaplan_meier(happened, censored, 9),
    }
}

fn modelled_row(key: Key, members: &[Member]) -> Row {
    let mut counts = Counts::default();
    let (mut ages, mut decided, mut censored) = (vec![], vec![], vec![]);
    for (disposition, first, withdrawn, age, counted) in members {
        counts.add(*disposition, 1, i64::from(*counted));
        match (first, withdrawn) {
            (Some(days), _) => decided.push(i64::from(*days)),
            (None, Some(days)) => censored.push(i64::from(*days)),
            (None, None) => ages.push(*age),
        }
    }
    ages.sort_unstable();
    decided.sort_unstable();
    let mut buckets = [0; 5];
    for age in &ages {
        let bucket = (0..5).rev().find(|bucket| AGES_FROM[*bucket] <= *age).unwrap();
        buckets[bucket] += 1;
    }
    censored.extend(&ages);
    Row {
        key,
        counts,
        ages: report::Ages {
            buckets,
            p50: nearest_rank(&ages, 5),
            p90: nearest_rank(&ages, 9),
            max: ages.last().copied(),
        },
        times: modelled_times(&decided, &censored),
    }
}

/// The report, one referral at a time.
fn modelled(histories: &[History], definition: &Definition, as_of: i32, known_at: i32) -> Report {
    let mut rows = BTreeMap::<Key, Vec<_>>::new();
    let mut all = vec![];
    let filter = &definition.filter;
    for history in histories {
        let Some((disposition, clause, first, withdrawn)) = history.standing(as_of, known_at) else { continue };
        let subject = &history.subject;
        let cohort = subject.cohort_day;
        if cohort < definition.cohort_from
            || cohort > definition.cohort_until
            || !(filter.agencies.is_empty() || filter.agencies.contains(&subject.agency))
            || !(filter.platforms.is_empty() || filter.platforms.contains(&subject.platform))
            || !(filter.grounds.is_empty() || filter.grounds.contains(&subject.ground))
            || !(filter.natures.is_empty() || filter.natures.contains(&subject.nature))
            || !(filter.target_kinds.is_empty() || filter.target_kinds.contains(&subject.target_kind))
            || !(filter.clauses.is_empty() || filter.clauses.contains(&clause.clause))
            || !(filter.content_languages.is_empty() || filter.content_languages.contains(&subject.content_language))
            || !(filter.operations.is_empty() || filter.operations.contains(&subject.operation))
            || !(filter.legal_bases.is_empty() || filter.legal_bases.contains(&subject.legal_basis))
        {
            continue;
        }
        let key = definition.dimensions.iter().map(|dimension| match dimension {
            Dimension::Agency => Value::Text(subject.agency.clone()),
            Dimension::Platform => Value::Text(subject.platform.clone()),
            Dimension::Ground => Value::Code(subject.ground),
            Dimension::TargetKind => Value::Code(subject.target_kind),
            Dimension::Nature => Value::Code(subject.nature),
            Dimension::ContentLanguage => Value::Text(subject.content_language.clone()),
            Dimension::Clause => Value::Clause(clause.clone()),
            Dimension::Disposition => Value::Code(disposition.code().into()),
            Dimension::CohortDay => Value::Day(cohort),
            Dimension::CohortWeek => Value::Day(cohort.week()),
            Dimension::CohortMonth => Value::Day(cohort.month()),
            Dimension::Operation => Value::Text(subject.operation.clone()),
            Dimension::LegalBasis => Value::Text(subject.legal_basis.clone()),
            Dimension::CohortQuarter => Value::Day(cohort.quarter()),
            Dimension::EventDay | Dimension::EventWeek | Dimension::EventMonth | Dimension::EventQuarter => {
                panic!("a cohort does not flow")
            }
        });
        let member = (disposition, first, withdrawn, i64::from(as_of - cohort.days()), !subject.same_target);
        rows.entry(key.collect()).or_default().push(member);
        all.push(member);
    }
    Report {
        rows: rows.into_iter().map(|(key, members)| modelled_row(key, &members)).collect(),
        total: modelled_row(vec![], &all),
    }
}

/// Every entry of every referral into a bucket, one at a time.
fn modelled_flow(histories: &[History], definition: &Definition, until: i32, known_at: i32) -> Flow {
    let mut rows = BTreeMap::<Key, Counts>::new();
    let mut total = Counts::default();
    let from = definition.entered_from.unwrap().days();
    for history in histories {
        let cohort = history.subject.cohort_day.days();
        let mut entries = vec![(Disposition::Submitted, Citation::default(), cohort, history.recorded)];
        let (mut now, mut clause, mut latest) = (Disposition::Submitted, Citation::default(), cohort);
        for (act, on, recorded) in &history.acts {
            latest = latest.max(*on);
            let next = match act {
                Act::Acknowledge => Disposition::Received,
                Act::Decide(disposition, cited) => {
                    clause = cited.clone();
                    *disposition
                }
                Act::Withdraw => Disposition::Withdrawn,
            };
            if next.bucket() != now.bucket() {
                entries.push((next, clause.clone(), latest, (*recorded).max(history.recorded)));
            }
            now = next;
        }
        let targets = i64::from(!history.subject.same_target);
        for (disposition, clause, on, recorded) in entries {
            let standing = Standing { disposition, clause, clock: Clock::Running };
            let cell = Cell {
                subject: history.subject.clone(),
                standing: standing.clone(),
                event_day: day(on),
                recorded_day: day(recorded),
            };
            // The filter and the cohort are those of every report.
            let unbounded = Definition { entered_from: None, as_of: None, known_at: None, ..definition.clone() };
            if on < from || on > until || recorded > known_at || !unbounded.selects(&cell) {
                continue;
            }
            rows.entry(definition.key(&history.subject, &standing, day(on))).or_default().add(disposition, 1, targets);
            total.add(disposition, 1, targets);
        }
    }
    Flow { rows: rows.into_iter().collect(), total }
}

fn flows() -> impl Strategy<Value = (Definition, i32, i32)> {
    let dimensions = prop::sample::subsequence(Dimension::ALL.to_vec(), 0..=4).prop_shuffle();
    (definitions(), dimensions, 0..60_i32).prop_map(|((definition, until, known_at), dimensions, length)| {
        let entered_from = Some(day(until - length));
        (Definition { entered_from, dimensions, ..definition }, until, known_at)
    })
}

fn subjects() -> impl Strategy<Value = Subject> {
    let words = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    (
        0..110_i32,
        words(&["nca", "bka"]),
        words(&["harbourbook", "chirrup", "lensgram"]),
        1..3_i64,
        1..3_i64,
        1..3_i64,
        words(&["", "ar", "sq"]),
        (
            words(&["", "IA1971_S25", "MSA2015_S2"]),
            prop::sample::select(vec![("", false), ("a", false), ("a", true), ("b", false)]),
        ),
    )
        .prop_map(
            |(cohort, agency, platform, ground, target_kind, nature, content_language, (legal_basis, joint))| Subject {
                cohort_day: day(cohort),
                agency,
                platform,
                ground,
                target_kind,
                nature,
                content_language,
                legal_basis,
                operation: joint.0.to_owned(),
                same_target: joint.1,
            },
        )
}

fn clauses() -> impl Strategy<Value = Citation> {
    (0..3_i64, 1..3_i64).prop_map(|(clause, version)| match clause {
        0 => Citation::default(),
        clause => Citation { clause: format!("platforms/harbourbook/clauses/he-{clause}"), version },
    })
}

fn histories() -> impl Strategy<Value = Vec<History>> {
    // Often at once: what happens on one day, or before the referral was recorded, is where days could be mistaken.
    let delays = || (prop_oneof![Just(0), 0..40_i32], prop_oneof![Just(0), 0..20_i32]);
    let outcome = (3..15_i32).prop_map(|code| Disposition::from_code(code).unwrap());
    let decisions = prop::collection::vec((outcome, clauses(), delays()), 0..4);
    let history = (
        subjects(),
        0..10_i32,
        prop::option::weighted(0.8, delays()),
        decisions,
        prop::option::weighted(0.2, delays()),
    )
        .prop_map(|(subject, late, acknowledged, decisions, withdrawn)| {
            let cohort = subject.cohort_day.days();
            let (mut on, mut recorded) = (cohort, cohort);
            let mut acts = vec![];
            if let Some((delay, told)) = acknowledged {
                on += delay;
                recorded = recorded.max(on + told);
                acts.push((Act::Acknowledge, on, recorded));
                for (disposition, clause, (delay, told)) in decisions {
                    on += delay;
                    recorded = recorded.max(on + told);
                    acts.push((Act::Decide(disposition, clause), on, recorded));
                }
            }
            if let Some((delay, told)) = withdrawn {
                // As the agency tells it: the day may lie before what the platform did meanwhile.
                recorded = recorded.max(cohort + delay + told);
                acts.push((Act::Withdraw, cohort + delay, recorded));
            }
            History { recorded: cohort + late, subject, acts }
        });
    prop::collection::vec(history, 0..30)
}

/// The dimensions of a cohort as it stands.
fn of_cohorts() -> Vec<Dimension> {
    Dimension::ALL.into_iter().filter(|dimension| !dimension.is_event()).collect()
}

fn definitions() -> impl Strategy<Value = (Definition, i32, i32)> {
    let dimensions = prop::sample::subsequence(of_cohorts(), 0..=4).prop_shuffle();
    let codes = || prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(1..3_i64, 1..2)];
    let words = |words: &'static [&'static str]| {
        prop_oneof![3 => Just(vec![]), 1 => prop::sample::subsequence(words.to_vec(), 1..=words.len())]
            .prop_map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let filter = (
        words(&["nca", "bka"]),
        words(&["harbourbook", "chirrup"]),
        codes(),
        codes(),
        codes(),
        words(&["platforms/harbourbook/clauses/he-1"]),
        words(&["ar", "fa"]),
        words(&["a", "c"]),
        words(&["IA1971_S25"]),
    )
        .prop_map(
            |(
                agencies,
                platforms,
                grounds,
                natures,
                target_kinds,
                clauses,
                content_languages,
                operations,
                legal_bases,
            )| Filter {
                agencies,
                platforms,
                grounds,
                natures,
                target_kinds,
                clauses,
                content_languages,
                operations,
                legal_bases,
            },
        );
    (0..40_i32, 0..110_i32, 0..150_i32, 0..150_i32, dimensions, filter).prop_map(
        |(from, length, as_of, known_at, dimensions, filter)| {
            let definition = Definition {
                cohort_from: day(from),
                cohort_until: day(from + length),
                entered_from: None,
                as_of: Some(day(as_of)),
                known_at: Some(day(known_at)),
                dimensions,
                filter,
            };
            (definition, as_of, known_at)
        },
    )
}

/// The cube after stretches of the logs were followed, one event for each that told something.
fn followed<'s>(stretches: impl IntoIterator<Item = &'s [Step]>) -> BTreeMap<Cell, Tally> {
    let mut state = State::default();
    let mut position = 0;
    for steps in stretches {
        let (heard_on, steps) = (Some(day(0)), steps.to_vec());
        let learnt = Learnt {
            source: Source::Decision,
            heard_on,
            steps,
            footprints: vec![],
            agreements: vec![],
            operations: vec![],
        };
        let command = Command::Learn(learnt);
        for event in Ledger::decide(&state, &command, Timestamp::default()).unwrap() {
            position += 1;
            let recorded = Recorded { position, recorded_at: Timestamp::default(), actor: String::new(), event };
            Ledger::evolve(&mut state, &recorded);
        }
    }
    state.added.retain(|_, tally| *tally != Tally::default());
    state.added
}

fn reported(definition: &Definition, cube: &BTreeMap<Cell, Tally>) -> Report {
    let slices = definition.slices(cube.iter().map(|(cell, tally)| (cell, *tally)));
    report(definition, definition.as_of.unwrap(), &slices)
}

fn parts(report: &Report) -> (Vec<Row>, Row) {
    (report.rows.clone(), report.total.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_figure_is_what_counting_one_by_one_gives(
        histories in histories(),
        (definition, as_of, known_at) in definitions(),
        stretch in 1..7_usize,
    ) {
        let steps = histories.iter().flat_map(History::steps).map(|(_, step)| step).collect::<Vec<_>>();
        let cube = followed(steps.chunks(stretch));
        let report = reported(&definition, &cube);
        let expected = modelled(&histories, &definition, as_of, known_at);
        prop_assert_eq!(parts(&report), parts(&expected));

        // The partition, everywhere; and the rows add up to the total.
        let mut sum = Counts::default();
        for row in report.rows.iter().chain([&report.total]) {
            let buckets = BUCKETS.map(|bucket| row.counts.bucket(bucket));
            prop_assert_eq!(buckets.iter().sum::<i64>(), row.counts.referred());
            prop_assert!(row.counts.detail().all(|(_, count)| count >= 0));
            prop_assert_eq!(i64::try_from(row.ages.buckets.iter().sum::<u64>()).unwrap(), row.counts.bucket(Bucket::Undecided));
            prop_assert_eq!(i64::try_from(row.times.n).unwrap(), row.counts.referred());
        }
        report.rows.iter().for_each(|row| sum.merge(&row.counts));
        prop_assert_eq!(sum, report.total.counts);
        prop_assert!(report.rows.is_sorted_by(|a, b| a.key < b.key));
    }

    #[test]
    fn what_comes_into_a_bucket_is_what_counting_one_by_one_gives(
        histories in histories(),
        (definition, until, known_at) in flows(),
        stretch in 1..7_usize,
    ) {
        let steps = histories.iter().flat_map(History::steps).map(|(_, step)| step).collect::<Vec<_>>();
        let cube = followed(steps.chunks(stretch));
        let slices = definition.slices(cube.iter().map(|(cell, tally)| (cell, *tally)));
        let found = flow(&definition, &slices);
        let expected = modelled_flow(&histories, &definition, until, known_at);
        prop_assert_eq!(&found, &expected);
        let mut sum = Counts::default();
        found.rows.iter().for_each(|(_, counts)| sum.merge(counts));
        prop_assert_eq!(sum, found.total);
    }

    #[test]
    fn neither_the_order_nor_the_cut_of_the_stretches_matters(
        (mut steps, shuffled) in histories().prop_map(|histories| {
            histories.iter().flat_map(History::steps).map(|(_, step)| step).collect::<Vec<_>>()
        }).prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle())),
        (one, two) in (1..9_usize, 1..9_usize),
    ) {
        prop_assert_eq!(followed(steps.chunks(one)), followed(shuffled.chunks(two)));
        steps.reverse();
        prop_assert_eq!(followed(steps.chunks(two)), followed(shuffled.chunks(one)));
    }

    #[test]
    fn what_is_learnt_later_never_changes_what_was_known(histories in histories(), (definition, _, known_at) in definitions()) {
        let steps = histories.iter().flat_map(History::steps).collect::<Vec<_>>();
        let all = steps.iter().map(|(_, step)| step.clone()).collect::<Vec<_>>();
        let then = steps.iter().filter(|(recorded, _)| *recorded <= known_at).map(|(_, step)| step.clone()).collect::<Vec<_>>();
        let (all, then) = (followed([all.as_slice()]), followed([then.as_slice()]));
        prop_assert_eq!(parts(&reported(&definition, &all)), parts(&reported(&definition, &then)));
        // At that day, all that was known then is all that is known.
        let present = Definition { known_at: None, ..definition.clone() };
        prop_assert_eq!(parts(&reported(&definition, &all)), parts(&reported(&present, &then)));
    }
}

/// The committee's cohort: 1,218 referred, 578 closed, 485 not in breach, 155 undecided, as of 3 September 2020.
#[test]
fn the_published_cohort_adds_up() {
    let date = |text: &str| text.parse::<Date>().unwrap();
    let subject = Subject { cohort_day: date("2020-03-01"), agency: "nca".into(), ..Subject::default() };
    let told = date("2020-06-30");
    let mut steps = vec![];
    for number in 0..1_218 {
        steps.push(Step::Referred { subject: subject.clone(), recorded_on: told });
        let after = match number {
            0..578 => Disposition::Closed,
            578..1_063 => Disposition::PermittedByPolicy,
            _ => continue,
        };
        let place = |disposition| Place { disposition, clause: Citation::default() };
        let decided = date("2020-03-11");
        steps.push(Step::Moved {
            subject: subject.clone(),
            before: place(Disposition::Submitted),
            after: place(after),
            first_decided_on: Some(decided),
            occurred_on: decided,
            previous_on: subject.cohort_day,
            recorded_on: told,
            referral_recorded_on: told,
        });
    }
    let cube = followed([steps.as_slice()]);
    // A thousand referrals in the same cells cost as much as one.
    assert_eq!(cube.len(), 4);
    let as_of = date("2020-09-03");
    let definition = Definition {
        cohort_from: date("2020-01-01"),
        cohort_until: date("2020-05-31"),
        entered_from: None,
        as_of: Some(as_of),
        known_at: Some(as_of),
        dimensions: vec![],
        filter: Filter::default(),
    };
    let total = reported(&definition, &cube).total;
    assert_eq!(BUCKETS.map(|bucket| total.counts.bucket(bucket)), [578, 485, 155, 0]);
    assert_eq!(total.counts.referred(), 1_218);
    assert_eq!(total.ages.buckets, [0, 0, 0, 0, 155]);
    assert_eq!((total.times.happened_median, total.times.censored_p90), (Some(10), None));
    // Before anything was told, nothing is known.
    let early = Definition { known_at: Some(date("2020-06-29")), ..definition };
    assert_eq!(reported(&early, &cube), Report::default());
}
