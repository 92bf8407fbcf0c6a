//! `gatepost bench`: each verb runs, with numbers too small to mean anything, and says all that it promises.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Coordinator, Ran, gatepost};

const LATENCY: [&str; 5] = ["p50", "p90", "p99", "p99_9", "max"];

/// Runs it on a coordinator of its own, and checks that it leaves nothing behind.
fn bench(arguments: &[&str]) -> Value {
    let dir = TempDir::new().unwrap();
    let mut command = gatepost(&[&["bench"], arguments, &["--output", "json", "--dir"]].concat());
    let ran = Ran::from(command.arg(dir.path()).output().unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    report(&ran)
}

fn report(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    serde_json::from_str(&ran.out).unwrap()
}

fn check(report: &Value, figures: &[(&str, &str)], latencies: &[&str]) {
    let percentiles = latencies.iter().flat_map(|name| LATENCY.map(|at| (format!("{name}_{at}"), "us")));
    let figures = figures.iter().map(|(name, unit)| ((*name).to_owned(), *unit)).chain(percentiles);
    let mut count = 0;
    for (name, unit) in figures {
        let figure = &report["figures"][&name];
        assert_eq!(figure["unit"], unit, "{name} in {report}");
        assert!(figure["value"].as_f64().is_some_and(|value| value >= 0.0), "{name} in {report}");
        count += 1;
    }
    assert_eq!(report["figures"].as_object().unwrap().len(), count, "{report}");
}

#[test]
fn decide_tells_its_rate_beside_the_bare_limits() {
    let report = bench(&["decide", "--concurrency", "2", "--duration", "250ms", "--gates-stored", "20"]);
    assert_eq!((&report["bench"], &report["coordinator"]), (&"decide".into(), &"temporary".into()));
    assert_eq!(report["figures"]["gates_stored"]["value"], 20);
    let figures = [
        ("concurrency", "callers"),
        ("gates_stored", "gates"),
        ("decisions", "1/s"),
        ("rpc_that_stores_nothing", "1/s"),
        ("fdatasync_alone", "1/s"),
        ("decisions_to_rpc_ratio", "1"),
    ];
    check(&report, &figures, &["rpc_latency", "fdatasync_latency", "decision_latency"]);
}

#[test]
fn wake_tells_when_each_waiter_and_the_last_one_learned_it() {
    let report = bench(&["wake", "--waiters", "3", "--rounds", "2"]);
    let latencies = ["approval_latency", "last_waiter_latency", "wake_latency"];
    check(&report, &[("waiters", "waiters"), ("rounds", "rounds")], &latencies);
}

const WAITERS: [(&str, &str); 7] = [
    ("waiters", "waiters"),
    ("connections", "connections"),
    ("gates", "gates"),
    ("opening", "us"),
    ("resident_before", "B"),
    ("resident_after", "B"),
    ("resident_per_waiter", "B"),
];

#[test]
fn waiters_tells_the_memory_of_the_coordinator() {
    let report = bench(&["waiters", "--waiters", "20", "--connections", "2"]);
    check(&report, &WAITERS, &[]);
    assert_eq!(report["figures"]["gates"]["value"], 20);
}

#[test]
fn waiters_of_one_gate_are_all_woken() {
    let report = bench(&["waiters", "--waiters", "20", "--connections", "2", "--one-gate"]);
    check(&report, &[&WAITERS[..], &[("woken", "waiters")]].concat(), &["wake_latency"]);
    assert_eq!((&report["figures"]["gates"]["value"], &report["figures"]["woken"]["value"]), (&1.into(), &20.into()));
}

/// As many as `GATEPOST_TEST_WAITERS` says, else more than a coordinator takes that is not told to; 100,000 of them have to
/// fit in 1 GiB.
#[test]
fn a_crowd_on_one_gate_is_small_and_all_of_it_is_woken() {
    let waiters = std::env::var("GATEPOST_TEST_WAITERS").unwrap_or_else(|_| "20100".to_owned());
    let report = bench(&["waiters", "--waiters", &waiters, "--one-gate"]);
    let figure = |name: &str| report["figures"][name]["value"].as_u64().unwrap();
    assert_eq!(figure("woken").to_string(), waiters);
    let each = figure("resident_per_waiter");
    println!("{waiters} waiters, {each} bytes each");
    assert!(each * 100_000 < 1024 * 1024 * 1024, "{each} bytes for each of {waiters} waiters");
}

#[test]
fn recover_tells_how_long_a_start_takes() {
    let report = bench(&["recover", "--gates", "20", "--waiting", "2", "--runs", "1"]);
    let figures = [
        ("gates", "gates"),
        ("waiting", "gates"),
        ("runs", "starts"),
        ("start_after_load_and_kill", "us"),
        ("resident_after_start", "B"),
    ];
    check(&report, &figures, &["start_after_stop", "start_after_kill"]);
}

#[test]
fn a_running_coordinator_is_loaded_and_goes_on() {
    let coordinator = Coordinator::start();
    let loaded = |arguments: &[&str]| {
        let loaded = report(&coordinator.run(&[&["bench"], arguments, &["--output", "json"]].concat()));
        assert_eq!(loaded["coordinator"], coordinator.address());
        loaded
    };
    assert!(loaded(&["decide", "--concurrency", "2", "--duration", "100ms"])["figures"]["fdatasync_alone"].is_null());
    assert!(loaded(&["waiters", "--waiters", "5", "--connections", "1"])["figures"]["resident_after"].is_null());
    loaded(&["wake", "--rounds", "1"]);
    assert_eq!(coordinator.stop(), Some(0));
}

#[test]
fn what_needs_a_coordinator_of_its_own_refuses_another() {
    let coordinator = Coordinator::start();
    let ran = coordinator.run(&["bench", "decide", "--gates-stored", "5"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("leave --server out"), "{}", ran.err);
    let ran = coordinator.run(&["bench", "recover", "--server", coordinator.address()]);
    assert_eq!(ran.code, Some(2));
}

#[test]
fn people_get_a_histogram() {
    let dir = TempDir::new().unwrap();
    let mut command = gatepost(&["bench", "wake", "--rounds", "3", "--dir"]);
    let ran = Ran::from(command.arg(dir.path()).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("wake latency, 3:\n") && ran.out.contains('█'), "{}", ran.out);
}

#[test]
fn more_waiters_than_the_connections_carry_are_refused() {
    let ran = Ran::from(gatepost(&["bench", "waiters", "--waiters", "2001", "--connections", "2"]).output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("--connections 3"), "{}", ran.err);
}
