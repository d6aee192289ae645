//! How the writer loads and persists the ledger's state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portreeve_core::Timestamp;
use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::canonical::{RuleSet, key};
use portreeve_core::id::Uuid;
use portreeve_core::interest::MatchingKey;
use portreeve_core::name::{OrganisationKind, OrganisationName, ReferralName};
use portreeve_core::vocabulary::{FieldGroup, Ground, Nature, OrderRegime};
use portreeve_runtime::agreements::{decode, encode};

use super::agreements::{self, Kept};
use super::measures;
use super::observations;
use super::operations;
use super::pre_notices::{self, GateRow};
use super::review_flags;
use super::signing::{self, Agencies};
use super::{Binds, Conn, Insert, Lookup, Reads, Script, retention, seal};
use super::{address_rules, authorisation, drafts, evidence, interests};
use crate::domain::ledger::DraftField;
use crate::domain::operation;
use crate::domain::pre_notice::{pair_of, pair_of_order};
use crate::domain::{
    Clearing, Command, Event, Known, Ledger, Link, Matter, Organisation, Referral, Said, Standing, State,
};
use crate::rpc::convert::{Log, encode_erasures, state_code};
use crate::rpc::evidence::convert::encode_exhibits;
use crate::rpc::target::encode_handles;
use crate::rpc::{links, order, priority, protected_context};
use crate::store::sql_row::{REFERRAL_COLUMNS, ReferralRow};

static ORGANISATIONS: Lookup = Lookup::new(
    "SELECT name, display_name, created_us, updated_us, created_seq, updated_seq FROM organisation WHERE name IN",
);
static HOSTS: Lookup = Lookup::new("SELECT host, platform, place FROM platform_host WHERE host IN");
static HOSTS_OF: Lookup = Lookup::new("SELECT host, platform, place FROM platform_host WHERE platform IN");
static REFERRALS: Lookup = Lookup::new(REFERRAL_COLUMNS!("r.referral_id IN"));
/// Referrals of targets that were not taken back. 1: SUBMITTED.
static OF_TARGETS: Lookup = Lookup::new(
    "SELECT seq, referral_id, agency, platform, ground, nature, target_key FROM referral \
     WHERE state = 1 AND target_key IN",
);
static INSERT_REFERRAL: Insert = Insert::new(
    "referral",
    &[
        "seq BIGINT",
        "updated_seq BIGINT",
        "referral_id BYTEA",
        "agency TEXT",
        "platform TEXT",
        "target_kind BIGINT",
        "url TEXT",
        "native_id TEXT",
        "nature BIGINT",
        "ground BIGINT",
        "legal_code TEXT",
        "legal_statute TEXT",
        "legal_section TEXT",
        "statement TEXT",
        "statement_language TEXT",
        "content_language TEXT",
        "occurred_us BIGINT",
        "recorded_us BIGINT",
        "state BIGINT",
        "withdrawn_us BIGINT",
        "withdrawal_recorded_us BIGINT",
        "withdrawal_reason TEXT",
        "signature TEXT",
        "signed_occurred_us BIGINT",
        "tlp BIGINT",
        "classification BIGINT",
        "source_grade BIGINT",
        "assessment BIGINT",
        "conditions TEXT",
        "erasures BYTEA",
        "protected_context BYTEA",
        "order_terms BYTEA",
        "priority BYTEA",
        "exhibits BYTEA",
        "canonical_url TEXT",
        "base_rules BIGINT",
        "rules BIGINT",
        "handles BYTEA",
        "target_key BYTEA",
        "links BYTEA",
        "operation TEXT",
        "first_of_target BIGINT",
    ],
    "",
);
static INSERT_LINK: Insert = Insert::new(
    "referral_link",
    &["to_id BYTEA", "from_id BYTEA", "kind BIGINT"],
    "ON CONFLICT (to_id, from_id, kind) DO NOTHING",
);
static UPSERT_ORGANISATION: Insert = Insert::new(
    "organisation",
    &[
        "name TEXT",
        "display_name TEXT",
        "created_us BIGINT",
        "updated_us BIGINT",
        "created_seq BIGINT",
        "updated_seq BIGINT",
    ],
    "ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, updated_us = excluded.updated_us, \
     updated_seq = excluded.updated_seq",
);
static INSERT_HOST: Insert = Insert::new("platform_host", &["host TEXT", "platform TEXT", "place BIGINT"], "");
const UPDATE_REFERRAL: &str = "UPDATE referral SET updated_seq = $1, state = $2, withdrawn_us = $3, \
     withdrawal_recorded_us = $4, withdrawal_reason = $5, url = $6, native_id = $7, statement = $8, signature = $9, \
     signed_occurred_us = $10, source_grade = $11, assessment = $12, conditions = $13, erasures = $14, \
     protected_context = $15, order_terms = $16, priority = $17, exhibits = $18, canonical_url = $19, base_rules = $20, \
     rules = $21, handles = $22, target_key = $23, links = $24 WHERE seq = $25";
const FORGET_HOSTS: &str = "DELETE FROM platform_host WHERE platform = $1";

