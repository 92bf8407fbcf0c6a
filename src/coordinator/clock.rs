//! The time that deadlines are measured in.

use std::time::SystemTime;

use tokio::time::{Instant, sleep_until};

/// The wall clock as it was at start, and elapsed time since: somebody who sets the machine's clock moves no deadline.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: SystemTime,
    at: Instant,
}

impl Clock {
    /// Reads the wall clock, for the only time.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: SystemTime::now(), at: Instant::now() }
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.wall + self.at.elapsed()
    }

    /// Sleeps until a time, never less.
    pub async fn sleep_until(&self, time: SystemTime) {
        // A time before the start has passed.
        let since_start = time.duration_since(self.wall).unwrap_or_default();
        sleep_until(self.at + since_start).await;
    }
}
