//! Rows of `cases`, `decision` and the catalogue, the same on both engines.

use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, ReferralName};
use portreeve_core::vocabulary::Tlp;
use portreeve_core::{Timestamp, Violations};

use super::DecisionRecord;
use crate::domain::{
    Case, Cause, CauseKind, Challenge, Citation, Clause, ClauseVersion, ClauseVersionDraft, Content, Decision, Flat,
    FlatNotification, Kind, LegalBasis, Progress, Receipt, Redress, Referred, Replay, ResponseTimesRecord, Signature,
    Source, Target, Withdrawal,
};
use crate::rpc::challenges::convert::decode as decode_challenge;
use crate::rpc::clocks::convert::{decode_course, decode_times};
use crate::rpc::convert::{decode_check, decode_erasures, decode_exhibits, decode_observation};

/// The select of whole cases, up to its condition.
macro_rules! case_columns {
    ($condition:literal) => {
        concat!(
            "SELECT c.seq, c.updated_seq, c.decided_seq, c.case_id, c.agency, c.platform, c.target_kind, c.url, \
             c.canonical_url, c.native_id, c.nature, c.ground, c.legal_code, c.legal_statute, c.legal_section, c.statement, \
             c.statement_language, c.content_language, c.submitted_us, c.submitted_recorded_us, c.acknowledged_us, \
             c.acknowledged_recorded_us, c.first_decided_us, c.withdrawn_us, c.withdrawal_recorded_us, \
             c.withdrawal_reason, c.signature, c.signed_occurred_us, c.tlp, c.conditional, c.erasures, c.replay_clause, \
             c.replay_version, c.replay_since_us, c.challenges, c.observation, c.sighting, \
             c.context_check, c.course, c.exhibits, c.operation, c.same_target \
             FROM cases c WHERE ",
            $condition
        )
    };
}
pub(crate) use case_columns as CASE_COLUMNS;

/// The select of whole decisions, up to its condition.
macro_rules! decision_columns {
    ($condition:literal) => {
        concat!(
            "SELECT d.seq, d.case_id, d.version, d.agency, d.platform, d.kind, d.outcome, d.restriction, d.cannot_access, \
             d.gone_by, d.protected_context, d.items_closed, d.items_total, d.suspended_until_us, d.duplicate_of, d.law, \
             d.decided_by, d.cause_kind, d.cause_reference, d.decided_us, d.effective_us, d.recorded_us, \
             d.territorial_scope, d.explanation, d.language_reviewed, d.redress, d.notification, d.notification_exemption, \
             d.suppressed_until_us FROM decision d WHERE ",
            $condition
        )
    };
}
pub(crate) use decision_columns as DECISION_COLUMNS;

/// The select of whole clauses, up to its condition.
macro_rules! clause_columns {
    ($condition:literal) => {
        concat!(
            "SELECT c.name, c.title, c.latest_version, c.created_us, c.updated_seq FROM clause c WHERE ",
            $condition
        )
    };
}
pub(crate) use clause_columns as CLAUSE_COLUMNS;

/// The select of whole versions of clauses, up to its condition.
macro_rules! clause_version_columns {
    ($condition:literal) => {
        concat!(
            "SELECT v.clause, v.version, v.title, v.text_digest, v.effective_from_us, v.effective_until_us, \
             v.jurisdictions, v.permits, v.public_url, v.recorded_us, v.ends_permission_of FROM clause_version v WHERE ",
            $condition
        )
    };
}
pub(crate) use clause_version_columns as CLAUSE_VERSION_COLUMNS;

/// The failure of a row that this release did not write.
fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} cannot be read").into())
}

/// Codes as a column holds them: a comma after each.
pub(crate) fn join(codes: &[String]) -> String {
    codes.iter().flat_map(|code| [code.as_str(), ","]).collect()
}

/// Numbers, likewise.
pub(crate) fn join_numbers<T: ToString>(numbers: impl IntoIterator<Item = T>) -> String {
    join(&numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>())
}

