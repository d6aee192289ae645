//! The organisations that take part.

use portreeve_core::Timestamp;
use portreeve_core::name::OrganisationName;

/// An agency, a platform, an oversight body or an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its name.
    pub name: OrganisationName,
    /// What people call it.
    pub display_name: String,
    /// The hosts that route to it, in order; a platform's only.
    pub hosts: Vec<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The position of the event that created it.
    pub created: i64,
    /// The position of the last event that changed it. Its etag.
    pub updated: i64,
}
