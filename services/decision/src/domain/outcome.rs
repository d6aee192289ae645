//! What a platform can decide. Each outcome holds the reason without which it must not be recorded, so that an outcome
//! without its reason cannot be written down at all.

use portreeve_core::name::ReferralName;
use portreeve_core::{Timestamp, Violations};

use super::Citation;

coded! {
    /// Outcomes without their reasons: their numbers and names in the contract (DOMAIN 6.2).
    OutcomeKind {
        /// Closed as illegal.
        ClosedIllegal = 1 "CLOSED_ILLEGAL",
        /// Closed as a breach of the terms.
        ClosedTerms = 2 "CLOSED_TERMS",
        /// Closed as a breach of the terms that is also illegal.
        ClosedTermsAlsoIllegal = 3 "CLOSED_TERMS_ALSO_ILLEGAL",
        /// Some of the items were closed.
        PartiallyClosed = 4 "PARTIALLY_CLOSED",
        /// Left up under a restriction.
        Restricted = 5 "RESTRICTED",
        /// Suspended until a time.
        SuspendedUntil = 6 "SUSPENDED_UNTIL",
        /// The account was terminated.
        TerminatedAccount = 7 "TERMINATED_ACCOUNT",
        /// No action: does not violate the clauses considered.
        NotViolating = 8 "NO_ACTION_NOT_VIOLATING",
        /// No action: a clause permits it.
        PermittedByPolicy = 9 "NO_ACTION_PERMITTED_BY_POLICY",
        /// No action: the information does not suffice.
        InsufficientInfo = 10 "NO_ACTION_INSUFFICIENT_INFO",
        /// No action: the platform cannot see it.
        CannotAccess = 11 "NO_ACTION_CANNOT_ACCESS",
        /// No action: gone before the decision.
        AlreadyGone = 12 "NO_ACTION_ALREADY_GONE",
        /// No action: the same as another referral.
        Duplicate = 13 "NO_ACTION_DUPLICATE",
        /// No action: not on a service of this platform.
        NotOurService = 14 "NO_ACTION_NOT_OUR_SERVICE",
        /// No action: the authority is not recognised.
        InvalidAuthority = 15 "NO_ACTION_INVALID_AUTHORITY",
        /// No action: protected content.
        Protected = 16 "NO_ACTION_PROTECTED",
        /// No action: impossible.
        Impossible = 17 "NO_ACTION_IMPOSSIBLE",
    }
}

coded! {
    /// How content that stays up is restricted.
    Restriction {
        /// Not shown in some countries.
        Geo = 1 "GEO",
        /// Behind an age limit.
        Age = 2 "AGE",
        /// Shown less often or lower.
        Demoted = 3 "DEMOTED",
        /// Cannot be answered, shared or contacted.
        Interaction = 4 "INTERACTION",
        /// Shown with a label.
        Labelled = 5 "LABELLED",
    }
}

coded! {
    /// Why the platform cannot see the content.
    AccessObstacle {
        /// It is end-to-end encrypted.
        EndToEndEncrypted = 1 "END_TO_END_ENCRYPTED",
        /// It is in a closed group.
        ClosedGroup = 2 "CLOSED_GROUP",
        /// What it answered or belonged to has been deleted.
        DeletedContext = 3 "DELETED_CONTEXT",
    }
}

coded! {
    /// Through whom content was gone before the decision.
    GoneBy {
        /// The user removed it.
        User = 1 "USER",
        /// The platform had removed it on another occasion.
        PlatformEarlier = 2 "PLATFORM_EARLIER",
    }
}

coded! {
    /// Why content is protected (Border Security, Asylum and Immigration Act 2025, ss. 16 and 17).
    ProtectedContext {
        /// Journalism.
        Journalism = 1 "JOURNALISM",
        /// Academic or other research.
        Research = 2 "RESEARCH",
        /// Rescue, medical help, shelter, or asylum help that is not charged for.
        Humanitarian = 3 "HUMANITARIAN",
        /// A person's own journey.
        OwnJourney = 4 "OWN_JOURNEY",
    }
}

