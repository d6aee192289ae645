//! Grants between the contract's messages and the domain. A grant lies in the log and in its table as the contract writes it.

use portreeve_api::reporting::v1 as wire;
use portreeve_core::name::{OrganisationKind, OrganisationName, parse_owner};
use portreeve_core::time::DAY_MICROS;
use portreeve_core::{Date, Timestamp, Violations, limits};
use portreeve_runtime::wire::{must_say, optional_time, read_time, write_time};
use prost::Message as _;

use super::convert::{read_dimension, write_dimension};
use crate::domain::grant::{Revocation, Standing};
use crate::domain::{Grant, Terms};

/// The terms of a draft. What the contract's own rules refuse has been noted, and gives `None` here.
pub(super) fn read_draft(violations: &mut Violations, draft: &wire::Grant, now: Timestamp) -> Option<Terms> {
    let mut day = |field: &str, text: &str| {
        // A day that the calendar lacks has the form of a date and passes the contract's rule.
        let looks_right = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let read = text.parse::<Date>();
        if let Err(error) = &read
            && looks_right
        {
            violations.add(format!("grant.{field}"), error);
        }
        read.ok()
    };
    let cohort_from = day("cohort_from_date", &draft.cohort_from_date);
    let cohort_until = day("cohort_until_date", &draft.cohort_until_date);
    if cohort_from.zip(cohort_until).is_some_and(|(from, until)| until < from) {
        violations.add("grant.cohort_until_date", "must not be before cohort_from_date");
    }
    must_say(violations, "grant.purpose", &draft.purpose);
    let start = match &draft.start_time {
        None => Some(now),
        some => optional_time(violations, "grant.start_time", some.as_ref()),
    };
    let end = optional_time(violations, "grant.end_time", draft.end_time.as_ref());
    if let Some((start, end)) = start.zip(end) {
        let days = limits::GRANT_DAYS_MAX;
        if end <= start && draft.start_time.is_some() {
            violations.add("grant.end_time", "must be after start_time");
        } else if end > start.plus_micros(days * DAY_MICROS) {
            violations.add("grant.end_time", format_args!("must be at most {days} days after start_time"));
        } else if end <= now {
            violations.add_late("grant.end_time", "must be in the future: nothing would ever be given under the grant");
        }
    }
    let terms = read_terms(draft);
    terms.map(|terms| Terms { start: start.unwrap_or(now), end: end.unwrap_or(now), ..terms })
}

