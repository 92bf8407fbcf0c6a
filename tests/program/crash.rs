//! What survives the coordinator: killed, stopped and started again, with workers waiting all the while.

use serde_json::Value;

use crate::process::Coordinator;

fn gate(coordinator: &Coordinator, name: &str) -> Value {
    let ran = coordinator.run(&["get", name, "--output", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn a_worker_outlives_a_kill_and_gets_the_decision_made_before_it_reconnects() {
    let mut coordinator = Coordinator::start();
    let mut worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    let before = gate(&coordinator, "release-42/prod");
    coordinator.crash(|| worker.until_told("no connection"));
    let approved = coordinator.run(&["approve", "release-42/prod", "--comment", "canary is green"]);
    assert_eq!(approved.code, Some(0), "{}", approved.err);
    let after = gate(&coordinator, "release-42/prod");
    assert_eq!(after["deadline"], before["deadline"]);
    assert_eq!(after["uid"], before["uid"]);
    let ended = worker.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("canary is green"), "{}", ended.out);
}

#[test]
fn a_worker_that_reconnects_waits_on() {
    let mut coordinator = Coordinator::start();
    let mut worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    coordinator.crash(|| worker.until_told("no connection"));
    worker.until_told("waiting");
    coordinator.run(&["reject", "release-42/prod", "--reason", "no"]);
    assert_eq!(worker.end().code, Some(10));
}

#[test]
fn a_decision_that_was_reset_away_while_the_worker_was_cut_off_still_reaches_it() {
    let mut coordinator = Coordinator::start();
    let mut worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    coordinator.crash(|| worker.until_told("no connection"));
    coordinator.run(&["approve", "release-42/prod"]);
    coordinator.run(&["reset", "release-42/prod"]);
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(gate(&coordinator, "release-42/prod")["round"], 2);
}

#[test]
fn a_deadline_that_passes_while_nothing_runs_times_out_once_after_the_start() {
    let mut coordinator = Coordinator::start();
    let mut worker = coordinator.wait(&["release-42/prod", "--timeout", "10s"]);
    coordinator.crash(|| {
        worker.until_told("no connection");
        // As long again, on another coordinator.
        assert_eq!(Coordinator::start().run(&["wait", "other", "--timeout", "10s"]).code, Some(11));
    });
    assert_eq!(worker.end().code, Some(11));
    let history = coordinator.run(&["history", "release-42/prod", "--output", "json"]);
    assert_eq!(history.out.matches("EVENT_TYPE_RESOLVED").count(), 1, "{}", history.out);
}

#[test]
fn acknowledged_changes_survive_kills() {
    let mut coordinator = Coordinator::start();
    for round in 0..5 {
        for i in 0..20 {
            let name = format!("r{round}/g{i}");
            assert_eq!(coordinator.run(&["create", &name]).code, Some(0));
            assert_eq!(coordinator.run(&["approve", &name]).code, Some(0));
        }
        coordinator.crash(|| {});
        let list = coordinator.run(&["list", "--status", "approved", "--output", "json"]);
        assert_eq!(list.out.lines().count(), (round + 1) * 20);
    }
}

#[test]
fn a_stop_ends_open_waits_and_is_no_error() {
    let coordinator = Coordinator::start();
    let mut worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    assert_eq!(coordinator.stop(), Some(0));
    worker.until_told("no connection");
}
