//! Who may see which figures: the one choke point.

use portreeve_core::name::OrganisationKind;
use portreeve_core::principal::Role;
use portreeve_core::{Principal, Result};

use super::Definition;

/// A definition narrowed to what its asker may see. Figures come out of the store for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted(Definition);

impl Permitted {
    /// Narrows a definition: an agency counts what it referred, a platform what was submitted to it, oversight, the
    /// operator and the suite's own services everything. Refuses one that names figures of others: an answer of zero
    /// would be a lie.
    pub fn new(principal: &Principal, mut definition: Definition) -> Result<Self> {
        let filter = &mut definition.filter;
        let own = match principal.kind() {
            OrganisationKind::Agency => &mut filter.agencies,
            OrganisationKind::Platform => &mut filter.platforms,
            OrganisationKind::Oversight => return principal.require(Role::Analyst).map(|()| Self(definition)),
            OrganisationKind::Operator => return principal.require(Role::Operator).map(|()| Self(definition)),
            OrganisationKind::Service => return principal.require(Role::Service).map(|()| Self(definition)),
        };
        if own.iter().any(|id| id != principal.id()) {
            return Err(principal.denied());
        }
        *own = vec![principal.id().to_owned()];
        Ok(Self(definition))
    }

    /// The narrowed definition.
    pub const fn definition(&self) -> &Definition {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::{Date, Reason};

    use super::*;
    use crate::domain::Filter;

    fn permitted(principal: &str, agencies: &[&str], platforms: &[&str]) -> Result<Filter> {
        let principal = Principal::new(principal.parse().unwrap(), "", &[]).unwrap();
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let filter = Filter { agencies: list(agencies), platforms: list(platforms), ..Filter::default() };
        let day = Date::default();
        let definition =
            Definition { cohort_from: day, cohort_until: day, as_of: None, known_at: None, dimensions: vec![], filter };
        Permitted::new(&principal, definition).map(|permitted| permitted.0.filter)
    }

    #[test]
    fn each_sees_its_own_figures_and_oversight_all() {
        assert_eq!(permitted("agencies/nca", &[], &["hb"]).unwrap().agencies, ["nca"]);
        assert_eq!(permitted("agencies/nca", &["nca"], &[]).unwrap().agencies, ["nca"]);
        assert_eq!(permitted("platforms/hb", &["nca"], &[]).unwrap().platforms, ["hb"]);
        for (principal, agencies, platforms) in [
            ("agencies/nca", vec!["bka"], vec![]),
            ("agencies/nca", vec!["nca", "bka"], vec![]),
            ("platforms/hb", vec![], vec!["ch"]),
        ] {
            let refused = permitted(principal, &agencies, &platforms).unwrap_err();
            assert_eq!(refused.reason(), Reason::PermissionDenied, "{principal}");
        }
        for all in ["oversightBodies/hac", "operators/op", "services/decision"] {
            assert_eq!(permitted(all, &["bka"], &[]).unwrap().agencies, ["bka"], "{all}");
            assert_eq!(permitted(all, &[], &[]).unwrap(), Filter::default(), "{all}");
        }
    }
}
