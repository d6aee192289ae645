//! Agreements in the store, on both engines: their histories against a model, and what they show against the rule for one
//! row.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portreeve_core::access::Reader;
use portreeve_core::agreement::{Agreement, AgreementName, State, Terms};
use portreeve_core::id::IdSource as _;
use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::{AfterEnd, FieldGroup, Ground, Purpose, Tlp};
use portreeve_core::{Reason, Timestamp};
use portreeve_referral::domain::agreement::Act;
use portreeve_referral::domain::{Command, Event, Standing};
use portreeve_referral::store::{Filter, Query};
use portreeve_storage::Database;
use portreeve_storage::conformance::Fixture;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use support::{Store, on_both_engines, principal};

const PARTIES: [&str; 3] = ["bka", "fra", "nca"];

/// Seconds after the clock of a new store.
fn at(seconds: i64) -> Timestamp {
    "2026-01-02".parse::<Timestamp>().unwrap().plus_micros(seconds * 1_000_000)
}

fn terms(parties: &[&str], start: i64, end: i64) -> Terms {
    Terms {
        title: "Channel".into(),
        parties: parties.iter().map(|party| (*party).to_owned()).collect(),
        purposes: vec![Purpose::Investigation],
        grounds: vec![],
        field_groups: vec![FieldGroup::Target],
        tlp_ceiling: Tlp::AmberStrict,
        accepts_conditions: false,
        onward_permitted: false,
        shared_since: None,
        start: at(start),
        end: at(end),
        extendable_until: Some(at(end + 100)),
        notice_days: 0,
        review_on: None,
        after_end: AfterEnd::Keep,
    }
}

impl Store {
    async fn partners(database: &Database) -> Self {
        let store = Self::with_organisations(database).await;
        store.organisation("agencies/fra", &[]).await.unwrap();
        store
    }

    async fn propose(&self, terms: Terms) -> AgreementName {
        let name = AgreementName(self.ids.uuid(at(0)));
        let proposer = terms.parties[0].clone();
        self.submit(Command::Propose { name, terms, proposer }).await.unwrap();
        name
    }

    async fn act(&self, name: AgreementName, party: &str, act: Act) -> Result<usize, Reason> {
        let command = Command::Act { name, party: party.to_owned(), act, etag: None };
        self.submit(command).await.map(|outcome| outcome.events.len()).map_err(|error| error.reason())
    }

    async fn agreement(&self, name: AgreementName) -> Agreement {
        self.opened.0.reads.agreement(&principal("services/x1"), name).await.unwrap().unwrap()
    }

    async fn reader(&self, agency: &str, now: Timestamp) -> Arc<Reader> {
        let agreements = self.opened.0.reads.agreements_concerning(agency).await.unwrap();
        let principal = principal(&format!("agencies/{agency}"));
        Arc::new(Reader::new(principal, None, Some(Purpose::Investigation), &agreements, now).unwrap())
    }

    async fn rebuilt(&self) {
        let reads = &self.opened.0.reads;
        let before = reads.dump().await.unwrap();
        reads.rebuild().await.unwrap();
        assert_eq!(reads.dump().await.unwrap(), before, "rebuilt from the log, nothing changes");
    }
}

on_both_engines!(
    a_version_that_is_not_the_latest_is_refused,
    strangers_learn_nothing,
    pages_are_full_however_many_rows_are_hidden,
    a_kept_row_is_shown_as_it_stood_at_the_end,
);

async fn a_version_that_is_not_the_latest_is_refused(database: &Database) {
    let store = Store::partners(database).await;
    let name = store.propose(terms(&["bka", "nca"], 0, 100)).await;
    let known = store.agreement(name).await;
    assert_eq!((known.created, known.acceptances.len()), (known.updated, 1));
    store.act(name, "nca", Act::Accept).await.unwrap();
    let stale = |etag| Command::Act { name, party: "nca".into(), act: Act::Suspend("r".into()), etag: Some(etag) };
    let refused = store.submit(stale(known.updated)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::StaleVersion);
    store.submit(stale(store.agreement(name).await.updated)).await.unwrap();
    assert_eq!(store.agreement(name).await.state(at(1)), State::Suspended);
    store.rebuilt().await;
}

