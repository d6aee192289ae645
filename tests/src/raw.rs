//! Calls with bytes of the test's choice in place of messages.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use portreeve_api::clients::{ORGANISATION_KEY, ROLES_KEY};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A method of the contract.
#[derive(Clone, Debug)]
pub struct Method {
    /// Its path, such as `/portreeve.referral.v1.ReferralService/CreateReferral`.
    pub path: String,
    /// The full name of its request, such as `.portreeve.referral.v1.CreateReferralRequest`.
    pub request: String,
    /// Whether it changes something.
    pub writes: bool,
    /// Whether it streams its answers.
    pub streams: bool,
}

/// Every method of the contract.
pub fn methods() -> Vec<Method> {
    let set = FileDescriptorSet::decode(portreeve_api::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("portreeve.")) {
        for service in &file.service {
            for method in &service.method {
                let idempotency = method.options.as_ref().and_then(|options| options.idempotency_level);
                methods.push(Method {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    request: method.input_type().to_owned(),
                    writes: idempotency.is_none(),
                    streams: method.server_streaming(),
                });
            }
        }
    }
    methods
}

/// Passes bytes through.
#[derive(Clone, Copy, Debug, Default)]
struct Through;

impl Codec for Through {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Through {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Through {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

/// Calls a method with one message of these bytes; gives the first message of the answer, if there is one. Who calls is an
/// organisation, such as `agencies/nca`, and after a blank the roles that it asks for, if these are not the ordinary ones.
pub async fn call(channel: &Channel, who: &str, path: &str, message: Bytes) -> Result<Option<Bytes>, Status> {
    match who.split_once(' ') {
        Some((organisation, roles)) => {
            send(channel, &[(ORGANISATION_KEY, organisation), (ROLES_KEY, roles)], path, message).await
        }
        None => send(channel, &[(ORGANISATION_KEY, who)], path, message).await,
    }
}

/// The same with something in the metadata `authorization`.
pub async fn call_with(
    channel: &Channel,
    authorization: &str,
    path: &str,
    message: Bytes,
) -> Result<Option<Bytes>, Status> {
    send(channel, &[("authorization", authorization)], path, message).await
}

async fn send(
    channel: &Channel,
    metadata: &[(&'static str, &str)],
    path: &str,
    message: Bytes,
) -> Result<Option<Bytes>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(tokio_stream::once(message));
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.parse().unwrap());
    }
    let path = PathAndQuery::try_from(path).unwrap();
    let mut answers = grpc.streaming(request, path, Through).await?.into_inner();
    answers.message().await
}