pub(super) fn statements() -> Vec<(&'static str, String)> {
    let mut all = vec![("update_referral", UPDATE_REFERRAL.to_owned()), ("forget_hosts", FORGET_HOSTS.to_owned())];
    for (name, texts) in [
        ("organisations", ORGANISATIONS.texts()),
        ("hosts", HOSTS.texts()),
        ("hosts_of", HOSTS_OF.texts()),
        ("referrals", REFERRALS.texts()),
        ("of_targets", OF_TARGETS.texts()),
        ("insert_referral", INSERT_REFERRAL.texts()),
        ("insert_link", INSERT_LINK.texts()),
        ("upsert_organisation", UPSERT_ORGANISATION.texts()),
        ("insert_host", INSERT_HOST.texts()),
    ] {
        all.extend(texts.into_iter().map(|text| (name, text)));
    }
    all.extend(agreements::statements());
    all
}

/// A row of `organisation`, before its hosts are joined to it.
pub(super) type OrganisationRow = (String, String, i64, i64, i64, i64);

/// The organisation of a row and its hosts, in order.
pub(super) fn organisation(row: OrganisationRow, hosts: Vec<String>) -> sqlx::Result<Organisation> {
    let (name, display_name, created_us, updated_us, created, updated) = row;
    Ok(Organisation {
        name: name.parse().map_err(|_| sqlx::Error::Decode("an organisation's name cannot be read".into()))?,
        display_name,
        hosts,
        created_at: Timestamp::from_micros(created_us),
        updated_at: Timestamp::from_micros(updated_us),
        created,
        updated,
    })
}

/// Where a batch points.
#[derive(Default)]
struct Pointed {
    /// Rules that the batch itself sets.
    setting: Vec<(String, Arc<RuleSet>)>,
    /// What may have been referred already.
    repeatable: Vec<Arc<Said>>,
    /// What may hit an interest, with what finds those.
    matched: Vec<(Arc<Said>, MatchingKey)>,
    /// What is to belong to an operation.
    joint: Vec<Arc<Said>>,
}

/// What a batch touches.
#[derive(Default)]
pub struct Keys {
    organisations: BTreeSet<String>,
    /// Platforms whose own hosts are needed because they may change.
    changing: BTreeSet<String>,
    hosts: BTreeSet<String>,
    referrals: BTreeSet<Uuid>,
    signing: Agencies,
    retention: Agencies,
    /// Referrals of which it matters whether they are encrypted in the log.
    sealed: BTreeSet<Uuid>,
    agreements: BTreeSet<AgreementName>,
    /// Agencies whose agreements are counted.
    parties: BTreeSet<String>,
    measures: BTreeSet<Uuid>,
    /// Agencies whose measures decide something.
    measured: BTreeSet<String>,
    flags: BTreeSet<Uuid>,
    /// Agencies whose open flags are counted.
    flagged: BTreeSet<String>,
    /// Referrals whose observations are counted.
    observed: BTreeSet<Uuid>,
    drafts: BTreeSet<Uuid>,
    /// Agencies whose drafts are counted.
    drafting: BTreeSet<String>,
    /// Agencies whose demands decide something.
    demanding: BTreeSet<String>,
    evidence: BTreeSet<Uuid>,
    /// Referrals whose evidence may go with them.
    carrying: BTreeSet<Uuid>,
    /// Platforms whose rules of addresses decide something.
    rules: BTreeSet<String>,
    pointed: Pointed,
    interests: BTreeSet<Uuid>,
    /// Agencies whose interests are counted.
    interested: BTreeSet<String>,
    holds: BTreeSet<Uuid>,
    /// Drafts whose holds decide something.
    held: BTreeSet<Uuid>,
    /// Interests whose holds decide something.
    holding: BTreeSet<Uuid>,
    operations: BTreeSet<Uuid>,
    /// Agencies whose operations are counted.
    leading: BTreeSet<String>,
    /// Agencies and platforms between which a first removal order is something else.
    gates: BTreeSet<String>,
}

impl Keys {
    /// What decides whether something is referred.
    fn refer(&mut self, said: &Arc<Said>) {
        if let Some(operation) = &said.operation {
            self.operations.insert(operation.id);
            self.pointed.joint.push(Arc::clone(said));
        }
        for (kind, id) in [("agencies", &said.name.agency), ("platforms", &said.platform)] {
            self.organisations.insert(format!("{kind}/{id}"));
        }
        self.signing.insert(said.name.agency.clone());
        self.measured.insert(said.name.agency.clone());
        self.demanding.insert(said.name.agency.clone());
        self.hosts.extend(said.target.location.domains().map(str::to_owned));
        self.evidence.extend(&said.evidence);
        self.rules.insert(said.platform.clone());
        if said.order.as_ref().is_some_and(|order| order.regime == OrderRegime::Tco) {
            self.gates.insert(pre_notices::key(&(said.name.agency.clone(), said.platform.clone())));
        }
        self.referrals.extend(said.links.iter().map(|link| link.referral.id));
        self.referrals.extend(said.order.iter().filter_map(|order| order.escalates.as_ref()).map(|name| name.id));
    }

    /// What decides whether something held is sent.
    fn clear(&mut self, of: &Clearing) {
        self.drafts.insert(of.name.id);
        self.held.insert(of.name.id);
        if let Some(found) = &of.found {
            self.refer(found);
            self.pointed.repeatable.push(Arc::clone(found));
        }
    }

