//! What a competent authority tells a platform before its first removal order, and the gate that this is (TCO art. 3(2)).

use portreeve_core::name::{OrganisationKind, PreNoticeName};
use portreeve_core::vocabulary::OrderRegime;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::authorisation::Sender;
use super::ledger::Event;
use super::{NewReferral, Referral, State};

/// What a platform is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreNotice {
    /// Its name.
    pub name: PreNoticeName,
    /// The platform.
    pub platform: String,
    /// Who answers the platform's questions.
    pub contact: String,
    /// The applicable procedures and deadlines.
    pub procedures: String,
    /// When it was given, by the agency's account.
    pub given_at: Timestamp,
    /// When the server learnt it.
    pub recorded_at: Timestamp,
    /// The position of the event that recorded it.
    pub created: i64,
}

/// An agency and a platform.
pub type Pair = (String, String);

/// What decides whether an agency's first removal order to a platform may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// When the first such order was sent.
    pub first_order: Option<Timestamp>,
    /// When the first pre-notice was given.
    pub first_notice: Option<Timestamp>,
    /// How many pre-notices were given.
    pub notices: i64,
}

impl Gate {
    /// Whether an order may be sent at an instant.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.first_order.is_some_and(|sent| sent <= at) || self.opens_at().is_some_and(|from| from <= at)
    }

    /// From when the first order may be sent; `None` while there is no pre-notice.
    pub fn opens_at(&self) -> Option<Timestamp> {
        self.first_notice.map(|given| given.plus_micros(limits::PRE_NOTICE_MICROS))
    }
}

/// The earlier of two instants, of which the one may not be known.
fn earlier(known: Option<Timestamp>, at: Timestamp) -> Timestamp {
    known.map_or(at, |known| known.min(at))
}

impl State {
    /// Gives a platform a pre-notice.
    pub(super) fn give_pre_notice(&self, notice: &PreNotice, now: Timestamp) -> Result<Vec<Event>> {
        self.organisation(OrganisationKind::Agency, &notice.name.agency)?;
        self.organisation(OrganisationKind::Platform, &notice.platform)?;
        let given = self.gates.get(&pair_of(notice)).map_or(0, |gate| gate.notices);
        if given >= limits::PRE_NOTICES_MAX {
            let (agency, platform) = (&notice.name.agency, &notice.platform);
            let message = format!("agencies/{agency} gave platforms/{platform} {given} pre-notices, which is the most");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "pre_notices")
                .with("maximum", limits::PRE_NOTICES_MAX)
                .with("actual", given + 1));
        }
        let given_at = notice.given_at.min(now);
        Ok(vec![Event::PreNoticeGiven(Box::new(PreNotice { given_at, recorded_at: now, ..notice.clone() }))])
    }

    /// Refuses the first removal order of an agency to a platform that was not told before. Who may tell history is believed when it was
    /// sent; of everybody else it is sent now.
    pub(super) fn check_pre_notice(
        &self,
        draft: &NewReferral,
        sender: Sender<'_>,
        field: &impl Fn() -> String,
        now: Timestamp,
    ) -> Result<()> {
        let said = &draft.said;
        let gated =
            said.order.as_ref().is_some_and(|order| order.regime == OrderRegime::Tco && order.emergency.is_empty());
        if !gated {
            return Ok(());
        }
        let history = draft.occurred_at.filter(|_| sender.history);
        let at = history.unwrap_or(now).min(now);
        let pair = (said.name.agency.clone(), said.platform.clone());
        let gate = self.gates.get(&pair).copied().unwrap_or_default();
        if gate.is_open(at) {
            return Ok(());
        }
        let (agency, platform) = (format!("agencies/{}", pair.0), format!("platforms/{}", pair.1));
        let opens = gate.opens_at();
        let when = opens.map_or_else(|| "and none was given".to_owned(), |from| format!("which is at {from}"));
        let message = format!(
            "the first removal order of {agency} to {platform} comes 12 hours after a pre-notice, {when}, or names an emergency"
        );
        // No delay after which to repeat it: whoever waits for that by itself would wait for hours.
        Err(Error::new(Reason::PreNoticeRequired, message)
            .with("agency", &agency)
            .with("platform", &platform)
            .with("possible_at", opens.map(|from| from.to_string()).unwrap_or_default())
            .at(format!("{}.order", field()), "must come 12 hours after a pre-notice, or name an emergency"))
    }

    /// Takes in that a referral was sent.
    pub(super) fn gate_order(&mut self, referral: &Referral) {
        if let Some(pair) = pair_of_order(referral) {
            let gate = self.gates.entry(pair.clone()).or_default();
            gate.first_order = Some(earlier(gate.first_order, referral.occurred_at));
            self.changes.gates.insert(pair);
        }
    }

    /// Takes in that a pre-notice was given.
    pub(super) fn gate_notice(&mut self, notice: &PreNotice) {
        let pair = pair_of(notice);
        let gate = self.gates.entry(pair.clone()).or_default();
        gate.first_notice = Some(earlier(gate.first_notice, notice.given_at));
        gate.notices += 1;
        self.changes.gates.insert(pair);
        self.changes.pre_notices.push(notice.clone());
    }
}

