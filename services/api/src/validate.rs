//! The rules of the contract, applied to a request.
//!
//! The validators are generated at build time from the rules in `proto/` by a third party's library. That library stays
//! behind [`violations`]: nothing else in the suite names it.

use prost_protovalidate::{Validate, Violation};

/// A request that the contract has rules for. Implemented for every message that a client sends.
pub trait Request {
    /// As [`violations`].
    fn violations(&self) -> Vec<(String, String)>;
}

impl<M: Validate> Request for M {
    fn violations(&self) -> Vec<(String, String)> {
        let Err(error) = self.validate() else { return Vec::new() };
        let mut found: Vec<(String, String)> = Vec::new();
        for violation in error.into_violations() {
            let path = violation.field_path();
            let description = describe(&violation);
            // An empty value can break several rules of one field, which read the same.
            if !found.iter().rev().take_while(|(field, _)| *field == path).any(|(_, text)| *text == description) {
                found.push((path, description));
            }
        }
        found
    }
}

/// Every rule of the contract that the request breaks, all at once: the path of the field, as in
/// `items[3].draft.target.url`, and what would be right. Empty for a good request.
///
/// These are the rules that a client can check. What needs the server's knowledge (a platform that exists, a time that is
/// not in the future) is checked where that knowledge is.
pub fn violations<M: Request>(message: &M) -> Vec<(String, String)> {
    message.violations()
}

/// What would be right, as the end of a sentence that begins with the field's name.
fn describe(violation: &Violation) -> String {
    let message = violation.message();
    match violation.rule_id() {
        // A rule on a oneof, unlike one on a field, has no path of its own.
        "required" if violation.rule_path().is_empty() => "exactly one of its alternatives must be set".to_owned(),
        "required" => "is required".to_owned(),
        "string.uuid" | "string.uuid_empty" => {
            "must be a UUID, such as 7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e5f".to_owned()
        }
        "string.pattern" => PATTERNS
            .iter()
            .find(|(pattern, _)| message.contains(&format!("`{pattern}`")))
            .map_or_else(|| message.to_owned(), |(_, text)| format!("must be {text}")),
        "enum.defined_only" => "must be a value that this version of the contract defines".to_owned(),
        "enum.not_in" => "must be set".to_owned(),
        "field_mask.in" => "must name only fields that can be changed: display_name, hosts".to_owned(),
        _ => reword(message, violation.rule_id()),
    }
}

/// The library's own sentence without its technical terms; the rule's name if it has none.
fn reword(message: &str, rule: &str) -> String {
    let text = message
        .replace("value length must be at least 1 characters", "must not be empty")
        .replace("value length must be", "must be")
        .replace("value must be", "must be");
    if text.is_empty() { format!("breaks the rule {rule}") } else { text }
}

