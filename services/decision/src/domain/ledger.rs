//! What may happen to cases and to the policy catalogue.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, ChallengeName, ClauseName, OrganisationName, StayName};
use portreeve_core::vocabulary::{Disposition, Nature};
use portreeve_core::{Error, Reason, Recorded, Result, Timestamp, Violations, limits};

use super::clock::Step as ClockStep;
use super::policy::in_force;
use super::{
    Case, ChallengeDraft, Citation, Clause, ClauseVersion, ClauseVersionDraft, Decision, DecisionDraft, Discrepancy,
    Kind, Later, Notification, Observation, Outcome, Progress, Pursuit, Receipt, Referred, ResponseTimes,
    ResponseTimesRecord, Status, StayContent, StayEnd, Wanted, Withdrawal,
};

/// What a step does to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The platform confirms the receipt.
    Acknowledge,
    /// The platform decides for the first time.
    Decide,
    /// The platform decides again.
    DecideAgain,
    /// The agency takes the referral back.
    Withdraw,
    /// The platform asks the agency something.
    Ask,
    /// The agency answers.
    Answer,
    /// Something keeps the platform from going on.
    Impede,
    /// It has ceased.
    Cease,
    /// A reviewer takes the case.
    Review,
}

/// The state machine of a case: (where it stands, what is done) -> where it stands then. What is not here cannot be done.
pub const TRANSITIONS: [(Status, Step, Status); 19] = [
    (Status::Submitted, Step::Acknowledge, Status::Received),
    (Status::Received, Step::Decide, Status::Decided),
    (Status::Decided, Step::DecideAgain, Status::Decided),
    (Status::Submitted, Step::Withdraw, Status::Withdrawn),
    (Status::Received, Step::Withdraw, Status::Withdrawn),
    (Status::Decided, Step::Withdraw, Status::Withdrawn),
    (Status::Received, Step::Ask, Status::InfoRequested),
    (Status::UnderReview, Step::Ask, Status::InfoRequested),
    (Status::InfoRequested, Step::Answer, Status::UnderReview),
    (Status::Received, Step::Impede, Status::UnderReview),
    (Status::UnderReview, Step::Impede, Status::UnderReview),
    (Status::UnderReview, Step::Cease, Status::UnderReview),
    (Status::Received, Step::Review, Status::UnderReview),
    (Status::UnderReview, Step::Review, Status::UnderReview),
    (Status::InfoRequested, Step::Review, Status::InfoRequested),
    (Status::UnderReview, Step::Decide, Status::Decided),
    // The platform need not wait for an answer; where nobody answers in time, it has said before what it decides then.
    (Status::InfoRequested, Step::Decide, Status::Decided),
    (Status::UnderReview, Step::Withdraw, Status::Withdrawn),
    (Status::InfoRequested, Step::Withdraw, Status::Withdrawn),
];

/// What the referral log told of one referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The position in the referral log.
    pub position: i64,
    /// The referral.
    pub referred: Referred,
    /// Its withdrawal, if it was withdrawn.
    pub withdrawal: Option<Withdrawal>,
    /// What of it was erased.
    pub erasures: Vec<Erasure>,
}

