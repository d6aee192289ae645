//! `portreeve grant`: what researchers may ask, until when, and how often.

use clap::{Args, Subcommand};
use portreeve_api::common::v1::Ground;
use portreeve_api::reporting::v1::{
    Dimension, GetGrantRequest, Grant as Message, GrantState, IssueGrantRequest, ListGrantsRequest, RevokeGrantRequest,
};
use portreeve_core::name::OrganisationName;
use portreeve_core::time::Date;

use super::connection::{Connection, call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::report::period;
use super::table::Lines;
use super::words::{self, grouped, shown, when, words_of};

/// Issue, revoke and look at the grants under which researchers see figures
///
/// A grant ends by time alone, and each report that is given under it costs one of its queries.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve grant issue researchers/lab --purpose 'How long decisions take' --until 2027-01-01 \\\n    \
    --cohort 2020-01..2020-05 --by platform --budget 50 --as oversightBodies/committee --roles supervisor"
)]
pub(crate) struct Grant {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Issue(Box<Issue>),
    /// Revoke a grant at once; for a supervisor
    #[command(after_help = "Example:\n  portreeve grant revoke grants/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --reason 'The project was given up' --as oversightBodies/committee --roles supervisor")]
    Revoke {
        /// The grant
        name: String,
        /// Why; the grantee can read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        write: Write,
    },
    /// Show a grant: its terms, where it stands, and how many queries are left
    #[command(after_help = "Example:\n  portreeve grant show grants/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as researchers/lab")]
    Show {
        /// The grant
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// List grants, those that have ended included
    #[command(after_help = "Example:\n  portreeve grant list --as researchers/lab")]
    List {
        /// Only those of these researchers
        #[arg(long, value_name = "RESEARCHERS")]
        of: Option<OrganisationName>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Issue a grant; for a supervisor
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve grant issue researchers/lab --purpose 'How long decisions take' --until 2027-01-01 \\\n    \
    --cohort 2020-01..2020-05 --by platform,ground --ground offer-transport-sea --minimum 10 --budget 50 \\\n    \
    --as oversightBodies/committee --roles supervisor"
)]
struct Issue {
    /// Who may ask
    grantee: OrganisationName,
    /// For what
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    /// When it begins, if not at once
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    from: Option<prost_types::Timestamp>,
    /// When it ends
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    until: prost_types::Timestamp,
    /// The cohorts that it covers: FROM..UNTIL, both included, as days or months (UTC), such as 2020-01..2020-05
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    cohort: (Date, Date),
    /// By what reports may be divided; without it, totals alone
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',', value_parser = words_of::<Dimension>(), ignore_case = true)]
    by: Vec<Dimension>,
    /// Count only referrals of this agency; may be repeated
    #[arg(long, value_name = "AGENCY")]
    agency: Vec<String>,
    /// Count only referrals to this platform; may be repeated
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Count only referrals for this ground; may be repeated
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true, hide_possible_values = true)]
    ground: Vec<Ground>,
    /// The lowest count that is shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    minimum: u32,
    /// How many reports are given in all
    #[arg(long, value_name = "N")]
    budget: u32,
    #[command(flatten)]
    write: Write,
}

impl Grant {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Issue(issue) => issue.run().await,
            Action::Revoke { name, reason, write } => revoke(name, reason, write).await,
            Action::Show { name, json, connection } => show(name, json, &connection).await,
            Action::List { of, json, connection } => list(of, json, &connection).await,
        }
    }
}