    fn change(&mut self, name: &OrganisationName, hosts: &[String]) {
        self.organisations.insert(name.to_string());
        self.hosts.extend(hosts.iter().cloned());
        if name.kind() == OrganisationKind::Platform {
            self.changing.insert(name.id().to_owned());
        }
    }
}

/// The service's tables.
pub struct Tables;

impl super::super::engine::sql::Tables<Ledger> for Tables {
    type Keys = Keys;
    type Codec = Log;
    const STATE_TABLES: &'static [&'static str] = &[
        "referral_link",
        "referral",
        "platform_host",
        "organisation",
        "signing_key",
        "signing_profile",
        "retention_rule",
        "retention_policy",
        "agreement_party",
        "agreement",
        "measure",
        "review_flag",
        "observation",
        "draft",
        "authorisation_policy",
        "evidence_carrier",
        "evidence",
        "address_rules",
        "address_rules_version",
        "interest",
        "interest_count",
        "hold",
        "operation_agency",
        "operation",
        "pre_notice",
        "order_gate",
    ];

    fn command_keys(command: &Command, keys: &mut Keys) {
        match command {
            Command::Create { drafts, field, key, .. } => {
                for draft in drafts {
                    keys.refer(&draft.said);
                    keys.pointed.matched.extend(key.map(|key| (Arc::clone(&draft.said), key)));
                }
                if *field != DraftField::Draft {
                    keys.pointed.repeatable.extend(drafts.iter().map(|draft| Arc::clone(&draft.said)));
                }
            }
            Command::Withdraw { name, .. }
            | Command::Prioritise { name, .. }
            | Command::ChangeNonDisclosure { name, .. } => {
                keys.referrals.insert(name.id);
            }
            Command::CreateOrganisation { name, hosts, .. } => keys.change(name, hosts),
            Command::UpdateOrganisation { name, hosts, .. } => keys.change(name, hosts.as_deref().unwrap_or_default()),
            Command::AddSigningKey { agency, .. }
            | Command::RevokeSigningKey { agency, .. }
            | Command::SetSigningPolicy { agency, .. } => {
                keys.organisations.insert(format!("agencies/{agency}"));
                keys.signing.insert(agency.clone());
            }
            Command::SetRetention { agency, .. } => {
                keys.organisations.insert(format!("agencies/{agency}"));
                keys.retention.insert(agency.clone());
            }
            Command::Erase { name, .. } => {
                keys.referrals.insert(name.id);
                keys.sealed.insert(name.id);
                keys.carrying.insert(name.id);
            }
            Command::Expire { agency, ids } => {
                keys.referrals.extend(ids);
                keys.sealed.extend(ids);
                keys.carrying.extend(ids);
                keys.retention.insert(agency.clone());
            }
            Command::Propose { terms, .. } => {
                for party in &terms.parties {
                    keys.organisations.insert(format!("agencies/{party}"));
                    keys.parties.insert(party.clone());
                }
            }
            Command::Act { name, .. } => {
                keys.agreements.insert(*name);
            }
            Command::Impose { measure, .. } => {
                keys.organisations.insert(format!("agencies/{}", measure.name.agency));
                keys.measured.insert(measure.name.agency.clone());
            }
            Command::ActOnMeasure { name, .. } => {
                keys.measures.insert(name.id);
                keys.measured.insert(name.agency.clone());
            }
            Command::CreateOperation(new) => {
                let agencies = new.invited.iter().chain([&new.name.agency]);
                keys.organisations.extend(agencies.map(|agency| format!("agencies/{agency}")));
                keys.leading.insert(new.name.agency.clone());
            }
            Command::ActOnOperation { name, act } => {
                keys.operations.insert(name.id);
                if let operation::Act::Update { invite, .. } = act {
                    keys.organisations.extend(invite.iter().map(|agency| format!("agencies/{agency}")));
                }
            }
            Command::Flag { name, .. } => {
                keys.organisations.insert(format!("agencies/{}", name.referral.agency));
                keys.flagged.insert(name.referral.agency.clone());
            }
            Command::Observe { name, observed, .. } => {
                keys.referrals.insert(name.referral.id);
                keys.observed.insert(name.referral.id);
                let again = observed.reappeared.as_ref().and_then(|reappeared| reappeared.referral.as_ref());
                keys.referrals.extend(again.map(|again| again.id));
            }
            Command::RecordEvidence(new) => {
                keys.organisations.insert(format!("agencies/{}", new.name().agency));
            }
            Command::DeleteEvidence { name } => {
                keys.evidence.insert(name.id);
            }
            Command::AnswerFlag { name, answer } => {
                keys.flags.insert(name.id);
                keys.flagged.insert(name.referral.agency.clone());
                keys.referrals.insert(name.referral.id);
                keys.referrals.extend(answer.replacement.as_ref().map(|replacement| replacement.id));
            }
            Command::CreateDraft { name, .. } => {
                keys.organisations.insert(format!("agencies/{}", name.agency));
                keys.drafting.insert(name.agency.clone());
            }
            Command::UpdateDraft { name, .. } => {
                keys.drafts.insert(name.id);
            }
            Command::AuthoriseDraft(act) => {
                keys.drafts.insert(act.name.id);
                keys.drafting.insert(act.name.agency.clone());
                if let Some(found) = &act.found {
                    keys.refer(found);
                    keys.pointed.repeatable.push(Arc::clone(found));
                    keys.pointed.matched.extend(act.key.map(|key| (Arc::clone(found), key)));
                }
            }
            Command::DiscardDraft { name, .. } => {
                keys.held.insert(name.id);
                keys.drafts.insert(name.id);
                keys.drafting.insert(name.agency.clone());
            }
            Command::SetAuthorisation { agency, .. } => {
                keys.organisations.insert(format!("agencies/{agency}"));
                keys.demanding.insert(agency.clone());
            }
            Command::SetAddressRules { platform, rules, .. } => {
                keys.pointed.setting.push((platform.clone(), Arc::clone(rules)));
                let name = format!("platforms/{platform}");
                keys.organisations.insert(name);
                keys.changing.insert(platform.clone());
                keys.rules.insert(platform.clone());
            }
            Command::GivePreNotice(notice) => {
                let (agency, platform) = (&notice.name.agency, &notice.platform);
                keys.organisations.extend([format!("agencies/{agency}"), format!("platforms/{platform}")]);
                keys.gates.insert(pre_notices::key(&pair_of(notice)));
            }
            Command::Link { name, others } => {
                keys.referrals.extend(others.iter().chain([name]).map(|name| name.id));
            }
            Command::RegisterInterests { agency, interests, .. } => {
                keys.organisations.insert(format!("agencies/{agency}"));
                keys.interested.insert(agency.clone());
                for of in interests {
                    keys.organisations.insert(format!("platforms/{}", of.platform));
                    keys.hosts.extend(of.location.domains().map(str::to_owned));
                    keys.rules.insert(of.platform.clone());
                }
            }
            Command::RenewInterest { name, .. } => {
                keys.interests.insert(name.id);
            }
            Command::EndInterest { name } => {
                keys.interests.insert(name.id);
                keys.holding.insert(name.id);
            }
            Command::ExpireInterests { names } => keys.interests.extend(names.iter().map(|name| name.id)),
            Command::ReleaseHold { name, .. } => {
                keys.holds.insert(name.id);
            }
            Command::RenewHold { name, interest, .. } => {
                keys.interests.insert(interest.id);
                keys.holds.insert(name.id);
            }
            Command::OverrideHolds(act) => keys.clear(&act.of),
            Command::ClearHeld(of) => keys.clear(of),
            Command::Readdress { sweep, ids } => {
                keys.rules.insert(sweep.platform.clone());
                keys.referrals.extend(ids);
            }
        }
    }

    fn event_keys(event: &Event, keys: &mut Keys) {
        match event {
            Event::OperationChanged(operation) => {
                keys.operations.insert(operation.name.id);
            }
            Event::Observed(_) => {}
            Event::Created(referral) => {
                keys.operations.extend(referral.operation.as_ref().map(|name| name.id));
                keys.gates.extend(pair_of_order(referral).as_ref().map(pre_notices::key));
            }
            Event::PreNoticeGiven(notice) => {
                keys.gates.insert(pre_notices::key(&pair_of(notice)));
            }
            Event::Withdrawn(referral)
            | Event::Readdressed { referral, .. }
            | Event::Linked { referral, .. }
            | Event::Prioritised { referral, .. }
            | Event::NonDisclosureChanged { referral, .. } => {
                keys.referrals.insert(referral.name.id);
            }
            Event::Erased(referral) => {
                keys.referrals.insert(referral.name.id);
                keys.retention.insert(referral.name.agency.clone());
            }
            Event::RetentionChanged(policy) => {
                keys.retention.insert(policy.agency.clone());
            }
            Event::OrganisationCreated(organisation) | Event::OrganisationUpdated(organisation) => {
                keys.change(&organisation.name, &organisation.hosts);
            }
            Event::SigningChanged(profile) => {
                keys.signing.insert(profile.agency.clone());
            }
            Event::AgreementChanged(agreement) => {
                keys.agreements.insert(agreement.name);
            }
            Event::MeasureChanged(measure) => {
                keys.measures.insert(measure.name.id);
            }
            Event::FlagChanged(flag) => {
                keys.flags.insert(flag.name.id);
            }
            Event::DraftChanged(draft) => {
                keys.drafts.insert(draft.name.id);
            }
            Event::EvidenceUploaded(evidence) | Event::EvidenceErased(evidence) => {
                keys.evidence.insert(evidence.name().id);
            }
            Event::AuthorisationChanged(policy) => {
                keys.demanding.insert(policy.agency.clone());
            }
            Event::AddressRulesChanged(rules) => {
                keys.rules.insert(rules.platform.clone());
            }
            Event::InterestChanged(interest) => {
                keys.interests.insert(interest.name.id);
            }
            Event::HoldChanged(hold) => {
                keys.holds.insert(hold.name.id);
            }
            Event::AddressesSwept(sweep) => {
                keys.rules.insert(sweep.platform.clone());
            }
        }
    }

    async fn load(conn: &mut Conn, keys: Keys) -> sqlx::Result<State> {
        let mut state = State::default();
        let names = keys.organisations.into_iter().collect::<Vec<_>>();
        let changing = keys.changing.into_iter().collect::<Vec<_>>();
        let ids = keys.referrals.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut reads = Reads::new();
        let hosts = reads.find(&HOSTS, &keys.hosts.into_iter().collect::<Vec<_>>());
        let own = reads.find(&HOSTS_OF, &changing);
        let organisations = reads.find(&ORGANISATIONS, &names);
        let referrals = reads.find(&REFERRALS, &ids);
        let agencies = keys.signing.into_iter().collect::<Vec<_>>();
        let profiles = reads.find(&signing::PROFILES, &agencies);
        let signing_keys = reads.find(&signing::KEYS, &agencies);
        let ruled = keys.retention.into_iter().collect::<Vec<_>>();
        let policies = reads.find(&retention::POLICIES, &ruled);
        let rules = reads.find(&retention::RULES, &ruled);
        let sealed = seal::find(&mut reads, keys.sealed);
        let known = keys.agreements.iter().map(|name| name.0.as_bytes().to_vec()).collect::<Vec<_>>();
        let known = agreements::find(&mut reads, &known);
        let parties = agreements::count(&mut reads, &keys.parties.into_iter().collect::<Vec<_>>());
        let of_agencies = reads.find(&measures::REACHES, &keys.measured.into_iter().collect::<Vec<_>>());
        let ids = keys.measures.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
        let by_id = reads.find(&measures::BY_ID, &ids);
        let flagged = reads.find(&review_flags::OPEN, &keys.flagged.into_iter().collect::<Vec<_>>());
        let ids = keys.flags.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
        let flags = reads.find(&review_flags::BY_ID, &ids);
        let ids = keys.observed.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
        let observed = reads.find(&observations::COUNTED, &ids);
        let drafting = reads.find(&drafts::OPEN, &keys.drafting.into_iter().collect::<Vec<_>>());
        let drafts = reads.find(&drafts::BY_ID, &drafts::column(keys.drafts));
        let demands = reads.find(&authorisation::POLICIES, &keys.demanding.into_iter().collect::<Vec<_>>());
        let exhibited = evidence::find(&mut reads, keys.evidence, keys.carrying);
        let addressing = reads.find(&address_rules::NEWEST, &keys.rules.into_iter().collect::<Vec<_>>());
        let platforms = keys.pointed.matched.iter().map(|(said, _)| said.platform.clone()).collect::<BTreeSet<_>>();
        let matching = reads.find(&interests::RULES, &platforms.into_iter().collect::<Vec<_>>());
        let by_interest = reads.find(&interests::OF_INTERESTS, &drafts::column(keys.holding));
        let by_draft = reads.find(&interests::OF_DRAFTS, &drafts::column(keys.held));
        let by_hold = reads.find(&interests::HOLDS, &drafts::column(keys.holds));
        let known_interests = reads.find(&interests::BY_ID, &drafts::column(keys.interests));
        let live = reads.find(&interests::LIVE, &keys.interested.iter().cloned().collect::<Vec<_>>());
        let ids = keys.operations.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>();
        let joint = reads.find(&operations::BY_ID, &ids);
        let leading = reads.find(&operations::LED, &keys.leading.into_iter().collect::<Vec<_>>());
        let gates = reads.find(&pre_notices::GATES, &keys.gates.into_iter().collect::<Vec<_>>());
        let mut rows = reads.run(conn).await?;
        for operation in operations::operations(rows.take(joint)?)? {
            state.operations.insert(operation.name.id, operation);
        }
        let led: Vec<(String,)> = rows.take(leading)?;
        for (agency,) in led {
            *state.operations_of.entry(agency).or_default() += 1;
        }
        let found: Vec<GateRow> = rows.take(gates)?;
        state.gates = found.into_iter().map(pre_notices::gate).collect::<sqlx::Result<_>>()?;
        (state.evidence, state.carriers) = evidence::found(&mut rows, exhibited)?;
        let observed: Vec<(Vec<u8>, i64)> = rows.take(observed)?;
        for (id, count) in observed {
            let id = Uuid::from_slice(&id).map_err(|_| sqlx::Error::Decode("a referral's id has 16 bytes".into()))?;
            state.observed.insert(id, usize::try_from(count).unwrap_or(usize::MAX));
        }
        let open: Vec<(String,)> = rows.take(flagged)?;
        for (agency,) in open {
            *state.open_flags.entry(agency).or_default() += 1;
        }
        for flag in review_flags::flags(rows.take(flags)?)? {
            state.flags.insert(flag.name.id, flag);
        }
        let open: Vec<(String,)> = rows.take(drafting)?;
        for (agency,) in open {
            *state.open_drafts.entry(agency).or_default() += 1;
        }
        for draft in drafts::drafts(rows.take(drafts)?)? {
            state.drafts.insert(draft.name.id, draft);
        }
        for policy in authorisation::policies(rows.take(demands)?)? {
            state.authorisation.insert(policy.agency.clone(), policy);
        }
        for of in address_rules::rules(rows.take(addressing)?)? {
            state.rules.insert(of.platform.clone(), of);
        }
        state.matched_rules = interests::rules(rows.take(matching)?)?;
        for ticket in [by_interest, by_draft, by_hold] {
            for hold in rows.take::<interests::Row>(ticket)?.into_iter().map(interests::hold) {
                let hold = hold?;
                state.holds.insert(hold.name.id, hold);
            }
        }
        for interest in rows.take::<interests::Row>(known_interests)?.into_iter().map(interests::interest) {
            let interest = interest?;
            state.interests.insert(interest.name.id, interest);
        }
        state.live_interests = keys.interested.into_iter().map(|agency| (agency, 0)).collect();
        let live: Vec<(String, i64)> = rows.take(live)?;
        state.live_interests.extend(live.into_iter().map(|(of, live)| (of, usize::try_from(live).unwrap_or_default())));
        for (agency, reach) in measures::reaches(rows.take(of_agencies)?)? {
            state.reaches.entry(agency).or_default().push(reach);
        }
        for measure in measures::measures(rows.take(by_id)?)? {
            state.measures.insert(measure.name.id, measure);
        }
        for profile in signing::profiles(rows.take(profiles)?, rows.take(signing_keys)?)? {
            state.signing.insert(profile.agency.clone(), profile);
        }
        state.retention = retention::policies(rows.take(policies)?, rows.take(rules)?)?;
        state.sealed = seal::found(&mut rows, sealed)?.into_iter().collect();
        let mut found: Vec<(String, String, i64)> = rows.take(hosts)?;
        let own: Vec<(String, String, i64)> = rows.take(own)?;
        let mut hosts_of = BTreeMap::<String, BTreeMap<i64, String>>::new();
        for (host, platform, place) in &own {
            hosts_of.entry(platform.clone()).or_default().insert(*place, host.clone());
        }
        found.extend(own);
        state.hosts = found.into_iter().map(|(host, platform, _)| (host, platform)).collect();
        let registered: Vec<OrganisationRow> = rows.take(organisations)?;
        for row in registered {
            let id = row.0.split('/').nth(1).unwrap_or_default();
            let hosts = hosts_of.remove(id).unwrap_or_default().into_values().collect();
            let organisation = organisation(row, hosts)?;
            state.organisations.insert(organisation.name.clone(), organisation);
        }
        let found: Vec<ReferralRow> = rows.take(referrals)?;
        for row in found {
            let referral = row.read()?;
            state.referrals.insert(referral.name.id, referral);
        }
        for kept in agreements::found(&mut rows, known)? {
            let agreement = kept_agreement(&kept)?;
            state.agreements.insert(agreement.name, agreement);
        }
        know(conn, &keys.pointed, &mut state).await?;
        for party in agreements::counted(&mut rows, parties)? {
            *state.agreements_of.entry(party).or_default() += 1;
        }
        Ok(state)
    }

    async fn persist(script: &mut Script<'_>, state: State) -> sqlx::Result<()> {
        let State {
            organisations,
            referrals,
            signing: profiles,
            retention: policies,
            agreements: known,
            measures: imposed,
            flags,
            drafts: written,
            authorisation: demands,
            evidence: shown,
            rules,
            interests: matched,
            holds,
            operations: joint,
            gates,
            changes,
            ..
        } = state;
        let changed = changes.signing.iter().filter_map(|agency| profiles.get(agency)).collect::<Vec<_>>();
        signing::persist(script, &changed).await?;
        let changed = changes.retention.iter().filter_map(|agency| policies.get(agency)).collect::<Vec<_>>();
        retention::persist(script, &changed).await?;
        let kept = changes.agreements.iter().filter_map(|name| known.get(name)).map(keep_agreement).collect::<Vec<_>>();
        agreements::keep(script, &kept).await?;
        let changed = changes.measures.iter().filter_map(|id| imposed.get(id)).collect::<Vec<_>>();
        measures::persist(script, &changed).await?;
        let changed = changes.flags.iter().filter_map(|id| flags.get(id)).collect::<Vec<_>>();
        review_flags::persist(script, &changed).await?;
        let changed = changes.operations.iter().filter_map(|id| joint.get(id)).collect::<Vec<_>>();
        operations::persist(script, &changed).await?;
        let changed = changes.drafts.iter().filter_map(|id| written.get(id)).collect::<Vec<_>>();
        drafts::persist(script, &changed).await?;
        let changed = changes.authorisation.iter().filter_map(|agency| demands.get(agency)).collect::<Vec<_>>();
        authorisation::persist(script, &changed).await?;
        let changed = changes.evidence.iter().filter_map(|id| shown.get(id)).collect::<Vec<_>>();
        evidence::persist(script, &changed).await?;
        let changed = changes.rules.iter().filter_map(|platform| rules.get(platform)).collect::<Vec<_>>();
        address_rules::persist(script, &changed).await?;
        address_rules::keep(script, &changes.versions).await?;
        let changed = changes.interests.iter().filter_map(|id| matched.get(id)).collect::<Vec<_>>();
        interests::persist(script, &changed, &changes.live_interests).await?;
        let changed = changes.holds.iter().filter_map(|id| holds.get(id)).collect::<Vec<_>>();
        interests::persist_holds(script, &changed).await?;
        INSERT_REFERRAL.run(script, &changes.created, bind_referral).await?;
        evidence::attach(script, &changes.created).await?;
        observations::persist(script, &changes.observed).await?;
        pre_notices::persist(script, &changes.pre_notices).await?;
        let changed = changes.gates.iter().filter_map(|pair| gates.get_key_value(pair)).collect::<Vec<_>>();
        pre_notices::keep_gates(script, &changed).await?;
        for referral in changes.updated.iter().filter_map(|id| referrals.get(id)) {
            if referral.is_erased(FieldGroup::Target) {
                observations::erase(script, referral.name.id).await?;
                evidence::detach(script, referral.name.id).await?;
            }
            script.execute(UPDATE_REFERRAL, |binds| bind_changes(referral, binds)).await?;
        }
        let changed = changes.updated.iter().filter_map(|id| referrals.get(id));
        let links = changes.created.iter().chain(changed).flat_map(|of| of.links.iter().map(move |link| (of, link)));
        INSERT_LINK
            .run(script, &links.collect::<Vec<_>>(), |(of, link): &(&Referral, &Link), binds| {
                binds
                    .add(link.referral.id.as_bytes().to_vec())
                    .add(of.name.id.as_bytes().to_vec())
                    .add(i64::from(link.kind.code()));
            })
            .await?;
        let changed = changes.organisations.iter().filter_map(|name| organisations.get(name)).collect::<Vec<_>>();
        UPSERT_ORGANISATION
            .run(script, &changed, |organisation, binds| {
                binds
                    .add(organisation.name.to_string())
                    .add(organisation.display_name.as_str())
                    .add(organisation.created_at.micros())
                    .add(organisation.updated_at.micros())
                    .add(organisation.created)
                    .add(organisation.updated);
            })
            .await?;
        // All are forgotten before any is set: two platforms of one batch may have exchanged a host.
        let platforms = changed.iter().filter(|organisation| organisation.name.kind() == OrganisationKind::Platform);
        for platform in platforms.clone() {
            script
                .execute(FORGET_HOSTS, |binds| {
                    binds.add(platform.name.id());
                })
                .await?;
        }
        let hosts =
            platforms.flat_map(|platform| (0..).zip(&platform.hosts).map(move |(place, host)| (host, platform, place)));
        INSERT_HOST
            .run(
                script,
                &hosts.collect::<Vec<_>>(),
                |(host, platform, place): &(&String, &&Organisation, i64), binds| {
                    binds.add((*host).as_str()).add(platform.name.id()).add(*place);
                },
            )
            .await
    }
}

