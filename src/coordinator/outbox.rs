//! What webhooks need: the log from a place on, the deadlines to come, and where to save how far they are.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use crate::domain::{Event, GateName, Revision, Status, WebhookName};
use crate::store::{DeadLetter, DeadlinePlace, Error, Outbox, OutboxChange};

use super::Coordinator;

impl Coordinator {
    /// Names the store, for ids that are told apart from those of other stores.
    #[must_use]
    pub fn store_id(&self) -> &str {
        self.store.id()
    }

    /// Returns the oldest revision from which on every event is kept.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.store.oldest()
    }

    /// Reads how far a webhook has come; one that is new begins with what happens from now on. Retention keeps what is
    /// after that place.
    pub async fn outbox(&self, webhook: &WebhookName) -> Result<Outbox, Error> {
        let last = self.store.revision();
        let new = Outbox { place: last, warned: self.now(), next_letter: 1 };
        let outbox = match self.store.outbox(webhook).await {
            Ok(Some(outbox)) if outbox.place <= last => outbox,
            Ok(None) => new,
            Ok(Some(outbox)) => {
                let place = outbox.place;
                tracing::error!(
                    "webhook {webhook} has told up to {place}, and the store ends at {last}: going on there"
                );
                Outbox { place: last, ..outbox }
            }
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!("webhook {webhook} begins anew, with what happens from now on: {error}");
                new
            }
            Err(error) => return Err(error),
        };
        self.hold(webhook, outbox.place);
        Ok(outbox)
    }

    /// Saves how far a webhook has come, and what has become of its dead letters.
    pub async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        let place = change.outbox.place;
        self.store.save_outbox(webhook, change).await?;
        self.hold(webhook, place);
        Ok(())
    }

    /// Reads the dead letters of a webhook in the order of their numbers, from a number on.
    pub async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.store.dead_letters(webhook, from, limit).await
    }

    /// Waits until something happens after a revision, and returns the next events, in order and without a gap.
    pub async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        self.store.changes_after(revision).await
    }

    /// Reads the event at a revision; none if it has been forgotten.
    pub async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        self.store.event(revision).await
    }

    /// Reads the next deadlines behind a place, earliest first.
    pub async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        self.store.deadlines(after, limit).await
    }

    /// Returns the last event of a gate that still waits until a deadline which has not come; none of any other gate.
    pub async fn still_waiting(&self, name: &GateName, deadline: SystemTime) -> Result<Option<Arc<Event>>, Error> {
        loop {
            let Some(gate) = self.store.get(name).await? else { return Ok(None) };
            if gate.status != Status::Waiting || gate.deadline != Some(deadline) || deadline <= self.now() {
                return Ok(None);
            }
            // None: the gate has changed, and the event was forgotten with that.
            if let Some(event) = self.store.event(gate.revision).await? {
                return Ok(Some(event));
            }
        }
    }

    /// Sleeps until a time, as deadlines are measured.
    pub async fn sleep_until(&self, time: SystemTime) {
        self.clock.sleep_until(time).await;
    }

    fn hold(&self, webhook: &WebhookName, place: Revision) {
        // Nothing panics while it is held.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(webhook.clone(), place);
    }

    /// Returns the last revision that may be forgotten: those who wait, and webhooks, have yet to follow to the later.
    pub(super) fn followed_by_all(&self) -> Revision {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let followed = Revision(self.followed.load(Ordering::Relaxed));
        held.values().copied().fold(followed, Revision::min)
    }
}
