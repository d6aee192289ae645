//! Clients that act for an organisation, and what servers refuse.

use std::collections::HashMap;

use portreeve_api::clients::{
    self, Acting, AddressRuleClient, AgreementClient, AuditClient, AuthorisationClient, ChallengeClient,
    ConsultationClient, DecisionClient, DeconflictionClient, DraftClient, EvidenceClient, GrantClient,
    LegalBasisClient, MeasureClient, ObservationClient, OrganisationClient, PolicyClient, PreNoticeClient,
    PublicationClient, ReferralClient, ReportingClient, RetentionClient, ReviewFlagClient, SigningClient,
};
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::referral::v1::{ReferralChange, ReferralFilter, WatchReferralsRequest};
use portreeve_api::reporting::v1::{QueryReportRequest, Report, ReportDefinition};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::sample;

/// A connection with who acts.
#[derive(Clone)]
pub struct Client {
    /// The connection.
    pub channel: Channel,
    acting: Acting,
}

impl Client {
    /// Connects when first used.
    pub fn new(url: &str, organisation: &str) -> Self {
        Self { channel: clients::endpoint(url).unwrap().connect_lazy(), acting: Acting::new(organisation).unwrap() }
    }

    /// The same connection for another organisation.
    #[must_use]
    pub fn acting(&self, organisation: &str) -> Self {
        Self { channel: self.channel.clone(), acting: Acting::new(organisation).unwrap() }
    }

    /// The same connection and organisation with these roles.
    #[must_use]
    pub fn roles(&self, roles: &[&str]) -> Self {
        Self { channel: self.channel.clone(), acting: self.acting.clone().roles(roles).unwrap() }
    }

    /// The same connection and organisation for one of its members.
    #[must_use]
    pub fn member(&self, member: &str) -> Self {
        Self { channel: self.channel.clone(), acting: self.acting.clone().member(member).unwrap() }
    }

    /// The same, saying why it reads.
    #[must_use]
    pub fn because(&self, justification: &str) -> Self {
        Self { channel: self.channel.clone(), acting: self.acting.clone().justification(justification) }
    }

    /// The same, asking under a grant.
    #[must_use]
    pub fn under(&self, grant: &str) -> Self {
        Self { channel: self.channel.clone(), acting: self.acting.clone().grant(grant).unwrap() }
    }

    /// The same, reading partners' rows for a purpose.
    #[must_use]
    pub fn purpose(&self, purpose: &str) -> Self {
        Self { channel: self.channel.clone(), acting: self.acting.clone().purpose(purpose).unwrap() }
    }

    /// `AgreementService`.
    pub fn agreements(&self) -> AgreementClient {
        clients::agreement(self.channel.clone(), self.acting.clone())
    }

    /// `ReferralService`.
    pub fn referrals(&self) -> ReferralClient {
        clients::referral(self.channel.clone(), self.acting.clone())
    }

    /// `EvidenceService`.
    pub fn evidence(&self) -> EvidenceClient {
        clients::evidence(self.channel.clone(), self.acting.clone())
    }

    /// `ObservationService`.
    pub fn observations(&self) -> ObservationClient {
        clients::observation(self.channel.clone(), self.acting.clone())
    }

    /// `PreNoticeService`.
    pub fn pre_notices(&self) -> PreNoticeClient {
        clients::pre_notice(self.channel.clone(), self.acting.clone())
    }

    /// `OrganisationService`.
    pub fn organisations(&self) -> OrganisationClient {
        clients::organisation(self.channel.clone(), self.acting.clone())
    }

    /// `MeasureService`.
    pub fn measures(&self) -> MeasureClient {
        clients::measure(self.channel.clone(), self.acting.clone())
    }

    /// `OperationService`.
    pub fn operations(&self) -> clients::OperationClient {
        clients::operation(self.channel.clone(), self.acting.clone())
    }

    /// `ReviewFlagService`.
    pub fn flags(&self) -> ReviewFlagClient {
        clients::review_flag(self.channel.clone(), self.acting.clone())
    }

    /// `DeconflictionService`.
    pub fn deconfliction(&self) -> DeconflictionClient {
        clients::deconfliction(self.channel.clone(), self.acting.clone())
    }

    /// `DraftService`.
    pub fn drafts(&self) -> DraftClient {
        clients::draft(self.channel.clone(), self.acting.clone())
    }

