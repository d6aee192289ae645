//! Clients with the limits of the contract, that say in every call who is acting.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use portreeve_api::clients::{self, Acting};
//!
//! let channel = clients::endpoint("http://127.0.0.1:8443")?.connect().await?;
//! let mut referrals = clients::referral(channel, Acting::new("agencies/nca")?.member("j.doe")?);
//! # Ok(()) }
//! ```

use std::time::Duration;

use portreeve_core::limits;
use tonic::metadata::errors::InvalidMetadataValue;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::audit::v1::audit_service_client::AuditServiceClient;
use crate::consultation::v1::consultation_service_client::ConsultationServiceClient;
use crate::decision::v1::challenge_service_client::ChallengeServiceClient;
use crate::decision::v1::clock_service_client::ClockServiceClient;
use crate::decision::v1::decision_service_client::DecisionServiceClient;
use crate::decision::v1::inbox_service_client::InboxServiceClient;
use crate::decision::v1::policy_service_client::PolicyServiceClient;
use crate::decision::v1::stay_service_client::StayServiceClient;
use crate::referral::v1::address_rule_service_client::AddressRuleServiceClient;
use crate::referral::v1::agreement_service_client::AgreementServiceClient;
use crate::referral::v1::authorisation_service_client::AuthorisationServiceClient;
use crate::referral::v1::deconfliction_service_client::DeconflictionServiceClient;
use crate::referral::v1::draft_service_client::DraftServiceClient;
use crate::referral::v1::evidence_service_client::EvidenceServiceClient;
use crate::referral::v1::legal_basis_service_client::LegalBasisServiceClient;
use crate::referral::v1::measure_service_client::MeasureServiceClient;
use crate::referral::v1::observation_service_client::ObservationServiceClient;
use crate::referral::v1::operation_service_client::OperationServiceClient;
use crate::referral::v1::organisation_service_client::OrganisationServiceClient;
use crate::referral::v1::pre_notice_service_client::PreNoticeServiceClient;
use crate::referral::v1::referral_service_client::ReferralServiceClient;
use crate::referral::v1::retention_service_client::RetentionServiceClient;
use crate::referral::v1::review_flag_service_client::ReviewFlagServiceClient;
use crate::referral::v1::signing_service_client::SigningServiceClient;
use crate::reporting::v1::grant_service_client::GrantServiceClient;
use crate::reporting::v1::publication_service_client::PublicationServiceClient;
use crate::reporting::v1::reporting_service_client::ReportingServiceClient;

/// The metadata key of the acting organisation: `agencies/nca`.
pub const ORGANISATION_KEY: &str = "portreeve-organisation";
/// The metadata key of the person or system that acts for it: `j.doe`. Optional.
pub const MEMBER_KEY: &str = "portreeve-member";
/// The metadata key of the roles that are asked for, separated by commas: `import,officer`. Optional; without it every
/// ordinary role of the kind of organisation is held.
pub const ROLES_KEY: &str = "portreeve-roles";
/// The metadata key of the grant under which researchers ask for a report: `grants/{uuid}`.
pub const GRANT_KEY: &str = "portreeve-grant";
/// The metadata key of the reason why the caller reads: 1 to 500 printable characters of ASCII. Optional unless the server
/// demands it.
pub const JUSTIFICATION_KEY: &str = "portreeve-justification";
/// The same in UTF-8.
pub const JUSTIFICATION_BIN_KEY: &str = "portreeve-justification-bin";
/// The metadata key of what a partner's data is read for, as an agreement allows: `investigation`.
pub const PURPOSE_KEY: &str = "portreeve-purpose";

/// Bytes of one message that a client takes: as many as a server sends.
pub const DECODE_BYTES_MAX: usize = limits::REPLY_BYTES_MAX;
/// Bytes of one message that a client sends: as many as a server takes.
pub const ENCODE_BYTES_MAX: usize = limits::MESSAGE_BYTES_MAX;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection is asked whether it still lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to that may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Who acts, told to the server in the metadata of every call. A secured server goes by the connection's certificate or
/// the token alone.
#[derive(Clone, Debug)]
pub struct Acting {
    organisation: MetadataValue<Ascii>,
    member: Option<MetadataValue<Ascii>>,
    roles: Option<MetadataValue<Ascii>>,
    token: Option<MetadataValue<Ascii>>,
    justification: Option<String>,
    grant: Option<MetadataValue<Ascii>>,
    purpose: Option<MetadataValue<Ascii>>,
}

impl Acting {
    /// Acts for an organisation, by its name. Fails on characters that cannot stand in a header.
    pub fn new(organisation: &str) -> Result<Self, InvalidMetadataValue> {
        Ok(Self {
            organisation: organisation.parse()?,
            member: None,
            roles: None,
            token: None,
            justification: None,
            grant: None,
            purpose: None,
        })
    }

    /// Names the person or system that acts for the organisation.
    pub fn member(mut self, member: &str) -> Result<Self, InvalidMetadataValue> {
        self.member = Some(member.parse()?);
        Ok(self)
    }

