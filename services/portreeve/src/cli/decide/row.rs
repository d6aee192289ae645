//! A decision in words: from options, or from a row of a file.

use csv::ByteRecord;
use portreeve_api::decision::v1::{
    AccessObstacle, BatchDecisionItem, CauseKind, ClauseCitation, DecisionCause, DecisionDraft, DecisionKind,
    DecisionSource, GoneBy, NotificationExemption, NotificationStatus, Outcome, ProtectedContext, Redress, Restriction,
    UserNotification,
};
use portreeve_core::id::Uuid;
use portreeve_core::name::OrganisationName;
use prost::Message as _;

use crate::cli::sheet::{Column, Header, Refusal};
use crate::cli::words::{self, Word};

const fn optional(name: &'static str) -> Column {
    Column { name, required: false }
}

/// The columns of a file of decisions.
pub(super) const COLUMNS: &[Column] = &[
    Column { name: "case", required: true },
    Column { name: "outcome", required: true },
    optional("kind"),
    optional("clauses"),
    optional("law"),
    optional("restriction"),
    optional("cannot_access"),
    optional("gone_by"),
    optional("protected_context"),
    optional("decided_by"),
    optional("decided_at"),
    optional("effective_at"),
    optional("territorial_scope"),
    optional("explanation"),
    optional("language_reviewed"),
    optional("cause"),
    optional("cause_reference"),
    optional("items_closed"),
    optional("items_total"),
    optional("suspended_until"),
    optional("duplicate_of"),
    optional("redress"),
    optional("notification"),
    optional("notification_exemption"),
    optional("suppressed_until"),
    optional("expected_version"),
    optional("request_id"),
];

/// Reads the cells of one decision, keeping everything that is wrong.
struct Reader<'g, G> {
    get: &'g G,
    wrong: Vec<(String, String)>,
}

impl<'r, G: Fn(&str) -> &'r str> Reader<'_, G> {
    fn text(&self, column: &str) -> &'r str {
        (self.get)(column)
    }

    fn read<T>(&mut self, column: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.text(column) {
            "" => None,
            text => read(text).map_err(|error| self.wrong.push((column.to_owned(), error))).ok(),
        }
    }

    fn word<W: Word + Into<i32>>(&mut self, column: &str) -> i32 {
        self.read(column, W::parse).map(Into::into).unwrap_or_default()
    }

    fn number(&mut self, column: &str) -> Option<u32> {
        self.read(column, |text| text.parse().map_err(|_| format!("{text:?} is not a whole number")))
    }

    fn list(&self, column: &str) -> Vec<String> {
        let parts = self.text(column).split([';', ',', ' ']).map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }
}

/// The decision that `get` gives by column, for a case of `platform`.
pub(super) fn item<'r>(
    platform: &OrganisationName,
    get: &impl Fn(&str) -> &'r str,
) -> Result<BatchDecisionItem, Refusal> {
    let mut reader = Reader { get, wrong: Vec::new() };
    let mut clauses = Vec::new();
    for text in reader.list("clauses") {
        match citation(platform, &text) {
            Ok(clause) => clauses.push(clause),
            Err(error) => reader.wrong.push(("clauses".to_owned(), error)),
        }
    }
    let brought_about_by = match reader.text("cause") {
        "" => None,
        _ => Some(DecisionCause {
            kind: reader.word::<CauseKind>("cause"),
            reference: reader.text("cause_reference").to_owned(),
        }),
    };
    let mut redress = Vec::new();
    for text in reader.list("redress") {
        match Redress::parse(&text) {
            Ok(known) => redress.push(known.into()),
            Err(error) => reader.wrong.push(("redress".to_owned(), error)),
        }
    }
    let of_notification = ["notification", "notification_exemption", "suppressed_until"];
    let said = of_notification.iter().any(|column| !reader.text(column).is_empty());
    let user_notification = said.then(|| UserNotification {
        status: reader.word::<NotificationStatus>("notification"),
        exemption: reader.word::<NotificationExemption>("notification_exemption"),
        suppressed_until: reader.read("suppressed_until", words::time),
    });
    let kind = reader.word::<DecisionKind>("kind");
    let decided_by = reader.word::<DecisionSource>("decided_by");
    let draft = DecisionDraft {
        kind: if kind == 0 && reader.text("kind").is_empty() { DecisionKind::Initial.into() } else { kind },
        outcome: match Outcome::parse(reader.text("outcome")) {
            Ok(outcome) => outcome.into(),
            Err(error) => {
                reader.wrong.push(("outcome".to_owned(), error));
                0
            }
        },
        restriction: reader.word::<Restriction>("restriction"),
        cannot_access: reader.word::<AccessObstacle>("cannot_access"),
        gone_by: reader.word::<GoneBy>("gone_by"),
        protected_context: reader.word::<ProtectedContext>("protected_context"),
        clauses,
        law: reader.text("law").to_owned(),
        decided_by: if decided_by == 0 && reader.text("decided_by").is_empty() {
            DecisionSource::Human.into()
        } else {
            decided_by
        },
        decided_at: reader.read("decided_at", words::time),
        effective_at: reader.read("effective_at", words::time),
        territorial_scope: reader.list("territorial_scope"),
        explanation: reader.text("explanation").to_owned(),
        language_reviewed: reader.text("language_reviewed").to_owned(),
        cause: brought_about_by,
        items_closed: reader.number("items_closed").unwrap_or_default(),
        items_total: reader.number("items_total").unwrap_or_default(),
        suspended_until: reader.read("suspended_until", words::time),
        duplicate_of: reader.text("duplicate_of").to_owned(),
        redress,
        user_notification,
    };
    let expected_version = reader.number("expected_version");
    let case = reader.text("case");
    let case = if case.contains('/') { case.to_owned() } else { format!("{platform}/cases/{case}") };
    if !reader.wrong.is_empty() {
        return Err(Refusal::invalid(reader.wrong));
    }
    let request_id = match reader.text("request_id") {
        "" => request_id(&case, &draft, expected_version).to_string(),
        given => given.to_lowercase(),
    };
    Ok(BatchDecisionItem { case, decision: Some(draft), expected_version, request_id })
}

