//! Who calls, by what they say of themselves: what an open server, and a call within the process, go by.

use portreeve_core::limits::MEMBER_CHARS_MAX;
use portreeve_core::{Error, Principal, Reason, Result};
use tonic::metadata::MetadataMap;

/// The metadata key that names the acting organisation while the server is open: `agencies/nca`.
pub const ORGANISATION: &str = "portreeve-organisation";
/// The metadata key that names the person or system that acts for it.
pub const MEMBER: &str = "portreeve-member";
/// The metadata key that lists the roles asked for, separated by commas. Without it: the ordinary ones of the kind.
pub const ROLES: &str = "portreeve-roles";

/// The principal of a call to an open server: who it says it is. An open server listens on loopback only.
pub fn principal(metadata: &MetadataMap) -> Result<Principal> {
    let organisation = text(metadata, ORGANISATION)?.ok_or_else(|| {
        Error::new(
            Reason::Unauthenticated,
            "the acting organisation is missing; send it as metadata, such as portreeve-organisation: agencies/nca",
        )
    })?;
    let organisation = organisation
        .parse()
        .map_err(|error| Error::new(Reason::Unauthenticated, format!("the metadata {ORGANISATION} {error}")))?;
    let member = text(metadata, MEMBER)?.unwrap_or_default();
    if member.chars().count() > MEMBER_CHARS_MAX || member.chars().any(char::is_control) {
        return Err(Error::new(
            Reason::Unauthenticated,
            format!("the metadata {MEMBER} must have at most {MEMBER_CHARS_MAX} printable characters"),
        ));
    }
    let roles = text(metadata, ROLES)?.unwrap_or_default();
    let roles = roles.split(',').map(str::trim).filter(|role| !role.is_empty()).collect::<Vec<_>>();
    Principal::new(organisation, member, &roles)
}

fn text<'m>(metadata: &'m MetadataMap, key: &str) -> Result<Option<&'m str>> {
    metadata
        .get(key)
        .map(|value| {
            value
                .to_str()
                .map_err(|_| Error::new(Reason::Unauthenticated, format!("the metadata {key} is not plain text")))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut map = MetadataMap::new();
        for (key, value) in pairs {
            map.insert(*key, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn the_acting_organisation_is_read_from_metadata() {
        let read =
            principal(&metadata(&[(ORGANISATION, "agencies/nca"), (MEMBER, "j.doe"), (ROLES, "officer, import")]));
        assert_eq!(read.map(|p| p.to_string()), Ok("agencies/nca:j.doe".into()));
        let long = "x".repeat(MEMBER_CHARS_MAX + 1);
        for pairs in [
            vec![],
            vec![(ORGANISATION, "nca")],
            vec![(ORGANISATION, "agencies/nca"), (ROLES, "reviewer")],
            vec![(ORGANISATION, "agencies/nca"), (MEMBER, long.as_str())],
        ] {
            assert_eq!(principal(&metadata(&pairs)).map_err(|e| e.reason()), Err(Reason::Unauthenticated), "{pairs:?}");
        }
    }
}
