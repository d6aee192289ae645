//! The history checker: readers of streams that note what they see, and hold every message against what streams promise.
//!
//! The promises: positions grow, without a gap for a reader who sees everything; nothing comes twice; no token, checkpoint
//! or progress is ahead of the events delivered; a token resumes exactly after its message, on this server or on the next
//! one over the same data; a snapshot and the changes after it give the final state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use portreeve_api::common::v1::{Progress, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_core::token::{Epoch, Resume, Revision};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tonic::{Response, Status, Streaming};

use crate::{Client, refusal, sample};

/// One change, or one row of a snapshot.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the log.
    pub position: i64,
    /// Its revision; empty in a snapshot.
    pub revision: String,
    /// When it was recorded, in microseconds.
    pub recorded: i64,
    /// Whether it is a row of a snapshot.
    pub snapshot: bool,
    /// The resource.
    pub name: String,
    /// The resource as it is after the change.
    pub state: String,
    /// What happened, in a word.
    pub what: &'static str,
}

/// One message of a stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// The changes.
    pub items: Vec<Item>,
    /// The token.
    pub token: String,
    /// Whether it only says how far everything was read.
    pub checkpoint: bool,
    /// The revisions of its progress.
    pub revisions: Vec<String>,
    /// Whether it ends a snapshot.
    pub snapshot_complete: bool,
}

/// Which log is read, by whom, and what of it.
#[derive(Clone, Debug)]
pub enum Tap {
    /// `WatchReferrals` and `ListReferralChanges`.
    Referrals {
        /// Who reads.
        organisation: String,
        /// The parent.
        parent: String,
        /// The filter.
        filter: Option<referral::ReferralFilter>,
    },
    /// `WatchCases` and `ListCaseChanges`.
    Cases {
        /// Who reads.
        organisation: String,
        /// The parent.
        parent: String,
        /// The filter.
        filter: Option<decision::CaseFilter>,
    },
    /// `WatchDecisions` and `ListDecisionChanges`.
    Decisions {
        /// Who reads.
        organisation: String,
        /// The parent.
        parent: String,
    },
}

fn place(position: u64) -> i64 {
    i64::try_from(position).unwrap()
}

fn referral_item(change: referral::ReferralChange) -> Item {
    use referral::referral_change::Change;
    let (what, snapshot, name, state) = match change.change.expect("a change says what changed") {
        Change::Created(it) => ("created", false, it.name.clone(), format!("{it:?}")),
        Change::Withdrawn(it) => ("withdrawn", false, it.name.clone(), format!("{it:?}")),
        Change::Erased(it) => ("erased", false, it.name.clone(), format!("{it:?}")),
        Change::Snapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::RetentionPolicyChanged(it) => ("retention changed", false, it.name.clone(), format!("{it:?}")),
        Change::OrganisationCreated(it) => ("organisation created", false, it.name.clone(), format!("{it:?}")),
        Change::OrganisationUpdated(it) => ("organisation updated", false, it.name.clone(), format!("{it:?}")),
        Change::SigningProfileChanged(it) => ("signing profile changed", false, it.name.clone(), format!("{it:?}")),
        Change::SigningProfileSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::OrganisationSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::AgreementChanged(it) => ("agreement changed", false, it.name.clone(), format!("{it:?}")),
        Change::AgreementSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::MeasureChanged(it) => ("measure changed", false, it.name.clone(), format!("{it:?}")),
        Change::MeasureSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::Observed(it) => ("observed", false, it.name.clone(), format!("{it:?}")),
        Change::ObservationSnapshot(it) => ("observed", true, it.name.clone(), format!("{it:?}")),
        Change::ReviewFlagChanged(it) => ("flag changed", false, it.name.clone(), format!("{it:?}")),
        Change::DraftChanged(it) => ("draft changed", false, it.name.clone(), format!("{it:?}")),
        Change::DraftSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::EvidenceUploaded(it) => ("evidence uploaded", false, it.name.clone(), format!("{it:?}")),
        Change::EvidenceErased(it) => ("evidence erased", false, it.name.clone(), format!("{it:?}")),
        Change::EvidenceSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::AuthorisationPolicyChanged(it) => ("authorisation changed", false, it.name.clone(), format!("{it:?}")),
        Change::AddressRulesChanged(it) => ("rules changed", false, it.name.clone(), format!("{it:?}")),
        Change::AddressRulesSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::Readdressed(it) => ("readdressed", false, it.name.clone(), format!("{it:?}")),
        Change::Linked(it) => ("linked", false, it.name.clone(), format!("{it:?}")),
        Change::PreNoticeGiven(it) => ("pre-notice", false, it.name.clone(), format!("{it:?}")),
        Change::PreNoticeSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::Prioritised(it) => ("prioritised", false, it.name.clone(), format!("{it:?}")),
        Change::NonDisclosureChanged(it) => ("non-disclosure changed", false, it.name.clone(), format!("{it:?}")),
        Change::AddressesSwept(it) => ("swept", false, it.name.clone(), format!("{it:?}")),
        Change::HoldChanged(it) => ("hold changed", false, it.name.clone(), format!("{it:?}")),
        Change::HoldSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::InterestChanged(it) => ("interest changed", false, it.name.clone(), format!("{it:?}")),
        Change::OperationChanged(it) => ("operation changed", false, it.name.clone(), format!("{it:?}")),
        Change::OperationSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::ReviewFlagSnapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
    };
    let recorded = sample::micros(change.recorded_at.as_ref());
    Item { position: place(change.position), revision: change.revision, recorded, snapshot, name, state, what }
}

