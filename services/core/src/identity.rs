//! How a certificate or a token says who acts.
//!
//! A certificate carries exactly one URI among its subject's alternative names:
//!
//! ```text
//! portreeve://agencies/nca/members/j.doe?roles=officer,approver
//! portreeve://services/decision?roles=service
//! ```
//!
//! A token carries the same three parts as claims. Either is read strictly: one spelling of each name, no escapes, no
//! other part, at least one role and none twice. Whoever issues it must say which roles, since what is not said is not held.

use std::fmt::Write as _;

use crate::name::OrganisationName;
use crate::{Error, Principal, Reason, Result, limits};

/// What the URI begins with.
pub const SCHEME: &str = "portreeve://";

/// Who is meant by a URI of the documented form.
pub fn parse(uri: &str) -> Result<Principal> {
    if uri.chars().count() > limits::IDENTITY_CHARS_MAX {
        return Err(invalid(format!("its name has more than {} characters", limits::IDENTITY_CHARS_MAX)));
    }
    let form =
        || invalid("its name is not of the form portreeve://agencies/ID/members/NAME?roles=ROLE,ROLE".to_owned());
    let (path, roles) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once("?roles=")).ok_or_else(form)?;
    let (organisation, member) = match path.split_once("/members/") {
        Some((organisation, member)) => (organisation, Some(member)),
        None => (path, None),
    };
    principal(organisation, member, &roles.split(',').collect::<Vec<_>>())
}

/// Who is meant by an organisation's name, a member's and the names of roles.
pub fn principal(organisation: &str, member: Option<&str>, roles: &[&str]) -> Result<Principal> {
    let organisation =
        organisation.parse::<OrganisationName>().map_err(|error| invalid(format!("its organisation {error}")))?;
    if member.is_some_and(|member| !is_member(member)) {
        return Err(invalid(format!(
            "its member must have 1 to {} letters, digits and characters of . _ - @, of ASCII, the first of them no \
             punctuation",
            limits::MEMBER_CHARS_MAX
        )));
    }
    if roles.iter().all(|role| role.is_empty()) {
        return Err(invalid("it names no role; what is not said is not held".to_owned()));
    }
    if let Some(twice) = roles.iter().enumerate().find(|(at, role)| roles[..*at].contains(*role)) {
        return Err(invalid(format!("it names the role {:?} twice", twice.1)));
    }
    Principal::new(organisation, member.unwrap_or_default(), roles).map_err(|error| invalid(error.message().to_owned()))
}

/// The URI that names a principal; [`parse`] reads it again if the member's name is one that a certificate can carry.
pub fn uri(principal: &Principal) -> String {
    let mut uri = format!("{SCHEME}{}", principal.organisation());
    if !principal.member().is_empty() {
        let _ = write!(uri, "/members/{}", principal.member());
    }
    let roles = principal.roles().iter().map(|role| role.name()).collect::<Vec<_>>();
    let _ = write!(uri, "?roles={}", roles.join(","));
    uri
}

fn is_member(name: &str) -> bool {
    name.len() <= limits::MEMBER_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

fn invalid(what: String) -> Error {
    Error::new(Reason::CredentialInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Role;

    #[test]
    fn a_name_says_organisation_member_and_roles() {
        let doe = parse("portreeve://agencies/nca/members/j.doe?roles=officer,approver").unwrap();
        assert_eq!(doe.to_string(), "agencies/nca:j.doe");
        assert_eq!(doe.roles(), [Role::Officer, Role::Approver]);
        let service = parse("portreeve://services/decision?roles=service").unwrap();
        assert_eq!((service.to_string().as_str(), service.roles()), ("services/decision", &[Role::Service][..]));
        let researcher = parse("portreeve://researchers/lab/members/r?roles=researcher").unwrap();
        assert_eq!(
            (researcher.to_string().as_str(), researcher.roles()),
            ("researchers/lab:r", &[Role::Researcher][..])
        );
        let longest = "x".repeat(limits::MEMBER_CHARS_MAX);
        assert!(parse(&format!("portreeve://agencies/nca/members/{longest}?roles=officer")).is_ok());
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = format!("portreeve://agencies/nca/members/x{}?roles=officer", "x".repeat(limits::MEMBER_CHARS_MAX));
        let endless =
            format!("portreeve://agencies/nca?roles=officer{}", ",officer".repeat(limits::IDENTITY_CHARS_MAX));
        for name in [
            "",
            "portreeve://",
            "portreeve:agencies/nca?roles=officer",
            "PORTREEVE://agencies/nca?roles=officer",
            "https://agencies/nca?roles=officer",
            " portreeve://agencies/nca?roles=officer",
            "portreeve://agencies/nca",
            "portreeve://agencies/nca?roles=",
            "portreeve://agencies/nca?roles=,",
            "portreeve://agencies/nca?roles=officer,",
            "portreeve://agencies/nca?roles=officer,officer",
            "portreeve://agencies/nca?roles=officer&roles=operator",
            "portreeve://agencies/nca?roles=officer?roles=operator",
            "portreeve://agencies/nca?roles=Officer",
            "portreeve://agencies/nca?roles=officer#x",
            "portreeve://agencies/nca?roles=officer%2Capprover",
            "portreeve://agencies/nca?roles=operator",
            "portreeve://agencies/nca?roles=reviewer",
            "portreeve://agencies/nca?roles=service",
            "portreeve://agencies/nca?roles=researcher",
            "portreeve://researchers/lab?roles=analyst",
            "portreeve://oversightBodies/hac?roles=researcher",
            "portreeve://agencies/nca?roles=officer\0",
            "portreeve://agencies/NCA?roles=officer",
            "portreeve://agencies/nca/?roles=officer",
            "portreeve://agencies//nca?roles=officer",
            "portreeve://agencies/../operators/op?roles=operator",
            "portreeve://agencies/nca%00?roles=officer",
            "portreeve://nca?roles=officer",
            "portreeve://agencies/nca/members/?roles=officer",
            "portreeve://agencies/nca/members/../j?roles=officer",
            "portreeve://agencies/nca/members/j/members/k?roles=officer",
            "portreeve://agencies/nca/members/j doe?roles=officer",
            "portreeve://agencies/nca/members/j:doe?roles=officer",
            "portreeve://agencies/nca/members/jöe?roles=officer",
            "portreeve://agencies/nca/members/.j?roles=officer",
            "portreeve://agencies/nca/people/j?roles=officer",
            "portreeve://user@agencies/nca?roles=officer",
            "portreeve://agencies:443/nca?roles=officer",
            long.as_str(),
            endless.as_str(),
        ] {
            assert_eq!(parse(name).map_err(|error| error.reason()), Err(Reason::CredentialInvalid), "{name:?}");
        }
    }
}
