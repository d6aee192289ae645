//! Who acts. A [`Principal`] is a required argument of everything that touches an organisation's data.

use std::fmt;

use crate::name::{OrganisationKind, OrganisationName};
use crate::{Error, Reason, Result};

/// What a member of an organisation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Refers on behalf of an agency.
    Officer,
    /// Agrees, on behalf of an agency, to what binds it.
    Approver,
    /// Registers what an agency works on, so that partners do not tread on it.
    InterestHolder,
    /// Reads who consulted an organisation's data. Never granted unasked: the one audited must not be the auditor.
    Auditor,
    /// Brings in facts of long ago with their own dates. Never granted unasked.
    Import,
    /// Receives and decides on behalf of a platform.
    Reviewer,
    /// Keeps a platform's policy catalogue.
    PolicyEditor,
    /// Reads figures on behalf of an oversight body.
    Analyst,
    /// Acts for an oversight body on what others may do: issues grants, imposes measures against misuse and decides appeals.
    /// Never granted unasked.
    Supervisor,
    /// Reads the figures that a grant allows.
    Researcher,
    /// Runs the exchange: registers organisations.
    Operator,
    /// A service of the suite.
    Service,
}

impl Role {
    /// Every role with its name, the kinds of organisation that can hold it, and whether it is held without being asked
    /// for.
    pub const ALL: [(Self, &'static str, &'static [OrganisationKind], bool); 12] = {
        use OrganisationKind::{Agency, Operator, Oversight, Platform, Researcher, Service};
        [
            (Self::Officer, "officer", &[Agency], true),
            (Self::Approver, "approver", &[Agency], true),
            (Self::InterestHolder, "interest-holder", &[Agency], true),
            (Self::Auditor, "auditor", &[Agency, Platform, Oversight, Researcher], false),
            (Self::Import, "import", &OrganisationKind::ALL, false),
            (Self::Reviewer, "reviewer", &[Platform], true),
            (Self::PolicyEditor, "policy-editor", &[Platform], true),
            (Self::Analyst, "analyst", &[Oversight], true),
            (Self::Supervisor, "supervisor", &[Oversight], false),
            (Self::Researcher, "researcher", &[Researcher], true),
            (Self::Operator, "operator", &[Operator], true),
            (Self::Service, "service", &[Service], true),
        ]
    };

    /// The role's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(role, ..)| *role == self).map_or("", |(_, name, ..)| name)
    }
}

/// The acting organisation, the member who acts for it, and what that member may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    organisation: OrganisationName,
    member: String,
    roles: Vec<Role>,
}

impl Principal {
    /// A principal with the roles named, or with the ordinary roles of its kind if none is named.
    /// Refuses a role that the kind of organisation cannot hold.
    pub fn new(organisation: OrganisationName, member: &str, roles: &[&str]) -> Result<Self> {
        let kind = organisation.kind();
        let mut held = Vec::new();
        for name in roles {
            let role = Role::ALL.iter().find(|(_, text, of, _)| text == name && of.contains(&kind));
            let (role, ..) = role.ok_or_else(|| {
                Error::new(Reason::Unauthenticated, format!("{organisation} cannot hold the role {name:?}"))
                    .with("role", name)
            })?;
            held.push(*role);
        }
        if roles.is_empty() {
            held =
                Role::ALL.iter().filter(|(.., of, own)| *own && of.contains(&kind)).map(|(role, ..)| *role).collect();
        }
        Ok(Self { organisation, member: member.to_owned(), roles: held })
    }

    /// A service of the suite.
    pub fn service(id: &str) -> Result<Self> {
        let name = OrganisationName::new(OrganisationKind::Service, id).map_err(|e| Error::internal(e.to_string()))?;
        Self::new(name, "", &[])
    }

    /// The acting organisation.
    pub const fn organisation(&self) -> &OrganisationName {
        &self.organisation
    }

    /// What kind of organisation acts.
    pub const fn kind(&self) -> OrganisationKind {
        self.organisation.kind()
    }

    /// The acting organisation's identifier, without its collection.
    pub fn id(&self) -> &str {
        self.organisation.id()
    }

    /// The person or system that acts; empty if not told.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The roles held.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Whether the role is held.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Refuses unless the role is held.
    pub fn require(&self, role: Role) -> Result<()> {
        if self.has(role) { Ok(()) } else { Err(self.denied()) }
    }

    /// Refuses unless the role is held and the acting organisation is the owner.
    pub fn require_as(&self, role: Role, kind: OrganisationKind, owner: &str) -> Result<()> {
        self.require(role)?;
        if self.kind() == kind && self.id() == owner { Ok(()) } else { Err(self.denied()) }
    }