fn case_item(change: decision::CaseChange) -> Item {
    use decision::case_change::Change;
    let (what, snapshot, name, state) = match change.change.expect("a change says what changed") {
        Change::AgreementLearnt(it) => ("agreement learnt", false, it.name.clone(), format!("{it:?}")),
        Change::Opened(it) => ("opened", false, it.name.clone(), format!("{it:?}")),
        Change::Acknowledged(it) => ("acknowledged", false, it.name.clone(), format!("{it:?}")),
        Change::Decided(it) => ("decided", false, it.name.clone(), format!("{it:?}")),
        Change::Withdrawn(it) => ("withdrawn", false, it.name.clone(), format!("{it:?}")),
        Change::Erased(it) => ("erased", false, it.name.clone(), format!("{it:?}")),
        Change::ReplayChanged(it) => ("replay changed", false, it.name.clone(), format!("{it:?}")),
        Change::ChallengeChanged(it) => ("challenge changed", false, it.name.clone(), format!("{it:?}")),
        Change::StayChanged(it) => ("stay changed", false, it.name.clone(), format!("{it:?}")),
        Change::ReviewChanged(it) => ("review changed", false, it.name.clone(), format!("{it:?}")),
        Change::Escalated(it) => ("escalated", false, it.name.clone(), format!("{it:?}")),
        Change::Prioritised(it) => ("prioritised", false, it.name.clone(), format!("{it:?}")),
        Change::NonDisclosureChanged(it) => ("non-disclosure changed", false, it.name.clone(), format!("{it:?}")),
        Change::ClockMarked(it) => ("clock marked", false, it.name.clone(), format!("{it:?}")),
        Change::ResponseTimesSet(it) => ("response times set", false, it.name.clone(), format!("{it:?}")),
        Change::Observed(it) => ("case observed", false, it.name.clone(), format!("{it:?}")),
        Change::Snapshot(it) => ("snapshot", true, it.name.clone(), format!("{it:?}")),
        Change::ClauseCreated(it) => ("clause created", false, it.name.clone(), format!("{it:?}")),
        Change::ClauseVersionAdded(it) => ("clause version added", false, it.name.clone(), format!("{it:?}")),
    };
    let recorded = sample::micros(change.recorded_at.as_ref());
    Item { position: place(change.position), revision: change.revision, recorded, snapshot, name, state, what }
}

fn decision_item(change: decision::DecisionChange) -> Item {
    use decision::decision_change::Change;
    let (what, snapshot, state) = match change.change.expect("a change says what changed") {
        Change::Recorded(it) => ("decided", false, format!("{it:?}")),
        Change::Snapshot(it) => ("snapshot", true, format!("{it:?}")),
    };
    let (recorded, name) = (sample::micros(change.recorded_at.as_ref()), change.case);
    Item { position: place(change.position), revision: change.revision, recorded, snapshot, name, state, what }
}

/// A referral or a case, written out, as an organisation is shown it: no platform learns how its agency grades a source.
pub fn as_shown_to(organisation: &str, state: &str) -> String {
    if organisation.starts_with("platforms/") {
        state.replace("code: SharingPermitted", "code: Unspecified")
    } else {
        state.to_owned()
    }
}

