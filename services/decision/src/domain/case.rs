//! A case: what a platform sees and does of one referral.

use std::borrow::Cow;

use portreeve_core::access::Marks;
use portreeve_core::erasure::Erasure;
use portreeve_core::name::{CaseName, ReferralName};
use portreeve_core::vocabulary::{FieldGroup, Nature, Tlp};
use portreeve_core::{Timestamp, limits};

use super::{Challenge, Decision, DecisionDraft, Lease, Mark, Observation, Replay, Stay, StayEnd};

coded! {
    /// Where a case stands.
    Status {
        /// Delivered, and not acknowledged.
        Submitted = 1 "SUBMITTED",
        /// Acknowledged, and not decided.
        Received = 2 "RECEIVED",
        /// Decided.
        Decided = 3 "DECIDED",
        /// The referral was withdrawn.
        Withdrawn = 4 "WITHDRAWN",
        /// Acknowledged and looked at, and not decided.
        UnderReview = 5 "UNDER_REVIEW",
        /// Acknowledged, and the agency was asked something.
        InfoRequested = 6 "INFO_REQUESTED",
    }
}

/// What a referral points at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The kind of thing, by its number in the contract.
    pub kind: i32,
    /// The address as the agency gave it.
    pub url: String,
    /// The platform's own identifier; empty when not known.
    pub native_id: String,
    /// The address in its one spelling.
    pub canonical_url: String,
}

/// The law on which a referral rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegalBasis {
    /// A code for the provision; empty when there is none.
    pub code: String,
    /// The statute in words.
    pub statute: String,
    /// The provision within it; empty when the statute as a whole is meant.
    pub section: String,
}

/// The agency's signature over what it referred, which the referral service verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// As the agency gave it: a JWS with detached payload.
    pub jws: String,
    /// When the referral occurred, as it was signed; `None` if nothing was signed of that.
    pub occurred_at: Option<Timestamp>,
}

/// What is known of a piece of evidence that the agency serves to the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exhibit {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub digest: String,
    /// How many bytes there are.
    pub bytes: i64,
    /// What kind of file it is.
    pub media_type: String,
    /// When it was captured, by the agency's account.
    pub captured_at: Option<Timestamp>,
    /// How it was come by, by its number in the contract.
    pub method: i32,
    /// What was taken out of it, by its number in the contract.
    pub redaction: i32,
    /// To whom it is served, by its number in the contract.
    pub grade: i32,
    /// How hard it is to look at, by its number in the contract.
    pub severity: i32,
    /// What it shows.
    pub description: String,
}

/// What the agency found of one context in which the law would protect the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextFound {
    /// The context, by its number in the contract.
    pub context: i32,
    /// What was found, by its number in the contract.
    pub finding: i32,
    /// Why.
    pub reasons: String,
}

/// What an order says beyond what every referral says (TCO art. 3(4); DSA art. 9(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Under which law it is issued, by its number in the contract.
    pub regime: i32,
    /// The authority that issued it.
    pub issuing_authority: String,
    /// Within what time of its receipt it is to be carried out, in microseconds; `None` if it does not say.
    pub act_within: Option<i64>,
    /// How it can be contested.
    pub redress: String,
    /// The countries in which it has effect; empty: in all of the Union.
    pub territorial_scope: Vec<String>,
    /// Who is to be told of its effect; empty for the agency.
    pub feedback_to: String,
    /// Why it could not wait for the pre-notice; empty if it could.
    pub emergency: String,
    /// Until when whoever posted the content must not be told.
    pub non_disclosure_until: Option<Timestamp>,
    /// The referral that is escalated with it.
    pub escalates: Option<ReferralName>,
    /// What became of its non-disclosure.
    pub non_disclosure: Option<NonDisclosure>,
}

/// What became of an order's non-disclosure after it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NonDisclosure {
    /// That it was extended: until when, when, and why.
    pub extended: Option<(Timestamp, Timestamp, String)>,
    /// That it was lifted: when, and why.
    pub lifted: Option<(Timestamp, String)>,
}

impl NonDisclosure {
    /// How far it has come: it is extended before it is lifted.
    const fn steps(&self) -> usize {
        self.extended.is_some() as usize + self.lifted.is_some() as usize
    }

