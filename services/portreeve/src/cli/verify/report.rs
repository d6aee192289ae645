//! `portreeve verify report`: do the logs give the figures that were published?

use clap::Args;
use portreeve_api::decision::v1::{CaseChange, ListCaseChangesRequest, list_case_changes_request};
use portreeve_api::referral::v1::{ListReferralChangesRequest, ReferralChange, list_referral_changes_request};
use portreeve_api::reporting::v1::{GetPublicationRequest, Publication};
use portreeve_core::name::OrganisationKind;
use portreeve_core::token::Resume;
use portreeve_reporting::recount::Recount;

use super::verdict::{another_log, other_figures};
use crate::cli::connection::{Reading, Session, call};
use crate::cli::failure::{Failure, Result};
use crate::cli::words::grouped;

/// Changes of one page.
const PAGE: i32 = 1_000;

/// Verify that a published report is what the logs say: count it again, from the same events
///
/// Reads the referral and the decision log up to the positions that the report names, counts anew on this machine, and holds the digest
/// against the published one. For whoever sees every row that was counted: the publisher of its own figures, and a service of the exchange,
/// such as its auditor's, which reads logs that were compacted, too.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  portreeve verify report publications/01890a5d-ac96-774b-bcce-b302099a8057/versions/1 \\\n    \
    --as services/auditor\n\n\
    Ends with 0 if it is, 17 if other figures come out, 18 if a log is not the one from which it was counted."
)]
pub(super) struct Report {
    /// The version, or without /versions/N the newest
    name: String,
    #[command(flatten)]
    reading: Reading,
}

impl Report {
    pub(super) async fn run(self) -> Result<()> {
        let session = self.reading.open().await?;
        let request = GetPublicationRequest { name: self.name, at_least: Vec::new() };
        let reply = call!(session, publications, get_publication, request)?;
        let published = reply.publication.ok_or_else(|| Failure::Failed("the server gave no version".to_owned()))?;
        sees_all(&session, &published)?;
        let mut recount = Recount::default();
        let mut read = 0;
        for log in ["referral", "decision"] {
            let until = Until::of(&published, log);
            read += match log {
                _ if until.position == 0 => 0,
                "referral" => referrals(&session, &until, &mut recount).await?,
                _ => cases(&session, &until, &mut recount).await?,
            };
        }
        let unread = |error: portreeve_core::Error| Failure::Failed(error.message().to_owned());
        let counted = recount.report(&published).map_err(unread)?;
        let counted =
            counted.ok_or_else(|| Failure::Failed("this release cannot read what the report counts".to_owned()))?;
        let shown = published.report.unwrap_or_default();
        let digest = shown.digest;
        if counted.digest != digest {
            // Whoever is no service of the exchange sees a log from where it was compacted.
            let compacted = if session.organisation().kind() == OrganisationKind::Service {
                ""
            } else {
                "; were the logs compacted since, a service of the exchange can still read all of them"
            };
            return Err(other_figures(&format!("published {digest}, counted {}{compacted}", counted.digest)));
        }
        // The digest alone says nothing of what stands beside it.
        if (&counted.rows, &counted.total) != (&shown.rows, &shown.total) {
            return Err(other_figures("the digest is theirs, and the rows beside it are not"));
        }
        say!("{}: {} changes give the digest {digest}, as published", published.name, grouped(read))
    }
}

/// Whoever sees less than was counted would find other figures.
fn sees_all(session: &Session, published: &Publication) -> Result<()> {
    let own = session.organisation();
    match own.kind() {
        OrganisationKind::Service => Ok(()),
        OrganisationKind::Agency | OrganisationKind::Platform if own.to_string() == published.publisher => Ok(()),
        _ => Err(Failure::Usage(format!(
            "{own} does not see every row that {} counts; an agency or a platform that published it does, and a service of the exchange",
            published.name
        ))),
    }
}

/// Up to where a log is read.
struct Until {
    log: &'static str,
    epoch: String,
    position: i64,
}

impl Until {
    fn of(published: &Publication, log: &'static str) -> Self {
        let named = published.positions.iter().find(|of| of.log == log);
        // Of a log that had told nothing yet there is nothing to read.
        let (epoch, position) = named.map_or((String::new(), 0), |of| (of.epoch.clone(), of.position));
        Self { log, epoch, position }
    }

    /// How far a page came, by its resume token; the refusal of a log that is not the one that was counted.
    fn reached(&self, token: &str) -> Result<i64> {
        let foreign = || Failure::Failed("the server gave a token that is none".to_owned());
        let at = Resume::decode(token).map_err(|_| foreign())?.revision;
        if portreeve_core::audit::hex(&at.epoch) != self.epoch {
            return Err(another_log(format!(
                "the {} log is not the one that was counted: it was begun anew",
                self.log
            )));
        }
        Ok(at.position)
    }
}

/// Those changes of a page that count.
fn counted<C>(until: &Until, changes: Vec<C>, at: impl Fn(&C) -> u64) -> Vec<C> {
    let within = |change: &C| i64::try_from(at(change)).is_ok_and(|position| position <= until.position);
    changes.into_iter().filter(within).collect()
}

async fn referrals(session: &Session, until: &Until, recount: &mut Recount) -> Result<i64> {
    use list_referral_changes_request::Start;
    let own = session.organisation();
    let parent = match own.kind() {
        OrganisationKind::Agency => own.to_string(),
        _ => "agencies/-".to_owned(),
    };
    let (mut start, mut read) = (Start::Earliest(true), 0);
    loop {
        let request = ListReferralChangesRequest {
            parent: parent.clone(),
            start: Some(start),
            page_size: PAGE,
            ..ListReferralChangesRequest::default()
        };
        let reply = call!(session, referrals, list_referral_changes, request)?;
        let reached = until.reached(&reply.resume_token)?;
        let changes = counted(until, reply.changes, |change: &ReferralChange| change.position);
        read += i64::try_from(changes.len()).unwrap_or_default();
        recount.referrals(&changes).map_err(|error| Failure::Failed(error.message().to_owned()))?;
        if reached >= until.position || reply.caught_up {
            return Ok(read);
        }
        start = Start::ResumeToken(reply.resume_token);
    }
}

async fn cases(session: &Session, until: &Until, recount: &mut Recount) -> Result<i64> {
    use list_case_changes_request::Start;
    let own = session.organisation();
    let parent = match own.kind() {
        OrganisationKind::Platform => own.to_string(),
        _ => "platforms/-".to_owned(),
    };
    let (mut start, mut read) = (Start::Earliest(true), 0);
    loop {
        let request = ListCaseChangesRequest {
            parent: parent.clone(),
            start: Some(start),
            page_size: PAGE,
            ..ListCaseChangesRequest::default()
        };
        let reply = call!(session, decisions, list_case_changes, request)?;
        let reached = until.reached(&reply.resume_token)?;
        let changes = counted(until, reply.changes, |change: &CaseChange| change.position);
        read += i64::try_from(changes.len()).unwrap_or_default();
        recount.cases(&changes).map_err(|error| Failure::Failed(error.message().to_owned()))?;
        if reached >= until.position || reply.caught_up {
            return Ok(read);
        }
        start = Start::ResumeToken(reply.resume_token);
    }
}
