//! Grants: what an oversight body lets researchers ask, until when, and how often. Facts are issue, revocation and each
//! query; time alone does the rest.

use std::fmt;
use std::str::FromStr;

use portreeve_core::error::Violation;
use portreeve_core::name::{NameError, OrganisationName, canonical};
use portreeve_core::{Date, Error, Reason, Result, Timestamp, Uuid};

use super::{Definition, Dimension};

/// `grants/{uuid}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantName(pub Uuid);

impl fmt::Display for GrantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grants/{}", self.0)
    }
}

impl FromStr for GrantName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.strip_prefix("grants/").and_then(canonical).map(Self).ok_or(NameError("grants/{uuid}"))
    }
}

/// What is granted. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who may ask.
    pub grantee: OrganisationName,
    /// For what.
    pub purpose: String,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends: the first moment at which nothing is given any more.
    pub end: Timestamp,
    /// The first day of the cohorts covered.
    pub cohort_from: Date,
    /// The last day of the cohorts covered.
    pub cohort_until: Date,
    /// By what reports may be divided.
    pub dimensions: Vec<Dimension>,
    /// The agencies counted; empty for all.
    pub agencies: Vec<String>,
    /// The platforms counted; empty for all.
    pub platforms: Vec<String>,
    /// The grounds counted; empty for all.
    pub grounds: Vec<i64>,
    /// The lowest count that is shown.
    pub small_cell_minimum: u32,
    /// How many reports are given in all.
    pub query_budget: u32,
}

/// The end of a grant before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The oversight body.
    pub by: OrganisationName,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its start is still to come.
    NotBegun,
    /// In force.
    InForce,
    /// Ended with its time.
    Expired,
    /// Revoked.
    Revoked,
}

impl Standing {
    /// Its name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotBegun => "NOT_BEGUN",
            Self::InForce => "IN_FORCE",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
        }
    }
}

/// A grant with all that was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub name: GrantName,
    /// What is granted.
    pub terms: Terms,
    /// The oversight body that issued it.
    pub issuer: OrganisationName,
    /// Its revocation.
    pub revocation: Option<Revocation>,
    /// How many reports have been given under it.
    pub spent: u32,
    /// When it was recorded.
    pub issued_at: Timestamp,
    /// When its last change was recorded.
    pub updated_at: Timestamp,
    /// The position of the event that issued it. Not in that event, which does not know it.
    pub issued: i64,
}

/// There is no such grant: told to who sees all of them.
pub fn no_grant(name: GrantName) -> Error {
    Error::new(Reason::GrantNotFound, format!("there is no {name}")).with("name", name)
}

/// The grant is not these researchers': told to them whether it is others' or nobody's.
pub fn not_theirs(name: GrantName, researchers: &OrganisationName) -> Error {
    Error::new(Reason::PermissionDenied, format!("{name} is none of the grants of {researchers}"))
        .with("organisation", researchers)
}

impl Grant {
    /// Where it stands at a moment, and since or from when.
    pub fn standing(&self, now: Timestamp) -> (Standing, Timestamp) {
        let Terms { start, end, .. } = self.terms;
        match &self.revocation {
            Some(revocation) => (Standing::Revoked, revocation.at),
            None if now < start => (Standing::NotBegun, start),
            None if now < end => (Standing::InForce, start),
            None => (Standing::Expired, end),
        }
    }

    /// The grant revoked; `None` if it was revoked before for the same reason.
    pub fn revoke(&self, by: &OrganisationName, reason: &str, now: Timestamp) -> Result<Option<Self>> {
        if self.revocation.as_ref().is_some_and(|known| known.reason == reason) {
            return Ok(None);
        }
        match self.standing(now) {
            (Standing::NotBegun | Standing::InForce, _) => {
                let revocation = Revocation { by: by.clone(), reason: reason.to_owned(), at: now };
                Ok(Some(Self { revocation: Some(revocation), updated_at: now, ..self.clone() }))
            }
            (standing, _) => {
                let (name, from) = (self.name, standing.name());
                Err(Error::new(Reason::InvalidTransition, format!("{name} is {from} already; that is final"))
                    .with("name", name)
                    .with("from", from)
                    .with("to", Standing::Revoked.name()))
            }
        }
    }

