//! Evidence: what shows a breach where there is no address. Its bytes lie elsewhere, under their digest; here is what is known
//! of it, and which referrals carry it.

use std::collections::HashSet;
use std::sync::Arc;

use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::name::{EvidenceName, OrganisationKind, ReferralName};
use portreeve_core::vocabulary::{CaptureMethod, EvidenceGrade, FieldGroup, GraphicSeverity, RedactionLevel};
use portreeve_core::{Error, Reason, Result, Timestamp};

use super::ledger::{Event, State};
use super::referral::Referral;

/// How many of the first bytes tell what a file is.
pub const HEAD_BYTES: usize = 8 * 1024;

/// A kind of file that is taken, with how its first bytes are told.
type Kind = (&'static str, fn(&[u8]) -> bool);

/// The kinds of files that are taken: pictures, recordings and documents of messages, and archives of them.
const KINDS: &[Kind] = &[
    ("application/gzip", infer::archive::is_gz),
    ("application/pdf", infer::archive::is_pdf),
    ("application/warc", |head| head.starts_with(b"WARC/")),
    ("application/zip", infer::archive::is_zip),
    ("audio/mpeg", infer::audio::is_mp3),
    ("audio/ogg", infer::audio::is_ogg),
    ("image/gif", infer::image::is_gif),
    ("image/jpeg", infer::image::is_jpeg),
    ("image/png", infer::image::is_png),
    ("image/webp", infer::image::is_webp),
    ("text/plain", is_text),
    ("video/mp4", infer::video::is_mp4),
    ("video/quicktime", infer::video::is_mov),
    ("video/webm", infer::video::is_webm),
];

/// Whether it reads as UTF-8 and is nothing else. The last character may be cut.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() >= HEAD_BYTES,
    };
    // A page could do something to who opens it.
    text && !head.contains(&0) && infer::get(head).is_none()
}

/// Whether files of this media type are taken.
pub fn is_taken(media_type: &str) -> bool {
    KINDS.iter().any(|(taken, _)| *taken == media_type)
}

/// The media types that are taken.
pub fn taken() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(taken, _)| *taken)
}

/// Refuses first bytes that are not of the media type.
pub fn check_head(media_type: &str, head: &[u8]) -> Result<()> {
    if KINDS.iter().any(|(taken, is)| *taken == media_type && is(head)) {
        return Ok(());
    }
    let found = infer::get(head).map_or("", |kind| kind.mime_type());
    let message = format!("the first bytes are not those of {media_type}; nothing was kept");
    Err(Error::new(Reason::EvidenceTypeMismatch, message)
        .with("media_type", media_type)
        .with("found", found)
        .at("evidence.media_type", "must be what the bytes are"))
}

/// What whoever is served evidence may know of it. Never changes, but by an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhibit {
    /// Its name.
    pub name: EvidenceName,
    /// The SHA-256 of its bytes, in hexadecimal digits; empty once it was erased.
    pub digest: String,
    /// How many bytes there are.
    pub bytes: i64,
    /// What kind of file it is.
    pub media_type: String,
    /// When it was captured, by the agency's account.
    pub captured_at: Timestamp,
    /// How it was come by.
    pub method: CaptureMethod,
    /// What was taken out of it.
    pub redaction: RedactionLevel,
    /// To whom it is served.
    pub grade: EvidenceGrade,
    /// How hard it is to look at; `None` if nobody assessed it.
    pub severity: Option<GraphicSeverity>,
    /// What it shows; empty once it was erased.
    pub description: String,
}

/// Evidence, with what its agency alone knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What whoever is served it may know.
    pub exhibit: Arc<Exhibit>,
    /// What made the capture lawful.
    pub lawful_authority: String,
    /// Who captured it; empty when that is not kept here.
    pub capturer: String,
    /// The member who uploaded it.
    pub uploaded_by: String,
    /// When the server recorded it.
    pub created_at: Timestamp,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
    /// The position of the event that recorded it.
    pub created: i64,
    /// The position of the last event that changed it.
    pub updated: i64,
}

impl Evidence {
    /// Its name.
    pub fn name(&self) -> &EvidenceName {
        &self.exhibit.name
    }

    /// What is left of it once it was erased: that it was there, and of what kind.
    fn erased(&self, now: Timestamp) -> Self {
        let left = Exhibit { digest: String::new(), description: String::new(), ..(*self.exhibit).clone() };
        Self {
            exhibit: Arc::new(left),
            lawful_authority: String::new(),
            capturer: String::new(),
            erased_at: Some(now),
            ..self.clone()
        }
    }
}

/// The key under which the bytes lie: one agency never learns from a digest what another holds.
pub fn key(agency: &str, digest: &str) -> String {
    format!("{agency}/{digest}")
}

/// The refusal of a name that is no evidence's, or of evidence that was erased.
pub fn no_evidence(name: &EvidenceName) -> Error {
    Error::new(Reason::EvidenceNotFound, format!("there is no {name}, or it was erased")).with("name", name)
}

