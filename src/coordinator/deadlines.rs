//! Times out gates whose deadline comes.
//!
//! The store holds the deadlines in the order of time, so memory holds only the earliest: start-up reads no gate, and
//! a deadline that passed while no coordinator ran is simply the first to come.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use crate::domain::GateName;
use crate::store;

use super::Coordinator;

/// Deadlines that are dealt with at a time: enough to share a sync, few enough to hold.
const BATCH: usize = 256;

/// How long to leave a store that is full: a deadline is then late, never lost.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Fires deadlines until the store fails.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    // Gates whose record cannot be read: they have been reported, and hold up no other.
    let mut unreadable = HashSet::new();
    loop {
        let mut earliest = coordinator.store.deadlines(&store::DeadlinePlace::START, BATCH + unreadable.len()).await?;
        earliest.retain(|(_, name)| !unreadable.contains(name));
        let now = coordinator.clock.now();
        let due: Vec<GateName> = earliest.iter().filter(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        let fired = futures_util::future::join_all(due.iter().map(|name| coordinator.expire(name))).await;
        for (name, fired) in due.iter().zip(fired) {
            match fired {
                Ok(()) => {}
                Err(store::Error::Full) => {
                    tracing::error!("gate {name} cannot be timed out yet: {}", store::Error::Full);
                    tokio::time::sleep(FULL_PAUSE).await;
                    break;
                }
                Err(error @ store::Error::Corrupt { .. }) => {
                    tracing::error!("gate {name} cannot be timed out: {error}");
                    unreadable.insert(name.clone());
                }
                Err(error) => return Err(error),
            }
        }
        if !due.is_empty() {
            continue;
        }
        // A notice that came since the read is kept, so no earlier deadline is slept through.
        match earliest.first() {
            Some((at, _)) => tokio::select! {
                () = coordinator.clock.sleep_until(*at) => {}
                () = coordinator.deadline_set.notified() => {}
            },
            None => coordinator.deadline_set.notified().await,
        }
    }
}