fn split(codes: &str) -> Vec<String> {
    codes.split_terminator(',').map(str::to_owned).collect()
}

fn code(number: i64) -> Option<i32> {
    i32::try_from(number).ok()
}

/// A case without its decision.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct CaseRow {
    pub(crate) seq: i64,
    pub(crate) updated_seq: i64,
    pub(crate) decided_seq: i64,
    case_id: Vec<u8>,
    agency: String,
    platform: String,
    target_kind: i64,
    url: String,
    canonical_url: String,
    native_id: String,
    nature: i64,
    ground: i64,
    legal_code: String,
    legal_statute: String,
    legal_section: String,
    statement: String,
    statement_language: String,
    content_language: String,
    submitted_us: i64,
    submitted_recorded_us: i64,
    acknowledged_us: Option<i64>,
    acknowledged_recorded_us: Option<i64>,
    first_decided_us: Option<i64>,
    withdrawn_us: Option<i64>,
    withdrawal_recorded_us: Option<i64>,
    withdrawal_reason: Option<String>,
    signature: String,
    signed_occurred_us: Option<i64>,
    tlp: i64,
    conditional: i64,
    erasures: Vec<u8>,
    replay_clause: String,
    replay_version: i64,
    replay_since_us: Option<i64>,
    pub(crate) challenges: i64,
    observation: Vec<u8>,
    sighting: Vec<u8>,
    context_check: Vec<u8>,
    course: Vec<u8>,
    exhibits: Vec<u8>,
    operation: String,
    same_target: String,
}

impl CaseRow {
    /// The identifier, as the rows of its challenges have it.
    pub(crate) fn id(&self) -> &[u8] {
        &self.case_id
    }

    /// The case with its latest decision and its challenges.
    pub(crate) fn read(self, latest: Option<Decision>, challenges: Vec<Challenge>) -> sqlx::Result<Case> {
        let seq = self.seq;
        self.try_read(latest, challenges).ok_or_else(|| unreadable(&format!("the case of event {seq}")))
    }

    fn try_read(self, latest: Option<Decision>, challenges: Vec<Challenge>) -> Option<Case> {
        let receipt = self.acknowledged_us.zip(self.acknowledged_recorded_us).map(|(occurred, recorded)| Receipt {
            occurred_at: Timestamp::from_micros(occurred),
            recorded_at: Timestamp::from_micros(recorded),
        });
        let progress = match (receipt, self.first_decided_us, latest) {
            (None, None, None) => Progress::Submitted,
            (Some(receipt), None, None) => Progress::Received(receipt),
            (Some(receipt), Some(first), Some(latest)) => {
                Progress::Decided { receipt, first_decided_at: Timestamp::from_micros(first), latest: Box::new(latest) }
            }
            _ => return None,
        };
        let withdrawal = match (self.withdrawn_us, self.withdrawal_recorded_us, self.withdrawal_reason) {
            (Some(occurred), Some(recorded), Some(reason)) => Some(Withdrawal {
                occurred_at: Timestamp::from_micros(occurred),
                recorded_at: Timestamp::from_micros(recorded),
                reason,
            }),
            _ => None,
        };
        let replay = match self.replay_since_us {
            None => None,
            Some(since) => Some(Replay {
                under: Citation {
                    clause: self.replay_clause.parse().ok()?,
                    version: u32::try_from(self.replay_version).ok()?,
                },
                since: Timestamp::from_micros(since),
            }),
        };
        let mut case = Case {
            referred: Referred {
                name: ReferralName { agency: self.agency, id: Uuid::from_slice(&self.case_id).ok()? },
                platform: self.platform,
                target: Target {
                    kind: code(self.target_kind)?,
                    url: self.url,
                    native_id: self.native_id,
                    canonical_url: self.canonical_url,
                },
                nature: code(self.nature)?,
                ground: code(self.ground)?,
                legal_basis: LegalBasis {
                    code: self.legal_code,
                    statute: self.legal_statute,
                    section: self.legal_section,
                },
                statement_of_reasons: self.statement,
                statement_language: self.statement_language,
                content_language: self.content_language,
                occurred_at: Timestamp::from_micros(self.submitted_us),
                recorded_at: Timestamp::from_micros(self.submitted_recorded_us),
                signature: (!self.signature.is_empty()).then(|| Signature {
                    jws: self.signature,
                    occurred_at: self.signed_occurred_us.map(Timestamp::from_micros),
                }),
                tlp: Tlp::from_code(code(self.tlp)?)?,
                conditional: self.conditional != 0,
                protected_context: decode_check(&self.context_check)?,
                order: None,
                priority: None,
                evidence: decode_exhibits(&self.exhibits)?,
                operation: self.operation,
                same_target: match self.same_target.as_str() {
                    "" => None,
                    name => Some(name.parse().ok()?),
                },
            },
            progress,
            withdrawal,
            erasures: decode_erasures(&self.erasures)?,
            replay,
            challenges,
            observation: decode_observation(&self.observation)?,
            sighting: decode_observation(&self.sighting)?,
            stays: Vec::new(),
            response_time: None,
            order_answered_at: None,
            marks: Vec::new(),
            escalated_to: None,
            lease: None,
            review_began_at: None,
        };
        decode_course(&self.course, &mut case)?;
        Some(case)
    }
}

