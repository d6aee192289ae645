//! Agreements as a service keeps them: who is party to which, and each as the contract writes it. Every service that asks who
//! may see what has these two tables; the one that owns agreements fills them from its own log, the others from what they
//! follow.

use sqlx::Pool;

use super::script::{Found, Ticket};
use super::{Db, Insert, Lookup, Reads, Script};

/// The tables, children first.
pub const TABLES: [&str; 2] = ["agreement_party", "agreement"];

static BY_ID: Lookup =
    Lookup::new("SELECT agreement_id, created_seq, updated_seq, body FROM agreement WHERE agreement_id IN");
static OF_PARTIES: Lookup = Lookup::new("SELECT agency FROM agreement_party WHERE agency IN");
static UPSERT: Insert = Insert::new(
    "agreement",
    &["agreement_id BYTEA", "created_seq BIGINT", "updated_seq BIGINT", "body BYTEA"],
    "ON CONFLICT (agreement_id) DO UPDATE SET updated_seq = excluded.updated_seq, body = excluded.body",
);
static INSERT_PARTY: Insert = Insert::new(
    "agreement_party",
    &["agency TEXT", "agreement_id BYTEA"],
    "ON CONFLICT (agency, agreement_id) DO NOTHING",
);
/// Those of an agency and those of its partners: what is shared onward rests on these.
const CONCERNING: &str = "SELECT a.agreement_id, a.created_seq, a.updated_seq, a.body FROM agreement a \
     WHERE a.agreement_id IN (SELECT p.agreement_id FROM agreement_party p WHERE p.agency IN \
       (SELECT q.agency FROM agreement_party q JOIN agreement_party r ON r.agreement_id = q.agreement_id WHERE r.agency = $1)) \
     ORDER BY a.created_seq";
const PAGE: &str = "SELECT a.agreement_id, a.created_seq, a.updated_seq, a.body FROM agreement a \
     WHERE a.created_seq > $1 AND a.updated_seq <= $2 AND ($3 = '' OR a.agreement_id IN \
       (SELECT p.agreement_id FROM agreement_party p WHERE p.agency = $3)) ORDER BY a.created_seq LIMIT $4";
const ONE: &str = "SELECT agreement_id, created_seq, updated_seq, body FROM agreement WHERE agreement_id = $1";

/// Every statement with its name, for preparing them in a test.
pub fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("agreements_concerning", CONCERNING.to_owned()),
        ("agreements_page", PAGE.to_owned()),
        ("agreement_one", ONE.to_owned()),
    ];
    for (name, texts) in [
        ("agreements_by_id", BY_ID.texts()),
        ("agreements_of_parties", OF_PARTIES.texts()),
        ("upsert_agreement", UPSERT.texts()),
        ("insert_agreement_party", INSERT_PARTY.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// An agreement as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Kept {
    /// Its identifier.
    #[sqlx(rename = "agreement_id")]
    pub id: Vec<u8>,
    /// The position of the event that brought it, in this service's log.
    #[sqlx(rename = "created_seq")]
    pub created: i64,
    /// The position of the event that last changed it, in this service's log.
    #[sqlx(rename = "updated_seq")]
    pub updated: i64,
    /// The agreement as the contract writes it.
    pub body: Vec<u8>,
}

/// Asks for agreements by their identifiers.
pub fn find(reads: &mut Reads, ids: &[Vec<u8>]) -> Ticket {
    reads.find(&BY_ID, ids)
}

/// Those that were found.
pub fn found(found: &mut Found, ticket: Ticket) -> sqlx::Result<Vec<Kept>> {
    found.take(ticket)
}

/// Asks which agreements there are that name these agencies.
pub fn count(reads: &mut Reads, agencies: &[String]) -> Ticket {
    reads.find(&OF_PARTIES, agencies)
}

/// For each agreement that names one of the agencies, the agency.
pub fn counted(found: &mut Found, ticket: Ticket) -> sqlx::Result<Vec<String>> {
    let rows: Vec<(String,)> = found.take(ticket)?;
    Ok(rows.into_iter().map(|(agency,)| agency).collect())
}

/// Keeps agreements, each with its parties.
pub async fn keep(script: &mut Script<'_>, agreements: &[(Kept, Vec<String>)]) -> sqlx::Result<()> {
    UPSERT
        .run(script, agreements, |(kept, _), binds| {
            binds.add(kept.id.clone()).add(kept.created).add(kept.updated).add(kept.body.clone());
        })
        .await?;
    let parties = agreements.iter().flat_map(|(kept, parties)| parties.iter().map(move |party| (party, &kept.id)));
    INSERT_PARTY
        .run(script, &parties.collect::<Vec<_>>(), |(party, id): &(&String, &Vec<u8>), binds| {
            binds.add(party.as_str()).add((*id).clone());
        })
        .await
}

/// The agreements of an agency and of its partners.
pub async fn concerning(readers: &Pool<Db>, agency: &str) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(CONCERNING).bind(agency.to_owned()).fetch_all(readers).await
}

/// One agreement.
pub async fn one(readers: &Pool<Db>, id: &[u8]) -> sqlx::Result<Option<Kept>> {
    sqlx::query_as(ONE).bind(id.to_vec()).fetch_optional(readers).await
}

/// Agreements of one agency (of all, if none is named) after a position, in the order in which they came.
pub async fn page(
    readers: &Pool<Db>,
    agency: Option<&str>,
    after: i64,
    unchanged_since: i64,
    limit: i64,
) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(PAGE)
        .bind(after)
        .bind(unchanged_since)
        .bind(agency.unwrap_or_default().to_owned())
        .bind(limit)
        .fetch_all(readers)
        .await
}