    /// Asks for these roles instead of the ordinary ones.
    pub fn roles(mut self, roles: &[&str]) -> Result<Self, InvalidMetadataValue> {
        self.roles = Some(roles.join(",").parse()?);
        Ok(self)
    }

    /// Says why the caller reads, in every call.
    #[must_use]
    pub fn justification(mut self, justification: &str) -> Self {
        self.justification = Some(justification.to_owned()).filter(|text| !text.is_empty());
        self
    }

    /// Names the grant under which researchers ask for reports, in every call.
    pub fn grant(mut self, grant: &str) -> Result<Self, InvalidMetadataValue> {
        self.grant = Some(grant.parse()?);
        Ok(self)
    }

    /// Says for what the caller reads a partner's data, in every call.
    pub fn purpose(mut self, purpose: &str) -> Result<Self, InvalidMetadataValue> {
        self.purpose = Some(purpose.parse()?);
        Ok(self)
    }

    /// Proves it with a bearer token. Only to be sent over a secured connection, or within one machine.
    pub fn token(mut self, token: &str) -> Result<Self, InvalidMetadataValue> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }
}

impl Interceptor for Acting {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(ORGANISATION_KEY, self.organisation.clone());
        if let Some(member) = &self.member {
            metadata.insert(MEMBER_KEY, member.clone());
        }
        if let Some(roles) = &self.roles {
            metadata.insert(ROLES_KEY, roles.clone());
        }
        if let Some(grant) = &self.grant {
            metadata.insert(GRANT_KEY, grant.clone());
        }
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        if let Some(purpose) = &self.purpose {
            metadata.insert(PURPOSE_KEY, purpose.clone());
        }
        if let Some(justification) = &self.justification {
            match justification.parse::<MetadataValue<Ascii>>() {
                Ok(plain) if justification.is_ascii() => _ = metadata.insert(JUSTIFICATION_KEY, plain),
                _ => {
                    _ = metadata.insert_bin(JUSTIFICATION_BIN_KEY, MetadataValue::from_bytes(justification.as_bytes()));
                }
            }
        }
        Ok(request)
    }
}

/// What one stream may hold unread.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What all streams of one connection may hold unread.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// A connection on which every call says who acts.
pub type Transport = InterceptedService<Channel, Acting>;
/// A client of the agreement service.
pub type AgreementClient = AgreementServiceClient<Transport>;
/// A client of the service of measures against misuse.
pub type MeasureClient = MeasureServiceClient<Transport>;
/// A client of the observation service.
pub type ObservationClient = ObservationServiceClient<Transport>;
/// A client of the operation service.
pub type OperationClient = OperationServiceClient<Transport>;
/// A client of the service of pre-notices.
pub type PreNoticeClient = PreNoticeServiceClient<Transport>;
/// A client of the organisation service.
pub type OrganisationClient = OrganisationServiceClient<Transport>;
/// A client of the referral service.
pub type ReferralClient = ReferralServiceClient<Transport>;
/// A client of the service of interests and holds.
pub type DeconflictionClient = DeconflictionServiceClient<Transport>;
/// A client of the service of drafts.
pub type DraftClient = DraftServiceClient<Transport>;
/// A client of the service of evidence.
pub type EvidenceClient = EvidenceServiceClient<Transport>;
/// A client of the service of what agencies demand before they refer.
pub type AuthorisationClient = AuthorisationServiceClient<Transport>;
/// A client of the service of rules of addresses.
pub type AddressRuleClient = AddressRuleServiceClient<Transport>;
/// A client of the service of provisions.
pub type LegalBasisClient = LegalBasisServiceClient<Transport>;
/// A client of the service of flags for review.
pub type ReviewFlagClient = ReviewFlagServiceClient<Transport>;
/// A client of the service of signing keys.
pub type SigningClient = SigningServiceClient<Transport>;
/// A client of the service of retention and erasure.
pub type RetentionClient = RetentionServiceClient<Transport>;
/// A client of the decision service.
pub type DecisionClient = DecisionServiceClient<Transport>;
/// A client of the challenge service.
pub type ChallengeClient = ChallengeServiceClient<Transport>;
/// A client of the service of stays.
pub type StayClient = StayServiceClient<Transport>;
/// A client of the service of platforms' inboxes.
pub type InboxClient = InboxServiceClient<Transport>;
/// A client of the service of clocks.
pub type ClockClient = ClockServiceClient<Transport>;
/// A client of the policy service.
pub type PolicyClient = PolicyServiceClient<Transport>;
/// A client of the audit service.
pub type AuditClient = AuditServiceClient<Transport>;
/// A client of the consultation service.
pub type ConsultationClient = ConsultationServiceClient<Transport>;
/// A client of the service of research grants.
pub type GrantClient = GrantServiceClient<Transport>;
/// A client of the service of published reports.
pub type PublicationClient = PublicationServiceClient<Transport>;
/// A client of the reporting service.
pub type ReportingClient = ReportingServiceClient<Transport>;

