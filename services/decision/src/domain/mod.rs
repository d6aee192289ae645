//! What a case is and what may happen to it. Pure: no IO, no database, no transport.

/// A plain enumeration whose values have the numbers and names of the contract, so that they are stored and sent alike.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number in the contract and in storage; 0 is no value.
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code),* }
            }

            /// The value with this number.
            pub fn from_code(code: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }

            /// The name in the contract, without the prefix of its type.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

pub mod affected;
pub mod case;
pub mod challenge;
pub mod clock;
pub mod decision;
pub mod disposition;
pub mod lease;
pub mod ledger;
pub mod observation;
pub mod outcome;
pub mod policy;
pub mod replay;
pub mod response_time;
pub mod statement;
pub mod stay;

pub use affected::{Exemption, FlatNotification, Notification, Redress};
pub use case::{
    Case, ContextFound, Exhibit, LegalBasis, NonDisclosure, Order, Priority, Progress, Receipt, Referred, Signature,
    Status, Target, Withdrawal,
};
pub use challenge::{Challenge, ChallengeDraft, ChallengeKind, ChallengeOutcome, Fact, Forum, Move, Pursuit, Stage};
pub use clock::{Clock, ClockKey, ClockKind, ClockState, End, Mark, StepKind};
pub use decision::{Cause, CauseKind, Content, Decision, DecisionDraft, Kind, Later, Source};
pub use lease::{Lease, Wanted};
pub use ledger::{CaseChanged, CaseRecord, ClauseRecord, Command, Event, Ledger, Seen, State, Told};
pub use observation::{Discrepancy, Observation};
pub use outcome::{
    AccessObstacle, Basis, Cited, Flat, GoneBy, Items, Outcome, OutcomeKind, ProtectedContext, Restriction,
};
pub use policy::{Citation, Clause, ClauseVersion, ClauseVersionDraft};
pub use portreeve_core::vocabulary::Disposition;
pub use replay::Replay;
pub use response_time::{ResponseTimes, ResponseTimesRecord};
pub use stay::{QuestionCode, Stay, StayContent, StayEnd, StayGround};

#[cfg(test)]
pub(crate) mod tests;
