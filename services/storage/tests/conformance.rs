//! The conformance suite on both engines.

use portreeve_storage::conformance::{Fixture, cases};

macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                cases::$case(&Fixture::sqlite().database).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                cases::$case(&Fixture::postgres().await.database).await;
            })*
        }
    };
}

on_both_engines!(
    every_statement_prepares,
    a_write_is_durable_and_numbered,
    a_request_takes_effect_once,
    a_request_is_remembered_past_compaction,
    one_failure_fails_alone,
    one_poison_fails_alone,
    a_panic_does_not_stop_the_writer,
    time_never_runs_backwards,
    many_writers_make_one_log,
    a_commit_wakes_the_watchers,
    rebuilding_changes_nothing,
    compaction_keeps_the_numbers,
    a_stretch_is_followed_once,
    a_stopped_writer_finishes,
    a_log_is_shared,
);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_make_one_log_on_postgres() {
    cases::replicas_make_one_log(&Fixture::postgres().await.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_agree() {
    let (sqlite, postgres) = (Fixture::sqlite(), Fixture::postgres().await);
    cases::engines_agree(&sqlite.database, &postgres.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_opened_once() {
    let fixture = Fixture::sqlite();
    let _open = portreeve_storage::conformance::open(&fixture.database).await.map_err(|e| e.to_string());
    let second = portreeve_storage::conformance::open(&fixture.database).await;
    assert!(second.is_err_and(|error| error.message().contains("another process")));
}
