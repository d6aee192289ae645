//! What the page is asked: a form of plain fields, so that an address is a report.

use std::fmt::Write as _;

use portreeve_api::common::v1::Ground;
use portreeve_api::reporting::v1::{
    Dimension, QuerySurvivalRequest, ReportDefinition, ReportFilter, WatchReportRequest,
};
use portreeve_core::{Date, Error, Reason, limits};
use portreeve_runtime::wire::violations;
use url::form_urlencoded;

use super::refusal::Refusal;

/// By what the one report is divided from which everything on the page is added up.
pub(super) const DIMENSIONS: [Dimension; 4] =
    [Dimension::Platform, Dimension::Disposition, Dimension::Clause, Dimension::CohortMonth];

/// How many months the cohort has where nobody says.
const MONTHS: usize = 12;

/// What is asked, and as whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// The fields as they were given, without those that say nothing.
    fields: Vec<(String, String)>,
    definition: ReportDefinition,
    today: String,
}

/// The grounds that can be chosen: the word that stands in an address, and the number of the contract.
pub(super) fn grounds() -> impl Iterator<Item = (String, i32)> {
    (1..).map_while(|number| Ground::try_from(number).ok()).map(|ground| {
        let word = ground.as_str_name().trim_start_matches("GROUND_").to_lowercase().replace('_', "-");
        (word, ground.into())
    })
}

impl Question {
    /// Nothing at all.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Reads what stands behind the `?`, and says everything that is wrong with it.
    pub(super) fn read(query: &str, today: Date) -> (Self, Result<(), Refusal>) {
        if query.len() > limits::PAGE_QUERY_BYTES_MAX {
            let error = Error::new(Reason::LimitExceeded, "the address is too long; leave out some of its fields")
                .with("limit", "PAGE_QUERY_BYTES_MAX")
                .with("maximum", limits::PAGE_QUERY_BYTES_MAX)
                .with("actual", query.len());
            return (Self::none(), Err(Refusal::of(&error)));
        }
        let fields = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect::<Vec<_>>();
        let mut question = Self { fields, today: today.to_string(), ..Self::default() };
        let date = |name: &str, without: &str| question.field(name).unwrap_or(without).to_owned();
        let mut first = today.month();
        for _ in 1..MONTHS {
            first = Date::from_days(first.days() - 1).month();
        }
        let mut unknown = Vec::new();
        let mut chosen = Vec::new();
        for word in question.all("ground") {
            match grounds().find(|(known, _)| known == word) {
                Some((_, number)) => chosen.push(number),
                None => unknown.push(word.to_owned()),
            }
        }
        let definition = ReportDefinition {
            cohort_from_date: date("from", &first.to_string()),
            cohort_until_date: date("until", &question.today),
            as_of_date: date("as-of", &question.today),
            known_at_date: date("known-at", ""),
            dimensions: DIMENSIONS.map(Into::into).to_vec(),
            filter: Some(ReportFilter {
                agencies: question.names("agency", "agencies"),
                platforms: question.names("platform", "platforms"),
                grounds: chosen,
                ..ReportFilter::default()
            }),
        };
        question.definition = definition;
        let mut wrong = violations(&question.request(&[]));
        for word in unknown {
            wrong.add("ground", format_args!("must be one of the list, and not {word}"));
        }
        let read = wrong.into_result().map_err(|error| Refusal::of(&error));
        (question, read)
    }

    /// The first value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All fields but some.
    pub(super) fn others(&self, without: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        fields.filter(|(name, _)| !without.contains(name))
    }

    /// The organisations of a field, which may leave out of what kind they are.
    fn names(&self, field: &str, collection: &str) -> Vec<String> {
        let names = self.all(field).flat_map(|value| value.split([',', ' '])).filter(|name| !name.is_empty());
        names.map(|name| if name.contains('/') { name.to_owned() } else { format!("{collection}/{name}") }).collect()
    }

    /// Every value of a field, in one line.
    pub(super) fn line(&self, name: &str) -> String {
        self.all(name).collect::<Vec<_>>().join(", ")
    }

    /// What the report counts.
    pub(super) const fn definition(&self) -> &ReportDefinition {
        &self.definition
    }

