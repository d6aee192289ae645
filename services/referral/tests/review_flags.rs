//! Flags for review in the store, on both engines: their histories against a model, and how many there may be.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

#[expect(dead_code, reason = "these tests read no referrals")]
mod support;

use portreeve_core::id::{IdSource as _, Uuid};
use portreeve_core::name::{ReferralName, ReviewFlagName};
use portreeve_core::vocabulary::ReviewOutcome;
use portreeve_core::{Reason, Timestamp, limits};
use portreeve_referral::domain::review_flag::Answer;
use portreeve_referral::domain::{Command, ReviewFlag};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use support::{Store, on_both_engines, principal};

on_both_engines!(an_agency_has_so_many_flags_to_answer);

impl Store {
    fn flag_of(&self, referral: &ReferralName) -> ReviewFlagName {
        ReviewFlagName { referral: referral.clone(), id: self.ids.uuid(Timestamp::default()) }
    }

    async fn flag(&self, name: &ReviewFlagName) -> Result<usize, Reason> {
        let (reasons, by) = ("A newspaper complains.".into(), "oversightBodies/hac".into());
        self.result(Command::Flag { name: name.clone(), reasons, by }).await
    }

    async fn answer(&self, name: &ReviewFlagName, answer: Answer) -> Result<usize, Reason> {
        self.result(Command::AnswerFlag { name: name.clone(), answer }).await
    }

    async fn result(&self, command: Command) -> Result<usize, Reason> {
        self.submit(command).await.map(|outcome| outcome.events.len()).map_err(|error| error.reason())
    }

    async fn all(&self, state: i32) -> Vec<ReviewFlag> {
        let reader = principal("agencies/nca");
        self.opened.0.reads.review_flags(&reader, Some("nca"), state, 0, None, 10_000).await.unwrap()
    }

    async fn rebuilt(&self) {
        let reads = &self.opened.0.reads;
        let before = reads.dump().await.unwrap();
        reads.rebuild().await.unwrap();
        assert_eq!(reads.dump().await.unwrap(), before, "rebuilt from the log, nothing changes");
    }
}

fn answer(outcome: ReviewOutcome, text: &str) -> Answer {
    Answer { outcome, text: text.into(), replacement: None }
}

async fn an_agency_has_so_many_flags_to_answer(database: &Database) {
    let store = Store::with_organisations(database).await;
    let referral = ReferralName { agency: "nca".into(), id: Uuid::from_u128(7) };
    let names = (0..=limits::AGENCY_OPEN_FLAGS_MAX).map(|_| store.flag_of(&referral)).collect::<Vec<_>>();
    let hac = principal("oversightBodies/hac");
    let envelopes = names.iter().map(|name| {
        let (reasons, by) = ("A newspaper complains.".into(), hac.to_string());
        store.envelope(hac.clone(), Command::Flag { name: name.clone(), reasons, by })
    });
    let results = store.opened.0.writer.submit_all(envelopes.collect()).await.unwrap();
    let (last, others) = results.split_last().unwrap();
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(last.as_ref().unwrap_err().reason(), Reason::LimitExceeded);
    assert_eq!(store.flag(&names[1_000]).await, Err(Reason::LimitExceeded));
    // Another agency has its own, and one answer makes room for one more.
    let other = ReferralName { agency: "bka".into(), id: referral.id };
    assert_eq!(store.flag(&store.flag_of(&other)).await, Ok(1));
    assert_eq!(store.answer(&names[0], answer(ReviewOutcome::NoSuchReferral, "None.")).await, Ok(1));
    assert_eq!(store.flag(&names[1_000]).await, Ok(1));
    assert_eq!(store.flag(&store.flag_of(&referral)).await, Err(Reason::LimitExceeded));
    assert_eq!((store.all(0).await.len(), store.all(1).await.len(), store.all(2).await.len()), (1_001, 1_000, 1));
    let unknown = ReferralName { agency: "nobody".into(), id: referral.id };
    assert_eq!(store.flag(&store.flag_of(&unknown)).await, Err(Reason::OrganisationNotFound));
    store.rebuilt().await;
}

