//! The tables by real ones: their headings, their labels and what must add up in them.

use std::collections::BTreeMap;

use portreeve_api::common::v1::{Disposition, Ground, ReferralNature, TargetKind};
use portreeve_api::decision::v1::{
    Challenge, ChallengeFact, ChallengeKind, ChallengeOutcome, ChallengeStage, ClauseCitation, ExternalForum, Outcome,
};
use portreeve_api::referral::v1::{OrderRegime, OrderTerms, Target};

use super::*;
use crate::cli::words::time;

const TABLE_3: &str = include_str!("../../../../../tests/data/dsa_art24_tiktok_h1_2026_table3_extract.csv");
const TABLE_4: &str = include_str!("../../../../../tests/data/dsa_art24_tiktok_h1_2026_table4_extract.csv");
const TABLE_7: &str = include_str!("../../../../../tests/data/dsa_art24_tiktok_h1_2026_table7.csv");

type Row = BTreeMap<String, String>;

/// The headings of a file, and its rows by heading.
fn read(csv: &[u8]) -> (Vec<String>, Vec<Row>) {
    let mut reader = csv::Reader::from_reader(csv);
    let headings = reader.headers().unwrap().iter().map(str::to_owned).collect::<Vec<_>>();
    let rows = reader
        .records()
        .map(|row| headings.iter().cloned().zip(row.unwrap().iter().map(str::to_owned)).collect::<Row>());
    let rows = rows.collect();
    (headings, rows)
}

fn sum<'r>(rows: impl Iterator<Item = &'r Row>, heading: &str) -> u64 {
    rows.map(|row| row[heading].parse::<u64>().unwrap_or(0)).sum()
}

/// Whether the categories add up to the total, and the keywords to their categories, where there are any.
fn adds_up(rows: &[Row], heading: &str) {
    let rows = rows.iter().filter(|row| row.get("Scope").is_none_or(|scope| scope == "TOTAL")).collect::<Vec<_>>();
    let is_total = |row: &Row| row["Category label"] == "TOTAL";
    let is_category = |row: &Row| row["Category of illegal content"].starts_with("STATEMENT_CATEGORY_");
    let all = |which: &dyn Fn(&Row) -> bool| sum(rows.iter().copied().filter(|row| which(row)), heading);
    assert_eq!(all(&is_category), all(&is_total), "{heading}");
    assert!(rows.iter().any(|row| is_total(row)) && rows.iter().any(|row| is_category(row)));
    for category in rows.iter().filter(|row| is_category(row)) {
        let label = &category["Category label"];
        let below = rows.iter().copied().filter(|row| {
            row["Category label"]
                .strip_prefix(label.as_str())
                .is_some_and(|rest| rest.len() == 1 && !rest.starts_with(char::is_numeric))
        });
        let below = below.collect::<Vec<_>>();
        // Where not all are told, there is nothing to add up.
        if below.iter().all(|row| !row[heading].is_empty()) && !below.is_empty() {
            assert_eq!(sum(below.into_iter(), heading), sum(std::iter::once(*category), heading), "{label}: {heading}");
        }
    }
}

const ORDERS: &str = orders::HEADINGS[7];
const ITEMS: &str = orders::HEADINGS[8];

#[test]
fn the_real_table_of_orders_has_these_headings_and_adds_up() {
    let (headings, rows) = read(TABLE_3.as_bytes());
    assert_eq!(headings, orders::HEADINGS);
    for heading in [ORDERS, ITEMS] {
        adds_up(&rows, heading);
        let states = rows.iter().filter(|row| row["Scope"] != "TOTAL").collect::<Vec<_>>();
        assert_eq!(states.len(), 27);
        let total = if heading == ORDERS { 1_070 } else { 5_033 };
        assert_eq!(sum(states.into_iter(), heading), total);
        assert_eq!(sum(rows.iter().take(1), heading), total);
    }
}

