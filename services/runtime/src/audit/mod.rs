//! `AuditService`: the signed root of a log's Merkle tree, and proofs from it. The same for every service.

pub mod key;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::audit::v1 as wire;
use portreeve_core::audit::{Checkpoint, Claim, Hash, SigningKey, Tree, checkpoint};
use portreeve_core::consultation::{Reading, Shown, Stretch, What, may_see};
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::principal::Scope;
use portreeve_core::token::{Epoch, Page, fingerprint};
use portreeve_core::{Error, Principal, Reason, Result, limits};
use portreeve_storage::{EventLog, LoggedEvent, StoredEvent};
use tonic::{Request, Response, Status};
use wire::audit_service_server::{AuditService, AuditServiceServer};

use crate::barrier;
use crate::reading::{AccessLog, reading};
use crate::status::IntoStatus as _;
use crate::wire::{page_size, position_key, principal, read_position, violations, write_time};

/// What a log is about: who may read its events follows from it.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// What agencies and platforms do. Theirs to read; what is no agency's is public.
    Dealings {
        /// Whether an event says what never reaches a platform: to one it comes as its leaf alone.
        graded: fn(&[u8]) -> bool,
        /// Whether an event is its agency's alone: to everybody else, the suite's services among them, it comes as its leaf.
        private: fn(&[u8]) -> bool,
    },
    /// Figures of everybody, of which reports show each what it may see. The log itself is the suite's own.
    Figures,
    /// Who read what.
    Readings,
}

/// A log of this process, and what is told of every read of it.
#[derive(Clone)]
struct Kept {
    subject: Subject,
    log: Arc<dyn EventLog>,
    access: Arc<dyn AccessLog>,
}

/// The logs of this process, and the key that their checkpoints are signed with.
#[derive(Clone)]
pub struct Audit {
    logs: Vec<Kept>,
    key: Option<SigningKey>,
}

impl Audit {
    /// No log yet. Without a key no checkpoint is given.
    pub const fn new(key: Option<SigningKey>) -> Self {
        Self { logs: Vec::new(), key }
    }

    /// Adds a log, with what is told of every read of it.
    pub fn add(&mut self, subject: Subject, log: &Arc<dyn EventLog>, access: Arc<dyn AccessLog>) {
        self.logs.push(Kept { subject, log: Arc::clone(log), access });
    }

    /// The server of `AuditService`.
    pub fn server(self) -> AuditServiceServer<Self> {
        AuditServiceServer::new(self)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    fn kept(&self, name: &str) -> Result<&Kept> {
        let found = self.logs.iter().find(|kept| name.strip_prefix("logs/") == Some(kept.log.name()));
        found.ok_or_else(|| {
            Error::new(Reason::LogNotFound, format!("this server does not keep {name}")).with("log", name)
        })
    }

    fn log(&self, name: &str) -> Result<&dyn EventLog> {
        self.kept(name).map(|kept| kept.log.as_ref())
    }

    /// The log's tree as it is, and the key to sign it with.
    async fn grown(&self, log: &dyn EventLog) -> Result<Grown<'_>> {
        let key = self.key.as_ref().ok_or_else(|| {
            Error::new(
                Reason::AuditKeyMissing,
                "this server has no key to sign checkpoints with; its operator names a key file with audit_key",
            )
        })?;
        let (epoch, tree) = log.tree().await?;
        Ok(Grown { key, epoch, tree })
    }

    async fn checkpoint(&self, request: Request<wire::GetCheckpointRequest>) -> Result<wire::GetCheckpointResponse> {
        principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let log = self.log(&message.log)?;
        let revisions = barrier::caught_up(log, &[], &message.at_least).await?;
        let grown = self.grown(log).await?;
        let size = grown.tree.size();
        let checkpoint = grown.sign(log, size).await?;
        let verifier_key = grown.key.verifier(&grown.origin(log));
        Ok(wire::GetCheckpointResponse { checkpoint, verifier_key, size, revisions })
    }

