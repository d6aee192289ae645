//! Challenges: who thinks that a decision is wrong, what the platform makes of it, and what others decide. A ledger of its own:
//! a challenge never changes where its case stands, and a decision that comes of one is a decision like any other.

use std::sync::Arc;

use portreeve_core::name::{CaseName, ChallengeName, OrganisationKind, OrganisationName};
use portreeve_core::vocabulary::{FieldGroup, Nature};
use portreeve_core::{Error, Reason, Result, Timestamp, Violations, limits};

use super::ledger::{changed, resolve, withdrawn};
use super::{Case, Cause, CauseKind, Decision, DecisionDraft, Event, Kind, Later, State};

coded! {
    /// Who challenges, and how.
    ChallengeKind {
        /// The agency challenges in its own name (DSA art. 20).
        ReferrerChallenge = 1 "REFERRER_CHALLENGE",
        /// The platform mirrors a complaint of whoever posted the content (DSA art. 20; TCO art. 10).
        ContentOwnerComplaint = 2 "CONTENT_OWNER_COMPLAINT",
        /// The authority of the platform's state scrutinises an order (TCO art. 4).
        HomeAuthorityScrutiny = 3 "HOME_AUTHORITY_SCRUTINY",
        /// An oversight body reviews the decision.
        OversightReview = 4 "OVERSIGHT_REVIEW",
    }
}

coded! {
    /// Where a challenge stands.
    Stage {
        /// Filed, and not acknowledged.
        Filed = 1 "FILED",
        /// The platform has it.
        Acknowledged = 2 "ACKNOWLEDGED",
        /// The platform looks at the content again.
        InReview = 3 "IN_REVIEW",
        /// The platform keeps its decision.
        Upheld = 4 "UPHELD",
        /// The platform went back on its decision.
        Reversed = 5 "REVERSED",
        /// The platform went back on a part of it.
        PartiallyReversed = 6 "PARTIALLY_REVERSED",
        /// The platform does not decide on it.
        Omitted = 7 "OMITTED",
        /// It lies with somebody outside.
        External = 8 "EXTERNAL",
        /// Whoever it lay with has decided.
        ExternallyDecided = 9 "EXTERNALLY_DECIDED",
        /// The platform did what was decided outside.
        Implemented = 10 "IMPLEMENTED",
        /// The platform did not.
        NotImplemented = 11 "NOT_IMPLEMENTED",
        /// Pursued no further.
        Closed = 12 "CLOSED",
    }
}

coded! {
    /// What became of a challenge (Implementing Regulation (EU) 2024/2835, table 7).
    ChallengeOutcome {
        /// The decision stands.
        Upheld = 1 "UPHELD",
        /// The decision is reversed.
        Reversed = 2 "REVERSED",
        /// A part of it is reversed.
        PartiallyReversed = 3 "PARTIALLY_REVERSED",
        /// It was not decided.
        Omitted = 4 "OMITTED",
    }
}

coded! {
    /// With whom a challenge lies outside.
    Forum {
        /// The authority of the platform's state (TCO art. 4).
        Scrutiny = 1 "SCRUTINY",
        /// An out-of-court body (DSA art. 21).
        OutOfCourt = 2 "OUT_OF_COURT",
        /// A court.
        Court = 3 "COURT",
    }
}

impl ChallengeKind {
    /// What a decision that comes of it names as its cause.
    pub const fn cause(self) -> CauseKind {
        match self {
            Self::ReferrerChallenge | Self::OversightReview => CauseKind::Challenge,
            Self::ContentOwnerComplaint => CauseKind::OwnerComplaint,
            Self::HomeAuthorityScrutiny => CauseKind::Scrutiny,
        }
    }

    /// What kind of organisation files it.
    const fn filer(self) -> OrganisationKind {
        match self {
            Self::ReferrerChallenge => OrganisationKind::Agency,
            Self::ContentOwnerComplaint => OrganisationKind::Platform,
            Self::HomeAuthorityScrutiny | Self::OversightReview => OrganisationKind::Oversight,
        }
    }

    /// How long the platform has for its answer: two weeks (TCO art. 10), or 72 hours (TCO art. 4).
    pub(super) const fn time_to_answer(self) -> i64 {
        match self {
            Self::HomeAuthorityScrutiny => SCRUTINY,
            _ => COMPLAINT,
        }
    }
}

