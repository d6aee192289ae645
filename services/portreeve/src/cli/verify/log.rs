//! `portreeve verify log`: is this log the one that was signed, and does it only grow?

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use portreeve_api::audit::v1::{
    GetCheckpointRequest, GetConsistencyProofRequest, GetInclusionProofRequest, GetInclusionProofResponse,
    ListLogEntriesRequest, LogEntry,
};
use portreeve_core::audit::{Check, Checkpoint, Hash, hex};

use super::evidence::{self, Evidence};
use super::verdict::{believe, hold, hold_event, hold_growth};
use crate::cli::connection::{Connection, Session};
use crate::cli::failure::{Failure, Result};
use crate::cli::json;
use crate::cli::words::grouped;
use crate::suite::Service;

/// Events of one page.
const PAGE: i32 = 1_000;

/// Verify that a log is the one that was signed: no event changed, removed, inserted or moved
///
/// Downloads a log and holds every event that the caller may read, and the leaf of every other, against the signed root;
/// with --since, against an earlier checkpoint too. With a FILE that --save has written, it needs no server.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  portreeve verify log --as operators/exchange --log decision --save-checkpoint last.checkpoint\n  \
    portreeve verify log --as agencies/nca --verifier audit.pub --since last.checkpoint --proofs\n  \
    portreeve verify log --as agencies/nca --position 42 --save proof.jsonl\n  \
    portreeve verify log proof.jsonl --verifier audit.pub\n\n\
    Ends with 0 if it is, 10 if an event was changed, 11 removed, 12 inserted, 13 moved; 14 if the events are not those of \
    the signed root, 15 if the checkpoint's signature cannot be believed, 16 if an earlier checkpoint says otherwise."
)]
pub(super) struct Log {
    /// A log or a proof that --save has written; without it, the server is asked
    file: Option<PathBuf>,
    /// The log
    #[arg(long = "log", value_enum, default_value_t = Service::Referral, conflicts_with = "file")]
    service: Service,
    /// Its access log instead: who read what
    #[arg(long, conflicts_with = "file")]
    access: bool,
    /// The key that verifies checkpoints, NAME+ID+KEY, or a file with it; without it, the one that the server names
    #[arg(long)]
    verifier: Option<String>,
    /// A checkpoint from before, which the log must still begin with
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Verify the event at this position alone, by its proof
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..), conflicts_with = "file")]
    position: Option<i64>,
    /// Download no events: with --since, ask for the proof that the log only grew
    #[arg(long, conflicts_with = "file")]
    proofs: bool,
    /// Write what was verified to a file, for verifying it without the server
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    save: Option<PathBuf>,
    /// Write the checkpoint to a file, for --since
    #[arg(long, value_name = "FILE")]
    save_checkpoint: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Log {
    pub(super) async fn run(self) -> Result<()> {
        let key = self.verifier.as_deref().map(read_key).transpose()?;
        match &self.file {
            Some(file) => self.offline(file, key),
            None => self.online(key).await,
        }
    }

    fn offline(&self, file: &Path, key: Option<String>) -> Result<()> {
        let key =
            key.ok_or_else(|| Failure::Usage("--verifier is missing: a file cannot vouch for itself".to_owned()))?;
        let reader = BufReader::new(File::open(file).map_err(|error| Failure::file(file, &error))?);
        match Evidence::read(reader)? {
            Evidence::Log(header, entries) => {
                let signed = believe(&header.checkpoint, &key)?;
                let earlier = self.earlier(&key)?;
                let mut check = Check::new();
                for entry in &entries {
                    evidence::take(&mut check, entry);
                }
                hold(&check, &signed, earlier.as_ref())?;
                self.keep(&header.checkpoint)?;
                said(&check, &signed, earlier.as_ref())
            }
            Evidence::Proof(proof) => {
                let signed = believe(&proof.checkpoint, &key)?;
                event(&proof, &signed)?;
                self.keep(&proof.checkpoint)
            }
        }
    }

    async fn online(&self, key: Option<String>) -> Result<()> {
        let session = self.connection.open(None).await?;
        let log = format!("logs/{}{}", self.service, if self.access { "-access" } else { "" });
        let request = GetCheckpointRequest { log: log.clone(), ..GetCheckpointRequest::default() };
        let asked = session.call(|| {
            let (mut client, request) = (session.audits(self.service), request.clone());
            async move { client.get_checkpoint(request).await }
        });
        let mut header = asked.await?;
        header.revisions.clear();
        let key = if let Some(key) = key {
            key
        } else {
            say!("The key is the one that the server names; compare it with the one that its operator published:")?;
            say!("  {}", header.verifier_key)?;
            header.verifier_key.clone()
        };
        let signed = believe(&header.checkpoint, &key)?;
        let earlier = self.earlier(&key)?;
        if self.proofs || self.position.is_some() {
            self.prove(&session, &log, &signed, earlier.as_ref()).await?;
            return self.keep(&header.checkpoint);
        }
        let mut save = match &self.save {
            Some(path) => {
                let file = File::create(path).map_err(|error| Failure::file(path, &error))?;
                let mut file = BufWriter::new(file);
                writeln!(file, "{}", json::line(&header, evidence::CHECKPOINT)?)?;
                Some(file)
            }
            None => None,
        };
        let mut check = Check::new();
        let mut page_token = String::new();
        loop {
            let (entries, next) = page(&session, self.service, &log, page_token).await?;
            // What came after the checkpoint was signed is none of its business.
            for entry in entries.iter().filter(|entry| entry.position <= signed.size) {
                evidence::take(&mut check, entry);
                if let Some(file) = &mut save {
                    writeln!(file, "{}", json::line(entry, evidence::ENTRY)?)?;
                }
            }
            let reached = entries.last().is_none_or(|entry| entry.position >= signed.size);
            if next.is_empty() || reached {
                break;
            }
            page_token = next;
        }
        if let Some(mut file) = save {
            file.flush()?;
        }
        hold(&check, &signed, earlier.as_ref())?;
        self.keep(&header.checkpoint)?;
        said(&check, &signed, earlier.as_ref())
    }

    /// Verifies by proofs alone.
    async fn prove(
        &self,
        session: &Session,
        log: &str,
        signed: &Checkpoint,
        earlier: Option<&Checkpoint>,
    ) -> Result<()> {
        if let Some(earlier) = earlier {
            let (from_size, to_size) = (earlier.size.min(signed.size), signed.size);
            let request = GetConsistencyProofRequest {
                log: log.to_owned(),
                from_size,
                to_size,
                ..GetConsistencyProofRequest::default()
            };
            let proof = session.call(|| {
                let (mut client, request) = (session.audits(self.service), request.clone());
                async move { client.get_consistency_proof(request).await }
            });
            hold_growth(signed, earlier, &hashes(&proof.await?.hashes))?;
            say!("{} only grew, from {} to {} events", signed.origin, grouped(earlier.size), grouped(signed.size))?;
        }
        let Some(position) = self.position else {
            return if earlier.is_some() {
                Ok(())
            } else {
                Err(Failure::Usage("--proofs needs --since or --position: something to prove".to_owned()))
            };
        };
        let request = GetInclusionProofRequest {
            log: log.to_owned(),
            position,
            size: signed.size,
            ..GetInclusionProofRequest::default()
        };
        let asked = session.call(|| {
            let (mut client, request) = (session.audits(self.service), request.clone());
            async move { client.get_inclusion_proof(request).await }
        });
        let mut proof = asked.await?;
        proof.revisions.clear();
        event(&proof, signed)?;
        match &self.save {
            Some(path) => write(path, &format!("{}\n", json::line(&proof, evidence::PROOF)?)),
            None => Ok(()),
        }
    }

    /// The checkpoint from before.
    fn earlier(&self, key: &str) -> Result<Option<Checkpoint>> {
        let Some(path) = &self.since else { return Ok(None) };
        let note = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        believe(&note, key).map(Some)
    }

    fn keep(&self, note: &str) -> Result<()> {
        self.save_checkpoint.as_ref().map_or(Ok(()), |path| write(path, note))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Failure::file(path, &error))
}

