//! An access log that is slow or broken: nothing is shown, and writers do not notice.

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::referral::v1 as referral;
use portreeve_tests::{Database, Options, on_both_engines, refusal, sample, within};
use sqlx::Connection as _;
use tonic::Code;

use super::{World, get};

on_both_engines!(a_slow_access_log_holds_up_no_write, nothing_is_shown_that_cannot_be_recorded);

/// A connection to the access log's own tables, behind the server's back.
enum Behind {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Behind {
    async fn open(database: &Database) -> Self {
        match database {
            Database::Sqlite { folder } => {
                let url = format!("sqlite:{}", folder.join("referral-access.db").display());
                Self::Sqlite(sqlx::SqliteConnection::connect(&url).await.unwrap())
            }
            Database::Postgres { url } => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql("SET search_path TO \"referral-access\"").execute(&mut connection).await.unwrap();
                Self::Postgres(connection)
            }
        }
    }

    async fn run(&mut self, on_sqlite: &'static str, on_postgres: &'static str) {
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(on_sqlite).execute(connection).await.map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(on_postgres).execute(connection).await.map(drop),
        }
        .unwrap();
    }
}

async fn a_slow_access_log_holds_up_no_write(database: &Database) {
    let world = World::new(database, Options::default()).await;
    let nca = world.member("agencies/nca", "j.doe");
    let mut behind = Behind::open(database).await;
    behind.run("BEGIN IMMEDIATE", "BEGIN; SELECT last FROM event_head WHERE id = 1 FOR UPDATE").await;
    let reading = {
        let (mut referrals, request) = (nca.referrals(), get(&world.decided));
        tokio::spawn(async move { referrals.get_referral(request).await })
    };
    for number in 0..20 {
        let tag = format!("meanwhile {number}");
        within(4, "a write", sample::refer(&world.client, "nca", "harbourbook", &tag)).await;
    }
    assert!(!reading.is_finished(), "it was shown before it was recorded");
    behind.run("ROLLBACK", "ROLLBACK").await;
    within(20, "the read", reading).await.unwrap().unwrap();
    assert_eq!(world.entries("referral-access", "agencies/nca").await.len(), 1);
    world.server.stop().await;
}

async fn nothing_is_shown_that_cannot_be_recorded(database: &Database) {
    let world = World::new(database, Options::default()).await;
    let nca = world.member("agencies/nca", "j.doe");
    let watch = referral::WatchReferralsRequest {
        parent: "agencies/nca".into(),
        start: Some(sample::start(Start::Now(true))),
        ..Default::default()
    };
    let mut stream = nca.referrals().watch_referrals(watch).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().checkpoint);
    let mut behind = Behind::open(database).await;
    let away = "ALTER TABLE consultation RENAME TO elsewhere";
    behind.run(away, away).await;
    let (_, revision) = sample::refer(&world.client, "nca", "harbourbook", "unseen").await;
    let list = referral::ListReferralsRequest {
        parent: "agencies/nca".into(),
        at_least: vec![revision],
        ..Default::default()
    };
    let failed = [
        nca.referrals().get_referral(get(&world.decided)).await.unwrap_err(),
        nca.referrals().list_referrals(list.clone()).await.unwrap_err(),
        loop {
            match within(20, "the stream's end", stream.message()).await {
                Ok(message) => assert!(message.unwrap().changes.is_empty(), "it was shown without a record"),
                Err(status) => break status,
            }
        },
    ];
    for status in failed {
        let refused = refusal(&status);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "STORAGE_UNAVAILABLE"));
        assert!(status.message().contains("nothing is shown"), "{status:?}");
    }
    let back = "ALTER TABLE elsewhere RENAME TO consultation";
    behind.run(back, back).await;
    let shown = nca.referrals().list_referrals(list).await.unwrap().into_inner().referrals;
    assert_eq!(shown.len(), 2);
    let entries = world.entries("referral-access", "agencies/nca").await;
    assert_eq!(entries.iter().map(|entry| entry.rows.len()).sum::<usize>(), 2, "{entries:?}");
    world.server.stop().await;
}
