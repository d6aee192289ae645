//! How a client command reaches a server, and as whom.
//!
//! To an open server the command says who acts. To a secured one it shows a certificate or sends a token, and acts as
//! whom that names.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portreeve_api::clients::{self, Acting};
use portreeve_api::referral::v1::Purpose;
use portreeve_core::id::{IdSource as _, RandomIds, Uuid};
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::principal::Role;
use portreeve_core::time::{Clock, SystemClock, Timestamp};
use portreeve_runtime::channel;
use portreeve_runtime::identity::client::{ClientTls, distrust};
use portreeve_runtime::identity::{tls, tokens};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use super::failure::{Failure, Result};
use super::words::{typed, words_of};
use crate::suite::Service;

/// Attempts of a call that the server asks to repeat.
const ATTEMPTS: u32 = 6;
/// Bytes that a server may send on one stream before they are read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Where the server is and who calls it: options of every client command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Where the server listens; for services apart, referral=URL,decision=URL,reporting=URL
    #[arg(long, env = "PORTREEVE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:7400")]
    pub(crate) server: String,
    /// The organisation that acts, such as agencies/nca or platforms/harbourbook
    #[arg(long = "as", env = "PORTREEVE_AS", value_name = "ORGANISATION")]
    pub(crate) acting: Option<OrganisationName>,
    /// The person in it who acts, as the organisation names them
    #[arg(long, env = "PORTREEVE_MEMBER", value_name = "NAME")]
    pub(crate) member: Option<String>,
    /// The roles to act in; without it, the ordinary ones of the organisation. `import` alone is added to those
    #[arg(long, alias = "role", env = "PORTREEVE_ROLES", value_name = "ROLE", value_delimiter = ',')]
    pub(crate) roles: Vec<String>,
    /// Why data is read, as the access log will have it
    #[arg(long, value_name = "WORDS")]
    pub(crate) justification: Option<String>,
    #[command(flatten)]
    pub(crate) secured: Secured,
    /// The bearer token that says who acts
    #[arg(long, env = "PORTREEVE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// The same for commands that read rows, which partners may share.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reading {
    /// For what partners' data is read, as an agreement allows
    #[arg(long, value_name = "PURPOSE", value_parser = words_of::<Purpose>(), ignore_case = true)]
    purpose: Option<Purpose>,
    #[command(flatten)]
    connection: Connection,
}

impl Reading {
    /// Connects, and says for what it reads.
    pub(crate) async fn open(&self) -> Result<Session> {
        let mut session = self.connection.open(None).await?;
        if let Some(purpose) = self.purpose {
            let plain = |_| Failure::Usage("--purpose must be plain ASCII text".to_owned());
            session.caller.acting = session.caller.acting.purpose(&typed(purpose)).map_err(plain)?;
        }
        Ok(session)
    }

    /// Whose rows are asked for where nobody is named: an agency that names no purpose asks for its own alone, as partners'
    /// are not to be had without.
    pub(crate) fn agencies(&self, session: &Session) -> Vec<String> {
        let own = session.organisation();
        let alone = own.kind() == OrganisationKind::Agency && self.purpose.is_none();
        alone.then(|| own.to_string()).into_iter().collect()
    }
}

/// How the way to a server at https:// is secured: options of every command that calls one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Secured {
    /// The authorities whose servers are believed, as PEM
    #[arg(long, env = "PORTREEVE_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The certificate that says who acts, as PEM
    #[arg(long, env = "PORTREEVE_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, env = "PORTREEVE_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Secured {
    /// How connections to servers are secured, if they can be.
    pub(crate) fn tls(&self) -> Result<Option<ClientTls>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let own = self.cert.as_ref().zip(self.key.as_ref());
        let read =
            |ca: &PathBuf| ClientTls::from_files(ca, own, &clock).map_err(|error| Failure::Usage(error.to_string()));
        self.tls_ca.as_ref().map(read).transpose()
    }
}

impl Connection {
    /// Connects, as the certificate or the token says, or else `--as`, or else as `otherwise`.
    pub(crate) async fn open(&self, otherwise: Option<&OrganisationName>) -> Result<Session> {
        let named = self.named()?;
        if let (Some(named), Some(acting)) = (&named, &self.acting)
            && named != acting
        {
            return Err(Failure::Usage(format!("--as {acting}: the certificate or token is of {named}")));
        }
        let acting = named.as_ref().or(self.acting.as_ref()).or(otherwise).ok_or_else(|| {
            Failure::Usage("who acts is missing: give --as (or PORTREEVE_AS), such as --as agencies/nca".to_owned())
        })?;
        let mut caller = Caller::new(acting, self.member.as_deref(), &self.roles)?;
        if let Some(justification) = &self.justification {
            caller = caller.because(justification);
        }
        if let Some(token) = &self.token {
            for server in addresses(&self.server).unwrap_or_default() {
                if !keeps_secrets(server) {
                    return Err(Failure::Usage(format!("--token: others could read it on the way to {server}")));
                }
            }
            let plain = |_| Failure::Usage("--token must be plain ASCII text".to_owned());
            caller.acting = caller.acting.token(token).map_err(plain)?;
        }
        Session::connect(&self.server, caller, self.secured.tls()?.as_ref()).await
    }