impl Forum {
    /// How long it has: 72 hours (TCO art. 4), or 90 days (DSA art. 21); no law binds a court.
    pub(super) const fn time_to_decide(self) -> Option<i64> {
        match self {
            Self::Scrutiny => Some(SCRUTINY),
            Self::OutOfCourt => Some(OUT_OF_COURT),
            Self::Court => None,
        }
    }
}

impl ChallengeOutcome {
    /// Whether it goes against the decision.
    pub const fn reverses(self) -> bool {
        matches!(self, Self::Reversed | Self::PartiallyReversed)
    }

    const fn stage(self) -> Stage {
        match self {
            Self::Upheld => Stage::Upheld,
            Self::Reversed => Stage::Reversed,
            Self::PartiallyReversed => Stage::PartiallyReversed,
            Self::Omitted => Stage::Omitted,
        }
    }
}

const HOUR: i64 = 3_600_000_000;
const SCRUTINY: i64 = 72 * HOUR;
const COMPLAINT: i64 = 14 * 24 * HOUR;
const OUT_OF_COURT: i64 = 90 * 24 * HOUR;
const WINDOW: i64 = limits::CHALLENGE_DAYS * 24 * HOUR;

/// What happens to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The platform has it.
    Acknowledge,
    /// The platform looks at the content again.
    BeginReview,
    /// The platform decides on it.
    Decide {
        /// How.
        outcome: ChallengeOutcome,
        /// Why.
        explanation: String,
        /// The version of the decision that went with it; 0 if none did.
        version: u32,
    },
    /// It is taken outside.
    Refer {
        /// To what kind of body.
        forum: Forum,
        /// Its name.
        body: String,
        /// The file number there; may be empty.
        reference: String,
    },
    /// It was decided outside.
    DecidedOutside {
        /// How.
        outcome: ChallengeOutcome,
        /// For a procedural reason alone.
        procedural: bool,
    },
    /// The platform did what was decided outside.
    Implement {
        /// The version of the decision that went with it; 0 if none did.
        version: u32,
    },
    /// The platform did not.
    LeaveUndone,
    /// Whoever filed it pursues it no further.
    Close,
}

impl Move {
    /// The stage that it leads to.
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Acknowledge => Stage::Acknowledged,
            Self::BeginReview => Stage::InReview,
            Self::Decide { outcome, .. } => outcome.stage(),
            Self::Refer { .. } => Stage::External,
            Self::DecidedOutside { .. } => Stage::ExternallyDecided,
            Self::Implement { .. } => Stage::Implemented,
            Self::LeaveUndone => Stage::NotImplemented,
            Self::Close => Stage::Closed,
        }
    }
}

/// From which stages each can be reached. What is not here cannot be done.
pub const fn reached_from(to: Stage) -> &'static [Stage] {
    use Stage::{
        Acknowledged, External, ExternallyDecided, Filed, Implemented, InReview, NotImplemented, Omitted,
        PartiallyReversed, Reversed, Upheld,
    };
    match to {
        Filed => &[],
        Acknowledged => &[Filed],
        InReview => &[Acknowledged],
        Upheld | Reversed | PartiallyReversed | Omitted => &[Acknowledged, InReview],
        // A platform that does not answer keeps nobody from going elsewhere.
        External => &[Filed, Acknowledged, InReview, Upheld, PartiallyReversed, Omitted],
        ExternallyDecided => &[External],
        Implemented => &[ExternallyDecided, NotImplemented],
        NotImplemented => &[ExternallyDecided],
        Stage::Closed => &[
            Filed,
            Acknowledged,
            InReview,
            Upheld,
            Reversed,
            PartiallyReversed,
            Omitted,
            External,
            ExternallyDecided,
            Implemented,
            NotImplemented,
        ],
    }
}

/// Something that happened to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub moved: Move,
    /// When, by the account of whoever told it.
    pub occurred_at: Timestamp,
    /// When this service recorded it.
    pub recorded_at: Timestamp,
}

/// A challenge of one version of the decision on a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Its number in the case, from 1.
    pub number: u32,
    /// Who challenges, and how.
    pub kind: ChallengeKind,
    /// The version that is challenged.
    pub version: u32,
    /// The organisation that filed it.
    pub by: OrganisationName,
    /// Why; empty for a complaint that is mirrored.
    pub reasons: String,
    /// When it was filed, by the account of whoever filed it.
    pub occurred_at: Timestamp,
    /// When this service recorded it.
    pub recorded_at: Timestamp,
    /// What happened since.
    pub facts: Vec<Fact>,
}

