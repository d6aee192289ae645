//! What the decision service keeps, on either engine.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::access::{Reader, View};
use portreeve_core::agreement::Agreement;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, ChallengeName, ClauseName, OrganisationName, ReferralName};
use portreeve_core::principal::Scope;
use portreeve_core::{Clock, IdSource, Principal, Result, Timestamp};
use portreeve_storage::{Database, Parts};
use tokio::task::JoinHandle;

use crate::domain::{
    Case, CaseRecord, Challenge, ChallengeKind, Citation, Clause, ClauseVersion, Clock as CaseClock, ClockKind,
    ClockState, Decision, Discrepancy, Ledger, ResponseTimes, Stage, Status, Stay,
};

pub mod postgres;
pub(crate) mod sql_row;
pub mod sqlite;

/// The service's name, its log's and its schema's.
pub const SERVICE: &str = "decision";
/// The name of its access log.
pub const ACCESS: &str = "decision-access";

/// The log that the service follows.
pub const FOLLOWS: &str = "referral";

/// What a list or a stream of cases selects. Empty lists select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseFilter {
    /// One platform only.
    pub platform: Option<String>,
    /// Statuses.
    pub statuses: Vec<Status>,
    /// Agencies.
    pub agencies: Vec<String>,
    /// Grounds by their number in the contract.
    pub grounds: Vec<i32>,
    /// Natures by their number in the contract.
    pub natures: Vec<i32>,
    /// Kinds of target by their number in the contract.
    pub target_kinds: Vec<i32>,
    /// Referred at or after, by the agency's account.
    pub submitted_from: Option<Timestamp>,
    /// Referred before, by the agency's account.
    pub submitted_until: Option<Timestamp>,
    /// Candidates for replay only.
    pub replay_candidates: bool,
    /// With one of these discrepancies.
    pub discrepancies: Vec<Discrepancy>,
    /// Of one of these operations, as the contract names them.
    pub operations: Vec<String>,
}

fn any<T: PartialEq>(chosen: &[T], value: &T) -> bool {
    chosen.is_empty() || chosen.contains(value)
}

fn within(from: Option<Timestamp>, until: Option<Timestamp>, at: Timestamp) -> bool {
    from.is_none_or(|from| at >= from) && until.is_none_or(|until| at < until)
}

impl CaseFilter {
    /// Whether a case is selected: the same rule as the statement's, for streams. A test holds them together.
    pub fn selects(&self, case: &Case) -> bool {
        let referred = &case.referred;
        self.platform.as_ref().is_none_or(|platform| *platform == referred.platform)
            && any(&self.statuses, &case.status())
            && any(&self.agencies, &referred.name.agency)
            && any(&self.grounds, &referred.ground)
            && any(&self.natures, &referred.nature)
            && any(&self.target_kinds, &referred.target.kind)
            && any(&self.operations, &referred.operation)
            && within(self.submitted_from, self.submitted_until, referred.occurred_at)
            && (!self.replay_candidates || case.replay.is_some())
            && (self.discrepancies.is_empty() || case.discrepancy().is_some_and(|of| self.discrepancies.contains(&of)))
    }

    /// Whether a change of a case is selected: also the one with which the case ceases to be what is asked for, a candidate for
    /// replay or one with a discrepancy.
    pub fn selects_change(&self, case: &Case, replay_before: bool, discrepancy_before: i32) -> bool {
        let differed = self.discrepancies.iter().any(|of| of.code() == discrepancy_before);
        let mut wider = self.clone();
        wider.replay_candidates &= !replay_before;
        if differed {
            wider.discrepancies.clear();
        }
        wider.selects(case)
    }

    /// Whether the filter may select what is seen so: nobody finds a case by its operation who does not see that.
    pub fn shows(&self, case: &Case, scope: &Scope) -> bool {
        self.operations.is_empty() || !matches!(scope, Scope::Agency(own) if *own != case.referred.name.agency)
    }

    /// Whether nothing but the platform narrows it.
    pub fn is_whole(&self) -> bool {
        *self == Self { platform: self.platform.clone(), ..Self::default() }
    }
}

/// What a list or a stream of decisions selects. Empty lists select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// One platform only.
    pub platform: Option<String>,
    /// One case only.
    pub case: Option<Uuid>,
    /// Outcomes by their number in the contract.
    pub outcomes: Vec<i32>,
    /// Kinds by their number in the contract.
    pub kinds: Vec<i32>,
    /// Agencies.
    pub agencies: Vec<String>,
    /// Clauses cited, at any version.
    pub clauses: Vec<ClauseName>,
    /// Decided at or after.
    pub decided_from: Option<Timestamp>,
    /// Decided before.
    pub decided_until: Option<Timestamp>,
}

