//! `portreeve clause`: a platform's catalogue of policy clauses.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use portreeve_api::decision::v1::{
    AddClauseVersionRequest, Clause as Message, ClauseVersion, CreateClauseRequest, ListClauseVersionsRequest,
    ListClausesRequest,
};
use portreeve_core::id::Uuid;
use portreeve_core::name::OrganisationKind;
use sha2::{Digest as _, Sha256};

use super::connection::{Connection, Session, call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words;

/// Add and list the clauses of a platform's policies
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve clause list platforms/harbourbook --as agencies/nca")]
pub(crate) struct Clause {
    #[command(subcommand)]
    action: Action,
}

#[expect(clippy::large_enum_variant, reason = "there is one, for as long as the command runs")]
#[derive(Debug, Subcommand)]
enum Action {
    /// Add the next version of a clause, and the clause itself if it is new
    #[command(
        after_help = "Example:\n  portreeve clause add requests --title 'Requests for smuggling services' \\\n    \
        --text-file clause.txt --effective-from 2019-11-20 --permits 'Asking for smuggling services' \\\n    \
        --as platforms/harbourbook"
    )]
    Add(Box<Add>),
    /// List clauses with their versions
    #[command(after_help = "Example:\n  portreeve clause list platforms/harbourbook --as agencies/nca")]
    List {
        /// The platform; platforms/- for all
        #[arg(default_value = "platforms/-")]
        parent: String,
        /// Print each version as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Args, Debug)]
struct Add {
    /// The clause: its id, such as requests
    clause: String,
    /// What this version is headed
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// The file with its text, of which the SHA-256 is recorded
    #[arg(long, value_name = "FILE")]
    text_file: Option<PathBuf>,
    /// The SHA-256 of its text, in place of the file
    #[arg(long, value_name = "HEX", required_unless_present = "text_file", conflicts_with = "text_file")]
    text_digest: Option<String>,
    /// From when it is in force
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    effective_from: prost_types::Timestamp,
    /// Until when it is in force, if not until the next version
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    effective_until: Option<prost_types::Timestamp>,
    /// A country in which it applies, such as GB; without it, everywhere
    #[arg(long = "jurisdiction", value_name = "CODE")]
    jurisdictions: Vec<String>,
    /// What it permits
    #[arg(long, value_name = "TEXT", default_value = "")]
    permits: String,
    /// An earlier version whose permission it ends: what was left up because of that becomes a candidate for replay
    #[arg(long = "ends-permission-of", value_name = "VERSION", value_delimiter = ',')]
    ends_permission_of: Vec<u32>,
    /// Where it is published
    #[arg(long, value_name = "URL", default_value = "")]
    public_url: String,
    #[command(flatten)]
    write: Write,
}

/// The SHA-256 of a text as the catalogue has it.
pub(crate) fn digest(text: &[u8]) -> String {
    let digest = Sha256::digest(text);
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl Clause {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Add(add) => add.run().await,
            Action::List { parent, json, connection } => list(parent, json, connection).await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<()> {
        let text_digest = match (&self.text_file, self.text_digest) {
            (Some(file), _) => digest(&std::fs::read(file).map_err(|error| Failure::file(file, &error))?),
            (None, digest) => digest.unwrap_or_default(),
        };
        let session = self.write.connection.open(None).await?;
        if session.organisation().kind() != OrganisationKind::Platform {
            return Err(Failure::Usage(
                "a catalogue is a platform's: act as one, such as --as platforms/harbourbook".to_owned(),
            ));
        }
        let request_id = request_id(self.write.request_id);
        create_if_new(&session, &self.clause, &self.title, &request_id).await?;
        let request = AddClauseVersionRequest {
            parent: format!("{}/clauses/{}", session.organisation(), self.clause),
            clause_version: Some(ClauseVersion {
                title: self.title,
                text_digest,
                effective_from: Some(self.effective_from),
                effective_until: self.effective_until,
                jurisdictions: self.jurisdictions,
                permits: self.permits,
                ends_permission_of: self.ends_permission_of,
                public_url: self.public_url,
                ..ClauseVersion::default()
            }),
            request_id,
        };
        let reply = call!(session, policies, add_clause_version, request)?;
        if self.write.json {
            say!("{}", json::line(&reply, "portreeve.decision.v1.AddClauseVersionResponse")?)?;
            return Ok(());
        }
        let version = reply.clause_version.unwrap_or_default();
        say!("added: {}@{}", self.clause, version.version)?;
        written(&reply.revision, reply.replayed)?;
        Ok(())
    }
}

/// Creates the clause unless it exists.
async fn create_if_new(session: &Session, clause: &str, title: &str, version_request: &str) -> Result<()> {
    // Its own id, derived so that repeating the command repeats both requests.
    let own = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("clause of {version_request}").as_bytes());
    let request = CreateClauseRequest {
        parent: session.organisation().to_string(),
        clause_id: clause.to_owned(),
        clause: Some(Message { title: title.to_owned(), ..Message::default() }),
        request_id: own.to_string(),
    };
    match call!(session, policies, create_clause, request) {
        Err(Failure::Refused(status)) if status.code() == tonic::Code::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn list(parent: String, as_json: bool, connection: Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let mut table = Lines::new(["Clause", "In force from", "until", "Title", "Permits"]);
    let mut request = ListClausesRequest { parent, page_size: 1_000, ..ListClausesRequest::default() };
    loop {
        let reply = call!(session, policies, list_clauses, &request)?;
        for clause in reply.clauses {
            for version in versions(&session, &clause.name).await? {
                if as_json {
                    say!("{}", json::line(&version, "portreeve.decision.v1.ClauseVersion")?)?;
                    continue;
                }
                let day = |time: Option<&prost_types::Timestamp>| {
                    words::from_proto(time).map_or_else(|| "–".to_owned(), |time| time.date().to_string())
                };
                table.row([
                    format!("{}@{}", clause.name, version.version),
                    day(version.effective_from.as_ref()),
                    day(version.effective_until.as_ref()),
                    version.title,
                    version.permits,
                ]);
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

async fn versions(session: &Session, clause: &str) -> Result<Vec<ClauseVersion>> {
    let mut request = ListClauseVersionsRequest {
        parent: clause.to_owned(),
        page_size: 1_000,
        ..ListClauseVersionsRequest::default()
    };
    let mut versions = Vec::new();
    loop {
        let reply = call!(session, policies, list_clause_versions, &request)?;
        versions.extend(reply.clause_versions);
        if reply.next_page_token.is_empty() {
            return Ok(versions);
        }
        request.page_token = reply.next_page_token;
    }
}
