//! What is to be read from the logs again, because this release takes more from them than the one that filled the state.

use portreeve_core::token::Revision;
use portreeve_core::{Error, Reason};
use std::time::Duration;

use super::{Conn, Script};

const ALL: &str = "SELECT source, position, begun FROM refill ORDER BY source";
const BEGIN: &str = "UPDATE refill SET begun = 1";
/// What is taken from the logs that are followed, but for agreements: those are the same whoever reads them.
const EMPTY: [&str; 3] = ["DELETE FROM cell", "DELETE FROM heard", "DELETE FROM trail"];

type Row = (String, i64, i64);

pub(super) fn statements() -> Vec<(&'static str, String)> {
    [ALL, BEGIN].into_iter().chain(EMPTY).map(|text| ("refill", text.to_owned())).collect()
}

/// Whether what is in storage was taken by an earlier release.
pub(super) async fn outdated(conn: &mut Conn) -> sqlx::Result<bool> {
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(conn).await?;
    Ok(rows.iter().any(|(.., begun)| *begun == 0))
}

/// Empties what was taken from the logs.
pub(super) async fn begin(script: &mut Script<'_>) -> sqlx::Result<()> {
    for text in EMPTY.into_iter().chain([BEGIN]) {
        script.execute(text, |_| {}).await?;
    }
    Ok(())
}

/// The refusal of figures while the logs are read again, if they are.
pub(super) async fn behind(conn: &mut Conn, followed: &[Revision]) -> sqlx::Result<Option<Error>> {
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(conn).await?;
    let reached = |source: &str| followed.iter().find(|at| at.log == source).map_or(0, |at| at.position);
    let lacking = rows.into_iter().find(|(source, position, _)| reached(source) < *position);
    Ok(lacking.map(|(source, position, _)| {
        let reached = reached(&source);
        Error::new(
            Reason::NotCaughtUp,
            "this release takes more from the logs than the one before it, and is still reading them again; repeat the call",
        )
        .with("log", source)
        .with("position", position)
        .with("reached", reached)
        .retry_after(Duration::from_secs(1))
    }))
}
