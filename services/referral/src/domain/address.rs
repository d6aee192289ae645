//! The platforms' rules of addresses, and what comes of them.

use std::sync::Arc;

use portreeve_core::canonical::{BASE_VERSION, RuleSet};
use portreeve_core::id::Uuid;
use portreeve_core::name::OrganisationKind;
use portreeve_core::vocabulary::FieldGroup;
use portreeve_core::{Error, Reason, Result, Timestamp};

use super::ledger::{Event, State};
use super::referral::{Referral, Said};

/// A platform's rules of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// The platform.
    pub platform: String,
    /// 1, 2, 3 and so on; 0 while none were set.
    pub version: u32,
    /// The version of the rules for every platform, when these were set.
    pub base_version: u32,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// When they were set.
    pub updated_at: Timestamp,
    /// The position of the event that set them; 0 while none did. Their etag.
    pub updated: i64,
    /// The position up to which referrals were put in the form of these rules. What came after they were set has it.
    pub swept: i64,
}

/// That a platform's referrals were put in the form of its rules, up to a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSweep {
    /// The platform.
    pub platform: String,
    /// The version of the rules.
    pub version: u32,
    /// The position.
    pub through: i64,
    /// When.
    pub at: Timestamp,
}

impl State {
    /// What is said, with its address in the canonical form of now.
    pub(crate) fn addressed(&self, said: &Arc<Said>) -> Arc<Said> {
        let location = match self.rules.get(&said.platform) {
            Some(of) => said.target.location.under(&of.rules, of.version),
            None => said.target.location.under(&RuleSet::default(), 0),
        };
        let mut said = Arc::clone(said);
        Arc::make_mut(&mut said).target.location = location;
        said
    }

    pub(super) fn set_address_rules(
        &self,
        platform: &str,
        rules: &Arc<RuleSet>,
        etag: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let organisation = self.organisation(OrganisationKind::Platform, platform)?;
        let new = || AddressRules { platform: platform.to_owned(), ..AddressRules::default() };
        let known = self.rules.get(platform).cloned().unwrap_or_else(new);
        if let Some(etag) = etag.filter(|etag| *etag != known.updated) {
            let message = format!("the rules of addresses of platforms/{platform} have changed since they were read");
            return Err(Error::new(Reason::StaleVersion, message)
                .with("name", format!("platforms/{platform}/addressRules"))
                .with("expected", etag)
                .with("actual", known.updated));
        }
        let is_own = |host: &str| {
            let above =
                |own: &String| host.strip_suffix(own.as_str()).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
            organisation.hosts.iter().any(above)
        };
        let others = rules.hosts().into_iter().filter(|(_, host)| !is_own(host)).collect::<Vec<_>>();
        if let Some((_, host)) = others.first() {
            let message = format!("the host {host} does not route to platforms/{platform}");
            let refused = Error::new(Reason::UrlOfAnotherPlatform, message)
                .with("host", host)
                .with("platform", format!("platforms/{platform}"));
            return Err(others.iter().fold(refused, |refused, (field, _)| {
                refused.at(format!("rules.{field}"), "must be a host that routes to the platform")
            }));
        }
        // Said again they are a version all the same once the rules for every platform have changed.
        if known.rules == *rules && (known.base_version == BASE_VERSION || known.version == 0) {
            return Ok(Vec::new());
        }
        Ok(vec![Event::AddressRulesChanged(Box::new(AddressRules {
            version: known.version + 1,
            base_version: BASE_VERSION,
            rules: Arc::clone(rules),
            updated_at: now,
            ..known
        }))])
    }

    /// Puts referrals in the form of their platform's rules, and says up to which position that was done. Another replica may
    /// have done it, and others may have set other rules, meanwhile: then there is nothing to do.
    pub(super) fn readdress(&self, sweep: &AddressSweep, ids: &[Uuid], now: Timestamp) -> Vec<Event> {
        let known = self.rules.get(&sweep.platform);
        let Some(of) = known.filter(|of| of.version == sweep.version && of.swept < sweep.through) else {
            return Vec::new();
        };
        let left = ids
            .iter()
            .filter_map(|id| self.referrals.get(id))
            .filter(|referral| referral.platform == sweep.platform && !referral.is_erased(FieldGroup::Target));
        let changed = left.filter_map(|referral| {
            let location = referral.target.location.under(&of.rules, of.version);
            if location.canonical() == referral.target.location.canonical() {
                return None;
            }
            let mut referral = referral.clone();
            Arc::make_mut(&mut referral.said).target.location = location;
            Some(Event::Readdressed { referral: Box::new(referral), at: now })
        });
        let mut events = changed.collect::<Vec<_>>();
        events.push(Event::AddressesSwept(AddressSweep { at: now, ..sweep.clone() }));
        events
    }
}

impl Referral {
    /// The key under which what is referred of its target is found; `None` once that was erased.
    pub fn target_key(&self) -> Option<[u8; 16]> {
        let canonical = self.target.location.canonical();
        (!canonical.is_empty()).then(|| portreeve_core::canonical::key(canonical))
    }
}
