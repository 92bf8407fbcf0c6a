//! The time that deadlines are measured in.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// The longest sleep without a look at the clock: timers stand still while the machine is suspended, deadlines do not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far another clock may be ahead before it is told: how late a deadline may be met.
const SKEW_MAX: Duration = Duration::from_secs(1);
/// How often it is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The time at the start, and what has elapsed since: somebody who sets the machine's clock moves no deadline.
#[derive(Clone)]
pub struct Clock {
    start: SystemTime,
    elapsed: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// Reads the machine's clock, for the only time.
    ///
    /// `last` is the time of the last thing that is known to have happened. If the machine's clock was set back behind
    /// it, time goes on from there: what was left of a deadline then is the most that can be left now.
    #[must_use]
    pub fn start(last: SystemTime) -> Self {
        let wall = SystemTime::now();
        if let Ok(behind) = last.duration_since(wall)
            && !behind.is_zero()
        {
            tracing::warn!("the machine's clock is {behind:?} behind the last event: going on from that event");
        }
        let begin = boot_time();
        Self::new(wall.max(last), move || boot_time().saturating_sub(begin))
    }

    /// Makes a clock of a start and of what says how much has elapsed since.
    pub fn new(start: SystemTime, elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { start, elapsed: Arc::new(elapsed) }
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.start + (self.elapsed)()
    }

    /// Sleeps until a time, never less.
    pub async fn sleep_until(&self, time: SystemTime) {
        while let Ok(left) = time.duration_since(self.now())
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Looks for other coordinators whose clocks are ahead of this one: deadlines come earlier there.
#[derive(Debug, Default)]
pub(super) struct Skew {
    told: Option<SystemTime>,
}

impl Skew {
    /// Returns how far ahead something happened that is known `now`, if that has to be told.
    pub fn look(&mut self, now: SystemTime, happened: SystemTime) -> Option<Duration> {
        let ahead = happened.duration_since(now).ok().filter(|ahead| *ahead > SKEW_MAX)?;
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(ahead)
    }
}

/// Elapsed time that nobody can set, with what the machine was suspended for where the system says.
fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    // It counts up from the machine's start, so that no part is negative.
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_starts_behind_what_has_happened() {
        let ahead = SystemTime::now() + Duration::from_secs(3600);
        assert!(Clock::start(ahead).now() >= ahead);
        assert!(Clock::start(SystemTime::UNIX_EPOCH).now() < ahead);
    }

    #[test]
    fn another_clock_that_is_far_ahead_is_told_once_a_minute() {
        let now = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut skew = Skew::default();
        assert_eq!(skew.look(now(10), now(9)), None);
        assert_eq!(skew.look(now(10), now(11)), None);
        assert_eq!(skew.look(now(10), now(13)), Some(Duration::from_secs(3)));
        assert_eq!(skew.look(now(69), now(73)), None);
        assert_eq!(skew.look(now(70), now(75)), Some(Duration::from_secs(5)));
    }

    #[test]
    fn it_goes_on() {
        let clock = Clock::start(SystemTime::UNIX_EPOCH);
        let first = clock.now();
        while clock.now() == first {}
        assert!(clock.now() > first);
    }
}