/// Finds what else has to be known of where the batch points: what it may repeat, the interests that it may hit, and the first
/// referrals of its operations. Which place something is depends on the rules, which are known by now; or on those that the batch sets
/// first. All of it is one way to the database.
async fn know(
    conn: &mut Conn,
    Pointed { repeatable, matched, joint, setting }: &Pointed,
    state: &mut State,
) -> sqlx::Result<()> {
    let mut tags = Vec::new();
    for (said, key) in matched {
        let location = &said.target.location;
        tags.extend(state.tags(key, &said.platform, location));
        let then = setting.iter().filter(|(platform, _)| *platform == said.platform);
        let then = then.map(|(_, rules)| location.under(rules, 0));
        tags.extend(then.map(|location| key.tag(&said.platform, location.canonical())));
    }
    let mut reads = Reads::new();
    let known = reads.find(&OF_TARGETS, &targets(repeatable, setting, state));
    let hit = reads.find(&interests::BY_TAG, &interests::tags(tags));
    let firsts = reads.find(&operations::FIRSTS, &targets(joint, setting, state));
    let mut rows = reads.run(conn).await?;
    for row in rows.take::<KnownRow>(known)? {
        let (matter, known) = read_known(row).ok_or_else(|| sqlx::Error::Decode("a referral cannot be read".into()))?;
        state.known.entry(matter).or_default().push(known);
    }
    for interest in rows.take::<interests::Row>(hit)?.into_iter().map(interests::interest) {
        let interest = interest?;
        state.interests_in.entry(interest.tag).or_default().push(interest.name.id);
        state.interests.insert(interest.name.id, interest);
    }
    for (place, first) in operations::firsts(rows.take(firsts)?)? {
        state.firsts.entry(place).or_insert(first);
    }
    Ok(())
}