/// Clauses on which an outcome rests: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cited {
    /// The decisive one.
    pub decisive: Citation,
    /// The others.
    pub others: Vec<Citation>,
}

/// How many items behind a target were closed: some, and not all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items {
    closed: u32,
    total: u32,
}

impl Items {
    /// `closed` of `total`; `None` unless some but not all were closed.
    pub fn new(closed: u32, total: u32) -> Option<Self> {
        (closed >= 1 && closed < total).then_some(Self { closed, total })
    }

    /// How many were closed.
    pub const fn closed(self) -> u32 {
        self.closed
    }

    /// How many there were.
    pub const fn total(self) -> u32 {
        self.total
    }
}

/// What the platform decided, with the reason that the outcome cannot be without. The first seven act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Closed as illegal under a law.
    ClosedIllegal(String),
    /// Closed as a breach of clauses.
    ClosedTerms(Cited),
    /// Closed as a breach of clauses that is also illegal under a law.
    ClosedTermsAlsoIllegal(Cited, String),
    /// Some of the items were closed.
    PartiallyClosed(Items),
    /// Left up under a restriction.
    Restricted(Restriction),
    /// Suspended until an instant.
    SuspendedUntil(Timestamp),
    /// The account behind the target was terminated.
    TerminatedAccount,
    /// Does not violate the clauses that were considered.
    NotViolating(Cited),
    /// Clauses of the catalogue permit it.
    PermittedByPolicy(Cited),
    /// Cannot be decided on the information given.
    InsufficientInfo,
    /// The platform cannot see the content.
    CannotAccess(AccessObstacle),
    /// The content was gone before.
    AlreadyGone(GoneBy),
    /// The same as another referral.
    Duplicate(ReferralName),
    /// Not on a service of this platform.
    NotOurService,
    /// The authority or its power is not recognised.
    InvalidAuthority,
    /// Protected content.
    Protected(ProtectedContext),
    /// Force majeure or de facto impossibility.
    Impossible,
}

/// On what an outcome rests beyond what it cannot be without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Clauses, in the caller's order.
    pub clauses: Vec<Citation>,
    /// The law in words; empty for none.
    pub law: String,
}

/// An outcome and its reasons laid side by side, as the contract and the tables have them. 0, empty and `None` are "not
/// given".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flat {
    /// [`OutcomeKind`].
    pub outcome: i32,
    /// [`Restriction`].
    pub restriction: i32,
    /// [`AccessObstacle`].
    pub cannot_access: i32,
    /// [`GoneBy`].
    pub gone_by: i32,
    /// [`ProtectedContext`].
    pub protected_context: i32,
    /// Of [`Items`].
    pub items_closed: u32,
    /// Of [`Items`].
    pub items_total: u32,
    /// Until when it is suspended.
    pub suspended_until: Option<Timestamp>,
    /// The referral that it repeats.
    pub duplicate_of: Option<ReferralName>,
    /// Every clause cited, the decisive one first.
    pub clauses: Vec<Citation>,
    /// The law in words.
    pub law: String,
}

/// Outcomes that cannot be without a clause.
const NEED_A_CLAUSE: [OutcomeKind; 4] = [
    OutcomeKind::ClosedTerms,
    OutcomeKind::ClosedTermsAlsoIllegal,
    OutcomeKind::NotViolating,
    OutcomeKind::PermittedByPolicy,
];

/// Outcomes that cannot be without a law.
const NEED_A_LAW: [OutcomeKind; 2] = [OutcomeKind::ClosedIllegal, OutcomeKind::ClosedTermsAlsoIllegal];

