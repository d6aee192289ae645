//! `EvidenceService`.

pub mod convert;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use portreeve_api::referral::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::audit::hex;
use portreeve_core::id::Uuid;
use portreeve_core::name::{EvidenceName, OrganisationKind, ReferralName, parse_owner};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::vocabulary::{EvidenceGrade, FieldGroup};
use portreeve_core::{Error, Principal, Reason, Result, Violations, limits};
use portreeve_runtime::status::{IntoStatus as _, status};
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{guard, page_size, position_key, principal, read_position, violations};
use portreeve_storage::{Objects, Staged};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};
use wire::evidence_service_server::EvidenceService;

use super::{Rpc, fit};
use crate::domain::evidence::{HEAD_BYTES, check_head, key, no_evidence};
use crate::domain::{Command, Event, Evidence, Exhibit, Standing};
use crate::evidence::purge;
use crate::store::Reads;
use convert::{Digests, read_draft, write_evidence, write_exhibit};

/// Bytes of one message of a download.
const PART_BYTES: usize = limits::EVIDENCE_CHUNK_BYTES_MAX / 4;

type Parts = Pin<Box<dyn Stream<Item = Result<wire::DownloadEvidenceResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EvidenceService for Rpc {
    type DownloadEvidenceStream = Parts;

    async fn upload_evidence(
        &self,
        request: Request<Streaming<wire::UploadEvidenceRequest>>,
    ) -> Result<Response<wire::UploadEvidenceResponse>, Status> {
        self.upload(request).await.map(Response::new)
    }

    async fn delete_evidence(
        &self,
        request: Request<wire::DeleteEvidenceRequest>,
    ) -> Result<Response<wire::DeleteEvidenceResponse>, Status> {
        self.delete_one(request).await.map(Response::new).or_status()
    }

    async fn get_evidence(
        &self,
        request: Request<wire::GetEvidenceRequest>,
    ) -> Result<Response<wire::GetEvidenceResponse>, Status> {
        self.evidence(request).await.map(Response::new).or_status()
    }

    async fn list_evidence(
        &self,
        request: Request<wire::ListEvidenceRequest>,
    ) -> Result<Response<wire::ListEvidenceResponse>, Status> {
        self.evidence_of(request).await.map(Response::new).or_status()
    }

    async fn download_evidence(
        &self,
        request: Request<wire::DownloadEvidenceRequest>,
    ) -> Result<Response<Self::DownloadEvidenceStream>, Status> {
        self.download(request).await.map(Response::new).or_status()
    }
}

/// Uploads under way, by organisation.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Arc<Mutex<HashMap<String, usize>>>);

impl Uploads {
    /// A place for one more, for as long as it is held.
    fn admit(&self, caller: &Principal) -> Result<Place> {
        let of = caller.organisation().to_string();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, all) = (open.get(&of).copied().unwrap_or_default(), open.values().sum::<usize>());
        let (resource, limit, whose) = if own >= limits::ORGANISATION_UPLOADS_MAX {
            ("organisation_uploads", limits::ORGANISATION_UPLOADS_MAX, "of the organisation")
        } else if all >= limits::UPLOADS_MAX {
            ("uploads", limits::UPLOADS_MAX, "of evidence")
        } else {
            *open.entry(of.clone()).or_default() += 1;
            return Ok(Place { uploads: Arc::clone(&self.0), of });
        };
        Err(Error::new(Reason::Overloaded, format!("{limit} uploads {whose} are under way; repeat it after the delay"))
            .with("resource", resource)
            .with("limit", limit)
            .retry_after(Duration::from_secs(1)))
    }
}

/// The place of an upload under way.
#[derive(Debug)]
struct Place {
    uploads: Arc<Mutex<HashMap<String, usize>>>,
    of: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.of);
            }
        }
    }
}

/// Bytes that came in whole.
struct Received {
    staged: Staged,
    digest: String,
    bytes: u64,
}

/// Bytes on their way into the store.
struct Receiving {
    upload: portreeve_storage::Upload,
    media_type: String,
    head: Vec<u8>,
    told: bool,
    hasher: Sha256,
    bytes: u64,
}

impl Receiving {
    async fn take(&mut self, data: Bytes) -> Result<()> {
        self.bytes += data.len() as u64;
        let maximum = limits::EVIDENCE_BYTES_MAX;
        if self.bytes > maximum {
            let message = format!("evidence has at most {maximum} bytes; nothing was kept");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "evidence_bytes")
                .with("maximum", maximum)
                .with("actual", self.bytes));
        }
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        // As soon as it can be told, so that nobody sends in vain what is not taken.
        if !self.told && self.head.len() == HEAD_BYTES {
            check_head(&self.media_type, &self.head)?;
            self.told = true;
        }
        self.hasher.update(&data);
        self.upload.write(data).await
    }

    async fn end(self) -> Result<Received> {
        if self.bytes == 0 {
            let mut violations = Violations::new();
            violations.add("data", "must not be empty: evidence has bytes");
            violations.into_result()?;
        }
        if !self.told {
            check_head(&self.media_type, &self.head)?;
        }
        let digest = hex(&self.hasher.finalize());
        Ok(Received { staged: self.upload.finish().await?, digest, bytes: self.bytes })
    }
}