    /// The organisation that the token or the certificate names.
    fn named(&self) -> Result<Option<OrganisationName>> {
        if let Some(token) = &self.token {
            let named = tokens::claimed(token).and_then(|name| name.parse().ok());
            return named.map(Some).ok_or_else(|| Failure::Usage("--token: it names no organisation".to_owned()));
        }
        let read = |path: &PathBuf| tls::named_in(path).map_err(|error| Failure::Usage(error.to_string()));
        Ok(self.secured.cert.as_ref().map(read).transpose()?.map(|named| named.organisation().clone()))
    }
}

/// Whether nobody else can read what is sent to a server.
fn keeps_secrets(server: &str) -> bool {
    let Ok(endpoint) = clients::endpoint(server) else { return false };
    let uri = endpoint.uri();
    uri.scheme_str() == Some("https") || channel::is_loopback(uri.host().unwrap_or_default())
}

/// The roles to ask for: a role that adds to the ordinary ones would take them away if it were asked for alone.
fn asked_roles(kind: OrganisationKind, roles: &[String]) -> Vec<&str> {
    let mut asked: Vec<&str> = roles.iter().map(|role| role.trim()).filter(|role| !role.is_empty()).collect();
    if asked == ["import"] {
        let ordinary = Role::ALL.iter().filter(|(_, _, of, unasked)| *unasked && of.contains(&kind));
        asked.splice(0..0, ordinary.map(|(_, name, ..)| *name));
    }
    asked
}

/// Who acts, told to the server in every call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    organisation: OrganisationName,
    acting: Acting,
}

impl Caller {
    /// An organisation, a person in it, and the roles that are asked for.
    pub(crate) fn new(organisation: &OrganisationName, member: Option<&str>, roles: &[String]) -> Result<Self> {
        let plain = |_| Failure::Usage("--member and --roles must be plain ASCII text".to_owned());
        let mut acting = Acting::new(&organisation.to_string()).map_err(plain)?;
        if let Some(member) = member.filter(|member| !member.is_empty()) {
            acting = acting.member(member).map_err(plain)?;
        }
        let roles = asked_roles(organisation.kind(), roles);
        if !roles.is_empty() {
            acting = acting.roles(&roles).map_err(plain)?;
        }
        Ok(Self { organisation: organisation.clone(), acting })
    }

    /// The same, asking under a grant.
    fn under(self, grant: &str) -> Result<Self> {
        let wrong = |_| Failure::Usage("--grant must be a grant's name: grants/UUID".to_owned());
        Ok(Self { acting: self.acting.grant(grant).map_err(wrong)?, ..self })
    }

    /// The same, saying why it reads.
    pub(crate) fn because(self, justification: &str) -> Self {
        Self { acting: self.acting.justification(justification), ..self }
    }
}

/// One organisation's connection to a server.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    servers: String,
    referral: Channel,
    decision: Channel,
    reporting: Channel,
    caller: Caller,
    tls: Option<ClientTls>,
}

/// The addresses of the referral, the decision and the reporting service: one for all, or each with its name.
pub(super) fn addresses(servers: &str) -> Result<[&str; 3], String> {
    if !servers.contains('=') {
        return Ok([servers; 3]);
    }
    let mut found = [""; 3];
    for part in servers.split(',') {
        let (name, url) = part.trim().split_once('=').ok_or_else(|| format!("{part:?} is not NAME=URL"))?;
        let place = ["referral", "decision", "reporting"].iter().position(|service| *service == name);
        let slot = place.and_then(|place| found.get_mut(place)).ok_or_else(|| format!("{name:?} is no service"))?;
        *slot = url;
    }
    if found.contains(&"") {
        Err("each of referral, decision and reporting needs its URL".to_owned())
    } else {
        Ok(found)
    }
}

