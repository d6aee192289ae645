//! The referral ledger: what an agency refers, to whom, and why. Pure.

pub mod agreement;
pub mod authorisation;
pub mod draft;
pub mod evidence;
pub mod handling;
pub mod ledger;
pub mod legal_basis;
pub mod measure;
pub mod observation;
pub mod order;
pub mod organisation;
pub mod priority;
pub mod protected_context;
pub mod referral;
pub mod retention;
pub mod review_flag;
pub mod signing;

pub use authorisation::{AuthorisationPolicy, Demands};
pub use draft::{Authorise, Draft, DraftStanding};
pub use evidence::{Evidence, Exhibit};
pub use handling::Handling;
pub use ledger::{Command, Event, Ledger, State};
pub use measure::Measure;
pub use order::Order;
pub use organisation::Organisation;
pub use priority::Priority;
pub use protected_context::{Answer, Check};
pub use referral::{LegalBasis, NewReferral, Referral, Said, Standing, Target};
pub use retention::{RetentionPolicy, Rule};
pub use review_flag::ReviewFlag;
pub use signing::{Signature, Signed, SigningProfile};
