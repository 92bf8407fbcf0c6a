//! Times out gates whose deadline comes.
//!
//! The store holds the deadlines in the order of time, so memory holds only the earliest: start-up reads no gate, and
//! a deadline that passed while no coordinator ran is simply the first to come.

use std::convert::Infallible;

use crate::domain::GateName;
use crate::store;

use super::Coordinator;

/// Deadlines that are dealt with at a time: enough to share a sync, few enough to hold.
const BATCH: usize = 256;

/// Fires deadlines until the store fails.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    loop {
        let earliest = coordinator.store.deadlines(BATCH).await?;
        let now = coordinator.clock.now();
        let due: Vec<GateName> = earliest.iter().filter(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        if !due.is_empty() {
            futures_util::future::try_join_all(due.iter().map(|name| coordinator.expire(name))).await?;
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
