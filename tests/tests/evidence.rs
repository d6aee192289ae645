//! Evidence through the public API and the command line: what there is of a closed space where there is no address.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portreeve_api::common::v1 as common;
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as wire;
use portreeve_api::reporting::v1::ReportDefinition;
use portreeve_api::signing::{of_case, with_evidence};
use portreeve_core::Clock as _;
use portreeve_core::signature::PrivateKey;
use portreeve_core::time::DAY_MICROS;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Options, Part, Refused, Server, evidence_of, on_both_engines, process,
    refusal, sample, within,
};
use sha2::{Digest as _, Sha256};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

on_both_engines!(
    an_encrypted_group_is_referred_by_its_evidence,
    an_upload_is_there_whole_or_not_at_all,
    limits_hold_from_both_sides,
    what_is_wrong_is_told_at_once,
    the_same_bytes_are_kept_once_for_each_agency,
    who_is_served_what,
    whoever_watches_learns_of_it,
    a_target_is_erased_with_its_evidence,
    what_was_deleted_is_attached_no_more,
    signatures_cover_what_the_platform_is_served,
    drafts_carry_evidence,
    what_a_crash_leaves_is_swept,
    damaged_bytes_are_not_served,
);

const START: &str = "2026-03-01T09:00:00Z";
const SECRETS: [&str; 4] = ["secret-authority", "secret-capturer", "secret-shown", "secret-bytes"];

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    client: Client,
    folder: PathBuf,
}

impl World {
    async fn new(database: &Database) -> Self {
        Self::at(database, START).await
    }

    async fn at(database: &Database, now: &str) -> Self {
        let (server, clock) = Server::suite_at(database, now).await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        Self { server, clock, client, folder: evidence_of(database) }
    }

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca").member("o.fficer")
    }

    fn chirrup(&self) -> Client {
        self.client.acting("platforms/chirrup")
    }

    /// The objects in the store, and what is being written.
    fn objects(&self) -> Vec<String> {
        files(&self.folder)
    }

    /// Waits until the store holds so many objects: what is taken away is taken away beside the answer.
    async fn holds(&self, count: usize) {
        holds(&self.folder, count).await;
    }

    async fn refer(&self, draft: wire::ReferralDraft, id: &str) -> Result<(wire::Referral, String), Status> {
        let reply = self.nca().referrals().create_referral(sample::create("nca", draft, id)).await?.into_inner();
        Ok((reply.referral.unwrap(), reply.revision))
    }

    async fn case(&self, referral: &wire::Referral, revision: &str) -> decision::Case {
        let request = decision::GetCaseRequest { name: sample::case_of(referral), at_least: vec![revision.to_owned()] };
        self.chirrup().decisions().get_case(request).await.unwrap().into_inner().case.unwrap()
    }

    async fn erase(&self, name: &str) {
        let request = wire::EraseReferralRequest {
            name: name.into(),
            field_groups: vec![wire::FieldGroup::Target.into()],
            reason: "The person asked for it.".into(),
            request_id: sample::request_id(&format!("erase {name}")),
        };
        self.nca().retention().erase_referral(request).await.unwrap();
    }
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(folders) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = folders.filter_map(|of| std::fs::read_dir(of.unwrap().path()).ok()).flatten();
    let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
    let mut files = files.map(|file| name(file.unwrap().path())).collect::<Vec<_>>();
    files.sort();
    files
}

async fn holds(folder: &Path, count: usize) {
    let waiting = async {
        while files(folder).len() != count {
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(std::time::Duration::from_mins(1), waiting).await;
    assert!(found.is_ok(), "{count} objects: {:?}", files(folder));
}

fn sha256(bytes: &[u8]) -> String {
    portreeve_core::audit::hex(&Sha256::digest(bytes))
}

async fn upload(
    client: &Client,
    messages: Vec<wire::UploadEvidenceRequest>,
) -> Result<wire::UploadEvidenceResponse, Status> {
    client.evidence().upload_evidence(tokio_stream::iter(messages)).await.map(tonic::Response::into_inner)
}

async fn refused(client: &Client, messages: Vec<wire::UploadEvidenceRequest>) -> Refused {
    refusal(&upload(client, messages).await.unwrap_err())
}

async fn get(client: &Client, name: &str) -> Result<wire::Evidence, Status> {
    let request = wire::GetEvidenceRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.evidence().get_evidence(request).await?.into_inner().evidence.unwrap())
}

async fn list(client: &Client) -> Result<Vec<wire::Evidence>, Status> {
    let mut request = wire::ListEvidenceRequest {
        parent: "agencies/nca".into(),
        page_size: 2,
        ..wire::ListEvidenceRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let reply = client.evidence().list_evidence(request.clone()).await?.into_inner();
        found.extend(reply.evidence);
        if reply.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = reply.next_page_token;
    }
}

async fn download(client: &Client, name: &str) -> Result<(wire::Evidence, Vec<u8>), Status> {
    let request = wire::DownloadEvidenceRequest { name: name.into(), at_least: Vec::new() };
    let mut parts = client.evidence().download_evidence(request).await?.into_inner();
    let first = parts.message().await?.unwrap();
    assert!(first.data.is_empty(), "the first says what follows");
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        assert!(part.evidence.is_none() && part.data.len() <= 1024 * 1024);
        bytes.extend_from_slice(&part.data);
    }
    Ok((first.evidence.unwrap(), bytes))
}

fn delete(name: &str, id: &str) -> wire::DeleteEvidenceRequest {
    wire::DeleteEvidenceRequest { name: name.into(), request_id: sample::request_id(&format!("delete {id}")) }
}

