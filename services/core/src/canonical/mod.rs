//! The canonical form of an address: one spelling for what is one place.
//!
//! The rules are data: those of [`BASE_VERSION`] hold everywhere, and each platform's own are set by whoever registers it.
//! A set of rules is refused unless doing it again changes nothing: whatever a rewriting makes is in canonical form itself,
//! and no rewriting takes up what another made. There are no regular expressions, and nothing is guessed.

mod encoding;
mod template;
#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{Violations, location};
use template::Template;

/// The version of the rules that hold for every platform. It grows with every change of them.
pub const BASE_VERSION: u32 = 1;

/// Parameters that tell who came from where, on whatever platform: by name, or by how the name begins (`*`).
const TRACKING: &[&str] = &[
    "utm_*",
    "fbclid",
    "gclid",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "yclid",
    "twclid",
    "ttclid",
    "igshid",
    "igsh",
    "mc_cid",
    "mc_eid",
    "mibextid",
    "_openstat",
];

/// By which rules a canonical form was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The version of those that hold for every platform; 0 before there were any.
    pub base: u32,
    /// The version of the platform's own; 0 for none.
    pub platform: u32,
}

/// A host that stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAlias {
    /// The host, or `*.` and a host for all of its subdomains.
    pub alias: String,
    /// The host that is written for it.
    pub host: String,
}

/// The parameters that one kind of address has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The template of such addresses.
    pub path: String,
    /// The parameters; all others are left out.
    pub names: Vec<String>,
}

/// One form of address that is written as another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The template of what is rewritten.
    pub from: String,
    /// The template of what it becomes.
    pub to: String,
}

/// What a platform's rules say, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Hosts that stand for others.
    pub hosts: Vec<HostAlias>,
    /// Parameters that are left out: by name, or by how the name begins (`*`).
    pub dropped: Vec<String>,
    /// Kinds of address that have certain parameters alone. The first that fits counts.
    pub kept: Vec<Kept>,
    /// Whether the case of letters in a path tells nothing.
    pub ignore_case: bool,
    /// Whether a `/` at the end of a path tells nothing.
    pub ignore_trailing_slash: bool,
    /// Whether several `/` in a row are one.
    pub ignore_repeated_slashes: bool,
    /// Forms of address that are written as others. The first that fits counts.
    pub rewrites: Vec<Rewrite>,
}

/// A platform's rules, which were found to be such that doing them again changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    text: Text,
    kept: Vec<(Template, Vec<String>)>,
    rewrites: Vec<(Template, Template)>,
}

const LEFT: &str = "must be in the form in which the other rules leave an address";

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
    path: String,
    /// Its parameters as they are written, `name=value` or `name`.
    query: Vec<String>,
}

impl Place {
    fn read(url: &Url) -> Self {
        Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            // Of http, where it is no default.
            port: url.port().filter(|port| *port != 443),
            path: url.path().to_owned(),
            query: url.query().unwrap_or_default().split('&').map(str::to_owned).collect(),
        }
    }

    fn write(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("https://{}{port}{}{mark}{}", self.host, self.path, self.query.join("&"))
    }
}

/// The name of a parameter.
fn name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