#[derive(Clone, Debug)]
enum Step {
    Refer,
    Withdraw(usize),
    /// A referral by its number, or none that there is.
    Flag(Option<usize>),
    Answer {
        nth: usize,
        outcome: usize,
        text: bool,
        replacement: Option<usize>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let replacement = prop::option::of(0..6_usize);
    prop_oneof![
        2 => Just(Step::Refer),
        2 => (0..6_usize).prop_map(Step::Withdraw),
        3 => prop::option::of(0..6_usize).prop_map(Step::Flag),
        6 => (0..6_usize, 0..4_usize, any::<bool>(), replacement)
            .prop_map(|(nth, outcome, text, replacement)| Step::Answer { nth, outcome, text, replacement }),
    ]
}

/// The model: which referrals are withdrawn, and for each flag its referral and its answer.
#[derive(Default)]
struct Model {
    referrals: Vec<(ReferralName, bool)>,
    flags: Vec<(ReviewFlagName, Option<Answer>)>,
}

impl Model {
    fn withdrawn(&self, name: &ReferralName) -> Option<bool> {
        self.referrals.iter().find(|(known, _)| known == name).map(|(_, withdrawn)| *withdrawn)
    }

    fn answer(&mut self, nth: usize, answer: &Answer) -> Result<usize, Reason> {
        let (name, given) = &self.flags[nth];
        let stands = self.withdrawn(&name.referral);
        let replacement = answer.replacement.as_ref().map(|replacement| self.withdrawn(replacement));
        let expected = match (given, answer.outcome, stands) {
            (Some(given), ..) if given == answer => Ok(0),
            (Some(_), ..) => Err(Reason::InvalidTransition),
            (_, ReviewOutcome::Kept, Some(false))
            | (_, ReviewOutcome::Withdrawn, Some(true))
            | (_, ReviewOutcome::NoSuchReferral, None) => Ok(1),
            (_, ReviewOutcome::Corrected, Some(true)) if replacement == Some(Some(false)) => Ok(1),
            (_, ReviewOutcome::Corrected, Some(true)) => Err(Reason::ReferralNotFound),
            _ => Err(Reason::InvalidTransition),
        };
        if expected == Ok(1) {
            self.flags[nth].1 = Some(answer.clone());
        }
        expected
    }
}

async fn play(database: &Database, steps: Vec<Step>) {
    let store = Store::with_organisations(database).await;
    let mut model = Model::default();
    let none = ReferralName { agency: "nca".into(), id: Uuid::from_u128(7) };
    for step in steps {
        let number = |nth: usize| (!model.referrals.is_empty()).then(|| nth % model.referrals.len());
        let named = |nth: usize| number(nth).map_or_else(|| none.clone(), |nth| model.referrals[nth].0.clone());
        match step {
            Step::Refer => {
                let draft = store.draft("nca", "hb", &store.page());
                let name = draft.said.name.clone();
                store.refer(draft).await.unwrap();
                model.referrals.push((name, false));
            }
            Step::Withdraw(nth) => {
                let Some(nth) = number(nth) else { continue };
                let (name, reason) = (model.referrals[nth].0.clone(), "mistake".into());
                store.submit(Command::Withdraw { name, reason, occurred_at: None }).await.unwrap();
                model.referrals[nth].1 = true;
            }
            Step::Flag(nth) => {
                let name = store.flag_of(&nth.map_or_else(|| none.clone(), named));
                assert_eq!(store.flag(&name).await, Ok(1));
                model.flags.push((name, None));
            }
            Step::Answer { nth, outcome, text, replacement } => {
                if model.flags.is_empty() {
                    let name = store.flag_of(&none);
                    let refused = store.answer(&name, answer(ReviewOutcome::Kept, "x")).await;
                    assert_eq!(refused, Err(Reason::ReviewFlagNotFound));
                    continue;
                }
                let (nth, outcome) = (nth % model.flags.len(), ReviewOutcome::ALL[outcome]);
                let replaced = (outcome == ReviewOutcome::Corrected).then(|| replacement.map_or(none.clone(), named));
                let said = Answer { replacement: replaced, ..answer(outcome, if text { "one" } else { "other" }) };
                let expected = model.answer(nth, &said);
                let name = model.flags[nth].0.clone();
                assert_eq!(store.answer(&name, said.clone()).await, expected, "{said:?} of {name}");
            }
        }
        let kept = store.all(0).await.into_iter().map(|flag| (flag.name, flag.answer.map(|(answer, _)| answer)));
        assert_eq!(kept.collect::<Vec<_>>(), model.flags);
    }
    store.rebuilt().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_match_the_model(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(play(&Fixture::sqlite().database, steps));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_matches_the_model_on_postgres() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 100..110).new_tree(&mut runner).unwrap().current();
    play(&Fixture::postgres().await.database, steps).await;
}