    fn as_before(&self, moment: Timestamp) -> Option<Self> {
        let then = Self {
            extended: self.extended.clone().filter(|(_, at, _)| *at < moment),
            lifted: self.lifted.clone().filter(|(at, _)| *at < moment),
        };
        (then != Self::default()).then_some(then)
    }

    fn clear_words(&mut self) {
        self.extended.iter_mut().for_each(|(_, _, reason)| reason.clear());
        self.lifted.iter_mut().for_each(|(_, reason)| reason.clear());
    }
}

impl Order {
    /// The number of the TCO regulation in the contract.
    pub const TCO: i32 = 1;

    /// Within what time of its receipt it is to be carried out, in microseconds; `None` if neither it nor the law says so.
    pub const fn time(&self) -> Option<i64> {
        match self.act_within {
            None if self.regime == Self::TCO => Some(limits::TCO_ORDER_MICROS),
            said => said,
        }
    }

    /// Whether its time begins anew when a stay ends (TCO art. 3(7) and (8)).
    pub const fn restarts(&self) -> bool {
        self.regime == Self::TCO
    }

    /// Until when whoever posted the content must not be told, whatever ends it before.
    pub fn not_disclosed_until(&self) -> Option<Timestamp> {
        let extended = self.non_disclosure.as_ref().and_then(|course| course.extended.as_ref());
        extended.map(|(until, ..)| *until).or(self.non_disclosure_until)
    }

    /// When its non-disclosure was lifted, if it was.
    pub fn disclosed_at(&self) -> Option<Timestamp> {
        self.non_disclosure.as_ref().and_then(|course| course.lifted.as_ref()).map(|(at, _)| *at)
    }

    /// Whether what it removes is preserved (TCO art. 6).
    pub const fn preserves(&self) -> bool {
        self.regime == Self::TCO
    }
}

/// How urgent the agency holds a referral to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priority {
    /// The harm, by its number in the contract.
    pub harm: i32,
    /// How likely it is, likewise.
    pub likelihood: i32,
    /// How sure the agency is of both, likewise.
    pub confidence: i32,
    /// Why.
    pub explanation: String,
    /// Whether somebody's life is in imminent danger.
    pub threat_to_life: bool,
    /// The three in one number.
    pub score: u32,
    /// How often it was changed since the referral was sent.
    pub version: u32,
    /// When it was last changed.
    pub changed_at: Option<Timestamp>,
}

/// What the referral log said of a referral. Of it only the priority and the non-disclosure change.
///
/// What this service does not reason about (nature, ground, kind of target) stays a number, so that a value that a newer
/// referral service sends is passed on and does not stop the follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    /// The referral.
    pub name: ReferralName,
    /// The platform that it is addressed to.
    pub platform: String,
    /// What it points at.
    pub target: Target,
    /// Its legal nature, by its number in the contract.
    pub nature: i32,
    /// What the content is referred for, by its number in the contract.
    pub ground: i32,
    /// The law on which it rests.
    pub legal_basis: LegalBasis,
    /// Why the agency refers it.
    pub statement_of_reasons: String,
    /// The language of the statement.
    pub statement_language: String,
    /// The main language of the content; empty when not known.
    pub content_language: String,
    /// When the agency referred it, by its own account.
    pub occurred_at: Timestamp,
    /// When the referral service recorded it.
    pub recorded_at: Timestamp,
    /// The agency's signature, if it signs.
    pub signature: Option<Signature>,
    /// How far it may travel among partners.
    pub tlp: Tlp,
    /// Whether it is shared with conditions only.
    pub conditional: bool,
    /// What the agency found when it looked whether the law protects the content; nothing where nobody looked.
    pub protected_context: Vec<ContextFound>,
    /// What it says as an order, if it is one that says more than a referral.
    pub order: Option<Order>,
    /// How urgent the agency holds it to be.
    pub priority: Option<Priority>,
    /// The evidence that the agency serves to the platform.
    pub evidence: Vec<Exhibit>,
    /// The operation to which it belongs, as the contract names it; empty for none.
    pub operation: String,
    /// The first referral of the operation to the platform with the same target; `None` where this is it.
    pub same_target: Option<ReferralName>,
}