#[test]
fn the_real_tables_of_notices_and_complaints_have_these_headings_and_rows() {
    assert_eq!(read(TABLE_4.as_bytes()).0, notices::HEADINGS);
    let (headings, real) = read(TABLE_7.as_bytes());
    assert_eq!(headings, complaints::HEADINGS);
    let (_, own) = read(&Tables::default().complaints.table(&scope()).csv().unwrap());
    let named = |rows: &[Row]| {
        rows.iter().map(|row| ["Section", "Indicator", "Scope"].map(|of| row[of].clone())).collect::<Vec<_>>()
    };
    assert_eq!(named(&own), named(&real));
}

#[test]
fn categories_are_labelled_as_the_real_ones() {
    let (_, own) = read(&Tables::default().notices.table(&scope()).csv().unwrap());
    let (_, real) = read(TABLE_4.as_bytes());
    for row in real {
        let label = &row["Category label"];
        let found = own.iter().find(|own| own["Category label"] == *label).unwrap_or_else(|| panic!("{label}"));
        assert_eq!(found["Category of illegal content"], row["Category of illegal content"], "{label}");
    }
    // Every ground has its row.
    for ground in (1..200).map_while(|code| Ground::try_from(code).ok()) {
        let mut tables = Tables::default();
        tables.take(&scope(), &Case { ground: ground.into(), ..case(ReferralNature::StatutoryNotice) }, &[]);
        let (_, rows) = read(&tables.notices.table(&scope()).csv().unwrap());
        adds_up(&rows, notices::HEADINGS[6]);
        assert_eq!(sum(rows.iter(), notices::HEADINGS[6]), 3, "{ground:?}");
    }
}

fn scope() -> Scope {
    Scope {
        service: "platforms/harbourbook".into(),
        period: ("2026-01-01".parse().unwrap(), "2026-06-30".parse().unwrap()),
        trusted: vec!["agencies/nca".into()],
    }
}

fn at(text: &str) -> Option<Timestamp> {
    time(text).ok()
}

fn case(nature: ReferralNature) -> Case {
    Case {
        name: "platforms/harbourbook/cases/1".into(),
        agency: "agencies/nca".into(),
        platform: "platforms/harbourbook".into(),
        target: Some(Target { kind: TargetKind::Page.into(), ..Target::default() }),
        nature: nature.into(),
        ground: Ground::OfferTransportSea.into(),
        submitted_at: at("2026-02-01T09:00:00Z"),
        acknowledged_at: at("2026-02-01T09:30:00Z"),
        disposition: Disposition::Received.into(),
        ..Case::default()
    }
}

fn decision(version: u32, outcome: Outcome) -> Decision {
    Decision {
        version,
        outcome: outcome.into(),
        decided_at: at("2026-02-02T09:30:00Z"),
        effective_at: at("2026-02-02T11:30:00Z"),
        ..Decision::default()
    }
}

fn decided(case: Case, decision: Decision, disposition: Disposition) -> Case {
    Case {
        order_answered_at: (case.nature() == ReferralNature::Order).then_some(decision.effective_at).flatten(),
        latest_decision: Some(decision),
        disposition: disposition.into(),
        ..case
    }
}

fn challenge(kind: ChallengeKind, filed: &str, facts: Vec<ChallengeFact>) -> Challenge {
    Challenge { kind: kind.into(), decision_version: 1, filed_at: at(filed), facts, ..Challenge::default() }
}

fn fact(stage: ChallengeStage, when: &str) -> ChallengeFact {
    ChallengeFact { stage: stage.into(), occurred_at: at(when), ..ChallengeFact::default() }
}

fn rows(table: &Table) -> Vec<Row> {
    read(&table.csv().unwrap()).1
}