impl Challenge {
    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.facts.last().map_or(Stage::Filed, |fact| fact.moved.stage())
    }

    /// What was decided outside, if anything was.
    pub fn decided_outside(&self) -> Option<ChallengeOutcome> {
        self.facts.iter().rev().find_map(|fact| match fact.moved {
            Move::DecidedOutside { outcome, .. } => Some(outcome),
            _ => None,
        })
    }

    /// Whether somebody still has to do something.
    pub fn is_open(&self) -> bool {
        match self.stage() {
            Stage::Filed | Stage::Acknowledged | Stage::InReview | Stage::External => true,
            Stage::ExternallyDecided => self.decided_outside().is_some_and(ChallengeOutcome::reverses),
            _ => false,
        }
    }

    /// When the next answer is due, if somebody is bound to a time.
    pub fn due_at(&self) -> Option<Timestamp> {
        match (self.stage(), self.facts.last()) {
            (Stage::Filed | Stage::Acknowledged | Stage::InReview, _) => {
                Some(self.occurred_at.plus_micros(self.kind.time_to_answer()))
            }
            (_, Some(Fact { moved: Move::Refer { forum, .. }, occurred_at, .. })) => {
                forum.time_to_decide().map(|time| occurred_at.plus_micros(time))
            }
            _ => None,
        }
    }

    /// The latest moment of which it tells.
    fn latest_occurrence(&self) -> Timestamp {
        self.facts.last().map_or(self.occurred_at, |fact| fact.occurred_at)
    }

    /// The latest moment at which something of it was recorded.
    pub fn latest_record(&self) -> Timestamp {
        self.facts.last().map_or(self.recorded_at, |fact| fact.recorded_at)
    }

    /// The challenge as it stood before a moment; `None` if it was not there.
    pub fn as_before(&self, moment: Timestamp) -> Option<Self> {
        if self.recorded_at >= moment {
            return None;
        }
        let mut then = self.clone();
        then.facts.retain(|fact| fact.recorded_at < moment);
        Some(then)
    }

    /// Takes away what was written in words.
    pub fn clear_words(&mut self) {
        self.reasons.clear();
        for fact in &mut self.facts {
            if let Move::Decide { explanation, .. } = &mut fact.moved {
                explanation.clear();
            }
        }
    }
}

/// A challenge that is to be filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeDraft {
    /// Who challenges, and how.
    pub kind: ChallengeKind,
    /// The version that is challenged.
    pub version: u32,
    /// Why.
    pub reasons: String,
    /// When; the moment of recording if not told.
    pub occurred_at: Option<Timestamp>,
}

/// What is to happen to a challenge, and the decision that goes with it.
#[derive(Clone, Debug)]
pub struct Pursuit {
    /// Who pursues it, if that is for who filed it alone.
    pub by: Option<OrganisationName>,
    /// What.
    pub moved: Move,
    /// The decision as it is from then on, if it changes with that.
    pub decision: Option<DecisionDraft>,
    /// When; the moment of recording if not told.
    pub occurred_at: Option<Timestamp>,
}

/// The refusal of a challenge that is not there, or not to be known of.
pub fn no_challenge(name: &ChallengeName) -> Error {
    Error::new(Reason::ChallengeNotFound, format!("there is no {name} for you to see")).with("name", name)
}

/// The refusal to an agency that may not know of a case, the same whether there is one or not.
pub fn unseen(organisation: &OrganisationName) -> Error {
    let message = format!(
        "{organisation} may not see this case, or there is none; one that was referred just now takes a moment to arrive"
    );
    Error::new(Reason::PermissionDenied, message).with("organisation", organisation)
}

