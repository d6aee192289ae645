//! When a platform cannot go on with a case: it asked the agency something, or is kept from carrying an order out (TCO art. 3(7) and
//! (8)). A stay stops the clocks of the order and of the response; the receipt stays what it is.

use std::sync::Arc;

use portreeve_core::name::{CaseName, OrganisationName, StayName};
use portreeve_core::vocabulary::{FieldGroup, Nature};
use portreeve_core::{Error, Reason, Result, Timestamp, Violations, limits};

use super::challenge::unseen;
use super::ledger::{Step, changed, impossible, step};
use super::{Basis, Case, Content, Decision, Event, Kind, Outcome, Progress, Receipt, Source, State, Status};

coded! {
    /// Why the platform cannot go on.
    StayGround {
        /// What it was told is not enough.
        InsufficientInformation = 1 "INSUFFICIENT_INFORMATION",
        /// What it was told has manifest errors.
        ManifestErrors = 2 "MANIFEST_ERRORS",
        /// Force majeure.
        ForceMajeure = 3 "FORCE_MAJEURE",
        /// It is impossible in fact.
        DeFactoImpossibility = 4 "DE_FACTO_IMPOSSIBILITY",
    }
}

coded! {
    /// What a platform wants to know.
    QuestionCode {
        /// Where the content is.
        Location = 1 "LOCATION",
        /// What of the content is meant.
        Part = 2 "PART",
        /// What the content means.
        Context = 3 "CONTEXT",
        /// What it says.
        Translation = 4 "TRANSLATION",
        /// On which provision the referral rests.
        LegalBasis = 5 "LEGAL_BASIS",
        /// That the authority may ask this.
        Authority = 6 "AUTHORITY",
        /// Something that shows what the platform cannot see.
        Evidence = 7 "EVIDENCE",
        /// Something else.
        Other = 8 "OTHER",
    }
}

coded! {
    /// How a stay ended.
    StayEnd {
        /// The agency answered.
        Answered = 1 "ANSWERED",
        /// What kept the platform from going on has ceased.
        Ceased = 2 "CEASED",
        /// Nobody answered in time.
        Lapsed = 3 "LAPSED",
        /// The platform decided without waiting.
        Decided = 4 "DECIDED",
        /// The referral was withdrawn.
        Withdrawn = 5 "WITHDRAWN",
    }
}

impl StayGround {
    /// Whether the agency ends it with an answer.
    pub const fn asks(self) -> bool {
        matches!(self, Self::InsufficientInformation | Self::ManifestErrors)
    }
}

/// A time during which the platform cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Its number in the case, from 1.
    pub number: u32,
    /// What it is about.
    pub content: StayContent,
    /// When it began, by the server's clock.
    pub began_at: Timestamp,
    /// By when the agency must answer, if it must.
    pub answer_by: Option<Timestamp>,
    /// How and when it ended, by the server's clock, if it has.
    pub end: Option<(StayEnd, Timestamp)>,
    /// What the agency answered.
    pub answer: String,
}

/// What a stay is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StayContent {
    /// Why.
    pub ground: StayGround,
    /// What the platform wants to know; nothing where it is kept from going on.
    pub questions: Vec<QuestionCode>,
    /// The question, or what keeps it from going on.
    pub explanation: String,
}

impl Stay {
    /// The stay as it stood before a moment; `None` if it was not there.
    pub fn as_before(&self, moment: Timestamp) -> Option<Self> {
        if self.began_at >= moment {
            return None;
        }
        let mut then = self.clone();
        if then.end.is_some_and(|(_, at)| at >= moment) {
            then.end = None;
            then.answer.clear();
        }
        Some(then)
    }

    /// The latest moment at which something of it was recorded.
    pub fn latest_record(&self) -> Timestamp {
        self.end.map_or(self.began_at, |(_, at)| at)
    }

    /// Takes away what was written in words.
    pub fn clear_words(&mut self) {
        self.content.explanation.clear();
        self.answer.clear();
    }
}

/// The refusal of a stay that is not there, or not the caller's to end.
pub fn no_stay(name: &StayName) -> Error {
    Error::new(Reason::StayNotFound, format!("there is no {name} for you to end")).with("name", name)
}

