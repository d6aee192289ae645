//! Where a target is: a web address in its raw and in its canonical form.

use url::{Host, Url};

use crate::canonical::{self, RuleSet, Versions};
use crate::limits;

/// An address on the web, or a telephone number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    raw: String,
    canonical: String,
    host: String,
    versions: Versions,
}

impl Location {
    /// Reads an address. The error says what is wrong, for the field that held it.
    ///
    /// The canonical form is the WHATWG serialisation (host in lower case and punycode, default port dropped, dot
    /// segments resolved) without fragment and without credentials, so that one place has one spelling.
    pub fn parse(raw: &str) -> Result<Self, &'static str> {
        let read = Self::read(raw)?;
        // Each character of another script becomes up to twelve.
        if read.canonical.len() > limits::URL_CHARS_MAX {
            return Err(
                "must have at most 2048 characters, those that are percent-encoded counted as they are encoded",
            );
        }
        Ok(read)
    }

    fn read(raw: &str) -> Result<Self, &'static str> {
        if raw.chars().count() > limits::URL_CHARS_MAX {
            return Err("must have at most 2048 characters");
        }
        // The URL standard drops tabs and line breaks in silence; an address that holds them was not copied cleanly.
        if raw.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("must not hold white space or control characters");
        }
        let mut url = Url::parse(raw).map_err(|_| "must be an absolute http or https URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must be an http or https URL; other schemes are not targets");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold credentials");
        }
        let host = match url.host() {
            Some(Host::Domain(domain)) => domain.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => return Err("must name a host, not an address"),
        };
        if host.is_empty() || url.set_host(Some(&host)).is_err() {
            return Err("must name a host");
        }
        // Without its dots at the end, what was a name may be an address: `0x7f.1..`.
        if url.domain() != Some(&host) {
            return Err("must name a host, not an address");
        }
        url.set_fragment(None);
        Ok(Self { raw: raw.to_owned(), canonical: url.into(), host, versions: Versions::default() })
    }

    /// Where there is no address, as in a closed space.
    pub fn none() -> Self {
        Self::erased()
    }

    /// Whether there is no address, or none any more.
    pub const fn is_none(&self) -> bool {
        self.raw.is_empty()
    }

    /// What is left of an address that was erased.
    pub fn erased() -> Self {
        Self { raw: String::new(), canonical: String::new(), host: String::new(), versions: Versions::default() }
    }

    /// Reads a telephone number of the form of E.164: a plus sign and up to 15 digits, of which the first is no nought. They
    /// may be set apart.
    pub fn phone(number: &str) -> Result<Self, &'static str> {
        let wrong =
            "must be a telephone number with its country's code: +, and 7 to 15 digits, such as +44 7700 900123";
        let digits = number.strip_prefix('+').ok_or(wrong)?;
        let apart = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')');
        let digits = digits.chars().filter(|c| !apart(*c)).collect::<String>();
        let fits = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if fits { Ok(Self { canonical: format!("tel:+{digits}"), ..Self::erased() }) } else { Err(wrong) }
    }

    /// The same telephone number, with the web address at which it was seen.
    #[must_use]
    pub fn seen_at(self, address: Self) -> Self {
        Self { canonical: self.canonical, ..address }
    }

    /// Reads an address that was taken before, in its canonical form of then. What was erased since, or never there, is empty.
    pub fn recorded(raw: &str, canonical: &str, versions: Versions) -> Result<Self, &'static str> {
        let read = if raw.is_empty() { Self::erased() } else { Self::read(raw)? };
        // Before there were rules nothing but the address was kept.
        let canonical = if canonical.is_empty() { read.canonical } else { canonical.to_owned() };
        Ok(Self { canonical, versions, ..read })
    }

    /// The address in the canonical form that a platform's rules make of it. A telephone number has but one.
    #[must_use]
    pub fn under(&self, rules: &RuleSet, version: u32) -> Self {
        let versions = Versions { base: canonical::BASE_VERSION, platform: version };
        let canonical = match Url::parse(&self.raw) {
            Ok(url) if !self.canonical.starts_with("tel:") => {
                let mut url = url;
                // Without its dots at the end; it was read from it, and cannot fail.
                let _ = url.set_host(Some(&self.host));
                rules.canonical(&url)
            }
            _ => self.canonical.clone(),
        };
        Self { canonical, versions, ..self.clone() }
    }

    /// By which rules its canonical form was made.
    pub const fn versions(&self) -> Versions {
        self.versions
    }

    /// The address as the agency gave it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The one spelling of the address.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The host, in lower case and punycode, without a final dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host and each domain above it: `m.a.example`, `a.example`, `example`.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.host.as_str()), |host| host.split_once('.').map(|(_, above)| above))
    }
}

