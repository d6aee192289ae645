//! Table 7: complaints, and disputes out of court. Of suspensions for misuse the exchange knows nothing that a platform imposed.

use std::collections::BTreeMap;

use portreeve_api::common::v1::{ReferralNature, TargetKind};
use portreeve_api::decision::v1::{
    Case, Challenge, ChallengeFact, ChallengeKind, ChallengeOutcome, ChallengeStage, Decision, ExternalForum, Outcome,
};
use portreeve_api::referral::v1::Target;

use super::Scope;
use super::table::{Cell, DAY, Table, between, median};

/// The headings of the template.
pub(super) const HEADINGS: [&str; 7] =
    ["Applicability", "Service", "Reporting period", "Section", "Indicator", "Scope", "Value"];

const INTERNAL: &str = "Internal complaints mechanism";
const OUTSIDE: &str = "Out-of-court dispute settlement bodies";
const MISUSE: &str = "Suspensions imposed on repeated offenders";

const ALL: &str = "Number of complaints submitted to the internal-complaints mechanism";
const IMPOSED: &str = "Number of restrictions newly imposed as a result of an internal complaint";
const VISIBILITY: &str =
    "Complaint regarding a decision to remove or disable access to or restrict visibility of information";
const SERVICE: &str = "Complaint regarding a decision to suspend or terminate the provision of the service";
const ACCOUNT: &str = "Complaint regarding a decision to suspend or terminate an account";
const MONEY: &str = "Complaint regarding a decision to restrict the ability to monetise information";
const NO_ACTION: &str =
    "Complaint regarding a decision not to take action on a notice submitted in accordance with Article 16";
const NO_ACTION_TRUSTED: &str = "Complaint regarding a decision not to take action on a notice submitted by a Trusted Flagger in accordance with Article 16";
const DISPUTES: &str = "Number of disputes submitted to out-of-court dispute settlement bodies";
const ILLEGAL: &str = "Number of suspensions enacted for the provision of manifestly illegal content";
const NOTICES: &str = "Number of suspensions enacted for the provision of manifestly unfounded notices";
const UNFOUNDED: &str = "Number of suspensions enacted for the provision of manifestly unfounded complaints";

/// What became of complaints of one kind.
#[derive(Debug, Default)]
struct Part {
    total: usize,
    upheld: usize,
    partially: usize,
    reversed: usize,
    omitted: usize,
    times: Vec<i64>,
}

impl Part {
    fn add(&mut self, outcome: ChallengeOutcome, time: Option<i64>) {
        self.total += 1;
        match outcome {
            ChallengeOutcome::Upheld => self.upheld += 1,
            ChallengeOutcome::PartiallyReversed => self.partially += 1,
            ChallengeOutcome::Reversed => self.reversed += 1,
            ChallengeOutcome::Omitted => self.omitted += 1,
            ChallengeOutcome::Unspecified => {}
        }
        self.times.extend(time);
    }
}

/// The complaints filed, and the disputes submitted, in the period.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    internal: BTreeMap<&'static str, Part>,
    imposed: usize,
    disputes: Part,
    /// Of the disputes that went against the platform in substance, those that it implemented, and all.
    implemented: (usize, usize),
}

/// What the platform, or somebody outside, decided on a challenge.
fn decided(stage: ChallengeStage) -> ChallengeOutcome {
    match stage {
        ChallengeStage::Upheld => ChallengeOutcome::Upheld,
        ChallengeStage::Reversed => ChallengeOutcome::Reversed,
        ChallengeStage::PartiallyReversed => ChallengeOutcome::PartiallyReversed,
        ChallengeStage::Omitted => ChallengeOutcome::Omitted,
        _ => ChallengeOutcome::Unspecified,
    }
}

fn acting(decision: &Decision) -> bool {
    decision.outcome() != Outcome::Unspecified && decision.outcome <= Outcome::TerminatedAccount as i32
}

/// Whether a decision is about an account as such: as in a statement of reasons.
fn on_account(case: &Case, decision: &Decision) -> bool {
    let kind = case.target.as_ref().map_or(TargetKind::Unspecified, Target::kind);
    let account =
        matches!(kind, TargetKind::Account | TargetKind::PhoneNumber) && decision.territorial_scope.is_empty();
    match decision.outcome() {
        Outcome::TerminatedAccount => true,
        Outcome::ClosedIllegal | Outcome::ClosedTerms | Outcome::ClosedTermsAlsoIllegal | Outcome::SuspendedUntil => {
            account
        }
        _ => false,
    }
}

impl Complaints {
    pub(super) fn take(&mut self, scope: &Scope, case: &Case, decisions: &[Decision]) {
        for challenge in &case.challenges {
            self.dispute(scope, challenge);
            if scope.holds(challenge.filed_at.as_ref()) {
                self.complaint(scope, case, challenge, decisions);
            }
        }
    }

