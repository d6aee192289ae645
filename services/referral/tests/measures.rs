//! Measures against misuse in the store, on both engines: their histories against a model, what they refuse at commit time,
//! and what a rebuilt state still knows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

#[expect(dead_code, reason = "these tests read no referrals")]
mod support;

use portreeve_core::id::IdSource as _;
use portreeve_core::name::MeasureName;
use portreeve_core::vocabulary::{AppealOutcome, MeasureKind, MisuseGravity, MisuseIntent};
use portreeve_core::{Error, Principal, Reason, Timestamp, limits};
use portreeve_referral::domain::ledger::DraftField;
use portreeve_referral::domain::measure::{Act, Grounds, Measure, NewMeasure, State};
use portreeve_referral::domain::{Command, Event};
use portreeve_storage::conformance::Fixture;
use portreeve_storage::{Database, Outcome};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use support::{Store, on_both_engines, principal};

on_both_engines!(
    no_race_slips_a_referral_in,
    times_have_their_limits,
    an_agency_has_so_many_measures,
    nobody_is_impartial_about_himself,
);

const DAY: i64 = 86_400_000_000;

/// Days after the clock of a new store.
fn at(days: i64) -> Timestamp {
    "2026-01-02".parse::<Timestamp>().unwrap().plus_micros(days * DAY)
}

fn supervisor(name: &str) -> Principal {
    Principal::new("oversightBodies/hac".parse().unwrap(), name, &["supervisor"]).unwrap()
}

impl Store {
    fn new_measure(&self, kind: MeasureKind, member: Option<&str>, days: Option<i64>) -> NewMeasure {
        let now = portreeve_core::Clock::now(self.clock.as_ref());
        NewMeasure {
            name: MeasureName { agency: "nca".into(), id: self.ids.uuid(now) },
            kind,
            member: member.map(str::to_owned),
            start: None,
            end: days.map(|days| now.plus_micros(days * DAY)),
            reasons: "News reports were referred as offers.".into(),
            grounds: Grounds {
                unfounded: 40,
                referred: 120,
                from: "2025-01-01".parse().unwrap(),
                until: "2025-04-01".parse().unwrap(),
                gravity: MisuseGravity::Serious,
                intent: Some(MisuseIntent::Negligent),
            },
        }
    }

    async fn by(&self, who: &Principal, command: Command) -> Result<Outcome<Event>, Error> {
        self.opened.0.writer.submit(self.envelope(who.clone(), command)).await
    }

    async fn impose(&self, who: &Principal, measure: NewMeasure) -> Result<MeasureName, Error> {
        let name = measure.name.clone();
        self.by(who, Command::Impose { measure, by: who.to_string() }).await.map(|_| name)
    }

    async fn act(&self, who: &Principal, name: &MeasureName, act: Act) -> Result<usize, Reason> {
        let command = Command::ActOnMeasure { name: name.clone(), act, by: who.to_string() };
        self.by(who, command).await.map(|outcome| outcome.events.len()).map_err(|error| error.reason())
    }

    fn create(&self, member: &str) -> Command {
        let drafts = vec![self.draft("nca", "hb", &self.page())];
        Command::Create { drafts, field: DraftField::Referral, member: member.into(), history: false, key: None }
    }

    async fn known(&self, name: &MeasureName) -> Measure {
        self.opened.0.reads.measure(&principal("agencies/nca"), name).await.unwrap().unwrap()
    }

    async fn rebuilt(&self) {
        let reads = &self.opened.0.reads;
        let before = reads.dump().await.unwrap();
        reads.rebuild().await.unwrap();
        assert_eq!(reads.dump().await.unwrap(), before, "rebuilt from the log, nothing changes");
    }
}