/// A referral of a group without an address.
fn group(evidence: &[&str], tag: &str) -> wire::ReferralDraft {
    let mut draft = sample::draft("chirrup", tag);
    draft.target = Some(wire::Target { kind: common::TargetKind::Group.into(), ..wire::Target::default() });
    draft.evidence = evidence.iter().map(|name| (*name).to_owned()).collect();
    draft
}

/// Golden scenario six: an end-to-end encrypted group with evidence only.
async fn an_encrypted_group_is_referred_by_its_evidence(database: &Database) {
    let world = World::new(database).await;
    // A member of the group came forward with a picture of the chat; nobody outside has an address of it.
    let picture = sample::picture("the price list of the group");
    let said = wire::EvidenceDraft {
        capture_method: wire::CaptureMethod::MemberReport.into(),
        sha256: sha256(&picture),
        ..sample::captured()
    };
    let uploaded = upload(&world.nca(), sample::upload_of("nca", said, &picture, 16, "chat")).await.unwrap();
    let evidence = uploaded.evidence.unwrap();
    assert_eq!((evidence.sha256.as_str(), evidence.uploaded_by.as_str()), (sha256(&picture).as_str(), "o.fficer"));
    let size = i64::try_from(picture.len()).unwrap();
    assert_eq!((evidence.size_bytes, evidence.create_time), (size, Some(sample::time(START))));

    // It is referred by that alone.
    let (sent, revision) = world.refer(group(&[&evidence.name], "group"), "group").await.unwrap();
    assert_eq!(sent.target.as_ref().unwrap().url, "");
    assert_eq!(sent.evidence[0].name, evidence.name);
    // The platform sees in its inbox what there is, with what tells it to blur the picture, and downloads it.
    let case = world.case(&sent, &revision).await;
    let [shown] = case.evidence.as_slice() else { panic!("{case:?}") };
    assert_eq!(shown.graphic_severity(), wire::GraphicSeverity::Moderate);
    assert_eq!((shown.media_type.as_str(), shown.size_bytes), ("image/png", size));
    assert_eq!((shown.lawful_authority.as_str(), shown.capturer.as_str()), ("", ""), "the agency's own to know");
    let (told, bytes) = download(&world.chirrup(), &shown.name).await.unwrap();
    assert_eq!(&told, shown);
    assert_eq!((sha256(&bytes), &bytes), (shown.sha256.clone(), &picture));

    // It cannot look into the group, and says so.
    let cases = [case.name.clone()];
    world.chirrup().decisions().acknowledge_cases(sample::acknowledge("chirrup", &cases, "ack")).await.unwrap();
    let blind = decision::DecisionDraft {
        cannot_access: decision::AccessObstacle::EndToEndEncrypted.into(),
        ..sample::decided(decision::Outcome::NoActionCannotAccess)
    };
    let decided =
        world.chirrup().decisions().record_decision(sample::record(&case.name, blind, "blind")).await.unwrap();
    // The report has it in its bucket: neither closed, nor in no breach, nor undecided.
    let definition = ReportDefinition {
        cohort_from_date: "2026-03-01".into(),
        cohort_until_date: "2026-03-31".into(),
        as_of_date: "2026-03-01".into(),
        ..ReportDefinition::default()
    };
    let at_least = [revision, decided.into_inner().revision];
    let oversight = world.client.acting("oversightBodies/hac");
    let report = oversight.report(definition, &at_least).await.unwrap();
    let counts = report.rows[0].counts.clone().unwrap();
    assert_eq!((counts.referred, counts.closed, counts.not_in_breach, counts.undecided), (1, 0, 0, 0));
    assert_eq!(counts.other, 1);

    // Whoever was shown what is on record; the bytes, too.
    let rebuilt = world.server.dump(Part::Referral).await;
    for part in Part::ALL {
        let rows = world.server.dump(part).await;
        world.server.rebuild(part).await;
        assert_eq!(world.server.dump(part).await, rows, "{part:?}");
    }
    assert_eq!(world.server.dump(Part::Referral).await, rebuilt);
    world.server.stop().await;
}