async fn strangers_learn_nothing(database: &Database) {
    let store = Store::partners(database).await;
    let name = store.propose(terms(&["bka", "nca"], 0, 100)).await;
    assert_eq!(store.act(name, "fra", Act::Accept).await, Err(Reason::PermissionDenied));
    let none = AgreementName(store.ids.uuid(at(0)));
    assert_eq!(store.act(none, "bka", Act::Accept).await, Err(Reason::PermissionDenied));
    let unknown = Command::Propose { name: none, terms: terms(&["bka", "nobody"], 0, 100), proposer: "bka".into() };
    assert_eq!(store.submit(unknown).await.unwrap_err().reason(), Reason::OrganisationNotFound);
    let reads = &store.opened.0.reads;
    assert!(reads.agreements_concerning("fra").await.unwrap().is_empty());
    assert_eq!(reads.agreements(&principal("agencies/fra"), Some("fra"), 0, None, 10).await.unwrap(), []);
    assert_eq!(reads.agreements(&principal("agencies/nca"), Some("nca"), 0, None, 10).await.unwrap().len(), 1);
}

/// Reads everything in pages of three, and checks that every page but the last is full.
async fn paged(store: &Store, reader: &Arc<Reader>, filter: &Filter) -> Vec<ReferralName> {
    let (mut names, mut after) = (Vec::new(), 0);
    loop {
        let query =
            Query { filter: filter.clone(), reader: Arc::clone(reader), after, limit: 3, unchanged_since: None };
        let rows = store.rows(&query).await;
        names.extend(rows.iter().map(|row| row.name.clone()));
        match rows.last() {
            Some(last) if rows.len() == 3 => after = last.created,
            _ => return names,
        }
    }
}

async fn pages_are_full_however_many_rows_are_hidden(database: &Database) {
    let store = Store::partners(database).await;
    let name = store.propose(terms(&["bka", "nca"], 0, 100)).await;
    store.act(name, "nca", Act::Accept).await.unwrap();
    store.clock.set(at(10));
    let none = store.reader("nca", at(10)).await;
    assert_eq!(paged(&store, &none, &Filter::default()).await, []);
    // Which of nine rows are shown, case by case: none hidden, the first, the middle, the last, most, all.
    for (number, hidden) in
        [vec![], vec![0, 1], vec![3, 4, 5], vec![7, 8], vec![0, 1, 2, 4, 5, 6, 8], (0..9).collect::<Vec<_>>()]
            .iter()
            .enumerate()
    {
        let ground = Ground::ALL[number];
        let mut shown = Vec::new();
        for row in 0..9 {
            let mut draft = store.draft("bka", "hb", &format!("https://hb.example/{number}/{row}"));
            let said = Arc::make_mut(&mut draft.said);
            (said.ground, said.handling.tlp) = (ground, if hidden.contains(&row) { Tlp::Red } else { Tlp::Green });
            if !hidden.contains(&row) {
                shown.push(said.name.clone());
            }
            store.refer(draft).await.unwrap();
        }
        let reader = store.reader("nca", at(20)).await;
        let filter = Filter { grounds: vec![ground], ..Filter::default() };
        assert_eq!(paged(&store, &reader, &filter).await, shown, "{hidden:?}");
    }
}