impl Referred {
    /// What was known of it before a moment.
    fn as_before(&self, moment: Timestamp) -> Self {
        let mut then = self.clone();
        // Which the priority was before is in the log alone.
        then.priority = then.priority.filter(|priority| priority.changed_at.is_none_or(|at| at < moment));
        if let Some(order) = &mut then.order {
            order.non_disclosure = order.non_disclosure.take().and_then(|course| course.as_before(moment));
        }
        then
    }
}

/// The platform's confirmation that a case came in. The start of its clock; never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When the platform received the case, by its own account.
    pub occurred_at: Timestamp,
    /// When this service recorded the receipt.
    pub recorded_at: Timestamp,
}

/// The agency's withdrawal of a referral, as the referral log said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// When the agency withdrew it, by its own account.
    pub occurred_at: Timestamp,
    /// When the referral service recorded the withdrawal.
    pub recorded_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// How far the platform has come with a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not confirmed the receipt.
    Submitted,
    /// It has confirmed the receipt.
    Received(Receipt),
    /// It has decided.
    Decided {
        /// When it received the case.
        receipt: Receipt,
        /// When it first decided, by its own account. A later version does not change it.
        first_decided_at: Timestamp,
        /// The latest version of the decision.
        latest: Box<Decision>,
    },
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The referral that opened it.
    pub referred: Referred,
    /// How far the platform has come.
    pub progress: Progress,
    /// Set once the agency has withdrawn the referral. What the platform had done until then stays.
    pub withdrawal: Option<Withdrawal>,
    /// What of it was erased, as the referral log told it, in the order of the groups.
    pub erasures: Vec<Erasure>,
    /// Set while the clause in force would not permit any more what the decision in force permits.
    pub replay: Option<Replay>,
    /// Every challenge of its decisions, in the order in which they were filed.
    pub challenges: Vec<Challenge>,
    /// What was seen of its target last, by the time of looking.
    pub observation: Option<Observation>,
    /// What was seen last of those looks that tell whether the target itself is there.
    pub sighting: Option<Observation>,
    /// Every time during which the platform could not go on, in the order in which they began.
    pub stays: Vec<Stay>,
    /// How long the platform had said that it takes, when it received the referral, in microseconds.
    pub response_time: Option<i64>,
    /// When the order was first carried out or refused. Of orders only.
    pub order_answered_at: Option<Timestamp>,
    /// What the time alone has brought to its clocks.
    pub marks: Vec<Mark>,
    /// The order with which the agency escalated it.
    pub escalated_to: Option<ReferralName>,
    /// Who holds it, or held it last and has not given it back.
    pub lease: Option<Lease>,
    /// When a reviewer first took it.
    pub review_began_at: Option<Timestamp>,
}

impl Case {
    /// A case as a referral opens it.
    pub fn open(referred: Referred) -> Self {
        Self {
            referred,
            progress: Progress::Submitted,
            withdrawal: None,
            erasures: Vec::new(),
            replay: None,
            challenges: Vec::new(),
            observation: None,
            sighting: None,
            stays: Vec::new(),
            response_time: None,
            order_answered_at: None,
            marks: Vec::new(),
            escalated_to: None,
            lease: None,
            review_began_at: None,
        }
    }

    /// How urgent it is among those that wait: its score, and 1,000 for a threat to life, and 500 for an order.
    pub fn urgency(&self) -> u32 {
        let priority = self.referred.priority.as_ref();
        let score = priority.map_or(0, |priority| priority.score);
        let threat = priority.is_some_and(|priority| priority.threat_to_life);
        let order = self.referred.nature == Nature::Order.code();
        score + if threat { 1_000 } else { 0 } + if order { 500 } else { 0 }
    }

