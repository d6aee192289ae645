//! `portreeve interest` and `portreeve hold`: not treading on each other's investigations.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portreeve_api::common::v1::TargetKind;
use portreeve_api::referral::v1::{
    self as wire, CheckTargetsRequest, EndInterestRequest, GetInterestRequest, HoldState, InterestDraft,
    InterestPriority, InterestState, ListHoldsRequest, ListInterestsRequest, MatchResult, MatchTarget,
    OverrideHoldsRequest, RegisterInterestsRequest, ReleaseHoldRequest, RenewHoldRequest, RenewInterestRequest, Target,
};
use portreeve_core::limits;
use portreeve_core::name::{DraftName, HoldName, InterestName, OrganisationName};
use prost_types::Timestamp;

use super::connection::{Connection, call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, shown, when, words_of};

/// Register what an investigation would lose by a closure, and ask before you refer
///
/// What an interest is in is not kept: a keyed hash finds it when another agency refers it, and the referral is held
/// (`portreeve hold`).
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve interest register https://harbourbook.example/groups/7 --platform platforms/harbourbook \\\n    \
    --contact 'duty desk, +44 20 7946 0000' --priority high --expires-at 2026-09-01 --reference 'file 2026/17' --as agencies/bka\n  \
    portreeve interest check https://harbourbook.example/groups/7 --platform platforms/harbourbook --as agencies/nca"
)]
pub(crate) struct Interest {
    #[command(subcommand)]
    action: Action,
}

/// Where something is: options.
#[derive(Args, Debug)]
struct Places {
    /// The exact address; a telephone number (--kind phone-number, the number as --native-id) needs none; with more than one, as
    /// many interests or questions
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// A file with an address on each line, instead
    #[arg(long, value_name = "FILE", conflicts_with = "urls")]
    file: Option<PathBuf>,
    /// The platform that they are on
    #[arg(long, value_name = "PLATFORM")]
    platform: OrganisationName,
    /// What kind of thing they are
    #[arg(long, value_name = "KIND", value_parser = words_of::<TargetKind>(), ignore_case = true, default_value = "page")]
    kind: TargetKind,
    /// The number, of a telephone number
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    native_id: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Register interests; for an officer
    #[command(
        after_help = "Example:\n  portreeve interest register https://harbourbook.example/groups/7 --platform platforms/harbourbook \\\n    \
        --contact 'duty desk, +44 20 7946 0000' --priority high --expires-at 2026-09-01 --as agencies/bka"
    )]
    Register(Box<Register>),
    /// Ask whether another agency has an interest in something, before it is referred; the asking is recorded
    #[command(
        after_help = "Example:\n  portreeve interest check https://harbourbook.example/groups/7 --platform platforms/harbourbook \\\n    \
        --as agencies/nca"
    )]
    Check {
        #[command(flatten)]
        places: Places,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// List the agency's interests
    #[command(after_help = "Example:\n  portreeve interest list --as agencies/bka")]
    List {
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show an interest
    #[command(
        after_help = "Example:\n  portreeve interest show agencies/bka/interests/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/bka"
    )]
    Show {
        /// The interest
        name: InterestName,
        #[command(flatten)]
        connection: Connection,
    },
    /// Let an interest last until another time
    #[command(
        after_help = "Example:\n  portreeve interest renew agencies/bka/interests/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --expires-at 2026-12-01 --as agencies/bka"
    )]
    Renew {
        /// The interest
        name: InterestName,
        /// When it ends by itself now
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        expires_at: Timestamp,
        #[command(flatten)]
        write: Write,
    },
    /// End an interest, and release what it holds
    #[command(
        after_help = "Example:\n  portreeve interest end agencies/bka/interests/01890a5d-ac96-774b-bcce-b302099a8057 --as agencies/bka"
    )]
    End {
        /// The interest
        name: InterestName,
        #[command(flatten)]
        write: Write,
    },
}

/// What is registered: options.
#[derive(Args, Debug)]
struct Register {
    #[command(flatten)]
    places: Places,
    /// Whom an agency that hits it is told to speak to
    #[arg(long, value_name = "TEXT")]
    contact: String,
    /// How much depends on it
    #[arg(long, value_name = "PRIORITY", value_parser = words_of::<InterestPriority>(), ignore_case = true, default_value = "routine")]
    priority: InterestPriority,
    /// What the agency itself knows it by; name no person
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reference: String,
    /// When it ends by itself
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    expires_at: Timestamp,
    #[command(flatten)]
    write: Write,
}

