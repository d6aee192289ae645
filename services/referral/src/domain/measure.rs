//! Measures against misuse of the right to refer (DSA art. 23): warnings, and suspensions for a time. Facts are told by
//! oversight and the agency; time alone does the rest, and it never ends a measure later than its subject was told.

use portreeve_core::id::Uuid;
use portreeve_core::name::{MeasureName, OrganisationKind, OrganisationName};
use portreeve_core::principal::unnamed;
use portreeve_core::time::DAY_MICROS;
use portreeve_core::vocabulary::{AppealOutcome, MeasureKind, MisuseGravity, MisuseIntent};
use portreeve_core::{Error, Reason, Result, Timestamp, Violations, limits};

use super::ledger::{Event, State as Loaded};

/// What a measure rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// Referrals of the period that were manifestly unfounded.
    pub unfounded: u32,
    /// All referrals of the period.
    pub referred: u32,
    /// When the period began.
    pub from: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// How grave it is.
    pub gravity: MisuseGravity,
    /// With what intention, where that can be told.
    pub intent: Option<MisuseIntent>,
}

/// A measure that is to be imposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMeasure {
    /// Its name, minted for it.
    pub name: MeasureName,
    /// What it does.
    pub kind: MeasureKind,
    /// The member whom alone it is about.
    pub member: Option<String>,
    /// When a suspension begins; now if not told.
    pub start: Option<Timestamp>,
    /// When it ends; a warning has no end of its own.
    pub end: Option<Timestamp>,
    /// Why.
    pub reasons: String,
    /// What it rests on.
    pub grounds: Grounds,
}

/// A decision on an appeal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the measure.
    pub outcome: AppealOutcome,
    /// When the suspension ends by it.
    pub shortened: Option<Timestamp>,
    /// Why.
    pub reasons: String,
    /// The oversight body.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The agency's appeal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appeal {
    /// Why.
    pub reasons: String,
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub verdict: Option<Verdict>,
}

/// A measure taken back without an appeal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// Why.
    pub reasons: String,
    /// The oversight body.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Where a measure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its start is still to come.
    Scheduled,
    /// In force.
    InForce,
    /// Ended with its time.
    Ended,
    /// Taken back.
    Lifted,
}

impl State {
    /// The state's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::InForce => "IN_FORCE",
            Self::Ended => "ENDED",
            Self::Lifted => "LIFTED",
        }
    }
}

/// A measure with all that was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name.
    pub name: MeasureName,
    /// What it does.
    pub kind: MeasureKind,
    /// The member whom alone it is about.
    pub member: Option<String>,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends, as it was imposed.
    pub end: Timestamp,
    /// Why.
    pub reasons: String,
    /// What it rests on.
    pub grounds: Grounds,
    /// The earlier warning that a suspension followed.
    pub warning: Option<Uuid>,
    /// Who imposed it, as a principal writes itself. The log's events name the organisation alone: the member is in their
    /// actor.
    pub imposer: String,
    /// The appeal.
    pub appeal: Option<Appeal>,
    /// That it was taken back without one.
    pub lift: Option<Lift>,
    /// When it was imposed.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The position of the event that imposed it.
    pub created: i64,
    /// The position of the last event that changed it.
    pub updated: i64,
}

/// What of a measure decides who may refer, and whether a suspension has its warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The measure.
    pub id: Uuid,
    /// What it does.
    pub kind: MeasureKind,
    /// The member whom alone it is about.
    pub member: Option<String>,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends as things stand.
    pub ends: Timestamp,
}

impl Reach {
    fn in_force(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.ends
    }
}

impl Measure {
    /// The oversight body that imposed it.
    pub fn imposed_by(&self) -> &str {
        body(&self.imposer)
    }

    /// When it was taken back, by whatever way.
    pub fn lifted_at(&self) -> Option<Timestamp> {
        let verdict = self.appeal.as_ref().and_then(|appeal| appeal.verdict.as_ref());
        let lifted = verdict.filter(|verdict| verdict.outcome == AppealOutcome::Lifted).map(|verdict| verdict.at);
        self.lift.as_ref().map(|lift| lift.at).or(lifted)
    }

    /// When it ends or ended as things stand: never later than it was first told.
    pub fn ends_at(&self) -> Timestamp {
        let verdict = self.appeal.as_ref().and_then(|appeal| appeal.verdict.as_ref());
        let shortened = verdict.and_then(|verdict| verdict.shortened);
        [shortened, self.lifted_at()].into_iter().flatten().fold(self.end, Timestamp::min)
    }

    /// Until when it can be appealed against.
    pub fn appealable_until(&self) -> Timestamp {
        self.created_at.plus_micros(limits::APPEAL_DAYS * DAY_MICROS)
    }

    /// Where it stands at a moment that no fact comes after.
    pub fn state(&self, now: Timestamp) -> State {
        if self.lifted_at().is_some() {
            State::Lifted
        } else if now >= self.ends_at() {
            State::Ended
        } else if now < self.start {
            State::Scheduled
        } else {
            State::InForce
        }
    }

