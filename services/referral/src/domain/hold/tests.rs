//! The life of what is held against a small model: two agencies with interests in one target, and a third that refers it.

use std::collections::BTreeMap;

use portreeve_core::canonical::RuleSet;
use portreeve_core::location::Location;
use portreeve_core::name::{OrganisationName, ReferralName};
use portreeve_core::vocabulary::{Ground, InterestPriority, Nature, PriorityLevel, TargetKind};
use portreeve_core::{Ledger as _, Recorded};
use proptest::prelude::*;

use super::*;
use crate::domain::interest::NewInterest;
use crate::domain::ledger::{Command, DraftField, Ledger};
use crate::domain::organisation::Organisation;
use crate::domain::{Handling, LegalBasis, Priority, Target};

const KEY: MatchingKey = MatchingKey::new([3; 32]);
const HOUR: i64 = 3_600 * 1_000_000;
const HOLDERS: [&str; 2] = ["bka", "fra"];

struct Book {
    state: State,
    head: i64,
    now: Timestamp,
}

impl Book {
    fn new() -> Self {
        let mut state = State::default();
        for name in ["agencies/nca", "agencies/bka", "agencies/fra", "platforms/hb"] {
            let name: OrganisationName = name.parse().unwrap();
            let (display_name, hosts, at) = (String::new(), Vec::new(), Timestamp::default());
            let organisation = Organisation {
                name: name.clone(),
                display_name,
                hosts,
                created_at: at,
                updated_at: at,
                created: 0,
                updated: 0,
            };
            state.organisations.insert(name, organisation);
        }
        state.hosts.insert("hb.example".into(), "hb".into());
        Self { state, head: 0, now: Timestamp::from_micros(1_000 * HOUR) }
    }

    fn run(&mut self, command: &Command) -> Result<Vec<Event>, Reason> {
        let events = Ledger::decide(&self.state, command, self.now).map_err(|error| error.reason())?;
        for event in &events {
            self.head += 1;
            let (position, recorded_at, actor) = (self.head, self.now, "agencies/nca".to_owned());
            Ledger::evolve(&mut self.state, &Recorded { position, recorded_at, actor, event: event.clone() });
        }
        Ok(events)
    }

    fn register(
        &mut self,
        holder: &str,
        page: u32,
        priority: InterestPriority,
        hours: i64,
    ) -> Result<InterestName, Reason> {
        let id = Uuid::from_u128(1_000 + u128::from(self.head.unsigned_abs()));
        let name = InterestName { agency: holder.to_owned(), id };
        let interests = vec![NewInterest {
            name: name.clone(),
            platform: "hb".into(),
            location: place(page),
            contact: format!("desk of {holder}"),
            priority,
            reference: String::new(),
            expires_at: self.now.plus_micros(hours * HOUR),
        }];
        self.run(&Command::RegisterInterests { agency: holder.to_owned(), interests, key: KEY })?;
        Ok(name)
    }

    fn refer(
        &mut self,
        page: u32,
        number: u128,
        threat: bool,
        happened: Option<Timestamp>,
    ) -> Result<Vec<Event>, Reason> {
        let said = said(page, number, threat);
        let drafts = vec![NewReferral { said, occurred_at: happened, signed: None }];
        let (field, member, history) = (DraftField::Referral, "j.doe".into(), happened.is_some());
        self.run(&Command::Create { drafts, field, member, history, key: Some(KEY) })
    }

    fn clearing(&self, number: u128) -> Clearing {
        let name = draft(number);
        let found = self.state.drafts.get(&name.id).and_then(Draft::content).cloned();
        Clearing { name, found }
    }

    fn holds(&self, number: u128) -> Vec<HoldName> {
        self.state.held(&draft(number)).map(|hold| hold.name.clone()).collect()
    }
}

fn place(page: u32) -> Location {
    Location::parse(&format!("https://hb.example/{page}")).unwrap().under(&RuleSet::default(), 0)
}

fn draft(number: u128) -> DraftName {
    DraftName { agency: "nca".into(), id: Uuid::from_u128(number) }
}

fn said(page: u32, number: u128, threat: bool) -> Arc<Said> {
    let level = PriorityLevel::Severe;
    Arc::new(Said {
        name: ReferralName { agency: "nca".into(), id: Uuid::from_u128(number) },
        platform: "hb".into(),
        target: Target { kind: TargetKind::Page, location: place(page), native_id: String::new(), handles: Vec::new() },
        nature: Nature::VoluntaryReferral,
        ground: Ground::OfferTransportSea,
        legal_basis: LegalBasis { code: String::new(), statute: "Any Act".into(), section: String::new() },
        statement: "Offers a boat.".into(),
        statement_language: "en".into(),
        content_language: String::new(),
        handling: Handling::default(),
        signature: None,
        protected_context: None,
        order: None,
        priority: threat.then(|| Priority {
            harm: level,
            likelihood: level,
            confidence: level,
            explanation: "Tonight.".into(),
            threat_to_life: true,
            version: 0,
            changed_at: None,
        }),
        evidence: Vec::new(),
        links: Vec::new(),
        operation: None,
    })
}

