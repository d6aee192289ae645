//! `AuditService`: the signed root of a log's Merkle tree, and proofs from it. The same for every service.

pub mod key;

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::audit::v1 as wire;
use portreeve_core::audit::{Checkpoint, Claim, Hash, SigningKey, Tree, checkpoint};
use portreeve_core::name::OrganisationKind;
use portreeve_core::token::{Epoch, Page, fingerprint};
use portreeve_core::{Error, Principal, Reason, Result, limits};
use portreeve_storage::{EventLog, LoggedEvent};
use tonic::{Request, Response, Status};
use wire::audit_service_server::{AuditService, AuditServiceServer};

use crate::barrier;
use crate::status::IntoStatus as _;
use crate::wire::{page_size, position_key, principal, read_position, violations, write_time};

/// The logs of this process, and the key that their checkpoints are signed with.
#[derive(Clone)]
pub struct Audit {
    logs: Vec<Arc<dyn EventLog>>,
    key: Option<SigningKey>,
}

impl Audit {
    /// No log yet. Without a key no checkpoint is given.
    pub const fn new(key: Option<SigningKey>) -> Self {
        Self { logs: Vec::new(), key }
    }

    /// Adds a log.
    pub fn add(&mut self, log: Arc<dyn EventLog>) {
        self.logs.push(log);
    }

    /// The server of `AuditService`.
    pub fn server(self) -> AuditServiceServer<Self> {
        AuditServiceServer::new(self)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::REPLY_BYTES_MAX)
    }

    fn log(&self, name: &str) -> Result<&dyn EventLog> {
        let found = self.logs.iter().find(|log| name.strip_prefix("logs/") == Some(log.name()));
        found.map(AsRef::as_ref).ok_or_else(|| {
            Error::new(Reason::LogNotFound, format!("this server does not keep {name}")).with("log", name)
        })
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
        let caller = principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let log = self.log(&message.log)?;
        let revisions = barrier::caught_up(log, &[], &message.at_least).await?;
        let grown = self.grown(log).await?;
        let size = grown.size(message.size)?;
        let position = message.position;
        if position > size {
            return Err(beyond(position, size));
        }
        let logged = log.entries(position - 1, 1).await?.pop().filter(|logged| logged.event.position == position);
        let logged = logged.ok_or_else(|| Error::internal(format!("the log has lost event {position}")))?;
        if !shows(&caller, &logged)
            && !matches!(caller.kind(), OrganisationKind::Oversight | OrganisationKind::Operator)
        {
            return Err(caller.denied());
        }
        let hashes = log.proof(Claim::Inclusion { size, position }).await?;
        Ok(wire::GetInclusionProofResponse {
            entry: Some(write_entry(&caller, &logged)),
            hashes: write_hashes(hashes),
            checkpoint: grown.sign(log, size).await?,
            revisions,
        })
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
        let caller = principal(&request)?;
        let message = request.into_inner();
        violations(&message).into_result()?;
        let query = fingerprint(&[b"ListLogEntries", message.parent.as_bytes()]);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let log = self.log(&message.parent)?;
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
        Ok(wire::ListLogEntriesResponse {
            entries: sent.iter().map(|logged| write_entry(&caller, logged)).collect(),
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

/// Whether the caller may read what an event says.
fn shows(caller: &Principal, logged: &LoggedEvent) -> bool {
    caller.scope().allows(&logged.event.agency, &logged.event.platform)
}

fn write_entry(caller: &Principal, logged: &LoggedEvent) -> wire::LogEntry {
    let event = &logged.event;
    let content = shows(caller, logged).then(|| wire::LogEntryContent {
        recorded_at: Some(write_time(event.recorded_at)),
        agency: event.agency.clone(),
        platform: event.platform.clone(),
        actor: event.actor.clone(),
        body: event.body.clone(),
    });
    let leaf_hash = logged.leaf.map(|leaf| leaf.to_vec().into()).unwrap_or_default();
    wire::LogEntry { position: event.position, leaf_hash, content }
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
