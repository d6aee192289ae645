//! One reading of one owner's data.

use portreeve_core::consultation::{Reading, Shown, What};

/// What kind of reading it was: the numbers of the contract's enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody read data of the organisation that he acts for.
    Consultation,
    /// Somebody received data of another, or of several together.
    Disclosure,
}

impl Kind {
    /// The kinds with their numbers.
    const CODES: [(Self, i32); 2] = [(Self::Consultation, 1), (Self::Disclosure, 2)];

    /// The number.
    pub fn code(self) -> i32 {
        Self::CODES.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, code)| *code)
    }

    /// The kind of a number.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::CODES.iter().find(|(_, known)| *known == code).map(|(kind, _)| *kind)
    }
}

/// An entry. Names are as they are written: an entry says what was said then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether the reader acts for the owner.
    pub kind: Kind,
    /// Whose data it is; empty for everybody's together.
    pub owner: String,
    /// The organisation that read.
    pub reader: String,
    /// The member who acted for it; empty if not told.
    pub member: String,
    /// The roles in which it acted.
    pub roles: Vec<String>,
    /// The method.
    pub method: String,
    /// The identifier of the call.
    pub request_id: String,
    /// The purpose; empty if none was named.
    pub purpose: String,
    /// The justification; empty if none was given.
    pub justification: String,
    /// What was shown.
    pub what: What,
}

impl Entry {
    /// The entry of what a reading was shown.
    pub fn of(reading: &Reading, shown: Shown) -> Self {
        let reader = reading.principal.organisation();
        Self {
            kind: if shown.owner.as_ref() == Some(reader) { Kind::Consultation } else { Kind::Disclosure },
            owner: shown.owner.map(|owner| owner.to_string()).unwrap_or_default(),
            reader: reader.to_string(),
            member: reading.principal.member().to_owned(),
            roles: reading.principal.roles().iter().map(|role| role.name().to_owned()).collect(),
            method: reading.method.clone(),
            request_id: reading.request_id.clone(),
            purpose: reading.statement.purpose.clone(),
            justification: reading.statement.justification.clone(),
            what: shown.what,
        }
    }

    /// The organisations that it is about: the reader first, and the owner if that is another.
    pub fn parties(&self) -> impl Iterator<Item = &str> {
        let owner = Some(self.owner.as_str()).filter(|owner| !owner.is_empty() && *owner != self.reader);
        std::iter::once(self.reader.as_str()).chain(owner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use portreeve_core::Principal;
    use portreeve_core::consultation::Statement;

    use super::*;

    pub(crate) fn reading(organisation: &str, member: &str) -> Reading {
        Reading {
            principal: Principal::new(organisation.parse().unwrap(), member, &[]).unwrap(),
            method: "portreeve.referral.v1.ReferralService/GetReferral".into(),
            request_id: "call-1".into(),
            statement: Statement { purpose: "investigation".into(), justification: "Operation Heron".into() },
        }
    }

    #[test]
    fn who_reads_for_the_owner_consults_and_who_reads_for_another_receives() {
        let shown = |owner: &str| Shown { owner: owner.parse().ok(), what: What::Rows(Vec::new()) };
        let reading = reading("agencies/nca", "j.doe");
        let own = Entry::of(&reading, shown("agencies/nca"));
        assert_eq!((own.kind, own.parties().collect::<Vec<_>>()), (Kind::Consultation, vec!["agencies/nca"]));
        assert_eq!((own.member.as_str(), own.roles.join(",")), ("j.doe", "officer,approver,interest-holder".into()));
        let another = Entry::of(&reading, shown("agencies/bka"));
        assert_eq!(another.kind, Kind::Disclosure);
        assert_eq!(another.parties().collect::<Vec<_>>(), ["agencies/nca", "agencies/bka"]);
        let everybody = Entry::of(&reading, shown(""));
        assert_eq!((everybody.kind, everybody.parties().count()), (Kind::Disclosure, 1));
        for kind in [Kind::Consultation, Kind::Disclosure] {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(Kind::from_code(0), None);
    }
}
