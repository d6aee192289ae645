//! `portreeve organisation`: who takes part.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{
    CreateOrganisationRequest, ListOrganisationsRequest, Organisation as Message, OrganisationKind,
};
use portreeve_core::name::{OrganisationKind as Kind, OrganisationName};

use super::connection::{Connection, call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::shown;

/// Create and list organisations
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve organisation create platforms/harbourbook --name Harbourbook \\\n    \
    --host harbourbook.example --as operators/local")]
pub(crate) struct Organisation {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create an agency, a platform, an oversight body, an operator or researchers
    #[command(
        after_help = "Example:\n  portreeve organisation create agencies/nca --name 'National Crime Agency' \\\n    \
        --as operators/local"
    )]
    Create {
        /// Its name: agencies/ID, platforms/ID, oversightBodies/ID, operators/ID or researchers/ID
        name: OrganisationName,
        /// Its name for people
        #[arg(long = "name", value_name = "TEXT")]
        display_name: String,
        /// A host whose addresses route to the platform, with its subdomains; may be repeated
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        write: Write,
    },
    /// List organisations
    #[command(after_help = "Example:\n  portreeve organisation list --as agencies/nca")]
    List {
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// The kind in the contract of an organisation with this name.
pub(crate) fn kind(name: &OrganisationName) -> Result<OrganisationKind> {
    match name.kind() {
        Kind::Agency => Ok(OrganisationKind::Agency),
        Kind::Platform => Ok(OrganisationKind::Platform),
        Kind::Oversight => Ok(OrganisationKind::OversightBody),
        Kind::Operator => Ok(OrganisationKind::Operator),
        Kind::Researcher => Ok(OrganisationKind::Researcher),
        Kind::Service => Err(Failure::Usage("the suite's own services are not created".to_owned())),
    }
}

impl Organisation {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Create { name, display_name, hosts, write } => create(name, display_name, hosts, write).await,
            Action::List { json, connection } => list(json, connection).await,
        }
    }
}

async fn create(name: OrganisationName, display_name: String, hosts: Vec<String>, write: Write) -> Result<()> {
    let kind = kind(&name)?;
    let session = write.connection.open(None).await?;
    let request = CreateOrganisationRequest {
        organisation_id: name.id().to_owned(),
        organisation: Some(Message { display_name, kind: kind.into(), hosts, ..Message::default() }),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, organisations, create_organisation, request)?;
    if write.json {
        say!("{}", json::line(&reply, "portreeve.referral.v1.CreateOrganisationResponse")?)?;
        return Ok(());
    }
    say!("created: {}", reply.organisation.unwrap_or_default().name)?;
    written(&reply.revision, reply.replayed)?;
    Ok(())
}

async fn list(as_json: bool, connection: Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let mut request = ListOrganisationsRequest { page_size: 1_000, ..ListOrganisationsRequest::default() };
    let mut table = Lines::new(["Organisation", "Name", "Kind", "Hosts"]);
    loop {
        let reply = call!(session, organisations, list_organisations, &request)?;
        for organisation in reply.organisations {
            if as_json {
                say!("{}", json::line(&organisation, "portreeve.referral.v1.Organisation")?)?;
            } else {
                let kind = shown::<OrganisationKind>(organisation.kind);
                table.row([organisation.name, organisation.display_name, kind, organisation.hosts.join(" ")]);
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if !as_json {
        say!("{table}")?;
    }
    Ok(())
}

/// Refuses who is no agency.
pub(crate) fn of_agency(agency: &OrganisationName) -> Result<()> {
    if agency.kind() == Kind::Agency {
        return Ok(());
    }
    Err(Failure::Usage(format!("{agency} is no agency; only agencies refer")))
}