#[test]
fn orders_are_counted_and_what_is_not_known_is_named() {
    let mut tables = Tables::default();
    let order = || case(ReferralNature::Order);
    for case in [
        decided(order(), decision(1, Outcome::ClosedIllegal), Disposition::Closed),
        decided(order(), decision(1, Outcome::NoActionImpossible), Disposition::Impossible),
        Case { ground: Ground::HumanTraffickingIndicator.into(), acknowledged_at: None, ..order() },
        // Neither of the period, nor an order.
        Case { submitted_at: at("2025-12-31T23:59:59Z"), ..order() },
        Case { submitted_at: at("2026-07-01T00:00:00Z"), ..order() },
        case(ReferralNature::VoluntaryReferral),
    ] {
        tables.take(&scope(), &case, &[]);
    }
    let rows = rows(&tables.orders.table(&scope()));
    let figures = |row: &Row| orders::HEADINGS[7..].iter().map(|heading| row[*heading].clone()).collect::<Vec<_>>();
    assert_eq!(figures(&rows[0]), ["3", "3", "0.50", "26.00", "", "", ""]);
    assert_eq!(rows[0]["Reporting period"], "2026-01-01/2026-06-30");
    let unknown = orders::HEADINGS[11..].join("; ");
    assert!(rows.iter().all(|row| row["Not known to the exchange"] == unknown), "{rows:?}");
    for heading in [ORDERS, ITEMS] {
        adds_up(&rows, heading);
    }
    let trafficking = rows.iter().find(|row| row["Category label"] == "Category 14d").unwrap();
    // Nothing of which to take a median is empty, and not unknown.
    assert_eq!(figures(trafficking), ["1", "1", "", "", "", "", ""]);
}

#[test]
fn notices_are_told_by_what_their_decisions_rest_on() {
    let mut tables = Tables::default();
    let notice = || case(ReferralNature::StatutoryNotice);
    let other = || Case { agency: "agencies/bka".into(), ..notice() };
    let cited = vec![ClauseCitation { clause: "platforms/harbourbook/clauses/he-7".into(), version: 1 }];
    let partly = Decision { law: "s. 25".into(), ..decision(1, Outcome::PartiallyClosed) };
    for case in [
        decided(
            notice(),
            Decision { clauses: cited.clone(), ..decision(1, Outcome::ClosedIllegal) },
            Disposition::Closed,
        ),
        decided(
            notice(),
            Decision { clauses: cited.clone(), ..decision(1, Outcome::ClosedTermsAlsoIllegal) },
            Disposition::Closed,
        ),
        decided(other(), partly, Disposition::Closed),
        decided(
            other(),
            Decision { clauses: cited, ..decision(1, Outcome::NoActionNotViolating) },
            Disposition::NotViolating,
        ),
    ] {
        tables.take(&scope(), &case, &[]);
    }
    let rows = rows(&tables.notices.table(&scope()));
    let figures = notices::HEADINGS[6..].iter().map(|heading| rows[0][*heading].clone()).collect::<Vec<_>>();
    assert_eq!(figures, ["4", "2", "4", "2", "26.00", "26.00", "2", "1", "1", "1"]);
    // What became of them adds up to them.
    let outcomes = super::tests::rows(&tables.outcomes.table(&scope()));
    let parts = ["Closed", "Left up as not in breach", "Undecided", "Other"].map(|of| outcomes[0][of].clone());
    assert_eq!((outcomes[0]["Received"].as_str(), parts), ("4", ["3", "1", "0", "0"].map(str::to_owned)));
    // An agency's own report of the same.
    let flagged = super::tests::rows(&tables.flagged.table(&scope()));
    assert_eq!(flagged[0]["Number of notices"], "4");
    assert_eq!(sum(flagged[1..].iter(), "Number of notices"), 4);
    assert!(flagged.iter().any(|row| row["Action taken by the provider"] == "NOT_VIOLATING"));
}

