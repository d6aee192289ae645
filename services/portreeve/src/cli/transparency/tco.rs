//! The figures of Regulation (EU) 2021/784 on removal orders: of providers (art. 7(3)) and of authorities (art. 8(1)).

use portreeve_api::decision::v1::{
    Case, Challenge, ChallengeKind, ChallengeOutcome, ChallengeStage, Decision, ExternalForum, Outcome,
};
use portreeve_api::referral::v1::OrderRegime;

use super::Scope;
use super::outcomes::acts;
use super::table::{Cell, Table};

/// Removal orders, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Removals {
    received: usize,
    removed: usize,
    impossible: usize,
    insufficient: usize,
    otherwise: usize,
    undecided: usize,
    complaints: usize,
    complaints_reversed: usize,
    proceedings: usize,
    proceedings_reversed: usize,
    scrutinies: usize,
    scrutinies_reversed: usize,
}

fn reversed(challenge: &Challenge) -> bool {
    let outside = |outcome| matches!(outcome, ChallengeOutcome::Reversed | ChallengeOutcome::PartiallyReversed);
    challenge.facts.iter().any(|fact| {
        matches!(fact.stage(), ChallengeStage::Reversed | ChallengeStage::PartiallyReversed) || outside(fact.outcome())
    })
}

impl Removals {
    pub(super) fn take(&mut self, scope: &Scope, case: &Case) {
        if case.order.as_ref().is_none_or(|order| order.regime() != OrderRegime::Tco) {
            return;
        }
        if scope.holds(case.submitted_at.as_ref()) {
            self.received += 1;
            let outcome = case.latest_decision.as_ref().map_or(Outcome::Unspecified, Decision::outcome);
            let place = match outcome {
                _ if acts(case) => &mut self.removed,
                Outcome::NoActionImpossible => &mut self.impossible,
                Outcome::NoActionInsufficientInfo => &mut self.insufficient,
                Outcome::Unspecified => &mut self.undecided,
                _ => &mut self.otherwise,
            };
            *place += 1;
        }
        for challenge in case.challenges.iter().filter(|challenge| scope.holds(challenge.filed_at.as_ref())) {
            let reversed = usize::from(reversed(challenge));
            if challenge.kind() == ChallengeKind::ContentOwnerComplaint {
                (self.complaints, self.complaints_reversed) =
                    (self.complaints + 1, self.complaints_reversed + reversed);
            }
            if challenge.kind() == ChallengeKind::HomeAuthorityScrutiny {
                (self.scrutinies, self.scrutinies_reversed) =
                    (self.scrutinies + 1, self.scrutinies_reversed + reversed);
            }
            if challenge.facts.iter().any(|fact| fact.forum() == ExternalForum::Court) {
                (self.proceedings, self.proceedings_reversed) =
                    (self.proceedings + 1, self.proceedings_reversed + reversed);
            }
        }
    }

    fn table(file: &'static str, scope: &Scope, rows: Vec<(&str, &str, Cell)>) -> Table {
        let rows = rows.into_iter().map(|(provision, indicator, value)| {
            let mut cells = scope.begins().map(Cell::Is).to_vec();
            cells.extend([provision.into(), indicator.into(), value]);
            cells
        });
        let headings = ["Applicability", "Service", "Reporting period", "Provision", "Indicator", "Value"];
        Table { file, headings: headings.to_vec(), rows: rows.collect() }
    }

    pub(super) fn of_the_provider(&self, scope: &Scope) -> Table {
        let rows = vec![
            ("Art. 7(3)(a)", "Measures to identify and remove terrorist content", Cell::Unknown),
            ("Art. 7(3)(b)", "Measures against the reappearance of content that was removed", Cell::Unknown),
            ("Art. 7(3)(c)", "Removal orders received", self.received.into()),
            ("Art. 7(3)(c)", "Items removed or disabled following removal orders", self.removed.into()),
            ("Art. 7(3)(c)", "Items removed or disabled following specific measures", Cell::Unknown),
            (
                "Art. 7(3)(c)",
                "Removal orders not carried out: force majeure or impossibility (art. 3(7))",
                self.impossible.into(),
            ),
            (
                "Art. 7(3)(c)",
                "Removal orders not carried out: manifest errors or not enough information (art. 3(8))",
                self.insufficient.into(),
            ),
            ("Art. 7(3)(c)", "Removal orders not carried out: on other grounds", self.otherwise.into()),
            ("Art. 7(3)(c)", "Removal orders not yet answered", self.undecided.into()),
            ("Art. 7(3)(d)", "Complaints of content providers (art. 10)", self.complaints.into()),
            (
                "Art. 7(3)(d)",
                "Complaints of content providers: decisions reversed, at least in part",
                self.complaints_reversed.into(),
            ),
            ("Art. 7(3)(e)", "Judicial proceedings", self.proceedings.into()),
            ("Art. 7(3)(e)", "Administrative proceedings of the provider itself", Cell::Unknown),
            (
                "Art. 7(3)(f)",
                "Decisions reversed, at least in part, after judicial proceedings",
                self.proceedings_reversed.into(),
            ),
            ("Art. 7(3)(g)", "Items put back following a complaint (art. 10)", self.complaints_reversed.into()),
        ];
        Self::table("tco_article_7.csv", scope, rows)
    }

    pub(super) fn of_the_authority(&self, scope: &Scope) -> Table {
        let rows = vec![
            ("Art. 8(1)(a)", "Removal orders issued (art. 3)", self.received.into()),
            ("Art. 8(1)(a)", "Removal orders to providers in other member states (art. 4(1))", Cell::Unknown),
            ("Art. 8(1)(a)", "Removal orders scrutinised (art. 4)", self.scrutinies.into()),
            ("Art. 8(1)(a)", "Removal orders scrutinised: reversed, at least in part", self.scrutinies_reversed.into()),
            ("Art. 8(1)(a)", "Removal orders carried out", self.removed.into()),
            (
                "Art. 8(1)(a)",
                "Removal orders not carried out",
                (self.impossible + self.insufficient + self.otherwise).into(),
            ),
            ("Art. 8(1)(a)", "Removal orders not yet answered", self.undecided.into()),
            ("Art. 8(1)(b)", "Decisions on exposed providers (art. 5(4), (6) and (7))", Cell::Unknown),
            ("Art. 8(1)(c)", "Removal orders subject to judicial proceedings", self.proceedings.into()),
            ("Art. 8(1)(c)", "Removal orders subject to administrative proceedings of the provider", Cell::Unknown),
            ("Art. 8(1)(d)", "Decisions imposing penalties (art. 18)", Cell::Unknown),
        ];
        Self::table("tco_article_8.csv", scope, rows)
    }
}