/// Between whom a pre-notice is.
pub fn pair_of(notice: &PreNotice) -> Pair {
    (notice.name.agency.clone(), notice.platform.clone())
}

/// Between whom a removal order is; `None` for what is none.
pub fn pair_of_order(referral: &Referral) -> Option<Pair> {
    let of_tco = referral.order.as_ref().is_some_and(|order| order.regime == OrderRegime::Tco);
    of_tco.then(|| (referral.name.agency.clone(), referral.platform.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portreeve_core::id::Uuid;
    use portreeve_core::location::Location;
    use portreeve_core::name::{OrganisationName, ReferralName};
    use portreeve_core::vocabulary::{Ground, Nature, TargetKind};
    use portreeve_core::{Ledger as _, Recorded};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ledger::{Command, DraftField, Ledger};
    use crate::domain::{Handling, LegalBasis, Order, Organisation, Said, Target};

    const HOUR: i64 = 3_600_000_000;
    const AGENCIES: [&str; 2] = ["bka", "nca"];
    const PLATFORMS: [&str; 2] = ["ch", "hb"];

    fn hour(hours: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + hours * HOUR)
    }

    /// What is done, for which agency and platform, an hour or more after what was done before.
    #[derive(Clone, Debug)]
    struct Step {
        after: i64,
        agency: usize,
        platform: usize,
        what: What,
    }

    #[derive(Clone, Debug)]
    enum What {
        /// Gives a pre-notice, so many hours ago.
        Notice { ago: i64 },
        /// Sends an order that, by who may tell history or not, occurred so many hours ago.
        Order { tco: bool, emergency: bool, history: bool, ago: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let what = prop_oneof![
            2 => (0..30_i64).prop_map(|ago| What::Notice { ago }),
            3 => (any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), 0..30_i64)
                .prop_map(|(tco, emergency, history, ago)| What::Order { tco, emergency, history, ago }),
        ];
        (0..8_i64, 0..2_usize, 0..2_usize, what).prop_map(|(after, agency, platform, what)| Step {
            after,
            agency,
            platform,
            what,
        })
    }

    fn order(name: ReferralName, platform: &str, regime: OrderRegime, emergency: bool) -> Said {
        let location = Location::parse(&format!("https://{platform}.example/{}", name.id)).unwrap();
        let (native_id, handles) = (String::new(), Vec::new());
        Said {
            name,
            platform: platform.into(),
            target: Target { kind: TargetKind::Page, location, native_id, handles },
            nature: Nature::Order,
            ground: Ground::OfferTransportSea,
            legal_basis: LegalBasis { code: String::new(), statute: "Any Act".into(), section: String::new() },
            statement: "Boats.".into(),
            statement_language: "en".into(),
            content_language: String::new(),
            handling: Handling::default(),
            signature: None,
            protected_context: None,
            order: Some(Order {
                regime,
                issuing_authority: "Bundeskriminalamt".into(),
                act_within: None,
                redress: "Before the court.".into(),
                territorial_scope: if regime == OrderRegime::Tco { Vec::new() } else { vec!["DE".into()] },
                feedback_to: String::new(),
                emergency: if emergency { "A boat leaves tonight.".into() } else { String::new() },
                non_disclosure_until: None,
                escalates: None,
                non_disclosure: None,
            }),
            priority: None,
            evidence: Vec::new(),
            links: Vec::new(),
            operation: None,
        }
    }

    fn ledger() -> State {
        let mut state = State::default();
        let agencies = AGENCIES.map(|agency| format!("agencies/{agency}"));
        for name in agencies.into_iter().chain(PLATFORMS.map(|platform| format!("platforms/{platform}"))) {
            let name: OrganisationName = name.parse().unwrap();
            let (created_at, updated_at) = (Timestamp::default(), Timestamp::default());
            let (display_name, hosts) = (String::new(), Vec::new());
            let organisation = Organisation {
                name: name.clone(),
                display_name,
                hosts,
                created_at,
                updated_at,
                created: 0,
                updated: 0,
            };
            state.organisations.insert(name, organisation);
        }
        state.hosts =
            PLATFORMS.iter().map(|platform| (format!("{platform}.example"), (*platform).to_owned())).collect();
        state
    }

    proptest! {
        /// Against all that was ever sent and given, looked through each time.
        #[test]
        fn the_first_order_waits_for_its_notice(steps in prop::collection::vec(step(), 1..40)) {
            let mut state = ledger();
            let (mut now, mut head) = (hour(0), 0);
            let mut sent = Vec::<(usize, usize, Timestamp)>::new();
            let mut given = Vec::<(usize, usize, Timestamp)>::new();
            for (number, Step { after, agency, platform, what }) in steps.into_iter().enumerate() {
                now = now.plus_micros(after * HOUR);
                let id = Uuid::from_u128(u128::try_from(number).unwrap());
                let ago = |hours: i64| now.plus_micros(-hours * HOUR);
                let of = |list: &[(usize, usize, Timestamp)], by: Timestamp| {
                    list.iter().any(|(a, p, at)| (*a, *p) == (agency, platform) && *at <= by)
                };
                let (command, expected) = match &what {
                    What::Notice { ago: hours } => {
                        let notice = PreNotice {
                            name: PreNoticeName { agency: AGENCIES[agency].into(), id },
                            platform: PLATFORMS[platform].into(),
                            contact: "tco@bka.example".into(),
                            procedures: "Within one hour.".into(),
                            given_at: ago(*hours),
                            recorded_at: now,
                            created: 0,
                        };
                        (Command::GivePreNotice(Box::new(notice)), true)
                    }
                    What::Order { tco, emergency, history, ago: hours } => {
                        let regime = if *tco { OrderRegime::Tco } else { OrderRegime::Dsa };
                        let name = ReferralName { agency: AGENCIES[agency].into(), id };
                        let said = Arc::new(order(name, PLATFORMS[platform], regime, *emergency && *tco));
                        let draft = NewReferral { said, occurred_at: Some(ago(*hours)), signed: None };
                        let (field, member) = (DraftField::Referral, String::new());
                        let at = if *history { ago(*hours) } else { now };
                        let open = of(&sent, at) || of(&given, at.plus_micros(-12 * HOUR));
                        let command = Command::Create { drafts: vec![draft], field, member, history: *history, key: None };
                        (command, !*tco || *emergency || open)
                    }
                };
                match Ledger::decide(&state, &command, now) {
                    Ok(events) => {
                        prop_assert!(expected, "{what:?} was taken");
                        for event in events {
                            head += 1;
                            let (position, recorded_at, actor) = (head, now, String::new());
                            Ledger::evolve(&mut state, &Recorded { position, recorded_at, actor, event });
                        }
                    }
                    Err(refused) => {
                        prop_assert!(!expected, "{what:?}: {refused}");
                        prop_assert_eq!(refused.reason(), Reason::PreNoticeRequired);
                        // When it is worth another try is said, and is right.
                        let first = given.iter().filter(|(a, p, _)| (*a, *p) == (agency, platform)).map(|(.., at)| *at).min();
                        let from = first.map(|at| at.plus_micros(12 * HOUR));
                        let said = refused.metadata().iter().find(|(key, _)| *key == "possible_at").unwrap().1.clone();
                        prop_assert_eq!(said, from.map(|from| from.to_string()).unwrap_or_default());
                        continue;
                    }
                }
                match what {
                    What::Notice { ago: hours } => given.push((agency, platform, ago(hours))),
                    What::Order { tco: true, ago: hours, .. } => sent.push((agency, platform, ago(hours))),
                    What::Order { .. } => {}
                }
            }
        }
    }
}