#[test]
fn complaints_are_those_that_the_law_means() {
    use ChallengeKind::{ContentOwnerComplaint, ReferrerChallenge};
    let mut tables = Tables::default();
    let answered = |stage, version| ChallengeFact { decision_version: version, ..fact(stage, "2026-03-03T12:00:00Z") };
    let mut take = |nature, kind, outcomes: &[Outcome], challenges| {
        let versions = outcomes.iter().zip(1..).map(|(outcome, version)| decision(version, *outcome));
        let versions = versions.collect::<Vec<_>>();
        let target = Some(Target { kind: TargetKind::into(kind), ..Target::default() });
        tables.take(&scope(), &Case { target, challenges, ..case(nature) }, &versions);
    };
    let notice = ReferralNature::StatutoryNotice;
    let owner = |stage| {
        vec![challenge(
            ContentOwnerComplaint,
            "2026-03-01",
            vec![fact(ChallengeStage::Acknowledged, "2026-03-01"), answered(stage, 2)],
        )]
    };
    take(
        notice,
        TargetKind::Page,
        &[Outcome::ClosedTerms, Outcome::NoActionNotViolating],
        owner(ChallengeStage::Reversed),
    );
    take(notice, TargetKind::Account, &[Outcome::ClosedTerms], owner(ChallengeStage::Upheld));
    let refused = |stage| vec![challenge(ReferrerChallenge, "2026-03-01", vec![answered(stage, 2)])];
    take(
        notice,
        TargetKind::Page,
        &[Outcome::NoActionNotViolating, Outcome::ClosedTerms],
        refused(ChallengeStage::Reversed),
    );
    take(notice, TargetKind::Page, &[Outcome::NoActionNotViolating], refused(ChallengeStage::Omitted));
    // What was referred for voluntary consideration was no notice, and who got what it asked for has no complaint of the law's.
    take(
        ReferralNature::VoluntaryReferral,
        TargetKind::Page,
        &[Outcome::NoActionNotViolating],
        refused(ChallengeStage::Upheld),
    );
    take(notice, TargetKind::Page, &[Outcome::ClosedTerms], refused(ChallengeStage::Upheld));
    // Out of court: one that went against the platform and was implemented, one for procedure alone, one that lasts.
    let outside = |more: Vec<ChallengeFact>| {
        let begun =
            ChallengeFact { forum: ExternalForum::OutOfCourt.into(), ..fact(ChallengeStage::External, "2026-04-01") };
        vec![challenge(ChallengeKind::OversightReview, "2025-12-01", [vec![begun], more].concat())]
    };
    let ruled = |procedural| ChallengeFact {
        outcome: ChallengeOutcome::Reversed.into(),
        procedural,
        ..fact(ChallengeStage::ExternallyDecided, "2026-05-14")
    };
    take(
        notice,
        TargetKind::Page,
        &[Outcome::ClosedTerms],
        outside(vec![ruled(false), fact(ChallengeStage::Implemented, "2026-05-20")]),
    );
    take(
        notice,
        TargetKind::Page,
        &[Outcome::ClosedTerms],
        outside(vec![ruled(false), fact(ChallengeStage::NotImplemented, "2026-05-20")]),
    );
    take(notice, TargetKind::Page, &[Outcome::ClosedTerms], outside(vec![ruled(true)]));
    take(notice, TargetKind::Page, &[Outcome::ClosedTerms], outside(Vec::new()));

    let told = super::tests::rows(&tables.complaints.table(&scope()));
    let value = |indicator: &str, of: &str| {
        let row = told.iter().find(|row| row["Indicator"].contains(indicator) && row["Scope"] == of);
        row.unwrap_or_else(|| panic!("{indicator}: {of}")).clone()
    };
    for (indicator, expected) in [
        ("submitted to the internal", ["4", "1", "0", "2", "2.50"]),
        ("remove or disable", ["1", "0", "0", "1", "2.50"]),
        ("terminate an account", ["1", "1", "0", "0", "2.50"]),
        ("submitted in accordance with", ["2", "0", "0", "1", "2.50"]),
        ("Trusted Flagger", ["2", "0", "0", "1", "2.50"]),
        ("out-of-court", ["4", "0", "0", "3", "43.00"]),
    ] {
        let scopes =
            ["Total number", "Decisions upheld", "Decisions partially reversed", "Decisions reversed", "Median time"];
        assert_eq!(scopes.map(|of| value(indicator, of)["Value"].clone()), expected, "{indicator}");
    }
    assert_eq!(value("submitted to the internal", "Decision omitted")["Value"], "1");
    assert_eq!(value("newly imposed", "Total number")["Value"], "1");
    assert_eq!(value("out-of-court", "Percentage of outcomes implemented")["Value"], "0.50");
    for indicator in ["monetise", "manifestly illegal", "provision of the service"] {
        let row = value(indicator, "Total number");
        assert_eq!((row["Value"].as_str(), row["Not known to the exchange"].as_str()), ("", "Value"), "{indicator}");
    }
}

