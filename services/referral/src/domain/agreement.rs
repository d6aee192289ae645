//! What may happen to an agreement. Where it stands at a moment, and what it shares then, is `portreeve_core::agreement`'s
//! and `portreeve_core::access`'s.

use portreeve_core::agreement::{Agreement, AgreementName, Consent, Extension, Notice, State, Suspension, Terms};
use portreeve_core::time::DAY_MICROS;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

/// What a party does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Accepts what was proposed.
    Accept,
    /// Consents to a later end.
    Extend(Timestamp),
    /// Suspends it, with the reason.
    Suspend(String),
    /// Ends its own suspension.
    Resume,
    /// Gives notice, with the reason; declines what was proposed.
    GiveNotice(String),
}

/// An act without what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// [`Act::Accept`].
    Accept,
    /// [`Act::Extend`].
    Extend,
    /// [`Act::Suspend`].
    Suspend,
    /// [`Act::Resume`].
    Resume,
    /// [`Act::GiveNotice`].
    GiveNotice,
}

impl Step {
    /// The state that the step is for, for naming it in an error.
    const fn to(self) -> State {
        match self {
            Self::Accept | Self::Resume => State::Active,
            Self::Extend => State::Extended,
            Self::Suspend => State::Suspended,
            Self::GiveNotice => State::NoticeGiven,
        }
    }
}

impl Act {
    /// The step.
    pub const fn step(&self) -> Step {
        match self {
            Self::Accept => Step::Accept,
            Self::Extend(_) => Step::Extend,
            Self::Suspend(_) => Step::Suspend,
            Self::Resume => Step::Resume,
            Self::GiveNotice(_) => Step::GiveNotice,
        }
    }
}

/// The state machine: where an agreement stands, and what a party can do then. What is not here cannot be done; time moves it
/// besides.
pub const TRANSITIONS: &[(State, Step)] = &[
    (State::Proposed, Step::Accept),
    (State::Proposed, Step::GiveNotice),
    (State::Active, Step::Extend),
    (State::Active, Step::Suspend),
    (State::Active, Step::GiveNotice),
    (State::Extended, Step::Extend),
    (State::Extended, Step::Suspend),
    (State::Extended, Step::GiveNotice),
    (State::Suspended, Step::Suspend),
    (State::Suspended, Step::Resume),
    (State::Suspended, Step::GiveNotice),
    (State::NoticeGiven, Step::Suspend),
];

/// A proposal, which its proposer accepts by making it.
pub fn propose(name: AgreementName, terms: Terms, proposer: &str, now: Timestamp) -> Agreement {
    Agreement {
        name,
        terms,
        acceptances: vec![Consent { party: proposer.to_owned(), at: now }],
        extensions: Vec::new(),
        suspensions: Vec::new(),
        notice: None,
        created_at: now,
        updated_at: now,
        created: 0,
        updated: 0,
    }
}

/// The agreement after what a party does; `None` if it was done before.
pub fn act(
    agreement: &Agreement,
    party: &str,
    act: &Act,
    etag: Option<i64>,
    now: Timestamp,
) -> Result<Option<Agreement>> {
    if done_before(agreement, party, act, now) {
        return Ok(None);
    }
    let name = agreement.name;
    if let Some(etag) = etag.filter(|etag| *etag != agreement.updated) {
        return Err(Error::new(Reason::StaleVersion, format!("{name} has changed since it was read; read it again"))
            .with("name", name)
            .with("expected", etag)
            .with("actual", agreement.updated));
    }
    let state = agreement.state(now);
    if !TRANSITIONS.contains(&(state, act.step())) {
        return Err(impossible(name, state, act.step()));
    }
    let mut changed = Agreement { updated_at: now, ..agreement.clone() };
    let consent = || Consent { party: party.to_owned(), at: now };
    match act {
        Act::Accept => changed.acceptances.push(consent()),
        Act::Extend(end) => extend(&mut changed, *end, consent())?,
        Act::Suspend(reason) => {
            // One suspension a party at a time, so that what it said first stands.
            if changed.suspensions.iter().any(|known| known.party == party && known.until.is_none()) {
                return Err(impossible(name, state, Step::Suspend));
            }
            limit("suspensions", changed.suspensions.len())?;
            changed.suspensions.push(Suspension {
                party: party.to_owned(),
                reason: reason.clone(),
                from: now,
                until: None,
            });
        }
        Act::Resume => {
            let own = changed.suspensions.iter_mut().rfind(|known| known.party == party && known.until.is_none());
            own.ok_or_else(|| impossible(name, state, Step::Resume))?.until = Some(now);
        }
        Act::GiveNotice(reason) => {
            if changed.notice.is_some() {
                return Err(impossible(name, state, Step::GiveNotice));
            }
            // What was never in force needs no time to end.
            let days = if state == State::Proposed { 0 } else { i64::from(changed.terms.notice_days) };
            let ends_at = now.plus_micros(days * DAY_MICROS);
            changed.notice = Some(Notice { party: party.to_owned(), reason: reason.clone(), given_at: now, ends_at });
        }
    }
    Ok(Some(changed))
}

