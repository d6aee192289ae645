//! `portreeve sign`: the keys with which an agency signs its referrals.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use portreeve_api::referral::v1::{
    AddSigningKeyRequest, GetSigningProfileRequest, ReferralDraft, ReferralSignature, RevokeSigningKeyRequest,
    SetSigningPolicyRequest, SigningKey, SigningProfile,
};
use portreeve_api::signing;
use portreeve_core::name::{OrganisationKind, OrganisationName, is_slug};
use portreeve_core::signature::{Jwk, Jwks, PrivateKey, PublicKey, Revocation};
use portreeve_core::time::DAY_MICROS;
use rand::TryRngCore as _;

use super::connection::{Connection, Session, call, now, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, from_proto, to_proto};

/// Keep the keys with which an agency signs its referrals
///
/// A platform verifies a signed referral with the agency's public key, and asks nobody (`portreeve verify referral`).
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve sign init nca-2026.jwk && portreeve sign register nca-2026.jwk --as agencies/nca && \\\n  \
    portreeve sign keys agencies/nca --jwks nca.jwks --as platforms/harbourbook"
)]
pub(crate) struct Sign {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a private key: a JWK that its owner alone can read
    #[command(after_help = "Example:\n  portreeve sign init nca-2026.jwk")]
    Init {
        /// The file; must not exist
        file: PathBuf,
        /// The key's id among the agency's; the file's name without its ending if none is given
        #[arg(long, value_name = "ID")]
        kid: Option<String>,
    },
    /// Register the public half of a key; for an approver
    #[command(after_help = "Example:\n  portreeve sign register nca-2026.jwk --days 365 --as agencies/nca")]
    Register {
        /// The file that `sign init` has made
        file: PathBuf,
        /// For how many days it is valid
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=1_096))]
        days: i64,
        /// From when it is valid, if not from now
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        from: Option<prost_types::Timestamp>,
        #[command(flatten)]
        write: Write,
    },
    /// Take a key back; for an approver
    #[command(after_help = "Example:\n  portreeve sign revoke nca-2026 --reason 'The laptop was stolen' \\\n    \
        --at 2026-03-01T08:00:00Z --as agencies/nca")]
    Revoke {
        /// The key's id
        kid: String,
        /// Why; everybody can read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Since when its signatures are not to be believed, if not since now
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        at: Option<prost_types::Timestamp>,
        #[command(flatten)]
        write: Write,
    },
    /// Set whether the agency's referrals must be signed; for an approver
    #[command(after_help = "Example:\n  portreeve sign policy required --as agencies/nca")]
    Policy {
        /// Whether they must be
        signatures: Demand,
        #[command(flatten)]
        write: Write,
    },
    /// Show an agency's keys, or write them as a JWK set for `verify referral`
    #[command(after_help = "Example:\n  portreeve sign keys agencies/nca --jwks nca.jwks --as platforms/harbourbook")]
    Keys {
        /// The agency
        agency: OrganisationName,
        /// Write them to this file as a JWK set
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
        /// Print the profile as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Whether referrals must be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Demand {
    /// Those that are not are refused
    Required,
    /// Those that are not are taken, too
    Optional,
}

impl Sign {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Init { file, kid } => init(&file, kid),
            Action::Register { file, days, from, write } => register(&file, days, from, write).await,
            Action::Revoke { kid, reason, at, write } => revoke(&kid, reason, at, write).await,
            Action::Policy { signatures, write } => policy(signatures, write).await,
            Action::Keys { agency, jwks, json, connection } => keys(&agency, jwks.as_deref(), json, &connection).await,
        }
    }
}

/// The private key in a file.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKey> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let key = serde_json::from_str::<Jwk>(&text).ok().and_then(|jwk| jwk.to_private());
    key.ok_or_else(|| {
        Failure::Usage(format!("{}: no private Ed25519 JWK with a kid, as `sign init` makes it", path.display()))
    })
}

/// Signs what an agency is about to send, with the digests of the evidence that the platform is served.
pub(crate) fn sign(key: &PrivateKey, agency: &OrganisationName, draft: &mut ReferralDraft, digests: &[String]) {
    let digests = digests.iter().map(String::as_str);
    let jws = key.sign(&signing::with_evidence(&agency.to_string(), draft, digests), now());
    draft.signature = Some(ReferralSignature { jws, occurred_at: None });
}

