//! What a stream of referrals shows, and to whom.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::referral::v1 as wire;
use portreeve_core::Error;
use portreeve_core::principal::Scope;
use portreeve_core::{Principal, Reason, Result};
use portreeve_runtime::watch::Feed;
use portreeve_runtime::wire::write_time;
use portreeve_storage::{LogState, StoredEvent};
use wire::referral_change::Change;

use super::convert::{write_change, write_organisation, write_referral, write_signing_profile};
use crate::domain::Event;
use crate::store::{Filter, Query, Reads};

/// The stream of one reader.
pub(super) struct ReferralFeed {
    reads: Arc<dyn Reads>,
    reader: Principal,
    scope: Scope,
    filter: Filter,
    /// Whether changes of organisations are shown: to who asks for everything there is.
    organisations: bool,
}

impl ReferralFeed {
    /// What the reader may see of what the filter selects.
    pub(super) fn new(reads: Arc<dyn Reads>, reader: Principal, filter: Filter) -> Self {
        let scope = reader.scope();
        let organisations = filter == Filter::default();
        Self { reads, reader, scope, filter, organisations }
    }
}

/// Whose a change is; who takes part is everybody's to know.
pub(super) fn agency(change: &wire::ReferralChange) -> Option<&str> {
    match change.change.as_ref()? {
        Change::Created(referral) | Change::Withdrawn(referral) | Change::Snapshot(referral) => {
            Some(referral.name.as_str())
        }
        Change::OrganisationCreated(_)
        | Change::OrganisationUpdated(_)
        | Change::OrganisationSnapshot(_)
        | Change::SigningProfileChanged(_)
        | Change::SigningProfileSnapshot(_) => None,
    }
}

/// The snapshot's keys: organisations by name, then referrals by position, then signing keys by agency. The first byte
/// tells which.
const ORGANISATION: u8 = 1;
const REFERRAL: u8 = 2;
const SIGNING: u8 = 3;

#[async_trait]
impl Feed for ReferralFeed {
    type Change = wire::ReferralChange;

    fn change(&self, event: &StoredEvent, state: &LogState) -> Result<Option<wire::ReferralChange>> {
        if !self.scope.allows(&event.agency, &event.platform) {
            return Ok(None);
        }
        let (message, of) = write_change(event, state.epoch, &self.reader)?;
        let selected = match &of {
            Event::Created(referral) | Event::Withdrawn(referral) => self.filter.selects(referral),
            // Who takes part is everybody's to know.
            Event::OrganisationCreated(_) | Event::OrganisationUpdated(_) | Event::SigningChanged(_) => {
                self.organisations
            }
        };
        Ok(selected.then_some(message))
    }

    fn whole(&self) -> bool {
        self.scope == Scope::All
    }

    async fn snapshot(&self, at: i64, after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, wire::ReferralChange)>> {
        let row = |key: Vec<u8>, position: i64, change| {
            let position = u64::try_from(position).unwrap_or_default();
            (key, wire::ReferralChange { position, change: Some(change), ..wire::ReferralChange::default() })
        };
        let mut rows = Vec::new();
        if self.organisations && after.first().is_none_or(|kind| *kind == ORGANISATION) {
            let name = std::str::from_utf8(after.get(1..).unwrap_or_default()).map_err(|_| foreign())?;
            for organisation in self.reads.organisations(&self.reader, &[], name, Some(at), limit).await? {
                let key = [&[ORGANISATION], organisation.name.to_string().as_bytes()].concat();
                rows.push(row(key, at, Change::OrganisationSnapshot(write_organisation(&organisation))));
            }
        }
        if rows.len() < limit && after.first() != Some(&SIGNING) {
            let position = match after.split_first() {
                Some((&REFERRAL, position)) => i64::from_be_bytes(position.try_into().map_err(|_| foreign())?),
                _ => 0,
            };
            let query = Query {
                filter: self.filter.clone(),
                scope: self.scope.clone(),
                after: position,
                limit: limit - rows.len(),
                unchanged_since: Some(at),
            };
            for referral in self.reads.referrals(&query).await? {
                let key = [&[REFERRAL], referral.created.to_be_bytes().as_slice()].concat();
                let (_, mut change) = row(Vec::new(), at, Change::Snapshot(write_referral(&referral)));
                change.occurred_at = Some(write_time(referral.occurred_at));
                change.recorded_at = Some(write_time(referral.recorded_at));
                rows.push((key, change));
            }
        }
        if self.organisations && rows.len() < limit {
            let agency = match after.split_first() {
                Some((&SIGNING, agency)) => std::str::from_utf8(agency).map_err(|_| foreign())?,
                _ => "",
            };
            for profile in self.reads.signing_profiles(&self.reader, agency, at, limit - rows.len()).await? {
                let key = [&[SIGNING], profile.agency.as_bytes()].concat();
                rows.push(row(key, at, Change::SigningProfileSnapshot(write_signing_profile(&profile))));
            }
        }
        Ok(rows)
    }
}

fn foreign() -> Error {
    Error::new(Reason::ResumeTokenInvalid, "the resume token is of another snapshot; begin again")
}