fn extend(changed: &mut Agreement, end: Timestamp, consent: Consent) -> Result<()> {
    let field =
        |what: String| Error::new(Reason::RequestInvalid, "the agreement cannot be extended so").at("end_time", what);
    match changed.terms.extendable_until {
        None => return Err(field("must not be: the agreement cannot be extended".into())),
        Some(until) if end > until => return Err(field(format!("must not be after extendable_until, {until}"))),
        Some(_) => {}
    }
    let present = changed.agreed_end();
    if end <= present {
        return Err(field(format!("must be after the present end, {present}")));
    }
    let parties = changed.terms.parties.len();
    if !changed.extensions.iter().any(|extension| extension.end == end) {
        limit("extensions", changed.extensions.len())?;
        changed.extensions.push(Extension { end, consents: Vec::new(), in_force_at: None });
    }
    let extension = changed.extensions.iter_mut().find(|extension| extension.end == end);
    let extension = extension.ok_or_else(|| Error::internal("an extension is gone that was there"))?;
    let at = consent.at;
    extension.consents.push(consent);
    if extension.consents.len() == parties {
        extension.in_force_at = Some(at);
    }
    Ok(())
}

/// Whether the party has done this already, with the same content.
fn done_before(agreement: &Agreement, party: &str, act: &Act, now: Timestamp) -> bool {
    let is = |consent: &Consent| consent.party == party;
    match act {
        Act::Accept => agreement.acceptances.iter().any(is),
        Act::Extend(end) => {
            agreement.extensions.iter().any(|extension| extension.end == *end && extension.consents.iter().any(is))
        }
        Act::Suspend(reason) => agreement
            .suspensions
            .iter()
            .any(|known| known.party == party && known.until.is_none() && known.reason == *reason),
        Act::Resume => {
            let own = agreement.suspensions.iter().rfind(|known| known.party == party);
            own.is_some_and(|known| known.until.is_some()) && !agreement.state(now).is_final()
        }
        Act::GiveNotice(reason) => {
            agreement.notice.as_ref().is_some_and(|notice| notice.party == party && notice.reason == *reason)
        }
    }
}

fn limit(what: &'static str, count: usize) -> Result<()> {
    if count < limits::AGREEMENT_FACTS_MAX {
        return Ok(());
    }
    Err(Error::new(
        Reason::LimitExceeded,
        format!("an agreement has at most {} {what}; make a new one", limits::AGREEMENT_FACTS_MAX),
    )
    .with("limit", what)
    .with("maximum", limits::AGREEMENT_FACTS_MAX)
    .with("actual", count + 1))
}

fn impossible(name: AgreementName, from: State, step: Step) -> Error {
    let to = step.to().name();
    Error::new(Reason::InvalidTransition, format!("{name} is {}: from there it cannot become {to}", from.name()))
        .with("name", name)
        .with("from", from.name())
        .with("to", to)
}

