//! The reporting ledger: what is learnt from the other logs becomes one event for each stretch that is followed, and another
//! for what recurrence takes of it; grants, and each query under one, are events too.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::name::OrganisationName;
use portreeve_core::{Date, Error, Recorded, Result, Timestamp, Uuid};

use super::grant::{Grant, GrantName, Terms, no_grant};
use super::publication::Digest;
use super::{Cell, Definition, Edition, Footprint, Joint, Permitted, Publication, Step, Tally, Trail};

/// A log that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The referral log.
    Referral,
    /// The decision log.
    Decision,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 2] = [Self::Referral, Self::Decision];

    /// The log's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Referral => "referral",
            Self::Decision => "decision",
        }
    }

    /// The source of a log's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Takes in a stretch of a log.
    Learn(Learnt),
    /// Issues a grant.
    Issue {
        /// Its name.
        name: GrantName,
        /// What is granted.
        terms: Box<Terms>,
        /// The oversight body.
        issuer: OrganisationName,
    },
    /// Revokes a grant.
    Revoke {
        /// Its name.
        name: GrantName,
        /// The oversight body.
        by: OrganisationName,
        /// Why.
        reason: String,
    },
    /// Counts a report that is about to be given under a grant.
    Count {
        /// The grant.
        grant: GrantName,
        /// Who asks.
        by: OrganisationName,
        /// For what.
        definition: Box<Definition>,
    },
    /// Publishes a report, or another version of it.
    Publish(Box<Publication>),
}

/// What a stretch of a log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// Which log.
    pub source: Source,
    /// The day on which the newest change of the stretch was recorded; `None` for a stretch without changes.
    pub heard_on: Option<Date>,
    /// What the figures take from it, in the order of the log.
    pub steps: Vec<Step>,
    /// What recurrence takes from it, in the order of the log, each of one referral.
    pub footprints: Vec<(Uuid, Footprint)>,
    /// Agreements that it tells of.
    pub agreements: Vec<Agreement>,
    /// Operations that it tells of.
    pub operations: Vec<Joint>,
}

/// The cube changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CubeChanged {
    /// The log from which it was learnt.
    pub source: Source,
    /// Everything that this log recorded before this day has been taken in.
    pub heard_on: Date,
    /// The signed counts, one for each cell, in the order of the cells.
    pub deltas: Vec<(Cell, Tally)>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The cube changed.
    CubeChanged(CubeChanged),
    /// Trails of referrals began or went on, in that order.
    TrailsChanged(Vec<(Uuid, Footprint)>),
    /// Another release takes more from the logs than those before it did. All that was taken from them counts no more: they are
    /// read from their beginning.
    BegunAnew,
    /// The referral log told of an agreement, or of a change of one.
    AgreementLearnt(Box<Agreement>),
    /// The referral log told who takes part in an operation, and it is news.
    OperationLearnt(Joint),
    /// A grant was issued or revoked: the whole of it, as it is then.
    GrantChanged(Box<Grant>),
    /// A report was counted under a grant.
    QueryCounted {
        /// The grant.
        grant: GrantName,
        /// How many have been given under it, this one included.
        spent: u32,
    },
    /// A version of a report was published.
    ReportPublished(Box<Publication>),
}

impl Event {
    /// The signed counts that the event brings, one for each cell.
    pub fn deltas(&self) -> &[(Cell, Tally)] {
        match self {
            Self::CubeChanged(changed) => &changed.deltas,
            Self::TrailsChanged(_)
            | Self::BegunAnew
            | Self::AgreementLearnt(_)
            | Self::OperationLearnt(_)
            | Self::GrantChanged(_)
            | Self::QueryCounted { .. }
            | Self::ReportPublished(_) => &[],
        }
    }
}

