//! The clocks of a case (DOMAIN 6.6). What happened to the case starts, stops, resumes and ends them, and nothing else does: they are
//! a function of it. Only their marks come of the time, and each is a fact that is recorded once.

use std::fmt;
use std::str::FromStr;

use portreeve_core::vocabulary::Nature;
use portreeve_core::{Timestamp, limits};

use super::stay::StayEnd;
use super::{Case, Challenge, Decision, Forum, Move, Notification, Outcome, Progress};

coded! {
    /// What a clock measures.
    ClockKind {
        /// How long the platform has to carry an order out (TCO art. 3(3)).
        Order = 1 "ORDER",
        /// How long the platform has said that it takes to decide.
        Response = 2 "RESPONSE",
        /// How long the agency has to answer a question.
        Information = 3 "INFORMATION",
        /// How long the platform has to decide on a challenge.
        Challenge = 4 "CHALLENGE",
        /// How long a body outside has.
        External = 5 "EXTERNAL",
        /// Until when the target is suspended.
        Suspension = 6 "SUSPENSION",
        /// Until when whoever posted the content is not told.
        NonDisclosure = 7 "NON_DISCLOSURE",
        /// How long the platform keeps what an order removed (TCO art. 6).
        Preservation = 8 "PRESERVATION",
    }
}

coded! {
    /// Where a clock stands.
    ClockState {
        /// It runs, and its time is not over.
        Running = 1 "RUNNING",
        /// A stay stops it.
        Stopped = 2 "STOPPED",
        /// It runs, and its time is over.
        Overdue = 3 "OVERDUE",
        /// It ended within its time.
        Met = 4 "MET",
        /// It ended after its time.
        Missed = 5 "MISSED",
        /// Its time is over, as was meant.
        Expired = 6 "EXPIRED",
        /// What it measured is of no more interest.
        Cancelled = 7 "CANCELLED",
    }
}

coded! {
    /// What happened to a clock.
    StepKind {
        /// It began to run.
        Started = 1 "STARTED",
        /// Half of its time was over.
        Half = 2 "HALF",
        /// Four fifths of its time were over.
        FourFifths = 3 "FOUR_FIFTHS",
        /// Its time was over.
        Whole = 4 "WHOLE",
        /// It was stopped.
        Stopped = 5 "STOPPED",
        /// It went on.
        Resumed = 6 "RESUMED",
        /// It ended.
        Ended = 7 "ENDED",
    }
}

/// The parts of a clock's time, in percent, that are told when they are over.
const PARTS: [(u32, StepKind); 3] = [(50, StepKind::Half), (80, StepKind::FourFifths), (100, StepKind::Whole)];

const MONTHS_6: i64 = limits::CHALLENGE_DAYS * 24 * 3_600_000_000;

/// Which of a case's clocks it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockKey {
    /// What it measures.
    pub kind: ClockKind,
    /// The number of the stay or the challenge, or the version of the decision, that it is of; 0 for the case's own.
    pub number: u32,
}

impl ClockKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Response => "response",
            Self::Information => "information",
            Self::Challenge => "challenge",
            Self::External => "external",
            Self::Suspension => "suspension",
            Self::NonDisclosure => "non-disclosure",
            Self::Preservation => "preservation",
        }
    }

    /// Whether there is one of it in a case, which has no number.
    const fn is_single(self) -> bool {
        matches!(self, Self::Order | Self::Response | Self::Preservation)
    }

    /// Whether the end of its time is what was meant, and no breach.
    pub const fn expires(self) -> bool {
        matches!(self, Self::Suspension | Self::NonDisclosure | Self::Preservation)
    }
}

impl fmt::Display for ClockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        if self.kind.is_single() { Ok(()) } else { write!(f, "-{}", self.number) }
    }
}

impl FromStr for ClockKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(kind) = ClockKind::ALL.iter().find(|kind| kind.is_single() && kind.word() == text) {
            return Ok(Self { kind: *kind, number: 0 });
        }
        let (word, number) = text.rsplit_once('-').ok_or(())?;
        let kind = ClockKind::ALL.iter().find(|kind| !kind.is_single() && kind.word() == word).ok_or(())?;
        Ok(Self { kind: *kind, number: number.parse().map_err(|_| ())? })
    }
}

