//! How a referral is to be handled.

use portreeve_core::vocabulary::{Assessment, Classification, SourceGrade, Tlp};

/// Markings and grades (TLP 2.0, GSC, 3x5x2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handling {
    /// How far it may travel among partners.
    pub tlp: Tlp,
    /// Its classification.
    pub classification: Classification,
    /// How reliable the source is.
    pub source_grade: Option<SourceGrade>,
    /// How the information is assessed.
    pub assessment: Option<Assessment>,
    /// The conditions of sharing: the handling code C. Without them it is P.
    pub conditions: Option<String>,
}

impl Default for Handling {
    fn default() -> Self {
        Self {
            tlp: Tlp::AmberStrict,
            classification: Classification::Official,
            source_grade: None,
            assessment: None,
            conditions: None,
        }
    }
}