async fn an_upload_is_there_whole_or_not_at_all(database: &Database) {
    let world = World::new(database).await;
    let head = world.server.head(Part::Referral).await;
    let nca = world.nca();
    // Six megabytes, of which the store has some when the caller goes away.
    let large = sample::picture(&"x".repeat(6 * 1024 * 1024));
    let messages = sample::upload_of("nca", sample::captured(), &large, 1024 * 1024, "broken");
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut client = nca.evidence();
    let call = tokio::spawn(async move { client.upload_evidence(ReceiverStream::new(receive)).await });
    for message in messages.iter().take(6) {
        send.send(message.clone()).await.unwrap();
    }
    world.holds(1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.holds(0).await;

    // What is refused at the end leaves nothing either.
    let picture = sample::picture("whole");
    let of = |said: wire::EvidenceDraft, id: &str| sample::upload_of("nca", said, &picture, 16, id);
    let other = wire::EvidenceDraft { sha256: sha256(b"other"), ..sample::captured() };
    let mismatch = refused(&nca, of(other, "digest")).await;
    assert_eq!((mismatch.code, mismatch.reason.as_str()), (Code::InvalidArgument, "EVIDENCE_DIGEST_MISMATCH"));
    assert_eq!((&mismatch.metadata["expected"], &mismatch.metadata["actual"]), (&sha256(b"other"), &sha256(&picture)));
    let video = wire::EvidenceDraft { media_type: "video/mp4".into(), ..sample::captured() };
    let mismatch = refused(&nca, of(video, "type")).await;
    assert_eq!((mismatch.code, mismatch.reason.as_str()), (Code::InvalidArgument, "EVIDENCE_TYPE_MISMATCH"));
    assert_eq!(
        (mismatch.metadata["media_type"].as_str(), mismatch.metadata["found"].as_str()),
        ("video/mp4", "image/png")
    );
    let nothing = sample::upload_of("nca", sample::captured(), b"", 16, "empty");
    assert_eq!(refused(&nca, nothing).await.fields, ["data"]);
    // Nor does what is refused in the middle.
    let mut twice = of(sample::captured(), "twice");
    twice[1].parent = "agencies/nca".into();
    assert_eq!(refused(&nca, twice).await.fields, ["parent"]);
    world.holds(0).await;
    assert_eq!(world.server.head(Part::Referral).await, head);
    assert_eq!(list(&nca).await.unwrap(), []);

    // A repeated request sends the bytes again and gets the first answer; with other bytes it is another request.
    let first = upload(&nca, of(sample::captured(), "once")).await.unwrap();
    let again = upload(&nca, of(sample::captured(), "once")).await.unwrap();
    assert_eq!((again.replayed, again.evidence), (true, first.evidence));
    let others = sample::upload_of("nca", sample::captured(), &sample::picture("others"), 16, "once");
    assert_eq!(refused(&nca, others).await.reason, "REQUEST_ID_REUSED");
    world.holds(1).await;
    assert_eq!(world.objects(), [format!("nca/{}", sha256(&picture))]);
    assert_eq!(list(&nca).await.unwrap().len(), 1);
    world.server.stop().await;
}

async fn limits_hold_from_both_sides(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    // Bytes of one piece, and of one message.
    let mut largest = sample::picture("large");
    largest.resize(64 * 1024 * 1024, 7);
    let most = sample::upload_of("nca", sample::captured(), &largest, 1024 * 1024, "most");
    let evidence = upload(&nca, most).await.unwrap().evidence.unwrap();
    assert_eq!(evidence.size_bytes, 64 * 1024 * 1024);
    assert_eq!(sha256(&download(&nca, &evidence.name).await.unwrap().1), evidence.sha256);
    largest.push(7);
    let beyond = refused(&nca, sample::upload_of("nca", sample::captured(), &largest, 1024 * 1024, "more")).await;
    assert_eq!((beyond.reason.as_str(), beyond.metadata["limit"].as_str()), ("LIMIT_EXCEEDED", "evidence_bytes"));
    assert_eq!(beyond.metadata["maximum"], (64 * 1024 * 1024).to_string());
    let chunk = sample::upload_of("nca", sample::captured(), &largest[..2 * 1024 * 1024], 1024 * 1024 + 1, "chunk");
    assert_eq!(refused(&nca, chunk).await.fields, ["data"]);
    world.holds(1).await;

    // Pieces that one referral carries.
    let mut names = Vec::new();
    for number in 0..51 {
        names.push(sample::upload(&nca, &format!("picture {number}")).await.name);
    }
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    let many = refusal(&world.refer(group(&names, "51"), "51").await.unwrap_err());
    assert_eq!(many.fields, ["referral.evidence"]);
    let (sent, _) = world.refer(group(&names[..50], "50"), "50").await.unwrap();
    assert_eq!(sent.evidence.len(), 50);

    // Uploads of one organisation under way.
    let first = sample::upload_of("nca", sample::captured(), &sample::picture("slow"), 16, "slow").remove(0);
    let mut open = Vec::new();
    for number in 0..8 {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let request_id = sample::request_id(&format!("slow {number}"));
        send.send(wire::UploadEvidenceRequest { request_id, ..first.clone() }).await.unwrap();
        let mut client = nca.evidence();
        let call = tokio::spawn(async move { client.upload_evidence(ReceiverStream::new(receive)).await });
        open.push((send, call));
    }
    // One object of before, fifty-one pictures, and eight that are being written.
    world.holds(1 + 51 + 8).await;
    let ninth = sample::upload_of("nca", sample::captured(), &sample::picture("ninth"), 16, "ninth");
    let full = refused(&nca, ninth.clone()).await;
    assert_eq!((full.code, full.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!((full.metadata["resource"].as_str(), full.metadata["limit"].as_str()), ("organisation_uploads", "8"));
    // Another organisation's places are its own.
    let theirs = sample::upload_of("bka", sample::captured(), &sample::picture("ninth"), 16, "ninth");
    upload(&world.client.acting("agencies/bka"), theirs).await.unwrap();
    for (send, call) in open {
        let data = sample::picture("slow").into();
        send.send(wire::UploadEvidenceRequest { data, ..Default::default() }).await.unwrap();
        drop(send);
        call.await.unwrap().unwrap();
    }
    upload(&nca, ninth).await.unwrap();
    world.server.stop().await;
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let wrong = wire::UploadEvidenceRequest {
        evidence: Some(wire::EvidenceDraft {
            media_type: "text/html".into(),
            sha256: "abc".into(),
            captured_at: Some(sample::time("2026-03-02")),
            capture_method: 0,
            lawful_authority: String::new(),
            capturer: "c".repeat(201),
            redaction_level: 99,
            grade: 99,
            graphic_severity: 99,
            description: "d".repeat(1_001),
        }),
        ..wire::UploadEvidenceRequest::default()
    };
    let mut fields = refused(&nca, vec![wrong]).await.fields;
    fields.sort();
    let of =
        ["capture_method", "captured_at", "capturer", "description", "grade", "graphic_severity", "lawful_authority"];
    let mut expected = of
        .iter()
        .chain(&["media_type", "redaction_level", "sha256"])
        .map(|field| format!("evidence.{field}"))
        .collect::<Vec<_>>();
    expected.extend(["parent".into(), "request_id".into()]);
    assert_eq!(fields, expected);
    assert_eq!(refused(&nca, Vec::new()).await.fields, ["parent", "request_id", "evidence"]);

    // Where there is no address: which kinds, and only with evidence.
    let evidence = sample::upload(&nca, "wrong").await.name;
    let page = |evidence: &[&str], kind: common::TargetKind| {
        let mut draft = group(evidence, "page");
        draft.target.as_mut().unwrap().kind = kind.into();
        draft
    };
    for kind in [common::TargetKind::Page, common::TargetKind::InviteLink, common::TargetKind::Post] {
        let refused = refusal(&world.refer(page(&[&evidence], kind), "a page").await.unwrap_err());
        assert_eq!(
            (refused.reason.as_str(), refused.fields.as_slice()),
            ("REQUEST_INVALID", &["referral.target.url".to_owned()][..])
        );
    }
    let refused = refusal(&world.refer(page(&[], common::TargetKind::Group), "nothing").await.unwrap_err());
    assert_eq!(refused.fields, ["referral.target.url"]);
    for (kind, native_id) in [(common::TargetKind::Channel, ""), (common::TargetKind::PhoneNumber, "+44 7700 900123")] {
        let mut draft = page(&[&evidence], kind);
        draft.target.as_mut().unwrap().native_id = native_id.into();
        world.refer(draft, &format!("{kind:?}")).await.unwrap();
    }
    // What has an address still goes to whose it is.
    let mut elsewhere = sample::draft("lensgram", "elsewhere");
    elsewhere.platform = "platforms/chirrup".into();
    elsewhere.evidence = vec![evidence.clone()];
    assert_eq!(refusal(&world.refer(elsewhere, "elsewhere").await.unwrap_err()).reason, "URL_OF_ANOTHER_PLATFORM");
    let mut nobody = group(&[&evidence], "nobody");
    nobody.platform = "platforms/nobody".into();
    assert_eq!(refusal(&world.refer(nobody, "nobody").await.unwrap_err()).reason, "ORGANISATION_NOT_FOUND");

    // Evidence is the agency's own, and there, and named once.
    let unknown = format!("agencies/nca/evidence/{}", uuid::Uuid::nil());
    let foreign = unknown.replace("nca", "bka");
    let refused = refusal(&world.refer(group(&[&evidence, &foreign, &evidence], "whose"), "whose").await.unwrap_err());
    assert_eq!(refused.fields, ["referral.evidence[1]", "referral.evidence[2]"]);
    let refused = refusal(&world.refer(group(&[&evidence, &unknown], "unknown"), "unknown").await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "EVIDENCE_NOT_FOUND"));
    assert_eq!(refused.fields, ["referral.evidence[1]"]);
    world.server.stop().await;
}

async fn the_same_bytes_are_kept_once_for_each_agency(database: &Database) {
    let world = World::new(database).await;
    let (nca, bka) = (world.nca(), world.client.acting("agencies/bka"));
    let picture = sample::picture("the same");
    let of = |agency: &str, id: &str| sample::upload_of(agency, sample::captured(), &picture, 16, id);
    let mut names = Vec::new();
    for (client, agency, id) in [(&nca, "nca", "one"), (&nca, "nca", "two"), (&bka, "bka", "three")] {
        names.push(upload(client, of(agency, id)).await.unwrap().evidence.unwrap().name);
    }
    let digest = sha256(&picture);
    world.holds(2).await;
    assert_eq!(world.objects(), [format!("bka/{digest}"), format!("nca/{digest}")]);
    // They are there as long as one has them.
    nca.evidence().delete_evidence(delete(&names[0], "one")).await.unwrap();
    assert_eq!(download(&nca, &names[1]).await.unwrap().1, picture);
    nca.evidence().delete_evidence(delete(&names[1], "two")).await.unwrap();
    assert_eq!(world.objects(), [format!("bka/{digest}")]);
    assert_eq!(download(&bka, &names[2]).await.unwrap().1, picture);
    world.server.stop().await;
}

async fn who_is_served_what(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    // A partner with whom all is shared.
    sample::agree(&world.client, sample::agreement(["nca", "bka"], "2027-01-01"), "all").await;
    let partner = world.client.acting("agencies/bka").purpose("investigation");
    let served = sample::upload(&nca, "served").await;
    let only = wire::EvidenceDraft { grade: 0, ..sample::captured() };
    let only = sample::upload_of("nca", only, &sample::picture("only"), 16, "only");
    let own = upload(&nca, only).await.unwrap().evidence.unwrap();
    assert_eq!(own.grade(), wire::EvidenceGrade::AgencyOnly, "nobody else, if nothing is said");

    let denied = |status: Status| assert_eq!(refusal(&status).reason, "PERMISSION_DENIED");
    // Nobody's platform, before a referral carries it.
    denied(get(&world.chirrup(), &served.name).await.unwrap_err());
    let (sent, revision) = world.refer(group(&[&own.name, &served.name], "both"), "both").await.unwrap();
    assert_eq!(sent.evidence.iter().map(|of| of.name.as_str()).collect::<Vec<_>>(), [&own.name, &served.name]);
    let platform_sees = wire::Evidence {
        lawful_authority: String::new(),
        capturer: String::new(),
        uploaded_by: String::new(),
        create_time: None,
        ..served.clone()
    };
    let case = world.case(&sent, &revision).await;
    assert_eq!(case.evidence, std::slice::from_ref(&platform_sees));
    let request = wire::GetReferralRequest { name: sent.name.clone(), at_least: Vec::new() };
    let read = async |client: &Client| {
        client.referrals().get_referral(request.clone()).await.unwrap().into_inner().referral.unwrap().evidence
    };
    assert_eq!(read(&world.chirrup()).await, std::slice::from_ref(&platform_sees));
    assert_eq!(read(&world.client.acting("services/decision")).await, std::slice::from_ref(&platform_sees));
    assert_eq!(read(&nca).await.len(), 2);
    assert_eq!(read(&partner).await, []);
    let partners = partner.changes("agencies/nca", Start::Snapshot(true), None).await;
    let shown = partners.iter().filter_map(|change| match change.change.as_ref().unwrap() {
        wire::referral_change::Change::Snapshot(referral) => Some(referral),
        _ => None,
    });
    let shown = shown.collect::<Vec<_>>();
    assert!(!shown.is_empty() && shown.iter().all(|referral| referral.evidence.is_empty()), "{shown:?}");
    let cases = decision::GetCaseRequest { name: case.name.clone(), at_least: Vec::new() };
    let shared = partner.decisions().get_case(cases).await.unwrap().into_inner().case.unwrap();
    assert_eq!(shared.evidence, []);

    assert_eq!(get(&nca, &served.name).await.unwrap(), served);
    assert_eq!(get(&world.chirrup(), &served.name).await.unwrap(), platform_sees);
    assert_eq!(download(&world.chirrup(), &served.name).await.unwrap().0, platform_sees);
    denied(get(&world.chirrup(), &own.name).await.unwrap_err());
    denied(download(&world.chirrup(), &own.name).await.unwrap_err());
    let unknown = format!("agencies/nca/evidence/{}", uuid::Uuid::nil());
    for who in [
        "platforms/lensgram",
        "agencies/bka",
        "oversightBodies/hac",
        "researchers/lab",
        "operators/op",
        "services/decision",
    ] {
        let client = world.client.acting(who).purpose("investigation");
        // Whether or not there is any: nobody learns that.
        for name in [&served.name, &own.name, &unknown] {
            denied(get(&client, name).await.unwrap_err());
            denied(download(&client, name).await.unwrap_err());
        }
        denied(list(&client).await.unwrap_err());
    }
    denied(list(&world.chirrup()).await.unwrap_err());
    assert_eq!(refusal(&get(&nca, &unknown).await.unwrap_err()).reason, "EVIDENCE_NOT_FOUND");
    // Whoever may not upload for the agency leaves nothing.
    let objects = world.objects();
    for client in [world.client.acting("agencies/bka"), nca.roles(&["approver"]), world.chirrup()] {
        let messages = sample::upload_of("nca", sample::captured(), &sample::picture("theirs"), 16, "theirs");
        denied(upload(&client, messages).await.unwrap_err());
        denied(client.evidence().delete_evidence(delete(&own.name, "theirs")).await.map(drop).unwrap_err());
    }
    assert_eq!(world.objects(), objects);

    // What was taken back shows nothing any more.
    nca.referrals().withdraw_referral(sample::withdraw(&sent.name, "back")).await.unwrap();
    denied(download(&world.chirrup(), &served.name).await.unwrap_err());
    // With another referral of it, it does.
    world.refer(group(&[&served.name], "again"), "again").await.unwrap();
    download(&world.chirrup(), &served.name).await.unwrap();
    world.server.stop().await;
}

async fn whoever_watches_learns_of_it(database: &Database) {
    use wire::referral_change::Change;
    let world = World::new(database).await;
    let nca = world.nca();
    let kept = sample::upload(&nca, "kept").await;
    let gone = sample::upload(&nca, "gone").await;
    let reply = nca.evidence().delete_evidence(delete(&gone.name, "gone")).await.unwrap().into_inner();
    let left = reply.evidence.unwrap();
    let told = |changes: &[wire::ReferralChange]| {
        let evidence = changes.iter().filter_map(|change| match change.change.clone().unwrap() {
            Change::EvidenceUploaded(it) => Some(("uploaded", it)),
            Change::EvidenceErased(it) => Some(("erased", it)),
            Change::EvidenceSnapshot(it) => Some(("snapshot", it)),
            _ => None,
        });
        evidence.collect::<Vec<_>>()
    };
    // What was erased is gone from where it was told, too.
    let first = wire::Evidence { sha256: String::new(), description: String::new(), ..gone.clone() };
    let first = wire::Evidence { lawful_authority: String::new(), capturer: String::new(), ..first };
    let all = nca.changes("agencies/-", Start::Earliest(true), None).await;
    let expected = [("uploaded", kept.clone()), ("uploaded", first), ("erased", left.clone())];
    assert_eq!(told(&all), expected);
    let now = nca.changes("agencies/nca", Start::Snapshot(true), None).await;
    assert_eq!(told(&now), [("snapshot", kept.clone()), ("snapshot", left.clone())]);
    assert_eq!(list(&nca).await.unwrap(), [kept, left]);
    for who in ["agencies/bka", "platforms/chirrup", "services/decision"] {
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            let changes = world.client.acting(who).changes("agencies/-", start, None).await;
            assert_eq!(told(&changes), [], "{who}");
        }
    }
    world.server.stop().await;
}

async fn a_target_is_erased_with_its_evidence(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let picture = sample::picture(SECRETS[3]);
    let said = wire::EvidenceDraft {
        lawful_authority: SECRETS[0].into(),
        capturer: SECRETS[1].into(),
        description: SECRETS[2].into(),
        ..sample::captured()
    };
    let messages = sample::upload_of("nca", said, &picture, 16, "secret");
    let evidence = upload(&nca, messages).await.unwrap().evidence.unwrap();
    let kept = sample::upload(&nca, "kept").await;
    let (one, _) = world.refer(group(&[&evidence.name, &kept.name], "one"), "one").await.unwrap();
    let (two, _) = world.refer(group(&[&evidence.name], "two"), "two").await.unwrap();
    let (other, revision) = world.refer(group(&[&kept.name], "other"), "other").await.unwrap();
    world.case(&other, &revision).await;
    let attached = refusal(&nca.evidence().delete_evidence(delete(&evidence.name, "attached")).await.unwrap_err());
    assert_eq!((attached.code, attached.reason.as_str()), (Code::FailedPrecondition, "EVIDENCE_ATTACHED"));
    assert!([&one.name, &two.name].contains(&&attached.metadata["referral"]), "{attached:?}");

    // While another carries it, it stays, and its platform is served it for that.
    world.erase(&one.name).await;
    assert_eq!(download(&world.chirrup(), &evidence.name).await.unwrap().1, picture);
    world.erase(&two.name).await;
    assert_eq!(world.objects(), [format!("nca/{}", kept.sha256)]);
    let left = get(&nca, &evidence.name).await.unwrap();
    assert_eq!((left.erase_time, left.sha256.as_str()), (Some(sample::time(START)), ""));
    assert_eq!((left.size_bytes, left.media_type.as_str()), (evidence.size_bytes, "image/png"));
    assert_eq!(refusal(&download(&nca, &evidence.name).await.unwrap_err()).reason, "EVIDENCE_NOT_FOUND");
    let unserved = download(&world.chirrup(), &evidence.name).await.unwrap_err();
    assert_eq!(refusal(&unserved).reason, "PERMISSION_DENIED");
    assert_eq!(download(&world.chirrup(), &kept.name).await.unwrap().0.sha256, kept.sha256);

    // A repeated upload gets what is left, and brings nothing back.
    let repeated = wire::EvidenceDraft {
        lawful_authority: SECRETS[0].into(),
        capturer: SECRETS[1].into(),
        description: SECRETS[2].into(),
        ..sample::captured()
    };
    let repeated = upload(&nca, sample::upload_of("nca", repeated, &picture, 16, "secret")).await.unwrap();
    assert!(repeated.replayed && repeated.evidence.unwrap().sha256.is_empty());
    world.holds(1).await;
    // Time erases as a request does.
    let rule = wire::RetentionRule {
        field_group: wire::FieldGroup::Target.into(),
        retention_class: wire::RetentionClass::OneDay.into(),
    };
    let policy = wire::SetRetentionPolicyRequest {
        name: "agencies/nca/retentionPolicy".into(),
        rules: vec![rule],
        etag: String::new(),
        request_id: sample::request_id("policy"),
    };
    nca.retention().set_retention_policy(policy).await.unwrap();
    world.clock.set(world.clock.now().plus_micros(DAY_MICROS));
    world.holds(0).await;
    // The decision service hears of it in its own time.
    let waiting = async {
        loop {
            let case = world.case(&other, &revision).await;
            if case.evidence.is_empty() {
                break;
            }
        }
    };
    within(60, "the case to be erased", waiting).await;
    for part in Part::ALL {
        let rows = world.server.dump(part).await;
        world.server.rebuild(part).await;
        assert_eq!(world.server.dump(part).await, rows, "{part:?}");
    }
    let dumps = [world.server.dump(Part::Referral).await, world.server.dump(Part::Decision).await].concat();
    let changes = nca.changes("agencies/-", Start::Earliest(true), None).await;
    world.server.stop().await;
    let mut bytes = format!("{dumps:?} {changes:?}").into_bytes();
    if let Database::Sqlite { folder } = database {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        bytes.extend(files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()));
    }
    for secret in SECRETS.into_iter().chain([evidence.sha256.as_str()]) {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

async fn what_was_deleted_is_attached_no_more(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let evidence = sample::upload(&nca, "deleted").await;
    let deleted = nca.evidence().delete_evidence(delete(&evidence.name, "it")).await.unwrap().into_inner();
    assert_eq!(world.objects(), Vec::<String>::new());
    assert!(deleted.evidence.as_ref().unwrap().erase_time.is_some());
    let again = nca.evidence().delete_evidence(delete(&evidence.name, "it")).await.unwrap().into_inner();
    assert_eq!((again.replayed, &again.evidence), (true, &deleted.evidence));
    let anew = nca.evidence().delete_evidence(delete(&evidence.name, "anew")).await.unwrap().into_inner();
    assert_eq!((anew.replayed, &anew.evidence), (false, &deleted.evidence));
    let refused = refusal(&world.refer(group(&[&evidence.name], "gone"), "gone").await.unwrap_err());
    assert_eq!(refused.reason, "EVIDENCE_NOT_FOUND");
    let unknown = evidence.name.replace(evidence.name.rsplit('/').next().unwrap(), &uuid::Uuid::nil().to_string());
    let refused = refusal(&nca.evidence().delete_evidence(delete(&unknown, "unknown")).await.unwrap_err());
    assert_eq!(refused.reason, "EVIDENCE_NOT_FOUND");
    world.server.stop().await;
}

async fn signatures_cover_what_the_platform_is_served(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let key = PrivateKey::from_seed("nca-2026", [1; 32]);
    let request = wire::AddSigningKeyRequest {
        parent: "agencies/nca".into(),
        kid: key.kid().into(),
        signing_key: Some(wire::SigningKey {
            public_key: key.public().to_vec().into(),
            valid_until: Some(sample::time("2027-01-01")),
            ..wire::SigningKey::default()
        }),
        request_id: sample::request_id("key"),
    };
    nca.signing().add_signing_key(request).await.unwrap();
    let served = sample::upload(&nca, "served").await;
    let only = wire::EvidenceDraft { grade: 0, ..sample::captured() };
    let only = upload(&nca, sample::upload_of("nca", only, &sample::picture("only"), 16, "only")).await.unwrap();
    let draft = group(&[&only.evidence.unwrap().name, &served.name], "signed");
    let signed = |digests: &[&str]| {
        let bytes = with_evidence("agencies/nca", &draft, digests.iter().copied());
        let jws = key.sign(&bytes, START.parse().unwrap());
        wire::ReferralDraft { signature: Some(wire::ReferralSignature { jws, occurred_at: None }), ..draft.clone() }
    };
    for wrong in [&[][..], &[&*sha256(b"other")], &[&*served.sha256, &*served.sha256]] {
        let refused = refusal(&world.refer(signed(wrong), "wrong").await.unwrap_err());
        assert_eq!(refused.reason, "SIGNATURE_INVALID", "{wrong:?}");
    }
    // One alone, and in a batch.
    let (sent, revision) = world.refer(signed(&[&served.sha256]), "signed").await.unwrap();
    let batch = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![signed(&[&served.sha256])],
        request_id: sample::request_id("batch"),
    };
    nca.referrals().batch_create_referrals(batch).await.unwrap();
    let item = wire::ImportItem { draft: Some(signed(&[&served.sha256])), request_id: sample::request_id("import") };
    let import = wire::ImportReferralsRequest { parent: "agencies/nca".into(), items: vec![item] };
    let reply =
        nca.referrals().import_referrals(tokio_stream::once(import)).await.unwrap().into_inner().message().await;
    let result = reply.unwrap().unwrap().results.remove(0).result;
    assert!(matches!(result, Some(wire::import_result::Result::Imported(_))), "{result:?}");
    // The platform verifies it with what it sees.
    let case = world.case(&sent, &revision).await;
    assert_eq!(of_case(&case), with_evidence("agencies/nca", &draft, [served.sha256.as_str()]));
    world.server.stop().await;
}

async fn drafts_carry_evidence(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let evidence = sample::upload(&nca, "draft").await;
    let content = wire::ReferralDraft {
        protected_context: Some(sample::checked(wire::DefenceFinding::DoesNotApply)),
        ..group(&[&evidence.name], "draft")
    };
    let request = wire::CreateDraftRequest {
        parent: "agencies/nca".into(),
        referral: Some(content),
        request_id: sample::request_id("draft"),
    };
    let draft = nca.drafts().create_draft(request.clone()).await.unwrap().into_inner().draft.unwrap();
    assert_eq!(draft.referral.as_ref().unwrap().evidence, std::slice::from_ref(&evidence.name));
    let head = world.client.acting("agencies/nca").member("a.head");
    let sent = head.drafts().authorise_draft(sample::authorise(&draft, "send")).await.unwrap().into_inner();
    let referral = sent.referral.unwrap();
    assert_eq!(referral.evidence[0].sha256, evidence.sha256);
    assert_eq!(world.case(&referral, &sent.revision).await.evidence.len(), 1);
    // What is deleted before it is sent keeps the draft from being sent.
    let other = sample::upload(&nca, "other").await;
    let mut request = request;
    request.referral.as_mut().unwrap().evidence = vec![other.name.clone()];
    request.request_id = sample::request_id("other draft");
    let draft = nca.drafts().create_draft(request).await.unwrap().into_inner().draft.unwrap();
    nca.evidence().delete_evidence(delete(&other.name, "other")).await.unwrap();
    let refused = refusal(&head.drafts().authorise_draft(sample::authorise(&draft, "no")).await.unwrap_err());
    assert_eq!(
        (refused.reason.as_str(), refused.fields.as_slice()),
        ("EVIDENCE_NOT_FOUND", &["referral.evidence[0]".to_owned()][..])
    );
    for part in [Part::Referral, Part::Decision] {
        let rows = world.server.dump(part).await;
        world.server.rebuild(part).await;
        assert_eq!(world.server.dump(part).await, rows, "{part:?}");
    }
    world.server.stop().await;
}

/// Killed in the middle of an upload, or between the object and the fact, a server leaves what the next one's sweep takes away.
async fn what_a_crash_leaves_is_swept(database: &Database) {
    let world = World::new(database).await;
    let folder = world.folder.clone();
    let kept = sample::upload(&world.nca(), "kept").await;
    let large = sample::picture(&"x".repeat(6 * 1024 * 1024));
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut client = world.nca().evidence();
    let call = tokio::spawn(async move { client.upload_evidence(ReceiverStream::new(receive)).await });
    for message in sample::upload_of("nca", sample::captured(), &large, 1024 * 1024, "killed").into_iter().take(6) {
        send.send(message).await.unwrap();
    }
    holds(&folder, 2).await;
    world.server.kill().await;
    assert!(call.await.unwrap().is_err());
    // The object, without the fact.
    let orphan = folder.join("nca").join(sha256(b"orphan"));
    std::fs::write(&orphan, b"orphan").unwrap();

    // It is left for a day: it might be of an upload under way elsewhere. A clock of long ago finds nothing old.
    let (server, _) = Server::suite_at(database, START).await;
    download(&server.client("agencies/nca"), &kept.name).await.unwrap();
    assert!(orphan.exists());
    server.stop().await;
    // A day after the machine's own time, whatever that is.
    let (server, _) = Server::suite_at(database, "2099-01-01T00:00:00Z").await;
    holds(&folder, 1).await;
    assert_eq!(files(&folder), [format!("nca/{}", kept.sha256)]);
    download(&server.client("agencies/nca"), &kept.name).await.unwrap();
    server.stop().await;
}

async fn damaged_bytes_are_not_served(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let evidence = sample::upload(&nca, "damaged").await;
    let object = world.folder.join("nca").join(&evidence.sha256);
    std::fs::write(&object, sample::picture("changed")).unwrap();
    let damaged = refusal(&download(&nca, &evidence.name).await.unwrap_err());
    assert_eq!((damaged.code, damaged.reason.as_str()), (Code::DataLoss, "EVIDENCE_DAMAGED"));
    std::fs::remove_file(&object).unwrap();
    let gone = refusal(&download(&nca, &evidence.name).await.unwrap_err());
    assert_eq!((gone.reason.as_str(), &gone.metadata["name"]), ("EVIDENCE_DAMAGED", &evidence.name));
    world.server.stop().await;
}

/// A server on Postgres has no folder to put the bytes in unless it is told one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_store_takes_no_evidence() {
    let fixture = Fixture::postgres().await;
    let server = Server::start(&fixture.database, Options { evidence: false, ..Options::default() }).await;
    sample::register(&server.client("operators/op")).await;
    let nca = server.client("agencies/nca");
    let messages = sample::upload_of("nca", sample::captured(), &sample::picture("x"), 16, "x");
    let refused = refused(&nca, messages).await;
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "EVIDENCE_STORE_MISSING"));
    // All else it does.
    assert_eq!(list(&nca).await.unwrap(), []);
    sample::refer(&nca, "nca", "chirrup", "one").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_uploads_refers_and_downloads() {
    let fixture = Fixture::sqlite();
    // Who signs on the command line does so by the machine's clock.
    let server = Server::suite(&fixture.database).await;
    sample::register(&server.client("operators/op")).await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(folder.path(), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let picture = sample::picture(&"large ".repeat(400_000));
    std::fs::write(folder.path().join("chat.png"), &picture).unwrap();
    std::fs::write(folder.path().join("chat.exe"), &picture).unwrap();
    let said = [
        "--captured-at",
        "2020-02-01",
        "--method",
        "member-report",
        "--lawful-authority",
        "A statement",
        "--redaction",
        "personal-data",
        "--grade",
        "platform",
        "--severity",
        "severe",
    ];
    let (code, text) = run("agencies/nca", &[&["evidence", "upload", "chat.exe"][..], &said].concat());
    assert!(code == 2 && text.contains("--media-type"), "{text}");
    let (code, text) = run("agencies/nca", &[&["evidence", "upload", "chat.png"][..], &said].concat());
    assert!(code == 0 && text.contains(&sha256(&picture)), "{text}");
    let name = text.lines().next().unwrap().trim_start_matches("uploaded: ").to_owned();
    let (code, text) = run("agencies/nca", &["evidence", "list"]);
    assert!(code == 0 && text.contains(&name) && text.contains("MEMBER_REPORT") && text.contains("SEVERE"), "{text}");
    let (code, text) = run("agencies/nca", &["evidence", "show", &name]);
    assert!(code == 0 && text.contains("lawful authority: A statement"), "{text}");
    // Without an address, and signed.
    let (code, text) = process::run(folder.path(), &["sign", "init", "key.jwk", "--kid", "nca-1"]);
    assert!(code == 0, "{text}");
    let (code, text) = run("agencies/nca", &["sign", "register", "key.jwk"]);
    assert!(code == 0, "{text}");
    let refer = [
        "refer",
        "--evidence",
        &name,
        "--kind",
        "group",
        "--platform",
        "platforms/chirrup",
        "--ground",
        "offer-transport-sea",
        "--nature",
        "voluntary-referral",
        "--statute",
        "Immigration Act 1971",
        "--reasons",
        "Offers crossings",
        "--sign-key",
        "key.jwk",
    ];
    let (code, text) = run("agencies/nca", &refer);
    assert!(code == 0 && text.starts_with("referred: "), "{text}");
    let (code, text) = run("platforms/chirrup", &["evidence", "download", &name, "seen.png"]);
    assert!(code == 0 && text.contains(&sha256(&picture)), "{text}");
    assert_eq!(std::fs::read(folder.path().join("seen.png")).unwrap(), picture);
    let (code, text) = run("platforms/chirrup", &["evidence", "download", &name, "seen.png"]);
    assert!(code == 2 && text.contains("already"), "{text}");
    let (code, text) = run("agencies/nca", &["evidence", "delete", &name]);
    assert!(code == 1 && text.contains("EVIDENCE_ATTACHED") && text.contains("retention erase"), "{text}");
    let (code, text) = run("agencies/bka", &["evidence", "show", &name]);
    assert!(code == 1 && text.contains("PERMISSION_DENIED"), "{text}");
}