/// What the referral log told of an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The position in the referral log.
    pub position: i64,
    /// The referral's identifier.
    pub referral: Uuid,
    /// What was seen.
    pub observation: Observation,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take in what the referral log told, in its order.
    FollowReferrals {
        /// Of referrals.
        told: Vec<Told>,
        /// Of agreements.
        agreements: Vec<Agreement>,
        /// Of observations.
        observed: Vec<Seen>,
    },
    /// Confirm the receipt of a case.
    Acknowledge {
        /// Which.
        case: CaseName,
        /// When the platform received it; the moment of recording if not told.
        occurred_at: Option<Timestamp>,
    },
    /// Record a decision on a case.
    Record {
        /// Which.
        case: CaseName,
        /// What was decided.
        draft: Box<DecisionDraft>,
        /// The version that the caller believes to be the latest (0 for none), if it cares.
        expected_version: Option<u32>,
        /// The member of the platform who decides; empty if not told.
        by: String,
    },
    /// Add a clause to a platform's catalogue.
    CreateClause {
        /// Its name.
        name: ClauseName,
        /// What it is about.
        title: String,
    },
    /// Add the next version of a clause.
    AddClauseVersion {
        /// The clause.
        clause: ClauseName,
        /// What it says.
        draft: ClauseVersionDraft,
    },
    /// Challenge the decision in force on a case.
    FileChallenge {
        /// Which case.
        case: CaseName,
        /// What is challenged, and why.
        draft: ChallengeDraft,
        /// Who files it.
        by: OrganisationName,
    },
    /// Move a challenge on.
    Pursue {
        /// Which.
        challenge: ChallengeName,
        /// How.
        pursuit: Box<Pursuit>,
    },
    /// Ask the agency something, or tell what keeps the platform from going on.
    BeginStay {
        /// Which case.
        case: CaseName,
        /// What it is about.
        content: StayContent,
        /// By when the agency must answer.
        answer_by: Option<Timestamp>,
        /// The member of the platform who asks; empty if not told.
        by: String,
    },
    /// Take cases.
    Lease {
        /// Which.
        wanted: Wanted,
        /// The member of the platform who takes them.
        holder: String,
        /// For how long, in microseconds.
        time: i64,
    },
    /// Give cases back.
    Release {
        /// Which.
        cases: Vec<CaseName>,
        /// The member of the platform who holds them.
        holder: String,
    },
    /// Answer what the platform asked.
    Answer {
        /// The stay that this ends.
        stay: StayName,
        /// The answer.
        answer: String,
        /// The agency.
        by: OrganisationName,
    },
    /// Tell that what kept the platform from going on has ceased.
    Cease {
        /// The stay that this ends.
        stay: StayName,
    },
    /// Say how long the platform takes.
    SetResponseTimes {
        /// The platform.
        platform: String,
        /// For each nature, by its number in the contract, in microseconds.
        times: BTreeMap<i32, i64>,
        /// The version that the caller believes to be the latest (0 for none), if it cares.
        expected_version: Option<u32>,
    },
    /// Record what the time alone has brought to cases.
    Tick {
        /// The cases.
        cases: Vec<Uuid>,
    },
    /// Mark cases that rest on a clause as the versions in force have it.
    Replay {
        /// The clause.
        clause: ClauseName,
        /// The cases.
        cases: Vec<Uuid>,
    },
}

/// A change of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseChanged {
    /// When it became true, by the account of whoever made it.
    pub occurred_at: Timestamp,
    /// How far the referral log had been followed: a position in it.
    pub referral_position: i64,
    /// Where the case stood in the figures before; `None` if it did not exist.
    pub before: Option<Disposition>,
    /// The decisive clause of the decision that was the latest before, if it cited one.
    pub clause_before: Option<Citation>,
    /// Whether it was a candidate for replay before.
    pub replay_before: bool,
    /// Where what was seen did not agree with the decision before.
    pub discrepancy_before: Option<Discrepancy>,
    /// Where it stood before; `None` if it did not exist.
    pub status_before: Option<Status>,
    /// What happened to its clocks.
    pub clock_steps: Vec<ClockStep>,
    /// The case as it is afterwards.
    pub case: Arc<Case>,
}

/// What happened. Positions are the log's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A referral came in.
    CaseOpened(CaseChanged),
    /// The platform confirmed the receipt.
    CaseAcknowledged(CaseChanged),
    /// The platform recorded a decision: the case's latest.
    CaseDecided(CaseChanged),
    /// The agency took the referral back.
    CaseWithdrawn(CaseChanged),
    /// Groups of the referral's fields were erased.
    CaseErased(CaseChanged),
    /// The case became a candidate for replay, or ceased to be one.
    ReplayChanged(CaseChanged),
    /// A challenge of the case, by its number, was filed or moved on.
    ChallengeChanged(CaseChanged, u32),
    /// The target was looked at.
    CaseObserved(CaseChanged),
    /// A stay of the case, by its number, began or ended.
    StayChanged(CaseChanged, u32),
    /// Parts of the time of its clocks are over.
    ClockMarked(CaseChanged),
    /// A reviewer took it, or gave it back.
    ReviewChanged(CaseChanged),
    /// The agency escalated it with an order.
    CaseEscalated(CaseChanged),
    /// The agency said anew how urgent it is.
    CasePrioritised(CaseChanged),
    /// The agency extended or lifted the non-disclosure of the order.
    NonDisclosureChanged(CaseChanged),
    /// A platform said how long it takes.
    ResponseTimesSet(ResponseTimes),
    /// A platform added a clause.
    ClauseCreated(Clause),
    /// A platform added a version of a clause.
    ClauseVersionAdded(ClauseVersion),
    /// The referral log told of an agreement, or of a change of one.
    AgreementLearnt(Box<Agreement>),
}

