//! Who may see what: the one choke point of tenancy, sharing and markings. Unary reads, lists, streams and exports ask it,
//! and nothing else decides.
//!
//! Own rows are a matter of who asks. A partner's rows are shared by an agreement in force at that moment, for a purpose that
//! it allows, up to its ceiling. Grades never reach a platform.

use std::collections::BTreeMap;

use crate::agreement::{Agreement, AgreementName, State};
use crate::principal::Scope;
use crate::vocabulary::{AfterEnd, EvidenceGrade, FieldGroup, Ground, Purpose, Tlp};
use crate::{Date, Error, Principal, Reason, Result, Timestamp};

/// A set of field groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups(u8);

impl Groups {
    /// Every group.
    pub const ALL: Self = Self(u8::MAX);

    /// Whether the group is among them.
    pub const fn has(self, group: FieldGroup) -> bool {
        self.0 & Self::bit(group) != 0
    }

    /// All but one.
    #[must_use]
    pub const fn without(self, group: FieldGroup) -> Self {
        Self(self.0 & !Self::bit(group))
    }

    /// The groups in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The groups in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn bit(group: FieldGroup) -> u8 {
        1 << group.code()
    }
}

impl FromIterator<FieldGroup> for Groups {
    fn from_iter<I: IntoIterator<Item = FieldGroup>>(groups: I) -> Self {
        Self(groups.into_iter().fold(0, |set, group| set | Self::bit(group)))
    }
}

/// What about a row decides who sees it.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'r> {
    /// The agency whose it is.
    pub agency: &'r str,
    /// The platform that it is addressed to.
    pub platform: &'r str,
    /// Its ground, by its number.
    pub ground: i32,
    /// Its marking.
    pub tlp: Tlp,
    /// Whether it is shared with conditions only.
    pub conditions: bool,
    /// When the referral was recorded.
    pub recorded_at: Timestamp,
}

/// What of a row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The field groups shown.
    pub groups: Groups,
    /// The row is shown as it stood before this moment; nothing recorded then or later shows.
    pub before: Option<Timestamp>,
    /// Evidence of this grade and of higher ones is shown, or none.
    pub evidence: Option<EvidenceGrade>,
}

/// What one agency shares with the reader under one agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose rows.
    pub owner: String,
    /// Under which agreements: one, or two for what is shared onward.
    pub under: Vec<AgreementName>,
    /// The grounds shared; empty for every one.
    pub grounds: Vec<Ground>,
    /// The highest marking shared.
    pub tlp_ceiling: Tlp,
    /// Whether rows with conditions are shared.
    pub accepts_conditions: bool,
    /// The field groups shared.
    pub groups: Groups,
    /// Only rows recorded at or after this.
    pub since: Option<Timestamp>,
    /// Kept after an end: only what was recorded before this.
    pub before: Option<Timestamp>,
}

impl Share {
    /// What the share shows of a row.
    pub fn view(&self, marks: &Marks<'_>) -> Option<View> {
        let covered = marks.agency == self.owner
            && marks.tlp <= self.tlp_ceiling
            && (self.accepts_conditions || !marks.conditions)
            && (self.grounds.is_empty() || self.grounds.iter().any(|ground| ground.code() == marks.ground))
            && self.since.is_none_or(|since| marks.recorded_at >= since)
            && self.before.is_none_or(|before| marks.recorded_at < before);
        // No agreement shares evidence: it was captured under an authority that is not the partner's.
        covered.then_some(View { groups: self.groups, before: self.before, evidence: None })
    }

    /// What is left of it under the stricter of its terms and another's.
    fn onward(&self, next: &Self) -> Option<Self> {
        let grounds = match (self.grounds.as_slice(), next.grounds.as_slice()) {
            ([], all) | (all, []) => all.to_vec(),
            (some, other) => {
                let both = some.iter().copied().filter(|ground| other.contains(ground)).collect::<Vec<_>>();
                if both.is_empty() {
                    return None;
                }
                both
            }
        };
        Some(Self {
            owner: self.owner.clone(),
            under: [self.under.as_slice(), next.under.as_slice()].concat(),
            grounds,
            tlp_ceiling: self.tlp_ceiling.min(next.tlp_ceiling),
            accepts_conditions: self.accepts_conditions && next.accepts_conditions,
            groups: self.groups.and(next.groups),
            since: self.since.max(next.since),
            before: None,
        })
    }
}

