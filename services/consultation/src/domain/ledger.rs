//! The ledger: what was read is appended, and nothing is ever decided against.

use portreeve_core::{Recorded, Result, Timestamp};

use super::Entry;

/// The entries of one reading.
pub type Command = Vec<Entry>;

/// What has been appended and is not yet in the tables.
#[derive(Debug, Default)]
pub struct State {
    /// The entries, in order.
    pub appended: Vec<Recorded<Entry>>,
}

/// The ledger of readings.
pub struct Ledger;

impl portreeve_core::Ledger for Ledger {
    type Command = Command;
    type Event = Entry;
    type State = State;

    fn decide(_state: &State, command: &Command, _now: Timestamp) -> Result<Vec<Entry>> {
        Ok(command.clone())
    }

    fn evolve(state: &mut State, recorded: &Recorded<Entry>) {
        state.appended.push(recorded.clone());
    }
}