impl Event {
    /// The change of a case, if it is one.
    pub const fn case_changed(&self) -> Option<&CaseChanged> {
        match self {
            Self::CaseOpened(changed)
            | Self::CaseAcknowledged(changed)
            | Self::CaseDecided(changed)
            | Self::CaseWithdrawn(changed)
            | Self::CaseErased(changed)
            | Self::ReplayChanged(changed)
            | Self::ChallengeChanged(changed, _)
            | Self::StayChanged(changed, _)
            | Self::ClockMarked(changed)
            | Self::ReviewChanged(changed)
            | Self::CaseEscalated(changed)
            | Self::CasePrioritised(changed)
            | Self::NonDisclosureChanged(changed)
            | Self::CaseObserved(changed) => Some(changed),
            Self::ClauseCreated(_)
            | Self::ClauseVersionAdded(_)
            | Self::ResponseTimesSet(_)
            | Self::AgreementLearnt(_) => None,
        }
    }
}

/// A case with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseRecord {
    /// The case.
    pub case: Arc<Case>,
    /// The position of the event that opened it.
    pub opened: i64,
    /// The position of the last event that changed it.
    pub updated: i64,
    /// The position of the event of its latest decision; 0 while there is none.
    pub decided: i64,
}

/// A clause with its place in the log and its versions, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseRecord {
    /// The clause.
    pub clause: Clause,
    /// Its versions.
    pub versions: Vec<ClauseVersion>,
    /// The position of the last event that changed it.
    pub updated: i64,
}

/// The part of the state that a batch touches, and what has changed in it.
#[derive(Debug, Default)]
pub struct State {
    /// How far the referral log was followed.
    pub referral_position: i64,
    /// Cases by identifier.
    pub cases: HashMap<Uuid, CaseRecord>,
    /// Clauses by name.
    pub clauses: HashMap<ClauseName, ClauseRecord>,
    /// What platforms say of how long they take, by platform.
    pub response_times: HashMap<String, ResponseTimesRecord>,
    /// Agreements by name, as the referral log told them last, with the position of the event that brought each here.
    pub agreements: HashMap<AgreementName, (Agreement, i64)>,
    /// What is to be persisted.
    pub changes: Changes,
}

/// What has changed since the state was loaded.
#[derive(Debug, Default)]
pub struct Changes {
    /// Cases that are new.
    pub opened: HashSet<Uuid>,
    /// Cases that were there before the batch and have changed.
    pub updated: HashSet<Uuid>,
    /// Challenges that are new or have changed, by their case and number, with the position of the event that first told of
    /// each in this batch.
    pub challenges: BTreeMap<(Uuid, u32), i64>,
    /// Cases of which something was erased.
    pub erased: HashSet<Uuid>,
    /// New decisions, in the order of the log: the position, and the case of which it was then the latest decision.
    pub decided: Vec<(i64, Arc<Case>)>,
    /// Clauses that are new or have changed.
    pub clauses: HashSet<ClauseName>,
    /// Platforms that said how long they take.
    pub response_times: HashSet<String>,
    /// New versions of clauses, in the order of the log.
    pub versions: Vec<ClauseVersion>,
    /// Agreements that are new or have changed, with the position of the event that told so.
    pub agreements: HashMap<AgreementName, i64>,
}

/// The case ledger and the policy catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Ledger;

impl portreeve_core::Ledger for Ledger {
    type Command = Command;
    type Event = Event;
    type State = State;

