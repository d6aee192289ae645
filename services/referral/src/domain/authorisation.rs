//! What an agency demands of its own referrals before they are sent.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_core::name::OrganisationKind;
use portreeve_core::vocabulary::{Ground, Nature};
use portreeve_core::{Error, Reason, Result, Timestamp};

use super::ledger::{Event, State};
use super::protected_context::not_checked;
use super::referral::NewReferral;

/// What is demanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The grounds whose referrals a second person authorises.
    pub grounds: BTreeSet<Ground>,
    /// The natures of which that is so.
    pub natures: BTreeSet<Nature>,
    /// Whether every referral needs a protected-context check.
    pub check: bool,
}

/// An agency's policy. Each demand has the time since which it holds: what occurred before it may be told as history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorisationPolicy {
    /// The agency.
    pub agency: String,
    /// The grounds.
    pub grounds: BTreeMap<Ground, Timestamp>,
    /// The natures.
    pub natures: BTreeMap<Nature, Timestamp>,
    /// The protected-context check.
    pub check: Option<Timestamp>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The position of the last event that changed it; 0 while there is none. Its etag.
    pub updated: i64,
}

impl AuthorisationPolicy {
    /// What is demanded.
    pub fn demands(&self) -> Demands {
        Demands {
            grounds: self.grounds.keys().copied().collect(),
            natures: self.natures.keys().copied().collect(),
            check: self.check.is_some(),
        }
    }

    /// The policy with other demands; those that stay keep their time.
    fn with(self, demands: &Demands, now: Timestamp) -> Self {
        let since = |known: Option<&Timestamp>| known.copied().unwrap_or(now);
        Self {
            grounds: demands.grounds.iter().map(|ground| (*ground, since(self.grounds.get(ground)))).collect(),
            natures: demands.natures.iter().map(|nature| (*nature, since(self.natures.get(nature)))).collect(),
            check: demands.check.then(|| since(self.check.as_ref())),
            updated_at: now,
            ..self
        }
    }
}

/// Who sends a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender<'s> {
    /// The member; empty if not told.
    pub(super) member: &'s str,
    /// Whether it may tell of what occurred before a demand was made.
    pub(super) history: bool,
    /// Whether a second person has authorised it.
    pub(super) authorised: bool,
}

impl State {
    /// Refuses what the law protects, and what meets less than the agency demands.
    pub(super) fn check_before_sent(
        &self,
        draft: &NewReferral,
        sender: Sender<'_>,
        field: &impl Fn() -> String,
    ) -> Result<()> {
        let said = &draft.said;
        let check = || format!("{}.protected_context", field());
        if let Some(found) = &said.protected_context {
            found.clear(&check())?;
        }
        let policy = self.authorisation.get(&said.name.agency);
        let history = draft.occurred_at.filter(|_| sender.history);
        let holds = |since: &Timestamp| history.is_none_or(|at| at >= *since);
        let demanded = policy.and_then(|policy| policy.check.as_ref()).is_some_and(holds);
        if said.protected_context.is_none() && (demanded || sender.authorised) {
            return Err(not_checked(&check()));
        }
        let Some(policy) = policy.filter(|_| !sender.authorised) else { return Ok(()) };
        let fields = [
            ("ground", policy.grounds.get(&said.ground).is_some_and(holds)),
            ("nature", policy.natures.get(&said.nature).is_some_and(holds)),
        ];
        let mut demanding = fields.into_iter().filter(|(_, demanding)| *demanding).map(|(name, _)| name).peekable();
        if demanding.peek().is_none() {
            return Ok(());
        }
        let agency = format!("agencies/{}", said.name.agency);
        let message = format!("{agency} demands that a second person authorises such a referral: draft it");
        let refused = Error::new(Reason::AuthorisationRequired, message).with("agency", agency);
        Err(demanding.fold(refused, |refused, name| {
            refused.at(format!("{}.{name}", field()), "must be authorised by a second person: draft the referral")
        }))
    }

    pub(super) fn set_authorisation(
        &self,
        agency: &str,
        demands: &Demands,
        etag: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        self.organisation(OrganisationKind::Agency, agency)?;
        let new = || AuthorisationPolicy { agency: agency.to_owned(), ..AuthorisationPolicy::default() };
        let policy = self.authorisation.get(agency).cloned().unwrap_or_else(new);
        if let Some(etag) = etag.filter(|etag| *etag != policy.updated) {
            let message = format!("the authorisation policy of agencies/{agency} has changed since it was read");
            return Err(Error::new(Reason::StaleVersion, message)
                .with("name", format!("agencies/{agency}/authorisationPolicy"))
                .with("expected", etag)
                .with("actual", policy.updated));
        }
        if policy.demands() == *demands {
            return Ok(Vec::new());
        }
        Ok(vec![Event::AuthorisationChanged(Box::new(policy.with(demands, now)))])
    }
}
