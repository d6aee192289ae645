//! The referral ledger: what an agency refers, to whom, and why. Pure.

pub mod ledger;
pub mod organisation;
pub mod referral;
pub mod signing;

pub use ledger::{Command, Event, Ledger, State};
pub use organisation::Organisation;
pub use referral::{LegalBasis, NewReferral, Referral, Said, Standing, Target};
pub use signing::{Signature, Signed, SigningProfile};