    /// Refuses unless it is said which member acts.
    pub fn require_named(&self) -> Result<()> {
        if !self.member.is_empty() {
            return Ok(());
        }
        Err(unnamed(&self.organisation, "nobody decides later on what he did himself"))
    }

    /// What rows of an agency-and-platform ledger this principal may read.
    pub fn scope(&self) -> Scope {
        match self.kind() {
            OrganisationKind::Agency => Scope::Agency(self.id().to_owned()),
            OrganisationKind::Platform => Scope::Platform(self.id().to_owned()),
            OrganisationKind::Service => Scope::All,
            // Oversight and researchers see figures, not rows; the operator runs the exchange and reads nobody's referrals.
            OrganisationKind::Oversight | OrganisationKind::Operator | OrganisationKind::Researcher => Scope::Nothing,
        }
    }

    /// The refusal that says no more than that.
    pub fn denied(&self) -> Error {
        Error::new(Reason::PermissionDenied, format!("{} may not do this", self.organisation))
            .with("organisation", &self.organisation)
    }
}

/// The refusal of a call that does not say which member of the organisation acts, with why that matters.
pub fn unnamed(organisation: &OrganisationName, why: &str) -> Error {
    let message = format!("say which member of {organisation} acts: {why}");
    Error::new(Reason::MemberUnnamed, message).with("organisation", organisation)
}

impl fmt::Display for Principal {
    /// `agencies/nca` or `agencies/nca:j.doe`, as events and audit lines have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.member.is_empty() {
            self.organisation.fmt(f)
        } else {
            write!(f, "{}:{}", self.organisation, self.member)
        }
    }
}

/// The rows that a principal may read: the one choke point of tenancy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the suite's own services.
    All,
    /// What one agency referred.
    Agency(String),
    /// What was submitted to one platform.
    Platform(String),
    /// No row at all.
    Nothing,
}

impl Scope {
    /// Whether a row of this agency and platform is in the scope. Rows that belong to nobody (empty strings) are public.
    pub fn allows(&self, agency: &str, platform: &str) -> bool {
        let public = agency.is_empty() && platform.is_empty();
        public
            || match self {
                Self::All => true,
                Self::Agency(id) => agency == id,
                Self::Platform(id) => platform == id,
                Self::Nothing => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str, roles: &[&str]) -> Result<Principal> {
        Principal::new(name.parse().unwrap(), "", roles)
    }

    #[test]
    fn roles_follow_the_kind_and_import_is_never_held_unasked() {
        let officer = principal("agencies/nca", &[]).unwrap();
        assert!(officer.has(Role::Officer) && !officer.has(Role::Import) && !officer.has(Role::Reviewer));
        assert!(officer.has(Role::Approver) && officer.has(Role::InterestHolder) && !officer.has(Role::Auditor));
        assert!(principal("agencies/nca", &["import"]).unwrap().has(Role::Import));
        for name in ["agencies/nca", "platforms/hb", "oversightBodies/hac", "researchers/lab"] {
            assert!(principal(name, &["auditor"]).unwrap().has(Role::Auditor), "{name}");
        }
        assert_eq!(principal("operators/op", &["auditor"]).unwrap_err().reason(), Reason::Unauthenticated);
        assert_eq!(principal("agencies/nca", &["reviewer"]).unwrap_err().reason(), Reason::Unauthenticated);
        assert_eq!(principal("agencies/nca", &["wizard"]).unwrap_err().reason(), Reason::Unauthenticated);
        let analyst = principal("oversightBodies/hac", &[]).unwrap();
        assert!(analyst.has(Role::Analyst) && !analyst.has(Role::Supervisor));
        assert!(principal("oversightBodies/hac", &["supervisor"]).unwrap().has(Role::Supervisor));
        assert_eq!(principal("researchers/lab", &[]).unwrap().roles(), [Role::Researcher]);
        for role in ["analyst", "supervisor", "officer"] {
            assert!(principal("researchers/lab", &[role]).is_err(), "{role}");
        }
        assert!(officer.require_as(Role::Officer, OrganisationKind::Agency, "bka").is_err());
        assert!(officer.require_as(Role::Officer, OrganisationKind::Agency, "nca").is_ok());
    }

    #[test]
    fn scopes_keep_tenants_apart() {
        let agency = principal("agencies/nca", &[]).unwrap().scope();
        assert!(agency.allows("nca", "hb") && !agency.allows("bka", "hb"));
        let platform = principal("platforms/hb", &[]).unwrap().scope();
        assert!(platform.allows("nca", "hb") && !platform.allows("nca", "ch"));
        for name in ["operators/op", "researchers/lab"] {
            assert!(!principal(name, &[]).unwrap().scope().allows("nca", "hb"), "{name}");
        }
        assert!(Scope::All.allows("nca", "hb"));
    }
}
