//! Logs as their readers see them: signed roots, and entries that are held against them.

use portreeve_api::audit::v1 as audit;
use portreeve_core::Timestamp;
use portreeve_core::audit::{Check, Checkpoint, Entry, Hash, checkpoint};

use crate::{Client, sample};

/// The signed root of a log, which was opened with the key that came with it, and the answer that it came in.
pub async fn signed(client: &Client, log: &str, at_least: &[String]) -> (Checkpoint, audit::GetCheckpointResponse) {
    let request = audit::GetCheckpointRequest { log: log.into(), at_least: at_least.to_vec() };
    let reply = client.audits().get_checkpoint(request).await.unwrap().into_inner();
    let read = checkpoint::open(&reply.checkpoint, &reply.verifier_key).unwrap();
    assert_eq!(read.size, reply.size);
    (read, reply)
}

/// A hash of the wire.
pub fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap()
}

/// What an entry says, if it is shown.
pub fn content(entry: &audit::LogEntry) -> Option<Entry<'_>> {
    let content = entry.content.as_ref()?;
    Some(Entry {
        position: entry.position,
        recorded_at: Timestamp::from_micros(sample::micros(content.recorded_at.as_ref())),
        agency: &content.agency,
        platform: &content.platform,
        actor: &content.actor,
        body: &content.body,
    })
}

/// Every entry of a log, in pages of an odd size.
pub async fn entries(client: &Client, log: &str) -> Vec<audit::LogEntry> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = audit::ListLogEntriesRequest {
            parent: log.into(),
            page_size: 7,
            page_token,
            ..audit::ListLogEntriesRequest::default()
        };
        let reply = client.audits().list_log_entries(request).await.unwrap().into_inner();
        all.extend(reply.entries);
        if reply.next_page_token.is_empty() {
            return all;
        }
        page_token = reply.next_page_token;
    }
}

/// What is found in entries, with or without their content.
pub fn check(entries: &[audit::LogEntry]) -> Check {
    let mut check = Check::new();
    for entry in entries {
        check.take(entry.position, hash(&entry.leaf_hash), content(entry));
    }
    check
}
