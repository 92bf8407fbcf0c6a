//! The keys of the one tree. The first byte says what a key is for:
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
//! Numbers are big-endian, so that keys are in the order of the numbers. In a name, `/` is written as `00`: the order of
//! keys is then that of [`GateName`], and a group stands together.
//!
//! A key has at most 300 bytes: an inner node of sled 0.34.7 holds up to 256 of them and some more, is written as one
//! message, and has to stay far below 128 KiB, from where on sled writes it to a file that it never syncs. So a request,
//! which may need 640 bytes, is stored under its digest.

use std::ops::Range;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::domain::{GateName, Prefix, Revision, Round, Uid, WebhookName};
use crate::store::{DeadlinePlace, RequestKey, codec};

/// The version of this layout.
pub const FORMAT: &[u8] = b"mformat";
/// The store's id.
pub const STORE_ID: &[u8] = b"mid";
/// The revision of the last event.
pub const LAST_REVISION: &[u8] = b"mrevision";

/// The revision up to which events have been forgotten, but for those that are pointed to.
pub const FORGOTTEN: &[u8] = b"mforgotten";

/// How many gates have each status.
pub const COUNTS: &[u8] = b"mcounts";

/// The index of all gates.
pub const GATES: u8 = b'g';
/// The index of the gates that are not resolved.
pub const UNRESOLVED: u8 = b'u';
/// The index of deadlines.
pub const DEADLINES: u8 = b'd';

/// Ends a name; lower than any byte of a segment, higher than what joins segments.
const END: u8 = 1;

/// Returns what the parts of an event are stored under.
pub fn event(revision: Revision) -> Vec<u8> {
    [b"e", revision.0.to_be_bytes().as_slice()].concat()
}

/// Returns the keys of the events after one and up to another.
pub fn events(after: Revision, until: Revision) -> Range<Vec<u8>> {
    event(after.next())..event(until.next())
}

/// Returns the key of a gate in one of the indexes by name.
pub fn gate(index: u8, name: &GateName) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.as_str().len());
    key.push(index);
    push_name(&mut key, name);
    key
}

/// Returns the keys of a group's gates in one of the indexes by name, behind a gate.
pub fn group(index: u8, prefix: &Prefix, after: Option<&GateName>) -> Range<Vec<u8>> {
    let group = match prefix.root() {
        None => vec![index]..vec![index + 1],
        Some(root) => gate(index, root)..[gate(index, root), vec![END]].concat(),
    };
    // The first key that could follow the gate's own.
    let behind = after.map(|name| [gate(index, name), vec![0]].concat()).unwrap_or_default();
    group.start.max(behind)..group.end
}

/// Reads the name back from a key of an index by name.
pub fn gate_name(key: &[u8]) -> Option<GateName> {
    parse_name(key.get(1..)?)
}

/// Returns the key of a past round.
pub fn round(uid: &Uid, round: Round) -> Vec<u8> {
    [b"r", uid.0.as_bytes(), &[0], &round.get().to_be_bytes()].concat()
}

