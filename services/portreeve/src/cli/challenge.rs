//! `portreeve challenge`: who thinks that a decision is wrong, and what came of it.

use clap::{Args, Subcommand};
use portreeve_api::decision::v1::{
    AcknowledgeChallengeRequest, BeginChallengeReviewRequest, Challenge as Challenged, ChallengeDraft, ChallengeFilter,
    ChallengeKind, ChallengeOutcome, ChallengeStage, CloseChallengeRequest, DecideChallengeRequest, DecisionDraft,
    ExternalForum, FileChallengeRequest, GetChallengeRequest, ImplementChallengeRequest, ListChallengesRequest,
    RecordExternalOutcomeRequest, ReferChallengeRequest,
};
use portreeve_core::name::{CaseName, ChallengeName, OrganisationKind};
use prost_types::Timestamp;

use super::connection::{Reading, Session, call, request_id};
use super::decide::Decision;
use super::failure::Result;
use super::json;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, shown, when, words_of};

/// Challenge decisions, and answer challenges
///
/// The agency challenges a decision in its own name, a platform mirrors a complaint of whoever posted the content, and
/// oversight reviews. The platform acknowledges, reviews and decides; a reversal comes with the decision as it is from
/// then on. Whoever filed a challenge may take it outside. None of it changes where the case stands: decisions do.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve challenge file \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 --version 1 \\\n    \
        --reasons 'The post offers places on a boat' --as agencies/nca\n  \
        portreeve challenge list --open --as platforms/harbourbook")]
pub(crate) struct Challenge {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// File a challenge of the decision in force
    #[command(after_help = "Example:\n  portreeve challenge file \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057 --version 1 \\\n    \
        --reasons 'The post offers places on a boat' --as agencies/nca")]
    File {
        /// The case
        case: CaseName,
        /// The version of the decision
        #[arg(long, value_name = "N")]
        version: u32,
        /// Why; not with a complaint of whoever posted the content
        #[arg(long, value_name = "TEXT", default_value = "")]
        reasons: String,
        /// Who challenges, and how [default: referrer-challenge for an agency, content-owner-complaint for a platform,
        /// oversight-review for oversight]
        #[arg(long, value_parser = words_of::<ChallengeKind>(), ignore_case = true)]
        kind: Option<ChallengeKind>,
        #[command(flatten)]
        step: Step,
    },
    /// Confirm that the platform has it; for a reviewer of the platform, like the next three
    #[command(after_help = "Example:\n  portreeve challenge acknowledge \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 --as platforms/harbourbook")]
    Acknowledge {
        /// The challenge
        name: ChallengeName,
        #[command(flatten)]
        step: Step,
    },
    /// Tell that the content is looked at again
    #[command(after_help = "Example:\n  portreeve challenge review \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 --as platforms/harbourbook")]
    Review {
        /// The challenge
        name: ChallengeName,
        #[command(flatten)]
        step: Step,
    },
    /// Decide on it; a reversal with the decision that comes of it
    #[command(after_help = "Example:\n  portreeve challenge decide \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 reversed --why 'It is an offer' \\\n    \
        --outcome closed-terms --clauses smuggling@2 --kind reversed --cause challenge --as platforms/harbourbook")]
    Decide {
        /// The challenge
        name: ChallengeName,
        /// What came of it
        #[arg(value_parser = words_of::<ChallengeOutcome>(), ignore_case = true)]
        verdict: ChallengeOutcome,
        /// Why, for whoever filed it to read
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
        #[command(flatten)]
        decision: Decision,
        #[command(flatten)]
        step: Step,
    },
    /// Tell that what was decided outside is done, or not
    #[command(after_help = "Example:\n  portreeve challenge implement \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 --not --as platforms/harbourbook")]
    Implement {
        /// The challenge
        name: ChallengeName,
        /// It is not done
        #[arg(long, conflicts_with = "Decision")]
        not: bool,
        #[command(flatten)]
        decision: Decision,
        #[command(flatten)]
        step: Step,
    },
    /// Take it outside; for whoever filed it, like the next two
    #[command(after_help = "Example:\n  portreeve challenge refer \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 out-of-court 'Appeals Centre' \\\n    \
        --as agencies/nca")]
    Refer {
        /// The challenge
        name: ChallengeName,
        /// With what kind of body it lies
        #[arg(value_parser = words_of::<ExternalForum>(), ignore_case = true)]
        forum: ExternalForum,
        /// The body's name
        body: String,
        /// The file number there
        #[arg(long, value_name = "TEXT", default_value = "")]
        reference: String,
        #[command(flatten)]
        step: Step,
    },
    /// Tell what was decided outside
    #[command(after_help = "Example:\n  portreeve challenge outcome \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 reversed --as agencies/nca")]
    Outcome {
        /// The challenge
        name: ChallengeName,
        /// What was decided
        #[arg(value_parser = words_of::<ChallengeOutcome>(), ignore_case = true)]
        outcome: ChallengeOutcome,
        /// For a procedural reason alone
        #[arg(long)]
        procedural: bool,
        #[command(flatten)]
        step: Step,
    },
    /// Pursue it no further
    #[command(after_help = "Example:\n  portreeve challenge close \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 --as agencies/nca")]
    Close {
        /// The challenge
        name: ChallengeName,
        #[command(flatten)]
        step: Step,
    },
    /// Show one with what happened to it
    #[command(after_help = "Example:\n  portreeve challenge show \\\n    \
        platforms/harbourbook/cases/01890a5d-ac96-774b-bcce-b302099a8057/challenges/1 --as agencies/nca")]
    Show {
        /// The challenge
        name: ChallengeName,
        /// Print it as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: Reading,
    },
    /// List challenges
    #[command(after_help = "Example:\n  portreeve challenge list --open --due-before 2026-12-01T00:00:00Z \\\n    \
        --as platforms/harbourbook")]
    List {
        /// One case; without it, all that may be seen
        case: Option<CaseName>,
        /// Only those that somebody still has to answer
        #[arg(long)]
        open: bool,
        /// Only in these stages
        #[arg(long, value_parser = words_of::<ChallengeStage>(), ignore_case = true, value_delimiter = ',')]
        stage: Vec<ChallengeStage>,
        /// Only of these kinds
        #[arg(long, value_parser = words_of::<ChallengeKind>(), ignore_case = true, value_delimiter = ',')]
        kind: Vec<ChallengeKind>,
        /// Only those whose answer is due before
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        due_before: Option<Timestamp>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: Reading,
    },
}

