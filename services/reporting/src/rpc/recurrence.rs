//! `QueryRecurrence`: the networks of an agency.

use std::cmp::Reverse;

use portreeve_api::common::v1::Progress;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::name::{OrganisationKind, OrganisationName, parse_owner};
use portreeve_core::token::Page;
use portreeve_core::{Error, Reason, Result, Uuid, limits};
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{page_size, violations};
use tonic::Request;

use super::convert::read_date;
use super::{Rpc, knowledge, revisions};
use crate::domain::{Network, Recurrence, Returns, networks_seen, recurrence};

impl Rpc {
    pub(super) async fn recurrence(
        &self,
        request: Request<wire::QueryRecurrenceRequest>,
    ) -> Result<wire::QueryRecurrenceResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let as_of = read_date(&mut violations, "as_of_date", &message.as_of_date);
        let asked = read_date(&mut violations, "known_at_date", &message.known_at_date);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).ok();
        let (agency, as_of) = violations.finish(agency.zip(as_of))?;
        let caller = asking.caller().clone();
        networks_seen(&caller, agency)?;
        let content = wire::QueryRecurrenceRequest {
            page_size: 0,
            page_token: String::new(),
            at_least: Vec::new(),
            ..message.clone()
        };
        let query = filter_hash("QueryRecurrence", &caller.organisation().to_string(), &content);
        let after = Page::decode(&message.page_token, query)?.map(|key| read_place(&key)).transpose()?;
        self.caught_up(&message.at_least).await?;

        let selected = self.parts.reads.trails(&caller, agency, limits::RECURRENCE_REFERRALS_MAX + 1).await?;
        check_size(selected.slices.len())?;
        let today = self.clock.now().date();
        let (known_at, settled) = knowledge(&selected, asked, today);
        let Recurrence { networks, total } = recurrence(&selected.slices, as_of, Some(known_at));
        let network_count = u64::try_from(networks.len()).unwrap_or(u64::MAX);
        let limit = page_size(message.page_size);
        let mut rest = networks.into_iter().filter(|network| after.is_none_or(|after| after < place(network)));
        let page = rest.by_ref().take(limit).collect::<Vec<_>>();
        let last = page.last().filter(|_| rest.next().is_some());
        let reply = wire::QueryRecurrenceResponse {
            next_page_token: last.map(|last| Page { query, after: write_place(last) }.encode()).unwrap_or_default(),
            networks: page.iter().map(|network| write_network(agency, network)).collect(),
            network_count,
            total: Some(write_figures(&total)),
            as_of_date: as_of.to_string(),
            known_at_date: known_at.to_string(),
            settled,
            progress: Some(Progress { revisions: revisions(&selected.own, &selected.followed) }),
        };
        let owner = OrganisationName::new(OrganisationKind::Agency, agency);
        asking.figures(owner.into_iter().collect(), &digest(&content), None).await?;
        Ok(reply)
    }
}

/// By which the access log tells what was asked apart.
fn digest(content: &wire::QueryRecurrenceRequest) -> String {
    use prost::Message as _;
    use sha2::{Digest as _, Sha256};
    portreeve_core::audit::hex(&Sha256::digest(content.encode_to_vec()))
}

/// Refuses networks of more referrals than are put together at once.
fn check_size(referrals: usize) -> Result<()> {
    if referrals <= limits::RECURRENCE_REFERRALS_MAX {
        return Ok(());
    }
    let maximum = limits::RECURRENCE_REFERRALS_MAX;
    Err(Error::new(
        Reason::LimitExceeded,
        format!(
            "the agency has linked more than {maximum} referrals, which is more than are put together into networks"
        ),
    )
    .with("limit", "RECURRENCE_REFERRALS_MAX")
    .with("maximum", maximum)
    .with("actual", referrals))
}

/// The place of a network among the others.
type Place = (Reverse<u64>, Uuid);

const fn place(network: &Network) -> Place {
    (Reverse(network.returns.referrals), network.first)
}

fn write_place(network: &Network) -> Vec<u8> {
    [network.returns.referrals.to_be_bytes().as_slice(), network.first.as_bytes()].concat()
}

fn read_place(key: &[u8]) -> Result<Place> {
    let read = || {
        let (referrals, first) = key.split_first_chunk()?;
        Some((Reverse(u64::from_be_bytes(*referrals)), Uuid::from_slice(first).ok()?))
    };
    let message = "the page token does not belong to this query; start again without one";
    read().ok_or_else(|| Error::new(Reason::PageTokenInvalid, message))
}

fn write_network(agency: &str, network: &Network) -> wire::Network {
    wire::Network {
        first_referral: format!("agencies/{agency}/referrals/{}", network.first),
        first_referred_date: network.first_referred_on.to_string(),
        last_referred_date: network.last_referred_on.to_string(),
        figures: Some(write_figures(&network.returns)),
    }
}

fn write_figures(returns: &Returns) -> wire::NetworkFigures {
    let days = |days: i64| u32::try_from(days).unwrap_or_default();
    let times = &returns.times;
    wire::NetworkFigures {
        referrals: returns.referrals,
        targets: returns.targets,
        accounts: returns.accounts,
        platforms: returns.platforms,
        closed: returns.closed,
        reappeared: returns.reappeared,
        times: Some(wire::ReappearanceTimes {
            n: times.n,
            reappeared: times.happened,
            reappeared_only_median_days: times.happened_median.map(days),
            reappeared_only_p90_days: times.happened_p90.map(days),
            censored_median_days: times.censored_median.map(days),
            censored_p90_days: times.censored_p90.map(days),
        }),
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::Date;

    use super::*;

    #[test]
    fn so_many_referrals_are_put_together_and_no_more() {
        assert!(check_size(limits::RECURRENCE_REFERRALS_MAX).is_ok());
        let refused = check_size(limits::RECURRENCE_REFERRALS_MAX + 1).map_err(|error| error.reason());
        assert_eq!(refused, Err(Reason::LimitExceeded));
    }

    #[test]
    fn a_place_is_read_back() {
        let day = Date::default();
        let returns = Returns { referrals: 3, ..Returns::default() };
        let network = Network { first: Uuid::from_u128(9), first_referred_on: day, last_referred_on: day, returns };
        assert_eq!(read_place(&write_place(&network)), Ok(place(&network)));
        assert!(read_place(b"nonsense").is_err());
    }
}
