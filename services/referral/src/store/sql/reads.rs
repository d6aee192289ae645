//! The service's reads.

use std::collections::HashSet;

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
use portreeve_core::{Principal, Result, Timestamp, limits};
use portreeve_storage::unavailable;
use sqlx::QueryBuilder;

use super::measures;
use super::observations;
use super::operations;
use super::review_flags;
use super::signing::{self, ProfileRow};
use super::tables::{OrganisationRow, Tables, kept_agreement, organisation};
use super::{
    Db, Lookup, Store, address_rules, agreements, authorisation, drafts, evidence, interests, pre_notices, retention,
};
use crate::domain::evidence::key;
use crate::domain::observation::Observation;
use crate::domain::{
    AddressRules, AuthorisationPolicy, Draft, Evidence, Hold, Interest, Ledger, Measure, Operation, Organisation,
    PreNotice, Referral, RetentionPolicy, ReviewFlag, SigningProfile,
};
use crate::rpc::convert::state_code;
use crate::store::sql_row::{REFERRAL_COLUMNS, ReferralRow};
use crate::store::{Filter, Query};

const REFERRAL: &str = REFERRAL_COLUMNS!("r.referral_id = $1");
pub(super) static AT: Lookup = Lookup::new(REFERRAL_COLUMNS!("r.seq IN"));
const ORGANISATION: &str =
    "SELECT name, display_name, created_us, updated_us, created_seq, updated_seq FROM organisation WHERE name = $1";
const ORGANISATIONS: &str = "SELECT name, display_name, created_us, updated_us, created_seq, updated_seq FROM organisation \
     WHERE name > $1 AND updated_seq <= $2 ORDER BY name LIMIT $3";
const HOSTS: &str = "SELECT host FROM platform_host WHERE platform = $1 ORDER BY place";

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("referral", REFERRAL),
    ("organisation", ORGANISATION),
    ("organisations", ORGANISATIONS),
    ("hosts_of_platform", HOSTS),
];

/// The reads on this engine.
pub struct Reads(Store<Ledger, Tables>);

impl Reads {
    pub(super) fn new(store: Store<Ledger, Tables>) -> Self {
        Self(store)
    }

    async fn with_hosts(&self, row: OrganisationRow) -> sqlx::Result<Organisation> {
        let hosts = match row.0.strip_prefix("platforms/") {
            Some(id) => sqlx::query_scalar(HOSTS).bind(id.to_owned()).fetch_all(self.0.readers()).await?,
            None => Vec::new(),
        };
        organisation(row, hosts)
    }

