//! What a report counts, and by what it divides.

use portreeve_core::Date;

use super::{Cell, Citation, Slice, Standing, Subject, Tally};

/// By what the rows of a report are divided: the values of `portreeve.reporting.v1.Dimension`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// The agency that referred.
    Agency,
    /// The platform that decides.
    Platform,
    /// What the content is referred for.
    Ground,
    /// The kind of target.
    TargetKind,
    /// The legal nature.
    Nature,
    /// The content's main language.
    ContentLanguage,
    /// The decisive clause of the latest decision, at its version.
    Clause,
    /// Where the referral stands.
    Disposition,
    /// The day on which it was referred.
    CohortDay,
    /// The ISO 8601 week in which it was referred.
    CohortWeek,
    /// The month in which it was referred.
    CohortMonth,
    /// The operation to which it belongs.
    Operation,
    /// The provision on which it rests.
    LegalBasis,
    /// The quarter in which it was referred.
    CohortQuarter,
    /// The day on which it came into its bucket. Of flows only, as are the next three.
    EventDay,
    /// The ISO 8601 week of that day.
    EventWeek,
    /// The month of that day.
    EventMonth,
    /// The quarter of that day.
    EventQuarter,
}

impl Dimension {
    /// Every dimension, in the order of the contract.
    pub const ALL: [Self; 18] = [
        Self::Agency,
        Self::Platform,
        Self::Ground,
        Self::TargetKind,
        Self::Nature,
        Self::ContentLanguage,
        Self::Clause,
        Self::Disposition,
        Self::CohortDay,
        Self::CohortWeek,
        Self::CohortMonth,
        Self::Operation,
        Self::LegalBasis,
        Self::CohortQuarter,
        Self::EventDay,
        Self::EventWeek,
        Self::EventMonth,
        Self::EventQuarter,
    ];

    /// Whether it is a span of cohort days.
    pub const fn is_cohort(self) -> bool {
        matches!(self, Self::CohortDay | Self::CohortWeek | Self::CohortMonth | Self::CohortQuarter)
    }

    /// Whether it is a span of the days on which something happened.
    pub const fn is_event(self) -> bool {
        matches!(self, Self::EventDay | Self::EventWeek | Self::EventMonth | Self::EventQuarter)
    }

    /// The value of the dimension for a referral, and for what happened to it on a day.
    pub fn value(self, subject: &Subject, standing: &Standing, event_day: Date) -> Value {
        match self {
            Self::Agency => Value::Text(subject.agency.clone()),
            Self::Platform => Value::Text(subject.platform.clone()),
            Self::Ground => Value::Code(subject.ground),
            Self::TargetKind => Value::Code(subject.target_kind),
            Self::Nature => Value::Code(subject.nature),
            Self::ContentLanguage => Value::Text(subject.content_language.clone()),
            Self::Clause => Value::Clause(standing.clause.clone()),
            Self::Disposition => Value::Code(standing.disposition.code().into()),
            Self::CohortDay => Value::Day(subject.cohort_day),
            Self::CohortWeek => Value::Day(subject.cohort_day.week()),
            Self::CohortMonth => Value::Day(subject.cohort_day.month()),
            Self::Operation => Value::Text(subject.operation.clone()),
            Self::LegalBasis => Value::Text(subject.legal_basis.clone()),
            Self::CohortQuarter => Value::Day(subject.cohort_day.quarter()),
            Self::EventDay => Value::Day(event_day),
            Self::EventWeek => Value::Day(event_day.week()),
            Self::EventMonth => Value::Day(event_day.month()),
            Self::EventQuarter => Value::Day(event_day.quarter()),
        }
    }
}

/// The value of a dimension. Rows are ordered by these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An organisation's identifier, a language, the name of an operation, or the code of a provision.
    Text(String),
    /// The number of an enum's value in the contract.
    Code(i64),
    /// A clause at a version; empty for none.
    Clause(Citation),
    /// A day, or the first day of a week, month or quarter.
    Day(Date),
}

/// The key of a row: a value for each dimension, in the order of the definition.
pub type Key = Vec<Value>;

/// Which referrals are counted. An empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Identifiers of agencies.
    pub agencies: Vec<String>,
    /// Identifiers of platforms.
    pub platforms: Vec<String>,
    /// Numbers of grounds.
    pub grounds: Vec<i64>,
    /// Numbers of natures.
    pub natures: Vec<i64>,
    /// Numbers of target kinds.
    pub target_kinds: Vec<i64>,
    /// Names of clauses, at any version.
    pub clauses: Vec<String>,
    /// Languages of content.
    pub content_languages: Vec<String>,
    /// Names of operations.
    pub operations: Vec<String>,
    /// Codes of provisions.
    pub legal_bases: Vec<String>,
}

impl Filter {
    fn selects(&self, subject: &Subject, standing: &Standing) -> bool {
        fn among<T: PartialEq>(values: &[T], value: &T) -> bool {
            values.is_empty() || values.contains(value)
        }
        among(&self.agencies, &subject.agency)
            && among(&self.platforms, &subject.platform)
            && among(&self.grounds, &subject.ground)
            && among(&self.natures, &subject.nature)
            && among(&self.target_kinds, &subject.target_kind)
            && among(&self.clauses, &standing.clause.clause)
            && among(&self.content_languages, &subject.content_language)
            && among(&self.operations, &subject.operation)
            && among(&self.legal_bases, &subject.legal_basis)
    }
}

/// What a report counts and as of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The first day of the cohort.
    pub cohort_from: Date,
    /// The last day of the cohort, included.
    pub cohort_until: Date,
    /// Of a flow, the first day on which something happened that counts; its last is `as_of`. `None` for a cohort as it stands.
    pub entered_from: Option<Date>,
    /// The day at whose end the referrals are looked at; `None` for the present.
    pub as_of: Option<Date>,
    /// The day at whose end the knowledge is looked at; `None` for all that is known.
    pub known_at: Option<Date>,
    /// By what the rows are divided.
    pub dimensions: Vec<Dimension>,
    /// Which referrals are counted.
    pub filter: Filter,
}

impl Definition {
    /// Whether the cell counts.
    pub fn selects(&self, cell: &Cell) -> bool {
        (self.cohort_from..=self.cohort_until).contains(&cell.subject.cohort_day)
            && self.entered_from.is_none_or(|day| cell.event_day >= day)
            && self.as_of.is_none_or(|day| cell.event_day <= day)
            && self.known_at.is_none_or(|day| cell.recorded_day <= day)
            && self.filter.selects(&cell.subject, &cell.standing)
    }

    /// The key of the row in which a referral counts, and what happened to it on a day.
    pub fn key(&self, subject: &Subject, standing: &Standing, event_day: Date) -> Key {
        self.dimensions.iter().map(|dimension| dimension.value(subject, standing, event_day)).collect()
    }

    /// The slices of some cells: what the store gives, without a store.
    pub fn slices<'c>(&self, cells: impl IntoIterator<Item = (&'c Cell, Tally)>) -> Vec<Slice> {
        cells
            .into_iter()
            .filter(|(cell, _)| self.selects(cell))
            .map(|(cell, tally)| {
                let count = if self.entered_from.is_some() { tally.entered } else { tally.net };
                Slice {
                    subject: cell.subject.clone(),
                    standing: cell.standing.clone(),
                    event_day: cell.event_day,
                    count,
                    targets: if cell.subject.same_target { 0 } else { count },
                }
            })
            .collect()
    }
}
