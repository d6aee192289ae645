//! Trails: what the other logs tell of them, and how they lie in the log and in the database.

use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_core::name::{ObservationName, ReferralName};
use portreeve_core::vocabulary::LinkKind;
use portreeve_core::{Date, Uuid};
use prost::Message;

use super::convert::day;
use crate::domain::{Footprint, Origin, Step, Tie, Trail, Turn, TurnKind};

type Footprints = Vec<(Uuid, Footprint)>;

// --- what the other logs tell ---------------------------------------------------------------------------------------

fn id(name: &str) -> Option<Uuid> {
    name.parse::<ReferralName>().ok().map(|name| name.id)
}

/// That a referral was sent, with the links that it came with.
pub(super) fn read_begun(referral: &referral::Referral, step: &Step) -> Option<Footprints> {
    let Step::Referred { subject, recorded_on } = step else { return None };
    let own = id(&referral.name)?;
    let origin = Origin {
        agency: subject.agency.clone(),
        platform: subject.platform.clone(),
        target_kind: subject.target_kind,
        referred_on: subject.cohort_day,
        recorded_on: *recorded_on,
    };
    let mut footprints = vec![(own, Footprint::Begun(origin))];
    footprints.extend(linked(own, referral, subject.cohort_day, *recorded_on)?);
    let escalates = referral.order.as_ref().map(|order| order.escalates.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = escalates {
        footprints.push(turned(own, TurnKind::Linked(Tie::Target, id(name)?), subject.cohort_day, *recorded_on));
    }
    Some(footprints)
}

/// The links of a referral after one was added.
pub(super) fn read_links(referral: &referral::Referral, change: &referral::ReferralChange) -> Option<Footprints> {
    linked(id(&referral.name)?, referral, day(change.occurred_at.as_ref())?, day(change.recorded_at.as_ref())?)
}

fn linked(own: Uuid, referral: &referral::Referral, occurred_on: Date, recorded_on: Date) -> Option<Footprints> {
    let mut turns = Vec::with_capacity(referral.links.len());
    for link in &referral.links {
        let other = id(&link.referral)?;
        if let Some(tie) = Tie::of(LinkKind::from_code(link.kind)?) {
            turns.push(turned(own, TurnKind::Linked(tie, other), occurred_on, recorded_on));
        }
    }
    Some(turns)
}

/// That a referral's content was seen again; nothing for any other look.
pub(super) fn read_observed(observation: &referral::Observation) -> Option<Footprints> {
    if observation.finding() != referral::ObservationFinding::Reappeared {
        return Some(Vec::new());
    }
    let again = Some(observation.reappeared_referral.as_str()).filter(|name| !name.is_empty());
    let kind = TurnKind::Reappeared(match again {
        Some(name) => Some(id(name)?),
        None => None,
    });
    let own = observation.name.parse::<ObservationName>().ok()?.referral.id;
    let (observed_on, recorded_on) = (day(observation.observed_at.as_ref())?, day(observation.recorded_at.as_ref())?);
    Some(vec![turned(own, kind, observed_on, recorded_on)])
}

/// That a case was closed, or is closed no more; nothing for any other step.
pub(super) fn read_turn(case: &decision::Case, step: &Step) -> Option<Footprints> {
    let Some(decision) = &case.latest_decision else { return Some(Vec::new()) };
    // Where the platform does not say when, what it decided takes effect at once.
    let effective_on = day(decision.effective_at.as_ref().or(decision.decided_at.as_ref()))?;
    let Some(turn) = step.turn(effective_on) else { return Some(Vec::new()) };
    Some(vec![(id(&case.referral)?, Footprint::Turned(turn))])
}

fn turned(own: Uuid, kind: TurnKind, occurred_on: Date, recorded_on: Date) -> (Uuid, Footprint) {
    (own, Footprint::Turned(Turn { kind, occurred_on, recorded_on }))
}

// --- the log and the database ---------------------------------------------------------------------------------------

/// A footprint: it has an origin or a turn.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FootprintBody {
    #[prost(bytes = "vec", tag = "1")]
    referral: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    origin: Option<OriginBody>,
    #[prost(message, optional, tag = "3")]
    turn: Option<TurnBody>,
}

/// A trail; what is indexed beside it is not here.
#[derive(Clone, PartialEq, prost::Message)]
struct TrailBody {
    #[prost(message, optional, tag = "1")]
    origin: Option<OriginBody>,
    #[prost(message, repeated, tag = "2")]
    turns: Vec<TurnBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OriginBody {
    #[prost(string, tag = "1")]
    agency: String,
    #[prost(string, tag = "2")]
    platform: String,
    #[prost(int64, tag = "3")]
    target_kind: i64,
    #[prost(sint32, tag = "4")]
    referred_on: i32,
    #[prost(sint32, tag = "5")]
    recorded_on: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TurnBody {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(sint32, tag = "2")]
    occurred_on: i32,
    #[prost(sint32, tag = "3")]
    recorded_on: i32,
    #[prost(sint32, optional, tag = "4")]
    effective_on: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "5")]
    other: Option<Vec<u8>>,
}