impl Case {
    /// The stay that lasts, if one does.
    pub fn stay(&self) -> Option<&Stay> {
        self.stays.last().filter(|stay| stay.end.is_none())
    }

    /// Whether the platform waits for an answer.
    pub fn waits_for_answer(&self) -> bool {
        self.stay().is_some_and(|stay| stay.content.ground.asks())
    }

    /// Ends the stay that lasts, if one does.
    pub(super) fn end_stay(&mut self, end: StayEnd, at: Timestamp) {
        if let Some(stay) = self.stays.last_mut().filter(|stay| stay.end.is_none()) {
            stay.end = Some((end, at));
        }
    }
}

impl State {
    /// The platform asks the agency something, or tells what keeps it from carrying an order out.
    pub(super) fn begin_stay(
        &self,
        name: &CaseName,
        content: &StayContent,
        answer_by: Option<Timestamp>,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let case = self.case(name)?;
        let asks = content.ground.asks();
        let mut content = content.clone();
        if case.is_erased(FieldGroup::Reasons) {
            content.explanation.clear();
        }
        if case.stay().is_some_and(|stay| stay.content == content && stay.answer_by == answer_by) {
            return Ok(Vec::new());
        }
        let (to, taken) = if asks { ("INFO_REQUESTED", Step::Ask) } else { ("UNDER_REVIEW", Step::Impede) };
        step(case, taken, to)?;
        case.held_by(by, now)?;
        if let Some(stay) = case.stay() {
            let lasts = StayName { case: name.clone(), number: stay.number };
            return Err(impossible(name, case.status().as_str(), to, &format!("; {lasts} lasts, and must end first")));
        }
        let order = case.referred.nature == Nature::Order.code();
        let mut violations = Violations::new();
        if !asks && !order {
            violations.add("parent", "must be the case of an order: nothing else must be carried out");
        }
        check_answer_by(&mut violations, answer_by, asks, order, now);
        violations.into_result()?;
        if case.stays.len() >= limits::CASE_STAYS_MAX {
            let message = format!("{name} has had {} stays, which is the most that it can", case.stays.len());
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "stays")
                .with("maximum", limits::CASE_STAYS_MAX)
                .with("actual", case.stays.len() + 1));
        }
        let number = case.stays.last().map_or(1, |last| last.number + 1);
        let began_at = now.max(case.latest_record());
        let mut after = (**case).clone();
        after.stays.push(Stay { number, content, began_at, answer_by, end: None, answer: String::new() });
        Ok(vec![self.stay_changed(case, after, number, now)])
    }

    /// The agency answers.
    pub(super) fn answer(
        &self,
        name: &StayName,
        answer: &str,
        by: &OrganisationName,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let case = self.case(&name.case).ok().filter(|case| case.referred.name.agency == by.id());
        let case = case.ok_or_else(|| unseen(by))?;
        let answer = if case.is_erased(FieldGroup::Reasons) { "" } else { answer };
        self.end(name, case, StayEnd::Answered, answer, now)
    }

    /// What kept the platform from going on has ceased.
    pub(super) fn cease(&self, name: &StayName, now: Timestamp) -> Result<Vec<Event>> {
        let case = self.case(&name.case).map_err(|_| no_stay(name))?;
        self.end(name, case, StayEnd::Ceased, "", now)
    }

    fn end(&self, name: &StayName, case: &Arc<Case>, by: StayEnd, answer: &str, now: Timestamp) -> Result<Vec<Event>> {
        let mine = |stay: &&Stay| stay.number == name.number && stay.content.ground.asks() == (by == StayEnd::Answered);
        let stay = case.stays.iter().find(mine).ok_or_else(|| no_stay(name))?;
        let over = |end: StayEnd, at: Timestamp| {
            let (from, to) = (end.as_str(), by.as_str());
            let message = format!("{name} ended {from} at {at} and cannot become {to}");
            Error::new(Reason::InvalidTransition, message).with("name", name).with("from", from).with("to", to)
        };
        match stay.end {
            Some((end, _)) if end == by && stay.answer == answer => return Ok(Vec::new()),
            Some((end, at)) => return Err(over(end, at)),
            None => {}
        }
        // What happens when the time is over was said before, whenever that comes to be recorded.
        if let Some(answer_by) = stay.answer_by.filter(|answer_by| *answer_by <= now) {
            return Err(over(StayEnd::Lapsed, answer_by));
        }
        let mut after = (**case).clone();
        let at = now.max(case.latest_record());
        for stay in after.stays.iter_mut().filter(|stay| stay.number == name.number) {
            stay.end = Some((by, at));
            answer.clone_into(&mut stay.answer);
        }
        Ok(vec![self.stay_changed(case, after, name.number, now)])
    }

    fn stay_changed(&self, before: &Case, after: Case, number: u32, now: Timestamp) -> Event {
        let at = after.stays.last().map_or(now, Stay::latest_record);
        Event::StayChanged(changed(before, after, at, self.referral_position, now), number)
    }

    /// Records what the time alone has brought to cases: that nobody answered, and marks of clocks.
    pub(super) fn tick(&self, cases: &[portreeve_core::id::Uuid], now: Timestamp) -> Vec<Event> {
        let known = cases.iter().filter_map(|id| self.cases.get(id)).map(|record| &record.case);
        known.filter_map(|case| self.lapse(case, now).or_else(|| self.mark(case, now))).collect()
    }

    /// Decides a case whose question nobody answered in time, as the platform said when it asked.
    pub(super) fn lapse(&self, case: &Arc<Case>, now: Timestamp) -> Option<Event> {
        let stay = case.stay()?;
        let answer_by = stay.answer_by.filter(|answer_by| *answer_by <= now)?;
        let Progress::Received(receipt) = case.progress else { return None };
        let mut after = (**case).clone();
        after.end_stay(StayEnd::Lapsed, answer_by);
        let mut decision = unanswered(stay, receipt, answer_by, now.max(case.latest_record()));
        let decided_at = decision.decided_at;
        if case.is_erased(FieldGroup::Reasons) {
            decision.content.explanation.clear();
        }
        after.progress = Progress::Decided { receipt, first_decided_at: decided_at, latest: Box::new(decision) };
        Some(Event::CaseDecided(changed(case, after, decided_at, self.referral_position, now)))
    }

    fn mark(&self, case: &Arc<Case>, now: Timestamp) -> Option<Event> {
        case.next_mark().filter(|at| *at <= now)?;
        let changed = changed(case, (**case).clone(), now, self.referral_position, now);
        Some(Event::ClockMarked(changed))
    }
}

