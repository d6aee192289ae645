//! `portreeve refer`, `portreeve withdraw` and `portreeve link`: one referral.

use std::path::PathBuf;

use clap::Args;
use portreeve_api::referral::v1::{
    CreateReferralRequest, LinkReferralsRequest, ReferralDraft, ReferralState, WithdrawReferralRequest,
};
use portreeve_core::id::Uuid;
use portreeve_core::name::ReferralName;

use super::connection::{Connection, call, request_id};
use super::content::What;
use super::evidence;
use super::failure::Result;
use super::json;
use super::sign;
use super::words;

/// Refer one target to a platform
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve refer https://harbourbook.example/pages/1 --platform platforms/harbourbook \\\n    \
    --ground offer-transport-sea --nature voluntary-referral \\\n    \
    --statute 'Immigration Act 1971' --section 's. 25' --reasons 'Offers crossings, with prices' \\\n    \
    --context others=does-not-apply --context 'journalism=uncertain:A newspaper embeds it' \\\n    \
    --tlp amber --source-grade untested --assessment known-directly --as agencies/nca"
)]
pub(crate) struct Refer {
    #[command(flatten)]
    content: What,
    /// When it was referred, if not now; long ago needs --roles import
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    occurred_at: Option<prost_types::Timestamp>,
    /// Sign it with the agency's private key, as `sign init` makes it
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    write: Write,
}

/// Take a referral back
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve withdraw agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    --reason 'Referred in error' --as agencies/nca"
)]
pub(crate) struct Withdraw {
    /// The referral
    name: ReferralName,
    /// Why; the platform can read it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When it was withdrawn, if not now
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    occurred_at: Option<prost_types::Timestamp>,
    #[command(flatten)]
    write: Write,
}

/// Say of referrals that they are of one network
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve link agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8058 --as agencies/nca"
)]
pub(crate) struct Link {
    /// The referral that has the links
    name: ReferralName,
    /// The others, of the same agency
    #[arg(required = true)]
    network: Vec<ReferralName>,
    #[command(flatten)]
    write: Write,
}

/// Options of every single write.
#[derive(Args, Debug)]
pub(crate) struct Write {
    /// The request's id; with the one of an earlier attempt, nothing is done twice
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The lines that follow every write: that it was done before, if it was, and the revision to read it by.
pub(crate) fn written(revision: &str, replayed: bool) -> Result<()> {
    if replayed {
        say!("(done before by the same request; nothing was written now)")?;
    }
    say!("revision: {revision}")
}

impl Refer {
    pub(crate) async fn run(self) -> Result<()> {
        let key = self.sign_key.as_deref().map(sign::read_key).transpose()?;
        let session = self.write.connection.open(None).await?;
        let mut draft = ReferralDraft { occurred_at: self.occurred_at, ..self.content.draft()? };
        if let Some(key) = &key {
            let digests = evidence::digests(&session, &draft).await?;
            sign::sign(key, session.organisation(), &mut draft, &digests);
        }
        let request = CreateReferralRequest {
            parent: session.organisation().to_string(),
            referral: Some(draft),
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, referrals, create_referral, request)?;
        if self.write.json {
            say!("{}", json::line(&reply, "portreeve.referral.v1.CreateReferralResponse")?)?;
            return Ok(());
        }
        let referral = reply.referral.unwrap_or_default();
        let held = referral.state == i32::from(ReferralState::Held);
        let name = referral.name;
        if held {
            say!("held: {name}")?;
            say!(
                "(another agency has an interest in it; `portreeve hold list` tells whom to speak to, and until when it waits)"
            )?;
        } else if reply.duplicate {
            say!("referred before: {name}")?;
            say!("(the same target for the same ground; nothing was recorded: --follows {name} refers it once more)")?;
        } else {
            say!("referred: {name}")?;
        }
        written(&reply.revision, reply.replayed)?;
        Ok(())
    }
}

impl Link {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.write.connection.open(None).await?;
        let request = LinkReferralsRequest {
            name: self.name.to_string(),
            same_network: self.network.iter().map(ToString::to_string).collect(),
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, referrals, link_referrals, request)?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.referral.v1.LinkReferralsResponse")?);
        }
        say!("{}: {} links", self.name, reply.referral.unwrap_or_default().links.len())?;
        written(&reply.revision, reply.replayed)
    }
}

impl Withdraw {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.write.connection.open(None).await?;
        let request = WithdrawReferralRequest {
            name: self.name.to_string(),
            reason: self.reason,
            occurred_at: self.occurred_at,
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, referrals, withdraw_referral, request)?;
        if self.write.json {
            say!("{}", json::line(&reply, "portreeve.referral.v1.WithdrawReferralResponse")?)?;
            return Ok(());
        }
        say!("withdrawn: {}", self.name)?;
        written(&reply.revision, reply.replayed)?;
        Ok(())
    }
}