impl Flat {
    /// The details that belong to one outcome: whether each is given, and to which outcome it belongs.
    fn details(&self) -> [(&'static str, bool, OutcomeKind); 8] {
        [
            ("restriction", self.restriction != 0, OutcomeKind::Restricted),
            ("cannot_access", self.cannot_access != 0, OutcomeKind::CannotAccess),
            ("gone_by", self.gone_by != 0, OutcomeKind::AlreadyGone),
            ("protected_context", self.protected_context != 0, OutcomeKind::Protected),
            ("items_closed", self.items_closed != 0, OutcomeKind::PartiallyClosed),
            ("items_total", self.items_total != 0, OutcomeKind::PartiallyClosed),
            ("suspended_until", self.suspended_until.is_some(), OutcomeKind::SuspendedUntil),
            ("duplicate_of", self.duplicate_of.is_some(), OutcomeKind::Duplicate),
        ]
    }

    /// The outcome with its reasons. Notes every reason that is missing, and every one that belongs to another outcome,
    /// against its field, which is the name here after `prefix`.
    pub fn assemble(self, prefix: &str, violations: &mut Violations) -> Option<(Outcome, Basis)> {
        let Some(kind) = OutcomeKind::from_code(self.outcome) else {
            violations.add(format!("{prefix}outcome"), "must be a known outcome");
            return None;
        };
        for (field, given, of) in self.details() {
            match (given, of == kind) {
                (true, false) => {
                    violations.add(format!("{prefix}{field}"), format_args!("goes with {} only", of.as_str()));
                }
                (false, true) => {
                    violations.add(format!("{prefix}{field}"), format_args!("is required with {}", of.as_str()));
                }
                (true, true) | (false, false) => {}
            }
        }
        if self.clauses.is_empty() && NEED_A_CLAUSE.contains(&kind) {
            let needs = format_args!("must cite a clause and its version with {}", kind.as_str());
            violations.add(format!("{prefix}clauses"), needs);
        }
        if self.law.is_empty() && NEED_A_LAW.contains(&kind) {
            violations.add(format!("{prefix}law"), format_args!("is required with {}", kind.as_str()));
        }
        let items = Items::new(self.items_closed, self.items_total);
        if kind == OutcomeKind::PartiallyClosed && items.is_none() && self.items_closed != 0 && self.items_total != 0 {
            violations.add(format!("{prefix}items_closed"), "must be less than items_total");
        }
        self.build(kind, items)
    }

    fn build(self, kind: OutcomeKind, items: Option<Items>) -> Option<(Outcome, Basis)> {
        let mut also = Basis { clauses: self.clauses, law: self.law };
        let mut cited = || {
            let mut clauses = std::mem::take(&mut also.clauses).into_iter();
            Some(Cited { decisive: clauses.next()?, others: clauses.collect() })
        };
        let outcome = match kind {
            OutcomeKind::ClosedIllegal => Outcome::ClosedIllegal(std::mem::take(&mut also.law)),
            OutcomeKind::ClosedTerms => Outcome::ClosedTerms(cited()?),
            OutcomeKind::ClosedTermsAlsoIllegal => {
                let cited = cited()?;
                Outcome::ClosedTermsAlsoIllegal(cited, std::mem::take(&mut also.law))
            }
            OutcomeKind::PartiallyClosed => Outcome::PartiallyClosed(items?),
            OutcomeKind::Restricted => Outcome::Restricted(Restriction::from_code(self.restriction)?),
            OutcomeKind::SuspendedUntil => Outcome::SuspendedUntil(self.suspended_until?),
            OutcomeKind::TerminatedAccount => Outcome::TerminatedAccount,
            OutcomeKind::NotViolating => Outcome::NotViolating(cited()?),
            OutcomeKind::PermittedByPolicy => Outcome::PermittedByPolicy(cited()?),
            OutcomeKind::InsufficientInfo => Outcome::InsufficientInfo,
            OutcomeKind::CannotAccess => Outcome::CannotAccess(AccessObstacle::from_code(self.cannot_access)?),
            OutcomeKind::AlreadyGone => Outcome::AlreadyGone(GoneBy::from_code(self.gone_by)?),
            OutcomeKind::Duplicate => Outcome::Duplicate(self.duplicate_of?),
            OutcomeKind::NotOurService => Outcome::NotOurService,
            OutcomeKind::InvalidAuthority => Outcome::InvalidAuthority,
            OutcomeKind::Protected => Outcome::Protected(ProtectedContext::from_code(self.protected_context)?),
            OutcomeKind::Impossible => Outcome::Impossible,
        };
        Some((outcome, also))
    }
}

impl Outcome {
    /// The outcome without its reasons.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::ClosedIllegal(_) => OutcomeKind::ClosedIllegal,
            Self::ClosedTerms(_) => OutcomeKind::ClosedTerms,
            Self::ClosedTermsAlsoIllegal(..) => OutcomeKind::ClosedTermsAlsoIllegal,
            Self::PartiallyClosed(_) => OutcomeKind::PartiallyClosed,
            Self::Restricted(_) => OutcomeKind::Restricted,
            Self::SuspendedUntil(_) => OutcomeKind::SuspendedUntil,
            Self::TerminatedAccount => OutcomeKind::TerminatedAccount,
            Self::NotViolating(_) => OutcomeKind::NotViolating,
            Self::PermittedByPolicy(_) => OutcomeKind::PermittedByPolicy,
            Self::InsufficientInfo => OutcomeKind::InsufficientInfo,
            Self::CannotAccess(_) => OutcomeKind::CannotAccess,
            Self::AlreadyGone(_) => OutcomeKind::AlreadyGone,
            Self::Duplicate(_) => OutcomeKind::Duplicate,
            Self::NotOurService => OutcomeKind::NotOurService,
            Self::InvalidAuthority => OutcomeKind::InvalidAuthority,
            Self::Protected(_) => OutcomeKind::Protected,
            Self::Impossible => OutcomeKind::Impossible,
        }
    }

    /// Whether the platform acted on the content.
    pub const fn acts(&self) -> bool {
        self.kind().code() <= OutcomeKind::TerminatedAccount.code()
    }

    /// The outcome and its reasons, laid side by side. The inverse of [`Flat::assemble`].
    pub fn flatten(&self, also: &Basis) -> Flat {
        let mut flat = Flat { outcome: self.kind().code(), law: also.law.clone(), ..Flat::default() };
        match self {
            Self::ClosedIllegal(law) => flat.law.clone_from(law),
            Self::ClosedTermsAlsoIllegal(cited, law) => {
                flat.clauses = cited.iter().cloned().collect();
                flat.law.clone_from(law);
            }
            Self::ClosedTerms(cited) | Self::NotViolating(cited) | Self::PermittedByPolicy(cited) => {
                flat.clauses = cited.iter().cloned().collect();
            }
            Self::PartiallyClosed(items) => (flat.items_closed, flat.items_total) = (items.closed(), items.total()),
            Self::Restricted(restriction) => flat.restriction = restriction.code(),
            Self::SuspendedUntil(until) => flat.suspended_until = Some(*until),
            Self::CannotAccess(obstacle) => flat.cannot_access = obstacle.code(),
            Self::AlreadyGone(by) => flat.gone_by = by.code(),
            Self::Duplicate(of) => flat.duplicate_of = Some(of.clone()),
            Self::Protected(context) => flat.protected_context = context.code(),
            Self::TerminatedAccount
            | Self::InsufficientInfo
            | Self::NotOurService
            | Self::InvalidAuthority
            | Self::Impossible => {}
        }
        flat.clauses.extend(also.clauses.iter().cloned());
        flat
    }
}