async fn a_kept_row_is_shown_as_it_stood_at_the_end(database: &Database) {
    let store = Store::partners(database).await;
    let name = store.propose(terms(&["bka", "nca"], 0, 100)).await;
    store.act(name, "nca", Act::Accept).await.unwrap();
    store.clock.set(at(10));
    let draft = store.draft("bka", "hb", &store.page());
    let row = draft.said.name.clone();
    store.refer(draft).await.unwrap();
    store.clock.set(at(150));
    let withdraw = Command::Withdraw { name: row.clone(), reason: "mistake".into(), occurred_at: None };
    store.submit(withdraw).await.unwrap();
    store.refer(store.draft("bka", "hb", "https://hb.example/2")).await.unwrap();
    let reader = store.reader("nca", at(160)).await;
    let reads = &store.opened.0.reads;
    let (kept, view) = reads.referral(&reader, &row).await.unwrap().unwrap();
    assert_eq!(view.before, Some(at(100)));
    assert!(store.row("agencies/nca", &row).await.is_none(), "nothing of it is the partner's own");
    assert_eq!(kept.as_before(at(100)).standing, Standing::Submitted);
    for (states, count) in [(vec![], 1), (vec![1], 1), (vec![2], 0)] {
        let filter = Filter { states: states.clone(), ..Filter::default() };
        assert_eq!(paged(&store, &reader, &filter).await.len(), count, "{states:?}");
    }
    // A snapshot from before the withdrawal holds it too: no change will bring it.
    let query = Query { filter: Filter::default(), reader, after: 0, limit: 9, unchanged_since: Some(kept.created) };
    assert_eq!(store.rows(&query).await.len(), 1);
}

/// What a random history does, by number of the party and so many seconds later.
#[derive(Clone, Debug)]
struct Step {
    party: usize,
    wait: i64,
    act: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Accept,
    Extend(i64),
    Suspend(bool),
    Resume,
    Notice(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        4 => Just(Kind::Accept),
        2 => prop_oneof![Just(120_i64), Just(150), Just(201), Just(90)].prop_map(Kind::Extend),
        2 => any::<bool>().prop_map(Kind::Suspend),
        2 => Just(Kind::Resume),
        1 => any::<bool>().prop_map(Kind::Notice),
    ];
    (0..3_usize, 0..15_i64, act).prop_map(|(party, wait, act)| Step { party, wait, act })
}

/// The model counts heads: it knows no agreement, only who has said what.
struct Model {
    accepted: BTreeSet<usize>,
    last_accepted: i64,
    consents: BTreeMap<i64, BTreeSet<usize>>,
    end: i64,
    suspended: BTreeMap<usize, bool>,
    resumed: BTreeSet<usize>,
    notice: Option<(usize, bool, i64)>,
}

impl Model {
    fn state(&self, now: i64) -> State {
        let over = self.notice.map_or(self.end, |(.., ends)| ends.min(self.end));
        if now >= over {
            return if self.notice.is_some_and(|(.., ends)| ends <= self.end) {
                State::Terminated
            } else {
                State::Lapsed
            };
        }
        let began = self.accepted.len() == 3 && now >= self.last_accepted.max(20);
        match (began, self.suspended.is_empty(), self.notice.is_some(), self.end > 100) {
            (false, ..) => State::Proposed,
            (_, false, ..) => State::Suspended,
            (_, _, true, _) => State::NoticeGiven,
            (_, _, _, true) => State::Extended,
            _ => State::Active,
        }
    }

