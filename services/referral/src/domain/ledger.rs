//! What may happen to referrals and organisations.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use portreeve_core::agreement::{Agreement, AgreementName, Terms};
use portreeve_core::canonical::RuleSet;
use portreeve_core::erasure::Erasure;
use portreeve_core::id::Uuid;
use portreeve_core::interest::{MatchingKey, Tag};
use portreeve_core::location::Location;
use portreeve_core::name::{
    DraftName, EvidenceName, HoldName, InterestName, MeasureName, ObservationName, OperationName, OrganisationKind,
    OrganisationName, ReferralName, ReviewFlagName,
};
use portreeve_core::signature::{PublicKey, Revocation};
use portreeve_core::vocabulary::{EraseCause, FieldGroup, RetentionClass};
use portreeve_core::{Cited, Error, Reason, Recorded, Result, Timestamp, limits};

use super::address::{AddressRules, AddressSweep};
use super::agreement::{self, Act};
use super::authorisation::{AuthorisationPolicy, Demands, Sender};
use super::draft::{Authorise, Draft};
use super::duplicate::{Known, Matter};
use super::evidence::Evidence;
use super::hold::{Clearing, Hold, Override};
use super::interest::{Interest, NewInterest};
use super::measure::{self, Measure, NewMeasure, Reach, no_measure};
use super::non_disclosure;
use super::observation::{Observation, Observed};
use super::operation::{self, NewOperation, Operation, Place};
use super::organisation::Organisation;
use super::pre_notice::{Gate, Pair, PreNotice};
use super::priority::Priority;
use super::referral::{NewReferral, Referral, Said, Standing};
use super::retention::RetentionPolicy;
use super::review_flag::{Answer, ReviewFlag};
use super::signing::SigningProfile;

/// Where in its request a draft stood, for naming its fields in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftField {
    /// `referral` of a single creation.
    Referral,
    /// `drafts[i]` of an atomic batch.
    Drafts,
    /// `draft` of an import's item.
    Draft,
}

impl DraftField {
    fn path(self, index: usize) -> String {
        match self {
            Self::Referral => "referral".into(),
            Self::Drafts => format!("drafts[{index}]"),
            Self::Draft => "draft".into(),
        }
    }
}

