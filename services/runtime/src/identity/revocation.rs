//! Lists of revoked certificates, and how long they are believed.
//!
//! A list says when the next one comes at the latest (RFC 5280 section 5.1.2.5). After that nobody can know who was revoked
//! since. The server then takes no certificate: it does not start with such a list, and while it runs it ends the
//! connections that showed a certificate and answers their calls with `REVOCATION_LIST_EXPIRED`, until it is given a new
//! list. Calls with a token and no certificate go on.

use std::path::Path;
use std::time::Duration;

use portreeve_core::{Error, Reason, Result, Timestamp, limits};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;

use super::IdentityError;
use super::files::read;
use super::tls::some;

/// When a caller may ask again whose certificate cannot be checked now.
const RETRY: Duration = Duration::from_secs(1);

/// How long lists are believed, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    begins: Timestamp,
    ends: Timestamp,
}

/// How near the end of a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A new one need not be there yet.
    Fresh,
    /// Most of its time is over.
    Ageing,
    /// It is no longer believed.
    Over,
}

impl Validity {
    /// Refuses once a list is past its end.
    pub(super) fn check(&self, now: Timestamp) -> Result<()> {
        if now < self.ends {
            return Ok(());
        }
        let ended = self.ends.to_string();
        let message = format!(
            "this server's list of revoked certificates ended at {ended}, so that it takes no certificate; its operator \
             must give it the new list"
        );
        Err(Error::new(Reason::RevocationListExpired, message).with("ended_at", ended).retry_after(RETRY))
    }

    pub(super) fn state(&self, now: Timestamp) -> State {
        let (whole, left) = (self.ends.micros() - self.begins.micros(), self.left(now));
        if left <= 0 {
            State::Over
        } else if left <= whole / limits::REVOCATION_LIST_WARNING_PART {
            State::Ageing
        } else {
            State::Fresh
        }
    }

    /// Microseconds until the end; negative after it.
    pub(super) fn left(&self, now: Timestamp) -> i64 {
        self.ends.micros().saturating_sub(now.micros())
    }

    /// The end.
    pub(super) const fn ends(&self) -> Timestamp {
        self.ends
    }
}

/// The lists in a file, and how long they hold. Refuses lists that no longer do.
pub(super) fn lists(
    path: &Path,
    now: Timestamp,
) -> Result<(Vec<CertificateRevocationListDer<'static>>, Validity), IdentityError> {
    let wrong = |what: String| IdentityError::Content(path.to_owned(), what);
    let lists = CertificateRevocationListDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let lists = some(path, lists, "revocation list")?;
    let mut all: Option<Validity> = None;
    for list in &lists {
        let one = validity(list).map_err(|what| wrong(what.to_owned()))?;
        // The one that ends first ends them all: which certificates it is about is known only at the handshake.
        if all.is_none_or(|all| one.ends < all.ends) {
            all = Some(one);
        }
    }
    let all = all.ok_or_else(|| wrong("holds no revocation list".to_owned()))?;
    if all.state(now) == State::Over {
        return Err(wrong(format!(
            "its list of revoked certificates ended at {}; who was revoked since is not known. Get the authority's new \
             list",
            all.ends
        )));
    }
    Ok((lists, all))
}

/// How long one list holds.
pub fn validity(list: &[u8]) -> Result<Validity, &'static str> {
    let (_, list) = x509_parser::parse_x509_crl(list).map_err(|_| "a revocation list cannot be read")?;
    let instant = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
    let ends = list.next_update().ok_or("a revocation list does not say when the next one comes")?;
    Ok(Validity { begins: instant(list.last_update().timestamp()), ends: instant(ends.timestamp()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ages_before_it_ends() {
        let at = Timestamp::from_micros;
        let validity = Validity { begins: at(1_000), ends: at(1_400) };
        for (now, state) in [
            (0, State::Fresh),
            (1_299, State::Fresh),
            (1_300, State::Ageing),
            (1_399, State::Ageing),
            (1_400, State::Over),
            (i64::MAX, State::Over),
        ] {
            assert_eq!(validity.state(at(now)), state, "{now}");
            assert_eq!(validity.check(at(now)).is_err(), state == State::Over, "{now}");
        }
        let error = validity.check(at(1_400)).unwrap_err();
        assert_eq!((error.reason(), error.retry_delay()), (Reason::RevocationListExpired, Some(RETRY)));
        assert!(error.metadata().iter().any(|(key, _)| *key == "ended_at"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bytes in [&b""[..], b"x", &[0x30, 0x80], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30; 4_096]] {
            assert!(validity(bytes).is_err());
        }
    }
}