/// The part of the state that a batch touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// For each source, the day of its newest change that was taken in.
    pub heard: BTreeMap<Source, Date>,
    /// What is to be added to the cells. Sums, not values: adding does not need what is there.
    pub added: BTreeMap<Cell, Tally>,
    /// The trails.
    pub trails: BTreeMap<Uuid, Trail>,
    /// Those of them that began or went on.
    pub trodden: BTreeSet<Uuid>,
    /// Whether an earlier release filled the state, which therefore lacks what this one takes from the logs.
    pub outdated: bool,
    /// Whether what is in storage of the logs is to be emptied before anything of this is written.
    pub emptied: bool,
    /// Agreements, as the referral log told them last, with the position of the event that brought each here.
    pub agreements: BTreeMap<AgreementName, (Agreement, i64)>,
    /// Those of them that are new or have changed, with the position of the event that told so.
    pub learnt: BTreeMap<AgreementName, i64>,
    /// Operations that the referral log told of, by their names.
    pub operations: BTreeMap<String, Joint>,
    /// Those of them that are new or have changed.
    pub joined: BTreeSet<String>,
    /// The grants.
    pub grants: BTreeMap<GrantName, Grant>,
    /// Those of them that have changed.
    pub changed: BTreeSet<GrantName>,
    /// The newest version of each published report, by its question.
    pub editions: BTreeMap<Digest, Edition>,
    /// Versions that are new, each with the position of the event that published it.
    pub published: Vec<(i64, Publication)>,
}

/// The reporting ledger.
#[derive(Clone, Copy, Debug)]
pub struct Ledger;

impl portreeve_core::Ledger for Ledger {
    type Command = Command;
    type Event = Event;
    type State = State;

