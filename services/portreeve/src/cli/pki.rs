//! `portreeve pki`: a private authority and its certificates, for a trial and for tests.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use portreeve_core::id::{IdSource as _, RandomIds};
use portreeve_core::identity;
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::time::Timestamp;
use portreeve_runtime::identity::tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::connection::now;
use super::failure::{Failure, Result};

const DAY: Duration = Duration::from_hours(24);
/// How long the authority and its revocation lists hold, in days.
const AUTHORITY_DAYS: u32 = 3_650;
/// How far clocks may differ: certificates begin this much earlier.
const SKEW: Duration = Duration::from_mins(5);
/// Names of this machine, for a server that is tried out on it.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Make a private authority and its certificates, for a trial
///
/// A certificate names an organisation, a member of it and the member's roles, in the URI
/// portreeve://agencies/ID/members/NAME?roles=ROLE,ROLE. Keys are readable by their owner alone. An exchange that is in
/// earnest has an authority of its own, which issues the same kind of certificates.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve pki init pki && \\\n  \
    portreeve pki issue pki --organisation agencies/nca --member j.doe --roles officer")]
pub(crate) struct Pki {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an authority in a new folder, an empty revocation list and a server's certificate
    #[command(after_help = "Example:\n  portreeve pki init pki --host portreeve.example")]
    Init {
        /// The folder; made if it does not exist
        folder: PathBuf,
        /// A name or address of the server; localhost, 127.0.0.1 and ::1 if none is given
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
    },
    /// Issue a certificate to a member of an organisation, or to a service of the suite
    #[command(after_help = "Examples:\n  \
        portreeve pki issue pki --organisation agencies/nca --member j.doe --roles officer,approver\n  \
        portreeve pki issue pki --organisation services/decision --roles service --host decision.example")]
    Issue(Issue),
    /// Put a certificate on the authority's revocation list
    #[command(after_help = "Example:\n  portreeve pki revoke pki pki/agencies-nca-j.doe.pem")]
    Revoke {
        /// The authority's folder
        folder: PathBuf,
        /// The certificate
        cert: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Issue {
    /// The authority's folder
    folder: PathBuf,
    /// The organisation, such as agencies/nca or services/decision
    #[arg(long, value_name = "ORGANISATION")]
    organisation: OrganisationName,
    /// The person or system in it
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// What they may do
    #[arg(long, value_name = "ROLE", value_delimiter = ',', required = true)]
    roles: Vec<String>,
    /// Of a service: a name or address at which it serves; localhost, 127.0.0.1 and ::1 if none is given
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// How long it holds
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Replace the certificate that the same member has
    #[arg(long)]
    renew: bool,
}

impl Pki {
    pub(crate) fn run(self) -> Result<()> {
        match self.action {
            Action::Init { folder, hosts } => init(&folder, &hosts),
            Action::Issue(issue) => issue.run(),
            Action::Revoke { folder, cert } => revoke(&folder, &cert),
        }
    }
}

fn init(folder: &Path, hosts: &[String]) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    let now = now();
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = params(now, AUTHORITY_DAYS)?;
    let serial = RandomIds.uuid(now).simple().to_string();
    params.distinguished_name.push(DnType::CommonName, format!("Portreeve trial authority {serial}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key).map_err(failed)?;
    // The key first: whoever has one already keeps it.
    write(&folder.join("ca.key"), &key.serialize_pem(), Write::SecretOnce)?;
    write(&folder.join("ca.pem"), &cert.pem(), Write::Replace)?;
    write(&folder.join("revoked"), "", Write::Replace)?;
    let authority = Authority::open(folder)?;
    authority.write_list(now)?;
    let mut server = self::params(now, 397)?;
    server.subject_alt_names = names(hosts)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    authority.issue(server, "server", false)?;
    say!("authority  {}", folder.join("ca.pem").display())?;
    say!("revoked    {}", folder.join("crl.pem").display())?;
    say!("server     {}", folder.join("server.pem").display())
}

impl Issue {
    fn run(self) -> Result<()> {
        let wrong =
            |error: &portreeve_core::Error| Failure::Usage(format!("nobody can be named so: {}", error.message()));
        let roles = self.roles.iter().map(String::as_str).collect::<Vec<_>>();
        let organisation = self.organisation.to_string();
        let principal =
            identity::principal(&organisation, self.member.as_deref(), &roles).map_err(|error| wrong(&error))?;
        let uri = identity::uri(&principal);
        identity::parse(&uri).map_err(|error| wrong(&error))?;
        let service = self.organisation.kind() == OrganisationKind::Service;
        if !service && !self.hosts.is_empty() {
            return Err(Failure::Usage("--host: only a service is called at one".to_owned()));
        }
        let authority = Authority::open(&self.folder)?;
        let mut params = params(now(), self.days)?;
        params.distinguished_name.push(DnType::CommonName, principal.to_string());
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().map_err(failed)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if service {
            params.subject_alt_names.extend(names(&self.hosts)?);
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let member = self.member.as_deref().map(|member| format!("-{member}")).unwrap_or_default();
        let cert = authority.issue(params, &format!("{}{member}", organisation.replace('/', "-")), self.renew)?;
        say!("{uri}")?;
        say!("certificate  {}", cert.display())?;
        say!("key          {}", cert.with_extension("key").display())
    }
}

fn revoke(folder: &Path, cert: &Path) -> Result<()> {
    let serial = tls::serial_in(cert).map_err(failed)?;
    let serial = serial.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let (authority, path, now) = (Authority::open(folder)?, folder.join("revoked"), now());
    let mut revoked = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
    if revoked.lines().any(|line| line.split(' ').next() == Some(&serial)) {
        return say!("{} was revoked before", cert.display());
    }
    revoked = format!("{revoked}{serial} {}\n", now.micros() / 1_000_000);
    write(&path, &revoked, Write::Replace)?;
    authority.write_list(now)?;
    say!("{} is revoked; servers take it up from {}", cert.display(), folder.join("crl.pem").display())
}

/// An authority in its folder.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn open(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))
        };
        let key = KeyPair::from_pem(&read("ca.key")?).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem")?, key).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// Writes a certificate and its key; gives where the certificate is.
    fn issue(&self, mut params: CertificateParams, name: &str, renew: bool) -> Result<PathBuf> {
        let key = KeyPair::generate().map_err(failed)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let path = self.folder.join(format!("{name}.pem"));
        let how = if renew { Write::Secret } else { Write::SecretOnce };
        write(&self.folder.join(format!("{name}.key")), &key.serialize_pem(), how)?;
        write(&path, &cert.pem(), Write::Replace)?;
        Ok(path)
    }

    /// Writes the revocation list.
    fn write_list(&self, now: Timestamp) -> Result<()> {
        let path = self.folder.join("revoked");
        let text = fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        let entry = |line: &str| {
            let (serial, seconds) = line.split_once(' ')?;
            let digits = |at| u8::from_str_radix(serial.get(at..at + 2)?, 16).ok();
            let serial = (0..serial.len()).step_by(2).map(digits).collect::<Option<Vec<_>>>()?;
            Some(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time: date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.parse().ok()?),
                reason_code: None,
                invalidity_date: None,
            })
        };
        let revoked = text.lines().map(entry).collect::<Option<Vec<_>>>();
        let revoked = revoked.ok_or_else(|| Failure::Usage(format!("{}: not as it was written", path.display())))?;
        let CertificateParams { not_before, not_after, .. } = params(now, AUTHORITY_DAYS)?;
        let list = CertificateRevocationListParams {
            this_update: not_before,
            next_update: not_after,
            crl_number: SerialNumber::from_slice(RandomIds.uuid(now).as_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(failed)?;
        write(&self.folder.join("crl.pem"), &list, Write::Replace)
    }
}

/// A certificate that holds from now on, with a serial number of its own and nothing else in it yet.
fn params(now: Timestamp, days: u32) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    let since_1970 = Duration::from_micros(u64::try_from(now.micros()).unwrap_or_default());
    let begin = date_time_ymd(1970, 1, 1) + since_1970;
    (params.not_before, params.not_after) = (begin - SKEW, begin + DAY * days);
    params.serial_number = Some(SerialNumber::from_slice(RandomIds.uuid(now).as_bytes()));
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

/// The names and addresses of a server.
fn names(hosts: &[String]) -> Result<Vec<SanType>> {
    let hosts = if hosts.is_empty() { HERE.map(str::to_owned).to_vec() } else { hosts.to_vec() };
    let params = CertificateParams::new(hosts).map_err(|error| Failure::Usage(format!("--host: {error}")))?;
    Ok(params.subject_alt_names)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    /// For everybody to read.
    Replace,
    /// For its owner alone.
    Secret,
    /// For its owner alone, and never in the place of another.
    SecretOnce,
}

/// Writes a file as a whole: who reads it sees what was before or what is now.
fn write(path: &Path, text: &str, how: Write) -> Result<()> {
    let failed = |error: &io::Error| Failure::file(path, error);
    let mode = if how == Write::Replace { 0o644 } else { 0o600 };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", RandomIds.uuid(now()).simple()));
    let beside = PathBuf::from(beside);
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link is refused where a file is; a rename replaces it.
        if how == Write::SecretOnce { fs::hard_link(&beside, path) } else { fs::rename(&beside, path) }
    };
    let done = written();
    let _ = fs::remove_file(&beside);
    match done {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::Usage(format!(
            "{} is there already; use another folder, or --renew to replace a member's certificate",
            path.display()
        ))),
        done => done.map_err(|error| failed(&error)),
    }
}
