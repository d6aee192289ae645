//! What can be erased of an event lies in the log encrypted, under keys of its subject's own.
//!
//! A subject is a referral. It has a key for each group of fields that is erased by itself. The log and its tree hold the
//! ciphertext; erasing is destroying a key, which changes no hash. Whoever reads an event afterwards reads it without those
//! fields.
//!
//! An event's body begins with field 1000 of the contract's message (`sealed`), then the message without what is sealed.
//! What is opened is put behind it: the encodings of two halves of one message, one after the other, are that message's.

use bytes::{Buf as _, Bytes};
use portreeve_core::id::{IdSource, Uuid};
use portreeve_core::vocabulary::FieldGroup;
use portreeve_core::{Error, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// What of an event is about a person, and of whose subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Personal {
    /// The referral that it is about.
    pub subject: Uuid,
    /// Whether the subject's keys are made with this event, unless an event before it in the same commit has the subject.
    pub begins: bool,
    /// What is sealed: the group, and the half of the message that holds it. A group that was erased is left out.
    pub parts: Vec<(FieldGroup, Vec<u8>)>,
    /// The groups whose keys are destroyed with this event, if they were not before.
    pub erases: Vec<FieldGroup>,
}

/// Random bytes, drawn for many at a time.
pub struct Draws<'i> {
    ids: &'i dyn IdSource,
    drawn: Vec<[u8; 32]>,
    at_a_time: usize,
}

impl<'i> Draws<'i> {
    /// Draws for so many events, and for more as they are needed.
    pub fn new(ids: &'i dyn IdSource, events: usize) -> Self {
        // A key and a nonce for each group.
        let at_a_time = events.clamp(1, Self::EVENTS_MAX) * FieldGroup::ERASABLE.len() * 2;
        Self { ids, drawn: Vec::new(), at_a_time }
    }

    const EVENTS_MAX: usize = 64;

    fn next(&mut self) -> Result<[u8; 32]> {
        if self.drawn.is_empty() {
            self.drawn = self.ids.secrets(self.at_a_time)?;
        }
        self.drawn.pop().ok_or_else(|| Error::internal("there was nothing to draw"))
    }
}

/// The keys of a subject that are left, in the order of their groups.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<(u8, [u8; 32])>);

impl Keys {
    /// New keys, one for each group.
    pub fn new(draws: &mut Draws<'_>) -> Result<Self> {
        FieldGroup::ERASABLE.iter().map(|group| Ok((number(*group), draws.next()?))).collect::<Result<_>>().map(Self)
    }

    /// The keys behind what a database keeps: each with the number of its group before it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.as_chunks::<33>();
        let read = |key: &[u8; 33]| {
            let (group, key) = key.split_first()?;
            Some((*group, key.try_into().ok()?))
        };
        rest.is_empty().then(|| keys.iter().map(read).collect::<Option<_>>().map(Self)).flatten()
    }

    /// The keys as a database keeps them.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(group, key)| std::iter::once(*group).chain(*key)).collect()
    }

    /// Destroys the key of a group. Gives whether there was one.
    pub fn destroy(&mut self, group: FieldGroup) -> bool {
        let before = self.0.len();
        self.0.retain(|(of, _)| *of != number(group));
        self.0.len() < before
    }

    fn of(&self, group: u8) -> Option<LessSafeKey> {
        let (_, key) = self.0.iter().find(|(of, _)| *of == group)?;
        UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
    }
}

/// The two bytes that begin a body with something sealed: field 1000, of bytes.
const TAG: [u8; 2] = [0xc2, 0x3e];
const SUBJECT: usize = 16;
/// Parts are sealed in multiples of so many bytes.
const PADDED_TO: usize = 64;
/// Before each part: its group, and the length of what follows.
const HEADER: usize = 5;

fn number(group: FieldGroup) -> u8 {
    u8::try_from(group.code()).unwrap_or_default()
}

/// What a ciphertext is bound to: it opens in its own place alone.
fn bound(subject: &[u8], group: u8, position: i64) -> Aad<[u8; 25]> {
    let mut bytes = [0; 25];
    let (of, rest) = bytes.split_at_mut(SUBJECT);
    of.copy_from_slice(subject);
    rest[0] = group;
    rest[1..].copy_from_slice(&position.to_be_bytes());
    Aad::from(bytes)
}