    fn decide(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>> {
        match command {
            Command::FollowReferrals { told, agreements, observed } => {
                let learnt = agreements
                    .iter()
                    .filter(|told| told.is_news(state.agreements.get(&told.name).map(|(known, _)| known)))
                    .cloned();
                let learnt = learnt.map(|agreement| Event::AgreementLearnt(Box::new(agreement)));
                Ok(state.follow(told, observed, now).into_iter().chain(learnt).collect())
            }
            Command::Acknowledge { case, occurred_at } => state.acknowledge(case, *occurred_at, now),
            Command::Record { case, draft, expected_version, by } => {
                state.case(case)?.held_by(by, now)?;
                state.record(case, draft, *expected_version, now)
            }
            Command::Lease { wanted, holder, time } => state.lease(wanted, holder, *time, now),
            Command::Release { cases, holder } => state.release(cases, holder, now),
            Command::CreateClause { name, title } => state.create_clause(name, title, now),
            Command::AddClauseVersion { clause, draft } => state.add_clause_version(clause, draft, now),
            Command::Replay { clause, cases } => Ok(state.replay(clause, cases, now)),
            Command::BeginStay { case, content, answer_by, by } => state.begin_stay(case, content, *answer_by, by, now),
            Command::Answer { stay, answer, by } => state.answer(stay, answer, by, now),
            Command::Cease { stay } => state.cease(stay, now),
            Command::SetResponseTimes { platform, times, expected_version } => {
                state.set_response_times(platform, times, *expected_version, now)
            }
            Command::Tick { cases } => Ok(state.tick(cases, now)),
            Command::FileChallenge { case, draft, by } => state.file_challenge(case, draft, by, now),
            Command::Pursue { challenge, pursuit } => state.pursue(challenge, pursuit, now),
        }
    }

    fn evolve(state: &mut State, recorded: &Recorded<Event>) {
        let position = recorded.position;
        if let Some(changed) = recorded.event.case_changed() {
            state.referral_position = state.referral_position.max(changed.referral_position);
            state.put(position, changed, matches!(recorded.event, Event::CaseDecided(_)));
        }
        match &recorded.event {
            Event::ClauseCreated(clause) => {
                let record = ClauseRecord { clause: clause.clone(), versions: Vec::new(), updated: position };
                state.changes.clauses.insert(clause.name.clone());
                state.clauses.insert(clause.name.clone(), record);
            }
            Event::ClauseVersionAdded(version) => {
                let name = &version.citation.clause;
                if let Some(record) = state.clauses.get_mut(name) {
                    record.clause.latest_version = version.citation.version;
                    record.versions.push(version.clone());
                    record.updated = position;
                    state.changes.clauses.insert(name.clone());
                    state.changes.versions.push(version.clone());
                }
            }
            Event::AgreementLearnt(agreement) => {
                let first = state.agreements.get(&agreement.name).map_or(position, |(_, first)| *first);
                state.changes.agreements.insert(agreement.name, position);
                state.agreements.insert(agreement.name, ((**agreement).clone(), first));
            }
            Event::CaseErased(changed) => {
                let id = changed.case.referred.name.id;
                state.changes.erased.insert(id);
                for challenge in &changed.case.challenges {
                    state.changes.challenges.entry((id, challenge.number)).or_insert(position);
                }
            }
            Event::ChallengeChanged(changed, number) => {
                let key = (changed.case.referred.name.id, *number);
                state.changes.challenges.entry(key).or_insert(position);
            }
            Event::ResponseTimesSet(times) => {
                let record = ResponseTimesRecord { times: times.clone(), updated: position };
                state.changes.response_times.insert(times.platform.clone());
                state.response_times.insert(times.platform.clone(), record);
            }
            Event::CaseOpened(_)
            | Event::CaseAcknowledged(_)
            | Event::CaseDecided(_)
            | Event::CaseWithdrawn(_)
            | Event::CaseObserved(_)
            | Event::StayChanged(..)
            | Event::ClockMarked(_)
            | Event::ReviewChanged(_)
            | Event::CaseEscalated(_)
            | Event::CasePrioritised(_)
            | Event::NonDisclosureChanged(_)
            | Event::ReplayChanged(_) => {}
        }
    }
}

impl State {
    fn put(&mut self, position: i64, changed: &CaseChanged, decided: bool) {
        let id = changed.case.referred.name.id;
        let known = self.cases.get(&id);
        if known.is_none() {
            self.changes.opened.insert(id);
        } else if !self.changes.opened.contains(&id) {
            self.changes.updated.insert(id);
        }
        if decided {
            self.changes.decided.push((position, Arc::clone(&changed.case)));
        }
        let record = CaseRecord {
            case: Arc::clone(&changed.case),
            opened: known.map_or(position, |known| known.opened),
            updated: position,
            decided: if decided { position } else { known.map_or(0, |known| known.decided) },
        };
        self.cases.insert(id, record);
    }