/// A key as it was given, or from the file that was named.
fn read_key(key: &str) -> Result<String> {
    if key.contains('+') {
        return Ok(key.to_owned());
    }
    let path = Path::new(key);
    fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

async fn page(session: &Session, service: Service, log: &str, page_token: String) -> Result<(Vec<LogEntry>, String)> {
    let request = ListLogEntriesRequest {
        parent: log.to_owned(),
        page_size: PAGE,
        page_token,
        ..ListLogEntriesRequest::default()
    };
    let page = session.call(|| {
        let (mut client, request) = (session.audits(service), request.clone());
        async move { client.list_log_entries(request).await }
    });
    let page = page.await?;
    Ok((page.entries, page.next_page_token))
}

fn hashes(wire: &[impl AsRef<[u8]>]) -> Vec<Hash> {
    wire.iter().map(|bytes| evidence::hash(bytes.as_ref())).collect()
}

/// Verifies the proof of one event.
fn event(proof: &GetInclusionProofResponse, signed: &Checkpoint) -> Result<()> {
    let entry = proof.entry.clone().unwrap_or_default();
    let content = evidence::content(&entry);
    let own = content.map(|content| content.leaf());
    let position = entry.position;
    hold_event(signed, position, evidence::hash(&entry.leaf_hash), own, &hashes(&proof.hashes))?;
    let of = if own.is_some() { "as it is shown" } else { "by its leaf; its content was not shown" };
    say!("event {} is in {} of {} events, {of}", grouped(position), signed.origin, grouped(signed.size))
}

/// Says that everything is as it was signed.
fn said(check: &Check, signed: &Checkpoint, earlier: Option<&Checkpoint>) -> Result<()> {
    say!("{}: {} events are those that were signed", signed.origin, grouped(signed.size))?;
    let contents = check.contents();
    if contents < signed.size {
        let others = grouped(signed.size - contents);
        say!(
            "  {} by their content; {others} by their leaf alone, as the caller may not read them",
            grouped(contents)
        )?;
    }
    say!("  root {}", hex(&signed.root))?;
    match earlier {
        Some(earlier) => say!("  the first {} are those of the earlier checkpoint", grouped(earlier.size)),
        None => Ok(()),
    }
}
