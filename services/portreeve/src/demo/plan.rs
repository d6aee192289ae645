//! What will be played: every referral of the cohort with its day, its receipt and its decision.
//!
//! The table beside this file says how many of which kind there are; its four sums are the published ones. Days, delays
//! and languages are spread over it by fixed rules, so that the demo is the same each time.

use std::collections::BTreeMap;

use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind};
use portreeve_api::decision::v1::{ClauseCitation, DecisionDraft, DecisionKind, DecisionSource, Outcome};
use portreeve_api::referral::v1::{LegalBasis, ReferralDraft, Target};
use portreeve_api::reporting::v1::Counts;
use portreeve_core::time::{Date, Timestamp};

use super::catalogue::{PLATFORMS, Platform, version_at};
use crate::cli::failure::{Failure, Result};
use crate::cli::words::{Word, to_proto};

/// How many of which kind were referred, and what became of them.
const COHORT: &str = include_str!("cohort.csv");

/// The first and the last day of the cohort, and the day as of which the committee was told.
pub(super) const PERIOD: (&str, &str, &str) = ("2020-01-01", "2020-05-31", "2020-09-03");

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The main languages of the content, by how often they occur.
const LANGUAGES: [&str; 10] = ["ku", "ar", "fa", "ckb", "sq", "vi", "ps", "prs", "tr", "en"];
/// How long a decision takes, in per cent of what is usual: most take about as long, few much longer.
const DELAYS: [i64; 13] = [15, 25, 40, 55, 70, 85, 100, 120, 150, 190, 250, 340, 460];

/// What a platform does with a referral.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Course {
    /// Nothing; it stays in the inbox.
    Ignored,
    /// Confirms its receipt, and no more.
    Received {
        /// When.
        at: Timestamp,
    },
    /// Confirms its receipt and decides.
    Decided {
        /// When its receipt is confirmed.
        received: Timestamp,
        /// What is decided, with its time.
        decision: Box<DecisionDraft>,
    },
}

/// One page of the cohort.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// What the agency sends.
    pub(super) draft: ReferralDraft,
    /// When it was referred.
    pub(super) referred: Timestamp,
    /// What the platform does.
    pub(super) course: Course,
}

/// The whole cohort, in the order in which it was referred.
#[derive(Debug)]
pub(super) struct Plan {
    /// The pages.
    pub(super) pages: Vec<Page>,
}

/// A row of the table.
struct Kind {
    platform: &'static Platform,
    ground: Ground,
    count: u32,
    outcome: String,
    clause: String,
    law: String,
}

impl Plan {
    /// Reads the table and spreads it over days.
    pub(super) fn read() -> Result<Self> {
        let wrong = |what: String| Failure::Failed(format!("the demo's table: {what}"));
        let days = working_days()?;
        let mut pages = Vec::new();
        let mut reader = csv::ReaderBuilder::new().from_reader(COHORT.as_bytes());
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let cell = |at: usize| record.get(at).unwrap_or_default();
            let kind = Kind {
                platform: PLATFORMS
                    .iter()
                    .find(|platform| platform.id == cell(0))
                    .ok_or_else(|| wrong(format!("no platform {}", cell(0))))?,
                ground: Ground::parse(cell(1)).map_err(wrong)?,
                count: cell(2).parse().map_err(|_| wrong(format!("{} is no count", cell(2))))?,
                outcome: cell(3).to_owned(),
                clause: cell(4).to_owned(),
                law: cell(5).to_owned(),
            };
            let row = u32::try_from(row).unwrap_or_default();
            for number in 0..kind.count {
                pages.push(page(&kind, row, number, &days)?);
            }
        }
        pages.sort_by_key(|page: &Page| page.referred);
        // Numbered as they come, as a platform would.
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        for page in &mut pages {
            let number = numbers.entry(page.draft.platform.clone()).or_default();
            *number += 1;
            let host = PLATFORMS.iter().find(|platform| platform.name() == page.draft.platform).map_or("", |p| p.host);
            page.draft.target = Some(Target {
                kind: TargetKind::Page.into(),
                url: format!("https://{host}/pages/{number:04}"),
                native_id: format!("{number:04}"),
                ..Target::default()
            });
        }
        Ok(Self { pages })
    }

    /// How many pages the report should find in each part.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for page in &self.pages {
            counts.referred += 1;
            let Course::Decided { decision, .. } = &page.course else {
                counts.undecided += 1;
                continue;
            };
            match decision.outcome() {
                Outcome::NoActionNotViolating | Outcome::NoActionPermittedByPolicy => counts.not_in_breach += 1,
                Outcome::ClosedIllegal
                | Outcome::ClosedTerms
                | Outcome::ClosedTermsAlsoIllegal
                | Outcome::TerminatedAccount => counts.closed += 1,
                _ => counts.other += 1,
            }
        }
        counts
    }

    /// The pages of one platform, by their address.
    pub(super) fn of(&self, platform: &str) -> BTreeMap<String, Page> {
        let own = self.pages.iter().filter(|page| page.draft.platform == platform);
        own.map(|page| (page.draft.target.clone().unwrap_or_default().url, page.clone())).collect()
    }
}

