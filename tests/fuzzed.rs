//! What the fuzzer tries for hours, tried for seconds: its seeds, its seeds damaged, any bytes, and calls that are nearly
//! right.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/chance.rs"]
mod chance;
#[path = "../fuzz/properties/names.rs"]
mod names;
#[path = "../fuzz/properties/records.rs"]
mod records;
#[path = "../fuzz/properties/requests.rs"]
mod requests;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use gatepost::proto::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use prost::Message;

/// Tries the seeds and then other inputs, by default so many, or as many as `GATEPOST_TEST_FUZZED` says.
fn try_all<T: Debug + Clone>(seeds: &[T], default: usize, inputs: impl Strategy<Value = T>, holds: impl Fn(T)) {
    for seed in seeds {
        holds(seed.clone());
    }
    let cases = u32::try_from(chance::times("FUZZED", default)).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&inputs, |input| {
        holds(input);
        Ok(())
    });
    tried.unwrap();
}

/// Reads the inputs in directories of the repository.
fn seeds(directories: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = directories.iter().flat_map(|directory| fs::read_dir(root.join(directory)).unwrap());
    let seeds: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() > 3, "{directories:?}");
    seeds
}

/// Any bytes, and seeds of which some bytes are others, or which are cut short.
fn near(seeds: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let damage = vec((any::<Index>(), any::<u8>()), 0..4);
    let damaged = (select(seeds.to_vec()), damage, any::<Index>(), prop::bool::weighted(0.2));
    let damaged = damaged.prop_map(|(mut bytes, damage, end, is_cut)| {
        // Nothing of an empty one can be another.
        let damage = if bytes.is_empty() { Vec::new() } else { damage };
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(if is_cut { end.index(bytes.len() + 1) } else { bytes.len() });
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..300), 3 => damaged]
}

const NAMES: [&str; 1] = ["fuzz/seeds/names"];
const RECORDS: [&str; 2] = ["fuzz/seeds/records", "tests/golden"];
const REQUESTS: [&str; 1] = ["fuzz/seeds/requests"];

#[test]
fn any_text_is_a_name_by_the_grammar_or_refused() {
    let seeds: Vec<_> = seeds(&NAMES).into_iter().map(|seed| String::from_utf8(seed).unwrap()).collect();
    let segments = vec("[A-Za-z0-9._-]{0,70}", 0..10).prop_map(|segments| segments.join("/"));
    let odd = "[a-c0./_\\-\u{0}\u{202e}é ]{0,20}";
    let good = "[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,20}){0,7}";
    let inputs = prop_oneof![any::<String>(), segments, odd, good, select(seeds.clone())];
    try_all(&seeds, 4_000, inputs, |text| names::any_text(&text));
}

#[test]
fn any_bytes_are_a_record_or_said_to_be_unreadable() {
    let seeds = seeds(&RECORDS);
    try_all(&seeds, 4_000, near(&seeds), |bytes| records::any_bytes(&bytes));
}

#[test]
fn any_bytes_as_requests_are_answered_within_the_bounds_or_refused_with_a_reason() {
    let seeds = seeds(&REQUESTS);
    try_all(&seeds, 400, near(&seeds), |bytes| requests::any_bytes(&bytes));
}

#[test]
fn calls_that_are_nearly_right_are_answered_within_the_bounds_or_refused_with_a_reason() {
    let calls = vec(call(), 1..12).prop_map(|calls| {
        let mut bytes = Vec::new();
        for (method, request) in calls {
            requests::write(&mut bytes, method, &request);
        }
        bytes
    });
    try_all(&[], 400, calls, |bytes| requests::any_bytes(&bytes));
}

/// A call of one of the methods, by its number, about one of a few gates.
fn call() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let known = (select(vec!["a", "a/b", "a/c", "b"]), 0..3_u32, text(300), any_spec(), any::<bool>());
    (0..11_u8, known).prop_map(|(method, (gate, round, text, spec, flag))| {
        let gate = gate.to_owned();
        let id = if flag { "again".to_owned() } else { String::new() };
        let request = match method {
            0 => CreateGateRequest { gate, spec, request_id: id }.encode_to_vec(),
            1 => GetGateRequest { gate, round }.encode_to_vec(),
            2 => ListGatesRequest { prefix: gate, page_size: round, ..ListGatesRequest::default() }.encode_to_vec(),
            4 => WaitRequest { gate, round, spec, ..WaitRequest::default() }.encode_to_vec(),
            5 => ApproveRequest { gate, round, comment: text, request_id: id, ..ApproveRequest::default() }
                .encode_to_vec(),
            6 => RejectRequest { gate, round, etag: text, request_id: id, ..RejectRequest::default() }.encode_to_vec(),
            7 => ResetGateRequest { gate, request_id: id }.encode_to_vec(),
            8 => ResetGatesRequest { prefix: gate, request_id: id }.encode_to_vec(),
            9 => WatchRequest { prefix: gate, initial_state: flag, ..WatchRequest::default() }.encode_to_vec(),
            3 => DeleteGateRequest { gate, ..DeleteGateRequest::default() }.encode_to_vec(),
            _ => ListEventsRequest { gate, page_size: round, ..ListEventsRequest::default() }.encode_to_vec(),
        };
        (method, request)
    })
}

fn any_spec() -> impl Strategy<Value = Option<Spec>> {
    let timeout = (prop_oneof![0..5_i64, any::<i64>()], prop_oneof![0..5_i32, any::<i32>()]);
    let timeout = prop::option::of(timeout.prop_map(|(seconds, nanos)| Duration { seconds, nanos }));
    let labels = btree_map(text(70), text(300), 0..3);
    let url = prop_oneof![Just("https://ci.example/42".to_owned()), text(1100)];
    let links = vec((text(70), url).prop_map(|(title, url)| Link { title, url }), 0..3);
    let spec = (timeout, any::<bool>(), text(300), labels, links, prop_oneof![0..3_u32, any::<u32>()]);
    let spec = spec.prop_map(|(timeout, auto_approve, title, labels, links, required_approvals)| Spec {
        timeout,
        auto_approve,
        title,
        labels,
        links,
        required_approvals,
        ..Spec::default()
    });
    prop_oneof![1 => Just(None), 2 => Just(Some(Spec::default())), 3 => spec.prop_map(Some)]
}

/// Short text of any letters, or long text around a bound.
fn text(bytes: usize) -> impl Strategy<Value = String> {
    let long = prop_oneof![Just(bytes - 1), Just(bytes), Just(bytes * 2)].prop_map(|bytes| "x".repeat(bytes));
    prop_oneof![2 => "[a-z]{0,8}", 1 => any::<String>(), 1 => long]
}