/// Connects to one server.
pub(super) async fn connect(server: &str, tls: Option<&ClientTls>) -> Result<Channel> {
    let endpoint = clients::endpoint(server)
        .ok()
        .filter(|endpoint| matches!(endpoint.uri().scheme_str(), Some("http" | "https")))
        .ok_or_else(|| Failure::Usage(format!("--server {server:?} must be a URL such as http://127.0.0.1:7400")))?;
    // A stream that is not read for a while fills its own window; the connection's is many times larger, so that it can
    // never keep the answers of other calls from coming through.
    let endpoint = endpoint
        .http2_adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(16 * STREAM_WINDOW_BYTES);
    let connected = match (endpoint.uri().scheme_str(), tls) {
        (Some("https"), None) => {
            return Err(Failure::Usage(format!(
                "--server {server}: which authority is believed? Give --tls-ca (or PORTREEVE_CA)"
            )));
        }
        (Some("https"), Some(tls)) => tls.connect(&endpoint).await,
        _ => endpoint.connect().await,
    };
    connected.map_err(|error| {
        if let Some(why) = distrust(&error) {
            return Failure::Distrusted { server: server.to_owned(), why };
        }
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Failure::Unreachable { server: server.to_owned(), cause: innermost.to_string() }
    })
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $make:ident($channel:ident) -> $client:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self) -> clients::$client {
            clients::$make(self.$channel.clone(), self.caller.acting.clone())
        }
    )*};
}

impl Session {
    /// Connects to the server at a URL, or to the services each at its own.
    pub(crate) async fn connect(servers: &str, caller: Caller, tls: Option<&ClientTls>) -> Result<Self> {
        let [referral, decision, reporting] =
            addresses(servers).map_err(|error| Failure::Usage(format!("--server: {error}")))?;
        let first = connect(referral, tls).await?;
        let (second, third) = if decision == referral && reporting == referral {
            (first.clone(), first.clone())
        } else {
            (connect(decision, tls).await?, connect(reporting, tls).await?)
        };
        Ok(Self {
            servers: servers.to_owned(),
            referral: first,
            decision: second,
            reporting: third,
            caller,
            tls: tls.cloned(),
        })
    }

    /// The same, asking under a grant, if there is one.
    pub(crate) fn under(self, grant: Option<&str>) -> Result<Self> {
        match grant {
            Some(grant) => Ok(Self { caller: self.caller.under(grant)?, ..self }),
            None => Ok(self),
        }
    }

    /// The organisation that acts.
    pub(crate) const fn organisation(&self) -> &OrganisationName {
        &self.caller.organisation
    }

    /// What a call ended with, as this command's failure.
    pub(crate) fn failure(&self, status: Status) -> Failure {
        let refusal = || self.tls.as_ref().and_then(ClientTls::refusal);
        match refusal().filter(|_| status.get_error_details().error_info().is_none()) {
            Some(why) => Failure::Distrusted { server: self.servers.clone(), why },
            None => Failure::call(&self.servers, status),
        }
    }