impl Rpc {
    fn objects(&self) -> Result<&Objects> {
        self.objects.as_ref().ok_or_else(|| {
            let message = "this server has no store for the bytes of evidence; its operator names one with evidence";
            Error::new(Reason::EvidenceStoreMissing, message)
        })
    }

    async fn upload(
        &self,
        request: Request<Streaming<wire::UploadEvidenceRequest>>,
    ) -> Result<wire::UploadEvidenceResponse, Status> {
        let caller = principal(&request).or_status()?;
        let mut messages = request.into_inner();
        let mut first = messages.message().await?.unwrap_or_default();
        let begun = self.begin(&caller, &first).await;
        let (said, mut receiving, _place) = begun.or_status()?;
        receiving.take(std::mem::take(&mut first.data)).await.or_status()?;
        while let Some(next) = messages.message().await? {
            check_next(&next).or_status()?;
            receiving.take(next.data).await.or_status()?;
        }
        let received = receiving.end().await.or_status()?;
        self.record(&caller, first, said, received).await.or_status()
    }

    /// What the first message says, and where the bytes go.
    async fn begin(
        &self,
        caller: &Principal,
        first: &wire::UploadEvidenceRequest,
    ) -> Result<(Evidence, Receiving, Place)> {
        let now = self.clock.now();
        let mut violations = violations(first);
        for (field, missing) in [
            ("parent", first.parent.is_empty()),
            ("request_id", first.request_id.is_empty()),
            ("evidence", first.evidence.is_none()),
        ] {
            if missing {
                violations.add(field, "must be set in the first message of an upload");
            }
        }
        let agency = parse_owner(&first.parent, OrganisationKind::Agency).unwrap_or_default().to_owned();
        let name = EvidenceName { agency, id: self.ids.uuid(now) };
        let draft = first.evidence.as_ref();
        let said = draft.and_then(|draft| read_draft(&mut violations, name, caller.member(), draft, now));
        let said = violations.finish(said)?;
        let name = said.name();
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let place = self.uploads.admit(caller)?;
        let receiving = Receiving {
            upload: self.objects()?.upload(name.id).await?,
            media_type: said.exhibit.media_type.clone(),
            head: Vec::new(),
            told: false,
            hasher: Sha256::new(),
            bytes: 0,
        };
        Ok((said, receiving, place))
    }