/// Returns the keys of all past rounds of a gate.
pub fn rounds(uid: &Uid) -> Range<Vec<u8>> {
    let of_gate = |end: u8| [b"r", uid.0.as_bytes(), &[end]].concat();
    of_gate(0)..of_gate(1)
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

/// Returns the key of a deadline.
pub fn deadline(time: SystemTime, name: &GateName) -> Vec<u8> {
    let mut key = vec![DEADLINES];
    key.extend(codec::nanos(time).to_be_bytes());
    push_name(&mut key, name);
    key
}

/// Returns the keys of the deadlines behind a place.
pub fn deadlines(after: &DeadlinePlace) -> Range<Vec<u8>> {
    let start = match &after.gate {
        // The first key that could follow the gate's own.
        Some(name) => [deadline(after.time, name), vec![0]].concat(),
        None => [[DEADLINES].as_slice(), &codec::nanos(after.time).to_be_bytes()].concat(),
    };
    start..vec![DEADLINES + 1]
}

/// Reads a deadline back from its key.
pub fn parse_deadline(key: &[u8]) -> Option<(SystemTime, GateName)> {
    let (nanos, name) = key.get(1..)?.split_first_chunk()?;
    Some((codec::time(u64::from_be_bytes(*nanos)), parse_name(name)?))
}

/// Returns what the parts of a request's answer are stored under.
pub fn request(request: &RequestKey) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(request.principal.as_str());
    // No principal has this byte, no id and no name.
    digest.update([0]);
    digest.update(&request.id);
    if let Some(part) = &request.part {
        digest.update([0]);
        digest.update(part.as_str());
    }
    [b"q", digest.finalize().as_slice()].concat()
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

/// Returns the key of how far a webhook has come.
pub fn outbox(webhook: &WebhookName) -> Vec<u8> {
    [b"w", webhook.as_str().as_bytes()].concat()
}

/// Returns the key of a dead letter.
pub fn dead_letter(webhook: &WebhookName, number: u64) -> Vec<u8> {
    [b"x", webhook.as_str().as_bytes(), &[0], &number.to_be_bytes()].concat()
}

/// Returns the keys of a webhook's dead letters from a number on.
pub fn dead_letters(webhook: &WebhookName, from: u64) -> Range<Vec<u8>> {
    dead_letter(webhook, from)..[b"x", webhook.as_str().as_bytes(), &[1]].concat()
}

/// Reads the number back from the key of a dead letter.
pub fn letter_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn push_name(key: &mut Vec<u8>, name: &GateName) {
    key.extend(name.as_str().bytes().map(|byte| if byte == b'/' { 0 } else { byte }));
}

fn parse_name(key: &[u8]) -> Option<GateName> {
    let name = key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
    GateName::parse("key", &String::from_utf8(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::domain::Principal;

    fn name(text: &str) -> GateName {
        GateName::parse("gate", text).unwrap()
    }

    #[test]
    fn keys_are_in_the_order_of_names() {
        let mut names = ["b", "a-b", "a/b", "a", "a/b/c", "ab", "a.b", "a/B", "a0", "A"].map(name);
        names.sort();
        assert!(names.iter().map(|name| gate(GATES, name)).is_sorted());
        for name in names {
            assert_eq!(gate_name(&gate(GATES, &name)).as_ref(), Some(&name));
        }
    }

    #[test]
    fn a_group_is_a_range() {
        let names = ["a", "a/b", "a/b/c", "a-b", "a0", "b", "b/a"].map(name);
        for group_name in ["", "a", "a/b", "b", "c"] {
            let prefix = Prefix::parse("prefix", group_name).unwrap();
            for name in &names {
                let in_range = group(GATES, &prefix, None).contains(&gate(GATES, name));
                assert_eq!(in_range, prefix.contains(name), "{name} in {group_name:?}");
                let behind = group(GATES, &prefix, Some(&names[1])).contains(&gate(GATES, name));
                assert_eq!(behind, prefix.contains(name) && *name > names[1], "{name} in {group_name:?}");
            }
        }
    }

    #[test]
    fn keys_are_short() {
        let longest = name(&["x".repeat(63).as_str(); 4].join("/"));
        let request_key = RequestKey {
            principal: Principal::parse(&"p".repeat(Principal::BYTES_MAX)).unwrap(),
            id: "i".repeat(128),
            part: Some(longest.clone()),
        };
        let keys = [
            event(Revision(1)),
            gate(GATES, &longest),
            round(&Uid(uuid::Uuid::new_v4().to_string()), Round::FIRST),
            history(&longest, Revision(1)),
            deadline(UNIX_EPOCH, &longest),
            request(&request_key),
        ];
        for key in keys {
            assert!(key.len() < 300, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn deadlines_are_in_the_order_of_time() {
        let (early, late) = (UNIX_EPOCH + Duration::from_nanos(255), UNIX_EPOCH + Duration::from_nanos(256));
        assert!(deadline(early, &name("b")) < deadline(late, &name("a")));
        assert!(deadline(early, &name("a")) < deadline(early, &name("a/b")));
        assert_eq!(parse_deadline(&deadline(late, &name("a/b"))), Some((late, name("a/b"))));
        assert_eq!(parse_deadline(b"d123"), None);
        let behind = |gate| deadlines(&DeadlinePlace { time: early, gate }).contains(&deadline(early, &name("a")));
        assert_eq!([behind(None), behind(Some(name("A"))), behind(Some(name("a")))], [true, true, false]);
        assert!(deadlines(&DeadlinePlace::before(early)).contains(&deadline(late, &name("a"))));
        assert!(!deadlines(&DeadlinePlace::before(late)).contains(&deadline(early, &name("b"))));
    }

    #[test]
    fn dead_letters_of_one_webhook_stand_together_in_the_order_of_their_numbers() {
        let webhook = |text| WebhookName::parse("name", text).unwrap();
        let letters = dead_letters(&webhook("a"), 255);
        assert!([255, 256, u64::MAX].iter().all(|number| letters.contains(&dead_letter(&webhook("a"), *number))));
        assert!(!letters.contains(&dead_letter(&webhook("a"), 254)));
        assert!(["a.b", "a0", "A", "b"].iter().all(|other| !letters.contains(&dead_letter(&webhook(other), 300))));
        assert_eq!(letter_number(&dead_letter(&webhook("a"), 256)), Some(256));
    }
}