    /// Opens the cases that are new, withdraws those whose referral was, erases what of it was, and takes in what was seen.
    /// Told twice, it is done once.
    fn follow(&self, told: &[Told], observed: &[Seen], now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        let mut fresh = HashMap::<Uuid, Arc<Case>>::new();
        for told in told {
            let id = told.referred.name.id;
            let known = fresh.get(&id).or_else(|| self.cases.get(&id).map(|record| &record.case)).cloned();
            let mut case = known.unwrap_or_else(|| {
                let mut case = Case::open(told.referred.clone());
                let clock_steps = case.settle(None, now);
                let case = Arc::new(case);
                events.push(Event::CaseOpened(CaseChanged {
                    occurred_at: told.referred.occurred_at,
                    referral_position: told.position,
                    before: None,
                    clause_before: None,
                    replay_before: false,
                    discrepancy_before: None,
                    status_before: None,
                    clock_steps,
                    case: Arc::clone(&case),
                }));
                fresh.insert(id, Arc::clone(&case));
                case
            });
            self.escalate(told, &mut fresh, &mut events, now);
            for event in later(&case, told, now) {
                if let Some(changed) = event.case_changed() {
                    case = Arc::clone(&changed.case);
                    fresh.insert(id, Arc::clone(&case));
                }
                events.push(event);
            }
            // What was to happen when nobody answered was said before, whenever it comes to be recorded.
            if let Some(lapsed) = self.lapse(&case, now).filter(|_| told.withdrawal.is_some()) {
                if let Some(changed) = lapsed.case_changed() {
                    case = Arc::clone(&changed.case);
                    fresh.insert(id, Arc::clone(&case));
                }
                events.push(lapsed);
            }
            if let Some(withdrawal) = &told.withdrawal
                && transition(case.status(), Step::Withdraw).is_some()
            {
                let mut after = Case { withdrawal: Some(withdrawal.clone()), replay: None, ..(*case).clone() };
                after.end_stay(StayEnd::Withdrawn, now.max(case.latest_record()));
                let changed = changed(&case, after, withdrawal.occurred_at, told.position, now);
                case = Arc::clone(&changed.case);
                fresh.insert(id, Arc::clone(&case));
                events.push(Event::CaseWithdrawn(changed));
            }
            let erased = told.erasures.iter().filter(|erasure| !case.is_erased(erasure.group)).cloned();
            let erased = erased.collect::<Vec<_>>();
            if let Some(at) = erased.iter().map(|erasure| erasure.at).max() {
                let changed = changed(&case, case.without(&erased), at, told.position, now);
                fresh.insert(id, Arc::clone(&changed.case));
                events.push(Event::CaseErased(changed));
            }
        }
        for Seen { position, referral, observation } in observed {
            let known = fresh.get(referral).or_else(|| self.cases.get(referral).map(|record| &record.case)).cloned();
            let Some(case) = known else { continue };
            let after = case.observed(observation);
            if after == *case {
                continue;
            }
            let changed = changed(&case, after, observation.observed_at, *position, now);
            fresh.insert(*referral, Arc::clone(&changed.case));
            events.push(Event::CaseObserved(changed));
        }
        events
    }

    /// Notes the order on the case of the referral that is escalated with it.
    fn escalate(&self, told: &Told, fresh: &mut HashMap<Uuid, Arc<Case>>, events: &mut Vec<Event>, now: Timestamp) {
        let Some(old) = told.referred.order.as_ref().and_then(|order| order.escalates.as_ref()) else { return };
        let known = fresh.get(&old.id).or_else(|| self.cases.get(&old.id).map(|record| &record.case)).cloned();
        let first = |case: &Arc<Case>| {
            let there = case.referred.name == *old && case.referred.platform == told.referred.platform;
            there && case.escalated_to.is_none()
        };
        let Some(case) = known.filter(|case| first(case) && *old != told.referred.name) else { return };
        let after = Case { escalated_to: Some(told.referred.name.clone()), ..(*case).clone() };
        let changed =
            changed(&case, after, told.referred.occurred_at.max(case.referred.occurred_at), told.position, now);
        fresh.insert(old.id, Arc::clone(&changed.case));
        events.push(Event::CaseEscalated(changed));
    }

    fn acknowledge(&self, name: &CaseName, occurred_at: Option<Timestamp>, now: Timestamp) -> Result<Vec<Event>> {
        let case = self.case(name)?;
        // The first receipt counts, whatever a later one says.
        if case.receipt().is_some() {
            return Ok(Vec::new());
        }
        step(case, Step::Acknowledge, "RECEIVED")?;
        let floor = (case.latest_occurrence(), "the referral");
        let mut violations = Violations::new();
        let occurred_at = resolve(&mut violations, "occurred_at", occurred_at, floor, now);
        let occurred_at = violations.finish(occurred_at)?;
        let receipt = Receipt { occurred_at, recorded_at: now.max(case.latest_record()) };
        let said = self.response_times.get(&case.referred.platform);
        let response_time = said.and_then(|said| said.times.of(case.referred.nature));
        let after = Case { progress: Progress::Received(receipt), response_time, ..(**case).clone() };
        Ok(vec![Event::CaseAcknowledged(changed(case, after, occurred_at, self.referral_position, now))])
    }

