//! Targets between the wire and the domain.

use portreeve_api::referral::v1 as wire;
use portreeve_core::canonical::Versions;
use portreeve_core::location::Location;
use portreeve_core::vocabulary::TargetKind;
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::wire::{read_time, told_time, write_time};
use prost::Message as _;

use crate::domain::{Handle, Target};

/// Reads a target; `evidence` says whether its referral carries some. Wrong fields are noted under `path`; the contract's own rules have been checked already.
pub(super) fn read_target(
    violations: &mut Violations,
    path: &str,
    target: wire::Target,
    evidence: bool,
    now: Timestamp,
) -> Option<Target> {
    let mut handles = Vec::with_capacity(target.handles.len());
    for (index, seen) in target.handles.into_iter().enumerate() {
        let field = format!("{path}.handles[{index}]");
        if !seen.handle.is_empty() && seen.handle.trim().is_empty() {
            violations.add(format!("{field}.handle"), "must hold more than white space");
        }
        let seen_from = told_time(violations, &format!("{field}.seen_from"), seen.seen_from.as_ref(), now);
        let until = format!("{field}.seen_until");
        let seen_until = told_time(violations, &until, seen.seen_until.as_ref(), now);
        if seen_from.zip(seen_until).is_some_and(|(from, until)| until < from) {
            violations.add(until, "must not be before seen_from");
        }
        handles.push(Handle { handle: seen.handle, seen_from, seen_until });
    }
    // A kind that is none was refused by the contract's rules.
    let kind = TargetKind::from_code(target.kind);
    let stands_in = kind.unwrap_or(TargetKind::Page);
    let location = Target::locate(stands_in, &target.url, &target.native_id, evidence, path, violations);
    Some(Target { kind: kind?, location: location?, native_id: target.native_id, handles })
}

/// A target for the wire.
pub(super) fn write_target(target: &Target) -> wire::Target {
    let versions = target.location.versions();
    wire::Target {
        kind: target.kind.code(),
        url: target.location.raw().to_owned(),
        native_id: target.native_id.clone(),
        canonical_url: target.location.canonical().to_owned(),
        handles: write_handles(&target.handles),
        base_rules_version: versions.base,
        rules_version: versions.platform,
    }
}

/// A target as it was recorded; what was erased is empty. `None` for one that this release did not write.
pub(super) fn read_recorded(target: &wire::Target) -> Option<Target> {
    let versions = Versions { base: target.base_rules_version, platform: target.rules_version };
    Some(Target {
        kind: TargetKind::from_code(target.kind)?,
        location: Location::recorded(&target.url, &target.canonical_url, versions).ok()?,
        native_id: target.native_id.clone(),
        handles: read_handles(&target.handles)?,
    })
}

fn write_handles(handles: &[Handle]) -> Vec<wire::TargetHandle> {
    let write = |seen: &Handle| wire::TargetHandle {
        handle: seen.handle.clone(),
        seen_from: seen.seen_from.map(write_time),
        seen_until: seen.seen_until.map(write_time),
    };
    handles.iter().map(write).collect()
}

fn read_handles(handles: &[wire::TargetHandle]) -> Option<Vec<Handle>> {
    let time = |time: &Option<prost_types::Timestamp>| match time {
        None => Some(None),
        Some(time) => read_time(time).ok().map(Some),
    };
    let read = |seen: &wire::TargetHandle| {
        let (seen_from, seen_until) = (time(&seen.seen_from)?, time(&seen.seen_until)?);
        Some(Handle { handle: seen.handle.clone(), seen_from, seen_until })
    };
    handles.iter().map(read).collect()
}

/// Handles as the database keeps them: as the contract writes them; empty for none.
pub fn encode_handles(handles: &[Handle]) -> Vec<u8> {
    wire::Target { handles: write_handles(handles), ..wire::Target::default() }.encode_to_vec()
}

/// The handles behind what the database keeps.
pub fn decode_handles(bytes: &[u8]) -> Option<Vec<Handle>> {
    read_handles(&wire::Target::decode(bytes).ok()?.handles)
}