/// The terms of a message, but for their times.
fn read_terms(message: &wire::Grant) -> Option<Terms> {
    let ids = |names: &[String], kind| {
        names.iter().map(|name| parse_owner(name, kind).ok().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    Some(Terms {
        grantee: message
            .grantee
            .parse()
            .ok()
            .filter(|name: &OrganisationName| name.kind() == OrganisationKind::Researcher)?,
        purpose: message.purpose.clone(),
        start: Timestamp::default(),
        end: Timestamp::default(),
        cohort_from: message.cohort_from_date.parse().ok()?,
        cohort_until: message.cohort_until_date.parse().ok()?,
        dimensions: message.dimensions.iter().map(|code| read_dimension(*code)).collect::<Option<_>>()?,
        agencies: ids(&message.agencies, OrganisationKind::Agency)?,
        platforms: ids(&message.platforms, OrganisationKind::Platform)?,
        grounds: message.grounds.iter().map(|code| i64::from(*code)).collect(),
        small_cell_minimum: message.small_cell_minimum,
        query_budget: message.query_budget,
    })
}

/// A grant as it was kept. `None` for what this release did not write.
pub(super) fn read_grant(message: &wire::Grant) -> Option<Grant> {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(|time| read_time(time).ok());
    let revocation = match &message.revocation {
        None => None,
        Some(revocation) => Some(Revocation {
            by: revocation.revoker.parse().ok()?,
            reason: revocation.reason.clone(),
            at: time(&revocation.revoked_at)?,
        }),
    };
    Some(Grant {
        name: message.name.parse().ok()?,
        terms: Terms { start: time(&message.start_time)?, end: time(&message.end_time)?, ..read_terms(message)? },
        issuer: message.issuer.parse().ok()?,
        revocation,
        spent: message.queries_spent,
        issued_at: time(&message.create_time)?,
        updated_at: time(&message.update_time)?,
        issued: 0,
    })
}

/// A grant as it is kept: what does not change with time alone.
pub(super) fn write_kept(grant: &Grant) -> wire::Grant {
    let Grant { name, terms, issuer, revocation, spent, issued_at, updated_at, issued: _ } = grant;
    let names =
        |kind: OrganisationKind, ids: &[String]| ids.iter().map(|id| format!("{}/{id}", kind.collection())).collect();
    wire::Grant {
        name: name.to_string(),
        grantee: terms.grantee.to_string(),
        purpose: terms.purpose.clone(),
        start_time: Some(write_time(terms.start)),
        end_time: Some(write_time(terms.end)),
        cohort_from_date: terms.cohort_from.to_string(),
        cohort_until_date: terms.cohort_until.to_string(),
        dimensions: terms.dimensions.iter().map(|dimension| write_dimension(*dimension)).collect(),
        agencies: names(OrganisationKind::Agency, &terms.agencies),
        platforms: names(OrganisationKind::Platform, &terms.platforms),
        grounds: terms.grounds.iter().filter_map(|code| i32::try_from(*code).ok()).collect(),
        small_cell_minimum: terms.small_cell_minimum,
        query_budget: terms.query_budget,
        issuer: issuer.to_string(),
        revocation: revocation.as_ref().map(|revocation| wire::GrantRevocation {
            revoker: revocation.by.to_string(),
            reason: revocation.reason.clone(),
            revoked_at: Some(write_time(revocation.at)),
        }),
        state: wire::GrantState::Unspecified.into(),
        queries_spent: *spent,
        create_time: Some(write_time(*issued_at)),
        update_time: Some(write_time(*updated_at)),
    }
}

/// A grant for the wire, at a moment.
pub(super) fn write_grant(grant: &Grant, now: Timestamp) -> wire::Grant {
    let state = match grant.standing(now).0 {
        Standing::NotBegun => wire::GrantState::NotBegun,
        Standing::InForce => wire::GrantState::InForce,
        Standing::Expired => wire::GrantState::Expired,
        Standing::Revoked => wire::GrantState::Revoked,
    };
    wire::Grant { state: state.into(), ..write_kept(grant) }
}

/// A grant as its table has it.
pub(crate) fn encode(grant: &Grant) -> Vec<u8> {
    write_kept(grant).encode_to_vec()
}

/// The grant behind such a body.
pub(crate) fn decode(body: &[u8]) -> Option<Grant> {
    read_grant(&wire::Grant::decode(body).ok()?)
}

#[cfg(test)]
mod tests {
    use portreeve_core::Uuid;
    use portreeve_storage::Codec as _;

    use super::super::convert::Log;
    use super::*;
    use crate::domain::{Dimension, Event, GrantName};

    #[test]
    fn grants_come_back_from_the_log_and_the_table_as_they_were() {
        let terms = Terms {
            grantee: "researchers/lab".parse().unwrap(),
            purpose: "How long decisions take".into(),
            start: "2026-01-10".parse().unwrap(),
            end: "2026-03-01T23:00:00.000001Z".parse().unwrap(),
            cohort_from: "2020-01-15".parse().unwrap(),
            cohort_until: "2020-05-20".parse().unwrap(),
            dimensions: Dimension::ALL.to_vec(),
            agencies: vec!["nca".into()],
            platforms: vec!["hb".into(), "ch".into()],
            grounds: vec![1, 17],
            small_cell_minimum: 10,
            query_budget: 50,
        };
        let issued_at = "2026-01-01T01:02:03Z".parse().unwrap();
        let name = GrantName(Uuid::from_u128(7));
        let issuer: OrganisationName = "oversightBodies/hac".parse().unwrap();
        let grant = Grant {
            name,
            terms,
            issuer: issuer.clone(),
            revocation: None,
            spent: 3,
            issued_at,
            updated_at: issued_at,
            issued: 0,
        };
        let at = "2026-01-02".parse().unwrap();
        let revoked = grant.revoke(&issuer, "misused", at).unwrap().unwrap();
        for grant in [grant, revoked] {
            assert_eq!(decode(&encode(&grant)), Some(grant.clone()));
            let event = Event::GrantChanged(Box::new(grant));
            let encoded = Log::encode(&event);
            assert_eq!((encoded.agency.as_str(), encoded.platform.as_str()), ("", ""), "not for any one organisation");
            assert_eq!(Log::decode(&encoded.body), Ok(event));
        }
        let counted = Event::QueryCounted { grant: name, spent: 4 };
        assert_eq!(Log::decode(&Log::encode(&counted).body), Ok(counted));
        assert_eq!(decode(b"nonsense"), None);
        assert_eq!(decode(&[]), None);
    }
}
