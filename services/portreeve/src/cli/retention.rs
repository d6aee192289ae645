//! `portreeve retention`: for how long what is about people is kept, and its erasure.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{
    EraseReferralRequest, FieldGroup, GetRetentionPolicyRequest, RetentionClass, RetentionRule,
    SetRetentionPolicyRequest,
};
use portreeve_core::name::OrganisationName;

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::organisation::of_agency;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{Word as _, shown, when};

/// Say for how long what is about people is kept, and erase it
///
/// What is erased is erased for good, in every service; the logs keep proving themselves and reports keep their figures.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve retention set target=one-year reasons=three-months grade=one-month --as agencies/nca"
)]
pub(crate) struct Retention {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show an agency's policy
    #[command(after_help = "Example:\n  portreeve retention show agencies/nca --as oversightBodies/committee")]
    Show {
        /// The agency
        agency: OrganisationName,
        /// Print the policy as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Set for how long each group of fields is kept, in place of what was set before; for an approver
    #[command(
        after_help = "Example:\n  portreeve retention set target=one-year reasons=three-months --as agencies/nca\n\n\
        Groups: target, reasons, grade. Classes: one-day, two-days, seven-days, two-weeks, one-month, two-months, \
        three-months, six-months, one-year, ten-years, counted from when the referral was recorded. A group without a \
        rule is kept until it is erased by request."
    )]
    Set {
        /// The rules, each GROUP=CLASS; none to keep everything
        #[arg(value_name = "GROUP=CLASS", value_parser = rule)]
        rules: Vec<RetentionRule>,
        #[command(flatten)]
        write: Write,
    },
    /// Erase groups of fields of a referral now; for an approver
    #[command(
        after_help = "Example:\n  portreeve retention erase agencies/nca/referrals/0190b2f0-0000-7000-8000-00000000000a \\\n    \
        --group target,reasons --reason 'Asked for by the person concerned.' --as agencies/nca"
    )]
    Erase {
        /// The referral
        referral: String,
        /// Which groups: target, reasons, grade
        #[arg(long, value_name = "GROUP", value_delimiter = ',', required = true, value_parser = group)]
        group: Vec<FieldGroup>,
        /// Why, without a word about a person; it is kept
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        write: Write,
    },
}

fn group(text: &str) -> Result<FieldGroup, String> {
    match FieldGroup::parse(text)? {
        group @ (FieldGroup::Target | FieldGroup::Reasons | FieldGroup::Grade) => Ok(group),
        _ => Err(format!("{text:?} is none of TARGET, REASONS, GRADE, which are what can be erased")),
    }
}

fn rule(text: &str) -> Result<RetentionRule, String> {
    let (of, class) = text.split_once('=').ok_or("must be GROUP=CLASS, such as target=one-year")?;
    Ok(RetentionRule { field_group: group(of)?.into(), retention_class: RetentionClass::parse(class)?.into() })
}

impl Retention {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Show { agency, json, connection } => show(&agency, json, &connection).await,
            Action::Set { rules, write } => set(rules, write).await,
            Action::Erase { referral, group, reason, write } => erase(referral, &group, reason, write).await,
        }
    }
}

async fn show(agency: &OrganisationName, as_json: bool, connection: &Connection) -> Result<()> {
    of_agency(agency)?;
    let session = connection.open(None).await?;
    let request = GetRetentionPolicyRequest { name: format!("{agency}/retentionPolicy"), ..Default::default() };
    let policy = call!(session, retention, get_retention_policy, request)?.policy.unwrap_or_default();
    if as_json {
        return say!("{}", json::line(&policy, "portreeve.referral.v1.RetentionPolicy")?);
    }
    if policy.rules.is_empty() {
        return say!("{agency} keeps everything until it is erased by request");
    }
    let mut table = Lines::new(["Group", "Kept for"]);
    for rule in &policy.rules {
        table.row([shown::<FieldGroup>(rule.field_group), shown::<RetentionClass>(rule.retention_class)]);
    }
    say!("{table}")?;
    say!("since {}", when(policy.update_time.as_ref()))
}

async fn set(rules: Vec<RetentionRule>, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = SetRetentionPolicyRequest {
        name: format!("{}/retentionPolicy", session.organisation()),
        rules,
        etag: String::new(),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, retention, set_retention_policy, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.SetRetentionPolicyResponse")?);
    }
    say!("set; what is past its time is erased within minutes")?;
    written(&reply.revision, reply.replayed)
}

async fn erase(referral: String, groups: &[FieldGroup], reason: String, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = EraseReferralRequest {
        name: referral,
        field_groups: groups.iter().map(|group| (*group).into()).collect(),
        reason,
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, retention, erase_referral, &request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.EraseReferralResponse")?);
    }
    let erased = reply.referral.unwrap_or_default().erasures;
    let erased = erased.iter().map(|erasure| shown::<FieldGroup>(erasure.field_group)).collect::<Vec<_>>();
    say!("erased: {} of {}", erased.join(", "), request.name)?;
    written(&reply.revision, reply.replayed)
}
