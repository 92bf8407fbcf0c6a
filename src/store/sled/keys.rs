//! The keys of the embedded store's one tree, those that it shares with others ([`crate::store::keys`]) among them:
//!
//! | key | value |
//! |---|---|
//! | `e` revision part | a part of the event's record |
//! | `g` name | the revision of the gate's last event; absent if there is no such gate |
//! | `r` uid round | the revision of the last event of that past round |
//! | `h` name `01` revision | nothing: the history of a name |
//! | `u` name | nothing: the gate is not resolved |
//! | `d` time name | nothing: the gate waits until then |
//! | `q` digest part | a part of the record of a request's answer |
//! | `a` revision digest | nothing: the event is the first of a request's answer |
//! | `w` name | how far a webhook has come |
//! | `x` name `00` number | a dead letter of a webhook |
//! | `m` … | about the store itself |
//!
//! A key has at most 300 bytes: an inner node of sled 0.34.7 holds up to 256 of them and some more, is written as one
//! message, and has to stay far below 128 KiB, from where on sled writes it to a file that it never syncs. So a request,
//! which may need 640 bytes, is stored under its digest.

use std::ops::Range;

use crate::domain::{GateName, Revision};
use crate::store::keys::END;

pub use crate::store::keys::{
    FORGOTTEN, FORMAT, GATES, STORE_ID, dead_letter, dead_letters, deadline_of, deadlines, gate, gate_name, group,
    letter_number, outbox, outboxes, parse_deadline, parse_outbox, parse_request, request, requests, round, rounds,
};

/// The revision of the last event.
pub const LAST_REVISION: &[u8] = b"mrevision";
/// How many gates have each status.
pub const COUNTS: &[u8] = b"mcounts";

/// The index of the gates that are not resolved.
pub const UNRESOLVED: u8 = b'u';

/// Returns what the parts of an event are stored under.
pub fn event(revision: Revision) -> Vec<u8> {
    [b"e", revision.0.to_be_bytes().as_slice()].concat()
}

/// Returns the keys of the events after one and up to another.
pub fn events(after: Revision, until: Revision) -> Range<Vec<u8>> {
    event(after.next())..event(until.next())
}

/// Returns the key of an event in the history of its gate's name.
pub fn history(name: &GateName, revision: Revision) -> Vec<u8> {
    let mut key = gate(b'h', name);
    key.push(END);
    key.extend(revision.0.to_be_bytes());
    key
}

/// Reads the revision back from a key of the history or the log, where it comes last.
pub fn last_revision(key: &[u8]) -> Option<Revision> {
    key.last_chunk().map(|bytes| Revision(u64::from_be_bytes(*bytes)))
}

/// Returns the key that says that a request's answer begins with an event.
pub fn answer(first: Revision, request: &[u8]) -> Vec<u8> {
    // The request's key without what it begins with.
    [b"a", first.0.to_be_bytes().as_slice(), request.get(1..).unwrap_or_default()].concat()
}

/// Returns the keys of all answers that begin with an event.
pub fn answers(first: Revision) -> Range<Vec<u8>> {
    answer(first, &[])..answer(first.next(), &[])
}

/// Reads back what an answer is stored under from the key that says what it begins with.
pub fn answered(key: &[u8]) -> Vec<u8> {
    [b"q", key.get(1 + size_of::<Revision>()..).unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::domain::{Round, Uid};
    use crate::store::RequestKey;
    use crate::store::keys::deadline;

    #[test]
    fn keys_are_short() {
        let longest = GateName::parse("gate", &["x".repeat(63).as_str(); 4].join("/")).unwrap();
        let keys = [
            event(Revision(1)),
            gate(GATES, &longest),
            round(&Uid(uuid::Uuid::new_v4().to_string()), Round::FIRST),
            history(&longest, Revision(1)),
            deadline(UNIX_EPOCH, &longest),
            request(&RequestKey([7; 32])),
        ];
        for key in keys {
            assert!(key.len() < 300, "{}", key.escape_ascii());
        }
    }
}