/// The working days of the period.
fn working_days() -> Result<Vec<Date>> {
    let date = |text: &str| text.parse::<Date>().map_err(Failure::Failed);
    let (from, until) = (date(PERIOD.0)?, date(PERIOD.1)?);
    let weekday = |day: &Date| (day.days() - day.week().days()) < 5;
    Ok((from.days()..=until.days()).map(Date::from_days).filter(weekday).collect())
}

fn page(kind: &Kind, row: u32, number: u32, days: &[Date]) -> Result<Page> {
    let mixed = mix((u64::from(row) << 32) | u64::from(number));
    // Each kind is spread evenly over the period, each beginning at another place.
    let begin = pick(mix(row.into()), days.len());
    let place = (number as usize * days.len() + begin) / kind.count as usize;
    let day = days.get(place).copied().unwrap_or_default();
    let minutes = i64::try_from(mixed % 540).unwrap_or_default();
    let referred = day.start().plus_micros(8 * HOUR + minutes * MINUTE);
    Ok(Page {
        draft: ReferralDraft {
            platform: kind.platform.name(),
            target: None,
            nature: ReferralNature::VoluntaryReferral.into(),
            ground: kind.ground.into(),
            legal_basis: Some(legal_basis(kind.ground)),
            statement_of_reasons: reasons(kind.ground),
            statement_language: "en".to_owned(),
            content_language: language(mixed).to_owned(),
            occurred_at: Some(to_proto(referred)),
            ..ReferralDraft::default()
        },
        referred,
        course: course(kind, referred, day, mixed)?,
    })
}

/// What the platform does with the page. It reads its inbox every morning, and takes its time to decide.
fn course(kind: &Kind, referred: Timestamp, day: Date, mixed: u64) -> Result<Course> {
    let received = day.start().plus_micros(DAY + 9 * HOUR);
    match kind.outcome.as_str() {
        "SUBMITTED" => return Ok(Course::Ignored),
        "RECEIVED" => return Ok(Course::Received { at: received }),
        _ => {}
    }
    let outcome = Outcome::parse(&kind.outcome).map_err(Failure::Failed)?;
    let acting = !outcome.word().starts_with("NO_ACTION");
    // To leave content up takes longer than to close it: somebody asks somebody.
    let usual = if acting { 9 * DAY } else { 17 * DAY };
    let percent = DELAYS.get(pick(mix(mixed), DELAYS.len())).copied().unwrap_or(100);
    let decided = received.plus_micros(usual / 100 * percent + 17 * MINUTE);
    let clauses = match kind.platform.clauses.iter().find(|clause| clause.id == kind.clause) {
        None if kind.clause.is_empty() => Vec::new(),
        None => return Err(Failure::Failed(format!("{} has no clause {}", kind.platform.id, kind.clause))),
        Some(clause) => vec![ClauseCitation {
            clause: format!("{}/clauses/{}", kind.platform.name(), clause.id),
            version: version_at(clause, decided).unwrap_or_default(),
        }],
    };
    let decision = DecisionDraft {
        kind: DecisionKind::Initial.into(),
        outcome: outcome.into(),
        clauses,
        law: kind.law.clone(),
        decided_by: if mixed.is_multiple_of(7) { DecisionSource::PartiallyAutomated } else { DecisionSource::Human }
            .into(),
        decided_at: Some(to_proto(decided)),
        effective_at: acting.then(|| to_proto(decided.plus_micros(10 * MINUTE))),
        ..DecisionDraft::default()
    };
    debug_assert!(referred < received, "receipt follows the referral");
    Ok(Course::Decided { received, decision: Box::new(decision) })
}

