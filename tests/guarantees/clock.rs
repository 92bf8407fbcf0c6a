//! Deadlines of a server that stands still, or whose machine's clock is set.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use gatepost::client::{Client, Outcome};
use gatepost::proto::*;
use tonic_types::StatusExt;

use crate::chance::{Chance, times};
use crate::server::Server;
use crate::support::{Gates, approve, get, history, ok, outcome, told_waiting, wait_with, within, within_ms};

/// Gates that wait during one pause.
const AT_ONCE: usize = 5;
/// A log line is written a little before or after the test looks at its own clock.
const MOST_OF_AN_HOUR: Duration = Duration::from_secs(3500);

fn time(time: Option<Timestamp>) -> SystemTime {
    time.unwrap().try_into().unwrap()
}

/// Checks that a gate timed out, not early and once.
async fn check_timed_out(gates: &mut Gates, gate: &Gate) {
    assert_eq!(gate.status(), GateStatus::TimedOut, "{gate:?}");
    let resolution = gate.resolution.as_ref().unwrap();
    assert!(time(resolution.time) >= time(gate.deadline), "early: {gate:?}");
    let events = ok(gates.list_events(history(&gate.name))).await.events;
    let ends: Vec<_> = events.iter().filter(|event| event.r#type() == EventType::Resolved).collect();
    assert_eq!(ends.len(), 1, "{events:#?}");
    assert_eq!(ends[0].gate.as_ref(), Some(gate), "everybody is told the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_paused_past_deadlines_times_each_gate_out_once_and_none_early() {
    let mut chance = Chance::new("pauses");
    let server = Server::start();
    let pauses = times("PAUSES", 50).div_ceil(AT_ONCE);
    for pause in 0..pauses {
        let mut gates = server.gates();
        let mut waits = Vec::new();
        for i in 0..AT_ONCE {
            let timeout = 150 + i32::try_from(chance.below(200)).unwrap();
            let asked = Instant::now();
            let mut wait = ok(gates.wait(wait_with(&format!("pause-{pause}/g{i}"), within_ms(timeout)))).await;
            let waiting = told_waiting(&mut wait, 1).await;
            waits.push((wait, waiting, asked, Duration::from_millis(timeout.unsigned_abs().into())));
        }
        server.pause();
        // An approval made while it stands still, of a gate whose deadline will have passed.
        let (mut late, gate) = (gates.clone(), format!("pause-{pause}/g0"));
        let late = tokio::spawn(async move { late.approve(approve(&gate)).await });
        tokio::time::sleep(Duration::from_millis(350) + chance.pause(Duration::from_millis(100))).await;
        server.resume();
        let late = within(late).await.unwrap().unwrap_err();
        let winner = late.get_details_error_info().unwrap().metadata;
        assert_eq!((&*winner["status"], &*winner["cause"]), ("TIMED_OUT", "TIMEOUT"), "{late:?}");
        for (mut wait, waiting, asked, timeout) in waits {
            let gate = outcome(&mut wait).await;
            assert!(asked.elapsed() >= timeout, "early: {gate:?}");
            assert_eq!(gate.deadline, waiting.deadline);
            check_timed_out(&mut gates, &gate).await;
        }
    }
    println!("pauses: {pauses}, {} gates timed out", pauses * AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_paused_and_goes_on_in_time_times_nothing_out() {
    let server = Server::start();
    let mut gates = server.gates();
    let mut wait = ok(gates.wait(wait_with("a", within_ms(60_000)))).await;
    told_waiting(&mut wait, 1).await;
    for _ in 0..5 {
        server.pause();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.resume();
        assert_eq!(ok(gates.get_gate(get("a"))).await.status(), GateStatus::Waiting);
    }
    let approved = ok(gates.approve(approve("a"))).await;
    assert_eq!(outcome(&mut wait).await.resolution, approved.resolution);
}

/// Where Debian keeps libfaketime.
fn faketime() -> Option<String> {
    let machine = std::env::consts::ARCH;
    let library = format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1");
    Path::new(&library).exists().then_some(library)
}

/// Makes a server's wall clock follow a file, and keeps what it says: its log has the time.
fn with_faked_clock(command: &mut Command, home: &Path) {
    let offset = home.join("offset");
    fs::write(&offset, "+0").unwrap();
    command.env("LD_PRELOAD", faketime().unwrap()).env("FAKETIME_TIMESTAMP_FILE", offset);
    // Read at each look at the clock; what counts elapsed time is left alone, as it is when somebody sets a clock.
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.stderr(Stdio::piped());
}

/// Sets the wall clock off from the true one.
fn set_clock(server: &Server, offset: &str) {
    let file = server.home().join("offset");
    // Whole at once: it may be read at any time.
    fs::write(file.with_extension("new"), offset).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_the_wall_clock_of_a_running_server_moves_no_deadline() {
    if faketime().is_none() {
        assert!(std::env::var_os("CI").is_none(), "libfaketime is missing, and this is CI");
        println!("skipped: needs Debian's libfaketime");
        return;
    }
    let jumps = [("+1h", true), ("-2h", false)];
    within(join_all(jumps.map(|(offset, is_ahead)| async move {
        let server = Server::start_with(with_faked_clock);
        let client = Client::new(&server.address.to_string()).unwrap();
        let mut gates = server.gates();
        let timeout = Duration::from_secs(3);
        let asked = Instant::now();
        let before = ok(gates.wait(wait_with("before", within_ms(3_000)))).await;
        let mut before = before;
        let waiting = told_waiting(&mut before, 1).await;
        let mut long = ok(gates.wait(wait_with("long", within_ms(1_800_000)))).await;
        told_waiting(&mut long, 1).await;
        set_clock(&server, offset);
        let asked_after = Instant::now();
        let mut after = ok(gates.wait(wait_with("after", within_ms(1_000)))).await;
        told_waiting(&mut after, 1).await;

        for (mut wait, asked, timeout) in [(after, asked_after, Duration::from_secs(1)), (before, asked, timeout)] {
            let gate = outcome(&mut wait).await;
            let took = asked.elapsed();
            assert!(took >= timeout, "{offset}: early, after {took:?}");
            check_timed_out(&mut gates, &gate).await;
        }
        assert_eq!(ok(gates.get_gate(get("before"))).await.deadline, waiting.deadline);
        // Half an hour is not over, whatever the wall says.
        assert_eq!(ok(gates.get_gate(get("long"))).await.status(), GateStatus::Waiting, "{offset}");
        ok(gates.approve(approve("long"))).await;
        assert!(matches!(client.wait(crate::support::wait("long")).outcome().await, Ok(Outcome::Approved(_))));
        drop((long, gates, client));

        // The log shows that the clock was set at all.
        let said = server.stop();
        let line = said.lines().rfind(|line| line.contains("stopping")).unwrap_or_else(|| panic!("{said}"));
        let stamp: jiff::Timestamp = line.split_whitespace().next().unwrap().parse().unwrap();
        let true_time = SystemTime::now();
        let logged = SystemTime::from(stamp);
        let jumped = if is_ahead { logged.duration_since(true_time) } else { true_time.duration_since(logged) };
        assert!(jumped.unwrap() > MOST_OF_AN_HOUR, "{offset}: the clock was not set: {line}");
    })))
    .await;
}
