//! Operations: agencies refer together in a window of time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use portreeve_core::id::Uuid;
use portreeve_core::name::{OperationName, OrganisationKind, ReferralName};
use portreeve_core::time::DAY_MICROS;
use portreeve_core::vocabulary::LinkKind;
use portreeve_core::{Error, Reason, Result, Timestamp, Violations, limits};

use super::ledger::{Event, State as Loaded};
use super::link::Link;
use super::referral::{Referral, Said};

/// Where an operation stands: a matter of its window, of time, and of whether it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its window has not begun.
    Planned,
    /// Referrals can be made in it.
    Open,
    /// Its window has ended, or it was closed before. Final.
    Closed,
}

impl State {
    /// The state's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "PLANNED",
            Self::Open => "OPEN",
            Self::Closed => "CLOSED",
        }
    }
}

/// Where an agency stands that was invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It has not joined.
    Invited,
    /// It takes part.
    Joined {
        /// Since when.
        at: Timestamp,
    },
    /// It took part once.
    Left {
        /// When it had joined.
        joined_at: Timestamp,
        /// When it left.
        at: Timestamp,
    },
}

impl Part {
    /// The state's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invited => "INVITED",
            Self::Joined { .. } => "JOINED",
            Self::Left { .. } => "LEFT",
        }
    }
}

/// An agency that was invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointAgency {
    /// The agency.
    pub agency: String,
    /// Where it stands.
    pub part: Part,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name, which begins with its lead's.
    pub name: OperationName,
    /// What its agencies call it.
    pub title: String,
    /// The agencies that its lead has invited, in the order in which it did.
    pub invited: Vec<JointAgency>,
    /// When its window begins.
    pub start: Timestamp,
    /// When its window ends.
    pub end: Timestamp,
    /// When its lead closed it, if it did.
    pub closed_at: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its last change was recorded.
    pub updated_at: Timestamp,
    /// The position of the event that recorded it.
    pub created: i64,
    /// The position of the last event that changed it. Its etag.
    pub updated: i64,
    /// What belongs to it.
    pub tally: Tally,
}

/// What belongs to an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Referrals.
    pub referrals: u32,
    /// Targets, each counted once.
    pub targets: u32,
}

/// An operation that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOperation {
    /// Its name, minted for it.
    pub name: OperationName,
    /// What its agencies call it.
    pub title: String,
    /// The agencies that are invited.
    pub invited: Vec<String>,
    /// When its window begins; now if not told.
    pub start: Option<Timestamp>,
    /// When its window ends.
    pub end: Timestamp,
}

/// What is done about an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its lead changes what is told, and invites agencies.
    Update {
        /// Another title.
        title: Option<String>,
        /// Further agencies.
        invite: Vec<String>,
        /// Another begin.
        start: Option<Timestamp>,
        /// Another end.
        end: Option<Timestamp>,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Its lead closes it.
    Close,
    /// An agency joins.
    Join(String),
    /// An agency leaves.
    Leave(String),
}

/// The refusal of a name that is no operation's of the caller: nobody learns which there are of others.
pub fn no_operation(name: &OperationName) -> Error {
    let message = format!("there is no {name} that the agency leads or was invited to");
    Error::new(Reason::OperationNotFound, message).with("name", name)
}

impl Operation {
    /// Where it stands at a moment.
    pub fn state(&self, now: Timestamp) -> State {
        if self.closed_at.is_some_and(|at| at <= now) || now >= self.end {
            State::Closed
        } else if now < self.start {
            State::Planned
        } else {
            State::Open
        }
    }

    /// Whether an agency leads it or was invited.
    pub fn names(&self, agency: &str) -> bool {
        self.name.agency == agency || self.part(agency).is_some()
    }

    /// Whether an agency takes part in it.
    pub fn has_part(&self, agency: &str) -> bool {
        self.name.agency == agency || matches!(self.part(agency), Some(Part::Joined { .. }))
    }

    fn part(&self, agency: &str) -> Option<Part> {
        self.invited.iter().find(|of| of.agency == agency).map(|of| of.part)
    }

