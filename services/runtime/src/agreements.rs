//! Agreements between the wire and the domain: the same for every service that asks who may see what.

use std::future::Future;
use std::sync::Arc;

use portreeve_api::referral::v1 as wire;
use portreeve_core::access::{Count, Reader};
use portreeve_core::agreement::{Agreement, Consent, Extension, Notice, State, Suspension, Terms};
use portreeve_core::name::{OrganisationKind, parse_owner};
use portreeve_core::principal::Scope;
use portreeve_core::vocabulary::{AfterEnd, FieldGroup, Ground, Purpose, Tlp};
use portreeve_core::{Error, Principal, Reason, Result, Timestamp, Violations};
use prost::Message as _;
use tonic::Request;

use crate::caller::PURPOSE;
use crate::wire::{optional_time, principal as wire_principal, read_time, write_time};

/// The state's number in the contract.
pub const fn state_code(state: State) -> i32 {
    match state {
        State::Proposed => wire::AgreementState::Proposed as i32,
        State::Active => wire::AgreementState::Active as i32,
        State::Extended => wire::AgreementState::Extended as i32,
        State::Suspended => wire::AgreementState::Suspended as i32,
        State::NoticeGiven => wire::AgreementState::NoticeGiven as i32,
        State::Lapsed => wire::AgreementState::Lapsed as i32,
        State::Terminated => wire::AgreementState::Terminated as i32,
    }
}

fn agency(id: &str) -> String {
    format!("agencies/{id}")
}

fn write_consents(consents: &[Consent]) -> Vec<wire::Consent> {
    let write =
        |consent: &Consent| wire::Consent { party: agency(&consent.party), consented_at: Some(write_time(consent.at)) };
    consents.iter().map(write).collect()
}

/// An agreement for the wire, as it stands at a moment.
pub fn write_agreement(agreement: &Agreement, now: Timestamp) -> wire::Agreement {
    let terms = &agreement.terms;
    let extension = |extension: &Extension| wire::Extension {
        end_time: Some(write_time(extension.end)),
        consents: write_consents(&extension.consents),
        in_force_at: extension.in_force_at.map(write_time),
    };
    let suspension = |suspension: &Suspension| wire::Suspension {
        party: agency(&suspension.party),
        reason: suspension.reason.clone(),
        suspended_at: Some(write_time(suspension.from)),
        resumed_at: suspension.until.map(write_time),
    };
    wire::Agreement {
        name: agreement.name.to_string(),
        title: terms.title.clone(),
        parties: terms.parties.iter().map(|party| agency(party)).collect(),
        purposes: terms.purposes.iter().map(|purpose| purpose.code()).collect(),
        grounds: terms.grounds.iter().map(|ground| ground.code()).collect(),
        field_groups: terms.field_groups.iter().map(|group| group.code()).collect(),
        tlp_ceiling: terms.tlp_ceiling.code(),
        accepts_conditions: terms.accepts_conditions,
        onward_permitted: terms.onward_permitted,
        shared_since: terms.shared_since.map(write_time),
        start_time: Some(write_time(terms.start)),
        end_time: Some(write_time(terms.end)),
        extendable_until: terms.extendable_until.map(write_time),
        notice_days: terms.notice_days,
        review_date: terms.review_on.map(|day| day.to_string()).unwrap_or_default(),
        after_end: terms.after_end.code(),
        acceptances: write_consents(&agreement.acceptances),
        extensions: agreement.extensions.iter().map(extension).collect(),
        suspensions: agreement.suspensions.iter().map(suspension).collect(),
        notice: agreement.notice.as_ref().map(|notice| wire::Notice {
            party: agency(&notice.party),
            reason: notice.reason.clone(),
            given_at: Some(write_time(notice.given_at)),
            ends_at: Some(write_time(notice.ends_at)),
        }),
        state: state_code(agreement.state(now)),
        ends_at: Some(write_time(agreement.ends_at())),
        create_time: Some(write_time(agreement.created_at)),
        update_time: Some(write_time(agreement.updated_at)),
        etag: agreement.updated.to_string(),
    }
}

fn codes<T>(codes: &[i32], read: impl Fn(i32) -> Option<T>) -> Option<Vec<T>> {
    codes.iter().map(|code| read(*code)).collect()
}

fn read_agency(name: &str) -> Option<String> {
    parse_owner(name, OrganisationKind::Agency).ok().map(str::to_owned)
}

