//! How the writer persists what was appended.

use portreeve_core::consultation::What;

use super::{Conn, Insert, Script};
use crate::domain::{Command, Entry, Ledger, State};
use crate::rpc::convert::Log;

static PARTIES: Insert = Insert::new(
    "consultation",
    &["party TEXT", "seq BIGINT", "recorded_us BIGINT", "kind BIGINT", "reader TEXT", "member TEXT", "method TEXT"],
    "",
);
// A page may name a row twice.
static ROWS: Insert =
    Insert::new("consultation_row", &["row_id BYTEA", "seq BIGINT"], "ON CONFLICT (row_id, seq) DO NOTHING");

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for (name, texts) in [("parties", PARTIES.texts()), ("rows", ROWS.texts())] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// The tables.
pub struct Tables;

impl super::super::engine::sql::Tables<Ledger> for Tables {
    // Nothing is loaded: what was appended before does not bear on what is appended now.
    type Keys = ();
    type Codec = Log;
    const STATE_TABLES: &'static [&'static str] = &["consultation", "consultation_row"];

    fn command_keys(_command: &Command, (): &mut ()) {}

    fn event_keys(_event: &Entry, (): &mut ()) {}

    async fn load(_conn: &mut Conn, (): ()) -> sqlx::Result<State> {
        Ok(State::default())
    }

    async fn persist(script: &mut Script<'_>, state: State) -> sqlx::Result<()> {
        let of_parties =
            state.appended.iter().flat_map(|recorded| recorded.event.parties().map(move |of| (of, recorded)));
        PARTIES
            .run(script, &of_parties.collect::<Vec<_>>(), |(party, recorded), binds| {
                let Entry { kind, reader, member, method, .. } = &recorded.event;
                binds
                    .add(*party)
                    .add(recorded.position)
                    .add(recorded.recorded_at.micros())
                    .add(i64::from(kind.code()))
                    .add(reader.as_str())
                    .add(member.as_str())
                    .add(method.as_str());
            })
            .await?;
        let rows = state.appended.iter().flat_map(|recorded| match &recorded.event.what {
            What::Rows(rows) => rows.iter().map(|row| (*row, recorded.position)).collect::<Vec<_>>(),
            What::Stretch(_) | What::Figures { .. } => Vec::new(),
        });
        ROWS.run(script, &rows.collect::<Vec<_>>(), |(row, position), binds| {
            binds.add(row.as_bytes().to_vec()).add(*position);
        })
        .await
    }
}
