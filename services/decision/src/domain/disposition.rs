//! Where a case stands in the figures: the published attrition rule (DOMAIN 6.2), in one table.

use portreeve_core::vocabulary::Disposition;

use super::{Case, Outcome, Progress, Restriction};

impl Outcome {
    /// Where a case with this outcome stands. Acting counts as closed, except where the content stays up for everybody
    /// with a label, further down, or behind an age limit.
    pub const fn disposition(&self) -> Disposition {
        use Restriction::{Age, Demoted, Geo, Interaction, Labelled};
        match self {
            Self::ClosedIllegal(_)
            | Self::ClosedTerms(_)
            | Self::ClosedTermsAlsoIllegal(..)
            | Self::PartiallyClosed(_)
            | Self::Restricted(Geo | Interaction)
            | Self::SuspendedUntil(_)
            | Self::TerminatedAccount => Disposition::Closed,
            Self::Restricted(Age | Demoted | Labelled) => Disposition::Restricted,
            Self::NotViolating(_) => Disposition::NotViolating,
            Self::PermittedByPolicy(_) => Disposition::PermittedByPolicy,
            Self::InsufficientInfo => Disposition::InsufficientInfo,
            Self::CannotAccess(_) => Disposition::CannotAccess,
            Self::AlreadyGone(_) => Disposition::AlreadyGone,
            Self::Duplicate(_) => Disposition::Duplicate,
            Self::NotOurService => Disposition::NotOurService,
            Self::InvalidAuthority => Disposition::InvalidAuthority,
            Self::Protected(_) => Disposition::Protected,
            Self::Impossible => Disposition::Impossible,
        }
    }
}

impl Case {
    /// Where the case stands in the figures.
    pub fn disposition(&self) -> Disposition {
        match (&self.withdrawal, &self.progress) {
            (Some(_), _) => Disposition::Withdrawn,
            (None, Progress::Submitted) => Disposition::Submitted,
            (None, Progress::Received(_)) => Disposition::Received,
            (None, Progress::Decided { latest, .. }) => latest.content.outcome.disposition(),
        }
    }
}