/// A part of a clock's time that was over before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of which clock.
    pub clock: ClockKey,
    /// The part, in percent.
    pub percent: u32,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// How a clock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What was to be done was done.
    Done(Timestamp),
    /// What it measured is of no more interest.
    Cancelled(Timestamp),
    /// Nothing was done, and nothing can be any more.
    Lapsed(Timestamp),
}

impl End {
    /// When.
    pub const fn at(self) -> Timestamp {
        match self {
            Self::Done(at) | Self::Cancelled(at) | Self::Lapsed(at) => at,
        }
    }
}

/// A time during which a clock stands still: since when, and until when if it is over.
pub type Stop = (Timestamp, Option<Timestamp>);

/// A clock of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Which.
    pub key: ClockKey,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it may run, in microseconds.
    pub time: i64,
    /// When it stood still, in order.
    pub stops: Vec<Stop>,
    /// Whether it begins anew after each stop: the hour of a removal order starts when the ground has ceased, or with the clarification
    /// (TCO art. 3(7) and (8)).
    pub restarts: bool,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// Its marks, in order.
    pub marks: Vec<Mark>,
}

/// Something that happened to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// To which.
    pub clock: ClockKey,
    /// What.
    pub kind: StepKind,
    /// When it was true.
    pub at: Timestamp,
}

impl Clock {
    /// When a part of its time, in percent, is or was over; `None` while it is stopped before that.
    pub fn reaches(&self, percent: u32) -> Option<Timestamp> {
        // Divided first, for a year of microseconds a hundred times over is no i64.
        let target = self.time / 100 * i64::from(percent) + self.time % 100 * i64::from(percent) / 100;
        let (mut ran, mut since) = (0, self.started_at);
        for (from, until) in &self.stops {
            let run = from.micros().saturating_sub(since.micros()).max(0);
            if ran + run >= target {
                break;
            }
            ran = if self.restarts { 0 } else { ran + run };
            since = since.max((*until)?);
        }
        Some(since.plus_micros(target - ran))
    }

    /// When its time is or was over; `None` while it is stopped before that.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.reaches(100)
    }

    /// How much of its time was left when it was stopped, in microseconds; `None` if it is not.
    pub fn left(&self) -> Option<i64> {
        let stopped = self.end.is_none() && self.due_at().is_none();
        let mut ran = 0;
        let mut since = self.started_at;
        for (from, until) in &self.stops {
            let run = from.micros().saturating_sub(since.micros()).max(0);
            ran = if self.restarts { 0 } else { ran + run };
            since = until.map_or(since, |until| until.max(since));
        }
        stopped.then_some(self.time - ran)
    }

    fn is_marked(&self, percent: u32) -> bool {
        self.marks.iter().any(|mark| mark.percent == percent)
    }

    /// Where it stands, as far as it is recorded.
    pub fn state(&self) -> ClockState {
        match self.end {
            Some(End::Done(at)) if self.due_at().is_some_and(|due| due < at) => ClockState::Missed,
            Some(End::Done(_)) => ClockState::Met,
            Some(End::Lapsed(_)) => ClockState::Missed,
            Some(End::Cancelled(_)) => ClockState::Cancelled,
            None if self.is_marked(100) && self.key.kind.expires() => ClockState::Expired,
            None if self.is_marked(100) => ClockState::Overdue,
            None if self.due_at().is_none() => ClockState::Stopped,
            None => ClockState::Running,
        }
    }

    /// Whether somebody still has to do something, or its time is not over.
    pub fn is_open(&self) -> bool {
        matches!(self.state(), ClockState::Running | ClockState::Stopped | ClockState::Overdue)
    }

    /// When its next mark is due; `None` if there is none, or none while it is stopped.
    fn next_mark(&self) -> Option<Timestamp> {
        let missing = PARTS.iter().filter(|(percent, _)| !self.is_marked(*percent));
        missing.filter_map(|(percent, _)| self.reaches(*percent)).min().filter(|_| self.end.is_none())
    }

    /// The marks that are missing of what was over at an instant, or when it ended.
    fn missing(&self, now: Timestamp) -> impl Iterator<Item = Mark> {
        let until = self.end.map_or(now, |end| end.at().min(now));
        let over = move |percent: u32| self.reaches(percent).is_some_and(|at| at <= until) && !self.is_marked(percent);
        let mark = move |percent| Mark { clock: self.key, percent, recorded_at: now };
        PARTS.iter().map(|(percent, _)| *percent).filter(move |percent| over(*percent)).map(mark)
    }

    /// What happened to it since it was as it was before.
    fn since(&self, before: Option<&Self>, steps: &mut Vec<Step>) {
        let mut step = |kind, at| steps.push(Step { clock: self.key, kind, at });
        if before.is_none() {
            step(StepKind::Started, self.started_at);
        }
        let known = before.map_or(&[] as &[_], |before| &before.stops);
        for (index, (from, until)) in self.stops.iter().enumerate() {
            let was = known.get(index);
            if was.is_none() {
                step(StepKind::Stopped, *from);
            }
            if let Some(until) = until.filter(|_| was.is_none_or(|(_, until)| until.is_none())) {
                step(StepKind::Resumed, until);
            }
        }
        for (percent, kind) in PARTS {
            let new = self.is_marked(percent) && !before.is_some_and(|before| before.is_marked(percent));
            if let Some(at) = self.reaches(percent).filter(|_| new) {
                step(kind, at);
            }
        }
        if let Some(end) = self.end.filter(|_| before.is_none_or(|before| before.end.is_none())) {
            step(StepKind::Ended, end.at());
        }
    }
}

