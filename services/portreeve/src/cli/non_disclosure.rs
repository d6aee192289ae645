//! `portreeve non-disclosure`: for how long whoever posted the content is not told of an order.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{ExtendNonDisclosureRequest, LiftNonDisclosureRequest, Referral};
use portreeve_core::name::ReferralName;
use prost_types::Timestamp;

use super::connection::{call, request_id};
use super::failure::Result;
use super::json;
use super::refer::{Write, written};
use super::words::{self, when};

/// Extend or lift the non-disclosure of an order
///
/// An order says with --not-disclosed-until for how long whoever posted the content must not be told. It is extended once at most, by six
/// weeks, before it ends.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve non-disclosure lift agencies/bka/referrals/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    --reason 'The suspects are arrested.' --as agencies/bka"
)]
pub(crate) struct NonDisclosure {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let it end later
    #[command(after_help = "Example:\n  portreeve non-disclosure extend \\\n    \
        agencies/bka/referrals/01890a5d-ac96-774b-bcce-b302099a8057 --until 2026-12-24 \\\n    \
        --reason 'The investigation goes on.' --as agencies/bka")]
    Extend {
        /// The order
        order: ReferralName,
        /// Until when
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        until: Timestamp,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        write: Write,
    },
    /// Let whoever posted the content be told from now on
    #[command(after_help = "Example:\n  portreeve non-disclosure lift \\\n    \
        agencies/bka/referrals/01890a5d-ac96-774b-bcce-b302099a8057 --reason 'The suspects are arrested.' --as agencies/bka")]
    Lift {
        /// The order
        order: ReferralName,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        write: Write,
    },
}

impl NonDisclosure {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Extend { order, until, reason, write } => {
                let session = write.connection.open(None).await?;
                let (name, until) = (order.to_string(), Some(until));
                let request =
                    ExtendNonDisclosureRequest { name, until, reason, request_id: request_id(write.request_id) };
                let reply = call!(session, referrals, extend_non_disclosure, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.ExtendNonDisclosureResponse")?);
                }
                ends("extended", reply.referral)?;
                written(&reply.revision, reply.replayed)
            }
            Action::Lift { order, reason, write } => {
                let session = write.connection.open(None).await?;
                let request = LiftNonDisclosureRequest {
                    name: order.to_string(),
                    reason,
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, referrals, lift_non_disclosure, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.LiftNonDisclosureResponse")?);
                }
                ends("lifted", reply.referral)?;
                written(&reply.revision, reply.replayed)
            }
        }
    }
}

fn ends(what: &str, order: Option<Referral>) -> Result<()> {
    let order = order.unwrap_or_default();
    let course = order.order.and_then(|terms| terms.non_disclosure).unwrap_or_default();
    say!("{what}: {}, not disclosed until {}", order.name, when(course.until.as_ref()))
}
