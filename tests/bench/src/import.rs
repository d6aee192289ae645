//! `ImportReferrals` against the barest way to write the same rows into the same tables and indexes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::TryStreamExt as _;
use portreeve_api::clients::ReferralClient;
use portreeve_api::referral::v1::{ImportReferralsRequest, import_result};
use portreeve_storage::Database;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::Options;
use crate::bare::{Image, TABLES};
use crate::cluster::Cluster;
use crate::drafts::Drafts;
use crate::server::{Suite, agency};
use crate::table::{Limit, Table, median, processor, rate, ratio};

/// Rows of a transaction of the bare loop; the best one counts.
const BATCHES: [usize; 3] = [1_000, 10_000, 100_000];
/// Bytes of one piece of a COPY.
const PIECE: usize = 1024 * 1024;

/// Imports over one stream. Gives how long it took from the first message to the last answer.
pub(crate) async fn import(client: &mut ReferralClient, messages: Vec<ImportReferralsRequest>) -> Result<Duration> {
    let rows = messages.iter().map(|message| message.items.len()).sum::<usize>();
    let (begun, used) = (Instant::now(), processor());
    let mut replies = client.import_referrals(tokio_stream::iter(messages)).await?.into_inner();
    let mut imported = 0;
    while let Some(reply) = replies.message().await? {
        for result in reply.results {
            match result.result {
                Some(import_result::Result::Imported(_)) => imported += 1,
                Some(import_result::Result::Error(error)) => bail!("a row was refused: {}", error.message),
                None => bail!("a row has no result"),
            }
        }
    }
    let took = begun.elapsed();
    ensure!(imported == rows, "{imported} of {rows} rows were answered");
    let each = (processor() - used) / begun.elapsed().as_secs_f64() / rate(rows, took);
    eprintln!("import: {:.0} rows/s, {each:.1} us of this process's time each", rate(rows, took));
    Ok(took)
}

/// On SQLite, against a loop over its C interface.
pub(crate) async fn on_sqlite(options: &Options, table: &mut Table) -> Result<()> {
    let rows = options.rows();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut image = None;
    let mut batches = BATCHES.to_vec();
    for _ in 0..options.import_rounds() {
        let folder = options.scratch()?;
        let suite = Suite::referral(&Database::Sqlite { folder: folder.path().join("suite") }).await?;
        let messages = Drafts::varied().import(rows);
        let took = import(&mut agency(suite.channel().await?)?, messages).await?;
        suite.stop().await;
        ours.push(rate(rows, took));
        let image = match &image {
            Some(image) => image,
            None => image.insert(Image::read(&folder.path().join("suite/referral.db"))?),
        };
        let mut best = (Duration::MAX, 0);
        for batch in &batches {
            let path = folder.path().join(format!("bare-{batch}.db"));
            let used = processor();
            let took = tokio::task::block_in_place(|| image.write(&path, *batch))?;
            let each = (processor() - used) / took.as_secs_f64() / rate(rows, took);
            eprintln!(
                "bare loop, {batch} rows a transaction: {:.0} rows/s, {each:.1} us of processor time each",
                rate(rows, took)
            );
            best = best.min((took, *batch));
            remove(&path)?;
        }
        theirs.push(rate(rows, best.0));
        // Which size is best does not change from round to round.
        batches = vec![best.1];
    }
    let batch = batches.first().copied().unwrap_or_default();
    table.add(
        &format!("ImportReferrals, {rows} rows, SQLite : bare loop over the C interface"),
        format!("{:.0}/s : {:.0}/s ({batch} rows a transaction)", median(&ours), median(&theirs)),
        ratio(&ours, &theirs),
        "",
        Limit::AtLeast(0.4),
    );
    Ok(())
}

pub(crate) fn remove(database: &Path) -> Result<()> {
    for tail in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(tail);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// On Postgres, against COPY.
pub(crate) async fn on_postgres(options: &Options, table: &mut Table) -> Result<()> {
    let rows = options.rows();
    let what = format!("ImportReferrals, {rows} rows, Postgres : COPY");
    let cluster = match Cluster::of(options) {
        Ok(Some(cluster)) => cluster,
        Ok(None) => {
            table.skip(&what, "left out on the command line".to_owned());
            return Ok(());
        }
        Err(error) => {
            table.skip(&what, format!("{error:#}"));
            return Ok(());
        }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.import_rounds() {
        let url = cluster.database(&format!("portreeve_bench_{}_{round}", std::process::id())).await?;
        let suite = Suite::referral(&Database::Postgres { url: url.clone() }).await?;
        let messages = Drafts::varied().import(rows);
        let mut connection = PgConnection::connect(&url).await?;
        connection.execute("CHECKPOINT").await?;
        let took = import(&mut agency(suite.channel().await?)?, messages).await?;
        suite.stop().await;
        ours.push(rate(rows, took));
        let copied = copy(&mut connection).await?;
        theirs.push(rate(rows, copied));
        eprintln!("COPY: {:.0} rows/s", rate(rows, copied));
        connection.close().await?;
        cluster.drop_database(&url).await?;
    }
    table.add(
        &what,
        format!("{:.0}/s : {:.0}/s", median(&ours), median(&theirs)),
        ratio(&ours, &theirs),
        "",
        Limit::AtLeast(0.3),
    );
    Ok(())
}

/// Copies the rows of the tables, by way of this process's memory, into tables and indexes like them. Gives how long the
/// way in took.
async fn copy(connection: &mut PgConnection) -> Result<Duration> {
    let mut pieces = Vec::new();
    connection.execute("CREATE SCHEMA bare").await?;
    for (table, order) in TABLES {
        let create = format!("CREATE TABLE bare.{table} (LIKE referral.{table} INCLUDING ALL)");
        connection.execute(sqlx::AssertSqlSafe(create)).await?;
        let out = format!("COPY (SELECT * FROM referral.{table} ORDER BY {order}) TO STDOUT (FORMAT binary)");
        let mut rows = connection.copy_out_raw(&out).await?;
        let mut whole = vec![Vec::new()];
        while let Some(row) = rows.try_next().await? {
            if whole.last().is_none_or(|piece: &Vec<u8>| piece.len() + row.len() > PIECE) {
                whole.push(Vec::with_capacity(PIECE));
            }
            whole.last_mut().context("a piece was just added")?.extend_from_slice(&row);
        }
        drop(rows);
        pieces.push((table, whole));
    }
    connection.execute("CHECKPOINT").await?;
    let begun = Instant::now();
    for (table, whole) in pieces {
        let into = format!("COPY bare.{table} FROM STDIN (FORMAT binary)");
        let mut copy = connection.copy_in_raw(&into).await?;
        for piece in whole {
            copy.send(piece).await?;
        }
        copy.finish().await?;
    }
    let took = begun.elapsed();
    for (table, _) in TABLES {
        let count = format!("SELECT (SELECT count(*) FROM bare.{table}) = (SELECT count(*) FROM referral.{table})");
        let same: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut *connection).await?;
        ensure!(same, "{table} lacks rows");
    }
    Ok(took)
}
