//! Fault 4: a sync fails with EIO under load. strace answers it in the system's place.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

use crate::check::check;
use crate::load::{CLIENTS, Journal, load};
use crate::server::{Server, serve};
use crate::settings::{number, random};
use crate::strace;

/// How many failures, unless the environment says otherwise.
const FAILURES: usize = 6;

/// Which sync of a thread fails, after those of the start.
const SYNCS: std::ops::RangeInclusive<usize> = 4..=40;

/// How long the process may go on after it.
const EXITS_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait for its end. Enough changes for any of the syncs above take a few seconds.
const GIVES_UP_AFTER: Duration = Duration::from_secs(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_after_a_failed_sync_and_the_process_ends() {
    every_sync_fails_from_then_on("failed syncs", "+").await;
}

/// The system may report an error of the disk to one sync only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_after_a_single_failed_sync_and_the_process_ends() {
    every_sync_fails_from_then_on("single failed syncs", "").await;
}

async fn every_sync_fails_from_then_on(test: &str, from_then_on: &str) {
    if !strace::is_there(test) {
        return;
    }
    let mut random = random(test);
    let failures = number("GATEPOST_TEST_FAILURES", FAILURES);
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    for failure in 1..=failures {
        // One client knows which change met the failure; many share batches.
        let clients = if failure % 2 == 0 { 1 } else { CLIENTS };
        let sync = random.usize(SYNCS);
        let ended = fail(&format!("{sync}{from_then_on}"), random.u64(..), clients).await;
        let (changes, took) = ended.unwrap_or_else(|problem| panic!("sync {sync}, {clients} clients: {problem}"));
        acknowledged += changes;
        slowest = slowest.max(took);
    }
    assert!(acknowledged > failures, "too little load to show anything: {acknowledged} changes");
    println!("{test}: {failures}, changes acknowledged: {acknowledged}, lost: 0, slowest exit: {slowest:?}");
}

/// Lets a sync fail, and returns how many changes had been acknowledged and how long the process went on.
async fn fail(when: &str, seed: u64, clients: usize) -> Result<(usize, Duration), String> {
    let dir = tempfile::tempdir().unwrap();
    let (data, trace) = (dir.path().join("data"), dir.path().join("trace"));
    let inject = format!("inject=fdatasync:error=EIO:when={when}");
    let words = strace::words(&trace, &["-e", "trace=fdatasync", "-e", &inject]);
    let mut command = serve(&words, &data);
    let mut server = Server::start_as(command.stderr(Stdio::piped())).unwrap();
    let mut told = server.process.stderr.take().unwrap();
    let journal = Journal::default();
    let address = server.address.clone();
    let process = Pid::from_child(&server.process);
    let ended = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        told.read_to_string(&mut text).unwrap();
        let status = server.process.wait().unwrap();
        (status, text, SystemTime::now())
    });
    let (status, text, ended) = tokio::select! {
        () = load(&address, "fail", seed, clients, &journal) => unreachable!("load never ends"),
        ended = ended => ended.unwrap(),
        () = tokio::time::sleep(GIVES_UP_AFTER) => {
            kill_process(process, Signal::KILL).unwrap();
            return Err(format!("it has not ended; {} changes were acknowledged", journal.acknowledged()));
        }
    };
    if status.code() != Some(1) || !text.contains("the store has failed and accepts nothing more") {
        return Err(format!("it ended with {status}, and said {text:?}"));
    }
    let failed = failed_at(&trace);
    let took = ended.duration_since(failed).unwrap();
    if took > EXITS_WITHIN {
        return Err(format!("it went on for {took:?}"));
    }
    let entries = journal.entries();
    // The answer before may have been on its way.
    let late = entries.iter().filter(|entry| entry.gate().is_some() && entry.answered > Some(failed)).count();
    if clients == 1 && late > 0 {
        return Err(format!("{late} answers came after the failure"));
    }
    let server = Server::start(&data);
    check(&server.address, "fail", &entries).await?;
    Ok((journal.acknowledged(), took))
}

/// Reads from a trace when the first sync failed.
fn failed_at(trace: &Path) -> SystemTime {
    let trace = fs::read_to_string(trace).unwrap();
    let line = trace.lines().find(|line| line.contains("(INJECTED)")).unwrap();
    let seconds: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}