    pub(super) fn record(
        &self,
        name: &CaseName,
        draft: &DecisionDraft,
        expected_version: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let case = self.case(name)?;
        let latest = case.decision();
        let draft = case.takes(draft);
        let draft = draft.as_ref();
        if latest.is_some_and(|latest| draft.repeats(latest)) {
            return Ok(Vec::new());
        }
        let to = draft.content.kind.as_str();
        let first = draft.content.kind == Kind::Initial;
        if case.status() == Status::Withdrawn {
            step(case, Step::Decide, to)?;
        }
        let actual = latest.map_or(0, |latest| latest.version);
        if let Some(expected) = expected_version.filter(|expected| *expected != actual) {
            return Err(Error::new(
                Reason::StaleVersion,
                format!("the latest decision on {name} has version {actual}, not {expected}; read it and decide again"),
            )
            .with("name", name)
            .with("expected", expected)
            .with("actual", actual));
        }
        step(case, if first { Step::Decide } else { Step::DecideAgain }, to)?;
        if case.stay().and_then(|stay| stay.answer_by).is_some_and(|answer_by| answer_by <= now) {
            let advice = "; its question was not answered in time, and that decides it";
            return Err(impossible(name, "INFO_REQUESTED", to, advice));
        }
        let receipt = case.receipt().ok_or_else(|| Error::internal("a case was decided that was not received"))?;
        if let Some(latest) = latest {
            check_reinstatement(name, latest, draft)?;
        }

        let told_after = if first { "the acknowledgement" } else { "the version before it" };
        let floor = (case.latest_occurrence(), told_after);
        let mut violations = Violations::new();
        let decided_at = resolve(&mut violations, "decision.decided_at", draft.decided_at, floor, now);
        check_draft(&mut violations, case, draft, decided_at, now);
        let decided_at = violations.finish(decided_at)?;
        self.check_citations(draft, decided_at)?;
        let decision = Decision {
            version: actual + 1,
            content: draft.content.clone(),
            decided_at,
            recorded_at: now.max(case.latest_record()),
        };
        let first_decided_at = match &case.progress {
            Progress::Decided { first_decided_at, .. } => *first_decided_at,
            Progress::Submitted | Progress::Received(_) => decided_at,
        };
        let progress = Progress::Decided { receipt, first_decided_at, latest: Box::new(decision) };
        let mut after = Case { progress, lease: None, ..(**case).clone() };
        after.end_stay(StayEnd::Decided, now.max(case.latest_record()));
        after.order_answered_at = case.order_answered_at.or_else(|| after.order_answer());
        after.replay = self.replay_of(&after, now);
        Ok(vec![Event::CaseDecided(changed(case, after, decided_at, self.referral_position, now))])
    }

    /// Every clause that is cited exists at that version and was in force when the decision was made.
    fn check_citations(&self, draft: &DecisionDraft, decided_at: Timestamp) -> Result<()> {
        for (index, citation) in draft.content.clauses().enumerate() {
            let field = format!("decision.clauses[{index}]");
            let versions = self.clauses.get(&citation.clause).map(|record| record.versions.as_slice());
            let versions = versions.unwrap_or_default();
            let effective = in_force(versions, decided_at).map(|version| version.citation.version);
            if !versions.iter().any(|known| known.citation.version == citation.version) {
                return Err(Error::new(Reason::ClauseNotFound, format!("the catalogue has no {citation}"))
                    .with("name", citation)
                    .at(field, "must be a clause and a version of the platform's catalogue"));
            }
            if effective != Some(citation.version) {
                return Err(Error::new(
                    Reason::ClauseNotInForce,
                    format!("{citation} was not in force at {decided_at}; cite the version that was"),
                )
                .with("clause", &citation.clause)
                .with("version", citation.version)
                .with("decided_at", decided_at)
                .at(field, "must have been in force when the decision was made"));
            }
        }
        Ok(())
    }

