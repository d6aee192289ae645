//! The logs that the service follows: what agencies refer, and what becomes of it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use portreeve_api::clients::{self, Acting};
use portreeve_api::common::v1::WatchStart;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_core::{Error, Result};
use portreeve_runtime::follow::Upstream;
use portreeve_runtime::status::status;
use portreeve_runtime::watch::filter_hash;
use portreeve_storage::EventLog;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::convert::{read_case_changes, read_referral_changes};
use crate::domain::{Command, Ledger, Source};

/// As whom the service follows.
const ACTING: &str = "services/reporting";
const ALL_AGENCIES: &str = "agencies/-";
const ALL_PLATFORMS: &str = "platforms/-";

fn acting() -> Result<Acting, Status> {
    Acting::new(ACTING).map_err(|error| status(&Error::internal(error.to_string())))
}

fn revisions(progress: Option<&portreeve_api::common::v1::Progress>) -> &[String] {
    progress.map(|progress| progress.revisions.as_slice()).unwrap_or_default()
}

/// The referral log.
pub struct Referrals {
    channel: Channel,
}

impl Referrals {
    /// Follows over a channel to the referral service.
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
    }
}

#[async_trait]
impl Upstream for Referrals {
    type Ledger = Ledger;
    type Message = referral::WatchReferralsResponse;
    type Messages = Streaming<referral::WatchReferralsResponse>;

    fn source(&self) -> &'static str {
        Source::Referral.name()
    }

    fn filter(&self) -> u64 {
        filter_hash("WatchReferrals", ALL_AGENCIES, &referral::ReferralFilter::default())
    }

    async fn open(&self, start: WatchStart) -> Result<Self::Messages, Status> {
        let request = referral::WatchReferralsRequest {
            parent: ALL_AGENCIES.to_owned(),
            start: Some(start),
            ..referral::WatchReferralsRequest::default()
        };
        let mut client = clients::referral(self.channel.clone(), acting()?);
        client.watch_referrals(request).await.map(tonic::Response::into_inner)
    }

    fn place<'m>(&self, message: &'m Self::Message) -> (&'m str, &'m [String]) {
        (&message.resume_token, revisions(message.progress.as_ref()))
    }

    fn command(&self, message: Self::Message) -> Result<Command> {
        read_referral_changes(&message.changes)
    }
}

/// The decision log.
pub struct Cases {
    channel: Channel,
    log: Arc<dyn EventLog>,
}

impl Cases {
    /// Follows over a channel to the decision service. `log` is the service's own, which tells how far the referral log
    /// was followed.
    pub fn new(channel: Channel, log: Arc<dyn EventLog>) -> Self {
        Self { channel, log }
    }
}

#[async_trait]
impl Upstream for Cases {
    type Ledger = Ledger;
    type Message = decision::WatchCasesResponse;
    type Messages = BoxStream<'static, Result<decision::WatchCasesResponse, Status>>;

    fn source(&self) -> &'static str {
        Source::Decision.name()
    }

    fn filter(&self) -> u64 {
        filter_hash("WatchCases", ALL_PLATFORMS, &decision::CaseFilter::default())
    }

    async fn open(&self, start: WatchStart) -> Result<Self::Messages, Status> {
        let request = decision::WatchCasesRequest {
            parent: ALL_PLATFORMS.to_owned(),
            start: Some(start),
            ..decision::WatchCasesRequest::default()
        };
        let mut client = clients::decision(self.channel.clone(), acting()?);
        let messages = client.watch_cases(request).await?.into_inner();
        let log = Arc::clone(&self.log);
        Ok(messages
            .and_then(move |message| {
                let log = Arc::clone(&log);
                async move {
                    referrals_first(log.as_ref(), &message).await.map_err(|error| status(&error))?;
                    Ok(message)
                }
            })
            .boxed())
    }

    fn place<'m>(&self, message: &'m Self::Message) -> (&'m str, &'m [String]) {
        (&message.resume_token, revisions(message.progress.as_ref()))
    }

    fn command(&self, message: Self::Message) -> Result<Command> {
        read_case_changes(&message.changes)
    }
}

/// Waits until the referrals on which the message rests were counted: nothing is taken out of a cell before it was put
/// in, so that no report between the two tells of fewer than none.
async fn referrals_first(log: &dyn EventLog, message: &decision::WatchCasesResponse) -> Result<()> {
    let needed = message.changes.iter().map(|change| change.referral_position).max().unwrap_or_default();
    let mut changed = log.changed();
    loop {
        changed.borrow_and_update();
        let (_, followed) = log.standing().await?;
        let own = followed.iter().find(|revision| revision.log == Source::Referral.name());
        let reached = own.and_then(|revision| u64::try_from(revision.position).ok()).unwrap_or_default();
        if reached >= needed {
            return Ok(());
        }
        changed.changed().await.map_err(|_| Error::internal("the log is gone"))?;
    }
}
