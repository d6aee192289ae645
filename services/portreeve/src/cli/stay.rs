//! `portreeve stay`: when a platform cannot go on with a case.

use clap::{Args, Subcommand};
use portreeve_api::decision::v1::{
    AnswerInformationRequest, EndImpedimentRequest, QuestionCode, ReportImpedimentRequest, RequestInformationRequest,
    Stay as Stayed, StayEnd, StayGround,
};
use portreeve_core::name::{CaseName, StayName};
use prost_types::Timestamp;

use super::connection::{call, request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::words::{self, shown, when, words_of};

/// Ask the agency something, answer, or say what keeps an order from being carried out
///
/// Each stops the clocks of the order and of the response until it ends. The receipt stays what it is. `portreeve inbox
/// --status info-requested --format json` shows the questions that wait.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve stay ask \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 location 'Which of the posts?' \\\n    \
        --answer-by 2026-12-05T12:00:00Z --as platforms/harbourbook\n  \
        portreeve stay answer \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/stays/1 'The second.' --as agencies/nca")]
pub(crate) struct Stay {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ask the agency something; for a reviewer of the platform
    #[command(after_help = "Example:\n  portreeve stay ask \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 location,part 'Which of the posts?' \\\n    \
        --answer-by 2026-12-05T12:00:00Z --as platforms/harbourbook")]
    Ask {
        /// The case
        case: CaseName,
        /// What the platform wants to know
        #[arg(value_parser = words_of::<QuestionCode>(), ignore_case = true, value_delimiter = ',', required = true)]
        about: Vec<QuestionCode>,
        /// The question
        question: String,
        /// By when the agency must answer; after that the case is decided as NO_ACTION_INSUFFICIENT_INFO. Not of an order
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        answer_by: Option<Timestamp>,
        /// What it was told has manifest errors
        #[arg(long)]
        errors: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Answer a question; for an officer of the agency
    #[command(after_help = "Example:\n  portreeve stay answer \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/stays/1 'The second.' --as agencies/nca")]
    Answer {
        /// The stay
        name: StayName,
        /// The answer
        answer: String,
        #[command(flatten)]
        write: Write,
    },
    /// Say what keeps an order from being carried out; for a reviewer of the platform
    #[command(after_help = "Example:\n  portreeve stay impede \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 force-majeure 'The data centre is down.' \\\n    \
        --as platforms/harbourbook")]
    Impede {
        /// The case
        case: CaseName,
        /// Why: force-majeure or de-facto-impossibility
        #[arg(value_parser = words_of::<StayGround>(), ignore_case = true)]
        ground: StayGround,
        /// What keeps the platform from going on
        explanation: String,
        #[command(flatten)]
        write: Write,
    },
    /// Say that it has ceased; for a reviewer of the platform
    #[command(after_help = "Example:\n  portreeve stay cease \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/stays/1 --as platforms/harbourbook")]
    Cease {
        /// The stay
        name: StayName,
        #[command(flatten)]
        write: Write,
    },
}

impl Stay {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Ask { case, about, question, answer_by, errors, write } => {
                let session = write.connection.open(None).await?;
                let ground = if errors { StayGround::ManifestErrors } else { StayGround::InsufficientInformation };
                let request = RequestInformationRequest {
                    parent: case.to_string(),
                    ground: ground.into(),
                    questions: about.into_iter().map(Into::into).collect(),
                    explanation: question,
                    answer_by,
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, stays, request_information, request)?;
                tell(&reply.stay.unwrap_or_default(), &reply.revision, reply.replayed, write.json)
            }
            Action::Answer { name, answer, write } => {
                let session = write.connection.open(None).await?;
                let request_id = request_id(write.request_id);
                let request = AnswerInformationRequest { name: name.to_string(), answer, request_id };
                let reply = call!(session, stays, answer_information, request)?;
                tell(&reply.stay.unwrap_or_default(), &reply.revision, reply.replayed, write.json)
            }
            Action::Impede { case, ground, explanation, write } => {
                if !matches!(ground, StayGround::ForceMajeure | StayGround::DeFactoImpossibility) {
                    let wrong = "an order is kept from being carried out by force-majeure or de-facto-impossibility";
                    return Err(Failure::Usage(format!("{wrong}; `portreeve stay ask` asks the agency something")));
                }
                let session = write.connection.open(None).await?;
                let request = ReportImpedimentRequest {
                    parent: case.to_string(),
                    ground: ground.into(),
                    explanation,
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, stays, report_impediment, request)?;
                tell(&reply.stay.unwrap_or_default(), &reply.revision, reply.replayed, write.json)
            }
            Action::Cease { name, write } => {
                let session = write.connection.open(None).await?;
                let request = EndImpedimentRequest { name: name.to_string(), request_id: request_id(write.request_id) };
                let reply = call!(session, stays, end_impediment, request)?;
                tell(&reply.stay.unwrap_or_default(), &reply.revision, reply.replayed, write.json)
            }
        }
    }
}

fn tell(stay: &Stayed, revision: &str, replayed: bool, as_json: bool) -> Result<()> {
    if as_json {
        return say!("{}", json::line(stay, "portreeve.decision.v1.Stay")?);
    }
    let ground = shown::<StayGround>(stay.ground);
    let stands = match stay.end() {
        StayEnd::Unspecified => {
            stay.answer_by.as_ref().map_or_else(|| "lasts".to_owned(), |by| format!("until {}", when(Some(by))))
        }
        end => shown::<StayEnd>(end.into()).to_lowercase(),
    };
    say!("{ground}, {stands}: {}", stay.name)?;
    written(revision, replayed)
}
