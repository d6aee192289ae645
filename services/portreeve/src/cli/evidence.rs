//! `portreeve evidence`: what shows a breach where there is no address.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{
    CaptureMethod, DeleteEvidenceRequest, DownloadEvidenceRequest, Evidence as Known, EvidenceDraft, EvidenceGrade,
    GetEvidenceRequest, GraphicSeverity, ListEvidenceRequest, RedactionLevel, ReferralDraft, UploadEvidenceRequest,
};
use portreeve_core::audit::hex;
use portreeve_core::limits;
use portreeve_core::name::EvidenceName;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;

use super::connection::{Connection, Session, call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, shown, when, words_of};

/// Upload, list, download and delete evidence
///
/// A referral carries evidence by its name (`portreeve refer --evidence NAME`); a closed group or a telephone number needs no
/// address then.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve evidence upload chat.png --captured-at 2026-03-01T09:30:00Z --method undercover \\\n    \
    --lawful-authority 'RIPA 2000 s. 29, authorisation 17' --redaction personal-data \\\n    \
    --grade platform --severity none --as agencies/nca\n  \
    portreeve evidence download agencies/nca/evidence/01890a5d-ac96-774b-bcce-b302099a8057 chat.png --as platforms/quietchat"
)]
pub(crate) struct Evidence {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Upload a file
    #[command(
        after_help = "Example:\n  portreeve evidence upload chat.png --captured-at 2026-03-01T09:30:00Z --method undercover \\\n    \
        --lawful-authority 'RIPA 2000 s. 29, authorisation 17' --redaction personal-data \\\n    \
        --grade platform --severity none --as agencies/nca"
    )]
    Upload(Upload),
    /// List the agency's evidence
    #[command(after_help = "Example:\n  portreeve evidence list --as agencies/nca")]
    List {
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show what is known of evidence
    #[command(
        after_help = "Example:\n  portreeve evidence show agencies/nca/evidence/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/nca"
    )]
    Show {
        /// The evidence
        name: EvidenceName,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Download the bytes, and check them against their digest
    #[command(
        after_help = "Example:\n  portreeve evidence download agencies/nca/evidence/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        chat.png --as platforms/quietchat"
    )]
    Download {
        /// The evidence
        name: EvidenceName,
        /// The file to write, which must not exist
        file: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Delete evidence that no referral carries
    #[command(
        after_help = "Example:\n  portreeve evidence delete agencies/nca/evidence/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/nca"
    )]
    Delete {
        /// The evidence
        name: EvidenceName,
        #[command(flatten)]
        write: Write,
    },
}

/// What is uploaded: options.
#[derive(Args, Debug)]
struct Upload {
    /// The file
    file: PathBuf,
    /// What kind of file it is, such as image/png; by the file's extension if not said
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// When it was captured
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    captured_at: Timestamp,
    /// How it was come by
    #[arg(long, value_name = "METHOD", value_parser = words_of::<CaptureMethod>(), ignore_case = true)]
    method: CaptureMethod,
    /// What made the capture lawful; nobody else sees it
    #[arg(long, value_name = "TEXT")]
    lawful_authority: String,
    /// Who captured it, if that is kept here; nobody else sees it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    capturer: String,
    /// What was taken out of it
    #[arg(long, value_name = "LEVEL", value_parser = words_of::<RedactionLevel>(), ignore_case = true)]
    redaction: RedactionLevel,
    /// To whom it is served
    #[arg(long, value_name = "GRADE", value_parser = words_of::<EvidenceGrade>(), ignore_case = true, default_value = "agency-only")]
    grade: EvidenceGrade,
    /// How hard it is to look at; not assessed if not said
    #[arg(long, value_name = "SEVERITY", value_parser = words_of::<GraphicSeverity>(), ignore_case = true)]
    severity: Option<GraphicSeverity>,
    /// What it shows
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    write: Write,
}

