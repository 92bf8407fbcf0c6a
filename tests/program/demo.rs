//! The demo's pipeline: through both gates, or stopped at one.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Coordinator, Ending, Ran, gatepost};

const STEPS: [&str; 6] = ["build", "test", "review_gate", "deploy_staging", "deploy_gate", "deploy_prod"];

/// How each step ended, as the demo sums it up.
fn summary(out: &str) -> Vec<(&str, &str)> {
    let (_, summary) = out.split_once("ended:\n").unwrap();
    summary.lines().map(|line| line.trim().split_once(' ').unwrap()).map(|(step, end)| (step, end.trim())).collect()
}

#[test]
fn with_auto_approve_it_runs_through_on_a_coordinator_of_its_own() {
    let ran = Ran::from(gatepost(&["demo", "--auto-approve"]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(summary(&ran.out), STEPS.map(|step| (step, "succeeded")));
}

#[test]
fn a_gate_that_times_out_skips_what_lies_downstream() {
    let ran = Ran::from(gatepost(&["demo", "--timeout", "50ms"]).output().unwrap());
    assert_eq!(ran.code, Some(11), "{}", ran.err);
    let ends = ["succeeded", "succeeded", "timed out", "skipped", "skipped", "skipped"];
    assert_eq!(summary(&ran.out), STEPS.into_iter().zip(ends).collect::<Vec<_>>());
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let mut demo = gatepost(&["demo"]);
    let mut demo = Ending(demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains(" approve ")));
    kill_process(Pid::from_child(&demo.0), Signal::INT).unwrap();
    let told = BufReader::new(demo.0.stderr.take().unwrap()).lines().map(Result::unwrap).last();
    assert_eq!(told.as_deref(), Some("interrupted: the temporary coordinator is gone, and its gates"));
    assert_eq!(demo.0.wait().unwrap().code(), Some(130));
}

#[test]
fn the_commands_that_it_prints_decide_its_gates() {
    let coordinator = Coordinator::start();
    let mut demo = Ending(coordinator.command(&["demo"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // As a shell runs what was pasted.
    let mut paste = |verb: &str, gate: &str| {
        let line = said.find(|line| line.contains(&format!(" {verb} ")) && line.contains(gate)).unwrap();
        assert!(Command::new("sh").arg("-c").arg(&line).status().unwrap().success(), "{line}");
    };
    paste("approve", "/review_gate");
    paste("reject", "/deploy_gate");
    let rest = said.collect::<Vec<_>>().join("\n");
    assert_eq!(demo.0.wait().unwrap().code(), Some(10));
    assert!(rest.contains("deploy_prod: skipped, because "), "{rest}");
    let ends = ["succeeded", "succeeded", "succeeded", "succeeded", "rejected", "skipped"];
    assert_eq!(summary(&rest), STEPS.into_iter().zip(ends).collect::<Vec<_>>());
}
