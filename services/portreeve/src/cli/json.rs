//! Messages as JSON, in protobuf's own canonical form (ProtoJSON), so that any protobuf library reads them back.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use super::failure::{Failure, Result};

/// One message on one line. `name` is its full name, such as `portreeve.referral.v1.Referral`.
pub(crate) fn line<M: Message>(message: &M, name: &str) -> Result<String> {
    let dynamic = dynamic(message, name)?;
    serde_json::to_string(&dynamic).map_err(|error| Failure::Failed(format!("{name} as JSON: {error}")))
}

/// A message from its JSON; what the contract does not know is refused.
pub(crate) fn read<M: Message + Default>(text: &str, name: &str) -> Result<M> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("this is no {name}: {error}"));
    let mut json = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor(name)?, &mut json).map_err(|error| failed(&error))?;
    json.end().map_err(|error| failed(&error))?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|error| failed(&error))
}

fn dynamic<M: Message>(message: &M, name: &str) -> Result<DynamicMessage> {
    DynamicMessage::decode(descriptor(name)?, message.encode_to_vec().as_slice())
        .map_err(|error| Failure::Failed(format!("{name}: {error}")))
}

fn descriptor(name: &str) -> Result<MessageDescriptor> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(portreeve_api::FILE_DESCRIPTOR_SET).ok());
    let descriptor = pool.as_ref().and_then(|pool| pool.get_message_by_name(name));
    descriptor.ok_or_else(|| Failure::Failed(format!("{name} is not in the contract")))
}

#[cfg(test)]
mod tests {
    use portreeve_api::common::v1::{Ground, TargetKind};
    use portreeve_api::referral::v1::{Referral, Target};

    use super::*;

    #[test]
    fn messages_come_out_in_protojson() {
        let referral = Referral {
            name: "agencies/nca/referrals/x".to_owned(),
            target: Some(Target {
                kind: TargetKind::Page.into(),
                url: "https://hb.example/1".to_owned(),
                ..Target::default()
            }),
            ground: Ground::OfferTransportSea.into(),
            occurred_at: Some(prost_types::Timestamp { seconds: 1_580_000_000, nanos: 0 }),
            ..Referral::default()
        };
        assert_eq!(
            line(&referral, "portreeve.referral.v1.Referral").ok().as_deref(),
            Some(
                r#"{"name":"agencies/nca/referrals/x","target":{"kind":"TARGET_KIND_PAGE","url":"https://hb.example/1"},"ground":"GROUND_OFFER_TRANSPORT_SEA","occurredAt":"2020-01-26T00:53:20Z"}"#
            )
        );
        assert!(line(&referral, "portreeve.Nothing").is_err());
        let name = "portreeve.referral.v1.Referral";
        assert_eq!(read::<Referral>(&line(&referral, name).unwrap(), name).unwrap(), referral);
        for wrong in ["", "{", "{} {}", r#"{"nothing":1}"#] {
            assert!(read::<Referral>(wrong, name).is_err(), "{wrong}");
        }
    }
}
