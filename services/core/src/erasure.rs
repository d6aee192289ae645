//! That a group of fields of a referral was erased: what the referral service decides, and others follow.

use crate::Timestamp;
use crate::vocabulary::FieldGroup;

/// That a group of fields was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Which.
    pub group: FieldGroup,
    /// When the referral service recorded it.
    pub at: Timestamp,
    /// Why, by its number in the contract: a cause that a newer referral service sends is passed on.
    pub cause: i32,
    /// What the agency said of it; empty for retention.
    pub reason: String,
}