/// What a caller wants done.
#[derive(Clone, Debug)]
pub enum Command {
    /// Refer: all of them or none.
    Create {
        /// What is referred.
        drafts: Vec<NewReferral>,
        /// Where the drafts stood in the request.
        field: DraftField,
        /// The member who refers; empty if not told.
        member: String,
        /// Whether it may tell of what occurred before the agency demanded more.
        history: bool,
        /// With what other agencies' interests are found; `None` where there are none.
        key: Option<MatchingKey>,
    },
    /// Register interests in what others might refer: all of them or none.
    RegisterInterests {
        /// The agency.
        agency: String,
        /// The interests.
        interests: Vec<NewInterest>,
        /// With what their targets are found again.
        key: MatchingKey,
    },
    /// Let an interest last until another time.
    RenewInterest {
        /// Which.
        name: InterestName,
        /// When it ends by itself now.
        expires_at: Timestamp,
    },
    /// End an interest.
    EndInterest {
        /// Which.
        name: InterestName,
    },
    /// End interests that are past their time.
    ExpireInterests {
        /// Which.
        names: Vec<InterestName>,
    },
    /// Let a referral go that an interest holds.
    ReleaseHold {
        /// Which.
        name: HoldName,
        /// The agency whose interest it is.
        holder: String,
    },
    /// Hold a referral longer.
    RenewHold {
        /// Which.
        name: HoldName,
        /// The agency whose interest it is.
        holder: String,
        /// Which renewal it is: 1 for the first.
        renewal: u32,
        /// The interest, as it was found.
        interest: InterestName,
    },
    /// Send a held referral all the same.
    OverrideHolds(Box<Override>),
    /// Send a held referral that waits for nothing any more.
    ClearHeld(Box<Clearing>),
    /// Write a draft.
    CreateDraft {
        /// Its name, minted for it.
        name: DraftName,
        /// What is to be referred.
        content: Arc<Said>,
        /// The member who writes it.
        author: String,
    },
    /// Write a draft anew.
    UpdateDraft {
        /// Which.
        name: DraftName,
        /// What is to be referred.
        content: Arc<Said>,
        /// The member who writes it.
        author: String,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Authorise a draft, and refer.
    AuthoriseDraft(Box<Authorise>),
    /// Give a draft up.
    DiscardDraft {
        /// Which.
        name: DraftName,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Set what an agency demands before a referral is sent.
    SetAuthorisation {
        /// The agency.
        agency: String,
        /// All that it demands.
        demands: Demands,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Take a referral back.
    Withdraw {
        /// Which.
        name: ReferralName,
        /// Why.
        reason: String,
        /// When; the moment of recording if not told.
        occurred_at: Option<Timestamp>,
    },
    /// Register an organisation.
    CreateOrganisation {
        /// Its name.
        name: OrganisationName,
        /// What people call it.
        display_name: String,
        /// The hosts that route to it.
        hosts: Vec<String>,
    },
    /// Change an organisation.
    UpdateOrganisation {
        /// Which.
        name: OrganisationName,
        /// The new display name, if it changes.
        display_name: Option<String>,
        /// The new hosts, if they change.
        hosts: Option<Vec<String>>,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Register a signing key.
    AddSigningKey {
        /// The agency whose it is.
        agency: String,
        /// The key.
        key: PublicKey,
        /// Whether the caller did not say from when, so that the moment of asking was taken.
        from_now: bool,
    },
    /// Take a signing key back.
    RevokeSigningKey {
        /// The agency whose it is.
        agency: String,
        /// Which.
        kid: String,
        /// Since when and why.
        revocation: Revocation,
    },
    /// Demand signatures, or demand them no more.
    SetSigningPolicy {
        /// The agency.
        agency: String,
        /// Whether its referrals must be signed.
        required: bool,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Set for how long an agency's referrals are kept.
    SetRetention {
        /// The agency.
        agency: String,
        /// For how long each group is kept; a group that is not named is kept until it is erased by request.
        classes: BTreeMap<FieldGroup, RetentionClass>,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Erase groups of fields of a referral.
    Erase {
        /// Which referral.
        name: ReferralName,
        /// Which groups.
        groups: Vec<FieldGroup>,
        /// Why.
        reason: String,
    },
    /// Erase what is past its time.
    Expire {
        /// The agency.
        agency: String,
        /// The referrals to look at.
        ids: Vec<Uuid>,
    },
    /// Propose an agreement.
    Propose {
        /// Its name, minted for it.
        name: AgreementName,
        /// What is proposed.
        terms: Terms,
        /// The agency that proposes it.
        proposer: String,
    },
    /// Do something about an agreement.
    Act {
        /// Which.
        name: AgreementName,
        /// The agency that acts.
        party: String,
        /// What it does.
        act: Act,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Impose a measure against misuse.
    Impose {
        /// What is imposed.
        measure: NewMeasure,
        /// Who imposes it, as a principal writes itself.
        by: String,
    },
    /// Do something about a measure.
    ActOnMeasure {
        /// Which.
        name: MeasureName,
        /// What is done.
        act: measure::Act,
        /// Who does it, as a principal writes itself.
        by: String,
    },
    /// Plan an operation.
    CreateOperation(Box<NewOperation>),
    /// Do something about an operation.
    ActOnOperation {
        /// Which.
        name: OperationName,
        /// What is done.
        act: operation::Act,
    },
    /// Flag a referral for review.
    Flag {
        /// The flag's name, minted for it.
        name: ReviewFlagName,
        /// Why.
        reasons: String,
        /// The oversight body.
        by: String,
    },
    /// Record an observation of a referral's target.
    Observe {
        /// The observation's name, minted for it.
        name: ObservationName,
        /// What was found.
        observed: Arc<Observed>,
        /// When it was looked at; the moment of recording if not told.
        observed_at: Option<Timestamp>,
    },
    /// Record evidence whose bytes are in the store.
    RecordEvidence(Box<Evidence>),
    /// Delete evidence that no referral carries.
    DeleteEvidence {
        /// Which.
        name: EvidenceName,
    },
    /// Set a platform's rules of addresses.
    SetAddressRules {
        /// The platform.
        platform: String,
        /// All of them.
        rules: Arc<RuleSet>,
        /// The version that the caller knew, if it cares.
        etag: Option<i64>,
    },
    /// Put referrals in the form of their platform's rules.
    Readdress {
        /// The platform, the version of its rules, and up to which position it is done then.
        sweep: AddressSweep,
        /// The referrals to look at.
        ids: Vec<Uuid>,
    },
    /// Say that referrals are of one network.
    Link {
        /// The one that has the links.
        name: ReferralName,
        /// The others.
        others: Vec<ReferralName>,
    },
    /// Give a platform a pre-notice.
    GivePreNotice(Box<PreNotice>),
    /// Say anew how urgent a referral is.
    Prioritise {
        /// Which.
        name: ReferralName,
        /// How urgent.
        priority: Priority,
        /// The version that the caller knew, if it cares.
        expected_version: Option<u32>,
    },
    /// Extend or lift the non-disclosure of an order.
    ChangeNonDisclosure {
        /// Which.
        name: ReferralName,
        /// What is done.
        change: non_disclosure::Change,
        /// Why.
        reason: String,
    },
    /// Answer a flag.
    AnswerFlag {
        /// Which.
        name: ReviewFlagName,
        /// What.
        answer: Answer,
    },
}

/// What happened. Each carries the resource as it is afterwards; positions and recording times are the log's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A referral was sent.
    Created(Box<Referral>),
    /// A referral was taken back.
    Withdrawn(Box<Referral>),
    /// Groups of a referral's fields were erased.
    Erased(Box<Referral>),
    /// An agency set for how long its referrals are kept.
    RetentionChanged(RetentionPolicy),
    /// An organisation was registered.
    OrganisationCreated(Organisation),
    /// An organisation was changed.
    OrganisationUpdated(Organisation),
    /// An agency's signing keys, or whether it demands signatures, were changed.
    SigningChanged(SigningProfile),
    /// An agreement was proposed or changed.
    AgreementChanged(Box<Agreement>),
    /// A measure against misuse was imposed or changed.
    MeasureChanged(Box<Measure>),
    /// An operation was planned or changed.
    OperationChanged(Box<Operation>),
    /// A referral was flagged for review, or a flag answered.
    FlagChanged(Box<ReviewFlag>),
    /// The target of a referral was looked at.
    Observed(Box<Observation>),
    /// A draft was written, changed, authorised or discarded.
    DraftChanged(Box<Draft>),
    /// An agency set what it demands before a referral is sent.
    AuthorisationChanged(Box<AuthorisationPolicy>),
    /// Evidence was uploaded.
    EvidenceUploaded(Box<Evidence>),
    /// Evidence was erased: deleted, or with the target of the last referral that carried it.
    EvidenceErased(Box<Evidence>),
    /// A platform's rules of addresses were set.
    AddressRulesChanged(Box<AddressRules>),
    /// The canonical form of a referral's address is another by changed rules.
    Readdressed {
        /// The referral.
        referral: Box<Referral>,
        /// When.
        at: Timestamp,
    },
    /// A platform's referrals were looked at for that, up to a position.
    AddressesSwept(AddressSweep),
    /// An interest was registered, renewed or ended.
    InterestChanged(Box<Interest>),
    /// A referral was held, or a hold renewed or ended.
    HoldChanged(Box<Hold>),
    /// A referral was linked to others.
    Linked {
        /// The referral.
        referral: Box<Referral>,
        /// When.
        at: Timestamp,
    },
    /// An agency gave a platform a pre-notice.
    PreNoticeGiven(Box<PreNotice>),
    /// Its agency said anew how urgent a referral is.
    Prioritised {
        /// The referral.
        referral: Box<Referral>,
        /// When.
        at: Timestamp,
    },
    /// The non-disclosure of an order was extended or lifted.
    NonDisclosureChanged {
        /// The referral.
        referral: Box<Referral>,
        /// When.
        at: Timestamp,
    },
}

/// The part of the state that a batch touches, and what has changed in it.
#[derive(Debug, Default)]
pub struct State {
    /// Organisations by name.
    pub organisations: HashMap<OrganisationName, Organisation>,
    /// The platform that each host routes to.
    pub hosts: HashMap<String, String>,
    /// Referrals by identifier.
    pub referrals: HashMap<Uuid, Referral>,
    /// Signing profiles by agency.
    pub signing: HashMap<String, SigningProfile>,
    /// Referrals of which what can be erased lies encrypted in the log.
    pub sealed: HashSet<Uuid>,
    /// Retention policies by agency.
    pub retention: HashMap<String, RetentionPolicy>,
    /// Agreements by name.
    pub agreements: HashMap<AgreementName, Agreement>,
    /// How many agreements name an agency.
    pub agreements_of: HashMap<String, usize>,
    /// Measures by identifier.
    pub measures: HashMap<Uuid, Measure>,
    /// What each of an agency's measures reaches.
    pub reaches: HashMap<String, Vec<Reach>>,
    /// Flags for review by identifier.
    pub flags: HashMap<Uuid, ReviewFlag>,
    /// How many flags an agency has to answer.
    pub open_flags: HashMap<String, usize>,
    /// How many observations a referral has.
    pub observed: HashMap<Uuid, usize>,
    /// Drafts by identifier.
    pub drafts: HashMap<Uuid, Draft>,
    /// How many drafts of an agency wait to be authorised.
    pub open_drafts: HashMap<String, usize>,
    /// What agencies demand before a referral is sent, by agency.
    pub authorisation: HashMap<String, AuthorisationPolicy>,
    /// Evidence by identifier.
    pub evidence: HashMap<Uuid, Evidence>,
    /// The referrals that carry evidence.
    pub carriers: HashMap<Uuid, HashSet<Uuid>>,
    /// The newest rules of addresses, by platform.
    pub rules: HashMap<String, AddressRules>,
    /// Earlier rules of addresses under which interests are found, by platform.
    pub matched_rules: HashMap<String, Vec<AddressRules>>,
    /// Interests by identifier.
    pub interests: HashMap<Uuid, Interest>,
    /// Interests by what finds their target.
    pub interests_in: HashMap<Tag, Vec<Uuid>>,
    /// How many interests of an agency have not ended.
    pub live_interests: HashMap<String, usize>,
    /// Holds by identifier.
    pub holds: HashMap<Uuid, Hold>,
    /// Referrals by what they are about, of those that agencies may repeat.
    pub known: HashMap<Matter, Vec<Known>>,
    /// Operations by identifier.
    pub operations: HashMap<Uuid, Operation>,
    /// How many operations an agency leads.
    pub operations_of: HashMap<String, usize>,
    /// The first referrals of operations by where they point, of those places at which agencies may refer.
    pub firsts: HashMap<Place, ReferralName>,
    /// What decides whether an agency's first removal order to a platform may be sent.
    pub gates: HashMap<Pair, Gate>,
    /// What is to be persisted.
    pub changes: Changes,
}

/// What has changed since the state was loaded.
#[derive(Debug, Default)]
pub struct Changes {
    /// New referrals, in the order of the log.
    pub created: Vec<Referral>,
    /// Referrals that were there before the batch and have changed.
    pub updated: HashSet<Uuid>,
    /// Organisations that are new or have changed.
    pub organisations: HashSet<OrganisationName>,
    /// Agencies whose signing profile has changed.
    pub signing: HashSet<String>,
    /// Agencies whose retention policy has changed.
    pub retention: HashSet<String>,
    /// Agreements that are new or have changed.
    pub agreements: HashSet<AgreementName>,
    /// Measures that are new or have changed.
    pub measures: HashSet<Uuid>,
    /// Flags that are new or have changed.
    pub flags: HashSet<Uuid>,
    /// New observations, in the order of the log.
    pub observed: Vec<Observation>,
    /// Drafts that are new or have changed.
    pub drafts: HashSet<Uuid>,
    /// Agencies whose demands have changed.
    pub authorisation: HashSet<String>,
    /// Evidence that is new or was erased.
    pub evidence: HashSet<Uuid>,
    /// Platforms whose rules of addresses are new or were swept further.
    pub rules: HashSet<String>,
    /// New versions of rules of addresses, in the order of the log.
    pub versions: Vec<AddressRules>,
    /// Interests that are new or have changed.
    pub interests: HashSet<Uuid>,
    /// By how many the interests of an agency that have not ended have become more, or fewer.
    pub live_interests: HashMap<String, i64>,
    /// Holds that are new or have changed.
    pub holds: HashSet<Uuid>,
    /// Operations that are new or have changed, or in which something was referred.
    pub operations: HashSet<Uuid>,
    /// Pairs of which another order or pre-notice is the first, or that have one more.
    pub gates: HashSet<Pair>,
    /// New pre-notices, in the order of the log.
    pub pre_notices: Vec<PreNotice>,
}

/// The ledger of referrals and organisations.
pub struct Ledger;

impl portreeve_core::Ledger for Ledger {
    type Command = Command;
    type Event = Event;
    type State = State;

    fn decide(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>> {
        match command {
            Command::Create { drafts, field, member, history, key } => {
                let sender = Sender { member, history: *history, authorised: false };
                let create = |(index, draft)| state.create(draft, sender, || field.path(index), now);
                // All are checked, those too that say what was said already.
                let mut created = drafts.iter().enumerate().map(create).collect::<Result<Vec<_>>>()?;
                if *field != DraftField::Draft {
                    let mut repeated = state.repeated(drafts).into_iter();
                    created.retain(|_| repeated.next().is_none_or(|of| of.is_none()));
                }
                // What waits takes the place of what is sent; what it waits for comes after all of them, so that a repeat
                // finds by its place what it repeats.
                let mut holds = Vec::new();
                for event in &mut created {
                    let Event::Created(referral) = &*event else { continue };
                    let happened = history.then_some(referral.occurred_at);
                    let hits = state.hits(referral, key.as_ref(), happened, now);
                    if !hits.is_empty() {
                        let (held, of) = State::hold(Draft::waiting(&referral.said, member, now), &hits, now);
                        *event = held;
                        holds.extend(of);
                    }
                }
                created.extend(holds);
                state.placed(created)
            }
            Command::RegisterInterests { agency, interests, key } => {
                state.register_interests(agency, interests, key, now)
            }
            Command::RenewInterest { name, expires_at } => state.renew_interest(name, *expires_at, now),
            Command::EndInterest { name } => state.end_interest(name, now),
            Command::ExpireInterests { names } => Ok(state.expire_interests(names, now)),
            Command::ReleaseHold { name, holder } => state.release(name, holder, now),
            Command::RenewHold { name, holder, renewal, .. } => state.renew(name, holder, *renewal, now),
            Command::OverrideHolds(act) => state.override_holds(act, now),
            Command::ClearHeld(of) => state.clear(of, now),
            Command::Withdraw { name, reason, occurred_at } => state.withdraw(name, reason, *occurred_at, now),
            Command::CreateOrganisation { name, display_name, hosts } => {
                state.create_organisation(name, display_name, hosts, now)
            }
            Command::UpdateOrganisation { name, display_name, hosts, etag } => {
                state.update_organisation(name, display_name.as_ref(), hosts.as_ref(), *etag, now)
            }
            Command::AddSigningKey { agency, key, from_now } => state.add_signing_key(agency, key, *from_now, now),
            Command::RevokeSigningKey { agency, kid, revocation } => {
                state.revoke_signing_key(agency, kid, revocation, now)
            }
            Command::SetSigningPolicy { agency, required, etag } => {
                state.set_signing_policy(agency, *required, *etag, now)
            }
            Command::SetRetention { agency, classes, etag } => state.set_retention(agency, classes, *etag, now),
            Command::Erase { name, groups, reason } => state.erase(name, groups, reason, now),
            Command::Expire { agency, ids } => Ok(state.expire(agency, ids, now)),
            Command::Propose { name, terms, proposer } => state.propose(*name, terms, proposer, now),
            Command::Act { name, party, act, etag } => {
                let known = state.agreements.get(name).filter(|known| known.has_party(party));
                let known = known.ok_or_else(|| no_party(party))?;
                let changed = agreement::act(known, party, act, *etag, now)?;
                Ok(changed.map(|changed| Event::AgreementChanged(Box::new(changed))).into_iter().collect())
            }
            Command::Impose { measure, by } => state.impose(measure, by, now),
            Command::ActOnMeasure { name, act, by } => {
                let known = state.measures.get(&name.id).filter(|known| known.name == *name);
                let changed = measure::act(known.ok_or_else(|| no_measure(name))?, act, by, now)?;
                Ok(changed.map(|changed| Event::MeasureChanged(Box::new(changed))).into_iter().collect())
            }
            Command::CreateOperation(new) => state.create_operation(new, now),
            Command::ActOnOperation { name, act } => state.act_on_operation(name, act, now),
            Command::Observe { name, observed, observed_at } => state.observe(name, observed, *observed_at, now),
            Command::RecordEvidence(new) => state.record_evidence(new, now),
            Command::DeleteEvidence { name } => state.delete_evidence(name, now),
            Command::Flag { name, reasons, by } => state.flag(name, reasons, by, now),
            Command::AnswerFlag { name, answer } => state.answer_flag(name, answer, now),
            Command::CreateDraft { name, content, author } => state.create_draft(name, content, author, now),
            Command::UpdateDraft { name, content, author, etag } => {
                state.update_draft(name, content, author, *etag, now)
            }
            Command::AuthoriseDraft(act) => state.authorise(act, now),
            Command::DiscardDraft { name, etag } => state.discard(name, *etag, now),
            Command::SetAuthorisation { agency, demands, etag } => state.set_authorisation(agency, demands, *etag, now),
            Command::SetAddressRules { platform, rules, etag } => state.set_address_rules(platform, rules, *etag, now),
            Command::Link { name, others } => state.link(name, others, now),
            Command::GivePreNotice(notice) => state.give_pre_notice(notice, now),
            Command::Prioritise { name, priority, expected_version } => {
                state.prioritise(name, priority, *expected_version, now)
            }
            Command::ChangeNonDisclosure { name, change, reason } => {
                state.change_non_disclosure(name, change, reason, now)
            }
            Command::Readdress { sweep, ids } => Ok(state.readdress(sweep, ids, now)),
        }
    }

    fn cited(state: &State, command: &Command) -> Vec<(usize, Cited)> {
        match command {
            // What an import brings in has happened, each time that it did.
            Command::Create { drafts, field, .. } if *field != DraftField::Draft => {
                let repeated = state.repeated(drafts).into_iter().enumerate();
                repeated.filter_map(|(place, of)| Some((place, of?))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn evolve(state: &mut State, recorded: &Recorded<Event>) {
        let (position, recorded_at) = (recorded.position, recorded.recorded_at);
        match &recorded.event {
            Event::Created(referral) => {
                let referral = Referral { recorded_at, created: position, updated: position, ..(**referral).clone() };
                for exhibit in &referral.exhibits {
                    state.carriers.entry(exhibit.name.id).or_default().insert(referral.name.id);
                }
                state.know(&referral);
                state.count_in(&referral);
                state.gate_order(&referral);
                state.changes.created.push(referral);
            }
            Event::Withdrawn(referral) => {
                let mut referral = Referral { updated: position, ..(**referral).clone() };
                if let Standing::Withdrawn { recorded_at: learnt, .. } = &mut referral.standing {
                    *learnt = recorded_at;
                }
                state.change(referral);
            }
            Event::Erased(referral) => {
                let referral = Referral { updated: position, ..(**referral).clone() };
                let created = state.referral(&referral.name).map_or(0, |known| known.created);
                if let Some(policy) = state.retention.get_mut(&referral.name.agency) {
                    let over =
                        |erasure: &&Erasure| erasure.cause == EraseCause::Retention.code() && erasure.at == recorded_at;
                    for erasure in referral.erasures.iter().filter(over) {
                        let rule = policy.rules.entry(erasure.group).or_default();
                        rule.swept = rule.swept.max(created);
                        state.changes.retention.insert(policy.agency.clone());
                    }
                }
                // What a batch records and erases is erased.
                for new in state.changes.observed.iter_mut().filter(|new| new.name.referral == referral.name) {
                    *new = new.without(&referral.erasures);
                }
                if referral.is_erased(FieldGroup::Target) {
                    state.carriers.values_mut().for_each(|carriers| _ = carriers.remove(&referral.name.id));
                }
                state.change(referral);
            }
            Event::RetentionChanged(policy) => {
                let agency = policy.agency.clone();
                let mut policy = RetentionPolicy { updated_at: recorded_at, updated: position, ..policy.clone() };
                // How far it was erased is no part of what the agency says.
                for (group, known) in state.retention.get(&agency).into_iter().flat_map(|known| &known.rules) {
                    policy.rules.entry(*group).or_default().swept = known.swept;
                }
                state.changes.retention.insert(agency.clone());
                state.retention.insert(agency, policy);
            }
            Event::OrganisationCreated(organisation) => {
                let at = recorded_at;
                let organisation = organisation.clone();
                state.put(Organisation {
                    created_at: at,
                    updated_at: at,
                    created: position,
                    updated: position,
                    ..organisation
                });
            }
            Event::OrganisationUpdated(organisation) => {
                let created = state.organisations.get(&organisation.name).map_or(0, |known| known.created);
                let organisation = organisation.clone();
                state.put(Organisation { updated_at: recorded_at, created, updated: position, ..organisation });
            }
            Event::SigningChanged(profile) => {
                let agency = profile.agency.clone();
                let profile = SigningProfile { updated_at: recorded_at, updated: position, ..profile.clone() };
                state.changes.signing.insert(agency.clone());
                state.signing.insert(agency, profile);
            }
            Event::AgreementChanged(changed) => {
                let known = state.agreements.get(&changed.name).map(|known| known.created);
                let new = if known.is_none() { changed.terms.parties.as_slice() } else { &[] };
                for party in new {
                    *state.agreements_of.entry(party.clone()).or_default() += 1;
                }
                let created = known.unwrap_or(position);
                let changed = Agreement { created, updated: position, ..(**changed).clone() };
                state.changes.agreements.insert(changed.name);
                state.agreements.insert(changed.name, changed);
            }
            Event::MeasureChanged(changed) => {
                let id = changed.name.id;
                let (created, imposer) = match state.measures.get(&id) {
                    Some(known) => (known.created, known.imposer.clone()),
                    None => (position, recorded.actor.clone()),
                };
                let changed = Measure { created, imposer, updated: position, ..(**changed).clone() };
                let reaches = state.reaches.entry(changed.name.agency.clone()).or_default();
                reaches.retain(|reach| reach.id != id);
                reaches.push(changed.reach());
                state.changes.measures.insert(id);
                state.measures.insert(id, changed);
            }
            Event::OperationChanged(changed) => {
                let id = changed.name.id;
                let known = state.operations.get(&id).map(|known| (known.created, known.tally));
                if known.is_none() {
                    *state.operations_of.entry(changed.name.agency.clone()).or_default() += 1;
                }
                let (created, tally) = known.unwrap_or((position, operation::Tally::default()));
                state.changes.operations.insert(id);
                state.operations.insert(id, Operation { created, tally, updated: position, ..(**changed).clone() });
            }
            Event::Observed(observation) => {
                *state.observed.entry(observation.name.referral.id).or_default() += 1;
                let observation = Observation { recorded_at, created: position, ..(**observation).clone() };
                state.changes.observed.push(observation);
            }
            Event::FlagChanged(changed) => {
                let id = changed.name.id;
                let created = state.flags.get(&id).map_or(position, |known| known.created);
                let open = state.open_flags.entry(changed.name.referral.agency.clone()).or_default();
                *open = if changed.answer.is_none() { *open + 1 } else { open.saturating_sub(1) };
                state.changes.flags.insert(id);
                state.flags.insert(id, ReviewFlag { created, updated: position, ..(**changed).clone() });
            }
            Event::DraftChanged(changed) => {
                let id = changed.name.id;
                let known = state.drafts.get(&id);
                let (created, was_open) = known.map_or((position, false), |known| (known.created, known.is_open()));
                let open = state.open_drafts.entry(changed.name.agency.clone()).or_default();
                *open = (*open + usize::from(changed.is_open())).saturating_sub(usize::from(was_open));
                state.changes.drafts.insert(id);
                state.drafts.insert(id, Draft { created, updated: position, ..(**changed).clone() });
            }
            Event::EvidenceUploaded(evidence) | Event::EvidenceErased(evidence) => {
                let id = evidence.name().id;
                let (created, created_at) = match state.evidence.get(&id) {
                    Some(known) => (known.created, known.created_at),
                    None => (position, recorded_at),
                };
                state.changes.evidence.insert(id);
                let evidence = Evidence { created, created_at, updated: position, ..(**evidence).clone() };
                state.evidence.insert(id, evidence);
            }
            Event::AuthorisationChanged(policy) => {
                let agency = policy.agency.clone();
                let policy = AuthorisationPolicy { updated_at: recorded_at, updated: position, ..(**policy).clone() };
                state.changes.authorisation.insert(agency.clone());
                state.authorisation.insert(agency, policy);
            }
            Event::AddressRulesChanged(rules) => {
                let rules = AddressRules { updated_at: recorded_at, updated: position, swept: 0, ..(**rules).clone() };
                state.changes.rules.insert(rules.platform.clone());
                state.changes.versions.push(rules.clone());
                state.rules.insert(rules.platform.clone(), rules);
            }
            Event::Readdressed { referral, .. } => {
                state.change(Referral { updated: position, ..(**referral).clone() });
                if let Some(referral) = state.referral(&referral.name).cloned() {
                    state.know(&referral);
                    state.know_first(&referral);
                }
            }
            Event::InterestChanged(changed) => {
                let id = changed.name.id;
                let known = state.interests.get(&id);
                let (created, created_at) = known.map_or((position, recorded_at), |of| (of.created, of.created_at));
                let (was, is) = (known.is_some_and(|of| of.ended_at.is_none()), changed.ended_at.is_none());
                let more = i64::from(is) - i64::from(was);
                *state.changes.live_interests.entry(changed.name.agency.clone()).or_default() += more;
                if let Some(live) = state.live_interests.get_mut(&changed.name.agency) {
                    *live = (*live + usize::from(is)).saturating_sub(usize::from(was));
                }
                if known.is_none() {
                    state.interests_in.entry(changed.tag).or_default().push(id);
                }
                state.changes.interests.insert(id);
                let changed = Interest { created, created_at, updated: position, ..(**changed).clone() };
                state.interests.insert(id, changed);
            }
            Event::HoldChanged(changed) => {
                let id = changed.name.id;
                let created = state.holds.get(&id).map_or(position, |known| known.created);
                state.changes.holds.insert(id);
                state.holds.insert(id, Hold { created, updated: position, ..(**changed).clone() });
            }
            Event::Linked { referral, .. }
            | Event::Prioritised { referral, .. }
            | Event::NonDisclosureChanged { referral, .. } => {
                state.change(Referral { updated: position, ..(**referral).clone() });
            }
            Event::PreNoticeGiven(notice) => state.gate_notice(&PreNotice { created: position, ..(**notice).clone() }),
            Event::AddressesSwept(sweep) => {
                if let Some(rules) = state.rules.get_mut(&sweep.platform) {
                    rules.swept = sweep.through;
                    state.changes.rules.insert(sweep.platform.clone());
                }
            }
        }
    }
}

impl State {
    pub(super) fn create(
        &self,
        draft: &NewReferral,
        sender: Sender<'_>,
        field: impl Fn() -> String,
        now: Timestamp,
    ) -> Result<Event> {
        let said = &draft.said;
        self.organisation(OrganisationKind::Agency, &said.name.agency)?;
        self.check_may_refer(&said.name.agency, sender.member, now)?;
        self.organisation(OrganisationKind::Platform, &said.platform)?;
        self.check_host(&said.platform, &said.target.location, &format!("{}.target.url", field()))?;
        self.check_operation(said, &field, now)?;
        self.check_before_sent(draft, sender, &field)?;
        self.check_order(draft, &field, now)?;
        self.check_pre_notice(draft, sender, &field, now)?;
        self.check_signature(draft, &field, now)?;
        self.made(draft, &field, now)
    }

    /// Refuses what is on another platform. What has no address routes to nobody: it is where the agency says.
    pub(super) fn check_host(&self, platform: &str, location: &Location, field: &str) -> Result<()> {
        let host = location.host();
        if host.is_empty()
            || location.domains().find_map(|domain| self.hosts.get(domain)).is_some_and(|of| of == platform)
        {
            return Ok(());
        }
        let message = format!("the host {host} does not route to platforms/{platform}; name the platform whose it is");
        Err(Error::new(Reason::UrlOfAnotherPlatform, message)
            .with("host", host)
            .with("platform", format!("platforms/{platform}"))
            .at(field, "must have a host that routes to the platform"))
    }

    /// The referral that is sent, with the evidence that it carries and in the form of the rules of now.
    pub(super) fn made(&self, draft: &NewReferral, field: &impl Fn() -> String, now: Timestamp) -> Result<Event> {
        let said = &draft.said;
        let exhibits = self.exhibits(&said.name.agency, &said.evidence, field)?;
        Ok(Event::Created(Box::new(Referral {
            exhibits,
            said: self.linked(&self.addressed(said), field)?,
            occurred_at: draft.occurred_at.unwrap_or(now).min(now),
            recorded_at: now,
            standing: Standing::Submitted,
            erasures: Vec::new(),
            created: 0,
            updated: 0,
        })))
    }

    fn withdraw(&self, name: &ReferralName, reason: &str, at: Option<Timestamp>, now: Timestamp) -> Result<Vec<Event>> {
        let referral = self.referral(name).ok_or_else(|| no_referral(name))?;
        let erased = referral.is_erased(FieldGroup::Reasons);
        let at = at.unwrap_or(now).min(now);
        if let Standing::Withdrawn { reason: given, .. } = &referral.standing {
            // Said again with the same content, it is done already; with another, the first stands.
            return if given == reason || erased {
                Ok(Vec::new())
            } else {
                Err(Error::new(Reason::InvalidTransition, "the referral was withdrawn before, for another reason")
                    .with("name", name)
                    .with("from", referral.standing.name())
                    .with("to", "WITHDRAWN"))
            };
        }
        if at < referral.occurred_at {
            return Err(Error::new(Reason::RequestInvalid, "a referral cannot be withdrawn before it was made")
                .at("occurred_at", format!("must not be before the referral's own {}", referral.occurred_at)));
        }
        // Reasons that were erased do not come back with another.
        let reason = if erased { String::new() } else { reason.to_owned() };
        let standing = Standing::Withdrawn { at, recorded_at: now, reason };
        Ok(vec![Event::Withdrawn(Box::new(Referral { standing, ..referral.clone() }))])
    }

    fn create_organisation(
        &self,
        name: &OrganisationName,
        display_name: &str,
        hosts: &[String],
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        if self.organisations.contains_key(name) {
            return Err(
                Error::new(Reason::OrganisationExists, format!("{name} is registered already")).with("name", name)
            );
        }
        self.check_hosts(name, hosts)?;
        Ok(vec![Event::OrganisationCreated(Organisation {
            name: name.clone(),
            display_name: display_name.to_owned(),
            hosts: hosts.to_vec(),
            created_at: now,
            updated_at: now,
            created: 0,
            updated: 0,
        })])
    }

    fn update_organisation(
        &self,
        name: &OrganisationName,
        display_name: Option<&String>,
        hosts: Option<&Vec<String>>,
        etag: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let known = self.organisations.get(name).ok_or_else(|| not_registered(name))?;
        if let Some(etag) = etag.filter(|etag| *etag != known.updated) {
            return Err(Error::new(
                Reason::StaleVersion,
                format!("{name} has changed since it was read; read it again"),
            )
            .with("name", name)
            .with("expected", etag)
            .with("actual", known.updated));
        }
        let mut changed = known.clone();
        if let Some(display_name) = display_name {
            changed.display_name.clone_from(display_name);
        }
        if let Some(hosts) = hosts {
            self.check_hosts(name, hosts)?;
            changed.hosts.clone_from(hosts);
        }
        if changed == *known {
            return Ok(Vec::new());
        }
        Ok(vec![Event::OrganisationUpdated(Organisation { updated_at: now, ..changed })])
    }

    fn propose(&self, name: AgreementName, terms: &Terms, proposer: &str, now: Timestamp) -> Result<Vec<Event>> {
        for party in &terms.parties {
            self.organisation(OrganisationKind::Agency, party)?;
            let count = self.agreements_of.get(party).copied().unwrap_or_default();
            if count >= limits::AGENCY_AGREEMENTS_MAX {
                let message = format!("agencies/{party} has {count} agreements, which is the most that it can have");
                return Err(Error::new(Reason::LimitExceeded, message)
                    .with("limit", "agreements")
                    .with("maximum", limits::AGENCY_AGREEMENTS_MAX)
                    .with("actual", count + 1));
            }
        }
        let proposal = agreement::propose(name, terms.clone(), proposer, now);
        Ok(vec![Event::AgreementChanged(Box::new(proposal))])
    }

    pub(super) fn organisation(&self, kind: OrganisationKind, id: &str) -> Result<&Organisation> {
        let name = OrganisationName::new(kind, id).map_err(|e| Error::internal(e.to_string()))?;
        self.organisations.get(&name).ok_or_else(|| not_registered(&name))
    }

    /// Takes in a referral that has changed.
    fn change(&mut self, referral: Referral) {
        // A referral made and changed in one batch is still to be inserted.
        if let Some(fresh) = self.changes.created.iter_mut().rfind(|fresh| fresh.name == referral.name) {
            *fresh = Referral { created: fresh.created, ..referral };
        } else {
            self.changes.updated.insert(referral.name.id);
            let created = self.referrals.get(&referral.name.id).map_or(0, |known| known.created);
            self.referrals.insert(referral.name.id, Referral { created, ..referral });
        }
    }

    pub(super) fn referral(&self, name: &ReferralName) -> Option<&Referral> {
        let fresh = self.changes.created.iter().rfind(|referral| referral.name == *name);
        fresh.or_else(|| self.referrals.get(&name.id).filter(|referral| referral.name == *name))
    }

    fn check_hosts(&self, name: &OrganisationName, hosts: &[String]) -> Result<()> {
        for (index, host) in hosts.iter().enumerate() {
            if let Some(owner) = self.hosts.get(host).filter(|owner| *owner != name.id()) {
                let message = format!("the host {host} routes to platforms/{owner} already");
                return Err(Error::new(Reason::HostTaken, message)
                    .with("host", host)
                    .with("platform", format!("platforms/{owner}"))
                    .at(format!("organisation.hosts[{index}]"), "must not route to another platform"));
            }
        }
        Ok(())
    }

    fn put(&mut self, organisation: Organisation) {
        self.hosts.retain(|_, platform| platform != organisation.name.id());
        if organisation.name.kind() == OrganisationKind::Platform {
            let id = organisation.name.id();
            self.hosts.extend(organisation.hosts.iter().map(|host| (host.clone(), id.to_owned())));
        }
        self.changes.organisations.insert(organisation.name.clone());
        self.organisations.insert(organisation.name.clone(), organisation);
    }
}

/// The refusal of a referral that is not there.
pub fn no_referral(name: &ReferralName) -> Error {
    Error::new(Reason::ReferralNotFound, format!("there is no referral {name}")).with("name", name)
}

/// The refusal to an agency that an agreement does not name, the same whether others have made it or nobody has.
pub fn no_party(agency: &str) -> Error {
    let agency = format!("agencies/{agency}");
    Error::new(Reason::PermissionDenied, format!("{agency} is party to no such agreement")).with("organisation", agency)
}

fn not_registered(name: &OrganisationName) -> Error {
    Error::new(Reason::OrganisationNotFound, format!("there is no {name}; an operator registers it first"))
        .with("name", name)
}