    /// The next message of a stream that is taken up again when it breaks; fails once certificates keep it from being
    /// taken up, which no repeating cures.
    pub(crate) async fn next<M>(
        &self,
        messages: &mut (impl Stream<Item = Result<M, Status>> + Unpin),
    ) -> Result<Option<M>> {
        let distrusted = async {
            match &self.tls {
                Some(tls) => tls.distrusted().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = messages.next() => message.transpose().map_err(|status| self.failure(status)),
            why = distrusted => Err(Failure::Distrusted { server: self.servers.clone(), why }),
        }
    }

    clients! {
        /// The referral service.
        referrals: referral(referral) -> ReferralClient,
        /// Operations.
        operations: operation(referral) -> OperationClient,
        /// The measures against misuse.
        measures: measure(referral) -> MeasureClient,
        /// The evidence.
        evidence: evidence(referral) -> EvidenceClient,
        /// The pre-notices.
        pre_notices: pre_notice(referral) -> PreNoticeClient,
        /// The observations.
        observations: observation(referral) -> ObservationClient,
        /// The flags for review.
        flags: review_flag(referral) -> ReviewFlagClient,
        /// The interests and holds.
        deconfliction: deconfliction(referral) -> DeconflictionClient,
        /// The drafts.
        drafts: draft(referral) -> DraftClient,
        /// What agencies demand before they refer.
        authorisation: authorisation(referral) -> AuthorisationClient,
        /// The rules of addresses.
        address_rules: address_rule(referral) -> AddressRuleClient,
        /// The provisions.
        legal_bases: legal_basis(referral) -> LegalBasisClient,
        /// The agreements of agencies.
        agreements: agreement(referral) -> AgreementClient,
        /// The signing keys of agencies.
        signing: signing(referral) -> SigningClient,
        /// For how long referrals are kept.
        retention: retention(referral) -> RetentionClient,
        /// The organisations.
        organisations: organisation(referral) -> OrganisationClient,
        /// The decision service.
        decisions: decision(decision) -> DecisionClient,
        /// The challenges of decisions.
        challenges: challenge(decision) -> ChallengeClient,
        /// What keeps platforms from going on.
        stays: stay(decision) -> StayClient,
        /// The inboxes of platforms.
        inboxes: inbox(decision) -> InboxClient,
        /// The clocks of cases.
        clocks: clock(decision) -> ClockClient,
        /// The platforms' catalogues.
        policies: policy(decision) -> PolicyClient,
        /// The research grants.
        grants: grants(reporting) -> GrantClient,
        /// The published reports.
        publications: publications(reporting) -> PublicationClient,
        /// The reporting service.
        reports: reporting(reporting) -> ReportingClient,
    }

    fn channel(&self, service: Service) -> Channel {
        let channel = match service {
            Service::Referral => &self.referral,
            Service::Decision => &self.decision,
            Service::Reporting => &self.reporting,
        };
        channel.clone()
    }

    /// The audit service of the server that keeps a service's log.
    pub(crate) fn audits(&self, service: Service) -> clients::AuditClient {
        clients::audit(self.channel(service), self.caller.acting.clone())
    }

    /// The consultation service of the server that keeps a service's access log.
    pub(crate) fn consultations(&self, service: Service) -> clients::ConsultationClient {
        clients::consultation(self.channel(service), self.caller.acting.clone())
    }

    /// Makes a unary call, and makes it again where the server asks for that. Every write carries its request id, so
    /// that a second attempt never does a thing twice.
    pub(crate) async fn call<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut tried = 1;
        loop {
            match attempt().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if tried < ATTEMPTS => {
                    let Some(delay) = delay_of(&status) else { return Err(self.failure(status)) };
                    tokio::time::sleep(delay * tried).await;
                    tried += 1;
                }
                Err(status) => return Err(self.failure(status)),
            }
        }
    }
}

/// `call!(session, referrals, create_referral, request)`: a unary call that is repeated where the server asks for it.
macro_rules! call {
    ($session:expr, $client:ident, $method:ident, $request:expr) => {{
        let (session, request) = (&$session, $request);
        session
            .call(|| {
                let (mut client, request) = (session.$client(), request.clone());
                async move { client.$method(request).await }
            })
            .await
    }};
}
pub(crate) use call;

/// How long the server asks to wait before the same call is made again; `None` if it does not ask for that.
pub(crate) fn delay_of(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info().map(|retry| retry.retry_delay.unwrap_or(Duration::from_millis(100)))
}

/// The waits between attempts to take a stream up again: doubled up to ten seconds, and short again after progress.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Backoff {
    /// Waits before the next attempt.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(10));
    }

    /// Progress was made.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The present instant.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// The request id that was given, or a new one.
pub(crate) fn request_id(given: Option<Uuid>) -> String {
    given.unwrap_or_else(|| RandomIds.uuid(now())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_may_be_apart() {
        assert_eq!(addresses("http://a"), Ok(["http://a"; 3]));
        assert_eq!(
            addresses("decision=http://d,referral=http://r, reporting=http://p"),
            Ok(["http://r", "http://d", "http://p"])
        );
        assert!(addresses("decision=http://d").is_err() && addresses("decision=http://d,oops=x").is_err());
    }

    #[test]
    fn tokens_are_sent_where_nobody_else_reads_them() {
        for server in ["https://portreeve.example", "http://127.0.0.1:7400", "http://[::1]:7400", "http://localhost:1"]
        {
            assert!(keeps_secrets(server), "{server}");
        }
        for server in ["http://portreeve.example", "http://192.0.2.1:7400", "http://localhost.example", "", "x"] {
            assert!(!keeps_secrets(server), "{server}");
        }
    }

    #[test]
    fn the_import_role_adds_to_the_ordinary_ones() {
        let asked = |kind, roles: &[&str]| {
            asked_roles(kind, &roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>()).join(",")
        };
        assert_eq!(asked(OrganisationKind::Agency, &[]), "");
        assert_eq!(asked(OrganisationKind::Agency, &["import"]), "officer,approver,interest-holder,import");
        assert_eq!(asked(OrganisationKind::Platform, &["import"]), "reviewer,policy-editor,import");
        assert_eq!(asked(OrganisationKind::Platform, &["reviewer", "import"]), "reviewer,import");
    }
}
