//! How a secured server knows who calls: by the certificate of a connection, or by the token of a call.
//!
//! Both give the same [`Principal`]. A certificate that is not trusted, is past its end or was revoked ends the handshake
//! with the alert of TLS that says so (`unknown_ca`, `certificate_expired`, `certificate_revoked`); whatever else is wrong
//! is a refusal with its reason. What callers say of themselves in metadata is not read.

pub mod client;
pub mod fetch;
pub mod files;
#[cfg(test)]
mod fuzz;
mod jwt;
pub mod keys;
pub mod revocation;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, header};
use portreeve_core::{Clock, Error, Principal, Reason, Result, Timestamp};

use crate::config::Config;
use crate::lifecycle::Lifecycle;
use tls::Tls;
use tokens::Tokens;

/// Why a file with certificates, keys or a revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It does not hold what it should.
    #[error("{0}: {1}")]
    Content(PathBuf, String),
    /// What an issuer publishes are no keys.
    #[error("{0}: {1}")]
    Published(String, String),
    /// Certificates, keys and roots do not go together.
    #[error("the certificate, its key and the authorities do not go together: {0}")]
    Tls(String),
}

/// What a connection tells of its other end.
#[derive(Clone, Debug)]
pub enum Peer {
    /// It is this very process.
    Local,
    /// It came over the network, and showed no certificate.
    Unnamed,
    /// It showed a certificate of an authority that is trusted; whom that names, or why it names nobody.
    Certified(Arc<Result<Principal>>),
}

/// Who calls, and until when that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub principal: Principal,
    /// Until when, for a token. A connection whose certificate is past its end is closed.
    pub until: Option<Timestamp>,
}

/// The credentials that a secured server takes.
#[derive(Clone)]
pub struct Identity {
    tls: Option<Arc<Tls>>,
    tokens: Option<Arc<Tokens>>,
    clock: Arc<dyn Clock>,
}

impl Identity {
    /// What the configuration says; `None` for an open server.
    pub async fn load(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Self>, IdentityError> {
        let tls = settings::tls(config).map(|files| Tls::load(files, Arc::clone(clock))).transpose()?;
        let tokens = match settings::tokens(config) {
            Some(settings) => Some(Tokens::load(settings, clock).await?),
            None => None,
        };
        let secured = tls.is_some() || tokens.is_some();
        Ok(secured.then(|| Self { tls: tls.map(Arc::new), tokens: tokens.map(Arc::new), clock: Arc::clone(clock) }))
    }

    /// What connections are secured with; without it, a server runs on loopback only.
    pub const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Whether callers may say who they are by a bearer token.
    pub const fn takes_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Takes up changed files for as long as the process takes new work.
    pub(crate) fn keep_fresh(&self, life: &Lifecycle) {
        if let Some(tls) = &self.tls {
            files::keep_fresh("the renewal of certificates", life, Arc::clone(tls.files()));
            tls.watch_revocation_lists(life);
        }
        if let Some(tokens) = &self.tokens {
            tokens.keep_fresh(life);
        }
    }

    /// Who makes a call.
    pub async fn caller(&self, peer: &Peer, headers: &HeaderMap) -> Result<Known> {
        let certified = match peer {
            Peer::Certified(named) => {
                self.tls.as_ref().map_or(Ok(()), |tls| tls.knows_who_was_revoked())?;
                Some(named.as_ref().clone()?)
            }
            Peer::Local | Peer::Unnamed => None,
        };
        let Some(token) = bearer(headers)? else {
            let principal = certified.ok_or_else(|| {
                Error::new(
                    Reason::Unauthenticated,
                    "nobody is named; connect with a client certificate, or send a token as the metadata authorization: \
                     Bearer TOKEN",
                )
            })?;
            return Ok(Known { principal, until: None });
        };
        let tokens = self.tokens.as_ref().ok_or_else(|| invalid("this server takes no tokens; use a certificate"))?;
        let (principal, until) = tokens.verify(token, self.clock.now()).await?;
        // Somebody else's token over one's own connection is a stolen one.
        if certified.is_some_and(|certified| certified.organisation() != principal.organisation()) {
            return Err(invalid("it names another organisation than the connection's certificate"));
        }
        Ok(Known { principal, until: Some(until) })
    }
}

/// The bearer token of a call (RFC 6750), if it has one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = || invalid("the metadata authorization must be, once, Bearer and the token");
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wrong)?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") { Err(wrong()) } else { Ok(Some(token)) }
}

fn invalid(what: &'static str) -> Error {
    Error::new(Reason::CredentialInvalid, what).with("credential", "token")
}
