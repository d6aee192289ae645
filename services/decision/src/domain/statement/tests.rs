//! What comes out is held against the database's own lists and the rules of its `StatementStoreRequest`, both of 69e80a0b: a field or
//! a value that it does not take fails the test.

use std::collections::BTreeSet;

use portreeve_core::vocabulary::{Ground, Nature, OrderRegime, TargetKind};
use serde_json::Value;

use super::*;
use crate::domain::tests::{Book, cites, clause_name, draft, illegal, later, told, version};
use crate::domain::{
    AccessObstacle, Citation, Command, DecisionDraft, Flat, GoneBy, Later, Order, OutcomeKind, Source,
};

/// The database's rules.
struct Rules {
    fields: BTreeSet<String>,
    enums: Value,
    countries: BTreeSet<String>,
}

impl Rules {
    fn new() -> Self {
        let header = include_str!("../../../../../tests/data/dsa_tdb_csv_full_header.csv");
        let given = ["uuid", "platform_name", "platform_uid", "created_at"];
        let fields = header.trim().split(',').filter(|field| !given.contains(field)).chain(["puid"]);
        let read = |text| serde_json::from_str::<Value>(text).unwrap();
        let fixture = read(include_str!("../../../../../tests/data/dsa_tdb_statements.json"));
        let states = fixture["territorial_scope"].as_array().unwrap().iter().map(|code| code.as_str().unwrap());
        // Its list of countries has the rest of the EEA as well.
        let countries = states.chain(["IS", "LI", "NO"]).map(str::to_owned).collect();
        let enums = read(include_str!("../../../../../tests/data/dsa_tdb_enums.json"))["enums"].clone();
        Self { fields: fields.map(str::to_owned).collect(), enums, countries }
    }

    fn knows(&self, list: &str, value: &str) -> bool {
        match &self.enums[list] {
            Value::Object(values) => values.contains_key(value),
            Value::Array(values) => values.iter().any(|of| of == value),
            other => panic!("{list}: {other}"),
        }
    }

