//! The tables of transparency reports by the command line, against what was sent and decided through the API and against the reports' own figures. What
//! is in each table is held against real ones by the tests of `portreeve/src/cli/transparency`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use portreeve_api::common::v1::ReferralNature;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_tests::{Client, Database, Server, on_both_engines, process, sample};

on_both_engines!(the_tables_say_what_the_reports_say);

type Row = BTreeMap<String, String>;

fn read(path: &std::path::Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows = reader.deserialize().map(Result::unwrap);
    rows.collect()
}

async fn decide(
    client: &Client,
    sent: (referral::Referral, String),
    draft: Option<decision::DecisionDraft>,
) -> (String, String) {
    let case = sample::case_of(&sent.0);
    let mut platform = client.acting("platforms/chirrup").decisions();
    let get = decision::GetCaseRequest { name: case.clone(), at_least: vec![sent.1] };
    platform.get_case(get).await.unwrap();
    let acknowledge = sample::acknowledge("chirrup", std::slice::from_ref(&case), &format!("ack {case}"));
    let mut revision = platform.acknowledge_cases(acknowledge).await.unwrap().into_inner().revision;
    if let Some(draft) = draft {
        let record = sample::record(&case, draft, &format!("decide {case}"));
        revision = platform.record_decision(record).await.unwrap().into_inner().revision;
    }
    (case, revision)
}

async fn the_tables_say_what_the_reports_say(database: &Database) {
    let (server, clock) = Server::suite_at(database, "2026-03-01T09:00:00Z").await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let send = async |draft: referral::ReferralDraft, tag: &str| {
        let mut officer = client.acting("agencies/nca").referrals();
        let reply = officer.create_referral(sample::create("nca", draft, tag)).await.unwrap().into_inner();
        (reply.referral.unwrap(), reply.revision)
    };
    let notice = |tag: &str| referral::ReferralDraft {
        nature: ReferralNature::StatutoryNotice.into(),
        ..sample::draft("chirrup", tag)
    };
    let order = send(sample::order("chirrup", "order"), "order").await;
    let first = send(notice("first"), "first").await;
    let second = send(notice("second"), "second").await;
    let third = send(sample::draft("chirrup", "third"), "third").await;
    let fourth = send(notice("fourth"), "fourth").await;
    clock.set("2026-03-01T09:30:00Z".parse().unwrap());
    let in_effect = |at: &str| decision::DecisionDraft { effective_at: Some(sample::time(at)), ..sample::closed() };
    decide(&client, order, Some(in_effect("2026-03-01T09:30:00Z"))).await;
    decide(&client, first, Some(in_effect("2026-03-01T09:30:00Z"))).await;
    let left = sample::decided(decision::Outcome::NoActionInsufficientInfo);
    let (left, _) = decide(&client, second, Some(left)).await;
    decide(&client, third, None).await;
    let (_, revision) = decide(&client, fourth, None).await;
    let nca = client.acting("agencies/nca");
    nca.challenges().file_challenge(sample::challenge(&left, 1, "refused")).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let run = |of: &str, more: &[&str]| {
        let arguments = ["transparency", of, "--period", "2026-01..2026-06", "--out", of, "--as", of, "--server", &url];
        let (code, said) = process::run(folder.path(), &[arguments.as_slice(), more].concat());
        assert_eq!(code, 0, "{said}");
    };
    run("platforms/chirrup", &["--trusted-flagger", "agencies/nca"]);
    let table = |file: &str| read(&folder.path().join("platforms/chirrup").join(file));
    let orders = table("3_member_states_orders.csv");
    assert_eq!(orders[0]["Number of orders to act against illegal content received"], "1");
    assert_eq!(
        orders[0]["Median time to inform the authority of the receipt of the order to act against illegal content"],
        "0.50"
    );
    let notices = table("4_notices.csv");
    let figure = |heading: &str| notices[0][heading].as_str();
    assert_eq!(
        (figure("Number of notices received"), figure("Number of notices received from Trusted flaggers")),
        ("3", "3")
    );
    assert_eq!(figure("Number of actions taken on the basis of the law"), "1");
    let complaints = table("7_appeals_and_recidivism.csv");
    assert_eq!(complaints[0]["Value"], "1");
    let orders = table("tco_article_7.csv");
    assert!(orders.iter().any(|row| row["Indicator"] == "Removal orders received" && row["Value"] == "1"));

    // What became of them is what the report says, nature by nature.
    let definition = reporting::ReportDefinition {
        cohort_from_date: "2026-01-01".into(),
        cohort_until_date: "2026-06-30".into(),
        as_of_date: "2026-06-30".into(),
        dimensions: vec![reporting::Dimension::Nature.into()],
        ..reporting::ReportDefinition::default()
    };
    let report = client.acting("platforms/chirrup").report(definition, &[revision]).await.unwrap();
    let expected = report.rows.iter().map(|row| {
        let counts = row.counts.clone().unwrap();
        let figures = [counts.referred, counts.closed, counts.not_in_breach, counts.undecided, counts.other];
        (row.key[0].value.clone(), figures.map(|figure| figure.to_string()))
    });
    let outcomes = table("outcomes.csv").into_iter().filter(|row| row["Category label"] == "TOTAL").map(|row| {
        let figures = ["Received", "Closed", "Left up as not in breach", "Undecided", "Other"];
        (row["Legal nature"].clone(), figures.map(|figure| row[figure].clone()))
    });
    let outcomes = outcomes.collect::<BTreeMap<_, _>>();
    assert_eq!((outcomes.len(), outcomes), (3, expected.collect::<BTreeMap<_, _>>()));

    run("agencies/nca", &[]);
    let flagged = read(&folder.path().join("agencies/nca/trusted_flagger_annual_report.csv"));
    assert_eq!((flagged[0]["Number of notices"].as_str(), flagged.len()), ("3", 4));
    let removals = read(&folder.path().join("agencies/nca/tco_article_8.csv"));
    assert!(removals.iter().any(|row| row["Indicator"] == "Removal orders carried out" && row["Value"] == "1"));
    let (code, said) = process::run(
        folder.path(),
        &["transparency", "operators/op", "--period", "2026", "--out", "x", "--as", "operators/op", "--server", &url],
    );
    assert_eq!(code, 2, "{said}");
    server.stop().await;
}
