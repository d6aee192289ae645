//! What a stream of referrals shows, and to whom.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_api::referral::v1 as wire;
use portreeve_core::access::{Reader, View};
use portreeve_core::agreement::Agreement;
use portreeve_core::name::OrganisationKind;
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::FieldGroup;
use portreeve_core::{Error, Principal, Reason, Result, Timestamp};
use portreeve_runtime::agreements::{Asker, write_agreement};
use portreeve_runtime::watch::{Feed, fitting};
use portreeve_runtime::wire::write_time;
use portreeve_storage::{LogState, StoredEvent};
use wire::referral_change::Change;

use super::address_rules::write_rules;
use super::convert::{conceal, show_referral, write_change, write_organisation, write_signing_profile};
use super::drafts::add_authorisations;
use super::drafts::convert::write_draft;
use super::evidence::convert::write_evidence;
use super::interests::convert as interests;
use super::measures::convert::write_measure;
use super::observations::convert::write_observation;
use super::operations::convert::write_operation;
use super::pre_notices::convert::write_pre_notice;
use super::review_flags::convert::write_flag;
use crate::domain::Event;
use crate::store::{Filter, Query, Reads};

/// The stream of one reader.
pub(super) struct ReferralFeed {
    reads: Arc<dyn Reads>,
    asker: Asker,
    filter: Filter,
    /// Whether changes of organisations and of the reader's agreements are shown: to who asks for everything there is.
    others: bool,
    /// Whether measures against the reader's agency, flags of its referrals, its drafts and its evidence, are shown: to who asks for all of an agency, or for everything.
    measures: bool,
}

impl ReferralFeed {
    /// What the reader may see of what the filter selects.
    pub(super) fn new(reads: Arc<dyn Reads>, asker: Asker, filter: Filter) -> Self {
        let others = filter == Filter::default();
        let measures = Filter { agency: None, ..filter.clone() } == Filter::default();
        Self { reads, asker, filter, others, measures }
    }

    /// The agency whose holds are shown, if any are: the reader's own, to who asks for all of it.
    fn holds<'s>(&self, scope: &'s Scope) -> Option<&'s str> {
        match scope {
            Scope::Agency(own) => self.concerns(scope, own).then_some(own.as_str()),
            Scope::All | Scope::Platform(_) | Scope::Nothing => None,
        }
    }

    /// Whether what an agency tells a platform is the reader's to know, and asked for.
    fn addresses(&self, scope: &Scope, agency: &str, platform: &str) -> bool {
        let asked = self.filter.agency.as_ref().is_none_or(|asked| asked == agency);
        self.measures && asked && scope.allows(agency, platform)
    }

    /// Whether what concerns one agency alone is the reader's to know, and asked for.
    fn concerns(&self, scope: &Scope, agency: &str) -> bool {
        let theirs = match scope {
            Scope::All => true,
            Scope::Agency(own) => own == agency,
            Scope::Platform(_) | Scope::Nothing => false,
        };
        self.measures && theirs && self.filter.agency.as_ref().is_none_or(|asked| asked == agency)
    }
}

impl ReferralFeed {
    /// Whose operations the reader is shown: those of one agency, or all (`Some(None)`) to the suite's own services; none to platforms and
    /// oversight.
    #[expect(clippy::option_option, reason = "all, and none, are two things")]
    fn of_operations<'p>(&self, reader: &'p Principal) -> Option<Option<&'p str>> {
        let asked = self.filter.agency.as_deref();
        match reader.kind() {
            OrganisationKind::Agency => {
                (self.measures && asked.is_none_or(|asked| asked == reader.id())).then(|| Some(reader.id()))
            }
            OrganisationKind::Service => (self.others).then_some(None),
            OrganisationKind::Platform
            | OrganisationKind::Oversight
            | OrganisationKind::Operator
            | OrganisationKind::Researcher => None,
        }
    }
}

/// Whether what has not been sent, or how evidence was come by, is the reader's to know: its agency's own, and not even the
/// suite's.
fn may_see_drafts(scope: &Scope, agency: &str) -> bool {
    matches!(scope, Scope::Agency(own) if own == agency)
}

