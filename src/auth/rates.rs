//! How often each principal may call.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

/// After how many calls those are forgotten who have not called for so long that they may make a whole burst again.
const FORGET_EVERY: u32 = 4_096;

type Limiter<C> = RateLimiter<String, DefaultKeyedStateStore<String>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Lets each principal make so many calls in a second over time, and so many at once after a pause.
///
/// It remembers those who called lately, and a few thousand more at most.
pub struct Rates<C: Clock = DefaultClock> {
    // None where there is no bound.
    limiter: Option<Limiter<C>>,
    clock: C,
    calls: AtomicU32,
}

impl Rates {
    /// Makes a bound of so many calls; 0 in a second is none.
    #[must_use]
    pub fn new(requests_per_second: u32, burst: NonZeroU32) -> Self {
        Self::with_clock(requests_per_second, burst, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(requests_per_second: u32, burst: NonZeroU32, clock: C) -> Self {
        let quota = NonZeroU32::new(requests_per_second).map(|rate| Quota::per_second(rate).allow_burst(burst));
        let limiter = quota.map(|quota| RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone()));
        Self { limiter, clock, calls: AtomicU32::new(0) }
    }

    /// Counts a call of a principal.
    ///
    /// # Errors
    ///
    /// How long they have to wait, where they make too many. The call is not counted then.
    pub fn check(&self, who: &str) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(&who.to_owned()).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rates(requests_per_second: u32, burst: u32) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::with_clock(requests_per_second, NonZeroU32::new(burst).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let (rates, clock) = rates(10, 3);
        for _ in 0..3 {
            rates.check("alice").unwrap();
        }
        assert_eq!(rates.check("alice"), Err(Duration::from_millis(100)));
        clock.advance(Duration::from_millis(40));
        assert_eq!(rates.check("alice"), Err(Duration::from_millis(60)));
        clock.advance(Duration::from_millis(60));
        rates.check("alice").unwrap();
        assert!(rates.check("alice").is_err());
        clock.advance(Duration::from_secs(60));
        assert_eq!((0..9).filter(|_| rates.check("alice").is_ok()).count(), 3, "no more than a burst is saved up");
    }

    #[test]
    fn nobody_pays_for_another() {
        let (rates, _) = rates(1, 1);
        rates.check("alice").unwrap();
        assert!(rates.check("alice").is_err());
        rates.check("bob").unwrap();
    }

    #[test]
    fn no_rate_is_no_bound() {
        let (rates, _) = rates(0, 1);
        assert!((0..10_000).all(|_| rates.check("alice").is_ok()));
    }

    #[test]
    fn those_who_are_gone_are_forgotten() {
        let (rates, clock) = rates(100, 10);
        for number in 0..10 * FORGET_EVERY {
            rates.check(&format!("principal-{number}")).unwrap();
            clock.advance(Duration::from_millis(10));
        }
        let remembered = rates.limiter.as_ref().unwrap().len();
        assert!(remembered <= FORGET_EVERY as usize + 10, "{remembered}");
    }

    #[test]
    fn who_has_used_up_their_calls_is_not_forgotten() {
        let (rates, _) = rates(1, 1);
        rates.check("alice").unwrap();
        for number in 0..2 * FORGET_EVERY {
            rates.check(&format!("principal-{number}")).unwrap();
        }
        assert!(rates.check("alice").is_err());
    }
}