impl DecisionFilter {
    /// Whether the latest decision on a case is selected: the same rule as the statement's, for streams.
    pub fn selects(&self, case: &Case) -> bool {
        let Some(decision) = case.decision() else { return false };
        let content = &decision.content;
        self.platform.as_ref().is_none_or(|platform| *platform == case.referred.platform)
            && self.case.is_none_or(|id| id == case.referred.name.id)
            && any(&self.outcomes, &content.outcome.kind().code())
            && any(&self.kinds, &content.kind.code())
            && any(&self.agencies, &case.referred.name.agency)
            && (self.clauses.is_empty() || content.clauses().any(|cited| self.clauses.contains(&cited.clause)))
            && within(self.decided_from, self.decided_until, decision.decided_at)
    }
}

/// What a list of challenges selects. Empty lists select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChallengeFilter {
    /// One platform only.
    pub platform: Option<String>,
    /// One case only.
    pub case: Option<Uuid>,
    /// Only those that this organisation filed, whatever else it sees.
    pub filed_by: Option<OrganisationName>,
    /// Of referrals of these agencies.
    pub agencies: Vec<String>,
    /// Kinds.
    pub kinds: Vec<ChallengeKind>,
    /// Stages.
    pub stages: Vec<Stage>,
    /// Open ones only.
    pub open: bool,
    /// Only those whose answer is due before.
    pub due_before: Option<Timestamp>,
}

impl ChallengeFilter {
    /// Whether a challenge is selected, as it is shown.
    pub fn selects(&self, challenge: &Challenge) -> bool {
        any(&self.kinds, &challenge.kind)
            && any(&self.stages, &challenge.stage())
            && (!self.open || challenge.is_open())
            && self.due_before.is_none_or(|before| challenge.due_at().is_some_and(|due| due < before))
    }
}

/// What a list or a stream of clocks selects. Empty lists select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockFilter {
    /// One platform only.
    pub platform: Option<String>,
    /// Of referrals of these agencies.
    pub agencies: Vec<String>,
    /// Kinds.
    pub kinds: Vec<ClockKind>,
    /// States.
    pub states: Vec<ClockState>,
    /// Only those whose time is over before.
    pub due_before: Option<Timestamp>,
}

impl ClockFilter {
    /// Whether a clock is selected, as it is shown.
    pub fn selects(&self, clock: &CaseClock) -> bool {
        any(&self.kinds, &clock.key.kind)
            && any(&self.states, &clock.state())
            && self.due_before.is_none_or(|before| clock.due_at().is_some_and(|due| due < before))
    }
}

/// A challenge as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownChallenge {
    /// The position of the event that filed it.
    pub filed: i64,
    /// The case.
    pub case: CaseName,
    /// The agency whose referral it is.
    pub agency: String,
    /// The challenge. What of it is not seen is not in it.
    pub challenge: Challenge,
}

/// A stretch of rows in the order of the log.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// After the row of this event.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
    /// Only rows that no event after this one has changed.
    pub unchanged_since: Option<i64>,
}

/// A case as a reader sees it: as it stands, or as it stood when an agreement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The case. What of it is not seen is still in it.
    pub record: CaseRecord,
    /// What of it is seen.
    pub view: View,
}

/// A decision with whose it is and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The position of the event that recorded it.
    pub seq: i64,
    /// The case.
    pub case: CaseName,
    /// The referral.
    pub referral: ReferralName,
    /// The decision.
    pub decision: Decision,
}

/// A decision with what its reasons rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoned {
    /// The decision.
    pub record: DecisionRecord,
    /// The case, as it stands now.
    pub case: Arc<Case>,
    /// The version of the clause that it cites first, if it cites one.
    pub clause: Option<ClauseVersion>,
}

