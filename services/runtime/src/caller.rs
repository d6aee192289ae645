//! Who calls, by what they say of themselves: what an open server, and a call within the process, go by. And why they
//! call, which is always the caller's own statement.

use portreeve_core::consultation::Statement;
use portreeve_core::limits::{JUSTIFICATION_CHARS_MAX, MEMBER_CHARS_MAX, PURPOSE_CHARS_MAX};
use portreeve_core::{Error, Principal, Reason, Result, Violations};
use tonic::metadata::MetadataMap;

/// The metadata key that names the acting organisation while the server is open: `agencies/nca`.
pub const ORGANISATION: &str = "portreeve-organisation";
/// The metadata key that names the person or system that acts for it.
pub const MEMBER: &str = "portreeve-member";
/// The metadata key that lists the roles asked for, separated by commas. Without it: the ordinary ones of the kind.
pub const ROLES: &str = "portreeve-roles";
/// The metadata key of the grant under which researchers ask for a report: `grants/{uuid}`.
pub const GRANT: &str = "portreeve-grant";
/// The metadata key of the purpose of the call.
pub const PURPOSE: &str = "portreeve-purpose";
/// The metadata key of the reason why the caller reads, in words.
pub const JUSTIFICATION: &str = "portreeve-justification";
/// The same in UTF-8; counts if both are sent.
pub const JUSTIFICATION_BIN: &str = "portreeve-justification-bin";

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

/// Why the caller calls. What cannot be kept as it was said is refused, all of it at once.
pub fn statement(metadata: &MetadataMap) -> Result<Statement> {
    if [PURPOSE, JUSTIFICATION, JUSTIFICATION_BIN].iter().all(|key| !metadata.contains_key(*key)) {
        return Ok(Statement::default());
    }
    let mut violations = Violations::new();
    let mut read = |key: &str, value: Option<String>, chars_max: usize| {
        let Some(value) = value else { return String::new() };
        let said = value.trim();
        if said.is_empty() || said.chars().count() > chars_max || said.chars().any(char::is_control) {
            violations.add(key, format_args!("must have 1 to {chars_max} printable characters"));
        }
        said.to_owned()
    };
    // What is not text becomes characters that are not printable, and is refused for them.
    let plain = |key: &str| {
        let value = metadata.get(key)?;
        Some(value.to_str().map_or_else(|_| "\0".to_owned(), str::to_owned))
    };
    let in_utf8 = metadata.get_bin(JUSTIFICATION_BIN).map(|value| {
        let text = value.to_bytes().ok().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        text.unwrap_or_else(|| "\0".to_owned())
    });
    let purpose = read(PURPOSE, plain(PURPOSE), PURPOSE_CHARS_MAX);
    let justification = match in_utf8 {
        None => read(JUSTIFICATION, plain(JUSTIFICATION), JUSTIFICATION_CHARS_MAX),
        said => read(JUSTIFICATION_BIN, said, JUSTIFICATION_CHARS_MAX),
    };
    violations.into_result()?;
    Ok(Statement { purpose, justification })
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
    fn why_is_read_as_it_was_said_or_refused() {
        let read = |pairs: &[(&'static str, &str)]| statement(&metadata(pairs));
        assert_eq!(read(&[]), Ok(Statement::default()));
        let why = read(&[(PURPOSE, "investigation"), (JUSTIFICATION, " Operation Heron ")]).unwrap();
        assert_eq!((why.purpose.as_str(), why.justification.as_str()), ("investigation", "Operation Heron"));
        let longest = "x".repeat(JUSTIFICATION_CHARS_MAX);
        assert_eq!(read(&[(JUSTIFICATION, &longest)]).unwrap().justification, longest);
        assert_eq!(read(&[(PURPOSE, &"x".repeat(PURPOSE_CHARS_MAX))]).unwrap().purpose.len(), PURPOSE_CHARS_MAX);
        let refused = read(&[(PURPOSE, &"x".repeat(PURPOSE_CHARS_MAX + 1)), (JUSTIFICATION, &(longest + "x"))]);
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason(), Reason::RequestInvalid);
        let fields = refused.violations().iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>();
        assert_eq!(fields, [PURPOSE, JUSTIFICATION]);
        assert!(read(&[(JUSTIFICATION, " ")]).is_err());

        let in_utf8 = |bytes: &[u8]| {
            let mut map = MetadataMap::new();
            map.insert_bin(JUSTIFICATION_BIN, tonic::metadata::MetadataValue::from_bytes(bytes));
            statement(&map).map(|why| why.justification)
        };
        assert_eq!(in_utf8("für Ermittlung 7".as_bytes()), Ok("für Ermittlung 7".to_owned()));
        assert_eq!(in_utf8("ü".repeat(JUSTIFICATION_CHARS_MAX).as_bytes()).map(|text| text.len()), Ok(1_000));
        for wrong in [b"\xff\xfe".as_slice(), b"a\nb", b""] {
            assert!(in_utf8(wrong).is_err(), "{wrong:?}");
        }
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
