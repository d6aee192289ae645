//! The cells of the cube.
//!
//! A referral is at every moment in one place of the cube. When it is sent it is added there; when it moves it is taken
//! out of the place where it was and added where it is, on the day on which that became true and the day on which it
//! was recorded. The sum of a place's signed counts up to two such days is therefore the number of referrals that were
//! there, as of the first and as known at the second, for ever.

use portreeve_core::Date;
use portreeve_core::vocabulary::Disposition;
use sha2::{Digest, Sha256};

/// What a referral is, for the figures: what about it never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The UTC day on which it was referred, by the agency's account.
    pub cohort_day: Date,
    /// The agency's identifier.
    pub agency: String,
    /// The platform's identifier.
    pub platform: String,
    /// What it is referred for: the number of a `Ground`.
    pub ground: i64,
    /// What it points at: the number of a `TargetKind`.
    pub target_kind: i64,
    /// Its legal nature: the number of a `ReferralNature`.
    pub nature: i64,
    /// The content's main language; empty when not known.
    pub content_language: String,
    /// The operation to which it belongs, as the contract names it; empty for none.
    pub operation: String,
    /// Whether its target had been referred in the operation before.
    pub same_target: bool,
    /// The code of the provision on which it rests; empty when it has none.
    pub legal_basis: String,
}

/// A clause at a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Citation {
    /// `platforms/{platform}/clauses/{clause}`; empty when there is none.
    pub clause: String,
    /// Its version, from 1; 0 when there is none.
    pub version: i64,
}

/// How long the first decision took. A later version of the decision does not change it, so it moves along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clock {
    /// No decision yet.
    Running,
    /// The first decision was made this many days after the referral.
    Decided(i64),
    /// Withdrawn undecided, this many days after the referral.
    Withdrawn(i64),
}

/// Where a referral stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Standing {
    /// Its disposition.
    pub disposition: Disposition,
    /// The decisive clause of its latest decision.
    pub clause: Citation,
    /// How long its first decision took.
    pub clock: Clock,
}

impl Standing {
    /// Where every referral begins.
    pub fn submitted() -> Self {
        Self { disposition: Disposition::Submitted, clause: Citation::default(), clock: Clock::Running }
    }
}

/// A cell: a place in the cube, and on which days it was entered or left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// What the referrals are.
    pub subject: Subject,
    /// Where they stand.
    pub standing: Standing,
    /// The UTC day on which it became true.
    pub event_day: Date,
    /// The UTC day on which the owning service recorded it.
    pub recorded_day: Date,
}

/// How many referrals are in a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that came there, less those that left.
    pub net: i64,
    /// Those that came there from another bucket, or were referred: whether or not they left.
    pub entered: i64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.net += other.net;
        self.entered += other.entered;
    }
}

impl std::ops::Neg for Tally {
    type Output = Self;

    fn neg(self) -> Self {
        Self { net: -self.net, entered: -self.entered }
    }
}

impl Cell {
    /// The cell's key in storage: 16 bytes of the SHA-256 of its dimensions.
    pub fn id(&self) -> [u8; 16] {
        let Self { subject, standing, event_day, recorded_day } = self;
        let (clock, clock_days) = standing.clock.parts();
        let mut hasher = Sha256::new();
        let Subject { agency, platform, content_language, legal_basis, .. } = subject;
        for text in [agency, platform, content_language, &standing.clause.clause, legal_basis] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        for number in [
            subject.cohort_day.days().into(),
            subject.ground,
            subject.target_kind,
            subject.nature,
            standing.clause.version,
            standing.disposition.code().into(),
            clock,
            clock_days,
            event_day.days().into(),
            recorded_day.days().into(),
        ] {
            hasher.update(number.to_be_bytes());
        }
        // What belongs to no operation has the key that it had before there were any.
        if !subject.operation.is_empty() {
            hasher.update(b"operation");
            hasher.update((subject.operation.len() as u64).to_be_bytes());
            hasher.update(&subject.operation);
            hasher.update([u8::from(subject.same_target)]);
        }
        let mut id = [0; 16];
        id.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
        id
    }
}

impl Clock {
    /// The clock as two numbers: its kind, and its days.
    pub const fn parts(self) -> (i64, i64) {
        match self {
            Self::Running => (0, 0),
            Self::Decided(days) => (1, days),
            Self::Withdrawn(days) => (2, days),
        }
    }

    /// The clock behind two numbers.
    pub const fn from_parts(kind: i64, days: i64) -> Option<Self> {
        match kind {
            0 => Some(Self::Running),
            1 => Some(Self::Decided(days)),
            2 => Some(Self::Withdrawn(days)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_makes_another_cell() {
        let base = Cell {
            subject: Subject::default(),
            standing: Standing::submitted(),
            event_day: Date::default(),
            recorded_day: Date::default(),
        };
        let changes: [fn(&mut Cell); 17] = [
            |c| c.subject.operation = "aa".into(),
            |c| (c.subject.operation, c.subject.same_target) = ("aa".into(), true),
            |c| c.subject.cohort_day = Date::from_days(1),
            |c| c.subject.agency = "aa".into(),
            |c| c.subject.platform = "aa".into(),
            |c| c.subject.ground = 1,
            |c| c.subject.target_kind = 1,
            |c| c.subject.nature = 1,
            |c| c.subject.content_language = "aa".into(),
            |c| c.subject.legal_basis = "aa".into(),
            |c| c.standing.disposition = Disposition::Closed,
            |c| c.standing.clause.clause = "aa".into(),
            |c| c.standing.clause.version = 1,
            |c| c.standing.clock = Clock::Decided(1),
            |c| c.standing.clock = Clock::Withdrawn(1),
            |c| c.event_day = Date::from_days(1),
            |c| c.recorded_day = Date::from_days(1),
        ];
        let ids = changes.iter().map(|change| {
            let mut cell = base.clone();
            change(&mut cell);
            cell.id()
        });
        let distinct = ids.chain([base.id()]).collect::<std::collections::HashSet<_>>();
        assert_eq!(distinct.len(), changes.len() + 1);
    }
}