impl State {
    /// Files a challenge of the decision in force.
    pub(super) fn file_challenge(
        &self,
        name: &CaseName,
        draft: &ChallengeDraft,
        by: &OrganisationName,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let case = self.case(name);
        // Which cases there are is not told to those who see none of it.
        let case = match by.kind() {
            OrganisationKind::Agency => {
                case.ok().filter(|case| case.referred.name.agency == by.id()).ok_or_else(|| unseen(by))?
            }
            _ => case?,
        };
        let mut violations = Violations::new();
        check_filing(&mut violations, draft, by, case);
        violations.into_result()?;
        if case.withdrawal.is_some() {
            return Err(withdrawn(name));
        }
        let reasons = if case.is_erased(FieldGroup::Reasons) { "" } else { draft.reasons.as_str() };
        let Decision { decided_at, recorded_at: known_at, .. } = *challenged(case, name, draft.version)?;
        if let Some(open) = open_beside(case, draft.kind, draft.version, 0) {
            let again = open.by == *by && open.reasons == reasons;
            if again && draft.occurred_at.is_none_or(|at| at == open.occurred_at) {
                return Ok(Vec::new());
            }
            return Err(open_already(name, open));
        }
        let own = case.challenges.iter().filter(|of| of.by == *by).count();
        if own >= limits::FILER_CHALLENGES_MAX {
            let message = format!("{by} has filed {own} challenges on {name}, which is the most that it can");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "challenges")
                .with("maximum", limits::FILER_CHALLENGES_MAX)
                .with("actual", own + 1));
        }
        let mut violations = Violations::new();
        let floor = (decided_at, "the decision");
        let occurred_at = resolve(&mut violations, "challenge.occurred_at", draft.occurred_at, floor, now);
        let occurred_at = violations.finish(occurred_at)?;
        // Nobody can challenge what nobody could know of.
        let until = decided_at.max(known_at).plus_micros(WINDOW);
        if occurred_at > until {
            let message =
                format!("the decision of {decided_at} could be challenged until {until}; refer the content anew");
            return Err(Error::new(Reason::ChallengeWindowClosed, message)
                .with("decided_at", decided_at)
                .with("until", until));
        }
        let challenge = Challenge {
            number: case.challenges.last().map_or(1, |last| last.number + 1),
            kind: draft.kind,
            version: draft.version,
            by: by.clone(),
            reasons: reasons.to_owned(),
            occurred_at,
            recorded_at: now.max(case.latest_record()),
            facts: Vec::new(),
        };
        let number = challenge.number;
        let mut after = (**case).clone();
        after.challenges.push(challenge);
        Ok(vec![self.challenge_changed(case, after, number, (occurred_at, now))])
    }

    /// Moves a challenge on, and records the decision that goes with it: both or neither.
    pub(super) fn pursue(&self, name: &ChallengeName, pursuit: &Pursuit, now: Timestamp) -> Result<Vec<Event>> {
        let case = self.case(&name.case).map_err(|_| no_challenge(name))?;
        // What others filed is not theirs to pursue, and to most not to know of.
        let theirs = |of: &&Challenge| pursuit.by.as_ref().is_none_or(|by| *by == of.by);
        let challenge = case.challenges.iter().find(|of| of.number == name.number).filter(theirs);
        let challenge = challenge.ok_or_else(|| no_challenge(name))?;
        let mut moved = pursuit.moved.clone();
        if case.is_erased(FieldGroup::Reasons)
            && let Move::Decide { explanation, .. } = &mut moved
        {
            explanation.clear();
        }
        if repeats(challenge, &moved, pursuit, case, name) {
            return Ok(Vec::new());
        }
        check_stage(challenge, &moved, name)?;
        if matches!(moved, Move::Refer { .. })
            && let Some(open) = open_beside(case, challenge.kind, challenge.version, challenge.number)
        {
            return Err(open_already(&name.case, open));
        }
        let mut violations = Violations::new();
        let decision = pursuit.decision.as_ref().map(|decision| named(decision, name));
        check_decision(&mut violations, challenge, &moved, decision.as_ref());
        let floor = (challenge.latest_occurrence(), "what happened to the challenge last");
        let occurred_at = resolve(&mut violations, "occurred_at", pursuit.occurred_at, floor, now);
        let told = decision.as_ref().and_then(|decision| decision.decided_at);
        if told.is_some_and(|at| at < challenge.occurred_at) {
            violations.add(
                "decision.decided_at",
                format_args!("must not be before the challenge, {}", challenge.occurred_at),
            );
        }
        let occurred_at = violations.finish(occurred_at)?;

        let mut events = Vec::new();
        if let Some(mut decision) = decision {
            // A decision that is in force already was made when it was; another is made with the step.
            if !says_again(case, &decision) {
                decision.decided_at = decision.decided_at.or(Some(occurred_at));
            }
            events = self.record(&name.case, &decision, None, now)?;
        }
        let decided =
            events.iter().filter_map(Event::case_changed).next_back().map(|changed| Arc::clone(&changed.case));
        let before = decided.unwrap_or_else(|| Arc::clone(case));
        let latest = before.decision().map_or(0, |decision| decision.version);
        if let (Move::Decide { version, .. } | Move::Implement { version }, Some(_)) = (&mut moved, &pursuit.decision) {
            if latest <= challenge.version {
                let message = "a challenge is not reversed by the decision that it challenges";
                return Err(Error::new(Reason::RequestInvalid, message)
                    .at("decision", format!("must be another than version {latest}, which is challenged")));
            }
            *version = latest;
        }
        let mut after = (*before).clone();
        let recorded_at = now.max(case.latest_record());
        let fact = Fact { moved, occurred_at, recorded_at };
        after.challenges.iter_mut().filter(|of| of.number == name.number).for_each(|of| of.facts.push(fact.clone()));
        events.push(self.challenge_changed(&before, after, name.number, (occurred_at, now)));
        Ok(events)
    }

    /// The event with its times: when it was true, and now.
    fn challenge_changed(&self, before: &Case, after: Case, number: u32, (at, now): (Timestamp, Timestamp)) -> Event {
        Event::ChallengeChanged(changed(before, after, at, self.referral_position, now), number)
    }
}

