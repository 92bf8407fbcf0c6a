//! The keys that stores share. The first byte says what a key is for:
//!
//! | key | |
//! |---|---|
//! | `g` name | a gate |
//! | `r` uid round | a round of a gate |
//! | `d` time name | a gate that waits until then |
//! | `q` digest | the answer of a request |
//! | `w` name | how far a webhook has come |
//! | `x` name `00` number | a dead letter of a webhook |
//! | `m` … | about the store itself |
//!
//! Numbers are big-endian, so that keys are in the order of the numbers. In a name, `/` is written as `00`: the order of
//! keys is then that of [`GateName`], and a group stands together.
//!
//! Each store has more of them, and says what it keeps under which.

use std::ops::Range;
use std::time::SystemTime;

use crate::domain::{Gate, GateName, Prefix, Round, Status, Uid, WebhookName};
use crate::store::{DeadlinePlace, RequestKey, codec};

/// The version of this layout.
pub const FORMAT: &[u8] = b"mformat";
/// The store's id.
pub const STORE_ID: &[u8] = b"mid";
/// The revision up to which events have been forgotten, but for those that are pointed to.
pub const FORGOTTEN: &[u8] = b"mforgotten";

/// The index of all gates.
pub const GATES: u8 = b'g';
/// The index of deadlines.
pub const DEADLINES: u8 = b'd';

/// Ends a name; lower than any byte of a segment, higher than what joins segments.
pub const END: u8 = 1;

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
    let after = after.map(|name| behind(gate(index, name))).unwrap_or_default();
    group.start.max(after)..group.end
}

/// Returns the first key that could follow another.
pub fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
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

/// Returns the key of a deadline.
pub fn deadline(time: SystemTime, name: &GateName) -> Vec<u8> {
    let mut key = vec![DEADLINES];
    key.extend(codec::nanos(time).to_be_bytes());
    push_name(&mut key, name);
    key
}

/// Returns the key of a gate's deadline; none if it does not wait, or has all the time in the world.
pub fn deadline_of(gate: &Gate) -> Option<Vec<u8>> {
    let waits = gate.status == Status::Waiting;
    gate.deadline.filter(|_| waits).map(|time| deadline(time, &gate.name))
}

/// Returns the keys of the deadlines behind a place.
pub fn deadlines(after: &DeadlinePlace) -> Range<Vec<u8>> {
    let start = match &after.gate {
        Some(name) => behind(deadline(after.time, name)),
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
    [b"q", request.0.as_slice()].concat()
}

/// Returns the keys of what the answers of requests are stored under, behind a request.
pub fn requests(after: Option<&RequestKey>) -> Range<Vec<u8>> {
    // No part has this number.
    let start = after.map_or_else(|| vec![b'q'], |after| [request(after).as_slice(), &[0xff]].concat());
    start..vec![b'q' + 1]
}

/// Reads a request back from what the parts of its answer are stored under.
pub fn parse_request(key: &[u8]) -> Option<RequestKey> {
    key.get(1..)?.try_into().ok().map(RequestKey)
}

/// Returns the key of how far a webhook has come.
pub fn outbox(webhook: &WebhookName) -> Vec<u8> {
    [b"w", webhook.as_str().as_bytes()].concat()
}

/// Returns the keys of how far all webhooks have come.
pub fn outboxes() -> Range<Vec<u8>> {
    vec![b'w']..vec![b'w' + 1]
}

/// Reads the webhook back from the key of how far it has come.
pub fn parse_outbox(key: &[u8]) -> Option<WebhookName> {
    WebhookName::parse("key", std::str::from_utf8(key.get(1..)?).ok()?).ok()
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

/// Appends a name.
pub fn push_name(key: &mut Vec<u8>, name: &GateName) {
    key.extend(name.as_str().bytes().map(|byte| if byte == b'/' { 0 } else { byte }));
}

/// Reads a name back.
pub fn parse_name(key: &[u8]) -> Option<GateName> {
    let name = key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
    GateName::parse("key", &String::from_utf8(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

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