/// What a report would count of agencies.
#[derive(Clone, Copy, Debug)]
pub struct Count<'c> {
    /// Whose referrals.
    pub agencies: &'c [String],
    /// For which grounds, by their numbers; empty for every one.
    pub grounds: &'c [i64],
    /// The first day of which the referrals are.
    pub from: Date,
    /// The day at whose end the knowledge is looked at; `None` for all that is known.
    pub known_at: Option<Date>,
}

/// Why a share does not cover a count: the field of its definition, and what it would have to be.
type Beyond = (&'static str, String);

impl Share {
    /// Where the count of one ground (of every one, if none is named) goes beyond the share. A count holds no content: no marking
    /// limits it. What it counts is told apart by days alone: only whole days that the share covers are counted.
    fn beyond(&self, ground: Option<i64>, count: &Count<'_>) -> Vec<Beyond> {
        // The last is the reader's own; what is shared onward rests on one of others, too.
        let under = self.under.last().map(ToString::to_string).unwrap_or_default();
        let owner = &self.owner;
        let mut beyond = Vec::new();
        let shared = |ground: i64| self.grounds.iter().any(|shared| i64::from(shared.code()) == ground);
        if !self.grounds.is_empty() && !ground.is_some_and(shared) {
            let says =
                format!("must name grounds of which {under} shares the figures of agencies/{owner}, and no others");
            beyond.push(("definition.filter.grounds", says));
        }
        if let Some(since) = self.since.filter(|since| count.from.start() < *since) {
            let says =
                format!("of agencies/{owner}, {under} shares what was recorded from {since} on: must be a later day");
            beyond.push(("definition.cohort_from_date", says));
        }
        if let Some(before) = self.before.filter(|before| count.known_at.is_none_or(|day| day.end() >= *before)) {
            let says =
                format!("of agencies/{owner}, {under} keeps what was recorded before {before}: must be an earlier day");
            beyond.push(("definition.known_at_date", says));
        }
        beyond
    }
}

/// Who reads, and what is shared with them at a moment.
#[derive(Clone, Debug)]
pub struct Reader {
    principal: Principal,
    scope: Scope,
    shares: Vec<Share>,
    /// Where the agreements stand that share now or did once, and when those stopped that no longer do.
    standings: BTreeMap<AgreementName, (State, Option<Timestamp>)>,
    next_change: Option<Timestamp>,
}

impl Reader {
    /// A reader of their own rows alone.
    pub fn own(principal: Principal) -> Self {
        let scope = principal.scope();
        Self { principal, scope, shares: Vec::new(), standings: BTreeMap::new(), next_change: None }
    }

    /// A reader who asks for the rows of one agency, or of every one that they may see.
    ///
    /// `agreements` are those of the reader's organisation and of its partners. Refuses what would be answered with less
    /// than was asked for: an answer that left rows out in silence would be a lie.
    pub fn new(
        principal: Principal,
        asked: Option<&str>,
        purpose: Option<Purpose>,
        agreements: &[Agreement],
        now: Timestamp,
    ) -> Result<Self> {
        let scope = principal.scope();
        let own = match &scope {
            Scope::Nothing => return Err(principal.denied()),
            Scope::All | Scope::Platform(_) => return Ok(Self::own(principal)),
            Scope::Agency(own) => own.clone(),
        };
        if asked == Some(own.as_str()) {
            return Ok(Self::own(principal));
        }
        let wanted = |share: &Share| asked.is_none_or(|agency| share.owner == agency);
        let shares =
            |purpose| -> Vec<Share> { shares(&own, purpose, agreements, now).into_iter().filter(wanted).collect() };
        let found = purpose.map(|purpose| shares(Some(purpose))).unwrap_or_default();
        if found.is_empty() {
            let allowed = shares(None);
            if !allowed.is_empty() && (asked.is_some() || purpose.is_none()) {
                return Err(purpose_required(&own, agreements, &allowed));
            }
            if let Some(partner) = asked {
                return Err(lapsed_with(&own, partner, agreements, now).unwrap_or_else(|| principal.denied()));
            }
        }
        Ok(Self::with(principal, found, agreements, now))
    }

    /// A reader who asks for figures of agencies. Those of partners are counted only where they are named, so that a report
    /// stays what its definition says, whatever is agreed later; and only whole: refuses a count of which an agreement covers
    /// a part, with all that goes beyond it. `relied` is what the figures have rested on so far, which must still stand.
    pub fn of_figures(
        principal: Principal,
        count: &Count<'_>,
        purpose: Option<Purpose>,
        agreements: &[Agreement],
        relied: Option<&Self>,
        now: Timestamp,
    ) -> Result<Self> {
        let Scope::Agency(own) = principal.scope() else { return Ok(Self::own(principal)) };
        if let Some(relied) = relied {
            Self::with(principal.clone(), Vec::new(), agreements, now).still(relied)?;
        }
        let of = |partner: &str, purpose| -> Vec<Share> {
            let all = self::shares(&own, purpose, agreements, now).into_iter();
            all.filter(|share| share.owner == partner && share.groups.has(FieldGroup::Figures)).collect()
        };
        let (mut shares, mut beyond) = (Vec::<Share>::new(), Vec::<Beyond>::new());
        for partner in count.agencies.iter().filter(|agency| **agency != own) {
            let found = purpose.map(|purpose| of(partner, Some(purpose))).unwrap_or_default();
            if found.is_empty() {
                let allowed = of(partner, None);
                if !allowed.is_empty() {
                    return Err(purpose_required(&own, agreements, &allowed));
                }
                let shared = agreements.iter().filter(|it| it.terms.field_groups.contains(&FieldGroup::Figures));
                let shared = shared.cloned().collect::<Vec<_>>();
                return Err(lapsed_with(&own, partner, &shared, now).unwrap_or_else(|| principal.denied()));
            }
            let every = [None];
            let named = count.grounds.iter().copied().map(Some).collect::<Vec<_>>();
            for ground in if named.is_empty() { &every[..] } else { &named } {
                match found.iter().find(|share| share.beyond(*ground, count).is_empty()) {
                    Some(share) => shares.push(share.clone()),
                    None => beyond.extend(found.iter().flat_map(|share| share.beyond(*ground, count))),
                }
            }
        }
        if !beyond.is_empty() {
            beyond.sort();
            beyond.dedup();
            let refused = Error::new(Reason::AgreementExceeded, "the report asks for more than the agreements share");
            return Err(beyond.into_iter().fold(refused, |refused, (field, says)| refused.at(field, says)));
        }
        Ok(Self::with(principal, shares, agreements, now))
    }

    fn with(principal: Principal, shares: Vec<Share>, agreements: &[Agreement], now: Timestamp) -> Self {
        let concerned = agreements.iter().filter(|agreement| agreement.begins_at().is_some());
        let standings = concerned
            .clone()
            .map(|agreement| (agreement.name, (agreement.state(now), agreement.stopped_at(now))))
            .collect();
        let next_change = concerned.filter_map(|agreement| agreement.next_change(now)).min();
        Self { scope: principal.scope(), principal, shares, standings, next_change }
    }

    /// Who reads.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The reader's own rows.
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What partners share with the reader.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// When time alone next changes what the reader sees.
    pub const fn next_change(&self) -> Option<Timestamp> {
        self.next_change
    }

    /// What the reader sees of a row; `None` if nothing.
    pub fn view(&self, marks: &Marks<'_>) -> Option<View> {
        if self.scope.allows(marks.agency, marks.platform) {
            let (groups, evidence) = match self.scope {
                // Intelligence grades never leave the agencies' side.
                Scope::Platform(_) => (Groups::ALL.without(FieldGroup::Grade), EvidenceGrade::Platform),
                Scope::Agency(_) => (Groups::ALL, EvidenceGrade::AgencyOnly),
                // What the suite's own services do not have, they cannot show.
                Scope::All | Scope::Nothing => (Groups::ALL, EvidenceGrade::Platform),
            };
            return Some(View { groups, before: None, evidence: Some(evidence) });
        }
        // What is shared now goes before what was kept from then; several shares of one row add up.
        self.shares.iter().filter_map(|share| share.view(marks)).reduce(|one, other| {
            let groups = one.groups.or(other.groups);
            match (one.before, other.before) {
                (None, None) => View { groups, before: None, evidence: None },
                (None, Some(_)) => one,
                (Some(_), None) => other,
                (Some(a), Some(b)) if a == b => View { groups, before: Some(a), evidence: None },
                (Some(a), Some(b)) => {
                    if a > b {
                        one
                    } else {
                        other
                    }
                }
            }
        })
    }

    /// Refuses to go on once an agreement under which the reader was shown something is no longer in force.
    pub fn still(&self, before: &Self) -> Result<()> {
        let relied = before.shares.iter().filter(|share| share.before.is_none()).flat_map(|share| &share.under);
        for name in relied {
            match self.standings.get(name) {
                Some((state, _)) if state.in_force() => {}
                Some((state, stopped)) => return Err(lapsed(*name, *state, *stopped)),
                None => return Err(lapsed(*name, State::Terminated, None)),
            }
        }
        Ok(())
    }
}

/// What partners share with an agency at a moment, for a purpose (for any, if none is named).
fn shares(own: &str, purpose: Option<Purpose>, agreements: &[Agreement], now: Timestamp) -> Vec<Share> {
    let mine = agreements.iter().filter(|agreement| agreement.has_party(own));
    let mut shares = Vec::new();
    for agreement in mine {
        let partners = agreement.terms.parties.iter().filter(|party| *party != own);
        for partner in partners {
            let Some(share) = share(agreement, partner, own, purpose, agreements, now) else { continue };
            if share.before.is_none() {
                // One step further: what the partner received under another agreement that permits it.
                for other in agreements.iter().filter(|other| {
                    other.name != agreement.name
                        && other.terms.onward_permitted
                        && other.has_party(partner)
                        && !other.has_party(own)
                }) {
                    for owner in other.terms.parties.iter().filter(|owner| *owner != partner && *owner != own) {
                        let first = self::share(other, owner, partner, purpose, agreements, now);
                        let first = first.filter(|first| first.before.is_none());
                        let onward = first.and_then(|first| first.onward(&share));
                        // Others' agreements never bring back what the owner's own put out of this reader's reach.
                        let deleted = deleted(owner, own, agreements, now);
                        shares.extend(onward.map(|onward| Share { since: onward.since.max(deleted), ..onward }));
                    }
                }
            }
            shares.push(share);
        }
    }
    shares
}

/// What an agency shares with a partner under an agreement of theirs.
fn share(
    agreement: &Agreement,
    owner: &str,
    reader: &str,
    purpose: Option<Purpose>,
    agreements: &[Agreement],
    now: Timestamp,
) -> Option<Share> {
    let terms = &agreement.terms;
    if purpose.is_some_and(|purpose| !terms.purposes.contains(&purpose)) {
        return None;
    }
    let state = agreement.state(now);
    let before = if state.in_force() {
        None
    } else if state.is_final() && terms.after_end == AfterEnd::Keep {
        Some(agreement.stopped_at(now)?)
    } else {
        return None;
    };
    Some(Share {
        owner: owner.to_owned(),
        under: vec![agreement.name],
        grounds: terms.grounds.clone(),
        tlp_ceiling: terms.tlp_ceiling,
        accepts_conditions: terms.accepts_conditions,
        groups: terms.field_groups.iter().copied().collect(),
        // What was put out of reach comes back only where an agreement of the two says so.
        since: terms.shared_since.or_else(|| deleted(owner, reader, agreements, now)),
        before,
    })
}

/// Before when an owner's rows are out of a reader's reach, since an agreement of theirs ended that says so.
fn deleted(owner: &str, reader: &str, agreements: &[Agreement], now: Timestamp) -> Option<Timestamp> {
    let ended = agreements.iter().filter(|agreement| {
        agreement.terms.after_end == AfterEnd::Delete
            && agreement.has_party(owner)
            && agreement.has_party(reader)
            && agreement.state(now).is_final()
    });
    ended.filter_map(|agreement| agreement.stopped_at(now)).max()
}

fn purpose_required(own: &str, agreements: &[Agreement], shares: &[Share]) -> Error {
    let under = |agreement: &&Agreement| shares.iter().any(|share| share.under.contains(&agreement.name));
    let mut purposes =
        agreements.iter().filter(under).flat_map(|agreement| &agreement.terms.purposes).copied().collect::<Vec<_>>();
    purposes.sort_unstable();
    purposes.dedup();
    let purposes = purposes.into_iter().map(Purpose::name).collect::<Vec<_>>().join(",");
    let message = format!(
        "a partner's data is read for a purpose that the agreement allows; send it as metadata, portreeve-purpose: one of \
         {purposes}, or ask for agencies/{own} alone"
    );
    Error::new(Reason::PurposeRequired, message).with("purposes", purposes)
}

/// Why a former partner's rows are not shown, if there was an agreement with it.
fn lapsed_with(own: &str, partner: &str, agreements: &[Agreement], now: Timestamp) -> Option<Error> {
    let between = agreements.iter().filter(|agreement| agreement.has_party(own) && agreement.has_party(partner));
    let stopped = between.filter_map(|agreement| Some((agreement.stopped_at(now)?, agreement)));
    let (at, agreement) = stopped.max_by_key(|(at, agreement)| (*at, agreement.name))?;
    Some(lapsed(agreement.name, agreement.state(now), Some(at)))
}

fn lapsed(name: AgreementName, state: State, stopped: Option<Timestamp>) -> Error {
    let when = stopped.map_or_else(String::new, |at| format!(" since {at}"));
    let error = Error::new(
        Reason::AgreementLapsed,
        format!("{name} is {}{when}: what was shared under it is no longer shown", state.name()),
    )
    .with("agreement", name)
    .with("state", state.name());
    match stopped {
        Some(at) => error.with("ended_at", at),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::tests::{agreement, at};
    use crate::agreement::{Notice, Suspension};

    const PURPOSE: Option<Purpose> = Some(Purpose::Investigation);

    fn agency(id: &str) -> Principal {
        Principal::new(format!("agencies/{id}").parse().unwrap(), "", &[]).unwrap()
    }

    fn row(agency: &str, seconds: i64) -> Marks<'_> {
        let ground = Ground::ShamMarriage.code();
        Marks { agency, platform: "hb", ground, tlp: Tlp::Amber, conditions: false, recorded_at: at(seconds) }
    }

    fn reads(who: &str, agreements: &[Agreement], now: i64, row: &Marks<'_>) -> Option<View> {
        Reader::new(agency(who), None, PURPOSE, agreements, at(now)).unwrap().view(row)
    }

    #[test]
    fn a_partner_reads_while_the_agreement_is_in_force_and_nobody_else_does() {
        let all = [agreement(1, &["bka", "nca"])];
        for (now, seen) in [(9, false), (10, true), (99, true), (100, false)] {
            assert_eq!(reads("nca", &all, now, &row("bka", 5)).is_some(), seen, "{now}");
        }
        assert!(reads("fra", &all, 50, &row("bka", 5)).is_none());
        let view = reads("nca", &all, 50, &row("bka", 5)).unwrap();
        assert!(view.groups.has(FieldGroup::Target) && !view.groups.has(FieldGroup::Reasons));
        assert_eq!(reads("nca", &all, 500, &row("nca", 5)).unwrap().groups, Groups::ALL);
    }

    #[test]
    fn a_platform_never_sees_grades_and_others_see_no_row() {
        let platform = Reader::own(Principal::new("platforms/hb".parse().unwrap(), "", &[]).unwrap());
        let view = platform.view(&row("bka", 5)).unwrap();
        assert!(view.groups.has(FieldGroup::Reasons) && !view.groups.has(FieldGroup::Grade));
        let oversight = Principal::new("oversightBodies/hac".parse().unwrap(), "", &[]).unwrap();
        assert_eq!(Reader::new(oversight, None, None, &[], at(0)).unwrap_err().reason(), Reason::PermissionDenied);
    }

    #[test]
    fn terms_narrow_what_is_shared() {
        let mut of = agreement(1, &["bka", "nca"]);
        let base = row("bka", 50);
        let seen = |of: &Agreement, row: &Marks<'_>| reads("nca", std::slice::from_ref(of), 60, row).is_some();
        assert!(seen(&of, &base));
        of.terms.tlp_ceiling = Tlp::Green;
        assert!(!seen(&of, &base) && seen(&of, &Marks { tlp: Tlp::Green, ..base }));
        of.terms.tlp_ceiling = Tlp::AmberStrict;
        assert!(!seen(&of, &Marks { tlp: Tlp::Red, ..base }));
        assert!(!seen(&of, &Marks { conditions: true, ..base }));
        of.terms.accepts_conditions = true;
        assert!(seen(&of, &Marks { conditions: true, ..base }));
        of.terms.grounds = vec![Ground::ForgedDocuments];
        assert!(!seen(&of, &base) && seen(&of, &Marks { ground: Ground::ForgedDocuments.code(), ..base }));
        of.terms.grounds.clear();
        of.terms.shared_since = Some(at(51));
        assert!(!seen(&of, &base) && seen(&of, &Marks { recorded_at: at(51), ..base }));
    }

    #[test]
    fn what_is_left_after_the_end_is_what_was_agreed() {
        let mut of = agreement(1, &["bka", "nca"]);
        of.terms.after_end = AfterEnd::Keep;
        let kept = std::slice::from_ref(&of);
        assert_eq!(reads("nca", kept, 100, &row("bka", 99)).unwrap().before, Some(at(100)));
        assert!(reads("nca", kept, 200, &row("bka", 100)).is_none());
        // Suspended until its end, it kept what there was before.
        let mut suspended = of.clone();
        suspended.suspensions.push(Suspension { party: "bka".into(), reason: "r".into(), from: at(50), until: None });
        let suspended = [suspended];
        assert!(reads("nca", &suspended, 60, &row("bka", 20)).is_none());
        assert!(reads("nca", &suspended, 100, &row("bka", 20)).is_some());
        assert!(reads("nca", &suspended, 100, &row("bka", 50)).is_none());
        // Deleted, it does not come back with another agreement unless that says so.
        let mut deleted = agreement(1, &["bka", "nca"]);
        deleted.terms.after_end = AfterEnd::Delete;
        let mut next = agreement(2, &["bka", "nca"]);
        (next.terms.start, next.terms.end) = (at(100), at(900));
        let both = [deleted.clone(), next.clone()];
        assert!(reads("nca", &both, 150, &row("bka", 99)).is_none());
        assert!(reads("nca", &both, 150, &row("bka", 100)).is_some());
        next.terms.shared_since = Some(at(50));
        assert!(reads("nca", &[deleted, next], 150, &row("bka", 99)).is_some());
    }

    #[test]
    fn onward_sharing_is_denied_unless_permitted_and_goes_one_step_under_the_stricter_terms() {
        let mut first = agreement(1, &["bka", "nca"]);
        let mut second = agreement(2, &["fra", "nca"]);
        let third = agreement(3, &["esp", "fra"]);
        let all = |first: &Agreement, second: &Agreement| [first.clone(), second.clone(), third.clone()];
        assert!(reads("fra", &all(&first, &second), 50, &row("bka", 20)).is_none());
        first.terms.onward_permitted = true;
        first.terms.field_groups = vec![FieldGroup::Target, FieldGroup::Reasons];
        second.terms.field_groups = vec![FieldGroup::Target, FieldGroup::Grade];
        second.terms.tlp_ceiling = Tlp::Amber;
        let view = reads("fra", &all(&first, &second), 50, &row("bka", 20)).unwrap();
        assert_eq!(view.groups, [FieldGroup::Target].into_iter().collect());
        let strict = Marks { tlp: Tlp::AmberStrict, ..row("bka", 20) };
        assert!(reads("fra", &all(&first, &second), 50, &strict).is_none());
        // One step, not two.
        second.terms.onward_permitted = true;
        assert!(reads("esp", &all(&first, &second), 50, &row("bka", 20)).is_none());
        assert!(reads("esp", &all(&first, &second), 50, &row("nca", 20)).is_some());
        // Either end ends it.
        first.notice = Some(Notice { party: "bka".into(), reason: "r".into(), given_at: at(40), ends_at: at(40) });
        assert!(reads("fra", &all(&first, &second), 50, &row("bka", 20)).is_none());
    }

    #[test]
    fn what_was_put_out_of_reach_does_not_come_back_by_way_of_a_third() {
        let mut deleted = agreement(1, &["bka", "nca"]);
        deleted.terms.after_end = AfterEnd::Delete;
        let mut first = agreement(2, &["bka", "fra"]);
        first.terms.onward_permitted = true;
        first.terms.shared_since = Some(at(0));
        let second = agreement(3, &["fra", "nca"]);
        let mut all = [deleted, first, second];
        for of in &mut all[1..] {
            of.terms.end = at(900);
        }
        // While all are in force both ways show it; afterwards only what came later comes onward.
        assert!(reads("nca", &all, 50, &row("bka", 20)).is_some());
        assert!(reads("nca", &all, 150, &row("bka", 20)).is_none());
        assert!(reads("nca", &all, 150, &row("bka", 99)).is_none());
        assert!(reads("nca", &all, 150, &row("bka", 100)).is_some());
        // The third still sees what is shared with it.
        assert!(reads("fra", &all, 150, &row("bka", 20)).is_some());
        // An agreement of the two that says so brings it back.
        let mut again = agreement(4, &["bka", "nca"]);
        (again.terms.start, again.terms.end, again.terms.shared_since) = (at(100), at(900), Some(at(10)));
        let all = [all.to_vec(), vec![again]].concat();
        assert!(reads("nca", &all, 150, &row("bka", 20)).is_some());
    }

    #[test]
    fn a_purpose_is_asked_for_wherever_it_would_show_more() {
        let all = [agreement(1, &["bka", "nca"])];
        let new = |asked, purpose, now| Reader::new(agency("nca"), asked, purpose, &all, at(now));
        let refused = new(None, None, 50).unwrap_err();
        assert_eq!(refused.reason(), Reason::PurposeRequired);
        assert!(refused.metadata().contains(&("purposes", "investigation".to_owned())));
        assert_eq!(new(Some("bka"), Some(Purpose::Oversight), 50).unwrap_err().reason(), Reason::PurposeRequired);
        assert!(new(Some("nca"), None, 50).unwrap().shares().is_empty());
        // Without anything shared there is nothing to ask a purpose for.
        assert!(new(None, None, 100).is_ok() && new(None, Some(Purpose::Oversight), 50).is_ok());
        let lapsed = new(Some("bka"), PURPOSE, 100).unwrap_err();
        assert_eq!(lapsed.reason(), Reason::AgreementLapsed);
        assert!(lapsed.metadata().contains(&("ended_at", at(100).to_string())));
        assert_eq!(new(Some("bka"), PURPOSE, 5).unwrap_err().reason(), Reason::PermissionDenied);
        assert_eq!(new(Some("fra"), PURPOSE, 50).unwrap_err().reason(), Reason::PermissionDenied);
    }

    #[test]
    fn a_stream_ends_with_what_it_rested_on() {
        let of = agreement(1, &["bka", "nca"]);
        let reader =
            |of: &Agreement, now| Reader::new(agency("nca"), None, PURPOSE, std::slice::from_ref(of), at(now)).unwrap();
        let opened = reader(&of, 50);
        assert_eq!(opened.next_change(), Some(at(100)));
        assert!(reader(&of, 99).still(&opened).is_ok());
        let over = reader(&of, 100).still(&opened).unwrap_err();
        assert!(over.metadata().contains(&("state", "LAPSED".to_owned())), "{over:?}");
        let mut suspended = of.clone();
        suspended.suspensions.push(Suspension { party: "bka".into(), reason: "r".into(), from: at(60), until: None });
        let over = reader(&suspended, 61).still(&opened).unwrap_err();
        assert!(over.metadata().contains(&("ended_at", at(60).to_string())), "{over:?}");
        // What rested on nothing goes on.
        assert!(reader(&of, 100).still(&reader(&of, 5)).is_ok());
    }
}