/// Where a server is, with the settings that suit it: connections that died are noticed, streams do not starve calls.
/// Connect it with `connect` or `connect_lazy`. Fails when the address is not a URI.
pub fn endpoint(uri: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(uri.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        // A stream that is not read for a moment must leave room on its connection for the replies to other calls.
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident: $client:ident as $alias:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(channel: Channel, acting: Acting) -> $alias {
            $client::with_interceptor(channel, acting)
                .max_decoding_message_size(DECODE_BYTES_MAX)
                .max_encoding_message_size(ENCODE_BYTES_MAX)
        }
    )*};
}

constructors! {
    /// A client of the agreement service.
    agreement: AgreementServiceClient as AgreementClient;
    /// A client of the service of measures against misuse.
    measure: MeasureServiceClient as MeasureClient;
    /// A client of the observation service.
    observation: ObservationServiceClient as ObservationClient;
    /// A client of the operation service.
    operation: OperationServiceClient as OperationClient;
    /// A client of the service of pre-notices.
    pre_notice: PreNoticeServiceClient as PreNoticeClient;
    /// A client of the organisation service.
    organisation: OrganisationServiceClient as OrganisationClient;
    /// A client of the referral service.
    referral: ReferralServiceClient as ReferralClient;
    /// A client of the service of interests and holds.
    deconfliction: DeconflictionServiceClient as DeconflictionClient;
    /// A client of the service of drafts.
    draft: DraftServiceClient as DraftClient;
    /// A client of the service of evidence.
    evidence: EvidenceServiceClient as EvidenceClient;
    /// A client of the service of what agencies demand before they refer.
    authorisation: AuthorisationServiceClient as AuthorisationClient;
    /// A client of the service of rules of addresses.
    address_rule: AddressRuleServiceClient as AddressRuleClient;
    /// A client of the service of provisions.
    legal_basis: LegalBasisServiceClient as LegalBasisClient;
    /// A client of the service of flags for review.
    review_flag: ReviewFlagServiceClient as ReviewFlagClient;
    /// A client of the service of signing keys.
    signing: SigningServiceClient as SigningClient;
    /// A client of the service of retention and erasure.
    retention: RetentionServiceClient as RetentionClient;
    /// A client of the decision service.
    decision: DecisionServiceClient as DecisionClient;
    /// A client of the challenge service.
    challenge: ChallengeServiceClient as ChallengeClient;
    /// A client of the service of stays.
    stay: StayServiceClient as StayClient;
    /// A client of the service of platforms' inboxes.
    inbox: InboxServiceClient as InboxClient;
    /// A client of the service of clocks.
    clock: ClockServiceClient as ClockClient;
    /// A client of the policy service.
    policy: PolicyServiceClient as PolicyClient;
    /// A client of the audit service.
    audit: AuditServiceClient as AuditClient;
    /// A client of the consultation service.
    consultation: ConsultationServiceClient as ConsultationClient;
    /// A client of the service of research grants.
    grants: GrantServiceClient as GrantClient;
    /// A client of the service of published reports.
    publications: PublicationServiceClient as PublicationClient;
    /// A client of the reporting service.
    reporting: ReportingServiceClient as ReportingClient;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_says_who_acts() {
        let mut acting =
            Acting::new("agencies/nca").unwrap().member("j.doe").unwrap().roles(&["import", "officer"]).unwrap();
        acting = acting.purpose("investigation").unwrap();
        let request = acting.call(Request::new(())).unwrap();
        let metadata = request.metadata();
        assert_eq!(metadata.get(ORGANISATION_KEY).unwrap(), "agencies/nca");
        assert_eq!(metadata.get(MEMBER_KEY).unwrap(), "j.doe");
        assert_eq!(metadata.get(ROLES_KEY).unwrap(), "import,officer");
        assert_eq!(metadata.get(PURPOSE_KEY).unwrap(), "investigation");

        let mut researcher = Acting::new("researchers/lab").unwrap().grant("grants/x").unwrap();
        assert_eq!(researcher.call(Request::new(())).unwrap().metadata().get(GRANT_KEY).unwrap(), "grants/x");

        let request = Acting::new("platforms/chirrup").unwrap().call(Request::new(())).unwrap();
        assert_eq!(request.metadata().len(), 1);
        let mut plain = Acting::new("agencies/nca").unwrap().justification("Operation Heron, line 7");
        let request = plain.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get(JUSTIFICATION_KEY).unwrap(), "Operation Heron, line 7");
        let mut beyond = Acting::new("agencies/bka").unwrap().justification("für die Ermittlung 7");
        let request = beyond.call(Request::new(())).unwrap();
        let sent = request.metadata().get_bin(JUSTIFICATION_BIN_KEY).unwrap().to_bytes().unwrap();
        assert_eq!(sent, "für die Ermittlung 7");
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused() {
        assert!(Acting::new("agencies/nca\r\nportreeve-roles: operator").is_err());
        assert!(Acting::new("agencies/nca").unwrap().member("\u{7}").is_err());
        assert!(endpoint("not a uri").is_err());
    }
}
