//! `portreeve decide`: one decision, or a file of them.

mod row;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use portreeve_api::decision::v1::{
    BatchDecisionItem, BatchRecordDecisionsRequest, RecordDecisionRequest, batch_decision_result,
};
use portreeve_core::limits;
use portreeve_core::name::OrganisationKind;

use super::connection::{Session, call, request_id as new_request_id};
use super::failure::{Failure, Result};
use super::json;
use super::refer::{Write, written};
use super::sheet::{self, Refusal, Rejects, Sheet};
use super::words::grouped;

/// Record a decision on a case, or many from a file
///
/// A case is acknowledged before it is decided (see `inbox --acknowledge`). A decision that leaves the content up names
/// its reason; `no-action-permitted-by-policy` cites the clause and its version.
///
/// A file (--file) has a header with the columns case and outcome and any of kind, clauses, law, restriction,
/// cannot_access, gone_by, protected_context, decided_by, decided_at, effective_at, territorial_scope, explanation,
/// language_reviewed, cause, cause_reference, items_closed, items_total, suspended_until, duplicate_of, redress,
/// notification, notification_exemption, suppressed_until, expected_version and request_id. Rows that are refused are
/// written to FILE.rejects.csv; running a file again changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  portreeve decide 01890a5d-ac96-774b-bcce-b302099a8057 \\\n    \
    --outcome no-action-permitted-by-policy --clauses requests@1 --as platforms/harbourbook\n  \
    portreeve decide --file decisions.csv --as platforms/harbourbook")]
pub(crate) struct Decide {
    /// The case, by its name or its uuid
    #[arg(required_unless_present = "file")]
    case: Option<String>,
    /// A CSV file of decisions
    #[arg(long, value_name = "FILE", conflicts_with_all = ["case", "Decision"])]
    file: Option<PathBuf>,
    /// What parts the fields of the file
    #[arg(long, default_value = ",", value_name = "CHARACTER", value_parser = sheet::delimiter)]
    delimiter: u8,
    #[command(flatten)]
    decision: Decision,
    #[command(flatten)]
    write: Write,
}