#[test]
fn removal_orders_are_those_of_the_regulation() {
    let mut tables = Tables::default();
    let order = |regime: OrderRegime| Case {
        order: Some(OrderTerms { regime: regime.into(), ..OrderTerms::default() }),
        ..case(ReferralNature::Order)
    };
    let scrutiny = vec![challenge(
        ChallengeKind::HomeAuthorityScrutiny,
        "2026-02-03",
        vec![ChallengeFact {
            outcome: ChallengeOutcome::Reversed.into(),
            ..fact(ChallengeStage::ExternallyDecided, "2026-02-05")
        }],
    )];
    for case in [
        Case {
            challenges: scrutiny,
            ..decided(order(OrderRegime::Tco), decision(1, Outcome::ClosedIllegal), Disposition::Closed)
        },
        decided(order(OrderRegime::Tco), decision(1, Outcome::NoActionInsufficientInfo), Disposition::InsufficientInfo),
        decided(order(OrderRegime::Tco), decision(1, Outcome::NoActionImpossible), Disposition::Impossible),
        order(OrderRegime::Tco),
        decided(order(OrderRegime::Dsa), decision(1, Outcome::ClosedIllegal), Disposition::Closed),
    ] {
        tables.take(&scope(), &case, &[]);
    }
    let value = |rows: &[Row], indicator: &str| {
        rows.iter().find(|row| row["Indicator"].contains(indicator)).unwrap()["Value"].clone()
    };
    let provider = rows(&tables.removals.of_the_provider(&scope()));
    let parts =
        ["orders received", "following removal orders", "art. 3(7)", "art. 3(8)", "other grounds", "not yet answered"];
    assert_eq!(parts.map(|of| value(&provider, of)), ["4", "1", "1", "1", "0", "1"]);
    let authority = rows(&tables.removals.of_the_authority(&scope()));
    let parts = [
        "issued",
        "scrutinised (art. 4)",
        "scrutinised: reversed",
        "carried out",
        "not carried out",
        "not yet answered",
    ];
    assert_eq!(parts.map(|of| value(&authority, of)), ["4", "1", "1", "1", "2", "1"]);
    let penalties = authority.iter().find(|row| row["Indicator"].contains("penalties")).unwrap();
    assert_eq!((penalties["Value"].as_str(), penalties["Not known to the exchange"].as_str()), ("", "Value"));
}

#[test]
fn medians_are_halfway_and_rounded() {
    use table::{Cell, HOUR, median};
    let of = |hours: &[i64]| median(&hours.iter().map(|hour| hour * HOUR).collect::<Vec<_>>(), HOUR);
    assert_eq!(of(&[]), Cell::Nothing);
    assert_eq!([of(&[3]), of(&[9, 1, 2]), of(&[1, 2])], ["3.00", "2.00", "1.50"].map(Cell::from));
    assert_eq!(median(&[HOUR / 3], HOUR), "0.33".into());
}
