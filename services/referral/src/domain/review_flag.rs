//! Flags by which oversight asks an agency to review a referral, and the agency's answers.

use portreeve_core::name::{OrganisationKind, ReferralName, ReviewFlagName};
use portreeve_core::vocabulary::ReviewOutcome;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::ledger::{Event, State};
use super::referral::Standing;

/// What the agency answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What came of the review.
    pub outcome: ReviewOutcome,
    /// In words.
    pub text: String,
    /// The referral that was sent in place of the flagged one.
    pub replacement: Option<ReferralName>,
}

/// A flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewFlag {
    /// Its name, which begins with the referral's.
    pub name: ReviewFlagName,
    /// Why the referral should be reviewed.
    pub reasons: String,
    /// The oversight body.
    pub flagged_by: String,
    /// The answer, and when it was recorded.
    pub answer: Option<(Answer, Timestamp)>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// The position of the event that recorded it.
    pub created: i64,
    /// The position of the last event that changed it.
    pub updated: i64,
}

/// What an answer says of the referral: the names of the states in which that is true.
const fn says(outcome: ReviewOutcome) -> (&'static str, &'static str) {
    match outcome {
        ReviewOutcome::Kept => ("KEPT", "SUBMITTED"),
        ReviewOutcome::Withdrawn => ("WITHDRAWN", "WITHDRAWN"),
        ReviewOutcome::Corrected => ("CORRECTED", "WITHDRAWN"),
        ReviewOutcome::NoSuchReferral => ("NO_SUCH_REFERRAL", NONE),
    }
}

/// The state of a referral that does not exist, as an error has it.
const NONE: &str = "NONE";

/// The refusal of a name that is no flag's.
pub fn no_flag(name: &ReviewFlagName) -> Error {
    Error::new(Reason::ReviewFlagNotFound, format!("there is no {name}")).with("name", name)
}

impl State {
    /// Flags a referral, whether or not there is one: who may not know which there are learns nothing.
    pub(super) fn flag(&self, name: &ReviewFlagName, reasons: &str, by: &str, now: Timestamp) -> Result<Vec<Event>> {
        let agency = &name.referral.agency;
        self.organisation(OrganisationKind::Agency, agency)?;
        let open = self.open_flags.get(agency).copied().unwrap_or_default();
        if open >= limits::AGENCY_OPEN_FLAGS_MAX {
            let message = format!("agencies/{agency} has {open} flags to answer, which is the most that it can have");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "open_flags")
                .with("maximum", limits::AGENCY_OPEN_FLAGS_MAX)
                .with("actual", open + 1));
        }
        Ok(vec![Event::FlagChanged(Box::new(ReviewFlag {
            name: name.clone(),
            reasons: reasons.to_owned(),
            flagged_by: by.to_owned(),
            answer: None,
            created_at: now,
            created: 0,
            updated: 0,
        }))])
    }

    pub(super) fn answer_flag(&self, name: &ReviewFlagName, answer: &Answer, now: Timestamp) -> Result<Vec<Event>> {
        let flag = self.flags.get(&name.id).filter(|flag| flag.name == *name).ok_or_else(|| no_flag(name))?;
        let impossible = |from: &str, to: &str, why: String| {
            Error::new(Reason::InvalidTransition, why).with("name", name).with("from", from).with("to", to)
        };
        if let Some((given, _)) = &flag.answer {
            // Said again with the same content, it is done already; with another, the first stands.
            return if given == answer {
                Ok(Vec::new())
            } else {
                Err(impossible("ANSWERED", "ANSWERED", format!("{name} was answered before, and otherwise")))
            };
        }
        let (to, needed) = says(answer.outcome);
        let stands = self.referral(&name.referral).map_or(NONE, |referral| referral.standing.name());
        if stands != needed {
            let why = format!("the referral is {stands}, and the answer {to} would have it {needed}");
            return Err(impossible(stands, to, why));
        }
        if let Some(replacement) = &answer.replacement {
            let sent = self.referral(replacement).filter(|sent| sent.standing == Standing::Submitted);
            if sent.is_none() {
                let message = format!("there is no referral {replacement} that stands in place of the flagged one");
                return Err(Error::new(Reason::ReferralNotFound, message).with("name", replacement));
            }
        }
        let answered = ReviewFlag { answer: Some((answer.clone(), now)), ..flag.clone() };
        Ok(vec![Event::FlagChanged(Box::new(answered))])
    }
}