fn revisions(progress: Option<Progress>) -> Vec<String> {
    progress.unwrap_or_default().revisions
}

fn messages<R: Send + 'static>(
    opened: Response<Streaming<R>>,
    read: fn(R) -> Message,
) -> BoxStream<'static, Result<Message, Status>> {
    opened.into_inner().map(move |message| message.map(read)).boxed()
}

impl Tap {
    /// Referrals as somebody sees them.
    pub fn referrals(organisation: &str, parent: &str) -> Self {
        Self::Referrals { organisation: organisation.into(), parent: parent.into(), filter: None }
    }

    /// Cases as somebody sees them.
    pub fn cases(organisation: &str, parent: &str) -> Self {
        Self::Cases { organisation: organisation.into(), parent: parent.into(), filter: None }
    }

    /// Decisions as somebody sees them.
    pub fn decisions(organisation: &str, parent: &str) -> Self {
        Self::Decisions { organisation: organisation.into(), parent: parent.into() }
    }

    /// The log's name.
    pub const fn log(&self) -> &'static str {
        match self {
            Self::Referrals { .. } => "referral",
            Self::Cases { .. } | Self::Decisions { .. } => "decision",
        }
    }

    /// Opens the stream.
    pub async fn open(
        &self,
        url: &str,
        start: watch_start::Start,
    ) -> Result<BoxStream<'static, Result<Message, Status>>, Status> {
        let start = Some(sample::start(start));
        match self.clone() {
            Self::Referrals { organisation, parent, filter } => {
                let request = referral::WatchReferralsRequest { parent, start, filter, at_least: Vec::new() };
                let opened = Client::new(url, &organisation).referrals().watch_referrals(request).await?;
                Ok(messages(opened, |message| Message {
                    items: message.changes.into_iter().map(referral_item).collect(),
                    token: message.resume_token,
                    checkpoint: message.checkpoint,
                    revisions: revisions(message.progress),
                    snapshot_complete: message.snapshot_complete,
                }))
            }
            Self::Cases { organisation, parent, filter } => {
                let request = decision::WatchCasesRequest { parent, start, filter, at_least: Vec::new() };
                let opened = Client::new(url, &organisation).decisions().watch_cases(request).await?;
                Ok(messages(opened, |message| Message {
                    items: message.changes.into_iter().map(case_item).collect(),
                    token: message.resume_token,
                    checkpoint: message.checkpoint,
                    revisions: revisions(message.progress),
                    snapshot_complete: message.snapshot_complete,
                }))
            }
            Self::Decisions { organisation, parent } => {
                let request = decision::WatchDecisionsRequest { parent, start, filter: None, at_least: Vec::new() };
                let opened = Client::new(url, &organisation).decisions().watch_decisions(request).await?;
                Ok(messages(opened, |message| Message {
                    items: message.changes.into_iter().map(decision_item).collect(),
                    token: message.resume_token,
                    checkpoint: message.checkpoint,
                    revisions: revisions(message.progress),
                    snapshot_complete: message.snapshot_complete,
                }))
            }
        }
    }

    /// A page of the unary twin, and whether it was the last for now.
    pub async fn page(&self, url: &str, token: Option<String>, size: i32) -> Result<(Message, bool), Status> {
        let (page_size, at_least) = (size, Vec::new());
        let (items, token, caught_up, progress) = match self.clone() {
            Self::Referrals { organisation, parent, filter } => {
                use referral::list_referral_changes_request::Start;
                let start = Some(token.map_or(Start::Earliest(true), Start::ResumeToken));
                let request = referral::ListReferralChangesRequest { parent, start, filter, page_size, at_least };
                let mut client = Client::new(url, &organisation).referrals();
                let page = client.list_referral_changes(request).await?.into_inner();
                let items = page.changes.into_iter().map(referral_item).collect::<Vec<_>>();
                (items, page.resume_token, page.caught_up, page.progress)
            }
            Self::Cases { organisation, parent, filter } => {
                use decision::list_case_changes_request::Start;
                let start = Some(token.map_or(Start::Earliest(true), Start::ResumeToken));
                let request = decision::ListCaseChangesRequest { parent, start, filter, page_size, at_least };
                let mut client = Client::new(url, &organisation).decisions();
                let page = client.list_case_changes(request).await?.into_inner();
                let items = page.changes.into_iter().map(case_item).collect::<Vec<_>>();
                (items, page.resume_token, page.caught_up, page.progress)
            }
            Self::Decisions { organisation, parent } => {
                use decision::list_decision_changes_request::Start;
                let start = Some(token.map_or(Start::Earliest(true), Start::ResumeToken));
                let request = decision::ListDecisionChangesRequest { parent, start, filter: None, page_size, at_least };
                let mut client = Client::new(url, &organisation).decisions();
                let page = client.list_decision_changes(request).await?.into_inner();
                let items = page.changes.into_iter().map(decision_item).collect::<Vec<_>>();
                (items, page.resume_token, page.caught_up, page.progress)
            }
        };
        assert!(items.len() <= usize::try_from(size).unwrap(), "a page of {} for {size}", items.len());
        let revisions = revisions(progress);
        Ok((Message { checkpoint: items.is_empty(), items, token, revisions, snapshot_complete: false }, caught_up))
    }
}

