//! The ledger, without a database.

mod challenges;
mod clocks;
mod guards;
mod histories;
mod later;
mod leases;
mod observations;
mod replay;

use portreeve_core::id::Uuid;
use portreeve_core::name::{CaseName, ClauseName, ReferralName};
use portreeve_core::vocabulary::Tlp;
use portreeve_core::{Ledger as _, Recorded, Result, Timestamp, Violations};

use super::*;

/// Ten seconds: longer than clocks may differ.
const UNIT: i64 = 10_000_000;

pub(crate) fn at(units: i64) -> Timestamp {
    Timestamp::from_micros(units * UNIT)
}

pub(crate) fn case_name(number: u128) -> CaseName {
    CaseName { platform: "hb".into(), id: Uuid::from_u128(number) }
}

pub(crate) fn clause_name(clause: &str) -> ClauseName {
    ClauseName { platform: "hb".into(), clause: clause.into() }
}

pub(crate) fn told(number: u128, position: i64, occurred: i64, recorded: i64) -> Told {
    Told {
        position,
        referred: Referred {
            name: ReferralName { agency: "nca".into(), id: Uuid::from_u128(number) },
            platform: "hb".into(),
            target: Target { kind: 1, url: "https://hb.example/1".into(), ..Target::default() },
            nature: 1,
            ground: 1,
            legal_basis: LegalBasis { statute: "Immigration Act 1971".into(), ..LegalBasis::default() },
            statement_of_reasons: "Offers crossings.".into(),
            statement_language: "en".into(),
            content_language: String::new(),
            occurred_at: at(occurred),
            recorded_at: at(recorded),
            signature: Some(Signature { jws: "e30..AA".into(), occurred_at: Some(at(occurred)) }),
            tlp: Tlp::Amber,
            conditional: false,
            protected_context: Vec::new(),
            order: None,
            priority: None,
            evidence: Vec::new(),
            operation: String::new(),
            same_target: None,
        },
        withdrawal: None,
        erasures: Vec::new(),
    }
}

pub(crate) fn withdrawn(told: Told, position: i64, occurred: i64, recorded: i64) -> Told {
    let withdrawal = Withdrawal { occurred_at: at(occurred), recorded_at: at(recorded), reason: "an error".into() };
    Told { position, withdrawal: Some(withdrawal), ..told }
}

pub(crate) fn flat(kind: OutcomeKind) -> Flat {
    Flat { outcome: kind.code(), ..Flat::default() }
}

pub(crate) fn cites(kind: OutcomeKind, clause: &str, version: u32) -> Flat {
    Flat { clauses: vec![Citation { clause: clause_name(clause), version }], ..flat(kind) }
}

pub(crate) fn illegal() -> Flat {
    Flat { law: "Immigration Act 1971, s. 25".into(), ..flat(OutcomeKind::ClosedIllegal) }
}

pub(crate) fn draft(kind: Kind, flat: Flat, decided: Option<i64>) -> DecisionDraft {
    let (outcome, also) = flat.assemble("", &mut Violations::new()).unwrap();
    DecisionDraft {
        content: Content {
            kind,
            outcome,
            also,
            decided_by: Source::Human,
            effective_at: None,
            territorial_scope: Vec::new(),
            explanation: String::new(),
            language_reviewed: String::new(),
            redress: Vec::new(),
            notification: None,
        },
        decided_at: decided.map(at),
    }
}

pub(crate) fn later(later: Later) -> Kind {
    Kind::Later(later, Cause { kind: CauseKind::OwnMotion, reference: String::new() })
}

pub(crate) fn record(number: u128, draft: DecisionDraft) -> Command {
    Command::Record { case: case_name(number), draft: Box::new(draft), expected_version: None, by: String::new() }
}

pub(crate) fn acknowledge(number: u128, occurred: Option<i64>) -> Command {
    Command::Acknowledge { case: case_name(number), occurred_at: occurred.map(at) }
}

pub(crate) fn version(from: i64, until: Option<i64>) -> ClauseVersionDraft {
    ClauseVersionDraft {
        title: "Human exploitation".into(),
        text_digest: "0".repeat(64),
        effective_from: at(from),
        effective_until: until.map(at),
        jurisdictions: Vec::new(),
        permits: String::new(),
        public_url: String::new(),
        ends_permission_of: Vec::new(),
    }
}

/// A ledger with its log.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) state: State,
    pub(crate) log: Vec<Recorded<Event>>,
}

impl Book {
    /// Decides a command at an instant and takes in what came of it.
    pub(crate) fn tell(&mut self, command: &Command, now: i64) -> Result<Vec<Event>> {
        let events = Ledger::decide(&self.state, command, at(now))?;
        for event in &events {
            let position = i64::try_from(self.log.len()).unwrap() + 1;
            let recorded = Recorded { position, recorded_at: at(now), actor: String::new(), event: event.clone() };
            Ledger::evolve(&mut self.state, &recorded);
            self.log.push(recorded);
        }
        Ok(events)
    }

    pub(crate) fn case(&self, number: u128) -> &Case {
        &self.state.cases.get(&Uuid::from_u128(number)).unwrap().case
    }
}
