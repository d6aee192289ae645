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
