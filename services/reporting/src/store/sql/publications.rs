//! Published reports: how the writer loads and persists them, and how they are read.

use std::collections::BTreeMap;

use portreeve_core::Uuid;

use super::{Conn, Insert, Lookup, Script};
use crate::domain::publication::Digest;
use crate::domain::{Edition, Publication};
use crate::rpc::publication_convert::{decode, encode};

static EDITIONS: Lookup =
    Lookup::new("SELECT question, publication_id, version, figures, counted_seq FROM publication WHERE question IN");
static INSERT: Insert = Insert::new(
    "publication",
    &[
        "publication_id BYTEA",
        "version BIGINT",
        "published_seq BIGINT",
        "publisher TEXT",
        "question BYTEA",
        "figures BYTEA",
        "counted_seq BIGINT",
        "body BYTEA",
        "report BYTEA",
    ],
    "ON CONFLICT (publication_id, version) DO NOTHING",
);
/// One version, or the newest for 0, with the number of the newest.
pub(super) const ONE: &str = "SELECT body, report, \
     (SELECT MAX(version) FROM publication AS newest WHERE newest.publication_id = publication.publication_id) AS latest \
     FROM publication WHERE publication_id = $1 AND ($2 = 0 OR version = $2) ORDER BY version DESC LIMIT 1";
/// The newest answer to a question.
pub(super) const ANSWER: &str =
    "SELECT body, report, version AS latest FROM publication WHERE question = $1 ORDER BY version DESC LIMIT 1";
/// Versions of one publisher (of all, if none is named) after a position, in the order in which they were published.
pub(super) const PAGE: &str = "SELECT published_seq, body, \
     (SELECT MAX(version) FROM publication AS newest WHERE newest.publication_id = publication.publication_id) AS latest \
     FROM publication WHERE published_seq > $1 AND ($2 = '' OR publisher = $2) ORDER BY published_seq LIMIT $3";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("publication_one", ONE.to_owned()),
        ("publication_answer", ANSWER.to_owned()),
        ("publications_page", PAGE.to_owned()),
    ];
    for (name, texts) in [("editions", EDITIONS.texts()), ("insert_publication", INSERT.texts())] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all
}

/// A version with its report and the number of the newest.
pub(super) type Row = (Vec<u8>, Vec<u8>, i64);

fn unreadable() -> sqlx::Error {
    sqlx::Error::Decode("a published report cannot be read".into())
}

/// The version of a row, and the number of the newest.
pub(super) fn publication((body, report, latest): Row) -> sqlx::Result<(Publication, u32)> {
    let version = decode(&body).ok_or_else(unreadable)?;
    Ok((Publication { report, ..version }, u32::try_from(latest).map_err(|_| unreadable())?))
}

/// A version of a page, without its rows: the position, the version, and the number of the newest.
pub(super) fn listed((at, body, latest): (i64, Vec<u8>, i64)) -> sqlx::Result<(i64, Publication, u32)> {
    let version = decode(&body).ok_or_else(unreadable)?;
    Ok((at, version, u32::try_from(latest).map_err(|_| unreadable())?))
}

type Answered = (Vec<u8>, Vec<u8>, i64, Vec<u8>, i64);

/// The newest answers to questions.
pub(super) async fn load(conn: &mut Conn, questions: &[Digest]) -> sqlx::Result<BTreeMap<Digest, Edition>> {
    let mut newest = BTreeMap::<Digest, Edition>::new();
    if questions.is_empty() {
        return Ok(newest);
    }
    let keys = questions.iter().map(|question| question.to_vec()).collect::<Vec<_>>();
    let rows: Vec<Answered> = EDITIONS.run(conn, &keys).await?;
    for row in rows {
        let (question, edition) = edition(row).ok_or_else(unreadable)?;
        let known = newest.entry(question).or_insert(edition);
        if known.version < edition.version {
            *known = edition;
        }
    }
    Ok(newest)
}

fn edition((question, id, version, figures, counted_at): Answered) -> Option<(Digest, Edition)> {
    let edition = Edition {
        id: Uuid::from_slice(&id).ok()?,
        version: u32::try_from(version).ok()?,
        figures: figures.try_into().ok()?,
        counted_at,
    };
    Some((question.try_into().ok()?, edition))
}

/// Writes versions that are new.
pub(super) async fn persist(script: &mut Script<'_>, published: &[(i64, Publication)]) -> sqlx::Result<()> {
    INSERT
        .run(script, published, |(at, version), binds| {
            binds
                .add(version.id.as_bytes().to_vec())
                .add(i64::from(version.version))
                .add(*at)
                .add(version.publisher.to_string())
                .add(version.question.to_vec())
                .add(version.figures.to_vec())
                .add(version.counted_at)
                .add(encode(version))
                .add(version.report.clone());
        })
        .await
}
