//! Published reports: figures that were given out, and the versions that took their place.

use std::fmt;
use std::str::FromStr;

use portreeve_core::name::{NameError, OrganisationKind, OrganisationName, canonical};
use portreeve_core::principal::Role;
use portreeve_core::token::Revision;
use portreeve_core::{Error, Principal, Reason, Result, Timestamp, Uuid, limits};

use super::{Definition, Filter};

/// `publications/{uuid}`, or `publications/{uuid}/versions/{version}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationName {
    /// Which published report.
    pub id: Uuid,
    /// Which version of it; `None` for the newest.
    pub version: Option<u32>,
}

impl fmt::Display for PublicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "publications/{}", self.id)?;
        self.version.map_or(Ok(()), |version| write!(f, "/versions/{version}"))
    }
}

impl FromStr for PublicationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let rest = text.strip_prefix("publications/")?;
            let Some((id, version)) = rest.split_once("/versions/") else {
                return Some(Self { id: canonical(rest)?, version: None });
            };
            let version = version.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == version)?;
            Some(Self { id: canonical(id)?, version: Some(version) })
        };
        read().ok_or(NameError("publications/{uuid} or publications/{uuid}/versions/{version}"))
    }
}

/// A digest by SHA-256.
pub type Digest = [u8; 32];

/// One version of a published report. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Which published report.
    pub id: Uuid,
    /// Which version of it, from 1.
    pub version: u32,
    /// Who answers for it.
    pub publisher: OrganisationName,
    /// What it is called.
    pub title: String,
    /// The lowest count that is shown.
    pub minimum: u32,
    /// Why it was published again.
    pub reason: String,
    /// What is asked, and by whom: two versions of one published report answer the same question.
    pub question: Digest,
    /// What came out, whenever it was counted.
    pub figures: Digest,
    /// The position of the service's own log at which it was counted.
    pub counted_at: i64,
    /// Up to where the logs had been followed of which it was counted.
    pub followed: Vec<Revision>,
    /// When it was published.
    pub published_at: Timestamp,
    /// The report as the contract writes it, which nothing here looks into.
    pub report: Vec<u8>,
}

/// What a further version is held against: the newest that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// Which published report.
    pub id: Uuid,
    /// Which version of it.
    pub version: u32,
    /// What came out.
    pub figures: Digest,
    /// The position of the service's own log at which it was counted.
    pub counted_at: i64,
}

impl Publication {
    /// Its name.
    pub const fn name(&self) -> PublicationName {
        PublicationName { id: self.id, version: Some(self.version) }
    }

    /// What the next version is held against.
    pub const fn edition(&self) -> Edition {
        Edition { id: self.id, version: self.version, figures: self.figures, counted_at: self.counted_at }
    }

    /// What is published in answer to the same question as `newest`, if anything is: figures that have not changed are not published again.
    pub fn after(self, newest: Option<&Edition>, now: Timestamp) -> Result<Option<Self>> {
        let Some(newest) = newest else { return Ok(Some(Self { version: 1, published_at: now, ..self })) };
        let stands = PublicationName { id: newest.id, version: Some(newest.version) };
        if newest.counted_at > self.counted_at {
            let message = format!("{stands} was published while this was counted, and knows more; repeat the call");
            return Err(Error::new(Reason::StaleVersion, message).with("name", stands).with("actual", newest.version));
        }
        if newest.figures == self.figures {
            return Ok(None);
        }
        if self.reason.is_empty() {
            let message = format!("the figures of {stands} have changed: another version says why");
            let says = "must say why the figures are published again";
            return Err(Error::new(Reason::RequestInvalid, message).at("reason", says).with("name", stands));
        }
        let version = newest.version.saturating_add(1);
        Ok(Some(Self { id: newest.id, version, published_at: now, ..self }))
    }
}

/// The lowest count that is shown, where a publisher says `told`: 0 for the least that grants allow, 1 for all.
pub const fn minimum(told: u32) -> Option<u32> {
    match told {
        0 => Some(limits::GRANT_SMALL_CELL_FLOOR),
        1 | limits::GRANT_SMALL_CELL_FLOOR..=limits::GRANT_SMALL_CELL_MAX => Some(told),
        _ => None,
    }
}