    /// A complaint in the sense of DSA art. 20 is the content owner's, or that of who gave a notice and was refused. What was referred for voluntary
    /// consideration was no notice.
    fn complaint(&mut self, scope: &Scope, case: &Case, challenge: &Challenge, decisions: &[Decision]) {
        let of = |version| decisions.iter().find(|decision| decision.version == version);
        let Some(challenged) = of(challenge.decision_version) else { return };
        let mut indicators = vec![ALL];
        match challenge.kind() {
            ChallengeKind::ContentOwnerComplaint if on_account(case, challenged) => indicators.push(ACCOUNT),
            ChallengeKind::ContentOwnerComplaint if acting(challenged) => indicators.push(VISIBILITY),
            ChallengeKind::ReferrerChallenge
                if case.nature() == ReferralNature::StatutoryNotice && !acting(challenged) =>
            {
                indicators.push(NO_ACTION);
                indicators.extend(scope.is_trusted(case).then_some(NO_ACTION_TRUSTED));
            }
            _ => return,
        }
        let answer = challenge.facts.iter().find(|fact| decided(fact.stage()) != ChallengeOutcome::Unspecified);
        let outcome = answer.map_or(ChallengeOutcome::Unspecified, |fact| decided(fact.stage()));
        let time = answer.and_then(|fact| between(challenge.filed_at.as_ref(), fact.occurred_at.as_ref()));
        for indicator in indicators {
            self.internal.entry(indicator).or_default().add(outcome, time);
        }
        let now = answer.and_then(|fact| of(fact.decision_version));
        self.imposed += usize::from(!acting(challenged) && now.is_some_and(acting));
    }

    fn dispute(&mut self, scope: &Scope, challenge: &Challenge) {
        let mut facts = challenge.facts.iter();
        let begun = facts.find(|fact| fact.forum() == ExternalForum::OutOfCourt);
        let Some(begun) = begun.filter(|fact| scope.holds(fact.occurred_at.as_ref())) else { return };
        let ended = facts.next().filter(|fact| fact.stage() == ChallengeStage::ExternallyDecided);
        let outcome = ended.map_or(ChallengeOutcome::Unspecified, ChallengeFact::outcome);
        let time = ended.and_then(|fact| between(begun.occurred_at.as_ref(), fact.occurred_at.as_ref()));
        self.disputes.add(outcome, time);
        let against = matches!(outcome, ChallengeOutcome::Reversed | ChallengeOutcome::PartiallyReversed);
        if against && ended.is_some_and(|fact| !fact.procedural) {
            let done = facts.next().is_some_and(|fact| fact.stage() == ChallengeStage::Implemented);
            self.implemented = (self.implemented.0 + usize::from(done), self.implemented.1 + 1);
        }
    }

    pub(super) fn table(&self, scope: &Scope) -> Table {
        let mut rows = Vec::new();
        let mut row = |section: &str, indicator: &str, of: &str, value: Cell| {
            let mut cells = scope.begins().map(Cell::Is).to_vec();
            cells.extend([section.into(), indicator.into(), of.into(), value]);
            rows.push(cells);
        };
        let none = Part::default();
        let figures = |part: &Part| {
            [
                ("Total number", part.total.into()),
                ("Decisions upheld", part.upheld.into()),
                ("Decisions partially reversed", part.partially.into()),
                ("Decisions reversed", part.reversed.into()),
                ("Median time", median(&part.times, DAY)),
                ("Decision omitted", part.omitted.into()),
            ]
        };
        for indicator in [ALL, IMPOSED, VISIBILITY, SERVICE, ACCOUNT, MONEY, NO_ACTION, NO_ACTION_TRUSTED] {
            if indicator == IMPOSED {
                row(INTERNAL, indicator, "Total number", self.imposed.into());
                continue;
            }
            let part = self.internal.get(indicator).unwrap_or(&none);
            // The template has what was not decided of all of them together.
            let rows = 5 + usize::from(indicator == ALL);
            for (of, value) in figures(part).into_iter().take(rows) {
                // No decision here restricts payments or the provision of a service, and none is told to the exchange.
                let known = ![SERVICE, MONEY].contains(&indicator);
                row(INTERNAL, indicator, of, if known { value } else { Cell::Unknown });
            }
        }
        for (of, value) in figures(&self.disputes) {
            row(OUTSIDE, DISPUTES, of, value);
        }
        let (implemented, against) = self.implemented;
        let share = (implemented * 100).checked_div(against);
        let share = share.map_or(Cell::Nothing, |share| Cell::Is(format!("{}.{:02}", share / 100, share % 100)));
        row(OUTSIDE, DISPUTES, "Percentage of outcomes implemented", share);
        for indicator in [ILLEGAL, NOTICES, UNFOUNDED] {
            row(MISUSE, indicator, "Total number", Cell::Unknown);
        }
        Table { file: "7_appeals_and_recidivism.csv", headings: HEADINGS.to_vec(), rows }
    }
}
