//! Operations against a model that knows nothing of states: it keeps what was said, and asks it anew each time.

use std::collections::BTreeMap;

use portreeve_core::location::Location;
use portreeve_core::vocabulary::{Ground, Nature, TargetKind};
use proptest::prelude::*;

use super::*;
use crate::domain::{Handling, LegalBasis, Standing, Target};

const HOUR: i64 = 3_600_000_000;

fn at(hour: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + hour * HOUR)
}

fn planned(start: i64, end: i64) -> Operation {
    Operation {
        name: OperationName { agency: "nca".into(), id: Uuid::from_u128(1) },
        title: "Heron".into(),
        invited: ["bka", "kmar"].map(|agency| JointAgency { agency: agency.into(), part: Part::Invited }).to_vec(),
        start: at(start),
        end: at(end),
        closed_at: None,
        created_at: at(0),
        updated_at: at(0),
        created: 1,
        updated: 1,
        tally: Tally::default(),
    }
}

fn update(invite: &[&str], start: Option<i64>, end: Option<i64>) -> Act {
    Act::Update {
        title: None,
        invite: invite.iter().map(|agency| (*agency).to_owned()).collect(),
        start: start.map(at),
        end: end.map(at),
        etag: None,
    }
}

/// What was said, and nothing derived.
struct Model {
    start: i64,
    end: i64,
    closed: bool,
    invited: BTreeMap<&'static str, bool>,
}

impl Model {
    fn is_over(&self, now: i64) -> bool {
        self.closed || now >= self.end
    }

    /// What an act comes to: whether it is refused, and for which reason.
    fn after(&mut self, act: &Did, now: i64) -> Result<(), Reason> {
        match *act {
            Did::Join("nca") => {}
            Did::Join(agency) | Did::Leave(agency) if !self.invited.contains_key(agency) => {
                return Err(if agency == "nca" { Reason::RequestInvalid } else { Reason::OperationNotFound });
            }
            Did::Join(agency) if !self.invited[agency] => {
                if self.is_over(now) {
                    return Err(Reason::InvalidTransition);
                }
                self.invited.insert(agency, true);
            }
            Did::Join(_) => {}
            Did::Leave(agency) => _ = self.invited.insert(agency, false),
            Did::Close => self.closed |= !self.is_over(now),
            Did::Invite(agency) if agency == "nca" || self.invited.contains_key(agency) => {}
            Did::Invite(agency) => {
                if self.is_over(now) {
                    return Err(Reason::InvalidTransition);
                }
                self.invited.insert(agency, false);
            }
            Did::Begin(start) if start == self.start => {}
            Did::Begin(start) => {
                if self.is_over(now) || now >= self.start {
                    return Err(Reason::InvalidTransition);
                }
                if start < now || start >= self.end {
                    return Err(Reason::RequestInvalid);
                }
                self.start = start;
            }
            Did::End(end) if end == self.end => {}
            Did::End(end) => {
                if self.is_over(now) {
                    return Err(Reason::InvalidTransition);
                }
                if end <= self.start.max(now) {
                    return Err(Reason::RequestInvalid);
                }
                self.end = end;
            }
        }
        Ok(())
    }

    /// Whether an agency may refer, or why not.
    fn refers(&self, agency: &str, now: i64) -> Result<(), Reason> {
        let joined = if agency == "nca" { Some(true) } else { self.invited.get(agency).copied() };
        match joined {
            None => Err(Reason::OperationNotFound),
            Some(false) => Err(Reason::OperationNotJoined),
            Some(true) if self.is_over(now) || now < self.start => Err(Reason::OperationNotOpen),
            Some(true) => Ok(()),
        }
    }
}

