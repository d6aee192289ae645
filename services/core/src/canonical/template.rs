//! Templates of addresses: what is written in one stands for itself, and `{name:class}` for a part of the address.

use std::borrow::Cow;

use super::Place;
use super::encoding;
use crate::{limits, location};

/// What a part of an address may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Digits.
    Digits,
    /// Letters of ASCII, digits, `.`, `_` and `-`.
    Word,
    /// Whatever is not reserved, encoded characters too.
    Any,
}

impl Class {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "digits" => Self::Digits,
            "word" => Self::Word,
            "any" => Self::Any,
            _ => return None,
        })
    }

    const fn allows(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'),
            Self::Any => encoding::is_unreserved(byte) || byte == b'%',
        }
    }

    /// Whether a text is of the class. Dots alone are not: in a path they mean something else.
    fn matches(self, text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| self.allows(byte)) && text.bytes().any(|byte| byte != b'.')
    }
}

/// A segment of a path, or the value of a parameter: a text, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    variable: Option<(String, Class)>,
}

impl Part {
    fn read(text: &str, classes: &dyn Fn(&str) -> Option<Class>) -> Result<Self, String> {
        let (fixed, variable) = match text.split_once('{') {
            None => (text, None),
            Some((fixed, variable)) => {
                let inner = variable.strip_suffix('}').ok_or("must have nothing behind a {name} in its part")?;
                let (name, class) = match inner.split_once(':') {
                    Some((name, class)) => {
                        (name, Class::read(class).ok_or("must use the classes digits, word and any")?)
                    }
                    None => (inner, classes(inner).ok_or_else(|| format!("must say what {{{inner}}} is"))?),
                };
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                    return Err("must name its variables in small letters".into());
                }
                // What joins what stands before it to other characters would be spelt differently there.
                if !fixed.is_empty() && class == Class::Any {
                    return Err("must have nothing before a {name:any} in its part".into());
                }
                (fixed, Some((name.to_owned(), class)))
            }
        };
        if !fixed.bytes().all(|byte| encoding::is_unreserved(byte) || matches!(byte, b'%' | b'@' | b'!' | b'+' | b':'))
        {
            return Err("must hold letters, digits, -._~@!+: and what is percent-encoded, apart from variables".into());
        }
        Ok(Self { text: fixed.to_owned(), variable })
    }

    /// Whether a text is of the part. Where its case tells nothing, what the variable stands for keeps it all the same: it may
    /// tell something where it is written.
    fn matches<'t>(&self, text: &'t str, folded: bool, found: &mut Vec<(String, &'t str)>) -> bool {
        let seen = if folded { Cow::Owned(encoding::normal(text, true)) } else { Cow::Borrowed(text) };
        match &self.variable {
            None => seen == self.text,
            Some((name, class)) => seen.strip_prefix(self.text.as_str()).is_some_and(|rest| {
                // Behind something fixed stand characters of ASCII alone, which fold one by one.
                let start = if self.text.is_empty() { 0 } else { text.len().saturating_sub(rest.len()) };
                text.get(start..).is_some_and(|value| {
                    found.push((name.clone(), value));
                    class.matches(value)
                })
            }),
        }
    }

    fn fill(&self, found: &[(String, &str)]) -> String {
        let of = |name: &String| found.iter().find(|(known, _)| known == name).map_or("", |(_, text)| *text);
        format!("{}{}", self.text, self.variable.as_ref().map_or("", |(name, _)| of(name)))
    }

    /// Whether some text is of both, or may be: where it is not sure, it says so.
    fn meets(&self, other: &Self) -> bool {
        match (&self.variable, &other.variable) {
            (None, None) => self.text == other.text,
            (Some((_, class)), None) => other.text.strip_prefix(&self.text).is_some_and(|rest| class.matches(rest)),
            (None, Some(_)) => other.meets(self),
            (Some((_, own)), Some((_, theirs))) => {
                let fits = |rest: &str, class: Class| rest.bytes().all(|byte| class.allows(byte));
                other.text.strip_prefix(&self.text).is_some_and(|rest| fits(rest, *own))
                    || self.text.strip_prefix(&other.text).is_some_and(|rest| fits(rest, *theirs))
            }
        }
    }
}

/// A template: `/groups/{id:digits}`, `hb.example/watch?v={code:word}`. One without a host is of every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    host: Option<String>,
    path: Vec<Part>,
    /// In the order of their names.
    query: Vec<(String, Part)>,
}

