//! `portreeve observe` and `portreeve observations`: is it still there?

use clap::Args;
use portreeve_api::common::v1::TargetKind;
use portreeve_api::referral::v1::{
    ListObservationsRequest, ObservationDraft, ObservationFinding, ObservationMethod, RecordObservationRequest, Target,
};
use portreeve_core::name::ReferralName;
use prost_types::Timestamp;

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, shown, when, words_of};

/// Record what was seen of the target of a referral
///
/// What is seen is one fact and what the platform decided another: a case shows both, and where they do not agree
/// (`portreeve inbox --discrepancy closed-but-live`).
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve observe agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 live \\\n    \
    --country GB --as agencies/nca\n  \
    portreeve observe agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 reappeared \\\n    \
    --url https://harbourbook.example/pages/2 --kind page --as agencies/nca"
)]
pub(crate) struct Observe {
    /// The referral
    referral: ReferralName,
    /// What was found
    #[arg(value_parser = words_of::<ObservationFinding>(), ignore_case = true)]
    finding: ObservationFinding,
    /// The country from which it was looked at, such as GB
    #[arg(long, value_name = "CODE", default_value = "")]
    country: String,
    /// How it was looked at
    #[arg(long, value_parser = words_of::<ObservationMethod>(), ignore_case = true, default_value = "manual")]
    method: ObservationMethod,
    /// When it was looked at, if not now
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    at: Option<Timestamp>,
    /// The SHA-256 of what was kept of it
    #[arg(long, value_name = "DIGEST", default_value = "")]
    evidence_digest: String,
    /// Where the content is again, with reappeared
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What kind of thing that is
    #[arg(long, value_name = "KIND", value_parser = words_of::<TargetKind>(), ignore_case = true, default_value = "page")]
    kind: TargetKind,
    /// The platform's own identifier of that, if known
    #[arg(long, value_name = "ID", default_value = "")]
    native_id: String,
    /// The referral of that, if there is one
    #[arg(long, value_name = "NAME")]
    reappeared_referral: Option<ReferralName>,
    #[command(flatten)]
    write: Write,
}

impl Observe {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.write.connection.open(None).await?;
        let (kind, native_id) = (self.kind.into(), self.native_id);
        let draft = ObservationDraft {
            finding: self.finding.into(),
            method: self.method.into(),
            vantage_country: self.country,
            observed_at: self.at,
            evidence_digest: self.evidence_digest,
            reappeared_as: self.url.map(|url| Target { kind, url, native_id, ..Target::default() }),
            reappeared_referral: self.reappeared_referral.map(|name| name.to_string()).unwrap_or_default(),
        };
        let request = RecordObservationRequest {
            parent: self.referral.to_string(),
            observation: Some(draft),
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, observations, record_observation, request)?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.referral.v1.RecordObservationResponse")?);
        }
        let observation = reply.observation.unwrap_or_default();
        say!("observed: {}, {}", observation.name, shown::<ObservationFinding>(observation.finding))?;
        written(&reply.revision, reply.replayed)
    }
}

/// List what was seen of the targets of referrals
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve observations agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/nca"
)]
pub(crate) struct Observations {
    /// The referral; without it, all of the agency
    referral: Option<ReferralName>,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Observations {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.connection.open(None).await?;
        let all = || format!("{}/referrals/-", session.organisation());
        let mut request = ListObservationsRequest {
            parent: self.referral.map_or_else(all, |name| name.to_string()),
            page_size: 1_000,
            ..ListObservationsRequest::default()
        };
        let mut table = Lines::new(["When", "Found", "From", "Observation", "Again at"]);
        loop {
            let reply = call!(session, observations, list_observations, &request)?;
            for observation in reply.observations {
                if self.json {
                    say!("{}", json::line(&observation, "portreeve.referral.v1.Observation")?)?;
                    continue;
                }
                table.row([
                    when(observation.observed_at.as_ref()),
                    shown::<ObservationFinding>(observation.finding),
                    observation.vantage_country,
                    observation.name,
                    observation.reappeared_as.map(|target| target.url).unwrap_or_default(),
                ]);
            }
            if reply.next_page_token.is_empty() {
                break;
            }
            request.page_token = reply.next_page_token;
        }
        if self.json { Ok(()) } else { say!("{table}") }
    }
}