impl Evidence {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Upload(upload) => upload.run().await,
            Action::List { json, connection } => list(json, &connection).await,
            Action::Show { name, json, connection } => show(&name, json, &connection).await,
            Action::Download { name, file, connection } => download(&name, &file, &connection).await,
            Action::Delete { name, write } => delete(&name, write).await,
        }
    }
}

/// What the server takes, by the extension of files.
fn of_extension(file: &Path) -> Option<&'static str> {
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "gz" => "application/gzip",
        "pdf" => "application/pdf",
        "warc" => "application/warc",
        "zip" => "application/zip",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "txt" => "text/plain",
        "mp4" | "m4v" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => return None,
    })
}

/// The next bytes of a file, empty at its end.
async fn next(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limits::EVIDENCE_CHUNK_BYTES_MAX);
    let most = u64::try_from(limits::EVIDENCE_CHUNK_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The digest of a file, so that the server takes these bytes and no others.
async fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (File::open(path).await?, Sha256::new());
    loop {
        let bytes = next(&mut file).await?;
        if bytes.is_empty() {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&bytes);
    }
}

impl Upload {
    async fn run(self) -> Result<()> {
        let path = self.file;
        let failed = |error: io::Error| Failure::file(&path, &error);
        let media_type = self.media_type.or_else(|| of_extension(&path).map(str::to_owned));
        let media_type = media_type.ok_or_else(|| {
            Failure::Usage(format!("{}: say what kind of file it is with --media-type", path.display()))
        })?;
        let session = self.write.connection.open(None).await?;
        let first = UploadEvidenceRequest {
            parent: session.organisation().to_string(),
            evidence: Some(EvidenceDraft {
                media_type,
                sha256: digest(&path).await.map_err(failed)?,
                captured_at: Some(self.captured_at),
                capture_method: self.method.into(),
                lawful_authority: self.lawful_authority,
                capturer: self.capturer,
                redaction_level: self.redaction.into(),
                grade: self.grade.into(),
                graphic_severity: self.severity.map(Into::into).unwrap_or_default(),
                description: self.description,
            }),
            request_id: request_id(self.write.request_id),
            data: Vec::new().into(),
        };
        let attempt = || async {
            let file = File::open(&path).await.map_err(|error| tonic::Status::aborted(error.to_string()))?;
            let parts = futures_util::stream::unfold(Some(file), |file| async {
                let mut file = file?;
                // A file that cannot be read any more ends the upload short of its digest, which the server refuses.
                let bytes = next(&mut file).await.unwrap_or_default();
                (!bytes.is_empty()).then_some((bytes, Some(file)))
            });
            let parts = parts.map(|bytes| UploadEvidenceRequest { data: bytes.into(), ..Default::default() });
            session.evidence().upload_evidence(tokio_stream::once(first.clone()).chain(parts)).await
        };
        let reply = session.call(attempt).await?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.referral.v1.UploadEvidenceResponse")?);
        }
        let evidence = reply.evidence.unwrap_or_default();
        say!("uploaded: {}\nsha256: {}", evidence.name, evidence.sha256)?;
        written(&reply.revision, reply.replayed)
    }
}