    fn impossible(&self, now: Timestamp, to: &str, why: &str) -> Error {
        Error::new(Reason::InvalidTransition, format!("{} {why}", self.name))
            .with("name", &self.name)
            .with("from", self.state(now).name())
            .with("to", to)
    }

    /// The operation after an act; `None` if nothing had to be done. Agencies are known to be registered.
    pub fn after(&self, act: &Act, now: Timestamp) -> Result<Option<Self>> {
        let closed = self.state(now) == State::Closed;
        let mut changed = self.clone();
        match act {
            Act::Update { title, invite, start, end, etag } => {
                if let Some(etag) = etag.filter(|etag| *etag != self.updated) {
                    let message = format!("{} has changed since it was read", self.name);
                    return Err(Error::new(Reason::StaleVersion, message)
                        .with("name", &self.name)
                        .with("expected", etag)
                        .with("actual", self.updated));
                }
                let new = invite.iter().filter(|agency| !self.names(agency));
                changed.invited.extend(new.map(|agency| JointAgency { agency: agency.clone(), part: Part::Invited }));
                changed.title = title.clone().unwrap_or(changed.title);
                changed.start = start.unwrap_or(changed.start);
                changed.end = end.unwrap_or(changed.end);
                if changed == *self {
                    return Ok(None);
                }
                if closed {
                    return Err(self.impossible(now, "UPDATED", "is closed, and changes no more"));
                }
                if changed.start != self.start && self.state(now) == State::Open {
                    return Err(self.impossible(now, "PLANNED", "has begun, and gets no other begin"));
                }
                check_agencies(changed.invited.len())?;
                let told = start.filter(|start| *start != self.start);
                (changed.start, changed.end) = window(told, changed.start, changed.end, "", now)?;
            }
            // What is closed by time needs no closing.
            Act::Close if closed => return Ok(None),
            Act::Close => changed.closed_at = Some(now),
            Act::Join(agency) => {
                let invited = changed.invited.iter_mut().find(|of| of.agency == *agency);
                let Some(invited) = invited else {
                    return if self.names(agency) { Ok(None) } else { Err(no_operation(&self.name)) };
                };
                if matches!(invited.part, Part::Joined { .. }) {
                    return Ok(None);
                }
                if closed {
                    return Err(self.impossible(now, "JOINED", "is closed, and nobody joins any more"));
                }
                invited.part = Part::Joined { at: now };
            }
            Act::Leave(agency) => {
                if self.name.agency == *agency {
                    let message = "the lead does not leave its operation; it closes it";
                    return Err(Error::new(Reason::RequestInvalid, message).at("agency", "must not be the lead"));
                }
                let invited = changed.invited.iter_mut().find(|of| of.agency == *agency);
                let invited = invited.ok_or_else(|| no_operation(&self.name))?;
                let Part::Joined { at: joined_at } = invited.part else { return Ok(None) };
                invited.part = Part::Left { joined_at, at: now };
            }
        }
        Ok(Some(Self { updated_at: now, ..changed }))
    }

    /// Refuses what an agency would refer in it, and may not. Each refusal has one reason.
    fn check_refers(&self, agency: &str, now: Timestamp) -> Result<()> {
        let part = self.part(agency);
        if self.name.agency != agency && !matches!(part, Some(Part::Joined { .. })) {
            let part = part.ok_or_else(|| no_operation(&self.name))?;
            let message = format!("agencies/{agency} does not take part in {}: it is {}", self.name, part.name());
            return Err(Error::new(Reason::OperationNotJoined, message)
                .with("name", &self.name)
                .with("agency", format!("agencies/{agency}"))
                .with("state", part.name()));
        }
        let state = self.state(now);
        let at = match state {
            State::Open => return Ok(()),
            State::Planned => self.start,
            State::Closed => self.closed_at.map_or(self.end, |at| at.min(self.end)),
        };
        let message = match state {
            State::Planned => format!("{} opens at {at}", self.name),
            State::Open | State::Closed => format!("{} is closed since {at}", self.name),
        };
        Err(Error::new(Reason::OperationNotOpen, message)
            .with("name", &self.name)
            .with("state", state.name())
            .with("at", at))
    }
}