const CLOSED: u32 = 1;
const RELEASED: u32 = 2;
const REAPPEARED: u32 = 3;
const LINKED_NETWORK: u32 = 4;
const LINKED_TARGET: u32 = 5;

pub(super) fn write_footprint((id, footprint): &(Uuid, Footprint)) -> FootprintBody {
    let (origin, turn) = match footprint {
        Footprint::Begun(origin) => (Some(write_origin(origin)), None),
        Footprint::Turned(turn) => (None, Some(write_turn(turn))),
    };
    FootprintBody { referral: id.as_bytes().to_vec(), origin, turn }
}

pub(super) fn read_footprint(body: FootprintBody) -> Option<(Uuid, Footprint)> {
    let footprint = match (body.origin, body.turn) {
        (Some(origin), None) => Footprint::Begun(read_origin(origin)),
        (None, Some(turn)) => Footprint::Turned(read_turn_body(&turn)?),
        _ => return None,
    };
    Some((Uuid::from_slice(&body.referral).ok()?, footprint))
}

/// A trail for the database.
pub(crate) fn encode(trail: &Trail) -> Vec<u8> {
    TrailBody { origin: Some(write_origin(&trail.origin)), turns: trail.turns.iter().map(write_turn).collect() }
        .encode_to_vec()
}

/// A trail from the database.
pub(crate) fn decode(linked: bool, body: &[u8]) -> Option<Trail> {
    let body = TrailBody::decode(body).ok()?;
    let turns = body.turns.iter().map(read_turn_body).collect::<Option<_>>()?;
    Some(Trail { origin: read_origin(body.origin?), linked, turns })
}

fn write_origin(origin: &Origin) -> OriginBody {
    OriginBody {
        agency: origin.agency.clone(),
        platform: origin.platform.clone(),
        target_kind: origin.target_kind,
        referred_on: origin.referred_on.days(),
        recorded_on: origin.recorded_on.days(),
    }
}

fn read_origin(body: OriginBody) -> Origin {
    Origin {
        agency: body.agency,
        platform: body.platform,
        target_kind: body.target_kind,
        referred_on: Date::from_days(body.referred_on),
        recorded_on: Date::from_days(body.recorded_on),
    }
}

fn write_turn(turn: &Turn) -> TurnBody {
    let (kind, effective_on) = match turn.kind {
        TurnKind::Closed(effective_on) => (CLOSED, Some(effective_on.days())),
        TurnKind::Released => (RELEASED, None),
        TurnKind::Reappeared(_) => (REAPPEARED, None),
        TurnKind::Linked(Tie::Network, _) => (LINKED_NETWORK, None),
        TurnKind::Linked(Tie::Target, _) => (LINKED_TARGET, None),
    };
    TurnBody {
        kind,
        occurred_on: turn.occurred_on.days(),
        recorded_on: turn.recorded_on.days(),
        effective_on,
        other: turn.kind.other().map(|other| other.as_bytes().to_vec()),
    }
}

fn read_turn_body(body: &TurnBody) -> Option<Turn> {
    let other = match &body.other {
        Some(bytes) => Some(Uuid::from_slice(bytes).ok()?),
        None => None,
    };
    let kind = match body.kind {
        CLOSED => TurnKind::Closed(Date::from_days(body.effective_on?)),
        RELEASED => TurnKind::Released,
        REAPPEARED => TurnKind::Reappeared(other),
        LINKED_NETWORK => TurnKind::Linked(Tie::Network, other?),
        LINKED_TARGET => TurnKind::Linked(Tie::Target, other?),
        _ => return None,
    };
    let (occurred_on, recorded_on) = (Date::from_days(body.occurred_on), Date::from_days(body.recorded_on));
    Some(Turn { kind, occurred_on, recorded_on })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trails_are_read_back() {
        let day = Date::from_days;
        let origin = Origin {
            agency: "nca".into(),
            platform: "hb".into(),
            target_kind: 2,
            referred_on: day(-1),
            recorded_on: day(3),
        };
        let other = Uuid::from_u128(7);
        let turns = [
            TurnKind::Closed(day(0)),
            TurnKind::Released,
            TurnKind::Reappeared(None),
            TurnKind::Reappeared(Some(other)),
            TurnKind::Linked(Tie::Network, other),
            TurnKind::Linked(Tie::Target, other),
        ]
        .map(|kind| Turn { kind, occurred_on: day(4), recorded_on: day(5) });
        for linked in [true, false] {
            let trail = Trail { origin: origin.clone(), linked, turns: turns.to_vec() };
            assert_eq!(decode(linked, &encode(&trail)), Some(trail));
        }
        let own = Uuid::from_u128(8);
        for footprint in
            turns.into_iter().map(Footprint::Turned).chain([Footprint::Begun(origin)]).map(|footprint| (own, footprint))
        {
            assert_eq!(read_footprint(write_footprint(&footprint)), Some(footprint));
        }
    }
}
