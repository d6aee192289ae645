//! `QueryFlow`: what came into which bucket in a period.

use portreeve_api::common::v1::Progress;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::audit::hex;
use portreeve_core::{Error, Reason, Result, limits};
use portreeve_runtime::agreements::Asker as Who;
use portreeve_runtime::wire::violations;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::Request;

use super::asking::{named, told};
use super::convert::{
    Moment, check_rows, definition_digest, read_date, read_definition, write_counts, write_definition, write_key,
};
use super::measures::measures_of_a_flow;
use super::{Rpc, knowledge, revisions};
use crate::domain::{Counts, Definition, Key, Permitted, flow};

impl Rpc {
    pub(super) async fn flow(&self, request: Request<wire::QueryFlowRequest>) -> Result<wire::QueryFlowResponse> {
        let (asking, who) = (self.access.ask(&request)?, Who::new(&request)?);
        if named(&request)?.is_some() {
            return Err(not_granted());
        }
        let message = request.into_inner();
        let mut violations = violations(&message);
        let definition = read_definition(&mut violations, message.definition.as_ref(), Moment::Period);
        let from = read_date(&mut violations, "event_from_date", &message.event_from_date);
        let until = read_date(&mut violations, "event_until_date", &message.event_until_date);
        if from.zip(until).is_some_and(|(from, until)| until < from) {
            violations.add("event_until_date", "must not be before event_from_date");
        }
        let ((definition, from), until) = violations.finish(definition.zip(from).zip(until))?;
        let definition = Definition { entered_from: Some(from), as_of: Some(until), ..definition };
        self.caught_up(&message.at_least).await?;
        let (reader, joint) = self.reader(&who, &definition, None).await?;
        let permitted = Permitted::new(&reader, &joint, definition)?;
        let selected = self.parts.reads.select(&permitted).await?;
        let figures = flow(permitted.definition(), &selected.slices);
        check_rows(figures.rows.len())?;
        let asked = permitted.definition();
        let (known_at, settled) = knowledge(&selected, asked.known_at, self.clock.now().date());
        let definition = Definition { known_at: Some(known_at), ..asked.clone() };
        let mut flow = wire::Flow {
            rows: figures.rows.iter().map(|(key, entered)| write_row(&definition, key, entered)).collect(),
            total: Some(write_row(&definition, &Key::new(), &figures.total)),
            definition: Some(write_definition(&definition)),
            event_from_date: from.to_string(),
            event_until_date: until.to_string(),
            ..wire::Flow::default()
        };
        flow.digest = hex(&Sha256::digest(flow.encode_to_vec()));
        flow.progress = Some(Progress { revisions: revisions(&selected.own, &selected.followed) });
        flow.settled = settled;
        flow.definitions = measures_of_a_flow();
        check_size(&flow)?;
        if !reader.shares().is_empty() {
            // An agreement may have ended while the flow was made.
            self.reader(&who, permitted.definition(), Some(&reader)).await?;
        }
        told(&asking, &permitted, &definition_digest(flow.definition.as_ref()), None).await?;
        Ok(wire::QueryFlowResponse { flow: Some(flow) })
    }
}

fn write_row(definition: &Definition, key: &Key, entered: &Counts) -> wire::FlowRow {
    wire::FlowRow { key: write_key(definition, key), entered: Some(write_counts(entered)) }
}

/// What came and went is what small counts are withheld to hide.
fn not_granted() -> Error {
    Error::new(Reason::PermissionDenied, "flows are not for researchers; ask for a report, without divisions by events")
}

/// Refuses a flow that does not fit into one message.
fn check_size(flow: &wire::Flow) -> Result<()> {
    let actual = flow.encoded_len();
    if actual < limits::REPLY_BYTES_MAX {
        return Ok(());
    }
    let message = "the flow does not fit into one message; divide it by less, or filter it";
    Err(Error::new(Reason::LimitExceeded, message)
        .with("limit", "REPLY_BYTES_MAX")
        .with("maximum", limits::REPLY_BYTES_MAX)
        .with("actual", actual))
}
