//! How the service learns of referrals: through the referral service's public stream.

use async_trait::async_trait;
use portreeve_api::clients::{self, Acting, ReferralClient};
use portreeve_api::common::v1::WatchStart;
use portreeve_api::referral::v1 as wire;
use portreeve_core::{Error, Result};
use portreeve_runtime::follow::Upstream;
use portreeve_runtime::watch::filter_hash;
pub use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::convert::{read_seen, read_told, read_told_agreement};
use crate::domain::{Command, Ledger};
use crate::store::{FOLLOWS, SERVICE};

/// Every referral of every agency: what a service of the suite may see.
const PARENT: &str = "agencies/-";

/// The referral service's stream.
pub struct Referrals(ReferralClient);

impl Referrals {
    /// The stream behind a connection to the referral service.
    pub fn new(channel: Channel) -> Result<Self> {
        let acting = Acting::new(&format!("services/{SERVICE}")).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self(clients::referral(channel, acting)))
    }
}

#[async_trait]
impl Upstream for Referrals {
    type Ledger = Ledger;
    type Message = wire::WatchReferralsResponse;
    type Messages = Streaming<wire::WatchReferralsResponse>;

    fn source(&self) -> &'static str {
        FOLLOWS
    }

    fn filter(&self) -> u64 {
        filter_hash("WatchReferrals", PARENT, &wire::ReferralFilter::default())
    }

    async fn open(&self, start: WatchStart) -> Result<Self::Messages, Status> {
        let request = wire::WatchReferralsRequest {
            parent: PARENT.to_owned(),
            start: Some(start),
            filter: None,
            at_least: Vec::new(),
        };
        self.0.clone().watch_referrals(request).await.map(tonic::Response::into_inner)
    }

    fn place<'m>(&self, message: &'m Self::Message) -> (&'m str, &'m [String]) {
        let revisions = message.progress.as_ref().map_or(&[][..], |progress| &progress.revisions);
        (&message.resume_token, revisions)
    }

    fn command(&self, message: Self::Message) -> Result<Command> {
        let told = message.changes.iter().map(read_told).collect::<Result<Vec<_>>>()?;
        let observed = message.changes.iter().map(read_seen).collect::<Result<Vec<_>>>()?;
        let agreements = message.changes.iter().map(read_told_agreement).collect::<Result<Vec<_>>>()?;
        Ok(Command::FollowReferrals {
            told: told.into_iter().flatten().collect(),
            agreements: agreements.into_iter().flatten().collect(),
            observed: observed.into_iter().flatten().collect(),
        })
    }
}
