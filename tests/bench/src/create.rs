//! `CreateReferral` against a bare echo of the same messages, by the same client.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use portreeve_api::clients::ReferralClient;
use portreeve_storage::Database;
use tonic::transport::Channel;

use crate::Options;
use crate::drafts::Drafts;
use crate::server::{Echo, Suite, agency};
use crate::table::{Limit, Table, median, micros, processor, rate, ratio};

/// Calls under way at once.
const IN_FLIGHT: usize = 256;
/// Connections that they share.
const CONNECTIONS: usize = 4;
/// Bytes of the bare append.
const APPEND: [u8; 4096] = [0x5a; 4096];

/// Both servers, with a channel to each.
struct Sides {
    suite: Suite,
    echo: Echo,
    ours: Vec<Channel>,
    theirs: Vec<Channel>,
    drafts: Arc<Drafts>,
}

impl Sides {
    async fn start(folder: &Path) -> Result<Self> {
        let suite = Suite::referral(&Database::Sqlite { folder: folder.join("suite") }).await?;
        let drafts = Arc::new(Drafts::varied());
        // The echo answers with a reply of ours, so that both send the same bytes both ways.
        let reply = agency(suite.channel().await?)?.create_referral(drafts.create()).await?.into_inner();
        let echo = Echo::start(reply).await?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            ours.push(suite.channel().await?);
            theirs.push(echo.channel().await?);
        }
        Ok(Self { suite, echo, ours, theirs, drafts })
    }

    async fn stop(self) {
        drop((self.ours, self.theirs, self.echo));
        self.suite.stop().await;
    }
}

/// The throughput with many calls in flight.
pub(crate) async fn in_flight(options: &Options, table: &mut Table) -> Result<()> {
    let folder = options.scratch()?;
    let sides = Sides::start(folder.path()).await?;
    let time = Duration::from_millis(if options.quick { 1_500 } else { 4_000 });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let warm = Duration::from_millis(500);
    load(&sides.theirs, &sides.drafts, warm).await?;
    load(&sides.ours, &sides.drafts, warm).await?;
    for _ in 0..options.rounds() {
        theirs.push(load(&sides.theirs, &sides.drafts, time).await?);
        ours.push(load(&sides.ours, &sides.drafts, time).await?);
    }
    sides.stop().await;
    table.add(
        "CreateReferral, durable, 256 in flight, SQLite : bare echo",
        format!("{:.0}/s : {:.0}/s", median(&ours), median(&theirs)),
        ratio(&ours, &theirs),
        "",
        Limit::AtLeast(0.35),
    );
    Ok(())
}

/// Calls a second over a while, each caller sending its next call when the last was answered.
async fn load(channels: &[Channel], drafts: &Arc<Drafts>, time: Duration) -> Result<f64> {
    let (begun, used) = (Instant::now(), processor());
    let mut callers = tokio::task::JoinSet::new();
    for channel in channels.iter().cycle().take(IN_FLIGHT) {
        let mut client = agency(channel.clone())?;
        let drafts = Arc::clone(drafts);
        callers.spawn(async move {
            let mut answered = 0;
            while begun.elapsed() < time {
                client.create_referral(drafts.create()).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0_usize;
    while let Some(caller) = callers.join_next().await {
        answered += caller??;
    }
    let calls = rate(answered, begun.elapsed());
    let each = (processor() - used) / begun.elapsed().as_secs_f64() / calls;
    eprintln!("create: {calls:.0} calls/s, {each:.0} us of processor time each, client and server");
    Ok(calls)
}

/// The latency of one call at a time.
pub(crate) async fn alone(options: &Options, table: &mut Table) -> Result<()> {
    let folder = options.scratch()?;
    let sides = Sides::start(folder.path()).await?;
    let (Some(ours), Some(theirs)) = (sides.ours.first(), sides.theirs.first()) else { return Ok(()) };
    let (mut ours, mut theirs) = (agency(ours.clone())?, agency(theirs.clone())?);
    let calls = if options.quick { 1_000 } else { 4_000 };
    one_by_one(&mut ours, &sides.drafts, calls / 4).await?;
    one_by_one(&mut theirs, &sides.drafts, calls / 4).await?;
    let (mut created, mut echoed, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        echoed.push(one_by_one(&mut theirs, &sides.drafts, calls).await?);
        synced.push(sync(folder.path(), calls)?);
        created.push(one_by_one(&mut ours, &sides.drafts, calls).await?);
    }
    drop((ours, theirs));
    sides.stop().await;
    let bare = echoed.iter().zip(&synced).map(|(echoed, synced)| echoed + synced).collect::<Vec<_>>();
    table.add(
        "CreateReferral, 1 in flight, p50 : bare echo + fdatasync of 4 KiB",
        format!("{:.0} us : {:.0} us + {:.0} us", median(&created), median(&echoed), median(&synced)),
        ratio(&created, &bare),
        "",
        Limit::AtMost(2.5),
    );
    Ok(())
}

/// The median time of a call, in microseconds.
async fn one_by_one(client: &mut ReferralClient, drafts: &Drafts, calls: usize) -> Result<f64> {
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..calls {
        let request = drafts.create();
        let begun = Instant::now();
        client.create_referral(request).await?;
        times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    Ok(micros(times.value_at_quantile(0.5)))
}

/// The median time of an append of 4 KiB that is made durable, in microseconds.
fn sync(folder: &Path, appends: usize) -> Result<f64> {
    let mut times = Histogram::<u64>::new(3)?;
    let mut file = tempfile::tempfile_in(folder).context("cannot make a file")?;
    tokio::task::block_in_place(|| {
        for _ in 0..appends {
            let begun = Instant::now();
            file.write_all(&APPEND)?;
            file.sync_data()?;
            times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        }
        anyhow::Ok(())
    })?;
    Ok(micros(times.value_at_quantile(0.5)))
}
