//! `portreeve measure`: measures against misuse of the right to refer.

use clap::{Args, Subcommand};
use portreeve_api::referral::v1::{
    AppealMeasureRequest, DecideAppealRequest, ImposeMeasureRequest, LiftMeasureRequest, ListMeasuresRequest,
    Measure as Message, MeasureAppealOutcome, MeasureKind, MeasureState, MisuseGravity, MisuseGrounds, MisuseIntent,
};
use portreeve_core::name::{MeasureName, OrganisationName};
use prost_types::Timestamp;

use super::connection::{Connection, call, request_id};
use super::failure::Result;
use super::json;
use super::organisation::of_agency;
use super::refer::{Write, written};
use super::table::Lines;
use super::words::{self, shown, when, words_of};

/// Warn or suspend who misuses the right to refer, and appeal against that
///
/// A suspension takes the right to refer away for a time: of an agency, or of one of its members. It follows an earlier
/// warning, has an end, and can be appealed against once.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  portreeve measure list agencies/nca --as agencies/nca\n  \
    portreeve measure appeal agencies/nca/measures/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    --reasons 'They were founded: the platform closed 38 of 40' --as agencies/nca")]
pub(crate) struct Measure {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Warn an agency or a member of it, or suspend them; for a supervisor of an oversight body
    #[command(after_help = "Example:\n  portreeve measure impose suspension agencies/nca --of-member j.doe \\\n    \
        --until 2026-04-01 --unfounded 40 --referred 120 --period-from 2026-01-01 --period-until 2026-03-01 \\\n    \
        --gravity serious --intent negligent --reasons 'News reports were referred as offers, after a warning' \\\n    \
        --as oversightBodies/committee --member s.upervisor --roles supervisor")]
    Impose(Box<Impose>),
    /// Appeal against a measure, once; for an approver of the agency
    #[command(
        after_help = "Example:\n  portreeve measure appeal agencies/nca/measures/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --reasons 'They were founded: the platform closed 38 of 40' --as agencies/nca"
    )]
    Appeal {
        /// The measure
        name: MeasureName,
        /// Why it is wrong
        #[arg(long, value_name = "TEXT")]
        reasons: String,
        #[command(flatten)]
        write: Write,
    },
    /// Decide an appeal; for a supervisor who did not impose the measure
    #[command(
        after_help = "Example:\n  portreeve measure decide agencies/nca/measures/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        shortened --until 2026-03-15 --reasons 'The warning had some effect' \\\n    \
        --as oversightBodies/committee --member a.nother --roles supervisor"
    )]
    Decide {
        /// The measure
        name: MeasureName,
        /// What becomes of it
        #[arg(value_parser = words_of::<MeasureAppealOutcome>(), ignore_case = true)]
        outcome: MeasureAppealOutcome,
        /// When the suspension ends now, if it is shortened
        #[arg(long, value_name = "TIME", value_parser = words::time)]
        until: Option<Timestamp>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reasons: String,
        #[command(flatten)]
        write: Write,
    },
    /// Take a measure back before its end; for a supervisor
    #[command(
        after_help = "Example:\n  portreeve measure lift agencies/nca/measures/01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
        --reasons 'Another member had referred them' \\\n    \
        --as oversightBodies/committee --member s.upervisor --roles supervisor"
    )]
    Lift {
        /// The measure
        name: MeasureName,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reasons: String,
        #[command(flatten)]
        write: Write,
    },
    /// List measures, those that have ended included; for the agency and oversight
    #[command(after_help = "Example:\n  portreeve measure list agencies/nca --as agencies/nca")]
    List {
        /// The agency; without it, all that may be seen
        agency: Option<OrganisationName>,
        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Args, Debug)]
struct Impose {
    /// A warning or a suspension
    #[arg(value_parser = words_of::<MeasureKind>(), ignore_case = true)]
    kind: MeasureKind,
    /// The agency
    agency: OrganisationName,
    /// The member of the agency whom alone it is about, as that member's certificate or token says
    #[arg(long, value_name = "NAME", default_value = "")]
    of_member: String,
    /// When the suspension begins, if not now
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    from: Option<Timestamp>,
    /// When the suspension ends
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    until: Option<Timestamp>,
    /// How many referrals of the period were manifestly unfounded
    #[arg(long, value_name = "N")]
    unfounded: u32,
    /// How many there were in all in that period
    #[arg(long, value_name = "N")]
    referred: u32,
    /// When the period began
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    period_from: Timestamp,
    /// When it ended
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    period_until: Timestamp,
    /// How grave it is; with `exceptional`, a suspension needs no earlier warning
    #[arg(long, value_name = "GRAVITY", value_parser = words_of::<MisuseGravity>(), ignore_case = true)]
    gravity: MisuseGravity,
    /// With what intention, where that can be told
    #[arg(long, value_name = "INTENT", value_parser = words_of::<MisuseIntent>(), ignore_case = true)]
    intent: Option<MisuseIntent>,
    /// Why, for the agency to read
    #[arg(long, value_name = "TEXT")]
    reasons: String,
    #[command(flatten)]
    write: Write,
}