impl Cited {
    /// The clauses, the decisive one first.
    pub fn iter(&self) -> impl Iterator<Item = &Citation> {
        std::iter::once(&self.decisive).chain(&self.others)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::Disposition;
    use super::*;

    fn citation() -> Citation {
        Citation { clause: "platforms/hb/clauses/he-7".parse().unwrap(), version: 1 }
    }

    /// Everything that the outcome needs, and nothing else.
    pub(crate) fn complete(kind: OutcomeKind) -> Flat {
        let mut flat = Flat { outcome: kind.code(), ..Flat::default() };
        match kind {
            OutcomeKind::ClosedIllegal => flat.law = "Immigration Act 1971, s. 25".into(),
            OutcomeKind::ClosedTerms | OutcomeKind::NotViolating | OutcomeKind::PermittedByPolicy => {
                flat.clauses = vec![citation()];
            }
            OutcomeKind::ClosedTermsAlsoIllegal => {
                flat.clauses = vec![citation(), citation()];
                flat.law = "Immigration Act 1971, s. 25".into();
            }
            OutcomeKind::PartiallyClosed => (flat.items_closed, flat.items_total) = (1, 2),
            OutcomeKind::Restricted => flat.restriction = 5,
            OutcomeKind::SuspendedUntil => flat.suspended_until = Some(Timestamp::from_micros(9)),
            OutcomeKind::CannotAccess => flat.cannot_access = 2,
            OutcomeKind::AlreadyGone => flat.gone_by = 1,
            OutcomeKind::Duplicate => {
                flat.duplicate_of =
                    Some("agencies/nca/referrals/0190b2f0-0000-7000-8000-000000000001".parse().unwrap());
            }
            OutcomeKind::Protected => flat.protected_context = 4,
            OutcomeKind::TerminatedAccount
            | OutcomeKind::InsufficientInfo
            | OutcomeKind::NotOurService
            | OutcomeKind::InvalidAuthority
            | OutcomeKind::Impossible => {}
        }
        flat
    }

    fn fields(flat: Flat) -> Vec<String> {
        let mut violations = Violations::new();
        let built = flat.assemble("decision.", &mut violations);
        let Err(error) = violations.into_result() else {
            assert!(built.is_some());
            return Vec::new();
        };
        error.violations().iter().map(|v| v.field.clone()).collect()
    }

    #[test]
    fn every_outcome_round_trips_with_what_it_needs() {
        for kind in OutcomeKind::ALL {
            let flat = complete(*kind);
            assert_eq!(fields(flat.clone()), Vec::<String>::new(), "{kind:?}");
            let (outcome, also) = flat.clone().assemble("", &mut Violations::new()).unwrap();
            assert_eq!(outcome.kind(), *kind);
            assert_eq!(outcome.flatten(&also), flat);
        }
        let more = Flat { clauses: vec![citation()], law: "x".into(), ..complete(OutcomeKind::TerminatedAccount) };
        let (outcome, also) = more.clone().assemble("", &mut Violations::new()).unwrap();
        assert_eq!(outcome.flatten(&also), more);
    }

    #[test]
    fn an_outcome_without_its_reason_is_refused() {
        for (kind, missing) in [
            (OutcomeKind::ClosedIllegal, vec!["decision.law"]),
            (OutcomeKind::ClosedTerms, vec!["decision.clauses"]),
            (OutcomeKind::ClosedTermsAlsoIllegal, vec!["decision.clauses", "decision.law"]),
            (OutcomeKind::PartiallyClosed, vec!["decision.items_closed", "decision.items_total"]),
            (OutcomeKind::Restricted, vec!["decision.restriction"]),
            (OutcomeKind::SuspendedUntil, vec!["decision.suspended_until"]),
            (OutcomeKind::TerminatedAccount, vec![]),
            (OutcomeKind::NotViolating, vec!["decision.clauses"]),
            (OutcomeKind::PermittedByPolicy, vec!["decision.clauses"]),
            (OutcomeKind::InsufficientInfo, vec![]),
            (OutcomeKind::CannotAccess, vec!["decision.cannot_access"]),
            (OutcomeKind::AlreadyGone, vec!["decision.gone_by"]),
            (OutcomeKind::Duplicate, vec!["decision.duplicate_of"]),
            (OutcomeKind::NotOurService, vec![]),
            (OutcomeKind::InvalidAuthority, vec![]),
            (OutcomeKind::Protected, vec!["decision.protected_context"]),
            (OutcomeKind::Impossible, vec![]),
        ] {
            assert_eq!(fields(Flat { outcome: kind.code(), ..Flat::default() }), missing, "{kind:?}");
        }
        assert_eq!(fields(Flat::default()), ["decision.outcome"]);
        assert_eq!(fields(Flat { outcome: 99, ..Flat::default() }), ["decision.outcome"]);
    }

    #[test]
    fn a_reason_of_another_outcome_is_refused() {
        for owner in OutcomeKind::ALL {
            let details = complete(*owner).details().into_iter().filter(|(_, given, _)| *given).count();
            for other in OutcomeKind::ALL.iter().filter(|other| *other != owner) {
                let needs = complete(*other);
                let mut both = Flat {
                    outcome: other.code(),
                    clauses: needs.clauses.clone(),
                    law: needs.law.clone(),
                    ..complete(*owner)
                };
                for (target, source) in [
                    (&mut both.restriction, needs.restriction),
                    (&mut both.cannot_access, needs.cannot_access),
                    (&mut both.gone_by, needs.gone_by),
                    (&mut both.protected_context, needs.protected_context),
                ] {
                    *target = (*target).max(source);
                }
                both.items_closed = both.items_closed.max(needs.items_closed);
                both.items_total = both.items_total.max(needs.items_total);
                both.suspended_until = both.suspended_until.or(needs.suspended_until);
                both.duplicate_of = both.duplicate_of.clone().or(needs.duplicate_of);
                assert_eq!(fields(both).len(), details, "{owner:?} in {other:?}");
            }
        }
    }

    #[test]
    fn some_but_not_all_items() {
        for (closed, total, wrong) in [(1, 2, 0), (2, 2, 1), (3, 2, 1), (0, 2, 1), (1, 0, 1), (0, 0, 2)] {
            let flat = Flat { items_closed: closed, items_total: total, ..complete(OutcomeKind::PartiallyClosed) };
            assert_eq!(fields(flat).len(), wrong, "{closed} of {total}");
        }
    }

    #[test]
    fn the_published_rule() {
        let disposition = |flat: Flat| flat.assemble("", &mut Violations::new()).unwrap().0.disposition();
        for kind in OutcomeKind::ALL {
            let expected = match kind {
                OutcomeKind::NotViolating => Disposition::NotViolating,
                OutcomeKind::PermittedByPolicy => Disposition::PermittedByPolicy,
                OutcomeKind::InsufficientInfo => Disposition::InsufficientInfo,
                OutcomeKind::CannotAccess => Disposition::CannotAccess,
                OutcomeKind::AlreadyGone => Disposition::AlreadyGone,
                OutcomeKind::Duplicate => Disposition::Duplicate,
                OutcomeKind::NotOurService => Disposition::NotOurService,
                OutcomeKind::InvalidAuthority => Disposition::InvalidAuthority,
                OutcomeKind::Protected => Disposition::Protected,
                OutcomeKind::Impossible => Disposition::Impossible,
                OutcomeKind::Restricted => Disposition::Restricted,
                OutcomeKind::ClosedIllegal
                | OutcomeKind::ClosedTerms
                | OutcomeKind::ClosedTermsAlsoIllegal
                | OutcomeKind::PartiallyClosed
                | OutcomeKind::SuspendedUntil
                | OutcomeKind::TerminatedAccount => Disposition::Closed,
            };
            assert_eq!(disposition(complete(*kind)), expected, "{kind:?}");
        }
        for (restriction, expected) in [
            (Restriction::Geo, Disposition::Closed),
            (Restriction::Interaction, Disposition::Closed),
            (Restriction::Age, Disposition::Restricted),
            (Restriction::Demoted, Disposition::Restricted),
            (Restriction::Labelled, Disposition::Restricted),
        ] {
            assert_eq!(
                disposition(Flat { restriction: restriction.code(), ..complete(OutcomeKind::Restricted) }),
                expected
            );
        }
    }
}