/// The version that is challenged, which must be the one in force: what is no longer in force has been gone back on already.
fn challenged<'c>(case: &'c Case, name: &CaseName, version: u32) -> Result<&'c Decision> {
    let actual = case.decision().map_or(0, |latest| latest.version);
    match case.decision() {
        Some(latest) if latest.version == version => Ok(latest),
        Some(latest) if latest.version > version => {
            let message = format!("the decision in force on {name} has version {actual}, not {version}; read it first");
            Err(Error::new(Reason::StaleVersion, message)
                .with("name", name)
                .with("expected", version)
                .with("actual", actual))
        }
        _ => {
            let message = format!("{name} has no decision of version {version}; read its decisions");
            Err(Error::new(Reason::DecisionNotFound, message).with("name", format_args!("{name}/decisions/{version}")))
        }
    }
}

/// The challenge of a kind and a version that is open, but for one.
fn open_beside(case: &Case, kind: ChallengeKind, version: u32, but: u32) -> Option<&Challenge> {
    case.challenges.iter().find(|of| of.kind == kind && of.version == version && of.number != but && of.is_open())
}

fn open_already(case: &CaseName, open: &Challenge) -> Error {
    let challenge = ChallengeName { case: case.clone(), number: open.number };
    let stage = open.stage().as_str();
    Error::new(Reason::ChallengeOpen, format!("{challenge} is open already, {stage}; it must come to an end first"))
        .with("challenge", challenge)
        .with("stage", stage)
}

/// Notes what does not fit who files it, and what.
fn check_filing(violations: &mut Violations, draft: &ChallengeDraft, by: &OrganisationName, case: &Case) {
    if draft.kind.filer() != by.kind() {
        let who = match draft.kind.filer() {
            OrganisationKind::Agency => "the agency that referred the content",
            OrganisationKind::Platform => "the platform, to which whoever posted the content complained",
            _ => "an oversight body",
        };
        violations.add("challenge.kind", format_args!("{} is filed by {who}", draft.kind.as_str()));
    }
    if draft.kind == ChallengeKind::HomeAuthorityScrutiny && case.referred.nature != Nature::Order.code() {
        violations.add("challenge.kind", "must not be HOME_AUTHORITY_SCRUTINY: the referral is no order");
    }
    match (draft.kind, draft.reasons.is_empty()) {
        (ChallengeKind::ContentOwnerComplaint, false) => {
            violations
                .add("challenge.reasons", "must be empty: a complaint is mirrored without anything of the person");
        }
        (ChallengeKind::ContentOwnerComplaint, true) | (_, false) => {}
        (_, true) => violations.add("challenge.reasons", "must say why the decision is challenged"),
    }
}

/// Whether the decision in force says the same.
fn says_again(case: &Case, decision: &DecisionDraft) -> bool {
    case.decision().is_some_and(|latest| case.takes(decision).repeats(latest))
}