async fn no_race_slips_a_referral_in(database: &Database) {
    let store = Store::with_organisations(database).await;
    let hac = supervisor("one");
    let severe = || {
        let mut measure = store.new_measure(MeasureKind::Suspension, None, Some(10));
        measure.grounds.gravity = MisuseGravity::Exceptional;
        measure
    };
    let impose = |measure| Command::Impose { measure, by: hac.to_string() };
    let nca = principal("agencies/nca");
    // One commit takes up all of these: what comes after the suspension is refused, what came before stands.
    let batch = vec![
        store.envelope(nca.clone(), store.create("j.doe")),
        store.envelope(hac.clone(), impose(severe())),
        store.envelope(nca.clone(), store.create("j.doe")),
        store.envelope(nca.clone(), store.create("")),
        store.envelope(
            principal("agencies/bka"),
            Command::Create {
                drafts: vec![store.draft("bka", "hb", &store.page())],
                field: DraftField::Referral,
                member: String::new(),
                history: false,
                key: None,
            },
        ),
    ];
    let results = store.opened.0.writer.submit_all(batch).await.unwrap();
    let reasons = results.iter().map(|result| result.as_ref().map(|_| ()).map_err(Error::reason)).collect::<Vec<_>>();
    let refused = Err(Reason::ReferringSuspended);
    assert_eq!(reasons, [Ok(()), Ok(()), refused, refused, Ok(())]);
    // Lifted and imposed again within one commit.
    let Event::MeasureChanged(measure) = &results[1].as_ref().unwrap().events[0].event else { panic!("another event") };
    let lift =
        Command::ActOnMeasure { name: measure.name.clone(), act: Act::Lift("error".into()), by: hac.to_string() };
    let batch = vec![
        store.envelope(hac.clone(), lift),
        store.envelope(nca.clone(), store.create("")),
        store.envelope(hac.clone(), impose(severe())),
        store.envelope(nca, store.create("")),
    ];
    let results = store.opened.0.writer.submit_all(batch).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, false]);
    store.rebuilt().await;
}

async fn times_have_their_limits(database: &Database) {
    let store = Store::with_organisations(database).await;
    let hac = supervisor("one");
    let try_times = async |start: Option<i64>, end: i64| {
        let mut measure = store.new_measure(MeasureKind::Suspension, Some("j.doe"), None);
        (measure.start, measure.end) = (start.map(|micros| at(0).plus_micros(micros)), Some(at(0).plus_micros(end)));
        measure.grounds.gravity = MisuseGravity::Exceptional;
        let imposed = store.impose(&hac, measure).await;
        match imposed {
            Ok(name) => {
                store.act(&hac, &name, Act::Lift("for the next".into())).await.unwrap();
                Vec::new()
            }
            Err(error) => error.violations().iter().map(|violation| violation.field.clone()).collect::<Vec<_>>(),
        }
    };
    let (longest, ahead) = (limits::SUSPENSION_DAYS_MAX * DAY, limits::SUSPENSION_AHEAD_DAYS_MAX * DAY);
    for (start, end, wrong) in [
        (None, longest, None),
        (None, longest + 1, Some("end_time")),
        (None, 1, None),
        (None, 0, Some("end_time")),
        (Some(ahead), ahead + longest, None),
        (Some(ahead), ahead + longest + 1, Some("end_time")),
        (Some(ahead + 1), ahead + 2, Some("start_time")),
        (Some(-limits::CLOCK_SKEW_MICROS), longest, None),
        (Some(-limits::CLOCK_SKEW_MICROS - 1), longest, Some("start_time")),
        (Some(DAY), DAY, Some("end_time")),
    ] {
        let expected = wrong.map(|field| format!("measure.{field}")).into_iter().collect::<Vec<_>>();
        assert_eq!(try_times(start, end).await, expected, "{start:?} {end}");
    }
    let mut early = store.new_measure(MeasureKind::Warning, None, None);
    early.grounds.until = at(0).plus_micros(limits::CLOCK_SKEW_MICROS + 1);
    let refused = store.impose(&hac, early.clone()).await.unwrap_err();
    assert_eq!(refused.violations()[0].field, "measure.grounds.period_until");
    early.grounds.until = at(0).plus_micros(limits::CLOCK_SKEW_MICROS);
    let name = store.impose(&hac, early).await.unwrap();
    // A warning counts for so long, and can be appealed against for so long.
    let known = store.known(&name).await;
    assert_eq!(known.ends_at(), at(limits::WARNING_DAYS));
    let nca = principal("agencies/nca");
    store.clock.set(at(limits::APPEAL_DAYS));
    assert_eq!(store.act(&nca, &name, Act::Appeal("late".into())).await, Err(Reason::InvalidTransition));
    store.clock.set(at(limits::APPEAL_DAYS).plus_micros(1));
    let other = store.impose(&hac, store.new_measure(MeasureKind::Warning, None, None)).await.unwrap();
    store.clock.set(at(2 * limits::APPEAL_DAYS));
    assert_eq!(store.act(&nca, &other, Act::Appeal("in time".into())).await, Ok(1));
}

