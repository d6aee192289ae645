//! `portreeve draft`: referrals before they are sent.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portreeve_api::common::v1::{Ground, ReferralNature};
use portreeve_api::referral::v1::{
    self as wire, AuthoriseDraftRequest, CreateDraftRequest, Defence, DefenceFinding, DiscardDraftRequest, DraftState,
    GetAuthorisationPolicyRequest, GetDraftRequest, ListDraftsRequest, ListLegalBasesRequest,
    SetAuthorisationPolicyRequest, UpdateDraftRequest,
};
use portreeve_core::name::{DraftName, OrganisationName};

use super::connection::{Connection, Session, call, request_id};
use super::content::{What, place};
use super::evidence;
use super::failure::{Failure, Result};
use super::json;
use super::organisation::of_agency;
use super::refer::{Write, written};
use super::sign;
use super::table::Lines;
use super::words::{shown, when, words_of};

/// Write a referral before it is sent, and let a second person authorise it
///
/// Whoever writes a draft must be named (--member), and so must whoever authorises it; nobody does both. Only the agency's own
/// members see its drafts.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve draft create https://harbourbook.example/groups/7 --platform platforms/harbourbook \\\n    \
    --ground solicitation-of-service --nature voluntary-referral --statute 'Immigration Act 1971' \\\n    \
    --reasons 'Asks for a crossing' --context others=does-not-apply --as agencies/nca --member j.doe\n  \
    portreeve draft list --waiting --as agencies/nca\n  \
    portreeve draft authorise agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057 --etag 12 \\\n    \
    --as agencies/nca --member a.head"
)]
pub(crate) struct Draft {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a draft; for an officer
    #[command(
        after_help = "Example:\n  portreeve draft create https://harbourbook.example/groups/7 --platform platforms/harbourbook \\\n    \
        --ground solicitation-of-service --nature voluntary-referral --statute 'Immigration Act 1971' \\\n    \
        --reasons 'Asks for a crossing' --context others=does-not-apply --as agencies/nca --member j.doe"
    )]
    Create {
        #[command(flatten)]
        content: Box<What>,
        #[command(flatten)]
        write: Write,
    },
    /// Write a draft anew, as a whole; for an officer, who becomes one of its authors
    #[command(
        after_help = "Example:\n  portreeve draft update agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        https://harbourbook.example/groups/7 --platform platforms/harbourbook --ground solicitation-of-service \\\n    \
        --nature voluntary-referral --statute 'Immigration Act 1971' --reasons 'Asks for a crossing, and for its price' \\\n    \
        --context others=does-not-apply --etag 12 --as agencies/nca --member m.roe"
    )]
    Update {
        /// The draft
        name: DraftName,
        #[command(flatten)]
        content: Box<What>,
        /// The version that was read; without it, whatever is there is written over
        #[arg(long, value_name = "ETAG", default_value = "")]
        etag: String,
        #[command(flatten)]
        write: Write,
    },
    /// List the agency's drafts
    #[command(after_help = "Example:\n  portreeve draft list --waiting --as agencies/nca")]
    List {
        /// Only those that wait to be authorised
        #[arg(long)]
        waiting: bool,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show a draft, with the etag that authorising it takes
    #[command(
        after_help = "Example:\n  portreeve draft show agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/nca"
    )]
    Show {
        /// The draft
        name: DraftName,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Authorise a draft and send it; for an approver who has written none of it
    #[command(
        after_help = "Example:\n  portreeve draft authorise agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057 --etag 12 \\\n    \
        --as agencies/nca --member a.head"
    )]
    Authorise {
        /// The draft
        name: DraftName,
        /// The version that was read, as `draft show` prints it
        #[arg(long, value_name = "ETAG")]
        etag: String,
        /// Sign it with the agency's private key, as `sign init` makes it
        #[arg(long, value_name = "FILE")]
        sign_key: Option<PathBuf>,
        #[command(flatten)]
        write: Write,
    },
    /// Give a draft up, and erase it for good; for an officer
    #[command(
        after_help = "Example:\n  portreeve draft discard agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --as agencies/nca"
    )]
    Discard {
        /// The draft
        name: DraftName,
        /// The version that was read; without it, whatever is there is given up
        #[arg(long, value_name = "ETAG", default_value = "")]
        etag: String,
        #[command(flatten)]
        write: Write,
    },
    /// Show what an agency demands before a referral is sent
    #[command(after_help = "Example:\n  portreeve draft policy agencies/nca --as oversightBodies/committee")]
    Policy {
        /// The agency
        agency: OrganisationName,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Set what the agency demands, in place of what was set before; for an approver, who is named
    #[command(
        after_help = "Example:\n  portreeve draft demand --ground solicitation-of-service,information-on-leaving --check \\\n    \
        --as agencies/nca --member a.head"
    )]
    Demand {
        /// Referrals for these grounds are authorised by a second person
        #[arg(long, value_name = "GROUND", value_delimiter = ',', value_parser = words_of::<Ground>(), ignore_case = true, hide_possible_values = true)]
        ground: Vec<Ground>,
        /// And those of these natures
        #[arg(long, value_name = "NATURE", value_delimiter = ',', value_parser = words_of::<ReferralNature>(), ignore_case = true)]
        nature: Vec<ReferralNature>,
        /// Every referral needs a protected-context check
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        write: Write,
    },
    /// List the provisions that the catalogue knows
    #[command(after_help = "Example:\n  portreeve draft provisions --as agencies/nca")]
    Provisions {
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

impl Draft {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Create { content, write } => create(*content, write).await,
            Action::Update { name, content, etag, write } => update(&name, *content, etag, write).await,
            Action::List { waiting, json, connection } => list(waiting, json, &connection).await,
            Action::Show { name, json, connection } => show(&name, json, &connection).await,
            Action::Authorise { name, etag, sign_key, write } => authorise(&name, etag, sign_key, write).await,
            Action::Discard { name, etag, write } => discard(&name, etag, write).await,
            Action::Policy { agency, json, connection } => policy(&agency, json, &connection).await,
            Action::Demand { ground, nature, check, write } => demand(&ground, &nature, check, write).await,
            Action::Provisions { json, connection } => provisions(json, &connection).await,
        }
    }
}