impl Template {
    /// Reads a template in which each variable says of what class it is.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let read = Self::read_with(text, &|_| None)?;
        let names = read.variables().map(|(name, _)| name).collect::<Vec<_>>();
        match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
            None => Ok(read),
            Some((_, name)) => Err(format!("must have {{{name}}} once")),
        }
    }

    /// Reads a template of which another gives the variables.
    pub(super) fn read_of(text: &str, from: &Self) -> Result<Self, String> {
        let class = |name: &str| from.variables().find(|(known, _)| *known == name).map(|(_, class)| class);
        let read = Self::read_with(text, &class)?;
        if let Some((name, _)) = read.variables().find(|(name, of)| class(name) != Some(*of)) {
            return Err(format!("must use {{{name}}} as the template before it does"));
        }
        Ok(read)
    }

    fn read_with(text: &str, classes: &dyn Fn(&str) -> Option<Class>) -> Result<Self, String> {
        if text.chars().count() > limits::ADDRESS_TEMPLATE_CHARS_MAX {
            return Err(format!("must have at most {} characters", limits::ADDRESS_TEMPLATE_CHARS_MAX));
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (host, path) = place.split_once('/').ok_or("must have a path, such as /groups/{id:digits}")?;
        let host = if host.is_empty() { None } else { Some(location::parse_host(host)?.to_owned()) };
        let parameter = |text: &str| {
            let (name, value) = text.split_once('=').ok_or("must have parameters of the form name={name:class}")?;
            let name = Part::read(name, classes)?;
            if name.text.is_empty() || name.variable.is_some() {
                return Err("must name its parameters".to_owned());
            }
            Ok((name.text, Part::read(value, classes)?))
        };
        let mut query =
            query.split('&').filter(|text| !text.is_empty()).map(parameter).collect::<Result<Vec<_>, String>>()?;
        query.sort_by(|(one, _), (other, _)| one.cmp(other));
        if query.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("must have each parameter once".into());
        }
        let path = path.split('/').map(|text| Part::read(text, classes)).collect::<Result<_, _>>()?;
        Ok(Self { host, path, query })
    }

    fn variables(&self) -> impl Iterator<Item = (&str, Class)> {
        let parts = self.path.iter().chain(self.query.iter().map(|(_, part)| part));
        parts.filter_map(|part| part.variable.as_ref()).map(|(name, class)| (name.as_str(), *class))
    }

    pub(super) const fn has_query(&self) -> bool {
        !self.query.is_empty()
    }

    /// Whether an address is of the template, whatever other parameters it has, and whatever the case of its path if that tells
    /// nothing; and what its variables are.
    pub(super) fn matches<'p>(&self, place: &'p Place, folded: bool) -> Option<Vec<(String, &'p str)>> {
        let mut found = Vec::new();
        let segments = || place.path.get(1..).unwrap_or_default().split('/');
        let fits = self.host.as_ref().is_none_or(|host| *host == place.host)
            && segments().count() == self.path.len()
            && self.path.iter().zip(segments()).all(|(part, text)| part.matches(text, folded, &mut found))
            && self.query.iter().all(|(name, part)| {
                let value = place.query.iter().filter_map(|text| text.split_once('=')).find(|(known, _)| known == name);
                value.is_some_and(|(_, text)| part.matches(text, false, &mut found))
            });
        fits.then_some(found)
    }

    /// The address that the template makes of what another found in one.
    pub(super) fn fill(&self, place: &Place, found: &[(String, &str)]) -> Place {
        let path = self.path.iter().map(|part| part.fill(found)).collect::<Vec<_>>().join("/");
        Place {
            host: self.host.clone().unwrap_or_else(|| place.host.clone()),
            port: place.port.filter(|_| self.host.is_none()),
            path: format!("/{path}"),
            query: self.query.iter().map(|(name, part)| format!("{name}={}", part.fill(found))).collect(),
        }
    }

    /// The template with the host that its addresses have, if it names none.
    #[must_use]
    pub(super) fn at(&self, host: Option<&String>) -> Self {
        Self { host: self.host.clone().or_else(|| host.cloned()), ..self.clone() }
    }

    pub(super) const fn host(&self) -> Option<&String> {
        self.host.as_ref()
    }

    /// Some address of the template.
    pub(super) fn sample(&self) -> Place {
        let found = self.variables().map(|(name, class)| (name, if class == Class::Digits { "1" } else { "x" }));
        let found = found.map(|(name, text)| (name.to_owned(), text)).collect::<Vec<_>>();
        // A host of nobody's, which no rule speaks of.
        let nobody = Place { host: "a.invalid".into(), port: None, path: String::new(), query: Vec::new() };
        self.fill(&nobody, &found)
    }

    /// Whether an address that another template makes, with those parameters or fewer, may be of this one.
    pub(super) fn meets(&self, made: &Self) -> bool {
        let hosts = match (&self.host, &made.host) {
            (Some(own), Some(theirs)) => own == theirs,
            _ => true,
        };
        hosts
            && self.path.len() == made.path.len()
            && self.path.iter().zip(&made.path).all(|(own, theirs)| own.meets(theirs))
            && self
                .query
                .iter()
                .all(|(name, part)| made.query.iter().any(|(known, theirs)| known == name && part.meets(theirs)))
    }
}
