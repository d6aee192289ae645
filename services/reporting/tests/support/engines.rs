//! Tests that run on each engine: each case is a function of this name that takes the database.

macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$case(&super::Fixture::sqlite().database).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$case(&super::Fixture::postgres().await.database).await })*
        }
    };
}
