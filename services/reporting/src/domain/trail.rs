//! What recurrence takes of one referral: when its target was closed and let go again, when its content was seen again, and
//! to which others it is linked. Nothing of what it points at, so that there is nothing in it to erase.

use portreeve_core::vocabulary::LinkKind;
use portreeve_core::{Date, Uuid};

/// A referral, with what happened to it in the order in which it was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// What it is.
    pub origin: Origin,
    /// Whether it is linked to another, or another to it.
    pub linked: bool,
    /// What happened to it.
    pub turns: Vec<Turn>,
}

/// What a referral is, for recurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The agency's identifier.
    pub agency: String,
    /// The platform's identifier.
    pub platform: String,
    /// What it points at: the number of a `TargetKind`.
    pub target_kind: i64,
    /// The UTC day on which it was referred, by the agency's account.
    pub referred_on: Date,
    /// The UTC day on which that was recorded.
    pub recorded_on: Date,
}

/// Something that happened to a referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What.
    pub kind: TurnKind,
    /// The UTC day on which it became true.
    pub occurred_on: Date,
    /// The UTC day on which the owning service recorded it.
    pub recorded_on: Date,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnKind {
    /// A decision closed it, or left it closed; by that it takes effect on that day.
    Closed(Date),
    /// It is closed no more: another decision, or a withdrawal.
    Released,
    /// The content was seen again; as that referral, if there is one.
    Reappeared(Option<Uuid>),
    /// The agency linked it to that referral.
    Linked(Tie, Uuid),
}

impl TurnKind {
    /// The referral that it names.
    pub const fn other(self) -> Option<Uuid> {
        match self {
            Self::Reappeared(other) => other,
            Self::Linked(_, other) => Some(other),
            Self::Closed(_) | Self::Released => None,
        }
    }
}

/// What a link says of two referrals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// Their targets are of one network.
    Network,
    /// They are of one target.
    Target,
}

impl Tie {
    /// What a kind of link says; `None` of one to another agency's referral, of which its own networks are not made.
    pub const fn of(kind: LinkKind) -> Option<Self> {
        match kind {
            LinkKind::SameNetwork => Some(Self::Network),
            LinkKind::Follows | LinkKind::Supersedes => Some(Self::Target),
            LinkKind::SameTarget => None,
        }
    }
}

/// Something that is learnt of a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footprint {
    /// It began.
    Begun(Origin),
    /// It goes on.
    Turned(Turn),
}

impl Trail {
    /// A trail that begins.
    pub const fn new(origin: Origin) -> Self {
        Self { origin, linked: false, turns: Vec::new() }
    }

    /// Whether it is known already that this happened: a link is told again whenever another is added, and who looks twice on
    /// a day sees one thing.
    pub fn knows(&self, turn: &Turn) -> bool {
        let before = |known: &&Turn| known.kind == turn.kind && known.recorded_on <= turn.recorded_on;
        let mut known = self.turns.iter().filter(before);
        match turn.kind {
            TurnKind::Linked(..) => known.any(|known| known.occurred_on <= turn.occurred_on),
            TurnKind::Reappeared(_) => known.any(|known| known.occurred_on == turn.occurred_on),
            TurnKind::Closed(_) | TurnKind::Released => false,
        }
    }
}