    fn create_clause(&self, name: &ClauseName, title: &str, now: Timestamp) -> Result<Vec<Event>> {
        if self.clauses.contains_key(name) {
            return Err(
                Error::new(Reason::ClauseExists, format!("{name} exists; add a version to it")).with("name", name)
            );
        }
        let clause = Clause { name: name.clone(), title: title.to_owned(), latest_version: 0, created_at: now };
        Ok(vec![Event::ClauseCreated(clause)])
    }

    fn add_clause_version(&self, name: &ClauseName, draft: &ClauseVersionDraft, now: Timestamp) -> Result<Vec<Event>> {
        let record = self.clauses.get(name);
        let record = record.ok_or_else(|| {
            Error::new(Reason::ClauseNotFound, format!("there is no {name}; create it first")).with("name", name)
        })?;
        let mut violations = Violations::new();
        if let Some(latest) =
            record.versions.last().filter(|latest| draft.effective_from <= latest.content.effective_from)
        {
            let before = latest.content.effective_from;
            let later = format_args!("must be later than that of version {}, {before}", latest.citation.version);
            violations.add("clause_version.effective_from", later);
        }
        if draft.effective_until.is_some_and(|until| until <= draft.effective_from) {
            violations.add("clause_version.effective_until", "must be later than effective_from");
        }
        for (index, ended) in draft.ends_permission_of.iter().enumerate() {
            if !record.versions.iter().any(|version| version.citation.version == *ended) {
                let field = format!("clause_version.ends_permission_of[{index}]");
                violations.add(field, "must be the number of an earlier version of the clause");
            }
        }
        violations.into_result()?;
        Ok(vec![Event::ClauseVersionAdded(ClauseVersion {
            citation: Citation { clause: name.clone(), version: record.clause.latest_version + 1 },
            content: draft.clone(),
            recorded_at: now,
        })])
    }