/// The position in a resume token.
pub fn token_position(token: &str) -> i64 {
    Resume::decode(token).expect("a token that was given out").revision.position
}

/// What one reader saw, held against the promises message by message.
#[derive(Debug, Default)]
pub struct Trace {
    label: String,
    log: &'static str,
    /// Whether every event of the log is for this reader.
    dense: bool,
    epoch: Option<Epoch>,
    /// The last change, or where the reader began; `None` before that is known.
    last: Option<i64>,
    /// The position of the last token.
    told: i64,
    recorded: i64,
    in_snapshot: bool,
    /// The events delivered.
    pub items: Vec<Item>,
    /// The last state of each resource.
    pub view: BTreeMap<String, String>,
    /// The last token.
    pub token: Option<String>,
    /// How often the reader was told that its token had expired.
    pub expired: usize,
    /// The stretches of events that the reader did without: after the one position, up to the other.
    pub missed: Vec<(i64, i64)>,
    /// For each message: the revisions of other logs that it named, and how many events had been delivered with it.
    pub progress: Vec<(Vec<Revision>, usize)>,
}

impl Trace {
    /// A reader that has seen nothing.
    pub fn new(label: &str, tap: &Tap, dense: bool) -> Self {
        Self { label: label.to_owned(), log: tap.log(), dense, ..Self::default() }
    }

    /// The reader begins with the oldest event, in a log that was never compacted.
    pub fn begin_at_the_first(&mut self) {
        self.last = Some(0);
    }

    /// The reader begins with a snapshot, and forgets what it knew.
    pub fn begin_snapshot(&mut self) {
        if self.missed.last().is_none_or(|(_, through)| *through != i64::MAX) {
            // The snapshot's end will say up to where.
            self.missed.push((self.told, i64::MAX));
        }
        (self.in_snapshot, self.last, self.token) = (true, None, None);
        self.view.clear();
    }

    /// The reader goes on with the oldest token; what it misses it was told of.
    pub fn go_on_after(&mut self, oldest: &str) {
        let position = token_position(oldest);
        assert!(position > self.told, "{}: expired, yet the oldest token {position} is not newer", self.label);
        self.missed.push((self.told, position));
        (self.last, self.told, self.token) = (Some(position), position, Some(oldest.to_owned()));
    }

    /// How far the reader was told that it has seen everything; -1 within a snapshot.
    pub const fn reached(&self) -> i64 {
        if self.in_snapshot { -1 } else { self.told }
    }

