//! Puts the services together: all of them in one process, or one.
//!
//! The code path is the same in both: a service learns of another over gRPC, through a channel within the process or to
//! where the other one is.

use std::convert::Infallible;
use std::sync::Arc;

use clap::ValueEnum;
use portreeve_consultation::{Access, Consultations};
use portreeve_core::id::RandomIds;
use portreeve_core::time::SystemClock;
use portreeve_core::{Clock, IdSource};
use portreeve_runtime::audit::{self, Audit, Subject};
use portreeve_runtime::channel::{self, AddressError};
use portreeve_runtime::config::{Config, Part};
use portreeve_runtime::identity::{Identity, IdentityError};
use portreeve_runtime::lifecycle::Lifecycle;
use portreeve_runtime::matching;
use portreeve_runtime::server::{Builder, Running, StartError};
use portreeve_runtime::watch;
use portreeve_storage::EventLog;
use tonic::transport::Channel;

/// Why the suite, or a part of it, did not start.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The configuration names no database that there could be.
    #[error("database: {0}")]
    Database(#[source] portreeve_core::Error),
    /// The key to match targets with cannot be used.
    #[error("matching_key: {0}")]
    MatchingKey(#[source] portreeve_core::Error),
    /// There is no key to sign checkpoints with where there should be one.
    #[error("audit_key: {0}")]
    AuditKey(#[source] portreeve_core::Error),
    /// The configuration names no store that there could be.
    #[error("evidence: {0}")]
    Evidence(#[source] portreeve_core::Error),
    /// A service's data cannot be opened.
    #[error("the data of the {0} service cannot be opened: {1}")]
    Data(&'static str, #[source] portreeve_core::Error),
    /// A service cannot follow another.
    #[error("the {0} service cannot follow the others: {1}")]
    Follow(&'static str, #[source] portreeve_core::Error),
    /// The address of another service is missing or wrong.
    #[error("{0}: {1}")]
    Address(&'static str, #[source] AddressError),
    /// The certificates or keys cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server cannot listen.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Starts a part of the suite, or all of it. It lives as long as `life`: its writers commit what has queued when no call
/// is left, and only then does [`Lifecycle::run`] return.
pub async fn start(part: Part, config: &Config, life: &Lifecycle) -> Result<Running, SuiteError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
    let database = config.database().map_err(SuiteError::Database)?;
    let key = audit::key::path(config.audit_key.as_deref(), &database);
    let key = key.map(|path| audit::key::open(&path)).transpose().map_err(SuiteError::AuditKey)?;
    let (mut audit, mut consultations) = (Audit::new(key), Consultations::default());
    let justification = config.justification.into();
    let streams = watch::Settings { drain: life.soft(), clock: Arc::clone(&clock), ..watch::Settings::default() };
    let identity = Identity::load(config, &clock).await?;
    let tls = identity.as_ref().and_then(Identity::tls).and_then(|tls| tls.client());
    let mut server = Builder::new(life.clone(), Arc::clone(&clock), Arc::clone(&ids)).identity(identity);
    let to = |key, url: &Option<String>, server: &Builder| -> Result<Channel, SuiteError> {
        match url {
            _ if part == Part::Suite => Ok(server.local_channel()),
            url => channel::connect(url.as_deref().unwrap_or_default(), tls.as_ref())
                .map_err(|error| SuiteError::Address(key, error)),
        }
    };
    if matches!(part, Part::Suite | Part::Referral) {
        let (backdating_days_max, watch) = (config.max_backdating_days, streams.clone());
        let evidence = config.evidence().map_err(SuiteError::Evidence)?;
        let key = matching::path(config.matching_key.as_deref(), &database);
        let matching_key = key.map(|path| matching::open(&path)).transpose().map_err(SuiteError::MatchingKey)?;
        let settings = portreeve_referral::Settings {
            backdating_days_max,
            watch,
            justification,
            evidence,
            matching_key,
            ..portreeve_referral::Settings::default()
        };
        let service = portreeve_referral::Service::open(&database, settings, Arc::clone(&clock), Arc::clone(&ids))
            .await
            .map_err(|error| SuiteError::Data("referral", error))?;
        service.routes(&mut server);
        keep(
            Subject::Dealings {
                graded: portreeve_referral::rpc::convert::is_graded,
                private: portreeve_referral::rpc::convert::is_private,
            },
            service.log(),
            service.access(),
            &mut audit,
            &mut consultations,
        );
        stop_when_quiet(life, "the referral writer", async move { service.stop().await });
    }
    if matches!(part, Part::Suite | Part::Decision) {
        let (backdating_days_max, watch) = (config.max_backdating_days, streams.clone());
        let settings = portreeve_decision::Settings { backdating_days_max, watch, justification, ..Default::default() };
        let service = portreeve_decision::Service::open(&database, settings, Arc::clone(&clock), Arc::clone(&ids))
            .await
            .map_err(|error| SuiteError::Data("decision", error))?;
        let referral = to("referral_url", &config.referral_url, &server)?;
        server.add(service.decisions()).add(service.policies()).add(service.challenges());
        server.add(service.stays()).add(service.clocks()).add(service.inbox());
        keep(
            Subject::Dealings { graded: portreeve_decision::rpc::convert::is_graded, private: |_| false },
            service.log(),
            service.access(),
            &mut audit,
            &mut consultations,
        );
        let (soft, quiet) = (life.soft(), life.quiet());
        life.spawn("the decision follower", async move {
            service.follow(referral, soft).await?;
            quiet.cancelled().await;
            service.stop().await;
            Ok::<_, portreeve_core::Error>(())
        });
    }
    if matches!(part, Part::Suite | Part::Reporting) {
        let settings = portreeve_reporting::Settings { watch: streams, justification };
        let service = portreeve_reporting::Service::open(&database, settings, clock, ids)
            .await
            .map_err(|error| SuiteError::Data("reporting", error))?;
        let referral = to("referral_url", &config.referral_url, &server)?;
        let decision = to("decision_url", &config.decision_url, &server)?;
        let follow =
            service.follow(referral, decision, life.soft()).map_err(|error| SuiteError::Follow("reporting", error))?;
        server.add(service.reports()).add(service.grants()).add(service.publications()).http(service.page());
        keep(Subject::Figures, service.log(), service.access(), &mut audit, &mut consultations);
        spawn(life, "the reporting follower", follow);
        stop_when_quiet(life, "the reporting writer", async move { service.stop().await });
    }
    server.add(audit.server()).add(consultations.server());
    Ok(server.start(config.listen).await?)
}

/// Lets a service's log prove itself, and its access log as well; and lets auditors read the latter.
fn keep(
    subject: Subject,
    log: &Arc<dyn EventLog>,
    access: &Arc<Access>,
    audit: &mut Audit,
    consultations: &mut Consultations,
) {
    audit.add(subject, log, Arc::clone(access) as _);
    audit.add(Subject::Readings, access.log(), Arc::clone(access) as _);
    consultations.add(Arc::clone(access));
}

fn spawn(life: &Lifecycle, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    life.spawn(name, async move {
        task.await;
        Ok::<_, Infallible>(())
    });
}

fn stop_when_quiet(life: &Lifecycle, name: &'static str, stop: impl Future<Output = ()> + Send + 'static) {
    let quiet = life.quiet();
    spawn(life, name, async move {
        quiet.cancelled().await;
        stop.await;
    });
}

/// A service of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// Organisations and referrals.
    Referral,
    /// Cases, decisions and policies.
    Decision,
    /// Reports.
    Reporting,
}

impl Service {
    /// All of them, each after those that it follows.
    pub const ALL: [Self; 3] = [Self::Referral, Self::Decision, Self::Reporting];
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Referral => "referral",
            Self::Decision => "decision",
            Self::Reporting => "reporting",
        })
    }
}

/// Opens a service's data without serving it, works on it, and closes it again.
macro_rules! with_data {
    ($service:expr, $config:expr, |$open:ident| $work:expr) => {{
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
        let database = $config.database().map_err(SuiteError::Database)?;
        match $service {
            Service::Referral => {
                let settings = portreeve_referral::Settings { sweep_every: None, ..Default::default() };
                with_data!(portreeve_referral, "referral", settings, &database, clock, ids, |$open| $work)
            }
            Service::Decision => {
                let settings = portreeve_decision::Settings { sweep_every: None, ..Default::default() };
                with_data!(portreeve_decision, "decision", settings, &database, clock, ids, |$open| $work)
            }
            Service::Reporting => {
                let settings = portreeve_reporting::Settings::default();
                with_data!(portreeve_reporting, "reporting", settings, &database, clock, ids, |$open| $work)
            }
        }
    }};
    ($krate:ident, $name:literal, $settings:expr, $database:expr, $clock:expr, $ids:expr, |$open:ident| $work:expr) => {{
        let failed = |error| SuiteError::Data($name, error);
        let $open = $krate::Service::open($database, $settings, $clock, $ids).await.map_err(failed)?;
        let done: portreeve_core::Result<_> = async { $work }.await;
        $open.stop().await;
        done.map_err(failed)
    }};
}

/// Empties a service's state tables and fills them again from its log, and those of its access log from that; gives the
/// number of the service's events. No server may run on the data.
pub async fn rebuild(service: Service, config: &Config) -> Result<i64, SuiteError> {
    with_data!(service, config, |open| {
        let events = open.reads().rebuild().await?;
        open.access().reads().rebuild().await?;
        Ok(events)
    })
}

/// Lets the streams of a service no longer start before its newest `keep` events; gives the number of events and the
/// position after which streams can start.
pub async fn compact(service: Service, config: &Config, keep: i64) -> Result<(i64, i64), SuiteError> {
    with_data!(service, config, |open| {
        let (state, _) = open.log().standing().await?;
        let floor = open.reads().compact(state.head.saturating_sub(keep).max(0)).await?;
        Ok((state.head, floor))
    })
}