#[cfg(test)]
mod tests {
    use portreeve_core::id::Uuid;
    use portreeve_core::name::{OrganisationKind, OrganisationName};
    use portreeve_core::vocabulary::{AfterEnd, Purpose, Tlp};
    use portreeve_core::{Ledger as _, Recorded};

    use super::*;
    use crate::domain::{Command, Ledger, Organisation, State as Book};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn terms() -> Terms {
        Terms {
            title: "Channel".into(),
            parties: vec!["bka".into(), "nca".into()],
            purposes: vec![Purpose::Investigation],
            grounds: vec![],
            field_groups: vec![],
            tlp_ceiling: Tlp::Amber,
            accepts_conditions: false,
            onward_permitted: false,
            shared_since: None,
            start: at(0),
            end: at(1_000),
            extendable_until: Some(at(100_000)),
            notice_days: 0,
            review_on: None,
            after_end: AfterEnd::Freeze,
        }
    }

    fn agreed() -> Agreement {
        let proposed = propose(AgreementName(Uuid::from_u128(1)), terms(), "nca", at(0));
        done(&proposed, "bka", &Act::Accept, 1)
    }

    fn done(agreement: &Agreement, party: &str, what: &Act, now: i64) -> Agreement {
        act(agreement, party, what, None, at(now)).unwrap().unwrap()
    }

    fn too_many(refused: Result<Option<Agreement>>) {
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason(), Reason::LimitExceeded);
        assert!(refused.metadata().contains(&("maximum", limits::AGREEMENT_FACTS_MAX.to_string())));
    }

    #[test]
    fn an_agreement_has_so_many_suspensions_and_no_more() {
        let mut of = agreed();
        let suspend = Act::Suspend("review".into());
        for now in 2..2 + i64::try_from(limits::AGREEMENT_FACTS_MAX).unwrap() {
            of = done(&done(&of, "nca", &suspend, now), "nca", &Act::Resume, now);
        }
        assert_eq!(of.suspensions.len(), limits::AGREEMENT_FACTS_MAX);
        too_many(act(&of, "nca", &suspend, None, at(500)));
        assert!(of.state(at(500)).in_force(), "it goes on");
    }

    #[test]
    fn an_agreement_has_so_many_extensions_and_no_more() {
        let mut of = agreed();
        let later = |number: usize| Act::Extend(at(2_000 + i64::try_from(number).unwrap()));
        for number in 0..limits::AGREEMENT_FACTS_MAX {
            of = done(&of, "nca", &later(number), 2);
        }
        too_many(act(&of, "nca", &later(limits::AGREEMENT_FACTS_MAX), None, at(3)));
        // Who consents to one that is there adds none.
        assert_eq!(done(&of, "bka", &later(0), 4).agreed_end(), at(2_000));
    }

    #[test]
    fn an_agency_has_so_many_agreements_and_no_more() {
        let mut book = Book::default();
        for id in ["bka", "nca"] {
            let name = OrganisationName::new(OrganisationKind::Agency, id).unwrap();
            let organisation = Organisation {
                name: name.clone(),
                display_name: id.into(),
                hosts: vec![],
                created_at: at(0),
                updated_at: at(0),
                created: 1,
                updated: 1,
            };
            book.organisations.insert(name, organisation);
        }
        book.agreements_of.insert("bka".into(), limits::AGENCY_AGREEMENTS_MAX - 1);
        let propose =
            |id| Command::Propose { name: AgreementName(Uuid::from_u128(id)), terms: terms(), proposer: "nca".into() };
        let events = Ledger::decide(&book, &propose(1), at(1)).unwrap();
        for event in events {
            let recorded = Recorded { position: 9, recorded_at: at(1), actor: String::new(), event };
            Ledger::evolve(&mut book, &recorded);
        }
        let refused = Ledger::decide(&book, &propose(2), at(1)).unwrap_err();
        assert_eq!(refused.reason(), Reason::LimitExceeded);
        assert!(refused.message().contains("agencies/bka"), "{refused:?}");
    }
}
