//! A referral.

use std::ops::Deref;
use std::sync::Arc;

use portreeve_core::access::Marks;
use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::name::{OperationName, ReferralName};
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::{Ground, Nature};
use portreeve_core::{Timestamp, limits};

use super::evidence::Exhibit;
use super::protected_context::Check;
use super::signing::{Signature, Signed};
use super::target::Target;
use super::{Handling, Link, Order, Priority};

/// The law on which the agency relies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalBasis {
    /// The catalogue's code, such as `BSAIA2025_S17`; empty if it has none.
    pub code: String,
    /// The statute's name.
    pub statute: String,
    /// The section or article; may be empty.
    pub section: String,
}

/// What an agency says when it refers. It never changes afterwards, and is shared by all who handle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The referral's name, minted for it.
    pub name: ReferralName,
    /// The platform that is to decide.
    pub platform: String,
    /// What is referred.
    pub target: Target,
    /// What the referral is in law.
    pub nature: Nature,
    /// Why.
    pub ground: Ground,
    /// The law on which the agency relies.
    pub legal_basis: LegalBasis,
    /// The agency's reasons in its own words.
    pub statement: String,
    /// The language of the statement (BCP 47).
    pub statement_language: String,
    /// The language of the content (BCP 47); empty if not known.
    pub content_language: String,
    /// How it is to be handled.
    pub handling: Handling,
    /// The agency's signature over it but for what is no part of that, if it signs.
    pub signature: Option<Signature>,
    /// What was found when somebody looked whether the law protects the content.
    pub protected_context: Option<Check>,
    /// What it says as an order.
    pub order: Option<Order>,
    /// How urgent the agency holds it to be.
    pub priority: Option<Priority>,
    /// The evidence that it carries.
    pub evidence: Vec<Uuid>,
    /// How it stands to others.
    pub links: Vec<Link>,
    /// The operation to which it belongs.
    pub operation: Option<OperationName>,
}

/// A referral that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReferral {
    /// What the agency says.
    pub said: Arc<Said>,
    /// When it was referred; the moment of recording if not told.
    pub occurred_at: Option<Timestamp>,
    /// The signature that is to be verified, if there is one.
    pub signed: Option<Box<Signed>>,
}

/// Where a referral stands with its agency. What the platform answers is another ledger's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Sent to the platform.
    Submitted,
    /// Taken back.
    Withdrawn {
        /// When, by the agency's account.
        at: Timestamp,
        /// When the server learnt it.
        recorded_at: Timestamp,
        /// Why.
        reason: String,
    },
}

impl Standing {
    /// The state's name in the contract.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Withdrawn { .. } => "WITHDRAWN",
        }
    }
}

/// A referral as it stands: what was said, and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// What the agency said.
    pub said: Arc<Said>,
    /// What is known of the evidence that it carries, in the order in which the agency named it.
    pub exhibits: Vec<Arc<Exhibit>>,
    /// When it was referred, by the agency's account.
    pub occurred_at: Timestamp,
    /// When the server learnt it.
    pub recorded_at: Timestamp,
    /// Where it stands.
    pub standing: Standing,
    /// What of it was erased, in the order of the groups.
    pub erasures: Vec<Erasure>,
    /// The position of the event that created it.
    pub created: i64,
    /// The position of the last event that changed it.
    pub updated: i64,
}

impl Referral {
    /// What about it decides who sees it.
    pub fn marks(&self) -> Marks<'_> {
        Marks {
            agency: &self.name.agency,
            platform: &self.platform,
            ground: self.ground.code(),
            tlp: self.handling.tlp,
            conditions: self.handling.conditions.is_some(),
            recorded_at: self.recorded_at,
        }
    }

    /// Whether a reader who sees it sees to which operation it belongs: its agency and its platform, and no partners.
    pub fn is_seen_in_operation(&self, scope: &Scope) -> bool {
        !matches!(scope, Scope::Agency(own) if *own != self.name.agency)
    }

    /// The referral as it stood before a moment: what was recorded then or later had not happened.
    #[must_use]
    pub fn as_before(&self, moment: Timestamp) -> Self {
        let standing = match &self.standing {
            Standing::Withdrawn { recorded_at, .. } if *recorded_at >= moment => Standing::Submitted,
            standing => standing.clone(),
        };
        let mut then = Self { standing, ..self.clone() };
        let said = Arc::make_mut(&mut then.said);
        // Which it was before is in the log alone.
        said.priority = said.priority.take().filter(|priority| priority.changed_at.is_none_or(|at| at < moment));
        if let Some(order) = &mut said.order {
            order.non_disclosure = order.non_disclosure.take().and_then(|course| course.as_before(moment));
        }
        then
    }
}

impl Deref for Referral {
    type Target = Said;

    fn deref(&self) -> &Said {
        &self.said
    }
}

/// Why a time that a caller told cannot be taken.
pub fn check_told(occurred_at: Timestamp, now: Timestamp) -> Result<Timestamp, &'static str> {
    if occurred_at > now.plus_micros(limits::CLOCK_SKEW_MICROS) {
        return Err("must not be in the future of the server's clock");
    }
    // What clocks disagree about is not worth a fact that lies in the future.
    Ok(occurred_at.min(now))
}