    /// What the database would refuse of a statement.
    fn refused(&self, statement: &Value) -> Vec<String> {
        let statement = statement.as_object().unwrap();
        let mut wrong = Vec::new();
        let text = |field: &str| statement.get(field).and_then(Value::as_str).unwrap_or_default();
        for (field, value) in statement {
            if !self.fields.contains(field) {
                wrong.push(format!("{field} is no field"));
            }
            let list = match field.as_str() {
                "decision_visibility" => Some("DECISION_VISIBILITIES"),
                "decision_monetary" => Some("DECISION_MONETARIES"),
                "decision_provision" => Some("DECISION_PROVISIONS"),
                "decision_account" => Some("DECISION_ACCOUNTS"),
                "account_type" => Some("ACCOUNT_TYPES"),
                "decision_ground" => Some("DECISION_GROUNDS"),
                "incompatible_content_illegal" => Some("INCOMPATIBLE_CONTENT_ILLEGALS"),
                "content_type" => Some("CONTENT_TYPES"),
                "category" => Some("STATEMENT_CATEGORIES"),
                "category_specification" => Some("KEYWORDS"),
                "source_type" => Some("SOURCE_TYPES"),
                "automated_detection" => Some("AUTOMATED_DETECTIONS"),
                "automated_decision" => Some("AUTOMATED_DECISIONS"),
                _ => None,
            };
            let many = ["decision_visibility", "content_type", "category_specification", "territorial_scope"];
            if value.is_array() != many.contains(&field.as_str()) && !value.is_null() {
                wrong.push(format!("{field} is a list or is none"));
            }
            let values = match value {
                Value::Array(values) => values.iter().map(|of| of.as_str().unwrap()).collect(),
                Value::String(value) => vec![value.as_str()],
                Value::Null => Vec::new(),
                other => panic!("{field}: {other}"),
            };
            for value in values {
                if list.is_some_and(|list| !self.knows(list, value)) {
                    wrong.push(format!("{field}: {value}"));
                }
                if field == "territorial_scope" && !self.countries.contains(value) {
                    wrong.push(format!("{field}: {value}"));
                }
                let longest = match field.as_str() {
                    "illegal_content_explanation" | "incompatible_content_explanation" => 2_000,
                    "decision_facts" => 5_000,
                    _ => 500,
                };
                if value.chars().count() > longest {
                    wrong.push(format!("{field} is too long"));
                }
                let first = if field == "content_date" { "2000-01-01" } else { "2020-01-01" };
                if field.contains("date") && !field.starts_with("decision") {
                    let day = value.parse::<Date>().unwrap().to_string();
                    if day != *value || !(first..="2038-01-01").contains(&value) {
                        wrong.push(format!("{field}: {value}"));
                    }
                }
            }
        }
        for field in ["puid", "decision_ground", "content_type", "category", "content_date", "application_date"]
            .into_iter()
            .chain(["decision_facts", "source_type", "automated_detection", "automated_decision"])
        {
            if !statement.contains_key(field) {
                wrong.push(format!("{field} is required"));
            }
        }
        let kinds = ["decision_visibility", "decision_monetary", "decision_provision", "decision_account"];
        if !kinds.iter().any(|kind| statement.contains_key(*kind)) {
            wrong.push("no restriction".to_owned());
        }
        for (ground, prefix) in [
            ("DECISION_GROUND_ILLEGAL_CONTENT", "illegal_content_"),
            ("DECISION_GROUND_INCOMPATIBLE_CONTENT", "incompatible_content_"),
        ] {
            let fields = ["legal_ground", "ground", "explanation"].map(|field| format!("{prefix}{field}"));
            let told = fields.iter().filter(|field| !text(field).is_empty()).count();
            if told != usize::from(text("decision_ground") == ground) * 2 {
                wrong.push(format!("{prefix}…: {told}"));
            }
        }
        let other = |field: &str, value: &str| {
            statement.get(field).is_some_and(|of| of.as_array().unwrap().contains(&value.into()))
        };
        if other("content_type", "CONTENT_TYPE_OTHER") != statement.contains_key("content_type_other") {
            wrong.push("content_type_other".to_owned());
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if !text("puid").chars().all(allowed) || text("puid").is_empty() {
            wrong.push(format!("puid: {}", text("puid")));
        }
        wrong
    }
}

fn case() -> Case {
    let mut book = Book::default();
    let heard = Command::FollowReferrals { told: vec![told(1, 1, 0, 0)], agreements: Vec::new(), observed: Vec::new() };
    book.tell(&heard, 0).unwrap();
    let mut case = book.case(1).clone();
    case.referred.target.url = "https://hb.example/pages/a.smuggler".into();
    case.referred.target.native_id = "a.smuggler".into();
    case
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn facts() -> Facts {
    Facts { content_date: day("2024-02-29"), content_types: Vec::new(), account_type: None }
}

fn decision(flat: Flat) -> Decision {
    let DecisionDraft { mut content, .. } = draft(Kind::Initial, flat, None);
    content.effective_at = Some(day("2026-03-01").start());
    content.explanation = "Written of a.smuggler, +44 20 7946 0000, by a reviewer".into();
    let at = day("2026-03-01").start();
    Decision { version: 1, content, decided_at: at, recorded_at: at }
}

fn clause() -> ClauseVersion {
    let mut content = version(0, None);
    content.public_url = "https://hb.example/terms#he-7".into();
    let citation = Citation { clause: clause_name("he-7"), version: 2 };
    ClauseVersion { citation, content, recorded_at: Timestamp::default() }
}

/// A decision of every kind that acts, as platforms may record them.
fn acting() -> Vec<Flat> {
    let on = |kind| cites(kind, "he-7", 2);
    let restrictions = Restriction::ALL.iter().map(|of| Flat { restriction: of.code(), ..on(OutcomeKind::Restricted) });
    let mut all = vec![
        illegal(),
        on(OutcomeKind::ClosedTerms),
        Flat { law: "Immigration Act 1971, s. 25".into(), ..on(OutcomeKind::ClosedTermsAlsoIllegal) },
        Flat { items_closed: 3, items_total: 10, ..on(OutcomeKind::PartiallyClosed) },
        Flat { suspended_until: Some(day("2027-01-01").start()), ..on(OutcomeKind::SuspendedUntil) },
        on(OutcomeKind::TerminatedAccount),
    ];
    all.extend(restrictions);
    all
}

fn json(statement: &Statement) -> Value {
    serde_json::to_value(statement).unwrap()
}

#[test]
fn the_database_takes_its_own_example_by_these_rules() {
    let example = include_str!("../../../../../tests/data/dsa_tdb_example_statement.json");
    let mut example = serde_json::from_str::<Value>(example).unwrap();
    let rules = Rules::new();
    // What the database adds in its answer is no field of ours.
    assert_eq!(rules.refused(&example), ["permalink is no field", "platform_name is no field"]);
    let given = example.as_object_mut().unwrap();
    given.retain(|field, _| !["permalink", "platform_name"].contains(&field.as_str()));
    given.insert("category".into(), "STATEMENT_CATEGORY_SMUGGLING".into());
    given.insert("territorial_scope".into(), vec!["GB"].into());
    given.remove("content_date");
    let expected = ["category: STATEMENT_CATEGORY_SMUGGLING", "territorial_scope: GB", "content_date is required"];
    assert_eq!(rules.refused(&example), expected);
}

#[test]
fn whatever_is_restricted_is_a_statement_that_the_database_takes() {
    let rules = Rules::new();
    let mut puids = BTreeSet::new();
    let mut made = 0;
    for flat in acting() {
        for kind in TargetKind::ALL {
            for ground in Ground::ALL {
                for (nature, scope) in
                    [(Nature::VoluntaryReferral, vec![]), (Nature::StatutoryNotice, vec!["GB", "IE", "FR"])]
                {
                    let mut case = case();
                    case.referred.target.kind = kind.code();
                    case.referred.ground = ground.code();
                    case.referred.nature = nature.code();
                    let mut decision = decision(flat.clone());
                    decision.version = made + 1;
                    decision.content.decided_by = Source::ALL[made as usize % 3];
                    decision.content.territorial_scope = scope.into_iter().map(str::to_owned).collect();
                    let statement = statement(&case, &decision, Some(&clause()), Some(&facts()), false).unwrap();
                    let told = json(&statement);
                    assert_eq!(rules.refused(&told), Vec::<String>::new(), "{told}");
                    let written = told.to_string();
                    for personal in ["a.smuggler", "7946", "hb.example/pages", "crossings"] {
                        assert!(!written.contains(personal), "{written}");
                    }
                    puids.insert(statement.puid);
                    made += 1;
                }
            }
        }
    }
    assert_eq!((puids.len(), made), (11 * 13 * 17 * 2, 11 * 13 * 17 * 2));
}

#[test]
fn the_law_the_terms_and_both_are_told_apart() {
    let told = |flat: Flat| json(&statement(&case(), &decision(flat), Some(&clause()), Some(&facts()), false).unwrap());
    let [illegal, terms, both, ..] = acting().try_into().map(|all: [Flat; 11]| all.map(told)).unwrap();
    assert_eq!(illegal["decision_ground"], "DECISION_GROUND_ILLEGAL_CONTENT");
    assert_eq!(illegal["illegal_content_legal_ground"], "Immigration Act 1971, s. 25");
    for of in [&terms, &both] {
        assert_eq!(of["decision_ground"], "DECISION_GROUND_INCOMPATIBLE_CONTENT");
        assert_eq!(of["incompatible_content_ground"], "Human exploitation (he-7, version 2)");
        assert_eq!(of["decision_ground_reference_url"], "https://hb.example/terms#he-7");
    }
    // That it is not said to be illegal does not say that it is not.
    assert_eq!(
        (terms.get("incompatible_content_illegal"), &both["incompatible_content_illegal"]),
        (None, &Value::from("Yes"))
    );
    assert!(both["incompatible_content_explanation"].as_str().unwrap().contains("Immigration Act 1971, s. 25"));
    let text = "A public authority brought a page to the platform's attention by a referral for voluntary consideration. The platform \
                reviewed it; it was closed. This was decided by a person.";
    assert_eq!(terms["decision_facts"], text);
    assert_eq!(terms["puid"], "00000000-0000-0000-0000-000000000001-1");
}

#[test]
fn what_is_restricted_is_told_as_it_is() {
    let told = |flat: &Flat, kind: TargetKind, scope: &[&str]| {
        let mut case = case();
        case.referred.target.kind = kind.code();
        let mut decision = decision(flat.clone());
        decision.content.territorial_scope = scope.iter().map(|of| (*of).to_owned()).collect();
        statement(&case, &decision, Some(&clause()), Some(&facts()), false).unwrap()
    };
    let shown = |of: &Statement| {
        of.restricted.decision_visibility.map(|[one]| one.trim_start_matches("DECISION_VISIBILITY_CONTENT_"))
    };
    let all = acting();
    let (closed, partly, suspended, terminated) = (&all[1], &all[3], &all[4], &all[5]);
    assert_eq!(shown(&told(closed, TargetKind::Post, &[])), Some("REMOVED"));
    assert_eq!(shown(&told(closed, TargetKind::Post, &["FR"])), Some("DISABLED"));
    assert_eq!(shown(&told(partly, TargetKind::Account, &[])), Some("REMOVED"));
    assert!(told(partly, TargetKind::Account, &[]).decision_facts.contains("3 of its 10 items were closed"));
    for (flat, account) in [(closed, "TERMINATED"), (suspended, "SUSPENDED"), (terminated, "TERMINATED")] {
        let of = told(flat, TargetKind::Account, &[]);
        assert_eq!((of.restricted.decision_account, shown(&of)), (Some(&*format!("DECISION_ACCOUNT_{account}")), None));
    }
    let ends = |of: Restricted| (of.end_date_account_restriction, of.end_date_visibility_restriction);
    let end = || Some("2027-01-01".to_owned());
    assert_eq!(ends(told(suspended, TargetKind::Account, &[]).restricted), (end(), None));
    assert_eq!(ends(told(suspended, TargetKind::Page, &[]).restricted), (None, end()));
    assert_eq!(ends(told(closed, TargetKind::Page, &[]).restricted), (None, None));
    let restrictions = all[6..].iter().map(|flat| shown(&told(flat, TargetKind::Post, &["FR", "GB"])).unwrap());
    let expected = ["DISABLED", "AGE_RESTRICTED", "DEMOTED", "INTERACTION_RESTRICTED", "LABELLED"];
    assert_eq!(restrictions.collect::<Vec<_>>(), expected);
    assert_eq!(told(closed, TargetKind::Post, &["FR", "GB", "AT"]).territorial_scope, ["AT", "FR"]);
    assert_eq!(told(closed, TargetKind::Post, &[]).territorial_scope, EEA);
}

#[test]
fn smuggling_is_never_told_as_trafficking() {
    for ground in Ground::ALL {
        for law in [true, false] {
            let trafficking = category(*ground, law).keywords.contains(&"KEYWORD_HUMAN_TRAFFICKING");
            assert_eq!(trafficking, *ground == Ground::HumanTraffickingIndicator, "{ground:?}");
        }
    }
}

#[test]
fn whoever_brought_it_is_told_by_what_it_is_in_law() {
    let told = |nature: Nature, regime: Option<OrderRegime>, trusted: bool| {
        let mut case = case();
        case.referred.nature = nature.code();
        case.referred.order = regime.map(|regime| Order { regime: regime.code(), ..Order::default() });
        let statement = statement(&case, &decision(illegal()), None, Some(&facts()), trusted);
        statement.map(|of| (of.source_type, of.automated_detection))
    };
    let other = Ok(("SOURCE_TYPE_OTHER_NOTIFICATION", "No"));
    assert_eq!(told(Nature::VoluntaryReferral, None, true), other);
    assert_eq!(told(Nature::StatutoryNotice, None, false), Ok(("SOURCE_ARTICLE_16", "No")));
    assert_eq!(told(Nature::StatutoryNotice, None, true), Ok(("SOURCE_TRUSTED_FLAGGER", "No")));
    assert_eq!(told(Nature::Order, Some(OrderRegime::National), false), other);
    for regime in [Some(OrderRegime::Tco), Some(OrderRegime::Dsa), None] {
        assert_eq!(told(Nature::Order, regime, false), Err(vec![Exclusion::Order]), "{regime:?}");
    }
}

#[test]
fn what_the_platform_knows_of_the_content_is_told_as_it_says() {
    let told = |kind: TargetKind, facts: &Facts| {
        let mut case = case();
        case.referred.target.kind = kind.code();
        case.referred.content_language = "ckb-Arab".into();
        let of = statement(&case, &decision(illegal()), None, Some(facts), false).unwrap();
        (of.content_type, of.content_type_other, of.account_type, of.content_language)
    };
    assert_eq!(told(TargetKind::Group, &facts()), (vec!["CONTENT_TYPE_OTHER"], Some("group"), None, None));
    assert_eq!(told(TargetKind::Live, &facts()), (vec!["CONTENT_TYPE_VIDEO"], None, None, None));
    let known = Facts {
        content_types: vec![ContentType::Text, ContentType::Image],
        account_type: Some(AccountType::Business),
        ..facts()
    };
    let expected = (vec!["CONTENT_TYPE_TEXT", "CONTENT_TYPE_IMAGE"], None, Some("ACCOUNT_TYPE_BUSINESS"), None);
    assert_eq!(told(TargetKind::Group, &known), expected);
    assert_eq!(
        ["sq", "ku-Latn", "PS", "xx", ""].map(|tag| language(tag).unwrap_or_default()),
        ["SQ", "KU", "PS", "", ""]
    );
}

#[test]
fn a_later_version_names_the_one_before() {
    let mut decision = decision(illegal());
    decision.version = 3;
    decision.content.kind = later(Later::Amended);
    let of = statement(&case(), &decision, None, Some(&facts()), false).unwrap();
    assert!(of.puid.ends_with("-3"));
    assert!(of.decision_facts.ends_with("(AMENDED); the one before it is 00000000-0000-0000-0000-000000000001-2."));
}

#[test]
fn what_makes_no_statement_says_everything_that_is_in_its_way() {
    let excluded = |case: &Case, decision: &Decision, clause: Option<&ClauseVersion>, facts: Option<&Facts>| {
        statement(case, decision, clause, facts, false).unwrap_err()
    };
    for kind in OutcomeKind::ALL.iter().filter(|kind| kind.code() > OutcomeKind::TerminatedAccount.code()) {
        let flat = Flat {
            cannot_access: if *kind == OutcomeKind::CannotAccess { AccessObstacle::ClosedGroup.code() } else { 0 },
            gone_by: if *kind == OutcomeKind::AlreadyGone { GoneBy::User.code() } else { 0 },
            protected_context: i32::from(*kind == OutcomeKind::Protected),
            duplicate_of: (*kind == OutcomeKind::Duplicate).then(|| told(7, 1, 0, 0).referred.name),
            ..cites(*kind, "he-7", 2)
        };
        // Of what restricts nothing nothing else matters.
        let mut decision = decision(flat);
        decision.content.effective_at = None;
        assert_eq!(excluded(&case(), &decision, None, None), [Exclusion::NoAction], "{kind:?}");
    }
    let mut wrong =
        decision(Flat { restriction: Restriction::Age.code(), ..cites(OutcomeKind::Restricted, "he-7", 2) });
    wrong.content.also = crate::domain::Basis::default();
    wrong.content.effective_at = None;
    wrong.content.territorial_scope = vec!["GB".into(), "US".into()];
    let mut order = case();
    order.referred.nature = Nature::Order.code();
    let expected = [
        Exclusion::OutsideEea,
        Exclusion::Order,
        Exclusion::NotInEffect,
        Exclusion::GroundMissing,
        Exclusion::ContentDateMissing,
    ];
    assert_eq!(excluded(&order, &wrong, None, None), expected);

    for law in [
        "See https://hb.example/pages/a.smuggler",
        "s. 25, told by a@b.example",
        "The page A.Smuggler, s. 25",
        "www.x.example",
    ] {
        let decision = decision(Flat { law: law.into(), ..illegal() });
        assert_eq!(excluded(&case(), &decision, None, Some(&facts())), [Exclusion::PersonalData], "{law}");
    }
    let mut named = clause();
    named.content.title = "What a.smuggler does".into();
    let on = decision(cites(OutcomeKind::ClosedTerms, "he-7", 2));
    assert_eq!(excluded(&case(), &on, Some(&named), Some(&facts())), [Exclusion::PersonalData]);
    // An identifier that is found in other words does not count.
    let mut short = case();
    short.referred.target.native_id = "25".into();
    assert!(statement(&short, &decision(illegal()), None, Some(&facts()), false).is_ok());

    let at = |created: &str, effect: &str, until: Option<&str>| {
        let flat = until.map_or_else(illegal, |until| Flat {
            suspended_until: Some(day(until).start()),
            ..cites(OutcomeKind::SuspendedUntil, "he-7", 2)
        });
        let mut decision = decision(flat);
        decision.content.effective_at = Some(day(effect).start());
        let facts = Facts { content_date: day(created), ..facts() };
        statement(&case(), &decision, Some(&clause()), Some(&facts), false).map(|_| ())
    };
    let out = Err(vec![Exclusion::DateOutOfRange]);
    assert_eq!(at("2000-01-01", "2020-01-01", None), Ok(()));
    assert_eq!(at("1999-12-31", "2020-01-01", None), out);
    assert_eq!(at("2000-01-01", "2019-12-31", None), out);
    assert_eq!(at("2038-01-01", "2038-01-01", Some("2038-01-01")), Ok(()));
    assert_eq!(at("2038-01-02", "2038-01-01", None), out);
    assert_eq!(at("2038-01-01", "2038-01-02", None), out);
    assert_eq!(at("2026-01-01", "2026-03-01", Some("2038-01-02")), out);

    for (field, set) in [("ground", 0), ("nature", 1), ("kind", 2)] {
        let mut newer = case();
        [&mut newer.referred.ground, &mut newer.referred.nature, &mut newer.referred.target.kind]
            .into_iter()
            .nth(set)
            .map(|of| *of = 99)
            .unwrap();
        assert_eq!(excluded(&newer, &decision(illegal()), None, Some(&facts())), [Exclusion::UnknownWord], "{field}");
    }
}
