//! Reports as files.

mod csv;
mod parquet;
mod table;

use std::sync::OnceLock;

use bytes::Bytes;
use portreeve_api::FILE_DESCRIPTOR_SET;
use portreeve_api::reporting::v1 as wire;
use portreeve_core::{Error, Reason, Result, limits};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

pub(super) use csv::csv;
pub(super) use parquet::parquet;

/// Bytes of one message of an export.
const PIECE_BYTES: usize = 64 * 1024;

/// A file in pieces of a size that every client takes, made of the parts in which it is written. The next part is written when the one
/// before it has gone.
pub(super) fn pieces(
    parts: impl Iterator<Item = Result<Vec<u8>>> + Send,
) -> impl Iterator<Item = Result<Bytes>> + Send {
    parts.flat_map(|part| {
        let (mut rest, mut failed) = match part {
            Ok(part) => (Bytes::from(part), None),
            Err(error) => (Bytes::new(), Some(Err(error))),
        };
        std::iter::from_fn(move || {
            if rest.is_empty() { failed.take() } else { Some(Ok(rest.split_to(rest.len().min(PIECE_BYTES)))) }
        })
    })
}

/// Refuses a report that does not fit into one message.
pub(super) fn check_size(report: &wire::Report) -> Result<()> {
    // What goes around it: the tag, the length, and in a stream the token and the progress.
    const AROUND: usize = 4 * 1024;
    let actual = report.encoded_len() + AROUND;
    if actual <= limits::REPLY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(
        Reason::LimitExceeded,
        "the report does not fit into one message; divide it by less, filter it, or export it as a file",
    )
    .with("limit", "REPLY_BYTES_MAX")
    .with("maximum", limits::REPLY_BYTES_MAX)
    .with("actual", actual))
}

/// The report in the canonical JSON form of protobuf, zeros shown: a figure that is nought is still a figure.
pub(super) fn json(report: &wire::Report) -> Result<Vec<u8>> {
    canonical(report, "portreeve.reporting.v1.Report")
}

fn canonical(message: &impl Message, name: &str) -> Result<Vec<u8>> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());
    let descriptor = pool.as_ref().and_then(|pool| pool.get_message_by_name(name));
    let descriptor = descriptor.ok_or_else(|| Error::internal(format!("the contract has no {name}")))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|e| failed(&e))?;
    let mut file = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut file);
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(&mut writer, &options).map_err(|e| failed(&e))?;
    Ok(file)
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("the report cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_file() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let parts = [vec![7; length], vec![8; 3]];
            let pieces = pieces(parts.clone().into_iter().map(Ok)).collect::<Result<Vec<_>>>().unwrap();
            assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
            assert_eq!((pieces.len(), pieces.concat()), (length.div_ceil(PIECE_BYTES) + 1, parts.concat()));
        }
        let broken = [Ok(vec![7]), Err(Error::internal("broken"))];
        assert_eq!(pieces(broken.into_iter()).map(|piece| piece.is_ok()).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_report_that_does_not_fit_into_a_message_is_refused() {
        let of = |bytes: usize| wire::Report { digest: "x".repeat(bytes), ..wire::Report::default() };
        assert!(check_size(&of(limits::REPLY_BYTES_MAX - 8 * 1024)).is_ok());
        let refused = check_size(&of(limits::REPLY_BYTES_MAX)).map_err(|error| error.reason());
        assert_eq!(refused, Err(Reason::LimitExceeded));
    }
}
