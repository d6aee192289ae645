//! `QueryReport` with one referral and with many in the same cells: its cost is the cells'.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use portreeve_api::clients::{self, Acting, ReportingClient};
use portreeve_api::reporting::v1::{Dimension, QueryReportRequest, Report, ReportDefinition};
use portreeve_core::Clock as _;
use portreeve_core::time::SystemClock;
use portreeve_storage::Database;

use crate::Options;
use crate::drafts::Drafts;
use crate::import::import;
use crate::server::{Suite, agency};
use crate::table::{Limit, Table, median, micros, ratio};

/// How long the reporting service may take to catch up with an import.
const CATCH_UP: Duration = Duration::from_mins(10);

/// Measures it.
pub(crate) async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let rows = options.rows();
    let (one_folder, many_folder) = (options.scratch()?, options.scratch()?);
    let one = Suite::with_reporting(&Database::Sqlite { folder: one_folder.path().join("suite") }).await?;
    let many = Suite::with_reporting(&Database::Sqlite { folder: many_folder.path().join("suite") }).await?;
    let mut clients = Vec::new();
    for (suite, rows) in [(&one, 1), (&many, rows)] {
        let channel = suite.channel().await?;
        import(&mut agency(channel.clone())?, Drafts::alike().import(rows)).await?;
        let mut client = clients::reporting(channel, Acting::new("oversightBodies/committee")?);
        let begun = Instant::now();
        loop {
            let report = query(&mut client).await?;
            let counts = report.total.and_then(|total| total.counts).unwrap_or_default();
            if counts.referred == i64::try_from(rows)? {
                ensure!(report.rows.len() == 1, "the referrals lie in {} cells", report.rows.len());
                break;
            }
            ensure!(begun.elapsed() < CATCH_UP, "the reporting service did not catch up: {counts:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        eprintln!("report: caught up with {rows} referrals {:.1} s after their import", begun.elapsed().as_secs_f64());
        clients.push(client);
    }
    let calls = if options.quick { 300 } else { 1_000 };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds() {
        for (client, times) in clients.iter_mut().zip(&mut times) {
            times.push(median_query(client, calls).await?);
        }
    }
    drop(clients);
    one.stop().await;
    many.stop().await;
    let [one, many] = times;
    table.add(
        &format!("QueryReport with {rows} referrals : with 1, in the same cells, p50"),
        format!("{:.0} us : {:.0} us", median(&many), median(&one)),
        ratio(&many, &one),
        "",
        Limit::AtMost(1.5),
    );
    Ok(())
}

/// Microseconds of a query, in the middle.
async fn median_query(client: &mut ReportingClient, calls: usize) -> Result<f64> {
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..calls {
        let begun = Instant::now();
        query(client).await?;
        times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    Ok(micros(times.value_at_quantile(0.5)))
}

async fn query(client: &mut ReportingClient) -> Result<Report> {
    let definition = ReportDefinition {
        cohort_from_date: "2020-01-01".to_owned(),
        cohort_until_date: SystemClock.now().date().to_string(),
        as_of_date: SystemClock.now().date().to_string(),
        dimensions: vec![Dimension::Platform as i32, Dimension::Ground as i32],
        ..ReportDefinition::default()
    };
    let request = QueryReportRequest { definition: Some(definition), at_least: Vec::new() };
    client.query_report(request).await?.into_inner().report.context("an answer without its report")
}
