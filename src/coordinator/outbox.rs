//! What webhooks need: the log from a place on, the deadlines to come, and where to save how far they are.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::domain::{Event, GateName, Revision, Status, WebhookName};
use crate::store::{DeadLetter, DeadlinePlace, Error, Outbox, OutboxChange};

use super::Coordinator;
use super::outage::Outage;

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

    /// Returns where a webhook begins that is new: with what happens from now on.
    pub async fn present(&self) -> Result<Outbox, Error> {
        Ok(Outbox { place: self.store.latest().await?, warned: self.now(), next_letter: 1 })
    }

    /// Has retention forget nothing until this coordinator has saved how far a webhook has come.
    pub fn keep_for(&self, webhook: &WebhookName) {
        self.held().insert(webhook.clone(), Revision::ZERO);
    }

    /// Reads how far a webhook has come; one that is new begins at `new`.
    pub async fn outbox(&self, webhook: &WebhookName, new: &Outbox) -> Result<Outbox, Error> {
        let present = self.present().await?;
        let last = present.place;
        match self.store.outbox(webhook).await {
            Ok(Some(outbox)) if outbox.place <= last => Ok(outbox),
            Ok(None) => Ok(new.clone()),
            Ok(Some(outbox)) => {
                let place = outbox.place;
                tracing::error!(
                    "webhook {webhook} has told up to {place}, and the store ends at {last}: going on there"
                );
                Ok(Outbox { place: last, ..outbox })
            }
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!("webhook {webhook} begins anew, with what happens from now on: {error}");
                Ok(present)
            }
            Err(error) => Err(error),
        }
    }

    /// Saves how far a webhook has come, and what has become of its dead letters. Retention keeps what comes after.
    ///
    /// # Errors
    ///
    /// [`Error::Deposed`] if another coordinator leads.
    pub async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        let place = change.outbox.place;
        self.store.save_outbox(webhook, change).await?;
        self.held().insert(webhook.clone(), place);
        Ok(())
    }

    /// Reads the dead letters of a webhook in the order of their numbers, from a number on.
    pub async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.store.dead_letters(webhook, from, limit).await
    }

    /// Waits until something happens after a revision, and returns the next events, in order and without a gap. A store
    /// that is away is waited for.
    pub async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        loop {
            match self.store.changes_after(revision).await {
                // The coordinator's own feed tells of it.
                Err(error) if error.passes() => tokio::time::sleep(Outage::PAUSE).await,
                changes => return changes,
            }
        }
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
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the log has no such event, besides the store's.
    pub async fn still_waiting(&self, name: &GateName, deadline: SystemTime) -> Result<Option<Arc<Event>>, Error> {
        let mut missing = None;
        loop {
            let Some(gate) = self.store.get(name).await? else { return Ok(None) };
            if gate.status != Status::Waiting || gate.deadline != Some(deadline) || deadline <= self.now() {
                return Ok(None);
            }
            let revision = gate.revision;
            if missing == Some(revision) {
                let problem = format!("the log has no event at {revision}, the revision of the gate");
                return Err(Error::Corrupt { place: name.to_string(), problem });
            }
            // None: the gate has changed, and the event was forgotten with that.
            match self.store.event(revision).await? {
                Some(event) => return Ok(Some(event)),
                None => missing = Some(revision),
            }
        }
    }

    /// Sleeps until a time, as deadlines are measured.
    pub async fn sleep_until(&self, time: SystemTime) {
        self.clock.sleep_until(time).await;
    }

    /// Returns the last revision that may be forgotten: those who wait, and webhooks, have yet to follow to the later.
    pub(super) fn followed_by_all(&self) -> Revision {
        let followed = Revision(self.followed.load(Ordering::Relaxed));
        self.held().values().copied().fold(followed, Revision::min)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<WebhookName, Revision>> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
