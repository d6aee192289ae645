//! `portreeve health`: whether a server serves, for whatever starts and restarts it.

use std::time::Duration;

use clap::Args;
use portreeve_runtime::identity::client::ClientTls;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::connection::{Secured, addresses, connect};
use super::failure::{Failure, Result};

/// How long a server may take to answer. One that is too busy for this is not well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ask whether a server serves
///
/// Ends with 0 when it does, 1 when it says that it does not, 3 when there is no answer.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve health --server http://127.0.0.1:7400")]
pub(crate) struct Health {
    /// Where the server listens; for services apart, referral=URL,decision=URL,reporting=URL
    #[arg(long, env = "PORTREEVE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:7400")]
    server: String,
    #[command(flatten)]
    secured: Secured,
}

impl Health {
    pub(crate) async fn run(&self) -> Result<()> {
        let mut servers =
            addresses(&self.server).map_err(|error| Failure::Usage(format!("--server: {error}")))?.to_vec();
        servers.dedup();
        let tls = self.secured.tls()?;
        for server in servers {
            let silent =
                |_| Failure::Unreachable { server: server.to_owned(), cause: "it does not answer in time".to_owned() };
            let status = tokio::time::timeout(PATIENCE, ask(server, tls.as_ref())).await.map_err(silent)??.status();
            if status != ServingStatus::Serving {
                return Err(Failure::Failed(format!("{server} does not serve")));
            }
            say!("{server} serves")?;
        }
        Ok(())
    }
}

async fn ask(server: &str, tls: Option<&ClientTls>) -> Result<HealthCheckResponse> {
    let mut health = HealthClient::new(connect(server, tls).await?);
    let answer = health.check(HealthCheckRequest::default()).await;
    Ok(answer.map_err(|status| Failure::call(server, status))?.into_inner())
}