impl Issue {
    async fn run(self) -> Result<()> {
        let session = self.write.connection.open(None).await?;
        let request = IssueGrantRequest {
            grant: Some(Message {
                grantee: self.grantee.to_string(),
                purpose: self.purpose,
                start_time: self.from,
                end_time: Some(self.until),
                cohort_from_date: self.cohort.0.to_string(),
                cohort_until_date: self.cohort.1.to_string(),
                dimensions: self.by.into_iter().map(Into::into).collect(),
                agencies: self.agency,
                platforms: self.platform,
                grounds: self.ground.into_iter().map(Into::into).collect(),
                small_cell_minimum: self.minimum,
                query_budget: self.budget,
                ..Message::default()
            }),
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, grants, issue_grant, request)?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.reporting.v1.IssueGrantResponse")?);
        }
        say!("issued: {}", reply.grant.unwrap_or_default().name)?;
        written(&reply.revision, reply.replayed)
    }
}

async fn revoke(name: String, reason: String, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = RevokeGrantRequest { name, reason, request_id: request_id(write.request_id) };
    let reply = call!(session, grants, revoke_grant, &request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.reporting.v1.RevokeGrantResponse")?);
    }
    say!("revoked: {}", request.name)?;
    written(&reply.revision, reply.replayed)
}

async fn show(name: String, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let request = GetGrantRequest { name, at_least: Vec::new() };
    let reply = call!(session, grants, get_grant, request)?;
    let grant = reply.grant.ok_or_else(|| Failure::Failed("the server gave no grant".to_owned()))?;
    if as_json {
        return say!("{}", json::line(&grant, "portreeve.reporting.v1.Grant")?);
    }
    for (heading, text) in lines(&grant) {
        say!("{heading:<11} {text}")?;
    }
    Ok(())
}

async fn list(of: Option<OrganisationName>, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let parent = of.map_or_else(|| "researchers/-".to_owned(), |of| of.to_string());
    let mut request = ListGrantsRequest { parent, page_size: 1_000, ..ListGrantsRequest::default() };
    let mut table = Lines::new(["Grant", "Of", "State", "Until", "Queries left#", "Purpose"]);
    loop {
        let reply = call!(session, grants, list_grants, &request)?;
        for grant in reply.grants {
            if as_json {
                say!("{}", json::line(&grant, "portreeve.reporting.v1.Grant")?)?;
            } else {
                let (state, until) = (shown::<GrantState>(grant.state), when(grant.end_time.as_ref()));
                let left = grouped(left(&grant));
                table.row([grant.name, grant.grantee, state, until, left, grant.purpose]);
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

fn left(grant: &Message) -> i64 {
    i64::from(grant.query_budget.saturating_sub(grant.queries_spent))
}

/// What a grant says, with a heading for each.
fn lines(grant: &Message) -> Vec<(&'static str, String)> {
    let all = |names: Vec<String>| if names.is_empty() { "all".to_owned() } else { names.join(", ") };
    let by = grant.dimensions.iter().map(|number| shown::<Dimension>(*number).to_lowercase()).collect::<Vec<_>>();
    let mut lines = vec![
        ("Grant", grant.name.clone()),
        ("Of", grant.grantee.clone()),
        ("Issued by", grant.issuer.clone()),
        ("Purpose", grant.purpose.clone()),
        ("State", shown::<GrantState>(grant.state)),
        ("From", when(grant.start_time.as_ref())),
        ("Until", when(grant.end_time.as_ref())),
        ("Cohorts", format!("{}..{}", grant.cohort_from_date, grant.cohort_until_date)),
        ("Divided by", if by.is_empty() { "nothing: totals alone".to_owned() } else { by.join(", ") }),
        ("Agencies", all(grant.agencies.clone())),
        ("Platforms", all(grant.platforms.clone())),
        ("Grounds", all(grant.grounds.iter().map(|number| shown::<Ground>(*number)).collect())),
        ("Minimum", format!("{}: smaller counts are withheld", grant.small_cell_minimum)),
        ("Queries", format!("{} left of {}", grouped(left(grant)), grouped(grant.query_budget.into()))),
    ];
    if let Some(revocation) = &grant.revocation {
        let (at, by) = (when(revocation.revoked_at.as_ref()), &revocation.revoker);
        lines.push(("Revoked", format!("{at} by {by}: {}", revocation.reason)));
    }
    lines
}
