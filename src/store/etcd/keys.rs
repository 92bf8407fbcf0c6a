//! The keys that only this store has, beside those that it shares with the embedded one (`store/keys.rs`):
//!
//! | key | value |
//! |---|---|
//! | `t` segment | nothing: its revision is where a segment of the log begins |
//! | `e` segment hint name | nothing: an event of the log |
//! | `h` name `01` segment hint | the event's record: the history of a name |
//! | `g` name | the record of the gate's last event, once more: a gate is read, and fenced, in one place |
//! | `r` uid round | segment and hint of the last event of the round, past or not |
//! | `s` status name | nothing: the gate has this status |
//! | `a` segment hint name `01` digest | nothing: the event is the first of a request's answer |
//! | `k` segment hint name | nothing: the event is old, and kept because it was the state of a gate |
//! | `p` peer name | who waits on a gate at a coordinator, for as long as its lease lasts |
//! | `m` … | about the store itself |
//!
//! An event gets its revision from etcd, once it is written, so that no key can contain it. Its key has what is known
//! before: the segment, and the hint, a revision that the coordinator had seen. A change of the same gate comes after a
//! reading of it, so that the hints of one name grow as the revisions do. A segment holds the events whose revisions are
//! between its beginning and that of the next one, so that an event is found by its revision without a search through
//! all.

use std::ops::Range;

use crate::domain::{GateName, Prefix, Status};
use crate::store::RequestKey;
use crate::store::keys::{END, parse_name, push_name};

pub use crate::store::keys::{
    FORGOTTEN, FORMAT, GATES, STORE_ID, behind, dead_letter, dead_letters, deadline_of, deadlines, gate, group,
    letter_number, outbox, outboxes, parse_deadline, parse_outbox, request, requests, round, rounds,
};

/// Where the coordinator that leads is named.
pub const LEADER: &[u8] = b"mleader";
/// Written to see whether there is room.
pub const PROBE: &[u8] = b"mprobe";
/// There while an import is under way, or was broken off.
pub const IMPORT: &[u8] = b"mimport";

/// Returns all keys that a store may have.
pub fn all() -> Range<Vec<u8>> {
    vec![]..vec![0xff]
}

/// The events, in the order of their segments.
const LOG: u8 = b'e';
/// The old states of gates.
const KEPT: u8 = b'k';
/// The gates by status.
const STATUSES: u8 = b's';

/// Names an event before it has a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// In which segment of the log it is.
    pub segment: u64,
    /// A revision before its own, and behind that of the event before it in the history of its name.
    pub hint: u64,
    /// The gate's name.
    pub name: GateName,
}

impl EventId {
    /// Returns its key in the log.
    pub fn log(&self) -> Vec<u8> {
        self.key(LOG)
    }

    /// Returns its key among the old states of gates.
    pub fn kept(&self) -> Vec<u8> {
        self.key(KEPT)
    }

    /// Returns the key of its record.
    pub fn record(&self) -> Vec<u8> {
        [history(&self.name).start.as_slice(), &self.place()].concat()
    }

    /// Returns the key that says that a request's answer begins with it.
    pub fn answer(&self, request: RequestKey) -> Vec<u8> {
        [self.answers().start.as_slice(), &request.0].concat()
    }

    /// Returns the keys of all answers that begin with it.
    pub fn answers(&self) -> Range<Vec<u8>> {
        let until = |end: u8| [self.key(b'a').as_slice(), &[end]].concat();
        until(END)..until(END + 1)
    }

    /// Returns what tells it from the other events of its name.
    pub fn place(&self) -> [u8; 16] {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&self.segment.to_be_bytes());
        place[8..].copy_from_slice(&self.hint.to_be_bytes());
        place
    }

    /// Reads it back from a key of the log or of the old states.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (place, name) = key.get(1..)?.split_first_chunk::<16>()?;
        Some(Self::at(place, parse_name(name)?))
    }

    /// Reads it back from its place among the events of a name.
    pub fn at(place: &[u8; 16], name: GateName) -> Self {
        let place = u128::from_be_bytes(*place);
        #[allow(clippy::cast_possible_truncation, reason = "each is a half of it")]
        let (segment, hint) = ((place >> 64) as u64, place as u64);
        Self { segment, hint, name }
    }

    fn key(&self, index: u8) -> Vec<u8> {
        let mut key = vec![index];
        key.extend(self.place());
        push_name(&mut key, &self.name);
        key
    }
}

/// Returns the keys of the records of a name.
pub fn history(name: &GateName) -> Range<Vec<u8>> {
    let until = |end: u8| [gate(b'h', name).as_slice(), &[end]].concat();
    until(END)..until(END + 1)
}

/// Returns the keys of all gates.
pub fn all_gates() -> Range<Vec<u8>> {
    vec![GATES]..vec![GATES + 1]
}

/// Returns the keys of the records of all names.
pub fn histories() -> Range<Vec<u8>> {
    vec![b'h']..vec![b'h' + 1]
}

