//! Links of referrals, and `LinkReferrals`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, ReferralName, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::vocabulary::LinkKind;
use portreeve_core::{Result, Violations};
use portreeve_runtime::wire::{guard, principal, violations};
use prost::Message as _;
use tonic::Request;

use super::Rpc;
use crate::domain::{Command, Link};

impl Rpc {
    pub(super) async fn link(
        &self,
        request: Request<wire::LinkReferralsRequest>,
    ) -> Result<wire::LinkReferralsResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<ReferralName>());
        let others = message.same_network.iter().enumerate().map(|(index, other)| {
            let other = other.parse::<ReferralName>().ok()?;
            if name.as_ref() == Some(&other) {
                violations.add(format!("same_network[{index}]"), "must be another referral");
            }
            if name.as_ref().is_some_and(|name| name.agency != other.agency) {
                violations.add(format!("same_network[{index}]"), "must be a referral of the agency itself");
            }
            Some(other)
        });
        // What is no name at all was refused by the contract's rules.
        let others = others.collect::<Option<Vec<_>>>();
        let (name, others) = violations.finish(name.zip(others))?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("LinkReferrals", &request_id, &message);
        let outcome = self.submit(&caller, guard, Some(Command::Link { name: name.clone(), others })).await?;
        let referral = self.left_of(&caller, &name, &outcome).await?;
        Ok(wire::LinkReferralsResponse {
            referral: Some(referral),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }
}

/// Reads the links of a draft. Wrong ones are noted under `path`; the contract's own rules have been checked already.
pub(super) fn read_links(
    violations: &mut Violations,
    path: &str,
    agency: &str,
    links: &[wire::ReferralLink],
) -> Option<Vec<Link>> {
    let read = links.iter().map(|link| {
        let (kind, referral) = (LinkKind::from_code(link.kind)?, link.referral.parse().ok()?);
        Some(Link { kind, referral, platform: String::new() })
    });
    let read = read.collect::<Vec<_>>();
    for (index, link) in read.iter().enumerate() {
        let Some(link) = link else { continue };
        if link.kind == LinkKind::SameTarget {
            violations.add(
                format!("{path}[{index}].kind"),
                "must not be SAME_TARGET: the ledger itself says so of operations",
            );
        }
        if link.referral.agency != agency {
            violations.add(format!("{path}[{index}].referral"), "must be a referral of the agency itself");
        }
        if read[..index].iter().flatten().any(|before| before == link) {
            violations.add(format!("{path}[{index}]"), "must be given once");
        }
    }
    read.into_iter().collect()
}

/// Links for the wire.
pub(super) fn write_links(links: &[Link]) -> Vec<wire::ReferralLink> {
    let write = |link: &Link| wire::ReferralLink {
        kind: link.kind.code(),
        referral: link.referral.to_string(),
        platform: if link.platform.is_empty() { String::new() } else { format!("platforms/{}", link.platform) },
    };
    links.iter().map(write).collect()
}

/// Links as they were recorded; `None` for some that this release did not write.
pub(super) fn read_recorded(links: &[wire::ReferralLink]) -> Option<Vec<Link>> {
    let read = |link: &wire::ReferralLink| {
        let platform = match link.platform.as_str() {
            "" => "",
            name => parse_owner(name, OrganisationKind::Platform).ok()?,
        };
        let (kind, referral) = (LinkKind::from_code(link.kind)?, link.referral.parse().ok()?);
        Some(Link { kind, referral, platform: platform.to_owned() })
    };
    links.iter().map(read).collect()
}

/// Links as the database keeps them: as the contract writes them; empty for none.
pub fn encode(links: &[Link]) -> Vec<u8> {
    wire::Referral { links: write_links(links), ..wire::Referral::default() }.encode_to_vec()
}

/// The links behind what the database keeps.
pub fn decode(bytes: &[u8]) -> Option<Vec<Link>> {
    read_recorded(&wire::Referral::decode(bytes).ok()?.links)
}
