//! Times out gates whose deadline comes.
//!
//! The store holds the deadlines in the order of time, so memory holds only the earliest: start-up reads no gate, and
//! a deadline that passed while no coordinator ran is simply the first to come.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use crate::domain::GateName;
use crate::store;

use super::Coordinator;
use super::outage::Outage;

/// Deadlines that are dealt with at a time: enough to share a sync, few enough to hold.
const BATCH: usize = 256;

/// The latest that a coordinator with others leaves a deadline to them: longer than a commit takes, so that they seldom
/// come to one together, and far less than the second by which each is met.
const JITTER_MAX_US: u64 = 100_000;

/// Fires deadlines until the store fails.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    // Gates whose record cannot be read: they have been reported, and hold up no other.
    let mut unreadable = HashSet::new();
    let (mut reading, mut firing) = (Outage::new("reading the deadlines"), Outage::new("timing out gates"));
    let jitter = Jitter(coordinator.has_peers().then(RandomState::new));
    loop {
        let read = coordinator.store.deadlines(&store::DeadlinePlace::START, BATCH + unreadable.len()).await;
        let Some(mut earliest) = reading.outlast(read).await? else { continue };
        earliest.retain(|(_, name)| !unreadable.contains(name));
        let turns: Vec<_> = earliest.into_iter().map(|(at, name)| (at + jitter.of(at, &name), name)).collect();
        let now = coordinator.clock.now();
        let due: Vec<&GateName> = turns.iter().filter(|(turn, _)| *turn <= now).map(|(_, name)| name).collect();
        let fired = futures_util::future::join_all(due.iter().map(|name| coordinator.expire(name))).await;
        for (name, fired) in due.iter().zip(fired) {
            match fired {
                Err(error @ store::Error::Corrupt { .. }) => {
                    tracing::error!("gate {name} cannot be timed out: {error}");
                    unreadable.insert(GateName::clone(name));
                }
                // A deadline that comes in an outage is late, never lost.
                fired => {
                    if firing.outlast(fired).await?.is_none() {
                        break;
                    }
                }
            }
        }
        if !due.is_empty() {
            continue;
        }
        // A notice that came since the read is kept, so no earlier deadline is slept through.
        match turns.iter().map(|(turn, _)| *turn).min() {
            Some(turn) => tokio::select! {
                () = coordinator.clock.sleep_until(turn) => {}
                () = coordinator.deadline_set.notified() => {}
            },
            None => coordinator.deadline_set.notified().await,
        }
    }
}

/// How long each deadline is left to other coordinators, if there are any: of each the same, however often it is asked.
struct Jitter(Option<RandomState>);

impl Jitter {
    fn of(&self, at: SystemTime, name: &GateName) -> Duration {
        Duration::from_micros(self.0.as_ref().map_or(0, |random| random.hash_one((at, name)) % JITTER_MAX_US))
    }
}