impl State {
    /// Records evidence whose bytes are in the store.
    pub(super) fn record_evidence(&self, new: &Evidence, now: Timestamp) -> Result<Vec<Event>> {
        self.organisation(OrganisationKind::Agency, &new.name().agency)?;
        Ok(vec![Event::EvidenceUploaded(Box::new(Evidence { created_at: now, ..new.clone() }))])
    }

    /// Erases evidence that no referral carries.
    pub(super) fn delete_evidence(&self, name: &EvidenceName, now: Timestamp) -> Result<Vec<Event>> {
        let known = self.evidence.get(&name.id).filter(|known| known.name() == name);
        let known = known.ok_or_else(|| no_evidence(name))?;
        if known.erased_at.is_some() {
            return Ok(Vec::new());
        }
        if let Some(referral) = self.carriers.get(&name.id).and_then(|carriers| carriers.iter().min()) {
            let referral = ReferralName { agency: name.agency.clone(), id: *referral };
            let message = format!("{referral} carries {name}; erase its target, and the evidence goes with it");
            return Err(Error::new(Reason::EvidenceAttached, message).with("name", name).with("referral", referral));
        }
        Ok(vec![Event::EvidenceErased(Box::new(known.erased(now)))])
    }

    /// What is known of the evidence that a referral names.
    pub(super) fn exhibits(
        &self,
        agency: &str,
        ids: &[Uuid],
        field: &impl Fn() -> String,
    ) -> Result<Vec<Arc<Exhibit>>> {
        let exhibit = |(index, id): (usize, &Uuid)| {
            let name = EvidenceName { agency: agency.to_owned(), id: *id };
            let known = self.evidence.get(id).filter(|known| *known.name() == name && known.erased_at.is_none());
            let says = "must be evidence of the agency that was not erased";
            let known = known.ok_or_else(|| no_evidence(&name).at(format!("{}.evidence[{index}]", field()), says))?;
            Ok(Arc::clone(&known.exhibit))
        };
        ids.iter().enumerate().map(exhibit).collect()
    }

    /// The events of an erasure of referrals, with that of the evidence which no other referral carries.
    pub(super) fn with_evidence(&self, erased: Vec<Referral>, now: Timestamp) -> Vec<Event> {
        let loses = |referral: &&Referral| {
            let new = |erasure: &Erasure| erasure.group == FieldGroup::Target && erasure.at == now;
            referral.erasures.iter().any(new)
        };
        let gone = erased.iter().filter(loses).map(|referral| referral.name.id).collect::<HashSet<_>>();
        let lost = self.evidence.values().filter(|known| {
            let carriers = self.carriers.get(&known.name().id);
            known.erased_at.is_none()
                && carriers.is_some_and(|carriers| !carriers.is_empty() && carriers.is_subset(&gone))
        });
        let mut lost = lost.collect::<Vec<_>>();
        // In an order that does not hang on hashes.
        lost.sort_by_key(|known| known.created);
        let lost = lost.into_iter().map(|known| Event::EvidenceErased(Box::new(known.erased(now))));
        erased.into_iter().map(|referral| Event::Erased(Box::new(referral))).chain(lost).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever somebody sends is told for what it is, or refused.
        #[test]
        fn any_bytes_have_an_answer(begin in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"RIFF", b"\0\0\0\x20ftyp", b"\x1aE\xdf\xa3", b"ID3"]), rest in prop::collection::vec(any::<u8>(), 0..600)) {
            let bytes = [begin, &rest].concat();
            prop_assert!(taken().filter(|kind| check_head(kind, &bytes).is_ok()).count() <= 1);
        }
    }

    #[test]
    fn first_bytes_are_of_their_kind() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        let mp4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
        for (media_type, head) in [
            ("image/png", &png[..]),
            ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
            ("image/gif", b"GIF89a"),
            ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
            ("video/mp4", mp4),
            ("audio/ogg", b"OggS\0"),
            ("audio/mpeg", b"ID3\x04"),
            ("application/pdf", b"%PDF-1.7"),
            ("application/zip", b"PK\x03\x04"),
            ("application/gzip", b"\x1f\x8b\x08\0"),
            ("application/warc", b"WARC/1.1\r\n"),
            ("text/plain", "Treffen um 3 \u{2013} m\u{f6}glich?".as_bytes()),
        ] {
            assert!(is_taken(media_type));
            check_head(media_type, head).unwrap();
            for other in taken()
                .filter(|other| *other != media_type && (media_type, *other) != ("application/warc", "text/plain"))
            {
                let refused = check_head(other, head).unwrap_err();
                assert_eq!(refused.reason(), Reason::EvidenceTypeMismatch, "{other} is not {media_type}");
            }
        }
        for not_text in
            [&b"<!DOCTYPE html><script>"[..], b"MZ\x90\0", b"#!/bin/sh\n", b"a\0b", b"\xff\xfea\0", b"caf\xe9"]
        {
            assert!(check_head("text/plain", not_text).is_err(), "{not_text:?}");
        }
        let mut cut = vec![b'a'; HEAD_BYTES - 1];
        cut.push(0xc3);
        check_head("text/plain", &cut).unwrap();
        assert!(!is_taken("text/html") && check_head("text/html", b"<html>").is_err());
    }
}
