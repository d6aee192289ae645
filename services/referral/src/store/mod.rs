//! What the referral service keeps, on either engine.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use portreeve_core::access::{Reader, View};
use portreeve_core::agreement::{Agreement, AgreementName};
use portreeve_core::id::Uuid;
use portreeve_core::interest::Tag;
use portreeve_core::name::{
    DraftName, HoldName, InterestName, MeasureName, OperationName, OrganisationKind, OrganisationName, ReferralName,
    ReviewFlagName,
};
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::{FieldGroup, Ground, Nature, TargetKind};
use portreeve_core::{Clock, IdSource, Principal, Result, Timestamp};
use portreeve_storage::{Database, Parts};
use tokio::task::JoinHandle;

use crate::domain::observation::Observation;
use crate::domain::{
    AddressRules, AuthorisationPolicy, Draft, Evidence, Hold, Interest, Ledger, Measure, Operation, Organisation,
    PreNotice, Referral, RetentionPolicy, ReviewFlag, SigningProfile,
};

pub mod postgres;
pub(crate) mod sql_row;
pub mod sqlite;

/// The service's name, its log's and its schema's.
pub const SERVICE: &str = "referral";
/// The name of its access log.
pub const ACCESS: &str = "referral-access";

/// What a list or a stream of referrals selects. Empty lists select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One agency only.
    pub agency: Option<String>,
    /// Platforms.
    pub platforms: Vec<String>,
    /// Grounds.
    pub grounds: Vec<Ground>,
    /// Natures.
    pub natures: Vec<Nature>,
    /// States by their number in the contract.
    pub states: Vec<i32>,
    /// Kinds of target.
    pub target_kinds: Vec<TargetKind>,
    /// Recorded at or after.
    pub recorded_from: Option<Timestamp>,
    /// Recorded before.
    pub recorded_until: Option<Timestamp>,
    /// Occurred at or after.
    pub occurred_from: Option<Timestamp>,
    /// Occurred before.
    pub occurred_until: Option<Timestamp>,
    /// With a link to one.
    pub linked_to: Option<ReferralName>,
    /// At one address in its canonical form.
    pub canonical_url: Option<String>,
    /// Of one of these operations.
    pub operations: Vec<OperationName>,
}

impl Filter {
    /// Whether a referral is selected: the same rule as the statement's, for streams.
    pub fn selects(&self, referral: &Referral) -> bool {
        fn any<T: PartialEq>(chosen: &[T], value: &T) -> bool {
            chosen.is_empty() || chosen.contains(value)
        }
        self.agency.as_ref().is_none_or(|agency| *agency == referral.name.agency)
            && any(&self.platforms, &referral.platform)
            && any(&self.grounds, &referral.ground)
            && any(&self.natures, &referral.nature)
            && any(&self.states, &crate::rpc::convert::state_code(&referral.standing))
            && any(&self.target_kinds, &referral.target.kind)
            && self.recorded_from.is_none_or(|from| referral.recorded_at >= from)
            && self.recorded_until.is_none_or(|until| referral.recorded_at < until)
            && self.occurred_from.is_none_or(|from| referral.occurred_at >= from)
            && self.occurred_until.is_none_or(|until| referral.occurred_at < until)
            && self.linked_to.as_ref().is_none_or(|to| referral.links.iter().any(|link| link.referral == *to))
            && self.canonical_url.as_ref().is_none_or(|url| url == referral.target.location.canonical())
            && (self.operations.is_empty()
                || referral.operation.as_ref().is_some_and(|operation| self.operations.contains(operation)))
    }

    /// Whether the filter may select what is seen so: nobody finds by its address what he does not see the address of, nor by its
    /// links or its operation what he does not see these of.
    pub fn shows(&self, referral: &Referral, view: View, scope: &Scope) -> bool {
        let owner = &referral.name.agency;
        let seen =
            |to: &ReferralName| referral.links.iter().any(|link| link.referral == *to && link.is_seen(scope, owner));
        (self.operations.is_empty() || referral.is_seen_in_operation(scope))
            && (self.canonical_url.is_none() || view.groups.has(FieldGroup::Target))
            && self.linked_to.as_ref().is_none_or(seen)
    }
}

/// A stretch of referrals in the order in which they were created.
#[derive(Clone, Debug)]
pub struct Query {
    /// What to select.
    pub filter: Filter,
    /// Who reads, and what is shared with them.
    pub reader: Arc<Reader>,
    /// After the referral that this event created.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
    /// Only those that no event after this one has changed.
    pub unchanged_since: Option<i64>,
}