/// Whether it says again what has happened already.
fn repeats(challenge: &Challenge, moved: &Move, pursuit: &Pursuit, case: &Case, name: &ChallengeName) -> bool {
    challenge.facts.iter().any(|fact| {
        let (same, version) = match (&fact.moved, moved) {
            (Move::Decide { outcome, explanation, version }, Move::Decide { outcome: o, explanation: e, .. }) => {
                (outcome == o && explanation == e, *version)
            }
            (Move::Implement { version }, Move::Implement { .. }) => (true, *version),
            (known, told) => (known == told, 0),
        };
        // Of a version that others have followed since, what it said is not at hand; that it was said is.
        let follows = |decision: &DecisionDraft| {
            let latest = case.decision().map_or(0, |latest| latest.version);
            latest > version || says_again(case, &named(decision, name))
        };
        same && pursuit.occurred_at.is_none_or(|at| at == fact.occurred_at)
            && pursuit.decision.as_ref().map_or(version == 0, follows)
    })
}

/// Refuses what cannot follow where the challenge stands.
fn check_stage(challenge: &Challenge, moved: &Move, name: &ChallengeName) -> Result<()> {
    let (from, to) = (challenge.stage(), moved.stage());
    let nothing_to_do = matches!(moved, Move::Implement { .. } | Move::LeaveUndone)
        && challenge.decided_outside().is_some_and(|outcome| !outcome.reverses());
    // Whether it did what was decided outside is the platform's to tell, also of a complaint that it mirrors.
    let evades = to == Stage::Closed
        && from == Stage::ExternallyDecided
        && challenge.is_open()
        && challenge.by.kind() == OrganisationKind::Platform;
    if reached_from(to).contains(&from) && !nothing_to_do && !evades {
        return Ok(());
    }
    let advice = match (from, to) {
        _ if nothing_to_do => "; what was decided outside asks nothing of the platform",
        _ if evades => "; tell whether what was decided outside is implemented",
        (
            Stage::Filed,
            Stage::InReview | Stage::Upheld | Stage::Reversed | Stage::PartiallyReversed | Stage::Omitted,
        ) => "; acknowledge it first",
        (Stage::Closed, _) => "; that is final",
        _ => "",
    };
    let message = format!("{name} is {} and cannot become {}{advice}", from.as_str(), to.as_str());
    Err(Error::new(Reason::InvalidTransition, message)
        .with("name", name)
        .with("from", from.as_str())
        .with("to", to.as_str()))
}

/// Notes a decision that is missing, out of place or of another cause.
fn check_decision(violations: &mut Violations, challenge: &Challenge, moved: &Move, decision: Option<&DecisionDraft>) {
    let needed = match moved {
        Move::Decide { outcome, .. } => Some(outcome.reverses()),
        Move::DecidedOutside { outcome, procedural: true } if !outcome.reverses() => {
            violations.add("procedural", "goes with REVERSED and PARTIALLY_REVERSED only");
            return;
        }
        Move::LeaveUndone => Some(false),
        _ => None,
    };
    match (needed, decision) {
        (Some(true), None) => violations.add("decision", "must be the decision as it is from now on"),
        (Some(false), Some(_)) => violations.add("decision", "must be unset: the decision stands"),
        _ => {}
    }
    let Some(decision) = decision else { return };
    let kinds: &[Later] = match moved {
        Move::Decide { outcome: ChallengeOutcome::Reversed, .. } => &[Later::Reversed, Later::Reinstated],
        _ => &[Later::Reversed, Later::Reinstated, Later::Amended],
    };
    if !matches!(decision.content.kind, Kind::Later(later, _) if kinds.contains(&later)) {
        let names = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ");
        violations.add("decision.kind", format_args!("must be {names}"));
        return;
    }
    let causes: &[CauseKind] = match moved {
        Move::Decide { .. } => &[challenge.kind.cause()],
        _ => &[CauseKind::Court, CauseKind::Scrutiny, challenge.kind.cause()],
    };
    if !decision.content.kind.cause().is_some_and(|cause| causes.contains(&cause.kind)) {
        let names = causes.iter().map(|cause| cause.as_str()).collect::<Vec<_>>().join(" or ");
        violations.add("decision.cause", format_args!("must be {names}, of a later version"));
    }
}

/// The decision with the challenge as its cause's reference, where it names none.
fn named(decision: &DecisionDraft, name: &ChallengeName) -> DecisionDraft {
    let mut decision = decision.clone();
    if let Kind::Later(_, Cause { reference, .. }) = &mut decision.content.kind
        && reference.is_empty()
    {
        *reference = name.to_string();
    }
    decision
}
