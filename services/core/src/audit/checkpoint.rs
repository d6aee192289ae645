//! A signed root: the tree's size and root under the log's name, as a C2SP checkpoint in a signed note.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use signed_note::{Note, NoteError, StandardSigner, StandardVerifier, Verifier as _, VerifierList};

use super::{Hash, hex};
use crate::token::Epoch;
use crate::{Error, Result};

/// A log as it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log, and which life of it.
    pub origin: String,
    /// The number of its events.
    pub size: i64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// The name of a log and of its key: `portreeve/referral/` and the epoch. A restored log has another epoch, so that its
/// checkpoints are never taken for those of its former life.
pub fn origin(log: &str, epoch: Epoch) -> String {
    format!("portreeve/{log}/{}", hex(&epoch))
}

/// Why a checkpoint is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The key is not one.
    #[error("the key cannot be read: it has the form NAME+ID+KEY, as the server gives it")]
    Key,
    /// The checkpoint is not one.
    #[error("the checkpoint cannot be read")]
    Form,
    /// It is signed, but not with this key.
    #[error("the checkpoint is not signed with this key")]
    Unsigned,
    /// The signature does not fit.
    #[error("the checkpoint's signature is wrong")]
    Signature,
    /// It is another log's.
    #[error("the checkpoint is of another log than its key")]
    Foreign,
}

/// The Ed25519 key with which a service signs.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Ed25519, among the kinds of signature of a signed note.
const ED25519: u8 = 1;

impl SigningKey {
    /// The key that these random bytes make.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Reads a private key as `openssl genpkey -algorithm ed25519` writes it: PKCS#8 in PEM.
    pub fn from_pem(pem: &str) -> Option<Self> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem).ok().map(Self)
    }

    /// Writes it like that.
    pub fn to_pem(&self) -> Result<String> {
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).map_err(|error| Error::internal(error.to_string()))?;
        Ok(pem.as_str().to_owned())
    }

    /// The public half for a log, as whoever verifies needs it: `NAME+ID+KEY`.
    pub fn verifier(&self, origin: &str) -> String {
        signed_note::new_ed25519_verifier_key(origin, &self.0.verifying_key())
    }

    /// The checkpoint as a signed note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<String> {
        let internal = |error: &dyn fmt::Display| Error::internal(format!("a checkpoint was not signed: {error}"));
        let Checkpoint { origin, size, root } = checkpoint;
        let size = u64::try_from(*size).map_err(|error| internal(&error))?;
        let text = tlog_tiles::Checkpoint::new(origin, size, tlog_tiles::Hash(*root), "");
        let text = text.map_err(|error| internal(&error))?.to_bytes();
        let public = [[ED25519].as_slice(), self.0.verifying_key().as_bytes()].concat();
        let private = STANDARD.encode([[ED25519].as_slice(), self.0.as_bytes()].concat());
        let key = format!("PRIVATE+KEY+{origin}+{:08x}+{private}", signed_note::key_id(origin, &public));
        let signer = StandardSigner::new(&key).map_err(|error| internal(&error))?;
        let mut note = Note::new(&text, &[]).map_err(|error| internal(&error))?;
        note.add_sigs(&[&signer]).map_err(|error| internal(&error))?;
        String::from_utf8(note.to_bytes()).map_err(|error| internal(&error))
    }
}

/// A checkpoint whose signature was verified with a key of the form `NAME+ID+KEY`. Signatures of others (witnesses) are
/// passed over.
pub fn open(note: &str, key: &str) -> Result<Checkpoint, Distrust> {
    let verifier = StandardVerifier::new(key.trim()).map_err(|_| Distrust::Key)?;
    let name = verifier.name().to_owned();
    let note = Note::from_bytes(note.as_bytes()).map_err(|_| Distrust::Form)?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(|error| match error {
        NoteError::InvalidSignature { .. } => Distrust::Signature,
        _ => Distrust::Unsigned,
    })?;
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).map_err(|_| Distrust::Form)?;
    if read.origin() != name {
        return Err(Distrust::Foreign);
    }
    let size = i64::try_from(read.size()).map_err(|_| Distrust::Form)?;
    Ok(Checkpoint { origin: name, size, root: read.hash().0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: origin("referral", [0xab; 8]), size: 42, root: [7; 32] }
    }

    #[test]
    fn a_signed_checkpoint_is_believed_and_no_other() {
        let key = SigningKey::from_seed([1; 32]);
        let (checkpoint, verifier) = (checkpoint(), key.verifier(&checkpoint().origin));
        let note = key.sign(&checkpoint).unwrap();
        let lines = note.lines().collect::<Vec<_>>();
        assert_eq!(lines[..4], ["portreeve/referral/abababababababab", "42", &STANDARD.encode([7; 32]), ""]);
        assert!(lines[4].starts_with("\u{2014} portreeve/referral/abababababababab "));
        assert_eq!(open(&note, &verifier), Ok(checkpoint.clone()));
        assert_eq!(open(&note, &format!("{verifier}\n")), Ok(checkpoint.clone()));

        assert_eq!(open(&note.replace("42", "43"), &verifier), Err(Distrust::Signature));
        assert_eq!(open(&note[1..], &verifier), Err(Distrust::Signature));
        assert_eq!(open("nonsense", &verifier), Err(Distrust::Form));
        let other = SigningKey::from_seed([2; 32]);
        assert_eq!(open(&note, &other.verifier(&checkpoint.origin)), Err(Distrust::Unsigned));
        assert_eq!(open(&note, "x"), Err(Distrust::Key));
        // A note of another log under this log's name and key: the text says whose it is.
        let foreign = Checkpoint { origin: origin("decision", [0xab; 8]), ..checkpoint.clone() };
        let foreign = key.sign(&foreign).unwrap();
        assert_eq!(open(&foreign, &verifier), Err(Distrust::Unsigned));
    }

    #[test]
    fn a_key_is_kept_as_openssl_keeps_it() {
        // openssl genpkey -algorithm ed25519, the key of RFC 8410.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.to_pem().unwrap(), pem);
        assert!(SigningKey::from_pem("").is_none() && SigningKey::from_pem(&pem.replace("MC4", "MC5")).is_none());
        assert_eq!(format!("{key:?}"), "SigningKey");
    }
}
