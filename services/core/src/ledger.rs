//! The shape of a ledger: what a service's domain gives to the writer.

use crate::{Result, Timestamp};

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<E> {
    /// The event's number in its service's log: gap-free, from 1, in commit order.
    pub position: i64,
    /// When the server learnt it.
    pub recorded_at: Timestamp,
    /// Who made it happen, as [`crate::Principal`] writes itself.
    pub actor: String,
    /// What happened.
    pub event: E,
}

/// An event of which a reply is made although its command did not cause it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cited {
    /// One of an earlier command, by its position.
    At(i64),
    /// One that the command itself causes, by its place among those.
    Own(usize),
}

/// The pure half of a service: what a command does to what is known.
///
/// The writer loads the state that a batch of commands touches, lets each command decide in turn, and persists what
/// came of it in one transaction. Nothing here waits, reads a clock or draws a random number.
pub trait Ledger: Send + Sync + 'static {
    /// What a caller wants done. Carries every identifier that it needs.
    type Command: Send + Sync + 'static;
    /// What happened.
    type Event: Clone + Send + Sync + 'static;
    /// The part of the state that a batch of commands touches.
    type State: Send + 'static;

    /// What the command does, or why it may not. No event means that there was nothing left to do.
    fn decide(state: &Self::State, command: &Self::Command, now: Timestamp) -> Result<Vec<Self::Event>>;

    /// What a reply is made of besides what the command causes, each with its place in the reply: what was there already. It is
    /// remembered with the request. The state is the one before those events.
    fn cited(_state: &Self::State, _command: &Self::Command) -> Vec<(usize, Cited)> {
        Vec::new()
    }

    /// The state after an event. Also how the state is rebuilt from the log.
    fn evolve(state: &mut Self::State, recorded: &Recorded<Self::Event>);
}
