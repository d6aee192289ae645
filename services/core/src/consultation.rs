//! Who reads or receives what, and why: what every service tells its access log before it shows anything.
//!
//! Data Protection Act 2018 s.62: logs of consultation have its justification, date and time, and who consulted; logs of
//! disclosure also the recipient.

use crate::name::{OrganisationKind, OrganisationName};
use crate::principal::Role;
use crate::{Error, Principal, Reason, Result, Uuid, limits};

/// Why a caller calls, by its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The purpose, as request metadata named it; empty if it named none.
    pub purpose: String,
    /// The justification in words; empty if none was given.
    pub justification: String,
}

/// A call that reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Who reads.
    pub principal: Principal,
    /// By which method: `portreeve.referral.v1.ReferralService/GetReferral`.
    pub method: String,
    /// The identifier of the call, as the reply and the server's log lines carry it.
    pub request_id: String,
    /// Why.
    pub statement: Statement,
}

/// A stretch of a log that was examined for what the reader may see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The log.
    pub log: String,
    /// The position before the first one examined.
    pub after: i64,
    /// The last position examined.
    pub through: i64,
    /// How many rows of the owner were shown.
    pub rows: i64,
    /// Whether these were rows of the state as it stood at `through`, and not of the changes up to it.
    pub snapshot: bool,
}

/// What was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Rows, by their identifiers.
    Rows(Vec<Uuid>),
    /// Rows of a stretch of a log.
    Stretch(Stretch),
    /// The figures of a report, by the SHA-256 of its definition; in a stream with the stretch that changed them.
    Figures {
        /// The digest, in hexadecimal.
        definition: String,
        /// The stretch of the reporting log.
        stretch: Option<Stretch>,
    },
}

/// What was shown of one owner's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whose it is; `None` for what is of everybody together.
    pub owner: Option<OrganisationName>,
    /// What.
    pub what: What,
}

/// What a server demands of callers that read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// A justification is recorded where it is given.
    #[default]
    Optional,
    /// Nothing is read without a justification.
    Required,
}

impl Policy {
    /// Refuses a reading that the policy does not let happen. The suite's own services follow each other and consult
    /// nothing.
    pub fn check(self, reading: &Reading) -> Result<()> {
        let lacks = self == Self::Required && reading.statement.justification.is_empty();
        if !lacks || reading.principal.kind() == OrganisationKind::Service {
            return Ok(());
        }
        Err(Error::new(
            Reason::JustificationRequired,
            "this server records why data is read and was not told; send the reason as the metadata \
             portreeve-justification",
        )
        .with("method", &reading.method)
        .with("maximum", limits::JUSTIFICATION_CHARS_MAX))
    }
}

/// An organisation with its member, as [`Principal`] writes itself.
fn parts(reader: &str) -> (&str, &str) {
    reader.split_once(':').unwrap_or((reader, ""))
}

/// Whether a reading, as its log has the reader, is the caller's own: nobody audits himself.
pub fn is_own(caller: &Principal, reader: &str) -> bool {
    let (organisation, member) = parts(reader);
    caller.organisation().to_string() == organisation && caller.member() == member
}

/// Whether the caller may see that somebody read something: the auditors of whose it is and of the reader's organisation,
/// and oversight; never who read it himself. `owner` is empty where it is nobody's alone.
pub fn may_see(caller: &Principal, owner: &str, reader: &str) -> bool {
    if caller.member().is_empty() || is_own(caller, reader) {
        return false;
    }
    let own = caller.organisation().to_string();
    let oversees = caller.kind() == OrganisationKind::Oversight && caller.has(Role::Analyst);
    oversees || caller.has(Role::Auditor) && (own == owner || own == parts(reader).0)
}

/// Refuses an auditor who does not say who he is: what is about himself could not be kept from him.
pub fn require_named(caller: &Principal) -> Result<()> {
    if caller.member().is_empty() {
        return Err(Error::new(
            Reason::AuditorUnnamed,
            "who reads an access log must say who that is, since nobody sees his own reading: act with a member's name",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str, member: &str, roles: &[&str]) -> Principal {
        Principal::new(name.parse().unwrap(), member, roles).unwrap()
    }

    fn reading(principal: Principal, justification: &str) -> Reading {
        let statement = Statement { purpose: String::new(), justification: justification.to_owned() };
        Reading { principal, method: "S/Get".to_owned(), request_id: String::new(), statement }
    }

    #[test]
    fn auditors_see_what_is_theirs_and_nobody_sees_himself() {
        let auditor = principal("agencies/nca", "a.uditor", &["auditor"]);
        for (owner, reader, seen) in [
            ("agencies/nca", "agencies/nca:j.doe", true),
            ("agencies/nca", "platforms/hb:t.s", true),
            ("agencies/bka", "agencies/nca:j.doe", true),
            ("agencies/nca", "agencies/nca", true),
            ("agencies/bka", "platforms/hb:t.s", false),
            ("", "oversightBodies/hac:an", false),
            ("agencies/nca", "agencies/nca:a.uditor", false),
        ] {
            assert_eq!(may_see(&auditor, owner, reader), seen, "{owner} {reader}");
        }
        let analyst = principal("oversightBodies/hac", "an", &[]);
        assert!(may_see(&analyst, "agencies/nca", "agencies/nca:a.uditor"));
        assert!(!may_see(&analyst, "", "oversightBodies/hac:an"));
        for nobody in [
            principal("agencies/nca", "j.doe", &["officer"]),
            principal("agencies/nca", "", &["auditor"]),
            principal("oversightBodies/hac", "", &[]),
            principal("operators/op", "o", &[]),
        ] {
            assert!(!may_see(&nobody, "agencies/nca", "agencies/nca:other"), "{nobody}");
        }
        assert_eq!(require_named(&principal("agencies/nca", "", &[])).unwrap_err().reason(), Reason::AuditorUnnamed);
        assert!(require_named(&auditor).is_ok());
    }

    #[test]
    fn a_policy_demands_a_justification_of_all_but_the_suite_itself() {
        let officer = principal("agencies/nca", "j.doe", &[]);
        assert!(Policy::Optional.check(&reading(officer.clone(), "")).is_ok());
        assert!(Policy::Required.check(&reading(officer.clone(), "case 7")).is_ok());
        let refused = Policy::Required.check(&reading(officer, "")).unwrap_err();
        assert_eq!(refused.reason(), Reason::JustificationRequired);
        assert!(Policy::Required.check(&reading(Principal::service("decision").unwrap(), "")).is_ok());
    }
}
