//! `portreeve refer` and `portreeve withdraw`: one referral.

use std::path::PathBuf;

use clap::Args;
use portreeve_api::common::v1::{
    Classification, Ground, HandlingCode, InformationAssessment, ReferralNature, SourceGrade, TargetKind, Tlp,
};
use portreeve_api::referral::v1::{
    CreateReferralRequest, Handling, LegalBasis, ReferralDraft, Target, WithdrawReferralRequest,
};
use portreeve_core::id::Uuid;
use portreeve_core::name::{OrganisationName, ReferralName};

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::sign;
use super::words::{self, words_of};

/// Refer one target to a platform
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve refer https://harbourbook.example/pages/1 --platform platforms/harbourbook \\\n    \
    --ground offer-transport-sea --nature voluntary-referral \\\n    \
    --statute 'Immigration Act 1971' --section 's. 25' --reasons 'Offers crossings, with prices' \\\n    \
    --tlp amber --source-grade untested --assessment known-directly --as agencies/nca"
)]
pub(crate) struct Refer {
    /// The exact address of the target
    url: String,
    /// The platform that it is addressed to
    #[arg(long, value_name = "PLATFORM")]
    platform: OrganisationName,
    /// What kind of thing the target is
    #[arg(long, value_name = "KIND", value_parser = words_of::<TargetKind>(), ignore_case = true, default_value = "page")]
    kind: TargetKind,
    /// The platform's own identifier of it, if known
    #[arg(long, value_name = "ID", default_value = "")]
    native_id: String,
    /// The legal nature: what the platform must do follows from it
    #[arg(long, value_name = "NATURE", value_parser = words_of::<ReferralNature>(), ignore_case = true)]
    nature: ReferralNature,
    /// What it is referred for
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true)]
    ground: Ground,
    /// A code for the provision, such as IA1971_S25
    #[arg(long, value_name = "CODE", default_value = "")]
    legal_basis_code: String,
    /// The statute on which it rests
    #[arg(long, value_name = "TEXT")]
    statute: String,
    /// The provision within the statute
    #[arg(long, value_name = "TEXT", default_value = "")]
    section: String,
    /// Why it is referred
    #[arg(long, value_name = "TEXT")]
    reasons: String,
    /// The language of the reasons
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    reasons_language: String,
    /// The main language of the content, if known
    #[arg(long, value_name = "LANGUAGE", default_value = "")]
    content_language: String,
    /// When it was referred, if not now; long ago needs --roles import
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    occurred_at: Option<prost_types::Timestamp>,
    #[command(flatten)]
    marks: Marks,
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

/// How a referral is to be handled: options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Handling")]
struct Marks {
    /// How far it may travel among partners; amber-strict if not said
    #[arg(long, value_name = "TLP", value_parser = words_of::<Tlp>(), ignore_case = true)]
    tlp: Option<Tlp>,
    /// Its classification; official if not said
    #[arg(long, value_name = "CLASS", value_parser = words_of::<Classification>(), ignore_case = true)]
    classification: Option<Classification>,
    /// How reliable the source is; no platform sees it
    #[arg(long, value_name = "GRADE", value_parser = words_of::<SourceGrade>(), ignore_case = true)]
    source_grade: Option<SourceGrade>,
    /// How the information is assessed; no platform sees it
    #[arg(long, value_name = "GRADE", value_parser = words_of::<InformationAssessment>(), ignore_case = true)]
    assessment: Option<InformationAssessment>,
    /// Share it with partners on these conditions only (the handling code C); no platform sees them
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    conditions: String,
}

impl Marks {
    fn handling(self) -> Option<Handling> {
        handling(Handling {
            tlp: self.tlp.map(Into::into).unwrap_or_default(),
            classification: self.classification.map(Into::into).unwrap_or_default(),
            source_grade: self.source_grade.map(Into::into).unwrap_or_default(),
            assessment: self.assessment.map(Into::into).unwrap_or_default(),
            code: HandlingCode::Unspecified.into(),
            conditions: self.conditions,
        })
    }
}

/// What was said of how a referral is to be handled, if anything was. The handling code follows from the conditions.
pub(crate) fn handling(said: Handling) -> Option<Handling> {
    let code = if said.conditions.is_empty() { HandlingCode::Unspecified } else { HandlingCode::SharingWithConditions };
    Some(Handling { code: code.into(), ..said }).filter(|said| *said != Handling::default())
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
        let mut draft = ReferralDraft {
            platform: self.platform.to_string(),
            target: Some(Target {
                kind: self.kind.into(),
                url: self.url,
                native_id: self.native_id,
                canonical_url: String::new(),
            }),
            nature: self.nature.into(),
            ground: self.ground.into(),
            legal_basis: Some(LegalBasis { code: self.legal_basis_code, statute: self.statute, section: self.section }),
            statement_of_reasons: self.reasons,
            statement_language: self.reasons_language,
            content_language: self.content_language,
            occurred_at: self.occurred_at,
            handling: self.marks.handling(),
            ..ReferralDraft::default()
        };
        if let Some(key) = &key {
            sign::sign(key, session.organisation(), &mut draft);
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
        say!("referred: {}", reply.referral.unwrap_or_default().name)?;
        written(&reply.revision, reply.replayed)?;
        Ok(())
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
