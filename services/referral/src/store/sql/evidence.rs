//! Evidence: how the writer loads and persists what is known of it and which referrals carry it, and how that is read.

use std::collections::{BTreeSet, HashMap, HashSet};

use portreeve_core::id::Uuid;
use sqlx::Pool;

use super::super::engine::sql::script::{Found, Ticket};
use super::drafts::column;
use super::{Db, Insert, Lookup, Reads, Script};
use crate::domain::evidence::key;
use crate::domain::{Evidence, Referral};
use crate::rpc::evidence::convert::{decode, encode};

static BY_ID: Lookup = Lookup::new("SELECT created_seq, updated_seq, body FROM evidence WHERE evidence_id IN");
/// The evidence of referrals; once for each that carries it.
static OF_REFERRALS: Lookup = Lookup::new(
    "SELECT e.created_seq, e.updated_seq, e.body FROM evidence_carrier c \
     JOIN evidence e ON e.evidence_id = c.evidence_id WHERE c.referral_id IN",
);
static CARRIERS: Lookup = Lookup::new("SELECT evidence_id, referral_id FROM evidence_carrier WHERE evidence_id IN");
/// All carriers of the evidence of referrals.
static CARRIERS_WITH: Lookup = Lookup::new(
    "SELECT o.evidence_id, o.referral_id FROM evidence_carrier c \
     JOIN evidence_carrier o ON o.evidence_id = c.evidence_id WHERE c.referral_id IN",
);
/// The keys among some under which bytes are kept.
static KEPT: Lookup = Lookup::new("SELECT object FROM evidence WHERE object IN");
static UPSERT: Insert = Insert::new(
    "evidence",
    &["evidence_id BYTEA", "agency TEXT", "object TEXT", "created_seq BIGINT", "updated_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (evidence_id) DO UPDATE SET object = excluded.object, updated_seq = excluded.updated_seq, \
     body = excluded.body",
);
static ATTACH: Insert = Insert::new("evidence_carrier", &["evidence_id BYTEA", "referral_id BYTEA"], "");
const DETACH: &str = "DELETE FROM evidence_carrier WHERE referral_id = $1";
const PAGE: &str = "SELECT created_seq, updated_seq, body FROM evidence WHERE agency = $1 AND created_seq > $2 \
     AND updated_seq <= $3 ORDER BY created_seq LIMIT $4";
/// The referrals to a platform that carry evidence.
const CARRIED_TO: &str = "SELECT c.referral_id FROM evidence_carrier c JOIN referral r ON r.referral_id = c.referral_id \
     WHERE c.evidence_id = $1 AND r.platform = $2 ORDER BY r.seq LIMIT $3";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("detach_evidence", DETACH.to_owned()),
        ("evidence_page", PAGE.to_owned()),
        ("evidence_carried_to", CARRIED_TO.to_owned()),
    ];
    for (name, texts) in [
        ("evidence_by_id", BY_ID.texts()),
        ("evidence_of_referrals", OF_REFERRALS.texts()),
        ("evidence_carriers", CARRIERS.texts()),
        ("evidence_carriers_with", CARRIERS_WITH.texts()),
        ("evidence_kept", KEPT.texts()),
        ("upsert_evidence", UPSERT.texts()),
        ("attach_evidence", ATTACH.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row with the evidence as the contract writes it.
type EvidenceRow = (i64, i64, Vec<u8>);

fn evidence((created, updated, body): EvidenceRow) -> sqlx::Result<Evidence> {
    let evidence = decode(&body).ok_or_else(|| sqlx::Error::Decode("evidence cannot be read".into()))?;
    Ok(Evidence { created, updated, ..evidence })
}

fn id(bytes: &[u8]) -> sqlx::Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| sqlx::Error::Decode("an id has 16 bytes".into()))
}

/// What is asked for: some evidence and that of some referrals, with who carries it.
pub(super) struct Asked([Ticket; 4]);

pub(super) fn find(reads: &mut Reads, ids: BTreeSet<Uuid>, referrals: BTreeSet<Uuid>) -> Asked {
    let (ids, referrals) = (column(ids), column(referrals));
    Asked([
        reads.find(&BY_ID, &ids),
        reads.find(&OF_REFERRALS, &referrals),
        reads.find(&CARRIERS, &ids),
        reads.find(&CARRIERS_WITH, &referrals),
    ])
}

