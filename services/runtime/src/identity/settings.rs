//! What of the configuration is about identity, and which combinations of it are refused.

use std::path::PathBuf;

use tonic::transport::Uri;

use super::keys;
use super::tls::TlsFiles;
use super::tokens::TokenSettings;
use crate::channel;
use crate::config::{Config, Part};

/// What connections are to be secured with; `None` if they are not to be.
pub(super) fn tls(config: &Config) -> Option<TlsFiles> {
    let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
    Some(TlsFiles {
        cert: path(&config.tls_cert)?,
        key: path(&config.tls_key)?,
        client_ca: path(&config.tls_client_ca),
        crl: path(&config.tls_crl),
        server_ca: path(&config.tls_server_ca),
    })
}

/// Whose tokens are to count; `None` if nobody's.
pub(super) fn tokens(config: &Config) -> Option<TokenSettings> {
    Some(TokenSettings {
        keys: keys::settings(config.token_jwks.as_deref()?, config.token_jwks_ca.as_deref()),
        issuer: config.token_issuer.clone()?,
        audience: config.token_audience.clone()?,
    })
}

/// Notes every combination that is not safe, or means nothing. `name` tells where a key's value came from.
pub(crate) fn check(config: &Config, part: Part, name: &dyn Fn(&str) -> String, wrong: &mut Vec<String>) {
    let set = |key: &Option<String>| key.is_some();
    let (cert, key) = (set(&config.tls_cert), set(&config.tls_key));
    let (tls, tokens) = (cert && key, set(&config.token_jwks));
    if cert != key {
        let (there, missing) = if cert { ("tls_cert", "tls_key") } else { ("tls_key", "tls_cert") };
        wrong.push(format!("{}: useless without {missing}; set both", name(there)));
    }
    for (of, is_set) in [("tls_client_ca", set(&config.tls_client_ca)), ("tls_server_ca", set(&config.tls_server_ca))] {
        if is_set && !cert {
            wrong.push(format!("{}: connections are not secured; set tls_cert and tls_key", name(of)));
        }
    }
    if set(&config.tls_crl) && !set(&config.tls_client_ca) {
        wrong.push(format!("{}: whose certificates does it revoke? Set tls_client_ca", name("tls_crl")));
    }
    if tls && !set(&config.tls_client_ca) && !tokens {
        wrong.push(format!(
            "{}: nobody could say who they are; set tls_client_ca for certificates, token_jwks for tokens, or both",
            name("tls_cert")
        ));
    }
    for (of, is_set) in [("token_issuer", set(&config.token_issuer)), ("token_audience", set(&config.token_audience))] {
        match (tokens, is_set) {
            (true, false) => wrong.push(format!(
                "{}: missing; a token counts only if it is of a known issuer and meant for this server",
                name(of)
            )),
            (false, true) => wrong.push(format!("{}: means nothing without token_jwks", name(of))),
            _ => {}
        }
    }
    let published = config.token_jwks.as_deref().filter(|place| keys::is_url(place));
    if set(&config.token_jwks_ca) && published.is_none_or(|url| !url.starts_with("https://")) {
        wrong.push(format!("{}: means nothing unless token_jwks is an https:// URL", name("token_jwks_ca")));
    }
    if !tls && !config.listen.ip().is_loopback() {
        let open = if tokens {
            "anybody on the way could read the tokens"
        } else {
            "this server is open: it believes callers who they are"
        };
        wrong.push(format!(
            "{}: {} can be reached from other machines, but {open}. Use a loopback address, such as 127.0.0.1:{}, or \
             set tls_cert and tls_key",
            name("listen"),
            config.listen,
            config.listen.port()
        ));
    }
    for (of, url) in [("referral_url", &config.referral_url), ("decision_url", &config.decision_url)] {
        let Some(uri) = url.as_deref().and_then(|url| url.parse::<Uri>().ok()) else { continue };
        let secured = uri.scheme_str() == Some("https");
        if secured && !(tls && (set(&config.tls_client_ca) || set(&config.tls_server_ca))) {
            wrong.push(format!(
                "{}: a secured service asks who calls; set tls_cert, tls_key and tls_server_ca",
                name(of)
            ));
        } else if !secured && part != Part::Suite && !channel::is_loopback(uri.host().unwrap_or_default()) {
            wrong
                .push(format!("{}: nothing would secure the way there; use https://, or a loopback address", name(of)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Options, Part, Settings, Sources};

    const CERT: (&str, &str) = ("TLS_CERT", "cert.pem");
    const KEY: (&str, &str) = ("TLS_KEY", "key.pem");
    const CLIENT_CA: (&str, &str) = ("TLS_CLIENT_CA", "ca.pem");
    const SERVER_CA: (&str, &str) = ("TLS_SERVER_CA", "ca.pem");
    const CRL: (&str, &str) = ("TLS_CRL", "crl.pem");
    const JWKS: (&str, &str) = ("TOKEN_JWKS", "jwks.json");
    const PUBLISHED: (&str, &str) = ("TOKEN_JWKS", "https://login.nca.example/keys");
    const JWKS_CA: (&str, &str) = ("TOKEN_JWKS_CA", "ca.pem");
    const ISSUER: (&str, &str) = ("TOKEN_ISSUER", "https://login.nca.example");
    const AUDIENCE: (&str, &str) = ("TOKEN_AUDIENCE", "portreeve");
    const EVERYWHERE: (&str, &str) = ("LISTEN", "0.0.0.0:7400");

    fn config(part: Part, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let environment = variables.iter().map(|(key, value)| (format!("PORTREEVE_{key}"), (*value).to_owned()));
        let sources =
            Sources { options: Options::default(), environment: environment.collect(), folder: folder.path().into() };
        let refused = |error: crate::config::ConfigError| error.lines().to_vec();
        Settings::load(sources).map_err(refused)?.for_part(part).map_err(refused)
    }

    #[test]
    fn safe_combinations_start() {
        for variables in [
            &[][..],
            &[CERT, KEY, CLIENT_CA],
            &[CERT, KEY, CLIENT_CA, CRL, EVERYWHERE],
            &[CERT, KEY, JWKS, ISSUER, AUDIENCE, EVERYWHERE],
            &[CERT, KEY, CLIENT_CA, JWKS, ISSUER, AUDIENCE, EVERYWHERE],
            &[JWKS, ISSUER, AUDIENCE],
            &[PUBLISHED, ISSUER, AUDIENCE],
            &[PUBLISHED, JWKS_CA, ISSUER, AUDIENCE, CERT, KEY, EVERYWHERE],
            &[("TOKEN_JWKS", "http://127.0.0.1:8080/keys"), ISSUER, AUDIENCE],
        ] {
            assert!(config(Part::Suite, variables).is_ok(), "{variables:?}");
        }
        for url in ["https://referral.example", "http://127.0.0.1:7401", "http://localhost:7401", "http://[::1]:7401"] {
            let variables = [CERT, KEY, CLIENT_CA, ("REFERRAL_URL", url)];
            assert!(config(Part::Decision, &variables).is_ok(), "{url}");
        }
    }

    #[test]
    fn unsafe_combinations_do_not_start() {
        for (variables, key) in [
            (&[CERT, CLIENT_CA][..], "TLS_CERT"),
            (&[KEY], "TLS_KEY"),
            (&[CLIENT_CA], "TLS_CLIENT_CA"),
            (&[SERVER_CA], "TLS_SERVER_CA"),
            (&[CERT, KEY, CRL, JWKS, ISSUER, AUDIENCE], "TLS_CRL"),
            (&[CERT, KEY], "TLS_CERT"),
            (&[CERT, KEY, SERVER_CA], "TLS_CERT"),
            (&[JWKS, AUDIENCE], "token_issuer"),
            (&[JWKS, ISSUER], "token_audience"),
            (&[ISSUER], "TOKEN_ISSUER"),
            (&[AUDIENCE], "TOKEN_AUDIENCE"),
            (&[JWKS_CA], "TOKEN_JWKS_CA"),
            (&[JWKS, JWKS_CA, ISSUER, AUDIENCE], "TOKEN_JWKS_CA"),
            (&[("TOKEN_JWKS", "http://127.0.0.1/keys"), JWKS_CA, ISSUER, AUDIENCE], "TOKEN_JWKS_CA"),
            (&[("TOKEN_JWKS", "http://login.nca.example/keys"), ISSUER, AUDIENCE], "TOKEN_JWKS"),
            (&[("TOKEN_JWKS", "https://me:hunter2@login.nca.example/keys"), ISSUER, AUDIENCE], "TOKEN_JWKS"),
            (&[("TOKEN_JWKS", "file:///jwks.json"), ISSUER, AUDIENCE], "TOKEN_JWKS"),
            (&[EVERYWHERE], "LISTEN"),
            (&[EVERYWHERE, JWKS, ISSUER, AUDIENCE], "LISTEN"),
        ] {
            let lines = config(Part::Suite, variables).unwrap_err();
            let named = |line: &String| line.starts_with(key) || line.starts_with(&format!("PORTREEVE_{key} "));
            assert!(matches!(lines.as_slice(), [line] if named(line)), "{variables:?}: {lines:?}");
        }
        for variables in [
            &[("REFERRAL_URL", "http://referral.example")][..],
            &[("REFERRAL_URL", "https://referral.example")],
            &[("REFERRAL_URL", "https://127.0.0.1:7401"), CERT, KEY, JWKS, ISSUER, AUDIENCE],
            &[("REFERRAL_URL", "http://referral.example"), CERT, KEY, CLIENT_CA],
        ] {
            let lines = config(Part::Decision, variables).unwrap_err();
            let named = |line: &String| line.starts_with("PORTREEVE_REFERRAL_URL ");
            assert!(matches!(lines.as_slice(), [line] if named(line)), "{variables:?}: {lines:?}");
        }
    }

    /// Every combination of settings: whatever starts is safe, by rules that do not look at how the check does it.
    #[test]
    fn no_unsafe_combination_starts() {
        let switches = [CERT, KEY, CLIENT_CA, SERVER_CA, CRL, JWKS_CA, ISSUER, AUDIENCE];
        let places =
            [None, Some("jwks.json"), Some("https://l.example/k"), Some("http://l.example/k"), Some("http://[::1]/k")];
        let followed = [None, Some("https://r.example"), Some("http://r.example"), Some("http://127.0.0.1:1")];
        let mut started = 0;
        for mask in 0..1_usize << switches.len() {
            for (place, listen, url) in places.iter().flat_map(|place| {
                ["127.0.0.1:7400", "0.0.0.0:7400"]
                    .into_iter()
                    .flat_map(move |listen| followed.map(|url| (*place, listen, url)))
            }) {
                let mut config = Config { listen: listen.parse().unwrap(), ..Config::default() };
                let on = |at: usize| (mask & 1 << at != 0).then(|| switches[at].1.to_owned());
                (config.tls_cert, config.tls_key, config.tls_client_ca, config.tls_server_ca) =
                    (on(0), on(1), on(2), on(3));
                (config.tls_crl, config.token_jwks_ca) = (on(4), on(5));
                (config.token_issuer, config.token_audience) = (on(6), on(7));
                (config.token_jwks, config.referral_url) = (place.map(str::to_owned), url.map(str::to_owned));
                let part = if url.is_some() { Part::Decision } else { Part::Referral };
                let Ok(config) = Settings::of(config).and_then(|settings| settings.for_part(part)) else { continue };
                started += 1;
                let tls = config.tls_cert.is_some() && config.tls_key.is_some();
                let reachable = !config.listen.ip().is_loopback();
                assert!(tls || !reachable, "others can listen in: {config:?}");
                assert!(!tls || config.tls_client_ca.is_some() || config.token_jwks.is_some(), "open: {config:?}");
                assert!(tls || config.tls_client_ca.is_none(), "certificates that nobody asks for: {config:?}");
                assert!(config.tls_crl.is_none() || config.tls_client_ca.is_some(), "a list of nobody: {config:?}");
                if config.token_jwks.is_some() {
                    assert!(config.token_issuer.is_some() && config.token_audience.is_some(), "anybody's: {config:?}");
                }
                assert_ne!(config.token_jwks.as_deref(), Some("http://l.example/k"), "keys of whoever is on the way");
                assert_ne!(config.referral_url.as_deref(), Some("http://r.example"), "a way that nothing secures");
            }
        }
        assert!(started > 100, "only {started} combinations start");
    }
}
