//! Each organisation's share: how fast it may call, and how many streams it may have open, so that no one of them can
//! keep the others out. The suite's own services are not counted.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use portreeve_core::name::{OrganisationKind, OrganisationName};
use portreeve_core::{Clock, Error, Principal, Reason, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::Limits;

/// Organisations that are remembered before those that are at rest are forgotten.
const REMEMBERED: usize = 4_096;

/// What every organisation has taken of its share.
pub struct Shares {
    limits: Limits,
    clock: Time,
    calls: RateLimiter<OrganisationName, DashMapStateStore<OrganisationName>, Time, NoOpMiddleware<Nanos>>,
    under_way: Places,
    streams: Places,
}

/// Places of each organisation that has used any.
type Places = Mutex<HashMap<OrganisationName, Arc<Semaphore>>>;

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shares").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The clock that is passed in, as the rate limiter reads it.
#[derive(Clone)]
struct Time(Arc<dyn Clock>);

impl clock::Clock for Time {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let micros = u64::try_from(self.0.now().micros()).unwrap_or_default();
        Duration::from_micros(micros).into()
    }
}

impl Shares {
    /// Shares of so much each, none of them used.
    pub fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let of = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(of(limits.organisation_calls_per_second))
            .allow_burst(of(limits.organisation_calls_burst));
        let clock = Time(clock);
        let calls = RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        Self { limits, clock, calls, under_way: Mutex::default(), streams: Mutex::default() }
    }

    /// Takes a unary call from the caller's share, for as long as the permit lives, or says when there will be one.
    pub fn call(&self, caller: &Principal) -> Result<Option<OwnedSemaphorePermit>> {
        if caller.kind() == OrganisationKind::Service {
            return Ok(None);
        }
        let organisation = caller.organisation();
        if self.calls.len() > REMEMBERED {
            self.calls.retain_recent();
        }
        self.calls.check_key(organisation).map_err(|refused| {
            let wait = refused.wait_time_from(clock::Clock::now(&self.clock));
            let rate = self.limits.organisation_calls_per_second;
            let message =
                format!("{organisation} makes more than {rate} calls a second; repeat the call after the retry delay");
            Error::new(Reason::Overloaded, message)
                .with("resource", "organisation_calls")
                .with("limit", rate)
                .retry_after(wait.max(Duration::from_millis(1)))
        })?;
        let limit = self.limits.organisation_unary_calls;
        place(&self.under_way, organisation, limit).map(Some).ok_or_else(|| {
            let message = format!("{organisation} has {limit} calls under way; repeat the call after the retry delay");
            Error::new(Reason::Overloaded, message)
                .with("resource", "organisation_unary_calls")
                .with("limit", limit)
                .retry_after(Duration::from_millis(100))
        })
    }

    /// Takes a stream from the caller's share, for as long as the permit lives.
    pub fn stream(&self, caller: &Principal) -> Result<Option<OwnedSemaphorePermit>> {
        if caller.kind() == OrganisationKind::Service {
            return Ok(None);
        }
        let limit = self.limits.organisation_streams;
        let organisation = caller.organisation();
        place(&self.streams, organisation, limit).map(Some).ok_or_else(|| {
            let message = format!("{organisation} has {limit} streams open; close one, or repeat the call later");
            Error::new(Reason::Overloaded, message)
                .with("resource", "organisation_streams")
                .with("limit", limit)
                .retry_after(Duration::from_secs(1))
        })
    }
}

/// One of an organisation's places, if one is free.
fn place(places: &Places, organisation: &OrganisationName, limit: usize) -> Option<OwnedSemaphorePermit> {
    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
    if places.len() > REMEMBERED {
        places.retain(|_, places| places.available_permits() < limit);
    }
    if let Some(places) = places.get(organisation) {
        return Arc::clone(places).try_acquire_owned().ok();
    }
    let new = Arc::new(Semaphore::new(limit));
    places.insert(organisation.clone(), Arc::clone(&new));
    new.try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use portreeve_core::Timestamp;
    use portreeve_core::time::ManualClock;

    use super::*;

    fn caller(name: &str) -> Principal {
        Principal::new(name.parse().unwrap(), "", &[]).unwrap()
    }

    fn shares(clock: &Arc<ManualClock>) -> Shares {
        let limits = Limits {
            organisation_calls_per_second: 10,
            organisation_calls_burst: 455,
            organisation_unary_calls: 3,
            organisation_streams: 2,
            ..Limits::default()
        };
        Shares::new(limits, Arc::clone(clock) as Arc<dyn Clock>)
    }

    #[test]
    fn an_operation_passes_at_once_and_the_next_call_is_told_when() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000_000)));
        let shares = shares(&clock);
        let (nca, bka) = (caller("agencies/nca"), caller("agencies/bka"));
        for call in 0..455 {
            assert!(shares.call(&nca).is_ok(), "{call}");
        }
        let refused = shares.call(&nca).unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);
        let wait = refused.retry_delay().unwrap();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        // Another's share is its own, and the suite's services have no limit.
        assert!(shares.call(&bka).is_ok());
        let follower = Principal::service("decision").unwrap();
        assert!((0..1_000).all(|_| shares.call(&follower).is_ok()));
        // The delay that was told is enough for one call, and for one only.
        clock.set(Timestamp::from_micros(1_000_000_000 + i64::try_from(wait.as_micros()).unwrap() + 1));
        assert!(shares.call(&nca).is_ok());
        assert!(shares.call(&nca).is_err());
    }

    #[test]
    fn answers_that_nobody_takes_are_calls_under_way() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000_000)));
        let shares = shares(&clock);
        let nca = caller("agencies/nca");
        let mut held = (0..3).map(|_| shares.call(&nca).unwrap().unwrap()).collect::<Vec<_>>();
        let refused = shares.call(&nca).unwrap_err();
        assert!(refused.metadata().contains(&("resource", "organisation_unary_calls".to_owned())), "{refused:?}");
        assert!(shares.call(&caller("agencies/bka")).is_ok());
        held.pop();
        assert!(shares.call(&nca).is_ok());
    }

    #[test]
    fn a_stream_that_ends_makes_room() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1)));
        let shares = shares(&clock);
        let nca = caller("agencies/nca");
        let (first, second) = (shares.stream(&nca).unwrap(), shares.stream(&nca).unwrap());
        assert!(first.is_some() && second.is_some());
        assert_eq!(shares.stream(&nca).unwrap_err().reason(), Reason::Overloaded);
        drop(first);
        assert!(shares.stream(&nca).is_ok_and(|place| place.is_some()));
        assert!(shares.stream(&Principal::service("decision").unwrap()).is_ok_and(|place| place.is_none()));
    }

    #[test]
    fn those_at_rest_are_forgotten() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000_000)));
        let shares = shares(&clock);
        for number in 0..=REMEMBERED {
            let stranger = caller(&format!("agencies/a{number}"));
            shares.call(&stranger).unwrap();
            shares.stream(&stranger).unwrap();
        }
        clock.set(Timestamp::from_micros(2_000_000_000));
        shares.call(&caller("agencies/nca")).unwrap();
        shares.stream(&caller("agencies/nca")).unwrap();
        assert!(shares.calls.len() < 10, "{}", shares.calls.len());
        assert!(shares.streams.lock().unwrap().len() < 10);
        assert!(shares.under_way.lock().unwrap().len() < 10);
    }
}
