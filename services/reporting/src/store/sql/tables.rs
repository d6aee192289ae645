//! How the writer loads and persists the ledger's state.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::{Date, Uuid};
use portreeve_runtime::agreements::{decode, encode};

use super::agreements::{self, Kept};
use super::{Conn, Insert, Lookup, Script, grants, publications, refill, sql, trails};
use crate::domain::publication::Digest;
use crate::domain::{Cell, Command, Event, Footprint, GrantName, Joint, Ledger, Source, State};
use crate::rpc::convert::{Log, decode_joint, encode_joint};

pub(super) const HEARD: &str = "SELECT source, day FROM heard";
// Added to, not overwritten: nothing needs to be loaded, and the order in which stretches come does not matter.
static ADD: Insert = Insert::new(
    "cell",
    &[
        "cell_key BYTEA",
        "cohort_day BIGINT",
        "event_day BIGINT",
        "recorded_day BIGINT",
        "agency TEXT",
        "platform TEXT",
        "ground BIGINT",
        "target_kind BIGINT",
        "nature BIGINT",
        "content_language TEXT",
        "clause TEXT",
        "clause_version BIGINT",
        "disposition BIGINT",
        "clock BIGINT",
        "clock_days BIGINT",
        "signed_count BIGINT",
        "operation TEXT",
        "same_target BIGINT",
        "legal_basis TEXT",
        "entered BIGINT",
    ],
    "ON CONFLICT (cell_key) DO UPDATE SET signed_count = cell.signed_count + excluded.signed_count, \
     entered = cell.entered + excluded.entered",
);
pub(super) static OPERATIONS: Lookup = Lookup::new("SELECT body FROM operation WHERE name IN");
static UPSERT_OPERATION: Insert =
    Insert::new("operation", &["name TEXT", "body BYTEA"], "ON CONFLICT (name) DO UPDATE SET body = excluded.body");