    /// What about it decides who sees it.
    pub fn marks(&self) -> Marks<'_> {
        Marks {
            agency: &self.referred.name.agency,
            platform: &self.referred.platform,
            ground: self.referred.ground,
            tlp: self.referred.tlp,
            conditions: self.referred.conditional,
            recorded_at: self.referred.recorded_at,
        }
    }

    /// Whether something of it was recorded at or after a moment; a mark might have been.
    pub fn changed_since(&self, moment: Timestamp) -> bool {
        self.replay.is_some()
            || self.escalated_to.is_some()
            || self.latest_record() >= moment
            || self.referred != self.referred.as_before(moment)
            || self.withdrawal.as_ref().is_some_and(|gone| gone.recorded_at >= moment)
            || self.observation.as_ref().is_some_and(|seen| seen.recorded_at >= moment)
            || self.marks.iter().any(|mark| mark.recorded_at >= moment)
    }

    /// The case as it stood before a moment: what was recorded then or later had not happened. `latest` is the decision that
    /// was the latest then.
    #[must_use]
    pub fn as_before(&self, moment: Timestamp, latest: Option<Decision>) -> Self {
        let answered = latest.is_some();
        let progress = match (self.receipt().filter(|receipt| receipt.recorded_at < moment), latest) {
            (None, _) => Progress::Submitted,
            (Some(receipt), None) => Progress::Received(receipt),
            (Some(receipt), Some(latest)) => {
                let first_decided_at = self.first_decided_at().unwrap_or(latest.decided_at);
                Progress::Decided { receipt, first_decided_at, latest: Box::new(latest) }
            }
        };
        let withdrawal = self.withdrawal.clone().filter(|gone| gone.recorded_at < moment);
        let mut stays = self.stays.iter().filter_map(|stay| stay.as_before(moment)).collect::<Vec<_>>();
        // That nobody answered is known with the decision that it made.
        for stay in stays.iter_mut().filter(|_| !answered) {
            stay.end = stay.end.filter(|(end, _)| *end != StayEnd::Lapsed);
        }
        let mut then = Self {
            referred: self.referred.as_before(moment),
            progress,
            withdrawal,
            erasures: self.erasures.clone(),
            replay: None,
            challenges: self.challenges.iter().filter_map(|challenge| challenge.as_before(moment)).collect(),
            observation: self.observation.clone().filter(|seen| seen.recorded_at < moment),
            sighting: self.sighting.clone().filter(|seen| seen.recorded_at < moment),
            stays,
            response_time: self.response_time,
            order_answered_at: self.order_answered_at.filter(|_| answered),
            marks: self.marks.iter().filter(|mark| mark.recorded_at < moment).copied().collect(),
            escalated_to: None,
            lease: None,
            review_began_at: self.review_began_at.filter(|began| *began < moment),
        };
        // When the order took effect may have been told later.
        then.order_answered_at = then.order_answered_at.filter(|_| then.order_answer().is_some());
        then
    }

    /// Whether the group was erased.
    pub fn is_erased(&self, group: FieldGroup) -> bool {
        self.erasures.iter().any(|erasure| erasure.group == group)
    }

    /// The case without some groups of fields.
    #[must_use]
    pub fn without(&self, erasures: &[Erasure]) -> Self {
        let mut left = self.clone();
        for erasure in erasures {
            match erasure.group {
                FieldGroup::Target => {
                    let kind = left.referred.target.kind;
                    left.referred.target = Target { kind, ..Target::default() };
                    left.referred.signature = None;
                    left.referred.evidence.clear();
                }
                FieldGroup::Reasons => {
                    left.referred.statement_of_reasons.clear();
                    left.referred.protected_context.clear();
                    left.withdrawal.iter_mut().for_each(|withdrawal| withdrawal.reason.clear());
                    if let Progress::Decided { latest, .. } = &mut left.progress {
                        latest.content.explanation.clear();
                    }
                    left.challenges.iter_mut().for_each(Challenge::clear_words);
                    left.stays.iter_mut().for_each(Stay::clear_words);
                    left.referred.priority.iter_mut().for_each(|priority| priority.explanation.clear());
                    if let Some(order) = &mut left.referred.order {
                        order.emergency.clear();
                        order.feedback_to.clear();
                        order.non_disclosure.iter_mut().for_each(NonDisclosure::clear_words);
                    }
                }
                // What a case knows of them is whether there are conditions, which still counts.
                FieldGroup::Grade | FieldGroup::LegalBasis | FieldGroup::Decision | FieldGroup::Figures => {}
            }
        }
        left.erasures.extend_from_slice(erasures);
        left.erasures.sort_by_key(|erasure| erasure.group);
        left
    }

    /// A decision as the case takes it: reasons that were erased do not come back with it.
    pub fn takes<'d>(&self, draft: &'d DecisionDraft) -> Cow<'d, DecisionDraft> {
        let mut draft = Cow::Borrowed(draft);
        if self.is_erased(FieldGroup::Reasons) {
            draft.to_mut().content.explanation.clear();
        }
        draft
    }

    /// The case with a later priority, if what was told of the referral has one.
    #[must_use]
    pub(super) fn prioritised(&self, told: &Referred) -> Option<Self> {
        let version = |referred: &Referred| referred.priority.as_ref().map_or(0, |priority| priority.version);
        if version(told) <= version(&self.referred) {
            return None;
        }
        let mut after = self.clone();
        after.referred.priority.clone_from(&told.priority);
        if self.is_erased(FieldGroup::Reasons) {
            after.referred.priority.iter_mut().for_each(|priority| priority.explanation.clear());
        }
        Some(after)
    }

    /// The case with what became of the non-disclosure since, if what was told of the referral has that.
    #[must_use]
    pub(super) fn with_non_disclosure(&self, told: &Referred) -> Option<Self> {
        let course = |referred: &Referred| referred.order.as_ref().and_then(|order| order.non_disclosure.clone());
        let steps = |referred: &Referred| course(referred).map_or(0, |course| course.steps());
        if steps(told) <= steps(&self.referred) {
            return None;
        }
        let mut after = self.clone();
        if let Some(order) = &mut after.referred.order {
            order.non_disclosure = course(told);
            if self.is_erased(FieldGroup::Reasons) {
                order.non_disclosure.iter_mut().for_each(NonDisclosure::clear_words);
            }
        }
        Some(after)
    }

    /// The case with a look at its target. Of all looks the latest counts, whenever it is told.
    #[must_use]
    pub fn observed(&self, seen: &Observation) -> Self {
        let later =
            |known: &Option<Observation>| known.as_ref().is_none_or(|known| known.observed_at < seen.observed_at);
        let mut after = self.clone();
        if later(&self.observation) {
            after.observation = Some(seen.clone());
        }
        if seen.is_conclusive() && later(&self.sighting) {
            after.sighting = Some(seen.clone());
        }
        after
    }

    /// The case's name.
    pub fn name(&self) -> CaseName {
        CaseName { platform: self.referred.platform.clone(), id: self.referred.name.id }
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        match (&self.withdrawal, &self.progress) {
            (Some(_), _) => Status::Withdrawn,
            (None, Progress::Submitted) => Status::Submitted,
            (None, Progress::Received(_)) => self.received_status(),
            (None, Progress::Decided { .. }) => Status::Decided,
        }
    }

    /// The receipt, if there is one.
    pub const fn receipt(&self) -> Option<Receipt> {
        match &self.progress {
            Progress::Submitted => None,
            Progress::Received(receipt) | Progress::Decided { receipt, .. } => Some(*receipt),
        }
    }

    /// The latest version of the decision, if there is one.
    pub const fn decision(&self) -> Option<&Decision> {
        match &self.progress {
            Progress::Submitted | Progress::Received(_) => None,
            Progress::Decided { latest, .. } => Some(latest),
        }
    }

    /// When the platform first decided, by its own account.
    pub const fn first_decided_at(&self) -> Option<Timestamp> {
        match &self.progress {
            Progress::Submitted | Progress::Received(_) => None,
            Progress::Decided { first_decided_at, .. } => Some(*first_decided_at),
        }
    }

    /// The latest moment of which the case tells: nothing that follows was true earlier.
    pub fn latest_occurrence(&self) -> Timestamp {
        match &self.progress {
            Progress::Submitted => self.referred.occurred_at,
            Progress::Received(receipt) => receipt.occurred_at,
            Progress::Decided { latest, .. } => latest.decided_at,
        }
    }

    /// The latest moment at which something of the case was recorded, here or by the referral service, whose clock may
    /// differ: nothing that follows was recorded earlier.
    pub fn latest_record(&self) -> Timestamp {
        let own = match &self.progress {
            Progress::Submitted => self.referred.recorded_at,
            Progress::Received(receipt) => receipt.recorded_at,
            Progress::Decided { latest, .. } => latest.recorded_at,
        };
        let challenged = self.challenges.iter().map(Challenge::latest_record).max();
        let stayed = self.stays.iter().map(Stay::latest_record).max();
        let latest = [Some(self.referred.recorded_at), challenged, stayed, self.review_began_at];
        latest.into_iter().flatten().fold(own, Timestamp::max)
    }
}