/// The keys of the targets of what is referred: by the rules that hold, and by those that the batch sets.
fn targets(referred: &[Arc<Said>], setting: &[(String, Arc<RuleSet>)], state: &State) -> Vec<Vec<u8>> {
    let mut targets = BTreeSet::new();
    for said in referred {
        let now = state.addressed(said).target.location.clone();
        let then = setting.iter().filter(|(platform, _)| *platform == said.platform);
        let then = then.map(|(_, rules)| said.target.location.under(rules, 0));
        targets.extend(then.chain([now]).map(|location| key(location.canonical())));
    }
    targets.into_iter().map(|key| key.to_vec()).collect()
}

type KnownRow = (i64, Vec<u8>, String, String, i64, i64, Vec<u8>);

fn read_known((created, id, agency, platform, ground, nature, target): KnownRow) -> Option<(Matter, Known)> {
    let name = ReferralName { agency: agency.clone(), id: Uuid::from_slice(&id).ok()? };
    let matter = Matter {
        agency,
        platform,
        target: target.as_slice().try_into().ok()?,
        ground: Ground::from_code(i32::try_from(ground).ok()?)?,
        nature: Nature::from_code(i32::try_from(nature).ok()?)?,
    };
    Some((matter, Known { name, created }))
}

fn bind_referral(referral: &Referral, binds: &mut Binds) {
    let (state, withdrawn_us, withdrawal_recorded_us, reason) = standing(&referral.standing);
    let location = &referral.target.location;
    binds
        .add(referral.created)
        .add(referral.updated)
        .add(referral.name.id.as_bytes().to_vec())
        .add(referral.name.agency.as_str())
        .add(referral.platform.as_str())
        .add(i64::from(referral.target.kind.code()))
        .add(location.raw())
        .add(referral.target.native_id.as_str())
        .add(i64::from(referral.nature.code()))
        .add(i64::from(referral.ground.code()))
        .add(referral.legal_basis.code.as_str())
        .add(referral.legal_basis.statute.as_str())
        .add(referral.legal_basis.section.as_str())
        .add(referral.statement.as_str())
        .add(referral.statement_language.as_str())
        .add(referral.content_language.as_str())
        .add(referral.occurred_at.micros())
        .add(referral.recorded_at.micros())
        .add(state)
        .add(withdrawn_us)
        .add(withdrawal_recorded_us)
        .add(reason)
        .add(referral.signature.as_ref().map_or("", |signature| signature.jws.as_str()))
        .add(referral.signature.as_ref().and_then(|signature| signature.occurred_at).map(Timestamp::micros))
        .add(i64::from(referral.handling.tlp.code()))
        .add(i64::from(referral.handling.classification.code()))
        .add(referral.handling.source_grade.map_or(0, |grade| i64::from(grade.code())))
        .add(referral.handling.assessment.map_or(0, |assessment| i64::from(assessment.code())))
        .add(referral.handling.conditions.clone())
        .add(encode_erasures(&referral.erasures))
        .add(protected_context::encode(referral.protected_context.as_ref()))
        .add(order::encode(referral.order.as_ref()))
        .add(priority::encode(referral.priority.as_ref()))
        .add(encode_exhibits(&referral.exhibits));
    bind_target(referral, binds);
    let first = referral.operation.is_some() && referral.same_target().is_none();
    binds.add(referral.operation.as_ref().map(ToString::to_string).unwrap_or_default()).add(i64::from(first));
}