    /// Takes a message.
    pub fn take(&mut self, message: Message) {
        let label = self.label.clone();
        let resume = Resume::decode(&message.token).unwrap_or_else(|error| panic!("{label}: {error}"));
        let at = resume.revision.position;
        let epoch = *self.epoch.get_or_insert(resume.revision.epoch);
        assert_eq!((resume.revision.log.as_str(), resume.revision.epoch), (self.log, epoch), "{label}: the token");
        assert!(at >= self.told, "{label}: the token went back from {} to {at}", self.told);
        if self.in_snapshot {
            return self.take_snapshot(message, at);
        }
        assert!(!message.snapshot_complete, "{label}: a snapshot ended that had not begun");
        assert_eq!(message.checkpoint, message.items.is_empty(), "{label}: only a checkpoint is empty");
        for item in &message.items {
            let position = item.position;
            assert!(!item.snapshot, "{label}: a row of a snapshot among changes");
            if let Some(last) = self.last {
                assert!(position > last, "{label}: {position} after {last}");
                assert!(!self.dense || position == last + 1, "{label}: {position} follows {last}: events were lost");
            }
            // Whatever lies before the token was delivered with it or before it.
            assert!(position > self.told, "{label}: {position} comes after a token that said {}", self.told);
            assert!(position <= at, "{label}: {position} comes with a token that says {at}");
            let revision = Revision::decode(&item.revision).unwrap();
            assert_eq!(revision, Revision { log: self.log.into(), epoch, position }, "{label}: the change's revision");
            assert!(item.recorded >= self.recorded, "{label}: {position} was recorded before the event before it");
            self.recorded = item.recorded;
            self.last = Some(position);
            self.view.insert(item.name.clone(), item.state.clone());
        }
        if self.dense {
            let last = *self.last.get_or_insert(at);
            assert_eq!(at, last, "{label}: the token is ahead of the events delivered");
        }
        let named = message.revisions.iter().map(|text| Revision::decode(text).unwrap()).collect::<Vec<_>>();
        let (own, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|revision| revision.log == self.log);
        assert_eq!(own.iter().map(|own| own.position).collect::<Vec<_>>(), [at], "{label}: progress and token differ");
        self.items.extend(message.items);
        self.progress.push((others, self.items.len()));
        self.told = at;
        self.token = Some(message.token);
    }

    fn take_snapshot(&mut self, message: Message, at: i64) {
        let label = &self.label;
        assert!(!message.checkpoint, "{label}: a checkpoint within a snapshot");
        for item in &message.items {
            assert!(item.snapshot, "{label}: a change within a snapshot");
            assert_eq!(item.position, at, "{label}: a row of another snapshot");
            let known = self.view.insert(item.name.clone(), item.state.clone());
            assert_eq!(known, None, "{label}: {} is in the snapshot twice", item.name);
        }
        if message.snapshot_complete {
            (self.in_snapshot, self.last) = (false, Some(at));
            if let Some((_, through)) = self.missed.last_mut().filter(|(_, through)| *through == i64::MAX) {
                *through = at;
            }
        }
        (self.told, self.token) = (at, Some(message.token));
    }

    /// The positions delivered.
    pub fn positions(&self) -> Vec<i64> {
        self.items.iter().map(|item| item.position).collect()
    }

    /// The final state of what has such a name.
    pub fn view_of(&self, part: &str) -> BTreeMap<&str, &str> {
        let chosen = self.view.iter().filter(|(name, _)| name.contains(part));
        chosen.map(|(name, state)| (name.as_str(), state.as_str())).collect()
    }
}

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Takes every message as it comes.
    Steady,
    /// Takes a message when the writers have gone on for a while.
    Slow,
    /// Drops its stream at random and opens it again where it was.
    Restless,
    /// Takes a message, and stays away for a long while.
    Absent,
    /// Uses the unary twin with pages of random sizes.
    Paging,
}

/// How a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// With the oldest event.
    Earliest,
    /// With the next event.
    Now,
    /// With a snapshot.
    Snapshot,
}

/// What a reader does when its token has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The compactor waits for it, so that this must not happen.
    Never,
    /// It begins anew with a snapshot.
    Snapshot,
    /// It goes on with the oldest token.
    Oldest,
}

/// Where the servers are, how far the writers are, and how far the readers are whom the compactor must wait for.
#[derive(Clone)]
pub struct World {
    /// The number and the address of the server that is up, or was last.
    pub server: watch::Receiver<(usize, String)>,
    /// Steps that the writers have made.
    pub steps: watch::Receiver<u64>,
    /// The log's head once nothing more will be written.
    pub end: watch::Receiver<Option<i64>>,
}

impl World {
    /// The address of the server after the one with this number.
    pub async fn after(&self, number: usize) {
        let mut server = self.server.clone();
        let _ = server.wait_for(|(newer, _)| *newer > number).await.unwrap();
    }

    /// The number and the address of the server.
    pub fn server(&self) -> (usize, String) {
        self.server.borrow().clone()
    }

    /// Calls until there is an answer that is not a server's end.
    pub async fn insist<T, F: Future<Output = Result<T, Status>>>(&self, call: impl Fn(String) -> F) -> T {
        loop {
            let (number, url) = self.server();
            match call(url).await {
                Ok(answer) => return answer,
                Err(status) if portreeve_api::watch::is_retryable(&status) => self.after(number).await,
                Err(status) => panic!("refused: {status:?}"),
            }
        }
    }

