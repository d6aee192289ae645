//! A row of `referral` with its target, the same on both engines.

use std::sync::Arc;

use portreeve_core::Timestamp;
use portreeve_core::canonical::Versions;
use portreeve_core::id::Uuid;
use portreeve_core::location::Location;
use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::{Assessment, Classification, Ground, Nature, SourceGrade, TargetKind, Tlp};

use crate::domain::{Handling, LegalBasis, Referral, Said, Signature, Standing, Target};
use crate::rpc::convert::decode_erasures;
use crate::rpc::evidence::convert::decode_exhibits;
use crate::rpc::target::decode_handles;
use crate::rpc::{links, order, priority, protected_context};

/// The select of whole referrals, up to its condition.
macro_rules! referral_columns {
    ($condition:literal) => {
        concat!(
            "SELECT r.seq, r.updated_seq, r.referral_id, r.agency, r.platform, r.target_kind, r.url, r.native_id, r.nature, \
             r.ground, r.legal_code, r.legal_statute, r.legal_section, r.statement, r.statement_language, \
             r.content_language, r.occurred_us, r.recorded_us, r.withdrawn_us, r.withdrawal_recorded_us, \
             r.withdrawal_reason, r.signature, r.signed_occurred_us, r.tlp, r.classification, \
             r.source_grade, r.assessment, r.conditions, r.erasures, \
             r.protected_context, r.order_terms, r.priority, r.exhibits, r.canonical_url, r.base_rules, r.rules, \
             r.handles, r.links, r.operation FROM referral r WHERE ",
            $condition
        )
    };
}
pub(crate) use referral_columns as REFERRAL_COLUMNS;

/// The row.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ReferralRow {
    seq: i64,
    updated_seq: i64,
    referral_id: Vec<u8>,
    agency: String,
    platform: String,
    target_kind: i64,
    url: String,
    native_id: String,
    nature: i64,
    ground: i64,
    legal_code: String,
    legal_statute: String,
    legal_section: String,
    statement: String,
    statement_language: String,
    content_language: String,
    occurred_us: i64,
    recorded_us: i64,
    withdrawn_us: Option<i64>,
    withdrawal_recorded_us: Option<i64>,
    withdrawal_reason: Option<String>,
    signature: String,
    signed_occurred_us: Option<i64>,
    tlp: i64,
    classification: i64,
    source_grade: i64,
    assessment: i64,
    conditions: Option<String>,
    erasures: Vec<u8>,
    protected_context: Vec<u8>,
    order_terms: Vec<u8>,
    priority: Vec<u8>,
    exhibits: Vec<u8>,
    canonical_url: String,
    base_rules: i64,
    rules: i64,
    handles: Vec<u8>,
    links: Vec<u8>,
    operation: String,
}

impl ReferralRow {
    /// The referral. Fails only if the row holds what this release did not write.
    pub(crate) fn read(self) -> sqlx::Result<Referral> {
        let seq = self.seq;
        self.try_read().ok_or_else(|| sqlx::Error::Decode(format!("the referral of event {seq} cannot be read").into()))
    }

    fn try_read(self) -> Option<Referral> {
        let code = |number: i64| i32::try_from(number).ok();
        let standing = match (self.withdrawn_us, self.withdrawal_recorded_us, self.withdrawal_reason) {
            (Some(at), Some(recorded_at), Some(reason)) => Standing::Withdrawn {
                at: Timestamp::from_micros(at),
                recorded_at: Timestamp::from_micros(recorded_at),
                reason,
            },
            _ => Standing::Submitted,
        };
        let exhibits = decode_exhibits(&self.exhibits)?;
        let versions =
            Versions { base: u32::try_from(self.base_rules).ok()?, platform: u32::try_from(self.rules).ok()? };
        let said = Said {
            name: ReferralName { agency: self.agency, id: Uuid::from_slice(&self.referral_id).ok()? },
            platform: self.platform,
            target: Target {
                kind: TargetKind::from_code(code(self.target_kind)?)?,
                location: Location::recorded(&self.url, &self.canonical_url, versions).ok()?,
                native_id: self.native_id,
                handles: decode_handles(&self.handles)?,
            },
            nature: Nature::from_code(code(self.nature)?)?,
            ground: Ground::from_code(code(self.ground)?)?,
            legal_basis: LegalBasis { code: self.legal_code, statute: self.legal_statute, section: self.legal_section },
            statement: self.statement,
            statement_language: self.statement_language,
            content_language: self.content_language,
            signature: (!self.signature.is_empty()).then(|| Signature {
                jws: self.signature,
                occurred_at: self.signed_occurred_us.map(Timestamp::from_micros),
            }),
            handling: Handling {
                tlp: Tlp::from_code(code(self.tlp)?)?,
                classification: Classification::from_code(code(self.classification)?)?,
                source_grade: SourceGrade::from_code(code(self.source_grade)?),
                assessment: Assessment::from_code(code(self.assessment)?),
                conditions: self.conditions,
            },
            protected_context: match self.protected_context.as_slice() {
                [] => None,
                bytes => Some(protected_context::decode(bytes)?),
            },
            order: match self.order_terms.as_slice() {
                [] => None,
                bytes => Some(order::decode(bytes)?),
            },
            priority: match self.priority.as_slice() {
                [] => None,
                bytes => Some(priority::decode(bytes)?),
            },
            evidence: exhibits.iter().map(|exhibit| exhibit.name.id).collect(),
            links: links::decode(&self.links)?,
            operation: match self.operation.as_str() {
                "" => None,
                name => Some(name.parse().ok()?),
            },
        };
        Some(Referral {
            said: Arc::new(said),
            exhibits,
            occurred_at: Timestamp::from_micros(self.occurred_us),
            recorded_at: Timestamp::from_micros(self.recorded_us),
            standing,
            erasures: decode_erasures(&self.erasures)?,
            created: self.seq,
            updated: self.updated_seq,
        })
    }
}
