//! What there is to tell: from the log, and from the deadlines that come near.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Courier, PAGE};
use crate::coordinator::{DeadlinePlace, StoreError, Topic};
use crate::domain::{Event, EventKind, GateName, Revision};
use crate::webhooks::lanes::{Origin, Parcel};
use crate::webhooks::message::{Message, topics_of};

impl Courier {
    /// Reads on in the log.
    pub(super) async fn follow(&mut self, changes: Result<Vec<Arc<Event>>, StoreError>) -> Result<(), StoreError> {
        match changes {
            Ok(events) => {
                for event in events {
                    self.take(event).await?;
                }
            }
            // Retention keeps what a webhook has yet to tell, so this one was not configured for long.
            Err(StoreError::Compacted { oldest }) => {
                let name = &self.webhook.name;
                tracing::error!(
                    "webhook {name} missed what happened from {} on: going on at {oldest}",
                    self.followed.next()
                );
                self.followed = Revision(oldest.0.saturating_sub(1));
            }
            // One event that cannot be read holds up no other.
            Err(StoreError::Corrupt { .. }) => {
                let next = self.followed.next();
                match self.coordinator.event(next).await {
                    Ok(Some(event)) => self.take(event).await?,
                    Ok(None) => self.followed = next,
                    Err(error @ StoreError::Corrupt { .. }) => {
                        tracing::error!("webhook {} leaves an event out: {error}", self.webhook.name);
                        self.followed = next;
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        self.changed();
        Ok(())
    }

    /// Takes in the next event of the log.
    async fn take(&mut self, event: Arc<Event>) -> Result<(), StoreError> {
        self.followed = event.revision();
        if !self.webhook.prefix.contains(&event.gate.name) {
            return Ok(());
        }
        let origin = Origin::Event(event.revision());
        for topic in topics_of(&event) {
            if self.webhook.topics.contains(topic) {
                self.push(origin, *topic, Arc::clone(&event), event.time);
            }
        }
        let deadline = event.gate.deadline.filter(|_| event.kind == EventKind::Waiting);
        if let Some(deadline) = deadline.filter(|_| self.webhook.topics.contains(&Topic::Expiring)) {
            let place = DeadlinePlace { time: deadline, gate: Some(event.gate.name.clone()) };
            if place <= self.warned {
                // Whoever looks at deadlines has been there already, and has not seen this one.
                self.warn_of(origin, &event.gate.name, deadline).await?;
            } else {
                let at = self.warning_time(deadline);
                self.next_warning = Some(self.next_warning.map_or(at, |next| next.min(at)));
            }
        }
        Ok(())
    }

    /// Warns of the deadlines that are near, and notes when the next will be.
    pub(super) async fn warn(&mut self) -> Result<(), StoreError> {
        self.changed();
        let now = self.coordinator.now();
        let horizon = DeadlinePlace::before(now + self.webhook.warn_before + Duration::from_nanos(1));
        while self.lanes.has_room() {
            let page = self.coordinator.deadlines(&self.warned, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (deadline, gate) in page {
                if deadline >= horizon.time {
                    self.warned = self.warned.clone().max(horizon);
                    self.next_warning = Some(self.warning_time(deadline));
                    return Ok(());
                }
                if self.webhook.prefix.contains(&gate)
                    && self.warn_of(Origin::Deadline(deadline), &gate, deadline).await? > self.followed
                {
                    // The log says first what came before.
                    self.next_warning = Some(now);
                    return Ok(());
                }
                self.warned = DeadlinePlace { time: deadline, gate: Some(gate) };
            }
            if is_last {
                self.warned = self.warned.clone().max(horizon);
                self.next_warning = None;
                return Ok(());
            }
        }
        self.next_warning = Some(now);
        Ok(())
    }

    /// Warns of a deadline, if the gate still waits for it. Returns the revision up to which the log has to be read
    /// before the warning may be made; it is made if that was read.
    async fn warn_of(&mut self, origin: Origin, gate: &GateName, deadline: SystemTime) -> Result<Revision, StoreError> {
        match self.coordinator.still_waiting(gate, deadline).await {
            Ok(Some(event)) if event.revision() > self.followed && matches!(origin, Origin::Deadline(_)) => {
                self.warn_from = event.revision();
                Ok(self.warn_from)
            }
            Ok(Some(event)) => {
                let time = self.time_of_warning(&event);
                self.push(origin, Topic::Expiring, event, time);
                Ok(Revision::ZERO)
            }
            Ok(None) => Ok(Revision::ZERO),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!("webhook {} cannot warn of {gate}: {error}", self.webhook.name);
                Ok(Revision::ZERO)
            }
            Err(error) => Err(error),
        }
    }

    fn warning_time(&self, deadline: SystemTime) -> SystemTime {
        deadline.checked_sub(self.webhook.warn_before).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Says when a gate came near its deadline: the same whenever the warning is made.
    pub(super) fn time_of_warning(&self, event: &Event) -> SystemTime {
        let due = event.gate.deadline.map(|deadline| self.warning_time(deadline));
        due.max(event.gate.wait_time).unwrap_or(event.time)
    }

    fn push(&mut self, origin: Origin, topic: Topic, event: Arc<Event>, time: SystemTime) {
        let gate = event.gate.name.clone();
        let since = time.max(self.opened);
        self.lanes.push(Parcel { gate, origin, since, message: Message { topic, event, time } });
    }
}