    /// What of a definition its grantee may count: the definition, limited to what the grant is limited to. Refuses if it is
    /// not in force, if the definition goes beyond it, and if nothing is left of its budget; in this order.
    pub(super) fn narrow(&self, mut definition: Definition, now: Timestamp) -> Result<Definition> {
        let name = self.name;
        let (standing, at) = self.standing(now);
        if standing != Standing::InForce {
            let says = match standing {
                Standing::NotBegun => "begins",
                Standing::Expired => "ended",
                Standing::InForce | Standing::Revoked => "was revoked",
            };
            return Err(Error::new(Reason::GrantLapsed, format!("{name} is not in force: it {says} at {at}"))
                .with("grant", name)
                .with("state", standing.name())
                .with("at", at));
        }
        let beyond = self.terms.beyond(&definition);
        if !beyond.is_empty() {
            let refused = Error::new(Reason::GrantExceeded, format!("{name} does not cover this report"));
            let refused = refused.with("grant", name);
            return Err(beyond.into_iter().fold(refused, |refused, at| refused.at(at.field, at.description)));
        }
        if self.spent >= self.terms.query_budget {
            let (budget, spent) = (self.terms.query_budget, self.spent);
            let says = format!("the {budget} queries that {name} allows have been answered");
            return Err(Error::new(Reason::QueryBudgetSpent, says)
                .with("grant", name)
                .with("budget", budget)
                .with("spent", spent));
        }
        let (filter, terms) = (&mut definition.filter, &self.terms);
        limit(&mut filter.agencies, &terms.agencies);
        limit(&mut filter.platforms, &terms.platforms);
        limit(&mut filter.grounds, &terms.grounds);
        Ok(definition)
    }
}

/// Limits a condition that was left open.
fn limit<T: Clone>(asked: &mut Vec<T>, to: &[T]) {
    if asked.is_empty() {
        asked.extend_from_slice(to);
    }
}