/// By when an answer must come: a question of anything but an order has such a time.
fn check_answer_by(violations: &mut Violations, answer_by: Option<Timestamp>, asks: bool, order: bool, now: Timestamp) {
    let (earliest, latest) = (
        now.plus_micros(limits::ANSWER_MICROS_MIN - limits::CLOCK_SKEW_MICROS),
        now.plus_micros(limits::ANSWER_MICROS_MAX),
    );
    match answer_by {
        None if asks && !order => violations.add("answer_by", "must say by when the agency must answer"),
        Some(_) if order => {
            violations.add("answer_by", "must be unset: an order waits for the clarification (TCO art. 3(8))");
        }
        Some(at) if at < earliest || at > latest.plus_micros(limits::CLOCK_SKEW_MICROS) => {
            violations.add("answer_by", format_args!("must be an hour to 90 days from now, {now}"));
        }
        _ => {}
    }
}

/// The decision that a platform made when it asked: what it is if nobody answers.
fn unanswered(stay: &Stay, receipt: Receipt, answer_by: Timestamp, recorded_at: Timestamp) -> Decision {
    let explanation = format!("The question of {} was not answered by {answer_by}.", stay.began_at);
    Decision {
        version: 1,
        content: Content {
            kind: Kind::Initial,
            outcome: Outcome::InsufficientInfo,
            also: Basis::default(),
            decided_by: Source::Automated,
            effective_at: None,
            territorial_scope: Vec::new(),
            explanation,
            language_reviewed: String::new(),
            redress: Vec::new(),
            notification: None,
        },
        decided_at: answer_by.max(receipt.occurred_at),
        recorded_at,
    }
}

impl Case {
    /// Where a case that is received and not decided stands.
    pub(super) fn received_status(&self) -> Status {
        match self.stays.last() {
            _ if self.waits_for_answer() => Status::InfoRequested,
            Some(_) => Status::UnderReview,
            None if self.review_began_at.is_some() => Status::UnderReview,
            None => Status::Received,
        }
    }
}