    /// Whether it asks for the present, which changes.
    pub(super) fn is_live(&self) -> bool {
        self.field("as-of").is_none_or(|day| day == self.today) && self.field("known-at").is_none()
    }

    /// The request for the figures.
    pub(super) fn request(&self, at_least: &[String]) -> QuerySurvivalRequest {
        QuerySurvivalRequest { definition: Some(self.definition.clone()), at_least: at_least.to_vec() }
    }

    /// The request to be told when they change.
    pub(super) fn watch(&self) -> WatchReportRequest {
        let present =
            ReportDefinition { as_of_date: String::new(), known_at_date: String::new(), ..self.definition.clone() };
        WatchReportRequest {
            start: Some(portreeve_api::reporting::v1::watch_report_request::Start::Snapshot(true)),
            definition: Some(present),
            at_least: Vec::new(),
        }
    }

    /// The address of the same question elsewhere, without some of its fields and with others.
    pub(super) fn address(&self, path: &str, without: &[&str], with: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.others(without));
        query.extend_pairs(with);
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The command that prints the same report.
    pub(super) fn command(&self) -> String {
        let definition = &self.definition;
        let filter = definition.filter.clone().unwrap_or_default();
        let mut command = format!(
            "portreeve report --cohort {}..{} --as-of {}",
            definition.cohort_from_date, definition.cohort_until_date, definition.as_of_date
        );
        if !definition.known_at_date.is_empty() {
            let _ = write!(command, " --known-at {}", definition.known_at_date);
        }
        let _ = write!(command, " --by platform,disposition,clause,cohort-month");
        let words = filter.grounds.iter().filter_map(|code| grounds().find(|(_, number)| number == code));
        let words = words.map(|(word, _)| word).collect::<Vec<_>>();
        for (flag, values) in [("agency", &filter.agencies), ("platform", &filter.platforms), ("ground", &words)] {
            for value in values {
                let _ = write!(command, " --{flag} {value}");
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> (Question, Result<(), Refusal>) {
        Question::read(query, "2026-07-15".parse().unwrap())
    }

    #[test]
    fn an_address_is_a_report() {
        let (question, read) = read(
            "from=2020-01-01&until=2020-05-31&as-of=2020-09-03&platform=harbourbook&platform=platforms/chirrup&agency=nca,bka&ground=offer-transport-sea&as=agencies/nca&purpose=",
        );
        assert!(read.is_ok());
        let definition = question.definition();
        let filter = definition.filter.clone().unwrap();
        assert_eq!(filter.platforms, ["platforms/harbourbook", "platforms/chirrup"]);
        assert_eq!(filter.agencies, ["agencies/nca", "agencies/bka"]);
        assert_eq!(filter.grounds, [Ground::OfferTransportSea as i32]);
        assert!(!question.is_live());
        assert_eq!(
            question.command(),
            "portreeve report --cohort 2020-01-01..2020-05-31 --as-of 2020-09-03 --by platform,disposition,clause,cohort-month \
             --agency agencies/nca --agency agencies/bka --platform platforms/harbourbook --platform platforms/chirrup \
             --ground offer-transport-sea"
        );
        let other =
            question.address("/x", &["platform", "agency", "ground", "from", "until", "as-of"], &[("a", "b c")]);
        assert_eq!(other, "/x?as=agencies%2Fnca&a=b+c");
    }

    #[test]
    fn who_says_nothing_sees_a_year_as_it_stands() {
        let (question, read) = read("");
        let definition = question.definition();
        assert!(read.is_ok() && question.is_live());
        assert_eq!(
            (
                definition.cohort_from_date.as_str(),
                definition.cohort_until_date.as_str(),
                definition.as_of_date.as_str()
            ),
            ("2025-08-01", "2026-07-15", "2026-07-15")
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let refusal = read("from=soon&until=2020-5-1&platform=HARBOUR&ground=fun").1.unwrap_err();
        let fields = refusal.wrong.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>();
        assert_eq!(fields, ["From", "Until", "Platform", "Ground"], "{refusal:?}");
        let long = "x".repeat(limits::PAGE_QUERY_BYTES_MAX + 1);
        assert_eq!(read(&long).1.unwrap_err().reason, "LIMIT_EXCEEDED");
        assert!(read(&long[1..]).1.is_ok());
    }
}