/// A challenge.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ChallengeRow {
    pub(crate) seq: i64,
    pub(crate) case_id: Vec<u8>,
    body: Vec<u8>,
}

impl ChallengeRow {
    pub(crate) fn read(&self) -> sqlx::Result<Challenge> {
        decode_challenge(&self.body).ok_or_else(|| unreadable(&format!("the challenge of event {}", self.seq)))
    }
}

/// What a platform says of how long it takes.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ResponseTimesRow {
    pub(crate) updated_seq: i64,
    body: Vec<u8>,
}

impl ResponseTimesRow {
    pub(crate) fn read(&self) -> sqlx::Result<ResponseTimesRecord> {
        let times = decode_times(&self.body);
        let times = times.ok_or_else(|| unreadable(&format!("the response times of event {}", self.updated_seq)))?;
        Ok(ResponseTimesRecord { times, updated: self.updated_seq })
    }
}

/// A decision without its citations.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct DecisionRow {
    pub(crate) seq: i64,
    case_id: Vec<u8>,
    version: i64,
    agency: String,
    platform: String,
    kind: i64,
    outcome: i64,
    restriction: i64,
    cannot_access: i64,
    gone_by: i64,
    protected_context: i64,
    items_closed: i64,
    items_total: i64,
    suspended_until_us: Option<i64>,
    duplicate_of: String,
    law: String,
    decided_by: i64,
    cause_kind: i64,
    cause_reference: String,
    decided_us: i64,
    effective_us: Option<i64>,
    recorded_us: i64,
    territorial_scope: String,
    explanation: String,
    language_reviewed: String,
    redress: String,
    notification: i64,
    notification_exemption: i64,
    suppressed_until_us: Option<i64>,
}

impl DecisionRow {
    /// The decision with its citations, in order.
    pub(crate) fn read(self, clauses: Vec<Citation>) -> sqlx::Result<DecisionRecord> {
        let seq = self.seq;
        self.try_read(clauses).ok_or_else(|| unreadable(&format!("the decision of event {seq}")))
    }

