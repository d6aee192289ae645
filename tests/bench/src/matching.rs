//! `CheckTargets`: a thousand targets against a million registered interests.

use std::time::Instant;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use portreeve_api::clients::{self, Acting};
use portreeve_api::common::v1::TargetKind;
use portreeve_api::referral::v1::{
    CheckTargetsRequest, InterestDraft, InterestPriority, MatchResult, MatchTarget, RegisterInterestsRequest, Target,
};
use portreeve_core::time::SystemClock;
use portreeve_core::{Clock as _, limits};
use portreeve_storage::Database;

use crate::Options;
use crate::drafts::{self, AGENCY, PLATFORMS};
use crate::server::{Suite, register_agency};
use crate::table::{Limit, Table, micros, rate};

/// The agency whose interests they are.
const HOLDER: &str = "agencies/holder";

fn target(number: usize) -> MatchTarget {
    let (platform, host) = PLATFORMS[number % PLATFORMS.len()];
    let url = format!("https://{host}/groups/{number}?utm_source=watch");
    let target = Target { kind: TargetKind::Group as i32, url, ..Target::default() };
    MatchTarget { platform: format!("platforms/{platform}"), target: Some(target) }
}

/// Measures it.
pub(crate) async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let interests = options.rows();
    let folder = options.scratch()?;
    let suite = Suite::referral(&Database::Sqlite { folder: folder.path().join("suite") }).await?;
    let channel = suite.channel().await?;
    register_agency(&channel, HOLDER).await?;
    let mut holder = clients::deconfliction(channel.clone(), Acting::new(HOLDER)?.roles(&["officer"])?);
    let expires_at = SystemClock.now().plus_micros(limits::INTEREST_MICROS_MAX / 2).to_parts();
    let expires_at = Some(prost_types::Timestamp { seconds: expires_at.0, nanos: expires_at.1 });
    let begun = Instant::now();
    for first in (0..interests).step_by(limits::BATCH_INTERESTS_MAX) {
        let draft = |number| InterestDraft {
            target: Some(target(number)),
            contact: "duty desk".to_owned(),
            priority: InterestPriority::Routine as i32,
            reference: format!("file {number}"),
            expires_at,
        };
        let last = (first + limits::BATCH_INTERESTS_MAX).min(interests);
        let request = RegisterInterestsRequest {
            parent: HOLDER.to_owned(),
            interests: (first..last).map(draft).collect(),
            request_id: drafts::request_id(1_000_000 + u64::try_from(first)?),
        };
        holder.register_interests(request).await?;
    }
    eprintln!("matching: registered {interests} interests, {:.0} a second", rate(interests, begun.elapsed()));
    let mut asker = clients::deconfliction(channel, Acting::new(AGENCY)?.member("j.doe")?.roles(&["officer"])?);
    let calls: u64 = if options.quick { 300 } else { 1_000 };
    let mut times = Histogram::<u64>::new(3)?;
    for call in 0..calls {
        // Half of them hit, at random places.
        let number = |place: u64| usize::try_from(drafts::scatter(call << 32 | place) % (2 * interests as u64));
        let numbers = (0..limits::BATCH_INTERESTS_MAX as u64).map(number).collect::<Result<Vec<_>, _>>()?;
        let targets = numbers.iter().map(|number| target(*number)).collect();
        let request = CheckTargetsRequest { parent: AGENCY.to_owned(), targets, at_least: Vec::new() };
        let begun = Instant::now();
        let reply = asker.check_targets(request).await?.into_inner();
        times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        for (number, found) in numbers.iter().zip(&reply.matches) {
            ensure!((found.result() == MatchResult::Hit) == (*number < interests), "{number} is matched wrongly");
        }
    }
    drop((holder, asker));
    suite.stop().await;
    let (middle, high) =
        (micros(times.value_at_quantile(0.5)) / 1_000.0, micros(times.value_at_quantile(0.99)) / 1_000.0);
    table.add(
        &format!("CheckTargets, 1,000 targets against {interests} interests, p99"),
        format!("p50 {middle:.1} ms, p99 {high:.1} ms"),
        high,
        " ms",
        Limit::AtMost(50.0),
    );
    Ok(())
}
