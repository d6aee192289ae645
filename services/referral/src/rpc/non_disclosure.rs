//! `ExtendNonDisclosure` and `LiftNonDisclosure`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, ReferralName};
use portreeve_core::principal::Role;
use portreeve_core::{Principal, Result};
use portreeve_runtime::wire::{guard, must_say, optional_time, principal, violations};
use portreeve_storage::{Guard, Outcome};
use tonic::Request;

use super::Rpc;
use crate::domain::non_disclosure::Change;
use crate::domain::{Command, Event};

impl Rpc {
    pub(super) async fn extend_non_disclosure(
        &self,
        request: Request<wire::ExtendNonDisclosureRequest>,
    ) -> Result<wire::ExtendNonDisclosureResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        // A wrong name has been noted by the contract's rules, which say the same.
        let name = message.name.parse::<ReferralName>().ok();
        must_say(&mut violations, "reason", &message.reason);
        let until = optional_time(&mut violations, "until", message.until.as_ref());
        let (name, until) = violations.finish(name.zip(until))?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("ExtendNonDisclosure", &request_id, &message);
        let (outcome, referral) =
            self.change_non_disclosure(&caller, guard, name, Change::Extend { until }, message.reason).await?;
        Ok(wire::ExtendNonDisclosureResponse {
            referral: Some(referral),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    pub(super) async fn lift_non_disclosure(
        &self,
        request: Request<wire::LiftNonDisclosureRequest>,
    ) -> Result<wire::LiftNonDisclosureResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        // A wrong name has been noted by the contract's rules, which say the same.
        let name = message.name.parse::<ReferralName>().ok();
        must_say(&mut violations, "reason", &message.reason);
        let name = violations.finish(name)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("LiftNonDisclosure", &request_id, &message);
        let (outcome, referral) =
            self.change_non_disclosure(&caller, guard, name, Change::Lift, message.reason).await?;
        Ok(wire::LiftNonDisclosureResponse {
            referral: Some(referral),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn change_non_disclosure(
        &self,
        caller: &Principal,
        guard: Option<Guard>,
        name: ReferralName,
        change: Change,
        reason: String,
    ) -> Result<(Outcome<Event>, wire::Referral)> {
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let command = Command::ChangeNonDisclosure { name: name.clone(), change, reason };
        let outcome = self.submit(caller, guard, Some(command)).await?;
        let referral = self.left_of(caller, &name, &outcome).await?;
        Ok((outcome, referral))
    }
}
