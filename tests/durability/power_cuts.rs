//! Fault 2: the power fails under load. What the disk holds then is copied, mounted and served again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::check::check;
use crate::load::{CLIENTS, Journal, load};
use crate::loop_device::{Cut, Mounted};
use crate::server::{Server, serve};
use crate::settings::{number, random};
use crate::strace;

/// How many cuts, unless the environment says otherwise.
const CUTS: usize = 20;

/// When to cut, in milliseconds of load.
const CUT_AFTER_MS: std::ops::RangeInclusive<u64> = 10..=300;

/// How many cuts may pass before a missing sync shows.
const CUTS_UNTIL_SEEN: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_loses_nothing_acknowledged() {
    let Some(disk) = Mounted::new_or_skip("power cuts") else { return };
    let cuts = number("GATEPOST_TEST_CUTS", CUTS);
    let mut random = random("power cuts");
    let journal = Journal::default();
    let server = Server::start(&disk.path().join("data"));
    for number in 1..=cuts {
        let cut = load_and_cut(&disk, &server, &mut random, &journal).await;
        let found = served_again(cut, &journal).await;
        found.unwrap_or_else(|problem| panic!("cut {number}: {problem}"));
    }
    let acknowledged = journal.acknowledged();
    assert!(acknowledged > cuts, "too little load to show anything: {acknowledged} changes");
    println!("power cuts: {cuts}, changes acknowledged: {acknowledged}, lost: 0");
}

/// The same, with every sync answered by strace in the system's place: what the first test would miss, this one shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_shows_that_a_sync_is_missing() {
    const TEST: &str = "power cuts without syncs";
    if !strace::is_there(TEST) {
        return;
    }
    let Some(disk) = Mounted::new_or_skip(TEST) else { return };
    let mut random = random(TEST);
    let journal = Journal::default();
    let data = disk.path().join("data");
    // The store itself is there before.
    Server::start(&data).kill();
    let unsynced = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:retval=0"];
    let server = Server::start_as(&mut serve(&strace::words(Path::new("/dev/null"), &unsynced), &data)).unwrap();
    for _ in 0..CUTS_UNTIL_SEEN {
        let cut = load_and_cut(&disk, &server, &mut random, &journal).await;
        if let Err(problem) = served_again(cut, &journal).await {
            println!("{TEST}: {problem}");
            return;
        }
    }
    panic!("{CUTS_UNTIL_SEEN} cuts without a single sync have lost nothing: the cuts show nothing");
}

/// Puts load on a server, stops it at a random moment, takes what the disk holds, and lets it go on.
async fn load_and_cut(disk: &Mounted, server: &Server, random: &mut fastrand::Rng, journal: &Journal) -> Cut {
    let (seed, delay) = (random.u64(..), Duration::from_millis(random.u64(CUT_AFTER_MS)));
    let process = server.process.id();
    let cut = async {
        tokio::time::sleep(delay).await;
        server.signal(Signal::STOP);
        // The clients go on meanwhile, and hear what was said before the stop.
        tokio::task::spawn_blocking(move || until_stopped(process)).await.unwrap();
        disk.cut()
    };
    let cut = tokio::select! {
        biased;
        () = load(&server.address, "cut", seed, CLIENTS, journal) => unreachable!("load never ends"),
        cut = cut => cut,
    };
    server.signal(Signal::CONT);
    cut
}

/// Serves what a cut left, and compares.
async fn served_again(cut: Cut, journal: &Journal) -> Result<usize, String> {
    let entries = journal.entries();
    let disk = cut.mount();
    let server = Server::start_as(&mut serve(&[], &disk.path().join("data")))?;
    check(&server.address, "cut", &entries).await
}

/// Waits until all threads of a process have stopped.
fn until_stopped(process: u32) {
    loop {
        let states = fs::read_dir(format!("/proc/{process}/task")).unwrap().filter_map(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).ok()?;
            stat.rsplit_once(") ")?.1.chars().next()
        });
        // 't' where a tracer has a hand in it.
        if states.into_iter().all(|state| matches!(state, 'T' | 't')) {
            return;
        }
        std::thread::yield_now();
    }
}
