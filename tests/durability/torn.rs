//! Fault 3: files that are cut short, or that have other bytes where the last were written.

use std::ops::Range;
use std::sync::Arc;

use gatepost::store::sled::Sled;

use crate::image::{Files, read_files};
use crate::images::open;
use crate::settings::{number, random};
use crate::truth::{Found, Truth};
use crate::workload::{CACHE_BYTES, Workload};

/// In how many ways to tear each store, unless the environment says otherwise.
const TEARS: usize = 25;

/// sled's log is cut into segments of so many bytes. Each begins with a checksum and its place in the log.
const SEGMENT_BYTES: usize = 512 * 1024;

/// The file of sled's log.
const LOG: &str = "sled/db";

/// The stores of each test, and how often each was killed: what is written since a store last opened is what counts.
const SERIES: [(Workload, usize); 3] = [(ORDERED, 1), (CHANGES, 1), (CHANGES, 2)];

/// Changes of new gates above all: the newest segment is the last in the file.
const ORDERED: Workload =
    Workload { bursts: &[1, 2, 5, 20], times: 5, gates: 2_000, description_max: 4_000, keep: 0, seed: 0 };

/// Changes of all kinds to a few gates, with retention: sled uses room again, and its log is in no order in the file.
const CHANGES: Workload =
    Workload { bursts: &[1, 2, 5, 20], times: 40, gates: 40, description_max: 4_000, keep: 200, seed: 0 };

/// How a store came to the end that its file is torn after.
#[derive(Clone, Copy, Debug)]
enum Ended {
    /// As by a kill.
    Killed,
    /// Killed, opened and closed: there is a snapshot.
    Closed,
}

#[test]
fn a_log_cut_short_after_a_kill_is_an_earlier_state_or_refused() {
    tear("a killed store, cut short", Ended::Killed, cut_short);
}

#[test]
fn a_log_cut_short_after_a_stop_is_an_earlier_state_or_refused() {
    tear("a closed store, cut short", Ended::Closed, cut_short);
}

#[test]
fn a_log_with_other_bytes_after_a_kill_is_an_earlier_state_or_refused() {
    tear("a killed store, overwritten", Ended::Killed, |log, random| overwrite(log, random));
}

#[test]
fn a_log_with_other_bytes_after_a_stop_is_an_earlier_state_or_refused() {
    tear("a closed store, overwritten", Ended::Closed, |log, random| overwrite(log, random));
}

/// Cuts it anywhere.
fn cut_short(log: &mut Vec<u8>, random: &mut fastrand::Rng) {
    log.truncate(random.usize(..log.len()));
}

/// Flips one bit in the newest segment, or overwrites a sector of it with zeros or noise.
///
/// What is older was synced long ago: a disk that changes that is no torn write, and sled may not notice.
fn overwrite(log: &mut [u8], random: &mut fastrand::Rng) {
    let newest = newest_segment(log);
    let from = random.usize(newest.clone());
    let sector = from..(from + 512).min(newest.end);
    match random.u8(..3) {
        0 => log[from] ^= 1 << random.u8(..8),
        1 => log[sector].fill(0),
        _ => log[sector].iter_mut().for_each(|byte| *byte = random.u8(..)),
    }
}

/// Finds the segment that comes last in the log, wherever it is in the file.
fn newest_segment(log: &[u8]) -> Range<usize> {
    let starts = (0..log.len()).step_by(SEGMENT_BYTES);
    let newest = starts.max_by_key(|start| place(log, *start)).unwrap();
    newest..(newest + SEGMENT_BYTES).min(log.len())
}

/// Reads a segment's place in the log, if it is in use.
fn place(log: &[u8], start: usize) -> Option<i64> {
    let place: [u8; 8] = log.get(start + 4..start + 12)?.try_into().unwrap();
    Some(i64::from_le_bytes(place) ^ i64::MAX).filter(|place| *place >= 0 && *place < i64::MAX)
}

fn tear(test: &str, ended: Ended, tear: fn(&mut Vec<u8>, &mut fastrand::Rng)) {
    let mut random = random(test);
    let (mut states, mut earlier, mut refused) = (0, 0, 0);
    for (workload, kills) in SERIES {
        let (whole, truth) = make(Workload { seed: random.u64(..), ..workload }, kills, ended);
        let found = open(&truth, &whole);
        assert!(matches!(found, Found::State(revision) if revision == truth.last()), "it is whole: {found:?}");
        for _ in 0..number("GATEPOST_TEST_TEARS", TEARS) {
            let seed = random.u64(..);
            let mut files = whole.clone();
            tear(files.bytes(LOG), &mut fastrand::Rng::with_seed(seed));
            match open(&truth, &files) {
                Found::State(revision) => {
                    states += 1;
                    earlier += usize::from(revision < truth.last());
                }
                Found::Refusal(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
                Found::Wrong(problem) => panic!("torn with seed {seed}: {problem}"),
            }
        }
    }
    assert!(earlier + refused > 0, "nothing was torn");
    println!("{test}: {states} opened, {earlier} of them at an earlier state; {refused} refused, 0 wrong");
}

/// Makes a store that was killed so many times, and reads its files and its log.
fn make(workload: Workload, kills: usize, ended: Ended) -> (Files, Arc<Truth>) {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for _ in 0..kills {
        workload.run_under(&["env"], &data);
    }
    if let Ended::Closed = ended {
        drop(Sled::open(&data, CACHE_BYTES).unwrap());
    }
    (read_files(&data), Arc::new(Truth::of(&data)))
}