fn failed() -> Error {
    Error::internal("an event could not be sealed")
}

/// A part with its length before it and zeroes behind: how long the ciphertext is tells nearly nothing of what is in it.
fn padded(part: &[u8]) -> Option<Vec<u8>> {
    let mut text = u32::try_from(part.len()).ok()?.to_be_bytes().to_vec();
    text.extend_from_slice(part);
    text.resize(text.len().next_multiple_of(PADDED_TO), 0);
    Some(text)
}

fn unpadded(text: &[u8]) -> Option<&[u8]> {
    let (length, rest) = text.split_first_chunk()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// A length as the contract's encoding writes it: seven bits a byte, the lowest first.
fn write_length(mut length: usize, into: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            return into.push(low);
        }
        into.push(0x80 | low);
    }
}

fn read_length(from: &mut Bytes) -> Option<usize> {
    let mut length = 0;
    for shift in (0..28).step_by(7) {
        let byte = *from.first()?;
        from.advance(1);
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

/// The body of an event with what is personal sealed under the keys that are left.
pub fn seal(body: &[u8], personal: &Personal, keys: &Keys, position: i64, draws: &mut Draws<'_>) -> Result<Vec<u8>> {
    let subject = personal.subject.as_bytes();
    let mut sealed = subject.to_vec();
    for (group, part) in &personal.parts {
        let group = number(*group);
        let Some(key) = keys.of(group) else { continue };
        // Drawn anew each time: a commit that is tried again seals other things at the same place.
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&draws.next()?[..NONCE_LEN]);
        let mut text = padded(part).ok_or_else(failed)?;
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(unique, bound(subject, group, position), &mut text).map_err(|_| failed())?;
        let length = u32::try_from(NONCE_LEN + text.len()).map_err(|_| failed())?;
        sealed.push(group);
        sealed.extend(length.to_be_bytes());
        sealed.extend(nonce);
        sealed.extend(text);
    }
    let mut whole = TAG.to_vec();
    write_length(sealed.len(), &mut whole);
    whole.extend(sealed);
    whole.extend(body);
    Ok(whole)
}

/// A body taken apart.
pub struct Sealed {
    /// Whose keys open it.
    pub subject: Uuid,
    parts: Bytes,
    open: Bytes,
}

/// A body with something sealed; `None` for one without.
pub fn parse(body: &Bytes) -> Option<Sealed> {
    let mut rest = body.clone();
    if !rest.starts_with(&TAG) {
        return None;
    }
    rest.advance(TAG.len());
    let length = read_length(&mut rest)?;
    if length < SUBJECT || length > rest.len() {
        return None;
    }
    let mut parts = rest.split_to(length);
    let subject = Uuid::from_slice(&parts.split_to(SUBJECT)).ok()?;
    Some(Sealed { subject, parts, open: rest })
}

impl Sealed {
    /// The event's message with what the keys open. `None` if it is not what was sealed there.
    pub fn open(self, keys: &Keys, position: i64) -> Option<Bytes> {
        let mut body = self.open.to_vec();
        let mut rest = &self.parts[..];
        while let Some((header, after)) = rest.split_at_checked(HEADER) {
            let length = usize::try_from(u32::from_be_bytes(header[1..].try_into().ok()?)).ok()?;
            let (part, after) = after.split_at_checked(length)?;
            rest = after;
            let Some(key) = keys.of(header[0]) else { continue };
            let (nonce, text) = part.split_at_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = text.to_vec();
            let bound = bound(self.subject.as_bytes(), header[0], position);
            body.extend_from_slice(unpadded(key.open_in_place(nonce, bound, &mut text).ok()?)?);
        }
        rest.is_empty().then(|| body.into())
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::id::{CountingIds, RandomIds};

    use super::*;

    fn draws() -> Draws<'static> {
        Draws::new(&RandomIds, 1)
    }

    fn personal() -> Personal {
        let parts = vec![(FieldGroup::Target, b"where".to_vec()), (FieldGroup::Reasons, b"why".to_vec())];
        Personal { subject: Uuid::from_u128(7), begins: true, parts, erases: Vec::new() }
    }

    fn opened(body: &[u8], keys: &Keys, position: i64) -> Option<Bytes> {
        parse(&Bytes::copy_from_slice(body)).unwrap().open(keys, position)
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_with_the_keys_that_are_left() {
        let mut keys = Keys::new(&mut draws()).unwrap();
        let body = seal(b"rest", &personal(), &keys, 5, &mut draws()).unwrap();
        assert!(!body.windows(5).any(|window| window == b"where"));
        assert_eq!(opened(&body, &keys, 5).unwrap(), b"restwherewhy"[..]);
        assert_eq!(opened(&body, &keys, 6), None);
        assert_eq!(opened(&body, &Keys::new(&mut draws()).unwrap(), 5), None);
        keys.destroy(FieldGroup::Target);
        assert_eq!(opened(&body, &keys, 5).unwrap(), b"restwhy"[..]);
        // What follows is sealed with what is left.
        let body = seal(b"rest", &personal(), &keys, 6, &mut draws()).unwrap();
        assert_eq!(opened(&body, &keys, 6).unwrap(), b"restwhy"[..]);
        assert_eq!(opened(&body, &Keys::default(), 6).unwrap(), b"rest"[..]);
    }

    #[test]
    fn texts_of_every_length_come_back() {
        let keys = Keys::new(&mut draws()).unwrap();
        for length in [0, 1, 60, 127, 128, 16_300, 16_400, 300_000] {
            let text = vec![7; length];
            let of = Personal { parts: vec![(FieldGroup::Grade, text.clone())], ..personal() };
            let body = seal(b"rest", &of, &keys, 1, &mut draws()).unwrap();
            assert_eq!(opened(&body, &keys, 1).unwrap(), [b"rest".to_vec(), text].concat(), "{length}");
        }
    }

    #[test]
    fn short_texts_look_alike() {
        let keys = Keys::new(&mut draws()).unwrap();
        let long = |part: &[u8]| {
            let of = Personal { parts: vec![(FieldGroup::Grade, part.to_vec())], ..personal() };
            seal(b"", &of, &keys, 1, &mut draws()).unwrap().len()
        };
        assert_eq!(long(b""), long(&[1; 60]));
        assert_eq!(long(&[1; 61]), long(&[1; 124]));
        assert_eq!(long(&[1; 124]) + 64, long(&[1; 125]));
    }

    #[test]
    fn every_changed_byte_is_found_and_none_is_a_fault() {
        let ids = CountingIds::default();
        let keys = Keys::new(&mut Draws::new(&ids, 1)).unwrap();
        let body = seal(b"", &personal(), &keys, 5, &mut Draws::new(&ids, 1)).unwrap();
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 0x80;
            let found = parse(&Bytes::from(changed)).and_then(|sealed| sealed.open(&keys, 5));
            assert_ne!(found.as_deref(), Some(&b"wherewhy"[..]), "{place}");
            let cut = parse(&Bytes::copy_from_slice(&body[..place])).and_then(|sealed| sealed.open(&keys, 5));
            assert_ne!(cut.as_deref(), Some(&b"wherewhy"[..]), "{place}");
        }
        for plain in [&b""[..], b"\xc2", b"\xc2\x3e", b"\xc2\x3e\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x00"]
        {
            assert!(parse(&Bytes::copy_from_slice(plain)).is_none(), "{plain:?}");
        }
    }

    #[test]
    fn keys_are_kept_as_they_were() {
        let mut keys = Keys::new(&mut draws()).unwrap();
        assert_eq!(keys.encode().len(), 99);
        assert!(Keys::decode(&keys.encode()).unwrap() == keys);
        for group in FieldGroup::ERASABLE {
            assert!(keys.destroy(group) && !keys.destroy(group));
        }
        assert!(keys.encode().is_empty() && Keys::decode(&[]).unwrap() == keys);
        assert!(Keys::decode(&[1; 32]).is_none());
    }
}