    /// Places what came in, and records what is said of it.
    async fn record(
        &self,
        caller: &Principal,
        first: wire::UploadEvidenceRequest,
        said: Evidence,
        received: Received,
    ) -> Result<wire::UploadEvidenceResponse> {
        let Received { staged, digest, bytes } = received;
        let expected = &said.exhibit.digest;
        if !expected.is_empty() && *expected != digest {
            let message = "the bytes do not have the digest that was said; nothing was kept";
            return Err(Error::new(Reason::EvidenceDigestMismatch, message)
                .with("expected", expected)
                .with("actual", digest)
                .at("evidence.sha256", "must be the digest of the bytes"));
        }
        // A repeated request has the same bytes, whether or not it says so.
        let sha256 = digest.clone();
        let evidence = first.evidence.map(|draft| wire::EvidenceDraft { sha256, ..draft });
        let content = wire::UploadEvidenceRequest { parent: first.parent, evidence, ..Default::default() };
        let guard = guard("UploadEvidence", &first.request_id, &content);
        let key = key(&said.name().agency, &digest);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let exhibit = Arc::new(Exhibit { digest, bytes, ..(*said.exhibit).clone() });
        let command = Command::RecordEvidence(Box::new(Evidence { exhibit, ..said }));
        let objects = self.objects()?;
        let recorded = objects.place(&staged, &key, self.submit(caller, guard, Some(command))).await;
        let unknown = |error: &Error| {
            matches!(error.reason(), Reason::StorageUnavailable | Reason::ServerDraining | Reason::Internal)
        };
        // What was refused, or has been erased since it was first recorded, leaves nothing either. Where nobody knows what
        // happened, the sweep finds out.
        if recorded.as_ref().map_or_else(|error| !unknown(error), |outcome| outcome.replayed) {
            purge(Some(objects), &self.parts.reads, vec![key]).await;
        }
        let outcome = recorded?;
        let written = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::EvidenceUploaded(evidence) => {
                Some(write_evidence(&Evidence { created_at: recorded.recorded_at, ..(**evidence).clone() }))
            }
            _ => None,
        });
        Ok(wire::UploadEvidenceResponse {
            evidence: Some(written.ok_or_else(|| Error::internal("a command caused no event"))?),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn delete_one(&self, request: Request<wire::DeleteEvidenceRequest>) -> Result<wire::DeleteEvidenceResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<EvidenceName>());
        let name = violations.finish(name)?;
        caller.require_as(Role::Officer, OrganisationKind::Agency, &name.agency)?;
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("DeleteEvidence", &request_id, &message);
        let before = self.own_evidence(&caller, &name).await?;
        let kept = before.iter().filter(|before| before.erased_at.is_none());
        let keys = kept.map(|before| key(&name.agency, &before.exhibit.digest)).collect();
        let outcome = self.submit(&caller, guard, Some(Command::DeleteEvidence { name: name.clone() })).await?;
        purge(self.objects.as_ref(), &self.parts.reads, keys).await;
        let left = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::EvidenceErased(evidence) => Some((**evidence).clone()),
            _ => None,
        });
        // Nothing to do: it is as it was.
        let left = left.or(before).ok_or_else(|| no_evidence(&name))?;
        Ok(wire::DeleteEvidenceResponse {
            evidence: Some(write_evidence(&left)),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn evidence(&self, request: Request<wire::GetEvidenceRequest>) -> Result<wire::GetEvidenceResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<EvidenceName>());
        let name = violations.finish(name)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let shown = self.served(asking.caller(), &name).await?;
        asking.rows([(name.agency.as_str(), name.id)]).await?;
        Ok(wire::GetEvidenceResponse { evidence: Some(shown), revisions })
    }

    async fn evidence_of(&self, request: Request<wire::ListEvidenceRequest>) -> Result<wire::ListEvidenceResponse> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let agency = violations.check("parent", parse_owner(&message.parent, OrganisationKind::Agency));
        let agency = violations.finish(agency)?;
        if asking.caller().scope() != Scope::Agency(agency.to_owned()) {
            return Err(asking.caller().denied());
        }
        let content = wire::ListEvidenceRequest { parent: message.parent.clone(), ..Default::default() };
        let query = filter_hash("ListEvidence", &message.parent, &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.evidence(asking.caller(), agency, after, None, limit).await?;
        let rows = found.iter().map(|evidence| (position_key(evidence.created), write_evidence(evidence)));
        let (evidence, next_page_token) = fit(query, found.len() == limit, rows);
        let shown = found.iter().take(evidence.len()).map(Evidence::name);
        asking.rows(shown.map(|name| (name.agency.as_str(), name.id))).await?;
        Ok(wire::ListEvidenceResponse { evidence, next_page_token, revisions })
    }

    async fn download(&self, request: Request<wire::DownloadEvidenceRequest>) -> Result<Parts> {
        let asking = self.access.ask(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name = violations.check("name", message.name.parse::<EvidenceName>());
        let name = violations.finish(name)?;
        self.caught_up(&message.at_least).await?;
        let evidence = self.served(asking.caller(), &name).await?;
        if evidence.sha256.is_empty() {
            return Err(no_evidence(&name));
        }
        let digest = evidence.sha256.clone();
        let found = self.objects()?.read(&key(&name.agency, &digest)).await?;
        let source = found.ok_or_else(|| damaged(&name))?.boxed();
        asking.rows([(name.agency.as_str(), name.id)]).await?;
        let first = wire::DownloadEvidenceResponse { evidence: Some(evidence), data: Bytes::new() };
        let parts = Sending { source, buffer: BytesMut::new(), hasher: Sha256::new(), digest, name }.parts();
        let parts = parts.map_ok(|data| wire::DownloadEvidenceResponse { evidence: None, data });
        Ok(Box::pin(stream::once(async { Ok(first) }).chain(parts.map_err(|error| status(&error)))))
    }

    /// What the caller may know of evidence: its agency all of it, a platform what a referral to it carries for it. Nobody else
    /// learns whether there is any.
    async fn served(&self, caller: &Principal, name: &EvidenceName) -> Result<wire::Evidence> {
        match caller.scope() {
            Scope::Agency(own) if own == name.agency => {
                let found = self.own_evidence(caller, name).await?;
                found.as_ref().map(write_evidence).ok_or_else(|| no_evidence(name))
            }
            Scope::Platform(own) => {
                let reader = Reader::own(caller.clone());
                for id in self.parts.reads.carried_to(caller, name.id, &own).await? {
                    let referral = ReferralName { agency: name.agency.clone(), id };
                    let Some((referral, view)) = self.parts.reads.referral(&reader, &referral).await? else { continue };
                    // What was taken back asks for nothing any more, and shows nothing.
                    let asks = referral.standing == Standing::Submitted && view.groups.has(FieldGroup::Target);
                    let served = |exhibit: &&Arc<Exhibit>| {
                        exhibit.name == *name && view.evidence.is_some_and(|lowest| exhibit.grade >= lowest)
                    };
                    if let Some(exhibit) = referral.exhibits.iter().find(served).filter(|_| asks) {
                        return Ok(write_exhibit(exhibit));
                    }
                }
                Err(caller.denied())
            }
            Scope::Agency(_) | Scope::All | Scope::Nothing => Err(caller.denied()),
        }
    }

    async fn own_evidence(&self, caller: &Principal, name: &EvidenceName) -> Result<Option<Evidence>> {
        let found = self.parts.reads.evidence_by_id(caller, &[name.id]).await?;
        Ok(found.into_iter().find(|evidence| evidence.name() == name))
    }
}