    async fn try_organisation(&self, name: &OrganisationName) -> sqlx::Result<Option<Organisation>> {
        let row = sqlx::query_as(ORGANISATION).bind(name.to_string()).fetch_optional(self.0.readers()).await?;
        match row {
            Some(row) => self.with_hosts(row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn try_organisations(
        &self,
        kinds: &[OrganisationKind],
        after: &str,
        unchanged_since: i64,
        limit: usize,
    ) -> sqlx::Result<Vec<Organisation>> {
        let mut found = Vec::new();
        let mut after = after.to_owned();
        while found.len() < limit {
            let rows: Vec<OrganisationRow> = sqlx::query_as(ORGANISATIONS)
                .bind(after.clone())
                .bind(unchanged_since)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(self.0.readers())
                .await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.0);
            for row in rows {
                let organisation = self.with_hosts(row).await?;
                if (kinds.is_empty() || kinds.contains(&organisation.name.kind())) && found.len() < limit {
                    found.push(organisation);
                }
            }
        }
        Ok(found)
    }

    async fn try_signing(&self, rows: Vec<ProfileRow>) -> sqlx::Result<Vec<SigningProfile>> {
        let agencies = rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
        let mut conn = self.0.readers().acquire().await?;
        let keys = signing::KEYS.run(&mut conn, &agencies).await?;
        signing::profiles(rows, keys)
    }

    async fn try_signing_profile(&self, agency: &str) -> sqlx::Result<Option<SigningProfile>> {
        let mut conn = self.0.readers().acquire().await?;
        let rows = signing::PROFILES.run(&mut conn, &[agency.to_owned()]).await?;
        drop(conn);
        Ok(self.try_signing(rows).await?.pop())
    }

    async fn try_signing_profiles(&self, after: &str, since: i64, limit: usize) -> sqlx::Result<Vec<SigningProfile>> {
        let rows: Vec<ProfileRow> = sqlx::query_as(signing::AFTER)
            .bind(after.to_owned())
            .bind(since)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.0.readers())
            .await?;
        self.try_signing(rows).await
    }

    async fn try_referrals(&self, query: &Query) -> sqlx::Result<Vec<(Referral, View)>> {
        let mut found = Vec::new();
        if *query.reader.scope() == Scope::Nothing {
            return Ok(found);
        }
        let mut after = query.after;
        loop {
            let wanted = query.limit - found.len();
            let mut statement = QueryBuilder::<Db>::new(REFERRAL_COLUMNS!("r.seq > "));
            statement.push_bind(after);
            visible(&mut statement, query);
            select(&mut statement, &query.filter);
            statement.push(" ORDER BY r.seq LIMIT ").push_bind(i64::try_from(wanted).unwrap_or(i64::MAX));
            let rows: Vec<ReferralRow> = statement.build_query_as().fetch_all(self.0.readers()).await?;
            let count = rows.len();
            for row in rows {
                let referral = row.read()?;
                after = referral.created;
                // What is seen of a row is the choke point's to say. Where several agreements show it, it may meet the
                // conditions as one shows it, and not as it is shown: then the page is filled with the next ones.
                if let Some(view) = query.reader.view(&referral.marks()).filter(|view| shown(query, &referral, *view)) {
                    found.push((referral, view));
                }
            }
            if count < wanted || found.len() == query.limit {
                return Ok(found);
            }
        }
    }
}

/// Whether a row meets the conditions on what changes as it is shown.
fn shown(query: &Query, referral: &Referral, view: View) -> bool {
    let states = &query.filter.states;
    if !query.filter.shows(referral, view, query.reader.scope()) {
        return false;
    }
    match view.before {
        Some(moment) => {
            query.unchanged_since.is_none_or(|position| referral.created <= position)
                && (states.is_empty() || states.contains(&state_code(&referral.as_before(moment).standing)))
        }
        None => {
            query.unchanged_since.is_none_or(|position| referral.updated <= position)
                && (states.is_empty() || states.contains(&state_code(&referral.standing)))
        }
    }
}

/// What the reader sees of anything, as conditions: [`Reader::view`] is the same rule for one row; a test holds them
/// together. With it go the conditions that a row kept from an ended agreement meets as it stood then.
fn visible(statement: &mut QueryBuilder<Db>, query: &Query) {
    let present = |statement: &mut QueryBuilder<Db>| {
        if let Some(position) = query.unchanged_since {
            statement.push(" AND r.updated_seq <= ").push_bind(position);
        }
        one_of(statement, " AND r.state IN (", &query.filter.states);
    };
    statement.push(" AND (");
    match query.reader.scope() {
        Scope::All | Scope::Nothing => statement.push("1 = 1"),
        Scope::Agency(agency) => statement.push("r.agency = ").push_bind(agency.clone()),
        Scope::Platform(platform) => statement.push("r.platform = ").push_bind(platform.clone()),
    };
    present(statement);
    for share in query.reader.shares() {
        statement.push(" OR r.agency = ").push_bind(share.owner.clone());
        statement.push(" AND r.tlp <= ").push_bind(i64::from(share.tlp_ceiling.code()));
        if !share.accepts_conditions {
            statement.push(" AND r.conditions IS NULL");
        }
        one_of(statement, " AND r.ground IN (", &share.grounds.iter().map(|ground| ground.code()).collect::<Vec<_>>());
        if let Some(since) = share.since {
            statement.push(" AND r.recorded_us >= ").push_bind(since.micros());
        }
        let Some(before) = share.before else {
            present(statement);
            continue;
        };
        statement.push(" AND r.recorded_us < ").push_bind(before.micros());
        if let Some(position) = query.unchanged_since {
            // What changed after the end does not show, so that nothing brings the row again.
            statement.push(" AND r.seq <= ").push_bind(position);
        }
        let state = " AND CASE WHEN r.withdrawal_recorded_us >= ";
        if !query.filter.states.is_empty() {
            statement.push(state).push_bind(before.micros());
            one_of(statement, " THEN 1 ELSE r.state END IN (", &query.filter.states);
        }
    }
    statement.push(")");
}

/// A condition that a column has one of the values; none for none.
fn one_of(statement: &mut QueryBuilder<Db>, condition: &'static str, codes: &[i32]) {
    if codes.is_empty() {
        return;
    }
    statement.push(condition);
    let mut list = statement.separated(", ");
    for code in codes {
        list.push_bind(i64::from(*code));
    }
    statement.push(")");
}

/// The filter as conditions. [`Filter::selects`] is the same rule for streams; a test holds them together.
fn select(statement: &mut QueryBuilder<Db>, filter: &Filter) {
    if let Some(agency) = &filter.agency {
        statement.push(" AND r.agency = ").push_bind(agency.clone());
    }
    if !filter.platforms.is_empty() {
        statement.push(" AND r.platform IN (");
        let mut list = statement.separated(", ");
        for platform in &filter.platforms {
            list.push_bind(platform.clone());
        }
        statement.push(")");
    }
    let codes = [
        (" AND r.ground IN (", filter.grounds.iter().map(|ground| ground.code()).collect::<Vec<_>>()),
        (" AND r.nature IN (", filter.natures.iter().map(|nature| nature.code()).collect()),
        (" AND r.target_kind IN (", filter.target_kinds.iter().map(|kind| kind.code()).collect()),
    ];
    for (condition, codes) in codes {
        one_of(statement, condition, &codes);
    }
    if let Some(to) = &filter.linked_to {
        statement.push(" AND r.referral_id IN (SELECT from_id FROM referral_link WHERE to_id = ");
        statement.push_bind(to.id.as_bytes().to_vec()).push(")");
    }
    if !filter.operations.is_empty() {
        statement.push(" AND r.operation <> '' AND r.operation IN (");
        let mut list = statement.separated(", ");
        for operation in &filter.operations {
            list.push_bind(operation.to_string());
        }
        statement.push(")");
    }
    if let Some(canonical) = &filter.canonical_url {
        statement.push(" AND r.target_key = ").push_bind(portreeve_core::canonical::key(canonical).to_vec());
        statement.push(" AND r.canonical_url = ").push_bind(canonical.clone());
    }
    let times = [
        (" AND r.recorded_us >= ", filter.recorded_from),
        (" AND r.recorded_us < ", filter.recorded_until),
        (" AND r.occurred_us >= ", filter.occurred_from),
        (" AND r.occurred_us < ", filter.occurred_until),
    ];
    for (condition, time) in times {
        if let Some(time) = time {
            statement.push(condition).push_bind(time.micros());
        }
    }
}

#[async_trait]
impl crate::store::Reads for Reads {
    async fn referral(&self, reader: &Reader, name: &ReferralName) -> Result<Option<(Referral, View)>> {
        let row: Option<ReferralRow> = sqlx::query_as(REFERRAL)
            .bind(name.id.as_bytes().to_vec())
            .fetch_optional(self.0.readers())
            .await
            .map_err(|e| unavailable(&e))?;
        let referral = row.map(ReferralRow::read).transpose().map_err(|e| unavailable(&e))?;
        let Some(found) = referral.filter(|found| found.name == *name) else { return Ok(None) };
        Ok(reader.view(&found.marks()).map(|view| (found, view)))
    }