    /// How many events the act causes, or why it is refused.
    fn act(&mut self, party: usize, act: &Kind, now: i64) -> Result<usize, Reason> {
        use State::{Active, Extended, NoticeGiven, Proposed, Suspended};
        let (state, refused) = (self.state(now), Err(Reason::InvalidTransition));
        match act {
            Kind::Accept if self.accepted.contains(&party) => Ok(0),
            Kind::Accept if state == Proposed => {
                self.accepted.insert(party);
                self.last_accepted = now;
                Ok(1)
            }
            Kind::Extend(end) if self.consents.get(end).is_some_and(|known| known.contains(&party)) => Ok(0),
            Kind::Extend(end) if matches!(state, Active | Extended) => {
                if *end > 200 || *end <= self.end {
                    return Err(Reason::RequestInvalid);
                }
                let consents = self.consents.entry(*end).or_default();
                consents.insert(party);
                if consents.len() == 3 {
                    self.end = *end;
                }
                Ok(1)
            }
            Kind::Suspend(why) if self.suspended.get(&party) == Some(why) => Ok(0),
            Kind::Suspend(why) if matches!(state, Active | Extended | NoticeGiven | Suspended) => {
                if self.suspended.contains_key(&party) {
                    return refused;
                }
                self.suspended.insert(party, *why);
                self.resumed.remove(&party);
                Ok(1)
            }
            Kind::Resume if self.resumed.contains(&party) && !state.is_final() => Ok(0),
            Kind::Resume if state == Suspended && self.suspended.remove(&party).is_some() => {
                self.resumed.insert(party);
                Ok(1)
            }
            Kind::Notice(why) if self.notice.is_some_and(|(by, said, _)| (by, said) == (party, *why)) => Ok(0),
            Kind::Notice(why) if !state.is_final() && self.notice.is_none() => {
                self.notice = Some((party, *why, now));
                Ok(1)
            }
            _ => refused,
        }
    }
}

async fn play(database: &Database, steps: Vec<Step>) {
    let store = Store::partners(database).await;
    let name = store.propose(terms(&PARTIES, 20, 100)).await;
    let mut model = Model {
        accepted: BTreeSet::from([0]),
        last_accepted: 0,
        consents: BTreeMap::new(),
        end: 100,
        suspended: BTreeMap::new(),
        resumed: BTreeSet::new(),
        notice: None,
    };
    let why = |first: bool| if first { "one" } else { "other" }.to_owned();
    let mut now = 0;
    for Step { party, wait, act } in steps {
        now += wait;
        store.clock.set(at(now));
        let said = match &act {
            Kind::Accept => Act::Accept,
            Kind::Extend(end) => Act::Extend(at(*end)),
            Kind::Suspend(first) => Act::Suspend(why(*first)),
            Kind::Resume => Act::Resume,
            Kind::Notice(first) => Act::GiveNotice(why(*first)),
        };
        let expected = model.act(party, &act, now);
        assert_eq!(store.act(name, PARTIES[party], said).await, expected, "{act:?} by {party} at {now}");
        let known = store.agreement(name).await;
        for later in [now, now + 1, 20, 100, 150] {
            if later >= now {
                assert_eq!(known.state(at(later)), model.state(later), "at {later}, after {act:?} by {party} at {now}");
            }
        }
    }
    store.rebuilt().await;
}

/// A random row: whose, which ground and marking, with conditions or not, referred and withdrawn when.
type Row = (usize, usize, usize, bool, i64, Option<i64>);

fn world() -> impl Strategy<Value = (Vec<(Terms, bool)>, Vec<Row>)> {
    let agreement =
        (0..4_usize, 0..4_usize, any::<(bool, bool, bool, bool)>(), 0..60_i64, 10..80_i64, 0..3_usize, 0..3_usize);
    let agreement = agreement.prop_map(|(who, ceiling, (conditions, onward, narrow, since), start, long, after, _)| {
        let parties = [&PARTIES[..2], &PARTIES[1..], &["bka", "nca"][..], &PARTIES[..]][who];
        let terms = Terms {
            tlp_ceiling: Tlp::ALL[ceiling],
            accepts_conditions: conditions,
            onward_permitted: onward,
            grounds: if narrow { vec![Ground::ALL[0]] } else { vec![] },
            shared_since: since.then(|| at(start / 2)),
            after_end: AfterEnd::ALL[after],
            ..terms(parties, start, start + long)
        };
        (terms, true)
    });
    let row = (0..3_usize, 0..2_usize, 0..5_usize, any::<bool>(), 0..120_i64, prop::option::of(1..40_i64));
    (prop::collection::vec(agreement, 0..5), prop::collection::vec(row, 1..16))
}