/// Whether a pattern, a name or the beginning of one, is of a parameter.
fn is_named(pattern: &str, parameter: &str) -> bool {
    let name = name(parameter);
    match pattern.strip_suffix('*') {
        Some(start) => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// The key under which what is at one address is found.
pub fn key(canonical: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(canonical.as_bytes())[..16]);
    key
}

impl RuleSet {
    /// Reads rules. What is wrong, and what would make doing them again change something, is noted under `field`, all at
    /// once.
    pub fn read(text: Text, field: &str, violations: &mut Violations) -> Option<Self> {
        let before = violations.len();
        let mut set = Self { text, ..Self::default() };
        set.check_hosts(field, violations);
        for (index, dropped) in set.text.dropped.iter().enumerate() {
            let name = dropped.strip_suffix('*').unwrap_or(dropped);
            if name.is_empty() || !is_plain(name) {
                violations.add(
                    format!("{field}.dropped_parameters[{index}]"),
                    "must be a name, or the beginning of one and *",
                );
            }
        }
        let mut kept = Vec::with_capacity(set.text.kept.len());
        for (index, of) in set.text.kept.iter().enumerate() {
            let field = format!("{field}.kept_parameters[{index}]");
            if let Some(index) = of.names.iter().position(|name| name.is_empty() || !is_plain(name)) {
                violations.add(format!("{field}.names[{index}]"), "must be a parameter's name");
            }
            match Template::read(&of.path) {
                Ok(path) if path.has_query() => violations.add(format!("{field}.path"), "must have no parameters"),
                Ok(path) => kept.push((path, of.names.clone())),
                Err(wrong) => violations.add(format!("{field}.path"), wrong),
            }
        }
        let mut rewrites = Vec::with_capacity(set.text.rewrites.len());
        for (index, rewrite) in set.text.rewrites.iter().enumerate() {
            let field = format!("{field}.rewrites[{index}]");
            let Some(from) = violations.check(&format!("{field}.from"), Template::read(&rewrite.from)) else {
                continue;
            };
            let Some(to) = violations.check(&format!("{field}.to"), Template::read_of(&rewrite.to, &from)) else {
                continue;
            };
            rewrites.push((from, to));
        }
        if violations.len() > before {
            return None;
        }
        (set.kept, set.rewrites) = (kept, rewrites);
        set.check_rewrites(field, violations);
        (violations.len() == before).then_some(set)
    }

    fn check_hosts(&self, field: &str, violations: &mut Violations) {
        for (index, of) in self.text.hosts.iter().enumerate() {
            let alias = of.alias.strip_prefix("*.").unwrap_or(&of.alias);
            violations.check(&format!("{field}.hosts[{index}].alias"), location::parse_host(alias));
            let canonical = format!("{field}.hosts[{index}].host");
            if violations.check(&canonical, location::parse_host(&of.host)).is_none() {
                continue;
            }
            if let Some(other) = self.text.hosts.iter().position(|other| other.is_of(&of.host)) {
                violations.add(canonical, format!("must stand for itself, and not be written as hosts[{other}] says"));
            }
        }
    }

    /// Refuses a rewriting that never takes place, and one that does not end.
    fn check_rewrites(&self, field: &str, violations: &mut Violations) {
        let is_fixed = |template: &Template| {
            let sample = template.sample();
            self.normal(sample.clone(), self.text.ignore_case) == sample
        };
        for (index, _) in self.kept.iter().enumerate().filter(|(_, (path, _))| !is_fixed(path)) {
            let field = format!("{field}.kept_parameters[{index}].path");
            violations.add(field, LEFT);
        }
        for (index, (from, to)) in self.rewrites.iter().enumerate() {
            let field = format!("{field}.rewrites[{index}]");
            if !is_fixed(from) {
                violations.add(format!("{field}.from"), LEFT);
            }
            let made = to.at(from.host());
            if !is_fixed(&made) {
                violations.add(format!("{field}.to"), LEFT);
            }
            if let Some(other) = self.rewrites.iter().position(|(from, _)| from.meets(&made)) {
                violations.add(format!("{field}.to"), format!("must not be what rewrites[{other}] may take up"));
            }
        }
    }

    /// The rules as they are written.
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// The hosts that the rules name, each with the field that does.
    pub fn hosts(&self) -> Vec<(String, &str)> {
        let mut hosts = Vec::new();
        for (index, of) in self.text.hosts.iter().enumerate() {
            hosts.push((format!("hosts[{index}].alias"), of.alias.strip_prefix("*.").unwrap_or(&of.alias)));
            hosts.push((format!("hosts[{index}].host"), of.host.as_str()));
        }
        for (index, (path, _)) in self.kept.iter().enumerate() {
            hosts.extend(path.host().map(|host| (format!("kept_parameters[{index}].path"), host.as_str())));
        }
        for (index, (from, to)) in self.rewrites.iter().enumerate() {
            hosts.extend(from.host().map(|host| (format!("rewrites[{index}].from"), host.as_str())));
            hosts.extend(to.host().map(|host| (format!("rewrites[{index}].to"), host.as_str())));
        }
        hosts
    }

    /// The canonical form of an address.
    pub(crate) fn canonical(&self, url: &Url) -> String {
        let folded = self.text.ignore_case;
        // A code that a short address has in its path keeps its case where it is a parameter.
        let place = self.normal(Place::read(url), false);
        let made = self.rewrites.iter().find_map(|(from, to)| Some(to.fill(&place, &from.matches(&place, folded)?)));
        self.normal(made.unwrap_or(place), folded).write()
    }

    /// An address as everything but the rewritings leaves it. Doing it again changes nothing.
    fn normal(&self, mut place: Place, folded: bool) -> Place {
        if let Some(of) = self.text.hosts.iter().find(|of| of.is_of(&place.host)) {
            place.host.clone_from(&of.host);
        }
        place.path = encoding::normal(&place.path, folded);
        if self.text.ignore_repeated_slashes {
            while place.path.contains("//") {
                place.path = place.path.replace("//", "/");
            }
        }
        if self.text.ignore_trailing_slash {
            place.path.truncate(place.path.trim_end_matches('/').len().max(1));
        }
        let parameters = std::mem::take(&mut place.query).into_iter();
        let mut parameters = parameters.map(|text| encoding::normal(&text, false)).collect::<Vec<_>>();
        let kept = self.kept.iter().find(|(path, _)| path.matches(&place, self.text.ignore_case).is_some());
        parameters.retain(|parameter| {
            !parameter.is_empty()
                && !TRACKING.iter().any(|pattern| is_named(pattern, parameter))
                && !self.text.dropped.iter().any(|pattern| is_named(pattern, parameter))
                && kept.is_none_or(|(_, names)| names.iter().any(|known| known == name(parameter)))
        });
        // Those of one name keep their order: it may tell something.
        parameters.sort_by(|one, other| name(one).cmp(name(other)));
        place.query = parameters;
        place
    }
}

impl HostAlias {
    fn is_of(&self, host: &str) -> bool {
        match self.alias.strip_prefix("*.") {
            Some(above) => host.strip_suffix(above).is_some_and(|sub| sub.ends_with('.')),
            None => host == self.alias,
        }
    }
}

fn is_plain(name: &str) -> bool {
    name.len() <= crate::limits::ADDRESS_TEMPLATE_CHARS_MAX && name.bytes().all(encoding::is_unreserved)
}
