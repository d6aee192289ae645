//! What every `rpc.rs` needs between the wire and its domain.

use portreeve_api::referral::v1::{NonDisclosureCourse, OrderTerms, Priority};
use portreeve_api::validate;
use portreeve_core::id::Uuid;
use portreeve_core::time::DAY_MICROS;
use portreeve_core::{Error, Principal, Reason, Result, Timestamp, Violations, limits};
use portreeve_storage::{Envelope, Guard, Outcome};
use prost::Message;
use sha2::{Digest, Sha256};

const SECOND_MICROS: i64 = 1_000_000;

/// Who calls: put into the request by the caller layer.
pub fn principal<T>(request: &tonic::Request<T>) -> Result<Principal> {
    let found = request.extensions().get::<Principal>().cloned();
    found.ok_or_else(|| Error::new(Reason::Unauthenticated, "the acting organisation is missing"))
}

/// Everything about a message that breaks the contract's own rules, for adding what only the domain can tell.
pub fn violations<M: validate::Request>(message: &M) -> Violations {
    let mut violations = Violations::new();
    for (field, description) in validate::violations(message) {
        violations.add(field, description);
    }
    violations
}

/// The guard of a request: its identifier, and a hash of the method and of everything else in the message.
/// `None` if the identifier is not a UUID, which the contract's rules have noted already.
pub fn guard<M: Message>(method: &str, request_id: &str, content: &M) -> Option<Guard> {
    let mut hasher = Sha256::new();
    hasher.update(method.as_bytes());
    hasher.update([0]);
    hasher.update(content.encode_to_vec());
    let request_id = Uuid::try_parse(request_id).ok()?;
    Some(Guard::Request { request_id, hash: hasher.finalize().into(), too_late: None })
}

/// A command on its way to the writer.
pub fn envelope<C>(principal: &Principal, guard: Guard, command: C) -> Envelope<C> {
    Envelope { principal: principal.clone(), guard, command }
}

/// The revision that includes what a command did.
pub fn revision<E>(log: &str, outcome: &Outcome<E>) -> String {
    portreeve_storage::event::revision(log, outcome.epoch, outcome.position).encode()
}

/// Notes a text that is there and says nothing; whether it must be there is the contract's to say.
pub fn must_say(violations: &mut Violations, field: &str, text: &str) {
    if text.trim().is_empty() && !text.is_empty() {
        violations.add(field, "must say something");
    }
}

/// Takes out of an order why it could not wait, who is to be told, and why its non-disclosure is another. `None` if there is nothing.
///
/// Here and not in a service: what a referral and its case hide, seal and erase must be the same.
pub fn take_emergency(order: Option<&mut OrderTerms>) -> Option<OrderTerms> {
    let order = order?;
    let course = order.non_disclosure.as_mut().map(|course| NonDisclosureCourse {
        extension_reason: std::mem::take(&mut course.extension_reason),
        lift_reason: std::mem::take(&mut course.lift_reason),
        ..NonDisclosureCourse::default()
    });
    let words = OrderTerms {
        non_disclosure: course.filter(|words| *words != NonDisclosureCourse::default()),
        emergency: std::mem::take(&mut order.emergency),
        feedback_to: std::mem::take(&mut order.feedback_to),
        ..OrderTerms::default()
    };
    (words != OrderTerms::default()).then_some(words)
}

/// Takes out of a priority why it is so, for the same reason here. `None` if there is nothing.
pub fn take_explanation(priority: Option<&mut Priority>) -> Option<Priority> {
    let explanation = std::mem::take(&mut priority?.explanation);
    (!explanation.is_empty()).then(|| Priority { explanation, ..Priority::default() })
}

/// Microseconds for the wire.
pub fn write_span(micros: i64) -> prost_types::Duration {
    let nanos = i32::try_from(micros % SECOND_MICROS * 1_000).unwrap_or_default();
    prost_types::Duration { seconds: micros / SECOND_MICROS, nanos }
}

/// Microseconds from the wire; what is finer is left out. What is longer than any limit comes as such.
pub fn read_span(span: &prost_types::Duration) -> i64 {
    span.seconds.saturating_mul(SECOND_MICROS).saturating_add(i64::from(span.nanos) / 1_000)
}

/// The version that a caller knew, from an etag: `None` if it does not care, or if the etag is none, which is noted.
pub fn read_etag(violations: &mut Violations, field: &str, etag: &str) -> Option<i64> {
    if etag.is_empty() {
        return None;
    }
    violations.check(field, etag.parse::<i64>().map_err(|_| "must be an etag as it was read"))
}

/// A time from the wire.
pub fn read_time(time: &prost_types::Timestamp) -> Result<Timestamp, &'static str> {
    Timestamp::from_parts(time.seconds, time.nanos).ok_or("must be a time between the years 0001 and 9999")
}

/// An optional time from the wire; a wrong one is noted against its field.
pub fn optional_time(
    violations: &mut Violations,
    field: &str,
    time: Option<&prost_types::Timestamp>,
) -> Option<Timestamp> {
    time.and_then(|time| violations.check(field, read_time(time)))
}

/// When something happened, by the caller's account: never in the future of the server's clock.
pub fn told_time(
    violations: &mut Violations,
    field: &str,
    time: Option<&prost_types::Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let told = optional_time(violations, field, time)?;
    if told > now.plus_micros(limits::CLOCK_SKEW_MICROS) {
        violations.add(field, "must not be in the future of the server's clock");
        return None;
    }
    // What clocks disagree about is not worth a fact that lies in the future.
    Some(told.min(now))
}

/// Refuses a time further back than allowed, unless the caller brings in facts of long ago. It may have been allowed when it was
/// first told: see [`Guard::unless_too_late`].
pub fn check_backdating(principal: &Principal, told: Option<Timestamp>, now: Timestamp, days_max: u32) -> Result<()> {
    let oldest = now.plus_micros(-i64::from(days_max) * DAY_MICROS);
    if told.is_none_or(|told| told >= oldest) || principal.has(portreeve_core::principal::Role::Import) {
        return Ok(());
    }
    Err(Error::new(
        Reason::BackdatingNotPermitted,
        format!("occurred_at is more than {days_max} days ago; only the import role may tell facts of so long ago"),
    )
    .with("max_age_seconds", u64::from(days_max) * 86_400))
}

/// A time for the wire.
pub fn write_time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.to_parts();
    prost_types::Timestamp { seconds, nanos }
}

/// A page's rows: 0 is the default, more than the maximum is the maximum (AIP-158).
pub fn page_size(asked: i32) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => limits::PAGE_ROWS_DEFAULT,
        Ok(rows) => rows.min(limits::PAGE_ROWS_MAX),
    }
}

/// The key of a page's last row by its place in the log.
pub fn position_key(position: i64) -> Vec<u8> {
    position.to_be_bytes().to_vec()
}

/// The place that a page goes on after; 0 for the first page.
pub fn read_position(key: Option<Vec<u8>>) -> Result<i64> {
    let Some(key) = key else { return Ok(0) };
    let bytes = key.try_into().map_err(|_| {
        Error::new(Reason::PageTokenInvalid, "the page token does not belong to this query; start again without one")
    })?;
    Ok(i64::from_be_bytes(bytes))
}

/// An error as an item of a batch carries it.
pub fn item_status(error: &Error) -> tonic_types::pb::Status {
    let status = crate::status::status(error);
    let plain = || tonic_types::pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    };
    tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| plain())
}
