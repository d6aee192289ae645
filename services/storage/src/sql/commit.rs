//! The group commit: load, decide, persist, head row, commit.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::join;
use portreeve_core::token::{Epoch, Revision};
use portreeve_core::{Cited, Clock, Error, IdSource, Ledger, Reason, Recorded, Result};
use sqlx::Pool;
use tokio::sync::{Notify, watch};

use super::super::{Engine, begin_write, hear_of_commits, scrub, tell_of_commit};
use super::event_log::{self, Log};
use super::request_log::{self, Answered};
use super::{Conn, Db, Reads, Script, followed, seal, tree};
use crate::writer::Committer;
use crate::{Codec, Envelope, EventLog, Guard, Outcome, Writer};

/// What a service tells the writer about its tables.
pub trait Tables<L: Ledger>: Send + Sync + 'static {
    /// What to load: filled from commands or from events, read in set-based queries.
    type Keys: Default + Send;
    /// How events are written into the log.
    type Codec: Codec<L::Event>;
    /// The state tables, children before parents, for emptying them.
    const STATE_TABLES: &'static [&'static str];

    /// Adds what a command touches.
    fn command_keys(command: &L::Command, keys: &mut Self::Keys);

    /// Adds what an event touches.
    fn event_keys(event: &L::Event, keys: &mut Self::Keys);

    /// Reads the state behind the keys.
    fn load(conn: &mut Conn, keys: Self::Keys) -> impl Future<Output = sqlx::Result<L::State>> + Send;

    /// Writes what has changed in the state since it was loaded.
    fn persist(script: &mut Script<'_>, state: L::State) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// A service's open store on this engine.
pub struct Store<L, T> {
    engine: Arc<Engine>,
    log: Arc<Log>,
    epoch: Epoch,
    service: &'static str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// Whether something that was erased may still lie where the engine keeps what it overwrites.
    unscrubbed: Arc<AtomicBool>,
    changed: watch::Sender<i64>,
    committed: Arc<Notify>,
    kinds: PhantomData<fn() -> (L, T)>,
}

impl<L, T> Clone for Store<L, T> {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            log: Arc::clone(&self.log),
            epoch: self.epoch,
            service: self.service,
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
            unscrubbed: Arc::clone(&self.unscrubbed),
            changed: self.changed.clone(),
            committed: Arc::clone(&self.committed),
            kinds: PhantomData,
        }
    }
}

