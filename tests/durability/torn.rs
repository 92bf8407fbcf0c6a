//! Fault 3: files that are cut short, or that have other bytes where the last were written.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use gatepost::domain::Revision;

use crate::image::{Files, read_files};
use crate::images::open;
use crate::settings::{number, random};
use crate::truth::{Found, Truth};
use crate::workload::Workload;

/// How many ways to tear each store, unless the environment says otherwise.
const TEARS: usize = 40;

/// sled's log is cut into segments of so many bytes. Each begins with a checksum and its place in the log.
const SEGMENT_BYTES: usize = 512 * 1024;

/// The file of sled's log.
const LOG: &str = "sled/db";

/// Changes of new gates above all: what is written first stays where it is.
const ORDERED: Workload = Workload { bursts: &[1, 2, 5, 20], times: 5, gates: 2_000, description_max: 4_000 };

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

/// Cuts it anywhere in the segments that are in the order of the log, up to the end of the file.
///
/// Where older ones come after newer ones, a cut takes from the middle of the log: that is no torn tail.
fn cut_short(log: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let places: Vec<_> = (0..log.len()).step_by(SEGMENT_BYTES).map(|start| (start, place(log, start))).collect();
    let is_tail = |index: usize| {
        let (before, behind) = places.split_at(index);
        let newest_before = before.iter().filter_map(|(_, place)| *place).max();
        behind.iter().filter_map(|(_, place)| *place).min() > newest_before
    };
    let tail = (0..places.len()).find(|index| is_tail(*index)).map(|index| places[index].0);
    log.truncate(random.usize(tail.unwrap()..log.len()));
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
    let home = tempfile::tempdir().unwrap();
    let (whole, truth) = whole(&home.path().join("data"), ORDERED, ended);
    let (mut states, mut refused) = (0, 0);
    let mut lost = Revision::ZERO;
    for _ in 0..number("GATEPOST_TEST_TEARS", TEARS) {
        let seed = random.u64(..);
        let mut files = whole.clone();
        tear(files.bytes(LOG), &mut fastrand::Rng::with_seed(seed));
        match open(&truth, &files) {
            Found::State(revision) => {
                states += 1;
                lost = lost.max(Revision(truth.last().0 - revision.0));
            }
            Found::Refusal(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Found::Wrong(problem) => panic!("torn with seed {seed}: {problem}"),
        }
    }
    assert!(refused > 0 || lost > Revision::ZERO, "nothing was torn");
    println!("{test}: {states} opened at an earlier state, {refused} refused, 0 wrong");
}

/// Makes a store, and reads its files and its log.
fn whole(data: &Path, workload: Workload, ended: Ended) -> (Files, Arc<Truth>) {
    workload.run_under(&["env"], data);
    let killed = read_files(data);
    let truth = Arc::new(Truth::of(data));
    match ended {
        Ended::Killed => (killed, truth),
        Ended::Closed => (read_files(data), truth),
    }
}