    fn try_read(self, clauses: Vec<Citation>) -> Option<DecisionRecord> {
        let id = Uuid::from_slice(&self.case_id).ok()?;
        let flat = Flat {
            outcome: code(self.outcome)?,
            restriction: code(self.restriction)?,
            cannot_access: code(self.cannot_access)?,
            gone_by: code(self.gone_by)?,
            protected_context: code(self.protected_context)?,
            items_closed: u32::try_from(self.items_closed).ok()?,
            items_total: u32::try_from(self.items_total).ok()?,
            suspended_until: self.suspended_until_us.map(Timestamp::from_micros),
            duplicate_of: match self.duplicate_of.as_str() {
                "" => None,
                name => Some(name.parse().ok()?),
            },
            clauses,
            law: self.law,
        };
        let cause = match self.cause_kind {
            0 => None,
            kind => Some(Cause { kind: CauseKind::from_code(code(kind)?)?, reference: self.cause_reference }),
        };
        let mut violations = Violations::new();
        let (outcome, also) = flat.assemble("", &mut violations)?;
        let kind = Kind::assemble(code(self.kind)?, cause, "", &mut violations)?;
        let notification = FlatNotification {
            status: code(self.notification)?,
            suppressed_until: self.suppressed_until_us.map(Timestamp::from_micros),
            exemption: code(self.notification_exemption)?,
        };
        let notification = notification.assemble("", &mut violations);
        violations.into_result().ok()?;
        let redress = split(&self.redress).into_iter().map(|code| Redress::from_code(code.parse().ok()?));
        Some(DecisionRecord {
            seq: self.seq,
            case: CaseName { platform: self.platform, id },
            referral: ReferralName { agency: self.agency, id },
            decision: Decision {
                version: u32::try_from(self.version).ok()?,
                content: Content {
                    kind,
                    outcome,
                    also,
                    decided_by: Source::from_code(code(self.decided_by)?)?,
                    effective_at: self.effective_us.map(Timestamp::from_micros),
                    territorial_scope: split(&self.territorial_scope),
                    explanation: self.explanation,
                    language_reviewed: self.language_reviewed,
                    redress: redress.collect::<Option<_>>()?,
                    notification,
                },
                decided_at: Timestamp::from_micros(self.decided_us),
                recorded_at: Timestamp::from_micros(self.recorded_us),
            },
        })
    }
}

/// A clause cited by a decision.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct CitationRow {
    pub(crate) decision_seq: i64,
    pub(crate) place: i64,
    clause: String,
    version: i64,
}

impl CitationRow {
    pub(crate) fn read(&self) -> sqlx::Result<Citation> {
        let read = || Some(Citation { clause: self.clause.parse().ok()?, version: u32::try_from(self.version).ok()? });
        read().ok_or_else(|| unreadable(&format!("a citation of event {}", self.decision_seq)))
    }
}

/// A clause.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ClauseRow {
    name: String,
    title: String,
    latest_version: i64,
    created_us: i64,
    pub(crate) updated_seq: i64,
}

impl ClauseRow {
    pub(crate) fn read(self) -> sqlx::Result<Clause> {
        let name = self.name.parse().map_err(|_| unreadable(&self.name))?;
        Ok(Clause {
            latest_version: u32::try_from(self.latest_version).map_err(|_| unreadable(&self.name))?,
            name,
            title: self.title,
            created_at: Timestamp::from_micros(self.created_us),
        })
    }
}

/// A version of a clause.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ClauseVersionRow {
    clause: String,
    version: i64,
    title: String,
    text_digest: String,
    effective_from_us: i64,
    effective_until_us: Option<i64>,
    jurisdictions: String,
    permits: String,
    public_url: String,
    recorded_us: i64,
    ends_permission_of: String,
}

impl ClauseVersionRow {
    pub(crate) fn read(self) -> sqlx::Result<ClauseVersion> {
        let read = || Some(Citation { clause: self.clause.parse().ok()?, version: u32::try_from(self.version).ok()? });
        let citation = read().ok_or_else(|| unreadable(&self.clause))?;
        let ended = split(&self.ends_permission_of).iter().map(|version| version.parse().ok()).collect::<Option<_>>();
        let ends_permission_of = ended.ok_or_else(|| unreadable(&self.clause))?;
        Ok(ClauseVersion {
            citation,
            content: ClauseVersionDraft {
                title: self.title,
                text_digest: self.text_digest,
                effective_from: Timestamp::from_micros(self.effective_from_us),
                effective_until: self.effective_until_us.map(Timestamp::from_micros),
                jurisdictions: split(&self.jurisdictions),
                permits: self.permits,
                public_url: self.public_url,
                ends_permission_of,
            },
            recorded_at: Timestamp::from_micros(self.recorded_us),
        })
    }
}
