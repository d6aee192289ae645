//! Observations between the wire and the domain.

use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_core::name::ReferralName;
use portreeve_core::vocabulary::{FieldGroup, ObservationFinding, ObservationMethod};
use portreeve_core::{Timestamp, Violations};
use portreeve_runtime::erasures::take_place;
use portreeve_runtime::wire::{read_time, write_time};
use portreeve_storage::Personal;
use prost::Message as _;
use wire::referral_change::Change;

use super::super::target::{read_recorded, read_target, write_target};
use crate::domain::observation::{Observation, Observed, Reappearance};

/// An observation for the wire.
pub fn write_observation(observation: &Observation) -> wire::Observation {
    let Observed { finding, method, country, evidence, reappeared } = &*observation.observed;
    let again = reappeared.as_ref().and_then(|reappeared| reappeared.referral.as_ref());
    wire::Observation {
        name: observation.name.to_string(),
        observed_by: format!("agencies/{}", observation.name.referral.agency),
        finding: finding.code(),
        method: method.code(),
        vantage_country: country.clone(),
        observed_at: Some(write_time(observation.observed_at)),
        recorded_at: Some(write_time(observation.recorded_at)),
        evidence_digest: evidence.clone(),
        reappeared_as: reappeared.as_ref().map(|reappeared| write_target(&reappeared.target)),
        reappeared_referral: again.map(ToString::to_string).unwrap_or_default(),
    }
}

/// An observation from the wire; `None` for one that this release did not write.
pub fn read_observation(message: &wire::Observation) -> Option<Observation> {
    let time = |time: Option<&prost_types::Timestamp>| -> Option<Timestamp> { read_time(time?).ok() };
    let reappeared = match &message.reappeared_as {
        None => None,
        Some(target) => Some(Reappearance {
            target: read_recorded(target)?,
            referral: match message.reappeared_referral.as_str() {
                "" => None,
                name => Some(name.parse().ok()?),
            },
        }),
    };
    Some(Observation {
        name: message.name.parse().ok()?,
        observed: Arc::new(Observed {
            finding: ObservationFinding::from_code(message.finding)?,
            method: ObservationMethod::from_code(message.method)?,
            country: message.vantage_country.clone(),
            evidence: message.evidence_digest.clone(),
            reappeared,
        }),
        observed_at: time(message.observed_at.as_ref())?,
        recorded_at: time(message.recorded_at.as_ref())?,
        created: 0,
    })
}

/// Reads what is to be recorded. Wrong fields are noted under `observation`; the contract's own rules have been checked.
pub fn read_draft(
    violations: &mut Violations,
    agency: &str,
    draft: &wire::ObservationDraft,
    now: Timestamp,
) -> Option<Observed> {
    let (finding, method) =
        (ObservationFinding::from_code(draft.finding)?, ObservationMethod::from_code(draft.method)?);
    if finding == ObservationFinding::GeoBlocked && draft.vantage_country.is_empty() {
        violations.add("observation.vantage_country", "is required with GEO_BLOCKED");
    }
    let referral = match draft.reappeared_referral.as_str() {
        "" => None,
        name => name.parse::<ReferralName>().ok(),
    };
    if referral.as_ref().is_some_and(|referral| referral.agency != agency) {
        violations.add("observation.reappeared_referral", "must be a referral of the agency itself");
    }
    let reappeared = match (finding, &draft.reappeared_as) {
        (ObservationFinding::Reappeared, None) => {
            violations.add("observation.reappeared_as", "is required with REAPPEARED");
            None
        }
        (ObservationFinding::Reappeared, Some(target)) => {
            let target = read_target(violations, "observation.reappeared_as", target.clone(), false, now);
            target.map(|target| Reappearance { target, referral })
        }
        (_, target) => {
            if target.is_some() {
                violations.add("observation.reappeared_as", "goes with REAPPEARED only");
            }
            if !draft.reappeared_referral.is_empty() {
                violations.add("observation.reappeared_referral", "goes with REAPPEARED only");
            }
            None
        }
    };
    let (country, evidence) = (draft.vantage_country.clone(), draft.evidence_digest.clone());
    Some(Observed { finding, method, country, evidence, reappeared })
}

/// An observation without the place where the content is again, and that by itself if it was not erased.
fn apart(observation: &Observation) -> (wire::Observation, Option<wire::Observation>) {
    let mut message = write_observation(observation);
    let place = message.reappeared_as.as_mut().map(take_place).filter(|place| *place != wire::Target::default());
    let place = place.map(|place| wire::Observation { reappeared_as: Some(place), ..wire::Observation::default() });
    (message, place)
}

/// An observation in the log: without the place where the content is again, and that by itself, under the keys of the referral.
pub fn seal(observation: &Observation) -> (Change, Option<Personal>) {
    let (message, place) = apart(observation);
    let personal = place.map(|half| {
        let half = wire::ReferralChange { change: Some(Change::Observed(half)), ..wire::ReferralChange::default() };
        Personal {
            subject: observation.name.referral.id,
            begins: false,
            parts: vec![(FieldGroup::Target, half.encode_to_vec())],
            erases: Vec::new(),
        }
    });
    (Change::Observed(message), personal)
}

/// An observation as the database keeps it: as the contract writes it, the place by itself.
pub fn encode(observation: &Observation) -> (Vec<u8>, Option<Vec<u8>>) {
    let (message, place) = apart(observation);
    (message.encode_to_vec(), place.map(|place| place.encode_to_vec()))
}

/// The observation behind what the database keeps.
pub fn decode(body: &[u8]) -> Option<Observation> {
    read_observation(&wire::Observation::decode(body).ok()?)
}
