//! The sample ledger: notes under keys, appended to and never forgotten.

use std::collections::{BTreeSet, HashMap};

use portreeve_core::{Error, Ledger, Reason, Recorded, Result, Timestamp};

use crate::{Codec, Encoded};

/// What can be done with notes.
#[derive(Clone, Debug)]
pub enum Command {
    /// Adds text to the note of a key, once per text given.
    Append {
        /// The key.
        key: String,
        /// The texts.
        texts: Vec<String>,
    },
    /// Is refused.
    Refuse,
    /// Has nothing to do.
    Nothing,
    /// Meets a fault.
    Panic,
}

/// Text was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The key.
    pub key: String,
    /// The text.
    pub text: String,
}

/// The notes that a batch touches: content and the position of the last change.
#[derive(Debug, Default)]
pub struct State {
    /// Notes by key.
    pub notes: HashMap<String, (String, i64)>,
    /// Keys that have changed.
    pub changed: BTreeSet<String>,
}

/// The ledger of notes.
pub struct Notes;

impl Ledger for Notes {
    type Command = Command;
    type Event = Appended;
    type State = State;

    fn decide(state: &State, command: &Command, _now: Timestamp) -> Result<Vec<Appended>> {
        match command {
            Command::Append { key, texts } => {
                let long = state.notes.get(key).is_some_and(|(content, _)| content.len() > 1_000_000);
                if long {
                    return Err(Error::new(Reason::LimitExceeded, "the note is full"));
                }
                Ok(texts.iter().map(|text| Appended { key: key.clone(), text: text.clone() }).collect())
            }
            Command::Refuse => Err(Error::new(Reason::InvalidTransition, "refused")),
            Command::Nothing => Ok(Vec::new()),
            #[expect(clippy::panic, reason = "the fault that the suite is about")]
            Command::Panic => panic!("a fault in the domain"),
        }
    }

    fn evolve(state: &mut State, recorded: &Recorded<Appended>) {
        let Appended { key, text } = &recorded.event;
        let note = state.notes.entry(key.clone()).or_default();
        note.0.push_str(text);
        note.1 = recorded.position;
        state.changed.insert(key.clone());
    }
}

/// The sample's codec: key and text with a line break between.
pub struct Lines;

impl Codec<Appended> for Lines {
    fn encode(event: &Appended) -> Encoded {
        let body = format!("{}\n{}", event.key, event.text).into_bytes();
        Encoded { agency: event.key.clone(), platform: String::new(), body, personal: None }
    }

    fn decode(body: &[u8]) -> Result<Appended> {
        let text = std::str::from_utf8(body).map_err(|e| Error::internal(e.to_string()))?;
        let (key, text) = text.split_once('\n').ok_or_else(|| Error::internal("not a note"))?;
        Ok(Appended { key: key.to_owned(), text: text.to_owned() })
    }
}
