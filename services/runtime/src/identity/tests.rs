//! Certificates and revocation lists as time goes by.

use std::fs;
use std::time::Duration;

use futures_util::FutureExt as _;
use portreeve_core::time::ManualClock;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::tls::{Shown, TlsFiles};
use super::*;

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;
const HOUR: u64 = 3_600;

/// An authority in a folder, a server's certificate of it and a client's.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    client: CertificateDer<'static>,
}

type CertificateDer<'a> = rustls::pki_types::CertificateDer<'a>;

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let issue = |params: CertificateParams, name: &str| {
            let key = KeyPair::generate().unwrap();
            let cert = params.signed_by(&key, &issuer).unwrap();
            fs::write(folder.path().join(format!("{name}.pem")), cert.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
            cert.der().clone()
        };
        issue(CertificateParams::new(vec!["localhost".to_owned()]).unwrap(), "server");
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[7]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI("portreeve://agencies/nca?roles=officer".try_into().unwrap())];
        let client = issue(params, "client");
        let made = Self { folder, issuer, client };
        made.list(NOW - HOUR, NOW + HOUR, &[]);
        made
    }

    /// Writes a revocation list that holds from one instant to another.
    fn list(&self, begins: u64, ends: u64, revoked: &[u8]) {
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let list = CertificateRevocationListParams {
            this_update: at(begins),
            next_update: at(ends),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&[*serial]),
                    revocation_time: at(begins),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        fs::write(self.folder.path().join("crl.pem"), pem).unwrap();
    }

    fn load(&self, clock: &Arc<ManualClock>) -> Result<Tls, IdentityError> {
        let file = |name: &str| self.folder.path().join(name);
        let files = TlsFiles {
            cert: file("server.pem"),
            key: file("server.key"),
            client_ca: Some(file("ca.pem")),
            crl: Some(file("crl.pem")),
            server_ca: None,
        };
        Tls::load(files, Arc::<ManualClock>::clone(clock))
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(seconds * 1_000_000).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_revocation_list_past_its_end_closes_the_door() {
    let authority = Authority::new();
    let clock = Arc::new(ManualClock::at(at(NOW)));
    let tls = Arc::new(authority.load(&clock).unwrap());
    let tokens = None;
    let identity = Identity { tls: Some(Arc::clone(&tls)), tokens, clock: Arc::<ManualClock>::clone(&clock) };
    let shown = Shown::of(authority.client.clone());
    let call = || identity.caller(&shown.peer(), &HeaderMap::new()).now_or_never().unwrap();
    assert_eq!(call().unwrap().principal.to_string(), "agencies/nca");

    let (open, held) = (Arc::clone(&tls), shown.clone());
    let mut closed = tokio::spawn(async move { open.distrusts(&held).await });
    clock.set(Timestamp::from_micros(at(NOW + HOUR).micros() - 1));
    assert!(call().is_ok());
    assert!(tokio::time::timeout(Duration::from_mins(5), &mut closed).await.is_err(), "closed too early");

    clock.set(at(NOW + HOUR));
    let error = call().unwrap_err();
    assert_eq!(error.reason(), Reason::RevocationListExpired);
    assert_eq!(error.metadata(), [("ended_at", at(NOW + HOUR).to_string())]);
    tokio::time::timeout(Duration::from_mins(5), closed).await.expect("the connection stays open").unwrap();
    // A new connection stays, to be told why.
    assert!(tokio::time::timeout(Duration::from_mins(5), tls.distrusts(&shown)).await.is_err());

    // A list that is over when it comes changes nothing, a new one does.
    authority.list(NOW, NOW + HOUR - 1, &[]);
    assert!(tls.files().refresh().unwrap_err().to_string().contains("ended at"));
    assert!(call().is_err());
    authority.list(NOW, NOW + 2 * HOUR, &[]);
    assert!(tls.files().refresh().unwrap());
    assert!(call().is_ok());
    authority.list(NOW + 1, NOW + 2 * HOUR, &[7]);
    assert!(tls.files().refresh().unwrap());
    tokio::time::timeout(Duration::from_secs(1), tls.distrusts(&shown)).await.expect("it was revoked");
}

#[test]
fn a_server_does_not_start_with_a_revocation_list_past_its_end() {
    let authority = Authority::new();
    let load = |seconds| authority.load(&Arc::new(ManualClock::at(at(seconds))));
    assert!(load(NOW + HOUR - 1).is_ok());
    let refused = load(NOW + HOUR).unwrap_err().to_string();
    assert!(refused.contains("crl.pem") && refused.contains("ended at") && refused.contains("new list"), "{refused}");
}
