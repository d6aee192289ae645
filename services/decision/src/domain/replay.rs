//! Which rejections another version of their clause would not permit any more.

use portreeve_core::Timestamp;
use portreeve_core::id::Uuid;
use portreeve_core::name::ClauseName;

use super::ledger::changed;
use super::policy::in_force;
use super::{Case, Citation, ClauseVersion, Decision, Event, Outcome, State};

/// The version in force that ends the permission on which a decision rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The version.
    pub under: Citation,
    /// From when it is in force.
    pub since: Timestamp,
}

/// The permission on which a decision rests: of several clauses, the one that the platform put first.
pub fn permission(decision: &Decision) -> Option<&Citation> {
    match &decision.content.outcome {
        Outcome::PermittedByPolicy(cited) => cited.iter().next(),
        _ => None,
    }
}

/// Whether the permission of a version is ended at an instant, and under which version. `versions` are those of the clause.
pub fn ended(versions: &[ClauseVersion], permitting: u32, at: Timestamp) -> Option<Replay> {
    let version = in_force(versions, at)?;
    let ends = version.content.ends_permission_of.contains(&permitting);
    ends.then(|| Replay { under: version.citation.clone(), since: version.content.effective_from })
}

impl State {
    /// Whether a case is a candidate for replay at an instant, and why. The clause on which it rests must have been loaded.
    pub(super) fn replay_of(&self, case: &Case, at: Timestamp) -> Option<Replay> {
        let permitting = case.decision().filter(|_| case.withdrawal.is_none()).and_then(permission)?;
        ended(&self.clauses.get(&permitting.clause)?.versions, permitting.version, at)
    }

    /// Marks cases that rest on a clause as candidates for replay, or takes the mark off, as its version in force now has it.
    /// Of a case that rests on another clause meanwhile nothing is said: that clause was not loaded.
    pub(super) fn replay(&self, clause: &ClauseName, cases: &[Uuid], now: Timestamp) -> Vec<Event> {
        let rests = |case: &Case| case.decision().and_then(permission).is_some_and(|cited| cited.clause == *clause);
        let known = cases.iter().filter_map(|id| self.cases.get(id)).filter(|record| rests(&record.case));
        let moved = known.filter_map(|record| {
            let case = &record.case;
            let replay = self.replay_of(case, now);
            if replay == case.replay {
                return None;
            }
            let since = replay.as_ref().map_or(now, |replay| replay.since);
            let after = Case { replay, ..(**case).clone() };
            let at = since.max(case.latest_occurrence()).min(now);
            Some(Event::ReplayChanged(changed(case, after, at, self.referral_position, now)))
        });
        moved.collect()
    }
}