    async fn inclusion(
        &self,
        request: Request<wire::GetInclusionProofRequest>,
    ) -> Result<wire::GetInclusionProofResponse> {
        let reading = reading(&request)?;
        let caller = &reading.principal;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let kept = self.kept(&message.log)?;
        kept.access.check(&reading)?;
        let log = kept.log.as_ref();
        let revisions = barrier::caught_up(log, &[], &message.at_least).await?;
        let grown = self.grown(log).await?;
        let size = grown.size(message.size)?;
        let position = message.position;
        if position > size {
            return Err(beyond(position, size));
        }
        let logged = log.entries(position - 1, 1).await?.pop().filter(|logged| logged.event.position == position);
        let logged = logged.ok_or_else(|| Error::internal(format!("the log has lost event {position}")))?;
        if !kept.shows(caller, &logged.event)
            && !matches!(caller.kind(), OrganisationKind::Oversight | OrganisationKind::Operator)
        {
            return Err(caller.denied());
        }
        let hashes = log.proof(Claim::Inclusion { size, position }).await?;
        let checkpoint = grown.sign(log, size).await?;
        kept.record(&reading, std::slice::from_ref(&logged)).await?;
        let entry = Some(kept.write(caller, &logged));
        Ok(wire::GetInclusionProofResponse { entry, hashes: write_hashes(hashes), checkpoint, revisions })
    }

    async fn consistency(
        &self,
        request: Request<wire::GetConsistencyProofRequest>,
    ) -> Result<wire::GetConsistencyProofResponse> {
        principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let log = self.log(&message.log)?;
        let revisions = barrier::caught_up(log, &[], &message.at_least).await?;
        let grown = self.grown(log).await?;
        let (from, to) = (message.from_size, grown.size(message.to_size)?);
        if from > to {
            return Err(beyond(from, to));
        }
        let hashes = log.proof(Claim::Consistency { from, to }).await?;
        let checkpoint = grown.sign(log, to).await?;
        Ok(wire::GetConsistencyProofResponse { hashes: write_hashes(hashes), checkpoint, revisions })
    }

    async fn entries(&self, request: Request<wire::ListLogEntriesRequest>) -> Result<wire::ListLogEntriesResponse> {
        let reading = reading(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let query = fingerprint(&[b"ListLogEntries", message.parent.as_bytes()]);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let kept = self.kept(&message.parent)?;
        kept.access.check(&reading)?;
        let log = kept.log.as_ref();
        let revisions = barrier::caught_up(log, &[], &message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = log.entries(after, limit).await?;
        let mut bytes = 0;
        let fits = |logged: &&LoggedEvent| {
            bytes += logged.event.body.len();
            bytes <= limits::STREAM_BATCH_BYTES_MAX
        };
        // The first one comes however large it is.
        let count = found.iter().take_while(fits).count().max(1).min(found.len());
        let more = count < found.len() || found.len() == limit;
        let sent = found.get(..count).unwrap_or_default();
        let last = sent.last().filter(|_| more).map(|logged| position_key(logged.event.position));
        kept.record(&reading, sent).await?;
        Ok(wire::ListLogEntriesResponse {
            entries: sent.iter().map(|logged| kept.write(&reading.principal, logged)).collect(),
            next_page_token: last.map(|after| Page { query, after }.encode()).unwrap_or_default(),
            revisions,
        })
    }
}

/// A log's tree, and the key.
struct Grown<'k> {
    key: &'k SigningKey,
    epoch: Epoch,
    tree: Tree,
}

impl Grown<'_> {
    fn origin(&self, log: &dyn EventLog) -> String {
        checkpoint::origin(log.name(), self.epoch)
    }

    /// The signed root of the tree of so many events.
    async fn sign(&self, log: &dyn EventLog, size: i64) -> Result<String> {
        let root = if size == self.tree.size() {
            self.tree.root()
        } else {
            let root = log.proof(Claim::Root { size }).await?;
            root.first().copied().ok_or_else(|| Error::internal("a tree without a root"))?
        };
        self.key.sign(&Checkpoint { origin: self.origin(log), size, root })
    }

    /// The size asked for: 0 for all.
    fn size(&self, asked: i64) -> Result<i64> {
        match asked {
            0 => Ok(self.tree.size()),
            asked if asked <= self.tree.size() => Ok(asked),
            asked => Err(beyond(asked, self.tree.size())),
        }
    }
}

