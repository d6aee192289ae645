//! How urgent an agency holds a referral to be, and why.

use portreeve_core::vocabulary::PriorityLevel;

/// How urgent a referral is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priority {
    /// What harm the content does.
    pub harm: PriorityLevel,
    /// How likely that is.
    pub likelihood: PriorityLevel,
    /// How sure the agency is of both.
    pub confidence: PriorityLevel,
    /// Why. Erased with the agency's reasons.
    pub explanation: String,
    /// Whether somebody's life is in imminent danger.
    pub threat_to_life: bool,
}

impl Priority {
    /// Harm times likelihood times confidence: 1 to 64.
    pub fn score(&self) -> u32 {
        [self.harm, self.likelihood, self.confidence].map(PriorityLevel::weight).into_iter().product()
    }
}