    /// What of it decides who may refer.
    pub fn reach(&self) -> Reach {
        let (id, member) = (self.name.id, self.member.clone());
        Reach { id, kind: self.kind, member, start: self.start, ends: self.ends_at() }
    }
}

/// What is done about a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The agency appeals, with its reasons.
    Appeal(String),
    /// Oversight decides the appeal.
    Decide {
        /// What becomes of the measure.
        outcome: AppealOutcome,
        /// When the suspension ends by it.
        shortened: Option<Timestamp>,
        /// Why.
        reasons: String,
    },
    /// Oversight takes it back, with its reasons.
    Lift(String),
}

impl Act {
    /// What the act makes of a measure, for naming it in an error.
    const fn to(&self) -> &'static str {
        match self {
            Self::Appeal(_) => "APPEALED",
            Self::Decide { .. } => "DECIDED",
            Self::Lift(_) => "LIFTED",
        }
    }
}

/// The measure after what a principal does about it; `None` if it was done before.
pub fn act(measure: &Measure, act: &Act, by: &str, now: Timestamp) -> Result<Option<Measure>> {
    if matches!(act, Act::Decide { .. }) && measure.imposer == by {
        let message = format!("you imposed {}; another supervisor decides the appeal", measure.name);
        return Err(Error::new(Reason::DeciderNotImpartial, message).with("measure", &measure.name));
    }
    if done_before(measure, act, by) {
        return Ok(None);
    }
    let state = measure.state(now);
    let impossible = |why: &str| {
        Error::new(Reason::InvalidTransition, format!("{} {why}", measure.name))
            .with("name", &measure.name)
            .with("from", state.name())
            .with("to", act.to())
    };
    if state == State::Lifted {
        return Err(impossible("was taken back before"));
    }
    let mut changed = Measure { updated_at: now, ..measure.clone() };
    match act {
        Act::Appeal(_) if measure.appeal.is_some() => return Err(impossible("was appealed against before")),
        Act::Appeal(_) if now >= measure.appealable_until() => {
            return Err(impossible(&format!("could be appealed against until {}", measure.appealable_until())));
        }
        Act::Appeal(reasons) => {
            changed.appeal = Some(Appeal { reasons: reasons.clone(), at: now, verdict: None });
        }
        Act::Decide { outcome, shortened, reasons } => {
            let appeal = changed.appeal.as_mut().filter(|appeal| appeal.verdict.is_none());
            let appeal = appeal.ok_or_else(|| impossible("has no appeal that is not decided"))?;
            if *outcome == AppealOutcome::Shortened {
                if measure.kind != MeasureKind::Suspension || state == State::Ended {
                    return Err(impossible("is no suspension that could end earlier"));
                }
                let (earliest, latest) = (now.max(measure.start), measure.ends_at());
                if shortened.is_none_or(|until| until <= earliest || until >= latest) {
                    let what = format!("must be after {earliest} and before the present end, {latest}");
                    return Err(Error::new(Reason::RequestInvalid, "the suspension cannot be shortened so")
                        .at("shortened_until", what));
                }
            }
            appeal.verdict = Some(Verdict {
                outcome: *outcome,
                shortened: *shortened,
                reasons: reasons.clone(),
                by: body(by).to_owned(),
                at: now,
            });
        }
        Act::Lift(_) if state == State::Ended => return Err(impossible("has ended by itself")),
        Act::Lift(reasons) => {
            changed.lift = Some(Lift { reasons: reasons.clone(), by: body(by).to_owned(), at: now });
        }
    }
    Ok(Some(changed))
}

/// Whether this was said already, with the same content.
fn done_before(measure: &Measure, act: &Act, by: &str) -> bool {
    match act {
        Act::Appeal(reasons) => measure.appeal.as_ref().is_some_and(|appeal| appeal.reasons == *reasons),
        Act::Decide { outcome, shortened, reasons } => {
            let verdict = measure.appeal.as_ref().and_then(|appeal| appeal.verdict.as_ref());
            verdict.is_some_and(|verdict| {
                (verdict.outcome, verdict.shortened, &verdict.reasons) == (*outcome, *shortened, reasons)
                    && verdict.by == body(by)
            })
        }
        Act::Lift(reasons) => measure.lift.as_ref().is_some_and(|lift| lift.reasons == *reasons && lift.by == body(by)),
    }
}

/// The organisation of a principal as it writes itself.
fn body(principal: &str) -> &str {
    principal.split_once(':').map_or(principal, |(organisation, _)| organisation)
}

/// The refusal of a name that is no measure's.
pub fn no_measure(name: &MeasureName) -> Error {
    Error::new(Reason::MeasureNotFound, format!("there is no {name}")).with("name", name)
}

