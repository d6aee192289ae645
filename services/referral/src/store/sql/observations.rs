//! Observations: how the writer counts and persists them, and how they are read.

use portreeve_core::id::Uuid;
use sqlx::Pool;

use super::{Db, Insert, Lookup, Script};
use crate::domain::observation::Observation;
use crate::rpc::observations::convert::{decode, encode};

/// How many observations a referral has.
pub(super) static COUNTED: Lookup = Lookup::new(
    "SELECT r.referral_id, (SELECT COUNT(*) FROM observation o WHERE o.referral_id = r.referral_id) FROM referral r \
     WHERE r.referral_id IN",
);
static INSERT: Insert = Insert::new(
    "observation",
    &["created_seq BIGINT", "observation_id BYTEA", "agency TEXT", "referral_id BYTEA", "body BYTEA", "place BYTEA"],
    "",
);
/// Where the content is again, of a referral whose target was erased.
const ERASE_PLACES: &str = "UPDATE observation SET place = NULL WHERE referral_id = $1";
/// Observations between two positions, which a condition narrows.
macro_rules! observations {
    ($condition:literal) => {
        concat!(
            "SELECT created_seq, body, place FROM observation WHERE created_seq > $1 AND created_seq <= $2",
            $condition,
            " ORDER BY created_seq LIMIT $3"
        )
    };
}
const PAGE: &str = observations!("");
const PAGE_OF_AGENCY: &str = observations!(" AND agency = $4");
const PAGE_OF_REFERRAL: &str = observations!(" AND agency = $4 AND referral_id = $5");

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("erase_places", ERASE_PLACES.to_owned()),
        ("observations_page", PAGE.to_owned()),
        ("observations_of_agency", PAGE_OF_AGENCY.to_owned()),
        ("observations_of_referral", PAGE_OF_REFERRAL.to_owned()),
    ];
    for (name, texts) in [("observations_counted", COUNTED.texts()), ("insert_observation", INSERT.texts())] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A row: what stays, and the place that can be erased, each as the contract writes it.
type Row = (i64, Vec<u8>, Option<Vec<u8>>);

fn observation((created, body, place): Row) -> sqlx::Result<Observation> {
    // The encodings of two halves of one message, one after the other, are that message's.
    let whole = [body, place.unwrap_or_default()].concat();
    let observation = decode(&whole).ok_or_else(|| sqlx::Error::Decode("an observation cannot be read".into()))?;
    Ok(Observation { created, ..observation })
}

/// Writes observations that are new, in the order of the log.
pub(super) async fn persist(script: &mut Script<'_>, new: &[Observation]) -> sqlx::Result<()> {
    INSERT
        .run(script, new, |observation, binds| {
            let (body, place) = encode(observation);
            binds
                .add(observation.created)
                .add(observation.name.id.as_bytes().to_vec())
                .add(observation.name.referral.agency.as_str())
                .add(observation.name.referral.id.as_bytes().to_vec())
                .add(body)
                .add(place);
        })
        .await
}

/// Forgets where the content of a referral is again.
pub(super) async fn erase(script: &mut Script<'_>, referral: Uuid) -> sqlx::Result<()> {
    script
        .execute(ERASE_PLACES, |binds| {
            binds.add(referral.as_bytes().to_vec());
        })
        .await
}

/// Observations of one referral of an agency, of all of its, or of all there are, after a position, in the order in which they
/// were recorded.
pub(super) async fn page(
    readers: &Pool<Db>,
    agency: Option<&str>,
    referral: Option<Uuid>,
    after: i64,
    until: i64,
    limit: i64,
) -> sqlx::Result<Vec<Observation>> {
    let text = match (agency, referral) {
        (None, _) => PAGE,
        (Some(_), None) => PAGE_OF_AGENCY,
        (Some(_), Some(_)) => PAGE_OF_REFERRAL,
    };
    let mut query = sqlx::query_as(text).bind(after).bind(until).bind(limit);
    if let Some(agency) = agency {
        query = query.bind(agency.to_owned());
        if let Some(referral) = referral {
            query = query.bind(referral.as_bytes().to_vec());
        }
    }
    let rows: Vec<Row> = query.fetch_all(readers).await?;
    rows.into_iter().map(observation).collect()
}
