//! The conformance suite on both engines.

use portreeve_storage::conformance::{Fixture, audit, cases};

macro_rules! on_both_engines {
    ($($module:ident::$case:ident),* $(,)?) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                $module::$case(&Fixture::sqlite().database).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                $module::$case(&Fixture::postgres().await.database).await;
            })*
        }
    };
}

on_both_engines!(
    cases::every_statement_prepares,
    cases::a_write_is_durable_and_numbered,
    cases::a_request_takes_effect_once,
    cases::a_request_is_remembered_past_compaction,
    cases::without_a_guard_each_counts,
    cases::one_failure_fails_alone,
    cases::one_poison_fails_alone,
    cases::a_panic_does_not_stop_the_writer,
    cases::time_never_runs_backwards,
    cases::many_writers_make_one_log,
    cases::a_commit_wakes_the_watchers,
    cases::rebuilding_changes_nothing,
    cases::compaction_keeps_the_numbers,
    cases::a_stretch_is_followed_once,
    cases::a_stopped_writer_finishes,
    cases::a_log_is_shared,
    audit::the_tree_is_that_of_the_log,
    audit::a_log_from_before_gets_its_tree,
    audit::tampering_is_found,
);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_make_one_log_on_postgres() {
    cases::replicas_make_one_log(&Fixture::postgres().await.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_grow_one_tree_on_postgres() {
    audit::replicas_grow_one_tree(&Fixture::postgres().await.database).await;
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
