//! `portreeve agreement`: agreements between agencies to share what they refer.

use clap::{Args, Subcommand};
use portreeve_api::common::v1::{Ground, Tlp};
use portreeve_api::referral::v1::{
    AcceptAgreementRequest, AfterEnd, Agreement as Agreed, AgreementState, CreateAgreementRequest,
    ExtendAgreementRequest, FieldGroup, GetAgreementRequest, GiveNoticeRequest, ListAgreementsRequest, Purpose,
    ResumeAgreementRequest, SuspendAgreementRequest,
};
use portreeve_core::agreement::AgreementName;
use portreeve_core::limits;
use portreeve_core::name::OrganisationName;

use super::connection::{Connection, call, now, request_id};
use super::failure::Result;
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, Word, shown, to_proto, typed, when, words_of};

/// Agree with other agencies on what is shared
///
/// An approver of one party proposes; the agreement is in force once every other party has accepted it, from its start to
/// its end. It ends by time alone. A partner's rows are read with --purpose.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve agreement propose --title 'Channel crossings' --with agencies/bka --for investigation \\\n    \
    --share target,reasons,decision --tlp-ceiling amber --until 2026-12-31T23:00:00Z --after-end keep \\\n    \
    --as agencies/nca\n  portreeve agreement accept AGREEMENT --as agencies/bka\n  \
    portreeve watch referrals --parent agencies/nca --purpose investigation --as agencies/bka"
)]
pub(crate) struct Agreement {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Propose(Box<Proposal>),
    /// Accept what a partner has proposed
    #[command(after_help = "Example:\n  portreeve agreement accept AGREEMENT --as agencies/bka")]
    Accept {
        #[command(flatten)]
        which: Which,
    },
    /// Propose a later end, or consent to the one that a partner has proposed
    #[command(
        after_help = "Example:\n  portreeve agreement extend AGREEMENT --until 2027-03-31T22:00:00Z --as agencies/nca"
    )]
    Extend {
        #[command(flatten)]
        which: Which,
        /// The later end
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        until: prost_types::Timestamp,
    },
    /// Suspend it: nothing is shared until everybody who suspended it has resumed it
    #[command(
        after_help = "Example:\n  portreeve agreement suspend AGREEMENT --reason 'Under review' --as agencies/nca"
    )]
    Suspend {
        #[command(flatten)]
        which: Which,
        /// Why; the parties can read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Resume what this agency has suspended
    #[command(after_help = "Example:\n  portreeve agreement resume AGREEMENT --as agencies/nca")]
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Give notice of termination, or decline what was proposed
    #[command(
        after_help = "Example:\n  portreeve agreement notice AGREEMENT --reason 'The treaty ends' --as agencies/nca"
    )]
    Notice {
        #[command(flatten)]
        which: Which,
        /// Why; the parties can read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show one agreement with all that was told of it
    #[command(after_help = "Example:\n  portreeve agreement show AGREEMENT --as agencies/bka")]
    Show {
        /// The agreement: agreements/UUID, or the UUID alone
        #[arg(value_name = "AGREEMENT", value_parser = name)]
        name: AgreementName,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// List an agency's agreements
    #[command(after_help = "Example:\n  portreeve agreement list --as agencies/bka")]
    List {
        /// Whose; without it, of all that the caller may see
        #[arg(long, value_name = "AGENCY")]
        of: Option<OrganisationName>,
        /// Print one agreement per line as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Propose an agreement
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve agreement propose --title 'Channel crossings' --with agencies/bka \\\n    \
    --for investigation --share target,reasons,decision --tlp-ceiling amber --until 2026-12-31T23:00:00Z \\\n    \
    --after-end keep --as agencies/nca"
)]
struct Proposal {
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// The other parties
    #[arg(long = "with", value_name = "AGENCY", required = true, value_delimiter = ',')]
    partners: Vec<OrganisationName>,
    /// For what partners may read
    #[arg(long = "for", value_name = "PURPOSE", required = true, value_delimiter = ',',
        value_parser = words_of::<Purpose>(), ignore_case = true)]
    purposes: Vec<Purpose>,
    /// The grounds of the referrals that are shared; every ground if none is given
    #[arg(long, value_name = "GROUND", value_delimiter = ',', value_parser = words_of::<Ground>(), ignore_case = true,
        hide_possible_values = true)]
    ground: Vec<Ground>,
    /// What of them is shared beyond name, platform, kind, ground, nature, languages, times and state
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = words_of::<FieldGroup>(), ignore_case = true)]
    share: Vec<FieldGroup>,
    /// The highest marking that is shared; red never is
    #[arg(long, value_name = "TLP", value_parser = words_of::<Tlp>(), ignore_case = true)]
    tlp_ceiling: Tlp,
    /// Share referrals that have conditions, too
    #[arg(long)]
    accept_conditions: bool,
    /// Let what a party receives be shared one step further, under the stricter of both terms
    #[arg(long)]
    onward: bool,
    /// Share only what was recorded since
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    shared_since: Option<prost_types::Timestamp>,
    /// When it begins, if not now
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    from: Option<prost_types::Timestamp>,
    /// When it ends: the first moment at which nothing is shared any more
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    until: prost_types::Timestamp,
    /// How far it may be extended; not at all if not said
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    extendable_until: Option<prost_types::Timestamp>,
    /// How many days after a notice it ends
    #[arg(long, value_name = "N", default_value_t = 0)]
    notice_days: u32,
    /// The day by which the parties mean to review it
    #[arg(long, value_name = "DATE", value_parser = words::day)]
    review: Option<String>,
    /// What becomes of what was shared: kept as it stood, frozen, or out of reach
    #[arg(long, value_name = "WHAT", value_parser = words_of::<AfterEnd>(), ignore_case = true)]
    after_end: AfterEnd,
    #[command(flatten)]
    write: Write,
}

