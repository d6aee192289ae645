//! The keys of what can be erased: made with a subject's first event, destroyed with the event that erases.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::id::{IdSource, Uuid};
use portreeve_core::{Error, Result};

use super::script::{Found, Ticket};
use super::{Conn, Insert, Lookup, Reads, Script};
use crate::seal::{self, Draws, Keys};
use crate::{Encoded, StoredEvent};

pub(super) static FIND: Lookup = Lookup::new("SELECT subject, keys FROM seal_key WHERE subject IN");
pub(super) static UPSERT: Insert = Insert::new(
    "seal_key",
    &["subject BYTEA", "keys BYTEA"],
    "ON CONFLICT (subject) DO UPDATE SET keys = excluded.keys",
);

type KeyRow = (Vec<u8>, Vec<u8>);

fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} cannot be read").into())
}

fn read((subject, keys): KeyRow) -> sqlx::Result<(Uuid, Keys)> {
    let subject = Uuid::from_slice(&subject).map_err(|_| unreadable("a key's subject"))?;
    Ok((subject, Keys::decode(&keys).ok_or_else(|| unreadable("a key"))?))
}

fn column(subjects: impl IntoIterator<Item = Uuid>) -> Vec<Vec<u8>> {
    subjects.into_iter().map(|subject| subject.as_bytes().to_vec()).collect()
}

/// Asks which subjects have keys, or had them.
pub fn find(reads: &mut Reads, subjects: impl IntoIterator<Item = Uuid>) -> Ticket {
    reads.find(&FIND, &column(subjects))
}

/// The subjects that have keys, or had them.
pub fn found(found: &mut Found, ticket: Ticket) -> sqlx::Result<BTreeSet<Uuid>> {
    let rows: Vec<KeyRow> = found.take(ticket)?;
    rows.into_iter().map(|row| read(row).map(|(subject, _)| subject)).collect()
}

async fn keys(conn: &mut Conn, subjects: BTreeSet<Uuid>) -> sqlx::Result<BTreeMap<Uuid, Keys>> {
    let rows: Vec<KeyRow> = FIND.run(conn, &column(subjects)).await?;
    rows.into_iter().map(read).collect()
}

/// Seals what is personal in events that are about to be appended.
pub(super) struct Sealer<'i> {
    draws: Draws<'i>,
    keys: BTreeMap<Uuid, Keys>,
    changed: BTreeSet<Uuid>,
    /// Subjects of events whose keys are still to be looked up: what follows of them waits as well.
    waiting: BTreeSet<Uuid>,
    destroyed: bool,
}

impl<'i> Sealer<'i> {
    pub(super) fn new(ids: &'i dyn IdSource, events: usize) -> Self {
        Self {
            draws: Draws::new(ids, events),
            keys: BTreeMap::new(),
            changed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            destroyed: false,
        }
    }

    /// Seals an event if its subject begins with it, or began in this very batch: then no key has to be looked up.
    pub(super) fn seal_fresh(&mut self, encoded: &mut Encoded, position: i64) -> Result<()> {
        let Some(of) = &encoded.personal else { return Ok(()) };
        let fresh = of.begins || self.keys.contains_key(&of.subject);
        if fresh && !self.waiting.contains(&of.subject) {
            return self.seal(encoded, position);
        }
        self.waiting.insert(of.subject);
        Ok(())
    }

    /// Seals the rest of the events that follow a position, and keeps or destroys keys. Gives whether any was destroyed.
    pub(super) async fn end(
        mut self,
        script: &mut Script<'_>,
        after: i64,
        events: &mut [Encoded],
    ) -> sqlx::Result<Result<bool>> {
        let known = events.iter().filter_map(|encoded| encoded.personal.as_ref()).map(|of| of.subject);
        let known = known.collect::<BTreeSet<_>>();
        if !known.is_empty() {
            self.keys.extend(keys(script.conn().await?, known).await?);
        }
        for (encoded, position) in events.iter_mut().zip(after + 1..) {
            if let Err(error) = self.seal(encoded, position) {
                return Ok(Err(error));
            }
        }
        let changed = self.changed.iter().filter_map(|subject| self.keys.get_key_value(subject)).collect::<Vec<_>>();
        UPSERT
            .run(script, &changed, |(subject, keys), binds| {
                binds.add(subject.as_bytes().to_vec()).add(keys.encode());
            })
            .await?;
        Ok(Ok(self.destroyed))
    }

    fn seal(&mut self, encoded: &mut Encoded, position: i64) -> Result<()> {
        let Some(personal) = encoded.personal.take() else { return Ok(()) };
        let of = match self.keys.entry(personal.subject) {
            Entry::Occupied(known) => known.into_mut(),
            // New, or of before there were keys.
            Entry::Vacant(new) => {
                self.changed.insert(personal.subject);
                new.insert(Keys::new(&mut self.draws)?)
            }
        };
        for group in &personal.erases {
            if of.destroy(*group) {
                self.changed.insert(personal.subject);
                self.destroyed = true;
            }
        }
        encoded.body = seal::seal(&encoded.body, &personal, of, position, &mut self.draws)?;
        Ok(())
    }
}

/// Opens events with the keys that are left. Fails for an event that was changed since it was sealed.
pub(super) async fn open(conn: &mut Conn, events: &mut [StoredEvent]) -> sqlx::Result<Result<()>> {
    let sealed = events.iter().map(|event| seal::parse(&event.body)).collect::<Vec<_>>();
    let subjects = sealed.iter().flatten().map(|sealed| sealed.subject).collect::<BTreeSet<_>>();
    if subjects.is_empty() {
        return Ok(Ok(()));
    }
    let keys = keys(conn, subjects).await?;
    let none = Keys::default();
    for (event, sealed) in events.iter_mut().zip(sealed) {
        let Some(sealed) = sealed else { continue };
        let of = keys.get(&sealed.subject).unwrap_or(&none);
        let Some(body) = sealed.open(of, event.position) else {
            return Ok(Err(Error::internal(format!("event {} is not what was sealed", event.position))));
        };
        event.body = body;
    }
    Ok(Ok(()))
}