    /// `AuthorisationService`.
    pub fn authorisation(&self) -> AuthorisationClient {
        clients::authorisation(self.channel.clone(), self.acting.clone())
    }

    /// `AddressRuleService`.
    pub fn address_rules(&self) -> AddressRuleClient {
        clients::address_rule(self.channel.clone(), self.acting.clone())
    }

    /// `LegalBasisService`.
    pub fn legal_bases(&self) -> LegalBasisClient {
        clients::legal_basis(self.channel.clone(), self.acting.clone())
    }

    /// `SigningService`.
    pub fn signing(&self) -> SigningClient {
        clients::signing(self.channel.clone(), self.acting.clone())
    }

    /// `RetentionService`.
    pub fn retention(&self) -> RetentionClient {
        clients::retention(self.channel.clone(), self.acting.clone())
    }

    /// What a watch of referrals shows before it has caught up, or its snapshot is complete.
    pub async fn changes(&self, parent: &str, start: Start, filter: Option<ReferralFilter>) -> Vec<ReferralChange> {
        let start = Some(sample::start(start));
        let request = WatchReferralsRequest { parent: parent.to_owned(), start, filter, at_least: Vec::new() };
        let mut stream = self.referrals().watch_referrals(request).await.unwrap().into_inner();
        let mut changes = Vec::new();
        loop {
            let message = stream.message().await.unwrap().unwrap();
            changes.extend(message.changes);
            if message.checkpoint || message.snapshot_complete {
                return changes;
            }
        }
    }

    /// `DecisionService`.
    pub fn decisions(&self) -> DecisionClient {
        clients::decision(self.channel.clone(), self.acting.clone())
    }

    /// `ChallengeService`.
    pub fn challenges(&self) -> ChallengeClient {
        clients::challenge(self.channel.clone(), self.acting.clone())
    }

    /// `StayService`.
    pub fn stays(&self) -> clients::StayClient {
        clients::stay(self.channel.clone(), self.acting.clone())
    }

    /// `InboxService`.
    pub fn inbox(&self) -> clients::InboxClient {
        clients::inbox(self.channel.clone(), self.acting.clone())
    }

    /// `ClockService`.
    pub fn clocks(&self) -> clients::ClockClient {
        clients::clock(self.channel.clone(), self.acting.clone())
    }

    /// `PolicyService`.
    pub fn policies(&self) -> PolicyClient {
        clients::policy(self.channel.clone(), self.acting.clone())
    }

    /// `AuditService`.
    pub fn audits(&self) -> AuditClient {
        clients::audit(self.channel.clone(), self.acting.clone())
    }

    /// `ConsultationService`.
    pub fn consultations(&self) -> ConsultationClient {
        clients::consultation(self.channel.clone(), self.acting.clone())
    }

    /// `GrantService`.
    pub fn grants(&self) -> GrantClient {
        clients::grants(self.channel.clone(), self.acting.clone())
    }

    /// `PublicationService`.
    pub fn publications(&self) -> PublicationClient {
        clients::publications(self.channel.clone(), self.acting.clone())
    }

    /// `ReportingService`.
    pub fn reports(&self) -> ReportingClient {
        clients::reporting(self.channel.clone(), self.acting.clone())
    }

    /// A report that reflects the revisions.
    pub async fn report(&self, definition: ReportDefinition, at_least: &[String]) -> Result<Report, Status> {
        let request = QueryReportRequest { definition: Some(definition), at_least: at_least.to_vec() };
        Ok(self.reports().query_report(request).await?.into_inner().report.unwrap())
    }
}

/// A refusal as a program reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The gRPC code.
    pub code: Code,
    /// The reason of its `ErrorInfo`.
    pub reason: String,
    /// The metadata of its `ErrorInfo`.
    pub metadata: HashMap<String, String>,
    /// The field paths of its `BadRequest`, in order.
    pub fields: Vec<String>,
}

/// Reads a refusal. Whatever a server says no to, it says why: a status without a reason fails the test.
pub fn refusal(status: &Status) -> Refused {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("a status without a reason: {status:?}"));
    assert_eq!(info.domain, "portreeve", "{status:?}");
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    Refused {
        code: status.code(),
        reason: info.reason.clone(),
        metadata: info.metadata.clone(),
        fields: violations.iter().map(|violation| violation.field.clone()).collect(),
    }
}
