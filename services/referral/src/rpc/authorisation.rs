//! `AuthorisationService`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::OrganisationKind;
use portreeve_core::principal::Role;
use portreeve_core::vocabulary::{Ground, Nature};
use portreeve_core::{Principal, Result, Timestamp};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::wire::{guard, principal, read_etag, read_time, violations, write_time};
use portreeve_storage::Outcome;
use prost::Message as _;
use tonic::{Request, Response, Status};
use wire::authorisation_service_server::AuthorisationService;

use super::{Rpc, agency_of, may_read_policy};
use crate::domain::{AuthorisationPolicy, Command, Demands, Event};

#[tonic::async_trait]
impl AuthorisationService for Rpc {
    async fn get_authorisation_policy(
        &self,
        request: Request<wire::GetAuthorisationPolicyRequest>,
    ) -> Result<Response<wire::GetAuthorisationPolicyResponse>, Status> {
        self.authorisation_policy(request).await.map(Response::new).or_status()
    }

    async fn set_authorisation_policy(
        &self,
        request: Request<wire::SetAuthorisationPolicyRequest>,
    ) -> Result<Response<wire::SetAuthorisationPolicyResponse>, Status> {
        self.set_authorisation(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn authorisation_policy(
        &self,
        request: Request<wire::GetAuthorisationPolicyRequest>,
    ) -> Result<wire::GetAuthorisationPolicyResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("name", of_policy(&message.name));
        let agency = violations.finish(agency)?;
        may_read_policy(&caller, &agency)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let policy = self.authorisation_of(&caller, &agency).await?;
        Ok(wire::GetAuthorisationPolicyResponse { policy: Some(policy), revisions })
    }

    async fn set_authorisation(
        &self,
        request: Request<wire::SetAuthorisationPolicyRequest>,
    ) -> Result<wire::SetAuthorisationPolicyResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("name", of_policy(&message.name));
        let etag = read_etag(&mut violations, "etag", &message.etag);
        let agency = violations.finish(agency)?;
        caller.require_as(Role::Approver, OrganisationKind::Agency, &agency)?;
        // Whoever loosens what is demanded of everybody answers for it by name.
        caller.require_named()?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("SetAuthorisationPolicy", &request_id, &message);
        let demands = Demands {
            grounds: message.grounds.iter().filter_map(|code| Ground::from_code(*code)).collect(),
            natures: message.natures.iter().filter_map(|code| Nature::from_code(*code)).collect(),
            check: message.check_demanded,
        };
        let command = Command::SetAuthorisation { agency: agency.clone(), demands, etag };
        let outcome = self.submit(&caller, guard, Some(command)).await?;
        Ok(wire::SetAuthorisationPolicyResponse {
            policy: Some(self.changed_authorisation(&caller, &agency, &outcome).await?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    /// The policy as a command left it, from the event alone; as it is, if there was nothing to do.
    async fn changed_authorisation(
        &self,
        caller: &Principal,
        agency: &str,
        outcome: &Outcome<Event>,
    ) -> Result<wire::AuthorisationPolicy> {
        for recorded in &outcome.events {
            if let Event::AuthorisationChanged(policy) = &recorded.event {
                let (updated_at, updated) = (recorded.recorded_at, recorded.position);
                return Ok(write_policy(&AuthorisationPolicy { updated_at, updated, ..(**policy).clone() }));
            }
        }
        self.authorisation_of(caller, agency).await
    }

    async fn authorisation_of(&self, caller: &Principal, agency: &str) -> Result<wire::AuthorisationPolicy> {
        if let Some(policy) = self.parts.reads.authorisation_policy(caller, agency).await? {
            return Ok(write_policy(&policy));
        }
        self.registered_agency(caller, agency).await?;
        Ok(write_policy(&AuthorisationPolicy { agency: agency.to_owned(), ..AuthorisationPolicy::default() }))
    }
}

/// A policy for the wire. Its etag is the position of its last change.
pub(super) fn write_policy(policy: &AuthorisationPolicy) -> wire::AuthorisationPolicy {
    let ground = |(ground, since): (&Ground, &Timestamp)| wire::GroundDemand {
        ground: ground.code(),
        since: Some(write_time(*since)),
    };
    let nature = |(nature, since): (&Nature, &Timestamp)| wire::NatureDemand {
        nature: nature.code(),
        since: Some(write_time(*since)),
    };
    wire::AuthorisationPolicy {
        name: format!("agencies/{}/authorisationPolicy", policy.agency),
        grounds: policy.grounds.iter().map(ground).collect(),
        natures: policy.natures.iter().map(nature).collect(),
        check_demanded_since: policy.check.map(write_time),
        update_time: (policy.updated > 0).then(|| write_time(policy.updated_at)),
        etag: policy.updated.to_string(),
    }
}

/// A policy as it was recorded; `None` for one that this release did not write.
pub(super) fn read_policy(message: &wire::AuthorisationPolicy, at: Timestamp) -> Option<AuthorisationPolicy> {
    let since = |since: &Option<prost_types::Timestamp>| read_time(since.as_ref()?).ok();
    let grounds = message.grounds.iter().map(|of| Some((Ground::from_code(of.ground)?, since(&of.since)?)));
    let natures = message.natures.iter().map(|of| Some((Nature::from_code(of.nature)?, since(&of.since)?)));
    Some(AuthorisationPolicy {
        agency: of_policy(&message.name).ok()?,
        grounds: grounds.collect::<Option<_>>()?,
        natures: natures.collect::<Option<_>>()?,
        check: match &message.check_demanded_since {
            None => None,
            some => Some(since(some)?),
        },
        updated_at: at,
        updated: message.etag.parse().ok()?,
    })
}

/// A policy as the database keeps it: as the contract writes it.
pub fn encode(policy: &AuthorisationPolicy) -> Vec<u8> {
    write_policy(policy).encode_to_vec()
}

/// The policy behind what the database keeps.
pub fn decode(body: &[u8], at: Timestamp) -> Option<AuthorisationPolicy> {
    read_policy(&wire::AuthorisationPolicy::decode(body).ok()?, at)
}

fn of_policy(name: &str) -> Result<String, &'static str> {
    agency_of(name, "authorisationPolicy").ok_or("must have the form agencies/{agency}/authorisationPolicy")
}