/// The service's reads, and what an operator does to its store.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// A referral and what the reader sees of it, if there is one and that is anything.
    async fn referral(&self, reader: &Reader, name: &ReferralName) -> Result<Option<(Referral, View)>>;

    /// The referrals that the events at these positions created, as they are, with what the reader sees of each.
    async fn referrals_at(&self, reader: &Reader, positions: &[i64]) -> Result<Vec<(Referral, View)>>;

    /// Referrals that the query selects, with what its reader sees of each.
    async fn referrals(&self, query: &Query) -> Result<Vec<(Referral, View)>>;

    /// The agreements of an agency and of its partners, with which [`Reader::new`] tells what is shared.
    async fn agreements_concerning(&self, agency: &str) -> Result<Vec<Agreement>>;

    /// An agreement. Whether the principal may see it is the caller's to ask.
    async fn agreement(&self, principal: &Principal, name: AgreementName) -> Result<Option<Agreement>>;

    /// Agreements of an agency (of all, if none is named) after a position, in the order in which they were proposed.
    async fn agreements(
        &self,
        principal: &Principal,
        agency: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Agreement>>;

    /// An organisation. Who takes part is public to everybody who takes part.
    async fn organisation(&self, principal: &Principal, name: &OrganisationName) -> Result<Option<Organisation>>;

    /// Organisations of the kinds (all, if none is named) after a name, in order of name.
    async fn organisations(
        &self,
        principal: &Principal,
        kinds: &[OrganisationKind],
        after: &str,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Organisation>>;

    /// An agency's signing keys; `None` while it never had any. They are public.
    async fn signing_profile(&self, principal: &Principal, agency: &str) -> Result<Option<SigningProfile>>;

    /// Signing keys of agencies after one, by name, that no event after a position has changed.
    async fn signing_profiles(
        &self,
        principal: &Principal,
        after: &str,
        unchanged_since: i64,
        limit: usize,
    ) -> Result<Vec<SigningProfile>>;

    /// A measure against misuse. Whether the principal may see it is the caller's to ask.
    async fn measure(&self, principal: &Principal, name: &MeasureName) -> Result<Option<Measure>>;

    /// Measures against an agency (against all, if none is named) after a position, in the order in which they were imposed.
    async fn measures(
        &self,
        principal: &Principal,
        agency: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Measure>>;

    /// An operation. Whether the principal may see it is the caller's to ask.
    async fn operation(&self, principal: &Principal, name: &OperationName) -> Result<Option<Operation>>;

    /// Operations that an agency leads or was invited to (of all, if none is named) after a position, in the order in which they
    /// were planned.
    async fn operations(
        &self,
        principal: &Principal,
        agency: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Operation>>;

    /// A flag for review. Whether the principal may see it is the caller's to ask.
    async fn review_flag(&self, principal: &Principal, name: &ReviewFlagName) -> Result<Option<ReviewFlag>>;

    /// Flags of an agency's referrals (of all, if none is named) in a state by its number in the contract (in any, for 0) after
    /// a position, in the order in which they were recorded.
    async fn review_flags(
        &self,
        principal: &Principal,
        agency: Option<&str>,
        state: i32,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ReviewFlag>>;

    /// Observations of a referral (of all of an agency, or of all, if none is named) after a position, in the order in which
    /// they were recorded. Whether the principal may see them is the caller's to ask.
    async fn observations(
        &self,
        principal: &Principal,
        agency: Option<&str>,
        referral: Option<Uuid>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Observation>>;

    /// Pre-notices of an agency, to a platform, or both (of all, if none is named) after a position, in the order in which they were
    /// recorded. Whether the principal may see them is the caller's to ask.
    async fn pre_notices(
        &self,
        principal: &Principal,
        agency: Option<&str>,
        platform: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<PreNotice>>;

    /// A draft. Whether the principal may see it is the caller's to ask.
    async fn draft(&self, principal: &Principal, name: &DraftName) -> Result<Option<Draft>>;

    /// Drafts of an agency in a state by its number in the contract (in any, for 0) after a position, in the order in which
    /// they were written.
    async fn drafts(
        &self,
        principal: &Principal,
        agency: &str,
        state: i32,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Draft>>;

    /// The drafts with these identifiers that there are, in no order.
    async fn drafts_of(&self, principal: &Principal, ids: &[Uuid]) -> Result<Vec<Draft>>;

    /// Evidence of an agency after a position, in the order in which it was uploaded. Whether the principal may see it is the
    /// caller's to ask.
    async fn evidence(
        &self,
        principal: &Principal,
        agency: &str,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Evidence>>;

    /// The evidence with these identifiers that there is, in no order. Whether the principal may see it is the caller's to ask.
    async fn evidence_by_id(&self, principal: &Principal, ids: &[Uuid]) -> Result<Vec<Evidence>>;

    /// Referrals to a platform that carry evidence, the first ones.
    async fn carried_to(&self, principal: &Principal, evidence: Uuid, platform: &str) -> Result<Vec<Uuid>>;

    /// The keys under which the bytes lie of what referrals carry.
    async fn objects_of(&self, referrals: &[Uuid]) -> Result<Vec<String>>;

    /// The keys among these under which bytes are kept.
    async fn kept_objects(&self, keys: &[String]) -> Result<HashSet<String>>;

    /// What an agency demands before a referral is sent; `None` while it never said.
    async fn authorisation_policy(&self, principal: &Principal, agency: &str) -> Result<Option<AuthorisationPolicy>>;

    /// A platform's rules of addresses as a version had them, or the newest (0); `None` if there is no such version. They are
    /// public.
    async fn address_rules(&self, principal: &Principal, platform: &str, version: u32) -> Result<Option<AddressRules>>;

    /// The newest rules of platforms after one, by name, that no event after a position has changed.
    async fn address_rules_after(
        &self,
        principal: &Principal,
        after: &str,
        unchanged_since: i64,
        limit: usize,
    ) -> Result<Vec<AddressRules>>;

    /// Rules in whose form not all referrals were put that were there before them.
    async fn unswept_address_rules(&self) -> Result<Vec<AddressRules>>;

    /// Referrals to a platform between two positions, with the position of each, for putting them in the form of its rules.
    async fn referred(&self, platform: &str, after: i64, before: i64, limit: usize) -> Result<Vec<(i64, Uuid)>>;

    /// The newest rules of addresses of platforms, and earlier ones under which interests are found.
    async fn matched_rules(&self, platforms: &[String]) -> Result<Vec<AddressRules>>;

    /// The interests that have not ended, by what finds their target, for matching alone: whose they are is nobody else's to see.
    async fn interests_in(&self, tags: HashSet<Tag>) -> Result<Vec<Interest>>;

    /// An interest. Whether the principal may see it is the caller's to ask.
    async fn interest(&self, principal: &Principal, name: &InterestName) -> Result<Option<Interest>>;

    /// Interests of an agency after a position, in the order in which they were registered.
    async fn interests(&self, principal: &Principal, agency: &str, after: i64, limit: usize) -> Result<Vec<Interest>>;

    /// A hold. Whether the principal may see it is the caller's to ask.
    async fn hold(&self, principal: &Principal, name: &HoldName) -> Result<Option<Hold>>;

    /// Holds that concern an agency (those alone that are not settled, if `open`) after a position, in the order in which they
    /// began.
    async fn holds(
        &self,
        principal: &Principal,
        agency: &str,
        open: bool,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Hold>>;

    /// Interests that are past their time and were not ended.
    async fn interests_over(&self, now: Timestamp, limit: usize) -> Result<Vec<InterestName>>;

    /// Held drafts that wait for nothing any more, after a position.
    async fn held_clear(&self, after: i64, now: Timestamp, limit: usize) -> Result<Vec<Draft>>;

    /// For how long an agency's referrals are kept; `None` while it never said.
    async fn retention_policy(&self, principal: &Principal, agency: &str) -> Result<Option<RetentionPolicy>>;

    /// Every agency's policy, for erasing what is past its time.
    async fn retention_policies(&self) -> Result<Vec<RetentionPolicy>>;

    /// An agency's referrals after one that were recorded by a time and can be erased, with the position of each.
    async fn recorded_by(&self, agency: &str, after: i64, by: Timestamp, limit: usize) -> Result<Vec<(i64, Uuid)>>;

    /// Empties the state tables and fills them again from the log. Gives the number of events read.
    async fn rebuild(&self) -> Result<i64>;

    /// Raises the compaction floor. Gives it.
    async fn compact(&self, through: i64) -> Result<i64>;

    /// Every row of the state tables as text.
    async fn dump(&self) -> Result<Vec<String>>;
}

/// An open store, and the task of its writer.
pub type Opened = (Parts<Ledger, dyn Reads>, JoinHandle<()>);

/// Opens the store.
pub async fn open(database: &Database, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Result<Opened> {
    match database {
        Database::Sqlite { folder } => {
            let engine = portreeve_storage::sqlite::open(folder, SERVICE).await?;
            sqlite::sql::open(engine, clock, ids).await
        }
        Database::Postgres { url } => {
            let engine = portreeve_storage::postgres::open(url, SERVICE).await?;
            postgres::sql::open(engine, clock, ids).await
        }
    }
}