fn init(path: &Path, kid: Option<String>) -> Result<()> {
    let stem = || path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let kid = kid.or_else(stem).filter(|kid| is_slug(kid)).ok_or_else(|| {
        Failure::Usage("--kid must have 2 to 32 of a-z, 0-9 and -, begin with a letter and not end with -".to_owned())
    })?;
    let mut seed = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| Failure::Failed(format!("no random bytes: {error}")))?;
    let text = serde_json::to_string(&Jwk::private(&PrivateKey::from_seed(&kid, seed)))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    written().map_err(|error| Failure::file(path, &error))?;
    say!("made: {} (kid {kid}); register it with `portreeve sign register`", path.display())
}

async fn register(path: &Path, days: i64, from: Option<prost_types::Timestamp>, write: Write) -> Result<()> {
    let key = read_key(path)?;
    let session = write.connection.open(None).await?;
    let begins = from_proto(from.as_ref()).unwrap_or_else(now);
    let request = AddSigningKeyRequest {
        parent: session.organisation().to_string(),
        kid: key.kid().to_owned(),
        signing_key: Some(SigningKey {
            public_key: key.public().to_vec().into(),
            valid_from: from,
            valid_until: Some(to_proto(begins.plus_micros(days * DAY_MICROS))),
            ..SigningKey::default()
        }),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, signing, add_signing_key, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.AddSigningKeyResponse")?);
    }
    say!("registered: {}/signingKeys/{}", session.organisation(), key.kid())?;
    written(&reply.revision, reply.replayed)
}

async fn revoke(kid: &str, reason: String, at: Option<prost_types::Timestamp>, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = RevokeSigningKeyRequest {
        name: format!("{}/signingKeys/{kid}", session.organisation()),
        reason,
        revoked_at: at,
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, signing, revoke_signing_key, &request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.RevokeSigningKeyResponse")?);
    }
    say!("revoked: {}; whoever verifies needs the keys anew", request.name)?;
    written(&reply.revision, reply.replayed)
}

async fn policy(demand: Demand, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = SetSigningPolicyRequest {
        name: format!("{}/signingProfile", session.organisation()),
        signatures_required: demand == Demand::Required,
        etag: String::new(),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, signing, set_signing_policy, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.SetSigningPolicyResponse")?);
    }
    say!("signatures are {} now", if demand == Demand::Required { "required" } else { "optional" })?;
    written(&reply.revision, reply.replayed)
}

async fn keys(agency: &OrganisationName, jwks: Option<&Path>, as_json: bool, connection: &Connection) -> Result<()> {
    if agency.kind() != OrganisationKind::Agency {
        return Err(Failure::Usage(format!("{agency} is no agency; only agencies sign")));
    }
    let session: Session = connection.open(None).await?;
    let request = GetSigningProfileRequest { name: format!("{agency}/signingProfile"), ..Default::default() };
    let profile = call!(session, signing, get_signing_profile, request)?.profile.unwrap_or_default();
    if let Some(path) = jwks {
        let set =
            Jwks { keys: public_keys(&profile).iter().map(|key| Jwk::public(&agency.to_string(), key)).collect() };
        let text = serde_json::to_string_pretty(&set).map_err(|error| Failure::Failed(error.to_string()))?;
        fs::write(path, format!("{text}\n")).map_err(|error| Failure::file(path, &error))?;
        return say!("{} keys: {}", set.keys.len(), path.display());
    }
    if as_json {
        return say!("{}", json::line(&profile, "portreeve.referral.v1.SigningProfile")?);
    }
    let mut table = Lines::new(["Key", "Valid from", "Valid until", "Revoked", "Why"]);
    for key in public_keys(&profile) {
        let (at, reason) = key.revoked.map(|revoked| (revoked.at.to_string(), revoked.reason)).unwrap_or_default();
        table.row([key.kid, key.valid_from.to_string(), key.valid_until.to_string(), at, reason]);
    }
    say!("{table}")?;
    say!("signatures are {}", if profile.signatures_required { "required" } else { "optional" })
}

fn public_keys(profile: &SigningProfile) -> Vec<PublicKey> {
    let key = |key: &SigningKey| {
        Some(PublicKey {
            kid: key.name.rsplit('/').next()?.to_owned(),
            key: key.public_key.as_ref().try_into().ok()?,
            valid_from: from_proto(key.valid_from.as_ref())?,
            valid_until: from_proto(key.valid_until.as_ref())?,
            revoked: from_proto(key.revoked_at.as_ref())
                .map(|at| Revocation { at, reason: key.revocation_reason.clone() }),
        })
    };
    profile.keys.iter().filter_map(key).collect()
}
