//! Which event of one store is which of the other.

use std::sync::Arc;

use crate::domain::{Event, Revision};
use crate::store::{Answer, DeadLetter, Outbox};

/// Stands for the event of a resolution that is kept no more. No event has it; 0 would be the resolution's own.
const FORGOTTEN: Revision = Revision(u64::MAX);

/// The revisions of events, in the file and in the store. 16 bytes for each.
pub struct Moved {
    /// In the order of both.
    revisions: Vec<(Revision, Revision)>,
    /// The last revision of the store before any of them.
    start: Revision,
}

impl Moved {
    /// Begins behind the store's last revision.
    pub fn new(start: Revision) -> Self {
        Self { revisions: Vec::new(), start }
    }

    /// Notes that the next event of the file has a revision in the store.
    pub fn push(&mut self, there: Revision, here: Revision) {
        self.revisions.push((there, here));
    }

    /// Finds the revision of an event.
    pub fn revision(&self, there: Revision) -> Option<Revision> {
        let found = self.revisions.binary_search_by_key(&there, |(there, _)| *there);
        found.ok().and_then(|index| self.revisions.get(index)).map(|(_, here)| *here)
    }

    /// Finds a place in the log: that of the last event up to it.
    fn place(&self, there: Revision) -> Revision {
        let behind = self.revisions.partition_point(|(event, _)| *event <= there);
        behind.checked_sub(1).and_then(|last| self.revisions.get(last)).map_or(self.start, |(_, here)| *here)
    }

    /// Moves an event, whose resolution may be that of an earlier one.
    pub fn event(&self, event: Arc<Event>) -> Event {
        let mut event = Arc::unwrap_or_clone(event);
        if let Some(resolution) = &mut event.gate.resolution
            && resolution.revision != Revision::ZERO
        {
            resolution.revision = self.revision(resolution.revision).unwrap_or(FORGOTTEN);
        }
        event
    }

    /// Moves an answer; none if one of its events is kept no more, as its store would not have given it either.
    pub fn answer(&self, answer: &Answer) -> Option<Answer> {
        let revisions = answer.revisions.iter().map(|there| self.revision(*there)).collect::<Option<_>>()?;
        Some(Answer { revisions, ..*answer })
    }

    /// Moves how far a webhook has come.
    pub fn outbox(&self, outbox: &Outbox) -> Outbox {
        Outbox { place: self.place(outbox.place), ..*outbox }
    }

    /// Moves a dead letter. One whose event is kept no more has none: it could not be delivered where it was either.
    pub fn letter(&self, letter: DeadLetter) -> DeadLetter {
        DeadLetter { revision: self.revision(letter.revision).unwrap_or(Revision::ZERO), ..letter }
    }
}
