//! `LegalBasisService`.

use portreeve_api::referral::v1 as wire;
use portreeve_core::vocabulary::Defence;
use tonic::{Request, Response, Status};
use wire::legal_basis_service_server::LegalBasisService;

use super::Rpc;
use crate::domain::legal_basis::{CATALOGUE, Provision};

#[tonic::async_trait]
impl LegalBasisService for Rpc {
    async fn list_legal_bases(
        &self,
        _request: Request<wire::ListLegalBasesRequest>,
    ) -> Result<Response<wire::ListLegalBasesResponse>, Status> {
        Ok(Response::new(wire::ListLegalBasesResponse { legal_bases: CATALOGUE.iter().map(write_provision).collect() }))
    }
}

fn write_provision(known: &Provision) -> wire::KnownLegalBasis {
    wire::KnownLegalBasis {
        code: known.code.to_owned(),
        statute: known.statute.to_owned(),
        section: known.section.to_owned(),
        subject: known.subject.to_owned(),
        defences: known.defences.iter().copied().map(Defence::code).collect(),
    }
}