    async fn referrals_at(&self, reader: &Reader, positions: &[i64]) -> Result<Vec<(Referral, View)>> {
        let mut conn = self.0.readers().acquire().await.map_err(|e| unavailable(&e))?;
        let rows = AT.run(&mut conn, positions).await.map_err(|e| unavailable(&e))?;
        let rows = rows.into_iter().map(ReferralRow::read).collect::<sqlx::Result<Vec<_>>>();
        let rows = rows.map_err(|e| unavailable(&e))?;
        Ok(rows.into_iter().filter_map(|found| Some((found.clone(), reader.view(&found.marks())?))).collect())
    }

    async fn agreements_concerning(&self, agency: &str) -> Result<Vec<Agreement>> {
        let kept = agreements::concerning(self.0.readers(), agency).await.map_err(|e| unavailable(&e))?;
        kept.iter().map(kept_agreement).collect::<sqlx::Result<_>>().map_err(|e| unavailable(&e))
    }

    async fn agreement(&self, _principal: &Principal, name: AgreementName) -> Result<Option<Agreement>> {
        let kept = agreements::one(self.0.readers(), name.0.as_bytes()).await.map_err(|e| unavailable(&e))?;
        kept.as_ref().map(kept_agreement).transpose().map_err(|e| unavailable(&e))
    }

