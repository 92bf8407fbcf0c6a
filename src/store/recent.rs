//! The latest events, in memory, so that who follows closely reads no log.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::{Event, Revision};

/// The most memory for recent events, as an estimate: a minute of busy traffic. Who is further behind reads the log.
const RECENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most events in one answer of the feed: enough to catch up fast, little enough to hold.
pub const CHANGES_MAX: usize = 256;

/// The most events that one call looks at to find those of a group. The caller goes on from there.
pub const SCANNED_MAX: usize = 1024;

/// The latest events.
#[derive(Debug)]
pub struct Recent {
    /// Each with its estimated size.
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    /// Every event after this one is here.
    after: Revision,
}

impl Recent {
    /// Begins behind a revision.
    pub fn new(after: Revision) -> Self {
        Self { events: VecDeque::new(), bytes: 0, after }
    }

    /// Returns the revision after which every event is here.
    pub fn after(&self) -> Revision {
        self.after
    }

    /// Returns the revision of the last event here, or that after which the next will be.
    pub fn end(&self) -> Revision {
        self.last().unwrap_or(self.after)
    }

    /// Returns the revision of the last event here.
    pub fn last(&self) -> Option<Revision> {
        self.events.back().map(|(event, _)| event.revision())
    }

    /// Returns the next events after a revision; none if some of them are not here.
    pub fn since(&self, revision: Revision) -> Option<Vec<Arc<Event>>> {
        if revision < self.after {
            return None;
        }
        let start = self.events.partition_point(|(event, _)| event.revision() <= revision);
        Some(self.events.range(start..).take(CHANGES_MAX).map(|(event, _)| Arc::clone(event)).collect())
    }

    /// Adds the next event, whose record has so many bytes.
    pub fn push(&mut self, event: Arc<Event>, record_bytes: usize) {
        let bytes = record_bytes + size_of::<Event>();
        self.bytes += bytes;
        self.events.push_back((event, bytes));
        // The last one stays, so that its revision is known.
        while self.bytes > RECENT_BYTES_MAX
            && self.events.len() > 1
            && let Some((oldest, bytes)) = self.events.pop_front()
        {
            self.bytes -= bytes;
            self.after = oldest.revision();
        }
    }
}
