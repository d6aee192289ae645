//! What is referred.

use portreeve_core::location::Location;
use portreeve_core::vocabulary::TargetKind;
use portreeve_core::{Timestamp, Violations};

/// A name under which a target was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The name as the platform showed it.
    pub handle: String,
    /// When it was first seen under it; `None` when not known.
    pub seen_from: Option<Timestamp>,
    /// When it was last seen under it; `None` when not known, or while it is.
    pub seen_until: Option<Timestamp>,
}

/// What is referred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What kind of thing it is.
    pub kind: TargetKind,
    /// Where it is.
    pub location: Location,
    /// The platform's own identifier of it; empty if not known.
    pub native_id: String,
    /// The names under which it was seen.
    pub handles: Vec<Handle>,
}

impl Target {
    /// A thing of a kind at an address. A telephone number is where it is itself, and need not have been seen at any address; a closed
    /// space of which evidence is shown may have none. What is wrong is noted under `path`.
    pub fn locate(
        kind: TargetKind,
        url: &str,
        native_id: &str,
        evidence: bool,
        path: &str,
        violations: &mut Violations,
    ) -> Option<Location> {
        let field = format!("{path}.url");
        let mut address = |url| violations.check(&field, Location::parse(url));
        if kind != TargetKind::PhoneNumber {
            return if url.is_empty() && evidence && kind.may_have_no_address() {
                Some(Location::none())
            } else if url.is_empty() {
                let message = "must be set, but of a telephone number, and of a group or a channel with evidence";
                violations.add(field, message);
                None
            } else {
                address(url)
            };
        }
        let seen_at = if url.is_empty() { None } else { Some(address(url)?) };
        let number = violations.check(&format!("{path}.native_id"), Location::phone(native_id))?;
        Some(match seen_at {
            Some(address) => number.seen_at(address),
            None => number,
        })
    }

    /// Takes out of it what tells which one it is: what is left says of what kind it is.
    pub fn erase(&mut self) {
        *self = self.placeless();
    }

    /// What is left of it without what tells which one it is.
    #[must_use]
    pub fn placeless(&self) -> Self {
        Self { kind: self.kind, location: Location::erased(), native_id: String::new(), handles: Vec::new() }
    }
}
