//! `GetReferral` with its record in the access log, against the same read by one of the suite's own services, of which
//! nothing is recorded, and against a durable write: what a record costs is a commit.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use portreeve_api::clients::{self, Acting, ReferralClient};
use portreeve_api::referral::v1::GetReferralRequest;
use portreeve_storage::Database;

use crate::Options;
use crate::drafts::Drafts;
use crate::server::{Suite, agency};
use crate::table::{Limit, Table, median, micros, rate, ratio};

/// Calls under way at once.
const IN_FLIGHT: usize = 256;

/// Measures it.
pub(crate) async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let folder = options.scratch()?;
    let suite = Suite::referral(&Database::Sqlite { folder: folder.path().join("suite") }).await?;
    let drafts = Drafts::varied();
    let recorded = agency(suite.channel().await?)?;
    let unrecorded = clients::referral(suite.channel().await?, Acting::new("services/bench")?);
    let mut names = Vec::new();
    for _ in 0..1_000 {
        let reply = recorded.clone().create_referral(drafts.create()).await?.into_inner();
        names.push(reply.referral.context("a reply without its referral")?.name);
    }
    let calls = if options.quick { 300 } else { 1_000 };
    let time = Duration::from_millis(if options.quick { 1_500 } else { 4_000 });
    let (mut with, mut without, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut many_with, mut many_without) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        without.push(alone(&unrecorded, &names, calls).await?);
        with.push(alone(&recorded, &names, calls).await?);
        writes.push(written(&recorded, &drafts, calls).await?);
        many_without.push(load(&unrecorded, &names, time).await?);
        many_with.push(load(&recorded, &names, time).await?);
    }
    drop((recorded, unrecorded));
    suite.stop().await;
    table.add(
        "GetReferral, recorded, 1 in flight, SQLite : CreateReferral, p50",
        format!(
            "{:.0} µs : {:.0} µs; unrecorded: {:.0} µs, {:.1} times less",
            median(&with),
            median(&writes),
            median(&without),
            ratio(&with, &without)
        ),
        ratio(&with, &writes),
        "",
        Limit::AtMost(1.25),
    );
    table.add(
        "GetReferral, recorded, 256 in flight, SQLite : unrecorded",
        format!("{:.0}/s : {:.0}/s", median(&many_with), median(&many_without)),
        ratio(&many_with, &many_without),
        "",
        Limit::AtLeast(0.25),
    );
    Ok(())
}

fn get(names: &[String], call: usize) -> GetReferralRequest {
    let name = names.get(call % names.len().max(1)).cloned().unwrap_or_default();
    GetReferralRequest { name, at_least: Vec::new() }
}

/// The median of reads one after another, in microseconds.
async fn alone(client: &ReferralClient, names: &[String], calls: usize) -> Result<f64> {
    let mut took = Histogram::<u64>::new(3)?;
    let mut client = client.clone();
    for call in 0..calls {
        let begun = Instant::now();
        client.get_referral(get(names, call)).await?;
        took.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    Ok(micros(took.value_at_quantile(0.5)))
}

/// The median of writes one after another, in microseconds.
async fn written(client: &ReferralClient, drafts: &Drafts, calls: usize) -> Result<f64> {
    let mut took = Histogram::<u64>::new(3)?;
    let mut client = client.clone();
    for _ in 0..calls {
        let request = drafts.create();
        let begun = Instant::now();
        client.create_referral(request).await?;
        took.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    Ok(micros(took.value_at_quantile(0.5)))
}

/// Reads a second over a while, each caller sending its next call when the last was answered.
async fn load(client: &ReferralClient, names: &[String], time: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..IN_FLIGHT {
        let (mut client, names) = (client.clone(), names.to_vec());
        callers.spawn(async move {
            let mut done = 0;
            while begun.elapsed() < time {
                client.get_referral(get(&names, caller + done)).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(of_one) = callers.join_next().await {
        done += of_one??;
    }
    Ok(rate(done, begun.elapsed()))
}
