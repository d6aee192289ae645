//! Refuses a call for which the caller has no role, before the service is asked.

use http::{Request, Response};
use portreeve_core::{Error, Principal, Reason, Result};
use tonic::body::Body;

use super::methods::{Method, Methods};
use super::{Around, Inner, Next};
use crate::permissions;
use crate::status::status;

/// The layer. Stands inside the one that knows the caller.
#[derive(Clone, Debug)]
pub struct Permit {
    methods: Methods,
}

impl Permit {
    /// Knows from the contract and from the table of permissions who may call what.
    pub fn new(methods: Methods) -> Self {
        Self { methods }
    }
}

fn check(method: &Method, caller: Option<&Principal>) -> Result<()> {
    // Health and reflection are everybody's; a method that the contract does not have is refused by the router.
    let Some(roles) = method.permitted else { return Ok(()) };
    let caller = caller.ok_or_else(|| Error::new(Reason::Unauthenticated, "the acting organisation is missing"))?;
    permissions::require(caller, roles)
}

impl Around for Permit {
    async fn around<S: Inner>(&self, request: Request<Body>, next: Next<'_, S>) -> Response<Body> {
        let method = self.methods.at(request.uri().path());
        match check(method, request.extensions().get::<Principal>()) {
            Ok(()) => next.run(request).await,
            Err(error) => status(&error).into_http(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use portreeve_core::principal::Role;
    use tonic::{Code, Status};
    use tonic_types::StatusExt as _;
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::layers::Wrap;

    async fn call(methods: &Methods, path: &str, caller: Option<Principal>) -> Option<(Code, String)> {
        let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let answer = Wrap::new(Permit::new(methods.clone())).layer(inner).oneshot(request).await.unwrap();
        let status = Status::from_header_map(answer.headers())?;
        Some((status.code(), status.get_error_details().error_info().unwrap().reason.clone()))
    }

    #[tokio::test]
    async fn every_role_may_call_what_the_table_says_and_nothing_else() {
        let methods =
            Methods::read(&[portreeve_api::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        let mut asked = 0;
        for (path, method) in methods.iter().filter(|(path, _)| path.starts_with("/portreeve.")) {
            let table = permissions::roles(&method.service, &method.name).unwrap();
            for (role, name, kinds, _) in Role::ALL {
                for kind in kinds {
                    let organisation = format!("{}/some-one", kind.collection()).parse().unwrap();
                    let caller = Principal::new(organisation, "", &[name]).unwrap();
                    let refused = Some((Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
                    let expected = if table.contains(&role) { None } else { refused };
                    assert_eq!(call(&methods, path, Some(caller)).await, expected, "{name} of {kind:?}: {path}");
                    asked += 1;
                }
            }
            let stranger = Some((Code::Unauthenticated, "UNAUTHENTICATED".to_owned()));
            assert_eq!(call(&methods, path, None).await, stranger, "{path}");
        }
        assert!(asked > 30 * Role::ALL.len(), "{asked}");
        assert_eq!(call(&methods, "/grpc.health.v1.Health/Check", None).await, None);
        assert_eq!(call(&methods, "/portreeve.referral.v1.ReferralService/Nothing", None).await, None);
    }
}
