//! `portreeve verify referral`: did the agency say this?

use std::fs;
use std::path::PathBuf;

use clap::Args;
use portreeve_api::decision::v1::{Case, GetCaseResponse};
use portreeve_api::signing;
use portreeve_core::signature::{Distrust, Jwks, Jws, PublicKey, verify};

use crate::cli::failure::{Failure, Result};
use crate::cli::json;

/// The exit codes, as the command's help tells them.
const INVALID: u8 = 20;
const KEY_UNKNOWN: u8 = 21;
const KEY_EXPIRED: u8 = 22;
const NOT_SIGNED: u8 = 23;
const ERASED: u8 = 24;

/// Verify that an agency signed what a case says, with the agency's public keys and no server
///
/// FILE holds cases as `inbox --format json` prints them, one in a line, or one answer of GetCase as JSON. The keys are the
/// set that `portreeve sign keys` writes, or the one that the agency publishes: get it by another way than the referral.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  portreeve inbox --format json --as platforms/harbourbook > cases.jsonl && \\\n  \
    portreeve verify referral cases.jsonl --keys nca.jwks\n\n\
    Ends with 0 if the agency signed all of them; else, for the first that it did not: 20 if the signature is not the \
    agency's or something was changed, 21 if the key is not among the keys, 22 if it was not in force when the signature \
    was made (not yet valid, expired or revoked), 23 if there is no signature, 24 if what was signed has been erased.")]
pub(super) struct Referral {
    /// The file with the cases
    file: PathBuf,
    /// The file with the agencies' public keys: a JWK set
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
}

/// A public key, and the agency whose it is said to be.
type Key = (Option<String>, PublicKey);

impl Referral {
    pub(super) fn run(&self) -> Result<()> {
        let text = fs::read_to_string(&self.keys).map_err(|error| Failure::file(&self.keys, &error))?;
        let keys = read_keys(&text).map_err(|error| Failure::Usage(format!("{}: {error}", self.keys.display())))?;
        let text = fs::read_to_string(&self.file).map_err(|error| Failure::file(&self.file, &error))?;
        let cases = read_cases(&text).map_err(|error| Failure::Usage(format!("{}: {error}", self.file.display())))?;
        let mut first = None;
        let mut refused = Vec::new();
        for case in &cases {
            match check(case, &keys) {
                Ok(said) => say!("{said}")?,
                Err((code, text)) => {
                    first.get_or_insert(code);
                    refused.push(format!("{}: {text}", case.name));
                }
            }
        }
        match first {
            None => Ok(()),
            Some(code) => Err(Failure::Disproved { code, text: refused.join("\n  ") }),
        }
    }
}

fn read_keys(text: &str) -> Result<Vec<Key>, String> {
    let set = serde_json::from_str::<Jwks>(text).map_err(|error| format!("no JWK set: {error}"))?;
    let key = |jwk: portreeve_core::signature::Jwk| {
        let key = jwk.to_public().ok_or_else(|| format!("the key {:?} is no Ed25519 key", jwk.kid))?;
        Ok((jwk.iss, key))
    };
    set.keys.into_iter().map(key).collect()
}

fn read_cases(text: &str) -> Result<Vec<Case>, String> {
    const CASE: &str = "portreeve.decision.v1.Case";
    if let Ok(reply) = json::read::<GetCaseResponse>(text, "portreeve.decision.v1.GetCaseResponse")
        && let Some(case) = reply.case
    {
        return Ok(vec![case]);
    }
    if let Ok(case) = json::read::<Case>(text, CASE) {
        return Ok(vec![case]);
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let cases = lines.map(|(number, line)| json::read(line, CASE).map_err(|error| format!("line {number}: {error}")));
    let cases = cases.collect::<Result<Vec<_>, _>>()?;
    if cases.is_empty() { Err("there is no case in it".to_owned()) } else { Ok(cases) }
}

/// Whose signature it is, or the exit code and what is wrong.
fn check(case: &Case, keys: &[Key]) -> Result<String, (u8, String)> {
    // What was erased is not there to be held against the signature, which says nothing of whether it was good.
    let erased =
        case.target.as_ref().is_none_or(|target| target.url.is_empty()) || case.statement_of_reasons.is_empty();
    if erased {
        return Err((ERASED, "ERASED: what was signed has been erased since".to_owned()));
    }
    let Some(signature) = &case.signature else {
        return Err((NOT_SIGNED, format!("NOT_SIGNED: {} did not sign it", case.agency)));
    };
    let invalid = |what: &str| (INVALID, format!("SIGNATURE_INVALID: {what}"));
    let jws = Jws::parse(&signature.jws).map_err(|error| invalid(&format!("the signature {error}")))?;
    let of_agency = keys.iter().filter(|(owner, _)| owner.as_ref().is_none_or(|owner| *owner == case.agency));
    let (agency, kid, at) = (&case.agency, jws.kid(), jws.signed_at());
    match verify(&jws, &signing::of_case(case), of_agency.map(|(_, key)| key)) {
        Ok(_) => Ok(format!("{}: signed by {agency} with the key {kid} at {at}", case.name)),
        Err(Distrust::Unknown) => {
            Err((KEY_UNKNOWN, format!("SIGNATURE_KEY_UNKNOWN: the key {kid} of {agency} is not among the keys")))
        }
        Err(Distrust::Invalid) => Err(invalid(&format!(
            "the key {kid} of {agency} did not sign this; something was changed, or it was forged"
        ))),
        Err(Distrust::NotInForce(lapse)) => Err((
            KEY_EXPIRED,
            format!("SIGNATURE_KEY_EXPIRED: it is signed at {at}, but the key {kid} of {agency} {lapse}"),
        )),
    }
}
