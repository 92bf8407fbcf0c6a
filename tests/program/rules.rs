//! Rules and evidence on the command line, and a configuration file that makes no sense.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Coordinator, Ran, gatepost};

const RULES: &str = r#"
[[rule]]
name = "tests-passed"
prefix = "release-42"
when = "evidence.tests == 'passed'"
action = "approve"
"#;

fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gatepost.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn evidence_is_reported_and_shown() {
    let coordinator = Coordinator::start();
    coordinator.run(&["create", "release-42/prod"]);
    let reported = coordinator.run(&["evidence", "release-42/prod", "tests=passed", "report=https://ci/?a=b"]);
    let told = "release-42/prod has the evidence report=https://ci/?a=b, tests=passed\n";
    assert_eq!((reported.code, reported.out.as_str()), (Some(0), told), "{}", reported.err);
    let shown = coordinator.run(&["get", "release-42/prod"]).out;
    assert!(shown.contains("evidence   report=https://ci/?a=b\nevidence   tests=passed\n"), "{shown}");
    let history = coordinator.run(&["history", "release-42/prod"]).out;
    assert!(history.ends_with("evidence by anonymous: report=https://ci/?a=b, tests=passed\n"), "{history}");
}

#[test]
fn a_rule_of_the_configuration_lets_the_worker_go_on() {
    let (_dir, rules) = file(RULES);
    let coordinator = Coordinator::start_with(&["--config", rules.to_str().unwrap()]);
    let worker = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    coordinator.run(&["evidence", "release-42/prod", "tests=passed"]);
    let ended = worker.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.starts_with("release-42/prod approved by the rule at 20"), "{}", ended.out);
    assert!(ended.out.ends_with(": tests-passed\n"), "{}", ended.out);
}

#[test]
fn rules_are_tried_on_a_gate_and_on_the_past() {
    let (_dir, rules) = file(RULES);
    let coordinator = Coordinator::start();
    let try_on = |arguments: &[&str]| {
        let ran = coordinator.run(&[&["rules", "test", "--config", rules.to_str().unwrap()], arguments].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran
    };
    let waiting = coordinator.wait(&["release-42/prod", "--timeout", "5m"]);
    let without = try_on(&["release-42/prod"]).out;
    assert_eq!(without, "release-42/prod: the rule tests-passed fails, so people decide: No such key: tests\n");
    let with = try_on(&["release-42/prod", "--evidence", "tests=passed"]).out;
    assert_eq!(with, "release-42/prod: the rule tests-passed approves it\n");
    let with = try_on(&["release-42/prod", "--evidence", "tests=failed"]).out;
    assert_eq!(with, "release-42/prod: no rule decides it: people do\n");

    coordinator.run(&["evidence", "release-42/prod", "tests=passed"]);
    coordinator.run(&["reject", "release-42/prod"]);
    assert_eq!(waiting.end().code, Some(10), "trying rules decides nothing");
    coordinator.run(&["wait", "other", "--timeout", "1ms"]);
    let past = try_on(&[]);
    let told: Vec<_> = past.out.lines().filter_map(|line| line.split_once("Z  ")).map(|(_, told)| told).collect();
    let rejected = "release-42/prod round 1: the rule tests-passed approves it; it was rejected by anonymous";
    assert_eq!(told, [rejected, "other round 1: no rule decides it: people do; it was timed out"]);
    assert_eq!(past.err, "2 rounds: 1 approved, 0 rejected, 1 left to people\n");

    let json = try_on(&["--prefix", "release-42", "--output", "json"]).out;
    let expected = json!({
        "gate": "release-42/prod", "round": 1, "rule": "tests-passed", "action": "approve", "problem": null,
        "became": "GATE_STATUS_REJECTED",
    });
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
}

#[test]
fn a_configuration_that_makes_no_sense_stops_the_start_with_its_place() {
    let data = tempfile::tempdir().unwrap();
    for (text, told) in [
        ("rule = 1", "line 1"),
        (
            "[[rule]]\nname = \"r\"\nwhen = \"true\"\naction = \"shrug\"",
            "unknown variant `shrug`, expected `approve` or `reject`",
        ),
        (
            "[[rule]]\nname = \"r\"\nwhen = \"gate.name\"\naction = \"approve\"",
            "rule r: when = \"gate.name\": there is no gate to look at",
        ),
        ("[[rule]]\nname = \"r\"\nwhen = \"true\"\naction = \"approve\"\nwhenn = \"\"", "unknown field `whenn`"),
        ("publik_url = \"\"", "unknown field `publik_url`"),
    ] {
        let (_dir, path) = file(text);
        let mut command = gatepost(&["serve", "--listen", "127.0.0.1:0", "--config", path.to_str().unwrap()]);
        let refused = Ran::from(command.arg("--data-dir").arg(data.path().join("data")).output().unwrap());
        assert_eq!(refused.code, Some(1), "{text}");
        assert!(refused.err.contains(told), "{text}: {}", refused.err);
        assert!(!data.path().join("data").exists(), "nothing was made");
    }
}
