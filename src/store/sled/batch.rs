//! One batch: changes that are checked one after the other, and written at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::disk::{Disk, put_record};
use super::feed::Published;
use super::forget::forget_event;
use super::keys;
use crate::domain::{Event, EventKind, Gate, GateName, Revision};
use crate::store::{Change, Counts, Error, RequestKey, codec, round_ended};

/// Keys, each with the record to put there or none to remove it.
pub type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Changes that become durable together.
pub struct Batch<'a> {
    /// What was written before.
    disk: &'a Disk,
    /// What is to be written.
    writes: sled::Batch,
    /// The gates that it changes: the revision of the last event, or none if it deletes the gate.
    gates: HashMap<GateName, Option<Revision>>,
    /// The requests that it answers.
    requests: HashSet<RequestKey>,
    /// Whether it writes records that are no events.
    has_others: bool,
    /// The events, with the sizes of their records.
    events: Vec<(Arc<Event>, usize)>,
    last: Revision,
    /// The gates by status, after it.
    counts: Counts,
    /// What is forgotten, but for what is pointed to.
    forgotten: Revision,
}

impl<'a> Batch<'a> {
    /// Begins a batch behind the last revision.
    pub fn new(disk: &'a Disk, last: Revision, counts: Counts, forgotten: Revision) -> Self {
        Self {
            disk,
            writes: sled::Batch::default(),
            gates: HashMap::new(),
            requests: HashSet::new(),
            has_others: false,
            events: Vec::new(),
            last,
            counts,
            forgotten,
        }
    }

    /// Adds a change, if it fits what was written before and what the batch holds.
    pub fn commit(&mut self, change: Change, record: &[u8]) -> Result<Arc<Event>, Error> {
        let Change { before, event, request } = change;
        let current = match self.gates.get(&event.gate.name) {
            Some(revision) => *revision,
            None => self.disk.pointer(&keys::gate(keys::GATES, &event.gate.name))?,
        };
        if current != before.as_ref().map(|gate| gate.revision) {
            return Err(Error::Conflict);
        }
        let revision = self.last.next();
        if let Some(request) = request {
            let answer = codec::encode_answer(&request.fingerprint, &[revision], request.time)?;
            self.remember(request.key, revision, &answer)?;
        }
        self.let_go(before.as_ref(), &event)?;
        let event = Arc::new(event.stamped(revision));
        put_record(&mut self.writes, &keys::event(revision), record);
        self.index(before.as_ref(), &event);
        self.writes.insert(keys::LAST_REVISION, &revision.0.to_be_bytes());
        self.last = revision;
        self.events.push((Arc::clone(&event), record.len()));
        Ok(event)
    }

    /// Adds the answer of a request, which begins with an event, unless it has one.
    pub fn remember(&mut self, request: RequestKey, first: Revision, record: &[u8]) -> Result<(), Error> {
        if self.requests.contains(&request) || self.disk.is_answered(&request)? {
            return Err(Error::Conflict);
        }
        let key = keys::request(&request);
        put_record(&mut self.writes, &key, record);
        self.writes.insert(keys::answer(first, &key), &[]);
        self.requests.insert(request);
        Ok(())
    }

    /// Adds records that are no events.
    pub fn write(&mut self, writes: Writes) {
        for (key, record) in writes {
            match record {
                Some(record) => self.writes.insert(key, record),
                None => self.writes.remove(key),
            }
        }
        self.has_others = true;
    }

    /// Says whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.requests.is_empty() && !self.has_others
    }

    /// Returns what to write, and what to publish once it is durable.
    pub fn into_parts(mut self) -> (sled::Batch, Published) {
        if !self.events.is_empty() {
            self.writes.insert(keys::COUNTS, self.counts.to_bytes());
        }
        (self.writes, Published { events: self.events, counts: self.counts })
    }

    /// Removes what was kept only because it was the state of a gate.
    fn let_go(&mut self, before: Option<&Gate>, event: &Event) -> Result<(), Error> {
        let goes_on = round_ended(before, event).is_none();
        let superseded = before.filter(|gate| gate.revision <= self.forgotten && goes_on);
        match superseded.map(|gate| self.disk.event(gate.revision)).transpose()?.flatten() {
            Some(event) => forget_event(self.disk, &mut self.writes, &event),
            None => Ok(()),
        }
    }

    fn index(&mut self, before: Option<&Gate>, event: &Event) {
        let (name, revision) = (&event.gate.name, event.revision());
        let after = Some(&event.gate).filter(|_| event.kind != EventKind::Deleted);

        self.gates.insert(name.clone(), after.map(|gate| gate.revision));
        self.counts.moved(before.map(|gate| gate.status), after.map(|gate| gate.status));
        let writes = &mut self.writes;
        writes.insert(keys::history(name, revision), &[]);
        set(writes, keys::gate(keys::GATES, name), after.map(|gate| gate.revision.0.to_be_bytes()));
        let unresolved = after.filter(|gate| !gate.status.is_terminal());
        set(writes, keys::gate(keys::UNRESOLVED, name), unresolved.map(|_| []));
        // Removed first: the deadline may be the same.
        if let Some(key) = before.and_then(keys::deadline_of) {
            writes.remove(key);
        }
        if let Some(key) = after.and_then(keys::deadline_of) {
            writes.insert(key, &[]);
        }
        if let Some(ended) = round_ended(before, event) {
            writes.insert(keys::round(&ended.uid, ended.round), &ended.revision.0.to_be_bytes());
        }
    }
}

fn set<const N: usize>(writes: &mut sled::Batch, key: Vec<u8>, value: Option<[u8; N]>) {
    match value {
        Some(value) => writes.insert(key, value.as_slice()),
        None => writes.remove(key),
    }
}