fn check_agencies(invited: usize) -> Result<()> {
    let agencies = invited + 1;
    if agencies <= limits::OPERATION_AGENCIES_MAX {
        return Ok(());
    }
    let message = format!("the operation would have {agencies} agencies, which is more than it can have");
    Err(Error::new(Reason::LimitExceeded, message)
        .with("limit", "operation_agencies")
        .with("maximum", limits::OPERATION_AGENCIES_MAX)
        .with("actual", agencies))
}

/// The window from a begin, of which `told` is what was told anew, to an end. What is wrong is named by its field after `prefix`.
fn window(
    told: Option<Timestamp>,
    start: Timestamp,
    end: Timestamp,
    prefix: &str,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp)> {
    let mut violations = Violations::new();
    let days = |days: i64| days * DAY_MICROS;
    if let Some(told) = told {
        if told < now.plus_micros(-limits::CLOCK_SKEW_MICROS) {
            violations.add(format!("{prefix}start_time"), "must not be before now");
        } else if told > now.plus_micros(days(limits::OPERATION_AHEAD_DAYS_MAX)) {
            let most = limits::OPERATION_AHEAD_DAYS_MAX;
            violations.add(format!("{prefix}start_time"), format_args!("must be at most {most} days ahead"));
        }
    }
    let start = told.map_or(start, |told| told.max(now));
    if end <= start.max(now) {
        violations.add(format!("{prefix}end_time"), "must be after the begin and after now");
    } else if end > start.plus_micros(days(limits::OPERATION_DAYS_MAX)) {
        let most = limits::OPERATION_DAYS_MAX;
        violations.add(format!("{prefix}end_time"), format_args!("must be at most {most} days after the begin"));
    }
    violations.into_result()?;
    Ok((start, end))
}

/// A target of an operation: what is the same place on the same platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The operation.
    pub operation: Uuid,
    /// The platform.
    pub platform: String,
    /// The key of the canonical address.
    pub target: [u8; 16],
}

impl Place {
    /// Where a referral of an operation points; `None` for one of none, without an address, or whose target was erased.
    pub fn of(said: &Said) -> Option<Self> {
        let operation = said.operation.as_ref()?.id;
        let canonical = said.target.location.canonical();
        let target = (!canonical.is_empty()).then(|| portreeve_core::canonical::key(canonical))?;
        Some(Self { operation, platform: said.platform.clone(), target })
    }
}

impl Said {
    /// The first referral of the operation that points at the same target; `None` where this is the first.
    pub fn same_target(&self) -> Option<&ReferralName> {
        self.links.iter().find(|link| link.kind == LinkKind::SameTarget).map(|link| &link.referral)
    }
}