/// Returns the keys of a segment of the log.
pub fn segment_log(segment: u64) -> Range<Vec<u8>> {
    let start = |segment: u64| [[LOG].as_slice(), &segment.to_be_bytes()].concat();
    start(segment)..start(segment + 1)
}

/// Returns the keys of the log behind a segment.
pub fn log_behind(segment: u64) -> Range<Vec<u8>> {
    segment_log(segment).end..vec![LOG + 1]
}

/// Returns the keys of the old states.
pub fn all_kept() -> Range<Vec<u8>> {
    vec![KEPT]..vec![KEPT + 1]
}

/// Returns the key that says where a segment begins.
pub fn segment(number: u64) -> Vec<u8> {
    [[b't'].as_slice(), &number.to_be_bytes()].concat()
}

/// Returns the keys that say where segments begin, from one on.
pub fn segments_from(number: u64) -> Range<Vec<u8>> {
    segment(number)..vec![b't' + 1]
}

/// Reads the number back from the key of a segment.
pub fn parse_segment(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// Returns the key that says that a gate has a status.
pub fn status(status: Status, name: &GateName) -> Vec<u8> {
    let mut key = statuses(status).start;
    push_name(&mut key, name);
    key
}

/// Returns the keys of all gates with a status.
pub fn statuses(status: Status) -> Range<Vec<u8>> {
    // By its place in the list of all: the same for as long as none is put before it.
    let number =
        Status::ALL.into_iter().zip(0..).find(|(other, _)| *other == status).map_or(u8::MAX, |(_, number)| number);
    vec![STATUSES, number]..vec![STATUSES, number + 1]
}

/// Returns the keys of a group's gates with a status, behind a gate.
pub fn status_group(status: Status, prefix: &Prefix, after: Option<&GateName>) -> Range<Vec<u8>> {
    let status = statuses(status).start;
    // The keys of any index by name, with the status in the place of the index.
    let group = group(0, prefix, after);
    let of_status = |key: Vec<u8>| match key.as_slice() {
        [0, name @ ..] => [status.as_slice(), name].concat(),
        _ => [&status[..1], &[status[1] + 1]].concat(),
    };
    of_status(group.start)..of_status(group.end)
}

/// Reads the name back from the key of a status.
pub fn status_name(key: &[u8]) -> Option<GateName> {
    parse_name(key.get(2..)?)
}

/// Returns the key of those who wait on a gate at a coordinator.
pub fn crowd(peer: u64, name: &GateName) -> Vec<u8> {
    let mut key = [[b'p'].as_slice(), &peer.to_be_bytes()].concat();
    push_name(&mut key, name);
    key
}

/// Returns the keys of all who wait.
pub fn crowds() -> Range<Vec<u8>> {
    vec![b'p']..vec![b'p' + 1]
}

/// Reads back at which coordinator, and on which gate.
pub fn parse_crowd(key: &[u8]) -> Option<(u64, GateName)> {
    let (peer, name) = key.get(1..)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*peer), parse_name(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::name;

    #[test]
    fn an_event_is_read_back_from_its_keys() {
        let id = EventId { segment: 1 << 40, hint: u64::MAX - 1, name: name("release-42/prod") };
        assert_eq!(EventId::parse(&id.log()).as_ref(), Some(&id));
        assert_eq!(EventId::parse(&id.kept()).as_ref(), Some(&id));
        assert_eq!(EventId::at(&id.place(), id.name.clone()), id);
        assert!(segment_log(id.segment).contains(&id.log()));
        assert!(log_behind(id.segment - 1).contains(&id.log()));
        assert!(!log_behind(id.segment).contains(&id.log()));
        assert!(history(&id.name).contains(&id.record()) && histories().contains(&id.record()));
        assert_eq!(EventId::parse(b"e123"), None);
    }

    #[test]
    fn what_belongs_to_one_name_does_not_belong_to_another() {
        let id = |text: &str| EventId { segment: 0, hint: 7, name: name(text) };
        assert!(!history(&name("a")).contains(&id("a/b").record()));
        assert!(!id("a").answers().contains(&id("a/b").answer(RequestKey([0; 32]))));
        assert!(id("a").answers().contains(&id("a").answer(RequestKey([0xff; 32]))));
        let early = EventId { hint: 6, ..id("a") };
        assert!(early.record() < id("a").record());
    }

    #[test]
    fn every_status_has_keys_of_its_own() {
        for (number, one) in Status::ALL.into_iter().enumerate() {
            let key = status(one, &name("a/b"));
            assert_eq!(status_name(&key), Some(name("a/b")));
            for (other_number, other) in Status::ALL.into_iter().enumerate() {
                assert_eq!(statuses(other).contains(&key), number == other_number);
            }
        }
    }

    #[test]
    fn a_crowd_is_read_back_from_its_key() {
        assert_eq!(parse_crowd(&crowd(5, &name("a/b"))), Some((5, name("a/b"))));
        assert_eq!(parse_segment(&segment(9)), Some(9));
    }
}