/// What somebody does.
#[derive(Clone, Debug)]
enum Did {
    Join(&'static str),
    Leave(&'static str),
    Invite(&'static str),
    Begin(i64),
    End(i64),
    Close,
}

impl Did {
    fn act(&self) -> Act {
        match *self {
            Self::Join(agency) => Act::Join(agency.to_owned()),
            Self::Leave(agency) => Act::Leave(agency.to_owned()),
            Self::Invite(agency) => update(&[agency], None, None),
            Self::Begin(start) => update(&[], Some(start), None),
            Self::End(end) => update(&[], None, Some(end)),
            Self::Close => Act::Close,
        }
    }
}

const AGENCIES: [&str; 5] = ["nca", "bka", "kmar", "guardia", "frontier"];

fn acts() -> impl Strategy<Value = Vec<(i64, Did)>> {
    let agency = || prop::sample::select(AGENCIES.to_vec());
    let did = prop_oneof![
        3 => agency().prop_map(Did::Join),
        2 => agency().prop_map(Did::Leave),
        1 => agency().prop_map(Did::Invite),
        1 => (0..40_i64).prop_map(Did::Begin),
        1 => (0..60_i64).prop_map(Did::End),
        1 => Just(Did::Close),
    ];
    prop::collection::vec((0..4_i64, did), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_operation_is_what_was_said_of_it(acts in acts(), start in 0..12_i64, length in 1..30_i64) {
        let mut operation = planned(start, start + length);
        let mut model = Model {
            start,
            end: start + length,
            closed: false,
            invited: BTreeMap::from([("bka", false), ("kmar", false)]),
        };
        let mut now = 0;
        for (later, did) in acts {
            now += later;
            let after = operation.after(&did.act(), at(now));
            let expected = model.after(&did, now);
            prop_assert_eq!(after.as_ref().map(|_| ()).map_err(portreeve_core::Error::reason), expected, "{:?}", did);
            if let Ok(Some(changed)) = after {
                // Nothing is recorded where nothing changes, and nothing is taken back.
                prop_assert!(changed != operation && changed.invited.len() >= operation.invited.len());
                operation = changed;
            }
            for agency in AGENCIES {
                let refused = operation.check_refers(agency, at(now)).map_err(|error| error.reason());
                prop_assert_eq!(refused, model.refers(agency, now), "{} at {}", agency, now);
                let joined = agency == "nca" || model.invited.get(agency).is_some_and(|joined| *joined);
                prop_assert_eq!(operation.has_part(agency), joined);
            }
        }
        // Once it is over it stays so.
        if operation.state(at(now)) == State::Closed {
            prop_assert_eq!(operation.state(at(now + 1_000)), State::Closed);
        }
    }
}

fn referral(number: u128, url: &str, operation: &OperationName) -> Referral {
    let said = Said {
        name: ReferralName { agency: "nca".into(), id: Uuid::from_u128(number) },
        platform: "hb".into(),
        target: Target {
            kind: TargetKind::Page,
            location: Location::parse(url).unwrap(),
            native_id: String::new(),
            handles: Vec::new(),
        },
        nature: Nature::VoluntaryReferral,
        ground: Ground::SolicitationOfService,
        legal_basis: LegalBasis { code: String::new(), statute: "Any Act".into(), section: String::new() },
        statement: "Why.".into(),
        statement_language: "en".into(),
        content_language: String::new(),
        handling: Handling::default(),
        signature: None,
        protected_context: None,
        order: None,
        priority: None,
        evidence: Vec::new(),
        links: Vec::new(),
        operation: Some(operation.clone()),
    };
    Referral {
        said: Arc::new(said),
        exhibits: Vec::new(),
        occurred_at: at(0),
        recorded_at: at(0),
        standing: Standing::Submitted,
        erasures: Vec::new(),
        created: 0,
        updated: 0,
    }
}

#[test]
fn a_window_has_its_limits() {
    let now = at(0);
    let days = |days: i64| now.plus_micros(days * DAY_MICROS);
    let most = limits::OPERATION_DAYS_MAX;
    let fields = |start: Option<Timestamp>, end| match window(start, now, end, "", now) {
        Ok(_) => Vec::new(),
        Err(error) => error.violations().iter().map(|violation| violation.field.clone()).collect(),
    };
    assert!(fields(None, days(most)).is_empty());
    assert_eq!(fields(None, days(most).plus_micros(1)), ["end_time"]);
    assert_eq!(fields(None, now), ["end_time"]);
    let ahead = limits::OPERATION_AHEAD_DAYS_MAX;
    assert!(fields(Some(days(ahead)), days(ahead + most)).is_empty());
    assert_eq!(fields(Some(days(ahead).plus_micros(1)), days(ahead + 1)), ["start_time"]);
    assert!(fields(Some(now.plus_micros(-limits::CLOCK_SKEW_MICROS)), days(1)).is_empty());
    assert_eq!(fields(Some(now.plus_micros(-limits::CLOCK_SKEW_MICROS - 1)), days(1)), ["start_time"]);
    let agencies = limits::OPERATION_AGENCIES_MAX;
    assert!(check_agencies(agencies - 1).is_ok());
    assert_eq!(check_agencies(agencies).unwrap_err().reason(), Reason::LimitExceeded);
}

#[test]
fn who_acts_on_what_has_changed_is_told() {
    let operation = planned(0, 2);
    let Act::Update { invite, start, end, .. } = update(&[], None, Some(3)) else { unreachable!() };
    let stale = Act::Update { title: None, invite, start, end, etag: Some(7) };
    assert_eq!(operation.after(&stale, at(1)).unwrap_err().reason(), Reason::StaleVersion);
}

#[test]
fn an_operation_has_so_many_targets_and_no_more() {
    let full =
        Operation { tally: Tally { referrals: 60_000, targets: limits::OPERATION_TARGETS_MAX - 1 }, ..planned(0, 2) };
    let mut state = Loaded::default();
    state.operations.insert(full.name.id, full.clone());
    let created = |number: u128, url: &str| Event::Created(Box::new(referral(number, url, &full.name)));
    let [one, two] = ["https://hb.example/1", "https://hb.example/2"];
    assert_eq!(state.placed(vec![created(1, one)]).unwrap().len(), 1);
    let refused = state.placed(vec![created(1, one), created(2, two)]).unwrap_err();
    assert_eq!(refused.reason(), Reason::LimitExceeded);
    // The same target again is no other.
    let placed = state.placed(vec![created(1, one), created(2, one)]).unwrap();
    let links = placed.iter().map(|event| match event {
        Event::Created(referral) => referral.same_target().map(|name| name.id.as_u128()),
        _ => None,
    });
    assert_eq!(links.collect::<Vec<_>>(), [None, Some(1)]);
}
