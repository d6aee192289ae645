//! What a decision means for whoever posted the content: what they can do against it, and whether they are told.

use portreeve_core::{Timestamp, Violations};

coded! {
    /// What they can do against the decision (DSA art. 17(3)(f)).
    Redress {
        /// Complain to the platform.
        InternalComplaint = 1 "INTERNAL_COMPLAINT",
        /// Go to a body that settles disputes out of court.
        OutOfCourt = 2 "OUT_OF_COURT",
        /// Go to a court.
        Judicial = 3 "JUDICIAL",
    }
}

coded! {
    /// Why they need not be told.
    Exemption {
        /// The platform does not know how to reach them (DSA art. 17(2)).
        ContactUnknown = 1 "CONTACT_UNKNOWN",
        /// Deceptive commercial content in great volume (DSA art. 17(2)).
        DeceptiveHighVolume = 2 "DECEPTIVE_HIGH_VOLUME",
        /// The decision carries out an order (DSA art. 17(5)).
        Order = 3 "ORDER",
    }
}

/// Whether they are told of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// They were told.
    Notified,
    /// They are still to be told.
    Due,
    /// They must not be told until then (TCO art. 11(3)).
    Suppressed(Timestamp),
    /// They need not be told.
    Exempt(Exemption),
}

/// A notification in the flat form of the contract and of the database, in which values may be missing or out of place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlatNotification {
    /// The number of the status; 0 for none.
    pub status: i32,
    /// With SUPPRESSED.
    pub suppressed_until: Option<Timestamp>,
    /// The number of the exemption, with EXEMPT; 0 for none.
    pub exemption: i32,
}

impl Notification {
    /// Its flat form.
    pub fn flat(self) -> FlatNotification {
        let of = |status| FlatNotification { status, ..FlatNotification::default() };
        match self {
            Self::Notified => of(1),
            Self::Due => of(2),
            Self::Suppressed(until) => FlatNotification { suppressed_until: Some(until), ..of(3) },
            Self::Exempt(exemption) => FlatNotification { exemption: exemption.code(), ..of(4) },
        }
    }

    /// Whether the decision needs the nature of an order for it.
    pub fn needs_an_order(self) -> bool {
        self == Self::Exempt(Exemption::Order)
    }
}

impl FlatNotification {
    /// The notification. Notes what is missing or out of place, against its field after `prefix`.
    pub fn assemble(self, prefix: &str, violations: &mut Violations) -> Option<Notification> {
        let Self { status, suppressed_until, exemption } = self;
        if suppressed_until.is_some() && status != 3 {
            violations.add(format!("{prefix}suppressed_until"), "goes with SUPPRESSED only");
        }
        if exemption != 0 && status != 4 {
            violations.add(format!("{prefix}exemption"), "goes with EXEMPT only");
        }
        match status {
            1 => Some(Notification::Notified),
            2 => Some(Notification::Due),
            3 => {
                if suppressed_until.is_none() {
                    violations.add(format!("{prefix}suppressed_until"), "is required with SUPPRESSED");
                }
                suppressed_until.map(Notification::Suppressed)
            }
            4 => {
                let known = Exemption::from_code(exemption);
                if known.is_none() {
                    violations.add(format!("{prefix}exemption"), "is required with EXEMPT");
                }
                known.map(Notification::Exempt)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_what_belongs_to_it_and_nothing_else() {
        let at = Timestamp::from_micros(7);
        let all = [Notification::Notified, Notification::Due, Notification::Suppressed(at)].into_iter();
        for said in all.chain(Exemption::ALL.iter().copied().map(Notification::Exempt)) {
            let mut violations = Violations::new();
            assert_eq!(said.flat().assemble("", &mut violations), Some(said));
            assert!(violations.is_empty(), "{said:?}");
        }
        for (status, until, exemption, fields) in [
            (1, Some(at), 1, vec!["suppressed_until", "exemption"]),
            (2, None, 3, vec!["exemption"]),
            (3, None, 0, vec!["suppressed_until"]),
            (3, Some(at), 2, vec!["exemption"]),
            (4, None, 0, vec!["exemption"]),
            (4, Some(at), 9, vec!["suppressed_until", "exemption"]),
        ] {
            let mut violations = Violations::new();
            FlatNotification { status, suppressed_until: until, exemption }.assemble("", &mut violations);
            let refused = violations.into_result().unwrap_err();
            assert_eq!(refused.violations().iter().map(|at| at.field.as_str()).collect::<Vec<_>>(), fields, "{status}");
        }
    }
}