impl Loaded {
    /// Refuses an agency or a member that is suspended from referring; and nobody in particular, while a member is: else
    /// whoever is suspended would only have to keep silent about his name.
    pub(super) fn check_may_refer(&self, agency: &str, member: &str, now: Timestamp) -> Result<()> {
        let Some(reaches) = self.reaches.get(agency) else { return Ok(()) };
        let suspensions =
            || reaches.iter().filter(|reach| reach.kind == MeasureKind::Suspension && reach.in_force(now));
        let own = suspensions().filter(|reach| reach.member.as_deref().is_none_or(|of| of == member));
        if let Some(reach) = own.max_by_key(|reach| reach.ends) {
            let measure = MeasureName { agency: agency.to_owned(), id: reach.id };
            let who = match &reach.member {
                Some(member) => format!("{member} of agencies/{agency}"),
                None => format!("agencies/{agency}"),
            };
            let message = format!("{who} is suspended from referring until {} by {measure}", reach.ends);
            return Err(Error::new(Reason::ReferringSuspended, message)
                .with("measure", measure)
                .with("until", reach.ends));
        }
        if member.is_empty() && suspensions().next().is_some() {
            let name = OrganisationName::new(OrganisationKind::Agency, agency);
            let name = name.map_err(|error| Error::internal(error.to_string()))?;
            return Err(unnamed(&name, "a member of it is suspended from referring"));
        }
        Ok(())
    }

    pub(super) fn impose(&self, new: &NewMeasure, by: &str, now: Timestamp) -> Result<Vec<Event>> {
        let agency = new.name.agency.as_str();
        self.organisation(OrganisationKind::Agency, agency)?;
        let (start, end) = span(new, now)?;
        let known = self.reaches.get(agency).map(Vec::as_slice).unwrap_or_default();
        if known.len() >= limits::AGENCY_MEASURES_MAX {
            let maximum = limits::AGENCY_MEASURES_MAX;
            let message = format!("agencies/{agency} has had {maximum} measures, which is the most that are kept");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "measures")
                .with("maximum", maximum)
                .with("actual", known.len() + 1));
        }
        let of_kind = |kind| known.iter().filter(move |reach| reach.kind == kind && reach.member == new.member);
        let mut warning = None;
        if new.kind == MeasureKind::Suspension {
            // One at a time: whoever is suspended knows until when.
            if let Some(other) = of_kind(MeasureKind::Suspension).find(|reach| now < reach.ends) {
                let name = MeasureName { agency: agency.to_owned(), id: other.id };
                let state = if now < other.start { State::Scheduled } else { State::InForce };
                let message = format!("{name} suspends the same until {}; one suspension at a time", other.ends);
                return Err(Error::new(Reason::InvalidTransition, message)
                    .with("name", name)
                    .with("from", state.name())
                    .with("to", "SUSPENDED"));
            }
            let earlier = of_kind(MeasureKind::Warning).filter(|reach| reach.start < now && reach.in_force(now));
            warning = earlier.max_by_key(|reach| reach.start).map(|reach| reach.id);
            if warning.is_none() && new.grounds.gravity != MisuseGravity::Exceptional {
                return Err(Error::new(
                    Reason::WarningRequired,
                    "a suspension follows an earlier warning that is in force, unless the gravity is EXCEPTIONAL",
                )
                .with("agency", format!("agencies/{agency}"))
                .with("member", new.member.as_deref().unwrap_or_default()));
            }
        }
        Ok(vec![Event::MeasureChanged(Box::new(Measure {
            name: new.name.clone(),
            kind: new.kind,
            member: new.member.clone(),
            start,
            end,
            reasons: new.reasons.clone(),
            grounds: new.grounds.clone(),
            warning,
            imposer: by.to_owned(),
            appeal: None,
            lift: None,
            created_at: now,
            updated_at: now,
            created: 0,
            updated: 0,
        }))])
    }
}

/// From when until when a new measure is in force.
fn span(new: &NewMeasure, now: Timestamp) -> Result<(Timestamp, Timestamp)> {
    let mut violations = Violations::new();
    if new.grounds.until > now.plus_micros(limits::CLOCK_SKEW_MICROS) {
        violations.add("measure.grounds.period_until", "must not be in the future of the server's clock");
    }
    let days = |from: Timestamp, days: i64| from.plus_micros(days * DAY_MICROS);
    let span = match (new.kind, new.end) {
        (MeasureKind::Warning, _) => (now, days(now, limits::WARNING_DAYS)),
        (MeasureKind::Suspension, None) => {
            violations.add("measure.end_time", "must be set: a suspension has an end");
            (now, now)
        }
        (MeasureKind::Suspension, Some(end)) => {
            let told = new.start.unwrap_or(now);
            if told < now.plus_micros(-limits::CLOCK_SKEW_MICROS) {
                violations.add("measure.start_time", "must not be before now: nothing is suspended in hindsight");
            } else if told > days(now, limits::SUSPENSION_AHEAD_DAYS_MAX) {
                let most = limits::SUSPENSION_AHEAD_DAYS_MAX;
                violations.add("measure.start_time", format_args!("must be at most {most} days ahead"));
            }
            let start = told.max(now);
            if end <= start {
                violations.add("measure.end_time", "must be after the suspension's start");
            } else if end > days(start, limits::SUSPENSION_DAYS_MAX) {
                let most = limits::SUSPENSION_DAYS_MAX;
                violations.add("measure.end_time", format_args!("must be at most {most} days after the start"));
            }
            (start, end)
        }
    };
    violations.into_result()?;
    Ok(span)
}