/// The service's reads, and what an operator does to its store.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// A case and what the reader sees of it, if there is one and that is anything.
    async fn case(&self, reader: &Reader, name: &CaseName) -> Result<Option<Shown>>;

    /// Whose case it is, whoever asks: for telling why it is not shown.
    async fn owner(&self, name: &CaseName) -> Result<Option<String>>;

    /// Cases that the filter selects, with what the reader sees of each, in the order in which they came in.
    async fn cases(&self, reader: &Reader, filter: &CaseFilter, stretch: Stretch) -> Result<Vec<Shown>>;

    /// The agreements of an agency and of its partners that share the platforms' answers.
    async fn agreements_concerning(&self, agency: &str) -> Result<Vec<Agreement>>;

    /// The versions of every clause that ends a permission of its own, by clause and number.
    async fn clauses_ending_permissions(&self) -> Result<Vec<ClauseVersion>>;

    /// Up to `limit` cases whose decision in force rests on the permission of a version, and that are not marked as candidates
    /// for replay under that other version (0: are marked).
    async fn to_replay(&self, permitting: &Citation, under: u32, limit: usize) -> Result<Vec<Uuid>>;

    /// Decisions that the filter selects and the reader sees, in the order in which they were recorded.
    async fn decisions(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> Result<Vec<DecisionRecord>>;

    /// The same decisions with what their reasons rest on, of the reader's own cases alone.
    async fn reasoned(&self, reader: &Reader, filter: &DecisionFilter, stretch: Stretch) -> Result<Vec<Reasoned>>;

    /// The latest decision on each case, as [`Reads::decisions`].
    async fn latest_decisions(
        &self,
        reader: &Reader,
        filter: &DecisionFilter,
        stretch: Stretch,
    ) -> Result<Vec<DecisionRecord>>;

    /// A challenge, whoever asks: for who may do something about it.
    async fn challenge(&self, name: &ChallengeName) -> Result<Option<Challenge>>;

    /// The challenges of a case, whoever asks.
    async fn challenges_of(&self, case: &CaseName) -> Result<Vec<Challenge>>;

    /// The stays of a case, whoever asks.
    async fn stays_of(&self, case: &CaseName) -> Result<Vec<Stay>>;

    /// Cases with open clocks, as the reader sees them, in the order in which they came in. What the filter says of a clock itself is
    /// still to be asked of each.
    async fn clocked(&self, reader: &Reader, filter: &ClockFilter, stretch: Stretch) -> Result<Vec<Shown>>;

    /// The cases to which the time alone brings something next, with when, in the order in which it does.
    async fn next_marks(&self, limit: usize) -> Result<Vec<(Uuid, Timestamp)>>;

    /// What a platform has received and not decided and nobody holds at an instant, the most urgent first.
    async fn queue(&self, platform: &str, now: Timestamp, limit: usize) -> Result<Vec<CaseName>>;

    /// What a platform has not acknowledged, as the reader sees it, the most urgent first.
    async fn unacknowledged(&self, reader: &Reader, platform: &str, limit: usize) -> Result<Vec<Shown>>;

    /// What a platform says of how long it takes, if it says something.
    async fn response_times(&self, platform: &str) -> Result<Option<ResponseTimes>>;

    /// Challenges that the filter selects and the reader sees, in the order in which they were filed.
    async fn challenges(
        &self,
        reader: &Reader,
        filter: &ChallengeFilter,
        stretch: Stretch,
    ) -> Result<Vec<ShownChallenge>>;

    /// A clause. The catalogues are public to everybody who takes part.
    async fn clause(&self, principal: &Principal, name: &ClauseName) -> Result<Option<Clause>>;

    /// Clauses of one platform or of all after a name, in the order of their names.
    async fn clauses(
        &self,
        principal: &Principal,
        platform: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Clause>>;

    /// Versions of a clause after a number, in the order of their numbers.
    async fn clause_versions(
        &self,
        principal: &Principal,
        clause: &ClauseName,
        after: u32,
        limit: usize,
    ) -> Result<Vec<ClauseVersion>>;

    /// Empties the state tables and fills them again from the log. Gives the number of events read.
    async fn rebuild(&self) -> Result<i64>;

    /// Raises the compaction floor. Gives it.
    async fn compact(&self, through: i64) -> Result<i64>;

    /// Every row of the state tables as text.
    async fn dump(&self) -> Result<Vec<String>>;
}

/// Whether the caller may ask for what belongs to a platform (to every platform that it may see, if none is named).
/// Which rows it then gets is its scope's business. Asked before anything is looked up, so that a refusal does not tell
/// what exists.
pub fn may_read(caller: &Principal, platform: Option<&str>) -> Result<()> {
    match (caller.scope(), platform) {
        (Scope::Platform(own), Some(platform)) if own != platform => Err(caller.denied()),
        (Scope::Nothing, _) => Err(caller.denied()),
        _ => Ok(()),
    }
}

/// An open store, and the task of its writer.
pub type Opened = (Parts<Ledger, dyn Reads>, JoinHandle<()>);

/// Opens the store.
pub async fn open(database: &Database, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Result<Opened> {
    match database {
        Database::Sqlite { folder } => {
            let engine = portreeve_storage::sqlite::open(folder, SERVICE).await?;
            sqlite::sql::open(engine, clock, ids).await
        }
        Database::Postgres { url } => {
            let engine = portreeve_storage::postgres::open(url, SERVICE).await?;
            postgres::sql::open(engine, clock, ids).await
        }
    }
}