static HEAR: Insert =
    Insert::new("heard", &["source TEXT", "day BIGINT"], "ON CONFLICT (source) DO UPDATE SET day = excluded.day");

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("heard", HEARD.to_owned())];
    for (name, texts) in [
        ("add", ADD.texts()),
        ("hear", HEAR.texts()),
        ("operations", OPERATIONS.texts()),
        ("upsert_operation", UPSERT_OPERATION.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// The day of the newest change that was taken in, for each source.
pub(super) async fn heard(conn: &mut Conn) -> sqlx::Result<BTreeMap<Source, Date>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(HEARD).fetch_all(conn).await?;
    rows.into_iter()
        .map(|(source, day)| {
            let source = Source::from_name(&source);
            source.zip(i32::try_from(day).ok()).map(|(source, day)| (source, Date::from_days(day)))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| sqlx::Error::Decode("a row of heard cannot be read".into()))
}

/// The agreement behind a row.
pub(super) fn kept_agreement(kept: &Kept) -> sqlx::Result<Agreement> {
    decode(&kept.body).ok_or_else(|| sqlx::Error::Decode("an agreement cannot be read".into()))
}

/// The operations of their rows.
pub(super) fn joint(rows: &[(Vec<u8>,)]) -> sqlx::Result<Vec<Joint>> {
    let read = rows.iter().map(|(body,)| decode_joint(body)).collect::<Option<_>>();
    read.ok_or_else(|| sqlx::Error::Decode("an operation cannot be read".into()))
}

async fn known(
    conn: &mut Conn,
    names: &BTreeSet<AgreementName>,
) -> sqlx::Result<BTreeMap<AgreementName, (Agreement, i64)>> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut reads = sql::Reads::new();
    let ids = names.iter().map(|name| name.0.as_bytes().to_vec()).collect::<Vec<_>>();
    let known = agreements::find(&mut reads, &ids);
    let known = agreements::found(&mut reads.run(conn).await?, known)?;
    known.iter().map(|kept| kept_agreement(kept).map(|agreement| (agreement.name, (agreement, kept.created)))).collect()
}

/// What the writer loads. Of the cube, what there is to load does not depend on what is done.
#[derive(Default)]
pub struct Keys {
    grants: BTreeSet<GrantName>,
    agreements: BTreeSet<AgreementName>,
    operations: BTreeSet<String>,
    trails: BTreeSet<Uuid>,
    questions: BTreeSet<Digest>,
}

impl Keys {
    /// Both ends of a link: either becomes one that is linked.
    fn trails(&mut self, footprints: &[(Uuid, Footprint)]) {
        for (id, footprint) in footprints {
            self.trails.insert(*id);
            if let Footprint::Turned(turn) = footprint {
                self.trails.extend(turn.kind.other());
            }
        }
    }
}

/// The tables.
pub struct Tables;

impl super::super::engine::sql::Tables<Ledger> for Tables {
    type Keys = Keys;
    type Codec = Log;
    const STATE_TABLES: &'static [&'static str] =
        &["cell", "heard", "trail", "research_grant", "agreement_party", "agreement", "operation", "publication"];

    fn command_keys(command: &Command, keys: &mut Self::Keys) {
        match command {
            Command::Learn(learnt) => {
                keys.agreements.extend(learnt.agreements.iter().map(|agreement| agreement.name));
                keys.operations.extend(learnt.operations.iter().map(|joint| joint.operation.clone()));
                keys.trails(&learnt.footprints);
            }
            Command::Issue { name, .. } | Command::Revoke { name, .. } | Command::Count { grant: name, .. } => {
                keys.grants.insert(*name);
            }
            Command::Publish(proposed) => _ = keys.questions.insert(proposed.question),
        }
    }

    fn event_keys(event: &Event, keys: &mut Self::Keys) {
        match event {
            Event::CubeChanged(_) | Event::BegunAnew => {}
            Event::TrailsChanged(footprints) => keys.trails(footprints),
            Event::AgreementLearnt(agreement) => _ = keys.agreements.insert(agreement.name),
            Event::OperationLearnt(joint) => _ = keys.operations.insert(joint.operation.clone()),
            Event::GrantChanged(grant) => _ = keys.grants.insert(grant.name),
            Event::QueryCounted { grant, .. } => _ = keys.grants.insert(*grant),
            Event::ReportPublished(version) => _ = keys.questions.insert(version.question),
        }
    }

    async fn load(conn: &mut Conn, keys: Self::Keys) -> sqlx::Result<State> {
        let grants = grants::load(conn, &keys.grants.into_iter().collect::<Vec<_>>()).await?;
        let agreements = known(conn, &keys.agreements).await?;
        let names = keys.operations.into_iter().collect::<Vec<_>>();
        let found: Vec<(Vec<u8>,)> = if names.is_empty() { Vec::new() } else { OPERATIONS.run(conn, &names).await? };
        let operations = joint(&found)?.into_iter().map(|joint| (joint.operation.clone(), joint)).collect();
        let trails = trails::load(conn, &keys.trails).await?;
        let outdated = refill::outdated(conn).await?;
        let editions = publications::load(conn, &keys.questions.into_iter().collect::<Vec<_>>()).await?;
        let heard = heard(conn).await?;
        Ok(State { heard, trails, outdated, agreements, operations, grants, editions, ..State::default() })
    }

    async fn persist(script: &mut Script<'_>, state: State) -> sqlx::Result<()> {
        if state.emptied {
            refill::begin(script).await?;
        }
        let trodden = state.trodden.iter().filter_map(|id| Some((*id, state.trails.get(id)?))).collect::<Vec<_>>();
        trails::persist(script, &trodden).await?;
        let changed = state.changed.iter().filter_map(|name| state.grants.get(name)).collect::<Vec<_>>();
        grants::persist(script, &changed).await?;
        publications::persist(script, &state.published).await?;
        let learnt = state.learnt.iter().filter_map(|(name, position)| {
            let (agreement, first) = state.agreements.get(name)?;
            let kept =
                Kept { id: name.0.as_bytes().to_vec(), created: *first, updated: *position, body: encode(agreement) };
            Some((kept, agreement.terms.parties.clone()))
        });
        agreements::keep(script, &learnt.collect::<Vec<_>>()).await?;
        let joined = state.joined.iter().filter_map(|name| state.operations.get(name)).collect::<Vec<_>>();
        UPSERT_OPERATION
            .run(script, &joined, |joint, binds| {
                binds.add(joint.operation.as_str()).add(encode_joint(joint));
            })
            .await?;
        let heard = state.heard.into_iter().collect::<Vec<_>>();
        HEAR.run(script, &heard, |(source, day), binds| {
            binds.add(source.name()).add(i64::from(day.days()));
        })
        .await?;
        let added = state.added.into_iter().collect::<Vec<_>>();
        ADD.run(script, &added, |(cell, tally), binds| {
            let Cell { subject, standing, event_day, recorded_day } = cell;
            let (clock, clock_days) = standing.clock.parts();
            binds
                .add(cell.id().to_vec())
                .add(i64::from(subject.cohort_day.days()))
                .add(i64::from(event_day.days()))
                .add(i64::from(recorded_day.days()))
                .add(subject.agency.as_str())
                .add(subject.platform.as_str())
                .add(subject.ground)
                .add(subject.target_kind)
                .add(subject.nature)
                .add(subject.content_language.as_str())
                .add(standing.clause.clause.as_str())
                .add(standing.clause.version)
                .add(i64::from(standing.disposition.code()))
                .add(clock)
                .add(clock_days)
                .add(tally.net)
                .add(subject.operation.as_str())
                .add(i64::from(subject.same_target))
                .add(subject.legal_basis.as_str())
                .add(tally.entered);
        })
        .await
    }
}
