//! `portreeve publication`: reports that were given out and are answered for.

use clap::{Args, Subcommand};
use portreeve_api::reporting::v1::{
    GetPublicationRequest, ListPublicationsRequest, Publication as Message, PublishReportRequest, ReportDefinition,
    ReportRow, RestatedRow,
};
use portreeve_core::name::OrganisationName;
use portreeve_core::time::Date;

use super::Cohort;
use super::page::{page, short, title};
use crate::cli::connection::{Connection, call, request_id};
use crate::cli::failure::{Failure, Result};
use crate::cli::json;
use crate::cli::refer::{Write, written};
use crate::cli::table::{Lines, heading};
use crate::cli::words::{grouped, when};

/// Publish figures, restate them, and show what was published
///
/// A version never changes. `portreeve verify report` counts one again from the logs.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve publication publish --title 'Referrals of January to May 2020' --cohort 2020-01..2020-05 \\\n    \
    --as-of 2020-09-03 --by platform --as oversightBodies/committee --roles supervisor"
)]
pub(crate) struct Publication {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Publish(Box<Publish>),
    /// Show a version, with what it changed in the one before it
    #[command(
        after_help = "Example:\n  portreeve publication show publications/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as researchers/lab"
    )]
    Show {
        /// The version, or without /versions/N the newest
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// List what was published, every version
    #[command(after_help = "Example:\n  portreeve publication list --as researchers/lab")]
    List {
        /// Only those of this publisher
        #[arg(long, value_name = "ORGANISATION")]
        of: Option<OrganisationName>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Publish a report, or another version of it; for an agency's approver, a platform's reviewer or a supervisor
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve publication publish --title 'Referrals of January to May 2020' --cohort 2020-01..2020-05 \\\n    \
    --as-of 2020-09-03 --reason 'A platform corrected eight decisions' --as agencies/nca"
)]
struct Publish {
    /// What it is called
    #[arg(long, value_name = "TEXT")]
    title: String,
    #[command(flatten)]
    cohort: Cohort,
    /// The day at whose end the referrals are looked at, which is over (UTC)
    #[arg(long, value_name = "DATE")]
    as_of: Date,
    /// The lowest count that is shown; 1 for all
    #[arg(long, value_name = "N", default_value_t = 5)]
    minimum: u32,
    /// Why the figures are published again
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// A revision that the figures must reflect, as writes give it
    #[arg(long, value_name = "REVISION")]
    at_least: Vec<String>,
    #[command(flatten)]
    write: Write,
}

impl Publication {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Publish(publish) => publish.run().await,
            Action::Show { name, json, connection } => show(name, json, &connection).await,
            Action::List { of, json, connection } => list(of, json, &connection).await,
        }
    }
}

impl Publish {
    async fn run(self) -> Result<()> {
        let session = self.write.connection.open(None).await?;
        let request = PublishReportRequest {
            title: self.title,
            definition: Some(ReportDefinition { as_of_date: self.as_of.to_string(), ..self.cohort.definition() }),
            small_cell_minimum: self.minimum,
            reason: self.reason,
            at_least: self.at_least,
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, publications, publish_report, request)?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.reporting.v1.PublishReportResponse")?);
        }
        let publication = reply.publication.unwrap_or_default();
        say!("published: {}", publication.name)?;
        say!("digest: {}", publication.report.unwrap_or_default().digest)?;
        written(&reply.revision, reply.replayed)
    }
}

async fn show(name: String, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let request = GetPublicationRequest { name, at_least: Vec::new() };
    let reply = call!(session, publications, get_publication, request)?;
    let publication = reply.publication.ok_or_else(|| Failure::Failed("the server gave no version".to_owned()))?;
    if as_json {
        return say!("{}", json::line(&publication, "portreeve.reporting.v1.Publication")?);
    }
    say!("{}", sheet(&publication))
}

async fn list(of: Option<OrganisationName>, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let publisher = of.map(|of| of.to_string()).unwrap_or_default();
    let mut request = ListPublicationsRequest { publisher, page_size: 1_000, ..ListPublicationsRequest::default() };
    let mut table = Lines::new(["Published", "By", "Title", "As of", "Version", "Report"]);
    loop {
        let reply = call!(session, publications, list_publications, &request)?;
        for publication in reply.publications {
            if as_json {
                say!("{}", json::line(&publication, "portreeve.reporting.v1.Publication")?)?;
            } else {
                let Message { name, publisher, title, create_time, version, latest_version, report, .. } = publication;
                let as_of = report.and_then(|report| report.definition).unwrap_or_default().as_of_date;
                let version = format!("{version} of {latest_version}");
                table.row([when(create_time.as_ref()), publisher, title, as_of, version, name]);
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

/// A version with all that is told of it.
fn sheet(publication: &Message) -> String {
    let report = publication.report.clone().unwrap_or_default();
    let mut lines = vec![heading(&publication.title)];
    let at = when(publication.create_time.as_ref());
    lines.push(format!("{}, published by {} on {at}.", publication.name, publication.publisher));
    if publication.version < publication.latest_version {
        lines.push(format!("The figures were restated: version {} is the newest.", publication.latest_version));
    }
    if !publication.reason.is_empty() {
        lines.push(format!("Published again because: {}", publication.reason));
    }
    if publication.small_cell_minimum > 1 {
        lines.push(format!("Counts below {} are withheld.", publication.small_cell_minimum));
    }
    let positions = publication.positions.iter().map(|of| format!("{} up to event {}", of.log, of.position));
    lines.push(format!("Counted from the logs: {}.", positions.collect::<Vec<_>>().join(", ")));
    lines.push(String::new());
    lines.push(page(&report));
    if !publication.difference.is_empty() {
        lines.push(heading(&format!("What changed since version {}", publication.version.saturating_sub(1))));
        lines.push(changes(publication));
    }
    lines.join("\n")
}

/// What a version changed: each count before and after.
fn changes(publication: &Message) -> String {
    let definition = publication.report.clone().unwrap_or_default().definition.unwrap_or_default();
    let names = definition.dimensions.iter().map(|number| title(*number)).collect::<Vec<_>>();
    let numbers = ["Referred#", "Closed#", "Not in breach#", "Undecided#", "Other#"];
    let headings = names.iter().map(String::as_str).chain(names.is_empty().then_some(""));
    let mut table = Lines::new(headings.chain(numbers));
    for row in &publication.difference {
        let mut key = row.key.iter().map(|value| short(value.dimension, &value.value)).collect::<Vec<_>>();
        if key.is_empty() {
            key = vec![String::new(); names.len().max(1)];
            key.iter_mut().take(1).for_each(|first| "Total".clone_into(first));
        }
        table.row(key.into_iter().chain(moved(row)));
    }
    table.to_string()
}

fn moved(row: &RestatedRow) -> Vec<String> {
    let counts = |row: &Option<ReportRow>| row.clone().unwrap_or_default().counts.unwrap_or_default();
    let (before, after) = (counts(&row.before), counts(&row.after));
    let pairs = [
        (before.referred, after.referred),
        (before.closed, after.closed),
        (before.not_in_breach, after.not_in_breach),
        (before.undecided, after.undecided),
        (before.other, after.other),
    ];
    let told = |(before, after): (i64, i64)| {
        if before == after { grouped(after) } else { format!("{} → {}", grouped(before), grouped(after)) }
    };
    pairs.map(told).to_vec()
}