/// The digests that signatures of drafts cover. Nothing for who is not the agency.
pub(super) async fn digests<'d>(
    reads: &dyn Reads,
    caller: &Principal,
    agency: &str,
    drafts: impl IntoIterator<Item = &'d wire::ReferralDraft>,
) -> Result<Digests> {
    let names = drafts.into_iter().flat_map(|draft| draft.evidence.iter().take(limits::REFERRAL_EVIDENCE_MAX));
    let ids = names.filter_map(|name| name.parse::<EvidenceName>().ok()).map(|name| name.id).collect::<Vec<Uuid>>();
    if ids.is_empty() || caller.scope() != Scope::Agency(agency.to_owned()) {
        return Ok(Digests::new());
    }
    let found = reads.evidence_by_id(caller, &ids).await?;
    let served = |of: &Evidence| of.name().agency == agency && of.exhibit.grade == EvidenceGrade::Platform;
    Ok(found.into_iter().filter(served).map(|of| (of.name().id, of.exhibit.digest.clone())).collect())
}

/// Refuses a later message that says more than bytes.
fn check_next(next: &wire::UploadEvidenceRequest) -> Result<()> {
    let mut violations = violations(next);
    for (field, said) in [
        ("parent", !next.parent.is_empty()),
        ("request_id", !next.request_id.is_empty()),
        ("evidence", next.evidence.is_some()),
    ] {
        if said {
            violations.add(field, "goes with the first message of an upload only");
        }
    }
    violations.into_result()
}

fn damaged(name: &EvidenceName) -> Error {
    tracing::error!(%name, "the bytes of evidence are not in the store, or are others");
    let message = format!("the bytes of {name} are not those that were uploaded, or are gone");
    Error::new(Reason::EvidenceDamaged, message).with("name", name)
}

/// Bytes on their way out of the store.
struct Sending {
    source: BoxStream<'static, Result<Bytes>>,
    buffer: BytesMut,
    hasher: Sha256,
    digest: String,
    name: EvidenceName,
}

impl Sending {
    /// The bytes in parts. The last one comes once all of them have turned out to be the right ones.
    fn parts(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::try_unfold(Some(self), |state| async move {
            let Some(mut sending) = state else { return Ok(None) };
            while sending.buffer.len() <= PART_BYTES {
                let Some(bytes) = sending.source.try_next().await? else {
                    if hex(&sending.hasher.finalize()) != sending.digest {
                        return Err(damaged(&sending.name));
                    }
                    return Ok(Some((sending.buffer.freeze(), None)));
                };
                sending.hasher.update(&bytes);
                sending.buffer.extend_from_slice(&bytes);
            }
            let part = sending.buffer.split_to(PART_BYTES).freeze();
            Ok(Some((part, Some(sending))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's places in all: each organisation alone never takes them up.
    #[test]
    fn uploads_have_so_many_places() {
        let uploads = Uploads::default();
        let caller = |number: usize| {
            let name = format!("agencies/a{number}").parse().unwrap();
            Principal::new(name, "", &[]).unwrap()
        };
        let organisations = limits::UPLOADS_MAX / limits::ORGANISATION_UPLOADS_MAX;
        let mut held = Vec::new();
        for number in 0..organisations {
            for _ in 0..limits::ORGANISATION_UPLOADS_MAX {
                held.push(uploads.admit(&caller(number)).unwrap());
            }
            let full = uploads.admit(&caller(number)).unwrap_err();
            assert!(
                full.metadata().contains(&("resource", "organisation_uploads".into()))
                    || held.len() == limits::UPLOADS_MAX
            );
        }
        let full = uploads.admit(&caller(organisations)).unwrap_err();
        assert!(full.reason() == Reason::Overloaded && full.metadata().contains(&("resource", "uploads".into())));
        held.pop();
        let last = uploads.admit(&caller(organisations)).unwrap();
        assert!(uploads.admit(&caller(0)).is_err());
        drop((last, held));
        assert!(uploads.0.lock().unwrap().is_empty(), "nothing is kept of who uploads no more");
    }
}
