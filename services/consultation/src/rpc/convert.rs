//! Between the contract's messages and the domain. The log's bodies are the contract's `Consultation` messages, without
//! what the log's own columns hold.

use portreeve_api::consultation::v1 as wire;
use portreeve_core::consultation::{Stretch, What};
use portreeve_core::id::Uuid;
use portreeve_core::name::{OrganisationKind, parse_owner};
use portreeve_core::{Error, Recorded, Result, Violations};
use portreeve_runtime::wire::{optional_time, write_time};
use portreeve_storage::{Codec, Encoded};
use prost::Message as _;

use crate::domain::{Entry, Filter, Kind};

/// How entries are written into the log.
pub struct Log;

impl Codec<Entry> for Log {
    fn encode(event: &Entry) -> Encoded {
        let of = |kind| parse_owner(&event.owner, kind).unwrap_or_default().to_owned();
        Encoded {
            agency: of(OrganisationKind::Agency),
            platform: of(OrganisationKind::Platform),
            body: write_entry(event).encode_to_vec(),
            personal: None,
        }
    }

    fn decode(body: &[u8]) -> Result<Entry> {
        let message = wire::Consultation::decode(body).ok();
        message.and_then(read_entry).ok_or_else(|| Error::internal("an entry of an access log cannot be read"))
    }
}

fn write_stretch(stretch: &Stretch) -> wire::ConsultationStretch {
    wire::ConsultationStretch {
        log: format!("logs/{}", stretch.log),
        after_position: stretch.after,
        through_position: stretch.through,
        rows: stretch.rows,
        snapshot: stretch.snapshot,
    }
}

fn read_stretch(message: &wire::ConsultationStretch) -> Option<Stretch> {
    Some(Stretch {
        log: message.log.strip_prefix("logs/")?.to_owned(),
        after: message.after_position,
        through: message.through_position,
        rows: message.rows,
        snapshot: message.snapshot,
    })
}

fn write_entry(entry: &Entry) -> wire::Consultation {
    let mut message = wire::Consultation {
        kind: entry.kind.code(),
        owner: entry.owner.clone(),
        reader: entry.reader.clone(),
        member: entry.member.clone(),
        roles: entry.roles.clone(),
        method: entry.method.clone(),
        request_id: entry.request_id.clone(),
        purpose: entry.purpose.clone(),
        justification: entry.justification.clone(),
        ..wire::Consultation::default()
    };
    match &entry.what {
        What::Rows(rows) => message.rows = rows.iter().map(Uuid::to_string).collect(),
        What::Stretch(stretch) => message.stretch = Some(write_stretch(stretch)),
        What::Figures { definition, stretch } => {
            message.definition_digest.clone_from(definition);
            message.stretch = stretch.as_ref().map(write_stretch);
        }
    }
    message
}

fn read_entry(message: wire::Consultation) -> Option<Entry> {
    let stretch = match &message.stretch {
        Some(stretch) => Some(read_stretch(stretch)?),
        None => None,
    };
    let what = match (message.definition_digest.is_empty(), stretch) {
        (false, stretch) => What::Figures { definition: message.definition_digest, stretch },
        (true, Some(stretch)) => What::Stretch(stretch),
        (true, None) => What::Rows(message.rows.iter().map(|row| Uuid::try_parse(row).ok()).collect::<Option<_>>()?),
    };
    Some(Entry {
        kind: Kind::from_code(message.kind)?,
        owner: message.owner,
        reader: message.reader,
        member: message.member,
        roles: message.roles,
        method: message.method,
        request_id: message.request_id,
        purpose: message.purpose,
        justification: message.justification,
        what,
    })
}

/// An entry of a log for the wire.
pub(super) fn write_consultation(log: &str, recorded: &Recorded<Entry>) -> wire::Consultation {
    wire::Consultation {
        name: format!("logs/{log}/consultations/{}", recorded.position),
        recorded_at: Some(write_time(recorded.recorded_at)),
        ..write_entry(&recorded.event)
    }
}

/// A filter from the wire. What the contract's rules refuse has been noted.
pub(super) fn read_filter(violations: &mut Violations, message: Option<&wire::ConsultationFilter>) -> Filter {
    let Some(message) = message else { return Filter::default() };
    let mut time = |field: &str, time: Option<&_>| optional_time(violations, &format!("filter.{field}"), time);
    Filter {
        recorded_from: time("recorded_from", message.recorded_from.as_ref()),
        recorded_until: time("recorded_until", message.recorded_until.as_ref()),
        readers: message.readers.clone(),
        members: message.members.clone(),
        methods: message.methods.clone(),
        kind: Kind::from_code(message.kind),
        row: Uuid::try_parse(&message.row).ok(),
    }
}

#[cfg(test)]
mod tests {
    use portreeve_core::consultation::Shown;

    use super::*;
    use crate::domain::tests::reading;

    #[test]
    fn entries_come_back_from_the_log_as_they_were() {
        let stretch = || Stretch { log: "referral".into(), after: 3, through: 9, rows: 4, snapshot: false };
        let whats = [
            What::Rows(vec![Uuid::from_u128(7), Uuid::from_u128(8)]),
            What::Stretch(stretch()),
            What::Stretch(Stretch { snapshot: true, after: 9, ..stretch() }),
            What::Figures { definition: "ab".repeat(32), stretch: None },
            What::Figures { definition: "ab".repeat(32), stretch: Some(stretch()) },
        ];
        for (owner, agency, platform) in
            [("agencies/nca", "nca", ""), ("platforms/hb", "", "hb"), ("oversightBodies/hac", "", ""), ("", "", "")]
        {
            for what in whats.clone() {
                let shown = Shown { owner: owner.parse().ok(), what };
                let entry = Entry::of(&reading("platforms/hb", "t.s"), shown);
                let encoded = Log::encode(&entry);
                assert_eq!((encoded.agency.as_str(), encoded.platform.as_str()), (agency, platform));
                assert_eq!(Log::decode(&encoded.body).as_ref(), Ok(&entry));
            }
        }
        assert!(Log::decode(b"\xff").is_err() && Log::decode(b"").is_err());
    }
}