/// The decision in a row of a file.
pub(super) fn row(
    platform: &OrganisationName,
    header: &Header,
    row: &ByteRecord,
) -> Result<BatchDecisionItem, Refusal> {
    let cells = header.cells(row)?;
    item(platform, &|column| cells.get(column))
}

/// `requests@1`, or `platforms/harbourbook/clauses/requests@1`.
fn citation(platform: &OrganisationName, text: &str) -> Result<ClauseCitation, String> {
    let wrong = || format!("{text:?} must have the form CLAUSE@VERSION, such as requests@1");
    let (clause, version) = text.rsplit_once('@').ok_or_else(wrong)?;
    let version = version.parse().map_err(|_| wrong())?;
    let clause = if clause.contains('/') { clause.to_owned() } else { format!("{platform}/clauses/{clause}") };
    Ok(ClauseCitation { clause, version })
}

/// The request id of a decision that brings none: a UUIDv5 (RFC 9562) over the case and everything that is decided.
pub(crate) fn request_id(case: &str, draft: &DecisionDraft, expected_version: Option<u32>) -> Uuid {
    let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"https://portreeve.org/requests/decide/v1");
    let space = Uuid::new_v5(&space, format!("{case} {expected_version:?}").as_bytes());
    Uuid::new_v5(&space, &draft.encode_to_vec())
}

/// The column for the path of a field in an item.
pub(super) fn column(path: &str) -> String {
    let within = path.split("decision.").last().unwrap_or(path);
    let first = within.split(['[', '.']).next().unwrap_or(within);
    let column = match within {
        "cause.reference" => "cause_reference",
        "user_notification.suppressed_until" => "suppressed_until",
        "user_notification.exemption" => "notification_exemption",
        _ if first == "user_notification" => "notification",
        _ => first,
    };
    column.to_owned()
}

#[cfg(test)]
mod tests {
    use bolero::{ValueGenerator as _, check, one_of, one_value_of, produce};

    use super::*;
    use crate::cli::fuzz::{INPUTS, texts};