/// Which place its target is.
fn bind_target(referral: &Referral, binds: &mut Binds) {
    let location = &referral.target.location;
    binds
        .add(location.canonical())
        .add(i64::from(location.versions().base))
        .add(i64::from(location.versions().platform))
        .add(encode_handles(&referral.target.handles))
        .add(referral.target_key().map(|key| key.to_vec()))
        .add(links::encode(&referral.links));
}

/// What of a referral changes: where it stands, and what is left of it.
fn bind_changes(referral: &Referral, binds: &mut Binds) {
    let (state, at, recorded_at, reason) = standing(&referral.standing);
    binds
        .add(referral.updated)
        .add(state)
        .add(at)
        .add(recorded_at)
        .add(reason)
        .add(referral.target.location.raw())
        .add(referral.target.native_id.as_str())
        .add(referral.statement.as_str())
        .add(referral.signature.as_ref().map_or("", |signature| signature.jws.as_str()))
        .add(referral.signature.as_ref().and_then(|signature| signature.occurred_at).map(Timestamp::micros))
        .add(referral.handling.source_grade.map_or(0, |grade| i64::from(grade.code())))
        .add(referral.handling.assessment.map_or(0, |assessment| i64::from(assessment.code())))
        .add(referral.handling.conditions.clone())
        .add(encode_erasures(&referral.erasures))
        .add(protected_context::encode(referral.protected_context.as_ref()))
        .add(order::encode(referral.order.as_ref()))
        .add(priority::encode(referral.priority.as_ref()))
        .add(encode_exhibits(&referral.exhibits));
    bind_target(referral, binds);
    binds.add(referral.created);
}

/// An agreement with its parties, as the database has it.
fn keep_agreement(agreement: &Agreement) -> (Kept, Vec<String>) {
    let kept = Kept {
        id: agreement.name.0.as_bytes().to_vec(),
        created: agreement.created,
        updated: agreement.updated,
        body: encode(agreement),
    };
    (kept, agreement.terms.parties.clone())
}

/// The agreement behind a row.
pub(super) fn kept_agreement(kept: &Kept) -> sqlx::Result<Agreement> {
    let agreement = decode(&kept.body);
    let agreement = agreement.ok_or_else(|| sqlx::Error::Decode("an agreement cannot be read".into()))?;
    Ok(Agreement { created: kept.created, updated: kept.updated, ..agreement })
}

fn standing(standing: &Standing) -> (i64, Option<i64>, Option<i64>, Option<String>) {
    let state = i64::from(state_code(standing));
    match standing {
        Standing::Submitted => (state, None, None, None),
        Standing::Withdrawn { at, recorded_at, reason } => {
            (state, Some(at.micros()), Some(recorded_at.micros()), Some(reason.clone()))
        }
    }
}