async fn an_agency_has_so_many_measures(database: &Database) {
    let store = Store::with_organisations(database).await;
    let hac = supervisor("one");
    let envelopes = (0..=limits::AGENCY_MEASURES_MAX).map(|number| {
        let member = format!("m{number}");
        let measure = store.new_measure(MeasureKind::Warning, Some(&member), None);
        store.envelope(hac.clone(), Command::Impose { measure, by: hac.to_string() })
    });
    let results = store.opened.0.writer.submit_all(envelopes.collect()).await.unwrap();
    let refused = results.last().unwrap().as_ref().unwrap_err();
    assert_eq!(refused.reason(), Reason::LimitExceeded);
    assert!(refused.metadata().contains(&("limit", "measures".to_owned())));
    assert!(results[..limits::AGENCY_MEASURES_MAX].iter().all(Result::is_ok));
    let again = store.impose(&hac, store.new_measure(MeasureKind::Warning, None, None)).await;
    assert_eq!(again.unwrap_err().reason(), Reason::LimitExceeded);
    // The other agency has its own.
    let mut other = store.new_measure(MeasureKind::Warning, None, None);
    other.name.agency = "bka".into();
    store.impose(&hac, other).await.unwrap();
}

async fn nobody_is_impartial_about_himself(database: &Database) {
    let store = Store::with_organisations(database).await;
    let (one, other) = (supervisor("one"), supervisor("other"));
    let name = store.impose(&one, store.new_measure(MeasureKind::Warning, None, None)).await.unwrap();
    let none = MeasureName { agency: "nca".into(), id: store.ids.uuid(at(0)) };
    let foreign = MeasureName { agency: "bka".into(), id: name.id };
    let nca = principal("agencies/nca");
    for unknown in [none, foreign] {
        assert_eq!(store.act(&nca, &unknown, Act::Appeal("x".into())).await, Err(Reason::MeasureNotFound));
    }
    assert_eq!(store.act(&nca, &name, Act::Appeal("wrong".into())).await, Ok(1));
    // What the log says and what the state is made of are the same: who imposed it is known after a rebuild, too.
    store.rebuilt().await;
    assert_eq!(store.known(&name).await.imposer, "oversightBodies/hac:one");
    let upheld = || Act::Decide { outcome: AppealOutcome::Upheld, shortened: None, reasons: "it stands".into() };
    assert_eq!(store.act(&one, &name, upheld()).await, Err(Reason::DeciderNotImpartial));
    assert_eq!(store.act(&other, &name, upheld()).await, Ok(1));
    assert_eq!(store.act(&other, &name, upheld()).await, Ok(0));
    store.rebuilt().await;
}