    fn read(cells: &[(&str, &'static str)]) -> Result<BatchDecisionItem, Refusal> {
        let get = |column: &str| cells.iter().find(|(name, _)| *name == column).map_or("", |(_, text)| text);
        item(&"platforms/harbourbook".parse().unwrap(), &get)
    }

    #[test]
    fn a_row_becomes_a_decision() {
        let row = [
            ("case", "01890a5d-ac96-774b-bcce-b302099a8057"),
            ("outcome", "no-action-permitted-by-policy"),
            ("clauses", "requests@1; platforms/harbourbook/clauses/leaving@2"),
            ("decided_at", "2020-04-01T10:00:00Z"),
        ];
        let item = read(&row).unwrap();
        assert_eq!(item.case, "platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057");
        let draft = item.decision.unwrap();
        assert_eq!((draft.kind(), draft.decided_by()), (DecisionKind::Initial, DecisionSource::Human));
        assert_eq!(draft.outcome(), Outcome::NoActionPermittedByPolicy);
        assert_eq!(draft.clauses[0].clause, "platforms/harbourbook/clauses/requests");
        assert_eq!(
            (draft.clauses[1].clause.as_str(), draft.clauses[1].version),
            ("platforms/harbourbook/clauses/leaving", 2)
        );
        assert_eq!(read(&row).unwrap().request_id, item.request_id);
        let mut other = row;
        other[3].1 = "2020-04-02";
        assert_ne!(read(&other).unwrap().request_id, item.request_id);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let refusal = read(&[("case", "x"), ("clauses", "requests"), ("items_total", "many"), ("decided_at", "soon")])
            .unwrap_err();
        assert_eq!(refusal.field, "clauses; outcome; decided_at; items_total");
    }

    #[test]
    fn paths_of_fields_lead_back_to_columns() {
        for (path, name) in [
            ("items[3].decision.clauses[0].version", "clauses"),
            ("decision.cause.kind", "cause"),
            ("decision.cause.reference", "cause_reference"),
            ("decision.user_notification.status", "notification"),
            ("items[0].decision.user_notification.suppressed_until", "suppressed_until"),
            ("decision.user_notification.exemption", "notification_exemption"),
            ("decision.redress[1]", "redress"),
            ("items[0].case", "items"),
            ("case", "case"),
        ] {
            assert_eq!(column(path), name);
        }
    }

    /// Whatever is in a row: it is read as what it says, or refused with the columns that are wrong.
    #[test]
    fn fuzz_rows() {
        const PIECES: &[&str] = &[
            "initial",
            "closed-illegal",
            "OUTCOME_",
            "requests@1",
            "platforms/hb/clauses/",
            "@",
            "4294967295",
            "+1",
            "-1",
            ";",
            " ",
            "GB",
            "human",
            "challenge",
            "2020-01-06",
            "T09:00:00Z",
            "-009999-01-01T00:00:00Z",
            "/",
            "\u{e9}",
        ];
        const GOOD: &[&str] = &[
            "",
            "initial",
            "closed-illegal",
            "requests@1",
            "geo",
            "closed-group",
            "user",
            "research",
            "automated",
            "2020-01-06",
            "-009999-01-06T00:00:00Z",
            "challenge",
            "judicial",
            "suppressed",
            "exempt",
            "contact-unknown",
            "7",
            "0190b2f0-0000-7000-8000-00000000000a",
        ];
        let cell = one_of((
            one_value_of(GOOD).map_gen(str::to_owned),
            one_value_of(GOOD).map_gen(str::to_owned),
            texts(PIECES),
        ));
        let cells = produce::<Vec<String>>().with().values(cell).len(COLUMNS.len());
        let outcome = one_value_of(["", "closed-illegal", "suspended-until", "no-action-permitted-by-policy"]);
        check!().with_iterations(INPUTS).with_generator((cells, outcome)).for_each(|(cells, outcome)| {
            let mut cells = cells.clone();
            (*outcome).clone_into(&mut cells[1]);
            match read_cells(&cells) {
                Ok(item) => assert_eq!(read_cells(&printed(&item)), Ok(item)),
                Err(refusal) => {
                    assert_eq!(refusal.reason, "REQUEST_INVALID");
                    for field in refusal.field.split("; ") {
                        assert!(COLUMNS.iter().any(|column| column.name == field), "{refusal:?}");
                    }
                }
            }
        });
    }

    fn read_cells(cells: &[String]) -> Result<BatchDecisionItem, Refusal> {
        let at = |column: &str| COLUMNS.iter().position(|known| known.name == column);
        let get = |column: &str| at(column).map_or("", |at| cells[at].as_str());
        item(&"platforms/harbourbook".parse().unwrap(), &get)
    }

    /// The row that says what an item says.
    fn printed(item: &BatchDecisionItem) -> Vec<String> {
        fn word<W: Word>(number: i32) -> String {
            if number == 0 { String::new() } else { words::shown::<W>(number) }
        }
        let draft = item.decision.clone().unwrap();
        let time = |at: Option<prost_types::Timestamp>| {
            at.map(|at| words::from_proto(Some(&at)).unwrap().to_string()).unwrap_or_default()
        };
        let cause = draft.cause.clone().unwrap_or_default();
        let told = draft.user_notification.unwrap_or_default();
        let clauses = draft.clauses.iter().map(|cited| format!("{}@{}", cited.clause, cited.version));
        let number = |number: u32| if number == 0 { String::new() } else { number.to_string() };
        vec![
            item.case.clone(),
            word::<Outcome>(draft.outcome),
            word::<DecisionKind>(draft.kind),
            clauses.collect::<Vec<_>>().join(";"),
            draft.law,
            word::<Restriction>(draft.restriction),
            word::<AccessObstacle>(draft.cannot_access),
            word::<GoneBy>(draft.gone_by),
            word::<ProtectedContext>(draft.protected_context),
            word::<DecisionSource>(draft.decided_by),
            time(draft.decided_at),
            time(draft.effective_at),
            draft.territorial_scope.join(" "),
            draft.explanation,
            draft.language_reviewed,
            word::<CauseKind>(cause.kind),
            cause.reference,
            number(draft.items_closed),
            number(draft.items_total),
            time(draft.suspended_until),
            draft.duplicate_of,
            draft.redress.iter().map(|redress| word::<Redress>(*redress)).collect::<Vec<_>>().join(";"),
            word::<NotificationStatus>(told.status),
            word::<NotificationExemption>(told.exemption),
            time(told.suppressed_until),
            item.expected_version.map(|version| version.to_string()).unwrap_or_default(),
            item.request_id.clone(),
        ]
    }
}