/// A time that may be missing, but not wrong.
fn optional(time: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, &'static str> {
    time.map(read_time).transpose()
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    read_time(time?).ok()
}

fn read_consents(consents: &[wire::Consent]) -> Option<Vec<Consent>> {
    let read = |consent: &wire::Consent| {
        Some(Consent { party: read_agency(&consent.party)?, at: time(consent.consented_at.as_ref())? })
    };
    consents.iter().map(read).collect()
}

fn read_terms_unchecked(message: &wire::Agreement) -> Option<Terms> {
    Some(Terms {
        title: message.title.clone(),
        parties: message.parties.iter().map(|party| read_agency(party)).collect::<Option<_>>()?,
        purposes: codes(&message.purposes, Purpose::from_code)?,
        grounds: codes(&message.grounds, Ground::from_code)?,
        field_groups: codes(&message.field_groups, FieldGroup::from_code)?,
        tlp_ceiling: Tlp::from_code(message.tlp_ceiling)?,
        accepts_conditions: message.accepts_conditions,
        onward_permitted: message.onward_permitted,
        shared_since: optional(message.shared_since.as_ref()).ok()?,
        start: time(message.start_time.as_ref())?,
        end: time(message.end_time.as_ref())?,
        extendable_until: optional(message.extendable_until.as_ref()).ok()?,
        notice_days: message.notice_days,
        review_on: match message.review_date.as_str() {
            "" => None,
            day => Some(day.parse().ok()?),
        },
        after_end: AfterEnd::from_code(message.after_end)?,
    })
}

/// An agreement from the wire; `None` for one that this release did not write.
pub fn read_agreement(message: &wire::Agreement) -> Option<Agreement> {
    let extension = |extension: &wire::Extension| {
        Some(Extension {
            end: time(extension.end_time.as_ref())?,
            consents: read_consents(&extension.consents)?,
            in_force_at: optional(extension.in_force_at.as_ref()).ok()?,
        })
    };
    let suspension = |suspension: &wire::Suspension| {
        Some(Suspension {
            party: read_agency(&suspension.party)?,
            reason: suspension.reason.clone(),
            from: time(suspension.suspended_at.as_ref())?,
            until: optional(suspension.resumed_at.as_ref()).ok()?,
        })
    };
    let notice = |notice: &wire::Notice| {
        Some(Notice {
            party: read_agency(&notice.party)?,
            reason: notice.reason.clone(),
            given_at: time(notice.given_at.as_ref())?,
            ends_at: time(notice.ends_at.as_ref())?,
        })
    };
    Some(Agreement {
        name: message.name.parse().ok()?,
        terms: read_terms_unchecked(message)?,
        acceptances: read_consents(&message.acceptances)?,
        extensions: message.extensions.iter().map(extension).collect::<Option<_>>()?,
        suspensions: message.suspensions.iter().map(suspension).collect::<Option<_>>()?,
        notice: match &message.notice {
            None => None,
            Some(given) => Some(notice(given)?),
        },
        created_at: time(message.create_time.as_ref())?,
        updated_at: time(message.update_time.as_ref())?,
        created: 0,
        updated: message.etag.parse().ok()?,
    })
}

/// An agreement as a database keeps it: as the contract writes it.
pub fn encode(agreement: &Agreement) -> Vec<u8> {
    write_agreement(agreement, agreement.updated_at).encode_to_vec()
}

/// The agreement behind what a database keeps; `None` for one that this release did not write.
pub fn decode(body: &[u8]) -> Option<Agreement> {
    read_agreement(&wire::Agreement::decode(body).ok()?)
}

/// The terms of a proposal. Wrong fields are noted; the contract's own rules have been checked already.
pub fn read_terms(
    violations: &mut Violations,
    message: &wire::Agreement,
    proposer: &str,
    now: Timestamp,
) -> Option<Terms> {
    let mut told = |field: &str, time: Option<&prost_types::Timestamp>| {
        optional_time(violations, &format!("agreement.{field}"), time)
    };
    let (start, end) = (told("start_time", message.start_time.as_ref()), told("end_time", message.end_time.as_ref()));
    let until = told("extendable_until", message.extendable_until.as_ref());
    told("shared_since", message.shared_since.as_ref());
    if message.title.trim().is_empty() {
        violations.add("agreement.title", "must be set");
    }
    if !message.parties.contains(&agency(proposer)) {
        violations.add("agreement.parties", format!("must name the proposer, agencies/{proposer}"));
    }
    if let (Some(start), Some(end)) = (start, end) {
        if end <= start {
            violations.add("agreement.end_time", "must be after start_time");
        }
        if end <= now {
            violations.add_late("agreement.end_time", "must be in the future of the server's clock");
        }
        if until.is_some_and(|until| until < end) {
            violations.add("agreement.extendable_until", "must not be before end_time");
        }
    }
    let day = message.review_date.parse::<portreeve_core::Date>();
    if !message.review_date.is_empty() && day.is_err() {
        violations.add("agreement.review_date", "must be a day of the calendar, as YYYY-MM-DD");
    }
    read_terms_unchecked(message)
}

