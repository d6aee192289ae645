//! `portreeve consultations`: who read or received what.

use clap::{Args, ValueEnum};
use portreeve_api::consultation::v1::{
    Consultation, ConsultationFilter, ConsultationKind, ListConsultationsRequest, ListConsultationsResponse,
};
use portreeve_core::id::Uuid;
use portreeve_core::limits;
use portreeve_core::name::OrganisationName;

use super::connection::{Connection, Session};
use super::failure::Result;
use super::json;
use super::table::Lines;
use super::words::{grouped, shown, time, when, words_of};
use crate::suite::Service;

/// How entries are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Table,
    /// One entry per line in the canonical JSON form of protobuf
    Json,
}

/// Show who read or received an organisation's data, when and why
///
/// For the organisation's auditors (--roles auditor) and for oversight. Nobody sees entries of his own reading; how many
/// were withheld is said. Act with a name (--member): an auditor without one is refused. This reading is recorded too.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  portreeve consultations --of agencies/nca --as agencies/nca --member a.uditor --roles auditor\n  \
    portreeve consultations --of agencies/nca --kind disclosure --from 2020-05-01 --format json \\\n    \
    --as oversightBodies/committee --member c.lerk --justification 'Annual review'\n  \
    portreeve consultations --of agencies/nca --row 7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e5f --log decision \\\n    \
    --as agencies/nca --member a.uditor --roles auditor"
)]
pub(crate) struct Consultations {
    /// The organisation whose data was read, or whose members read; without it, all of them, which oversight may ask for
    #[arg(long, value_name = "ORGANISATION")]
    of: Option<OrganisationName>,
    /// The service that was asked; without it, all three
    #[arg(long = "log", value_enum)]
    service: Option<Service>,
    /// Only from this time or day
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<prost_types::Timestamp>,
    /// Only before this time or day
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<prost_types::Timestamp>,
    /// Only what this organisation read
    #[arg(long, value_name = "ORGANISATION")]
    reader: Vec<OrganisationName>,
    /// Only what this member read
    #[arg(long = "by", value_name = "NAME")]
    members: Vec<String>,
    /// Only by this method, such as portreeve.referral.v1.ReferralService/GetReferral
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Only this kind
    #[arg(long, value_name = "KIND", value_parser = words_of::<ConsultationKind>(), ignore_case = true)]
    kind: Option<ConsultationKind>,
    /// Only where this referral or case was named, by its identifier
    #[arg(long, value_name = "UUID")]
    row: Option<Uuid>,
    /// Show this many of each log at most
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Consultations {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.connection.open(None).await?;
        let mut found = Vec::new();
        let (mut withheld, mut more) = (0, false);
        for service in self.service.as_ref().map_or(Service::ALL.as_slice(), std::slice::from_ref) {
            let log = self.list(&session, *service).await?;
            found.extend(log.consultations);
            withheld += log.withheld;
            more |= !log.next_page_token.is_empty();
        }
        found.sort_by_key(|entry| entry.recorded_at.map(|time| (time.seconds, time.nanos)));
        if self.format == Format::Json {
            for entry in &found {
                say!("{}", json::line(entry, "portreeve.consultation.v1.Consultation")?)?;
            }
        } else {
            let mut table = Lines::new(["When", "Kind", "Of", "Reader", "Member", "Method", "What", "Why"]);
            for entry in &found {
                table.row(cells(entry));
            }
            say!("{table}")?;
            if more {
                say!("There are more; --limit shows them.")?;
            }
        }
        if withheld > 0 {
            eprintln!("{} of your own reading are withheld; somebody else may see them", grouped(withheld));
        }
        Ok(())
    }

    /// The entries of one log, up to the limit, as one page.
    async fn list(&self, session: &Session, service: Service) -> Result<ListConsultationsResponse> {
        let mut request = ListConsultationsRequest {
            log: format!("logs/{service}-access"),
            parent: self.of.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            filter: Some(ConsultationFilter {
                recorded_from: self.from,
                recorded_until: self.until,
                readers: self.reader.iter().map(ToString::to_string).collect(),
                members: self.members.clone(),
                methods: self.method.clone(),
                kind: self.kind.unwrap_or_default().into(),
                row: self.row.map(|row| row.to_string()).unwrap_or_default(),
            }),
            ..ListConsultationsRequest::default()
        };
        let mut all = ListConsultationsResponse::default();
        while all.consultations.len() < self.limit {
            let rest = (self.limit - all.consultations.len()).min(limits::PAGE_ROWS_MAX);
            request.page_size = i32::try_from(rest).unwrap_or(i32::MAX);
            let page = session
                .call(|| {
                    let (mut client, request) = (session.consultations(service), request.clone());
                    async move { client.list_consultations(request).await }
                })
                .await?;
            all.consultations.extend(page.consultations);
            all.withheld += page.withheld;
            all.next_page_token.clone_from(&page.next_page_token);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        Ok(all)
    }
}

fn cells(entry: &Consultation) -> [String; 8] {
    let when = when(entry.recorded_at.as_ref());
    let method = entry.method.rsplit('/').next().unwrap_or_default().to_owned();
    let why = match (entry.purpose.as_str(), entry.justification.as_str()) {
        (purpose, "") => purpose.to_owned(),
        ("", justification) => justification.to_owned(),
        (purpose, justification) => format!("{purpose}: {justification}"),
    };
    let of = if entry.owner.is_empty() { "everybody" } else { &entry.owner };
    [
        when,
        shown::<ConsultationKind>(entry.kind),
        of.to_owned(),
        entry.reader.clone(),
        entry.member.clone(),
        method,
        what(entry),
        why,
    ]
}

fn what(entry: &Consultation) -> String {
    if let Some(stretch) = &entry.stretch {
        let log = stretch.log.trim_start_matches("logs/");
        let rows = grouped(stretch.rows);
        let (after, through) = (stretch.after_position, stretch.through_position);
        return if stretch.snapshot {
            format!("{rows} rows as of {log} {}", grouped(through))
        } else {
            format!("{rows} rows of {log} {} to {}", grouped(after.saturating_add(1)), grouped(through))
        };
    }
    match entry.rows.as_slice() {
        [] => format!("report {}", entry.definition_digest.get(..12).unwrap_or_default()),
        [row] => row.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}
