//! `portreeve flag`: referrals that oversight asks agencies to review.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{
    AnswerReviewFlagRequest, FlagReferralRequest, ListReviewFlagsRequest, ReviewFlag, ReviewFlagState, ReviewOutcome,
};
use portreeve_core::name::{OrganisationName, ReferralName, ReviewFlagName};

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::organisation::of_agency;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{shown, when, words_of};

/// Ask an agency to review a referral, and answer that
///
/// Oversight knows a referral by its name alone, from an access log or from somebody who complains. A flag shows it nothing
/// more; whether there is such a referral is for the agency to answer.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve flag referral agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    --reasons 'A newspaper complains of it' --as oversightBodies/committee\n  \
    portreeve flag list --open --as agencies/nca"
)]
pub(crate) struct Flag {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Flag a referral for review; for oversight
    #[command(
        after_help = "Example:\n  portreeve flag referral agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --reasons 'A newspaper complains of it' --as oversightBodies/committee"
    )]
    Referral {
        /// The referral
        name: ReferralName,
        /// Why it should be reviewed, for the agency to read
        #[arg(long, value_name = "TEXT")]
        reasons: String,
        #[command(flatten)]
        write: Write,
    },
    /// Answer a flag, once; for an approver of the agency
    #[command(after_help = "Example:\n  portreeve flag answer \\\n    \
        agencies/nca/referrals/01890a5d-ac96-774b-bcce-b302099a8057/reviewFlags/01890a5d-ac96-774b-bcce-b302099a8058 \\\n    \
        kept --answer 'It offers places on a boat; the platform closed it' --as agencies/nca")]
    Answer {
        /// The flag
        name: ReviewFlagName,
        /// What came of the review: a withdrawn referral is withdrawn before that is answered
        #[arg(value_parser = words_of::<ReviewOutcome>(), ignore_case = true)]
        outcome: ReviewOutcome,
        /// The answer in words, for oversight to read
        #[arg(long, value_name = "TEXT")]
        answer: String,
        /// The referral that was sent in its place, if it was corrected
        #[arg(long, value_name = "NAME")]
        replacement: Option<ReferralName>,
        #[command(flatten)]
        write: Write,
    },
    /// List flags; for the agency and oversight
    #[command(after_help = "Example:\n  portreeve flag list agencies/nca --open --as oversightBodies/committee")]
    List {
        /// The agency; without it, all that may be seen
        agency: Option<OrganisationName>,
        /// Only those that are not answered
        #[arg(long)]
        open: bool,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

impl Flag {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Referral { name, reasons, write } => {
                let session = write.connection.open(None).await?;
                let request = FlagReferralRequest {
                    referral: name.to_string(),
                    reasons,
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, flags, flag_referral, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.FlagReferralResponse")?);
                }
                say!("flagged: {}", reply.flag.unwrap_or_default().name)?;
                written(&reply.revision, reply.replayed)
            }
            Action::Answer { name, outcome, answer, replacement, write } => {
                let session = write.connection.open(None).await?;
                let request = AnswerReviewFlagRequest {
                    name: name.to_string(),
                    outcome: outcome.into(),
                    answer,
                    replacement: replacement.map(|name| name.to_string()).unwrap_or_default(),
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, flags, answer_review_flag, request)?;
                if write.json {
                    return say!("{}", json::line(&reply, "portreeve.referral.v1.AnswerReviewFlagResponse")?);
                }
                let flag = reply.flag.unwrap_or_default();
                say!("answered: {}, {}", flag.name, shown::<ReviewOutcome>(flag.outcome))?;
                written(&reply.revision, reply.replayed)
            }
            Action::List { agency, open, json, connection } => list(agency.as_ref(), open, json, &connection).await,
        }
    }
}

async fn list(agency: Option<&OrganisationName>, open: bool, as_json: bool, connection: &Connection) -> Result<()> {
    agency.map_or(Ok(()), of_agency)?;
    let session = connection.open(None).await?;
    let mut request = ListReviewFlagsRequest {
        parent: agency.map_or_else(|| "agencies/-".to_owned(), ToString::to_string),
        state: if open { ReviewFlagState::Open } else { ReviewFlagState::Unspecified }.into(),
        page_size: 1_000,
        ..ListReviewFlagsRequest::default()
    };
    let mut table = Lines::new(["Flag", "When", "By", "Why", "State", "Outcome", "Answer"]);
    loop {
        let reply = call!(session, flags, list_review_flags, &request)?;
        for flag in reply.flags {
            if as_json {
                say!("{}", json::line(&flag, "portreeve.referral.v1.ReviewFlag")?)?;
            } else {
                table.row(cells(flag));
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}

fn cells(flag: ReviewFlag) -> [String; 7] {
    let when = when(flag.create_time.as_ref());
    let outcome = match flag.outcome() {
        ReviewOutcome::Unspecified => String::new(),
        outcome => shown::<ReviewOutcome>(outcome.into()),
    };
    [flag.name, when, flag.flagged_by, flag.reasons, shown::<ReviewFlagState>(flag.state), outcome, flag.answer]
}
