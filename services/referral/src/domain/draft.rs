//! Referrals before they are sent: one member writes, another authorises.

use std::sync::Arc;

use portreeve_core::interest::MatchingKey;
use portreeve_core::name::{DraftName, OrganisationKind, ReferralName};
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::authorisation::Sender;
use super::ledger::{Event, State};
use super::referral::{NewReferral, Said};
use super::signing::{Signature, Signed};

/// Where a draft stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftStanding {
    /// Waiting to be authorised.
    Draft {
        /// What is to be referred. Once the draft is final, nothing of it is kept here.
        content: Arc<Said>,
    },
    /// To be sent, and waiting for other agencies to let it go.
    Held {
        /// What is to be referred.
        content: Arc<Said>,
        /// Who authorised it; `None` for what needed nobody to.
        authorised: Option<Authorisation>,
        /// Since when.
        since: Timestamp,
    },
    /// Sent: the referral of the same identifier.
    Authorised {
        /// The member who authorised it; empty for what needed nobody to.
        approver: String,
        /// When.
        at: Timestamp,
    },
    /// Given up.
    Discarded {
        /// When.
        at: Timestamp,
        /// The referral that says the same, if that is why.
        duplicate_of: Option<ReferralName>,
    },
}

impl DraftStanding {
    /// The state's name in the contract.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Draft { .. } => "DRAFT",
            Self::Held { .. } => "HELD",
            Self::Authorised { .. } => "AUTHORISED",
            Self::Discarded { .. } => "DISCARDED",
        }
    }
}

/// That a draft was authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorisation {
    /// The member who did.
    pub approver: String,
    /// When.
    pub at: Timestamp,
}

/// A draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: DraftName,
    /// Where it stands.
    pub standing: DraftStanding,
    /// The members who wrote it, in the order in which they first did.
    pub authors: Vec<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its last change was recorded.
    pub updated_at: Timestamp,
    /// The position of the event that recorded it.
    pub created: i64,
    /// The position of the last event that changed it. Its etag.
    pub updated: i64,
}

impl Draft {
    /// Whether it waits to be authorised.
    pub const fn is_open(&self) -> bool {
        matches!(self.standing, DraftStanding::Draft { .. })
    }

    /// What is to be referred, while that is not decided.
    pub const fn content(&self) -> Option<&Arc<Said>> {
        match &self.standing {
            DraftStanding::Draft { content } | DraftStanding::Held { content, .. } => Some(content),
            DraftStanding::Authorised { .. } | DraftStanding::Discarded { .. } => None,
        }
    }

    /// Whether it waits for other agencies to let it go.
    pub const fn is_held(&self) -> bool {
        matches!(self.standing, DraftStanding::Held { .. })
    }

    /// Whether the member wrote it, or sent it.
    pub(super) fn answers(&self, member: &str) -> bool {
        let sent = match &self.standing {
            DraftStanding::Held { authorised: Some(of), .. } => same_member(&of.approver, member),
            _ => false,
        };
        sent || self.is_by(member)
    }

    /// Whether the member is one of the authors, however their name is spelt: certificates and tokens may differ in case.
    fn is_by(&self, member: &str) -> bool {
        self.authors.iter().any(|author| same_member(author, member))
    }

    fn check_etag(&self, etag: Option<i64>) -> Result<()> {
        let Some(etag) = etag.filter(|etag| *etag != self.updated) else { return Ok(()) };
        Err(Error::new(Reason::StaleVersion, format!("{} has changed since it was read", self.name))
            .with("name", &self.name)
            .with("expected", etag)
            .with("actual", self.updated))
    }

    pub(super) fn impossible(&self, to: &str) -> Error {
        let from = self.standing.name();
        Error::new(Reason::InvalidTransition, format!("{} is {from}, and cannot become {to}", self.name))
            .with("name", &self.name)
            .with("from", from)
            .with("to", to)
    }
}