/// Refuses who may not publish: approvers bind an agency, reviewers speak for a platform, and supervisors for an oversight body.
pub fn may_publish(caller: &Principal) -> Result<()> {
    caller.require(match caller.kind() {
        OrganisationKind::Agency => Role::Approver,
        OrganisationKind::Platform => Role::Reviewer,
        _ => Role::Supervisor,
    })
}

/// There is no such version: told to everybody, as everybody sees all.
pub fn no_publication(name: PublicationName) -> Error {
    Error::new(Reason::PublicationNotFound, format!("there is no {name}")).with("name", name)
}

impl Definition {
    /// The question alone: what is asked does not depend on the order in which a filter names things, nor on when it is asked.
    #[must_use]
    pub fn question(&self) -> Self {
        let mut filter = self.filter.clone();
        let Filter {
            agencies,
            platforms,
            grounds,
            natures,
            target_kinds,
            clauses,
            content_languages,
            operations,
            legal_bases,
        } = &mut filter;
        for words in [agencies, platforms, clauses, content_languages, operations, legal_bases] {
            words.sort_unstable();
        }
        for codes in [grounds, natures, target_kinds] {
            codes.sort_unstable();
        }
        Self { known_at: None, filter, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(figures: u8, at: i64, reason: &str) -> Publication {
        Publication {
            id: Uuid::from_u128(at.unsigned_abs().into()),
            version: 0,
            publisher: "oversightBodies/hac".parse().unwrap(),
            title: "Cohort".into(),
            minimum: 5,
            reason: reason.into(),
            question: [7; 32],
            figures: [figures; 32],
            counted_at: at,
            followed: vec![],
            published_at: Timestamp::default(),
            report: vec![],
        }
    }

    #[test]
    fn only_figures_that_changed_are_another_version_and_it_says_why() {
        let now = "2026-01-02".parse().unwrap();
        let first = counted(1, 10, "").after(None, now).unwrap().unwrap();
        assert_eq!((first.version, first.published_at), (1, now));
        let newest = first.edition();
        assert_eq!(counted(1, 12, "").after(Some(&newest), now), Ok(None));
        assert_eq!(counted(1, 12, "again").after(Some(&newest), now), Ok(None), "a reason changes no figure");
        let silent = counted(2, 12, "").after(Some(&newest), now).unwrap_err();
        assert_eq!((silent.reason(), silent.violations().len()), (Reason::RequestInvalid, 1));
        let second = counted(2, 12, "corrected").after(Some(&newest), now).unwrap().unwrap();
        assert_eq!((second.version, second.id), (2, first.id), "another version of the same");
        let late = counted(3, 11, "counted before it").after(Some(&second.edition()), now).unwrap_err();
        assert_eq!(late.reason(), Reason::StaleVersion);
        // Figures that come back are a version, too: what was published in between is not undone.
        let back = counted(1, 13, "reversed").after(Some(&second.edition()), now).unwrap().unwrap();
        assert_eq!(back.version, 3);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let id = Uuid::from_u128(7);
        for version in [None, Some(1), Some(4_000)] {
            let name = PublicationName { id, version };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for bad in ["", "publications/x", "/versions/0", "/versions/01", "/versions/", "/versions/9999999999"] {
            let text = if bad.starts_with('/') { format!("publications/{id}{bad}") } else { bad.to_owned() };
            assert!(text.parse::<PublicationName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_minimum_protects_or_is_said_not_to() {
        let told = [0, 1, 2, 4, 5, 1_000, 1_001].map(minimum);
        assert_eq!(told, [Some(5), Some(1), None, None, Some(5), Some(1_000), None]);
    }

    #[test]
    fn the_order_of_a_filter_asks_nothing_else() {
        let day = portreeve_core::Date::default();
        let of = |agencies: &[&str], known_at| Definition {
            cohort_from: day,
            cohort_until: day,
            entered_from: None,
            as_of: Some(day),
            known_at,
            dimensions: vec![],
            filter: Filter { agencies: agencies.iter().map(|id| (*id).to_owned()).collect(), ..Filter::default() },
        };
        assert_eq!(of(&["a", "b"], Some(day)).question(), of(&["b", "a"], None).question());
        assert_ne!(of(&["a"], None).question(), of(&["b"], None).question());
    }
}
