//! A log or a proof in a file, to be verified anywhere: JSON lines (ProtoJSON), the first of them a
//! `GetCheckpointResponse` that a `LogEntry` for each event follows, or a single `GetInclusionProofResponse`.

use std::io::BufRead;

use portreeve_api::audit::v1::{GetCheckpointResponse, GetInclusionProofResponse, LogEntry};
use portreeve_core::Timestamp;
use portreeve_core::audit::{Check, Entry, Hash};

use crate::cli::failure::{Failure, Result};
use crate::cli::json;

pub(super) const CHECKPOINT: &str = "portreeve.audit.v1.GetCheckpointResponse";
pub(super) const ENTRY: &str = "portreeve.audit.v1.LogEntry";
pub(super) const PROOF: &str = "portreeve.audit.v1.GetInclusionProofResponse";

/// What a file holds.
#[derive(Debug)]
pub(super) enum Evidence {
    /// A whole log.
    Log(GetCheckpointResponse, Vec<LogEntry>),
    /// One event of it.
    Proof(Box<GetInclusionProofResponse>),
}

impl Evidence {
    /// Reads a file's lines.
    pub(super) fn read(lines: impl BufRead) -> Result<Self> {
        let wrong = |number: usize, error: Failure| Failure::Usage(format!("line {number}: {error}"));
        let mut lines = (1..).zip(lines.lines());
        let (_, first) = lines.next().ok_or_else(|| Failure::Usage("the file is empty".to_owned()))?;
        let first = first?;
        if let Ok(proof) = json::read::<GetInclusionProofResponse>(&first, PROOF) {
            return Ok(Self::Proof(Box::new(proof)));
        }
        let checkpoint = json::read(&first, CHECKPOINT).map_err(|error| wrong(1, error))?;
        let entry = |(number, line): (usize, std::io::Result<String>)| {
            json::read(&line?, ENTRY).map_err(|error| wrong(number, error))
        };
        Ok(Self::Log(checkpoint, lines.map(entry).collect::<Result<_>>()?))
    }
}

/// A hash from the wire; one that is none is equal to no hash.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or_default()
}

/// The event's content as its leaf covers it; `None` if it was not shown.
pub(super) fn content(entry: &LogEntry) -> Option<Entry<'_>> {
    let content = entry.content.as_ref()?;
    let time = content.recorded_at.unwrap_or_default();
    Some(Entry {
        position: entry.position,
        recorded_at: Timestamp::from_parts(time.seconds, time.nanos).unwrap_or_default(),
        agency: &content.agency,
        platform: &content.platform,
        actor: &content.actor,
        body: &content.body,
    })
}

/// Adds an event to the check of its log.
pub(super) fn take(check: &mut Check, entry: &LogEntry) {
    check.take(entry.position, hash(&entry.leaf_hash), content(entry));
}