/// Says what a write did, the same for each.
macro_rules! tell {
    ($reply:expr, $write:expr, $name:literal, $done:literal) => {{
        let reply = $reply;
        if $write.json {
            return say!("{}", json::line(&reply, concat!("portreeve.referral.v1.", $name))?);
        }
        let measure = reply.measure.unwrap_or_default();
        say!(
            "{}: {}, {} until {}",
            $done,
            measure.name,
            shown::<MeasureState>(measure.state),
            when(measure.ends_at.as_ref())
        )?;
        written(&reply.revision, reply.replayed)
    }};
}

impl Measure {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::Impose(impose) => impose.run().await,
            Action::Appeal { name, reasons, write } => {
                let session = write.connection.open(None).await?;
                let request =
                    AppealMeasureRequest { name: name.to_string(), reasons, request_id: request_id(write.request_id) };
                let reply = call!(session, measures, appeal_measure, request)?;
                tell!(reply, write, "AppealMeasureResponse", "appealed against")
            }
            Action::Decide { name, outcome, until, reasons, write } => {
                let session = write.connection.open(None).await?;
                let request = DecideAppealRequest {
                    name: name.to_string(),
                    outcome: outcome.into(),
                    shortened_until: until,
                    reasons,
                    request_id: request_id(write.request_id),
                };
                let reply = call!(session, measures, decide_appeal, request)?;
                tell!(reply, write, "DecideAppealResponse", "decided")
            }
            Action::Lift { name, reasons, write } => {
                let session = write.connection.open(None).await?;
                let request =
                    LiftMeasureRequest { name: name.to_string(), reasons, request_id: request_id(write.request_id) };
                let reply = call!(session, measures, lift_measure, request)?;
                tell!(reply, write, "LiftMeasureResponse", "lifted")
            }
            Action::List { agency, json, connection } => list(agency.as_ref(), json, &connection).await,
        }
    }
}

impl Impose {
    async fn run(self) -> Result<()> {
        of_agency(&self.agency)?;
        let session = self.write.connection.open(None).await?;
        let request = ImposeMeasureRequest {
            parent: self.agency.to_string(),
            measure: Some(Message {
                kind: self.kind.into(),
                member: self.of_member,
                start_time: self.from,
                end_time: self.until,
                statement_of_reasons: self.reasons,
                grounds: Some(MisuseGrounds {
                    unfounded_count: self.unfounded,
                    referred_count: self.referred,
                    period_from: Some(self.period_from),
                    period_until: Some(self.period_until),
                    gravity: self.gravity.into(),
                    intent: self.intent.unwrap_or_default().into(),
                }),
                ..Message::default()
            }),
            request_id: request_id(self.write.request_id),
        };
        let reply = call!(session, measures, impose_measure, request)?;
        tell!(reply, self.write, "ImposeMeasureResponse", "imposed")
    }
}

async fn list(agency: Option<&OrganisationName>, as_json: bool, connection: &Connection) -> Result<()> {
    agency.map_or(Ok(()), of_agency)?;
    let session = connection.open(None).await?;
    let parent = agency.map_or_else(|| "agencies/-".to_owned(), ToString::to_string);
    let mut request = ListMeasuresRequest { parent, page_size: 1_000, ..ListMeasuresRequest::default() };
    let mut table =
        Lines::new(["Measure", "Kind", "Member", "State", "From", "Until", "Unfounded", "Gravity", "Appeal"]);
    loop {
        let reply = call!(session, measures, list_measures, &request)?;
        for measure in reply.measures {
            if as_json {
                say!("{}", json::line(&measure, "portreeve.referral.v1.Measure")?)?;
                continue;
            }
            let grounds = measure.grounds.unwrap_or_default();
            let appeal = measure.appeal.map(|appeal| match appeal.outcome() {
                MeasureAppealOutcome::Unspecified => "PENDING".to_owned(),
                outcome => shown::<MeasureAppealOutcome>(outcome.into()),
            });
            table.row([
                measure.name,
                shown::<MeasureKind>(measure.kind),
                measure.member,
                shown::<MeasureState>(measure.state),
                when(measure.start_time.as_ref()),
                when(measure.ends_at.as_ref()),
                format!("{} of {}", grounds.unfounded_count, grounds.referred_count),
                shown::<MisuseGravity>(grounds.gravity),
                appeal.unwrap_or_default(),
            ]);
        }
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    if as_json { Ok(()) } else { say!("{table}") }
}
