//! `SigningService`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::{OrganisationKind, OrganisationName, is_slug, parse_owner};
use portreeve_core::principal::Role;
use portreeve_core::signature::key::is_public_key;
use portreeve_core::signature::{PublicKey, Revocation};
use portreeve_core::time::DAY_MICROS;
use portreeve_core::{Error, Principal, Result, Timestamp, Violations, limits};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::wire::{guard, must_say, optional_time, principal, read_etag, told_time, violations};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::signing_service_server::SigningService;

use super::convert::write_signing_profile;
use super::{Rpc, agency_of};
use crate::domain::{Command, Event, SigningProfile};

const SECOND_MICROS: i64 = 1_000_000;

#[tonic::async_trait]
impl SigningService for Rpc {
    async fn get_signing_profile(
        &self,
        request: Request<wire::GetSigningProfileRequest>,
    ) -> Result<Response<wire::GetSigningProfileResponse>, Status> {
        self.signing_profile(request).await.map(Response::new).or_status()
    }

    async fn add_signing_key(
        &self,
        request: Request<wire::AddSigningKeyRequest>,
    ) -> Result<Response<wire::AddSigningKeyResponse>, Status> {
        self.add_key(request).await.map(Response::new).or_status()
    }

    async fn revoke_signing_key(
        &self,
        request: Request<wire::RevokeSigningKeyRequest>,
    ) -> Result<Response<wire::RevokeSigningKeyResponse>, Status> {
        self.revoke_key(request).await.map(Response::new).or_status()
    }

    async fn set_signing_policy(
        &self,
        request: Request<wire::SetSigningPolicyRequest>,
    ) -> Result<Response<wire::SetSigningPolicyResponse>, Status> {
        self.set_policy(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn signing_profile(
        &self,
        request: Request<wire::GetSigningProfileRequest>,
    ) -> Result<wire::GetSigningProfileResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("name", of_profile(&message.name));
        let agency = violations.finish(agency)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let profile = self.profile_of(&caller, &agency).await?;
        Ok(wire::GetSigningProfileResponse { profile: Some(profile), revisions })
    }

    async fn add_key(&self, request: Request<wire::AddSigningKeyRequest>) -> Result<wire::AddSigningKeyResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let agency = parse_owner(&message.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("AddSigningKey", &request_id, &message);
        let draft = message.signing_key.unwrap_or_default();
        let from_now = draft.valid_from.is_none();
        let key = read_key(&mut violations, message.kid, &draft, now);
        let (key, in_time) = violations.finish_in_time(key)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &agency)?;
        let command = Command::AddSigningKey { agency: agency.clone(), key, from_now };
        let guard = guard.map(|guard| guard.unless_too_late(in_time));
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::AddSigningKeyResponse {
            profile: Some(self.changed_profile(&caller, &agency, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn revoke_key(
        &self,
        request: Request<wire::RevokeSigningKeyRequest>,
    ) -> Result<wire::RevokeSigningKeyResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let name = violations.check("name", of_key(&message.name));
        let told = told_time(&mut violations, "revoked_at", message.revoked_at.as_ref(), now);
        must_say(&mut violations, "reason", &message.reason);
        let (agency, kid) = violations.finish(name)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("RevokeSigningKey", &request_id, &message);
        // A signature made earlier in the same second was made before.
        let at = second(told.unwrap_or(now).plus_micros(SECOND_MICROS - 1));
        let revocation = Revocation { at, reason: message.reason };
        let command = Command::RevokeSigningKey { agency: agency.clone(), kid, revocation };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::RevokeSigningKeyResponse {
            profile: Some(self.changed_profile(&caller, &agency, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn set_policy(
        &self,
        request: Request<wire::SetSigningPolicyRequest>,
    ) -> Result<wire::SetSigningPolicyResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("name", of_profile(&message.name));
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let agency = violations.finish(agency)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("SetSigningPolicy", &request_id, &message);
        let command = Command::SetSigningPolicy { agency: agency.clone(), required: message.signatures_required, etag };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::SetSigningPolicyResponse {
            profile: Some(self.changed_profile(&caller, &agency, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// The profile as a command left it, from the event alone; as it is, if there was nothing to do.
    async fn changed_profile(
        &self,
        caller: &Principal,
        agency: &str,
        outcome: &Outcome<Event>,
    ) -> Result<wire::SigningProfile> {
        for recorded in &outcome.events {
            if let Event::SigningChanged(profile) = &recorded.event {
                let (updated_at, updated) = (recorded.recorded_at, recorded.position);
                return Ok(write_signing_profile(&SigningProfile { updated_at, updated, ..profile.clone() }));
            }
        }
        self.profile_of(caller, agency).await
    }

    async fn profile_of(&self, caller: &Principal, agency: &str) -> Result<wire::SigningProfile> {
        if let Some(profile) = self.parts.reads.signing_profile(caller, agency).await? {
            return Ok(write_signing_profile(&profile));
        }
        let name = OrganisationName::new(OrganisationKind::Agency, agency)
            .map_err(|error| Error::internal(error.to_string()))?;
        self.registered(caller, &name).await?;
        Ok(write_signing_profile(&SigningProfile { agency: agency.to_owned(), ..SigningProfile::default() }))
    }
}

/// The second in which an instant lies.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(SECOND_MICROS) * SECOND_MICROS)
}

fn read_key(violations: &mut Violations, kid: String, draft: &wire::SigningKey, now: Timestamp) -> Option<PublicKey> {
    let from = match optional_time(violations, "signing_key.valid_from", draft.valid_from.as_ref()) {
        None => second(now),
        Some(from) => second(from),
    };
    let until = optional_time(violations, "signing_key.valid_until", draft.valid_until.as_ref()).map(second);
    if let Some(until) = until {
        let longest = from.plus_micros(limits::SIGNING_KEY_DAYS_MAX * DAY_MICROS);
        if until <= from && draft.valid_from.is_some() {
            violations.add("signing_key.valid_until", "must be after valid_from");
        } else if until > longest {
            let days = limits::SIGNING_KEY_DAYS_MAX;
            violations.add("signing_key.valid_until", format_args!("must be at most {days} days after valid_from"));
        } else if until <= now {
            violations.add_late("signing_key.valid_until", "must be in the future: the key would never count");
        }
    }
    // Another length than a key's has been noted already.
    let key: [u8; 32] = draft.public_key.as_ref().try_into().ok()?;
    if !is_public_key(&key) {
        violations.add("signing_key.public_key", "must be an Ed25519 public key");
    }
    Some(PublicKey { kid, key, valid_from: from, valid_until: until?, revoked: None })
}

fn of_profile(name: &str) -> Result<String, &'static str> {
    agency_of(name, "signingProfile").ok_or("must have the form agencies/{agency}/signingProfile")
}

fn of_key(name: &str) -> Result<(String, String), &'static str> {
    let read = || {
        let (agency, kid) = name.split_once("/signingKeys/")?;
        let agency = parse_owner(agency, OrganisationKind::Agency).ok()?;
        is_slug(kid).then(|| (agency.to_owned(), kid.to_owned()))
    };
    read().ok_or("must have the form agencies/{agency}/signingKeys/{kid}")
}
