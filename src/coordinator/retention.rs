//! Forgets what is old, in the background and in small steps.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use crate::domain::Revision;
use crate::store::{self, Old};

use super::Coordinator;
use super::outage::Outage;

/// How often to look for what has become old.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The pause between two steps, which leaves the store to its callers most of the time.
const STEP_PAUSE: Duration = Duration::from_millis(10);

/// How much is kept of what is resolved. Unresolved gates are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// What is younger than this. None: whatever its age.
    pub age: Option<Duration>,
    /// The latest so many events. None: however many.
    pub events: Option<u64>,
}

impl Retention {
    fn old(&self, now: SystemTime, last: Revision, until: Revision) -> Old {
        Old {
            until,
            before: self.age.and_then(|age| now.checked_sub(age)).unwrap_or(SystemTime::UNIX_EPOCH),
            below: self.events.map_or(Revision::ZERO, |events| Revision(last.0.saturating_sub(events)).next()),
        }
    }
}

/// Forgets what is old wherever this coordinator leads, until the store fails.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    if coordinator.retention == Retention::default() {
        return std::future::pending().await;
    }
    loop {
        coordinator.elected().await;
        tokio::select! {
            () = coordinator.deposed() => {}
            failed = forget(coordinator) => match failed? {},
        }
    }
}

async fn forget(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    let ahead = ahead(coordinator).await?;
    loop {
        // Those who wait hear of nothing that was forgotten before the feed came to it.
        let followed = coordinator.followed_by_all();
        let now = coordinator.clock.now() - ahead;
        let old = coordinator.retention.old(now, coordinator.store.revision(), followed);
        loop {
            match coordinator.store.forget(old).await {
                Ok(true) => tokio::time::sleep(STEP_PAUSE).await,
                // What is full or away is looked at again later.
                Ok(false) | Err(store::Error::Deposed) => break,
                Err(error) if error.passes() => break,
                Err(error) => return Err(error),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Says how far the clock may be ahead of those of other coordinators: by the time since the last event there is. So age is
/// measured from that event on, with what elapses here, and a clock that is wrong makes nothing old.
async fn ahead(coordinator: &Coordinator) -> Result<Duration, store::Error> {
    if !coordinator.has_peers() {
        return Ok(Duration::ZERO);
    }
    let mut outage = Outage::new("retention");
    loop {
        let last = coordinator.store.last_event().await;
        if let Some(last) = outage.outlast(last).await? {
            let now = coordinator.clock.now();
            return Ok(last.and_then(|last| now.duration_since(last.time).ok()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_events_and_the_young_are_kept() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let old = |retention: Retention, last| retention.old(now, Revision(last), Revision(last));
        let retention = Retention { age: Some(Duration::from_secs(10)), events: Some(5) };
        let before = now - Duration::from_secs(10);
        assert_eq!(old(retention, 20), Old { before, below: Revision(16), until: Revision(20) });
        assert_eq!(old(retention, 3).below, Revision(1));
        let all = Old { before: SystemTime::UNIX_EPOCH, below: Revision::ZERO, until: Revision(20) };
        assert_eq!(old(Retention::default(), 20), all);
    }
}