impl Terms {
    /// Everything that a definition asks for beyond the terms.
    fn beyond(&self, definition: &Definition) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut add = |field: &str, description: String| {
            found.push(Violation { field: format!("definition.{field}"), description });
        };
        let (from, until) = (definition.cohort_from, definition.cohort_until);
        let spans = "a day, week or month by which the grant divides";
        if from < self.cohort_from {
            add("cohort_from_date", format!("must not be before {}", self.cohort_from));
        } else if from != self.cohort_from && !self.begins_a_span(from) {
            add("cohort_from_date", format!("must be {} or begin {spans}", self.cohort_from));
        }
        let after = Date::from_days(until.days().saturating_add(1));
        if until > self.cohort_until {
            add("cohort_until_date", format!("must not be after {}", self.cohort_until));
        } else if until != self.cohort_until && !self.begins_a_span(after) {
            add("cohort_until_date", format!("must be {} or end {spans}", self.cohort_until));
        }
        for (index, dimension) in definition.dimensions.iter().enumerate() {
            if !self.dimensions.contains(dimension) {
                add(&format!("dimensions[{index}]"), "must be one of the grant's dimensions".to_owned());
            }
        }
        let filter = &definition.filter;
        for (field, said) in [
            ("agencies", self.filters(Dimension::Agency, &filter.agencies, &self.agencies)),
            ("platforms", self.filters(Dimension::Platform, &filter.platforms, &self.platforms)),
            ("grounds", self.filters(Dimension::Ground, &filter.grounds, &self.grounds)),
            ("natures", self.filters(Dimension::Nature, &filter.natures, &[])),
            ("target_kinds", self.filters(Dimension::TargetKind, &filter.target_kinds, &[])),
            ("clauses", self.filters(Dimension::Clause, &filter.clauses, &[])),
            ("content_languages", self.filters(Dimension::ContentLanguage, &filter.content_languages, &[])),
            ("operations", self.filters(Dimension::Operation, &filter.operations, &[])),
            ("legal_bases", self.filters(Dimension::LegalBasis, &filter.legal_bases, &[])),
        ] {
            if let Err(says) = said {
                add(&format!("filter.{field}"), says.to_owned());
            }
        }
        found
    }

    /// Whether a day is the first of a span by which reports may be divided: only then may a window begin with it, since
    /// two windows that differ by a day tell of the day.
    fn begins_a_span(&self, day: Date) -> bool {
        let divides = |dimension| self.dimensions.contains(&dimension);
        divides(Dimension::CohortDay)
            || divides(Dimension::CohortWeek) && day == day.week()
            || divides(Dimension::CohortMonth) && day == day.month()
            || divides(Dimension::CohortQuarter) && day == day.quarter()
    }

    /// Whether a condition is covered: what the grant is limited to, or less of it if it may divide by that.
    fn filters<T: PartialEq>(&self, by: Dimension, asked: &[T], granted: &[T]) -> Result<(), &'static str> {
        if !granted.is_empty() && asked.iter().any(|value| !granted.contains(value)) {
            return Err("must name only what the grant is limited to");
        }
        let whole = asked.is_empty() || granted.iter().all(|value| asked.contains(value)) && !granted.is_empty();
        if whole || self.dimensions.contains(&by) {
            Ok(())
        } else {
            Err("must be empty: the grant does not divide by it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Filter;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn grant() -> Grant {
        let terms = Terms {
            grantee: "researchers/lab".parse().unwrap(),
            purpose: "p".into(),
            start: at("2026-01-10"),
            end: at("2026-03-01T23:00:00Z"),
            cohort_from: day("2020-01-15"),
            cohort_until: day("2020-05-20"),
            dimensions: vec![Dimension::Platform, Dimension::CohortMonth],
            agencies: vec!["nca".into(), "bka".into()],
            platforms: Vec::new(),
            grounds: Vec::new(),
            small_cell_minimum: 5,
            query_budget: 3,
        };
        let (issued_at, updated_at) = (at("2026-01-01"), at("2026-01-01"));
        let name = GrantName(Uuid::nil());
        let issuer = "oversightBodies/hac".parse().unwrap();
        Grant { name, terms, issuer, revocation: None, spent: 0, issued_at, updated_at, issued: 1 }
    }

    fn whole() -> Definition {
        Definition {
            cohort_from: day("2020-01-15"),
            cohort_until: day("2020-05-20"),
            entered_from: None,
            as_of: None,
            known_at: None,
            dimensions: vec![Dimension::Platform],
            filter: Filter::default(),
        }
    }

    fn refused(grant: &Grant, definition: Definition, now: &str) -> (Reason, Vec<String>) {
        let error = grant.narrow(definition, at(now)).unwrap_err();
        (error.reason(), error.violations().iter().map(|wrong| wrong.field.clone()).collect())
    }

    #[test]
    fn time_alone_begins_and_ends_it() {
        let mut grant = grant();
        for (now, standing) in [
            ("2026-01-09T23:59:59.999999Z", Standing::NotBegun),
            ("2026-01-10", Standing::InForce),
            ("2026-03-01T22:59:59.999999Z", Standing::InForce),
            ("2026-03-01T23:00:00Z", Standing::Expired),
        ] {
            assert_eq!(grant.standing(at(now)).0, standing, "{now}");
            let refused = grant.narrow(whole(), at(now)).err().map(|error| error.reason());
            assert_eq!(refused, (standing != Standing::InForce).then_some(Reason::GrantLapsed), "{now}");
        }
        let by = "oversightBodies/other".parse().unwrap();
        let revoked = grant.revoke(&by, "misused", at("2026-02-01")).unwrap().unwrap();
        assert_eq!(revoked.standing(at("2026-02-01")), (Standing::Revoked, at("2026-02-01")));
        assert_eq!(revoked.revoke(&by, "misused", at("2026-02-02")), Ok(None));
        for (grant, now) in [(&revoked, "2026-02-02"), (&grant, "2026-03-02")] {
            let again = grant.revoke(&by, "another", at(now)).unwrap_err();
            assert_eq!(again.reason(), Reason::InvalidTransition);
        }
        // What has ended says so first, whatever else is wrong.
        grant.spent = 3;
        let mut beyond = whole();
        beyond.dimensions = vec![Dimension::Agency];
        assert_eq!(refused(&grant, beyond.clone(), "2026-04-01").0, Reason::GrantLapsed);
        assert_eq!(refused(&grant, beyond, "2026-02-01").0, Reason::GrantExceeded);
        assert_eq!(refused(&grant, whole(), "2026-02-01").0, Reason::QueryBudgetSpent);
        grant.spent = 2;
        assert!(grant.narrow(whole(), at("2026-02-01")).is_ok());
    }

    /// What makes a definition of another.
    type Change = fn(&mut Definition);

    #[test]
    fn a_filter_divides_and_a_window_too() {
        let grant = grant();
        let allowed = |change: Change| {
            let mut definition = whole();
            change(&mut definition);
            grant.narrow(definition, at("2026-02-01")).map(|narrowed| narrowed.filter).map_err(|error| {
                error
                    .violations()
                    .iter()
                    .map(|wrong| wrong.field.trim_start_matches("definition.").to_owned())
                    .collect()
            })
        };
        let own = Filter { agencies: vec!["nca".into(), "bka".into()], ..Filter::default() };
        let good: [Change; 8] = [
            |_| {},
            |d| d.dimensions.clear(),
            |d| d.dimensions.push(Dimension::CohortMonth),
            |d| d.filter.agencies = vec!["bka".into(), "nca".into()],
            |d| d.filter.platforms = vec!["hb".into()],
            |d| d.cohort_from = day("2020-02-01"),
            |d| d.cohort_until = day("2020-02-29"),
            |d| (d.cohort_from, d.cohort_until) = (day("2020-03-01"), day("2020-04-30")),
        ];
        for (index, change) in good.into_iter().enumerate() {
            let mut narrowed: Filter =
                allowed(change).unwrap_or_else(|wrong: Vec<String>| panic!("{index}: {wrong:?}"));
            narrowed.platforms.clear();
            narrowed.agencies.sort_by(|a, b| b.cmp(a));
            assert_eq!(narrowed, own, "{index}");
        }
        let bad: [(Change, &str); 15] = [
            (|d| d.cohort_from = day("2020-01-14"), "cohort_from_date"),
            (|d| d.cohort_from = day("2020-01-16"), "cohort_from_date"),
            (|d| d.cohort_until = day("2020-05-21"), "cohort_until_date"),
            (|d| d.cohort_until = day("2020-05-19"), "cohort_until_date"),
            (|d| d.dimensions.push(Dimension::CohortDay), "dimensions[1]"),
            (|d| d.dimensions = vec![Dimension::Disposition], "dimensions[0]"),
            (|d| d.filter.agencies = vec!["nca".into()], "filter.agencies"),
            (|d| d.filter.agencies = vec!["nca".into(), "bka".into(), "x".into()], "filter.agencies"),
            (|d| d.filter.grounds = vec![1], "filter.grounds"),
            (|d| d.filter.natures = vec![1], "filter.natures"),
            (|d| d.filter.target_kinds = vec![1], "filter.target_kinds"),
            (|d| d.filter.clauses = vec!["platforms/hb/clauses/he-7".into()], "filter.clauses"),
            (|d| d.filter.content_languages = vec!["sq".into()], "filter.content_languages"),
            (|d| d.filter.operations = vec!["agencies/nca/operations/x".into()], "filter.operations"),
            (|d| d.filter.legal_bases = vec!["IA1971_S25".into()], "filter.legal_bases"),
        ];
        let mut all = whole();
        for (change, field) in bad {
            assert_eq!(allowed(change), Err(vec![field.to_owned()]));
            change(&mut all);
        }
        let (reason, fields) = refused(&grant, all, "2026-02-01");
        assert_eq!((reason, fields.len()), (Reason::GrantExceeded, 11), "all at once: {fields:?}");
    }

    #[test]
    fn names_have_one_spelling() {
        let name = "grants/0190b2f0-0000-7000-8000-000000000001";
        assert_eq!(name.parse::<GrantName>().unwrap().to_string(), name);
        for wrong in ["", "grants/", "grants/0190B2F0-0000-7000-8000-000000000001", "grants/x", "agreements/x"] {
            assert!(wrong.parse::<GrantName>().is_err(), "{wrong}");
        }
    }
}