async fn create(content: What, write: Write) -> Result<()> {
    let referral = Some(content.draft()?);
    let session = write.connection.open(None).await?;
    let parent = session.organisation().to_string();
    let request = CreateDraftRequest { parent, referral, request_id: request_id(write.request_id) };
    let reply = call!(session, drafts, create_draft, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.CreateDraftResponse")?);
    }
    let draft = reply.draft.unwrap_or_default();
    say!("drafted: {} (etag {})", draft.name, draft.etag)?;
    written(&reply.revision, reply.replayed)
}

async fn update(name: &DraftName, content: What, etag: String, write: Write) -> Result<()> {
    let referral = Some(content.draft()?);
    let session = write.connection.open(None).await?;
    let request =
        UpdateDraftRequest { name: name.to_string(), referral, etag, request_id: request_id(write.request_id) };
    let reply = call!(session, drafts, update_draft, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.UpdateDraftResponse")?);
    }
    say!("written: {name} (etag {})", reply.draft.unwrap_or_default().etag)?;
    written(&reply.revision, reply.replayed)
}

async fn list(waiting: bool, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let mut request = ListDraftsRequest {
        parent: session.organisation().to_string(),
        state: if waiting { DraftState::Draft } else { DraftState::Unspecified }.into(),
        page_size: 1_000,
        ..ListDraftsRequest::default()
    };
    let mut table = Lines::new(["Draft", "When", "State", "By", "Ground", "Address"]);
    loop {
        let reply = call!(session, drafts, list_drafts, &request)?;
        for draft in reply.drafts {
            if as_json {
                say!("{}", json::line(&draft, "portreeve.referral.v1.Draft")?)?;
            } else {
                table.row(cells(draft));
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

fn cells(draft: wire::Draft) -> [String; 6] {
    let when = when(draft.update_time.as_ref());
    let referral = draft.referral.unwrap_or_default();
    let ground = if referral.ground == 0 { String::new() } else { shown::<Ground>(referral.ground) };
    let address = place(&referral.target.unwrap_or_default()).to_owned();
    [draft.name, when, shown::<DraftState>(draft.state), draft.authors.join(", "), ground, address]
}

async fn read(session: &Session, name: &DraftName) -> Result<wire::Draft> {
    let request = GetDraftRequest { name: name.to_string(), at_least: Vec::new() };
    Ok(call!(session, drafts, get_draft, request)?.draft.unwrap_or_default())
}

async fn show(name: &DraftName, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let draft = read(&session, name).await?;
    if as_json {
        return say!("{}", json::line(&draft, "portreeve.referral.v1.Draft")?);
    }
    say!("{name}: {}, etag {}", shown::<DraftState>(draft.state), draft.etag)?;
    say!("written by {}, last at {}", draft.authors.join(", "), when(draft.update_time.as_ref()))?;
    if !draft.approver.is_empty() {
        say!("authorised by {} at {}", draft.approver, when(draft.authorised_at.as_ref()))?;
        say!("sent as {}", draft.sent_referral)?;
    }
    if !draft.duplicate_of.is_empty() {
        say!("not sent: {} says the same", draft.duplicate_of)?;
    }
    let Some(referral) = draft.referral else { return Ok(()) };
    let (target, basis) = (referral.target.unwrap_or_default(), referral.legal_basis.unwrap_or_default());
    say!("{} to {}", place(&target), referral.platform)?;
    say!("{}, {}", shown::<ReferralNature>(referral.nature), shown::<Ground>(referral.ground))?;
    say!("{} {}", basis.statute, basis.section)?;
    say!("{}", referral.statement_of_reasons)?;
    let Some(check) = referral.protected_context else {
        return say!("nobody has looked whether the law protects it");
    };
    let mut table = Lines::new(["Context", "Finding", "Why"]);
    for answer in check.answers {
        table.row([shown::<Defence>(answer.context), shown::<DefenceFinding>(answer.finding), answer.reasons]);
    }
    say!("{table}")
}

async fn authorise(name: &DraftName, etag: String, sign_key: Option<PathBuf>, write: Write) -> Result<()> {
    let key = sign_key.as_deref().map(sign::read_key).transpose()?;
    let session = write.connection.open(None).await?;
    let signature = match &key {
        None => None,
        Some(key) => {
            let read = read(&session, name).await?;
            // Sent already, it is repeated: the server answers as it did.
            if read.etag != etag && read.state() == DraftState::Draft {
                return Err(Failure::Usage(format!("{name} has the etag {} now; read it again", read.etag)));
            }
            let mut content = read.referral.unwrap_or_default();
            let digests = evidence::digests(&session, &content).await?;
            sign::sign(key, session.organisation(), &mut content, &digests);
            content.signature
        }
    };
    let request_id = request_id(write.request_id);
    let request = AuthoriseDraftRequest { name: name.to_string(), etag, signature, request_id };
    let reply = call!(session, drafts, authorise_draft, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.AuthoriseDraftResponse")?);
    }
    let name = reply.referral.unwrap_or_default().name;
    if reply.duplicate {
        say!("referred before: {name}")?;
        say!("(the same target for the same ground; the draft is discarded)")?;
    } else {
        say!("authorised, and referred: {name}")?;
    }
    written(&reply.revision, reply.replayed)
}

async fn discard(name: &DraftName, etag: String, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = DiscardDraftRequest { name: name.to_string(), etag, request_id: request_id(write.request_id) };
    let reply = call!(session, drafts, discard_draft, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.DiscardDraftResponse")?);
    }
    say!("discarded, and erased: {name}")?;
    written(&reply.revision, reply.replayed)
}

async fn policy(agency: &OrganisationName, as_json: bool, connection: &Connection) -> Result<()> {
    of_agency(agency)?;
    let session = connection.open(None).await?;
    let request = GetAuthorisationPolicyRequest { name: format!("{agency}/authorisationPolicy"), ..Default::default() };
    let policy = call!(session, authorisation, get_authorisation_policy, request)?.policy.unwrap_or_default();
    if as_json {
        return say!("{}", json::line(&policy, "portreeve.referral.v1.AuthorisationPolicy")?);
    }
    let mut table = Lines::new(["Demanded", "Of", "Since"]);
    let second = || "a second person".to_owned();
    for demand in &policy.grounds {
        table.row([second(), shown::<Ground>(demand.ground), when(demand.since.as_ref())]);
    }
    for demand in &policy.natures {
        table.row([second(), shown::<ReferralNature>(demand.nature), when(demand.since.as_ref())]);
    }
    if let Some(since) = &policy.check_demanded_since {
        table.row(["a protected-context check".to_owned(), "every referral".to_owned(), when(Some(since))]);
    } else if policy.grounds.is_empty() && policy.natures.is_empty() {
        return say!("{agency} demands nothing more before a referral is sent");
    }
    say!("{table}")
}

async fn demand(grounds: &[Ground], natures: &[ReferralNature], check: bool, write: Write) -> Result<()> {
    let session = write.connection.open(None).await?;
    let request = SetAuthorisationPolicyRequest {
        name: format!("{}/authorisationPolicy", session.organisation()),
        grounds: grounds.iter().map(|ground| (*ground).into()).collect(),
        natures: natures.iter().map(|nature| (*nature).into()).collect(),
        check_demanded: check,
        etag: String::new(),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, authorisation, set_authorisation_policy, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.SetAuthorisationPolicyResponse")?);
    }
    say!("set; it holds for what occurs from now on")?;
    written(&reply.revision, reply.replayed)
}

async fn provisions(as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let reply = call!(session, legal_bases, list_legal_bases, ListLegalBasesRequest {})?;
    let mut table = Lines::new(["Code", "Statute", "Section", "About", "Defences"]);
    for known in reply.legal_bases {
        if as_json {
            say!("{}", json::line(&known, "portreeve.referral.v1.KnownLegalBasis")?)?;
            continue;
        }
        let defences = known.defences.iter().map(|defence| shown::<Defence>(*defence)).collect::<Vec<_>>();
        table.row([known.code, known.statute, known.section, known.subject, defences.join(", ")]);
    }
    if as_json { Ok(()) } else { say!("{table}") }
}
