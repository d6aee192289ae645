//! The referral ledger: what an agency refers, to whom, and why. Pure.

pub mod agreement;
pub mod handling;
pub mod ledger;
pub mod measure;
pub mod observation;
pub mod organisation;
pub mod referral;
pub mod retention;
pub mod review_flag;
pub mod signing;

pub use handling::Handling;
pub use ledger::{Command, Event, Ledger, State};
pub use measure::Measure;
pub use organisation::Organisation;
pub use referral::{LegalBasis, NewReferral, Referral, Said, Standing, Target};
pub use retention::{RetentionPolicy, Rule};
pub use review_flag::ReviewFlag;
pub use signing::{Signature, Signed, SigningProfile};