/// Who asks for whose rows, and for what: what [`Reader`] is made of, again for each page that is shown.
#[derive(Clone, Debug)]
pub struct Asker {
    principal: Principal,
    asked: Option<String>,
    purpose: Option<Purpose>,
    own: Arc<Reader>,
}

impl Asker {
    /// The caller of a request who asks for the rows of one agency, or of every one that they may see. Refuses a purpose
    /// that is none.
    pub fn new<T>(request: &Request<T>) -> Result<Self> {
        let principal = wire_principal(request)?;
        let own = Arc::new(Reader::own(principal.clone()));
        Ok(Self { principal, asked: None, purpose: purpose(request)?, own })
    }

    /// Who asks.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Asks for the rows of one agency alone, if one is named.
    #[must_use]
    pub fn asking(self, agency: Option<&str>) -> Self {
        Self { asked: agency.map(str::to_owned), ..self }
    }

    /// Whether agreements have no say in what is seen.
    fn is_alone(&self) -> bool {
        !matches!(self.principal.scope(), Scope::Agency(own) if self.asked.as_ref() != Some(&own))
    }

    /// Who reads, and what is shared with them at a moment. `concerning` gives the agreements of an agency and of its
    /// partners.
    pub async fn reader<F>(&self, concerning: impl FnOnce(String) -> F, now: Timestamp) -> Result<Arc<Reader>>
    where
        F: Future<Output = Result<Vec<Agreement>>>,
    {
        let agreements = if self.is_alone() { Vec::new() } else { concerning(self.principal.id().to_owned()).await? };
        let reader = Reader::new(self.principal.clone(), self.asked.as_deref(), self.purpose, &agreements, now)?;
        Ok(Arc::new(reader))
    }

    /// Who asks for figures of agencies, with what partners share of theirs at a moment. `relied` is what the figures have
    /// rested on so far.
    pub async fn reader_of_figures<F>(
        &self,
        count: Count<'_>,
        relied: Option<&Reader>,
        concerning: impl FnOnce(String) -> F,
        now: Timestamp,
    ) -> Result<Arc<Reader>>
    where
        F: Future<Output = Result<Vec<Agreement>>>,
    {
        let partners = match self.principal.scope() {
            Scope::Agency(own) => count.agencies.iter().any(|agency| *agency != own),
            _ => false,
        };
        if !partners {
            return Ok(Arc::clone(&self.own));
        }
        let agreements = concerning(self.principal.id().to_owned()).await?;
        Reader::of_figures(self.principal.clone(), &count, self.purpose, &agreements, relied, now).map(Arc::new)
    }

    /// As [`Asker::reader`], for a stream that is open. One that named no purpose rests on no agreement, and goes on with its
    /// own when one comes into force.
    pub async fn reader_of_stream<F>(&self, concerning: impl FnOnce(String) -> F, now: Timestamp) -> Result<Arc<Reader>>
    where
        F: Future<Output = Result<Vec<Agreement>>>,
    {
        if self.is_alone() || (self.purpose.is_none() && self.asked.is_none()) {
            return Ok(Arc::clone(&self.own));
        }
        self.reader(concerning, now).await
    }
}

/// The purpose that a caller names.
fn purpose<T>(request: &Request<T>) -> Result<Option<Purpose>> {
    let Some(value) = request.metadata().get(PURPOSE) else { return Ok(None) };
    let found = value.to_str().ok().and_then(Purpose::from_name);
    found.map(Some).ok_or_else(|| {
        let names = Purpose::ALL.iter().map(|purpose| purpose.name()).collect::<Vec<_>>().join(", ");
        Error::new(Reason::RequestInvalid, "the purpose of the call cannot be read")
            .at(PURPOSE, format!("must be one of {names}"))
    })
}
