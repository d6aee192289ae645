//! `portreeve prioritise`: how urgent a referral is now.

use clap::Args;
use portreeve_api::referral::v1::PrioritiseReferralRequest;
use portreeve_core::name::ReferralName;

use super::connection::{call, request_id};
use super::content::Urgency;
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};

/// Say anew how urgent a referral is
///
/// The platform's queue follows, and streams tell of it. Who changed it and when is in the agency's log (`portreeve watch referrals`).
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve prioritise agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    --urgency severe,substantial,moderate --because 'Boats leave tonight.' --life-at-risk --as agencies/nca"
)]
pub(crate) struct Prioritise {
    /// The referral
    referral: ReferralName,
    #[command(flatten)]
    urgency: Urgency,
    /// The version of the priority that it replaces, 0 for the one that the referral was sent with
    #[arg(long, value_name = "N")]
    expected_version: Option<u32>,
    #[command(flatten)]
    write: Write,
}

impl Prioritise {
    pub(crate) async fn run(self) -> Result<()> {
        let priority = self.urgency.priority()?;
        let priority = priority.ok_or_else(|| Failure::Usage("how urgent is missing: give --urgency".to_owned()))?;
        let session = self.write.connection.open(None).await?;
        let request = PrioritiseReferralRequest {
            name: self.referral.to_string(),
            priority: Some(priority),
            expected_version: self.expected_version,
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, referrals, prioritise_referral, request)?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.referral.v1.PrioritiseReferralResponse")?);
        }
        let referral = reply.referral.unwrap_or_default();
        let priority = referral.priority.unwrap_or_default();
        say!("prioritised: {}, {} of 64", referral.name, priority.score)?;
        written(&reply.revision, reply.replayed)
    }
}