macro_rules! decision {
    ($($(#[$doc:meta])* $name:ident = $value:literal),* $(,)?) => {
        /// What is decided, in words.
        #[derive(Args, Debug)]
        #[command(next_help_heading = "The decision")]
        pub(super) struct Decision {$(
            $(#[$doc])*
            #[arg(long, value_name = $value)]
            $name: Option<String>,
        )*}

        impl Decision {
            /// The words by the column that they would have in a file.
            fn words(&self) -> HashMap<&'static str, &str> {
                HashMap::from([$((stringify!($name), self.$name.as_deref().unwrap_or_default())),*])
            }

            /// Whether nothing is said.
            pub(super) fn is_empty(&self) -> bool {
                self.words().values().all(|word| word.is_empty())
            }
        }
    };
}

decision! {
    /// What was decided, such as closed-terms or no-action-not-violating
    outcome = "OUTCOME",
    /// What it is to the decision before: initial, amended, reversed, corrected, reinstated [default: initial]
    kind = "KIND",
    /// The clauses on which it rests, such as requests@1, the decisive one first
    clauses = "CLAUSE@VERSION",
    /// The law on which it rests
    law = "TEXT",
    /// How the content is restricted, with restricted: geo, age, demoted, interaction, labelled
    restriction = "HOW",
    /// Why the platform cannot see it: end-to-end-encrypted, closed-group, deleted-context
    cannot_access = "WHY",
    /// Through whom it was gone: user, platform-earlier
    gone_by = "WHOM",
    /// Why it is protected: journalism, research, humanitarian, own-journey
    protected_context = "WHY",
    /// Who or what decided: human, partially-automated, automated [default: human]
    decided_by = "SOURCE",
    /// When it was decided, if not now
    decided_at = "TIME",
    /// When it took effect on the content
    effective_at = "TIME",
    /// The countries in which it has effect, such as GB
    territorial_scope = "CODES",
    /// The reasons in words
    explanation = "TEXT",
    /// The language in which the content was reviewed
    language_reviewed = "LANGUAGE",
    /// What brought about a later version: challenge, owner-complaint, court, scrutiny, own-motion, clause-change, clerical-error
    cause = "CAUSE",
    /// The reference of the cause
    cause_reference = "TEXT",
    /// How many items were closed, with partially-closed
    items_closed = "N",
    /// How many items there were
    items_total = "N",
    /// Until when it is suspended, with suspended-until
    suspended_until = "TIME",
    /// The referral that it repeats
    duplicate_of = "REFERRAL",
    /// What whoever posted the content can do against it: internal-complaint, out-of-court, judicial
    redress = "KINDS",
    /// Whether they are told: notified, due, suppressed, exempt
    notification = "STATUS",
    /// Why they need not be told, with exempt: contact-unknown, deceptive-high-volume, order
    notification_exemption = "WHY",
    /// Until when they must not be told, with suppressed
    suppressed_until = "TIME",
    /// The version that is believed to be the latest, 0 for none
    expected_version = "N",
}

impl Decision {
    /// The decision on a case as the platform takes it.
    pub(super) fn item(&self, session: &Session, case: &str) -> Result<BatchDecisionItem> {
        let mut words = self.words();
        words.insert("case", case);
        let get = |column: &str| words.get(column).copied().unwrap_or_default();
        row::item(session.organisation(), &get).map_err(|refusal| Failure::Usage(refusal.message))
    }
}

impl Decide {
    pub(crate) async fn run(self) -> Result<()> {
        let session = self.write.connection.open(None).await?;
        if session.organisation().kind() != OrganisationKind::Platform {
            return Err(Failure::Usage(
                "a platform decides: act as one, such as --as platforms/harbourbook".to_owned(),
            ));
        }
        match &self.file {
            Some(file) => many(&session, file, self.delimiter).await,
            None => self.one(&session).await,
        }
    }

    async fn one(&self, session: &Session) -> Result<()> {
        let item = self.decision.item(session, self.case.as_deref().unwrap_or_default())?;
        let request = RecordDecisionRequest {
            parent: item.case,
            decision: item.decision,
            expected_version: item.expected_version,
            request_id: new_request_id(self.write.request_id),
        };
        let reply = call!(session, decisions, record_decision, request)?;
        if self.write.json {
            say!("{}", json::line(&reply, "portreeve.decision.v1.RecordDecisionResponse")?)?;
            return Ok(());
        }
        say!("decided: {}", reply.decision.unwrap_or_default().name)?;
        written(&reply.revision, reply.replayed)?;
        Ok(())
    }
}

async fn many(session: &Session, file: &Path, delimiter: u8) -> Result<()> {
    let mut sheet = Sheet::open(file, delimiter, row::COLUMNS)?;
    let header = sheet.header().clone();
    let mut rejects = Rejects::beside(file, &header, delimiter)?;
    let bar = ProgressBar::new(std::fs::metadata(file).map_or(0, |file| file.len()));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    let (mut recorded, mut replayed) = (0_u64, 0_u64);
    let mut batch = Vec::new();
    loop {
        let row = sheet.next()?;
        let last = row.is_none();
        if let Some(row) = row {
            match row::row(session.organisation(), &header, &row) {
                Ok(item) => batch.push((row, item)),
                Err(refusal) => rejects.write(&row, &refusal)?,
            }
        }
        if batch.len() >= limits::BATCH_DECISIONS_MAX || (last && !batch.is_empty()) {
            let (rows, items): (Vec<_>, Vec<BatchDecisionItem>) = std::mem::take(&mut batch).into_iter().unzip();
            let request = BatchRecordDecisionsRequest { parent: session.organisation().to_string(), items };
            let answer = call!(session, decisions, batch_record_decisions, request);
            if answer.is_err() {
                rejects.finish()?;
            }
            for (row, result) in rows.iter().zip(answer?.results) {
                match result.result {
                    Some(batch_decision_result::Result::Recorded(was)) if was.replayed => replayed += 1,
                    Some(batch_decision_result::Result::Recorded(_)) => recorded += 1,
                    Some(batch_decision_result::Result::Error(error)) => {
                        rejects.write(row, &Refusal::answered(&error, row::column))?;
                    }
                    None => return Err(Failure::Failed("the server gave a result without an outcome".to_owned())),
                }
            }
            bar.set_position(sheet.bytes_read());
            bar.set_message(format!("{recorded} recorded, {replayed} already there, {} refused", rejects.count()));
        }
        if last {
            break;
        }
    }
    bar.finish_and_clear();
    rejects.finish()?;
    let shown = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
    say!(
        "{} rows: {} recorded, {} already there, {} refused",
        shown(recorded + replayed + rejects.count()),
        shown(recorded),
        shown(replayed),
        shown(rejects.count())
    )?;
    if rejects.count() > 0 {
        return Err(Failure::Failed(format!(
            "{} rows were refused\n  what to do: {} says why for each; correct them there and give in that file",
            shown(rejects.count()),
            rejects.path().display()
        )));
    }
    Ok(())
}