/// Whose a change is; who takes part is everybody's to know.
pub(super) fn agency(change: &wire::ReferralChange) -> Option<&str> {
    match change.change.as_ref()? {
        Change::Created(referral)
        | Change::Withdrawn(referral)
        | Change::Erased(referral)
        | Change::Readdressed(referral)
        | Change::Linked(referral)
        | Change::Prioritised(referral)
        | Change::NonDisclosureChanged(referral)
        | Change::Snapshot(referral) => Some(referral.name.as_str()),
        Change::MeasureChanged(measure) | Change::MeasureSnapshot(measure) => Some(measure.name.as_str()),
        Change::ReviewFlagChanged(flag) | Change::ReviewFlagSnapshot(flag) => Some(flag.name.as_str()),
        Change::Observed(of) | Change::ObservationSnapshot(of) => Some(of.name.as_str()),
        Change::DraftChanged(draft) | Change::DraftSnapshot(draft) => Some(draft.name.as_str()),
        Change::EvidenceUploaded(of) | Change::EvidenceErased(of) | Change::EvidenceSnapshot(of) => {
            Some(of.name.as_str())
        }
        Change::HoldChanged(hold) | Change::HoldSnapshot(hold) => Some(hold.name.as_str()),
        Change::PreNoticeGiven(notice) | Change::PreNoticeSnapshot(notice) => Some(notice.name.as_str()),
        Change::RetentionPolicyChanged(_)
        | Change::AuthorisationPolicyChanged(_)
        | Change::OrganisationCreated(_)
        | Change::OrganisationUpdated(_)
        | Change::OrganisationSnapshot(_)
        | Change::SigningProfileChanged(_)
        | Change::SigningProfileSnapshot(_)
        | Change::AgreementChanged(_)
        | Change::AgreementSnapshot(_)
        | Change::AddressRulesChanged(_)
        | Change::AddressRulesSnapshot(_)
        | Change::InterestChanged(_)
        | Change::AddressesSwept(_)
        | Change::OperationChanged(_)
        | Change::OperationSnapshot(_) => None,
    }
}

/// The snapshot's keys: organisations by name, then referrals by position, then signing keys by agency, then agreements,
/// measures, flags, drafts, observations and evidence by position, then rules of addresses by platform, then holds, operations and
/// pre-notices by position. The first byte tells which.
const ORGANISATION: u8 = 1;
const REFERRAL: u8 = 2;
const SIGNING: u8 = 3;
const AGREEMENT: u8 = 4;
const MEASURE: u8 = 5;
const FLAG: u8 = 6;
const DRAFT: u8 = 7;
const OBSERVATION: u8 = 8;
const EVIDENCE: u8 = 9;
const ADDRESS_RULES: u8 = 10;
const HOLD: u8 = 11;
const OPERATION: u8 = 12;
const PRE_NOTICE: u8 = 13;

#[async_trait]
impl Feed for ReferralFeed {
    type Change = wire::ReferralChange;

    async fn reader(&self, now: Timestamp) -> Result<Arc<Reader>> {
        self.asker.reader_of_stream(|own| async move { self.reads.agreements_concerning(&own).await }, now).await
    }

