//! `AddressRuleService`.

use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_core::canonical::{HostAlias, Kept, Rewrite, RuleSet, Text};
use portreeve_core::name::{OrganisationKind, OrganisationName, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::{Error, Principal, Reason, Result, Timestamp, Violations};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::wire::{guard, principal, read_etag, violations, write_time};
use portreeve_storage::Outcome;
use prost::Message as _;
use tonic::{Request, Response, Status};
use wire::address_rule_service_server::AddressRuleService;

use super::Rpc;
use crate::domain::{AddressRules, AddressSweep, Command, Event};

#[tonic::async_trait]
impl AddressRuleService for Rpc {
    async fn get_address_rules(
        &self,
        request: Request<wire::GetAddressRulesRequest>,
    ) -> Result<Response<wire::GetAddressRulesResponse>, Status> {
        self.address_rules(request).await.map(Response::new).or_status()
    }

    async fn set_address_rules(
        &self,
        request: Request<wire::SetAddressRulesRequest>,
    ) -> Result<Response<wire::SetAddressRulesResponse>, Status> {
        self.set_rules(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn address_rules(
        &self,
        request: Request<wire::GetAddressRulesRequest>,
    ) -> Result<wire::GetAddressRulesResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let platform = violations.check("name", of_rules(&message.name));
        let platform = violations.finish(platform)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let rules = self.rules_of(&caller, &platform, message.version).await?;
        Ok(wire::GetAddressRulesResponse { address_rules: Some(write_rules(&rules)), revisions })
    }

    async fn set_rules(&self, request: Request<wire::SetAddressRulesRequest>) -> Result<wire::SetAddressRulesResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let platform = violations.check("name", of_rules(&message.name));
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let text = message.rules.as_ref().map(read_text).unwrap_or_default();
        let rules = RuleSet::read(text, "rules", &mut violations);
        let (platform, rules) = violations.finish(platform.zip(rules))?;
        caller.require(Role::Operator)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("SetAddressRules", &request_id, &message);
        let command = Command::SetAddressRules { platform: platform.clone(), rules: Arc::new(rules), etag };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        let rules = match changed(&outcome) {
            Some(rules) => rules,
            // They were there already.
            None => self.rules_of(&caller, &platform, 0).await?,
        };
        Ok(wire::SetAddressRulesResponse {
            address_rules: Some(write_rules(&rules)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn rules_of(&self, caller: &Principal, platform: &str, version: u32) -> Result<AddressRules> {
        if let Some(rules) = self.parts.reads.address_rules(caller, platform, version).await? {
            return Ok(rules);
        }
        let name = OrganisationName::new(OrganisationKind::Platform, platform);
        self.registered(caller, &name.map_err(|error| Error::internal(error.to_string()))?).await?;
        if version == 0 {
            return Ok(AddressRules { platform: platform.to_owned(), ..AddressRules::default() });
        }
        let name = format!("platforms/{platform}/addressRules");
        let message = format!("{name} never had the version {version}");
        Err(Error::new(Reason::AddressRulesNotFound, message).with("name", name).with("version", version))
    }
}

/// The rules as the command left them, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<AddressRules> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::AddressRulesChanged(rules) => {
            let (updated_at, updated) = (recorded.recorded_at, recorded.position);
            Some(AddressRules { updated_at, updated, ..(**rules).clone() })
        }
        _ => None,
    })
}

fn read_text(message: &wire::AddressRuleSet) -> Text {
    let alias = |of: &wire::HostAlias| HostAlias { alias: of.alias.clone(), host: of.host.clone() };
    let kept = |of: &wire::KeptParameters| Kept { path: of.path.clone(), names: of.names.clone() };
    let rewrite = |of: &wire::AddressRewrite| Rewrite { from: of.from.clone(), to: of.to.clone() };
    Text {
        hosts: message.hosts.iter().map(alias).collect(),
        dropped: message.dropped_parameters.clone(),
        kept: message.kept_parameters.iter().map(kept).collect(),
        ignore_case: message.ignore_path_case,
        ignore_trailing_slash: message.ignore_trailing_slash,
        ignore_repeated_slashes: message.ignore_repeated_slashes,
        rewrites: message.rewrites.iter().map(rewrite).collect(),
    }
}

fn write_text(text: &Text) -> wire::AddressRuleSet {
    let alias = |of: &HostAlias| wire::HostAlias { alias: of.alias.clone(), host: of.host.clone() };
    let kept = |of: &Kept| wire::KeptParameters { path: of.path.clone(), names: of.names.clone() };
    let rewrite = |of: &Rewrite| wire::AddressRewrite { from: of.from.clone(), to: of.to.clone() };
    wire::AddressRuleSet {
        hosts: text.hosts.iter().map(alias).collect(),
        dropped_parameters: text.dropped.clone(),
        kept_parameters: text.kept.iter().map(kept).collect(),
        ignore_path_case: text.ignore_case,
        ignore_trailing_slash: text.ignore_trailing_slash,
        ignore_repeated_slashes: text.ignore_repeated_slashes,
        rewrites: text.rewrites.iter().map(rewrite).collect(),
    }
}

/// A platform's rules for the wire. Their etag is the position of the event that set them.
pub(super) fn write_rules(of: &AddressRules) -> wire::AddressRules {
    wire::AddressRules {
        name: format!("platforms/{}/addressRules", of.platform),
        version: of.version,
        base_version: of.base_version,
        rules: Some(write_text(of.rules.text())),
        update_time: (of.updated > 0).then(|| write_time(of.updated_at)),
        etag: of.updated.to_string(),
    }
}

/// Rules as they were recorded; `None` for some that this release did not write.
pub(super) fn read_rules(message: &wire::AddressRules, at: Timestamp) -> Option<AddressRules> {
    let rules = RuleSet::read(read_text(message.rules.as_ref()?), "rules", &mut Violations::new())?;
    Some(AddressRules {
        platform: of_rules(&message.name).ok()?,
        version: message.version,
        base_version: message.base_version,
        rules: Arc::new(rules),
        updated_at: at,
        updated: message.etag.parse().ok()?,
        swept: 0,
    })
}

/// A sweep for the wire.
pub(super) fn write_sweep(sweep: &AddressSweep) -> wire::AddressSweep {
    wire::AddressSweep {
        name: format!("platforms/{}/addressRules", sweep.platform),
        version: sweep.version,
        through: u64::try_from(sweep.through).unwrap_or_default(),
    }
}

/// A sweep as it was recorded.
pub(super) fn read_sweep(message: &wire::AddressSweep, at: Timestamp) -> Option<AddressSweep> {
    let platform = of_rules(&message.name).ok()?;
    Some(AddressSweep { platform, version: message.version, through: i64::try_from(message.through).ok()?, at })
}

/// Rules as the database keeps them: as the contract writes them.
pub fn encode(of: &AddressRules) -> Vec<u8> {
    write_rules(of).encode_to_vec()
}

/// The rules behind what the database keeps.
pub fn decode(body: &[u8], at: Timestamp) -> Option<AddressRules> {
    read_rules(&wire::AddressRules::decode(body).ok()?, at)
}

fn of_rules(name: &str) -> Result<String, &'static str> {
    let owner =
        name.strip_suffix("/addressRules").and_then(|owner| parse_owner(owner, OrganisationKind::Platform).ok());
    owner.map(str::to_owned).ok_or("must have the form platforms/{platform}/addressRules")
}