/// What every step has.
#[derive(Args, Debug)]
struct Step {
    /// When it was, if not now
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    at: Option<Timestamp>,
    #[command(flatten)]
    write: Write,
}

/// Takes a step and tells where the challenge stands since.
macro_rules! take {
    ($session:ident, $step:ident, $method:ident, $request:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let request = $request { $($field: $value,)* occurred_at: $step.at, request_id: request_id($step.write.request_id) };
        let reply = call!($session, challenges, $method, request)?;
        tell(&reply.challenge.unwrap_or_default(), &reply.revision, reply.replayed, $step.write.json)
    }};
}

impl Challenge {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::File { case, version, reasons, kind, step } => {
                let session = step.write.connection.open(None).await?;
                let kind = kind.unwrap_or(match session.organisation().kind() {
                    OrganisationKind::Platform => ChallengeKind::ContentOwnerComplaint,
                    OrganisationKind::Oversight => ChallengeKind::OversightReview,
                    _ => ChallengeKind::ReferrerChallenge,
                });
                let draft =
                    ChallengeDraft { kind: kind.into(), decision_version: version, reasons, occurred_at: step.at };
                let request = FileChallengeRequest {
                    parent: case.to_string(),
                    challenge: Some(draft),
                    request_id: request_id(step.write.request_id),
                };
                let reply = call!(session, challenges, file_challenge, request)?;
                tell(&reply.challenge.unwrap_or_default(), &reply.revision, reply.replayed, step.write.json)
            }
            Action::Acknowledge { name, step } => {
                let session = step.write.connection.open(None).await?;
                take!(session, step, acknowledge_challenge, AcknowledgeChallengeRequest { name: name.to_string() })
            }
            Action::Review { name, step } => {
                let session = step.write.connection.open(None).await?;
                take!(session, step, begin_challenge_review, BeginChallengeReviewRequest { name: name.to_string() })
            }
            Action::Decide { name, verdict, why, decision, step } => {
                let session = step.write.connection.open(None).await?;
                let decision = decided(&decision, &session, &name)?;
                let (name, outcome) = (name.to_string(), verdict.into());
                take!(
                    session,
                    step,
                    decide_challenge,
                    DecideChallengeRequest { name: name, outcome: outcome, explanation: why, decision: decision }
                )
            }
            Action::Implement { name, not, decision, step } => {
                let session = step.write.connection.open(None).await?;
                let decision = decided(&decision, &session, &name)?;
                take!(
                    session,
                    step,
                    implement_challenge,
                    ImplementChallengeRequest { name: name.to_string(), implemented: !not, decision: decision }
                )
            }
            Action::Refer { name, forum, body, reference, step } => {
                let session = step.write.connection.open(None).await?;
                let (name, forum) = (name.to_string(), forum.into());
                take!(
                    session,
                    step,
                    refer_challenge,
                    ReferChallengeRequest { name: name, forum: forum, body: body, reference: reference }
                )
            }
            Action::Outcome { name, outcome, procedural, step } => {
                let session = step.write.connection.open(None).await?;
                let (name, outcome) = (name.to_string(), outcome.into());
                take!(
                    session,
                    step,
                    record_external_outcome,
                    RecordExternalOutcomeRequest { name: name, outcome: outcome, procedural: procedural }
                )
            }
            Action::Close { name, step } => {
                let session = step.write.connection.open(None).await?;
                take!(session, step, close_challenge, CloseChallengeRequest { name: name.to_string() })
            }
            Action::Show { name, json, reading } => show(&name, json, &reading).await,
            Action::List { case, open, stage, kind, due_before, json, reading } => {
                let session = reading.open().await?;
                let filter = ChallengeFilter {
                    kinds: kind.into_iter().map(Into::into).collect(),
                    stages: stage.into_iter().map(Into::into).collect(),
                    open,
                    due_before,
                    agencies: reading.agencies(&session),
                };
                list(case.as_ref(), filter, json, &session).await
            }
        }
    }
}