fn sent(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Created(_))).count()
}

#[derive(Clone, Debug)]
enum Step {
    Wait { hours: i64 },
    Release { by: usize },
    Renew { by: usize, renewal: u32 },
    Override { member: usize, reason: usize },
    EndInterest { by: usize },
    Discard,
    Sweep,
}

const MEMBERS: [&str; 3] = ["j.doe", "a.head", "J.DOE "];
const REASONS: [&str; 2] = ["A boat leaves tonight.", "The desk does not answer."];

fn step() -> impl Strategy<Value = Step> {
    let by = 0..HOLDERS.len();
    prop_oneof![
        4 => (1..50_i64).prop_map(|hours| Step::Wait { hours }),
        3 => by.clone().prop_map(|by| Step::Release { by }),
        4 => (by.clone(), 1..6_u32).prop_map(|(by, renewal)| Step::Renew { by, renewal }),
        1 => (0..MEMBERS.len(), 0..REASONS.len()).prop_map(|(member, reason)| Step::Override { member, reason }),
        1 => by.prop_map(|by| Step::EndInterest { by }),
        1 => Just(Step::Discard),
        3 => Just(Step::Sweep),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Held,
    Released,
    Expired,
    Overridden(usize),
    Withdrawn,
}

#[derive(Clone, Debug)]
struct Model {
    /// By holder: how the hold stands, when it ends, how often it was renewed, and whether its interest has ended.
    holds: BTreeMap<usize, (Stands, i64, u32, bool)>,
    sent: bool,
    discarded: bool,
}

impl Model {
    fn open(&self, now: i64) -> bool {
        self.holds.values().any(|(stands, ends, _, _)| *stands == Stands::Held && now < *ends)
    }

    fn settle(&mut self, now: i64, open: Stands) {
        for (stands, ends, _, _) in self.holds.values_mut() {
            if *stands == Stands::Held {
                *stands = if now < *ends { open } else { Stands::Expired };
            }
        }
    }
}

/// Lives a history of hours, and compares after each step.
fn live(steps: &[Step], until: [i64; 2]) {
    let (mut book, start) = (Book::new(), 1_000);
    let interests = [0, 1].map(|by| book.register(HOLDERS[by], 1, InterestPriority::High, until[by]).unwrap());
    let events = book.refer(1, 7, false, None).unwrap();
    assert_eq!((sent(&events), events.len()), (0, 3), "nothing is sent");
    let held = |by: usize| {
        let interest = interests[by].clone();
        move |hold: &&Hold| hold.interest == interest
    };
    let names = [0, 1].map(|by| book.state.held(&draft(7)).find(held(by)).unwrap().name.clone());
    let holds = [0, 1].map(|by| (by, (Stands::Held, start + 72.min(until[by]), 0, false)));
    let mut model = Model { holds: holds.into_iter().collect(), sent: false, discarded: false };
    let mut now = start;
    for step in steps {
        let before = model.clone();
        let over = |by: usize| now >= start + until[by];
        let (done, expected) = match step {
            Step::Wait { hours } => {
                now += hours;
                book.now = Timestamp::from_micros(now * HOUR);
                continue;
            }
            Step::Release { by } => {
                let (stands, ends, _, _) = model.holds.get_mut(by).unwrap();
                let expected = match stands {
                    Stands::Released => Ok(0),
                    Stands::Held if now < *ends => {
                        *stands = Stands::Released;
                        Ok(1)
                    }
                    _ => Err(Reason::InvalidTransition),
                };
                let (name, holder) = (names[*by].clone(), HOLDERS[*by].to_owned());
                // Nobody but whose interest it is knows of it.
                let other = Command::ReleaseHold { name: name.clone(), holder: HOLDERS[1 - *by].to_owned() };
                assert_eq!(book.run(&other), Err(Reason::HoldNotFound));
                (book.run(&Command::ReleaseHold { name, holder }), expected)
            }
            Step::Renew { by, renewal } => {
                let (stands, ends, renewals, ended) = model.holds.get_mut(by).unwrap();
                let expected = if *renewals >= *renewal {
                    Ok(0)
                } else if *stands != Stands::Held || now >= *ends {
                    Err(Reason::InvalidTransition)
                } else if *renewals >= 3 {
                    Err(Reason::LimitExceeded)
                } else if *ended || over(*by) {
                    Err(Reason::InvalidTransition)
                } else {
                    *renewals += 1;
                    *ends = (*ends + 72).min(start + until[*by]);
                    Ok(1)
                };
                let (name, holder) = (names[*by].clone(), HOLDERS[*by].to_owned());
                let interest = interests[*by].clone();
                (book.run(&Command::RenewHold { name, holder, renewal: *renewal, interest }), expected)
            }
            Step::EndInterest { by } => {
                let (stands, ends, _, ended) = model.holds.get_mut(by).unwrap();
                let expected = if *ended {
                    Ok(0)
                } else {
                    *ended = true;
                    let held = *stands == Stands::Held && now < *ends;
                    if held {
                        *stands = Stands::Released;
                    }
                    Ok(1 + usize::from(held))
                };
                (book.run(&Command::EndInterest { name: interests[*by].clone() }), expected)
            }
            Step::Override { member, reason } => {
                let waiting = !model.sent && !model.discarded;
                let expected = if !waiting {
                    let again = model.holds.values().any(|(stands, ..)| *stands == Stands::Overridden(*reason));
                    if again { Ok(0) } else { Err(Reason::InvalidTransition) }
                } else if MEMBERS[*member] == "a.head" {
                    let settled = model.holds.values().filter(|(stands, ..)| *stands == Stands::Held).count();
                    model.settle(now, Stands::Overridden(*reason));
                    model.sent = true;
                    Ok(2 + settled)
                } else {
                    Err(Reason::DeciderNotImpartial)
                };
                let (approver, reason) = (MEMBERS[*member].to_owned(), REASONS[*reason].to_owned());
                let act = Override { of: book.clearing(7), approver, reason };
                (book.run(&Command::OverrideHolds(Box::new(act))), expected)
            }
            Step::Discard => {
                let expected = if model.sent {
                    Err(Reason::InvalidTransition)
                } else if model.discarded {
                    Ok(0)
                } else {
                    let open = model.holds.values().filter(|(stands, ..)| *stands == Stands::Held).count();
                    for (stands, ..) in model.holds.values_mut().filter(|(stands, ..)| *stands == Stands::Held) {
                        *stands = Stands::Withdrawn;
                    }
                    model.discarded = true;
                    Ok(1 + open)
                };
                (book.run(&Command::DiscardDraft { name: draft(7), etag: None }), expected)
            }
            Step::Sweep => {
                let expected = if model.sent || model.discarded || model.open(now) {
                    Ok(0)
                } else {
                    let expired = model.holds.values().filter(|(stands, ..)| *stands == Stands::Held).count();
                    model.settle(now, Stands::Held);
                    model.sent = true;
                    Ok(2 + expired)
                };
                (book.run(&Command::ClearHeld(Box::new(book.clearing(7)))), expected)
            }
        };
        assert_eq!(done.as_ref().map(Vec::len).map_err(|reason| *reason), expected, "{step:?} of {before:?} at {now}");
        let created = done.map(|events| sent(&events)).unwrap_or_default();
        assert_eq!(created, usize::from(model.sent && !before.sent), "it is sent when it is, and once");
        for (by, (stands, ends, renewals, _)) in &model.holds {
            let hold = &book.state.holds[&names[*by].id];
            let same = match (&hold.standing, stands) {
                (HoldStanding::Held, Stands::Held)
                | (HoldStanding::Released { .. }, Stands::Released)
                | (HoldStanding::Expired { .. }, Stands::Expired)
                | (HoldStanding::Withdrawn { .. }, Stands::Withdrawn) => true,
                (HoldStanding::Overridden { reason, .. }, Stands::Overridden(of)) => reason == REASONS[*of],
                _ => false,
            };
            assert!(same, "{hold:?} is not {stands:?}");
            assert_eq!((hold.ends_at, hold.renewals), (Timestamp::from_micros(ends * HOUR), *renewals));
        }
    }
    // Whatever the holders do, it does not wait for ever: four times 72 hours at most.
    book.now = Timestamp::from_micros((start + 4 * 72).max(now) * HOUR);
    let last = book.run(&Command::ClearHeld(Box::new(book.clearing(7)))).unwrap();
    assert_eq!(sent(&last), usize::from(!model.sent && !model.discarded));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_lives_match_the_model(steps in prop::collection::vec(step(), 1..40), until in [10..900_i64, 10..900]) {
        live(&steps, until);
    }
}

#[test]
fn only_what_another_agency_has_an_interest_in_waits() {
    let mut book = Book::new();
    book.register("nca", 1, InterestPriority::Critical, 100).unwrap();
    assert_eq!(sent(&book.refer(1, 1, false, None).unwrap()), 1, "its own interest holds nothing");
    let name = book.register("bka", 2, InterestPriority::High, 100).unwrap();
    assert_eq!(sent(&book.refer(3, 2, false, None).unwrap()), 1, "another place");
    assert_eq!(sent(&book.refer(2, 3, false, None).unwrap()), 0);
    // A life goes before an inquiry, and waits for another life alone.
    assert_eq!(sent(&book.refer(2, 4, true, None).unwrap()), 1);
    book.register("fra", 2, InterestPriority::Critical, 100).unwrap();
    let events = book.refer(2, 5, true, None);
    assert_eq!(events.map(|events| events.len()), Ok(0), "it repeats what was sent");
    assert_eq!(sent(&book.refer(6, 6, true, None).unwrap()), 1);
    book.register("fra", 7, InterestPriority::Critical, 100).unwrap();
    assert_eq!(sent(&book.refer(7, 8, true, None).unwrap()), 0);
    // Ended, and past its time, it holds nothing.
    book.run(&Command::EndInterest { name }).unwrap();
    book.register("bka", 9, InterestPriority::High, 1).unwrap();
    book.now = book.now.plus_micros(HOUR);
    assert_eq!(sent(&book.refer(9, 9, false, None).unwrap()), 1);
}

#[test]
fn history_is_not_held_by_what_came_later() {
    let mut book = Book::new();
    let before = book.now.plus_micros(-1);
    book.register("bka", 1, InterestPriority::High, 100).unwrap();
    assert_eq!(sent(&book.refer(1, 1, false, Some(before)).unwrap()), 1);
    let since = book.now;
    book.now = book.now.plus_micros(HOUR);
    let mut held = book.refer(1, 2, false, Some(since)).unwrap();
    // It repeats the first, which was sent; elsewhere it waits.
    assert!(held.is_empty());
    book.register("bka", 2, InterestPriority::High, 100).unwrap();
    held = book.refer(2, 3, false, Some(book.now)).unwrap();
    assert_eq!(sent(&held), 0);
    assert_eq!(book.holds(3).len(), 1);
}

#[test]
fn what_was_referred_meanwhile_is_not_sent_twice() {
    let mut book = Book::new();
    book.register("bka", 1, InterestPriority::High, 1_000).unwrap();
    assert_eq!(sent(&book.refer(1, 1, false, None).unwrap()), 0);
    assert_eq!(sent(&book.refer(1, 2, false, None).unwrap()), 0);
    book.now = book.now.plus_micros(72 * HOUR);
    assert_eq!(sent(&book.run(&Command::ClearHeld(Box::new(book.clearing(1)))).unwrap()), 1);
    assert_eq!(sent(&book.run(&Command::ClearHeld(Box::new(book.clearing(2)))).unwrap()), 0);
    let DraftStanding::Discarded { duplicate_of, .. } = &book.state.drafts[&Uuid::from_u128(2)].standing else {
        panic!("it waits no more")
    };
    assert_eq!(*duplicate_of, Some(draft(1).referral()));
}

#[test]
fn so_many_interests_hold_and_so_many_are_registered() {
    let mut book = Book::new();
    let of = |priority| move |book: &mut Book| book.register("bka", 1, priority, 100).unwrap();
    for _ in 0..limits::REFERRAL_HOLDS_MAX {
        of(InterestPriority::Routine)(&mut book);
    }
    let most = of(InterestPriority::Critical)(&mut book);
    book.refer(1, 1, false, None).unwrap();
    assert_eq!(book.holds(1).len(), limits::REFERRAL_HOLDS_MAX);
    assert!(book.state.held(&draft(1)).any(|hold| hold.interest == most), "the one on which most depends");
    let live = &mut book.state.live_interests;
    live.insert("bka".into(), limits::AGENCY_INTERESTS_MAX - 1);
    of(InterestPriority::Routine)(&mut book);
    let over = book.register("bka", 1, InterestPriority::Routine, 100);
    assert_eq!(over, Err(Reason::LimitExceeded));
}

#[test]
fn an_interest_says_why_it_is_over() {
    let mut book = Book::new();
    let (ended, over) = (
        book.register("bka", 1, InterestPriority::High, 10).unwrap(),
        book.register("bka", 2, InterestPriority::High, 10).unwrap(),
    );
    book.run(&Command::EndInterest { name: ended.clone() }).unwrap();
    book.now = book.now.plus_micros(10 * HOUR);
    let state = |book: &Book, name: &InterestName| book.state.interests[&name.id].state(book.now).name();
    assert_eq!((state(&book, &ended), state(&book, &over)), ("ENDED", "EXPIRED"));
    // Being looked at changes nothing of that.
    book.run(&Command::ExpireInterests { names: vec![ended.clone(), over.clone()] }).unwrap();
    assert_eq!((state(&book, &ended), state(&book, &over)), ("ENDED", "EXPIRED"));
}