/// What each pattern of the contract means. A test holds that none is left out.
const PATTERNS: &[(&str, &str)] = &[
    ("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", "2 to 32 of a-z, 0-9 and -, beginning with a letter and not ending with -"),
    ("^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]$", "an agency's name: agencies/{agency}"),
    ("^agencies/(-|[a-z][a-z0-9-]{0,30}[a-z0-9])$", "an agency's name, agencies/{agency}, or agencies/- for all"),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/referrals/(-|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        "a referral's name, agencies/{agency}/referrals/{uuid}, or agencies/{agency}/referrals/- for all",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/referrals/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a referral's name: agencies/{agency}/referrals/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/measures/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a measure's name: agencies/{agency}/measures/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/operations/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "an operation's name: agencies/{agency}/operations/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/referrals/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/reviewFlags/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a flag's name: agencies/{agency}/referrals/{uuid}/reviewFlags/{uuid}",
    ),
    ("^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]/addressRules$", "platforms/{platform}/addressRules"),
    ("^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/signingProfile$", "agencies/{agency}/signingProfile"),
    ("^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/retentionPolicy$", "agencies/{agency}/retentionPolicy"),
    ("^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/authorisationPolicy$", "agencies/{agency}/authorisationPolicy"),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/drafts/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a draft's name: agencies/{agency}/drafts/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/drafts/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/holds/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a hold's name: agencies/{agency}/drafts/{uuid}/holds/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/interests/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "an interest's name: agencies/{agency}/interests/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/evidence/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "evidence's name: agencies/{agency}/evidence/{uuid}",
    ),
    (
        "^agencies/[a-z][a-z0-9-]{0,30}[a-z0-9]/signingKeys/[a-z][a-z0-9-]{0,30}[a-z0-9]$",
        "a signing key's name: agencies/{agency}/signingKeys/{kid}",
    ),
    ("^[A-Za-z0-9_-]+[.][.][A-Za-z0-9_-]+$", "a JWS with detached payload: BASE64URL(header)..BASE64URL(signature)"),
    ("^agreements/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "an agreement's name: agreements/{uuid}"),
    ("^grants/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "a grant's name: grants/{uuid}"),
    (
        "^publications/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/versions/[1-9][0-9]{0,8})?$",
        "a published report: publications/{uuid}, or a version of it: publications/{uuid}/versions/{version}",
    ),
    (
        "^(agencies|platforms|oversightBodies)/[a-z][a-z0-9-]{0,30}[a-z0-9]$",
        "an organisation that publishes: agencies/{agency}, platforms/{platform} or oversightBodies/{body}",
    ),
    ("^researchers/[a-z][a-z0-9-]{0,30}[a-z0-9]$", "researchers' name: researchers/{id}"),
    ("^researchers/(-|[a-z][a-z0-9-]{0,30}[a-z0-9])$", "researchers' name, researchers/{id}, or researchers/- for all"),
    ("^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]$", "a platform's name: platforms/{platform}"),
    ("^platforms/(-|[a-z][a-z0-9-]{0,30}[a-z0-9])$", "a platform's name, platforms/{platform}, or platforms/- for all"),
    (
        "^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]/cases/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "a case's name: platforms/{platform}/cases/{uuid}",
    ),
    (
        "^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]/cases/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/challenges/[1-9][0-9]{0,8}$",
        "a challenge's name: platforms/{platform}/cases/{uuid}/challenges/{number}",
    ),
    (
        "^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]/cases/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/stays/[1-9][0-9]{0,8}$",
        "a stay's name: platforms/{platform}/cases/{uuid}/stays/{number}",
    ),
    (
        "^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]/responseTimes$",
        "response times' name: platforms/{platform}/responseTimes",
    ),
    (
        "^platforms/(-/cases/-|[a-z][a-z0-9-]{0,30}[a-z0-9]/cases/(-|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}))$",
        "a case's name, platforms/{platform}/cases/{uuid}, or platforms/{platform}/cases/- or platforms/-/cases/- for all",
    ),
    (
        "^platforms/[a-z][a-z0-9-]{0,30}[a-z0-9]/clauses/[a-z][a-z0-9-]{0,30}[a-z0-9]$",
        "a clause's name: platforms/{platform}/clauses/{clause}",
    ),
    (
        "^(agencies|platforms|oversightBodies|operators|researchers)/[a-z][a-z0-9-]{0,30}[a-z0-9]$",
        "an organisation's name: agencies/{id}, platforms/{id}, oversightBodies/{id}, operators/{id} or researchers/{id}",
    ),
    (
        "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        "a host name in lower case, without scheme and port",
    ),
    (
        "^logs/(referral|decision|reporting)(-access)?$",
        "a log's name: logs/referral, logs/decision or logs/reporting, or one of these with -access",
    ),
    (
        "^logs/(referral|decision|reporting)-access$",
        "an access log's name: logs/referral-access, logs/decision-access or logs/reporting-access",
    ),
    (
        "^(-|(agencies|platforms|oversightBodies|operators|researchers)/[a-z][a-z0-9-]{0,30}[a-z0-9])$",
        "an organisation's name, such as agencies/{id} or platforms/{id}, or - for all",
    ),
    ("^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", "a BCP 47 language tag, such as en or ckb-IQ"),
    ("^[A-Z]{2}$", "an ISO 3166-1 alpha-2 country code, such as GB"),
    ("^[A-Z0-9][A-Z0-9_]{0,63}$", "a code of A-Z, 0-9 and _, such as IA1971_S25"),
    ("^[0-9a-f]{64}$", "a SHA-256 as 64 lower-case hexadecimal digits"),
    ("^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", "a date: YYYY-MM-DD"),
    ("^https?://", "an http or https URL"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::v1::{Ground, ReferralNature, TargetKind, WatchStart, watch_start};
    use crate::decision::v1::{DecisionDraft, RecordDecisionRequest};
    use crate::referral::v1::{
        BatchCreateReferralsRequest, CreateReferralRequest, ImportItem, ImportReferralsRequest, LegalBasis,
        ListOrganisationsRequest, ReferralDraft, Target, UpdateOrganisationRequest, WatchReferralsRequest,
    };
    use crate::reporting::v1::{Dimension, QueryReportRequest, ReportDefinition};

    const UUID: &str = "7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e5f";

    fn draft() -> ReferralDraft {
        ReferralDraft {
            platform: "platforms/harbourbook".to_owned(),
            target: Some(Target {
                kind: TargetKind::Page.into(),
                url: "https://harbourbook.example/pages/1".to_owned(),
                ..Target::default()
            }),
            nature: ReferralNature::VoluntaryReferral.into(),
            ground: Ground::OfferTransportSea.into(),
            legal_basis: Some(LegalBasis { statute: "Immigration Act 1971".to_owned(), ..LegalBasis::default() }),
            statement_of_reasons: "Offers crossings.".to_owned(),
            statement_language: "en".to_owned(),
            ..ReferralDraft::default()
        }
    }

    fn found(message: &impl Request) -> Vec<String> {
        violations(message).into_iter().map(|(field, text)| format!("{field} {text}")).collect()
    }

    fn assert_has(found: &[String], wanted: &[&str]) {
        for wanted in wanted {
            assert!(found.iter().any(|text| text.starts_with(wanted)), "{wanted:?} is not among {found:#?}");
        }
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
    }

    #[test]
    fn a_good_request_breaks_nothing() {
        let request = CreateReferralRequest {
            parent: "agencies/nca".to_owned(),
            referral: Some(draft()),
            request_id: UUID.to_owned(),
        };
        assert_eq!(violations(&request), []);
    }

    #[test]
    fn every_violation_is_found_at_once_by_its_path() {
        let request = CreateReferralRequest {
            parent: "agencies/NCA".to_owned(),
            referral: Some(ReferralDraft {
                target: Some(Target { kind: 99, url: "x".repeat(2_049), ..Target::default() }),
                nature: 0,
                legal_basis: None,
                statement_of_reasons: "x".repeat(5_001),
                statement_language: "english language".to_owned(),
                ..draft()
            }),
            request_id: "1".to_owned(),
        };
        assert_has(
            &found(&request),
            &[
                "parent must be an agency's name: agencies/{agency}",
                "referral.target.kind must be a value that",
                "referral.target.url must be at most 2048 characters",
                "referral.nature must be set",
                "referral.legal_basis is required",
                "referral.statement_of_reasons must be at most 5000 characters",
                "referral.statement_language must be a BCP 47 language tag",
                "request_id must be a UUID",
            ],
        );
    }

    #[test]
    fn paths_go_through_repeated_fields() {
        let bad = ReferralDraft { platform: "harbourbook".to_owned(), target: None, ..draft() };
        let request = BatchCreateReferralsRequest {
            parent: "agencies/nca".to_owned(),
            drafts: vec![draft(), bad.clone()],
            request_id: String::new(),
        };
        assert_has(
            &found(&request),
            &[
                "drafts[1].platform must be a platform's name",
                "drafts[1].target is required",
                "request_id must be a UUID",
            ],
        );

        let import = ImportReferralsRequest {
            parent: String::new(),
            items: vec![
                ImportItem { request_id: "x".to_owned(), draft: Some(draft()) },
                ImportItem { request_id: UUID.to_owned(), draft: Some(bad) },
            ],
        };
        assert_has(
            &found(&import),
            &[
                "items[0].request_id must be a UUID",
                "items[1].draft.platform must be",
                "items[1].draft.target is required",
            ],
        );

        let report = QueryReportRequest {
            definition: Some(ReportDefinition {
                cohort_from_date: "2020-01-01".to_owned(),
                cohort_until_date: "31 May 2020".to_owned(),
                dimensions: vec![Dimension::Agency.into(), 0, Dimension::Agency.into()],
                ..ReportDefinition::default()
            }),
            at_least: vec![String::new()],
        };
        assert_has(
            &found(&report),
            &[
                "definition.cohort_until_date must be a date: YYYY-MM-DD",
                "definition.dimensions items must be unique",
                "definition.dimensions[1] must be set",
                "at_least[0] must not be empty",
            ],
        );
    }

    #[test]
    fn bounds_hold_from_both_sides() {
        let with = |drafts: usize, reasons: usize| BatchCreateReferralsRequest {
            parent: "agencies/nca".to_owned(),
            drafts: vec![ReferralDraft { statement_of_reasons: "\u{e9}".repeat(reasons), ..draft() }; drafts],
            request_id: UUID.to_owned(),
        };
        assert_eq!(violations(&with(1_000, 5_000)), []);
        assert_has(&found(&with(0, 1)), &["drafts must"]);
        assert_has(&found(&with(1_001, 1)), &["drafts must have at most 1000 items"]);
        assert_has(&found(&with(1, 0)), &["drafts[0].statement_of_reasons must not be empty"]);

        let page = |page_size| ListOrganisationsRequest { page_size, ..ListOrganisationsRequest::default() };
        assert_eq!(violations(&page(i32::MAX)), []);
        assert_has(&found(&page(-1)), &["page_size must be greater than or equal to 0"]);
    }

    #[test]
    fn a_watch_says_where_it_starts() {
        let with = |start| WatchReferralsRequest {
            parent: "agencies/-".to_owned(),
            start,
            ..WatchReferralsRequest::default()
        };
        assert_has(&found(&with(None)), &["start is required"]);
        let unset = Some(WatchStart { start: None });
        assert_has(&found(&with(unset)), &["start.start exactly one of its alternatives must be set"]);
        let earliest = Some(WatchStart { start: Some(watch_start::Start::Earliest(true)) });
        assert_eq!(violations(&with(earliest)), []);
    }

    #[test]
    fn other_rules_read_well() {
        let mask = prost_types::FieldMask { paths: vec!["kind".to_owned()] };
        let update = UpdateOrganisationRequest { update_mask: Some(mask), ..UpdateOrganisationRequest::default() };
        assert_has(
            &found(&update),
            &["organisation is required", "update_mask must name only fields", "request_id must be a UUID"],
        );
        let decision = RecordDecisionRequest {
            parent: format!("platforms/chirrup/cases/{UUID}"),
            decision: Some(DecisionDraft { territorial_scope: vec!["uk".to_owned()], ..DecisionDraft::default() }),
            request_id: UUID.to_owned(),
            ..RecordDecisionRequest::default()
        };
        assert_has(
            &found(&decision),
            &[
                "decision.kind must be set",
                "decision.outcome must be set",
                "decision.decided_by must be set",
                "decision.territorial_scope[0] must be an ISO 3166-1",
            ],
        );
    }

    #[test]
    fn every_pattern_of_the_contract_is_put_in_words() {
        let generated = include_str!(concat!(env!("OUT_DIR"), "/validate_impl.rs"));
        let used: std::collections::BTreeSet<&str> = generated
            .split("does not match regex pattern `")
            .skip(1)
            .filter_map(|rest| rest.split_once('`').map(|(pattern, _)| pattern))
            .collect();
        let known = PATTERNS.iter().map(|(pattern, _)| *pattern).collect();
        assert_eq!(used, known);
    }
}