    fn change(&self, reader: &Reader, event: &StoredEvent, state: &LogState) -> Result<Option<wire::ReferralChange>> {
        let of_an_agreement = event.platform.is_empty() && !event.agency.is_empty();
        let own = reader.scope().allows(&event.agency, &event.platform);
        if !own && !of_an_agreement && reader.shares().is_empty() {
            return Ok(None);
        }
        let (mut message, of) = write_change(event, state.epoch, reader.principal())?;
        let shown = match &of {
            Event::Created(referral)
            | Event::Withdrawn(referral)
            | Event::Erased(referral)
            | Event::Readdressed { referral, .. }
            | Event::Linked { referral, .. }
            | Event::Prioritised { referral, .. }
            | Event::NonDisclosureChanged { referral, .. } => {
                let view = reader.view(&referral.marks());
                let view = view
                    .filter(|view| self.filter.selects(referral) && self.filter.shows(referral, *view, reader.scope()));
                // Whom none of its links is shown learns nothing of them.
                let owner = &referral.name.agency;
                let linked = |_: &View| referral.links.iter().any(|link| link.is_seen(reader.scope(), owner));
                let view = view.filter(|view| !matches!(of, Event::Linked { .. }) || linked(view));
                // An order is shown with the legal basis.
                let ordered = |view: &View| view.groups.has(FieldGroup::LegalBasis);
                let view = view.filter(|view| !matches!(of, Event::NonDisclosureChanged { .. }) || ordered(view));
                // What was recorded after an end does not show, whatever it is about.
                let view = view.filter(|view| view.before.is_none_or(|before| event.recorded_at < before));
                if let (
                    Some(view),
                    Some(
                        Change::Created(shown)
                        | Change::Withdrawn(shown)
                        | Change::Erased(shown)
                        | Change::Readdressed(shown)
                        | Change::Linked(shown)
                        | Change::Prioritised(shown)
                        | Change::NonDisclosureChanged(shown),
                    ),
                ) = (view, &mut message.change)
                {
                    conceal(shown, view, reader.scope());
                }
                view.is_some()
            }
            // Who takes part is everybody's to know; on what they agree, theirs.
            Event::OrganisationCreated(_)
            | Event::OrganisationUpdated(_)
            | Event::SigningChanged(_)
            | Event::AddressRulesChanged(_)
            | Event::AddressesSwept(_) => self.others,
            Event::RetentionChanged(policy) => self.others && reader.scope().allows(&policy.agency, ""),
            Event::AgreementChanged(agreement) => self.others && may_see(reader.scope(), agreement),
            Event::PreNoticeGiven(notice) => self.addresses(reader.scope(), &notice.name.agency, &notice.platform),
            Event::MeasureChanged(measure) => self.concerns(reader.scope(), &measure.name.agency),
            Event::OperationChanged(operation) => match self.of_operations(reader.principal()) {
                Some(own) => own.is_none_or(|own| operation.names(own)),
                None => false,
            },
            Event::FlagChanged(flag) => self.concerns(reader.scope(), &flag.name.referral.agency),
            Event::Observed(observation) => self.concerns(reader.scope(), &observation.name.referral.agency),
            Event::DraftChanged(draft) => {
                let agency = &draft.name.agency;
                self.concerns(reader.scope(), agency) && may_see_drafts(reader.scope(), agency)
            }
            Event::EvidenceUploaded(evidence) | Event::EvidenceErased(evidence) => {
                let agency = &evidence.name().agency;
                self.concerns(reader.scope(), agency) && may_see_drafts(reader.scope(), agency)
            }
            Event::HoldChanged(hold) => {
                if let Some(Change::HoldChanged(shown)) = &mut message.change {
                    interests::conceal(shown, hold, reader.scope());
                }
                self.holds(reader.scope()).is_some() && interests::may_see(reader.scope(), hold)
            }
            // In what an agency has an interest no stream shows, its own neither.
            Event::InterestChanged(_) => false,
            Event::AuthorisationChanged(policy) => self.others && reader.scope().allows(&policy.agency, ""),
        };
        Ok(shown.then_some(message))
    }

    fn whole(&self) -> bool {
        self.asker.principal().scope() == Scope::All
    }