fn same_member(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

/// The refusal of a name that is no draft's.
pub fn no_draft(name: &DraftName) -> Error {
    Error::new(Reason::DraftNotFound, format!("there is no {name}")).with("name", name)
}

/// That a draft is authorised.
#[derive(Clone, Debug)]
pub struct Authorise {
    /// Which.
    pub name: DraftName,
    /// The version that was read.
    pub etag: i64,
    /// Who authorises it.
    pub approver: String,
    /// What was found there, from which follows what else has to be known; `None` if nothing was.
    pub found: Option<Arc<Said>>,
    /// The agency's signature, if it signs.
    pub signed: Option<Box<Signed>>,
    /// With what other agencies' interests are found; `None` where there are none.
    pub key: Option<MatchingKey>,
}

impl State {
    fn draft(&self, name: &DraftName) -> Result<&Draft> {
        self.drafts.get(&name.id).filter(|draft| draft.name == *name).ok_or_else(|| no_draft(name))
    }

    pub(super) fn create_draft(
        &self,
        name: &DraftName,
        content: &Arc<Said>,
        author: &str,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let agency = &name.agency;
        self.organisation(OrganisationKind::Agency, agency)?;
        let open = self.open_drafts.get(agency).copied().unwrap_or_default();
        if open >= limits::AGENCY_OPEN_DRAFTS_MAX {
            let message =
                format!("agencies/{agency} has {open} drafts to authorise, which is the most that it can have");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "open_drafts")
                .with("maximum", limits::AGENCY_OPEN_DRAFTS_MAX)
                .with("actual", open + 1));
        }
        Ok(vec![Event::DraftChanged(Box::new(Draft {
            name: name.clone(),
            standing: DraftStanding::Draft { content: Arc::clone(content) },
            authors: vec![author.to_owned()],
            created_at: now,
            updated_at: now,
            created: 0,
            updated: 0,
        }))])
    }

    pub(super) fn update_draft(
        &self,
        name: &DraftName,
        content: &Arc<Said>,
        author: &str,
        etag: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let draft = self.draft(name)?;
        let known = draft.content().filter(|_| draft.is_open()).ok_or_else(|| draft.impossible("DRAFT"))?;
        // Said again with the same content, it is done already, and whoever says it has written nothing.
        if known == content {
            return Ok(Vec::new());
        }
        draft.check_etag(etag)?;
        let mut authors = draft.authors.clone();
        if !draft.is_by(author) {
            authors.push(author.to_owned());
        }
        if authors.len() > limits::DRAFT_AUTHORS_MAX {
            let message = format!("{name} has {} authors, which is the most that it can have", authors.len() - 1);
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "draft_authors")
                .with("maximum", limits::DRAFT_AUTHORS_MAX)
                .with("actual", authors.len()));
        }
        let standing = DraftStanding::Draft { content: Arc::clone(content) };
        Ok(vec![Event::DraftChanged(Box::new(Draft { standing, authors, updated_at: now, ..draft.clone() }))])
    }

    /// Authorises a draft and refers what it says, in one.
    pub(super) fn authorise(&self, act: &Authorise, now: Timestamp) -> Result<Vec<Event>> {
        let draft = self.draft(&act.name)?;
        let content = match &draft.standing {
            DraftStanding::Draft { content } => content,
            // Said again by the same member, it is done already.
            DraftStanding::Authorised { approver, .. } if *approver == act.approver => return Ok(Vec::new()),
            DraftStanding::Held { authorised: Some(of), .. } if of.approver == act.approver => return Ok(Vec::new()),
            DraftStanding::Held { .. } | DraftStanding::Authorised { .. } | DraftStanding::Discarded { .. } => {
                return Err(draft.impossible("AUTHORISED"));
            }
        };
        draft.check_etag(Some(act.etag))?;
        // What was loaded, and what was signed, is of what was found.
        if act.found.as_ref() != Some(content) {
            return Err(Error::internal(format!("{} changed and kept its version", act.name)));
        }
        if draft.is_by(&act.approver) {
            let message = format!("{} has written {}, and does not authorise it", act.approver, act.name);
            return Err(Error::new(Reason::DeciderNotImpartial, message).with("measure", &act.name));
        }
        // Whoever is suspended sends nothing under another's name.
        for author in &draft.authors {
            self.check_may_refer(&act.name.agency, author, now)?;
        }
        let signature = act.signed.as_ref().map(|signed| Signature {
            jws: signed.jws.as_str().to_owned(),
            // It occurs as it is authorised, which nobody knows when he signs.
            occurred_at: None,
        });
        let said =
            if signature.is_some() { Arc::new(Said { signature, ..(**content).clone() }) } else { Arc::clone(content) };
        let referral = NewReferral { said, occurred_at: None, signed: act.signed.clone() };
        let sender = Sender { member: &act.approver, history: false, authorised: true };
        let created = self.create(&referral, sender, || "referral".into(), now)?;
        // It was referred meanwhile: nothing is sent, and nothing of the draft is kept.
        if let Some(known) = self.referred(&self.addressed(content)) {
            let standing = DraftStanding::Discarded { at: now, duplicate_of: Some(known.name.clone()) };
            return Ok(vec![Event::DraftChanged(Box::new(Draft { standing, updated_at: now, ..draft.clone() }))]);
        }
        let addressed = self.addressed(&referral.said);
        let hits = self.hits(&addressed, act.key.as_ref(), None, now);
        if !hits.is_empty() {
            let (held, holds) = Self::hold(draft.waiting_authorised(&addressed, &act.approver, now), &hits, now);
            return Ok([vec![held], holds].concat());
        }
        let standing = DraftStanding::Authorised { approver: act.approver.clone(), at: now };
        let authorised = Draft { standing, updated_at: now, ..draft.clone() };
        self.placed(vec![Event::DraftChanged(Box::new(authorised)), created])
    }

    pub(super) fn discard(&self, name: &DraftName, etag: Option<i64>, now: Timestamp) -> Result<Vec<Event>> {
        let draft = self.draft(name)?;
        match &draft.standing {
            DraftStanding::Discarded { .. } => return Ok(Vec::new()),
            DraftStanding::Authorised { .. } => return Err(draft.impossible("DISCARDED")),
            DraftStanding::Draft { .. } | DraftStanding::Held { .. } => draft.check_etag(etag)?,
        }
        let standing = DraftStanding::Discarded { at: now, duplicate_of: None };
        let discarded = Event::DraftChanged(Box::new(Draft { standing, updated_at: now, ..draft.clone() }));
        Ok([vec![discarded], self.withdraw_holds(name, now)].concat())
    }
}

#[cfg(test)]
mod tests;
