//! From commit to delivery on a watch, at a steady rate of events.
//!
//! Writes are sent at fixed instants, whether or not earlier ones were answered, so that a stall is felt by every event
//! that it delays. An event's commit is taken to begin at its `recorded_at`, which the server stamps when it opens the
//! transaction: the figure holds the whole commit, its fdatasync included, and the way to the reader. Beside it stands
//! the time from the instant at which the write was due, which holds the call, the queue and the batch before it too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use portreeve_api::common::v1::{WatchStart, watch_start};
use portreeve_api::referral::v1::WatchReferralsRequest;
use portreeve_api::referral::v1::referral_change::Change;
use portreeve_core::Clock as _;
use portreeve_core::time::SystemClock;
use portreeve_storage::Database;
use tokio::time::Instant;

use crate::Options;
use crate::drafts::{AGENCY, Drafts};
use crate::server::{Suite, agency};
use crate::table::{Limit, Table, median, micros};

/// Events a second.
const RATE: u32 = 2_000;
/// How long nothing may be delivered before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures it.
pub(crate) async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let folder = options.scratch()?;
    let suite = Suite::referral(&Database::Sqlite { folder: folder.path().join("suite") }).await?;
    let events = RATE * if options.quick { 5 } else { 20 };
    let (mut from_commit, mut from_due) = (Vec::new(), Vec::new());
    run(&suite, RATE).await?;
    for _ in 0..options.rounds().min(3) {
        let (commit, due) = run(&suite, events).await?;
        from_commit.push(micros(commit.value_at_quantile(0.99)) / 1_000.0);
        from_due.push(micros(due.value_at_quantile(0.99)) / 1_000.0);
    }
    suite.stop().await;
    table.add(
        &format!("commit to delivery on a watch, {RATE} events/s, p99"),
        format!("{:.1} ms; from when the write was due: {:.1} ms", median(&from_commit), median(&from_due)),
        median(&from_commit),
        " ms",
        Limit::AtMost(15.0),
    );
    Ok(())
}

/// Nanoseconds from commit to delivery, and from when each write was due to its delivery.
async fn run(suite: &Suite, events: u32) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let drafts = Drafts::varied();
    let writes = (0..events).map(|_| drafts.create()).collect::<Vec<_>>();
    let numbers = (0_u32..)
        .zip(&writes)
        .filter_map(|(number, write)| Some((write.referral.as_ref()?.target.as_ref()?.url.clone(), number)))
        .collect::<HashMap<_, _>>();
    let mut reader = agency(suite.channel().await?)?;
    let start = WatchStart { start: Some(watch_start::Start::Now(true)) };
    let request = WatchReferralsRequest { parent: AGENCY.to_owned(), start: Some(start), ..Default::default() };
    let mut stream = reader.watch_referrals(request).await?.into_inner();
    // The first message says where the stream begins.
    stream.message().await?.context("the stream ended")?;

    let begun = Instant::now() + Duration::from_millis(50);
    let due = move |number: u32| begun + Duration::from_secs(1) * number / RATE;
    let client = agency(suite.channel().await?)?;
    let sending = tokio::spawn(async move {
        let mut calls = tokio::task::JoinSet::new();
        for (number, write) in (0..).zip(writes) {
            tokio::time::sleep_until(due(number)).await;
            let mut client = client.clone();
            calls.spawn(async move { client.create_referral(write).await });
        }
        while let Some(call) = calls.join_next().await {
            call??;
        }
        anyhow::Ok(())
    });

    let mut from_commit = Histogram::<u64>::new(3)?;
    let mut from_due = Histogram::<u64>::new(3)?;
    let clock = Arc::new(SystemClock);
    while from_due.len() < u64::from(events) {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await.context("events are missing")??;
        let (now, clock_now) = (Instant::now(), clock.now());
        for change in message.context("the stream ended")?.changes {
            let Some(Change::Created(referral)) = change.change else { continue };
            let url = referral.target.map(|target| target.url).unwrap_or_default();
            let number = numbers.get(&url).context("an event of no write of ours")?;
            let recorded = change.recorded_at.context("an event without its time")?;
            let recorded = recorded.seconds * 1_000_000 + i64::from(recorded.nanos) / 1_000;
            let micros = u64::try_from(clock_now.micros() - recorded).unwrap_or_default();
            from_commit.record(micros * 1_000)?;
            from_due.record(u64::try_from(now.saturating_duration_since(due(*number)).as_nanos())?)?;
        }
    }
    sending.await??;
    ensure!(from_due.len() == u64::from(events), "an event came twice");
    Ok((from_commit, from_due))
}