/// What the statement selects is what the rule for one row lets through, for every reader at every time.
async fn agree(database: &Database, (agreements, mut rows): (Vec<(Terms, bool)>, Vec<Row>)) {
    let store = Store::partners(database).await;
    for (terms, _) in agreements {
        let others = terms.parties[1..].to_vec();
        let name = store.propose(terms).await;
        for party in others {
            store.act(name, &party, Act::Accept).await.unwrap();
        }
    }
    rows.sort_by_key(|row| row.4);
    let mut withdrawals = Vec::new();
    for (index, (agency, ground, tlp, conditions, when, withdrawn)) in rows.into_iter().enumerate() {
        store.clock.set(at(when));
        let mut draft = store.draft(PARTIES[agency], "hb", &format!("https://hb.example/{index}"));
        let said = Arc::make_mut(&mut draft.said);
        (said.ground, said.handling.tlp) = (Ground::ALL[ground], Tlp::ALL[tlp]);
        said.handling.conditions = conditions.then(|| "ask first".to_owned());
        withdrawals.extend(withdrawn.map(|after| (when + after, said.name.clone())));
        store.refer(draft).await.unwrap();
    }
    withdrawals.sort_by_key(|(when, _)| *when);
    for (when, name) in withdrawals {
        store.clock.set(at(when.max(121)));
        store.submit(Command::Withdraw { name, reason: "mistake".into(), occurred_at: None }).await.unwrap();
    }
    let everything = support::query("services/x1", Filter::default());
    let all = store.rows(&everything).await;
    let head = store.opened.0.log.standing().await.unwrap().0.head;
    for agency in PARTIES {
        for now in [1, 40, 70, 110, 130, 200] {
            let reader = store.reader(agency, at(now)).await;
            for states in [vec![], vec![1], vec![2]] {
                let filter = Filter { states, ..Filter::default() };
                let expected = all.iter().filter(|row| {
                    let view = reader.view(&row.marks());
                    view.is_some_and(|view| match view.before {
                        Some(moment) => filter.selects(&row.as_before(moment)),
                        None => filter.selects(row),
                    })
                });
                let expected = expected.map(|row| row.name.clone()).collect::<Vec<_>>();
                assert_eq!(paged(&store, &reader, &filter).await, expected, "{agency} at {now}: {filter:?}");
            }
            let snapshot = Query {
                filter: Filter::default(),
                reader: Arc::clone(&reader),
                after: 0,
                limit: 1_000,
                unchanged_since: Some(head / 2),
            };
            let expected = all.iter().filter(|row| {
                let kept = |before: Option<Timestamp>| before.is_some() && row.created <= head / 2;
                reader.view(&row.marks()).is_some_and(|view| row.updated <= head / 2 || kept(view.before))
            });
            let found = store.rows(&snapshot).await;
            let names = |row: &portreeve_referral::domain::Referral| row.name.clone();
            assert_eq!(found.iter().map(names).collect::<Vec<_>>(), expected.map(names).collect::<Vec<_>>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_match_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(play(&Fixture::sqlite().database, steps));
    }

    #[test]
    fn the_statement_and_the_rule_agree(world in world()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(agree(&Fixture::sqlite().database, world));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_histories_match_the_model_on_postgres() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 60..80).new_tree(&mut runner).unwrap().current();
    play(&Fixture::postgres().await.database, steps).await;
    for _ in 0..3 {
        agree(&Fixture::postgres().await.database, world().new_tree(&mut runner).unwrap().current()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_an_agreement_as_it_is() {
    let fixture = Fixture::sqlite();
    let store = Store::partners(&fixture.database).await;
    let name = AgreementName(store.ids.uuid(at(0)));
    let command = Command::Propose { name, terms: terms(&PARTIES, 20, 100), proposer: "bka".into() };
    let outcome = store.submit(command).await.unwrap();
    let Event::AgreementChanged(told) = &outcome.events[0].event else { panic!("another event") };
    assert_eq!((told.proposer(), told.terms.clone()), ("bka", store.agreement(name).await.terms));
}