impl Case {
    /// Its clocks, in the order of their kinds.
    pub fn clocks(&self) -> Vec<Clock> {
        let mut clocks = Vec::new();
        let order = self.referred.order.as_ref();
        let mut add = |kind, number, started_at: Timestamp, time, stops, end| {
            let key = ClockKey { kind, number };
            let marks = self.marks.iter().filter(|mark| mark.clock == key).copied().collect();
            let restarts = kind == ClockKind::Order && order.is_some_and(super::Order::restarts);
            clocks.push(Clock { key, started_at, time, stops, restarts, end, marks });
        };
        let gone = self.withdrawal.as_ref().map(|gone| gone.occurred_at);
        if let Some(receipt) = self.receipt() {
            let started = receipt.occurred_at;
            let end = |done: Option<Timestamp>| {
                done.map(|at| End::Done(at.max(started))).or(gone.map(|at| End::Cancelled(at.max(started))))
            };
            let stops = || self.stays.iter().map(|stay| (stay.began_at, stay.end.map(|(_, at)| at))).collect();
            if let Some(time) = order.and_then(super::Order::time) {
                add(ClockKind::Order, 0, started, time, stops(), end(self.order_answered_at));
            }
            if let Some(time) = self.response_time {
                add(ClockKind::Response, 0, started, time, stops(), end(self.first_decided_at()));
            }
        }
        for stay in &self.stays {
            let Some(answer_by) = stay.answer_by else { continue };
            let end = stay.end.map(|(end, at)| match end {
                StayEnd::Answered | StayEnd::Ceased => End::Done(at),
                StayEnd::Lapsed => End::Lapsed(at),
                StayEnd::Decided | StayEnd::Withdrawn => End::Cancelled(at),
            });
            add(ClockKind::Information, stay.number, stay.began_at, span(stay.began_at, answer_by), Vec::new(), end);
        }
        for challenge in &self.challenges {
            let end = answered(challenge);
            let time = challenge.kind.time_to_answer();
            add(ClockKind::Challenge, challenge.number, challenge.occurred_at, time, Vec::new(), end);
        }
        for challenge in &self.challenges {
            if let Some((started, time, end)) = outside(challenge) {
                add(ClockKind::External, challenge.number, started, time, Vec::new(), end);
            }
        }
        if let Progress::Decided { latest, .. } = &self.progress {
            let Decision { version, content, decided_at, .. } = &**latest;
            if let Outcome::SuspendedUntil(until) = content.outcome {
                add(ClockKind::Suspension, *version, *decided_at, span(*decided_at, until), Vec::new(), None);
            }
            if let Some(Notification::Suppressed(until)) = content.notification {
                add(ClockKind::NonDisclosure, *version, *decided_at, span(*decided_at, until), Vec::new(), None);
            }
            if let Some(at) = content.effective_at.filter(|_| content.outcome.acts())
                && order.is_some_and(super::Order::preserves)
            {
                add(ClockKind::Preservation, 0, at, MONTHS_6, Vec::new(), None);
            }
        }
        if let Some(until) = order.and_then(super::Order::not_disclosed_until) {
            let started = self.referred.occurred_at;
            let lifted = order.and_then(super::Order::disclosed_at);
            let over = lifted.or(gone).filter(|at| *at < until);
            let end = over.map(|at| End::Cancelled(at.max(started)));
            add(ClockKind::NonDisclosure, 0, started, span(started, until), Vec::new(), end);
        }
        clocks
    }

