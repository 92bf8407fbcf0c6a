//! What README's tour does, with the real program: exit codes, and who, when and why.

use serde_json::Value;

use crate::process::{Coordinator, Ran, gatepost};

#[test]
fn an_approval_from_another_terminal_lets_the_worker_go_on() {
    let coordinator = Coordinator::start();
    let worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    let approved = coordinator.run(&["approve", "release-42/prod", "--comment", "canary is green"]);
    assert_eq!((approved.code, approved.out.as_str()), (Some(0), "release-42/prod approved\n"));
    let ended = worker.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.starts_with("release-42/prod approved by anonymous at 20"), "{}", ended.out);
    assert!(ended.out.ends_with(": canary is green\n"), "{}", ended.out);
}

#[test]
fn a_rejection_ends_the_worker_with_10() {
    let coordinator = Coordinator::start();
    let worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    let rejected = coordinator.run(&["reject", "release-42/prod", "--reason", "canary is red"]);
    assert_eq!(rejected.code, Some(0), "{}", rejected.err);
    let ended = worker.end();
    assert_eq!(ended.code, Some(10));
    assert!(ended.out.contains("rejected by anonymous") && ended.out.contains("canary is red"), "{}", ended.out);
}

#[test]
fn a_timeout_ends_the_worker_with_11_until_a_reset() {
    let coordinator = Coordinator::start();
    let ended = coordinator.run(&["wait", "release-42/prod", "--timeout", "200ms"]);
    assert_eq!(ended.code, Some(11), "{}", ended.err);
    assert!(ended.out.contains("timed out"), "{}", ended.out);
    assert_eq!(coordinator.run(&["wait", "release-42/prod"]).code, Some(11));
    assert_eq!(coordinator.run(&["reset", "release-42/prod"]).code, Some(0));
    assert_eq!(coordinator.run(&["approve", "release-42/prod"]).code, Some(0));
    assert_eq!(coordinator.run(&["wait", "release-42/prod"]).code, Some(0));
}

#[test]
fn an_interrupted_worker_says_that_the_deadline_runs_on() {
    let coordinator = Coordinator::start();
    let ended = coordinator.wait(&["release-42/prod", "--timeout", "5m"]).interrupt();
    assert_eq!((ended.code, ended.out.as_str()), (Some(130), ""));
    assert!(ended.err.starts_with("interrupted: the gate stays, and its deadline runs on until 20"), "{}", ended.err);
}

#[test]
fn a_gate_is_created_once() {
    let coordinator = Coordinator::start();
    let create = || coordinator.run(&["create", "release-42/prod", "--request-id", "one"]).out;
    assert_eq!(create(), "release-42/prod created, pending\n");
    assert_eq!(create(), "release-42/prod exists already, pending\n");
    coordinator.run(&["approve", "release-42/prod"]);
    // The answer that is repeated is that of the first call; people are told how it is now.
    assert_eq!(create(), "release-42/prod exists already, approved\n");
    assert_eq!(coordinator.run(&["create", "release-42/prod"]).out, "release-42/prod exists already, approved\n");
    let reused = coordinator.run(&["create", "release-42/qa", "--request-id", "one"]);
    assert_eq!(reused.code, Some(1), "{}", reused.out);
}

#[test]
fn approvals_that_nobody_can_give_are_warned_of_and_not_counted_twice() {
    let coordinator = Coordinator::start();
    let warning =
        "warning: a asks for 2 approvals and cannot get more than 1: without identities, all callers are one voter\n";
    assert_eq!(coordinator.run(&["create", "a", "--required-approvals", "2"]).err, warning);
    let waited = coordinator.run(&["wait", "b", "--required-approvals", "2", "--timeout", "50ms"]);
    assert_eq!(waited.err.matches("warning: b asks for 2 approvals").count(), 1, "{}", waited.err);

    assert_eq!(coordinator.run(&["approve", "a"]).out, "vote recorded: a has 1 of 2 approvals\n");
    for again in [&["approve", "a"][..], &["approve", "a", "--validate-only"]] {
        let told = coordinator.run(again).out;
        assert!(told.starts_with("you have approved already: a has 1 of 2 approvals"), "{told}");
    }
    coordinator.run(&["reset", "a"]);
    assert_eq!(coordinator.run(&["approve", "a"]).out, "vote recorded: a has 1 of 2 approvals\n");
}

