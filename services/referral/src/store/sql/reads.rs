//! The service's reads.

use async_trait::async_trait;
use portreeve_core::name::{OrganisationKind, OrganisationName, ReferralName};
use portreeve_core::principal::Scope;
use portreeve_core::{Principal, Result};
use portreeve_storage::unavailable;
use sqlx::QueryBuilder;

use super::signing::{self, ProfileRow};
use super::tables::{OrganisationRow, Tables, organisation};
use super::{Db, Store};
use crate::domain::{Ledger, Organisation, Referral, SigningProfile};
use crate::store::sql_row::{REFERRAL_COLUMNS, ReferralRow};
use crate::store::{Filter, Query};

const REFERRAL: &str = REFERRAL_COLUMNS!("r.referral_id = $1");
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

    async fn try_referrals(&self, query: &Query) -> sqlx::Result<Vec<Referral>> {
        let mut statement = QueryBuilder::<Db>::new(REFERRAL_COLUMNS!("r.seq > "));
        statement.push_bind(query.after);
        match &query.scope {
            Scope::All => {}
            Scope::Agency(agency) => {
                statement.push(" AND r.agency = ").push_bind(agency.clone());
            }
            Scope::Platform(platform) => {
                statement.push(" AND r.platform = ").push_bind(platform.clone());
            }
            Scope::Nothing => return Ok(Vec::new()),
        }
        if let Some(position) = query.unchanged_since {
            statement.push(" AND r.updated_seq <= ").push_bind(position);
        }
        select(&mut statement, &query.filter);
        statement.push(" ORDER BY r.seq LIMIT ").push_bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let rows: Vec<ReferralRow> = statement.build_query_as().fetch_all(self.0.readers()).await?;
        rows.into_iter().map(ReferralRow::read).collect()
    }
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
        (" AND r.state IN (", filter.states.clone()),
        (" AND r.target_kind IN (", filter.target_kinds.iter().map(|kind| kind.code()).collect()),
    ];
    for (condition, codes) in codes {
        if !codes.is_empty() {
            statement.push(condition);
            let mut list = statement.separated(", ");
            for code in codes {
                list.push_bind(i64::from(code));
            }
            statement.push(")");
        }
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
    async fn referral(&self, principal: &Principal, name: &ReferralName) -> Result<Option<Referral>> {
        let row: Option<ReferralRow> = sqlx::query_as(REFERRAL)
            .bind(name.id.as_bytes().to_vec())
            .fetch_optional(self.0.readers())
            .await
            .map_err(|e| unavailable(&e))?;
        let referral = row.map(ReferralRow::read).transpose().map_err(|e| unavailable(&e))?;
        let scope = principal.scope();
        Ok(referral.filter(|found| found.name == *name && scope.allows(&found.name.agency, &found.platform)))
    }

    async fn referrals(&self, query: &Query) -> Result<Vec<Referral>> {
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