    /// When the time alone next brings something to it: a mark of one of its clocks, or that nobody answered.
    pub fn next_mark(&self) -> Option<Timestamp> {
        // Over until it has lapsed, whatever is marked.
        let lapse = self.stay().and_then(|stay| stay.answer_by);
        self.clocks().iter().filter_map(Clock::next_mark).chain(lapse).min()
    }

    /// How many of its clocks are open.
    pub fn clocks_open(&self) -> usize {
        self.clocks().iter().filter(|clock| clock.is_open()).count()
    }

    /// The earliest time at which one of its open clocks is due, over or not.
    pub fn clocks_due(&self) -> Option<Timestamp> {
        self.clocks().iter().filter(|clock| clock.is_open()).filter_map(Clock::due_at).min()
    }

    /// Notes the marks that are due, and gives what happened to its clocks since it was as it was before, in the order in which it
    /// was true.
    pub(super) fn settle(&mut self, before: Option<&Self>, now: Timestamp) -> Vec<Step> {
        let was = before.map(Self::clocks).unwrap_or_default();
        // Marks of a clock that is no more go with it, and those of one that another decision began anew.
        let is = self.clocks();
        let begun = |clock: &Clock| was.iter().find(|before| before.key == clock.key).map(|before| before.started_at);
        let anew = |clock: &Clock| clock.key.kind.expires() && begun(clock).is_some_and(|at| at != clock.started_at);
        // Nor does one count that was due before the time became longer, and is not yet by the longer one.
        let early = |clock: &Clock, mark: &Mark| {
            clock.key.kind.expires() && clock.reaches(mark.percent).is_some_and(|at| at > mark.recorded_at)
        };
        self.marks.retain(|mark| is.iter().any(|clock| clock.key == mark.clock && !anew(clock) && !early(clock, mark)));
        let missing = self.clocks().iter().flat_map(|clock| clock.missing(now).collect::<Vec<_>>()).collect::<Vec<_>>();
        self.marks.extend(missing);
        self.marks.sort_by_key(|mark| (mark.clock, mark.percent));
        let is = self.clocks();
        let mut steps = Vec::new();
        for clock in &is {
            clock.since(was.iter().find(|before| before.key == clock.key), &mut steps);
        }
        // One that was of a decision which is no longer in force.
        for clock in was.iter().filter(|before| before.is_open() && !is.iter().any(|clock| clock.key == before.key)) {
            steps.push(Step { clock: clock.key, kind: StepKind::Ended, at: now });
        }
        steps.sort_by_key(|step| (step.at, step.clock, step.kind));
        steps
    }
}

impl Case {
    /// When the decision in force answers the order: when what it does takes effect, or when it refuses. `None` while that is not said,
    /// and where there is no order.
    pub(super) fn order_answer(&self) -> Option<Timestamp> {
        let Decision { content, decided_at, .. } =
            self.decision().filter(|_| self.referred.nature == Nature::Order.code())?;
        if content.outcome.acts() { content.effective_at } else { Some(*decided_at) }
    }
}

fn span(from: Timestamp, until: Timestamp) -> i64 {
    until.micros().saturating_sub(from.micros()).max(0)
}

/// How the platform's time for a challenge ended, if it has.
fn answered(challenge: &Challenge) -> Option<End> {
    challenge.facts.iter().find_map(|fact| match fact.moved {
        Move::Decide { .. } => Some(End::Done(fact.occurred_at)),
        Move::Refer { .. } | Move::Close => Some(End::Cancelled(fact.occurred_at)),
        _ => None,
    })
}

/// When a challenge was taken outside, what time there is for it there, and how that ended, if it has.
fn outside(challenge: &Challenge) -> Option<(Timestamp, i64, Option<End>)> {
    let mut facts = challenge.facts.iter();
    let (forum, started): (Forum, _) = facts.find_map(|fact| match fact.moved {
        Move::Refer { forum, .. } => Some((forum, fact.occurred_at)),
        _ => None,
    })?;
    let end = facts.find_map(|fact| match fact.moved {
        Move::DecidedOutside { .. } => Some(End::Done(fact.occurred_at)),
        Move::Close => Some(End::Cancelled(fact.occurred_at)),
        _ => None,
    });
    Some((started, forum.time_to_decide()?, end))
}