impl Places {
    fn targets(self) -> Result<Vec<MatchTarget>> {
        let urls = match &self.file {
            Some(file) => lines(file)?,
            // A telephone number needs no address.
            None if self.urls.is_empty() => vec![String::new()],
            None => self.urls,
        };
        if urls.len() > limits::BATCH_INTERESTS_MAX {
            return Err(Failure::Usage(format!(
                "{} addresses are more than the {} of one call; split them",
                urls.len(),
                limits::BATCH_INTERESTS_MAX
            )));
        }
        let target = |url| MatchTarget {
            platform: self.platform.to_string(),
            target: Some(Target {
                kind: self.kind.into(),
                url,
                native_id: self.native_id.clone(),
                ..Target::default()
            }),
        };
        Ok(urls.into_iter().map(target).collect())
    }
}

fn lines(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

impl Interest {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Register(register) => register.run().await,
            Action::Check { places, json, connection } => check(places, json, &connection).await,
            Action::List { json, connection } => list(json, &connection).await,
            Action::Show { name, connection } => {
                let session = connection.open(None).await?;
                let request = GetInterestRequest { name: name.to_string(), at_least: Vec::new() };
                let interest = call!(session, deconfliction, get_interest, request)?.interest.unwrap_or_default();
                say!("{}", json::line(&interest, "portreeve.referral.v1.Interest")?)
            }
            Action::Renew { name, expires_at, write } => {
                let session = write.connection.open(None).await?;
                let request = RenewInterestRequest {
                    name: name.to_string(),
                    expires_at: Some(expires_at),
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, deconfliction, renew_interest, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.RenewInterestResponse")?);
                }
                say!("renewed: {name}")?;
                written(&reply.revision, reply.replayed)
            }
            Action::End { name, write } => {
                let session = write.connection.open(None).await?;
                let request = EndInterestRequest { name: name.to_string(), request_id: request_id(write.request_id) };
                let reply = call!(session, deconfliction, end_interest, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.EndInterestResponse")?);
                }
                say!("ended: {name}")?;
                written(&reply.revision, reply.replayed)
            }
        }
    }
}

impl Register {
    async fn run(self) -> Result<()> {
        let interest = |target| InterestDraft {
            target: Some(target),
            contact: self.contact.clone(),
            priority: self.priority.into(),
            reference: self.reference.clone(),
            expires_at: Some(self.expires_at),
        };
        let interests = self.places.targets()?.into_iter().map(interest).collect();
        let session = self.write.connection.open(None).await?;
        let parent = session.organisation().to_string();
        let request = RegisterInterestsRequest { parent, interests, request_id: request_id(self.write.request_id) };
        let reply = call!(session, deconfliction, register_interests, request)?;
        if self.write.json {
            return say!("{}", json::line(&reply, "portreeve.referral.v1.RegisterInterestsResponse")?);
        }
        for interest in &reply.interests {
            say!("registered: {}", interest.name)?;
        }
        written(&reply.revision, reply.replayed)
    }
}

async fn check(places: Places, as_json: bool, connection: &Connection) -> Result<()> {
    let targets = places.targets()?;
    let session = connection.open(None).await?;
    let parent = session.organisation().to_string();
    let request = CheckTargetsRequest { parent, targets: targets.clone(), at_least: Vec::new() };
    let reply = call!(session, deconfliction, check_targets, &request)?;
    if as_json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.CheckTargetsResponse")?);
    }
    let mut table = Lines::new(["Target", "Result", "Speak to"]);
    for (asked, found) in targets.into_iter().zip(reply.matches) {
        let target = asked.target.unwrap_or_default();
        let place = if target.url.is_empty() { target.native_id } else { target.url };
        table.row([place, shown::<MatchResult>(found.result), found.contacts.join("; ")]);
    }
    say!("{table}")
}

