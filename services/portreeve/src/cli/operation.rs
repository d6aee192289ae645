//! `portreeve operation`: agencies refer together.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{
    CloseOperationRequest, CreateOperationRequest, GetOperationRequest, JoinOperationRequest, JointAgency,
    JointAgencyState, LeaveOperationRequest, ListOperationsRequest, Operation as Message, OperationState,
    UpdateOperationRequest,
};
use portreeve_core::name::{OperationName, OrganisationName};
use prost_types::Timestamp;

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::organisation::of_agency;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, grouped, shown, when};

/// Refer together with other agencies, in a window of time
///
/// One agency leads an operation and invites others; each joins by itself. What belongs to it names it when it is sent
/// (`refer --operation`, the column `operation` of an import); `report --by operation` tells what became of it, in referrals and in targets.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve operation create 'Action day Heron' --until 2026-06-16T18:00:00Z \\\n    \
    --invite agencies/bka --as agencies/nca\n  \
    portreeve operation join agencies/nca/operations/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/bka"
)]
pub(crate) struct Operation {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Plan an operation, or open one at once; for an approver of the agency that leads it
    #[command(
        after_help = "Example:\n  portreeve operation create 'Action day Heron' --from 2026-06-16T06:00:00Z \\\n    \
        --until 2026-06-16T18:00:00Z --invite agencies/bka --invite agencies/kmar --as agencies/nca"
    )]
    Create {
        /// What its agencies call it; it names no person
        title: String,
        /// When its window begins, if not now
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        from: Option<Timestamp>,
        /// When its window ends
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        until: Timestamp,
        /// An agency that is to take part; may be repeated
        #[arg(long, value_name = "AGENCY")]
        invite: Vec<OrganisationName>,
        #[command(flatten)]
        write: Write,
    },
    /// Change an operation that is not closed, or invite further agencies; for an approver of its lead
    #[command(
        after_help = "Example:\n  portreeve operation update agencies/nca/operations/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --until 2026-06-17T18:00:00Z --as agencies/nca"
    )]
    Update {
        /// The operation
        name: OperationName,
        /// What its agencies call it from now on
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        title: String,
        /// When its window begins, while it has not
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        from: Option<Timestamp>,
        /// When its window ends
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        until: Option<Timestamp>,
        /// An agency that is to take part, too; may be repeated
        #[arg(long, value_name = "AGENCY")]
        invite: Vec<OrganisationName>,
        #[command(flatten)]
        write: Write,
    },
    /// Join an operation to which the agency was invited; for an approver of it
    #[command(
        after_help = "Example:\n  portreeve operation join agencies/nca/operations/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as agencies/bka"
    )]
    Join {
        /// The operation
        name: OperationName,
        #[command(flatten)]
        write: Write,
    },
    /// Leave an operation; what the agency referred in it stays in it
    #[command(
        after_help = "Example:\n  portreeve operation leave agencies/nca/operations/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as agencies/bka"
    )]
    Leave {
        /// The operation
        name: OperationName,
        #[command(flatten)]
        write: Write,
    },
    /// Close an operation before its window ends; for an approver of its lead
    #[command(
        after_help = "Example:\n  portreeve operation close agencies/nca/operations/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as agencies/nca"
    )]
    Close {
        /// The operation
        name: OperationName,
        #[command(flatten)]
        write: Write,
    },
    /// Show one operation, with its agencies and what belongs to it; for these agencies
    #[command(
        after_help = "Example:\n  portreeve operation show agencies/nca/operations/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as agencies/bka"
    )]
    Show {
        /// The operation
        name: OperationName,
        /// Print it as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// List the operations that the agency leads or was invited to
    #[command(after_help = "Example:\n  portreeve operation list --as agencies/bka")]
    List {
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Says what a write did, the same for each.
macro_rules! tell {
    ($reply:expr, $write:expr, $name:literal, $done:literal) => {{
        let reply = $reply;
        if $write.json {
            return say!("{}", json::line(&reply, concat!("portreeve.referral.v1.", $name))?);
        }
        let operation = reply.operation.unwrap_or_default();
        say!(
            "{}: {}, {} until {}",
            $done,
            operation.name,
            shown::<OperationState>(operation.state),
            when(operation.end_time.as_ref())
        )?;
        written(&reply.revision, reply.replayed)
    }};
}

fn names(agencies: &[OrganisationName]) -> Result<Vec<String>> {
    agencies.iter().map(|agency| of_agency(agency).map(|()| agency.to_string())).collect()
}

impl Operation {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Create { title, from, until, invite, write } => {
                let invited = names(&invite)?.into_iter();
                let joint_agencies = invited.map(|agency| JointAgency { agency, ..JointAgency::default() }).collect();
                let (start_time, end_time) = (from, Some(until));
                let session = write.connection.open(None).await?;
                let request = CreateOperationRequest {
                    parent: session.organisation().to_string(),
                    operation: Some(Message { title, joint_agencies, start_time, end_time, ..Message::default() }),
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, operations, create_operation, request)?;
                tell!(reply, write, "CreateOperationResponse", "planned")
            }
            Action::Update { name, title, from, until, invite, write } => {
                let invite = names(&invite)?;
                let session = write.connection.open(None).await?;
                let request = UpdateOperationRequest {
                    name: name.to_string(),
                    title,
                    invite,
                    start_time: from,
                    end_time: until,
                    etag: String::new(),
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, operations, update_operation, request)?;
                tell!(reply, write, "UpdateOperationResponse", "changed")
            }
            Action::Join { name, write } => {
                let session = write.connection.open(None).await?;
                let (agency, request_id) = (session.organisation().to_string(), request_id(write.request_id));
                let request = JoinOperationRequest { name: name.to_string(), agency, request_id };
                let reply = call!(session, operations, join_operation, request)?;
                tell!(reply, write, "JoinOperationResponse", "joined")
            }
            Action::Leave { name, write } => {
                let session = write.connection.open(None).await?;
                let (agency, request_id) = (session.organisation().to_string(), request_id(write.request_id));
                let request = LeaveOperationRequest { name: name.to_string(), agency, request_id };
                let reply = call!(session, operations, leave_operation, request)?;
                tell!(reply, write, "LeaveOperationResponse", "left")
            }
            Action::Close { name, write } => {
                let session = write.connection.open(None).await?;
                let request =
                    CloseOperationRequest { name: name.to_string(), request_id: request_id(write.request_id) };
                let reply = call!(session, operations, close_operation, request)?;
                tell!(reply, write, "CloseOperationResponse", "closed")
            }
            Action::Show { name, json, connection } => show(&name, json, &connection).await,
            Action::List { json, connection } => list(json, &connection).await,
        }
    }
}

