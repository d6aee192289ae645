//! What a check comes to, and the exit code that tells it to a script.

use portreeve_core::audit::checkpoint::{self, Distrust};
use portreeve_core::audit::{Check, Checkpoint, Finding, Hash, tree};

use crate::cli::failure::{Failure, Result};

/// The exit codes, as the command's help tells them.
const CHANGED: u8 = 10;
const REMOVED: u8 = 11;
const INSERTED: u8 = 12;
const REORDERED: u8 = 13;
const OTHER_TREE: u8 = 14;
const NOT_BELIEVED: u8 = 15;
const REWRITTEN: u8 = 16;
const OTHER_FIGURES: u8 = 17;
const ANOTHER_LOG: u8 = 18;

fn code(finding: Finding) -> u8 {
    match finding {
        Finding::Changed { .. } => CHANGED,
        Finding::Removed { .. } => REMOVED,
        Finding::Inserted { .. } => INSERTED,
        Finding::Reordered { .. } => REORDERED,
        Finding::OtherTree => OTHER_TREE,
    }
}

fn disproved(code: u8, text: impl Into<String>) -> Failure {
    Failure::Disproved { code, text: text.into() }
}

/// The logs give other figures than those that were published.
pub(super) fn other_figures(how: &str) -> Failure {
    disproved(OTHER_FIGURES, format!("the logs give other figures: {how}"))
}

/// A log is not the one that was counted.
pub(super) fn another_log(text: impl Into<String>) -> Failure {
    disproved(ANOTHER_LOG, text)
}

/// The checkpoint in a signed note, if it is signed with the key.
pub(super) fn believe(note: &str, key: &str) -> Result<Checkpoint> {
    checkpoint::open(note, key).map_err(|distrust| match distrust {
        Distrust::Key => Failure::Usage(distrust.to_string()),
        _ => disproved(NOT_BELIEVED, distrust.to_string()),
    })
}

/// Holds a whole log against its checkpoint, and against an earlier one.
pub(super) fn hold(check: &Check, signed: &Checkpoint, earlier: Option<&Checkpoint>) -> Result<()> {
    let findings = check.against(signed);
    if let Some(first) = findings.first() {
        let lines = findings.iter().map(ToString::to_string).collect::<Vec<_>>();
        return Err(disproved(code(*first), lines.join("\n  ")));
    }
    let Some(earlier) = earlier else { return Ok(()) };
    grown(signed, earlier, |earlier| check.tree(earlier.size).root() == earlier.root)
}

/// Holds a proof that a log only grew against both checkpoints.
pub(super) fn hold_growth(signed: &Checkpoint, earlier: &Checkpoint, proof: &[Hash]) -> Result<()> {
    grown(signed, earlier, |earlier| tree::extends((signed.size, signed.root), (earlier.size, earlier.root), proof))
}

fn grown(signed: &Checkpoint, earlier: &Checkpoint, begins_with: impl FnOnce(&Checkpoint) -> bool) -> Result<()> {
    let Checkpoint { origin, size, .. } = earlier;
    if signed.origin != *origin {
        return Err(disproved(
            REWRITTEN,
            format!("the earlier checkpoint is of {origin}, this log is {}: it was begun anew", signed.origin),
        ));
    }
    if signed.size < *size {
        let text = format!("the log had {size} events under the earlier checkpoint and has {} now", signed.size);
        return Err(disproved(REWRITTEN, text));
    }
    if begins_with(earlier) {
        Ok(())
    } else {
        Err(disproved(REWRITTEN, format!("the first {size} events are not those of the earlier checkpoint")))
    }
}

/// Holds the proof that an event is in the log against its checkpoint. `own` is the leaf that its content makes.
pub(super) fn hold_event(
    signed: &Checkpoint,
    position: i64,
    leaf: Hash,
    own: Option<Hash>,
    proof: &[Hash],
) -> Result<()> {
    if own.is_some_and(|own| own != leaf) {
        return Err(disproved(CHANGED, Finding::Changed { position }.to_string()));
    }
    if tree::includes(signed.size, signed.root, position, leaf, proof) {
        Ok(())
    } else {
        Err(disproved(OTHER_TREE, format!("the proof does not lead from event {position} to the signed root")))
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::Timestamp;
    use portreeve_core::audit::{Entry, SigningKey};

    use super::*;

    fn entry(position: i64) -> Entry<'static> {
        let recorded_at = Timestamp::from_micros(1);
        Entry { position, recorded_at, agency: "nca", platform: "", actor: "agencies/nca", body: b"x" }
    }

    fn signed(size: i64) -> (Check, Checkpoint) {
        let mut check = Check::new();
        for position in 1..=size {
            check.take(position, entry(position).leaf(), Some(entry(position)));
        }
        let root = check.tree(size).root();
        (check, Checkpoint { origin: "portreeve/referral/00".to_owned(), size, root })
    }

    fn code_of(result: &Result<()>) -> u8 {
        match result {
            Ok(()) => 0,
            Err(Failure::Disproved { code, .. }) => *code,
            Err(_) => 2,
        }
    }

    #[test]
    fn each_kind_of_tampering_has_its_code() {
        let (check, now) = signed(9);
        let (_, earlier) = signed(5);
        assert_eq!(code_of(&hold(&check, &now, Some(&earlier))), 0);
        assert_eq!(code_of(&hold(&check, &earlier, Some(&now))), 12, "more events than were signed");
        let shorter = Checkpoint { size: 10, ..earlier.clone() };
        assert_eq!(code_of(&hold(&check, &now, Some(&shorter))), 16);
        let foreign = Checkpoint { origin: "portreeve/referral/01".to_owned(), ..earlier.clone() };
        assert_eq!(code_of(&hold(&check, &now, Some(&foreign))), 16);
        let other = Checkpoint { root: now.root, ..earlier };
        assert_eq!(code_of(&hold(&check, &now, Some(&other))), 16);
        assert_eq!(code_of(&hold(&check, &Checkpoint { root: other.root, size: 9, ..now.clone() }, None)), 0);
        assert_eq!(code_of(&hold(&check, &Checkpoint { root: [0; 32], ..now.clone() }, None)), 14);
        assert_eq!(code_of(&hold_event(&now, 1, entry(1).leaf(), Some(entry(2).leaf()), &[])), 10);
        assert_eq!(code_of(&hold_event(&now, 1, entry(1).leaf(), None, &[])), 14);
        let kinds = [
            Finding::Changed { position: 1 },
            Finding::Removed { position: 1 },
            Finding::Inserted { position: 1 },
            Finding::Reordered { position: 1, recorded_at: 2 },
            Finding::OtherTree,
        ];
        assert_eq!(kinds.map(code), [10, 11, 12, 13, 14]);
    }

    #[test]
    fn a_checkpoint_is_believed_with_its_key_only() {
        let (_, now) = signed(3);
        let key = SigningKey::from_seed([1; 32]);
        let note = key.sign(&now).unwrap();
        assert_eq!(believe(&note, &key.verifier(&now.origin)).unwrap(), now);
        let other = SigningKey::from_seed([2; 32]).verifier(&now.origin);
        assert_eq!(code_of(&believe(&note, &other).map(drop)), 15);
        assert_eq!(code_of(&believe(&note, "no key").map(drop)), 2);
    }
}
