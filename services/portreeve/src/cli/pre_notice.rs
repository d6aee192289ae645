//! `portreeve pre-notice`: what a platform is told before the first removal order.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{GivePreNoticeRequest, ListPreNoticesRequest, PreNoticeDraft};
use portreeve_core::name::OrganisationName;
use prost_types::Timestamp;

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, when};

/// Tell a platform of procedures and deadlines, 12 hours before the first removal order (TCO art. 3(2))
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve pre-notice give platforms/harbourbook --contact 'tco@bka.example' \\\n    \
    --procedures 'Orders are carried out within one hour.' --as agencies/bka"
)]
pub(crate) struct PreNotice {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give a platform a pre-notice
    #[command(
        after_help = "Example:\n  portreeve pre-notice give platforms/harbourbook --contact 'tco@bka.example' \\\n    \
        --procedures 'Orders are carried out within one hour.' --as agencies/bka"
    )]
    Give {
        /// The platform
        platform: OrganisationName,
        /// Who answers its questions, and how they are reached
        #[arg(long, value_name = "TEXT")]
        contact: String,
        /// The applicable procedures and deadlines
        #[arg(long, value_name = "TEXT")]
        procedures: String,
        /// When it was given, if not now; for the role import
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        at: Option<Timestamp>,
        #[command(flatten)]
        write: Write,
    },
    /// List those of the agency, or those that the platform was given
    #[command(after_help = "Example:\n  portreeve pre-notice list --as platforms/harbourbook")]
    List {
        /// Those of one agency alone
        #[arg(long, value_name = "AGENCY")]
        agency: Option<OrganisationName>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

impl PreNotice {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Give { platform, contact, procedures, at, write } => {
                let session = write.connection.open(None).await?;
                let draft = PreNoticeDraft { platform: platform.to_string(), contact, procedures, given_at: at };
                let request = GivePreNoticeRequest {
                    parent: session.organisation().to_string(),
                    pre_notice: Some(draft),
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, pre_notices, give_pre_notice, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.GivePreNoticeResponse")?);
                }
                say!("given: {}", reply.pre_notice.unwrap_or_default().name)?;
                written(&reply.revision, reply.replayed)
            }
            Action::List { agency, json, connection } => {
                let session = connection.open(None).await?;
                let mut request = ListPreNoticesRequest {
                    parent: agency.map_or_else(|| "agencies/-".to_owned(), |agency| agency.to_string()),
                    page_size: 1_000,
                    ..ListPreNoticesRequest::default()
                };
                let mut table = Lines::new(["Given", "To", "Contact", "Pre-notice"]);
                loop {
                    let reply = call!(session, pre_notices, list_pre_notices, &request)?;
                    for notice in reply.pre_notices {
                        if json {
                            say!("{}", json::line(&notice, "portreeve.referral.v1.PreNotice")?)?;
                            continue;
                        }
                        table.row([when(notice.given_at.as_ref()), notice.platform, notice.contact, notice.name]);
                    }
                    if reply.next_page_token.is_empty() {
                        break;
                    }
                    request.page_token = reply.next_page_token;
                }
                if json { Ok(()) } else { say!("{table}") }
            }
        }
    }
}
