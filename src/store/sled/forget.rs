//! Forgets what is old, a few events at a time.
//!
//! The log is gone through once, from its start. What is still pointed to stays where it is, behind the place that has
//! been reached, and is removed with the change that no longer points to it.

use super::disk::{Disk, corrupt};
use super::keys;
use crate::domain::{Event, EventKind, Revision, Uid};
use crate::store::{Counts, Error, Old};

/// The most events that are looked at in one go: a batch of about the usual size, between those of callers.
const EVENTS_MAX: usize = 64;

/// What is to be forgotten together.
pub struct Forgetting<'a> {
    disk: &'a Disk,
    /// What to write.
    pub writes: sled::Batch,
    /// Every event up to this one has been looked at.
    pub until: Revision,
    /// Whether there is more.
    pub more: bool,
    /// The gates by status, after it.
    pub counts: Counts,
}

impl<'a> Forgetting<'a> {
    /// Looks at the next events after `forgotten`.
    pub fn of(disk: &'a Disk, forgotten: Revision, last: Revision, counts: Counts, old: Old) -> Result<Self, Error> {
        let mut this = Self { disk, writes: sled::Batch::default(), until: forgotten, more: false, counts };
        let mut looked_at = 0;
        for event in disk.events(forgotten, last).take(EVENTS_MAX) {
            let event = match event {
                Ok(event) => event,
                // It stays, and holds up nothing.
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::error!("an event is never forgotten: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !old.holds(&event) {
                break;
            }
            this.look_at(&event)?;
            this.until = event.revision();
            looked_at += 1;
        }
        this.more = looked_at == EVENTS_MAX;
        this.writes.insert(keys::FORGOTTEN, &this.until.0.to_be_bytes());
        this.writes.insert(keys::COUNTS, this.counts.to_bytes());
        Ok(this)
    }

    fn look_at(&mut self, event: &Event) -> Result<(), Error> {
        let (gate, revision) = (&event.gate, event.revision());
        let is_state = self.disk.pointer(&keys::gate(keys::GATES, &gate.name))? == Some(revision);
        let ends_round = self.disk.pointer(&keys::round(&gate.uid, gate.round))? == Some(revision);
        if ends_round || is_state && !gate.status.is_terminal() {
            return Ok(());
        }
        if is_state {
            self.writes.remove(keys::gate(keys::GATES, &gate.name));
            self.counts.moved(Some(gate.status), None);
        }
        if is_state || event.kind == EventKind::Deleted {
            self.forget_rounds(&gate.uid)?;
        }
        forget_event(self.disk, &mut self.writes, event)
    }

    fn forget_rounds(&mut self, uid: &Uid) -> Result<(), Error> {
        for entry in self.disk.index(keys::rounds(uid)) {
            let (key, value) = entry?;
            let revision = super::parse_pointer(&key, &value)?;
            // The others come later, and nothing points to them by then.
            if revision <= self.until {
                let event = self.disk.event(revision)?;
                let event = event.ok_or_else(|| corrupt(&key, "it points to an event that is missing"))?;
                forget_event(self.disk, &mut self.writes, &event)?;
            }
            self.writes.remove(key);
        }
        Ok(())
    }
}

/// Removes an event, its place in the history of its gate, and the answers that begin with it.
pub fn forget_event(disk: &Disk, writes: &mut sled::Batch, event: &Event) -> Result<(), Error> {
    let revision = event.revision();
    remove_all(disk, writes, &keys::event(revision))?;
    writes.remove(keys::history(&event.gate.name, revision));
    for entry in disk.index(keys::answers(revision)) {
        let (key, _) = entry?;
        remove_all(disk, writes, &keys::answered(&key))?;
        writes.remove(key);
    }
    Ok(())
}

fn remove_all(disk: &Disk, writes: &mut sled::Batch, prefix: &[u8]) -> Result<(), Error> {
    for entry in disk.with_prefix(prefix) {
        writes.remove(entry?.0);
    }
    Ok(())
}