    async fn steps(&self, more: u64) {
        let (mut steps, mut end) = (self.steps.clone(), self.end.clone());
        let until = *steps.borrow() + more;
        tokio::select! {
            _ = steps.wait_for(|steps| *steps >= until) => {}
            _ = end.wait_for(Option::is_some) => {}
        }
    }
}

/// One reader.
#[derive(Clone)]
pub struct Reader {
    /// What to call it.
    pub label: String,
    /// What it reads.
    pub tap: Tap,
    /// Whether it sees every event.
    pub dense: bool,
    /// How it begins.
    pub first: First,
    /// How it reads.
    pub style: Style,
    /// What it does when its token has expired.
    pub expiry: Expiry,
    /// How far it is.
    pub reached: Arc<AtomicI64>,
}

impl Reader {
    /// A reader that begins with the oldest event, and whom the compactor waits for.
    pub fn new(tap: Tap, style: Style) -> Self {
        let label = format!("{style:?} {tap:?}");
        let reached = Arc::new(AtomicI64::new(0));
        Self { label, tap, dense: false, first: First::Earliest, style, expiry: Expiry::Never, reached }
    }

    /// It sees every event.
    #[must_use]
    pub fn dense(self) -> Self {
        Self { dense: true, ..self }
    }

    /// It begins so, and does so when its token has expired.
    #[must_use]
    pub fn begins(self, first: First, expiry: Expiry) -> Self {
        Self { label: format!("{} from {first:?}", self.label), first, expiry, ..self }
    }

    fn start(&self, trace: &mut Trace, random: &mut StdRng) -> watch_start::Start {
        use watch_start::Start;
        // A snapshot that broke off goes on after its token, or begins anew.
        if trace.in_snapshot && random.random_bool(0.5) {
            trace.begin_snapshot();
        }
        match &trace.token {
            Some(token) => Start::ResumeToken(token.clone()),
            // A reader that comes after an expiry begins with a snapshot, whatever it began with before.
            None if trace.in_snapshot => Start::Snapshot(true),
            None => match self.first {
                First::Earliest => Start::Earliest(true),
                First::Now => Start::Now(true),
                First::Snapshot => Start::Snapshot(true),
            },
        }
    }

    /// Reads until the log's end; gives what it saw.
    pub async fn read(self, world: World, seed: u64) -> Trace {
        let mut random = StdRng::seed_from_u64(seed);
        let mut trace = Trace::new(&self.label, &self.tap, self.dense);
        match self.first {
            First::Earliest => trace.begin_at_the_first(),
            First::Snapshot => trace.begin_snapshot(),
            First::Now => {}
        }
        let mut failures = 0;
        loop {
            let (number, url) = world.server();
            let ended = if self.style == Style::Paging {
                self.turn_pages(&world, &url, &mut trace, &mut random).await
            } else {
                self.follow(&world, &url, &mut trace, &mut random).await
            };
            match ended {
                Ok(true) => return trace,
                Ok(false) => {}
                Err(status) if portreeve_api::watch::is_retryable(&status) => {
                    world.after(number).await;
                }
                Err(status) => {
                    failures += 1;
                    assert!(failures < 1_000, "{}: {status:?}", self.label);
                    self.expired(&status, &mut trace);
                }
            }
        }
    }

    fn expired(&self, status: &Status, trace: &mut Trace) {
        let refused = refusal(status);
        assert_eq!(refused.reason, "RESUME_TOKEN_EXPIRED", "{}: {status:?}", self.label);
        trace.expired += 1;
        match self.expiry {
            Expiry::Never => panic!("{}: expired although the compactor waits for it: {status:?}", self.label),
            Expiry::Snapshot => trace.begin_snapshot(),
            Expiry::Oldest => trace.go_on_after(&refused.metadata["oldest"]),
        }
    }

    fn over(&self, world: &World, trace: &Trace) -> bool {
        self.reached.store(trace.reached(), Ordering::SeqCst);
        (*world.end.borrow()).is_some_and(|end| {
            assert!(trace.reached() <= end, "{}: {} is beyond the end {end}", self.label, trace.reached());
            trace.reached() == end
        })
    }

