//! Fault 3: files that are cut short, or that have other bytes where the last were written.

use std::path::PathBuf;
use std::sync::Arc;

use crate::image::{Files, read_files};
use crate::images::{SMALL, open};
use crate::settings::{number, random};
use crate::truth::{Found, Truth};
use crate::workload::Workload;

/// How many ways to tear each store, unless the environment says otherwise.
const TEARS: usize = 120;

/// Where a tail begins: what was written last is in the last two segments of the file.
const TAIL_BYTES: usize = 2 * 512 * 1024;

/// The file of sled's log.
const LOG: &str = "sled/db";

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
    tear("a killed store, overwritten", Ended::Killed, overwrite);
}

#[test]
fn a_log_with_other_bytes_after_a_stop_is_an_earlier_state_or_refused() {
    tear("a closed store, overwritten", Ended::Closed, overwrite);
}

/// Cuts it anywhere.
fn cut_short(log: &mut Vec<u8>, random: &mut fastrand::Rng) {
    log.truncate(random.usize(..log.len()));
}

/// Flips one bit, or overwrites a sector with zeros or noise.
fn overwrite(log: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let from = log.len() - random.usize(1..=TAIL_BYTES.min(log.len()));
    let sector = from..(from + 512).min(log.len());
    match random.u8(..3) {
        0 => log[from] ^= 1 << random.u8(..8),
        1 => log[sector].fill(0),
        _ => log[sector].iter_mut().for_each(|byte| *byte = random.u8(..)),
    }
}

fn tear(test: &str, ended: Ended, tear: fn(&mut Vec<u8>, &mut fastrand::Rng)) {
    let mut random = random(test);
    let home = tempfile::tempdir().unwrap();
    let (whole, truth) = whole(home.path().join("data"), SMALL, ended);
    let (mut states, mut refused) = (0, 0);
    for _ in 0..number("GATEPOST_TEST_TEARS", TEARS) {
        let seed = random.u64(..);
        let mut files = whole.clone();
        tear(files.bytes(LOG), &mut fastrand::Rng::with_seed(seed));
        match open(&truth, &files) {
            Found::State(_) => states += 1,
            Found::Refusal(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Found::Wrong(problem) => panic!("torn with seed {seed}: {problem}"),
        }
    }
    println!("{test}: {states} opened at an earlier state, {refused} refused, 0 wrong");
}

/// Makes a store, and reads its files and its log.
fn whole(data: PathBuf, workload: Workload, ended: Ended) -> (Files, Arc<Truth>) {
    workload.run_under(&["env"], &data);
    let killed = read_files(&data);
    let truth = Arc::new(Truth::of(&data));
    match ended {
        Ended::Killed => (killed, truth),
        Ended::Closed => (read_files(&data), truth),
    }
}
