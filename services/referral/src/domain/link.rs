//! How referrals stand to one another.

use std::sync::Arc;

use portreeve_core::name::ReferralName;
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::LinkKind;
use portreeve_core::{Error, Reason, Result, Timestamp, limits};

use super::ledger::{Event, State, no_referral};
use super::referral::Said;

/// That a referral stands to another: of its agency, but for the same target in an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// How.
    pub kind: LinkKind,
    /// The other.
    pub referral: ReferralName,
    /// The platform that the other is addressed to; empty until the ledger has found it.
    pub platform: String,
}

impl Link {
    /// Whether a reader sees it who sees the referral of the agency (`owner`) that has it: that agency, the other's, and the platform of both.
    pub fn is_seen(&self, scope: &Scope, owner: &str) -> bool {
        match scope {
            Scope::All => true,
            Scope::Agency(own) => own == owner || *own == self.referral.agency,
            Scope::Platform(own) => *own == self.platform,
            Scope::Nothing => false,
        }
    }
}

impl State {
    /// The links of what is to be referred, with the platforms of the others. All that there are not are named at once.
    pub(super) fn linked(&self, said: &Arc<Said>, field: &impl Fn() -> String) -> Result<Arc<Said>> {
        if said.links.is_empty() {
            return Ok(Arc::clone(said));
        }
        let names = said.links.iter().map(|link| &link.referral);
        let platforms = self.platforms_of(names, |index| format!("{}.links[{index}].referral", field()))?;
        let mut said = Arc::clone(said);
        for (link, platform) in Arc::make_mut(&mut said).links.iter_mut().zip(platforms) {
            link.platform = platform;
        }
        Ok(said)
    }

    /// The platforms that referrals are addressed to.
    fn platforms_of<'n>(
        &self,
        names: impl Iterator<Item = &'n ReferralName>,
        field: impl Fn(usize) -> String,
    ) -> Result<Vec<String>> {
        let (mut platforms, mut missing) = (Vec::new(), None::<Error>);
        for (index, name) in names.enumerate() {
            if let Some(known) = self.referral(name) {
                platforms.push(known.platform.clone());
                continue;
            }
            let refused = missing.take().unwrap_or_else(|| no_referral(name));
            missing = Some(refused.at(field(index), format!("must be a referral of the agency; there is no {name}")));
        }
        missing.map_or(Ok(platforms), Err)
    }

    /// Whether what is to be referred goes on with a referral, or with one that does, and so does not repeat it.
    pub(super) fn goes_on(&self, said: &Said, with: &ReferralName) -> bool {
        let follows = |of: &Said| {
            let links = of.links.iter().filter(|link| link.kind.goes_on());
            links.map(|link| link.referral.clone()).collect::<Vec<_>>()
        };
        follows(said).iter().any(|named| {
            named == with || self.referral(named).is_some_and(|successor| follows(successor).contains(with))
        })
    }

    /// Says that others are of the network of a referral.
    pub(super) fn link(&self, name: &ReferralName, others: &[ReferralName], now: Timestamp) -> Result<Vec<Event>> {
        let referral = self.referral(name).ok_or_else(|| no_referral(name))?;
        let platforms = self.platforms_of(others.iter(), |index| format!("same_network[{index}]"))?;
        let mut links = referral.links.clone();
        for (other, platform) in others.iter().zip(platforms) {
            let link = Link { kind: LinkKind::SameNetwork, referral: other.clone(), platform };
            if !links.contains(&link) {
                links.push(link);
            }
        }
        if links == referral.links {
            return Ok(Vec::new());
        }
        // The ledger's own link takes no place of those that the agency has.
        let said = links.iter().filter(|link| link.kind != LinkKind::SameTarget).count();
        if said > limits::REFERRAL_LINKS_MAX {
            let message = format!("{name} would have {said} links, which is more than it can have");
            return Err(Error::new(Reason::LimitExceeded, message)
                .with("limit", "links")
                .with("maximum", limits::REFERRAL_LINKS_MAX)
                .with("actual", said));
        }
        let mut referral = referral.clone();
        Arc::make_mut(&mut referral.said).links = links;
        Ok(vec![Event::Linked { referral: Box::new(referral), at: now }])
    }
}
