//! `RetentionService`.

use std::collections::BTreeMap;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, ReferralName};
use portreeve_core::principal::Role;
use portreeve_core::vocabulary::{FieldGroup, RetentionClass};
use portreeve_core::{Principal, Result, Violations};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::wire::{guard, must_say, principal, read_etag, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::retention_service_server::RetentionService;

use super::convert::write_retention_policy;
use super::{Rpc, agency_of, may_read_policy};
use crate::domain::{Command, Event, RetentionPolicy};
use crate::evidence::purge;

#[tonic::async_trait]
impl RetentionService for Rpc {
    async fn get_retention_policy(
        &self,
        request: Request<wire::GetRetentionPolicyRequest>,
    ) -> Result<Response<wire::GetRetentionPolicyResponse>, Status> {
        self.retention_policy(request).await.map(Response::new).or_status()
    }

    async fn set_retention_policy(
        &self,
        request: Request<wire::SetRetentionPolicyRequest>,
    ) -> Result<Response<wire::SetRetentionPolicyResponse>, Status> {
        self.set_retention(request).await.map(Response::new).or_status()
    }

    async fn erase_referral(
        &self,
        request: Request<wire::EraseReferralRequest>,
    ) -> Result<Response<wire::EraseReferralResponse>, Status> {
        self.erase(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn retention_policy(
        &self,
        request: Request<wire::GetRetentionPolicyRequest>,
    ) -> Result<wire::GetRetentionPolicyResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("name", of_policy(&message.name));
        let agency = violations.finish(agency)?;
        may_read_policy(&caller, &agency)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let policy = self.retention_of(&caller, &agency).await?;
        Ok(wire::GetRetentionPolicyResponse { policy: Some(policy), revisions })
    }

    async fn set_retention(
        &self,
        request: Request<wire::SetRetentionPolicyRequest>,
    ) -> Result<wire::SetRetentionPolicyResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("name", of_policy(&message.name));
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let classes = read_rules(&mut violations, &message.rules);
        let agency = violations.finish(agency)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("SetRetentionPolicy", &request_id, &message);
        let command = Command::SetRetention { agency: agency.clone(), classes, etag };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::SetRetentionPolicyResponse {
            policy: Some(self.changed_retention(&caller, &agency, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn erase(&self, request: Request<wire::EraseReferralRequest>) -> Result<wire::EraseReferralResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<ReferralName>());
        must_say(&mut violations, "reason", &message.reason);
        let name = violations.finish(name)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("EraseReferral", &request_id, &message);
        let groups = message.field_groups.iter().filter_map(|code| FieldGroup::from_code(*code)).collect();
        let command = Command::Erase { name: name.clone(), groups, reason: message.reason };
        let keys = self.parts.reads.objects_of(&[name.id]).await?;
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        // Not before it is erased in the log: what a crash leaves of the bytes, the sweep finds.
        if outcome.events.iter().any(|recorded| matches!(recorded.event, Event::EvidenceErased(_))) {
            purge(self.objects.as_ref(), &self.parts.reads, keys).await;
        }
        let referral = self.left_of(&caller, &name, &outcome).await?;
        Ok(wire::EraseReferralResponse {
            referral: Some(referral),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// The policy as a command left it, from the event alone; as it is, if there was nothing to do.
    async fn changed_retention(
        &self,
        caller: &Principal,
        agency: &str,
        outcome: &Outcome<Event>,
    ) -> Result<wire::RetentionPolicy> {
        for recorded in &outcome.events {
            if let Event::RetentionChanged(policy) = &recorded.event {
                let (updated_at, updated) = (recorded.recorded_at, recorded.position);
                return Ok(write_retention_policy(&RetentionPolicy { updated_at, updated, ..policy.clone() }));
            }
        }
        self.retention_of(caller, agency).await
    }

    async fn retention_of(&self, caller: &Principal, agency: &str) -> Result<wire::RetentionPolicy> {
        if let Some(policy) = self.parts.reads.retention_policy(caller, agency).await? {
            return Ok(write_retention_policy(&policy));
        }
        self.registered_agency(caller, agency).await?;
        Ok(write_retention_policy(&RetentionPolicy { agency: agency.to_owned(), ..RetentionPolicy::default() }))
    }
}

fn read_rules(violations: &mut Violations, rules: &[wire::RetentionRule]) -> BTreeMap<FieldGroup, RetentionClass> {
    let mut classes = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        // What the contract's rules refuse has been noted already.
        let group = FieldGroup::from_code(rule.field_group);
        let Some((group, class)) = group.zip(RetentionClass::from_code(rule.retention_class)) else { continue };
        if classes.insert(group, class).is_some() {
            violations.add(format!("rules[{index}].field_group"), "must not have a rule already");
        }
    }
    classes
}

fn of_policy(name: &str) -> Result<String, &'static str> {
    agency_of(name, "retentionPolicy").ok_or("must have the form agencies/{agency}/retentionPolicy")
}