/// Evidence, and who carries it.
pub(super) type Exhibited = (HashMap<Uuid, Evidence>, HashMap<Uuid, HashSet<Uuid>>);

pub(super) fn found(rows: &mut Found, Asked([by_id, of, carriers, with]): Asked) -> sqlx::Result<Exhibited> {
    let (mut known, mut carried) = (HashMap::new(), HashMap::<Uuid, HashSet<Uuid>>::new());
    for ticket in [by_id, of] {
        let rows: Vec<EvidenceRow> = rows.take(ticket)?;
        for row in rows {
            let evidence = evidence(row)?;
            known.insert(evidence.name().id, evidence);
        }
    }
    for ticket in [carriers, with] {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = rows.take(ticket)?;
        for (evidence, referral) in rows {
            carried.entry(id(&evidence)?).or_default().insert(id(&referral)?);
        }
    }
    Ok((known, carried))
}

/// Writes evidence that is new or was erased.
pub(super) async fn persist(script: &mut Script<'_>, changed: &[&Evidence]) -> sqlx::Result<()> {
    UPSERT
        .run(script, changed, |evidence, binds| {
            let (name, digest) = (evidence.name(), &evidence.exhibit.digest);
            let object = if digest.is_empty() { String::new() } else { key(&name.agency, digest) };
            binds
                .add(name.id.as_bytes().to_vec())
                .add(name.agency.as_str())
                .add(object)
                .add(evidence.created)
                .add(evidence.updated)
                .add(encode(evidence));
        })
        .await
}

/// Notes what new referrals carry.
pub(super) async fn attach(script: &mut Script<'_>, referrals: &[Referral]) -> sqlx::Result<()> {
    let carried = referrals.iter().flat_map(|referral| referral.exhibits.iter().map(move |of| (of.name.id, referral)));
    ATTACH
        .run(script, &carried.collect::<Vec<_>>(), |(id, referral), binds| {
            binds.add(id.as_bytes().to_vec()).add(referral.name.id.as_bytes().to_vec());
        })
        .await
}

/// Forgets what a referral carried.
pub(super) async fn detach(script: &mut Script<'_>, referral: Uuid) -> sqlx::Result<()> {
    script
        .execute(DETACH, |binds| {
            binds.add(referral.as_bytes().to_vec());
        })
        .await
}

/// The evidence with these identifiers that there is.
pub(super) async fn by_id(readers: &Pool<Db>, ids: &[Uuid]) -> sqlx::Result<Vec<Evidence>> {
    let mut conn = readers.acquire().await?;
    let rows: Vec<EvidenceRow> = BY_ID.run(&mut conn, &column(ids.iter().copied())).await?;
    rows.into_iter().map(evidence).collect()
}

/// The evidence of referrals; once for each that carries it.
pub(super) async fn of_referrals(readers: &Pool<Db>, ids: &[Uuid]) -> sqlx::Result<Vec<Evidence>> {
    let mut conn = readers.acquire().await?;
    let rows: Vec<EvidenceRow> = OF_REFERRALS.run(&mut conn, &column(ids.iter().copied())).await?;
    rows.into_iter().map(evidence).collect()
}

/// Evidence of an agency after a position, in the order in which it was uploaded.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: &str,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<Evidence>> {
    let rows: Vec<EvidenceRow> = sqlx::query_as(PAGE)
        .bind(agency.to_owned())
        .bind(after)
        .bind(unchanged_since)
        .bind(limit)
        .fetch_all(readers)
        .await?;
    rows.into_iter().map(evidence).collect()
}

/// The referrals to a platform that carry evidence.
pub(super) async fn carried_to(
    readers: &Pool<Db>,
    evidence: Uuid,
    platform: &str,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(CARRIED_TO)
        .bind(evidence.as_bytes().to_vec())
        .bind(platform.to_owned())
        .bind(limit)
        .fetch_all(readers)
        .await?;
    rows.into_iter().map(|(referral,)| id(&referral)).collect()
}

/// The keys among these under which bytes are kept.
pub(super) async fn kept(readers: &Pool<Db>, keys: &[String]) -> sqlx::Result<HashSet<String>> {
    let mut conn = readers.acquire().await?;
    let rows: Vec<(String,)> = KEPT.run(&mut conn, keys).await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}