async fn list(json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let parent = session.organisation().to_string();
    let mut request = ListEvidenceRequest { parent, page_size: 1_000, ..ListEvidenceRequest::default() };
    let mut table = Lines::new(["Captured", "How", "What", "Bytes", "Grade", "Severity", "Evidence"]);
    loop {
        let reply = call!(session, evidence, list_evidence, &request)?;
        for evidence in reply.evidence {
            if json {
                say!("{}", json::line(&evidence, "portreeve.referral.v1.Evidence")?)?;
                continue;
            }
            let grade = match evidence.erase_time {
                Some(_) => "erased".to_owned(),
                None => shown::<EvidenceGrade>(evidence.grade),
            };
            table.row([
                when(evidence.captured_at.as_ref()),
                shown::<CaptureMethod>(evidence.capture_method),
                evidence.media_type,
                evidence.size_bytes.to_string(),
                grade,
                severity(evidence.graphic_severity),
                evidence.name,
            ]);
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if json { Ok(()) } else { say!("{table}") }
}

fn severity(code: i32) -> String {
    if code == 0 { "not assessed".to_owned() } else { shown::<GraphicSeverity>(code) }
}

async fn known(session: &Session, name: &str) -> Result<Known> {
    let request = GetEvidenceRequest { name: name.to_owned(), at_least: Vec::new() };
    Ok(call!(session, evidence, get_evidence, request)?.evidence.unwrap_or_default())
}

async fn show(name: &EvidenceName, json: bool, connection: &Connection) -> Result<()> {
    let evidence = known(&connection.open(None).await?, &name.to_string()).await?;
    if json {
        return say!("{}", json::line(&evidence, "portreeve.referral.v1.Evidence")?);
    }
    let size = format!("{} bytes", evidence.size_bytes);
    for (what, value) in [
        ("evidence", evidence.name),
        ("sha256", evidence.sha256),
        ("what", format!("{}, {size}", evidence.media_type)),
        ("shows", evidence.description),
        ("captured", when(evidence.captured_at.as_ref())),
        ("how", shown::<CaptureMethod>(evidence.capture_method)),
        ("lawful authority", evidence.lawful_authority),
        ("by", evidence.capturer),
        ("redaction", shown::<RedactionLevel>(evidence.redaction_level)),
        ("served to", shown::<EvidenceGrade>(evidence.grade)),
        ("severity", severity(evidence.graphic_severity)),
        ("uploaded by", evidence.uploaded_by),
        ("uploaded", when(evidence.create_time.as_ref())),
        ("erased", when(evidence.erase_time.as_ref())),
    ] {
        if !value.is_empty() {
            say!("{what}: {value}")?;
        }
    }
    Ok(())
}

async fn download(name: &EvidenceName, path: &Path, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let failed = |error: io::Error| Failure::file(path, &error);
    let request = DownloadEvidenceRequest { name: name.to_string(), at_least: Vec::new() };
    let mut parts = call!(session, evidence, download_evidence, &request)?;
    // Beside the file until it is whole and right: nobody takes a part for all of it.
    let beside = path.with_extension("part");
    if path.try_exists().map_err(failed)? {
        return Err(Failure::Usage(format!("{}: there is such a file already", path.display())));
    }
    let mut file = File::create_new(&beside).await.map_err(|error| Failure::file(&beside, &error))?;
    let received = async {
        let (mut expected, mut hasher) = (String::new(), Sha256::new());
        while let Some(part) = session.next(&mut parts).await? {
            if let Some(evidence) = part.evidence {
                expected = evidence.sha256;
            }
            hasher.update(&part.data);
            file.write_all(&part.data).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        if hex(&hasher.finalize()) == expected {
            tokio::fs::rename(&beside, path).await.map_err(failed)?;
            return Ok(expected);
        }
        Err(Failure::Failed(format!("the bytes of {name} do not have the digest {expected}")))
    };
    match received.await {
        Ok(digest) => say!("downloaded: {}\nsha256: {digest}", path.display()),
        Err(error) => {
            // What else went wrong matters more than what cannot be tidied up.
            let _ = tokio::fs::remove_file(&beside).await;
            Err(error)
        }
    }
}

async fn delete(name: &EvidenceName, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = DeleteEvidenceRequest { name: name.to_string(), request_id: request_id(write.request_id) };
    let reply = call!(session, evidence, delete_evidence, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.DeleteEvidenceResponse")?);
    }
    say!("deleted: {name}")?;
    written(&reply.revision, reply.replayed)
}

/// The digests of a draft's evidence that the platform is served, which a signature covers.
pub(crate) async fn digests(session: &Session, draft: &ReferralDraft) -> Result<Vec<String>> {
    let mut digests = Vec::new();
    for name in &draft.evidence {
        let evidence = known(session, name).await?;
        if evidence.grade() == EvidenceGrade::Platform {
            digests.push(evidence.sha256);
        }
    }
    Ok(digests)
}