#[test]
fn a_deleted_gate_ends_the_worker_as_rejected() {
    let coordinator = Coordinator::start();
    let worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    assert_eq!(coordinator.run(&["delete", "release-42/prod"]).code, Some(0));
    assert_eq!(worker.end().code, Some(10));
}

#[test]
fn the_second_decision_is_told_the_first() {
    let coordinator = Coordinator::start();
    assert_eq!(coordinator.run(&["create", "release-42/prod"]).code, Some(0));
    assert_eq!(coordinator.run(&["approve", "release-42/prod"]).code, Some(0));
    let late = coordinator.run(&["reject", "release-42/prod", "--reason", "too late"]);
    assert_eq!((late.code, late.out.as_str()), (Some(1), ""));
    assert!(late.err.starts_with("error: release-42/prod was approved by anonymous at 20"), "{}", late.err);
    assert_eq!(late.err.lines().count(), 1);
}

#[test]
fn a_wait_that_asks_for_something_else_is_told_what_differs() {
    let coordinator = Coordinator::start();
    coordinator.run(&["create", "release-42/prod", "--timeout", "5m"]);
    let refused = coordinator.run(&["wait", "release-42/prod", "--timeout", "6m", "--title", "Production"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("timeout") && refused.err.contains("title"), "{}", refused.err);
}

#[test]
fn errors_are_one_line_that_says_what_to_do() {
    let coordinator = Coordinator::start();
    let missing = coordinator.run(&["wait", "nowhere"]);
    assert_eq!((missing.code, missing.err.lines().count()), (Some(1), 1));
    assert!(missing.err.contains("gatepost create nowhere") && missing.err.contains("--timeout"), "{}", missing.err);

    let nobody = Ran::from(gatepost(&["list", "--server", "127.0.0.1:1"]).output().unwrap());
    assert_eq!((nobody.code, nobody.err.lines().count()), (Some(1), 1));
    assert!(nobody.err.contains("gatepost serve") && nobody.err.contains("--server"), "{}", nobody.err);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let coordinator = Coordinator::start();
    coordinator.run(&["create", "a", "--title", "red\u{1b}[31m", "--description", "turned\u{202e}round"]);
    coordinator.run(&["approve", "a", "--comment", "bell\u{7}\nand a line"]);
    for command in [&["get", "a"][..], &["list"], &["history", "a"], &["wait", "a"]] {
        let shown = coordinator.run(command);
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.out.contains(is_bad), "{command:?}: {:?}", shown.out);
        assert!(!shown.out.contains("bell\u{7}\nand"), "{command:?}: {:?}", shown.out);
    }
}

#[test]
fn json_is_one_message_a_line() {
    let coordinator = Coordinator::start();
    coordinator.run(&["create", "a/1"]);
    coordinator.run(&["approve", "a/1", "--input", "replicas=3"]);
    coordinator.run(&["create", "a/2"]);
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let ran = coordinator.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let gates = lines(&["list"]);
    assert_eq!(gates.iter().map(|gate| &gate["name"]).collect::<Vec<_>>(), ["a/1", "a/2"]);
    assert_eq!(gates[0]["resolution"]["inputs"]["replicas"].as_f64(), Some(3.0));
    let history = lines(&["history", "a/1"]);
    let types: Vec<_> = history.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["EVENT_TYPE_CREATED", "EVENT_TYPE_RESOLVED"]);
    assert_eq!(lines(&["wait", "a/1"]).last().unwrap()["status"], "GATE_STATUS_APPROVED");
}

#[test]
fn completions_are_written_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let written = Ran::from(gatepost(&["completions", shell]).output().unwrap());
        assert_eq!(written.code, Some(0));
        assert!(written.out.contains("approve"), "{shell}");
    }
}