impl<L: Ledger, T: Tables<L>> Store<L, T> {
    /// Brings the schema up to date and opens the store. A new log gets its epoch from `ids`, and every referral its keys.
    pub async fn open(
        engine: Engine,
        service: &'static str,
        migrations: sqlx::migrate::Migrator,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Result<Self> {
        let mut new_epoch = Epoch::default();
        // The random end of an identifier; its beginning is the time.
        new_epoch.copy_from_slice(&ids.uuid(clock.now()).as_bytes()[8..]);
        super::maintenance::migrate(&engine.writers, migrations).await?;
        event_log::make_head(&engine.writers, new_epoch).await.map_err(|error| crate::unavailable(&error))?;
        let state = super::maintenance::catch_up(&engine.writers).await.map_err(|error| crate::unavailable(&error))?;
        let (changed, watched) = watch::channel(state.head);
        let log = Log::new(service, engine.readers.clone(), watched);
        let engine = Arc::new(engine);
        let committed = Arc::new(Notify::new());
        tokio::spawn(hear_of_commits(engine.readers.clone(), service, changed.clone()));
        tokio::spawn(tell(Arc::downgrade(&committed), Arc::downgrade(&engine), service));
        let store = Self {
            engine,
            log,
            epoch: state.epoch,
            service,
            clock,
            ids,
            unscrubbed: Arc::default(),
            changed,
            committed,
            kinds: PhantomData,
        };
        // A process that ended abruptly may have erased something and gone no further.
        store.scrub_after(true).await;
        Ok(store)
    }

    /// The log.
    pub fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log) as Arc<dyn EventLog>
    }

    /// The log's life.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The reading connections.
    pub fn readers(&self) -> &Pool<Db> {
        &self.engine.readers
    }

    pub(crate) fn writers(&self) -> &Pool<Db> {
        &self.engine.writers
    }

    /// Starts the writer.
    pub fn writer(&self) -> (Writer<L>, tokio::task::JoinHandle<()>) {
        Writer::start(self.service, self.clone())
    }

    /// Leaves nothing of what was erased where the engine keeps what it overwrites; what cannot be done now is done later.
    async fn scrub_after(&self, erased: bool) {
        if !erased && !self.unscrubbed.load(Ordering::Relaxed) {
            return;
        }
        let left = scrub(&self.engine.writers).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what was overwritten could not be cleared away after an erasure");
            false
        });
        self.unscrubbed.store(!left, Ordering::Relaxed);
    }

    async fn try_commit(&self, batch: &[Envelope<L::Command>]) -> sqlx::Result<Vec<Result<Outcome<L::Event>>>> {
        let mut tx = begin_write(&self.engine.writers).await?;
        let conn: &mut Conn = &mut tx;
        let requests = batch.iter().filter_map(|envelope| match &envelope.guard {
            Guard::Request { request_id, .. } => Some(*request_id),
            Guard::Follow { .. } | Guard::None => None,
        });
        let mut reads = Reads::new();
        // First of all, so that what follows is read while it is held.
        let head = event_log::lock(&mut reads);
        let answered = request_log::find(&mut reads, &requests.collect::<Vec<_>>());
        let follows = batch.iter().any(|envelope| matches!(envelope.guard, Guard::Follow { .. }));
        let cursors = follows.then(|| followed::all(&mut reads));
        let mut found = reads.run(conn).await?;
        let mut head = event_log::locked(&mut found, head)?;
        tree::catch_up(conn, &mut head, i64::MAX).await?;
        let now = self.clock.now().max(head.recorded_at);
        let answered = request_log::found(&mut found, answered)?;
        let cursors = cursors.map(|cursors| followed::found(&mut found, cursors)).transpose()?.unwrap_or_default();
        let mut keys = T::Keys::default();
        for envelope in batch {
            T::command_keys(&envelope.command, &mut keys);
        }
        let state = T::load(conn, keys).await?;

        let mut work = Work::<L> {
            state,
            last: head.state.head,
            answered,
            earlier: HashMap::new(),
            cursors,
            moved: false,
            requests: Vec::new(),
            events: Vec::new(),
        };
        let before = work.last;
        let mut results = Vec::with_capacity(batch.len());
        for envelope in batch {
            results.push(work.take(envelope, now));
        }
        let Work { state, requests, events, cursors, moved, .. } = work;

        if events.is_empty() && requests.is_empty() && !moved {
            tx.rollback().await?;
        } else {
            let mut script = Script::new(conn);
            let persisting = async {
                request_log::insert(&mut script, &requests).await?;
                T::persist(&mut script, state).await?;
                if moved { followed::upsert(&mut script, &cursors).await } else { Ok(()) }
            };
            // The events are encoded and sealed while the database writes what they change.
            let preparing = event_log::prepare::<L::Event, T::Codec>(&events, self.ids.as_ref());
            let (persisted, prepared) = join(persisting, preparing).await;
            persisted?;
            let appended = match prepared {
                Ok(prepared) => event_log::append(&mut script, head.tree, &events, prepared).await?,
                Err(error) => Err(error),
            };
            let erased = match appended {
                Ok(erased) => erased,
                Err(error) => return Ok(batch.iter().map(|_| Err(error.clone())).collect()),
            };
            script.end().await?;
            tx.commit().await?;
            self.scrub_after(erased).await;
            self.changed.send_replace(before + i64::try_from(events.len()).unwrap_or_default());
            self.committed.notify_one();
        }

        // A retry that caught up with its first try gets copies; everybody else gets the events themselves.
        let within = |first: i64, count: usize| {
            usize::try_from(first - before - 1).ok().and_then(|start| events.get(start..start + count))
        };
        let copies = results
            .iter()
            .flatten()
            .filter(|taken| taken.replayed)
            .filter_map(|taken| Some((taken.first, within(taken.first, taken.count)?.to_vec())))
            .collect::<HashMap<_, _>>();
        let mut fresh = events.into_iter();
        let mut outcomes = Vec::with_capacity(results.len());
        for result in results {
            outcomes.push(match result {
                Err(error) => Err(error),
                Ok(Taken { first, count, cited, replayed }) => {
                    let own = if !replayed {
                        fresh.by_ref().take(count).collect()
                    } else if let Some(own) = copies.get(&first) {
                        own.clone()
                    } else {
                        match self.earlier::<T>(first, count).await? {
                            Ok(own) => own,
                            Err(error) => {
                                outcomes.push(Err(error));
                                continue;
                            }
                        }
                    };
                    let position = first + i64::try_from(count).unwrap_or_default() - 1;
                    Ok(Outcome { events: own, cited, epoch: self.epoch, position, replayed })
                }
            });
        }
        Ok(outcomes)
    }

    /// The events of a request that was answered in an earlier commit.
    async fn earlier<C: Tables<L>>(&self, first: i64, count: usize) -> sqlx::Result<Result<Vec<Recorded<L::Event>>>> {
        if count == 0 {
            return Ok(Ok(Vec::new()));
        }
        let mut conn = self.engine.readers.acquire().await?;
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        let mut stored = event_log::whole(&mut conn, first - 1, limit).await?;
        if let Err(error) = seal::open(&mut conn, &mut stored).await? {
            return Ok(Err(error));
        }
        Ok(stored.iter().map(C::Codec::read).collect())
    }
}

