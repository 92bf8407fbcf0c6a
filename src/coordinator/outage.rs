//! What works in the background outlasts a store that is away or full.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::Error;

/// The most waits that look at their gates at a time after an outage: enough to keep a store busy, few beside the calls
/// that it has to answer meanwhile.
const LOOKS_MAX: usize = 64;

/// Some work that goes on once the store does, and tells of each outage once.
pub struct Outage {
    of: String,
    is_told: bool,
}

impl Outage {
    /// The pause before a store that could not do something is asked again: short beside any timeout, long beside a call.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// Names the work.
    pub fn new(of: impl Into<String>) -> Self {
        Self { of: of.into(), is_told: false }
    }

    /// Returns what the store answered; none after a pause, if it has to be asked again.
    ///
    /// # Errors
    ///
    /// What does not pass by itself.
    pub async fn outlast<T>(&mut self, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(answer) => {
                self.end();
                Ok(Some(answer))
            }
            Err(error) if error.passes() => {
                self.tell(&error);
                tokio::time::sleep(Self::PAUSE).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells of an error, if it is the first of an outage.
    pub fn tell(&mut self, error: &Error) {
        if !self.is_told {
            self.is_told = true;
            tracing::error!("{} will go on once the store does: {error}", self.of);
        }
    }

    /// Tells that the outage is over, if there was one.
    pub fn end(&mut self) {
        if self.is_told {
            self.is_told = false;
            tracing::info!("{} goes on", self.of);
        }
    }
}

/// Whose turn it is to look at a gate once more, where an outage leaves that to all waits at once.
pub struct Turns {
    looks: Semaphore,
    /// Whether other coordinators come out of the same outage. Where there are none nothing is random.
    has_peers: bool,
}

impl Turns {
    /// Begins without anybody in line.
    pub fn new(has_peers: bool) -> Self {
        Self { looks: Semaphore::new(LOOKS_MAX), has_peers }
    }

    /// Waits for a turn, after a pause. It lasts until what is returned is dropped.
    pub async fn next(&self) -> Option<SemaphorePermit<'_>> {
        let part = if self.has_peers { fastrand::f64() } else { 1.0 };
        tokio::time::sleep(Outage::PAUSE.mul_f64(part)).await;
        // It is never closed.
        self.looks.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::future::join_all;
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_spread_where_there_are_peers_and_are_not_random_where_there_are_none() {
        for (has_peers, moments) in [(true, 20..=LOOKS_MAX), (false, 1..=1)] {
            let (turns, begin) = (Turns::new(has_peers), Instant::now());
            let waits = (0..LOOKS_MAX).map(|_| async {
                turns.next().await;
                begin.elapsed()
            });
            let came: BTreeSet<_> = join_all(waits).await.into_iter().collect();
            assert!(moments.contains(&came.len()), "{came:?}");
            // The timer's grain is a millisecond.
            assert!(came.last().unwrap() <= &(Outage::PAUSE + Duration::from_millis(1)), "{came:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_have_their_turn_at_a_time() {
        let turns = Turns::new(true);
        let mut at_work = join_all((0..LOOKS_MAX).map(|_| turns.next())).await;
        assert!(timeout(60 * Outage::PAUSE, turns.next()).await.is_err());
        at_work.pop();
        assert!(timeout(60 * Outage::PAUSE, turns.next()).await.is_ok());
    }
}
