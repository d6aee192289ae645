//! A platform's policy catalogue: clauses, and what each said in which time.

use std::fmt;

use portreeve_core::Timestamp;
use portreeve_core::name::ClauseName;

/// A clause at a version: the unit to which a decision is attributed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Citation {
    /// The clause.
    pub clause: ClauseName,
    /// The number of its version, from 1.
    pub version: u32,
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/versions/{}", self.clause, self.version)
    }
}

/// A clause. What it says is in its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Its name.
    pub name: ClauseName,
    /// What it is about.
    pub title: String,
    /// The number of its latest version; 0 while it has none.
    pub latest_version: u32,
    /// When this service recorded its creation.
    pub created_at: Timestamp,
}

/// A version of a clause as a platform sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseVersionDraft {
    /// Its heading at that time.
    pub title: String,
    /// The SHA-256 of the text, in lower-case hexadecimal.
    pub text_digest: String,
    /// From when it is in force, included.
    pub effective_from: Timestamp,
    /// Until when it is in force, not included.
    pub effective_until: Option<Timestamp>,
    /// The countries in which it applies, as ISO 3166-1 alpha-2 codes; empty: everywhere.
    pub jurisdictions: Vec<String>,
    /// What it permits, in a sentence; empty when nothing of note.
    pub permits: String,
    /// Where the text is published; empty when it is not.
    pub public_url: String,
    /// The earlier versions whose permission it ends.
    pub ends_permission_of: Vec<u32>,
}

/// One version of a clause. Never changed once added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseVersion {
    /// The clause and the number of this version.
    pub citation: Citation,
    /// What it says.
    pub content: ClauseVersionDraft,
    /// When this service recorded it.
    pub recorded_at: Timestamp,
}

/// The version in force at an instant, if one is. A later version ends one even where it names no end or a later one.
///
/// `versions` are those of one clause, in the order of their numbers: each is in force from later on than the one before.
pub fn in_force(versions: &[ClauseVersion], at: Timestamp) -> Option<&ClauseVersion> {
    let begun = versions.iter().rfind(|version| version.content.effective_from <= at)?;
    begun.content.effective_until.is_none_or(|until| at < until).then_some(begun)
}

fn changes(versions: &[ClauseVersion]) -> impl Iterator<Item = Timestamp> {
    let times =
        versions.iter().flat_map(|version| [Some(version.content.effective_from), version.content.effective_until]);
    times.flatten()
}

/// When time alone next brings a version into force, or ends one.
pub fn next_change(versions: &[ClauseVersion], now: Timestamp) -> Option<Timestamp> {
    changes(versions).filter(|at| *at > now).min()
}

/// When time alone last brought a version into force, or ended one.
pub fn last_change(versions: &[ClauseVersion], now: Timestamp) -> Option<Timestamp> {
    changes(versions).filter(|at| *at <= now).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u32, from: i64, until: Option<i64>) -> ClauseVersion {
        ClauseVersion {
            citation: Citation { clause: "platforms/hb/clauses/he-7".parse().unwrap(), version },
            content: ClauseVersionDraft {
                title: String::new(),
                text_digest: String::new(),
                effective_from: Timestamp::from_micros(from),
                effective_until: until.map(Timestamp::from_micros),
                jurisdictions: Vec::new(),
                permits: String::new(),
                public_url: String::new(),
                ends_permission_of: Vec::new(),
            },
            recorded_at: Timestamp::default(),
        }
    }

    #[test]
    fn a_version_is_in_force_from_its_beginning_until_its_end_or_the_next() {
        let versions = [version(1, 10, None), version(2, 20, Some(30)), version(3, 40, Some(90)), version(4, 50, None)];
        let found = |at| in_force(&versions, Timestamp::from_micros(at)).map(|version| version.citation.version);
        let at = |number, at| found(at) == Some(number);
        for (number, first, last) in [(1, 10, 19), (2, 20, 29), (3, 40, 49), (4, 50, 1_000)] {
            assert!(at(number, first) && at(number, last), "{number}");
            assert!(!at(number, first - 1), "{number}");
            assert!(number == 4 || !at(number, last + 1), "{number}");
        }
        assert_eq!(found(9), None);
        // Nothing was in force between the end of the second and the beginning of the third.
        assert_eq!(found(35), None);
        let next = |at| next_change(&versions, Timestamp::from_micros(at)).map(Timestamp::micros);
        assert_eq!(
            [9, 10, 20, 30, 50, 89, 90].map(next),
            [10, 20, 30, 40, 90, 90].map(Some).into_iter().chain([None]).collect::<Vec<_>>()[..]
        );
    }
}
