//! What of the configuration is about identity, and which combinations of it are refused.

use std::path::PathBuf;

use tonic::transport::Uri;

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
        jwks: PathBuf::from(config.token_jwks.as_ref()?),
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
}