async fn show(name: &OperationName, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let request = GetOperationRequest { name: name.to_string(), ..GetOperationRequest::default() };
    let operation = call!(session, operations, get_operation, request)?.operation.unwrap_or_default();
    if as_json {
        return say!("{}", json::line(&operation, "portreeve.referral.v1.Operation")?);
    }
    say!("{}: {}", operation.name, operation.title)?;
    say!(
        "{}: from {} until {}{}",
        shown::<OperationState>(operation.state),
        when(operation.start_time.as_ref()),
        when(operation.end_time.as_ref()),
        operation.closed_at.as_ref().map_or_else(String::new, |at| format!(", closed {}", when(Some(at))))
    )?;
    say!("{}", size(&operation))?;
    let mut table = Lines::new(["Agency", "State", "Joined", "Left"]);
    let lead = name.agency.as_str();
    table.row([format!("agencies/{lead}"), "LEADS".to_owned(), String::new(), String::new()]);
    for of in operation.joint_agencies {
        let state = shown::<JointAgencyState>(of.state);
        table.row([of.agency, state, when(of.joined_at.as_ref()), when(of.left_at.as_ref())]);
    }
    say!("{table}")
}

/// What belongs to it, each with its unit.
fn size(operation: &Message) -> String {
    let [referrals, targets] =
        [operation.referral_count, operation.target_count].map(|count| grouped(i64::from(count)));
    format!("{referrals} referrals of {targets} targets")
}

async fn list(as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let parent = session.organisation().to_string();
    let mut request = ListOperationsRequest { parent, page_size: 1_000, ..ListOperationsRequest::default() };
    let mut table = Lines::new(["Operation", "Title", "State", "From", "Until", "Agencies#", "Size"]);
    loop {
        let reply = call!(session, operations, list_operations, &request)?;
        for operation in reply.operations {
            if as_json {
                say!("{}", json::line(&operation, "portreeve.referral.v1.Operation")?)?;
                continue;
            }
            let size = size(&operation);
            table.row([
                operation.name,
                operation.title,
                shown::<OperationState>(operation.state),
                when(operation.start_time.as_ref()),
                when(operation.end_time.as_ref()),
                (operation.joint_agencies.len() + 1).to_string(),
                size,
            ]);
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}