    pub(super) fn case(&self, name: &CaseName) -> Result<&Arc<Case>> {
        let found = self.cases.get(&name.id).filter(|record| record.case.referred.platform == name.platform);
        found.map(|record| &record.case).ok_or_else(|| not_found(name))
    }
}

/// What the agency said of the referral after it was sent, as far as the case does not know it.
fn later(case: &Case, told: &Told, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    let mut known = Cow::Borrowed(case);
    if let Some(after) = known.prioritised(&told.referred) {
        let at = after.referred.priority.as_ref().and_then(|priority| priority.changed_at).unwrap_or(now);
        events.push(Event::CasePrioritised(changed(&known, after.clone(), at, told.position, now)));
        known = Cow::Owned(after);
    }
    if let Some(after) = known.with_non_disclosure(&told.referred) {
        let course = after.referred.order.as_ref().and_then(|order| order.non_disclosure.as_ref());
        let lifted = course.and_then(|course| course.lifted.as_ref()).map(|(at, _)| *at);
        let extended = course.and_then(|course| course.extended.as_ref()).map(|(_, at, _)| *at);
        let at = lifted.or(extended).unwrap_or(now);
        events.push(Event::NonDisclosureChanged(changed(&known, after, at, told.position, now)));
    }
    events
}

/// The refusal of a case that is not there, or not to be known of.
pub fn not_found(name: &CaseName) -> Error {
    Error::new(Reason::CaseNotFound, format!("there is no {name}")).with("name", name)
}

/// Where a case stands after a step, if the step can be taken.
pub fn transition(from: Status, step: Step) -> Option<Status> {
    TRANSITIONS.iter().find(|(at, by, _)| *at == from && *by == step).map(|(.., to)| *to)
}

/// Refuses a step that cannot be taken. `to` names what the caller wanted.
pub(super) fn step(case: &Case, step: Step, to: &'static str) -> Result<()> {
    let (name, from) = (case.name(), case.status());
    if transition(from, step).is_some() {
        return Ok(());
    }
    if from == Status::Withdrawn {
        return Err(withdrawn(&name));
    }
    let advice = match (from, step) {
        (Status::Submitted, _) => "; acknowledge it first",
        (Status::Received | Status::UnderReview | Status::InfoRequested, Step::DecideAgain) => {
            "; the first decision on a case is INITIAL"
        }
        (Status::InfoRequested, _) => "; a question waits for its answer",
        (Status::Decided, Step::Review) => "; there is nothing left to review",
        (Status::Decided, Step::Decide) => {
            "; a later decision is AMENDED, REVERSED, CORRECTED or REINSTATED, and names its cause"
        }
        (Status::Decided, _) => "; what it asks now is for a challenge or for a later version to settle",
        (Status::Received | Status::UnderReview | Status::Withdrawn, _) => "",
    };
    Err(impossible(&name, from.as_str(), to, advice))
}

/// The refusal of what is said about a case that takes nothing more.
pub(super) fn withdrawn(name: &CaseName) -> Error {
    let message = format!("the referral behind {name} was withdrawn; the case takes nothing more");
    Error::new(Reason::CaseWithdrawn, message).with("name", name)
}

pub(super) fn impossible(name: &CaseName, from: &'static str, to: &'static str, advice: &str) -> Error {
    Error::new(Reason::InvalidTransition, format!("{name} is {from} and cannot become {to}{advice}"))
        .with("name", name)
        .with("from", from)
        .with("to", to)
}

/// Only what was acted on can be put back, and putting it back is not acting.
fn check_reinstatement(name: &CaseName, latest: &Decision, draft: &DecisionDraft) -> Result<()> {
    let reinstates = matches!(draft.content.kind, Kind::Later(Later::Reinstated, _));
    if !reinstates || (latest.content.outcome.acts() && !draft.content.outcome.acts()) {
        return Ok(());
    }
    let advice = "; REINSTATED goes from an outcome that acts to one that does not";
    Err(impossible(name, latest.content.outcome.kind().as_str(), draft.content.kind.as_str(), advice))
}

/// Notes what in a draft does not fit its case.
fn check_draft(violations: &mut Violations, case: &Case, draft: &DecisionDraft, at: Option<Timestamp>, now: Timestamp) {
    draft.content.check(&case.referred.platform, "decision.", violations);
    if draft.content.effective_at.is_some_and(|at| at > now.plus_micros(limits::CLOCK_SKEW_MICROS)) {
        violations.add("decision.effective_at", FUTURE);
    }
    match draft.content.notification {
        Some(Notification::Suppressed(until)) if at.is_some_and(|at| until <= at) => {
            violations.add("decision.user_notification.suppressed_until", "must be after decided_at");
        }
        Some(said) if said.needs_an_order() && case.referred.nature != Nature::Order.code() => {
            violations.add("decision.user_notification.exemption", "must not be ORDER: the referral is none");
        }
        _ => {}
    }
    match (&draft.content.outcome, at) {
        (Outcome::SuspendedUntil(until), Some(at)) if *until <= at => {
            violations.add("decision.suspended_until", format_args!("must be after decided_at, {at}"));
        }
        (Outcome::Duplicate(of), _) if *of == case.referred.name => {
            violations.add("decision.duplicate_of", "must be another referral than the case's own");
        }
        _ => {}
    }
}

const FUTURE: &str = "must not be in the future of the server's clock";

/// When something was true: what the caller told, or now. Neither in the future nor before what preceded it, which
/// `floor` says with its name.
pub(super) fn resolve(
    violations: &mut Violations,
    field: &str,
    told: Option<Timestamp>,
    floor: (Timestamp, &str),
    now: Timestamp,
) -> Option<Timestamp> {
    let (earliest, what) = floor;
    match told {
        Some(told) if told > now.plus_micros(limits::CLOCK_SKEW_MICROS) => violations.add(field, FUTURE),
        Some(told) if told < earliest => violations.add(field, format_args!("must not be before {what}, {earliest}")),
        // Clocks differ a little: what follows is not before what it follows, nor in the future.
        told => return Some(told.unwrap_or(now).min(now).max(earliest)),
    }
    None
}

/// The change of a case from what it was to what it is, with the marks of its clocks that are due by now.
pub(super) fn changed(
    before: &Case,
    mut after: Case,
    occurred_at: Timestamp,
    referral_position: i64,
    now: Timestamp,
) -> CaseChanged {
    // What was due before the change is told of what was before, so that it does not matter when somebody looks.
    let mut was = before.clone();
    let mut clock_steps = was.settle(Some(before), now);
    after.marks.clone_from(&was.marks);
    clock_steps.extend(after.settle(Some(&was), now));
    clock_steps.sort_by_key(|step| (step.at, step.clock, step.kind));
    CaseChanged {
        clock_steps,
        occurred_at,
        referral_position,
        before: Some(before.disposition()),
        clause_before: before.decision().and_then(|latest| latest.content.clauses().next().cloned()),
        replay_before: before.replay.is_some(),
        discrepancy_before: before.discrepancy(),
        status_before: Some(before.status()),
        case: Arc::new(after),
    }
}