/// Whom a measure is about, or who refers, by number: the agency or nobody in particular, and three members.
const MEMBERS: [&str; 4] = ["", "a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Warn { subject: usize, by: usize },
    Suspend { subject: usize, by: usize, start: i64, days: i64, exceptional: bool },
    Appeal { nth: usize, reason: bool },
    Decide { nth: usize, by: usize, outcome: usize, until: i64 },
    Lift { nth: usize, by: usize, reason: bool },
    Refer { member: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (nth, who, by) = (0..8_usize, 0..3_usize, 0..2_usize);
    prop_oneof![
        3 => prop_oneof![0..3_i64, 20..60_i64, Just(200)].prop_map(Step::Wait),
        2 => (who.clone(), by.clone()).prop_map(|(subject, by)| Step::Warn { subject, by }),
        4 => (who, by.clone(), prop_oneof![Just(0_i64), 1..20_i64, Just(91)], 0..182_i64, any::<bool>())
            .prop_map(|(subject, by, start, days, exceptional)| Step::Suspend { subject, by, start, days, exceptional }),
        2 => (nth.clone(), any::<bool>()).prop_map(|(nth, reason)| Step::Appeal { nth, reason }),
        3 => (nth.clone(), by.clone(), 0..3_usize, 0..60_i64)
            .prop_map(|(nth, by, outcome, until)| Step::Decide { nth, by, outcome, until }),
        1 => (nth, by, any::<bool>()).prop_map(|(nth, by, reason)| Step::Lift { nth, by, reason }),
        5 => (0..4_usize).prop_map(|member| Step::Refer { member }),
    ]
}

/// What the model knows of one measure, in days.
#[derive(Debug)]
struct Known {
    suspends: bool,
    subject: usize,
    by: usize,
    given: i64,
    from: i64,
    /// The end as things stand.
    until: i64,
    appeal: Option<bool>,
    verdict: Option<(usize, Option<i64>)>,
    /// Taken back without an appeal, for one of two reasons.
    lift: Option<bool>,
}

impl Known {
    fn lifted(&self) -> bool {
        self.lift.is_some() || self.verdict.is_some_and(|(outcome, _)| outcome == 2)
    }

    fn covers(&self, now: i64) -> bool {
        !self.lifted() && (self.from..self.until).contains(&now)
    }

    fn state(&self, now: i64) -> State {
        match () {
            () if self.lifted() => State::Lifted,
            () if now >= self.until => State::Ended,
            () if now < self.from => State::Scheduled,
            () => State::InForce,
        }
    }
}

/// The model: a list that is looked through from one end to the other.
#[derive(Default)]
struct Model {
    now: i64,
    measures: Vec<Known>,
}

impl Model {
    fn impose(
        &mut self,
        suspends: bool,
        subject: usize,
        by: usize,
        start: i64,
        days: i64,
        exceptional: bool,
    ) -> Result<usize, Reason> {
        let now = self.now;
        let (from, until) = if suspends { (now + start, now + start + days) } else { (now, now + 365) };
        if suspends {
            if start > 90 || !(1..=180).contains(&days) {
                return Err(Reason::RequestInvalid);
            }
            let same = |known: &&Known| known.subject == subject && !known.lifted() && now < known.until;
            if self.measures.iter().filter(same).any(|known| known.suspends) {
                return Err(Reason::InvalidTransition);
            }
            let warned = self.measures.iter().filter(same).any(|known| !known.suspends && known.given < now);
            if !warned && !exceptional {
                return Err(Reason::WarningRequired);
            }
        }
        self.measures.push(Known {
            suspends,
            subject,
            by,
            given: now,
            from,
            until,
            appeal: None,
            verdict: None,
            lift: None,
        });
        Ok(1)
    }

    fn refer(&self, member: usize) -> Result<usize, Reason> {
        let mut in_force = self.measures.iter().filter(|known| known.suspends && known.covers(self.now)).peekable();
        let any = in_force.peek().is_some();
        if in_force.any(|known| known.subject == 0 || known.subject == member) {
            Err(Reason::ReferringSuspended)
        } else if any && member == 0 {
            Err(Reason::MemberUnnamed)
        } else {
            Ok(1)
        }
    }
}

async fn play(database: &Database, steps: Vec<Step>) {
    let store = Store::with_organisations(database).await;
    let supervisors = [supervisor("one"), supervisor("other")];
    let nca = principal("agencies/nca");
    let mut model = Model::default();
    let mut names = Vec::<MeasureName>::new();
    let why = |first: bool| if first { "one" } else { "another" }.to_owned();
    for step in steps {
        let now = model.now;
        let refused = Err(Reason::InvalidTransition);
        let nth = |nth: usize| (!names.is_empty()).then(|| nth % names.len());
        match step.clone() {
            Step::Wait(days) => {
                model.now += days;
                store.clock.set(at(model.now));
            }
            Step::Warn { subject, by } | Step::Suspend { subject, by, .. } => {
                let (suspends, start, days, exceptional) = match step {
                    Step::Suspend { start, days, exceptional, .. } => (true, start, days, exceptional),
                    _ => (false, 0, 0, false),
                };
                let kind = if suspends { MeasureKind::Suspension } else { MeasureKind::Warning };
                let member = Some(MEMBERS[subject]).filter(|member| !member.is_empty());
                let mut measure = store.new_measure(kind, member, suspends.then_some(start + days));
                measure.start = (start > 0).then(|| at(now + start));
                if exceptional {
                    measure.grounds.gravity = MisuseGravity::Exceptional;
                }
                let imposed = store.impose(&supervisors[by], measure).await;
                let expected = model.impose(suspends, subject, by, start, days, exceptional);
                assert_eq!(imposed.as_ref().map(|_| 1).map_err(Error::reason), expected, "{step:?} on day {now}");
                names.extend(imposed);
            }
            Step::Appeal { nth: which, reason } => {
                let Some(which) = nth(which) else { continue };
                let known = &mut model.measures[which];
                let expected = match known.appeal {
                    Some(said) if said == reason => Ok(0),
                    None if !known.lifted() && now < known.given + 184 => {
                        known.appeal = Some(reason);
                        Ok(1)
                    }
                    _ => refused,
                };
                assert_eq!(store.act(&nca, &names[which], Act::Appeal(why(reason))).await, expected, "{step:?}");
            }
            Step::Decide { nth: which, by, outcome, until } => {
                let Some(which) = nth(which) else { continue };
                let known = &mut model.measures[which];
                let shortened = (outcome == 1).then_some(now + until);
                let expected = if known.by == by {
                    Err(Reason::DeciderNotImpartial)
                } else if known.verdict == Some((outcome, shortened)) {
                    Ok(0)
                } else if known.lifted()
                    || known.appeal.is_none()
                    || known.verdict.is_some()
                    || outcome == 1 && (!known.suspends || now >= known.until)
                {
                    refused
                } else if shortened.is_some_and(|until| until <= now.max(known.from) || until >= known.until) {
                    Err(Reason::RequestInvalid)
                } else {
                    known.verdict = Some((outcome, shortened));
                    known.until = match outcome {
                        1 => now + until,
                        2 => known.until.min(now),
                        _ => known.until,
                    };
                    Ok(1)
                };
                let act = Act::Decide {
                    outcome: AppealOutcome::ALL[outcome],
                    shortened: shortened.map(at),
                    reasons: "as decided".into(),
                };
                assert_eq!(store.act(&supervisors[by], &names[which], act).await, expected, "{step:?} on day {now}");
            }
            Step::Lift { nth: which, by, reason } => {
                let Some(which) = nth(which) else { continue };
                let known = &mut model.measures[which];
                let expected = match known.lift {
                    Some(said) if said == reason => Ok(0),
                    _ if known.lifted() || now >= known.until => refused,
                    _ => {
                        (known.lift, known.until) = (Some(reason), now);
                        Ok(1)
                    }
                };
                let lifted = store.act(&supervisors[by], &names[which], Act::Lift(why(reason))).await;
                assert_eq!(lifted, expected, "{step:?} on day {now}");
            }
            Step::Refer { member } => {
                let referred = store.submit(store.create(MEMBERS[member])).await;
                let referred = referred.map(|outcome| outcome.events.len()).map_err(|error| error.reason());
                assert_eq!(referred, model.refer(member), "{step:?} on day {now}: {:?}", model.measures);
            }
        }
        for (name, known) in names.iter().zip(&model.measures) {
            let measure = store.known(name).await;
            assert_eq!(measure.ends_at(), at(known.until), "{name} after {step:?} on day {}", model.now);
            for later in [model.now, model.now + 1, model.now + 30, model.now + 400] {
                assert_eq!(measure.state(at(later)), known.state(later), "{name} on day {later} after {step:?}");
            }
            assert!(measure.ends_at() <= measure.end, "an end comes never later than it was told");
        }
    }
    store.rebuilt().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_match_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(play(&Fixture::sqlite().database, steps));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_matches_the_model_on_postgres() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 120..130).new_tree(&mut runner).unwrap().current();
    play(&Fixture::postgres().await.database, steps).await;
}