    async fn snapshot(
        &self,
        reader: &Arc<Reader>,
        at: i64,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, wire::ReferralChange)>> {
        let row = |key: Vec<u8>, position: i64, change| {
            let position = u64::try_from(position).unwrap_or_default();
            (key, wire::ReferralChange { position, change: Some(change), ..wire::ReferralChange::default() })
        };
        let mut rows = Vec::new();
        let place = |kind: u8| match after.split_first() {
            Some((at, position)) if *at == kind => Ok(i64::from_be_bytes(position.try_into().map_err(|_| foreign())?)),
            _ => Ok(0),
        };
        let principal = reader.principal();
        if self.others && after.first().is_none_or(|kind| *kind == ORGANISATION) {
            let name = std::str::from_utf8(after.get(1..).unwrap_or_default()).map_err(|_| foreign())?;
            for organisation in self.reads.organisations(principal, &[], name, Some(at), limit).await? {
                let key = [&[ORGANISATION], organisation.name.to_string().as_bytes()].concat();
                rows.push(row(key, at, Change::OrganisationSnapshot(write_organisation(&organisation))));
            }
        }
        if rows.len() < limit && after.first().is_none_or(|kind| *kind <= REFERRAL) {
            let query = Query {
                filter: self.filter.clone(),
                reader: Arc::clone(reader),
                after: place(REFERRAL)?,
                limit: limit - rows.len(),
                unchanged_since: Some(at),
            };
            let found = self.reads.referrals(&query).await?;
            let mut shown =
                found.iter().map(|(referral, view)| show_referral(referral, *view, reader.scope())).collect::<Vec<_>>();
            add_authorisations(self.reads.as_ref(), principal, &mut shown).await?;
            for ((referral, _), shown) in found.iter().zip(shown) {
                let key = [&[REFERRAL], referral.created.to_be_bytes().as_slice()].concat();
                let (_, mut change) = row(Vec::new(), at, Change::Snapshot(shown));
                change.occurred_at = Some(write_time(referral.occurred_at));
                change.recorded_at = Some(write_time(referral.recorded_at));
                rows.push((key, change));
            }
        }
        if self.others && rows.len() < limit && after.first().is_none_or(|kind| *kind <= SIGNING) {
            let agency = match after.split_first() {
                Some((&SIGNING, agency)) => std::str::from_utf8(agency).map_err(|_| foreign())?,
                _ => "",
            };
            for profile in self.reads.signing_profiles(principal, agency, at, limit - rows.len()).await? {
                let key = [&[SIGNING], profile.agency.as_bytes()].concat();
                rows.push(row(key, at, Change::SigningProfileSnapshot(write_signing_profile(&profile))));
            }
        }
        let agency = match reader.scope() {
            Scope::Agency(own) => Some(Some(own.as_str())),
            Scope::All => Some(None),
            Scope::Platform(_) | Scope::Nothing => None,
        };
        let agreements = self.others && after.first().is_none_or(|kind| *kind <= AGREEMENT);
        if let Some(agency) = agency.filter(|_| agreements && rows.len() < limit) {
            let (from, left) = (place(AGREEMENT)?, limit - rows.len());
            for agreement in self.reads.agreements(principal, agency, from, Some(at), left).await? {
                let key = [&[AGREEMENT], agreement.created.to_be_bytes().as_slice()].concat();
                let shown = write_agreement(&agreement, agreement.updated_at);
                rows.push(row(key, agreement.updated, Change::AgreementSnapshot(shown)));
            }
        }
        // Those of a partner are the partner's to know.
        let agency = agency.map(|own| self.filter.agency.as_deref().or(own));
        let agency = agency.filter(|of| of.is_none_or(|of| self.concerns(reader.scope(), of)) && self.measures);
        let measures = after.first().is_none_or(|kind| *kind <= MEASURE);
        if let Some(agency) = agency.filter(|_| measures && rows.len() < limit) {
            let (from, left) = (place(MEASURE)?, limit - rows.len());
            for measure in self.reads.measures(principal, agency, from, Some(at), left).await? {
                let key = [&[MEASURE], measure.created.to_be_bytes().as_slice()].concat();
                let shown = write_measure(&measure, measure.updated_at);
                rows.push(row(key, measure.updated, Change::MeasureSnapshot(shown)));
            }
        }
        let flags = after.first().is_none_or(|kind| *kind <= FLAG);
        if let Some(agency) = agency.filter(|_| flags && rows.len() < limit) {
            let (from, left) = (place(FLAG)?, limit - rows.len());
            for flag in self.reads.review_flags(principal, agency, 0, from, Some(at), left).await? {
                let key = [&[FLAG], flag.created.to_be_bytes().as_slice()].concat();
                rows.push(row(key, flag.updated, Change::ReviewFlagSnapshot(write_flag(&flag))));
            }
        }
        let own = agency.flatten().filter(|of| may_see_drafts(reader.scope(), of));
        let drafts = after.first().is_none_or(|kind| *kind <= DRAFT);
        if let Some(own) = own.filter(|_| drafts && rows.len() < limit) {
            let (from, left) = (place(DRAFT)?, limit - rows.len());
            for draft in self.reads.drafts(principal, own, 0, from, Some(at), left).await? {
                let key = [&[DRAFT], draft.created.to_be_bytes().as_slice()].concat();
                rows.push(row(key, draft.updated, Change::DraftSnapshot(write_draft(&draft))));
            }
        }
        let observations = after.first().is_none_or(|kind| *kind <= OBSERVATION);
        if let Some(agency) = agency.filter(|_| observations && rows.len() < limit) {
            let (from, left) = (place(OBSERVATION)?, limit - rows.len());
            for observation in self.reads.observations(principal, agency, None, from, Some(at), left).await? {
                let key = [&[OBSERVATION], observation.created.to_be_bytes().as_slice()].concat();
                let shown = Change::ObservationSnapshot(write_observation(&observation));
                rows.push(row(key, observation.created, shown));
            }
        }
        let exhibits = after.first().is_none_or(|kind| *kind <= EVIDENCE);
        if let Some(own) = own.filter(|_| exhibits && rows.len() < limit) {
            let (from, left) = (place(EVIDENCE)?, limit - rows.len());
            for evidence in self.reads.evidence(principal, own, from, Some(at), left).await? {
                let key = [&[EVIDENCE], evidence.created.to_be_bytes().as_slice()].concat();
                rows.push(row(key, evidence.updated, Change::EvidenceSnapshot(write_evidence(&evidence))));
            }
        }
        let addresses = after.first().is_none_or(|kind| *kind <= ADDRESS_RULES);
        if self.others && addresses && rows.len() < limit {
            let platform = match after.split_first() {
                Some((&ADDRESS_RULES, platform)) => std::str::from_utf8(platform).map_err(|_| foreign())?,
                _ => "",
            };
            for rules in self.reads.address_rules_after(principal, platform, at, limit - rows.len()).await? {
                let key = [&[ADDRESS_RULES], rules.platform.as_bytes()].concat();
                rows.push(row(key, rules.updated, Change::AddressRulesSnapshot(write_rules(&rules))));
            }
        }
        let held = self.holds(reader.scope()).filter(|_| after.first().is_none_or(|kind| *kind <= HOLD));
        if let Some(own) = held.filter(|_| rows.len() < limit) {
            let (from, left) = (place(HOLD)?, limit - rows.len());
            for hold in self.reads.holds(principal, own, false, from, Some(at), left).await? {
                let key = [&[HOLD], hold.created.to_be_bytes().as_slice()].concat();
                let mut shown = interests::write_hold(&hold);
                interests::conceal(&mut shown, &hold, reader.scope());
                rows.push(row(key, hold.updated, Change::HoldSnapshot(shown)));
            }
        }
        let joint = self.of_operations(principal).filter(|_| after.first().is_none_or(|kind| *kind <= OPERATION));
        if let Some(own) = joint.filter(|_| rows.len() < limit) {
            let (from, left) = (place(OPERATION)?, limit - rows.len());
            for operation in self.reads.operations(principal, own, from, Some(at), left).await? {
                let key = [&[OPERATION], operation.created.to_be_bytes().as_slice()].concat();
                let shown = write_operation(&operation, operation.updated_at);
                rows.push(row(key, operation.updated, Change::OperationSnapshot(shown)));
            }
        }
        let of = match reader.scope() {
            Scope::All => Some((None, None)),
            Scope::Agency(own) => Some((Some(own.as_str()), None)),
            Scope::Platform(own) => Some((None, Some(own.as_str()))),
            Scope::Nothing => None,
        };
        // Those of a partner are the partner's to know.
        let asked = self.filter.agency.as_deref();
        let of = of.filter(|(own, _)| self.measures && own.is_none_or(|own| asked.is_none_or(|asked| asked == own)));
        if let Some((own, platform)) = of.filter(|_| rows.len() < limit) {
            let (from, left) = (place(PRE_NOTICE)?, limit - rows.len());
            for notice in self.reads.pre_notices(principal, own.or(asked), platform, from, Some(at), left).await? {
                let key = [&[PRE_NOTICE], notice.created.to_be_bytes().as_slice()].concat();
                rows.push(row(key, notice.created, Change::PreNoticeSnapshot(write_pre_notice(&notice))));
            }
        }
        Ok(fitting(rows.into_iter()))
    }
}

/// Whether an agreement is the reader's to know.
fn may_see(scope: &Scope, agreement: &Agreement) -> bool {
    match scope {
        Scope::All => true,
        Scope::Agency(own) => agreement.has_party(own),
        Scope::Platform(_) | Scope::Nothing => false,
    }
}

fn foreign() -> Error {
    Error::new(Reason::ResumeTokenInvalid, "the resume token is of another snapshot; begin again")
}
