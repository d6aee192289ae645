//! Who may see which figures: the one choke point.

use portreeve_core::access::{Count, Reader};
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::principal::Role;
use portreeve_core::{Error, Principal, Reason, Result, Timestamp};

use super::grant::{Grant, GrantName, not_theirs};
use super::publication::may_publish;
use super::{Definition, Dimension};

impl Definition {
    /// What it counts of agencies.
    pub fn count(&self) -> Count<'_> {
        let Self { cohort_from, known_at, filter, .. } = self;
        Count { agencies: &filter.agencies, grounds: &filter.grounds, from: *cohort_from, known_at: *known_at }
    }
}

/// A definition narrowed to what its asker may see. Figures come out of the store for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted(Definition);

impl Permitted {
    /// Narrows a definition: an agency counts what it referred, and what partners that it names share of theirs; a platform
    /// what was submitted to it; oversight, the operator and the suite's own services everything. Refuses one that names
    /// figures of others: an answer of zero would be a lie. `joint` are agencies whose figures of the operations that it names are known to an
    /// agency for having joined these ([`partners`](super::partners)).
    pub fn new(reader: &Reader, joint: &[String], mut definition: Definition) -> Result<Self> {
        let principal = reader.principal();
        let tells_operations = definition.tells_operations();
        let filter = &mut definition.filter;
        let own = match principal.kind() {
            OrganisationKind::Agency => &mut filter.agencies,
            OrganisationKind::Platform => &mut filter.platforms,
            OrganisationKind::Oversight => return principal.require(Role::Analyst).map(|()| Self(definition)),
            OrganisationKind::Operator => return principal.require(Role::Operator).map(|()| Self(definition)),
            OrganisationKind::Service => return principal.require(Role::Service).map(|()| Self(definition)),
            OrganisationKind::Researcher => return Err(needs_a_grant(principal)),
        };
        let shared = |id: &String| joint.contains(id) || reader.shares().iter().any(|share| share.owner == *id);
        if own.iter().any(|id| id != principal.id() && !shared(id)) {
            return Err(principal.denied());
        }
        // In which operations a partner takes part is no agreement's to share.
        if tells_operations
            && principal.kind() == OrganisationKind::Agency
            && own.iter().any(|id| id != principal.id() && !joint.contains(id))
        {
            let says = "must name, of other agencies, those that took part in the operations by which it filters, in all of which the caller does";
            let message = "the report tells operations apart, of which agreements share nothing";
            return Err(Error::new(Reason::AgreementExceeded, message).at("definition.filter.agencies", says));
        }
        if own.is_empty() {
            own.push(principal.id().to_owned());
        }
        Ok(Self(definition))
    }

    /// Narrows a definition that is to be published to what is the publisher's own: what partners share is shared with the agency, and not
    /// with everybody. Refuses who may not publish.
    pub fn to_publish(caller: &Principal, definition: Definition) -> Result<Self> {
        may_publish(caller)?;
        match caller.kind() {
            OrganisationKind::Oversight => Ok(Self(definition)),
            _ => Self::new(&Reader::own(caller.clone()), &[], definition),
        }
    }

    /// Narrows a definition of researchers to what their grant allows at that moment. Refuses what it does not allow, and a
    /// grant that is not theirs.
    pub fn under(
        grant: Option<&Grant>,
        name: GrantName,
        by: &OrganisationName,
        definition: Definition,
        now: Timestamp,
    ) -> Result<Self> {
        let own = grant.filter(|grant| grant.name == name && grant.terms.grantee == *by);
        own.ok_or_else(|| not_theirs(name, by))?.narrow(definition, now).map(Self)
    }

    /// Whether the definition divides by spans of cohort days.
    pub fn divides_by_cohort(&self) -> bool {
        self.0.dimensions.iter().copied().any(Dimension::is_cohort)
    }

    /// The narrowed definition.
    pub const fn definition(&self) -> &Definition {
        &self.0
    }
}

/// The refusal of researchers who name no grant, or ask for what is never granted.
fn needs_a_grant(principal: &Principal) -> Error {
    let organisation = principal.organisation();
    Error::new(
        Reason::PermissionDenied,
        format!(
            "{organisation} sees reports and exports under a grant alone; name it as the metadata portreeve-grant, such as \
             grants/7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e5f"
        ),
    )
    .with("organisation", organisation)
}

/// Whose grants a caller sees who asks for those of some researchers, or of everybody: of one, or of all (`None`). Refuses
/// who is neither the grantee nor oversight.
pub fn grants_seen(caller: &Principal, grantee: Option<&str>) -> Result<Option<String>> {
    match caller.kind() {
        OrganisationKind::Researcher if grantee.is_none_or(|grantee| grantee == caller.id()) => {
            Ok(Some(caller.id().to_owned()))
        }
        OrganisationKind::Oversight | OrganisationKind::Service => Ok(grantee.map(str::to_owned)),
        _ => Err(caller.denied()),
    }
}

/// Whether a caller sees an agency's networks: the agency itself, oversight, the operator and the suite's own services. Not a
/// platform, to which links show nothing of referrals to others.
pub fn networks_seen(caller: &Principal, agency: &str) -> Result<()> {
    match caller.kind() {
        OrganisationKind::Agency if caller.id() == agency => Ok(()),
        OrganisationKind::Oversight => caller.require(Role::Analyst),
        OrganisationKind::Operator => caller.require(Role::Operator),
        OrganisationKind::Service => caller.require(Role::Service),
        OrganisationKind::Agency | OrganisationKind::Platform | OrganisationKind::Researcher => Err(caller.denied()),
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::Date;

    use super::*;
    use crate::domain::Filter;

    fn permitted(principal: &str, agencies: &[&str], platforms: &[&str]) -> Result<Filter> {
        let principal = Principal::new(principal.parse().unwrap(), "", &[]).unwrap();
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let filter = Filter { agencies: list(agencies), platforms: list(platforms), ..Filter::default() };
        let day = Date::default();
        let definition = Definition {
            cohort_from: day,
            cohort_until: day,
            entered_from: None,
            as_of: None,
            known_at: None,
            dimensions: vec![],
            filter,
        };
        Permitted::new(&Reader::own(principal), &[], definition).map(|permitted| permitted.0.filter)
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
            ("researchers/lab", vec![], vec![]),
        ] {
            let refused = permitted(principal, &agencies, &platforms).unwrap_err();
            assert_eq!(refused.reason(), Reason::PermissionDenied, "{principal}");
        }
        for all in ["oversightBodies/hac", "operators/op", "services/decision"] {
            assert_eq!(permitted(all, &["bka"], &[]).unwrap().agencies, ["bka"], "{all}");
            assert_eq!(permitted(all, &[], &[]).unwrap(), Filter::default(), "{all}");
        }
    }

    #[test]
    fn networks_are_shown_to_their_agency_and_to_oversight() {
        let seen = |principal: &str| {
            let principal = Principal::new(principal.parse().unwrap(), "", &[]).unwrap();
            networks_seen(&principal, "nca").map_err(|error| error.reason())
        };
        for may in ["agencies/nca", "oversightBodies/hac", "operators/op", "services/decision"] {
            assert_eq!(seen(may), Ok(()), "{may}");
        }
        for may_not in ["agencies/bka", "platforms/nca", "researchers/nca"] {
            assert_eq!(seen(may_not), Err(Reason::PermissionDenied), "{may_not}");
        }
    }
}
