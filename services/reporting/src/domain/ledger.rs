//! The reporting ledger: what is learnt from the other logs becomes one event for each stretch that is followed.

use std::collections::BTreeMap;

use portreeve_core::{Date, Recorded, Result, Timestamp};

use super::{Cell, Step};

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

/// Takes in a stretch of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which log.
    pub source: Source,
    /// The day on which the newest change of the stretch was recorded; `None` for a stretch without changes.
    pub heard_on: Option<Date>,
    /// What the figures take from it, in the order of the log.
    pub steps: Vec<Step>,
}

/// The cube changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CubeChanged {
    /// The log from which it was learnt.
    pub source: Source,
    /// Everything that this log recorded before this day has been taken in.
    pub heard_on: Date,
    /// The signed counts, one for each cell, in the order of the cells.
    pub deltas: Vec<(Cell, i64)>,
}

/// The part of the cube that a batch touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// For each source, the day of its newest change that was taken in.
    pub heard: BTreeMap<Source, Date>,
    /// What is to be added to the cells. Sums, not values: adding does not need what is there.
    pub added: BTreeMap<Cell, i64>,
}

/// The reporting ledger.
#[derive(Clone, Copy, Debug)]
pub struct Ledger;

impl portreeve_core::Ledger for Ledger {
    type Command = Command;
    type Event = CubeChanged;
    type State = State;

    fn decide(state: &State, command: &Command, _now: Timestamp) -> Result<Vec<CubeChanged>> {
        let mut deltas = BTreeMap::new();
        for step in &command.steps {
            step.count(&mut deltas);
        }
        deltas.retain(|_, count| *count != 0);
        let known = state.heard.get(&command.source).copied();
        let news = !deltas.is_empty() || command.heard_on > known;
        let heard_on = command.heard_on.max(known);
        Ok(heard_on
            .filter(|_| news)
            .map(|heard_on| CubeChanged { source: command.source, heard_on, deltas: deltas.into_iter().collect() })
            .into_iter()
            .collect())
    }

    fn evolve(state: &mut State, recorded: &Recorded<CubeChanged>) {
        let CubeChanged { source, heard_on, deltas } = &recorded.event;
        let heard = state.heard.entry(*source).or_insert(*heard_on);
        *heard = (*heard).max(*heard_on);
        for (cell, count) in deltas {
            // A cell that comes to nothing stays: rebuilding in other stretches must give the same rows.
            *state.added.entry(cell.clone()).or_default() += count;
        }
    }
}