fn beyond(position: i64, size: i64) -> Error {
    Error::new(Reason::PositionOutOfRange, format!("{position} lies beyond the {size} events of the log"))
        .with("position", position)
        .with("size", size)
}

impl Kept {
    /// Whether the caller may read what an event says.
    fn shows(&self, caller: &Principal, event: &StoredEvent) -> bool {
        let scope = caller.scope();
        match self.subject {
            Subject::Dealings { graded, private } => {
                scope.allows(&event.agency, &event.platform)
                    && match scope {
                        Scope::Agency(_) => true,
                        Scope::Platform(_) => !graded(&event.body) && !private(&event.body),
                        Scope::All | Scope::Nothing => !private(&event.body),
                    }
            }
            Subject::Figures => scope == Scope::All,
            Subject::Readings => {
                let owner = owner(event).map(|owner| owner.to_string()).unwrap_or_default();
                scope == Scope::All || may_see(caller, &owner, &event.actor)
            }
        }
    }

    fn write(&self, caller: &Principal, logged: &LoggedEvent) -> wire::LogEntry {
        let event = &logged.event;
        let content = self.shows(caller, event).then(|| wire::LogEntryContent {
            recorded_at: Some(write_time(event.recorded_at)),
            agency: event.agency.clone(),
            platform: event.platform.clone(),
            actor: event.actor.clone(),
            body: event.body.clone(),
        });
        let leaf_hash = logged.leaf.map(|leaf| leaf.to_vec().into()).unwrap_or_default();
        wire::LogEntry { position: event.position, leaf_hash, content }
    }

    /// Records whose events the caller is about to be shown the content of.
    async fn record(&self, reading: &Reading, sent: &[LoggedEvent]) -> Result<()> {
        let mut of = BTreeMap::<Option<OrganisationName>, i64>::new();
        for LoggedEvent { event, .. } in sent {
            // What is no agency's is everybody's to know, but for the figures and the readings.
            let public = matches!(self.subject, Subject::Dealings { .. }) && event.agency.is_empty();
            if !public && self.shows(&reading.principal, event) {
                *of.entry(owner(event)).or_default() += 1;
            }
        }
        let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return Ok(()) };
        let (after, through) = (first.event.position - 1, last.event.position);
        let shown = of.into_iter().map(|(owner, rows)| {
            let log = self.log.name().to_owned();
            Shown { owner, what: What::Stretch(Stretch { log, after, through, rows, snapshot: false }) }
        });
        self.access.record(reading, shown.collect()).await
    }
}

/// Whose an event is: an agency's, else a platform's.
fn owner(event: &StoredEvent) -> Option<OrganisationName> {
    let of = |kind, id: &str| OrganisationName::new(kind, id).ok();
    of(OrganisationKind::Agency, &event.agency).or_else(|| of(OrganisationKind::Platform, &event.platform))
}

fn write_hashes(hashes: Vec<Hash>) -> Vec<bytes::Bytes> {
    hashes.into_iter().map(|hash| hash.to_vec().into()).collect()
}

#[async_trait]
impl AuditService for Audit {
    async fn get_checkpoint(
        &self,
        request: Request<wire::GetCheckpointRequest>,
    ) -> Result<Response<wire::GetCheckpointResponse>, Status> {
        self.checkpoint(request).await.map(Response::new).or_status()
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<wire::GetInclusionProofRequest>,
    ) -> Result<Response<wire::GetInclusionProofResponse>, Status> {
        self.inclusion(request).await.map(Response::new).or_status()
    }

    async fn get_consistency_proof(
        &self,
        request: Request<wire::GetConsistencyProofRequest>,
    ) -> Result<Response<wire::GetConsistencyProofResponse>, Status> {
        self.consistency(request).await.map(Response::new).or_status()
    }

    async fn list_log_entries(
        &self,
        request: Request<wire::ListLogEntriesRequest>,
    ) -> Result<Response<wire::ListLogEntriesResponse>, Status> {
        self.entries(request).await.map(Response::new).or_status()
    }
}