impl Loaded {
    pub(super) fn create_operation(&self, new: &NewOperation, now: Timestamp) -> Result<Vec<Event>> {
        let lead = &new.name.agency;
        for agency in std::iter::once(lead).chain(&new.invited) {
            self.organisation(OrganisationKind::Agency, agency)?;
        }
        let led = self.operations_of.get(lead).copied().unwrap_or_default();
        if led >= limits::AGENCY_OPERATIONS_MAX {
            let message = format!("agencies/{lead} leads {led} operations, which is the most that it can lead");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "operations")
                .with("maximum", limits::AGENCY_OPERATIONS_MAX)
                .with("actual", led + 1));
        }
        check_agencies(new.invited.len())?;
        let (start, end) = window(new.start, now, new.end, "operation.", now)?;
        let invited = |agency: &String| JointAgency { agency: agency.clone(), part: Part::Invited };
        Ok(vec![Event::OperationChanged(Box::new(Operation {
            name: new.name.clone(),
            title: new.title.clone(),
            invited: new.invited.iter().map(invited).collect(),
            start,
            end,
            closed_at: None,
            created_at: now,
            updated_at: now,
            created: 0,
            updated: 0,
            tally: Tally::default(),
        }))])
    }

    pub(super) fn act_on_operation(&self, name: &OperationName, act: &Act, now: Timestamp) -> Result<Vec<Event>> {
        let operation = self.operation(name).ok_or_else(|| no_operation(name))?;
        if let Act::Update { invite, .. } = act {
            for agency in invite {
                self.organisation(OrganisationKind::Agency, agency)?;
            }
        }
        let changed = operation.after(act, now)?;
        Ok(changed.map(|changed| Event::OperationChanged(Box::new(changed))).into_iter().collect())
    }

    fn operation(&self, name: &OperationName) -> Option<&Operation> {
        self.operations.get(&name.id).filter(|operation| operation.name == *name)
    }

    /// Refuses what names an operation to which it cannot belong.
    pub(super) fn check_operation(&self, said: &Said, field: &impl Fn() -> String, now: Timestamp) -> Result<()> {
        let Some(name) = &said.operation else { return Ok(()) };
        let operation = self.operation(name).ok_or_else(|| no_operation(name));
        let checked = operation.and_then(|operation| operation.check_refers(&said.name.agency, now));
        checked.map_err(|refused| {
            refused.at(format!("{}.operation", field()), "must be an open operation in which the agency takes part")
        })
    }

    /// What a command refers, each linked to the first of its operation with the same target. Refuses more targets than an operation can
    /// have.
    pub(super) fn placed(&self, mut events: Vec<Event>) -> Result<Vec<Event>> {
        let mut own = HashMap::new();
        let mut fresh = HashMap::<Uuid, u32>::new();
        for event in &mut events {
            let Event::Created(referral) = event else { continue };
            let Some(operation) = referral.operation.as_ref().map(|name| name.id) else { continue };
            let first = match Place::of(referral) {
                // What has no address is nobody else's.
                None => None,
                Some(place) => self.first(&place).cloned().or_else(|| match own.entry(place) {
                    Entry::Occupied(first) => Some(ReferralName::clone(first.get())),
                    Entry::Vacant(own) => {
                        own.insert(referral.name.clone());
                        None
                    }
                }),
            };
            if let Some(first) = first {
                let link = Link { kind: LinkKind::SameTarget, referral: first, platform: referral.platform.clone() };
                Arc::make_mut(&mut referral.said).links.push(link);
            } else {
                *fresh.entry(operation).or_default() += 1;
            }
        }
        for (id, fresh) in fresh {
            let Some(operation) = self.operations.get(&id) else { continue };
            let targets = operation.tally.targets.saturating_add(fresh);
            if targets > limits::OPERATION_TARGETS_MAX {
                let maximum = limits::OPERATION_TARGETS_MAX;
                let message = format!(
                    "{} would have {targets} targets, and {maximum} is the most that it can have",
                    operation.name
                );
                return Err(Error::new(Reason::LimitExceeded, message)
                    .with("limit", "operation_targets")
                    .with("maximum", maximum)
                    .with("actual", targets));
            }
        }
        Ok(events)
    }

    /// The first referral of an operation with a target.
    fn first(&self, place: &Place) -> Option<&ReferralName> {
        // What the batch has changed since it was found counts.
        let still = |name: &&ReferralName| {
            self.referral(name).is_none_or(|referral| Place::of(referral).as_ref() == Some(place))
        };
        self.firsts.get(place).filter(still)
    }

    /// Takes in what a referral adds to its operation.
    pub(super) fn count_in(&mut self, referral: &Referral) {
        let Some(operation) = &referral.operation else { return };
        let is_first = referral.same_target().is_none();
        if let Some(operation) = self.operations.get_mut(&operation.id) {
            operation.tally.referrals += 1;
            operation.tally.targets += u32::from(is_first);
            self.changes.operations.insert(operation.name.id);
        }
        self.know_first(referral);
    }

    /// Takes in where the first of its operation points, or points now.
    pub(super) fn know_first(&mut self, referral: &Referral) {
        if referral.same_target().is_none()
            && let Some(place) = Place::of(referral)
        {
            self.firsts.entry(place).or_insert_with(|| referral.name.clone());
        }
    }
}

#[cfg(test)]
mod tests;