    /// Follows one stream; whether the log's end was reached.
    async fn follow(&self, world: &World, url: &str, trace: &mut Trace, random: &mut StdRng) -> Result<bool, Status> {
        let mut stream = self.tap.open(url, self.start(trace, random)).await?;
        let patience = match self.style {
            Style::Restless => random.random_range(1..6),
            Style::Absent => 1,
            Style::Steady | Style::Slow | Style::Paging => usize::MAX,
        };
        let mut end = world.end.clone();
        for _ in 0..patience {
            if self.over(world, trace) {
                return Ok(true);
            }
            if self.style == Style::Slow {
                world.steps(random.random_range(1..4)).await;
            }
            tokio::select! {
                message = next(&mut stream, &self.label) => trace.take(message?),
                // Woken to look again whether it is over; only once.
                _ = end.changed(), if end.borrow().is_none() => {}
            }
        }
        if self.style == Style::Absent {
            drop(stream);
            world.steps(random.random_range(40..70)).await;
        }
        Ok(self.over(world, trace))
    }

    /// Turns pages; whether the log's end was reached.
    async fn turn_pages(
        &self,
        world: &World,
        url: &str,
        trace: &mut Trace,
        random: &mut StdRng,
    ) -> Result<bool, Status> {
        loop {
            let size = *[1, 7, 50, 501, 1_000].get(random.random_range(0..5)).unwrap();
            let (page, caught_up) = self.tap.page(url, trace.token.clone(), size).await?;
            trace.take(page);
            if self.over(world, trace) {
                return Ok(true);
            }
            if caught_up {
                world.steps(1).await;
            }
        }
    }
}

async fn next(
    stream: &mut (impl Stream<Item = Result<Message, Status>> + Unpin),
    label: &str,
) -> Result<Message, Status> {
    stream.next().await.unwrap_or_else(|| panic!("{label}: a stream ended without saying why"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = [3; 8];

    fn revision(position: i64) -> Revision {
        Revision { log: "referral".into(), epoch: EPOCH, position }
    }

    /// A message with these events and a token of that position.
    fn message(positions: &[i64], at: i64) -> Message {
        let item = |position: &i64| Item {
            position: *position,
            revision: revision(*position).encode(),
            recorded: *position,
            snapshot: false,
            name: format!("agencies/nca/referrals/{position}"),
            state: String::new(),
            what: "created",
        };
        Message {
            items: positions.iter().map(item).collect(),
            token: Resume { revision: revision(at), filter: 1, snapshot_after: None }.encode(),
            checkpoint: positions.is_empty(),
            revisions: vec![revision(at).encode()],
            snapshot_complete: false,
        }
    }

    fn sees(dense: bool, messages: Vec<Message>) -> bool {
        let seen = std::panic::catch_unwind(|| {
            let mut trace = Trace::new("made up", &Tap::referrals("agencies/nca", "agencies/-"), dense);
            trace.begin_at_the_first();
            for message in messages {
                trace.take(message);
            }
        });
        seen.is_ok()
    }

    #[test]
    fn the_checker_tells_good_histories_from_bad() {
        assert!(sees(true, vec![message(&[1, 2], 2), message(&[], 2), message(&[3], 3)]));
        assert!(sees(false, vec![message(&[1, 4], 6), message(&[], 7), message(&[9], 9)]));
        for (what, dense, messages) in [
            ("an event was lost", true, vec![message(&[1], 1), message(&[3], 3)]),
            ("an event came twice", true, vec![message(&[1], 1), message(&[1], 1)]),
            ("an event came twice within a message", false, vec![message(&[1, 1], 1)]),
            ("the order was not kept", false, vec![message(&[2, 1], 2)]),
            ("a checkpoint ran ahead", true, vec![message(&[1], 1), message(&[], 2)]),
            ("an event came behind a checkpoint", false, vec![message(&[], 5), message(&[4], 6)]),
            ("a token ran ahead", true, vec![message(&[1], 2)]),
            ("a token lagged", false, vec![message(&[1, 2], 1)]),
            ("a token went back", false, vec![message(&[], 5), message(&[], 4)]),
            ("a message held nothing", false, vec![Message { checkpoint: false, ..message(&[], 1) }]),
            (
                "progress and token differ",
                false,
                vec![Message { revisions: vec![revision(9).encode()], ..message(&[1], 1) }],
            ),
            (
                "another life of the log",
                false,
                vec![message(&[1], 1), {
                    let other = Revision { epoch: [4; 8], ..revision(2) };
                    let token = Resume { revision: other, filter: 1, snapshot_after: None }.encode();
                    Message { token, ..message(&[], 2) }
                }],
            ),
        ] {
            assert!(!sees(dense, messages), "{what}, and the checker did not see it");
        }
    }
}