#[async_trait]
impl<L: Ledger, T: Tables<L>> Committer<L> for Store<L, T> {
    async fn commit(&self, batch: &[Envelope<L::Command>]) -> Vec<Result<Outcome<L::Event>>> {
        match self.try_commit(batch).await {
            Ok(outcomes) => outcomes,
            // A statement that the database refuses is some one command's fault; alone, it fails alone.
            Err(sqlx::Error::Database(error)) if batch.len() > 1 => {
                tracing::warn!(%error, commands = batch.len(), "a batch was refused; its commands are committed one by one");
                let mut outcomes = Vec::with_capacity(batch.len());
                for envelope in batch {
                    outcomes.push(match self.try_commit(std::slice::from_ref(envelope)).await {
                        Ok(mut one) => one.pop().unwrap_or_else(|| Err(Error::internal("a commit gave no result"))),
                        Err(error) => Err(crate::unavailable(&error)),
                    });
                }
                outcomes
            }
            Err(error) => {
                let error = crate::unavailable(&error);
                batch.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }
}

/// Tells other replicas of commits: one message for however many came while the last was being sent.
async fn tell(committed: std::sync::Weak<Notify>, engine: std::sync::Weak<Engine>, service: &'static str) {
    while let Some(waiting) = committed.upgrade() {
        let wait = waiting.notified();
        if tokio::time::timeout(std::time::Duration::from_secs(5), wait).await.is_ok()
            && let Some(engine) = engine.upgrade()
        {
            tell_of_commit(&engine.readers, service).await;
        }
    }
}

/// The events that a command caused, by position, and what else its reply is made of.
#[derive(Clone)]
struct Taken {
    first: i64,
    count: usize,
    cited: Vec<(usize, i64)>,
    replayed: bool,
}

/// A batch while it is being decided.
struct Work<L: Ledger> {
    state: L::State,
    last: i64,
    answered: HashMap<request_log::Key, Answered>,
    /// Requests of this very batch, so that a retry that caught up with its first try is one too.
    earlier: HashMap<request_log::Key, (Vec<u8>, Taken)>,
    cursors: Vec<Revision>,
    moved: bool,
    requests: Vec<(request_log::Key, Answered)>,
    events: Vec<Recorded<L::Event>>,
}

impl<L: Ledger> Work<L> {
    fn take(&mut self, envelope: &Envelope<L::Command>, now: portreeve_core::Timestamp) -> Result<Taken> {
        match &envelope.guard {
            Guard::None => self.decide(envelope, now),
            Guard::Request { request_id, hash, too_late } => {
                let key = (*request_id, envelope.principal.organisation().to_string());
                if let Some(taken) = self.replay(&key, hash)? {
                    return Ok(taken);
                }
                if let Some(refused) = too_late {
                    return Err(refused.clone());
                }
                let taken = self.decide(envelope, now)?;
                let events = i64::try_from(taken.count).unwrap_or_default();
                let cited = taken.cited.clone();
                let answered = Answered { hash: hash.to_vec(), first: taken.first, events, cited };
                self.earlier.insert(key.clone(), (hash.to_vec(), taken.clone()));
                self.requests.push((key, answered));
                Ok(taken)
            }
            Guard::Follow { source, epoch, after, through, carries } => {
                let reached = self.cursors.iter().find(|cursor| cursor.log == *source);
                let fits = reached.map_or(*after == 0, |at| at.position == *after && at.epoch == *epoch);
                if !fits {
                    // Another replica was first, or the follower must start again from where the log says.
                    return Err(Error::new(
                        Reason::StaleVersion,
                        format!("{source} was followed further by another replica"),
                    ));
                }
                let taken = self.decide(envelope, now)?;
                let own = Revision { log: (*source).to_owned(), epoch: *epoch, position: *through };
                for revision in std::iter::once(&own).chain(carries) {
                    match self.cursors.iter_mut().find(|cursor| cursor.log == revision.log) {
                        Some(cursor) => cursor.clone_from(revision),
                        None => self.cursors.push(revision.clone()),
                    }
                }
                self.moved = true;
                Ok(taken)
            }
        }
    }

    fn replay(&self, key: &request_log::Key, hash: &[u8; 32]) -> Result<Option<Taken>> {
        let known = match (self.answered.get(key), self.earlier.get(key)) {
            (Some(answered), _) => {
                let count = usize::try_from(answered.events).unwrap_or_default();
                let cited = answered.cited.clone();
                Some((&answered.hash, Taken { first: answered.first, count, cited, replayed: true }))
            }
            (None, Some((earlier, taken))) => Some((earlier, Taken { replayed: true, ..taken.clone() })),
            (None, None) => None,
        };
        match known {
            Some((known, taken)) if known == hash => Ok(Some(taken)),
            Some(_) => Err(Error::new(
                Reason::RequestIdReused,
                "this request_id was used before with another method or content; use a fresh one for a new request",
            )
            .with("request_id", key.0)),
            None => Ok(None),
        }
    }

    fn decide(&mut self, envelope: &Envelope<L::Command>, now: portreeve_core::Timestamp) -> Result<Taken> {
        let events = L::decide(&self.state, &envelope.command, now)?;
        let first = self.last + 1;
        let position = |of: Cited| match of {
            Cited::At(position) => position,
            Cited::Own(place) => first.saturating_add(i64::try_from(place).unwrap_or(i64::MAX)),
        };
        let cited = L::cited(&self.state, &envelope.command);
        let cited = cited.into_iter().map(|(place, of)| (place, position(of))).collect();
        let taken = Taken { first, count: events.len(), cited, replayed: false };
        let actor = envelope.principal.to_string();
        for event in events {
            self.last += 1;
            let recorded = Recorded { position: self.last, recorded_at: now, actor: actor.clone(), event };
            L::evolve(&mut self.state, &recorded);
            self.events.push(recorded);
        }
        Ok(taken)
    }
}
