//! The methods that a server has, as its contract describes them.

use std::collections::HashMap;
use std::sync::Arc;

use portreeve_core::principal::Role;
use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::permissions;

/// One method of the contract.
#[derive(Debug)]
pub struct Method {
    /// The full name of its service, such as `portreeve.referral.v1.ReferralService`.
    pub service: Arc<str>,
    /// Its own name, such as `CreateReferral`.
    pub name: Arc<str>,
    /// Whether either side sends more than one message.
    pub streaming: bool,
    /// Whether the caller sends many messages and gets one, which comes when all have come in.
    pub upload: bool,
    /// Health and reflection: open to everybody, and there until the end.
    pub infrastructure: bool,
    /// The roles that may call it: none if nobody said so. Not asked of infrastructure, nor of what there is not.
    pub permitted: Option<&'static [Role]>,
}

/// The methods by path, such as `/portreeve.referral.v1.ReferralService/CreateReferral`.
#[derive(Clone, Debug)]
pub struct Methods {
    known: Arc<HashMap<String, Arc<Method>>>,
    unknown: Arc<Method>,
}

/// The packages of health and reflection.
const INFRASTRUCTURE: &str = "grpc.";

impl Methods {
    /// Reads the methods from serialised `google.protobuf.FileDescriptorSet`s.
    pub fn read(descriptor_sets: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut known = HashMap::new();
        for encoded in descriptor_sets {
            for file in FileDescriptorSet::decode(*encoded)?.file {
                for service in &file.service {
                    let service_name = Arc::<str>::from(format!("{}.{}", file.package(), service.name()));
                    for method in &service.method {
                        let infrastructure = service_name.starts_with(INFRASTRUCTURE);
                        let roles = permissions::roles(&service_name, method.name());
                        let entry = Method {
                            service: Arc::clone(&service_name),
                            name: method.name().into(),
                            streaming: method.client_streaming() || method.server_streaming(),
                            upload: method.client_streaming() && !method.server_streaming(),
                            infrastructure,
                            permitted: (!infrastructure).then_some(roles.unwrap_or_default()),
                        };
                        known.insert(format!("/{service_name}/{}", method.name()), Arc::new(entry));
                    }
                }
            }
        }
        // Whatever a stranger calls counts as one method, so that nobody can fill the metrics with names.
        let unknown = Method {
            service: "unknown".into(),
            name: "unknown".into(),
            streaming: false,
            upload: false,
            infrastructure: false,
            permitted: None,
        };
        Ok(Self { known: Arc::new(known), unknown: Arc::new(unknown) })
    }

    /// The method at a path.
    pub fn at(&self, path: &str) -> &Arc<Method> {
        self.known.get(path).unwrap_or(&self.unknown)
    }

    /// Every method, the unknown one included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Method>)> {
        self.known.iter().map(|(path, method)| (path.as_str(), method)).chain([("", &self.unknown)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_tells_streams_from_unary_calls() {
        let methods =
            Methods::read(&[portreeve_api::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        assert!(!methods.at("/portreeve.referral.v1.ReferralService/CreateReferral").streaming);
        assert!(methods.at("/portreeve.referral.v1.ReferralService/ImportReferrals").streaming);
        assert!(methods.at("/grpc.health.v1.Health/Watch").infrastructure);
        assert_eq!(&*methods.at("/portreeve.referral.v1.ReferralService/Nothing").name, "unknown");
        assert!(Methods::read(&[b"\xff\xff"]).is_err());
    }
}
