//! Signed referrals: an agency's detached signature over the canonical bytes of what it refers, which whoever has the
//! agency's public key verifies, with no server asked.
//!
//! - [`content`]: the canonical bytes: JSON canonicalised by RFC 8785, of text alone, so that any language makes them.
//! - [`jws`]: the signature: a JWS with detached payload (RFC 7515, appendix F) by Ed25519 (RFC 8037).
//! - [`key`]: keys, when they are in force, and whether one of them made a signature.
//! - [`jwk`]: keys as files: a private JWK for who signs, a JWK set for who verifies.

pub mod content;
pub mod jwk;
pub mod jws;
pub mod key;

pub use content::{Content, OrderContent};
pub use jwk::{Jwk, Jwks};
pub use jws::Jws;
pub use key::{Distrust, Lapse, PrivateKey, PublicKey, Revocation, verify};
