//! Follows the store's feed, and hands what happened to those who wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::{Event, EventKind, Revision};
use crate::store;

use super::clock::Skew;
use super::outage::Outage;
use super::{Coordinator, measure};

/// Hands each event to those who wait on its gate, until the store fails.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    let mut position = Revision(coordinator.followed.load(Ordering::Relaxed));
    let mut outage = Outage::new("the feed");
    let mut skew = Skew::default();
    loop {
        match coordinator.store.changes_after(position).await {
            Err(store::Error::Compacted { oldest }) => {
                tracing::warn!(
                    "what happened from {} on was forgotten before it was read: {oldest} is next",
                    position.next()
                );
                position = Revision(oldest.0.saturating_sub(1));
                // Each wait looks at its gate again, and the timer at the deadlines.
                coordinator.waiters.close_rooms();
                coordinator.deadline_set.notify_one();
            }
            changes => {
                for event in outage.outlast(changes).await?.unwrap_or_default() {
                    position = event.revision();
                    if coordinator.has_peers()
                        && let Some(ahead) = skew.look(coordinator.clock.now(), event.time)
                    {
                        let seconds = ahead.as_secs_f64();
                        tracing::warn!(
                            "the clock of another coordinator is {seconds:.1} s ahead: run NTP on all of them"
                        );
                    }
                    hand_over(coordinator, &event);
                }
            }
        }
        coordinator.followed.store(position.0, Ordering::Relaxed);
    }
}

fn hand_over(coordinator: &Coordinator, event: &Arc<Event>) {
    if event.kind == EventKind::Waiting && event.gate.deadline.is_some() {
        coordinator.deadline_set.notify_one();
    }
    coordinator.waiters.publish(Arc::clone(event));
    measure::decided(event);
}
