//! `portreeve addresses`: how the addresses of a platform are spelt.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{AddressRuleSet, AddressRules, GetAddressRulesRequest, SetAddressRulesRequest};
use portreeve_core::name::{OrganisationKind, OrganisationName};

use super::connection::{Connection, call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::words::when;

/// Say how addresses of a platform are spelt, so that one place is found as one
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve addresses set platforms/harbourbook rules.json --as operators/local")]
pub(crate) struct Addresses {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show a platform's rules
    #[command(after_help = "Example:\n  portreeve addresses show platforms/harbourbook --as agencies/nca")]
    Show {
        /// The platform
        platform: OrganisationName,
        /// As this version had them, and not the newest
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        version: u32,
        /// Print them as JSON, with their etag
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Set a platform's rules, in place of what was set before; for an operator
    ///
    /// What was referred before is looked at again within minutes.
    #[command(
        after_help = "Example:\n  portreeve addresses set platforms/harbourbook rules.json --as operators/local\n\n\
        A file:\n  {\"hosts\": [{\"alias\": \"*.harbourbook.example\", \"host\": \"harbourbook.example\"}],\n   \
        \"droppedParameters\": [\"ref\"],\n   \
        \"keptParameters\": [{\"path\": \"/watch\", \"names\": [\"v\"]}],\n   \
        \"ignorePathCase\": true, \"ignoreTrailingSlash\": true, \"ignoreRepeatedSlashes\": true,\n   \
        \"rewrites\": [{\"from\": \"/profile.php?id={id:digits}\", \"to\": \"/{id}\"}]}\n\n\
        Braces take up digits, a word (letters, digits, . _ -) or any text."
    )]
    Set {
        /// The platform
        platform: OrganisationName,
        /// The rules in a file, as JSON
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The etag that was read, to change nothing that others have set since
        #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        write: Write,
    },
}

impl Addresses {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Show { platform, version, json, connection } => show(&platform, version, json, connection).await,
            Action::Set { platform, file, etag, write } => set(&platform, &file, etag, write).await,
        }
    }
}

fn name(platform: &OrganisationName) -> Result<String> {
    if platform.kind() == OrganisationKind::Platform {
        return Ok(format!("{platform}/addressRules"));
    }
    Err(Failure::Usage(format!("{platform} is no platform; only platforms have addresses")))
}

async fn show(platform: &OrganisationName, version: u32, as_json: bool, connection: Connection) -> Result<()> {
    let name = name(platform)?;
    let session = connection.open(None).await?;
    let request = GetAddressRulesRequest { name, version, at_least: Vec::new() };
    let rules = call!(session, address_rules, get_address_rules, request)?.address_rules.unwrap_or_default();
    if as_json {
        say!("{}", json::line(&rules, "portreeve.referral.v1.AddressRules")?)?;
        return Ok(());
    }
    told(&rules)
}

async fn set(platform: &OrganisationName, file: &std::path::Path, etag: String, write: Write) -> Result<()> {
    let name = name(platform)?;
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))?;
    let rules: AddressRuleSet = json::read(&text, "portreeve.referral.v1.AddressRuleSet")?;
    let session = write.connection.open(None).await?;
    let request = SetAddressRulesRequest { name, rules: Some(rules), etag, request_id: request_id(write.request_id) };
    let reply = call!(session, address_rules, set_address_rules, request)?;
    if write.json {
        say!("{}", json::line(&reply, "portreeve.referral.v1.SetAddressRulesResponse")?)?;
        return Ok(());
    }
    told(&reply.address_rules.unwrap_or_default())?;
    written(&reply.revision, reply.replayed)
}

fn told(of: &AddressRules) -> Result<()> {
    if of.version == 0 {
        return say!("{}: none of its own; those for every platform hold", of.name);
    }
    say!("{}: version {}, set {}", of.name, of.version, when(of.update_time.as_ref()))?;
    let rules = of.rules.clone().unwrap_or_default();
    for alias in &rules.hosts {
        say!("host {} is {}", alias.alias, alias.host)?;
    }
    for parameter in &rules.dropped_parameters {
        say!("without the parameter {parameter}")?;
    }
    for kept in &rules.kept_parameters {
        let names = if kept.names.is_empty() { "none".to_owned() } else { kept.names.join(" ") };
        say!("parameters of {}: {names}", kept.path)?;
    }
    for (holds, text) in [
        (rules.ignore_path_case, "the case of a path tells nothing"),
        (rules.ignore_trailing_slash, "a / at the end tells nothing"),
        (rules.ignore_repeated_slashes, "several / in a row are one"),
    ] {
        if holds {
            say!("{text}")?;
        }
    }
    for rewrite in &rules.rewrites {
        say!("{} is {}", rewrite.from, rewrite.to)?;
    }
    Ok(())
}