/// Reads a host that routes to a platform: lower case, no port, no wildcard, two labels at least.
pub fn parse_host(text: &str) -> Result<&str, &'static str> {
    let wrong = "must be a host name in lower case (punycode for other scripts), such as social.example";
    let labels_fit = |host: &str| {
        host.contains('.')
            && host.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
    };
    let is_name = matches!(Host::parse(text), Ok(Host::Domain(domain)) if domain == text);
    if text.len() <= 253 && labels_fit(text) && is_name { Ok(text) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_spelling() {
        for raw in [
            "https://Harbourbook.Example/groups/1",
            "https://harbourbook.example:443/groups/1#posts",
            "https://harbourbook.example./groups/x/../1",
        ] {
            assert_eq!(Location::parse(raw).unwrap().canonical(), "https://harbourbook.example/groups/1", "{raw}");
        }
        let location = Location::parse("https://m.hb.example/a?b=c").unwrap();
        assert_eq!(location.domains().collect::<Vec<_>>(), ["m.hb.example", "hb.example", "example"]);
        let again = Location::parse(location.canonical()).unwrap();
        assert_eq!(again.canonical(), location.canonical());
        assert_eq!(Location::parse("https://b\u{fc}cher.example/").unwrap().host(), "xn--bcher-kva.example");
    }

    #[test]
    fn what_is_not_a_place_on_the_web_is_refused() {
        let long = format!("https://hb.example/{}", "a".repeat(limits::URL_CHARS_MAX));
        for raw in [
            "",
            "hb.example",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "data:text/html,x",
            "https://",
            "https://./",
            "https://u:p@hb.example/",
            "https://127.0.0.1/",
            "https://0x7f.1../",
            "https://[::1]/",
            "https://hb.example/a b",
            "https://hb.example/\n",
            "ftp://hb.example/",
            &long,
        ] {
            assert!(Location::parse(raw).is_err(), "{raw}");
        }
        let fits = format!("https://hb.example/{}", "a".repeat(limits::URL_CHARS_MAX - 19));
        assert!(Location::parse(&fits).is_ok());
        // A character of another script takes six of them or more, and what was recorded stays readable.
        let encoded = |times: usize| format!("https://hb.example/{}", "\u{e9}".repeat(times));
        assert!(Location::parse(&encoded(338)).is_ok() && Location::parse(&encoded(339)).is_err());
        assert!(Location::recorded(&encoded(339), "", Versions::default()).is_ok());
    }

    #[test]
    fn a_telephone_number_has_one_spelling() {
        for number in ["+447700900123", "+44 7700 900-123", "+44 (7700) 900.123"] {
            let read = Location::phone(number).unwrap();
            assert_eq!((read.canonical(), read.raw(), read.host()), ("tel:+447700900123", "", ""), "{number}");
        }
        assert!(Location::phone("+1234567").is_ok() && Location::phone("+123456789012345").is_ok());
        for wrong in
            ["", "+", "07700900123", "+0447700900", "+123456", "+1234567890123456", "+44x7700900123", "tel:+4477"]
        {
            assert!(Location::phone(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_are_plain_names() {
        assert_eq!(parse_host("hb.example"), Ok("hb.example"));
        for text in ["HB.example", "hb", "*.hb.example", "hb.example:443", "hb..example", "-a.example", "10.0.0.1", ""]
        {
            assert!(parse_host(text).is_err(), "{text}");
        }
    }
}
