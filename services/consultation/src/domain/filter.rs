//! Which entries are asked for.

use portreeve_core::consultation::What;
use portreeve_core::id::Uuid;
use portreeve_core::{Principal, Timestamp};

use super::{Entry, Kind};

/// A filter; what is empty selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Recorded at this time or later.
    pub recorded_from: Option<Timestamp>,
    /// Recorded before this time.
    pub recorded_until: Option<Timestamp>,
    /// Read by one of these organisations.
    pub readers: Vec<String>,
    /// Read by one of these members.
    pub members: Vec<String>,
    /// Read by one of these methods.
    pub methods: Vec<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In which this row was named.
    pub row: Option<Uuid>,
}

/// A question to an access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The organisation that the entries are about; `None` for all.
    pub party: Option<String>,
    /// Which of them.
    pub filter: Filter,
    /// Who asks: what that member of that organisation read is withheld.
    pub by: (String, String),
}

impl Asked {
    /// What a caller asks about an organisation, or about all.
    pub fn new(caller: &Principal, party: Option<String>, filter: Filter) -> Self {
        Self { party, filter, by: (caller.organisation().to_string(), caller.member().to_owned()) }
    }

    /// Whether an entry is among those asked for, withheld or not. The store's conditions are the same rule; a test holds
    /// them together.
    pub fn selects(&self, entry: &Entry, recorded_at: Timestamp) -> bool {
        let Filter { recorded_from, recorded_until, readers, members, methods, kind, row } = &self.filter;
        let among = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        self.party.as_ref().is_none_or(|party| entry.parties().any(|of| of == party))
            && recorded_from.is_none_or(|from| recorded_at >= from)
            && recorded_until.is_none_or(|until| recorded_at < until)
            && among(readers, &entry.reader)
            && among(members, &entry.member)
            && among(methods, &entry.method)
            && kind.is_none_or(|kind| entry.kind == kind)
            && row.is_none_or(|row| matches!(&entry.what, What::Rows(rows) if rows.contains(&row)))
    }

    /// Whether an entry is of the asker's own reading.
    pub fn withholds(&self, entry: &Entry) -> bool {
        (entry.reader.as_str(), entry.member.as_str()) == (self.by.0.as_str(), self.by.1.as_str())
    }
}