async fn list(as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let parent = session.organisation().to_string();
    let mut request = ListInterestsRequest { parent, page_size: 1_000, ..ListInterestsRequest::default() };
    let mut table = Lines::new(["Interest", "Reference", "Platform", "Priority", "State", "Expires"]);
    loop {
        let reply = call!(session, deconfliction, list_interests, &request)?;
        for interest in reply.interests {
            if as_json {
                say!("{}", json::line(&interest, "portreeve.referral.v1.Interest")?)?;
                continue;
            }
            let (priority, state) = (interest.priority, interest.state);
            let expires = when(interest.expires_at.as_ref());
            let (priority, state) = (shown::<InterestPriority>(priority), shown::<InterestState>(state));
            table.row([interest.name, interest.reference, interest.platform, priority, state, expires]);
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

/// Referrals that wait for another agency's interest
///
/// A hold is over after 72 hours, unless the agency whose interest it is renews it (three times at most) or releases it; a second
/// approver of the agency that refers can override it for a reason.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve hold list --as agencies/bka\n  \
    portreeve hold release agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057/holds/01890a5d-ac96-574b-bcce-b302099a8058 \\\n    \
    --as agencies/bka")]
pub(crate) struct Hold {
    #[command(subcommand)]
    action: HoldAction,
}

#[derive(Debug, Subcommand)]
enum HoldAction {
    /// List the holds that concern the agency: of its referrals, and by its interests
    #[command(after_help = "Example:\n  portreeve hold list --unsettled --as agencies/nca")]
    List {
        /// Those alone that are not settled
        #[arg(long)]
        unsettled: bool,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Let a referral go; for an officer of the agency whose interest holds it
    #[command(after_help = "Example:\n  portreeve hold release \\\n    \
        agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057/holds/01890a5d-ac96-574b-bcce-b302099a8058 --as agencies/bka")]
    Release {
        /// The hold
        name: HoldName,
        #[command(flatten)]
        write: Write,
    },
    /// Hold a referral for 72 hours more; for an officer of the agency whose interest holds it
    #[command(after_help = "Example:\n  portreeve hold renew \\\n    \
        agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057/holds/01890a5d-ac96-574b-bcce-b302099a8058 1 --as agencies/bka")]
    Renew {
        /// The hold
        name: HoldName,
        /// Which renewal it is: 1 for the first
        renewal: u32,
        #[command(flatten)]
        write: Write,
    },
    /// Send a held referral all the same; for an approver who has neither written nor sent it
    #[command(
        after_help = "Example:\n  portreeve hold override agencies/nca/drafts/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --reason 'A boat leaves tonight' --as agencies/nca --member a.head"
    )]
    Override {
        /// The draft that is held
        name: DraftName,
        /// Why it cannot wait; whoever holds it is told
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        write: Write,
    },
}

impl Hold {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            HoldAction::List { unsettled, json, connection } => holds(unsettled, json, &connection).await,
            HoldAction::Release { name, write } => {
                let session = write.connection.open(None).await?;
                let request = ReleaseHoldRequest { name: name.to_string(), request_id: request_id(write.request_id) };
                let reply = call!(session, deconfliction, release_hold, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.ReleaseHoldResponse")?);
                }
                say!("released: {name}")?;
                written(&reply.revision, reply.replayed)
            }
            HoldAction::Renew { name, renewal, write } => {
                let session = write.connection.open(None).await?;
                let request =
                    RenewHoldRequest { name: name.to_string(), renewal, request_id: request_id(write.request_id) };
                let reply = call!(session, deconfliction, renew_hold, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.RenewHoldResponse")?);
                }
                let hold = reply.hold.unwrap_or_default();
                say!("held: until {}", when(hold.ends_at.as_ref()))?;
                written(&reply.revision, reply.replayed)
            }
            HoldAction::Override { name, reason, write } => {
                let session = write.connection.open(None).await?;
                let request =
                    OverrideHoldsRequest { name: name.to_string(), reason, request_id: request_id(write.request_id) };
                let reply = call!(session, deconfliction, override_holds, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.OverrideHoldsResponse")?);
                }
                say!("referred: {}", reply.referral.unwrap_or_default().name)?;
                written(&reply.revision, reply.replayed)
            }
        }
    }
}

async fn holds(unsettled: bool, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let parent = session.organisation().to_string();
    let mut request = ListHoldsRequest { parent, unsettled, page_size: 1_000, ..ListHoldsRequest::default() };
    let mut table = Lines::new(["Hold", "State", "Since", "Until", "Renewed", "Speak to", "Interest"]);
    loop {
        let reply = call!(session, deconfliction, list_holds, &request)?;
        for hold in reply.holds {
            if as_json {
                say!("{}", json::line(&hold, "portreeve.referral.v1.Hold")?)?;
            } else {
                table.row(cells(hold));
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

fn cells(hold: wire::Hold) -> [String; 7] {
    let (since, until) = (when(hold.held_at.as_ref()), when(hold.ends_at.as_ref()));
    let state = shown::<HoldState>(hold.state);
    [hold.name, state, since, until, hold.renewals.to_string(), hold.contact, hold.interest]
}