    fn decide(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>> {
        let event = match command {
            Command::Learn(learnt) => {
                let news = learnt
                    .agreements
                    .iter()
                    .filter(|told| told.is_news(state.agreements.get(&told.name).map(|(known, _)| known)))
                    .cloned();
                let news = news.map(|agreement| Event::AgreementLearnt(Box::new(agreement)));
                let joint = learnt.operations.iter().filter(|told| state.operations.get(&told.operation) != Some(told));
                let news = news.chain(joint.cloned().map(Event::OperationLearnt));
                let begun_anew = state.outdated.then_some(Event::BegunAnew);
                let emptied;
                let state = if begun_anew.is_some() {
                    emptied = State::default();
                    &emptied
                } else {
                    state
                };
                let trails = follow(state, learnt)?;
                let trails = (!trails.is_empty()).then_some(Event::TrailsChanged(trails));
                let cube = learn(state, learnt).map(Event::CubeChanged);
                return Ok(begun_anew.into_iter().chain(news).chain(cube).chain(trails).collect());
            }
            Command::Issue { name, terms, issuer } => Some(Event::GrantChanged(Box::new(Grant {
                name: *name,
                terms: (**terms).clone(),
                issuer: issuer.clone(),
                revocation: None,
                spent: 0,
                issued_at: now,
                updated_at: now,
                issued: 0,
            }))),
            Command::Revoke { name, by, reason } => {
                let grant = state.grants.get(name).ok_or_else(|| no_grant(*name))?;
                grant.revoke(by, reason, now)?.map(|revoked| Event::GrantChanged(Box::new(revoked)))
            }
            Command::Count { grant: name, by, definition } => {
                let grant = state.grants.get(name);
                // Whatever was read before: only what the grant allows in this very commit is counted, and given.
                Permitted::under(grant, *name, by, (**definition).clone(), now)?;
                let spent = grant.and_then(|grant| grant.spent.checked_add(1));
                let spent = spent.ok_or_else(|| Error::internal("a grant that allows more has nothing left"))?;
                Some(Event::QueryCounted { grant: *name, spent })
            }
            Command::Publish(proposed) => {
                let newest = state.editions.get(&proposed.question);
                (**proposed).clone().after(newest, now)?.map(|version| Event::ReportPublished(Box::new(version)))
            }
        };
        Ok(event.into_iter().collect())
    }

    fn evolve(state: &mut State, recorded: &Recorded<Event>) {
        match &recorded.event {
            Event::CubeChanged(CubeChanged { source, heard_on, deltas }) => {
                let heard = state.heard.entry(*source).or_insert(*heard_on);
                *heard = (*heard).max(*heard_on);
                for (cell, count) in deltas {
                    // A cell that comes to nothing stays: rebuilding in other stretches must give the same rows.
                    *state.added.entry(cell.clone()).or_default() += *count;
                }
            }
            Event::TrailsChanged(footprints) => {
                for (id, footprint) in footprints {
                    state.tread(*id, footprint);
                }
            }
            Event::BegunAnew => {
                state.heard.clear();
                state.added.clear();
                state.trails.clear();
                state.trodden.clear();
                state.outdated = false;
                state.emptied = true;
            }
            Event::AgreementLearnt(agreement) => {
                let first = state.agreements.get(&agreement.name).map_or(recorded.position, |(_, first)| *first);
                state.agreements.insert(agreement.name, ((**agreement).clone(), first));
                state.learnt.insert(agreement.name, recorded.position);
            }
            Event::OperationLearnt(joint) => {
                state.joined.insert(joint.operation.clone());
                state.operations.insert(joint.operation.clone(), joint.clone());
            }
            Event::GrantChanged(grant) => {
                let issued = state.grants.get(&grant.name).map_or(recorded.position, |known| known.issued);
                state.grants.insert(grant.name, Grant { issued, ..(**grant).clone() });
                state.changed.insert(grant.name);
            }
            Event::QueryCounted { grant: name, spent } => {
                if let Some(grant) = state.grants.get_mut(name) {
                    grant.spent = *spent;
                    state.changed.insert(*name);
                }
            }
            Event::ReportPublished(version) => {
                state.editions.insert(version.question, version.edition());
                state.published.push((recorded.position, (**version).clone()));
            }
        }
    }
}

impl State {
    fn tread(&mut self, id: Uuid, footprint: &Footprint) {
        self.trodden.insert(id);
        match footprint {
            Footprint::Begun(origin) => _ = self.trails.insert(id, Trail::new(origin.clone())),
            Footprint::Turned(turn) => {
                if let Some(other) = turn.kind.other() {
                    for end in [id, other] {
                        if let Some(trail) = self.trails.get_mut(&end) {
                            trail.linked = true;
                            self.trodden.insert(end);
                        }
                    }
                }
                if let Some(trail) = self.trails.get_mut(&id) {
                    trail.turns.push(turn.clone());
                }
            }
        }
    }
}

/// What a stretch tells of trails that is news.
fn follow(state: &State, learnt: &Learnt) -> Result<Vec<(Uuid, Footprint)>> {
    let mut here = State::default();
    let mut news = Vec::new();
    for (id, footprint) in &learnt.footprints {
        if !here.trails.contains_key(id)
            && let Some(trail) = state.trails.get(id)
        {
            here.trails.insert(*id, trail.clone());
        }
        let is_news = match (here.trails.get(id), footprint) {
            (known, Footprint::Begun(_)) => known.is_none(),
            (Some(trail), Footprint::Turned(turn)) => !trail.knows(turn),
            // Decisions are followed no further than the referrals on which they rest.
            (None, Footprint::Turned(_)) => {
                return Err(Error::internal(format!("referral {id} goes on before it was told of")));
            }
        };
        if is_news {
            here.tread(*id, footprint);
            news.push((*id, footprint.clone()));
        }
    }
    Ok(news)
}

/// What a stretch changes; nothing if there is no news in it.
fn learn(state: &State, learnt: &Learnt) -> Option<CubeChanged> {
    let mut deltas = BTreeMap::new();
    for step in &learnt.steps {
        step.count(&mut deltas);
    }
    deltas.retain(|_, tally| *tally != Tally::default());
    let known = state.heard.get(&learnt.source).copied();
    let news = !deltas.is_empty() || learnt.heard_on > known;
    let heard_on = learnt.heard_on.max(known).filter(|_| news)?;
    Some(CubeChanged { source: learnt.source, heard_on, deltas: deltas.into_iter().collect() })
}
