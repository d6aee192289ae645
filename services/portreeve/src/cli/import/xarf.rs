//! XARF reports, version 4, of the category `content`.

use portreeve_core::Timestamp;
use portreeve_core::id::Uuid;
use serde_json::Value;

use super::foreign::{Found, each, text};
use super::misp::mark;

/// What every report must have, as text (xarf-core.json).
const REQUIRED: [&str; 6] = ["xarf_version", "report_id", "timestamp", "source_identifier", "category", "type"];

/// What the reports in a file say. The error says why the file is none of XARF's.
pub(super) fn read(value: &Value) -> Result<Vec<Found>, String> {
    let reports = each(value);
    if reports.is_empty() || reports.iter().any(|report| report.get("xarf_version").is_none()) {
        return Err("is no XARF report: xarf_version is missing".to_owned());
    }
    Ok(reports.into_iter().map(report).collect())
}

fn report(report: &Value) -> Found {
    let mut found = Found { id: text(report, "report_id").to_owned(), ..Found::default() };
    for name in REQUIRED {
        if text(report, name).is_empty() {
            found.refuse("", format!("{name} is missing"));
        }
    }
    for party in ["reporter", "sender"] {
        let party_of = report.get(party).unwrap_or(&Value::Null);
        for name in ["org", "contact", "domain"] {
            if text(party_of, name).is_empty() {
                found.refuse("", format!("{party}.{name} is missing"));
            }
        }
    }
    let version = text(report, "xarf_version");
    if !version.is_empty() && !version.starts_with("4.") {
        found.refuse("", format!("xarf_version {version:?} is not 4"));
    }
    // One report is one referral, however its identifier is written.
    match Uuid::try_parse(&found.id) {
        Ok(id) => found.id = id.to_string(),
        Err(_) => found.refuse("request_id", "report_id must be a UUID"),
    }
    match (text(report, "category"), text(report, "type").to_lowercase().as_str()) {
        ("content", "csam" | "csem") => {
            found.refuse(
                "url",
                "child sexual abuse material goes to the bodies that the law names, and not through this exchange",
            );
        }
        ("content" | "", _) => {}
        (other, _) => found.refuse("url", format!("the category {other:?} is no content; only content is referred")),
    }
    match text(report, "url") {
        "" => found.refuse("url", "is missing"),
        url => found.say("url", url),
    }
    let at = text(report, "timestamp");
    if at.parse::<Timestamp>().is_ok() {
        found.say("occurred_at", at);
    } else if !at.is_empty() {
        found.refuse("occurred_at", format!("timestamp {at:?} is no time, such as 2025-01-11T16:22:45Z"));
    }
    let tags = report.get("tags").map(each).unwrap_or_default();
    mark(&mut found, tags.iter().filter_map(|tag| tag.as_str()).map(str::to_lowercase));
    let said = [text(report, "description"), text(report, "scheme_description")];
    found.say("reasons", said.iter().filter(|said| !said.is_empty()).copied().collect::<Vec<_>>().join("\n"));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A report as the specification's samples are.
    fn sample() -> Value {
        let party = json!({"org": "Anti-Fraud Coalition", "contact": "reports@coalition.example", "domain": "coalition.example"});
        json!({
            "xarf_version": "4.2.0", "report_id": "7395ac34-231a-4f1a-9a05-e1f6366d9379", "timestamp": "2025-01-11T16:22:45Z",
            "reporter": party.clone(), "sender": party, "source_identifier": "hb.example", "category": "content", "type": "fraud",
            "url": "https://hb.example/offers", "scheme_description": "Places on a boat",
        })
    }

    #[test]
    fn a_report_is_read_and_a_list_of_them() {
        let found = read(&json!([sample(), sample()])).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].wrong.is_empty(), "{found:?}");
        let says = [
            ("url", "https://hb.example/offers"),
            ("occurred_at", "2025-01-11T16:22:45Z"),
            ("reasons", "Places on a boat"),
        ];
        assert_eq!(found[0].says, says.map(|(column, text)| (column, text.to_owned())));
        assert!(read(&json!({"report_id": "x"})).is_err());
        assert!(read(&json!([])).is_err());
    }

    #[test]
    fn a_bad_report_says_everything_that_is_wrong() {
        let with = |name: &str, value: Value| {
            let mut report = sample();
            report[name] = value;
            let found = read(&report).unwrap();
            found[0].wrong.iter().map(|(_, message)| message.clone()).collect::<Vec<_>>().join("; ")
        };
        assert!(with("category", json!("connection")).contains("is no content"));
        assert!(with("type", json!("CSAM")).contains("child sexual abuse"));
        assert!(with("xarf_version", json!("3")).contains("is not 4"));
        assert!(with("timestamp", json!("yesterday")).contains("is no time"));
        assert!(with("report_id", json!("1")).contains("must be a UUID"));
        assert_eq!(with("reporter", json!({"org": "x"})), "reporter.contact is missing; reporter.domain is missing");
        let bare = read(&json!({"xarf_version": "4.0"})).unwrap();
        assert_eq!(bare[0].wrong.len(), 5 + 6 + 1 + 1, "{bare:?}");
    }
}
