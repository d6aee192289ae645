//! Pages are full and whole when most rows are hidden.

use portreeve_api::common::v1::{HandlingCode, Tlp};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_tests::{Client, Database, Server, on_both_engines, sample};

on_both_engines!(pages_are_full_when_most_rows_are_hidden);

/// Which of the rows, in their order, the partner sees.
type Visible = fn(usize) -> bool;

/// Rows in all; of the many hidden ones, some have a marking above the agreement's and some have conditions.
const ROWS: usize = 1_000;

/// Where the visible rows are: nowhere, one in fifty, all but the first, all but the middle, all but the last.
const CASES: [(&str, usize, Visible); 5] = [
    ("none", 30, |_| false),
    ("sparse", ROWS, |number| number % 50 == 17),
    ("first-hidden", 30, |number| number >= 10),
    ("middle-hidden", 30, |number| !(10..20).contains(&number)),
    ("last-hidden", 30, |number| number < 20),
];

async fn pages_are_full_when_most_rows_are_hidden(database: &Database) {
    let (server, _clock) = Server::suite_at(database, "2026-01-05T09:00:00Z").await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    for (agency, count, visible) in CASES {
        let agency = format!("p-{agency}");
        let request = sample::organisation(&format!("agencies/{agency}"), &[]);
        client.organisations().create_organisation(request).await.unwrap();
        let (names, revision) = refer(&client, &agency, count, visible).await;
        let agreement =
            referral::Agreement { accepts_conditions: false, ..sample::agreement([&agency, "bka"], "2027-01-01") };
        let (_, agreed) = sample::agree(&client, agreement, &agency).await;
        let expected =
            names.iter().enumerate().filter(|(number, _)| visible(*number)).map(|(_, name)| name).collect::<Vec<_>>();
        let partner = client.acting("agencies/bka").purpose("investigation");
        for size in [10, 7, 1_000] {
            for (method, pages) in [
                ("ListReferrals", referrals(&partner, &agency, size, &[revision.clone(), agreed.clone()]).await),
                ("ListCases", cases(&partner, &agency, size, &[revision.clone(), agreed.clone()]).await),
            ] {
                let lengths = pages.iter().map(Vec::len).collect::<Vec<_>>();
                let (full, last) = lengths.split_at(expected.len() / size);
                assert!(full.iter().all(|length| *length == size), "{agency} {method}: {lengths:?}");
                assert!(
                    last.iter().sum::<usize>() == expected.len() % size && last.len() <= 1,
                    "{agency} {method}: {lengths:?}"
                );
                assert_eq!(pages.iter().flatten().collect::<Vec<_>>(), expected, "{agency} {method}");
            }
        }
        // A token says where, never who: a stranger's page with it holds nothing.
        let request = referral::ListReferralsRequest {
            parent: format!("agencies/{agency}"),
            page_size: 10,
            ..Default::default()
        };
        let token = partner.referrals().list_referrals(request.clone()).await.unwrap().into_inner().next_page_token;
        if !token.is_empty() {
            let request = referral::ListReferralsRequest { page_token: token, ..request };
            let status = client.acting("agencies/nca").referrals().list_referrals(request).await.unwrap_err();
            assert_eq!(portreeve_tests::refusal(&status).reason, "PERMISSION_DENIED");
        }
    }
    server.stop().await;
}

/// Refers so many; gives their names in order, and the revision.
async fn refer(client: &Client, agency: &str, count: usize, visible: Visible) -> (Vec<String>, String) {
    let drafts = (0..count).map(|number| {
        let hidden = [
            referral::Handling { tlp: Tlp::Red.into(), ..Default::default() },
            referral::Handling {
                code: HandlingCode::SharingWithConditions.into(),
                conditions: "Ask first".into(),
                ..Default::default()
            },
        ];
        let handling = if visible(number) { referral::Handling::default() } else { hidden[number % 2].clone() };
        referral::ReferralDraft {
            handling: Some(handling),
            ..sample::draft("harbourbook", &format!("{agency} {number}"))
        }
    });
    let request = referral::BatchCreateReferralsRequest {
        parent: format!("agencies/{agency}"),
        drafts: drafts.collect(),
        request_id: sample::request_id(&format!("batch {agency}")),
    };
    let mut officer = client.acting(&format!("agencies/{agency}")).referrals();
    let reply = officer.batch_create_referrals(request).await.unwrap().into_inner();
    (reply.referrals.into_iter().map(|referral| referral.name).collect(), reply.revision)
}

/// Every page, as the names of its referrals. The last one may be empty only if it is the first.
async fn referrals(client: &Client, agency: &str, size: usize, at_least: &[String]) -> Vec<Vec<String>> {
    let mut request = referral::ListReferralsRequest {
        parent: format!("agencies/{agency}"),
        page_size: i32::try_from(size).unwrap(),
        at_least: at_least.to_vec(),
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let reply = client.referrals().list_referrals(request.clone()).await.unwrap().into_inner();
        pages.push(reply.referrals.into_iter().map(|referral| referral.name).collect::<Vec<_>>());
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            pages.retain(|page| !page.is_empty());
            return pages;
        }
        assert!(pages.len() < 2_000, "pages without end");
    }
}

/// The same of cases, by the names of their referrals.
async fn cases(client: &Client, agency: &str, size: usize, at_least: &[String]) -> Vec<Vec<String>> {
    let mut request = decision::ListCasesRequest {
        parent: "platforms/-".into(),
        filter: Some(decision::CaseFilter { agencies: vec![format!("agencies/{agency}")], ..Default::default() }),
        page_size: i32::try_from(size).unwrap(),
        at_least: at_least.to_vec(),
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let reply = client.decisions().list_cases(request.clone()).await.unwrap().into_inner();
        pages.push(reply.cases.into_iter().map(|case| case.referral).collect::<Vec<_>>());
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            pages.retain(|page| !page.is_empty());
            return pages;
        }
        assert!(pages.len() < 2_000, "pages without end");
    }
}