    async fn agreements(
        &self,
        _principal: &Principal,
        agency: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Agreement>> {
        let (since, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        let kept =
            agreements::page(self.0.readers(), agency, after, since, limit).await.map_err(|e| unavailable(&e))?;
        kept.iter().map(kept_agreement).collect::<sqlx::Result<_>>().map_err(|e| unavailable(&e))
    }

    async fn referrals(&self, query: &Query) -> Result<Vec<(Referral, View)>> {
        self.try_referrals(query).await.map_err(|e| unavailable(&e))
    }

    async fn organisation(&self, _principal: &Principal, name: &OrganisationName) -> Result<Option<Organisation>> {
        self.try_organisation(name).await.map_err(|e| unavailable(&e))
    }

    async fn organisations(
        &self,
        _principal: &Principal,
        kinds: &[OrganisationKind],
        after: &str,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Organisation>> {
        let since = unchanged_since.unwrap_or(i64::MAX);
        self.try_organisations(kinds, after, since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn signing_profile(&self, _principal: &Principal, agency: &str) -> Result<Option<SigningProfile>> {
        self.try_signing_profile(agency).await.map_err(|e| unavailable(&e))
    }

    async fn signing_profiles(
        &self,
        _principal: &Principal,
        after: &str,
        unchanged_since: i64,
        limit: usize,
    ) -> Result<Vec<SigningProfile>> {
        self.try_signing_profiles(after, unchanged_since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn measure(&self, _principal: &Principal, name: &MeasureName) -> Result<Option<Measure>> {
        let found = measures::one(self.0.readers(), name.id).await.map_err(|e| unavailable(&e))?;
        Ok(found.filter(|measure| measure.name == *name))
    }

    async fn measures(
        &self,
        _principal: &Principal,
        agency: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Measure>> {
        let (since, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        measures::page(self.0.readers(), agency, after, since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn operation(&self, _principal: &Principal, name: &OperationName) -> Result<Option<Operation>> {
        let found = operations::one(self.0.readers(), name.id).await.map_err(|e| unavailable(&e))?;
        Ok(found.filter(|operation| operation.name == *name))
    }

    async fn operations(
        &self,
        _principal: &Principal,
        agency: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Operation>> {
        let (since, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        operations::page(self.0.readers(), agency, after, since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn review_flag(&self, _principal: &Principal, name: &ReviewFlagName) -> Result<Option<ReviewFlag>> {
        let found = review_flags::one(self.0.readers(), name.id).await.map_err(|e| unavailable(&e))?;
        Ok(found.filter(|flag| flag.name == *name))
    }

    async fn review_flags(
        &self,
        _principal: &Principal,
        agency: Option<&str>,
        state: i32,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ReviewFlag>> {
        let (since, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        let found = review_flags::page(self.0.readers(), agency, state, after, since, limit).await;
        found.map_err(|e| unavailable(&e))
    }

    async fn observations(
        &self,
        _principal: &Principal,
        agency: Option<&str>,
        referral: Option<Uuid>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Observation>> {
        let (until, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        let found = observations::page(self.0.readers(), agency, referral, after, until, limit).await;
        found.map_err(|e| unavailable(&e))
    }

    async fn pre_notices(
        &self,
        _principal: &Principal,
        agency: Option<&str>,
        platform: Option<&str>,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<PreNotice>> {
        let (until, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        let found = pre_notices::page(self.0.readers(), agency, platform, after, until, limit).await;
        found.map_err(|e| unavailable(&e))
    }

    async fn draft(&self, _principal: &Principal, name: &DraftName) -> Result<Option<Draft>> {
        let found = drafts::by_id(self.0.readers(), &[name.id]).await.map_err(|e| unavailable(&e))?;
        Ok(found.into_iter().find(|draft| draft.name == *name))
    }

    async fn drafts(
        &self,
        _principal: &Principal,
        agency: &str,
        state: i32,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Draft>> {
        let (since, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        drafts::page(self.0.readers(), agency, state, after, since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn drafts_of(&self, _principal: &Principal, ids: &[Uuid]) -> Result<Vec<Draft>> {
        drafts::by_id(self.0.readers(), ids).await.map_err(|e| unavailable(&e))
    }

    async fn evidence(
        &self,
        _principal: &Principal,
        agency: &str,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Evidence>> {
        let (until, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        evidence::page(self.0.readers(), agency, after, until, limit).await.map_err(|e| unavailable(&e))
    }

    async fn evidence_by_id(&self, _principal: &Principal, ids: &[Uuid]) -> Result<Vec<Evidence>> {
        evidence::by_id(self.0.readers(), ids).await.map_err(|e| unavailable(&e))
    }

    async fn carried_to(&self, _principal: &Principal, evidence: Uuid, platform: &str) -> Result<Vec<Uuid>> {
        let limit = i64::try_from(limits::PAGE_ROWS_MAX).unwrap_or(i64::MAX);
        evidence::carried_to(self.0.readers(), evidence, platform, limit).await.map_err(|e| unavailable(&e))
    }

    async fn objects_of(&self, referrals: &[Uuid]) -> Result<Vec<String>> {
        let found = evidence::of_referrals(self.0.readers(), referrals).await.map_err(|e| unavailable(&e))?;
        Ok(found.iter().map(|of| key(&of.name().agency, &of.exhibit.digest)).collect())
    }

    async fn kept_objects(&self, keys: &[String]) -> Result<HashSet<String>> {
        evidence::kept(self.0.readers(), keys).await.map_err(|e| unavailable(&e))
    }

    async fn authorisation_policy(&self, _principal: &Principal, agency: &str) -> Result<Option<AuthorisationPolicy>> {
        authorisation::policy(self.0.readers(), agency).await.map_err(|e| unavailable(&e))
    }

    async fn address_rules(
        &self,
        _principal: &Principal,
        platform: &str,
        version: u32,
    ) -> Result<Option<AddressRules>> {
        address_rules::of(self.0.readers(), platform, version).await.map_err(|e| unavailable(&e))
    }

    async fn address_rules_after(
        &self,
        _principal: &Principal,
        after: &str,
        unchanged_since: i64,
        limit: usize,
    ) -> Result<Vec<AddressRules>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        address_rules::after(self.0.readers(), after, unchanged_since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn unswept_address_rules(&self) -> Result<Vec<AddressRules>> {
        address_rules::unswept(self.0.readers()).await.map_err(|e| unavailable(&e))
    }

    async fn referred(&self, platform: &str, after: i64, before: i64, limit: usize) -> Result<Vec<(i64, Uuid)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        address_rules::referred(self.0.readers(), platform, after, before, limit).await.map_err(|e| unavailable(&e))
    }

    async fn matched_rules(&self, platforms: &[String]) -> Result<Vec<AddressRules>> {
        interests::rules_of(self.0.readers(), platforms).await.map_err(|e| unavailable(&e))
    }

    async fn interests_in(&self, tags: HashSet<Tag>) -> Result<Vec<Interest>> {
        interests::by_tag(self.0.readers(), tags).await.map_err(|e| unavailable(&e))
    }

    async fn interest(&self, _principal: &Principal, name: &InterestName) -> Result<Option<Interest>> {
        let found = interests::by_id(self.0.readers(), &[name.id]).await.map_err(|e| unavailable(&e))?;
        Ok(found.into_iter().find(|interest| interest.name == *name))
    }

    async fn interests(&self, _principal: &Principal, agency: &str, after: i64, limit: usize) -> Result<Vec<Interest>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        interests::page(self.0.readers(), agency, after, limit).await.map_err(|e| unavailable(&e))
    }

    async fn hold(&self, _principal: &Principal, name: &HoldName) -> Result<Option<Hold>> {
        let found = interests::holds(self.0.readers(), &[name.id]).await.map_err(|e| unavailable(&e))?;
        Ok(found.into_iter().find(|hold| hold.name == *name))
    }

    async fn holds(
        &self,
        _principal: &Principal,
        agency: &str,
        open: bool,
        after: i64,
        unchanged_since: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Hold>> {
        let (since, limit) = (unchanged_since.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        interests::holds_page(self.0.readers(), agency, open, after, since, limit).await.map_err(|e| unavailable(&e))
    }

    async fn interests_over(&self, now: Timestamp, limit: usize) -> Result<Vec<InterestName>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        interests::over(self.0.readers(), now, limit).await.map_err(|e| unavailable(&e))
    }

    async fn held_clear(&self, after: i64, now: Timestamp, limit: usize) -> Result<Vec<Draft>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        interests::clear(self.0.readers(), after, now, limit).await.map_err(|e| unavailable(&e))
    }

    async fn retention_policy(&self, _principal: &Principal, agency: &str) -> Result<Option<RetentionPolicy>> {
        retention::policy(self.0.readers(), agency).await.map_err(|e| unavailable(&e))
    }

    async fn retention_policies(&self) -> Result<Vec<RetentionPolicy>> {
        retention::all(self.0.readers()).await.map_err(|e| unavailable(&e))
    }

    async fn recorded_by(&self, agency: &str, after: i64, by: Timestamp, limit: usize) -> Result<Vec<(i64, Uuid)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        retention::recorded_by(self.0.readers(), agency, after, by, limit).await.map_err(|e| unavailable(&e))
    }

    async fn rebuild(&self) -> Result<i64> {
        self.0.rebuild().await
    }

    async fn compact(&self, through: i64) -> Result<i64> {
        self.0.compact(through).await
    }

    async fn dump(&self) -> Result<Vec<String>> {
        self.0.dump().await
    }
}
