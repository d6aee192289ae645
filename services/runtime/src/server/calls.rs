//! Calls of the server's own methods by its pages, as whoever asked for the page.
//!
//! A page is a client like any other: what it shows went through all the layers, with the asker's certificate or token, so that it is
//! permitted, limited, recorded and measured as any call is. A browser is no client like any other: what it asks for may be another
//! site's doing, so that only what its visitor asked for gets that far.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use portreeve_core::{Error, Principal, Reason, Result};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

use crate::channel;
use crate::identity::{Identity, Peer};

/// How callers of a server say who they are. Neither way: it believes them who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// By a certificate, over connections that are secured.
    pub certificates: bool,
    /// By a bearer token.
    pub tokens: bool,
}

impl Credentials {
    pub(super) fn of(identity: Option<&Identity>) -> Self {
        Self {
            certificates: identity.is_some_and(|identity| identity.tls().is_some()),
            tokens: identity.is_some_and(Identity::takes_tokens),
        }
    }

    /// Whether the server believes callers who they are.
    pub const fn are_not_asked_for(self) -> bool {
        !self.certificates && !self.tokens
    }
}

/// The methods of a server, as whoever asked for a page.
#[derive(Clone)]
pub struct Calls {
    pub(super) grpc: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    pub(super) peer: Peer,
    pub(super) credentials: Credentials,
    authorization: Option<HeaderValue>,
}

impl Calls {
    pub(super) const fn new(
        grpc: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
        peer: Peer,
        credentials: Credentials,
    ) -> Self {
        Self { grpc, peer, credentials, authorization: None }
    }

    /// How the server's callers say who they are.
    pub const fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// Whom the connection's certificate names.
    pub fn certified(&self) -> Option<&Principal> {
        match &self.peer {
            Peer::Certified(named) => named.as_ref().as_ref().ok(),
            Peer::Local | Peer::Unnamed => None,
        }
    }

    /// The same with a credential in place of what came with the request.
    #[must_use]
    pub fn authorized(self, authorization: HeaderValue) -> Self {
        Self { authorization: Some(authorization), ..self }
    }
}

impl<S: Sync> FromRequestParts<S> for Calls {
    type Rejection = Refused;

    /// Refuses what may be another site's doing.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let calls = parts.extensions.get::<Self>().cloned();
        let calls = calls.ok_or_else(|| Refused(Error::internal("a page is served by no server")))?;
        let host = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = host.or_else(|| parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
        check(&parts.headers, host, calls.credentials).map_err(Refused)?;
        Ok(Self { authorization: parts.headers.get(header::AUTHORIZATION).cloned(), ..calls })
    }
}

/// Why a page gets no calls.
#[derive(Debug)]
pub struct Refused(pub Error);

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> axum::response::Response {
        let text = crate::status::status(&self.0).message().to_owned();
        (http::StatusCode::FORBIDDEN, text + "\n").into_response()
    }
}

fn check(headers: &HeaderMap, host: Option<&str>, credentials: Credentials) -> Result<()> {
    // Without certificates of servers, any name can be made to lead to this machine.
    if !credentials.certificates && !host.is_some_and(is_loopback) {
        let message =
            "this server shows its pages under the names of this machine only, such as localhost or 127.0.0.1";
        return Err(Error::new(Reason::PermissionDenied, message));
    }
    let said = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let elsewhere = said("sec-fetch-site").is_some_and(|site| !matches!(site, b"same-origin" | b"none"));
    // A link that a visitor follows leads here; what another site has a browser load in the background, or in a frame, does not.
    let followed = said("sec-fetch-mode") == Some(b"navigate") && said("sec-fetch-dest") == Some(b"document");
    if elsewhere && !followed {
        return Err(Error::new(Reason::PermissionDenied, "this server shows nothing to pages of other sites"));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    host.parse::<http::uri::Authority>().is_ok_and(|authority| channel::is_loopback(authority.host()))
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // What is too many is refused, not kept waiting.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        Box::pin(self.grpc.clone().oneshot(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_answers_its_visitor_and_no_other_site() {
        let open = Credentials { certificates: false, tokens: false };
        let secured = Credentials { certificates: true, tokens: false };
        let may = |credentials, host: &str, fetch: [&str; 3]| {
            let mut headers = HeaderMap::new();
            for (name, value) in ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"].into_iter().zip(fetch) {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            check(&headers, Some(host).filter(|host| !host.is_empty()), credentials).is_ok()
        };
        let none = ["", "", ""];
        for host in ["localhost:7400", "127.0.0.1:7400", "[::1]:7400", "localhost"] {
            assert!(may(open, host, none), "{host}");
        }
        for host in ["", "evil.example:7400", "localhost.evil.example", "127.0.0.1.evil.example", "a b"] {
            assert!(!may(open, host, none), "{host}");
        }
        assert!(may(secured, "portreeve.example", none));
        for (fetch, expected) in [
            (["none", "navigate", "document"], true),
            (["same-origin", "cors", "empty"], true),
            (["cross-site", "navigate", "document"], true),
            (["cross-site", "navigate", "iframe"], false),
            (["cross-site", "no-cors", "image"], false),
            (["same-site", "cors", "empty"], false),
        ] {
            assert_eq!(may(secured, "portreeve.example", fetch), expected, "{fetch:?}");
            assert_eq!(may(open, "localhost", fetch), expected, "{fetch:?}");
        }
    }
}