/// Which agreement a party acts on.
#[derive(Args, Debug)]
struct Which {
    /// The agreement: agreements/UUID, or the UUID alone
    #[arg(value_name = "AGREEMENT", value_parser = name)]
    name: AgreementName,
    /// Only if it is still as it was read: the etag that `show` gives
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    write: Write,
}

fn name(text: &str) -> Result<AgreementName, String> {
    let full = if text.contains('/') { text.to_owned() } else { format!("agreements/{text}") };
    full.parse::<AgreementName>().map_err(|error| error.to_string())
}

/// One act of a party: `act!(which, method, Request { more fields }, "Response", "what was done")`.
macro_rules! act {
    ($which:expr, $method:ident, $request:ident { $($more:tt)* }, $response:literal, $done:literal) => {{
        let Which { name, etag, write } = $which;
        let session = write.connection.open(None).await?;
        let request = $request {
            name: name.to_string(),
            party: session.organisation().to_string(),
            request_id: request_id(write.request_id),
            etag,
            $($more)*
        };
        let reply = call!(session, agreements, $method, request)?;
        if write.json {
            return say!("{}", json::line(&reply, concat!("portreeve.referral.v1.", $response))?);
        }
        told($done, &reply.agreement.unwrap_or_default(), &reply.revision, reply.replayed)
    }};
}

impl Agreement {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Propose(proposal) => propose(*proposal).await,
            Action::Accept { which } => {
                act!(which, accept_agreement, AcceptAgreementRequest {}, "AcceptAgreementResponse", "accepted")
            }
            Action::Extend { which, until } => {
                let end_time = Some(until);
                act!(
                    which,
                    extend_agreement,
                    ExtendAgreementRequest { end_time },
                    "ExtendAgreementResponse",
                    "consented"
                )
            }
            Action::Suspend { which, reason } => {
                act!(
                    which,
                    suspend_agreement,
                    SuspendAgreementRequest { reason },
                    "SuspendAgreementResponse",
                    "suspended"
                )
            }
            Action::Resume { which } => {
                act!(which, resume_agreement, ResumeAgreementRequest {}, "ResumeAgreementResponse", "resumed")
            }
            Action::Notice { which, reason } => {
                act!(which, give_notice, GiveNoticeRequest { reason }, "GiveNoticeResponse", "notice given")
            }
            Action::Show { name, json, connection } => show(name, json, &connection).await,
            Action::List { of, json, connection } => list(of, json, &connection).await,
        }
    }
}

/// Says what was done, and where the agreement stands after it.
fn told(done: &str, agreement: &Agreed, revision: &str, replayed: bool) -> Result<()> {
    say!("{done}: {} is {}, until {}", agreement.name, state(agreement), when(agreement.ends_at.as_ref()))?;
    written(revision, replayed)
}

async fn propose(proposal: Proposal) -> Result<()> {
    let write = proposal.write;
    let session = write.connection.open(None).await?;
    let proposer = session.organisation().to_string();
    let mut parties = vec![proposer.clone()];
    parties.extend(proposal.partners.iter().map(ToString::to_string).filter(|party| *party != proposer));
    let agreement = Agreed {
        title: proposal.title,
        parties,
        purposes: proposal.purposes.into_iter().map(Into::into).collect(),
        grounds: proposal.ground.into_iter().map(Into::into).collect(),
        field_groups: proposal.share.into_iter().map(Into::into).collect(),
        tlp_ceiling: proposal.tlp_ceiling.into(),
        accepts_conditions: proposal.accept_conditions,
        onward_permitted: proposal.onward,
        shared_since: proposal.shared_since,
        start_time: Some(proposal.from.unwrap_or_else(|| to_proto(now()))),
        end_time: Some(proposal.until),
        extendable_until: proposal.extendable_until,
        notice_days: proposal.notice_days,
        review_date: proposal.review.unwrap_or_default(),
        after_end: proposal.after_end.into(),
        ..Agreed::default()
    };
    let request = CreateAgreementRequest {
        parent: proposer,
        agreement: Some(agreement),
        request_id: request_id(write.request_id),
    };
    let reply = call!(session, agreements, create_agreement, request)?;
    if write.json {
        return say!("{}", json::line(&reply, "portreeve.referral.v1.CreateAgreementResponse")?);
    }
    told("proposed", &reply.agreement.unwrap_or_default(), &reply.revision, reply.replayed)
}