/// The law under which the agency refers.
fn legal_basis(ground: Ground) -> LegalBasis {
    let (code, statute, section) = match ground {
        Ground::FinancialFacilitation => ("", "Proceeds of Crime Act 2002", "s. 328"),
        Ground::ForgedDocuments => ("", "Identity Documents Act 2010", "s. 4"),
        _ => ("IA1971_S25", "Immigration Act 1971", "s. 25"),
    };
    LegalBasis { code: code.to_owned(), statute: statute.to_owned(), section: section.to_owned() }
}

fn reasons(ground: Ground) -> String {
    let what = match ground {
        Ground::OfferTransportSea => "offers passage by small boat, with prices",
        Ground::OfferTransportVehicle => "offers passage by lorry, with prices",
        Ground::ForgedDocuments => "offers forged travel documents",
        Ground::RecruitmentOfFacilitators => "looks for skippers and drivers",
        Ground::ShamMarriage => "offers sham marriages",
        Ground::SolicitationOfService => "is where people ask for smugglers and are answered",
        Ground::InformationOnLeaving => "tells how to leave the country unlawfully",
        Ground::TestimonialPromotion => "shows successful crossings to draw customers",
        Ground::RouteInstructionByNetwork => "gives a network's instructions for the route",
        Ground::ReferAFriendInducement => "rewards customers who bring others",
        Ground::FinancialFacilitation => "offers to hold and move the money for journeys",
        Ground::FalseClaimService => "offers false asylum claims",
        Ground::DocumentationOfJourney => "follows a journey and names the smuggler",
        _ => "is tied to organised immigration crime",
    };
    format!("Synthetic: the page {what}.")
}

/// Early languages of the list come up more often.
fn language(mixed: u64) -> &'static str {
    let (one, other) = (pick(mix(mixed), LANGUAGES.len()), pick(mix(!mixed), LANGUAGES.len()));
    LANGUAGES.get(one.min(other)).copied().unwrap_or("en")
}

/// One of so many places.
fn pick(mixed: u64, places: usize) -> usize {
    usize::try_from(mixed % (places as u64).max(1)).unwrap_or_default()
}

/// SplitMix64: fixed, and without a pattern that the eye would see.
const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_adds_up_to_the_published_totals() {
        let plan = Plan::read().unwrap();
        let counts = plan.counts();
        // CHA0051: supplementary written evidence of the National Crime Agency.
        assert_eq!((counts.referred, counts.closed, counts.not_in_breach, counts.undecided), (1_218, 578, 485, 155));
        assert_eq!(counts.other, 0);
    }

    #[test]
    fn every_time_is_possible_and_in_order() {
        let (from, until) = (PERIOD.0.parse::<Date>().unwrap(), PERIOD.1.parse::<Date>().unwrap());
        let as_of = PERIOD.2.parse::<Date>().unwrap();
        for page in &Plan::read().unwrap().pages {
            assert!((from..=until).contains(&page.referred.date()));
            let Course::Decided { received, decision } = &page.course else { continue };
            let decided = crate::cli::words::from_proto(decision.decided_at.as_ref()).unwrap();
            assert!(page.referred < *received && *received < decided && decided.date() < as_of, "{page:?}");
            assert!(decision.clauses.iter().all(|clause| clause.version > 0), "{decision:?}");
            let permitted = decision.outcome() == Outcome::NoActionPermittedByPolicy;
            assert!(!permitted || !decision.clauses.is_empty());
        }
    }

    #[test]
    fn the_plan_is_the_same_each_time_and_addresses_are_distinct() {
        let (one, two) = (Plan::read().unwrap(), Plan::read().unwrap());
        assert!(one.pages.iter().zip(&two.pages).all(|(a, b)| a.draft == b.draft && a.course == b.course));
        assert_eq!(PLATFORMS.iter().map(|platform| one.of(&platform.name()).len()).sum::<usize>(), one.pages.len());
    }
}
