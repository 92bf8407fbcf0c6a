//! Fault 1: `kill -9` under load, many times over, on the same data.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::check::check;
use crate::load::{CLIENTS, Journal, load};
use crate::server::{Server, serve};
use crate::settings::{number, random};

/// How many kills, unless the environment says otherwise.
const KILLS: usize = 20;

/// When to kill, in milliseconds of load.
const KILL_AFTER_MS: std::ops::RangeInclusive<u64> = 10..=500;

/// When to kill during a start, in milliseconds: it takes about so long.
const START_MS_MAX: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    let kills = number("GATEPOST_TEST_KILLS", KILLS);
    let mut random = random("kills");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    let mut rounds = Vec::new();
    for kill in 1..=kills {
        let prefix = format!("kill-{kill}");
        let journal = Journal::default();
        let (seed, delay) = (random.u64(..), Duration::from_millis(random.u64(KILL_AFTER_MS)));
        let address = server.address.clone();
        let killed = async move {
            tokio::time::sleep(delay).await;
            // The clients go on meanwhile, and hear what was said before the kill.
            tokio::task::spawn_blocking(|| server.kill()).await.unwrap();
        };
        tokio::select! {
            () = load(&address, &prefix, seed, CLIENTS, &journal) => {}
            () = killed => {}
        }
        if random.u8(..4) == 0 {
            kill_while_it_starts(&data, Duration::from_millis(random.u64(..START_MS_MAX)));
        }
        server = Server::start(&data);
        let entries = journal.entries();
        let checked = check(&server.address, &prefix, &entries).await;
        checked.unwrap_or_else(|problem| panic!("kill {kill}, after {delay:?}: {problem}"));
        rounds.push((prefix, entries, journal.acknowledged()));
    }
    // What came later has taken nothing away.
    for (prefix, entries, _) in &rounds {
        check(&server.address, prefix, entries).await.unwrap();
    }
    let acknowledged: usize = rounds.iter().map(|(.., acknowledged)| acknowledged).sum();
    assert!(acknowledged > kills, "too little load to show anything: {acknowledged} changes");
    println!("kills: {kills}, changes acknowledged: {acknowledged}, lost: 0");
}

/// Kills a process on its way to serve; recovery and its files are cut off anywhere.
fn kill_while_it_starts(data: &std::path::Path, delay: Duration) {
    let mut process = serve(&[], data).stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(delay);
    process.kill().unwrap();
    process.wait().unwrap();
}