/// The decision that goes with a step, if one is said.
fn decided(decision: &Decision, session: &Session, name: &ChallengeName) -> Result<Option<DecisionDraft>> {
    if decision.is_empty() {
        return Ok(None);
    }
    Ok(decision.item(session, &name.case.to_string())?.decision)
}

fn tell(challenge: &Challenged, revision: &str, replayed: bool, as_json: bool) -> Result<()> {
    if as_json {
        return say!("{}", json::line(challenge, "portreeve.decision.v1.Challenge")?);
    }
    say!("{}: {}", shown::<ChallengeStage>(challenge.stage).to_lowercase(), challenge.name)?;
    written(revision, replayed)
}

async fn show(name: &ChallengeName, as_json: bool, reading: &Reading) -> Result<()> {
    let session = reading.open().await?;
    let request = GetChallengeRequest { name: name.to_string(), at_least: Vec::new() };
    let challenge = call!(session, challenges, get_challenge, request)?.challenge.unwrap_or_default();
    if as_json {
        return say!("{}", json::line(&challenge, "portreeve.decision.v1.Challenge")?);
    }
    let filed = format!("{} by {}", shown::<ChallengeKind>(challenge.kind), challenge.filed_by);
    say!("{}\n{filed}, of version {}\n{}", challenge.name, challenge.decision_version, challenge.reasons)?;
    let mut table = Lines::new(["When", "Stage", "What"]);
    table.row([when(challenge.filed_at.as_ref()), "filed".to_owned(), String::new()]);
    for fact in challenge.facts {
        let outcome = match fact.outcome() {
            ChallengeOutcome::Unspecified => String::new(),
            outcome => shown::<ChallengeOutcome>(outcome.into()),
        };
        let what = [fact.explanation, fact.body, fact.reference, outcome].join(" ");
        let stage = shown::<ChallengeStage>(fact.stage);
        table.row([when(fact.occurred_at.as_ref()), stage, what.trim().to_owned()]);
    }
    say!("{table}")
}

async fn list(case: Option<&CaseName>, filter: ChallengeFilter, as_json: bool, session: &Session) -> Result<()> {
    let own = session.organisation();
    let all = match own.kind() {
        OrganisationKind::Platform => format!("{own}/cases/-"),
        _ => "platforms/-/cases/-".to_owned(),
    };
    let mut request = ListChallengesRequest {
        parent: case.map_or(all, ToString::to_string),
        filter: Some(filter),
        page_size: 1_000,
        ..ListChallengesRequest::default()
    };
    let mut table = Lines::new(["Challenge", "Version", "Kind", "Filed", "Stage", "Due"]);
    loop {
        let reply = call!(session, challenges, list_challenges, &request)?;
        for challenge in reply.challenges {
            if as_json {
                say!("{}", json::line(&challenge, "portreeve.decision.v1.Challenge")?)?;
            } else {
                table.row([
                    challenge.name.clone(),
                    challenge.decision_version.to_string(),
                    shown::<ChallengeKind>(challenge.kind),
                    when(challenge.filed_at.as_ref()),
                    shown::<ChallengeStage>(challenge.stage),
                    challenge.due_at.as_ref().map(|due| when(Some(due))).unwrap_or_default(),
                ]);
            }
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}
