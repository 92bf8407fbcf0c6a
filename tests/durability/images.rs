//! Crash images: a store's writes and syncs are recorded, and what a cut may leave at each moment is opened.

use std::sync::Arc;

use gatepost::domain::Revision;
use tempfile::TempDir;

use crate::image::{Files, Kept};
use crate::memory;
use crate::recording::Recording;
use crate::settings::{number, random};
use crate::strace;
use crate::truth::{Found, Truth};
use crate::workload::Workload;

/// How many moments to cut at in each test, unless the environment says otherwise. Each gives three images.
const MOMENTS: usize = 20;

/// How many times fewer of them are in large batches: those take longer to look through.
const LARGE_FEWER: usize = 3;

/// How many recoveries to record.
const RECOVERIES: usize = 2;

/// Many batches of a few changes, with records of up to two parts: segments fill, and are written again.
const SMALL: Workload =
    Workload { bursts: &[1, 1, 2, 3, 8], times: 80, gates: 40, description_max: 4_000, keep: 0, seed: 0 };

/// Batches of one change and of many. 5,000 come as twenty full ones.
const LARGE: Workload = Workload {
    bursts: &[1, 10, 100, 1_000, 5_000, 1_000, 1],
    times: 1,
    gates: 5_000,
    description_max: 100,
    keep: 0,
    seed: 0,
};

/// The same with retention and larger records, so that sled frees the end of its file.
const FORGOTTEN: Workload =
    Workload { bursts: &[1, 40], times: 20, gates: 200, description_max: 16_000, keep: 20, seed: 0 };

/// What comes after a cut: recovery, and a little more.
const AFTER: Workload = Workload { bursts: &[1, 20], times: 3, gates: 40, description_max: 1_000, keep: 0, seed: 0 };

#[test]
fn a_cut_in_small_batches_loses_nothing_acknowledged() {
    const TEST: &str = "images of small batches";
    if strace::is_there(TEST) {
        cut_anywhere(TEST, &Recording::of(SMALL, Files::default()), 0, moments());
    }
}

#[test]
fn a_cut_in_batches_of_up_to_5_000_changes_loses_nothing_acknowledged() {
    const TEST: &str = "images of large batches";
    if strace::is_there(TEST) {
        cut_anywhere(TEST, &Recording::of(LARGE, Files::default()), 0, moments().div_ceil(LARGE_FEWER));
    }
}

#[test]
fn a_cut_in_retention_loses_nothing_acknowledged() {
    const TEST: &str = "images of retention";
    if strace::is_there(TEST) {
        cut_anywhere(TEST, &Recording::of(FORGOTTEN, Files::default()), 0, moments());
    }
}

#[test]
fn a_cut_in_the_recovery_from_a_cut_loses_nothing_acknowledged() {
    const TEST: &str = "images of recoveries";
    if !strace::is_there(TEST) {
        return;
    }
    let mut random = random("the cuts before");
    let before = Recording::of(SMALL, Files::default());
    for _ in 0..RECOVERIES {
        let at = before.moment(&mut random);
        let left = before.image(at, &mut Kept::Some(random.fork(), 2));
        let recording = Recording::of(AFTER, left);
        cut_anywhere(TEST, &recording, before.acknowledged(at), moments().div_ceil(RECOVERIES));
    }
}

/// The same with every sync forgotten: what the other tests would miss, this one shows.
#[test]
fn images_show_that_a_sync_is_missing() {
    const TEST: &str = "images without syncs";
    if !strace::is_there(TEST) {
        return;
    }
    let mut recording = Recording::of(AFTER, Files::default());
    let truth = Arc::new(Truth::of(&recording.data()));
    recording.forget_syncs();
    let end = usize::MAX - 1;
    let found = open(&truth, &recording.image(end, &mut Kept::Nothing));
    let acknowledged = Revision(recording.acknowledged(end));
    assert_eq!(acknowledged, truth.last());
    assert!(!matches!(found, Found::State(revision) if revision >= acknowledged), "it has lost nothing: {found:?}");
    println!("{TEST}: {found:?}");
}

fn moments() -> usize {
    number("GATEPOST_TEST_IMAGES", MOMENTS)
}

fn cut_anywhere(test: &str, recording: &Recording, acknowledged_before: u64, moments: usize) {
    let mut random = random(test);
    let truth = Arc::new(Truth::of(&recording.data()));
    let (mut images, mut refused) = (0, 0);
    for _ in 0..moments {
        let at = recording.moment(&mut random);
        let acknowledged = Revision(recording.acknowledged(at).max(acknowledged_before));
        let lost = random.choice([2, 3, 10]).unwrap();
        for mut kept in [Kept::Nothing, Kept::NoGrowth, Kept::Some(random.fork(), lost)] {
            images += 1;
            let which = kept.to_string();
            match open(&truth, &recording.image(at, &mut kept)) {
                Found::State(revision) if revision >= acknowledged => {}
                // There is nothing to lose yet.
                Found::Refusal(_) if acknowledged == Revision::ZERO => refused += 1,
                found => panic!("cut at {at}, {which} is kept, {acknowledged} was acknowledged: {found:?}"),
            }
        }
    }
    let calls = recording.calls.len();
    println!("{test}: {images} images of {calls} calls, {refused} refused before the first change, lost: 0");
}

/// Opens an image, in memory where there is such a place: what is opened here is not cut again.
pub fn open(truth: &Arc<Truth>, files: &Files) -> Found {
    let home = TempDir::new_in(memory::or_disk()).unwrap();
    let data = home.path().join("data");
    files.write(&data);
    truth.check(&data)
}