async fn show(name: AgreementName, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let request = GetAgreementRequest { name: name.to_string(), ..Default::default() };
    let agreement = call!(session, agreements, get_agreement, request)?.agreement.unwrap_or_default();
    if as_json {
        return say!("{}", json::line(&agreement, "portreeve.referral.v1.Agreement")?);
    }
    for (what, said) in lines(&agreement) {
        say!("{what:<16}{said}")?;
    }
    Ok(())
}

/// What an agreement says, line by line.
fn lines(agreement: &Agreed) -> Vec<(&'static str, String)> {
    let given = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let optional = |at: Option<&prost_types::Timestamp>, none: &str| given(&when(at), none);
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut lines = vec![
        ("agreement", agreement.name.clone()),
        ("title", agreement.title.clone()),
        ("state", state(agreement)),
        ("parties", agreement.parties.join(", ")),
        ("for", list_of::<Purpose>(&agreement.purposes)),
        ("grounds", given(&list_of::<Ground>(&agreement.grounds), "every one")),
        ("shares", given(&list_of::<FieldGroup>(&agreement.field_groups), "only what always is")),
        ("TLP ceiling", word::<Tlp>(agreement.tlp_ceiling)),
        ("conditions", if agreement.accepts_conditions { "accepted" } else { "not accepted" }.to_owned()),
        ("onward", yes(agreement.onward_permitted)),
        ("since", optional(agreement.shared_since.as_ref(), "ever")),
        ("begins", when(agreement.start_time.as_ref())),
        ("ends", when(agreement.ends_at.as_ref())),
        ("extendable", optional(agreement.extendable_until.as_ref(), "no")),
        ("notice", format!("{} days", agreement.notice_days)),
        ("review", given(&agreement.review_date, "none")),
        ("after its end", word::<AfterEnd>(agreement.after_end)),
    ];
    for consent in &agreement.acceptances {
        lines.push(("accepted", format!("{} by {}", when(consent.consented_at.as_ref()), consent.party)));
    }
    for extension in &agreement.extensions {
        let consents = extension.consents.iter().map(|consent| consent.party.as_str()).collect::<Vec<_>>().join(", ");
        let force = optional(extension.in_force_at.as_ref(), "not yet in force");
        lines.push(("extension", format!("to {} by {consents} ({force})", when(extension.end_time.as_ref()))));
    }
    for suspension in &agreement.suspensions {
        let (from, until) = (when(suspension.suspended_at.as_ref()), when(suspension.resumed_at.as_ref()));
        lines.push(("suspended", format!("{from} to {until} by {}: {}", suspension.party, suspension.reason)));
    }
    if let Some(notice) = &agreement.notice {
        let given = when(notice.given_at.as_ref());
        lines.push(("notice given", format!("{given} by {}: {}", notice.party, notice.reason)));
    }
    lines.push(("etag", agreement.etag.clone()));
    lines
}

async fn list(of: Option<OrganisationName>, as_json: bool, connection: &Connection) -> Result<()> {
    let session = connection.open(None).await?;
    let mut request = ListAgreementsRequest {
        parent: of.map_or_else(|| "agencies/-".to_owned(), |agency| agency.to_string()),
        page_size: i32::try_from(limits::PAGE_ROWS_MAX).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let mut table = Lines::new(["Agreement", "State", "Ends", "Parties", "Title"]);
    loop {
        let reply = call!(session, agreements, list_agreements, &request)?;
        for agreement in &reply.agreements {
            if as_json {
                say!("{}", json::line(agreement, "portreeve.referral.v1.Agreement")?)?;
            }
            table.row([
                agreement.name.clone(),
                state(agreement),
                when(agreement.ends_at.as_ref()),
                agreement.parties.join(" "),
                agreement.title.clone(),
            ]);
        }
        request.page_token = reply.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

fn state(agreement: &Agreed) -> String {
    shown::<AgreementState>(agreement.state)
}

fn word<W: Word>(number: i32) -> String {
    W::from_number(number).map_or_else(|| number.to_string(), typed)
}

fn list_of<W: Word>(numbers: &[i32]) -> String {
    numbers.iter().map(|number| word::<W>(*number)).collect::<Vec<_>>().join(", ")
}
