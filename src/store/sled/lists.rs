//! Reads many gates or events at once.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::disk::corrupt;
use super::{Shared, keys};
use crate::domain::{GateName, Prefix, Revision};
use crate::store::recent::SCANNED_MAX;
use crate::store::{Error, HistoryPage, ListPage, ListQuery};

impl Shared {
    /// Reads gates in the order of their names.
    pub fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        // Before the gates are read, so that none of them is older.
        let revision = self.feed.durable();
        let index = if query.unresolved { keys::UNRESOLVED } else { keys::GATES };
        let mut entries = self.disk.index(keys::group(index, &query.prefix, query.after.as_ref()));
        let mut gates = Vec::new();
        while gates.len() < query.limit
            && let Some((key, _)) = entries.next().transpose()?
        {
            let name = keys::gate_name(&key).ok_or_else(|| corrupt(&key, "it is no name"))?;
            let gate = match self.disk.pointed_event(&keys::gate(keys::GATES, &name)) {
                Ok(Some(event)) => event.gate,
                // It has gone since the index was read.
                Ok(None) => continue,
                // One gate that cannot be read hides no other.
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::error!("gate {name} is left out of a list: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !(query.unresolved && gate.status.is_terminal()) {
                gates.push(gate);
            }
        }
        Ok(ListPage { gates, revision })
    }

    /// Reads deadlines, earliest first.
    pub fn deadlines(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        let deadlines = self.disk.index(range).take(limit);
        let parse = |(key, _): (sled::IVec, sled::IVec)| {
            keys::parse_deadline(&key).ok_or_else(|| corrupt(&key, "it is no deadline"))
        };
        deadlines.map(|entry| entry.and_then(parse)).collect()
    }

    /// Reads the history of a name.
    pub fn gate_history(&self, name: &GateName, after: Revision, limit: usize) -> Result<HistoryPage, Error> {
        let range = keys::history(name, after.next())..keys::history(name, self.feed.durable().next());
        let mut page = HistoryPage { events: Vec::new(), next: None };
        for entry in self.disk.index(range) {
            let (key, _) = entry?;
            if page.events.len() == limit {
                page.next = Some(page.events.last().map_or(after, |event| event.revision()));
                break;
            }
            let revision = keys::last_revision(&key).ok_or_else(|| corrupt(&key, "the key is too short"))?;
            match self.disk.event(revision)? {
                Some(event) => page.events.push(Arc::new(event)),
                None if revision <= self.feed.forgotten() => {}
                None => return Err(corrupt(&key, "it points to an event that is missing")),
            }
        }
        Ok(page)
    }

    /// Reads the history of a group.
    pub fn group_history(&self, prefix: &Prefix, after: Revision, limit: usize) -> Result<HistoryPage, Error> {
        let mut page = HistoryPage { events: Vec::new(), next: None };
        let mut scanned = after;
        for (event, number) in self.disk.events(after, self.feed.durable()).zip(0..) {
            let event = event?;
            if page.events.len() == limit || number == SCANNED_MAX {
                page.next = Some(scanned);
                break;
            }
            scanned = event.revision();
            if prefix.contains(&event.gate.name) {
                page.events.push(Arc::new(event));
            }
        }
        Ok(page)
    }
}
